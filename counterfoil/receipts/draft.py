"""The draft of a segment: its newest receipts in two files beside it, until they are packed into it together.

An answer waits for its receipt to lie in the draft and for no more. Making it the JSON that is kept, and packing that, takes
longer than all else that is done for a receipt, and less for many in a row than for each between two answers. What lies there is
the kernel's: it outlives the process, not a loss of power. While what is in one file is packed, the other one takes what comes;
so each of them is empty again after every turn.

A frame is its length and CRC-32, four bytes each, and the receipt as MessagePack. A file is written over zeros again and again;
what is no whole frame is the end. What the segment holds by now may lie here too: whoever reads leaves it out (`beyond`).
"""

import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from counterfoil import segment
from counterfoil.errors import IntegrityError
from counterfoil.receipts.coded import dumps
from counterfoil.types import Receipt

SUFFIXES = (".draft0", ".draft1")
HEAD = 8  # bytes
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode


def beside(path: Path) -> list[Path]:
    """Return where the draft of a segment lies."""
    return [path.with_name(path.name + suffix) for suffix in SUFFIXES]


class Draft:
    """Keep receipts of an open segment until they are in it. For one thread at a time; OSError where the disk has no room."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files = [os.open(half, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600) for half in beside(path)]
        self._sizes, self._now = [0, 0], 0

    def append(self, receipt: Receipt) -> None:
        """Return once the kernel has it. TypeError or OverflowError when it holds what has no name in MessagePack."""
        packed = _pack(receipt)
        frame = len(packed).to_bytes(4) + zlib.crc32(packed).to_bytes(4) + packed
        segment.write_at(self._files[self._now], frame, self._sizes[self._now])
        self._sizes[self._now] += len(frame)

    def turn(self) -> None:
        """Begin with the other file, which is empty by now."""
        self._now = 1 - self._now

    def clear(self) -> None:
        """Let go of what was there before the last turn: the segment has it."""
        other = 1 - self._now
        segment.write_at(self._files[other], bytes(self._sizes[other]), 0)
        self._sizes[other] = 0

    def close(self, *, keep: bool) -> None:
        """End it; `keep` what the segment could not take."""
        for file in self._files:
            with suppress(OSError):
                os.close(file)
        if not keep:
            with suppress(OSError):  # the disk may be read-only by now; sealing takes it away
                drop(self.path)


def drop(path: Path) -> None:
    """Take away the draft of a segment."""
    for half in beside(path):
        half.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Take away the drafts of segments that are gone: a sealing was cut off."""
    for suffix in SUFFIXES:
        for half in folder.glob(f"*/*.jsonl{suffix}"):
            if not half.with_suffix("").exists():
                half.unlink(missing_ok=True)


def records(path: Path) -> list[bytes]:
    """Return the payloads of what the draft of a segment holds whole, oldest first; none where there is no draft.

    To be asked for before the segment is read: what is packed meanwhile is found there. IntegrityError when something whole is no
    receipt.
    """
    found = []
    for half in beside(path):
        with suppress(FileNotFoundError):
            found += list(_numbered(half))
    return [payload for _, payload in sorted(found)]


def _numbered(half: Path) -> Iterator[tuple[int, bytes]]:
    data, at = half.read_bytes(), 0
    while size := int.from_bytes(data[at : at + 4]):
        packed = data[at + HEAD : at + HEAD + size]
        if len(packed) < size or zlib.crc32(packed) != int.from_bytes(data[at + 4 : at + HEAD]):
            return
        try:
            row = _unpack(packed)
            numbered = int(row["id"].rpartition("-")[2]), dumps(row)
        except (
            msgspec.DecodeError,
            ValueError,
            TypeError,
            LookupError,
            AttributeError,
            RecursionError,
        ) as fault:
            raise IntegrityError(
                f"{half} holds what is no receipt ({fault}); restore it, or take it away"
            ) from fault
        yield numbered
        at += HEAD + size


def beyond(drafted: Iterable[bytes], held: Iterable[bytes]) -> list[bytes]:
    """Return which of the drafted payloads the segment does not hold."""
    left = dict.fromkeys(drafted)
    if left:
        for payload in held:
            left.pop(payload, None)
    return list(left)


def payloads(path: Path) -> Iterator[bytes]:
    """Yield the payload of every record of an open segment, checked, and then what its draft has beyond them."""
    left = dict.fromkeys(records(path))
    for payload in segment.payloads(path):
        left.pop(payload, None)
        yield payload
    yield from left


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
