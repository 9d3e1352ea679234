"""Flattened trees score as XGBoost does, to the bit, and leave to XGBoost what they cannot do."""

from functools import cache

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.rank import flat
from models.rank.booster import Booster

SIGNALS = 6


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    flat.walk.compile()


def learned(
    seed: int, *, depth: int, rounds: int = 25, objective: str = "rank:ndcg", **more: object
) -> xgb.Booster:
    random = np.random.default_rng(seed)
    value_NF = random.normal(size=(600, SIGNALS)).astype(np.float32)
    value_NF[:, 1] = np.round(value_NF[:, 1])
    value_NF[:, 2] = (value_NF[:, 2] > 0) * 7.0
    value_NF[random.random(value_NF.shape) < 0.3] = np.nan
    worth_N = np.nan_to_num(value_NF[:, 0]) + np.isnan(value_NF[:, 3]) + random.normal(size=600)
    data = xgb.DMatrix(value_NF, (worth_N > 0.5).astype(int), qid=np.arange(600) // 20)
    order = {"objective": objective, "max_depth": depth, "eta": 0.3, "seed": seed, "nthread": 1, **more}
    return xgb.train(order, data, rounds)


@cache
def grown(seed: int, depth: int) -> tuple[xgb.Booster, flat.Flat]:
    trees = learned(seed, depth=depth)
    flattened = flat.flatten(trees)
    assert flattened is not None
    return trees, flattened


def limits(flattened: flat.Flat) -> np.ndarray:
    return flattened.limit_A[np.isfinite(flattened.limit_A)]


@st.composite
def questions(draw: st.DrawFn) -> tuple[xgb.Booster, flat.Flat, np.ndarray]:
    trees, flattened = grown(draw(st.integers(0, 3)), draw(st.sampled_from([1, 2, 5, 9])))
    # what lies exactly on a limit goes right, what is absent its default way
    values = st.one_of(
        st.sampled_from([np.float32(value) for value in limits(flattened)]),
        st.floats(width=32, allow_nan=True, allow_infinity=False),
        st.just(np.float32(np.nan)),
        st.floats(-3, 3, width=32),
    )
    shape = (draw(st.integers(1, 40)), SIGNALS)
    return trees, flattened, draw(hnp.arrays(np.float32, shape, elements=values))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(questions())
def test_scores_are_those_of_xgboost_to_the_bit(
    question: tuple[xgb.Booster, flat.Flat, np.ndarray],
) -> None:
    trees, flattened, value_NF = question
    expected_N = trees.inplace_predict(value_NF, validate_features=False)
    assert flattened.score(value_NF.T).tobytes() == expected_N.tobytes()


def test_many_rows_go_in_parts() -> None:
    trees, flattened = grown(0, 5)
    value_NF = np.random.default_rng(5).normal(size=(3 * flat.ROWS + 7, SIGNALS)).astype(np.float32)
    value_NF[::5, 0] = np.nan
    expected_N = trees.inplace_predict(value_NF, validate_features=False)
    assert flattened.score(value_NF.T).tobytes() == expected_N.tobytes()


def test_the_ranker_walks_by_itself_once_it_is_compiled_and_else_asks_xgboost() -> None:
    trees, _ = grown(1, 5)
    value_NF = np.random.default_rng(2).normal(size=(50, SIGNALS)).astype(np.float32)
    ranker = Booster(trees, tuple("abcdef"))
    assert ranker._flat is not None
    walked_N = ranker.score(value_NF)
    flat.walk.ready = False
    try:
        asked_N = ranker.score(value_NF)
    finally:
        flat.walk.ready = True
    assert walked_N.tobytes() == asked_N.tobytes()


@pytest.mark.parametrize(
    "more",
    [
        {"objective": "binary:logistic"},
        {"booster": "dart", "rate_drop": 0.5},
        {"objective": "multi:softprob", "num_class": 2},
    ],
)
def test_what_is_more_than_a_sum_of_leaves_is_left_to_xgboost(more: dict[str, object]) -> None:
    trees = learned(0, depth=3, rounds=5, **more)  # type: ignore[arg-type]
    assert flat.flatten(trees) is None
    value_NF = np.zeros((3, SIGNALS), np.float32)
    if "num_class" not in more:
        np.testing.assert_array_equal(
            Booster(trees, tuple("abcdef")).score(value_NF), trees.inplace_predict(value_NF)
        )


def test_decimals_that_could_be_either_of_two_numbers_are_refused() -> None:
    one = np.float32(1)
    halfway = (float(one) + float(np.nextafter(one, np.float32(2)))) / 2
    assert flat._float32([halfway]) is None
    near = flat._float32([0.1, -3.5e-7, 16777216.0, 0.0])
    assert near is not None
    assert near.tolist() == np.array([0.1, -3.5e-7, 16777216.0, 0.0], np.float32).tolist()
