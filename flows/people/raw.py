"""A person in the raw files that the home keeps: those that came in by the inbox, and simulated shops.

Rows are taken out of Parquet files of the contract. Any other file that has landed goes whole: what it said of others has
landed, or is in quarantine.
"""

import gzip
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from counterfoil.errors import CounterfoilError
from counterfoil.files import sync
from counterfoil.importers.sql import literal
from counterfoil.landing.engine import connect
from counterfoil.pseudonym import pseudonym
from flows import inbox
from flows.people.who import Who
from flows.place import Place

PERSON = "person"
PERSONAL = {"people": "id"}  # of files that have no column of that name, the one that names a person


def name_of(place: Place, alias: str) -> str | None:
    """Return the name that a pseudonym stands for, as a raw file has it; None when none does."""
    who = Who(pseudonym=alias, name=None, sessions=(), answered=())
    for path in _simulated(place):
        if names := _names(place, path, who):
            return names[0]
    for entry in _done(place):
        for row in _rows(place, entry, who):
            if PERSON in row or "id" in row:
                return str(row.get(PERSON) or row["id"])
    return None


def done_rows(place: Place, who: Who) -> Iterator[dict[str, Any]]:
    """Yield the rows of raw files that have landed."""
    for entry in _done(place):
        for row in _rows(place, entry, who):
            yield {"file": _name(place, entry), **row}


def done_remove(place: Place, who: Who) -> None:
    """Take the person out of raw files that have landed, or the files away."""
    for entry in _done(place):
        for path in _files(entry):
            if path.suffix == ".parquet":
                _filter(path, _names(place, path, who))
        if any(True for _ in _rows(place, entry, who)):
            _take_away(entry)


def refused_rows(place: Place, who: Who) -> Iterator[dict[str, Any]]:
    """Yield the lines of refused files that name the person; a file that is no text is named without its lines."""
    pattern = who.pattern()
    for path in _refused(place):
        for line in _lines(path):
            if pattern.search(line):
                yield {"file": _name(place, path), "line": line.decode(errors="replace").rstrip("\r\n")}


def refused_remove(place: Place, who: Who) -> None:
    """Take refused files away that name the person: nobody could read them, so no row can be taken out."""
    pattern = who.pattern()
    for path in _refused(place):
        if path.is_file() and any(pattern.search(line) for line in _lines(path)):
            path.unlink()
            sync(path.parent)


def simulated_rows(place: Place, who: Who) -> Iterator[dict[str, Any]]:
    """Yield the person's rows in simulated shops."""
    for path in _simulated(place):
        table = _table(path, _names(place, path, who))
        for row in [] if table is None else table.to_pylist():
            yield {"file": _name(place, path), **row}


def simulated_remove(place: Place, who: Who) -> None:
    """Take the person's rows out of simulated shops; the vectors of their taste have no name, and stay."""
    for path in _simulated(place):
        _filter(path, _names(place, path, who))


def _done(place: Place) -> list[Path]:
    return sorted((inbox.inbox(place) / inbox.DONE).glob("*/*"))


def _refused(place: Place) -> list[Path]:
    return _files(inbox.inbox(place) / inbox.REFUSED)


def _simulated(place: Place) -> list[Path]:
    return [path for path in _files(place.settings.home / "simulated") if path.suffix == ".parquet"]


def _files(entry: Path) -> list[Path]:
    if entry.is_file():
        return [entry]
    return sorted(path for path in entry.rglob("*") if path.is_file())


def _name(place: Place, path: Path) -> str:
    return path.relative_to(place.settings.home).as_posix()


def _rows(place: Place, entry: Path, who: Who) -> Iterator[dict[str, Any]]:
    """Yield the person's rows of an entry as its importer reads them; of one that it cannot read any more, the lines."""
    from counterfoil.importers import open_source

    kind = entry.parent.name.rpartition("-")[0]
    mapping = inbox.inbox(place) / "mapped" / inbox.MAPPING if kind == "mapped" else None
    try:
        source = open_source(kind, entry, mapping=mapping if mapping and mapping.is_file() else None)
        queries = [
            (query, column) for query, column in ((source.events, PERSON), (source.people, "id")) if query
        ]
        yield from _asked(place, queries, who)
    except (CounterfoilError, duckdb.Error, OSError):
        pattern = who.pattern()
        for path in _files(entry):
            for line in _lines(path):
                if pattern.search(line):
                    yield {"line": line.decode(errors="replace").rstrip("\r\n")}


def _asked(place: Place, queries: list[tuple[str, str]], who: Who) -> list[dict[str, Any]]:
    out = []
    spill = place.folder("spill")
    with connect(place.settings, spill) as con:
        for query, column in queries:
            con.execute(f"CREATE OR REPLACE TEMP TABLE offered AS {query}")
            found = con.execute(f"SELECT DISTINCT CAST({column} AS VARCHAR) FROM offered").fetchall()
            names = [name for (name,) in found if name is not None and _is(place, name, who)]
            listed = ", ".join(map(literal, names))
            if names:
                rows = con.sql(f"SELECT * FROM offered WHERE CAST({column} AS VARCHAR) IN ({listed})")
                out += rows.to_arrow_table().to_pylist()
    shutil.rmtree(spill, ignore_errors=True)
    return out


def _is(place: Place, name: str, who: Who) -> bool:
    if who.name is not None:
        return name == who.name
    return pseudonym(name, place.settings.pseudonym_key) == who.pseudonym


def _column(path: Path) -> str | None:
    names = pq.read_schema(path).names
    return PERSON if PERSON in names else PERSONAL.get(path.stem)


def _names(place: Place, path: Path, who: Who) -> list[str]:
    """Return by which names a Parquet file may mean the person."""
    column = _column(path)
    if column is None:
        return []
    if who.name is not None:
        return [who.name]
    found = pc.unique(pq.read_table(path, columns=[column])[column].cast(pa.string())).to_pylist()
    return [name for name in found if name is not None and _is(place, name, who)]


def _table(path: Path, names: list[str]) -> pa.Table | None:
    column = _column(path)
    if column is None or not names:
        return None
    return pq.read_table(
        path, filters=pc.is_in(pc.field(column).cast(pa.string()), pa.array(names, pa.string()))
    )


def _filter(path: Path, names: list[str]) -> None:
    """Rewrite a Parquet file without the rows of these names, in one rename; one without such rows is left alone."""
    found = _table(path, names)
    if found is None or not len(found):
        return
    column, fresh = _column(path), path.with_name(path.name + ".new")
    assert column is not None
    with (
        pq.ParquetFile(path) as file,
        pq.ParquetWriter(fresh, file.schema_arrow, compression="zstd") as writer,
    ):
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            theirs = pc.is_in(table[column].cast(pa.string()), pa.array(names, pa.string()))
            writer.write_table(table.filter(pc.invert(pc.fill_null(theirs, False))))
    sync(fresh)
    fresh.replace(path)
    sync(path.parent)


def _take_away(entry: Path) -> None:
    if entry.is_dir():
        shutil.rmtree(entry)
    else:
        entry.unlink()
    sync(entry.parent)


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file, unpacked; of a Parquet file its rows as text."""
    try:
        if path.suffix == ".parquet":
            for row in pq.read_table(path).to_pylist():
                yield re.sub(rb"\s", b" ", str(row).encode())
        elif path.suffix == ".gz":
            with gzip.open(path, "rb") as file:
                yield from file
        else:
            with path.open("rb") as file:
                yield from file
    except (OSError, EOFError, pa.ArrowException):
        yield path.read_bytes()
