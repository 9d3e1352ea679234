"""Graph attention: who is heard, what it starts from, and that it learns to hear what tells something."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from counterfoil.errors import ConfigError
from models.data import DAY_US, TrainingSet
from models.families.gat import FAMILY, GatConfig
from models.nn import lightgcn
from models.nn.attention import softmax
from models.nn.gat import Gat, Network, takers
from models.nn.graph import Graph
from models.nn.neighbours import Neighbourhood, Neighbours
from models.splits import no_features
from tests.shop_data import interactions

GIVEN = GatConfig(width=8, heads=2, negatives=16, half_life_days=1e4, own_weight=0.0)


def test_softmax_adds_up_to_one_for_each_hearer() -> None:
    logit_MH = torch.log(torch.tensor([[1.0, 5], [3, 5], [7, 1]]))
    share_MH = softmax(logit_MH, torch.tensor([0, 0, 2]), 3)
    np.testing.assert_allclose(share_MH, [[0.25, 0.5], [0.75, 0.5], [1, 1]], rtol=1e-6)


def test_an_item_hears_the_last_who_took_it_each_once() -> None:
    days = [day * DAY_US for day in (1, 5, 2, 3, 4)]
    taken = interactions([0, 0, 1, 2, 2], [1, 1, 1, 1, 2], days, people=3, items=4)
    heard_M, count_J = takers(taken, 2)
    assert heard_M.tolist() == [0, 2, 2]
    assert count_J.tolist() == [0, 2, 1, 0]


def noisy(people: int = 80, *, seed: int = 0) -> TrainingSet:
    """People of two communities (items 0 to 19, by parity) who each take four things of no community in between (20 to 29)."""
    random = np.random.default_rng(seed)
    person, item = [], []
    for someone in range(people):
        own = 2 * random.permutation(10)[:6] + someone % 2
        item += random.permutation([*own, *(20 + random.permutation(10)[:4])]).tolist()
        person += [someone] * 10
    times = [day * DAY_US for day in range(1, 11)] * people
    return TrainingSet(
        interactions=interactions(person, item, times, people=people, items=30),
        until_us=20 * DAY_US,
        horizon_us=DAY_US,
        cutoffs={},
        features=no_features(people, 30),
        inner="last",
        repeats=False,
    )


def test_it_starts_as_lightgcn_with_one_layer() -> None:
    known = noisy().interactions
    graph = Graph(known)
    ours = Network(replace(GIVEN, takers=1000), known, 5.0, 0)
    theirs = lightgcn.Network(graph, graph.leading(8, 0), layers=1, half_life_days=5.0)
    with torch.no_grad():
        for attention in (ours.item, ours.person.attention):
            attention.hearer_DH.zero_()
            attention.heard_DH.zero_()
        np.testing.assert_allclose(ours.tables()[0], theirs.tables()[0], rtol=1e-3, atol=1e-4)
        near = Neighbourhood(known, length=50)
        _, neighbours = near.of(near.target_N[:40])
        one_TD, other_TD = (
            torch.nn.functional.normalize(network.people(network.tables()[1], neighbours), dim=1)
            for network in (ours, theirs)
        )
    # ages lie on steps here, so people are nearly alike
    assert float((one_TD * other_TD).sum(1).min()) > 0.95


def heard(model: Gat, item_M: list[int], age_days_M: list[float]) -> np.ndarray:
    """Return by how much each thing in a person's history is heard, the mean of the heads."""
    near = Neighbours(
        item_M=np.array(item_M),
        age_days_M=np.array(age_days_M, np.float32),
        count_T=np.array([len(item_M)]),
    )
    with torch.no_grad():
        mean_1D = model.item_JD[near.item_M].mean(0, keepdim=True)
        weight_MH = model.person.attention.weights(
            mean_1D, model.item_JD, near.item_M, near.count_T, model.person.edges(near)
        )
    return weight_MH.mean(dim=1).numpy()


def test_what_tells_of_the_next_thing_is_heard_more_than_what_tells_nothing() -> None:
    training = noisy()
    before = FAMILY.fit(replace(GIVEN, epochs=1, rate=1e-6), training, 0)
    learned = [FAMILY.fit(replace(GIVEN, epochs=12, rate=0.02), training, seed) for seed in range(4)]
    after = learned[0]
    history, ages = [2, 21, 6, 23, 10, 27], [5.0] * 6
    assert heard(before, history, ages)[::2].sum() == pytest.approx(0.5, abs=0.1)
    # one start in three hears little more than at first, so by the mean
    assert np.mean([heard(one, history, ages)[::2].sum() for one in learned]) > 0.57
    query = training.query(np.array([0, 1]), training.until_us)
    items = interactions([0, 0, 0, 1, 1, 1], [2, 21, 23, 3, 21, 23], [19 * DAY_US] * 6, people=2, items=30)
    allowed_I = np.arange(30) < 20
    asked = replace(query, history=items, exclude=None, allowed_I=allowed_I)
    item_PK = after.recommend(asked, 8).item_PK
    assert (item_PK % 2 == [[0], [1]]).mean() > 0.9


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ConfigError, match="3 heads do not divide a width of 8"):
        FAMILY.fit(replace(GIVEN, heads=3), noisy(), 0)
