"""Alembic's entry. It runs only inside the transaction that `database.upgrade` opened and hands over."""

from alembic import context

from leverframe.store.database import VERSION_TABLE
from leverframe.store.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
