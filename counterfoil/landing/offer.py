"""What a source offers, as tables in DuckDB: rows cast and checked, people as pseudonyms, duplicates marked.

`rowid` of a table is the order of the input: DuckDB keeps it. Memory: hashes of the batch's ids, never the history's.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from counterfoil.contracts import EVENT, ITEM, PERSON, Contract
from counterfoil.errors import ContractError, UnavailableError
from counterfoil.importers import Source
from counterfoil.importers.sql import literal, parquet
from counterfoil.importers.table import rejects
from counterfoil.importers.text import unreadable_lines
from counterfoil.landing import check
from counterfoil.landing.progress import Progress
from counterfoil.pseudonym import pseudonym

BATCH_ROWS = 65_536
CONTRACTS: dict[str, Contract] = {"events": EVENT, "items": ITEM, "people": PERSON}
SOUND = "reason IS NULL"
KEPT = "reason IS NULL AND events.rowid NOT IN (SELECT row FROM duplicates)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """The tables that a source filled, and how many lines of each could not be read at all."""

    con: duckdb.DuckDBPyConnection
    unreadable: dict[str, int]

    @property
    def tables(self) -> list[str]:
        """Names of the tables, in the order events, items, people."""
        return list(self.unreadable)

    def count(self, query: str) -> int:
        """Return the number that a query answers."""
        rows = self.con.execute(query).fetchall()  # all of them: what is left unread holds the connection
        return int(rows[0][0]) if rows else 0

    def rows(self, table: str, where: str = "true") -> int:
        """Return how many rows of a table there are."""
        return self.count(f"SELECT count(*) FROM {table} WHERE {where}") if table in self.unreadable else 0

    def stream(self, query: str) -> pa.RecordBatchReader:
        """Return a query's rows in Arrow batches, made as they are asked for."""
        return self.con.sql(query).to_arrow_reader(BATCH_ROWS)


def read(con: duckdb.DuckDBPyConnection, source: Source, progress: Progress) -> Offer:
    """Read the source's queries into tables events, items, people. Raises ContractError when files cannot be read."""
    queries = {"events": source.events, "items": source.items, "people": source.people}
    offer = Offer(con=con, unreadable={})
    for name, query in queries.items():
        if query:
            _create(con, source, name, query)
            rows = offer.count(f"SELECT count(*) FROM {name}")
            offer.unreadable[name] = _unreadable(con, source, name, rows)
            progress(f"read {name}", rows + offer.unreadable[name])
    return offer


def keep_pseudonyms(offer: Offer) -> None:
    """Make the table names, for events whose people are pseudonyms already: everybody's is the one that they have."""
    offer.con.execute(
        "CREATE TABLE names AS SELECT DISTINCT person AS name, person AS pseudonym FROM events WHERE person IS NOT NULL"
    )


def name_people(offer: Offer, key: str, progress: Progress) -> None:
    """Make the table names (name, pseudonym) of everybody in events and people; each is hashed once."""
    offer.con.execute("CREATE TABLE IF NOT EXISTS names (name VARCHAR, pseudonym VARCHAR)")
    wanted = [
        f"SELECT DISTINCT {check.person_of(CONTRACTS[t])} AS name FROM {t}"
        for t in offer.tables
        if t != "items"
    ]
    if not wanted:
        return
    union = " UNION ".join(wanted)
    new = f"SELECT name FROM ({union}) WHERE name IS NOT NULL AND name NOT IN (SELECT name FROM names)"
    offer.con.execute(f"CREATE TABLE nameless AS {new}")
    for batch in offer.stream("SELECT name FROM nameless"):
        known = batch.column(0).to_pylist()
        made = [pseudonym(name, key) for name in known]
        with offer.con.cursor() as cursor:  # lists, since DuckDB imports pandas to be handed a table
            cursor.execute("INSERT INTO names SELECT unnest(?), unnest(?)", [known, made])
    progress("pseudonyms", offer.count("SELECT count(*) FROM names"))


