"""What families share that know items by vectors: the model, how it is saved, and what is chosen on validation.

`fit_by` fits such a family from a function that makes vectors. Items that came after the fit get theirs from the question's
`content` by the family's encoder, where it has one; those of which nothing is said rank last.
Shapes: P people, I items of the catalogue, J items that were there at the fit, C items that came later, D width.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
from scipy.sparse import issparse

from counterfoil.errors import ConfigError, InputError, IntegrityError
from models import artefact, recency, splits, vectors
from models.config import Checked, bounds, build
from models.data import Content, Query, Ranking, TrainingSet, Trial
from models.families import dense
from models.family import top_k
from models.metrics.accuracy import hits, ndcg, taken
from models.recency import Recency
from models.vectors import Matrix, Space

PRIOR_WEIGHTS = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


@dataclass(frozen=True, kw_only=True)
class VectorConfig(Checked):
    """How a history is weighed, and how popularity speaks beside nearness; what is not given is chosen on validation.

    Nearness is scaled to at most 1; `own_weight` is what the item that somebody took most counts for itself against
    that, `prior_weight` what the most popular item does.
    """

    family: ClassVar[str]
    half_life_days: float | None = bounds(None, 0.01, 1e9)
    own_weight: float | None = bounds(None, 0.0, 1e6)
    prior_weight: float | None = bounds(None, 1e-6, 1e3)
    feature: str = "buyers_28d"


Config = TypeVar("Config", bound=VectorConfig)


class Encoder(Protocol):
    """What makes vectors of new items from what is said of them."""

    def encode(self, content: Content, item_C: np.ndarray) -> Matrix:
        """Return vectors of these items, [C, D]; zeros where nothing is said."""

    def save(self, folder: Path) -> None:
        """Write what the encoder needs beside the vectors."""


class ByVectors:
    """Vectors of the items [J, D], the prior, and an encoder of later items, or None where their content says nothing."""

    def __init__(
        self, config: VectorConfig, vector_JD: Matrix, buyers_J: np.ndarray, encoder: Encoder | None = None
    ) -> None:
        self.config = config
        self.buyers_J = buyers_J
        self.encoder = encoder
        self.recency = Recency.of(config)
        self._learned = Space(vector_JD)
        self._later: tuple[Content | None, Space] = (None, self._learned)

    def recommend(self, query: Query, k: int) -> Ranking:
        """Return the `k` items nearest to what the person took; InputError for a question that does not fit."""
        dense.check(query, k, len(self.buyers_J))
        space = self.space(query.items, query.content)
        prior_I = dense.prior(query, self.config.feature, self.buyers_J, self.config.prior_weight or 0.001)

        def score(part: Query) -> np.ndarray:
            taken_PI = self.recency.weights(part.history, part.as_of_us)
            return self.recency.mix(space.near(taken_PI), part.items, taken_PI, prior_I)

        return dense.rank(query, k, self.config.family, score)

    def space(self, items: int, content: Content | None) -> Space:
        """Return the vectors of a catalogue of that size; those of later items are kept until other content is asked with."""
        learned = self._learned
        if items == len(learned):
            return learned
        known, space = self._later
        if known is not content or len(space) != items:
            count = items - len(learned)
            if self.encoder is None or content is None:
                later_CD = vectors.nothing(count, learned.vector_ID)
            elif len(content) != items:
                raise InputError(
                    f"content describes {len(content)} items of {items}; describe every one of them"
                )
            else:
                later_CD = self.encoder.encode(content, np.arange(len(learned), items))
            space = Space(vectors.stacked([learned.vector_ID, later_CD]))
            self._later = (content, space)
        return space

    def save(self, folder: Path) -> None:
        """Write `config.json`, `buyers.npy`, the vectors (`vectors.npy`, or CSR parts) and what the encoder needs."""
        artefact.write_json(folder / "config.json", self.config)
        artefact.write_array(folder / "buyers.npy", self.buyers_J)
        vector_JD = self._learned.vector_ID
        if issparse(vector_JD):
            artefact.write_csr(folder, "vectors", vector_JD)
        else:
            artefact.write_array(folder / "vectors.npy", vector_JD.astype(np.float16))
        if self.encoder is not None:
            self.encoder.save(folder)


def fit_by(
    config: VectorConfig,
    training: TrainingSet,
    learn: Callable[[TrainingSet], Matrix],
    encoder: Encoder | None = None,
    *,
    from_content: bool,
) -> ByVectors:
    """Learn vectors by `learn`, choose on validation what the config leaves open, and return the model.

    Vectors `from_content` alone are the same whatever is kept from learning, so they are made once.
    """
    vector_JD = rounded(learn(training))
    config = _chosen(config, training, (lambda _: vector_JD) if from_content else learn)
    return ByVectors(config, vector_JD, dense.buyers(training.interactions), encoder)


def load_by(folder: Path, kind: type[Config], *, sparse: bool) -> tuple[Config, Matrix, np.ndarray]:
    """Read config, vectors and buyers of what `save` wrote; IntegrityError when they do not fit each other."""
    config: Config = build(kind, artefact.read_json(folder / "config.json"), kind.family)
    buyers_J = artefact.read_array(folder / "buyers.npy", np.float32)
    if sparse:
        vector_JD: Matrix = artefact.read_csr(folder, "vectors")
    else:
        vector_JD = artefact.read_array(folder / "vectors.npy", np.float16, ndim=2).astype(np.float32)
    if vector_JD.shape[0] != len(buyers_J):
        raise IntegrityError(
            f"{vector_JD.shape[0]} vectors for {len(buyers_J)} items in {folder.name}; restore the artefact by its digest"
        )
    return config, vector_JD, buyers_J


def require(
    training: TrainingSet, family: str, said: Callable[[Content], bool], what: str, instead: str
) -> Content:
    """Return the training set's content; ConfigError when there is none, or none of what the family reads."""
    content = training.content
    if content is None or not said(content):
        raise ConfigError(
            f"the data say nothing of their items that {family} can read ({what}); bring items that say it, or take {instead}"
        )
    return content


