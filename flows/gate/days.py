"""The gate on days: profile each partition, let Great Expectations judge the profile, say what was found."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path

import duckdb

from counterfoil import canonical
from counterfoil.contracts import EVENT
from counterfoil.errors import InputError
from counterfoil.landing.progress import Progress, silent
from counterfoil.types import Verdict
from flows.gate.day_suite import day_rules, day_suite, unknown_item
from flows.gate.engine import evaluate, frame, warm
from flows.gate.history import compare, days_before
from flows.gate.policy import Policy
from flows.gate.profile import Profile, connect, load_items, profile_days
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
    warm()
    policy = policy or Policy()
    rules = day_rules(clocked=as_of is not None)
    parts = {day: _table(landing, day) for day in _wanted(landing, days, policy)}
    with connect(policy.threads, as_of) as con:
        load_items(con, landing)
        counts = _counts(con, parts, rules, policy, progress or silent)
        rows = {
            day: _metrics(
                day, parts[day], days[day], counts, policy, catalogue=(landing / "items.parquet").exists()
            )
            for day in sorted(days)
        }
        suite = day_suite(policy, rules)
        findings = evaluate(frame(rows, suite), suite)
        samples = row_samples(con, parts, findings, policy.samples)
    return tuple(
        verdict_of(suite, findings, key=day, subject=f"day:{day}", sha256=days[day], row=row, samples=samples)
        for day, row in rows.items()
    )


def _named(day: str) -> bool:
    """Tell whether the text is a date, YYYY-MM-DD."""
    try:
        return date.fromisoformat(day).isoformat() == day
    except ValueError:
        return False


def _table(landing: Path, day: str) -> Table:
    return read_table(day, landing / "events" / f"day={day}" / "events.parquet", EVENT)


def _wanted(landing: Path, days: Mapping[str, str], policy: Policy) -> list[str]:
    """Return the asked days and those partitions that lie in the window before one of them, in order; InputError for no date."""
    wrong = sorted(day for day in days if not _named(day))
    if wrong:
        raise InputError(f"{wrong[0]!r} names no day; give YYYY-MM-DD")
    names = (folder.name.removeprefix("day=") for folder in (landing / "events").glob("day=*"))
    present = sorted(filter(_named, names))
    history = {other for day in days for other in days_before(day, present, policy)}
    return sorted({*days, *history})


def _counts(
    con: duckdb.DuckDBPyConnection,
    parts: Mapping[str, Table],
    rules: Sequence[Expectation],
    policy: Policy,
    progress: Progress,
) -> dict[str, Profile]:
    finished = 0

    def done(rows: int) -> None:
        nonlocal finished
        finished += rows
        progress("validate", finished)

    counted = (*rules, unknown_item())
    return profile_days(con, list(parts.values()), counted, chunk_rows=policy.chunk_rows, done=done)


def _metrics(
    day: str, part: Table, sha256: str, counts: Mapping[str, Profile], policy: Policy, *, catalogue: bool
) -> Profile:
    """Return the whole profile of an asked day: its counts, its bytes, its place among the days before."""
    row = counts[day] | compare(day, counts, policy)
    items = row["item.filled"]
    row["item.known_share"] = 1.0 - row["item.unknown"] / items if items else 1.0
    row["item.catalogued_share"] = row["item.known_share"] if catalogue else 1.0
    row["as_recorded"] = float(part.path.exists() and canonical.file_digest(part.path) == sha256)
    return row
