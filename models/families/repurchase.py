"""Repurchase: what this person takes most often and most recently. Hard to beat where people buy the same things again.

The history comes with the question; only the prior is learned. Shapes: P people, I items, N interactions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from models import artefact
from models.config import Checked, Span, bounds, build
from models.data import DAY_US, Interactions, Query, Ranking, TrainingSet
from models.explain import Explanation, by_history
from models.families import dense, sparse
from models.families.prior import Prior
from models.family import Family


@dataclass(frozen=True, kw_only=True)
class RepurchaseConfig(Checked):
    """How fast a purchase fades, and how much the most popular item weighs against one purchase of today.

    `prior_weight` orders equals and answers people without a history.
    """

    family: ClassVar[str] = "repurchase"
    half_life_days: float = bounds(90.0, 0.01, 1e9, search=Span(1, 1000, log=True))
    prior_weight: float = bounds(0.001, 1e-6, 1.0, search=Span(1e-4, 0.3, log=True))
    feature: str = "buyers_28d"


class Repurchase:
    """The learned prior; everything else comes with the question."""

    def __init__(self, config: RepurchaseConfig, buyers_I: np.ndarray) -> None:
        self.config = config
        self.buyers_I = buyers_I
        self.prior = Prior(buyers_I, feature=config.feature, weight=config.prior_weight)

    def recommend(self, query: Query, k: int) -> Ranking:
        """Return the `k` best by decayed frequency; InputError for a question that does not fit."""
        dense.check(query, k, len(self.buyers_I))

        def score(part: Query) -> Iterator[sparse.Scored]:
            return sparse.taken(part.history, decay(part.history, part.as_of_us, self.config.half_life_days))

        return sparse.rank(query, k, RepurchaseConfig.family, score, self.prior)

    def explain(self, query: Query, item_N: np.ndarray, k: int) -> tuple[Explanation, ...]:
        """Return what the own takings of each item, and what sells, added to its score."""
        decay_N = decay(query.history, query.as_of_us, self.config.half_life_days)
        [(item_A, weight_A)] = sparse.taken(query.history, decay_N)
        taken, prior_I = dict(zip(item_A.tolist(), weight_A.tolist(), strict=True)), self.prior.of(query)
        return tuple(
            by_history(
                item,
                "how often the person took it, what is older by less, and a little for what sells",
                {item: taken[item]} if item in taken else {},
                taken,
                float(prior_I[item]),
            )
            for item in item_N.tolist()
        )

    def save(self, folder: Path) -> None:
        """Write `config.json` and `buyers.npy`."""
        artefact.write_json(folder / "config.json", self.config)
        artefact.write_array(folder / "buyers.npy", self.buyers_I)


def decay(history: Interactions, as_of_us: int, half_life_days: float) -> np.ndarray:
    """Return 2^(-age / half-life) per interaction, float32 [N]; what lies after `as_of_us` counts as of now."""
    age_days_N = np.maximum(as_of_us - history.time_N, 0) / DAY_US
    return np.exp2(-age_days_N / half_life_days).astype(np.float32)


def fit(config: RepurchaseConfig, training: TrainingSet, seed: int) -> Repurchase:
    """Learn the prior; nothing is random."""
    return Repurchase(config, dense.buyers(training.interactions))


def load(folder: Path) -> Repurchase:
    """Read what `save` wrote; IntegrityError when it is not that."""
    config = build(RepurchaseConfig, artefact.read_json(folder / "config.json"), "repurchase")
    return Repurchase(config, artefact.read_array(folder / "buyers.npy", np.float32))


FAMILY = Family(
    config=RepurchaseConfig,
    fit=fit,
    load=load,
    paper="Hu, He, Gao, Zhang: Modeling personalized item frequency information for next-basket recommendation, SIGIR 2020",
)
