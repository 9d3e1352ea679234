"""BPR: factors by which what somebody took ranks above what they did not. Item factors come from the `implicit` library.

Whoever asks is folded in: their factors are a linear map of the weighed mean of the factors of what they took, the map being the
ridge regression that gives the fitted people their learned factors back. So nobody's factors are kept, people unseen at
fit are answered like any other, recency counts, and an answer takes no sampling and no descent.
Shapes: P people, I items, F factors; an item's bias is its last factor, where each person has a one.
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
from models.families import dense
from models.families.prior import Prior
from models.family import Family
from models.recency import Recency

FOLD_RIDGE = 1e-3  # per person, on the map from histories to factors; its only task is that there is one


@dataclass(frozen=True, kw_only=True)
class BprConfig(Checked):
    """Size, pace and length of learning, and how a history is weighed.

    There are `iterations` passes over the events, fewer where they would be more than `updates` in all, and one at least.
    `half_life_days` and `own_weight` are chosen on validation where they are not given (models/recency.py).
    """

    family: ClassVar[str] = "bpr"
    factors: int = bounds(64, 1, 2048, search=Span(16, 256, log=True))
    rate: float = bounds(0.05, 1e-6, 10.0, search=Span(0.01, 0.2, log=True))
    regularization: float = bounds(0.01, 0.0, 10.0, search=Span(1e-3, 0.1, log=True))
    iterations: int = bounds(100, 1, 100_000, work=True)
    updates: int = bounds(200_000_000, 1, 1_000_000_000_000)
    half_life_days: float | None = bounds(None, 0.01, 1e9)
    own_weight: float | None = bounds(None, 0.0, 1e6)
    prior_weight: float = bounds(0.001, 1e-6, 1.0)
    feature: str = "buyers_28d"

    def passes(self, events: int) -> int:
        """Return how often to go over so many events."""
        return min(self.iterations, max(1, self.updates // max(1, events)))


class Bpr:
    """Item factors, float32 [I, F+1], the fold-in map [F, F], and the prior."""

    def __init__(
        self, config: BprConfig, factor_IF: np.ndarray, map_FF: np.ndarray, buyers_I: np.ndarray
    ) -> None:
        self.config = config
        self.factor_IF = factor_IF
        self.map_FF = map_FF
        self.buyers_I = buyers_I
        self.prior = Prior(buyers_I, feature=config.feature, weight=config.prior_weight)
        self.recency = Recency.of(config)

    def recommend(self, query: Query, k: int) -> Ranking:
        """Return the `k` items that rank highest for the folded-in person; InputError for a question that does not fit.

        Who took nothing that was learned gets the prior alone.
        """
        return recency.rank(query, k, BprConfig.family, self.recency, self.prior, self._score)

    def save(self, folder: Path) -> None:
        """Write `config.json`, `factor.npy`, `map.npy` and `buyers.npy`."""
        artefact.write_json(folder / "config.json", self.config)
        artefact.write_array(folder / "factor.npy", self.factor_IF)
        artefact.write_array(folder / "map.npy", self.map_FF)
        artefact.write_array(folder / "buyers.npy", self.buyers_I)

    def _score(self, taken_PI: csr_matrix) -> np.ndarray:
        known_P = np.diff(taken_PI.indptr) > 0
        with one_thread():
            person_PF = mean_factors(taken_PI, self.factor_IF[:, :-1]) @ self.map_FF
            score_PI = person_PF @ self.factor_IF[:, :-1].T + self.factor_IF[:, -1]
        score_PI[~known_P] = 0
        return score_PI


def fit(config: BprConfig, training: TrainingSet, seed: int) -> Bpr:
    """Learn item factors by descent on pairs drawn by `seed`, on one thread, since threads would race for the factors."""
    from implicit.cpu.bpr import BayesianPersonalizedRanking

    config = recency.settled(config, training)
    taken_PI = training.interactions.matrix()
    learner = BayesianPersonalizedRanking(
        factors=config.factors,
        learning_rate=config.rate,
        regularization=config.regularization,
        iterations=config.passes(taken_PI.nnz),
        num_threads=1,
        random_state=seed,
    )
    learner.fit(taken_PI, show_progress=False)
    factor_IF = np.ascontiguousarray(learner.item_factors, np.float32)
    known = training.interactions
    mean_PF = mean_factors(Recency.of(config).weights(known, training.until_us), factor_IF[:, :-1])
    map_FF = fold_map(mean_PF, learner.user_factors[:, :-1], np.diff(taken_PI.indptr) > 0)
    return Bpr(config, factor_IF, map_FF, dense.buyers(known))


def mean_factors(taken_PI: csr_matrix, factor_IF: np.ndarray) -> np.ndarray:
    """Return the weighed mean of the factors of what each took, float32 [P, F]; zeros for who took nothing."""
    total_P = np.asarray(taken_PI.sum(axis=1)).ravel()
    return (taken_PI @ factor_IF) / np.where(total_P > 0, total_P, 1)[:, None].astype(np.float32)


def fold_map(mean_PF: np.ndarray, person_PF: np.ndarray, known_P: np.ndarray) -> np.ndarray:
    """Return M, float32 [F, F], for which mean M comes nearest to the learned factors of those who took anything."""
    x_PF, y_PF = mean_PF[known_P].astype(np.float64), person_PF[known_P].astype(np.float64)
    ridge = FOLD_RIDGE * max(1e-12, float((x_PF**2).sum()) / max(1, x_PF.shape[1]))
    with one_thread(fresh=True):
        return np.linalg.solve(x_PF.T @ x_PF + ridge * np.eye(x_PF.shape[1]), x_PF.T @ y_PF).astype(
            np.float32
        )


def load(folder: Path) -> Bpr:
    """Read what `save` wrote; IntegrityError when it is not that."""
    config = build(BprConfig, artefact.read_json(folder / "config.json"), "bpr")
    factor_IF = artefact.read_array(folder / "factor.npy", np.float32, ndim=2)
    map_FF = artefact.read_array(folder / "map.npy", np.float32, ndim=2)
    return Bpr(config, factor_IF, map_FF, artefact.read_array(folder / "buyers.npy", np.float32))


FAMILY = Family(
    config=BprConfig,
    fit=fit,
    load=load,
    paper="Rendle, Freudenthaler, Gantner, Schmidt-Thieme: BPR, Bayesian personalized ranking from implicit feedback, UAI 2009",
    seeded=True,
)
