"""Sequential rules against counts worked out by hand, and what their settings do."""

from dataclasses import replace

import numpy as np
import pytest

from counterfoil.errors import ConfigError
from models.data import DAY_US, Interactions, Query, TrainingSet
from models.families.rules import FAMILY, RulesConfig, baskets, fit, learn, steps_back, strongest
from models.settle import given
from models.splits import leave_one_out, no_features
from tests.shop_data import START_US, interactions

COUNTS = RulesConfig(
    reach=2,
    fade=0.5,
    backward=0.0,
    half_life_days=1e9,
    asked_fade=0.5,
    by_source=0.0,
    by_target=0.0,
    shrink=0.0,
    own_weight=0.0,
)


def history(*people: list[int], items: int = 4) -> Interactions:
    person = [row for row, taken in enumerate(people) for _ in taken]
    item = [one for taken in people for one in taken]
    time = [START_US + day * DAY_US for taken in people for day in range(len(taken))]
    return interactions(person, item, time, people=len(people), items=items)


def test_what_follows_counts_less_the_further_away() -> None:
    found_II = learn(COUNTS, history([0, 1, 2], [0, 1])).toarray()
    expected_II = np.zeros((4, 4))
    expected_II[0, 1], expected_II[1, 2], expected_II[0, 2] = 2.0, 1.0, 0.5
    np.testing.assert_allclose(found_II, expected_II)


def test_backward_adds_what_came_before() -> None:
    found_II = learn(replace(COUNTS, backward=0.25), history([0, 1, 2])).toarray()
    assert found_II[1].tolist() == [0.25, 0.0, 1.0, 0.0]
    assert found_II[2].tolist() == [0.125, 0.25, 0.0, 0.0]


def test_both_ends_and_shrinkage_damp_a_rule() -> None:
    damped = replace(COUNTS, by_source=1.0, by_target=0.5, shrink=2.0)
    found_II = learn(damped, history([0, 1], [0, 2], [0, 3])).toarray()
    # three took 0 and one took 1: 1 / (3 + 2) / sqrt(1 + 2)
    assert found_II[0, 1] == pytest.approx(0.2 / np.sqrt(3.0))


def test_a_basket_follows_nothing_within_itself() -> None:
    known = interactions([0, 0, 0], [0, 1, 2], [START_US, START_US, START_US + 1], people=1, items=3)
    assert baskets(known).tolist() == [0, 0, 1]
    assert steps_back(known).tolist() == [1, 1, 0]
    assert learn(COUNTS, known).toarray().tolist() == [[0, 0, 1], [0, 0, 1], [0, 0, 0]]


def test_what_happened_long_ago_counts_half() -> None:
    known = interactions(
        [0, 0, 1, 1],
        [0, 1, 0, 2],
        [START_US, START_US + 1, START_US, START_US + 10 * DAY_US],
        people=2,
        items=3,
    )
    found_II = learn(replace(COUNTS, half_life_days=10.0), known).toarray()
    np.testing.assert_allclose(found_II[0], [0.0, 0.5, 1.0], rtol=1e-6)


def test_only_the_strongest_are_kept_and_ties_go_to_the_lower_item() -> None:
    rules_II = learn(COUNTS, history([0, 3], [0, 2], [0, 2], [0, 1]))
    assert strongest(rules_II, 2)[0].indices.tolist() == [1, 2]


def test_the_latest_item_speaks_loudest() -> None:
    model = fit(COUNTS, training(history([0, 2], [1, 3])), 0)
    asked = Query(
        history=history([0, 1]),
        as_of_us=START_US + 2 * DAY_US,
        features=no_features(1, 4),
        exclude=(np.array([0, 1]),),
    )
    answer = model.recommend(asked, 2)
    assert answer.item_PK.tolist() == [[3, 2]]
    np.testing.assert_allclose(answer.score_PK, [[1.0, 0.5]], atol=1e-5)


def training(known: Interactions) -> TrainingSet:
    return TrainingSet(
        interactions=known,
        until_us=START_US + 10 * DAY_US,
        horizon_us=DAY_US,
        cutoffs={},
        features=no_features(known.people, known.items),
        inner="last",
    )


def test_open_settings_are_chosen_by_what_was_kept() -> None:
    """In a cycle only the latest item tells the next one, so history should fade fast; what was taken never comes at once."""
    random = np.random.default_rng(0)
    people = [[int(start + step) % 12 for step in range(8)] for start in random.integers(12, size=200)]
    split = leave_one_out(history(*people, items=12))
    model = FAMILY.fit(RulesConfig(), split.training, 0)
    answer = model.recommend(split.trial.query, 1)
    assert np.mean(answer.item_PK[:, 0] == np.array([row[0] for row in split.trial.truth])) == 1.0
    assert given(model.config.own_weight) == 0.0


def test_a_setting_that_is_given_stays() -> None:
    split = leave_one_out(history(*[[0, 1, 2, 3]] * 20))
    assert fit(RulesConfig(shrink=7.0), split.training, 0).config.shrink == 7.0


def test_an_open_setting_cannot_be_used() -> None:
    with pytest.raises(ConfigError, match="still open"):
        learn(RulesConfig(), history([0, 1]))
