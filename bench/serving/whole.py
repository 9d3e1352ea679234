"""All that answers in a home (supervisor, gateway, collector, services), run by the product's verbs."""

import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from bench.serving.home import USE_CASE, Home, candidate_of, candidates
from bench.serving.running import Service, free_port
from counterfoil import settings
from counterfoil.errors import UnavailableError
from counterfoil.processes import Processes
from flows.place import Place

PORTS = ("GATEWAY_PORT", "SERVICE_PORT")
QUIET_SECONDS = 2.0  # in which the supervisor starts nothing more


@dataclass(frozen=True, kw_only=True)
class Whole:
    """What runs: the installation, the gateway, and the key by which its door opens."""

    place: Place
    port: int
    key: str
    ready_seconds: float

    @property
    def headers(self) -> dict[str, str]:
        """What a request through the door carries."""
        return {"Authorization": f"Bearer {self.key}"}

    @property
    def pids(self) -> dict[str, int]:
        """Ids of the processes that run, by name."""
        return {name: one.pid for name, one in Processes(self.place.settings.home).running().items()}

    @property
    def service(self) -> Service:
        """Gateway and services as one thing to be asked and watched."""
        pids = self.pids
        answering = [pid for name, pid in pids.items() if name.startswith("service-")]
        return Service(
            name="gateway",
            pids=(pids["gateway"], *answering),
            port=self.port,
            ready_seconds=self.ready_seconds,
            headers=self.headers,
        )


@contextmanager
def running(home: Home, *, judged: bool = False) -> Iterator[Whole]:
    """Start what `counterfoil up` starts for answers (no Prefect, no console) on free ports; end it with the block.

    With `judged` the supervisor judges challengers by the default rollout, but for how long a stage lasts.
    """
    from bentos.gateway.keys import Keys
    from flows import machine

    before = {name: os.environ.get(name) for name in (*(f"COUNTERFOIL_{port}" for port in PORTS), *home.env)}
    os.environ.update(home.env)
    os.environ.update({f"COUNTERFOIL_{port}": str(free_port()) for port in PORTS})
    place = home.place
    key = Keys(place.settings.gateway).make(
        f"bench-{secrets.token_hex(4)}", ["recommend", "events", "admin"], None
    )[1]
    began = time.perf_counter()
    try:
        if judged:
            command = [sys.executable, "-m", "bench.serving.overseer"]
            env = settings.of_children(place.settings)
            Processes(place.settings.home).start(
                machine.SUPERVISOR, command, url="http://127.0.0.1", detail=USE_CASE, env=env
            )
        else:
            machine.supervise(place)
        machine.await_routes(place, USE_CASE)
        await_ready(place.settings.gateway_port)
        taken = time.perf_counter() - began
        yield Whole(place=place, port=place.settings.gateway_port, key=key, ready_seconds=taken)
    finally:
        machine.down(place)
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def await_ready(port: int, seconds: float = 120.0) -> None:
    """Wait until the gateway says that its champion answers. UnavailableError when it does not."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if _answers(f"http://127.0.0.1:{port}"):
            return
        time.sleep(0.1)
    raise UnavailableError("the champion does not answer through the gateway; look into the logs of the home")


def champion_first(whole: Whole, home: Home) -> None:
    """See that the home's own champion serves, whatever an earlier run left behind."""
    from flows import steer

    if whole.place.catalog.challenger(USE_CASE) is not None:
        steer.withdraw(whole.place, USE_CASE, "bench", "a measurement begins")
    lift(whole.place)
    champion = whole.place.catalog.champion(USE_CASE)
    if champion is not None and champion.tag != home.made["bento"]:
        steer.rollback(whole.place, USE_CASE, "bench", "a measurement begins", home.made["release"])
    from flows import machine

    machine.await_routes(whole.place, USE_CASE)
    quiet(whole)


def quiet(whole: Whole, seconds: float = 60.0) -> None:
    """Wait until the collector and every service that is started answer, a spare one too: each takes a core while it begins."""
    until, since = time.monotonic() + seconds, time.monotonic()
    while time.monotonic() < until and time.monotonic() - since < QUIET_SECONDS:
        running = Processes(whole.place.settings.home).running()
        urls = [one.url for name, one in running.items() if name.startswith(("service-", "collector"))]
        if not all(_answers(url) for url in urls):
            since = time.monotonic()
        time.sleep(0.2)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def lift(place: Place) -> None:
    """Take whatever was taken back, and is kept from serving since, out of quarantine: it is to come again."""
    from counterfoil.types import Quarantine
    from flows.quarantine import end

    every = [one for one, _ in place.catalog.recorded(Quarantine)]
    lifted = {one.lifts for one in every}
    for held in every:
        if held.lifts is None and held.id not in lifted:
            end(place, held.id, "the bench goes on", "bench")


def other(whole: Whole, home: Home) -> str:
    """Return the candidate that does not serve."""
    champion = whole.place.catalog.champion(USE_CASE)
    assert champion is not None
    serving = candidate_of(whole.place, champion.bento)
    return next(id for id in candidates(whole.place).values() if id != serving)
