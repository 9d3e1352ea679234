"""A person as they were known when an answer was given: the row that the online store held, found in what it was written from.

Three places are asked in turn: the feature partition of that moment, the same one built again of what has landed, and the same
one built of the dataset that lies in the store. Which of them is right is not believed: the receipt holds the history's digest.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from bentos.recommend import rulebook
from bentos.recommend.person import Person, digest
from counterfoil import canonical
from counterfoil.errors import CounterfoilError, IntegrityError
from counterfoil.types import Dataset, OnlineRows, Receipt
from feature_repo import build, online
from feature_repo.transforms import PERSON_FEATURES
from flows.place import Place

Row = dict[str, Any]
UNREADABLE = (CounterfoilError, OSError, pa.ArrowException, duckdb.Error, ValueError, KeyError)
MOMENTS = 100_000  # nights for which online rows were recorded


@dataclass(frozen=True, kw_only=True, slots=True)
class Recalled:
    """The view of a person (None: nothing was known), where it was found, and what was wrong on the way.

    `missing` says that it is not what the receipt's digest names, or not there at all.
    """

    view: Row | None
    found: str = ""
    notes: tuple[str, ...] = ()
    missing: str | None = None


class Recall:
    """Find people as they were; partitions that are built again are built once, below `scratch`, which its owner clears away."""

    def __init__(self, place: Place, scratch: Path) -> None:
        self.place, self.scratch = place, scratch
        self._sources: dict[datetime, list[_Source]] = {}
        self._notes: dict[datetime, list[str]] = {}

    def expect(self, stubs: Iterable[Receipt]) -> None:
        """Say which people will be asked for, so that each partition is read once for all of them."""
        wanted: dict[datetime, set[str]] = {}
        for stub in stubs:
            if _told(stub) is not None and stub.feature_time is not None:
                wanted.setdefault(stub.feature_time, set()).add(stub.person)
        for moment, people in wanted.items():
            for source in self._of(moment):
                source.people |= people

    def person(self, stub: Receipt) -> Recalled:
        """Return the person of a receipt as they were known then."""
        told, moment = _told(stub), stub.feature_time
        if told is None or moment is None:  # nothing was known, or what was known was not used
            return Recalled(view=None)
        seen = False
        for source in self._of(moment):
            source.people.add(stub.person)
            row = source.row(stub.person, self._notes[moment])
            seen = seen or row is not None
            if row is not None and _digest(row) == told:
                view = row if source.whole else row | {"features": stub.features["person"]}
                return Recalled(view=view, found=source.name, notes=tuple(self._notes[moment]))
        what = f"what is known of this person as of {canonical.utc_text(moment)}"
        missing = (
            f"history differs: {what} is not the history {told} that was read"
            if seen
            else f"features gone: {what} is nowhere any more"
        )
        return Recalled(view=None, notes=tuple(self._notes[moment]), missing=missing)

    def rules(self, stub: Receipt) -> dict[str, Any] | None:
        """Return the merchandising rules that a receipt names, None where it names none. ConfigError when they are gone."""
        name = stub.features.get("rules")
        if not name:
            return None
        found = rulebook.recalled(self.place.settings.home / rulebook.KEPT, name)
        held: dict[str, Any] = orjson.loads(rulebook.written(found))
        return held

    def _of(self, moment: datetime) -> "list[_Source]":
        if moment not in self._sources:
            rows = [
                rows for rows in self.place.catalog.find(OnlineRows, limit=MOMENTS) if rows.as_of == moment
            ]
            self._notes[moment] = []
            self._sources[moment] = [
                _Partition(self.place, self.scratch, moment, rows),
                _Landed(self.place, self.scratch, moment, rows),
                *(_Stored(self.place, self.scratch, moment, rows, name) for name in _datasets(rows)),
            ]
        return self._sources[moment]


class _Source(ABC):
    """Rows of one moment from one place; read for all people that are expected, once."""

    name = ""
    whole = True  # whether the person's features are those of then too

    def __init__(self, place: Place, scratch: Path, moment: datetime, rows: list[OnlineRows]) -> None:
        self.place, self.scratch, self.moment, self.rows = place, scratch, moment, rows
        self.people: set[str] = set()
        self._read: dict[str, Row] | None = None

    def row(self, person: str, notes: list[str]) -> Row | None:
        """Return a person's row; None when it is not there, and a note why the place could not be read."""
        if self._read is None or person not in self._read:
            try:
                found = dict(_rows(self.file(), sorted(self.people)))
                self._read = {one: found.get(one, {}) for one in self.people}
            except UNREADABLE as fault:
                notes.append(f"{self.name}: {fault}")
                self._read = {one: {} for one in self.people}
        return self._read.get(person) or None

    @abstractmethod
    def file(self) -> Path:
        """Return the partition."""

    def built(self, landing: Path, out: Path, about: dict[str, Any]) -> Path:
        """Return the partition built anew of landed events, as the dataset that is described has its histories."""
        build.build(
            landing,
            out,
            self.moment,
            history_cap=about["history_cap"],
            history_kinds=about["history_kinds"],
            threads=self.place.settings.threads,
        )
        return build.partition(out, online.VIEW, self.moment)

    def recorded(self) -> set[str]:
        """Return the digests that the online rows of that moment were recorded with."""
        return {rows.sha256 for rows in self.rows}

    def about(self) -> dict[str, Any]:
        """Return what the dataset of that moment says of itself. FileNotFoundError when none is known."""
        for rows in self.rows:
            return _about(self.place, rows.dataset)
        raise FileNotFoundError(f"no online rows of {canonical.utc_text(self.moment)} are recorded")


