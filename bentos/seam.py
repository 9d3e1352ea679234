"""The serving seam: every answer passes through here, and none leaves before its receipt is durable.

A flow makes an `Answer`; the seam gives it an id, writes the receipt, and only then responds. An answer that cannot be
recorded is a 503. No endpoint writes a receipt itself, and no endpoint answers around the seam.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from bentos.release import Released
from counterfoil.errors import InputError, UnavailableError
from counterfoil.receipts import Receipts
from counterfoil.types import Receipt, ReceiptItem

log = logging.getLogger(__name__)
WAITING = 64
RECORD_SECONDS = 5.0
NONCE_BYTES = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a flow made of a request, not yet recorded. `titles` belong to `items`, one each."""

    person: str
    request: dict[str, Any]
    items: tuple[ReceiptItem, ...]
    titles: tuple[str, ...]
    rules: tuple[str, ...]
    features: dict[str, Any]
    feature_time: datetime | None
    degraded: tuple[str, ...]
    stages_ms: dict[str, float]


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
        released: Released,
        clock: Callable[[], datetime],
        *,
        record_seconds: float = RECORD_SECONDS,
    ) -> None:
        self.receipts, self.use_case, self.released, self.clock = receipts, use_case, released, clock
        self.record_seconds = record_seconds
        # One thread answers: one core's worth of arithmetic, while the event loop reads, writes and waits for the disk.
        self._answering = ThreadPoolExecutor(1, thread_name_prefix="answering")
        self._waiting = 0

    async def answered(self, flow: Flow, request: Request) -> Response:
        """Answer a request by `flow`: 422 with the fields that are wrong, 503 when no receipt can be kept."""
        body = await request.body()
        if self._waiting >= WAITING:
            return failure(503, "busy", f"{WAITING} requests wait already; ask again shortly")
        self._waiting += 1
        try:
            now = self.clock()
            answer = await asyncio.get_running_loop().run_in_executor(self._answering, flow, body, now)
        except FieldFault as fault:
            return failure(422, "request", str(fault), fault.fields)
        except (
            Exception
        ):  # the last border: the reason is in the log, and no answer leaves without its receipt
            log.exception("a request failed")
            return failure(500, "fault", "the service failed on this request; its log says why")
        finally:
            self._waiting -= 1
        return await self._recorded(answer, now)

    async def _recorded(self, answer: Answer, now: datetime) -> Response:
        receipt = self._receipt(answer, now)
        try:
            durable = asyncio.wrap_future(self.receipts.submit(receipt))
            body = response_body(receipt, answer.titles)  # while the disk works
            async with asyncio.timeout(self.record_seconds):
                await durable
        except (UnavailableError, TimeoutError, ValueError, TypeError) as fault:
            log.error("an answer could not be recorded: %s", fault or "the disk is slow")
            return failure(
                503, "unrecorded", "the answer could not be recorded, so it is not given; ask again"
            )
        return Response(body, media_type="application/json")

    def _receipt(self, answer: Answer, now: datetime) -> Receipt:
        return Receipt(
            id=self.receipts.new_id(now),
            time=now,
            use_case=self.use_case,
            release=self.released.release,
            bento=self.released.bento,
            epoch=self.released.epoch,
            person=answer.person,
            request=answer.request,
            items=answer.items,
            rules=answer.rules,
            features=answer.features,
            feature_time=answer.feature_time,
            degraded=answer.degraded,
            stages_ms=answer.stages_ms,
            nonce=secrets.token_hex(NONCE_BYTES),
        )


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
    content = orjson.dumps({"error": {"kind": kind, "message": message, "fields": fields or []}})
    headers = {"Retry-After": "1"} if status == 503 else None
    return Response(content, status, headers, "application/json")
