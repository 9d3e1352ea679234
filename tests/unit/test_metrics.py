"""Metrics against values worked out by hand, and on random lists against ir-measures (trec_eval's code), scipy, or plain sets."""

import ir_measures
import numpy as np
import pytest
from ir_measures import AP, RR, P, R, Success, nDCG
from scipy.stats import entropy

from counterfoil.errors import InputError
from models.data import Interactions
from models.metrics import beyond, tail
from models.metrics.accuracy import ACCURACY, hits, taken
from models.metrics.calibration import miscalibration
from tests.shop_data import interactions

LISTS = np.array([[3, 1, 2], [5, 6, -1], [7, 8, 9], [-1, -1, -1]], np.int32)
TRUTH = tuple(np.array(items) for items in ([1, 2], [5], [0], [4, 5]))


def measured(name: str, k: int = 3) -> list[float]:
    return ACCURACY[name](hits(LISTS, TRUTH), taken(TRUTH), k).tolist()


def test_hits_say_what_was_taken_and_never_the_empty_place() -> None:
    assert hits(LISTS, TRUTH).tolist() == [
        [False, True, True],
        [True, False, False],
        [False, False, False],
        [False, False, False],
    ]


def test_precision_recall_and_hit_rate_by_hand() -> None:
    assert measured("precision") == pytest.approx([2 / 3, 1 / 3, 0, 0])
    assert measured("recall") == [1.0, 1.0, 0.0, 0.0]
    assert measured("hit_rate") == [1.0, 1.0, 0.0, 0.0]
    assert measured("recall", k=2) == [0.5, 1.0, 0.0, 0.0]


def test_rank_metrics_by_hand() -> None:
    # first unit: hits at ranks 2 and 3 of 2 possible; DCG = 1/log2(3) + 1/log2(4), ideal = 1 + 1/log2(3)
    assert measured("ndcg") == pytest.approx([(0.6309297535714575 + 0.5) / 1.6309297535714575, 1.0, 0.0, 0.0])
    assert measured("mrr") == [0.5, 1.0, 0.0, 0.0]
    assert measured("map") == pytest.approx([(1 / 2 + 2 / 3) / 2, 1.0, 0.0, 0.0])


def test_a_unit_that_took_nothing_has_no_recall_but_a_precision() -> None:
    truth = (np.array([1]), np.zeros(0, np.int64))
    hit_PK, taken_P = hits(LISTS[:2], truth), taken(truth)
    for name in ("ndcg", "recall", "map"):
        assert np.isnan(ACCURACY[name](hit_PK, taken_P, 3)).tolist() == [False, True]
    assert ACCURACY["precision"](hit_PK, taken_P, 3).tolist() == [pytest.approx(1 / 3), 0.0]


def test_lists_that_repeat_an_item_are_refused() -> None:
    with pytest.raises(InputError, match="list 1 answers an item twice"):
        hits(np.array([[1, 2, -1, -1], [4, 5, 4, -1]]), (np.array([1]), np.array([4])))


def test_units_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="4 lists but 1 truths"):
        hits(LISTS, TRUTH[:1])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("k", "length"), [(10, 10), (10, 4), (10, 25), (1, 10), (5, 0)])
def test_agrees_with_trec_eval(seed: int, k: int, length: int) -> None:
    """Random lists, some cut short, some empty; truths of one to thirty items."""
    item_PK, truth = random_lists(np.random.default_rng(seed), units=60, items=80, length=length)
    measures = {
        "ndcg": nDCG @ k,
        "recall": R @ k,
        "hit_rate": Success @ k,
        "mrr": RR @ k,
        "map": AP @ k,
        "precision": P @ k,
    }
    theirs = by_trec_eval(item_PK, truth, list(measures.values()))
    hit_PK, taken_P = hits(item_PK, truth), taken(truth)
    for name, measure in measures.items():
        np.testing.assert_allclose(
            ACCURACY[name](hit_PK, taken_P, k), theirs[str(measure)], rtol=0, atol=1e-9
        )


