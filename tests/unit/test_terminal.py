"""What a person or a machine sees: one sentence per error, text as it is, one object for machines."""

import io
import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.progress import Progress

from counterfoil import terminal
from counterfoil.errors import CounterfoilError, GateError, InputError, IntegrityError


def test_an_error_is_one_line_with_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    sentence = "the file " + "x" * 200 + " is empty; give another"
    assert terminal.fail(InputError(sentence), as_json=False) == 2
    seen = capsys.readouterr()
    assert seen.err == f"InputError: {sentence}\n"
    assert seen.out == ""


def test_an_error_for_machines_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert terminal.fail(GateError("no"), as_json=True) == 3
    assert json.loads(capsys.readouterr().out) == {"error": "no", "kind": "GateError"}


@pytest.mark.parametrize("name", ["[red]x[/red]", "[/]", "[/bold]", "a[0]", "[link=http://x]y[/link]"])
def test_brackets_in_a_name_are_shown_as_they_are(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.fail(InputError(f"no file {name}"), as_json=False)
    assert f"no file {name}" in capsys.readouterr().err
    terminal.table(name, ["item"], [[name]])
    assert capsys.readouterr().out.count(name) == 2


def test_cells(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.table("t", ["a", "b", "c", "d", "e"], [[None, 1234567, 0.123456, True, "x"]])
    assert capsys.readouterr().out.splitlines()[-2].replace("│", " ").split() == [
        "-",
        "1,234,567",
        "0.1235",
        "yes",
        "x",
    ]


def test_an_empty_table_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.table("nothing", ["a", "b"], [])
    assert "nothing" in capsys.readouterr().out


@dataclass(frozen=True)
class Answer:
    when: datetime
    parts: tuple[int, ...]


def test_a_result_for_machines_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.emit(
        {"answer": Answer(datetime(2024, 1, 1, tzinfo=UTC), (1, 2))}, True, lambda result: pytest.fail()
    )
    assert json.loads(capsys.readouterr().out) == {
        "answer": {"when": "2024-01-01T00:00:00Z", "parts": [1, 2]}
    }


def test_a_result_for_people_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    shown: list[int] = []
    terminal.emit(5, False, shown.append)
    assert shown == [5] and capsys.readouterr().out == ""


def test_progress_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.stages() as stages, stages.stage("bake", "bread"):
        pass
    seen = capsys.readouterr()
    assert seen.out == "" and "bake bread" in seen.err
    assert list(stages.seconds) == ["bake bread"]


def quiet() -> terminal.Stages:
    return terminal.Stages(Progress(console=terminal.Console(file=io.StringIO())))


def test_seconds_of_a_stage_add_up() -> None:
    stages = quiet()
    stages.done("fit", "als", 1.25)
    stages.done("fit", "als", 0.5)
    stages.done("fit", "sasrec", 2.0)
    assert stages.seconds == {"fit als": 1.75, "fit sasrec": 2.0}


def test_a_stage_that_is_tried_again_or_fails_leaves_no_bar() -> None:
    stages = quiet()
    stages.start("fit", "als")
    stages.start("fit", "als")
    assert len(stages.progress.tasks) == 1
    stages.advance("fit", 10)
    stages.done("fit", "als", 0.1)
    assert stages.progress.tasks == []
    with pytest.raises(ValueError), stages.stage("bake"):
        raise ValueError
    assert stages.progress.tasks == [] and "bake" not in stages.seconds


def test_every_error_of_ours_has_its_exit_code() -> None:
    def family(kind: type[CounterfoilError]) -> set[type[CounterfoilError]]:
        return {kind}.union(*(family(child) for child in kind.__subclasses__()))

    named = {
        kind.__name__: kind.exit_code
        for kind in family(CounterfoilError)
        if kind.__module__ == "counterfoil.errors"
    }
    assert named == {
        "CounterfoilError": 1,
        "InputError": 2,
        "ContractError": 2,
        "UnknownError": 2,
        "ConfigError": 2,
        "GateError": 3,
        "GateFault": 4,
        "IntegrityError": 5,
        "ConflictError": 6,
        "UnavailableError": 7,
        "AccessError": 8,
    }
    assert isinstance(IntegrityError("x"), CounterfoilError)


LAST_WORD = """
import atexit, os, sys
from counterfoil.cli import main

class Library:
    def __del__(self):
        os.write(2, b"leaked!")

held = Library()
if sys.argv.pop() == "loud":
    atexit.register = print
main()
"""


@pytest.mark.parametrize(("how", "after"), [("quiet", ""), ("loud", "leaked!")])
def test_nothing_that_libraries_say_at_the_end_follows_the_one_sentence(how: str, after: str) -> None:
    line = [sys.executable, "-c", LAST_WORD, "nonsense", how]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
    said = done.stderr.strip("\n").splitlines()
    assert done.returncode == 2 and said[0].startswith("InputError: No such command 'nonsense'")
    assert said[1:] == ([after] if after else [])


COUNTERFOIL = str(Path(sys.executable).parent / "counterfoil")
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device here is always full")
def test_a_result_that_found_no_room_is_an_error(tmp_path: Path) -> None:
    environment = {**BUFFERED, "COUNTERFOIL_HOME": str(tmp_path)}
    line = [COUNTERFOIL, "key", "list", "--json"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            line, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment, timeout=60
        )
    assert done.returncode == 7 and "No space left on device" in done.stderr


def test_who_reads_no_further_is_told_nothing(tmp_path: Path) -> None:
    environment = {**BUFFERED, "COUNTERFOIL_HOME": str(tmp_path)}
    line = f"{shlex.quote(COUNTERFOIL)} key list --json | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, check=False, env=environment, timeout=60
    )
    assert (done.stdout, done.stderr) in {
        ("1\n", ""),
        ("0\n", ""),
    }  # it may have written before the reader went


LOST = """
import sys
from counterfoil import cli

def lost(**_):
    raise BrokenPipeError(32, "Broken pipe", "a socket")

cli.app = lost
cli.main()
"""


def test_a_connection_that_broke_is_told_while_somebody_reads(tmp_path: Path) -> None:
    environment = {**BUFFERED, "COUNTERFOIL_HOME": str(tmp_path)}
    line = [sys.executable, "-c", LOST]
    done = subprocess.run(line, capture_output=True, text=True, check=False, env=environment, timeout=60)
    assert done.returncode == 7 and "the system refused: a socket: Broken pipe" in done.stderr
