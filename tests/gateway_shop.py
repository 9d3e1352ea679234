"""A gateway as a real process before services as real processes, for the tests of it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson

from bentos import inner, routes
from bentos.gateway import stats
from bentos.package import Packaged
from bentos.routes import Route, Routes
from tests.bento_shop import make_bento, settings_of

ROOT = Path(__file__).resolve().parents[1]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@dataclass
class Shop:
    """One home with its processes."""

    home: Path
    token: str
    port: int
    env: dict[str, str]
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)  # of real bentos, by name

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def inside(self) -> dict[str, str]:
        return {inner.TOKEN: self.token}

    def service(self, name: str) -> str:
        """Start a service; return its URL."""
        port = self.ports.setdefault(name, free_port())
        line = [sys.executable, str(ROOT / "tests" / "gateway_service.py"), str(port), name, self.token]
        self.processes[name] = subprocess.Popen(line, env={**os.environ, "PYTHONPATH": str(ROOT)})
        await_url(f"http://127.0.0.1:{port}/readyz", self.processes[name])
        return f"http://127.0.0.1:{port}"

    def bento(self, name: str = "bento") -> Packaged:
        """Package the small shop's bento and start its real service as `release-NAME`; the online store is empty."""
        packaged = make_bento(self.home / "made", settings_of(self.home))
        pointer = self.home / f"{name}.json"
        pointer.write_bytes(orjson.dumps({"release": f"release-{name}", "epoch": 1, "bento": packaged.tag}))
        self.ports[name], self.tags[name] = free_port(), packaged.tag
        self.begin_bento(name, packaged)
        return packaged

    def begin_bento(self, name: str, packaged: Packaged) -> None:
        """Start that service on its port."""
        line = [sys.executable, "-m", "bentos.serve", "--bento", str(packaged.path)]
        line += ["--release-file", str(self.home / f"{name}.json"), "--port", str(self.ports[name])]
        self.processes[name] = subprocess.Popen(line, env=self.env, cwd=ROOT)
        await_url(f"http://127.0.0.1:{self.ports[name]}/readyz", self.processes[name])

    def collector(self, port: int | None = None) -> None:
        """Start the real collector."""
        port = self.ports["collector"] = port or free_port()
        line = [sys.executable, "-m", "bentos.collector", "--port", str(port)]
        self.processes["collector"] = subprocess.Popen(line, env=self.env, cwd=ROOT)
        await_url(f"http://127.0.0.1:{port}/livez", self.processes["collector"])

    def behave(self, name: str, **how: Any) -> None:
        httpx.post(f"http://127.0.0.1:{self.ports[name]}/behave", json=how).raise_for_status()

    def seen(self, name: str) -> list[dict[str, Any]]:
        return httpx.get(f"http://127.0.0.1:{self.ports[name]}/seen").json()["seen"]

    def route(self, name: str, stage: str = "champion", epoch: int = 1, **more: Any) -> Route:
        url = f"http://127.0.0.1:{self.ports[name]}"
        bento = self.tags.get(name, f"{name}:1")
        return Route(release=f"release-{name}", bento=bento, epoch=epoch, url=url, stage=stage, **more)  # type: ignore[arg-type]

    def release(self, epoch: int, champion: Route, challenger: Route | None = None) -> None:
        """Write the routes, and wait until the gateway has taken them when it runs; events go to `collector` if there is one."""
        port = self.ports.get("collector")
        told = Routes(
            use_case="recommendation",
            epoch=epoch,
            champion=champion,
            challenger=challenger,
            collector=None if port is None else f"http://127.0.0.1:{port}",
        )
        routes.write(told, self.home / "run" / routes.FILE)
        if "gateway" in self.processes:
            wait_for(lambda: httpx.get(f"{self.url}/-/routes", headers=self.inside).json()["epoch"] == epoch)

    def gateway(self, **env: str) -> None:
        """Start the gateway."""
        line = [sys.executable, "-m", "bentos.gateway"]
        self.processes["gateway"] = subprocess.Popen(
            line, env={**self.env, **env}, cwd=ROOT, stderr=(self.home / "gateway.log").open("ab")
        )
        await_url(f"{self.url}/livez", self.processes["gateway"])

    def stats(self) -> stats.Stats:
        return stats.read(httpx.get(f"{self.url}/-/stats", headers=self.inside).content)

    def kill(self, name: str) -> None:
        """kill -9."""
        self.processes[name].kill()
        self.processes[name].wait()

    def log(self) -> str:
        return (self.home / "gateway.log").read_text()


@contextmanager
def shop(home: Path, **env: str) -> Iterator[Shop]:
    """A home with a token; whatever is started in it is ended with it."""
    home.mkdir(parents=True, exist_ok=True)
    port = free_port()
    made = Shop(
        home=home,
        token=inner.make_token(home / "run"),
        port=port,
        env={**os.environ, "COUNTERFOIL_HOME": str(home), "COUNTERFOIL_GATEWAY_PORT": str(port), **env},
    )
    try:
        yield made
    finally:
        for process in made.processes.values():
            process.kill()
            process.wait()


def await_url(url: str, process: "subprocess.Popen[bytes]") -> None:
    def answers() -> bool:
        assert process.poll() is None, "the process ended before it answered"
        try:
            return httpx.get(url).status_code == 200
        except httpx.TransportError:
            return False

    wait_for(answers, 120)


def wait_for(holds: Any, seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it did not come about in time"
        time.sleep(0.02)
