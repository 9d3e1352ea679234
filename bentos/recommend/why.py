"""Why an item stands where it stands: who proposed it, the evidence behind its reasons, the parts of its score.

What would move it is asked in moves.py.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from bentos.recommend.flow import Answers, Question, Stages
from bentos.recommend.moves import moves
from bentos.recommend.person import Person
from bentos.recommend.reasons import BESIDES, Reason
from bentos.recommend.recent import Used
from bentos.recommend.steer import Steer
from counterfoil import canonical
from models.data import Interactions
from models.explain import SCORE, Explanation, Part, Proposal, explained

TOLERANCE = 1e-4


def told(
    answers: Answers,
    asked: Question,
    person: Person,
    recorded: Sequence[str],
    item: str | None,
    steer: Steer | None = None,
    used: Used | None = None,
) -> dict[str, Any]:
    """Return why each of the answer's items, or one of them, stands where it stands. KeyError when it is not in the answer."""
    known = answers.known(asked, person, Stages(), steer, used)
    chosen = answers.chosen(known, asked.n)
    ids = [answers.items.ids[one] for one in chosen.item_K.tolist()]
    if item is not None and item not in ids:
        raise KeyError(f"{item} is not among the {len(ids)} items of the answer")
    places = [place for place, one in enumerate(ids) if item is None or one == item]
    reasons = answers.reasons.evidence(chosen, known)
    of_model = [place for place in places if not BESIDES.issuperset(chosen.sources[place])]
    how = dict(
        zip(
            of_model,
            explained(answers.loaded.model, known.query, chosen.item_K[of_model], asked.n),
            strict=True,
        )
    )
    # Of a list that was ordered anew, the model's own places are not those of the answer.
    moved = moves(answers, asked, person, known, chosen, of_model if chosen.by_model else [])
    return {
        "same": ids == list(recorded),
        "n": asked.n,
        "items": [
            {
                "item": ids[place],
                "title": answers.items.titles[int(chosen.item_K[place])],
                "place": place + 1,
                "score": float(chosen.score_K[place]),
                "sources": list(chosen.sources[place]),
                "reasons": [
                    _reason(one, int(chosen.item_K[place]), known.history, answers) for one in reasons[place]
                ],
                "explanation": _explanation(how[place], float(chosen.score_K[place]), answers)
                if place in how
                else None,
                **moved.get(place, {"without": None, "change": None}),
            }
            for place in places
        ],
    }


def _reason(reason: Reason, item: int, history: Interactions, answers: Answers) -> dict[str, Any]:
    """Return a reason with its evidence: counts, and the lines of the person's history that it speaks of."""
    counts = dict(reason.counts)
    lines: list[dict[str, Any]] = []
    if reason.kind == "own":
        lines = _lines(item, history, answers)
    elif "partner" in counts:
        lines = _lines(counts["partner"], history, answers) if reason.kind == "together" else []
        counts["partner"] = answers.items.ids[counts["partner"]]
    return {"said": reason.said, "kind": reason.kind, "counts": canonical.plain(counts), "purchases": lines}


def _lines(item: int, history: Interactions, answers: Answers) -> list[dict[str, Any]]:
    """Return when the person took an item, and how many, the latest first."""
    at_N = np.flatnonzero(history.item_N == item)[::-1]
    return [
        {
            "item": answers.items.ids[item],
            "title": answers.items.titles[item],
            "time": canonical.utc_text(datetime.fromtimestamp(int(history.time_N[at]) / 1e6, UTC)),
            "quantity": float(history.weight_N[at]),
        }
        for at in at_N.tolist()
    ]


def _explanation(how: Explanation, score: float, answers: Answers) -> dict[str, Any]:
    """Return an explanation by ids and titles, the largest part first, and by how much its parts miss the total and the score."""
    added = how.bias + sum(part.added for part in how.parts)
    missed = None if how.total is None else added - how.total
    of_score = None if how.total is None or how.of != SCORE else how.total - score
    gaps = [abs(gap) for gap in (missed, of_score) if gap is not None]
    return {
        "method": how.method,
        "said": how.said,
        "total": how.total,
        "of": how.of,
        "bias": how.bias,
        "missed": missed,
        "adds_up": max(gaps) <= TOLERANCE * max(1.0, abs(score)) if gaps else None,
        "parts": [_part(part, answers) for part in sorted(how.parts, key=lambda part: -abs(part.added))],
        "members": [_proposal(one, answers) for one in how.members],
    }


def _part(part: Part, answers: Answers) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": part.name,
        "value": part.value if np.isfinite(part.value) else None,
        "added": part.added,
    }
    if part.item is not None:
        shown |= {"item": answers.items.ids[part.item], "title": answers.items.titles[part.item]}
    return shown


def _proposal(one: Proposal, answers: Answers) -> dict[str, Any]:
    how = None if one.explanation is None else _explanation(one.explanation, one.score, answers)
    return {"member": one.member, "place": one.place, "score": one.score, "explanation": how}
