"""What was taken is taken again: a term for the sequence's own items, which dot products of few dimensions cannot carry.

score(i) += gain(state) * log(1 + sum over positions j that hold i of decay[lag(j)]), gain and decay learned; after the repeat
mode of Ren et al., "RepeatNet" (AAAI 2019). Shapes: B sequences, L positions, T targets, D width; C candidates are positions too.
"""

import torch
from torch import Tensor, nn

from models.nn.softmax import NEVER


class Repeat(nn.Module):
    """A decay by lag that begins by halving over half the length, and a gain that depends on the state and begins at one."""

    def __init__(self, *, length: int, width: int) -> None:
        super().__init__()
        self.length = length
        self.log_decay = nn.Parameter(-torch.arange(length) * (1.4 / length))
        self.gain = nn.Linear(width, 1)
        with torch.no_grad():
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


def own_logits(
    repeat: Repeat,
    hit_T: Tensor,
    own_BLL: Tensor,
    state_TD: Tensor,
    *,
    item_BL: Tensor,
    at_T: Tensor,
    target_T: Tensor,
    expected_T: Tensor,
) -> Tensor:
    """Return the logits of targets and, beside them, of the sequence's own items so far, with the term for repeats, [T, 1 + L].

    `hit_T` and `own_BLL` (of each position for each item) are the logits without it. `expected_T` is the log of how often a
    target is expected in the draw, which its logit is less by; own items are certain to be there, which is a log of zero.
    """
    length = item_BL.shape[1]
    row_T, position_T = at_T // length, at_T % length
    lag_LL = repeat.lags(length)
    same_BLL, first_BL = same(item_BL)
    mass_TL = (lag_LL @ same_BLL).flatten(0, 1)[at_T]
    own_TL = own_BLL.flatten(0, 1)[at_T] + repeat(state_TD, mass_TL)
    hits_TL = item_BL[row_T] == target_T[:, None]
    earlier_TL = torch.arange(length) <= position_T[:, None]
    # the first position of each item stands for it, and only what lies at or before the position counts
    own_TL = own_TL.masked_fill(~(earlier_TL & first_BL[row_T]) | hits_TL, NEVER)
    known_T = (hits_TL & earlier_TL).any(dim=1)
    again_T = repeat(state_TD, (lag_LL[position_T] * hits_TL).sum(1, keepdim=True))[:, 0]
    hit_T = hit_T - torch.where(known_T, 0.0, expected_T) + again_T
    return torch.cat([hit_T[:, None], own_TL], dim=1)
