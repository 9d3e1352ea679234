"""Accuracy on popular and on rare items apart: a list may owe all of its figure to what everybody takes anyway.

Shapes: P units, K list length, I items.
"""

from collections.abc import Sequence

import numpy as np

from models.metrics.accuracy import hits, ndcg, recall, taken

HEAD_SHARE = 0.8


def head(popularity_I: np.ndarray) -> np.ndarray:
    """Say which items are the head, bool [I]: the most popular ones that together make up 80% of all that was taken.

    The others are the tail, those never taken among them. Of equals the lower index comes first.
    """
    order_I = np.argsort(-popularity_I, kind="stable")
    before_I = np.cumsum(popularity_I[order_I]) - popularity_I[order_I]
    out_I = np.zeros(len(popularity_I), bool)
    out_I[order_I] = (before_I < HEAD_SHARE * popularity_I.sum()) & (popularity_I[order_I] > 0)
    return out_I


def restricted(
    item_PK: np.ndarray, truth: Sequence[np.ndarray], kept_I: np.ndarray, k: int
) -> dict[str, np.ndarray]:
    """Return nDCG@k and recall@k per unit where only items of the mask were right answers; NaN where a unit took none of them.

    Lists stay as they are: an item beyond the mask takes a place and is no hit.
    """
    kept = [np.asarray(items, np.int64)[kept_I[np.asarray(items, np.int64)]] for items in truth]
    hit_PK, taken_P = hits(item_PK, kept), taken(kept)
    return {f"ndcg@{k}": ndcg(hit_PK, taken_P, k), f"recall@{k}": recall(hit_PK, taken_P, k)}
