"""Feast's traps, one by one: what the stock part does, and that ours does not. When a stock half fails, Feast has mended it.

The stock halves are why docs/decisions/0003-features.md says what it says; whoever raises Feast's version reads them first.
"""

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterfoil.settings import Settings
from feature_repo.build import build
from feature_repo.online import OnlineFeatures, apply, materialise
from feature_repo.repo import open_store
from tests.feature_shop import at, bought, land

feast = pytest.importorskip("feast")
PROJECT_ROOT = Path(__file__).parents[2]
OURS = "feature_repo.online_store.NewestSqliteOnlineStore"
TTL = timedelta(days=2)


@pytest.fixture(autouse=True)
def closed_engine() -> Iterator[None]:
    """Close the engine that the stock parts leave open in the process."""
    yield
    import ibis

    if ibis.options.default_backend is not None:
        ibis.options.default_backend.disconnect()
        ibis.options.default_backend = None


def open_plain(
    folder: Path, *, online: str = "sqlite", offline: str = "duckdb", registry: str = "sql", **more: Any
) -> Any:
    """Open a feature store in a folder, with the parts that are asked for."""
    folder.mkdir(parents=True, exist_ok=True)
    path = f"sqlite:///{folder / 'registry.sqlite'}" if registry == "sql" else str(folder / "registry.db")
    config = feast.RepoConfig(
        project="traps",
        provider="local",
        registry={"registry_type": registry, "path": path, **more},
        offline_store={"type": offline},
        online_store={"type": online, "path": str(folder / "online.sqlite")},
        entity_key_serialization_version=3,
    )
    return feast.FeatureStore(config=config)


def view(folder: Path, name: str = "taste", ttl: timedelta = TTL) -> list[Any]:
    """Define one float feature `x` of an entity `k` over `<folder>/rows.parquet`."""
    from feast.types import Float32, String

    entity = feast.Entity(name="k", join_keys=["k"], value_type=feast.ValueType.STRING)
    source = feast.FileSource(
        name=f"{name}_rows",
        path=str(folder / "rows.parquet"),
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
    )
    fields = [feast.Field(name="k", dtype=String), feast.Field(name="x", dtype=Float32)]
    return [
        entity,
        source,
        feast.FeatureView(name=name, entities=[entity], ttl=ttl, schema=fields, source=source),
    ]


def write(folder: Path, rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    """Write rows (k, event time, created, x) as the source, and return them."""
    stamp = pa.timestamp("us", tz="UTC")
    types = [("k", pa.string()), ("event_timestamp", stamp), ("created", stamp), ("x", pa.float32())]
    columns = [
        pa.array(column, kind) for column, (_, kind) in zip(zip(*rows, strict=True), types, strict=True)
    ]
    table = pa.table(dict(zip([name for name, _ in types], columns, strict=True)))
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / "rows.parquet")
    return table.to_pandas()


def read(store: Any, key: str = "k1") -> Any:
    return store.get_online_features(features=["taste:x"], entity_rows=[{"k": key}]).to_dict()["x"][0]


ROWS = [("k1", at(10), at(10), 1.0), ("k2", at(20), at(20), 2.0)]
# k1 at a tie, twice; k2 before its only row; k1 long after; nobody
ASKED = [("k1", at(10)), ("k1", at(10)), ("k2", at(15)), ("k1", at(20)), ("nobody", at(10))]


def historical(folder: Path, offline: str) -> list[float]:
    write(folder, ROWS)
    store = open_plain(folder, offline=offline)
    store.apply(view(folder))
    asked = pd.DataFrame(ASKED, columns=["k", "event_timestamp"])
    answer = store.get_historical_features(entity_df=asked, features=["taste:x"]).to_df()
    return answer["x"].tolist()


def test_dask_drops_and_collapses_rows_and_duckdb_does_not(tmp_path: Path) -> None:
    ours = historical(tmp_path / "duckdb", "duckdb")
    assert sorted(map(str, ours)) == ["1.0", "1.0", "nan", "nan", "nan"]
    theirs = historical(tmp_path / "dask", "dask")
    assert len(theirs) < len(ASKED)


def applied_at_once(folder: Path, registry: str) -> int:
    """Apply six views from six stores at the same moment; return how many the registry holds afterwards."""
    open_plain(folder, registry=registry).apply(view(folder, "first"))
    stores = [open_plain(folder, registry=registry) for _ in range(6)]
    gate = threading.Barrier(len(stores))

    def one(number: int) -> None:
        gate.wait()
        stores[number].apply(view(folder, f"v{number}"))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(stores))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(open_plain(folder, registry=registry).list_feature_views()) - 1


def test_the_sql_registry_keeps_what_is_applied_at_once(tmp_path: Path) -> None:
    write(tmp_path, ROWS)
    assert applied_at_once(tmp_path, "sql") == 6


