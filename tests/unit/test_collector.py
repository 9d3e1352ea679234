"""What the collector takes and answers: the contract's own verdict, row by row; each id once; nothing raw; pressure is told."""

import asyncio
import errno
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import orjson
import pytest
from starlette.testclient import TestClient

from bentos import inner
from bentos.collector.app import Collector, create
from bentos.collector.body import FILLED, MAX_EVENTS, Reader, Refused
from bentos.collector.clicks import LOTS, SEGMENTS, Clicks
from bentos.collector.feed import told_of
from bentos.collector.openapi import document
from bentos.collector.window import Window
from bentos.guard import Refusal
from counterfoil import collected, segment
from counterfoil.contracts import EVENT, wire
from counterfoil.errors import IntegrityError, UnavailableError
from counterfoil.importers import open_source
from counterfoil.landing import land
from counterfoil.pseudonym import fingerprint, of_session, pseudonym
from counterfoil.receipts.store import lot_of
from counterfoil.settings import Settings
from flows import collecting
from flows.people.identify import identify
from flows.subject import landed as what_landed
from flows.subject import parse
from tests.collector_process import event
from tests.landing_shop import landed_rows
from tests.loop_shop import place_of

TOKEN = "t" * 40
RECEIPT = "receipt-20260412T093401-7f3a9c1e-12"


def nowhere() -> Any:
    """Stand for an online store that is not there: what is durable is not visible, and that is all."""
    raise UnavailableError("no online store in this test")


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings(home=home)


@pytest.fixture
def door(settings: Settings) -> Iterator[TestClient]:
    with TestClient(
        create(lambda: (Collector(settings, nowhere), TOKEN)), raise_server_exceptions=False
    ) as client:
        client.headers[inner.TOKEN] = TOKEN
        yield client


def kept(settings: Settings) -> list[dict[str, Any]]:
    return [row for path in collected.segments(settings.events) for row in collected.events(path)]


