"""The courier: carries events from the journal to files and HTTP endpoints, in a thread of its own.

A place that is down stops nobody: it is told once, tried again later, and gets what it missed from the journal, also from a later
process. At least once: a place may see an event twice, which OpenLineage's run ids allow for.
"""

import atexit
import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import orjson
from filelock import FileLock, Timeout

from flows.standards.journal import Event, Journal, Position

ENDPOINT = "/api/v1/lineage"  # where Marquez and those who follow it take events, when a URL names no path
AGAIN_SECONDS = 30.0
AT_THE_END_SECONDS = 5.0
LATER = (401, 403, 404, 408, 429)  # the place, not the event, is wrong
STEP = 50


class Refused(Exception):
    """Raised when a place will never take an event."""


class Courier:
    """Carries a journal's events to `places`; `say` is told in one sentence of a place that is down, once."""

    def __init__(
        self, journal: Journal, places: tuple[str, ...], key: str | None, say: Callable[[str], None]
    ):
        self.journal, self.places, self.key, self.say = journal, places, key, say
        self.down: dict[str, float] = {}
        self.told: set[str] = set()
        self._news, self._idle = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Say that there is something to carry; returns at once."""
        if not self.places:
            return
        self._idle.clear()
        self._news.set()
        if (
            self._thread is None or not self._thread.is_alive()
        ):  # also in a fork, where threads do not live on
            self._thread = threading.Thread(target=self._work, name="openlineage", daemon=True)
            self._thread.start()
            atexit.register(self.rest)

    def rest(self, seconds: float = AT_THE_END_SECONDS) -> bool:
        """Wait until all is carried that can be, but no longer than this; says whether it is."""
        return not self.places or self._thread is None or self._idle.wait(seconds)

    def _work(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            for place in self.places:
                self.carry(place)
            if not self._news.is_set():
                self._idle.set()

    def carry(self, place: str) -> bool:
        """Bring one place up to date; False when it is down, or another process carries to it now."""
        if time.monotonic() < self.down.get(place, 0.0):
            return False
        reader = f"carried-{hashlib.sha256(place.encode()).hexdigest()[:12]}"
        try:
            with FileLock(self.journal.folder / f"{reader}.lock", timeout=0):
                self._carry(place, reader)
        except Timeout:
            return False
        except (httpx.HTTPError, OSError) as fault:
            self.down[place] = time.monotonic() + AGAIN_SECONDS
            self._tell(
                place, f"{named(place)} takes no OpenLineage events now ({fault}); it gets them later, from"
            )
            return False
        self.down.pop(place, None)
        return True

    def _carry(self, place: str, reader: str) -> None:
        at = done = self.journal.position(reader)
        count = 0
        try:
            with self._opened(place) as send:
                for _, after, event in self.journal.read(at):
                    try:
                        send(event)
                    except Refused as fault:
                        self._tell(
                            f"{place} refused", f"{named(place)} refused an OpenLineage event ({fault}), see"
                        )
                    done, count = after, count + 1
                    if not count % STEP:
                        at = self._reached(reader, at, done)
        finally:
            self._reached(reader, at, done)

    def _reached(self, reader: str, before: Position, now: Position) -> Position:
        if now != before:
            self.journal.move(reader, now)
        return now

    def _opened(self, place: str) -> "_File | _Endpoint":
        return _Endpoint(place, self.key) if "://" in place else _File(Path(place))

    def _tell(self, what: str, sentence: str) -> None:
        if what not in self.told:
            self.told.add(what)
            self.say(f"{sentence} {self.journal.folder}")


def named(place: str) -> str:
    """Return a place as it may be told: without the user and the secret of its URL."""
    if "://" not in place:
        return place
    try:
        url = httpx.URL(place)
    except httpx.InvalidURL:
        return "an OpenLineage endpoint"
    return str(url.copy_with(username=None, password=None, query=None))


class _File:
    """A file that takes events as lines."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = path.open("ab", buffering=0)

    def __enter__(self) -> Callable[[Event], None]:
        return self.send

    def __exit__(self, *_fault: object) -> None:
        self.file.close()

    def send(self, event: Event) -> None:
        """Add one line."""
        self.file.write(orjson.dumps(event) + b"\n")


class _Endpoint:
    """An HTTP endpoint that takes one event per POST."""

    def __init__(self, place: str, key: str | None):
        try:
            url = httpx.URL(place)
        except httpx.InvalidURL as fault:
            raise httpx.RequestError(f"it is no URL: {fault}") from fault
        self.url = url if url.path not in ("", "/") else url.copy_with(path=ENDPOINT)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.client = httpx.Client(timeout=httpx.Timeout(10.0, connect=3.0), headers=headers)

    def __enter__(self) -> Callable[[Event], None]:
        return self.send

    def __exit__(self, *_fault: object) -> None:
        self.client.close()

    def send(self, event: Event) -> None:
        """Post one event. HTTPError when the endpoint is down, Refused when it finds the event wrong."""
        content = orjson.dumps(event)
        answer = self.client.post(self.url, content=content, headers={"Content-Type": "application/json"})
        if answer.is_success:
            return
        said = f"it answered {answer.status_code}"
        if answer.is_client_error and answer.status_code not in LATER:
            raise Refused(f"{said}: {answer.text[:200]}")
        raise httpx.RequestError(said)  # httpx's own words would name the URL with its secret
