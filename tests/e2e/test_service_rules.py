"""Rules over real answers, and each real thing taken away: the answer degrades, says so, and stays within its time."""

import contextlib
import dataclasses
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.testclient import TestClient

from bentos.recommend import parts, person, rulebook
from bentos.recommend.app import Serving, begin, create
from bentos.recommend.choose import LEFT_OUT
from bentos.recommend.flow import FAILED, Recommend
from bentos.recommend.person import People
from bentos.recommend.sources import POPULAR, Sources
from bentos.release import Released
from counterfoil.errors import UnavailableError
from counterfoil.pseudonym import of_session, pseudonym
from counterfoil.receipts import Receipts
from counterfoil.settings import Settings
from tests import bento_shop
from tests.bento_shop import AS_OF_US, MemoryOnline

AT = {"time": "2026-03-01T00:00:00Z"}
BUDGET_SECONDS = 2.0  # of an answer without what was taken away, on a machine that others use too


@dataclasses.dataclass
class Shop:
    serving: Serving
    client: TestClient
    online: MemoryOnline
    settings: Settings

    def ask(self, route: str = "recommend", **body: Any) -> dict[str, Any]:
        answer = self.client.post(f"/{route}", json={"context": AT, **body})
        assert answer.status_code == 200, answer.text
        said: dict[str, Any] = answer.json()
        return said

    def items(self, **body: Any) -> list[str]:
        return [one["item"] for one in self.ask(**body)["items"]]

    def rule(self, **content: Any) -> str:
        """Let rules hold."""
        rules = rulebook.of_bytes(orjson.dumps(content))
        return rulebook.place(rules, self.settings.run / rulebook.FILE, self.settings.home / rulebook.KEPT)


@contextlib.contextmanager
def serving_shop(root: Path, **made: Any) -> Iterator[Shop]:
    """Serve a bento of two stages over a store in memory; `made` says how it is made (tests/bento_shop.py)."""
    settings = bento_shop.settings_of(root / "home")
    packaged = bento_shop.make_bento(root, settings, "twostage", **made)
    online = MemoryOnline(settings.pseudonym_key)
    released = Released(release="release-1", epoch=1, bento=packaged.tag)
    serving = begin(packaged.path, released, settings, People(lambda: online, pause_seconds=0.0))
    with TestClient(create(lambda: serving, settings.run)) as client:
        yield Shop(serving, client, online, settings)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with serving_shop(tmp_path_factory.mktemp("rules")) as made:
        yield made


@pytest.fixture(autouse=True)
def unruled(shop: Shop) -> Iterator[None]:
    """Take rules away after each test."""
    yield
    (shop.settings.run / rulebook.FILE).unlink(missing_ok=True)
    shop.online.recent.clear()


def receipt(shop: Shop, said: dict[str, Any]) -> Any:
    return Receipts(shop.settings.receipts).find(said["receipt"])


def test_excludes_boosts_and_pins_hold_within_their_dates_and_are_said(shop: Shop) -> None:
    before = shop.items(person="p07", n=5)
    over = {"name": "over", "items": [before[1]], "until": "2026-02-01T00:00:00Z"}
    later = {"name": "later", "item": "milk", "place": 1, "from": "2027-01-01T00:00:00Z"}
    name = shop.rule(
        excludes=[{"name": "recalled", "items": [before[0]]}, over],
        boosts=[{"name": "more of home", "categories": ["home"], "factor": 50}],
        pins=[{"name": "ours", "item": "tea", "place": 2}, later],
    )
    said = shop.ask(person="p07", n=5)
    items = [one["item"] for one in said["items"]]
    assert before[0] not in items and items[1] == "tea"
    assert {items[0], items[2]} <= {"soap", "brush", "novelty"}
    assert said["rules"][:3] == ["rule: recalled", "rule: more of home", "rule: ours"]
    assert receipt(shop, said).features["rules"] == name
    (shop.settings.run / rulebook.FILE).unlink()
    assert shop.items(person="p07", n=5) == before


def test_what_is_excluded_is_in_no_answer_of_any_route(shop: Shop) -> None:
    shop.rule(excludes=[{"name": "no drinks", "categories": ["food > drinks"]}])
    asked: list[tuple[str, dict[str, Any]]] = [
        ("recommend", {"person": "p07"}),
        ("next", {}),
        ("cart", {"items": ["bread"]}),
        ("similar", {"item": "milk"}),
    ]
    for route, body in asked:
        found = {one["item"] for one in shop.ask(route, n=40, **body)["items"]}
        assert len(found) > 20 and not found & {"coffee", "tea"}, route


