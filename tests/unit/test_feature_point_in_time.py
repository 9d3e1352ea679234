"""Feast's answers through our definitions against an independent join in SQL: ties, TTL, late rows, duplicates, time zones."""

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterfoil.errors import InputError
from counterfoil.settings import Settings
from feature_repo import offline
from feature_repo.build import ITEM_SCHEMA, MOMENT, build, partition
from feature_repo.repo import apply
from feature_repo.transforms import ITEM_FEATURES, PAIR_FEATURES, PERSON_FEATURES
from tests.feature_shop import at, bought, land, shop

TTL_DAYS = 35
FIRST, SECOND = at(60), at(88)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with two built moments and applied definitions."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), feature_ttl_days=TTL_DAYS)
    events, items = shop(people=120, items=80, days=90, seed=1)
    land(settings.landing, events, items)
    for moment in (FIRST, SECOND):
        build(settings.landing, settings.features, moment)
    apply(settings)
    return settings


def independent(
    asked: pa.Table, features: Path, view: str, keys: Sequence[str], names: Sequence[str]
) -> pd.DataFrame:
    """Join by counting every pair of rows and keeping the best: no ASOF, no Feast, none of our code."""
    same = " AND ".join(f"f.{key} = a.{key}" for key in keys)
    values = ", ".join(f"f.{name}" for name in names)
    with duckdb.connect() as con:
        con.register("asked", asked.append_column("row", pa.array(range(len(asked)))))
        return con.execute(
            f"""
            WITH candidate AS (
                SELECT a.row, {values}, row_number() OVER
                    (PARTITION BY a.row ORDER BY epoch_us(f.event_timestamp) DESC, epoch_us(f.created) DESC) AS place
                FROM asked a JOIN read_parquet('{features}/{view}/*.parquet') f ON {same}
                WHERE epoch_us(f.event_timestamp) <= epoch_us(a.moment)
                    AND epoch_us(a.moment) - epoch_us(f.event_timestamp) <= {TTL_DAYS} * 86400000000
            )
            SELECT a.moment, {", ".join(f"a.{key}" for key in keys)}, {", ".join(names)}
            FROM asked a LEFT JOIN (SELECT * FROM candidate WHERE place = 1) c ON c.row = a.row ORDER BY a.row
            """
        ).df()


