"""What stands between HTTP and whoever computes answers: how many may wait, what is counted, what a response looks like."""

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Protocol

from starlette.responses import Response

from bentos import inner
from bentos.caller import CHAMPION, Caller, caller_of
from bentos.guard import Application, Receive, Scope, Send
from bentos.metrics import Meter
from bentos.release import Pointer
from bentos.seam import Seam
from bentos.task import Made, Task, refused

WAITING = 128
NO_TIME = "leaves no time; give the milliseconds that are left, 1 or more, or leave it out"


class Answering(Protocol):
    """Whoever computes answers."""

    @property
    def able(self) -> bool:
        """Whether somebody can answer."""

    async def make(self, task: Task) -> Made:
        """Return the answer to a task, or why there is none; raises nothing."""

    async def open(self) -> None:
        """Be ready to answer."""

    async def close(self) -> None:
        """End what was begun."""


class InThread:
    """Answer in this process, by one thread: one core's worth of arithmetic, while the event loop reads and writes."""

    def __init__(self, seam: Seam) -> None:
        self.seam = seam
        self._answering = ThreadPoolExecutor(1, thread_name_prefix="answering")

    @property
    def able(self) -> bool:
        """A thread does not die."""
        return True

    async def make(self, task: Task) -> Made:
        """Return the answer to a task, in its turn."""
        return await asyncio.get_running_loop().run_in_executor(self._answering, self.seam.make, task)

    async def open(self) -> None:
        """Nothing is to be done."""

    async def close(self) -> None:
        """Let the thread end, and close what is written."""
        await asyncio.to_thread(self._answering.shutdown)
        self.seam.receipts.close()


class Front:
    """Have requests answered; `clock` says when one came, `pointer` which release answers."""

    def __init__(self, answering: Answering, pointer: Pointer, clock: Callable[[], datetime]) -> None:
        self.answering, self.pointer, self.clock = answering, pointer, clock
        self.meter = Meter()
        self._waiting = 0

    async def answered(self, body: bytes, caller: Caller = CHAMPION, route: str = "recommend") -> Response:
        """Answer a body by the flow of a route, with the statuses that the seam says.

        422 besides when the caller left no time, 503 when too many wait.
        """
        began = time.perf_counter()
        if caller.gone():  # when it came: nothing here was too slow for it
            made = refused(
                422, "request", f"{inner.DEADLINE}: {NO_TIME}", [{"field": inner.DEADLINE, "reason": NO_TIME}]
            )
        elif self._waiting >= WAITING:
            made = refused(503, "busy", f"{WAITING} requests wait already; ask again shortly")
        else:
            self._waiting += 1
            task = self._task(body, caller, route)
            try:
                made = await self.answering.make(task)
            finally:
                self._waiting -= 1
        bento = {inner.BENTO: self.pointer.released.bento}
        if made.status != 200:
            self.meter.failed(route, str(made.status))
            return sent(made, bento)
        whole_ms = (time.perf_counter() - began) * 1e3
        self.meter.answered(route, made.stages_ms, whole_ms, items=made.items, degraded=made.degraded)
        timing = {inner.TIMING: _timing(made.stages_ms)} if caller.traced else {}
        return sent(made, {**bento, **timing, **_headers(made, task.release)})

    def _task(self, body: bytes, caller: Caller, route: str) -> Task:
        released = self.pointer.now()
        return Task(
            route=route,
            body=body,
            time=self.clock(),
            release=released.release,
            epoch=released.epoch,
            bento=released.bento,
            arm=caller.arm,
            propensity=caller.propensity,
            until=caller.until,
        )


class Questions:
    """ASGI middleware that has questions answered; all else goes on. It stands behind the guard, which hands bodies on whole.

    Nearly every request is a question: to find its route among others, and to wrap it up for that, takes a fifth of all that HTTP
    takes here.
    """

    def __init__(self, app: Application, front: Callable[[], Front], routes: Mapping[str, str]) -> None:
        self.app, self._front, self._routes = app, front, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer POST on a path of `routes`, by the flow of the route that it names."""
        route = self._routes.get(scope["path"]) if scope["type"] == "http" else None
        if route is None or scope["method"] != "POST":
            return await self.app(scope, receive, send)
        body = (await receive())["body"]
        response = await self._front().answered(body, caller_of(scope["headers"]), route)
        return await response(scope, receive, send)


def _headers(made: Made, release: str) -> dict[str, str]:
    """Return what the gateway reads of an answer without parsing it."""
    headers = {inner.RECEIPT: made.receipt, inner.RELEASE: release, inner.ITEMS: str(made.items)}
    if made.degraded:
        headers[inner.DEGRADED] = str(made.degraded)
    return headers


def _timing(stages_ms: Mapping[str, float]) -> str:
    """Return stages as W3C Server Timing tells them, in milliseconds."""
    return ", ".join(f"{stage};dur={took:.3f}" for stage, took in stages_ms.items())


def sent(made: Made, headers: Mapping[str, str] | None = None) -> Response:
    """Return the response that a made answer is."""
    more = {**(headers or {})}
    if made.status == 503:
        more["Retry-After"] = "1"
    if made.waited_ms is not None:
        more[inner.WAITED] = f"{made.waited_ms:.1f}"
    return Response(made.body, made.status, more, "application/json")


def failure(status: int, kind: str, message: str) -> Response:
    """Return an error in the one shape that errors have here."""
    return sent(refused(status, kind, message))
