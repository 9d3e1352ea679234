"""What must not get through the gateway's door: each a clear 4xx in bounded time, or a closed connection."""

import contextlib
import re
import socket
import time
from collections.abc import Iterator

import httpx
import orjson
import psutil
import pytest

from bentos.gateway.__main__ import allow_files
from tests.gateway_shop import Shop, shop

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("door") / "home") as made:
        made.service("champ")
        made.release(1, made.route("champ"))
        made.gateway()
        yield made


@pytest.fixture(autouse=True)
def alive(running: Shop) -> Iterator[None]:
    """After whatever was sent, the gateway answers as before."""
    yield
    assert httpx.post(f"{running.url}/recommend", json={"person": "1"}).status_code == 200


def post(running: Shop, content: bytes, headers: dict[str, str] = JSON) -> httpx.Response:
    began = time.monotonic()
    answer = httpx.post(f"{running.url}/recommend", content=content, headers=headers)
    assert time.monotonic() - began < 2
    return answer


def kind(answer: httpx.Response) -> tuple[int, str]:
    error = answer.json()["error"]
    assert error["message"] and error["fields"] == []
    return answer.status_code, error["kind"]


def raw(running: Shop, *parts: bytes, wait: float = 5.0) -> bytes:
    """Send bytes as they are; return everything that comes back until the connection ends."""
    with socket.create_connection(("127.0.0.1", running.port), timeout=wait) as wire:
        got = b""
        try:
            for part in parts:
                wire.sendall(part)
            while more := wire.recv(65536):
                got += more
        except (ConnectionResetError, BrokenPipeError):
            pass
        return got


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


HEAD = b"POST /recommend HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


def test_an_oversized_body(running: Shop) -> None:
    assert kind(post(running, b'{"person": "' + b"x" * 2_000_000 + b'"}')) == (413, "too_large")


def test_an_oversized_body_in_chunks(running: Shop) -> None:
    chunk = b"186a0\r\n" + b"x" * 100_000 + b"\r\n"
    assert status(raw(running, HEAD + b"transfer-encoding: chunked\r\n\r\n", *[chunk] * 12)) == 413


def test_a_million_excluded_items(running: Shop) -> None:
    body = orjson.dumps({"filters": {"exclude": [f"item{number}" for number in range(1_000_000)]}})
    assert kind(post(running, body)) == (413, "too_large")


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_deep_json(running: Shop, opening: bytes) -> None:
    assert kind(post(running, opening * 100_000)) == (400, "depth")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"n": NaN}', b"{} {}"])
def test_what_is_no_json_object(running: Shop, body: bytes) -> None:
    assert kind(post(running, body)) == (422, "request")


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "application/vnd.bentoml+pickle"},
        {"content-type": "application/x-python-pickle"},
        {"content-type": "text/plain"},
        {"content-type": "application/json", "content-encoding": "gzip"},
        {},
    ],
)
def test_what_is_not_plain_json(running: Shop, headers: dict[str, str]) -> None:
    pickled = b"\x80\x05\x95\x12\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x06person\x94K\x01s."
    assert kind(post(running, pickled, headers)) == (415, "media_type")


def test_a_flood_of_headers(running: Shop) -> None:
    many = b"".join(b"x-%d: y\r\n" % number for number in range(100))
    assert status(raw(running, HEAD + many + b"\r\n")) == 431
    assert status(raw(running, HEAD + b"x-long: " + b"y" * 20_000 + b"\r\n\r\n")) == 431
    assert status(raw(running, HEAD + b"x-endless: ", *[b"y" * 8192] * 64)) == 431


def test_a_long_path(running: Shop) -> None:
    assert status(raw(running, b"GET /" + b"a" * 4096 + b" HTTP/1.1\r\nhost: x\r\n\r\n")) == 414


