"""Connections to services: kept alive, shared, cut off; against a server of asyncio's that behaves as it is told."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from bentos.gateway.services import Late, Lost, Service, Stale, Unreachable

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: b\r\nconnection: keep-alive\r\n\r\nok"
ASK = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def with_server(speak: Speak, use: Callable[[Service], Awaitable[None]]) -> None:
    async def both() -> None:
        async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await speak(reader, writer)
            finally:
                writer.close()

        server = await asyncio.start_server(closing, "127.0.0.1", 0, backlog=1000)
        service = Service(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        try:
            await asyncio.wait_for(use(service), 20)
        finally:
            service.close()
            server.close()

    asyncio.run(both())


async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.readuntil(b"\r\n\r\n"):
        writer.write(ANSWER)


def test_one_connection_serves_many_requests_and_headers_of_it_stay_behind() -> None:
    seen = []

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer)
        with pytest.raises(asyncio.IncompleteReadError):
            await answering(reader, writer)

    async def use(service: Service) -> None:
        for _ in range(5):
            reply = await service.ask(ASK, 1)
            assert (reply.status, reply.body, reply.headers) == (200, b"ok", [(b"x-a", b"b")])
        assert len(seen) == 1 and service.in_flight == 0

    with_server(speak, use)


def test_who_ends_a_connection_cuts_off_nobody_who_took_it_next() -> None:
    """Many ask at once over few connections: one that is handed back is taken before its last asker has tidied up."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with pytest.raises(asyncio.IncompleteReadError):
            await answering(reader, writer)

    async def use(service: Service) -> None:
        async def one(number: int) -> None:
            await asyncio.sleep(number % 97 / 300)
            assert (await service.ask(ASK, 5)).status == 200

        await asyncio.gather(*(one(number) for number in range(600)))

    with_server(speak, use)


def test_a_connection_that_was_closed_meanwhile_is_told_from_one_that_breaks() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        await reader.readuntil(b"\r\n\r\n")  # and then says nothing

    async def use(service: Service) -> None:
        await service.ask(ASK, 1)
        with pytest.raises(Stale):
            await service.ask(ASK, 1)
        assert (await service.ask(ASK, 1, fresh=True)).status == 200

    with_server(once, use)


@pytest.mark.parametrize(
    "said", [b"", ANSWER[:-1], b"HTTP/1.1 200 OK\r\n", b"nonsense\r\n\r\n", b"HTTP/2 200\r\n\r\n"]
)
def test_an_answer_that_is_none_is_lost(said: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)

    async def use(service: Service) -> None:
        with pytest.raises(Lost) as lost:
            await service.ask(ASK, 5)
        assert not isinstance(lost.value, Stale)
        assert service.in_flight == 0

    with_server(speak, use)


def test_who_is_late_is_cut_off_and_its_answer_goes_to_nobody() -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = True
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            while await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(0.3 if first else 0)
                first = False
                writer.write(ANSWER)

    async def use(service: Service) -> None:
        with pytest.raises(Late):
            await service.ask(ASK, 0.05)
        await asyncio.sleep(0.4)
        with pytest.raises(Late):
            await service.ask(ASK, 0.05)

    with_server(speak, use)


def test_nobody_there_is_known_at_once_and_so_is_the_return() -> None:
    async def use(_: Service) -> None:
        server = await asyncio.start_server(answering, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        service = Service(f"http://127.0.0.1:{port}")
        with pytest.raises(Unreachable):
            await service.ask(ASK, 1)
        assert service.away_since is not None
        assert not await service.back(0.1)
        server = await asyncio.start_server(answering, "127.0.0.1", port)
        assert await service.back(2)
        assert service.away_since is None
        assert (await service.ask(ASK, 1)).status == 200
        service.close()
        server.close()

    with_server(answering, use)
