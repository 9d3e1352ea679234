"""The transform on hand-written histories: literal values, one person against all, what counts and what does not."""

import time
from datetime import timedelta, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterfoil.errors import InputError
from feature_repo import build as building
from feature_repo.build import build, partition
from feature_repo.transforms import (
    DAY_US,
    ITEM_FEATURES,
    PAIR_FEATURES,
    PERSON_FEATURES,
    pair,
    pair_features,
)
from tests.feature_shop import at, bought, land, shop

AS_OF = at(100)
ITEMS = (
    {"id": "ale", "category": "drinks > beer", "price": 9.0},
    {"id": "bun", "category": "bakery > sweet"},
    {"id": "cod", "category": None, "price": 4.0},
    {"id": "dip", "category": "drinks > other", "available_from": at(101)},
    {"id": "egg", "category": "bakery > eggs", "price": 3.0, "available_from": at(40)},
)
# Ann: three visits; the last (day 93) lies exactly on the border of seven days. Bob: one line, and one that he gave back.
EVENTS = (
    bought(at(10, 9), "ann", "ale", session="a1", price=2.0),
    bought(at(10, 9), "ann", "bun", session="a1", price=1.0, quantity=3.0),
    bought(at(80, 18), "ann", "ale", session="a2", price=4.0, quantity=2.0),
    bought(at(93), "ann", "ale", session="a3", price=3.0),
    bought(at(99, 12), "bob", "ale", price=None, quantity=None),
    bought(at(99, 13), "bob", "bun", price=8.0, quantity=-1.0),
    bought(at(99, 13), "bob", "cod", price=8.0, kind="view"),
    bought(at(100), "cid", "ale", price=1.0),
)


def frame(path: Path, key: str, value: str) -> dict[str, object]:
    """Return the one row of a partition in which `key` is `value`."""
    [row] = pq.read_table(path, filters=[(key, "=", value)]).to_pylist()
    return row


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("features")
    build(land(out / "landing", EVENTS, ITEMS), out, AS_OF)
    return out


def test_a_person_at_a_moment(built: Path) -> None:
    ann = frame(partition(built, "person", AS_OF), "person", "ann")
    expected = {
        "recency_days": 7.0,
        "tenure_days": 89.625,
        "baskets": 3.0,
        "baskets_7d": 1.0,
        "baskets_28d": 2.0,
        "baskets_90d": 3.0,
        "quantity_7d": 1.0,
        "quantity_28d": 3.0,
        "quantity_90d": 7.0,
        "spend_7d": 3.0,
        "spend_28d": 11.0,
        "spend_90d": 16.0,
        "basket_size": pytest.approx(4 / 3),
        "basket_interval_days": pytest.approx(82.625 / 2),
        "distinct_items": 2.0,
        "repurchase_share": 0.5,
        "mean_price": 2.5,
        "price_p25": 1.75,
        "price_p50": 2.5,
        "price_p75": 3.25,
        # 2024-01-11 is a Thursday, 2024-03-21 a Thursday, 2024-04-03 a Wednesday.
        "weekend_share": 0.0,
        "morning_share": pytest.approx(2 / 3),
        "evening_share": pytest.approx(1 / 3),
        "top_category_share": 0.75,
    }
    assert {name: ann[name] for name in PERSON_FEATURES} == expected
    assert ann["affinity_categories"] == ["drinks", "bakery"]
    assert ann["affinity_shares"] == [0.75, 0.25]
    assert ann["history_items"] == ["ale", "bun", "ale", "ale"]
    assert ann["history_quantities"] == [1.0, 3.0, 2.0, 1.0]
    assert ann["history_times"] == [
        int(moment.timestamp()) * 1_000_000 for moment in (at(10, 9), at(10, 9), at(80, 18), at(93))
    ]
    assert ann["event_timestamp"] == AS_OF


def test_what_was_given_back_or_only_seen_is_not_taken(built: Path) -> None:
    bob = frame(partition(built, "person", AS_OF), "person", "bob")
    assert (bob["history_items"], bob["history_quantities"]) == (["ale"], [1.0])
    assert (bob["baskets"], bob["quantity_7d"], bob["spend_7d"], bob["mean_price"]) == (1.0, 1.0, 0.0, None)
    assert bob["basket_interval_days"] is None


def test_the_moment_itself_is_not_before(built: Path) -> None:
    people = pq.read_table(partition(built, "person", AS_OF))["person"].to_pylist()
    assert people == ["ann", "bob"]


