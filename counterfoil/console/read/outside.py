"""What the console asks of other processes: the service's health, the next run, addresses.

Each is asked briefly: a process that hangs makes no page hang.
"""

from dataclasses import asdict
from datetime import datetime
from typing import Any

import httpx

from counterfoil.errors import CounterfoilError
from counterfoil.processes import Processes, Running
from flows import machine
from flows.health import health as all_health
from flows.place import Place
from flows.supervisor.world import GATEWAY

SECONDS = 0.8
PREFECT = "prefect-server"


def health(place: Place) -> dict[str, Any]:
    """Return what the service that runs here says of itself: `state` is ready, unready, silent or absent; `says` a sentence."""
    try:
        service = _champions(place)
    except CounterfoilError as fault:
        return {"state": "silent", "says": str(fault)}
    if service is None:
        return {"state": "absent", "says": "No service runs on this machine."}
    try:
        answer = httpx.get(f"{service.url}/readyz", timeout=SECONDS)
        told = answer.json() if answer.status_code == 200 else {}
    except (httpx.HTTPError, ValueError) as fault:
        return {
            "state": "silent",
            "url": service.url,
            "says": f"The service at {service.url} does not answer ({type(fault).__name__}).",
        }
    if not told.get("ready"):
        return {
            "state": "unready",
            "url": service.url,
            "says": f"The service at {service.url} says that it is not ready ({answer.status_code}).",
        }
    return {
        "state": "ready",
        "url": service.url,
        "release": told.get("release"),
        "items": told.get("items"),
        "items_as_of": told.get("items_as_of"),
        "says": f"The service at {service.url} is ready.",
    }


def processes(place: Place) -> list[dict[str, Any]]:
    """Return every process that serves here with its health; of the gateway what was asked of each release, of the collector
    what came in. Nothing where none runs, or where what runs cannot be read: `health` says that.
    """
    try:
        return [_with_port(asdict(one)) for one in all_health(place)]
    except CounterfoilError:
        return []


def _with_port(told: dict[str, Any]) -> dict[str, Any]:
    return {**told, "port": None if told["url"] is None else httpx.URL(told["url"]).port}


def answers(place: Place) -> dict[str, Any] | None:
    """Return who answers by the gateway's routes: champion, challenger with its stage and share; None where no gateway runs."""
    routes = machine.routed(place)
    if routes is None or GATEWAY not in Processes(place.settings.home).running():
        return None
    challenger = routes.challenger
    return {
        "use_case": routes.use_case,
        "epoch": routes.epoch,
        "champion": routes.champion.release,
        "challenger": None
        if challenger is None
        else {
            "release": challenger.release,
            "stage": challenger.stage,
            "share": challenger.share,
            "mirror": challenger.mirror,
        },
    }


def _champions(place: Place) -> Running | None:
    """Return the process that answers as the champion, by the routes; None when none does."""
    routes = machine.routed(place)
    running = Processes(place.settings.home).running().values()
    return next((one for one in running if routes is not None and one.url == routes.champion.url), None)


def next_runs(place: Place, now: datetime) -> dict[str, Any]:
    """Return the next scheduled runs that Prefect knows of: `known` says whether it could be asked."""
    api = _prefect(place)
    if api is None:
        return {"known": False, "says": "No Prefect server runs here, so nothing is scheduled.", "runs": []}
    wanted = {
        "limit": 3,
        "sort": "EXPECTED_START_TIME_ASC",
        "flow_runs": {
            "state": {"type": {"any_": ["SCHEDULED"]}},
            "expected_start_time": {"after_": now.isoformat()},
        },
    }
    try:
        answer = httpx.post(f"{api}/flow_runs/filter", json=wanted, timeout=SECONDS)
        answer.raise_for_status()
        runs = [
            {"name": run["name"], "at": datetime.fromisoformat(run["expected_start_time"])}
            for run in answer.json()
        ]
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as fault:
        return {
            "known": False,
            "says": f"Prefect at {api} does not say ({type(fault).__name__}).",
            "runs": [],
        }
    says = "" if runs else "Prefect has no run scheduled; `counterfoil schedule` registers the nightly one."
    return {"known": True, "says": says, "runs": runs}


def links(place: Place) -> list[tuple[str, str]]:
    """Return (name, address) of other pages: reports and Data Docs of ours, Prefect's and Feast's where they are known."""
    found = [("Reports and Data Docs", "/reports/")]
    api = _prefect(place)
    if api is not None:
        found.append(("Prefect", api.removesuffix("/api")))
    if place.settings.feast_url:
        found.append(("Feast", place.settings.feast_url))
    return found


def _prefect(place: Place) -> str | None:
    """Return the API of the Prefect server that runs here, or that the settings name."""
    try:
        server = Processes(place.settings.home).running().get(PREFECT)
    except CounterfoilError:
        server = None
    return place.settings.prefect_api_url if server is None else f"{server.url}/api"
