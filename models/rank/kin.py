"""Kin: the items that the same people take, and how near a candidate is to what the person took of late. No ranking.

Neighbours are those of item-kNN (models/families/itemknn.py), without the item itself: the person's own past with it has
signals of its own.
Shapes: P people, I items, N candidates, H lines of the histories, W weightings of them, Q weighted histories, A items that were
taken, B items that are proposed; sim_II is sparse, a row holds the item's neighbours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from models import artefact
from models.data import TrainingSet
from models.families import itemknn
from models.families.itemknn import ItemKnn, ItemKnnConfig
from models.family import Model
from models.rank.past import Past
from models.rank.pool import Pool

HALF_LIVES_DAYS = (7, 30, 120)
PEOPLE_PER_PART = 256


@dataclass(frozen=True, kw_only=True)
class Kin:
    """Similarities between items that were known."""

    sim_II: csr_matrix

    def columns(self, pool: Pool, past: Past) -> dict[str, np.ndarray]:
        """Return how near each candidate is to the person's history by half-life, and to the latest basket, float32 [N]."""
        names = (*(f"kin.near_{days}d" for days in HALF_LIVES_DAYS), "kin.near_last_basket")
        weight_WH = np.stack([*(past.decay(days) for days in HALF_LIVES_DAYS), past.back_H == 0])
        near_WN = np.zeros((len(names), len(pool)), np.float32)
        for start in range(0, past.people, PEOPLE_PER_PART):
            self._near(pool, past, weight_WH.astype(np.float32), start, near_WN)
        return dict(zip(names, near_WN, strict=True))

    def _near(self, pool: Pool, past: Past, weight_WH: np.ndarray, start: int, near_WN: np.ndarray) -> None:
        """Fill in the columns of the people from `start` on. Only what they took and what is proposed to them is multiplied."""
        stop = min(start + PEOPLE_PER_PART, past.people)
        known, people = self.sim_II.shape[0], stop - start
        line_H = np.arange(*np.searchsorted(past.row_H, [start, stop]))
        line_H = line_H[past.item_H[line_H] < known]
        row_N = np.arange(*np.searchsorted(pool.row_N, [start, stop]))
        row_N = row_N[pool.item_N[row_N] < known]
        taken_A, at_H = np.unique(past.item_H[line_H], return_inverse=True)
        proposed_B, at_N = np.unique(pool.item_N[row_N], return_inverse=True)
        asked_H = past.row_H[line_H] - start
        ways = len(weight_WH)
        row_WH = np.arange(ways)[:, None] * people + asked_H
        history_QA = csr_matrix(
            (weight_WH[:, line_H].ravel(), (row_WH.ravel(), np.tile(at_H, ways))),
            shape=(ways * people, len(taken_A)),
        )
        near_WPB = (history_QA @ self.sim_II[taken_A][:, proposed_B]).toarray().reshape(ways, people, -1)
        near_WN[:, row_N] = near_WPB[:, pool.row_N[row_N] - start, at_N]

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
