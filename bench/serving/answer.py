"""What an answer costs: bento, gateway and a bare FastAPI service beside the floor, in turns.

One connection says what an answer takes; many, how many there are; questions at half and at 80% of that, drawn beforehand, what
the slowest wait. A shared machine is quicker and slower for a while: services take turns of a few answers each, between floors,
and what is told is the median over turns of the difference, or over rounds of the ratio, within each.
"""

import math
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import orjson

from bench.serving import floor, running
from bench.serving.home import Home
from bench.serving.load import Plan, in_process, middle, turns_in_process
from bench.serving.running import Service
from counterfoil.receipts import Receipts
from counterfoil.receipts.store import payloads

CORES = 2  # of the machine that figures are given for
HALF = 0.5  # the load that a bound is for: in turns, each at half of what could be had just before it; the middle one is told
LOADS = (0.25, HALF, 0.65, 0.8, 0.9)
RECEIPTS = 2_000
SUMS = ("asked", "failed", "empty", "degraded")
Begin = Callable[[Home], AbstractContextManager[Service | None]]
EVERYTHING: tuple[Begin, ...] = (
    running.bento,
    running.strict,
    running.mute,
    running.bare,
    running.gateway,
)


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long to measure: rounds between floors, turns in each, answers of a turn; seconds at each load, connections at most."""

    rounds: int = 15
    takes: int = 5
    answers: int = 25
    warm_up: int = 5
    seconds: float = 10.0
    turns: int = 3  # of half as long, in which as many are had as can be
    halves: int = 9  # at half load, half as long each, and half of that for what can be had at that moment
    connections: int = 16
    loads: tuple[float, ...] = LOADS
    floor_rounds: int = 1  # over its people, beside each round


def bodies(home: Home, *, shown: int = floor.SHOWN, channel: str | None = None) -> tuple[str, ...]:
    """Return one question for each person of the floor, asked at the end of the shop's days."""
    context = {"time": home.made["as_of"], **({} if channel is None else {"channel": channel})}
    asked = ({"person": name, "n": shown, "context": context} for name in floor.names(home.made))
    return tuple(orjson.dumps(one).decode() for one in asked)


def plan(home: Home, service: Service, **changes: Any) -> Plan:
    """Return a plan that asks a service of this home."""
    values: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": service.port,
        "path": "/recommend",
        "bodies": bodies(home, channel=service.channel),
        "headers": service.headers or running.headers(home),
    }
    return Plan(**{**values, **changes})


def measure(home: Home, effort: Effort, begin: Iterable[Begin] = EVERYTHING) -> dict[str, Any]:
    """Return what the floor came to, and per service latency, throughput, CPU and errors."""
    with ExitStack() as open_:
        below = running.Floor(home)
        open_.callback(below.close)
        services = {one.name: one for one in _services(home, begin, open_)}
        floors, alone = _in_turn(home, effort, below, services)
        found: dict[str, Any] = {"floor": _typical(floors)}
        for name, service in services.items():
            _say(f"{name} under load")
            found[name] = {**alone[name], "ratio": _ratio(alone[name]["rounds_p50"], floors)}
            found[name]["cpu_ratio"] = round(alone[name]["cpu_ms"] / found["floor"]["cpu_ms"], 3)
            found[name] |= {
                "ready_seconds": round(service.ready_seconds, 2),
                "memory_bytes": service.memory_bytes,
            }
            if name not in (running.MUTED, running.KEPT):
                found[name] |= _loaded(home, effort, service, below)
    found["receipt"] = _receipt(home, found)
    if "gateway" in found and "bento" in found:
        more = differences(found["gateway"]["turns_p50"], found["bento"]["turns_p50"])
        found["gateway"]["extra_ms"] = round(statistics.median(more), 4)
    return found


def _services(home: Home, begin: Iterable[Begin], open_: ExitStack) -> Iterable[Service]:
    """Start everything that is compared; one that this version does not have is left out, and said to be."""
    muted = None
    for one in begin:
        _say(f"starting {one.__name__}")
        service = open_.enter_context(one(home))
        if service is not None:
            yield service
        if one is running.mute:
            muted = service
    if muted is not None:
        yield running.heard(muted)  # others take their turn between its two: one that goes on is warm


def _in_turn(
    home: Home, effort: Effort, below: running.Floor, services: Mapping[str, Service]
) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """Return the floor of each round, and per service the median over rounds of what one connection saw."""
    floors, rounds = [below.measure(effort.floor_rounds)], {name: [] for name in services}  # type: ignore[var-annotated]
    for number in range(effort.rounds):
        _say(f"round {number + 1} of {effort.rounds}")
        plans = [
            plan(home, service, count=effort.answers, warm_up=effort.warm_up) for service in services.values()
        ]
        cpu = {name: service.cpu_seconds for name, service in services.items()}
        shared = Counter(service.pids for service in services.values())  # who answers two kinds of questions
        asked = effort.takes * (effort.answers + effort.warm_up)
        for (name, service), told in zip(
            services.items(), turns_in_process(plans, effort.takes), strict=True
        ):
            told["cpu_ms"] = round(1000 * (service.cpu_seconds - cpu[name]) / asked / shared[service.pids], 4)
            rounds[name].append(told)
        floors.append(below.measure(effort.floor_rounds))
    return floors, {name: _median(told) for name, told in rounds.items()}


