"""The load generator: percentiles, and that a server which stands still is charged for everybody who came meanwhile."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from bench.serving import load
from bench.serving.load import Answer, Plan, percentiles, told

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Of: me\r\n\r\n%s"


class Server(threading.Thread):
    """A real server on loopback: it answers after `reply` has returned, one request at a time."""

    def __init__(self, reply: "load.Any") -> None:
        super().__init__(daemon=True)
        self.reply, self.port, self._up = reply, 0, threading.Event()

    def run(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self.stopping = asyncio.Event()
        server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._up.set()
        await self.stopping.wait()
        server.close()
        waiting = asyncio.all_tasks() - {asyncio.current_task()}
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(
                    int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
                )
                writer.write(self.reply())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@contextmanager
def serving(reply: "load.Any") -> Iterator[int]:
    server = Server(reply)
    server.start()
    assert server._up.wait(10)
    yield server.port
    server.loop.call_soon_threadsafe(server.stopping.set)
    server.join(10)


def plan(port: int, **changes: object) -> Plan:
    values: dict = {"host": "127.0.0.1", "port": port, "path": "/", "bodies": ("{}",), "count": 50}
    return Plan(**{**values, **changes})


def good(body: bytes = b'{"items":[1],"degraded":[]}') -> bytes:
    return ANSWER % (len(body), body)


def test_percentiles_are_values_that_were_seen() -> None:
    found = percentiles([float(value) for value in range(1, 101)])
    assert (found["p50"], found["p95"], found["p99"], found["p99.9"], found["max"]) == (50, 95, 99, 100, 100)
    assert percentiles([7.0])["p99"] == 7.0
    assert percentiles([]) == {}


def test_what_is_asked_in_warming_up_and_what_failed_are_kept_out_of_the_times() -> None:
    answers = [
        Answer(number=0, due=0.0, sent=0.0, done=9.0, status=200),
        Answer(number=1, due=1.0, sent=1.0, done=1.002, status=200),
        Answer(number=2, due=2.0, sent=2.0, done=7.0, status=503, fault="status 503"),
    ]
    found = told(plan(1, warm_up=1), answers, 0.0)
    assert (found["asked"], found["answered"], found["failed"]) == (2, 1, 1)
    assert found["faults"] == {"status 503": 1}
    assert found["ms"]["max"] == pytest.approx(2.0)


def test_a_closed_loop_asks_as_often_as_it_should_and_reads_what_comes() -> None:
    with serving(lambda: good(b'{"items":[],"degraded":["so"]}')) as port:
        found = load.run(plan(port, count=20, warm_up=5, connections=3, watched=("x-of",), keep=True))
    assert found["answered"] == 20 and found["failed"] == 0
    assert found["empty"] == found["degraded"] == 20
    assert {one["headers"]["x-of"] for one in found["kept"]} == {"me"}


def test_a_server_that_stands_still_is_charged_for_all_who_came_meanwhile() -> None:
    """One stop of 300 ms among 400 questions a second: a closed loop sees one slow answer, an open one a hundred and more."""
    numbers = iter(range(100_000))

    def stops_once() -> bytes:
        if next(numbers) == 100:
            time.sleep(0.3)
        return good()

    with serving(stops_once) as port:
        found = load.run(plan(port, count=400, rate=400.0, connections=8, keep=True, seconds=5))
    slow = sum(one["done"] - one["due"] > 0.05 for one in found["kept"])
    assert found["failed"] == 0 and 60 <= slow <= 180
    assert found["ms"]["p99"] > 150
    numbers = iter(range(100_000))
    with serving(stops_once) as port:
        closed = load.run(plan(port, count=400, keep=True))
    assert sum(one["done"] - one["due"] > 0.05 for one in closed["kept"]) <= 5


def test_refusals_closed_connections_and_silence_are_failures() -> None:
    with serving(lambda: b"HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") as port:
        found = load.run(plan(port, count=5))
    assert found["faults"] == {"status 503": 5}
    with serving(lambda: b"nonsense\r\n\r\n") as port:
        found = load.run(plan(port, count=2))
    assert found["failed"] == 2 and all(fault.startswith("no HTTP") for fault in found["faults"])
    silent = plan(port, count=2, patience=0.2)
    with serving(lambda: b"") as port:
        found = load.run(Plan(**{**{f: getattr(silent, f) for f in Plan.__dataclass_fields__}, "port": port}))
    assert found["faults"] == {"late": 2}
    found = load.run(plan(1, count=2, seconds=5))
    assert found["answered"] == 0 and found["failed"] == 2


def test_a_question_larger_than_the_socket_takes_at_once_goes_whole() -> None:
    body = "x" * 5_000_000
    with serving(good) as port:
        found = load.run(plan(port, count=3, bodies=(body,), connections=2))
    assert found["answered"] == 3 and found["failed"] == 0


def test_a_connection_that_is_closed_while_idle_is_made_anew() -> None:
    with serving(good) as port:
        asked = load.Load(plan(port, count=2, connections=2))
        with closing(asked):
            asked.run()
            for wire in asked._wires.values():
                wire.socket.shutdown(socket.SHUT_RDWR)
            asked.run()
    assert [answer.fault for answer in asked.answers] == [""] * 4


def test_plans_take_turns_and_each_is_told_what_it_came_to() -> None:
    order: list[str] = []

    def noted(name: str, seconds: float) -> bytes:
        order.append(name)
        time.sleep(seconds)
        return good()

    with serving(lambda: noted("quick", 0.0)) as quick, serving(lambda: noted("slow", 0.02)) as slow:
        plans = [plan(quick, count=3, warm_up=1), plan(slow, count=3, warm_up=1)]
        first, second = load.take_turns(plans, 3)
        [*_, told_apart] = load.turns_in_process(plans, 1)
    assert order[:24] == [
        name for name in ("quick", "slow", "slow", "quick", "quick", "slow") for _ in range(4)
    ]
    assert (first["asked"], second["asked"], first["failed"]) == (9, 9, 0)
    assert len(second["turns_p50"]) == 3 and min(second["turns_p50"]) >= 20 > first["ms"]["p50"]
    assert told_apart["asked"] == 3 and told_apart["ms"]["p50"] >= 20
