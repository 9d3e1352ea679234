"""kill -9 at every verb of the loop: running again finishes it, redoes nothing that was done, and comes to the same."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flows.standards.journal import Journal, Position
from flows.verify import verify
from tests.loop_shop import END, land_shop, place_of, ran, small_case, turn, write_shop

ROOT = Path(__file__).resolve().parents[2]
VERBS = [
    "validate",
    "snapshot",
    "inspect",
    "fit popularity",
    "fit repurchase",
    "evaluate popularity",
    "evaluate repurchase",
    "decide",
    "materialise",
    "package",
    "release",
]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict]]:
    """An installation whose loop was killed amid each verb, before and after its record, and what each life did."""
    folder = tmp_path_factory.mktemp("killed")
    place = place_of(folder / "home")
    land_shop(place.settings, write_shop(folder / "source"))
    place.catalog.engine.dispose()
    command = [
        sys.executable,
        str(ROOT / "tests/faults/loop_killed.py"),
        str(folder / "home"),
        str(folder / "log"),
    ]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        env={"PYTHONPATH": str(ROOT), "TZ": "UTC"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "home", [json.loads(line) for line in (folder / "log").read_text().splitlines()]


def test_every_life_does_what_was_not_done_and_nothing_else(killed: tuple[Path, list[dict]]) -> None:
    lives = [(life["killed"], life["ran"]) for life in killed[1]]
    expected: list[tuple[str | None, list[str]]] = []
    for verb in VERBS:
        expected += [(when, [verb]) for when in ("amid", "before", "after")]
    assert lives == [*expected, (None, [])]


def test_it_comes_to_the_very_ids_of_a_loop_that_nobody_killed(
    killed: tuple[Path, list[dict]], turned: Path
) -> None:
    place = place_of(turned)
    unkilled, outcomes = turn(place, small_case(), END)
    assert ran(outcomes) == []
    ids = killed[1][-1]["ids"]
    assert ids[:-1] == [
        unkilled.dataset.id,
        *[candidate.id for candidate in unkilled.candidates],
        *[evaluation.id for evaluation in unkilled.evaluations],
        unkilled.decision.id,
        unkilled.release.bento,
    ]
    assert ids[-1] == unkilled.release.id
    place.catalog.engine.dispose()


def test_every_run_that_was_killed_is_told_to_have_failed_once(killed: tuple[Path, list[dict]]) -> None:
    ends: dict[str, list[str]] = {}
    jobs: dict[str, list[str]] = {}
    for _, _, event in Journal(folder=killed[0] / "openlineage").read(Position()):
        ends.setdefault(event["run"]["runId"], []).append(event["eventType"])
        if event["eventType"] != "START":
            jobs.setdefault(event["job"]["name"], []).append(event["eventType"])
    assert {tuple(kinds) for kinds in ends.values()} == {("START", "COMPLETE"), ("START", "FAIL")}
    for verb in VERBS:
        told = jobs[f"stages.{verb.replace(' ', '.')}"]
        assert told[:3] == ["FAIL"] * 3, "amid, before and after its record: each time the process was gone"
        assert set(told[3:]) == {"COMPLETE"}, "from then on it is remembered"


def test_there_is_exactly_one_release_and_all_of_it_is_proven(killed: tuple[Path, list[dict]]) -> None:
    place = place_of(killed[0])
    [release] = place.catalog.releases("small")
    assert (release["epoch"], release["valid_to"]) == (1, None)
    found = verify(place)
    assert found["faults"] == [] and found["checked"]["versions"] == 5
    place.catalog.engine.dispose()
