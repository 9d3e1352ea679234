"""Which file of a day holds which batch: kept beside the landing folder, through kills, rewriting and emptied folders."""

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterfoil.contracts import EVENT, ITEM
from counterfoil.errors import IntegrityError
from counterfoil.importers import open_source
from counterfoil.landing import Landed, Origin, holding, land, origins, part, read_manifest, staging
from counterfoil.landing.origin import holding_items, items_file, place
from counterfoil.settings import Settings
from tests.loop_shop import START

DAY = "2024-01-01"


def row(id: str, kind: str = "purchase", item: str | None = "i1", person: str = "ann", day: int = 0) -> dict:
    about = {"query": "milk"} if kind == "search" else {}
    time = START + timedelta(days=day, hours=9)
    return {
        **dict.fromkeys(EVENT.names),
        "id": id,
        "time": time,
        "person": person,
        "kind": kind,
        "item": item,
        **about,
    }


def brought(settings: Settings, folder: Path, rows: list[dict], items: list[dict] | None = None) -> Landed:
    (folder / "events").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, EVENT.arrow()), folder / "events" / "part-0.parquet")
    if items:
        pq.write_table(pa.Table.from_pylist(items, ITEM.arrow()), folder / "items.parquet")
    return land(open_source("contract", folder), settings)


def records(settings: Settings) -> list[Origin]:
    return origins(settings, read_manifest(settings))


def record(settings: Settings, batch: str) -> Origin:
    [found] = [one for one in records(settings) if one.batch == batch]
    return found


def now(settings: Settings) -> str:
    return read_manifest(settings).days[DAY].sha256


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings(home=home)


def test_a_batch_is_in_the_file_that_it_made_and_in_those_made_of_it(
    settings: Settings, tmp_path: Path
) -> None:
    first = brought(
        settings, tmp_path / "a", [row("1"), row("2", "view"), row("3", "search", None), row("4", day=1)]
    )
    made = now(settings)
    # The first row came before, so that the second batch brought one purchase alone.
    second = brought(settings, tmp_path / "b", [row("1"), row("5", person="bob")])
    told = record(settings, second.batch)
    assert told.days[DAY].before == made and told.days[DAY].sha256 == now(settings)
    assert told.days.keys() == {DAY} and told.days[DAY].kinds == {"purchase": 1}
    assert record(settings, first.batch).days[DAY].kinds == {"purchase": 1, "search": 0, "view": 1}
    assert holding({made}, records(settings), DAY) == {made, now(settings)}
    assert holding({now(settings)}, records(settings), DAY) == {now(settings)}


def test_an_emptied_landing_begins_anew_and_the_records_stay(settings: Settings, tmp_path: Path) -> None:
    brought(settings, tmp_path / "a", [row("1")])
    bad = brought(settings, tmp_path / "b", [row("2")])
    contaminated = now(settings)
    shutil.rmtree(settings.landing)
    land(open_source("contract", tmp_path / "a"), settings)
    brought(settings, tmp_path / "c", [row("3")])
    held = holding({record(settings, bad.batch).days[DAY].sha256}, records(settings), DAY)
    assert held == {contaminated} and now(settings) not in held


def test_what_is_written_anew_without_somebody_holds_what_the_others_brought(
    settings: Settings, tmp_path: Path
) -> None:
    batch = brought(settings, tmp_path / "a", [row("1"), row("2", person="bob")])
    manifest = read_manifest(settings)
    before = now(settings)
    with staging.locked(settings):
        folder = staging.open_stage(settings, "erasure-1")
        held = pq.read_table(settings.landing / part.day_file(DAY))
        kept = held.filter(pa.compute.equal(held["id"], "1"))
        made = part.write_part(kept.to_batches(), staging.staged(folder, part.day_file(DAY)), EVENT.arrow())
        told = replace(
            manifest.batches[0], batch="erasure-1", digest="e" * 64, rows_in=0, landed=0, days=(DAY,)
        )
        what = staging.Commit(batch=told, days={DAY: made}, moves=(part.day_file(DAY),))
        staging.commit(settings, folder, what, lambda _what, _count: None)
    assert now(settings) == made.sha256 != before
    assert record(settings, "erasure-1").days[DAY].kinds == {}
    assert holding({record(settings, batch.batch).days[DAY].sha256}, records(settings), DAY) == {
        before,
        made.sha256,
    }


def test_items_are_kept_that_a_batch_changed(settings: Settings, tmp_path: Path) -> None:
    old, new = ({"id": "i1", "title": "milk", "price": price} for price in (1.0, 9.0))
    same = {"id": "i2", "title": "bread", "price": 2.0}
    brought(settings, tmp_path / "a", [row("1")], [old, same])
    before = read_manifest(settings).items
    later = brought(settings, tmp_path / "b", [row("2")], [new, same])
    told = record(settings, later.batch)
    assert before is not None and told.catalogue is not None and told.catalogue.before == before.sha256
    changed = pq.read_table(place(settings, items_file(told.stem))).to_pylist()
    assert [(one["id"], one["price"]) for one in changed] == [("i1", 9.0)]
    assert holding_items(before.sha256, records(settings)) == {before.sha256, told.catalogue.sha256}


def test_a_commit_of_an_earlier_version_that_was_cut_off_is_finished_and_known_by_its_days_alone(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(staging, "_finish", die)
        brought(settings, tmp_path / "a", [row("1")])
    [commit] = (settings.landing / "staging").glob("*/commit.json")
    plain = orjson.loads(commit.read_bytes())
    del plain["origin"]
    commit.write_bytes(orjson.dumps(plain))
    [batch] = read_manifest(settings).batches
    told = record(settings, batch.batch)
    assert told.known is False and told.days.keys() == {DAY}


def test_a_record_that_is_none_is_said(settings: Settings, tmp_path: Path) -> None:
    batch = brought(settings, tmp_path / "a", [row("1")])
    [path] = settings.batches.glob(f"{batch.batch}.*.json")
    path.write_text("{}")
    with pytest.raises(IntegrityError, match=batch.batch):
        records(settings)
