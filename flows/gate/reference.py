"""A snapshot against what the champion learned from: size, volume, and the shift of its latest weeks.

Only the latest `recent_days` of the snapshot are compared with the whole reference: in a year of history a broken last week
would be diluted to nothing. Expects the snapshot's tables as views `interactions`, `items`, `people` in the connection.
"""

import duckdb
import numpy as np

from flows.gate.policy import Policy
from flows.gate.rules import quoted
from flows.gate.shift import js_bits, psi
from flows.gate.table import Table

Row = dict[str, float]
DECILES = 10


def against(
    con: duckdb.DuckDBPyConnection,
    items: Table,
    old: Table,
    old_items: Table,
    old_people: Table,
    row: Row,
    policy: Policy,
) -> Row:
    """Return the metrics of the snapshot that are relative to the reference; every one is finite."""
    con.execute(f"CREATE TEMP VIEW old AS {old.select('0 AS row')}")
    _make_recent(con, policy.recent_days)
    out = {
        "rows_ratio": row["rows"] / max(old.rows, 1),
        "items_ratio": row["items.rows"] / max(old_items.rows, 1),
        "people_ratio": row["people.rows"] / max(old_people.rows, 1),
        "volume.ratio": _daily(con, "recent") / max(_daily(con, "old"), 1e-9),
    }
    out |= {f"{name}.filled_ratio": _filled_ratio(con, name) for name in ("quantity", "price")}
    out["kind.shift"] = js_bits(*_histograms(con, "kind"))
    out["price.shift"] = psi(*_histograms(con, _price_bin(con)))
    out["hour.shift"] = js_bits(*_histograms(con, "hour(time)"))
    out["weekday.shift"] = js_bits(*_histograms(con, "isodow(time)"))
    _make_shelves(con, items, old_items)
    out["category.shift"] = js_bits(*_histograms(con, "shelf", "recent_shelf", "old_shelf"))
    out["popularity.shift"] = js_bits(*_histograms(con, "tier", "recent_shelf", "old_shelf"))
    return out


def _make_recent(con: duckdb.DuckDBPyConnection, days: int) -> None:
    newest = "(SELECT max(time) FROM interactions)"
    con.execute(
        f"CREATE TEMP VIEW recent AS SELECT * FROM interactions WHERE time > {newest} - INTERVAL {days} DAY"
    )


def _daily(con: duckdb.DuckDBPyConnection, table: str) -> float:
    """Return rows per day on which anything happened."""
    ((rows, days),) = con.execute(f"SELECT count(*), count(DISTINCT time::DATE) FROM {table}").fetchall()
    return float(rows / days) if days else 0.0


def _filled_ratio(con: duckdb.DuckDBPyConnection, name: str) -> float:
    query = f"SELECT coalesce(count({name}) / nullif(count(*), 0), 0) FROM"
    (((now),), ((before),)) = (
        con.execute(f"{query} {table}").fetchone() or (0.0,) for table in ("recent", "old")
    )
    return float(now / before) if before >= 0.01 else 1.0


def _histograms(
    con: duckdb.DuckDBPyConnection, key: str, recent: str = "recent", old: str = "old"
) -> tuple[np.ndarray, np.ndarray]:
    """Return counts per value of `key` in both tables, aligned; rows without a value are left out."""
    one, other = (
        f"(SELECT {key} AS k, count(*) AS n FROM {table} WHERE {key} IS NOT NULL GROUP BY 1)"
        for table in (recent, old)
    )
    query = f"SELECT coalesce(a.n, 0), coalesce(b.n, 0) FROM {one} a FULL JOIN {other} b ON a.k = b.k"
    counts = np.array(con.execute(query).fetchall(), float).reshape(-1, 2)
    return counts[:, 0], counts[:, 1]


def _price_bin(con: duckdb.DuckDBPyConnection) -> str:
    """Return SQL for a price's bin; the edges are the reference's deciles."""
    shares = [n / DECILES for n in range(1, DECILES)]
    query = f"SELECT quantile_disc(price, {shares}) FROM old WHERE isfinite(price)"
    ((edges,),) = con.execute(query).fetchall()
    above = " + ".join(f"(price > {edge!r})::INT" for edge in sorted(set(edges or ())))
    return f"CASE WHEN isfinite(price) THEN {above or '0'} END"


def _make_shelves(con: duckdb.DuckDBPyConnection, items: Table, old_items: Table) -> None:
    """Make `recent_shelf` and `old_shelf`: each interaction's widest category and its item's tier of popularity.

    Tier 0..9 holds a tenth of the reference's interactions each, the most popular items first; items that the reference
    did not sell are tier 10.
    """
    con.execute(f"CREATE TEMP VIEW new_catalogue AS {_catalogue(items)}")
    con.execute(f"CREATE TEMP VIEW old_catalogue AS {_catalogue(old_items)}")
    sold = "SELECT c.id, count(*) AS n FROM old JOIN old_catalogue c USING (item) GROUP BY c.id"
    cumulated = f"SELECT id, n, sum(n) OVER (ORDER BY n DESC, id) - n AS before, sum(n) OVER () AS total FROM ({sold})"
    con.execute(
        f"CREATE TEMP TABLE tiers AS SELECT id, ({DECILES} * before // total)::INT AS tier FROM ({cumulated})"
    )
    joins = ("recent_shelf", "recent", "new_catalogue"), ("old_shelf", "old", "old_catalogue")
    for view, rows, catalogue in joins:
        columns = f"c.shelf, coalesce(t.tier, {DECILES}) AS tier"
        joined = f"{rows} x JOIN {catalogue} c ON c.item = x.item LEFT JOIN tiers t ON t.id = c.id"
        con.execute(f"CREATE TEMP TABLE {view} AS SELECT {columns} FROM {joined}")


def _catalogue(table: Table) -> str:
    """Return SQL for (item, id, shelf): the row's number, its id, its widest category."""
    if not table.has("id"):
        return "SELECT 0 AS item, NULL::VARCHAR AS id, NULL::VARCHAR AS shelf WHERE false"
    shelf = "split_part(category::VARCHAR, ' > ', 1)" if "category" in table.unknown else "NULL::VARCHAR"
    file = f"read_parquet({quoted(str(table.path))}, file_row_number=true, hive_partitioning=false)"
    return f"SELECT file_row_number AS item, id::VARCHAR AS id, {shelf} AS shelf FROM {file}"
