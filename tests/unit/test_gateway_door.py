"""What a caller can make the gateway hold or do before anybody looked at a key."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

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
