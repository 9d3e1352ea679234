"""Popularity as the prior under a family's scores: who is unknown gets what sells, and equals are told apart by it.

Worked out once per matrix of item features, since a service asks with the same one again and again. Shapes: I items, L places.
"""

from dataclasses import dataclass, replace

import numpy as np

from models.data import Query
from models.families import dense
from models.family import best_of

LEADING = (
    4096  # places of the order that are kept; the whole of it is sorted out only when somebody looks deeper
)


@dataclass(frozen=True)
class _Held:
    """What belongs to one matrix; the matrix is held too, so that no other one can take its place in memory."""

    item_IF: np.ndarray
    value_I: np.ndarray
    order_L: np.ndarray


class Prior:
    """The share of each item in what sells, times a weight; ties in its order go to the lower index.

    Without a weight: what sells as it is counted, and of equals the one that more people took when the model was fitted.
    """

    def __init__(
        self, buyers_I: np.ndarray, *, feature: str, weight: float | None = None, held: int = LEADING
    ) -> None:
        self.buyers_I = buyers_I
        self.feature = feature
        self.weight = weight
        self.held = held
        self._held: _Held | None = None

    def of(self, query: Query) -> np.ndarray:
        """Return the prior, float32 [I], not to be written to."""
        return self._of(query).value_I

    def leading(self, query: Query, count: int) -> np.ndarray:
        """Return the `count` items with the highest prior among those that the question allows, best first, int32."""
        held = self._of(query)
        found_L = _allowed(held.order_L, query)
        if len(found_L) < count and len(held.order_L) < query.items:
            held = self._held = replace(held, order_L=self._order(held.value_I, query.items))
            found_L = _allowed(held.order_L, query)
        return found_L[:count]

    def _of(self, query: Query) -> _Held:
        held, item_IF = self._held, query.features.item_IF
        if held is None or held.item_IF is not item_IF or len(held.value_I) != query.items:
            asked = (query, self.feature, self.buyers_I)
            value_I = dense.popularity(*asked) if self.weight is None else dense.prior(*asked, self.weight)
            held = self._held = _Held(item_IF, value_I, self._order(value_I, min(self.held, query.items)))
        return held

    def _order(self, value_I: np.ndarray, count: int) -> np.ndarray:
        """Return the first `count` items, best first."""
        if self.weight is not None:
            return best_of(value_I, count).astype(np.int32)
        buyers_I = dense.padded(self.buyers_I, len(value_I))
        least = value_I[best_of(value_I, count)[-1]] if len(value_I) else 0.0
        pool = np.flatnonzero(value_I >= least)
        return pool[np.lexsort((pool, -buyers_I[pool], -value_I[pool]))][:count].astype(np.int32)


def _allowed(order_L: np.ndarray, query: Query) -> np.ndarray:
    return order_L if query.allowed_I is None else order_L[query.allowed_I[order_L]]
