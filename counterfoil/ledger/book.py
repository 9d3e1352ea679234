"""Adding entries within somebody else's transaction, and reading them. Who signs what was added is not decided here."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from counterfoil import canonical
from counterfoil.ledger.tables import LEDGER, PEAKS
from counterfoil.ledger.verifier import Frontier, encode, leaf_hash

HASH = 32
READ = 10_000  # entries at a time


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """How many entries there are, the root over them, and the public key that is to sign it (base64; None: none yet)."""

    size: int
    root: bytes
    public: str | None = None


def append(connection: Connection, at: datetime, what: dict[str, Any]) -> Head:
    """Add an entry that says `what`, and return the head after it, to be signed by the key that was named before.

    It counts when the transaction does. Its time is never before that of the entry before it, whatever the clock says.
    """
    row = peaks(connection, to_write=True)
    tree = Frontier(row.size, _cut(row.peaks))
    told = {**what, "entry": tree.size, "previous": row.leaf, "at": max(canonical.utc_text(at), row.at)}
    body = encode(told)
    leaf = leaf_hash(body)
    connection.execute(insert(LEDGER).values(entry=tree.size, body=body, leaf=leaf))
    tree.append(leaf)
    kept = {"size": tree.size, "at": told["at"], "leaf": leaf.hex(), "peaks": b"".join(tree.peaks)}
    connection.execute(update(PEAKS).where(PEAKS.c.only == 0).values(kept))
    return Head(size=tree.size, root=tree.root(), public=row.public)


def peaks(connection: Connection, *, to_write: bool = False) -> Any:
    """Return the row of the tree's peaks; who means to write holds it until the transaction ends."""
    query = select(PEAKS).where(PEAKS.c.only == 0)
    return connection.execute(query.with_for_update() if to_write else query).one()


def head(connection: Connection) -> Head:
    """Return the head of now."""
    row = peaks(connection)
    tree = Frontier(row.size, _cut(row.peaks))
    return Head(size=tree.size, root=tree.root(), public=row.public)


def entries(connection: Connection, first: int = 0, stop: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield (number, canonical JSON) of the entries from `first` on, before `stop`, in order."""
    for number, body, _ in rows(connection, first, stop):
        yield number, body


def rows(
    connection: Connection, first: int = 0, stop: int | None = None
) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield (number, canonical JSON, the leaf hash that was kept beside it) of the same entries."""
    query = select(LEDGER).where(LEDGER.c.entry >= first).order_by(LEDGER.c.entry)
    if stop is not None:
        query = query.where(LEDGER.c.entry < stop)
    for row in connection.execution_options(yield_per=READ).execute(query):
        # whoever changed a row by hand may have left text: it is walked as well
        yield row.entry, row.body.encode() if isinstance(row.body, str) else bytes(row.body), row.leaf


def leaves(connection: Connection, size: int) -> list[bytes]:
    """Return the leaf hashes of the first `size` entries, made anew from what the entries say."""
    return [leaf_hash(body) for _, body in entries(connection, stop=size)]


def _cut(peaks: bytes) -> list[bytes]:
    return [peaks[at : at + HASH] for at in range(0, len(peaks), HASH)]
