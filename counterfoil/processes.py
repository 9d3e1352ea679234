"""Processes of this installation on this machine: started, found again, and stopped; never anybody else's.

A process is known by its id and the moment it was created: an id that the system gave to somebody else later is left alone.
"""

import contextlib
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import orjson
import psutil

from counterfoil.errors import ConflictError, UnavailableError

STOP_SECONDS = 15.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """One process: its name, id, moment of creation (seconds since 1970), where it answers, what it serves, where it logs."""

    name: str
    pid: int
    created: float
    url: str
    detail: str
    log: str


class Processes:
    """The processes of one home, remembered in `processes.json`."""

    def __init__(self, home: Path):
        self.home = home
        self.path = home / "processes.json"

    def running(self) -> dict[str, Running]:
        """Return those that live, by name."""
        known = (
            [Running(**row) for row in orjson.loads(self.path.read_bytes())] if self.path.is_file() else []
        )
        return {process.name: process for process in known if _alive(process)}

    def start(
        self, name: str, command: Sequence[str], *, url: str, detail: str = "", cwd: Path | None = None
    ) -> Running:
        """Start a process of its own session, and remember it. ConflictError when its port is taken."""
        _require_free(name, url)
        log = self.home / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=cwd, start_new_session=True
            )
        created = psutil.Process(child.pid).create_time()
        started = Running(name=name, pid=child.pid, created=created, url=url, detail=detail, log=str(log))
        self._write({**self.running(), name: started})
        return started

    def await_answer(
        self, started: Running, path: str, seconds: float, ready: Callable[[httpx.Response], bool]
    ) -> None:
        """Wait until the process answers; UnavailableError with the end of its log when it died or took too long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if not _alive(started):
                break
            with contextlib.suppress(httpx.HTTPError):
                if ready(httpx.get(started.url + path, timeout=5)):
                    return
            time.sleep(0.1)
        tail = "\n".join(Path(started.log).read_text(errors="replace").splitlines()[-5:])
        raise UnavailableError(
            f"{started.name} does not answer at {started.url}{path}; its log {started.log} ends with: {tail}"
        )

    def stop(self, name: str) -> bool:
        """Stop one with its children: politely, then firmly. False when it does not run."""
        process = self.running().get(name)
        if process is None:
            return False
        _end(process.pid)
        self._write({other: kept for other, kept in self.running().items() if other != name})
        return True

    def _write(self, processes: dict[str, Running]) -> None:
        fresh = self.path.with_suffix(".part")
        fresh.write_bytes(
            orjson.dumps([asdict(process) for process in processes.values()], option=orjson.OPT_INDENT_2)
        )
        fresh.replace(self.path)


def _alive(process: Running) -> bool:
    try:
        found = psutil.Process(process.pid)
        return abs(found.create_time() - process.created) < 1 and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _end(pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        top = psutil.Process(pid)
        family = [top, *top.children(recursive=True)]
        top.terminate()
        _, left = psutil.wait_procs(family, timeout=STOP_SECONDS)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=5)


def _require_free(name: str, url: str) -> None:
    import socket

    parsed = httpx.URL(url)
    if parsed.port is None:
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((parsed.host, parsed.port))
        except OSError as fault:
            raise ConflictError(
                f"port {parsed.port} for {name} is taken; stop who holds it, or set COUNTERFOIL_*_PORT to another"
            ) from fault
