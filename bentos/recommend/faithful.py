"""Whether reasons are faithful: an item sinks when the evidence that its reason cites is taken away, and not when other is.

Deletion, as of DeYoung et al., ERASER, ACL 2020 (comprehensiveness), by place instead of score. Each case takes one reason of one
item: once what it cites is left out, once as much of the same sort, drawn at random.
"""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bentos.recommend import sources
from bentos.recommend.asked import Question
from bentos.recommend.choose import Chooser
from bentos.recommend.flow import Answers, Stages
from bentos.recommend.known import Known
from bentos.recommend.person import Person, Recent
from bentos.recommend.reasons import BESIDES, OTHERS, Reason
from bentos.recommend.recent import leave_out
from bentos.recommend.request import Filters
from bentos.snapshot import Snapshot
from bentos.startup import Loaded
from feature_repo.transforms import AFFINITIES
from models.data import Query, Ranking

LENGTH = 10  # of the lists that are measured
DEEPER = 30  # places below the list that are looked at too
CART, VISIT, MINUTE_US = (
    5,
    5,
    60_000_000,
)  # items of a cart, and of a session, in which a minute lies between two
FILLING = (sources.HABIT, sources.GOES_WITH, sources.BRAND, sources.SEGMENT, sources.POPULAR)
VISITED = 2_000  # items that sell most, of which sessions are made
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
    answers: Answers,
    asked: Question,
    person: Person,
    random: np.random.Generator,
    n: int,
    of: str | None = None,
) -> list[Case]:
    """Return the cases of one answer, or of what one source alone proposed: every reason whose evidence can be taken away."""
    known = answers.known(asked, person, Stages())
    chosen = answers.chosen(known, n)
    before = _places(answers, known, n)
    out = []
    for item, names, reasons in zip(
        chosen.item_K.tolist(), chosen.sources, answers.reasons.evidence(chosen, known), strict=True
    ):
        for reason in reasons if of is None or names == (of,) else ():
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


def _alone(answers: Answers, name: str) -> Answers:
    """Return answers of one source, where the model proposes nothing."""
    other = copy.copy(answers)
    other.loaded = replace(answers.loaded, model=Silent())
    other.chooser = Chooser(answers.items, answers.chooser.usual, name)
    return other


class Silent:
    """A model that proposes nothing, so that what fills a list up stands alone."""

    def recommend(self, query: Query, k: int) -> Ranking:
        """Return no item for anybody."""
        none = np.zeros((query.people, 0), np.int32)
        return Ranking(
            item_PK=none, score_PK=none.astype(np.float32), sources=(), source_PK=none.astype(np.uint8)
        )

    def save(self, folder: Path) -> None:
        """Nothing is to be written."""


def measured(loaded: Loaded, query: Query) -> list[list[Any]]:
    """Return how faithful each kind of reason is on this model, in all and by who proposed the item.

    Rows are [kind, sources, cases, share that sank without what was cited, share that sank without as much of other]; sources
    None is whatever the model had a part in, OTHERS all that it had none in. The bento keeps them: what fails is not given.

    Of answers to the people of the question, and to nobody: as they come, in a session, to a cart, and of each source that fills
    lists up by itself.
    """
    answers, random = Answers(loaded), np.random.default_rng(0)
    others = {name: _alone(answers, name) for name in FILLING}
    moment = datetime.fromtimestamp(query.as_of_us / 1e6, UTC)
    asked = Question(person="measured", n=LENGTH, filters=Filters(), moment=moment, recorded={})
    found: list[Case] = []

    def ask(who: Answers, somebody: Person, of: str | None = None, **changes: Any) -> None:
        found.extend(cases(who, replace(asked, **changes), somebody, random, LENGTH, of))

    for person in (*_people(loaded, query), Person()):
        seen = _visit(loaded.snapshot, query.as_of_us, random)
        ask(answers, person)
        for name, one in others.items():
            if name != sources.POPULAR or not person.item_ids:  # that is the same for everybody
                ask(one, person, name)
        ask(answers, replace(person, recent=seen))
        ask(answers, Person(recent=seen), route="next", person=None)
        ask(answers, person, route="cart", items=_cart(person, seen, random))
    groups: dict[tuple[str, tuple[str, ...] | None], list[Case]] = {}
    for case in found:
        groups.setdefault((case.kind, OTHERS if BESIDES.issuperset(case.sources) else None), []).append(case)
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
    """Yield the people of a question as the online store would have them."""
    names, history = query.features.person_names, query.history
    for row in range(query.people):
        span = slice(history.indptr[row], history.indptr[row + 1])
        aisle_N = loaded.snapshot.aisle.code_I[history.item_N[span]]
        yield Person(
            features=dict(zip(names, query.features.person_PF[row].tolist(), strict=True)),
            item_ids=tuple(loaded.snapshot.ids[item] for item in history.item_N[span].tolist()),
            time_us_N=history.time_N[span],
            quantity_N=history.weight_N[span],
            affinity=_affinity(loaded.snapshot, aisle_N[aisle_N > 0]),
        )


def _affinity(items: Snapshot, aisle_N: np.ndarray) -> dict[str, float]:
    """Return which part of a history lies in which aisle, the largest first, as features have it."""
    count_C = np.bincount(aisle_N, minlength=len(items.aisle.names))
    best = np.argsort(-count_C, kind="stable")[:AFFINITIES]
    return {items.aisle.names[code]: count_C[code] / len(aisle_N) for code in best.tolist() if count_C[code]}


def _visit(items: Snapshot, as_of_us: int, random: np.random.Generator) -> Recent:
    """Return a session in which some of what sells was looked at, a minute apart."""
    selling_I = items.popular_I[:VISITED]
    seen = random.choice(selling_I, min(VISIT, len(selling_I)), replace=False).tolist()
    return Recent(
        item_ids=tuple(items.ids[item] for item in seen),
        kinds=("view",) * len(seen),
        time_us_N=as_of_us - MINUTE_US * np.arange(len(seen), 0, -1),
        quantity_N=np.ones(len(seen), np.float32),
        here_N=np.ones(len(seen), bool),
    )


def _cart(person: Person, seen: Recent, random: np.random.Generator) -> tuple[str, ...]:
    """Return items of somebody's history; of a session where there is none."""
    names = sorted(set(person.item_ids)) or list(seen.item_ids)
    return tuple(random.choice(names, min(CART, len(names)), replace=False).tolist())
