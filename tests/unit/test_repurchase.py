"""Repurchase: decay worked out by hand, ties and strangers by popularity."""

import numpy as np
import pytest

from counterfoil.errors import ConfigError
from models.data import DAY_US, Query
from models.families.repurchase import Repurchase, RepurchaseConfig, decay
from models.splits import no_features
from tests.shop_data import START_US, interactions


def question(days_ago: dict[int, list[float]], people: int = 1, items: int = 5) -> Query:
    """Ask for people of whom the first took items so many days ago."""
    item = [item for item, ages in days_ago.items() for _ in ages]
    time = [int(START_US - age * DAY_US) for ages in days_ago.values() for age in ages]
    history = interactions([0] * len(item), item, time, people=people, items=items)
    return Query(history=history, as_of_us=START_US, features=no_features(people, items))


def test_a_purchase_counts_half_after_a_half_life() -> None:
    query = question({0: [0], 1: [90], 2: [180]})
    assert decay(query.history, START_US, 90.0).tolist() == [0.25, 0.5, 1.0]


def test_frequency_outweighs_recency_by_the_half_life() -> None:
    model = Repurchase(RepurchaseConfig(half_life_days=90), np.zeros(5, np.float32))
    ranking = model.recommend(question({3: [90, 90, 90], 1: [0], 2: [180]}), 3)
    assert ranking.item_PK.tolist() == [[3, 1, 2]]
    assert ranking.score_PK.tolist() == [[1.5, 1.0, 0.25]]


def test_popularity_orders_equals_and_what_was_never_taken() -> None:
    model = Repurchase(RepurchaseConfig(), np.array([0, 4, 8, 6, 2], np.float32))
    ranking = model.recommend(question({0: [10], 1: [10]}), 5)
    assert ranking.item_PK.tolist() == [[1, 0, 2, 3, 4]]


def test_a_stranger_gets_what_is_popular() -> None:
    model = Repurchase(RepurchaseConfig(), np.array([0, 4, 8, 6, 2], np.float32))
    assert model.recommend(question({0: [1]}, people=2), 2).item_PK.tolist() == [[0, 2], [2, 3]]


def test_a_longer_half_life_brings_back_old_habits() -> None:
    query = question({0: [300, 301, 302], 1: [1, 2]})
    quick, slow = (
        Repurchase(RepurchaseConfig(half_life_days=days), np.zeros(5, np.float32))
        .recommend(query, 1)
        .item_PK[0, 0]
        for days in (30.0, 3000.0)
    )
    assert (quick, slow) == (1, 0)


def test_a_half_life_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"half_life_days is 0\.0, must be from 0\.01"):
        RepurchaseConfig(half_life_days=0.0)
