"""What happened since the features were built, as the online store holds it: two rings of texts per key, no transform.

A key is the pseudonym of a person or of a session; one ring has what was shown, one what was done, so that the first crowds
nothing out of the second. A ring's newest text takes events until it is full, then the next place has its turn: what is written
is little more than what happened, and the oldest text is overwritten. A text is a JSON list: its number in the ring, then events
about items, `[id, time_us, kind, item, quantity, session, position, receipt]` each. An event twice counts once.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import orjson

from counterfoil.collected import KNOWN_DAYS, SHOWN

VIEW = "recent"
DAYS = KNOWN_DAYS  # what features have not taken up after so long they will not: the text goes
SESSION_US = 30 * 60 * 1_000_000  # a session that was quiet for so long is over
KEPT = 100  # latest events that an answer sees of what was shown, and of all else
EVENTS = 16  # that a text holds


@dataclass(frozen=True, slots=True)
class Ring:
    """Places for texts."""

    letter: str
    places: int

    @property
    def most(self) -> int:
        """How many events fit, the newest text aside."""
        return (self.places - 1) * EVENTS

    def field(self, number: int) -> str:
        """Return the feature that the text of that number goes to."""
        return FIELD[self.letter, number % self.places]


RINGS = (Ring("s", 8), Ring("d", 8))  # what was shown, and what was done
FIELD = {(ring.letter, place): f"{ring.letter}{place}" for ring in RINGS for place in range(ring.places)}
FIELDS = tuple(FIELD.values())
COLUMNS = ("id", "time_us", "kind", "item", "quantity", "session", "position", "receipt")
Event = list[Any]  # in that order


@dataclass(frozen=True, kw_only=True, slots=True)
class RecentView:
    """What somebody did within the last DAYS, oldest first, in parallel arrays of length N.

    What the person's row has already is among it. `here` says which happened in the session that asks, unless that is over.
    `sessions` are pseudonyms, `positions` and `receipts` are of those that answered a list; None where absent.
    """

    item_ids: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    times_us: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    quantities: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    here: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    sessions: tuple[str | None, ...] = ()
    positions: tuple[int | None, ...] = ()
    receipts: tuple[str | None, ...] = ()


NOTHING = RecentView()


def text(number: int, entries: bytes) -> bytes:
    """Return the text of entries (joined by commas) that takes the place of that number."""
    return b"[%d,%b]" % (number, entries)


def number_of(told: bytes) -> int:
    """Return the number of a text."""
    return int(told[1 : told.index(b",")])


def entries_of(told: bytes) -> tuple[int, bytes]:
    """Return how many entries a text has, and those, joined by commas."""
    return len(orjson.loads(told)) - 1, told[told.index(b",") + 1 : -1]


def parse(texts: Iterable[str]) -> list[Event]:
    """Return the events of texts."""
    return [event for told in orjson.loads(f"[{','.join(texts)}]") for event in told[1:]]


def view(
    own: Iterable[Event], others: Iterable[Event], now: datetime, session: str | None = None
) -> RecentView:
    """Return what a person did (`own`), and what else was done in a session (`others`), as one view at `now`.

    `session` is the one that asks, if that is said. Whose name is not under what was done in a session did it only as long as
    the session lasts: a tablet in a shop has many people after each other. What is older than DAYS, or younger than the question,
    is left out.
    """
    now_us = micros(now)
    first_us = now_us - DAYS * 86_400_000_000
    mine = {event[0]: event for event in own if first_us <= event[1] <= now_us}
    known = {event[0]: event for event in others if first_us <= event[1] <= now_us} | mine
    found = _latest(sorted(known.values(), key=lambda event: event[1]))
    here = _here(found, session, now_us)
    kept = [(event, one) for event, one in zip(found, here, strict=True) if one or event[0] in mine]
    if not kept:
        return NOTHING
    columns = zip(*(event for event, _ in kept), strict=True)
    _, times, kinds, items, quantities, sessions, positions, receipts = columns
    return RecentView(
        item_ids=items,
        kinds=kinds,
        times_us=np.array(times, np.int64),
        quantities=np.array([1.0 if one is None else one for one in quantities], np.float32),
        here=np.array([one for _, one in kept]),
        sessions=sessions,
        positions=positions,
        receipts=receipts,
    )


def _here(events: list[Event], session: str | None, now_us: int) -> list[bool]:
    """Return which events happened in the session that asks. Where none is named, it is that in which something was done last.

    Without such a one, it is what came without a session.
    """
    if session is not None:
        return _lasting(events, session, now_us)
    named = [event[5] for event in events if event[2] != SHOWN and event[5] is not None]
    here = _lasting(events, named[-1], now_us) if named else []
    return here if any(here) else _lasting(events, None, now_us)


def _lasting(events: list[Event], session: str | None, now_us: int) -> list[bool]:
    """Return which events are of a session that lasts: since the last pause in it that was long enough to end it."""
    rows = [row for row, event in enumerate(events) if event[5] == session]
    here, until_us = [False] * len(events), now_us
    for row in reversed(rows):
        if until_us - events[row][1] > SESSION_US:
            break
        here[row], until_us = True, events[row][1]
    return here


def _latest(events: list[Event]) -> list[Event]:
    """Return at most KEPT events of what was shown, and of all else, in their order."""
    if len(events) <= KEPT:
        return events
    shown = {id(event) for event in [one for one in events if one[2] == SHOWN][-KEPT:]}
    done = {id(event) for event in [one for one in events if one[2] != SHOWN][-KEPT:]}
    return [event for event in events if id(event) in shown or id(event) in done]


def micros(moment: datetime) -> int:
    """Return microseconds since 1970."""
    return round(moment.timestamp() * 1e6)
