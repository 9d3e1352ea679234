"""A person taken out of what has landed: their events, their row among the people, their rows in quarantine.

Files are rewritten without those rows as any batch is committed: staged, made to count by one commit file, renamed into place.
Rows of others stay what they were, in their order.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from counterfoil import canonical
from counterfoil.contracts import EVENT, PERSON
from counterfoil.importers.sql import files, literal
from counterfoil.landing import held, part, staging
from counterfoil.landing import manifest as manifests
from counterfoil.landing.engine import connect
from counterfoil.landing.intake import columns_of, prove
from counterfoil.landing.manifest import Batch, DayPart
from counterfoil.landing.offer import BATCH_ROWS
from counterfoil.landing.progress import Progress, silent
from counterfoil.settings import Settings

KIND = "erasure"


def sessions_of(settings: Settings, person: str) -> tuple[str, ...]:
    """Return the sessions in which a pseudonym, and nobody else, was seen.

    Who was not named yet is known by the session's own pseudonym, and is nobody else.
    """
    return tuple(session for session, alone in _visits(settings, person) if alone)


def visits_of(settings: Settings, person: str) -> tuple[str, ...]:
    """Return all sessions in which a pseudonym was seen, those of others too among them."""
    return tuple(session for session, _ in _visits(settings, person))


def _visits(settings: Settings, person: str) -> list[tuple[str, bool]]:
    """Return the sessions in which a pseudonym was seen, and whether nobody else was."""
    days = _days(settings)
    if not days:
        return []
    with duckdb.connect(config={"threads": settings.threads}) as con:
        con.execute("SET enable_progress_bar = false")
        return con.execute(
            f"""WITH own AS (SELECT DISTINCT session FROM {_of(days)} WHERE person = $person AND session IS NOT NULL)
                SELECT session, session NOT IN (
                    SELECT session FROM {_of(days)}
                    WHERE person <> $person AND person <> session AND session IN (SELECT session FROM own))
                FROM own ORDER BY session""",
            {"person": person},
        ).fetchall()


def rows_of(
    settings: Settings, person: str, sessions: tuple[str, ...]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (kind, row) of all that has landed of a person: `events`, `people`, and what is in `quarantine`."""
    with duckdb.connect(config={"threads": settings.threads}) as con:
        con.execute("SET enable_progress_bar = false")
        con.execute("SET TimeZone = 'UTC'")
        for kind, query in _queries(settings, person, sessions):
            for batch in con.sql(query).to_arrow_reader(BATCH_ROWS):
                for row in batch.to_pylist():
                    yield kind, row


def erase(
    settings: Settings, person: str, sessions: tuple[str, ...], name: str, progress: Progress = silent
) -> dict[str, int]:
    """Take all rows of a pseudonym out; return how many went, by kind. Nothing is written where there are none.

    `name` tells this erasure from others. ConflictError when an import is going on; IntegrityError when a file that is to
    be rewritten is not the one that landed.
    """
    with staging.locked(settings, progress):
        for half in (settings.landing / "quarantine").glob("*.new"):
            half.unlink()
        manifest = manifests.load(settings)
        digest = canonical.sha256([KIND, name, manifest.digest])
        folder = staging.open_stage(settings, f"{KIND}-{digest[:16]}")
        try:
            with connect(settings, folder / "spill") as con:
                taken, what = _stage(con, settings, folder, person, sessions, digest)
        except BaseException:
            shutil.rmtree(folder)
            raise
        if not any(taken.values()):
            shutil.rmtree(folder)
            return taken
        staging.commit(settings, folder, what, progress)
    return taken


def _stage(
    con: duckdb.DuckDBPyConnection,
    settings: Settings,
    folder: Path,
    person: str,
    sessions: tuple[str, ...],
    digest: str,
) -> tuple[dict[str, int], staging.Commit]:
    manifest = manifests.load(settings)
    days, gone, events = {}, [], 0
    for day in _days_of(con, settings, person):
        path = settings.landing / part.day_file(day)
        prove(path, manifest.days[day])
        made = _without(
            con, path, columns_of(path, EVENT), f"person <> {literal(person)}", folder, part.day_file(day)
        )
        events += manifest.days[day].rows - made.rows
        if made.rows:
            days[day] = made
        else:
            gone.append(day)
    people = _people(con, settings, folder, person, manifest.people)
    kept, emptied, quarantined = _quarantine(con, settings, folder, person, sessions)
    told = 0 if people is None or manifest.people is None else manifest.people.rows - people.rows
    moves = [*map(part.day_file, days), *(["people.parquet"] if people is not None else []), *kept]
    commit = staging.Commit(
        batch=_batch(digest),
        days=days,
        people=people,
        moves=tuple(moves),
        removals=(*map(part.day_file, gone), *emptied),
        gone=tuple(gone),
    )
    return {"events": events, "people": told, "quarantine": quarantined}, commit


