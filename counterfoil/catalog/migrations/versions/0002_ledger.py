"""The ledger: entries and the tree's peaks. The database itself refuses to change or to take out an entry.

Written out, not taken from the tables of today. Who owns the database can take the triggers away: signed heads are the proof.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
REFUSAL = "entries of the ledger are never changed"


def upgrade() -> None:
    """Make the tables and the triggers."""
    op.create_table(
        "ledger",
        sa.Column("entry", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("leaf", sa.LargeBinary(32), nullable=False),
    )
    op.create_table(
        "ledger_peaks",
        sa.Column("only", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("at", sa.String(40), nullable=False),
        sa.Column("leaf", sa.String(64), nullable=False),
        sa.Column("peaks", sa.LargeBinary, nullable=False),
        sa.Column("public", sa.String(44)),
    )
    op.execute(
        sa.text(
            "INSERT INTO ledger_peaks (\"only\", size, at, leaf, peaks) VALUES (0, 0, '', :leaf, :peaks)"
        ).bindparams(sa.bindparam("leaf", "0" * 64), sa.bindparam("peaks", b"", sa.LargeBinary))
    )
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER ledger_keeps_{verb.lower()} BEFORE {verb} ON ledger"
                f" BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
            )
    else:
        op.execute(
            "CREATE FUNCTION ledger_keeps() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN RAISE EXCEPTION '{REFUSAL}'; END $$"
        )
        op.execute(
            "CREATE TRIGGER ledger_keeps BEFORE UPDATE OR DELETE ON ledger"
            " FOR EACH ROW EXECUTE FUNCTION ledger_keeps()"
        )
        op.execute(
            "CREATE TRIGGER ledger_keeps_all BEFORE TRUNCATE ON ledger"
            " FOR EACH STATEMENT EXECUTE FUNCTION ledger_keeps()"
        )


def downgrade() -> None:
    """Take the tables away, the triggers with them."""
    op.drop_table("ledger_peaks")
    op.drop_table("ledger")
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION ledger_keeps()")
