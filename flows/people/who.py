"""Whom a walk looks for: a person by the name that the shop has for them, by their pseudonym, and by their sessions."""

import re
from dataclasses import dataclass

from counterfoil.pseudonym import pseudonym
from flows.place import Place

PSEUDONYM = re.compile(r"p[0-9a-f]{20}")
LONG, LONG_NUMBER = 4, 6  # a shorter name may stand for anything else in a text


@dataclass(frozen=True, kw_only=True, slots=True)
class Who:
    """A person: pseudonym, the shop's name (None: only the pseudonym was given), sessions that were theirs alone.

    `answered` are those sessions as receipts name them; `events` are ids of theirs that verdicts name as samples.
    """

    pseudonym: str
    name: str | None
    sessions: tuple[str, ...]
    answered: tuple[str, ...]
    events: tuple[str, ...] = ()

    @property
    def marks(self) -> tuple[bytes, ...]:
        """Return what in a text can stand for nobody else."""
        named = [self.name, *self.sessions, *self.events]
        texts = [self.pseudonym, *self.answered, *(one for one in named if one is not None and telling(one))]
        return tuple(text.encode() for text in dict.fromkeys(texts))

    def pattern(self) -> "re.Pattern[bytes]":
        """Return what finds a mark as a word of its own."""
        listed = b"|".join(map(re.escape, sorted(self.marks, key=len, reverse=True)))
        return re.compile(rb"(?<![0-9A-Za-z_])(?:" + listed + rb")(?![0-9A-Za-z_])")


def telling(name: str) -> bool:
    """Say whether a name is long enough to mean one thing only, wherever it stands."""
    return len(name) >= (LONG_NUMBER if name.isdigit() else LONG)


def who_of(
    place: Place, alias: str, name: str | None, sessions: tuple[str, ...], events: tuple[str, ...] = ()
) -> Who:
    """Return the person of a pseudonym, with what is known of them."""
    key = place.settings.pseudonym_key
    # sessions of events that came in over HTTP are pseudonyms already
    answered = tuple(one if PSEUDONYM.fullmatch(one) else pseudonym(one, key) for one in sessions)
    return Who(pseudonym=alias, name=name, sessions=sessions, answered=answered, events=events)
