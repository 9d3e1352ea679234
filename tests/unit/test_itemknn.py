"""Item-kNN against cosines worked out with dense numpy, and what its settings do."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from models.data import DAY_US, Query
from models.families.itemknn import ItemKnn, ItemKnnConfig, neighbours
from models.splits import no_features
from tests.shop_data import START_US, interactions

TAKEN_PI = np.array([[1, 2, 0, 0], [3, 1, 1, 0], [0, 1, 1, 0], [2, 0, 0, 0]], np.float32)
PLAIN = ItemKnnConfig(
    weighting="cosine",
    shrink=0.0,
    neighbours=10,
    half_life_days=90.0,
    fit_half_life_days=180.0,
    own_weight=0.0,
)


def test_cosine_is_that_of_the_columns() -> None:
    unit_PI = TAKEN_PI / np.maximum(np.linalg.norm(TAKEN_PI, axis=0), 1e-9)
    expected_II = unit_PI.T @ unit_PI
    np.fill_diagonal(expected_II, 0)
    found_II = neighbours(PLAIN, csr_matrix(TAKEN_PI), threads=1).toarray()
    np.testing.assert_allclose(found_II, expected_II, atol=1e-6)


def test_shrinking_damps_rare_items_more() -> None:
    plain_II = neighbours(PLAIN, csr_matrix(TAKEN_PI), threads=1).toarray()
    damped_II = neighbours(replace(PLAIN, shrink=2.0), csr_matrix(TAKEN_PI), threads=1).toarray()
    # items 0 and 1 have three takers each: 3 / (3 + 2); item 2 has two: 2 / (2 + 2)
    assert damped_II[0, 1] == pytest.approx(plain_II[0, 1] * 0.6)
    assert damped_II[1, 2] == pytest.approx(plain_II[1, 2] * 0.5)


def test_only_the_nearest_are_kept() -> None:
    found = neighbours(replace(PLAIN, neighbours=1), csr_matrix(TAKEN_PI), threads=1)
    assert np.diff(found.indptr).tolist() == [1, 1, 1, 0]
    assert found[2].indices.tolist() == [1]


@pytest.mark.parametrize("weighting", ["cosine", "tfidf", "bm25"])
def test_nobody_who_took_everything_makes_similarities_odd(weighting: str) -> None:
    taken_PI = np.array(
        [[1, 1, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0]], np.float32
    )  # the first took all but one: idf 0
    found = neighbours(replace(PLAIN, weighting=weighting), csr_matrix(taken_PI), threads=1)
    assert np.isfinite(found.data).all()


def question(item: list[int], days_ago: list[int]) -> Query:
    times = [START_US - days * DAY_US for days in days_ago]
    history = interactions([0] * len(item), item, times, people=1, items=4)
    return Query(history=history, as_of_us=START_US, features=no_features(1, 4))


def test_recent_items_speak_louder() -> None:
    sim_II = csr_matrix(np.array([[0, 0, 0.5, 0], [0, 0, 0, 0.5], [0, 0, 0, 0], [0, 0, 0, 0]], np.float32))
    model = ItemKnn(replace(PLAIN, own_weight=0.0, half_life_days=10.0), sim_II, np.zeros(4, np.float32))
    assert model.recommend(question([0, 1], [0, 10]), 2).item_PK.tolist() == [[2, 3]]
    assert model.recommend(question([0, 1], [10, 0]), 2).item_PK.tolist() == [[3, 2]]
    assert model.recommend(question([0, 1], [0, 10]), 2).score_PK.tolist() == [[0.5, 0.25]]


def test_own_weight_brings_back_what_was_taken() -> None:
    sim_II = csr_matrix(np.array([[0, 0.9, 0, 0]] + [[0] * 4] * 3, np.float32))
    asked = question([0], [0])
    for own_weight, first in ((0.0, 1), (1.0, 0)):
        model = ItemKnn(replace(PLAIN, own_weight=own_weight), sim_II, np.zeros(4, np.float32))
        assert model.recommend(asked, 1).item_PK.tolist() == [[first]]
