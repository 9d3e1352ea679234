"""How a model came to a score, where its score is a sum: the parts, and who proposed the item. Optional for a family.

A model that can tell has a method `explain`; of others `explained` says so. Nothing is estimated here: parts either add up to the
score, or there are none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from models.data import Query, Ranking
from models.family import Model

SCORE = "score"
NO_SUM = "its score is no sum of parts that each stand for one input; what it depends on can be asked by changing the input"


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one input added to a score: a signal with its value (NaN: absent), or an item of the history, by its number."""

    name: str
    value: float
    added: float
    item: int | None = None


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Bias and parts add up to `total`, which is the score, or else what `of` says; None where there is no sum.

    `members` are those that proposed the item, with its place in their lists (from 1) and how they came to it.
    """

    item: int
    method: str
    said: str
    total: float | None = None
    of: str = SCORE
    bias: float = 0.0
    parts: tuple[Part, ...] = ()
    members: tuple["Proposal", ...] = ()


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A member of an assembly that proposed an item."""

    member: str
    place: int
    score: float
    explanation: Explanation | None = None


def parts_of(names: Sequence[str], value_F: np.ndarray, added_B: np.ndarray) -> tuple[Part, ...]:
    """Return the parts of one row of a ranker: values [F] by name, and what each added [F + 1], the bias last and left out."""
    rows = zip(names, value_F.tolist(), added_B[:-1].tolist(), strict=True)
    return tuple(Part(name=name, value=value, added=added) for name, value, added in rows)


@runtime_checkable
class Explains(Protocol):
    """A model that can tell how it comes to its scores."""

    def explain(self, query: Query, item_N: np.ndarray, k: int) -> tuple[Explanation, ...]:
        """Return one explanation per item, for a question about one person of which `k` items are asked."""


def explained(model: Model, query: Query, item_N: np.ndarray, k: int) -> tuple[Explanation, ...]:
    """Return how the model came to the scores of these items, int [N], or that it cannot tell."""
    if isinstance(model, Explains):
        return model.explain(query, item_N, k)
    return tuple(Explanation(item=item, method="none", said=NO_SUM) for item in item_N.tolist())


def by_history(
    item: int,
    said: str,
    added: Mapping[int, float],
    weight: Mapping[int, float],
    prior: float,
    bias: float = 0.0,
) -> Explanation:
    """Return the explanation of a score that items of the history and what sells add up to.

    `added` says by item of the history what it added, `weight` how much of it was taken (decayed), its coefficient's factor.
    """
    parts = [
        Part(name="history", item=one, value=weight[one], added=value)
        for one, value in added.items()
        if value
    ]
    parts.append(Part(name="what sells", value=prior, added=prior))
    return Explanation(
        item=item,
        method="coefficient x value",
        said=said,
        total=bias + sum(part.added for part in parts),
        bias=bias,
        parts=tuple(parts),
    )


def proposals(
    models: Mapping[str, Model],
    lists: Sequence[Ranking],
    query: Query,
    item_N: np.ndarray,
    depth: int,
) -> list[tuple[Proposal, ...]]:
    """Return per item the members in whose lists it is; each list holds one person's."""
    out: list[list[Proposal]] = [[] for _ in item_N]
    for (name, model), ranking in zip(models.items(), lists, strict=True):
        place_I = {item: place for place, item in enumerate(ranking.item_PK[0].tolist(), 1) if item >= 0}
        held = [at for at, item in enumerate(item_N.tolist()) if item in place_I]
        told = explained(model, query, item_N[held], depth) if held else ()
        for at, explanation in zip(held, told, strict=True):
            place = place_I[int(item_N[at])]
            score = float(ranking.score_PK[0, place - 1])
            out[at].append(Proposal(member=name, place=place, score=score, explanation=explanation))
    return [tuple(found) for found in out]
