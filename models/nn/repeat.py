"""What was taken is taken again: a term for the sequence's own items, which dot products of few dimensions cannot carry.

score(i) += gain(state) * log(1 + sum over positions j that hold i of decay[lag(j)]), gain and decay learned; after the repeat
mode of Ren et al., "RepeatNet" (AAAI 2019). Shapes: B sequences, L positions, T targets, D width; C candidates are positions too.
"""

import torch
from torch import Tensor, nn


class Repeat(nn.Module):
    """A decay by lag, learned freely from an exponential, and a gain that depends on the state."""

    def __init__(self, *, length: int, width: int) -> None:
        super().__init__()
        self.length = length
        self.log_decay = nn.Parameter(torch.zeros(length))
        self.gain = nn.Linear(width, 1)

    def initialise(self) -> None:
        """Start with a decay that halves over half the length, and a gain of one."""
        with torch.no_grad():
            self.log_decay.copy_(-torch.arange(self.length) * (1.4 / self.length))
            self.gain.weight.zero_()
            self.gain.bias.fill_(1.0)

    def lags(self, length: int) -> Tensor:
        """Return the decay from each position to each earlier one and itself, [L, L], zero for later ones."""
        position = torch.arange(length)
        lag = position[:, None] - position[None, :]
        return torch.where(lag >= 0, self.log_decay[lag.clamp(min=0)].exp(), 0.0)

    def forward(self, state_TD: Tensor, mass_TC: Tensor) -> Tensor:
        """Return what is added to the scores of items that carry so much decayed mass, [T, C]."""
        return self.gain(state_TD) * torch.log1p(mass_TC)


def same(item_BL: Tensor) -> tuple[Tensor, Tensor]:
    """Return whether two positions hold the same item, float [B, L, L], and whether a position is its item's first, [B, L]."""
    same_BLL = item_BL[:, :, None] == item_BL[:, None, :]
    first_BL = same_BLL.int().argmax(dim=2) == torch.arange(item_BL.shape[1])
    return same_BLL.float(), first_BL
