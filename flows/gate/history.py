"""Each day against the days before it: volume, level of numbers, filled columns, constant columns, mix of kinds.

Only arithmetic on profiles. Where there is no history to compare with, a ratio is 1 and a divergence 0: no finding.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

import numpy as np

from counterfoil.contracts import EVENT, KINDS
from flows.gate.policy import Policy
from flows.gate.profile import FLOATS, Profile
from flows.gate.shift import js_bits

OPTIONAL = tuple(f.name for f in EVENT.fields if not f.required)
COMPARED = tuple(f.name for f in EVENT.fields if f.name not in (EVENT.key, "kind"))


def days_before(day: str, days: Sequence[str], policy: Policy) -> list[str]:
    """Return those of `days` that lie in the policy's window before `day`."""
    first = (date.fromisoformat(day) - timedelta(days=policy.history_days)).isoformat()
    return [other for other in days if first <= other < day]


def compare(day: str, counts: Mapping[str, Profile], policy: Policy) -> Profile:
    """Return the metrics of a day that are relative to the days before it; every one is finite."""
    row = counts[day]
    before = [counts[other] for other in days_before(day, sorted(counts), policy) if counts[other]["rows"]]
    known = len(before) >= policy.history_least_days
    typical = float(np.median([b["rows"] for b in before])) if known else 0.0
    known = known and typical >= policy.shape_least_rows
    shaped = known and row["rows"] >= policy.shape_least_rows
    out = {"volume.ratio": row["rows"] / typical if known else 1.0, "history_days": float(len(before))}
    for name in OPTIONAL:
        out[f"{name}.filled_ratio"] = _filled(name, row, before) if shaped else 1.0
    for name in FLOATS:
        out[f"{name}.level_ratio"] = _level(name, row, before) if shaped else 1.0
    for name in COMPARED:
        out[f"{name}.constant"] = _constant(name, row, before) if shaped else 0.0
    out["kind.shift"] = js_bits(_mix(row), sum(map(_mix, before), np.zeros(len(KINDS)))) if shaped else 0.0
    return out


def _mix(row: Profile) -> np.ndarray:
    return np.array([row[f"kind={kind}"] for kind in KINDS])


def _filled(name: str, row: Profile, before: Sequence[Profile]) -> float:
    """Share of rows that have the column, over the median share of the days before; 1 when it used to be (nearly) empty."""
    usual = float(np.median([b[f"{name}.filled"] / b["rows"] for b in before]))
    return row[f"{name}.filled"] / row["rows"] / usual if usual >= 0.01 else 1.0


def _level(name: str, row: Profile, before: Sequence[Profile]) -> float:
    """Median over the median of the medians of the days before; 1 when one of them is absent or not above zero."""
    medians = [b[f"{name}.median"] for b in before if np.isfinite(b[f"{name}.median"])]
    usual = float(np.median(medians)) if medians else 0.0
    now = row[f"{name}.median"]
    return now / usual if usual > 0 and np.isfinite(now) else 1.0


def _constant(name: str, row: Profile, before: Sequence[Profile]) -> float:
    """1 when the column holds one value alone, and on most of the days before it did not."""
    usual = float(np.mean([b[f"{name}.same"] for b in before]))
    return float(row[f"{name}.same"] == 1.0 and usual < 0.5)
