"""Item-kNN: items that the same people take, weighted by how recently the person took each of theirs.

The neighbours come from the `implicit` library; the history comes with the question.
Shapes: P people, I items, N interactions; sim_II is sparse, a row holds the item's neighbours.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from scipy.sparse import csr_matrix

from models import artefact
from models.config import Checked, Options, Span, bounds, build, searched
from models.data import Query, Ranking, TrainingSet
from models.families import dense, sparse
from models.families.prior import Prior
from models.families.repurchase import decay
from models.family import Family


@dataclass(frozen=True, kw_only=True)
class ItemKnnConfig(Checked):
    """How many neighbours, how taking is weighted, how fast it fades, at fit and when asked.

    `shrink` damps the cosine of items with few takers in common; `own_weight` is how much an item that the person took
    speaks for itself: 1 is as much as a perfect neighbour; 40 suits shops where people buy the same again; 0 lets it
    speak only for others, which a retriever beside `repurchase` wants.
    """

    family: ClassVar[str] = "itemknn"
    neighbours: int = bounds(50, 1, 10_000, search=Span(20, 500, log=True))
    weighting: Literal["cosine", "tfidf", "bm25"] = searched("tfidf")
    shrink: float = bounds(50.0, 0.0, 1e6, search=Span(1, 500, log=True))
    fit_half_life_days: float = bounds(180.0, 0.01, 1e9, search=Span(10, 3000, log=True))
    half_life_days: float = bounds(90.0, 0.01, 1e9, search=Span(0.5, 1000, log=True))
    own_weight: float = bounds(40.0, 0.0, 1e6, search=Options(0.0, 1.0, 10.0, 40.0))
    prior_weight: float = bounds(0.001, 1e-6, 1.0)
    feature: str = "buyers_28d"


class ItemKnn:
    """Neighbours of every item, and the prior."""

    def __init__(self, config: ItemKnnConfig, sim_II: csr_matrix, buyers_I: np.ndarray) -> None:
        self.config = config
        self.sim_II = sim_II
        self.buyers_I = buyers_I
        self.prior = Prior(buyers_I, feature=config.feature, weight=config.prior_weight)

    def recommend(self, query: Query, k: int) -> Ranking:
        """Return the `k` items nearest to what the person took; InputError for a question that does not fit."""
        dense.check(query, k, len(self.buyers_I))

        def score(part: Query) -> csr_matrix:
            decay_N = decay(part.history, part.as_of_us, self.config.half_life_days)
            history_PI = part.history.matrix(decay_N)
            near_PI = history_PI[:, : len(self.buyers_I)] @ self.sim_II
            near_PI.resize(history_PI.shape)
            return near_PI + history_PI * np.float32(self.config.own_weight)

        return sparse.rank(query, k, ItemKnnConfig.family, score, self.prior)

    def save(self, folder: Path) -> None:
        """Write `config.json`, `buyers.npy` and the neighbours as CSR parts."""
        artefact.write_json(folder / "config.json", self.config)
        artefact.write_array(folder / "buyers.npy", self.buyers_I)
        artefact.write_csr(folder, "neighbours", self.sim_II)


def fit(config: ItemKnnConfig, training: TrainingSet, seed: int) -> ItemKnn:
    """Find each item's neighbours; nothing is random."""
    interactions = training.interactions
    taken_PI = interactions.matrix(decay(interactions, training.until_us, config.fit_half_life_days))
    return ItemKnn(config, neighbours(config, taken_PI, training.threads), dense.buyers(interactions))


def neighbours(config: ItemKnnConfig, taken_PI: csr_matrix, threads: int) -> csr_matrix:
    """Return the nearest items of every item without itself, float32 sparse [I, I].

    The similarity is the weighted cosine times n / (n + shrink), n the takers of the rarer one (a bound on those in common).
    """
    from implicit.nearest_neighbours import all_pairs_knn

    weighted_PI = _weighted(config.weighting, taken_PI)
    found = all_pairs_knn(
        weighted_PI, config.neighbours + 1, num_threads=threads, show_progress=False
    ).tocoo()
    takers_I = np.bincount(taken_PI.indices, minlength=taken_PI.shape[1]).astype(np.float32)
    other = (found.row != found.col) & (found.data > 0)
    row, col = found.row[other], found.col[other]
    least = np.minimum(takers_I[row], takers_I[col])
    value = found.data[other] * least / (least + config.shrink)
    sim_II = csr_matrix((value.astype(np.float32), (row, col)), shape=found.shape)
    sim_II.sort_indices()
    return sim_II


def _weighted(weighting: str, taken_PI: csr_matrix) -> csr_matrix:
    """Weight and scale so that the dot product of two columns is their similarity (implicit's own recipes)."""
    from implicit.nearest_neighbours import bm25_weight, normalize, tfidf_weight

    taken_IP = taken_PI.T
    if weighting == "bm25":
        weighted_IP = bm25_weight(taken_IP, K1=1.2, B=0.75)
    else:
        # Somebody who took all items but one has no say (idf 0); an item that only they took comes out as 0/0.
        with np.errstate(invalid="ignore"):
            weighted_IP = normalize(tfidf_weight(taken_IP) if weighting == "tfidf" else taken_IP)
    weighted_IP.data = np.nan_to_num(weighted_IP.data)
    return weighted_IP.T.tocsr()


def load(folder: Path) -> ItemKnn:
    """Read what `save` wrote; IntegrityError when it is not that."""
    config = build(ItemKnnConfig, artefact.read_json(folder / "config.json"), "itemknn")
    return ItemKnn(
        config,
        artefact.read_csr(folder, "neighbours"),
        artefact.read_array(folder / "buyers.npy", np.float32),
    )


FAMILY = Family(
    config=ItemKnnConfig,
    fit=fit,
    load=load,
    paper="Sarwar, Karypis, Konstan, Riedl: Item-based collaborative filtering recommendation algorithms, WWW 2001",
)
