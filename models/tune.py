"""Tuning: Optuna proposes configs out of the space beside the fields, each is attempted, the best is kept. How one is: choose.py.

Nothing is read or written. A proposal depends on the trials before it and on its own number alone (the sampler is seeded by
trial), so a search that is repeated proposes the same again; whoever remembers what was tried (flows/tune.py) goes on after
a kill -9 where it ended. Trial 0 is the config that was given.

Pruning: what is below the median of the complete trials on the first, cheaper rung is given up (Golovin et al., Google Vizier,
KDD 2017); the median goes with the proposal, as `bar`, so that a trial's record says what it fell short of.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import orjson

from counterfoil import canonical
from counterfoil.errors import InputError
from counterfoil.types import FamilyConfig
from models.config import Options, Search, changed, space, value_at

STARTUP = 8  # trials drawn at random before the sampler learns from them
JUDGED_FROM = 4  # complete trials before any is given up
REPEATS = 12  # proposals in a row that were tried before: then the space is taken for exhausted

State = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What to try: the trial's number, the config, and the value below which the first rung gives up (None: go on)."""

    number: int
    config: FamilyConfig
    bar: float | None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a trial. `first` is the value on the first rung; `value` is there only when it is complete."""

    state: State
    value: float | None = None
    first: float | None = None
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A proposal with its outcome."""

    proposal: Proposal
    outcome: Outcome


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """The best config, the trials in their order (none: there was nothing to search), and why no more were made."""

    config: FamilyConfig
    trials: tuple[Tried, ...]
    ended: str

    @property
    def best(self) -> Tried | None:
        """The trial with the highest value; of equals the first."""
        return _best(self.trials)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long to search: a number of trials (which repeats exactly), minutes, or both; whichever ends first.

    No trial is begun that would not, at the mean of those before, end within the minutes; the first one always is.
    """

    trials: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        """Raise InputError that names every fault."""
        faults = []
        if self.trials is None and self.minutes is None:
            faults.append("tuning needs an end; give a number of trials, or minutes")
        if self.trials is not None and self.trials < 1:
            faults.append(f"{self.trials} trials were asked for; give 1 or more")
        if self.minutes is not None and not 0 < self.minutes < float("inf"):
            faults.append(
                f"a budget of {self.minutes:g} minutes leaves no time for a trial; give more than 0"
            )
        if faults:
            raise InputError("; ".join(faults))


Attempt = Callable[[Proposal], Outcome]


def tune(
    base: FamilyConfig,
    attempt: Attempt,
    budget: Budget,
    *,
    seed: int,
    clock: Callable[[], float] = time.monotonic,
) -> Tuned:
    """Search the space of a family's config from `base` on. InputError when `base` itself cannot be tried."""
    if not space(base):
        return Tuned(config=base, trials=(), ended=f"{base.family} has nothing to search")
    study, trials, begun, repeats = _Study(base, seed), list[Tried](), clock(), 0
    while (ended := _ended(budget, trials, clock() - begun, repeats)) is None:
        proposal = study.ask(len(trials), bar(trials))
        known = next((one.outcome for one in trials if one.proposal.config == proposal.config), None)
        repeats = 0 if known is None else repeats + 1
        outcome = known or attempt(proposal)
        if not trials and outcome.state == "failed":
            raise InputError(f"{base.family} cannot be tuned here: {outcome.reason}")
        study.tell(outcome)
        trials.append(Tried(proposal=proposal, outcome=outcome))
    best = _best(trials)
    return Tuned(config=best.proposal.config if best else base, trials=tuple(trials), ended=ended)


def bar(trials: Sequence[Tried]) -> float | None:
    """Return the median on the first rung of the complete trials; None while there are too few to judge by."""
    firsts = [
        one.outcome.first
        for one in trials
        if one.outcome.state == "complete" and one.outcome.first is not None
    ]
    return statistics.median(firsts) if len(firsts) >= JUDGED_FROM else None


def _ended(budget: Budget, trials: Sequence[Tried], spent_seconds: float, repeats: int) -> str | None:
    """Say why no further trial is made, or None."""
    if budget.trials is not None and len(trials) >= budget.trials:
        return f"all {budget.trials} trials were made"
    if repeats >= REPEATS:
        return "the space is exhausted: what is proposed was tried already"
    if budget.minutes is not None and trials:
        left_seconds = 60 * budget.minutes - spent_seconds
        if spent_seconds / len(trials) > left_seconds:
            return f"the budget of {budget.minutes:g} minutes is spent"
    return None


def _best(trials: Sequence[Tried]) -> Tried | None:
    complete = [one for one in trials if one.outcome.value is not None]
    return max(complete, key=lambda one: one.outcome.value or 0.0, default=None)


class _Study:
    """Optuna's side: ask for a config, tell what came of it. In memory, sampled by TPE (Bergstra et al., NeurIPS 2011)."""

    def __init__(self, base: FamilyConfig, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.base, self.seed = base, seed
        self.space = space(base)
        self.distributions = {name: _distribution(search) for name, search in self.space.items()}
        self.study = optuna.create_study(direction="maximize")
        begun = {name: value_at(base, name) for name in self.space}
        # A config outside of its space (None: settled by the data when it is fitted) is tried, but teaches the sampler nothing.
        self.begins = all(_within(self.space[name], value) for name, value in begun.items())
        if self.begins:
            self.study.enqueue_trial({name: _told(self.space[name], value) for name, value in begun.items()})
        self.trial: Any = None

    def ask(self, number: int, least: float | None) -> Proposal:
        """Return the next proposal; the sampler is seeded by its number, so that who goes on later is proposed the same."""
        import optuna

        if number == 0 and not self.begins:
            return Proposal(number=0, config=self.base, bar=least)
        drawn = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        self.study.sampler = optuna.samplers.TPESampler(seed=drawn, n_startup_trials=STARTUP)
        self.trial = self.study.ask(self.distributions)
        values = {name: _meant(self.space[name], value) for name, value in self.trial.params.items()}
        config = self.base if number == 0 else changed(self.base, values)
        return Proposal(number=number, config=config, bar=least)

    def tell(self, outcome: Outcome) -> None:
        """Tell what came of the last proposal."""
        import optuna

        if self.trial is None:
            return
        states = optuna.trial.TrialState
        if outcome.first is not None:
            self.trial.report(outcome.first, step=0)
        if outcome.value is not None:
            self.study.tell(self.trial, outcome.value)
        else:
            self.study.tell(self.trial, state=states.PRUNED if outcome.state == "pruned" else states.FAIL)


def _distribution(search: Search) -> Any:
    from optuna import distributions

    if isinstance(search, Options):
        return distributions.CategoricalDistribution([_told(search, value) for value in search])
    if search.whole:
        return distributions.IntDistribution(int(search.low), int(search.high), log=search.log)
    return distributions.FloatDistribution(search.low, search.high, log=search.log)


def _within(search: Search, value: Any) -> bool:
    if isinstance(search, Options):
        return value in search
    return isinstance(value, int | float) and search.low <= value <= search.high


def _told(search: Search, value: Any) -> Any:
    """Return a value as Optuna is told it: of options their JSON, since it holds no tuples."""
    return canonical.encode(value).decode() if isinstance(search, Options) else value


def _meant(search: Search, value: Any) -> Any:
    """Return what Optuna's value stands for; four digits say enough of a number."""
    if not isinstance(search, Options):
        return float(f"{value:.4g}") if isinstance(value, float) else value
    meant = orjson.loads(value)
    return tuple(meant) if isinstance(meant, list) else meant
