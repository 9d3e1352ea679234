"""Events into the view `recent`: newest texts held in memory, written on, and stored."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from feature_repo import recent

HELD_BYTES = 128_000_000  # of a ring's newest texts, which are not read again before they are written on
KEY_BYTES = 300  # that a key takes beside its text

Newest = tuple[int, int, bytes]  # number of a text, how many entries it has, and those, joined by commas


class Store(Protocol):
    """The online store's side of the view."""

    def newest(self, keys: list[str]) -> dict[str, list[bytes | None]]:
        """Return by key, per ring, the text with the highest number; None where there is none."""

    def write(self, texts: list[tuple[str, str, bytes]]) -> None:
        """Store (key, feature, text), in one transaction."""

    def forget(self, keys: list[str]) -> None:
        """Take what is stored under keys away."""

    def sweep(self, before_us: int) -> int:
        """Take away what was last written before a moment."""


class Told(NamedTuple):
    """An event as the view has it: under which keys, in which ring, and its entry."""

    keys: tuple[str, ...]
    ring: int
    entry: bytes


class NewestTexts:
    """The newest text of one ring, of the keys that were written to last; `shrink` bounds what they take in memory."""

    def __init__(self, ring: recent.Ring, most_bytes: int) -> None:
        self._ring, self._most, self._bytes = ring, most_bytes, 0
        self._texts: dict[str, Newest] = {}  # who was written to last comes last

    def strange(self, keys: Iterable[str]) -> list[str]:
        """Return those of the keys that are not held."""
        return [key for key in keys if key not in self._texts]

    def hold(self, key: str, text: bytes | None) -> None:
        """Take in a key that is not held, with its newest text as the store has it."""
        newest = (0, 0, b"") if text is None else (recent.number_of(text), *recent.entries_of(text))
        self._texts[key] = newest
        self._bytes += KEY_BYTES + len(newest[2])

    def write_on(self, fresh: dict[str, list[bytes]]) -> Iterator[tuple[str, str, bytes]]:
        """Yield (key, feature, text) of what keys' new entries make: the newest text filled up, and those after it."""
        texts, field = self._texts, self._ring.field
        for key, entries in fresh.items():
            number, count, held = texts.pop(key)
            before = len(held)
            entries = entries[-self._ring.most :]
            while entries:
                if count >= recent.EVENTS:
                    number, count, held = number + 1, 0, b""
                some, entries = entries[: recent.EVENTS - count], entries[recent.EVENTS - count :]
                held = b",".join((held, *some) if held else some)
                count += len(some)
                yield key, field(number), recent.text(number, held)
            texts[key] = number, count, held
            self._bytes += len(held) - before

    def drop(self, key: str) -> None:
        """Let go of a key, if it is held."""
        if (newest := self._texts.pop(key, None)) is not None:
            self._bytes -= KEY_BYTES + len(newest[2])

    def shrink(self) -> None:
        """Let go of those that were written to longest ago, until the bound holds."""
        while self._bytes > self._most:
            self.drop(next(iter(self._texts)))


class Writer:
    """Writes events to the view of one store."""

    gone = False  # who writes here ends with who asks

    def __init__(self, store: Store, held_bytes: int = HELD_BYTES) -> None:
        self._store = store
        self._newest = tuple(NewestTexts(ring, held_bytes) for ring in recent.RINGS)

    def push(self, events: Sequence[Told]) -> None:
        """Make events visible."""
        if not events:
            return
        fresh: tuple[dict[str, list[bytes]], ...] = tuple({} for _ in recent.RINGS)
        for keys, ring, entry in events:
            of_ring = fresh[ring]
            for key in keys:
                if key in of_ring:
                    of_ring[key].append(entry)
                else:
                    of_ring[key] = [entry]
        self._look_up([newest.strange(of_ring) for newest, of_ring in zip(self._newest, fresh, strict=True)])
        rows = [
            row
            for newest, of_ring in zip(self._newest, fresh, strict=True)
            for row in newest.write_on(of_ring)
        ]
        self._store.write(rows)
        for newest in self._newest:
            newest.shrink()

    def forget(self, keys: list[str]) -> None:
        """Take what is held and stored under keys away."""
        for newest in self._newest:
            for key in keys:
                newest.drop(key)
        self._store.forget(keys)

    def sweep(self, before_us: int) -> None:
        """Take away what was last written before a moment."""
        self._store.sweep(before_us)

    def close(self) -> None:
        """Nothing is to be ended."""

    def _look_up(self, strange: list[list[str]]) -> None:
        """Hold what the store has of keys, a list for each ring."""
        if not any(strange):
            return
        found = self._store.newest(list(dict.fromkeys(key for keys in strange for key in keys)))
        for place, (newest, keys) in enumerate(zip(self._newest, strange, strict=True)):
            for key in keys:
                newest.hold(key, found[key][place])
