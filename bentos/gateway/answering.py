"""A question on its way: the release that is assigned, the champion when that fails, the last good list when nobody answers."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from bentos import inner
from bentos.gateway import forward
from bentos.gateway.choice import Asked, propensity
from bentos.gateway.http import Reply
from bentos.gateway.services import Late, Lost, Service, Stale, Unreachable
from bentos.gateway.tally import Outcome, Tally
from bentos.gateway.traces import Span
from bentos.routes import Route, Routes, assigned

CHALLENGER_SHARE = 0.6  # of the time that is left: the champion needs the rest when it fails
RESERVE_SECONDS = 0.15  # in which the last good list is recorded
RESERVE_SHARE = 0.25  # of a short time that this takes at most
FAIR_SECONDS = 0.2  # who gets less, because the caller wants it so, is not to blame for being late
AGAIN_SECONDS = 0.1  # between two looks at where the champion is now
LOST = 2  # connections of one question that may break
FAULTS = (500, 502, 503, 504)
LATE_IN_A_ROW = 5  # after which a service is left alone for a while
ALONE_SECONDS = 1.0
RECEIPT, RELEASE, BENTO = inner.RECEIPT.encode(), inner.RELEASE.encode(), inner.BENTO.encode()
ITEMS, DEGRADED, WAITED = inner.ITEMS.encode(), inner.DEGRADED.encode(), inner.WAITED.encode()


@dataclass(slots=True)
class Question:
    """One question: its bytes, what was read of them, and until when (monotonic seconds) there is time."""

    path: str
    body: bytes
    asked: Asked
    id: bytes
    trace: bytes
    until: float
    span: Span | None = None
    reserve: float = RESERVE_SECONDS  # seconds before `until` in which no release is asked any more
    hurried: bool = False  # the caller gave less time than the gateway would have

    @property
    def rushed(self) -> bool:
        """Whether the caller gave so little time that no service is to blame for having none."""
        return self.hurried and self.reserve < reserve(FAIR_SECONDS)


def reserve(budget: float) -> float:
    """Return how many seconds of a question's budget are kept for the last good list."""
    return min(RESERVE_SECONDS, RESERVE_SHARE * budget)


@dataclass(slots=True)
class Answered:
    """A reply, and the release that gave it."""

    reply: Reply
    route: Route


class Patience:
    """Which services are late again and again: they are left alone, but for a question now and then."""

    def __init__(self) -> None:
        self._late: dict[str, int] = {}
        self._alone_until: dict[str, float] = {}

    def note(self, url: str, late: bool, now: float) -> None:
        """Remember how a question went."""
        if not late:
            self._late.pop(url, None)
            self._alone_until.pop(url, None)
            return
        self._late[url] = self._late.get(url, 0) + 1
        if self._late[url] >= LATE_IN_A_ROW:
            self._alone_until[url] = now + ALONE_SECONDS

    def alone(self, url: str, now: float) -> bool:
        """Say whether a service is to be left alone now; one question per while is let through, to see."""
        until = self._alone_until.get(url)
        if until is None:
            return False
        if now < until:
            return True
        self._alone_until[url] = now + ALONE_SECONDS
        return False


