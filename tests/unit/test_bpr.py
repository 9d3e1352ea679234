"""BPR: folding in by a map that is known, and by what implicit itself learned of the fitted people."""

from dataclasses import replace

import numpy as np
from scipy.sparse import csr_matrix

from models.families.bpr import FAMILY, Bpr, BprConfig, fold_map, mean_factors
from tests.shop_data import shop

GIVEN = BprConfig(factors=8, iterations=100, half_life_days=1e6, own_weight=0.0)


def test_the_mean_of_factors_is_weighed() -> None:
    factor_IF = np.array([[2, 0], [0, 4], [9, 9]], np.float32)
    taken_PI = csr_matrix(np.array([[1, 3, 0], [0, 0, 0]], np.float32))
    np.testing.assert_allclose(mean_factors(taken_PI, factor_IF), [[0.5, 3], [0, 0]])


def test_a_linear_map_is_found_again() -> None:
    random = np.random.default_rng(0)
    mean_PF, map_FF = random.normal(size=(500, 3)), random.normal(size=(3, 3))
    known_P = np.arange(500) != 7
    learned_PF = mean_PF @ map_FF
    learned_PF[7] = 1e3  # somebody who took nothing has no say
    np.testing.assert_allclose(fold_map(mean_PF, learned_PF, known_P), map_FF, rtol=2e-2, atol=2e-2)


def test_scores_are_dot_products_and_the_bias() -> None:
    factor_IF = np.array([[1, 0, 0.5], [0, 1, -0.5]], np.float32)
    model = Bpr(GIVEN, factor_IF, np.array([[0, 2], [1, 0]], np.float32), np.zeros(2, np.float32))
    taken_PI = csr_matrix(np.array([[1, 0], [0, 0]], np.float32))
    # item 0 has factors (1, 0), mapped to (0, 2); who took nothing has no scores
    np.testing.assert_allclose(model._score(taken_PI), [[0.5, 1.5], [0, 0]])


def test_folded_in_people_are_ranked_for_like_fitted_ones() -> None:
    from implicit.cpu.bpr import BayesianPersonalizedRanking

    training = shop(people=60, days=84, cutoffs=1).training
    model = FAMILY.fit(GIVEN, training, 0)
    theirs = BayesianPersonalizedRanking(
        factors=8,
        learning_rate=GIVEN.rate,
        regularization=GIVEN.regularization,
        iterations=100,
        num_threads=1,
        random_state=0,
    )
    theirs.fit(training.interactions.matrix(), show_progress=False)
    np.testing.assert_array_equal(theirs.item_factors, model.factor_IF)
    ours_PI = model._score(training.interactions.matrix())
    likeness = [
        np.corrcoef(ours, learned)[0, 1]
        for ours, learned in zip(ours_PI, theirs.user_factors @ theirs.item_factors.T, strict=True)
    ]
    assert np.median(likeness) > 0.9


def test_the_number_of_threads_changes_nothing() -> None:
    training = shop(people=20, days=56, cutoffs=1).training
    one, two = (FAMILY.fit(replace(GIVEN, iterations=10), replace(training, threads=n), 3) for n in (1, 2))
    np.testing.assert_array_equal(one.factor_IF, two.factor_IF)


def test_passes_end_where_the_updates_do() -> None:
    config = BprConfig(iterations=100, updates=1_000)
    assert [config.passes(events) for events in (1, 10, 50, 2_000)] == [100, 100, 20, 1]
    training = shop(people=60, days=84, cutoffs=1).training
    events = training.interactions.matrix().nnz
    short, bounded = replace(GIVEN, iterations=2), replace(GIVEN, updates=2 * events + 1)
    learned, cut = (FAMILY.fit(one, training, 0) for one in (short, bounded))
    np.testing.assert_array_equal(learned.factor_IF, cut.factor_IF)
