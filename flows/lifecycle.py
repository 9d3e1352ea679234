"""The loop as a Prefect flow: the very verbs of flows/verbs/, each passed through `task(...)`, and nothing else of its own.

Prefect schedules, retries and shows; nothing depends on its running once. A run that died is resumed by running again: what was
done is remembered by the recording seam, not by Prefect's cache.
"""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.runtime import deployment, flow_run

from counterfoil import canonical, priority
from counterfoil.catalog import Outcome, Recorder
from counterfoil.errors import ConfigError, GateError, InputError, IntegrityError
from counterfoil.types import UseCase
from flows import approval, away, ephemeral, machine, sealing
from flows.advance import Advanced, advance
from flows.people import retrain
from flows.place import Place, open_place
from flows.report import turn as report
from flows.running import as_of_or_latest, only_run
from flows.standards import openlineage, papers
from flows.steps import recorder, steps
from flows.use_cases import use_case

# Verbs whose failure may be the world's (a lock, a full disk, a socket) are tried again; the others would only fail the same way.
RETRIES = {"seal": 2, "validate": 1, "materialise": 3, "package": 2, "release": 2, "land": 2}
VERBS_OF_A_TURN = 20
# At a terminal the error itself comes through and is said once; libraries' notices and deprecations are not the user's.
QUIET_LOGS = {
    "prefect": logging.CRITICAL,
    "great_expectations": logging.WARNING,
    "py.warnings": logging.ERROR,
}


