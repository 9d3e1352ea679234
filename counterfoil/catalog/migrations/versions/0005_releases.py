"""At most one challenger at a time, and the outbox: what is to be told of each release, written with it.

A catalog that holds two challengers cannot be brought up to date: none was ever written by a version before this one.
"""

import sqlalchemy as sa
from alembic import op

from counterfoil.catalog.tables import UtcTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
CHALLENGING = sa.text("stage IN ('shadow', 'canary') AND valid_to IS NULL")


def upgrade() -> None:
    """Make the index and the table; of releases that are older nobody is told."""
    op.create_index(
        "one_challenger",
        "release",
        ["use_case"],
        unique=True,
        sqlite_where=CHALLENGING,
        postgresql_where=CHALLENGING,
    )
    op.create_table(
        "outbox",
        sa.Column("release", sa.String(80), sa.ForeignKey("release.id"), primary_key=True),
        sa.Column("use_case", sa.String(80), nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("recorded_at", UtcTime, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("taken", sa.Text, nullable=False),
        sa.Column("said", sa.Text),
        sa.Column("delivered_at", UtcTime),
    )
    op.create_index("outbox_waiting", "outbox", ["delivered_at", "use_case", "epoch"])


def downgrade() -> None:
    """Take both away."""
    op.drop_table("outbox")
    op.drop_index("one_challenger", "release")
