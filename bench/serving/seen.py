"""How soon an answer knows of what was acknowledged: on its own, and while events come in at the promised rate."""

import http.client
import secrets
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import cycle
from typing import Any

import orjson
import psutil

from bench.serving.load import Plan, in_process, percentiles
from bench.serving.whole import Whole
from bentos import inner
from counterfoil.errors import UnavailableError

PROMISED_MS, SEEN_SECONDS, POLL_SECONDS, START_SECONDS = 1000.0, 5.0, 0.01, 1.0
SETTLED_SECONDS = 120.0
STEADY = 3  # answers that must have an item before its sale may be what takes it out of the next


def alone(held: Whole, names: Sequence[str]) -> dict[str, Any]:
    """Return how long after its acknowledgement a purchase is known to answers, in milliseconds, when nothing else comes in."""
    return told([lag for name in names if (lag := _lag(held, name)) is not None])


def under(held: Whole, names: Sequence[str], plan: Plan) -> dict[str, Any]:
    """Return the same while a load goes on, what the load itself saw, and what share of a core each process took meanwhile.

    `names` are people of whom the load says nothing: what answers to them changes by is what they bought.
    """
    every = cycle(names)
    collector = Collector(held)
    with ThreadPoolExecutor(1) as one:
        load = one.submit(in_process, plan)
        time.sleep(START_SECONDS)  # the load's process begins, and what waits for the disk finds its level
        before, began = collector.counts(), time.perf_counter()
        used = cpu_seconds(held)
        lags = list(_until(load, held, every))
        span, after = time.perf_counter() - began, collector.counts()
        shares = {
            name: round((now - used[name]) / span, 3)
            for name, now in cpu_seconds(held).items()
            if name in used
        }
    found = load.result()
    shares["load"] = round(found["client_cpu_ms"] * found["asked"] / 1000 / found["seconds"], 3)
    events = after["events"] - before["events"]
    return {
        "load": found,
        "visible": told(lags),
        "collector": {
            "cpu_ms_per_1000": round(1e6 * shares["collector"] * span / events, 2) if events else None,
            "events_a_second": round(events / span, 1),
            "lag_ms": collector.lag_ms(before, after),
        },
        "cores": shares,
    }


def settle(held: Whole) -> None:
    """Wait until all that was acknowledged is visible. UnavailableError when it is not in SETTLED_SECONDS."""
    collector, until = Collector(held), time.monotonic() + SETTLED_SECONDS
    while collector.behind_seconds():
        if time.monotonic() > until:
            raise UnavailableError(f"what was acknowledged is not visible after {SETTLED_SECONDS:.0f} s")
        time.sleep(0.1)


def told(lags: Sequence[float]) -> dict[str, Any]:
    """Return what lags (milliseconds; infinite where an answer did not know in SEEN_SECONDS) came to."""
    finite = [lag for lag in lags if lag < 1000 * SEEN_SECONDS]
    return {
        "asked": len(lags),
        "ms": percentiles(finite),
        "median": statistics.median(finite) if finite else None,
        "missed": sum(lag > PROMISED_MS for lag in lags),
        "never": len(lags) - len(finite),
    }


def _until(load: "Future[dict[str, Any]]", held: Whole, names: Iterator[str]) -> Iterator[float]:
    while not load.done():
        if (lag := _lag(held, next(names))) is not None and not load.done():
            yield lag


def _lag(held: Whole, name: str) -> float | None:
    """Return after how many milliseconds an answer that knows of a purchase was asked for; None: no item stayed to be bought."""
    item = _steady(held, name)
    if item is None:
        return None
    event = {
        "id": f"seen-{secrets.token_hex(8)}",
        "time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "person": name,
        "kind": "purchase",
        "item": item,
        "quantity": 1.0,
    }
    post(held, "/events", event)
    acknowledged = time.perf_counter()
    while (waited := time.perf_counter() - acknowledged) < SEEN_SECONDS:
        if item not in _recommended(held, name):
            return 1000 * waited
        time.sleep(POLL_SECONDS)
    return float("inf")


