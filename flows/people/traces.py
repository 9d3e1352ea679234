"""Traces of a person in what is written on the way: logs, reports, the database of Prefect, and whatever else lies in the home.

Found by marks that can stand for nobody else. Lines of logs go; elsewhere the mark is replaced, and the file stays readable.
"""

import mmap
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from counterfoil.files import write_durably
from flows.people.who import Who
from flows.place import Place
from flows.standards.journal import Journal

LOGS, JOURNAL = "logs", "openlineage"
# Walked by places of their own, or nobody's data: keys, heads, code and models of bentos.
ELSEWHERE = {
    "landing", "events", "features", "receipts", "inbox", "simulated", "work", "bentoml", ".dvc", "keys", "checkpoints",
    "erasures",
}  # fmt: skip
INSTEAD = "forgotten"
SQLITE = b"SQLite format 3\x00"
BESIDE = ("-wal", "-shm", "-journal")
CATALOG = "catalog.sqlite"
SEEN = "marked(CAST({} AS BLOB))"


def log_rows(place: Place, who: Who) -> Iterator[dict[str, Any]]:
    """Yield the lines of logs that speak of the person."""
    pattern = who.pattern()
    for path in _logs(place):
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if pattern.search(line):
                    yield {
                        "file": _name(place, path),
                        "line": number,
                        "text": line.decode(errors="replace").rstrip(),
                    }


def log_remove(place: Place, who: Who) -> None:
    """Take those lines out of the logs, in place: whoever writes to one goes on at its end."""
    pattern = who.pattern()
    for path in _logs(place):
        with path.open("r+b") as file:
            lines = file.readlines()
            kept = [line for line in lines if not pattern.search(line)]
            if len(kept) < len(lines):
                file.seek(0)
                file.writelines(kept)
                file.truncate()


def other_rows(place: Place, who: Who) -> Iterator[dict[str, Any]]:
    """Yield the reports, caches and databases of tools that speak of the person, and how often."""
    pattern = who.pattern()
    for path in _others(place):
        count = _database_count(path, who) if _is_database(path) else _count(path, pattern)
        if count:
            yield {"file": _name(place, path), "times": count}


def other_remove(place: Place, who: Who) -> None:
    """Replace the marks in reports, caches and databases of tools."""
    pattern = who.pattern()
    for path in _others(place):
        if _is_database(path):
            if _database_count(path, who):
                _database_clean(path, who)
        elif _count(path, pattern):
            if path.parent == place.settings.home / JOURNAL:
                _clean_journal(path, pattern)
            else:
                write_durably(path, pattern.sub(INSTEAD.encode(), path.read_bytes()))


def _clean_journal(path: Path, pattern: "re.Pattern[bytes]") -> None:
    """Replace marks by as many bytes: readers of the journal know how far they came by offsets. Nobody writes meanwhile."""
    with Journal(folder=path.parent).locked:
        write_durably(
            path,
            pattern.sub(
                lambda mark: INSTEAD.encode().ljust(len(mark[0]), b"-")[: len(mark[0])], path.read_bytes()
            ),
        )


def _logs(place: Place) -> list[Path]:
    folder = place.settings.home / LOGS
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []


def _others(place: Place) -> Iterator[Path]:
    """Yield the files of the home that no other place walks; a database's logs belong to it."""
    for top in sorted(place.settings.home.iterdir()):
        if top.name in ELSEWHERE | {LOGS} or top.name.startswith(CATALOG):
            continue
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            if path.is_file() and not path.name.endswith(BESIDE):
                yield path


def _name(place: Place, path: Path) -> str:
    return path.relative_to(place.settings.home).as_posix()


def _is_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(SQLITE)) == SQLITE


def _count(path: Path, pattern: "re.Pattern[bytes]") -> int:
    if not path.stat().st_size:
        return 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return sum(1 for _ in pattern.finditer(content))


def _database_count(path: Path, who: Who) -> int:
    """Return how many values of a database hold a mark; 1 where only its free pages or its log do."""
    pattern = who.pattern()
    total = 0
    with closing(_opened(path, pattern)) as db:
        for table, column in _columns(db):
            total += db.execute(f"SELECT count(*) FROM {table} WHERE {SEEN.format(column)}").fetchone()[0]
    if total:
        return total
    beside = [path.with_name(path.name + end) for end in BESIDE]
    return int(any(_count(one, pattern) for one in [path, *beside] if one.is_file()))


def _database_clean(path: Path, who: Who) -> None:
    """Replace marks in every text, and write the file anew so that free pages hold none."""
    with closing(_opened(path, who.pattern())) as db:
        db.execute("PRAGMA secure_delete = ON")
        db.execute("BEGIN IMMEDIATE")
        for table, column in _columns(db):
            db.execute(
                f"UPDATE {table} SET {column} = cleaned(CAST({column} AS BLOB)) WHERE {SEEN.format(column)}"
            )
        db.execute("COMMIT")
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _opened(path: Path, pattern: "re.Pattern[bytes]") -> sqlite3.Connection:
    """Open a database with two functions: whether a value is `marked`, and the value `cleaned`, as text."""
    db = sqlite3.connect(path, timeout=30.0, isolation_level=None)
    db.create_function("marked", 1, lambda value: value is not None and pattern.search(value) is not None)
    db.create_function(
        "cleaned", 1, lambda value: pattern.sub(INSTEAD.encode(), value).decode(errors="replace")
    )
    return db


def _columns(db: sqlite3.Connection) -> list[tuple[str, str]]:
    """Return (table, column) of every ordinary table, quoted."""
    tables = [
        name
        for (name,) in db.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        )
    ]
    out = []
    for name in tables:
        quoted = '"' + name.replace('"', '""') + '"'
        for row in db.execute(f"PRAGMA table_info({quoted})"):
            if str(row[2]).upper().split("(")[0] not in {"INTEGER", "BIGINT", "FLOAT", "BOOLEAN", "DATETIME"}:
                out.append((quoted, '"' + str(row[1]).replace('"', '""') + '"'))
    return out
