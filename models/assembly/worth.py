"""What a place in a member's list is worth beside those of others. Who is silent about an item gives it nothing.

Shapes: P people, N rows of a pool, M members.
"""

from typing import Literal

import numpy as np

from models.rank.pool import Pool

Kind = Literal["score", "rank"]
LEAST = np.float32(0.01)  # what the end of a list is worth by score: it was proposed


def worth(pool: Pool, kind: Kind, smoothing: float) -> np.ndarray:
    """Return what each member gives to each row of a pool, float32 [N, M]: above 0 and at most 1, 0 where it is silent.

    `rank`: (k + 1) / (k + rank) with `smoothing` for k (Cormack, Clarke, Buettcher 2009, scaled to 1 at the top). `score`: how
    far the score is above that of the end of the member's list, as a share of the best one's lead; 1 where all are equal.
    """
    if kind == "rank":
        by_rank_NM = np.float32(smoothing + 1) / (pool.rank_NS + np.float32(smoothing + 1))
        return np.nan_to_num(by_rank_NM, copy=False)
    size_P = pool.sizes_P
    asked_P = np.flatnonzero(size_P)
    if not len(asked_P):
        return np.zeros(pool.score_NS.shape, np.float32)
    start_P = (np.cumsum(size_P) - size_P)[asked_P]
    silent_NM = np.isnan(pool.score_NS)
    least_NM = np.minimum.reduceat(np.where(silent_NM, np.inf, pool.score_NS), start_P)
    lead_NM = np.maximum.reduceat(np.where(silent_NM, -np.inf, pool.score_NS), start_P) - least_NM
    least_NM, lead_NM = (np.repeat(value, size_P[asked_P], axis=0) for value in (least_NM, lead_NM))
    share_NM = np.divide(
        pool.score_NS - np.where(silent_NM, 0, least_NM),
        lead_NM,
        out=np.ones(pool.score_NS.shape, np.float32),
        where=~silent_NM & (lead_NM > 0),
    )
    return np.where(silent_NM, np.float32(0), LEAST + (1 - LEAST) * share_NM).astype(np.float32)


def total(worth_NM: np.ndarray, weights: tuple[float, ...]) -> np.ndarray:
    """Return the weighed sum over members, float32 [N]; member by member, so that no number of rows changes a bit."""
    sum_N = np.zeros(len(worth_NM), np.float32)
    for m, weight in enumerate(weights):
        if weight:
            sum_N += np.float32(weight) * worth_NM[:, m]
    return sum_N