def test_caps_and_difference_of_the_rules_give_way_to_those_of_the_request(shop: Shop) -> None:
    shelf_of = dict(zip(bento_shop.ITEMS, bento_shop.items()["category"], strict=True))
    shop.rule(caps={"category": 2}, diversity=0.5)
    ruled = shop.ask(n=8)
    assert max(Counter(shelf_of[one["item"]] for one in ruled["items"]).values()) <= 2
    assert "ordered by 0.5 of difference" in ruled["rules"] and "at most 2 of one shelf" in ruled["rules"]
    own = shop.ask(n=8, caps={"category": 1}, diversity=0)
    assert max(Counter(shelf_of[one["item"]] for one in own["items"]).values()) == 1
    assert not any("difference" in said for said in own["rules"])


def test_difference_changes_nothing_by_default(shop: Shop) -> None:
    assert shop.items(person="p07", n=8) == shop.items(person="p07", n=8, diversity=0)
    assert shop.items(person="p07", n=8) != shop.items(person="p07", n=8, diversity=0.9)


def test_what_was_shown_in_vain_rests(shop: Shop) -> None:
    first = shop.items(person="p07", n=3)[0]
    key = pseudonym("p07", shop.settings.pseudonym_key)
    shop.online.recent[key] = [
        (first, "impression", AS_OF_US - hour * 3_600_000_000, 1.0, False) for hour in (9, 5, 1)
    ]
    assert shop.items(person="p07", n=3)[0] == first
    shop.rule(frequency={"shown": 3, "days": 1})
    said = shop.ask(person="p07", n=3)
    assert first not in [one["item"] for one in said["items"]]
    assert said["rules"] == ["1 items rest that were shown often and not taken up"]
    assert receipt(shop, said).features["recent"] == {"tired": [first]}


def test_the_slot_for_learning_is_bounded_and_its_chances_are_logged(shop: Shop) -> None:
    plain = shop.items(person="p07", n=4)
    assert receipt(shop, shop.ask(person="p07", n=4)).explored == {}
    shop.rule(explore={"rate": 0.5, "place": 3})
    seen = Counter()
    for _ in range(60):
        said = shop.ask(person="p07", n=4)
        items = [one["item"] for one in said["items"]]
        assert [*items[:2], items[3]] == [*plain[:2], plain[3]]
        [(item, chance)] = receipt(shop, said).explored.items()
        assert item == items[2]
        assert chance == (0.5 if item == plain[2] else pytest.approx(0.5 / 36))
        if item != plain[2]:
            assert said["items"][2]["reasons"][0] == "shown to learn whether it is liked"
        seen[item == plain[2]] += 1
    assert 15 < seen[True] < 45 and len(seen) == 2


def test_an_item_that_two_rules_pin_stands_where_the_first_has_it_and_nowhere_else(shop: Shop) -> None:
    shop.rule(pins=[{"name": "a", "item": "tea", "place": 2}, {"name": "b", "item": "tea", "place": 4}])
    items = shop.items(person="p07", n=6)
    assert items[1] == "tea" and len(set(items)) == 6


def test_a_place_that_two_rules_want_goes_to_the_first(shop: Shop) -> None:
    shop.rule(pins=[{"name": name, "item": name, "place": 2} for name in ("tea", "soap")])
    assert shop.items(person="p07", n=6)[1] == "tea"


def test_chance_keeps_to_the_caps_and_leaves_pins_where_they_are(shop: Shop) -> None:
    shelf_of = dict(zip(bento_shop.ITEMS, bento_shop.items()["category"], strict=True))
    pins = [{"name": "ours", "item": "tea", "place": 3}]
    shop.rule(explore={"rate": 0.5, "place": 3}, pins=pins)
    for _ in range(12):
        said = shop.ask(person="p07", n=4)
        assert said["items"][2]["item"] == "tea" and receipt(shop, said).explored == {}
    shop.rule(explore={"rate": 0.5, "place": 4}, pins=pins, caps={"category": 1})
    drawn = 0
    for _ in range(40):
        said = shop.ask(person="p07", n=4)
        assert max(Counter(shelf_of[one["item"]] for one in said["items"]).values()) == 1
        [chance] = receipt(shop, said).explored.values()
        drawn += chance != 0.5
    assert drawn


def test_an_answer_under_rules_is_made_anew_from_its_receipt(shop: Shop) -> None:
    """By the receipt alone: the request, the nonce, the rules by their digest, and the recent events that were used."""
    from bentos.recommend.flow import Answers
    from bentos.replay import _answer
    from counterfoil import canonical

    shop.rule(
        explore={"rate": 0.5},
        caps={"category": 3},
        diversity=0.3,
        boosts=[{"name": "x", "items": ["tea"], "factor": 9}],
    )
    session = of_session("visit", shop.settings.pseudonym_key)
    shop.online.recent[session] = [
        ("tea", "view", AS_OF_US - 60_000_000, 1.0, True),
        ("milk", "purchase", AS_OF_US - 30_000_000, 1.0, True),
    ]
    answers = Answers(shop.serving.loaded)
    for route, body in (
        ("recommend", {}),
        ("next", {}),
        ("cart", {"items": ["bread", "tea"]}),
        ("similar", {"item": "milk"}),
    ):
        for _ in range(3):
            stub = receipt(shop, shop.ask(route, context={**AT, "session": "visit"}, n=7, **body))
            rules = rulebook.recalled(shop.settings.home / rulebook.KEPT, stub.features["rules"])
            line = {
                "receipt": canonical.plain(stub),
                "view": None,
                "rules": orjson.loads(rulebook.written(rules)),
            }
            again = _answer(answers, orjson.loads(orjson.dumps(line)))
            now = canonical.plain(stub)
            for name in ("items", "rules", "features", "explored", "degraded"):
                assert again[name] == now[name], (route, name)


