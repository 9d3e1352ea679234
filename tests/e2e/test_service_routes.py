"""The four routes of a service, what they read, the lock of its door, its counters, and the release that changes under it."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from bentos import inner
from bentos.recommend.app import Serving, begin, create
from bentos.recommend.person import People
from bentos.release import Released
from bentos.task import Task
from counterfoil.pseudonym import of_session, pseudonym
from counterfoil.receipts import Receipts
from counterfoil.settings import Settings
from counterfoil.types import Receipt
from tests import bento_shop
from tests.bento_shop import AS_OF_US, MemoryOnline

AT = {"time": "2026-03-01T00:00:00Z"}
MINUTE_US = 60_000_000


@dataclass
class Shop:
    serving: Serving
    client: TestClient
    online: MemoryOnline
    settings: Settings
    pointer: Path

    def ask(
        self, route: str = "recommend", headers: dict[str, str] | None = None, **body: Any
    ) -> dict[str, Any]:
        answer = self.client.post(f"/{route}", json={"context": AT, **body}, headers=headers)
        assert answer.status_code == 200, answer.text
        said: dict[str, Any] = answer.json()
        return said

    def items(self, route: str = "recommend", **body: Any) -> list[str]:
        return [one["item"] for one in self.ask(route, **body)["items"]]

    def receipt(self, said: dict[str, Any]) -> Receipt:
        return Receipts(self.settings.receipts).find(said["receipt"])

    def happened(self, name: str, *events: tuple[str, str, float], here: bool = True) -> None:
        """Say what a person or a session did: item, kind, minutes before."""
        name_of = pseudonym if name.startswith("p0") else of_session
        key = name_of(name, self.settings.pseudonym_key)
        self.online.recent[key] = [
            (item, kind, AS_OF_US - int(minutes * MINUTE_US), 1.0, here) for item, kind, minutes in events
        ]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    root = tmp_path_factory.mktemp("routes")
    settings = bento_shop.settings_of(root / "home")
    packaged = bento_shop.make_bento(root, settings)
    online = MemoryOnline(settings.pseudonym_key)
    pointer = root / "release.json"
    released = {"release": "release-1", "epoch": 4, "bento": packaged.tag}
    pointer.write_bytes(orjson.dumps(released))
    people = People(lambda: online, pause_seconds=0.0)
    serving = begin(packaged.path, Released(**released), settings, people, release_file=pointer)
    with TestClient(create(lambda: serving, settings.run)) as client:
        yield Shop(serving, client, online, settings, pointer)


@pytest.fixture(autouse=True)
def quiet(shop: Shop) -> None:
    """Forget what a test before made happen."""
    shop.online.recent.clear()


def test_what_goes_with_a_cart_is_named_with_its_reason(shop: Shop) -> None:
    said = shop.ask("cart", items=["bread"], n=3)
    first = said["items"][0]
    assert (first["item"], first["sources"]) == ("butter", ["goes with", "like it"])
    assert first["reasons"][0] == "goes with BREAD in your cart"
    assert "bread" not in [one["item"] for one in said["items"]]
    receipt = shop.receipt(said)
    assert receipt.request["route"] == "cart" and receipt.request["items"] == ["bread"]
    assert receipt.features["evidence"][0][0] == ["cart", "bread"]


def test_items_like_one_come_from_days_and_words_and_never_hold_it(shop: Shop) -> None:
    said = shop.ask("similar", item="tea", n=4)
    assert "tea" not in [one["item"] for one in said["items"]]
    assert said["items"][0]["item"] == "coffee"  # the one other drink: nobody takes the two on one day
    assert said["items"][0]["sources"] == ["like it"] and said["items"][0]["reasons"][0] == "like tea"


def test_an_item_that_nobody_took_has_others_like_it(shop: Shop) -> None:
    assert shop.serving.loaded.snapshot.recent_I[bento_shop.ITEMS.index("novelty")] < 40
    assert set(shop.items("similar", item="novelty", n=2)) == {"soap", "brush"}


def test_an_unknown_item_is_a_404_and_unknown_ones_in_a_cart_are_passed_over(shop: Shop) -> None:
    answer = shop.client.post("/similar", json={"item": "no such thing"})
    assert (answer.status_code, answer.json()["error"]["kind"]) == (404, "unknown")
    assert shop.items("cart", items=["no such thing", "bread"], n=1) == ["butter"]
    assert len(shop.items("cart", items=["no such thing"], n=3)) == 3


def test_next_is_led_by_the_session_and_knows_nobody(shop: Shop) -> None:
    before = shop.items("next", context={**AT, "session": "s1"}, n=5)
    shop.happened("s1", ("tea", "view", 3.0), ("bread", "click", 1.0))
    said = shop.ask("next", context={**AT, "session": "s1"}, n=5)
    first = said["items"][0]
    assert [one["item"] for one in said["items"]] != before
    assert (first["item"], first["sources"]) == ("butter", ["session"])
    assert first["reasons"][0] == "goes with BREAD, which you looked at just now"
    assert shop.receipt(said).person == "nobody"
    assert shop.client.post("/next", json={"person": "p07"}).status_code == 422


def test_what_was_just_bought_is_in_the_history_of_the_next_answer(shop: Shop) -> None:
    shop.happened("p07", ("novelty", "purchase", 0.1), here=False)
    said = shop.ask(person="p07", n=40)
    receipt = shop.receipt(said)
    assert receipt.features["history"]["rows"] == 74
    assert receipt.features["recent"]["events"] == [["novelty", "purchase", AS_OF_US - 6_000_000, 1.0, 0]]
    reasons = next(one["reasons"] for one in said["items"] if one["item"] == "novelty")
    assert reasons[0] == "you bought this once, last less than a day ago"


def test_what_a_row_already_holds_is_not_counted_twice(shop: Shop) -> None:
    shop.happened("p07", ("novelty", "purchase", 3 * 24 * 60), here=False)
    assert shop.receipt(shop.ask(person="p07")).features["history"]["rows"] == 73


def test_the_session_is_merged_into_what_the_model_says(shop: Shop) -> None:
    shop.happened("visit", ("tea", "view", 1.0))
    said = shop.ask(person="p07", context={**AT, "session": "visit"}, n=6)
    assert said["rules"] == ["in turns with what goes with this session"]
    both = next(one for one in said["items"] if one["item"] == "coffee")
    assert both["sources"] == ["repurchase", "session"]
    assert both["reasons"] == ["you buy this every ten days, last 12 days ago"]


class Untouchable:
    """A store of people that must not be read."""

    def person(self, *_: Any) -> Any:
        raise AssertionError("somebody was read")


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("recommend", {"person": "p07"}),
        ("next", {}),
        ("similar", {"person": "p07", "item": "tea"}),
        ("cart", {"person": "p07", "items": ["bread"]}),
    ],
)
def test_who_asks_not_to_be_profiled_is_not_read_at_all(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, route: str, body: dict[str, Any]
) -> None:
    """The people of this flow raise on any read, whether of a person or of a session; so does whoever pauses after a failure."""
    shop.happened("visit", ("tea", "view", 1.0))

    class Blind(People):
        def find(self, *_: Any, **__: Any) -> Any:
            raise AssertionError("somebody was looked up")

    monkeypatch.setattr(shop.serving.flow, "people", Blind(Untouchable))
    asked = {"context": {**AT, "session": "visit"}, "profile": False, **body}
    said = shop.ask(route, **asked)
    receipt = shop.receipt(said)
    assert (receipt.person, receipt.feature_time, said["degraded"]) == ("nobody", None, [])
    assert receipt.request["context"]["session"] is None and receipt.request["profile"] is False
    assert receipt.features["history"]["rows"] == 0 and "recent" not in receipt.features
    nobody = {name: value for name, value in asked.items() if name not in ("person", "profile")}
    nobody["context"] = AT
    assert [one["item"] for one in said["items"]] == shop.items(route, **nobody)
    with pytest.raises(AssertionError):
        shop.serving.flow.people.find("p", datetime.now(UTC))


def test_headers_tell_the_gateway_what_it_needs_and_the_receipt_keeps_the_arm(shop: Shop) -> None:
    headers = {inner.ARM: "canary", inner.PROPENSITY: "0.05"}
    answer = shop.client.post("/recommend", json={"context": AT, "n": 3}, headers=headers)
    said = answer.json()
    assert answer.headers[inner.RECEIPT] == said["receipt"]
    assert (answer.headers[inner.RELEASE], answer.headers[inner.ITEMS]) == ("release-1", "3")
    assert inner.DEGRADED not in answer.headers
    receipt = shop.receipt(said)
    assert (receipt.arm, receipt.propensity) == ("canary", 0.05)
    odd = {inner.ARM: "pirate", inner.PROPENSITY: "nan", inner.DEADLINE: "soon"}
    receipt = shop.receipt(shop.ask(headers=odd))
    assert (receipt.arm, receipt.propensity) == ("champion", 1.0)


def test_nobody_waits_so_nothing_is_computed(shop: Shop) -> None:
    before = Receipts(shop.settings.receipts).count()
    said = shop.serving.front.pointer.released
    task = Task(
        route="recommend", body=orjson.dumps({"context": AT}), time=datetime.now(UTC), release=said.release, epoch=said.epoch,
        bento=said.bento, until=time.monotonic() - 0.001,
    )  # fmt: skip
    assert shop.client.portal is not None
    made = shop.client.portal.call(shop.serving.front.answering.make, task)
    assert (made.status, orjson.loads(made.body)["error"]["kind"]) == (504, "late")
    for none in ("0", "-5"):  # which no load of the service is to blame for
        answer = shop.client.post("/recommend", json={"context": AT}, headers={inner.DEADLINE: none})
        assert answer.status_code == 422 and answer.json()["error"]["fields"][0]["field"] == inner.DEADLINE
    assert Receipts(shop.settings.receipts).count() == before
    shop.ask(headers={inner.DEADLINE: "60000"})


def test_the_release_changes_under_a_running_process_and_the_bento_does_not(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    tag = shop.serving.loaded.bundle.tag

    def point(**content: Any) -> None:
        fresh = shop.pointer.with_suffix(".new")
        fresh.write_bytes(orjson.dumps({"release": "release-2", "epoch": 5, "bento": tag, **content}))
        fresh.replace(shop.pointer)

    point()
    said = shop.ask()
    assert (said["release"], said["epoch"], said["bento"]) == ("release-2", 5, tag)
    assert shop.client.get("/readyz").json()["epoch"] == 5
    point(release="release-3", epoch=6, bento="recommendation:ffffffffffffffff")
    assert (shop.ask()["release"], shop.ask()["release"]) == ("release-2", "release-2")
    assert len([line for line in caplog.messages if "the pointer names" in line]) == 1
    shop.pointer.write_bytes(b"{")
    assert shop.ask()["release"] == "release-2"
    point(release="release-1", epoch=7)
    assert shop.ask()["release"] == "release-1"


def test_what_is_counted_is_what_was_answered(shop: Shop) -> None:
    def counts() -> dict[tuple[str, ...], float]:
        found = {}
        for family in text_string_to_metric_families(shop.client.get("/metrics").text):
            for sample in family.samples:
                labels = [value for name, value in sorted(sample.labels.items()) if name != "le"]
                found[sample.name, *labels, sample.labels.get("le", "")] = sample.value
        return found

    shop.ask("cart", items=["bread"])
    before = counts()
    shop.ask("cart", items=["bread"])
    shop.ask("cart", items=["bread"], filters={"categories": ["no such shelf"]})
    assert shop.client.post("/cart", json={}).status_code == 422
    after = counts()
    assert (
        after["counterfoil_answers_total", "200", "cart", ""]
        == before["counterfoil_answers_total", "200", "cart", ""] + 2
    )
    assert after["counterfoil_answers_total", "422", "cart", ""] == 1
    assert after["counterfoil_short_total", "cart", "empty", ""] == 1
    for stage in ("parse", "sources", "rerank", "reasons", "receipt", "answer"):
        name = ("counterfoil_stage_seconds_count", "cart", stage, "")
        assert after[name] == before[name] + 2
    assert 0 < after["counterfoil_stage_seconds_sum", "cart", "answer", ""] < 60
    buckets = [
        value
        for name, value in after.items()
        if name[:3] == ("counterfoil_stage_seconds_bucket", "cart", "answer")
    ]
    assert max(buckets) == after["counterfoil_stage_seconds_count", "cart", "answer", ""]


def test_counting_an_answer_costs_next_to_nothing(shop: Shop) -> None:
    meter, stages = shop.serving.front.meter, dict.fromkeys("abcdefg", 0.3)
    took = []
    for _ in range(50):
        start = time.perf_counter()
        for _ in range(100):
            meter.answered("test", stages, 2.0, items=10, degraded=0)
        took.append((time.perf_counter() - start) / 100)
    assert min(took) < 20e-6


def test_the_contract_names_every_route_and_is_true_to_the_models(shop: Shop) -> None:
    said = shop.client.get("/openapi.json").json()
    assert set(said["paths"]) == {route.path for route in shop.client.app.routes}  # type: ignore[attr-defined]
    for path in ("/recommend", "/next", "/similar", "/cart"):
        ref = said["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        assert ref.removeprefix("#/components/schemas/") in said["components"]["schemas"]
    assert said["components"]["schemas"]["SimilarRequest"]["required"] == ["item"]
    assert said["components"]["schemas"]["RecommendRequest"]["additionalProperties"] is False


def test_without_the_token_every_route_but_health_is_locked(shop: Shop) -> None:
    """The last test: from here on there is a token."""
    routes = [(route.path, next(iter(route.methods - {"HEAD"}))) for route in shop.client.app.routes]  # type: ignore[attr-defined]
    token = inner.make_token(shop.settings.run)
    for path, method in [*routes, ("/nowhere", "GET")]:
        for given in ({}, {inner.TOKEN: "x" * 43}, {inner.TOKEN: b"\xe9"}):
            said = shop.client.request(method, path, json={}, headers=given)
            assert (said.status_code == 401) == (path not in inner.HEALTH), path
        assert shop.client.request(method, path, json={}, headers={inner.TOKEN: token}).status_code != 401
    assert shop.ask(headers={inner.TOKEN: token})["items"]
    (shop.settings.run / inner.FILE).unlink()
    assert shop.client.post("/recommend", json={"context": AT}).status_code == 401  # a door stays locked