SMUGGLED = b"0\r\n\r\nGET /-/stats HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"content-length: 6\r\ntransfer-encoding: chunked\r\n",
        b"transfer-encoding: chunked\r\ncontent-length: 6\r\n",
        b"content-length: 5\r\ncontent-length: 50\r\n",
        b"content-length: 5\r\ncontent-length: 5\r\n",
        b"content-length: +5\r\n",
        b"content-length: 5, 5\r\n",
        b"content-length: 0x5\r\n",
        b"content-length: -1\r\n",
        b"content-length: 99999999999999999999999999\r\n",
        b"transfer-encoding: xchunked\r\n",
        b"transfer-encoding: chunked, identity\r\n",
        b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        b"transfer-encoding : chunked\r\n",
        b"transfer-encoding:\x0bchunked\r\n",
        b"x: y\r\n transfer-encoding: chunked\r\n",
        b"x: y\rtransfer-encoding: chunked\r\n",
        b"x: \0\r\n",
        b"host: y\r\n",
        b"upgrade: h2c\r\nconnection: upgrade\r\ncontent-length: 6\r\ntransfer-encoding: chunked\r\n",
    ],
)  # fmt: skip
def test_shapes_that_smuggle(running: Shop, head: bytes) -> None:
    """One answer, a refusal, and the connection ends: nothing that follows is taken for a request."""
    answer = raw(running, HEAD + head + b"\r\n" + SMUGGLED)
    assert answer.count(b"\r\ndate: ") == 1
    assert status(answer) in (400, 413)
    assert b"connection: close" in answer


@pytest.mark.parametrize(
    "request_line",
    [b"GET / HTTP/9.9", b"get / HTTP/1.1", b"\x16\x03\x01\x02\x00", b"PRI * HTTP/2.0", b"GET  HTTP/1.1", b"GET /\x00 HTTP/1.1"],
)  # fmt: skip
def test_what_is_no_request(running: Shop, request_line: bytes) -> None:
    assert status(raw(running, request_line + b"\r\nhost: x\r\n\r\n")) == 400


@pytest.mark.parametrize("target", [b"/recommend", b"http://shop.example/recommend"])
def test_a_caller_who_would_rather_speak_http_2(running: Shop, target: bytes) -> None:
    """Java's client offers it with its first request: that is answered by HTTP/1.1, once, and the connection ends."""
    offer = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"
    head = HEAD.replace(b"/recommend", target) + offer + b"content-length: 15\r\n\r\n"
    answer = raw(running, head + b'{"person": "1"}' + SMUGGLED)
    assert status(answer) == 200 and answer.count(b"\r\ndate: ") == 1 and b"connection: close" in answer
    assert status(raw(running, b"CONNECT x:80 HTTP/1.1\r\nhost: x:80\r\n\r\n")) == 400


def test_who_says_nothing_shuts_no_door(running: Shop) -> None:
    """Every place of the door is taken by a caller who sends nothing, or half a head; whoever asks is answered at once."""
    allow_files()
    wires = [socket.create_connection(("127.0.0.1", running.port), timeout=5) for _ in range(1100)]
    for wire in wires[::2]:
        with contextlib.suppress(ConnectionError):
            wire.sendall(b"GET / HT")
    for _ in range(5):
        began = time.monotonic()
        assert httpx.get(f"{running.url}/livez").status_code == 200
        assert time.monotonic() - began < 2
    for wire in wires:
        wire.close()


def test_a_request_without_a_host(running: Shop) -> None:
    assert status(raw(running, b"GET /livez HTTP/1.1\r\n\r\n")) == 400


def test_an_older_caller_is_answered_and_let_go(running: Shop) -> None:
    answer = raw(running, b"GET /livez HTTP/1.0\r\n\r\n")
    assert status(answer) == 200 and b"connection: close" in answer


def test_requests_in_one_write_are_answered_in_order(running: Shop) -> None:
    one = HEAD + b"content-length: 2\r\n\r\n{}"
    last = HEAD + b"connection: close\r\ncontent-length: 2\r\n\r\n[]"
    answer = raw(running, one * 3 + last)
    assert [int(code) for code in re.findall(rb"HTTP/1.1 (\d{3}) ", answer)] == [200, 200, 200, 422]