def rounded(x_JD: Matrix) -> Matrix:
    """Return dense vectors as half precision keeps them (half the room, and no answer changes), sparse ones as they are."""
    return x_JD if issparse(x_JD) else x_JD.astype(np.float16).astype(np.float32)


def _chosen(
    config: VectorConfig, training: TrainingSet, learn: Callable[[TrainingSet], Matrix]
) -> VectorConfig:
    """Return the config with what it leaves open chosen by nDCG@10, one setting after the other.

    Training sets too small to be cut get 90 days, a weight of 1 where repeats are asked for, and a prior of .01.
    """
    own = 1.0 if training.repeats else 0.0
    start = replace(
        config,
        half_life_days=config.half_life_days or 90.0,
        own_weight=own if config.own_weight is None else config.own_weight,
        prior_weight=config.prior_weight or 0.01,
    )
    choices = {
        "half_life_days": recency.HALF_LIVES_DAYS,
        "own_weight": recency.OWN_WEIGHTS if training.repeats else (),
        "prior_weight": PRIOR_WEIGHTS,
    }
    open_settings = [name for name in choices if getattr(config, name) is None and choices[name]]
    if not open_settings:
        return start
    try:
        blind, trial = splits.choosing(training)
    except InputError:
        return start
    judge = _Judge(vectors.unit(learn(blind)), dense.buyers(blind.interactions), trial)
    for name in open_settings:
        tried = [_with(start, name, value) for value in choices[name]]
        start = max(tried, key=judge.ndcg)  # the first of equals
    return start


def _with(config: VectorConfig, name: str, value: float) -> VectorConfig:
    changed: Any = {name: value}
    return replace(config, **changed)


class _Judge:
    """Scores settings on a sample of a trial; nearness is computed once per half-life."""

    def __init__(self, vector_JD: Matrix, buyers_J: np.ndarray, trial: Trial) -> None:
        self.buyers_J = buyers_J
        self.space = Space(vector_JD)
        asked = trial.at_most(recency.ASKED)
        self.query, self.truth = asked.query, asked.truth
        self._near: tuple[float, np.ndarray] = (-1.0, np.zeros((0, 0), np.float32))

    def ndcg(self, config: VectorConfig) -> float:
        """Return the mean nDCG@10 of the sample under these settings."""
        assert config.half_life_days and config.own_weight is not None and config.prior_weight
        how = Recency(half_life_days=config.half_life_days, own_weight=config.own_weight)
        prior_I = dense.prior(self.query, config.feature, self.buyers_J, config.prior_weight)
        taken_PI = how.weights(self.query.history, self.query.as_of_us)
        if self._near[0] != how.half_life_days:
            self._near = (how.half_life_days, self.space.near(taken_PI))
        score_PI = how.mix(self._near[1].copy(), self.query.items, taken_PI, prior_I)
        item_PK = top_k(score_PI, self.query, recency.K, config.family).item_PK
        return float(ndcg(hits(item_PK, self.truth), taken(self.truth), recency.K).mean())
