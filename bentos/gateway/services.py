"""The client's end: connections to one service that are kept alive, and the ways in which asking it can fail.

HTTP/1.1 by llhttp (httptools), one request at a time per connection.
"""

import asyncio
import time
from collections import deque
from typing import Any, cast
from urllib.parse import urlsplit

import httptools

from bentos.gateway.http import HOP, Header, Reply
from counterfoil.errors import UnavailableError

IDLE_SECONDS = 4.0  # services close after five
CONNECT_SECONDS = 0.5
PROBE_SECONDS = 0.03
MAX_ANSWER = 8_000_000


class Unreachable(UnavailableError):
    """No connection came about: the service has seen nothing of the request."""


class Lost(UnavailableError):
    """The connection ended before the answer was whole: the service may have seen the request, or not."""


class Stale(Lost):
    """A connection that had been kept alive ended without a byte of answer: the service may have closed it meanwhile."""


class Late(UnavailableError):
    """The answer did not come in time."""


class Wire(asyncio.Protocol):
    """One connection to a service."""

    transport: asyncio.Transport

    def __init__(self, service: "Service") -> None:
        self.service = service
        self.parser: Any = None
        self.waiting: asyncio.Future[Reply] | None = None
        self.since = 0.0  # idle since
        self.closed = False
        self.asked = 0  # how often
        self.heard = False  # anything, of the answer that is awaited

    def ask(self, data: bytes) -> "asyncio.Future[Reply]":
        """Send a request; the future holds the reply, or Lost."""
        self.parser = httptools.HttpResponseParser(self)
        self.headers: list[Header] = []
        self.parts: list[bytes] = []
        self.size, self.heard = 0, False
        self.asked += 1
        self.waiting = asyncio.get_running_loop().create_future()
        self.transport.write(data)
        return self.waiting

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        self.closed = True
        kind = Stale if self.asked > 1 and not self.heard else Lost
        self._fail(kind(f"{self.service.url} closed the connection before its answer was whole"))

    def data_received(self, data: bytes) -> None:
        """Read on; what nobody asked for ends the connection."""
        if self.waiting is None:
            self.transport.abort()
            return
        self.heard = True
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as fault:
            self._fail(Lost(f"{self.service.url} answered what is no HTTP/1.1 ({fault})"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header, but those of this connection alone."""
        name = name.lower()
        if name not in HOP:
            self.headers.append((name, value))

    def on_body(self, part: bytes) -> None:
        """Take a piece of the body."""
        self.size += len(part)
        if self.size > MAX_ANSWER:
            self._fail(Lost(f"{self.service.url} answered more than {MAX_ANSWER} bytes"))
            return
        self.parts.append(part)

    def on_message_complete(self) -> None:
        """Hand the reply over, and the connection back."""
        waiting, self.waiting = self.waiting, None
        if waiting is None:
            return
        status = self.parser.get_status_code()
        body = self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)
        if self.parser.should_keep_alive():
            self.service.idle(self)
        else:
            self.transport.close()
        if not waiting.done():
            waiting.set_result(Reply(status, self.headers, body))

    def drop(self) -> None:
        """End the connection: its answer is not wanted any more."""
        self.waiting = None
        if not self.closed:
            self.transport.abort()

    def _fail(self, fault: Exception) -> None:
        waiting, self.waiting = self.waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(fault)
        if not self.closed:
            self.transport.abort()


class Service:
    """One service by its URL: its connections, what is in flight to it, and since when it is away."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.url, self.host, self.port = url, parts.hostname or "127.0.0.1", parts.port or 80
        self.netloc = parts.netloc.encode()
        self.in_flight = 0
        self.away_since: float | None = None
        self._idle: deque[Wire] = deque()
        self._probe: asyncio.Task[None] | None = None
        self._back: asyncio.Event = asyncio.Event()

    async def ask(self, data: bytes, seconds: float, *, fresh: bool = False) -> Reply:
        """Send a request and return the reply; `fresh`: over a new connection. Unreachable, Lost or Late say how it failed."""
        self.in_flight += 1
        wire, answer = None, None
        try:
            async with asyncio.timeout(seconds):
                wire = (None if fresh else self._reused()) or await self._connected()
                answer = wire.ask(data)
                return await answer
        except TimeoutError:
            raise Late(f"{self.url} did not answer within {seconds * 1000:.0f} ms") from None
        finally:
            self.in_flight -= 1
            # late, or cancelled; by now somebody else may wait on a connection that was handed back
            if wire is not None and answer is not None and wire.waiting is answer:
                wire.drop()

    async def back(self, seconds: float) -> bool:
        """Wait until a connection comes about again; False when none does in that time."""
        if self._probe is None or self._probe.done():
            self._back.clear()
            self._probe = asyncio.get_running_loop().create_task(self._probing())
        try:
            async with asyncio.timeout(seconds):
                await self._back.wait()
        except TimeoutError:
            return False
        return True

    def idle(self, wire: Wire) -> None:
        """Take a connection back."""
        wire.since = time.monotonic()
        self._idle.append(wire)

    def sweep(self, now: float) -> None:
        """Close connections that were idle for so long that the service is about to."""
        while self._idle and (self._idle[0].closed or now - self._idle[0].since > IDLE_SECONDS):
            wire = self._idle.popleft()
            if not wire.closed:
                wire.transport.close()

    def close(self) -> None:
        """Close what is idle, and stop looking for it."""
        if self._probe is not None:
            self._probe.cancel()
        self.sweep(float("inf"))

    def _reused(self) -> Wire | None:
        while self._idle:
            wire = self._idle.pop()
            if not wire.closed and time.monotonic() - wire.since <= IDLE_SECONDS:
                return wire
            if not wire.closed:
                wire.transport.close()
        return None

    async def _connected(self) -> Wire:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, wire = await loop.create_connection(lambda: Wire(self), self.host, self.port)
        except (OSError, TimeoutError) as fault:
            if self.away_since is None:
                self.away_since = time.monotonic()
            raise Unreachable(f"{self.url} cannot be reached ({str(fault) or 'no answer'})") from None
        self.away_since = None
        self._back.set()
        return wire

    async def _probing(self) -> None:
        while True:
            try:
                self.idle(await self._connected())
            except Unreachable:
                await asyncio.sleep(PROBE_SECONDS)
            else:
                return
