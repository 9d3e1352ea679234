"""A question on its way to whoever computes its answer, and what comes back: bytes that are ready to be kept and to be sent.

Both cross the border of a process, so they hold nothing but plain values. Whatever a flow raises is a status and a sentence here.
"""

import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
import orjson

from bentos import inner
from bentos.guard import error_body
from counterfoil import canonical
from counterfoil.errors import InputError, UnknownError
from counterfoil.types import Receipt, ReceiptItem

log = logging.getLogger(__name__)
NONCE_BYTES = 16
UNRECORDED = "the answer could not be recorded, so it is not given; ask again"


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


Flow = Callable[[bytes, datetime], Answer]


class FieldFault(InputError):
    """A request that does not fit its contract: which fields, and why."""

    def __init__(self, fields: list[dict[str, str]]) -> None:
        super().__init__("; ".join(f"{fault['field']}: {fault['reason']}" for fault in fields))
        self.fields = fields


class Task(msgspec.Struct, frozen=True, array_like=True, gc=False, kw_only=True):
    """A body that came to a route at a moment, and what its receipt is to say of who answers it, and for whom.

    `until` is the moment (CLOCK_MONOTONIC, which all processes of a machine share) from which on nobody waits; None: nobody said.
    """

    route: str
    body: bytes
    time: datetime
    receipt: str
    use_case: str
    release: str
    epoch: int
    bento: str
    arm: str = "champion"
    propensity: float = 1.0
    until: float | None = None


class Made(msgspec.Struct, frozen=True, array_like=True, gc=False, kw_only=True):
    """What to send, and `payload`, the receipt as canonical JSON, which is to be durable before: empty without an answer."""

    status: int
    body: bytes
    payload: bytes = b""
    items: int = 0
    degraded: tuple[str, ...] = ()
    stages_ms: dict[str, float] = {}


def compute(flows: Mapping[str, Flow], task: Task) -> Made:
    """Answer a task by the flow of its route. 422 with the fields that are wrong, 404 for an item that is not there.

    504 when nobody waits any more: then nothing is computed. 503 for what has no record.
    """
    try:
        if task.until is not None and time.monotonic() > task.until:
            return _late()
        answer = flows[task.route](task.body, task.time)
    except Exception as fault:
        return _failed(fault)
    try:
        receipt = _receipt(answer, task)
        return Made(
            status=200,
            body=response_body(receipt, answer.titles),
            payload=canonical.encode(receipt),
            items=len(answer.items),
            degraded=answer.degraded,
            stages_ms=answer.stages_ms,
        )
    except (ValueError, TypeError) as fault:
        log.error("an answer could not be recorded: %s", fault)
        return refused(503, "unrecorded", UNRECORDED)


def refused(status: int, kind: str, message: str, fields: list[dict[str, str]] | None = None) -> Made:
    """Return an error in the one shape that errors have here."""
    return Made(status=status, body=error_body(kind, message, fields or ()))


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


def _late() -> Made:
    return refused(
        504, "late", f"the time that {inner.DEADLINE} gave was over before it was this request's turn"
    )


def _failed(fault: Exception) -> Made:
    """Return what is said of a request that has no answer. The reason for a 500 is in the log, and in it alone."""
    if isinstance(fault, FieldFault):
        return refused(422, "request", str(fault), fault.fields)
    if isinstance(fault, UnknownError):
        return refused(404, "unknown", str(fault))
    log.error("a request failed", exc_info=fault)
    return refused(500, "fault", "the service failed on this request; its log says why")


def _receipt(answer: Answer, task: Task) -> Receipt:
    return Receipt(
        id=task.receipt,
        time=task.time,
        use_case=task.use_case,
        release=task.release,
        bento=task.bento,
        epoch=task.epoch,
        person=answer.person,
        request=answer.request,
        items=answer.items,
        rules=answer.rules,
        features=answer.features,
        feature_time=answer.feature_time,
        degraded=answer.degraded,
        arm=task.arm,
        propensity=task.propensity,
        stages_ms=answer.stages_ms,
        nonce=answer.nonce or secrets.token_hex(NONCE_BYTES),
        explored=answer.explored,
    )
