"""The simulated past: same bytes for the same seed, valid by the contracts, realistic, and true to its planted truths."""

import hashlib
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterfoil.contracts import EVENT, ITEM, PERSON, Contract
from counterfoil.errors import InputError, UnknownError
from counterfoil.simulator import ShopConfig, Truth, simulate, wording
from counterfoil.simulator.calendar import CHUNK_EVENTS, chunks

SMALL = ShopConfig(seed=7, people=60, items=120, days=12, events=6_000)
YEAR = ShopConfig(seed=11, people=2_000, items=1_500, days=365, events=400_000, drift_day=200)


@pytest.fixture(scope="module")
def year(tmp_path_factory) -> Path:
    return simulate(YEAR, tmp_path_factory.mktemp("year") / "shop").folder


@pytest.fixture
def ask(year):
    """Run SQL over the year's events `e`, with the numbers of day, person and item as columns d, p and i."""
    base = duckdb.connect()
    base.execute("SET TimeZone = 'UTC'; SET threads = 1")
    base.execute(
        "CREATE VIEW e AS SELECT *, datediff('day', TIMESTAMPTZ '2025-01-01 00:00:00+00', time) d, "
        f"substr(person, 2)::INT p, substr(item, 2)::INT i FROM '{year}/events/*.parquet'"
    )
    return lambda sql: base.execute(sql).fetchall()


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def breaches(contract: Contract, table: pa.Table) -> list[str]:
    """Return what in a table breaks its contract, by an own reading of the fields."""
    base = duckdb.connect()
    base.register("t", table)
    kind = "kind" if contract is EVENT else "NULL"
    rules = [(f"count(*) - count(DISTINCT {contract.key})", "key twice")]
    for field in contract.fields:
        name = field.name
        if field.required:
            rules.append((f"count(*) FILTER ({name} IS NULL)", f"{name} missing"))
        if field.required_for:
            rules.append(
                (f"count(*) FILTER ({name} IS NULL AND {kind} IN {field.required_for})", f"{name} missing")
            )
        if field.minimum is not None:
            low, high = (
                f"'{bound}'" if field.type == "time" else str(bound)
                for bound in (field.minimum, field.maximum)
            )
            rules.append(
                (f"count(*) FILTER (NOT ({name} BETWEEN {low} AND {high}))", f"{name} out of bounds")
            )
        if field.type == "float":
            rules.append((f"count(*) FILTER (NOT isfinite({name}))", f"{name} not finite"))
        if field.type == "text":
            rules.append(
                (f"count(*) FILTER (length({name}) NOT BETWEEN 1 AND {field.max_length})", f"{name} length")
            )
        if field.values:
            rules.append((f"count(*) FILTER ({name} NOT IN {field.values})", f"{name} unknown"))
    found = base.execute(f"SELECT {', '.join(sql for sql, _ in rules)} FROM t").fetchone()
    return [says for (_, says), count in zip(rules, found, strict=True) if count]


def test_same_config_gives_the_same_bytes_and_another_seed_others(tmp_path):
    one = digests(simulate(SMALL, tmp_path / "one").folder)
    two = digests(simulate(SMALL, tmp_path / "two").folder)
    other = digests(
        simulate(ShopConfig(seed=8, people=60, items=120, days=12, events=6_000), tmp_path / "three").folder
    )
    assert one == two
    assert set(one) == set(other)
    same = {name for name in one if one[name] == other[name]}
    assert same == {"truth/bad_events.parquet"}  # empty in both, for no fault was asked for


def test_every_row_keeps_its_contract(year):
    assert breaches(EVENT, pq.read_table(year / "events")) == []
    assert breaches(ITEM, pq.read_table(year / "items.parquet")) == []
    assert breaches(PERSON, pq.read_table(year / "people.parquet")) == []
    for name, contract in (("items", ITEM), ("people", PERSON)):
        assert pq.read_schema(year / f"{name}.parquet").equals(contract.arrow())
    assert pq.read_schema(year / "events" / "part-00000.parquet").equals(EVENT.arrow())


def test_the_own_reading_of_contracts_finds_breaches():
    row = dict.fromkeys(EVENT.names) | {
        "id": "a", "person": "u1", "kind": "buy", "time": datetime(1980, 1, 1, tzinfo=UTC), "price": float("inf"),
    }  # fmt: skip
    found = breaches(EVENT, pa.Table.from_pylist([row, row], EVENT.arrow()))
    assert found == [
        "key twice",
        "time out of bounds",
        "kind unknown",
        "price out of bounds",
        "price not finite",
    ]


