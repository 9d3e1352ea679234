"""The gateway as a real process before services as real processes: who answers, what is passed on, and what a loss costs."""

import asyncio
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import orjson
import pytest

from bentos import inner
from bentos.gateway import services
from bentos.gateway.admission import PLACES
from bentos.gateway.app import CROWD_BYTES
from bentos.gateway.http import Reply
from bentos.gateway.keys import Keys
from bentos.gateway.last_good import CROWDED, SAYS
from bentos.gateway.services import Service
from counterfoil.pseudonym import pseudonym
from counterfoil.receipts import Receipts
from counterfoil.settings import EMBEDDED_KEY
from tests.gateway_shop import Shop, shop, wait_for

PERSON = {"person": "ada-lovelace-1815"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("gateway") / "home", COUNTERFOIL_GATEWAY_LOG_SHARE="1") as made:
        made.service("champ")
        made.service("chall")
        made.service("collector")
        made.release(1, made.route("champ"))
        made.gateway()
        wait_for(lambda: (made.home / "gateway" / "last_good.json").is_file())
        yield made


@pytest.fixture
def epoch(running: Shop) -> Iterator[int]:
    """The next epoch; services behave again afterwards."""
    yield httpx.get(f"{running.url}/-/routes", headers=running.inside).json()["epoch"] + 1
    for name in ("champ", "chall"):
        running.behave(name, ms=0.0, status=200, error_share=0.0, items=["a", "b", "c", "d"], waited_ms=0.0)


def ask(running: Shop, body: Any = PERSON, **more: Any) -> httpx.Response:
    return httpx.post(f"{running.url}/recommend", json=body, **more)


def load(running: Shop, people: list[str], *, at_once: int = 8, path: str = "/recommend") -> list[Reply]:
    """Ask for all these people, as many at once, over connections that are kept alive; the replies in order."""

    async def all_of_them() -> list[Reply]:
        service, left = Service(running.url), asyncio.Semaphore(at_once)

        async def one(person: str) -> Reply:
            body = b'{"person":"%b"}' % person.encode()
            head = (
                b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
            )
            async with left:
                return await service.ask(head % (path.encode(), len(body)) + body, 20)

        replies = await asyncio.gather(*(one(person) for person in people))
        service.close()
        return replies

    with mock.patch.object(services, "CONNECT_SECONDS", 10.0):  # a caller's patience, not the gateway's
        return asyncio.run(all_of_them())


def test_an_answer_comes_back_as_the_service_gave_it(running: Shop) -> None:
    answer = ask(running)
    assert answer.status_code == 200
    assert answer.headers[inner.RELEASE] == "release-champ" and answer.headers[inner.ITEMS] == "4"
    assert answer.json()["receipt"] == answer.headers[inner.RECEIPT]
    assert [item["item"] for item in answer.json()["items"]] == ["a", "b", "c", "d"]


def test_the_service_hears_what_the_gateway_knows_and_nothing_that_a_caller_made_up(running: Shop) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    made_up = {
        inner.ARM: "canary",
        inner.PROPENSITY: "0.5",
        inner.TOKEN: "x" * 43,
        "x-other": "1",
        "cookie": "a=b",
    }
    answer = ask(running, headers={**made_up, "x-request-id": "mine-1", "traceparent": trace})
    assert answer.headers["x-request-id"] == "mine-1"
    seen = running.seen("champ")[-1]
    assert seen["body"] == '{"person":"ada-lovelace-1815"}'
    assert seen["headers"][inner.TOKEN] == running.token
    assert (seen["headers"][inner.ARM], seen["headers"][inner.PROPENSITY]) == ("champion", "1")
    assert (seen["headers"]["x-request-id"], seen["headers"]["traceparent"]) == ("mine-1", trace)
    assert 0 < int(seen["headers"][inner.DEADLINE]) <= 1000
    assert not {"x-other", "cookie"} & set(seen["headers"])


def test_a_canary_answers_its_share_of_people_and_always_the_same(running: Shop, epoch: int) -> None:
    running.release(epoch, running.route("champ"), running.route("chall", "canary", epoch, share=0.2))
    people = [f"p{number}" for number in range(400)]
    first = [reply.header(inner.RELEASE.encode()) for reply in load(running, people)]
    again = [reply.header(inner.RELEASE.encode()) for reply in load(running, people)]
    assert first == again
    assert 50 <= first.count(b"release-chall") <= 110
    arms = {
        (one["headers"][inner.ARM], one["headers"][inner.PROPENSITY]) for one in running.seen("chall")[-20:]
    }
    assert arms == {("canary", "0.2")}
    told = running.stats().of("release-chall")
    assert told is not None and told.live.requests == 2 * first.count(b"release-chall")
    lots = told.since_by_lot()
    assert lots and all(told.since <= since <= time.time() for since in lots.values())


