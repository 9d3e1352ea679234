"""Signals: one row of float32 per candidate, computed alike for training and for serving. No learning here.

Four kinds: what the retrievers said, the features that came with the question (any names, any number), what the person's own
history says about the item and its category, and how everybody treats the item (habits.py). NaN means absent.
Shapes: P people, N candidates, H interactions of the histories, G distinct (person, thing) groups, F signals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from models.data import DAY_US, Features, Query
from models.rank.habits import Habits
from models.rank.pool import Pool

HALF_LIVES_DAYS = (7, 20, 45, 90, 180)
CATEGORY_HALF_LIVES_DAYS = (20, 90)
PERSON_HALF_LIVES_DAYS = (20, 90)

Columns = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Past:
    """The histories of a question as arrays over interactions, oldest first per person; ages in days."""

    row_H: np.ndarray  # int64
    item_H: np.ndarray  # int64
    age_H: np.ndarray  # float64
    weight_H: np.ndarray
    opens_H: np.ndarray  # bool: first line of its basket (same person, same time)
    people: int

    @classmethod
    def of(cls, query: Query) -> "Past":
        """Read the histories of a question."""
        history = query.history
        opens_H = np.ones(len(history), bool)
        opens_H[1:] = (np.diff(history.person_N) != 0) | (np.diff(history.time_N) != 0)
        return cls(
            row_H=history.person_N.astype(np.int64),
            item_H=history.item_N.astype(np.int64),
            age_H=(query.as_of_us - history.time_N) / DAY_US,
            weight_H=history.weight_N,
            opens_H=opens_H,
            people=history.people,
        )

    @cached_property
    def decay(self) -> dict[int, np.ndarray]:
        """Weights that halve every so many days, one array [H] per half-life."""
        days = sorted({*HALF_LIVES_DAYS, *CATEGORY_HALF_LIVES_DAYS, *PERSON_HALF_LIVES_DAYS})
        return {half_life: np.exp2(self.age_H / -half_life) for half_life in days}


class Groups:
    """Interactions gathered by a key; sums and extremes per group, handed to the candidates that ask for the key."""

    def __init__(self, key_H: np.ndarray, key_N: np.ndarray) -> None:
        self.key_G, self.group_H = np.unique(key_H, return_inverse=True)
        self.at_N = np.minimum(np.searchsorted(self.key_G, key_N), max(len(self.key_G) - 1, 0))
        self.found_N = self.key_G[self.at_N] == key_N if len(self.key_G) else np.zeros(len(key_N), bool)

    def total(self, value_H: np.ndarray | None = None) -> np.ndarray:
        """Return the sum (or the count) of each candidate's group; 0 where there is none."""
        return self.give(np.bincount(self.group_H, value_H, minlength=len(self.key_G)), 0.0)

    def latest(self, value_H: np.ndarray) -> np.ndarray:
        """Return the value of the group's latest interaction; NaN where there is none."""
        out_G = np.empty(len(self.key_G))
        out_G[self.group_H] = value_H  # of several assignments to one place the last one stays
        return self.give(out_G, np.nan)

    def earliest(self, value_H: np.ndarray) -> np.ndarray:
        """Return the value of the group's earliest interaction; NaN where there is none."""
        out_G = np.empty(len(self.key_G))
        out_G[self.group_H[::-1]] = value_H[::-1]
        return self.give(out_G, np.nan)

    def give(self, value_G: np.ndarray, absent: float) -> np.ndarray:
        """Hand each candidate the value of its group."""
        if not len(value_G):
            return np.full(len(self.at_N), absent)
        return np.where(self.found_N, value_G[self.at_N], absent)


