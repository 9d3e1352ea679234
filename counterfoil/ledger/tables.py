"""The ledger's tables: entries, which are only ever added, and the tree's peaks after the last one."""

from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, String, Table

METADATA = MetaData()

LEDGER = Table(
    "ledger",
    METADATA,
    Column("entry", BigInteger, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),
    Column("leaf", LargeBinary(32), nullable=False),
)
# One row, which saves reading all entries before one is added; `public` is the key that was named last. Nobody who verifies
# believes it.
PEAKS = Table(
    "ledger_peaks",
    METADATA,
    Column("only", BigInteger, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("at", String(40), nullable=False),
    Column("leaf", String(64), nullable=False),
    Column("peaks", LargeBinary, nullable=False),
    Column("public", String(44)),
)
