"""The gate on days: profile each partition, let Great Expectations judge the profile, say what was found."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path

from counterfoil import canonical
from counterfoil.contracts import EVENT
from counterfoil.errors import InputError
from counterfoil.landing.progress import Progress, silent
from counterfoil.types import Verdict
from flows.gate.day_suite import day_rules, day_suite, unknown_item
from flows.gate.engine import evaluate, frame
from flows.gate.history import compare, days_before
from flows.gate.policy import Policy
from flows.gate.profile import Profile, connect, profile_days
from flows.gate.samples import row_samples
from flows.gate.suite import Expectation
from flows.gate.table import Table, read_table
from flows.gate.verdict import verdict_of


def validate_days(
    landing: Path,
    days: Mapping[str, str],
    *,
    progress: Progress | None = None,
    policy: Policy | None = None,
    as_of: datetime | None = None,
) -> tuple[Verdict, ...]:
    """Validate partitions of the landing folder; `days` maps YYYY-MM-DD to the SHA-256 of its file.

    Returns one verdict per day, in order of days. Partitions that lie before the asked ones are the history they are compared
    with. With `as_of`, no event may be later. `progress` is told how many rows were counted. Raises InputError
    when a key is no date, GateFault when the gate itself is broken; bad data never raises: see `require`.
    """
    if not days:
        return ()
    policy = policy or Policy()
    rules = day_rules(as_of)
    parts = {day: _table(landing, day) for day in _wanted(landing, days, policy)}
    counts = _counts(landing, parts, rules, policy, progress or silent)
    rows = {day: _metrics(day, parts[day], sha256, counts, policy) for day, sha256 in sorted(days.items())}
    suite = day_suite(policy, rules)
    findings = evaluate(frame(rows, suite), suite)
    with connect(landing, policy) as con:
        samples = row_samples(con, parts, findings, policy.samples)
    return tuple(
        verdict_of(
            suite, findings, key=day, subject=f"day:{day}", sha256=days[day], row=rows[day], samples=samples
        )
        for day in rows
    )


def _table(landing: Path, day: str) -> Table:
    """Read the footer of a day's file; InputError when `day` is no date."""
    try:
        if date.fromisoformat(day).isoformat() != day:
            raise ValueError
    except ValueError:
        raise InputError(f"{day!r} names no day; give YYYY-MM-DD") from None
    return read_table(day, landing / "events" / f"day={day}" / "events.parquet", EVENT)


def _wanted(landing: Path, days: Mapping[str, str], policy: Policy) -> list[str]:
    """Return the asked days and those partitions that lie in the window before one of them, in order."""
    present = sorted(folder.name.removeprefix("day=") for folder in (landing / "events").glob("day=*"))
    history = {other for day in days for other in days_before(day, present, policy)}
    return sorted({*days, *history})


def _counts(
    landing: Path,
    parts: Mapping[str, Table],
    rules: Sequence[Expectation],
    policy: Policy,
    progress: Progress,
) -> dict[str, Profile]:
    finished = 0

    def done(count: int) -> None:
        nonlocal finished
        finished += count
        progress("validate", finished)

    with connect(landing, policy) as con:
        return profile_days(
            con, list(parts.values()), (*rules, unknown_item()), chunk_rows=policy.chunk_rows, done=done
        )


def _metrics(day: str, part: Table, sha256: str, counts: Mapping[str, Profile], policy: Policy) -> Profile:
    """Return the whole profile of an asked day: its counts, its bytes, its place among the days before."""
    row = counts[day] | compare(day, counts, policy)
    items = row["item.filled"]
    row["item.known_share"] = 1.0 - row["item.unknown"] / items if items else 1.0
    row["as_recorded"] = float(part.path.exists() and canonical.file_digest(part.path) == sha256)
    return row
