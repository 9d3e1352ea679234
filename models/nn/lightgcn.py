"""LightGCN's network: nothing is learned but a vector per item, and nothing happens to it but the graph.

Shapes: I items, D width, T targets, M pairs of a target and an item before it.
"""

import numpy as np
import torch
from torch import Tensor, nn

from models.data import Interactions
from models.families.lightgcn import LightGcnConfig
from models.nn.edges import Pace, learn
from models.nn.graph import Graph
from models.nn.neighbours import Neighbourhood, Neighbours
from models.nn.pooled import pooled
from models.nn.threads import one_thread
from models.recency import Recency


class Network(nn.Module):
    """First vectors of the items, [I, D], from which the graph makes those that are answered and those that speak."""

    def __init__(self, graph: Graph, vector_ID: np.ndarray, *, layers: int, half_life_days: float) -> None:
        super().__init__()
        self.vector_ID = nn.Parameter(torch.from_numpy(vector_ID))
        self.graph = graph
        self.layers = layers
        self.half_life_days = half_life_days
        self.scale_I1 = torch.from_numpy(speaking(graph.takers_I))[:, None]

    def tables(self) -> tuple[Tensor, Tensor]:
        """Return the mean of the layers, and the same as it goes along one more edge to a person."""
        item_ID = self.graph.layers(self.vector_ID, self.layers)
        return item_ID, item_ID * self.scale_I1

    def people(self, said_ID: Tensor, neighbours: Neighbours) -> Tensor:
        """Return the sum of what people took, older things counting less, [T, D]; its length says nothing."""
        weight_M = torch.from_numpy(np.exp2(-neighbours.age_days_M / self.half_life_days))
        return pooled(said_ID, weight_M, neighbours.item_M, neighbours.count_T)


def speaking(takers_I: np.ndarray) -> np.ndarray:
    """Return how loudly an item speaks for a person, float32 [I]: one over the root of how many people took it."""
    return (1.0 / np.sqrt(np.maximum(takers_I, 1))).astype(np.float32)


def vectors(config: LightGcnConfig, interactions: Interactions, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Learn by a settled config, and return the items as they are answered and as they speak, each float32 [I, D]."""
    graph = Graph(interactions)
    network = Network(
        graph,
        graph.leading(config.width, seed),
        layers=config.layers,
        half_life_days=Recency.of(config).half_life_days,
    )
    with one_thread():
        learn(
            network, Neighbourhood(interactions, length=config.length), graph.takers_I, Pace.of(config), seed
        )
        with torch.no_grad():
            item_ID, said_ID = network.tables()
    return item_ID.numpy(), said_ID.numpy()