def test_the_file_registry_loses_what_is_applied_at_once(tmp_path: Path) -> None:
    for attempt in range(5):
        folder = tmp_path / str(attempt)
        write(folder, ROWS)
        if applied_at_once(folder, "file") < 6:
            return
    pytest.fail("the file registry lost nothing in five rounds: Feast may have mended it")


@pytest.mark.parametrize(("online", "kept"), [("sqlite", 1.0), (OURS, 2.0)])
def test_an_older_row_overwrites_a_newer_one_in_the_stock_store_alone(
    tmp_path: Path, online: str, kept: float
) -> None:
    store = open_plain(tmp_path, online=online)
    store.apply(view(tmp_path))
    newer, older = (
        write(tmp_path, [("k1", at(20), at(20), 2.0)]),
        write(tmp_path, [("k1", at(10), at(30), 1.0)]),
    )
    store.write_to_online_store("taste", newer)
    store.write_to_online_store("taste", older)
    assert read(store) == kept


def indexes(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "online.sqlite")) as conn:
        return [name for (name,) in conn.execute("SELECT name FROM sqlite_master WHERE type = 'index'")]


def test_the_stock_store_has_a_second_index_that_ours_drops_and_never_makes(tmp_path: Path) -> None:
    """Of the key alone, with which the primary key begins: whoever writes to a new key pays for both."""
    open_plain(tmp_path / "stock").apply(view(tmp_path / "stock"))
    assert len(indexes(tmp_path / "stock")) == 2
    write(tmp_path / "stock", ROWS)
    store = open_plain(tmp_path / "stock", online=OURS)
    store.apply(view(tmp_path / "stock"))
    store.write_to_online_store("taste", write(tmp_path / "stock", ROWS))
    assert len(indexes(tmp_path / "stock")) == 1 and read(store, "k2") == 2.0
    fresh = open_plain(tmp_path / "fresh", online=OURS)
    fresh.apply(view(tmp_path / "fresh"))
    fresh.apply([*view(tmp_path / "fresh"), *view(tmp_path / "fresh", "more")[1:]])
    assert len(indexes(tmp_path / "fresh")) == 2  # of two tables


def test_at_one_event_time_the_row_created_last_wins_and_an_equal_one_is_written_again(
    tmp_path: Path,
) -> None:
    store = open_plain(tmp_path, online=OURS)
    store.apply(view(tmp_path))
    step = timedelta(microseconds=1)  # the stock store cuts to whole seconds
    seen = []
    for created, x in ((at(20), 1.0), (at(20) + step, 2.0), (at(20), 3.0), (at(20) + step, 4.0)):
        store.write_to_online_store("taste", write(tmp_path, [("k1", at(10), created, x)]))
        seen.append(read(store))
    assert seen == [1.0, 2.0, 2.0, 4.0]


def test_a_materialise_of_feasts_own_is_guarded_as_well(tmp_path: Path) -> None:
    """Somebody may type `feast materialize`: the guard sits in the store, not in our function."""
    store = open_plain(tmp_path, online=OURS)
    store.apply(view(tmp_path, ttl=timedelta(days=400)))
    write(tmp_path, [("k1", at(10), at(10), 1.0), ("k2", at(10), at(10), 5.0)])
    newer = pd.DataFrame({"k": ["k1"], "event_timestamp": [at(20)], "created": [at(20)], "x": [2.0]})
    store.write_to_online_store("taste", newer)
    store.materialize(at(0), at(15), disable_event_timestamp=False)
    assert (read(store, "k1"), read(store, "k2")) == (2.0, 5.0)


def leave_materialising(registry: Path, name: str) -> None:
    """Leave a view as a job does that was killed while it materialised."""
    from feast.protos.feast.core.FeatureView_pb2 import FeatureView, FeatureViewState

    with closing(sqlite3.connect(registry)) as conn, conn:
        [(row,)] = conn.execute(
            "SELECT feature_view_proto FROM feature_views WHERE feature_view_name = ?", (name,)
        )
        proto = FeatureView.FromString(row)
        proto.meta.state = FeatureViewState.MATERIALIZING
        conn.execute(
            "UPDATE feature_views SET feature_view_proto = ? WHERE feature_view_name = ?",
            (proto.SerializeToString(), name),
        )


