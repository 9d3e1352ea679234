"""The person-item graph: vectors sent along its edges, and where they start from. Who learns what from it is not its business.

An edge weighs one over the square roots of how many items its person took and how many people took its item (He et al., SIGIR
2020, equation 3). People have no vectors of their own, so they only carry those of items to items.
Shapes: P people, I items, D width.
"""

from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from models.data import Interactions
from models.nn.factors import truncated_svd

NOISE = 0.1  # of the spread of the first vectors, so that items without an edge are not all one


class Graph:
    """Normalised edges between those who took and what was taken; how often does not count."""

    def __init__(self, interactions: Interactions) -> None:
        taken_PI = interactions.matrix()
        person_N = np.repeat(np.arange(taken_PI.shape[0]), np.diff(taken_PI.indptr))
        self.takers_I = np.bincount(taken_PI.indices, minlength=taken_PI.shape[1])
        degree_P = np.diff(taken_PI.indptr)
        weight_N = 1.0 / np.sqrt(degree_P[person_N] * self.takers_I[taken_PI.indices])
        self.edge_PI = csr_matrix(
            (weight_N.astype(np.float32), taken_PI.indices, taken_PI.indptr), shape=taken_PI.shape
        )
        self.edge_IP = self.edge_PI.T.tocsr()

    def layers(self, vector_ID: Tensor, count: int) -> Tensor:
        """Return the mean of the vectors and of what they become along 1, ..., `count` ways item - person - item, [I, D]."""
        layered: Tensor = _Layers.apply(vector_ID, self, count)
        return layered

    def mean_of_layers(self, vector_ID: np.ndarray, count: int) -> np.ndarray:
        """Do the same on arrays. The matrix is its own transpose, so that gradients go the same way back."""
        total_ID = vector_ID.copy()
        for _ in range(count):
            vector_ID = self.edge_IP @ (self.edge_PI @ vector_ID)
            total_ID += vector_ID
        return total_ID / np.float32(count + 1)

    def people(self, vector_ID: Tensor) -> Tensor:
        """Return what the items' vectors become along one edge, [P, D]."""
        carried: Tensor = _Carried.apply(vector_ID, self)
        return carried

    def leading(self, width: int, seed: int) -> np.ndarray:
        """Return the leading right singular vectors times the roots of their values, of variance about 1, float32 [I, D].

        Learning from here takes a part of the epochs that it takes from noise.
        """
        random = np.random.default_rng(seed)
        noise_ID = random.standard_normal((self.edge_PI.shape[1], width), np.float32)
        factors = min(width, *(side - 1 for side in self.edge_PI.shape))
        if factors < 1 or not self.edge_PI.nnz:
            return noise_ID
        _, value_F, vector_IF = truncated_svd(self.edge_PI, factors, passes=3, seed=seed)
        found_IF = vector_IF * np.sqrt(value_F)
        out_ID = np.float32(NOISE) * noise_ID
        out_ID[:, :factors] += found_IF / max(float(found_IF.std()), 1e-12)
        return out_ID


class _Carried(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vector_ID: Tensor, graph: Graph) -> Tensor:
        ctx.graph = graph
        return torch.from_numpy(graph.edge_PI @ vector_ID.numpy())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return torch.from_numpy(ctx.graph.edge_IP @ grads[0].numpy()), None


class _Layers(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vector_ID: Tensor, graph: Graph, count: int) -> Tensor:
        ctx.graph, ctx.count = graph, count
        return torch.from_numpy(graph.mean_of_layers(vector_ID.numpy(), count))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return torch.from_numpy(ctx.graph.mean_of_layers(grads[0].numpy(), ctx.count)), None, None
