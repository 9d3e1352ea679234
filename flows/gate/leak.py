"""Whether a snapshot's features know the future: sampled rows are computed anew from what was landed before their moment.

A family cannot tell a feature that has seen the labels from a good one, and its figures are then too good to be true. So
people and items that did something at or after a moment are drawn (they alone can betray it), their rows are computed by the
pure transform from events from which everything at or after the moment was taken away, and must be those of the snapshot.
What the catalogue says of items (price, category) is not told by time, and can therefore not be held against it here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_repo import build, transforms
from flows.gate.policy import Policy

VIEWS: dict[str, tuple[str, ...]] = {
    "person": transforms.PERSON_FEATURES,
    "item": transforms.ITEM_FEATURES,
    "pair": transforms.PAIR_FEATURES,
}
EVENTS = 40_000
TOLERANCE = 1e-5  # of the value: float32 holds seven digits
US = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """What of a snapshot's folder the check needs: its description, ids by number, interactions by number."""

    folder: Path
    about: Mapping[str, Any]
    ids: dict[str, np.ndarray]
    interactions: pa.Table
    shelved_I: np.ndarray  # whether the item's row is computed anew


def trace(folder: Path, landing: Path, policy: Policy) -> dict[str, float]:
    """Return per view of the features whether it can be read, how many rows were computed anew, how many values differ, and
    how many columns no transform computes. The landing must hold the days that the snapshot names.
    """
    row = {
        f"{view}_features.{metric}": 0.0
        for view in VIEWS
        for metric in ("readable", "traced", "changed", "unexplained")
    }
    try:
        with duckdb.connect(config={"threads": policy.threads}) as con:
            snapshot = _open(con, folder, landing)
            for moment_us in (*snapshot.about["cutoffs_us"], snapshot.about["holdout_from_us"]):
                for view, (rows, changed) in _trace_moment(con, snapshot, moment_us, policy.traced).items():
                    row[f"{view}_features.traced"] += rows
                    row[f"{view}_features.changed"] += changed
        for view, known in VIEWS.items():
            row[f"{view}_features.unexplained"] = float(
                len(set(snapshot.about[f"{view}_names"]) - set(known))
            )
            row[f"{view}_features.readable"] = 1.0
    except (OSError, KeyError, ValueError, pa.ArrowException, duckdb.Error):
        return row  # not readable, and not traced: both are findings
    return row


def _open(con: duckdb.DuckDBPyConnection, folder: Path, landing: Path) -> _Snapshot:
    about = orjson.loads((folder / "dataset.json").read_bytes())
    _read(con, about, landing)
    people, items = (
        pq.read_table(folder / f"{name}.parquet", columns=["id"])["id"] for name in ("people", "items")
    )
    shelved = pc.is_in(
        items, con.sql("SELECT DISTINCT item FROM shelved").to_arrow_table()["item"].combine_chunks()
    )
    return _Snapshot(
        folder=folder,
        about=about,
        ids={"person": people.to_numpy(zero_copy_only=False), "item": items.to_numpy(zero_copy_only=False)},
        interactions=pq.read_table(folder / "interactions.parquet", columns=["person", "item", "time"]),
        shelved_I=shelved.to_numpy(zero_copy_only=False),
    )


def _read(con: duckdb.DuckDBPyConnection, about: Mapping[str, Any], landing: Path) -> None:
    """Make `everything` that was landed before the holdout, `shelved` of it, and `catalogue`."""
    until_us = about["holdout_from_us"]
    last = str(np.datetime64(until_us, "us").astype("datetime64[D]"))
    days = [
        landing / "events" / f"day={day}" / "events.parquet" for day in sorted(about["days"]) if day <= last
    ]
    items = [path for path in (landing / "items.parquet",) if path.is_file()]
    build.read_taken(con, days, items, until_us, about["history_kinds"])
    con.execute(
        "CREATE TEMP TABLE everything AS SELECT taken.*, coalesce(split_part(category, ' > ', 1), '') AS shelf"
        " FROM taken LEFT JOIN catalogue ON catalogue.id = taken.item"
    )
    _make_shelved(con, until_us)


