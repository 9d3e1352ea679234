"""Sequences without times: sessions of anonymous visitors (Parquet), and people's histories (text: person, then items).

Only the order is known, so times are made up, and are the same in every import:
- session s (from 0, in the order of the file) starts s minutes after BASE, one second per item;
- a history is laid out backwards from BASE: everybody's last item on the day before it, the last but one a day earlier, so that
  a cut by day is the leave-one-out split of the papers.
A file of prefixes and targets (`test.parquet`) is imported only when it is named itself: it starts at BASE_TEST.
"""

from pathlib import Path

from counterfoil.errors import ContractError
from counterfoil.importers.source import Source, digest, existing
from counterfoil.importers.sql import event_id, literal
from counterfoil.importers.table import open_table
from counterfoil.importers.text import Shape, delimited, refuse_undecodable

KIND = "sessions"
VERSION = 1
BASE = "TIMESTAMPTZ '2020-01-01 00:00:00+00'"
BASE_TEST = "TIMESTAMPTZ '2021-01-01 00:00:00+00'"
CLICK = event_id("session", "name", "n")

SESSIONS = """
WITH numbered AS ({sessions}),
clicks AS (SELECT s, name, unnest(items) AS item, generate_subscripts(items, 1) AS n FROM numbered)
SELECT row_number() OVER (ORDER BY s, n) AS row, {id} AS id, {base} + to_minutes(s) + to_seconds(n - 1) AS time,
       name AS person, 'view' AS kind, name AS session, item, n AS position
FROM clicks
"""
WHOLE = "SELECT row_number() OVER () - 1 AS s, 'session:' || session_id AS name, items FROM {table}"
# Rows are prefixes of a session that shrink from row to row: only the longest, with its target, is a session.
PREFIXES = """
SELECT row_number() OVER (ORDER BY r) - 1 AS s, 'test-session:' || r AS name, list_append(prefix, target) AS items
FROM (SELECT *, lag(prefix) OVER (ORDER BY r) AS longer FROM (SELECT row_number() OVER () AS r, * FROM {table}))
WHERE longer IS NULL OR len(longer) < 2 OR longer <> list_append(prefix, target)
"""
HISTORIES = """
WITH numbered AS (SELECT row_number() OVER () AS s, string_split(trim(line), ' ') AS words FROM {table} WHERE trim(line) <> ''),
steps AS (
    SELECT s, words[1] AS person, len(words) - 1 AS steps, unnest(words[2:]) AS item, generate_subscripts(words[2:], 1) AS n
    FROM numbered)
SELECT row_number() OVER (ORDER BY s, n) AS row, {id} AS id,
       {base} - to_days(CAST(steps - n + 1 AS INTEGER)) + to_seconds(s % 86400) AS time, person, 'rating' AS kind, item
FROM steps
"""
ATTRIBUTES = """
SELECT entry.key AS id, 'attributes ' || array_to_string(entry.value, ' ') AS text
FROM (SELECT unnest(map_entries(CAST(json AS MAP(VARCHAR, VARCHAR[])))) AS entry
      FROM read_json_objects({file}, format = 'unstructured', maximum_object_size = 32000000))
"""


def sessions(path: Path | None, mapping: Path | None) -> Source:
    """Return the source of a file of sessions or histories, or of a folder that holds one. Raises ContractError."""
    place = existing(path, KIND)
    file = _chosen(place) if place.is_dir() else place
    return _parquet(file) if file.suffix == ".parquet" else _text(file)


def _chosen(folder: Path) -> Path:
    found = [p for p in sorted(folder.iterdir()) if p.suffix == ".parquet" and "test" not in p.name]
    found += [p for p in sorted(folder.iterdir()) if p.name.endswith((".txt", ".txt.gz"))]
    if len(found) != 1:
        names = ", ".join(p.name for p in found) or "none"
        raise ContractError(
            f"{folder} should hold one file of sessions (.parquet) or histories (.txt), has {names}; name the file"
        )
    return found[0]


def _parquet(file: Path) -> Source:
    table = open_table((file,), "events")
    prefixes = table.columns is not None and {"prefix", "target"} <= set(table.columns)
    if not prefixes:
        table.require("session_id", "items")
    numbered = (PREFIXES if prefixes else WHOLE).format(table=table.relation)
    return Source(
        kind=KIND,
        name=f"sessions of {file.name}",
        digest=digest(KIND, VERSION, (file,)),
        events=SESSIONS.format(sessions=numbered, base=BASE_TEST if prefixes else BASE, id=CLICK),
        items=f"SELECT DISTINCT item AS id FROM ({SESSIONS.format(sessions=numbered, base=BASE, id=CLICK)})",
    )


def _text(file: Path) -> Source:
    text = delimited((file,), Shape(separator=""))
    if not text.lines:
        raise ContractError(f"{file.name} is empty; export it again")
    refuse_undecodable(text)
    about = sorted(file.parent.glob(f"{file.name.split('.')[0]}_item2attributes.json*"))[:1]
    events = HISTORIES.format(table=text.relation(), base=BASE, id=event_id("history", "person", "n"))
    return Source(
        kind=KIND,
        name=f"histories of {file.name}",
        digest=digest(KIND, VERSION, (file, *about)),
        events=events,
        items=ATTRIBUTES.format(file=literal(about[0]))
        if about
        else f"SELECT DISTINCT item AS id FROM ({events})",
    )
