"""The draft of a segment: its newest receipts as they are, in a file beside it, until they are packed into it together.

An answer waits for its receipt to lie in the draft and for no more: packing takes longer than all else that is done for a receipt,
and ten of them one after another take half of what they take one by one, between answers. What lies there is the kernel's: it
outlives the process, not a loss of power. Whoever reads a segment that may be open reads it here, with its draft.

The file is written over zeros again and again, so a line of it may be what is left of an earlier one: that is passed over, and so
is what the segment holds by now.
"""

import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from counterfoil import segment

SUFFIX = ".draft"


def beside(path: Path) -> Path:
    """Return where the draft of a segment lies."""
    return path.with_name(path.name + SUFFIX)


class Draft:
    """Keep records of an open segment until they are in it. For one thread at a time; OSError where the disk has no room."""

    def __init__(self, path: Path) -> None:
        self.path, self._at = beside(path), 0
        self._descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)

    def append(self, payload: bytes) -> None:
        """Return once the kernel has the record."""
        text = segment.line(payload)
        segment.write_at(self._descriptor, text, self._at)
        self._at += len(text)

    def clear(self) -> None:
        """Let all of it go: the segment has it."""
        segment.write_at(self._descriptor, bytes(self._at), 0)
        self._at = 0

    def close(self, *, keep: bool) -> None:
        """End it; `keep` what the segment could not take."""
        if not keep:
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)


def records(path: Path) -> list[bytes]:
    """Return what the draft of a segment holds whole, oldest first; nothing where there is none."""
    try:
        lines = beside(path).read_bytes().split(segment.BREAK)
    except FileNotFoundError:
        return []
    parted = (text.lstrip(segment.NOTHING).partition(b" ") for text in lines[:-1])
    return [payload for crc, _, payload in parted if crc == b"%08x" % zlib.crc32(payload)]


def payloads(path: Path) -> Iterator[bytes]:
    """Yield the payload of every record of an open segment, checked, and then what its draft has beyond them."""
    drafted = dict.fromkeys(records(path))  # first: what is packed meanwhile is read there
    for payload in segment.payloads(path):
        drafted.pop(payload, None)
        yield payload
    yield from drafted


def count(path: Path) -> int:
    """Return the number of records, as `payloads` has them."""
    return sum(1 for _ in payloads(path)) if records(path) else segment.count(path)


def find(path: Path, needle: bytes, number: int, right: Callable[[bytes], bool]) -> bytes | None:
    """Return the first payload that holds `needle`, alone or packed under that number, and is `right`; or None."""
    drafted = records(path)
    found = segment.find(path, needle, number, right)
    if found is not None:
        return found
    return next((payload for payload in drafted if needle in payload and right(payload)), None)


def drop(path: Path) -> None:
    """Take away the draft of a segment that is gone."""
    beside(path).unlink(missing_ok=True)
