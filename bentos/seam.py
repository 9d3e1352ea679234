"""The serving seam: every answer passes through here, and none leaves before its receipt is durable.

A flow makes an `Answer`; the seam gives it an id, writes the receipt, and only then responds. An answer that cannot be
recorded is a 503. No endpoint writes a receipt itself, and no endpoint answers around the seam.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from bentos import inner
from bentos.caller import CHAMPION, Caller
from bentos.guard import error_body
from bentos.metrics import Meter
from bentos.release import Pointer, Released
from counterfoil.errors import InputError, UnavailableError, UnknownError
from counterfoil.receipts import Receipts
from counterfoil.types import Receipt, ReceiptItem

log = logging.getLogger(__name__)
WAITING = 64
RECORD_SECONDS = 5.0
NONCE_BYTES = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a flow made of a request, not yet recorded. `titles` belong to `items`, one each.

    `explored` names items that stand where they do by chance, with that chance; `nonce` is what that was drawn by.
    """

    person: str
    request: dict[str, Any]
    items: tuple[ReceiptItem, ...]
    titles: tuple[str, ...]
    rules: tuple[str, ...]
    features: dict[str, Any]
    feature_time: datetime | None
    degraded: tuple[str, ...]
    stages_ms: dict[str, float]
    explored: dict[str, float] = field(default_factory=dict)
    nonce: str = ""


class Late(Exception):
    """Nobody waits for the answer any more."""


class FieldFault(InputError):
    """A request that does not fit its contract: which fields, and why."""

    def __init__(self, fields: list[dict[str, str]]) -> None:
        super().__init__("; ".join(f"{fault['field']}: {fault['reason']}" for fault in fields))
        self.fields = fields


Flow = Callable[[bytes, datetime], Answer]


class Seam:
    """Answer requests by a flow, one at a time, and record each answer before it leaves."""

    def __init__(
        self,
        receipts: Receipts,
        use_case: str,
        released: Released | Pointer,
        clock: Callable[[], datetime],
        *,
        record_seconds: float = RECORD_SECONDS,
    ) -> None:
        self.receipts, self.use_case, self.clock = receipts, use_case, clock
        self.pointer = released if isinstance(released, Pointer) else Pointer(released)
        self.record_seconds = record_seconds
        self.meter = Meter()
        # One thread answers: one core's worth of arithmetic, while the event loop reads, writes and waits for the disk.
        self._answering = ThreadPoolExecutor(1, thread_name_prefix="answering")
        self._waiting = 0

    async def answered(
        self, flow: Flow, request: Request, caller: Caller = CHAMPION, route: str = "recommend"
    ) -> Response:
        """Answer a request by `flow`: 422 with the fields that are wrong, 404 for an item that is not there.

        503 when no receipt can be kept, 504 when nobody waits any more: then it is not computed.
        """
        began = time.perf_counter()
        response, answer = await self._answered(flow, request, caller)
        if answer is None:
            self.meter.failed(route, str(response.status_code))
        else:
            whole_ms = (time.perf_counter() - began) * 1e3
            self.meter.answered(route, answer.stages_ms, whole_ms, len(answer.items), answer.degraded)
        return response

    async def _answered(self, flow: Flow, request: Request, caller: Caller) -> tuple[Response, Answer | None]:
        """Return the response, and the answer where there is one."""
        body = await request.body()
        if self._waiting >= WAITING:
            return failure(503, "busy", f"{WAITING} requests wait already; ask again shortly"), None
        self._waiting += 1
        try:
            now = self.clock()
            answer = await asyncio.get_running_loop().run_in_executor(
                self._answering, _awaited, flow, body, now, caller
            )
        except Exception as fault:
            return _failed(fault), None
        finally:
            self._waiting -= 1
        return await self._recorded(answer, now, caller)

    async def _recorded(
        self, answer: Answer, now: datetime, caller: Caller
    ) -> tuple[Response, Answer | None]:
        receipt = self._receipt(answer, now, caller)
        try:
            durable = asyncio.wrap_future(self.receipts.submit(receipt))
            body = response_body(receipt, answer.titles)  # while the disk works
            async with asyncio.timeout(self.record_seconds):
                await durable
        except (UnavailableError, TimeoutError, ValueError, TypeError) as fault:
            log.error("an answer could not be recorded: %s", fault or "the disk is slow")
            said = "the answer could not be recorded, so it is not given; ask again"
            return failure(503, "unrecorded", said), None
        return Response(body, headers=_headers(receipt), media_type="application/json"), answer

    def _receipt(self, answer: Answer, now: datetime, caller: Caller) -> Receipt:
        released = self.pointer.now()
        return Receipt(
            id=self.receipts.new_id(now),
            time=now,
            use_case=self.use_case,
            release=released.release,
            bento=released.bento,
            epoch=released.epoch,
            person=answer.person,
            request=answer.request,
            items=answer.items,
            rules=answer.rules,
            features=answer.features,
            feature_time=answer.feature_time,
            degraded=answer.degraded,
            arm=caller.arm,
            propensity=caller.propensity,
            stages_ms=answer.stages_ms,
            nonce=answer.nonce or secrets.token_hex(NONCE_BYTES),
            explored=answer.explored,
        )


def _awaited(flow: Flow, body: bytes, now: datetime, caller: Caller) -> Answer:
    """Answer, if anybody still waits: asked when the turn comes, since waiting for it may have taken long."""
    if caller.gone():
        raise Late
    return flow(body, now)


def _failed(fault: Exception) -> Response:
    """Return what is said of a request that has no answer. The reason for a 500 is in the log, and in it alone."""
    if isinstance(fault, FieldFault):
        return failure(422, "request", str(fault), fault.fields)
    if isinstance(fault, UnknownError):
        return failure(404, "unknown", str(fault))
    if isinstance(fault, Late):
        return failure(
            504, "late", f"the time that {inner.DEADLINE} gave was over before it was this request's turn"
        )
    log.error("a request failed", exc_info=fault)
    return failure(500, "fault", "the service failed on this request; its log says why")


def _headers(receipt: Receipt) -> dict[str, str]:
    """Return what the gateway reads of an answer without parsing it."""
    headers = {
        inner.RECEIPT: receipt.id,
        inner.RELEASE: receipt.release,
        inner.ITEMS: str(len(receipt.items)),
    }
    if receipt.degraded:
        headers[inner.DEGRADED] = str(len(receipt.degraded))
    return headers


def response_body(receipt: Receipt, titles: tuple[str, ...]) -> bytes:
    """Return what the caller gets of a recorded answer."""
    return orjson.dumps(
        {
            "items": [
                {
                    "item": item.item,
                    "title": title,
                    "score": item.score,
                    "sources": item.sources,
                    "reasons": item.reasons,
                }
                for item, title in zip(receipt.items, titles, strict=True)
            ],
            "receipt": receipt.id,
            "release": receipt.release,
            "bento": receipt.bento,
            "epoch": receipt.epoch,
            "rules": receipt.rules,
            "degraded": receipt.degraded,
        }
    )


def failure(status: int, kind: str, message: str, fields: list[dict[str, str]] | None = None) -> Response:
    """Return an error in the one shape that errors have here."""
    content = error_body(kind, message, fields or ())
    headers = {"Retry-After": "1"} if status == 503 else None
    return Response(content, status, headers, "application/json")
