"""Live people: they answer what they are shown, by what is true of them."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest

from counterfoil.contracts import EVENT
from counterfoil.errors import InputError, UnknownError
from counterfoil.simulator import LiveShop, ShopConfig, Shown, answer, live, simulate
from counterfoil.types import Event

OPENED = datetime(2025, 2, 10, 9, tzinfo=UTC)
CONFIG = ShopConfig(seed=3, people=100, items=300, days=30, events=5_000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return simulate(CONFIG, tmp_path_factory.mktemp("live") / "shop").folder


def visits(folder, worst: bool, rounds: int = 200, seed: int = 1) -> list[Event]:
    """Return what people do with lists of what they truly like best, or least."""
    shop = LiveShop.open(folder, OPENED)

    def ask(person: str) -> Shown:
        ideal = shop.truth.ideal_list(person, 40, 300)
        return Shown(tuple(ideal[::-1][:10] if worst else ideal[:10]), f"receipt-of-{person}")

    return list(live(shop, ask, rounds, seed))


def test_good_lists_are_clicked_and_bought_more_than_bad_ones(folder):
    good = Counter(event.kind for event in visits(folder, worst=False))
    bad = Counter(event.kind for event in visits(folder, worst=True))
    assert good["impression"] == bad["impression"] == 2_000
    assert good["click"] > 5 * bad["click"] and good["purchase"] > 5 * bad["purchase"]


def test_the_same_ten_items_in_reverse_order_are_clicked_less_than_best_first(folder):
    shop = LiveShop.open(folder, OPENED)

    def clicks(step: int) -> int:
        def ask(person: str) -> list[str]:
            return shop.truth.ideal_list(person, 40, 300)[::30][::step]

        return sum(event.kind == "click" for event in live(shop, ask, 400, 2))

    assert clicks(1) > 1.3 * clicks(-1)


def test_the_same_answers_give_the_same_events_and_another_seed_other_visitors(folder):
    assert visits(folder, worst=False) == visits(folder, worst=False)
    first = [event.person for event in visits(folder, worst=False, seed=1)]
    assert first != [event.person for event in visits(folder, worst=False, seed=2)]


def test_events_name_the_receipt_and_keep_the_contract(folder):
    events = visits(folder, worst=False)
    assert all(event.receipt == f"receipt-of-{event.person}" for event in events)
    assert len({event.id for event in events}) == len(events)
    past = set(pq.read_table(folder / "events")["id"].to_pylist())
    assert not past & {event.id for event in events}
    for event in events:
        for field in EVENT.fields:
            value = getattr(event, field.name)
            assert value is not None or not (field.required or event.kind in field.required_for)
            if value is not None and field.minimum is not None:
                assert field.minimum <= value <= field.maximum
    assert all((event.position is not None) == (event.kind in ("impression", "click")) for event in events)


def test_a_click_follows_its_impression_and_a_purchase_its_cart(folder):
    events = visits(folder, worst=False)
    seen: dict[tuple, datetime] = {(e.session, e.item, e.kind): e.time for e in events}
    before = {
        "click": "impression",
        "view": "click",
        "cart": "view",
        "purchase": "cart",
        "rating": "purchase",
    }
    for event in events:
        if event.kind in before:
            assert event.time > seen[event.session, event.item, before[event.kind]]


def test_clicks_in_answers_to_a_search_follow_relevance(folder):
    shop = LiveShop.open(folder, OPENED)
    query = next(q for q in pq.read_table(folder / "events")["query"].to_pylist() if q)
    grades = shop.truth.relevance(query, range(300))
    fitting = [f"i{item}" for item in range(300) if grades[item]][:5]
    like = shop.truth.true_preference("u5", fitting, 40).mean()
    foreign = [f"i{item}" for item in range(300) if not grades[item]]
    foreign = sorted(foreign, key=lambda item: abs(shop.truth.true_preference("u5", [item], 40)[0] - like))[
        : len(fitting)
    ]

    def clicks(items: list[str]) -> int:
        times = (OPENED + timedelta(minutes=minute) for minute in range(600))
        events = (event for time in times for event in answer(shop, "u5", items, "r", time, query))
        return sum(event.kind == "click" for event in events)

    assert clicks(fitting) > 1.8 * clicks(foreign)
    first = answer(shop, "u5", fitting, "r", OPENED, query)[0]
    assert (first.kind, first.query, first.item, first.receipt) == ("search", query, None, "r")


def test_foreign_items_and_empty_lists_do_no_harm(folder):
    shop = LiveShop.open(folder, OPENED)
    assert answer(shop, "u1", [], "r", OPENED) == []
    events = [event for _ in range(50) for event in answer(shop, "u1", ["x-9", "i300"], None, OPENED)]
    assert Counter(event.kind for event in events) == {"impression": 100}
    with pytest.raises(UnknownError, match="no person 'nobody' in this shop"):
        answer(shop, "nobody", ["i1"], None, OPENED)


def test_only_people_who_have_arrived_come(folder):
    shop = LiveShop.open(folder, CONFIG.start + timedelta(hours=1))
    asked: list[str] = []
    list(live(shop, lambda person: asked.append(person) or ["i1"], 300, 4))
    assert max(shop.truth.person_arrival_P[shop.truth.people(asked)]) == 0 and len(set(asked)) > 40
    with pytest.raises(InputError, match="before the shop's first day"):
        LiveShop.open(folder, datetime(2024, 12, 31, 23, tzinfo=UTC))
