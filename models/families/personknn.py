"""Person-kNN: what the people took whose histories are most alike, found anew for every question.

The fitted people are kept as rows without names; the one who asks is looked up among them by the history that comes with the
question, so that it makes no difference whether they were there at fit. Shapes: P people who ask, Q fitted people, I items.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from scipy.sparse import csr_matrix

from models import artefact, recency
from models.config import Checked, Span, bounds, build, searched
from models.data import Query, Ranking, TrainingSet
from models.families import dense
from models.families.prior import Prior
from models.families.repurchase import decay
from models.family import Family
from models.recency import Recency

PART = 256  # people whose likenesses to everybody are held at once


@dataclass(frozen=True, kw_only=True)
class PersonKnnConfig(Checked):
    """How many people are asked, what makes two histories alike, and how a history is weighed.

    `amplification` is an exponent on the likeness that lets the nearest speak louder (Breese, Heckerman, Kadie, UAI 1998). The
    latest `history` interactions of each fitted person are kept. `half_life_days` and `own_weight` are chosen on validation
    where they are not given (models/recency.py); what neighbours took fades by `fit_half_life_days`.
    """

    family: ClassVar[str] = "personknn"
    neighbours: int = bounds(100, 1, 100_000, search=Span(20, 1000, log=True))
    likeness: Literal["cosine", "pearson", "tfidf"] = searched("tfidf")
    amplification: float = bounds(2.0, 0.1, 10.0, search=Span(0.5, 3.0))
    history: int = bounds(500, 1, 1_000_000)
    fit_half_life_days: float = bounds(180.0, 0.01, 1e9, search=Span(10, 3000, log=True))
    half_life_days: float | None = bounds(None, 0.01, 1e9)
    own_weight: float | None = bounds(None, 0.0, 1e6)
    prior_weight: float = bounds(0.001, 1e-6, 1.0)
    feature: str = "buyers_28d"


class PersonKnn:
    """What the fitted people took, float32 sparse [Q, I], and the prior."""

    def __init__(self, config: PersonKnnConfig, taken_QI: csr_matrix, buyers_I: np.ndarray) -> None:
        self.config = config
        self.taken_QI = taken_QI
        self.buyers_I = buyers_I
        self.prior = Prior(buyers_I, feature=config.feature, weight=config.prior_weight)
        self.recency = Recency.of(config)
        self._idf_I = inverse_frequency(config, taken_QI)
        self._unit_IQ = unit(config, taken_QI, self._idf_I).T.tocsr()

    def recommend(self, query: Query, k: int) -> Ranking:
        """Return the `k` items that the most alike took most; InputError for a question that does not fit."""
        return recency.rank(query, k, PersonKnnConfig.family, self.recency, self.prior, self._score)

    def nearest(self, taken_PI: csr_matrix) -> csr_matrix:
        """Return the likeness of the nearest fitted people, float32 sparse [P, Q]; who shares nothing is no neighbour."""
        unit_PI = unit(self.config, taken_PI, self._idf_I)
        parts = [
            self._nearest(taken_PI[at : at + PART], unit_PI[at : at + PART])
            for at in range(0, unit_PI.shape[0], PART)
        ]
        likeness, who, count = ([part[at] for part in parts] for at in range(3))
        indptr = np.cumsum(np.concatenate([np.zeros(1, np.int64), *count]))
        data = np.concatenate([np.zeros(0, np.float32), *likeness])
        column = np.concatenate([np.zeros(0, np.int32), *who])
        return csr_matrix((data, column, indptr), shape=(taken_PI.shape[0], self.taken_QI.shape[0]))

    def save(self, folder: Path) -> None:
        """Write `config.json`, `buyers.npy` and what was taken as CSR parts."""
        artefact.write_json(folder / "config.json", self.config)
        artefact.write_array(folder / "buyers.npy", self.buyers_I)
        artefact.write_csr(folder, "taken", self.taken_QI)

    def _score(self, taken_PI: csr_matrix) -> np.ndarray:
        return (self.nearest(taken_PI) @ self.taken_QI).toarray()

    def _nearest(
        self, taken_PI: csr_matrix, unit_PI: csr_matrix
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return likenesses, people (ascending) and their number per row; of equals the lower number is nearer."""
        like_PQ = csr_matrix(unit_PI @ self._unit_IQ)
        if self.config.likeness == "pearson":
            like_PQ.data -= self._shift(taken_PI, like_PQ)
        data, column, count_P = [np.zeros(0, np.float32)], [np.zeros(0, np.int32)], []
        for start, stop in zip(like_PQ.indptr, like_PQ.indptr[1:], strict=False):
            like, who = like_PQ.data[start:stop], like_PQ.indices[start:stop]
            like, who = like[like > 0], who[like > 0]
            if len(like) > self.config.neighbours:
                best = np.lexsort((who, -like))[: self.config.neighbours]
                like, who = like[best], who[best]
            order = np.argsort(who)
            data.append(like[order] ** np.float32(self.config.amplification))
            column.append(who[order])
            count_P.append(len(who))
        return np.concatenate(data), np.concatenate(column), np.array(count_P, np.int64)

    def _shift(self, taken_PI: csr_matrix, like_PQ: csr_matrix) -> np.ndarray:
        """Return what the means take from the dot products of pairs: I m_p m_q over both deviations."""
        row_N = np.repeat(np.arange(like_PQ.shape[0]), np.diff(like_PQ.indptr))
        asked_P, fitted_Q = mean_over_deviation(taken_PI), mean_over_deviation(self.taken_QI)
        return (taken_PI.shape[1] * asked_P[row_N] * fitted_Q[like_PQ.indices]).astype(np.float32)


