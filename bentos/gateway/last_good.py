"""The last step when no bento answers, or there is no room to ask one: the list that was last good for nobody in particular.

It is kept by channel, in memory and on disk, and comes from answers of the champion to questions that this gateway asks now and
then. An answer made of it is recorded here, under the release whose answer the list was (so that what reached people through that
release stays findable): nothing leaves unrecorded. It says that it is degraded, and its receipt names the receipt that it was
copied from.
"""

import asyncio
import contextlib
import itertools
import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from bentos import inner
from bentos.gateway.answering import ITEMS, RECEIPT, RELEASE, Answering, Question
from bentos.gateway.choice import Asked
from bentos.gateway.http import JSON, Reply, failure
from bentos.gateway.services import Late, Lost, Unreachable
from bentos.recommend import rulebook
from bentos.recommend.asked import NOBODY, received
from bentos.recommend.asked import Question as Asking
from bentos.recommend.request import BODIES, MAX_ITEMS, Filters, Route, parse
from bentos.recommend.rulebook import Exclude, Rulebook
from bentos.routes import Routes
from bentos.seam import UNRECORDED, FieldFault, response_body
from counterfoil import canonical
from counterfoil.errors import UnavailableError
from counterfoil.files import write_durably
from counterfoil.receipts import Receipts
from counterfoil.settings import Settings
from counterfoil.types import Receipt, ReceiptItem

