"""Which variant of a prompt new runs are told."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "prompt_pins",
        sa.Column("prompt", ID, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("variant", sa.Text, nullable=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("prompt", "number"),
    )


def downgrade() -> None:
    op.drop_table("prompt_pins")
