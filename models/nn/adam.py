"""Adam on a network's parameters, and nothing else; rows of large tables are in models/nn/rows.py.

Torch's own kernel, called as a function: its optimiser classes bring all of torch's compiler into the process at their first
step (110 MB and a second and a half, measured), which nothing here compiles with.
"""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.adam import adam

BETAS = (0.9, 0.98)


class Adam:
    """Parameters and their moments (Kingma & Ba, 2015); `decay` shrinks weights beside the step (Loshchilov & Hutter, 2019)."""

    def __init__(
        self,
        parameters: Iterable[Tensor],
        rate: float,
        *,
        betas: tuple[float, float] = BETAS,
        decay: float = 0.0,
    ) -> None:
        self.parameters = list(parameters)
        self.rate = rate
        self.betas = betas
        self.decay = decay
        self.first = [torch.zeros_like(one) for one in self.parameters]
        self.second = [torch.zeros_like(one) for one in self.parameters]
        self.steps = [torch.zeros(()) for _ in self.parameters]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for one in self.parameters:
            one.grad = None

    @torch.no_grad()
    def step(self, scale: float = 1.0) -> None:
        """Move the parameters that have a gradient; `scale` times the rate is the rate of this step."""
        moved = [n for n, one in enumerate(self.parameters) if one.grad is not None]
        gradients = [self.parameters[n].grad for n in moved]
        adam(
            [self.parameters[n] for n in moved],
            [one for one in gradients if one is not None],
            [self.first[n] for n in moved],
            [self.second[n] for n in moved],
            [],
            [self.steps[n] for n in moved],
            fused=True,
            decoupled_weight_decay=True,
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=scale * self.rate,
            weight_decay=self.decay,
            eps=1e-8,
            maximize=False,
        )