def test_ids_are_numbered_and_sizes_are_as_asked(year, ask):
    truth = Truth.load(year)
    ((count, low, high, people, items),) = ask(
        "SELECT count(*), min(substr(id, 5)::BIGINT), max(substr(id, 5)::BIGINT), count(DISTINCT p), count(DISTINCT i) FROM e"
    )
    assert ask("SELECT count(*) FROM e WHERE NOT starts_with(id, 's11:')") == [(0,)]
    assert (low, high, truth.events) == (0, count - 1, count)
    assert abs(count / YEAR.events - 1) < 0.03
    assert 1_600 < people <= 2_000 and 1_400 < items <= 1_500
    assert ask("SELECT min(d), max(d) FROM e") == [(0, 364)]


def test_the_funnel_narrows_and_activity_and_popularity_have_heavy_tails(ask):
    count = dict(ask("SELECT kind, count(*) FROM e GROUP BY kind"))
    assert count["view"] > 4 * count["click"]
    assert count["click"] > count["cart"] > 1.2 * count["purchase"] > 5 * count["rating"] > 0
    assert count["impression"] > 4 * count["click"] and count["search"] > 0 and count["favourite"] > 0
    for column in ("i", "p"):
        ((top, bottom),) = ask(
            "SELECT sum(n) FILTER (r <= 0.1 * c) / sum(n), sum(n) FILTER (r > 0.5 * c) / sum(n) FROM (SELECT count(*) n, "
            f"row_number() OVER (ORDER BY count(*) DESC) r, count(*) OVER () c FROM e WHERE kind = 'view' GROUP BY {column})"
        )
        assert 0.3 < top < 0.8 and bottom < 0.2


def test_prices_are_log_normal_within_a_category(year):
    items = pq.read_table(year / "items.parquet").to_pandas()
    shelf = items["category"].str.rsplit(" > ", n=1).str[0]
    log_price = np.log(items["price"])
    spread = log_price.groupby(shelf).std()
    rest = (log_price - log_price.groupby(shelf).transform("mean")) / log_price.groupby(shelf).transform(
        "std"
    )
    assert len(spread) == 24 and spread.between(0.3, 0.6).all()
    assert abs(rest.skew()) < 0.2 and abs(rest.kurt()) < 0.4


def test_weeks_and_years_have_seasons(ask):
    weekday = dict(ask("SELECT dayofweek(time), count(*) FROM e GROUP BY ALL"))
    assert weekday[6] > 1.2 * weekday[1] and weekday[0] > 1.05 * weekday[2]
    month = dict(ask("SELECT month(time), count(*) / count(DISTINCT d) FROM e GROUP BY ALL"))
    assert month[12] > 1.4 * month[6]


def test_nobody_and_nothing_appears_before_its_arrival(year, ask):
    truth = Truth.load(year)
    first_person = dict(ask("SELECT p, min(d) FROM e GROUP BY p"))
    first_item = dict(ask("SELECT i, min(d) FROM e WHERE i IS NOT NULL GROUP BY i"))
    assert all(day >= truth.person_arrival_P[person] for person, day in first_person.items())
    assert all(day >= truth.item_arrival_I[item] for item, day in first_item.items())
    assert (truth.person_arrival_P > 0).sum() == 400 and (truth.item_arrival_I > 0).sum() == 150
    since = pq.read_table(year / "items.parquet")["available_from"].to_pylist()
    assert since[-1] == YEAR.start + timedelta(days=int(truth.item_arrival_I[-1])) and since[0] < YEAR.start


def test_some_items_end_after_the_past_and_some_are_hidden_and_all_have_a_seller(year):
    rows = pq.read_table(year / "items.parquet", columns=["seller", "available_until", "hidden"]).to_pylist()
    over = YEAR.day_start(YEAR.days)
    ends = [row["available_until"] for row in rows if row["available_until"] is not None]
    assert 0 < len(ends) < 0.05 * len(rows) and over <= min(ends) < max(ends) < over + timedelta(days=30)
    assert 0 < sum(row["hidden"] for row in rows) < 0.03 * len(rows)
    sold = Counter(row["seller"] for row in rows)
    assert (
        None not in sold and len(sold) == len(wording.SELLERS) and max(sold.values()) > 2 * min(sold.values())
    )


