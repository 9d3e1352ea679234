"""Habits: how surely and how soon an item is taken again, learned from everybody's past up to a moment. Per item, no person.

For each window of one horizon, among the pairs of person and item that were alive before it, the share that is taken again in it;
shrunk towards the rate of the item's shelf (its category), and that towards the rate of all. Shapes: I items, G pairs, W windows.
"""

import numpy as np

from models.data import DAY_US, Interactions

WINDOWS = 4
REACH = 3  # windows before a target in which a pair counts as alive
ITEM_PRIOR, SHELF_PRIOR, GAP_PRIOR = 10.0, 20.0, 5.0


def learn(
    interactions: Interactions, now_us: int, horizon_us: int, category_I: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the columns as of `now_us`, float32 [I]: how likely the item is taken again, and days between two takings.

    `again` after the window just before, `again_long` after any of the last three; windows of one horizon that end now.
    """
    past = interactions.between(None, now_us)
    key_G, pair_N = np.unique(past.person_N.astype(np.int64) * past.items + past.item_N, return_inverse=True)
    item_G = key_G % max(past.items, 1)
    window_N = (now_us - 1 - past.time_N) // horizon_us
    present_GW = np.zeros((len(key_G), WINDOWS + REACH), bool)
    near_N = window_N < WINDOWS + REACH
    present_GW[pair_N[near_N], window_N[near_N]] = True
    before = [present_GW[:, back : back + WINDOWS] for back in range(1, REACH + 1)]
    taken_GW = present_GW[:, :WINDOWS]
    again_I, shelf_again_I = _rates(taken_GW, before[0], item_G, past.items, category_I)
    again_long_I, shelf_again_long_I = _rates(
        taken_GW, np.logical_or.reduce(before), item_G, past.items, category_I
    )
    return {
        "habit.again": again_I,
        "habit.again_long": again_long_I,
        "habit.shelf_again": shelf_again_I,
        "habit.shelf_again_long": shelf_again_long_I,
        "habit.gap_days": _gaps(past, pair_N),
    }


def _rates(
    taken_GW: np.ndarray, alive_GW: np.ndarray, item_G: np.ndarray, items: int, category_I: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the shrunk rate per item and the rate of its shelf, float32 [I]."""
    alive_I = np.bincount(item_G, alive_GW.sum(axis=1), items)
    again_I = np.bincount(item_G, (taken_GW & alive_GW).sum(axis=1), items)
    overall = again_I.sum() / max(alive_I.sum(), 1.0)
    shelf_I = np.zeros(items, np.int64) if len(category_I) == 0 else category_I.astype(np.int64) + 1
    shelf_rate = (np.bincount(shelf_I, again_I) + SHELF_PRIOR * overall) / (
        np.bincount(shelf_I, alive_I) + SHELF_PRIOR
    )
    shelf_rate_I = shelf_rate[shelf_I] if items else np.zeros(0)
    rate_I = (again_I + ITEM_PRIOR * shelf_rate_I) / (alive_I + ITEM_PRIOR)
    return rate_I.astype(np.float32), shelf_rate_I.astype(np.float32)


def _gaps(past: Interactions, pair_N: np.ndarray) -> np.ndarray:
    """Return the mean days between two takings of an item by the same person, shrunk towards that of all, float32 [I]."""
    order_N = np.argsort(pair_N, kind="stable")  # within a person interactions are in order of time already
    pair_S, time_S = pair_N[order_N], past.time_N[order_N]
    gap_S = np.where(np.diff(pair_S) == 0, np.diff(time_S) / DAY_US, 0.0)
    item_S, gap_S = past.item_N[order_N][1:][gap_S > 0], gap_S[gap_S > 0]
    overall = gap_S.mean() if len(gap_S) else 0.0
    total_I = np.bincount(item_S, gap_S, past.items) + GAP_PRIOR * overall
    return (total_I / (np.bincount(item_S, minlength=past.items) + GAP_PRIOR)).astype(np.float32)
