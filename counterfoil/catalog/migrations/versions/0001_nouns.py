"""The first tables: nouns, edges, stored versions, what was done, releases."""

from alembic import op

from counterfoil.catalog.tables import METADATA

revision = "0001"
down_revision = None
TABLES = ("noun", "edge", "stored", "done", "release")


def upgrade() -> None:
    """Make the tables."""
    METADATA.create_all(op.get_bind(), tables=[METADATA.tables[name] for name in TABLES], checkfirst=True)


def downgrade() -> None:
    """Drop the tables, children first."""
    for name in reversed(TABLES):
        op.drop_table(name)
