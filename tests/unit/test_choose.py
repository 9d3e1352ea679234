"""One attempt: its number is the evaluation's own, rungs cost what they say, and nothing is learned from what is asked for."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import pytest

from counterfoil.errors import InputError
from models import splits
from models.choose import chooser, lessened
from models.config import Checked, bounds
from models.data import TrainingSet
from models.evaluate import evaluate
from models.families import family
from models.families.itemknn import ItemKnnConfig
from models.families.popularity import PopularityConfig
from models.families.repurchase import RepurchaseConfig
from models.families.twostage import TwoStageConfig
from models.tune import Budget, Proposal, tune
from tests.shop_data import shop


@pytest.fixture(scope="module")
def training() -> TrainingSet:
    return shop(people=80).training


def measured(config: object, training: TrainingSet, metric: str) -> float:
    """Return what the evaluation finds for this config on what the training set allows to choose by."""
    blind, trial = splits.inner(training)
    model = family(config.family).fit(config, blind, 0)  # type: ignore[attr-defined]
    popular_I = blind.interactions.matrix().getnnz(axis=0)
    scores = evaluate(model, trial.query, trial.truth, slices={}, train_popularity_I=popular_I, k=10)
    return scores.metrics[metric]


@pytest.mark.parametrize("metric", ["ndcg@10", "recall@10", "mrr@10"])
@pytest.mark.parametrize("config", [RepurchaseConfig(half_life_days=20.0), PopularityConfig()])
def test_the_value_is_what_an_evaluation_finds(training: TrainingSet, config: object, metric: str) -> None:
    tried = chooser(training, metric, seed=0).attempt(Proposal(number=0, config=config, bar=None))  # type: ignore[arg-type]
    assert tried.state == "complete"
    assert tried.value == pytest.approx(measured(config, training, metric), abs=1e-12)


def test_a_quarter_of_the_people_decides_whether_the_rest_is_asked(training: TrainingSet) -> None:
    chosen = chooser(training, "ndcg@10", seed=0)
    people = chosen.trial.query.people
    assert chosen.first_P.sum() == int(np.ceil(people / 4))
    whole = chosen.attempt(Proposal(number=0, config=RepurchaseConfig(), bar=None))
    assert whole.first is not None and whole.value is not None
    above, below = np.nextafter(whole.first, 1), whole.first
    pruned = chosen.attempt(Proposal(number=5, config=RepurchaseConfig(), bar=above))
    assert (pruned.state, pruned.value, pruned.first) == ("pruned", None, whole.first)
    assert "on the first quarter of the people, the median so far is" in pruned.reason
    on = chosen.attempt(Proposal(number=5, config=RepurchaseConfig(), bar=below))
    assert (on.state, on.value) == ("complete", whole.value)


def test_another_seed_asks_another_quarter_first(training: TrainingSet) -> None:
    first, second = (chooser(training, "ndcg@10", seed=seed).first_P for seed in (0, 1))
    assert first.sum() == second.sum() and not np.array_equal(first, second)


def test_validation_is_chosen_by_where_there_is_one_and_never_learned_from(training: TrainingSet) -> None:
    blind, trial = splits.inner(training)
    held = replace(blind, validation=trial)
    chosen = chooser(held, "ndcg@10", seed=0)
    assert chosen.trial is trial and chosen.training.interactions is blind.interactions
    cut = chooser(training, "ndcg@10", seed=0)
    assert cut.training.interactions.time_N.max() < cut.trial.query.as_of_us


def test_a_refused_config_has_failed_with_the_reason(training: TrainingSet) -> None:
    tried = chooser(training, "ndcg@10", seed=0).attempt(
        Proposal(number=1, config=TwoStageConfig(depths=(5,)), bar=None)
    )
    assert tried.state == "failed" and tried.value is None and "depths" in tried.reason


def test_what_cannot_be_chosen_by_is_said(training: TrainingSet) -> None:
    with pytest.raises(InputError, match="no cut-offs to choose by"):
        chooser(replace(training, cutoffs={}), "ndcg@10", seed=0)
    for metric in ("coverage@10", "ndcg", "ndcg@", "ndcg@0", "ndcg@ten"):
        with pytest.raises(InputError, match="cannot be tuned by; take one of ndcg"):
            chooser(training, metric, seed=0)


@dataclass(frozen=True, kw_only=True)
class Grower(Checked):
    trees: int = bounds(100, 1, 1000, work=True)


@dataclass(frozen=True, kw_only=True)
class Worker(Checked):
    family: ClassVar[str] = "worker"
    steps: int = bounds(3, 1, 1000, work=True)
    width: int = bounds(8, 1, 64)
    grower: Grower = field(default_factory=Grower)


def test_the_first_rung_has_a_quarter_of_the_work_where_there_is_any() -> None:
    assert lessened(Worker()) == Worker(steps=1, grower=Grower(trees=25))
    assert lessened(RepurchaseConfig()) is None


def test_tuning_finds_a_better_neighbourhood_than_a_bad_one_and_repeats(training: TrainingSet) -> None:
    """A half-life of an hour forgets what everybody likes here; any search finds a longer one."""
    bad = ItemKnnConfig(half_life_days=0.5, shrink=500.0, own_weight=0.0)
    chosen = chooser(training, "ndcg@10", seed=0)
    tuned, again = (tune(bad, chosen.attempt, Budget(trials=12), seed=0) for _ in range(2))
    assert tuned.config == again.config
    assert [one.outcome.value for one in tuned.trials] == [one.outcome.value for one in again.trials]
    assert tuned.best is not None and tuned.best.outcome.value is not None
    before = tuned.trials[0].outcome.value
    assert before is not None and tuned.best.outcome.value > before + 0.02
