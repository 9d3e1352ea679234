"""Tuning in a benchmark: on the training set's own validation, with its cost told apart; what cannot be tuned says so."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from counterfoil.errors import InputError
from flows.benchmark import Benchmark
from flows.benchmark.sets import Named, Terms
from flows.benchmark.tuning import Search, search
from models import splits
from models.families import config_from
from tests.shop_data import shop


@pytest.fixture(scope="module")
def named() -> Named:
    split = splits.leave_one_out(shop(people=80).training.interactions)
    return Named(
        split=split,
        unit_ids=split.unit_P,
        item_ids=np.arange(split.trial.query.items),
    )


def asked(family: str, minutes: float = 0.02) -> Search:
    return Search(family=family, config={}, seed=0, metric="ndcg@10", minutes=minutes, out="")


def test_the_best_on_the_validation_is_told_with_what_it_cost(named: Named) -> None:
    told = search(asked("itemknn"), named)
    values = [one["value"] for one in told["trials"] if one["value"] is not None]
    assert told["base_value"] == values[0] and told["value"] == max(values)
    assert config_from("itemknn", told["config"]) is not None
    assert told["cpu_seconds"] > 0 and told["seconds"] > 0
    assert told["ended"] == "the budget of 0.02 minutes is spent"


def test_the_trial_that_is_measured_by_is_not_looked_at(named: Named) -> None:
    """Other truths to measure by, the same tuning."""
    trial = named.split.trial
    other = replace(named, split=replace(named.split, trial=replace(trial, truth=trial.truth[::-1])))
    once, again = (search(asked("repurchase", 0.001), one)["trials"] for one in (named, other))
    both = min(len(once), len(again))
    assert both > 0 and once[:both] == again[:both]


def test_a_family_without_a_space_needs_nothing_to_choose_by(named: Named) -> None:
    bare = replace(named.split.training, validation=None, inner="time")
    without = replace(named, split=replace(named.split, training=bare))
    told = search(asked("popularity"), without)
    assert (told["trials"], told["ended"]) == ([], "popularity has nothing to search")
    with pytest.raises(InputError, match="no cut-offs to choose by"):
        search(asked("repurchase"), without)


def test_a_budget_and_a_page_that_cannot_be_are_refused_before_anything_runs(tmp_path: Path) -> None:
    terms = Terms(path=tmp_path, format="interactions", protocol="leave-one-out")
    with pytest.raises(
        InputError, match=r"a budget of nan minutes was given.*there is no folder .*gone to write the page"
    ):
        Benchmark(
            terms=terms,
            families=("popularity",),
            budget_minutes=float("nan"),
            html=tmp_path / "gone" / "page.html",
        )
