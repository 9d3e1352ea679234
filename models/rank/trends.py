"""Trends: how much an item is taken, by how many for the first time, and where that is heading. Per item, no person.

Everything is counted up to a moment, whole days of takers. Shapes: I items, N interactions.
"""

import numpy as np

from models.data import DAY_US, Interactions

HALF_LIVES_DAYS = (3, 10, 30, 90)
FIRST_HALF_LIVES_DAYS = (10, 30)


def learn(interactions: Interactions, now_us: int) -> dict[str, np.ndarray]:
    """Return the columns as of `now_us`, float [I]: decayed counts, those of people's first time, rise, ages in days, takers."""
    past = interactions.between(None, now_us)
    age_N = (now_us - past.time_N) / DAY_US
    pair_N = past.person_N.astype(np.int64) * past.items + past.item_N
    _, first_M = np.unique(pair_N, return_index=True)  # a person's lines are in order of time
    decayed = {days: _decayed(past.item_N, age_N, days, past.items) for days in HALF_LIVES_DAYS}
    fresh = {
        days: _decayed(past.item_N[first_M], age_N[first_M], days, past.items)
        for days in FIRST_HALF_LIVES_DAYS
    }
    newest_I, oldest_I = np.full(past.items, np.nan), np.full(past.items, np.nan)
    np.fmin.at(newest_I, past.item_N, age_N)
    np.fmax.at(oldest_I, past.item_N, age_N)
    # a steady item's decayed counts are in the ratio of the half-lives
    rise_I = np.log((decayed[10] / 10 + 0.1) / (decayed[90] / 90 + 0.1))
    spurt_I = np.log((decayed[3] / 3 + 0.1) / (decayed[30] / 30 + 0.1))
    return {
        **{f"trend.decayed_{days}d": np.log1p(value_I) for days, value_I in decayed.items()},
        **{f"trend.first_{days}d": np.log1p(value_I) for days, value_I in fresh.items()},
        "trend.takers": np.log1p(np.bincount(past.item_N[first_M], minlength=past.items)),
        "trend.rise": rise_I,
        "trend.spurt": spurt_I,
        "trend.age_days": oldest_I,
        "trend.idle_days": newest_I,
    }


def _decayed(item_N: np.ndarray, age_N: np.ndarray, half_life_days: float, items: int) -> np.ndarray:
    return np.bincount(item_N, np.exp2(age_N / -half_life_days), items)
