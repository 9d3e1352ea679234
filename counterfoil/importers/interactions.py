"""Tables of people and items, as data sets for recommenders come: perhaps with a rating, a behaviour, a time.

A folder may hold several tables: one with people and items is interactions, one with items only describes items, one with
people only describes people; files with `test` in their names are imported only when named themselves. Without times,
everybody's rows are laid out backwards from BASE, a day apart, in the order of the file.
"""

from dataclasses import dataclass
from pathlib import Path

from counterfoil.errors import ContractError
from counterfoil.importers.source import Source, digest, existing
from counterfoil.importers.sql import column, event_id, literal
from counterfoil.importers.table import SUFFIXES, Table, open_table, rejects

KIND = "interactions"
VERSION = 2
BASE = "TIMESTAMPTZ '2020-01-01 00:00:00+00'"
NAMES: dict[str, tuple[str, ...]] = {
    "person": ("user_id", "uid", "user", "userid", "reviewerid", "customer_id", "customerid", "person"),
    "item": ("item_id", "sid", "iid", "item", "itemid", "movie_id", "product_id", "stockcode", "asin"),
    "rating": ("rating", "overall", "score", "stars"),
    "behavior": ("behavior", "behaviour", "event", "kind", "action"),
    "time": ("timestamp", "time", "ts", "unix_time", "date", "invoicedate"),
    "session": ("session_id", "session", "invoiceno"),
    "quantity": ("quantity", "qty"),
    "title": ("title", "movie_title", "name", "item_name"),
    "text": ("text", "description"),
    "category": ("category", "i_category", "class", "genre", "genres"),
    "brand": ("brand", "manufacturer"),
    "image": ("image", "image_path", "image_url", "imurl", "picture"),
    "price": ("price", "unitprice"),
    "age": ("age",),
    "segment": ("segment", "occupation"),
    "country": ("country",),
}
KINDS = {
    "buy": "purchase",
    "pv": "view",
    "fav": "favourite",
    "addtocart": "cart",
    "transaction": "purchase",
    "like": "favourite",
}
ITEM_FIELDS = ("title", "text", "category", "brand", "image", "price")
PERSON_FIELDS = ("age", "segment", "country")


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """Which column of a table plays which part of NAMES."""

    table: Table
    parts: dict[str, str]

    def text(self, part: str) -> str:
        """Return the SQL of that part as text, NULL when the table has none."""
        return f"CAST({column(self.parts[part])} AS VARCHAR)" if part in self.parts else "NULL"


def interactions(path: Path | None, mapping: Path | None) -> Source:
    """Return the source of one table of interactions or of a folder of tables. Raises ContractError."""
    place = existing(path, KIND)
    files = _files(place) if place.is_dir() else (place,)
    tables = {file: _columns(file) for file in files}
    events = {f: c for f, c in tables.items() if {"person", "item"} <= c.parts.keys()}
    items = [c for c in tables.values() if "item" in c.parts and "person" not in c.parts]
    people = [c for c in tables.values() if "person" in c.parts and "item" not in c.parts]
    if not events:
        names = f"{'/'.join(NAMES['person'][:3])} and {'/'.join(NAMES['item'][:3])}"
        raise ContractError(
            f"{place}: no table has a column for people and one for items ({names}); use a mapping"
        )
    if sum(c.table.text is not None for c in events.values()) > 1:
        raise ContractError(f"{place} holds several text files of interactions; import them one by one")
    return Source(
        kind=KIND,
        name=f"interactions of {place.name}",
        digest=digest(KIND, VERSION, files, *(file.name for file in files)),
        events=" UNION ALL BY NAME ".join(_events(file, c) for file, c in events.items()),
        delimited=tuple(("events", c.table.text) for c in events.values() if c.table.text),
        items=" UNION ALL ".join(_about(c, "item", ITEM_FIELDS) for c in items) or None,
        people=" UNION ALL ".join(_about(c, "person", PERSON_FIELDS) for c in people) or None,
    )


def _files(folder: Path) -> tuple[Path, ...]:
    found = tuple(p for p in sorted(folder.iterdir()) if p.suffix in SUFFIXES and "test" not in p.name)
    if not found:
        raise ContractError(f"{folder} holds no table ({', '.join(SUFFIXES)}); give another folder or a file")
    return found


def _columns(file: Path) -> Columns:
    table = open_table((file,), "events")
    if table.columns is None:
        raise ContractError(f"{file.name}: {KIND} are tables, not JSON lines; use a mapping")
    lower = {name.lower(): name for name in reversed(table.columns)}
    parts = {
        part: lower[n]
        for part, names in NAMES.items()
        for n in [next((n for n in names if n in lower), None)]
        if n
    }
    return Columns(table=table, parts=parts)


def _events(file: Path, columns: Columns) -> str:
    stem, rating = file.name.split(".")[0], "rating" in columns.parts
    known = " ".join(f"WHEN {literal(k)} THEN {literal(v)}" for k, v in KINDS.items())
    behaviour = f"lower({columns.text('behavior')})"
    kind = (
        f"CASE {behaviour} {known} ELSE {behaviour} END"
        if "behavior" in columns.parts
        else literal("rating" if rating else "purchase")
    )
    quantity = columns.text("rating" if rating else "quantity")
    inner = f"""SELECT row_number() OVER () AS r, {columns.text("person")} AS person, {columns.text("item")} AS item,
                       {kind} AS kind, {columns.text("time")} AS stamp, {columns.text("session")} AS session,
                       {quantity} AS quantity
                FROM {columns.table.relation}"""
    if "time" in columns.parts:
        return f"""SELECT {event_id(stem, "person", "item", "stamp", "kind")} AS id, {_time("stamp")} AS time,
                   stamp AS given_time, person, kind, session, item, quantity FROM ({inner})"""
    numbered = f"""SELECT *, row_number() OVER (PARTITION BY person ORDER BY r) AS n,
                          count(*) OVER (PARTITION BY person) AS steps FROM ({inner})"""
    return f"""SELECT r AS row, {event_id(stem, "person", "n")} AS id,
               {BASE} - to_days(CAST(steps - n + 1 AS INTEGER)) AS time, person, kind, session, item, quantity
               FROM ({numbered})"""


def _time(stamp: str) -> str:
    # Seconds above 1e11 would be the year 5138, milliseconds below it 1973: no data set of people means either.
    number = f"TRY_CAST({stamp} AS DOUBLE)"
    seconds = f"CASE WHEN abs({number}) > 1e11 THEN {number} / 1000 ELSE {number} END"
    return f"""CASE WHEN {number} IS NULL THEN TRY_CAST({stamp} AS TIMESTAMPTZ)
               WHEN abs({number}) < 1e14 THEN make_timestamptz(CAST(round({seconds} * 1000000) AS BIGINT)) END"""


def _about(columns: Columns, key: str, fields: tuple[str, ...]) -> str:
    wanted = ", ".join(f"{columns.text(name)} AS {name}" for name in fields)
    table, role = columns.table, "items" if key == "item" else "people"
    relation = table.text.relation(rejects(role)) if table.text else table.relation
    return f"SELECT {columns.text(key)} AS id, {wanted} FROM {relation}"
