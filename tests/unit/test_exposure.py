"""Exposure: places worked out by hand, bonuses that spread what is nearly as good, and what is affordable on a trial."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from counterfoil.errors import ConfigError, IntegrityError
from models.assembly.exposure import Board, board, fill, join, learn
from models.data import Ranking, TrainingSet
from models.families.exposure import BONUSES, ExposureConfig, fit, load
from models.rank import pool
from tests.shop_data import shop

PLAIN = np.zeros(6, np.float32)
PAIR = ("popularity", "als")


def ranking(item_PK: list[list[int]]) -> Ranking:
    items = np.array(item_PK, np.int32)
    scores = np.where(items >= 0, -np.arange(items.shape[1], dtype=np.float32), -np.inf).astype(np.float32)
    return Ranking(item_PK=items, score_PK=scores, sources=("one",), source_PK=(items >= 0).astype(np.uint8))


def laid(item_PK: list[list[int]], value_N: list[float]) -> Board:
    return board(pool.merge([ranking(item_PK)], len(item_PK), 6), np.array(value_N, np.float32))


def test_candidates_lie_by_falling_value_and_ties_by_item() -> None:
    # rows of the pool by item: 0, 2, 4 of the first person, 1 of the second, none of the third
    on = laid([[4, 0, 2], [1, -1, -1], [-1, -1, -1]], [0.5, 0.7, 0.5, 0.2])
    assert on.item_PC[0].tolist() == [2, 0, 4]
    np.testing.assert_allclose(on.value_PC[0], [0.7, 0.5, 0.5])
    assert on.items(np.array([[0, 1], [0, 1], [0, 1]])).tolist() == [[2, 0], [1, -1], [-1, -1]]


def test_boards_of_unequal_width_join() -> None:
    left, right = laid([[4, 0, 2]], [0.5, 0.7, 0.4]), laid([[3, -1, -1]], [0.9])
    both = join([left, right])
    assert both.items(both.best(PLAIN, 2)).tolist() == [[2, 0], [3, -1]]


def test_a_bonus_brings_items_among_the_places_and_no_further_up_than_their_value() -> None:
    on = laid([[0, 1, 2, 3, 4], [5, 4, -1, -1, -1]], [0.9, 0.8, 0.3, 0.2, 0.1, 0.1, 0.2])
    bonus_I = np.array([0, 0, 0, 0, 0.3, 0], np.float32)
    found = fill(on, bonus_I, 3, 6, ("one",))
    assert found.item_PK.tolist() == [[0, 1, 4, 2, 3, -1], [5, 4, -1, -1, -1, -1]]
    assert fill(on, PLAIN, 3, 5, ("one",)).item_PK[0].tolist() == [0, 1, 2, 3, 4]
    for k in range(1, 6):
        assert fill(on, bonus_I, 3, k, ("one",)).item_PK.tolist() == found.item_PK[:, :k].tolist()
    assert (np.diff(found.score_PK[0, :5]) < 0).all()
    assert found.source_PK[1].tolist() == [1, 1, 0, 0, 0, 0]


def test_bonuses_spread_what_is_nearly_as_good() -> None:
    """Sixty people like item 0 best and each of 19 others, by turns, nearly as much; item 20 is wanted by nobody."""
    people, items = 60, 21
    item_PC = np.column_stack([np.zeros(people, int), 1 + np.arange(people) % 19, np.full(people, 20)])
    value_PC = np.tile(np.array([1.0, 0.95, 0.1], np.float32), (people, 1))
    on = Board(value_PC=value_PC, item_PC=item_PC, source_PC=np.ones_like(item_PC, np.uint8))

    def shown(bonus_I: np.ndarray) -> set[int]:
        return set(on.items(on.best(bonus_I, 1)).ravel().tolist())

    assert shown(np.zeros(items, np.float32)) == {0}
    bonus_I = learn(on, items, 1, 0.2, 3.0)
    assert shown(bonus_I) >= set(range(1, 20))
    assert bonus_I.max() <= 0.2 and bonus_I[20] == pytest.approx(0.2, abs=0.05)
    assert not learn(on, items, 1, 0.02, 3.0)[0], "what is shown often enough gets nothing"
    assert shown(learn(on, items, 1, 0.02, 3.0)) == {0}, "a small bonus cannot make up for the difference"


def test_more_of_the_catalogue_is_shown() -> None:
    planted = shop()
    config = ExposureConfig(members=PAIR, most=0.0, keep=0.0, at=5)
    without = fit(config, planted.training, 0)
    given = fit(replace(config, most=1.0), planted.training, 0)
    assert without.config.members == given.config.members == PAIR
    assert not without.bonus_I.any() and given.bonus_I.any()
    shown = [len(np.unique(model.recommend(planted.query, 5).item_PK)) for model in (without, given)]
    assert shown[1] > shown[0]


@pytest.mark.parametrize("give", [0.0, 0.05, 1.0])
def test_a_bonus_goes_as_far_as_chances_allow(give: float) -> None:
    config = ExposureConfig(members=("itemknn", "popularity"), keep=0.0, give=give, at=4)
    model = fit(config, shop().training, 0)
    least = (1 - give) * model.tried[0]["expected_ndcg@4"]
    allowed = [step["most"] for step in model.tried if step["expected_ndcg@4"] >= least]
    assert model.config.most == max(allowed)
    if give == 1.0:
        assert len(model.tried) == len(BONUSES) and model.config.most == BONUSES[-1]
    else:
        assert len(allowed) in (len(BONUSES), len(model.tried) - 1), "the first that costs too much ends it"


def test_who_is_better_alone_answers_alone(tmp_path: Path) -> None:
    """Lists far behind the best member's are none to build on; asked for twice its accuracy, no lists reach it."""
    planted = shop()
    model = fit(ExposureConfig(members=PAIR, keep=1.0, power=4.0, at=5), planted.training, 0)
    assert model.trees is None and set(model.models) == set(model.config.members)
    (name,) = model.config.members
    alone = model.models[name].recommend(planted.query, 7).item_PK
    assert model.recommend(planted.query, 7).item_PK.tolist() == alone.tolist()
    again = fit(
        model.config, planted.training, 0
    )  # as an assembly fits it a second time, with what was settled
    assert again.config == model.config and not again.bonus_I.any()
    model.save(tmp_path)
    assert load(tmp_path).recommend(planted.query, 7).item_PK.tolist() == alone.tolist()


