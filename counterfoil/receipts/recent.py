"""The newest receipts, from the ends of the newest segments alone: how many there are in all costs nothing."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from counterfoil import segment
from counterfoil.errors import IntegrityError
from counterfoil.receipts import draft, sealed
from counterfoil.receipts.store import Receipts, decode
from counterfoil.types import Receipt

TAIL_BYTES = 1 << 18
SEGMENTS = 64  # that are looked into at most: processes that answered nothing leave empty ones


def newest(receipts: Receipts, count: int) -> list[Receipt]:
    """Return the newest receipts, newest first: at most `count`, fewer where a newest segment's end holds fewer.

    Several processes write at a time, to a segment each: all that are open are looked into. IntegrityError when what is read was
    altered.
    """
    found: list[Receipt] = []
    for path, _ in zip(_segments(receipts.folder), range(SEGMENTS), strict=False):
        closed = path.suffix == sealed.SUFFIX
        if closed and len(found) >= count:
            break
        wanted = count - len(found) if closed else count
        found += [decode(payload) for payload in reversed(_end(path, wanted))]
    return sorted(found, key=lambda receipt: receipt.time, reverse=True)[:count]


def _segments(folder: Path) -> Iterator[Path]:
    """Yield the segments, newest first, a day's open ones before the sealed; a day's folder is read when it is come to."""
    days = sorted((day for day in folder.glob("????-??-??") if day.is_dir()), reverse=True)
    for day in days:
        done = {path.stem: path for path in day.glob(f"*{sealed.SUFFIX}")}
        yield from sorted((path for path in day.glob("*.jsonl") if path.stem not in done), reverse=True)
        yield from (done[name] for name in sorted(done, reverse=True))


def _end(path: Path, count: int) -> list[bytes]:
    """Return the last payloads of a segment, oldest first; none when it is gone: it was sealed meanwhile."""
    try:
        return _end_of_sealed(path, count) if path.suffix == sealed.SUFFIX else _end_of_open(path, count)
    except FileNotFoundError:
        return []


def _end_of_open(path: Path, count: int) -> list[bytes]:
    drafted = draft.records(path)
    with path.open("rb") as file:
        start = max(0, file.seek(0, 2) - TAIL_BYTES)
    # what the cut tore is left out, and what was torn before
    whole = [text for number, _, text in segment.whole_lines(path, start) if not start or number > 1]
    read = whole if drafted else whole[-count:]
    found = [segment.payload_of(text, path, place) for place, text in enumerate(read, start=1)]
    return [*found, *draft.beyond(drafted, found)][-count:]


def _end_of_sealed(path: Path, count: int) -> list[bytes]:
    try:
        with pq.ParquetFile(path) as file:
            if not file.num_row_groups:
                return []
            last = file.read_row_group(file.num_row_groups - 1, columns=["payload"])
    except (pa.ArrowException, ValueError) as fault:
        raise IntegrityError(f"{path.name} cannot be read ({fault}): it was altered; restore it") from fault
    # of a receipt that was erased there is none
    return [payload for payload in last["payload"].to_pylist() if payload is not None][-count:]
