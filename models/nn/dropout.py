"""Dropout by random bytes. Nothing else."""

import numpy as np
import torch
from torch import Tensor

MASK = 2**22  # elements: 16 MiB of floats


class ByteDropout:
    """Dropout from a generator of its own; torch's CPU dropout draws a float per element and is slow.

    A long mask is drawn once and each call reads it from another place: drawing anew took a tenth of a step.
    """

    def __init__(self, share: float, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.cut = round(share * 256)
        kept = np.frombuffer(self.random.bytes(MASK if self.cut else 0), np.uint8) >= self.cut
        self.mask = torch.from_numpy(kept.astype(np.float32)).mul_(256 / (256 - self.cut))

    def __call__(self, x: Tensor) -> Tensor:
        """Zero elements at random, at a share rounded to 1/256, and scale the rest up."""
        if self.cut == 0:
            return x
        if x.numel() > len(self.mask) // 2:
            self.mask = self.mask.repeat(1 + 2 * x.numel() // len(self.mask))
        start = int(self.random.integers(len(self.mask) - x.numel()))
        return x * self.mask[start : start + x.numel()].view(x.shape)


def keep(x: Tensor) -> Tensor:
    """Return `x`: what stands in for dropout when nothing is learned."""
    return x