@pytest.mark.parametrize("fault", [{"error_share": 1.0}, {"status": 422}], ids=["fails", "refuses"])
def test_a_canary_that_fails_or_refuses_is_answered_for_by_the_champion_and_counted(
    running: Shop, epoch: int, fault: dict[str, Any]
) -> None:
    """What the champion answers was no fault of the caller's."""
    running.behave("chall", **fault)
    running.release(epoch, running.route("champ"), running.route("chall", "canary", epoch, share=1.0))
    replies = load(running, [f"p{number}" for number in range(50)])
    assert {(reply.status, reply.header(inner.RELEASE.encode())) for reply in replies} == {
        (200, b"release-champ")
    }
    told = running.stats().of("release-chall")
    assert told is not None and (told.live.requests, told.live.errors, told.live.refused) == (50, 50, 0)


def test_what_canary_and_champion_refuse_counts_against_neither(running: Shop, epoch: int) -> None:
    running.behave("chall", status=422)
    running.release(epoch, running.route("champ"), running.route("chall", "canary", epoch, share=1.0))
    running.behave("champ", status=404)
    assert {reply.status for reply in load(running, [f"p{number}" for number in range(5)])} == {404}
    told = running.stats().of("release-chall")
    assert told is not None and (told.live.requests, told.live.errors, told.live.refused) == (5, 0, 5)


def test_a_canary_that_hangs_costs_its_part_of_the_time(running: Shop, epoch: int) -> None:
    running.behave("chall", ms=5000)
    running.release(epoch, running.route("champ"), running.route("chall", "canary", epoch, share=1.0))
    began = time.monotonic()
    assert {reply.status for reply in load(running, [f"p{number}" for number in range(4)])} == {200}
    assert time.monotonic() - began < 1.0
    told = running.stats().of("release-chall")
    assert told is not None and told.live.timeouts == 4


def test_a_shadow_is_asked_the_same_and_never_shown(running: Shop, epoch: int) -> None:
    running.behave("chall", items=["a", "x", "y", "z"], ms=20)
    running.release(
        epoch, running.route("champ"), running.route("chall", "shadow", epoch, share=0.0, mirror=1.0)
    )
    replies = load(running, [f"p{number}" for number in range(30)], at_once=4)
    assert {reply.header(inner.RELEASE.encode()) for reply in replies} == {b"release-champ"}

    def copied() -> bool:
        told = running.stats().of("release-chall")
        return told is not None and told.copies.compared == 30

    wait_for(copied)
    told = running.stats().of("release-chall")
    assert told is not None
    assert (told.copies.requests, told.live.requests, told.lots) == (30, 0, {})
    assert told.copies.overlap / told.copies.compared == pytest.approx(0.25)
    assert told.copies.quantile(0.5) >= 20  # type: ignore[operator]
    assert {one["headers"][inner.ARM] for one in running.seen("chall")[-30:]} == {"shadow"}


def test_a_shadow_that_is_slow_makes_copies_drop_and_nobody_wait(running: Shop, epoch: int) -> None:
    running.behave("chall", ms=900)
    running.release(
        epoch, running.route("champ"), running.route("chall", "shadow", epoch, share=0.0, mirror=1.0)
    )
    began = time.monotonic()
    assert {reply.status for reply in load(running, [f"p{number}" for number in range(300)])} == {200}
    assert time.monotonic() - began < 5
    assert running.stats().dropped > 200


def test_what_a_copy_waited_for_is_not_the_releases_doing(running: Shop, epoch: int) -> None:
    time.sleep(1.0)  # the test before has copies under way, and the queue is full behind them
    running.behave("chall", ms=60, waited_ms=55.0)
    running.release(
        epoch, running.route("champ"), running.route("chall", "shadow", epoch, share=0.0, mirror=1.0)
    )
    load(running, [f"p{number}" for number in range(10)])
    wait_for(lambda: (told := running.stats().of("release-chall")) is not None and told.copies.compared == 10)
    told = running.stats().of("release-chall")
    assert told is not None and told.copies.quantile(0.5) < 30  # type: ignore[operator]
    dropped = running.stats().dropped
    running.behave("chall", ms=0, status=503, waited_ms=900.0)
    load(running, [f"q{number}" for number in range(10)])
    wait_for(lambda: running.stats().dropped == dropped + 10)
    told = running.stats().of("release-chall")
    assert told is not None and (told.copies.errors, told.copies.compared) == (0, 10)
    running.behave("chall", status=503, waited_ms=0.0)  # no wait is told: it is the release that refuses
    load(running, [f"r{number}" for number in range(10)])
    wait_for(lambda: (told := running.stats().of("release-chall")) is not None and told.copies.errors == 10)


