"""Truncated singular value decomposition: against the whole one, and the same whatever the machine has and draws."""

import numpy as np
import pytest
import torch
from scipy import sparse

from models.nn.factors import truncated_svd
from models.nn.threads import one_thread


def planted(rows: int, columns: int, rank: int) -> sparse.csr_matrix:
    random = np.random.default_rng(0)
    left, right = random.standard_normal((rows, rank)), random.standard_normal((rank, columns))
    held = (left * 3.0 ** -np.arange(rank)) @ right
    held[np.abs(held) < 0.3] = 0
    return sparse.csr_matrix(held.astype(np.float32))


@pytest.mark.parametrize(("rows", "columns"), [(60, 40), (40, 60), (50, 50)])
def test_the_leading_ones_are_those_of_the_whole_decomposition(rows: int, columns: int) -> None:
    matrix = planted(rows, columns, 8)
    left, values, right = truncated_svd(matrix, 3, passes=3, seed=0)
    whole_left, whole_values, whole_right = np.linalg.svd(matrix.toarray().astype(np.float64))
    assert (left.shape, values.shape, right.shape) == ((rows, 3), (3,), (columns, 3))
    assert {part.dtype for part in (left, values, right)} == {np.dtype(np.float32)}
    np.testing.assert_allclose(values, whole_values[:3], rtol=1e-4)
    product = whole_left[:, :3] * whole_values[:3] @ whole_right[:3]
    np.testing.assert_allclose(left * values @ right.T, product, atol=5e-3 * values[0])


def test_no_more_than_the_shorter_side_has() -> None:
    left, values, right = truncated_svd(planted(6, 9, 4), 20, passes=2, seed=0)
    assert (left.shape, values.shape, right.shape) == ((6, 6), (6,), (9, 6))


def test_columns_in_any_order_are_read_alike() -> None:
    matrix = planted(30, 20, 5)
    turned = matrix.copy()
    for start, stop in zip(matrix.indptr, matrix.indptr[1:], strict=False):
        turned.indices[start:stop] = matrix.indices[start:stop][::-1]
        turned.data[start:stop] = matrix.data[start:stop][::-1]
    turned.has_sorted_indices = False
    np.testing.assert_array_equal(
        truncated_svd(turned, 4, passes=2, seed=0)[0], truncated_svd(matrix, 4, passes=2, seed=0)[0]
    )


def test_a_seed_gives_one_answer_whoever_draws_beside_it_and_on_any_number_of_threads() -> None:
    matrix = planted(300, 200, 12)
    torch.manual_seed(7)
    drawn = torch.rand(3)
    torch.manual_seed(7)
    first = truncated_svd(matrix, 5, passes=2, seed=1)[0]
    assert torch.equal(torch.rand(3), drawn)  # nobody else's draws are moved
    with one_thread():
        np.testing.assert_array_equal(first, truncated_svd(matrix, 5, passes=2, seed=1)[0])
    assert not np.array_equal(first, truncated_svd(matrix, 5, passes=2, seed=2)[0])