def test_an_item_at_a_moment(built: Path) -> None:
    ale = frame(partition(built, "item", AS_OF), "item", "ale")
    expected = {
        "popularity_7d": 2.0,
        "popularity_28d": 3.0,
        "popularity_90d": 4.0,
        "buyers_7d": 2.0,
        "buyers_28d": 2.0,
        "buyers_90d": 2.0,
        "buyers": 2.0,
        "trend": pytest.approx(np.log(3 / 1.75)),
        "repurchase_rate": 0.5,
        "age_days": 89.625,
        "last_sold_days": 0.5,
        "price": 3.0,
        "price_position": 0.0,
        "category_code": 2.0,
        "category_popularity_28d": 3.0,
        "category_share": 1.0,
    }
    assert {name: ale[name] for name in ITEM_FEATURES} == expected


def test_items_that_nobody_bought_are_known_from_when_they_can_be_had(built: Path) -> None:
    rows = {row["item"]: row for row in pq.read_table(partition(built, "item", AS_OF)).to_pylist()}
    assert sorted(rows) == ["ale", "bun", "cod", "egg"]  # dip comes tomorrow
    egg = rows["egg"]
    assert (egg["age_days"], egg["last_sold_days"], egg["buyers"], egg["price"]) == (60.0, None, 0.0, 3.0)
    assert (rows["bun"]["price_position"], egg["price_position"]) == (0.0, 1.0)  # paid 1.0 against list 3.0
    assert (rows["cod"]["category_code"], rows["cod"]["category_share"]) == (None, None)


def test_a_pair_at_a_moment(built: Path) -> None:
    table = pq.read_table(partition(built, "pair", AS_OF))
    assert table.select(["person", "item"]).to_pylist() == [
        {"person": "ann", "item": "ale"},
        {"person": "ann", "item": "bun"},
        {"person": "bob", "item": "ale"},
    ]
    ale = frame(partition(built, "pair", AS_OF), "person", "bob")
    assert ale["times_bought"] == 1.0
    row = table.to_pylist()[0]
    assert {name: row[name] for name in PAIR_FEATURES} == {
        "times_bought": 3.0,
        "days_since_last": 7.0,
        "days_since_first": 89.625,
        "mean_interval_days": 41.3125,
        "overdue": pytest.approx(7 / 41.3125),
        "quantity_sum": 4.0,
        "share_of_baskets": 1.0,
    }


def test_an_item_that_is_sold_but_not_in_the_catalogue_is_still_known(tmp_path: Path) -> None:
    build(land(tmp_path / "landing", [bought(at(1), "ann", "ghost")], ()), tmp_path, at(2))
    ghost = frame(partition(tmp_path, "item", at(2)), "item", "ghost")
    assert (ghost["buyers"], ghost["age_days"], ghost["category_code"], ghost["price"]) == (
        1.0,
        1.0,
        None,
        None,
    )


def test_pairs_by_hand() -> None:
    item = np.array(["tea", "jam", "tea", "tea", "jam", "jam"])
    day = np.array([0, 0, 10, 30, 30, 30])
    quantity = np.array([1, 2, 1, 4, 1, 1], np.float32)
    pairs = pair_features(item, day * DAY_US, quantity, 40 * DAY_US)
    assert pairs.item_R.tolist() == ["jam", "tea"]
    # jam twice at day 30 is one basket
    jam = [2.0, 10.0, 40.0, 30.0, 10 / 30, 4.0, 2 / 3]
    tea = [3.0, 10.0, 40.0, 15.0, 10 / 15, 6.0, 1.0]
    np.testing.assert_array_equal(pairs.feature_RF, np.array([jam, tea], np.float32))


