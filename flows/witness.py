"""The ledger against the catalog: entries chained and signed, and every row of the catalog held against the entry that made it.

What no digest inside the catalog can show, this does: a record altered together with its digest, one that is gone with all that
names it, one that nobody wrote, an old copy of the database put back.
"""

import base64
from collections.abc import Iterator
from typing import Any

import orjson
from sqlalchemy import Connection, select

from counterfoil import canonical, ledger
from counterfoil.catalog import tables
from counterfoil.errors import UnavailableError
from counterfoil.ledger import Notary
from counterfoil.ledger.verifier import Walk, heads, leaf_hash, retold, unvouched, walked
from flows.place import Place

Found = Iterator[list[str]]
BEFORE_THE_FIRST_NOTE = 3  # entries of the first transaction: what was older, the key, what was done


class Told:
    """What all entries together say that the catalog holds."""

    def __init__(self) -> None:
        self.nouns: dict[str, str] = {}  # id -> digest of its body, and when it was recorded
        self.edges: set[tuple[str, str, str]] = set()
        self.stored: dict[str, str] = {}  # address -> digest of its manifest
        self.segments: dict[str, str] = {}  # name -> receipts, root and digest
        self.done: dict[str, str] = {}  # key -> ids that the verb returned last, as the table holds them

    def hear(self, entry: dict[str, Any]) -> list[str]:
        """Take an entry in; return a sentence for each thing of which an earlier one said otherwise."""
        number, faults = entry["entry"], []
        for noun in entry.get("new", ()):
            faults += retold(self.nouns, noun["id"], f"{noun['sha256']} {noun.get('recorded_at')}", number)
        for one in entry.get("stored", ()):
            faults += retold(self.stored, one["address"], one["sha256"], number)
        if entry["verb"] == "seal":
            said = f"{entry.get('receipts')} {entry['root']} {entry['sha256']}"
            faults += retold(self.segments, entry["name"], said, number)
        self.edges.update((child, parent, role) for child, parent, role in entry.get("edges", ()))
        for one in (
            entry.get("done", ()) if entry["verb"] == "adopt" else (entry,) if "returned" in entry else ()
        ):
            self.done[one["key"]] = orjson.dumps(one["returned"]).decode()
        return faults


def entries(place: Place) -> Found:
    """Walk the ledger, judge the checkpoints outside, and hold the catalog's tables against what the entries say."""
    notary = place.catalog.notary
    notes, unread = _notes(notary)  # before the entries: both may grow meanwhile
    keys = _keys(notary)
    walk, told = Walk(), Told()
    with place.catalog.reader.connect() as connection:
        for entry in walked(walk, _lines(connection, walk), notes):
            walk.faults += told.hear(entry)
            yield _taken(walk)
        rest = [*unread, *_taken(walk), *_peaks(connection, walk), *_rows(connection, told)]
    if notary is not None:
        rest += _notarised(walk, notary, notes, keys | _keys(notary))
    if rest:
        yield rest


def _notes(notary: Notary | None) -> tuple[list[str], list[str]]:
    """Return the checkpoints outside, and what is to be said when a remote does not give its own: the others are judged."""
    if notary is None:
        return [], []
    try:
        return notary.notes(), []
    except UnavailableError as fault:
        return notary.notes(here=True), [f"the checkpoints in the remote cannot be judged: {fault}"]


def _keys(notary: Notary | None) -> set[bytes]:
    """Return the keys that the notary holds, and that it has prepared: a change of keys may be going on, or have been cut off."""
    return set() if notary is None else {key for key in (notary.held(), notary.prepared()) if key is not None}


def unsigned(place: Place) -> list[str]:
    """Say how many of the newest entries no checkpoint covers yet: who is killed between the two leaves some."""
    if place.catalog.notary is None:
        return []
    signed = max((one.size for one in heads(_notes(place.catalog.notary)[0], Walk())), default=0)
    with place.catalog.reader.connect() as connection:
        size = ledger.head(connection).size
    if size <= signed:
        return []
    return [
        f"the last {size - signed} of {size} entries are not signed yet; `counterfoil ledger checkpoint` does it"
    ]


