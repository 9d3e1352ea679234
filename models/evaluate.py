"""Score a model on units that it never saw: one number per unit and metric, over the full catalogue, no sampled negatives.

What the numbers mean for a release is the business of models/decide.py. How long answers take is measured here too, but kept
apart (`score_ms`), since it is never the same twice. Shapes: P units, K list length, I items.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from counterfoil.errors import InputError, IntegrityError
from models import columns
from models.data import Query, Ranking
from models.family import Model
from models.metrics import beyond, tail
from models.metrics.accuracy import ACCURACY, hits, taken
from models.metrics.calibration import miscalibration

TIMED_PEOPLE = 21


@dataclass(frozen=True, kw_only=True)
class Units:
    """One value per unit and metric, float64 [P] each; `unit_P` says who (person index, int32).

    `values` has metrics by name, also `ndcg@10[tail items]`: right answers among rare items alone, NaN for who took none.
    `slices` says who belongs to a slice of people, bool [P] each.
    """

    unit_P: np.ndarray
    values: dict[str, np.ndarray]
    slices: dict[str, np.ndarray] = field(default_factory=dict)

    def of(self, name: str) -> np.ndarray | None:
        """Return a metric, or a metric on a slice ("ndcg@10[new people]"), float64 [P], NaN for who is not in it.

        None when nothing was measured by that name.
        """
        if name in self.values:
            return self.values[name]
        metric, _, slice_ = name.removesuffix("]").partition("[")
        if metric not in self.values or slice_ not in self.slices:
            return None
        return np.where(self.slices[slice_], self.values[metric], np.nan)


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What an evaluation found. `metrics` and `slices` are means over units where the metric is defined, and finite always.

    `score_ms` is the median time of one person's answer, `batch_ms` the time per person when all are asked at once.
    """

    units: Units
    metrics: dict[str, float]
    slices: dict[str, dict[str, float]]
    ranking: Ranking
    score_ms: float
    batch_ms: float


def evaluate(
    model: Model,
    query: Query,
    truth: Sequence[np.ndarray],
    slices: Mapping[str, np.ndarray],
    train_popularity_I: np.ndarray,
    k: int = 10,
    *,
    unit_P: np.ndarray | None = None,
    category_I: np.ndarray | None = None,
) -> Scores:
    """Ask the model for everybody and hold the lists against what they took.

    `truth` has one array of distinct items per row of the query, never an empty one; `train_popularity_I` counts
    takers before the cut; `slices` are masks over units. InputError when they do not fit each other, or when the
    answer is no ranking of the catalogue.
    """
    _check(query, truth, slices, train_popularity_I, unit_P)
    started = time.perf_counter()
    ranking = model.recommend(query, k)
    batch_ms = (time.perf_counter() - started) * 1000 / max(1, query.people)
    _check_ranking(ranking, query)
    values = _per_unit(ranking.item_PK, truth, query, train_popularity_I, category_I, k)
    by_items = _by_items(ranking.item_PK, truth, train_popularity_I, k)
    masks = {name: np.asarray(mask_P, bool) for name, mask_P in slices.items()}
    flat = {
        f"{metric}[{name}]": value_P for name, part in by_items.items() for metric, value_P in part.items()
    }
    return Scores(
        units=Units(unit_P=_units(query, unit_P), values=values | flat, slices=masks),
        metrics=_aggregate(ranking.item_PK, values, query, truth, train_popularity_I, k),
        slices={
            **{name: _slice(values, mask_P) for name, mask_P in masks.items()},
            **{name: _slice(part, _any_finite(part)) for name, part in by_items.items()},
        },
        ranking=ranking,
        score_ms=_one_person_ms(model, query, k),
        batch_ms=batch_ms,
    )


def write_units(scores: Scores, path: Path) -> None:
    """Write one row per unit: `unit`, a column per metric, a bool column per slice. The same scores give the same bytes."""
    written = {"unit": pa.array(scores.units.unit_P, pa.int32())}
    for name in sorted(scores.units.values):
        written[name] = pa.array(scores.units.values[name], pa.float64())
    for name in sorted(scores.units.slices):
        written[name] = pa.array(scores.units.slices[name], pa.bool_())
    half = path.with_name(path.name + ".part")
    with half.open("wb") as file:
        pq.write_table(pa.table(written), file, compression="zstd", store_schema=False)
        file.flush()
        os.fsync(file.fileno())
    half.replace(path)


def read_units(path: Path) -> Units:
    """Read what `write_units` wrote; IntegrityError when it is not that."""
    try:
        table = columns.read(path)
        held = {name: columns.array(table[name]) for name in table.column_names if name != "unit"}
        return Units(
            unit_P=columns.array(table["unit"]),
            values={name: column_P for name, column_P in held.items() if column_P.dtype != bool},
            slices={name: column_P for name, column_P in held.items() if column_P.dtype == bool},
        )
    except (OSError, KeyError, TypeError, pa.ArrowInvalid) as error:
        raise IntegrityError(
            f"{path.name} cannot be read ({error}); restore the evaluation by its digest"
        ) from error


