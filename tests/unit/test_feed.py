"""Visible within a second, or told to come again: what the feed does when more comes than the online store takes."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.testclient import TestClient

from bentos import inner
from bentos.collector import feed as feeds
from bentos.collector.app import Collector, create
from bentos.collector.view import Told, Writer
from bentos.guard import Refusal
from counterfoil import collected
from counterfoil.errors import UnavailableError
from counterfoil.pseudonym import pseudonym
from counterfoil.settings import Settings
from feature_repo import erase, recent
from feature_repo.online import OnlineFeatures
from feature_repo.pushed import RecentStore
from tests.collector_process import event
from tests.unit.test_recent import now

TOKEN = "t" * 40
HEADERS = {inner.TOKEN: TOKEN, "Content-Type": "application/json"}


class Slow:
    """The online store's client of a store that takes so many texts a second, and at times none.

    `longest` is by how many seconds a write took longer than that: the machine was busy elsewhere.
    """

    def __init__(self, settings: Settings, a_second: float) -> None:
        self._store, self._pause, self.longest = RecentStore(settings), 1 / a_second, 0.0
        self.open = threading.Event()
        self.open.set()

    def newest(self, keys: list[str]) -> dict[str, list[bytes | None]]:
        return self._store.newest(keys)

    def write(self, texts: list[tuple[str, str, bytes]]) -> None:
        self.open.wait(20)
        began, wanted = time.perf_counter(), self._pause * len(texts)
        time.sleep(wanted)
        self._store.write(texts)
        self.longest = max(self.longest, time.perf_counter() - began - wanted)

    def forget(self, keys: list[str]) -> None:
        self._store.forget(keys)

    def sweep(self, before_us: int) -> int:
        return 0


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings(home=home)


def body(first: int, count: int) -> bytes:
    return orjson.dumps(
        {"events": [event(n, person=f"p{n}", session=None) for n in range(first, first + count)]}
    )


def test_more_than_the_store_takes_is_told_to_come_again_and_the_rest_is_visible_within_its_second(
    settings: Settings,
) -> None:
    lags: list[float] = []
    slow = Slow(settings, 4_000)

    async def work() -> tuple[set[str], int]:
        collector = Collector(settings, lambda: Writer(slow))
        collector.feed._visible = lags.append
        await asyncio.to_thread(collector.start)
        while collector.state()["behind_seconds"]:
            await asyncio.sleep(0.01)
        taken, refused, until, number = set(), 0, time.monotonic() + 3, 0
        while time.monotonic() < until:  # 10,000 a second, more than twice of what the store takes
            number += 100
            try:
                _, _, told = await collector.take(body(number, 100))
                taken |= {row["id"] for row in orjson.loads(told)["events"] if row["status"] == "accepted"}
            except Refusal as refusal:
                assert refusal.status == 429
                refused += 1
            await asyncio.sleep(0.01)
        await collector.close()
        return taken, refused

    taken, refused = asyncio.run(work())
    assert refused > 20 and len(taken) > 2_000
    assert max(lags) < 1.0 + 2 * slow.longest, "two writes at most: the one under way, and its own"
    in_log = [row["id"] for path in collected.segments(settings.events) for row in collected.events(path)]
    assert sorted(in_log) == sorted(taken), "of what was refused nothing was kept"
    people = [pseudonym(f"p{id[1:]}", settings.pseudonym_key) for id in sorted(taken)]
    assert sorted(row["id"] for row in erase.recent_rows(settings, people)) == sorted(taken), "each once"


def test_who_is_told_to_come_again_is_told_when(settings: Settings) -> None:
    slow = Slow(settings, 1e6)
    application = create(lambda: (Collector(settings, lambda: Writer(slow)), TOKEN))
    with TestClient(application, headers=HEADERS) as door:
        door.post("/events", content=body(0, 5))
        while door.get("/readyz").json()["behind_seconds"]:
            time.sleep(0.01)
        slow.open.clear()  # it stands still
        assert door.post("/events", content=body(10, 5)).status_code == 200
        time.sleep(feeds.LATE_SECONDS + 0.1)
        answer = door.post("/events", content=body(20, 5))
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        slow.open.set()
        until = time.monotonic() + 10
        while (answer := door.post("/events", content=body(20, 5))).status_code == 429:
            assert time.monotonic() < until
            time.sleep(0.02)
        assert answer.json()["accepted"] == 5
        until = time.monotonic() + 10
        while door.get("/readyz").json()["behind_seconds"]:
            assert time.monotonic() < until
            time.sleep(0.01)
        assert 'counterfoil_events_visible_seconds_bucket{le="0.8"}' in door.get("/metrics").text


def test_a_store_that_is_away_refuses_nobody_and_shows_each_event_once_when_it_is_back(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "PAUSE_SECONDS", 0.05)
    back = threading.Event()

    def connect() -> Any:
        if not back.is_set():
            raise UnavailableError("the online store is away")
        return Writer(RecentStore(settings))

    application = create(lambda: (Collector(settings, connect), TOKEN))
    with TestClient(application, headers=HEADERS) as door:
        for number in range(0, 3_000, 500):
            assert door.post("/events", content=body(number, 500)).json()["accepted"] == 500
        back.set()
        for number in range(3_000, 5_000, 100):
            assert door.post("/events", content=body(number, 100)).status_code == 200
        until = time.monotonic() + 10
        while door.get("/readyz").json()["behind_seconds"]:
            assert time.monotonic() < until
            time.sleep(0.02)
    people = [pseudonym(f"p{n}", settings.pseudonym_key) for n in range(5_000)]
    assert sorted(row["id"] for row in erase.recent_rows(settings, people)) == sorted(
        f"e{n}" for n in range(5_000)
    )


def test_a_text_that_is_not_held_is_read_and_written_on(settings: Settings) -> None:
    people = ["p" + letter * 20 for letter in "abc"]
    writer = Writer(RecentStore(settings), held_bytes=0)
    base, events = recent.micros(now()) - 1_000_000, 150
    for number in range(events):
        for her in people:
            entry = orjson.dumps([f"e{number}", base + number, "view", f"i{number}", None, None, None, None])
            writer.push([Told((her,), 1, entry)])
    for her in people:
        found = OnlineFeatures(settings).person(her, now()).recent
        assert found.item_ids == tuple(f"i{number}" for number in range(events - recent.KEPT, events))


def test_each_place_of_a_ring_is_found_by_its_number_whatever_its_length(settings: Settings) -> None:
    store = RecentStore(settings)
    sizes = [1, 85, 86, 87, 88, 120, 121, 16_370, 16_380, 16_390]  # about where a length takes a byte more
    for place, size in enumerate(sizes):
        key, done = f"p{place:020d}", recent.RINGS[1]
        texts = [
            (key, done.field(number), recent.text(number, b'"%b"' % (b"[" * size))) for number in (9, 10, 8)
        ]
        store.write(texts)
        assert store.newest([key, "nobody"]) == {key: [None, texts[1][2]], "nobody": [None, None]}


def test_statements_of_many_rows_write_each_row_and_never_an_older_one(settings: Settings) -> None:
    store, place = RecentStore(settings), recent.RINGS[1].field(0)
    for count in (1, 2, 511, 512, 513, 1_300):
        rows = [(f"p{n:020d}", place, recent.text(0, b"%d,%d" % (count, n))) for n in range(count)]
        store.write(rows)
        found = store.newest([key for key, _, _ in rows])
        assert {key: texts[1] for key, texts in found.items()} == {key: text for key, _, text in rows}
    later = store._last
    store._last = later.replace(year=2000)  # as of a process whose clock is behind
    store._online.write_texts(
        store._config,
        store._view,
        [(store._plain.key(rows[0][0]), place, store._plain.value(b"[0,0]"))],
        store._last,
    )
    assert store.newest([rows[0][0]])[rows[0][0]][1] == rows[0][2]


def test_a_store_that_is_away_all_night_is_found_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "PAUSE_SECONDS", 1e-9)
    monkeypatch.setattr(feeds, "LONGEST_PAUSE", 1e-9)
    tries = 0

    def connect() -> Any:
        nonlocal tries
        tries += 1
        if tries < 1_100:
            raise UnavailableError("the online store is away")
        return Writer(RecentStore(settings))

    application = create(lambda: (Collector(settings, connect), TOKEN))
    with TestClient(application, headers=HEADERS) as door:
        assert door.post("/events", content=body(0, 5)).json()["accepted"] == 5
        until = time.monotonic() + 60
        while door.get("/readyz").json()["behind_seconds"]:
            assert time.monotonic() < until
            time.sleep(0.05)
    assert tries == 1_100
