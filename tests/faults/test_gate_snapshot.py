"""Planted faults in a whole snapshot, alone and against what the champion learned from."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from counterfoil.errors import GateError, GateFault
from counterfoil.types import Verdict
from flows.gate import Policy, require, validate_snapshot

START_US = int(datetime(2026, 1, 5, tzinfo=UTC).timestamp()) * 1_000_000
DAY_US = 86_400_000_000
PEOPLE, ITEMS = 150, 120
Tables = dict[str, pa.Table]
Mutate = Callable[[Tables], Tables]


def as_of(days: int) -> datetime:
    return datetime(2026, 1, 5, tzinfo=UTC) + timedelta(days=days)


def shop(seed: int, days: int, rows_a_day: int = 120) -> Tables:
    """Return a dataset folder's tables: `days` days of views, carts and purchases with stable tastes and prices."""
    rng = np.random.default_rng(seed)
    n = rng.poisson(rows_a_day * days)
    hour = np.clip(rng.normal(15, 4, n), 0, 23.99)
    time_us = START_US + rng.integers(0, days, n) * DAY_US + (hour * 3.6e9).astype(np.int64)
    item = (rng.zipf(1.3, n) % ITEMS).astype(np.int32)
    order = np.argsort(time_us)
    price = np.exp(rng.normal(2.5, 0.8, n)).astype(np.float32)
    columns = {
        "person": rng.integers(0, PEOPLE, n).astype(np.int32),
        "item": item,
        "time": pa.array(time_us[order]).cast(pa.timestamp("us", tz="UTC")),
        "kind": rng.choice(["view", "cart", "purchase"], n, p=[0.7, 0.2, 0.1]).tolist(),
        "quantity": rng.integers(1, 5, n).astype(np.float32),
        "price": price,
    }
    items = {
        "id": [f"item{i}" for i in range(ITEMS)],
        "category": [f"shelf{i % 6} > {i % 30}" for i in range(ITEMS)],
    }
    people = {"id": [f"person{p}" for p in range(PEOPLE)], "segment": ["a"] * PEOPLE}
    return {"interactions": pa.table(columns), "items": pa.table(items), "people": pa.table(people)}


def write(folder: Path, tables: Tables) -> Path:
    folder.mkdir(parents=True)
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet")
    return folder


def column(table: str, name: str, change: Callable[[pa.ChunkedArray], pa.ChunkedArray | pa.Array]) -> Mutate:
    """Return what replaces one column of one table."""

    def mutate(tables: Tables) -> Tables:
        old = tables[table]
        return tables | {table: old.set_column(old.schema.get_field_index(name), name, change(old[name]))}

    return mutate


def one(table: str, name: str, value: object) -> Mutate:
    """Return what replaces one value, in row 10, of a column."""

    def change(old: pa.ChunkedArray) -> pa.Array:
        return pa.array([value if row == 10 else v for row, v in enumerate(old.to_pylist())], old.type)

    return column(table, name, change)


def lately(name: str, change: Callable[[pa.ChunkedArray], pa.ChunkedArray | pa.Array]) -> Mutate:
    """Return what changes a column in the last four weeks of 60 days."""

    def mutate(tables: Tables) -> Tables:
        late = pc.greater_equal(
            tables["interactions"]["time"], pa.scalar(as_of(32), pa.timestamp("us", tz="UTC"))
        )
        return column("interactions", name, lambda old: pc.if_else(late, change(old), old))(tables)

    return mutate


FUTURE = as_of(60) + timedelta(days=1)
# name -> (what is done to a clean snapshot of 60 days, the critical expectations that must fail: these and no others)
FAULTS: dict[str, tuple[Mutate, set[str]]] = {
    "missing column": (
        lambda t: t | {"interactions": t["interactions"].drop_columns(["price"])},
        {"price present", "price filled_as_reference", "price shift"},
    ),
    "wrong type": (column("interactions", "item", lambda c: c.cast(pa.string())), {"item typed"}),
    "null person": (one("interactions", "person", None), {"person not_null"}),
    "person beyond the table": (one("interactions", "person", PEOPLE), {"person known"}),
    "item beyond the table": (one("interactions", "item", ITEMS), {"item known"}),
    "item below zero": (one("interactions", "item", -1), {"item in_bounds"}),
    "unknown kind": (one("interactions", "kind", "buy"), {"kind in_set"}),
    "infinite price": (one("interactions", "price", float("-inf")), {"price finite"}),
    "NaN quantity": (one("interactions", "quantity", float("nan")), {"quantity finite"}),
    "negative price": (one("interactions", "price", -1.0), {"price in_bounds"}),
    "future time": (one("interactions", "time", FUTURE), {"time not_in_future"}),
    "constant person": (
        column("interactions", "person", lambda c: pa.array([3] * len(c), pa.int32())),
        {"person varies"},
    ),
    "all-null quantity": (
        column("interactions", "quantity", lambda c: pa.nulls(len(c), c.type)),
        {"quantity filled_as_reference"},
    ),
    "no interactions": (
        lambda t: t | {"interactions": t["interactions"].slice(0, 0)},
        {
            "rows_at_least",
            "not_shrunk",
            "volume",
            "person varies",
            "item varies",
            "time varies",
            "time fresh",
            "price filled_as_reference",
            "quantity filled_as_reference",
            "kind shift",
            "price shift",
        },
    ),
    "item twice": (one("items", "id", "item0"), {"items.id unique"}),
    "person without id": (one("people", "id", None), {"people.id not_null"}),
    "half the catalogue": (
        lambda t: (
            column("interactions", "item", lambda c: pa.array(c.to_numpy() % 60))(t)
            | {"items": t["items"].slice(0, 60)}
        ),
        {"items not_shrunk"},
    ),
    "prices in cents, lately": (
        lately("price", lambda c: pc.multiply(c, pa.scalar(100, pa.float32()))),
        {"price shift"},
    ),
    "views become purchases, lately": (
        lately("kind", lambda c: pc.if_else(pc.equal(c, "view"), "purchase", c)),
        {"kind shift"},
    ),
}


