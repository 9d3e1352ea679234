"""Counting what was answered, per release: since its epoch, and in buckets of one second. What comes of it is in `stats.py`."""

import time
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from bentos.gateway.stats import SECONDS, Counts, Second, Stats, Told, bucket
from bentos.routes import Route, Routes
from counterfoil.receipts.store import LOTS_OF_A_SEGMENT, placed

RELEASES = 16  # that are remembered: who answers, the champion before, then newest epochs
LOTS = 8192  # of receipts that are remembered per release
Outcome = Literal["answered", "refused", "failed", "late"]


class Lots:
    """When each lot came up first, as `Told` has them, in eight bytes each.

    Of LOTS and more those go whose segment has had no new one for longest, all of a segment together.
    """

    def __init__(self) -> None:
        self._since: dict[str, array[float]] = {}
        self._held = 0

    def note(self, segment: str, place: int, now: float) -> None:
        """Remember that an answer of a lot was seen now."""
        if place >= LOTS_OF_A_SEGMENT:
            return  # nobody gave so many
        since = self._since.get(segment)
        if since is None or len(since) <= place or not since[place]:
            since = self._since[segment] = self._since.pop(segment, array("d"))  # the newest of all
            since.extend([0.0] * (place + 1 - len(since)))
            since[place] = now
            self._held += 1
            while self._held > LOTS:
                oldest = self._since.pop(next(iter(self._since)))
                self._held -= sum(map(bool, oldest))

    def told(self) -> dict[str, list[float]]:
        """Return when, by segment."""
        return {segment: since.tolist() for segment, since in self._since.items()}


@dataclass(kw_only=True, slots=True)
class Kept:
    """The counts of one release at one epoch, while they are counted."""

    told: Told
    lots: Lots = field(default_factory=Lots)
    seconds: deque[Second] = field(default_factory=lambda: deque(maxlen=SECONDS + 1))

    def now(self, at: int) -> Second:
        """Return the bucket of this second."""
        if not self.seconds or self.seconds[-1].at < at:
            self.seconds.append(Second(at=at))
        return self.seconds[-1]


class Tally:
    """The counts of the gateway. One thread, no locks."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.stats = Stats(now=clock(), began=clock(), epoch=0, use_case="")
        self._kept: dict[tuple[str, int], Kept] = {}
        self._active: set[tuple[str, int]] = set()

    def take(self, routes: Routes) -> None:
        """Begin to count for these routes; what was counted before for the same release and epoch goes on."""
        self.stats.use_case, self.stats.epoch = routes.use_case, routes.epoch
        active = [route for route in (routes.champion, routes.challenger) if route is not None]
        for route in active:
            self._of(route).told.stage = route.stage
        self._active = {(route.release, route.epoch) for route in active}
        rest = sorted(self._kept.keys() - self._active - self._former(), key=lambda key: key[1])
        for key in rest[: max(0, len(self._kept) - RELEASES)]:
            del self._kept[key]

    def note(
        self,
        route: Route,
        outcome: Outcome,
        ms: float,
        *,
        waited_ms: float | None = None,
        copy: bool = False,
        empty: bool = False,
        degraded: bool = False,
    ) -> None:
        """Count one request to a release; `waited_ms` None: it did not say. Of a copy, that is no part of its latency."""
        kept = self._of(route)
        second = kept.now(int(self.clock()))
        worked = bucket(max(0.0, ms - (waited_ms or 0.0)))
        place = worked if copy else bucket(ms)
        pair = (kept.told.copies, second.copies) if copy else (kept.told.live, second.live)
        for counts in pair:
            _note(counts, outcome, place, worked, empty, degraded)
            counts.told += waited_ms is not None

    def compared(self, route: Route, overlap: float | None) -> None:
        """Count a copy that was held against the champion's answer; None: their statuses differ."""
        kept = self._of(route)
        for counts in (kept.told.copies, kept.now(int(self.clock())).copies):
            counts.compared += 1
            counts.unlike += overlap is None
            counts.overlap += overlap or 0.0

    def receipt(self, route: Route, receipt: str) -> None:
        """Remember of which lot a live answer's receipt is, and since when there were such."""
        place = placed(receipt)
        if place is not None:
            self._of(route).lots.note(*place, self.clock())

    def told(self, in_flight: int) -> Stats:
        """Return everything as of now; lots of those alone that answer by now: of all there are tens of thousands."""
        oldest = int(self.clock()) - SECONDS
        releases = [
            replace(
                kept.told,
                seconds=[second for second in kept.seconds if second.at >= oldest],
                lots=kept.lots.told() if key in self._active else {},
            )
            for key, kept in sorted(self._kept.items(), key=lambda one: one[1].told.epoch)
        ]
        return replace(self.stats, now=self.clock(), in_flight=in_flight, releases=releases)

    def _former(self) -> set[tuple[str, int]]:
        """Return the champion before, if one was counted: the new one is held against it, whoever challenged it meanwhile."""
        champions = {key for key, kept in self._kept.items() if kept.told.stage == "champion"}
        return {max(champions - self._active, key=lambda key: key[1])} if champions - self._active else set()

    def _of(self, route: Route) -> Kept:
        key = (route.release, route.epoch)
        kept = self._kept.get(key)
        if kept is None:
            told = Told(
                release=route.release,
                bento=route.bento,
                epoch=route.epoch,
                stage=route.stage,
                since=self.clock(),
            )
            kept = self._kept[key] = Kept(told=told)
        return kept


def _note(counts: Counts, outcome: Outcome, place: int, worked: int, empty: bool, degraded: bool) -> None:
    counts.requests += 1
    if outcome == "refused":
        counts.refused += 1
        return
    counts.latency[place] = counts.latency.get(place, 0) + 1
    counts.worked[worked] = counts.worked.get(worked, 0) + 1
    counts.errors += outcome in ("failed", "late")
    counts.timeouts += outcome == "late"
    counts.empty += empty
    counts.degraded += degraded
