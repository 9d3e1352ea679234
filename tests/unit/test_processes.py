"""Processes: started once, found again, stopped with their children; what is not ours is never touched."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import orjson
import psutil
import pytest

from counterfoil.errors import ConflictError, IntegrityError, UnavailableError
from counterfoil.processes import Processes

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
SERVE = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1"]
WITH_CHILD = [
    sys.executable,
    "-c",
    "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); time.sleep(600)",
]
NOWHERE = "http://127.0.0.1"


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """The processes of a home; whatever a test leaves behind is ended by its id."""
    ours = Processes(tmp_path)
    yield ours
    for name in ours.running():
        ours.stop(name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(condition, seconds: float = 20.0) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def test_a_process_is_started_found_again_and_stopped(processes: Processes, tmp_path: Path) -> None:
    started = processes.start("sleeper", SLEEP, url=NOWHERE, detail="a nap")
    assert psutil.pid_exists(started.pid)
    assert Processes(tmp_path).running() == {"sleeper": started}
    assert Processes(tmp_path).stop("sleeper") is True
    assert not psutil.pid_exists(started.pid)
    assert processes.running() == {}


def test_stopping_twice_or_a_stranger_is_no_error(processes: Processes) -> None:
    processes.start("sleeper", SLEEP, url=NOWHERE)
    assert [processes.stop("sleeper"), processes.stop("sleeper"), processes.stop("never")] == [
        True,
        False,
        False,
    ]


def test_children_end_too_even_when_the_parent_will_not_listen(processes: Processes) -> None:
    started = processes.start("stubborn", WITH_CHILD, url=NOWHERE)
    until(lambda: psutil.Process(started.pid).children())
    [child] = psutil.Process(started.pid).children()
    processes.stop("stubborn", patience_seconds=0.5)
    assert not psutil.pid_exists(started.pid)
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_an_id_that_went_to_somebody_else_is_left_alone(processes: Processes) -> None:
    stranger = subprocess.Popen(SLEEP)
    try:
        started = processes.start("sleeper", SLEEP, url=NOWHERE)
        processes.stop("sleeper")
        row = orjson.dumps(
            [
                {
                    "name": "sleeper",
                    "pid": stranger.pid,
                    "created": started.created - 3600,
                    "url": NOWHERE,
                    "detail": "",
                    "log": started.log,
                }
            ]
        )
        processes.path.write_bytes(row)
        assert processes.running() == {}
        assert processes.stop("sleeper") is False
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_one_that_died_is_not_running(processes: Processes) -> None:
    started = processes.start("brief", [sys.executable, "-c", "raise SystemExit(3)"], url=NOWHERE)
    until(lambda: psutil.Process(started.pid).status() == psutil.STATUS_ZOMBIE)
    assert processes.running() == {}
    assert processes.stop("brief") is False


def test_a_name_is_started_once(processes: Processes) -> None:
    first = processes.start("sleeper", SLEEP, url=NOWHERE)
    with pytest.raises(ConflictError, match=f"runs already, as process {first.pid}"):
        processes.start("sleeper", SLEEP, url=NOWHERE)
    assert processes.running() == {"sleeper": first}


def test_a_taken_port_is_said_in_one_sentence(processes: Processes) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(ConflictError, match=f"port {port} for shop is taken") as said:
            processes.start("shop", [*SERVE, str(port)], url=f"http://127.0.0.1:{port}")
    assert "\n" not in str(said.value)
    assert processes.running() == {}


def test_waiting_until_it_answers(processes: Processes) -> None:
    port = free_port()
    started = processes.start("web", [*SERVE, str(port)], url=f"http://127.0.0.1:{port}")
    processes.await_answer(started, "/", 30, lambda answer: answer.status_code == 200)
    assert httpx.get(started.url).status_code == 200
    processes.stop("web")
    with pytest.raises(httpx.ConnectError):
        httpx.get(started.url)
    again = processes.start("web", [*SERVE, str(port)], url=f"http://127.0.0.1:{port}")
    assert again.pid != started.pid


def test_one_that_dies_while_we_wait_shows_the_end_of_its_log(processes: Processes) -> None:
    script = "import sys; print('the cupboard is bare', file=sys.stderr); sys.exit(1)"
    started = processes.start("web", [sys.executable, "-c", script], url=f"http://127.0.0.1:{free_port()}")
    began = time.monotonic()
    with pytest.raises(UnavailableError, match="the cupboard is bare"):
        processes.await_answer(started, "/", 60, lambda answer: True)
    assert time.monotonic() - began < 30


def test_one_that_never_answers_is_given_up(processes: Processes) -> None:
    started = processes.start("mute", SLEEP, url=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(UnavailableError, match="mute does not answer"):
        processes.await_answer(started, "/", 0.3, lambda answer: True)


def test_a_program_that_is_not_there_is_said_in_one_sentence(processes: Processes, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot be started"):
        processes.start("ghost", [str(tmp_path / "ghost")], url=NOWHERE)
    assert processes.running() == {}


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b'[{"name": "x"}]', b"[1]"])
def test_a_torn_list_is_said_and_nothing_is_guessed(processes: Processes, content: bytes) -> None:
    processes.path.write_bytes(content)
    if content == b"{}":
        assert processes.running() == {}
    else:
        with pytest.raises(IntegrityError, match=r"processes\.json"):
            processes.running()
    processes.path.unlink()


def test_two_starters_at_once_start_one(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom counterfoil.processes import Processes\n"
        "from counterfoil.errors import ConflictError\n"
        "try:\n    print(Processes(Path(sys.argv[1])).start('one', [sys.executable, '-c', 'import time; time.sleep(600)'],"
        " url='http://127.0.0.1').pid)\nexcept ConflictError:\n    print('late')\n"
    )
    starters = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [starter.communicate(timeout=60)[0].strip() for starter in starters]
    try:
        assert sorted(said)[1:] == ["late", "late"]
        assert [str(process.pid) for process in Processes(tmp_path).running().values()] == sorted(said)[:1]
    finally:
        Processes(tmp_path).stop("one")


def test_a_child_with_a_name_of_its_own_outlives_its_starter(processes: Processes, tmp_path: Path) -> None:
    """As services do that a supervisor starts: one that is stopped takes its nameless children with it, and no others."""
    source = (
        "import subprocess, sys, time; from pathlib import Path; from counterfoil.processes import Processes\n"
        f"Processes(Path({str(tmp_path)!r})).start('child', {SLEEP!r}, url='http://127.0.0.1')\n"
        f"print(subprocess.Popen({SLEEP!r}).pid, flush=True); time.sleep(600)"
    )
    starter = processes.start("starter", [sys.executable, "-c", source], url=NOWHERE)
    until(lambda: Path(starter.log).read_text().strip())
    nameless = int(Path(starter.log).read_text())
    child = processes.running()["child"]
    assert processes.stop("starter") is True
    assert not psutil.pid_exists(starter.pid) and not psutil.pid_exists(nameless)
    assert processes.running() == {"child": child}


def test_a_child_whose_starter_dies_before_it_can_remember_it_is_found(
    processes: Processes, tmp_path: Path
) -> None:
    """Killed right after the spawn: the child runs, nobody wrote down its id, and it is not started twice."""
    source = (
        "import os, signal; from pathlib import Path; from counterfoil.processes import Processes\n"
        "class Mortal(Processes):\n"
        "    def _spawn(self, *args):\n"
        "        print(super()._spawn(*args).pid, flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        f"Mortal(Path({str(tmp_path)!r})).start('child', {SLEEP!r}, url='http://127.0.0.1', detail='a nap')"
    )
    died = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60)
    assert died.returncode == -9, died.stderr
    found = processes.running()["child"]
    assert (found.pid, found.detail) == (int(died.stdout), "a nap")
    with pytest.raises(ConflictError, match="runs already"):
        processes.start("child", SLEEP, url=NOWHERE)
    assert processes.stop("child") is True and not psutil.pid_exists(found.pid)
    processes.start("child", SLEEP, url=NOWHERE)
