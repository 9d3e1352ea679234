"""The SQL that casts rows to a contract and says why a row breaks it, derived from the contract's table of fields.

Reasons never hold a value of the row: they are counted, shown and logged.
"""

from collections.abc import Mapping
from datetime import datetime

from counterfoil.contracts import Contract, Field
from counterfoil.contracts.field import SQL
from counterfoil.importers.source import column, literal

A_KIND = {"text": "a text", "time": "a time", "int": "a whole number", "float": "a number"}


def offered(contract: Contract, query: str, types: Mapping[str, str]) -> str:
    """Return a query of the contract's columns, cast, with `reason` (NULL when sound) and `raw` (JSON of a broken row).

    `types` maps the columns that `query` has to their DuckDB types. The personal key columns stay out of `raw`:
    landing adds them as pseudonyms.
    """
    given = [f for f in contract.fields if f.name in types]
    raw = ", ".join(
        f"{column(f.name)} := CAST({_given(f)} AS VARCHAR)" for f in given if not is_person(contract, f)
    )
    inner = ", ".join(_raw_column(f, types) for f in contract.fields)
    clean = ", ".join(f"{_clean(f, types)} AS {column(f.name)}" for f in contract.fields)
    return f"""
        SELECT {", ".join(column(f.name) for f in contract.fields)}, reason,
               CASE WHEN reason IS NOT NULL THEN CAST(to_json(struct_pack({raw})) AS VARCHAR) END AS raw
        FROM (SELECT *, {reason(contract, types)} AS reason FROM (
            SELECT *, {clean} FROM (SELECT {inner} FROM ({query}) AS source) AS given) AS cleaned) AS checked"""


def is_person(contract: Contract, field: Field) -> bool:
    """Return whether the field holds the name of a person, which landing replaces by a pseudonym."""
    return field.name == ("id" if contract.name == "person" else "person")


def reason(contract: Contract, types: Mapping[str, str]) -> str:
    """Return the SQL CASE that answers the first reason why a row breaks the contract, NULL when it does not."""
    whens = [when for f in contract.fields for when in _breaks(f, types)]
    return "CASE " + " ".join(f"WHEN {test} THEN {literal(says)}" for test, says in whens) + " END"


def _breaks(field: Field, types: Mapping[str, str]) -> list[tuple[str, str]]:
    name, value = field.name, column(field.name)
    out = []
    if field.name in types and field.type != "text":
        out.append((_wrong_type(field, types[name]), f"{name} is not {A_KIND[field.type]}"))
    if field.required:
        out.append((_missing(field), f"{name} is missing"))
    if field.name not in types:
        return out + _required_for(field)
    if field.type in ("float", "time"):
        out.append((f"NOT isfinite({value})", f"{name} is not finite"))
    if field.minimum is not None:
        out.append((f"{value} < {_bound(field.minimum)}", f"{name} is below {_plain(field.minimum)}"))
    if field.maximum is not None:
        out.append((f"{value} > {_bound(field.maximum)}", f"{name} is above {_plain(field.maximum)}"))
    if field.values:
        allowed = ", ".join(literal(v) for v in field.values)
        out.append((f"{value} NOT IN ({allowed})", f"{name} is none of the allowed values"))
    if field.type == "text" and not field.values:
        out.append(
            (f"length({value}) > {field.max_length}", f"{name} is longer than {field.max_length} characters")
        )
    return out + _required_for(field)


def _required_for(field: Field) -> list[tuple[str, str]]:
    if not field.required_for:
        return []
    kinds = ", ".join(literal(kind) for kind in field.required_for)
    return [
        (
            f"kind IN ({kinds}) AND {_missing(field)}",
            f"{field.name} is missing, which this kind of event needs",
        )
    ]


def _missing(field: Field) -> str:
    empty = f"{column(field.name)} IS NULL"
    return f"({empty} OR trim({column(field.name)}) = '')" if field.type == "text" else empty


def _wrong_type(field: Field, given_type: str) -> str:
    given, value = _given(field), column(field.name)
    test = f"{_filled(field, given_type)} IS NOT NULL AND {value} IS NULL"
    # A cast to a whole number rounds: 1.5 must not become 2 in silence.
    if field.type == "int" and given_type not in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT"):
        return f"({test}) OR TRY_CAST({given} AS DOUBLE) <> {value}"
    return test


def _clean(field: Field, types: Mapping[str, str]) -> str:
    if field.name not in types:
        return f"CAST(NULL AS {SQL[field.type]})"
    if field.type == "text":
        return f"nullif(CAST({_given(field)} AS VARCHAR), '')"
    return f"TRY_CAST({_filled(field, types[field.name])} AS {SQL[field.type]})"


def _filled(field: Field, given_type: str) -> str:
    return f"nullif(trim({_given(field)}), '')" if given_type == "VARCHAR" else _given(field)


def _raw_column(field: Field, types: Mapping[str, str]) -> str:
    value = f"source.{column(field.name)}" if field.name in types else "NULL"
    return f"{value} AS {_given(field)}"


def _given(field: Field) -> str:
    return column(f"given_{field.name}")


def _bound(value: float | datetime) -> str:
    return f"TIMESTAMPTZ {literal(value.isoformat())}" if isinstance(value, datetime) else repr(value)


def _plain(value: float | datetime) -> str:
    return value.date().isoformat() if isinstance(value, datetime) else f"{value:g}"
