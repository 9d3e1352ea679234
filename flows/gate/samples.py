"""Where rules were broken: event ids, a few per rule and day. Never a value of a personal column."""

import hashlib
import re
from collections.abc import Mapping, Sequence

import duckdb

from counterfoil.contracts import EVENT
from flows.gate.engine import Finding
from flows.gate.profile import DOUBLED, source
from flows.gate.suite import Expectation
from flows.gate.table import Table

# An id is shown as it is only when it looks like one: a mail address or a name that slipped into the column is not.
PLAIN_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


def shown(event_id: str | None) -> str:
    """Return an event id as it may stand in a report: itself when it is plain, else a digest of it."""
    if event_id is None:
        return "(no id)"
    if PLAIN_ID.fullmatch(event_id):
        return event_id
    return "sha256:" + hashlib.sha256(event_id.encode()).hexdigest()[:16]


def row_samples(
    con: duckdb.DuckDBPyConnection, parts: Mapping[str, Table], findings: Sequence[Finding], limit: int
) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return (metric, day) -> the smallest ids of rows that break the rule; only for days whose file can be read."""
    out: dict[tuple[str, str], tuple[str, ...]] = {}
    for finding in findings:
        e = finding.expectation
        table = source([parts[day] for day in sorted(finding.failing) if parts[day].readable])
        query = _query(e, table, limit) if table else None
        if query is None:
            continue
        for day, ids in con.execute(query).fetchall():
            out[e.metric, day] = tuple(map(shown, ids or (None,)))
    return out


def _query(expectation: Expectation, table: str, limit: int) -> str | None:
    """Return SQL for (day, smallest ids); None when the expectation is not about rows."""
    key = EVENT.key
    if expectation.metric == DOUBLED:
        table = f"SELECT day, {key} FROM ({table}) WHERE {key} IS NOT NULL GROUP BY ALL HAVING count(*) > 1"
    elif expectation.predicate is None:
        return None
    where = expectation.predicate or "true"
    return f"SELECT strftime(day, '%Y-%m-%d'), min({key}, {limit}) FROM ({table}) WHERE {where} GROUP BY day"
