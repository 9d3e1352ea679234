"""Exposure: places worked out by hand, bonuses that spread what is nearly as good, and what is affordable on a trial."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from counterfoil.errors import ConfigError, IntegrityError
from models.assembly import members
from models.assembly.exposure import Board, board, fill, learn
from models.data import Ranking
from models.families.exposure import BONUSES, ExposureConfig, fit, load
from models.metrics.accuracy import hits, ndcg, taken
from models.rank import pool
from tests.shop_data import shop

PLAIN = np.zeros(6, np.float32)


def ranking(item_PK: list[list[int]]) -> Ranking:
    items = np.array(item_PK, np.int32)
    scores = np.where(items >= 0, -np.arange(items.shape[1], dtype=np.float32), -np.inf).astype(np.float32)
    return Ranking(item_PK=items, score_PK=scores, sources=("one",), source_PK=(items >= 0).astype(np.uint8))


def laid(
    item_PK: list[list[int]], worth_N: list[float], takers_I: np.ndarray, head_PH: list[list[int]]
) -> Board:
    found = pool.merge([ranking(item_PK)], len(item_PK), 6)
    return board(found, np.array(worth_N, np.float32), takers_I, 0.5, np.array(head_PH))


def test_worth_is_divided_by_takers_and_the_leading_are_left_out() -> None:
    # rows of the pool by item: 0, 2, 4 of the first person, none of the second
    on = laid(
        [[4, 0, 2], [-1, -1, -1]], [1.0, 1.0, 0.3], np.array([15, 0, 3, 0, 0, 0], np.float32), [[2], [-1]]
    )
    assert on.item_PC[0].tolist() == [0, 2, 4]
    np.testing.assert_allclose(on.value_PC[0], [0.5, -np.inf, 0.6], rtol=1e-6)
    assert not np.isfinite(on.value_PC[1]).any()


def test_the_last_places_are_given_and_the_rest_follows() -> None:
    inner = ranking([[0, 1, 2, 3, 4], [5, 4, -1, -1, -1]])
    on = laid(
        [[0, 1, 2, 3, 5], [5, 4, -1, -1, -1]], [1.0, 0.9, 0.2, 0.4, 0.3, 0.1, 0.2], PLAIN, [[0, 1], [5, 4]]
    )
    found = fill(inner, on, PLAIN, 2, 2, 5)
    assert found.item_PK.tolist() == [[0, 1, 3, 5, 2], [5, 4, -1, -1, -1]]
    bonus_I = np.array([0, 0, 0.3, 0, 0, 0], np.float32)
    assert fill(inner, on, bonus_I, 2, 2, 5).item_PK[0].tolist() == [0, 1, 2, 3, 4]
    for k in range(1, 6):
        assert fill(inner, on, PLAIN, 2, 2, k).item_PK.tolist() == found.item_PK[:, :k].tolist()
    assert (np.diff(found.score_PK[0]) < 0).all()
    assert found.source_PK[1].tolist() == [1, 1, 0, 0, 0]


def test_bonuses_spread_what_is_nearly_as_good() -> None:
    """Sixty people like item 0 best and each of 19 others, by turns, nearly as much; item 20 is wanted by nobody."""
    people, items = 60, 21
    item_PC = np.column_stack([np.zeros(people, int), 1 + np.arange(people) % 19, np.full(people, 20)])
    value_PC = np.tile(np.array([1.0, 0.95, 0.1], np.float32), (people, 1))
    on = Board(value_PC=value_PC, item_PC=item_PC, source_PC=np.ones_like(item_PC, np.uint8))
    nobody = np.full((people, 1), -1)

    def shown(bonus_I: np.ndarray) -> set[int]:
        return set(np.take_along_axis(item_PC, on.best(bonus_I, 1), axis=1).ravel().tolist())

    assert shown(np.zeros(items, np.float32)) == {0}
    bonus_I = learn(on, nobody, items, 1, 0.2, 3.0)
    assert shown(bonus_I) >= set(range(1, 20))
    assert bonus_I.max() <= 0.2 and bonus_I[20] == pytest.approx(0.2, abs=0.05)
    assert not learn(on, nobody, items, 1, 0.02, 3.0)[0], "what is shown often enough gets nothing"
    assert shown(learn(on, nobody, items, 1, 0.02, 3.0)) == {0}, (
        "a small bonus cannot make up for the difference"
    )
    led = np.tile(np.arange(1, 20), (people, 1))
    assert not learn(on, led, items, 1, 0.2, 3.0)[1:20].any(), "what leads lists needs none"


def test_more_of_the_catalogue_is_shown_and_the_leading_places_stay() -> None:
    planted = shop()
    config = ExposureConfig(inner="popularity", explorers=("als",), share=0.4, most=1.0, at=5)
    model = fit(config, planted.training, 0)
    found = model.recommend(planted.query, 5).item_PK
    inner = model.models["popularity"].recommend(planted.query, 5).item_PK
    assert found[:, :3].tolist() == inner[:, :3].tolist()
    assert len(np.unique(found)) > len(np.unique(inner))


@pytest.mark.parametrize("keep", [0.0, 0.9, 1.0])
def test_a_bonus_goes_as_far_as_accuracy_allows(keep: float) -> None:
    training = shop().training
    config = ExposureConfig(inner="itemknn", explorers=("popularity",), keep=keep, share=0.5, power=1.0, at=4)
    model = fit(config, training, 0)
    cut = members.cut(training, 6_000)
    alone, _ = members.ask(("itemknn",), cut, 50, 0)
    truth = cut.trial.truth
    least = keep * ndcg(hits(alone[0].ranking.item_PK[:, :4], truth), taken(truth), 4).mean()
    allowed = [step for step in model.tried if step["ndcg@4"] >= least]
    if not keep:
        assert len(allowed) == len(model.tried) == 2 * len(BONUSES)
    if not allowed:
        assert model.config.places == 0 and not model.bonus_I.any()
        return
    widest = max(allowed, key=lambda step: step["coverage@4"])
    assert (model.config.places, model.config.most) == (widest["places"], widest["most"])


def test_too_little_to_choose_by_gives_nothing_away() -> None:
    planted = shop()
    few = replace(planted.training, cutoffs={})
    model = fit(ExposureConfig(inner="popularity", explorers=("als",)), few, 0)
    assert model.config.places == 0 and set(model.models) == {"popularity"}
    alone = model.models["popularity"].recommend(planted.query, 7).item_PK
    assert model.recommend(planted.query, 7).item_PK.tolist() == alone.tolist()
    again = fit(
        model.config, planted.training, 0
    )  # as an assembly fits it a second time, with what was settled
    assert again.config == model.config and not again.bonus_I.any()


def test_explorers_that_refuse_are_left_out_and_the_inner_family_may_not() -> None:
    training = replace(shop().training, content=None, category_I=np.zeros(0, np.int32))  # no words for TF-IDF
    found = fit(ExposureConfig(inner="popularity", explorers=("tfidf", "als"), most=0.1), training, 0)
    assert found.config.explorers == ("als",)
    with pytest.raises(ConfigError, match=r"no member can be fitted on these data.*tfidf"):
        fit(ExposureConfig(inner="tfidf", explorers=("als",)), training, 0)
    with pytest.raises(ConfigError, match="member of itself"):
        fit(ExposureConfig(inner="exposure"), training, 0)


def test_bonuses_of_another_catalogue_are_refused(tmp_path: Path) -> None:
    fit(ExposureConfig(inner="popularity", explorers=("als",), most=0.1), shop().training, 0).save(tmp_path)
    np.save(tmp_path / "bonus.npy", np.zeros(3, np.float32))
    with pytest.raises(IntegrityError, match="differ in length"):
        load(tmp_path)
