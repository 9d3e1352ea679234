"""Batches of sequences out of interactions: windows, and what to predict at each position. No torch here.

What shares a time (a basket) has no order among itself, so the item after a position is not its neighbour but one drawn from the
next baskets of the same person ("dense all action", Pancha et al., PinnerFormer, KDD 2022); where every time is
its own and `ahead` is 1, that is the next item, as in SASRec. Windows of about one length share a batch, so that little of it is
padding: most people's histories are many times shorter than the longest.
Shapes: N interactions, W windows, B sequences, L positions, T targets.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from models.data import Interactions


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Items as input, int64 [B, L] (0 where padded), and flat positions that have a target with that target, int64 [T]."""

    item_BL: np.ndarray
    at_T: np.ndarray
    target_T: np.ndarray


class Sequences:
    """Interactions prepared for windows of `length`; `ahead` baskets lie between a position and the farthest target.

    Without `repeats` only what somebody takes for the first time is a target.
    """

    def __init__(self, interactions: Interactions, *, length: int, ahead: int, repeats: bool = True) -> None:
        self.item_N = interactions.item_N.astype(np.int64)
        self.length = length
        counts_P = np.diff(interactions.indptr)
        self.next_N, self.last_N = _spans(interactions, np.repeat(interactions.indptr[1:], counts_P), ahead)
        self.wanted_N = np.ones(len(self.item_N), bool) if repeats else _firsts(interactions)
        # nothing follows a person's last basket: windows end before it
        has_next_N = self.next_N < self.last_N
        with_next_P = np.bincount(interactions.person_N[has_next_N], minlength=interactions.people)
        people = np.flatnonzero(with_next_P)
        self.start_R = interactions.indptr[people]
        self.stop_R = self.start_R + with_next_P[people]
        self.targets = int(has_next_N.sum())

    def epoch(self, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return windows that cover everybody once: first positions and lengths, int64 [W].

        Who has more than `length` is cut at a random offset, anew in each epoch.
        """
        count_R = self.stop_R - self.start_R
        shift_R = np.where(count_R > self.length, random.integers(self.length, size=len(count_R)), 0)
        windows_R = -(-(count_R + shift_R) // self.length)
        cut_W = np.repeat(self.start_R - shift_R, windows_R) + self.length * _within(windows_R)
        first_W = np.maximum(cut_W, np.repeat(self.start_R, windows_R))
        return first_W, np.minimum(cut_W + self.length, np.repeat(self.stop_R, windows_R)) - first_W

    def endless(self, size: int, random: np.random.Generator) -> Iterator[Batch]:
        """Yield batches epoch after epoch; nothing when there is nothing to predict."""
        while self.targets:
            yield from self.batches(size, random)

    def batches(self, size: int, random: np.random.Generator) -> Iterator[Batch]:
        """Yield one epoch's batches of at most `size` positions (and at least one window), in random order."""
        first_W, count_W = self.epoch(random)
        order_W = np.lexsort((random.random(len(count_W)), count_W))
        cuts = _cuts(count_W[order_W], size)
        for batch in random.permutation(len(cuts) - 1):
            row_B = order_W[cuts[batch] : cuts[batch + 1]]
            yield self._batch(first_W[row_B], count_W[row_B], random)

    def steps(self, size: int) -> int:
        """Return about how many batches an epoch has; their number differs a little with the offsets."""
        count_W = np.sort(self.epoch(np.random.default_rng(0))[1])
        return len(_cuts(count_W, size)) - 1

    def _batch(self, first_B: np.ndarray, count_B: np.ndarray, random: np.random.Generator) -> Batch:
        inside_BL = np.arange(count_B.max()) < count_B[:, None]
        at_BL = np.minimum(first_B[:, None] + np.arange(inside_BL.shape[1]), len(self.item_N) - 1)
        at_T = np.flatnonzero(inside_BL)
        from_T = at_BL.ravel()[at_T]
        target_T = random.integers(self.next_N[from_T], self.last_N[from_T])
        wanted_T = self.wanted_N[target_T]
        return Batch(
            item_BL=np.where(inside_BL, self.item_N[at_BL], 0),
            at_T=at_T[wanted_T],
            target_T=self.item_N[target_T[wanted_T]],
        )


def _cuts(count_W: np.ndarray, size: int) -> list[int]:
    """Cut windows, shortest first, into runs whose padded positions are at most `size`; return the borders."""
    cuts = [0]
    while cuts[-1] < len(count_W):
        start = cuts[-1]
        most = max(1, size // int(count_W[start]))
        padded = count_W[start : start + most] * np.arange(1, len(count_W[start : start + most]) + 1)
        cuts.append(start + max(1, int(np.searchsorted(padded, size, "right"))))
    return cuts


def _within(count_R: np.ndarray) -> np.ndarray:
    """Return 0..count-1 for each count, one after the other."""
    return np.arange(count_R.sum()) - np.repeat(np.cumsum(count_R) - count_R, count_R)


def _spans(interactions: Interactions, stop_N: np.ndarray, ahead: int) -> tuple[np.ndarray, np.ndarray]:
    """Return for each interaction where the next basket begins and where the `ahead`-th after it ends."""
    person_N, time_N = interactions.person_N, interactions.time_N
    opens_N = np.ones(len(person_N), bool)
    opens_N[1:] = (np.diff(person_N) != 0) | (np.diff(time_N) != 0)
    basket_N = np.cumsum(opens_N) - 1
    start_B = np.append(np.flatnonzero(opens_N), np.full(ahead + 1, len(person_N)))
    return np.minimum(start_B[basket_N + 1], stop_N), np.minimum(start_B[basket_N + 1 + ahead], stop_N)


def _firsts(interactions: Interactions) -> np.ndarray:
    """Say of each interaction whether its person had not taken that item before, bool [N]."""
    pair_N = interactions.person_N.astype(np.int64) * interactions.items + interactions.item_N
    first_N = np.zeros(len(pair_N), bool)
    first_N[np.unique(pair_N, return_index=True)[1]] = True
    return first_N