def test_too_many_requests_in_one_write_end_the_connection(running: Shop) -> None:
    raw(running, (HEAD + b"content-length: 2\r\n\r\n{}") * 2000)


def test_a_caller_who_waits_to_be_told_to_go_on(running: Shop) -> None:
    with socket.create_connection(("127.0.0.1", running.port), timeout=5) as wire:
        wire.sendall(HEAD + b"expect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        assert wire.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.sendall(b"{}")
        assert status(wire.recv(65536)) == 200


def test_methods_and_paths_that_there_are_none_of(running: Shop) -> None:
    answer = httpx.get(f"{running.url}/recommend")
    assert kind(answer) == (405, "method") and answer.headers["allow"] == "POST"
    assert kind(httpx.get(f"{running.url}/-/anything")) == (404, "unknown")
    head = httpx.head(f"{running.url}/livez")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "14")
    assert httpx.head(f"{running.url}/recommend").status_code == 405
    assert httpx.options(f"{running.url}/recommend").status_code == 405


def test_slow_callers_are_told_so_and_cost_nobody_else_anything(running: Shop) -> None:
    """A head that never ends and a body that never comes: 408 after ten seconds, while others are answered."""
    began = time.monotonic()
    wires = [socket.create_connection(("127.0.0.1", running.port), timeout=15) for _ in range(40)]
    for number, wire in enumerate(wires):
        wire.sendall(HEAD if number % 2 else HEAD + b"content-length: 10\r\n\r\n{")
    asked = []
    while time.monotonic() - began < 8:
        before = time.monotonic()
        assert httpx.post(f"{running.url}/recommend", json={"person": "1"}).status_code == 200
        asked.append(time.monotonic() - before)
        for wire in wires[1::2]:
            wire.sendall(b"x-slow: y\r\n"[: 1 + len(asked) % 3])
        time.sleep(0.5)
    answers = {status(wire.recv(4096)) for wire in wires[::2]}
    assert answers == {408}
    assert 9.5 < time.monotonic() - began < 12.5
    assert sorted(asked)[len(asked) // 2] < 0.5
    for wire in wires:
        wire.close()


def test_a_caller_who_reads_nothing_is_not_written_to_without_end(running: Shop) -> None:
    """Questions without end on one connection, whose answers nobody takes: reading stops, and so does memory's growth."""
    process = psutil.Process(running.processes["gateway"].pid)
    before = process.memory_info().rss
    asking = b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", running.port)) as wire:
        wire.settimeout(0.5)
        sent = 0
        try:
            while sent < 20_000_000:
                sent += wire.send(asking * 8)
                time.sleep(0.001)
        except (TimeoutError, ConnectionError):
            pass
    assert sent < 5_000_000
    assert process.memory_info().rss - before < 16_000_000


def test_bodies_that_never_end_are_bounded_together(running: Shop) -> None:
    """Ninety callers each send most of a megabyte and then nothing: those beyond the bound are turned away at once."""
    wires = []
    for _ in range(90):
        wire = socket.create_connection(("127.0.0.1", running.port), timeout=5)
        wire.sendall(HEAD + b"content-length: 1000000\r\n\r\n" + b"x" * 900_000)
        wires.append(wire)
    turned = 0
    for wire in wires[75:]:
        wire.settimeout(1)
        with contextlib.suppress(TimeoutError, ConnectionError):
            turned += status(wire.recv(4096)) == 503
    for wire in wires:
        wire.close()
    assert turned >= 10


def test_memory_stays_where_it_is_under_what_is_refused(running: Shop) -> None:
    process = psutil.Process(running.processes["gateway"].pid)

    def abuse(times: int) -> None:
        for number in range(times):
            post(running, b"[" * 400_000)
            post(running, orjson.dumps({"person": "x" * 500_000, "n": number}))
            raw(running, HEAD + b"x: " + b"y" * 60_000 + b"\r\n\r\n")

    abuse(10)
    before = process.memory_info().rss
    abuse(40)
    assert process.memory_info().rss - before < 8_000_000
    assert len(process.net_connections()) < 40