def test_too_little_to_choose_by_leaves_the_first_member() -> None:
    model = fit(ExposureConfig(members=PAIR), replace(shop().training, cutoffs={}), 0)
    assert model.config.members == ("popularity",) and model.trees is None


def wordless() -> TrainingSet:
    """Return a training set in which TF-IDF and attributes find nothing to read."""
    return replace(shop().training, content=None, category_I=np.zeros(0, np.int32))


def test_the_only_member_that_can_be_fitted_answers_alone_again_and_again() -> None:
    training = wordless()
    found = fit(ExposureConfig(members=("tfidf", "als")), training, 0)
    assert found.config.members == ("als",) and found.trees is None
    assert fit(found.config, training, 0).config == found.config


def test_members_that_refuse_are_left_out() -> None:
    training = wordless()
    found = fit(ExposureConfig(members=("tfidf", *PAIR), most=0.1, keep=0.0), training, 0)
    assert found.config.members == PAIR
    with pytest.raises(ConfigError, match=r"no member can be fitted on these data.*tfidf"):
        fit(ExposureConfig(members=("tfidf", "attributes")), training, 0)
    with pytest.raises(ConfigError, match="member of itself"):
        fit(ExposureConfig(members=("exposure", "als")), training, 0)


def test_a_torn_artefact_is_refused(tmp_path: Path) -> None:
    model = fit(ExposureConfig(members=PAIR, most=0.1, keep=0.0), shop().training, 0)
    model.save(tmp_path)
    (tmp_path / "ranker.ubj").rename(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError, match="is missing"):
        load(tmp_path)
    (tmp_path / "elsewhere").rename(tmp_path / "ranker.ubj")
    np.save(tmp_path / "bonus.npy", np.zeros(3, np.float32))
    with pytest.raises(IntegrityError, match="differ in length"):
        load(tmp_path)
