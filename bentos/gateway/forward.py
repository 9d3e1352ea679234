"""The bytes of a request to a service: made anew, of what the gateway knows alone."""

import re
import secrets

from bentos import inner
from bentos.gateway.http import Request
from bentos.gateway.services import Service

SANE = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
DIGITS = re.compile(rb"\d{1,6}")
TRACESTATE_BYTES = 512


def request_id(request: Request) -> bytes:
    """Return the caller's id of a request when it is sane, else a new one."""
    given = request.headers.get(inner.REQUEST.encode())
    return given if given is not None and SANE.fullmatch(given) else secrets.token_hex(8).encode()


def trace_headers(request: Request) -> bytes:
    """Return the lines of W3C Trace Context that the caller sent, when they are sound (W3C Trace Context, 3.2)."""
    parent = request.headers.get(b"traceparent")
    if parent is None or not TRACEPARENT.fullmatch(parent):
        return b""
    state = request.headers.get(b"tracestate", b"")
    lines = b"traceparent: %b\r\n" % parent
    return lines + b"tracestate: %b\r\n" % state if state and len(state) <= TRACESTATE_BYTES else lines


def budget(request: Request, most: float) -> float:
    """Return the seconds that a request may take: what its caller has left, the gateway's own budget at most."""
    given = request.headers.get(inner.DEADLINE.encode())
    if given is None or not DIGITS.fullmatch(given):
        return most
    return min(most, int(given) / 1000)


def message(
    service: Service,
    path: str,
    body: bytes,
    token: str,
    *,
    id: bytes,
    arm: str,
    propensity: float,
    seconds: float,
    trace: bytes = b"",
) -> bytes:
    """Return the request: POST, JSON, the token, and what the service needs to know of the choice that was made."""
    return (
        b"POST %b HTTP/1.1\r\nhost: %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
        b"x-counterfoil-token: %b\r\nx-counterfoil-arm: %b\r\nx-counterfoil-propensity: %b\r\n"
        b"x-counterfoil-deadline-ms: %d\r\nx-request-id: %b\r\n%b\r\n"
        % (
            path.encode(), service.netloc, len(body), token.encode(), arm.encode(), b"%.6g" % propensity,
            max(1, seconds * 1000), id, trace,
        )
        + body
    )  # fmt: skip
