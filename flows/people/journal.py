"""What an erasure that has begun means to do, so that it can be finished after any kill; gone when it is finished.

It holds the person's pseudonym and the nonce, which is why it does not stay.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import orjson

from counterfoil import canonical
from counterfoil.files import sync, write_durably
from flows.people.who import Who
from flows.place import Place

NONCE_BYTES = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Begun:
    """An erasure under way. `removed` counts what was found by place, before it went."""

    commitment: str
    nonce: str
    person: str
    at: str
    by: str
    sessions: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    removed: dict[str, int] = field(default_factory=dict)
    stored: tuple[str, ...] = ()
    learned: tuple[str, ...] = ()
    bentos: tuple[str, ...] = ()
    serves: tuple[
        str, ...
    ] = ()  # bentos that hold rows of the person and answer: they go once they are replaced
    bare: int = 0  # receipts without a nonce
    nameless: bool = False  # only the pseudonym was known
    named: int = 0  # of the events, those whose id has the shop's name of the person in it


def commitment_of(nonce: str, person: str) -> str:
    """Return SHA-256 over a nonce (hex) and a pseudonym, hex: it tells nothing of the pseudonym to who has no nonce."""
    return hashlib.sha256(bytes.fromhex(nonce) + person.encode()).hexdigest()


def begin(who: Who, by: str) -> Begun:
    """Return a new erasure of a person."""
    nonce = secrets.token_hex(NONCE_BYTES)
    return Begun(
        commitment=commitment_of(nonce, who.pseudonym),
        nonce=nonce,
        person=who.pseudonym,
        at=canonical.utc_text(datetime.now(UTC)),
        by=by,
    )


def planned(
    begun: Begun,
    who: Who,
    removed: Mapping[str, int],
    *,
    stored: list[str],
    learned: list[str],
    bentos: list[str],
    serves: list[str],
    bare: int,
) -> Begun:
    """Return the erasure with what was found now added to what was found before it was cut off."""
    counts = {name: max(count, begun.removed.get(name, 0)) for name, count in removed.items()}
    return replace(
        begun,
        sessions=_both(begun.sessions, who.sessions),
        events=_both(begun.events, who.events),
        removed=counts,
        stored=_both(begun.stored, stored),
        learned=_both(begun.learned, learned),
        bentos=_both(begun.bentos, bentos),
        serves=_both(begun.serves, serves),
        bare=max(bare, begun.bare),
        nameless=who.name is None,
        named=max(begun.named, sum(who.name is not None and _names(who.name, one) for one in who.events)),
    )


def open_of(place: Place, person: str) -> Begun | None:
    """Return the erasure of a pseudonym that was begun and not finished."""
    for path in sorted(_folder(place).glob("*.json")):
        plain = orjson.loads(path.read_bytes())
        if plain["person"] == person:
            names = ("sessions", "events", "stored", "learned", "bentos", "serves")
            return Begun(**{**plain, **{name: tuple(plain[name]) for name in names}})
    return None


def keep(place: Place, begun: Begun) -> None:
    """Write down what is meant, before anything is done."""
    write_durably(_path(place, begun), orjson.dumps(asdict(begun)))


def close(place: Place, begun: Begun) -> None:
    """Forget the erasure itself; closing twice is closing once."""
    _path(place, begun).unlink(missing_ok=True)
    if _folder(place).is_dir():
        sync(_folder(place))


def _both(one: tuple[str, ...], other: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({*one, *other}))


def _folder(place: Place) -> Path:
    return place.settings.home / "erasures" / "pending"


def _path(place: Place, begun: Begun) -> Path:
    return _folder(place) / f"{begun.commitment[:16]}.json"


def _names(name: str, event: str) -> bool:
    """Say whether a name stands in an event's id as a whole: a household called 1 is not in every number with a 1."""
    return re.search(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", event) is not None
