"""How many of the best items an index finds: every member of a model that has one is held against every product.

Shapes: P people, K list length.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from counterfoil import compiled
from counterfoil.errors import ConfigError
from models.data import Query, Ranking
from models.family import Model

LEAST = 0.99  # of the best K
K = 200


@runtime_checkable
class Indexed(Protocol):
    """A model that need not compute every product."""

    def recommend(self, query: Query, k: int) -> Ranking:
        """Return the best as they are served."""

    def exactly(self, query: Query, k: int) -> Ranking:
        """Return the best by every product."""


def indexed(model: Model, name: str) -> Iterator[tuple[str, Indexed]]:
    """Yield the members that have an index, and the model itself where it has one, each with its name."""
    if isinstance(model, Indexed):
        yield name, model
    members: Any = getattr(model, "retrievers", None) or getattr(model, "models", None) or {}
    inner = getattr(model, "inner", None)
    if inner is not None:
        members = {model.config.inner: inner}  # type: ignore[attr-defined]
    if isinstance(members, Mapping):
        for other, member in members.items():
            yield from indexed(member, other)


def measured(model: Indexed, query: Query, k: int = K) -> float:
    """Return the share of the best `k` by every product that are served, one person asked at a time as a service does."""
    k = min(k, query.items)
    shares = []
    for single in query.parts(1):
        served_K, best_K = model.recommend(single, k).item_PK[0], model.exactly(single, k).item_PK[0]
        best_K = best_K[best_K >= 0]
        if len(best_K):
            shares.append(float(np.isin(best_K, served_K).mean()))
    return float(np.mean(shares)) if shares else 1.0


def require(model: Model, name: str, query: Query) -> dict[str, float]:
    """Return the recall of every member with an index. ConfigError when one finds less than LEAST of the best."""
    members = list(indexed(model, name))
    if members:
        compiled.compile_all()  # what is measured is what serves
    found = {name: measured(member, query) for name, member in members}
    short = [f"{name} finds {share:.4f}" for name, share in found.items() if share < LEAST]
    if short:
        raise ConfigError(
            f"of the {K} best items by every product an index must find {LEAST:g}: {'; '.join(short)}; "
            "fit again with a larger `exact`, so that every product is computed"
        )
    return found
