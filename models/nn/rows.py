"""Adam on the rows of a large table that a step touched, and on no others. What is learned with it is not its business.

A catalogue has a hundred thousand rows and a step touches some thousands: dense Adam would spend its time on zeros.
Kingma & Ba (2015), lazily: moments of a row move only when the row has a gradient. Shapes: I rows, U touched ones, D width.
"""

from collections.abc import Iterable

import torch
from torch import Tensor


class RowAdam:
    """Tables that share their rows' numbering (embeddings [I, D], biases [I]) and their moments."""

    def __init__(
        self, tables: Iterable[Tensor], rates: Iterable[float], decay: tuple[float, float] = (0.9, 0.98)
    ) -> None:
        self.tables = list(tables)
        self.rates = list(rates)
        self.decay = decay
        self.first = [torch.zeros_like(table) for table in self.tables]
        self.second = [torch.zeros_like(table) for table in self.tables]
        self.steps = 0

    def take(self, row_U: Tensor) -> list[Tensor]:
        """Return copies of the rows as leaves that gather gradients."""
        return [table.index_select(0, row_U).requires_grad_() for table in self.tables]

    @torch.no_grad()
    def step(self, row_U: Tensor, leaves: list[Tensor], rate: float = 1.0) -> None:
        """Move the rows by their leaves' gradients; `rate` scales the learning rates of this step."""
        self.steps += 1
        one, two = self.decay
        for t, leaf in enumerate(leaves):
            gradient = leaf.grad
            if gradient is None:
                continue
            first = self.first[t].index_select(0, row_U).lerp_(gradient, 1 - one)
            second = (
                self.second[t].index_select(0, row_U).mul_(two).addcmul_(gradient, gradient, value=1 - two)
            )
            self.first[t].index_copy_(0, row_U, first)
            self.second[t].index_copy_(0, row_U, second)
            scale = second.div_(1 - two**self.steps).sqrt_().add_(1e-8)
            move = rate * self.rates[t] / (1 - one**self.steps)
            self.tables[t].index_copy_(0, row_U, leaf.detach().addcdiv(first, scale, value=-move))
