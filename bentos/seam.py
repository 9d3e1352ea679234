"""The serving seam: every answer passes through here, and none leaves before its receipt is written.

Written outlives the process. The disk has it `COUNTERFOIL_RECEIPT_FLUSH_MS` later, or before, where that is 0.

A flow makes an `Answer`; the seam gives it an id, writes the receipt, and only then hands on what is to be sent. An answer that
cannot be recorded is a 503. No endpoint writes a receipt itself, and no endpoint answers around the seam. It runs where answers
are computed: each process writes segments of its own.
"""

import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from bentos import inner
from bentos.task import Made, Task, refused
from counterfoil.errors import InputError, UnavailableError, UnknownError
from counterfoil.receipts import Receipts
from counterfoil.types import Receipt, ReceiptItem

log = logging.getLogger(__name__)
NONCE_BYTES = 16
RECEIPT = "receipt"  # the stage that no receipt can tell of: until it is written
NO_ENDS: Mapping[str, str] = {}
UNRECORDED = "the answer could not be recorded, so it is not given; ask again"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a flow made of a request, not yet recorded. `titles` belong to `items`, one each.

    `explored` names items that stand where they do by chance, with that chance; `nonce` is what that was drawn by. `ends` tells
    until when items can be had, by id, for those that have an end.
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
    ends: Mapping[str, str] = field(default_factory=dict)


class FieldFault(InputError):
    """A request that does not fit its contract: which fields, and why."""

    def __init__(self, fields: list[dict[str, str]]) -> None:
        super().__init__("; ".join(f"{fault['field']}: {fault['reason']}" for fault in fields))
        self.fields = fields


Flow = Callable[[bytes, datetime], Answer]


class Seam:
    """Compute answers by the flows of their routes, and record each."""

    def __init__(self, receipts: Receipts, use_case: str, flows: Mapping[str, Flow]) -> None:
        self.receipts, self.use_case, self.flows = receipts, use_case, flows

    def make(self, task: Task) -> Made:
        """Answer a task: 422 with the fields that are wrong, 404 for an item that is not there. Raises nothing.

        503 when no receipt can be kept, 504 when nobody waits any more: then nothing is computed.
        """
        if task.until is not None and time.monotonic() > task.until:
            return refused(504, "late", f"the time that {inner.DEADLINE} gave was over before its turn came")
        try:
            answer = self.flows[task.route](task.body, task.time)
        except Exception as fault:
            return _failed(fault)
        began = time.perf_counter()
        try:
            receipt = self._receipt(answer, task)
            self.receipts.write(receipt)
            kept_ms = (time.perf_counter() - began) * 1e3
            body = response_body(receipt, answer.titles, answer.ends)
        except UnavailableError as fault:
            log.error("an answer could not be recorded: %s", fault)
            return refused(503, "unrecorded", UNRECORDED)
        except Exception:
            log.exception("an answer could not be recorded")
            return refused(503, "unrecorded", UNRECORDED)
        return Made(
            status=200,
            body=body,
            receipt=receipt.id,
            items=len(receipt.items),
            degraded=len(receipt.degraded),
            stages_ms={**receipt.stages_ms, RECEIPT: kept_ms},
        )

    def _receipt(self, answer: Answer, task: Task) -> Receipt:
        return Receipt(
            id=self.receipts.new_id(task.time),
            time=task.time,
            use_case=self.use_case,
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


def _failed(fault: Exception) -> Made:
    """Return what is said of a request that has no answer. The reason for a 500 is in the log, and in it alone."""
    if isinstance(fault, FieldFault):
        return refused(422, "request", str(fault), fault.fields)
    if isinstance(fault, UnknownError):
        return refused(404, "unknown", str(fault))
    log.error("a request failed", exc_info=fault)
    return refused(500, "fault", "the service failed on this request; its log says why")


def response_body(receipt: Receipt, titles: tuple[str, ...], ends: Mapping[str, str] = NO_ENDS) -> bytes:
    """Return what the caller gets of a recorded answer; `ends` holds until when some of its items can be had."""
    return orjson.dumps(
        {
            "items": [
                {
                    "item": item.item,
                    "title": title,
                    "score": item.score,
                    "sources": item.sources,
                    "reasons": item.reasons,
                    **({"until": ends[item.item]} if item.item in ends else {}),
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
