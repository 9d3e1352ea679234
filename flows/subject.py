"""What a blast radius may be asked of, and how it is named.

A batch, a landed file, a day, a range of moments, events, a person, an item, a feature view, a version of the code, a noun.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from counterfoil import canonical, collected
from counterfoil.catalog import codec
from counterfoil.errors import ContractError, InputError, UnavailableError, UnknownError
from counterfoil.landing import Batch, Manifest, Origin, origins, read_manifest
from counterfoil.pseudonym import pseudonym
from flows.place import Place

if TYPE_CHECKING:
    from flows.contents import Library

VIEWS = ("person", "item", "pair")
PREFIXES = ("batch", "file", "day", "event", "person", "item", "view", "code")
NOUN = re.compile(rf"(?:{'|'.join(codec.NOUNS)})-[0-9a-f]{{16}}")
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
DIGEST = re.compile(r"[0-9a-f]{64}")
PSEUDONYM = re.compile(r"p[0-9a-f]{20}")
HELP = (
    "give a batch, a file or its SHA-256, a day as 2017-11-02, two moments, an id of the catalog, or say what it is:"
    " person:NAME, item:ID, view:NAME, code:VERSION, event:ID"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What was asked of. `kind` is one of PREFIXES, "range" or "noun"; `values` are ids, digests, moments or a pseudonym."""

    kind: str
    values: tuple[str, ...]

    @property
    def text(self) -> str:
        """The subject in the words that `parse` takes again; of a person only a commitment, which names nobody."""
        if self.kind == "person":
            return f"person:{canonical.sha256(['subject', self.values[0]])[:16]}"
        if self.kind == "range":
            return "..".join(self.values)
        if self.kind == "noun":
            return self.values[0]
        return " ".join(f"{self.kind}:{value}" for value in self.values)

    @property
    def span(self) -> tuple[datetime, datetime]:
        """The moments of a day or a range, the second no longer part of it."""
        if self.kind == "day":
            begins = datetime.fromisoformat(self.values[0]).replace(tzinfo=UTC)
            return begins, begins + timedelta(days=1)
        return canonical.utc_time(self.values[0]), canonical.utc_time(self.values[1])


@dataclass(frozen=True, kw_only=True, slots=True)
class Landed:
    """What has landed: the manifest, and the records of all batches."""

    manifest: Manifest
    records: list[Origin]
    shelf: list["Library"] = field(
        default_factory=list
    )  # at most one: the datasets' contents, once they were asked for

    def of(self, batch: str) -> list[Origin]:
        """Return the records of a batch; more than one when it landed into several landing folders."""
        return [record for record in self.records if record.batch == batch]

    def library(self, place: Place) -> "Library":
        """Return the contents of all datasets; read once."""
        from counterfoil.types import Dataset
        from flows.contents import Library

        if not self.shelf:
            self.shelf.append(Library(place, place.catalog.find(Dataset, limit=1_000_000)))
        return self.shelf[0]


def recalled(text: str) -> Subject | None:
    """Return the subject of that text; None of a person, whose text is a commitment."""
    if NOUN.fullmatch(text):
        return Subject(kind="noun", values=(text,))
    first, dots, second = text.partition("..")
    if dots and _is_moment(first) and _is_moment(second):
        return Subject(kind="range", values=(first, second))
    parts = re.split(r" (?=event:)", text)
    kind = parts[0].partition(":")[0]
    if kind not in PREFIXES or kind == "person":
        return None
    return Subject(kind=kind, values=tuple(part.partition(":")[2] for part in parts))


def landed(place: Place) -> Landed:
    """Return what has landed."""
    manifest = read_manifest(place.settings)
    return Landed(manifest=manifest, records=origins(place.settings, manifest))


