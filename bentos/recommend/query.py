"""From a person to a question that a model understands: indices instead of ids, features in the model's order."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from bentos.recommend.person import Person
from bentos.snapshot import Snapshot
from feature_repo.transforms import PAIR_FEATURES, pair_features
from models.data import Content, Features, Interactions, Query, untimed


@dataclass(frozen=True, kw_only=True, slots=True)
class Lines:
    """A person's interactions before a moment, by time, then item; items outside the catalogue have numbers after it."""

    item_N: np.ndarray  # int32
    time_N: np.ndarray  # int64, microseconds
    quantity_N: np.ndarray  # float32


def lines_of(person: Person, items: Snapshot, as_of_us: int) -> Lines:
    """Number the person's interactions by the catalogue; what happened at `as_of_us` or later, or came back, is left out."""
    count = len(person.item_ids)
    item_N = np.fromiter(map(items.index.get, person.item_ids, repeat(-1, count)), np.int32, count)
    strangers: dict[str, int] = {}
    for row in np.flatnonzero(item_N < 0).tolist():
        item_N[row] = strangers.setdefault(person.item_ids[row], len(items) + len(strangers))
    kept_N = np.flatnonzero((person.time_us_N < as_of_us) & (person.quantity_N > 0))
    order_N = kept_N[np.lexsort((item_N[kept_N], person.time_us_N[kept_N]))]
    return Lines(
        item_N=item_N[order_N], time_N=person.time_us_N[order_N], quantity_N=person.quantity_N[order_N]
    )


def history_of(lines: Lines, items: Snapshot, cap: int) -> Interactions:
    """Return the latest `cap` lines with items of the catalogue, as one row."""
    kept_N = np.flatnonzero(lines.item_N < len(items))[-cap:]
    return Interactions(
        person_N=np.zeros(len(kept_N), np.int32),
        item_N=lines.item_N[kept_N],
        time_N=lines.time_N[kept_N],
        weight_N=lines.quantity_N[kept_N],
        people=1,
        items=len(items),
    )


def features_of(
    person: Person, lines: Lines, items: Snapshot, about: Mapping[str, list[str]], as_of_us: int, cap: int
) -> Features:
    """Return person, item and pair features at `as_of_us`, named and ordered as the model learned them.

    Pairs are computed of the latest `cap` lines, and those with items of the catalogue kept: a share is of all baskets.
    """
    pairs = pair_features(lines.item_N[-cap:], lines.time_N[-cap:], lines.quantity_N[-cap:], as_of_us)
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


def question(
    history: Interactions,
    features: Features,
    as_of_us: int,
    allowed_I: np.ndarray | None,
    excluded: np.ndarray | None,
    content: Content,
    lap: Callable[[str], None] = untimed,
) -> Query:
    """Return the question for one person; `lap` is told of the model's steps."""
    return Query(
        history=history,
        as_of_us=as_of_us,
        features=features,
        allowed_I=allowed_I,
        exclude=None if excluded is None else (excluded,),
        content=content,
        lap=lap,
    )
