"""How many processes answer in a service is counted from the outside: what it forked, but for the one that nobody waits for."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from bentos.release import FILE
from counterfoil import settings
from counterfoil.processes import Processes, Running
from flows import machine
from tests.loop_shop import place_of

# As bentos/answerers.py has it: answerers are forked, the one for copies has the processor when nobody else wants it.
SERVICE = """
import os, subprocess, sys, time

other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
for place in range(int(sys.argv[1]) + 1):
    if os.fork() == 0:
        if place == 0:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        os.write(1, b"here\\n")  # in one piece: all of them write there
        time.sleep(600)
        os._exit(0)
time.sleep(600)
"""

pytestmark = pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="the platform has no such processes")


@pytest.mark.parametrize(
    ("given", "more"),
    [
        ({}, 0),
        ({"receipt_flush_ms": 0}, 1),
        ({"online_store_url": "redis://localhost:6379/0"}, 1),
        ({"receipt_flush_ms": 0, "online_store_url": "redis://localhost:6379/0"}, 1),
    ],
)
def test_there_is_one_more_than_cores_where_answers_wait(
    given: dict[str, Any], more: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for cores, by_default in ((1, 2), (2, 2 + more), (4, 4 + more), (64, 8 + more)):
        monkeypatch.setattr(settings, "cores", lambda cores=cores: cores)
        assert settings.Settings(home=tmp_path, **given).answerers == by_default
    assert settings.Settings(home=tmp_path, answerers=5, **given).answerers == 5


@pytest.mark.parametrize("count", [0, 3])
def test_answering_processes_are_counted(tmp_path: Path, count: int) -> None:
    place = place_of(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-c", SERVICE, str(count)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        for _ in range(count + 1):
            assert process.stdout.readline() == "here\n"
        running = Running(
            name="service-01234567",
            pid=process.pid,
            created=psutil.Process(process.pid).create_time(),
            url="http://127.0.0.1:9",
            detail="small:0123456789abcdef",
            log="",
        )
        assert machine.answerers(running) == count
        Processes(tmp_path)._write({running.name: running})
        [told] = machine.status(place)["processes"]
        assert (told["serves"], told["release"], told["answerers"]) == (running.detail, None, count)
        pointer = place.settings.run / running.name / FILE
        pointer.parent.mkdir(parents=True)
        pointer.write_bytes(orjson.dumps({"release": "release-1", "epoch": 1, "bento": running.detail}))
        assert machine.status(place)["processes"][0]["release"] == "release-1"
    finally:
        os.killpg(process.pid, 9)
        process.wait()
        process.stdout.close()
    assert machine.answerers(running) == 0


def test_of_a_process_that_is_gone_none_answers() -> None:
    gone = Running(name="service-0", pid=4194305, created=0.0, url="", detail="", log="")
    assert machine.answerers(gone) == 0
