"""Simulated people who answer what a running service shows them. Speaks no HTTP itself: `ask` is any callable that does.

The same truth, the same moment of opening and the same answers give the same events.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from counterfoil.errors import InputError
from counterfoil.simulator import behaviour
from counterfoil.simulator.chance import Stream, generator
from counterfoil.simulator.truth import Truth
from counterfoil.simulator.world import CHANNELS
from counterfoil.types import Event, EventKind

GAP_S = 2.0  # mean seconds between two visits of a shop
Ask = Callable[[str], Sequence[str]]


@dataclass(frozen=True)
class Shown(Sequence[str]):
    """What a service showed: items, first place first, and the receipt of the answer. What `ask` best returns."""

    items: tuple[str, ...]
    receipt: str | None = None

    def __getitem__(self, place):  # type: ignore[no-untyped-def]
        return self.items[place]

    def __len__(self) -> int:
        return len(self.items)


@dataclass
class LiveShop:
    """A shop whose people are awake: the truth, the moment it opened, and how much has happened since."""

    truth: Truth
    opened: datetime
    answers: int = 0
    events: int = 0
    _places: dict[str, int] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, folder: Path, opened: datetime) -> "LiveShop":
        """Open the shop in `folder` at this moment; InputError when it is before the shop's first day."""
        truth = Truth.load(folder)
        if truth.config.day_of(opened) < 0:
            raise InputError(f"{opened} lies before the shop's first day {truth.config.start}; open it later")
        return cls(truth, opened)

    @property
    def second(self) -> int:
        """When the shop opened, in seconds since 1970: it tells one opening from another."""
        return int(self.opened.timestamp())

    def fresh_id(self) -> str:
        """Return an event id that no other opening of this shop gives."""
        self.events += 1
        return f"s{self.truth.config.seed}:live-{self.second}-{self.events - 1}"

    def number(self, item: str) -> int | None:
        """Return the number of an item, None for one that the shop never had."""
        if not self._places:
            self._places.update((f"i{number}", number) for number in range(self.truth.config.items))
        return self._places.get(item)


def answer(
    shop: LiveShop,
    person: str,
    shown_items: Sequence[str],
    receipt: str | None,
    time: datetime,
    query: str | None = None,
) -> list[Event]:
    """Return what a person does with a list: sees it, clicks by true preference x position bias, and what follows.

    With a `query` (one of the shop's own) the person has searched, and clicks by relevance as well. Items that the shop never
    had are seen and never clicked. Every event names the receipt. UnknownError: no such person or query.
    """
    truth, rng = shop.truth, generator(shop.truth.config.seed, Stream.REACTION, shop.answers)
    number = int(truth.people([person])[0])
    attraction_N = _attraction(shop, number, shown_items, truth.config.day_of(time), query)
    visit = _Visit(
        shop=shop,
        person=person,
        session=f"live-{shop.second}-{shop.answers}",
        channel=CHANNELS[int(truth.channel_P[number])],
        receipt=receipt,
        began=time,
        events=[],
    )
    shop.answers += 1
    if query is not None:
        visit.happens("search", None, 0, query=query)
    for place, item in enumerate(shown_items):
        visit.happens("impression", item, 0, position=place + 1, query=query)
    examined_N = (np.arange(len(shown_items)) + 1.0) ** -truth.config.examination_power
    clicked = np.flatnonzero(behaviour.clicks(rng, attraction_N, examined_N)).tolist()
    outcome = behaviour.outcomes(rng, attraction_N[clicked])
    now_ms = 0
    for row, place in enumerate(clicked):
        now_ms += int(rng.integers(800, 4000))
        visit.happens("click", shown_items[place], now_ms, position=place + 1, query=query)
        now_ms = _follow(visit, shown_items[place], outcome, row, now_ms + 50)
    return visit.events


@dataclass(frozen=True, kw_only=True)
class _Visit:
    """One visit: what all its events have in common."""

    shop: LiveShop
    person: str
    session: str
    channel: str
    receipt: str | None
    began: datetime
    events: list[Event]

    def happens(self, kind: EventKind, item: str | None, after_ms: int, **what: Any) -> None:
        """Note an event so many milliseconds after the list was shown."""
        event = Event(
            id=self.shop.fresh_id(),
            time=self.began + timedelta(milliseconds=after_ms),
            person=self.person,
            kind=kind,
            session=self.session,
            item=item,
            channel=self.channel,
            receipt=self.receipt,
            **what,
        )
        self.events.append(event)


def _attraction(
    shop: LiveShop, person: int, shown_items: Sequence[str], day: int, query: str | None
) -> np.ndarray:
    """Return how strongly each shown item attracts, float64 [N], 0 for items that the shop never had."""
    numbers = [shop.number(item) for item in shown_items]
    attraction_N = np.zeros(len(numbers))
    known = [place for place, number in enumerate(numbers) if number is not None]
    if known:
        items = np.array([numbers[place] for place in known])
        grades = None if query is None else shop.truth.relevance(query, items)
        attraction_N[known] = shop.truth.attraction([person], items, day, grades)
    return attraction_N


def _follow(visit: _Visit, item: str, outcome: behaviour.Outcome, row: int, now_ms: int) -> int:
    """Note what follows a click: the page, and what it led to; return when the page was left."""
    truth, dwell_ms = visit.shop.truth, int(outcome.dwell_N[row])
    price = float(truth.price([item], truth.config.day_of(visit.began))[0])
    visit.happens("view", item, now_ms, dwell_ms=dwell_ms, price=price)
    now_ms += dwell_ms
    if outcome.favourite_N[row]:
        visit.happens("favourite", item, now_ms)
    if outcome.cart_N[row]:
        visit.happens("cart", item, now_ms, price=price, quantity=1.0)
    if outcome.purchase_N[row]:
        visit.happens("purchase", item, now_ms + 60_000, price=price, quantity=1.0)
    if outcome.rated_N[row]:
        visit.happens("rating", item, now_ms + 600_000, quantity=float(outcome.rating_N[row]))
    return now_ms


def live(shop: LiveShop, ask: Ask, rounds: int, seed: int) -> Iterator[Event]:
    """Yield what people do in `rounds` visits: each is drawn by activity, asks the service, and reacts to its list.

    `ask` takes a person's id and returns the items shown; a `Shown` hands over the receipt as well.
    """
    rng = generator(shop.truth.config.seed, Stream.VISITORS, seed)
    now, total_P = shop.opened, np.cumsum(shop.truth.activity_P)
    for _ in range(rounds):
        now += timedelta(microseconds=int(rng.exponential(GAP_S) * 1e6))
        there = int(np.searchsorted(shop.truth.person_arrival_P, shop.truth.config.day_of(now), side="right"))
        person = min(
            int(np.searchsorted(total_P, rng.random() * total_P[there - 1], side="right")), there - 1
        )
        shown = ask(f"u{person}")
        receipt = shown.receipt if isinstance(shown, Shown) else None
        yield from answer(shop, f"u{person}", shown, receipt, now)
