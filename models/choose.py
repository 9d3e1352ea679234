"""What configs are chosen by, and one attempt: fit on what may be learned from, ask the people of the validation, one number.

An attempt has two rungs: it is made at a part of its cost first, and goes on only when it is not below the bar there
(models/tune.py). The first rung asks a quarter of the people; where a family's fit has work to save (`work` of
models/config.py), of a fit with a quarter of it. Nothing is read or written. Shapes: P people.
"""

import time
from dataclasses import dataclass, field, replace

import numpy as np

from counterfoil.errors import ConfigError, InputError
from counterfoil.types import FamilyConfig
from models import splits
from models.config import changed, value_at, work_of
from models.data import TrainingSet, Trial
from models.family import Model
from models.metrics.accuracy import ACCURACY, hits, taken
from models.tune import Outcome, Proposal

RUNG = 0.25  # share of the people, or of the work, on the first rung


@dataclass(frozen=True, kw_only=True)
class Chooser:
    """What may be learned from, the trial, its metric ("ndcg@10"), and who of its people is asked first, bool [P]."""

    training: TrainingSet
    trial: Trial
    metric: str
    seed: int
    first_P: np.ndarray = field(repr=False)

    def attempt(self, proposal: Proposal) -> Outcome:
        """Fit a proposal and ask it, rung by rung. A config that its family refuses has failed, with the reason."""
        begun = time.perf_counter()
        try:
            outcome = self._climb(proposal)
        except (ConfigError, InputError) as refusal:
            outcome = Outcome(state="failed", reason=str(refusal))
        return replace(outcome, seconds=round(time.perf_counter() - begun, 3))

    def _climb(self, proposal: Proposal) -> Outcome:
        config = proposal.config
        small = lessened(config)
        model = self._fit(config if small is None else small)
        first_P = self._ask(model, self.first_P)
        first = _mean(first_P)
        if proposal.bar is not None and first < proposal.bar:
            part = "of the people" if small is None else "of the work"
            reason = f"{first:.4f} on the first quarter {part}, the median so far is {proposal.bar:.4f}"
            return Outcome(state="pruned", first=first, reason=reason)
        if small is not None:
            model = self._fit(config)
            first_P = self._ask(model, self.first_P)
        rest_P = self._ask(model, ~self.first_P)
        return Outcome(state="complete", first=first, value=_mean(np.concatenate([first_P, rest_P])))

    def _fit(self, config: FamilyConfig) -> Model:
        from models.families import family

        return family(config.family).fit(config, self.training, self.seed)

    def _ask(self, model: Model, mask_P: np.ndarray) -> np.ndarray:
        """Return the metric of these people, float64 [P]."""
        rows = np.flatnonzero(mask_P)
        name, k = _metric(self.metric)
        ranking = model.recommend(self.trial.query.rows(rows), k)
        truth = [self.trial.truth[row] for row in rows]
        return ACCURACY[name](hits(ranking.item_PK, truth), taken(truth), k)


def chooser(training: TrainingSet, metric: str, *, seed: int) -> Chooser:
    """Return what a training set allows to choose by: its validation, else what `splits.inner` cuts from it.

    InputError when there is too little to choose by, or `metric` is no accuracy of a list.
    """
    _metric(metric)
    blind, trial = splits.choosing(training)
    people = trial.query.people
    first_P = np.zeros(people, bool)
    first_P[np.random.default_rng(seed).permutation(people)[: int(np.ceil(RUNG * people))]] = True
    return Chooser(training=blind, trial=trial, metric=metric, seed=seed, first_P=first_P)


def lessened(config: FamilyConfig) -> FamilyConfig | None:
    """Return the config with a quarter of its work, for the first rung; None where a family has no work to save."""
    less = {name: max(1, round(RUNG * value_at(config, name))) for name in work_of(config)}
    made: FamilyConfig | None = changed(config, less) if less else None
    return made


def _metric(text: str) -> tuple[str, int]:
    name, at, k = text.partition("@")
    if name not in ACCURACY or not at or not k.isdigit() or not int(k):
        raise InputError(
            f"{text!r} cannot be tuned by; take one of {', '.join(ACCURACY)} with the length of the list, as ndcg@10"
        )
    return name, int(k)


def _mean(value_P: np.ndarray) -> float:
    finite_P = value_P[np.isfinite(value_P)]
    return float(finite_P.mean()) if len(finite_P) else 0.0
