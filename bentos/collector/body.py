"""From a request's body to sound rows and to reasons against the others. People and sessions become pseudonyms here.

What names somebody never leaves this module: neither in a row, nor in a reason.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC
from functools import lru_cache
from typing import Any

import msgspec

from bentos.guard import Refusal
from counterfoil import segment
from counterfoil.contracts import EVENT, KINDS, wire
from counterfoil.pseudonym import of_session, pseudonym

MAX_EVENTS = 1000
FILLED = ("person",)  # of a visitor whom nobody named, the session stands for one
WHOLE = tuple(f.name for f in EVENT.fields if f.type == "int")
AHEAD_US = 24 * 3600 * 1_000_000  # what is ahead by more came by a wrong clock
NAMES = 65_536  # pseudonyms that are remembered
EventRow: Any = wire.row_type(EVENT, FILLED)
Many: Any = msgspec.defstruct("Many", [("events", list[EventRow])], forbid_unknown_fields=True)


@dataclass(frozen=True, slots=True)
class Row:
    """A sound event: its fields, when it happened in microseconds since 1970, and its line in the log."""

    event: Any
    time_us: int
    line: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """An event that breaks the contract: its id where it has one, the field, and why."""

    id: str | None
    field: str
    reason: str


class Reader:
    """Reads bodies under one pseudonym key."""

    def __init__(self, key: str) -> None:
        self._one, self._many = msgspec.json.Decoder(EventRow), msgspec.json.Decoder(Many)
        self._encode = msgspec.json.Encoder().encode
        self._name: Callable[[str], str] = lru_cache(NAMES)(lambda name: pseudonym(name, key))
        self._visit: Callable[[str], str] = lru_cache(NAMES)(lambda name: of_session(name, key))
        self._needs = wire.needs(EVENT, KINDS)
        self._first_us, self._last_us = wire.bounds_us(EVENT.field("time"))
        self._until_us = self._last_us

    def read(self, body: bytes) -> list[Row | Refused]:
        """Return what a body holds, in its order. Refusal when it is no JSON, or too many."""
        self._until_us = min(self._last_us, time.time_ns() // 1000 + AHEAD_US)
        try:
            events = self._many.decode(body).events if b'"events"' in body[:64] else [self._one.decode(body)]
        except (msgspec.MsgspecError, RecursionError, ValueError, OverflowError):
            return [self._slow(row) for row in _rows(body)]
        if len(events) > MAX_EVENTS:
            raise _too_many(len(events))
        return [self._row(event) or self._explained(event) for event in events]

    def _row(self, event: Any) -> Row | None:
        """Return the row of an event whose types are right; None when it breaks the contract all the same."""
        moment = event.time
        time_us = round(moment.timestamp() * 1e6)
        if not self._first_us <= time_us <= self._until_us or not event.id.strip():
            return None
        for name in self._needs[event.kind]:
            value = getattr(event, name)
            if not value or value.isspace():
                return None
        session = event.session
        if session is not None:
            session = event.session = None if not session or session.isspace() else self._visit(session)
        person = event.person
        if person is not None and person and not person.isspace():
            event.person = self._name(person)
        elif session is None:
            return None
        else:
            event.person = session
        if moment.tzinfo is not UTC:
            event.time = moment.astimezone(UTC)
        return Row(event, time_us, segment.line(self._encode(event)))

    def _slow(self, plain: Any) -> Row | Refused:
        if isinstance(plain, dict):
            plain = {name: _whole(value) if name in WHOLE else value for name, value in plain.items()}
        try:
            if (found := wire.fault(EVENT, plain, FILLED)) is not None:
                return _refused(plain, *found)
            event = msgspec.convert(plain, EventRow)
        except (msgspec.MsgspecError, ValueError, OverflowError):
            return _refused(plain, EVENT.name, "event does not fit the contract")
        return self._row(event) or self._explained(event)

    def _explained(self, event: Any) -> Refused:
        plain = {name: value for name in EVENT.names if (value := getattr(event, name)) is not None}
        field, reason = wire.fault(EVENT, plain) or (
            "time",
            "time is out of bounds, or more than a day ahead",
        )
        return _refused(plain, field, reason)


def _rows(body: bytes) -> Sequence[Any]:
    try:
        plain = msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        raise Refusal(400, "json", 'the body is no JSON text; send an event, or {"events": [...]}') from None
    if not isinstance(plain, dict):
        raise Refusal(400, "json", 'the body is no JSON object; send an event, or {"events": [...]}')
    if "events" not in plain:
        return [plain]
    if set(plain) != {"events"} or not isinstance(plain["events"], list):
        raise Refusal(
            422, "request", 'beside a list of events the body holds nothing; send {"events": [...]}'
        )
    if len(plain["events"]) > MAX_EVENTS:
        raise _too_many(len(plain["events"]))
    return plain["events"]


def _too_many(count: int) -> Refusal:
    return Refusal(413, "too_large", f"{count:,} events came at once; send {MAX_EVENTS:,} at most")


def _whole(value: Any) -> Any:
    """Return 3 for 3.0, which JSON takes for the same."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _refused(plain: Any, field: str, reason: str) -> Refused:
    id = plain.get("id") if isinstance(plain, dict) else None
    return Refused(
        id if isinstance(id, str) and len(id) <= EVENT.field("id").max_length else None, field, reason
    )
