"""Alembic's entry: runs the revisions on the engine that `migrate` hands over, in one transaction."""

from alembic import context

from counterfoil.catalog.tables import METADATA
from counterfoil.ledger import tables as ledger

engine = context.config.attributes["engine"]
with engine.begin() as connection:
    context.configure(
        connection=connection, target_metadata=[METADATA, ledger.METADATA], render_as_batch=True
    )
    with context.begin_transaction():
        context.run_migrations()
