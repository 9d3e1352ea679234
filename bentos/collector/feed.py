"""What was acknowledged, into the view `recent` of the online store, in a thread of its own: durable first, then visible.

The log is the truth. How far the view has come is kept beside it; after a restart, or when more waits than
may, the feed reads on in the log from there. An event twice is an event once, so reading too much harms nothing.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import orjson

from bentos.collector.log import Mark
from counterfoil import canonical, collected, segment
from counterfoil.errors import IntegrityError
from feature_repo import recent

log = logging.getLogger(__name__)
PUSH_SECONDS = 0.02
PAUSE_SECONDS = 1.0
WAITING = 200_000
KEYS = 30_000
CHUNK = 20_000  # events in one transaction: of the same people's, several go into one text
SWEEP_SECONDS = 600.0
MARK = "visible.json"

Newest = tuple[int, list[bytes]]


class Store(Protocol):
    """The online store's side of the view."""

    def numbers(self, keys: list[str]) -> dict[str, list[int]]:
        """Return by key, per ring, the number that the next text has."""

    def write(self, texts: dict[str, dict[str, str]]) -> None:
        """Store texts by key and feature."""

    def forget(self, keys: list[str]) -> None:
        """Take what is stored under keys away."""

    def sweep(self, before_us: int) -> int:
        """Take away what was last written before a moment."""


class Told(NamedTuple):
    """An event as the view has it: under which keys, in which ring, and its entry."""

    keys: tuple[str, ...]
    ring: int
    entry: bytes


