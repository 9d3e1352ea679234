"""The flow run in which a verb was done."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let what was done name its flow run; of what is older nobody knows it."""
    op.add_column("done", sa.Column("run", sa.String(80)))


def downgrade() -> None:
    """Take the column away."""
    op.drop_column("done", "run")
