"""kill -9 while somebody is forgotten: whoever asks again finishes it, and the certificate counts what went before the kill."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]


def killed(root: Path, *steps: int) -> list[dict[str, Any]]:
    script = Path(__file__).with_name("forget_killed.py")
    done = subprocess.run(
        [sys.executable, script, root, *map(str, steps)],
        capture_output=True,
        text=True,
        timeout=3600,
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def finished(trial: dict[str, Any]) -> None:
    """See that the second run ended as one that nobody killed."""
    where = f"killed at step {trial['n']}"
    assert trial["died"], where
    assert (trial["left"], trial["faults"], trial["erasures"]) == ([], [], 1), where
    assert not any("not finished" in note for note in trial["notes"]), where
    landed = ("bentos", "collected")  # of bentos there is none; what came in over HTTP has landed first
    assert all(count for name, count in trial["removed"].items() if name not in landed), where
    assert (trial["removed"]["events"], trial["removed"]["receipts"]) == (73, 4), where


def test_who_is_killed_while_forgetting_finishes_when_asked_again(tmp_path: Path) -> None:
    in_the_middle, recorded, handed_out = killed(tmp_path, 24, -2, -1)
    assert in_the_middle["before"] > 0, "she was not forgotten yet"
    finished(in_the_middle)
    finished(recorded)
    finished(handed_out)


@pytest.mark.slow
def test_killed_at_any_step_it_is_finished_when_asked_again(tmp_path: Path) -> None:
    trials = killed(tmp_path)
    assert len(trials) > 30
    for trial in trials:
        finished(trial)
