"""Reasons held against the answers themselves: what a reason cites moves its item, and as much of anything else does not.

The same is measured on a grocer's year in tests/e2e/test_real_complete_journey.py.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest

from bentos import startup
from bentos.bundle import open_bundle
from bentos.recommend import faithful
from bentos.recommend.asked import Question, received
from bentos.recommend.faithful import Case
from bentos.recommend.flow import Answers
from bentos.recommend.person import People, Person, Recent
from bentos.recommend.reasons import BESIDES, Reason, Reasons
from bentos.recommend.request import Route, parse
from bentos.recommend.sources import BRAND, GOES_WITH, HABIT, POPULAR, SEGMENT
from bentos.snapshot import coded
from counterfoil.pseudonym import pseudonym
from tests import bento_shop
from tests.bento_shop import AS_OF, AS_OF_US, ITEMS, MemoryOnline

CITED, DRAWN, ENOUGH = 0.8, 0.3, 20
KEY = "key"


def asked(route: Route = "recommend", **body: Any) -> Question:
    content = orjson.dumps({"context": {"time": "2026-03-01T00:00:00Z"}, **body})
    return received(parse(content, route), datetime.now(UTC), KEY, route)


@pytest.fixture(scope="module", params=["twostage", "itemknn", "repurchase"])
def answers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answers]:
    root = tmp_path_factory.mktemp(request.param)
    packaged = bento_shop.make_bento(root, bento_shop.settings_of(root / "home"), request.param)
    yield Answers(startup.parse(open_bundle(packaged.path)))


def people(count: int) -> list[Person]:
    store = People(lambda: MemoryOnline(KEY))
    return [store.find(pseudonym(f"p{number:02d}", KEY), AS_OF) for number in range(count)]


def visit(random: np.random.Generator) -> Recent:
    """Return a session in which four things were looked at, a minute apart."""
    names = random.choice(ITEMS, 4, replace=False).tolist()
    return Recent(
        item_ids=tuple(names),
        kinds=("view",) * 4,
        time_us_N=AS_OF_US - 60_000_000 * np.arange(4, 0, -1),
        quantity_N=np.ones(4, np.float32),
        here_N=np.ones(4, bool),
    )


def sweep(answers: Answers) -> list[Case]:
    """Return the cases of answers to people, to nobody, to carts and to sessions."""
    random, found = np.random.default_rng(0), []
    for person in people(40):
        found += faithful.cases(answers, asked(), person, random, 5)
        cart = random.choice(ITEMS, 3, replace=False).tolist()
        found += faithful.cases(answers, asked("cart", items=cart), person, random, 5)
        found += faithful.cases(answers, asked("next"), Person(recent=visit(random)), random, 5)
    return found


def test_what_is_cited_moves_the_item_and_anything_else_does_not(answers: Answers) -> None:
    found = faithful.shares(sweep(answers))
    assert {"cart", "session"} <= found.keys()
    assert answers.about["family"] != "repurchase" or "own" in found
    for kind, (count, cited, drawn) in found.items():
        if count >= ENOUGH:
            assert cited >= CITED and drawn <= DRAWN, (kind, count, cited, drawn)
    assert sum(count >= ENOUGH for count, _, _ in found.values()) >= 2


def test_what_does_not_hold_on_a_model_is_not_given_by_its_bento(answers: Answers) -> None:
    """Partners alone move what itemknn proposes: what somebody bought of the item itself is true of it, but no reason."""
    measured = {
        (kind, None if names is None else tuple(names)): row for kind, names, *row in answers.about["reasons"]
    }
    _, cited, _ = measured["own", None]
    given = [
        case.kind
        for person in people(4)
        for case in faithful.cases(answers, asked(), person, np.random.default_rng(0), 5)
    ]
    if answers.about["family"] == "itemknn":
        assert cited < CITED and "own" not in given
    if answers.about["family"] == "repurchase":
        assert cited >= CITED and "own" in given


def test_packaging_measures_people_carts_sessions_and_each_source_by_itself(answers: Answers) -> None:
    rows = {
        (kind, None if names is None else tuple(names)): row for kind, names, *row in answers.about["reasons"]
    }
    kinds = {
        ("session", "session"),
        ("own", HABIT),
        ("together", GOES_WITH),
        ("shelf", SEGMENT),
        ("selling", POPULAR),
    }
    assert {(kind, (source,)) for kind, source in kinds} < rows.keys()
    assert rows["cart", ()][0] >= ENOUGH and rows["cart", ()][1:] >= [CITED]
    for kind in ("own", "selling", "session", "shelf", "together"):
        parts = [
            row for (one, names), row in rows.items() if one == kind and names and BESIDES.issuperset(names)
        ]
        assert rows[kind, ()][0] == sum(row[0] for row in parts)


def test_what_is_new_from_a_brand_sinks_without_what_was_taken_of_it(answers: Answers) -> None:
    items, weeks = answers.items, 7 * 86_400_000_000
    new_I = np.arange(len(items)) >= 32
    brands = ["Acme" if n % 2 else "Best" if n >= 32 or n < 8 else None for n in range(len(items))]
    made = replace(
        items,
        brand=coded(pa.chunked_array([brands])),
        first_us_I=np.where(new_I, AS_OF_US - weeks - np.arange(len(items)), items.first_us_I),
    )
    alone = faithful._alone(Answers(replace(answers.loaded, snapshot=made)), BRAND)
    random, found = np.random.default_rng(0), []
    for person in people(40):
        found += faithful.cases(alone, asked(), person, random, 4, BRAND)
    count, cited, drawn = faithful.shares([case for case in found if case.kind == "brand"])["brand"]
    assert count >= ENOUGH and cited >= CITED and drawn <= DRAWN, (count, cited, drawn)


def test_a_reason_that_moves_nothing_is_found_out(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    """As reasons were given before: whatever goes together with something that the person has, whoever proposed the item."""
    if answers.about["family"] == "itemknn":
        pytest.skip("where partners are all that a model goes by, they do move items")
    partner_IK = answers.items.partner_IK

    def before(self: Reasons, chosen: Any, known: Any) -> list[tuple[Reason, ...]]:
        owned = set(known.history.item_N.tolist())
        return [
            tuple(
                Reason(kind="together", said="", counts={"partner": partner})
                for partner in partner_IK[item].tolist()
                if partner in owned and partner != item
            )[:1]
            for item in chosen.item_K.tolist()
        ]

    monkeypatch.setattr(Reasons, "evidence", before)
    random = np.random.default_rng(0)
    found = [case for person in people(8) for case in faithful.cases(answers, asked(), person, random, 5)]
    count, cited, _ = faithful.shares(found)["together"]
    assert count >= ENOUGH and cited < CITED


def test_leaving_out_takes_just_that(answers: Answers) -> None:
    [person] = people(1)
    known = answers.known(asked(), person, faithful.Stages())
    bread = np.array([name == "bread" for name in person.item_ids])
    _, less = faithful.without(answers, known, faithful.Taken(lines=bread))
    assert 0 not in less.history.item_N and len(less.history) == len(known.history) - bread.sum()
    other, _ = faithful.without(answers, known, faithful.Taken(sales=0))
    assert other.items.recent_I[0] == 0 and other.items.popular_I[-1] == 0
    assert (
        answers.items.recent_I[0] > 0 and answers.items.item_IF[0, 0] > 0
    )  # the bento's own stay as they were


def test_the_shares_are_of_the_cases_of_each_kind() -> None:
    made = [Case(kind="own", sources=(), cited=True, drawn=False)] * 3
    made += [
        Case(kind="own", sources=(), cited=False, drawn=True),
        Case(kind="cart", sources=(), cited=True, drawn=True),
    ]
    assert faithful.shares(made) == {"cart": (1, 1.0, 1.0), "own": (4, 0.75, 0.25)}
