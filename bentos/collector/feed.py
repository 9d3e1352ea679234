"""What was acknowledged, into the view `recent` of the online store, in a thread of its own: durable first, then visible.

The log is the truth. How far the view has come is kept beside it; after a restart, or when more waits than
may, the feed reads on in the log from there. An event twice is an event once, so reading too much harms nothing.
"""

import logging
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import orjson

from bentos.collector.log import Mark
from counterfoil import canonical, collected, segment
from feature_repo import recent

log = logging.getLogger(__name__)
PUSH_SECONDS = 0.02
PAUSE_SECONDS = 1.0
WAITING = 200_000
HELD = 500_000
CHUNK = 2000
SWEEP_SECONDS = 600.0
MARK = "visible.json"

Held = dict[str, tuple[int, bytes]]


class Store(Protocol):
    """The online store's side of the view."""

    def read(self, keys: list[str]) -> dict[str, str]:
        """Return the texts that are stored under keys."""

    def write(self, texts: dict[str, str]) -> None:
        """Store texts under keys."""

    def forget(self, keys: list[str]) -> None:
        """Take what is stored under keys away."""

    def sweep(self, before_us: int) -> int:
        """Take away what was last written before a moment."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event as the view has it, and under which keys."""

    keys: tuple[str, ...]
    id: str
    time_us: int
    shown: bool
    entry: bytes


class Row:
    """The latest events of one key: what was shown, and all else."""

    __slots__ = ("done", "shown")

    def __init__(self, text: str | None = None) -> None:
        self.shown: Held = {}
        self.done: Held = {}
        for event in recent.parse(text) if text else ():
            held = self.shown if event[2] == recent.SHOWN else self.done
            held[event[0]] = (event[1], orjson.dumps(event))

    def add(self, told: Told) -> None:
        """Add an event; the latest stay."""
        if told.shown:
            self.shown[told.id] = (told.time_us, told.entry)
            if len(self.shown) > 2 * recent.KEPT_SHOWN:
                self.shown = _latest(self.shown, recent.KEPT_SHOWN)
        else:
            self.done[told.id] = (told.time_us, told.entry)
            if len(self.done) > 2 * recent.KEPT_DONE:
                self.done = _latest(self.done, recent.KEPT_DONE)

    def text(self) -> str:
        """Return the text that is stored."""
        self.shown = _latest(self.shown, recent.KEPT_SHOWN)
        self.done = _latest(self.done, recent.KEPT_DONE)
        return recent.text(entry for held in (self.shown, self.done) for _, entry in held.values())

    def __len__(self) -> int:
        return len(self.shown) + len(self.done)


class Feed:
    """Keeps the view up to the log. `connect` makes the store's client; until it does, events wait or stay in the log."""

    def __init__(
        self, folder: Path, connect: Callable[[], Store], *, waiting: int = WAITING, held: int = HELD
    ) -> None:
        self.folder, self._connect, self._most, self._hold = folder, connect, waiting, held
        self._waiting: list[Told] = []
        self._mark: Mark | None = None  # of the last that waits
        self._missed = (
            True  # something of the log is not among what waits: at first, all that is not visible yet
        )
        self._forgotten: list[str] = []
        self._lock, self._wake = threading.Lock(), threading.Event()
        self._rows: OrderedDict[str, Row] = OrderedDict()
        self._size = 0
        self._store: Store | None = None
        self._ended = False
        self._swept = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self.behind_since: float | None = None  # monotonic seconds; None: all is visible
        self.pushed = 0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

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
                self._rows.clear()
                self._size = 0
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
            self._drop(key)
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
            batch: list[Told] = []
            for event, mark in told_of(path, start):
                last = mark
                batch.append(event)
                if len(batch) >= CHUNK:
                    self._push(batch)
                    batch = []
            self._push(batch)
        return last

    def _push(self, events: list[Told]) -> None:
        if not events:
            return
        assert self._store is not None
        by_key: dict[str, list[Told]] = defaultdict(list)
        for told in events:
            for key in told.keys:
                by_key[key].append(told)
        strange = [key for key in by_key if key not in self._rows]
        stored = self._store.read(strange) if strange else {}
        texts = {}
        for key, new in by_key.items():
            row = self._rows.get(key)
            if row is None:
                row = self._rows[key] = Row(stored.get(key))
                self._size += len(row)
            before = len(row)
            for told in new:
                row.add(told)
            texts[key] = row.text()
            self._size += len(row) - before
            self._rows.move_to_end(key)
        self._store.write(texts)
        self.pushed += len(events)
        while self._size > self._hold and len(self._rows) > 1:
            self._drop(next(iter(self._rows)))

    def _drop(self, key: str) -> None:
        row = self._rows.pop(key, None)
        if row is not None:
            self._size -= len(row)

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
    if event.item is None:
        return None
    session, person = event.session, event.person
    return Told(
        (person,) if session is None or session == person else (person, session),
        event.id,
        time_us,
        event.kind == recent.SHOWN,
        recent.entry(
            event.id, time_us, event.kind, event.item, event.quantity, session, event.position, event.receipt
        ),
    )


def told_of(path: Path, start: int) -> Iterator[tuple[Told, Mark]]:
    """Yield the events of a segment about items from a place on, each with the mark behind it."""
    from types import SimpleNamespace

    from counterfoil.contracts import EVENT

    blank = dict.fromkeys(EVENT.names)
    with path.open("rb") as file:
        file.seek(start)
        at = start
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            plain = orjson.loads(segment.payload_of(line[:-1], path, number))
            at += len(line)
            if "collected" in plain:
                continue
            time_us = round(canonical.utc_time(plain["time"]).timestamp() * 1e6)
            if (one := told(SimpleNamespace(**{**blank, **plain}), time_us)) is not None:
                yield one, Mark(path.name, at)


def _latest(held: Held, kept: int) -> Held:
    if len(held) <= kept:
        return held
    found = sorted(held.items(), key=lambda pair: pair[1][0])
    return dict(found[-kept:])