class Answering:
    """Ask the release that is assigned; the champion instead of a challenger that fails."""

    def __init__(
        self, service: Callable[[str], Service], routes: Callable[[], Routes | None], tally: Tally, token: str
    ) -> None:
        self.service, self.routes, self.tally, self.token = service, routes, tally, token
        self.patience = Patience()

    async def answer(self, question: Question, routes: Routes) -> Answered | None:
        """Return the answer; None when neither challenger nor champion gives one in time.

        A challenger's refusal is no answer yet. The champion is asked too: what it answers, the challenger wrongly refused, and
        that is an error of the challenger's; what it refuses as well, or says nothing of, is laid at the caller's door.
        """
        route = assigned(routes, question.asked.who)
        if route is routes.champion:
            return await self._champion(question)
        began = time.monotonic()
        reply = await self._challenger(question, routes, route)
        if reply is not None and answers(reply):
            return Answered(reply, route)
        ms = (time.monotonic() - began) * 1000
        answered = None
        try:
            answered = await self._champion(question)
        finally:
            rescued = answered is not None and answers(answered.reply)
            self.tally.stats.rescued += rescued
            if reply is not None:
                self._count(route, "failed" if rescued else "refused", ms, reply, copy=False)
        return answered

    async def _challenger(self, question: Question, routes: Routes, route: Route) -> Reply | None:
        """Return what a challenger answers, or refuses (which is not counted yet); None when it gives neither in time."""
        now = time.monotonic()
        left = question.until - question.reserve - now
        if left <= 0 or self.patience.alone(route.url, now):
            return None
        try:
            reply = await self.try_once(
                question, route, propensity(routes, route), left * CHALLENGER_SHARE, doubted=True
            )
        except (Unreachable, Lost, Late):
            return None
        return reply if _outcome(reply) in ("answered", "refused") else None

    async def _champion(self, question: Question) -> Answered | None:
        """Ask the champion, wherever it is by now: again after a connection that broke, or when it comes back in time."""
        lost = 0
        while True:
            routes, now = self.routes(), time.monotonic()
            left = question.until - question.reserve - now
            if routes is None or left <= 0:
                return None
            route = routes.champion
            if self.patience.alone(route.url, now):
                return None
            try:
                reply = await self.try_once(question, route, propensity(routes, route), left)
            except Unreachable:
                if not await self._returns(route, question):
                    return None
            except Lost:
                lost += 1
                if lost > LOST:
                    return None
            except Late:
                return None
            else:
                return None if reply.status in FAULTS else Answered(reply, route)

    async def _returns(self, route: Route, question: Question) -> bool:
        """Wait a moment for a service that is away; False when it has been away for too long to wait for."""
        service, now = self.service(route.url), time.monotonic()
        budget = question.until - now
        if service.away_since is not None and now - service.away_since > max(budget, AGAIN_SECONDS):
            return False
        left = min(AGAIN_SECONDS, budget - question.reserve)
        if left > 0:
            await service.back(left)
        return left > 0

    async def try_once(
        self,
        question: Question,
        route: Route,
        chance: float,
        seconds: float,
        *,
        doubted: bool = False,
        copied: Reply | None = None,
    ) -> Reply:
        """Ask one release once, and count how it went. Unreachable, Lost or Late when it gave no answer.

        That it was late is not counted where the caller left it next to no time: it says nothing of the release. A refusal is not
        counted where it is `doubted`: who asks counts it then. `copied`: nobody sees the answer, and the champion gave that one.
        """
        began, copy = time.monotonic(), copied is not None
        outcome: Outcome = "failed"
        reply: Reply | None = None
        try:
            reply = await self._sent(question, route, "shadow" if copy else route.stage, chance, seconds)
            outcome = _outcome(reply, copied)
            return reply
        except Late:
            outcome = "late"
            raise
        finally:
            if outcome != "late" or seconds >= FAIR_SECONDS or not question.hurried:
                now = time.monotonic()
                if not copy:
                    self.patience.note(route.url, outcome == "late", now)
                if not (doubted and outcome == "refused"):
                    self._count(route, outcome, (now - began) * 1000, reply, copy)

    async def unseen(self, question: Question, route: Route, seconds: float) -> Reply:
        """Ask a release what nobody will see, uncounted. Unreachable, Lost or Late when it gave no answer."""
        return await self._sent(question, route, "shadow", 1.0, seconds)

    async def _sent(self, question: Question, route: Route, arm: str, chance: float, seconds: float) -> Reply:
        service, trace = self.service(route.url), question.trace
        span = None
        if question.span is not None:
            span = question.span.child(f"{arm} {question.path}", release=route.release)
            trace = span.headers()
        data = forward.message(
            service, question.path, question.body, self.token, id=question.id,
            arm=arm, propensity=chance, seconds=seconds, trace=trace,
        )  # fmt: skip
        status = None
        try:
            reply = await _asked(service, data, max(seconds, 0.001))
            status = reply.status
            if span is not None:
                span.tell(reply)
            _require_its(reply, route)
            return reply
        finally:
            if span is not None:
                span.end(status)

    def _count(self, route: Route, outcome: Outcome, ms: float, reply: Reply | None, copy: bool) -> None:
        if copy and reply is not None and forsaken(reply):
            self.tally.stats.dropped += 1
            return
        items = degraded = receipt = None
        if reply is not None and outcome == "answered":
            for name, value in reply.headers:
                if name == ITEMS:
                    items = value
                elif name == DEGRADED:
                    degraded = value
                elif name == RECEIPT:
                    receipt = value
        self.tally.note(
            route,
            outcome,
            ms,
            waited_ms=None if reply is None else waited_ms(reply),
            copy=copy,
            empty=items == b"0",
            degraded=degraded not in (None, b"0"),
        )
        if receipt is not None and not copy:
            self.tally.receipt(route, receipt.decode("latin-1"))


async def _asked(service: Service, data: bytes, seconds: float) -> Reply:
    """Ask; over a new connection again where one that was kept alive was closed meanwhile, which says nothing of the service."""
    began = time.monotonic()
    try:
        return await service.ask(data, seconds)
    except Stale:
        left = seconds - (time.monotonic() - began)
        return await service.ask(data, max(left, 0.001), fresh=True)


def _require_its(reply: Reply, route: Route) -> None:
    """See that a reply is of the bento that a route names: Lost where another one has its port by now.

    The release is not compared: a bento is told that it serves for another one a moment before the routes change. Bentos of
    earlier versions do not say which they are.
    """
    bento = reply.header(BENTO)
    if bento is not None and bento != route.bento.encode():
        raise Lost(f"{route.url} is {bento.decode('latin-1')}, but the routes name {route.bento} there")


def waited_ms(reply: Reply) -> float | None:
    """Return for how long nothing was done for an answer, in milliseconds; None where that is not told."""
    return next((float(value) for name, value in reply.headers if name == WAITED), None)


def forsaken(reply: Reply) -> bool:
    """Say whether nobody had time for a copy: that says nothing of the release."""
    return reply.status == 503 and (waited_ms(reply) or 0.0) > 0


def answers(reply: Reply) -> bool:
    """Say whether a reply is an answer: neither a refusal nor a fault."""
    return 200 <= reply.status < 300


def _outcome(reply: Reply, champion: Reply | None = None) -> Outcome:
    """Return what came of a question; a refusal is a failure where the champion answered the same question."""
    if answers(reply):
        return "answered"
    if 400 <= reply.status < 500:
        return "failed" if champion is not None and answers(champion) else "refused"
    return "late" if reply.status == 504 else "failed"
