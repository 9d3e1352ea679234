"""Every place in which something is held about a person: how it is found there, and how it is taken away.

`export` and `forget` walk this one list, so that they cannot disagree; `forget` walks it once more at the end, and finds nothing.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from counterfoil.landing import erase as landing
from feature_repo import erase as features
from flows import collecting
from flows.people import answers, raw, traces, versions
from flows.people.who import Who
from flows.place import Place

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Holding:
    """One place: its name, what it is in words, how to find what it holds of a person, and how to remove that.

    `remove` is told the commitment by which the erasure names the person. Removing twice is removing once.
    """

    name: str
    says: str
    find: Callable[[Place, Who], Iterator[Row]]
    remove: Callable[[Place, Who, str], None]


def _landed(kind: str, place: Place, who: Who) -> Iterator[Row]:
    for found, row in landing.rows_of(place.settings, who.pseudonym, who.sessions):
        if found == kind:
            yield row


def _erase_landed(place: Place, who: Who, commitment: str) -> None:
    landing.erase(place.settings, who.pseudonym, who.sessions, commitment)


def _online(place: Place, who: Who) -> Iterator[Row]:
    row = features.online_row(place.settings, who.pseudonym)
    if row is not None:
        yield row


def _erase_online(place: Place, who: Who, commitment: str) -> None:
    features.erase_online(place.settings, who.pseudonym)


def _recent(place: Place, who: Who) -> Iterator[Row]:
    yield from features.recent_rows(place.settings, (who.pseudonym, *who.answered))
    held = Counter(row["key"] for row in features.recent_rows(place.settings, who.shared))
    for (
        key,
        count,
    ) in held.items():  # it does not say whose an event is, and what others did is not handed out
        yield {"key": key, "events": count, "of": "everybody in that session"}


def _erase_recent(place: Place, who: Who, commitment: str) -> None:
    """Take away what lies under the person and under every session that they were in: it is a cache, others lose little."""
    keys = (who.pseudonym, *who.answered, *who.shared)
    collecting.tell_collector(place, "/-/forget", list(keys))  # it holds what it has not pushed yet
    features.erase_recent(place.settings, keys)


def _offline(place: Place, who: Who) -> Iterator[Row]:
    for partition, row in features.offline_rows(place.settings.features, who.pseudonym):
        yield {"partition": partition, **row}


def _erase_offline(place: Place, who: Who, commitment: str) -> None:
    features.erase_offline(place.settings.features, who.pseudonym)


def _anyway(remove: Callable[[Place, Who], None]) -> Callable[[Place, Who, str], None]:
    """Return a removal that needs no commitment."""

    def removed(place: Place, who: Who, commitment: str) -> None:
        remove(place, who)

    return removed


# In this order they are taken away: what answers live first, receipts of answers last.
PLACES: tuple[Holding, ...] = (
    Holding(name="online", says="the online store of features", find=_online, remove=_erase_online),
    Holding(
        name="recent",
        says="what happened lately, as answers see it",
        find=_recent,
        remove=_erase_recent,
    ),
    Holding(
        name="collected",
        says="events that came in over HTTP and have not landed yet",
        find=lambda place, who: collecting.rows_of(place, who.pseudonym, who.answered),
        remove=_anyway(lambda place, who: collecting.erase(place, who.pseudonym, who.answered)),
    ),
    Holding(
        name="raw files",
        says="files that came in by the inbox, as they came",
        find=raw.done_rows,
        remove=_anyway(raw.done_remove),
    ),
    Holding(
        name="refused files",
        says="files of the inbox that could not be read",
        find=raw.refused_rows,
        remove=_anyway(raw.refused_remove),
    ),
    Holding(
        name="simulated shops",
        says="shops that the simulator made",
        find=raw.simulated_rows,
        remove=_anyway(raw.simulated_remove),
    ),
    Holding(
        name="events", says="landed events, day by day", find=partial(_landed, "events"), remove=_erase_landed
    ),
    Holding(
        name="people",
        says="what the shop said of people",
        find=partial(_landed, "people"),
        remove=_erase_landed,
    ),
    Holding(
        name="quarantine",
        says="rows that broke their contract",
        find=partial(_landed, "quarantine"),
        remove=_erase_landed,
    ),
    Holding(name="features", says="features as Feast reads them", find=_offline, remove=_erase_offline),
    Holding(
        name="copies",
        says="stored versions, unpacked for work",
        find=versions.copies,
        remove=_anyway(versions.remove_copies),
    ),
    Holding(
        name="versions",
        says="stored versions of datasets, evaluations and models, in the cache and every remote",
        find=versions.rows,
        remove=_anyway(versions.remove),
    ),
    Holding(name="receipts", says="answers that were given", find=answers.rows, remove=answers.remove),
    Holding(name="logs", says="lines of logs", find=traces.log_rows, remove=_anyway(traces.log_remove)),
    Holding(
        name="reports and caches",
        says="pages, and the databases of tools",
        find=traces.other_rows,
        remove=_anyway(traces.other_remove),
    ),
)
