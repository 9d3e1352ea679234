"""A model that learned on one dataset, asked in the item numbers of another: how yesterday's champion defends on today's data.

Items that the model never met cannot be answered by it, and are left out of what it is told.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from models import catalogue
from models.data import Features, Interactions, Query, Ranking
from models.family import Model


class Renumbered:
    """`model` with its item indices (positions in `their_ids`) translated from and to ours (positions in `our_ids`)."""

    def __init__(self, model: Model, *, their_ids: np.ndarray, our_ids: np.ndarray):
        self.model = model
        ours = {item: index for index, item in enumerate(our_ids)}
        self.our_T = np.array([ours.get(item, -1) for item in their_ids], np.int32)  # T: their items
        self.their_I = np.full(len(our_ids), -1, np.int32)
        known_T = self.our_T >= 0
        self.their_I[self.our_T[known_T]] = np.flatnonzero(known_T)

    def recommend(self, query: Query, k: int) -> Ranking:
        """Translate the question, ask, translate the answer."""
        allowed_I = np.ones(query.items, bool) if query.allowed_I is None else query.allowed_I
        allowed_T = np.where(self.our_T >= 0, allowed_I[np.maximum(self.our_T, 0)], False)
        translated = Query(
            history=self._history(query.history),
            as_of_us=query.as_of_us,
            features=self._features(query.features),
            allowed_I=allowed_T,
            exclude=None if query.exclude is None else tuple(self._items(row) for row in query.exclude),
            content=None if query.content is None else catalogue.renumbered(query.content, self.our_T),
        )
        ranking = self.model.recommend(translated, k)
        item_PK = np.where(ranking.item_PK >= 0, self.our_T[np.maximum(ranking.item_PK, 0)], -1).astype(
            np.int32
        )
        return replace(ranking, item_PK=item_PK)

    def save(self, folder: Path) -> None:
        """Save the model itself, in its own numbers."""
        self.model.save(folder)

    def _items(self, items: Sequence[int] | np.ndarray) -> np.ndarray:
        theirs = self.their_I[np.asarray(items, np.int64)]
        return theirs[theirs >= 0]

    def _history(self, history: Interactions) -> Interactions:
        kept = history.where(self.their_I[history.item_N] >= 0)
        return replace(kept, item_N=self.their_I[kept.item_N], items=len(self.our_T))

    def _features(self, features: Features) -> Features:
        item_TF = np.full((len(self.our_T), features.item_IF.shape[1]), np.nan, np.float32)
        known_T = self.our_T >= 0
        item_TF[known_T] = features.item_IF[self.our_T[known_T]]
        theirs_N = self.their_I[features.pair_item_N]
        order_N = np.flatnonzero(theirs_N >= 0)
        order_N = order_N[np.lexsort((theirs_N[order_N], features.pair_person_N[order_N]))]
        return replace(
            features,
            item_IF=item_TF,
            pair_person_N=features.pair_person_N[order_N],
            pair_item_N=theirs_N[order_N],
            pair_NF=features.pair_NF[order_N],
        )
