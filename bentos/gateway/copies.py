"""Copies of questions for a challenger that nobody sees: a bounded queue that drops, and a comparison off the path of answers."""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from bentos.gateway.answering import Answered, Answering, Question, forsaken
from bentos.gateway.http import Reply
from bentos.gateway.services import Late, Lost, Unreachable
from bentos.routes import Route

log = logging.getLogger(__name__)
WAITING = 64
AT_ONCE = 2
COPY_SECONDS = 1.0
# A copy waits for a moment in which nobody else waits, but not for longer than this: it is to cost people nothing.
LOOKS, LOOK_SECONDS = 25, 0.002


@dataclass(slots=True)
class Copy:
    """A question that the champion has answered, and that answer."""

    question: Question
    route: Route
    reply: Reply


class Copies:
    """Copies that wait, and those who make them. Nothing here can slow an answer down but by the processor's time."""

    def __init__(self, answering: Answering, busy: Callable[[], bool]) -> None:
        self.answering, self.busy = answering, busy
        self._waiting: asyncio.Queue[Copy] = asyncio.Queue(WAITING)

    def offer(self, question: Question, answered: Answered, challenger: Route | None) -> None:
        """Copy a question that was just answered by another release, as often as the challenger's `mirror` says."""
        if challenger is None or answered.route is challenger or challenger.mirror <= 0:
            return
        if challenger.mirror < 1 and random.random() >= challenger.mirror:
            return
        try:
            self._waiting.put_nowait(Copy(question, challenger, answered.reply))
        except asyncio.QueueFull:
            self.answering.tally.stats.dropped += 1

    async def run(self) -> None:
        """Make copies until cancelled."""
        await asyncio.gather(*(self._worker() for _ in range(AT_ONCE)))

    async def _worker(self) -> None:
        while True:
            copy = await self._waiting.get()
            routes = self.answering.routes()
            if routes is None or copy.route != routes.challenger:  # who was to be compared is gone
                self.answering.tally.stats.dropped += 1
                continue
            await self._quiet()
            try:
                await self._make(copy)
            except Exception:  # a copy that fails must not end those that come after it
                log.exception("a copy failed")

    async def _quiet(self) -> None:
        for _ in range(LOOKS):
            if not self.busy():
                return
            await asyncio.sleep(LOOK_SECONDS)

    async def _make(self, copy: Copy) -> None:
        try:
            reply = await self.answering.try_once(
                copy.question, copy.route, copy.route.mirror, COPY_SECONDS, copied=copy.reply
            )
        except (Unreachable, Lost, Late):
            return
        if not forsaken(reply):
            self.answering.tally.compared(copy.route, overlap(copy.reply, reply))


def overlap(shown: Reply, copied: Reply) -> float | None:
    """Return the share of items that two answers have in common, of the longer one; None when their statuses differ."""
    if shown.status != copied.status:
        return None
    if shown.status != 200:
        return 1.0
    first, second = items_of(shown.body), items_of(copied.body)
    longer = max(len(first), len(second))
    return len(first & second) / longer if longer else 1.0


def items_of(body: bytes) -> set[str]:
    """Return the ids of the items of an answer; none of what is no answer."""
    try:
        return {str(item["item"]) for item in orjson.loads(body)["items"]}
    except (ValueError, TypeError, KeyError):
        return set()
