"""kill -9 behind the gateway, while people ask and behaviour comes in: real collector, real service of a small bento."""

import asyncio
import time
from pathlib import Path

import httpx
import orjson

from bentos import inner
from bentos.gateway.http import Reply
from bentos.gateway.services import Service
from counterfoil.receipts import Receipts
from tests.gateway_shop import Shop, shop, wait_for

HEAD = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


async def post(service: Service, path: bytes, body: bytes) -> Reply:
    return await service.ask(HEAD % (path, len(body)) + body, 20)


def event(number: int) -> bytes:
    told = {
        "id": f"e{number}",
        "person": f"p{number % 7}",
        "item": "i1",
        "kind": "view",
        "time": "2026-04-12T09:00:00Z",
    }
    return orjson.dumps(told)


def test_a_collector_that_dies_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    with shop(tmp_path / "home") as made:
        made.service("champ")
        made.collector()
        made.release(1, made.route("champ"))
        made.gateway()
        acknowledged, unsure = asyncio.run(_events_while_it_dies(made))
        assert len(acknowledged) + len(unsure) == 300
        assert len(acknowledged) > 200
        again = httpx.post(
            f"{made.url}/events", json={"events": [orjson.loads(event(n)) for n in acknowledged]}
        )
        assert {row["status"] for row in again.json()["events"]} == {"duplicate"}
        rest = httpx.post(f"{made.url}/events", json={"events": [orjson.loads(event(n)) for n in unsure]})
        assert {row["status"] for row in rest.json()["events"]} <= {"accepted", "duplicate"}


async def _events_while_it_dies(made: Shop) -> tuple[list[int], list[int]]:
    """Send 300 events, four at once; kill the collector amid them and start it again."""
    service = Service(made.url)
    acknowledged: list[int] = []
    unsure: list[int] = []
    left = iter(range(300))

    async def sending() -> None:
        for number in left:
            reply = await post(service, b"/events", event(number))
            if reply.status == 200:
                assert orjson.loads(reply.body)["accepted"] == 1, reply.body
            else:
                assert reply.status == 503 and reply.header(b"retry-after") == b"1"
            (acknowledged if reply.status == 200 else unsure).append(number)
            await asyncio.sleep(0.002)

    async def dying() -> None:
        while len(acknowledged) < 60:
            await asyncio.sleep(0.005)
        await asyncio.to_thread(made.kill, "collector")
        await asyncio.to_thread(made.collector, made.ports["collector"])

    await asyncio.gather(dying(), *(sending() for _ in range(4)))
    service.close()
    return acknowledged, unsure


def test_a_bento_that_dies_fails_nobody_and_every_answer_has_its_receipt(tmp_path: Path) -> None:
    with shop(tmp_path / "home") as made:
        packaged = made.bento()
        made.release(1, made.route("bento"))
        made.gateway()
        wait_for(lambda: (made.home / "gateway" / "last_good.json").is_file())

        async def asking() -> list[Reply]:
            service, until, replies = Service(made.url), time.monotonic() + 3.0, []

            async def one(name: int) -> None:
                while time.monotonic() < until:
                    replies.append(await post(service, b"/recommend", b'{"person":"p%d","n":4}' % name))

            killing = asyncio.get_running_loop().call_later(1.0, lambda: made.processes["bento"].kill())
            await asyncio.gather(*(one(name) for name in range(4)))
            killing.cancel()
            service.close()
            return replies

        replies = asyncio.run(asking())
        made.processes["bento"].wait()
        assert {reply.status for reply in replies} == {200}
        degraded = [reply for reply in replies if b"last good" in reply.body]
        assert 0 < len(degraded) < len(replies)
        receipts = Receipts(made.home / "receipts")
        for reply in (*replies[:20], *degraded[:20], *degraded[-20:]):
            told = orjson.loads(reply.body)
            kept = receipts.find(told["receipt"])
            assert [item.item for item in kept.items] == [item["item"] for item in told["items"]]
            assert (kept.release, kept.bento, kept.epoch) == ("release-bento", packaged.tag, 1)
            assert told["receipt"] == reply.header(inner.RECEIPT.encode()).decode()  # type: ignore[union-attr]
        made.begin_bento("bento", packaged)
        answer = httpx.post(f"{made.url}/recommend", json={"person": "p1", "n": 4}).json()
        assert not [said for said in answer["degraded"] if "last good" in said]


def ask(made: Shop) -> httpx.Response:
    return httpx.post(f"{made.url}/recommend", json={"person": "p1", "n": 2})


def test_a_gateway_that_begins_while_no_bento_is_there_answers_from_the_disk(tmp_path: Path) -> None:
    with shop(tmp_path / "home") as made:
        made.service("champ")
        made.release(1, made.route("champ"))
        made.gateway()
        lists = made.home / "gateway" / "last_good.json"
        wait_for(lists.is_file)
        for name in ("gateway", "champ"):
            made.kill(name)
        made.gateway()
        answer = ask(made)
        assert [item["item"] for item in answer.json()["items"]] == ["a", "b"]
        assert answer.headers[inner.DEGRADED] == "1"
        made.kill("gateway")
        lists.write_bytes(lists.read_bytes()[:-20])
        made.gateway()
        answer = ask(made)
        assert (answer.status_code, answer.json()["error"]["kind"]) == (503, "away")
        assert "could not be read" in made.log()


def test_an_answer_that_cannot_be_recorded_is_not_given(tmp_path: Path) -> None:
    with shop(tmp_path / "home") as made:
        (made.home / "receipts").write_text("a file where the folder of receipts should be")
        made.service("champ")
        made.release(1, made.route("champ"))
        made.gateway()
        wait_for((made.home / "gateway" / "last_good.json").is_file)
        made.kill("champ")
        answer = ask(made)
        assert (answer.status_code, answer.json()["error"]["kind"]) == (503, "unrecorded")
        assert made.stats().last_good == 0
        (made.home / "receipts").unlink()
        answer = ask(made)
        assert answer.status_code == 200
        assert Receipts(made.home / "receipts").find(answer.json()["receipt"]).id == answer.json()["receipt"]
