"""All gateways of a cluster as one: what they count is summed, and what they were told is taken when all of them have it.

Each counts for itself since it began. What one that has ended had counted goes on to count, so that sums never fall.
"""

import itertools
import logging
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from bentos.gateway import stats as gateway_stats
from bentos.gateway.stats import Second, Stats, Told, summed
from bentos.routes import Routes
from counterfoil.errors import ContractError
from flows.supervisor.keeper import same
from flows.supervisor.world import object_of

log = logging.getLogger(__name__)
REMEMBERED = 64  # gateways one by one, of those that there were
AWAITED_SECONDS = 30.0  # after which one that says nothing is taken to have counted nothing
RELEASES = 64  # of all of them, the newest epochs
AT_ONCE = 8  # that are asked
Fetch = Callable[[str], bytes | None]


@dataclass(kw_only=True)
class Gateways:
    """The gateways that a name leads to. `fetch` gives the body of a GET, None when nobody answers 200."""

    host: str
    port: int
    fetch: Fetch
    resolve: Callable[[str, int], list[str]] = field(default_factory=lambda: addresses)
    clock: Callable[[], float] = time.monotonic
    # by address and beginning, last heard last
    heard: dict[tuple[str, float], Stats] = field(default_factory=dict)
    past: list[Stats] = field(default_factory=list)  # the sum of those that are not remembered one by one
    # addresses that have said nothing yet, and since when
    awaited: dict[str, float] = field(default_factory=dict)

    def stats(self) -> Stats | None:
        """Return what all of them have counted; None when none answers, or one has yet to be heard that may have counted.

        For what it says later, all at once, would seem to have happened then.
        """
        asked, now = self._ask("/-/stats"), self.clock()
        known, answered = {address for address, _ in self.heard}, False
        self.awaited = {one: self.awaited.get(one, now) for one, _ in asked if one not in known}
        for address, content in asked:
            told = None if content is None else _read(address, content)
            if told is not None:
                answered = True
                self.awaited.pop(address, None)
                self.heard.pop((address, told.began), None)
                self.heard[address, told.began] = told
        if any(now - since < AWAITED_SECONDS for since in self.awaited.values()):
            return None
        while len(self.heard) > REMEMBERED:
            self.past = [merged((*self.past, self.heard.pop(next(iter(self.heard)))))]
        return merged((*self.past, *self.heard.values())) if answered else None

    def taken(self, routes: Routes) -> bool:
        """Say whether every gateway has taken these routes; False where there is none, or one does not answer."""
        told = [object_of(content) for _, content in self._ask("/-/routes")]
        return bool(told) and all(one is not None and same(one, routes) for one in told)

    def _ask(self, path: str) -> list[tuple[str, bytes | None]]:
        found = self.resolve(self.host, self.port)
        if not found:
            return []
        with ThreadPoolExecutor(min(AT_ONCE, len(found))) as pool:
            urls = (f"http://{host_of(one)}:{self.port}{path}" for one in found)
            return list(zip(found, pool.map(self.fetch, urls), strict=True))


def addresses(host: str, port: int) -> list[str]:
    """Return all addresses that a name has, none where it has none, or nobody knows."""
    try:
        return sorted({str(one[4][0]) for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
    except OSError:
        return []


def merged(every: Iterable[Stats]) -> Stats:
    """Return the sum of what gateways have counted: of a release at an epoch since the first of them took it.

    Those that were heard later have the newer word of stages and of the epoch.
    """
    known = list(every)
    releases: dict[tuple[str, int], Told] = {}
    for stats in known:
        for told in stats.releases:
            held = releases.get((told.release, told.epoch))
            releases[told.release, told.epoch] = told if held is None else _both(held, told)
    last = known[-1]
    sums = {
        name: sum(getattr(stats, name) for stats in known)
        for name in ("shed", "last_good", "dropped", "rescued", "in_flight")
    }
    return replace(
        last,
        **sums,
        now=max(stats.now for stats in known),
        began=min(stats.began for stats in known),
        epoch=max(stats.epoch for stats in known),
        releases=sorted(releases.values(), key=lambda told: told.epoch)[-RELEASES:],
    )


def _both(one: Told, other: Told) -> Told:
    return replace(
        other,
        since=min(one.since, other.since),
        live=summed((one.live, other.live)),
        copies=summed((one.copies, other.copies)),
        seconds=_seconds([*one.seconds, *other.seconds]),
        lots=_lots(one.lots, other.lots),
    )


def _lots(one: Mapping[str, list[float]], other: Mapping[str, list[float]]) -> dict[str, list[float]]:
    """Return when each lot came up first at either."""
    return {
        segment: [
            min(both) if all(both) else max(both)  # 0: never
            for both in itertools.zip_longest(one.get(segment, ()), other.get(segment, ()), fillvalue=0.0)
        ]
        for segment in {**one, **other}
    }


def _seconds(every: Iterable[Second]) -> list[Second]:
    found: dict[int, Second] = {}
    for second in every:
        held = found.setdefault(second.at, Second(at=second.at))
        held.live.add(second.live)
        held.copies.add(second.copies)
    return [found[at] for at in sorted(found)]


def _read(address: str, content: bytes) -> Stats | None:
    try:
        return gateway_stats.read(content)
    except ContractError as fault:
        log.warning("the gateway at %s: %s", address, fault)
        return None


def host_of(address: str) -> str:
    """Return an address as a URL has it."""
    return f"[{address}]" if ":" in address else address
