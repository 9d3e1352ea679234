"""The protocol that every family keeps, and the registry. Families know neither tasks nor use cases.

A family is a module in `models/families/` with a frozen config dataclass (its `family` class variable is the name), a
`fit` and a `load`; it is registered by one line in `models/families/__init__.py`, and inherits the contract suite by that.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from models.data import Query, Ranking, TrainingSet


class Model(Protocol):
    """A fitted model. It answers from the question alone: what is fresh (history, features) comes with the query.

    One whose score is a sum has `explain` too (models/explain.py).
    """

    def recommend(self, query: Query, k: int) -> Ranking:
        """Return the best `k` items per person among those that the query allows; nothing is invented for padding."""

    def save(self, folder: Path) -> None:
        """Write the artefact into an empty folder: JSON, npy, UBJ or safetensors; twice the same bytes; no pickle."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """A registry line: the config's type, `fit` and `load`; `paper` names the source of the method."""

    config: type
    fit: Callable[[Any, TrainingSet, int], Model]
    load: Callable[[Path], Model]
    paper: str
    seeded: bool = False  # whether another seed can give another model


def joined(parts: Iterable[Ranking]) -> Ranking:
    """Return the answers to the parts of a question as one; there is at least one part."""
    rankings = tuple(parts)
    return Ranking(
        item_PK=np.concatenate([part.item_PK for part in rankings]),
        score_PK=np.concatenate([part.score_PK for part in rankings]),
        sources=rankings[0].sources,
        source_PK=np.concatenate([part.source_PK for part in rankings]),
    )


def top_k(score_PI: np.ndarray, query: Query, k: int, source: str) -> Ranking:
    """Return the `k` best of dense scores, float32 [P, I]; ties go to the lower item index; -inf is never answered.

    Items that the query does not allow, or excludes for that person, are left out. `score_PI` is overwritten.
    """
    if query.allowed_I is not None:
        score_PI[:, ~query.allowed_I] = -np.inf
    for row, excluded in enumerate(query.exclude or ()):
        score_PI[row, excluded] = -np.inf
    k = min(k, score_PI.shape[1])
    item_PK = np.full((len(score_PI), k), -1, np.int32)
    out_PK = np.full((len(score_PI), k), -np.inf, np.float32)
    for row, scores_I in enumerate(score_PI):
        best = best_of(scores_I, k)
        item_PK[row, : len(best)] = best
        out_PK[row, : len(best)] = scores_I[best]
    return Ranking(
        item_PK=item_PK, score_PK=out_PK, sources=(source,), source_PK=(item_PK >= 0).astype(np.uint8)
    )


def best_of(score_I: np.ndarray, k: int) -> np.ndarray:
    """Return the indices of the `k` best scores, best first; ties go to the lower index, -inf is left out; no NaN."""
    if k < 1:
        return np.zeros(0, np.int64)
    pool = np.flatnonzero(score_I >= bound(score_I, k))
    pool = pool[score_I[pool] > -np.inf]
    if len(pool) > k:
        least = -np.partition(-score_I[pool], k - 1)[k - 1]
        above = pool[score_I[pool] > least]
        pool = np.concatenate([above, pool[score_I[pool] == least][: k - len(above)]])
    return pool[np.argsort(-score_I[pool], kind="stable")]


def bound(score_I: np.ndarray, k: int, rows: int = 64) -> float:
    """Return a value that at least `k` scores reach, close below the k-th best: the k-th best maximum of disjoint blocks.

    One pass over the catalogue, 25 to 500 times faster than selecting among all of it (ties make selection slow).
    """
    blocks = len(score_I) // max(rows, 1)
    if rows < 1 or blocks <= k:
        return -np.inf
    most_B = score_I[: rows * blocks].reshape(rows, blocks).max(axis=0)
    return float(-np.partition(-most_B, k - 1)[k - 1])
