"""The past: what histories say about the candidates that stand for the same person and thing. No features, no learning here.

Shapes: P people, N candidates, H lines of the histories, G distinct (person, thing) groups.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from models.data import DAY_US, Query

DENSE = 4  # groups per line and candidate up to which empty groups cost less than sorting


@dataclass(frozen=True, kw_only=True)
class Past:
    """The histories of a question as arrays over lines, oldest first per person; ages in days.

    A basket is what one person takes at one moment; an item counts once in it, its quantities are added up. `back_H` numbers a
    person's baskets from the latest, which is 0.
    """

    row_H: np.ndarray  # int64
    item_H: np.ndarray  # int64
    pair_G: np.ndarray  # int64: distinct (row, item) as row * items + item, ascending
    pair_H: np.ndarray  # int64: which of them a line is of
    age_H: np.ndarray  # float64
    weight_H: np.ndarray
    opens_H: np.ndarray  # bool: first line of its basket
    back_H: np.ndarray  # int64
    people: int
    items: int

    @classmethod
    def of(cls, query: Query) -> "Past":
        """Read the histories of a question."""
        history = query.history
        opens_H = _changes(history.person_N, history.time_N)
        line_H = np.flatnonzero(opens_H | _changes(history.item_N))
        row_H, opens_H = history.person_N[line_H].astype(np.int64), opens_H[line_H]
        basket_H = np.cumsum(opens_H)  # numbered over all people
        pair_G, pair_N = history.pairs
        newest_P = np.zeros(history.people, np.int64)
        newest_P[row_H] = basket_H  # of several assignments to one place the last one stays
        weight_H = history.weight_N
        if len(line_H) < len(history):
            weight_H = np.add.reduceat(weight_H, line_H)
        return cls(
            row_H=row_H,
            item_H=history.item_N[line_H].astype(np.int64),
            pair_G=pair_G,
            pair_H=pair_N[line_H],
            age_H=(query.as_of_us - history.time_N[line_H]) / DAY_US,
            weight_H=weight_H,
            opens_H=opens_H,
            back_H=newest_P[row_H] - basket_H,
            people=history.people,
            items=history.items,
        )

    def pair_of(self, key_N: np.ndarray) -> np.ndarray:
        """Return which pair each candidate (as row * items + item) is, int64 [N]; their number for one that was never taken."""
        at_N = np.searchsorted(self.pair_G, key_N)
        found_N = at_N < len(self.pair_G)
        found_N[found_N] = self.pair_G[at_N[found_N]] == key_N[found_N]
        return np.where(found_N, at_N, len(self.pair_G))

    @cached_property
    def baskets_P(self) -> np.ndarray:
        """Number of baskets per person, int64 [P]."""
        return np.bincount(self.row_H[self.opens_H], minlength=self.people)

    def decay(self, half_life_days: float) -> np.ndarray:
        """Return weights that halve every so many days, float64 [H], not to be written to; worked out once per half-life."""
        if half_life_days not in self._decays:
            self._decays[half_life_days] = np.exp2(self.age_H / -half_life_days)
        return self._decays[half_life_days]

    @cached_property
    def _decays(self) -> dict[float, np.ndarray]:
        return {}

    def mean(self, value_H: np.ndarray, weight_H: np.ndarray) -> np.ndarray:
        """Return the weighted mean of finite values per person, float64 [P]; NaN for who has none."""
        finite_H = np.isfinite(value_H)
        weight_H = np.where(finite_H, weight_H, 0.0)
        total_P = np.bincount(self.row_H, weight_H * np.where(finite_H, value_H, 0.0), self.people)
        weight_P = np.bincount(self.row_H, weight_H, self.people)
        return np.divide(total_P, weight_P, out=np.full(self.people, np.nan), where=weight_P > 0)


def _changes(*keys: np.ndarray) -> np.ndarray:
    """Say where an entry differs from the one before it in any key, bool; the first one does."""
    changes = np.zeros(len(keys[0]), bool)
    changes[:1] = True
    for key in keys:
        changes[1:] |= key[1:] != key[:-1]
    return changes


class Groups:
    """Lines gathered by a key; sums and extremes per group, handed to the candidates that ask for the key.

    Keys are whole numbers from 0. Where they lie so close that there are few more of them than lines (`keys` says below which
    number they lie), each is a group of its own: nothing is sorted and nothing looked up.
    """

    def __init__(self, key_H: np.ndarray, key_N: np.ndarray, keys: int | None = None) -> None:
        if keys is not None and keys <= DENSE * (len(key_H) + len(key_N)):
            self.groups, self.group_H, self.at_N = keys, key_H, key_N
            self.found_N = np.bincount(key_H, minlength=keys)[key_N] > 0
            return
        key_G, self.group_H = np.unique(key_H, return_inverse=True)
        self.groups = len(key_G)
        self.at_N = np.minimum(np.searchsorted(key_G, key_N), max(len(key_G) - 1, 0))
        self.found_N = key_G[self.at_N] == key_N if len(key_G) else np.zeros(len(key_N), bool)

    def total(self, value_H: np.ndarray | None = None) -> np.ndarray:
        """Return the sum (or the count) of each candidate's group; 0 where there is none."""
        return self.give(self.totals(value_H), 0.0)

    def several(self, value_WH: Sequence[np.ndarray]) -> np.ndarray:
        """Return the sums of several values of each candidate's group, float64 [W, N]; 0 where there is none."""
        return self.give(np.stack([self.totals(value_H) for value_H in value_WH]), 0.0)

    def totals(self, value_H: np.ndarray | None = None) -> np.ndarray:
        """Return the sum (or the count) of each group, [G]."""
        return np.bincount(self.group_H, value_H, minlength=self.groups)

    def latest(self, value_H: np.ndarray) -> np.ndarray:
        """Return the value of the group's latest line; NaN where there is none."""
        out_G = np.empty(self.groups)
        out_G[self.group_H] = value_H  # of several assignments to one place the last one stays
        return self.give(out_G, np.nan)

    def earliest(self, value_H: np.ndarray) -> np.ndarray:
        """Return the value of the group's earliest line; NaN where there is none."""
        out_G = np.empty(self.groups)
        out_G[self.group_H[::-1]] = value_H[::-1]
        return self.give(out_G, np.nan)

    def give(self, value_G: np.ndarray, absent: float) -> np.ndarray:
        """Hand each candidate the value of its group, [.., N]; `value_G` may hold several rows, [.., G]."""
        if not self.groups:
            return np.full((*value_G.shape[:-1], len(self.at_N)), absent)
        return np.where(self.found_N, value_G[..., self.at_N], absent)


def place_within(row_N: np.ndarray, value_N: np.ndarray, sizes_P: np.ndarray) -> np.ndarray:
    """Return each candidate's place among those of its person by descending value, from 0; equals share the better place.

    `row_N` is ascending. NaN comes last.
    """
    value_N = np.where(np.isnan(value_N), -np.inf, value_N)
    order_N = np.lexsort((-value_N, row_N))
    start_N = np.repeat(np.cumsum(sizes_P) - sizes_P, sizes_P)
    at_N = np.arange(len(row_N))
    first_N = np.maximum.accumulate(np.where(_changes(row_N[order_N], value_N[order_N]), at_N, 0))
    place_N = np.empty(len(row_N))
    place_N[order_N] = first_N - start_N
    return place_N
