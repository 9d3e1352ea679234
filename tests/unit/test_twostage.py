"""The two stages, part by part: pool, signals, habits, booster, and what the family promises beyond the contract."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from counterfoil.errors import ConfigError, IntegrityError
from models.data import DAY_US, Features, Query, Ranking
from models.families import twostage
from models.families.twostage import TwoStageConfig
from models.family import best_of
from models.rank import booster, habits, pool, signals
from models.rank.booster import BoosterConfig
from models.splits import no_features
from tests.shop_data import START_US, interactions, shop

NAN = np.nan
NOW_US = START_US + 100 * DAY_US


def listed(items: list[list[int]], scores: list[list[float]]) -> Ranking:
    item_PK = np.array(items, np.int32)
    return Ranking(
        item_PK=item_PK,
        score_PK=np.array(scores, np.float32),
        sources=("one",),
        source_PK=(item_PK >= 0).astype(np.uint8),
    )


def two_lists() -> pool.Pool:
    first = listed([[4, 2], [1, -1]], [[9.0, 8.0], [7.0, -np.inf]])
    second = listed([[2, 0], [3, 1]], [[0.5, 0.4], [0.3, 0.2]])
    return pool.merge([first, second], people=2, items=5)


def asked(
    history_days: list[tuple[int, int, float]], people: int, items: int, features: Features | None = None
) -> Query:
    """Build a question from (person, item, days ago)."""
    person, item, ago = zip(*history_days, strict=True) if history_days else ((), (), ())
    times = [NOW_US - round(days * DAY_US) for days in ago]
    return Query(
        history=interactions(list(person), list(item), times, people=people, items=items),
        as_of_us=NOW_US,
        features=features or no_features(people, items),
    )


def no_habits(items: int) -> habits.Habits:
    return habits.learn(
        interactions([], [], [], people=1, items=items), NOW_US, 28 * DAY_US, np.zeros(0, np.int32)
    )


# the best of a catalogue


def test_best_of_breaks_ties_by_index_and_leaves_out_what_is_forbidden() -> None:
    scores = np.array([1.0, 3.0, 2.0, 3.0, -np.inf, 2.0], np.float32)
    assert best_of(scores, 4).tolist() == [1, 3, 2, 5]
    assert best_of(scores, 10).tolist() == [1, 3, 2, 5, 0]
    assert best_of(scores, 0).tolist() == []


@pytest.mark.parametrize("kinds", [3, 50, 100_000])
@pytest.mark.parametrize("k", [1, 7, 300])
def test_best_of_agrees_with_a_full_sort(kinds: int, k: int) -> None:
    scores = np.random.default_rng(kinds).integers(kinds, size=30_011).astype(np.float32)
    np.testing.assert_array_equal(best_of(scores, k), np.lexsort((np.arange(len(scores)), -scores))[:k])


# the pool


def test_merge_keeps_each_pair_once_with_every_voice() -> None:
    merged = two_lists()
    assert merged.row_N.tolist() == [0, 0, 0, 1, 1]
    assert merged.item_N.tolist() == [0, 2, 4, 1, 3]
    assert merged.source_N.tolist() == [2, 3, 1, 3, 2]
    np.testing.assert_array_equal(
        merged.score_NS, np.array([[NAN, 0.4], [8, 0.5], [9, NAN], [7, 0.2], [NAN, 0.3]], np.float32)
    )
    np.testing.assert_array_equal(merged.rank_NS, [[NAN, 1], [1, 0], [0, NAN], [0, 1], [NAN, 0]])
    assert merged.sizes_P.tolist() == [3, 2]


def test_best_rows_of_the_pool_answer_with_their_sources() -> None:
    answer = pool.best(two_lists(), np.array([1, 5, 5, 0, 2], np.float32), 3, ("one", "two"))
    assert answer.item_PK.tolist() == [[2, 4, 0], [3, 1, -1]]
    assert answer.score_PK.tolist() == [[5, 5, 1], [2, 0, -np.inf]]
    assert answer.source_PK.tolist() == [[3, 1, 2], [2, 3, 0]]


# signals


def test_signals_of_a_history_by_hand() -> None:
    candidates = two_lists()
    # person 0: item 2 bought 45 and 5 days ago, item 4 (same shelf as 2) 20 days ago; person 1: nothing
    query = asked([(0, 2, 45.0), (0, 4, 20.0), (0, 2, 5.0)], people=2, items=5)
    names, value_NF = signals.signals(
        candidates,
        query,
        category_I=np.array([0, 0, 1, -1, 1], np.int32),
        habits=no_habits(5),
        retrievers=("one", "two"),
    )
    assert value_NF.dtype == np.float32
    assert value_NF.shape == (5, len(names))
    told = {name: value_NF[:, f] for f, name in enumerate(names)}
    np.testing.assert_allclose(told["one.score"], [NAN, 8, 9, 7, NAN])
    np.testing.assert_allclose(told["own.count"], [0, 2, 1, 0, 0])
    np.testing.assert_allclose(told["own.days_since_last"], [NAN, 5, 20, NAN, NAN])
    np.testing.assert_allclose(told["own.days_since_first"], [NAN, 45, 20, NAN, NAN])
    np.testing.assert_allclose(told["own.interval_days"], [NAN, 40, NAN, NAN, NAN])
    np.testing.assert_allclose(told["own.due"], [NAN, 0.125, NAN, NAN, NAN])
    np.testing.assert_allclose(
        told["own.decayed_45d"], [0, 0.5 + 2 ** (-5 / 45), 2 ** (-20 / 45), 0, 0], rtol=1e-6
    )
    shelf = 2 ** (-45 / 20) + 2 ** (-20 / 20) + 2 ** (-5 / 20)
    np.testing.assert_allclose(told["own.category_20d"], [0, shelf, shelf, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(told["own.category_days_since_last"], [NAN, 5, 5, NAN, NAN])
    np.testing.assert_allclose(
        told["own.share_of_category_20d"], [0, 1 - 0.5 / shelf, 0.5 / shelf, 0, 0], rtol=1e-6
    )
    np.testing.assert_allclose(told["own.basket_lines"], [1, 1, 1, 0, 0])
    np.testing.assert_allclose(told["own.repeat_share"], [1 / 3, 1 / 3, 1 / 3, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(told["own.days_since_any"], [5, 5, 5, NAN, NAN])


def test_features_reach_the_rows_that_they_belong_to() -> None:
    features = Features(
        person_names=("spend",),
        item_names=("price", "age"),
        pair_names=("times",),
        person_PF=np.array([[10.0], [20.0]], np.float32),
        item_IF=np.array([[i, 10 * i] for i in range(5)], np.float32),
        pair_person_N=np.array([0, 0, 1], np.int32),
        pair_item_N=np.array([1, 4, 1], np.int32),
        pair_NF=np.array([[3.0], [2.0], [7.0]], np.float32),
    )
    names, value_NF = signals.signals(
        two_lists(),
        asked([], people=2, items=5, features=features),
        category_I=np.zeros(0, np.int32),
        habits=no_habits(5),
        retrievers=("one", "two"),
    )
    told = {name: value_NF[:, f] for f, name in enumerate(names)}
    np.testing.assert_allclose(told["person.spend"], [10, 10, 10, 20, 20])
    np.testing.assert_allclose(told["item.price"], [0, 2, 4, 1, 3])
    np.testing.assert_allclose(told["item.age"], [0, 20, 40, 10, 30])
    np.testing.assert_allclose(told["pair.times"], [NAN, NAN, 2, 7, NAN])
    assert not any(name.startswith("own.category") for name in names)


def test_one_person_has_the_signals_that_the_crowd_gave_them() -> None:
    planted = shop(people=12)
    model = fitted()
    whole = twostage.propose(model.retrievers, model.config.depths, planted.query)
    together = model._signals(whole, planted.query)
    for row, single in enumerate(planted.query.parts(1)):
        alone = twostage.propose(model.retrievers, model.config.depths, single)
        np.testing.assert_allclose(model._signals(alone, single), together[whole.row_N == row], rtol=1e-5)


# habits


def test_habits_by_hand(tmp_path: Path) -> None:
    # windows of 10 days before the moment: item 0 taken in the last and the one before, item 1 only in the one before
    days_ago = [(0, 0, 5), (0, 0, 15), (1, 0, 15), (0, 1, 15)]
    person, item, ago = zip(*days_ago, strict=True)
    times = [NOW_US - days * DAY_US for days in ago]
    past = interactions(list(person), list(item), times, people=2, items=3)
    learned = habits.learn(past, NOW_US, 10 * DAY_US, np.array([0, 0, 1], np.int32))
    # pairs alive before a window: three (0-0, 1-0, 0-1), of which one was taken again: 1/3 overall and on shelf 0
    np.testing.assert_allclose(learned.shelf_again_I, [1 / 3, 1 / 3, 1 / 3], rtol=1e-6)
    np.testing.assert_allclose(learned.again_I, [(1 + 10 / 3) / 12, (10 / 3) / 11, 1 / 3], rtol=1e-6)
    np.testing.assert_allclose(learned.gap_days_I, [10, 10, 10])
    assert learned.of(np.array([0, 3]))["habit.gap_days"].tolist()[0] == 10
    assert np.isnan(learned.of(np.array([0, 3]))["habit.gap_days"][1])
    learned.save(tmp_path / "habits.npy")
    np.testing.assert_array_equal(habits.load(tmp_path / "habits.npy").again_I, learned.again_I)


def test_habits_see_nothing_after_their_moment() -> None:
    planted = shop().training
    early = planted.interactions.between(None, planted.until_us - 20 * DAY_US)
    cut = habits.learn(early, planted.until_us - 20 * DAY_US, planted.horizon_us, planted.category_I)
    same = habits.learn(
        planted.interactions, planted.until_us - 20 * DAY_US, planted.horizon_us, planted.category_I
    )
    np.testing.assert_array_equal(cut.again_long_I, same.again_long_I)
    np.testing.assert_array_equal(cut.gap_days_I, same.gap_days_I)


# the ranker


def test_ranker_puts_the_signal_first_and_explains_itself() -> None:
    random = np.random.default_rng(0)
    value_NF = random.random((2000, 3)).astype(np.float32)
    label_N = (value_NF[:, 1] > 0.8).astype(np.float32)
    grown = booster.grow(
        value_NF,
        label_N,
        np.repeat(np.arange(100), 20),
        names=("noise", "signal", "more noise"),
        config=BoosterConfig(trees=20, min_child_weight=1.0, columns=1.0),
        seed=0,
        threads=1,
    )
    low, high = np.array([[0.5, 0.1, 0.5], [0.5, 0.95, 0.5]], np.float32)
    scores = grown.score(np.stack([low, high]))
    assert scores[1] > scores[0]
    parts = grown.contributions(np.stack([low, high]))
    np.testing.assert_allclose(parts.sum(axis=1), scores, rtol=1e-4, atol=1e-5)
    assert np.abs(parts[:, :3]).argmax(axis=1).tolist() == [1, 1]


def test_ranker_of_other_signals_is_refused(tmp_path: Path) -> None:
    fitted().ranker.save(tmp_path / "ranker.ubj")
    with pytest.raises(IntegrityError, match=r"ranks by \d+ signals but 2 are named"):
        booster.load(tmp_path / "ranker.ubj", ("a", "b"))


# the family


def small(**changes: object) -> TwoStageConfig:
    ranker = BoosterConfig(trees=25, min_child_weight=1.0)
    return TwoStageConfig(**{"ranker": ranker, **changes})  # type: ignore[arg-type]


@cache
def fitted() -> twostage.TwoStage:
    return twostage.fit(small(), shop().training, 0)


def test_sources_say_who_proposed() -> None:
    planted = shop()
    answer = fitted().recommend(planted.query, 5)
    assert answer.sources == ("repurchase", "itemknn", "popularity")
    lists = [
        model.recommend(planted.query, depth).item_PK
        for model, depth in zip(fitted().retrievers.values(), fitted().config.depths, strict=True)
    ]
    for row, items in enumerate(answer.item_PK):
        for place, item in enumerate(items):
            bits = sum(1 << s for s, proposed in enumerate(lists) if item in proposed[row])
            assert answer.source_PK[row, place] == bits


def test_retrievers_are_blind_to_the_labels_and_the_frame_is_bounded() -> None:
    planted = shop().training
    later = planted.interactions.time_N >= min(planted.cutoffs)
    shuffled_N = planted.interactions.item_N.copy()
    shuffled_N[later] = 0
    other = replace(planted, interactions=replace(planted.interactions, item_N=shuffled_N))
    seen = {}
    for name, training in (("true", planted), ("spoilt", other)):
        blind = replace(
            training,
            interactions=training.interactions.between(None, min(planted.cutoffs)),
            until_us=min(planted.cutoffs),
            cutoffs={},
            features=training.cutoffs[min(planted.cutoffs)],
        )
        seen[name] = twostage._fit_retrievers(small(), blind, 0)
    asked_for = planted.query(np.arange(10), min(planted.cutoffs))
    for name, model in seen["true"].items():
        np.testing.assert_array_equal(
            model.recommend(asked_for, 5).item_PK, seen["spoilt"][name].recommend(asked_for, 5).item_PK
        )
    frame = twostage.frame(small(negatives=3, rows=1000), planted, seen["true"], 0)
    assert (np.diff(frame.group_N) >= 0).all()
    people_most = 1000 // 2 // 13
    assert len(np.unique(frame.group_N)) <= 2 * (people_most + 4)
    assert np.bincount(frame.group_N, 1 - frame.label_N).max() == 3
    assert np.bincount(frame.group_N, frame.label_N)[np.unique(frame.group_N)].min() >= 1


def test_other_features_are_refused_by_name() -> None:
    query = shop().query
    renamed = replace(
        query, features=replace(query.features, item_names=("popularity_28d", "buyers_28d", "height"))
    )
    with pytest.raises(ConfigError, match=r"item\.height"):
        fitted().recommend(renamed, 5)


def test_contributions_add_up_to_the_scores() -> None:
    single = next(shop().query.parts(1))
    answer = fitted().recommend(single, 3)
    names, parts = fitted().contributions(single, np.append(answer.item_PK[0], 10_000))
    assert parts.shape == (4, len(names) + 1)
    np.testing.assert_allclose(parts[:3].sum(axis=1), answer.score_PK[0], rtol=1e-4, atol=1e-5)
    assert np.isnan(parts[3]).all()


def test_config_faults_are_told_at_once() -> None:
    config = small(retrievers=("popularity", "twostage"), depths=(5,))
    with pytest.raises(ConfigError) as told:
        twostage.fit(config, replace(shop().training, cutoffs={}), 0)
    assert "no cut-offs" in str(told.value)
    assert "2 retrievers but 1 depths" in str(told.value)
    assert "cannot retrieve for itself" in str(told.value)
