"""Small inputs for landing, and what lies in the landing folder afterwards."""

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from counterfoil.importers import Source, open_source
from counterfoil.settings import Settings

HEADER = ("id", "time", "person", "kind", "item", "quantity", "price")
Row = Sequence[Any]


def settings_of(home: Path, **more: Any) -> Settings:
    """Return settings whose home is that folder."""
    return Settings(home=home, **more)


def bought(
    id: str, time: str, person: str = "ann", item: str = "milk", quantity: Any = 1, price: Any = 2.5
) -> Row:
    """Return one purchase in the order of HEADER."""
    return (id, time, person, "purchase", item, quantity, price)


def events_csv(path: Path, rows: Sequence[Row], header: Sequence[str] = HEADER) -> Path:
    """Write rows as a CSV file with the contract's columns."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def source_of(folder: Path, name: str, rows: Sequence[Row]) -> Source:
    """Return the source of a CSV file with these events."""
    folder.mkdir(parents=True, exist_ok=True)
    return open_source("contract", events_csv(folder / f"{name}.csv", rows))


def landed_rows(settings: Settings) -> list[dict[str, Any]]:
    """Return every event that landed, day by day."""
    files = sorted(settings.landing.glob("events/day=*/events.parquet"))
    return [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]


def table_rows(settings: Settings, name: str) -> list[dict[str, Any]]:
    """Return the rows of items or people."""
    return pq.read_table(settings.landing / f"{name}.parquet").to_pylist()


def hashes(settings: Settings) -> dict[str, str]:
    """Return the SHA-256 of every file in the landing folder but the lock."""
    files = sorted(p for p in settings.landing.rglob("*") if p.is_file() and p.name != ".lock")
    return {str(p.relative_to(settings.landing)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def parquet(path: Path, **columns: Any) -> Path:
    """Write columns as a Parquet file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path
