"""Landing: exactly once, in days, by time and id; duplicates and people; the manifest over it."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterfoil import canonical
from counterfoil.contracts import EVENT, PERSON
from counterfoil.errors import ConflictError, IntegrityError
from counterfoil.importers import open_source
from counterfoil.landing import DayPart, land, read_manifest
from counterfoil.landing.part import write_part
from counterfoil.landing.staging import locked
from counterfoil.pseudonym import pseudonym
from tests.landing_shop import bought, hashes, landed_rows, parquet, settings_of, source_of, table_rows

ROWS = [
    bought("b", "2024-03-02T10:00:00Z"),
    bought("a", "2024-03-02T10:00:00Z", person="bob"),
    bought("c", "2024-03-01T23:59:59.999999Z", item="bread"),
]


def test_events_lie_in_their_day_by_time_and_id(tmp_path: Path):
    settings = settings_of(tmp_path / "home")
    landed = land(source_of(tmp_path, "first", ROWS), settings)
    assert (landed.rows_in, landed.landed, landed.duplicates, landed.quarantined) == (3, 3, 0, 0)
    assert landed.days == ("2024-03-01", "2024-03-02")
    assert [row["id"] for row in landed_rows(settings)] == ["c", "a", "b"]
    day = settings.landing / "events/day=2024-03-02/events.parquet"
    assert pq.read_schema(day).remove_metadata().equals(EVENT.arrow())


def test_a_landed_row_holds_what_came_in(tmp_path: Path):
    settings = settings_of(tmp_path / "home")
    land(source_of(tmp_path, "first", ROWS[:1]), settings)
    assert landed_rows(settings) == [
        {
            "id": "b",
            "time": datetime(2024, 3, 2, 10, tzinfo=UTC),
            "person": pseudonym("ann", settings.pseudonym_key),
            "kind": "purchase",
            "session": None,
            "item": "milk",
            "query": None,
            "position": None,
            "dwell_ms": None,
            "quantity": 1.0,
            "price": 2.5,
            "channel": None,
            "receipt": None,
        }
    ]


def test_importing_twice_changes_nothing(tmp_path: Path):
    settings = settings_of(tmp_path / "home")
    source = source_of(tmp_path, "first", ROWS)
    first = land(source, settings)
    before = hashes(settings)
    again = land(source, settings)
    assert (first.already, again.already) == (False, True)
    assert hashes(settings) == before
    assert (again.batch, again.rows_in, again.landed, again.days) == (first.batch, 3, 3, first.days)


def test_late_events_land_in_their_own_day_and_change_the_digest(tmp_path: Path):
    settings = settings_of(tmp_path / "home")
    land(source_of(tmp_path, "first", ROWS), settings)
    before = read_manifest(settings)
    late = land(source_of(tmp_path, "late", [bought("z", "2024-03-01T08:00:00Z")]), settings)
    after = read_manifest(settings)
    assert late.days == ("2024-03-01",)
    assert [row["id"] for row in landed_rows(settings)] == ["z", "c", "a", "b"]
    assert after.digest != before.digest
    assert after.days["2024-03-02"] == before.days["2024-03-02"]
    assert after.days["2024-03-01"].rows == 2


def test_the_first_of_a_batch_wins(tmp_path: Path):
    settings = settings_of(tmp_path / "home")
    rows = [
        bought("a", "2024-03-02", item="first"),
        bought("a", "2024-03-01", item="second"),
        bought("a", "2024-03-02", item="third"),
    ]
    landed = land(source_of(tmp_path, "twice", rows), settings)
    assert (landed.rows_in, landed.landed, landed.duplicates) == (3, 1, 2)
    assert [row["item"] for row in landed_rows(settings)] == ["first"]
    assert landed.days == ("2024-03-02",)


def test_what_landed_wins_over_what_comes_also_in_another_day(tmp_path: Path):
    settings = settings_of(tmp_path / "home")
    land(source_of(tmp_path, "first", ROWS), settings)
    before = hashes(settings)
    rows = [
        bought("a", "2025-01-01", item="other"),
        bought("c", "2024-03-01T23:59:59.999999Z"),
        bought("d", "2024-03-03"),
    ]
    landed = land(source_of(tmp_path, "second", rows), settings)
    assert (landed.rows_in, landed.landed, landed.duplicates) == (3, 1, 2)
    assert landed.days == ("2024-03-03",)
    unchanged = {
        name: code for name, code in hashes(settings).items() if name in before and name != "manifest.json"
    }
    assert unchanged == {name: code for name, code in before.items() if name != "manifest.json"}


def test_a_broken_row_does_not_hide_a_sound_one_of_the_same_id(tmp_path: Path):
    settings = settings_of(tmp_path / "home")
    landed = land(source_of(tmp_path, "mixed", [bought("a", "never"), bought("a", "2024-03-01")]), settings)
    assert (landed.landed, landed.duplicates, landed.quarantined) == (1, 0, 1)


def test_only_duplicates_change_no_day(tmp_path: Path):
    settings = settings_of(tmp_path / "home")
    land(source_of(tmp_path, "first", ROWS), settings)
    digest = read_manifest(settings).digest
    landed = land(source_of(tmp_path, "reversed", ROWS[::-1]), settings)
    assert (landed.landed, landed.duplicates, landed.days, landed.already) == (0, 3, (), False)
    assert read_manifest(settings).digest == digest


@pytest.mark.parametrize("threads", [1, 2])
def test_two_homes_hold_the_same_bytes(tmp_path: Path, threads: int):
    rows = [
        bought(f"e{i * 7919 % 20011}", f"2024-03-{i % 28 + 1:02}T{i % 24:02}:00:00Z", person=f"p{i % 97}")
        for i in range(20_000)
    ]
    source = source_of(tmp_path, "many", rows)
    one, other = settings_of(tmp_path / "one", threads=1), settings_of(tmp_path / "other", threads=threads)
    land(source, one)
    land(source, other)
    assert hashes(one) == hashes(other)
    assert len(hashes(one)) == 29


def test_one_import_or_two_give_the_same_days(tmp_path: Path):
    rows = [bought(f"e{i}", f"2024-03-0{i % 5 + 1}T{i % 24:02}:00:00Z") for i in range(100)]
    one, two = settings_of(tmp_path / "one"), settings_of(tmp_path / "two")
    land(source_of(tmp_path, "all", rows), one)
    land(source_of(tmp_path, "odd", rows[1::2]), two)
    land(source_of(tmp_path, "even", rows[::2]), two)
    assert read_manifest(one).days == read_manifest(two).days
    assert read_manifest(one).digest == read_manifest(two).digest


def test_the_manifest_names_the_bytes(tmp_path: Path):
    settings = settings_of(tmp_path / "home")
    land(source_of(tmp_path, "first", ROWS), settings)
    manifest = read_manifest(settings)
    assert list(manifest.days) == ["2024-03-01", "2024-03-02"]
    assert manifest.rows == 3
    for day, part in manifest.days.items():
        path = settings.landing / f"events/day={day}/events.parquet"
        assert part == DayPart(pq.read_metadata(path).num_rows, canonical.file_digest(path))
    assert [b.name for b in manifest.batches] == ["first.csv in the contract's columns"]


def test_nothing_landed_is_an_empty_manifest(tmp_path: Path):
    manifest = read_manifest(settings_of(tmp_path / "home"))
    assert (manifest.days, manifest.items, manifest.people, manifest.rows) == ({}, None, None, 0)


def test_a_manifest_that_is_none_is_refused(tmp_path: Path):
    settings = settings_of(tmp_path / "home")
    settings.landing.mkdir(parents=True)
    (settings.landing / "manifest.json").write_text("[]")
    with pytest.raises(IntegrityError, match="not a manifest"):
        read_manifest(settings)


def test_history_that_was_altered_is_not_built_upon(tmp_path: Path):
    settings = settings_of(tmp_path / "home")
    land(source_of(tmp_path, "first", ROWS), settings)
    day = settings.landing / "events/day=2024-03-01/events.parquet"
    shutil.copy(settings.landing / "events/day=2024-03-02/events.parquet", day)
    with pytest.raises(IntegrityError, match="not the file that landed"):
        land(source_of(tmp_path, "late", [bought("z", "2024-03-01")]), settings)
    assert not list((settings.landing / "staging").iterdir())


def test_two_imports_at_once_are_refused(tmp_path: Path):
    settings = settings_of(tmp_path / "home")
    with locked(settings), pytest.raises(ConflictError, match="another import"):
        land(source_of(tmp_path, "first", ROWS), settings)
    assert land(source_of(tmp_path, "first", ROWS), settings).landed == 3


def test_people_are_pseudonyms_in_events_and_people(tmp_path: Path):
    folder = tmp_path / "data"
    parquet(
        folder / "events.parquet",
        id=["1"],
        time=[datetime(2024, 3, 1)],
        person=["annabella"],
        kind=["view"],
        item=["x"],
    )
    parquet(folder / "people.parquet", id=["annabella", "bob"], country=["DE", "FR"])
    settings = settings_of(tmp_path / "home", pseudonym_key="secret")
    landed = land(open_source("contract", folder), settings)
    anna, bob = pseudonym("annabella", "secret"), pseudonym("bob", "secret")
    assert landed.people == 2
    assert landed_rows(settings)[0]["person"] == anna
    assert {row["id"]: row["country"] for row in table_rows(settings, "people")} == {anna: "DE", bob: "FR"}
    assert pq.read_schema(settings.landing / "people.parquet").remove_metadata().equals(PERSON.arrow())
    everything = b"".join(p.read_bytes() for p in settings.landing.rglob("*") if p.is_file())
    assert b"annabella" not in everything


def test_a_later_import_of_items_wins_by_id(tmp_path: Path):
    settings = settings_of(tmp_path / "home")
    parquet(tmp_path / "one/items.parquet", id=["b", "a"], title=["old b", "old a"], price=[1.0, 2.0])
    parquet(tmp_path / "two/items.parquet", id=["c", "b", "b"], title=["new c", "older b", "new b"])
    assert land(open_source("contract", tmp_path / "one"), settings).items == 2
    first = read_manifest(settings).items
    assert land(open_source("contract", tmp_path / "two"), settings).items == 2
    rows = table_rows(settings, "items")
    assert [(r["id"], r["title"], r["price"]) for r in rows] == [
        ("a", "old a", 2.0),
        ("b", "new b", None),
        ("c", "new c", None),
    ]
    assert first == DayPart(2, first.sha256)
    assert read_manifest(settings).items == DayPart(
        3, canonical.file_digest(settings.landing / "items.parquet")
    )


def test_progress_tells_steps_and_rows(tmp_path: Path):
    told: list[tuple[str, int]] = []
    land(
        source_of(tmp_path, "first", ROWS),
        settings_of(tmp_path / "home"),
        lambda stage, rows: told.append((stage, rows)),
    )
    assert told[:3] == [("read events", 3), ("pseudonyms", 2), ("duplicates", 0)]
    assert [rows for stage, rows in told if stage == "write"] == [1, 3]
    assert told[-1] == ("done", 0)


def test_row_groups_do_not_depend_on_the_size_of_batches(tmp_path: Path):
    schema = pa.schema([("id", pa.int64())])
    table = pa.table({"id": range(150_000)}, schema)
    parts = [
        write_part(table.to_batches(max_chunksize=size), tmp_path / f"{size}.parquet", schema)
        for size in (1000, 7777, 150_000)
    ]
    assert len({part.sha256 for part in parts}) == 1
    metadata = pq.read_metadata(tmp_path / "1000.parquet")
    assert [metadata.row_group(i).num_rows for i in range(3)] == [65_536, 65_536, 18_928]


def test_leftovers_of_a_failed_import_are_gone(tmp_path: Path):
    settings = settings_of(tmp_path / "home")

    def fail(stage: str, rows: int) -> None:
        if stage == "duplicates":
            raise RuntimeError("stop here")

    with pytest.raises(RuntimeError, match="stop here"):
        land(source_of(tmp_path, "first", ROWS), settings, fail)
    assert hashes(settings) == {}
    assert land(source_of(tmp_path, "first", ROWS), settings).landed == 3
