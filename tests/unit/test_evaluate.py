"""Evaluation: numbers by hand, slices, and answers that must not be measured."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from counterfoil import canonical
from counterfoil.errors import InputError, IntegrityError
from models.data import Query, Ranking
from models.evaluate import evaluate, read_units, write_units
from models.families import family
from models.splits import no_features
from tests.shop_data import START_US, interactions, shop


@dataclass(frozen=True)
class Fixed:
    """A model that answers the lists it was given: person by the first item of the history."""

    item_PK: np.ndarray
    score: float = 1.0

    def recommend(self, query: Query, k: int) -> Ranking:
        rows = query.history.item_N if len(query.history) else np.zeros(0, int)
        item_PK = self.item_PK[rows][:, :k].astype(np.int32)
        score_PK = np.where(item_PK >= 0, self.score, -np.inf).astype(np.float32)
        return Ranking(
            item_PK=item_PK, score_PK=score_PK, sources=("fixed",), source_PK=(item_PK >= 0).astype(np.uint8)
        )

    def save(self, folder: Path) -> None:
        np.save(folder / "lists.npy", self.item_PK)


LISTS = np.array([[1, 2], [3, -1], [1, 0]])
QUERY = Query(
    history=interactions([0, 1, 2], [0, 1, 2], [START_US] * 3, people=3, items=4),
    as_of_us=START_US,
    features=no_features(3, 4),
)
TRUTH = (np.array([1]), np.array([2, 3]), np.array([2]))
POPULARITY_I = np.array([2, 6, 2, 2])


def test_numbers_by_hand() -> None:
    scores = evaluate(
        Fixed(LISTS),
        QUERY,
        TRUTH,
        {"first two": np.array([True, True, False]), "nobody": np.zeros(3, bool)},
        POPULARITY_I,
        k=2,
        unit_P=np.array([7, 8, 9]),
        category_I=np.array([0, 0, 1, 1]),
    )
    discount = 1 / np.log2(3)
    assert scores.units.unit_P.tolist() == [7, 8, 9]
    assert scores.units.values["ndcg@2"].tolist() == pytest.approx([1.0, 1 / (1 + discount), 0.0])
    assert scores.units.values["diversity@2"][[0, 2]].tolist() == [1.0, 0.0]
    assert scores.metrics["ndcg@2"] == pytest.approx((1.0 + 1 / (1 + discount)) / 3)
    assert scores.metrics["recall@2"] == pytest.approx(0.5)
    assert scores.metrics["coverage@2"] == 1.0
    assert scores.metrics["diversity@2"] == 0.5
    assert scores.metrics["popularity_ratio@2"] == pytest.approx(((4 + 2 + 4) / 3) / ((6 + 2 + 2) / 3))
    assert scores.slices["first two"]["units"] == 2.0
    assert scores.slices["first two"]["recall@2"] == 0.75
    assert scores.slices["nobody"] == {"units": 0.0}
    assert scores.score_ms > 0
    assert scores.batch_ms > 0


def test_head_and_tail_are_told_apart() -> None:
    """Items 1, 0 and 2 reach four fifths of the 12 that were taken, so item 3 alone is the tail."""
    popularity_I = np.array([2, 6, 2, 2])
    scores = evaluate(Fixed(LISTS), QUERY, TRUTH, {}, popularity_I, k=2)
    assert scores.units.values["recall@2[tail items]"].tolist() == pytest.approx(
        [np.nan, 1.0, np.nan], nan_ok=True
    )
    assert scores.units.values["recall@2[head items]"].tolist() == pytest.approx([1.0, 0.0, 0.0], nan_ok=True)
    assert scores.slices["tail items"] == {"units": 1.0, "ndcg@2": 1.0, "recall@2": 1.0}
    assert scores.slices["head items"]["units"] == 3.0
    assert scores.slices["head items"]["recall@2"] == pytest.approx(1 / 3)


def test_a_metric_on_a_slice_is_asked_for_by_name(tmp_path: Path) -> None:
    mask_P = np.array([True, False, True])
    scores = evaluate(Fixed(LISTS), QUERY, TRUTH, {"segment [a]": mask_P}, POPULARITY_I, k=2)
    write_units(scores, tmp_path / "units.parquet")
    for units in (scores.units, read_units(tmp_path / "units.parquet")):
        assert units.of("recall@2[segment [a]]").tolist() == pytest.approx([1.0, np.nan, 0.0], nan_ok=True)
        assert units.of("recall@2").tolist() == [1.0, 0.5, 0.0]
        assert units.of("recall@2[tail items]") is not None
        assert units.of("recall@2[segment b]") is None and units.of("speed@2[segment [a]]") is None


def test_metrics_and_slices_have_a_json_form() -> None:
    empty = Fixed(np.full((3, 2), -1))
    scores = evaluate(empty, QUERY, TRUTH, {"all": np.ones(3, bool)}, POPULARITY_I, k=2)
    assert canonical.encode([scores.metrics, scores.slices])
    assert scores.metrics["ndcg@2"] == 0.0
    assert "novelty@2" not in scores.metrics


def test_coverage_is_of_what_may_be_answered() -> None:
    allowed = replace(QUERY, allowed_I=np.array([True, True, False, True]))
    assert (
        evaluate(Fixed(LISTS[[1, 1, 1]]), allowed, TRUTH, {}, POPULARITY_I, k=2).metrics["coverage@2"]
        == 1 / 3
    )


@pytest.mark.parametrize("name", ["popularity", "repurchase"])
def test_units_are_the_same_bytes_twice(name: str, tmp_path: Path) -> None:
    small = shop(people=30, days=56, cutoffs=1)
    popularity_I = small.training.interactions.matrix().getnnz(axis=0)
    model = family(name).fit(family(name).config(), small.training, 0)
    digests = []
    for file in ("one.parquet", "other.parquet"):
        scores = evaluate(model, small.query, small.truth, {}, popularity_I)
        write_units(scores, tmp_path / file)
        digests.append(hashlib.sha256((tmp_path / file).read_bytes()).hexdigest())
    assert digests[0] == digests[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.parquet", "other.parquet"]
    assert pq.read_schema(tmp_path / "one.parquet").names[:2] == ["unit", "hit_rate@10"]


def test_units_are_read_back_as_written(tmp_path: Path) -> None:
    scores = evaluate(Fixed(LISTS), QUERY, TRUTH, {}, POPULARITY_I, k=2)
    write_units(scores, tmp_path / "units.parquet")
    found = read_units(tmp_path / "units.parquet")
    assert found.unit_P.tolist() == [0, 1, 2]
    assert found.values.keys() == scores.units.values.keys()
    for name, values in found.values.items():
        np.testing.assert_array_equal(values, scores.units.values[name])


def test_broken_units_are_refused(tmp_path: Path) -> None:
    (tmp_path / "units.parquet").write_bytes(b"PAR1 cut short")
    with pytest.raises(IntegrityError, match=r"units\.parquet cannot be read"):
        read_units(tmp_path / "units.parquet")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"truth": TRUTH[:2]}, "2 truths for 3 people"),
        ({"truth": (*TRUTH[:2], np.zeros(0, int))}, "a unit took nothing"),
        ({"truth": (*TRUTH[:2], np.array([4]))}, "outside the catalogue of 4"),
        ({"slices": {"odd": np.ones(2, bool)}}, "slices odd"),
        ({"train_popularity_I": np.ones(3)}, "popularity has 3 entries for 4 items"),
        ({"unit_P": np.arange(2)}, "2 unit ids for 3 people"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict, words: str) -> None:
    given = {"truth": TRUTH, "slices": {}, "train_popularity_I": POPULARITY_I, "k": 2, **change}
    with pytest.raises(InputError, match=words):
        evaluate(Fixed(LISTS), QUERY, **given)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Fixed(np.array([[1, 2], [9, 3], [1, 0]])), "item 9 is outside the catalogue of 4"),
        (Fixed(np.array([[1, 2], [-1, 3], [1, 0]])), "goes on after its end"),
        (Fixed(np.array([[1, 1], [2, 3], [1, 0]])), "list 0 answers an item twice"),
        (Fixed(LISTS, score=float("nan")), "no finite number"),
    ],
)
def test_an_answer_that_would_be_measured_wrongly_is_refused(model: Fixed, words: str) -> None:
    with pytest.raises(InputError, match=words):
        evaluate(model, QUERY, TRUTH, {}, POPULARITY_I, k=2)


def test_nobody_to_evaluate_on_is_refused() -> None:
    nobody = replace(QUERY, history=QUERY.history.rows(np.zeros(0, int)), features=no_features(0, 4))
    with pytest.raises(InputError, match="nobody to evaluate on"):
        evaluate(Fixed(LISTS), nobody, (), {}, POPULARITY_I, k=2)
