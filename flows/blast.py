"""The blast radius: what was made of anything, down to the answers that were given and the people who got them.

Exact by content: a dataset is reached when its own files hold what is asked about, not because it came later. Contents pass
from a dataset into models, online rows, bentos and releases; a decision that only weighed something is told apart.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import select

from counterfoil import collected
from counterfoil.catalog import tables
from counterfoil.catalog.lineage import Reach, forwards, nouns
from counterfoil.errors import UnknownError
from counterfoil.landing import holding
from counterfoil.landing.origin import holding_items, items_file
from counterfoil.landing.origin import place as batch_place
from counterfoil.receipts.reached import EPOCH, NEVER_US, Answers, Fresh, Sought, Span, count
from counterfoil.types import Dataset, OnlineRows, Release
from flows.contents import ITEMS, UNREADABLE, Held, Library, Versions
from flows.place import Place
from flows.subject import Landed, Subject, landed, parse, segments_of, versions_of

KINDS = ("dataset", "attempt", "candidate", "evaluation", "decision", "bento", "online", "release")
DAY_US = 86_400_000_000
Progress = Callable[[str, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reached:
    """What something reached. `sources` are the files of days that hold it, by day; `held` the kinds of event per dataset."""

    subject: Subject
    reach: Reach
    held: Held
    sources: dict[str, set[str]]
    answers: Answers = field(default_factory=Answers)
    notes: tuple[str, ...] = ()

    def of(self, kind: str) -> list[str]:
        """Return the reached nouns of one kind; decisions include those that only weighed something."""
        every = self.reach.made | (self.reach.weighed if kind == "decision" else set())
        return sorted(name for name in every if name.startswith(f"{kind}-"))


def radius(place: Place, words: Sequence[str], progress: Progress = lambda what, count: None) -> Reached:
    """Return what the thing that these words name has reached. UnknownError, InputError when they name no one thing."""
    known = landed(place)
    return reached(place, parse(place, words, known), known, progress)


def reached(
    place: Place, subject: Subject, known: Landed, progress: Progress = lambda what, count: None
) -> Reached:
    """Return what a subject has reached, answers included."""
    library = None if subject.kind in ("code", "noun") else known.library(place)
    if library is None:
        held: Held = {}
        sources: dict[str, set[str]] = {}
        starts = set(subject.values) if subject.kind == "noun" else made_by(place, subject.values[0])
        reach = forwards(place.catalog, starts)
    else:
        sources = source_versions(place, subject, known, library)
        held = holders(place, subject, known, library, sources)
        reach = forwards(place.catalog, held, online=frozenset(_in_online_rows(subject, held, library)))
    sought = Sought(
        releases=frozenset(name for name in reach.made if name.startswith("release-")),
        moments=_moments(place, reach.made),
        person=subject.values[0] if subject.kind == "person" else None,
        item=subject.values[0] if subject.kind == "item" else None,
        challengers=frozenset(
            one.id for one, _ in place.catalog.recorded(Release) if one.stage in ("shadow", "canary")
        ),
        fresh=_fresh(place, subject, known),
    )
    answers = count(place.all_receipts(), sought, progress)
    return Reached(
        subject=subject,
        reach=reach,
        held=held,
        sources=sources,
        answers=answers,
        notes=tuple(_notes(subject, known, held)),
    )


def made_by(place: Place, code: str) -> set[str]:
    """Return the nouns that were made by a version of the code: all of `git:… source:…`, or either. UnknownError for none."""
    query = select(tables.NOUN.c.id, tables.NOUN.c.body).where(
        tables.NOUN.c.body.contains('"code_version":"', autoescape=True),
        tables.NOUN.c.body.contains(code, autoescape=True),
    )
    with place.catalog.reader.connect() as connection:
        bodies = [(name, orjson.loads(body)["code_version"]) for name, body in connection.execute(query)]
    found = {name for name, version in bodies if is_code(code, version)}
    if not found:
        raise UnknownError(
            f"nothing was made by the code {code!r}; `counterfoil lineage ID` shows the code_version of what was"
        )
    return found


def is_code(code: str, version: str) -> bool:
    """Say whether a recorded code version is the one that is named: whole, or by its commit or its digest of sources."""
    return code == version or code in {
        word for part in version.split() for word in (part, part.partition(":")[2])
    }


def source_versions(place: Place, subject: Subject, known: Landed, library: Library) -> dict[str, set[str]]:
    """Return the files of days that hold, or may hold, what is asked about: by day their SHA-256."""
    if subject.kind == "batch":
        return _of_batch(subject.values[0], known, library)
    if subject.kind == "file":
        [digest] = subject.values
        return {day: holding({digest}, known.records, day) for day in versions_of(place, digest, known)}
    if subject.kind == "event":
        return _versions(known, library, {event["day"] for event in events(place, subject.values)})
    if subject.kind in ("day", "range"):
        since, until = subject.span
        first, last = since.date().isoformat(), until.date().isoformat()
        every = {day for one in library.contents for day in one.days} | known.manifest.days.keys()
        days = {day for day in every if first <= day <= last}
        if not days:
            raise UnknownError(
                f"nothing of {subject.text} has landed, and no dataset holds it; `counterfoil data list` shows the days that have"
            )
        return _versions(known, library, days)
    return {}


def _versions(known: Landed, library: Library, days: Iterable[str]) -> dict[str, set[str]]:
    """Return every file of these days that a dataset was written from, or that lies there now."""
    found: dict[str, set[str]] = {}
    for day in sorted(days):
        found[day] = {one.days[day] for one in library.contents if day in one.days}
        if day in known.manifest.days:
            found[day].add(known.manifest.days[day].sha256)
    return found


def _of_batch(batch: str, known: Landed, library: Library) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for record in known.of(batch):
        if not record.known:
            return _versions(known, library, record.days)
        for day, one in record.days.items():
            found.setdefault(day, set()).update(holding({one.sha256}, known.records, day))
    return found | _rewritten(batch, found, known)


def _rewritten(batch: str, found: Mapping[str, set[str]], known: Landed) -> dict[str, set[str]]:
    """Return those of a batch's days whose file of now nobody kept account of, with that file: it may hold the batch's rows."""
    if all(one.batch != batch for one in known.manifest.batches):
        return {}
    told = {one.sha256 for record in known.records for one in record.days.values()}
    now = {day: part.sha256 for day, part in known.manifest.days.items() if day in found}
    return {day: found[day] | {sha256} for day, sha256 in now.items() if sha256 not in told}


def holders(place: Place, subject: Subject, known: Landed, library: Library, sources: Versions) -> Held:
    """Return the datasets that hold what is asked about; of days and events only what came from these files (`sources`)."""
    ask: dict[str, Callable[[], Held]] = {
        "batch": lambda: _holding_batch(place, subject.values[0], known, library, sources),
        "file": lambda: library.by_files(sources),
        "day": lambda: library.by_time(*subject.span, sources),
        "range": lambda: library.by_time(*subject.span, sources),
        "event": lambda: _holding_events(place, subject, known, library, sources),
        "person": lambda: library.by_person(subject.values[0]),
        "item": lambda: library.by_item(subject.values[0]),
        "view": lambda: library.by_view(subject.values[0]),
    }
    return ask[subject.kind]()


def _holding_batch(place: Place, batch: str, known: Landed, library: Library, sources: Versions) -> Held:
    """Return who holds rows of a batch: by its events' kinds and files, and by the very rows of its items."""
    found: Held = defaultdict(set)
    for record in known.of(batch):
        if not record.known:
            found.update(library.by_days(record.days))
            continue
        asked = {
            day: dict.fromkeys(sources.get(day, ()), tuple(kind for kind, rows in one.kinds.items() if rows))
            for day, one in record.days.items()
        }
        brought = batch_place(place.settings, items_file(record.stem))
        by_items: Held = {}
        if record.catalogue is not None and brought.is_file():
            by_items = library.by_items_of(brought, holding_items(record.catalogue.sha256, known.records))
        for some in (library.by_versions(asked), by_items):
            for name, kinds in some.items():
                found[name] |= kinds
    return found


