"""The ASGI application of the collector: its routes, and what it holds while it runs. Plain ASGI, for its cost."""

import asyncio
import gc
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
from prometheus_client import generate_latest

from bentos import inner
from bentos.collector.body import Reader, Refused, Row
from bentos.collector.clicks import COUNTED, HOUR, Clicks
from bentos.collector.feed import Feed, Writes, told
from bentos.collector.log import Full, Log, Mark
from bentos.collector.metrics import Metrics
from bentos.collector.openapi import document
from bentos.collector.window import Window
from bentos.guard import Guard, Message, Receive, Refusal, Scope, Send
from counterfoil import canonical, collected
from counterfoil.errors import IntegrityError, UnavailableError
from counterfoil.pseudonym import fingerprint
from counterfoil.settings import Settings

logger = logging.getLogger(__name__)
WAITING = 2048
GARBAGE = 50_000  # objects between two collections
JSON, TEXT = b"application/json", b"text/plain; version=0.0.4; charset=utf-8"
Reply = tuple[int, bytes, bytes]


class Collector:
    """Everything between a body and its acknowledgement. `connect` makes who writes to the online store."""

    def __init__(self, settings: Settings, connect: Callable[[], Writes], **log_options: Any) -> None:
        self.folder = settings.events
        self.reader = Reader(settings.pseudonym_key)
        self.window, self.clicks, self.metrics = Window(), Clicks(), Metrics()
        self.feed = Feed(self.folder, connect, self.metrics.visible.observe)
        self.log = Log(
            self.folder, fingerprint(settings.pseudonym_key), self._durable, self._lost, **log_options
        )
        self.waiting = 0

    def start(self) -> None:
        """Take up what the log holds: the ids that were acknowledged last, the last hour's clicks, and what is not visible yet.

        A log of days, which nobody landed, takes no longer than one of an hour: nothing is taken while this goes on.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        hour_ago = time.time() - HOUR
        for path in collected.newest(self.folder, self.window.ids, datetime.fromtimestamp(hour_ago, UTC)):
            try:
                self._take_up(path, hour_ago)
            except FileNotFoundError:  # it landed meanwhile
                continue
            except (
                IntegrityError
            ) as lost:  # what comes in is kept all the same; landing stops at it, and says so
                logger.error("not all that was acknowledged can be taken up: %s", lost)
        self.feed.start()

    def _take_up(self, path: Path, hour_ago: float) -> None:
        begun = collected.begun(path).timestamp()  # nothing in it came in before
        for event in collected.events(path):
            self.window.keep((event["id"],))
            if event["kind"] not in COUNTED:
                continue
            at = max(begun, canonical.utc_time(event["time"]).timestamp())
            if at > hour_ago:
                self.clicks.note(SimpleNamespace(**{"receipt": None, "item": None, **event}), at)

    async def close(self) -> None:
        """Write what waits, make it visible, and end."""
        await self.log.close()
        await asyncio.to_thread(self.feed.close)

    async def take(self, body: bytes) -> Reply:
        """Take a body: durable first, then acknowledged, row by row."""
        if self.waiting >= WAITING:
            raise Refusal(429, "busy", f"{WAITING} requests wait already; send this again shortly")
        if self.feed.busy:
            raise Refusal(429, "busy", "answers would know of these too late; send them again shortly")
        begun = time.perf_counter()
        rows = self.reader.read(body)
        new, statuses, waits = self._sorted(rows)
        self.waiting += 1
        try:
            if waits:
                await self.log.keep(b"".join([row.line for row in new]), new)
        except Full as full:
            self._lost(new)
            raise Refusal(429, "busy", str(full)) from full
        except UnavailableError as fault:
            raise Refusal(503, "unkept", str(fault)) from fault
        finally:
            self.waiting -= 1
        self.metrics.durable.observe(time.perf_counter() - begun)
        return 200, JSON, self._told(rows, statuses)

    def _sorted(self, rows: Sequence[Row | Refused]) -> tuple[list[Row], list[str], bool]:
        """Return the rows to be kept, what becomes of each, and whether the disk must be waited for."""
        new: list[Row] = []
        statuses: list[str] = []
        window, pending, waits = self.window, self.window.pending, False
        for row in rows:
            if isinstance(row, Refused):
                statuses.append("refused")
                continue
            id = row.event.id
            if id in pending:  # what it is a duplicate of is not on the disk yet
                statuses.append("duplicate")
                waits = True
            elif id in window:
                statuses.append("duplicate")
            else:
                pending.add(id)
                new.append(row)
                statuses.append("accepted")
        return new, statuses, waits or bool(new)

    def _told(self, rows: Sequence[Row | Refused], statuses: list[str]) -> bytes:
        counts = {name: statuses.count(name) for name in ("accepted", "duplicate", "refused")}
        for name, count in counts.items():
            if count:
                self.metrics.events.labels(name).inc(count)
        told = [
            {"id": row.id, "status": status, "field": row.field, "reason": row.reason}
            if isinstance(row, Refused)
            else {"id": row.event.id, "status": status}
            for row, status in zip(rows, statuses, strict=True)
        ]
        return orjson.dumps({**counts, "events": told})

    def _durable(self, rows: list[Row], mark: Mark) -> None:
        ids = [row.event.id for row in rows]
        self.window.keep(ids)
        self.window.pending.difference_update(ids)
        for row in rows:
            self.clicks.note(row.event)
        self.feed.tell([one for row in rows if (one := told(row.event, row.time_us)) is not None], mark)

    def _lost(self, rows: Sequence[Row]) -> None:
        self.window.pending.difference_update([row.event.id for row in rows])

    def state(self) -> dict[str, Any]:
        """Return what is going on."""
        behind = self.feed.behind_since
        return {
            "ready": True,
            "pending_bytes": self.log.pending_bytes,
            "behind_seconds": 0.0 if behind is None else round(time.monotonic() - behind, 3),
            "ids": len(self.window),
        }


def create(start: Callable[[], tuple[Collector, str]]) -> Guard:
    """Return the application; `start` makes the collector, and the token that others must know, when the server starts."""
    return Guard(App(start), flat=True)


class App:
    """Routes over one collector."""

    def __init__(self, start: Callable[[], tuple[Collector, str]]) -> None:
        self._start = start
        self._collector: Collector | None = None
        self._token = ""
        self._routes: dict[tuple[str, str], Callable[[Collector, bytes], Awaitable[Reply]]] = {
            ("POST", "/events"): Collector.take,
            ("GET", "/livez"): _live,
            ("GET", "/readyz"): _ready,
            ("GET", "/metrics"): _metrics,
            ("GET", "/openapi.json"): _openapi,
            ("GET", "/-/clicks"): _clicks,
            ("POST", "/-/close"): _close,
            ("POST", "/-/forget"): _forget,
        }
        self._paths = {path for _, path in self._routes}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or begin and end with the server."""
        if scope["type"] == "lifespan":
            return await self._live(receive, send)
        try:
            status, kind, content = await self._answer(scope, receive)
        except Refusal as refusal:
            status, kind, content = refusal.status, JSON, _error(refusal.kind, refusal.message)
        except Exception:  # the last border; what was sent stays out of the log
            logger.exception("a request failed")
            status, kind, content = (
                500,
                JSON,
                _error("fault", "the collector failed on this; its log says why"),
            )
        if self._collector is not None:
            self._collector.metrics.requests.labels(str(status)).inc()
        headers = [(b"content-type", kind), (b"content-length", b"%d" % len(content))]
        if status in (429, 503):
            headers.append((b"retry-after", b"1"))
        elif status == 405:
            allowed = ", ".join(method for method, path in self._routes if path == scope["path"])
            headers.append((b"allow", allowed.encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})
        return None

    async def _answer(self, scope: Scope, receive: Receive) -> Reply:
        path, method = scope["path"], scope["method"]
        if path not in inner.HEALTH:
            given = next((value for name, value in scope["headers"] if name == TOKEN), None)
            if given is None or not inner.allowed(given.decode("latin-1"), self._token):
                raise Refusal(401, "token", "this door is for the gateway; send events there")
        if path not in self._paths:
            raise Refusal(404, "unknown", "there is nothing here; POST to /events")
        route = self._routes.get((method, path))
        if route is None:
            raise Refusal(405, "method", f"{method[:16]} is not for {path}")
        if self._collector is None:
            raise Refusal(503, "starting", "the collector starts; ask again shortly")
        return await route(self._collector, (await receive())["body"])

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            collector, self._token = await asyncio.to_thread(self._start)
            await asyncio.to_thread(collector.start)
        except Exception as fault:
            logger.exception("the collector cannot start")
            return await send({"type": "lifespan.startup.failed", "message": str(fault)})
        gc.freeze()  # what is loaded stays; the collector of garbage need not walk it again
        gc.set_threshold(GARBAGE)
        self._collector = collector
        await send({"type": "lifespan.startup.complete"})
        message: Message = await receive()
        assert message["type"] == "lifespan.shutdown"
        await collector.close()
        return await send({"type": "lifespan.shutdown.complete"})


