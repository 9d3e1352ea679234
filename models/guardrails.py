"""What a contender may not break, whatever its lead: guardrails against the reference, floors, ceilings.

A bound names a metric ("coverage@10"), a metric on a slice ("ndcg@10[new people]") or a cost ("score_ms"). What was not
measured, or is no finite number, counts as broken. A figure over everybody or a cost is held against its bound as it is. A
slice has fewer units, so its figure is the noisier: there a bound is broken when the 95% interval, paired by unit for a
guardrail, lies beyond it; with fewer units than the gate's `min_slice_units` it speaks neither for nor against.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np

from counterfoil.types import Gate
from models.bootstrap import RESAMPLES, intervals

CONFIDENCE = 0.95


class Measured(Protocol):
    """What bounds are held against."""

    @property
    def family(self) -> str:
        """Name of the family, for sentences."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """Means over all units."""

    @property
    def parts(self) -> Mapping[str, np.ndarray]:
        """Per bound on a slice that was measured: its metric per unit, NaN for units that are not in the slice."""

    @property
    def cost(self) -> Mapping[str, float]:
        """Seconds, bytes, milliseconds."""


class Held(NamedTuple):
    """What came of holding a contender against the gate: what it breaks, and what it may break but for luck; a clause each."""

    breaches: tuple[str, ...]
    doubts: tuple[str, ...]


class Draws(NamedTuple):
    """How intervals are drawn."""

    seed: int
    resamples: int


def hold(
    gate: Gate, contender: Measured, reference: Measured, *, seed: int = 0, resamples: int = RESAMPLES
) -> Held:
    """Hold a contender, measured on the reference's units, against every bound of the gate."""
    draws = Draws(seed, resamples)
    found = [
        _guardrail(gate, name, share, contender, reference, draws) for name, share in gate.guardrails.items()
    ]
    found += [_bound(gate, name, floor, contender, draws, below=True) for name, floor in gate.floors.items()]
    found += [
        _bound(gate, name, ceiling, contender, draws, below=False) for name, ceiling in gate.ceilings.items()
    ]
    broken = tuple(clause for clause, certain in found if clause and certain)
    return Held(broken, tuple(clause for clause, certain in found if clause and not certain))


def slices_of(gate: Gate) -> tuple[str, ...]:
    """Return the bounds of the gate that are about slices."""
    names = dict.fromkeys((*gate.guardrails, *gate.floors, *gate.ceilings))
    return tuple(name for name in names if "[" in name)


def silent(gate: Gate, reference: Measured) -> dict[str, int]:
    """Return the bounds on slices with too few units to speak, and how many they have."""
    units = {name: _units(reference.parts[name]) for name in slices_of(gate) if name in reference.parts}
    return {name: count for name, count in units.items() if count < max(1, gate.min_slice_units)}


Found = tuple[str, bool]  # a clause, empty when all is well, and whether it is certain
WELL: Found = ("", True)


def _guardrail(
    gate: Gate, name: str, share: float, contender: Measured, reference: Measured, draws: Draws
) -> Found:
    if "[" in name:
        return _slice_guardrail(gate, name, share, contender, reference, draws)
    value, theirs = _measure(name, contender), _measure(name, reference)
    for who, found in ((contender, value), (reference, theirs)):
        if found is None:
            return f"{name} of {who.family} was not measured", True
    assert value is not None
    assert theirs is not None
    if value >= share * theirs:
        return WELL
    return f"{name} {value:.4g} is below {share:.0%} of {reference.family}'s {theirs:.4g}", True


def _slice_guardrail(
    gate: Gate, name: str, share: float, contender: Measured, reference: Measured, draws: Draws
) -> Found:
    for who in (contender, reference):
        if name not in who.parts:
            return f"{name} of {who.family} was not measured", True
    own_U, their_U = contender.parts[name], reference.parts[name]
    asked_U = np.isfinite(their_U)
    if asked_U.sum() < max(1, gate.min_slice_units):
        return WELL
    missing = int((asked_U & ~np.isfinite(own_U)).sum())
    if missing:
        return f"{name} of {contender.family} was not measured on {missing} of {asked_U.sum()} units", True
    own, theirs = own_U[asked_U], their_U[asked_U]
    if own.mean() >= share * theirs.mean():
        return WELL
    clause = f"{name} {own.mean():.4g} is below {share:.0%} of {reference.family}'s {theirs.mean():.4g}"
    return _weighed(clause, share * theirs - own, draws)


def _bound(gate: Gate, name: str, bound: float, contender: Measured, draws: Draws, *, below: bool) -> Found:
    part_U = contender.parts.get(name)
    if part_U is not None and _units(part_U) < max(1, gate.min_slice_units):
        return WELL
    value = _measure(name, contender)
    if value is None:
        return f"{name} of {contender.family} was not measured", True
    if value >= bound if below else value <= bound:
        return WELL
    clause = f"{name} {value:.4g} is {'below the floor' if below else 'above the ceiling'} of {bound:.4g}"
    if part_U is None:
        return clause, True
    beyond_U = part_U[np.isfinite(part_U)] - bound
    return _weighed(clause, -beyond_U if below else beyond_U, draws)


def _weighed(clause: str, past_U: np.ndarray, draws: Draws) -> Found:
    """Return the clause with the interval of the mean distance past the bound; certain when all of it is past."""
    low, high = intervals(past_U[None], CONFIDENCE, draws.seed, draws.resamples)[0]
    return f"{clause} on {len(past_U):,} units, by {past_U.mean():.4f} ({low:.4f} to {high:.4f})", bool(
        low > 0
    )


def _measure(name: str, who: Measured) -> float | None:
    """Return the finite value of that name, or None."""
    if "[" in name:
        part_U = who.parts.get(name)
        value = None if part_U is None or not _units(part_U) else float(part_U[np.isfinite(part_U)].mean())
    else:
        value = {**who.cost, **who.metrics}.get(name)
    return value if value is not None and math.isfinite(value) else None


def _units(part_U: np.ndarray | None) -> int:
    return 0 if part_U is None else int(np.isfinite(part_U).sum())
