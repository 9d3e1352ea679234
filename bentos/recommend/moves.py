"""What would move an item in an answer: the fewest of the person's own items without which it stands lower, and one feature.

Measured: the model is asked again with less history, or with one feature changed, and the place is read off its answer.
The person's totals (baskets, spend ...) come from the online store and stay as they were. Shapes: I items, F features.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from bentos.recommend.flow import Answers, Chosen, Known, Question, Stages
from bentos.recommend.person import Person
from bentos.recommend.recent import leave_out
from models.data import Features, Interactions, Query

DEEPER = 20  # places below the list that are looked at too, to say where an item went
MOST_ITEMS = 300  # of a history, each of which is left out in turn: those taken most often
MOST_TOGETHER = 4  # items that are left out together before it is given up
SECOND_LOOK = 40  # items that are tried beside those left out already: those that helped most alone
AT_ONCE = 64  # questions per call, so that memory stays bounded
CODES = ("category_code",)  # numbers that only name something: there is no middle of them


def moves(
    answers: Answers, asked: Question, person: Person, known: Known, chosen: Chosen, places: list[int]
) -> dict[int, dict[str, Any]]:
    """Return by place of the answer (from 0) what the history, and what one feature, has to do with it."""
    if not places:
        return {}
    found = _Moves(answers, asked, person, known, chosen)
    return {place: {"without": found.without(place), "change": found.change(place)} for place in places}


class _Moves:
    """What would move items of one answer, asked of the model."""

    def __init__(
        self, answers: Answers, asked: Question, person: Person, known: Known, chosen: Chosen
    ) -> None:
        self.answers, self.asked, self.person, self.known, self.chosen = answers, asked, person, known, chosen
        wide = answers.chosen(known, asked.n + DEEPER)
        head = wide.item_K[: len(chosen.item_K)].tolist() == chosen.item_K.tolist()
        self.depth = (
            asked.n + DEEPER if head else asked.n
        )  # a list that changes with its length is not asked longer
        self.taken = _taken(known.history)
        self.tried = list(self.taken)[:MOST_ITEMS]
        self.alone = self._ask([self._left((one,)) for one in self.tried])

    def without(self, place: int) -> dict[str, Any] | None:
        """Return the smallest set of the person's items that was found without which the item stands lower."""
        if not self.taken:
            return None
        item, here = int(self.chosen.item_K[place]), place + 1
        gone = self._fewest(item, here)
        then = self._stands(self._left(gone), item)  # as one question, the way it was asked first
        names = [self._named(one) for one in gone]
        whole = len(gone) == len(self.taken)
        return {
            "left_out": names,
            "whole_history": whole,
            "place": here,
            "place_without": then,
            "looked_at": self.depth,
            "moves": _lower(then, here),
            "said": self._said(names, whole, here, then),
        }

    def _fewest(self, item: int, here: int) -> tuple[int, ...]:
        """Leave out one item, then one more beside the best, until the item stands lower; at last the whole history."""
        order = self.tried
        best = max(range(len(order)), key=lambda at: self.alone[at].get(item, _GONE))
        gone: tuple[int, ...] = (order[best],)
        place = _place(self.alone[best], item)
        near = sorted(range(len(order)), key=lambda at: self.alone[at].get(item, _GONE), reverse=True)
        near = near[:SECOND_LOOK]
        while not _lower(place, here) and len(gone) < min(MOST_TOGETHER, len(order)):
            sets = [(*gone, order[at]) for at in near if order[at] not in gone]
            if not sets:
                break
            stood = self._ask([self._left(one) for one in sets])
            at = max(range(len(sets)), key=lambda at: stood[at].get(item, _GONE))
            gone, place = sets[at], _place(stood[at], item)
        return gone if _lower(place, here) else tuple(self.taken)

    def _left(self, items: tuple[int, ...]) -> Known:
        """Return what is known without these items of the history; the person's totals stay as they were."""
        names = {self.answers.items.ids[one] for one in items}
        kept = np.array([name not in names for name in self.person.item_ids], bool)
        person = replace(
            self.person,
            item_ids=tuple(name for name in self.person.item_ids if name not in names),
            time_us_N=self.person.time_us_N[kept],
            quantity_N=self.person.quantity_N[kept],
        )
        used = leave_out(self.known.used, names)
        return self.answers.known(self.asked, person, Stages(), self.known.steer, used)

    def _stands(self, known: Known, item: int) -> int | None:
        """Return the place of an item in the answer to one question."""
        shown = self.answers.chosen(known, self.depth).item_K.tolist()
        return shown.index(item) + 1 if item in shown else None

    def _ask(self, variants: list[Known]) -> list[dict[int, tuple[int, float]]]:
        """Ask the model many questions at once; return by item its place and how little it leads, for each question.

        Greater pairs are further down: the place first, then how close the next one below is.
        """
        out: list[dict[int, tuple[int, float]]] = []
        for start in range(0, len(variants), AT_ONCE):
            part = variants[start : start + AT_ONCE]
            ranking = self.answers.loaded.model.recommend(_together([one.query for one in part]), self.depth)
            out += [
                _stood(items.tolist(), scores.tolist())
                for items, scores in zip(ranking.item_PK, ranking.score_PK, strict=True)
            ]
        return out

    def _named(self, item: int) -> dict[str, Any]:
        return {
            "item": self.answers.items.ids[item],
            "title": self.answers.items.titles[item],
            "purchases": self.taken[item],
        }

    def _said(self, names: list[dict[str, Any]], whole: bool, here: int, then: int | None) -> str:
        verb = "purchase" if self.answers.reasons.verb == "bought" else "choice"
        where = _where(then, self.depth)
        if whole and not _lower(then, here):
            return (
                f"its place does not rest on this person's history: without any of it, it would be at {where}"
            )
        if whole and len(names) > 1:
            return f"without any of this person's history it would be at {where} instead of {here}; no few items of it do that"
        counted = " and ".join(
            f"{one['purchases']} {verb}{'s' if one['purchases'] > 1 else ''} of {one['title']}"
            for one in names
        )
        return f"without this person's {counted} it would be at {where} instead of {here}"

    def change(self, place: int) -> dict[str, Any] | None:
        """Return the one feature of the item, or of the person, by which alone the item would stand furthest down."""
        item, here = int(self.chosen.item_K[place]), place + 1
        tried = [*self._of_item(item), *self._of_person()]
        stood = [(name, now, then, self._stands(known, item)) for name, now, then, known in tried]
        lower = [one for one in stood if _lower(one[3], here)]
        if not lower:
            said = f"no single feature moves it down: {len(tried)} were tried"
            return {"feature": None, "tried": len(tried), "place": here, "said": said}
        name, now, then, lowest = max(lower, key=lambda one: one[3] or self.depth + 1)
        middle = "unknown" if then is None else f"{then:.4g}, the middle of the catalogue,"
        where = _where(lowest, self.depth)
        return {
            "feature": name,
            "value": now,
            "value_then": then,
            "tried": len(tried),
            "place": here,
            "place_then": lowest,
            "said": f"if {name} were {middle} instead of {now:.4g}, it would be at {where} instead of {here}",
        }

    def _of_item(self, item: int) -> list[tuple[str, float, float | None, Known]]:
        """Return each feature of the item put to the middle of the catalogue."""
        features = self.known.features
        out: list[tuple[str, float, float | None, Known]] = []
        for f, name in enumerate(features.item_names):
            now, middle = float(features.item_IF[item, f]), _middle(features.item_IF[:, f])
            if name not in CODES and np.isfinite(now) and middle is not None and middle != now:
                item_IF = features.item_IF.copy(
                    order="F"
                )  # another matrix, since models remember the last one
                item_IF[item, f] = middle
                out.append((f"its {name}", now, middle, self._with(replace(features, item_IF=item_IF))))
        return out

    def _of_person(self) -> list[tuple[str, float, float | None, Known]]:
        """Return each feature of the person as if it were not known."""
        features = self.known.features
        out: list[tuple[str, float, float | None, Known]] = []
        for f, name in enumerate(features.person_names):
            now = float(features.person_PF[0, f])
            if np.isfinite(now):
                person_PF = features.person_PF.copy()
                person_PF[0, f] = np.nan
                known = self._with(replace(features, person_PF=person_PF))
                out.append((f"this person's {name}", now, None, known))
        return out

    def _with(self, features: Features) -> Known:
        return replace(self.known, features=features, query=replace(self.known.query, features=features))


