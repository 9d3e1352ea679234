"""Walks through the catalog: from anything back to what it came from, and on to what was made of it.

The edges of a walk come by one query, the nouns by another, however many there are.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Row, select, text

from counterfoil.catalog import codec, tables
from counterfoil.catalog.catalog import Catalog
from counterfoil.errors import IntegrityError, UnknownError
from counterfoil.types import Noun

AT_ONCE = 10_000  # ids in one query; SQLite takes 32,766 values
SHOWN = (
    "subject", "passed", "rows", "family", "seed", "number", "state", "value",
    "address", "sha256", "tag", "epoch", "verb", "as_of", "first_time",
    "last_time", "feature_service", "code_version", "approved_by", "units",
)  # fmt: skip
_BEFORE = text("""
WITH RECURSIVE reach(id) AS (
    SELECT CAST(:start AS VARCHAR(80)) UNION SELECT edge.parent FROM edge JOIN reach ON edge.child = reach.id)
SELECT edge.child, edge.parent FROM edge JOIN reach ON edge.child = reach.id ORDER BY edge.child, edge.role, edge.parent
""")


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One noun of a walk: how deep, by which nouns it was reached, and its record, decoded when it is asked for."""

    depth: int
    via: tuple[str, ...]
    id: str
    kind: str
    body: str

    @property
    def noun(self) -> Noun:
        """The noun itself; IntegrityError when its record cannot be read."""
        return codec.decode(self.kind, self.body)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reach:
    """What was made of some nouns: `made` of their very contents, `weighed` when they were only looked at for it.

    A decision that compared a model with others weighed it; what was then released need not hold anything of it.
    """

    made: frozenset[str]
    weighed: frozenset[str]


def backwards(catalog: Catalog, noun_id: str) -> list[Step]:
    """Return everything that the noun was made from, nearest first, each once. UnknownError when there is no such noun."""
    parents: dict[str, list[str]] = defaultdict(list)
    with catalog.reader.connect() as connection:
        for child, parent in connection.execute(_BEFORE, {"start": noun_id}):
            parents[child].append(parent)
    order: dict[str, tuple[int, list[str]]] = {noun_id: (0, [])}
    queue = [noun_id]
    for current in queue:
        for parent in parents[current]:
            if parent not in order:
                order[parent] = (order[current][0] + 1, [])
                queue.append(parent)
            order[parent][1].append(current)
    found = records(catalog, order)
    return [
        Step(depth=depth, via=tuple(via), id=name, kind=found[name].kind, body=found[name].body)
        for name, (depth, via) in order.items()
    ]


def records(catalog: Catalog, ids: Iterable[str]) -> dict[str, Row[Any]]:
    """Return (id, kind, body, recorded_at) of many nouns by id, in a few queries. UnknownError names the first that is none."""
    wanted, found = list(ids), {}
    columns = (tables.NOUN.c.id, tables.NOUN.c.kind, tables.NOUN.c.body, tables.NOUN.c.recorded_at)
    with catalog.reader.connect() as connection:
        for start in range(0, len(wanted), AT_ONCE):
            part = wanted[start : start + AT_ONCE]
            for row in connection.execute(select(*columns).where(tables.NOUN.c.id.in_(part))):
                found[row.id] = row
    missing = next((name for name in wanted if name not in found), None)
    if missing is not None:
        raise UnknownError(f"the catalog knows no {missing!r}; list what there is with `counterfoil models`")
    return found


def nouns(catalog: Catalog, ids: Iterable[str]) -> list[Noun]:
    """Return many nouns by id, in order. UnknownError names the first that is none."""
    wanted = list(ids)
    found = records(catalog, wanted)
    return [codec.decode(found[name].kind, found[name].body) for name in wanted]


def summary(step: Step) -> dict[str, Any]:
    """Return what a person wants to see of a noun in a chain: the digests and the few fields that name it."""
    try:
        body = orjson.loads(step.body)
        return {name: body[name] for name in SHOWN if name in body}
    except (ValueError, TypeError) as fault:
        raise IntegrityError(
            f"the record of {step.id} cannot be read ({fault}); run `counterfoil verify` to see what was altered"
        ) from fault


# By which edges contents pass on: from a noun of the first kind into those of the others. A bento holds its decision's winner,
# for which no edge of its own stands: that comes out of the bentos' records.
HOLDS = {
    "verdict": ("dataset",),
    "dataset": ("candidate", "attempt", "evaluation", "decision", "online", "bento"),
    "attempt": ("candidate",),
    "candidate": ("evaluation",),
    "bento": ("release",),
}
# What rests on a judgement, where the judgement itself is in question.
RESTS = {
    "verdict": ("decision",),
    "evaluation": ("decision",),
    "decision": ("bento", "release", "approval"),
    "bento": ("release",),
}


def forwards(catalog: Catalog, starts: Iterable[str], *, online: frozenset[str] | None = None) -> Reach:
    """Return what was made of these nouns, they themselves included. Ids that nothing was made of stand alone.

    Contents pass from a dataset into models, online rows and bentos, and on into releases. A judgement (evaluation, decision,
    verdict) passes on only where it is itself among the starts. `online` are the datasets whose online rows hold what is
    asked for; None: all.
    """
    begun = frozenset(starts)
    children = _children(catalog, verdicts=any(name.startswith("verdict-") for name in begun))
    judged = _walk({name for name in begun if _kind(name) in RESTS}, children, RESTS)
    made = _walk(begun | judged, children, HOLDS, online)
    weighed = {
        child
        for name in made
        if _kind(name) == "evaluation"
        for child in children[name]
        if _kind(child) == "decision"
    }
    return Reach(made=frozenset(made), weighed=frozenset(weighed - made))


def _children(catalog: Catalog, *, verdicts: bool) -> dict[str, set[str]]:
    """Return the catalog's edges as an adjacency; those from verdicts, of which there are most, only where they are needed."""
    children: dict[str, set[str]] = defaultdict(set)
    query = select(tables.EDGE.c.parent, tables.EDGE.c.child)
    if not verdicts:
        query = query.where(tables.EDGE.c.role != "verdict")
    bentos = select(tables.NOUN.c.id, tables.NOUN.c.body).where(tables.NOUN.c.kind == "bento")
    with catalog.reader.connect() as connection:
        for parent, child in connection.execute(query):
            children[parent].add(child)
        for name, body in connection.execute(bentos):
            children[orjson.loads(body)["candidate"]].add(name)
    return children


def _walk(
    starts: Iterable[str],
    children: dict[str, set[str]],
    kinds: dict[str, tuple[str, ...]],
    online: frozenset[str] | None = None,
) -> set[str]:
    reached = set(starts)
    waiting = list(reached)
    while waiting:
        name = waiting.pop()
        wanted = kinds.get(_kind(name), ())
        for child in children[name] - reached:
            into = _kind(child)
            if into in wanted and not (into == "online" and online is not None and name not in online):
                reached.add(child)
                waiting.append(child)
    return reached


def _kind(name: str) -> str:
    return name.partition("-")[0]
