"""Whether reasons are faithful: an item sinks when the evidence that its reason cites is taken away, and not when other is.

Deletion, as of DeYoung et al., ERASER, ACL 2020 (comprehensiveness), by place instead of score. Each case takes one reason of one
item: once what it cites is left out, once as much of the same sort, drawn at random.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from bentos.recommend.asked import Question
from bentos.recommend.flow import Answers, Stages
from bentos.recommend.known import Known
from bentos.recommend.person import Person
from bentos.recommend.reasons import Reason
from bentos.recommend.recent import leave_out
from bentos.recommend.request import Filters
from bentos.snapshot import Snapshot
from bentos.startup import Loaded
from models.data import Query

LENGTH = 10  # of the lists that are measured
DEEPER = 30  # places below the list that are looked at too
SALES = ("popularity", "buyers", "trend", "category_share")  # how item features begin that count sales


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One reason of one item: whether the item sank without what it cites, and without as much drawn at random."""

    kind: str
    sources: tuple[str, ...]
    cited: bool
    drawn: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """What is left out: lines of the history, items of the session or the cart, a favourite shelf, an item's sales."""

    lines: np.ndarray | None = None  # bool, of the person's lines
    names: frozenset[str] = frozenset()  # of recent events and of what was named
    shelf: str | None = None
    sales: int | None = None


def cases(
    answers: Answers, asked: Question, person: Person, random: np.random.Generator, n: int
) -> list[Case]:
    """Return the cases of one answer: every reason that cites evidence which can be taken away."""
    known = answers.known(asked, person, Stages())
    chosen = answers.chosen(known, n)
    before = _places(answers, known, n)
    out = []
    for item, names, reasons in zip(
        chosen.item_K.tolist(), chosen.sources, answers.reasons.evidence(chosen, known), strict=True
    ):
        for reason in reasons:
            cited = _cited(reason, item, known, answers.items)
            if cited is None:
                continue
            drawn = _drawn(cited, item, known, answers.items, random)
            if drawn is None:
                continue
            sank = [_sinks(answers, known, taken, item, before, n) for taken in (cited, drawn)]
            out.append(Case(kind=reason.kind, sources=names, cited=sank[0], drawn=sank[1]))
    return out


def _places(answers: Answers, known: Known, n: int) -> dict[int, int]:
    found = answers.chosen(known, n + DEEPER).item_K.tolist()
    return {item: place for place, item in enumerate(found)}


def _sinks(answers: Answers, known: Known, taken: Taken, item: int, before: dict[int, int], n: int) -> bool:
    """Say whether the item stands lower; what was taken out of a cart and is answered itself now does not count."""
    less, left = without(answers, known, taken)
    back = {answers.items.index[name] for name in taken.names if name in answers.items.index} - {item}
    found = [one for one in less.chosen(left, n + DEEPER).item_K.tolist() if one not in back]
    after = found.index(item) if item in found else n + DEEPER
    return after > before.get(item, n + DEEPER)


def without(answers: Answers, known: Known, taken: Taken) -> tuple[Answers, Known]:
    """Return who answers and what is known where that is left out."""
    person, asked, used = known.person, known.asked, known.used
    if taken.lines is not None:
        person = _fewer(person, ~taken.lines)
    if taken.shelf is not None:
        person = replace(
            person, affinity={name: share for name, share in person.affinity.items() if name != taken.shelf}
        )
    if taken.names:
        used = leave_out(used, taken.names)
        asked = replace(asked, items=tuple(name for name in asked.items if name not in taken.names))
    if taken.sales is not None:
        answers = answers.over(_unsold(answers, taken.sales))
    return answers, answers.known(asked, person, Stages(), known.steer, used)


def _fewer(person: Person, kept_N: np.ndarray) -> Person:
    return replace(
        person,
        item_ids=tuple(np.array(person.item_ids, object)[kept_N].tolist()),
        time_us_N=person.time_us_N[kept_N],
        quantity_N=person.quantity_N[kept_N],
    )


def _unsold(answers: Answers, item: int) -> Snapshot:
    """Return a catalogue in which an item never sold."""
    items, about = answers.items, answers.about
    recent_I, item_IF = items.recent_I.copy(), items.item_IF.copy(order="F")
    recent_I[item] = 0
    item_IF[item, [at for at, name in enumerate(about["item_names"]) if name.startswith(SALES)]] = 0
    popular_I = np.append(items.popular_I[items.popular_I != item], item).astype(np.int32)
    return replace(items, recent_I=recent_I, item_IF=item_IF, popular_I=popular_I)


