"""The load: a process of its own that asks over loopback, and says how long every answer took.

    python -m bench.serving.load < plans.json > told.json

Closed: each connection asks again when it has its answer (what an answer takes, or how many can be had). Open: questions come at
moments that were drawn before anything was asked, whoever is waiting; time runs from that moment, so that a server that stands
still is charged for all who came meanwhile (what Tene calls coordinated omission is not left out). Bounded by count and time.
Several plans take turns, a few answers each: so a machine that is slower for a while is so for all.
"""

import asyncio
import math
import resource
import selectors
import sys
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import httptools
import numpy as np
import orjson

DIGITS = 10
SHARES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to ask: `bodies` in turn at `path`, over `connections`; open at `rate` a second, or closed without one.

    What is asked in the first `warm_up` answers is not counted. Who gets no answer within `patience` seconds has failed.
    `keep` asks for every answer's moment, status and sender beside the summary.
    """

    host: str
    port: int
    path: str
    bodies: tuple[str, ...]
    headers: dict[str, str] = field(default_factory=dict)
    method: Literal["POST", "GET"] = "POST"
    connections: int = 1
    count: int = 1000
    seconds: float = 60.0
    warm_up: int = 0
    rate: float | None = None
    seed: int = 0
    patience: float = 10.0
    keep: bool = False
    watched: tuple[str, ...] = ()  # headers of answers to keep with them
    numbered: str | None = (
        None  # a text of DIGITS letters in bodies, which becomes the number of the question
    )


@dataclass(slots=True)
class Answer:
    """One answer: which question, when it was due, sent and done (seconds), and what came; status 0: none."""

    number: int
    due: float
    sent: float = 0.0
    done: float = 0.0
    status: int = 0
    size: int = 0
    empty: bool = False
    degraded: bool = False
    fault: str = ""
    headers: dict[str, str] = field(default_factory=dict)


class Connection(asyncio.Protocol):
    """One keep-alive connection: one question at a time."""

    def __init__(self, watched: Sequence[str] = ()) -> None:
        self.transport: asyncio.Transport | None = None
        self._watched = {name.lower().encode() for name in watched}
        self._asked: asyncio.Future[None] | None = None
        self._answer: Answer | None = None
        self._parts: list[bytes] = []

    @property
    def open(self) -> bool:
        """Whether a question can be sent."""
        return self.transport is not None and not self.transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to parse."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._parser = httptools.HttpResponseParser(self)

    def ask(self, request: bytes, answer: Answer) -> "asyncio.Future[None]":
        """Send a question; the future ends with its answer."""
        assert self.transport is not None
        self._answer, self._parts = answer, []
        self._asked = asyncio.get_running_loop().create_future()
        answer.sent = time.perf_counter()
        self.transport.write(request)
        return self._asked

    def give_up(self) -> None:
        """Wait no longer: whatever comes yet belongs to nobody."""
        self._answer = None
        if self.transport is not None:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Parse what came; what is no HTTP ends the connection."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as fault:
            self._ended(f"no HTTP: {fault}")
            if self.transport is not None:
                self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        self._ended("closed" if exc is None else type(exc).__name__)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the headers that are watched."""
        if self._answer is not None and name.lower() in self._watched:
            self._answer.headers[name.lower().decode()] = value.decode()

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        answer, body = self._answer, b"".join(self._parts)
        if answer is None:
            return
        answer.status, answer.size = self._parser.get_status_code(), len(body)
        answer.empty = b'"items":[]' in body
        answer.degraded = b'"degraded":[' in body and b'"degraded":[]' not in body
        if not self._parser.should_keep_alive() and self.transport is not None:
            self.transport.close()
        self._ended("" if answer.status < 400 else f"status {answer.status}")

    def _ended(self, fault: str) -> None:
        if self._answer is None or self._asked is None:
            return
        self._answer.done, self._answer.fault = time.perf_counter(), fault
        self._answer = None
        if not self._asked.done():
            self._asked.set_result(None)


