"""Balanced lists worked out by hand, and how much is affordable on a trial in which popular items win, or do not matter."""

from dataclasses import replace

import numpy as np
import pytest

from counterfoil.errors import ConfigError
from models.assembly.balance import POWERS, affordable, balanced
from models.data import Ranking
from models.families.cascade import CascadeConfig, fit
from models.metrics.beyond import popularity_ratio
from tests.shop_data import shop

TAKERS_I = np.array([15, 3, 0, 0], np.float32)


def ranking(item_PK: list[list[int]], score_PK: list[list[float]]) -> Ranking:
    items = np.array(item_PK, np.int32)
    scores = np.where(items >= 0, np.array(score_PK, np.float32), -np.inf).astype(np.float32)
    return Ranking(item_PK=items, score_PK=scores, sources=("one",), source_PK=(items >= 0).astype(np.uint8))


def test_worth_is_divided_by_a_power_of_the_takers() -> None:
    found = balanced(ranking([[0, 1, 2]], [[5.0, 4.0, 1.0]]), TAKERS_I, 0.5, 3, 3)
    # shares 1, .75 and 0; over 4, 2 and 1
    assert found.item_PK.tolist() == [[1, 0, 2]]
    np.testing.assert_allclose(found.score_PK, [[0.375, 0.25, 0.0]])


def test_no_power_leaves_the_order() -> None:
    asked = ranking([[3, 0, 1], [2, -1, -1], [-1, -1, -1]], [[5.0, 4.0, 1.0], [2.0, 0, 0], [0.0, 0, 0]])
    found = balanced(asked, TAKERS_I, 0.0, 2, 3)
    assert found.item_PK.tolist() == asked.item_PK.tolist()
    assert found.source_PK.tolist() == asked.source_PK.tolist()
    np.testing.assert_allclose(found.score_PK[0], [1.0, 0.0, -1.0])


def test_what_lies_deeper_stays_behind() -> None:
    found = balanced(ranking([[0, 1, 2, 3]], [[5.0, 4.9, 4.8, 4.7]]), TAKERS_I, 4.0, 3, 4)
    assert found.item_PK.tolist() == [[1, 0, 2, 3]]
    assert (np.diff(found.score_PK[0]) < 0).all()


def test_an_item_after_the_fit_has_no_takers() -> None:
    found = balanced(ranking([[0, 9, 1]], [[5.0, 4.0, 1.0]]), TAKERS_I, 0.5, 3, 2)
    assert found.item_PK.tolist() == [[9, 0]]


def trial(right: int) -> tuple[Ranking, tuple[np.ndarray, ...]]:
    """Everybody is offered item 0, then 1, nearly as good, then one that is worth nothing."""
    asked = ranking([[0, 1, 3]] * 50, [[5.0, 4.5, 1.0]] * 50)
    return asked, tuple(np.full((50, 1), right))


@pytest.mark.parametrize(("right", "expected"), [(0, 0.08), (1, POWERS[-1])])
def test_balance_goes_as_far_as_accuracy_allows(right: int, expected: float) -> None:
    # item 1 passes item 0 where .875 exceeds (4 / 16)^power: from .0963 on
    asked, truth = trial(right)
    chosen, tried = affordable(asked, truth, TAKERS_I, keep=0.99, depth=3, k=2)
    assert chosen == expected
    assert [step["step"] for step in tried] == list(POWERS)


def test_lists_become_less_popular_than_those_of_the_inner_family() -> None:
    planted = shop()
    plain = fit(CascadeConfig(inner="popularity", balance=0.0), planted.training, 0)
    bold = fit(CascadeConfig(inner="popularity", balance=1.0), planted.training, 0)
    ratio = [
        popularity_ratio(model.recommend(planted.query, 10).item_PK, planted.truth, model.takers_I)
        for model in (plain, bold)
    ]
    assert ratio[1] < ratio[0]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="member of itself"):
        fit(CascadeConfig(inner="cascade"), shop().training, 0)


def test_too_little_to_choose_by_is_not_balanced() -> None:
    training = replace(shop(people=12, days=56).training, cutoffs={})
    assert fit(CascadeConfig(inner="popularity"), training, 0).config.balance == 0.0
