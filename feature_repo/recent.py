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

VIEW = "recent"
SHOWN = "impression"
DAYS = 7  # what features have not taken up after so long they will not: the text goes
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
    """Events that happened after a person's row, oldest first, in parallel arrays of length N.

    `here` says which happened in the session that asks, unless that is over. `sessions` are pseudonyms, `positions` and
    `receipts` are of those that answered a list; None where absent.
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


def view(events: Iterable[Event], after: datetime | None, now: datetime, session: str | None) -> RecentView:
    """Merge the events of a person and of a session into one view at `now`; `session` is the one that asks, if that is said.

    What a person's row of the moment `after` has is left out, and so is what is older than DAYS, or younger than the question.
    """
    now_us = micros(now)
    first_us = max(now_us - DAYS * 86_400_000_000, -1 if after is None else micros(after))
    known = {event[0]: event for event in events if first_us <= event[1] <= now_us}
    if not known:
        return NOTHING
    found = _latest(sorted(known.values(), key=lambda event: event[1]))
    _, times, kinds, items, quantities, sessions, positions, receipts = zip(*found, strict=True)
    time_us_N = np.array(times, np.int64)
    return RecentView(
        item_ids=items,
        kinds=kinds,
        times_us=time_us_N,
        quantities=np.array([1.0 if one is None else one for one in quantities], np.float32),
        here=_here(sessions, time_us_N, session, now_us),
        sessions=sessions,
        positions=positions,
        receipts=receipts,
    )


def _here(
    sessions: tuple[str | None, ...], time_us_N: np.ndarray, session: str | None, now_us: int
) -> np.ndarray:
    """Return which events happened in the session that asks, bool [N]; where none is named, in that of the latest event.

    Events that came without a session are one as long as no pause between them is as long as would end it.
    """
    session = sessions[-1] if session is None else session
    here_N = np.array([one == session for one in sessions])
    if session is None:
        pauses_N = np.flatnonzero(np.diff(time_us_N) > SESSION_US)
        here_N[: pauses_N[-1] + 1 if len(pauses_N) else 0] = False
    if here_N.any() and now_us - time_us_N[here_N][-1] > SESSION_US:
        here_N[:] = False
    return here_N


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
