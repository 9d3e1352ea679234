"""Collected events into the landing folder: closed segments of the log land by the intake like any other source, then go.

Segments that land together are set apart first, so that a run that died is finished by the next one with the very same source.
"""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
from filelock import FileLock, Timeout

from bentos import inner
from bentos import routes as gateway
from bentos.collector.feed import is_visible, noted
from counterfoil import canonical, collected, segment, terminal
from counterfoil.errors import ConfigError, ConflictError, IntegrityError, UnavailableError
from counterfoil.files import sync, write_durably
from counterfoil.importers import open_source
from counterfoil.landing import Landed, land
from counterfoil.landing.progress import Progress, silent
from counterfoil.processes import Processes
from counterfoil.sweep import sweep
from counterfoil.terminal import Stages
from flows.place import Place, open_place

KIND = "collected"
SECONDS = 10.0
VISIBLE_SECONDS = (
    10.0  # for which what was just acknowledged is waited for: a collector may have begun just now
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """What came of collecting: what landed, how many segments somebody still writes to, and how many answers do not know yet."""

    landed: tuple[Landed, ...]
    open: int
    hidden: int = 0


def collect(place: Place, progress: Progress = silent) -> Collected:
    """Land what was collected, also what lies in the segment that the collector writes to, if it runs.

    ConflictError when another import is going on, ConfigError when people in a segment have other pseudonyms, IntegrityError when
    a segment was altered. Killed anywhere, the next one finishes it.
    """
    if not waits(place):
        return Collected(landed=(), open=0)
    try:
        with FileLock(place.settings.events / "collect.lock", timeout=0):
            landed = [_land(place, progress)] if _apart(place) else []
            hidden = _hidden(place) if tell_collector(place, "/-/close") else frozenset()
            still_open = _set_apart(place, hidden)
            if _apart(place):
                landed.append(_land(place, progress))
    except Timeout as fault:
        raise ConflictError("collected events are being landed already; wait for that to end") from fault
    return Collected(landed=tuple(landed), open=still_open, hidden=len(hidden))


def _hidden(place: Place) -> frozenset[Path]:
    """Return the segments that a collector that runs has not made visible, though it was given a moment.

    It reads them where they lie: were they landed and gone, no answer would ever know of what is in them until the next features.
    """
    until = time.monotonic() + VISIBLE_SECONDS
    while True:
        done = noted(place.settings.events)
        hidden = frozenset(
            path for path in collected.segments(place.settings.events) if not is_visible(path, done)
        )
        if not hidden or time.monotonic() > until:
            return hidden
        time.sleep(0.05)


def waits(place: Place) -> bool:
    """Say whether anything was collected that has not landed."""
    return bool(collected.segments(place.settings.events))


def tell_collector(place: Place, path: str, body: Any = None) -> bool:
    """Ask the collector of this installation for something; False where none runs. UnavailableError when it does not do it."""
    url = _url(place)
    if url is None:
        return False
    try:
        headers = {inner.TOKEN: inner.read_token(place.settings.run)}
        answer = httpx.post(url + path, headers=headers, json=body, timeout=SECONDS)
    except httpx.ConnectError:
        return False
    except httpx.HTTPError as fault:
        raise UnavailableError(f"the collector at {url} does not answer ({fault}); see its log") from fault
    if answer.status_code != 200:
        raise UnavailableError(f"the collector at {url} answered {answer.status_code} to {path}; see its log")
    return True


def _url(place: Place) -> str | None:
    """Return where the collector listens: that of this machine, or the one that the gateway's routes name."""
    running = Processes(place.settings.home).running().get("collector")
    if running is not None:
        return running.url
    try:
        return gateway.read(place.settings.run / gateway.FILE).collector
    except ConfigError:
        return None


def acts_of(place: Place, receipt: str, person: str, items: Sequence[str]) -> list[dict[str, Any]]:
    """Return the collected events that name a receipt, or are a person's and about one of these items; the oldest first."""
    marks = re.compile(b"|".join(re.escape(f'"{one}"'.encode()) for one in (receipt, person)))
    shown = frozenset(items)
    found = {}
    for path in collected.segments(place.settings.events):
        for payload in segment.payloads(path):
            if marks.search(payload):
                event = orjson.loads(payload)
                if event.get("receipt") == receipt or (
                    event.get("person") == person and event.get("item") in shown
                ):
                    found[event["id"]] = {**event, "time": canonical.utc_time(event["time"])}
    return sorted(found.values(), key=lambda event: (event["time"], event["id"]))


def rows_of(place: Place, person: str, sessions: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the collected events of a pseudonym that have not landed, and those of its sessions (by their pseudonyms)."""
    theirs = _theirs(person, sessions)
    for path in collected.segments(place.settings.events):
        for payload in segment.payloads(path):
            if theirs.search(payload):
                yield {"segment": path.stem, **orjson.loads(payload)}


def sessions_of(place: Place, person: str) -> tuple[str, ...]:
    """Return the sessions (by their pseudonyms) in which the log has seen a pseudonym, and nobody else.

    Who was not named yet is known by the session's own pseudonym, and is nobody else.
    """
    own, others = _seen(place, person)
    return tuple(sorted(own - others))


def visits_of(place: Place, person: str) -> tuple[str, ...]:
    """Return all sessions (by their pseudonyms) in which the log has seen a pseudonym, those of others too among them."""
    return tuple(sorted(_seen(place, person)[0]))


def _seen(place: Place, person: str) -> tuple[set[str], set[str]]:
    """Return the sessions in which the log has seen a pseudonym, and those in which it has seen somebody else."""
    own: set[str] = set()
    others: set[str] = set()
    for path in collected.segments(place.settings.events):
        for event in collected.events(path):
            session = event.get("session")
            if session is not None and event["person"] == person:
                own.add(session)
            elif session is not None and event["person"] != session:
                others.add(session)
    return own, others


def erase(place: Place, person: str, sessions: Sequence[str]) -> None:
    """Take those events out of the log: their segments are closed, and written anew without them.

    ConflictError when a process that this home did not start writes to one of them, IntegrityError when one of them was altered.
    """
    tell_collector(place, "/-/close")
    sweep(place.settings.events, age_seconds=0)  # an erasure that was killed here leaves half a file
    theirs = _theirs(person, sessions)
    for path in collected.segments(place.settings.events):
        if not theirs.search(path.read_bytes()):
            continue
        kept = [line + segment.BREAK for _, _, line in segment.whole_lines(path) if not theirs.search(line)]
        with segment.done_with(path, 0) as free:
            if not free:
                raise ConflictError(f"another process writes to {path.name}; stop it, then run this again")
            write_durably(path, b"".join(kept) + segment.mark(len(kept)))


def _theirs(person: str, sessions: Sequence[str]) -> "re.Pattern[bytes]":
    keys = b"|".join(re.escape(key.encode()) for key in (person, *sessions))
    return re.compile(rb'"(?:person|session)":"(?:' + keys + rb')"')


def _apart(place: Place) -> list[Path]:
    """Return the segments that were set apart to land together."""
    return sorted((place.settings.events / collected.LANDING).glob(f"*{collected.SUFFIX}"))


def _set_apart(place: Place, hidden: frozenset[Path]) -> int:
    """Set closed segments apart but for those that are hidden, a torn end cut off; return how many are still written to."""
    folder = place.settings.events / collected.LANDING
    folder.mkdir(exist_ok=True)
    still_open = 0
    for path in collected.segments(place.settings.events):
        if path in hidden:
            continue
        with segment.done_with(path, 0) as free:
            if not free:
                still_open += path.exists()
            else:
                segment.mend(path)
                if collected.holds_events(path):
                    path.rename(folder / path.name)
                else:
                    path.unlink()
    sync(folder)
    sync(folder.parent)
    return still_open


def _land(place: Place, progress: Progress) -> Landed:
    """Land what was set apart, then remove it. IntegrityError when not every line of it was taken in: nothing is removed then."""
    paths = _apart(place)
    landed = land(open_source(KIND, paths[0].parent), place.settings, progress)
    lines = sum(segment.count(path) - 1 for path in paths)
    if landed.rows_in != lines:
        raise IntegrityError(
            f"{landed.batch} took in {landed.rows_in} of {lines} collected events; the log stays, report this as a defect"
        )
    for path in paths:
        path.unlink()
    sync(paths[0].parent)
    return landed


def run(stages: Stages) -> Collected:
    """Land what was collected in the installation that the settings name."""
    place = open_place()
    with stages.stage("collect"):
        return collect(place, stages.advance)


def show(done: Collected) -> None:
    """Show what landed, and what could not."""
    from flows.intake import show_landed

    for landed in done.landed:
        show_landed(landed)
    if not done.landed:
        terminal.OUT.print("Nothing that was collected waits to be landed.")
    if done.open:
        terminal.OUT.print(f"{done.open} segments are still written to; they land once they are closed")
    if done.hidden:
        terminal.OUT.print(f"{done.hidden} segments are not visible to answers yet; they land once they are")
