"""From findings to verdicts, and the question that stops a loop: `require`."""

from collections.abc import Mapping, Sequence

from counterfoil.errors import GateError, GateFault
from counterfoil.types import Check, Verdict
from flows.gate.engine import Finding
from flows.gate.suite import Suite, suite_size

Row = Mapping[str, float]
Samples = Mapping[tuple[str, str], tuple[str, ...]]  # (metric, subject) -> where it failed


def verdict_of(
    suite: Suite,
    findings: Sequence[Finding],
    *,
    key: str,
    subject: str,
    sha256: str,
    row: Row,
    samples: Samples,
) -> Verdict:
    """Return the verdict on one row of the profile; `key` names it there, `subject` in the catalog."""
    checks = tuple(_check(finding, key, row, samples) for finding in findings)
    faulted = len(checks) < len(suite.expectations) or not checks or any(c.errored for c in checks)
    failed = any(not c.success and c.severity == "critical" for c in checks)
    return Verdict(
        subject=subject, sha256=sha256, rows=int(row["rows"]), passed=not (failed or faulted), checks=checks,
        suite=suite.identity, faulted=faulted,
    )  # fmt: skip


def _check(finding: Finding, key: str, row: Row, samples: Samples) -> Check:
    e = finding.expectation
    if finding.fault is not None:
        return Check(
            expectation=e.name, column=e.column, severity=e.severity, success=False, errored=True,
            observed=finding.fault, expected=e.says,
        )  # fmt: skip
    failed = key in finding.failing
    count = int(row[e.counts]) if e.counts else 1
    return Check(
        expectation=e.name, column=e.column, severity=e.severity, success=not failed, observed=e.observed(row),
        expected=e.says, unexpected_count=count if failed else 0,
        samples=samples.get((e.metric, key), (key,)) if failed else (),
    )  # fmt: skip


def require(verdicts: Sequence[Verdict]) -> None:
    """Let pass only what was really validated and found good.

    Raises GateFault when nothing was validated, an expectation broke, or fewer were evaluated than the suite holds;
    GateError when a critical expectation failed.
    """
    if not verdicts:
        raise GateFault("nothing was validated, and no verdict is no pass; validate first")
    for verdict in verdicts:
        _believe(verdict)
    failed = [v for v in verdicts if not v.passed or any(_critical(c) for c in v.checks)]
    if failed:
        raise GateError(_refusal(failed, len(verdicts)))


def _critical(check: Check) -> bool:
    return not check.success and check.severity == "critical"


def _believe(verdict: Verdict) -> None:
    held = suite_size(verdict.suite)
    if held == 0 or len(verdict.checks) < held:
        raise GateFault(
            f"{verdict.subject}: {len(verdict.checks)} of {held} expectations of {verdict.suite} were evaluated; "
            "the gate is broken, not the data: validate again"
        )
    broken = [c for c in verdict.checks if c.errored]
    if broken or verdict.faulted:
        first = f", first {title(broken[0])}: {broken[0].observed}" if broken else ""
        raise GateFault(
            f"{verdict.subject}: {len(broken)} expectations broke{first}; the gate is broken, not the data: mend it"
        )


def title(check: Check) -> str:
    """Return `column expectation`, or the expectation alone when it is about the whole."""
    return f"{check.column} {check.expectation}" if check.column else check.expectation


def _refusal(failed: Sequence[Verdict], total: int) -> str:
    names = sorted({title(c) for v in failed for c in v.checks if _critical(c)})
    subjects = [v.subject for v in failed]
    rows = sum(c.unexpected_count for v in failed for c in v.checks if _critical(c))
    return (
        f"the gate refused {len(failed)} of {total} ({_some(subjects)}) for {len(names)} critical expectations "
        f"({_some(names)}; {rows:,} findings); mend the data and land it again"
    )


def _some(names: Sequence[str], limit: int = 4) -> str:
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")
