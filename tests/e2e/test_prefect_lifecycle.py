"""The loop under a real Prefect: states, artifacts and results of its runs; a server that lists and schedules."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from counterfoil.processes import Processes
from counterfoil.settings import QUIET
from tests.loop_shop import DAYS, place_of, write_shop

ROOT = Path(__file__).resolve().parents[2]
CONTENDERS = ("popularity", "repurchase", "itemknn")


@pytest.fixture(scope="module")
def told(turned: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an ephemeral Prefect server says of turns that went well, of one that the gate refused, and of retries."""
    folder = tmp_path_factory.mktemp("prefect")
    home = shutil.copytree(turned, folder / "home")
    shutil.rmtree(home / "bentoml")
    bad_day = write_shop(folder / "bad day", days=range(DAYS, DAYS + 1), dearer=20.0)
    environment = {**os.environ, **QUIET, "PYTHONPATH": str(ROOT), "COUNTERFOIL_HOME": str(home)}
    environment["PREFECT_HOME"] = str(home / "prefect")
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/e2e/prefect_turns.py"), str(home), str(bad_day)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {**json.loads(done.stdout.splitlines()[-1]), "home": home}


def test_it_ran_on_a_server_of_its_own(told: dict[str, Any]) -> None:
    assert told["server"] == "ServerType.EPHEMERAL"


def test_what_came_in_over_http_lands_as_a_task(told: dict[str, Any]) -> None:
    assert told["collected"] == [2]
    assert "collect" in [task["name"] for task in told["tasks"] if task["state"] == "COMPLETED"]


def test_a_turn_ends_completed_and_comes_to_ids(told: dict[str, Any]) -> None:
    assert [run["state"] for run in told["runs"][:3]] == ["COMPLETED"] * 3
    assert told["first"]["verb"] == "promote" and told["first"]["release"] == told["champion"]
    assert len(told["more"]["candidates"]) == len(CONTENDERS)
    assert set(told["first"]["candidates"]) < set(told["more"]["candidates"])
    assert told["again"] == told["first"], "the bad day is still filling, so it is not looked at"


def test_every_verb_is_a_task_run(told: dict[str, Any]) -> None:
    counted = [task["name"] for task in told["tasks"] if task["state"] == "COMPLETED"]
    once_per_turn = ("snapshot", "inspect", "decide", "materialise")
    assert {name: counted.count(name) for name in once_per_turn} == dict.fromkeys(once_per_turn, 3) | {
        "materialise": 4  # and the one of the test of retries
    }
    assert counted.count("fit") == 2 + 3 + 2
    assert counted.count("package") >= 2 and counted.count("release") >= 2


def test_a_refused_run_is_failed_with_our_sentence_and_the_champion_goes_on(told: dict[str, Any]) -> None:
    run = told["runs"][3]
    assert run["state"] == "FAILED"
    assert "GateError: the gate refused 1 of" in run["said"] and "price" in run["said"]
    assert told["gate_is_ours"]
    assert told["champion"] == told["first"]["release"] and told["releases"] == 1


def test_the_world_is_tried_again_and_wrong_input_is_not(told: dict[str, Any]) -> None:
    assert told["world"] == "done" and told["by_input"] == "InputError"
    assert told["tries"] == {"materialise": 2, "land": 1}


def test_progress_and_tables_are_artifacts(told: dict[str, Any]) -> None:
    artifacts = {artifact["key"]: artifact for artifact in told["artifacts"]}
    assert {"small-progress", "small-contenders", "small-stages", "small-decision"} <= artifacts.keys()
    assert {a["type"] for a in artifacts.values() if a["key"]} == {"progress", "table", "markdown"}
    finished = [a["data"] for a in told["artifacts"] if a["key"] == "small-progress"]
    assert sorted(finished)[-3:] == [100.0, 100.0, 100.0] and sorted(finished)[0] < 100.0
    contenders = json.loads(artifacts["small-contenders"]["data"])
    assert {row["family"] for row in contenders} <= set(CONTENDERS) and len(contenders) >= 2
    assert all(0 <= row["low"] <= row["value"] <= row["high"] <= 1 for row in contenders)
    # One table per turn: the first promotes, a later one that changes nothing about the answer need not.
    tables = [json.loads(a["data"]) for a in told["artifacts"] if a["key"] == "small-stages"]
    assert all(
        {row["verb"] for row in table} >= {"snapshot", "fit", "evaluate", "decide"} for table in tables
    )
    assert any("release" in {row["verb"] for row in table} for table in tables)
    assert "ndcg@10" in artifacts["small-decision"]["data"]