def _cited(reason: Reason, item: int, known: Known, items: Snapshot) -> Taken | None:
    """Return what a reason cites; None where that cannot be taken away (the question itself), or is all that there is."""
    if reason.kind == "own":
        return _of_items({items.ids[item]}, known)
    if reason.kind == "together":
        return _of_items({items.ids[reason.counts["partner"]]}, known)
    if reason.kind in ("cart", "session"):
        name = items.ids[reason.counts["partner"]]
        others = [one for one in (known.asked.items or known.used.events.item_ids) if one != name]
        return Taken(names=frozenset({name})) if others else None
    if reason.kind == "shelf":
        return Taken(shelf=reason.counts["shelf"]) if len(known.person.affinity) > 1 else None
    if reason.kind == "selling":
        return Taken(sales=item)
    if reason.kind == "brand":
        code = items.brand.code[reason.counts["brand"]]
        there = set(known.history.item_N[items.brand.code_I[known.history.item_N] == code].tolist())
        return _of_items({items.ids[one] for one in there}, known)
    return None


def _of_items(names: set[str], known: Known) -> Taken | None:
    lines = np.array([name in names for name in known.person.item_ids], bool)
    return Taken(lines=lines, names=frozenset(names)) if lines.any() and not lines.all() else None


def _drawn(
    cited: Taken, item: int, known: Known, items: Snapshot, random: np.random.Generator
) -> Taken | None:
    """Return as much of the same sort as was cited, drawn from what was not cited; None where there is none."""
    if cited.lines is not None:
        own = items.ids[item]
        free = np.flatnonzero(
            [not gone and name != own for gone, name in zip(cited.lines, known.person.item_ids, strict=True)]
        )
        count = min(int(cited.lines.sum()), len(free))
        lines = np.zeros(len(cited.lines), bool)
        lines[random.choice(free, count, replace=False)] = True
        return Taken(lines=lines) if count else None
    if cited.names:
        return _one_of(sorted({*known.asked.items, *known.used.events.item_ids} - cited.names), random)
    if cited.shelf is not None:
        others = [name for name in known.person.affinity if name != cited.shelf]
        return Taken(shelf=others[int(random.integers(len(others)))])
    return Taken(sales=int(random.integers(len(items))))


def _one_of(names: Sequence[str], random: np.random.Generator) -> Taken | None:
    return Taken(names=frozenset({names[int(random.integers(len(names)))]})) if names else None


def shares(found: Iterable[Case]) -> dict[str, tuple[int, float, float]]:
    """Return by kind how many cases there are, and in which shares of them the item sank: what was cited gone, other gone."""
    by_kind: dict[str, list[Case]] = {}
    for case in found:
        by_kind.setdefault(case.kind, []).append(case)
    return {
        kind: (
            len(some),
            sum(case.cited for case in some) / len(some),
            sum(case.drawn for case in some) / len(some),
        )
        for kind, some in sorted(by_kind.items())
    }


def measured(loaded: Loaded, query: Query) -> list[list[Any]]:
    """Return how faithful each kind of reason is on this model, in all and by who proposed the item.

    Rows are [kind, sources or None, cases, share that sank without what was cited, share that sank without as much of other], of
    answers to the people of the question and to nobody. The bento keeps them: kinds that do not hold are not given.
    """
    answers, random, found = Answers(loaded), np.random.default_rng(0), []
    moment = datetime.fromtimestamp(query.as_of_us / 1e6, UTC)
    asked = Question(person="measured", n=LENGTH, filters=Filters(), moment=moment, recorded={})
    nobody = Person()
    for person in (*_people(loaded, query), nobody):
        found += cases(answers, asked, person, random, LENGTH)
    groups: dict[tuple[str, tuple[str, ...] | None], list[Case]] = {}
    for case in found:
        groups.setdefault((case.kind, None), []).append(case)
        groups.setdefault((case.kind, case.sources), []).append(case)
    return [
        [
            kind,
            None if names is None else list(names),
            len(some),
            _share(some, "cited"),
            _share(some, "drawn"),
        ]
        for (kind, names), some in sorted(groups.items(), key=lambda group: (group[0][0], group[0][1] or ()))
    ]


def _share(some: Sequence[Case], name: str) -> float:
    return round(sum(getattr(case, name) for case in some) / len(some), 3)


def _people(loaded: Loaded, query: Query) -> Iterable[Person]:
    """Yield the people of a question as the online store would have them, but for their favourite shelves."""
    names, history = query.features.person_names, query.history
    for row in range(query.people):
        span = slice(history.indptr[row], history.indptr[row + 1])
        yield Person(
            features=dict(zip(names, query.features.person_PF[row].tolist(), strict=True)),
            item_ids=tuple(loaded.snapshot.ids[item] for item in history.item_N[span].tolist()),
            time_us_N=history.time_N[span],
            quantity_N=history.weight_N[span],
        )