def parse(place: Place, words: Sequence[str], known: Landed) -> Subject:
    """Return what these words name. InputError when they name more than one thing, UnknownError when nothing."""
    if len(words) > 1:
        return _several(place, words, known)
    word = words[0].strip() if words else ""
    prefix, colon, value = word.partition(":")
    if colon and prefix in PREFIXES and value:
        return _named(place, prefix, value, known)
    first, dots, second = word.partition("..")
    if dots and _is_moment(first) and _is_moment(second):
        return _range(first, second)
    if NOUN.fullmatch(word):
        place.catalog.get(word)
        return Subject(kind="noun", values=(word,))
    if word.startswith("receipt-"):
        raise InputError(
            f"{word} is an answer, and nothing is made of one; `counterfoil lineage {word}` says what it was made of"
        )
    return _bare(place, word, known)


def _bare(place: Place, word: str, known: Landed) -> Subject:
    """Return what a word without a prefix names, if it is one thing."""
    name = word.removesuffix(collected.SUFFIX)
    if found_in := [batch.batch for batch in known.manifest.batches if name in segments_of(batch)]:
        return Subject(kind="batch", values=(found_in[0],))
    for kind, fits in (
        ("day", DAY.fullmatch(word) is not None),
        ("batch", bool(known.of(word))),
        (
            "file",
            DIGEST.fullmatch(word) is not None
            or (("/" in word or Path(word).suffix != "") and Path(word).exists()),
        ),
        ("code", word.startswith(("git:", "source:"))),
    ):
        if fits:
            return _named(place, kind, word, known)
    found = [Subject(kind="view", values=(word,))] if word in VIEWS else []
    found += [
        subject
        for subject in (_person(place, word), Subject(kind="item", values=(word,)))
        if _occurs(place, subject, known)
    ]
    if len(found) > 1:
        raise InputError(
            f"{word!r} is {' and '.join(_article(one.kind) for one in found)};"
            f" say which: {' or '.join(f'{one.kind}:{word}' for one in found)}"
        )
    if not found:
        raise UnknownError(f"nothing is known by {word!r}; {HELP}")
    return found[0]


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _several(place: Place, words: Sequence[str], known: Landed) -> Subject:
    if len(words) == 2 and all(map(_is_moment, words)):
        return _range(*words)
    values = [word.removeprefix("event:") for word in words]
    if all(word.startswith("event:") for word in words):
        return Subject(kind="event", values=tuple(dict.fromkeys(values)))
    raise InputError(
        f"{' '.join(words)!r} is more than one thing; two moments make a range, and events are named as event:ID event:ID"
    )


def _named(place: Place, kind: str, value: str, known: Landed) -> Subject:
    """Return the subject of that kind. UnknownError or InputError when there is none."""
    if kind == "day":
        return _day(value)
    if kind == "batch" and not known.of(value):
        raise UnknownError(f"no batch {value!r} has landed; `counterfoil data list` shows those that have")
    if kind == "file":
        return _file(place, value, known)
    if kind == "view" and value not in VIEWS:
        raise UnknownError(f"there is no feature view {value!r}; there are {', '.join(VIEWS)}")
    if kind == "person":
        return _known(place, _person(place, value), f"person {value!r}", known)
    if kind == "item":
        return _known(place, Subject(kind="item", values=(value,)), f"item {value!r}", known)
    return Subject(kind=kind, values=(value,))


def _known(place: Place, subject: Subject, what: str, known: Landed) -> Subject:
    if not _occurs(place, subject, known):
        raise UnknownError(
            f"no {what} is known: it is in nothing that landed, in no dataset and in no answer"
        )
    return subject


def _day(text: str) -> Subject:
    try:
        day = datetime.strptime(text, "%Y-%m-%d").date().isoformat()
    except ValueError as fault:
        raise InputError(f"{text!r} is no day; write it as 2017-11-02") from fault
    return Subject(kind="day", values=(day,))


def _is_moment(text: str) -> bool:
    try:
        canonical.utc_time(text)
    except ValueError:
        return False
    return True


def _range(first: str, second: str) -> Subject:
    since, until = canonical.utc_time(first), canonical.utc_time(second)
    if since >= until:
        raise InputError(
            f"{second} is not after {first}; give the earlier moment first, the end is not part of the range"
        )
    return Subject(kind="range", values=(canonical.utc_text(since), canonical.utc_text(until)))


def _person(place: Place, name: str) -> Subject:
    known = name if PSEUDONYM.fullmatch(name) else pseudonym(name, place.settings.pseudonym_key)
    return Subject(kind="person", values=(known,))