def test_what_prefect_keeps_is_json_and_runs_no_code(told: dict[str, Any]) -> None:
    files = [path for path in (told["home"] / "prefect" / "storage").rglob("*") if path.is_file()]
    assert len(files) >= 3
    for path in files:
        raw = path.read_bytes()
        assert b"\x80\x04" not in raw and b"\x80\x05" not in raw and b"pickle" not in raw
        json.loads(raw)


def test_every_list_of_the_client_answers(told: dict[str, Any]) -> None:
    assert told["lists"]["flows"] == 4
    assert told["lists"]["block types"] > 5
    assert told["lists"].keys() >= {"deployments", "work pools", "logs", "variables", "automations"}


SCHEDULE = """
import asyncio, json, sys
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.schedules import CronSchedule

@flow
def nothing():
    pass

async def main():
    async with get_client() as client:
        await client.create_work_pool(WorkPoolCreate(name="pool", type="process"))
        flow_id = await client.create_flow(nothing)
        every_minute = DeploymentScheduleCreate(schedule=CronSchedule(cron="* * * * *", timezone="UTC"), active=True)
        made = await client.create_deployment(flow_id, "minutely", schedules=[every_minute], work_pool_name="pool")
        for _ in range(300):
            runs = await client.read_flow_runs(limit=50)
            if len(runs) >= 3:
                break
            await asyncio.sleep(0.2)
        lists = [await client.read_flows(), await client.read_deployments(), await client.read_work_pools()]
        lists += [await client.read_artifacts(), await client.read_task_runs(), await client.read_work_queues()]
        print(json.dumps({
            "server": str(client.server_type),
            "states": [run.state.type.value for run in runs],
            "ours": all(run.deployment_id == made for run in runs),
            "at": sorted(run.expected_start_time.isoformat() for run in runs),
            "lists": [len(found) for found in lists],
        }))

asyncio.run(main())
"""


def test_a_real_server_starts_lists_and_schedules(tmp_path: Path) -> None:
    """SQLAlchemy 2.1 stops its scheduler, newer FastAPI its lists: both without a word."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    (tmp_path / "prefect").mkdir()
    environment = {**os.environ, **QUIET, "PREFECT_HOME": str(tmp_path / "prefect")}
    environment["PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS"] = "1"
    command = ["env", *[f"{name}={environment[name]}" for name in environment if name.startswith("PREFECT")]]
    command += [str(Path(sys.executable).parent / "prefect"), "server", "start", "--host", "127.0.0.1"]
    processes = Processes(tmp_path)
    server = processes.start("prefect-server", [*command, "--port", str(port)], url=url)
    try:
        processes.await_answer(server, "/api/health", 120, lambda answer: answer.status_code == 200)
        done = subprocess.run(
            [sys.executable, "-c", SCHEDULE],
            env={**environment, "PREFECT_API_URL": f"{url}/api"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        said = json.loads(done.stdout)
    finally:
        assert processes.stop("prefect-server") is True
    assert said["server"] == "ServerType.SERVER"
    assert len(said["states"]) >= 3 and set(said["states"]) == {"SCHEDULED"} and said["ours"]
    assert len(set(said["at"])) == len(said["at"])
    assert said["lists"][:3] == [1, 1, 1]
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/api/health")


def test_the_loop_left_a_sound_installation(told: dict[str, Any]) -> None:
    from flows.verify import verify

    place = place_of(told["home"])
    assert verify(place)["faults"] == []
    place.catalog.engine.dispose()