def outcomes(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [row["status"] for row in answer.json()["events"]]


def test_each_event_gets_an_outcome_and_an_id_counts_once(door: TestClient, settings: Settings) -> None:
    answer = door.post("/events", json={"events": [event(1), event(1), event(2, kind="buy"), event(3)]})
    assert outcomes(answer) == ["accepted", "duplicate", "refused", "accepted"]
    told = answer.json()
    assert (told["accepted"], told["duplicate"], told["refused"]) == (2, 1, 1)
    assert told["events"][2] == {
        "id": "e2", "status": "refused", "field": "kind", "reason": "kind is none of the allowed values",
    }  # fmt: skip
    assert outcomes(door.post("/events", json=event(3))) == ["duplicate"]
    assert outcomes(door.post("/events", json={"events": []})) == []
    assert [row["id"] for row in kept(settings)] == ["e1", "e3"]


def test_people_and_sessions_are_pseudonyms_before_anything_is_written(
    door: TestClient, settings: Settings
) -> None:
    raw = event(1, person="Anna Raw-Name", session="session of Anna")
    anonymous = event(2, person=None, session="a visit")
    assert outcomes(door.post("/events", json={"events": [raw, anonymous]})) == ["accepted", "accepted"]
    broken = door.post("/events", json=event(3, person="Anna Raw-Name", kind="Anna Raw-Name"))
    assert b"Anna" not in broken.content
    key = settings.pseudonym_key
    hers, theirs = kept(settings)
    assert (hers["person"], hers["session"]) == (
        pseudonym("Anna Raw-Name", key),
        of_session("session of Anna", key),
    )
    assert theirs["person"] == theirs["session"] == of_session("a visit", key)
    for path in settings.home.rglob("*"):
        assert not path.is_file() or b"Anna" not in path.read_bytes(), path


BREACHES: list[tuple[dict[str, Any], str]] = [
    *[({f.name: "x" * (f.max_length + 1)}, f.name) for f in EVENT.fields if f.type == "text" and not f.values],
    *[({f.name: ["x"]}, f.name) for f in EVENT.fields],
    *[({f.name: f.maximum + 1}, f.name) for f in EVENT.fields if f.type in ("int", "float")],  # type: ignore[operator]
    *[({f.name: f.minimum - 1}, f.name) for f in EVENT.fields if f.type in ("int", "float")],  # type: ignore[operator]
    *[({f.name: blank}, f.name) for f in EVENT.fields if f.required and f.name != "person" for blank in ("", " ", None)],
    ({"time": "1989-12-31T23:59:59Z"}, "time"),
    ({"time": "2100-01-01T00:00:01Z"}, "time"),
    ({"time": "2026-01-01T00:00:00"}, "time"),
    ({"time": "yesterday"}, "time"),
    ({"kind": "buy"}, "kind"),
    ({"item": None}, "item"),
    ({"item": "  "}, "item"),
    ({"kind": "search", "item": None}, "query"),
    ({"person": None, "session": None}, "person"),
    ({"position": 1.5}, "position"),
    ({"colour": "red"}, "colour"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "field"), BREACHES)
def test_what_breaks_the_contract_is_refused_with_its_field(
    settings: Settings, change: dict[str, Any], field: str
) -> None:
    reader = Reader(settings.pseudonym_key)
    broken = {**event(1), **change}
    [alone] = reader.read(orjson.dumps(broken))
    [one, sound] = reader.read(orjson.dumps({"events": [broken, event(2)]}))
    assert isinstance(alone, Refused) and alone == one
    assert (alone.field, alone.reason != "") == (field, True)
    assert not isinstance(sound, Refused)
    assert not any(
        str(value) in alone.reason for value in change.values() if value not in (None, "", " ", "  ")
    )


def test_what_is_more_than_a_day_ahead_is_refused(settings: Settings) -> None:
    reader = Reader(settings.pseudonym_key)
    for hours, taken in ((23, True), (25, False)):
        moment = (datetime.now(UTC) + timedelta(hours=hours)).isoformat()
        [row] = reader.read(orjson.dumps({**event(1), "time": moment}))
        assert (not isinstance(row, Refused)) == taken
        assert taken or (row.field == "time" and "more than a day ahead" in row.reason)


def test_the_door_takes_what_the_landing_takes_and_nothing_else(settings: Settings, tmp_path: Path) -> None:
    """The contract's two readers, one quick and one in SQL, agree row by row."""
    changes: list[dict[str, Any]] = [{}, *[change for change, _ in BREACHES if "colour" not in change]]
    changes += [{"quantity": 3}, {"position": 2.0}, {"price": 0}, {"session": ""}]
    changes += [{"kind": "message", "item": None, "query": "hello"}]
    # A file may leave the zone out, and its texts come in any type; a file's people are always named.
    apart = [{"person": None, "session": None}, {"time": "2026-01-01T00:00:00"}]
    apart += [{f.name: ["x"]} for f in EVENT.fields if f.type == "text" and not f.values]
    rows = [
        {**event(number), **change, "id": change.get("id", f"e{number}")}
        for number, change in enumerate(changes)
        if change not in apart
    ]
    reader = Reader(settings.pseudonym_key)
    taken = {row["id"] for row in rows if not isinstance(reader.read(orjson.dumps(row))[0], Refused)}
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    land(open_source("contract", path), settings)
    assert {row["id"] for row in landed_rows(settings)} == taken
    assert 0 < len(taken) < len(rows)


def test_the_document_says_what_is_taken(settings: Settings) -> None:
    schema = document()["paths"]["/events"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator.check_schema(schema)
    sound = jsonschema.Draft202012Validator(schema)
    reader = Reader(settings.pseudonym_key)
    assert sound.is_valid(event(1)) and sound.is_valid({"events": [event(1), event(2)]})
    said_alike = [
        change for change, field in BREACHES
        if field not in ("time", "query") and "item" not in change and "person" not in change and " " not in change.values()
    ]  # fmt: skip
    for change in said_alike:
        broken = {**event(1), **change}
        assert not sound.is_valid(broken), change
        assert isinstance(reader.read(orjson.dumps(broken))[0], Refused)
    assert wire.schema(EVENT, FILLED)["required"] == ["id", "time", "kind"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"nonsense", 400),
        (b"[1, 2]", 400),
        (b'"events"', 400),
        (b'{"events": 3}', 422),
        (b'{"events": [], "more": 1}', 422),
        (orjson.dumps({"events": [{}] * (MAX_EVENTS + 1)}), 413),
        (orjson.dumps({"events": [event(n) for n in range(MAX_EVENTS + 1)]}), 413),
        (b" " * 1_000_001, 413),
        (b"[" * 500_000, 400),
        (b'{"a":' * 100_000, 400),
        (b'{"events":[' + b"[" * 100_000, 400),
        (b'{"id": "\\ud800"}', 400),
        (b"\xff\xfe", 400),
    ],
)  # fmt: skip
def test_a_wrong_body_is_said_to_be_wrong_in_bounded_time(door: TestClient, body: bytes, status: int) -> None:
    answer = door.post("/events", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_deep_or_strange_values_are_refused_as_rows(door: TestClient) -> None:
    deep = b'{"id":"a","kind":"view","item":' + b"[" * 300 + b"]" * 300 + b"}"
    headers = {"content-type": "application/json"}
    assert outcomes(door.post("/events", content=deep, headers=headers)) == ["refused"]
    huge = b'{"id":"a","kind":"view","item":"i","time":"2026-01-01T00:00:00Z","session":"s","quantity":1e999}'
    answer = door.post("/events", content=huge, headers=headers)
    assert answer.status_code in (200, 400) and answer.json().get("accepted", 0) == 0
    rows = [None, 3, "text", [], {}, {"id": 7}]
    assert outcomes(door.post("/events", json={"events": rows})) == ["refused"] * 6


def test_who_lacks_the_token_comes_no_further_than_health(door: TestClient) -> None:
    del door.headers[inner.TOKEN]
    assert [door.get(path).status_code for path in ("/livez", "/readyz")] == [200, 200]
    closed = [
        ("POST", "/events"),
        ("POST", "/-/close"),
        ("GET", "/metrics"),
        ("GET", "/-/clicks"),
        ("GET", "/x"),
    ]
    for method, path in (*closed, ("GET", "/openapi.json")):
        assert door.request(method, path).status_code == 401
    door.headers[inner.TOKEN] = "x" * 40
    assert door.post("/events", json=event(1)).status_code == 401
    door.headers[inner.TOKEN] = TOKEN
    assert door.get("/events").status_code == 405 and door.get("/x").status_code == 404
    assert "counterfoil_events_total" in door.get("/metrics").text


def test_receipts_are_counted_once_per_item_by_segment_and_by_lot(door: TestClient) -> None:
    shown = [event(n, kind="impression", receipt=RECEIPT, item=f"i{n % 3}", position=n + 1) for n in range(6)]
    clicked = [event(10 + n, receipt=RECEIPT, item="i1") for n in range(3)]
    other = event(20, receipt="receipt-20260412T093401-00000000-65")
    strange = [event(21, receipt="no receipt of ours"), event(22)]
    outcomes(door.post("/events", json={"events": [*shown, *clicked, other, *strange]}))
    counted = {
        "20260412T093401-00000000": {"impressions": 0, "clicks": 1},
        "20260412T093401-7f3a9c1e": {"impressions": 3, "clicks": 1},
    }
    lots = {"20260412T093401-7f3a9c1e-0": [3, 1], "20260412T093401-00000000-1": [0, 1]}
    assert door.get("/-/clicks").json() == {"seconds": 3600, "segments": counted, "lots": lots}


def test_receipts_that_are_made_up_take_up_little_and_push_out_none_that_is_spoken_of() -> None:
    now = [1_000_000_020.0]
    clicks = Clicks(lambda: now[0])
    said = SimpleNamespace(kind="impression", receipt=RECEIPT, item="i")
    for number in range(5):
        clicks.note(SimpleNamespace(kind="click", receipt=RECEIPT, item=f"i{number}"))
    for minute in range(3):
        now[0] = 1_000_000_020.0 + 3600 * minute
        for number in range(LOTS + 2000):
            made = f"receipt-20260412T093401-{number:08x}-{minute + 1}"
            clicks.note(SimpleNamespace(kind="click", receipt=made, item="i"))
        clicks.note(said)
    assert len(clicks._minutes) == 1
    assert all(len(minute) <= SEGMENTS for minute in clicks._minutes.values())
    lots = clicks.told()["lots"]
    assert len(lots) == LOTS
    assert lots[lot_of(RECEIPT)][1] == 5


def test_a_restart_counts_by_when_events_came_in(settings: Settings) -> None:
    """Their own times are of last spring, and say nothing of that."""
    shown = [event(n, kind="impression", receipt=RECEIPT, item=f"i{n}", position=n + 1) for n in range(3)]
    told = []
    for events in (shown, []):
        with TestClient(create(lambda: (Collector(settings, nowhere), TOKEN))) as door:
            door.headers[inner.TOKEN] = TOKEN
            outcomes(door.post("/events", json={"events": events}))
            told.append(door.get("/-/clicks").json()["segments"])
    assert told[0] == told[1] == {"20260412T093401-7f3a9c1e": {"impressions": 3, "clicks": 0}}


def test_of_a_log_that_nobody_landed_no_more_is_taken_up_than_is_needed(settings: Settings) -> None:
    now = datetime.now(UTC)
    began = [now - timedelta(hours=hours) for hours in (30, 3, 2, 0.5)]
    collector = Collector(settings, nowhere)
    for number, moment in enumerate(began):
        _, descriptor, _ = collected.begin(settings.events, "key", moment)
        for id in (f"{number}a", f"{number}b"):
            row = {
                "id": id,
                "kind": "click",
                "item": "i1",
                "time": "2026-04-12T09:34:01Z",
                "receipt": RECEIPT,
            }
            segment.append(descriptor, segment.line(orjson.dumps(row)))
        os.close(descriptor)
    paths = collected.segments(settings.events)
    hour_ago = now - timedelta(hours=1)
    assert collected.newest(settings.events, 0, hour_ago) == paths[2:], "the one before it may reach into it"
    assert collected.newest(settings.events, 5, hour_ago) == paths[1:]
    assert collected.newest(settings.events, 99, hour_ago) == paths
    assert collected.newest(settings.events, 1, now) == paths[3:]
    collector.window.ids = 4
    collector.start()
    collector.feed.close()
    known = {f"{number}{letter}" for number in range(4) for letter in "ab"}
    assert {id for id in known if id in collector.window} == {"2a", "2b", "3a", "3b"}


def test_clicks_are_those_of_the_last_hour() -> None:
    now = [1_000_000.0]
    counted = Clicks(clock=lambda: now[0])

    class Click:
        kind, receipt, item = "click", RECEIPT, "i1"

    counted.note(Click)
    assert counted.told()["segments"]
    now[0] += 3661
    assert counted.told()["segments"] == {}
    counted.note(Click)  # sent once more: it was counted when it was new
    assert counted.told()["segments"] == {}


def test_a_window_keeps_the_latest_ids_and_is_bounded() -> None:
    window = Window(ids=10)
    window.keep(str(n) for n in range(1000))
    assert len(window) < 20 and all(str(n) in window for n in range(990, 1000))
    assert "0" not in window


def run(settings: Settings, work: Callable[[Collector], Any], **options: Any) -> Any:
    """Run a piece of work on a collector whose log has these options."""

    async def inside() -> Any:
        collector = Collector(settings, nowhere, **options)
        collector.folder.mkdir(parents=True, exist_ok=True)
        return await work(collector)

    return asyncio.run(inside())


def test_more_than_the_disk_takes_is_told_to_come_again(settings: Settings) -> None:
    def slow(descriptor: int, lines: bytes) -> None:
        import time

        time.sleep(0.05)
        segment.append(descriptor, lines)

    async def work(collector: Collector) -> list[Any]:
        bodies = [orjson.dumps({"events": [event(n * 10 + k) for k in range(10)]}) for n in range(60)]
        return await asyncio.gather(*map(collector.take, bodies), return_exceptions=True)

    replies = run(settings, work, append=slow, pending_bytes=10_000)
    refused = [one for one in replies if isinstance(one, Refusal)]
    taken = [orjson.loads(one[2]) for one in replies if not isinstance(one, BaseException)]
    assert len(refused) + len(taken) == 60 and refused and taken
    assert {one.status for one in refused} == {429}
    assert sorted(row["id"] for one in taken for row in one["events"]) == sorted(
        row["id"] for row in kept(settings)
    )


def test_a_disk_that_fills_in_the_middle_of_a_line_acknowledges_nothing_of_it(settings: Settings) -> None:
    full = [False]

    def append(descriptor: int, lines: bytes) -> None:
        if full[0]:
            os.write(descriptor, lines[: len(lines) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        segment.append(descriptor, lines)

    async def work(collector: Collector) -> list[Any]:
        first = await collector.take(orjson.dumps(event(1)))
        full[0] = True
        lost = await asyncio.gather(
            collector.take(orjson.dumps(event(2))),
            collector.take(orjson.dumps(event(2))),  # a duplicate of what is about to be lost
            collector.take(orjson.dumps({"events": [event(3), event(4)]})),
            return_exceptions=True,
        )
        full[0] = False
        again = await collector.take(orjson.dumps({"events": [event(n) for n in (1, 2, 3, 4)]}))
        await collector.log.close()
        return [first, lost, again]

    first, lost, again = run(settings, work, append=append)
    assert orjson.loads(first[2])["accepted"] == 1
    assert [(type(one), one.status) for one in lost] == [(Refusal, 503)] * 3
    assert [row["status"] for row in orjson.loads(again[2])["events"]] == ["duplicate", *["accepted"] * 3]
    assert [row["id"] for row in kept(settings)] == ["e1", "e2", "e3", "e4"]


def test_segments_are_closed_by_size_and_land_together_and_are_found_by_name(settings: Settings) -> None:
    async def work(collector: Collector) -> None:
        for first in range(0, 60, 10):
            await collector.take(orjson.dumps({"events": [event(first + k) for k in range(10)]}))
        await collector.log.close()

    run(settings, work, segment_bytes=5000)
    names = [path.stem for path in collected.segments(settings.events)]
    assert len(names) > 1
    place = place_of(settings.home)
    [landed] = collecting.collect(place).landed
    assert (landed.landed, landed.duplicates, landed.quarantined) == (60, 0, 0)
    assert not collected.segments(settings.events)
    known = what_landed(place)
    assert {parse(place, [name], known).values for name in names} == {(landed.batch,)}
    key = settings.pseudonym_key
    assert {row["person"] for row in landed_rows(settings)} == {
        pseudonym(f"person {n}", key) for n in range(7)
    }


def test_what_was_landed_before_is_dropped_by_the_landing(settings: Settings) -> None:
    """The window forgets, the landing does not: an id that is taken twice lands once."""

    async def send(collector: Collector) -> None:
        await collector.take(orjson.dumps({"events": [event(n) for n in range(20)]}))
        await collector.log.close()

    place = place_of(settings.home)
    run(settings, send)
    collecting.collect(place)
    run(settings, send)  # another process: it never saw these ids
    [again] = collecting.collect(place).landed
    assert (again.rows_in, again.landed, again.duplicates) == (20, 0, 20)
    assert len(landed_rows(settings)) == 20


def test_a_torn_end_is_cut_off_and_an_altered_line_is_an_error(settings: Settings) -> None:
    async def send(collector: Collector) -> None:
        await collector.take(orjson.dumps({"events": [event(n) for n in range(5)]}))
        await collector.log.close()

    run(settings, send)
    [path] = collected.segments(settings.events)
    with path.open("ab") as file:
        file.write(b'00000000 {"id":"torn')
    place = place_of(settings.home)
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"e3"', b'"x3"'))
    with pytest.raises(IntegrityError, match="wrong checksum"):
        collecting.collect(place)
    [apart] = collected.segments(settings.events)
    apart.write_bytes(content[: content.rindex(b"\n") + 1])
    assert collecting.collect(place).landed[0].landed == 5


def test_a_line_that_was_torn_before_others_is_passed_over_by_all_who_read(settings: Settings) -> None:
    """Power goes within a flush: of its middle the disk has zeros, of its end the bytes."""

    async def send(collector: Collector) -> None:
        await collector.take(orjson.dumps({"events": [event(n) for n in range(5)]}))
        await collector.log.close()

    run(settings, send)
    [path] = collected.segments(settings.events)
    content = path.read_bytes()
    content = content[: content.rindex(b"\n", 0, -1) + 1]  # without the mark that nobody came to set
    at = content.index(b'"e2"')
    path.write_bytes(content[:at] + bytes(30) + content[at + 30 :])
    assert [told.entry.split(b'"')[1] for told, _ in told_of(path, 0)] == [b"e0", b"e1", b"e3", b"e4"]
    assert [mark.offset for _, mark in told_of(path, 0)][-1] == len(content)
    assert segment.count(path) == len(list(segment.payloads(path))) == 5
    assert collecting.collect(place_of(settings.home)).landed[0].landed == 4


def test_what_was_acknowledged_and_got_lost_is_told_and_keeps_no_collector_from_its_work(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async def send(collector: Collector) -> None:
        for number in range(5):
            await collector.take(orjson.dumps(event(number)))
        await collector.log.close()

    run(settings, send)
    [path] = collected.segments(settings.events)
    lines = path.read_bytes().splitlines()
    assert [line[9:] for line in lines if line[9:10] == b"#"] == [b"#%d" % count for count in range(1, 7)]
    at = path.read_bytes().index(b'"e2"')
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes(30))
    before = path.read_bytes()
    with pytest.raises(
        IntegrityError, match="the disk had 6 records before line 12, and 5 of them can be read"
    ):
        collecting.collect(place_of(settings.home))
    [apart] = collected.segments(settings.events)
    assert apart.read_bytes() == before, "nothing is removed"

    async def more(collector: Collector) -> None:
        collector.start()
        assert b'"accepted":1' in (await collector.take(orjson.dumps(event(7))))[2]
        assert b'"duplicate":1' in (await collector.take(orjson.dumps(event(0))))[2], (
            "what can be read is known"
        )
        await collector.close()

    caplog.clear()
    run(settings, more)
    said = "\n".join(caplog.messages)
    assert (
        "not all that was acknowledged can be taken up" in said and "has lost what was acknowledged" in said
    )
    [fresh] = set(collected.segments(settings.events)) - {apart}
    assert [row["id"] for row in collected.events(fresh)] == ["e7"]


def test_a_segment_under_another_key_is_refused(settings: Settings) -> None:
    from counterfoil.errors import ConfigError

    _, descriptor, _ = collected.begin(settings.events, fingerprint("another key"), datetime.now(UTC))
    segment.append(descriptor, segment.line(orjson.dumps({**event(1), "person": "p" + "0" * 20})))
    os.close(descriptor)
    with pytest.raises(ConfigError, match="fingerprint"):
        collecting.collect(place_of(settings.home))
    assert collected.segments(settings.events)


def test_a_person_is_taken_out_of_the_log(settings: Settings) -> None:
    async def send(collector: Collector) -> None:
        await collector.take(orjson.dumps({"events": [event(n) for n in range(14)]}))
        await collector.log.close()

    run(settings, send)
    place, alias = place_of(settings.home), pseudonym("person 3", settings.pseudonym_key)
    sessions = collecting.sessions_of(place, alias)
    assert sessions == (of_session("visit 3", settings.pseudonym_key),)
    assert [row["id"] for row in collecting.rows_of(place, alias, sessions)] == ["e3", "e10"]
    collecting.erase(place, alias, sessions)
    assert list(collecting.rows_of(place, alias, sessions)) == []
    assert len(kept(settings)) == 12
    assert collecting.collect(place).landed[0].landed == 12


def test_a_visit_in_which_somebody_logged_in_is_theirs_and_one_that_others_used_is_shared(
    settings: Settings,
) -> None:
    """Who was not named yet is nobody else; the online store is emptied under sessions of others as well."""

    async def send(collector: Collector) -> None:
        told = [
            event(1, person=None, session="hers"),
            event(2, person="ann", session="hers"),
            event(3, person="ann", session="of two"),
            event(4, person="bob", session="of two"),
        ]
        await collector.take(orjson.dumps({"events": told}))
        await collector.log.close()

    run(settings, send)
    place = place_of(settings.home)
    hers, of_two = (of_session(one, settings.pseudonym_key) for one in ("hers", "of two"))
    for _ in range(2):  # in the log, then landed
        who = identify(place, "ann")
        assert (who.sessions, who.answered, who.shared) == ((hers,), (hers,), (of_two,))
        collecting.collect(place)
    assert what_landed(place)


def test_a_session_and_a_person_of_the_same_name_are_two(door: TestClient, settings: Settings) -> None:
    visit = event(1, person=None, session="12345")
    customer = event(2, person="12345", session="another")
    door.post("/events", json={"events": [visit, customer]})
    first, second = kept(settings)
    assert (
        first["person"] == first["session"] != second["person"] == pseudonym("12345", settings.pseudonym_key)
    )
