"""Answering processes: one queue, deaths that nobody notices, copies that wait for a quiet moment. Real forks, small work."""

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bentos import answerers as module
from bentos.answerers import Answerers, Seat, can_fork
from bentos.task import Made, Task

pytestmark = pytest.mark.skipif(not can_fork(), reason="no process is forked on this platform")
NOW = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)


def task(body: bytes = b"", **changes: Any) -> Task:
    parts = {"route": "recommend", "body": body, "time": NOW}
    return Task(**{**parts, "release": "release-1", "epoch": 1, "bento": "b:1", **changes})


def told(task: Task) -> Made:
    """Tell who answers, do as the body says, and hand back what came."""
    if task.body == b"die":
        os.kill(os.getpid(), signal.SIGKILL)
    if task.body.startswith(b"die once "):
        mark = Path(task.body[9:].decode())
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    if task.body.startswith(b"sleep "):
        time.sleep(float(task.body[6:]))
    policy = os.sched_getscheduler(0)
    return Made(status=200, body=b"%d %d" % (os.getpid(), policy), receipt=task.time.isoformat())


def run(
    work: Callable[[Answerers], Awaitable[None]],
    count: int = 2,
    begin: Callable[[], None] = lambda: None,
    compute: Callable[[Task], Made] = told,
) -> None:
    made = Answerers(compute, count, begin)

    async def whole() -> None:
        await made.open()
        try:
            await work(made)
        finally:
            await made.close()

    asyncio.run(whole())


def test_tasks_cross_the_border_whole_and_are_shared_out() -> None:
    async def work(made: Answerers) -> None:
        large = b"x" * 3_000_000
        one, two, three = await asyncio.gather(
            made.make(task(b"sleep 0.2")), made.make(task(b"sleep 0.2")), made.make(task(large))
        )
        assert one.receipt == NOW.isoformat()
        pids = {int(made.body.split()[0]) for made in (one, two)}
        assert len(pids) == 2 and os.getpid() not in pids
        assert int(three.body.split()[0]) in pids

    run(work)


def test_whoever_is_free_takes_the_next() -> None:
    async def work(made: Answerers) -> None:
        long = asyncio.create_task(made.make(task(b"sleep 1")))
        await asyncio.sleep(0.05)
        began = time.monotonic()
        found = await asyncio.gather(*(made.make(task(b"sleep 0.01")) for _ in range(10)))
        assert time.monotonic() - began < 0.9, "somebody waited behind the long one"
        assert len({one.body for one in found}) == 1 and (await long).body != found[0].body

    run(work)


def test_where_many_wait_the_next_task_is_at_hand_and_outlives_its_answerer() -> None:
    async def work(made: Answerers) -> None:
        [seat] = [seat for seat in made.seats if not seat.quiet]
        alone = [asyncio.create_task(made.make(task(b"sleep 0.05"))) for _ in range(2)]
        await asyncio.sleep(0.02)
        assert len(seat.at) == 1, "nobody waits for long: the next may go to whoever is free first"
        more = [asyncio.create_task(made.make(task(b"sleep 0.05"))) for _ in range(6)]
        await asyncio.sleep(0.02)
        first, after = seat.at
        os.kill(seat.pid, signal.SIGKILL)
        found = await asyncio.gather(*alone, *more)
        assert [one.status for one in found] == [200] * 8
        assert (first.taken, after.taken) == (1, 0), "what had not been begun is not held against it"
        assert not seat.at

    run(work, count=1)


