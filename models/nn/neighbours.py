"""Which of a person's other items speak when one of theirs is asked for, and how loudly by age. No torch here.

A target is an interaction that is predicted from those before it: an edge of the person-item graph that is taken out, so that
nothing answers for itself. Shapes: N interactions, T targets, M pairs of a target and an item before it.
"""

from dataclasses import dataclass

import numpy as np

from models.data import DAY_US, Interactions


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """Flat lists, a target's items one after the other: `item_M` int64, `age_days_M` float32, `count_T` int64 (none is zero)."""

    item_M: np.ndarray
    age_days_M: np.ndarray
    count_T: np.ndarray

    @property
    def start_T(self) -> np.ndarray:
        """Return where each target's items begin, int64 [T]."""
        return np.cumsum(self.count_T) - self.count_T


class Neighbourhood:
    """Interactions prepared for asking: at most `length` items before each target; its own item among them only with `own`.

    What was taken together is asked for by what was taken before, as it will be; a person's first basket by itself.
    """

    def __init__(self, interactions: Interactions, *, length: int, own: bool = False) -> None:
        self.own = own
        self.item_N = interactions.item_N.astype(np.int64)
        self.time_N = interactions.time_N
        start_N = np.repeat(interactions.indptr[:-1], np.diff(interactions.indptr))
        opens_N = (np.diff(interactions.person_N, prepend=-1) != 0) | (np.diff(self.time_N, prepend=-1) != 0)
        basket_N = np.flatnonzero(opens_N)[np.cumsum(opens_N) - 1] if len(opens_N) else start_N
        self.stop_N = np.where(basket_N > start_N, basket_N, np.arange(len(self.item_N)))
        self.first_N = np.maximum(start_N, self.stop_N - length)
        self.target_N = np.flatnonzero(self.first_N < self.stop_N)

    def of(self, at_T: np.ndarray) -> tuple[np.ndarray, Neighbours]:
        """Return those of the targets (positions) that have a neighbour, and their neighbours."""
        first_T = self.first_N[at_T]
        count_T = self.stop_N[at_T] - first_T
        row_M = np.repeat(np.arange(len(at_T)), count_T)
        from_M = np.arange(count_T.sum()) - np.repeat(np.cumsum(count_T) - count_T, count_T) + first_T[row_M]
        if not self.own:
            other_M = self.item_N[from_M] != self.item_N[at_T][row_M]
            row_M, from_M = row_M[other_M], from_M[other_M]
        count_T = np.bincount(row_M, minlength=len(at_T))
        age_us_M = self.time_N[at_T][row_M] - self.time_N[from_M]
        return at_T[count_T > 0], Neighbours(
            item_M=self.item_N[from_M],
            age_days_M=(age_us_M / DAY_US).astype(np.float32),
            count_T=count_T[count_T > 0],
        )
