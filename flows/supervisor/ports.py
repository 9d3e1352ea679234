"""Which port a service or the collector begins at: one that no process here has, and to which no route sends people."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx

from bentos.routes import FILE, held
from flows.supervisor.world import COLLECTOR, GATEWAY, World


def port_for(who: str, world: World, run: Path, first: int) -> int:
    """Return the first port from `first` on for `who`: the tag of a bento, or the collector.

    A route outlives the process that it leads to, so its port is kept for that bento: another one there would answer in its
    place. That goes for the routes on disk and for those that the gateway holds still.
    """
    processes = world.running()
    gateway = processes.get(GATEWAY)
    held = None if gateway is None else world.ask(gateway.url, "/-/routes")
    named = [*_named(_on_disk(run)), *_named(held or {})]
    urls = [one.url for one in processes.values()] + [url for holder, url in named if holder != who]
    return world.free_port(first, {httpx.URL(url).port or 0 for url in urls})


def _on_disk(run: Path) -> dict[str, Any]:
    routes = held(run / FILE)
    return {} if routes is None else asdict(routes)


def _named(routes: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield whom routes lead to, as `port_for` names them, and where."""
    for name in ("champion", "challenger"):
        route = routes.get(name)
        if isinstance(route, dict) and "url" in route:
            yield route.get("bento", ""), route["url"]
    if routes.get("collector"):
        yield COLLECTOR, routes["collector"]
