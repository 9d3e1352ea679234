"""From what an operator types to whom a walk looks for."""

from counterfoil.errors import InputError
from counterfoil.landing.erase import sessions_of, visits_of
from counterfoil.pseudonym import pseudonym
from flows import collecting
from flows.people import raw
from flows.people.who import PSEUDONYM, Who, who_of
from flows.place import Place


def identify(place: Place, person: str) -> Who:
    """Return whom a name or pseudonym means; the name of a pseudonym is taken from raw files, where one of them has it.

    InputError when nobody is named.
    """
    if not person.strip():
        raise InputError(
            "no person was named; give the shop's name of one, or a pseudonym as receipts show it"
        )
    known = PSEUDONYM.fullmatch(person) is not None
    alias = person if known else pseudonym(person, place.settings.pseudonym_key)
    name = raw.name_of(place, alias) if known else person
    sessions = {*sessions_of(place.settings, alias), *collecting.sessions_of(place, alias)}
    visits = {*visits_of(place.settings, alias), *collecting.visits_of(place, alias)} - sessions
    return who_of(place, alias, name, tuple(sorted(sessions)), visits=tuple(sorted(visits)))