def _loaded(home: Home, effort: Effort, service: Service, below: running.Floor) -> dict[str, Any]:
    """Return how many answers can be had, and latency by load: questions come whether or not others wait."""
    floors, turns = [below.measure(effort.floor_rounds)], []
    for _ in range(effort.turns):
        cpu = service.cpu_seconds
        full = in_process(
            plan(home, service, count=10_000_000, seconds=effort.seconds / 2, connections=effort.connections)
        )
        full["cpu_ms"] = round(1000 * (service.cpu_seconds - cpu) / max(1, full["answered"]), 4)
        turns.append(full)
        floors.append(below.measure(effort.floor_rounds))
    typical = middle(turns, lambda one: one["rate"])
    most = typical["rate"]
    cost = _ratio([CORES * 1000 / one["rate"] for one in turns], floors) if most else math.inf
    loads = {}
    for share in effort.loads:
        if share == HALF:
            told = [_half(home, service, effort, seed) for seed in range(effort.halves)]
        else:
            told = [_asked(home, service, share * most, effort.seconds)]
        loads[f"{share:g}"] = {
            **middle(told, _stretched),
            **{name: sum(one[name] for one in told) for name in SUMS},
            "faults": dict(sum((Counter(one["faults"]) for one in told), Counter())),
            "ratios": [round(_stretched(one), 3) for one in told],
            "p99s": [one["ms"].get("p99", math.inf) for one in told],
        }
    return {
        "most": {**typical, "rates": [one["rate"] for one in turns]},
        "share_of_floor": round(1 / cost, 4),
        "loads": loads,
    }


def _half(home: Home, service: Service, effort: Effort, seed: int) -> dict[str, Any]:
    """Return what came of one turn at half of what can be had at this moment, which on a shared machine changes by the minute."""
    full = in_process(
        plan(home, service, count=10_000_000, seconds=effort.seconds / 4, connections=effort.connections)
    )
    return _asked(home, service, max(1.0, HALF * full["rate"]), effort.seconds / 2, seed)


def _asked(home: Home, service: Service, rate: float, seconds: float, seed: int = 0) -> dict[str, Any]:
    """Return what came of questions at a rate, whether or not others wait."""
    count = int(rate * seconds)
    asked = plan(home, service, rate=rate, count=count, seconds=seconds, connections=256, seed=seed)
    return {**in_process(asked), "asked_rate": round(rate, 1)}


def _stretched(told: Mapping[str, Any]) -> float:
    """Return the slowest hundredth in answers of the middle."""
    ms = told["ms"]
    return float(ms["p99"] / ms["p50"]) if ms else math.inf


def _ratio(p50_R: Sequence[float], floors: Sequence[Mapping[str, Any]]) -> float:
    """Return the median over rounds of an answer in floors: of those before and after the round, the mean."""
    ground_R = [(before["sum_ms"] + after["sum_ms"]) / 2 for before, after in pairwise(floors)]
    return round(statistics.median(p50 / ground for p50, ground in zip(p50_R, ground_R, strict=True)), 3)


def differences(p50_T: Sequence[float], without_T: Sequence[float]) -> list[float]:
    """Return by how much one service took longer than another in each turn."""
    return [p50 - without for p50, without in zip(p50_T, without_T, strict=True)]


def _typical(floors: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the floor whose sum is the median of all rounds, and the sums of the others beside it."""
    return {**middle(floors, lambda one: one["sum_ms"]), "rounds_ms": [one["sum_ms"] for one in floors]}


def _median(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a summary over rounds: medians of percentiles, sums of failures."""
    shares = rounds[0]["ms"]
    return {
        "ms": {name: round(statistics.median(one["ms"][name] for one in rounds), 4) for name in shares},
        "cpu_ms": round(statistics.median(one["cpu_ms"] for one in rounds), 4),
        "client_cpu_ms": round(statistics.median(one["client_cpu_ms"] for one in rounds), 4),
        "bytes": rounds[0]["bytes"],
        **{name: sum(one[name] for one in rounds) for name in SUMS},
        "rounds_p50": [one["ms"]["p50"] for one in rounds],
        "turns_p50": [p50 for one in rounds for p50 in one["turns_p50"]],
    }


def _receipt(home: Home, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what receipts weigh, what stages took by them, and which part of an answer is theirs."""
    store = Receipts(home.folder / "receipts")
    sizes, stages, stored = [], {}, 0  # type: ignore[var-annotated]
    for path in reversed(store.open_segments()):
        stored += len(
            path.read_bytes().rstrip(b"\0")
        )  # an open segment lies on room that it has not filled yet
        for payload in payloads(path):
            sizes.append(len(payload))
            for name, took in orjson.loads(payload)["stages_ms"].items():
                stages.setdefault(name, []).append(took)
        if len(sizes) >= RECEIPTS:
            break
    told: dict[str, Any] = {
        "receipts": len(sizes),
        "bytes": round(stored / len(sizes), 1) if sizes else None,
        "payload_bytes": round(statistics.fmean(sizes), 1) if sizes else None,
        "stages_ms": {name: round(statistics.median(took), 4) for name, took in stages.items()},
    }
    if running.MUTED in found:
        without_T = found[running.MUTED]["turns_p50"]
        for name, which in ((running.KEPT, ""), (running.STRICT, "strict_")):
            if name in found:
                more_T = differences(found[name]["turns_p50"], without_T)
                share_T = [more / p50 for more, p50 in zip(more_T, found[name]["turns_p50"], strict=True)]
                told |= {
                    f"{which}ms": round(statistics.median(more_T), 4),
                    f"{which}share": round(statistics.median(share_T), 4),
                }
    return told


def _say(what: str) -> None:
    sys.stderr.write(f"  {what}\n")
    sys.stderr.flush()
