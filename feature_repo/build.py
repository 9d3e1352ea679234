"""Landed events into the feature partitions of one moment, which Feast reads. The transform itself is in transforms.py.

Layout: `<out>/{person,item,pair}/as_of=YYYY-MM-DDTHHMMSSZ.parquet`, one row per entity, and `<out>/as_of=....json` with the
digest of what they were built from. An equal digest means that nothing is built again; a late event changes it.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from counterfoil import canonical
from counterfoil.errors import InputError
from counterfoil.types import EventKind
from feature_repo import transforms
from feature_repo.transforms import ITEM_FEATURES, PAIR_FEATURES, PERSON_FEATURES

VIEWS = ("person", "item", "pair")
MOMENT = pa.timestamp("us", tz="UTC")
STAMPS = [("event_timestamp", MOMENT), ("created", MOMENT)]
PERSON_SCHEMA = pa.schema(
    [
        ("person", pa.string()),
        *((name, pa.float32()) for name in PERSON_FEATURES),
        ("affinity_categories", pa.list_(pa.string())),
        ("affinity_shares", pa.list_(pa.float32())),
        ("history_items", pa.list_(pa.string())),
        ("history_times", pa.list_(pa.int64())),
        ("history_quantities", pa.list_(pa.float32())),
        *STAMPS,
    ]
)
ITEM_SCHEMA = pa.schema([("item", pa.string()), *((name, pa.float32()) for name in ITEM_FEATURES), *STAMPS])
PAIR_SCHEMA = pa.schema(
    [
        ("person", pa.string()),
        ("item", pa.string()),
        *((name, pa.float32()) for name in PAIR_FEATURES),
        *STAMPS,
    ]
)


SCHEMAS = {"person": PERSON_SCHEMA, "item": ITEM_SCHEMA, "pair": PAIR_SCHEMA}


@dataclass(frozen=True, kw_only=True, slots=True)
class Built:
    """What lies in the partitions of one moment; `fresh` says that they were built now."""

    as_of: datetime
    sha256: str
    rows: dict[str, int]
    fresh: bool


def partition(out: Path, view: str, as_of: datetime) -> Path:
    """Return the file of one view at one moment."""
    return out / view / f"as_of={stamp(as_of)}.parquet"


def stamp(as_of: datetime) -> str:
    """Return the moment as it stands in file names: UTC, to the second."""
    return f"{as_of.astimezone(UTC):%Y-%m-%dT%H%M%SZ}"


def build(
    landing: Path,
    out: Path,
    as_of: datetime,
    *,
    history_cap: int = 1000,
    history_kinds: Sequence[EventKind] = ("purchase",),
    threads: int = 2,
    part_events: int = 4_000_000,
) -> Built:
    """Build the features of everybody, of every item and of every pair at `as_of`, from what happened strictly before it.

    Histories are held in memory by parts of the people with about `part_events` events; the rows are the same for any size.
    Does nothing when the partitions are there and their inputs have not changed. Raises InputError when nothing is landed, or
    when `as_of` has no time zone or a fraction of a second (file names could not tell such moments apart).
    """
    if as_of.tzinfo is None or as_of.microsecond:
        raise InputError(
            f"as-of {as_of} must have a time zone and whole seconds; give it as 2017-12-01T00:00:00Z"
        )
    landed = _landed(landing, as_of)
    digest = _inputs(landed, as_of, history_cap, history_kinds)
    kept = _read_side(out, as_of)
    if kept and kept["inputs"] == digest and all(partition(out, view, as_of).is_file() for view in VIEWS):
        return Built(as_of=as_of, sha256=digest, rows=kept["rows"], fresh=False)
    _side(out, as_of).unlink(missing_ok=True)  # from here on the partitions may be of two minds
    with duckdb.connect(config={"threads": threads}) as con:
        con.execute("SET enable_progress_bar = false")  # the caller tells its own
        as_of_us = _microseconds(as_of)
        read_taken(con, list(landed.days), list(landed.items), as_of_us, history_kinds)
        transforms.prepare(con, as_of_us)
        rows = _write(con, out, as_of, history_cap, part_events)
    with replacing(_side(out, as_of)) as fresh:
        fresh.write_bytes(canonical.encode({"inputs": digest, "rows": rows}))
    return Built(as_of=as_of, sha256=digest, rows=rows, fresh=True)


def _microseconds(moment: datetime) -> int:
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class _Landed:
    """The landed files that matter at a moment, each with its SHA-256; days in order."""

    days: dict[Path, str]
    items: dict[Path, str]


def _landed(landing: Path, as_of: datetime) -> _Landed:
    """Return what had landed of the days up to `as_of`. The manifest is the authority; without one, the files are."""
    manifest = landing / "manifest.json"
    if manifest.is_file():
        plain = orjson.loads(manifest.read_bytes())
        days = {landing / f"events/day={day}/events.parquet": p["sha256"] for day, p in plain["days"].items()}
        items = {landing / "items.parquet": plain["items"]["sha256"]} if plain.get("items") else {}
    else:
        days = {
            path: canonical.file_digest(path) for path in (landing / "events").glob("day=*/events.parquet")
        }
        items = {path: canonical.file_digest(path) for path in landing.glob("items.parquet")}
    last = f"day={as_of.astimezone(UTC):%Y-%m-%d}"
    days = {path: sha256 for path, sha256 in sorted(days.items()) if path.parent.name <= last}
    if not days:
        raise InputError(
            f"no events before {stamp(as_of)} in {landing}; import some with `counterfoil data import`"
        )
    return _Landed(days=days, items=items)


def _inputs(landed: _Landed, as_of: datetime, cap: int, kinds: Sequence[str]) -> str:
    """Return the digest of everything that the partitions depend on: data, moment, arguments, this code."""
    return canonical.sha256(
        {
            "events": {path.parent.name: sha256 for path, sha256 in landed.days.items()},
            "items": list(landed.items.values()),
            "as_of": as_of,
            "cap": cap,
            "kinds": sorted(kinds),
            "code": [canonical.file_digest(path) for path in (Path(__file__), Path(transforms.__file__))],
        }
    )


def _side(out: Path, as_of: datetime) -> Path:
    return out / f"as_of={stamp(as_of)}.json"


def _read_side(out: Path, as_of: datetime) -> dict[str, Any] | None:
    path = _side(out, as_of)
    return orjson.loads(path.read_bytes()) if path.is_file() else None


def read_taken(
    con: duckdb.DuckDBPyConnection,
    days: Sequence[Path],
    items: Sequence[Path],
    as_of_us: int,
    kinds: Sequence[str],
) -> None:
    """Make `taken` and `catalogue` of landed files: what the transforms read."""
    con.execute(_TAKEN, {"days": [str(day) for day in days], "kinds": list(kinds), "as_of": as_of_us})
    con.execute(_CATALOGUE)
    for path in items:
        con.execute(_ITEMS, {"items": str(path)})


# An unknown quantity counts as one; what was given back (zero and below) is not taken. Without a session, a moment is a basket.
_TAKEN = """
CREATE OR REPLACE TEMP TABLE taken AS
SELECT id, person, item, epoch_us(time) AS time_us, coalesce(session, '@' || epoch_us(time)) AS basket,
    coalesce(quantity, 1) AS quantity, CASE WHEN isfinite(price) THEN price END AS price
