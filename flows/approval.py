"""A run of the nightly deployment that waits for people: suspended while its gate does, resumed by their word.

Whoever speaks first counts, by Prefect, the command line or the console: what is released is released once, for a decision that
was released waits for nobody. A suspended run takes no process; resumed, it begins again, and what it did is remembered.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import orjson

from counterfoil.errors import ConflictError, InputError
from counterfoil.files import write_durably
from counterfoil.processes import Processes
from counterfoil.types import Decision, UseCase
from flows import champion as champions
from flows import steer
from flows.place import Place

log = logging.getLogger(__name__)
WAIT_SECONDS = 7 * 86_400
RESUME_SECONDS = 5.0


def wait(place: Place, case: UseCase, decision_id: str) -> None:
    """Suspend this run of a deployment until the gate waits for nobody more; outside of one nobody is waited for."""
    from prefect.flow_runs import suspend_flow_run
    from prefect.input import RunInput
    from prefect.runtime import deployment, flow_run

    class Word(RunInput):
        """Who approves, and what there is to say of it."""

        by: str
        note: str = ""

    decision = place.catalog.get(decision_id)
    assert isinstance(decision, Decision)
    if deployment.id is None or decision.verb != "promote":
        return

    def ask(key: str) -> tuple[str, str]:
        _remember(place, decision_id, str(flow_run.id))
        word = suspend_flow_run(wait_for_input=Word, timeout=WAIT_SECONDS, key=key)
        return word.by, word.note

    hear(place, case, decision, ask)
    _path(place, decision_id).unlink(missing_ok=True)


def hear(place: Place, case: UseCase, decision: Decision, ask: Callable[[str], tuple[str, str]]) -> None:
    """Take words, who approves and a note, until the gate waits for nobody more; `ask` gives the one of a key, once or always.

    Each has a key of its own, for what was said under one is said again when the run begins again. A word in nobody's name is
    logged and passed over: who typed it may say it anew.
    """
    asked = 0
    while champions.waits_for(place, case, decision):
        by, note = ask(f"{decision.id}-{asked}")
        asked += 1
        try:
            name = steer.whoever(by)
        except InputError as fault:
            log.warning("a word on %s is passed over, and asked for again: %s", decision.id, fault)
            continue
        with suppress(ConflictError):  # said before: by the same word, when the run begins again
            steer.approve(place, decision.id, name, note, case)


def resume(place: Place, decision_id: str, by: str, note: str) -> bool:
    """Let a run that waits for a decision end, for the decision was released without it; False when none could be told.

    It is a courtesy: a run that nobody resumes ends by its own time.
    """
    path, url = _path(place, decision_id), _server(place)
    if url is None or not path.is_file():
        return False
    run = orjson.loads(path.read_bytes())["run"]
    body = {"run_input": {"by": by, "note": note}}
    try:
        reply = httpx.post(f"{url}/flow_runs/{run}/resume", json=body, timeout=RESUME_SECONDS)
    except httpx.HTTPError as fault:
        log.warning("the run that waits for %s was not told: %s", decision_id, fault)
        return False
    return reply.is_success


def _server(place: Place) -> str | None:
    running = Processes(place.settings.home).running().get("prefect-server")
    return place.settings.prefect_api_url if running is None else f"{running.url}/api"


def _remember(place: Place, decision_id: str, run: str) -> None:
    told: dict[str, Any] = {"run": run}
    path = _path(place, decision_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, orjson.dumps(told))


def _path(place: Place, decision_id: str) -> Path:
    return place.settings.run / "approvals" / f"{decision_id}.json"
