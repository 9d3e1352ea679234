"""The pool: what several retrievers proposed for each person, merged. No features (signals.py), no ranking (booster.py).

Shapes: P people, N rows of the pool, S retrievers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.data import Ranking


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Candidates sorted by (person's row, item), each pair once; score and rank are NaN where a retriever is silent.

    Bit s of `source_N` says that retriever s proposed the row; `rank_NS` counts from 0.
    """

    row_N: np.ndarray  # int64
    item_N: np.ndarray  # int64
    source_N: np.ndarray  # uint8
    score_NS: np.ndarray  # float32
    rank_NS: np.ndarray  # float32
    people: int
    items: int

    def __len__(self) -> int:
        return len(self.item_N)

    @property
    def key_N(self) -> np.ndarray:
        """One ascending number per (row, item), int64."""
        return self.row_N * self.items + self.item_N

    @property
    def sizes_P(self) -> np.ndarray:
        """Number of candidates per person, int64 [P]."""
        return np.bincount(self.row_N, minlength=self.people)

    @property
    def place_N(self) -> np.ndarray:
        """The how many-th of its person each row is, from 0, int64; the same after rows were sorted within people."""
        sizes_P = self.sizes_P
        return np.arange(len(self)) - np.repeat(np.cumsum(sizes_P) - sizes_P, sizes_P)

    def taken(self, truth: Sequence[np.ndarray]) -> np.ndarray:
        """Say which rows were taken, by what each person took, bool [N]."""
        row_T = np.repeat(np.arange(len(truth)), [len(items) for items in truth])
        return np.isin(self.key_N, row_T * self.items + np.concatenate(truth))

    def where(self, mask_N: np.ndarray) -> "Pool":
        """Return the rows that the mask keeps."""
        return replace(
            self,
            row_N=self.row_N[mask_N],
            item_N=self.item_N[mask_N],
            source_N=self.source_N[mask_N],
            score_NS=self.score_NS[mask_N],
            rank_NS=self.rank_NS[mask_N],
        )


def merge(rankings: Sequence[Ranking], people: int, items: int) -> Pool:
    """Merge the retrievers' lists into one pool; at most 8 retrievers have a bit in `Ranking.source_PK`."""
    if people == 1 and len(rankings) == 1:
        return _alone(rankings[0], items)
    keys, scores, ranks = zip(*(_flat(ranking, items) for ranking in rankings), strict=True)
    key_N, at_M = np.unique(np.concatenate(keys), return_inverse=True)
    score_NS = np.full((len(key_N), len(rankings)), np.nan, np.float32)
    rank_NS = score_NS.copy()
    source_N = np.zeros(len(key_N), np.uint8)
    start = 0
    for s, (score_M, rank_M) in enumerate(zip(scores, ranks, strict=True)):
        own = at_M[start : start + len(score_M)]
        start += len(score_M)
        score_NS[own, s] = score_M
        rank_NS[own, s] = rank_M
        source_N[own] |= np.uint8(1 << s)
    row_N, item_N = np.divmod(key_N, items)
    return Pool(
        row_N=row_N,
        item_N=item_N,
        source_N=source_N,
        score_NS=score_NS,
        rank_NS=rank_NS,
        people=people,
        items=items,
    )


def _alone(ranking: Ranking, items: int) -> Pool:
    """Return the pool of one person and one retriever, who names nothing twice."""
    rank_M = np.flatnonzero(ranking.item_PK[0] >= 0)
    order_N = np.argsort(ranking.item_PK[0][rank_M])
    rank_N = rank_M[order_N]
    return Pool(
        row_N=np.zeros(len(rank_N), np.int64),
        item_N=ranking.item_PK[0][rank_N].astype(np.int64),
        source_N=np.ones(len(rank_N), np.uint8),
        score_NS=ranking.score_PK[0][rank_N][:, None].astype(np.float32),
        rank_NS=rank_N.astype(np.float32)[:, None],
        people=1,
        items=items,
    )


def _flat(ranking: Ranking, items: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return key, score and rank of every place that is filled."""
    row_M, rank_M = np.nonzero(ranking.item_PK >= 0)
    item_M = ranking.item_PK[row_M, rank_M]
    return row_M * items + item_M, ranking.score_PK[row_M, rank_M], rank_M.astype(np.float32)


def best(pool: Pool, score_N: np.ndarray, k: int, sources: tuple[str, ...]) -> Ranking:
    """Return each person's `k` best rows of the pool by score; ties go to the lower item index."""
    if pool.people == 1:  # rows are by item already
        order_N = np.argsort(-score_N, kind="stable")[:k]
        place_N = np.arange(len(order_N))
    else:
        order_N = np.lexsort((pool.item_N, -score_N, pool.row_N))
        place_N = pool.place_N
        order_N, place_N = order_N[place_N < k], place_N[place_N < k]
    k = min(k, pool.items)
    item_PK = np.full((pool.people, k), -1, np.int32)
    score_PK = np.full((pool.people, k), -np.inf, np.float32)
    source_PK = np.zeros((pool.people, k), np.uint8)
    at = (pool.row_N[order_N], place_N)
    item_PK[at], score_PK[at], source_PK[at] = pool.item_N[order_N], score_N[order_N], pool.source_N[order_N]
    return Ranking(item_PK=item_PK, score_PK=score_PK, sources=sources, source_PK=source_PK)
