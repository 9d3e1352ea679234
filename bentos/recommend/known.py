"""What is known when a question is asked: the person with recent events, features, and what may be in the answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bentos.recommend.asked import Question
from bentos.recommend.person import Person
from bentos.recommend.query import features_of, history_of, lines_of, question
from bentos.recommend.recent import Used, interests, joined
from bentos.recommend.request import Filters
from bentos.recommend.rules import Catalogue, Rules
from bentos.recommend.steer import Steer, Steering
from bentos.snapshot import Snapshot
from models.data import Features, Interactions, Query, untimed


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What an answer is made of. `person` is as the online store has them, `history` has the recent purchases too.

    `here` are the items of this session, the latest first, `anchors` those that the question names, int32; `excluded` what may
    not be answered, None: everything may.
    """

    asked: Question
    person: Person
    used: Used
    history: Interactions
    features: Features
    rules: Rules
    steer: Steer
    steering: Steering
    query: Query
    here: np.ndarray
    anchors: np.ndarray
    did: Mapping[
        int, tuple[str, int]
    ]  # what was done last with the items of this session, and when, in microseconds

    @property
    def excluded(self) -> np.ndarray | None:
        """Items that may not be answered."""
        return None if self.query.exclude is None else self.query.exclude[0]


_NONE = np.zeros(0, np.int32)


def gather(
    asked: Question,
    person: Person,
    used: Used,
    steer: Steer,
    items: Snapshot,
    catalogue: Catalogue,
    about: Mapping[str, Any],
    lap: Callable[[str], None] = untimed,
) -> Known:
    """Return what is known for a question; `lap` is told of the steps of whoever answers it."""
    as_of_us, cap = asked.as_of_us, about["history_cap"]
    whole = joined(person, used.events, about["history_kinds"])
    lines = lines_of(whole, items, as_of_us)
    history = history_of(lines, items, cap)
    features = features_of(person, lines, items, about, as_of_us, cap)
    steering = steer.at(as_of_us, asked.route)
    rules = catalogue.rules(_filters(asked.filters, steer), history, as_of_us)
    did = {items.index[item]: last for item, last in interests(used.events).items() if item in items.index}
    anchors = _numbers(asked.items, items)
    parts = (rules.excluded, steering.excluded, _numbers(used.tired, items), anchors)
    excluded = _joined(parts)
    said = [*rules.said, *steering.said]
    if used.tired:
        said.append(f"{len(used.tired)} items rest that were shown often and not taken up")
    return Known(
        asked=asked,
        person=person,
        used=used,
        history=history,
        features=features,
        rules=Rules(allowed_I=rules.allowed_I, excluded=rules.excluded, said=tuple(said)),
        steer=steer,
        steering=steering,
        query=question(history, features, as_of_us, rules.allowed_I, excluded, items.content, lap),
        here=np.array(list(did), np.int32) if did else _NONE,
        anchors=anchors,
        did=did,
    )


def _filters(filters: Filters, steer: Steer) -> Filters:
    """Return the filters with what the rules always ask for."""
    always = {
        name: True
        for name in ("in_stock", "exclude_bought")
        if getattr(steer.rules, name) and not getattr(filters, name)
    }
    return filters.model_copy(update=always) if always else filters


def _numbers(ids: tuple[str, ...], items: Snapshot) -> np.ndarray:
    """Return the numbers of those items that the catalogue has, each once, in their order."""
    if not ids:
        return _NONE
    return np.array(list(dict.fromkeys(items.index[id] for id in ids if id in items.index)), np.int32)


def _joined(parts: tuple[np.ndarray | None, ...]) -> np.ndarray | None:
    some = [part for part in parts if part is not None and len(part)]
    if not some:
        return parts[0]
    return some[0] if len(some) == 1 and some[0] is parts[0] else np.unique(np.concatenate(some))
