"""How a network over the person-item graph learns: by which items people took next, among all that a draw puts beside them.

Sampled softmax over cosines ("On the effectiveness of sampled softmax loss for item recommendation", Wu et al., TOIS 2024), the
negatives shared by a part of the targets: on a processor it learns in some epochs what pairs (BPR) need hundreds for. A step goes
along the whole graph once, so there are few of them, with many targets each: work grows with the data and no faster.
Shapes: I items, D width, N interactions, T targets, S negatives.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.nn.adam import Adam
from models.nn.neighbours import Neighbourhood, Neighbours
from models.nn.softmax import matches, softmax_loss

if TYPE_CHECKING:
    from models.families.gat import GatConfig
    from models.families.lightgcn import LightGcnConfig

STEPS = 16  # per epoch
AT_ONCE = 4096  # targets whose scores are held at a time
WARM = 0.05  # share of the steps in which the rate rises


class Network(Protocol):
    """What learns: tables that the graph gives, and people out of what they took."""

    def tables(self) -> tuple[Tensor, Tensor]:
        """Return the items as they are answered, and as they speak for people, each [I, D]."""

    def people(self, said_ID: Tensor, neighbours: Neighbours) -> Tensor:
        """Return people, one per target, [T, D]."""

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """Yield what is learned."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How long and by what is learned: `most` targets in all, however many epochs that makes."""

    epochs: int
    most: int
    negatives: int
    temperature: float
    rate: float

    @classmethod
    def of(cls, config: "LightGcnConfig | GatConfig") -> "Pace":
        """Return what a config says of it."""
        return cls(
            epochs=config.epochs,
            most=config.targets,
            negatives=config.negatives,
            temperature=config.temperature,
            rate=config.rate,
        )


def learn(
    network: Network, neighbourhood: Neighbourhood, takers_I: np.ndarray, pace: Pace, seed: int
) -> list[float]:
    """Let a network learn, and return the mean loss of every step; no step where nobody took two things.

    The rate warms up and then falls to zero along a cosine. Negatives are drawn evenly among the items that somebody took.
    """
    random = np.random.default_rng(seed)
    targets = len(neighbourhood.target_N)
    drawable = np.flatnonzero(takers_I)
    if not targets or len(drawable) < 2:
        return []
    total = min(pace.epochs * targets, pace.most)
    steps = max(STEPS, round(STEPS * total / targets))
    optimiser = Adam(network.parameters(), pace.rate)
    losses: list[float] = []
    for step, at_T in enumerate(_shares(neighbourhood.target_N, total, steps, random)):
        warm = min((step + 1) / max(1.0, WARM * steps), 1.0)
        optimiser.zero_grad()
        losses.append(_step(network, neighbourhood, at_T, drawable, pace, random))
        optimiser.step(warm * 0.5 * (1 + np.cos(np.pi * step / steps)))
    return losses


def _step(
    network: Network,
    neighbourhood: Neighbourhood,
    at_T: np.ndarray,
    drawable: np.ndarray,
    pace: Pace,
    random: np.random.Generator,
) -> float:
    """Gather the gradients of a step, the tables' own part by part, and send them back along the graph once."""
    tables = network.tables()
    item_ID, said_ID = (table.detach().requires_grad_() for table in tables)
    total = 0.0
    for start in range(0, len(at_T), AT_ONCE):
        kept_T, neighbours = neighbourhood.of(np.sort(at_T[start : start + AT_ONCE]))
        if not len(kept_T):
            continue
        negative_S = np.unique(random.choice(drawable, pace.negatives))
        person_TD = network.people(said_ID, neighbours)
        loss = _loss(person_TD, item_ID, neighbourhood.item_N[kept_T], negative_S, pace.temperature)
        share = len(kept_T) / len(at_T)
        (loss * share).backward()
        total += float(loss.detach()) * share
    felt = [
        (table * leaf.grad).sum()
        for table, leaf in zip(tables, (item_ID, said_ID), strict=True)
        if leaf.grad is not None
    ]
    if (
        felt
    ):  # as a sum: gradients that are given from outside bring sympy into the process, to compare shapes
        torch.stack(felt).sum().backward()
    return total


def _loss(
    person_TD: Tensor, item_ID: Tensor, target_T: np.ndarray, negative_S: np.ndarray, temperature: float
) -> Tensor:
    """Return the mean of -log softmax of the targets among themselves and the negatives, each target once."""
    person_TD = F.normalize(person_TD, dim=1) / temperature
    target, negative = torch.from_numpy(target_T), torch.from_numpy(negative_S)
    hit_T = (person_TD * F.normalize(F.embedding(target, item_ID), dim=1)).sum(1)
    negative_SD = F.normalize(F.embedding(negative, item_ID), dim=1)
    even_S = torch.zeros(len(negative_S))
    return softmax_loss(hit_T[:, None], person_TD, negative_SD, even_S, matches(target_T, negative_S))


def _shares(
    target_N: np.ndarray, total: int, steps: int, random: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yield `steps` shares of about `total` targets: epoch after epoch, each in an order of its own."""
    queue = np.zeros(0, np.int64)
    edge_S = np.linspace(0, total, steps + 1).astype(np.int64)
    for size in np.diff(edge_S):
        while len(queue) < size:
            queue = np.concatenate([queue, random.permutation(target_N)])
        yield queue[:size]
        queue = queue[size:]
