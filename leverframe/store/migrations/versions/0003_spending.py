"""What machines use up a day."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "spending",
        sa.Column("machine", ID, nullable=False),
        sa.Column("day", ID, nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("model_calls", "tokens", "cost")),
        sa.PrimaryKeyConstraint("machine", "day"),
    )


def downgrade() -> None:
    op.drop_table("spending")
