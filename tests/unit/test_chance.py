"""Chances: planted ones are found again, fall with the place, and are told from people that were not learned from."""

import numpy as np
import pytest

from models.assembly import chance
from models.data import Ranking
from models.metrics.accuracy import hits, ndcg, taken
from models.rank import pool

PEOPLE, ITEMS, K = 3_000, 400, 10
Planted = tuple[chance.Lesson, pool.Pool, list[np.ndarray]]


def lists(random: np.random.Generator) -> Ranking:
    item_PK = np.argsort(random.random((PEOPLE, ITEMS)), axis=1)[:, :K].astype(np.int32)
    return Ranking(
        item_PK=item_PK,
        score_PK=np.tile(-np.arange(K, dtype=np.float32), (PEOPLE, 1)),
        sources=("one",),
        source_PK=np.ones_like(item_PK, np.uint8),
    )


@pytest.fixture(scope="module")
def planted() -> Planted:
    """One member whose place r is taken with a chance of .5 / (r + 1), and one that proposes at random."""
    random = np.random.default_rng(3)
    good, noise = lists(random), lists(random)
    found = pool.merge([good, noise], PEOPLE, ITEMS)
    true_N = np.where(np.isnan(found.rank_NS[:, 0]), 0.0, 0.5 / (found.rank_NS[:, 0] + 1))
    taken_N = random.random(len(found)) < true_N
    truth = [
        np.append(found.item_N[taken_N & (found.row_N == row)], ITEMS - 1) for row in range(PEOPLE)
    ]  # somebody always takes what nobody proposed, as a rule
    had_P = random.integers(1, 50, PEOPLE)
    return chance.lesson(found, ("good", "noise"), truth, had_P, K), found, truth


def test_planted_chances_are_found(
    planted: Planted,
) -> None:
    lesson, found, _ = planted
    chance_N = chance.apart(lesson, 0, 2)
    for place in range(K):
        at_N = found.rank_NS[:, 0] == place
        weight_N = lesson.weight_N[at_N]  # who takes much weighs less, and so do chances
        share = np.average(lesson.taken_N[at_N], weights=weight_N)
        assert np.average(chance_N[at_N], weights=weight_N) == pytest.approx(share, rel=0.2)
    only_noise_N = np.isnan(found.rank_NS[:, 0])
    assert chance_N[only_noise_N].mean() < 0.01


def test_a_better_place_is_never_less_likely(
    planted: Planted,
) -> None:
    trees = chance.learn(planted[0], 0, 2)
    places = np.append(np.arange(K, dtype=np.float32), chance.SILENT)
    for worth in (0.1, 0.9):
        signal_NF = np.column_stack([places, np.full(K + 1, 4), np.full(K + 1, worth), np.full(K + 1, 9)])
        assert (np.diff(trees.score(signal_NF.astype(np.float32))) <= 0).all()


def test_what_lists_may_expect_is_what_they_get(
    planted: Planted,
) -> None:
    lesson, found, truth = planted
    chance_N = chance.apart(lesson, 0, 2)
    ranking = pool.best(found, chance_N, K, ("one",))
    expected = ndcg(ranking.score_PK, taken(truth), K).mean()
    got = ndcg(hits(ranking.item_PK, truth), taken(truth), K).mean()
    assert expected == pytest.approx(got, rel=0.05)


def test_drawn_rows_give_the_same_chances(
    planted: Planted,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lesson, found, _ = planted
    leading_N = found.rank_NS[:, 0] == 0
    before = chance.learn(lesson, 0, 2).score(lesson.signal_NF)[leading_N].mean()
    monkeypatch.setattr(chance, "MOST_ROWS", 20_000)
    after = chance.learn(lesson, 0, 2).score(lesson.signal_NF)[leading_N].mean()
    assert after == pytest.approx(before, rel=0.1)
