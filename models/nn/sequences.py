"""Batches of sequences out of interactions: windows, and what to predict at each position. No torch here.

What shares a time (a basket) has no order among itself, so the item after a position is not its neighbour but one drawn from the
next baskets of the same person ("dense all action", Pancha et al., PinnerFormer, KDD 2022); where every time is
its own and `ahead` is 1, that is the next item, as in SASRec. Shapes: N interactions, W windows, B sequences, L positions.
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
    """Interactions prepared for windows of `length`; `ahead` baskets lie between a position and the farthest target."""

    def __init__(self, interactions: Interactions, *, length: int, ahead: int) -> None:
        self.item_N = interactions.item_N.astype(np.int64)
        self.length = length
        counts_P = np.diff(interactions.indptr)
        self.start_N = np.repeat(interactions.indptr[:-1], counts_P)
        self.stop_N = np.repeat(interactions.indptr[1:], counts_P)
        self.next_N, self.last_N = _spans(interactions, self.stop_N, ahead)
        self.people = np.flatnonzero(counts_P > 1)
        self.indptr = interactions.indptr

    def epoch(self, random: np.random.Generator) -> np.ndarray:
        """Return the first positions of windows that cover everybody once, cut at a random offset, shuffled, int64 [W]."""
        start_R, stop_R = self.indptr[self.people], self.indptr[self.people + 1]
        shift_R = random.integers(self.length, size=len(self.people))
        count_R = -(-(stop_R - start_R + shift_R) // self.length)
        first_W = np.repeat(start_R - shift_R, count_R) + self.length * _within(count_R)
        lowest_W = np.repeat(start_R, count_R)
        first_W = np.maximum(first_W, lowest_W)
        # a first window that was cut off holds only what lies before the second; the second repeats none of it
        random.shuffle(first_W)
        return first_W

    def batches(self, size: int, steps: int, random: np.random.Generator) -> Iterator[Batch]:
        """Yield `steps` batches of `size` windows, epoch after epoch; nothing when there is nothing to predict."""
        if not (self.next_N < self.last_N).any():
            return
        queue = np.zeros(0, np.int64)
        for _ in range(steps):
            while len(queue) < size:
                queue = np.concatenate([queue, self.epoch(random)])
            yield self._batch(queue[:size], random)
            queue = queue[size:]

    def _batch(self, first_B: np.ndarray, random: np.random.Generator) -> Batch:
        at_BL = first_B[:, None] + np.arange(self.length)
        inside_BL = at_BL < self.stop_N[first_B][:, None]
        at_BL = np.minimum(at_BL, len(self.item_N) - 1)
        next_BL, last_BL = self.next_N[at_BL], self.last_N[at_BL]
        at_T = np.flatnonzero(inside_BL & (next_BL < last_BL))
        target_T = random.integers(next_BL.ravel()[at_T], last_BL.ravel()[at_T])
        return Batch(
            item_BL=np.where(inside_BL, self.item_N[at_BL], 0), at_T=at_T, target_T=self.item_N[target_T]
        )


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
