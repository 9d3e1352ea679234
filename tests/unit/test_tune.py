"""The search: it repeats, it goes on, it finds a planted optimum, it gives up what is poor, and it ends when it should."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import pytest

from counterfoil.errors import InputError
from models.config import Checked, Span, bounds, searched
from models.families.popularity import PopularityConfig
from models.tune import JUDGED_FROM, REPEATS, Budget, Outcome, Proposal, Tried, bar, tune


@dataclass(frozen=True, kw_only=True)
class Toy(Checked):
    family: ClassVar[str] = "toy"
    height: float = bounds(0.5, 0.0, 10.0, search=Span(0.01, 10, log=True))
    colour: Literal["red", "blue"] = searched("red")


@dataclass(frozen=True, kw_only=True)
class Switch(Checked):
    family: ClassVar[str] = "switch"
    on: bool = searched(False)


def value(config: Toy) -> float:
    """The planted truth: 3 and blue are best, with 1.5."""
    return 1.0 - abs(config.height - 3.0) / 10.0 + 0.5 * (config.colour == "blue")


def attempt(proposal: Proposal) -> Outcome:
    found = value(proposal.config)  # type: ignore[arg-type]
    if proposal.bar is not None and found < proposal.bar:
        return Outcome(state="pruned", first=found)
    return Outcome(state="complete", first=found, value=found)


def test_trial_0_is_the_config_that_was_given_and_the_best_is_near_the_planted_one() -> None:
    begun = Toy(height=0.5)
    tuned = tune(begun, attempt, Budget(trials=40), seed=0)
    assert tuned.trials[0].proposal == Proposal(number=0, config=begun, bar=None)
    assert [one.proposal.number for one in tuned.trials] == list(range(40))
    assert tuned.config.colour == "blue" and 2.0 < tuned.config.height < 4.0  # type: ignore[attr-defined]
    assert tuned.best is not None and tuned.best.outcome.value == value(tuned.config)  # type: ignore[arg-type]
    assert tuned.ended == "all 40 trials were made"


def test_the_same_seed_repeats_and_a_longer_search_begins_with_the_shorter_one() -> None:
    long = tune(Toy(), attempt, Budget(trials=25), seed=3)
    assert tune(Toy(), attempt, Budget(trials=25), seed=3) == long
    assert tune(Toy(), attempt, Budget(trials=9), seed=3).trials == long.trials[:9]
    assert tune(Toy(), attempt, Budget(trials=9), seed=4).trials[1:] != long.trials[1:9]


def test_what_is_below_the_median_of_the_complete_trials_is_given_up() -> None:
    trials = tune(Toy(), attempt, Budget(trials=30), seed=0).trials
    assert [one.proposal.bar for one in trials[:JUDGED_FROM]] == [None] * JUDGED_FROM
    for one in trials:
        told = one.proposal.bar
        assert (one.outcome.state == "pruned") == (told is not None and value(one.proposal.config) < told)  # type: ignore[arg-type]
    assert {one.outcome.state for one in trials} == {"complete", "pruned"}


def test_the_bar_is_a_median_and_the_pruned_do_not_lower_it() -> None:
    def tried(first: float, state: Literal["complete", "pruned"] = "complete") -> Tried:
        proposal = Proposal(number=0, config=Toy(), bar=None)
        return Tried(proposal=proposal, outcome=Outcome(state=state, first=first, value=first))

    assert bar([tried(1.0), tried(2.0), tried(3.0)]) is None
    assert bar([tried(1.0), tried(2.0), tried(3.0), tried(6.0), tried(0.0, "pruned")]) == 2.5


@pytest.mark.parametrize("height", [None, 0.0])
def test_a_config_outside_of_its_space_is_tried_first_all_the_same(height: float | None) -> None:
    """None is settled by the data when it is fitted; here it is as good as 1."""

    @dataclass(frozen=True, kw_only=True)
    class Settled(Checked):
        family: ClassVar[str] = "settled"
        height: float | None = bounds(None, 0.0, 10.0, search=Span(0.01, 10, log=True))

    def settle(proposal: Proposal) -> Outcome:
        found = 1.0 - abs((proposal.config.height or 1.0) - 3.0)  # type: ignore[attr-defined]
        return Outcome(state="complete", first=found, value=found)

    tuned = tune(Settled(height=height), settle, Budget(trials=20), seed=0)
    assert tuned.trials[0].proposal.config == Settled(height=height)
    assert len(tuned.trials) == 20 and 2.0 < tuned.config.height < 4.0  # type: ignore[attr-defined]


def test_of_equals_the_first_wins() -> None:
    def flat(proposal: Proposal) -> Outcome:
        return Outcome(state="complete", first=0.2, value=0.2)

    assert tune(Toy(), flat, Budget(trials=6), seed=0).config == Toy()


def test_what_a_family_refuses_has_failed_and_the_search_goes_on() -> None:
    def refuse(proposal: Proposal) -> Outcome:
        if proposal.config.height > 1.0:  # type: ignore[attr-defined]
            return Outcome(state="failed", reason="too high")
        return Outcome(state="complete", first=0.1, value=0.1)

    tuned = tune(Toy(), refuse, Budget(trials=12), seed=0)
    states = [one.outcome.state for one in tuned.trials]
    assert {"failed", "complete"} == set(states) and len(states) == 12
    assert tuned.config.height <= 1.0  # type: ignore[attr-defined]


def test_a_config_that_cannot_be_tried_at_all_is_said_in_one_sentence() -> None:
    def refuse(proposal: Proposal) -> Outcome:
        return Outcome(state="failed", reason="the catalogue is too large")

    with pytest.raises(InputError, match="toy cannot be tuned here: the catalogue is too large"):
        tune(Toy(), refuse, Budget(trials=5), seed=0)


def test_a_family_without_a_space_keeps_its_config() -> None:
    def never(proposal: Proposal) -> Outcome:
        raise AssertionError("nothing is to be tried")

    tuned = tune(PopularityConfig(), never, Budget(minutes=1), seed=0)
    assert tuned.config == PopularityConfig() and tuned.trials == () and tuned.best is None
    assert tuned.ended == "popularity has nothing to search"


def test_a_space_that_was_tried_whole_ends_the_search_and_nothing_is_tried_twice() -> None:
    seen: list[bool] = []

    def once(proposal: Proposal) -> Outcome:
        seen.append(proposal.config.on)  # type: ignore[attr-defined]
        return Outcome(state="complete", first=0.3, value=0.3 + seen[-1])

    tuned = tune(Switch(), once, Budget(minutes=60), seed=0)
    assert seen == [False, True] and tuned.config == Switch(on=True)
    assert tuned.ended.startswith("the space is exhausted") and len(tuned.trials) <= 2 + 2 * REPEATS


def ticking(seconds: float) -> tuple[Callable[[], float], Callable[[Proposal], Outcome]]:
    """Return a clock, and an attempt that takes that long by it."""
    now = [1000.0]

    def late(proposal: Proposal) -> Outcome:
        now[0] += seconds
        return attempt(proposal)

    return lambda: now[0], late


@pytest.mark.parametrize(("minutes", "trials"), [(1.0, 6), (0.99, 5), (0.01, 1)])
def test_no_trial_is_begun_that_would_not_end_within_the_minutes(minutes: float, trials: int) -> None:
    clock, late = ticking(10.0)
    tuned = tune(Toy(), late, Budget(minutes=minutes), seed=0, clock=clock)
    assert len(tuned.trials) == trials
    assert tuned.ended == f"the budget of {minutes:g} minutes is spent"


def test_the_number_ends_it_before_the_minutes_do() -> None:
    clock, late = ticking(10.0)
    assert len(tune(Toy(), late, Budget(minutes=1.0, trials=3), seed=0, clock=clock).trials) == 3


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "tuning needs an end"),
        ({"minutes": 0.0}, "a budget of 0 minutes leaves no time"),
        ({"minutes": -1.0}, "a budget of -1 minutes"),
        ({"minutes": float("nan")}, "a budget of nan minutes"),
        ({"trials": 0}, "0 trials were asked for"),
        ({"trials": 0, "minutes": 0.0}, "0 trials were asked for; give 1 or more; a budget of 0 minutes"),
    ],
)
def test_a_budget_that_allows_nothing_is_refused(given: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Budget(**given)
