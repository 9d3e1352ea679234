"""Session-kNN against likenesses worked out by hand, and what its decays do."""

from dataclasses import replace

import numpy as np
import pytest

from models.data import DAY_US, Interactions
from models.families.sessionknn import SessionKnn, SessionKnnConfig, compact
from tests.shop_data import START_US, interactions

PLAIN = SessionKnnConfig(
    neighbours=100, fade=1.0, reach_fade=1.0, half_life_days=1e9, rarity=0.0, own_weight=1.0
)


def history(*people: list[int], items: int = 6) -> Interactions:
    person = [row for row, taken in enumerate(people) for _ in taken]
    item = [one for taken in people for one in taken]
    time = [START_US + day * DAY_US for taken in people for day in range(len(taken))]
    return interactions(person, item, time, people=len(people), items=items)


def votes(config: SessionKnnConfig, known: Interactions, *asked: list[int]) -> np.ndarray:
    takers_I = known.matrix().getnnz(axis=0).astype(np.float32)
    return SessionKnn(config, compact(known, config.length), takers_I).voted(history(*asked)).toarray()


def test_a_session_holds_the_latest_distinct_items_latest_first() -> None:
    found = compact(history([0, 1, 0, 2], [3]), 2)
    assert found.indptr_S.tolist() == [0, 2, 3]
    assert found.item_N.tolist() == [2, 0, 3]
    assert found.step_N.tolist() == [0, 1, 0]
    assert found.age_days_S.tolist() == [0.0, 3.0]


def test_likeness_is_the_cosine_of_the_items() -> None:
    found_I = votes(PLAIN, history([0, 1, 2], [0, 3]), [0, 1])[0]
    both, one = 2 / np.sqrt(2 * 3), 1 / np.sqrt(2 * 2)
    np.testing.assert_allclose(found_I, [both + one, both, both, one, 0, 0], rtol=1e-6)


def test_items_of_long_ago_find_less_alike_sessions() -> None:
    found_I = votes(replace(PLAIN, fade=0.5), history([0, 2], [1, 3]), [0, 1])[0]
    assert found_I[3] == pytest.approx(2 * found_I[2])


def test_items_far_from_the_common_one_count_less() -> None:
    found_I = votes(replace(PLAIN, reach_fade=0.5), history([0, 1, 2]), [0])[0]
    assert found_I[1] == pytest.approx(found_I[0] * 0.5)
    assert found_I[2] == pytest.approx(found_I[0] * 0.25)


def test_the_common_item_is_the_latest_of_the_question() -> None:
    found_I = votes(replace(PLAIN, reach_fade=0.5), history([0, 1, 2]), [0, 2])[0]
    assert found_I[2] > found_I[1] > found_I[0]


def test_old_sessions_count_less() -> None:
    known = interactions(
        [0, 0, 1, 1],
        [0, 1, 0, 2],
        [START_US, START_US + DAY_US, START_US + 10 * DAY_US, START_US + 11 * DAY_US],
        people=2,
        items=6,
    )
    found_I = votes(replace(PLAIN, half_life_days=10.0), known, [0])[0]
    assert found_I[1] == pytest.approx(found_I[2] / 2)


def test_only_the_nearest_speak() -> None:
    found_I = votes(replace(PLAIN, neighbours=1), history([0, 1, 2], [0, 3, 4, 5]), [0, 1])[0]
    assert found_I[2] > 0
    assert found_I[3:].tolist() == [0, 0, 0]


def test_only_the_newest_are_looked_at() -> None:
    known = interactions(
        [0, 0, 1, 1], [0, 1, 0, 2], [START_US, START_US + 1, START_US + 2, START_US + 3], people=2, items=6
    )
    found_I = votes(replace(PLAIN, newest=1), known, [0])[0]
    assert found_I[1] == 0
    assert found_I[2] > 0


def test_who_shares_nothing_is_told_nothing() -> None:
    assert votes(PLAIN, history([0, 1]), [5], []).sum() == 0
