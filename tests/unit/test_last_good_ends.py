"""The last good list when no service answers: what has ended since is not in it, and the receipt says so."""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import orjson

from bentos import inner
from bentos.gateway.answering import Question, reserve
from bentos.gateway.choice import Asked
from bentos.gateway.http import Reply
from bentos.gateway.last_good import (
    BOUGHT,
    CAPS,
    DIFFERENCE,
    DRAWN,
    ENDED,
    HURRIED,
    MARK,
    RULED,
    SAYS,
    SHELVES,
    Good,
    LastGood,
    _good,
    unanswered,
)
from bentos.recommend import rulebook
from bentos.routes import Route, Routes
from bentos.seam import response_body
from counterfoil import canonical
from counterfoil.receipts import Receipts
from counterfoil.types import Receipt, ReceiptItem
from flows.copied import judged
from flows.sameness import SAME
from tests.bento_shop import settings_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ENDS = {"b": NOW, "c": NOW + HOUR}
ROUTE = Route(
    release="release-1", bento="shop:0123456789abcdef", epoch=1, url="http://nowhere", stage="champion"
)


def answered(receipts: Receipts) -> Receipt:
    """Return the recorded answer of a service: four items, two of which end."""
    items = tuple(ReceiptItem(item=name, score=1.0, sources=("own",), reasons=()) for name in "abcd")
    return Receipt(
        id=receipts.new_id(NOW), time=NOW, use_case="recommendation", release=ROUTE.release, bento=ROUTE.bento, epoch=1,
        person="nobody", request={"n": 100}, items=items, rules=(), features={}, feature_time=None, degraded=(),
    )  # fmt: skip


def list_of(origin: Receipt) -> Good:
    """Return the list that this answer makes; nothing in it ends."""
    routes = Routes(use_case="recommendation", epoch=1, champion=ROUTE)
    good = _good(Reply(200, [], response_body(origin, ("A", "B", "C", "D"))), routes, anything=True)
    assert good is not None
    return good


def ask(gateway: LastGood, moment: datetime, *, seconds: float = 1.0, **body: Any) -> dict[str, Any]:
    context = {"time": canonical.utc_text(moment), **body.pop("context", {})}
    until = time.monotonic() + 5
    asked = Asked(who=None, channel=context.get("channel"))
    told = orjson.dumps({"context": context, **body})
    question = Question(
        "/recommend", told, asked, b"i", b"", until, reserve=reserve(seconds), hurried=seconds < 1
    )
    reply = asyncio.run(gateway.answer(question, unanswered(question)))
    assert reply.status == 200
    return cast("dict[str, Any]", orjson.loads(reply.body))


def test_what_has_ended_since_is_left_out_and_the_copy_is_still_held_against_its_origin(
    tmp_path: Path,
) -> None:
    settings = settings_of(tmp_path / "home")
    receipts = Receipts(settings.receipts)
    origin = answered(receipts)
    receipts.write(origin)
    body = response_body(origin, ("A", "B", "C", "D"), {k: canonical.utc_text(v) for k, v in ENDS.items()})
    routes = Routes(use_case="recommendation", epoch=1, champion=ROUTE)
    good = _good(Reply(200, [], body), routes, anything=True)
    assert good is not None
    gateway = LastGood(settings, cast("Any", None))  # it asks nobody here
    gateway.lists[""] = good
    gateway._keep()
    assert LastGood(settings, cast("Any", None)).lists == {"": good}
    found = {}
    for name, moment in (("before", NOW - HOUR), ("at the end", NOW), ("after both", NOW + HOUR)):
        said = ask(gateway, moment, n=2)
        found[name] = [one["item"] for one in said["items"]], said["rules"]
        stub = receipts.find(said["receipt"])
        assert judged(receipts, stub).kind == SAME
        shown = [item.item for item in stub.items]
        assert shown == found[name][0]
    assert found == {
        "before": (["a", "b"], []),
        "at the end": (["a", "c"], ["none of 1 items that can be had no longer"]),
        "after both": (["a", "d"], ["none of 2 items that can be had no longer"]),
    }
    assert stub.features[MARK][ENDED] == ["b", "c"]
    altered = replace(stub, features={MARK: {**stub.features[MARK], ENDED: []}})
    assert judged(receipts, altered).kind == "items"
    gateway.close()


