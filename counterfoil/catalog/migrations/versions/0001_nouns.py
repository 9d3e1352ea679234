"""The first tables: nouns, edges, stored versions, what was done, releases.

Written out, not taken from tables.py: what this revision makes must stay the same when the tables of today change.
"""

import sqlalchemy as sa
from alembic import op

from counterfoil.catalog.tables import UtcTime

revision = "0001"
down_revision = None
TABLES = ("noun", "edge", "stored", "done", "release")
SERVING = sa.text("stage = 'champion' AND valid_to IS NULL")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "noun",
        sa.Column("id", sa.String(80), primary_key=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("use_case", sa.String(80)),
        sa.Column("recorded_at", UtcTime, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("body_sha256", sa.String(64), nullable=False),
        sa.Column("address", sa.String(80)),
    )
    op.create_index("noun_by_kind", "noun", ["kind", "use_case", "recorded_at"])
    op.create_table(
        "edge",
        sa.Column("child", sa.String(80), sa.ForeignKey("noun.id"), primary_key=True),
        sa.Column("parent", sa.String(80), sa.ForeignKey("noun.id"), primary_key=True),
        sa.Column("role", sa.String(40), primary_key=True),
    )
    op.create_index("edge_by_parent", "edge", ["parent"])
    op.create_table(
        "stored",
        sa.Column("address", sa.String(80), primary_key=True),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("manifest", sa.Text, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("recorded_at", UtcTime, nullable=False),
    )
    op.create_table(
        "done",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("verb", sa.String(40), nullable=False),
        sa.Column("nouns", sa.Text, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("recorded_at", UtcTime, nullable=False),
    )
    op.create_table(
        "release",
        sa.Column("id", sa.String(80), sa.ForeignKey("noun.id"), primary_key=True),
        sa.Column("use_case", sa.String(80), nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("stage", sa.String(20), nullable=False),
        sa.Column("share", sa.Float, nullable=False),
        sa.Column("valid_from", UtcTime, nullable=False),
        sa.Column("valid_to", UtcTime),
        sa.CheckConstraint("share >= 0 AND share <= 1", name="release_share"),
        sa.CheckConstraint("stage IN ('shadow', 'canary', 'champion', 'retired')", name="release_stage"),
    )
    op.create_index("release_epoch", "release", ["use_case", "epoch"], unique=True)
    op.create_index(
        "one_champion", "release", ["use_case"], unique=True, sqlite_where=SERVING, postgresql_where=SERVING
    )


def downgrade() -> None:
    """Drop the tables, children first."""
    for name in reversed(TABLES):
        op.drop_table(name)
