"""Popularity: the same list for everybody, what sold most in a recent window. The baseline that others must beat.

The window is an item feature that comes with the question, so that the list is as fresh as the features.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from models import artefact
from models.config import Checked, build
from models.data import Query, Ranking, TrainingSet
from models.explain import Explanation, by_history
from models.families import dense
from models.families.prior import Prior
from models.family import Family


@dataclass(frozen=True, kw_only=True)
class PopularityConfig(Checked):
    """The item feature to rank by; where the question does not bring it, counts learned at fit take its place."""

    family: ClassVar[str] = "popularity"
    feature: str = "buyers_28d"


class Popularity:
    """Counts learned at fit, which break ties and stand in for a missing feature."""

    def __init__(self, config: PopularityConfig, buyers_I: np.ndarray) -> None:
        self.config = config
        self.buyers_I = buyers_I
        self.sold = Prior(buyers_I, feature=config.feature)

    def recommend(self, query: Query, k: int) -> Ranking:
        """Return the `k` most popular items that are allowed and not excluded; InputError for a question that does not fit."""
        dense.check(query, k, len(self.buyers_I))
        exclude = query.exclude or (np.zeros(0, np.int32),) * query.people
        deepest = k + max((len(items) for items in exclude), default=0)
        order_L = self.sold.leading(query, deepest)
        score_I = self.sold.of(query)
        item_PK = np.full((query.people, min(k, query.items)), -1, np.int32)
        for row, excluded in enumerate(exclude):
            kept = order_L[~np.isin(order_L, excluded)] if len(excluded) else order_L
            kept = kept[: item_PK.shape[1]]
            item_PK[row, : len(kept)] = kept
        shown_PK = item_PK >= 0
        score_PK = np.where(shown_PK, score_I[item_PK], -np.inf).astype(np.float32)
        return Ranking(
            item_PK=item_PK,
            score_PK=score_PK,
            sources=(PopularityConfig.family,),
            source_PK=shown_PK.astype(np.uint8),
        )

    def explain(self, query: Query, item_N: np.ndarray, k: int) -> tuple[Explanation, ...]:
        """Return the count that is the score."""
        sold_I, said = self.sold.of(query), f"{self.config.feature}, the same for everybody"
        return tuple(by_history(item, said, {}, {}, float(sold_I[item])) for item in item_N.tolist())

    def save(self, folder: Path) -> None:
        """Write `config.json` and `buyers.npy`."""
        artefact.write_json(folder / "config.json", self.config)
        artefact.write_array(folder / "buyers.npy", self.buyers_I)


def fit(config: PopularityConfig, training: TrainingSet, seed: int) -> Popularity:
    """Count every item's interactions; nothing is random."""
    return Popularity(config, dense.buyers(training.interactions))


def load(folder: Path) -> Popularity:
    """Read what `save` wrote; IntegrityError when it is not that."""
    config = build(PopularityConfig, artefact.read_json(folder / "config.json"), "popularity")
    return Popularity(config, artefact.read_array(folder / "buyers.npy", np.float32))


FAMILY = Family(
    config=PopularityConfig,
    fit=fit,
    load=load,
    paper="Cremonesi, Koren, Turrin: Performance of recommender algorithms on top-N tasks, RecSys 2010 (TopPop)",
)
