"""The tables of the first release."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    definitions()
    runs()
    events()
    effects()
    human_tasks()
    inbound()
    schedules()


def downgrade() -> None:
    for table in ("schedules", "inbound", "human_tasks", "effects", "events", "runs", "definitions"):
        op.drop_table(table)


def index(name: str, table: str, columns: list[str], where: str | None = None, *, unique: bool = False) -> None:
    condition = None if where is None else sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def required(name: str, kind: type[sa.Text | sa.Integer | sa.BigInteger] | sa.Text) -> sa.Column[str | int]:
    return sa.Column(name, kind, nullable=False)


def optional(name: str, kind: type[sa.Text | sa.Integer | sa.BigInteger] | sa.Text) -> sa.Column[str | int]:
    return sa.Column(name, kind, nullable=True)


def definitions() -> None:
    op.create_table(
        "definitions",
        required("hash", ID),
        required("name", sa.Text),
        required("body", sa.Text),
        required("at", sa.BigInteger),
        sa.PrimaryKeyConstraint("hash"),
    )


def runs() -> None:
    op.create_table(
        "runs",
        required("id", ID),
        required("tenant", sa.Text),
        required("machine", sa.Text),
        required("def_hash", ID),
        required("status", sa.Text),
        required("state", sa.Text),
        required("execution", sa.Text),
        required("seq", sa.Integer),
        required("head_hash", sa.Text),
        optional("start_key", sa.Text),
        required("start_hash", sa.Text),
        optional("parent", ID),
        optional("source", sa.Text),
        optional("reply_to", sa.Text),
        required("created_at", sa.BigInteger),
        required("updated_at", sa.BigInteger),
        required("fence", sa.Integer),
        optional("lease_owner", sa.Text),
        optional("lease_until", sa.BigInteger),
        optional("wake_at", sa.BigInteger),
        optional("want", sa.Text),
        optional("want_by", sa.Text),
        required("inbox", sa.Integer),
        required("claims", sa.Integer),
        required("memory", sa.Text),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["def_hash"], ["definitions.hash"], name="runs_of_definition"),
    )
    index("runs_start", "runs", ["tenant", "machine", "start_key"], "start_key IS NOT NULL", unique=True)
    index("runs_due", "runs", ["wake_at"], "wake_at IS NOT NULL")
    index("runs_suspect", "runs", ["wake_at"], "claims >= 3")
    index("runs_status", "runs", ["machine", "status"])
    index("runs_created", "runs", ["created_at"])
    index("runs_key", "runs", ["start_key"], "start_key IS NOT NULL")
    index("runs_parent", "runs", ["parent"], "parent IS NOT NULL")


def events() -> None:
    op.create_table(
        "events",
        required("run_id", ID),
        required("seq", sa.Integer),
        required("at", sa.BigInteger),
        required("type", sa.Text),
        required("actor", sa.Text),
        required("body", sa.Text),
        required("body_hash", sa.Text),
        required("hash", sa.Text),
        sa.PrimaryKeyConstraint("run_id", "seq"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="events_of_run"),
    )


def effects() -> None:
    op.create_table(
        "effects",
        required("id", ID),
        required("run_id", ID),
        required("ordinal", sa.Integer),
        required("tool", sa.Text),
        required("args", sa.Text),
        required("args_hash", sa.Text),
        required("effect_class", sa.Text),
        required("status", sa.Text),
        required("attempts", sa.Integer),
        optional("first_at", sa.BigInteger),
        optional("marked_at", sa.BigInteger),
        optional("done_at", sa.BigInteger),
        optional("error", sa.Text),
        optional("result", sa.Text),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="effects_of_run"),
    )
    index("effects_run", "effects", ["run_id", "ordinal"], unique=True)


def human_tasks() -> None:
    op.create_table(
        "human_tasks",
        required("id", ID),
        required("run_id", ID),
        required("kind", sa.Text),
        required("state", sa.Text),
        optional("role", sa.Text),
        required("status", sa.Text),
        required("content", sa.Text),
        optional("call", sa.Text),
        optional("answers", sa.Text),
        required("shown_hash", sa.Text),
        required("opened_at", sa.BigInteger),
        optional("expires_at", sa.BigInteger),
        optional("decided_at", sa.BigInteger),
        optional("decided_by", sa.Text),
        optional("via", sa.Text),
        optional("answer", sa.Text),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="human_tasks_of_run"),
    )
    index("human_tasks_run", "human_tasks", ["run_id"])
    index("human_tasks_open", "human_tasks", ["opened_at"], "status = 'open'")


def inbound() -> None:
    op.create_table(
        "inbound",
        required("source", ID),
        required("key", ID),
        required("request_hash", sa.Text),
        required("run_id", ID),
        required("at", sa.BigInteger),
        required("kind", sa.Text),
        required("body", sa.Text),
        optional("consumed", sa.Integer),
        optional("response", sa.Text),
        sa.PrimaryKeyConstraint("source", "key"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="inbound_of_run"),
    )
    index("inbound_waiting", "inbound", ["run_id", "at"], "consumed IS NULL")


def schedules() -> None:
    op.create_table(
        "schedules",
        required("id", ID),
        required("tenant", sa.Text),
        required("machine", sa.Text),
        required("cron", sa.Text),
        required("timezone", sa.Text),
        required("input", sa.Text),
        optional("next_at", sa.BigInteger),
        optional("last_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("id"),
    )
    index("schedules_due", "schedules", ["next_at"], "next_at IS NOT NULL")
