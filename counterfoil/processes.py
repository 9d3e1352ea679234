"""Processes of this installation on this machine: started, found again, and stopped; never anybody else's.

A process is known by its id and the moment it was created: an id that the system gave to somebody else later is left alone.
"""

import contextlib
import secrets
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import httpx
import orjson
import psutil
from filelock import FileLock

from counterfoil import settings
from counterfoil.errors import ConflictError, IntegrityError, UnavailableError
from counterfoil.files import write_durably

STOP_SECONDS = 15.0
MARK = "COUNTERFOIL_PROCESS"


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """One process: its name, id, moment of creation (seconds since 1970), where it answers, what it serves, where it logs."""

    name: str
    pid: int
    created: float
    url: str
    detail: str
    log: str
    mark: str = ""  # while it is being started: what it carries in its environment


class Processes:
    """The processes of one home, remembered in `processes.json`."""

    def __init__(self, home: Path):
        self.home = home
        self.path = home / "processes.json"

    def running(self) -> dict[str, Running]:
        """Return those that live, by name; also one whose starter died before it could remember which it is."""
        known = [_found(process) if process.mark else process for process in self._known()]
        return {process.name: process for process in known if lives(process.pid, process.created)}

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        url: str,
        detail: str = "",
        env: Mapping[str, str] | None = None,
    ) -> Running:
        """Start a process of its own session, and remember it. `env` is its whole environment; by default it has ours.

        ConflictError when one of that name runs, or its port is taken; UnavailableError when there is no such program.
        """
        with FileLock(self.home / "processes.lock"):
            current = self.running()
            if name in current:
                raise ConflictError(
                    f"{name} runs already, as process {current[name].pid}; stop it with `counterfoil down`"
                )
            mark = secrets.token_hex(16)
            marked = {**(settings.inherited() if env is None else env), MARK: mark}
            log = str(self.home / "logs" / f"{name}.log")
            # What is about to be: whoever comes after this process finds the child by its mark, should it die in between.
            self._write(
                {
                    **current,
                    name: Running(name=name, pid=0, created=0.0, url=url, detail=detail, log=log, mark=mark),
                }
            )
            started = self._spawn(name, command, url, detail, marked)
            self._write({**current, name: started})
        return started

    def _spawn(
        self, name: str, command: Sequence[str], url: str, detail: str, env: Mapping[str, str] | None
    ) -> Running:
        _require_free(name, url)
        log = self.home / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with log.open("ab") as file:
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=file,
                    env=env,
                    start_new_session=True,
                )
        except OSError as fault:
            raise UnavailableError(f"{name} cannot be started: {fault}; is the environment whole?") from fault
        created = psutil.Process(child.pid).create_time()
        return Running(name=name, pid=child.pid, created=created, url=url, detail=detail, log=str(log))

    def await_answer(
        self, started: Running, path: str, seconds: float, ready: Callable[[httpx.Response], bool]
    ) -> None:
        """Wait until the process answers; UnavailableError with the end of its log when it died or took too long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if not lives(started.pid, started.created):
                break
            with contextlib.suppress(httpx.HTTPError):
                if ready(httpx.get(started.url + path, timeout=5)):
                    return
            time.sleep(0.1)
        tail = "\n".join(Path(started.log).read_text(errors="replace").splitlines()[-5:])
        raise UnavailableError(
            f"{started.name} does not answer at {started.url}{path}; its log {started.log} ends with: {tail}"
        )

    def dismiss(self, name: str) -> bool:
        """Ask one to end, and do not wait for it. False when it does not run."""
        process = self.running().get(name)
        if process is None:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(process.pid).terminate()
        return True

    def stop(self, name: str, patience_seconds: float = STOP_SECONDS) -> bool:
        """Stop one with its children, but for those that have a name of their own: politely, then firmly.

        False when it does not run.
        """
        with FileLock(self.home / "processes.lock"):
            running = self.running()
            process = running.pop(name, None)
            if process is None:
                return False
            end(process.pid, patience_seconds, {other.pid for other in running.values()})
            self._write({other: kept for other, kept in self.running().items() if other != name})
        return True

    def _known(self) -> list[Running]:
        if not self.path.is_file():
            return []
        try:
            return [Running(**row) for row in orjson.loads(self.path.read_bytes())]
        except (ValueError, TypeError) as fault:
            raise IntegrityError(
                f"{self.path} is not a list of processes ({fault}); end by hand what still runs, then remove the file"
            ) from fault

    def _write(self, processes: dict[str, Running]) -> None:
        rows = [asdict(process) for process in processes.values()]
        write_durably(self.path, orjson.dumps(rows, option=orjson.OPT_INDENT_2))


def _found(process: Running) -> Running:
    """Return a process whose start was not remembered to its end: the eldest that carries its mark, or as it was."""
    found = [one for one in psutil.process_iter() if _carries(one, process.mark)]
    if not found:
        return process
    first = min(found, key=lambda one: one.create_time())
    return replace(process, pid=first.pid, created=first.create_time())


def _carries(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(MARK) == mark
    except (psutil.Error, OSError):
        return False


def lives(pid: int, created: float) -> bool:
    """Say whether the process of that id and that moment of creation still runs."""
    if not pid:
        return False
    try:
        found = psutil.Process(pid)
        return abs(found.create_time() - created) < 1 and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end(pid: int, patience_seconds: float = STOP_SECONDS, spare: Collection[int] = ()) -> None:
    """End a process and its children: politely, then firmly. Those in `spare` are let be, with all that is below them."""
    with contextlib.suppress(psutil.NoSuchProcess):
        top = psutil.Process(pid)
        family = [top, *_below(top, spare)]
        top.terminate()
        _, left = psutil.wait_procs(family, timeout=patience_seconds)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=5)


def _below(top: psutil.Process, spare: Collection[int]) -> Iterator[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in top.children():
            if child.pid not in spare:
                yield child
                yield from _below(child, spare)


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
