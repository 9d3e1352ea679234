"""The draft of a segment: its newest receipts in a file beside it, until they are packed into it together.

An answer waits for its receipt to lie in the draft and for no more. Making it the JSON that is kept, and packing that, takes
longer than all else that is done for a receipt, and less for many in a row than for each between two answers. What lies there is
the kernel's: it outlives the process, not a loss of power. A segment that may be open is read by the functions here.

A frame is its length and CRC-32, four bytes each, and the receipt as MessagePack. The file is written over zeros again and again;
what is no whole frame is the end.
"""

import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from counterfoil import canonical, segment
from counterfoil.types import Receipt

SUFFIX = ".draft"
HEAD = 8  # bytes
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode


def beside(path: Path) -> Path:
    """Return where the draft of a segment lies."""
    return path.with_name(path.name + SUFFIX)


class Draft:
    """Keep receipts of an open segment until they are in it. For one thread at a time; OSError where the disk has no room."""

    def __init__(self, path: Path) -> None:
        self.path, self._at = beside(path), 0
        self._descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)

    def append(self, receipt: Receipt) -> None:
        """Return once the kernel has it. TypeError when it holds what has no name in MessagePack."""
        packed = _pack(receipt)
        frame = len(packed).to_bytes(4) + zlib.crc32(packed).to_bytes(4) + packed
        segment.write_at(self._descriptor, frame, self._at)
        self._at += len(frame)

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
    """Return the payloads of what the draft of a segment holds whole, oldest first; none where there is no draft."""
    try:
        data = beside(path).read_bytes()
    except FileNotFoundError:
        return []
    found, at = [], 0
    while size := int.from_bytes(data[at : at + 4]):
        packed = data[at + HEAD : at + HEAD + size]
        if len(packed) < size or zlib.crc32(packed) != int.from_bytes(data[at + 4 : at + HEAD]):
            break
        found.append(canonical.encode(_unpack(packed)))
        at += HEAD + size
    return found


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
