"""A service that follows the champion: proven before the old one stops, the old one back when the new one does not come up."""

import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import orjson
import pytest

from bentos import manifest
from bentos.bundle import tag_of
from counterfoil.errors import IntegrityError, UnavailableError
from counterfoil.processes import Processes
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
    """A home whose first champion is served, started from a folder that is not the home's."""

    place: Place
    first: Release
    url: str

    def answers_as(self) -> str:
        """Return the release that the service names."""
        return httpx.get(f"{self.url}/readyz", timeout=10).json()["release"]

    def pid(self) -> int:
        """Return the service's process id."""
        return Processes(self.place.settings.home).running()["service"].pid

    def pointer(self) -> str:
        """Return the release that the pointer names."""
        return orjson.loads((self.place.settings.home / "release.json").read_bytes())["release"]


@pytest.fixture(scope="module")
def served(turned: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    place = place_of(shutil.copytree(turned, tmp_path_factory.mktemp("switch") / "home"))
    first = place.catalog.champion("small")
    assert first is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COUNTERFOIL_HOME", raising=False)
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        running = machine.serve(place, first, free_port())
        yield Served(place, first, running.url)
        Processes(place.settings.home).stop("service")
        assert not list(Path.cwd().iterdir()), "a child worked on another home"
    place.catalog.engine.dispose()


def later_release(served: Served, ending: str) -> Release:
    """Record a release of the first bento with other code in it: `ending` is put at the end of the worker's module."""
    folder = served.place.settings.bentos / "bentos" / "small"
    fresh = shutil.copytree(bento_folder(served.place, served.first.tag), folder / "fresh")
    worker = fresh / "src" / "bentos" / "worker.py"
    worker.write_text(worker.read_text() + ending)
    tag = tag_of("small", manifest.write(fresh / "src"))
    fresh.rename(bento_folder(served.place, tag))
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


def test_a_service_works_on_its_home_whatever_folder_it_was_started_in(served: Served) -> None:
    reply = httpx.post(f"{served.url}/recommend", json={"n": 3}, timeout=30)
    assert reply.status_code == 200, reply.text
    receipts = list((served.place.settings.home / "receipts").rglob("*.jsonl"))
    assert reply.json()["receipt"] in "".join(path.read_text() for path in receipts)
    assert of_children(served.place.settings)["COUNTERFOIL_HOME"] == str(served.place.settings.home)


def test_nothing_is_switched_while_the_champion_serves(served: Served) -> None:
    before = served.pid()
    assert machine.behind(served.place, "small") is None
    assert machine.follow(served.place, "small") is None
    assert served.pid() == before


def test_altered_bytes_never_stop_the_old_service(served: Served) -> None:
    before = served.pid()
    altered = later_release(served, "# altered later\n")
    with (bento_folder(served.place, altered.tag) / "src" / "bentos" / "worker.py").open("a") as file:
        file.write("#")
    with pytest.raises(IntegrityError, match=r"worker\.py"):
        machine.follow(served.place, "small")
    assert (served.pid(), served.answers_as(), served.pointer()) == (before, served.first.id, served.first.id)


def test_the_old_release_serves_again_when_the_new_one_does_not_come_up(served: Served) -> None:
    """Its model parses and answers the golden rows; its server does not start."""
    later_release(served, "\n\ndef start(*_):\n    raise IntegrityError('no port for me')\n")
    with pytest.raises(UnavailableError, match=f"so {served.first.id} serves again .*no port for me") as said:
        machine.follow(served.place, "small")
    assert "\n" not in str(said.value)
    assert (served.answers_as(), served.pointer()) == (served.first.id, served.first.id)


def test_another_use_case_is_none_of_its_business(served: Served) -> None:
    assert machine.behind(served.place, "recommendation") is None


@pytest.mark.slow
def test_a_turn_switches_the_service_to_the_champion(served: Served) -> None:
    """Also one whose verbs were all done before: a run that died between release and switch is mended by the next."""
    champion = later_release(served, "# good\n")
    assert machine.behind(served.place, "small") == champion
    home = served.place.settings.home
    env = {
        **of_children(served.place.settings),
        "PYTHONPATH": str(ROOT),
        "PREFECT_HOME": str(home / "prefect"),
    }
    done = subprocess.run([sys.executable, "-c", TURN], env=env, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (served.answers_as(), served.pointer()) == (champion.id, champion.id)
    assert machine.behind(served.place, "small") is None


def test_the_service_follows_the_champion_on_its_own_port(served: Served) -> None:
    champion = later_release(served, "# better\n")
    assert machine.follow(served.place, "small") == champion.id
    assert (served.answers_as(), served.pointer()) == (champion.id, champion.id)
    assert machine.follow(served.place, "small") is None


def test_the_demonstration_asks_again_with_the_moment_in_the_question(served: Served) -> None:
    asked = {"person": "person 1", "n": 3, "context": {"time": "2024-01-25T00:00:00Z"}}
    command = question(served.url, asked)
    assert command == (
        f"curl -s {served.url}/recommend -H 'Content-Type: application/json' "
        """-d '{"person":"person 1","n":3,"context":{"time":"2024-01-25T00:00:00Z"}}'"""
    )
    _, _, url, _, header, _, body = shlex.split(command)
    reply = httpx.post(url, content=body, headers=dict([header.split(": ")]), timeout=30)
    assert reply.status_code == 200 and len(reply.json()["items"]) == 3
