"""Planted features that see the future: the snapshot's verdict catches each, and nothing learns from it."""

import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from counterfoil.errors import ConflictError, GateError
from counterfoil.types import Dataset, Verdict
from feature_repo.build import partition
from flows import verbs
from flows.gate import Policy, validate_snapshot
from flows.place import Place
from tests.loop_shop import END, land_shop, place_of, small_case, turn, write_shop

Plant = Callable[[Path], None]
HOLDOUT = END - timedelta(days=7)


@pytest.fixture
def place(turned: Path, tmp_path: Path) -> Iterator[Place]:
    copied = place_of(shutil.copytree(turned, tmp_path / "home"))
    yield copied
    copied.catalog.engine.dispose()


def from_later(view: str) -> Plant:
    """Return what gives the training cut-off the rows of a week later, when its labels had already happened."""

    def plant(folder: Path) -> None:
        path = folder / f"{view}_features.parquet"
        table = pq.read_table(path)
        stamps = pc.unique(table["moment"]).sort()
        cut, later = stamps[0], stamps[1]
        moved = table.filter(pc.equal(table["moment"], later))
        moved = moved.set_column(0, "moment", pa.repeat(cut, len(moved)))
        rest = table.filter(pc.not_equal(table["moment"], cut))
        pq.write_table(pa.concat_tables([moved, rest]), path)

    return plant


def labels_as_a_feature(folder: Path) -> None:
    """Add what an item will sell as one more feature."""
    about = orjson.loads((folder / "dataset.json").read_bytes())
    about["item_names"].append("sold_next_week")
    (folder / "dataset.json").write_bytes(orjson.dumps(about))
    table = pq.read_table(folder / "item_features.parquet")
    table = table.append_column("sold_next_week", table["popularity_7d"])
    pq.write_table(table, folder / "item_features.parquet")


def one_window_shifted(folder: Path) -> None:
    """Count one more sale, as a window does whose end is an hour late, for every item that was sold again."""
    table = pq.read_table(folder / "item_features.parquet")
    sold = pc.greater(table["popularity_7d"], 0)
    more = pc.if_else(
        sold, pc.add(table["popularity_7d"], pa.scalar(1, pa.float32())), table["popularity_7d"]
    )
    place = table.schema.get_field_index("popularity_7d")
    pq.write_table(table.set_column(place, "popularity_7d", more), folder / "item_features.parquet")


def gone(folder: Path) -> None:
    (folder / "pair_features.parquet").unlink()


# name -> (what is planted, the critical expectations that must fail: these and no others)
PLANTS: dict[str, tuple[Plant, set[str]]] = {
    "people of later": (from_later("person"), {"person_features knows_no_future"}),
    "items of later": (from_later("item"), {"item_features knows_no_future"}),
    "pairs of later": (from_later("pair"), {"pair_features knows_no_future"}),
    "a window that ends late": (one_window_shifted, {"item_features knows_no_future"}),
    "the label itself": (labels_as_a_feature, {"item_features explained"}),
    "no features": (
        gone,
        {"person_features traced", "item_features traced"}
        | {f"{view}_features readable" for view in ("person", "item", "pair")},
    ),
}


def judged(place: Place, plant: Plant | None = None, policy: Policy | None = None) -> Verdict:
    """Validate a copy of the dataset in which something was planted."""
    (dataset,) = place.catalog.find(Dataset)
    folder = shutil.copytree(place.opened(dataset.address, dataset.sha256), place.settings.home / "copy")
    if plant:
        plant(folder)
    return validate_snapshot(
        folder,
        subject="s",
        sha256="ab",
        as_of=END,
        reference=None,
        landing=place.settings.landing,
        policy=policy,
    )


def failed(verdict: Verdict) -> set[str]:
    return {
        f"{c.column} {c.expectation}" for c in verdict.checks if not c.success and c.severity == "critical"
    }


@pytest.mark.parametrize("name", PLANTS)
def test_a_feature_that_sees_the_future_is_caught(place: Place, name: str) -> None:
    plant, expected = PLANTS[name]
    verdict = judged(place, plant)
    assert (verdict.passed, failed(verdict)) == (False, expected)


@pytest.mark.parametrize("traced", [1, 1000])
def test_features_of_the_past_raise_nothing(place: Place, traced: int) -> None:
    verdict = judged(place, policy=Policy(traced=traced))
    assert verdict.passed and failed(verdict) == set()
    counted = {check.column: check.observed for check in verdict.checks if check.expectation == "traced"}
    assert counted == {
        "person_features": "2" if traced == 1 else "300",
        "item_features": "2" if traced == 1 else "80",
    }


def test_the_loop_stops_before_anything_learns_from_the_future(place: Place, tmp_path: Path) -> None:
    """The next turn finds a partition whose rows were computed a day too late; Feast hands them on in good faith."""
    land_shop(place.settings, write_shop(tmp_path / "day", days=range(24, 25)))
    tomorrow = END + timedelta(days=1)
    turn(place, small_case(), tomorrow)  # builds the partitions of tomorrow's moments
    champion, days = place.catalog.champion("small"), verbs.days(place, tomorrow)
    target = partition(place.settings.features, "item", HOLDOUT + timedelta(days=1))
    stale = pq.read_table(target)
    fresh = pq.read_table(partition(place.settings.features, "item", tomorrow))
    fresh = fresh.set_column(
        fresh.schema.get_field_index("event_timestamp"),
        "event_timestamp",
        pa.repeat(stale["event_timestamp"][0], len(fresh)),
    )
    pq.write_table(fresh, target)
    case = small_case(features=small_case().features, name="second")
    with pytest.raises(GateError, match="item_features knows_no_future"):
        turn(place, case, tomorrow)
    assert verbs.days(place, tomorrow) == days and place.catalog.champion("small") == champion
    assert place.catalog.champion("second") is None


def test_a_landing_that_went_on_is_said_and_not_called_a_leak(place: Place, tmp_path: Path) -> None:
    """A line of an earlier day comes in between the snapshot and its inspection."""
    (dataset,) = place.catalog.find(Dataset)
    more = write_shop(tmp_path / "more", days=range(3, 4), people=151)
    land_shop(place.settings, more)
    with pytest.raises(ConflictError, match="data landed since dataset-"):
        verbs.inspect(place, dataset, None)