def test_what_lies_behind_a_long_one_goes_to_whoever_is_free(tmp_path: Path) -> None:
    async def work(made: Answerers) -> None:
        long = [
            asyncio.create_task(made.make(task(b"sleep 1"))),
            asyncio.create_task(made.make(task(b"sleep 0.3"))),
        ]
        await asyncio.sleep(0.02)
        began = time.monotonic()
        more = [asyncio.create_task(made.make(task(b"sleep 0.01"))) for _ in range(6)]
        await asyncio.sleep(0.02)
        busy = [seat for seat in made.seats if not seat.quiet]
        assert sorted(len(seat.at) for seat in busy) == [2, 2]
        found = await asyncio.gather(*more)
        assert time.monotonic() - began < 0.8, "somebody waited behind the long one"
        waited_ms = sorted(one.waited_ms or 0.0 for one in found)
        assert waited_ms[0] > 200 and waited_ms[-1] < 600, "what one waits is told, and what it takes is not"
        assert [one.status for one in await asyncio.gather(*long)] == [200, 200]
        line = made._lines[False]
        assert not line.overdue and not line.waiting

    run(work)


@pytest.mark.parametrize("seconds", [0.03, 0.15])
def test_hardly_anything_is_computed_twice_where_all_take_long(tmp_path: Path, seconds: float) -> None:
    def noted(one: Task) -> Made:
        time.sleep(seconds)
        with (tmp_path / "made").open("ab") as file:
            file.write(b".")
        return Made(status=200, body=b"")

    async def work(made: Answerers) -> None:
        began = time.monotonic()
        found = await asyncio.gather(*(made.make(task()) for _ in range(20)))
        took = time.monotonic() - began
        assert [one.status for one in found] == [200] * 20
        assert took < 10 * seconds + 0.8
        assert all(one.waited_ms is not None and one.waited_ms < 1e3 * took for one in found)

    run(work, compute=noted)
    # who is free at the end takes what lies behind a long one, which may end at that moment; a busy machine has such moments
    assert 20 <= len((tmp_path / "made").read_bytes()) <= 25


def test_copies_have_a_process_of_their_own_that_yields() -> None:
    async def work(made: Answerers) -> None:
        shown, copy = await made.make(task()), await made.make(task(arm="shadow"))
        assert shown.body.split()[1] == b"%d" % os.SCHED_OTHER
        assert copy.body.split()[1] == b"%d" % os.SCHED_IDLE
        await asyncio.gather(
            *(made.make(task(b"sleep 0.3", arm="shadow")) for _ in range(2)), made.make(task())
        )

    run(work, count=1)


HOG = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
end = time.time() + 8
while time.time() < end:
    pass
"""


def worked(task: Task) -> Made:
    """Work for 20 ms of the processor's time, unless the body says to sleep."""
    if task.body.startswith(b"sleep "):
        time.sleep(float(task.body[6:]))
    until = time.thread_time() + 0.02
    while time.thread_time() < until:
        pass
    return Made(status=200, body=b"")


def test_how_long_a_copy_waited_is_no_fault_of_who_answers() -> None:
    """With every core busy a copy gets the processor hardly at all: it is given up as such, or its wait is told."""
    cores = sorted(os.sched_getaffinity(0))
    made = Answerers(worked, 1)

    async def work() -> None:
        await made.open()
        hogs = [subprocess.Popen([sys.executable, "-c", HOG, str(core)]) for core in cores]
        try:
            await asyncio.sleep(0.5)
            for _ in range(4):
                began = time.monotonic()
                copy = await made.make(task(arm="shadow", until=began + 0.6))
                took = time.monotonic() - began
                assert took < 1.5
                if copy.status == 200:
                    assert took - copy.waited_ms / 1e3 < 0.2, "the wait for the processor is not told"
                else:
                    assert copy.status == 503 and copy.waited_ms > 250
        finally:
            for hog in hogs:
                hog.kill()
                hog.wait()
            await made.close()

    asyncio.run(work())


def test_sleep_is_no_wait_however_busy_the_machine_is() -> None:
    cores, slept = sorted(os.sched_getaffinity(0)), []

    async def work(made: Answerers) -> None:
        hogs = [subprocess.Popen([sys.executable, "-c", HOG, str(core)]) for core in cores]
        try:
            await asyncio.sleep(0.5)
            for _ in range(7):
                began = time.monotonic()
                copy = await made.make(task(b"sleep 0.3", arm="shadow", until=began + 8))
                assert copy.status == 200
                slept.append(time.monotonic() - began - copy.waited_ms / 1e3)
        finally:
            for hog in hogs:
                hog.kill()
                hog.wait()

    run(work, count=1)
    # one that is driven from its core just before it sleeps waits for the core while the clock of its sleep runs
    assert statistics.median(slept) > 0.1, "what it slept is taken for a wait"