def inverse_frequency(config: PersonKnnConfig, taken_QI: csr_matrix) -> np.ndarray:
    """Return ln(Q / takers) + 1 per item for tf-idf, ones otherwise, float32 [I]."""
    people, items = taken_QI.shape
    if config.likeness != "tfidf":
        return np.ones(items, np.float32)
    takers_I = np.bincount(taken_QI.indices, minlength=items)
    return (np.log(max(people, 1) / np.maximum(takers_I, 1)) + 1).astype(np.float32)


def unit(config: PersonKnnConfig, taken_PI: csr_matrix, idf_I: np.ndarray) -> csr_matrix:
    """Weigh and scale rows so that dot products are likenesses (Pearson's but for the means), float32 sparse [P, I]."""
    out_PI = csr_matrix(taken_PI, copy=True)
    out_PI.data = out_PI.data * idf_I[out_PI.indices]
    square_P = np.asarray(out_PI.multiply(out_PI).sum(axis=1)).ravel()
    if config.likeness == "pearson":
        square_P = deviation(taken_PI) ** 2
    scale_P = 1 / np.sqrt(np.where(square_P > 1e-12, square_P, np.inf))
    out_PI.data = (out_PI.data * np.repeat(scale_P, np.diff(out_PI.indptr))).astype(np.float32)
    return out_PI


def deviation(taken_PI: csr_matrix) -> np.ndarray:
    """Return sqrt(sum x^2 - I mean^2) per row over all items, absent ones being zeros, float64 [P]."""
    sum_P = np.asarray(taken_PI.sum(axis=1, dtype=np.float64)).ravel()
    square_P = np.asarray(taken_PI.multiply(taken_PI).sum(axis=1, dtype=np.float64)).ravel()
    return np.sqrt(np.maximum(square_P - sum_P**2 / max(1, taken_PI.shape[1]), 0))


def mean_over_deviation(taken_PI: csr_matrix) -> np.ndarray:
    """Return the mean of each row in units of its deviation, zero where nothing deviates, float64 [P]."""
    mean_P = np.asarray(taken_PI.sum(axis=1, dtype=np.float64)).ravel() / max(1, taken_PI.shape[1])
    deviation_P = deviation(taken_PI)
    return np.divide(mean_P, deviation_P, out=np.zeros_like(mean_P), where=deviation_P > 1e-6)


def fit(config: PersonKnnConfig, training: TrainingSet, seed: int) -> PersonKnn:
    """Keep what people took lately, decayed; nothing is random."""
    config = recency.settled(config, training)
    known = training.interactions.last(config.history)
    taken_QI = known.matrix(decay(known, training.until_us, config.fit_half_life_days))
    return PersonKnn(config, taken_QI, dense.buyers(training.interactions))


def load(folder: Path) -> PersonKnn:
    """Read what `save` wrote; IntegrityError when it is not that."""
    config = build(PersonKnnConfig, artefact.read_json(folder / "config.json"), "personknn")
    taken_QI = artefact.read_csr(folder, "taken")
    return PersonKnn(config, taken_QI, artefact.read_array(folder / "buyers.npy", np.float32))


FAMILY = Family(
    config=PersonKnnConfig,
    fit=fit,
    load=load,
    paper="Herlocker, Konstan, Borchers, Riedl: An algorithmic framework for performing collaborative filtering, SIGIR 1999",
)
