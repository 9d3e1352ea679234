"""Sealed segments of receipts.

Written out, not taken from the tables of today.
"""

import sqlalchemy as sa
from alembic import op

from counterfoil.catalog.tables import UtcTime

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "segment",
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("receipts", sa.Integer, nullable=False),
        sa.Column("root", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("recorded_at", UtcTime, nullable=False),
    )


def downgrade() -> None:
    """Take it away."""
    op.drop_table("segment")
