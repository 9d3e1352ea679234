"""Reasons say nothing that is not so: of what fills a list up, of what never sold, of what a session brought."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import pytest

from bentos import startup
from bentos.bundle import open_bundle
from bentos.recommend.asked import Question, received
from bentos.recommend.flow import Answers, Stages
from bentos.recommend.person import Person, happened
from bentos.recommend.request import Route, parse
from bentos.seam import Answer
from feature_repo import recent
from tests import bento_shop
from tests.bento_shop import AS_OF, AS_OF_US

AT, KEY = {"time": "2026-03-01T00:00:00Z"}, "key"


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    root = tmp_path_factory.mktemp("true")
    made = bento_shop.make_bento(root, bento_shop.settings_of(root / "home"), "twostage")
    return Answers(startup.parse(open_bundle(made.path)))


def asked(route: Route = "recommend", **body: Any) -> Question:
    return received(parse(orjson.dumps({"context": AT, **body}), route), datetime.now(UTC), KEY, route)


def did(*events: tuple[str, str, float]) -> Person:
    """Return somebody who is not known, with what they did in this session: item, kind, minutes before."""
    rows = [
        [f"e{row}", AS_OF_US - int(minutes * 60e6), kind, item, None, "visit", None, None]
        for row, (item, kind, minutes) in enumerate(events)
    ]
    return Person(recent=happened(recent.view((), rows, AS_OF, "visit")))


def said(answer: Answer) -> dict[str, tuple[str, ...]]:
    return {one.item: one.reasons for one in answer.items}


def test_what_fills_a_list_up_is_not_said_to_be_alike(answers: Answers) -> None:
    found = answers.answer(asked("similar", item="tea", n=12), Person(), Stages())
    fillers = [one for one in found.items if not {"goes with", "like it"} & {*one.sources}]
    assert fillers and not [one for one in fillers if any("tea" in reason for reason in one.reasons)]
    alike = [one for one in found.items if "like it" in one.sources]
    assert all(one.reasons[0] in ("like tea", "often bought together with tea") for one in alike)


def test_no_sale_is_claimed_of_what_never_sold(answers: Answers) -> None:
    never_I = np.full(len(answers.items), np.iinfo(np.int64).max)
    bare = replace(answers.items, first_us_I=never_I, recent_I=np.zeros_like(answers.items.recent_I))
    unsold = answers.over(bare)
    unsold.reasons = type(answers.reasons)(bare, answers.about["history_kinds"])
    for question in (asked("cart", items=["tea", "milk"], n=40), asked(n=40)):
        words = said(unsold.answer(question, Person(), Stages()))
        assert not [reason for reasons in words.values() for reason in reasons if "others bought" in reason]


def test_what_a_session_brought_is_said_to_come_of_it(answers: Answers) -> None:
    """Also where no single thing that was done holds it up: another one beside it takes its place."""
    for person in (did(("tea", "view", 3)), did(("tea", "view", 3), ("filler01", "view", 1))):
        found = answers.answer(asked("next", n=2), person, Stages())
        assert all(one.sources == ("session",) for one in found.items)
        assert all(one.reasons[0].endswith("just now") for one in found.items)


def test_the_aisle_of_a_session_is_not_called_ones_own(answers: Answers) -> None:
    here = replace(did(("filler01", "view", 1)), affinity={"misc": 0.5, "home": 0.5})
    question = asked("next", n=40)
    words = said(answers.answer(question, here, Stages()))
    assert not [one for reasons in words.values() for one in reasons if "where you often" in one]
