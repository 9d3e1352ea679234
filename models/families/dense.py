"""What families with a score for every item share: parts that bound memory, and popularity as the prior under the scores.

Shapes: P people, I items, K list length.
"""

from collections.abc import Callable

import numpy as np

from counterfoil.errors import InputError
from models.data import Interactions, Query, Ranking
from models.family import joined, top_k

# Of dense scores; selecting the best takes about three times as much. In the cache that is a quarter sooner than by 64 MiB.
PART_BYTES = 8 * 2**20


def rank(query: Query, k: int, source: str, score: Callable[[Query], np.ndarray]) -> Ranking:
    """Score the question part by part, `score(part)` giving float32 [P, I], and return the best `k` per person."""
    size = max(1, PART_BYTES // (4 * max(1, query.items)))
    return joined(top_k(score(part), part, k, source) for part in query.parts(size))


def check(query: Query, k: int, items: int) -> None:
    """Refuse what cannot be answered: InputError for k below 1, or a catalogue smaller than the one learned from."""
    if k < 1:
        raise InputError(f"k is {k}; ask for at least 1 item")
    if query.items < items:
        raise InputError(
            f"the question's catalogue has {query.items} items but the model learned {items}; "
            "ask with the item snapshot of the model's dataset, or a later one"
        )
    if query.allowed_I is not None and len(query.allowed_I) != query.items:
        raise InputError(
            f"allowed_I has {len(query.allowed_I)} entries for {query.items} items; give one per item"
        )
    if query.exclude is not None and len(query.exclude) != query.people:
        raise InputError(
            f"exclude has {len(query.exclude)} rows for {query.people} people; give one per person"
        )


def buyers(interactions: Interactions) -> np.ndarray:
    """Count the people who took each item, float32 [I]."""
    return interactions.matrix().getnnz(axis=0).astype(np.float32)


def padded(value_I: np.ndarray, items: int) -> np.ndarray:
    """Return `value_I` with zeros for items that came after the fit."""
    return value_I if len(value_I) == items else np.pad(value_I, (0, items - len(value_I)))


def popularity(query: Query, feature: str, buyers_I: np.ndarray) -> np.ndarray:
    """Return the item feature of that name, float32 [I]; the buyers learned at fit where the question does not bring it."""
    learned_I = padded(buyers_I, query.items)
    if feature not in query.features.item_names:
        return learned_I
    value_I = query.features.item(feature)
    return np.where(np.isfinite(value_I), value_I, 0.0).astype(np.float32)


def prior(query: Query, feature: str, buyers_I: np.ndarray, weight: float) -> np.ndarray:
    """Return popularity as the prior under scores, float32 [I]: `weight` for what sells most."""
    return np.float32(weight) * share(popularity(query, feature, buyers_I))


def share(value_I: np.ndarray) -> np.ndarray:
    """Scale to [0, 1] by the largest value; zeros stay zeros."""
    most = float(value_I.max(initial=0.0))
    return value_I / np.float32(most) if most > 0 else np.zeros_like(value_I)
