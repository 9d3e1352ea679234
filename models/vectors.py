"""Items as vectors of length one, and how near each lies to what somebody took. Making vectors is the families' business.

A person is the weighted mean of the vectors of their history (Rocchio's profile); nearness is the cosine. An item without a
vector (a row of zeros) lies as far as the farthest. Vectors are dense or sparse; both kinds go through the same code.
Shapes: P people, I items of the catalogue, C items that came after the fit, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import overload

import numpy as np
from scipy.sparse import csr_matrix, issparse, vstack
from threadpoolctl import ThreadpoolController

Matrix = np.ndarray | csr_matrix


@dataclass(frozen=True)
class Space:
    """Vectors of the whole catalogue, [I, D], float32: rows of length one, or zeros where nothing is known."""

    vector_ID: Matrix

    def __len__(self) -> int:
        return int(self.vector_ID.shape[0])

    @cached_property
    def known_I(self) -> np.ndarray:
        """Say which items have a vector, bool [I]."""
        return lengths(self.vector_ID) > 0

    @cached_property
    def _column_DI(self) -> Matrix:
        # a transposed CSR is no CSR, and scipy would convert it at every product
        return self.vector_ID.T.tocsr() if issparse(self.vector_ID) else self.vector_ID.T

    def near(self, weight_PI: csr_matrix) -> np.ndarray:
        """Return the cosine between people and items, float32 [P, I]; zeros for people of whose history nothing is known."""
        person_PD = unit(weight_PI @ self.vector_ID)
        if isinstance(person_PD, csr_matrix):
            near_PI = csr_matrix(person_PD @ self._column_DI).toarray()
        else:
            with _blas().limit(limits=1, user_api="blas"):
                near_PI = person_PD @ self._column_DI
        near_PI = np.ascontiguousarray(near_PI, np.float32)
        if not self.known_I.all() and self.known_I.any():
            near_PI[:, ~self.known_I] = near_PI[:, self.known_I].min(axis=1, keepdims=True)
        return near_PI


@overload
def unit(x_ND: np.ndarray) -> np.ndarray: ...
@overload
def unit(x_ND: csr_matrix) -> csr_matrix: ...
def unit(x_ND: Matrix) -> Matrix:
    """Scale every row to length one, float32; zeros stay zeros."""
    scale_N = 1.0 / np.maximum(lengths(x_ND), 1e-12)
    if issparse(x_ND):
        out = csr_matrix(x_ND, dtype=np.float32, copy=True)
        out.data *= np.repeat(scale_N, np.diff(out.indptr)).astype(np.float32)
        return out
    return (x_ND * scale_N[:, None]).astype(np.float32)


def lengths(x_ND: Matrix) -> np.ndarray:
    """Return the length of every row, float64 [N]."""
    if issparse(x_ND):
        return np.sqrt(np.asarray(x_ND.multiply(x_ND).sum(axis=1), np.float64).ravel())
    return np.linalg.norm(np.asarray(x_ND, np.float64), axis=1)


def stacked(parts: Sequence[Matrix]) -> Matrix:
    """Put vectors below each other; all parts are dense or all sparse."""
    if issparse(parts[0]):
        return csr_matrix(vstack([csr_matrix(part) for part in parts]), dtype=np.float32)
    return np.concatenate([np.asarray(part, np.float32) for part in parts])


def nothing(count: int, like: Matrix) -> Matrix:
    """Return vectors of items of which nothing is known: rows of zeros, as wide and of the kind of `like`."""
    shape = (count, like.shape[1])
    if not issparse(like):
        return np.zeros(shape, np.float32)
    none = (np.zeros(0, np.float32), np.zeros(0, np.int32), np.zeros(count + 1, np.int64))
    return csr_matrix(none, shape=shape)


@cache
def _blas() -> ThreadpoolController:
    """Return the handle on numpy's BLAS: one thread gives the same bits on any machine."""
    return ThreadpoolController()
