"""Adding entries within somebody else's transaction, and reading them. Who signs what was added is not decided here."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from counterfoil import canonical
from counterfoil.ledger.tables import LEDGER, PEAKS
from counterfoil.ledger.verifier import NOTHING, Frontier, encode, leaf_hash

HASH = 32
READ = 10_000  # entries at a time


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """How many entries there are, and the root of the tree over them."""

    size: int
    root: bytes


def append(connection: Connection, at: datetime, what: dict[str, Any]) -> Head:
    """Add an entry that says `what`, and return the head after it.

    It counts when the transaction does. Its time is never before that of the entry before it, whatever the clock says.
    """
    row = connection.execute(select(PEAKS).where(PEAKS.c.only == 0).with_for_update()).one_or_none()
    tree = Frontier(row.size, _cut(row.peaks)) if row else Frontier()
    moment = canonical.utc_text(at)
    told = {
        **what,
        "entry": tree.size,
        "previous": row.leaf if row else NOTHING,
        "at": max(moment, row.at) if row else moment,
    }
    body = encode(told)
    leaf = leaf_hash(body)
    connection.execute(insert(LEDGER).values(entry=tree.size, body=body, leaf=leaf))
    tree.append(leaf)
    kept = {"size": tree.size, "at": told["at"], "leaf": leaf.hex(), "peaks": b"".join(tree.peaks)}
    if row:
        connection.execute(update(PEAKS).where(PEAKS.c.only == 0).values(kept))
    else:
        connection.execute(insert(PEAKS).values(only=0, **kept))
    return Head(size=tree.size, root=tree.root())


def head(connection: Connection) -> Head:
    """Return the head of now."""
    row = connection.execute(select(PEAKS).where(PEAKS.c.only == 0)).one_or_none()
    tree = Frontier(row.size, _cut(row.peaks)) if row else Frontier()
    return Head(size=tree.size, root=tree.root())


def entries(connection: Connection, first: int = 0, stop: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield (number, canonical JSON) of the entries from `first` on, before `stop`, in order."""
    query = select(LEDGER.c.entry, LEDGER.c.body).where(LEDGER.c.entry >= first).order_by(LEDGER.c.entry)
    if stop is not None:
        query = query.where(LEDGER.c.entry < stop)
    for row in connection.execution_options(yield_per=READ).execute(query):
        # whoever changed a row by hand may have left text: it is walked as well
        yield row.entry, row.body.encode() if isinstance(row.body, str) else bytes(row.body)


def leaves(connection: Connection, size: int) -> list[bytes]:
    """Return the leaf hashes of the first `size` entries, as they were kept."""
    query = select(LEDGER.c.leaf).where(LEDGER.c.entry < size).order_by(LEDGER.c.entry)
    return [bytes(leaf) for leaf in connection.execute(query).scalars()]


def _cut(peaks: bytes) -> list[bytes]:
    return [peaks[at : at + HASH] for at in range(0, len(peaks), HASH)]
