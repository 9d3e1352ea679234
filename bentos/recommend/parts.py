"""The model, or what is left of it: when it fails as a whole, those of its parts that still answer.

Assemblies hold members (models/assembly), two stages their retrievers; each of these is a model of its own.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from bentos.recommend.sources import by_reciprocal_rank
from models.data import Query
from models.family import Model

log = logging.getLogger(__name__)
FAILED = "the model failed: answered from the other sources"
IN_PARTS = "the model failed: answered with what its parts propose, by reciprocal rank"
SILENT = "the model's part failed: {name}"
HELD = ("retrievers", "models")  # where assemblies hold what they are made of, by name


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """What a model said for one person: items best first, scores, who proposed each; `degraded` says what failed."""

    item_K: np.ndarray
    score_K: np.ndarray
    sources: list[tuple[str, ...]]
    degraded: tuple[str, ...] = ()


def ask(model: Model, query: Query, k: int) -> Said:
    """Return the model's `k` best, else what its parts propose, else nothing; what fails is in the log and in `degraded`."""
    try:
        return _of(model, query, k)
    except Exception:  # a model that fails on one question must not fail the request; the receipt says so
        log.exception("the model failed")
    return _of_parts(model, query, k)


def _of(model: Model, query: Query, k: int) -> Said:
    ranking = model.recommend(query, k)
    real_K = ranking.item_PK[0] >= 0
    names = _names(ranking.sources, ranking.source_PK[0][real_K])
    return Said(item_K=ranking.item_PK[0][real_K], score_K=ranking.score_PK[0][real_K], sources=names)


def _names(sources: tuple[str, ...], bits_K: np.ndarray) -> list[tuple[str, ...]]:
    """Return the names of each item's sources; items of the same ones share a tuple."""
    known: dict[int, tuple[str, ...]] = {}
    for bits in bits_K.tolist():
        if bits not in known:
            known[bits] = tuple(name for bit, name in enumerate(sources) if bits >> bit & 1)
    return [known[bits] for bits in bits_K.tolist()]


def _of_parts(model: Model, query: Query, k: int) -> Said:
    lists: dict[str, np.ndarray] = {}
    silent = []
    for name, part in held(model):
        try:
            lists[name] = _of(part, query, k).item_K
        except Exception:
            log.exception("the model's part %s failed", name)
            silent.append(SILENT.format(name=name))
    lists = {name: item_K for name, item_K in lists.items() if len(item_K)}
    if not lists:
        return Said(item_K=np.zeros(0, np.int32), score_K=np.zeros(0), sources=[], degraded=(FAILED,))
    item_K, worth_K = by_reciprocal_rank(list(lists.values()))
    item_K, worth_K = item_K[:k], worth_K[:k]
    proposed = {name: set(one.tolist()) for name, one in lists.items()}
    names = [tuple(name for name, one in proposed.items() if item in one) for item in item_K.tolist()]
    return Said(item_K=item_K, score_K=worth_K, sources=names, degraded=(IN_PARTS, *silent))


def held(model: Model) -> Iterator[tuple[str, Model]]:
    """Yield the models that a model is made of by name, the innermost; nothing for one that stands alone."""
    inner = getattr(model, "inner", None)
    if inner is not None:
        yield from held(inner)
    for where in HELD:
        parts = getattr(model, where, None)
        if isinstance(parts, Mapping):
            yield from parts.items()
