"""Parquet files of the landing folder, written so that equal rows give equal bytes.

Rows come sorted, in Arrow batches of any size; row groups are cut at a fixed number of rows whatever the batches were.
"""

from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from counterfoil import canonical
from counterfoil.files import sync
from counterfoil.landing.manifest import DayPart
from counterfoil.landing.progress import Progress
from counterfoil.landing.staging import staged

GROUP_ROWS = 65_536
DAY_US = 86_400_000_000


def write_part(batches: Iterable[pa.RecordBatch], path: Path, schema: pa.Schema) -> DayPart:
    """Write the rows to one file and force it to the disk."""
    rows = _write((_table(b, schema) for b in batches), path, schema)
    return _seal(path, rows)


def write_days(
    batches: Iterable[pa.RecordBatch], folder: Path, schema: pa.Schema, progress: Progress
) -> dict[str, DayPart]:
    """Write events, sorted by time, to one staged file per day; return the parts by day."""
    sealed: dict[str, Future[DayPart]] = {}
    total = 0
    # While a day is encoded, the next batch is being sorted out and the day before it is forced to the disk.
    with ThreadPoolExecutor(max_workers=1) as pool, closing(_ahead(batches)) as fetched:
        days = _Days(fetched, schema)
        while (day := days.next_day()) is not None:
            path = staged(folder, day_file(day))
            rows = _write(days.rows_of_day(), path, schema)
            sealed[day] = pool.submit(_seal, path, rows)
            total += rows
            progress("write", total)
    return {day: part.result() for day, part in sealed.items()}


def day_file(day: str) -> str:
    """Return where a day's events lie below the landing folder."""
    return f"events/day={day}/events.parquet"


def _ahead(batches: Iterable[pa.RecordBatch]) -> Generator[pa.RecordBatch, None, None]:
    """Yield the batches, one being made in another thread while its predecessor is used."""
    source = iter(batches)
    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = pool.submit(next, source, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, source, None)
            yield batch


class _Days:
    """Cuts a sorted stream of batches where the day changes; holds one batch at a time."""

    def __init__(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
        self._batches = iter(batches)
        self._schema = schema
        self._rest: pa.Table | None = None

    def next_day(self) -> str | None:
        if self._fill() is None:
            return None
        return str(np.datetime64(int(self._day_of_rows()[0]), "D"))

    def rows_of_day(self) -> Iterator[pa.Table]:
        day = self._day_of_rows()[0]
        while self._fill() is not None:
            days = self._day_of_rows()
            end = int(np.searchsorted(days, day, side="right"))
            if end == 0:
                return
            table, self._rest = self._rest, None
            assert table is not None
            yield table.slice(0, end)
            if end < len(table):
                self._rest = table.slice(end)
                return

    def _fill(self) -> pa.Table | None:
        while self._rest is None:
            batch = next(self._batches, None)
            if batch is None:
                return None
            if batch.num_rows:
                self._rest = _table(batch, self._schema)
        return self._rest

    def _day_of_rows(self) -> np.ndarray:
        assert self._rest is not None
        times = self._rest["time"].chunk(0)
        # Arrow's own to_numpy imports pandas; the buffer is the same numbers.
        micros = np.frombuffer(times.buffers()[1], np.int64)[times.offset : times.offset + len(times)]
        return micros // DAY_US


def _table(batch: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    table = pa.Table.from_batches([batch])
    return table if table.schema == schema else table.cast(schema)


def _write(tables: Iterable[pa.Table], path: Path, schema: pa.Schema) -> int:
    rows = 0
    # A dictionary of values that never come twice is waste.
    repeated = [name for name in schema.names if name != "id"]
    with pq.ParquetWriter(
        path, schema, compression="zstd", write_statistics=True, use_dictionary=repeated
    ) as writer:
        for group in _groups(tables):
            writer.write_table(group, row_group_size=GROUP_ROWS)
            rows += len(group)
    return rows


def _groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    rows = 0
    for table in tables:
        held.append(table)
        rows += len(table)
        while rows >= GROUP_ROWS:
            whole = pa.concat_tables(held)
            yield whole.slice(0, GROUP_ROWS).combine_chunks()
            held, rows = [whole.slice(GROUP_ROWS)], rows - GROUP_ROWS
    if rows:
        yield pa.concat_tables(held).combine_chunks()


def _seal(path: Path, rows: int) -> DayPart:
    sync(path)
    return DayPart(rows, canonical.file_digest(path))