def test_what_a_request_waits_in_line_is_told() -> None:
    async def work(made: Answerers) -> None:
        alone = await made.make(task(b"sleep 0.05"))
        assert alone.waited_ms < 20
        first, second = await asyncio.gather(*(made.make(task(b"sleep 0.3")) for _ in range(2)))
        assert first.waited_ms < 100 and 250 < second.waited_ms < 600
        os.kill(made.seats[0].pid, signal.SIGKILL)
        assert (await made.make(task())).waited_ms is None, "that nobody was there is the release's own doing"
        assert (await made.make(task())).waited_ms is not None

    run(work, count=1)


def test_a_copy_that_takes_too_long_by_itself_is_late() -> None:
    made = Answerers(worked, 1)

    async def work() -> None:
        await made.open()
        copy = await made.make(task(b"sleep 4", arm="shadow", until=time.monotonic() + 2))
        assert copy.status == 504 and copy.waited_ms < 1_000
        await made.close()

    asyncio.run(work())


def test_an_answerer_that_is_killed_is_replaced_and_nobody_notices() -> None:
    async def work(made: Answerers) -> None:
        asking = [asyncio.create_task(made.make(task(b"sleep 0.05"))) for _ in range(40)]
        for seat in made.seats[:2]:  # then there is none at all, until they are replaced
            await asyncio.sleep(0.3)
            os.kill(seat.pid, signal.SIGKILL)
        found = await asyncio.gather(*asking)
        assert [one.status for one in found] == [200] * 40
        await asyncio.sleep(module.YOUNG_SECONDS + 0.3)
        both = await asyncio.gather(*(made.make(task(b"sleep 0.1")) for _ in range(2)))
        assert len({one.body for one in both}) == 2, "the dead one was not replaced"

    run(work)


def test_a_task_that_kills_is_tried_once_more_and_then_given_up(tmp_path: Path) -> None:
    async def work(made: Answerers) -> None:
        again = await made.make(task(b"die once " + str(tmp_path / "mark").encode()))
        assert again.status == 200
        poison = await made.make(task(b"die"))
        assert poison.status == 500 and b"fault" in poison.body
        assert (await made.make(task())).status == 200

    run(work, count=3)


def test_one_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMPUTE_SECONDS", 0.3)

    async def work(made: Answerers) -> None:
        began = time.monotonic()
        assert (await made.make(task(b"sleep 30"))).status == 500
        assert time.monotonic() - began < 10
        assert (await made.make(task())).status == 200

    run(work)


def test_who_goes_away_is_not_answered(tmp_path: Path) -> None:
    async def work(made: Answerers) -> None:
        long = asyncio.create_task(made.make(task(b"sleep 0.3")))
        gone = asyncio.create_task(made.make(task(b"die once " + str(tmp_path / "mark").encode())))
        await asyncio.sleep(0.05)
        gone.cancel()
        await long
        assert (await made.make(task())).status == 200
        assert not (tmp_path / "mark").exists(), "what nobody waits for was computed"

    run(work, count=1)


def test_one_that_cannot_begin_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEGIN_SECONDS", 0.5)

    def begin() -> None:
        raise RuntimeError("the store is gone")

    async def work(made: Answerers) -> None:
        raise AssertionError("it was ready")

    with pytest.raises(TimeoutError):
        run(work, begin=begin)


def test_nobody_can_answer_while_all_of_them_are_away() -> None:
    async def work(made: Answerers) -> None:
        assert made.able
        for seat in made.seats[:2]:
            os.kill(seat.pid, signal.SIGKILL)
        # asked before that is seen, a task would go from one dead one to the other, and be given up
        async with asyncio.timeout(5):
            while made.able:
                await asyncio.sleep(0.01)
        late = await made.make(task(until=time.monotonic() + 0.5))
        assert late.status == 504 and not made.able, "they are young, and replaced later"
        await asyncio.sleep(module.YOUNG_SECONDS + 0.5)
        assert made.able and (await made.make(task())).status == 200
        assert not any(waiting.done.done() for line in made._lines.values() for waiting in line.waiting)

    run(work)


