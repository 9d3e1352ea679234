"""Feast's SQLite online store with five repairs; the tables are Feast's own, and so is everything above them.

1. An older row never overwrites a newer one; at one event time the later `created` wins. The guard is in the upsert itself.
2. Times are whole microseconds UTC: Feast's adapter cuts to seconds and goes through the local time zone of the process.
3. A write-ahead log, so that nobody who reads waits for who writes, taken down beside who writes; one connection per thread.
4. A file that was removed or replaced under a running process is noticed at the next read, and never made anew by a read.
5. No second index on the key, with which the primary key begins: a fifth of what it takes to write to a key for the first time.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from functools import cache, lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from feast import Entity, FeatureView, RepoConfig
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import compute_table_id
from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from pydantic import field_validator

from feature_repo import write_ahead

Row = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
BUSY_S = 30.0
LOOK_S = 0.02
READ_S = 0.25  # for which a read waits for a lock: readers of a write-ahead log hardly ever meet one
CACHE_KB = 256_000  # at most; who writes to tens of thousands of keys all day long reads each page once
KEYS_ASKED = 500  # by one statement
ROWS_WRITTEN = 512  # by one statement, a power of two: few statements, each prepared once
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class NewestSqliteOnlineStoreConfig(SqliteOnlineStoreConfig):
    """As Feast's own, under our name."""

    type: Any = "feature_repo.online_store.NewestSqliteOnlineStore"

    @field_validator("path")
    @classmethod
    def make_folder(cls, path: str) -> str:
        """Make the folder, a relative one seen from this repository: Feast's command line is to work in a fresh clone."""
        place = (Path(__file__).parent / path).resolve()
        place.parent.mkdir(parents=True, exist_ok=True)
        return str(place)


