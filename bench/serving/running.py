"""Processes under measurement: started on a free port, awaited, watched, ended; never anybody else's."""

import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import psutil

from bench.serving.home import Home
from bentos import inner
from counterfoil.errors import UnavailableError

MUTED = "bento without receipts"
KEPT = "the same process with them"
CHANNEL = "muted"  # by which questions come whose receipts go nowhere
STRICT = "bento, disk before each answer"
READY_SECONDS, END_SECONDS = 300.0, 20.0


@dataclass(frozen=True, kw_only=True)
class Service:
    """Processes that answer: name, ids, the port of the door, and how many seconds passed until they were ready."""

    name: str
    pids: tuple[int, ...]
    port: int
    ready_seconds: float
    headers: dict[str, str] = field(default_factory=dict)  # what a request carries besides; none: the token
    channel: str | None = None  # that questions come by

    @property
    def cpu_seconds(self) -> float:
        """CPU time of the processes and their children so far, those that ended too."""
        return sum(_cpu_seconds(psutil.Process(pid)) for pid in self.pids)

    @property
    def memory_bytes(self) -> int:
        """Memory of the processes and their children."""
        return sum(memory_bytes(pid) for pid in self.pids)


def _cpu_seconds(own: psutil.Process) -> float:
    times = [own.cpu_times(), *(child.cpu_times() for child in own.children(recursive=True))]
    return sum(t.user + t.system for t in times) + times[0].children_user + times[0].children_system


def memory_bytes(pid: int) -> int:
    """Memory of a process and its children: pages that they share are counted once (proportional set size)."""
    own = psutil.Process(pid)
    return sum(one.memory_full_info().pss for one in [own, *own.children(recursive=True)])


@contextmanager
def bento(
    home: Home,
    tag: str | None = None,
    release: str | None = None,
    epoch: int | None = None,
    *,
    name: str = "bento",
    **env: str,
) -> Iterator[Service]:
    """Serve a bento of the home (the champion's by default) by the product's own launcher, and end it."""
    tag = tag or home.made["bento"]
    with tempfile.TemporaryDirectory(prefix="counterfoil-bench-") as folder:
        pointer = Path(folder) / "release.json"
        told = {
            "release": release or home.made["release"],
            "epoch": epoch or home.made["epoch"],
            "bento": tag,
        }
        pointer.write_bytes(orjson.dumps(told))
        place = home.folder / "bentoml" / "bentos" / tag.replace(":", "/")
        arguments = ["-m", "bentos.serve", "--bento", str(place), "--release-file", str(pointer), "--port"]
        with started(name, arguments, {**home.env, **env}) as service:
            yield service


def strict(home: Home) -> AbstractContextManager[Service]:
    """Serve the champion's bento as installations may whose answers wait for the disk to have their receipt."""
    return bento(home, name=STRICT, COUNTERFOIL_RECEIPT_FLUSH_MS="0")


@contextmanager
def bare(home: Home) -> Iterator[Service]:
    """Serve the floor's work by the bare FastAPI service."""
    with started("fastapi", ["-m", "bench.serving.bare", str(home.folder)], home.env) as service:
        yield service


@contextmanager
def gateway(home: Home) -> Iterator[Service | None]:
    """Serve through the one public door; None where this version has none."""
    if importlib.util.find_spec("bentos.gateway") is None:
        yield None
        return
    from bench.serving import whole

    with whole.running(home) as held:
        whole.champion_first(held, home)
        yield held.service


@contextmanager
def started(name: str, arguments: Sequence[str], env: Mapping[str, str]) -> Iterator[Service]:
    """Run Python with these arguments and a free port behind them until the block ends. UnavailableError: it never answered."""
    port = free_port()
    with tempfile.TemporaryFile() as log:
        began = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, *arguments, str(port)],
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            _await(name, child, port, log)
            yield Service(name=name, pids=(child.pid,), port=port, ready_seconds=time.perf_counter() - began)
        finally:
            end(child)


def free_port() -> int:
    """Return a port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def end(child: "subprocess.Popen[bytes]") -> None:
    """End a child of ours: politely, then firmly."""
    child.terminate()
    try:
        child.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def headers(home: Home) -> dict[str, str]:
    """Return what a request to a service carries instead of the gateway: the installation's token."""
    return {inner.TOKEN: inner.make_token(home.folder / "run")}


def _await(name: str, child: "subprocess.Popen[bytes]", port: int, log: object) -> None:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until and child.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5, trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.05)
    log.seek(0)  # type: ignore[attr-defined]
    said = log.read().decode(errors="replace")[-800:]  # type: ignore[attr-defined]
    raise UnavailableError(f"{name} does not answer on port {port}: {said or os.strerror(child.poll() or 0)}")


class Floor:
    """The floor's process: it loads once, and measures when it is asked, so that floor and services take turns."""

    def __init__(self, home: Home) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "bench.serving.floor", str(home.folder)],
            env=home.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def measure(self, rounds: int) -> dict[str, Any]:
        """Measure the floor now, with so many rounds over its people. UnavailableError when its process ended."""
        assert self._child.stdin and self._child.stdout and self._child.stderr
        self._child.stdin.write(b"%d\n" % rounds)
        self._child.stdin.flush()
        line = self._child.stdout.readline()
        if not line:
            raise UnavailableError(
                f"the floor failed: {self._child.stderr.read().decode(errors='replace')[-800:]}"
            )
        found: dict[str, Any] = orjson.loads(line)
        return found

    def close(self) -> None:
        """End the process."""
        end(self._child)


@contextmanager
def mute(home: Home) -> Iterator[Service]:
    """Serve the champion's bento with the code in it, but receipts of one channel go nowhere: what that saves is what they cost.

    Two processes that are alike differ by a thirtieth of an answer: more than half of the bound on receipts.
    """
    place = home.folder / "bentoml" / "bentos" / home.made["bento"].replace(":", "/")
    told = {"release": home.made["release"], "epoch": home.made["epoch"], "bento": home.made["bento"]}
    arguments = ["-P", "-c", MUTE, str(place / "src"), str(place), orjson.dumps(told).decode(), CHANNEL]
    with started(MUTED, arguments, home.env) as service:
        yield replace(service, channel=CHANNEL)


def heard(muted: Service) -> Service:
    """Return the same process as it answers questions whose receipts are kept."""
    return replace(muted, name=KEPT, channel=None)


# Runs with the code in the bento; the seam is the product's, and only where it writes to is not.
MUTE = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import orjson
from bentos import release, worker

from counterfoil.receipts import Receipts

class Muted(Receipts):
    def write(self, receipt):
        if receipt.request["context"]["channel"] != sys.argv[4]:
            super().write(receipt)

from bentos.recommend import app
app.Receipts = Muted
serving = worker.start(Path(sys.argv[2]), release.pointer(orjson.loads(sys.argv[3])))
worker.run(serving, "127.0.0.1", int(sys.argv[5]))
"""