def as_task(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Return a verb as a Prefect task. Results are persisted as JSON: Prefect's default would be a pickle."""
    name = verb.__name__
    decorate: Any = task
    made: Callable[..., Any] = decorate(
        verb,
        name=name,
        task_run_name=name,
        retries=RETRIES.get(name, 0),
        retry_delay_seconds=[1.0, 5.0, 20.0][: RETRIES.get(name, 0)],
        retry_condition_fn=may_pass,
        cache_policy=NO_CACHE,
        persist_result=True,
        result_serializer="json",
    )
    return made


def may_pass(_task: Any, _run: Any, state: Any) -> bool:
    """Say whether trying again may help: not when the input, the data or the bytes are wrong."""
    try:
        state.result()
    except (InputError, ConfigError, GateError, IntegrityError):
        return False
    except Exception:
        return True
    return False


@flow(
    name="advance",
    flow_run_name="{use_case_name} as of {as_of}",
    persist_result=True,
    result_serializer="json",
)
def advance_flow(
    use_case_name: str = "recommendation", as_of: str | None = None, sources: Sequence[dict[str, str]] = ()
) -> dict[str, Any]:
    """Land the inbox, then `sources` (`{"kind": .., "path": ..}`, as for `data import`), turn the loop, seal receipts.

    What cannot be read is refused: a failed task, a row of the table `<use case>-inbox`, and a reason beside the file; the loop
    turns with the rest, for yesterday's good events are worth more than a stop over a torn file.
    """
    if deployment.id is not None:
        # nobody waits for a run that was scheduled, and answers may be given on this machine
        priority.behind_answers()
    place = open_place()
    with openlineage.flow_run(place, "advance", use_case_name, _prefect_id()) as run:
        land_inbox(place, use_case_name, run)
        land_collected(place, run)
        for source in sources:
            _land(place, source, run)
        turned = turn(place, use_case(use_case_name), as_of, recorder(place, run))
        with run.stage("seal"):
            _seal(place)
    approval.wait(place, use_case(use_case_name), turned["decision"])
    return turned


def advance_here(
    place: Place,
    use_case_name: str,
    as_of: str | None,
    sources: Sequence[dict[str, str]],
    *,
    on_start: Callable[[str, str], None],
    on_end: Callable[[Outcome], None],
) -> dict[str, Any]:
    """Run the flow in this process, and tell a watcher what begins and ends. Errors of our own come through as they are."""

    @flow(
        name="advance",
        flow_run_name=f"{use_case_name} as of {as_of or 'latest'}",
        persist_result=True,
        result_serializer="json",
    )
    def watched() -> dict[str, Any]:
        ephemeral.remember(place.settings.home)
        with openlineage.flow_run(place, "advance", use_case_name, _prefect_id()) as run:
            memory = recorder(place, run)
            memory.on_start, memory.on_end = on_start, on_end
            for source in sources:
                on_start("land", source["kind"])
                landed = _land(place, source, run)
                on_end(
                    Outcome(
                        verb="land",
                        label=source["kind"],
                        skipped=landed["already"],
                        seconds=landed["seconds"],
                        nouns=(),
                    )
                )
            return turn(place, use_case(use_case_name), as_of, memory)

    for name, level in QUIET_LOGS.items():
        logging.getLogger(name).setLevel(level)
    ephemeral.end_orphan(place.settings.home)
    made: dict[str, Any] = watched()
    return made


def land(source: dict[str, str]) -> dict[str, Any]:
    """Land one source; twice is the same as once."""
    from counterfoil.importers import open_source
    from counterfoil.landing import land as land_source
    from flows.gate import warm

    warm()  # what lands is validated next
    place = open_place()
    path, mapping = source.get("path"), source.get("mapping")
    opened = open_source(
        source["kind"], Path(path) if path else None, mapping=Path(mapping) if mapping else None
    )
    landed: dict[str, Any] = canonical.plain(land_source(opened, place.settings))
    return landed


def _land(place: Place, source: dict[str, str], run: openlineage.Run) -> dict[str, Any]:
    with run.stage("land", source["kind"]) as told:
        landed: dict[str, Any] = as_task(land)(source)
        told.landed(place, source["kind"], landed["batch"], landed["days"], landed["already"])
    return landed


def _prefect_id() -> str | None:
    return None if flow_run.id is None else str(flow_run.id)


def land_inbox(place: Place, name: str, run: openlineage.Run) -> None:
    """Land what waits in the inbox, a task per entry, and leave a table of what became of each."""
    from flows import inbox
    from flows.gate import warm

    rows: list[dict[str, Any]] = []
    for entry in inbox.waiting(place):
        warm()  # what lands is validated next; once is enough, and again costs nothing

        def land(entry: inbox.Entry = entry) -> dict[str, Any]:
            done: dict[str, Any] = canonical.plain(inbox.land_entry(place, entry))
            return done

        row = {"kind": entry.kind, "name": entry.path.name}
        try:
            with run.stage("land", entry.kind or "inbox") as told:
                landed = as_task(land)()
                told.landed(place, entry.kind or "inbox", landed["batch"], landed["days"], landed["already"])
        except InputError as reason:
            rows.append({**row, "refused": str(reason)})
        else:
            counts = {column: landed[column] for column in ("batch", "landed", "duplicates", "quarantined")}
            rows.append({**row, **counts, "refused": ""})
    if rows:
        create_table_artifact(
            rows, key=f"{name}-inbox", description="What was waiting, and what became of it"
        )


def land_collected(place: Place, run: openlineage.Run) -> None:
    """Land what came in over HTTP since the last time."""
    from flows import collecting

    def collect() -> list[dict[str, Any]]:
        return [canonical.plain(landed) for landed in collecting.collect(place).landed]

    if not collecting.waits(place):
        return
    with run.stage("land", collecting.KIND) as told:
        for landed in as_task(collect)():
            told.landed(place, collecting.KIND, landed["batch"], landed["days"], landed["already"])


def turn(place: Place, case: UseCase, as_of: str | None, watch: Recorder | None = None) -> dict[str, Any]:
    """Turn the loop inside a flow run, and leave its progress and its tables as artifacts."""
    moment = as_of_or_latest(place, as_of)
    memory = watch or recorder(place)
    memory.run = None if flow_run.id is None else str(flow_run.id)
    progress: Any = create_progress_artifact(
        0.0, key=f"{case.name}-progress", description=f"{case.name} as of {moment}"
    )
    shown = memory.on_end

    def on_end(outcome: Outcome) -> None:
        update_progress_artifact(progress, min(99.0, 100.0 * len(memory.outcomes) / VERBS_OF_A_TURN))
        if shown:
            shown(outcome)

    memory.on_end = on_end
    with only_run(place, case.name):
        ephemeral.close_dead_runs(f"{case.name} as of ")
        advanced = advance(case, moment, steps(place, memory, wrap=as_task))
    update_progress_artifact(progress, 100.0)
    report.write(place, advanced.decision)
    _tables(case.name, advanced, memory.outcomes)
    _follow(place, case.name, memory)
    retrain.finish(place, case.name)
    papers.write(place, advanced.decision)
    return summary(advanced)


def _follow(place: Place, use_case_name: str, memory: Recorder) -> None:
    """Switch the service that runs here to the champion; also when a run before this one died between release and switch."""
    champion = machine.behind(place, use_case_name)
    if champion is None:
        return

    def follow() -> str | None:
        return machine.follow(place, use_case_name)

    if memory.on_start:
        memory.on_start("follow", champion.tag)
    started = time.perf_counter()
    as_task(follow)()
    if memory.on_end:
        seconds = time.perf_counter() - started
        memory.on_end(
            Outcome(verb="follow", label=champion.tag, skipped=False, seconds=seconds, nouns=(champion.id,))
        )


def _seal(place: Place) -> None:
    """Seal the receipts that no service writes to any more, and copy what is new to the remote if there is one."""

    def seal() -> dict[str, Any]:
        return sealing.seal(place)

    def push() -> dict[str, Any]:
        return away.push(place)

    as_task(seal)()
    if place.remote is not None:
        as_task(push)()


def summary(advanced: Advanced) -> dict[str, Any]:
    """Return what one turn came to, by ids: small enough for Prefect to keep."""
    return {
        "dataset": advanced.dataset.id,
        "candidates": [candidate.id for candidate in advanced.candidates],
        "evaluations": [evaluation.id for evaluation in advanced.evaluations],
        "decision": advanced.decision.id,
        "verb": advanced.decision.verb,
        "release": advanced.release.id if advanced.release else None,
    }


def _tables(name: str, advanced: Advanced, outcomes: Sequence[Outcome]) -> None:
    rows = [
        {
            "family": c.family,
            "value": c.value,
            "low": c.low,
            "high": c.high,
            "difference": c.difference,
            "breaches": "; ".join(c.breaches),
        }
        for c in advanced.decision.comparisons
    ]
    create_table_artifact(
        rows, key=f"{name}-contenders", description="Contenders, 95% intervals, paired differences"
    )
    create_table_artifact(
        [
            {"verb": o.verb, "what": o.label, "seconds": round(o.seconds, 2), "skipped": o.skipped}
            for o in outcomes
        ],
        key=f"{name}-stages",
        description="What ran, and what was remembered",
    )
    create_markdown_artifact(
        "\n\n".join(advanced.decision.sentences), key=f"{name}-decision", description=advanced.decision.verb
    )
