"""What lists are made of, beyond being right: coverage, exposure, novelty, popularity, diversity, serendipity.

Shapes: P units, K list length, I items.
"""

from collections.abc import Sequence

import numpy as np


def coverage(item_PK: np.ndarray, items: int) -> float:
    """Return the share of a catalogue of `items` that at least one list shows (Ge, Delgado-Battenfeld, Jannach 2010)."""
    return len(np.unique(item_PK[item_PK >= 0])) / items if items else 0.0


def gini(item_PK: np.ndarray, items: int) -> float:
    """Return how unequally a catalogue of `items` is shown: 0 all alike, towards 1 one item alone. NaN for empty lists.

    Gini's coefficient over the counts of all items, those never shown included (as Fleder and Hosanagar 2009 use it).
    """
    shown = np.bincount(item_PK[item_PK >= 0], minlength=1)
    count_I = np.zeros(items)
    count_I[items - np.count_nonzero(shown) :] = np.sort(shown[shown > 0])
    if not count_I.any():
        return float("nan")
    rank_I = np.arange(1, items + 1)
    return float(((2 * rank_I - items - 1) * count_I).sum() / (items * count_I.sum()))


def serendipity(item_PK: np.ndarray, hit_PK: np.ndarray, popularity_I: np.ndarray, k: int) -> np.ndarray:
    """Return per unit the share of the k places that hold something taken that popularity alone would not have shown.

    Useful and unexpected, as Ge, Delgado-Battenfeld and Jannach 2010 have it: the primitive list is that of the k most
    popular items (ties: the lower index), the same for everybody; useful is what was taken. A missing place counts as none.
    """
    primitive_K = np.argsort(-popularity_I, kind="stable")[:k]
    surprising_PK = hit_PK[:, :k] & ~np.isin(item_PK[:, :k], primitive_K)
    return np.asarray(surprising_PK.sum(axis=1) / k)


def novelty(item_PK: np.ndarray, popularity_I: np.ndarray) -> np.ndarray:
    """Return per unit the mean self-information of the list, -log2 p(item), in bits (Zhou et al. 2010).

    p is the item's share of all that was taken, plus one each, so that items never taken stay finite. NaN for an empty list.
    """
    share_I = (popularity_I + 1.0) / (popularity_I.sum() + len(popularity_I))
    return _list_mean(item_PK, -np.log2(share_I))


def popularity(item_PK: np.ndarray, popularity_I: np.ndarray) -> np.ndarray:
    """Return per unit the mean popularity of the list (ARP; Abdollahpouri et al. 2019). NaN for an empty list."""
    return _list_mean(item_PK, popularity_I.astype(np.float64))


def popularity_ratio(item_PK: np.ndarray, truth: Sequence[np.ndarray], popularity_I: np.ndarray) -> float:
    """Return how much more popular lists are than what people take, mean over mean; 1 is unbiased. NaN without either."""
    shown = _mean(popularity(item_PK, popularity_I))
    took = _mean(np.array([popularity_I[items].mean() for items in truth if len(items)]))
    return shown / took if took > 0 else float("nan")


def diversity(item_PK: np.ndarray, category_I: np.ndarray) -> np.ndarray:
    """Return per unit the share of pairs in the list that differ in category (Ziegler et al. 2005, as 1 - similarity).

    Pairs with an item of no category (-1) do not count; NaN where no pair counts.
    """
    if not len(category_I):
        return np.full(len(item_PK), np.nan)
    category_PK = np.where(item_PK >= 0, category_I[item_PK], -1)
    left, right = np.triu_indices(item_PK.shape[1], k=1)
    known_PN = (category_PK[:, left] >= 0) & (category_PK[:, right] >= 0)
    differ_PN = (category_PK[:, left] != category_PK[:, right]) & known_PN
    pairs_P = known_PN.sum(axis=1)
    return np.divide(differ_PN.sum(axis=1), pairs_P, out=np.full(len(item_PK), np.nan), where=pairs_P > 0)


def _list_mean(item_PK: np.ndarray, value_I: np.ndarray) -> np.ndarray:
    shown_PK = item_PK >= 0
    shown_P = shown_PK.sum(axis=1)
    if not len(value_I):
        return np.full(len(item_PK), np.nan)
    total_P = np.where(shown_PK, value_I[item_PK], 0.0).sum(axis=1)
    return np.divide(total_P, shown_P, out=np.full(len(item_PK), np.nan), where=shown_P > 0)


def _mean(value_P: np.ndarray) -> float:
    kept = value_P[np.isfinite(value_P)]
    return float(kept.mean()) if len(kept) else float("nan")
