"""EASE-R: weights worked out by hand, the plain inverse, what is kept, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from counterfoil.errors import ConfigError
from models.data import DAY_US, Query
from models.families import ease
from models.families.ease import FAMILY, Ease, EaseConfig, strongest, weights
from models.splits import no_features
from tests.shop_data import START_US, interactions, shop

GIVEN = EaseConfig(half_life_days=10.0, own_weight=0.0)


def test_weights_of_two_items_by_hand() -> None:
    """X'X + 1 = [[3, 1], [1, 2]], its inverse [[2, -1], [-1, 3]] / 5; B is that over minus its diagonal, by column."""
    found_JJ = weights(csr_matrix(np.array([[1, 1], [1, 0]], np.float32)), 1.0)
    np.testing.assert_allclose(found_JJ, [[0, 1 / 3], [1 / 2, 0]], rtol=1e-6)


def test_weights_are_those_of_the_plain_inverse() -> None:
    taken_PJ = (np.random.default_rng(0).random((50, 1100)) < 0.1).astype(np.float32)  # more than two blocks
    inverse_JJ = np.linalg.inv(taken_PJ.T.astype(float) @ taken_PJ + 3.0 * np.eye(1100))
    expected_JJ = -inverse_JJ / np.diag(inverse_JJ)
    np.fill_diagonal(expected_JJ, 0.0)
    found_JJ = weights(csr_matrix(taken_PJ), 3.0)
    np.testing.assert_allclose(found_JJ, expected_JJ, atol=2e-5)
    assert found_JJ.dtype == np.float32


def test_the_strongest_weights_stay_as_they_are() -> None:
    weight_JJ = np.array([[0, 0.5, -0.9, 0.1], [0.2, 0, 0, 0], [1, 2, 0, 3], [0, 0, 0, 0]], np.float32)
    expected_JJ = [[0, 0.5, -0.9, 0], [0.2, 0, 0, 0], [0, 2, 0, 3], [0, 0, 0, 0]]
    np.testing.assert_array_equal(strongest(weight_JJ, 2).toarray(), np.array(expected_JJ, np.float32))
    np.testing.assert_array_equal(strongest(weight_JJ, 9).toarray(), weight_JJ)


def test_recent_items_speak_louder() -> None:
    weight_II = csr_matrix(np.array([[0, 0, 0.5, 0], [0, 0, 0, 0.4], [0] * 4, [0] * 4], np.float32))
    model = Ease(GIVEN, weight_II, np.zeros(4, np.float32))
    for days_ago, expected in (([0, 10], [2, 3]), ([10, 0], [3, 2])):
        times = [START_US - days * DAY_US for days in days_ago]
        history = interactions([0, 0], [0, 1], times, people=1, items=4)
        asked = Query(history=history, as_of_us=START_US, features=no_features(1, 4))
        assert model.recommend(asked, 2).item_PK.tolist() == [expected]


def test_more_items_than_allowed_are_refused_in_a_sentence() -> None:
    training = shop(people=20, days=56, cutoffs=1).training
    with pytest.raises(
        ConfigError, match=r"ease would learn \d+ items and may learn 10 .*; raise least_takers"
    ):
        FAMILY.fit(replace(GIVEN, most_items=10), training, 0)


def test_rare_items_are_left_out_and_answered_last() -> None:
    training = shop(people=20, days=56, cutoffs=1).training
    takers_I = training.interactions.matrix().getnnz(axis=0)
    least = int(np.median(takers_I)) + 1
    model = FAMILY.fit(
        replace(GIVEN, least_takers=least, most_items=int((takers_I >= least).sum())), training, 0
    )
    assert set(np.unique(model.weight_II.indices)) <= set(np.flatnonzero(takers_I >= least))
    assert set(np.flatnonzero(np.diff(model.weight_II.indptr))) <= set(np.flatnonzero(takers_I >= least))


def test_lambda_grows_with_the_length_of_histories() -> None:
    training = shop(people=20, days=56, cutoffs=1).training
    taken_PI = (training.interactions.matrix() > 0).astype(np.float32)
    penalty = 7.0 * taken_PI.getnnz(axis=1).mean()
    model = FAMILY.fit(GIVEN, training, 0)
    took = np.flatnonzero(taken_PI.getnnz(axis=0))
    expected_JJ = weights(csr_matrix(taken_PI[:, took]), penalty)
    np.testing.assert_array_equal(model.weight_II.toarray()[np.ix_(took, took)], expected_JJ)


def test_a_ridge_that_vanishes_is_refused() -> None:
    twins_PJ = csr_matrix(np.full((40, 300), 1.0, np.float32))
    with pytest.raises(ConfigError, match="too small to invert 300 items"):
        ease.weights(twins_PJ, 1e-9)
