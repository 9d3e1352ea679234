"""Clicks that come in through the gateway take a canary back, or do not: gateway, collector, services and judge as they run."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from bentos import inner
from flows import machine
from flows.supervisor.judging import last_ruling
from tests.faults.rolled import STAGE_SECONDS, at_once, faulty, release
from tests.faults.test_releases_under_traffic import Shop, supervised, until

pytestmark = pytest.mark.slow
Clicked = Callable[[str], float]  # by release: the chance with which an item is clicked
LONG = "300"  # seconds of a stage: nothing but a fault ends it meanwhile


@pytest.fixture
def shop(turned: Path, tmp_path: Path) -> Iterator[Shop]:
    with supervised(shutil.copytree(turned, tmp_path / "home"), **{STAGE_SECONDS: LONG}) as running:
        yield running


@contextmanager
def visitors(url: str, clicked: Clicked, count: int = 3) -> Iterator[dict[str, list[int]]]:
    """Have people ask, see what they are shown and click some of it, until the block ends; yield shown and clicked by release."""
    over, lock = threading.Event(), threading.Lock()
    seen: dict[str, list[int]] = {}

    def visit(number: int) -> None:
        random = np.random.default_rng(number)
        with httpx.Client(base_url=url, timeout=10, trust_env=False) as client:
            while not over.is_set():
                who = f"person {random.integers(2000)}"
                asked = {"person": who, "n": 5, "context": {"time": "2024-01-25T00:00:00Z"}}
                answer = client.post("/recommend", json=asked)
                assert answer.status_code == 200, answer.text
                name, items = answer.headers[inner.RELEASE], [row["item"] for row in answer.json()["items"]]
                taken = [item for item in items if random.random() < clicked(name)]
                events = [
                    event(who, "impression", item, answer.json(), place)
                    for place, item in enumerate(items, 1)
                ]
                events += [event(who, "click", item, answer.json(), None) for item in taken]
                told = client.post("/events", json={"events": events})
                assert told.status_code == 200 and told.json()["accepted"] == len(events), told.text
                with lock:
                    counts = seen.setdefault(name, [0, 0])
                    counts[0], counts[1] = counts[0] + len(items), counts[1] + len(taken)

    with at_once(visit, count, over):
        yield seen


def event(who: str, kind: str, item: str, answer: dict[str, Any], position: int | None) -> dict[str, Any]:
    one = {
        "id": f"{kind}-{answer['receipt']}-{item}", "time": datetime.now(UTC).isoformat(), "kind": kind,
        "person": who, "item": item, "receipt": answer["receipt"],
    }  # fmt: skip
    return one if position is None else {**one, "position": position}


def canary(shop: Shop) -> str:
    """Release a bento like the champion's to every second person; return the release's id once it answers."""
    champion = shop.place.catalog.champion("small")
    assert champion is not None
    made = release(shop.place, faulty(shop.place, champion), "canary", 0.5)
    until(lambda: (routes := machine.routed(shop.place)) is not None and routes.challenger is not None, 60)
    return made.id


def test_a_canary_that_is_clicked_less_is_taken_back(shop: Shop) -> None:
    made = canary(shop)
    with visitors(shop.url, lambda name: 0.02 if name == made else 0.3) as seen:
        took = until(lambda: shop.stage() is None, 60)
    ruling = last_ruling(shop.place.settings.run)
    assert ruling is not None and ruling["release"] == made and ruling["course"] == "take back"
    assert "shown items were clicked" in ruling["sentences"][0], ruling
    assert sum(shown for shown, _ in seen.values()) < 30_000, f"it took {took:.0f} s"


def test_a_canary_that_is_clicked_as_often_stays(shop: Shop) -> None:
    made = canary(shop)
    with visitors(shop.url, lambda _: 0.1) as seen:
        until(lambda: seen.get(made, [0])[0] > 5_000, 120)
        assert shop.stage() == ("canary", 0.5)
    time.sleep(3)
    assert shop.stage() == ("canary", 0.5)
    ruling = last_ruling(shop.place.settings.run)
    assert ruling is not None and ruling["course"] == "go on"
