"""What happened since the features were built, as the online store holds it: one text per person or session, no transform.

The text is a JSON list of events about items, `[id, time_us, kind, item, quantity, session, position, receipt]` each.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import orjson

VIEW = "recent"
FEATURE = "events"
SHOWN = "impression"
KEPT_SHOWN, KEPT_DONE = 60, 60  # latest events of a key: what was shown, and all else
DAYS = 7  # what features have not taken up after so long they will not: the text goes
SESSION_SECONDS = 30 * 60  # a session that was quiet for so long is over

Event = list[Any]


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


def entry(
    id: str,
    time_us: int,
    kind: str,
    item: str,
    quantity: float | None,
    session: str | None,
    position: int | None,
    receipt: str | None,
) -> bytes:
    """Return one event as it stands in the text."""
    return orjson.dumps((id, time_us, kind, item, quantity, session, position, receipt))


def text(entries: Iterable[bytes]) -> str:
    """Return the text of entries."""
    return (b"[" + b",".join(entries) + b"]").decode()


def parse(told: str) -> list[Event]:
    """Return the events of a text."""
    found: list[Event] = orjson.loads(told)
    return found


def view(
    rows: Sequence[list[Event]], after: datetime | None, now: datetime, session: str | None
) -> RecentView:
    """Merge the events of several keys into one view at `now`; `session` is the one that asks.

    What a person's row of the moment `after` has is left out, and so is what is older than DAYS, or younger than the question.
    """
    now_us = micros(now)
    first_us = max(now_us - DAYS * 86_400_000_000, -1 if after is None else micros(after))
    known = {event[0]: event for events in rows for event in events if first_us <= event[1] <= now_us}
    if not known:
        return NOTHING
    found = sorted(known.values(), key=lambda event: event[1])
    _, times, kinds, items, quantities, sessions, positions, receipts = zip(*found, strict=True)
    here_N = np.array([session is not None and one == session for one in sessions])
    if here_N.any() and now_us - times[int(np.flatnonzero(here_N)[-1])] > SESSION_SECONDS * 1_000_000:
        here_N[:] = False
    return RecentView(
        item_ids=items,
        kinds=kinds,
        times_us=np.array(times, np.int64),
        quantities=np.array([1.0 if one is None else one for one in quantities], np.float32),
        here=here_N,
        sessions=sessions,
        positions=positions,
        receipts=receipts,
    )


def micros(moment: datetime) -> int:
    """Return microseconds since 1970."""
    return round(moment.timestamp() * 1e6)