class NewestSqliteOnlineStore(SqliteOnlineStore):
    """One row per person and feature, of which the newest stays."""

    local = True

    def __init__(self) -> None:
        self._mine = threading.local()
        self._log = write_ahead.Lowering()

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Make the tables that are not there, and drop what Feast makes beside the primary key, here or earlier.

        Columns that a later Feast adds to its tables are not added to those that are there: nothing here reads them.
        """
        conn = self._get_conn(config)
        query = "SELECT name FROM sqlite_master WHERE type = 'table'"
        there = {_quoted(name) for (name,) in conn.execute(query)}
        fresh = [table for table in tables_to_keep if _table(config, table) not in there]
        super().update(config, tables_to_delete, fresh, entities_to_delete, entities_to_keep, partial)
        for table in tables_to_keep:
            conn.execute(f"DROP INDEX IF EXISTS {_quoted(_name(config, table) + '_ek')}")

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[Row],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Write the rows in one transaction, except where what is stored is newer."""
        conn = self._get_conn(config)
        with conn:
            conn.execute("BEGIN IMMEDIATE")
            conn.executemany(_UPSERT.format(table=_table(config, table)), _upserts(config, data))
        self._wrote(config, sum(len(values) for _, values, _, _ in data))
        if progress:
            progress(len(data))

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        """Return event time and values per key, (None, None) where nothing is stored. sqlite3.Error when the file is gone."""
        conn = self._open(config, create=False)
        wanted = None if requested_features is None else frozenset(requested_features)
        query = _READ.format(table=_table(config, table))
        return [_read(conn, query, _key(config, key), wanted) for key in entity_keys]

    def online_read_views(
        self, config: RepoConfig, asked: Sequence[tuple[FeatureView, bytes]]
    ) -> list[tuple[datetime | None, dict[str, bytes] | None]]:
        """Return event time and values of a key in each view, all by one query; otherwise as `online_read`.

        Keys and values as they are stored: to make an object of each of some thirty takes longer than to read them.
        """
        conn = self._open(config, create=False, busy_s=READ_S)
        query = _reading(tuple([_table(config, view) for view, _ in asked]))
        values: list[dict[str, bytes]] = [{} for _ in asked]
        times: list[int | None] = [None] * len(asked)
        for place, name, value, event_us in conn.execute(query, [key for _, key in asked]).fetchall():
            values[place][name] = value
            times[place] = event_us
        return [
            (None, None) if time is None else (_moment(time), found)
            for time, found in zip(times, values, strict=True)
        ]

    def write_texts(
        self,
        config: RepoConfig,
        table: FeatureView,
        rows: Sequence[tuple[bytes, str, bytes]],
        moment: datetime,
    ) -> None:
        """Write (key, feature, value), all as of one moment and serialised already, as `online_write_batch` does.

        A statement has many rows: a third of the processor's time of a statement for each.
        """
        conn, at, name = self._get_conn(config), _microseconds(moment), _table(config, table)
        with conn:
            conn.execute("BEGIN IMMEDIATE")
            start = 0
            while start < len(rows):
                count = min(ROWS_WRITTEN, 1 << (len(rows) - start).bit_length() - 1)
                values = [at, *chain.from_iterable(rows[start : start + count])]
                conn.execute(_upsert_many(name, count), values)
                start += count
        self._wrote(config, len(rows))

    def read_newest_texts(
        self, config: RepoConfig, table: FeatureView, keys: Sequence[bytes]
    ) -> Iterator[tuple[bytes, str, bytes]]:
        """Yield (key, feature, value) of the text with the highest number in each ring of each key, serialised as stored."""
        conn, name = self._open(config, create=False), _table(config, table)
        for start in range(0, len(keys), KEYS_ASKED):
            some = keys[start : start + KEYS_ASKED]
            query = _NEWEST_TEXTS.format(table=name, places=", ".join("?" * len(some)))
            for key, feature, value, _ in conn.execute(query, some):
                yield key, feature, value

    def latest(self, config: RepoConfig, table: FeatureView) -> datetime | None:
        """Return the newest event time of a view; None of an empty one. It reads all of it: a second for millions of rows."""
        conn = self._open(config, create=False)
        [[event_us]] = conn.execute(f"SELECT max(event_ts) FROM {_table(config, table)}").fetchall()
        return None if event_us is None else _moment(event_us)

    def expire(self, config: RepoConfig, table: FeatureView, before: datetime) -> int:
        """Delete the rows of a view that are older than a moment; return how many values went."""
        conn = self._open(config, create=False)
        query = f"DELETE FROM {_table(config, table)} WHERE event_ts < ?"
        return conn.execute(query, (_microseconds(before),)).rowcount

    def erase(self, config: RepoConfig, table: FeatureView, *entity_keys: EntityKey) -> int:
        """Delete what is stored under keys, so that the file's bytes hold it no more; return how many values went.

        A reader that holds the log busy leaves the pages in it until the next call or the next checkpoint: TimeoutError then.
        """
        if not Path(self._get_db_path(config)).is_file():
            return 0
        conn = self._open(config, create=False)
        conn.execute("PRAGMA secure_delete = ON")
        delete = _DELETE.format(table=_table(config, table))
        gone = sum(conn.execute(delete, (_key(config, key),)).rowcount for key in entity_keys)
        conn.execute("VACUUM")  # what an upsert overwrote earlier lies in free pages
        until = time.monotonic() + BUSY_S
        # one that is under way in another connection is not waited for by SQLite itself
        while conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            if time.monotonic() > until:
                raise TimeoutError(
                    "somebody reads the online store all the time, so that its log cannot be emptied"
                )
            time.sleep(LOOK_S)
        return gone

    def _wrote(self, config: RepoConfig, rows: int) -> None:
        self._log.wrote(Path(self._get_db_path(config)), rows)

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Remove the file, and its log, which would otherwise be replayed into the next one of that name."""
        self._log.join()
        with suppress(AttributeError):
            self._mine.conn.close()
            del self._mine.conn
        super().teardown(config, tables, entities)
        for end in ("-wal", "-shm"):
            Path(self._get_db_path(config) + end).unlink(missing_ok=True)

    @staticmethod
    def _get_db_path(config: RepoConfig) -> str:
        """Return where the file is: `make_folder` has made that absolute, which Feast's own looks into for each read."""
        path: str = config.online_store.path
        return path

    def _get_conn(self, config: RepoConfig) -> sqlite3.Connection:
        """Return this thread's connection, to write by: also where it read by it before."""
        conn = self._open(config, create=True)
        if self._mine.reads:
            self._mine.reads = False
            conn.execute(f"PRAGMA cache_size = -{CACHE_KB}")
            conn.execute(f"PRAGMA wal_autocheckpoint = {write_ahead.MOST_PAGES}")
        return conn

    def _open(self, config: RepoConfig, *, create: bool, busy_s: float = BUSY_S) -> sqlite3.Connection:
        """Return this thread's connection to the file that lies there now."""
        path = _file(self._get_db_path(config))
        conn: sqlite3.Connection | None = getattr(self._mine, "conn", None)
        if conn is not None and self._mine.inode == _inode(path):
            return conn
        if conn is not None:
            conn.close()
            del self._mine.conn
        uri = f"{path.resolve().as_uri()}?mode={'rwc' if create else 'rw'}"
        conn = sqlite3.connect(uri, uri=True, timeout=busy_s, isolation_level=None)
        try:
            conn.execute("PRAGMA journal_mode = WAL")
            conn.execute("PRAGMA synchronous = NORMAL")
        except sqlite3.Error:
            conn.close()
            raise
        self._mine.conn, self._mine.inode, self._mine.reads = conn, _inode(path), True
        return conn