def failed(verdict: Verdict, severity: str) -> set[str]:
    checks = (c for c in verdict.checks if not c.success and c.severity == severity)
    return {f"{c.column} {c.expectation}" if c.column else c.expectation for c in checks}


def validate(folder: Path, reference: Path | None, days: int = 60) -> Verdict:
    return validate_snapshot(folder, subject="dataset-1", sha256="ab", as_of=as_of(days), reference=reference)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("reference") / "dataset", shop(1, 45))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_by_its_expectation_and_by_no_other(
    tmp_path: Path, reference: Path, fault: str
) -> None:
    mutate, expected = FAULTS[fault]
    verdict = validate(write(tmp_path / "now", mutate(shop(2, 60))), reference)
    assert failed(verdict, "critical") == expected
    assert (verdict.passed, verdict.faulted) == (False, False)
    with pytest.raises(GateError, match="dataset-1"):
        require([verdict])


@pytest.mark.parametrize("seed", range(3))
def test_clean_snapshots_raise_nothing(tmp_path: Path, seed: int) -> None:
    first = write(tmp_path / "first", shop(100 + seed, 45))
    verdict = validate(write(tmp_path / "now", shop(seed, 60)), first)
    assert failed(verdict, "critical") | failed(verdict, "warning") == set()
    require([verdict])


def test_the_first_run_has_no_reference_and_a_smaller_suite(tmp_path: Path) -> None:
    verdict = validate(write(tmp_path / "now", shop(3, 60)), None)
    assert verdict.passed
    assert verdict.suite.startswith("snapshot-first#")
    assert not [c for c in verdict.checks if "shift" in c.expectation]
    require([verdict])


def test_a_stale_snapshot_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "now", shop(3, 60))
    assert failed(validate(folder, None, days=62), "critical") == set()
    assert failed(validate(folder, None, days=64), "critical") == {"time fresh"}


def test_another_shelf_and_other_hours_only_warn(tmp_path: Path, reference: Path) -> None:
    def nightly(times: pa.ChunkedArray) -> pa.Array:
        midnight = pc.floor_temporal(times, unit="day")
        return pc.add(midnight, pa.scalar(3 * 3_600_000_000, pa.duration("us")))

    def shelf_nought(items: pa.ChunkedArray) -> pa.Array:
        return pa.array((items.to_numpy() // 6 * 6).astype(np.int32))

    tables = lately("item", shelf_nought)(lately("time", nightly)(shop(2, 60)))
    verdict = validate(write(tmp_path / "now", tables), reference)
    assert verdict.passed
    assert {"hour shift_closely", "category shift_closely"} <= failed(verdict, "warning")


def test_a_gap_of_days_warns(tmp_path: Path) -> None:
    tables = shop(2, 60)
    times = tables["interactions"]["time"]
    early = pc.less(times, pa.scalar(as_of(20), pa.timestamp("us", tz="UTC")))
    late = pc.greater_equal(times, pa.scalar(as_of(24), pa.timestamp("us", tz="UTC")))
    tables["interactions"] = tables["interactions"].filter(pc.or_(early, late))
    verdict = validate(write(tmp_path / "now", tables), None)
    assert failed(verdict, "warning") == {"time no_gap"}
    (check,) = (c for c in verdict.checks if c.expectation == "no_gap")
    assert check.observed == "4.00 days"


def test_a_broken_file_is_refused_and_a_broken_reference_is_a_fault(tmp_path: Path, reference: Path) -> None:
    folder = write(tmp_path / "now", shop(2, 60))
    people = folder / "people.parquet"
    people.write_bytes(people.read_bytes()[:50])
    found = failed(validate(folder, reference), "critical")
    assert {"people readable", "people rows_at_least", "person known"} <= found
    with pytest.raises(GateFault, match="reference"):
        validate(reference, tmp_path / "nowhere", days=45)


def test_samples_are_days_and_never_people(tmp_path: Path, reference: Path) -> None:
    verdict = validate(write(tmp_path / "now", one("interactions", "kind", "buy")(shop(2, 60))), reference)
    (check,) = (c for c in verdict.checks if not c.success)
    assert (check.unexpected_count, check.samples) == (1, ("2026-01-05",))


def test_the_policy_sets_the_bounds(tmp_path: Path, reference: Path) -> None:
    folder = write(tmp_path / "now", shop(2, 60))
    strict = Policy(snapshot_rows_floor=1_000_000, psi_critical=1e-6, psi_warning=1e-6)
    verdict = validate_snapshot(
        folder, subject="s", sha256="ab", as_of=as_of(60), reference=reference, policy=strict
    )
    assert failed(verdict, "critical") == {"rows_at_least", "price shift"}