class Load:
    """A plan under way."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.answers: list[Answer] = []
        self.free: deque[Connection] = deque()
        self.requests = [_request(plan, body) for body in plan.bodies]

    async def run(self) -> None:
        """Ask all that the plan says."""
        if self.plan.rate is None:
            await self._closed()
        else:
            await self._open(self.plan.rate)

    async def _closed(self) -> None:
        until = time.perf_counter() + self.plan.seconds
        total = len(self.answers) + self.plan.count + self.plan.warm_up

        async def one() -> None:
            while len(self.answers) < total and time.perf_counter() < until:
                answer = Answer(number=len(self.answers), due=time.perf_counter())
                self.answers.append(answer)
                await self._ask(answer)
                if answer.fault:
                    await asyncio.sleep(0.01)  # a server that refuses at once is not asked a million times

        await asyncio.gather(*(one() for _ in range(self.plan.connections)))

    async def _open(self, rate: float) -> None:
        gap_N = np.random.default_rng(self.plan.seed).exponential(
            1 / rate, self.plan.count + self.plan.warm_up
        )
        due_N = np.cumsum(gap_N)
        due_N = due_N[due_N <= self.plan.seconds]
        start = time.perf_counter() + 0.05
        room = asyncio.Semaphore(self.plan.connections)
        asking = set()
        for number, due in enumerate((start + due_N).tolist()):
            wait = due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            answer = Answer(number=number, due=due)
            self.answers.append(answer)
            task = asyncio.create_task(self._in_turn(answer, room))
            asking.add(task)
            task.add_done_callback(asking.discard)
        await asyncio.gather(*asking)

    async def _in_turn(self, answer: Answer, room: asyncio.Semaphore) -> None:
        async with room:
            await self._ask(answer)

    async def _ask(self, answer: Answer) -> None:
        connection = None
        try:
            async with asyncio.timeout(self.plan.patience):
                connection = await self._connection()
                await connection.ask(self._question(answer.number), answer)
        except TimeoutError:
            answer.done, answer.fault = time.perf_counter(), "late"
            if connection is not None:
                connection.give_up()
        except OSError as fault:
            answer.done, answer.fault = time.perf_counter(), type(fault).__name__
        else:
            self.free.append(connection)

    def _question(self, number: int) -> bytes:
        request = self.requests[number % len(self.requests)]
        if self.plan.numbered is None:
            return request
        return request.replace(self.plan.numbered.encode(), b"%0*d" % (DIGITS, number))

    async def _connection(self) -> Connection:
        while self.free:
            connection = self.free.pop()
            if connection.open:
                return connection
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(
            lambda: Connection(self.plan.watched), self.plan.host, self.plan.port
        )
        return made


def _request(plan: Plan, body: str) -> bytes:
    """Return a question as it goes over the wire."""
    content = body.encode()
    headers = {"Host": f"{plan.host}:{plan.port}", "Content-Type": "application/json", **plan.headers}
    headers["Content-Length"] = str(len(content))
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{plan.method} {plan.path} HTTP/1.1\r\n{head}\r\n".encode() + content


def percentiles(took_ms: Sequence[float]) -> dict[str, float]:
    """Return what shares of answers took at most: the smallest value that at least that share does not exceed; the mean too."""
    if not len(took_ms):
        return {}
    sorted_N = np.sort(np.asarray(took_ms, float))
    place = {name: max(0, int(np.ceil(share * len(sorted_N))) - 1) for name, share in SHARES.items()}
    found = {name: round(float(sorted_N[at]), 4) for name, at in place.items()}
    return {**found, "max": round(float(sorted_N[-1]), 4), "mean": round(float(sorted_N.mean()), 4)}


def told(plan: Plan, answers: Sequence[Answer], cpu_seconds: float) -> dict[str, Any]:
    """Return what a run came to. Times are of the answers that came, from when they were due; failures are counted.

    `behind_ms` says how late questions were sent: the generator itself, or all its connections, were busy.
    """
    counted = [answer for answer in answers if answer.number >= plan.warm_up and answer.done]
    good = [answer for answer in counted if not answer.fault]
    span = max((a.done for a in counted), default=0.0) - min((a.due for a in counted), default=0.0)
    out: dict[str, Any] = {
        "asked": len(counted),
        "answered": len(good),
        "failed": len(counted) - len(good),
        "faults": dict(Counter(answer.fault for answer in counted if answer.fault)),
        "empty": sum(answer.empty for answer in good),
        "degraded": sum(answer.degraded for answer in good),
        "bytes": round(float(np.mean([answer.size for answer in good])), 1) if good else 0.0,
        "seconds": round(span, 3),
        "rate": round(len(good) / span, 2) if span else 0.0,
        "ms": percentiles([(answer.done - answer.due) * 1000 for answer in good]),
        "behind_ms": percentiles([(answer.sent - answer.due) * 1000 for answer in good]),
        "gap_ms": _longest_gap(good),
        "client_cpu_ms": round(1000 * cpu_seconds / max(1, len(counted)), 4),
    }
    if plan.keep:
        out["kept"] = [asdict(answer) for answer in counted]
    return out


def _longest_gap(good: Sequence[Answer]) -> float:
    """Return the longest time between two answers that came, in milliseconds."""
    done_N = np.sort([answer.done for answer in good])
    return round(float(np.diff(done_N).max()) * 1000, 3) if len(done_N) > 1 else 0.0


def run(plan: Plan) -> dict[str, Any]:
    """Carry out a plan in this process."""
    load = Load(plan)
    # select() sleeps to the microsecond, where epoll and its kin round to a millisecond: half of what is measured here.
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    before = _cpu_seconds()
    try:
        loop.run_until_complete(load.run())
    finally:
        loop.close()
    return told(plan, load.answers, _cpu_seconds() - before)


def take_turns(plans: Sequence[Plan], turns: int) -> list[dict[str, Any]]:
    """Carry out closed plans by turns in this process; return what each came to, the median of each turn beside (`turns_p50`).

    The first `warm_up` answers of each turn are not counted. Who begins a turn changes.
    """
    loads, spans = [Load(plan) for plan in plans], [[] for _ in plans]  # type: ignore[var-annotated]
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    before = _cpu_seconds()
    try:
        for turn in range(turns):
            for at in range(len(plans)):
                one = (at + turn) % len(plans)
                start = len(loads[one].answers) + plans[one].warm_up
                loop.run_until_complete(loads[one].run())
                spans[one].append(loads[one].answers[start:])
    finally:
        loop.close()
    cpu = (_cpu_seconds() - before) / len(plans)
    out = []
    for plan, spans_T in zip(plans, spans, strict=True):
        counted = replace(plan, warm_up=0)
        told_T = [told(counted, answers, 0.0) for answers in spans_T]
        whole = told(counted, [answer for answers in spans_T for answer in answers], cpu)
        out.append({**whole, "turns_p50": [one["ms"].get("p50", math.inf) for one in told_T]})
    return out


def in_process(plan: Plan, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Carry out a plan in a process of its own, and return what it told. RuntimeError with its words when it failed."""
    return turns_in_process([plan], 0, env)[0]


def turns_in_process(
    plans: Sequence[Plan], turns: int, env: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Carry out plans in a process of its own: by turns as `take_turns` does, or one after another where there are none (0)."""
    import subprocess

    done = subprocess.run(
        [sys.executable, "-m", "bench.serving.load"],
        input=orjson.dumps({"plans": plans, "turns": turns}),
        capture_output=True,
        env=env,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the load failed: {done.stderr.decode(errors='replace')[-800:]}")
    found: list[dict[str, Any]] = orjson.loads(done.stdout)
    return found


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Read plans, carry them out, by turns where there are any, say what they came to."""
    asked = orjson.loads(sys.stdin.buffer.read())
    plans = [Plan(**plan) for plan in asked["plans"]]
    found = take_turns(plans, asked["turns"]) if asked["turns"] else [run(plan) for plan in plans]
    sys.stdout.buffer.write(orjson.dumps(found))


if __name__ == "__main__":
    main()
