"""The serving seam: every answer passes through here, and none leaves before its receipt is durable.

A flow makes an `Answer` (bentos/task.py), here or in an answering process (bentos/answerers.py); the seam gives it an id, writes
the receipt, and only then responds. An answer that cannot be recorded is a 503. No endpoint writes a receipt itself, and no
endpoint answers around the seam.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from bentos import inner
from bentos.caller import CHAMPION, Caller
from bentos.metrics import Meter
from bentos.release import Pointer, Released
from bentos.task import UNRECORDED, Flow, Made, Task, compute, refused
from counterfoil.errors import UnavailableError
from counterfoil.receipts import Receipts

log = logging.getLogger(__name__)
WAITING = 64
RECORD_SECONDS = 5.0


class Answering(Protocol):
    """Whoever computes answers."""

    async def make(self, task: Task) -> Made:
        """Return the answer to a task, or why there is none; raises nothing."""

    async def open(self) -> None:
        """Be ready to answer."""

    def close(self) -> None:
        """End what was begun; what is being computed is not waited for."""


class InThread:
    """Answer in this process, by one thread: one core's worth of arithmetic, while the event loop reads, writes and waits."""

    def __init__(self, flows: Mapping[str, Flow]) -> None:
        self.flows = flows
        self._answering = ThreadPoolExecutor(1, thread_name_prefix="answering")

    async def make(self, task: Task) -> Made:
        """Return the answer to a task, in its turn."""
        return await asyncio.get_running_loop().run_in_executor(self._answering, compute, self.flows, task)

    async def open(self) -> None:
        """Nothing is to be done."""

    def close(self) -> None:
        """Let the thread end."""
        self._answering.shutdown(wait=False)


class Seam:
    """Have requests answered, and record each answer before it leaves."""

    def __init__(
        self,
        receipts: Receipts,
        use_case: str,
        released: Released | Pointer,
        clock: Callable[[], datetime],
        answering: Answering,
        *,
        record_seconds: float = RECORD_SECONDS,
    ) -> None:
        self.receipts, self.use_case, self.clock, self.answering = receipts, use_case, clock, answering
        self.pointer = released if isinstance(released, Pointer) else Pointer(released)
        self.record_seconds = record_seconds
        self.meter = Meter()
        self._waiting = 0

    async def answered(
        self, request: Request, caller: Caller = CHAMPION, route: str = "recommend"
    ) -> Response:
        """Answer a request by the flow of a route; `bentos.task.compute` says with which statuses.

        503 besides when no receipt can be kept, or too many wait.
        """
        began = time.perf_counter()
        made, id = await self._made(await request.body(), caller, route)
        if made.status != 200:
            self.meter.failed(route, str(made.status))
            return sent(made)
        whole_ms = (time.perf_counter() - began) * 1e3
        self.meter.answered(route, made.stages_ms, whole_ms, made.items, made.degraded)
        return sent(made, self._headers(made, id))

    async def _made(self, body: bytes, caller: Caller, route: str) -> tuple[Made, str]:
        if self._waiting >= WAITING:
            return refused(503, "busy", f"{WAITING} requests wait already; ask again shortly"), ""
        self._waiting += 1
        try:
            task = self._task(body, caller, route)
            made = await self.answering.make(task)
        finally:
            self._waiting -= 1
        return (await self._recorded(made, task.receipt) if made.status == 200 else made), task.receipt

    def _task(self, body: bytes, caller: Caller, route: str) -> Task:
        now, released = self.clock(), self.pointer.now()
        return Task(
            route=route,
            body=body,
            time=now,
            receipt=self.receipts.new_id(now),
            use_case=self.use_case,
            release=released.release,
            epoch=released.epoch,
            bento=released.bento,
            arm=caller.arm,
            propensity=caller.propensity,
            until=caller.until,
        )

    async def _recorded(self, made: Made, id: str) -> Made:
        try:
            async with asyncio.timeout(self.record_seconds):
                await asyncio.wrap_future(self.receipts.put(id, made.payload))
        except (UnavailableError, TimeoutError) as fault:
            log.error("an answer could not be recorded: %s", fault or "the disk is slow")
            return refused(503, "unrecorded", UNRECORDED)
        return made

    def _headers(self, made: Made, id: str) -> dict[str, str]:
        """Return what the gateway reads of an answer without parsing it."""
        headers = {
            inner.RECEIPT: id,
            inner.RELEASE: self.pointer.released.release,
            inner.ITEMS: str(made.items),
        }
        if made.degraded:
            headers[inner.DEGRADED] = str(len(made.degraded))
        return headers


def sent(made: Made, headers: Mapping[str, str] | None = None) -> Response:
    """Return the response that a made answer is."""
    if made.status == 503:
        headers = {**(headers or {}), "Retry-After": "1"}
    return Response(made.body, made.status, headers, "application/json")


def failure(status: int, kind: str, message: str) -> Response:
    """Return an error in the one shape that errors have here."""
    return sent(refused(status, kind, message))
