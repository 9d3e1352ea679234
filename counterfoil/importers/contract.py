"""Files whose columns are the contract's already: what the simulator writes and what `data` exports."""

from pathlib import Path

from counterfoil.errors import ContractError
from counterfoil.importers.mapping import CONTRACTS
from counterfoil.importers.source import Source, digest, existing
from counterfoil.importers.table import NOT_AN_OBJECT, SUFFIXES, Table, open_table
from counterfoil.importers.text import Delimited

KIND = "contract"
VERSION = 1


def contract(path: Path | None, mapping: Path | None) -> Source:
    """Return the source of one file of events, or of a folder with events (a file or a folder of files), items, people.

    Raises ContractError when columns are there that the contract does not know, or required ones are not.
    """
    place = existing(path, KIND)
    found = {name: _files(place, name) for name in CONTRACTS} if place.is_dir() else {"events": (place,)}
    files = {name: paths for name, paths in found.items() if paths}
    if not files:
        raise ContractError(
            f"{place} holds none of {', '.join(CONTRACTS)}; name the files so, e.g. events.parquet"
        )
    tables = {name: open_table(paths, name) for name, paths in files.items()}
    texts: list[tuple[str, Delimited]] = [(name, t.text) for name, t in tables.items() if t.text]
    return Source(
        kind=KIND,
        name=f"{place.name} in the contract's columns",
        digest=digest(
            KIND, VERSION, (f for n in files for f in files[n]), *(f"{n}:{len(files[n])}" for n in files)
        ),
        delimited=tuple(texts),
        **{name: _query(name, table) for name, table in tables.items()},
    )


def _files(folder: Path, name: str) -> tuple[Path, ...]:
    single = [p for p in sorted(folder.glob(f"{name}.*")) if p.suffix in (*SUFFIXES, ".gz")]
    many = [p for p in sorted((folder / name).rglob("*")) if p.suffix in (*SUFFIXES, ".gz")]
    if (single and many) or len(single) > 1:
        raise ContractError(
            f"{folder} holds {name} more than once; keep one of {', '.join(p.name for p in (*single, *many[:2]))}"
        )
    return tuple(single or many)


def _query(name: str, table: Table) -> str:
    of = CONTRACTS[name]
    required = [f.name for f in of.fields if f.required]
    if table.columns is None:
        values = ", ".join(f'{table.value(n)} AS "{n}"' for n in of.names)
        return f"SELECT {values}, {NOT_AN_OBJECT} AS refused FROM {table.relation}"
    if strange := [n for n in table.columns if n not in of.names]:
        raise ContractError(
            f"{table.name} has columns that no {of.name} has: {', '.join(strange)}; use a mapping"
        )
    table.require(*required)
    return f"SELECT * FROM {table.relation}"
