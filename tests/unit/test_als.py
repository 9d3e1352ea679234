"""ALS: the fold-in against a plain solve and against implicit's own; threads and BLAS change nothing."""

from dataclasses import replace

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix

from models.families.als import FAMILY, Als, AlsConfig, confidence
from tests.shop_data import shop

CONFIG = AlsConfig(factors=6, iterations=4, regularization=0.3, alpha=2.0)


def test_confidence_grows_with_the_logarithm_of_decayed_counts() -> None:
    training = shop(people=4, days=28, cutoffs=1).training
    found_PI = confidence(CONFIG, training.interactions, training.until_us)
    ages_N = (training.until_us - training.interactions.time_N) / 86_400_000_000
    first = (training.interactions.person_N == 0) & (
        training.interactions.item_N == training.interactions.item_N[0]
    )
    expected = 1 + 2.0 * np.log(1 + np.exp2(-ages_N[first] / 45).sum())
    np.testing.assert_allclose(found_PI[0, training.interactions.item_N[0]], expected, rtol=1e-5)


def test_fold_in_solves_the_normal_equations() -> None:
    random = np.random.default_rng(0)
    factor_IF = random.normal(size=(20, 6)).astype(np.float32)
    taken_PI = csr_matrix(
        np.where(random.random((3, 20)) < 0.4, random.random((3, 20)) * 5, 0).astype(np.float32)
    )
    found_PF = Als(CONFIG, factor_IF, np.zeros(20, np.float32)).fold_in(taken_PI)
    for person in range(3):
        c_I = np.maximum(taken_PI[[person]].toarray()[0], 0)
        weight_I = np.where(c_I > 0, c_I, 1.0)
        left_FF = factor_IF.T @ (weight_I[:, None] * factor_IF) + 0.3 * np.eye(6)
        expected_F = np.linalg.solve(left_FF, factor_IF.T @ (weight_I * (c_I > 0)))
        np.testing.assert_allclose(found_PF[person], expected_F, rtol=1e-4, atol=1e-6)


def test_fold_in_agrees_with_implicit() -> None:
    training = shop(people=12, days=56, cutoffs=1).training
    taken_PI = confidence(CONFIG, training.interactions, training.until_us)
    learner = AlternatingLeastSquares(
        factors=6, iterations=3, regularization=0.3, alpha=1.0, random_state=0, num_threads=1
    )
    learner.fit(taken_PI, show_progress=False)
    theirs_PF = learner.recalculate_user(np.arange(12), taken_PI)
    ours_PF = Als(CONFIG, learner.item_factors, np.zeros(41, np.float32)).fold_in(taken_PI)
    np.testing.assert_allclose(ours_PF, theirs_PF, rtol=2e-3, atol=2e-4)


def test_a_stranger_has_no_factors() -> None:
    model = Als(CONFIG, np.ones((5, 6), np.float32), np.zeros(5, np.float32))
    assert model.fold_in(csr_matrix((2, 5), dtype=np.float32)).tolist() == [[0.0] * 6] * 2


def test_threads_do_not_change_a_bit() -> None:
    training = shop(people=40, items=61, days=70, cutoffs=1).training
    one, two = (FAMILY.fit(CONFIG, replace(training, threads=threads), 3) for threads in (1, 2))
    np.testing.assert_array_equal(one.factor_IF, two.factor_IF)


def test_seeds_matter() -> None:
    training = shop(people=12, days=56, cutoffs=1).training
    one, two = (FAMILY.fit(CONFIG, training, seed) for seed in (1, 2))
    assert (one.factor_IF != two.factor_IF).any()
