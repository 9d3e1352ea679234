"""What a caller can make the gateway hold or do before anybody looked at a key."""

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bentos import routes
from bentos.gateway.app import Gateway
from bentos.gateway.door import Doors, Limits
from bentos.gateway.http import Reply, Request, failure, told
from bentos.gateway.keys import Keys
from bentos.routes import Route, Routes
from counterfoil.settings import Settings

CHUNKED = b"POST /recommend HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n"


async def plain(request: Request) -> Reply:
    """Answer with what came."""
    if request.refusal is not None:
        return failure(request.refusal.status, request.refusal.kind, request.refusal.message)
    return told({"body": len(request.body), "names": sorted(name.decode() for name in request.headers)})


def with_doors(doors: Doors, use: Callable[[int], Awaitable[None]]) -> None:
    async def both() -> None:
        server = await asyncio.get_running_loop().create_server(doors.door, "127.0.0.1", 0)
        try:
            await asyncio.wait_for(use(server.sockets[0].getsockname()[1]), 20)
        finally:
            server.close()

    asyncio.run(both())


async def said(port: int, *parts: bytes) -> bytes:
    """Send bytes, each part on its own; return what is answered, until a moment of silence."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0.01)
    answer = await asyncio.wait_for(reader.read(65_536), 5)
    writer.close()
    return answer


def test_trailers_without_end_are_refused_and_short_ones_passed_over() -> None:
    async def use(port: int) -> None:
        endless = await said(port, CHUNKED + b"0\r\nx-t: ", *[b"a" * 10_000] * 3)
        assert endless.startswith(b"HTTP/1.1 431 ")
        many = await said(port, CHUNKED + b"0\r\n" + b"x: y\r\n" * 100)
        assert many.startswith(b"HTTP/1.1 431 ")
        short = await said(port, CHUNKED + b"0\r\nauthorization: Bearer x\r\n\r\n")
        assert short.startswith(b"HTTP/1.1 200 ") and b"authorization" not in short

    with_doors(Doors(plain, Limits()), use)


def test_a_body_in_many_pieces_is_no_head() -> None:
    async def use(port: int) -> None:
        head = b"POST /recommend HTTP/1.1\r\nhost: x\r\ncontent-length: 60000\r\n\r\n"
        assert b'"body":60000' in await said(port, head, *[b"a" * 20_000] * 3)
        chunk = b"4e20\r\n" + b"a" * 20_000 + b"\r\n"
        assert b'"body":60002' in await said(port, CHUNKED, *[chunk] * 3, b"0\r\n\r\n")

    with_doors(Doors(plain, Limits()), use)


def test_all_who_ask_whether_it_is_ready_wait_for_one_look(home: Path) -> None:
    settings, asked = Settings(home=home), []

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        await asyncio.sleep(0.05)
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}")
        writer.close()

    async def ask() -> None:
        server = await asyncio.start_server(speak, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        champion = Route(release="r", bento="b", epoch=1, url=url, stage="champion")
        routes.write(Routes(use_case="r", epoch=1, champion=champion), settings.run / routes.FILE)
        gateway = Gateway(settings, "t" * 40)
        gateway.look()
        one = Request("GET", "/readyz", {b"host": b"x"}, b"", 0.0)
        replies = await asyncio.gather(*(gateway.handle(one) for _ in range(50)))
        assert {reply.status for reply in replies} == {200} and len(asked) == 1
        gateway.close()
        server.close()

    settings.run.mkdir(parents=True, exist_ok=True)
    asyncio.run(ask())


def test_the_head_alone_is_judged_before_a_body_is_read(home: Path) -> None:
    """Who has no key holds nothing: their bodies would fill what all bodies together may take up."""
    settings = Settings(home=home)
    Keys(settings.gateway).make("other", ["events"], None)
    _, key = Keys(settings.gateway).make("shop", ["recommend"], None)
    gateway = Gateway(settings, "t" * 40)
    doors = Doors(gateway.handle, Limits(), gateway.wanted)
    json, bearer = b"content-type: application/json\r\n", b"authorization: Bearer %b\r\n" % key.encode()
    heads = [
        (b"POST /recommend", json, 401),
        (b"POST /recommend", json + b"authorization: Bearer x\r\n", 401),
        (b"POST /events", json + bearer, 403),
        (b"POST /recommend", bearer, 415),
        (b"POST /recommend", bearer + b"content-type: text/plain\r\n", 415),
        (b"PUT /recommend", json + bearer, 405),
        (b"POST /nowhere", json + bearer, 404),
    ]

    async def use(port: int) -> None:
        for line, headers, status in heads:
            head = line + b" HTTP/1.1\r\nhost: x\r\n" + headers
            for framing in (b"content-length: 999999\r\n\r\n", b"transfer-encoding: chunked\r\n\r\n8\r\n"):
                answer = await said(port, head + framing + b"a")
                assert answer.startswith(b"HTTP/1.1 %d " % status), (line, headers, answer)
                assert b"connection: close" in answer and doors.held == 0
        whole = b"POST /recommend HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n" + json + bearer + b"\r\n{}"
        assert (await said(port, whole)).startswith(b"HTTP/1.1 503 ")  # let in; there are no routes

    with_doors(doors, use)
    gateway.close()


async def asked_for(request: Request) -> Reply:
    """Answer with what was understood."""
    if request.refusal is not None:
        return await plain(request)
    names = sorted(name.decode() for name in request.headers)
    return told({"did": f"{request.method} {request.path} {len(request.body)}", "names": names})


async def to_the_end(port: int, *parts: bytes) -> bytes:
    """Send bytes, each part on its own; return all that is answered until the other side ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = bytearray()

    async def read() -> None:
        with contextlib.suppress(ConnectionError):  # what was sent after the end was not read
            while more := await reader.read(65_536):
                answer.extend(more)

    reading = asyncio.create_task(read())
    with contextlib.suppress(ConnectionError):
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
    await asyncio.wait_for(reading, 5)
    writer.close()
    return bytes(answer)


