"""What families share whose scores are few: items with a score of their own above the prior (models/families/prior.py).

Nothing as long as the catalogue is made per person, so that an answer costs what its history costs. Same answers as by
models/families/dense.py. Shapes: P people, I items, K list length, C scored items of a person.
"""

from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_matrix

from models.data import Query, Ranking
from models.families.prior import Prior
from models.family import best_of

PEOPLE_PER_PART = 1024


def rank(query: Query, k: int, source: str, score: Callable[[Query], csr_matrix], prior: Prior) -> Ranking:
    """Rank by `score(part)`, sparse float32 [P, I] and never below zero, plus the prior; ties go to the lower index."""
    k = min(k, query.items)
    item_PK = np.full((query.people, k), -1, np.int32)
    score_PK = np.full((query.people, k), -np.inf, np.float32)
    row = 0
    for part in query.parts(PEOPLE_PER_PART):
        scored_PI = score(part)
        scored_PI.sort_indices()
        for at in range(part.people):
            span = slice(scored_PI.indptr[at], scored_PI.indptr[at + 1])
            excluded = None if part.exclude is None else part.exclude[at]
            best, scores = _best(part, k, scored_PI.indices[span], scored_PI.data[span], excluded, prior)
            item_PK[row, : len(best)], score_PK[row, : len(best)] = best, scores
            row += 1
    return Ranking(
        item_PK=item_PK, score_PK=score_PK, sources=(source,), source_PK=(item_PK >= 0).astype(np.uint8)
    )


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
