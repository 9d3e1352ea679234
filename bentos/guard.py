"""The door of every route: what a body may be before anything reads it. Plain ASGI: it stands before BentoML's routes too.

Only JSON, uncompressed, at most 1 MB, at most 32 levels deep, within ten seconds. Pickled bodies never reach a parser.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

import numpy as np
import orjson

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
BODY_SECONDS = 10.0
QUOTE, QUOTED = ord('"'), 2
# What a byte does to the depth, as int8: 1, -1 (255), nothing; a quote is told apart by a number of its own.
STEPS = bytes(
    1 if byte in b"[{" else 255 if byte in b"]}" else QUOTED * (byte == QUOTE) for byte in range(256)
)


class Refusal(Exception):
    """A request that is turned away at the door: status, machine-readable kind, sentence."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message


class Guard:
    """ASGI middleware that reads and judges the body, and hands it on whole.

    With `flat` nothing looks how deep the body nests: for a parser that bounds that by itself.
    """

    def __init__(self, app: Application, body_seconds: float = BODY_SECONDS, *, flat: bool = False) -> None:
        self.app, self.body_seconds, self.flat = app, body_seconds, flat

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let lifespan events and sound requests through; answer the rest with 4xx and a sentence."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return None  # nothing here speaks WebSocket; the server closes the connection
        try:
            body = await _body(scope, receive, self.body_seconds, flat=self.flat)
        except Refusal as refusal:
            return await refuse(refusal, send)
        return await self.app(scope, _replay(body, receive), send)


async def _body(scope: Scope, receive: Receive, seconds: float, *, flat: bool) -> bytes:
    headers = {name.lower(): value for name, value in scope["headers"]}
    check_headers(headers)
    try:
        async with asyncio.timeout(seconds):
            body = await _read(receive)
    except TimeoutError:
        raise Refusal(
            408, "timeout", f"the body did not arrive within {seconds:g} s; send it at once"
        ) from None
    if body and b"content-type" not in headers:
        raise Refusal(415, "media_type", "the body has no Content-Type; send application/json")
    if not flat and depth(body) > MAX_DEPTH:
        raise Refusal(400, "depth", f"the body nests deeper than {MAX_DEPTH} levels; flatten it")
    return body


def check_headers(headers: dict[bytes, bytes]) -> None:
    """Refuse a body that is not plain JSON, or says that it is too long: 415 or 413. Names are in lower case."""
    kind = headers.get(b"content-type", b"application/json").split(b";")[0].strip().lower()
    if kind != b"application/json":
        raise Refusal(415, "media_type", f"{_shown(kind)} is not taken here; send application/json")
    if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        raise Refusal(415, "media_type", "compressed bodies are not taken here; send the JSON as it is")
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) > MAX_BYTES:
        raise Refusal(413, "too_large", f"the body has {int(length)} bytes; send {MAX_BYTES} at most")


def _shown(kind: bytes) -> str:
    return repr(kind[:80].decode("ascii", errors="replace"))


async def _read(receive: Receive) -> bytes:
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(
                400, "disconnected", "the connection closed before the body was whole; send it again"
            )
        part = message.get("body", b"")
        size += len(part)
        if size > MAX_BYTES:
            raise Refusal(413, "too_large", f"the body has more than {MAX_BYTES} bytes; send fewer")
        parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts)


def depth(body: bytes) -> int:
    """Return how deep the brackets of a JSON text nest, those within strings left out; 0 when there are too few to matter.

    A few passes over the bytes, whatever is in them: a megabyte made to be slow takes no longer than any other. Of what is no
    JSON it says nothing that matters: brackets that it does not see come after a backslash that no parser gets past.
    """
    if body.count(b"{") + body.count(b"[") <= MAX_DEPTH:
        return 0
    bare = body.replace(b"\\\\", b"").replace(b'\\"', b"")  # what is left of quotes begins and ends strings
    step_N = np.frombuffer(bytearray(bare.translate(STEPS)), np.int8)
    quote_N = step_N == QUOTED
    step_N[np.logical_xor.accumulate(quote_N) | quote_N] = 0
    return int(
        step_N.astype(np.int32).cumsum(dtype=np.int32).max(initial=0)
    )  # a cast within cumsum takes ten times as long


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def error_body(kind: str, message: str, fields: Sequence[dict[str, str]] = ()) -> bytes:
    """Return an error in the one shape that errors have here."""
    return orjson.dumps({"error": {"kind": kind, "message": message, "fields": list(fields)}})


async def refuse(refusal: Refusal, send: Send, *, closing: bool = True) -> None:
    """Answer a request that is turned away; the rest of a refused body is not read, so the connection ends with it."""
    content = error_body(refusal.kind, refusal.message)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    if closing:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