def _steady(held: Whole, name: str) -> str | None:
    """Return the first item that is in several answers one after another: it does not leave them by itself."""
    answers = [_recommended(held, name) for _ in range(STEADY)]
    return next((item for item in answers[0] if all(item in other for other in answers)), None)


def _recommended(held: Whole, name: str) -> list[str]:
    asked = {"person": name, "n": 10, "filters": {"exclude_bought": True}}
    try:
        found = post(held, "/recommend", asked)
    except UnavailableError:  # a machine that is busy elsewhere: once more, and the wait counts
        found = post(held, "/recommend", asked)
    return [one["item"] for one in found["items"]]


def post(held: Whole, path: str, content: dict[str, Any], patience: float = 10.0) -> dict[str, Any]:
    """Return what the door answers to a body. It is sent again while too much waits; UnavailableError for all else but 200."""
    until = time.monotonic() + patience
    while True:
        status, found = _posted(held, path, content)
        if status == 200:
            return found
        if status != 429 or time.monotonic() > until:
            raise UnavailableError(f"{path} answered {status}: {found}")
        time.sleep(0.1)


def _posted(held: Whole, path: str, content: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    client = http.client.HTTPConnection("127.0.0.1", held.port, timeout=30)
    try:
        client.request(
            "POST", path, orjson.dumps(content), {"Content-Type": "application/json", **held.headers}
        )
        reply = client.getresponse()
        return reply.status, orjson.loads(reply.read())
    finally:
        client.close()


def cpu_seconds(held: Whole) -> dict[str, float]:
    """Return the CPU time so far of what runs, the services together, and of this process that asks."""
    found: dict[str, float] = {}
    for name, pid in {**held.pids, "probe": psutil.Process().pid}.items():
        own = psutil.Process(pid)
        # All that runs are children of the supervisor; each is counted for itself.
        every = [own] if name in ("supervisor", "probe") else [own, *own.children(recursive=True)]
        part = "services" if name.startswith("service-") else name
        times = [one.cpu_times() for one in every]
        found[part] = found.get(part, 0.0) + sum(one.user + one.system for one in times)
    return found


class Collector:
    """What the collector says of itself, asked at its own door."""

    def __init__(self, held: Whole) -> None:
        import httpx

        from bentos.routes import read

        routes = read(held.place.settings.run / "routes.json")
        assert routes.collector is not None
        token = inner.read_token(held.place.settings.run)
        self._client = httpx.Client(
            base_url=routes.collector, headers={inner.TOKEN: token}, trust_env=False, timeout=30
        )

    def counts(self) -> dict[str, float]:
        """Return the samples of its metrics that are needed here: `events`, and visible ones by bound of lag in seconds."""
        from prometheus_client.parser import text_string_to_metric_families

        found: dict[str, float] = {"events": 0.0}
        for family in text_string_to_metric_families(self._client.get("/metrics").text):
            for sample in family.samples:
                if sample.name == "counterfoil_events_total" and sample.labels["outcome"] == "accepted":
                    found["events"] = sample.value
                elif sample.name == "counterfoil_events_visible_seconds_bucket":
                    found[sample.labels["le"]] = sample.value
        return found

    def behind_seconds(self) -> float:
        """Return how far what answers see lies behind the log."""
        return float(self._client.get("/readyz").json()["behind_seconds"])

    @staticmethod
    def lag_ms(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
        """Return within how many milliseconds shares of the events became visible: bounds of a histogram, from above."""
        bounds = sorted((float(le), after[le] - before.get(le, 0.0)) for le in after if le != "events")
        if not bounds or not bounds[-1][1]:
            return {}
        shares = {"p50": 0.5, "p95": 0.95, "max": 1.0}
        return {
            name: 1000 * next(le for le, count in bounds if count >= share * bounds[-1][1])
            for name, share in shares.items()
        }
