"""A collector as a process of its own: started, asked, killed."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from bentos import inner
from bentos.routes import Route, Routes, write

SECONDS = 40.0


def event(number: int, **changes: Any) -> dict[str, Any]:
    """Return an event as a shop sends one: what happened is a minute ago, and a millisecond later for each number."""
    moment = datetime.now(UTC) - timedelta(minutes=1) + timedelta(milliseconds=number)
    plain = {
        "id": f"e{number}",
        "time": moment.isoformat(),
        "person": f"person {number % 7}",
        "kind": "click",
        "session": f"visit {number % 7}",
        "item": f"i{number % 40:03d}",
    }
    return {name: value for name, value in {**plain, **changes}.items() if value is not None}


class Running:
    """A collector that runs, and a client that its gateway would be."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, home: Path) -> None:
        self.process, self.port, self.home = process, port, home
        headers = {inner.TOKEN: inner.read_token(home / "run")}
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=20)

    def post(self, *events: dict[str, Any]) -> dict[str, Any]:
        """Send events, one as it is, more as a batch; return the answer, which must be 200."""
        body = events[0] if len(events) == 1 else {"events": list(events)}
        answer = self.client.post("/events", json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def kill(self) -> None:
        """End it as a loss of power would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def visible(self, seconds: float = SECONDS) -> None:
        """Wait until the view holds all that is durable."""
        until = time.monotonic() + seconds
        while self.client.get("/readyz").json()["behind_seconds"]:
            assert time.monotonic() < until, "what happened does not become visible"
            time.sleep(0.05)


@contextmanager
def collector(home: Path, *, limit: int | None = None) -> Iterator[Running]:
    """Run a collector on a home, its address among the routes; `limit` bounds the bytes of any file that it writes."""
    port = free_port()
    command = [sys.executable, "-m", "bentos.collector", "--port", str(port)]
    if limit is not None:
        command = ["prlimit", f"--fsize={limit}", *command]
    inner.make_token(home / "run")
    url = f"http://127.0.0.1:{port}"
    champion = Route(release="none", bento="none", epoch=1, url=url, stage="champion")
    write(Routes(use_case="small", epoch=1, champion=champion, collector=url), home / "run" / "routes.json")
    with (home / "collector.log").open("ab") as log:
        environment = {**os.environ, "COUNTERFOIL_HOME": str(home)}
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    running = Running(process, port, home)
    try:
        _await(running)
        yield running
    finally:
        running.client.close()
        process.terminate()
        process.wait(20)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _await(running: Running) -> None:
    until = time.monotonic() + SECONDS
    while True:
        try:
            running.client.get("/livez").raise_for_status()
            return
        except httpx.HTTPError:
            assert running.process.poll() is None, (running.home / "collector.log").read_text()
            assert time.monotonic() < until
            time.sleep(0.1)
