"""PureSVD: people and items as the leading singular vectors of who took what; absent pairs count as zeros.

A person needs no vector of their own: the score is history V V' (Cremonesi et al., section 3.2), so whoever was unseen at fit is
folded in by that alone. Columns are scaled by |column|^(scaling - 1) beforehand, so that what sells does not take up all
dimensions (Nikolakopoulos et al., "EigenRec", KAIS 2019). Shapes: P people, I items, F factors.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_matrix

from models import artefact, recency
from models.blas import one_thread
from models.config import Checked, Span, bounds, build
from models.data import Query, Ranking, TrainingSet
from models.explain import Explanation
from models.families import dense
from models.families.prior import Prior
from models.family import Family
from models.recency import Recency


@dataclass(frozen=True, kw_only=True)
class SvdConfig(Checked):
    """Number of factors, how columns are scaled (1: as in PureSVD), and how a history is weighed.

    `half_life_days` and `own_weight` are chosen on validation where they are not given (models/recency.py).
    """

    family: ClassVar[str] = "svd"
    factors: int = bounds(128, 1, 2048, search=Span(16, 512, log=True))
    scaling: float = bounds(0.6, 0.0, 1.0, search=Span(0.2, 1.0))
    power_iterations: int = bounds(4, 0, 100)
    half_life_days: float | None = bounds(None, 0.01, 1e9)
    own_weight: float | None = bounds(None, 0.0, 1e6)
    prior_weight: float = bounds(0.001, 1e-6, 1.0)
    feature: str = "buyers_28d"


class Svd:
    """Right singular vectors, float32 [I, F], and the prior."""

    def __init__(self, config: SvdConfig, vector_IF: np.ndarray, buyers_I: np.ndarray) -> None:
        self.config = config
        self.vector_IF = vector_IF
        self.buyers_I = buyers_I
        self.prior = Prior(buyers_I, feature=config.feature, weight=config.prior_weight)
        self.recency = Recency.of(config)

    def recommend(self, query: Query, k: int) -> Ranking:
        """Return the `k` items whose vectors the history's projection meets best; InputError for a question that does not fit."""
        return recency.rank(query, k, SvdConfig.family, self.recency, self.prior, self._score)

    def explain(self, query: Query, item_N: np.ndarray, k: int) -> tuple[Explanation, ...]:
        """Return what each item of the history added to the scores: how near the two vectors are, as scaled."""
        return recency.explain(
            query,
            item_N,
            self.recency,
            self.prior,
            "how near it is to the person's items, what was taken itself, and a little for what sells",
            self._score,
            self._added,
        )

    def _added(self, taken_PI: csr_matrix, item: int) -> np.ndarray:
        added_I = np.zeros(taken_PI.shape[1])
        near_A = self.vector_IF[taken_PI.indices].astype(np.float64) @ self.vector_IF[item]
        added_I[taken_PI.indices] = taken_PI.data * near_A
        return added_I

    def save(self, folder: Path) -> None:
        """Write `config.json`, `vector.npy` and `buyers.npy`."""
        artefact.write_json(folder / "config.json", self.config)
        artefact.write_array(folder / "vector.npy", self.vector_IF)
        artefact.write_array(folder / "buyers.npy", self.buyers_I)

    def _score(self, taken_PI: csr_matrix) -> np.ndarray:
        with one_thread():
            return (taken_PI @ self.vector_IF) @ self.vector_IF.T


def fit(config: SvdConfig, training: TrainingSet, seed: int) -> Svd:
    """Find the singular vectors from a subspace drawn by `seed` (Halko, Martinsson, Tropp, SIAM Review 2011)."""
    taken_PI = training.interactions.matrix()
    taken_PI.data[:] = 1
    config = recency.settled(config, training)
    return Svd(config, vectors(config, taken_PI, seed), dense.buyers(training.interactions))


def vectors(config: SvdConfig, taken_PI: csr_matrix, seed: int) -> np.ndarray:
    """Return the right singular vectors of the scaled matrix, float32 [I, F]; F is at most what the matrix has of either side."""
    from sklearn.utils.extmath import randomized_svd

    factors = min(config.factors, *taken_PI.shape)
    if not factors:
        return np.zeros((taken_PI.shape[1], 0), np.float32)
    scaled_PI = taken_PI.copy()
    takers_I = np.bincount(taken_PI.indices, minlength=taken_PI.shape[1])
    length_I = np.sqrt(np.maximum(takers_I, 1)).astype(np.float32)
    scaled_PI.data = length_I[taken_PI.indices] ** np.float32(config.scaling - 1)
    with one_thread(fresh=True):
        _, _, vector_FI = randomized_svd(
            scaled_PI, factors, n_iter=config.power_iterations, random_state=seed
        )
    return np.ascontiguousarray(vector_FI.T, np.float32)


def load(folder: Path) -> Svd:
    """Read what `save` wrote; IntegrityError when it is not that."""
    config = build(SvdConfig, artefact.read_json(folder / "config.json"), "svd")
    vector_IF = artefact.read_array(folder / "vector.npy", np.float32, ndim=2)
    return Svd(config, vector_IF, artefact.read_array(folder / "buyers.npy", np.float32))


FAMILY = Family(
    config=SvdConfig,
    fit=fit,
    load=load,
    paper="Cremonesi, Koren, Turrin: Performance of recommender algorithms on top-N recommendation tasks, RecSys 2010",
    seeded=True,
)
