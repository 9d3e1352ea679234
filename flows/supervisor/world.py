"""What the supervisor does to the world, as a value: each function is one effect, after which it may die.

Tests hand it another world, or one that kills the process at the Nth effect.
"""

import contextlib
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson

from bentos import inner, routes
from bentos.release import Released
from counterfoil import settings
from counterfoil.files import write_durably
from counterfoil.processes import Processes, Running
from counterfoil.settings import Settings

GATEWAY, COLLECTOR = "gateway", "collector"  # names of their processes
ASK_SECONDS = 2.0
WARM_SECONDS = 5.0
QUESTIONS = 3


@dataclass(frozen=True, kw_only=True)
class World:
    """The effects. `fetch` gives the body of a GET and `ask` its JSON, None when nobody answers 200.

    `warm` asks a service a few questions.
    """

    running: Callable[[], dict[str, Running]]
    start: Callable[[str, Sequence[str], str, str], Running]
    dismiss: Callable[[str], bool]
    kill: Callable[[str], bool]
    ask: Callable[[str, str], dict[str, Any] | None]
    fetch: Callable[[str], bytes | None]
    warm: Callable[[str], bool]
    point: Callable[[Path, Released], None]
    route: Callable[[Path, routes.Routes], None]
    free_port: Callable[[int, set[int]], int]
    clock: Callable[[], float]


def world_of(current: Settings) -> World:
    """Return the effects on this machine."""
    processes = Processes(current.home)
    token = inner.make_token(current.run)
    client = httpx.Client(headers={inner.TOKEN: token}, trust_env=False)
    env = settings.of_children(current)

    def start(name: str, command: Sequence[str], url: str, detail: str) -> Running:
        return processes.start(name, command, url=url, detail=detail, env=env)

    return World(
        running=processes.running,
        start=start,
        dismiss=processes.dismiss,
        kill=lambda name: processes.stop(name, 0.0),
        ask=lambda url, path: _ask(client, url + path),
        fetch=lambda url: fetch(client, url),
        warm=lambda url: warm(client, url),
        point=_point,
        route=lambda path, table: routes.write(table, path),
        free_port=_free_port,
        clock=time.monotonic,
    )


def fetch(client: httpx.Client, url: str) -> bytes | None:
    """Return the body of a GET, None when nobody answers 200 in time."""
    try:
        reply = client.get(url, timeout=ASK_SECONDS)
    except httpx.HTTPError:
        return None
    return reply.content if reply.status_code == 200 else None


def _ask(client: httpx.Client, url: str) -> dict[str, Any] | None:
    return object_of(fetch(client, url))


def object_of(content: bytes | None) -> dict[str, Any] | None:
    """Return the JSON object of a body, None where it is none."""
    try:
        told = None if content is None else orjson.loads(content)
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


def warm(client: httpx.Client, url: str) -> bool:
    """Ask as a shadow, so that nobody waits for what is made at the first question. False when anything but an answer comes.

    Nothing is wrong with the question: whoever refuses it would refuse people as well.
    """
    headers = {inner.ARM: "shadow", inner.PROPENSITY: "0"}
    for _ in range(QUESTIONS):
        try:
            reply = client.post(f"{url}/recommend", json={"n": 10}, headers=headers, timeout=WARM_SECONDS)
        except httpx.HTTPError:
            return False
        if reply.status_code != 200:
            return False
    return True


def _point(path: Path, released: Released) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content: Mapping[str, Any] = {
        "release": released.release,
        "epoch": released.epoch,
        "bento": released.bento,
    }
    write_durably(path, orjson.dumps(content))


def _free_port(first: int, taken: set[int]) -> int:
    """Return the first port from there on that nobody listens on."""
    for port in range(first, 65536):
        if port in taken:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    return first
