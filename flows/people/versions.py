"""A person in stored versions: in the cache and the remotes of DVC, and in the copies that verbs unpacked.

A dataset names people in one table and numbers them in the others, so all four of its tables that hold people go; so do the
units of every evaluation on such a dataset, and what families keep of single histories. Items and descriptions stay.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from counterfoil import canonical, objects
from counterfoil.importers.sql import literal
from counterfoil.objects import TREE, Objects
from counterfoil.types import Candidate, Dataset, Evaluation
from flows.people.who import Who
from flows.place import Place

PEOPLE, UNITS = "people.parquet", "units.parquet"
TABLES = (PEOPLE, "interactions.parquet", "person_features.parquet", "pair_features.parquet")


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """A stored version: its address, the object per file, and those places of the store in which something of it lies."""

    address: str
    files: dict[str, str]


@dataclass(kw_only=True)
class Stock:
    """All stored versions, and where their objects lie."""

    place: Place

    @cached_property
    def where(self) -> tuple[Objects, ...]:
        """The cache and the remotes."""
        return objects.places(self.place.store.root, self.place.remote)

    @cached_property
    def held(self) -> dict[str, set[str]]:
        """The names of all objects, by the name of the place."""
        return {one.name: one.all() for one in self.where}

    @cached_property
    def versions(self) -> tuple[Version, ...]:
        """Every version of which a list of files lies anywhere, recorded or not."""
        found = {
            name: one for one in reversed(self.where) for name in self.held[one.name] if name.endswith(TREE)
        }
        return tuple(Version(address=name, files=one.files(name)) for name, one in sorted(found.items()))

    def holder(self, name: str) -> Objects | None:
        """Return a place that has an object; None when none has."""
        return next((one for one in self.where if name in self.held[one.name]), None)

    def table(self, version: Version, file: str) -> pa.Table | None:
        """Return a table of a version; None when it lies nowhere any more."""
        holder = self.holder(version.files[file])
        if holder is None:
            return None
        with holder.open(version.files[file]) as opened:
            return pq.read_table(opened)


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """What of the versions holds a person: their number in each dataset, and the files that are to go, by address."""

    numbers: dict[str, int]
    files: dict[str, tuple[str, ...]]


def held(place: Place, who: Who, stock: Stock | None = None) -> Held:
    """Find the versions that hold the person."""
    stock = stock or Stock(place=place)
    numbers = {
        v.address: n
        for v in stock.versions
        if PEOPLE in v.files and (n := _number(stock, v, who)) is not None
    }
    if not numbers:
        return Held(numbers={}, files={})
    on, from_them = _made_from(place, set(numbers))
    known = {*on.values(), *from_them.values(), *place.catalog.addresses()}
    files: dict[str, tuple[str, ...]] = {}
    for version in stock.versions:
        gone = _personal(version, numbers, set(on), set(from_them), known)
        if gone and any(stock.holder(version.files[name]) for name in gone):
            files[version.address] = gone
    return Held(numbers=numbers, files=_with_twins(stock, files))


def _personal(
    version: Version, numbers: dict[str, int], units: set[str], candidates: set[str], known: set[str]
) -> tuple[str, ...]:
    """Return the files of a version that must go; of one that nobody recorded, all that may hold people."""
    from models.artefact import histories

    stranger = version.address not in known
    if version.address in numbers:
        return tuple(name for name in TABLES if name in version.files)
    if UNITS in version.files and (version.address in units or stranger):
        return (UNITS,)
    if version.address in candidates or stranger:
        return tuple(histories(version.files))
    return ()


def _with_twins(stock: Stock, files: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Add what other versions have under the very same objects: it goes with them."""
    going = {version.files[name] for version in stock.versions for name in files.get(version.address, ())}
    found = {
        version.address: tuple(sorted(name for name, made in version.files.items() if made in going))
        for version in stock.versions
    }
    return {address: names for address, names in found.items() if names}


