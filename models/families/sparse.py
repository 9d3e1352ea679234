"""What families share whose scores are few: items with a score of their own above the prior (models/families/prior.py).

Scored items are few and listed, so that an answer costs what its history costs. Same answers as by models/families/dense.py.
Shapes: P people, I items, K list length, C scored items of a person, A items of its history, M entries of their rows.
"""

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from scipy.sparse import csr_matrix

from counterfoil.compiled import loop
from models.data import Interactions, Query, Ranking, spans
from models.families.prior import Prior
from models.family import best_of

PEOPLE_PER_PART = 1024

Scored = tuple[np.ndarray, np.ndarray]  # items, ascending, and their scores, float32, never below zero


def rank(
    query: Query, k: int, source: str, score: Callable[[Query], Iterable[Scored]], prior: Prior
) -> Ranking:
    """Rank by `score(part)`, person by person, plus the prior; ties go to the lower index."""
    k = min(k, query.items)
    item_PK = np.full((query.people, k), -1, np.int32)
    score_PK = np.full((query.people, k), -np.inf, np.float32)
    row = 0
    for part in query.parts(PEOPLE_PER_PART):
        for at, (item_C, score_C) in enumerate(score(part)):
            excluded = None if part.exclude is None else part.exclude[at]
            best, scores = _best(part, k, item_C, score_C, excluded, prior)
            item_PK[row, : len(best)], score_PK[row, : len(best)] = best, scores
            row += 1
    return Ranking(
        item_PK=item_PK, score_PK=score_PK, sources=(source,), source_PK=(item_PK >= 0).astype(np.uint8)
    )


def rows(scored_PI: csr_matrix) -> Iterator[Scored]:
    """Yield the rows of a sparse float32 matrix."""
    scored_PI.sort_indices()
    for start, stop in itertools.pairwise(scored_PI.indptr):
        yield scored_PI.indices[start:stop], scored_PI.data[start:stop]


def taken(history: Interactions, value_N: np.ndarray) -> Iterator[Scored]:
    """Yield what each person took, the values of several takings of one item added up."""
    key_G, at_N = history.pairs
    total_G = np.bincount(at_N, value_N, len(key_G)).astype(np.float32)
    item_G = key_G % max(history.items, 1)
    start_P = np.searchsorted(key_G, np.arange(history.people + 1) * history.items)
    for start, stop in itertools.pairwise(start_P.tolist()):
        yield item_G[start:stop], total_G[start:stop]