def test_no_list_shows_an_item_twice_and_positions_have_no_gaps(ask):
    lists = (
        "SELECT session, time, query, count(*) n, count(DISTINCT i) items, max(position) last "
        "FROM e WHERE kind = 'impression' GROUP BY ALL"
    )
    assert ask(f"SELECT count(*) FROM ({lists}) WHERE n != items OR n != last") == [(0,)]


def test_position_bias_is_recovered_from_lists_in_random_order(year, ask):
    truth = Truth.load(year)
    shares = ask(
        "SELECT count(*) FILTER (kind = 'click') / count(*) FILTER (kind = 'impression') FROM e "
        "WHERE query IS NULL AND position IS NOT NULL GROUP BY position ORDER BY position"
    )
    estimate = np.array(shares)[:, 0] / shares[0][0]
    assert np.abs(estimate - truth.examination).max() < 0.03
    assert np.allclose(truth.examination[[0, 1, 9]], [1, 0.5743, 0.1585], atol=1e-4)


def test_weighing_clicks_by_the_inverse_of_the_bias_recovers_attraction_where_raw_clicks_do_not(year, ask):
    truth = Truth.load(year)
    shown = np.array(
        ask(
            "SELECT a.p, a.i, a.d, a.position, (b.id IS NOT NULL)::INT FROM e a LEFT JOIN e b ON b.kind = 'click' AND "
            "a.session = b.session AND a.i = b.i AND b.query IS NULL WHERE a.kind = 'impression' AND a.query IS NULL"
        )
    )
    person, item, day, position, clicked = shown.T
    attraction = truth.attraction(person, item, day)
    inverse = clicked / truth.examination[position - 1]
    assert abs(inverse.mean() / attraction.mean() - 1) < 0.03
    for low, high in ((0.05, 0.2), (0.4, 0.6), (0.8, 0.95)):
        band = (attraction >= low) & (attraction < high)
        assert abs(inverse[band].mean() / attraction[band].mean() - 1) < 0.1
        assert clicked[band].mean() < 0.6 * attraction[band].mean()


def change_points(ask) -> np.ndarray:
    """Return, for each day, how much the mix of bought and viewed shelves differs between 20 days before and after it."""
    rows = np.array(ask("SELECT d, i, count(*) FROM e WHERE kind = 'view' GROUP BY ALL"))
    table = np.zeros((365, 1_500))
    table[rows[:, 0], rows[:, 1]] = rows[:, 2]
    table = table[:, np.argsort(-table.sum(axis=0))[:100]]
    sums = np.vstack([np.zeros(100), np.cumsum(table, axis=0)])
    change = np.zeros(365)
    for day in range(20, 345):
        before, after = sums[day] - sums[day - 20], sums[day + 20] - sums[day]
        change[day] = np.abs(before / before.sum() - after / after.sum()).sum()
    return change


def test_drift_shows_on_its_day(year, ask):
    change = change_points(ask)
    assert change.argmax() == 200
    assert change.max() > 2 * np.delete(change, range(180, 221)).max()
    assert Truth.load(year).drift_time == datetime(2025, 7, 20, tzinfo=UTC)


def test_tastes_turn_with_the_drift(year):
    truth = Truth.load(year)
    items = np.arange(1_500)
    before, same, after = (truth.true_preference([5], items, day) for day in (10, 199, 200))
    assert np.array_equal(before, same)
    assert np.corrcoef(before, after)[0, 1] < 0.9


def test_what_people_open_is_what_they_truly_like(year, ask):
    truth = Truth.load(year)
    pairs = np.array(ask("SELECT p, i, d FROM e WHERE kind = 'view'"))
    opened = truth.attraction(pairs[:, 0], pairs[:, 1], pairs[:, 2]).mean()
    shuffled = truth.attraction(np.roll(pairs[:, 0], 1_000), pairs[:, 1], pairs[:, 2]).mean()
    assert opened > 1.4 * shuffled


