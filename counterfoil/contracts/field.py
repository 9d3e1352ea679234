"""How a contract is written down: a table of fields with types and bounds, and what is derived from it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import pyarrow as pa

FieldType = Literal["text", "time", "int", "float"]
ARROW: dict[FieldType, pa.DataType] = {
    "text": pa.string(),
    "time": pa.timestamp("us", tz="UTC"),
    "int": pa.int64(),
    "float": pa.float64(),
}
SQL: dict[FieldType, str] = {"text": "VARCHAR", "time": "TIMESTAMPTZ", "int": "BIGINT", "float": "DOUBLE"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """One column: name, type, bounds (inclusive), allowed values, and for which kinds of event it is required.

    `personal` marks what may point to a person: such values never enter a report. `max_length` counts characters.
    """

    name: str
    type: FieldType
    says: str
    required: bool = False
    required_for: tuple[str, ...] = ()
    minimum: float | datetime | None = None
    maximum: float | datetime | None = None
    values: tuple[str, ...] = ()
    max_length: int = 512
    personal: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Contract:
    """A named table of fields with its key."""

    name: str
    key: str
    fields: tuple[Field, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Column names, in order."""
        return tuple(f.name for f in self.fields)

    def field(self, name: str) -> Field:
        """Return the field of that name; KeyError when there is none."""
        return next(f for f in self.fields if f.name == name)

    def arrow(self) -> pa.Schema:
        """Return the Arrow schema: the contract's columns in order, times in microseconds UTC."""
        return pa.schema([pa.field(f.name, ARROW[f.type]) for f in self.fields])
