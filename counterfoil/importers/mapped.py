"""Any CSV, Parquet or JSON lines by a mapping file: behaviour data of any kind, without code."""

from pathlib import Path

from counterfoil.contracts import Contract
from counterfoil.errors import ContractError
from counterfoil.importers.mapping import CONTRACTS, TableMap, TimeMap, read_mapping
from counterfoil.importers.source import Source, digest, existing
from counterfoil.importers.sql import column, literal
from counterfoil.importers.table import NOT_AN_OBJECT, Table, open_table
from counterfoil.importers.text import Delimited

KIND = "mapped"
VERSION = 1
MICROSECONDS = {"s": 1_000_000, "ms": 1000, "us": 1}
OFFSET = r":\d\d(\.\d+)?\s*(Z|[+-]\d\d(:?\d\d)?)$"


def mapped(path: Path | None, mapping: Path | None) -> Source:
    """Return the source that a mapping file makes of a file or folder. Raises ContractError."""
    place = existing(path, KIND)
    if mapping is None:
        raise ContractError("mapped needs a mapping file; write one as docs/how-to/import-data.md shows")
    how = read_mapping(mapping)
    tables = {name: t for name in CONTRACTS if (t := getattr(how, name)) is not None}
    files = {name: _files(place, name, table) for name, table in tables.items()}
    opened = {n: open_table(files[n], n, shape=t.shape, form=t.format) for n, t in tables.items()}
    queries = {name: _query(table, opened[name], CONTRACTS[name]) for name, table in tables.items()}
    texts: list[tuple[str, Delimited]] = [(name, t.text) for name, t in opened.items() if t.text]
    every = [file for name in tables for file in files[name]]
    return Source(
        kind=KIND,
        name=how.name,
        digest=digest(KIND, VERSION, every, how.model_dump_json(), *(f"{n}:{len(files[n])}" for n in tables)),
        delimited=tuple(texts),
        **queries,
    )


def _files(place: Path, name: str, table: TableMap) -> tuple[Path, ...]:
    if table.files is None:
        if place.is_dir():
            raise ContractError(
                f"{place} is a folder; say in the mapping which files hold the {name} (files: '*.csv')"
            )
        return (place,)
    folder = place if place.is_dir() else place.parent
    if found := tuple(sorted(folder.glob(table.files))):
        return found
    raise ContractError(
        f"{folder} holds no {table.files}, which the mapping names for the {name}; mend one of them"
    )


def _query(how: TableMap, table: Table, contract: Contract) -> str:
    table.require(*how.columns.values(), *(how.id.columns if how.id else ()))
    selected = [
        f"{_value(how, table, contract, n)} AS {column(n)}" for n in contract.names if n in how.columns
    ]
    times = [f.name for f in contract.fields if f.type == "time" and f.name in how.columns]
    selected += [f"{table.value(how.columns[name])} AS {column('given_' + name)}" for name in times]
    selected += [f"{_constant(value)} AS {column(name)}" for name, value in how.constants.items()]
    if table.columns is None:
        selected.append(f"{NOT_AN_OBJECT} AS refused")
    if how.id is None:
        return f"SELECT {', '.join(selected)} FROM {table.relation}"
    values = [
        f"coalesce(replace(CAST({table.value(name)} AS VARCHAR), ':', '::'), '')" for name in how.id.columns
    ]
    made = " || ':' || ".join([literal(how.id.prefix), *values] if how.id.prefix else values)
    if not how.id.number_repeats:
        return f"SELECT {made} AS id, {', '.join(selected)} FROM {table.relation}"
    inner = f"SELECT row_number() OVER () AS row, {made} AS made, {', '.join(selected)} FROM {table.relation}"
    return f"SELECT *, made || ':' || row_number() OVER (PARTITION BY made ORDER BY row) AS id FROM ({inner})"


def _value(how: TableMap, table: Table, contract: Contract, name: str) -> str:
    value = table.value(how.columns[name])
    if contract.field(name).type == "time":
        return _time(value, how.time)
    if name == "kind" and how.kinds:
        whens = " ".join(f"WHEN {literal(said)} THEN {literal(kind)}" for said, kind in how.kinds.items())
        return f"CASE CAST({value} AS VARCHAR) {whens} ELSE CAST({value} AS VARCHAR) END"
    return value


def _time(value: str, how: TimeMap) -> str:
    if how.unit != "text":
        number = f"TRY_CAST({value} AS DOUBLE) * {MICROSECONDS[how.unit]}"
        whole = f"TRY_CAST({value} AS BIGINT)"  # a double has no room for microseconds since 1970 times a thousand
        exact = f"CASE WHEN {whole} = TRY_CAST({value} AS DOUBLE) THEN {whole} * {MICROSECONDS[how.unit]} "
        return f"CASE WHEN abs({number}) < 9e18 THEN make_timestamptz({exact} ELSE CAST(round({number}) AS BIGINT) END) END"
    zone = literal(how.zone)
    if how.format:
        return f"timezone({zone}, try_strptime(CAST({value} AS VARCHAR), {literal(how.format)}))"
    text = f"CAST({value} AS VARCHAR)"
    naive = f"timezone({zone}, TRY_CAST({text} AS TIMESTAMP))"
    return f"CASE WHEN regexp_matches({text}, {literal(OFFSET)}) THEN TRY_CAST({text} AS TIMESTAMPTZ) ELSE {naive} END"


def _constant(value: str | int | float) -> str:
    return literal(value) if isinstance(value, str) else repr(value)
