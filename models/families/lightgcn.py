"""LightGCN: vectors of items that are averaged along the person-item graph; whoever asks is one more person of it.

People have no vectors of their own: a person's is what their items send along their edges, so those who were unseen at fit are
answered like any other, and with what they took a minute ago. How it learns is in models/nn/edges.py, which brings torch; an
answer needs none. Shapes: P people, J items at the fit, D width.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_matrix

from counterfoil.errors import IntegrityError
from models import artefact, recency
from models.blas import one_thread
from models.config import Checked, Span, bounds, build
from models.data import Query, Ranking, TrainingSet
from models.families import dense
from models.families.prior import Prior
from models.family import Family
from models.recency import Recency
from models.vectors import unit


@dataclass(frozen=True, kw_only=True)
class LightGcnConfig(Checked):
    """How far the graph reaches (`layers` ways from item to item), how long and by what is learned, how a history is weighed.

    Learning ends after `epochs`, or after `targets` interactions were asked for; for each the `length` items before it speak.
    `half_life_days` and `own_weight` are chosen on validation where they are not given (models/recency.py).
    """

    family: ClassVar[str] = "lightgcn"
    width: int = bounds(128, 1, 2048, search=Span(32, 256, log=True))
    layers: int = bounds(1, 0, 8, search=Span(0, 3))
    length: int = bounds(50, 1, 10_000, search=Span(10, 100, log=True))
    temperature: float = bounds(0.1, 1e-3, 100.0, search=Span(0.05, 0.5, log=True))
    negatives: int = bounds(512, 1, 65_536)
    rate: float = bounds(0.01, 1e-6, 1.0, search=Span(1e-3, 0.1, log=True))
    epochs: int = bounds(10, 1, 10_000, work=True)
    targets: int = bounds(5_000_000, 1, 10**10)
    half_life_days: float | None = bounds(None, 0.01, 1e9)
    own_weight: float | None = bounds(None, 0.0, 1e6)
    prior_weight: float = bounds(0.001, 1e-6, 1.0)
    feature: str = "buyers_28d"


class LightGcn:
    """The items as they are answered (rows of length one) and as they speak, each float32 [J, D], and the prior."""

    def __init__(
        self, config: LightGcnConfig, item_JD: np.ndarray, said_JD: np.ndarray, buyers_J: np.ndarray
    ) -> None:
        self.config = config
        self.item_JD = item_JD
        self.said_JD = said_JD
        self.buyers_J = buyers_J
        self.prior = Prior(buyers_J, feature=config.feature, weight=config.prior_weight)
        self.recency = Recency.of(config)

    def recommend(self, query: Query, k: int) -> Ranking:
        """Return the `k` items nearest to the person's place in the graph; InputError for a question that does not fit.

        Who took nothing that was learned gets the prior alone.
        """
        return recency.rank(query, k, LightGcnConfig.family, self.recency, self.prior, self._score)

    def save(self, folder: Path) -> None:
        """Write `config.json`, `item.npy`, `said.npy` and `buyers.npy`."""
        artefact.write_json(folder / "config.json", self.config)
        artefact.write_array(folder / "item.npy", self.item_JD)
        artefact.write_array(folder / "said.npy", self.said_JD)
        artefact.write_array(folder / "buyers.npy", self.buyers_J)

    def _score(self, taken_PJ: csr_matrix) -> np.ndarray:
        """Return cosines, float32 [P, J]; what nobody took lies as far as the farthest."""
        with one_thread():
            score_PJ = unit(taken_PJ @ self.said_JD) @ self.item_JD.T
        unknown_J = self.buyers_J == 0
        if unknown_J.any():
            score_PJ[:, unknown_J] = score_PJ.min(axis=1, keepdims=True)
        return score_PJ


def fit(config: LightGcnConfig, training: TrainingSet, seed: int) -> LightGcn:
    """Learn item vectors by descent; the steps are drawn by `seed`, on one thread, so that it gives the same bytes."""
    from models.nn import lightgcn

    config = recency.settled(config, training)
    known = training.interactions
    item_JD, said_JD = lightgcn.vectors(config, known, seed)
    return LightGcn(config, unit(item_JD), said_JD, dense.buyers(known))


def load(folder: Path) -> LightGcn:
    """Read what `save` wrote; IntegrityError when it is not that."""
    config = build(LightGcnConfig, artefact.read_json(folder / "config.json"), "lightgcn")
    item_JD = artefact.read_array(folder / "item.npy", np.float32, ndim=2)
    said_JD = artefact.read_array(folder / "said.npy", np.float32, ndim=2)
    buyers_J = artefact.read_array(folder / "buyers.npy", np.float32)
    if not item_JD.shape == said_JD.shape == (len(buyers_J), config.width):
        raise IntegrityError(
            "item.npy, said.npy and buyers.npy do not fit each other; restore the artefact by its digest"
        )
    return LightGcn(config, item_JD, said_JD, buyers_J)


FAMILY = Family(
    config=LightGcnConfig,
    fit=fit,
    load=load,
    paper="He, Deng, Wang, Li, Zhang, Wang: LightGCN, simplifying and powering graph convolution network, SIGIR 2020",
    seeded=True,
)
