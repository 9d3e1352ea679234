"""OpenLineage events: valid, one beginning and one end per run whatever happens, one graph, carried on when a place is back."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from counterfoil.catalog import Passage
from counterfoil.types import Dataset, Verdict
from flows.standards import openlineage
from flows.standards.courier import Courier
from flows.standards.journal import PROCESS, Journal, this_process
from tests.loop_shop import END, land_shop, place_of, small_case, turn, write_shop

ROOT = Path(__file__).resolve().parents[2]
SPEC = ROOT / "tests/openlineage"
OWN = json.loads((ROOT / "flows/standards/facets.json").read_text())
CORE = json.loads((SPEC / "OpenLineage.json").read_text())
FACETS = {path.stem: json.loads(path.read_text()) for path in SPEC.glob("*Facet.json")}
REGISTRY = Registry().with_resources(
    [(uri, Resource.from_contents(CORE)) for uri in (
        CORE["$id"], "https://openlineage.io/spec/1-0-1/OpenLineage.json", "https://openlineage.io/spec/1-0-2/OpenLineage.json",
    )] + [(OWN["$id"], Resource.from_contents(OWN))]
)  # fmt: skip


def events_of(home: Path) -> list[dict[str, Any]]:
    return [event for _, _, event in Journal(folder=home / "openlineage").read(start())]


def start() -> Any:
    return Journal(folder=Path()).position("nobody")


def facets_of(event: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for holder in (event["run"], event["job"], *event["inputs"], *event["outputs"]):
        for name in ("facets", "inputFacets", "outputFacets"):
            yield from holder.get(name, {}).items()


def require_valid(event: dict[str, Any]) -> None:
    """Hold an event against the spec's schema, and each facet against the one that it names."""
    Draft202012Validator(
        CORE, registry=REGISTRY, format_checker=Draft202012Validator.FORMAT_CHECKER
    ).validate(event)
    for name, facet in facets_of(event):
        url, _, pointer = facet["_schemaURL"].partition("#")
        shape = pointer.rpartition("/")[2]
        if url == OWN["$id"]:
            schema: dict[str, Any] = {"$ref": f"{url}#{pointer}"}
            assert name.startswith("counterfoil_") and shape in OWN["$defs"]
        elif name == "subset":
            continue  # its schema is not at hand: see tests/openlineage/README.md
        else:
            schema = FACETS[shape]["$defs"][shape]
        Draft202012Validator(schema, registry=REGISTRY).validate(facet)


def versions(sets: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(one["name"], one["facets"]["version"]["datasetVersion"]) for one in sets}


