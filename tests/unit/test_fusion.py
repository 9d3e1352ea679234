"""Assemblies: what places are worth by hand, weights that find planted members, and how members are fitted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from counterfoil.errors import ConfigError, UnknownError
from models.assembly import members
from models.assembly.weigh import weigh
from models.assembly.worth import Kind, total, worth
from models.data import Interactions, Ranking
from models.families import config_from
from models.families.fusion import FusionConfig, fit, load
from models.metrics.accuracy import hits, ndcg, recall, taken
from models.rank import pool
from models.rank.pool import merge
from models.splits import leave_one_out
from tests.shop_data import interactions, shop


def ranking(*lists: list[tuple[int, float]], places: int = 4) -> Ranking:
    item_PK = np.full((len(lists), places), -1, np.int32)
    score_PK = np.full((len(lists), places), -np.inf, np.float32)
    for row, answered in enumerate(lists):
        for place, (item, score) in enumerate(answered):
            item_PK[row, place], score_PK[row, place] = item, score
    return Ranking(
        item_PK=item_PK, score_PK=score_PK, sources=("one",), source_PK=(item_PK >= 0).astype(np.uint8)
    )


def test_a_place_is_worth_its_share_of_the_lead_or_its_rank() -> None:
    one = ranking([(3, 10.0), (1, 6.0), (2, 2.0)], [], [(0, 5.0)])
    other = ranking([(1, 1.0), (0, 1.0)], [(2, -1.0), (3, -3.0)], [])
    found = merge([one, other], 3, 5)
    assert list(zip(found.row_N.tolist(), found.item_N.tolist(), strict=True)) == [
        (0, 0),
        (0, 1),
        (0, 2),
        (0, 3),
        (1, 2),
        (1, 3),
        (2, 0),
    ]
    by_score = [[0, 1], [0.505, 1], [0.01, 0], [1, 0], [0, 1], [0, 0.01], [1, 0]]
    np.testing.assert_allclose(worth(found, "score", 20.0), by_score, rtol=1e-6)
    by_rank = [[0, 3 / 4], [3 / 4, 1], [3 / 5, 0], [1, 0], [0, 1], [0, 3 / 4], [1, 0]]
    np.testing.assert_allclose(worth(found, "rank", 2.0), by_rank, rtol=1e-6)
    np.testing.assert_allclose(
        total(worth(found, "score", 20.0), (1.0, 0.5)), [0.5, 1.005, 0.01, 1, 0.5, 0.005, 1], rtol=1e-6
    )


def test_nobody_and_nothing_are_worth_nothing() -> None:
    for kind in ("score", "rank"):
        assert worth(merge([ranking([])], 1, 5), kind, 20.0).shape == (0, 1)


PEOPLE, ITEMS = 300, 50


def planted(seed: int = 0) -> tuple[dict[str, Ranking], tuple[np.ndarray, ...]]:
    """Three members: one sees what the first half takes, one the other half (on another scale), one is noise."""
    random = np.random.default_rng(seed)
    truth = random.integers(ITEMS, size=PEOPLE)
    seen = {"left": np.arange(PEOPLE) < PEOPLE // 2, "right": np.arange(PEOPLE) >= PEOPLE // 2}
    scale = {"left": 1.0, "right": 1000.0, "noise": 1.0}
    lists = {}
    for name in ("left", "right", "noise"):
        score_PI = random.random((PEOPLE, ITEMS))
        if name in seen:
            score_PI[seen[name], truth[seen[name]]] += 0.6
        order_PI = np.argsort(-score_PI, axis=1)
        lists[name] = Ranking(
            item_PK=order_PI.astype(np.int32),
            score_PK=(scale[name] * np.take_along_axis(score_PI, order_PI, 1)).astype(np.float32),
            sources=(name,),
            source_PK=np.ones(order_PI.shape, np.uint8),
        )
    return lists, tuple(truth[:, None])


@pytest.mark.parametrize("kind", ["score", "rank"])
def test_weights_find_who_knows_something(kind: Kind) -> None:
    lists, truth = planted()
    chosen = weigh(list(lists), list(lists.values()), truth, kinds=(kind,), smoothing=1.0, items=ITEMS, k=10)
    left, right, noise = chosen.weight_M
    assert left > 0
    assert right > 0
    assert noise <= 0.2 * min(left, right)
    values = [step["ndcg@10"] for step in chosen.ascent]
    assert values == sorted(values)
    assert chosen.ascent[0]["weight of noise"] == 0
    assert sum(chosen.ascent[0].values()) == pytest.approx(values[0] + 1.0)


def test_the_value_of_weights_is_that_of_the_lists_they_give() -> None:
    lists, _ = planted(1)
    random = np.random.default_rng(5)
    truth = tuple(random.choice(ITEMS, size, replace=False) for size in random.integers(1, 14, PEOPLE))
    short = [replace_places(one, 12) for one in lists.values()]
    chosen = weigh(list(lists), short, truth, kinds=("score",), smoothing=20.0, items=ITEMS, k=10)
    found = merge(short, PEOPLE, ITEMS)
    answer = pool.best(found, total(worth(found, "score", 20.0), chosen.weight_M), 10, tuple(lists))
    expected = ndcg(hits(answer.item_PK, truth), taken(truth), 10).mean()
    assert chosen.ascent[-1]["ndcg@10"] == pytest.approx(expected, abs=1e-6)


def test_a_flattened_discount_is_the_mean_of_ndcg_and_recall() -> None:
    lists, truth = planted(1)
    short = [replace_places(one, 12) for one in lists.values()]
    chosen = weigh(list(lists), short, truth, kinds=("score",), smoothing=20.0, items=ITEMS, k=5, flat=0.5)
    found = merge(short, PEOPLE, ITEMS)
    answer = pool.best(found, total(worth(found, "score", 20.0), chosen.weight_M), 5, tuple(lists))
    hit_PK, count_P = hits(answer.item_PK, truth), taken(truth)
    expected = (ndcg(hit_PK, count_P, 5) + recall(hit_PK, count_P, 5)).mean() / 2
    assert chosen.ascent[-1]["gain@5"] == pytest.approx(expected, abs=1e-6)


def replace_places(one: Ranking, places: int) -> Ranking:
    return replace(
        one,
        item_PK=one.item_PK[:, :places],
        score_PK=one.score_PK[:, :places],
        source_PK=one.source_PK[:, :places],
    )


def test_two_alike_leave_one_alone() -> None:
    lists, truth = planted()
    chosen = weigh(
        ["left", "again"],
        [lists["left"]] * 2,
        truth,
        kinds=("score", "rank"),
        smoothing=20.0,
        items=ITEMS,
        k=10,
    )
    assert chosen.weight_M == (1.0, 0.0)
    assert chosen.kind == "score"


def test_members_of_no_weight_are_dropped_and_said(tmp_path: Path) -> None:
    model = fit(FusionConfig(members=("popularity", "repurchase")), shop().training, 0)
    assert model.config.members == ("repurchase",)
    assert model.left_out == {"popularity": "it adds nothing on validation"}
    model.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curve.json", "fusion.json", "repurchase"]
    assert load(tmp_path).left_out == model.left_out


def test_a_member_that_refuses_the_data_is_left_out() -> None:
    firsts = leave_one_out(chains(), repeats=False).training
    model = fit(FusionConfig(members=("logistic", "rules", "popularity")), replace(firsts, inner="time"), 0)
    assert "rules" in model.config.members
    assert "no cut-offs" in model.left_out["logistic"]
    with pytest.raises(ConfigError, match=r"no member can be fitted .*logistic: .*no cut-offs"):
        fit(FusionConfig(members=("logistic",)), replace(firsts, inner="time"), 0)


def chains(people: int = 60, items: int = 30, length: int = 6) -> Interactions:
    """Everybody goes from item to the next one."""
    random = np.random.default_rng(0)
    person = np.repeat(np.arange(people), length)
    item = (
        np.repeat(random.integers(items, size=people), length) + np.tile(np.arange(length), people)
    ) % items
    time = np.tile(np.arange(length), people) * 86_400_000_000
    return interactions(person.tolist(), item.tolist(), time.tolist(), people=people, items=items)


def test_what_is_validated_by_is_not_learned_twice() -> None:
    """With a validation of its own the blind fit answers; where it is cut off, members learn it afterwards."""
    training = leave_one_out(chains(), repeats=False).training
    by_itself = fit(FusionConfig(members=("rules",)), training, 0)
    assert by_itself.models["rules"].buyers_I.sum() == len(training.interactions)
    cut = fit(FusionConfig(members=("rules",)), replace(training, validation=None), 0)
    assert cut.models["rules"].buyers_I.sum() == len(training.interactions)
    assert members.cut(replace(training, validation=None), 10).blind.interactions.people == 60


def test_given_weights_are_kept() -> None:
    config = config_from(
        "fusion", {"members": ["popularity", "repurchase", "itemknn"], "weights": [1, 0, 0.5]}
    )
    model = fit(config, shop().training, 0)
    assert model.config.members == ("popularity", "itemknn")
    assert model.config.weights == (1.0, 0.5)
    answer = model.recommend(shop().query, 5)
    assert answer.sources == ("popularity", "itemknn")
    assert set(np.unique(answer.source_PK)) <= {1, 2, 3}


def test_too_little_to_choose_by_counts_all_alike() -> None:
    training = replace(shop(people=12, days=56).training, cutoffs={})
    model = fit(FusionConfig(members=("popularity", "repurchase")), training, 0)
    assert model.config.weights == (1.0, 1.0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"members": ("popularity", "popularity")}, "1 to 8 different"),
        ({"members": ("fusion", "popularity")}, "member of itself"),
        ({"members": ("popularity",), "weights": (1.0, 2.0)}, "give one each"),
        ({"members": ("popularity",), "weights": (0.0,)}, "one above"),
    ],
)
def test_members_that_cannot_be_are_refused(settings: dict[str, tuple[object, ...]], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        fit(FusionConfig(**settings), shop().training, 0)  # type: ignore[arg-type]
    with pytest.raises(UnknownError, match="'nobody'"):
        fit(FusionConfig(members=("nobody",)), shop().training, 0)


def test_the_usual_members_are_registered_and_suit() -> None:
    training = shop().training
    firsts = replace(training, repeats=False)
    usual = {
        members.REPEATS: training,
        members.SESSIONS: replace(training, inner="sessions"),
        members.LATER_FIRSTS: firsts,
        members.NEXT_FIRSTS: replace(firsts, inner="last"),
    }
    for names, suiting in usual.items():
        assert members.usual(suiting) == names
        members.check(names, "fusion")
    assert [members.length(suiting) for suiting in usual.values()] == [10, 20, 10, 10]
