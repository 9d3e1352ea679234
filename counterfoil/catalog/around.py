"""What lies around one noun: parents and children, so many of each kind, read by index."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from counterfoil.catalog import codec, tables
from counterfoil.catalog.catalog import Catalog
from counterfoil.errors import UnknownError
from counterfoil.types import Noun

SORTED = 1_000  # neighbours that are put in the order of their recording
FEW = 10  # of more neighbours than that, so many are taken as they come: to sort them all would take long


@dataclass(frozen=True, kw_only=True, slots=True)
class Kin:
    """Neighbours of one kind on one side: how many there are, and the first of them as (role, id)."""

    kind: str
    count: int
    shown: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Around:
    """A noun, when it was recorded, what it was made from and what was made from it."""

    noun: Noun
    recorded_at: datetime
    parents: tuple[Kin, ...]
    children: tuple[Kin, ...]


def around(catalog: Catalog, noun_id: str, most: int) -> Around:
    """Return a noun with at most `most` neighbours of each kind and side. UnknownError when there is none of that id."""
    with catalog.reader.connect() as connection:
        row = connection.execute(
            select(tables.NOUN.c.kind, tables.NOUN.c.body, tables.NOUN.c.recorded_at).where(
                tables.NOUN.c.id == noun_id
            )
        ).one_or_none()
        if row is None:
            raise UnknownError(f"the catalog knows no {noun_id!r}; take an id from one of the pages")
        return Around(
            noun=codec.decode(row.kind, row.body),
            recorded_at=row.recorded_at,
            parents=_kin(connection, tables.EDGE.c.child, tables.EDGE.c.parent, noun_id, most),
            children=_kin(connection, tables.EDGE.c.parent, tables.EDGE.c.child, noun_id, most),
        )


def neighbours(
    catalog: Catalog, noun_id: str, side: str, kind: str, first: int, most: int
) -> tuple[int, list[tuple[str, str]]]:
    """Return how many neighbours of one kind there are on one side (`parents` or `children`), and (role, id) from `first` on."""
    near, far = (tables.EDGE.c.child, tables.EDGE.c.parent)[:: 1 if side == "parents" else -1]
    with catalog.reader.connect() as connection:
        count = dict(_counts(connection, near, far, noun_id)).get(kind, 0)
        return count, _some(connection, near, far, noun_id, kind, count, first, most)


def _kin(connection: Connection, near: Any, far: Any, noun_id: str, most: int) -> tuple[Kin, ...]:
    return tuple(
        Kin(
            kind=kind,
            count=count,
            shown=tuple(_some(connection, near, far, noun_id, kind, count, 0, most)),
        )
        for kind, count in _counts(connection, near, far, noun_id)
    )


def _counts(connection: Connection, near: Any, far: Any, noun_id: str) -> list[tuple[str, int]]:
    """Return (kind, count), from the edges alone: an id begins with its kind, and bodies of nouns are long."""
    kind: Any = func.split_part(far, "-", 1)
    if connection.dialect.name == "sqlite":
        kind = func.substr(far, 1, func.instr(far, "-") - 1)
    counted = select(kind, func.count()).where(near == noun_id).group_by(kind).order_by(kind)
    return [(row[0], row[1]) for row in connection.execute(counted)]


def _some(
    connection: Connection,
    near: Any,
    far: Any,
    noun_id: str,
    kind: str,
    count: int,
    first: int,
    most: int,
) -> list[tuple[str, str]]:
    """Return (role, id), newest first; where that would take long, by id, and a few of them just as they come."""
    query = select(tables.EDGE.c.role, far).where(
        near == noun_id, far.startswith(f"{kind}-", autoescape=True)
    )
    if count <= SORTED:
        query = query.join(tables.NOUN, tables.NOUN.c.id == far).order_by(
            tables.NOUN.c.recorded_at.desc(), far
        )
    else:
        query = query.order_by(far) if first or most > FEW else query
    return [(row[0], row[1]) for row in connection.execute(query.offset(first).limit(most))]
