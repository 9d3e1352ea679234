"""Behaviour coming in through the gateway: events a second, acknowledged and known to answers how soon."""

import http.client
import secrets
import statistics
import time
from datetime import UTC, datetime
from typing import Any

import orjson

from bench.serving import floor, shop, whole
from bench.serving.home import Home
from bench.serving.load import DIGITS, Plan, in_process, percentiles
from counterfoil.errors import UnavailableError

BATCH, BATCHES_AT_ONCE, SINGLES_AT_ONCE = 500, 4, 32
NUMBER = "#" * DIGITS
SEEN_TIMES, SEEN_SECONDS, POLL_SECONDS, COLLECTOR_SECONDS = 30, 5.0, 0.01, 60.0


def measure(home: Home, seconds: float = 10.0, seen_times: int = SEEN_TIMES) -> dict[str, Any]:
    """Return events a second in batches and one by one, the time to their acknowledgement, and until an answer knows of them."""
    with whole.running(home) as held:
        whole.champion_first(held, home)
        _await_collector(held)
        visible = _visible(home, held, seen_times)
        batches = in_process(_plan(home, held, BATCH, connections=BATCHES_AT_ONCE, seconds=seconds))
        singles = in_process(_plan(home, held, 1, connections=SINGLES_AT_ONCE, seconds=seconds))
        return {
            "batches": {**batches, "events_a_second": round(batches["rate"] * BATCH, 1), "batch": BATCH},
            "singles": {**singles, "events_a_second": singles["rate"]},
            "visible": visible,
        }


def _await_collector(held: whole.Whole) -> None:
    """Wait until an event is taken: the collector gets ready beside the services. UnavailableError: it never was."""
    until = time.monotonic() + COLLECTOR_SECONDS
    event = {"id": secrets.token_hex(8), "kind": "view", "person": "nobody here", "item": shop.item_id(0)}
    while time.monotonic() < until:
        event["time"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        try:
            _post(held, "/events", event)
        except UnavailableError:
            time.sleep(0.2)
        else:
            return
    raise UnavailableError("the collector takes no events; look into its log")


def _plan(home: Home, held: whole.Whole, batch: int, **changes: Any) -> Plan:
    mark, now = secrets.token_hex(4), datetime.now(UTC).isoformat().replace("+00:00", "Z")
    people = floor.names(home.made)
    bodies = []
    for first in range(20):
        rows = [
            {
                "id": f"{mark}-{NUMBER}-{first}-{row}",
                "time": now,
                "person": people[(first * 37 + row) % len(people)],
                "kind": "view",
                "item": shop.item_id((first * 7919 + row * 104_729) % home.size.items),
                "session": f"s{(first * 37 + row) % len(people)}",
                "channel": "web",
            }
            for row in range(batch)
        ]
        bodies.append(orjson.dumps({"events": rows} if batch > 1 else rows[0]).decode())
    values: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": held.port,
        "path": "/events",
        "bodies": tuple(bodies),
        "headers": held.headers,
        "count": 10_000_000,
        "numbered": NUMBER,
    }
    return Plan(**{**values, **changes})


def _visible(home: Home, held: whole.Whole, times: int) -> dict[str, Any]:
    """Return how long after its acknowledgement a purchase keeps its item out of the buyer's answer, in milliseconds."""
    lags, missed = [], 0
    for name in floor.names(home.made)[:times]:
        items = _recommended(held, name)
        event = {
            "id": f"seen-{secrets.token_hex(8)}",
            "time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "person": name,
            "kind": "purchase",
            "item": items[0],
            "quantity": 1.0,
        }
        _post(held, "/events", event)
        acknowledged = time.perf_counter()
        while (waited := time.perf_counter() - acknowledged) < SEEN_SECONDS:
            if items[0] not in _recommended(held, name):
                lags.append(1000 * waited)
                break
            time.sleep(POLL_SECONDS)
        else:
            missed += 1
    return {"ms": percentiles(lags), "median": statistics.median(lags) if lags else None, "missed": missed}


def _recommended(held: whole.Whole, name: str) -> list[str]:
    asked = {"person": name, "n": 10, "filters": {"exclude_bought": True}}
    try:
        told = _post(held, "/recommend", asked)
    except UnavailableError:  # a machine that is busy elsewhere: once more, and the wait counts
        told = _post(held, "/recommend", asked)
    return [one["item"] for one in told["items"]]


def _post(held: whole.Whole, path: str, content: dict[str, Any]) -> dict[str, Any]:
    client = http.client.HTTPConnection("127.0.0.1", held.port, timeout=30)
    try:
        client.request(
            "POST", path, orjson.dumps(content), {"Content-Type": "application/json", **held.headers}
        )
        reply = client.getresponse()
        told: dict[str, Any] = orjson.loads(reply.read())
        if reply.status != 200:
            raise UnavailableError(f"{path} answered {reply.status}: {told}")
        return told
    finally:
        client.close()