def mark_duplicates(offer: Offer, history: Iterable[Path], progress: Progress) -> None:
    """Make the table duplicates (row) of events whose id an earlier row or the history bears; the history is streamed."""
    offer.con.execute("CREATE TABLE duplicates (row BIGINT)")
    if "events" not in offer.tables:
        return
    offer.con.execute("CREATE TABLE seen (id VARCHAR)")
    if files := tuple(history):
        # The batch's ids are what is held in memory; the history flows past them.
        offer.con.execute(
            f"INSERT INTO seen SELECT id FROM {parquet(files)} WHERE id IN (SELECT id FROM events WHERE {SOUND})"
        )
    # Hashes first: they are an eighth of the ids, and nearly always no two are alike.
    offer.con.execute(f"""
        INSERT INTO duplicates
        WITH alike AS (SELECT hash(id) AS code FROM events WHERE {SOUND} GROUP BY code HAVING count(*) > 1),
        numbered AS (SELECT rowid AS row, row_number() OVER (PARTITION BY id ORDER BY row, rowid) AS turn
                     FROM events WHERE {SOUND} AND hash(id) IN (SELECT code FROM alike))
        SELECT row FROM numbered WHERE turn > 1
        UNION SELECT rowid FROM events WHERE {SOUND} AND id IN (SELECT id FROM seen)""")
    progress("duplicates", offer.count("SELECT count(*) FROM duplicates"))


def broken(offer: Offer, table: str) -> str:
    """Return the query of a table's rows for quarantine: contract, row, reason, raw (JSON, people as pseudonyms)."""
    contract = CONTRACTS[table].name
    prefix = "" if table == "events" else f"{contract}: "
    person = check.person_of(CONTRACTS[table])
    join = f"LEFT JOIN names ON names.name = {table}.{person}" if person else ""
    raw = "json_merge_patch('{}', raw)"  # without the fields that are empty
    if person:
        raw = f"json_merge_patch({raw}, json_object('{person}', names.pseudonym))"
    query = f"""SELECT '{contract}' AS contract, coalesce(row, {table}.rowid + 1) AS row, '{prefix}' || reason AS reason,
                       CAST({raw} AS VARCHAR) AS raw FROM {table} {join} WHERE reason IS NOT NULL"""
    if not offer.unreadable[table]:
        return query
    # The line itself stays out: nobody can tell where in it a person is named.
    return f"""{query} UNION ALL
        SELECT '{contract}', (SELECT count(*) FROM {table}) + row_number() OVER (ORDER BY file_id, line), '{prefix}' || says,
               CAST(json_object('line', line, 'byte', byte) AS VARCHAR) FROM ({unreadable_lines(rejects(table))})"""


def _unreadable(con: duckdb.DuckDBPyConnection, source: Source, name: str, rows: int) -> int:
    for table, text in source.delimited:
        if table == name:
            return text.account(con, rows, rejects(name))
    if not con.execute(
        f"SELECT 1 FROM duckdb_tables() WHERE table_name = {literal(rejects(name))}"
    ).fetchall():
        return 0
    return len(con.execute(unreadable_lines(rejects(name))).fetchall())


def _create(con: duckdb.DuckDBPyConnection, source: Source, name: str, query: str) -> None:
    try:
        types = {row[0]: row[1] for row in con.execute(f"DESCRIBE {query}").fetchall()}
        con.execute(f"CREATE TABLE {name} AS {check.offered(CONTRACTS[name], query, types)}")
    except duckdb.OutOfMemoryException as fault:
        raise UnavailableError(
            f"{source.name}: no room to read the {name}; free disk space in the home folder"
        ) from fault
    except duckdb.Error as fault:
        said = str(fault).splitlines()[0]
        raise ContractError(
            f"{source.name}: the {name} cannot be read ({said}); mend the file and import it again"
        ) from fault
