"""What was acknowledged, into the view `recent` of the online store: durable first, then visible.

The log is the truth. How far the view has come is kept beside it; after a restart, or when more waits than
may, the feed reads on in the log from there. An event twice is an event once, so reading too much harms nothing.

What is acknowledged is to be visible within a second. So the feed says when no more may come (`busy`): as long as the store takes
what it is given, no more may wait than it takes in ROOM_SECONDS. While the store is away, events are taken all the same.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import orjson

from bentos.collector.log import Mark
from bentos.collector.view import Told
from counterfoil import canonical, collected, segment
from counterfoil.errors import IntegrityError
from feature_repo import recent

log = logging.getLogger(__name__)
PUSH_SECONDS = 0.02
GATHER_SECONDS = 0.1  # while much comes: events of a larger transaction share pages, and cost half
PAUSE_SECONDS, LONGEST_PAUSE = 1.0, 5.0  # after a fault, twice as long after each that follows it
END_SECONDS = 10.0
WAITING = 200_000
CHUNK = 10_000  # events in one transaction: of the same people's, several go into one text
ROOM_SECONDS = 0.65  # for which the store may be given work ahead
LATE_SECONDS = 0.75  # after which what waits is late, however little it is
RATE, LEAST = 5_000.0, 200  # events a second until it is measured; events of a turn that tells
SWEEP_SECONDS, LOOK_SECONDS = 600.0, 1.0
MARK = "visible.json"


class Writes(Protocol):
    """Whoever writes to the view: `view.Writer`, here or in a process of its own."""

    @property
    def gone(self) -> bool:
        """Whether it ended by itself, and is to be made anew."""

    def push(self, events: Sequence[Told]) -> None:
        """Make events visible."""

    def forget(self, keys: list[str]) -> None:
        """Take what is stored under keys away."""

    def sweep(self, before_us: int) -> None:
        """Take away what was last written before a moment."""

    def close(self) -> None:
        """End what was begun; also while somebody else waits for it."""


class Feed:
    """Keeps the view up to the log. `connect` makes who writes to it; until it does, events wait or stay in the log."""

    def __init__(
        self,
        folder: Path,
        connect: Callable[[], Writes],
        visible: Callable[[float], None] = lambda seconds: None,
        *,
        waiting: int = WAITING,
    ) -> None:
        """`visible` is told, of events that became durable together, after how many seconds all of them were visible."""
        self.folder, self._connect, self._visible = folder, connect, visible
        self._most = waiting
        self._waiting: list[Told] = []
        self._moments: list[float] = []  # at which what waits was told (monotonic seconds)
        self._mark: Mark | None = None  # of the last that waits
        self._missed = (
            True  # something of the log is not among what waits: at first, all that is not visible yet
        )
        self._forgotten: list[str] = []
        self._lock, self._wake = threading.Lock(), threading.Event()
        self._writer: Writes | None = None
        self._ended = False
        self._swept = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._catching = True  # what the log has, or the store being away, is what keeps events waiting
        self._underway = 0  # events that the turn of now has not written yet
        self._rate = RATE
        self.behind_since: float | None = None  # monotonic seconds; None: all is visible

    @property
    def busy(self) -> bool:
        """Whether what came now would be visible too late, since the store does not take it as quickly as it comes."""
        waiting = len(self._waiting) + self._underway
        if self._catching:
            return self._writer is not None and waiting >= self._most
        since = self.behind_since
        return waiting > self._room or (since is not None and time.monotonic() - since > LATE_SECONDS)

    @property
    def _room(self) -> float:
        """How many events may wait: never so few that no turn tells any more."""
        return max(self._rate * ROOM_SECONDS, 2 * LEAST)

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
            elif self._writer is None and len(self._waiting) + len(events) > self._most:
                self._waiting, self._moments, self._missed = [], [], True
            else:
                self._waiting += events
                self._moments.append(time.monotonic())
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
        self._thread.join(END_SECONDS)
        if (writer := self._writer) is not None:
            writer.close()

    def _run(self) -> None:
        faults = 0
        while True:
            if not self._wake.wait(LOOK_SECONDS) and not self._due():
                continue
            self._wake.clear()
            ended, much = self._ended, False
            try:
                much = self._turn() >= LEAST
                faults = 0
            except Exception as fault:  # whatever a store's client raises: the log keeps what happened
                log.warning("what happens is not visible to answers: %s", fault)
                self._away()
                if ended:
                    return
                time.sleep(min(PAUSE_SECONDS * 2 ** min(faults, 10), LONGEST_PAUSE))
                faults += 1
                self._wake.set()
            if ended:
                return
            if not much:
                time.sleep(PUSH_SECONDS)
            elif 4 * len(self._waiting) < self._room:  # else enough waits already
                time.sleep(GATHER_SECONDS)

    def _due(self) -> bool:
        """Say whether something is to be done though nothing came: who writes ended, or what is old is to go."""
        if self._writer is not None and self._writer.gone:
            log.warning("who makes events visible ended, and is started again")
            self._away()
            return True
        return time.monotonic() - self._swept > SWEEP_SECONDS

    def _away(self) -> None:
        """Begin anew with what the log has once the store is back."""
        with self._lock:
            self._writer, self._missed, self._catching, self._underway = None, True, True, 0
            self._waiting, self._moments = [], []
            if self.behind_since is None:
                self.behind_since = time.monotonic()

    def _turn(self) -> int:
        """Make visible what is not; return how many events waited."""
        if self._writer is None:
            self._writer = self._connect()
        with self._lock:
            waiting, moments, mark, missed = self._waiting, self._moments, self._mark, self._missed
            self._waiting, self._moments, self._missed = [], [], False
            self._underway = len(waiting)
            gone = list(self._forgotten)
            began = time.monotonic()
        if missed:
            mark = max(filter(None, (mark, self._read_on(mark))), default=None)
        if gone:  # after what the log has: it may have more of them
            self._writer.forget(gone)
        self._push_all(waiting)
        if mark is not None:
            self._note(mark)
        if gone:  # it is said once nothing of them is read again
            with self._lock:
                self._forgotten = [key for key in self._forgotten if key not in gone]
        self._done(moments, began)
        self._sweep()
        return len(waiting)

    def _push_all(self, waiting: list[Told]) -> None:
        began = time.perf_counter()
        for start in range(0, len(waiting), CHUNK):
            some = waiting[start : start + CHUNK]
            self._write(some)
            self._underway -= len(some)
        if len(waiting) >= LEAST:
            rate = len(waiting) / (time.perf_counter() - began)
            self._rate = min(rate, self._rate + (rate - self._rate) / 2)  # slower at once, quicker by and by

    def _done(self, moments: list[float], began: float) -> None:
        """Say how long what is visible now has waited, and since when what came meanwhile waits."""
        with self._lock:
            self._catching = False
            self.behind_since = began if self._missed else next(iter(self._moments), None)
        now = time.monotonic()
        for moment in moments:
            self._visible(now - moment)

    def _read_on(self, until: Mark | None) -> Mark | None:
        """Make visible what the log has beyond what was noted, up to a mark; return how far that reaches."""
        done, last = noted(self.folder), None
        for path in collected.segments(self.folder):
            if done is not None and path.name < done.segment:
                continue
            start = done.offset if done is not None and path.name == done.segment else 0
            last = self._read_segment(path, start, until) or last
        return last

    def _read_segment(self, path: Path, start: int, until: Mark | None) -> Mark | None:
        """Make visible what a segment has from a place on, up to a mark; of one that was altered, what comes before that."""
        last: Mark | None = None
        batch: list[Told] = []
        try:
            for event, mark in told_of(path, start):
                if until is not None and mark > until:  # that waits, or will
                    break
                last = mark
                batch.append(event)
                if len(batch) >= CHUNK:
                    self._write(batch)
                    batch = []
        except IntegrityError as lost:
            log.error("not all that was acknowledged becomes visible: %s", lost)
        self._write(batch)
        return last

    def _write(self, events: Sequence[Told]) -> None:
        assert self._writer is not None
        self._writer.push(events)

    def _note(self, mark: Mark) -> None:
        fresh = self.folder / f"{MARK}.new"
        fresh.write_bytes(orjson.dumps({"segment": mark.segment, "offset": mark.offset}))
        fresh.replace(self.folder / MARK)

    def _sweep(self) -> None:
        if time.monotonic() - self._swept > SWEEP_SECONDS and self._writer is not None:
            self._swept = time.monotonic()
            self._writer.sweep(int((time.time() - recent.DAYS * 86_400) * 1e6))


def noted(folder: Path) -> Mark | None:
    """Return how far the view has come in the log of that folder; None where nothing says so."""
    try:
        plain = orjson.loads((folder / MARK).read_bytes())
        return Mark(plain["segment"], plain["offset"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_visible(path: Path, done: Mark | None) -> bool:
    """Say whether the view has all of a segment when it has come so far; what was altered will never be in it."""
    if done is not None and path.name < done.segment:
        return True
    start = done.offset if done is not None and path.name == done.segment else 0
    try:
        return next(told_of(path, start), None) is None
    except IntegrityError:
        return True


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
        int(event.kind != recent.SHOWN),
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