def test_serving_stops_while_a_stock_registry_says_materialising_and_ours_goes_on(tmp_path: Path) -> None:
    answers = {}
    for name, more in (("stock", {}), ("ours", {"serve_features_while_materializing": True})):
        store = open_plain(tmp_path / name, online=OURS, **more)
        store.apply(view(tmp_path / name))
        store.write_to_online_store("taste", write(tmp_path / name, ROWS))
        leave_materialising(tmp_path / name / "registry.sqlite", "taste")
        store = open_plain(tmp_path / name, online=OURS, **more)  # a refresh is none while another one runs
        try:
            answers[name] = read(store)
        except ValueError as fault:
            answers[name] = str(fault)
    assert "MATERIALIZING" in answers["stock"]
    assert answers["ours"] == 1.0


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    """A home in which one person's rows are built and written at day 10."""
    settings = Settings(home=tmp_path / "home", feature_ttl_days=35)
    land(settings.landing, [bought(at(1), "ann", "ale"), bought(at(5), "ann", "ale")], [{"id": "ale"}])
    build(settings.landing, settings.features, at(10))
    apply(settings)
    materialise(settings, at(10))
    return settings


def test_a_view_that_a_killed_job_left_materialising_is_served_and_written(home: Settings) -> None:
    leave_materialising(home.features / "registry.sqlite", "person")
    assert open_store(home).get_feature_view("person").state.name == "MATERIALIZING"
    online = OnlineFeatures(home)
    assert online.person("ann", at(10)).features["baskets"] == 2.0
    build(home.landing, home.features, at(11))
    assert materialise(home, at(11)) == 1
    assert online.person("ann", at(11)).event_time == at(11)
    apply(home)  # and the definitions can be applied again


def test_late_rows_never_reach_the_stock_store_and_reach_ours(tmp_path: Path, home: Settings) -> None:
    stock = open_plain(tmp_path / "stock")
    stock.apply(view(tmp_path / "stock", ttl=timedelta(days=400)))
    write(tmp_path / "stock", [("k1", at(10), at(10), 1.0)])
    stock.materialize(at(0), at(20))
    write(tmp_path / "stock", [("k1", at(10), at(10), 1.0), ("k1", at(15), at(25), 99.0)])
    stock.materialize_incremental(at(30))
    assert read(stock) == 1.0  # offline says 99

    online = OnlineFeatures(home)
    land(home.landing, [bought(at(3), "ann", "bun")], [{"id": "ale"}])
    build(home.landing, home.features, at(10))
    materialise(home, at(10))
    assert online.person("ann", at(10)).features["baskets"] == 3.0


def test_feast_serves_rows_past_their_time_to_live_and_we_do_not(home: Settings) -> None:
    answer = open_store(home).get_online_features(
        features=["person:baskets"], entity_rows=[{"person": "ann"}]
    )
    assert answer.to_dict()["baskets"] == [2.0]  # years after day 10, with a time to live of 35 days
    online = OnlineFeatures(home)
    assert not online.person("ann", at(45)).expired
    assert online.person("ann", at(45, 1)).expired


TZ_SCRIPT = """
import sys
from pathlib import Path
from counterfoil.settings import Settings
from feature_repo import offline
from feature_repo.build import build
from feature_repo.online import OnlineFeatures, apply, materialise
from tests.faults.test_feast_traps import OURS, ROWS, open_plain, view, write
from tests.feature_shop import at
settings, folder = Settings(home=Path(sys.argv[1])), Path(sys.argv[2])
if sys.argv[3] == "write":
    for name, online in (("stock", "sqlite"), ("ours", OURS)):
        store = open_plain(folder / name, online=online)
        store.apply(view(folder / name))
        store.write_to_online_store("taste", write(folder / name, ROWS))
    print("fresh" if build(settings.landing, settings.features, at(10)).fresh else "kept")
    materialise(settings, at(10))
    frames = offline.frames_at(settings, [at(10)], ["ann"], ["ale"], store=apply(settings))
    print(frames["person"]["recency_days"][0], frames["pair"]["times_bought"][0], frames["person"]["moment"][0])
"""


def in_zone(zone: str, *arguments: str) -> str:
    """Run the script in a process of another time zone; zones by their rule, so that no database is needed."""
    environment = {**os.environ, "TZ": zone, "PYTHONPATH": str(PROJECT_ROOT)}
    command = [sys.executable, "-c", TZ_SCRIPT, *arguments]
    done = subprocess.run(
        command, env=environment, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_time_zone_of_a_process_moves_the_stock_store_and_not_ours(
    tmp_path: Path, home: Settings
) -> None:
    """Written by a process in New York, read by one in UTC."""
    out = in_zone("EST5EDT", str(home.home), str(tmp_path), "write")
    assert out.splitlines() == ["kept", "5.0 2.0 2024-01-11 00:00:00+00:00"]
    assert OnlineFeatures(home).person("ann", at(10)).event_time == at(10)
    times = {}
    for name, online in (("stock", "sqlite"), ("ours", OURS)):
        answer = open_plain(tmp_path / name, online=online).get_online_features(
            features=["taste:x"], entity_rows=[{"k": "k1"}]
        )
        times[name] = answer.to_dict(include_event_timestamps=True)["x__ts"][0]
    assert times["ours"] == at(10).timestamp()
    assert times["stock"] == at(10).timestamp() + 5 * 3600
