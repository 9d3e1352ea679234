"""ALS: low-rank factors of who takes what. Item factors come from the `implicit` library; a person's are solved when asked.

Folding in at question time means that people unseen at fit, and fresh histories, are answered like any other.
Shapes: P people, I items, N interactions, F factors.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_matrix
from threadpoolctl import ThreadpoolController

from models import artefact
from models.config import Checked, Span, bounds, build
from models.data import Interactions, Query, Ranking, TrainingSet
from models.explain import Explanation, by_history
from models.families import dense
from models.families.repurchase import decay
from models.family import Family


@dataclass(frozen=True, kw_only=True)
class AlsConfig(Checked):
    """Size and regularisation of the factors, and how strongly (alpha) a decayed purchase is believed."""

    family: ClassVar[str] = "als"
    factors: int = bounds(64, 1, 2048, search=Span(16, 256, log=True))
    iterations: int = bounds(10, 1, 1000)
    regularization: float = bounds(10.0, 1e-6, 1e6, search=Span(0.01, 1000, log=True))
    alpha: float = bounds(1.0, 1e-6, 1e6, search=Span(0.1, 100, log=True))
    half_life_days: float = bounds(45.0, 0.01, 1e9, search=Span(1, 1000, log=True))
    prior_weight: float = bounds(0.001, 1e-6, 1.0)
    feature: str = "buyers_28d"


class Als:
    """Item factors, float32 [I, F], and the prior."""

    def __init__(self, config: AlsConfig, factor_IF: np.ndarray, buyers_I: np.ndarray) -> None:
        self.config = config
        self.factor_IF = factor_IF
        self.buyers_I = buyers_I
        wide_IF = factor_IF.astype(np.float64)
        self.gram_FF = wide_IF.T @ wide_IF

    def recommend(self, query: Query, k: int) -> Ranking:
        """Return the `k` best by predicted preference; InputError for a question that does not fit."""
        dense.check(query, k, len(self.buyers_I))
        prior_I = dense.prior(query, self.config.feature, self.buyers_I, self.config.prior_weight)
        learned = len(self.buyers_I)

        def score(part: Query) -> np.ndarray:
            taken_PI = confidence(self.config, part.history, part.as_of_us)[:, :learned]
            score_PI = np.zeros((part.people, part.items), np.float32)
            with _blas().limit(limits=1, user_api="blas"):
                score_PI[:, :learned] = self.fold_in(taken_PI) @ self.factor_IF.T
            score_PI += prior_I
            return score_PI

        return dense.rank(query, k, AlsConfig.family, score)

    def fold_in(self, taken_PI: csr_matrix) -> np.ndarray:
        """Solve the factors of people, float32 [P, F]: (Y'Y + Y'(C - 1)Y + reg) x = Y'C p (Hu et al., equation 4)."""
        out_PF = np.zeros((taken_PI.shape[0], self.factor_IF.shape[1]), np.float32)
        for row in np.flatnonzero(np.diff(taken_PI.indptr)):
            span = slice(taken_PI.indptr[row], taken_PI.indptr[row + 1])
            y_NF = self.factor_IF[taken_PI.indices[span]].astype(np.float64)
            c_N = taken_PI.data[span].astype(np.float64)
            out_PF[row] = np.linalg.solve(self._left(y_NF, c_N), y_NF.T @ c_N)
        return out_PF

    def _left(self, y_NF: np.ndarray, c_N: np.ndarray) -> np.ndarray:
        """Return the left side of what a person's factors solve, float64 [F, F]."""
        ridge_FF = self.gram_FF + self.config.regularization * np.eye(self.factor_IF.shape[1])
        left_FF: np.ndarray = ridge_FF + (y_NF.T * (c_N - 1.0)) @ y_NF
        return left_FF

    def explain(self, query: Query, item_N: np.ndarray, k: int) -> tuple[Explanation, ...]:
        """Return what each item of the history added to the scores, given all others (Hu et al., equations 6 and 7)."""
        learned, taken_PI = len(self.buyers_I), confidence(self.config, query.history, query.as_of_us)
        taken_PI = taken_PI[:, : len(self.buyers_I)]
        prior_I = dense.prior(query, self.config.feature, self.buyers_I, self.config.prior_weight)
        y_NF, c_N = self.factor_IF[taken_PI.indices].astype(np.float64), taken_PI.data.astype(np.float64)
        left_FF = self._left(y_NF, c_N)
        weight = dict(zip(taken_PI.indices.tolist(), taken_PI.data.tolist(), strict=True))
        out = []
        for item in item_N.tolist():
            near_N = np.zeros(len(c_N))
            if item < learned and len(c_N):
                near_N = y_NF @ np.linalg.solve(left_FF, self.factor_IF[item].astype(np.float64)) * c_N
            added = dict(zip(weight, near_N.tolist(), strict=True))
            said = (
                "how near it is to what the person took, as that person sees it, and a little for what sells"
            )
            out.append(by_history(item, said, added, weight, float(prior_I[item])))
        return tuple(out)

    def save(self, folder: Path) -> None:
        """Write `config.json`, `factor.npy` and `buyers.npy`."""
        artefact.write_json(folder / "config.json", self.config)
        artefact.write_array(folder / "factor.npy", self.factor_IF)
        artefact.write_array(folder / "buyers.npy", self.buyers_I)


def confidence(config: AlsConfig, history: Interactions, as_of_us: int) -> csr_matrix:
    """Return 1 + alpha ln(1 + decayed count) for every pair with a history, float32 sparse [P, I] (Hu et al., equation 6)."""
    taken_PI = history.matrix(decay(history, as_of_us, config.half_life_days))
    taken_PI.data = (1.0 + config.alpha * np.log1p(taken_PI.data)).astype(np.float32)
    return taken_PI


def fit(config: AlsConfig, training: TrainingSet, seed: int) -> Als:
    """Alternate least squares from factors drawn by `seed`; the threads solve rows apart, so their number changes nothing."""
    from implicit.cpu.als import AlternatingLeastSquares

    taken_PI = confidence(config, training.interactions, training.until_us)
    # implicit threads over rows; BLAS threads below them fight. A fresh handle sees the BLAS that implicit has just loaded.
    with ThreadpoolController().limit(limits=1, user_api="blas"):
        learner = AlternatingLeastSquares(
            factors=config.factors,
            iterations=config.iterations,
            regularization=config.regularization,
            alpha=1.0,
            dtype=np.float32,
            num_threads=training.threads,
            random_state=seed,
        )
        learner.fit(taken_PI, show_progress=False)
    return Als(config, learner.item_factors, dense.buyers(training.interactions))


@cache
def _blas() -> ThreadpoolController:
    """Return the handle on numpy's BLAS: one thread gives the same bits on any machine, and small solves are quicker."""
    return ThreadpoolController()


def load(folder: Path) -> Als:
    """Read what `save` wrote; IntegrityError when it is not that."""
    config = build(AlsConfig, artefact.read_json(folder / "config.json"), "als")
    factor_IF = artefact.read_array(folder / "factor.npy", np.float32, ndim=2)
    return Als(config, factor_IF, artefact.read_array(folder / "buyers.npy", np.float32))


FAMILY = Family(
    config=AlsConfig,
    fit=fit,
    load=load,
    paper="Hu, Koren, Volinsky: Collaborative filtering for implicit feedback datasets, ICDM 2008",
    seeded=True,
)
