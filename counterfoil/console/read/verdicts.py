"""Verdicts as the pages need them: a day's state in a word, its drift in numbers.

A verdict never changes, so what was read of it stays in memory, of bounded number.
"""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import select

from counterfoil.catalog import tables
from counterfoil.types import Verdict
from flows.place import Place

MOST = 5_000  # newest verdicts that a page looks at: thirteen years of days
AT_ONCE = 200
DRIFT = ("volume", "filled_as_before", "level_as_before", "mix_as_before")


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """A verdict in short: `state` is good, warn, bad or fault; `drift` maps a measure against the days before to its value."""

    id: str
    subject: str
    sha256: str
    rows: int
    state: str
    failed: tuple[str, ...]
    drift: dict[str, float]
    recorded_at: datetime


_HELD: OrderedDict[str, Judged] = OrderedDict()


def newest(place: Place) -> dict[str, Judged]:
    """Return the newest verdict on each subject, of the newest verdicts that there are."""
    query = (
        select(tables.NOUN.c.id, tables.NOUN.c.recorded_at)
        .where(tables.NOUN.c.kind == Verdict.kind)
        .order_by(tables.NOUN.c.recorded_at.desc(), tables.NOUN.c.id)
        .limit(MOST)
    )
    with place.catalog.reader.connect() as connection:
        named = {row.id: row.recorded_at for row in connection.execute(query)}
        missing = [id for id in named if id not in _HELD]
        for start in range(0, len(missing), AT_ONCE):
            some = missing[start : start + AT_ONCE]
            bodies = select(tables.NOUN.c.id, tables.NOUN.c.body).where(tables.NOUN.c.id.in_(some))
            for row in connection.execute(bodies):
                _HELD[row.id] = _short(row.id, orjson.loads(row.body), named[row.id])
    found: dict[str, Judged] = {}
    for id in named:
        if id in _HELD:
            found.setdefault(_HELD[id].subject, _HELD[id])
    while len(_HELD) > 2 * MOST:
        _HELD.popitem(last=False)
    return found


def _short(id: str, body: dict[str, Any], recorded_at: datetime) -> Judged:
    failed = [check for check in body["checks"] if not check["success"]]
    return Judged(
        id=id,
        subject=body["subject"],
        sha256=body["sha256"],
        rows=body["rows"],
        state=_state(body, failed),
        failed=tuple(_title(check) for check in failed),
        drift={
            _title(check): value
            for check in body["checks"]
            if check["expectation"] in DRIFT and (value := _value(check["observed"])) is not None
        },
        recorded_at=recorded_at,
    )


def _state(body: dict[str, Any], failed: list[dict[str, Any]]) -> str:
    if body.get("faulted"):
        return "fault"
    if not body["passed"]:
        return "bad"
    return "warn" if failed else "good"


def _title(check: dict[str, Any]) -> str:
    return f"{check['column']} {check['expectation']}" if check["column"] else str(check["expectation"])


def _value(observed: str | None) -> float | None:
    """Return the number at the head of what was observed: `0.9222 times`."""
    try:
        return float((observed or "").split()[0].replace(",", ""))
    except (ValueError, IndexError):
        return None
