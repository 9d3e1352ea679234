"""Whom a walk looks for: a person by the name that the shop has for them, by their pseudonym, and by their sessions."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from counterfoil.pseudonym import of_session, pseudonym
from flows.place import Place

PSEUDONYM = re.compile(r"p[0-9a-f]{20}")
LONG, LONG_NUMBER = 4, 6  # a shorter name may stand for anything else in a text


@dataclass(frozen=True, kw_only=True, slots=True)
class Who:
    """A person: pseudonym, the shop's name (None: only the pseudonym was given), sessions that were theirs alone.

    `answered` are those sessions as receipts name them (and named them in versions that called a session like a person of the
    same name); `shared` are sessions as the online store has them that others were in as well; `events` are ids of theirs that
    verdicts name as samples.
    """

    pseudonym: str
    name: str | None
    sessions: tuple[str, ...]
    answered: tuple[str, ...]
    events: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()

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
    place: Place,
    alias: str,
    name: str | None,
    sessions: tuple[str, ...],
    events: tuple[str, ...] = (),
    visits: tuple[str, ...] = (),
) -> Who:
    """Return the person of a pseudonym, with what is known of them; `visits` are all sessions, also those of others too."""
    key = place.settings.pseudonym_key
    answered = _answered(sessions, key)
    # by this name alone: earlier versions' names may be those of other people, and what the store holds is days old at most
    named = (one if PSEUDONYM.fullmatch(one) else of_session(one, key) for one in visits)
    shared = tuple(one for one in named if one not in answered and one != alias)
    return Who(pseudonym=alias, name=name, sessions=sessions, answered=answered, events=events, shared=shared)


def _answered(sessions: Iterable[str], key: str) -> tuple[str, ...]:
    """Return sessions as receipts and the online store name them, and as earlier versions did."""
    # sessions of events that came in over HTTP are pseudonyms already
    named = [
        [one] if PSEUDONYM.fullmatch(one) else [of_session(one, key), pseudonym(one, key)] for one in sessions
    ]
    return tuple(dict.fromkeys(one for some in named for one in some))
