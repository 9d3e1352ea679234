"""Receipts drawn for a replay: by name, or a sample spread evenly over all. What cannot be read is named, not passed over."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

from counterfoil import segment
from counterfoil.errors import CounterfoilError, InputError, IntegrityError
from counterfoil.receipts import Receipts, draft, sealed, store
from counterfoil.types import Receipt

UNREADABLE = (
    IntegrityError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
)  # what decoding raises


@dataclass(frozen=True, kw_only=True, slots=True)
class Replayed:
    """How one receipt's answer came out: its class, what is different, where the person was found, what was odd on the way."""

    id: str
    bento: str
    kind: str
    detail: str = ""
    found: str = ""
    notes: tuple[str, ...] = ()


def named(receipts: Receipts, id: str) -> Receipt | Replayed:
    """Return the receipt of that id, or that it was altered. UnknownError when there is none."""
    try:
        return receipts.find(id)
    except UNREADABLE as fault:
        return Replayed(id=id, bento="", kind="receipt altered", detail=str(fault))


def sample(receipts: Receipts, count: int, seed: int) -> Iterator[Receipt | Replayed]:
    """Yield `count` receipts spread evenly over all, the oldest first; all when there are no more. The seed moves the grid.

    InputError for a sample of none.
    """
    if count < 1:
        raise InputError(f"a sample of {count} receipts is none; ask for at least 1")
    held = [(path, _count(path)) for path in receipts.segments()]
    total = sum(size for _, size in held)
    step, offset = max(1.0, total / count), Random(seed).random()
    wanted = [int((place + offset) * step) for place in range(min(count, total))]
    start = 0
    for path, size in held:
        yield from _picked(path, [at - start for at in wanted if start <= at < start + size])
        start += size


def _count(path: Path) -> int:
    try:
        return sealed.left(path) if path.suffix == sealed.SUFFIX else store.count(path)
    except IntegrityError:
        return 1  # drawn as one, so that it is named


def _picked(path: Path, places: list[int]) -> Iterator[Receipt | Replayed]:
    """Yield the receipts at these places of a segment, or that the one there was altered."""
    if not places:
        return
    if not path.is_file():  # it was sealed meanwhile
        path = path.with_suffix(sealed.SUFFIX)
    try:
        lines = _lines(path)
    except (CounterfoilError, OSError) as fault:
        yield from (_odd(path, at, fault) for at in places)
        return
    for at in places:
        number, text = lines[at]
        try:
            yield store.decode(
                text if path.suffix == sealed.SUFFIX else segment.payload_of(text, path, number)
            )
        except UNREADABLE as fault:
            yield _odd(path, at, fault)


def _lines(path: Path) -> list[tuple[int, bytes]]:
    """Return the payloads of a sealed segment, or the whole lines of an open one as they are, each with its number."""
    if path.suffix == sealed.SUFFIX:
        return list(enumerate(sealed.payloads(path), start=1))
    drafted = draft.records(path)
    lines = [(number, text) for number, _, text in segment.whole_lines(path)]
    left = draft.beyond(drafted, _readable(lines, path))
    return lines + [(len(lines) + 1, segment.line(payload).removesuffix(segment.BREAK)) for payload in left]


def _readable(lines: list[tuple[int, bytes]], path: Path) -> Iterator[bytes]:
    """Yield the payloads of those lines that were not altered."""
    for number, text in lines:
        with suppress(IntegrityError):
            yield segment.payload_of(text, path, number)


def _odd(path: Path, at: int, fault: Exception) -> Replayed:
    """Return the word for a receipt that cannot be read; by its place, for its number is in what was altered."""
    said = f"{path.name}, receipt {at + 1}: {fault}"
    return Replayed(id=f"receipt-{path.stem}-{at + 1}", bento="", kind="receipt altered", detail=said)
