"""Every rule of the contract's table of fields, in SQL: what breaks it, what does not, and what the row becomes."""

from pathlib import Path
from typing import Any

import duckdb
import pytest

from counterfoil.contracts import EVENT, ITEM, PERSON, Contract
from counterfoil.contracts.field import SQL
from counterfoil.landing import check

GOOD = {"id": "'e1'", "time": "'2024-03-01 10:00'", "person": "'ann'", "kind": "'purchase'", "item": "'milk'"}


def checked(contract: Contract, values: dict[str, str]) -> dict[str, Any]:
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    query = "SELECT " + ", ".join(f'{value} AS "{name}"' for name, value in values.items())
    types = {row[0]: row[1] for row in con.execute(f"DESCRIBE {query}").fetchall()}
    cursor = con.execute(check.offered(contract, query, types))
    names = [column[0] for column in cursor.description or ()]
    return dict(zip(names, cursor.fetchone() or (), strict=True))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": "NULL"}, "id is missing"),
        ({"id": "''"}, "id is missing"),
        ({"id": "'  '"}, "id is missing"),
        ({"id": "repeat('x', 129)"}, "id is longer than 128 characters"),
        ({"time": "NULL"}, "time is missing"),
        ({"time": "'yesterday'"}, "time is not a time"),
        ({"time": "'2024-02-30'"}, "time is not a time"),
        ({"time": "42"}, "time is not a time"),
        ({"time": "'infinity'"}, "time is not finite"),
        ({"time": "'0000-01-01'"}, "time is below 1990-01-01"),
        ({"time": "'9999-12-31'"}, "time is above 2100-01-01"),
        ({"time": "TIMESTAMP '1989-12-31 23:59:59.999999'"}, "time is below 1990-01-01"),
        ({"person": "NULL"}, "person is missing"),
        ({"person": "repeat('x', 129)"}, "person is longer than 128 characters"),
        ({"kind": "'bought'"}, "kind is none of the allowed values"),
        ({"kind": "NULL"}, "kind is missing"),
        ({"item": "NULL"}, "item is missing, which this kind of event needs"),
        ({"item": "''"}, "item is missing, which this kind of event needs"),
        ({"kind": "'search'"}, "query is missing, which this kind of event needs"),
        ({"kind": "'message'", "query": "' '"}, "query is missing, which this kind of event needs"),
        ({"query": "repeat('ä', 4097)"}, "query is longer than 4096 characters"),
        ({"position": "0"}, "position is below 1"),
        ({"position": "'1.5'"}, "position is not a whole number"),
        ({"position": "1.5::DOUBLE"}, "position is not a whole number"),
        ({"position": "'first'"}, "position is not a whole number"),
        ({"dwell_ms": "-1"}, "dwell_ms is below 0"),
        ({"quantity": "'many'"}, "quantity is not a number"),
        ({"quantity": "'nan'"}, "quantity is not finite"),
        ({"quantity": "'NaN'::DOUBLE"}, "quantity is not finite"),
        ({"quantity": "'1e400'"}, "quantity is not finite"),
        ({"quantity": "'-inf'"}, "quantity is not finite"),
        ({"quantity": "1000001"}, "quantity is above 1e+06"),
        ({"price": "-0.01"}, "price is below 0"),
        ({"price": "'1,50'"}, "price is not a number"),
        ({"channel": "repeat('x', 65)"}, "channel is longer than 64 characters"),
        ({"receipt": "repeat('x', 65)"}, "receipt is longer than 64 characters"),
        ({"refused": "'line is not JSON'"}, "line is not JSON"),
        ({"time": "NULL::TIMESTAMPTZ", "given_time": "'31.12.24'"}, "time is not a time"),
    ],
)
def test_what_breaks_the_contract_is_named(change: dict[str, str], reason: str):
    assert checked(EVENT, {**GOOD, **change})["reason"] == reason


@pytest.mark.parametrize(
    ("change", "column", "value"),
    [
        ({"quantity": "-3"}, "quantity", -3.0),
        ({"quantity": "' 2 '"}, "quantity", 2.0),
        ({"quantity": "''"}, "quantity", None),
        ({"position": "'7'"}, "position", 7),
        ({"position": "3.0::DOUBLE"}, "position", 3),
        ({"session": "''"}, "session", None),
        ({"item": "17"}, "item", "17"),
        ({"price": "0"}, "price", 0.0),
        ({"query": "repeat('ä', 4096)"}, "query", "ä" * 4096),
        ({"kind": "'treatment'", "item": "NULL"}, "item", None),
        ({"row": "41"}, "row", 41),
    ],
)
def test_what_keeps_it_becomes_the_contracts_type(change: dict[str, str], column: str, value: Any):
    row = checked(EVENT, {**GOOD, **change})
    assert (row["reason"], row["raw"], row[column]) == (None, None, value)


