"""Kin: the items that the same people take, and how near a candidate is to what the person took of late. No ranking.

Neighbours are those of item-kNN (models/families/itemknn.py), without the item itself: the person's own past with it has
signals of its own.
Shapes: P people, I items, N candidates, H lines of the histories, W weightings of them, G distinct (row, item) of them, A items
that one person took, M neighbours of those; sim_II is sparse, a row holds the neighbours of an item.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from models import artefact
from models.data import TrainingSet
from models.families import itemknn, sparse
from models.families.itemknn import ItemKnn, ItemKnnConfig
from models.family import Model
from models.rank.past import Past
from models.rank.pool import Pool

HALF_LIVES_DAYS = (7, 30, 120)
NAMES = (*(f"kin.near_{days}d" for days in HALF_LIVES_DAYS), "kin.near_last_basket")


@dataclass(frozen=True, kw_only=True)
class Kin:
    """Similarities between items that were known."""

    sim_II: csr_matrix

    @cached_property
    def parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where rows begin, int64; the neighbours in them, int32; their similarities, float32."""
        sim_II = self.sim_II
        return (
            sim_II.indptr.astype(np.int64),
            sim_II.indices.astype(np.int32, copy=False),
            sim_II.data.astype(np.float32, copy=False),
        )

    def columns(self, pool: Pool, past: Past) -> dict[str, np.ndarray]:
        """Return how near each candidate is to the person's history by half-life, and to the latest basket, float32 [N]."""
        weight_WH = np.stack([*(past.decay(days) for days in HALF_LIVES_DAYS), past.back_H == 0])
        near_WN = np.zeros((len(NAMES), len(pool)), np.float32)
        place_I = np.full(self.sim_II.shape[1], -1, np.int32)  # of a person's candidates; cleared after each
        weight_WG = np.stack([np.bincount(past.pair_H, weight_H, len(past.pair_G)) for weight_H in weight_WH])
        item_G = past.pair_G % max(past.items, 1)
        pair_P = np.searchsorted(past.pair_G, np.arange(past.people + 1) * past.items)
        row_P = np.searchsorted(pool.row_N, np.arange(past.people + 1))
        for pairs, rows in zip(itertools.pairwise(pair_P), itertools.pairwise(row_P), strict=True):
            item_A, item_N = item_G[slice(*pairs)], pool.item_N[slice(*rows)]
            near_WN[:, slice(*rows)] = self._near(item_A, weight_WG[:, slice(*pairs)], item_N, place_I)
        return dict(zip(NAMES, near_WN, strict=True))

    def _near(
        self, item_A: np.ndarray, weight_WA: np.ndarray, item_N: np.ndarray, place_I: np.ndarray
    ) -> np.ndarray:
        """Return how near one person's candidates are to what it took by each weighting, float64 [W, N]."""
        known = np.searchsorted(item_A, len(place_I))
        column_M, value_M, count_A = sparse.entries(self.sim_II, item_A[:known])
        known_N = item_N < len(place_I)
        place_I[item_N[known_N]] = np.flatnonzero(known_N)
        place_M = place_I[column_M]
        place_I[item_N[known_N]] = -1
        met_M = np.flatnonzero(place_M >= 0)
        at_M, value_M, from_M = place_M[met_M], value_M[met_M], np.repeat(np.arange(known), count_A)[met_M]
        return np.stack(
            [np.bincount(at_M, value_M * weight_A[from_M], len(item_N)) for weight_A in weight_WA]
        )

    def save(self, folder: Path) -> None:
        """Write the neighbours as CSR parts."""
        artefact.write_csr(folder, "kin", self.sim_II)


def load(folder: Path) -> Kin:
    """Read what `save` wrote; IntegrityError when it is not that."""
    return Kin(sim_II=artefact.read_csr(folder, "kin"))


def of(retrievers: Mapping[str, Model]) -> Kin | None:
    """Return the neighbours of the item-kNN among the retrievers; None without one."""
    near = retrievers.get(ItemKnnConfig.family)
    return Kin(sim_II=near.sim_II) if isinstance(near, ItemKnn) else None


def learn(training: TrainingSet, retrievers: Mapping[str, Model]) -> Kin:
    """Take the neighbours that a retriever has; where none has, find them as of the training set's end."""
    return of(retrievers) or Kin(sim_II=itemknn.fit(ItemKnnConfig(), training, 0).sim_II)