log = logging.getLogger(__name__)
FILE = "last_good.json"
CHANNELS = 16  # that were asked by last, and that lists are kept for
RENEW_SECONDS = 30.0
RETRY_SECONDS = 1.0
ASK_SECONDS = 2.0
RECORD_SECONDS = 0.1  # that writing a receipt has at least, when the time is over
SOURCE = "last good"
MARK = "last_good"  # the feature under which a receipt names what it was copied from
ENDED, RULED, DRAWN = (
    "ended",
    "ruled",
    "drawn",
)  # which of its items ended since, are excluded by now, stood there by chance
ROUTES: dict[str, Route] = {f"/{route}": route for route in BODIES}
_LISTED = "answered from the list that was last good for nobody in particular"
SAYS = f"no service gave an answer: {_LISTED}"
HURRIED = f"there was no time for the service: {_LISTED}"
CROWDED = f"more is asked than the service can answer: {_LISTED}"
BOUGHT = "what was bought before is not left out"
CAPS = "caps are not kept to"
DIFFERENCE = "the wished difference between items is not kept to"
SHELVES = "excludes by shelf, brand or seller are those of when the list was made"
DEGRADED = inner.DEGRADED.encode()
LEFT_OUT = {
    ENDED: "none of {} items that can be had no longer",
    RULED: "none of {} items that the rules exclude by now",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Good:
    """A list that was an answer: who made it, under which receipt, when, and its items as they were answered."""

    use_case: str
    release: str
    bento: str
    epoch: int
    receipt: str
    at: str
    items: tuple[dict[str, Any], ...]


class LastGood:
    """The lists, how they are renewed, and the answers made of them."""

    def __init__(self, settings: Settings, answering: Answering) -> None:
        self.path, self.key = settings.gateway / FILE, settings.pseudonym_key
        self.answering = answering
        self.receipts = Receipts(settings.receipts, flush_ms=settings.receipt_flush_ms)
        self.rules = rulebook.RulesFile(settings.run / rulebook.FILE, settings.home / rulebook.KEPT)
        self.lists: dict[str, Good] = self._kept()
        self._channels: dict[str, None] = {"": None, **dict.fromkeys(self.lists)}
        self._changed = asyncio.Event()

    def saw(self, channel: str | None) -> None:
        """Remember that somebody was answered who asks by this channel; the first few channels are remembered."""
        if channel is not None and channel not in self._channels and len(self._channels) < CHANNELS:
            self._channels[channel] = None
            self._changed.set()

    def taken(self, routes: Routes) -> None:
        """Renew the lists soon: somebody else answers now."""
        self._changed.set()

    async def run(self) -> None:
        """Renew the lists again and again, until cancelled."""
        retry = RETRY_SECONDS
        while True:
            self._changed.clear()
            well = await self._renewed()
            retry = RETRY_SECONDS if well else min(2 * retry, RENEW_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RENEW_SECONDS if well else retry):
                    await self._changed.wait()
                retry = RETRY_SECONDS
                await asyncio.sleep(RETRY_SECONDS / 10)  # whatever changes by the dozen is asked once

    async def answer(self, question: Question, why: str) -> Reply | None:
        """Answer from the list of the question's channel, and say why; 503 when no receipt can be kept.

        None when there is no list that fits: filters by shelf or price cannot be kept to, since the gateway knows no items. What
        else cannot be is said.
        Items that the rules exclude by now are left out, and so is one that stood there by chance: that was one person's chance.
        """
        now = datetime.now(UTC)
        route = ROUTES[question.path]
        try:
            asked = received(parse(question.body, route), now, self.key, route)
        except FieldFault as fault:
            return failure(422, "request", str(fault), fields=fault.fields)
        good = self._of(question.asked.channel or "")
        if good is None or _beyond(asked.filters):
            return None
        held = self.rules.now()
        excludes = [rule for rule in held.rules.excludes if rule.holds(asked.as_of_us, route)]
        left = {
            ENDED: _ended(good, asked.moment),
            RULED: _ruled(good, excludes),
            DRAWN: [item["item"] for item in good.items if inner.DRAWN in item["reasons"]],
        }
        excluded = {*asked.filters.exclude, *asked.items, *itertools.chain(*left.values())}
        chosen = [item for item in good.items if item["item"] not in excluded][: asked.n]
        degraded = (why, *held.degraded, *_unkept(asked, held.rules, excludes))
        receipt = self._receipt(asked, good, chosen, left, degraded, now)
        try:
            async with asyncio.timeout(max(RECORD_SECONDS, question.until - time.monotonic())):
                await asyncio.wrap_future(self.receipts.submit(receipt))
        except (UnavailableError, TimeoutError) as fault:
            log.error("an answer could not be recorded: %s", fault or "the disk is slow")
            return failure(503, "unrecorded", UNRECORDED)
        ends = {item["item"]: item["until"] for item in chosen if item.get("until")}
        body = response_body(receipt, tuple(item["title"] for item in chosen), ends)
        headers = [
            JSON, (DEGRADED, b"%d" % len(degraded)), (RECEIPT, receipt.id.encode()), (RELEASE, good.release.encode()),
            (ITEMS, b"%d" % len(chosen)),
        ]  # fmt: skip
        return Reply(200, headers, body)

    def _of(self, channel: str) -> Good | None:
        """Return the list of a channel; that of no channel where there is none, or it is by who answered before."""
        own, usual = self.lists.get(channel), self.lists.get("")
        return usual if own is None or (usual is not None and own.epoch < usual.epoch) else own

    def close(self) -> None:
        """Write what waits."""
        self.receipts.close()

    def _receipt(
        self,
        asked: Asking,
        good: Good,
        chosen: list[dict[str, Any]],
        left: Mapping[str, list[str]],
        degraded: tuple[str, ...],
        now: datetime,
    ) -> Receipt:
        kept = {name: items for name, items in left.items() if items}
        return Receipt(
            id=self.receipts.new_id(now),
            time=now,
            use_case=good.use_case,
            release=good.release,
            bento=good.bento,
            epoch=good.epoch,
            person=NOBODY if asked.person is None else asked.person,
            request=dict(asked.recorded),
            items=tuple(
                ReceiptItem(
                    item=item["item"],
                    score=item["score"],
                    sources=(SOURCE, *item["sources"]),
                    reasons=tuple(item["reasons"]),
                )
                for item in chosen
            ),
            rules=tuple(
                LEFT_OUT[name].format(len(items)) for name, items in kept.items() if name in LEFT_OUT
            ),
            features={MARK: {"receipt": good.receipt, "at": good.at, **kept}},
            feature_time=None,
            degraded=degraded,
            nonce=asked.nonce,
        )

    async def _renewed(self) -> bool:
        """Ask the champion for the list of every channel; say whether it gave them all."""
        routes = self.answering.routes()
        if routes is None:
            return False
        well, before = True, dict(self.lists)
        for channel in list(self._channels):
            good = await self._asked(routes, channel)
            if good is None:
                well = False
            else:
                self.lists[channel] = good
        if self.lists != before:
            await asyncio.to_thread(self._keep)
        return well

    async def _asked(self, routes: Routes, channel: str) -> Good | None:
        context = {"context": {"channel": channel}} if channel else {}
        body = orjson.dumps({"n": MAX_ITEMS, "profile": False, "filters": {"in_stock": True}, **context})
        question = Question(
            path="/recommend",
            body=body,
            asked=Asked(who=None, channel=channel),
            id=b"last-good-" + secrets.token_hex(4).encode(),
            trace=b"",
            until=time.monotonic() + ASK_SECONDS,
        )
        try:
            reply = await self.answering.unseen(question, routes.champion, ASK_SECONDS)
            return _good(reply, routes, anything=channel not in self.lists) if reply.status == 200 else None
        except (Unreachable, Lost, Late):
            return None
        except (ValueError, TypeError, KeyError) as fault:
            log.error("a list for nobody in particular could not be read: %s", fault)
            return None

    def _keep(self) -> None:
        rows = {channel: canonical.plain(good) for channel, good in self.lists.items()}
        try:
            write_durably(self.path, orjson.dumps(rows))
        except OSError as fault:
            log.error("the last good lists could not be written: %s", fault)

    def _kept(self) -> dict[str, Good]:
        try:
            rows = orjson.loads(self.path.read_bytes())
            return {channel: Good(**{**row, "items": tuple(row["items"])}) for channel, row in rows.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as fault:
            log.error("the last good lists could not be read, and are made anew: %s", fault)
            return {}


def unanswered(question: Question) -> str:
    """Return why a question that services were asked is answered from a list."""
    return HURRIED if question.rushed else SAYS


def _ended(good: Good, moment: datetime) -> list[str]:
    """Return the items of a list that can be had no longer at that moment."""
    return [
        item["item"]
        for item in good.items
        if item.get("until") and canonical.utc_time(item["until"]) <= moment
    ]


def _ruled(good: Good, excludes: Sequence[Exclude]) -> list[str]:
    """Return the items of a list that rules exclude by name."""
    excluded = {item for rule in excludes for item in rule.items}
    return [item["item"] for item in good.items if item["item"] in excluded]


def _unkept(asked: Asking, rules: Rulebook, excludes: Sequence[Exclude]) -> list[str]:
    """Return what the question or the rules ask for that nobody can keep to who knows no items and no people."""
    unkept = {
        BOUGHT: asked.person is not None and (asked.filters.exclude_bought or rules.exclude_bought),
        CAPS: bool(asked.caps.model_dump(exclude_none=True)),
        DIFFERENCE: bool(asked.diversity),
        SHELVES: any(rule.categories or rule.brands or rule.sellers for rule in excludes),
    }
    return [said for said, is_so in unkept.items() if is_so]


def _beyond(filters: Filters) -> bool:
    """Say whether filters ask for what can only be told by who knows the items."""
    return bool(filters.categories) or filters.price_min is not None or filters.price_max is not None


def _good(reply: Reply, routes: Routes, *, anything: bool) -> Good | None:
    """Return the list of an answer; None of one that is empty, or degraded itself where there is a better one."""
    told = orjson.loads(reply.body)
    if not told["items"] or (told["degraded"] and not anything):
        return None
    return Good(
        use_case=routes.use_case,
        release=told["release"],
        bento=told["bento"],
        epoch=told["epoch"],
        receipt=told["receipt"],
        at=canonical.utc_text(datetime.now(UTC)),
        items=tuple(
            {name: item[name] for name in ("item", "title", "score", "sources", "reasons")}
            | ({"until": item["until"]} if item.get("until") else {})
            for item in told["items"]
        ),
    )
