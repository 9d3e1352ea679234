"""Recent events: which of them an answer uses, and that a receipt keeps just these."""

from datetime import UTC, datetime

import numpy as np
import orjson

from bentos.recommend.person import Person, Recent
from bentos.recommend.recent import MOST, NOTHING, Used, interests, joined, leave_out, read, used, written

BUY = ["purchase"]


def events(*rows: tuple[str, str, int] | tuple[str, str, int, bool]) -> Recent:
    """Return events of item, kind, time, and whether in the session that asks."""
    return Recent(
        item_ids=tuple(row[0] for row in rows),
        kinds=tuple(row[1] for row in rows),
        time_us_N=np.array([row[2] for row in rows], np.int64),
        quantity_N=np.ones(len(rows), np.float32),
        here_N=np.array([len(row) > 3 and row[3] for row in rows], bool),
    )


def test_only_what_tells_something_and_happened_before_is_used() -> None:
    rows = [
        ("a", "view", 1, True),
        ("b", "impression", 2, True),
        ("c", "purchase", 3),
        ("d", "view", 9, True),
    ]
    found = used(events(("x", "view", 0), *rows), BUY, 9)
    assert (found.events.item_ids, found.events.kinds, found.tired) == (("a", "c"), ("view", "purchase"), ())
    assert used(events(*rows), BUY, 9, since_us=4).events.item_ids == ("a",), "the row of the person has it"
    here = events(("c", "purchase", 3, True))
    assert used(here, BUY, 9, since_us=4).events.item_ids == ("c",), "the session goes on"
    assert used(Recent(), BUY, 9) is NOTHING


def test_the_latest_fifty_of_the_session_are_used_and_crowd_no_purchase_out() -> None:
    viewed = ((f"i{n}", "view", n + 1, True) for n in range(80))
    found = used(events(("tea", "purchase", 0), *viewed), BUY, 1000)
    assert len(found.events.item_ids) == MOST + 1 and found.events.item_ids[-1] == "i79"
    assert found.events.item_ids[0] == "tea"


def test_what_was_shown_often_and_not_taken_up_is_tired() -> None:
    shown = [("a", "impression", n) for n in (1, 2, 3)] + [("b", "impression", n) for n in (1, 2)]
    clicked = [("c", "impression", 1), ("c", "click", 2), ("c", "impression", 3), ("c", "impression", 4)]
    rows = sorted([*shown, *clicked], key=lambda row: row[2])
    assert used(events(*rows), BUY, 9, tired_after=(3, 100)).tired == ("a",)
    assert used(events(*rows), BUY, 9, tired_after=(2, 100)).tired == ("a", "b", "c")
    assert used(events(*rows), BUY, 9, tired_after=(2, 7)).tired == (
        "a",
        "c",
    )  # within seven: from moment 2 on
    assert used(events(*rows), BUY, 9).tired == ()


def test_new_purchases_join_the_history_once() -> None:
    person = Person(
        item_ids=("x",),
        time_us_N=np.array([5], np.int64),
        quantity_N=np.ones(1, np.float32),
        event_time=datetime.fromtimestamp(10e-6, UTC),
    )
    found = joined(person, events(("old", "purchase", 9), ("new", "purchase", 10), ("seen", "view", 11)), BUY)
    assert found.item_ids == ("x", "new") and found.time_us_N.tolist() == [5, 10]
    assert joined(person, Recent(), BUY) is person
    reading = joined(person, events(("seen", "view", 11)), ["view", "purchase"])
    assert reading.item_ids == ("x", "seen")  # a model that reads views has them in its history


def test_a_session_is_its_items_the_latest_first_with_what_was_done_last() -> None:
    found = interests(
        events(("a", "view", 1, True), ("b", "view", 2), ("c", "cart", 3, True), ("a", "cart", 4, True))
    )
    assert list(found.items()) == [("a", ("cart", 4)), ("c", ("cart", 3))]


def test_a_receipt_keeps_what_was_used_and_gives_it_back() -> None:
    some = Used(events=events(("a", "view", 1, True), ("b", "purchase", 2)), tired=("c",))
    again = read(orjson.loads(orjson.dumps(written(some))))
    assert (again.events.item_ids, again.events.kinds, again.tired) == (
        ("a", "b"),
        ("view", "purchase"),
        ("c",),
    )
    assert again.events.time_us_N.tolist() == [1, 2] and again.events.here_N.tolist() == [True, False]
    assert written(NOTHING) == {} and read({}) is NOTHING
    assert leave_out(some, {"a"}).events.item_ids == ("b",) and leave_out(some, {"z"}) is some
