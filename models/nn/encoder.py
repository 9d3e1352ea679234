"""A causal transformer over item embeddings: SASRec's encoder, with the norm before each part. No items, no loss here.

Kang & McAuley, "Self-attentive sequential recommendation" (ICDM 2018); pre-norm as in Xiong et al., "On layer
normalization in the transformer architecture" (ICML 2020). Shapes: B sequences, L positions, D width.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ByteDropout:
    """Dropout by random bytes from a generator of its own; torch's CPU dropout draws a float per element and is slow."""

    def __init__(self, share: float, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.cut = round(share * 256)

    def __call__(self, x: Tensor) -> Tensor:
        """Zero elements at random, at a share rounded to 1/256, and scale the rest up."""
        if self.cut == 0:
            return x
        drawn = np.frombuffer(self.random.bytes(x.numel()), np.uint8) >= self.cut
        return x * torch.from_numpy(drawn).view(x.shape) * (256 / (256 - self.cut))


def keep(x: Tensor) -> Tensor:
    """Return `x`: what stands in for dropout when nothing is learned."""
    return x


class Block(nn.Module):
    """Attention to what came before, then a feed-forward layer; each behind a norm and added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.forward_norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, x_BLD: Tensor, dropout: ByteDropout | None) -> Tensor:
        """Return the block's output, [B, L, D]."""
        drop = dropout or keep
        batch, length, width = x_BLD.shape
        qkv = self.qkv(self.attention_norm(x_BLD)).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x_BLD = x_BLD + drop(self.out(seen.transpose(1, 2).reshape(batch, length, width)))
        return x_BLD + drop(self.narrow(F.gelu(self.widen(self.forward_norm(x_BLD)))))


class Encoder(nn.Module):
    """Positions, blocks and a last norm. Sequences start at position 0 and are padded behind, where nothing looks."""

    def __init__(self, *, length: int, width: int, blocks: int, heads: int) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.zeros(length, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)

    def forward(self, x_BLD: Tensor, dropout: ByteDropout | None = None) -> Tensor:
        """Return what each position knows of the sequence up to itself, [B, L, D]."""
        drop = dropout or keep
        x_BLD = drop(x_BLD + self.position[: x_BLD.shape[1]])
        for block in self.blocks:
            x_BLD = block(x_BLD, dropout)
        return self.norm(x_BLD)


def initialise(module: nn.Module, seed: int, scale: float = 0.02) -> None:
    """Fill weights from a normal distribution and biases with zeros, by a generator of its own."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            elif "norm" not in name:
                parameter.normal_(0.0, scale, generator=random)
