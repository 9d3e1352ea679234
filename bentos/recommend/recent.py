"""What of somebody's recent events an answer uses: new purchases, items of this session, what was shown too often.

A receipt keeps just that, so that the answer can be made anew. Shapes: N events.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bentos.recommend.person import Person, Recent

MOST = 50  # events of this session that are used beside those that the history takes up, the latest
INTEREST = ("view", "click", "favourite", "cart")  # kinds that tell what a session is about
SHOWN = "impression"
TAKEN_UP = ("click", "cart", "purchase")  # an item that was taken up was not shown in vain


@dataclass(frozen=True, kw_only=True, slots=True)
class Used:
    """The events that an answer uses, the latest last, and `tired`: items that this person was shown too often of late."""

    events: Recent = field(default_factory=Recent)
    tired: tuple[str, ...] = ()


NOTHING = Used()


def used(
    recent: Recent,
    history_kinds: Collection[str],
    as_of_us: int,
    since_us: int = -1,
    tired_after: tuple[int, int] | None = None,
) -> Used:
    """Return what an answer at `as_of_us` uses of these events, of those before it.

    That is all of the history's kinds since the person's row was made (`since_us`), and the latest 50 of this session that tell
    what it is about. `tired_after` (times shown, within microseconds) makes items tired that were shown so often without being
    taken up.
    """
    if not recent.item_ids:
        return NOTHING
    new, of_session = [], []
    rows = zip(recent.kinds, recent.time_us_N.tolist(), recent.here_N.tolist(), strict=True)
    for row, (kind, time_us, here) in enumerate(rows):
        if time_us >= as_of_us:
            break
        if kind in history_kinds and time_us >= since_us:
            new.append(row)
        elif here and (kind in history_kinds or kind in INTEREST):
            of_session.append(row)
    return Used(
        events=_rows(recent, sorted(new + of_session[-MOST:])),
        tired=() if tired_after is None else _tired(recent, as_of_us, *tired_after),
    )


def _rows(recent: Recent, kept: list[int]) -> Recent:
    return Recent(
        item_ids=tuple(recent.item_ids[row] for row in kept),
        kinds=tuple(recent.kinds[row] for row in kept),
        time_us_N=recent.time_us_N[kept],
        quantity_N=recent.quantity_N[kept],
        here_N=recent.here_N[kept],
    )


def _tired(recent: Recent, as_of_us: int, shown: int, within_us: int) -> tuple[str, ...]:
    """Return the items that were shown `shown` times or more within so long before, and not taken up since they were first."""
    times: Counter[str] = Counter()
    for item, kind, time_us in zip(recent.item_ids, recent.kinds, recent.time_us_N.tolist(), strict=True):
        if not as_of_us - within_us <= time_us < as_of_us:
            continue
        if kind == SHOWN:
            times[item] += 1
        elif kind in TAKEN_UP:
            times.pop(item, None)
    return tuple(sorted(item for item, count in times.items() if count >= shown))


def joined(person: Person, events: Recent, history_kinds: Collection[str]) -> Person:
    """Return the person with those recent events in the history that are of its kinds and happened since its row was made."""
    if not events.item_ids:
        return person
    since_us = since(person)
    new = [
        row
        for row, (kind, time_us) in enumerate(zip(events.kinds, events.time_us_N.tolist(), strict=True))
        if kind in history_kinds and time_us >= since_us
    ]
    if not new:
        return person
    return replace(
        person,
        item_ids=(*person.item_ids, *(events.item_ids[row] for row in new)),
        time_us_N=np.concatenate([person.time_us_N, events.time_us_N[new]]),
        quantity_N=np.concatenate([person.quantity_N, events.quantity_N[new]]),
    )


def since(person: Person) -> int:
    """Return the moment of a person's row in microseconds; -1 without one."""
    return -1 if person.event_time is None else round(person.event_time.timestamp() * 1e6)


def interests(events: Recent) -> dict[str, tuple[str, int]]:
    """Return the items of this session, the latest first, each with what was done last with it and when."""
    found: dict[str, tuple[str, int]] = {}
    if not events.item_ids:
        return found
    rows = zip(events.item_ids, events.kinds, events.time_us_N.tolist(), events.here_N.tolist(), strict=True)
    for item, kind, time_us, here in reversed(list(rows)):
        if here:
            found.setdefault(item, (kind, time_us))
    return found


def leave_out(some: Used, items: Collection[str]) -> Used:
    """Return what was used, without the events of these items."""
    kept = [row for row, item in enumerate(some.events.item_ids) if item not in items]
    if len(kept) == len(some.events.item_ids):
        return some
    return replace(some, events=_rows(some.events, kept))


def written(some: Used) -> dict[str, Any]:
    """Return what a receipt keeps of it, short: nothing where nothing was used."""
    out: dict[str, Any] = {}
    events = some.events
    if events.item_ids:
        out["events"] = [
            [item, kind, time_us, quantity, int(here)]
            for item, kind, time_us, quantity, here in zip(
                events.item_ids,
                events.kinds,
                events.time_us_N.tolist(),
                events.quantity_N.tolist(),
                events.here_N.tolist(),
                strict=True,
            )
        ]
    if some.tired:
        out["tired"] = list(some.tired)
    return out


def read(said: Mapping[str, Any]) -> Used:
    """Return what was used, of what a receipt keeps of it."""
    rows = said.get("events", [])
    if not rows and not said.get("tired"):
        return NOTHING
    return Used(
        events=Recent(
            item_ids=tuple(row[0] for row in rows),
            kinds=tuple(row[1] for row in rows),
            time_us_N=np.array([row[2] for row in rows], np.int64),
            quantity_N=np.array([row[3] for row in rows], np.float32),
            here_N=np.array([row[4] for row in rows], bool),
        ),
        tired=tuple(said.get("tired", ())),
    )
