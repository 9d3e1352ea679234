"""Two towers: what is taken off for being drawn often, what features and tokens say, and items beyond the exact search."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from counterfoil.errors import InputError
from models.data import DAY_US, Features, TrainingSet
from models.families import tokens
from models.families.twotower import FAMILY, TwoTowerConfig
from models.nn.towers import Towers, initialise, scaled
from models.splits import no_features
from tests.shop_data import content, interactions, shop, with_new_items

GIVEN = TwoTowerConfig(width=16, hidden=16, epochs=8, length=20, batch=64, half_life_days=90.0)


def towers() -> Towers:
    made = Towers(width=2, hidden=4, tokens=3, features=0, temperature=0.5)
    initialise(made, 0)
    return made


def test_at_the_start_an_item_is_its_row_scaled_to_the_temperature_beside_its_bias() -> None:
    found = towers().items(torch.tensor([[3.0, 4.0, -7.0]])).detach()
    np.testing.assert_allclose(found, [[1.2, 1.6, -7.0]], rtol=1e-6)


def test_at_the_start_a_person_is_the_mean_of_what_they_took_beside_a_one() -> None:
    found = towers().people(torch.tensor([[0.0, 2.0], [0.0, 0.0]]), torch.zeros(2, 0)).detach()
    np.testing.assert_allclose(found, [[0, 1, 1], [0, 0, 1]], rtol=1e-6)


def test_tokens_add_up_weighed_and_nothing_said_is_nothing() -> None:
    made = towers()
    with torch.no_grad():
        made.token_VD.copy_(torch.tensor([[1.0, 0, 0], [0, 10, 0], [0, 0, 100]]))
    said_UV = csr_matrix(np.array([[0.5, 0, 2], [0, 0, 0]], np.float32))
    np.testing.assert_allclose(made.said(said_UV).detach(), [[0.5, 0, 200], [0, 0, 0]])


def test_features_are_scaled_by_their_logs_and_unknown_ones_say_so() -> None:
    feature_BF = np.array([[np.e - 1, np.nan], [1e9, 0]], np.float32)
    found = scaled(feature_BF, np.array([0.5, 0]), np.array([0.5, 1]))
    np.testing.assert_allclose(found, [[1, 0, 1, 0], [3, 0, 1, 1]], rtol=1e-6)


def test_only_tokens_that_several_items_share_are_learned() -> None:
    said = content([0, 1, 0, 1])
    found = tokens.learned(said, 1000)
    assert "word citrus" in found.names
    assert "category scents > cedar" in found.names
    assert "brand house of mint" in found.names
    assert "word soap" not in found.names
    two_CV = found.of(said, np.array([0, 2]))
    np.testing.assert_allclose(two_CV.multiply(two_CV).sum(axis=1), 1.0, rtol=1e-6)
    assert len(tokens.learned(said, 2)) == 2
    assert len(tokens.learned(None, 10)) == 0


def sold_unevenly() -> TrainingSet:
    """Sixty people who took item 0 twenty times as often as any other, and nothing that goes together."""
    random = np.random.default_rng(0)
    chance_I = np.where(np.arange(12) == 0, 20.0, 1.0)
    item = [
        int(one)
        for _ in range(60)
        for one in random.choice(12, 10, replace=True, p=chance_I / chance_I.sum())
    ]
    person = [someone for someone in range(60) for _ in range(10)]
    taken = interactions(person, item, [day * DAY_US for day in range(1, 11)] * 60, people=60, items=12)
    return TrainingSet(
        interactions=taken,
        until_us=20 * DAY_US,
        horizon_us=DAY_US,
        cutoffs={},
        features=no_features(60, 12),
        inner="last",
    )


def test_scores_of_a_stranger_are_the_log_shares_though_what_sells_is_drawn_oftener() -> None:
    """Without the correction the item that is drawn oftenest would be pushed down to the level of the others."""
    training = sold_unevenly()
    model = FAMILY.fit(replace(GIVEN, epochs=15, temperature=5.0), training, 0)
    ranking = model.recommend(training.query(np.array([-1]), training.until_us), 12)
    assert ranking.item_PK[0, 0] == 0
    share_I = np.bincount(training.interactions.item_N, minlength=12) / 600
    lead = ranking.score_PK[0, 0] - ranking.score_PK[0, 1:].mean()
    assert lead == pytest.approx(np.log(share_I[0]) - np.log(share_I[1:]).mean(), abs=0.7)


def told_by_feature() -> TrainingSet:
    """People of whom one feature says which half of the items they take next; what they took before says nothing."""
    random = np.random.default_rng(1)
    person, item, time = [], [], []
    for someone in range(120):
        before, after = random.choice(20, 3, replace=False), random.choice(10, 5, replace=False)
        item += [20 + int(one) for one in before] + [2 * int(one) + someone % 2 for one in after]
        person += [someone] * 8
        time += [day * DAY_US for day in (1, 2, 3, 11, 12, 13, 14, 15)]
    taken = interactions(person, item, time, people=120, items=40)
    side_PF = (np.arange(120) % 2)[:, None].astype(np.float32)
    known = Features(
        person_names=("side",),
        item_names=(),
        pair_names=(),
        person_PF=side_PF,
        item_IF=np.zeros((40, 0), np.float32),
        pair_person_N=np.zeros(0, np.int32),
        pair_item_N=np.zeros(0, np.int32),
        pair_NF=np.zeros((0, 0), np.float32),
    )
    return TrainingSet(
        interactions=taken,
        until_us=20 * DAY_US,
        horizon_us=DAY_US,
        cutoffs={10 * DAY_US: known},
        features=known,
        repeats=False,
    )


def test_a_feature_known_at_the_cut_off_speaks_for_who_took_nothing() -> None:
    training = told_by_feature()
    model = FAMILY.fit(replace(GIVEN, epochs=15), training, 0)
    query = training.query(np.array([0, 1]), training.until_us)
    nothing = interactions([], [], [], people=2, items=40)
    item_PK = model.recommend(replace(query, history=nothing, exclude=None), 5).item_PK
    assert (item_PK % 2 == [[0], [1]]).mean() > 0.8


def test_a_catalogue_beyond_the_exact_search_is_answered_nearly_alike(tmp_path: Path) -> None:
    known = shop(people=40, items=81, days=56, cutoffs=1)
    exact, through = (
        FAMILY.fit(replace(GIVEN, epochs=3, exact=size), known.training, 0) for size in (1000, 20)
    )
    query = with_new_items(known.query, 4, content([0, 1, 2, 3]))
    one, other = exact.recommend(query, 10), through.recommend(query, 10)
    assert (one.item_PK == other.item_PK).mean() > 0.9
    through.save(tmp_path)
    assert (tmp_path / "graph.npy").is_file()
    np.testing.assert_array_equal(FAMILY.load(tmp_path).recommend(query, 10).item_PK, other.item_PK)


def test_content_that_does_not_fit_the_catalogue_is_refused() -> None:
    known = shop(people=20, days=56, cutoffs=1)
    model = FAMILY.fit(replace(GIVEN, epochs=1), known.training, 0)
    asked = replace(with_new_items(known.query, 3), content=content([0, 1]))
    with pytest.raises(InputError, match="describes 2 items of 44"):
        model.recommend(asked, 5)
