"""`up`, `status` and `down` as a person types them: a real Prefect server, worker and service, and nobody else's process."""

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from counterfoil.processes import Processes
from counterfoil.settings import QUIET, answerers_for, cores
from flows.supervisor.keeper import here
from tests.loop_shop import END, land_shop, place_of, small_case, turn, write_shop
from tests.unit.test_processes import SLEEP, free_port, until

ROOT = Path(__file__).resolve().parents[2]
PARTS = [name for name in ("gateway", "collector") if here(name)]
NAMES = ["console", "supervisor", *PARTS, "prefect-worker", "prefect-server"]
pytestmark = pytest.mark.slow


@dataclass
class Installation:
    """A home with a champion, named by a relative path as a person would."""

    folder: Path
    env: dict[str, str]
    release: str

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def run(self, *arguments: str) -> Any:
        """Type a command and return the JSON that it prints."""
        command = [str(Path(sys.executable).with_name("counterfoil")), *arguments, "--json"]
        done = subprocess.run(
            command, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=290
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("up")
    place = place_of(folder / "home")
    land_shop(place.settings, write_shop(folder / "shop"))
    advanced, _ = turn(place, small_case(name="recommendation"), END)
    assert advanced.release is not None
    place.catalog.engine.dispose()
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PREFECT_HOME", "BENTOML_HOME", "PREFECT_API_URL")
    }
    ports = {
        f"COUNTERFOIL_{name}_PORT": str(free_port()) for name in ("PREFECT", "SERVICE", "CONSOLE", "GATEWAY")
    }
    env = {**inherited, **QUIET, **ports, "COUNTERFOIL_HOME": "home", "PYTHONPATH": str(ROOT)}
    made = Installation(folder, env, advanced.release.id)
    yield made
    for name in (*NAMES, *Processes(made.home).running()):
        Processes(made.home).stop(name)


@pytest.fixture(scope="module")
def up(installation: Installation) -> dict[str, Any]:
    return installation.run("up")


def prefect(up: dict[str, Any], path: str, body: dict[str, Any]) -> Any:
    [url] = [process["url"] for process in up["processes"] if process["name"] == "prefect-server"]
    answer = httpx.post(f"{url}/api{path}", json=body, timeout=30)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


def test_up_starts_server_worker_and_the_champions_service(
    installation: Installation, up: dict[str, Any]
) -> None:
    names = {process["name"]: process for process in up["processes"]}
    [service] = names.keys() - set(NAMES)
    assert service.startswith("service-") and names[service]["url"] == up["service"]["url"]
    assert names.keys() == {*NAMES, service}
    assert names[service]["release"] == installation.release
    assert names[service]["answerers"] == answerers_for(cores(), waits=False)
    assert up["answers"] == {"epoch": 1, "champion": installation.release, "challenger": None}
    assert (up["gateway"]["url"] is not None) == ("gateway" in PARTS)
    assert up["champion"]["release"] == installation.release
    ready = httpx.get(f"{up['service']['url']}/readyz", timeout=10).json()
    assert (ready["release"], ready["use_case"]) == (installation.release, "recommendation")
    assert up["service"]["url"].endswith(installation.env["COUNTERFOIL_SERVICE_PORT"])


def test_the_console_is_up_and_shows_nothing_to_strangers(
    installation: Installation, up: dict[str, Any]
) -> None:
    assert up["console"]["url"].endswith(installation.env["COUNTERFOIL_CONSOLE_PORT"])
    asked = httpx.get(f"{up['console']['url']}/now.json", timeout=10)
    assert asked.status_code == 401
    log = installation.home / "logs" / "console.log"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600  # it holds the link of the first login
    assert "this link logs in once" in log.read_text()
    key = installation.run("console", "key", "add", "probe", "--role", "viewer")["key"]
    told = httpx.get(
        f"{up['console']['url']}/now.json", headers={"authorization": f"Bearer {key}"}, timeout=10
    )
    assert told.json()["health"]["state"] == "ready"
    assert told.json()["use_cases"][0]["serving"][0]["release"] == installation.release
    assert told.json()["next_runs"]["runs"][0]["at"].endswith("03:15:00Z")


def test_status_says_what_up_said(installation: Installation, up: dict[str, Any]) -> None:
    assert installation.run("status") == up


def test_up_again_starts_nothing(installation: Installation, up: dict[str, Any]) -> None:
    assert installation.run("up") == up


def test_the_deployment_is_there_with_its_schedule_and_limit(up: dict[str, Any]) -> None:
    [found] = prefect(up, "/deployments/filter", {})
    assert (found["name"], found["work_pool_name"]) == ("nightly", "counterfoil")
    [schedule] = found["schedules"]
    assert schedule["active"] and schedule["schedule"]["cron"] == "15 3 * * *"
    assert found["concurrency_options"]["collision_strategy"] == "ENQUEUE"
    assert found["global_concurrency_limit"]["limit"] == 1
    assert found["parameters"] == {"use_case_name": "recommendation", "as_of": None, "sources": []}


def test_a_run_of_the_worker_lands_the_inbox_of_this_very_home(
    installation: Installation, up: dict[str, Any]
) -> None:
    """The worker's runs work in the project's folder; the home is still the one that `up` was told of."""
    waiting = installation.home / "inbox" / "contract"
    waiting.mkdir(parents=True)
    (waiting / "torn.csv").write_text("hat,coat\n1,2\n")
    (waiting / "day.csv").write_text(
        "id,time,person,kind,item\nlate,2024-01-25T12:00:00Z,person 1,purchase,i001\n"
    )
    [deployment] = prefect(up, "/deployments/filter", {})
    made = prefect(up, f"/deployments/{deployment['id']}/create_flow_run", {"state": {"type": "SCHEDULED"}})
    inbox = installation.home / "inbox"
    until(lambda: list(inbox.glob("done/*/day.csv")) and (inbox / "refused/torn.csv").is_file(), 200)
    reason = (inbox / "refused" / "torn.csv.reason.txt").read_text()
    assert reason.startswith("contract: ") and "hat, coat" in reason

    def tasks() -> dict[str, str]:
        wanted = {"flow_runs": {"id": {"any_": [made["id"]]}}}
        runs = prefect(up, "/task_runs/filter", wanted)
        return {run["state_type"]: run["name"] for run in runs if run["name"] == "land"}

    until(lambda: tasks() == {"FAILED": "land", "COMPLETED": "land"}, 60)


def test_down_stops_exactly_these_and_nobody_else(installation: Installation, up: dict[str, Any]) -> None:
    """Last in this file. A run of the worker is still under way; it ends with the worker."""
    stranger = subprocess.Popen(SLEEP)
    tops = [psutil.Process(process["pid"]) for process in up["processes"]]
    family = [*tops, *(child for top in tops for child in top.children(recursive=True))]
    try:
        [service] = {process["name"] for process in up["processes"]} - set(NAMES)
        stopped = installation.run("down")
        assert {name for name, was in stopped.items() if was} == {*NAMES, service}
        time.sleep(0.5)
        assert not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
    assert installation.run("status")["processes"] == []
    assert set(installation.run("down").values()) == {False}
