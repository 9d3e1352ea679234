"""The rank service over real HTTP on this machine; the online store alone is a small one in memory, at its designed seam."""

import dataclasses
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route

from bentos.guard import Guard
from bentos.recommend import person
from bentos.recommend.app import Serving, begin, create
from bentos.recommend.flow import FAILED, Recommend
from bentos.recommend.person import People
from bentos.release import Released
from counterfoil.errors import IntegrityError, UnavailableError
from counterfoil.pseudonym import pseudonym
from counterfoil.receipts import Receipts
from counterfoil.settings import Settings
from tests import bento_shop
from tests.bento_shop import ITEMS, MemoryOnline, MemoryView

AT = {"time": "2026-03-01T00:00:00Z"}
NOW = datetime(2026, 3, 1, 0, 0, 5, tzinfo=UTC)


class Switch:
    """The store in memory, with a switch that breaks it."""

    def __init__(self, key: str) -> None:
        self.inner, self.broken = MemoryOnline(key), False

    def person(self, person_id: str | None, now: datetime, session: str | None = None) -> MemoryView:
        if self.broken:
            raise UnavailableError("the online store does not answer")
        return self.inner.person(person_id, now, session)


class Clock:
    """A clock that a test may set."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Shop:
    serving: Serving
    app: Starlette
    online: Switch
    clock: Clock
    settings: Settings
    client: httpx.Client
    tag: str

    def ask(self, **body: Any) -> dict[str, Any]:
        answer = self.client.post("/recommend", json={"context": AT, **body})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def receipt(self, answer: dict[str, Any]):
        return Receipts(self.settings.receipts).find(answer["receipt"])


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    root = tmp_path_factory.mktemp("service")
    settings = bento_shop.settings_of(root / "home")
    packaged = bento_shop.make_bento(root, settings)
    online = Switch(settings.pseudonym_key)
    released = Released(release="release-0011223344556677", epoch=4, bento=packaged.tag)
    clock = Clock()
    serving = begin(packaged.path, released, settings, People(lambda: online, pause_seconds=0.0), clock=clock)
    app = create(lambda: serving)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    with httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}") as client:
        yield Shop(serving, app, online, clock, settings, client, packaged.tag)
    server.should_exit = True
    thread.join()
    listening.close()


@pytest.fixture(autouse=True)
def whole(shop: Shop) -> None:
    """Mend what a test before broke."""
    shop.online.broken, shop.clock.now = False, NOW


def test_an_answer_has_items_scores_sources_and_reasons(shop: Shop) -> None:
    answer = shop.ask(person="p07", n=5)
    assert [item["item"] for item in answer["items"]] == ["bread", "butter", "soap", "coffee", "brush"]
    assert answer["items"][3]["title"] == "COFFEE"
    assert answer["items"][3]["sources"] == ["repurchase"]
    assert answer["items"][3]["reasons"] == [
        "you buy this every ten days, last 12 days ago",
    ]
    scores = [item["score"] for item in answer["items"]]
    assert scores == sorted(scores, reverse=True)
    assert (answer["release"], answer["bento"], answer["epoch"]) == ("release-0011223344556677", shop.tag, 4)
    assert answer["degraded"] == []


def test_the_receipt_says_what_the_answer_said_and_what_it_saw(shop: Shop) -> None:
    answer = shop.ask(person="p07", n=3, context={**AT, "session": "s1", "channel": "web"})
    receipt = shop.receipt(answer)
    assert receipt.time == NOW and receipt.use_case == "recommendation"
    assert (receipt.release, receipt.bento, receipt.epoch) == ("release-0011223344556677", shop.tag, 4)
    assert receipt.person == pseudonym("p07", shop.settings.pseudonym_key)
    assert [(item.item, item.score, list(item.reasons)) for item in receipt.items] == [
        (item["item"], item["score"], item["reasons"]) for item in answer["items"]
    ]
    assert receipt.features["service"] == "recommendation_v1"
    assert receipt.features["person"] == {"recency_days": 1.0, "baskets": 17.0}
    assert receipt.features["pairs"]["bread"]["times_bought"] == 17.0
    assert receipt.features["history"] == {
        "rows": 73,
        "last_us": bento_shop.AS_OF_US - 86_400_000_000,
        "sha256": "0a50b6fff04ff95e",
    }
    assert receipt.feature_time == datetime(2026, 2, 28, tzinfo=UTC)
    assert receipt.request["n"] == 3 and receipt.request["context"]["channel"] == "web"
    stages = ["parse", "person", "features", "sources", "model", "rerank", "reasons"]
    assert set(receipt.stages_ms) == {*stages}
    assert (receipt.arm, receipt.propensity) == ("champion", 1.0)


def test_neither_person_nor_session_is_in_any_receipt(shop: Shop) -> None:
    shop.ask(person="p07", context={**AT, "session": "very-own-session"})
    stored = b"".join(path.read_bytes() for path in shop.settings.receipts.rglob("*.jsonl"))
    assert b"very-own-session" not in stored
    assert b'"p07"' not in stored


def test_unknown_people_and_nobody_get_what_is_popular(shop: Shop) -> None:
    for body in ({"person": "somebody new"}, {}):
        answer = shop.ask(n=4, **body)
        assert [item["item"] for item in answer["items"]][:2] == ["bread", "butter"]
        assert len(answer["items"]) == 4
        # Repurchase fills up by counts of its own: that it sells this month is true, but measured not to move it.
        assert answer["items"][0]["reasons"] == ["others bought this often"]
        assert answer["degraded"] == []


def test_the_same_question_has_the_same_items(shop: Shop) -> None:
    first, second = (shop.ask(person="p07", n=20) for _ in range(2))
    assert first["items"] == second["items"]
    assert first["receipt"] != second["receipt"]


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({"categories": ["food > drinks"]}, ["coffee", "tea"]),
        ({"categories": ["home"], "in_stock": True}, ["brush", "novelty"]),
        ({"categories": ["home"], "price_max": 4.0}, ["soap"]),
        ({"categories": ["food"], "exclude": ["bread", "butter", "milk", "unknown"]}, ["coffee", "tea"]),
        ({"categories": ["food"], "exclude_bought": True}, ["tea"]),
        ({"categories": ["no such shelf"]}, []),
    ],
)
def test_filters_hold(shop: Shop, filters: dict[str, Any], wanted: list[str]) -> None:
    answer = shop.ask(person="p07", filters=filters)
    assert [item["item"] for item in answer["items"]] == wanted
    assert answer["rules"][0].startswith("only")


def test_the_whole_catalogue_can_be_asked_for_and_nothing_is_made_up(shop: Shop) -> None:
    answer = shop.ask(person="p07", n=100)
    items = [item["item"] for item in answer["items"]]
    assert sorted(items) == sorted(ITEMS)
    assert len(set(items)) == 40


def test_a_store_that_is_gone_degrades_the_answer_and_says_so(shop: Shop) -> None:
    shop.online.broken = True
    answer = shop.ask(person="p07", n=3)
    assert [item["item"] for item in answer["items"]][:2] == ["bread", "butter"]
    assert answer["degraded"] == [person.GONE]
    assert shop.receipt(answer).degraded == (person.GONE,)
    shop.online.broken = False
    assert shop.ask(person="p07", n=3)["degraded"] == []


@pytest.mark.parametrize(
    ("content", "headers", "status", "field"),
    [
        (b"", {"content-type": "application/json"}, 422, "body"),
        (b"{not json", {"content-type": "application/json"}, 422, "body"),
        (b'{"n": 0}', {"content-type": "application/json"}, 422, "n"),
        (b'{"nn": 1}', {"content-type": "application/json"}, 422, "nn"),
        (b'{"filters":{"price_min":-3}}', {"content-type": "application/json"}, 422, "filters.price_min"),
        (b"[" * 2000, {"content-type": "application/json"}, 400, None),
        (b'{"person":"' + b"x" * 1_000_000 + b'"}', {"content-type": "application/json"}, 413, None),
        (b"{}", {"content-type": "text/plain"}, 415, None),
        (b"{}", {}, 415, None),
        (b"{}", {"content-type": "application/json", "content-encoding": "gzip"}, 415, None),
    ],
)  # fmt: skip
def test_what_is_malformed_gets_a_4xx_with_field_and_reason(
    shop: Shop, content: bytes, headers: dict[str, str], status: int, field: str | None
) -> None:
    before = Receipts(shop.settings.receipts).count()
    answer = shop.client.post("/recommend", content=content, headers=headers)
    error = answer.json()["error"]
    assert answer.status_code == status
    assert error["message"]
    assert [fault["field"] for fault in error["fields"]] == ([] if field is None else [field])
    assert Receipts(shop.settings.receipts).count() == before


def test_a_body_sent_in_pieces_counts_as_one(shop: Shop) -> None:
    pieces = (b" " * 100_000 for _ in range(11))
    answer = shop.client.post("/recommend", content=pieces, headers={"content-type": "application/json"})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "kind", ["application/vnd.bentoml+pickle", "application/x-pickle", "application/octet-stream"]
)
def test_a_pickled_body_is_refused_on_every_route(shop: Shop, kind: str) -> None:
    paths = [route.path for route in shop.app.routes if isinstance(route, Route)]
    asking, looking = {"/recommend", "/next", "/similar", "/cart"}, {"/livez", "/readyz", "/about"}
    assert set(paths) == asking | looking | {"/metrics", "/openapi.json"}
    for path in [*paths, "/", "/nowhere"]:
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            answer = shop.client.request(method, path, content=b"\x80\x04N.", headers={"content-type": kind})
            assert answer.status_code == 415, (method, path)


def test_every_route_that_answers_is_known_to_the_seam(shop: Shop) -> None:
    """A route that takes a POST and leaves no receipt would be an answer around the seam."""
    for route in shop.app.routes:
        assert isinstance(route, Route)
        if "POST" in (route.methods or ()):
            before = Receipts(shop.settings.receipts).count()
            about = {"/similar": {"item": "bread"}, "/cart": {"items": ["bread"]}}.get(route.path, {})
            assert shop.client.post(route.path, json={"context": AT, **about}).status_code == 200
            assert Receipts(shop.settings.receipts).count() == before + 1


def test_what_is_not_there_is_said_in_the_same_shape(shop: Shop) -> None:
    assert shop.client.get("/nowhere").json()["error"]["kind"] == "unknown"
    wrong = shop.client.get("/recommend")
    assert (wrong.status_code, wrong.json()["error"]["kind"]) == (405, "method")


def test_readiness_names_release_bento_epoch_and_the_age_of_item_features(shop: Shop) -> None:
    said = shop.client.get("/readyz").json()
    assert said["ready"] is True
    assert (said["release"], said["epoch"], said["bento"]) == ("release-0011223344556677", 4, shop.tag)
    assert said["items_as_of"] == "2026-03-01T00:00:00Z"
    assert said["items"] == 40
    assert said["receipt_flush_ms"] == 50


def test_what_each_step_took_is_told_to_whom_traces_it(shop: Shop) -> None:
    ask = {"n": 1, "context": AT}
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    answer = shop.client.post("/recommend", json=ask, headers={"traceparent": parent})
    took = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", "))
    kept = shop.receipt(answer.json()).stages_ms
    assert set(took) == {*kept, "receipt"}
    assert all(float(took[stage]) == pytest.approx(kept[stage], abs=0.001) for stage in kept)
    assert "server-timing" not in shop.client.post("/recommend", json=ask).headers


def test_an_answer_that_cannot_be_recorded_is_a_503(shop: Shop) -> None:
    (shop.settings.receipts / "2026-03-02").write_text("a file where tomorrow's folder will be")
    shop.clock.now = NOW + timedelta(days=1)
    answer = shop.client.post("/recommend", json={"context": AT})
    assert answer.status_code == 503
    assert answer.json()["error"]["kind"] == "unrecorded"
    assert answer.headers["retry-after"] == "1"
    assert "items" not in answer.json()
    (shop.settings.receipts / "2026-03-02").unlink()
    assert shop.receipt(shop.ask(n=1)).time == NOW + timedelta(days=1)


def test_a_model_that_fails_degrades_the_answer_and_says_so(shop: Shop) -> None:
    class Failing:
        def recommend(self, query: Any, k: int) -> Any:
            raise FloatingPointError("not a number")

        def save(self, folder: Path) -> None:
            raise AssertionError

    flow = shop.serving.flow
    failing = Recommend(
        dataclasses.replace(flow.answers.loaded, model=Failing()), flow.people, shop.settings.pseudonym_key
    )
    answer = failing(b'{"n":3,"filters":{"exclude":["butter"]}}', NOW)
    assert answer.degraded == (FAILED,)
    assert [item.item for item in answer.items] == ["bread", "milk", "soap"]
    assert answer.items[0].sources == ("fallback",)
    assert answer.rules == ("none of 1 items that were named", "3 of 3 filled up with what is popular")


def test_forty_people_at_once_all_get_their_own_answer(shop: Shop) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: shop.ask(person=f"p{number:02d}", n=3), range(40)))
    people = [shop.receipt(answer).person for answer in answers]
    assert people == [pseudonym(f"p{number:02d}", shop.settings.pseudonym_key) for number in range(40)]
    assert len({answer["receipt"] for answer in answers}) == 40


def test_the_door_stands_before_bentomls_own_routes() -> None:
    from bentos.recommend.service import Recommend

    assert Guard in [entry[0] for entry in Recommend.middlewares]


def test_a_bento_that_the_release_does_not_name_is_not_served(shop: Shop) -> None:
    released = Released(release="release-1", epoch=5, bento="recommendation:ffffffffffffffff")
    with pytest.raises(IntegrityError, match="but the release names recommendation:ffffffffffffffff"):
        begin(shop.serving.loaded.bundle.path, released, shop.settings, People(lambda: shop.online))


def test_an_exported_bento_carries_its_model(shop: Shop, tmp_path: Path) -> None:
    """As in a container: the models lie within the bento, the store around it is gone."""
    from bentos.bundle import open_bundle

    source = shop.serving.loaded.bundle
    shutil.copytree(source.path, tmp_path / "bento")
    name, version = source.about["model"]["tag"].split(":")
    shutil.copytree(source.model, tmp_path / "bento" / "models" / name / version)
    opened = open_bundle(tmp_path / "bento")
    assert opened.tag == shop.tag
    assert opened.model.is_relative_to(tmp_path)
