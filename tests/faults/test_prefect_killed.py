"""A run at a terminal is killed: its Prefect server does not stay, and it is not called running for ever."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from counterfoil.processes import lives
from counterfoil.settings import QUIET
from flows import ephemeral
from flows.standards.journal import Journal, Position
from tests.landing_shop import bought, source_of
from tests.loop_shop import place_of

ROOT = Path(__file__).resolve().parents[2]


def start(home: Path) -> subprocess.Popen[str]:
    """Start a run, and wait until it is in its first verb."""
    names = ("COUNTERFOIL_HOME", "PREFECT_HOME", "BENTOML_HOME", "PREFECT_API_URL")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment |= {**QUIET, "COUNTERFOIL_HOME": str(home), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "tests/faults/prefect_killed.py"), str(home)]
    run = subprocess.Popen(command, cwd=home, env=environment, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None and run.stdout.readline() == "validate\n"
    return run


def kill(run: subprocess.Popen[str]) -> None:
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL


def states(home: Path) -> list[str]:
    """Return the states of the flow runs in the order in which they began."""
    with sqlite3.connect(home / "prefect/prefect.db") as database:
        rows = database.execute("SELECT state_type FROM flow_run ORDER BY start_time").fetchall()
    database.close()
    return [row[0] for row in rows]


@pytest.mark.slow
def test_what_a_killed_run_left_is_tidied_up_by_the_next(tmp_path: Path) -> None:
    from counterfoil.landing import land

    home = tmp_path / "home"
    place = place_of(home)
    days = [bought(str(day), f"2024-03-0{day}T12:00:00Z") for day in (1, 2, 5)]
    land(source_of(tmp_path / "source", "events", days), place.settings)
    place.catalog.engine.dispose()

    kill(start(home))
    first = orjson.loads((home / "prefect/ephemeral.json").read_bytes())
    assert lives(first["server"], first["server_created"]), "Prefect ends its server now: this module can go"
    assert states(home) == ["RUNNING"]

    second = start(home)
    assert not lives(first["server"], first["server_created"])
    assert states(home) == ["CRASHED", "RUNNING"]
    told = [event for _, _, event in Journal(folder=home / "openlineage").read(Position())]
    assert [(event["eventType"], event["job"]["name"]) for event in told] == [
        ("START", "recommendation.advance"),
        ("START", "recommendation.advance.validate"),
        ("FAIL", "recommendation.advance.validate"),
        ("FAIL", "recommendation.advance"),
        ("START", "recommendation.advance"),
        ("START", "recommendation.advance.validate"),
    ]
    now = orjson.loads((home / "prefect/ephemeral.json").read_bytes())
    assert ephemeral.end_orphan(home) is False, "its run lives"
    assert lives(now["server"], now["server_created"])
    kill(second)
    assert ephemeral.end_orphan(home) is True
    assert not lives(now["server"], now["server_created"])
    assert ephemeral.end_orphan(home) is False


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"run": 1}'])
def test_a_torn_note_is_passed_over(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "prefect").mkdir()
    (tmp_path / "prefect/ephemeral.json").write_bytes(content)
    assert ephemeral.end_orphan(tmp_path) is False


def test_a_server_whose_id_went_to_somebody_else_is_left_alone(tmp_path: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        (tmp_path / "prefect").mkdir()
        note = {"run": 999_999_999, "run_created": 1.0, "server": stranger.pid, "server_created": 1.0}
        (tmp_path / "prefect/ephemeral.json").write_bytes(orjson.dumps(note))
        assert ephemeral.end_orphan(tmp_path) is False
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_process_without_a_server_writes_no_note(tmp_path: Path) -> None:
    ephemeral.remember(tmp_path)
    assert not (tmp_path / "prefect").exists()
