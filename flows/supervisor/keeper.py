"""One pass of the supervisor: services as the release table wants them, then routes, then an end of what nobody needs.

Each pass looks at the world anew and does what is next, so that one that was cut off anywhere is finished by the next, whoever
makes it.
"""

import importlib.util
import logging
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from bentos.routes import FILE, Route, Routes, held
from counterfoil.errors import CounterfoilError
from counterfoil.files import write_durably
from counterfoil.processes import Running
from counterfoil.settings import Settings
from counterfoil.types import Release
from flows.supervisor.ports import port_for
from flows.supervisor.services import STEADY_SECONDS, Services, Trouble
from flows.supervisor.wanted import Wanted
from flows.supervisor.world import COLLECTOR, GATEWAY, World

log = logging.getLogger(__name__)
TROUBLE = "trouble.json"
PULSE = "supervisor.lock"  # held by who supervises, and touched at the end of each pass
DRAIN_SECONDS = 2.0  # after the gateway has left a service; its end waits for requests that still run
END_SECONDS = 20.0  # in which a dismissed service ends by itself


@dataclass(kw_only=True)
class Keeper:
    """Keeps what runs here equal to what is wanted."""

    settings: Settings
    world: World
    services: Services
    release: Callable[[str], Release]
    parts: frozenset[str] = field(default_factory=lambda: installed())
    trouble: dict[str, Trouble] = field(default_factory=dict)
    said: dict[str, str] | None = None  # nothing yet: what a supervisor before this one left goes
    left: dict[tuple[str, int], float] = field(
        default_factory=dict
    )  # by name and pid: another may have the name
    dismissed: dict[tuple[str, int], float] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """Where the routes lie."""
        return self.settings.run / FILE

    def keep(self, wanted: Wanted | None) -> Routes | None:
        """Make one pass; returns the routes as they are after it."""
        collector = self._part(COLLECTOR)
        if wanted is not None:
            ready = {
                one.id: self.services.ready(one) for one in wanted.releases if self._may_start(one, wanted)
            }
            ready |= {one.id: None for one in wanted.releases if one.id not in ready}
            self._route(wanted, ready, collector)
        self._part(GATEWAY)
        routes = self.routes()
        if wanted is not None and routes is not None:
            self._leave(wanted, ready, routes)
            self.services.keep_to({routes.champion.release, *ready})
        self._tell()
        return routes

    def _may_start(self, release: Release, wanted: Wanted) -> bool:
        """Say whether a release's service is to be seen to now: a spare's start would take the processor from the champion's."""
        if release is not wanted.spare or wanted.champion.id in self.services.up:
            return True
        routes = self.routes()  # it may answer still, while the new champion does not come up
        return bool(self.services.processes_of(release)) or (
            routes is not None and routes.champion.bento == release.tag
        )

    def _tell(self) -> None:
        """Leave beside the routes what does not come up, for whoever asks after it."""
        every = {**self.services.trouble, **self.trouble}
        said = {name: one.said for name, one in every.items() if one.times > 1}
        path = self.settings.run / TROUBLE
        if said != self.said:
            write_durably(path, orjson.dumps(said))
            self.said = said

    def routes(self) -> Routes | None:
        """Return the routes on disk, None without any."""
        return held(self.path)

    def taken(self, routes: Routes) -> bool:
        """Say whether the gateway has taken these routes; without a gateway nobody holds others."""
        gateway = self.world.running().get(GATEWAY)
        if gateway is None:
            return GATEWAY not in self.parts
        told = self.world.ask(gateway.url, "/-/routes")
        return told is not None and same(told, routes)

    def _route(self, wanted: Wanted, ready: dict[str, Running | None], collector: Running | None) -> None:
        before = self.routes()
        url = None if collector is None else collector.url
        if ready[wanted.champion.id] is None and before is not None:
            after: Routes | None = self._meanwhile(wanted, ready, before, url)
        else:
            urls = {name: process.url for name, process in ready.items() if process is not None}
            after = routes_of(wanted, urls, url) if wanted.champion.id in urls else None
        if after is not None and after != before:
            log.warning("routes of epoch %d: %s", after.epoch, _said(after))
            self.world.route(self.path, after)

    def _meanwhile(
        self, wanted: Wanted, ready: dict[str, Running | None], before: Routes, collector: str | None
    ) -> Routes:
        """Let who answers go on until the new champion is ready: started again if need be, without a challenger taken back."""
        tags = {one.tag: one.id for one in wanted.releases}
        champion = before.champion
        kept = tags.get(champion.bento)  # the spare, or the challenger, who was asked in this pass already
        process = self.services.ready(self.release(champion.release)) if kept is None else ready[kept]
        champion = champion if process is None else replace(champion, url=process.url)
        return replace(without_gone(before, tags), champion=champion, collector=collector or before.collector)

    def _leave(self, wanted: Wanted, ready: dict[str, Running | None], routes: Routes) -> None:
        """Dismiss the services that nobody needs, once the gateway has left them and their requests have had time to end."""
        now = self.world.clock()
        processes = self.services.processes()
        waits = {one.tag for one in wanted.releases if ready[one.id] is None}
        chosen = {process.name for process in ready.values() if process is not None}
        routed = {routes.champion.url, *([routes.challenger.url] if routes.challenger else [])}
        idle = {
            (name, one.pid)
            for name, one in processes.items()
            if one.url not in routed and one.detail not in waits and name not in chosen
        }
        if idle and not self.taken(routes):
            self.left.clear()
            return
        for key in self.left.keys() - idle:
            del self.left[key]
        for key in self.dismissed.keys() - {(name, one.pid) for name, one in processes.items()}:
            del self.dismissed[key]
        for name, pid in sorted(idle):
            since = self.left.setdefault((name, pid), now)
            if (name, pid) in self.dismissed:
                if now - self.dismissed[name, pid] > END_SECONDS:
                    self.world.kill(name)
            elif now - since >= DRAIN_SECONDS:
                log.warning("dismiss %s: nobody needs it", name)
                self.world.dismiss(name)
                self.dismissed[name, pid] = now

    def _part(self, name: str) -> Running | None:
        """See that gateway or collector runs, where it is installed; one that died is started again, ever more rarely."""
        running = self.world.running().get(name)
        now, trouble = self.world.clock(), self.trouble.setdefault(name, Trouble())
        if running is not None or name not in self.parts:
            trouble.times = 0 if now > trouble.until + STEADY_SECONDS else trouble.times
            return running
        if now < trouble.until:
            return None
        trouble.again(now, f"{name} does not stay up")
        log.warning("start %s", name)
        try:
            return self.world.start(name, *self._command(name))
        except CounterfoilError as fault:
            trouble.said = str(fault)
            log.warning("%s", fault)
            return None

    def _command(self, name: str) -> tuple[list[str], str, str]:
        if name == GATEWAY:
            port, host = self.settings.gateway_port, self.settings.gateway_host
            url = f"http://{'127.0.0.1' if host in ('0.0.0.0', '::', '') else host}:{port}"
            return [sys.executable, "-m", "bentos.gateway"], url, "public door"
        port = port_for(COLLECTOR, self.world, self.settings.run, self.settings.service_port - 1)
        return (
            [sys.executable, "-m", "bentos.collector", "--port", str(port)],
            f"http://127.0.0.1:{port}",
            "events",
        )


