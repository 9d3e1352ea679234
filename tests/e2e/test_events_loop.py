"""The loop closes over HTTP: what people do with an answer is known to the next one, joins its receipt, and lands."""

import shutil
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from bentos import inner
from bentos.collector.app import Collector, create
from bentos.collector.view import Writer
from counterfoil.landing import read_manifest
from counterfoil.pseudonym import pseudonym
from counterfoil.simulator import ShopConfig, simulate
from counterfoil.types import Event
from feature_repo.pushed import RecentStore
from flows import answer, blast, collecting
from flows.intake import sent
from flows.place import Place
from tests.collector_process import collector
from tests.landing_shop import landed_rows
from tests.loop_shop import END, place_of
from tests.replay_shop import service

TOKEN = "t" * 40
ASKED = END + timedelta(hours=10)


@pytest.fixture
def place(turned: Path, home: Path) -> Iterator[Place]:
    shutil.copytree(turned, home, dirs_exist_ok=True)
    opened = place_of(home)
    yield opened
    opened.catalog.engine.dispose()


@pytest.fixture
def events(place: Place) -> Iterator[TestClient]:
    settings = place.settings
    application = create(lambda: (Collector(settings, lambda: Writer(RecentStore(settings))), TOKEN))
    with TestClient(application, headers={inner.TOKEN: TOKEN}) as client:
        yield client


def did(number: int, kind: str, item: str, after: float, **more: Any) -> dict[str, Any]:
    moment = ASKED + timedelta(seconds=after)
    who = {"id": f"live-{number}", "time": moment.isoformat(), "person": "person 1", "session": "visit 1"}
    return {**who, "kind": kind, "item": item, **more}


def reaches_what_knew_of_it(place: Place, batch: str, receipt: str) -> None:
    """Of what was collected, the answers are reached that knew of it before anything was built of it."""
    named = next(one.name for one in read_manifest(place.settings).batches if one.batch == batch).partition(
        " "
    )[2]
    knew = [one for one in place.receipts.all() if "recent" in one.features]
    assert receipt in {one.id for one in knew} and len(knew) < place.receipts.count()
    for words in ([batch], [f"{named}.jsonl"], [f"{ASKED:%Y-%m-%d}"], ["event:live-11"]):
        found = blast.radius(place, words)
        assert found.answers.answers == len(knew) and found.answers.people == 1, words
    before = blast.radius(
        place,
        [f"{ASKED - timedelta(hours=9):%Y-%m-%dT%H:%M}", f"{ASKED - timedelta(hours=8):%Y-%m-%dT%H:%M}"],
    )
    assert before.answers.answers == 0


def visible(events: TestClient) -> None:
    until = time.monotonic() + 30
    while events.get("/readyz").json()["behind_seconds"]:
        assert time.monotonic() < until
        time.sleep(0.02)


def ask(client: TestClient, after: float, **body: Any) -> dict[str, Any]:
    moment = (ASKED + timedelta(seconds=after)).isoformat()
    context = {"time": moment, "session": "visit 1"}
    reply = client.post("/recommend", json={"person": "person 1", "n": 5, "context": context, **body})
    assert reply.status_code == 200, reply.text
    answered: dict[str, Any] = reply.json()
    return answered


def test_an_answer_knows_what_was_done_with_the_one_before_and_it_lands(
    place: Place, events: TestClient
) -> None:
    champion = place.catalog.champion("small")
    assert champion is not None
    with service(place, champion) as client:
        first = ask(client, 0)
        shown = [row["item"] for row in first["items"]]
        receipt = first["receipt"]
        assert "recent" not in place.receipts.find(receipt).features
        acts = [
            *(did(n, "impression", item, 1, position=n + 1, receipt=receipt) for n, item in enumerate(shown)),
            did(10, "click", shown[1], 3, position=2, receipt=receipt),
            did(11, "purchase", shown[1], 5, quantity=2.0, price=1.5),
        ]
        told = events.post("/events", json={"events": acts}).json()
        assert told["accepted"] == len(acts)
        visible(events)
        second = ask(client, 10)
        kept = place.receipts.find(second["receipt"])
        assert shown[1] in str(kept.features["recent"])
        without = ask(client, 11, filters={"exclude_bought": True})
        assert shown[1] not in [row["item"] for row in without["items"]], "bought a moment ago"

    before = {act["event"]: act for act in answer.resolve(place, receipt)["next"]}
    assert {"live-10", "live-11", "live-0"} <= before.keys()
    assert not any(act["landed"] for act in before.values() if act["event"].startswith("live-"))
    assert before["live-10"]["because"] == "it names this receipt"
    assert before["live-11"]["because"] == "the item was shown"
    segment = receipt.removeprefix("receipt-").rpartition("-")[0]
    counted = events.get("/-/clicks").json()["segments"][segment]
    assert counted == {"impressions": len(shown), "clicks": 1}

    assert events.post("/-/close").json()["closed"]
    [landed] = collecting.collect(place).landed
    assert (landed.landed, landed.quarantined, landed.days) == (len(acts), 0, (f"{ASKED:%Y-%m-%d}",))
    after = {act["event"]: act for act in answer.resolve(place, receipt)["next"]}
    assert after.keys() == before.keys() and all(act["landed"] for act in after.values())
    reaches_what_knew_of_it(place, landed.batch, second["receipt"])
    [row] = [row for row in landed_rows(place.settings) if row["id"] == "live-11"]
    assert (row["person"], row["quantity"]) == (pseudonym("person 1", place.settings.pseudonym_key), 2.0)


def test_what_simulated_people_do_can_be_sent(home: Path, tmp_path: Path) -> None:
    from counterfoil.simulator import LiveShop, Shown
    from counterfoil.simulator import live as visits

    config = ShopConfig.sized(10_000, seed=3)
    simulate(config, tmp_path / "shop")
    shop = LiveShop.open(tmp_path / "shop", config.day_start(config.days))
    happened = visits(shop, lambda person: Shown(("i1", "i2", "i3"), None), 20, 0)
    with collector(home) as running:
        done = list(sent(happened, str(running.client.base_url), dict(running.client.headers)))
        assert len(done) >= 60 and all(isinstance(event, Event) for event in done)
        place = place_of(home)
        assert sum(landed.landed for landed in collecting.collect(place).landed) == len(done)
    assert {row["id"] for row in landed_rows(place.settings)} == {event.id for event in done}
