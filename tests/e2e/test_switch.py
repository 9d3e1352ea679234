"""What runs follows the release table: a new service proven before the routes change, the old one going on until then."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from bentos import inner, manifest
from bentos.bundle import tag_of
from counterfoil.processes import Processes, Running
from counterfoil.receipts import Receipts
from counterfoil.settings import of_children
from counterfoil.types import Release
from flows import machine
from flows.demo import question
from flows.place import Place
from flows.verbs import bento_folder
from tests.loop_shop import place_of
from tests.unit.test_processes import free_port

ROOT = Path(__file__).resolve().parents[2]
TURN = """
import sys
from datetime import datetime
from pathlib import Path
from counterfoil import settings
settings.load()
from prefect import flow
from flows import lifecycle
from flows.place import open_place
from tests.loop_shop import END, small_case

@flow(persist_result=True, result_serializer="json")
def small():
    return lifecycle.turn(open_place(), small_case(), END.isoformat())

small()
"""


@dataclass
class Served:
    """A home whose first champion is served by a supervisor, started from a folder that is not the home's."""

    place: Place
    first: Release

    @property
    def processes(self) -> Processes:
        """Return the processes of the home."""
        return Processes(self.place.settings.home)

    @property
    def url(self) -> str:
        """Return where the champion answers, by the routes."""
        routes = machine.routed(self.place)
        assert routes is not None
        return routes.champion.url

    def answers_as(self) -> str:
        """Return the release that the champion's service names."""
        return httpx.get(f"{self.url}/readyz", timeout=10).json()["release"]

    def service(self, tag: str) -> Running | None:
        """Return the process of a bento."""
        return next((one for one in self.processes.running().values() if one.detail == tag), None)

    def log(self) -> str:
        """Return what the supervisor said."""
        return (self.place.settings.home / "logs" / "supervisor.log").read_text()


