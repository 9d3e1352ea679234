"""Callers who give little time: the release is asked all the same, and is not blamed for what they did not wait for."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from bentos.gateway.answering import LATE_IN_A_ROW, Answering, Question, reserve
from bentos.gateway.choice import Asked
from bentos.gateway.services import Service
from bentos.gateway.tally import Tally
from bentos.routes import Route, Routes

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


def question(budget: float, hurried: bool = True) -> Question:
    return Question(
        "/recommend", b"{}", Asked(who="p", channel=None), b"i", b"", time.monotonic() + budget,
        reserve=reserve(budget), hurried=hurried,
    )  # fmt: skip


def with_releases(delay: float, use: Callable[[Answering, Routes], Awaitable[None]]) -> Tally:
    """Use a champion and a canary that everybody is assigned to; both answer after `delay` seconds."""
    tally = Tally()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
                await asyncio.sleep(delay)
                writer.write(ANSWER)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def both() -> None:
        servers = [await asyncio.start_server(speak, "127.0.0.1", 0) for _ in range(2)]
        urls = [f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in servers]
        routes = Routes(
            use_case="r", epoch=2,
            champion=Route(release="champion", bento="b1", epoch=1, url=urls[0], stage="champion"),
            challenger=Route(release="canary", bento="b2", epoch=2, url=urls[1], stage="canary", share=1.0),
        )  # fmt: skip
        services = {url: Service(url) for url in urls}
        tally.take(routes)
        await use(Answering(services.__getitem__, lambda: routes, tally, "x" * 40), routes)
        for service in services.values():
            service.close()
        for server in servers:
            server.close()

    asyncio.run(both())
    return tally


def faults(tally: Tally) -> dict[str, int]:
    return {told.release: told.live.errors for told in tally.told(0).releases}


def test_a_short_time_is_shared_and_somebody_answers_in_it() -> None:
    async def use(answering: Answering, routes: Routes) -> None:
        for budget in (1.0, 0.15, 0.1):
            assert await answering.answer(question(budget), routes) is not None

    with_releases(0.001, use)


def test_callers_in_a_hurry_shut_nobody_else_out() -> None:
    async def use(answering: Answering, routes: Routes) -> None:
        for _ in range(LATE_IN_A_ROW):
            assert await answering.answer(question(0.06), routes) is None
        answered = await answering.answer(question(1.0, hurried=False), routes)
        assert answered is not None and answered.route.release == "canary"

    assert faults(with_releases(0.1, use)) == {"champion": 0, "canary": 0}


def test_who_is_late_in_the_gateways_own_time_is_to_blame() -> None:
    async def use(answering: Answering, routes: Routes) -> None:
        for _ in range(LATE_IN_A_ROW):
            assert await answering.answer(question(0.06, hurried=False), routes) is None
        assert answering.patience.alone(routes.champion.url, time.monotonic())

    assert faults(with_releases(0.2, use)) == {"champion": LATE_IN_A_ROW, "canary": LATE_IN_A_ROW}


def test_a_question_whose_time_is_over_is_nobodys_fault() -> None:
    async def use(answering: Answering, routes: Routes) -> None:
        assert await answering.answer(question(-0.01, hurried=False), routes) is None

    assert faults(with_releases(0.0, use)) == {"champion": 0, "canary": 0}