def _file(place: Place, value: str, known: Landed) -> Subject:
    """Return the batch that a raw file was landed as, or the version of a landed file; by its path or a SHA-256."""
    digest = value if DIGEST.fullmatch(value) else None
    if digest is None:
        path = Path(value)
        if not path.exists():
            raise InputError(f"there is no file {value}; give its path, or the SHA-256 of a landed one")
        digest = canonical.file_digest(path) if path.is_file() else None
    if digest is not None and versions_of(place, digest, known):
        return Subject(kind="file", values=(digest,))
    batch = next((one.batch for one in known.records if one.digest == digest), None)
    batch = batch or (None if DIGEST.fullmatch(value) else _batch_of(Path(value), known))
    if batch is None:
        raise UnknownError(
            f"no batch came from {value}, and no landed day is or was that file; `counterfoil data list` shows what has landed"
        )
    return Subject(kind="batch", values=(batch,))


def segments_of(batch: Batch) -> list[str]:
    """Return the names of the segments that a batch of collected events was landed from."""
    kind, _, names = batch.name.partition(" ")
    return names.split(", ") if kind == "collected" and batch.batch.startswith("collected-") else []


def versions_of(place: Place, digest: str, known: Landed) -> set[str]:
    """Return the days of which a file with that SHA-256 is or was landed."""
    days = {day for record in known.records for day, one in record.days.items() if one.sha256 == digest}
    days |= {day for day, part in known.manifest.days.items() if part.sha256 == digest}
    return days | judged_days(place, digest)


def judged_days(place: Place, digest: str) -> set[str]:
    """Return the days of which a file with that SHA-256 was judged."""
    from sqlalchemy import select

    from counterfoil.catalog import tables

    query = select(tables.NOUN.c.body).where(
        tables.NOUN.c.kind == "verdict", tables.NOUN.c.body.contains(f'"sha256":"{digest}"', autoescape=True)
    )
    with place.catalog.reader.connect() as connection:
        subjects = [orjson.loads(body)["subject"] for (body,) in connection.execute(query)]
    return {subject.removeprefix("day:") for subject in subjects if subject.startswith("day:")}


def _batch_of(path: Path, known: Landed) -> str | None:
    """Return the batch that landed this very source, read as each kind that has landed."""
    from counterfoil.importers import IMPORTERS, open_source

    for kind in sorted({record.batch.rpartition("-")[0] for record in known.records} & IMPORTERS.keys()):
        try:
            digest = open_source(kind, path).digest
        except (ContractError, UnavailableError, InputError):
            continue
        if found := next((one.batch for one in known.records if one.digest == digest), None):
            return found
    return None


def _occurs(place: Place, subject: Subject, known: Landed) -> bool:
    """Say whether a person or an item is in what has landed, in any dataset, or in any answer."""
    from counterfoil.receipts.reached import Sought, count
    from flows.contents import UNREADABLE

    library = known.library(place)
    value = subject.values[0]
    held = library.by_person(value) if subject.kind == "person" else library.by_item(value)
    if any(UNREADABLE not in kinds for kinds in held.values()):
        return True
    if in_landing(place, subject):
        return True
    sought = Sought(person=value) if subject.kind == "person" else Sought(item=value)
    return count(place.all_receipts(), sought).answers > 0


def in_landing(place: Place, subject: Subject) -> bool:
    """Say whether a person or an item is in what has landed."""
    import duckdb

    landing = place.settings.landing
    table, column = ("people", "person") if subject.kind == "person" else ("items", "item")
    files = [(str(landing / f"{table}.parquet"), "id")] if (landing / f"{table}.parquet").is_file() else []
    files += [(str(path), column) for path in sorted((landing / "events").glob("day=*/events.parquet"))]
    with duckdb.connect() as con:
        for name in ("id", column):
            some = [file for file, by in files if by == name]
            query = (
                f"SELECT 1 FROM read_parquet($files, hive_partitioning = false) WHERE {name} = $value LIMIT 1"
            )
            if some and con.execute(query, {"files": some, "value": subject.values[0]}).fetchall():
                return True
    return False
