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

LEARNED = 300_000  # interactions, of whole people, that are learned from when choosing
ASKED = 1_000  # people who are asked
K = 10

Config = TypeVar("Config")
Fitted = TypeVar("Fitted", bound=Model)


@dataclass(frozen=True, kw_only=True)
class Way(Generic[Config, Fitted]):
    """How a family is fitted, and how a fitted model takes other settings that matter only when it is asked (`asked`)."""

    fit: Callable[[Config, TrainingSet], Fitted]
    again: Callable[[Fitted, Config], Fitted]
    asked: frozenset[str] = frozenset()


def settle(
    config: Config, options: Mapping[str, Sequence[Any]], training: TrainingSet, way: Way[Config, Fitted]
) -> Config:
    """Return the config with a value for every field of `options` that is None, in their order.

    The first option of a field stands until another is better, and stays where the training set is too small to choose by.
    """
    opened = {name: values for name, values in options.items() if getattr(config, name) is None}
    config = _with(config, {name: values[0] for name, values in opened.items()})
    contested = {name: values for name, values in opened.items() if len(values) > 1}
    if not contested:
        return config
    try:
        blind, trial = (training, training.validation) if training.validation else splits.inner(training)
    except InputError:
        return config
    blind, trial = _part(blind), _asked(trial)
    model = way.fit(config, blind)
    best = _value(model, trial)
    for name, values in contested.items():
        begun = model
        for value in values[1:]:
            tried = _with(config, {name: value})
            other = way.again(begun, tried) if name in way.asked else way.fit(tried, blind)
            found = _value(other, trial)
            if found > best:
                best, model, config = found, other, tried
    return config


def given(value: float | None) -> float:
    """Return a value that is settled; ConfigError when it was left open, as in a config that no fit has seen."""
    if value is None:
        raise ConfigError("a setting is still open; fit with the config first, or give it a value")
    return value


def _with(config: Config, values: Mapping[str, Any]) -> Config:
    changed: Config = replace(config, **values)  # type: ignore[type-var]
    return changed


def _part(training: TrainingSet) -> TrainingSet:
    """Return the training set with as many people, evenly spread, as LEARNED interactions allow."""
    known = training.interactions
    if len(known) <= LEARNED:
        return training
    stride = int(np.ceil(len(known) / LEARNED))
    return replace(training, interactions=known.where(known.person_N % stride == 0))


def _asked(trial: Trial) -> Trial:
    people = trial.query.people
    if people <= ASKED:
        return trial
    rows_R = np.unique(np.linspace(0, people - 1, ASKED).astype(np.int64))
    return Trial(query=trial.query.rows(rows_R), truth=tuple(trial.truth[row] for row in rows_R))


def _value(model: Model, trial: Trial) -> float:
    ranking = model.recommend(trial.query, K)
    return float(ndcg(hits(ranking.item_PK, trial.truth), taken(trial.truth), K).mean())
