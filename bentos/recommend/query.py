"""From a person to a question that a model understands: indices instead of ids, features in the model's order."""

from collections.abc import Mapping
from itertools import repeat

import numpy as np

from bentos.recommend.person import Person
from bentos.snapshot import Snapshot
from feature_repo.transforms import PAIR_FEATURES, pair_features
from models.data import Content, Features, Interactions, Query


def history_of(person: Person, items: Snapshot, as_of_us: int, cap: int) -> Interactions:
    """Return the person's latest `cap` interactions before `as_of_us` with items of the catalogue, as one row."""
    index_N = np.fromiter(map(items.index.get, person.item_ids, repeat(-1)), np.int32, len(person.item_ids))
    kept_N = np.flatnonzero((index_N >= 0) & (person.time_us_N < as_of_us) & (person.quantity_N > 0))
    item_N, time_N = index_N[kept_N], person.time_us_N[kept_N]
    order_N = np.lexsort((item_N, time_N))[-cap:]
    return Interactions(
        person_N=np.zeros(len(order_N), np.int32),
        item_N=item_N[order_N],
        time_N=time_N[order_N],
        weight_N=person.quantity_N[kept_N][order_N],
        people=1,
        items=len(items),
    )


def features_of(
    person: Person, items: Snapshot, about: Mapping[str, list[str]], as_of_us: int, cap: int
) -> Features:
    """Return person, item and pair features at `as_of_us`, named and ordered as the model learned them.

    Pairs are computed of the whole history, and those with items of the catalogue kept: a share of baskets is of all baskets.
    """
    pairs = pair_features(*_whole(person, items, as_of_us, cap), as_of_us)
    kept_R = np.flatnonzero(pairs.item_R < len(items))
    columns = [PAIR_FEATURES.index(name) for name in about["pair_names"]]
    values = [person.features.get(name, np.nan) for name in about["person_names"]]
    return Features(
        person_names=tuple(about["person_names"]),
        item_names=tuple(about["item_names"]),
        pair_names=tuple(about["pair_names"]),
        person_PF=np.array([values], np.float32),
        item_IF=items.item_IF,
        pair_person_N=np.zeros(len(kept_R), np.int32),
        pair_item_N=pairs.item_R[kept_R].astype(np.int32),
        pair_NF=pairs.feature_RF[kept_R][:, columns],
    )


def _whole(
    person: Person, items: Snapshot, as_of_us: int, cap: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return items, times, quantities of the latest `cap` interactions; items outside the catalogue get numbers after it."""
    strangers: dict[str, int] = {}
    numbers = [
        items.index[name] if name in items.index else strangers.setdefault(name, len(items) + len(strangers))
        for name in person.item_ids
    ]
    item_N = np.array(numbers, np.int32)
    kept_N = np.flatnonzero((person.time_us_N < as_of_us) & (person.quantity_N > 0))
    order_N = kept_N[np.lexsort((item_N[kept_N], person.time_us_N[kept_N]))][-cap:]
    return item_N[order_N], person.time_us_N[order_N], person.quantity_N[order_N]


def question(
    history: Interactions,
    features: Features,
    as_of_us: int,
    allowed_I: np.ndarray | None,
    excluded: np.ndarray | None,
    content: Content,
) -> Query:
    """Return the question for one person."""
    return Query(
        history=history,
        as_of_us=as_of_us,
        features=features,
        allowed_I=allowed_I,
        exclude=None if excluded is None else (excluded,),
        content=content,
    )
