"""The last order of a list, on lists small enough to be read."""

from collections import Counter

import numpy as np
import pytest

from bentos.recommend.rerank import (
    AISLE,
    BRAND,
    LIKE,
    SELLER,
    SHELF,
    Wanted,
    alike,
    explore,
    order,
    within,
)


def codes(*rows: tuple[int, int, int]) -> np.ndarray:
    """Return aisle, shelf, brand of each candidate."""
    return np.array(rows, np.int32).reshape(-1, 3).T


SAME = codes(*[(1, 1, 1)] * 4, *[(2, 2, 2)] * 2)


def test_without_a_wish_the_list_stays_as_it_came() -> None:
    assert order(SAME, Wanted(n=4)) == [0, 1, 2, 3]
    assert order(SAME, Wanted(n=100)) == list(range(6))
    assert order(codes(), Wanted(n=3)) == []


def test_difference_lets_the_first_of_another_shelf_come_second() -> None:
    assert order(SAME, Wanted(n=3, diversity=0.5)) == [0, 4, 1]
    assert order(SAME, Wanted(n=3, diversity=0.01))[:2] == [0, 1]


def test_more_difference_is_less_alike_and_relevance_is_what_it_costs() -> None:
    """On forty random lists of a shop with three shelves to each aisle."""
    random, knobs = np.random.default_rng(0), (0.0, 0.2, 0.5, 0.8)
    alikeness, places = np.zeros(len(knobs)), np.zeros(len(knobs))
    for _ in range(40):
        shelf_K = random.integers(3, 24, 200)
        found = np.stack([shelf_K // 3, shelf_K, random.integers(1, 5, 200)]).astype(np.int32)
        for at, diversity in enumerate(knobs):
            chosen = order(found, Wanted(n=10, diversity=diversity))
            assert len(set(chosen)) == 10
            alikeness[at] += np.mean([alike(found, a)[b] for a in chosen for b in chosen if a != b]) / 40
            places[at] += np.mean(chosen) / 40
    assert (np.diff(alikeness) < 0).all() and alikeness[-1] < 0.6 * alikeness[0]
    assert (np.diff(places) > 0).all() and places[0] == pytest.approx(4.5)


def test_what_is_unknown_is_like_nothing() -> None:
    assert alike(codes((0, 0, 0), (0, 0, 0), (1, 0, 3)), 0).tolist() == [0.0, 0.0, 0.0]
    assert alike(codes((1, 2, 3), (1, 2, 9), (1, 9, 3)), 0).tolist() == pytest.approx([1.0, 0.8, 0.5])
    assert LIKE.sum() == 1


def test_caps_hold_and_leave_a_list_short_where_nothing_else_is_there() -> None:
    assert order(SAME, Wanted(n=4, caps={SHELF: 2})) == [0, 1, 4, 5]
    assert order(SAME, Wanted(n=6, caps={SHELF: 1})) == [0, 4]
    assert order(codes((1, 1, 1), (2, 2, 1), (3, 3, 2)), Wanted(n=3, caps={BRAND: 1})) == [0, 2]
    assert order(codes(*[(0, 0, 0)] * 3), Wanted(n=3, caps={SHELF: 1, BRAND: 1, AISLE: 1})) == [0, 1, 2]


def test_a_seller_is_capped_and_makes_nothing_alike() -> None:
    rows = np.array([(1, 1, 1, 5), (2, 2, 2, 5), (3, 3, 3, 0), (4, 4, 4, 0), (5, 5, 5, 6)], np.int32).T
    assert order(rows, Wanted(n=5, caps={SELLER: 1})) == [0, 2, 3, 4]
    assert within(rows, {SELLER: 1}, [0], [1, 2, 4]) == [2, 4]
    assert alike(rows, 0).tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]
    assert order(rows, Wanted(n=5, diversity=0.5)) == [0, 1, 2, 3, 4]


def test_what_would_break_a_cap_may_not_join() -> None:
    assert within(SAME, {SHELF: 2}, [0, 4, 5], [1, 2, 3]) == [1, 2, 3]
    assert within(SAME, {SHELF: 2}, [0, 1, 4], [2, 3, 5]) == [5]
    assert within(SAME, {}, [0, 1, 4], [2, 3, 5]) == [2, 3, 5]


def test_a_factor_lifts_and_sinks() -> None:
    factor_K = np.array([1, 1, 1, 3, 1, 1], np.float32)
    assert order(SAME, Wanted(n=3, factor_K=factor_K)) == [3, 0, 1]
    assert order(SAME, Wanted(n=3, factor_K=np.array([0.1, 1, 1, 1, 1, 1], np.float32))) == [1, 2, 3]


def test_a_pin_has_its_place_whatever_the_others_do_and_counts_towards_caps() -> None:
    assert order(SAME, Wanted(n=3, pins={1: 5})) == [0, 5, 1]
    assert order(SAME, Wanted(n=4, pins={0: 5}, caps={SHELF: 1})) == [5, 0]
    assert order(SAME, Wanted(n=2, pins={7: 5})) == [0, 1]


def test_a_slot_for_learning_shows_each_as_often_as_it_says() -> None:
    shown, chances = Counter(), {}
    for number in range(20_000):
        found = explore([1, 2, 3], [7, 8, 9, 10], 2, 0.4, f"{number:032x}")
        assert found is not None and found.place == 2
        shown[found.one] += 1
        chances[found.one] = found.chance
    assert chances == {3: 0.6, 7: 0.1, 8: 0.1, 9: 0.1, 10: 0.1}
    assert sum(chances.values()) == pytest.approx(1)
    for one, chance in chances.items():
        assert shown[one] / 20_000 == pytest.approx(chance, abs=0.015)


def test_a_slot_for_learning_comes_out_the_same_by_the_same_nonce() -> None:
    assert explore([1, 2], [3, 4], 99, 0.5, "ab") == explore([1, 2], [3, 4], 99, 0.5, "ab")
    assert explore([1, 2], [3, 4], 99, 0.5, "ab").place == 1  # type: ignore[union-attr]


@pytest.mark.parametrize(("chosen", "others", "rate"), [([1], [2], 0.0), ([1], [], 0.5), ([], [2], 0.5)])
def test_nothing_is_explored_where_nothing_can_be(chosen: list[int], others: list[int], rate: float) -> None:
    assert explore(chosen, others, 0, rate, "ab") is None
