"""What dataset versions really hold: read from the stored files themselves, each file once however many versions share it.

Every function here answers which datasets hold something, and of which kinds of event; `ITEMS` stands for rows of items.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pyarrow as pa

from counterfoil.catalog.lineage import nouns
from counterfoil.contracts import ITEM
from counterfoil.errors import CounterfoilError, IntegrityError
from counterfoil.landing.intake import columns_of
from counterfoil.types import Dataset, Verdict
from flows.place import Place

DAY_US = 86_400_000_000
ITEMS = "items"
UNREADABLE = "unreadable"
Held = dict[str, set[str]]  # dataset -> the kinds of event by which it holds what was asked for
Versions = Mapping[str, Collection[str]]  # day -> SHA-256 of its files that count


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """A dataset with what it was written from: days with the SHA-256 of their files, kinds of event, feature views, files.

    `files` are those that are in the store: an erasure takes some away. Without any (`told` is False), the verdicts alone
    tell the days, and nobody the rest.
    """

    dataset: Dataset
    days: Mapping[str, str]
    kinds: frozenset[str] = frozenset()
    history_kinds: frozenset[str] = frozenset()
    views: frozenset[str] = frozenset()
    files: Mapping[str, Path] = field(default_factory=dict)
    told: bool = True

    @property
    def name(self) -> str:
        """The dataset's id."""
        return self.dataset.id

    def held(self, kinds: Iterable[str]) -> set[str]:
        """Return those of these kinds that the dataset takes; all of them when nobody can tell."""
        return set(kinds) & self.kinds if self.told else set(kinds)

    def has(self, *tables: str) -> bool:
        """Say whether these tables are in the store."""
        return all(f"{table}.parquet" in self.files for table in tables)


