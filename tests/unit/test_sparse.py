"""Ranking few scores above a prior: the very answers of ranking them all, and the prior worked out once per matrix."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.sparse import random as random_sparse

from models.data import Query
from models.families import dense, sparse
from models.families.prior import Prior
from models.splits import no_features
from tests.shop_data import START_US, interactions

PEOPLE, ITEMS = 40, 300


def asked(random: np.random.Generator, *, masked: bool, excluding: bool) -> Query:
    features = replace(
        no_features(PEOPLE, ITEMS),
        item_names=("buyers_28d",),
        item_IF=random.integers(0, 6, (ITEMS, 1)).astype(np.float32),  # many are alike
    )
    return Query(
        history=interactions([], [], [], people=PEOPLE, items=ITEMS),
        as_of_us=START_US,
        features=features,
        allowed_I=random.random(ITEMS) < 0.3 if masked else None,
        exclude=tuple(random.choice(ITEMS, 40, replace=False) for _ in range(PEOPLE)) if excluding else None,
    )


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("excluding", [False, True])
@pytest.mark.parametrize("k", [1, 10, ITEMS + 5])
def test_answers_as_if_all_were_scored(masked: bool, excluding: bool, k: int) -> None:
    random = np.random.default_rng(7)
    query = asked(random, masked=masked, excluding=excluding)
    score_PI = (random.random((PEOPLE, ITEMS)) * (random.random((PEOPLE, ITEMS)) < 0.05)).astype(np.float32)
    score_PI[0] = 0.0
    prior = Prior(np.zeros(ITEMS, np.float32), feature="buyers_28d", weight=0.5)
    found = sparse.rank(query, k, "few", lambda part: sparse.rows(csr_matrix(score_PI)), prior)
    every = dense.rank(query, k, "few", lambda part: score_PI + prior.of(part))
    np.testing.assert_array_equal(found.item_PK, every.item_PK)
    np.testing.assert_array_equal(found.score_PK, every.score_PK)
    np.testing.assert_array_equal(found.source_PK, every.source_PK)


def test_looks_deeper_than_what_it_holds() -> None:
    query = asked(np.random.default_rng(1), masked=False, excluding=False)
    order = np.argsort(-query.features.item_IF[:, 0], kind="stable")
    prior = Prior(np.zeros(ITEMS, np.float32), feature="buyers_28d", weight=0.5, held=5)
    assert prior.leading(query, 3).tolist() == order[:3].tolist()
    assert prior.leading(query, 200).tolist() == order[:200].tolist()
    odd_I = np.arange(ITEMS) % 2 == 1
    assert prior.leading(replace(query, allowed_I=odd_I), 4).tolist() == order[odd_I[order]][:4].tolist()


def test_another_matrix_is_another_prior() -> None:
    random = np.random.default_rng(2)
    one, other = (asked(random, masked=False, excluding=False) for _ in range(2))
    prior = Prior(np.zeros(ITEMS, np.float32), feature="buyers_28d", weight=1.0)
    np.testing.assert_array_equal(prior.of(one), one.features.item_IF[:, 0] / 5)
    np.testing.assert_array_equal(prior.of(other), other.features.item_IF[:, 0] / 5)
    assert prior.of(other) is prior.of(other)


def test_rows_of_a_history_add_up_as_a_product_of_matrices() -> None:
    random = np.random.default_rng(3)
    sim_II = random_sparse(ITEMS, ITEMS, density=0.05, format="csr", dtype=np.float32, rng=random)
    history = interactions(
        random.integers(0, 6, 90), random.integers(0, ITEMS, 90), np.arange(90), people=PEOPLE, items=ITEMS
    )
    value_N = random.random(90).astype(np.float32)
    taken_PI = history.matrix(value_N).toarray()
    found = [sparse.near(sim_II, items, weights, 0.5) for items, weights in sparse.taken(history, value_N)]
    assert len(found) == PEOPLE
    score_PI = np.zeros((PEOPLE, ITEMS))
    for row, (item_C, score_C) in enumerate(found):
        assert np.all(np.diff(item_C) > 0) and np.all(score_C > 0)
        score_PI[row, item_C] = score_C
    np.testing.assert_allclose(score_PI, taken_PI @ sim_II.toarray() + 0.5 * taken_PI, rtol=1e-5)


def test_items_after_the_fit_speak_only_for_themselves() -> None:
    sim_II = csr_matrix(np.array([[0.0, 0.5], [0.25, 0.0]], np.float32))
    item_C, score_C = sparse.near(sim_II, np.array([0, 5]), np.array([1.0, 2.0], np.float32), 3.0)
    assert (item_C.tolist(), score_C.tolist()) == ([0, 1, 5], [3.0, 0.5, 6.0])
    item_C, score_C = sparse.near(sim_II, np.array([5]), np.array([2.0], np.float32), 0.0)
    assert (len(item_C), len(score_C)) == (0, 0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 60), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.3, 40.0]))
def test_compiled_rows_add_up_to_the_same_bits(taken: int, seed: int, own_weight: float) -> None:
    sparse.gather.compile()
    random = np.random.default_rng(seed)
    sim_II = random_sparse(80, 80, 0.1, format="csr", random_state=seed % 1000, dtype=np.float32)
    sim_II.sort_indices()
    item_A = np.sort(random.choice(100, taken, replace=False))  # the last twenty came after the fit
    weight_A = random.random(taken).astype(np.float32)
    weight_A[random.random(taken) < 0.1] = 0
    item_C, score_C = sparse.near(sim_II, item_A, weight_A, own_weight)
    sparse.gather.ready = False
    try:
        right_C, right_score_C = sparse.near(sim_II, item_A, weight_A, own_weight)
    finally:
        sparse.gather.ready = True
    assert item_C.tolist() == right_C.tolist()
    assert score_C.tobytes() == right_score_C.tobytes()
    assert not sparse._own.score_I.any()
    assert not sparse._own.seen_I.any()
