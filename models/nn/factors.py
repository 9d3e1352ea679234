"""The leading singular vectors of a sparse matrix.

By torch, which is loaded here anyway: scikit-learn's would bring 125 MB more of imports into each fit.
"""

import warnings

import numpy as np
import torch
from scipy.sparse import csr_matrix

from models.nn.threads import one_thread

MORE = 10  # directions beyond those that are asked for, which make them exacter


def truncated_svd(
    matrix: csr_matrix, width: int, *, passes: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return left vectors [M, D], values [D] and right vectors [N, D] of a float32 matrix [M, N], all float32, largest first.

    D is `width`, at most the shorter side. From a subspace drawn by `seed` and taken `passes` times through the matrix and back
    (Halko, Martinsson, Tropp, SIAM Review 2011, algorithm 5.1); the same for any number of threads.
    """
    if not matrix.has_sorted_indices:
        matrix = matrix.sorted_indices()
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), one_thread():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        starts, columns, values = map(torch.from_numpy, (matrix.indptr, matrix.indices, matrix.data))
        held = torch.sparse_csr_tensor(starts, columns, values, matrix.shape, check_invariants=True)
        torch.manual_seed(seed)
        found = torch.svd_lowrank(held, min(width + MORE, *matrix.shape), niter=passes)
    left, length, right = (one.numpy() for one in found)
    return left[:, :width], length[:width], right[:, :width]