def random_lists(
    random: np.random.Generator, *, units: int, items: int, length: int
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    item_PK = np.stack([random.permutation(items)[:length] for _ in range(units)]).astype(np.int32)
    shorter_P = random.integers(0, length + 1, units)
    item_PK[np.arange(length) >= shorter_P[:, None]] = -1
    return item_PK, tuple(random.permutation(items)[: random.integers(1, 31)] for _ in range(units))


def by_trec_eval(item_PK: np.ndarray, truth: tuple[np.ndarray, ...], measures: list) -> dict[str, np.ndarray]:
    """Ask ir-measures; a unit whose list is empty is absent from a TREC run, and scores 0."""
    judged = {str(unit): {str(item): 1 for item in items} for unit, items in enumerate(truth)}
    run = {
        str(unit): {str(item): float(-rank) for rank, item in enumerate(row) if item >= 0}
        for unit, row in enumerate(item_PK)
    }
    out = {str(measure): np.zeros(len(truth)) for measure in measures}
    for found in ir_measures.iter_calc(measures, judged, {unit: row for unit, row in run.items() if row}):
        out[str(found.measure)][int(found.query_id)] = found.value
    return out


def test_coverage_counts_what_any_list_shows() -> None:
    assert beyond.coverage(LISTS, 16) == 0.5
    assert beyond.coverage(np.full((2, 3), -1), 16) == 0.0


def test_novelty_is_self_information_in_bits() -> None:
    popularity_I = np.array([6, 0, 0, 0])  # plus one each: shares 7/10, 1/10, 1/10, 1/10
    lists = np.array([[0, -1], [1, 2], [-1, -1]])
    assert beyond.novelty(lists, popularity_I)[:2].tolist() == pytest.approx(
        [0.5145731728297583, 3.321928094887362]
    )
    assert np.isnan(beyond.novelty(lists, popularity_I)[2])


def test_popularity_ratio_compares_with_what_people_take() -> None:
    popularity_I = np.array([8, 4, 2, 0])
    lists, truth = np.array([[0, 1], [0, -1]]), (np.array([1, 2]), np.array([2, 3]))
    assert beyond.popularity(lists, popularity_I).tolist() == [6.0, 8.0]
    assert beyond.popularity_ratio(lists, truth, popularity_I) == 7.0 / 2.0
    assert np.isnan(beyond.popularity_ratio(lists, truth, np.zeros(4)))


def test_diversity_is_the_share_of_pairs_that_differ_in_category() -> None:
    category_I = np.array([0, 0, 1, -1])
    lists = np.array([[0, 1, 2], [0, 1, 3], [0, 3, -1], [2, 0, -1]])
    found = beyond.diversity(lists, category_I)
    assert found[[0, 1, 3]].tolist() == pytest.approx([2 / 3, 0.0, 1.0])
    assert np.isnan(found[2])
    assert np.isnan(beyond.diversity(lists, np.zeros(0, np.int32))).all()


def test_gini_is_nought_for_equals_and_grows_with_the_share_of_a_few() -> None:
    assert beyond.gini(np.array([[0, 1], [2, 3]]), 4) == pytest.approx(0.0)
    assert beyond.gini(np.array([[0, -1], [0, -1]]), 4) == pytest.approx(
        0.75
    )  # one of four has it all: (4 - 1) / 4
    assert np.isnan(beyond.gini(np.full((2, 3), -1), 4))


@pytest.mark.parametrize("seed", range(5))
def test_gini_agrees_with_the_mean_difference_of_all_pairs(seed: int) -> None:
    item_PK, _ = random_lists(np.random.default_rng(seed), units=30, items=40, length=10)
    counts = [sum(item == shown for row in item_PK for shown in row) for item in range(40)]
    differences = sum(abs(one - other) for one in counts for other in counts)
    assert beyond.gini(item_PK, 40) == pytest.approx(differences / (2 * 40 * sum(counts)), abs=1e-9)


def test_serendipity_counts_hits_that_popularity_would_not_have_shown() -> None:
    popularity_I = np.array(
        [5, 9, 5, 1, 0]
    )  # with k = 2 the primitive list is 1, 0: of equals the lower index
    lists, truth = np.array([[1, 3], [2, 4], [0, -1]]), (np.array([1, 3]), np.array([2]), np.array([0]))
    assert beyond.serendipity(lists, hits(lists, truth), popularity_I, 2).tolist() == [0.5, 0.5, 0.0]


@pytest.mark.parametrize("seed", range(5))
def test_serendipity_agrees_with_sets(seed: int) -> None:
    random = np.random.default_rng(seed)
    item_PK, truth = random_lists(random, units=40, items=60, length=12)
    popularity_I = random.integers(0, 8, 60)
    primitive = set(sorted(range(60), key=lambda item: (-popularity_I[item], item))[:10])
    theirs = [
        len(({int(item) for item in row[:10]} - {-1} - primitive) & {int(item) for item in took}) / 10
        for row, took in zip(item_PK, truth, strict=True)
    ]
    found = beyond.serendipity(item_PK, hits(item_PK, truth), popularity_I, 10)
    np.testing.assert_allclose(found, theirs, rtol=0, atol=1e-9)


def past(*items: list[int]) -> Interactions:
    """Return histories, one list of items per person."""
    person = [person for person, had in enumerate(items) for _ in had]
    item = [one for had in items for one in had]
    return interactions(person, item, [0] * len(item), people=len(items), items=60)


def test_miscalibration_by_hand() -> None:
    """Half of the history is of category 0, all of the list: .5 ln(.5 / (.99 + .005)) + .5 ln(.5 / .005) nats."""
    category_I = np.array([0, 0, 1, -1] + [1] * 56, np.int32)
    history = past([0, 1, 2, 2], [0, 2], [3], [0], [1, 0, 3])
    lists = np.array([[0, 1], [0, 2], [0, 1], [3, -1], [1, 3]])
    found = miscalibration(lists, history, category_I)
    assert found[[0, 1, 4]].tolist() == pytest.approx([1.9585178, 0.0, 0.0], abs=1e-7)
    assert np.isnan(found[[2, 3]]).all()
    assert np.isnan(miscalibration(lists, history, np.full(60, -1, np.int32))).all()
    assert np.isnan(miscalibration(np.full((5, 2), -1), history, category_I)).all()


@pytest.mark.parametrize("seed", range(5))
def test_miscalibration_agrees_with_the_entropy_of_scipy(seed: int) -> None:
    random = np.random.default_rng(seed)
    item_PK, _ = random_lists(random, units=50, items=60, length=10)
    category_I = random.integers(-1, 7, 60).astype(np.int32)
    history = past(*(random.integers(0, 60, random.integers(0, 30)).tolist() for _ in range(50)))
    found = miscalibration(item_PK, history, category_I)
    for person, row in enumerate(item_PK):
        had = category_I[history.item_N[history.person_N == person]]
        shown = category_I[row[row >= 0]]
        if not (had >= 0).any() or not (shown >= 0).any():
            assert np.isnan(found[person])
            continue
        p, q = (np.bincount(part[part >= 0], minlength=7) / (part >= 0).sum() for part in (had, shown))
        assert found[person] == pytest.approx(entropy(p, 0.99 * q + 0.01 * p), abs=1e-9)


def test_the_head_makes_up_four_fifths_of_what_was_taken() -> None:
    """60, 20, 10, 10 of a hundred: the first two are the head, and the first of two equals where both would reach it."""
    assert tail.head(np.array([10, 60, 0, 20, 10])).tolist() == [False, True, False, True, False]
    assert tail.head(np.array([2, 2, 2, 2])).tolist() == [True, True, True, True]
    assert tail.head(np.array([3, 3, 2, 2])).tolist() == [True, True, True, False]
    assert tail.head(np.zeros(3)).tolist() == [False, False, False]


@pytest.mark.parametrize("seed", range(3))
def test_accuracy_on_some_items_is_that_of_trec_eval_with_only_these_judged(seed: int) -> None:
    random = np.random.default_rng(seed)
    item_PK, truth = random_lists(random, units=60, items=80, length=10)
    kept_I = random.random(80) < 0.3
    judged = tuple(items[kept_I[items]] for items in truth)
    some_P = np.array([len(items) > 0 for items in judged])
    assert 0 < some_P.sum() < 60
    found = tail.restricted(item_PK, truth, kept_I, 10)
    asked = [items for items in judged if len(items)]
    theirs = by_trec_eval(item_PK[some_P], tuple(asked), [nDCG @ 10, R @ 10])
    for name, measure in (("ndcg@10", nDCG @ 10), ("recall@10", R @ 10)):
        assert np.isnan(found[name][~some_P]).all()
        np.testing.assert_allclose(found[name][some_P], theirs[str(measure)], rtol=0, atol=1e-9)