@settings(deadline=None)  # the first one compiles
@given(
    st.lists(
        st.tuples(
            st.integers(0, 6),
            st.integers(0, 400),
            st.sampled_from([1.0, 2.0, 0.1, 7.25, 1 / 3]),
            st.booleans(),
        ),
        max_size=80,
    ),
    st.integers(-10, 900),
)
def test_one_person_by_a_loop_is_the_same_to_the_bit(
    lines: list[tuple[int, int, float, bool]], now: int
) -> None:
    pair.compile()
    lines.sort(key=lambda line: line[1])
    item_N = np.array([item for item, *_ in lines], np.int32)
    # some minutes, so that intervals come out below a day and above
    time_N = np.array([hours * DAY_US // 24 + late * 60_000_000 for _, hours, _, late in lines], np.int64)
    time_N.sort()
    quantity_N = np.array([quantity for *_, quantity, _ in lines], np.float32)
    now_us = now * DAY_US // 24
    quick = pair_features(item_N, time_N, quantity_N, now_us)
    plain = pair_features(item_N.astype(np.int64), time_N, quantity_N, now_us)
    assert quick.item_R.tolist() == plain.item_R.tolist()
    assert quick.person_R.tolist() == plain.person_R.tolist()
    assert quick.feature_RF.shape == plain.feature_RF.shape
    assert quick.feature_RF.tobytes() == plain.feature_RF.tobytes()


def test_what_was_bought_once_has_no_interval_and_minutes_make_no_habit() -> None:
    item, minute_us = np.array([7, 9, 9]), 60_000_000
    pairs = pair_features(item, np.array([0, 0, minute_us]), np.ones(3, np.float32), 5 * DAY_US + minute_us)
    assert np.isnan(pairs.column("mean_interval_days")[0])
    assert np.isnan(pairs.column("overdue")[0])
    assert pairs.column("overdue")[1] == 5.0  # in intervals of a day, not of a minute


def test_a_clock_behind_the_last_event_gives_no_negative_days() -> None:
    pairs = pair_features(np.array([1]), np.array([DAY_US]), np.ones(1, np.float32), 0)
    assert pairs.column("days_since_last").tolist() == [0.0]


def test_an_empty_history_has_no_pairs() -> None:
    pairs = pair_features(np.array([], np.str_), np.array([], np.int64), np.array([], np.float32), 0)
    assert pairs.feature_RF.shape == (0, len(PAIR_FEATURES))
    assert pairs.item_R.tolist() == []


@pytest.mark.parametrize("seed", range(5))
def test_one_person_is_computed_as_all_people_are(seed: int) -> None:
    rng = np.random.default_rng(seed)
    person_N = np.sort(rng.integers(0, 40, 3000)).astype(np.int32)
    time_N = rng.integers(0, 50, 3000) * DAY_US // 2
    order_N = np.lexsort((time_N, person_N))
    time_N = time_N[order_N]
    item_N, quantity_N = rng.integers(0, 60, 3000), rng.random(3000).astype(np.float32)
    everybody = pair_features(item_N, time_N, quantity_N, 30 * DAY_US, person_N)
    for person in range(40):
        mine_N = person_N == person
        # ids in the place of codes: serving has ids
        alone = pair_features(
            np.array([f"i{i:03d}" for i in item_N[mine_N]]), time_N[mine_N], quantity_N[mine_N], 30 * DAY_US
        )
        mine_R = everybody.person_R == person
        assert alone.item_R.tolist() == [f"i{i:03d}" for i in everybody.item_R[mine_R]]
        np.testing.assert_array_equal(alone.feature_RF, everybody.feature_RF[mine_R])


def test_pairs_of_a_long_history_take_less_than_a_millisecond() -> None:
    rng = np.random.default_rng(0)
    item = np.array([f"{i}" for i in rng.integers(800_000, 801_000, 1000)])
    times = np.sort(rng.integers(0, 365, 1000)) * DAY_US
    quantity = np.ones(1000, np.float32)
    seconds = []
    for _ in range(50):
        start = time.perf_counter()
        pair_features(item, times, quantity, 400 * DAY_US)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.001  # the best of fifty: the machine is shared


def test_schemas_hold_the_named_features_as_float32() -> None:
    names = {"person": PERSON_FEATURES, "item": ITEM_FEATURES, "pair": PAIR_FEATURES}
    for view, features in names.items():
        assert len(set(features)) == len(features)
        assert all(building.SCHEMAS[view].field(name).type == pa.float32() for name in features)


def test_a_history_is_capped_at_its_latest_events_and_pairs_with_it(tmp_path: Path) -> None:
    events = [bought(at(day), "ann", f"i{day}") for day in range(5)] + [
        bought(at(4), "ann", "a"),
        bought(at(4), "ann", "z"),
    ]
    build(land(tmp_path / "landing", events), tmp_path, at(9), history_cap=3)
    assert frame(partition(tmp_path, "person", at(9)), "person", "ann")["history_items"] == ["a", "i4", "z"]
    assert pq.read_table(partition(tmp_path, "pair", at(9)))["item"].to_pylist() == ["a", "i4", "z"]


def test_other_kinds_can_be_the_history(tmp_path: Path) -> None:
    events = [bought(at(1), "ann", "x", kind="click", quantity=None), bought(at(2), "ann", "y")]
    landing = land(tmp_path / "landing", events)
    build(landing, tmp_path, at(3), history_kinds=("click", "view"))
    assert frame(partition(tmp_path, "person", at(3)), "person", "ann")["history_items"] == ["x"]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("as_of=*")}


def test_building_twice_gives_the_same_bytes_whatever_the_threads_and_the_parts(
    tmp_path: Path,
) -> None:
    events, items = shop(people=60, items=40, days=80, seed=3)
    landing = land(tmp_path / "landing", events, items)
    build(landing, tmp_path / "a", AS_OF, threads=1)
    build(landing, tmp_path / "b", AS_OF, threads=2)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    # parts of a few people each: the same rows
    build(landing, tmp_path / "c", AS_OF, part_events=50)
    for view in building.VIEWS:
        whole, parts = (pq.read_table(partition(tmp_path / name, view, AS_OF)) for name in "ac")
        assert parts.to_pandas().equals(whole.to_pandas()), view


def test_nothing_changed_means_nothing_built_and_a_late_event_means_built_again(tmp_path: Path) -> None:
    landing = land(tmp_path / "landing", EVENTS, ITEMS)
    first = build(landing, tmp_path, AS_OF)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("as_of=*")}
    second = build(landing, tmp_path, AS_OF)
    assert (first.fresh, second.fresh, second.sha256, second.rows) == (True, False, first.sha256, first.rows)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("as_of=*")} == before

    land(landing, [EVENTS[2], bought(at(80, 19), "ann", "bun", session="a2", price=1.0)], ITEMS)
    third = build(landing, tmp_path, AS_OF)
    assert third.fresh and third.sha256 != first.sha256
    ann = frame(partition(tmp_path, "person", AS_OF), "person", "ann")
    assert ann["history_items"] == ["ale", "bun", "ale", "bun", "ale"]
    assert ann["created"] == AS_OF + timedelta(microseconds=6)  # of six taken events; five before


