"""The two stages, part by part: pool, signals, what is known of items, and what the family promises beyond the contract.

The rankers have tests of their own (test_rankers.py).
"""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from counterfoil.errors import ConfigError, IntegrityError
from models.data import DAY_US, Content, Features, Inner, Query, Ranking
from models.families import twostage
from models.families.twostage import TwoStageConfig
from models.family import best_of
from models.rank import habits, itemtable, occasions, pool, shelves, signals, trends
from models.rank.booster import BoosterConfig
from models.rank.itemtable import ItemTable
from models.rank.kin import Kin
from models.rank.past import Past, place_within
from models.rank.signals import Lore
from models.splits import leave_one_out, no_features
from tests.shop_data import START_US, interactions, shop, visits

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


def no_lore(items: int, category: list[int] | None = None) -> Lore:
    nothing = interactions([], [], [], people=1, items=items)
    category_I = np.array(category or [], np.int32)
    columns = habits.learn(nothing, NOW_US, 28 * DAY_US, category_I) | trends.learn(nothing, NOW_US)
    return Lore(
        table=ItemTable.of(columns),
        shelves=shelves.learn(items, category_I, None),
        kin=Kin(sim_II=csr_matrix((items, items), dtype=np.float32)),
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
        lore=no_lore(5, [0, 0, 1, -1, 1]),
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
    np.testing.assert_allclose(told["own.category_passed_over_days"], [NAN, 0, 15, NAN, NAN])
    np.testing.assert_allclose(told["own.baskets_since_last"], [NAN, 0, 1, NAN, NAN])
    np.testing.assert_allclose(told["own.share_since_first"], [NAN, 2 / 3, 1 / 2, NAN, NAN], rtol=1e-6)
    np.testing.assert_allclose(told["own.place"], [2, 0, 1, 0, 0])
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
        lore=no_lore(5),
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


def test_habits_by_hand() -> None:
    # windows of 10 days before the moment: item 0 taken in the last and the one before, item 1 only in the one before
    days_ago = [(0, 0, 5), (0, 0, 15), (1, 0, 15), (0, 1, 15)]
    person, item, ago = zip(*days_ago, strict=True)
    times = [NOW_US - days * DAY_US for days in ago]
    past = interactions(list(person), list(item), times, people=2, items=3)
    learned = habits.learn(past, NOW_US, 10 * DAY_US, np.array([0, 0, 1], np.int32))
    # pairs alive before a window: three (0-0, 1-0, 0-1), of which one was taken again: 1/3 overall and on shelf 0
    np.testing.assert_allclose(learned["habit.shelf_again"], [1 / 3, 1 / 3, 1 / 3], rtol=1e-6)
    np.testing.assert_allclose(learned["habit.again"], [(1 + 10 / 3) / 12, (10 / 3) / 11, 1 / 3], rtol=1e-6)
    np.testing.assert_allclose(learned["habit.gap_days"], [10, 10, 10])


def test_trends_by_hand() -> None:
    # item 0: person 0 ten and thirty days ago, person 1 ten days ago; item 1: nobody
    past = interactions([0, 0, 1], [0, 0, 0], [NOW_US - d * DAY_US for d in (10, 30, 10)], people=2, items=2)
    learned = trends.learn(past, NOW_US)
    np.testing.assert_allclose(learned["trend.decayed_10d"], [np.log1p(0.5 + 0.125 + 0.5), 0])
    np.testing.assert_allclose(learned["trend.first_10d"], [np.log1p(0.125 + 0.5), 0])
    np.testing.assert_allclose(learned["trend.takers"], [np.log1p(2), 0])
    np.testing.assert_allclose(learned["trend.age_days"], [30, NAN])
    np.testing.assert_allclose(learned["trend.idle_days"], [10, NAN])


def test_lore_sees_nothing_after_its_moment() -> None:
    planted = shop().training
    now_us = planted.until_us - 20 * DAY_US
    found = []
    for known in (planted.interactions.between(None, now_us), planted.interactions):
        columns = habits.learn(known, now_us, planted.horizon_us, planted.category_I) | trends.learn(
            known, now_us
        )
        found.append(ItemTable.of(columns).value_IC)
    np.testing.assert_array_equal(*found)


def test_nearness_is_the_decayed_sum_over_what_was_taken() -> None:
    # item 1 is near 0 (.5) and near 2 (.25); item 3 came after the fit
    sim_II = csr_matrix(np.array([[0, 0.5, 0], [0.5, 0, 0.25], [0, 0.25, 0]], np.float32))
    query = asked([(0, 0, 30.0), (0, 2, 0.0), (1, 3, 0.0), (1, 1, 0.0)], people=3, items=4)
    lists = listed([[1, 3], [0, 1], [2, -1]], [[2.0, 1.0], [2.0, 1.0], [2.0, -np.inf]])
    columns = Kin(sim_II=sim_II).columns(pool.merge([lists], people=3, items=4), Past.of(query))
    np.testing.assert_allclose(columns["kin.near_30d"], [0.5 / 2 + 0.25, 0, 0.5, 0, 0])
    np.testing.assert_allclose(columns["kin.near_last_basket"], [0.25, 0, 0.5, 0, 0])


def test_a_table_gives_nothing_for_items_that_came_later(tmp_path: Path) -> None:
    table = ItemTable.of({"a": np.array([1.0, 2.0]), "b": np.array([3.0, NAN])})
    given = table.give(np.array([1, 2, 0]))
    np.testing.assert_array_equal(given["a"], np.array([2, NAN, 1], np.float32))
    np.testing.assert_array_equal(given["b"], np.array([NAN, NAN, 3], np.float32))
    table.save(tmp_path / "items.npy")
    np.testing.assert_array_equal(itemtable.load(tmp_path / "items.npy", ("a", "b")).value_IC, table.value_IC)
    with pytest.raises(IntegrityError, match="holds 2 columns but 1 are named"):
        itemtable.load(tmp_path / "items.npy", ("a",))


def test_shelves_read_the_levels_that_tell_items_apart(tmp_path: Path) -> None:
    content = Content(
        title_I=("",) * 3,
        text_I=("",) * 3,
        category_I=("Dairy > Cheese", "Dairy > Milk", "Bread > Rolls"),
        brand_I=("", "", ""),
        image_I=("",) * 3,
        price_I=np.array([np.e, NAN, 0.0], np.float32),
    )
    learned = shelves.learn(3, np.array([1, 2, 0], np.int32), content)
    assert learned.levels == ("category", "department")
    assert learned.codes(np.array([0, 1, 2, 3]))[:, learned.levels.index("department")].tolist() == [
        2,
        2,
        1,
        0,
    ]
    np.testing.assert_allclose(learned.price(np.array([0, 1, 2, 3])), [1, NAN, NAN, NAN], rtol=1e-6)
    learned.save(tmp_path)
    again = shelves.load(tmp_path, learned.levels).codes(np.array([0, 3]))
    assert again[:, learned.levels.index("category")].tolist() == [2, 0]


def test_places_within_a_person() -> None:
    row_N = np.array([0, 0, 0, 0, 1, 1])
    value_N = np.array([1.0, 5.0, NAN, 5.0, 0.0, 2.0])
    assert place_within(row_N, value_N, np.array([4, 2])).tolist() == [2, 0, 3, 0, 1, 0]


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


def test_an_occasion_is_blind_to_what_came_after_it() -> None:
    planted = shop().training
    found = list(occasions.occasions(planted, 1000, np.random.default_rng(0)))
    assert [one.blind.until_us for one in found] == sorted(planted.cutoffs)
    for one in found:
        moment_us = one.blind.until_us
        assert one.query.as_of_us == moment_us
        assert max(one.blind.interactions.time_N.max(), one.query.history.time_N.max()) < moment_us
        assert all(cutoff < moment_us for cutoff in one.blind.cutoffs)
        assert one.taken.time_N.min() >= moment_us
        assert one.taken.time_N.max() < moment_us + planted.horizon_us


def test_the_frame_is_bounded() -> None:
    training = shop().training
    frame, _ = twostage.frame(twostage.settled(small(negatives=3, rows=1000), training), training, 0)
    assert (np.diff(frame.group_N) >= 0).all()
    people_most = 1000 // 2 // 13
    assert len(np.unique(frame.group_N)) <= 2 * (people_most + 4)
    assert np.bincount(frame.group_N, frame.gain_N == 0).max() == 3
    assert np.bincount(frame.group_N, frame.gain_N).min() >= 1


def test_labels_of_several_kinds_gain_what_they_weigh() -> None:
    planted = shop().training
    weight_N = np.where(planted.interactions.item_N % 2 == 0, 1.0, 0.25).astype(np.float32)
    graded = replace(planted, other_labels=replace(planted.interactions, weight_N=weight_N))
    frame, _ = twostage.frame(twostage.settled(small(), graded), graded, 0)
    assert set(np.unique(frame.gain_N)) == {0.0, 0.25, 1.0}


def test_nobody_is_taught_to_answer_what_is_excluded() -> None:
    planted = replace(shop().training, repeats=False)
    for one in occasions.occasions(planted, 1000, np.random.default_rng(0)):
        again = occasions.ask_again(one, strangers=0.1, newcomers=0.1, random=np.random.default_rng(0))
        assert again.query.exclude is not None
        asked = twostage.propose(fitted().retrievers, fitted().config.depths, again.query)
        for row, exclude in enumerate(again.query.exclude):
            assert not np.isin(asked.item_N[asked.row_N == row], exclude).any()
            if row < one.query.people:
                assert set(exclude) == set(one.query.history.rows(np.array([row])).item_N)
        assert [len(exclude) for exclude in again.query.exclude[one.query.people :]].count(0) == 6


@pytest.mark.parametrize("protocol", ["last", "sessions"])
def test_without_cutoffs_what_is_kept_from_learning_teaches(protocol: Inner) -> None:
    everything = visits(seed=0, people=80, items=41, tastes=4, days=112, every_days=4)
    split = leave_one_out(everything, repeats=True)
    training = replace(split.training, inner=protocol)
    model = twostage.fit(small(), training, 0)
    answer = model.recommend(split.trial.query, 5)
    right = [item[0] in row for item, row in zip(split.trial.truth, answer.item_PK, strict=True)]
    assert np.mean(right) > 0.4  # five of 41 items by luck: 0.12


def test_retrievers_suit_the_data_unless_they_are_named() -> None:
    planted = shop().training
    assert twostage.settled(small(), planted).retrievers == ("repurchase", "itemknn", "popularity")
    anew = replace(planted, repeats=False)
    assert twostage.settled(small(), anew).retrievers == (
        "ease",
        "itemknn",
        "als",
        "popularity",
        "sessionknn",
    )
    large = replace(anew, interactions=replace(planted.interactions, items=20_001))
    assert twostage.settled(small(), large).retrievers == ("itemknn", "als", "popularity", "sessionknn")
    named = small(retrievers=("popularity",), depths=(7,))
    assert twostage.settled(named, anew) == named
    assert twostage.settled(small(depths=(9, 8, 7)), planted).depths == (9, 8, 7)
    assert twostage.settled(small(retrievers=("als", "popularity")), planted).depths == (100, 100)


def test_neighbours_are_those_of_the_retriever_and_kept_once(tmp_path: Path) -> None:
    both, alone = tmp_path / "both", tmp_path / "alone"
    both.mkdir()
    alone.mkdir()
    fitted().save(both)
    assert not list(both.glob("kin*"))
    loaded = twostage.load(TwoStageConfig, both)
    assert (loaded.lore.kin.sim_II != fitted().lore.kin.sim_II).nnz == 0
    config = small(retrievers=("repurchase", "popularity"), depths=(50, 20))
    without = twostage.fit(config, shop().training, 0)
    assert without.lore.kin.sim_II.nnz
    without.save(alone)
    assert (twostage.load(TwoStageConfig, alone).lore.kin.sim_II != without.lore.kin.sim_II).nnz == 0


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
    *told, odd = fitted().explain(single, np.append(answer.item_PK[0], 10_000), 3)
    sums = [one.bias + sum(part.added for part in one.parts) for one in told]
    np.testing.assert_allclose(sums, answer.score_PK[0], rtol=1e-4, atol=1e-5)
    assert [one.total for one in told] == answer.score_PK[0].tolist()
    assert {one.method for one in told} == {"exact TreeSHAP"}
    assert tuple(part.name for part in told[0].parts) == fitted().ranker.names
    assert (odd.total, odd.parts, odd.said) == (None, (), "no retriever proposed it, so it was not ranked")


def test_who_proposed_is_told_with_the_place_and_the_reason() -> None:
    single = next(shop().query.parts(1))
    answer = fitted().recommend(single, 3)
    told = fitted().explain(single, answer.item_PK[0], 3)
    for item, bits, one in zip(answer.item_PK[0], answer.source_PK[0].tolist(), told, strict=True):
        named = [name for bit, name in enumerate(answer.sources) if bits >> bit & 1]
        assert [proposal.member for proposal in one.members] == named
        for proposal in one.members:
            ranking = fitted().retrievers[proposal.member].recommend(single, 60)
            assert ranking.item_PK[0, proposal.place - 1] == item
            assert ranking.score_PK[0, proposal.place - 1] == proposal.score


def test_config_faults_are_told_at_once() -> None:
    config = small(retrievers=("popularity", "twostage"), depths=(5,))
    with pytest.raises(ConfigError) as told:
        twostage.fit(config, replace(shop().training, cutoffs={}), 0)
    assert "no cut-offs" in str(told.value)
    assert "2 retrievers but 1 depths" in str(told.value)
    assert "cannot retrieve for itself" in str(told.value)
