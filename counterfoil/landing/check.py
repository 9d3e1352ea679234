"""The SQL that casts rows to a contract and says why a row breaks it, derived from the contract's table of fields.

Reasons never hold a value of the row: they are counted, shown and logged.
"""

from collections.abc import Mapping
from datetime import datetime

from counterfoil.contracts import Contract, Field
from counterfoil.contracts.field import SQL
from counterfoil.importers.sql import column, literal

A_KIND = {"text": "a text", "time": "a time", "int": "a whole number", "float": "a number"}
WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")


def offered(contract: Contract, query: str, types: Mapping[str, str]) -> str:
    """Return a query of `row`, the contract's columns, cast, `reason` (NULL when sound) and `raw` (JSON of a broken row).

    `types` maps the columns that `query` has to their DuckDB types; see `importers.Source` for those beyond the contract's.
    What names a person stays out of `raw`: landing adds it as a pseudonym.
    """
    fields = [f for f in contract.fields if f.name in types]
    raw = ", ".join(
        f"{column(f.name)} := CAST({_said(f, types)[0]} AS VARCHAR)"
        for f in fields
        if f.name != person_of(contract)
    )
    given = ", ".join(f"{value} AS {name}" for value, name in _given_columns(fields, types))
    clean = ", ".join(f"{_clean(f, types)} AS {column(f.name)}" for f in contract.fields)
    return f"""
        SELECT given_row AS row, {", ".join(column(f.name) for f in contract.fields)}, reason,
               CASE WHEN reason IS NOT NULL THEN CAST(to_json(struct_pack({raw})) AS VARCHAR) END AS raw
        FROM (SELECT *, {reason(contract, types)} AS reason FROM (
            SELECT *, {clean} FROM (SELECT {given} FROM ({query}) AS source) AS given) AS cleaned) AS checked"""


def person_of(contract: Contract) -> str | None:
    """Return the column that names a person, which landing replaces by a pseudonym; None when there is none."""
    return {"event": "person", "person": "id"}.get(contract.name)


def reason(contract: Contract, types: Mapping[str, str]) -> str:
    """Return the SQL CASE that answers the first reason why a row breaks the contract, NULL when it does not."""
    whens = [("given_refused IS NOT NULL", "given_refused")] if "refused" in types else []
    whens += [(test, literal(says)) for f in contract.fields for test, says in _breaks(f, types)]
    return "CASE " + " ".join(f"WHEN {test} THEN {says}" for test, says in whens) + " END"


def _breaks(field: Field, types: Mapping[str, str]) -> list[tuple[str, str]]:
    present = field.name in types
    out = _wrong_type(field, types) if present else []
    if field.required:
        out.append((_missing(field), f"{field.name} is missing"))
    return out + (_out_of_bounds(field) if present else []) + _required_for(field)


def _out_of_bounds(field: Field) -> list[tuple[str, str]]:
    name, value = field.name, column(field.name)
    out = []
    if field.type in ("float", "time"):
        out.append((f"NOT isfinite({value})", f"{name} is not finite"))
    if field.minimum is not None:
        out.append((f"{value} < {_bound(field.minimum)}", f"{name} is below {_plain(field.minimum)}"))
    if field.maximum is not None:
        out.append((f"{value} > {_bound(field.maximum)}", f"{name} is above {_plain(field.maximum)}"))
    if field.values:
        allowed = ", ".join(literal(v) for v in field.values)
        out.append((f"{value} NOT IN ({allowed})", f"{name} is none of the allowed values"))
    elif field.type == "text":
        # strlen counts bytes, never fewer than characters: nearly always it settles the matter, and it is quick.
        longer = f"strlen({value}) > {field.max_length} AND length({value}) > {field.max_length}"
        out.append((longer, f"{name} is longer than {field.max_length} characters"))
    return out


def _required_for(field: Field) -> list[tuple[str, str]]:
    if not field.required_for:
        return []
    kinds = ", ".join(literal(kind) for kind in field.required_for)
    return [
        (
            f"{_missing(field)} AND kind IN ({kinds})",
            f"{field.name} is missing, which this kind of event needs",
        )
    ]


def _missing(field: Field) -> str:
    empty = f"{column(field.name)} IS NULL"
    return f"({empty} OR trim({column(field.name)}) = '')" if field.type == "text" else empty


def _wrong_type(field: Field, types: Mapping[str, str]) -> list[tuple[str, str]]:
    said, given_type = _said(field, types)
    if field.type == "text" or given_type == SQL[field.type]:
        return []
    test = f"{_filled(said, given_type)} IS NOT NULL AND {column(field.name)} IS NULL"
    # A cast to a whole number rounds: 1.5 must not become 2 in silence.
    if field.type == "int" and given_type not in WHOLE:
        test = f"({test}) OR TRY_CAST({said} AS DOUBLE) <> {column(field.name)}"
    return [(test, f"{field.name} is not {A_KIND[field.type]}")]


def _clean(field: Field, types: Mapping[str, str]) -> str:
    if field.name not in types:
        return f"CAST(NULL AS {SQL[field.type]})"
    given = column(f"given_{field.name}")
    if field.type == "text":
        return f"nullif(CAST({given} AS VARCHAR), '')"
    return f"TRY_CAST({_filled(given, types[field.name])} AS {SQL[field.type]})"


def _filled(value: str, given_type: str) -> str:
    return f"nullif(trim({value}), '')" if given_type == "VARCHAR" else value


def _said(field: Field, types: Mapping[str, str]) -> tuple[str, str]:
    """Return what the input itself said, and its type: a computed column stands beside what it was computed from."""
    said = f"given_{field.name}"
    return (column(f"said_{field.name}"), types[said]) if said in types else (column(said), types[field.name])


def _given_columns(fields: list[Field], types: Mapping[str, str]) -> list[tuple[str, str]]:
    out = [(f"source.{column(f.name)}", column(f"given_{f.name}")) for f in fields]
    computed = [f.name for f in fields if f"given_{f.name}" in types]
    out += [(f"source.{column(f'given_{name}')}", column(f"said_{name}")) for name in computed]
    out += [("source.refused", "given_refused")] if "refused" in types else []
    return [*out, ("source.row" if "row" in types else "CAST(NULL AS BIGINT)", "given_row")]


def _bound(value: float | datetime) -> str:
    return f"TIMESTAMPTZ {literal(value.isoformat())}" if isinstance(value, datetime) else repr(value)


def _plain(value: float | datetime) -> str:
    return value.date().isoformat() if isinstance(value, datetime) else f"{value:g}"
