"""Whether what serves on this machine answers: each process asked briefly, all at once, and what it tells of itself."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import httpx
from prometheus_client.parser import text_string_to_metric_families

from bentos import inner
from bentos.gateway import stats
from bentos.release import FILE, read
from counterfoil.errors import ConfigError, CounterfoilError
from counterfoil.processes import Processes, Running
from flows import machine
from flows.place import Place
from flows.supervisor.keeper import PULSE, installed
from flows.supervisor.world import COLLECTOR, GATEWAY

SECONDS = 0.8
PASS_SECONDS = 60.0  # within which the supervisor ends a pass, even where services are slow to say anything
BEHIND_SECONDS = 10.0
State = Literal["ready", "unready", "silent", "missing"]
Looked = tuple[State, str, dict[str, Any]]
Look = Callable[[Place, httpx.Client, Running], Looked]


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """A process, its state, and a sentence about it; `told` are figures of its own.

    A process that is `unready` says so or is not what it should be; a `silent` one lives and does not answer; one that is
    `missing` should run and does not.
    """

    name: str
    state: State
    says: str
    pid: int | None = None
    url: str | None = None
    serves: str = ""
    answerers: int | None = None
    told: Mapping[str, Any] = field(default_factory=dict)


def health(place: Place) -> tuple[Health, ...]:
    """Return the health of supervisor, gateway, collector and every service; nothing where none of them runs.

    Without a supervisor only what runs is looked at, for nobody keeps up the rest.
    """
    running = Processes(place.settings.home).running()
    names = [name for name in (machine.SUPERVISOR, GATEWAY, COLLECTOR) if name in running]
    services = sorted(name for name in running if name.startswith(machine.PREFIX))
    if machine.SUPERVISOR in names:
        names = [machine.SUPERVISOR, *sorted(installed(), reverse=True)]
    elif names:
        names = [machine.SUPERVISOR, *names]
    if not names and not services:
        return ()
    # one client for all, and none that reads certificates: it goes to this machine alone
    with (
        httpx.Client(timeout=SECONDS, headers=_inside(place), trust_env=False, verify=False) as client,
        ThreadPoolExecutor(max_workers=8) as pool,
    ):
        return tuple(pool.map(partial(_of, place, client, running), [*names, *services]))


def _of(place: Place, client: httpx.Client, running: Mapping[str, Running], name: str) -> Health:
    process = running.get(name)
    if process is None:
        return Health(
            name=name, state="missing", says=f"The {name} does not run; `counterfoil up` starts it."
        )
    looks: dict[str, Look] = {
        machine.SUPERVISOR: _supervisor,
        GATEWAY: _gateway,
        COLLECTOR: _collector,
    }
    try:
        state, says, told = looks.get(name, _service)(place, client, process)
    except (httpx.HTTPError, ValueError, OSError) as fault:
        state, says, told = "silent", f"The {_kind(name)} does not answer ({type(fault).__name__}).", {}
    except CounterfoilError as fault:
        state, says, told = "unready", str(fault), {}
    return Health(
        name=name,
        state=state,
        says=says,
        pid=process.pid,
        url=process.url if httpx.URL(process.url).port else None,
        serves=process.detail,
        answerers=machine.answerers(process) if name.startswith(machine.PREFIX) else None,
        told=told,
    )


def _kind(name: str) -> str:
    return "service" if name.startswith(machine.PREFIX) else name


def _supervisor(place: Place, client: httpx.Client, process: Running) -> Looked:
    passed = time.time() - (place.settings.run / PULSE).stat().st_mtime
    told = {"passed_seconds": round(passed, 1)}
    if passed > PASS_SECONDS:
        return "silent", f"The supervisor ended its last pass {passed:.0f} s ago; see its log.", told
    return "ready", "The supervisor makes its passes.", told


def _gateway(place: Place, client: httpx.Client, process: Running) -> Looked:
    told = _figures(client, process)
    answer = client.get(f"{process.url}/readyz")
    if answer.status_code != 200:
        return "unready", f"The gateway is not ready: {_said(answer)}.", told
    routes, epoch = machine.routed(place), _object(answer).get("epoch")
    if routes is not None and routes.epoch != epoch:
        return "unready", f"The gateway has the routes of epoch {epoch}, not {routes.epoch} yet.", told
    return "ready", "The gateway answers.", told


def _figures(client: httpx.Client, process: Running) -> dict[str, Any]:
    """Return per release what was asked of it within the last minute, as the gateway counts; nothing where it does not tell."""
    answer = client.get(f"{process.url}/-/stats")
    if answer.status_code != 200:
        return {}
    found = stats.read(answer.content)
    return {
        "in_flight": found.in_flight,
        "releases": [_release(found, one) for one in found.releases if one.seconds],
    }


def _release(found: stats.Stats, told: stats.Told) -> dict[str, Any]:
    live, copies = told.window(found.now)
    seconds = max(1.0, min(stats.SECONDS, found.now - told.since))
    seen = copies if told.stage == "shadow" else live
    p95 = seen.quantile(0.95)
    return {
        "release": told.release,
        "stage": told.stage,
        "a_second": round(seen.requests / seconds, 2),
        "requests": seen.requests,
        "errors": seen.errors,
        "empty": seen.empty,
        "p95_ms": None if p95 is None else round(p95, 1),
    }


def _collector(place: Place, client: httpx.Client, process: Running) -> Looked:
    answer = client.get(f"{process.url}/readyz")
    state = _object(answer)
    if not state.get("ready"):
        return "unready", f"The collector is not ready: {_said(answer)}.", {}
    behind = float(state.get("behind_seconds", 0.0))
    told = {"behind_seconds": behind, "pending_bytes": state.get("pending_bytes"), **_taken(client, process)}
    if behind > BEHIND_SECONDS:
        return "unready", f"What happens is visible to answers only after {behind:.0f} s; see its log.", told
    return "ready", "The collector answers.", told


def _taken(client: httpx.Client, process: Running) -> dict[str, Any]:
    """Return how many events were accepted since the collector began, and that by second; nothing where it does not tell."""
    answer = client.get(f"{process.url}/metrics")
    if answer.status_code != 200:
        return {}
    accepted = sum(
        sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name == "counterfoil_events_total" and sample.labels.get("outcome") == "accepted"
    )
    return {
        "events": int(accepted),
        "a_second": round(accepted / max(1.0, time.time() - process.created), 2),
    }


def _service(place: Place, client: httpx.Client, process: Running) -> Looked:
    answer = client.get(f"{process.url}/readyz")
    told = _object(answer)
    if not told.get("ready"):
        return "unready", f"The service is not ready: {_said(answer)}.", {}
    pointed = read(place.settings.run / process.name / FILE).release
    about = {"release": told.get("release"), "items": told.get("items")}
    if told.get("release") != pointed:
        return "unready", f"The service answers as {told.get('release')}, and is pointed at {pointed}.", about
    return "ready", "The service answers.", about


def _object(answer: httpx.Response) -> dict[str, Any]:
    """Return the JSON object of an answer of 200; an empty one of anything else."""
    told = answer.json() if answer.status_code == 200 else None
    return told if isinstance(told, dict) else {}


def _said(answer: httpx.Response) -> str:
    """Return what an answer says of itself: the sentence of ours, else its status."""
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"it answers {answer.status_code}"


def _inside(place: Place) -> dict[str, str]:
    try:
        return {inner.TOKEN: inner.read_token(place.settings.run)}
    except ConfigError:
        return {}
