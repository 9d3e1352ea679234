"""Popularity: order, ties, and where the counts come from."""

from dataclasses import replace

import numpy as np
import pytest

from counterfoil.errors import IntegrityError
from models.data import Features, Query
from models.families.popularity import FAMILY, Popularity, PopularityConfig, load
from models.splits import no_features
from tests.shop_data import START_US, interactions, shop


def question(rows: int, **columns: list[float]) -> Query:
    items = len(next(iter(columns.values()))) if columns else 4
    features: Features = replace(
        no_features(rows, items),
        item_names=tuple(columns),
        item_IF=np.array(list(columns.values()), np.float32).reshape(len(columns), items).T,
    )
    return Query(
        history=interactions([], [], [], people=rows, items=items), as_of_us=START_US, features=features
    )


def test_orders_by_the_feature_then_by_learned_buyers_then_by_number() -> None:
    model = Popularity(PopularityConfig(), np.array([1, 5, 5, 0, 9], np.float32))
    ranking = model.recommend(question(2, buyers_28d=[3, 3, 3, 7, 0]), 5)
    assert ranking.item_PK.tolist() == [[3, 1, 2, 0, 4]] * 2
    assert ranking.score_PK.tolist() == [[7, 3, 3, 3, 0]] * 2


def test_takes_the_feature_that_its_config_names() -> None:
    model = Popularity(PopularityConfig(feature="trend"), np.zeros(3, np.float32))
    assert model.recommend(question(1, buyers_28d=[9, 0, 0], trend=[0, 1, 2]), 1).item_PK.tolist() == [[2]]


def test_falls_back_on_buyers_learned_at_fit() -> None:
    training = shop(people=8, days=28, horizon_days=14, cutoffs=1).training
    model = FAMILY.fit(PopularityConfig(), training, 0)
    buyers_I = np.zeros(training.interactions.items)
    for person in range(8):
        buyers_I[np.unique(training.interactions.item_N[training.interactions.person_N == person])] += 1
    assert model.buyers_I.tolist() == buyers_I.tolist()
    query = replace(
        training.query(np.arange(2), training.until_us), features=no_features(2, training.interactions.items)
    )
    assert model.recommend(query, 1).item_PK.tolist() == [[int(buyers_I.argmax())]] * 2


def test_absent_values_count_as_none_sold() -> None:
    model = Popularity(PopularityConfig(), np.array([0, 3, 0], np.float32))
    assert model.recommend(question(1, buyers_28d=[np.nan, np.nan, 1]), 3).item_PK.tolist() == [[2, 1, 0]]


def test_exclusions_are_filled_up_from_below() -> None:
    model = Popularity(PopularityConfig(), np.zeros(5, np.float32))
    asked = replace(
        question(2, buyers_28d=[5, 4, 3, 2, 1]), exclude=(np.array([0, 1, 3]), np.array([], np.int32))
    )
    assert model.recommend(asked, 2).item_PK.tolist() == [[2, 4], [0, 1]]


def test_a_broken_file_is_named(tmp_path) -> None:
    Popularity(PopularityConfig(), np.zeros(5, np.float32)).save(tmp_path)
    np.save(tmp_path / "buyers.npy", np.zeros(5))
    with pytest.raises(
        IntegrityError, match=r"buyers.npy holds float64 of 1 dimensions, expected float32 of 1"
    ):
        load(tmp_path)
