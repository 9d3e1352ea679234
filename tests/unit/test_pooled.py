"""Weighed sums of rows: sums worked out by hand, and gradients against torch's own."""

import numpy as np
import torch
from torch.nn import functional as F

from models.nn.pooled import pooled


def test_rows_are_summed_by_weight_and_who_sums_none_gets_zeros() -> None:
    row_SD = torch.tensor([[1.0, 0], [0, 10], [100, 0]])
    summed = pooled(row_SD, torch.tensor([1.0, 0.5, 2]), np.array([0, 1, 2]), np.array([2, 0, 1]))
    assert summed.tolist() == [[1, 5], [0, 0], [200, 0]]


def test_gradients_are_those_of_torch() -> None:
    random = np.random.default_rng(0)
    count_T = random.integers(0, 40, 3000)
    index_M = random.integers(0, 50, count_T.sum())
    start = torch.from_numpy(np.cumsum(count_T) - count_T)
    told = torch.from_numpy(random.standard_normal((3000, 4)).astype(np.float32))
    found = []
    for ours in (True, False):
        row_SD = torch.from_numpy(np.random.default_rng(1).standard_normal((50, 4)).astype(np.float32))
        weight_M = torch.from_numpy(np.random.default_rng(2).random(len(index_M)).astype(np.float32))
        leaves = row_SD.requires_grad_(), weight_M.requires_grad_()
        if ours:
            summed = pooled(*leaves, index_M, count_T)
        else:
            index = torch.from_numpy(index_M)
            summed = F.embedding_bag(index, leaves[0], start, mode="sum", per_sample_weights=leaves[1])
        summed.backward(told)
        found.append([leaf.grad.numpy() for leaf in leaves if leaf.grad is not None])
    assert len(found[0]) == 2
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-3)
