"""The gate on a whole snapshot: its tables, its freshness, and how far it moved from what the champion learned from."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from counterfoil.contracts.field import SQL
from counterfoil.errors import GateFault
from counterfoil.types import Verdict
from flows.gate.engine import Finding, evaluate, frame
from flows.gate.leak import trace
from flows.gate.policy import Policy
from flows.gate.profile import connect
from flows.gate.reference import against
from flows.gate.snapshot_suite import INTERACTION, KEYS, interaction_rules, key_rules, snapshot_suite
from flows.gate.table import Table, read_table
from flows.gate.verdict import verdict_of

DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Tables:
    """The three files of a snapshot."""

    interactions: Table
    items: Table
    people: Table

    def all(self) -> tuple[Table, ...]:
        """Return the three, in order."""
        return (self.interactions, self.items, self.people)


def read_tables(folder: Path) -> Tables:
    """Read the footers of a snapshot's files."""
    return Tables(
        read_table("interactions", folder / "interactions.parquet", INTERACTION, any_width=True),
        *(read_table(name, folder / f"{name}.parquet", contract) for name, contract in KEYS.items()),
    )


def validate_snapshot(
    folder: Path,
    *,
    subject: str,
    sha256: str,
    as_of: datetime,
    reference: Path | None,
    landing: Path | None = None,
    policy: Policy | None = None,
) -> Verdict:
    """Validate a dataset folder against the contracts, against `as_of`, and against the folder the champion learned from.

    `as_of` is the moment of the snapshot, UTC; `reference` is None on the first run. With `landing`, the folder of the days
    that it was made of, features are computed anew. Raises GateFault when the gate itself is broken, or the reference cannot
    be read; bad data never raises: see `require`.
    """
    policy = policy or Policy()
    tables = read_tables(folder)
    with connect(policy.threads, as_of) as con:
        row = _profile(con, tables)
        if reference is not None:
            old = read_tables(reference)
            if not all(table.regular or table.unknown for table in old.all()):
                raise GateFault(
                    f"the reference {reference} is no dataset folder; restore it, then validate again"
                )
            row |= against(con, tables.items, old.interactions, old.items, old.people, row, policy)
        if landing is not None:
            row |= trace(folder, landing, policy)
        suite = snapshot_suite(policy, compared=reference is not None, traced=landing is not None)
        findings = evaluate(frame({subject: row}, suite), suite)
        samples = _samples(con, subject, findings, policy.samples)
    return verdict_of(suite, findings, key=subject, subject=subject, sha256=sha256, row=row, samples=samples)


def _profile(con: duckdb.DuckDBPyConnection, tables: Tables) -> dict[str, float]:
    """Count everything that the suite without a reference asks for; leaves the tables as views in `con`."""
    row: dict[str, float] = {}
    for table in tables.all():
        row |= _schema(con, table)
    row |= _counts(con)
    for name in KEYS:
        row |= _key_counts(con, name)
    return row


def _schema(con: duckdb.DuckDBPyConnection, table: Table) -> dict[str, float]:
    """Make the view of a table (empty when it cannot be read), and say what its footer says."""
    name = table.name
    readable = table.readable and _make_view(con, table)
    if not readable:
        none = ", ".join(
            f"NULL::{SQL[table.contract.field(column).type]} AS {column}" for column in table.contract.names
        )
        con.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS SELECT 0 AS row, {none} WHERE false")
    row = {f"{name}.readable": float(readable)}
    row |= {f"{name}.{column}.present": float(table.has(column)) for column in table.contract.names}
    return row | {f"{name}.{c}.typed": float(c not in table.mistyped) for c in table.contract.names}


def _make_view(con: duckdb.DuckDBPyConnection, table: Table) -> bool:
    """Make the view and read every column once, so that broken pages are found here."""
    con.execute(f"CREATE OR REPLACE TEMP VIEW {table.name} AS {table.select('0 AS row')}")
    try:
        con.execute(
            f"SELECT {', '.join(f'count({c})' for c in table.contract.names)} FROM {table.name}"
        ).fetchall()
    except duckdb.Error:
        return False
    return True


def _counts(con: duckdb.DuckDBPyConnection) -> dict[str, float]:
    metrics = {"rows": "count(*)"}
    metrics |= {r.metric: f"count(*) FILTER ({r.predicate})" for r in interaction_rules()}
    metrics |= {
        f"{name}.varies": f"coalesce(min({name}) < max({name}), false)::INT"
        for name in ("person", "item", "time")
    }
    metrics |= {f"{name}.filled": f"count({name})" for name in ("quantity", "price")}
    # With no time at all the newest event is older than any bound.
    age_us = "(SELECT epoch_us(now) FROM moment) - epoch_us(max(time))"
    metrics["age_days"] = f"greatest(0, coalesce(({age_us}) / {DAY_US}, 1e6))"
    row = _one(con, metrics, "interactions")
    row["gap_days"] = _gap_days(con)
    return row


def _gap_days(con: duckdb.DuckDBPyConnection) -> float:
    days = "SELECT DISTINCT time::DATE AS d FROM interactions WHERE time IS NOT NULL"
    gaps = f"SELECT date_diff('day', lag(d) OVER (ORDER BY d), d) - 1 AS gap FROM ({days})"
    (found,) = con.execute(f"SELECT coalesce(max(gap), 0) FROM ({gaps})").fetchall()
    return float(found[0])


def _key_counts(con: duckdb.DuckDBPyConnection, name: str) -> dict[str, float]:
    metrics = {f"{name}.rows": "count(*)", f"{name}.id.unique": "count(id) - count(DISTINCT id)"}
    metrics |= {r.metric: f"count(*) FILTER ({r.predicate})" for table, r in key_rules() if table == name}
    return _one(con, metrics, name)


def _one(con: duckdb.DuckDBPyConnection, metrics: Mapping[str, str], table: str) -> dict[str, float]:
    """Return one row of aggregates over a view."""
    (values,) = con.execute(f"SELECT {', '.join(metrics.values())} FROM {table}").fetchall()
    return {metric: float(value) for metric, value in zip(metrics, values, strict=True)}


def _samples(
    con: duckdb.DuckDBPyConnection, subject: str, findings: tuple[Finding, ...], limit: int
) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the first days on which interactions break a rule: indices mean nothing to a reader, ids of people too much."""
    out: dict[tuple[str, str], tuple[str, ...]] = {}
    about_rows = [f.expectation for f in findings if f.failing and f.expectation.unit == "rows"]
    for e in about_rows:
        day = "coalesce(strftime(time, '%Y-%m-%d'), 'no time')"
        query = f"SELECT DISTINCT {day} AS d FROM interactions WHERE {e.predicate} ORDER BY d LIMIT {limit}"
        out[e.metric, subject] = tuple(d for (d,) in con.execute(query).fetchall())
    return out
