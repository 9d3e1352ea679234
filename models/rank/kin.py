"""Kin: the items that the same people take, and how near a candidate is to what the person took of late. No ranking.

Neighbours are those of item-kNN (models/families/itemknn.py), without the item itself: the person's own past with it has
signals of its own.
Shapes: P people, I items, N candidates, H lines of the histories; sim_II is sparse, a row holds the item's neighbours.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from models import artefact
from models.data import Interactions
from models.families.itemknn import ItemKnnConfig, neighbours
from models.families.repurchase import decay
from models.rank.past import Past
from models.rank.pool import Pool

HALF_LIVES_DAYS = (7, 30, 120)
PART_BYTES = 32 * 2**20
SETTINGS = ItemKnnConfig(neighbours=50, shrink=20.0)


@dataclass(frozen=True, kw_only=True)
class Kin:
    """Similarities between items that were known."""

    sim_II: csr_matrix

    def columns(self, pool: Pool, past: Past) -> dict[str, np.ndarray]:
        """Return how near each candidate is to the person's history by half-life, and to the latest basket, float32 [N]."""
        known = self.sim_II.shape[0]
        weights = {f"kin.near_{days}d": past.decay(days) for days in HALF_LIVES_DAYS}
        weights["kin.near_last_basket"] = (past.back_H == 0).astype(float)
        line_H = past.item_H < known
        out = {name: np.zeros(len(pool), np.float32) for name in weights}
        size = max(1, PART_BYTES // (4 * max(1, known)))
        for name, weight_H in weights.items():
            history_PI = csr_matrix(
                (weight_H[line_H].astype(np.float32), (past.row_H[line_H], past.item_H[line_H])),
                shape=(past.people, known),
            )
            for start in range(0, past.people, size):
                near_PI = (history_PI[start : start + size] @ self.sim_II).toarray()
                stop = start + len(near_PI)
                first, last = np.searchsorted(pool.row_N, [start, stop])
                item_M = pool.item_N[first:last]
                old_M = item_M < known
                out[name][first:last][old_M] = near_PI[pool.row_N[first:last][old_M] - start, item_M[old_M]]
        return out

    def save(self, folder: Path) -> None:
        """Write the neighbours as CSR parts."""
        artefact.write_csr(folder, "kin", self.sim_II)


def load(folder: Path) -> Kin:
    """Read what `save` wrote; IntegrityError when it is not that."""
    return Kin(sim_II=artefact.read_csr(folder, "kin"))


def learn(interactions: Interactions, now_us: int, threads: int) -> Kin:
    """Find the neighbours as of `now_us`."""
    past = interactions.between(None, now_us)
    taken_PI = past.matrix(decay(past, now_us, SETTINGS.fit_half_life_days))
    return Kin(sim_II=neighbours(SETTINGS, taken_PI, threads))
