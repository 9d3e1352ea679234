"""Whose fault a refusal is: the challenger's where the champion answers the same question, else the caller's."""

import asyncio
import time
from collections.abc import Mapping
from typing import cast

import pytest

from bentos.gateway.answering import Answered, Answering, Question
from bentos.gateway.choice import Asked
from bentos.gateway.copies import Copies
from bentos.gateway.http import Reply
from bentos.gateway.services import Service, Unreachable
from bentos.gateway.stats import Counts, Told
from bentos.gateway.tally import Tally
from bentos.routes import Route, Routes

CHAMPION = Route(release="champion", bento="b:1", epoch=1, url="http://a", stage="champion")
CANARY = Route(release="canary", bento="b:2", epoch=2, url="http://b", stage="canary", share=1.0, mirror=1.0)
ROUTES = Routes(use_case="r", epoch=2, champion=CHAMPION, challenger=CANARY)
AWAY = 0


class Saying:
    """A service that says one status, or cannot be reached."""

    netloc = b"x"
    away_since = -1e9

    def __init__(self, status: int) -> None:
        self.status, self.asked = status, 0

    async def ask(self, data: bytes, seconds: float, *, fresh: bool = False) -> Reply:
        self.asked += 1
        if self.status == AWAY:
            raise Unreachable("it is away")
        return Reply(self.status, [], b'{"items": []}')

    async def back(self, seconds: float) -> bool:
        return False


def gateway(champion: int, canary: int) -> tuple[Answering, Mapping[str, Saying]]:
    services = {CHAMPION.url: Saying(champion), CANARY.url: Saying(canary)}
    tally = Tally()
    tally.take(ROUTES)
    return Answering(lambda url: cast(Service, services[url]), lambda: ROUTES, tally, "x" * 40), services


def question() -> Question:
    return Question(
        "/similar", b'{"item": "new"}', Asked(who="p", channel=None), b"i", b"", time.monotonic() + 5
    )


def of(answering: Answering, release: str) -> Told:
    told = answering.tally.told(0).of(release)
    assert told is not None
    return told


def outcomes(counts: Counts) -> tuple[int, int, int]:
    return counts.requests, counts.errors, counts.refused


@pytest.mark.parametrize(
    ("champion", "canary", "answer", "from_canary", "from_champion"),
    [
        (200, 200, ("canary", 200), (1, 0, 0), (0, 0, 0)),
        (200, 404, ("champion", 200), (1, 1, 0), (1, 0, 0)),
        (200, 401, ("champion", 200), (1, 1, 0), (1, 0, 0)),
        (200, 302, ("champion", 200), (1, 1, 0), (1, 0, 0)),
        (404, 404, ("champion", 404), (1, 0, 1), (1, 0, 1)),
        (422, 404, ("champion", 422), (1, 0, 1), (1, 0, 1)),
        (404, 200, ("canary", 200), (1, 0, 0), (0, 0, 0)),
        (503, 404, None, (1, 0, 1), (1, 1, 0)),
        (AWAY, 404, None, (1, 0, 1), (1, 1, 0)),
        (404, 500, ("champion", 404), (1, 1, 0), (1, 0, 1)),
    ],
)
def test_a_refusal_of_a_canary_is_held_against_the_champion(
    champion: int,
    canary: int,
    answer: tuple[str, int] | None,
    from_canary: tuple[int, int, int],
    from_champion: tuple[int, int, int],
) -> None:
    answering, _ = gateway(champion, canary)
    answered = asyncio.run(answering.answer(question(), ROUTES))
    assert (None if answered is None else (answered.route.release, answered.reply.status)) == answer
    assert outcomes(of(answering, "canary").live) == from_canary
    assert outcomes(of(answering, "champion").live) == from_champion
    assert answering.tally.stats.rescued == (answer == ("champion", 200))


def test_a_callers_own_fault_costs_two_questions_and_no_more() -> None:
    answering, services = gateway(422, 422)
    for _ in range(20):
        asyncio.run(answering.answer(question(), ROUTES))
    assert [service.asked for service in services.values()] == [20, 20]
    assert outcomes(of(answering, "canary").live) == (20, 0, 20), "it is not judged by them"


@pytest.mark.parametrize(
    ("champion", "copy", "counted"),
    [(200, 200, (1, 0, 0)), (200, 404, (1, 1, 0)), (404, 404, (1, 0, 1)), (404, 200, (1, 0, 0))],
)
def test_a_copy_that_is_refused_where_the_champion_answered_is_an_error_of_it(
    champion: int, copy: int, counted: tuple[int, int, int]
) -> None:
    answering, _ = gateway(champion, copy)
    copies = Copies(answering, lambda: False)

    async def copied() -> None:
        copies.offer(question(), Answered(Reply(champion, [], b'{"items": []}'), CHAMPION), CANARY)
        making = asyncio.create_task(copies.run())
        while not of(answering, "canary").copies.compared:
            await asyncio.sleep(0)
        making.cancel()

    asyncio.run(asyncio.wait_for(copied(), 5))
    assert outcomes(of(answering, "canary").copies) == counted
