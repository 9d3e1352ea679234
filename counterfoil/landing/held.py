"""Rows that broke their contract, kept with the reason until they are fixed and submitted again."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from counterfoil.errors import UnknownError
from counterfoil.settings import Settings

SCHEMA = pa.schema(
    [("contract", pa.string()), ("row", pa.int64()), ("reason", pa.string()), ("raw", pa.string())]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Quarantined:
    """What a batch still has in quarantine: rows, and how many for which reason."""

    batch: str
    rows: int
    reasons: dict[str, int]


def quarantine(settings: Settings) -> list[Quarantined]:
    """Return, per batch in order of name, what is in quarantine now."""
    found = sorted((settings.landing / "quarantine").glob("*.parquet"))
    return [_summary(path) for path in found]


def quarantined_rows(settings: Settings, batch: str) -> pa.Table:
    """Return a batch's rows in quarantine: contract, row (its number in the input), reason, raw (JSON, people as pseudonyms).

    Raises UnknownError when nothing of that batch is there.
    """
    return pq.read_table(place(settings, batch))


def place(settings: Settings, batch: str) -> Path:
    """Return the file of a batch's rows in quarantine. Raises UnknownError when there is none."""
    path = settings.landing / file_of(batch)
    if Path(batch).name != batch or not path.exists():
        there = ", ".join(q.batch for q in quarantine(settings)) or "nothing"
        raise UnknownError(f"nothing of batch {batch!r} is in quarantine; there is {there}")
    return path


def file_of(batch: str) -> str:
    """Return where a batch's rows in quarantine lie below the landing folder."""
    return f"quarantine/{batch}.parquet"


def _summary(path: Path) -> Quarantined:
    reasons: Counter[str] = Counter()
    for batch in pq.ParquetFile(path).iter_batches(columns=["reason"]):
        reasons.update(batch.column(0).to_pylist())
    return Quarantined(batch=path.stem, rows=reasons.total(), reasons=dict(sorted(reasons.items())))