def test_what_the_rules_exclude_since_is_left_out_and_what_cannot_be_kept_to_is_said(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "home")
    receipts = Receipts(settings.receipts)
    origin = answered(receipts)
    drawn = replace(origin.items[0], reasons=(inner.DRAWN,))
    origin = replace(origin, items=(drawn, *origin.items[1:]))
    receipts.write(origin)
    good = list_of(origin)
    gateway = LastGood(settings, cast("Any", None))
    gateway.lists[""] = good
    plain = ask(gateway, NOW)
    assert [one["item"] for one in plain["items"]] == ["b", "c", "d"] and plain["degraded"] == [SAYS]
    rules = rulebook.of_bytes(
        orjson.dumps(
            {
                "excludes": [
                    {"name": "recalled", "items": ["c"]},
                    {"name": "winter", "categories": ["sledges"]},
                ]
            }
        )
    )
    rulebook.place(rules, settings.run / rulebook.FILE, settings.home / rulebook.KEPT)
    told = ask(gateway, NOW, person="ann", filters={"exclude_bought": True}, caps={"brand": 1})
    assert [one["item"] for one in told["items"]] == ["b", "d"]
    assert told["rules"] == ["none of 1 items that the rules exclude by now"]
    assert told["degraded"] == [SAYS, BOUGHT, CAPS, SHELVES]
    stub = receipts.find(told["receipt"])
    assert judged(receipts, stub).kind == SAME and stub.explored == {}
    kept = stub.features[MARK]
    assert (kept[RULED], kept[DRAWN]) == (["c"], ["a"])
    assert judged(receipts, replace(stub, features={MARK: {**kept, DRAWN: []}})).kind == "items"
    gateway.close()


def test_a_channels_list_by_who_answered_before_is_passed_over_and_asked_for_anew(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "home")
    origin = answered(Receipts(settings.receipts))
    good = list_of(origin)
    gateway = LastGood(settings, cast("Any", None))
    gateway.lists |= {"": good, "app": replace(good, release="release-app")}
    gateway._keep()
    again = LastGood(settings, cast("Any", None))
    assert [*again._channels] == ["", "app"]  # it is renewed whether or not somebody asks by it again
    assert ask(again, NOW, context={"channel": "app"})["release"] == "release-app"
    again.lists[""] = replace(good, release="release-2", epoch=2)
    assert ask(again, NOW, context={"channel": "app"})["release"] == "release-2"
    again.close()


def test_who_gave_no_time_is_told_that_and_not_that_the_service_is_away(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "home")
    origin = answered(Receipts(settings.receipts))
    good = list_of(origin)
    gateway = LastGood(settings, cast("Any", None))
    gateway.lists[""] = good
    assert ask(gateway, NOW, seconds=0.02)["degraded"] == [HURRIED]
    assert ask(gateway, NOW, seconds=0.4)["degraded"] == [SAYS]
    assert ask(gateway, NOW, diversity=0.5)["degraded"] == [SAYS, DIFFERENCE]
    assert ask(gateway, NOW, diversity=0)["degraded"] == [SAYS]
    gateway.close()


def test_a_list_of_before_there_were_ends_is_answered_whole(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "home")
    origin = answered(Receipts(settings.receipts))
    routes = Routes(use_case="recommendation", epoch=1, champion=ROUTE)
    good = _good(Reply(200, [], response_body(origin, ("A", "B", "C", "D"))), routes, anything=True)
    assert good is not None and all("until" not in item for item in good.items)
    gateway = LastGood(settings, cast("Any", None))
    gateway.lists[""] = good
    said = ask(gateway, NOW + HOUR)
    assert [one["item"] for one in said["items"]] == ["a", "b", "c", "d"]
    assert said["rules"] == [] and not any("until" in one for one in said["items"])
    gateway.close()