def entries(sim_II: csr_matrix, item_A: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rows of these items one after another: columns, values, and how many entries each row has, int64 [A].

    Only numpy: scipy's own way to rows and products takes a millisecond before it begins, which one answer cannot spare.
    """
    start_A = sim_II.indptr[item_A]
    count_A = sim_II.indptr[item_A + 1].astype(np.int64) - start_A
    at_M = spans(start_A, count_A)
    return sim_II.indices[at_M], sim_II.data[at_M], count_A


def near(sim_II: csr_matrix, item_A: np.ndarray, weight_A: np.ndarray, own_weight: float) -> Scored:
    """Return what the rows of the items of a history add up to, each times its weight; each item also speaks for itself."""
    known_A = item_A < sim_II.shape[0]
    if gather.ready and _fits(sim_II, weight_A):
        return _gathered(sim_II, item_A, weight_A, own_weight)
    column_M, value_M, count_A = entries(sim_II, item_A[known_A])
    items = max(sim_II.shape[1], int(item_A.max(initial=-1)) + 1)
    score_I = np.bincount(column_M, value_M * np.repeat(weight_A[known_A], count_A), items).astype(
        np.float64, copy=False
    )  # of nothing it counts whole numbers
    score_I[item_A] += weight_A * own_weight
    item_C = np.flatnonzero(score_I > 0)
    return item_C, score_I[item_C].astype(np.float32)


def _gathered(sim_II: csr_matrix, item_A: np.ndarray, weight_A: np.ndarray, own_weight: float) -> Scored:
    """Return what `near` does, to the bit: only what the rows name is touched, not an array of the whole catalogue."""
    items = max(sim_II.shape[1], int(item_A.max(initial=-1)) + 1)
    score_I, seen_I = _room_of(items)
    start_A = sim_II.indptr[np.minimum(item_A, sim_II.shape[0] - 1)].astype(np.int64)
    stop_A = sim_II.indptr[np.minimum(item_A + 1, sim_II.shape[0])].astype(np.int64)
    stop_A = np.where(item_A < sim_II.shape[0], stop_A, start_A)
    met_M = np.empty(int((stop_A - start_A).sum()) + len(item_A) + 1, np.int64)
    own_A = np.asarray(weight_A * own_weight, np.float64)
    gather(
        start_A,
        stop_A,
        sim_II.indices,
        sim_II.data,
        item_A.astype(np.int64),
        np.asarray(weight_A, np.float32),
        own_A,
        score_I,
        seen_I,
        met_M,
    )
    item_C = np.sort(met_M[1 : 1 + met_M[0]])
    score_C = score_I[item_C]
    score_I[item_C] = 0.0
    positive_C = score_C > 0
    return item_C[positive_C], score_C[positive_C].astype(np.float32)


def _fits(sim_II: csr_matrix, weight_A: np.ndarray) -> bool:
    kinds = (sim_II.indices.dtype, sim_II.data.dtype, weight_A.dtype)
    return kinds == (np.int32, np.float32, np.float32)


_own = threading.local()


def _room_of(items: int) -> tuple[np.ndarray, np.ndarray]:
    """Return zeros over the catalogue, float64 and bool, which whoever takes them leaves as zeros."""
    if len(getattr(_own, "score_I", ())) < items:
        _own.score_I, _own.seen_I = np.zeros(items), np.zeros(items, bool)
    return _own.score_I, _own.seen_I


@loop(
    "void(int64[::1], int64[::1], int32[::1], float32[::1], int64[::1], float32[::1], float64[::1], float64[::1], "
    "boolean[::1], int64[::1])"
)
def gather(start_A, stop_A, indices, data, item_A, weight_A, own_A, score_I, seen_I, met_M):  # type: ignore[no-untyped-def]
    """Add up the weighed rows in `score_I`; `met_M` gets the number of items met, then these, as they were met."""
    met = 0
    for a in range(len(item_A)):
        for m in range(start_A[a], stop_A[a]):
            item = indices[m]
            if not seen_I[item]:
                seen_I[item] = True
                met += 1
                met_M[met] = item
            score_I[item] += np.float64(data[m] * weight_A[a])
    for a in range(len(item_A)):
        item = item_A[a]
        if not seen_I[item]:
            seen_I[item] = True
            met += 1
            met_M[met] = item
        score_I[item] += own_A[a]
    for m in range(1, met + 1):
        seen_I[met_M[m]] = False
    met_M[0] = met


def nearness(
    sim_II: csr_matrix, item_A: np.ndarray, weight_A: np.ndarray, own_weight: float, item: int
) -> dict[int, float]:
    """Return what each item of a history adds to the score that `near` gives one item, by item of the history."""
    known_A = np.flatnonzero(item_A < sim_II.shape[0])
    column_M, value_M, count_A = entries(sim_II, item_A[known_A])
    from_M = np.repeat(known_A, count_A)
    here_M = column_M == item
    added_A = np.bincount(from_M[here_M], value_M[here_M], len(item_A)) * weight_A
    added_A = added_A + np.where(item_A == item, weight_A * own_weight, 0.0)
    return dict(zip(item_A.tolist(), added_A.tolist(), strict=True))


def _best(
    query: Query, k: int, item_C: np.ndarray, score_C: np.ndarray, excluded: np.ndarray | None, prior: Prior
) -> tuple[np.ndarray, np.ndarray]:
    """Return the best items and their scores; `item_C` ascends.

    What has no score of its own can only be among the best k if k at most of what may be answered have a higher prior.
    """
    prior_I, left_out = prior.of(query), 0 if excluded is None else len(excluded)
    if query.allowed_I is not None:
        allowed_C = query.allowed_I[item_C]
        item_C, score_C = item_C[allowed_C], score_C[allowed_C]
    score_C = score_C + prior_I[item_C]
    top_C = best_of(score_C, k + left_out)
    leading = prior.leading(query, k + left_out)
    if len(item_C):
        place = np.minimum(np.searchsorted(item_C, leading), len(item_C) - 1)
        leading = leading[item_C[place] != leading]
    pool = np.concatenate([item_C[top_C], leading])
    score = np.concatenate([score_C[top_C], prior_I[leading]])
    if excluded is not None and left_out:
        kept = ~np.isin(pool, excluded)
        pool, score = pool[kept], score[kept]
    best = np.lexsort((pool, -score))[:k]
    return pool[best], score[best]
