"""What lies around one noun: parents and children, so many of each kind, read by index."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from counterfoil.catalog import codec, tables
from counterfoil.catalog.catalog import Catalog
from counterfoil.errors import UnknownError
from counterfoil.types import Noun


@dataclass(frozen=True, kw_only=True, slots=True)
class Kin:
    """Neighbours of one kind on one side: how many there are, and the first of them as (role, id), newest first."""

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
) -> list[tuple[str, str]]:
    """Return (role, id) of neighbours of one kind on one side (`parents` or `children`), newest first, from `first` on."""
    near, far = (tables.EDGE.c.child, tables.EDGE.c.parent)[:: 1 if side == "parents" else -1]
    with catalog.reader.connect() as connection:
        return _some(connection, near, far, noun_id, kind, first, most)


def _kin(connection: Connection, near: Any, far: Any, noun_id: str, most: int) -> tuple[Kin, ...]:
    counted = (
        select(tables.NOUN.c.kind, func.count())
        .select_from(tables.EDGE.join(tables.NOUN, tables.NOUN.c.id == far))
        .where(near == noun_id)
        .group_by(tables.NOUN.c.kind)
        .order_by(tables.NOUN.c.kind)
    )
    return tuple(
        Kin(kind=kind, count=count, shown=tuple(_some(connection, near, far, noun_id, kind, 0, most)))
        for kind, count in connection.execute(counted).all()
    )


def _some(
    connection: Connection, near: Any, far: Any, noun_id: str, kind: str, first: int, most: int
) -> list[tuple[str, str]]:
    query = (
        select(tables.EDGE.c.role, far)
        .select_from(tables.EDGE.join(tables.NOUN, tables.NOUN.c.id == far))
        .where(near == noun_id, tables.NOUN.c.kind == kind)
        .order_by(tables.NOUN.c.recorded_at.desc(), tables.NOUN.c.id)
        .offset(first)
        .limit(most)
    )
    return [(row[0], row[1]) for row in connection.execute(query)]