def test_a_broken_file_of_rules_leaves_the_last_good_ones_and_the_answer_says_so(shop: Shop) -> None:
    shop.rule(excludes=[{"name": "no bread", "items": ["bread"]}])
    assert "bread" not in shop.items(n=10)
    (shop.settings.run / rulebook.FILE).write_bytes(b"{")
    said = shop.ask(n=10)
    assert said["degraded"] == [rulebook.BROKEN] and "bread" not in [one["item"] for one in said["items"]]
    assert receipt(shop, said).degraded == (rulebook.BROKEN,)


class Gone:
    """A part that is gone."""

    def recommend(self, query: Any, k: int) -> Any:
        raise FileNotFoundError("the index is gone")

    def score(self, *_: Any) -> Any:
        raise FileNotFoundError("the ranker is gone")

    def save(self, folder: Path) -> None:
        raise AssertionError


def without(shop: Shop, **changes: Any) -> Recommend:
    """Return the flow over a model of which something is gone."""
    model = object.__new__(type(shop.serving.loaded.model))
    model.__dict__.update({**shop.serving.loaded.model.__dict__, **changes})
    loaded = dataclasses.replace(shop.serving.loaded, model=model)
    return Recommend(loaded, shop.serving.flow.people, shop.settings.pseudonym_key)


def timed(flow: Recommend, body: dict[str, Any], route: Any = "recommend") -> Any:
    from datetime import UTC, datetime

    start = time.perf_counter()
    answer = flow.answer(route, orjson.dumps({"context": AT, **body}), datetime.now(UTC))
    assert time.perf_counter() - start < BUDGET_SECONDS
    return answer


def test_without_the_ranker_the_retrievers_answer(shop: Shop) -> None:
    answer = timed(without(shop, ranker=Gone()), {"person": "p07", "n": 5})
    assert answer.degraded == (parts.IN_PARTS,)
    assert [item.item for item in answer.items][:2] == ["bread", "butter"]
    assert set(answer.items[0].sources) <= set(shop.serving.loaded.model.retrievers)  # type: ignore[attr-defined]
    assert any(item.item == "coffee" for item in answer.items)  # still personal


def test_without_one_index_the_others_answer(shop: Shop) -> None:
    whole = shop.serving.loaded.model.retrievers  # type: ignore[attr-defined]
    name = next(iter(whole))
    answer = timed(without(shop, retrievers={**whole, name: Gone()}), {"person": "p07", "n": 5})
    assert answer.degraded == (parts.IN_PARTS, parts.SILENT.format(name=name))
    assert len(answer.items) == 5 and not any(name in item.sources for item in answer.items)


def test_without_any_index_the_other_sources_answer(shop: Shop) -> None:
    whole = shop.serving.loaded.model.retrievers  # type: ignore[attr-defined]
    gone = dict.fromkeys(whole, Gone())
    answer = timed(without(shop, retrievers=gone), {"person": "p07", "n": 8})
    assert answer.degraded[0] == FAILED and len(answer.items) == 8
    assert answer.items[0].sources == ("repurchase due",)
    assert (
        answer.items[0].item == "coffee"
    )  # taken every ten days, the last time twelve days ago: still personal


def test_without_the_neighbours_a_cart_is_answered_with_what_is_popular(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sources, "days_of", Gone().score)
    monkeypatch.setattr(Sources, "likes_of", Gone().score)
    said = shop.ask("cart", items=["bread"], n=4)
    assert said["degraded"][:2] == [LEFT_OUT.format(name="goes with"), LEFT_OUT.format(name="like it")]
    assert len(said["items"]) == 4


def test_without_anything_but_counts_there_is_still_an_answer(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Model, parts and every source gone, and the online store too: what is popular in the whole shop is left."""
    for name in ("days_of", "likes_of", "due", "segment", "brand", "new"):
        monkeypatch.setattr(Sources, name, Gone().score)

    class Dead:
        def person(self, *_: Any) -> Any:
            raise UnavailableError("gone")

    monkeypatch.setattr(shop.serving.flow, "people", People(Dead))
    gone = dict.fromkeys(shop.serving.loaded.model.retrievers, Gone())  # type: ignore[attr-defined]
    answer = timed(without(shop, retrievers=gone), {"person": "p07", "n": 5})
    assert answer.degraded[:2] == (person.GONE, FAILED)
    assert {item.sources for item in answer.items} == {(POPULAR,)} and len(answer.items) == 5
