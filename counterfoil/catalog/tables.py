"""The catalog's tables, and how a database is opened. What they mean is in catalog.py."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    DateTime,
    ExceptionContext,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    create_engine,
    event,
    text,
)
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DatabaseError, DataError, IntegrityError, ProgrammingError

from counterfoil.errors import UnavailableError


class UtcTime(TypeDecorator[datetime]):
    """A moment in UTC: SQLite forgets the zone, so it is taken off and put back here."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Refuse a naive moment; store UTC."""
        if value is not None and value.tzinfo is None:
            raise ValueError(f"{value} has no time zone; give it one")
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Give the zone back."""
        return value if value is None or value.tzinfo else value.replace(tzinfo=UTC)


METADATA = MetaData()

NOUN = Table(
    "noun",
    METADATA,
    Column("id", String(80), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("use_case", String(80)),
    Column("recorded_at", UtcTime, nullable=False),
    Column("body", Text, nullable=False),
    Column("body_sha256", String(64), nullable=False),
    Column("address", String(80)),
    Index("noun_by_kind", "kind", "use_case", "recorded_at"),
)
EDGE = Table(
    "edge",
    METADATA,
    Column("child", String(80), ForeignKey("noun.id"), primary_key=True),
    Column("parent", String(80), ForeignKey("noun.id"), primary_key=True),
    Column("role", String(40), primary_key=True),
    Index("edge_by_parent", "parent"),
)
STORED = Table(
    "stored",
    METADATA,
    Column("address", String(80), primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("manifest", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("recorded_at", UtcTime, nullable=False),
)
DONE = Table(
    "done",
    METADATA,
    Column("key", String(64), primary_key=True),
    Column("verb", String(40), nullable=False),
    Column("nouns", Text, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("run", String(80)),
    Column("recorded_at", UtcTime, nullable=False),
)
RELEASE = Table(
    "release",
    METADATA,
    Column("id", String(80), ForeignKey("noun.id"), primary_key=True),
    Column("use_case", String(80), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("stage", String(20), nullable=False),
    Column("share", Float, nullable=False),
    Column("valid_from", UtcTime, nullable=False),
    Column("valid_to", UtcTime),
    CheckConstraint("share >= 0 AND share <= 1", name="release_share"),
    CheckConstraint("stage IN ('shadow', 'canary', 'champion', 'retired')", name="release_stage"),
    Index("release_epoch", "use_case", "epoch", unique=True),
    # The database itself holds that nobody ever sees two champions.
    Index(
        "one_champion",
        "use_case",
        unique=True,
        sqlite_where=text("stage = 'champion' AND valid_to IS NULL"),
        postgresql_where=text("stage = 'champion' AND valid_to IS NULL"),
    ),
    # Nor two challengers: one question at a time is asked of the people.
    Index(
        "one_challenger",
        "use_case",
        unique=True,
        sqlite_where=text("stage IN ('shadow', 'canary') AND valid_to IS NULL"),
        postgresql_where=text("stage IN ('shadow', 'canary') AND valid_to IS NULL"),
    ),
)
OUTBOX = Table(
    "outbox",
    METADATA,
    Column("release", String(80), ForeignKey("release.id"), primary_key=True),
    Column("use_case", String(80), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("body", Text, nullable=False),
    Column("recorded_at", UtcTime, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("taken", Text, nullable=False),
    Column("said", Text),
    Column("delivered_at", UtcTime),
    Index("outbox_waiting", "delivered_at", "use_case", "epoch"),
)

SEGMENT = Table(
    "segment",
    METADATA,
    Column("name", String(40), primary_key=True),
    Column("receipts", Integer, nullable=False),
    Column("root", String(64), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("recorded_at", UtcTime, nullable=False),
)


def engine_for(url: str) -> Engine:
    """Open a database. On SQLite every transaction is BEGIN IMMEDIATE, so that two writers wait instead of failing.

    A database that fails (locked, full, torn, gone) raises UnavailableError.
    """
    engine = create_engine(url)
    event.listen(engine, "handle_error", _say)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def reader_of(engine: Engine) -> Engine:
    """Return the engine for transactions that only read, each of one snapshot; nobody waits for another."""
    if engine.dialect.name == "sqlite":
        return engine.execution_options(reads=True)
    return engine.execution_options(isolation_level="REPEATABLE READ")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(
        "BEGIN" if connection.get_execution_options().get("reads") else "BEGIN IMMEDIATE"
    )


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
        connection.execute(f"PRAGMA {pragma}")


def _say(context: ExceptionContext) -> None:
    """Turn a fault of the database (not of a statement or a row) into one sentence of ours."""
    fault = context.sqlalchemy_exception
    if isinstance(fault, DatabaseError) and not isinstance(
        fault, IntegrityError | DataError | ProgrammingError
    ):
        where = "" if context.engine is None else f" at {context.engine.url!r}"
        said = " ".join(str(fault.orig).split())  # drivers may take several lines
        raise UnavailableError(
            f"the catalog{where} does not work: {said}; mend it or restore it, then run again"
        ) from fault