_UPSERT = """
INSERT INTO {table} (entity_key, feature_name, value, event_ts, created_ts) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (entity_key, feature_name) DO UPDATE
SET value = excluded.value, event_ts = excluded.event_ts, created_ts = excluded.created_ts
WHERE excluded.event_ts > event_ts
    OR (excluded.event_ts = event_ts AND ifnull(excluded.created_ts, 0) >= ifnull(created_ts, 0))
"""
# A value that is a text is a tag, a length of one to three bytes (the last one below 128) and the text, which is "[NUMBER,...";
# beside max(), SQLite takes the other columns from the row that has it.
_NEWEST_TEXTS = """
SELECT entity_key, feature_name, value, max(CAST(CAST(substr(value,
    CASE WHEN substr(value, 2, 1) < X'80' THEN 4 WHEN substr(value, 3, 1) < X'80' THEN 5 ELSE 6 END, 20) AS TEXT) AS INTEGER))
FROM {table} WHERE entity_key IN ({places}) GROUP BY entity_key, substr(feature_name, 1, 1)
"""
_DELETE = "DELETE FROM {table} WHERE entity_key = ?"
_READ_ONE = "SELECT {place}, feature_name, value, event_ts FROM {table} WHERE entity_key = ?"
_READ = "SELECT feature_name, value, event_ts FROM {table} WHERE entity_key = ?"


@lru_cache(64)  # they differ by who is asked for: a person, a session, or both
def _reading(tables: tuple[str, ...]) -> str:
    """Return the query that reads one key from each of these tables."""
    return " UNION ALL ".join(
        _READ_ONE.format(place=place, table=table) for place, table in enumerate(tables)
    )


@cache
def _upsert_many(table: str, rows: int) -> str:
    """Return the upsert of so many rows: parameter 1 is their moment, three more each are key, feature and value."""
    values = ", ".join(f"(?{at}, ?{at + 1}, ?{at + 2}, ?1, ?1)" for at in range(2, 3 * rows + 2, 3))
    return _UPSERT.format(table=table).replace("(?, ?, ?, ?, ?)", values)


def _table(config: RepoConfig, view: FeatureView) -> str:
    return _quoted(_name(config, view))


def _name(config: RepoConfig, view: FeatureView) -> str:
    name: str = compute_table_id(config.project, view, config.registry.enable_online_feature_view_versioning)
    return name


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _key(config: RepoConfig, key: EntityKey) -> bytes:
    return serialize_entity_key(key, entity_key_serialization_version=config.entity_key_serialization_version)


def _upserts(config: RepoConfig, data: list[Row]) -> Iterator[tuple[bytes, str, bytes, int, int | None]]:
    for key, values, event_time, created in data:
        times = _microseconds(event_time), None if created is None else _microseconds(created)
        key_bytes = _key(config, key)
        for name, value in values.items():
            yield key_bytes, name, value.SerializeToString(), *times


def _read(
    conn: sqlite3.Connection, query: str, key: bytes, wanted: frozenset[str] | None
) -> tuple[datetime | None, dict[str, Value] | None]:
    values: dict[str, Value] = {}
    event_time = None
    with closing(conn.execute(query, (key,))) as rows:
        for name, value, event_us in rows:
            if wanted is None or name in wanted:
                values[name] = Value.FromString(value)
                event_time = event_us
    if event_time is None:
        return None, None
    return _moment(event_time), values


def _moment(event_us: int) -> datetime:
    return datetime.fromtimestamp(event_us // 1_000_000, UTC).replace(microsecond=event_us % 1_000_000)


def _microseconds(moment: datetime) -> int:
    """Return microseconds since 1970; Feast hands over UTC without saying so."""
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    since = moment - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


@cache
def _file(path: str) -> Path:
    return Path(path)  # made for each read, it would cost as much as its inode


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_dev, stat.st_ino
