"""Rows that break the contract: kept with the reason, shown without naming people, landed after a fix."""

import csv
from pathlib import Path

import orjson
import pytest

from counterfoil.errors import ContractError, UnknownError
from counterfoil.importers import open_source
from counterfoil.landing import Quarantined, land, quarantine, quarantined_rows, read_manifest, resubmit
from counterfoil.pseudonym import pseudonym
from counterfoil.settings import Settings
from tests.landing_shop import (
    HEADER,
    bought,
    events_csv,
    hashes,
    landed_rows,
    parquet,
    settings_of,
    source_of,
)

ROWS = [
    bought("good", "2024-03-01"),
    bought("free", "2024-03-01", price=-1),
    bought("late", "in spring", person="bob"),
    ("nobody", "2024-03-02", "", "purchase", "milk", 1, 1),
    bought("free", "2024-03-03", price=-2),
]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path / "home")


@pytest.fixture
def batch(tmp_path: Path, settings: Settings) -> str:
    return land(source_of(tmp_path, "mixed", ROWS), settings).batch


def fixed(path: Path, batch: str, settings: Settings, **changes: dict[str, str]) -> Path:
    """Write the rows in quarantine as a CSV file, changed by id."""
    rows = quarantined_rows(settings, batch).to_pylist()
    names = ["row", *HEADER]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        for row in rows:
            raw = orjson.loads(row["raw"])
            writer.writerow({**raw, "row": row["row"], **changes.get(raw["id"], {})})
    return path


def test_counts_and_reasons_add_up(tmp_path: Path, settings: Settings):
    landed = land(source_of(tmp_path, "mixed", ROWS), settings)
    assert (landed.rows_in, landed.landed, landed.duplicates, landed.quarantined) == (5, 1, 0, 4)
    assert landed.reasons == {"person is missing": 1, "price is below 0": 2, "time is not a time": 1}
    assert quarantine(settings) == [Quarantined(batch=landed.batch, rows=4, reasons=landed.reasons)]


def test_rows_bear_their_number_and_people_their_pseudonym(settings: Settings, batch: str):
    rows = quarantined_rows(settings, batch).to_pylist()
    assert [(r["contract"], r["row"], r["reason"]) for r in rows] == [
        ("event", 2, "price is below 0"),
        ("event", 3, "time is not a time"),
        ("event", 4, "person is missing"),
        ("event", 5, "price is below 0"),
    ]
    raw = orjson.loads(rows[1]["raw"])
    assert raw == {
        "id": "late", "time": "in spring", "kind": "purchase", "item": "milk", "quantity": "1", "price": "2.5",
        "person": pseudonym("bob", settings.pseudonym_key),
    }  # fmt: skip
    assert "bob" not in rows[1]["raw"]


def test_what_passes_after_a_fix_lands_and_leaves(tmp_path: Path, settings: Settings, batch: str):
    table = fixed(
        tmp_path / "fixed.csv", batch, settings, late={"time": "2024-03-09"}, nobody={"person": "eve"}
    )
    landed = resubmit(settings, batch, table)
    assert (landed.rows_in, landed.landed, landed.duplicates, landed.quarantined) == (4, 2, 0, 2)
    assert quarantine(settings) == [Quarantined(batch=batch, rows=2, reasons={"price is below 0": 2})]
    people = {row["id"]: row["person"] for row in landed_rows(settings)}
    key = settings.pseudonym_key
    assert people == {
        "good": pseudonym("ann", key),
        "nobody": pseudonym("eve", key),
        "late": pseudonym("bob", key),
    }
    assert list(read_manifest(settings).days) == ["2024-03-01", "2024-03-02", "2024-03-09"]


def test_the_last_row_takes_the_file_along(tmp_path: Path, settings: Settings, batch: str):
    good = {"time": "2024-03-09", "price": "1", "person": "eve"}
    table = fixed(tmp_path / "fixed.csv", batch, settings, late=good, nobody=good, free=good)
    landed = resubmit(settings, batch, table)
    assert (landed.rows_in, landed.landed, landed.duplicates, landed.quarantined) == (4, 3, 1, 0)
    assert quarantine(settings) == []
    assert read_manifest(settings).rows == 4


def test_submitting_the_same_fix_twice_changes_nothing(tmp_path: Path, settings: Settings, batch: str):
    table = fixed(tmp_path / "fixed.csv", batch, settings, late={"time": "2024-03-09"})
    first = resubmit(settings, batch, table)
    before = hashes(settings)
    again = resubmit(settings, batch, table)
    assert (again.already, again.landed) == (True, first.landed)
    assert hashes(settings) == before


def test_a_fix_of_some_leaves_the_others(tmp_path: Path, settings: Settings, batch: str):
    table = events_csv(
        tmp_path / "one.csv", [(3, *bought("late", "2024-03-09", person="bob"))], ("row", *HEADER)
    )
    assert resubmit(settings, batch, table).landed == 1
    assert [row["row"] for row in quarantined_rows(settings, batch).to_pylist()] == [2, 4, 5]


