"""Settings that belong to the data rather than to a method: fields that a config leaves open (None) are chosen when fitting.

One field after another, each by nDCG@10 of what is kept for choosing, among a few values beside the family. Bounded work: a
part of the people is learned from and a part is asked, however large the shop. Nothing is random.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np

from counterfoil.errors import ConfigError, InputError
from models import splits
from models.data import TrainingSet, Trial
from models.family import Model
from models.metrics.accuracy import hits, ndcg, taken

K = 10

Config = TypeVar("Config")
Fitted = TypeVar("Fitted", bound=Model)


@dataclass(frozen=True, kw_only=True)
class Way(Generic[Config, Fitted]):
    """How a family is fitted, and how a fitted model takes other settings that matter only when it is asked (`asked`)."""

    fit: Callable[[Config, TrainingSet], Fitted]
    again: Callable[[Fitted, Config], Fitted]
    asked: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Work:
    """How much is done to choose: what is learned from, in whole people, and who is asked.

    At least `learned` interactions where there are as many, and more as long as each person's with one another are no more
    than `pairs`; `people` who are asked, with at most so many `lines` of history.
    """

    learned: int = 300_000
    pairs: int = 30_000_000
    people: int = 1_000
    lines: int = 150_000


def settle(
    config: Config,
    options: Mapping[str, Sequence[Any]],
    training: TrainingSet,
    way: Way[Config, Fitted],
    *,
    errors: float = 0.0,
    work: Work = Work(),
) -> Config:
    """Return the config with a value for every field of `options` that is None, in their order.

    The first option of a field stands until another is better, by so many standard `errors` of the paired difference, and stays
    where the training set is too small to choose by.
    """
    opened = {name: values for name, values in options.items() if getattr(config, name) is None}
    config = _with(config, {name: values[0] for name, values in opened.items()})
    contested = {name: values for name, values in opened.items() if len(values) > 1}
    if not contested:
        return config
    try:
        blind, trial = splits.choosing(training)
    except InputError:
        return config
    blind, trial = _part(blind, work), _asked(trial, work)
    model = way.fit(config, blind)
    best_P = _values(model, trial)
    for name, values in contested.items():
        begun = model
        for value in values[1:]:
            tried = _with(config, {name: value})
            other = way.again(begun, tried) if name in way.asked else way.fit(tried, blind)
            found_P = _values(other, trial)
            if _ahead(found_P - best_P, errors):
                best_P, model, config = found_P, other, tried
    return config


def given(value: float | None) -> float:
    """Return a value that is settled; ConfigError when it was left open, as in a config that no fit has seen."""
    if value is None:
        raise ConfigError("a setting is still open; fit with the config first, or give it a value")
    return value


def _with(config: Config, values: Mapping[str, Any]) -> Config:
    changed: Config = replace(config, **values)  # type: ignore[type-var]
    return changed


def _part(training: TrainingSet, work: Work) -> TrainingSet:
    """Return the training set of as many people, evenly spread, as may be learned from."""
    known = training.interactions
    pairs = float((np.diff(known.indptr).astype(np.float64) ** 2).sum())
    stride = int(np.ceil(min(len(known) / work.learned, pairs / work.pairs)))
    if stride <= 1:
        return training
    return replace(training, interactions=known.where(known.person_N % stride == 0))


def _asked(trial: Trial, work: Work) -> Trial:
    """Return the trial of as many people, evenly spread, as may be asked."""
    lines = len(trial.query.history)
    return trial.at_most(min(work.people, max(1, int(trial.query.people * work.lines / max(1, lines)))))


def _values(model: Model, trial: Trial) -> np.ndarray:
    ranking = model.recommend(trial.query, K)
    return ndcg(hits(ranking.item_PK, trial.truth), taken(trial.truth), K)


def _ahead(gain_P: np.ndarray, errors: float) -> bool:
    return float(gain_P.sum()) > errors * float(np.sqrt((gain_P**2).sum()))