TOKEN = inner.TOKEN.encode()


async def _live(collector: Collector, body: bytes) -> Reply:
    return 200, JSON, b'{"alive":true}'


async def _ready(collector: Collector, body: bytes) -> Reply:
    return 200, JSON, orjson.dumps(collector.state())


async def _metrics(collector: Collector, body: bytes) -> Reply:
    state, metrics = collector.state(), collector.metrics
    metrics.pending.set(state["pending_bytes"])
    metrics.behind.set(state["behind_seconds"])
    return 200, TEXT, generate_latest(metrics.registry)


async def _openapi(collector: Collector, body: bytes) -> Reply:
    return 200, JSON, orjson.dumps(document())


async def _clicks(collector: Collector, body: bytes) -> Reply:
    return 200, JSON, orjson.dumps(collector.clicks.told())


async def _close(collector: Collector, body: bytes) -> Reply:
    """Close the open segment, so that it can land."""
    return 200, JSON, orjson.dumps({"closed": await collector.log.close_segment()})


async def _forget(collector: Collector, body: bytes) -> Reply:
    """Drop what is held under pseudonyms of persons and sessions: a JSON list of texts."""
    try:
        keys = orjson.loads(body)
    except orjson.JSONDecodeError:
        keys = None
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise Refusal(422, "request", "send a list of pseudonyms")
    gone = await asyncio.to_thread(collector.feed.forget, keys)
    if not gone:
        raise Refusal(503, "store", "the online store does not answer; ask again later")
    return 200, JSON, orjson.dumps({"forgotten": len(keys)})


def _error(kind: str, message: str) -> bytes:
    return orjson.dumps({"error": {"kind": kind, "message": message, "fields": []}})
