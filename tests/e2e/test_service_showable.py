"""What is hidden or can be had no longer is in no answer of any route; sellers are capped."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from bentos.replay import replayer
from counterfoil import canonical
from counterfoil.receipts import Receipts
from tests.bento_shop import AS_OF, AS_OF_US, ITEMS, STAMP
from tests.e2e.test_service_rules import Shop, serving_shop

HIDDEN = {"butter", "filler03"}  # butter goes with nearly everything
ENDING = {"coffee", "filler04"}  # coffee is what p07 buys
OVER = {"tea"}  # at the very moment that is asked for
SELLERS = [f"seller {number % 3}" if number % 4 else None for number in range(len(ITEMS))]
ASKED: list[tuple[str, dict[str, Any]]] = [
    ("recommend", {"person": "p07"}),
    ("recommend", {}),
    ("next", {}),
    ("cart", {"items": ["bread", "milk"]}),
    ("similar", {"item": "milk"}),
    ("similar", {"item": "butter"}),  # hidden itself
    ("similar", {"item": "tea"}),
]


def also() -> dict[str, list]:
    """Return the columns of the catalogue that this is about."""
    ends = {**dict.fromkeys(ENDING, AS_OF_US + 86_400_000_000), **dict.fromkeys(OVER, AS_OF_US)}
    return {
        "seller": SELLERS,
        "available_until": pa.array([ends.get(name) for name in ITEMS], pa.int64()).cast(STAMP),
        "hidden": [int(name in HIDDEN) if name != "bread" else None for name in ITEMS],
    }


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with serving_shop(tmp_path_factory.mktemp("showable"), also=also()) as made:
        yield made


@pytest.fixture(autouse=True)
def unruled(shop: Shop) -> Iterator[None]:
    """Take rules away after each test."""
    yield
    (shop.settings.run / "rules.json").unlink(missing_ok=True)


def at(days: float) -> dict[str, Any]:
    return {"time": (AS_OF + timedelta(days=days)).isoformat()}


def shown(said: dict[str, Any]) -> set[str]:
    return {one["item"] for one in said["items"]}


@pytest.mark.parametrize(("route", "body"), ASKED)
def test_neither_is_in_any_answer_however_long(shop: Shop, route: str, body: dict[str, Any]) -> None:
    named = {*body.get("items", ()), body.get("item")} if route in ("cart", "similar") else set()
    said = shop.ask(route, n=100, **body)
    assert shown(said) == {*ITEMS} - HIDDEN - OVER - named
    assert said["rules"][:2] == [
        "none of 2 items that are hidden",
        "none of 1 items that can be had no longer",
    ]
    later = shop.ask(route, n=100, context=at(1), **body)
    assert shown(later) == {*ITEMS} - HIDDEN - OVER - ENDING - named
    assert "none of 3 items that can be had no longer" in later["rules"]
    before = shop.ask(route, n=100, context=at(-1 / 86_400), **body)
    assert shown(before) == {*ITEMS} - HIDDEN - named
    assert before["rules"][0] == "none of 2 items that are hidden" and "longer" not in str(before["rules"])


def test_no_rule_brings_them_back(shop: Shop) -> None:
    """Pinned, lifted, explored: for each of many answers, since chance is another every time."""
    gone = sorted(HIDDEN | OVER)
    shop.rule(
        pins=[{"name": f"pin {name}", "item": name, "place": place + 1} for place, name in enumerate(gone)],
        boosts=[{"name": "up", "items": gone, "factor": 100}],
        explore={"rate": 0.5, "place": 3},
    )
    for route, body in ASKED * 6:
        said = shop.ask(route, n=5, **body)
        assert len(said["items"]) == 5 and not shown(said) & {*gone}, route


def test_every_source_gone_leaves_them_out_too(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model fails as a whole: what fills the list up is what may be shown."""

    class Gone:
        def recommend(self, *_: Any) -> Any:
            raise RuntimeError("gone")

    answers = shop.serving.flow.answers
    monkeypatch.setattr(answers, "loaded", replace(answers.loaded, model=Gone()))
    said = shop.ask(person="p07", n=100)
    assert said["degraded"] and shown(said) == {*ITEMS} - HIDDEN - OVER


def test_a_seller_is_left_out_by_a_rule(shop: Shop) -> None:
    shop.rule(excludes=[{"name": "no second", "sellers": ["seller 2", "nobody"]}])
    left = shown(shop.ask(n=100))
    assert left == {
        item
        for item, seller in zip(ITEMS, SELLERS, strict=True)
        if seller != "seller 2" and item not in HIDDEN | OVER
    }


def test_who_is_answered_is_told_until_when(shop: Shop) -> None:
    said = shop.ask(n=100)
    ends = {one["item"]: one["until"] for one in said["items"] if "until" in one}
    assert ends == dict.fromkeys(ENDING, "2026-03-02T00:00:00Z")


def test_answers_come_out_the_same_when_made_anew(shop: Shop) -> None:
    """By the code in the bento, in a child process: with a cap of the request, under rules, before and after an end."""
    rules = {
        "caps": {"seller": 2, "category": 9},
        "boosts": [{"name": "a seller", "sellers": ["seller 1"], "factor": 3}],
        "pins": [{"name": "gone", "item": "tea", "place": 1}],
        "explore": {"rate": 0.5, "place": 2},
    }
    asked = [(route, body, days) for route, body in ASKED if "person" not in body for days in (-2, 0, 1)]
    receipts = []
    for ruled in (False, True):
        if ruled:
            shop.rule(**rules)
        for number, (route, body, days) in enumerate(asked):
            caps = {"caps": {"seller": 1}} if number % 2 else {}
            said = shop.ask(route, n=6, context=at(days), **body, **caps)
            receipts.append(Receipts(shop.settings.receipts).find(said["receipt"]))
    with replayer(shop.serving.loaded.bundle.path) as child:
        for receipt in receipts:
            held = rules if receipt.features.get("rules") else None
            anew = child.answer(canonical.plain(receipt), None, held)
            stub = canonical.plain(receipt)
            assert [one["item"] for one in anew["items"]] == [one["item"] for one in stub["items"]]
            assert anew["rules"] == stub["rules"] and anew["explored"] == stub["explored"]
    assert any(receipt.request.get("caps") == {"seller": 1} for receipt in receipts)
    assert any("at most 2 of one seller" in receipt.rules for receipt in receipts)


def test_sellers_are_capped_by_request_and_by_rules(shop: Shop) -> None:
    seller_of = dict(zip(ITEMS, SELLERS, strict=True))

    def most(said: dict[str, Any]) -> int:
        return max(Counter(found for one in said["items"] if (found := seller_of[one["item"]])).values())

    assert most(shop.ask(n=8, person="p07")) > 1
    own = shop.ask(n=8, person="p07", caps={"seller": 1})
    assert most(own) == 1 and "at most 1 of one seller" in own["rules"]
    assert Receipts(shop.settings.receipts).find(own["receipt"]).request["caps"] == {"seller": 1}
    shop.rule(caps={"seller": 2, "category": 5})
    ruled = shop.ask(n=8, person="p07")
    assert most(ruled) == 2 and "at most 2 of one seller" in ruled["rules"]
    assert most(shop.ask(n=8, person="p07", caps={"seller": 1})) == 1
    unknown = [one["item"] for one in shop.ask(n=100, caps={"seller": 1})["items"]]
    assert sum(seller_of[item] is None for item in unknown) > 5  # who sells nobody knows is not capped
