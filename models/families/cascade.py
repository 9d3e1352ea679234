"""Cascade: another family retrieves and ranks; its leading candidates are ordered anew, so that lists show more of the catalogue.

The inner family is an assembly as a rule: several retrievers with a fusion of their lists, or with a learned ranker. How far the
lists may lean to what few people take is chosen on validation (models/assembly/balance.py).
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from counterfoil.errors import InputError
from models import artefact
from models.assembly import members
from models.assembly.balance import affordable, balanced
from models.config import Checked, bounds, build
from models.data import Query, Ranking, TrainingSet
from models.explain import Explanation, proposals
from models.families import dense
from models.family import Family, Model

ASKED = 12_000  # people of the trial who are asked when the balance is chosen
CURVE = "curve.json"


@dataclass(frozen=True, kw_only=True)
class CascadeConfig(Checked):
    """The inner family, how many of its candidates are ordered anew, and how far.

    `balance` is the power of an item's takers that its worth is divided by; None: the largest one by which nDCG@`at` stays at
    `keep` of the inner family's on validation (10; for sessions 20).
    """

    family: ClassVar[str] = "cascade"
    inner: str = "fusion"
    depth: int = bounds(100, 1, 10_000)
    balance: float | None = bounds(None, 0.0, 4.0)
    keep: float = bounds(0.99, 0.0, 1.0)
    at: int | None = bounds(None, 1, 1000)


class Cascade:
    """The fitted inner family and how many people took each item."""

    def __init__(
        self,
        config: CascadeConfig,
        inner: Model,
        takers_I: np.ndarray,
        tried: tuple[dict[str, float], ...],
    ) -> None:
        self.config = config
        self.inner = inner
        self.takers_I = takers_I
        self.tried = tried

    def recommend(self, query: Query, k: int) -> Ranking:
        """Return the best `k` after balancing; InputError for a question that does not fit."""
        dense.check(query, k, len(self.takers_I))
        ranking = self.inner.recommend(query, min(max(self.config.depth, k), query.items))
        return balanced(ranking, self.takers_I, self.config.balance or 0.0, self.config.depth, k)

    def explain(self, query: Query, item_N: np.ndarray, k: int) -> tuple[Explanation, ...]:
        """Return by how much each item's lead was divided, and how the inner family came to it."""
        depth = min(max(self.config.depth, k), query.items)
        ranking = self.inner.recommend(query, depth)
        models = {self.config.inner: self.inner}
        takers_I, power = dense.padded(self.takers_I, query.items), self.config.balance or 0.0
        return tuple(
            Explanation(
                item=item,
                method="none",
                said=f"the lead that {self.config.inner} gives it, as a share of the best one's, divided by "
                f"{float((takers_I[item] + 1.0) ** power):.4g}: {takers_I[item]:.0f} people took it (power {power:g})",
                members=who,
            )
            for item, who in zip(
                item_N.tolist(), proposals(models, [ranking], query, item_N, depth), strict=True
            )
        )

    def save(self, folder: Path) -> None:
        """Write `cascade.json`, `takers.npy`, the powers tried as `curve.json`, and the inner family into its sub folder."""
        artefact.write_json(folder / "cascade.json", self.config)
        artefact.write_json(folder / CURVE, self.tried)
        artefact.write_array(folder / "takers.npy", self.takers_I)
        (folder / self.config.inner).mkdir()
        self.inner.save(folder / self.config.inner)


def fit(config: CascadeConfig, training: TrainingSet, seed: int) -> Cascade:
    """Fit the inner family on what may be learned, choose the balance, and fit it again on everything with what it chose.

    Training sets too small to choose by are not balanced. ConfigError when the inner family refuses the data.
    """
    members.check((config.inner,), config.family)
    kind = members.family(config.inner)
    takers_I = dense.buyers(training.interactions)
    if config.balance is not None:
        return Cascade(config, kind.fit(kind.config(), training, seed), takers_I, ())
    try:
        cut = members.cut(training, ASKED)
    except InputError:
        return Cascade(replace(config, balance=0.0), kind.fit(kind.config(), training, seed), takers_I, ())
    at = config.at or members.length(training)
    found, _ = members.ask((config.inner,), cut, max(config.depth, at), seed)
    balance, tried = affordable(
        found[0].ranking,
        cut.trial.truth,
        dense.buyers(cut.blind.interactions),
        keep=config.keep,
        depth=config.depth,
        k=at,
    )
    return Cascade(replace(config, balance=balance), members.final(found[0], cut, seed), takers_I, tried)


def load(folder: Path) -> Cascade:
    """Read what `save` wrote; IntegrityError when it is not that."""
    config: CascadeConfig = build(CascadeConfig, artefact.read_json(folder / "cascade.json"), "cascade")
    members.check((config.inner,), config.family)
    return Cascade(
        config,
        members.family(config.inner).load(folder / config.inner),
        artefact.read_array(folder / "takers.npy", np.float32),
        artefact.read_steps(folder / CURVE),
    )


FAMILY = Family(
    config=CascadeConfig,
    fit=fit,
    load=load,
    paper="Abdollahpouri, Burke, Mobasher: Managing popularity bias in recommender systems with personalized re-ranking, "
    "FLAIRS 2019; Steck: Item popularity and recommendation accuracy, RecSys 2011",
    seeded=True,
)
