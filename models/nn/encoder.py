"""A causal transformer over item embeddings: SASRec's encoder, with the norm before each part. No items, no loss here.

Kang & McAuley, "Self-attentive sequential recommendation" (ICDM 2018); pre-norm as in Xiong et al., "On layer
normalization in the transformer architecture" (ICML 2020). Positions are told by a learned bias per lag (after Shaw, Uszkoreit &
Vaswani, NAACL 2018, and Raffel et al., JMLR 2020), so that a history that grows by an item is read as before.
Whoever answers one person reads the same weights by models/transformer.py.
Shapes: B sequences, H heads, L positions, D width, E width of a head.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from counterfoil.errors import ConfigError
from models.nn.dropout import ByteDropout, keep


class Block(nn.Module):
    """Attention to what came before, then a feed-forward layer; each behind a norm and added to its input."""

    def __init__(self, length: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.lag = nn.Parameter(torch.zeros(heads, length))
        self.forward_norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, width)
        self.outer = nn.Linear(width, width)

    def forward(self, x_BLD: Tensor, dropout: ByteDropout | None) -> Tensor:
        """Return the block's output, [B, L, D]."""
        drop = dropout or keep
        batch, length, width = x_BLD.shape
        each = width // self.heads
        qkv = self.qkv(self.attention_norm(x_BLD)).view(batch, length, 3, self.heads, each)
        q_BHLE, k_BHLE, v_BHLE = qkv.permute(2, 0, 3, 1, 4)
        logit_BHLL = (q_BHLE * each**-0.5) @ k_BHLE.transpose(-1, -2) + self._bias(length)
        seen_BHLE = torch.softmax(logit_BHLL, dim=-1) @ v_BHLE
        x_BLD = x_BLD + drop(self.out(seen_BHLE.transpose(1, 2).reshape(batch, length, width)))
        return x_BLD + drop(self.outer(drop(F.relu(self.inner(self.forward_norm(x_BLD))))))

    def _bias(self, length: int) -> Tensor:
        """Return what is added to the logits of attention, [H, L, L]: minus infinity for what comes later."""
        position = torch.arange(length)
        lag = position[:, None] - position[None, :]
        return self.lag[:, lag.clamp(min=0)].masked_fill(lag < 0, -torch.inf)


class Encoder(nn.Module):
    """Blocks and a last norm. Sequences are padded behind, where nothing looks."""

    def __init__(self, *, length: int, width: int, blocks: int, heads: int) -> None:
        if width % heads:
            raise ConfigError(f"{heads} heads do not divide a width of {width}; choose a divisor")
        super().__init__()
        self.blocks = nn.ModuleList(Block(length, width, heads) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)

    def forward(self, x_BLD: Tensor, dropout: ByteDropout | None = None) -> Tensor:
        """Return what each position knows of the sequence up to itself, [B, L, D]."""
        drop = dropout or keep
        x_BLD = drop(x_BLD)
        for block in self.blocks:
            x_BLD = block(x_BLD, dropout)
        return self.norm(x_BLD)