def states(home: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for event in events_of(home):
        found.setdefault(event["run"]["runId"], []).append(event["eventType"])
    return found


def test_every_event_of_a_turn_is_valid_and_every_run_ends_once(turned: Path) -> None:
    events = events_of(turned)
    for event in events:
        require_valid(event)
    assert set(map(tuple, states(turned).values())) == {("START", "COMPLETE")}
    jobs = {event["job"]["name"] for event in events}
    assert jobs == {
        f"stages.{name}" for name in (
            "validate", "snapshot", "inspect", "fit.popularity", "fit.repurchase", "evaluate.popularity",
            "evaluate.repurchase", "decide", "materialise", "package", "release",
        )
    }  # fmt: skip


def test_a_wrong_event_is_found_wrong(turned: Path) -> None:
    for spoil in (
        lambda event: event["run"].update(runId="7"),
        lambda event: event.update(eventType="ENDED"),
        lambda event: event["run"]["facets"]["counterfoil_stage"].pop("key"),
        lambda event: event["job"]["facets"]["jobType"].pop("integration"),
    ):
        event = events_of(turned)[0]
        spoil(event)
        with pytest.raises(Exception, match=r"7|ENDED|key|integration"):
            require_valid(event)


def test_the_graph_of_the_events_is_the_catalogs(turned: Path) -> None:
    place = place_of(turned)
    told = set()
    made: set[tuple[str, str]] = set()
    for event in events_of(turned):
        if event["eventType"] == "COMPLETE":
            outputs, inputs = versions(event["outputs"]), versions(event["inputs"])
            assert {pair for pair in inputs if not pair[0].startswith("landing/")} <= made, (
                "every input was an output"
            )
            made |= outputs
            told |= {(out[1], one[1]) for out in outputs for one in inputs}
    known = {(child, parent) for child, parent in place.catalog.edges()}
    assert {(c, p) for c, p in known if not c.startswith("verdict") and not p.startswith("verdict")} == {
        (c, p) for c, p in told if "-" in c and "-" in p and "verdicts" not in c + p
    }
    verdicts = {name for name, _ in made if name.startswith("verdicts")}
    assert verdicts == {"verdicts/days", "verdicts/snapshot"}
    place.catalog.engine.dispose()


def test_verdicts_are_assertions_on_what_they_are_about(turned: Path) -> None:
    events = {e["job"]["name"]: e for e in events_of(turned) if e["eventType"] == "COMPLETE"}
    place = place_of(turned)
    days = next(one for one in events["stages.validate"]["inputs"] if one["name"] == "landing/events")
    snapshot = events["stages.inspect"]["inputs"][0]
    [about] = [v for v in place.catalog.find(Verdict) if v.subject.startswith("dataset-")]
    said = snapshot["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert len(said) == len({(c.expectation, c.column, c.severity) for c in about.checks})
    assert all(one["success"] for one in said) == about.passed
    assert "kept by 24 of 24 days" in {
        one["actual"] for one in days["inputFacets"]["dataQualityAssertions"]["assertions"]
    }
    partitions = days["inputFacets"]["subset"]["inputCondition"]["partitions"]
    assert len(partitions) == 24 and len(partitions[0]["identifier"]) == 64
    place.catalog.engine.dispose()


def test_what_was_remembered_says_so_and_names_the_same_versions(turned: Path, tmp_path: Path) -> None:
    import shutil

    home = shutil.copytree(turned, tmp_path / "home")
    place = place_of(home)
    before = events_of(home)
    turn(place, small_case(), END)
    after = events_of(home)[len(before) :]
    assert len(after) == len(before)
    assert all(e["run"]["facets"]["counterfoil_stage"]["remembered"] for e in after)
    assert not any(e["run"]["facets"]["counterfoil_stage"]["remembered"] for e in before)
    for old, new in zip(before, after, strict=True):
        if old["eventType"] == "COMPLETE":
            assert versions(old["outputs"]) == versions(new["outputs"])
    place.catalog.engine.dispose()


def passage() -> Passage:
    verdict = Verdict(subject="2024-01-01", sha256="0", rows=1, passed=True, checks=(), suite="s")
    return Passage(verb="fit", label="als, seed 1", key="k", given={"dataset": verdict, "config": None})


def line_in(folder: Path, **options: Any) -> openlineage.Line:
    journal = Journal(folder=folder / "openlineage")
    said = options.pop("said", [])
    courier = Courier(journal, options.pop("places", ()), None, said.append)
    return openlineage.Line(journal=journal, courier=courier, namespace="shop")


@pytest.mark.parametrize(
    ("fault", "state"), [(RuntimeError("no\nroom"), "FAIL"), (KeyboardInterrupt(), "ABORT")]
)
def test_what_fails_says_why(tmp_path: Path, fault: BaseException, state: str) -> None:
    stages, one = openlineage.Stages(line_in(tmp_path)), passage()
    stages.began(one)
    stages.failed(one, fault)
    begun, ended = events_of(tmp_path)
    assert (begun["eventType"], ended["eventType"]) == ("START", state)
    assert begun["job"]["name"] == "stages.fit.als" and begun["job"]["namespace"] == "shop"
    assert ended["run"]["facets"]["errorMessage"]["message"] in ("RuntimeError: no", "KeyboardInterrupt")
    require_valid(ended)


def test_a_verb_that_fails_in_the_seam_is_told(tmp_path: Path) -> None:
    from counterfoil.errors import GateError

    place = place_of(tmp_path / "home")
    land_shop(place.settings, write_shop(tmp_path / "source", days=6))
    with pytest.raises(GateError):
        turn(place, small_case(), END)
    found = states(place.settings.home)
    assert set(map(tuple, found.values())) == {("START", "COMPLETE")}, (
        "the gate is no verb: its refusal is the turn's"
    )
    with pytest.raises(GateError), openlineage.flow_run(place, "advance", "small"):
        turn(place, small_case(), END)
    last = events_of(place.settings.home)[-1]
    assert (last["eventType"], last["job"]["name"]) == ("FAIL", "small.advance")
    assert last["run"]["facets"]["errorMessage"]["message"].startswith("GateError: the gate refused")
    place.catalog.engine.dispose()


def test_stages_name_the_flow_run_that_they_are_part_of(tmp_path: Path) -> None:
    place = place_of(tmp_path)
    with openlineage.flow_run(place, "advance", "small", prefect="p-1") as run:
        with run.stage("land", "contract"):
            pass
        stages, one = openlineage.stages(place, run), passage()
        stages.began(one)
        stages.ended(one, [], remembered=False)
    events = events_of(tmp_path)
    for event in events:
        require_valid(event)
    assert [(e["eventType"], e["job"]["name"]) for e in events] == [
        ("START", "small.advance"),
        ("START", "small.advance.land.contract"),
        ("COMPLETE", "small.advance.land.contract"),
        ("START", "small.advance.fit.als"),
        ("COMPLETE", "small.advance.fit.als"),
        ("COMPLETE", "small.advance"),
    ]
    parents = {e["run"]["facets"]["parent"]["run"]["runId"] for e in events[1:5]}
    assert parents == {events[0]["run"]["runId"]} and "parent" not in events[0]["run"]["facets"]
    assert events[0]["run"]["facets"]["counterfoil_flow"]["prefectFlowRun"] == "p-1"
    place.catalog.engine.dispose()


def begin_and_die(home: Path) -> None:
    """Begin a flow run and a stage in it in a process of their own, which is killed there."""
    script = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom tests.loop_shop import place_of\n"
        "from flows.standards import openlineage\nplace = place_of(Path(sys.argv[1]))\n"
        "with openlineage.flow_run(place, 'advance', 'small') as run, run.stage('fit', 'als'):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(home)], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == -signal.SIGKILL


def test_the_next_process_ends_what_a_killed_one_began(tmp_path: Path) -> None:
    begin_and_die(tmp_path)
    place = place_of(tmp_path)
    assert [e["eventType"] for e in events_of(tmp_path)] == ["START", "START"]
    with openlineage.flow_run(place, "advance", "small"):
        pass
    events = events_of(tmp_path)
    for event in events:
        require_valid(event)
    assert [(e["eventType"], e["job"]["name"]) for e in events[2:]] == [
        ("FAIL", "small.advance.fit.als"),
        ("FAIL", "small.advance"),
        ("START", "small.advance"),
        ("COMPLETE", "small.advance"),
    ]
    assert "killed" in events[2]["run"]["facets"]["errorMessage"]["message"]
    assert openlineage.line_of(place.settings).settle() == 0
    assert all(Counter(kinds)["START"] == 1 and len(kinds) == 2 for kinds in states(tmp_path).values())
    place.catalog.engine.dispose()


def test_who_lives_or_is_elsewhere_is_left_alone_and_a_reused_id_is_not_taken_for_alive(
    tmp_path: Path,
) -> None:
    line = line_in(tmp_path)
    us = this_process()
    processes = {
        "alive": us,
        "reused": {**us, "created": us["created"] - 3600.0},
        "elsewhere": {**us, "host": socket.gethostname() + "-other", "pid": 2**22},
        "gone": {**us, "pid": 2**22 + 1},
    }
    for name, process in processes.items():
        run = openlineage.Run(line=line, id=openlineage._new_id(), job=name)
        event = openlineage._event(run, "START")
        event["run"]["facets"][PROCESS].update(process)
        line.journal.append([event])
    assert line.settle() == 2
    ended = [e["job"]["name"] for e in events_of(tmp_path) if e["eventType"] == "FAIL"]
    assert ended == ["gone", "reused"], "those that began last end first"
    assert line.settle() == 0
    settled = line.journal.position("settled")
    assert settled.offset == 0, "nothing before the oldest that lives is forgotten"


def test_a_torn_line_is_taken_off(tmp_path: Path) -> None:
    journal = Journal(folder=tmp_path / "openlineage")
    one = {"eventType": "START", "run": {"runId": "1"}}
    journal.append([one])
    [path] = journal.files()
    path.write_bytes(path.read_bytes() + b'{"eventType": "COMPL')
    assert [event for _, _, event in journal.read(start())] == [one]
    journal.append([{**one, "eventType": "COMPLETE"}])
    assert [event["eventType"] for _, _, event in journal.read(start())] == ["START", "COMPLETE"]


def test_many_processes_write_whole_lines(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom flows.standards.journal import Journal\n"
        "journal = Journal(folder=Path(sys.argv[1]))\n"
        "for number in range(50):\n    journal.append([{'who': sys.argv[2], 'number': number, 'pad': 'x' * 5000}])\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path), who], cwd=ROOT)
        for who in ("a", "b", "c")
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    found = [event for _, _, event in Journal(folder=tmp_path).read(start())]
    for who in ("a", "b", "c"):
        assert [event["number"] for event in found if event["who"] == who] == list(range(50))


def test_a_journal_that_cannot_be_written_stops_nothing_and_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "openlineage").write_text("a file where the folder should be")
    stages = openlineage.Stages(line_in(tmp_path))
    for _ in range(3):
        one = passage()
        stages.began(one)
        stages.ended(one, [], remembered=False)
    assert capsys.readouterr().err.count("the work goes on") == 1


class Endpoint:
    """A real endpoint on this machine that answers what it is told to, and keeps what it took."""

    def __init__(self, port: int = 0) -> None:
        self.taken: list[dict[str, Any]] = []
        self.paths: set[str] = set()
        self.headers: list[Any] = []
        self.answer = 201
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = endpoint.answer if not (body.get("bad") and endpoint.answer == 201) else 422
                if answer == 201:
                    endpoint.taken.append(body)
                endpoint.paths.add(self.path)
                endpoint.headers.append(self.headers.get("Authorization"))
                self.send_response(answer)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", port), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def test_a_place_that_is_down_is_told_once_and_gets_what_it_missed(tmp_path: Path) -> None:
    endpoint = Endpoint()
    url, other = f"http://shop:secret@127.0.0.1:{endpoint.port}", str(tmp_path / "away/other.jsonl")
    said: list[str] = []
    journal = Journal(folder=tmp_path / "openlineage")
    courier = Courier(journal, (url, other), "token", said.append)
    journal.append([{"number": 0}])
    courier.wake()
    assert courier.rest(10) and [event["number"] for event in endpoint.taken] == [0]
    assert endpoint.paths == {"/api/v1/lineage"}

    endpoint.answer = 503
    for number in (1, 2):
        journal.append([{"number": number}])
        courier.wake()
        assert courier.rest(10)
        courier.down.clear()
    assert len(said) == 1 and "503" in said[0] and "secret" not in said[0]
    endpoint.stop()
    journal.append([{"number": 3, "bad": True}, {"number": 4}])
    courier.wake()
    assert courier.rest(10) and len(said) == 1

    back = Endpoint(endpoint.port)
    later = Courier(journal, (url, other), "token", said.append)  # as another process has it
    later.wake()
    assert later.rest(10)
    assert [event["number"] for event in back.taken] == [1, 2, 4]
    assert len(said) == 2 and "422" in said[1], "an event that will never be taken holds up nobody"
    assert [json.loads(line)["number"] for line in Path(other).read_text().splitlines()] == [0, 1, 2, 3, 4]
    assert all(header.startswith("Basic ") for header in back.headers), "its URL names a user"
    back.stop()


def test_a_turn_is_not_held_up_by_a_place_that_does_not_answer(tmp_path: Path) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(1)
        said: list[str] = []
        line = line_in(tmp_path, places=(f"http://127.0.0.1:{deaf.getsockname()[1]}",), said=said)
        stages = openlineage.Stages(line)
        import time

        began = time.perf_counter()
        for _ in range(20):
            one = passage()
            stages.began(one)
            stages.ended(one, [], remembered=False)
        assert time.perf_counter() - began < 5
        assert len(events_of(tmp_path)) == 40
        assert line.courier.rest(0.1) is False


def test_the_settings_name_the_places(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from counterfoil import settings

    monkeypatch.setenv("COUNTERFOIL_OPENLINEAGE", f" {home}/a.jsonl, http://127.0.0.1:9/x ,")
    monkeypatch.setenv("COUNTERFOIL_OPENLINEAGE_NAMESPACE", "corner-shop")
    line = openlineage.line_of(settings.load())
    assert line.courier.places == (f"{home}/a.jsonl", "http://127.0.0.1:9/x")
    assert line.namespace == "corner-shop"


def test_a_dataset_has_one_name_and_its_versions(turned: Path) -> None:
    from flows.standards import graph

    place = place_of(turned)
    [dataset] = place.catalog.find(Dataset)
    assert graph.name_of(dataset) == "small/dataset"
    place.catalog.engine.dispose()
