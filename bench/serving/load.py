"""The load: a process of its own that asks over loopback, and says how long every answer took.

    python -m bench.serving.load < plans.json > told.json

Closed: each connection asks again when it has its answer (what an answer takes, or how many can be had). Open: questions come at
moments that were drawn before anything was asked, whoever is waiting; time runs from that moment, so that a server that stands
still is charged for all who came meanwhile (what Tene calls coordinated omission is not left out). Bounded by count and time.
Several plans take turns, a few answers each: so a machine that is slower for a while is so for all.
"""

import math
import resource
import select
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
import orjson

from bench.serving.wire import Answer, Wire

DIGITS = 10
LOOK_SECONDS = 0.05  # between two looks for who waits too long
REST_SECONDS = 0.01
PROBES = 6
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


class Load:
    """A plan under way: one loop over all its connections."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.answers: list[Answer] = []
        self.requests = [_request(plan, body) for body in plan.bodies]
        self._wires: dict[int, Wire] = {}  # by descriptor
        self._free: list[Wire] = []  # the one that was used last is used next
        self._asked: dict[Wire, Answer] = {}
        self._resting: deque[float] = deque()  # until when, of connections whose question was refused

    def run(self) -> None:
        """Ask all that the plan says, and wait for the answers."""
        moments = self._whenever() if self.plan.rate is None else self._drawn(self.plan.rate)
        self._turn(0.0)  # what was closed since the last run
        due, look_at = next(moments, None), 0.0
        while due is not None or self._asked:
            now = time.perf_counter()
            while self._resting and self._resting[0] <= now:
                self._resting.popleft()
            while due is not None and due <= now and self._some_free:
                self._ask(Answer(number=len(self.answers), due=now if self.plan.rate is None else due))
                due, now = next(moments, None), time.perf_counter()
            if now >= look_at:  # few are ever late
                look_at = now + LOOK_SECONDS
                for wire, answer in self._asked.items():
                    if now - answer.sent > self.plan.patience:
                        wire.end("late")
                self._sweep()
            next_s = [*([due] if due is not None and self._some_free else []), *list(self._resting)[:1]]
            self._turn(min(LOOK_SECONDS, min(next_s, default=math.inf) - now))

    def close(self) -> None:
        """Close its connections."""
        for wire in self._wires.values():
            wire.end("")

    @property
    def _some_free(self) -> bool:
        return len(self._asked) + len(self._resting) < self.plan.connections

    def _whenever(self) -> Iterator[float]:
        """Yield moments long gone: a question is due as soon as a connection is free."""
        until = time.perf_counter() + self.plan.seconds
        for _ in range(self.plan.count + self.plan.warm_up):
            if time.perf_counter() >= until:
                return
            yield 0.0

    def _drawn(self, rate: float) -> Iterator[float]:
        """Yield moments that were drawn beforehand, whoever is waiting."""
        gap_N = np.random.default_rng(self.plan.seed).exponential(
            1 / rate, self.plan.count + self.plan.warm_up
        )
        due_N = np.cumsum(gap_N)
        yield from (time.perf_counter() + 0.05 + due_N[due_N <= self.plan.seconds]).tolist()

    def _ask(self, answer: Answer) -> None:
        self.answers.append(answer)
        while self._free and not self._free[-1].open:
            self._free.pop()
        try:
            wire = self._free.pop() if self._free else self._connected()
        except OSError as fault:
            answer.sent = answer.done = time.perf_counter()
            answer.fault = type(fault).__name__
            self._rest(answer)
            return
        self._asked[wire] = answer
        wire.ask(self._question(answer.number), answer)
        if not wire.open:
            self._sweep()

    def _connected(self) -> Wire:
        wire = Wire(self.plan.host, self.plan.port, self.plan.watched)
        self._wires[wire.descriptor] = wire
        return wire

    def _turn(self, seconds: float) -> None:
        """Read and write what can be, or wait for so long; who has an answer is free again. Idle ones are seen to be closed."""
        writing = [wire.descriptor for wire in self._asked if wire.left and wire.open]
        ready, able, _ = select.select(list(self._wires), writing, (), max(0.0, seconds))
        for descriptor in able:
            self._wires[descriptor].write()
        for descriptor in ready:
            self._wires[descriptor].read()
        self._sweep()

    def _sweep(self) -> None:
        for wire in [wire for wire in self._asked if wire.answer is None]:
            self._rest(self._asked.pop(wire))
            self._free.append(wire)
        for descriptor in [descriptor for descriptor, wire in self._wires.items() if not wire.open]:
            del self._wires[descriptor]

    def _rest(self, answer: Answer) -> None:
        """Let a server that refuses at once not be asked a million times: who was refused asks no more for a moment."""
        if answer.fault and self.plan.rate is None:
            self._resting.append(answer.done + REST_SECONDS)

    def _question(self, number: int) -> bytes:
        request = self.requests[number % len(self.requests)]
        if self.plan.numbered is None:
            return request
        return request.replace(self.plan.numbered.encode(), b"%0*d" % (DIGITS, number))


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
    before = _cpu_seconds()
    with closing(load):
        load.run()
    return told(plan, load.answers, _cpu_seconds() - before)


def take_turns(plans: Sequence[Plan], turns: int) -> list[dict[str, Any]]:
    """Carry out closed plans by turns in this process; return what each came to, the median of each turn beside (`turns_p50`).

    The first `warm_up` answers of each turn are not counted. Who begins a turn changes.
    """
    loads, spans = [Load(plan) for plan in plans], [[] for _ in plans]  # type: ignore[var-annotated]
    before = _cpu_seconds()
    with ExitStack() as open_:
        for load in loads:
            open_.callback(load.close)
        for turn in range(turns):
            for at in range(len(plans)):
                one = (at + turn) % len(plans)
                start = len(loads[one].answers) + plans[one].warm_up
                loads[one].run()
                spans[one].append(loads[one].answers[start:])
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


def middle(every: Iterable[dict[str, Any]], key: Callable[[dict[str, Any]], float]) -> dict[str, Any]:
    """Return the one whose key is the middle of all, of two the lower."""
    ordered = sorted(every, key=key)
    return ordered[(len(ordered) - 1) // 2]


def rates(plan: Plan) -> list[float]:
    """Return how many answers a second a closed plan had in each of PROBES turns: what there is for minutes is their middle.

    A shared machine has quick moments and slow ones, and a load that is a share of one of them says little.
    """
    return [in_process(plan)["rate"] for _ in range(PROBES)]


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
