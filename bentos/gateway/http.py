"""Requests and replies as the gateway passes them about, and the bytes that they are on the wire (RFC 9112)."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson

from bentos.guard import Refusal, error_body

Header = tuple[bytes, bytes]
STATUS = {status.value: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}
JSON: Header = (b"content-type", b"application/json")
# Of one connection alone (RFC 9110, 7.6.1), or written anew here.
HOP = frozenset(
    (
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailer"),
        *(b"transfer-encoding", b"upgrade", b"content-length", b"date", b"server"),
    )
)


@dataclass(slots=True)
class Request:
    """One request, whole. `headers` by lower-case name; `began` is when its first byte came, of the monotonic clock.

    `refusal` says that it never got whole, and why; then the rest is what was read of it.
    """

    method: str
    path: str
    headers: dict[bytes, bytes]
    body: bytes
    began: float
    keep: bool = True
    refusal: Refusal | None = None


@dataclass(slots=True)
class Reply:
    """One answer: of a service, or made here. `headers` without those of one connection."""

    status: int
    headers: Sequence[Header]
    body: bytes = b""

    def header(self, name: bytes) -> bytes | None:
        """Return the value of a header by its lower-case name."""
        for held, value in self.headers:
            if held == name:
                return value
        return None


def told(content: Any, status: int = 200, headers: Sequence[Header] = ()) -> Reply:
    """Return a reply of JSON."""
    return Reply(status, [JSON, *headers], orjson.dumps(content))


def failure(
    status: int,
    kind: str,
    message: str,
    headers: Sequence[Header] = (),
    fields: Sequence[dict[str, str]] = (),
) -> Reply:
    """Return an error in the one shape that errors have here; a 503 says when to ask again."""
    again: list[Header] = [(b"retry-after", b"1")] if status == 503 else []
    return Reply(status, [JSON, *again, *headers], error_body(kind, message, fields))


def written(reply: Reply, date: bytes, *, keep: bool, head: bool = False) -> bytes:
    """Return a reply's bytes; `head`: the request was a HEAD, whose answer has no body."""
    lines = [STATUS.get(reply.status) or b"HTTP/1.1 %d \r\n" % reply.status]
    lines += [b"%b: %b\r\n" % header for header in reply.headers]
    lines.append(b"date: %b\r\ncontent-length: %d\r\n" % (date, len(reply.body)))
    lines.append(b"\r\n" if keep else b"connection: close\r\n\r\n")
    if not head:
        lines.append(reply.body)
    return b"".join(lines)
