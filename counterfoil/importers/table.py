"""Files as relations, whatever their format: Parquet, delimited text, JSON lines. Columns are known before anything is read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from counterfoil.errors import ContractError
from counterfoil.importers.sql import column, literal, parquet
from counterfoil.importers.text import WHOLE_LINE, Delimited, Shape, delimited

Format = Literal["parquet", "csv", "jsonl"]
SUFFIXES: dict[str, Format] = {
    ".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl",
}  # fmt: skip

NOT_AN_OBJECT = "CASE WHEN json IS NULL OR json_type(json) <> 'OBJECT' THEN 'line is not a JSON object' END"


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A relation in SQL, its columns (None: any name may be asked, as in JSON), and the text files behind it."""

    relation: str
    columns: tuple[str, ...] | None
    name: str
    text: Delimited | None = None

    def value(self, name: str) -> str:
        """Return the SQL of a column; ContractError when the files do not have it."""
        if self.columns is None:
            return f"(json ->> {literal(json_path(name))})"
        if name not in self.columns:
            raise ContractError(f"{self.name} has no column {name!r}; there are {', '.join(self.columns)}")
        return column(name)

    def require(self, *names: str) -> None:
        """Raise ContractError, naming all, when columns are missing."""
        missing = [name for name in names if self.columns is not None and name not in self.columns]
        if missing:
            there = ", ".join(self.columns or ())
            raise ContractError(f"{self.name} lacks the column(s) {', '.join(missing)}; there are {there}")


def format_of(path: Path) -> Format:
    """Return the format that a file's name tells, a trailing .gz aside. Raises ContractError."""
    suffix = (path.with_suffix("") if path.suffix == ".gz" else path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ContractError(
            f"{path.name}: the ending tells no format; use one of {', '.join(SUFFIXES)}, or say it in a mapping"
        )
    return SUFFIXES[suffix]


def open_table(
    paths: tuple[Path, ...], table: str, *, shape: Shape | None = None, form: Format | None = None
) -> Table:
    """Open files of one format and the same columns; `table` (events, items, people) names where unreadable lines go.

    Raises ContractError when a file is not what it should be.
    """
    form = form or format_of(paths[0])
    name = ", ".join(path.name for path in paths[:3]) + (
        f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    )
    if form == "parquet":
        return Table(relation=parquet(paths), columns=_parquet_columns(paths), name=name)
    if form == "csv":
        first = paths[0].name.removesuffix(".gz")
        text = delimited(paths, shape or Shape(separator="\t" if first.endswith(".tsv") else ","))
        return Table(relation=text.relation(rejects(table)), columns=text.columns, name=name, text=text)
    text = delimited(paths, Shape(separator="", encoding=shape.encoding if shape else "utf-8"))
    if not text.lines:
        raise ContractError(f"{name} is empty; export it again")
    relation = f"(SELECT TRY_CAST({WHOLE_LINE} AS JSON) AS json FROM {text.relation(rejects(table))})"
    return Table(relation=relation, columns=None, name=name, text=text)


def rejects(table: str) -> str:
    """Return the name of the DuckDB table that takes the unreadable lines of `table`."""
    return f"{table}_rejects"


def json_path(name: str) -> str:
    """Return the JSON path of a key; dots go into nested objects."""
    return "$" + "".join(f'."{part}"' for part in name.split("."))


def _parquet_columns(paths: tuple[Path, ...]) -> tuple[str, ...]:
    schemas = [_schema(path) for path in paths]
    names = tuple(schemas[0].names)
    for path, schema in zip(paths, schemas, strict=True):
        if tuple(schema.names) != names:
            raise ContractError(f"{path.name} has other columns than {paths[0].name}; import them one by one")
    return names


def _schema(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except (pa.ArrowException, OSError) as fault:
        raise ContractError(
            f"{path.name} is not a whole Parquet file ({str(fault).splitlines()[0]}); copy it again"
        ) from fault