def test_repurchase_cycles_are_acted_out_in_their_rhythm(year, ask):
    cycles = Truth.load(year).cycles().to_pandas().drop_duplicates(["person", "item"], keep=False)
    bought = ask(
        "SELECT person, item, array_agg(epoch(time) / 86400 ORDER BY time) FROM e WHERE kind = 'purchase' GROUP BY ALL"
    )
    days = {(person, item): np.array(times) for person, item, times in bought}
    gaps = [
        np.median(np.diff(days[person, item])) / period
        for person, item, period in zip(cycles["person"], cycles["item"], cycles["period_days"], strict=True)
        if len(days.get((person, item), ())) >= 8
    ]
    assert len(gaps) > 100 and abs(np.median(gaps) - 1) < 0.05


def test_a_burst_of_fashion_comes_on_its_day(year, ask):
    truth = Truth.load(year)
    weight = dict(ask("SELECT i, count(*) FROM e WHERE kind = 'view' GROUP BY i"))
    bursts = orjson.loads((year / "truth" / "truth.json").read_bytes())["bursts"]
    burst = max((b for b in bursts if 20 < b["day"] < 340), key=lambda b: weight.get(int(b["item"][1:]), 0))
    ((near, far),) = ask(
        f"SELECT count(*) FILTER (abs(d - {burst['day']}) <= 4) / 9, count(*) FILTER (abs(d - {burst['day']}) > 15) / 334 "
        f"FROM e WHERE kind = 'view' AND item = '{burst['item']}'"
    )
    assert truth.item_arrival_I[int(burst["item"][1:])] <= burst["day"] and near > 4 * far


def test_ideal_lists_are_best_first_and_hold_only_what_is_there(year):
    truth = Truth.load(year)
    ideal = truth.ideal_list("u3", 0, 25)
    likes = truth.true_preference("u3", ideal, 0)
    assert len(set(ideal)) == 25 and (np.diff(likes) <= 0).all()
    assert truth.item_arrival_I[truth.items(ideal)].max() == 0
    assert likes[0] == truth.true_preference([3], np.flatnonzero(truth.item_arrival_I == 0), 0).max()
    assert truth.ideal_list(3, 0, 25) == ideal


def test_true_preference_is_the_dot_product_of_the_saved_vectors(year):
    people, items = (np.load(year / "truth" / f"{name}_vectors.npy") for name in ("person", "item"))
    assert people.shape == (2, 2_000, 11) and items.shape == (1_500, 11)
    found = Truth.load(year).true_preference(["u4", "u9"], ["i2", "i1400"], np.array([0, 300]))
    assert np.allclose(found, [people[0, 4] @ items[2], people[1, 9] @ items[1400]], rtol=1e-5)


def test_queries_have_a_relevance(year, ask):
    truth = Truth.load(year)
    titles = pq.read_table(year / "items.parquet")["title"].to_pylist()
    traits = next(title.split()[1] for title in titles if "dog food" in title)
    grade = truth.relevance(f"{traits} dog food", np.arange(1_500))
    assert set(grade) == {0, 1, 2}
    assert grade.max() == grade[next(n for n, title in enumerate(titles) if "dog food" in title)]
    assert set(truth.relevance("dog food", np.arange(1_500))) == {0, 2}
    assert all("dog food" in titles[item] for item in np.flatnonzero(grade))
    assert [bool(n) for n in grade] == [" dog food " in f"{title} " for title in titles]
    clicked = ask("SELECT query, i FROM e WHERE kind = 'click' AND query IS NOT NULL LIMIT 2000")
    assert np.mean([truth.relevance(query, [item])[0] > 0 for query, item in clicked]) > 0.8
    with pytest.raises(UnknownError, match="nobody in this shop asks for 'submarine'"):
        truth.relevance("submarine", ["i1"])


def test_names_that_there_are_not_are_refused(year):
    truth = Truth.load(year)
    for people in (["u2000"], ["x1"], ["u01"], [-1]):
        with pytest.raises(UnknownError, match=r"no person .* in this shop; there are u0 to u1999"):
            truth.true_preference(people, ["i1"], 0)
    with pytest.raises(InputError, match=r"holds no truth/truth\.json"):
        Truth.load(year / "events")


def test_truth_keeps_the_config(year):
    truth = Truth.load(year)
    assert truth.config == YEAR and truth.faults == ()


