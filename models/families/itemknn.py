"""Item-kNN: items that the same people take, weighted by how recently the person took each of theirs.

The neighbours come from the `implicit` library; the history comes with the question.
Shapes: P people, I items, N interactions; sim_II is sparse, a row holds the item's neighbours.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from scipy.sparse import csr_matrix

from models import artefact
from models.config import Checked, Options, Span, bounds, build, searched
from models.data import Query, Ranking, TrainingSet
from models.explain import Explanation, by_history
from models.families import dense, sparse
from models.families.prior import Prior
from models.families.repurchase import decay
from models.family import Family
from models.settle import Way, Work, given, settle

WORK = Work(learned=150_000, people=3_000, lines=100_000)  # near settings differ little, so many are asked
ASKED_FIELDS = frozenset({"half_life_days", "own_weight"})  # the others change what is learned


@dataclass(frozen=True, kw_only=True)
class ItemKnnConfig(Checked):
    """How many neighbours, how taking is weighted, how fast it fades, at fit and when asked.

    `shrink` damps the cosine of items with few takers in common; `own_weight` is how much an item that the person took
    speaks for itself: 1 is as much as a perfect neighbour; 40 suits shops where people buy the same again; 0 lets it
    speak only for others, which a retriever beside `repurchase` wants. What is None is chosen on validation when fitting.
    """

    family: ClassVar[str] = "itemknn"
    neighbours: int | None = bounds(None, 1, 10_000, search=Span(20, 500, log=True))
    weighting: Literal["cosine", "tfidf", "bm25"] | None = searched(None, "cosine", "tfidf", "bm25")
    shrink: float | None = bounds(None, 0.0, 1e6, search=Span(1, 500, log=True))
    fit_half_life_days: float | None = bounds(None, 0.01, 1e9, search=Span(10, 3000, log=True))
    half_life_days: float | None = bounds(None, 0.01, 1e9, search=Span(0.5, 1000, log=True))
    own_weight: float | None = bounds(None, 0.0, 1e6, search=Options(0.0, 1.0, 10.0, 40.0))
    prior_weight: float = bounds(0.001, 1e-6, 1.0)
    feature: str = "buyers_28d"


def options(training: TrainingSet) -> dict[str, tuple[Any, ...]]:
    """Return what open settings are chosen among; the first ones stand until others are clearly better.

    In a shop that people come back to for the same (long histories) only what matters when asking is chosen, since each
    change of the others costs a fit. Within a session the latest clicks say most.
    """
    if training.repeats and training.inner == "time":
        return {
            "own_weight": (40.0, 10.0, 1.0, 0.3, 0.0),
            "half_life_days": (90.0, 30.0, 10.0, 3.0),
            "shrink": (50.0,),
            "neighbours": (50,),
            "weighting": ("tfidf",),
            "fit_half_life_days": (180.0,),
        }
    in_session = training.inner == "sessions"
    return {
        "own_weight": (0.3, 1.0, 10.0, 0.0) if training.repeats else (0.0,),
        "half_life_days": (2.0, 1.0, 5.0, 20.0) if in_session else (90.0, 30.0, 10.0, 5.0, 3.0, 2.0, 1.5),
        "shrink": (50.0, 20.0, 5.0),
        "neighbours": (50, 200),
        "weighting": ("tfidf", "cosine"),
        "fit_half_life_days": (180.0, 1e9, 30.0),
    }


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

        def score(part: Query) -> Iterator[sparse.Scored]:
            decay_N = decay(part.history, part.as_of_us, given(self.config.half_life_days))
            for item_A, weight_A in sparse.taken(part.history, decay_N):
                yield sparse.near(self.sim_II, item_A, weight_A, given(self.config.own_weight))

        return sparse.rank(query, k, ItemKnnConfig.family, score, self.prior)

    def explain(self, query: Query, item_N: np.ndarray, k: int) -> tuple[Explanation, ...]:
        """Return what each item of the history added to the scores: its similarity times how much of it was taken."""
        decay_N = decay(query.history, query.as_of_us, given(self.config.half_life_days))
        [(item_A, weight_A)] = sparse.taken(query.history, decay_N)
        prior_I, own_weight = self.prior.of(query), given(self.config.own_weight)
        return tuple(
            by_history(
                item,
                "how near it is to what the person took, and a little for what sells",
                sparse.nearness(self.sim_II, item_A, weight_A, own_weight, item),
                dict(zip(item_A.tolist(), weight_A.tolist(), strict=True)),
                float(prior_I[item]),
            )
            for item in item_N.tolist()
        )

    def save(self, folder: Path) -> None:
        """Write `config.json`, `buyers.npy` and the neighbours as CSR parts."""
        artefact.write_json(folder / "config.json", self.config)
        artefact.write_array(folder / "buyers.npy", self.buyers_I)
        artefact.write_csr(folder, "neighbours", self.sim_II)


def fit(config: ItemKnnConfig, training: TrainingSet, seed: int) -> ItemKnn:
    """Choose what the config leaves open, and find each item's neighbours; nothing is random."""
    way = Way(
        fit=_fitted,
        again=lambda model, other: ItemKnn(other, model.sim_II, model.buyers_I),
        asked=ASKED_FIELDS,
    )
    return _fitted(settle(config, options(training), training, way, errors=1.5, work=WORK), training)


def _fitted(config: ItemKnnConfig, training: TrainingSet) -> ItemKnn:
    interactions = training.interactions
    # from the newest on: where only the order is known, "now" lies years later, and a short half-life would leave nothing
    now_us = int(interactions.time_N.max(initial=0))
    taken_PI = interactions.matrix(decay(interactions, now_us, given(config.fit_half_life_days)))
    return ItemKnn(config, neighbours(config, taken_PI, training.threads), dense.buyers(interactions))


def neighbours(config: ItemKnnConfig, taken_PI: csr_matrix, threads: int) -> csr_matrix:
    """Return the nearest items of every item without itself, float32 sparse [I, I].

    The similarity is the weighted cosine times n / (n + shrink), n the takers of the rarer one (a bound on those in common).
    """
    from implicit.nearest_neighbours import all_pairs_knn

    weighted_PI = _weighted(config.weighting or "tfidf", taken_PI)
    found = all_pairs_knn(
        weighted_PI, int(given(config.neighbours)) + 1, num_threads=threads, show_progress=False
    ).tocoo()
    takers_I = np.bincount(taken_PI.indices, minlength=taken_PI.shape[1]).astype(np.float32)
    other = (found.row != found.col) & (found.data > 0)
    row, col = found.row[other], found.col[other]
    least = np.minimum(takers_I[row], takers_I[col])
    value = found.data[other] * least / (least + given(config.shrink))
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
