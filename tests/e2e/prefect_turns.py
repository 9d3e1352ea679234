"""Turns of the loop as real Prefect flow runs on an ephemeral server, told as one JSON object on stdout.

    python prefect_turns.py HOME BAD_DAY_FOLDER

HOME holds a loop that was turned once and whose bentos were lost. It is turned again, then with one contender more, then with a
bad day landed.
"""

import asyncio
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from counterfoil import settings
from counterfoil.errors import GateError, InputError, UnavailableError

TRIES: dict[str, int] = {}


def materialise(fails: int) -> str:
    """Fail as the world does, that many times."""
    TRIES["materialise"] = TRIES.get("materialise", 0) + 1
    if TRIES["materialise"] <= fails:
        raise UnavailableError("the store is away for a moment")
    return "done"


def land(kind: str) -> None:
    """Fail as wrong input does."""
    TRIES["land"] = TRIES.get("land", 0) + 1
    raise InputError(f"{kind} is nothing that can be landed")


def came_in(settings: settings.Settings) -> None:
    """Leave two events as the collector would."""
    from counterfoil import collected, segment
    from counterfoil.pseudonym import fingerprint

    _, descriptor, _ = collected.begin(
        settings.events, fingerprint(settings.pseudonym_key), datetime.now(UTC)
    )
    for number in range(2):
        event = {
            "id": f"live-{number}",
            "time": "2024-03-01T00:00:00Z",
            "person": "p" + "0" * 20,
            "kind": "view",
            "item": "i001",
        }
        segment.append(descriptor, segment.line(json.dumps(event).encode()))
    os.close(descriptor)


def main(home: Path, bad_day: Path) -> dict[str, Any]:
    """Run everything and return what the server says about it."""
    settings.load()
    from prefect import flow

    from counterfoil.landing import read_manifest
    from flows import lifecycle
    from flows.standards import openlineage
    from models.families.itemknn import ItemKnnConfig
    from models.families.popularity import PopularityConfig
    from models.families.repurchase import RepurchaseConfig
    from tests.loop_shop import END, land_shop, place_of, small_case

    place = place_of(home)
    case = small_case()
    wider = small_case(contenders=(PopularityConfig(), RepurchaseConfig(), ItemKnnConfig()))

    @flow(name="small", flow_run_name="small as of {as_of}", persist_result=True, result_serializer="json")
    def small(as_of: str, more: bool = False) -> dict[str, Any]:
        return lifecycle.turn(place, wider if more else case, as_of)

    @flow(name="fails in the world", persist_result=True, result_serializer="json")
    def in_the_world() -> str:
        done: str = lifecycle.as_task(materialise)(1)
        return done

    @flow(name="fails by its input", persist_result=True, result_serializer="json")
    def by_its_input() -> None:
        lifecycle.as_task(land)("a hat")

    first, more = small(END.isoformat()), small(END.isoformat(), more=True)
    land_shop(place.settings, bad_day)
    again = small("latest")
    told = small((END.replace(day=END.day + 1)).isoformat(), return_state=True)
    world, by_input = in_the_world(), by_its_input(return_state=True)
    came_in(place.settings)
    with openlineage.flow_run(place, "collects", case.name, None) as run:
        flow(name="collects")(lambda: lifecycle.land_collected(place, run))()
    champion = place.catalog.champion(case.name)
    return {
        "first": first,
        "more": more,
        "again": again,
        "gate": type(_fault(told)).__name__,
        "gate_is_ours": isinstance(_fault(told), GateError),
        "champion": champion.id if champion else None,
        "releases": len(place.catalog.releases(case.name)),
        "world": world,
        "by_input": type(_fault(by_input)).__name__,
        "tries": TRIES,
        "collected": [
            batch.landed for batch in read_manifest(place.settings).batches if "collected" in batch.name
        ],
        **asyncio.run(_server()),
    }


def _fault(state: Any) -> BaseException | None:
    try:
        state.result()
    except Exception as fault:
        return fault
    return None


async def _server() -> dict[str, Any]:
    """Ask the server about everything that the client can list: a pin that breaks one list is seen here."""
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        runs = await client.read_flow_runs()
        tasks = await client.read_task_runs()
        artifacts = await client.read_artifacts()
        lists = {
            "flows": await client.read_flows(),
            "deployments": await client.read_deployments(),
            "work pools": await client.read_work_pools(),
            "logs": await client.read_logs(),
            "variables": await client.read_variables(),
            "block types": await client.read_block_types(),
            "block documents": await client.read_block_documents(),
            "automations": await client.read_automations(),
            "concurrency limits": await client.read_concurrency_limits(10, 0),
            "global limits": await client.read_global_concurrency_limits(),
            "latest artifacts": await client.read_latest_artifacts(),
        }
        return {
            "server": type(client._client).__name__
            if client.server_type is None
            else str(client.server_type),
            "runs": [
                {"name": run.name, "state": run.state.type.value, "said": run.state.message}
                for run in sorted(runs, key=lambda run: run.expected_start_time)
            ],
            "tasks": [{"name": t.name, "state": t.state.type.value, "tries": t.run_count} for t in tasks],
            "artifacts": [{"key": a.key, "type": a.type, "data": a.data} for a in artifacts],
            "lists": {name: len(found) for name, found in lists.items()},
        }


if __name__ == "__main__":
    told = main(Path(sys.argv[1]), Path(sys.argv[2]))
    sys.stdout.write(json.dumps(told) + "\n")
