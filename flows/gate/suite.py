"""What an expectation and a suite are: values. Which ones there are is said in `day_suite` and `snapshot_suite`."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Literal

from counterfoil import canonical
from counterfoil.errors import GateFault
from counterfoil.types import Severity
from flows.gate.policy import Bounds

Unit = Literal["rows", "count", "share", "ratio", "bits", "psi", "days", "flag"]
CRITICAL: Severity = "critical"
WARNING: Severity = "warning"


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectation:
    """A bound (inclusive; None: open) on one metric of the profile, about one column of the data.

    `predicate` is the SQL that is true for a row that breaks it: from it come the counts and the samples.
    `counts` names the metric that holds the number of such rows.
    """

    name: str
    column: str | None
    metric: str
    says: str
    severity: Severity = "critical"
    unit: Unit = "rows"
    minimum: float | None = None
    maximum: float | None = None
    predicate: str | None = None
    counts: str | None = None

    def observed(self, row: Mapping[str, float]) -> str:
        """Return the metric's value in words; `row` is one row of the profile."""
        value = row[self.metric]
        text = {
            "rows": f"{value:,.0f} of {row['rows']:,.0f} rows",
            "count": f"{value:,.0f}",
            "share": f"{value:.2%}",
            "ratio": f"{value:.4g} times",
            "bits": f"{value:.4f} bits",
            "psi": f"PSI {value:.4f}",
            "days": f"{value:.2f} days",
            "flag": "so" if value == self.minimum else "not so",
        }
        return text[self.unit]


@dataclass(frozen=True)
class Suite:
    """A named set of expectations; `identity` carries their number and digest, so that a verdict can be held against it."""

    name: str
    expectations: tuple[Expectation, ...]

    @cached_property
    def identity(self) -> str:
        """Return `name#count@digest`."""
        return f"{self.name}#{len(self.expectations)}@{canonical.sha256(self.expectations)[:12]}"


def suite_size(identity: str) -> int:
    """Return how many expectations the suite of that identity holds; GateFault when it does not say."""
    count = identity.partition("#")[2].partition("@")[0]
    if not count.isdigit():
        raise GateFault(f"suite {identity!r} does not say how many expectations it holds; validate again")
    return int(count)


def flag(name: str, column: str | None, metric: str, says: str) -> Expectation:
    """Return the expectation that a metric of 0 or 1 is 1."""
    return Expectation(
        name=name, column=column, metric=metric, says=says, unit="flag", minimum=1.0, maximum=1.0
    )


def pair(
    name: str,
    column: str | None,
    metric: str,
    warning: Bounds,
    critical: Bounds,
    says: str,
    unit: Unit = "ratio",
) -> tuple[Expectation, Expectation]:
    """Return the critical expectation and, under the name with `_closely`, the warning one of tighter bounds."""
    strict, close = (
        Expectation(
            name=name + suffix,
            column=column,
            metric=metric,
            says=f"{says}: {low:g} to {high:g}" if high < inf else f"{says}: {low:g} or more",
            severity=severity,
            unit=unit,
            minimum=low,
            maximum=high if high < inf else None,
        )
        for suffix, severity, (low, high) in (("", CRITICAL, critical), ("_closely", WARNING, warning))
    )
    return strict, close
