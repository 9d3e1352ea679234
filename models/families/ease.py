"""EASE-R: each item foretold from all others by ridge regression, in closed form; an item never foretells itself.

With P = (X'X + lambda)^-1 the weights are B = -P / diag(P), zero on the diagonal (equation 8). Memory grows with the square of
the items and time with the cube, so more items than the config allows are refused. Of each item the strongest weights are kept.
Shapes: P people, I items of the catalogue, J items that are learned; weight_JJ[i, j] is what taking i says of j.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_matrix

from counterfoil.errors import ConfigError
from models import artefact, recency
from models.blas import one_thread
from models.config import Checked, Span, bounds, build
from models.data import Query, Ranking, TrainingSet
from models.explain import Explanation
from models.families import dense
from models.families.prior import Prior
from models.family import Family
from models.recency import Recency

BLOCK = 512  # rows that are worked on at once where a copy is needed


@dataclass(frozen=True, kw_only=True)
class EaseConfig(Checked):
    """The ridge, which items are learned, how many weights of each are kept, and how a history is weighed.

    Lambda is `ridge` times the mean number of items that a person took: the longer histories are, the larger the gram matrix
    is beside its diagonal (the best lambda on validation was 50 at 7 items per person, 800 at 100). Items with fewer than
    `least_takers` takers are answered by the prior alone; more than `most_items` others are refused (20,000 take 1.6 GB).
    `kept` counts weights per item taken. `half_life_days` and `own_weight` are chosen on validation where they are not
    given (models/recency.py).
    """

    family: ClassVar[str] = "ease"
    ridge: float = bounds(7.0, 1e-3, 1e6, search=Span(1.0, 50.0, log=True))
    least_takers: int = bounds(1, 1, 1_000_000)
    most_items: int = bounds(20_000, 1, 100_000)
    kept: int = bounds(200, 1, 100_000)
    half_life_days: float | None = bounds(None, 0.01, 1e9)
    own_weight: float | None = bounds(None, 0.0, 1e6)
    prior_weight: float = bounds(0.001, 1e-6, 1.0)
    feature: str = "buyers_28d"


class Ease:
    """The strongest weights between items, float32 sparse [I, I], and the prior."""

    def __init__(self, config: EaseConfig, weight_II: csr_matrix, buyers_I: np.ndarray) -> None:
        self.config = config
        self.weight_II = weight_II
        self.buyers_I = buyers_I
        self.prior = Prior(buyers_I, feature=config.feature, weight=config.prior_weight)
        self.recency = Recency.of(config)

    def recommend(self, query: Query, k: int) -> Ranking:
        """Return the `k` items that the history foretells best; InputError for a question that does not fit."""
        return recency.rank(
            query,
            k,
            EaseConfig.family,
            self.recency,
            self.prior,
            lambda taken_PI: (taken_PI @ self.weight_II).toarray(),
        )

    def explain(self, query: Query, item_N: np.ndarray, k: int) -> tuple[Explanation, ...]:
        """Return what each item of the history added to the scores: its weight times how much of it was taken, as scaled."""
        return recency.explain(
            query,
            item_N,
            self.recency,
            self.prior,
            "how strongly the person's items foretell it, what was taken itself, and a little for what sells",
            lambda taken_PI: (taken_PI @ self.weight_II).toarray(),
            lambda taken_PI, item: taken_PI.T.multiply(self.weight_II[:, [item]]).toarray()[:, 0],
        )

    def save(self, folder: Path) -> None:
        """Write `config.json`, `buyers.npy` and the weights as CSR parts."""
        artefact.write_json(folder / "config.json", self.config)
        artefact.write_array(folder / "buyers.npy", self.buyers_I)
        artefact.write_csr(folder, "weights", self.weight_II)


def fit(config: EaseConfig, training: TrainingSet, seed: int) -> Ease:
    """Solve for the weights; nothing is random. ConfigError for more items than may be learned."""
    taken_PI = training.interactions.last(training.history_cap).matrix()
    taken_PI.data[:] = 1
    takers_I = np.bincount(taken_PI.indices, minlength=taken_PI.shape[1])
    item_J = np.flatnonzero(takers_I >= config.least_takers)
    if len(item_J) > config.most_items:
        raise ConfigError(
            f"ease would learn {len(item_J):,} items and may learn {config.most_items:,} (4 bytes for each pair of them);"
            " raise least_takers to leave rare items out, raise most_items where there is memory, or take itemknn or als"
        )
    config = recency.settled(config, training)
    mean_length = taken_PI.nnz / max(1, int((np.diff(taken_PI.indptr) > 0).sum()))
    weight_JJ = strongest(weights(taken_PI[:, item_J], config.ridge * mean_length), config.kept)
    row_J = np.repeat(item_J, np.diff(weight_JJ.indptr))
    items = len(takers_I)
    weight_II = csr_matrix((weight_JJ.data, (row_J, item_J[weight_JJ.indices])), shape=(items, items))
    return Ease(config, weight_II, dense.buyers(training.interactions))


def weights(taken_PJ: csr_matrix, penalty: float) -> np.ndarray:
    """Return B of the paper's equation 8, lambda being `penalty`, float32 [J, J], all within the one square matrix."""
    from scipy.linalg.lapack import spotrf, spotri

    items = taken_PJ.shape[1]
    if not items:
        return np.zeros((0, 0), np.float32)
    gram_JJ = np.zeros((items, items), np.float32, order="F")
    taken_JP = taken_PJ.T.tocsr()
    for start in range(0, items, BLOCK):
        # by columns, as Fortran lays them; the whole sparse product would take more room than the matrix
        gram_JJ[:, start : start + BLOCK] = (taken_JP[start : start + BLOCK] @ taken_PJ).toarray().T
    np.einsum("jj->j", gram_JJ)[:] += np.float32(penalty)
    # one thread, so that the sums are the same on any machine; a fresh handle sees the BLAS that scipy has just loaded
    with one_thread(fresh=True):
        factor_JJ, fault = spotrf(gram_JJ, lower=1, clean=0, overwrite_a=1)
        if not fault:
            inverse_JJ, fault = spotri(factor_JJ, lower=1, overwrite_c=1)
    if fault:
        raise ConfigError(
            f"a lambda of {penalty:g} is too small to invert {items:,} items in single precision; raise the ridge"
        )
    scale_J = -1.0 / inverse_JJ.diagonal()
    for start in range(0, items, BLOCK):
        stop = min(start + BLOCK, items)
        corner = inverse_JJ[start:stop, start:stop]
        corner[:] = np.tril(corner) + np.tril(corner, -1).T
        inverse_JJ[start:stop, stop:] = inverse_JJ[stop:, start:stop].T
    inverse_JJ *= scale_J
    np.fill_diagonal(inverse_JJ, 0.0)
    return inverse_JJ


