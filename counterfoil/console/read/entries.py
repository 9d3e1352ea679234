"""The page Ledger: entries newest first, page by page, and one entry with what it says."""

import base64
from typing import Any

import orjson

from counterfoil import ledger
from counterfoil.errors import UnknownError
from flows import book
from flows.place import Place

PAGE = 25


def entries(place: Place, before: int | None) -> dict[str, Any]:
    """Return a page of entries, newest first: those before a number, or the newest."""
    with place.catalog.reader.connect() as connection:
        head = ledger.head(connection)
        stop = head.size if before is None else max(0, min(before, head.size))
        first = max(0, stop - PAGE)
        found = [orjson.loads(body) for _, body in ledger.entries(connection, first, stop)]
    return {
        "size": head.size,
        "root": base64.b64encode(head.root).decode(),
        "first": first,
        "stop": stop,
        "page": PAGE,
        "entries": [
            {
                "entry": one["entry"],
                "at": one["at"],
                "verb": one["verb"],
                "says": book.said(one),
                "new": [noun["id"] for noun in one.get("new", ())][:3],
                "more": max(0, len(one.get("new", ())) - 3),
            }
            for one in reversed(found)
        ],
    }


def entry(place: Place, number: int) -> dict[str, Any]:
    """Return one entry. UnknownError when there is none of that number."""
    with place.catalog.reader.connect() as connection:
        size = ledger.head(connection).size
        found = [body for _, body in ledger.entries(connection, number, number + 1)]
    if not found:
        raise UnknownError(f"the ledger has no entry {number}; its {size:,} entries are numbered from 0")
    told = orjson.loads(found[0])
    return {
        "entry": number,
        "size": size,
        "at": told["at"],
        "verb": told["verb"],
        "says": book.said(told),
        "previous": told.get("previous", ""),
        "new": [noun["id"] for noun in told.get("new", ())][:200],
        "edges": len(told.get("edges", ())),
        "line": found[0].decode(),
    }


def proof(place: Place, number: int) -> dict[str, Any]:
    """Return the proof that an entry is below the newest signed head; the whole ledger is read for it.

    InputError when no head covers it yet.
    """
    return book.prove_in(place, str(number))