def test_a_copy_that_cannot_be_recorded_is_the_releases_own_fault() -> None:
    refuse = Made(status=503, body=b"unrecorded")

    async def work() -> None:
        made = Answerers(lambda task: refuse, 1)
        await made.open()
        while not made.seats[-1].begun:
            await asyncio.sleep(0.01)
        copy = await made.make(task(arm="shadow"))
        assert (copy.status, copy.waited_ms) == (503, None)
        await made.close()

    asyncio.run(work())


GARBAGE = """
import asyncio, gc, os, sqlite3, sys
from bentos.answerers import Answerers
from bentos.task import Made, Task
from datetime import UTC, datetime


class Client:  # in a cycle, as engines with pools are: it goes when the collector comes
    def __init__(self):
        self.connection, self.own = sqlite3.connect(sys.argv[1]), self
        self.connection.execute("CREATE TABLE IF NOT EXISTS t (a)")
        self.connection.execute("SELECT * FROM t").fetchall()


held = [Client() for _ in range(3)]
opened = []


def begin():
    held.clear()
    opened.extend(os.open(sys.argv[2] + str(place), os.O_CREAT | os.O_RDWR) for place in range(12))


def compute(task):
    gc.collect()
    return Made(status=200, body=b"%d" % sum(os.pwrite(one, b"x", 0) for one in opened))


async def main():
    made = Answerers(compute, 1, begin)
    await made.open()
    asked = Task(route="r", body=b"", time=datetime.now(UTC), release="r", epoch=1, bento="b")
    print((await made.make(asked)).body.decode())
    await made.close()


asyncio.run(main())
"""


def test_what_the_collector_finds_in_an_answerer_closes_no_file_of_its_own(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", GARBAGE, str(tmp_path / "a.sqlite"), str(tmp_path / "file")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "12\n", done.stderr


ORPHANS = """
import asyncio, os, sys, time
from bentos.answerers import Answerers
made = Answerers(lambda task: None, 2, lambda: None)
async def main():
    await made.open()
    print(*(seat.pid for seat in made.seats), flush=True)
    os.kill(os.getpid(), 9)
asyncio.run(main())
"""


def test_answerers_end_with_who_serves() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ORPHANS], capture_output=True, text=True, check=False, timeout=60
    )
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 3, done.stderr
    until = time.monotonic() + 5
    while any(map(_lives, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(_lives, pids)), "an answerer outlives the process that it answers for"


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_each_answerer_keeps_to_a_core_of_its_own_and_so_does_who_takes_its_place() -> None:
    cores = sorted(os.sched_getaffinity(0))[:2]
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)  # as a machine of two

    async def work(made: Answerers) -> None:
        for _ in range(2):
            await _begun(made.seats[-1])  # nobody else waits for who makes copies
            kept = [os.sched_getaffinity(seat.pid) for seat in made.seats]
            assert kept[: len(cores)] == [{core} for core in cores]
            assert kept[len(cores)] == set(cores), "one more goes where there is room"
            assert kept[-1] == {cores[-1]}, "who makes copies leaves the other cores alone"
            await _replaced(made)

    try:
        run(work, count=len(cores) + 1)
    finally:
        os.sched_setaffinity(0, before)


async def _replaced(made: Answerers) -> None:
    """End the first answerer, and wait for who takes its place."""
    seat = made.seats[0]
    pid = seat.pid
    os.kill(pid, signal.SIGKILL)
    await _begun(seat, but=pid)


async def _begun(seat: Seat, but: int = 0) -> None:
    """Wait until an answerer is ready, another one than `but`."""
    async with asyncio.timeout(10):
        while seat.pid == but or not seat.begun:
            await asyncio.sleep(0.01)