class Library:
    """The contents of many datasets, and questions to all of them at once."""

    def __init__(self, place: Place, datasets: Sequence[Dataset]) -> None:
        self.contents = [_read(place, dataset) for dataset in datasets]
        self._con: duckdb.DuckDBPyConnection | None = None
        self._where: dict[
            tuple[str, str], list[str]
        ] = {}  # files of a table that hold an id, once it was asked for

    def by_versions(self, days: Mapping[str, Mapping[str, Collection[str]]]) -> Held:
        """Return who was written from these files: `days` says, by day and SHA-256, the kinds of event that are asked about."""
        found: Held = defaultdict(set)
        for one in self.contents:
            for day, versions in days.items():
                if kinds := one.held(versions.get(one.days.get(day, ""), ())):
                    found[one.name] |= kinds
        return found

    def by_files(self, versions: Versions) -> Held:
        """Return who was written from these files of days, and holds an event of them."""
        found: Held = defaultdict(set)
        for day in versions:
            begins = datetime.fromisoformat(day).replace(tzinfo=UTC)
            for name, kinds in self.by_time(begins, begins + timedelta(days=1), {day: versions[day]}).items():
                found[name] |= kinds
        return found

    def by_days(self, days: Collection[str]) -> Held:
        """Return who holds any event of these days, of whatever file; for batches of which no more is known than their days."""
        return {
            one.name: set(one.kinds) or {UNREADABLE}
            for one in self.contents
            if not one.days.keys().isdisjoint(days)
        }

    def by_time(self, since: datetime, until: datetime, versions: Versions | None = None) -> Held:
        """Return who holds an event from `since` on and before `until`; with `versions`, only of these files of the days.

        What a day's file gives to datasets of the same kinds is the same, so each file is looked into once.
        """
        found: Held = defaultdict(set)
        known: dict[tuple[str, str, frozenset[str]], set[str]] = {}
        every = {day for one in self.contents for day in one.days}
        days = {day for day in every if _overlaps(day, since, until)}
        order = {one.name: (one.has("interactions"), one.dataset.as_of) for one in self.contents}
        for one in sorted(self.contents, key=lambda one: order[one.name], reverse=True):
            wanted = [
                (day, sha256, one.kinds)
                for day, sha256 in one.days.items()
                if day in days and (versions is None or sha256 in versions.get(day, ()))
            ]
            if not all(key in known for key in wanted):
                if not one.has("interactions"):
                    found[one.name].add(UNREADABLE)
                    continue
                by_day = self._kinds_by_day(one.files["interactions.parquet"], since, until)
                known.update({key: by_day.get(key[0], set()) for key in wanted})
            found[one.name] |= set().union(*(known[key] for key in wanted))
        return {name: kinds for name, kinds in found.items() if kinds}

    def by_person(self, pseudonym: str) -> Held:
        """Return who holds events of a person, and of which kinds."""
        found = self._by_id("people.parquet", pseudonym, lambda one: set(one.kinds))
        for one in self.contents:
            mixed = one.name in found and one.kinds != one.history_kinds
            if mixed and one.has("people", "interactions"):
                found[one.name] = self._kinds_of(one.files, pseudonym)
        return found

    def by_item(self, item: str) -> Held:
        """Return whose catalogue has an item, sold or not."""
        return self._by_id("items.parquet", item, lambda one: {*one.kinds, ITEMS})

    def by_items_of(self, brought: Path, versions: Collection[str]) -> Held:
        """Return whose catalogue was written from these files of items, and has a row that is just one of those in `brought`.

        Where a dataset does not say from which file, the rows alone tell.
        """
        later = {one.name for one in self.contents if one.dataset.tables.get("items") in (None, *versions)}
        holding = {
            file: some
            for file, names in self._by_file("items.parquet").items()
            if (some := [name for name in names if name in later])
        }
        found = self._without("items.parquet")
        for file, names in holding.items():
            query = f"""SELECT 1 FROM (SELECT {_columns(brought)} FROM read_parquet($brought) INTERSECT
                        SELECT {_columns(Path(file))} FROM read_parquet($file)) LIMIT 1"""
            if self._rows(query, {"brought": str(brought), "file": file}):
                found.update({name: {ITEMS} for name in names})
        return found

    def by_view(self, view: str) -> Held:
        """Return who holds frames of a feature view."""
        return {one.name: {view} for one in self.contents if view in one.views or not one.told}

    def replaced(self, older: str, newer: str) -> bool:
        """Say whether the online rows of one dataset were all replaced by those of another at the same moment.

        The online store keeps of two rows of one moment the one that counted as many events or more (feature_repo/build.py).
        """
        before, after = self._counted(older), self._counted(newer)
        if before is None or after is None:
            return False
        return before.keys() <= after.keys() and sum(before.values()) <= sum(after.values())

    def _counted(self, name: str) -> dict[str, int] | None:
        """Return how many events the features of each person count; None when nobody can tell."""
        one = next(one for one in self.contents if one.name == name)
        if not one.has("interactions", "people"):
            return None
        query = """SELECT p.id, count(*) FROM read_parquet($interactions) r
            JOIN (SELECT id, file_row_number AS number FROM read_parquet($people, file_row_number = true)) p
              ON p.number = r.person
            WHERE list_contains($kinds, r.kind) AND coalesce(r.quantity, 1) > 0 GROUP BY p.id"""
        files = {table: str(one.files[f"{table}.parquet"]) for table in ("interactions", "people")}
        return dict(self._rows(query, {**files, "kinds": sorted(one.history_kinds)}))

    def has_event(self, one: Contents, event: Mapping[str, Any]) -> bool:
        """Say whether a dataset holds a row that is just this event's: person, item, time, kind, quantity, price."""
        if not one.has("interactions", "people", "items"):
            return True
        query = """
            SELECT 1 FROM read_parquet($interactions) r
            JOIN (SELECT file_row_number AS number FROM read_parquet($people, file_row_number = true) WHERE id = $person) p
              ON p.number = r.person
            JOIN (SELECT file_row_number AS number FROM read_parquet($items, file_row_number = true) WHERE id = $item) i
              ON i.number = r.item
            WHERE epoch_us(r.time) = $time_us AND r.kind = $kind AND r.quantity IS NOT DISTINCT FROM $quantity::DOUBLE
              AND r.price IS NOT DISTINCT FROM $price::DOUBLE LIMIT 1"""
        files = {name: str(one.files[f"{name}.parquet"]) for name in ("interactions", "people", "items")}
        asked = ("person", "item", "time_us", "kind", "quantity", "price")
        return bool(self._rows(query, {**files, **{name: event[name] for name in asked}}))

    def _by_id(self, table: str, id: str, kinds: Any) -> Held:
        holding = self._by_file(table)
        by_name = {one.name: one for one in self.contents}
        found = self._without(table)
        if holding and (table, id) not in self._where:
            query = "SELECT DISTINCT filename FROM read_parquet($files, filename = true) WHERE id = $id"
            rows = self._rows(query, {"files": list(holding), "id": id})
            self._where[table, id] = [file for (file,) in rows]
        for file in self._where.get((table, id), ()):
            found.update({name: kinds(by_name[name]) for name in holding[file]})
        return found

    def _kinds_of(self, files: Mapping[str, Path], pseudonym: str) -> set[str]:
        query = """SELECT DISTINCT kind FROM read_parquet($interactions) WHERE person IN (
            SELECT file_row_number FROM read_parquet($people, file_row_number = true) WHERE id = $id)"""
        asked = {name: str(files[f"{name}.parquet"]) for name in ("interactions", "people")}
        return {kind for (kind,) in self._rows(query, {**asked, "id": pseudonym})}

    def _without(self, table: str) -> Held:
        """Return the datasets of which nobody can tell, since that table is not in the store any more."""
        return {one.name: {UNREADABLE} for one in self.contents if table not in one.files}

    def _by_file(self, table: str) -> dict[str, list[str]]:
        """Return the stored files of one table with the datasets that have each; equal ones are one file."""
        holding: dict[str, list[str]] = defaultdict(list)
        for one in self.contents:
            if table in one.files:
                holding[str(one.files[table])].append(one.name)
        return holding

    def _kinds_by_day(self, interactions: Path, since: datetime, until: datetime) -> dict[str, set[str]]:
        query = f"""SELECT epoch_us(time) // {DAY_US} AS day, kind FROM read_parquet($file)
                    WHERE epoch_us(time) >= $since AND epoch_us(time) < $until GROUP BY ALL"""
        asked = {"file": str(interactions), "since": microseconds(since), "until": microseconds(until)}
        found: dict[str, set[str]] = defaultdict(set)
        for day, kind in self._rows(query, asked):
            found[str(date(1970, 1, 1) + timedelta(days=day))].add(kind)
        return found

    def _rows(self, query: str, asked: Mapping[str, Any]) -> list[Any]:
        if self._con is None:
            self._con = duckdb.connect()
            self._con.execute("SET enable_progress_bar = false")
        try:
            return self._con.execute(query, dict(asked)).fetchall()
        except duckdb.Error as fault:
            raise IntegrityError(
                f"a stored dataset cannot be read ({str(fault).splitlines()[0]}); run `counterfoil verify`"
            ) from fault


