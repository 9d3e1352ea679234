"""A home with a short history in its ledger, for tests that forge it: quick, since no loop is turned."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from counterfoil.ledger.verifier import NOTHING, Frontier, encode, leaf_hash
from counterfoil.settings import Settings
from flows import witness
from flows.place import Place, place_of
from tests.some_nouns import verdict

DAYS = 6


def opened(home: Path) -> Place:
    """Open the installation in that folder."""
    home.mkdir(parents=True, exist_ok=True)
    return place_of(Settings(home=home))


def judged(place: Place, day: int, verb: str = "validate") -> str:
    """Record a day's verdict, made from that of the day before, and return its id."""
    noun = verdict(f"day:2024-01-{day:02d}")
    before = verdict(f"day:2024-01-{day - 1:02d}")
    known = [("verdict", before.id)] if day > 1 else []
    place.catalog.record(verb, f"{verb} {day}", [noun], known, [], 0.1)
    return noun.id


def history(home: Path, days: int = DAYS) -> Place:
    """Return a home in which so many days were judged one after another."""
    place = opened(home)
    for day in range(1, days + 1):
        judged(place, day)
    return place


def faults(place: Place) -> list[str]:
    """Return what the walk through ledger and catalog finds wrong."""
    return [fault for found in witness.entries(place) for fault in found]


def sql(place: Place, statement: str, *values: object) -> None:
    """Change the database as its owner can, triggers and foreign keys out of the way."""
    with sqlite3.connect(place.settings.home / "catalog.sqlite") as connection:
        for trigger in ("ledger_keeps_update", "ledger_keeps_delete"):
            connection.execute(f"DROP TRIGGER IF EXISTS {trigger}")
        assert connection.execute(statement, values).rowcount > 0
    connection.close()


def told(place: Place) -> list[dict[str, Any]]:
    """Return the entries."""
    with sqlite3.connect(place.settings.home / "catalog.sqlite") as connection:
        rows = connection.execute("SELECT body FROM ledger ORDER BY entry").fetchall()
    connection.close()
    return [orjson.loads(row[0]) for row in rows]


def rewritten(place: Place, change: Callable[[list[dict[str, Any]]], Any]) -> None:
    """Change the entries as somebody does who has database and code, but not the key: numbers, chain and peaks are made anew."""
    entries = told(place)
    change(entries)
    tree, previous, rows = Frontier(), NOTHING, []
    for number, entry in enumerate(entries):
        body = encode({**entry, "entry": number, "previous": previous})
        tree.append(leaf_hash(body))
        previous = leaf_hash(body).hex()
        rows.append((number, body, leaf_hash(body)))
    with sqlite3.connect(place.settings.home / "catalog.sqlite") as connection:
        connection.execute("DROP TRIGGER ledger_keeps_update")
        connection.execute("DROP TRIGGER ledger_keeps_delete")
        connection.execute("DELETE FROM ledger")
        connection.executemany("INSERT INTO ledger (entry, body, leaf) VALUES (?, ?, ?)", rows)
        public = next((entry["public"] for entry in reversed(entries) if entry["verb"] == "key"), None)
        connection.execute(
            "UPDATE ledger_peaks SET size = ?, at = ?, leaf = ?, peaks = ?, public = ?",
            (len(rows), entries[-1]["at"] if entries else "", previous, b"".join(tree.peaks), public),
        )
    connection.close()