def test_another_bento_at_the_champions_address_is_shown_to_nobody(running: Shop, epoch: int) -> None:
    running.behave("champ", bento="champ:1")
    running.release(epoch, running.route("champ"))
    answer = ask(running)
    assert answer.json()["degraded"] == [] and inner.BENTO not in answer.headers
    running.behave("champ", bento="chall:1")
    assert ask(running).json()["degraded"] == [SAYS]
    running.behave("champ", bento="")


def test_events_go_to_the_collector_as_they_came(running: Shop) -> None:
    body = b'{"events": [ {"id": "1"}, {"id": "2"} ]}'
    answer = httpx.post(f"{running.url}/events", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()) == (200, {"rows": [{"taken": True}] * 2})
    assert running.seen("collector")[-1]["body"].encode() == body


def test_a_switch_under_load_fails_nobody(running: Shop, epoch: int) -> None:
    async def switching() -> list[Reply]:
        asking = asyncio.create_task(asyncio.to_thread(load, running, [f"p{n}" for n in range(2000)]))
        for turn in range(12):
            champion, other = ("chall", "champ") if turn % 2 else ("champ", "chall")
            challenger = running.route(other, "canary", epoch + turn, share=0.5) if turn % 3 else None
            running_now = running.route(champion, epoch=epoch + turn)
            await asyncio.to_thread(running.release, epoch + turn, running_now, challenger)
        return await asking

    replies = asyncio.run(switching())
    assert [reply.status for reply in replies] == [200] * 2000
    assert len({reply.header(inner.RELEASE.encode()) for reply in replies}) == 2


def test_a_champion_that_dies_is_answered_for_from_the_last_good_list(running: Shop, epoch: int) -> None:
    running.release(epoch, running.route("champ"))
    running.behave("champ", ms=30)
    wait_for(lambda: "last-good" in str(running.seen("champ")[-50:]))

    async def killing() -> list[Reply]:
        asking = asyncio.create_task(asyncio.to_thread(load, running, [f"p{n}" for n in range(60)]))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(running.kill, "champ")
        return await asking

    try:
        replies = asyncio.run(killing())
        assert {reply.status for reply in replies} == {200}
        marked = [reply for reply in replies if reply.header(inner.DEGRADED.encode())]
        assert 0 < len(marked) < 60
        answer = ask(running, {**PERSON, "n": 3, "filters": {"exclude": ["b"]}}).json()
        assert answer["degraded"] == [SAYS]
        assert [item["item"] for item in answer["items"]] == ["a", "c", "d"]
        receipt = Receipts(running.home / "receipts").find(answer["receipt"])
        assert receipt.person == pseudonym(PERSON["person"], EMBEDDED_KEY)
        assert (receipt.release, receipt.degraded) == ("release-champ", (SAYS,))
        assert receipt.features["last_good"]["receipt"].startswith("receipt-20260412T093401")
        assert ask(running, {"filters": {"price_max": 3.0}}).status_code == 503
        assert ask(running, {"n": "many"}).status_code == 422
        assert httpx.get(f"{running.url}/readyz").status_code == 503
        assert httpx.get(f"{running.url}/livez").status_code == 200
    finally:
        running.service("champ")
    wait_for(lambda: ask(running).json()["degraded"] == [])


def test_a_champion_that_restarts_within_the_budget_loses_nothing(running: Shop, epoch: int) -> None:
    """The service's own start takes longer than a question may, so its port is handed to one that stands ready."""
    running.release(epoch, running.route("champ"))

    async def moving() -> list[Reply]:
        asking = asyncio.create_task(
            asyncio.to_thread(load, running, [f"p{n}" for n in range(400)], at_once=4)
        )
        await asyncio.sleep(0.05)
        await asyncio.to_thread(running.kill, "champ")
        await asyncio.to_thread(running.release, epoch + 1, running.route("chall", epoch=epoch + 1))
        return await asking

    try:
        replies = asyncio.run(moving())
        assert {(reply.status, reply.header(inner.DEGRADED.encode())) for reply in replies} == {(200, None)}
        assert {reply.header(inner.RELEASE.encode()) for reply in replies} >= {b"release-chall"}
    finally:
        running.service("champ")