def _trace_moment(
    con: duckdb.DuckDBPyConnection, snapshot: _Snapshot, moment_us: int, count: int
) -> dict[str, tuple[int, int]]:
    """Return per view how many rows of a moment were computed anew, and how many of their values differ."""
    later = snapshot.interactions.filter(
        pc.greater_equal(snapshot.interactions["time"].cast(US), pa.scalar(moment_us, US))
    )
    item_N = later["item"].to_numpy()
    drawn = {
        "person": _drawn(later["person"].to_numpy(), count, moment_us),
        "item": _drawn(item_N[snapshot.shelved_I[item_N]], count, moment_us),
    }
    names = {key: snapshot.ids[key][drawn_R].tolist() for key, drawn_R in drawn.items()}
    found = {"item": _item_rows(con, moment_us, names["item"])}
    found |= _person_rows(con, moment_us, names["person"], snapshot.about["history_cap"])
    return {view: _differences(snapshot, view, moment_us, drawn, found[view]) for view in VIEWS}


def _drawn(number_N: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return up to `count` of the distinct numbers, ascending; the same seed draws the same."""
    distinct = np.unique(number_N)
    if len(distinct) <= count:
        return distinct
    return np.sort(np.random.default_rng(seed).choice(distinct, count, replace=False))


def _make_shelved(con: duckdb.DuckDBPyConnection, seed: int) -> None:
    """Make `shelved`, the events of some shelves with at most `EVENTS` together: an item's row depends on its shelf alone.

    The smallest shelf is always among them, the others are drawn. What has no category is on a shelf of its own.
    """
    sizes = con.execute("SELECT shelf, count(*) FROM everything GROUP BY shelf ORDER BY 2, 1").fetchall()
    chosen, room = [shelf for shelf, _ in sizes[:1]], EVENTS - sum(events for _, events in sizes[:1])
    for place in np.random.default_rng(seed).permutation(np.arange(1, len(sizes))):
        shelf, events = sizes[place]
        if events <= room:
            chosen.append(shelf)
            room -= events
    con.execute(
        "CREATE TEMP TABLE shelved AS SELECT * FROM everything WHERE list_contains($chosen, shelf)",
        {"chosen": chosen},
    )


def _item_rows(con: duckdb.DuckDBPyConnection, moment_us: int, names: Sequence[str]) -> pa.Table:
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE taken AS SELECT * EXCLUDE (shelf) FROM shelved WHERE time_us < {moment_us}"
    )
    transforms.prepare(con, moment_us)
    rows = con.sql(transforms.ITEM_SQL).to_arrow_table()
    return rows.filter(pc.is_in(rows["item"], pa.array(names, pa.string())))


def _person_rows(
    con: duckdb.DuckDBPyConnection, moment_us: int, names: Sequence[str], cap: int
) -> dict[str, pa.Table]:
    """Return the rows of these people and of their pairs; what others did plays no part in them."""
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE taken AS SELECT * EXCLUDE (shelf) FROM everything"
        f" WHERE time_us < {moment_us} AND person IN (SELECT unnest($names::VARCHAR[]))",
        {"names": list(names)},
    )
    transforms.prepare(con, moment_us)
    bounds = {"first": min(names, default=""), "last": max(names, default=""), "cap": cap}
    history = con.sql(transforms.HISTORY_SQL, params=bounds).to_arrow_table()
    return {
        "person": con.sql(transforms.PERSON_SQL).to_arrow_table(),
        "pair": build.pairs_of(history, moment_us),
    }


def _differences(
    snapshot: _Snapshot, view: str, moment_us: int, drawn: Mapping[str, np.ndarray], anew: pa.Table
) -> tuple[int, int]:
    """Return how many of the snapshot's rows about those drawn were held against rows computed anew, and how many values differ.

    A row that cannot be computed anew must hold no value at all; so a pair that only the future knows is all difference.
    """
    keys = ("person", "item") if view == "pair" else (view,)
    names = [name for name in snapshot.about[f"{view}_names"] if name in VIEWS[view]]
    chosen = (pc.field("moment") == pa.scalar(moment_us, US)) & pc.field(keys[0]).isin(
        drawn[keys[0]].tolist()
    )
    held = pq.read_table(
        snapshot.folder / f"{view}_features.parquet", columns=[*keys, *names], filters=chosen
    )
    texts = [snapshot.ids[key][held[key].to_numpy()] for key in keys]
    place = {
        row: place for place, row in enumerate(zip(*(anew[key].to_pylist() for key in keys), strict=True))
    }
    at_R = np.array([place.get(row, -1) for row in zip(*texts, strict=True)], int)
    differ = 0
    for name in names:
        value_R = held[name].cast(pa.float64()).to_numpy(zero_copy_only=False)
        anew_A = np.append(
            anew[name].cast(pa.float32()).cast(pa.float64()).to_numpy(zero_copy_only=False), np.nan
        )
        own_R = anew_A[at_R]
        same_R = np.isclose(value_R, own_R, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
        differ += int((~same_R).sum())
    return len(held), differ
