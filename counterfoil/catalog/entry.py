"""What an entry of the ledger says of a write of the catalog: which rows are new, by their digests, never by their contents.

So nothing personal enters the ledger, and every row of the catalog has an entry that it is held against (flows/witness.py).
"""

import base64
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Table, select, update

from counterfoil import ledger
from counterfoil.catalog import tables
from counterfoil.errors import IntegrityError
from counterfoil.ledger import Notary, tree
from counterfoil.ledger.tables import PEAKS


@dataclass(kw_only=True)
class Written:
    """One verb's write: its key, what it returned, and which nouns, edges and stored versions were not there before."""

    verb: str
    key: str
    returned: list[str]
    new: list[dict[str, Any]] = field(default_factory=list)
    edges: list[list[str]] = field(default_factory=list)
    stored: list[dict[str, Any]] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """Return it as an entry says it."""
        return asdict(self)


def said_of_noun(row: Any) -> dict[str, Any]:
    """Return what an entry says of a noun's row."""
    return {"id": row["id"], "kind": row["kind"], "sha256": row["body_sha256"]}


def said_of_stored(address: str, sha256: str) -> dict[str, Any]:
    """Return what an entry says of a stored version."""
    return {"address": address, "sha256": sha256}


def begin(connection: Connection, at: datetime, notary: Notary | None) -> None:
    """See that the ledger has taken over what is older than it, and names the key that signs it.

    IntegrityError when the notary has another key than the one that the ledger names.
    """
    row = connection.execute(select(PEAKS.c.size, PEAKS.c.public).where(PEAKS.c.only == 0)).one_or_none()
    if row is None and (older := _older(connection)) is not None:
        ledger.append(connection, at, older)
    if notary is None:
        return
    public = base64.b64encode(notary.public()).decode()
    named = row.public if row is not None else None
    if named is None:
        name_key(connection, at, public)
    elif named != public and not _followed(connection, notary, named):
        raise IntegrityError(
            f"the ledger names the key {named[:12]}…, and {notary.key} holds {public[:12]}…: restore that key, or if it is"
            " lost keep this ledger as it is and begin a new home"
        )


def name_key(connection: Connection, at: datetime, public: str) -> ledger.Head:
    """Add the entry that names the key which signs from there on; the head after it is signed by the key before it."""
    head = ledger.append(connection, at, {"verb": "key", "public": public})
    connection.execute(update(PEAKS).where(PEAKS.c.only == 0).values(public=public))
    return head


def _followed(connection: Connection, notary: Notary, named: str) -> bool:
    """Finish a change of keys that was cut off after its entry; say whether that was why the key is another one."""
    prepared = notary.prepared()
    if prepared is None or base64.b64encode(prepared).decode() != named:
        return base64.b64encode(notary.public()).decode() == named  # another process has just finished it
    size = 1 + max(number for number, body in ledger.entries(connection) if named.encode() in body)
    notary.publish(ledger.Head(size=size, root=tree.root(ledger.leaves(connection, size))))
    notary.follow()
    return True


def _older(connection: Connection) -> dict[str, Any] | None:
    """Return the entry by which a ledger takes over a catalog that was written before there was one; None for an empty one."""
    nouns = _rows(connection, tables.NOUN, "id")
    if not nouns:
        return None
    edges = [[row["child"], row["parent"], row["role"]] for row in _rows(connection, tables.EDGE, "child")]
    done = [
        {"key": row["key"], "verb": row["verb"], "returned": orjson.loads(row["nouns"])}
        for row in _rows(connection, tables.DONE, "key")
    ]
    stored = [
        said_of_stored(row["address"], row["sha256"]) for row in _rows(connection, tables.STORED, "address")
    ]
    return {
        "verb": "adopt",
        "new": [said_of_noun(row) for row in nouns],
        "edges": sorted(edges),
        "stored": stored,
        "done": done,
    }


def _rows(connection: Connection, table: Table, by: str) -> list[Any]:
    return list(connection.execute(select(table).order_by(table.c[by])).mappings())
