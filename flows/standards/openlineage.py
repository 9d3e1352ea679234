"""OpenLineage events of flow runs and stages: START, and COMPLETE, FAIL or ABORT; also for runs whose process was killed.

Nobody calls this from a task: stages are told by the recording seam (`Stages` observes it), flow runs where flows begin and end.
An event that cannot be written stops nothing; it is told once. The spec: https://openlineage.io/docs/spec/object-model.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

from filelock import Timeout

from counterfoil import canonical, terminal
from counterfoil.catalog import Passage
from counterfoil.settings import Settings
from counterfoil.types import Noun, Verdict
from flows.place import Place, code_version
from flows.standards.courier import Courier
from flows.standards.journal import PROCESS, Event, Journal, this_process

PRODUCER = "urn:counterfoil"
KILLED = "its process is gone: it was killed, or the machine went down"


@dataclass(kw_only=True)
class Line:
    """Where the events of one home go, and who carries them on. What fails here is told once and stops nobody."""

    journal: Journal
    courier: Courier
    namespace: str
    told: set[str] = field(default_factory=set)

    def write(self, *events: Event) -> None:
        """Write events, and let them be carried."""
        with self.quietly():
            self.journal.append(events)
            self.courier.wake()

    def settle(self) -> int:
        """End the runs whose process is gone, and carry what was missed; returns how many there were."""
        ended = 0
        with self.quietly():
            ended = self.journal.settle(_killed)
            if self.journal.folder.is_dir():
                self.courier.wake()
        return ended

    @contextmanager
    def quietly(self) -> Iterator[None]:
        """Let what fails be told once, and no more."""
        try:
            yield
        except (OSError, Timeout, ValueError, KeyError, TypeError) as fault:
            if type(fault).__name__ not in self.told:
                self.told.add(type(fault).__name__)
                say(
                    f"OpenLineage events cannot be written to {self.journal.folder} ({fault}); the work goes on"
                )


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run that events speak of: its id, its job's name, and the run that it is part of."""

    line: Line
    id: str
    job: str
    parent: "Run | None" = None
    facets: dict[str, Any] = field(default_factory=dict)
    job_type: str = "STAGE"

    @contextmanager
    def stage(self, verb: str, label: str = "") -> Iterator["Told"]:
        """Tell of a stage that does not pass through the recording seam."""
        with _told(_stage(self.line, self, verb, label)) as told:
            yield told


@dataclass(kw_only=True)
class Told:
    """What a stage outside the recording seam tells of itself before it ends."""

    inputs: list[Any] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    line: Line

    def landed(self, place: Place, kind: str, batch: str, days: Sequence[str], already: bool) -> None:
        """Say what a landing wrote: these days, and the tables as they are now."""
        from counterfoil.landing import read_manifest
        from flows.standards import graph

        with self.line.quietly():
            manifest = read_manifest(place.settings)
            known = {day: manifest.days[day].sha256 for day in days if day in manifest.days}
            tables = {"items": manifest.items, "people": manifest.people}
            parts: dict[str, Any] = {name: part.sha256 for name, part in tables.items() if part is not None}
            parts = {} if already else {**parts, "days": known}
            self.inputs, self.outputs = graph.landed(self.line.namespace, kind, batch, parts)


class Stages:
    """Observes the recording seam, and tells of every verb that passes; `run` is the flow run that they are part of."""

    def __init__(self, line: Line, run: Run | None = None):
        self.line, self.run = line, run
        self.under_way: dict[int, Run] = {}

    def began(self, passage: Passage) -> None:
        """Tell that a verb is about to run."""
        with self.line.quietly():
            stage = _passed(self.line, self.run, passage, remembered=False)
            self.under_way[id(passage)] = stage
            self.line.write(_event(stage, "START", inputs=_inputs(self.line, passage)))

    def ended(self, passage: Passage, nouns: Sequence[Noun], *, remembered: bool) -> None:
        """Tell what a verb made. One that was remembered begins and ends in one breath, and says so."""
        from flows.standards import graph

        with self.line.quietly():
            stage = self.under_way.pop(id(passage), None)
            taken = _inputs(self.line, passage)
            before = []
            if stage is None:
                stage = _passed(self.line, self.run, passage, remembered=remembered)
                before = [_event(stage, "START", inputs=taken)]
            verdicts = [noun for noun in nouns if isinstance(noun, Verdict)]
            judged = graph.judged(taken, verdicts)
            made = graph.outputs(self.line.namespace, nouns)
            self.line.write(*before, _event(stage, "COMPLETE", inputs=judged, outputs=made))

    def failed(self, passage: Passage, fault: BaseException) -> None:
        """Tell that a verb failed."""
        with self.line.quietly():
            stage = self.under_way.pop(id(passage), None)
            if stage is not None:
                self.line.write(
                    _event(stage, _end_of(fault), inputs=_inputs(self.line, passage), fault=fault)
                )


@contextmanager
def flow_run(place: Place, flow: str, subject: str, prefect: str | None = None) -> Iterator[Run]:
    """Tell of a flow run: what happens inside is part of it. `prefect` is what Prefect calls it."""
    line = line_of(place.settings)
    line.settle()
    about = {"flow": flow, "subject": subject, **({"prefectFlowRun": prefect} if prefect else {})}
    run = Run(
        line=line, id=_new_id(), job=f"{subject}.{flow}", facets={"FlowRunFacet": about}, job_type="FLOW"
    )
    with _told(run):
        yield run


@contextmanager
def stage(place: Place, verb: str, label: str = "") -> Iterator[Told]:
    """Tell of a stage that is part of no flow run."""
    line = line_of(place.settings)
    line.settle()
    with _told(_stage(line, None, verb, label)) as told:
        yield told


