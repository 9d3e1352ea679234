"""Who goes first: processes of sessions of their own on one core, as services and nightly runs are, and what each gets of it."""

import os
import subprocess
import sys
import time

import psutil
import pytest

from counterfoil.priority import own_cores

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="cores are shared in another way")
WORK = """
import os, sys
from counterfoil import priority
os.sched_setaffinity(0, {int(sys.argv[1])})
getattr(priority, sys.argv[2], lambda: None)()
print("begun", flush=True)
while True:
    pass
"""


def shares(first: str, second: str) -> tuple[float, float]:
    """Return how many seconds of one core each of two gets while both want it."""
    core = str(min(os.sched_getaffinity(0)))
    both = [
        subprocess.Popen(
            [sys.executable, "-c", WORK, core, how], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        for how in (first, second)
    ]
    try:
        for one in both:
            assert one.stdout is not None and one.stdout.readline() == "begun\n"
        seen = [psutil.Process(one.pid) for one in both]
        before = [sum(one.cpu_times()[:2]) for one in seen]
        time.sleep(1.5)
        after = [sum(one.cpu_times()[:2]) for one in seen]
    finally:
        for one in both:
            one.kill()
            one.wait()
            assert one.stdout is not None
            one.stdout.close()
    return after[0] - before[0], after[1] - before[1]


def test_two_that_are_alike_share_a_core() -> None:
    one, other = shares("nothing", "nothing")
    assert 0.4 < one / other < 2.5, "what the other tests compare with"


def test_a_nightly_run_leaves_a_core_to_answers_but_for_a_little() -> None:
    run, answers = shares("behind_answers", "nothing")
    assert 0 < run < 0.25 * answers


def test_copies_have_next_to_nothing_where_others_want_the_core() -> None:
    copies, answers = shares("only_when_idle", "nothing")
    assert copies < 0.1 * answers
    copies, run = shares("only_when_idle", "behind_answers")
    assert copies < 0.5 * run


def test_of_more_cores_than_processes_none_is_kept_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(3)))
    assert own_cores(2) == [None, None]
    assert own_cores(4) == [0, 1, 2, None]
