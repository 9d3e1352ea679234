"""kill -9 on a process that measures one family: it is named, the others are measured, and the exit code tells."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
import psutil

HISTORIES = 400
PATIENCE_SECONDS = 120


def histories(folder: Path) -> Path:
    """Write people who take the ten items of a ring one after another."""
    lines = (f"{p} {' '.join(str(1 + (p + step) % 10) for step in range(6))}" for p in range(HISTORIES))
    path = folder / "shop.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_process_that_dies_costs_the_others_nothing(tmp_path: Path, home: Path) -> None:
    command = [
        str(Path(sys.executable).with_name("counterfoil")),
        "bench",
        "models",
        "--data",
        str(histories(tmp_path)),
    ]
    command += [
        "--format",
        "s3rec",
        "--protocol",
        "leave-one-out",
        "--families",
        "sasrec,popularity",
        "--json",
    ]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until = time.monotonic() + PATIENCE_SECONDS
    while not (found := measuring(running.pid)) and running.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    assert found, "no process measured anything"
    os.kill(found[0], signal.SIGKILL)
    out, err = running.communicate(timeout=PATIENCE_SECONDS)
    assert running.returncode == 7, err.decode()[-2000:]
    report = orjson.loads(out)
    assert [one["family"] for one in report["families"]] == ["popularity"]
    (refused,) = report["refused"]
    assert (refused["family"], refused["kind"]) == ("sasrec", "UnavailableError")
    assert "its process ended with -9" in refused["reason"]


def measuring(parent: int) -> list[int]:
    """Return the children that measure a family."""
    found = []
    for child in psutil.Process(parent).children():
        try:
            found += [child.pid] if "flows.benchmark.measure" in child.cmdline() else []
        except psutil.NoSuchProcess:
            continue
    return found
