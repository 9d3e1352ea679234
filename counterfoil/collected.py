"""The log of events that were acknowledged and have not landed yet: `SEGMENT.jsonl`, named by the moment it was begun at.

A segment's first line says by which key people in it are pseudonyms; every other line is an event as the contract has it, its
person and its session by their pseudonyms, or a mark of how many lines had been acknowledged by then. One process writes to a
segment and holds it locked; what nobody holds is closed.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from counterfoil import segment
from counterfoil.errors import IntegrityError

SUFFIX = ".jsonl"
FORMAT = 1
LANDING = "landing"  # the folder of segments that land together
SHOWN = "impression"  # the kind of event that tells what was shown
KNOWN_DAYS = 7  # for which answers know of an event that features have not taken up


def begin(folder: Path, key: str, now: datetime) -> tuple[Path, int, int]:
    """Begin a segment: return its path, a descriptor to append to, and its size. `key` is the pseudonym key's fingerprint.

    OSError when the disk refuses it; then nothing is left.
    """
    path = folder / f"{now.astimezone(UTC):%Y%m%dT%H%M%S%f}-{secrets.token_hex(4)}{SUFFIX}"
    descriptor = segment.create(path)
    head = segment.line(orjson.dumps({"collected": FORMAT, "key": key}))
    try:
        segment.append(descriptor, head)
    except OSError:  # a full disk refuses again and again: nothing may stay of it each time
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)
        raise
    return path, descriptor, len(head)


def begun(path: Path) -> datetime:
    """Return when a segment began, by its name: whole seconds."""
    return datetime.strptime(path.name[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)


def segments(folder: Path) -> list[Path]:
    """Return the segments, oldest first, also those that land right now."""
    return sorted(
        [*folder.glob(f"*{SUFFIX}"), *(folder / LANDING).glob(f"*{SUFFIX}")], key=lambda path: path.name
    )


def newest(folder: Path, count: int, since: datetime) -> list[Path]:
    """Return the segments, oldest first, that hold the newest `count` events at least, and all that came in since a moment.

    What cannot be counted counts as nothing: whoever reads it is told why.
    """
    found: list[Path] = []
    held = 0
    for path in reversed(segments(folder)):
        # one is written to at a time: all older ones were done with when the last that was found began
        if found and held >= count and begun(found[-1]) <= since:
            break
        found.append(path)
        with suppress(IntegrityError, FileNotFoundError):
            held += segment.count(path) - 1
    return found[::-1]


def key_of(path: Path) -> str | None:
    """Return the fingerprint of the key that people in a segment are pseudonyms by; None of one that has no whole line.

    IntegrityError when it is no segment of events.
    """
    first = next(segment.payloads(path), None)
    if first is None:
        return None
    try:
        head = orjson.loads(first)
        if head["collected"] == FORMAT:
            return str(head["key"])
    except (ValueError, KeyError, TypeError):
        pass
    raise IntegrityError(f"{path} does not begin as a log of collected events does; restore or remove it")


def holds_events(path: Path) -> bool:
    """Say whether a segment holds more than its first line."""
    return next(islice(segment.payloads(path), 1, None), None) is not None


def events(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of a segment, checked."""
    yield from map(orjson.loads, islice(segment.payloads(path), 1, None))
