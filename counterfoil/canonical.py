"""One byte string per value, so that equal values have equal digests. No input or output of files but `file_digest`."""

import dataclasses
import hashlib
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

import orjson


def plain(value: Any) -> Any:
    """Return `value` as JSON's own types: dataclasses as objects, datetimes as UTC text ending in Z, NaN refused."""
    kind = type(value)
    if kind in _OWN:  # first, since a catalog holds a hundred thousand of them
        return value
    if kind is float and math.isfinite(value):  # an answer's receipt holds two hundred
        return value
    if kind is list or kind is tuple:
        return [plain(item) for item in value]
    if kind is dict:
        return {str(key): plain(item) for key, item in value.items()}
    names = _names(kind)  # type: ignore[arg-type]
    if names is not None:
        return {name: plain(getattr(value, name)) for name in names}
    return _plain_other(value)


_OWN = {str, int, bool, type(None)}


@cache
def _names(kind: Any) -> tuple[str, ...] | None:
    """Return the fields' names of a dataclass; None for other types."""
    return tuple(field.name for field in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else None


def _plain_other(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return utc_text(value)
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} has no JSON form; record None instead")
        return float(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
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