OFFER = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"
SECOND = b"GET /second HTTP/1.1\r\nhost: x\r\n\r\n"
LONG = b"POST /events HTTP/1.1\r\nhost: x\r\n" + OFFER + b"content-length: %d\r\n\r\n" % len(SECOND)


@pytest.mark.parametrize(
    ("request_", "did"),
    [
        (b"GET /livez HTTP/1.1\r\nhost: x\r\n" + OFFER + b"\r\n", "GET /livez 0"),
        (b"GET /livez HTTP/1.1\r\n" + OFFER + b"host: x\r\n\r\n", "GET /livez 0"),
        (b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", "GET /a 0"),
        (LONG + SECOND, f"POST /events {len(SECOND)}"),
        (LONG.replace(b"content-length: 33", b"transfer-encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n", "POST /events 3"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_another_protocol_is_offered_in_vain(request_: bytes, did: str, alone: bool, whole: bool) -> None:
    """One answer, by HTTP/1.1, to the request with its body; what follows is neither that body nor asked."""
    assert len(SECOND) == 33

    async def use(port: int) -> None:
        sent = request_ if alone else request_ + SECOND
        answer = await to_the_end(port, *([sent] if whole else [sent[n : n + 1] for n in range(len(sent))]))
        assert answer.startswith(b"HTTP/1.1 200 ") and answer.count(b"\r\ndate: ") == 1, answer
        assert f'"did":"{did}"'.encode() in answer and b"connection: close" in answer
        assert b"upgrade" not in answer and b"http2-settings" not in answer

    with_doors(Doors(asked_for, Limits()), use)


def test_what_comes_before_an_offer_is_answered_before_it() -> None:
    async def use(port: int) -> None:
        answer = await to_the_end(port, SECOND + LONG + SECOND + SECOND)
        first, second = answer.index(b"GET /second 0"), answer.index(b"POST /events 33")
        assert first < second and answer.count(b"\r\ndate: ") == 2

    with_doors(Doors(asked_for, Limits()), use)


@pytest.mark.parametrize(
    "framing",
    [
        b"content-length: 6\r\ntransfer-encoding: chunked\r\n",
        b"transfer-encoding: chunked\r\ncontent-length: 6\r\n",
        b"transfer-encoding: chunked, identity\r\n",
        b"transfer-encoding: xchunked\r\n",
        b"content-length: 5\r\ncontent-length: 50\r\n",
        b"content-length: 99999999\r\n",
        b"proxy-connection: upgrade\r\ncontent-length: 6, 6\r\n",
    ],
)
def test_an_offer_makes_no_framing_sound(framing: bytes) -> None:
    async def use(port: int) -> None:
        for head in (framing + OFFER, OFFER + framing):
            sent = b"POST /events HTTP/1.1\r\nhost: x\r\n" + head + b"\r\n0\r\n\r\n" + SECOND
            answer = await to_the_end(port, sent)
            assert (
                answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 413 ")) and answer.count(b"\r\ndate: ") == 1
            )

    with_doors(Doors(asked_for, Limits()), use)


def test_the_head_of_an_offer_is_judged_before_its_body_is_read() -> None:
    async def use(port: int) -> None:
        answer = await to_the_end(port, LONG + SECOND)
        assert b"POST /events 0" in answer and answer.count(b"\r\ndate: ") == 1

    with_doors(Doors(asked_for, Limits(), lambda request: False), use)


def test_nothing_is_tunnelled() -> None:
    async def use(port: int) -> None:
        answer = await to_the_end(port, b"CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n" + SECOND)
        assert answer.startswith(b"HTTP/1.1 400 ") and answer.count(b"\r\ndate: ") == 1

    with_doors(Doors(asked_for, Limits()), use)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"http://shop.example/livez", "/livez"),
        (b"HTTP://shop.example:80/livez?a=http://b/", "/livez"),
        (b"https://[::1]:3000/livez", "/livez"),
        (b"http://shop.example", "/"),
        (b"http://shop.example?a=/livez", "/"),
        (b"/http://shop.example/livez", "/http://shop.example/livez"),
        (b"//shop.example/livez", "//shop.example/livez"),
        (b"ftp://shop.example/livez", "ftp://shop.example/livez"),
    ],
)
def test_a_target_in_absolute_form_is_its_path(target: bytes, path: str) -> None:
    async def use(port: int) -> None:
        for offer in (b"connection: close\r\n", OFFER):
            sent = b"POST %b HTTP/1.1\r\nhost: other\r\n%bcontent-length: 33\r\n\r\n" % (target, offer)
            answer = await to_the_end(port, sent + SECOND)
            assert f'"did":"POST {path} 33"'.encode() in answer and answer.count(b"\r\ndate: ") == 1

    with_doors(Doors(asked_for, Limits()), use)


Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def ask(pair: Pair) -> bytes:
    """Ask once on a connection that stays; return one answer."""
    pair[1].write(SECOND)
    return await asyncio.wait_for(pair[0].readuntil(b"}"), 5)


def test_who_asks_nothing_gives_way_when_the_door_is_full() -> None:
    """The longest idle first; neither a silent connection nor half a head nor a refused one holds a place."""
    doors = Doors(asked_for, Limits(connections=4))

    async def use(port: int) -> None:
        pairs = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
        assert b" 200 " in await ask(pairs[0])  # the longest idle is now the second
        pairs[2][1].write(b"GET / HT")
        pairs[3][1].write(b"nonsense\r\n\r\n")
        assert b" 400 " in await pairs[3][0].readuntil(b"}}")
        for gone in (1, 2, 0, 3):
            pairs.append(await asyncio.open_connection("127.0.0.1", port))
            assert b" 200 " in await ask(pairs[-1])
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await asyncio.wait_for(pairs[gone][0].readexactly(1), 5)
        assert len(doors.open) == len(doors.idle) == 4
        for pair in pairs[4:]:
            assert b" 200 " in await ask(pair)
        for _, writer in pairs:
            writer.close()
        while doors.open:
            await asyncio.sleep(0.01)
        assert not doors.idle

    with_doors(doors, use)


def test_nobody_gives_way_whose_request_is_under_way() -> None:
    go_on = asyncio.Event()

    async def slow(request: Request) -> Reply:
        if request.path == "/second":
            await go_on.wait()
        return await asked_for(request)

    async def use(port: int) -> None:
        asking = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        sending = await asyncio.open_connection("127.0.0.1", port)
        answers = [asyncio.create_task(ask(pair)) for pair in asking]
        sending[1].write(b"POST /sent HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nab")
        await asyncio.sleep(0.1)
        assert (await to_the_end(port)).startswith(b"HTTP/1.1 503 ")
        sending[1].write(b"cd")
        assert b"POST /sent 4" in await sending[0].readuntil(b"}")
        late = await asyncio.open_connection("127.0.0.1", port)  # for which the third gives way
        go_on.set()
        assert all(b" 200 " in answer for answer in await asyncio.gather(*answers, ask(late)))
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(sending[0].readexactly(1), 5)
        for _, writer in (*asking, sending, late):
            writer.close()

    with_doors(Doors(slow, Limits(connections=3)), use)


def test_the_first_byte_has_the_time_of_a_head_and_the_next_request_longer() -> None:
    doors = Doors(asked_for, Limits(header_seconds=0.3))

    async def use(port: int) -> None:
        sweeping = asyncio.create_task(doors.sweep())
        silent, kept = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        began = time.monotonic()
        await ask(kept)
        assert await asyncio.wait_for(silent[0].read(), 5) == b"" and time.monotonic() - began < 3
        await asyncio.sleep(0.6)
        assert b" 200 " in await ask(kept)
        sweeping.cancel()
        for _, writer in (silent, kept):
            writer.close()

    with_doors(doors, use)


def test_more_connections_fit_in_than_many_systems_allow_files() -> None:
    code = """
import resource
from bentos.gateway.__main__ import allow_files
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
allow_files()
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 2 * Limits().connections