def _people(
    con: duckdb.DuckDBPyConnection, settings: Settings, folder: Path, person: str, known: DayPart | None
) -> DayPart | None:
    path = settings.landing / "people.parquet"
    if known is None or not _count(
        con, f"SELECT count(*) FROM read_parquet({literal(path)}) WHERE id = {literal(person)}"
    ):
        return None
    prove(path, known)
    return _without(con, path, columns_of(path, PERSON), f"id <> {literal(person)}", folder, "people.parquet")


def _quarantine(
    con: duckdb.DuckDBPyConnection, settings: Settings, folder: Path, person: str, sessions: tuple[str, ...]
) -> tuple[list[str], list[str], int]:
    """Stage the files of quarantine that hold the person; return which stay, which are empty then, and how many rows went."""
    kept: list[str] = []
    emptied: list[str] = []
    rows = 0
    theirs = _held_of(person, sessions)
    for path in sorted((settings.landing / "quarantine").glob("*.parquet")):
        found = _count(con, f"SELECT count(*) FROM read_parquet({literal(path)}) WHERE {theirs}")
        if not found:
            continue
        rows += found
        name = held.file_of(path.stem)
        query = (
            f"SELECT {', '.join(held.SCHEMA.names)} FROM read_parquet({literal(path)}) WHERE NOT ({theirs})"
        )
        made = part.write_part(
            con.sql(query).to_arrow_reader(BATCH_ROWS), staging.staged(folder, name), held.SCHEMA
        )
        (kept if made.rows else emptied).append(name)
    return kept, emptied, rows


def _held_of(person: str, sessions: tuple[str, ...]) -> str:
    """Return the condition by which a row of quarantine is the person's: by pseudonym, or by session where nobody is named."""
    own = [f"coalesce(raw ->> '$.person' = {literal(person)}, false)"]
    own.append(f"coalesce(contract = 'person' AND raw ->> '$.id' = {literal(person)}, false)")
    if sessions:
        listed = ", ".join(map(literal, sessions))
        own.append(f"coalesce(raw ->> '$.person' IS NULL AND raw ->> '$.session' IN ({listed}), false)")
    return " OR ".join(own)


def _without(
    con: duckdb.DuckDBPyConnection, path: Path, columns: str, where: str, folder: Path, name: str
) -> DayPart:
    query = f"SELECT {columns} FROM read_parquet({literal(path)}, hive_partitioning = false) WHERE {where}"
    contract = PERSON if name == "people.parquet" else EVENT
    return part.write_part(
        con.sql(query).to_arrow_reader(BATCH_ROWS), staging.staged(folder, name), contract.arrow()
    )


def _days(settings: Settings) -> tuple[Path, ...]:
    return tuple(settings.landing / part.day_file(day) for day in staging.read_manifest(settings).days)


def _days_of(con: duckdb.DuckDBPyConnection, settings: Settings, person: str) -> list[str]:
    found_days = tuple(settings.landing / part.day_file(day) for day in manifests.load(settings).days)
    if not found_days:
        return []
    found = con.execute(
        f"SELECT DISTINCT filename FROM {_of(found_days, ', filename = true')} WHERE person = $person",
        {"person": person},
    ).fetchall()
    return sorted(Path(name).parent.name.removeprefix("day=") for (name,) in found)


def _queries(settings: Settings, person: str, sessions: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if days := _days(settings):
        yield "events", f"SELECT * FROM {_of(days)} WHERE person = {literal(person)} ORDER BY time, id"
    if (people := settings.landing / "people.parquet").is_file():
        yield "people", f"SELECT * FROM read_parquet({literal(people)}) WHERE id = {literal(person)}"
    for path in sorted((settings.landing / "quarantine").glob("*.parquet")):
        source = f"SELECT {literal(path.stem)} AS batch, * FROM read_parquet({literal(path)})"
        yield "quarantine", f"SELECT * FROM ({source}) WHERE {_held_of(person, sessions)}"


def _of(days: tuple[Path, ...], more: str = "") -> str:
    """Return the relation of days' files, of which older ones may lack columns that came into the contract later."""
    return f"read_parquet({files(days)}, hive_partitioning = false, union_by_name = true{more})"


def _count(con: duckdb.DuckDBPyConnection, query: str) -> int:
    [(count,)] = con.execute(query).fetchall()
    return int(count)


def _batch(digest: str) -> Batch:
    """Return the record of an erasure among the batches: that it was, and no more."""
    return Batch(
        batch=f"{KIND}-{digest[:16]}",
        name=KIND,
        digest=digest,
        rows_in=0,
        landed=0,
        duplicates=0,
        quarantined=0,
        reasons={},
        days=(),
        items=0,
        people=0,
    )
