"""Behaviour coming in through the gateway: events a second, acknowledged and known to answers how soon."""

import secrets
import time
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson

from bench.serving import floor, seen, shop, whole
from bench.serving.home import Home
from bench.serving.load import DIGITS, Plan, in_process
from counterfoil.errors import UnavailableError

BATCH, BATCHES_AT_ONCE, SINGLES_AT_ONCE = 500, 4, 32
PROMISED = {"batches": (BATCH, 20_000), "singles": (1, 2_000)}  # events in a body, and events a second
OPEN_CONNECTIONS = 64
MIXED = 5
NUMBER = "#" * DIGITS
SEEN_TIMES, COLLECTOR_SECONDS = 30, 60.0


def measure(home: Home, seconds: float = 10.0, seen_times: int = SEEN_TIMES) -> dict[str, Any]:
    """Return how soon an answer knows of an event, alone and at the promised rates, and how many events can be had."""
    with whole.running(home) as held:
        whole.champion_first(held, home)
        _await_collector(held)
        asking = floor.names(home.made)[: _asking(home)]
        out: dict[str, Any] = {"visible": seen.alone(held, asking[:seen_times])}
        for name, (batch, rate) in PROMISED.items():
            load = _plan(
                home, held, batch, connections=OPEN_CONNECTIONS, rate=rate / batch, seconds=3 * seconds
            )
            out[f"{name} at {rate:,}"] = seen.under(held, asking, load)
            seen.settle(held)
        batches = in_process(_plan(home, held, BATCH, connections=BATCHES_AT_ONCE, seconds=seconds))
        seen.settle(held)
        singles = in_process(_plan(home, held, 1, connections=SINGLES_AT_ONCE, seconds=seconds))
        return {
            "batches": {**batches, "events_a_second": round(batches["rate"] * BATCH, 1), "batch": BATCH},
            "singles": {**singles, "events_a_second": singles["rate"]},
            **out,
        }


def _await_collector(held: whole.Whole) -> None:
    """Wait until an event is taken, and visible: the collector gets ready beside the services. UnavailableError: it never was."""
    until = time.monotonic() + COLLECTOR_SECONDS
    event = {"id": secrets.token_hex(8), "kind": "view", "person": "nobody here", "item": shop.item_id(0)}
    while time.monotonic() < until:
        event["time"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        try:
            seen.post(held, "/events", event)
        except UnavailableError:
            time.sleep(0.2)
        else:
            return seen.settle(held)
    raise UnavailableError("the collector takes no events; look into its log")


def _asking(home: Home) -> int:
    """Return how many people are kept out of the load, half of them at most: the first ones."""
    return min(floor.ASKED, home.size.people // 2)


def _mixed(people: range, times: int) -> list[int]:
    """Return everybody so many times, in another order each time: who comes together does not come together again."""
    draw = np.random.default_rng(0)
    return np.concatenate([draw.permutation(people) for _ in range(times)]).tolist()


def _plan(home: Home, held: whole.Whole, batch: int, **changes: Any) -> Plan:
    """Return a load that speaks of everybody in turn, but for those whose answers are looked at meanwhile."""
    mark, now = secrets.token_hex(4), datetime.now(UTC).isoformat().replace("+00:00", "Z")
    others = range(_asking(home), home.size.people)
    people = _mixed(others, MIXED if batch > 1 else 1)
    bodies = []
    for first in range(0, len(people), batch):
        rows = [
            {
                "id": f"{mark}-{NUMBER}-{row}",
                "time": now,
                "person": shop.person_id(number),
                "kind": "view",
                "item": shop.item_id(number * 104_729 % home.size.items),
                "session": f"s{number}",
                "channel": "web",
            }
            for row, number in enumerate(people[first : first + batch])
        ]
        bodies.append(orjson.dumps({"events": rows} if batch > 1 else rows[0]).decode())
    values: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": held.port,
        "path": "/events",
        "bodies": tuple(bodies),
        "headers": held.headers,
        "count": 1_000_000,
        "numbered": NUMBER,
    }
    return Plan(**{**values, **changes})