@pytest.fixture(scope="module")
def served(turned: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = shutil.copytree(turned, tmp_path_factory.mktemp("switch") / "home")
    place = place_of(home, service_port=free_port(), gateway_port=free_port())
    first = place.catalog.champion("small")
    assert first is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COUNTERFOIL_HOME", raising=False)
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("COUNTERFOIL_SERVICE_PORT", str(place.settings.service_port))
        patch.setenv("COUNTERFOIL_GATEWAY_PORT", str(place.settings.gateway_port))
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        machine.supervise(place, "small")
        machine.await_routes(place, "small")
        yield Served(place, first)
        machine.down(place)
        assert not list(Path.cwd().iterdir()), "a child worked on another home"
    place.catalog.engine.dispose()


@contextmanager
def traffic(served: Served) -> Iterator[list[str]]:
    """Ask whoever is routed to, again and again; the list fills with the releases that answered, and with failures."""
    seen: list[str] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                seen.append(served.answers_as())
            except Exception as fault:
                seen.append(f"failed: {fault!r}")
            over.wait(0.02)

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        yield seen
    finally:
        over.set()
        asker.join()


def until(said: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until it is so."""
    end = time.monotonic() + seconds
    while not said():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.1)


def later_release(served: Served, ending: str, *, quiet: bool = False) -> Release:
    """Record a release of the first bento with other code in it: `ending` is put at the end of the worker's module.

    A `quiet` one is altered after it was packaged.
    """
    folder = served.place.settings.bentos / "bentos" / "small"
    fresh = shutil.copytree(bento_folder(served.place, served.first.tag), folder / "fresh")
    worker = fresh / "src" / "bentos" / "worker.py"
    worker.write_text(worker.read_text() + ending)
    tag = tag_of("small", manifest.write(fresh / "src"))
    fresh.rename(bento_folder(served.place, tag))
    if quiet:
        with (bento_folder(served.place, tag) / "src" / "bentos" / "worker.py").open("a") as file:
            file.write("#")
    epoch = served.place.catalog.releases("small")[0]["epoch"] + 1
    made = Release(
        use_case="small",
        decision=served.first.decision,
        bento=served.first.bento,
        tag=tag,
        epoch=epoch,
        valid_from=datetime.now(UTC),
    )
    served.place.catalog.record("release", f"test {epoch}", (made,), (), (), 0.0)
    return made


def token(served: Served) -> dict[str, str]:
    """Return the header that services behind the gateway ask for."""
    return {inner.TOKEN: inner.read_token(served.place.settings.run)}


def answers(served: Served) -> str | None:
    """Return who answers, None while nobody does."""
    try:
        return served.answers_as()
    except httpx.HTTPError:
        return None


def test_a_service_works_on_its_home_whatever_folder_it_was_started_in(served: Served) -> None:
    reply = httpx.post(f"{served.url}/recommend", json={"n": 3}, headers=token(served), timeout=30)
    assert reply.status_code == 200, reply.text
    found = Receipts(served.place.settings.home / "receipts").find(reply.json()["receipt"])
    assert found.release == served.first.id
    assert of_children(served.place.settings)["COUNTERFOIL_HOME"] == str(served.place.settings.home)


def test_altered_bytes_never_touch_who_answers(served: Served) -> None:
    """The launcher refuses them; the old service answers every question meanwhile."""
    altered = later_release(served, "# altered later\n", quiet=True)
    with traffic(served) as seen:
        until(lambda: f"{altered.tag} did not come up" in str(machine.trouble(served.place)), 30)
        time.sleep(1)
    assert set(seen) == {served.first.id}
    assert machine.behind(served.place, "small") == altered


def test_a_switch_under_traffic_fails_nobody_and_the_old_service_ends(served: Served) -> None:
    before = served.service(served.first.tag)
    assert before is not None
    with traffic(served) as seen:
        champion = later_release(served, "# good\n")
        assert machine.follow(served.place, "small") == champion.id
        until(lambda: served.service(served.first.tag) is None)
    assert set(seen) == {served.first.id, champion.id} and seen == sorted(
        seen, key=[served.first.id, champion.id].index
    )
    assert machine.behind(served.place, "small") is None
    assert machine.status(served.place)["service"]["url"] == served.url != before.url


def test_a_service_that_is_killed_comes_back_and_the_routes_follow(served: Served) -> None:
    champion = served.place.catalog.champion("small")
    assert champion is not None
    before = served.service(champion.tag)
    assert before is not None
    os.kill(before.pid, signal.SIGKILL)
    until(lambda: (now := served.service(champion.tag)) is not None and now.pid != before.pid)
    until(lambda: answers(served) == champion.id)


def test_another_use_case_is_none_of_its_business(served: Served) -> None:
    assert machine.behind(served.place, "recommendation") is None
    assert machine.follow(served.place, "recommendation") is None


@pytest.mark.slow
def test_a_supervisor_that_is_killed_at_any_moment_of_a_switch_leaves_a_champion_and_the_next_finishes(
    served: Served,
) -> None:
    for delay in (0.2, 1.0, 3.0, 5.0, 7.0, 9.0):
        before = served.place.catalog.champion("small")
        assert before is not None
        until(lambda: machine.behind(served.place, "small") is None)
        with traffic(served) as seen:
            champion = later_release(served, f"# killed after {delay}\n")
            time.sleep(delay)
            os.kill(served.processes.running()["supervisor"].pid, signal.SIGKILL)
            time.sleep(1.0)
            machine.supervise(served.place, "small")
            assert machine.follow(served.place, "small") == champion.id
        assert set(seen) == {before.id, champion.id}
    serving = {
        before.tag,
        champion.tag,
    }  # the one before is kept ready for a while; what else there was has to end
    until(
        lambda: (
            {one.detail for name, one in served.processes.running().items() if name.startswith("service-")}
            == serving
        )
    )


def test_what_was_stopped_is_waited_for_until_it_answers(served: Served) -> None:
    """Routes outlive what they name: who waits is not told that all is well before somebody answers."""
    champion = served.place.catalog.champion("small")
    assert champion is not None
    machine.down(served.place)
    routes = machine.routed(served.place)
    assert routes is not None and routes.champion.release == champion.id
    assert not machine._whole(served.place, "small", routes)
    machine.supervise(served.place, "small")
    again = machine.await_routes(served.place, "small")
    assert served.answers_as() == champion.id == again.champion.release


@pytest.mark.slow
def test_a_turn_waits_until_the_champion_answers(served: Served) -> None:
    """Also one whose verbs were all done before: a run that died between release and switch is mended by the next."""
    champion = later_release(served, "# by a turn\n")
    home = served.place.settings.home
    env = {
        **of_children(served.place.settings),
        "PYTHONPATH": str(ROOT),
        "PREFECT_HOME": str(home / "prefect"),
    }
    done = subprocess.run([sys.executable, "-c", TURN], env=env, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr[-2000:]
    assert served.answers_as() == champion.id
    assert machine.behind(served.place, "small") is None


def test_the_demonstration_asks_again_with_the_moment_in_the_question(served: Served) -> None:
    asked = {"person": "person 1", "n": 3, "context": {"time": "2024-01-25T00:00:00Z"}}
    command = question(served.url, asked)
    assert command == (
        f"curl -s {served.url}/recommend -H 'Content-Type: application/json' "
        """-d '{"person":"person 1","n":3,"context":{"time":"2024-01-25T00:00:00Z"}}'"""
    )
    _, _, url, _, header, _, body = shlex.split(command)
    reply = httpx.post(url, content=body, headers={**dict([header.split(": ")]), **token(served)}, timeout=30)
    assert reply.status_code == 200 and len(reply.json()["items"]) == 3