class _Partition(_Source):
    name = "the feature partition"

    def file(self) -> Path:
        path = build.partition(self.place.settings.features, online.VIEW, self.moment)
        if not path.is_file():
            raise FileNotFoundError(f"{path.name} is gone")
        if self.rows and canonical.file_digest(path) not in self.recorded():
            raise IntegrityError(f"{path.name} is not what the online store was filled from")
        return path


class _Landed(_Source):
    name = "the partition built again of what has landed"

    def file(self) -> Path:
        return self.built(self.place.settings.landing, self.scratch / "landed", self.about())


class _Stored(_Source):
    """A dataset keeps no baskets and no ids of events, so that the person's features come from the receipt."""

    name = "the partition built of the dataset in the store"
    whole = False

    def __init__(
        self, place: Place, scratch: Path, moment: datetime, rows: list[OnlineRows], dataset: str
    ) -> None:
        super().__init__(place, scratch, moment, rows)
        self.dataset = dataset

    def file(self) -> Path:
        noun = self.place.catalog.get(self.dataset)
        assert isinstance(noun, Dataset)
        folder = self.place.opened(noun.address, noun.sha256)
        about = orjson.loads((folder / "dataset.json").read_bytes())
        out = self.scratch / noun.id
        landing = out.with_name(f"{out.name}-events")
        _lay_out(folder, landing, self.moment)
        return self.built(landing, out, about)


def _lay_out(dataset: Path, landing: Path, moment: datetime) -> None:
    """Write a dataset's interactions as landed events, so that the one transform can be asked of them."""
    day = landing / "events" / f"day={moment:%Y-%m-%d}"
    if (day / "events.parquet").is_file():
        return
    day.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as con, build.replacing(day / "events.parquet") as fresh:
        con.execute("SET enable_progress_bar = false")
        for name in ("people", "items", "interactions"):
            con.read_parquet(str(dataset / f"{name}.parquet"), file_row_number=True).create_view(name)
        con.sql(_EVENTS).write_parquet(str(fresh))
    with build.replacing(landing / "items.parquet") as fresh:
        fresh.write_bytes((dataset / "items.parquet").read_bytes())


_EVENTS = """
SELECT printf('%012d', t.file_row_number) AS id, p.id AS person, i.id AS item, t.time, t.kind, NULL::VARCHAR AS session,
    t.quantity, t.price
FROM interactions t JOIN people p ON p.file_row_number = t.person JOIN items i ON i.file_row_number = t.item
"""


def _datasets(rows: list[OnlineRows]) -> list[str]:
    return list(dict.fromkeys(one.dataset for one in rows))


def _about(place: Place, name: str) -> dict[str, Any]:
    noun = place.catalog.get(name)
    assert isinstance(noun, Dataset)
    about: dict[str, Any] = orjson.loads(
        (place.opened(noun.address, noun.sha256) / "dataset.json").read_bytes()
    )
    return about


def _rows(path: Path, people: list[str]) -> Iterator[tuple[str, Row]]:
    """Yield the rows of these people as a child reads them."""
    table = pq.read_table(path, filters=[("person", "in", people)]) if people else None
    for row in table.to_pylist() if table is not None else ():
        yield (
            row["person"],
            {
                "features": {name: row[name] for name in PERSON_FEATURES},
                "items": row["history_items"],
                "times_us": row["history_times"],
                "quantities": row["history_quantities"],
                "affinity": dict(zip(row["affinity_categories"], row["affinity_shares"], strict=True)),
            },
        )


def _told(stub: Receipt) -> str | None:
    """Return the digest of the history that a receipt names; None when nothing was known."""
    told: str | None = stub.features.get("history", {}).get("sha256")
    return told


def _digest(row: Row) -> str | None:
    return digest(
        Person(
            item_ids=tuple(row["items"]),
            time_us_N=np.array(row["times_us"], np.int64),
            quantity_N=np.array(row["quantities"], np.float32),
        )
    )
