"""The server's end of a connection: HTTP/1.1 by llhttp (httptools), with a bound on everything that a caller can make grow.

What llhttp finds malformed is refused, conflicting Content-Length and Transfer-Encoding among it (RFC 9112, 6.3); nothing of a
request's head is ever passed on as it came. Who keeps a connection open without a whole head gives way when the door is full.
"""

import asyncio
import logging
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, cast

import httptools

from bentos.gateway.http import Reply, Request, failure, written
from bentos.guard import BODY_SECONDS, MAX_BYTES, Refusal

log = logging.getLogger(__name__)
SWEEP_SECONDS = 0.25
DRAIN_LOOK_SECONDS = 0.01
ONCE = frozenset((b"host", b"content-type", b"content-length", b"authorization", b"transfer-encoding"))
HOPS = (b"connection", b"upgrade", b"http2-settings")  # of an offer that is ignored
AUTHORITY = re.compile(rb"https?://[^/?#]+", re.IGNORECASE)  # what an absolute-form has before its path


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one caller may take up."""

    header_bytes: int = 16_384
    headers: int = 64
    path: int = 2_048
    body: int = MAX_BYTES
    header_seconds: float = 10.0
    body_seconds: float = BODY_SECONDS
    idle_seconds: float = 75.0
    write_seconds: float = 10.0
    linger_seconds: float = 2.0
    connections: int = 1_024
    waiting: int = 16  # requests of one connection that wait for the one before
    held: int = 64_000_000  # bytes of all bodies that are being read or answered


class Unwanted(Exception):
    """The body of this request is not read: whatever is answered, it is not because of what is in there."""


class Doors:
    """All connections of the server: how many, how long they take, and their end."""

    def __init__(
        self,
        handle: Callable[[Request], Awaitable[Reply]],
        limits: Limits,
        wanted: Callable[[Request], bool] = lambda request: True,
    ) -> None:
        """`wanted` says of a head whether its body is to be read; where not, the request is handled without one."""
        self.handle, self.limits, self.wanted = handle, limits, wanted
        self.open: set[Door] = set()
        self.idle: dict[Door, None] = {}  # that have no request under way, longest first
        self.tasks: set[asyncio.Task[None]] = set()
        self.closing = False
        self.held = 0
        self.date = b""

    def door(self) -> "Door":
        """Return the protocol of a new connection."""
        return Door(self)

    def full(self) -> bool:
        """Say whether a connection that just came is one too many, once the one that was idle longest has given way to it."""
        if len(self.open) <= self.limits.connections:
            return False
        idlest = next(iter(self.idle), None)
        if idlest is None:
            return True
        del self.idle[idlest]
        idlest.transport.abort()  # nothing is waited for: the place is needed now
        return False

    async def sweep(self) -> None:
        """End what takes too long, again and again, until cancelled."""
        while True:
            self.date = formatdate(usegmt=True).encode()
            now = time.monotonic()
            for door in [door for door in self.open if door.late(now)]:
                door.end(now)
            await asyncio.sleep(SWEEP_SECONDS)

    async def drain(self, seconds: float) -> None:
        """Let the requests that came, or have begun to come, be answered; then close every connection."""
        self.closing = True
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for door in list(self.open):
                door.close_if_idle()
            if not self.open:
                return
            await asyncio.sleep(DRAIN_LOOK_SECONDS)
        for door in list(self.open):
            door.transport.close()


class Door(asyncio.Protocol):
    """One connection. Requests are answered in the order in which they came."""

    transport: asyncio.Transport

    def __init__(self, doors: Doors) -> None:
        self.doors, self.limits = doors, doors.limits
        self.parser: Any = httptools.HttpRequestParser(self)
        self.queue: deque[Request] = deque()
        self.answering = False
        self.deaf = False  # nothing more is read
        self.stage = "idle"  # idle, head, body: of the request that is being read
        self.offered = False  # the head that was read last offers another protocol
        self.until = time.monotonic() + self.limits.header_seconds  # of the first byte
        self.writing_until: float | None = None
        self._begin(0.0)

    def _begin(self, now: float) -> None:
        self.url, self.count, self.head = b"", 0, 0
        self.headers: dict[bytes, bytes] = {}
        self.parts: list[bytes] = []
        self.size, self.began = 0, now

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or turn it away when there are too many."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self.doors.open.add(self)
        if self.doors.closing or self.doors.full():
            reply = failure(503, "busy", f"{self.limits.connections} connections are open; try again shortly")
            self.transport.write(written(reply, self.doors.date, keep=False))
            self.deaf = True
            self.transport.close()
            return
        self.doors.idle[self] = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it. What is being answered goes on: it may have changed something already."""
        self.deaf = True
        self.doors.held -= sum(len(request.body) for request in self.queue) + sum(map(len, self.parts))
        self.queue.clear()
        self.parts.clear()
        self.doors.open.discard(self)
        self.doors.idle.pop(self, None)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self.deaf:
            return
        if self.stage == "idle":
            now = time.monotonic()
            self.stage, self.until = "head", now + self.limits.header_seconds
            self._begin(now)
        self.head += len(data)
        try:
            self._feed(data)
        except Refusal as refusal:
            self._refuse(refusal)
        except httptools.HttpParserCallbackError as fault:
            cause = fault.__context__
            if isinstance(cause, Unwanted):
                self._refuse(None)
            else:
                self._refuse(cause if isinstance(cause, Refusal) else Refusal(400, "malformed", str(fault)))
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as fault:
            self._refuse(Refusal(400, "malformed", f"this is no HTTP/1.1 request: {fault}"))
        if self.stage != "idle" and self.head > self.limits.header_bytes and not self.deaf:
            self._refuse(self._too_long())

    def pause_writing(self) -> None:
        """Remember since when the caller reads nothing."""
        self.writing_until = time.monotonic() + self.limits.write_seconds
        if not self.transport.is_closing():
            self.transport.pause_reading()  # who reads no answers asks no more questions

    def resume_writing(self) -> None:
        """Forget it."""
        self.writing_until = None
        if not self.transport.is_closing():
            self.transport.resume_reading()

    # what the parser calls

    def on_message_begin(self) -> None:
        """Begin another request, when it comes in the same bytes as the one before."""
        if self.stage == "idle":
            now = time.monotonic()
            self.stage, self.until = "head", now + self.limits.header_seconds
            self._begin(now)

    def on_url(self, url: bytes) -> None:
        """Take the target, a piece at a time."""
        self.url += url
        if len(self.url) > self.limits.path:
            raise Refusal(414, "too_long", f"the path has more than {self.limits.path} bytes; shorten it")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header."""
        self.count += 1
        if self.stage == "body":  # a trailer: nothing here takes one (RFC 9110, 6.5)
            if self.count > self.limits.headers:
                raise self._too_long()
            return
        self.size += len(name) + len(value)
        if self.count > self.limits.headers or self.size > self.limits.header_bytes:
            raise self._too_long()
        name = name.lower()
        if name in ONCE and name in self.headers:
            raise Refusal(
                400, "malformed", f"the header {name.decode('latin-1')} is there twice; send it once"
            )
        self.headers[name] = value

    def on_headers_complete(self) -> None:
        """Judge the head, and let a caller who waits for it go on."""
        if b"host" not in self.headers and self.parser.get_http_version() == "1.1":
            raise Refusal(400, "malformed", "the request has no Host header (RFC 9112, 3.2); send one")
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise Refusal(400, "malformed", "nothing is tunnelled here; ask for a path, do not CONNECT")
            self.offered = True  # the parser stops after this head, which is then read again
            return
        length = self.headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length[:20]) > self.limits.body:
            raise self._too_large()
        bodied = length.strip(b"0") or b"transfer-encoding" in self.headers
        if bodied and not self.doors.wanted(self._request(None)):
            raise Unwanted
        self.size = self.head = 0
        self.doors.idle.pop(self, None)
        self.stage, self.until = "body", time.monotonic() + self.limits.body_seconds
        if self.headers.get(b"expect", b"").lower() == b"100-continue" and not self.answering:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, part: bytes) -> None:
        """Take a piece of the body. What comes besides, sizes of chunks and trailers, is bounded as a head is."""
        self.size += len(part)
        self.head = 0
        if self.size > self.limits.body:
            raise self._too_large()
        self.doors.held += len(part)
        self.parts.append(part)
        if self.doors.held > self.limits.held:
            raise Refusal(
                503, "busy", f"bodies of {self.limits.held} bytes are being read; try again shortly"
            )

    def on_message_complete(self) -> None:
        """Answer the request, after those before it."""
        if self.stage == "idle" or self.offered:
            return
        request = self._request(None)
        request.keep = self.parser.should_keep_alive()
        self.stage, self.until = "idle", time.monotonic() + self.limits.idle_seconds
        self.queue.append(request)
        if len(self.queue) > self.limits.waiting:
            self.deaf = True
            self.transport.abort()  # what waits is let go of when the connection is lost
            return
        self._next()

    # what the sweep calls

    def late(self, now: float) -> bool:
        """Say whether this connection has taken too long over something."""
        if self.writing_until is not None and now > self.writing_until:
            return True
        if self.answering and self.stage == "idle":
            return False
        return now > self.until

    def end(self, now: float) -> None:
        """End a connection that is late: 408 for a request that never got whole, silence for an idle one."""
        if self.writing_until is not None and now > self.writing_until:
            self.transport.abort()
        elif self.deaf or self.stage == "idle":
            self.transport.close()
        else:
            seconds = self.limits.header_seconds if self.stage == "head" else self.limits.body_seconds
            what = "head" if self.stage == "head" else "body"
            sentence = f"the {what} did not arrive within {seconds:g} s; send it at once"
            self._refuse(Refusal(408, "timeout", sentence))
            self.until = now + self.limits.write_seconds

    def close_if_idle(self) -> None:
        """Close it when nothing is being read or answered."""
        if not self.answering and not self.queue and (self.stage == "idle" or self.deaf):
            self.transport.close()

    # ours

    def _feed(self, data: bytes) -> None:
        """Parse on; where a head offers another protocol, parse that head again without the offer (RFC 9110, 7.8).

        The parser would take a body for what comes after the protocol has changed, or for the next request. The connection ends
        with the answer: a proxy that believes in the change would pass on whatever comes.
        """
        try:
            self.parser.feed_data(data)
            return
        except httptools.HttpParserUpgrade as offer:
            rest = data[offer.args[0] :]
        # not within the handler: that would hide what the parser's callbacks raise
        head = self._without_offer()
        self.parser, self.offered = httptools.HttpRequestParser(self), False
        self._begin(self.began)
        self.parser.feed_data(head + rest)

    def _without_offer(self) -> bytes:
        """Return the head that was just read, as that of a request which is the connection's last."""
        version = self.parser.get_http_version().encode()
        line = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)
        kept = [b"%b: %b" % header for header in self.headers.items() if header[0] not in HOPS]
        return b"\r\n".join((line, *kept, b"connection: close", b"", b""))

    def _too_long(self) -> Refusal:
        sentence = f"the head has more than {self.limits.headers} headers or {self.limits.header_bytes} bytes; send fewer"
        return Refusal(431, "too_long", sentence)

    def _too_large(self) -> Refusal:
        return Refusal(413, "too_large", f"the body has more than {self.limits.body} bytes; send fewer")

    def _refuse(self, refusal: Refusal | None) -> None:
        """Read no more, and answer: with a refusal, or (None) whatever the head alone comes to."""
        self.deaf = True
        request = self._request(refusal)
        request.keep = False
        self.queue.append(request)
        self._next()

    def _leave(self, unread: bool) -> None:
        """Close; where not all was read not before the caller has had time to read it: unread bytes would take it along."""
        self.deaf = True
        if unread and self.transport.can_write_eof():
            self.transport.write_eof()
            self.doors.idle[self] = None
            self.until = time.monotonic() + self.limits.linger_seconds
        else:
            self.transport.close()

    def _request(self, refusal: Refusal | None) -> Request:
        method = self.parser.get_method().decode("latin-1") if self.url else ""
        body = self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)
        self.parts.clear()
        return Request(
            method=method,
            path=self._path(),
            headers=self.headers,
            body=body,
            began=self.began,
            keep=refusal is None,
            refusal=refusal,
        )

    def _path(self) -> str:
        """Return the target's path; of an absolute-form what comes after the authority (RFC 9112, 3.2.2)."""
        url = self.url
        if (absolute := None if url.startswith(b"/") else AUTHORITY.match(url)) is not None:
            url = url[absolute.end() :]
            url = url if url.startswith(b"/") else b"/" + url
        return url.partition(b"?")[0].decode("latin-1")

    def _next(self) -> None:
        if self.answering or not self.queue:
            return
        self.answering = True
        self.doors.idle.pop(self, None)
        task = asyncio.get_running_loop().create_task(self._answer(self.queue.popleft()))
        self.doors.tasks.add(task)
        task.add_done_callback(self.doors.tasks.discard)

    async def _answer(self, request: Request) -> None:
        try:
            reply = await self.doors.handle(request)
        except Exception:  # the last border: the reason is in the log
            log.exception("a request failed in the gateway")
            reply = failure(500, "fault", "the gateway failed on this request; its log says why")
        self.answering = False
        self.doors.held -= len(request.body)
        if self.transport.is_closing():
            return
        keep = request.keep and not self.doors.closing
        self.transport.write(written(reply, self.doors.date, keep=keep, head=request.method == "HEAD"))
        if not keep:
            self._leave(self.deaf)
            return
        if self.stage == "idle":
            self.until = time.monotonic() + self.limits.idle_seconds
        if self.stage != "body" and not self.queue:
            self.doors.idle[self] = None
        self._next()
