"""What a history weighs: planted shops in which the last item, or the most frequent one, decides; and how scores are mixed."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from models import recency
from models.data import DAY_US, Interactions
from models.recency import Recency
from models.splits import leave_one_out
from tests.shop_data import START_US, interactions, shop


def chains(people: int = 200, leaps: int = 4, items: int = 40) -> Interactions:
    """Everybody leaps to an item that nothing foretells, goes on to the next one, and so on; a leap comes last."""
    random = np.random.default_rng(0)
    person, item, time = [], [], []
    for someone in range(people):
        visited = [
            int(first + step) % items for first in random.integers(items, size=leaps + 1) for step in (0, 1)
        ]
        for place, thing in enumerate(visited[:-1]):
            person.append(someone)
            item.append(thing)
            time.append(START_US + place * DAY_US)
    return interactions(person, item, time, people=people, items=items)


def test_where_the_last_item_decides_memory_is_short() -> None:
    training = leave_one_out(chains(), repeats=False).training
    chosen = recency.choose(training, None, None)
    assert chosen.half_life_days <= 3
    assert chosen.own_weight == 0


def test_where_favourites_are_bought_again_they_speak() -> None:
    chosen = recency.choose(shop().training, None, None)
    assert chosen.own_weight >= 0.3
    assert chosen.half_life_days >= 10


def test_what_is_given_is_kept() -> None:
    training = shop(people=12, days=56).training
    assert recency.choose(training, 7.0, 0.25) == Recency(half_life_days=7.0, own_weight=0.25)
    assert recency.choose(training, 7.0, None).half_life_days == 7.0
    assert recency.choose(training, None, 0.25).own_weight == 0.25


@pytest.mark.parametrize(("repeats", "own_weight"), [(True, 1.0), (False, 0.0)])
def test_too_little_to_choose_by_gives_ninety_days(repeats: bool, own_weight: float) -> None:
    training = replace(shop(people=12, days=56).training, cutoffs={}, repeats=repeats)
    assert recency.choose(training, None, None) == Recency(half_life_days=90.0, own_weight=own_weight)


def test_scores_are_mixed_as_worked_out_by_hand() -> None:
    score_PI = np.array([[2, -4, 0, 0], [0, 0, 0, 0]], np.float32)
    taken_PI = csr_matrix(np.array([[1, 0, 2, 0], [0, 0, 0, 0.5]], np.float32))
    prior_I = np.array([0.01, 0, 0, 0.02], np.float32)
    mixed_PI = Recency(half_life_days=1.0, own_weight=3.0).mix(score_PI, 3, taken_PI, prior_I)
    # scaled by 4; item 3 came after the fit and begins at the lowest; the most taken item gets 3
    expected_PI = [[0.5 + 1.5 + 0.01, -1, 3, -1 + 0.02], [0.01, 0, 0, 3.02]]
    np.testing.assert_allclose(mixed_PI, expected_PI, rtol=1e-6)