class Feed:
    """Keeps the view up to the log. `connect` makes the store's client; until it does, events wait or stay in the log."""

    def __init__(
        self, folder: Path, connect: Callable[[], Store], *, waiting: int = WAITING, keys: int = KEYS
    ) -> None:
        self.folder, self._connect, self._most, self._keys = folder, connect, waiting, keys
        self._waiting: list[Told] = []
        self._mark: Mark | None = None  # of the last that waits
        self._missed = (
            True  # something of the log is not among what waits: at first, all that is not visible yet
        )
        self._forgotten: list[str] = []
        self._lock, self._wake = threading.Lock(), threading.Event()
        # per ring the number and entries of the newest text, of the keys that were written to last
        self._newest: OrderedDict[str, list[Newest]] = OrderedDict()
        self._store: Store | None = None
        self._ended = False
        self._swept = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self.behind_since: float | None = None  # monotonic seconds; None: all is visible
        self.pushed = 0

    def start(self) -> None:
        """Begin with what the log has beyond what was visible last."""
        self.behind_since = time.monotonic()
        self._thread.start()
        self._wake.set()

    def tell(self, events: list[Told], mark: Mark) -> None:
        """Take events that are durable up to a mark; never waits."""
        with self._lock:
            self._mark = mark
            if self.behind_since is None:
                self.behind_since = time.monotonic()
            if self._missed:
                pass  # they are read from the log
            elif len(self._waiting) + len(events) > self._most:
                self._waiting, self._missed = [], True
            else:
                self._waiting += events
        self._wake.set()

    def forget(self, keys: list[str]) -> bool:
        """Drop what is held and stored under keys; say whether that was done within five seconds."""
        with self._lock:
            self._forgotten += keys
            self._waiting = [told for told in self._waiting if not set(told.keys) & set(keys)]
        self._wake.set()
        until = time.monotonic() + 5
        while self._forgotten and time.monotonic() < until:
            time.sleep(0.01)
        return not self._forgotten

    def close(self) -> None:
        """Make visible what waits, and end."""
        self._ended = True
        self._wake.set()
        self._thread.join(10)

    def _run(self) -> None:
        while True:
            self._wake.wait(SWEEP_SECONDS)
            self._wake.clear()
            ended = self._ended
            try:
                self._turn()
            except Exception as fault:  # whatever a store's client raises: the log keeps what happened
                log.warning("what happens is not visible to answers: %s", fault)
                self._store = None
                with self._lock:
                    self._missed = True
                self._newest.clear()
                if ended:
                    return
                time.sleep(PAUSE_SECONDS)
                self._wake.set()
            if ended:
                return
            time.sleep(PUSH_SECONDS)

    def _turn(self) -> None:
        if self._store is None:
            self._store = self._connect()
        with self._lock:
            waiting, mark, missed = self._waiting, self._mark, self._missed
            self._waiting, self._missed = [], False
            gone, since = list(self._forgotten), time.monotonic()
        for key in gone:
            self._newest.pop(key, None)
        if gone:
            self._store.forget(gone)
            with self._lock:
                self._forgotten = [key for key in self._forgotten if key not in gone]
        if missed:
            mark = max(filter(None, (mark, self._read_on())), default=None)
        for start in range(0, len(waiting), CHUNK):
            self._push(waiting[start : start + CHUNK])
        if mark is not None:
            self._note(mark)
        with self._lock:
            self.behind_since = None if not self._waiting and not self._missed else since
        self._sweep()

    def _read_on(self) -> Mark | None:
        """Make visible what the log has beyond what was noted; return how far it reaches."""
        done, last = self._noted(), None
        for path in collected.segments(self.folder):
            if done is not None and path.name < done.segment:
                continue
            start = done.offset if done is not None and path.name == done.segment else 0
            last = self._read_segment(path, start) or last
        return last

    def _read_segment(self, path: Path, start: int) -> Mark | None:
        """Make visible what a segment has from a place on; of one that was altered, what comes before that."""
        last: Mark | None = None
        batch: list[Told] = []
        try:
            for event, mark in told_of(path, start):
                last = mark
                batch.append(event)
                if len(batch) >= CHUNK:
                    self._push(batch)
                    batch = []
        except IntegrityError as lost:
            log.error("not all that was acknowledged becomes visible: %s", lost)
        self._push(batch)
        return last

    def _push(self, events: list[Told]) -> None:
        if not events:
            return
        assert self._store is not None
        fresh: dict[str, tuple[list[bytes], list[bytes]]] = {}
        for keys, ring, entry in events:
            for key in keys:
                if (new := fresh.get(key)) is None:
                    new = fresh[key] = ([], [])
                new[ring].append(entry)
        strange = [key for key in fresh if key not in self._newest]
        if strange:
            for key, numbers in self._store.numbers(strange).items():
                self._newest[key] = [(number, []) for number in numbers]
        self._store.write({key: self._texts(key, new) for key, new in fresh.items()})
        self.pushed += len(events)
        while len(self._newest) > self._keys:
            self._newest.popitem(last=False)

    def _texts(self, key: str, new: tuple[list[bytes], list[bytes]]) -> dict[str, str]:
        """Return the texts, by feature, that a key's new events make: each ring's newest text filled up, and those after it."""
        newest, texts = self._newest[key], {}
        for place, (ring, entries) in enumerate(zip(recent.RINGS, new, strict=True)):
            if not entries:
                continue
            number, held = newest[place]
            entries = held + entries[-ring.most :]
            for start in range(0, len(entries), recent.EVENTS):
                held = entries[start : start + recent.EVENTS]
                texts[ring.field(number)] = recent.text(number, held)
                number += 1
            newest[place] = number - 1, held
        self._newest.move_to_end(key)
        return texts

    def _noted(self) -> Mark | None:
        try:
            plain = orjson.loads((self.folder / MARK).read_bytes())
            return Mark(plain["segment"], plain["offset"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _note(self, mark: Mark) -> None:
        fresh = self.folder / f"{MARK}.new"
        fresh.write_bytes(orjson.dumps({"segment": mark.segment, "offset": mark.offset}))
        fresh.replace(self.folder / MARK)

    def _sweep(self) -> None:
        if time.monotonic() - self._swept > SWEEP_SECONDS and self._store is not None:
            self._swept = time.monotonic()
            self._store.sweep(int((time.time() - recent.DAYS * 86_400) * 1e6))


def told(event: Any, time_us: int) -> Told | None:
    """Return an event as the view has it; None when it is about no item."""
    item = event.item
    if item is None:
        return None
    session, person = event.session, event.person
    entry = orjson.dumps(
        (event.id, time_us, event.kind, item, event.quantity, session, event.position, event.receipt)
    )
    return Told(
        (person,) if session is None or session == person else (person, session),
        event.kind != recent.SHOWN,
        entry,
    )


def told_of(path: Path, start: int) -> Iterator[tuple[Told, Mark]]:
    """Yield the events of a segment about items from a place on, each with the mark behind it."""
    from types import SimpleNamespace

    from counterfoil.contracts import EVENT

    blank = dict.fromkeys(EVENT.names)
    for number, at, line in segment.whole_lines(path, start):
        plain = orjson.loads(segment.payload_of(line, path, number))
        if "collected" in plain:
            continue
        time_us = round(canonical.utc_time(plain["time"]).timestamp() * 1e6)
        if (one := told(SimpleNamespace(**{**blank, **plain}), time_us)) is not None:
            yield one, Mark(path.name, at)
