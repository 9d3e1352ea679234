"""Collected events into the landing folder: closed segments of the log land by the intake like any other source, then go.

Segments that land together are set apart first, so that a run that died is finished by the next one with the very same source.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from filelock import FileLock, Timeout

from bentos import inner
from bentos import routes as gateway
from counterfoil import collected, segment, terminal
from counterfoil.errors import ConfigError, ConflictError, IntegrityError, UnavailableError
from counterfoil.files import sync
from counterfoil.importers import open_source
from counterfoil.landing import Landed, land
from counterfoil.landing.progress import Progress, silent
from counterfoil.terminal import Stages
from flows.place import Place, open_place

KIND = "collected"
SECONDS = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """What came of collecting: what landed, and how many segments somebody still writes to."""

    landed: tuple[Landed, ...]
    open: int


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
            tell_collector(place, "/-/close")
            still_open = _set_apart(place)
            if _apart(place):
                landed.append(_land(place, progress))
    except Timeout as fault:
        raise ConflictError("collected events are being landed already; wait for that to end") from fault
    return Collected(landed=tuple(landed), open=still_open)


def waits(place: Place) -> bool:
    """Say whether anything was collected that has not landed."""
    return bool(collected.segments(place.settings.events))


def tell_collector(place: Place, path: str, body: Any = None) -> bool:
    """Ask the collector of this installation for something; False where none runs. UnavailableError when it does not do it."""
    try:
        url = gateway.read(place.settings.run / gateway.FILE).collector
        headers = {inner.TOKEN: inner.read_token(place.settings.run)}
    except ConfigError:
        return False
    if url is None:
        return False
    try:
        answer = httpx.post(url + path, headers=headers, json=body, timeout=SECONDS)
    except httpx.ConnectError:
        return False
    except httpx.HTTPError as fault:
        raise UnavailableError(f"the collector at {url} does not answer ({fault}); see its log") from fault
    if answer.status_code != 200:
        raise UnavailableError(f"the collector at {url} answered {answer.status_code} to {path}; see its log")
    return True


def _apart(place: Place) -> list[Path]:
    """Return the segments that were set apart to land together."""
    return sorted((place.settings.events / collected.LANDING).glob(f"*{collected.SUFFIX}"))


def _set_apart(place: Place) -> int:
    """Set closed segments apart, the torn end of one cut off; return how many are still written to."""
    folder = place.settings.events / collected.LANDING
    folder.mkdir(exist_ok=True)
    still_open = 0
    for path in collected.segments(place.settings.events):
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
