"""The gateway's rooms put together: what happens to a request, from the door to the log."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

from bentos import inner
from bentos.gateway import forward, metrics, openapi, stats
from bentos.gateway.access import AccessLog
from bentos.gateway.admission import PLACES, Admission
from bentos.gateway.answering import RELEASE, Answering, Question, reserve
from bentos.gateway.choice import asked
from bentos.gateway.copies import Copies
from bentos.gateway.http import JSON, Reply, Request, failure, told
from bentos.gateway.keys import Key, Keys
from bentos.gateway.last_good import CROWDED, LastGood, unanswered
from bentos.gateway.services import Late, Lost, Service, Unreachable
from bentos.gateway.tally import Tally
from bentos.gateway.traces import Span, Traces
from bentos.gateway.watch import POLL_SECONDS, Watched
from bentos.guard import Refusal, check_headers
from bentos.routes import FILE, Routes
from counterfoil.settings import Settings

REQUEST = inner.REQUEST.encode()
# Of a service's headers: what is not for callers.
OWN = (REQUEST, inner.WAITED.encode(), inner.BENTO.encode(), inner.TIMING.encode())
AGAIN = (b"retry-after", b"1")
READY_SECONDS = 0.5
CROWD_BYTES = 16_384  # of a question: what is longer takes the one loop too long to read while it is crowded
AWAY = "no service gave an answer, and no list is kept that fits; ask again shortly"


@dataclass(slots=True)
class Asking:
    """A request that was let in: by which key, under which id, within which span."""

    request: Request
    key: Key
    id: bytes
    span: Span | None

    def trace(self) -> bytes:
        """Return the lines that tell a service which span it works in."""
        return forward.trace_headers(self.request) if self.span is None else self.span.headers()


Answer = Callable[[Asking], Awaitable[Reply]]


@dataclass(slots=True)
class Room:
    """How many requests may be inside at a time, and how many are."""

    most: int
    inside: int = 0

    async def answer(
        self, answer: Callable[[Asking], Awaitable[Reply | None]], asking: Asking
    ) -> Reply | None:
        """Answer as one of those inside; None when it is full."""
        if self.inside >= self.most:
            return None
        self.inside += 1
        try:
            return await answer(asking)
        finally:
            self.inside -= 1


class Gateway:
    """What one gateway process holds."""

    def __init__(self, settings: Settings, token: str) -> None:
        self.settings, self.token = settings, token
        self.admission = Admission(settings, token, Keys(settings.gateway))
        self.tally = Tally()
        self.services: dict[str, Service] = {}
        self.watched = Watched(settings.run / FILE, self._taken)
        self.answering = Answering(self.service, lambda: self.watched.current, self.tally, token)
        self.copies = Copies(self.answering, lambda: self.rooms["recommend"].inside > 0)
        self.last_good = LastGood(settings, self.answering)
        self.access = AccessLog(settings.gateway_log_share)
        # by scope of who wants in
        self.rooms = {
            "recommend": Room(settings.gateway_in_flight),
            "events": Room(settings.gateway_events_in_flight),
        }
        self.crowd = Room(settings.gateway_in_flight)  # those that there is no other room for
        self.draining = False
        self.traces = Traces(settings.otlp) if settings.otlp else None
        self._ready: tuple[float, Reply] | None = None
        self._looking: asyncio.Task[None] | None = None  # the one look at the champion that all wait for
        self.answers: dict[str, Answer] = {
            **dict.fromkeys(("/recommend", "/next", "/similar", "/cart"), self._question),
            "/events": self._events,
            "/-/routes": self._routes,
            "/-/stats": self._stats,
            "/metrics": self._metrics,
            "/openapi.json": self._openapi,
            "/livez": self._live,
            "/readyz": self._readiness,
        }

    def service(self, url: str) -> Service:
        """Return the service at a URL."""
        held = self.services.get(url)
        if held is None:
            held = self.services[url] = Service(url)
        return held

    async def handle(self, request: Request) -> Reply:
        """Answer a request, whatever it is."""
        id = forward.request_id(request)
        span = None if self.traces is None else self.traces.begin(request, _path(request), id)
        try:
            reply = await self._answered(request, id, span)
        except Refusal as refusal:
            reply = failure(refusal.status, refusal.kind, refusal.message)
        if span is not None:
            span.tell(reply)
            span.end(reply.status)
        reply.headers = [*(header for header in reply.headers if header[0] not in OWN), (REQUEST, id)]
        if reply.status == 503 and reply.header(AGAIN[0]) is None:
            reply.headers.append(AGAIN)
        if self.access.wants(reply.status):
            self._note(request, reply, id)
        return reply

    def wanted(self, request: Request) -> bool:
        """Say of a request's head whether its body is worth reading: it comes in, and to a place that takes one of its type."""
        place = PLACES.get(request.path)
        if place is None or place.scope not in self.rooms or not place.takes(request.method):
            return False
        if isinstance(self.admission.fitting(request, place), Reply):
            return False
        try:
            check_headers(request.headers)
        except Refusal:
            return False
        return b"content-type" in request.headers

    async def watch(self) -> None:
        """Follow routes and keys, and close what is idle, until cancelled."""
        while True:
            self.look()
            now = time.monotonic()
            for url, service in list(self.services.items()):
                service.sweep(now)
                if not service.in_flight and url not in self._named():
                    service.close()
                    del self.services[url]
            await asyncio.sleep(POLL_SECONDS)

    def _taken(self, routes: Routes) -> None:
        self.tally.take(routes)
        self.last_good.taken(routes)

    def look(self) -> None:
        """Read routes and keys anew where they changed."""
        self.watched.look()
        wrong = self.admission.renew()
        if wrong is not None:
            self.access.log.error("keys not taken: %s", wrong)

    def close(self) -> None:
        """Write and send what waits."""
        self.last_good.close()
        if self.traces is not None:
            self.traces.close()

    def _named(self) -> set[str]:
        routes = self.watched.current
        if routes is None:
            return set()
        held = [routes.champion.url, routes.collector, routes.challenger and routes.challenger.url]
        return {url for url in held if url}

    async def _answered(self, request: Request, id: bytes, span: Span | None) -> Reply:
        if request.refusal is not None:
            raise request.refusal
        place = PLACES.get(request.path)
        if place is None:
            return failure(404, "unknown", "there is nothing here; GET /openapi.json says what there is")
        if not place.takes(request.method):
            allowed = [(b"allow", place.method.encode())]
            return failure(
                405, "method", f"{place.path} takes {place.method}, not {request.method[:16]}", allowed
            )
        key = self.admission.admitted(request, place)
        if isinstance(key, Reply):
            return key
        asking = Asking(request, key, id, span)
        if place.scope not in self.rooms:
            return await self.answers[place.path](asking)
        check_headers(request.headers)
        if b"content-type" not in request.headers:
            raise Refusal(415, "media_type", "the body has no Content-Type; send application/json")
        if not request.body:
            raise Refusal(422, "request", f"{place.path} takes a body, and this one is empty; send JSON")
        return await self._within(place.scope, asking)

    async def _within(self, scope: str, asking: Asking) -> Reply:
        """Answer when there is room, so that those inside stay quick.

        When there is none, a question is answered from the last good list, which asks no service; so many at once, and no more.
        Whatever else comes is turned away.
        """
        room = self.rooms[scope]
        reply = await room.answer(self.answers[asking.request.path], asking)
        if reply is None and scope == "recommend" and len(asking.request.body) <= CROWD_BYTES:
            reply = await self.crowd.answer(self._crowded, asking)
        if reply is None:
            self.tally.stats.shed += 1
            return failure(503, "busy", f"{room.most} requests are being answered; ask again shortly")
        return reply

    async def _crowded(self, asking: Asking) -> Reply | None:
        """Answer a question that there is no room for; None where no list fits it."""
        await asyncio.sleep(0)  # so that all who come at once are counted before the first of them is read
        return await self._listed(self._asked(asking), CROWDED)

    async def _question(self, asking: Asking) -> Reply:
        routes = self.watched.current
        if routes is None:
            return _nobody()
        question = self._asked(asking)
        answered = await self.answering.answer(question, routes)
        if answered is None:
            return await self._listed(question, unanswered(question)) or failure(503, "away", AWAY)
        if answered.reply.status == 200:
            self.last_good.saw(question.asked.channel)
        self.copies.offer(question, answered, routes.challenger)
        return answered.reply

    async def _listed(self, question: Question, why: str) -> Reply | None:
        reply = await self.last_good.answer(question, why)
        self.tally.stats.last_good += reply is not None and reply.status == 200
        return reply

    def _asked(self, asking: Asking) -> Question:
        request, most = asking.request, self.settings.gateway_budget_ms / 1000
        budget = forward.budget(request, most)
        return Question(
            path=request.path,
            body=request.body,
            asked=asked(request.body),
            id=asking.id,
            trace=forward.trace_headers(request),
            span=asking.span,
            until=time.monotonic() + budget,
            reserve=reserve(budget),
            hurried=budget < most,
        )

    async def _events(self, asking: Asking) -> Reply:
        """Pass events on as they came. Sent once: again only when the collector cannot have seen them."""
        routes = self.watched.current
        if routes is None or routes.collector is None:
            return _nobody()
        service = self.service(routes.collector)
        until = time.monotonic() + self.settings.gateway_events_ms / 1000
        request, trace = asking.request, asking.trace()
        while (left := until - time.monotonic()) > 0:
            data = forward.message(
                service, "/events", request.body, self.token, id=asking.id, arm="champion", propensity=1.0,
                seconds=left, trace=trace,
            )  # fmt: skip
            try:
                return await service.ask(data, left)
            except Unreachable:
                await service.back(min(left, 0.1))
            except (Lost, Late) as fault:
                return failure(
                    503,
                    "unsure",
                    f"whether the events were taken is not known ({fault}); send them again, under the same ids",
                )
        return failure(503, "away", "the collector is away, and has not seen these events; send them again")

    async def _routes(self, asking: Asking) -> Reply:
        """Say which routes are taken, and what is in flight to whom."""
        flight = {url: service.in_flight for url, service in self.services.items()}
        return told({**_plain(self.watched.current), "in_flight": flight})

    async def _stats(self, asking: Asking) -> Reply:
        return Reply(200, [JSON], stats.write(self._told()))

    async def _metrics(self, asking: Asking) -> Reply:
        text = await asyncio.to_thread(metrics.text, self._told())  # many lines: nobody waits for them
        return Reply(200, [(b"content-type", metrics.TYPE)], text)

    async def _openapi(self, asking: Asking) -> Reply:
        return Reply(200, [JSON], openapi.document())

    def _told(self) -> stats.Stats:
        return self.tally.told(sum(room.inside for room in (*self.rooms.values(), self.crowd)))

    async def _live(self, asking: Asking) -> Reply:
        return told({"alive": True})

    async def _readiness(self, asking: Asking) -> Reply:
        """Ready is: the routes are known and the champion says that it is; looked at twice a second at most."""
        now = time.monotonic()
        if self.draining:
            return failure(503, "draining", "this gateway is about to end")
        if self._ready is None or now - self._ready[0] > READY_SECONDS:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._looked())
            await asyncio.shield(self._looking)
        assert self._ready is not None
        reply = self._ready[1]
        return Reply(reply.status, list(reply.headers), reply.body)

    async def _looked(self) -> None:
        reply = await self._look_at_champion()
        self._ready = (time.monotonic(), reply)

    async def _look_at_champion(self) -> Reply:
        routes = self.watched.current
        if routes is None:
            return _nobody()
        service = self.service(routes.champion.url)
        data = b"GET /readyz HTTP/1.1\r\nhost: %b\r\n\r\n" % service.netloc
        try:
            reply = await service.ask(data, READY_SECONDS)
        except (Unreachable, Lost, Late) as fault:
            return failure(503, "away", f"the champion does not answer: {fault}")
        if reply.status != 200:
            return failure(503, "away", f"the champion is not ready: it says {reply.status}")
        return told({"ready": True, "use_case": routes.use_case, "epoch": routes.epoch})

    def _note(self, request: Request, reply: Reply, id: bytes) -> None:
        release = reply.header(RELEASE)
        self.access.note(
            reply.status,
            request=id.decode("latin-1"),
            path=_path(request),
            ms=round((time.monotonic() - request.began) * 1000, 2),
            **({} if release is None else {"release": release.decode("latin-1")}),
        )


def _path(request: Request) -> str:
    """Return the route of a request; one word for all that are none, since a caller may make up any number."""
    return request.path if request.path in PLACES else "other"


def _nobody() -> Reply:
    return failure(503, "away", "no routes are known yet; `counterfoil up` brings them, then ask again")


def _plain(routes: Routes | None) -> dict[str, Any]:
    return {"use_case": None, "epoch": None} if routes is None else asdict(routes)