def _per_unit(
    item_PK: np.ndarray,
    truth: Sequence[np.ndarray],
    query: Query,
    popularity_I: np.ndarray,
    category_I: np.ndarray | None,
    k: int,
) -> dict[str, np.ndarray]:
    hit_PK, taken_P = hits(item_PK, truth), taken(truth)
    values = {f"{name}@{k}": metric(hit_PK, taken_P, k) for name, metric in ACCURACY.items()}
    values[f"novelty@{k}"] = beyond.novelty(item_PK, popularity_I)
    values[f"popularity@{k}"] = beyond.popularity(item_PK, popularity_I)
    values[f"serendipity@{k}"] = beyond.serendipity(item_PK, hit_PK, popularity_I, k)
    if category_I is not None and len(category_I):
        values[f"diversity@{k}"] = beyond.diversity(item_PK, category_I)
        values[f"miscalibration@{k}"] = miscalibration(item_PK, query.history, category_I)
    return values


def _by_items(
    item_PK: np.ndarray, truth: Sequence[np.ndarray], popularity_I: np.ndarray, k: int
) -> dict[str, dict[str, np.ndarray]]:
    """Return accuracy per unit where only popular, or only rare items count as right answers."""
    head_I = tail.head(popularity_I)
    parts = {"head items": head_I, "tail items": ~head_I}
    return {name: tail.restricted(item_PK, truth, kept_I, k) for name, kept_I in parts.items()}


def _any_finite(values: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.isfinite(np.stack(list(values.values()))).any(axis=0)


def _aggregate(
    item_PK: np.ndarray,
    values: Mapping[str, np.ndarray],
    query: Query,
    truth: Sequence[np.ndarray],
    popularity_I: np.ndarray,
    k: int,
) -> dict[str, float]:
    catalogue = query.items if query.allowed_I is None else int(query.allowed_I.sum())
    out = _means(values)
    out[f"coverage@{k}"] = beyond.coverage(item_PK, catalogue)
    inequality = beyond.gini(item_PK, catalogue)
    if np.isfinite(inequality):
        out[f"gini@{k}"] = inequality
    ratio = beyond.popularity_ratio(item_PK, truth, popularity_I)
    if np.isfinite(ratio):
        out[f"popularity_ratio@{k}"] = ratio
    return out


def _slice(values: Mapping[str, np.ndarray], mask_P: np.ndarray) -> dict[str, float]:
    """Return the means over the slice, and how many units it has."""
    return {
        "units": float(mask_P.sum()),
        **_means({name: value_P[mask_P] for name, value_P in values.items()}),
    }


def _means(values: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return the mean of each metric over the units that have one; a metric that nobody has is left out."""
    kept = {name: value_P[np.isfinite(value_P)] for name, value_P in values.items()}
    return {name: float(value_P.mean()) for name, value_P in kept.items() if len(value_P)}


def _one_person_ms(model: Model, query: Query, k: int) -> float:
    """Time answers for single people, evenly spread over the question, and return the median."""
    times_ms = []
    for row in np.unique(np.linspace(0, query.people - 1, TIMED_PEOPLE).astype(int)):
        one = query.rows(np.array([row]))
        started = time.perf_counter()
        model.recommend(one, k)
        times_ms.append((time.perf_counter() - started) * 1000)
    return float(np.median(times_ms))


def _units(query: Query, unit_P: np.ndarray | None) -> np.ndarray:
    return np.arange(query.people, dtype=np.int32) if unit_P is None else unit_P.astype(np.int32)


def _check(
    query: Query,
    truth: Sequence[np.ndarray],
    slices: Mapping[str, np.ndarray],
    popularity_I: np.ndarray,
    unit_P: np.ndarray | None,
) -> None:
    faults = []
    if not query.people:
        faults.append("there is nobody to evaluate on; take a later as-of or a longer horizon")
    if len(truth) != query.people:
        faults.append(f"{len(truth)} truths for {query.people} people; give one each")
    if any(not len(items) for items in truth):
        faults.append("a unit took nothing, so no list could be right; leave such units out")
    if any(len(items) and (min(items) < 0 or max(items) >= query.items) for items in truth):
        faults.append(f"a truth names an item outside the catalogue of {query.items}")
    if len(popularity_I) != query.items:
        faults.append(
            f"popularity has {len(popularity_I)} entries for {query.items} items; give one per item"
        )
    if unit_P is not None and len(unit_P) != query.people:
        faults.append(f"{len(unit_P)} unit ids for {query.people} people; give one each")
    odd = [name for name, mask_P in slices.items() if len(mask_P) != query.people]
    if odd:
        faults.append(f"slices {', '.join(odd)} do not have one entry per person")
    if faults:
        raise InputError("; ".join(faults))


def _check_ranking(ranking: Ranking, query: Query) -> None:
    """Refuse an answer that would be measured wrongly: of another shape, outside the catalogue, with gaps or odd scores."""
    item_PK, score_PK = ranking.item_PK, ranking.score_PK
    shown_PK = item_PK >= 0
    faults = []
    if len(item_PK) != query.people or item_PK.shape != score_PK.shape:
        raise InputError(
            f"{query.people} people were asked for, lists have shape {item_PK.shape} and {score_PK.shape}"
        )
    if item_PK.size and item_PK.max() >= query.items:
        faults.append(f"item {int(item_PK.max())} is outside the catalogue of {query.items}")
    if (shown_PK[:, 1:] & ~shown_PK[:, :-1]).any():
        faults.append("a list goes on after its end (-1)")
    if not np.isfinite(score_PK[shown_PK]).all():
        faults.append("an answered item has a score that is no finite number")
    if faults:
        raise InputError("the model's answer cannot be measured: " + "; ".join(faults))
