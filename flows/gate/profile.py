"""The profile of a folder of days: one row of counts per day, by one DuckDB pass per chunk of whole days.

Memory is bounded by the chunk (or by the largest day), not by the history. Here is counted; what a count may be is said in
`day_suite`, and Great Expectations judges it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import duckdb

from counterfoil.contracts import EVENT, KINDS
from flows.gate.rules import quoted
from flows.gate.suite import Expectation
from flows.gate.table import Table

Profile = dict[str, float]
FLOATS = tuple(f.name for f in EVENT.fields if f.type == "float")
DOUBLED = f"{EVENT.key}.unique"  # metric: rows beyond the first of an id


def connect(threads: int, now: datetime | None) -> duckdb.DuckDBPyConnection:
    """Open DuckDB in UTC, with the moment of validation in table `moment`."""
    con = duckdb.connect(config={"threads": threads})
    con.execute("SET TimeZone='UTC'")
    con.execute("SET enable_progress_bar = false")  # the caller tells its own
    con.execute("CREATE TEMP TABLE moment AS SELECT ?::TIMESTAMPTZ AS now", [now])
    return con


def load_items(con: duckdb.DuckDBPyConnection, landing: Path) -> None:
    """Put the landing folder's item ids into table `known_items`, which stays empty when there is no such file."""
    con.execute("CREATE TEMP TABLE known_items (id VARCHAR)")
    items = landing / "items.parquet"
    if items.exists():
        try:
            file = f"(SELECT id::VARCHAR AS id FROM read_parquet({quoted(str(items))}))"
            # A null among the ids would make every `NOT IN` null, which is no finding.
            con.execute(f"INSERT INTO known_items SELECT DISTINCT id FROM {file} WHERE id IS NOT NULL")
        except duckdb.Error:  # an unreadable catalogue knows no item: `known` then fails for every day
            con.execute("DELETE FROM known_items")


def profile_days(
    con: duckdb.DuckDBPyConnection,
    parts: Sequence[Table],
    rules: Sequence[Expectation],
    *,
    chunk_rows: int,
    done: Callable[[int], None],
) -> dict[str, Profile]:
    """Count every part by day; `done` is called with the rows of each finished chunk.

    A file whose footer is sound but whose pages are not is found here: its `readable` becomes 0.
    """
    counts: dict[str, Profile] = {}
    for chunk in chunks(parts, chunk_rows):
        counts |= _count(con, chunk, rules)
        done(sum(part.rows for part in chunk))
    return counts


def chunks(parts: Sequence[Table], rows: int) -> Iterator[list[Table]]:
    """Yield whole consecutive days with at most `rows` rows together (a day that has more is alone)."""
    chunk: list[Table] = []
    for part in parts:
        if chunk and sum(p.rows for p in chunk) + part.rows > rows:
            yield chunk
            chunk = []
        chunk.append(part)
    if chunk:
        yield chunk


def source(parts: Sequence[Table]) -> str | None:
    """Return SQL that reads the readable parts as one table of the contract's columns and `day`; None when there are none."""
    regular = [quoted(str(p.path)) for p in parts if p.regular]
    pieces = [p.select(f"DATE '{p.name}' AS day") for p in parts if p.readable and not p.regular]
    if regular:
        columns = ", ".join(EVENT.names)
        files = ", ".join(regular)
        hive = "hive_partitioning=true, hive_types={'day': DATE}"
        pieces.append(f"SELECT day, {columns} FROM read_parquet([{files}], {hive})")
    return " UNION ALL ".join(pieces) or None


def aggregates(rules: Sequence[Expectation]) -> Mapping[str, str]:
    """Return metric -> SQL aggregate, for all rules and for what the comparisons with the days before need."""
    out = {"rows": "count(*)"}
    out |= {rule.metric: f"count(*) FILTER ({rule.predicate})" for rule in rules if rule.predicate}
    out[DOUBLED] = f"count({EVENT.key}) - count(DISTINCT {EVENT.key})"
    out |= {f"{f.name}.filled": f"count({f.name})" for f in EVENT.fields}
    out |= {f"{f.name}.same": f"coalesce(min({f.name}) = max({f.name}), false)::INT" for f in EVENT.fields}
    out |= {f"{name}.median": f"median({name}) FILTER (isfinite({name}))" for name in FLOATS}
    out |= {f"kind={kind}": f"count(*) FILTER (kind = {quoted(kind)})" for kind in KINDS}
    return out


def _count(
    con: duckdb.DuckDBPyConnection, chunk: Sequence[Table], rules: Sequence[Expectation]
) -> dict[str, Profile]:
    metrics = aggregates(rules)
    blank = {p.name: _blank(p, metrics) for p in chunk}
    table = source(chunk)
    if table is None:
        return blank
    columns = ", ".join(metrics.values())
    try:
        rows = con.execute(
            f"SELECT strftime(day, '%Y-%m-%d'), {columns} FROM ({table}) GROUP BY ALL"
        ).fetchall()
    except duckdb.Error:
        return _one_by_one(con, chunk, rules, blank)
    for day, *values in rows:
        blank[day].update(
            {m: float("nan") if v is None else float(v) for m, v in zip(metrics, values, strict=True)}
        )
    return blank


def _one_by_one(
    con: duckdb.DuckDBPyConnection,
    chunk: Sequence[Table],
    rules: Sequence[Expectation],
    blank: dict[str, Profile],
) -> dict[str, Profile]:
    """Find the parts whose pages cannot be read, and count the others."""
    if len(chunk) == 1:
        (day,) = blank
        return {day: blank[day] | {"readable": 0.0}}
    return {day: row for part in chunk for day, row in _count(con, [part], rules).items()}


def _blank(part: Table, metrics: Mapping[str, str]) -> Profile:
    """Return the profile of a part before a row is read: its schema, and zero of everything."""
    row = dict.fromkeys(metrics, 0.0)
    row["readable"] = float(part.readable)
    row["unknown_columns"] = float(len(part.unknown))
    row |= {f"{name}.present": float(name not in part.missing) for name in EVENT.names}
    row |= {f"{name}.typed": float(name not in part.mistyped) for name in EVENT.names}
    return row
