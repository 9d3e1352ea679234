import asyncio
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.responses import Response

from bentos import inner
from bentos.front import WAITING, Front, InThread
from bentos.release import Pointer, Released
from bentos.seam import Answer, FieldFault, Flow, Seam
from counterfoil.receipts import Receipts
from counterfoil.types import Receipt, ReceiptItem

NOW = datetime(2026, 3, 1, tzinfo=UTC)
RELEASED = Released(release="release-1", epoch=7, bento="recommendation:0123")


def answer(score: float = 1.5, **changes: Any) -> Answer:
    parts: dict[str, Any] = {
        "person": "p1",
        "request": {"n": 1},
        "items": (ReceiptItem(item="milk", score=score, sources=("als",), reasons=("new",)),),
        "titles": ("MILK",),
        "rules": (),
        "features": {},
        "feature_time": None,
        "degraded": (),
        "stages_ms": {"model": 1.0},
    }
    return Answer(**parts | changes)


def front(folder: Path, flow: Flow) -> Front:
    seam = Seam(Receipts(folder), "recommendation", {"recommend": flow})
    return Front(InThread(seam), Pointer(RELEASED), lambda: NOW)


def ask(made: Front, times: int = 1) -> list[Response]:
    async def all_of_them() -> list[Response]:
        return await asyncio.gather(*(made.answered(b"{}") for _ in range(times)))

    return asyncio.run(all_of_them())


def body_of(response: Response) -> dict[str, Any]:
    return orjson.loads(response.body)


def test_the_answer_and_its_receipt_agree(tmp_path: Path) -> None:
    [response] = ask(front(tmp_path, lambda body, now: answer()))
    said = body_of(response)
    assert said["items"] == [
        {"item": "milk", "title": "MILK", "score": 1.5, "sources": ["als"], "reasons": ["new"]}
    ]
    assert (said["release"], said["epoch"], said["bento"]) == ("release-1", 7, "recommendation:0123")
    assert response.headers[inner.BENTO] == "recommendation:0123"
    kept = Receipts(tmp_path).find(said["receipt"])
    assert kept == Receipt(
        id=said["receipt"],
        time=NOW,
        use_case="recommendation",
        release="release-1",
        bento="recommendation:0123",
        epoch=7,
        person="p1",
        request={"n": 1},
        items=answer().items,
        rules=(),
        features={},
        feature_time=None,
        degraded=(),
        stages_ms={"model": 1.0},
        nonce=kept.nonce,
    )
    [again] = ask(front(tmp_path, lambda body, now: answer()))
    other = Receipts(tmp_path).find(body_of(again)["receipt"])
    assert len(kept.nonce) == len(other.nonce) == 32 and kept.nonce != other.nonce


def test_the_flow_gets_the_body_and_the_clock(tmp_path: Path) -> None:
    seen: list[Any] = []

    def flow(body: bytes, now: datetime) -> Answer:
        seen.append((body, now))
        return answer()

    ask(front(tmp_path, flow))
    assert seen == [(b"{}", NOW)]


def test_a_malformed_request_leaves_no_receipt(tmp_path: Path) -> None:
    faults = [{"field": "n", "reason": "too many"}]

    def flow(body: bytes, now: datetime) -> Answer:
        raise FieldFault(faults)

    [response] = ask(front(tmp_path, flow))
    assert response.status_code == 422
    assert body_of(response)["error"] == {"kind": "request", "message": "n: too many", "fields": faults}
    assert Receipts(tmp_path).count() == 0


def test_a_flow_that_fails_is_a_500_without_its_secrets(tmp_path: Path) -> None:
    def flow(body: bytes, now: datetime) -> Answer:
        raise RuntimeError("household 7 at 10.0.0.1")

    [response] = ask(front(tmp_path, flow))
    assert response.status_code == 500
    assert b"household" not in response.body
    assert Receipts(tmp_path).count() == 0


@pytest.mark.parametrize(
    "unfit", [answer(score=float("nan")), answer(score=float("inf")), answer(features={"x": object()})]
)
def test_what_has_no_record_is_not_served(tmp_path: Path, unfit: Answer) -> None:
    [response] = ask(front(tmp_path, lambda body, now: unfit))
    assert response.status_code == 503
    assert body_of(response)["error"]["kind"] == "unrecorded"
    assert b"milk" not in response.body


def test_a_folder_that_cannot_be_written_is_a_503(tmp_path: Path) -> None:
    (tmp_path / "receipts").write_text("a file")
    [response] = ask(front(tmp_path / "receipts", lambda body, now: answer()))
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert response.headers[inner.BENTO] == "recommendation:0123", "also of what is refused"


def test_more_than_can_wait_are_told_to_come_back(tmp_path: Path) -> None:
    gate = threading.Event()

    def flow(body: bytes, now: datetime) -> Answer:
        gate.wait(10)
        return answer()

    async def crowd(made: Front) -> list[Response]:
        tasks = [asyncio.create_task(made.answered(b"{}")) for _ in range(WAITING + 5)]
        await asyncio.sleep(0.1)
        gate.set()
        return await asyncio.gather(*tasks)

    responses = asyncio.run(crowd(front(tmp_path, flow)))
    statuses = [response.status_code for response in responses]
    assert (statuses.count(200), statuses.count(503)) == (WAITING, 5)
    assert body_of(responses[-1])["error"]["kind"] == "busy"
    assert Receipts(tmp_path).count() == WAITING