def test_a_champion_that_hangs_is_answered_for_within_the_budget(running: Shop, epoch: int) -> None:
    running.release(epoch, running.route("champ"))
    process = running.processes["champ"]
    process.send_signal(signal.SIGSTOP)
    try:
        took = []
        for _ in range(8):
            began = time.monotonic()
            answer = ask(running, headers={inner.DEADLINE: "400"})
            assert answer.json().get("degraded") == [SAYS], answer.text
            took.append(time.monotonic() - began)
        assert max(took) < 0.9
        assert min(took[5:]) < 0.25  # by then it is left alone
    finally:
        process.send_signal(signal.SIGCONT)
    wait_for(lambda: ask(running).json()["degraded"] == [])


def test_a_fault_of_the_champion_is_answered_for_as_is_a_busy_one(running: Shop, epoch: int) -> None:
    running.release(epoch, running.route("champ"))
    running.behave("champ", status=500)
    assert ask(running).json()["degraded"] == [SAYS]
    running.behave("champ", status=503)
    assert ask(running).json()["degraded"] == [SAYS]
    answer = ask(running, {"filters": {"price_max": 3.0}})  # that no list can keep to
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    running.behave("champ", status=422)
    assert ask(running).status_code == 422


def test_routes_that_are_wrong_or_older_are_not_taken(running: Shop, epoch: int) -> None:
    running.release(epoch, running.route("champ"))
    path = running.home / "run" / "routes.json"
    good = path.read_bytes()
    for content in (b"", b"{}", good.replace(b'"epoch": %d' % epoch, b'"epoch": 1', 1)):
        path.write_bytes(content)
        time.sleep(0.25)
        told = httpx.get(f"{running.url}/-/routes", headers=running.inside).json()
        assert (told["epoch"], told["champion"]["release"]) == (epoch, "release-champ")
        assert ask(running).status_code == 200


def test_prometheus_reads_the_same_numbers(running: Shop) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    ask(running)
    text = httpx.get(f"{running.url}/metrics", headers=running.inside).text
    told = {family.name: family for family in text_string_to_metric_families(text)}
    champions = [one for one in running.stats().releases if one.release == "release-champ"]
    requests = [
        sample.value
        for sample in told["counterfoil_requests"].samples
        if sample.labels["release"] == "release-champ" and sample.labels["seen"] == "live"
    ]
    lately = [one for one in champions if one.seconds or one.lots]
    assert sum(requests) == sum(one.live.requests for one in lately) > 0
    counts = [s.value for s in told["counterfoil_answer_seconds"].samples if s.name.endswith("_count")]
    assert sum(counts) > 0


def test_no_name_of_a_person_is_written_anywhere(running: Shop) -> None:
    ask(running)
    name = PERSON["person"].encode()
    files = [path for path in running.home.rglob("*") if path.is_file()]
    assert len(files) > 4
    assert not [path for path in files if name in path.read_bytes()]


def test_sigterm_lets_what_it_took_be_answered(tmp_path: Path) -> None:
    with shop(tmp_path / "home") as made:
        made.service("champ")
        made.behave("champ", ms=400)
        made.release(1, made.route("champ"))
        made.gateway()

        async def ending() -> list[Reply]:
            asking = asyncio.create_task(
                asyncio.to_thread(load, made, [f"p{n}" for n in range(20)], at_once=20)
            )
            await asyncio.sleep(0.2)
            made.processes["gateway"].send_signal(signal.SIGTERM)
            return await asking

        with socket.create_connection(("127.0.0.1", made.port), timeout=10) as half:
            half.sendall(b"POST /recommend HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n")
            assert {reply.status for reply in asyncio.run(ending())} == {200}
            half.sendall(b"content-length: 2\r\n\r\n{}")
            assert half.recv(100).startswith(b"HTTP/1.1 200 OK")
        assert made.processes["gateway"].wait(5) == 0


def test_more_than_there_is_room_for_is_answered_from_the_list_and_those_inside_stay_quick(
    tmp_path: Path,
) -> None:
    """Ten times what fits: whoever is let in waits no longer for it, and afterwards all is as before.

    As many again get the last good list and a receipt, and what is more yet is turned away.
    """
    with shop(tmp_path / "home", COUNTERFOIL_GATEWAY_IN_FLIGHT="4") as made:
        made.service("champ")
        made.behave("champ", ms=5)
        made.release(1, made.route("champ"))
        made.gateway()
        people = [f"p{number}" for number in range(2000)]
        wait_for(lambda: "last-good" in str(made.seen("champ")))
        replies = load(made, people, at_once=40)
        inside = [reply for reply in replies if reply.status == 200]
        listed = [reply for reply in inside if reply.header(inner.DEGRADED.encode())]
        turned = [reply for reply in replies if reply.status == 503 and b'"busy"' in reply.body]
        assert len(inside) + len(turned) == 2000
        assert min(len(inside) - len(listed), len(listed), len(turned)) > 20
        assert {reply.header(b"retry-after") for reply in turned} == {b"1"}
        plain = orjson.loads(listed[0].body)
        assert plain["degraded"] == [CROWDED]
        assert Receipts(made.home / "receipts").find(plain["receipt"]).degraded == (CROWDED,)
        told = made.stats()
        assert (told.shed, told.last_good) == (len(turned), len(listed))
        assert told.releases[0].live.requests == len(inside) - len(listed)
        assert told.releases[0].live.quantile(0.9) < 100  # type: ignore[operator]
        assert {reply.status for reply in load(made, people[:50], at_once=4)} == {200}