_GONE = (1 << 30, 0.0)


def _taken(history: Interactions) -> dict[int, int]:
    """Return how often each item of a history was taken, the most often taken first."""
    item_G, count_G = np.unique(history.item_N, return_counts=True)
    order_G = np.lexsort((item_G, -count_G))
    return dict(zip(item_G[order_G].tolist(), count_G[order_G].tolist(), strict=True))


def _stood(items: list[int], scores: list[float]) -> dict[int, tuple[int, float]]:
    """Return by item its place, and its lead over the next one below, the smaller the greater."""
    out = {}
    for place, (item, score) in enumerate(zip(items, scores, strict=True), start=1):
        if item >= 0:
            below = scores[place] if place < len(scores) and np.isfinite(scores[place]) else score
            out[item] = (place, below - score)
    return out


def _place(stood: dict[int, tuple[int, float]], item: int) -> int | None:
    return stood[item][0] if item in stood else None


def _lower(place: int | None, here: int) -> bool:
    return place is None or place > here


def _where(place: int | None, depth: int) -> str:
    return f"no place of the first {depth}" if place is None else f"place {place}"


def _middle(value_I: np.ndarray) -> float | None:
    finite_I = value_I[np.isfinite(value_I)]
    return float(np.median(finite_I)) if len(finite_I) else None


def _together(queries: list[Query]) -> Query:
    """Return the questions of several people, one row each, as one question; all are asked of the same catalogue and moment."""
    first, counts_R = queries[0], [len(query.history) for query in queries]
    pairs_R = [len(query.features.pair_item_N) for query in queries]
    rows = np.arange(len(queries), dtype=np.int32)
    history = Interactions(
        person_N=np.repeat(rows, counts_R),
        item_N=np.concatenate([query.history.item_N for query in queries]),
        time_N=np.concatenate([query.history.time_N for query in queries]),
        weight_N=np.concatenate([query.history.weight_N for query in queries]),
        people=len(queries),
        items=first.items,
    )
    features = replace(
        first.features,
        person_PF=np.concatenate([query.features.person_PF for query in queries]),
        pair_person_N=np.repeat(rows, pairs_R),
        pair_item_N=np.concatenate([query.features.pair_item_N for query in queries]),
        pair_NF=np.concatenate([query.features.pair_NF for query in queries]),
    )
    nothing = (np.zeros(0, np.int32),)
    exclude = None
    if any(query.exclude is not None for query in queries):
        exclude = tuple(one for query in queries for one in (query.exclude or nothing))
    return replace(first, history=history, features=features, exclude=exclude)
