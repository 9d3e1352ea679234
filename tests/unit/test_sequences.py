"""Sequences out of interactions, by hand: windows, targets, batches of about one length."""

import numpy as np

from models.nn.sequences import Sequences
from tests.shop_data import interactions


def baskets(length: int = 4) -> Sequences:
    """Person 0: baskets {1, 2}, {3}, {4, 5}; person 1: {6}, {7}; person 2: one thing only."""
    return Sequences(
        interactions(
            [0, 0, 0, 0, 0, 1, 1, 2], [1, 2, 3, 4, 5, 6, 7, 8], [1, 1, 2, 3, 3, 1, 2, 1], people=4, items=10
        ),
        length=length,
        ahead=1,
    )


def test_targets_come_from_the_next_basket_of_the_same_person() -> None:
    sequences = baskets()
    assert sequences.next_N.tolist() == [2, 2, 3, 5, 5, 6, 7, 8]
    assert sequences.last_N.tolist() == [3, 3, 5, 5, 5, 7, 7, 8]
    assert sequences.targets == 4
    farther = Sequences(
        interactions([0, 0, 0, 0], [1, 2, 3, 4], [1, 2, 3, 4], people=1, items=5), length=4, ahead=2
    )
    assert farther.last_N.tolist() == [3, 4, 4, 4]


def test_windows_cover_every_position_that_has_a_target_once() -> None:
    for length in (2, 4):
        sequences, random = baskets(length), np.random.default_rng(0)
        for _ in range(20):
            first_W, count_W = sequences.epoch(random)
            assert count_W.max() <= length
            covered = [
                at
                for first, count in zip(first_W, count_W, strict=True)
                for at in range(first, first + count)
            ]
            assert sorted(covered) == [0, 1, 2, 5]


def test_who_has_more_than_a_window_is_cut_elsewhere_in_another_epoch() -> None:
    sequences, random = baskets(2), np.random.default_rng(0)
    assert {tuple(sequences.epoch(random)[0]) for _ in range(30)} == {(0, 2, 5), (0, 1, 5)}


def test_batches_pad_behind_and_never_reach_another_person() -> None:
    sequences = baskets()
    seen: set[int] = set()
    for batch in [
        *sequences.batches(8, np.random.default_rng(1)),
        *sequences.batches(1, np.random.default_rng(2)),
    ]:
        width = batch.item_BL.shape[1]
        for at, target in zip(batch.at_T, batch.target_T, strict=True):
            row_L, position = batch.item_BL[at // width], at % width
            assert target in {1: {3}, 2: {3}, 3: {4, 5}, 6: {7}}[row_L[position]]
            assert set(row_L) <= ({6, 0} if 6 in row_L else {1, 2, 3, 0})
            seen.add(int(target))
    assert seen >= {3, 7}
    lonely = Sequences(interactions([0, 1], [1, 2], [1, 1], people=2, items=3), length=4, ahead=1)
    assert list(lonely.batches(2, np.random.default_rng(0))) == []
    assert list(lonely.endless(2, np.random.default_rng(0))) == []


def test_a_batch_holds_at_most_so_many_positions_and_windows_of_about_one_length() -> None:
    counts = [2, 3, 3, 4, 9, 10, 10, 11] * 4
    person = np.repeat(np.arange(len(counts)), counts)
    time = np.concatenate([np.arange(count) for count in counts])
    known = interactions(person.tolist(), (person % 7).tolist(), time.tolist(), people=len(counts), items=7)
    sequences = Sequences(known, length=20, ahead=1)
    batches = list(sequences.batches(30, np.random.default_rng(0)))
    assert len(batches) == sequences.steps(30)
    assert sum(len(batch.at_T) for batch in batches) == sum(counts) - len(counts)
    assert max(batch.item_BL.size for batch in batches) <= 30
    assert sum(batch.item_BL.size for batch in batches) < 1.2 * (sum(counts) - len(counts))


def test_without_repeats_only_what_is_taken_for_the_first_time_is_a_target() -> None:
    known = interactions([0] * 5, [1, 2, 1, 3, 3], [1, 2, 3, 4, 5], people=1, items=4)
    sequences = Sequences(known, length=9, ahead=1, repeats=False)
    (batch,) = sequences.batches(9, np.random.default_rng(0))
    assert batch.item_BL.tolist() == [[1, 2, 1, 3]]
    assert batch.at_T.tolist() == [0, 2]
    assert batch.target_T.tolist() == [2, 3]
