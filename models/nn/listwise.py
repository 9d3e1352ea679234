"""Learning a scorer of candidates by one softmax per person. What signals mean and how they are scaled: models/rank/.

Shapes: N candidates, X columns, G groups (one person at one moment), B the groups of a step.
"""

import numpy as np
import torch
from torch import Tensor, nn

from models.nn.adam import Adam
from models.nn.dropout import ByteDropout, keep
from models.nn.threads import one_thread
from models.rank.network import CrossConfig, MlpConfig


class Cross(nn.Module):
    """One cross layer: the columns times a low-rank mixture of what came out of the layer before, added to it."""

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.narrow = nn.Parameter(torch.zeros(rank, width))
        self.widen = nn.Parameter(torch.zeros(width, rank))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x_NX: Tensor, state_NX: Tensor) -> Tensor:
        """Return the next state, [N, X]."""
        return x_NX * ((state_NX @ self.narrow.T) @ self.widen.T + self.bias) + state_NX


class Scorer(nn.Module):
    """Two hidden layers; cross layers beside them where the config has any."""

    def __init__(self, config: MlpConfig | CrossConfig, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, config.first)
        self.second = nn.Linear(config.first, config.second)
        self.out = nn.Linear(config.second, 1, bias=False)  # a bias would move all of a group alike
        if isinstance(config, CrossConfig):
            self.crosses = nn.ModuleList(Cross(width, config.rank) for _ in range(config.crosses))
            self.cross_out = nn.Linear(width, 1, bias=False)

    def forward(self, x_NX: Tensor, dropout: ByteDropout | None = None) -> Tensor:
        """Return scores, [N]."""
        drop = dropout or keep
        deep = drop(torch.relu(self.first(x_NX)))
        deep = drop(torch.relu(self.second(deep)))
        score_N = self.out(deep)[:, 0]
        if not hasattr(self, "crosses"):
            return score_N
        state_NX = x_NX
        for cross in self.crosses:
            state_NX = cross(x_NX, state_NX)
        return score_N + self.cross_out(state_NX)[:, 0]


def learn(
    config: MlpConfig | CrossConfig, x_NX: np.ndarray, gain_N: np.ndarray, start_G: np.ndarray, *, seed: int
) -> dict[str, np.ndarray]:
    """Return the weights after `epochs` over all groups, float32 by name; `start_G` has one entry more than there are groups."""
    random = np.random.default_rng(seed)
    with one_thread(), torch.random.fork_rng(devices=[]):
        scorer = Scorer(config, x_NX.shape[1])
        _initialise(scorer, seed)
        x, gain = torch.from_numpy(x_NX), torch.from_numpy(gain_N.astype(np.float32))
        optimiser = Adam(scorer.parameters(), config.rate, betas=(0.9, 0.999), decay=config.decay)
        dropout = ByteDropout(config.dropout, seed)
        groups = len(start_G) - 1
        steps = config.epochs * -(-groups // config.groups)
        step = 0
        for _ in range(config.epochs):
            order_G = random.permutation(groups)
            for begin in range(0, groups, config.groups):
                group_B = order_G[begin : begin + config.groups]
                row_N, number_N = _rows(start_G, group_B)
                rows = torch.from_numpy(row_N)
                loss = softmax_loss(
                    scorer(x[rows], dropout), gain[rows], torch.from_numpy(number_N), len(group_B)
                )
                optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(scorer.parameters(), 1.0)
                optimiser.step(_schedule(step, steps))
                step += 1
    return {name: value.numpy().copy() for name, value in scorer.state_dict().items()}


def softmax_loss(score_N: Tensor, gain_N: Tensor, group_N: Tensor, groups: int) -> Tensor:
    """Return the mean cross-entropy between each group's shares of the gain and its softmax; groups without gain count 0."""
    top_B = torch.full((groups,), -torch.inf).scatter_reduce(0, group_N, score_N.detach(), "amax")
    centred_N = score_N - top_B[group_N]
    total_B = torch.zeros(groups).index_add(0, group_N, centred_N.exp())
    gain_B = torch.zeros(groups).index_add(0, group_N, gain_N).clamp(min=1e-12)
    log_share_N = centred_N - total_B.log()[group_N]
    return -(gain_N / gain_B[group_N] * log_share_N).sum() / groups


def _rows(start_G: np.ndarray, group_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of these groups, and to which of them each belongs, int64 [N]."""
    size_B = start_G[group_B + 1] - start_G[group_B]
    offset_B = np.cumsum(size_B) - size_B
    row_N = np.arange(size_B.sum()) + np.repeat(start_G[group_B] - offset_B, size_B)
    return row_N, np.repeat(np.arange(len(group_B)), size_B)


def _initialise(scorer: Scorer, seed: int) -> None:
    """Draw weights by a generator of its own, as wide as keeps the spread of what passes through; biases are 0."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in scorer.named_parameters():
            if parameter.ndim > 1:
                gain = 0.1 if "cross" in name or "out" in name else 2**0.5
                parameter.normal_(0.0, gain * parameter.shape[1] ** -0.5, generator=random)
            else:
                parameter.zero_()


def _schedule(step: int, steps: int) -> float:
    warm = max(1.0, 0.05 * steps)
    return float(min((step + 1) / warm, 1.0) * 0.5 * (1 + np.cos(np.pi * step / steps)))