def _holding_events(
    place: Place, subject: Subject, known: Landed, library: Library, sources: Versions
) -> Held:
    """Return who holds any of these events: as they lie in the landing, by its file or by the same row of another file."""
    found: Held = defaultdict(set)
    for event in events(place, subject.values):
        day, now = event["day"], known.manifest.days[event["day"]].sha256
        for one in library.contents:
            if (
                event["item"] is None
                or one.days.get(day) not in sources.get(day, ())
                or not one.held({event["kind"]})
            ):
                continue
            if one.days[day] == now or library.has_event(one, event):
                found[one.name].add(event["kind"])
    return found


def events(place: Place, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return events by id as they have landed. UnknownError names those that have not."""
    import duckdb

    files = [str(path) for path in sorted((place.settings.landing / "events").glob("day=*/events.parquet"))]
    names = ("id", "person", "item", "kind", "quantity", "price", "time_us", "day")
    query = """SELECT id, person, item, kind, quantity, price, epoch_us(time),
               strftime(make_timestamp(epoch_us(time)), '%Y-%m-%d')
               FROM read_parquet($files, hive_partitioning = false) WHERE list_contains($ids, id)"""
    rows: list[Any] = []
    if files:
        with duckdb.connect() as con:
            rows = con.execute(query, {"files": files, "ids": list(ids)}).fetchall()
    found = [dict(zip(names, row, strict=True)) for row in rows]
    if missing := [name for name in ids if name not in {event["id"] for event in found}]:
        raise UnknownError(f"no event {', '.join(missing)} lies in what has landed; see the ids there")
    return found


def _in_online_rows(subject: Subject, held: Held, library: Library) -> list[str]:
    """Return the datasets whose online rows hold it too: those are people's features, made of the history's kinds."""
    if subject.kind == "view":
        return list(held) if subject.values[0] == "person" else []
    history = {one.name: {*one.history_kinds, ITEMS, UNREADABLE} for one in library.contents}
    return [name for name, kinds in held.items() if kinds & history[name]]


def _moments(place: Place, made: frozenset[str]) -> dict[datetime, list[Span]]:
    """Return the moments of reached online rows, each with the spans in which answers can have come from them.

    A span has an end where rows of that very moment that were not reached had been there before, or came later and replaced them.
    """
    at_moment: dict[datetime, list[tuple[OnlineRows, datetime]]] = defaultdict(list)
    for rows, recorded_at in place.catalog.recorded(OnlineRows):  # oldest first
        at_moment[rows.as_of].append((rows, recorded_at))
    took = _seconds(place)
    return {
        moment: _spans(place, every, made, took)
        for moment, every in at_moment.items()
        if any(rows.id in made for rows, _ in every)
    }


def _spans(
    place: Place,
    every: Sequence[tuple[OnlineRows, datetime]],
    made: frozenset[str],
    took: Mapping[str, float],
) -> list[Span]:
    if all(rows.id in made for rows, _ in every):
        return [(None, None)]
    library = Library(
        place,
        [
            one
            for one in nouns(place.catalog, {rows.dataset for rows, _ in every})
            if isinstance(one, Dataset)
        ],
    )
    spans: list[Span] = []
    serving: set[str] = set()  # datasets whose reached rows may still be there
    begins: datetime | None = None
    for number, (rows, recorded_at) in enumerate(every):
        if rows.id in made:
            if not serving and number:
                begins = recorded_at - timedelta(seconds=took.get(rows.id, 0.0))
            serving.add(rows.dataset)
        elif serving and all(library.replaced(older, rows.dataset) for older in serving):
            spans.append((begins, recorded_at))
            serving = set()
    return [*spans, (begins, None)] if serving else spans


def _seconds(place: Place) -> dict[str, float]:
    """Return how long it took to write each online rows."""
    query = select(tables.DONE.c.nouns, tables.DONE.c.seconds).where(tables.DONE.c.verb == "materialise")
    with place.catalog.reader.connect() as connection:
        return {name: seconds for names, seconds in connection.execute(query) for name in orjson.loads(names)}


def _fresh(place: Place, subject: Subject, known: Landed) -> tuple[Fresh, ...]:
    """Return the events that are meant as answers may have known them before they landed: none without any over HTTP."""
    first_us = _first_collected(place, known)
    if first_us is None:
        return ()
    if subject.kind == "batch" and (at := _collected_at(subject.values[0], known)) is not None:
        return tuple(
            Fresh(
                since_us=since_us,
                until_us=since_us + DAY_US,
                kinds=frozenset(kind for kind, rows in one.kinds.items() if rows) if record.known else None,
                known_us=at,
            )
            for record in known.of(subject.values[0])
            for day, one in record.days.items()
            for since_us in [_us(datetime.fromisoformat(f"{day}T00:00:00+00:00"))]
        )
    if subject.kind in ("day", "range"):
        since, until = subject.span
        return (Fresh(since_us=_us(since), until_us=_us(until), known_us=first_us),)
    if subject.kind == "event":
        return tuple(
            Fresh(
                since_us=event["time_us"],
                until_us=event["time_us"] + 1,
                kinds=frozenset((event["kind"],)),
                item=event["item"],
                known_us=first_us,
            )
            for event in events(place, subject.values)
            if event["item"] is not None
        )
    return (Fresh(item=subject.values[0], known_us=first_us),) if subject.kind == "item" else ()


def _collected_at(batch: str, known: Landed) -> int | None:
    """Return when the first event of a batch came in over HTTP, in microseconds; None where it came another way."""
    names = [name for one in known.manifest.batches if one.batch == batch for name in segments_of(one)]
    return None if not names else _us(collected.begun(Path(min(names))))


def _first_collected(place: Place, known: Landed) -> int | None:
    """Return when events came in over HTTP first, in microseconds: no answer before knew of any. None where none ever did."""
    names = [name for one in known.manifest.batches for name in segments_of(one)]
    names += [path.name for path in collected.segments(place.settings.events)]
    landed_here = {one.batch for one in known.manifest.batches}
    if any(one.batch.startswith("collected-") and one.batch not in landed_here for one in known.records):
        return NEVER_US[0]  # the landing was emptied since: when it began is not known any more
    return _us(collected.begun(Path(min(names)))) if names else None


def _us(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def _notes(subject: Subject, known: Landed, held: Held) -> Iterable[str]:
    """Yield what could not be told exactly."""
    if subject.kind == "batch" and _collected_at(subject.values[0], known) is not None:
        yield (
            f"what {subject.values[0]} brought, answers knew within a second: those count that knew events of its days and kinds,"
            " another batch's of the same days among them"
        )
    if subject.kind == "batch" and any(not record.known for record in known.of(subject.values[0])):
        yield (
            f"{subject.values[0]} landed before its files were kept account of: every dataset with one of its days counts,"
            " and its items are not followed"
        )
    if lost := sorted(name for name, kinds in held.items() if UNREADABLE in kinds):
        yield f"{', '.join(lost)} cannot be read from the store any more, and counts as reached"
