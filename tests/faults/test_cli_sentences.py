"""Whatever goes wrong, the command line says one sentence and ends with an exit code; a traceback lies in a log."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BROKEN = """
from counterfoil import cli

@cli.app.command("broken")
def broken() -> None:
    raise ZeroDivisionError("first line\\nsecond line")

cli.main()
"""


def run(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python code as a process of its own, with these variables."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def counterfoil(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a process of its own."""
    return run("from counterfoil import cli; cli.main()", *arguments, **environment)


@pytest.mark.parametrize(
    ("variable", "value", "wanted"),
    [
        ("THREADS", "0", "a whole number, 1 or more"),
        ("THREADS", "two", "a whole number, 1 or more"),
        ("SERVICE_PORT", "abc", "a whole number from 1 to 65535"),
        ("SERVICE_PORT", "0", "a whole number from 1 to 65535"),
        ("PREFECT_PORT", "65536", "a whole number from 1 to 65535"),
        ("FEATURE_TTL_DAYS", "0", "a whole number of days, 1 or more"),
        ("PROFILE", "staging", "embedded or production"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value_and_what_it_must_be(
    home: Path, variable: str, value: str, wanted: str
) -> None:
    ended = counterfoil("data", "list", **{f"COUNTERFOIL_{variable}": value})
    said = f"COUNTERFOIL_{variable} is '{value}', but it must be {wanted}; set what is wrong anew"
    assert (ended.returncode, ended.stderr) == (2, f"ConfigError: {said}\n")


def test_all_wrong_settings_are_named_at_once(home: Path) -> None:
    ended = counterfoil("data", "list", "--json", COUNTERFOIL_THREADS="0", COUNTERFOIL_SERVICE_PORT="abc")
    said = json.loads(ended.stdout)["error"]
    assert ended.returncode == 2
    assert "COUNTERFOIL_THREADS is '0'" in said and "COUNTERFOIL_SERVICE_PORT is 'abc'" in said


def test_the_outermost_ports_and_one_thread_are_fine(home: Path) -> None:
    bounds = {"SERVICE_PORT": "65535", "PREFECT_PORT": "1", "THREADS": "1", "FEATURE_TTL_DAYS": "1"}
    ended = counterfoil("data", "list", **{f"COUNTERFOIL_{name}": value for name, value in bounds.items()})
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc, in which nothing can be made")
@pytest.mark.parametrize("command", [("verify",), ("models",), ("data", "simulate")])
def test_a_home_that_cannot_be_made_is_a_sentence(command: tuple[str, ...]) -> None:
    ended = counterfoil(*command, COUNTERFOIL_HOME="/proc/nope")
    assert ended.returncode == 7
    assert "Traceback" not in ended.stderr
    [said] = [line for line in ended.stderr.splitlines() if line.strip()]
    assert said.startswith("UnavailableError: the system refused: /proc/nope")
    assert said.endswith(
        ": No such file or directory; check that path, COUNTERFOIL_HOME and the disk, then run again"
    )


def test_a_defect_is_a_sentence_and_its_traceback_lies_in_the_named_log(home: Path) -> None:
    ended = run(BROKEN, "broken")
    log = home / "logs" / "faults.log"
    said = f"CounterfoilError: ZeroDivisionError: first line; report this as a defect; the traceback is in {log}\n"
    assert (ended.returncode, ended.stderr) == (1, said)
    kept = log.read_text()
    assert (
        "Traceback (most recent call last)" in kept and "ZeroDivisionError: first line\nsecond line" in kept
    )
    run(BROKEN, "broken")
    assert log.read_text().count("Traceback") == 2


def test_a_defect_where_nothing_can_be_written_shows_its_traceback(home: Path) -> None:
    (home / "logs").write_text("a file where the folder should be")
    ended = run(BROKEN, "broken")
    assert ended.returncode == 1
    assert "Traceback (most recent call last)" in ended.stderr
    assert ended.stderr.endswith("CounterfoilError: ZeroDivisionError: first line; report this as a defect\n")


UNPROVEN = """
from counterfoil import cli
from flows import demo

demo.demo = lambda stages: {"verified": {verified}}
cli.main()
"""


@pytest.mark.parametrize(("verified", "code"), [(True, 0), (False, 5)])
def test_a_demo_that_is_not_proven_does_not_end_as_if_it_were(verified: bool, code: int) -> None:
    done = run(UNPROVEN.replace("{verified}", str(verified)), "demo", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (code, {"verified": verified})
