"""A service that behaves as it is told, for tests of the gateway: it keeps the headers' contract and does no arithmetic.

`python tests/gateway_service.py PORT NAME TOKEN`; POST /behave sets how it answers, GET /seen says what came.
"""

import asyncio
import random
import sys
from typing import Any

import orjson
import uvicorn

from bentos import inner

NAME = ""
TOKEN = ""
BEHAVIOUR: dict[str, Any] = {
    "ms": 0.0, "status": 200, "error_share": 0.0, "items": ["a", "b", "c", "d"], "waited_ms": 0.0, "bento": ""
}  # fmt: skip
SEEN: list[dict[str, Any]] = []
RANDOM = random.Random(7)
COUNT = 0


async def app(scope, receive, send):  # type: ignore[no-untyped-def]
    if scope["type"] != "http":
        return
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    status, told, extra = await answer(scope["path"], headers, body)
    if BEHAVIOUR["bento"]:
        extra = {**extra, inner.BENTO: BEHAVIOUR["bento"]}
    if BEHAVIOUR["waited_ms"]:
        extra = {**extra, inner.WAITED: str(BEHAVIOUR["waited_ms"])}
    content = orjson.dumps(told)
    lines = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    lines += [(name.encode(), value.encode()) for name, value in extra.items()]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": content})


async def answer(path, headers, body):  # type: ignore[no-untyped-def]
    global COUNT
    if path == "/behave":
        BEHAVIOUR.update(orjson.loads(body))
        return 200, BEHAVIOUR, {}
    if path == "/seen":
        return 200, {"seen": SEEN[-2000:]}, {}
    if path == "/readyz":
        return 200, {"ready": True}, {}
    if not inner.allowed(headers.get(inner.TOKEN), TOKEN):
        return 401, {"error": {"kind": "token", "message": "no token", "fields": []}}, {}
    SEEN.append({"path": path, "headers": headers, "body": body.decode(errors="replace")})
    if BEHAVIOUR["ms"]:
        await asyncio.sleep(BEHAVIOUR["ms"] / 1000)
    if RANDOM.random() < BEHAVIOUR["error_share"]:
        return 500, {"error": {"kind": "fault", "message": "told to", "fields": []}}, {}
    if BEHAVIOUR["status"] != 200:
        return BEHAVIOUR["status"], {"error": {"kind": "told", "message": "told to", "fields": []}}, {}
    if path == "/events":
        return taken(body)
    COUNT += 1
    receipt = f"receipt-20260412T093401-{NAME.encode().hex()[:8]:0<8}-{COUNT}"
    items = [
        {
            "item": item,
            "title": item.upper(),
            "score": 1.0 / (rank + 1),
            "sources": ["popular"],
            "reasons": ["sold"],
        }
        for rank, item in enumerate(BEHAVIOUR["items"])
    ]
    told = {
        "items": items, "receipt": receipt, "release": f"release-{NAME}", "bento": f"{NAME}:1", "epoch": 1,
        "rules": [], "degraded": [],
    }  # fmt: skip
    extra = {inner.RECEIPT: receipt, inner.RELEASE: f"release-{NAME}", inner.ITEMS: str(len(items))}
    if "traceparent" in headers:
        extra |= {inner.TIMING: "person;dur=0.912, receipt;dur=0.3"}
    return 200, told, extra


def taken(body):  # type: ignore[no-untyped-def]
    """Take any object for an event, and a list of them under `events`."""
    try:
        told = orjson.loads(body)
    except ValueError:
        told = None
    rows = told.get("events", [told]) if isinstance(told, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return 422, {"error": {"kind": "request", "message": "no events", "fields": []}}, {}
    return 200, {"rows": [{"taken": True} for _ in rows]}, {}


if __name__ == "__main__":
    port, NAME, TOKEN = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)
