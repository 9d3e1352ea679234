"""What a contender may not break, whatever its lead: guardrails against the reference, floors, ceilings. No statistics here.

A bound names a metric ("coverage@10"), a metric on a slice ("ndcg@10[new people]") or a cost ("score_ms"). What was not
measured, or is no finite number, counts as broken; a slice without a single unit has nothing to protect.
"""

import math
from collections.abc import Mapping
from typing import Protocol

from counterfoil.types import Gate


class Measured(Protocol):
    """What bounds are held against."""

    @property
    def family(self) -> str:
        """Name of the family, for sentences."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """Means over all units."""

    @property
    def slices(self) -> Mapping[str, Mapping[str, float]]:
        """Means over slices, with the number of `units`."""

    @property
    def cost(self) -> Mapping[str, float]:
        """Seconds, bytes, milliseconds."""


def breaches(gate: Gate, contender: Measured, reference: Measured) -> tuple[str, ...]:
    """Return what the contender breaks, one clause each; nothing when it keeps to every bound."""
    found = [_guardrail(name, share, contender, reference) for name, share in gate.guardrails.items()]
    found += [_bound(name, floor, contender, below=True) for name, floor in gate.floors.items()]
    found += [_bound(name, ceiling, contender, below=False) for name, ceiling in gate.ceilings.items()]
    return tuple(clause for clause in found if clause is not None)


def _guardrail(name: str, share: float, contender: Measured, reference: Measured) -> str | None:
    if _empty_slice(name, contender) and _empty_slice(name, reference):
        return None
    value, theirs = _measure(name, contender), _measure(name, reference)
    for who, found in ((contender, value), (reference, theirs)):
        if found is None:
            return f"{name} of {who.family} was not measured"
    assert value is not None
    assert theirs is not None
    if value >= share * theirs:
        return None
    return f"{name} {value:.4g} is below {share:.0%} of {reference.family}'s {theirs:.4g}"


def _bound(name: str, bound: float, contender: Measured, *, below: bool) -> str | None:
    if _empty_slice(name, contender):
        return None
    value = _measure(name, contender)
    if value is None:
        return f"{name} of {contender.family} was not measured"
    if below and value < bound:
        return f"{name} {value:.4g} is below the floor of {bound:.4g}"
    if not below and value > bound:
        return f"{name} {value:.4g} is above the ceiling of {bound:.4g}"
    return None


def _measure(name: str, who: Measured) -> float | None:
    """Return the finite value of that name, or None."""
    metric, slice_ = _parts(name)
    values = {**who.cost, **who.metrics} if slice_ is None else who.slices.get(slice_, {})
    value = values.get(metric)
    return value if value is not None and math.isfinite(value) else None


def _empty_slice(name: str, who: Measured) -> bool:
    """Say whether the slice exists and has no unit; a slice that nobody cut is a fault of the gate, not an empty one."""
    slice_ = _parts(name)[1]
    return slice_ is not None and who.slices.get(slice_, {}).get("units") == 0


def _parts(name: str) -> tuple[str, str | None]:
    metric, bracket, rest = name.partition("[")
    return (metric, rest.removesuffix("]")) if bracket else (name, None)
