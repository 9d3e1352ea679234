"""What is measured, and how: each measure gives the values of several runs; the caller takes the median."""

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import psutil

from bentos import inner
from counterfoil import canonical
from counterfoil.errors import UnavailableError
from counterfoil.processes import Processes
from counterfoil.types import Bento, Dataset, Release
from flows import machine
from flows.place import Place

RUNS = 3
WARM_UP, ANSWERS = 50, 500
COUNTERFOIL = str(Path(sys.executable).parent / "counterfoil")

# Lands The Complete Journey into an empty home and validates every day of it; prints events and seconds.
LAND_AND_VALIDATE = """
import time
from flows.place import open_place
from counterfoil.importers import open_source
from counterfoil.landing import land
from flows import verbs
from flows.gate import validate_days, warm
from flows.running import as_of_or_latest
place = open_place()
started = time.perf_counter()
warm()
landed = land(open_source("complete-journey"), place.settings)
days = verbs.days(place, as_of_or_latest(place, None))
verbs.require(place, validate_days(place.settings.landing, days))
print(landed.landed, time.perf_counter() - started)
"""


def turn_the_loop(place: Place) -> None:
    """Run `counterfoil demo` when nothing serves in this home yet, its progress shown; UnavailableError when that fails."""
    if place.catalog.champion("recommendation"):
        return
    sys.stderr.write(f"nothing serves in {place.settings.home} yet: turning the loop first ...\n")
    if code := subprocess.run([COUNTERFOIL, "demo"], stdout=sys.stderr, check=False).returncode:
        raise UnavailableError(
            f"`counterfoil demo` ended with {code}; nothing can be measured before it works"
        )


def land_and_validate(place: Place) -> list[float]:
    """Return events per second, imports of Great Expectations included, each run in a process and a home of its own."""
    return [_land_and_validate() for _ in range(RUNS)]


def _land_and_validate() -> float:
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [sys.executable, "-c", LAND_AND_VALIDATE],
            env=os.environ | {"COUNTERFOIL_HOME": home},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise UnavailableError(f"landing failed: {done.stderr[-500:]}")
    events, seconds = done.stdout.split()[-2:]
    return float(events) / float(seconds)


def run_again(place: Place) -> list[float]:
    """Return the seconds of `counterfoil run recommendation` as a process, when nothing has changed."""
    command = [COUNTERFOIL, "run", "recommendation"]
    subprocess.run(
        command, capture_output=True, check=True
    )  # this one may have something to do; from here on nothing has
    seconds = []
    for _ in range(RUNS):
        started = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        seconds.append(time.perf_counter() - started)
    return seconds


def answer_p50(place: Place) -> list[float]:
    """Return milliseconds of answers at p50, over HTTP, the service held to one core."""
    return [_percentile(answers, 0.5) for answers in _answers(place)]


def answer_p99(place: Place) -> list[float]:
    """Return milliseconds of answers at p99."""
    return [_percentile(answers, 0.99) for answers in _answers(place)]


def _percentile(sorted_ms: list[float], share: float) -> float:
    return sorted_ms[min(len(sorted_ms) - 1, int(len(sorted_ms) * share))]


def _champion(place: Place) -> Release:
    """Return who answers in this home; UnavailableError when the loop has not been turned in it."""
    release = place.catalog.champion("recommendation")
    if release is None:
        raise UnavailableError(f"nothing serves in {place.settings.home} yet; run `make demo`")
    return release


def _answers(place: Place) -> list[list[float]]:
    """Return, per run, sorted milliseconds of answers for different households, one after another on one connection."""
    release = _champion(place)
    processes = Processes(place.settings.home)
    before = processes.running()
    running = machine.serve(place, release)
    try:
        for thread in psutil.Process(running.pid).threads():
            os.sched_setaffinity(thread.id, {0})
        token = inner.make_token(place.settings.run)
        return [_ask(running.url, _present(place, release.bento), token) for _ in range(RUNS)]
    finally:
        if running.name not in before:
            processes.stop(running.name)


def _ask(url: str, present: str, token: str) -> list[float]:
    took_ms = []
    # The plainest client there is: what a richer one does in between is not the service's time.
    place = urlsplit(url)
    client = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
    client.connect()
    client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with closing(client):
        for number in range(WARM_UP + ANSWERS):
            body = {"person": str(number % 2000 + 1), "n": 10, "context": {"time": present}}
            asked, headers = json.dumps(body), {"Content-Type": "application/json", inner.TOKEN: token}
            started = time.perf_counter()
            client.request("POST", "/recommend", asked, headers)
            reply = client.getresponse()
            said = reply.read()
            took_ms.append((time.perf_counter() - started) * 1000)
            if reply.status != 200:
                raise UnavailableError(f"the service answered {reply.status}: {said[:200]!r}")
    return sorted(took_ms[WARM_UP:])


def _present(place: Place, bento: str) -> str:
    noun = place.catalog.get(bento)
    assert isinstance(noun, Bento)
    dataset = place.catalog.get(noun.dataset)
    assert isinstance(dataset, Dataset)
    return canonical.utc_text(dataset.as_of)


FIGURES: tuple[tuple[str, str, float, Literal["more", "less"], Callable[[Place], list[float]]], ...] = (
    ("landing and validating together", "events/s", 100_000.0, "more", land_and_validate),
    ("run again with nothing changed", "s", 5.0, "less", run_again),
    ("one answer over HTTP, one core, p50", "ms", 15.0, "less", answer_p50),
    ("one answer over HTTP, one core, p99", "ms", 60.0, "less", answer_p99),
)
