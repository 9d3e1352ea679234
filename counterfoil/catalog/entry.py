"""What an entry of the ledger says of a write of the catalog: which rows are new, by their digests, never by their contents.

So nothing personal enters the ledger, and every row of the catalog has an entry that it is held against (flows/witness.py).
"""

import base64
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, select, update

from counterfoil import canonical, ledger
from counterfoil.catalog import tables
from counterfoil.errors import IntegrityError, UnavailableError
from counterfoil.ledger import Notary, tree
from counterfoil.ledger.tables import PEAKS


@dataclass(kw_only=True)
class Written:
    """One verb's write: key, flow run, what it returned, which nouns, edges and stored versions were not there before."""

    verb: str
    key: str
    run: str | None
    returned: list[str]
    new: list[dict[str, Any]] = field(default_factory=list)
    edges: list[list[str]] = field(default_factory=list)
    stored: list[dict[str, Any]] = field(default_factory=list)


def said_of_noun(row: Any) -> dict[str, Any]:
    """Return what an entry says of a noun's row."""
    recorded_at = canonical.utc_text(row["recorded_at"])
    return {"id": row["id"], "kind": row["kind"], "sha256": row["body_sha256"], "recorded_at": recorded_at}


def said_of_stored(address: str, sha256: str) -> dict[str, Any]:
    """Return what an entry says of a stored version."""
    return {"address": address, "sha256": sha256}


def begin(connection: Connection, at: datetime, notary: Notary | None) -> None:
    """See that the ledger has taken over what is older and names the key that signs; nobody else writes until the end.

    IntegrityError when the notary has another key than the one that the ledger names, or none any more.
    """
    row = ledger.peaks(connection, to_write=True)
    if not row.size and (older := _older(connection)) is not None:
        ledger.append(connection, at, older)
    if notary is None:
        return
    if row.public is None:
        name_key(connection, at, base64.b64encode(notary.public()).decode())
    elif row.public != _text(notary.held()) and not _cut_off(connection, notary, row.public):
        raise IntegrityError(
            f"the ledger names the key {row.public[:12]}…, and {notary.key} does not hold it: restore that key, or if it is lost"
            " keep this ledger as it is and begin a new home"
        )


def name_key(connection: Connection, at: datetime, public: str) -> ledger.Head:
    """Add the entry that names the key which signs from there on; the head after it is to be signed by the key before it."""
    head = ledger.append(connection, at, {"verb": "key", "public": public})
    connection.execute(update(PEAKS).where(PEAKS.c.only == 0).values(public=public))
    return head


def _cut_off(connection: Connection, notary: Notary, named: str) -> bool:
    """Say whether the key is another one since its change was cut off, and finish that; a place that is down leaves it open."""
    prepared = notary.prepared()
    if prepared is None or _text(prepared) != named:
        return _text(notary.held()) == named  # another process has just finished it
    size = 1 + max(number for number, body in ledger.entries(connection) if named.encode() in body)
    with suppress(UnavailableError):
        notary.publish(ledger.Head(size=size, root=tree.root(ledger.leaves(connection, size))))
        notary.follow(prepared)
    return True


def _text(public: bytes | None) -> str | None:
    return None if public is None else base64.b64encode(public).decode()


def _older(connection: Connection) -> dict[str, Any] | None:
    """Return the entry by which a ledger takes over a catalog that was written before there was one; None for an empty one."""
    nouns, edges, done, stored = (
        list(connection.execute(select(table).order_by(table.c[by])).mappings())
        for table, by in (
            (tables.NOUN, "id"),
            (tables.EDGE, "child"),
            (tables.DONE, "key"),
            (tables.STORED, "address"),
        )
    )
    if not (nouns or done or stored):
        return None
    return {
        "verb": "adopt",
        "new": [said_of_noun(row) for row in nouns],
        "edges": sorted([row["child"], row["parent"], row["role"]] for row in edges),
        "stored": [said_of_stored(row["address"], row["sha256"]) for row in stored],
        "done": [
            {"key": row["key"], "verb": row["verb"], "returned": orjson.loads(row["nouns"])} for row in done
        ],
    }
