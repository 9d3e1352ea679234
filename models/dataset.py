"""A dataset version on disk, read into arrays. Writing one is the snapshot's work (flows/snapshot.py).

A dataset folder holds: `dataset.json` (moments, horizon, names), `items.parquet` and `people.parquet` (row = index; of people
their id and the shop's own `segment`), `interactions.parquet` (person, item, time, kind, quantity, price; sorted), and
`{person,item,pair}_features.parquet` with one block of rows per `moment`: the training cut-offs, the start of the holdout, and
the as-of.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from models import catalogue, columns
from models.data import DAY_US, Content, Features, FeaturesByMoment, Interactions, Query, TrainingSet
from models.splits import Split, fair

MOST_SEGMENTS = 20


@dataclass(frozen=True, kw_only=True)
class Holdout:
    """What nobody may learn from: the people who took something after the cut, and what they took.

    `truth` has one array of distinct item indices per unit; `unit_P` the person index of each unit.
    """

    unit_P: np.ndarray
    truth: tuple[np.ndarray, ...]
    query: Query
    slices: dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class DatasetFolder:
    """A dataset folder, opened: its description and its tables."""

    path: Path
    about: dict[str, Any]
    item_ids: np.ndarray
    person_ids: np.ndarray
    segment_P: np.ndarray  # text; None for who is in none
    category_I: np.ndarray
    history: Interactions
    labels: Interactions
    threads: int

    def features(self, moment_us: int) -> Features:
        """Return the features known at `moment_us`; KeyError when the dataset has none of that moment."""
        if moment_us not in self.moments_us:
            raise KeyError(
                f"no features at {moment_us} µs in {self.path}; there are {sorted(self.moments_us)}"
            )
        person, item, pair = (
            _block(self.path / f"{kind}_features.parquet", moment_us) for kind in ("person", "item", "pair")
        )
        names = {kind: tuple(self.about[f"{kind}_names"]) for kind in ("person", "item", "pair")}
        order_N = np.lexsort((columns.array(pair["item"]), columns.array(pair["person"])))
        return Features(
            person_names=names["person"],
            item_names=names["item"],
            pair_names=names["pair"],
            person_PF=_dense(person, "person", names["person"], len(self.person_ids)),
            item_IF=_dense(item, "item", names["item"], len(self.item_ids)),
            pair_person_N=columns.array(pair["person"])[order_N].astype(np.int32),
            pair_item_N=columns.array(pair["item"])[order_N].astype(np.int32),
            pair_NF=_columns(pair, names["pair"])[order_N],
        )

    @property
    def moments_us(self) -> tuple[int, ...]:
        """Moments at which features were taken: cut-offs ascending, the holdout's start, the as-of."""
        return (*self.cutoffs_us, self.about["holdout_from_us"], self.about["as_of_us"])

    @property
    def cutoffs_us(self) -> tuple[int, ...]:
        """Moments of the training frames, ascending."""
        return tuple(self.about["cutoffs_us"])

    def training(self) -> TrainingSet:
        """Return what a family may learn from: nothing at or after the start of the holdout."""
        until_us = self.about["holdout_from_us"]
        return TrainingSet(
            interactions=self.history.between(None, until_us),
            until_us=until_us,
            horizon_us=self.about["horizon_days"] * DAY_US,
            # the latest one asked for is kept: a cut-off's features are asked for several times in a row
            cutoffs=FeaturesByMoment(self.cutoffs_us, lru_cache(maxsize=1)(self.features)),
            features=self.features(until_us),
            category_I=self.category_I,
            threads=self.threads,
            history_cap=self.about["history_cap"],
            other_labels=self.labels.between(None, until_us),
            content=self.content,
        )

    def split(self, *, repeats: bool) -> Split:
        """Return what may be learned, and the trial: the people known at the holdout's start, and what they took after it.

        Without `repeats` nobody is asked for what they had.
        """
        training = replace(self.training(), repeats=repeats)
        start_us, end_us = self.about["holdout_from_us"], self.about["as_of_us"]
        after = self.labels.between(start_us, end_us)
        people_P = np.intersect1d(after.person_N, training.interactions.person_N)
        return fair(training, people_P, after, start_us)

    @cached_property
    def content(self) -> Content:
        """What the catalogue says of its items."""
        return catalogue.of_file(self.path / "items.parquet")

    def holdout(self) -> Holdout:
        """Return the units, what they took from the holdout's start to the as-of, and the question to ask."""
        start_us, end_us = self.about["holdout_from_us"], self.about["as_of_us"]
        after = self.labels.between(start_us, end_us)
        unit_P = np.unique(after.person_N)
        taken = after.rows(unit_P)
        truth = tuple(
            np.unique(taken.item_N[a:b]) for a, b in zip(taken.indptr, taken.indptr[1:], strict=False)
        )
        history = self.history.between(None, start_us).rows(unit_P).last(self.about["history_cap"])
        known_P = np.diff(history.indptr)
        return Holdout(
            unit_P=unit_P,
            truth=truth,
            query=Query(
                history=history,
                as_of_us=start_us,
                features=self.features(start_us).rows(unit_P),
                content=self.content,
            ),
            slices=_by_history(known_P) | _by_segment(self.segment_P[unit_P]),
        )