def test_a_busy_day_is_cut_into_blocks_of_people(tmp_path):
    config = ShopConfig(seed=1, people=3_000, items=200, days=1, events=int(1.2 * CHUNK_EVENTS))
    parts = list(chunks(config))
    assert [(p.first_day, p.block, p.blocks) for p in parts] == [(0, 0, 2), (0, 1, 2)]
    simulate(config, tmp_path / "shop")
    events = pq.read_table(tmp_path / "shop" / "events")
    assert abs(len(events) / config.events - 1) < 0.03
    assert len(events["id"].unique()) == len(events)
    assert pq.ParquetFile(tmp_path / "shop" / "events" / "part-00000.parquet").num_row_groups == 2


def test_chunks_cover_every_day_once_whatever_the_size():
    for config in (SMALL, YEAR, ShopConfig.sized(100_000_000)):
        days = [day for chunk in chunks(config) if chunk.block == 0 for day in chunk.days]
        assert days == list(range(config.days))


PEAK = """
import sys, re
from pathlib import Path
from counterfoil.simulator import ShopConfig, simulate
simulate(ShopConfig(people=2_000, items=1_000, days=60, events=int(sys.argv[1])), Path(sys.argv[2]))
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="peak memory is read from /proc/self/status"
)
def test_memory_is_bounded_whatever_the_number_of_events(tmp_path):
    peak_kb = []
    for events in (200_000, 1_000_000):
        command = [sys.executable, "-c", PEAK, str(events), str(tmp_path / str(events))]
        peak_kb.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    assert peak_kb[1] - peak_kb[0] < 80_000 and peak_kb[1] < 500_000


def test_progress_is_told_and_rows_are_sorted_by_time(tmp_path):
    told: list[tuple[int, int]] = []
    done = simulate(SMALL, tmp_path / "shop", lambda *so_far: told.append(so_far))
    assert told == [(done.events, 6_000)]
    times = pq.read_table(done.parts[0])["time"].cast(pa.int64()).to_numpy()
    assert (np.diff(times) >= 0).all()


def test_a_shop_is_replaced_but_nothing_else_is(tmp_path):
    folder = tmp_path / "shop"
    simulate(SMALL, folder)
    first = digests(folder)
    (tmp_path / ".shop.partial" / "events").mkdir(parents=True)  # what a killed run leaves
    (tmp_path / ".shop.partial" / "events" / "part-00000.parquet").write_bytes(b"half")
    simulate(SMALL, folder)
    assert digests(folder) == first
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something else than a simulated shop"):
        simulate(SMALL, folder)
    assert (folder / "notes.txt").read_text() == "mine"
    with pytest.raises(InputError, match="is a file"):
        simulate(SMALL, folder / "notes.txt")


def test_impossible_shops_are_refused_with_every_reason():
    with pytest.raises(InputError) as refused:
        ShopConfig(
            people=1,
            days=5,
            drift_day=9,
            faults=("gremlin", "outage", "outage"),
            start=datetime(2025, 1, 1, 3, tzinfo=UTC),
        )
    said = str(refused.value)
    for part in (
        "people is 1 but",
        "drift_day is 9 but there are days 0 to 4",
        "midnight",
        "'gremlin' is unknown",
        "named twice",
    ):
        assert part in said


@pytest.mark.parametrize("config", [
    ShopConfig(people=10, items=20, days=1, events=100),
    ShopConfig(people=10, items=20, days=2, events=100, cold_item_share=0.9, cold_person_share=0.9, drift_day=0),
    ShopConfig(people=500, items=25, days=400, events=2_000, tastes=2, list_length=1, drift_strength=0, drift_day=399),
    ShopConfig(people=20, items=9_000, days=3, events=5_000, list_length=40, examination_power=0),
], ids=["least", "cold", "long", "wide"])  # fmt: skip
def test_shops_at_the_edges_are_valid(config, tmp_path):
    simulate(config, tmp_path / "shop")
    events = pq.read_table(tmp_path / "shop" / "events")
    assert len(events) > 20 and breaches(EVENT, events) == []
    assert breaches(ITEM, pq.read_table(tmp_path / "shop" / "items.parquet")) == []


def test_drift_strength_zero_changes_nothing(tmp_path):
    still = ShopConfig(seed=7, people=60, items=120, days=12, events=6_000, drift_day=6, drift_strength=0)
    one, two = simulate(SMALL, tmp_path / "one"), simulate(still, tmp_path / "two")
    assert pq.read_table(one.folder / "events").equals(pq.read_table(two.folder / "events"))
