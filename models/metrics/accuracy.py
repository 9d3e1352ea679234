"""How well lists foresee what was taken: nDCG, recall, hit rate, reciprocal rank, average precision, precision, all at k.

Gains are binary. Shapes: P units, K list length, T true pairs. A unit that took nothing has no recall, nDCG or average
precision: NaN. A list shorter than k misses in its empty places (precision divides by k all the same, as trec_eval does).
"""

from collections.abc import Callable, Sequence

import numpy as np

from counterfoil.errors import InputError


def hits(item_PK: np.ndarray, truth: Sequence[np.ndarray]) -> np.ndarray:
    """Say per answered item whether the unit took it, bool [P, K]; -1 is nobody's item.

    InputError when units do not fit, or when an item is answered twice (it would count twice).
    """
    if len(item_PK) != len(truth):
        raise InputError(f"{len(item_PK)} lists but {len(truth)} truths; give one truth per list")
    refuse_repeats(item_PK)
    if not len(truth) or not item_PK.size:
        return np.zeros(item_PK.shape, bool)
    taken_T = np.concatenate([np.asarray(items, np.int64) for items in truth])
    base = int(max(item_PK.max(initial=0), taken_T.max(initial=0))) + 1
    key_T = np.repeat(np.arange(len(truth)), [len(items) for items in truth]) * base + taken_T
    key_PK = np.arange(len(truth))[:, None] * base + item_PK
    return np.isin(key_PK, key_T) & (item_PK >= 0)


def refuse_repeats(item_PK: np.ndarray) -> None:
    """Raise InputError when a list answers an item twice."""
    sorted_PK = np.sort(item_PK, axis=1)
    repeated_P = ((np.diff(sorted_PK, axis=1) == 0) & (sorted_PK[:, 1:] >= 0)).any(axis=1)
    if repeated_P.any():
        raise InputError(
            f"list {int(np.flatnonzero(repeated_P)[0])} answers an item twice; a list holds an item once"
        )


def taken(truth: Sequence[np.ndarray]) -> np.ndarray:
    """Count the distinct items each unit took, int64 [P]."""
    return np.array([len(np.unique(items)) for items in truth], np.int64)


def ndcg(hit_PK: np.ndarray, taken_P: np.ndarray, k: int) -> np.ndarray:
    """Return nDCG@k: hits discounted by log2(rank + 1), over the best that was possible (Järvelin and Kekäläinen 2002).

    With chances of hits in place of hits, the nDCG that is expected by them.
    """
    gain_P = (hit_PK[:, :k] * _discounts(k)[: hit_PK.shape[1]]).sum(axis=1)
    return _over(gain_P, ideal(taken_P, k))


def ideal(taken_P: np.ndarray, k: int) -> np.ndarray:
    """Return the best DCG@k that is possible where so many were taken, float64 [P]."""
    best_P: np.ndarray = np.concatenate([[0.0], np.cumsum(_discounts(k))])[np.minimum(taken_P, k)]
    return best_P


def recall(hit_PK: np.ndarray, taken_P: np.ndarray, k: int) -> np.ndarray:
    """Return the share of what was taken that is among the first k."""
    return _over(hit_PK[:, :k].sum(axis=1), taken_P)


def precision(hit_PK: np.ndarray, taken_P: np.ndarray, k: int) -> np.ndarray:
    """Return the share of the k places that hold something taken."""
    return np.asarray(hit_PK[:, :k].sum(axis=1) / k)


def hit_rate(hit_PK: np.ndarray, taken_P: np.ndarray, k: int) -> np.ndarray:
    """Return 1 where anything taken is among the first k, else 0."""
    return np.asarray(hit_PK[:, :k].any(axis=1), np.float64)


def mrr(hit_PK: np.ndarray, taken_P: np.ndarray, k: int) -> np.ndarray:
    """Return 1 / rank of the first hit, 0 without one (Voorhees 1999)."""
    top_PK = hit_PK[:, :k]
    if not top_PK.shape[1]:
        return np.zeros(len(top_PK))
    return np.where(top_PK.any(axis=1), 1.0 / (top_PK.argmax(axis=1) + 1.0), 0.0)


def average_precision(hit_PK: np.ndarray, taken_P: np.ndarray, k: int) -> np.ndarray:
    """Return the precisions at the ranks of hits, added up over all that was taken (as trec_eval's map_cut)."""
    top_PK = hit_PK[:, :k]
    precision_PK = np.cumsum(top_PK, axis=1) / np.arange(1, top_PK.shape[1] + 1)
    return _over((precision_PK * top_PK).sum(axis=1), taken_P)


ACCURACY: dict[str, Callable[[np.ndarray, np.ndarray, int], np.ndarray]] = {
    "ndcg": ndcg,
    "recall": recall,
    "hit_rate": hit_rate,
    "mrr": mrr,
    "map": average_precision,
    "precision": precision,
}


def _discounts(k: int) -> np.ndarray:
    return 1.0 / np.log2(np.arange(2, k + 2))


def _over(above_P: np.ndarray, below_P: np.ndarray) -> np.ndarray:
    out_P = np.full(len(above_P), np.nan)
    return np.divide(above_P, below_P, out=out_P, where=below_P > 0)
