"""The person-item graph: ways worked out by hand, what comes before a target, and communities that learning finds."""

from dataclasses import replace

import numpy as np
import torch

from models.data import DAY_US, TrainingSet
from models.families.lightgcn import FAMILY, LightGcn, LightGcnConfig
from models.nn.edges import Pace, learn
from models.nn.graph import Graph
from models.nn.lightgcn import Network
from models.nn.neighbours import Neighbourhood
from models.splits import no_features
from tests.shop_data import interactions

GIVEN = LightGcnConfig(width=8, epochs=30, negatives=16, temperature=0.2, half_life_days=30.0, own_weight=0.0)


def days(*told: int) -> list[int]:
    return [day * DAY_US for day in told]


def communities(people: int = 40, items: int = 20, *, seed: int = 0) -> TrainingSet:
    """People of two communities who each take eight of the ten items of their own, one a day."""
    random = np.random.default_rng(seed)
    person, item = [], []
    for someone in range(people):
        person += [someone] * 8
        item += (2 * random.permutation(items // 2)[:8] + someone % 2).tolist()
    taken = interactions(person, item, days(*range(1, 9)) * people, people=people, items=items)
    until_us = 20 * DAY_US
    return TrainingSet(
        interactions=taken,
        until_us=until_us,
        horizon_us=DAY_US,
        cutoffs={},
        features=no_features(people, items),
        inner="last",
        repeats=False,
    )


def test_an_edge_weighs_one_over_the_roots_of_both_degrees() -> None:
    taken = interactions([0, 0, 0, 1], [0, 0, 1, 1], days(1, 2, 3, 1), people=2, items=3)
    edge_PI = Graph(taken).edge_PI.toarray()
    np.testing.assert_allclose(edge_PI, [[2**-0.5, 0.5, 0], [0, 2**-0.5, 0]], rtol=1e-6)


def test_layers_are_averaged_and_gradients_go_the_same_way_back() -> None:
    graph = Graph(interactions([0, 0, 1], [0, 1, 1], days(1, 2, 1), people=2, items=2))
    # ways from item to item: E'E of the edges above
    way_II = np.array([[0.5, 8**-0.5], [8**-0.5, 0.75]])
    vector_ID = torch.tensor([[1.0], [2.0]], requires_grad=True)
    graph.layers(vector_ID, 2).backward(torch.tensor([[1.0], [0.0]]))
    mean_II = (np.eye(2) + way_II + way_II @ way_II) / 3
    np.testing.assert_allclose(graph.layers(vector_ID, 2).detach(), mean_II @ [[1], [2]], rtol=1e-6)
    assert vector_ID.grad is not None
    np.testing.assert_allclose(vector_ID.grad[:, 0], mean_II[0], rtol=1e-6)


def test_first_vectors_hold_the_graph_where_there_is_room_for_all_of_it() -> None:
    graph = Graph(communities().interactions)
    vector_ID = graph.leading(19, 0)
    near_II = vector_ID @ vector_ID.T
    way_II = (graph.edge_IP @ graph.edge_PI).toarray()
    assert np.corrcoef((near_II @ near_II).ravel(), way_II.ravel())[0, 1] > 0.98


def test_what_came_before_a_target_speaks_but_not_its_own_item() -> None:
    taken = interactions(
        [0, 0, 0, 0, 1, 2, 2], [5, 3, 5, 4, 3, 1, 1], days(1, 2, 4, 8, 1, 1, 2), people=3, items=6
    )
    near = Neighbourhood(taken, length=2)
    assert near.target_N.tolist() == [1, 2, 3, 6]
    kept_T, neighbours = near.of(near.target_N)
    # position 2 takes item 5 again, so only item 3 speaks; position 3 sees the two before it; person 2 took one item alone
    assert kept_T.tolist() == [1, 2, 3]
    assert neighbours.item_M.tolist() == [5, 3, 3, 5]
    assert neighbours.age_days_M.tolist() == [1, 2, 6, 4]
    assert neighbours.count_T.tolist() == [1, 1, 2]
    assert neighbours.start_T.tolist() == [0, 1, 2]


def test_a_person_is_the_decayed_sum_of_what_speaks() -> None:
    taken = interactions([0, 0, 0], [0, 1, 2], days(1, 2, 4), people=1, items=3)
    network = Network(Graph(taken), np.eye(3, dtype=np.float32), layers=0, half_life_days=2.0)
    near = Neighbourhood(taken, length=9)
    _, neighbours = near.of(np.array([2]))
    person_TD = network.people(torch.eye(3), neighbours).detach()
    np.testing.assert_allclose(person_TD, [[2**-1.5, 0.5, 0]], rtol=1e-6)


def test_learning_from_noise_lowers_the_loss() -> None:
    known = communities().interactions
    graph = Graph(known)
    noise_ID = np.random.default_rng(0).standard_normal((20, 8)).astype(np.float32)
    network = Network(graph, noise_ID, layers=0, half_life_days=30.0)
    pace = Pace(epochs=10, most=10**6, negatives=16, temperature=0.2, rate=0.05)
    losses = learn(network, Neighbourhood(known, length=20), graph.takers_I, pace, 0)
    assert len(losses) == 160
    assert np.mean(losses[:4]) > 2.8
    # among the ten items of the own community nothing can be told
    assert np.mean(losses[-16:]) < np.log(10)


def test_a_stranger_is_offered_the_community_of_the_one_thing_that_they_took() -> None:
    training = communities()
    model = FAMILY.fit(GIVEN, training, 0)
    query = training.query(np.array([0, 1]), training.until_us)
    taken = interactions([0, 1], [2, 3], days(19, 19), people=2, items=20)
    asked = replace(query, history=taken, exclude=None)
    item_PK = model.recommend(asked, 9).item_PK
    assert (item_PK[0] % 2 == 0).all()
    assert (item_PK[1] % 2 == 1).all()


def test_what_nobody_took_lies_as_far_as_the_farthest() -> None:
    item_JD = np.array([[1, 0], [-1, 0], [0, 1]], np.float32)
    model = LightGcn(GIVEN, item_JD, item_JD, np.array([2, 1, 0], np.float32))
    score_PJ = model._score(interactions([0], [0], days(1), people=1, items=3).matrix())
    np.testing.assert_allclose(score_PJ, [[1, -1, -1]])


def test_fewer_targets_than_an_epoch_has_end_learning_early() -> None:
    known = communities().interactions
    graph = Graph(known)
    network = Network(graph, graph.leading(8, 0), layers=1, half_life_days=30.0)
    pace = Pace(epochs=10, most=28, negatives=16, temperature=0.2, rate=0.01)
    assert len(learn(network, Neighbourhood(known, length=20), graph.takers_I, pace, 0)) == 16


def test_what_was_taken_together_is_asked_for_by_what_was_taken_before() -> None:
    taken = interactions([0] * 5, [4, 1, 2, 3, 0], days(1, 1, 5, 5, 9), people=1, items=5)
    near = Neighbourhood(taken, length=9)
    kept_T, neighbours = near.of(near.target_N)
    assert taken.item_N[kept_T].tolist() == [4, 2, 3, 0]
    # the first basket (1, 4) by itself, the second (2, 3) by the first, the last by all
    assert neighbours.item_M.tolist() == [1, 1, 4, 1, 4, 1, 4, 2, 3]
    assert neighbours.age_days_M.tolist() == [0, 4, 4, 4, 4, 8, 8, 4, 4]
