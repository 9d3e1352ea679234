"""One Parquet file held against a contract: can it be read, has it the columns and types, how SQL reads it whatever its shape."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from counterfoil.contracts import Contract
from counterfoil.contracts.field import ARROW, SQL
from flows.gate.rules import quoted


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A file and its footer: columns that are missing, of a wrong type, or unknown to the contract."""

    name: str
    path: Path
    contract: Contract
    rows: int = 0
    readable: bool = True
    missing: frozenset[str] = frozenset()
    mistyped: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()

    @property
    def regular(self) -> bool:
        """Tell whether the file has exactly the contract's columns, so that it can be read together with others."""
        return self.readable and not (self.missing or self.mistyped or self.unknown)

    def has(self, name: str) -> bool:
        """Tell whether the file has that column."""
        return self.readable and name not in self.missing

    def select(self, extra: str) -> str:
        """Return SQL that reads the contract's columns, and `extra` before them; what is missing or cannot be cast is NULL."""
        columns = ", ".join(self._column(name) for name in self.contract.names)
        return (
            f"SELECT {extra}, {columns} FROM read_parquet({quoted(str(self.path))}, hive_partitioning=false)"
        )

    def _column(self, name: str) -> str:
        kind = SQL[self.contract.field(name).type]
        if not self.has(name):
            return f"NULL::{kind} AS {name}"
        return f"TRY_CAST({name} AS {kind}) AS {name}" if name in self.mistyped else name


def read_table(name: str, path: Path, contract: Contract, *, any_width: bool = False) -> Table:
    """Read a file's footer; a file that is absent or broken gives a table that is not readable.

    With `any_width`, numbers may be narrower than the contract's: a dataset's indices are int32.
    """
    try:
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
    except (OSError, pa.ArrowException, ValueError):
        return Table(name=name, path=path, contract=contract, readable=False)
    both = [field for field in contract.fields if field.name in schema.names]
    return Table(
        name=name,
        path=path,
        contract=contract,
        rows=rows,
        missing=frozenset(contract.names) - frozenset(schema.names),
        mistyped=frozenset(
            f.name for f in both if not fits(schema.field(f.name).type, ARROW[f.type], any_width)
        ),
        unknown=frozenset(schema.names) - frozenset(contract.names),
    )


def fits(actual: pa.DataType, declared: pa.DataType, any_width: bool = False) -> bool:
    """Tell whether a Parquet column's type is the declared one; text may be dictionary-coded or large."""
    if pa.types.is_dictionary(actual):
        actual = actual.value_type
    if pa.types.is_string(declared):
        return (
            pa.types.is_string(actual) or pa.types.is_large_string(actual) or pa.types.is_string_view(actual)
        )
    if pa.types.is_timestamp(declared) and pa.types.is_timestamp(actual):
        return actual.unit == declared.unit and actual.tz in ("UTC", "Etc/UTC", "+00:00")
    same_kind = pa.types.is_integer if pa.types.is_integer(declared) else pa.types.is_floating
    return bool(actual == declared or (any_width and same_kind(actual)))
