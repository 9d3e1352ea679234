"""A contract on the wire: rows of JSON decoded by a type that is derived from its fields, and their JSON Schema.

The type is quick and says yes or no; `fault` says what is wrong with a row in the words of the landing's own check.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from counterfoil.contracts.field import Contract, Field

KINDS_OF: dict[str, type] = {"text": str, "time": datetime, "int": int, "float": float}
SCHEMA_OF: dict[str, dict[str, Any]] = {
    "text": {"type": "string"},
    "time": {"type": "string", "format": "date-time"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
}
A_KIND = {"text": "a text", "time": "a time with a zone", "int": "a whole number", "float": "a number"}


def row_type(contract: Contract, optional: tuple[str, ...] = ()) -> type[msgspec.Struct]:
    """Return the type of a row: one field per column, None where it may be absent. Unknown columns are refused.

    `optional` names required columns that may be absent all the same, since whoever decodes fills them in. Bounds of times and
    what a kind of event requires are not in the type: `bounds_us` and `needs` have them.
    """
    required = [f for f in contract.fields if f.required and f.name not in optional]
    rest = [f for f in contract.fields if f not in required]
    fields: list[Any] = [(f.name, _typed(f)) for f in required]
    fields += [(f.name, _typed(f) | None, None) for f in rest]
    return msgspec.defstruct(
        contract.name.capitalize(), fields, forbid_unknown_fields=True, omit_defaults=True, gc=False
    )


def bounds_us(field: Field) -> tuple[int, int]:
    """Return the first and last moment of a column of times, in microseconds since 1970."""
    assert isinstance(field.minimum, datetime) and isinstance(field.maximum, datetime)
    return micros(field.minimum), micros(field.maximum)


def needs(contract: Contract, kinds: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return by kind which columns an event of that kind needs."""
    return {kind: tuple(f.name for f in contract.fields if kind in f.required_for) for kind in kinds}


def micros(moment: datetime) -> int:
    """Return microseconds since 1970 of a moment with a zone."""
    return round(moment.timestamp() * 1e6)


def fault(contract: Contract, row: Any, optional: tuple[str, ...] = ()) -> tuple[str, str] | None:
    """Return the first column that breaks the contract and why, None when none does. Reasons hold no value of the row."""
    if not isinstance(row, Mapping):
        return contract.name, f"{contract.name} is not a JSON object"
    if strange := [name for name in row if name not in contract.names]:
        return str(strange[0])[:64], "there is no such field"
    for field in contract.fields:
        if (reason := _fault(field, row.get(field.name), row, optional)) is not None:
            return field.name, f"{field.name} {reason}"
    return None


def schema(contract: Contract, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the JSON Schema of a row."""
    required = [f.name for f in contract.fields if f.required and f.name not in optional]
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": {f.name: _schema(f, nullable=f.name not in required) for f in contract.fields},
    }


def _typed(field: Field) -> Any:
    if field.values:
        return Literal[field.values]
    if field.type == "text":
        return Annotated[str, msgspec.Meta(max_length=field.max_length)]
    if field.type == "time":
        return Annotated[datetime, msgspec.Meta(tz=True)]
    return Annotated[KINDS_OF[field.type], msgspec.Meta(ge=field.minimum, le=field.maximum)]  # type: ignore[arg-type]


def _fault(field: Field, value: Any, row: Mapping[str, Any], optional: tuple[str, ...]) -> str | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        if field.required and field.name not in optional:
            return "is missing"
        if row.get("kind") in field.required_for:
            return "is missing, which this kind of event needs"
        return None if value is None or field.type == "text" else f"is not {A_KIND[field.type]}"
    try:
        known = msgspec.convert(value, _bare(field))
    except msgspec.ValidationError:
        return f"is not {A_KIND[field.type]}"
    for breaks in (_beyond, _strange):
        if (reason := breaks(field, known)) is not None:
            return reason
    return None


def _bare(field: Field) -> Any:
    return Annotated[datetime, msgspec.Meta(tz=True)] if field.type == "time" else KINDS_OF[field.type]


def _beyond(field: Field, value: Any) -> str | None:
    if field.minimum is not None and value < field.minimum:
        return f"is below {_plain(field.minimum)}"
    if field.maximum is not None and value > field.maximum:
        return f"is above {_plain(field.maximum)}"
    return None


def _strange(field: Field, value: Any) -> str | None:
    if field.values and value not in field.values:
        return "is none of the allowed values"
    if field.type == "text" and not field.values and len(value) > field.max_length:
        return f"is longer than {field.max_length} characters"
    return None


def _plain(value: float | datetime) -> str:
    return value.date().isoformat() if isinstance(value, datetime) else f"{value:g}"


def _schema(field: Field, *, nullable: bool) -> dict[str, Any]:
    out: dict[str, Any] = {**SCHEMA_OF[field.type], "description": field.says}
    if nullable:
        out["type"] = [out["type"], "null"]
    if field.values:
        out["enum"] = [*field.values, *([None] if nullable else [])]
    elif field.type == "text":
        out["maxLength"] = field.max_length
        if not nullable:
            out["minLength"] = 1
    for name, bound in (("minimum", field.minimum), ("maximum", field.maximum)):
        if bound is not None and not isinstance(bound, datetime):
            out[name] = bound
    return out
