"""One byte string per value, so that equal values have equal digests. No input or output of files but `file_digest`."""

import dataclasses
import hashlib
import math
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import orjson


def plain(value: Any) -> Any:
    """Return `value` as JSON's own types: dataclasses as objects, datetimes as UTC text ending in Z, NaN refused."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return utc_text(value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} has no JSON form; record None instead")
    if hasattr(value, "item") and not isinstance(value, str | bytes):
        return plain(value.item())
    return value


def encode(value: Any) -> bytes:
    """Return the canonical JSON of `value`: sorted keys, no white space, UTF-8."""
    return orjson.dumps(plain(value), option=orjson.OPT_SORT_KEYS)


def sha256(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON of `value`, as 64 hex digits."""
    return hashlib.sha256(encode(value)).hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def utc_text(moment: datetime) -> str:
    """Return `moment` as RFC 3339 text in UTC with a Z; a naive moment is refused."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone; give it one")
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def utc_time(text: str) -> datetime:
    """Return the moment that `text` names; text without an offset is read as UTC."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