def stages(place: Place, run: Run | None = None) -> Stages:
    """Return the observer that tells of a home's stages."""
    line = line_of(place.settings)
    if run is None:
        line.settle()
    return Stages(line, run)


def line_of(settings: Settings) -> Line:
    """Return where the events of this home go; one per home and process."""
    return _line(
        str(settings.home.absolute()),
        settings.openlineage_places,
        settings.openlineage_key,
        settings.openlineage_namespace,
    )


@cache
def _line(home: str, places: tuple[str, ...], key: str | None, namespace: str) -> Line:
    from pathlib import Path

    journal = Journal(folder=Path(home) / "openlineage")
    return Line(journal=journal, courier=Courier(journal, places, key, say), namespace=namespace)


def say(sentence: str) -> None:
    """Tell a person something that stops nothing."""
    terminal.ERR.print(sentence, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def _told(run: Run) -> Iterator[Told]:
    told = Told(line=run.line)
    with run.line.quietly():
        run.line.write(_event(run, "START"))
    try:
        yield told
    except BaseException as fault:
        with run.line.quietly():
            run.line.write(_event(run, _end_of(fault), inputs=told.inputs, fault=fault))
        raise
    with run.line.quietly():
        run.line.write(_event(run, "COMPLETE", inputs=told.inputs, outputs=told.outputs))


def _passed(line: Line, run: Run | None, passage: Passage, *, remembered: bool) -> Run:
    return _stage(line, run, passage.verb, passage.label, key=passage.key, remembered=remembered)


def _stage(
    line: Line, parent: Run | None, verb: str, label: str, *, key: str = "", remembered: bool = False
) -> Run:
    about = {"verb": verb, "label": label, "key": key, "remembered": remembered}
    top = parent.job if parent else "stages"
    named = _slug(label.partition(",")[0])
    job = ".".join(part for part in (top, verb, named) if part)
    return Run(line=line, id=_new_id(), job=job, parent=parent, facets={"StageRunFacet": about})


def _slug(label: str) -> str:
    return re.sub(r"[^a-z0-9_-]+", "-", label.lower()).strip("-")


def _new_id() -> str:
    """Return a version 7 UUID, as the spec asks for: its order is that of time."""
    from openlineage.client.uuid import generate_new_uuid

    return str(generate_new_uuid())


def _inputs(line: Line, passage: Passage) -> list[Any]:
    from flows.standards import graph

    return graph.inputs(line.namespace, passage.given, passage.taken)


def _end_of(fault: BaseException) -> str:
    return "FAIL" if isinstance(fault, Exception) else "ABORT"


def _event(
    run: Run,
    state: str,
    inputs: Sequence[Any] = (),
    outputs: Sequence[Any] = (),
    fault: BaseException | None = None,
) -> Event:
    """Return one event as JSON's own types."""
    from openlineage.client.event_v2 import Job, RunEvent, RunState
    from openlineage.client.event_v2 import Run as RunOf
    from openlineage.client.facet_v2 import (
        error_message_run,
        job_type_job,
        parent_run,
        set_producer,
        source_code_location_job,
    )
    from openlineage.client.serde import Serde

    from flows.standards.facets import run_facet

    set_producer(PRODUCER)
    namespace = run.line.namespace
    facets: dict[str, Any] = {PROCESS: run_facet("ProcessRunFacet", **this_process())}
    for shape, about in run.facets.items():
        facets[f"counterfoil_{shape.removesuffix('RunFacet').lower()}"] = run_facet(shape, **about)
    if run.parent is not None:
        facets["parent"] = parent_run.ParentRunFacet(
            run=parent_run.Run(runId=run.parent.id),
            job=parent_run.Job(namespace=namespace, name=run.parent.job),
        )
    if fault is not None:
        facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(
            message=_said(fault), programmingLanguage="PYTHON"
        )
    job_facets = {
        "jobType": job_type_job.JobTypeJobFacet(
            processingType="BATCH", integration="COUNTERFOIL", jobType=run.job_type
        ),
        "sourceCodeLocation": source_code_location_job.SourceCodeLocationJobFacet(
            type="git", url="urn:counterfoil:source", version=code_version()
        ),
    }
    event = RunEvent(
        eventType=RunState[state],
        eventTime=canonical.utc_text(datetime.now(UTC)),
        run=RunOf(runId=run.id, facets=facets),
        job=Job(namespace=namespace, name=run.job, facets=job_facets),
        inputs=list(inputs),
        outputs=list(outputs),
        producer=PRODUCER,
    )
    told: Event = Serde.to_dict(event)
    return told


def _said(fault: BaseException) -> str:
    lines = str(fault).strip().splitlines()
    return f"{type(fault).__name__}: {lines[0][:500]}" if lines else type(fault).__name__


def _killed(start: Event) -> Event:
    """Return the FAIL of a run that can tell nothing any more, from its START."""
    ended = {**start, "eventType": "FAIL", "eventTime": canonical.utc_text(datetime.now(UTC))}
    run = {**start["run"], "facets": dict(start["run"]["facets"])}
    run["facets"]["errorMessage"] = {
        "_producer": PRODUCER,
        "_schemaURL": "https://openlineage.io/spec/facets/1-0-1/ErrorMessageRunFacet.json#/$defs/ErrorMessageRunFacet",
        "message": KILLED,
        "programmingLanguage": "PYTHON",
    }
    ended["run"] = run
    with suppress(KeyError):
        ended["inputs"] = [
            {key: value for key, value in one.items() if key != "inputFacets"} for one in start["inputs"]
        ]
    return ended
