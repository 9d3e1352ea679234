"""One day's file as it lies on disk: is it readable, has it the contract's columns, and how SQL reads it whatever its shape."""

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from counterfoil.contracts import EVENT, Contract
from counterfoil.contracts.field import ARROW, SQL
from counterfoil.errors import InputError
from flows.gate.rules import quoted


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A day's file: `rows` by its footer, columns that are missing, of a wrong type, or unknown to the contract."""

    day: str
    path: Path
    rows: int = 0
    readable: bool = True
    missing: frozenset[str] = frozenset()
    mistyped: frozenset[str] = frozenset()
    unknown: frozenset[str] = field(default=frozenset())

    @property
    def regular(self) -> bool:
        """Tell whether the file has exactly the contract's columns, so that it can be read together with others."""
        return self.readable and not (self.missing or self.mistyped or self.unknown)

    def source(self) -> str:
        """Return SQL that reads the file in the contract's types; what is missing or cannot be cast is NULL."""
        columns = ", ".join(self._column(name) for name in EVENT.names)
        file = quoted(str(self.path))
        return (
            f"SELECT DATE '{self.day}' AS day, {columns} FROM read_parquet({file}, hive_partitioning=false)"
        )

    def _column(self, name: str) -> str:
        kind = SQL[EVENT.field(name).type]
        if name in self.missing:
            return f"NULL::{kind} AS {name}"
        return f"TRY_CAST({name} AS {kind}) AS {name}" if name in self.mistyped else name


def fits(actual: pa.DataType, declared: pa.DataType) -> bool:
    """Tell whether a Parquet column's type is the declared one; text may be dictionary-coded or large."""
    if pa.types.is_dictionary(actual):
        actual = actual.value_type
    if pa.types.is_string(declared):
        return (
            pa.types.is_string(actual) or pa.types.is_large_string(actual) or pa.types.is_string_view(actual)
        )
    if pa.types.is_timestamp(declared) and pa.types.is_timestamp(actual):
        return actual.unit == declared.unit and actual.tz in ("UTC", "Etc/UTC", "+00:00")
    return bool(actual == declared)


def differences(schema: pa.Schema, contract: Contract) -> dict[str, frozenset[str]]:
    """Return the names of columns that are missing, mistyped and unknown against the contract."""
    wrong = (f.name for f in contract.fields if f.name in schema.names)
    return {
        "missing": frozenset(contract.names) - frozenset(schema.names),
        "mistyped": frozenset(
            n for n in wrong if not fits(schema.field(n).type, ARROW[contract.field(n).type])
        ),
        "unknown": frozenset(schema.names) - frozenset(contract.names),
    }


def path_of(landing: Path, day: str) -> Path:
    """Return where the day's file lies; InputError when `day` is no date."""
    try:
        if date.fromisoformat(day).isoformat() != day:
            raise ValueError
    except ValueError:
        raise InputError(f"{day!r} names no day; give YYYY-MM-DD") from None
    return landing / "events" / f"day={day}" / "events.parquet"


def read_part(landing: Path, day: str) -> Part:
    """Read the footer of a day's file; a file that is absent or broken gives a part that is not readable."""
    path = path_of(landing, day)
    try:
        with pq.ParquetFile(path) as file:
            return Part(
                day=day, path=path, rows=file.metadata.num_rows, **differences(file.schema_arrow, EVENT)
            )
    except (OSError, pa.ArrowException, ValueError):
        return Part(day=day, path=path, readable=False)