def test_what_happens_after_the_moment_does_not_build_it_again(tmp_path: Path) -> None:
    landing = land(tmp_path / "landing", EVENTS, ITEMS)
    build(landing, tmp_path, at(95))
    land(landing, [bought(at(97), "ann", "cod")], ITEMS)
    assert not build(landing, tmp_path, at(95)).fresh


@pytest.mark.parametrize("lost", ["person", "item", "pair"])
def test_a_lost_partition_is_built_again(tmp_path: Path, lost: str) -> None:
    landing = land(tmp_path / "landing", EVENTS, ITEMS)
    build(landing, tmp_path, AS_OF)
    before = files(tmp_path)
    partition(tmp_path, lost, AS_OF).unlink()
    assert build(landing, tmp_path, AS_OF).fresh
    assert files(tmp_path) == before


def test_a_build_that_dies_leaves_no_half_file_and_no_claim(tmp_path: Path) -> None:
    landing = land(tmp_path / "landing", EVENTS, ITEMS)
    build(landing, tmp_path, AS_OF)
    before = files(tmp_path)
    broken = land(tmp_path / "landing", [bought(at(50), "ann", "bun")], ITEMS) / "items.parquet"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:100])
    with pytest.raises(Exception, match=r"items\.parquet"):
        build(landing, tmp_path, AS_OF)
    side = f"as_of={building.stamp(AS_OF)}.json"
    assert files(tmp_path) == {name: data for name, data in before.items() if name != side}
    assert not list(tmp_path.rglob(".as_of*"))
    broken.write_bytes(whole)
    assert build(landing, tmp_path, AS_OF).fresh


def test_the_manifest_of_landing_is_the_authority(tmp_path: Path) -> None:
    landing = land(tmp_path / "landing", EVENTS, ITEMS)
    day = '{"rows": 2, "sha256": "%s"}'
    days = f'{{"2024-01-11": {day % "aa"}, "2024-03-21": {day % "bb"}}}'
    (landing / "manifest.json").write_text(f'{{"days": {days}, "items": {day % "cc"}}}')
    first = build(landing, tmp_path, AS_OF)
    assert frame(partition(tmp_path, "person", AS_OF), "person", "ann")["baskets"] == 2.0
    assert not build(landing, tmp_path, AS_OF).fresh
    (landing / "manifest.json").write_text(f'{{"days": {days.replace("bb", "dd")}, "items": {day % "cc"}}}')
    assert build(landing, tmp_path, AS_OF).sha256 != first.sha256


def test_a_moment_is_the_same_in_any_time_zone(tmp_path: Path) -> None:
    landing = land(tmp_path / "landing", EVENTS, ITEMS)
    build(landing, tmp_path / "utc", AS_OF)
    build(landing, tmp_path / "berlin", AS_OF.astimezone(timezone(timedelta(hours=2))))
    assert files(tmp_path / "utc") == files(tmp_path / "berlin")


@pytest.mark.parametrize(
    ("as_of", "says"),
    [
        (AS_OF.replace(tzinfo=None), "must have a time zone"),
        (AS_OF + timedelta(microseconds=1), "whole seconds"),
        (at(-1), "no events before 2023-12-31T000000Z"),
    ],
)
def test_a_moment_that_cannot_be_built_is_refused(tmp_path: Path, as_of: object, says: str) -> None:
    landing = land(tmp_path / "landing", EVENTS, ITEMS)
    with pytest.raises(InputError, match=says):
        build(landing, tmp_path, as_of)  # type: ignore[arg-type]
