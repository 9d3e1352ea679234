"""Softmax over a few columns of each target's own and a draw that the batch shares, with its gradient worked out by hand.

Autograd would keep several matrices of targets x draw, each written to memory and read again; here a slice of them stays in the
cache, and loss and gradients leave it together. Shapes: T targets, G given columns, S drawn items, D width, M matches.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

SLICE = 2**17  # logits at a time: half a megabyte
NEVER = -1e9  # a logit that adds nothing, and is finite: differences of two stay numbers


class Draw:
    """Items drawn with a chance that grows with the `power` of their count; 0: all alike, also those that nobody took."""

    def __init__(self, count_I: np.ndarray, power: float) -> None:
        weight_I = count_I.astype(np.float64) ** power if power > 0 else np.ones(len(count_I))
        self.chance_I = weight_I / max(weight_I.sum(), 1.0)
        self.cumulated_I = np.cumsum(self.chance_I)

    def __call__(self, size: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw `size` items; return the distinct ones, ascending, and how often each was drawn, int64 [S]."""
        drawn = np.searchsorted(self.cumulated_I, random.random(size) * self.cumulated_I[-1], "right")
        item_S, times_S = np.unique(drawn, return_counts=True)
        return item_S, times_S

    def expected(self, item_N: np.ndarray, size: int) -> np.ndarray:
        """Return the log of how often items are expected among `size`, float32 [N]."""
        return np.log(np.maximum(self.chance_I[item_N] * size, 1e-12)).astype(np.float32)


def matches(target_T: np.ndarray, drawn_S: np.ndarray) -> np.ndarray:
    """Return which targets were drawn too, and where: int64 [M, 2] of row and column; `drawn_S` ascends."""
    column_T = np.minimum(np.searchsorted(drawn_S, target_T), len(drawn_S) - 1)
    row_M = np.flatnonzero(drawn_S[column_T] == target_T)
    return np.stack([row_M, column_T[row_M]], axis=1)


class _Against(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, given_TG: Tensor, state_TD: Tensor, drawn_SD: Tensor, bias_S: Tensor, match_M2: np.ndarray
    ) -> Tensor:
        targets = len(state_TD)
        to_state_TD, to_given_TG = torch.empty_like(state_TD), torch.empty_like(given_TG)
        to_drawn_SD, to_bias_S = torch.zeros_like(drawn_SD), torch.zeros_like(bias_S)
        rows = max(1, SLICE // len(drawn_SD))
        border = np.searchsorted(match_M2[:, 0], np.arange(0, targets + rows, rows))
        match = torch.from_numpy(match_M2)
        loss = 0.0
        for part, start in enumerate(range(0, targets, rows)):
            span = slice(start, start + rows)
            state, given = state_TD[span], given_TG[span]
            drawn = torch.addmm(bias_S, state, drawn_SD.T)
            row, column = match[border[part] : border[part + 1]].T
            drawn[row - start, column] = NEVER
            most = torch.maximum(drawn.amax(1), given.amax(1))[:, None]
            drawn.sub_(most).exp_()
            own = (given - most).exp_()
            total = drawn.sum(1, keepdim=True) + own.sum(1, keepdim=True)
            loss += float((total.log() + most)[:, 0].sum() - given[:, 0].sum())
            share = 1 / (total * targets)
            torch.mm(drawn.mul_(share), drawn_SD, out=to_state_TD[span])
            to_drawn_SD.addmm_(drawn.T, state)
            to_bias_S += drawn.sum(0)
            torch.mul(own, share, out=to_given_TG[span])
        to_given_TG[:, 0] -= 1 / targets
        ctx.save_for_backward(to_given_TG, to_state_TD, to_drawn_SD, to_bias_S)
        return state_TD.new_tensor(loss / targets)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return (*(saved * grads[0] for saved in ctx.saved_tensors), None)


_against: Callable[..., Tensor] = _Against.apply


def softmax_loss(
    given_TG: Tensor, state_TD: Tensor, drawn_SD: Tensor, bias_S: Tensor, match_M2: np.ndarray
) -> Tensor:
    """Return the mean of -log softmax of column 0 of the given logits, among them and `state_TD @ drawn_SD.T + bias_S`.

    `match_M2` names the rows and columns (ascending rows) of drawn items that are the row's target: these do not count. Targets
    there must be.
    """
    return _against(given_TG, state_TD, drawn_SD, bias_S, match_M2)