def installed() -> frozenset[str]:
    """Return which of gateway and collector this installation has."""
    return frozenset(filter(here, (GATEWAY, COLLECTOR)))


def here(name: str) -> bool:
    """Say whether this installation has the gateway or the collector."""
    return importlib.util.find_spec(f"bentos.{name}") is not None


def routes_of(wanted: Wanted, urls: Mapping[str, str], collector: str | None) -> Routes:
    """Return the routes that are wanted, with a challenger where it has a URL; `urls` by release, the champion's among them."""
    challenger = wanted.challenger
    return Routes(
        use_case=wanted.use_case,
        epoch=wanted.epoch,
        champion=_to(wanted.champion, urls[wanted.champion.id], wanted.mirror),
        challenger=None
        if challenger is None or challenger.id not in urls
        else _to(challenger, urls[challenger.id], wanted.mirror),
        collector=collector,
    )


def without_gone(before: Routes, tags: Collection[str]) -> Routes:
    """Return routes without a challenger whose bento is not among these any more."""
    gone = before.challenger is not None and before.challenger.bento not in tags
    return replace(before, challenger=None) if gone else before


def _to(release: Release, url: str, mirror: float) -> Route:
    assert release.stage != "retired"
    return Route(
        release=release.id,
        bento=release.tag,
        epoch=release.epoch,
        url=url,
        stage=release.stage,
        share=release.share,
        mirror=0.0 if release.stage == "champion" else mirror,
    )


def same(told: dict[str, Any], routes: Routes) -> bool:
    """Say whether what the gateway tells of its routes are these: the epoch, and where it says it the addresses."""
    if told.get("epoch") != routes.epoch:
        return False
    for name, route in (("champion", routes.champion), ("challenger", routes.challenger)):
        held = told.get(name)
        if isinstance(held, dict) and "url" in held and (route is None or held["url"] != route.url):
            return False
        if name in told and held is None and route is not None:
            return False
    return True


def _said(routes: Routes) -> str:
    challenger = routes.challenger
    beside = "" if challenger is None else f", {challenger.release} {challenger.stage} {challenger.share:.2%}"
    return f"{routes.champion.release} champion{beside}"