def values(frame: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    return frame[list(names)].to_numpy(np.float32)


def ask(rows: Sequence[tuple[datetime, str]], key: str = "item") -> pa.Table:
    moments, ids = zip(*rows, strict=True)
    return pa.table({"moment": pa.array(moments, MOMENT), key: pa.array(ids, pa.string())})


def test_frames_are_what_the_independent_join_gives(home: Settings) -> None:
    people = [f"p{number:05d}" for number in range(119, -1, -1)] + ["nobody"]
    items = [f"i{number:04d}" for number in range(80)] + ["nothing"]
    frames = offline.frames_at(home, [SECOND, FIRST], people, items)
    pairs = offline.pairs_at(home, [SECOND, FIRST])
    for view, keys, names, rows in (
        ("person", ["person"], PERSON_FEATURES, 2 * 121),
        ("item", ["item"], ITEM_FEATURES, 2 * 81),
        ("pair", ["person", "item"], PAIR_FEATURES, len(pairs)),
    ):
        frame = frames[view]
        assert list(frame.columns) == ["moment", *keys, *names]
        assert len(frame) == rows
        asked = pa.Table.from_pandas(frame[["moment", *keys]], preserve_index=False)
        expected = independent(asked, home.features, view, keys, names)
        np.testing.assert_array_equal(values(frame, names), values(expected, names))
        assert all(frame[name].dtype == np.float32 for name in names)
    # moments outside, ids inside, in the caller's order
    assert frames["person"]["person"].tolist() == people * 2
    assert frames["person"]["moment"].tolist() == [pd.Timestamp(SECOND)] * 121 + [pd.Timestamp(FIRST)] * 121
    assert np.isnan(values(frames["person"], PERSON_FEATURES)[120]).all()
    assert values(frames["person"], ["baskets"])[:120].min() >= 1
    assert pairs.equals(pa.Table.from_pandas(frames["pair"][pairs.column_names], schema=pairs.schema))


def test_frames_do_not_know_what_came_after_their_moment(home: Settings, tmp_path: Path) -> None:
    """The features at the first moment are the same when everything after it had never happened."""
    events, items = shop(people=120, items=80, days=90, seed=1)
    past = Settings(home=tmp_path, feature_ttl_days=TTL_DAYS)
    land(past.landing, [event for event in events if event["time"] < FIRST], items)
    build(past.landing, past.features, FIRST)
    for view in ("person", "item", "pair"):
        assert (
            partition(past.features, view, FIRST).read_bytes()
            == partition(home.features, view, FIRST).read_bytes()
        )


def test_pairs_are_chosen_by_times_bought_then_recency(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    events = [
        bought(at(1), "ann", "often"),
        bought(at(2), "ann", "often"),
        bought(at(1), "ann", "old"),
        bought(at(3), "ann", "new"),
    ]
    land(settings.landing, events)
    build(settings.landing, settings.features, at(9))
    pairs = offline.pairs_at(settings, [at(9)], per_person=2)
    assert pairs.to_pylist() == [
        {"moment": at(9), "person": "ann", "item": "new"},
        {"moment": at(9), "person": "ann", "item": "often"},
    ]


def test_a_moment_that_was_not_built_is_refused(home: Settings) -> None:
    with pytest.raises(InputError, match="no features were built for 2024-03-30T000000Z"):
        offline.frames_at(home, [at(89)], ["p00000"], [], offline.pairs_at(home, [FIRST]))


@pytest.fixture(scope="module")
def tricky(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Any]:
    """An item view whose rows are written by hand: value v of item i at t, created at c."""
    settings = Settings(home=tmp_path_factory.mktemp("tricky"), feature_ttl_days=TTL_DAYS)
    rows = [
        ("tie", at(10), at(10), 1.0),
        ("dup", at(10), at(10), 1.0),
        ("dup", at(10), at(12), 2.0),
        ("dup", at(10), at(11), 3.0),
        ("future", at(40), at(40), 1.0),
        ("null", at(10), at(10), 1.0),
        ("null", at(20), at(20), None),
        ("late", at(10), at(10), 1.0),
        ("late", at(15), at(90), 2.0),  # happened on day 15, was known on day 90
        ("two", at(10), at(10), 1.0),
        ("two", at(30), at(30), 2.0),
    ]
    rng = np.random.default_rng(5)
    for number in range(3000):  # a coarse grid of times, so that there are ties of every sort
        item, day = f"r{rng.integers(0, 40)}", int(rng.integers(0, 60))
        rows.append((item, at(day, int(rng.integers(0, 3)) * 12), at(100, number), float(number)))
    columns = [
        {"item": item, "buyers": value, "event_timestamp": time, "created": created}
        for item, time, created, value in rows
    ]
    store = apply(settings)
    table = pa.Table.from_pylist(columns, ITEM_SCHEMA)
    half = len(table) // 2  # two files: a re-built partition and another
    pq.write_table(table.slice(0, half), settings.features / "item" / "a.parquet")
    pq.write_table(table.slice(half), settings.features / "item" / "b.parquet")
    return settings, store


NAN = float("nan")
CASES = {
    "a tie is inclusive": (at(10), "tie", 1.0),
    "one microsecond before is not yet": (at(10) - timedelta(microseconds=1), "tie", NAN),
    "of duplicates the one created last": (at(10), "dup", 2.0),
    "only the future is nothing": (at(39), "future", NAN),
    "the time to live is inclusive": (at(10 + TTL_DAYS), "tie", 1.0),
    "a second later it is over": (at(10 + TTL_DAYS) + timedelta(seconds=1), "tie", NAN),
    "somebody unknown is nothing": (at(10), "nobody", NAN),
    "a null that is newer is the answer": (at(25), "null", NAN),
    "the older one before it": (at(19), "null", 1.0),
    "the newest of several": (at(31), "two", 2.0),
    "before the newest of several": (at(29), "two", 1.0),
    "what came late counts by its event time": (at(16), "late", 2.0),
    "Berlin is one hour ahead": (at(10).astimezone(timezone(timedelta(hours=1))), "tie", 1.0),
    "New York is five hours behind": (
        (at(10) - timedelta(seconds=1)).astimezone(timezone(timedelta(hours=-5))),
        "tie",
        NAN,
    ),
}


def test_tricky_rows_have_literal_answers(tricky: tuple[Settings, Any]) -> None:
    rows = [(moment, item) for moment, item, _ in CASES.values()]
    frame = offline.history(tricky[1], ask(rows), ["item:buyers"])
    got = dict(zip(CASES, frame["buyers"].tolist(), strict=True))
    wanted = {name: value for name, (_, _, value) in CASES.items()}
    assert {name: str(value) for name, value in got.items()} == {
        name: str(value) for name, value in wanted.items()
    }


def test_two_thousand_random_rows_agree_with_the_independent_join(tricky: tuple[Settings, Any]) -> None:
    settings, store = tricky
    rng = np.random.default_rng(6)
    rows = [
        (at(int(rng.integers(-5, 120)), int(rng.integers(0, 5)) * 6), f"r{rng.integers(0, 45)}")
        for _ in range(2000)
    ]
    rows += rows[:300]  # duplicates of the question
    asked = ask(rows)
    frame = offline.history(store, asked, ["item:buyers"])
    expected = independent(asked, settings.features, "item", ["item"], ["buyers"])
    assert frame["item"].tolist() == [item for _, item in rows]
    np.testing.assert_array_equal(values(frame, ["buyers"]), values(expected, ["buyers"]))
    assert 300 < np.isnan(frame["buyers"]).sum() < 2000


def test_late_events_reach_the_frames_once_the_moment_is_built_again(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    land(settings.landing, [bought(at(1), "ann", "ale"), bought(at(2), "ann", "ale")], [{"id": "ale"}])
    build(settings.landing, settings.features, at(9))
    store = apply(settings)
    asked = {"moments": [at(9)], "people": ["ann"], "items": ["ale"], "store": store}
    assert offline.frames_at(settings, **asked)["pair"]["times_bought"].tolist() == [2.0]
    land(settings.landing, [bought(at(1), "ann", "ale"), bought(at(1, 5), "ann", "ale")], [{"id": "ale"}])
    assert build(settings.landing, settings.features, at(9)).fresh
    frames = offline.frames_at(settings, **asked)
    assert frames["pair"]["times_bought"].tolist() == [3.0]
    assert frames["person"]["baskets"].tolist() == [3.0]
    assert frames["item"]["popularity_28d"].tolist() == [3.0]