def signals(
    pool: Pool, query: Query, *, category_I: np.ndarray, habits: Habits, retrievers: Sequence[str]
) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the names of the signals and their values, float32 [N, F]; `category_I` may be empty, -1 means none."""
    past = Past.of(query)
    person = _person(pool, past)
    pair = _pair(pool, past)
    habit = habits.of(pool.item_N)
    columns: Columns = {
        **{f"{name}.score": pool.score_NS[:, s] for s, name in enumerate(retrievers)},
        **{f"{name}.rank": pool.rank_NS[:, s] for s, name in enumerate(retrievers)},
        **_given(pool, query.features),
        **pair,
        **person,
        **_category(pool, past, category_I, pair),
        **habit,
        "habit.due": pair["own.days_since_last"] / np.maximum(habit["habit.gap_days"], 1.0),
        **{
            f"own.per_basket_{days}d": pair[f"own.decayed_{days}d"]
            / np.maximum(person[f"own.baskets_{days}d"], 1e-6)
            for days in PERSON_HALF_LIVES_DAYS
        },
    }
    return tuple(columns), np.column_stack(list(columns.values())).astype(np.float32)


def _given(pool: Pool, features: Features) -> Columns:
    """Return the features that came with the question."""
    held = Groups(features.pair_person_N.astype(np.int64) * pool.items + features.pair_item_N, pool.key_N)
    person_NF, item_NF = features.person_PF[pool.row_N], features.item_IF[pool.item_N]
    return {
        **{f"person.{name}": person_NF[:, f] for f, name in enumerate(features.person_names)},
        **{f"item.{name}": item_NF[:, f] for f, name in enumerate(features.item_names)},
        **{
            f"pair.{name}": held.give(features.pair_NF[:, f], np.nan)
            for f, name in enumerate(features.pair_names)
        },
    }


def _pair(pool: Pool, past: Past) -> Columns:
    """Return how often, how lately and how regularly the person took the item."""
    pair = Groups(past.row_H * pool.items + past.item_H, pool.key_N)
    count_N, last_N, first_N = pair.total(), pair.latest(past.age_H), pair.earliest(past.age_H)
    with np.errstate(divide="ignore", invalid="ignore"):
        interval_N = np.where(count_N > 1, (first_N - last_N) / (count_N - 1), np.nan)
        due_N = np.where(interval_N > 0, last_N / interval_N, np.nan)
    return {
        **{f"own.decayed_{days}d": pair.total(past.decay[days]) for days in HALF_LIVES_DAYS},
        "own.count": count_N,
        "own.days_since_last": last_N,
        "own.days_since_first": first_N,
        "own.interval_days": interval_N,
        "own.due": due_N,
        "own.quantity": pair.total(past.weight_H),
    }


def _person(pool: Pool, past: Past) -> Columns:
    """Return how often the person comes and how much of it is repeated."""
    basket_row_B = past.row_H[past.opens_H]
    lines_P = np.bincount(past.row_H, minlength=past.people)
    distinct_P = np.bincount(
        np.unique(past.row_H * pool.items + past.item_H) // pool.items, minlength=past.people
    )
    last_P = np.full(past.people, np.nan)
    last_P[past.row_H] = past.age_H
    columns_P: Columns = {
        **{
            f"own.baskets_{days}d": np.bincount(basket_row_B, past.decay[days][past.opens_H], past.people)
            for days in PERSON_HALF_LIVES_DAYS
        },
        "own.lines": lines_P,
        "own.basket_lines": lines_P / np.maximum(np.bincount(basket_row_B, minlength=past.people), 1),
        "own.repeat_share": 1 - distinct_P / np.maximum(lines_P, 1),
        "own.days_since_any": last_P,
    }
    return {name: value_P[pool.row_N] for name, value_P in columns_P.items()}


def _category(pool: Pool, past: Past, category_I: np.ndarray, pair: Columns) -> Columns:
    """Return how much and how lately the person took of the item's category, and the item's part in that."""
    if not len(category_I):
        return {}
    code_N, code_H = _codes(category_I, pool.item_N), _codes(category_I, past.item_H)
    width = int(max(code_N.max(initial=0), code_H.max(initial=0))) + 1
    shelf = Groups(past.row_H * width + code_H, pool.row_N * width + code_N)
    taken = {days: shelf.total(past.decay[days]) for days in CATEGORY_HALF_LIVES_DAYS}
    return {
        **{f"own.category_{days}d": value_N for days, value_N in taken.items()},
        **{
            f"own.share_of_category_{days}d": pair[f"own.decayed_{days}d"] / np.maximum(value_N, 1e-6)
            for days, value_N in taken.items()
        },
        "own.category_days_since_last": shelf.latest(past.age_H),
    }


def _codes(category_I: np.ndarray, item_N: np.ndarray) -> np.ndarray:
    """Return 1 + the category, int64 [N]; 0 where an item has none or came after the fit."""
    known_N = item_N < len(category_I)
    return np.where(known_N, category_I[np.where(known_N, item_N, 0)].astype(np.int64) + 1, 0)
