"""What the tests of releases under traffic share: the small shop's quick rollout, bentos with faults in them, and traffic."""

import contextlib
import http.client
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import orjson

from bentos import inner, manifest
from bentos.bundle import tag_of
from counterfoil.types import Bento, Candidate, Release, Rollout
from flows import steer, verbs
from flows.place import Place
from flows.verbs import bento_folder
from tests.loop_shop import small_case

STAGE_SECONDS = "STAGE_SECONDS"  # a variable that a supervisor inherits
STEPS = Rollout(
    stage_seconds=float(os.environ.get(STAGE_SECONDS, "3")), stage_requests=30, shares=(0.2,),
    patience_seconds=60.0, watch_seconds=20.0, max_latency=2.5,
)  # fmt: skip
CASE = small_case(rollout=STEPS)
PEOPLE = 2000
# Put at the end of a bento's worker: every answer goes through it.
FAULT = """

_create = create


def create(*args, **options):
    import asyncio, random
    inside = _create(*args, **options)

    async def faulty(scope, receive, send):
        if scope["type"] != "http" or scope["path"] != "/recommend":
            return await inside(scope, receive, send)
        if {errors} > random.random():
            await send({{"type": "http.response.start", "status": 500, "headers": [(b"content-type", b"application/json")]}})
            return await send({{"type": "http.response.body", "body": b'{{"error": "broken"}}'}})
        await asyncio.sleep({seconds})

        async def sends(message):
            if {empty} and message["type"] == "http.response.start":
                headers = [(k, b"0" if k == b"x-counterfoil-items" else v) for k, v in message["headers"]]
                message = {{**message, "headers": headers}}
            await send(message)

        await inside(scope, receive, sends)

    return faulty
"""


def faulty(
    place: Place, of: Release, *, errors: float = 0.0, seconds: float = 0.0, empty: bool = False
) -> Bento:
    """Make and record a bento like that of a release, whose answers fail, take longer or say that they are empty."""
    folder = place.settings.bentos / "bentos" / "small"
    fresh = shutil.copytree(bento_folder(place, of.tag), folder / "fresh")
    worker = fresh / "src" / "bentos" / "worker.py"
    worker.write_text(worker.read_text() + FAULT.format(errors=errors, seconds=seconds, empty=empty))
    sha256 = manifest.write(fresh / "src")
    fresh.rename(bento_folder(place, tag_of("small", sha256)))
    loser = next(one for one in place.catalog.find(Candidate, "small") if one.family == "popularity")
    made = Bento(
        use_case="small", candidate=loser.id, dataset=loser.dataset, tag=tag_of("small", sha256), sha256=sha256,
        feature_service=CASE.features.service, code_version="test",
    )  # fmt: skip
    parents = [("candidate", loser.id), ("dataset", loser.dataset)]
    place.catalog.record("package", f"test {sha256}", [made], parents, [], 0.0)
    return made


def release(place: Place, bento: Bento, stage: str, share: float | None = None) -> Release:
    """Release a bento by hand."""
    candidate = place.catalog.get(bento.candidate)
    assert isinstance(candidate, Candidate)
    evaluation = steer.measured(place, candidate)
    from datetime import UTC, datetime

    from flows.champion import to_beat

    beaten = to_beat(place, "small", {candidate.id})
    decision = verbs.decided(
        CASE, evaluation, candidate, beaten, "test", datetime.now(UTC), (f"test of {stage}",), stage, share  # type: ignore[arg-type]
    )  # fmt: skip
    nouns = steer.behind(place, evaluation, candidate, beaten, bento)
    return steer.switch(place, CASE, decision, nouns, bento)[1]


@dataclass
class Traffic:
    """What came back: statuses, who answered whom, how many asked."""

    statuses: Counter[int] = field(default_factory=Counter)
    answered: dict[str, list[str]] = field(default_factory=dict)
    releases: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


@contextmanager
def traffic(url: str, per_second: float = 100.0, threads: int = 4) -> Iterator[Traffic]:
    """Ask the gateway for one person after another, so many times a second in all, until the block ends."""
    seen, over = Traffic(), threading.Event()
    lock = threading.Lock()
    host = url.removeprefix("http://")

    def ask(number: int) -> None:
        connection = http.client.HTTPConnection(host, timeout=10)
        due, who = time.monotonic(), number
        while not over.is_set():
            due += threads / per_second
            who += threads
            person = f"person {who % PEOPLE}"
            body = orjson.dumps({"person": person, "n": 3, "context": {"time": "2024-01-25T00:00:00Z"}})
            try:
                connection.request("POST", "/recommend", body, {"content-type": "application/json"})
                reply = connection.getresponse()
                said = reply.read()
                with lock:
                    seen.statuses[reply.status] += 1
                    name = reply.headers.get(inner.RELEASE, "nobody")
                    seen.releases[name] += 1
                    seen.answered.setdefault(person, []).append(name)
                    if reply.status != 200:
                        seen.failures.append(f"{reply.status} {said[:200]!r}")
            except (OSError, http.client.HTTPException) as fault:
                with lock:
                    seen.statuses[0] += 1
                    seen.failures.append(repr(fault))
                connection.close()
            over.wait(max(0.0, due - time.monotonic()))
        with contextlib.suppress(OSError):
            connection.close()

    with at_once(ask, threads, over):
        yield seen


@contextmanager
def at_once(ask: Callable[[int], None], count: int, over: threading.Event) -> Iterator[None]:
    """Let so many threads ask, each by its number, until the block ends; `over` tells them."""
    askers = [threading.Thread(target=ask, args=(number,)) for number in range(count)]
    for asker in askers:
        asker.start()
    try:
        yield
    finally:
        over.set()
        for asker in askers:
            asker.join()
