"""What happened is visible to the next answer: pushed by the collector, read with the person's row, left out once that has it."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from bentos import inner
from bentos.collector.app import Collector, create
from bentos.collector.feed import MARK, Feed
from bentos.collector.log import Mark
from bentos.collector.view import Told, Writer
from bentos.recommend import recent as recently
from bentos.recommend.person import People, known
from counterfoil import segment
from counterfoil.errors import UnavailableError
from counterfoil.pseudonym import of_session, pseudonym
from counterfoil.settings import Settings
from feature_repo import erase, online, recent, repo, write_ahead
from feature_repo.build import PERSON_SCHEMA, partition
from feature_repo.online import OnlineFeatures
from feature_repo.online_store import CACHE_KB
from feature_repo.pushed import RecentStore, Serialised, entity_key
from flows.people import places
from flows.people.identify import identify
from flows.place import place_of
from tests.collector_process import event
from tests.unit.test_feature_erase import redis  # noqa: F401  # a fixture

TOKEN = "t" * 40
RECEIPT = "receipt-20260412T093401-7f3a9c1e-12"
PLACE = recent.RINGS[1].field(0)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(params=["sqlite", "redis"])
def settings(request: pytest.FixtureRequest, home: Path) -> Settings:
    """An installation on each of the two online stores."""
    if request.param == "sqlite":
        return Settings(home=home)
    return Settings(home=home, online_store_url=request.getfixturevalue("redis"))


@pytest.fixture
def door(settings: Settings) -> Iterator[TestClient]:
    with opened(settings) as client:
        yield client


def opened(settings: Settings) -> TestClient:
    application = create(lambda: (Collector(settings, lambda: Writer(RecentStore(settings))), TOKEN))
    return TestClient(application, headers={inner.TOKEN: TOKEN})


def visible(door: TestClient) -> None:
    until = time.monotonic() + 30
    while door.get("/readyz").json()["behind_seconds"]:
        assert time.monotonic() < until
        time.sleep(0.02)


def named(settings: Settings, *names: str) -> list[str]:
    return [pseudonym(name, settings.pseudonym_key) for name in names]


def test_the_next_answer_knows_of_it_within_a_second(door: TestClient, settings: Settings) -> None:
    visible(door)
    people = People(lambda: OnlineFeatures(settings), deadline_seconds=20)
    [her], visit = named(settings, "ann"), of_session("visit", settings.pseudonym_key)
    people.find(her, now(), visit)
    moment = (now() - timedelta(seconds=5)).isoformat()
    lags = []
    for number in range(5):
        sent = event(number, person="ann", session="visit", item=f"i{number}", quantity=2.0, time=moment)
        began = time.monotonic()
        assert door.post("/events", json=sent).json()["accepted"] == 1
        while len(people.find(her, now(), visit).recent.item_ids) <= number:
            assert time.monotonic() - began < 10
            time.sleep(0.01)
        lags.append(time.monotonic() - began)
    found = people.find(her, now(), visit).recent
    assert found.item_ids == ("i0", "i1", "i2", "i3", "i4") and set(found.kinds) == {"click"}
    assert found.here_N.all() and found.quantity_N.tolist() == [2.0] * 5
    assert np.median(lags) < 1.0, lags


def test_who_is_not_named_is_known_by_the_session_alone(door: TestClient, settings: Settings) -> None:
    events = [
        event(1, person=None, session="visit", item="tea"),
        event(2, person="ann", session="visit", item="milk"),  # signed in meanwhile
        event(3, person="ann", session="another visit", item="bread"),
    ]
    door.post("/events", json={"events": events})
    visible(door)
    store = OnlineFeatures(settings)
    [her], visit = named(settings, "ann"), of_session("visit", settings.pseudonym_key)
    session_alone = store.person(None, now(), visit).recent
    assert session_alone.item_ids == ("tea", "milk") and session_alone.here.tolist() == [True, True]
    both = store.person(her, now(), visit).recent
    assert both.item_ids == ("tea", "milk", "bread") and both.here.tolist() == [True, True, False]
    unsaid = store.person(her, now()).recent
    assert unsaid.item_ids == ("milk", "bread") and unsaid.here.tolist() == [False, True], "the latest one's"
    assert store.person(*named(settings, "bob"), now()).recent.item_ids == ()


def test_impressions_keep_their_place_and_receipt_and_crowd_nothing_out(
    door: TestClient, settings: Settings
) -> None:
    bought = event(0, person="ann", kind="purchase", item="milk", quantity=3)
    shown = [
        event(n, person="ann", kind="impression", item=f"i{n}", position=n % 10 + 1, receipt=RECEIPT)
        for n in range(1, 241)
    ]
    door.post("/events", json=bought)
    for start in range(0, 240, 10):  # 24 pages of ten
        door.post("/events", json={"events": shown[start : start + 10]})
    visible(door)
    found = OnlineFeatures(settings).person(*named(settings, "ann"), now()).recent
    assert found.item_ids[0] == "milk" and found.quantities[0] == 3.0
    assert len(found.item_ids) == recent.KEPT + 1 and found.item_ids[-1] == "i240"
    assert (found.positions[-1], found.receipts[-1]) == (1, RECEIPT)


def test_a_full_ring_keeps_the_latest(settings: Settings, home: Path) -> None:
    her = "p" + "a" * 20
    writer = Writer(RecentStore(settings))
    base = int(now().timestamp() * 1e6) - 1_000_000
    events = 300
    for number in range(events):
        if number == 250:  # another process goes on where this one was
            writer = Writer(RecentStore(settings))
        entry = orjson.dumps([f"e{number}", base + number, "view", f"i{number}", None, None, None, None])
        writer.push([Told((her,), 1, entry)])
    found = OnlineFeatures(settings).person(her, now()).recent
    assert found.item_ids == tuple(f"i{number}" for number in range(events - recent.KEPT, events))
    held = list(erase.recent_rows(settings, [her]))
    assert recent.KEPT <= len(held) <= recent.RINGS[1].places * recent.EVENTS
    writer.push(
        [
            Told((her,), 1, orjson.dumps([f"x{n}", base + 1000, "view", "i", None, None, None, None]))
            for n in range(999)
        ]
    )
    assert len(list(erase.recent_rows(settings, [her]))) <= recent.RINGS[1].places * recent.EVENTS


def test_what_the_row_of_the_person_has_is_left_out(settings: Settings) -> None:
    her = "p" + "a" * 20
    as_of = now().replace(hour=0, minute=0, second=0, microsecond=0)
    lists = {one.name: [] for one in PERSON_SCHEMA if pa.types.is_list(one.type)}
    numbers = {one.name: 1.5 for one in PERSON_SCHEMA if one.type == pa.float32()}
    row = {
        **lists,
        **numbers,
        "person": her,
        "event_timestamp": as_of,
        "created": as_of,
        "history_items": ["milk"],
    }
    path = partition(settings.features, "person", as_of)
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist([row], PERSON_SCHEMA), path)
    repo.apply(settings)
    online.materialise(settings, as_of)

    def at(id: str, moment: datetime) -> bytes:
        return orjson.dumps([id, recent.micros(moment), "view", id, None, None, None, None])

    moments = {
        "before": as_of - timedelta(microseconds=1), "just then": as_of,
        "after": as_of + timedelta(seconds=1), "to come": as_of + timedelta(days=1),
    }  # fmt: skip
    text = recent.text(0, b",".join(at(name, moment) for name, moment in moments.items()))
    RecentStore(settings).write([(her, PLACE, text)])
    store, asked = OnlineFeatures(settings), as_of + timedelta(seconds=5)
    view = store.person(her, asked)
    assert view.history_items == ("milk",) and view.features["baskets"] == 1.5
    assert view.recent.item_ids == ("before", "just then", "after")
    person = known(view, asked)
    taken_up = recently.used(person.recent, ["view"], recent.micros(asked), recently.since(person))
    assert taken_up.events.item_ids == ("before", "just then", "after"), "the first is of the session alone"
    assert recently.joined(person, taken_up.events, ["view"]).item_ids == ("milk", "just then", "after")
    outlived = store.person(her, as_of + timedelta(days=settings.feature_ttl_days + 1))
    assert outlived.expired and outlived.recent.item_ids == (), "a week later what happened has expired too"
    late = as_of + timedelta(days=recent.DAYS, seconds=1)
    assert store.person(her, late).recent.item_ids == ("after", "to come")


def test_a_session_that_was_quiet_for_half_an_hour_is_over(settings: Settings) -> None:
    visit, began = "p" + "b" * 20, now()
    entry = orjson.dumps(["e", recent.micros(began), "view", "milk", None, visit, None, None])
    RecentStore(settings).write([(visit, PLACE, recent.text(0, entry))])
    store = OnlineFeatures(settings)
    for minutes, here in ((29, [True]), (31, [])):
        found = store.person(None, began + timedelta(minutes=minutes), visit).recent
        assert found.here.tolist() == here


def test_where_no_session_is_named_that_in_which_something_was_done_last_is_meant() -> None:
    """One that is over counts no more; events without a session are one like any other."""
    began, minute = now(), 60_000_000

    def here(*events: tuple[int, str | None], after: int, asks: str | None = None) -> list[bool]:
        rows = [
            [f"e{row}", recent.micros(began) + at * minute, "view", f"i{row}", None, session, None, None]
            for row, (at, session) in enumerate(events)
        ]
        return recent.view(rows, (), began + timedelta(minutes=after), asks).here.tolist()

    assert here((0, "a"), (1, "b"), (2, "b"), after=3) == [False, True, True]
    assert here((0, "a"), (1, "b"), (2, "b"), after=40) == [False, False, False]
    assert here((0, "a"), (1, "b"), (2, "b"), after=3, asks="a") == [True, False, False]
    assert here((0, "a"), (1, "b"), after=3, asks="c") == [False, False], "a new one: nothing happened in it"
    assert here((0, None), (40, None), (60, None), after=61) == [False, True, True]
    assert here((0, None), (1, "a"), after=2) == [False, True]
    assert here((0, "a"), (1, None), after=2) == [True, False], "what a server sends without one ends none"
    assert here((0, "a"), (20, None), (40, None), after=41) == [False, True, True], "that one is over"
    assert here((0, None), after=31) == [False]
    assert here((0, "a"), (360, "a"), after=361, asks="a") == [False, True], "six hours between"
    assert here((0, "a"), (25, "a"), (50, "a"), after=55, asks="a") == [True, True, True]


def test_what_others_did_in_a_session_counts_while_it_lasts() -> None:
    began, minute = now(), 60_000_000

    def of(id: str, at: int, session: str) -> list[Any]:
        return [id, recent.micros(began) + at * minute, "purchase", id, None, session, None, None]

    mine, others = [of("tea", 0, "phone")], [of("milk", 1, "kiosk"), of("bread", 2, "kiosk")]
    soon, later = (began + timedelta(minutes=minutes) for minutes in (3, 600))
    assert recent.view(mine, others, soon, "kiosk").item_ids == ("tea", "milk", "bread")
    found = recent.view(mine, others, later, "kiosk")
    assert found.item_ids == ("tea",) and not found.here.any()
    assert recent.view((), others, later, "kiosk").item_ids == (), "of nobody known nothing is left"


def test_an_impression_begins_no_session_of_its_own() -> None:
    began = now()
    rows = [
        [name, recent.micros(began) + at * 1_000_000, kind, name, None, session, None, None]
        for at, (name, kind, session) in enumerate([("tea", "view", "a"), ("ad", "impression", "b")])
    ]
    assert recent.view(rows, (), began + timedelta(seconds=9)).here.tolist() == [True, False]


def test_a_clock_that_was_set_back_hides_nothing(home: Path) -> None:
    visit, store = "p" + "b" * 20, RecentStore(Settings(home=home))

    def write(number: int) -> None:
        row = [f"e{number}", recent.micros(now()), "view", f"i{number}", None, visit, None, None]
        store.write([(visit, PLACE, recent.text(0, orjson.dumps(row)))])

    store._last = now() + timedelta(hours=1)  # its clock was ahead
    write(1)
    store = RecentStore(Settings(home=home))
    write(2)
    assert OnlineFeatures(Settings(home=home)).person(None, now(), visit).recent.item_ids == ("i2",)


def test_a_collector_that_comes_back_makes_visible_what_was_only_durable(settings: Settings) -> None:
    def away() -> Any:
        raise UnavailableError("the online store is away")

    application = create(lambda: (Collector(settings, away), TOKEN))
    with TestClient(application, headers={inner.TOKEN: TOKEN}) as door:
        told = door.post("/events", json={"events": [event(n, person="ann") for n in range(30)]}).json()
        assert told["accepted"] == 30, "durable, if not visible"
        assert door.get("/readyz").json()["ready"]
    her = named(settings, "ann")[0]
    with opened(settings) as door:
        visible(door)
        assert len(OnlineFeatures(settings).person(her, now()).recent.item_ids) == 30
        mark = orjson.loads((settings.events / MARK).read_bytes())
        assert list(segment.whole_lines(settings.events / mark["segment"], mark["offset"])) == [], (
            "all is noted"
        )
    (settings.events / MARK).write_bytes(b"half")
    with opened(settings) as door:  # reads all of it once more, and an event twice is an event once
        visible(door)
        assert len(OnlineFeatures(settings).person(her, now()).recent.item_ids) == 30


def test_more_than_may_wait_is_read_from_the_log(settings: Settings) -> None:
    with opened(settings) as door:
        visible(door)
    feed = Feed(settings.events, lambda: Writer(RecentStore(settings)), waiting=5)
    feed._missed = False
    feed.tell([Told(("k",), 1, b"[]")] * 3, Mark("a", 1))
    assert not feed._missed and len(feed._waiting) == 3
    feed.tell([Told(("k",), 1, b"[]")] * 3, Mark("a", 2))
    assert feed._missed and feed._waiting == []


def test_the_store_is_emptied_under_a_session_that_others_were_in_and_hands_out_nothing_of_theirs(
    door: TestClient, settings: Settings
) -> None:
    both = [event(1, person="ann", session="of two"), event(2, person="bob", session="of two", item="his")]
    door.post("/events", json={"events": both})
    visible(door)
    place = place_of(settings)
    who = identify(place, "ann")
    found = list(places._recent(place, who))
    assert who.answered == () and [row.get("item") for row in found] == [both[0]["item"], None]
    assert found[1] == {"key": who.shared[0], "events": 2, "of": "everybody in that session"}
    places._erase_recent(place, who, "")
    assert list(places._recent(place, who)) == []
    assert list(erase.recent_rows(settings, who.shared)) == []


def test_what_redis_holds_goes_by_itself(door: TestClient, settings: Settings) -> None:
    if settings.online_store_url is None:
        pytest.skip("a store that is a file is swept")
    from redis import Redis

    door.post("/events", json=event(1, person="ann", session="visit"))
    visible(door)
    with Redis.from_url(settings.online_store_url) as client:
        lasts = [client.ttl(key) for key in client.scan_iter()]
    days = max(settings.feature_ttl_days, recent.DAYS)
    assert len(lasts) == 2 and all(0 < seconds <= days * 86_400 for seconds in lasts)


def test_what_is_held_is_handed_out_and_forgotten_while_the_collector_runs(
    door: TestClient, settings: Settings
) -> None:
    [her], visit = named(settings, "ann"), of_session("visit", settings.pseudonym_key)
    door.post("/events", json={"events": [event(n, person="ann", session="visit") for n in range(9)]})
    door.post("/events", json=event(20, person="bob", session="other"))
    visible(door)
    rows = list(erase.recent_rows(settings, [her, visit]))
    assert [row["id"] for row in rows if row["key"] == her] == [f"e{n}" for n in range(9)]
    assert door.post("/-/forget", json=[her, visit]).json() == {"forgotten": 2}
    erase.erase_recent(settings, [her, visit])
    assert list(erase.recent_rows(settings, [her, visit])) == []
    store = OnlineFeatures(settings)
    assert store.person(her, now(), visit).recent.item_ids == ()
    assert len(store.person(*named(settings, "bob"), now()).recent.item_ids) == 1
    if settings.online_store_url is None:
        for path in settings.features.glob("online.sqlite*"):
            assert her.encode() not in path.read_bytes(), path
    door.post("/events", json=event(30, person="ann", session="visit", item="tea"))
    visible(door)
    assert store.person(her, now(), visit).recent.item_ids == ("tea",), "nothing of before comes back"


def test_old_texts_are_swept_away(home: Path) -> None:
    settings = Settings(home=home)
    store = RecentStore(settings)
    store.write([("p" + "a" * 20, PLACE, b"[0]")])
    assert store.sweep(recent.micros(now() - timedelta(minutes=1))) == 0
    assert store.sweep(recent.micros(now() + timedelta(minutes=1))) == 1


def test_a_home_from_before_there_was_the_view_answers_without(home: Path) -> None:
    settings = Settings(home=home)
    store = repo.apply(settings)
    store.delete_feature_view(recent.VIEW)
    older = OnlineFeatures(settings)
    assert older.person("p" + "a" * 20, now(), "p" + "b" * 20).recent.item_ids == ()
    assert list(erase.recent_rows(settings, ["x"])) == [] and erase.erase_recent(settings, ["x"]) == 0


def test_who_writes_holds_its_pages_though_it_has_read_before(home: Path) -> None:
    """With SQLite's own 2 MB, each page is read again, and a large transaction writes them twice."""
    RecentStore(Settings(home=home))  # the view is made known
    store = RecentStore(Settings(home=home))  # which reads, to know the newest moment
    store.write([("somebody", PLACE, b"[0,[]]")])
    conn = store._online._open(store._config, create=False)
    told = [conn.execute(f"PRAGMA {name}").fetchone()[0] for name in ("cache_size", "wal_autocheckpoint")]
    assert told == [-CACHE_KB, write_ahead.MOST_PAGES]


def test_keys_and_values_are_feasts_own_to_the_byte(home: Path) -> None:
    from feast.infra.key_encoding_utils import serialize_entity_key
    from feast.protos.feast.types.Value_pb2 import Value

    plain = Serialised(3)
    for key in ("ann", "p" + "0" * 20, "ü" * 9):
        assert plain.key(key) == serialize_entity_key(entity_key(key), entity_key_serialization_version=3)
    for text in ("", "x", "y" * 127, "z" * 128, "ü" * 70_000, *("," * length for length in range(200))):
        assert plain.value(text.encode()) == Value(string_val=text).SerializeToString()
        assert plain.text(plain.value(text.encode())) == text.encode()


def test_nobody_is_asked_nothing(home: Path) -> None:
    class Watching:
        asked: list[Any] = []

        def person(self, person_id: str | None, moment: datetime, session: str | None = None) -> Any:
            self.asked.append((person_id, session))
            return replace(online._empty(), recent=recent.NOTHING)

    people = People(Watching)
    people.find(None, now())
    people.find(None, now(), "p" + "b" * 20)
    assert Watching.asked == [(None, "p" + "b" * 20)]
