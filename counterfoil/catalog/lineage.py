"""Walks through the catalog: from anything back to the data it came from."""

from dataclasses import dataclass
from typing import Any

from counterfoil.catalog.catalog import Catalog
from counterfoil.types import Noun


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One noun of a walk: how deep, by which roles it was reached from what, and the noun itself."""

    depth: int
    via: tuple[str, ...]
    noun: Noun


def backwards(catalog: Catalog, noun_id: str) -> list[Step]:
    """Return everything that the noun was made from, nearest first, each once. UnknownError when there is no such noun."""
    order: dict[str, tuple[int, list[str]]] = {noun_id: (0, [])}
    queue = [noun_id]
    while queue:
        current = queue.pop(0)
        for _, parent in catalog.parents(current):
            if parent not in order:
                order[parent] = (order[current][0] + 1, [])
                queue.append(parent)
            order[parent][1].append(current)
    return [Step(depth=depth, via=tuple(via), noun=catalog.get(name)) for name, (depth, via) in order.items()]


def summary(noun: Noun) -> dict[str, Any]:
    """Return what a person wants to see of a noun in a chain: the digests and the few fields that name it."""
    wanted = (
        "subject", "passed", "rows", "family", "seed", "number", "state", "value",
        "address", "sha256", "tag", "epoch", "verb", "as_of", "first_time",
        "last_time", "feature_service", "code_version", "approved_by", "units",
    )  # fmt: skip
    return {name: getattr(noun, name) for name in wanted if hasattr(noun, name)}