FROM read_parquet($days, hive_partitioning = false)
WHERE list_contains($kinds, kind) AND item IS NOT NULL AND coalesce(quantity, 1) > 0 AND isfinite(coalesce(quantity, 1))
    AND epoch_us(time) < $as_of
"""
_CATALOGUE = """
CREATE OR REPLACE TEMP TABLE catalogue (id VARCHAR, category VARCHAR, price DOUBLE, available_us BIGINT)
"""
_ITEMS = (
    "INSERT INTO catalogue SELECT id, category, price, epoch_us(available_from) FROM read_parquet($items)"
)


def _write(
    con: duckdb.DuckDBPyConnection, out: Path, as_of: datetime, cap: int, part_events: int
) -> dict[str, int]:
    """Write the three partitions and return their numbers of rows."""
    events = con.execute("SELECT count(*) FROM taken").fetchall()[0][0]
    # Later than before whenever late events came in, and the same for the same events: no clock is read.
    stamps = (_microseconds(as_of), _microseconds(as_of) + events)
    con.execute(f"CREATE OR REPLACE TEMP TABLE person_row AS {transforms.PERSON_SQL}")
    rows = dict.fromkeys(VIEWS, 0)
    with ExitStack() as files:
        writers = {
            view: files.enter_context(_parquet(partition(out, view, as_of), SCHEMAS[view])) for view in VIEWS
        }
        for view, table in _tables(con, stamps[0], cap, part_events):
            writers[view].write_table(_conform(table, SCHEMAS[view], stamps))
            rows[view] += len(table)
    return rows


def _tables(
    con: duckdb.DuckDBPyConnection, as_of_us: int, cap: int, part_events: int
) -> Iterator[tuple[str, pa.Table]]:
    """Yield the items, then people and pairs by parts of the people, in order of their keys."""
    yield "item", con.sql(transforms.ITEM_SQL).to_arrow_table()
    for first, last in con.execute(_PARTS, {"cap": cap, "size": part_events}).fetchall():
        bounds = {"first": first, "last": last}
        people = con.sql(_PART, params=bounds).to_arrow_table()
        history = con.sql(transforms.HISTORY_SQL, params={**bounds, "cap": cap}).to_arrow_table()
        yield "person", _with_history(people, history)
        yield "pair", pairs_of(history, as_of_us)


_PARTS = """
WITH sizes AS (SELECT person, least(sum(lines), $cap) AS n FROM visit GROUP BY person),
    parts AS (SELECT person, sum(n) OVER (ORDER BY person) // $size AS part FROM sizes)
SELECT min(person), max(person) FROM parts GROUP BY part ORDER BY part
"""
_PART = "SELECT * FROM person_row WHERE person BETWEEN $first AND $last ORDER BY person"


def _with_history(people: pa.Table, history: pa.Table) -> pa.Table:
    """Append the history of each person as three parallel lists; both tables are sorted by person and hold the same people."""
    counts = pc.value_counts(history["person"].combine_chunks()).field("counts").to_numpy()
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
    for name, column in (("items", "item"), ("times", "time_us"), ("quantities", "quantity")):
        values = history[column].combine_chunks()
        people = people.append_column(f"history_{name}", pa.ListArray.from_arrays(offsets, values))
    return people


def pairs_of(history: pa.Table, as_of_us: int) -> pa.Table:
    """Compute the pair features of a part of the people from their histories, sorted by person and time."""
    person_ids, person_N = _codes(history["person"])
    item_ids, item_N = _codes(history["item"])
    pairs = transforms.pair_features(
        item_N, history["time_us"].to_numpy(), history["quantity"].to_numpy(), as_of_us, person_N
    )
    keys = {
        "person": person_ids.take(pa.array(pairs.person_R)),
        "item": item_ids.take(pa.array(pairs.item_R)),
    }
    return pa.table(keys | {name: pairs.column(name) for name in PAIR_FEATURES})


def _codes(column: pa.ChunkedArray) -> tuple[pa.Array, np.ndarray]:
    """Return the distinct values in sorted order, and each row's place among them, int32."""
    encoded = column.combine_chunks().dictionary_encode()
    order = pc.array_sort_indices(encoded.dictionary).to_numpy()
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return encoded.dictionary.take(pa.array(order)), rank[encoded.indices.to_numpy()]


def _conform(table: pa.Table, schema: pa.Schema, stamps: tuple[int, int]) -> pa.Table:
    """Return the table with the schema's columns in the schema's order and types, and both timestamps."""
    for (name, kind), value in zip(STAMPS, stamps, strict=True):
        table = table.append_column(name, pa.repeat(pa.scalar(value, pa.int64()), len(table)).cast(kind))
    return table.select(schema.names).cast(schema)


@contextmanager
def _parquet(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """Open a Parquet file that takes its name only when it is whole and on disk."""
    with replacing(path) as fresh, pq.ParquetWriter(fresh, schema, compression="zstd") as writer:
        yield writer


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` that replaces it at the end; after a fault or a crash, what was there stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield fresh
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
