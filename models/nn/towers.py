"""The two towers: a person by what they took and what is known of them, an item by itself and what is said of it.

Both end in the same space, where nearness is the cosine; an item has a bias beside it, a person a one there, so that an inner
product holds both. Shapes: B people or targets, U items, V tokens, D width, F features.
"""

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn
from torch.nn import functional as F

from models.nn.pooled import pooled

SHOWN = 3.0  # scaled features are cut off there


class Residual(nn.Module):
    """A hidden layer whose output is added to its input; at the start it adds nothing."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.widen = nn.Linear(width, hidden)
        self.narrow = nn.Linear(hidden, width)

    def forward(self, x_BD: Tensor) -> Tensor:
        """Return the input and what the layer makes of it, [B, D]."""
        added_BD: Tensor = self.narrow(F.relu(self.widen(x_BD)))
        return x_BD + added_BD


class Towers(nn.Module):
    """All that is learned but the rows per item: what tokens say, both towers, and how repeats count."""

    def __init__(self, *, width: int, hidden: int, tokens: int, features: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.token_VD = nn.Parameter(torch.zeros(tokens, width + 1))
        self.item = Residual(width, hidden)
        self.person = Residual(width, hidden)
        self.known_FD = nn.Parameter(torch.zeros(2 * features, width))
        self.repeat = nn.Parameter(torch.tensor([0.0, 1.0]))

    def said(self, said_UV: csr_matrix) -> Tensor:
        """Return what tokens say of items, the bias last, [U, D+1]."""
        weight_M = torch.from_numpy(said_UV.data)
        return pooled(self.token_VD, weight_M, said_UV.indices, np.diff(said_UV.indptr))

    def items(self, x_UD: Tensor) -> Tensor:
        """Return items' vectors and biases, [U, D+1], from their rows [U, D+1]."""
        vector_UD = F.normalize(self.item(x_UD[:, :-1]), dim=1) / self.temperature
        return torch.cat([vector_UD, x_UD[:, -1:]], dim=1)

    def people(self, mean_BD: Tensor, feature_BF: Tensor) -> Tensor:
        """Return people's vectors with a one behind them, [B, D+1], from the mean of what they took and their features."""
        vector_BD = F.normalize(self.person(mean_BD + feature_BF @ self.known_FD), dim=1)
        return torch.cat([vector_BD, torch.ones(len(vector_BD), 1)], dim=1)

    def repeats(self, mass: Tensor) -> Tensor:
        """Return what an item that the person has had gets on top, given its decayed count."""
        return self.repeat[0] + self.repeat[1] * torch.log1p(mass)


def initialise(towers: Towers, seed: int) -> None:
    """Fill matrices by a generator of their own; what is to add nothing at the start is zero."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in towers.named_parameters():
            if name.endswith("widen.weight"):
                nn.init.xavier_normal_(parameter, generator=random)
            elif name == "token_VD" and parameter.numel():
                parameter[:, :-1].normal_(0.0, 0.5, generator=random)
            elif name != "repeat":
                parameter.zero_()


def scaled(feature_BF: np.ndarray, centre_F: np.ndarray, spread_F: np.ndarray) -> Tensor:
    """Return features less their centre over their spread (their logs), and beside them whether they are known, [B, 2F]."""
    known_BF = np.isfinite(feature_BF)
    value_BF = (np.where(known_BF, logged(feature_BF), 0.0) - centre_F) / spread_F
    value_BF = np.where(known_BF, np.clip(value_BF, -SHOWN, SHOWN), 0.0)
    return torch.from_numpy(np.concatenate([value_BF, known_BF], axis=1).astype(np.float32))


def logged(feature_BF: np.ndarray) -> np.ndarray:
    """Return the logarithm of one more than the size, with its sign."""
    return np.sign(feature_BF) * np.log1p(np.abs(feature_BF))