def _columns(items: Path) -> str:
    """Return the columns of items that a file has, NULL for those that came into the contract since."""
    try:
        return columns_of(items, ITEM)
    except (OSError, pa.ArrowInvalid) as fault:
        raise IntegrityError(
            f"a stored dataset cannot be read ({str(fault).splitlines()[0]}); run `counterfoil verify`"
        ) from fault


def microseconds(moment: datetime) -> int:
    """Return whole microseconds since 1970."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _overlaps(day: str, since: datetime, until: datetime) -> bool:
    return since.date().isoformat() <= day <= (until - timedelta(microseconds=1)).date().isoformat()


def _read(place: Place, dataset: Dataset) -> Contents:
    try:
        files = place.store.files(dataset.address)
        about = orjson.loads(files["dataset.json"].read_bytes())
    except (CounterfoilError, OSError, KeyError, ValueError):
        judged = [noun for noun in nouns(place.catalog, dataset.verdicts) if isinstance(noun, Verdict)]
        days = {
            one.subject.removeprefix("day:"): one.sha256 for one in judged if one.subject.startswith("day:")
        }
        return Contents(dataset=dataset, days=days, told=False)
    history = frozenset(about["history_kinds"])
    return Contents(
        dataset=dataset,
        days=about["days"],
        kinds=history | frozenset(about["label_kinds"]),
        history_kinds=history,
        views=frozenset(view for view in ("person", "item", "pair") if about.get(f"{view}_names")),
        files=files,
    )
