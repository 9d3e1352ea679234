"""The index of vectors: every product where that is cheap, and nearly the same answers through the graph."""

from pathlib import Path

import numpy as np
import pytest

from counterfoil.errors import IntegrityError
from models import index
from models.index import Vectors


def planted(items: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors of very unequal length around forty centres, with a bias far from zero, and people near the centres."""
    random = np.random.default_rng(seed)
    centre_CD = random.standard_normal((40, 16))
    vector_ID = centre_CD[random.integers(40, size=items)] + 0.6 * random.standard_normal((items, 16))
    vector_ID *= np.exp(random.normal(0, 0.5, (items, 1)))
    bias_I = random.normal(-8, 1.5, (items, 1))
    person_PD = centre_CD[random.integers(40, size=30)] + 0.6 * random.standard_normal((30, 16))
    return (
        np.concatenate([vector_ID, bias_I], axis=1).astype(np.float32),
        np.concatenate([person_PD, np.ones((30, 1))], axis=1).astype(np.float32),
    )


def recall(found_PK: np.ndarray, right_PK: np.ndarray) -> float:
    return float(
        np.mean([np.isin(found, right).mean() for found, right in zip(found_PK, right_PK, strict=True)])
    )


def test_the_best_products_are_found_best_first_and_ties_go_to_the_lower_index() -> None:
    vectors = Vectors(np.array([[1, 0], [0, 2], [1, 0], [-1, -1]], np.float32))
    item_PK, score_PK = vectors.search(np.array([[3, 1]], np.float32), 9)
    assert item_PK.tolist() == [[0, 2, 1, 3]]
    assert score_PK.tolist() == [[3, 3, 2, -4]]


def test_what_is_not_allowed_or_excluded_is_left_out_and_nothing_is_invented() -> None:
    vectors = Vectors(np.array([[5], [4], [3], [2], [1]], np.float32))
    person_PD = np.ones((2, 1), np.float32)
    allowed_I = np.array([True, False, True, True, False])
    exclude = [np.array([0, 1, 4]), np.array([], np.int64)]
    item_PK, score_PK = vectors.search(person_PD, 3, allowed_I=allowed_I, exclude=exclude)
    assert item_PK.tolist() == [[2, 3, -1], [0, 2, 3]]
    assert score_PK[0].tolist() == [3, 2, -np.inf]


def test_the_graph_finds_nearly_all_of_the_best_though_vectors_are_of_unequal_length() -> None:
    vector_ID, person_PD = planted(6000)
    right_PK, right_score_PK = Vectors(vector_ID).search(person_PD, 20)
    through = Vectors(vector_ID, exact=1000)
    assert through.graph is not None
    found_PK, score_PK = through.search(person_PD, 20)
    assert recall(found_PK, right_PK) > 0.95
    np.testing.assert_allclose(score_PK[:, 0], right_score_PK[:, 0], rtol=1e-5)


def test_the_graph_is_asked_for_more_where_much_is_left_out_and_passed_by_where_little_remains() -> None:
    vector_ID, person_PD = planted(6000)
    exact, through = Vectors(vector_ID), Vectors(vector_ID, exact=1000)
    best_PK = exact.search(person_PD, 50)[0]
    exclude = list(best_PK)
    for allowed_I in (None, np.arange(6000) % 3 > 0, np.arange(6000) % 30 == 0):
        right_PK = exact.search(person_PD, 20, allowed_I=allowed_I, exclude=exclude)[0]
        found_PK = through.search(person_PD, 20, allowed_I=allowed_I, exclude=exclude)[0]
        assert (found_PK >= 0).all()
        assert allowed_I is None or allowed_I[found_PK].all()
        assert not any(np.isin(found, best).any() for found, best in zip(found_PK, best_PK, strict=True))
        assert recall(found_PK, right_PK) > 0.95


def test_vectors_that_came_later_are_found_without_a_new_graph() -> None:
    vector_ID, person_PD = planted(3000)
    through = Vectors(vector_ID, exact=1000)
    more = through.extended(10 * person_PD[:4])
    assert more.graph is through.graph
    assert (more.search(person_PD[:4], 1)[0][:, 0] >= 3000).all()
    few = Vectors(vector_ID[:990], exact=1000).extended(vector_ID[:20])
    assert few.graph is None
    assert few.search(person_PD, 5)[0].shape == (30, 5)


def test_built_twice_the_bytes_are_the_same_and_read_again_the_answers(tmp_path: Path) -> None:
    vector_ID, person_PD = planted(3000)
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        Vectors(vector_ID, exact=1000).save(tmp_path / name)
    for file in ("vectors.npy", "graph.npy", "index.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()
    again = index.load(tmp_path / "one")
    np.testing.assert_array_equal(
        again.search(person_PD, 9)[0], Vectors(vector_ID, exact=1000).search(person_PD, 9)[0]
    )


def test_a_graph_of_other_bytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    Vectors(planted(1500)[0], exact=1000).save(tmp_path)
    graph_B = np.load(tmp_path / "graph.npy")
    graph_B[len(graph_B) // 2] ^= 1
    np.save(tmp_path / "graph.npy", graph_B)
    with pytest.raises(IntegrityError, match=r"graph\.npy"):
        index.load(tmp_path)