def strongest(weight_JJ: np.ndarray, kept: int) -> csr_matrix:
    """Return the `kept` weights of each row that are largest in absolute value, as they are, zeros left out."""
    items = len(weight_JJ)
    data, column, count_J = [], [], []
    for start in range(0, items, BLOCK):
        row_BJ = np.ascontiguousarray(weight_JJ[start : start + BLOCK])
        most_BK = np.argpartition(-np.abs(row_BJ), kept - 1, axis=1)[:, :kept] if kept < items else None
        column_BK = (
            np.tile(np.arange(items), (len(row_BJ), 1)) if most_BK is None else np.sort(most_BK, axis=1)
        )
        data_BK = np.take_along_axis(row_BJ, column_BK, axis=1)
        data.append(data_BK[data_BK != 0])
        column.append(column_BK[data_BK != 0].astype(np.int32))
        count_J.append((data_BK != 0).sum(axis=1))
    indptr = np.concatenate([[0], *count_J]).cumsum()
    flat = (
        np.concatenate([np.zeros(0, np.float32), *data]),
        np.concatenate([np.zeros(0, np.int32), *column]),
        indptr,
    )
    return csr_matrix(flat, shape=(items, items))


def load(folder: Path) -> Ease:
    """Read what `save` wrote; IntegrityError when it is not that."""
    config = build(EaseConfig, artefact.read_json(folder / "config.json"), "ease")
    return Ease(
        config, artefact.read_csr(folder, "weights"), artefact.read_array(folder / "buyers.npy", np.float32)
    )


FAMILY = Family(
    config=EaseConfig,
    fit=fit,
    load=load,
    paper="Steck: Embarrassingly shallow autoencoders for sparse data, WWW 2019",
)
