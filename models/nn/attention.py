"""Attention to neighbours in a graph: who is heard by how much, by what both are and by what is known of the edge.

The logit of an edge is LeakyReLU(a . hearer + b . heard) (Velickovic et al., ICLR 2018, equation 3), and what is known of the
edge (its age, how many others the heard one speaks to) is added behind. At the start only the latter counts.
Shapes: T hearers, S those who can be heard, M edges, D width, H heads.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.nn.pooled import pooled

SLOPE = 0.2  # of the leaky part


class Attention(nn.Module):
    """One layer of attention: each head hears a part of the width, and a matrix mixes what they heard."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.hearer_DH = nn.Parameter(torch.zeros(width, heads))
        self.heard_DH = nn.Parameter(torch.zeros(width, heads))
        self.mix_DD = nn.Parameter(torch.eye(width))

    def forward(
        self, hearer_TD: Tensor, heard_SD: Tensor, heard_M: np.ndarray, count_T: np.ndarray, edge_MH: Tensor
    ) -> Tensor:
        """Return what each hears, [T, D]; zeros for who has no edge. Edges lie hearer by hearer, `count_T` of each."""
        weight_MH = self.weights(hearer_TD, heard_SD, heard_M, count_T, edge_MH)
        parts = [
            pooled(part_SD.contiguous(), weight_M.contiguous(), heard_M, count_T)
            for part_SD, weight_M in zip(
                heard_SD.chunk(self.heads, dim=1), weight_MH.unbind(dim=1), strict=True
            )
        ]
        return torch.cat(parts, dim=1) @ self.mix_DD

    def weights(
        self, hearer_TD: Tensor, heard_SD: Tensor, heard_M: np.ndarray, count_T: np.ndarray, edge_MH: Tensor
    ) -> Tensor:
        """Return by how much each edge is heard, [M, H], adding up to one for each hearer."""
        hearer_M = torch.from_numpy(np.repeat(np.arange(len(count_T)), count_T))
        asked_MH = (hearer_TD @ self.hearer_DH).index_select(0, hearer_M)
        told_MH = (heard_SD @ self.heard_DH).index_select(0, torch.from_numpy(heard_M))
        return softmax(F.leaky_relu(asked_MH + told_MH, SLOPE) + edge_MH, hearer_M, len(count_T))

    def initialise(self, random: torch.Generator) -> None:
        """Start both vectors of a head near zero, so that all edges are heard by what is known of them."""
        with torch.no_grad():
            self.hearer_DH.normal_(0.0, 0.01, generator=random)
            self.heard_DH.normal_(0.0, 0.01, generator=random)


def softmax(logit_MH: Tensor, hearer_M: Tensor, hearers: int) -> Tensor:
    """Return the softmax of the edges of each hearer, [M, H]."""
    index_MH = hearer_M[:, None].expand_as(logit_MH)
    most_TH = torch.full((hearers, logit_MH.shape[1]), -torch.inf)
    most_TH = most_TH.scatter_reduce(0, index_MH, logit_MH.detach(), "amax")
    share_MH = (logit_MH - most_TH.index_select(0, hearer_M)).exp()
    total_TH = torch.zeros(hearers, logit_MH.shape[1]).index_add(0, hearer_M, share_MH)
    return share_MH / total_TH.index_select(0, hearer_M)
