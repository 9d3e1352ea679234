"""The gate on days: profile each partition, let Great Expectations judge the profile, say what was found."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from counterfoil import canonical
from counterfoil.types import Verdict
from flows.gate.day_suite import day_rules, day_suite, unknown_item
from flows.gate.engine import KEY, evaluate
from flows.gate.history import compare, days_before
from flows.gate.partition import Part, read_part
from flows.gate.policy import Policy
from flows.gate.profile import Profile, connect, profile_days
from flows.gate.samples import row_samples
from flows.gate.suite import Expectation, Suite
from flows.gate.verdict import verdict_of

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[int, int], None]


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
    with. With `as_of`, no event may be later. `progress` is called with days done and days in all. Raises InputError
    when a key is no date, GateFault when the gate itself is broken; bad data never raises: see `require`.
    """
    if not days:
        return ()
    policy = policy or Policy()
    rules = day_rules(as_of)
    parts = {day: read_part(landing, day) for day in _wanted(landing, days, policy)}
    counts = _counts(landing, parts, rules, policy, progress)
    rows = {day: _metrics(day, parts[day], sha256, counts, policy) for day, sha256 in sorted(days.items())}
    suite = day_suite(policy, rules)
    findings = evaluate(_frame(rows, suite), suite)
    with connect(landing, policy) as con:
        samples = row_samples(con, parts, findings, policy.samples)
    return tuple(
        verdict_of(
            suite, findings, key=day, subject=f"day:{day}", sha256=days[day], row=rows[day], samples=samples
        )
        for day in rows
    )


def _wanted(landing: Path, days: Mapping[str, str], policy: Policy) -> list[str]:
    """Return the asked days and those partitions that lie in the window before one of them, in order."""
    present = sorted(folder.name.removeprefix("day=") for folder in (landing / "events").glob("day=*"))
    history = {other for day in days for other in days_before(day, present, policy)}
    return sorted({*days, *history})


def _counts(
    landing: Path,
    parts: Mapping[str, Part],
    rules: Sequence[Expectation],
    policy: Policy,
    progress: Progress | None,
) -> dict[str, Profile]:
    finished = 0

    def done(count: int) -> None:
        nonlocal finished
        finished += count
        if progress is not None:
            progress(finished, len(parts))

    with connect(landing, policy) as con:
        return profile_days(
            con, list(parts.values()), (*rules, unknown_item()), chunk_rows=policy.chunk_rows, done=done
        )


def _metrics(day: str, part: Part, sha256: str, counts: Mapping[str, Profile], policy: Policy) -> Profile:
    """Return the whole profile of an asked day: its counts, its bytes, its place among the days before."""
    row = counts[day] | compare(day, counts, policy)
    items = row["item.filled"]
    row["item.known_share"] = 1.0 - row["item.unknown"] / items if items else 1.0
    row["as_recorded"] = float(part.path.exists() and canonical.file_digest(part.path) == sha256)
    return row


def _frame(rows: Mapping[str, Profile], suite: Suite) -> "pd.DataFrame":
    """Return the profile as GX takes it: one row per day, the suite's metrics and the day's name."""
    import pandas as pd

    metrics = sorted({e.metric for e in suite.expectations})
    return pd.DataFrame({KEY: list(rows), **{m: [row[m] for row in rows.values()] for m in metrics}})
