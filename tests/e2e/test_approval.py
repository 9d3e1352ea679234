"""A run of a deployment that waits for people, by a real Prefect server and worker: suspended, resumed, released once."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from counterfoil.processes import Processes
from counterfoil.settings import QUIET
from counterfoil.terminal import stages
from counterfoil.types import Approval, Decision
from flows import machine, steer
from flows.place import Place
from tests.e2e.approving import CASE
from tests.loop_shop import land_shop, place_of, write_shop
from tests.unit.test_processes import free_port

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@dataclass
class Night:
    """A home with a Prefect server, a worker, and the deployment."""

    place: Place
    api: str

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Ask the server."""
        answer = httpx.post(f"{self.api}{path}", json=body, timeout=30)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def run(self) -> str:
        """Start a run; return its id."""
        [deployment] = self.post("/deployments/filter", {})
        made = self.post(f"/deployments/{deployment['id']}/create_flow_run", {"state": {"type": "SCHEDULED"}})
        return str(made["id"])

    def state(self, run: str) -> str:
        """Return the state of a run."""
        return str(httpx.get(f"{self.api}/flow_runs/{run}", timeout=30).json()["state_type"])


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    home = tmp_path_factory.mktemp("night") / "home"
    place = place_of(home, prefect_port=free_port())
    land_shop(place.settings, write_shop(home / "source"))
    (home / "prefect").mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steer, "use_case", lambda name: {"small": CASE}[name])
        for name, value in {**QUIET, "PYTHONPATH": str(ROOT), "COUNTERFOIL_HOME": str(home)}.items():
            patch.setenv(name, value)
        patch.setenv("PREFECT_HOME", str(home / "prefect"))
        processes = Processes(home)
        server = machine._server(place, processes)
        patch.setenv("PREFECT_API_URL", f"{server.url}/api")
        prefect = str(Path(sys.executable).parent / "prefect")
        for line in (
            ("work-pool", "create", "counterfoil", "--type", "process"),
            (
                "--no-prompt",
                "deploy",
                "tests/e2e/approving.py:nightly",
                "--name",
                "small",
                "--pool",
                "counterfoil",
            ),
        ):
            done = subprocess.run([prefect, *line], cwd=ROOT, env=os.environ, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
        with stages():
            machine._worker(place, processes)
        yield Night(place, f"{server.url}/api")
        for name in list(processes.running()):
            processes.stop(name)
    place.catalog.engine.dispose()


def until(said: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not said():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.5)


def test_a_run_waits_for_two_people_and_what_they_approved_is_released_once(night: Night) -> None:
    run = night.run()
    until(lambda: night.state(run) == "PAUSED", 240)
    [decision] = night.place.catalog.find(Decision, "small")
    assert night.place.catalog.champion("small") is None
    another = night.run()  # the one that waits holds no place in the queue
    night.post(f"/flow_runs/{run}/resume", {"run_input": {"by": "Ada", "note": "by Prefect"}})
    until(lambda: len(night.place.catalog.find(Approval, "small")) == 1, 120)
    until(lambda: night.state(run) == "PAUSED", 120)
    until(lambda: night.state(another) == "PAUSED", 120)
    told = steer.approve_and_tell(night.place, decision.id, "Grace", "by the command line")
    assert told["waits_for"] == 0 and told["release"] and told["resumed"]
    until(lambda: "COMPLETED" in (night.state(run), night.state(another)), 120)
    champion = night.place.catalog.champion("small")
    assert champion is not None and champion.id == told["release"] and champion.decision == decision.id
    assert [row["epoch"] for row in night.place.catalog.releases("small")] == [1]
    assert {one.by for one in night.place.catalog.find(Approval, "small")} == {"Ada", "Grace"}