def test_a_fix_that_breaks_otherwise_shows_the_new_reason(tmp_path: Path, settings: Settings, batch: str):
    table = events_csv(
        tmp_path / "one.csv", [(3, *bought("late", "1066-10-14", person="bob"))], ("row", *HEADER)
    )
    assert resubmit(settings, batch, table).quarantined == 1
    row = quarantined_rows(settings, batch).to_pylist()[1]
    assert (row["row"], row["reason"]) == (3, "time is below 1990-01-01")
    assert orjson.loads(row["raw"])["time"] == "1066-10-14"


def test_without_a_fix_the_same_rows_break_again(settings: Settings, batch: str):
    before = quarantined_rows(settings, batch)
    landed = resubmit(settings, batch)
    assert (landed.rows_in, landed.landed, landed.quarantined) == (4, 0, 4)
    assert quarantined_rows(settings, batch).equals(before)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([(99, *bought("late", "2024-03-09"))], "1 rows are not in quarantine"),
        ([("x", *bought("late", "2024-03-09"))], "1 rows are not in quarantine"),
        ([(3, *bought("late", "2024-03-09")), (3, *bought("late", "2024-03-10"))], "1 come twice"),
    ],
)
def test_a_fix_of_rows_that_are_not_there_is_refused(
    tmp_path: Path, settings: Settings, batch: str, rows, says: str
):
    before = hashes(settings)
    with pytest.raises(ContractError, match=says):
        resubmit(settings, batch, events_csv(tmp_path / "wrong.csv", rows, ("row", *HEADER)))
    assert hashes(settings) == before


def test_a_fix_without_row_numbers_is_refused(tmp_path: Path, settings: Settings, batch: str):
    with pytest.raises(ContractError, match="lacks the column"):
        resubmit(settings, batch, events_csv(tmp_path / "wrong.csv", [bought("late", "2024-03-09")]))


@pytest.mark.parametrize("name", ["nothing-1234", "../manifest", "."])
def test_an_unknown_batch_is_named(settings: Settings, batch: str, name: str):
    with pytest.raises(UnknownError, match=f"there is {batch}"):
        quarantined_rows(settings, name)
    with pytest.raises(UnknownError):
        resubmit(settings, name)


def test_broken_items_and_people_are_kept_apart_from_the_count_of_events(tmp_path: Path, settings: Settings):
    folder = tmp_path / "data"
    parquet(folder / "items.parquet", id=["a", None, "c"], price=[1.0, 2.0, -3.0])
    parquet(folder / "people.parquet", id=["ann", "x" * 200])
    landed = land(open_source("contract", folder), settings)
    assert (landed.rows_in, landed.quarantined, landed.items, landed.people) == (0, 0, 1, 1)
    assert landed.reasons == {
        "item: id is missing": 1,
        "item: price is below 0": 1,
        "person: id is longer than 128 characters": 1,
    }
    raw = quarantined_rows(settings, landed.batch).to_pylist()[2]["raw"]
    assert "xxx" not in raw


def test_lines_that_cannot_be_split_are_kept_by_their_number(tmp_path: Path, settings: Settings):
    path = tmp_path / "torn.csv"
    path.write_bytes(
        b"id,time,person,kind,item\na,2024-03-01,ann,view,x\nb,2024-03-01,ann\nc,2024-03-01,b\xe9a,view,x\nd,2024-03-01,ann,view,x\n"
    )
    landed = land(open_source("contract", path), settings)
    assert (landed.rows_in, landed.landed, landed.quarantined) == (4, 2, 2)
    assert landed.reasons == {
        "line cannot be read: invalid encoding": 1,
        "line cannot be read: missing columns": 1,
    }
    rows = quarantined_rows(settings, landed.batch).to_pylist()
    assert [(r["row"], r["raw"]) for r in rows] == [(3, '{"line":3,"byte":50}'), (4, '{"line":4,"byte":67}')]


def test_unreadable_lines_stay_when_the_rest_is_submitted_again(tmp_path: Path, settings: Settings):
    path = tmp_path / "torn.csv"
    path.write_bytes(
        b"id,time,person,kind,item\na,2024-03-01,ann,view,x\nb,2024-03-01,ann\nc,never,ann,view,x\n"
    )
    batch = land(open_source("contract", path), settings).batch
    table = events_csv(
        tmp_path / "fix.csv",
        [(2, "c", "2024-03-02", "ann", "view", "x")],
        ("row", "id", "time", "person", "kind", "item"),
    )
    assert resubmit(settings, batch, table).landed == 1
    assert [r["reason"] for r in quarantined_rows(settings, batch).to_pylist()] == [
        "line cannot be read: missing columns"
    ]
