"""PureSVD: vectors of a matrix worked out by hand, the plain decomposition, and what a history meets."""

import numpy as np
from scipy.sparse import csr_matrix

from models.data import Query
from models.families.svd import FAMILY, Svd, SvdConfig, vectors
from models.splits import no_features
from tests.shop_data import START_US, interactions, shop

PURE = SvdConfig(scaling=1.0, half_life_days=10.0, own_weight=0.0)
TAKEN_PI = csr_matrix(np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], np.float32))


def test_the_leading_vector_by_hand() -> None:
    vector_IF = vectors(SvdConfig(factors=1, scaling=1.0), TAKEN_PI, seed=0)
    np.testing.assert_allclose(vector_IF @ vector_IF.T, [[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 0]], atol=1e-6)


def test_scaling_divides_columns_by_a_power_of_their_length() -> None:
    random_PI = (np.random.default_rng(0).random((30, 12)) < 0.3).astype(np.float32)
    found_IF = vectors(SvdConfig(factors=4, scaling=0.5, power_iterations=20), csr_matrix(random_PI), seed=0)
    scaled_PI = random_PI * np.linalg.norm(random_PI, axis=0) ** -0.5
    expected_IF = np.linalg.svd(scaled_PI)[2][:4].T
    np.testing.assert_allclose(found_IF @ found_IF.T, expected_IF @ expected_IF.T, atol=1e-4)


def test_no_more_factors_than_the_matrix_has() -> None:
    assert vectors(SvdConfig(factors=50), TAKEN_PI, seed=0).shape == (3, 3)


def test_a_history_is_projected_whoever_it_belongs_to() -> None:
    vector_IF = np.array([[0.6], [0.8], [0.0]], np.float32)
    model = Svd(PURE, vector_IF, np.zeros(3, np.float32))
    history = interactions([0], [0], [START_US], people=1, items=3)
    found = model.recommend(Query(history=history, as_of_us=START_US, features=no_features(1, 3)), 3)
    assert found.item_PK.tolist() == [[1, 0, 2]]  # .48, .36 and 0, scaled by the largest
    np.testing.assert_allclose(found.score_PK, [[1, 0.75, 0]], rtol=1e-6)


def test_the_same_seed_gives_the_same_vectors() -> None:
    training = shop(people=30, days=56, cutoffs=1).training
    one, two = (FAMILY.fit(SvdConfig(factors=8), training, 5) for _ in range(2))
    np.testing.assert_array_equal(one.vector_IF, two.vector_IF)