@pytest.mark.parametrize(
    ("said", "utc"),
    [
        ("'2024-03-01T10:00:00+02:00'", "2024-03-01 08:00:00+00"),
        ("'2024-03-01'", "2024-03-01 00:00:00+00"),
        ("TIMESTAMP '2024-03-01 10:00'", "2024-03-01 10:00:00+00"),
        ("TIMESTAMP_NS '2024-03-01 10:00:00.123456789'", "2024-03-01 10:00:00.123457+00"),
        ("DATE '2024-03-01'", "2024-03-01 00:00:00+00"),
        ("'1990-01-01'", "1990-01-01 00:00:00+00"),
        ("'2100-01-01'", "2100-01-01 00:00:00+00"),
    ],
)
def test_times_are_read_as_utc(said: str, utc: str):
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    query = "SELECT " + ", ".join(f"{value} AS {name}" for name, value in {**GOOD, "time": said}.items())
    types = {row[0]: row[1] for row in con.execute(f"DESCRIBE {query}").fetchall()}
    row = con.execute(
        f"SELECT reason, CAST(time AS VARCHAR) FROM ({check.offered(EVENT, query, types)})"
    ).fetchone()
    assert row == (None, utc)


def test_a_broken_row_keeps_what_was_said_but_not_by_whom():
    row = checked(EVENT, {**GOOD, "price": "'dear'", "time": "NULL::TIMESTAMPTZ", "given_time": "'31.12.24'"})
    assert row["raw"] == '{"id":"e1","time":"31.12.24","kind":"purchase","item":"milk","price":"dear"}'


@pytest.mark.parametrize("contract", [EVENT, ITEM, PERSON])
def test_columns_come_in_the_contracts_order_and_types(contract: Contract):
    con = duckdb.connect()
    rows = con.execute(f"DESCRIBE {check.offered(contract, 'SELECT 1 AS id', {'id': 'INTEGER'})}").fetchall()
    types = {"TIMESTAMPTZ": "TIMESTAMP WITH TIME ZONE"}
    expected = [(f.name, types.get(SQL[f.type], SQL[f.type])) for f in contract.fields]
    assert [(row[0], row[1]) for row in rows] == [
        ("row", "BIGINT"),
        *expected,
        ("reason", "VARCHAR"),
        ("raw", "VARCHAR"),
    ]


@pytest.mark.parametrize("contract", [EVENT, ITEM, PERSON])
def test_every_rule_of_the_table_is_in_the_sql(contract: Contract, tmp_path: Path):
    sql = check.reason(contract, {f.name: "VARCHAR" for f in contract.fields})
    for field in contract.fields:
        assert (f"'{field.name} is missing'" in sql) == field.required
        assert (f"'{field.name} is missing, which" in sql) == bool(field.required_for)
        assert (f"'{field.name} is below" in sql) == (field.minimum is not None)
        assert (f"'{field.name} is above" in sql) == (field.maximum is not None)
        assert (f"'{field.name} is none of" in sql) == bool(field.values)
        assert (f"'{field.name} is not a" in sql) == (field.type != "text")
        assert (f"'{field.name} is longer" in sql) == (field.type == "text" and not field.values)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"id": "'i1'", "price": "-1"}, "price is below 0"),
        ({"id": "'i1'", "in_stock": "2"}, "in_stock is above 1"),
        ({"id": "NULL"}, "id is missing"),
        ({"id": "'i1'", "in_stock": "'1'"}, None),
        ({"id": "'i1'", "hidden": "2"}, "hidden is above 1"),
        ({"id": "'i1'", "hidden": "'yes'"}, "hidden is not a whole number"),
        ({"id": "'i1'", "available_until": "'2200-01-01'"}, "available_until is above 2100-01-01"),
        ({"id": "'i1'", "seller": "repeat('x', 257)"}, "seller is longer than 256 characters"),
        ({"id": "'i1'", "hidden": "0", "seller": "'Acme'", "available_until": "'2026-01-01'"}, None),
    ],
)
def test_items_are_checked_alike(values: dict[str, str], reason: str | None):
    assert checked(ITEM, values)["reason"] == reason