def read(folder: Path, *, threads: int = 2) -> DatasetFolder:
    """Open a dataset folder. FileNotFoundError when a part is missing."""
    about = orjson.loads((folder / "dataset.json").read_bytes())
    items = columns.read(folder / "items.parquet", ["id", "category"])
    people = columns.read(folder / "people.parquet")
    interactions = columns.read(
        folder / "interactions.parquet", ["person", "item", "time", "kind", "quantity"]
    )
    shape = {"people": len(people), "items": len(items)}
    return DatasetFolder(
        path=folder,
        about=about,
        item_ids=columns.array(items["id"]),
        person_ids=columns.array(people["id"]),
        segment_P=_segments(people),
        category_I=catalogue.category_codes(items["category"].to_pylist()),
        history=_interactions(interactions, about["history_kinds"], None, **shape),
        labels=_interactions(interactions, about["label_kinds"], about.get("label_weights", {}), **shape),
        threads=threads,
    )


def _by_history(known_P: np.ndarray) -> dict[str, np.ndarray]:
    """Cut people by how much was known of them: nothing, less than the median of those of whom anything was, or as much."""
    usual = np.median(known_P[known_P > 0]) if known_P.any() else 1
    return {
        "new people": known_P == 0,
        "light people": (known_P > 0) & (known_P < usual),
        "regular people": (known_P > 0) & (known_P >= usual),
    }


def _by_segment(segment_P: np.ndarray) -> dict[str, np.ndarray]:
    """Cut people by the shop's own segment, the largest ones; who is in none is in no slice."""
    named = segment_P[[name is not None for name in segment_P]].astype(str)
    names, counts = np.unique(named, return_counts=True)
    largest = sorted(names[np.lexsort((names, -counts))][:MOST_SEGMENTS])
    return {f"segment {name}": np.array([one == name for one in segment_P], bool) for name in largest}


def _segments(people: pa.Table) -> np.ndarray:
    held = "segment" in people.column_names
    out_P = np.full(len(people), None, object)
    if held:
        out_P[:] = people["segment"].to_pylist()
    return out_P


def _interactions(
    table: pa.Table, kinds: list[str], worth: Mapping[str, float] | None, people: int, items: int
) -> Interactions:
    """Keep the kinds asked for that were not given back (quantity above zero, or none said).

    The weight is the quantity; with `worth` what the kind is worth, 1 where that does not say.
    """
    quantity = pc.fill_null(table["quantity"], 1.0)
    kept = table.filter(pc.and_(pc.is_in(table["kind"], pa.array(kinds)), pc.greater(quantity, 0)))
    weight_N = columns.array(pc.fill_null(kept["quantity"], 1.0))
    if worth is not None:
        worth_K = np.array([worth.get(kind, 1.0) for kind in kinds])
        weight_N = worth_K[columns.array(pc.index_in(kept["kind"], pa.array(kinds)))]
    return Interactions(
        person_N=columns.array(kept["person"]).astype(np.int32),
        item_N=columns.array(kept["item"]).astype(np.int32),
        time_N=columns.array(kept["time"].cast(pa.int64())),
        weight_N=weight_N.astype(np.float32),
        people=people,
        items=items,
    )


def _block(path: Path, moment_us: int) -> pa.Table:
    moment = pa.scalar(moment_us, pa.timestamp("us", tz="UTC"))
    return columns.read_where(path, "moment", moment)


def _columns(table: pa.Table, names: tuple[str, ...]) -> np.ndarray:
    if not names:
        return np.zeros((len(table), 0), np.float32)
    held = (pc.fill_null(pc.cast(table[name], pa.float32()), np.nan) for name in names)
    return np.column_stack([columns.array(column) for column in held])


def _dense(table: pa.Table, key: str, names: tuple[str, ...], size: int) -> np.ndarray:
    out = np.full((size, len(names)), np.nan, np.float32)
    out[columns.array(table[key])] = _columns(table, names)
    return out