def _made_from(place: Place, addresses: set[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return (address: id) of the evaluations on, and of the candidates from, the datasets at these addresses."""
    datasets = {noun.id for noun, _ in place.catalog.recorded(Dataset) if noun.address in addresses}
    evaluations = {
        noun.address: noun.id for noun, _ in place.catalog.recorded(Evaluation) if noun.dataset in datasets
    }
    candidates = {
        noun.address: noun.id for noun, _ in place.catalog.recorded(Candidate) if noun.dataset in datasets
    }
    return evaluations, candidates


def _number(stock: Stock, version: Version, who: Who) -> int | None:
    table = stock.table(version, PEOPLE)
    if table is None or "id" not in table.column_names:
        return None
    number = pc.index(table["id"], who.pseudonym).as_py()
    return None if number < 0 else int(number)


def rows(place: Place, who: Who) -> Iterator[dict[str, Any]]:
    """Yield what the versions hold about the person: their rows in each dataset, and a line per file that goes with them."""
    stock = Stock(place=place)
    found = held(place, who, stock)
    for version in stock.versions:
        for name in found.files.get(version.address, ()):
            where = [one.name for one in stock.where if version.files[name] in stock.held[one.name]]
            if not where:
                continue
            about = {"version": version.address, "file": name}
            theirs = list(_theirs(stock, version, name, found.numbers.get(version.address)))
            yield {**about, "lies in": where, "rows": len(theirs)}
            yield from ({**about, **row} for row in theirs)


def _theirs(stock: Stock, version: Version, name: str, number: int | None) -> Iterator[dict[str, Any]]:
    """Yield the rows of one table that are about the person, with the items' names."""
    if number is None or name not in TABLES:
        return
    table = stock.table(version, name)
    if table is None:
        return
    if name == PEOPLE:
        yield from table.slice(number, 1).to_pylist()
        return
    items = stock.table(version, "items.parquet") if "item" in table.column_names else None
    for row in table.filter(pc.equal(table["person"], number)).to_pylist():
        if items is not None:
            row["item"] = items["id"][row["item"]].as_py()
        yield row


def remove(place: Place, who: Who) -> None:
    """Remove the files that hold the person from the cache and every remote.

    Tables that name people go last: killed before that, who comes again still finds what is to go.
    """
    stock = Stock(place=place)
    found = held(place, who, stock)
    pairs = {
        (name == PEOPLE, version.files[name])
        for version in stock.versions
        for name in found.files.get(version.address, ())
    }
    with place.store.locked():
        for _, name in sorted(pairs):
            for one in stock.where:
                if name in stock.held[one.name]:
                    one.drop(name)


def copies(place: Place, who: Who) -> Iterator[dict[str, Any]]:
    """Yield the unpacked copies that hold the person."""
    for folder in _copies(place, who):
        yield {"folder": folder.relative_to(place.settings.home).as_posix()}


def remove_copies(place: Place, who: Who) -> None:
    """Remove the unpacked copies: verbs unpack anew what they need."""
    for folder in _copies(place, who):
        shutil.rmtree(folder)


def _copies(place: Place, who: Who) -> list[Path]:
    """Return the folders below the work folder that hold the person, or what was made from a dataset that does.

    Copies of units and histories are of such a dataset as long as no version that stays has the very same file.
    """
    from models.artefact import histories

    work = place.settings.work
    left = [path for path in work.glob("recall-*") if path.is_dir()]  # partitions of a replay that was killed
    out = {path.parent for path in work.rglob(PEOPLE) if _in_file(path, who)} if work.is_dir() else set()
    if not out and not any(work.rglob(UNITS)):
        return left
    stays = _staying(place, held(place, who).files)
    for folder in {path.parent for path in work.rglob("*") if path.is_file()} - out:
        names = [path.name for path in folder.iterdir() if path.is_file()]
        personal = [name for name in (*histories(names), UNITS) if name in names]
        if any(canonical.file_digest(folder / name) not in stays for name in personal):
            out.add(folder)
    return [*left, *sorted(one for one in out if not any(one.is_relative_to(path) for path in left))]


def _staying(place: Place, going: dict[str, tuple[str, ...]]) -> set[str]:
    """Return the SHA-256 of all files of recorded versions that are in the store, and not about to go."""
    out: set[str] = set()
    for address in place.catalog.addresses():
        if place.store.has(address):
            manifest = place.catalog.stored(address).manifest
            out |= {sha256 for name, sha256 in manifest.items() if name not in going.get(address, ())}
    return out


def _in_file(path: Path, who: Who) -> bool:
    with duckdb.connect() as con:
        found = con.execute(
            f"SELECT 1 FROM read_parquet({literal(path)}) WHERE id = $id LIMIT 1", {"id": who.pseudonym}
        )
        return bool(found.fetchall())


def recorded(place: Place, files: dict[str, tuple[str, ...]]) -> list[str]:
    """Return those files as an erasure names them, of versions that the catalog knows."""
    known = set(place.catalog.addresses())
    return sorted(
        f"{address}/{name}" for address, names in files.items() if address in known for name in names
    )