def test_who_there_is_no_room_for_and_no_list_is_told_which_of_them_is_wanting(tmp_path: Path) -> None:
    """One question is inside and takes its time. No list fits the next one, and of the one after no receipt can be kept."""
    patient = {"COUNTERFOIL_GATEWAY_IN_FLIGHT": "1", "COUNTERFOIL_GATEWAY_BUDGET_MS": "20000"}
    with shop(tmp_path / "home", **patient) as made:
        made.service("champ")
        made.release(1, made.route("champ"))
        made.gateway()
        wait_for(lambda: (made.home / "gateway" / "last_good.json").is_file())
        made.behave("champ", ms=3000)
        receipts = made.home / "receipts"
        assert not list(receipts.glob("*"))
        if receipts.is_dir():
            receipts.rmdir()
        receipts.write_text("no folder")
        with ThreadPoolExecutor(1) as pool:
            inside = pool.submit(ask, made)
            wait_for(lambda: made.stats().in_flight == 1)
            long = {**PERSON, "filters": {"exclude": ["x" * 80] * (CROWD_BYTES // 80)}}
            unfit, unread, unrecorded = (
                ask(made, body) for body in ({"filters": {"price_max": 3.0}}, long, PERSON)
            )
            assert not inside.done()
            for busy in (unfit, unread):
                assert (busy.status_code, busy.json()["error"]["kind"]) == (503, "busy")
            assert (unrecorded.status_code, unrecorded.json()["error"]["kind"]) == (503, "unrecorded")
            assert inside.result().status_code == 200
        assert (made.stats().shed, made.stats().last_good) == (2, 0)


def test_every_route_is_classified_and_wants_its_key(tmp_path: Path) -> None:
    with shop(tmp_path / "home") as made:
        made.service("champ")
        made.service("collector")
        made.release(1, made.route("champ"))
        keys = Keys(made.home / "gateway")
        texts = {scope: keys.make(scope, [scope], None)[1] for scope in ("recommend", "events", "admin")}
        _, slow = keys.make("slow", ["recommend"], 1.0)
        made.gateway()

        def status(path: str, method: str, key: str | None) -> int:
            headers = {"content-type": "application/json"} | (
                {} if key is None else {"authorization": f"Bearer {key}"}
            )
            content = b"{}" if method == "POST" else None
            return httpx.request(method, made.url + path, headers=headers, content=content).status_code

        for path, place in PLACES.items():
            if place.scope is None:
                assert status(path, place.method, None) == 200, path
                continue
            assert status(path, place.method, None) == 401, path
            assert status(path, place.method, "cfg_000000000000_" + "a" * 43) == 401, path
            for scope, text in texts.items():
                assert status(path, place.method, text) == (200 if scope == place.scope else 403), (
                    path,
                    scope,
                )
        assert status("/else", "GET", None) == 404
        assert [status("/recommend", "POST", slow) for _ in range(2)] == [200, 429]
        keys.revoke("recommend")
        wait_for(lambda: status("/recommend", "POST", texts["recommend"]) == 401)
        for name in ("events", "admin", "slow"):
            keys.revoke(name)
        time.sleep(0.3)
        assert status("/recommend", "POST", None) == 401


def test_without_a_key_it_does_not_begin_in_production_or_elsewhere(tmp_path: Path) -> None:
    import subprocess
    import sys

    with shop(tmp_path / "home") as made:
        secret = {"COUNTERFOIL_PSEUDONYM_KEY": "a-key-of-our-own"}
        for env in ({"COUNTERFOIL_PROFILE": "production", **secret}, {"COUNTERFOIL_GATEWAY_HOST": "0.0.0.0"}):
            line = [sys.executable, "-m", "bentos.gateway"]
            done = subprocess.run(line, env={**made.env, **env}, capture_output=True, text=True, timeout=60)
            assert done.returncode == 2
            assert "counterfoil key make" in done.stderr and done.stderr.count("\n") == 1
