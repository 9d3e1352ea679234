"""Who answers at an address: an answer of another bento than the routes name is none, whatever it serves for by now."""

import asyncio
import time
from collections.abc import Sequence

from bentos import inner
from bentos.gateway.answering import Answered, Answering, Question, reserve
from bentos.gateway.choice import Asked
from bentos.gateway.services import Service
from bentos.gateway.tally import Tally
from bentos.routes import Route, Routes


def asked(*said: Sequence[tuple[str, str]], changes: bool = False) -> tuple[Answered | None, Tally]:
    """Ask a canary that everybody is assigned to and a champion, then perhaps a champion after it; each says these headers.

    With `changes` the routes name the last of them as champion as soon as somebody else was asked.
    """
    tally, came = Tally(), [0]

    async def both() -> Answered | None:
        def speaker(headers: Sequence[tuple[str, str]]):  # type: ignore[no-untyped-def]
            async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                try:
                    while True:
                        head = await reader.readuntil(b"\r\n\r\n")
                        length = head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
                        await reader.readexactly(int(length))
                        came[0] += 1
                        told = "".join(f"{name}: {value}\r\n" for name, value in headers)
                        writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n{told}\r\n{{}}".encode())
                except (asyncio.IncompleteReadError, ConnectionError):
                    writer.close()

            return speak

        servers = [await asyncio.start_server(speaker(headers), "127.0.0.1", 0) for headers in said]
        urls = [f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in servers]
        canary = Route(release="canary", bento="b:2", epoch=2, url=urls[0], stage="canary", share=1.0)
        champion = Route(release="champion", bento="b:1", epoch=1, url=urls[1], stage="champion")
        after = Route(release="after", bento="b:3", epoch=3, url=urls[-1], stage="champion")
        routes = Routes(use_case="r", epoch=2, champion=champion, challenger=canary)
        later = Routes(use_case="r", epoch=3, champion=after)
        tally.take(routes)
        services = {url: Service(url) for url in urls}
        now = lambda: later if changes and came[0] > 1 else routes  # noqa: E731
        answering = Answering(services.__getitem__, now, tally, "x" * 40)
        question = Question(
            "/recommend", b"{}", Asked(who="p", channel=None), b"i", b"", time.monotonic() + 2.0,
            reserve=reserve(2.0),
        )  # fmt: skip
        answered = await answering.answer(question, routes)
        for service in services.values():
            service.close()
        for server in servers:
            server.close()
        return answered

    return asyncio.run(both()), tally


def of(bento: str, release: str = "") -> list[tuple[str, str]]:
    return [(inner.BENTO, bento), (inner.RELEASE, release)]


def test_another_bento_at_the_place_of_a_canary_is_not_heard_and_the_champion_answers() -> None:
    answered, tally = asked(of("b:9"), of("b:1"))
    assert answered is not None and answered.route.release == "champion"
    assert {told.release: told.live.errors for told in tally.told(0).releases} == {"canary": 1, "champion": 0}


def test_another_bento_at_the_place_of_the_champion_answers_nobody() -> None:
    answered, tally = asked(of("b:9"), of("b:2"))
    assert answered is None
    assert min(told.live.errors for told in tally.told(0).releases) > 0


def test_the_routes_are_looked_at_anew_when_another_answers() -> None:
    answered, _ = asked(of("b:9"), of("b:2"), of("b:3"), changes=True)
    assert answered is not None and answered.route.release == "after"


def test_a_bento_that_serves_for_another_release_by_now_is_heard() -> None:
    """Its pointer changes a moment before the routes do."""
    answered, tally = asked(of("b:2", "champion-to-be"), of("b:1"))
    assert answered is not None and answered.route.release == "canary"
    assert not any(told.live.errors for told in tally.told(0).releases)


def test_a_bento_of_an_earlier_version_that_does_not_say_which_it_is_is_heard() -> None:
    answered, _ = asked([(inner.RELEASE, "canary")], of("b:1"))
    assert answered is not None and answered.route.release == "canary"