def _lines(connection: Connection, walk: Walk) -> Iterator[bytes]:
    """Yield the entries; see on the way that none is missing, and that the leaf beside each is its own."""
    for number, (entry, body, leaf) in enumerate(ledger.rows(connection)):
        if entry != number and walk.tree.size == number:
            walk.faults.append(f"there is no entry {number}: the next one is {entry}")
        if leaf != leaf_hash(body):
            walk.faults.append(f"the leaf beside entry {entry} is not its own")
        yield body


def _taken(walk: Walk) -> list[str]:
    found, walk.faults = walk.faults, []
    return found


def _notarised(walk: Walk, notary: Notary, notes: list[str], keys: set[bytes]) -> list[str]:
    """Return what is wrong with keys and checkpoints; a change of keys that was cut off is finished by the next write."""
    cut_off = walk.keys[-1][0] if walk.keys and walk.keys[-1][1] == notary.prepared() else None
    faults = [unvouched(number) for number in walk.unvouched if number != cut_off]
    if walk.keys and walk.keys[-1][1] not in keys:
        faults.append(f"the ledger names another key than {notary.key} holds")
    if not notes and walk.tree.size > BEFORE_THE_FIRST_NOTE:
        faults.append(f"no checkpoint of the {walk.tree.size} entries is left at {', '.join(notary.places)}")
    return faults


def _peaks(connection: Connection, walk: Walk) -> list[str]:
    row = ledger.peaks(connection)
    key = base64.b64encode(walk.keys[-1][1]).decode() if walk.keys else None
    seen = (walk.tree.size, b"".join(walk.tree.peaks), key, walk.at, walk.previous)
    same = (row.size, bytes(row.peaks), row.public, row.at, row.leaf) == seen
    return [] if same else ["the database says otherwise of the ledger's head than its entries"]


def _rows(connection: Connection, told: Told) -> list[str]:
    columns = (tables.NOUN.c.id, tables.NOUN.c.body_sha256, tables.NOUN.c.recorded_at)
    nouns = {
        name: f"{sha} {canonical.utc_text(at)}" for name, sha, at in connection.execute(select(*columns))
    }
    stored = _pairs(connection, tables.STORED.c.address, tables.STORED.c.sha256)
    done = _pairs(connection, tables.DONE.c.key, tables.DONE.c.nouns)
    sealed = connection.execute(select(tables.SEGMENT))
    segments = {row.name: f"{row.receipts} {row.root} {row.sha256}" for row in sealed}
    edge = (tables.EDGE.c.child, tables.EDGE.c.parent, tables.EDGE.c.role)
    edges = {(row[0], row[1], row[2]) for row in connection.execute(select(*edge))}
    return [
        *_against(nouns, told.nouns, "{}"),
        *_against(stored, told.stored, "the stored version {}"),
        *_against(segments, told.segments, "the record of the sealed segment {}"),
        *_against(done, told.done, "the record of what was done with key {:.12}"),
        *(
            f"no entry of the ledger made the edge from {c} to {p} ({r})"
            for c, p, r in sorted(edges - told.edges)
        ),
        *(f"the edge from {c} to {p} ({r}) is gone" for c, p, r in sorted(told.edges - edges)),
    ]


def _pairs(connection: Connection, key: Any, value: Any) -> dict[str, Any]:
    return {row[0]: row[1] for row in connection.execute(select(key, value))}


def _against(held: dict[str, Any], told: dict[str, Any], what: str) -> Iterator[str]:
    """Yield a sentence per row that no entry made, that is gone, or that is not what its entry says."""
    for name in sorted(held.keys() | told.keys()):
        if name not in told:
            yield f"no entry of the ledger made {what.format(name)}"
        elif name not in held:
            yield f"{what.format(name)} is gone"
        elif held[name] != told[name]:
            yield f"{what.format(name)} is not what its entry in the ledger says"
