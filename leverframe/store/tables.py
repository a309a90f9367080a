"""The tables, as SQLModel sees them. The same on SQLite and PostgreSQL: ids TEXT, times BIGINT (µs, UTC), JSON as canonical TEXT.

They stand in metadata of their own, so that `SQLModel.metadata` holds only what users declare for the same database.
`migrations/` creates them; a test compares the two. SQLite keeps them as rowid tables: clustered by (run, seq), an event of more
than 750 bytes would take an overflow page of its own (3.8 KB for nothing), and a batch of 200 runs would touch 200 leaves.
"""

from sqlalchemy import BigInteger, ForeignKeyConstraint, Index, Integer, Text, text
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

# Compared byte by byte on PostgreSQL too, so that a prefix of an id is a range of its index.
Id = Text().with_variant(Text(collation="C"), "postgresql")
Word, Json, Time, Count, Sum = Text, Text, BigInteger, Integer, BigInteger

SUSPECT = 3
"""Claims of a run without a commit between them, from which on it is suspected of taking its process down, and goes alone."""


class Base(SQLModel, registry=registry()):
    """Metadata of our own."""


def index(name: str, *columns: str, where: str | None = None, unique: bool = False) -> Index:
    condition = None if where is None else text(where)
    return Index(name, *columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def of_run(name: str) -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["run_id"], ["runs.id"], name=f"{name}_of_run")


class Definitions(Base, table=True):
    """A machine as data, once per hash."""

    hash: str = Field(primary_key=True, sa_type=Id)
    name: str = Field(sa_type=Word)
    body: str = Field(sa_type=Json)
    at: int = Field(sa_type=Time)


class Runs(Base, table=True):
    """What a run's log folds to, and beside it who holds the run and when somebody must look at it."""

    __table_args__ = (
        ForeignKeyConstraint(["def_hash"], ["definitions.hash"], name="runs_of_definition"),
        index("runs_start", "tenant", "machine", "start_key", where="start_key IS NOT NULL", unique=True),
        index("runs_due", "wake_at", where="wake_at IS NOT NULL"),  # runs that wait for a person cost a worker nothing
        index("runs_suspect", "wake_at", where=f"claims >= {SUSPECT}"),
        index("runs_status", "machine", "status"),
        index("runs_created", "created_at"),
        index("runs_key", "start_key", where="start_key IS NOT NULL"),
        index("runs_parent", "parent", where="parent IS NOT NULL"),
    )

    id: str = Field(primary_key=True, sa_type=Id)
    tenant: str = Field(sa_type=Word)
    machine: str = Field(sa_type=Word)
    def_hash: str = Field(sa_type=Id)
    status: str = Field(sa_type=Word)
    state: str = Field(sa_type=Word)
    execution: str = Field(sa_type=Json)  # the rest of `leverframe.run.Run`, defaults left out; see pack.py
    seq: int = Field(sa_type=Count)
    head_hash: str = Field(sa_type=Word)
    start_key: str | None = Field(sa_type=Word)
    start_hash: str = Field(sa_type=Word)
    parent: str | None = Field(sa_type=Id)
    source: str | None = Field(sa_type=Word)
    reply_to: str | None = Field(sa_type=Word)
    created_at: int = Field(sa_type=Time)
    updated_at: int = Field(sa_type=Time)
    fence: int = Field(sa_type=Count)
    lease_owner: str | None = Field(sa_type=Word)
    lease_until: int | None = Field(sa_type=Time)
    wake_at: int | None = Field(sa_type=Time)  # NULL: nothing to do until somebody sets it
    want: str | None = Field(sa_type=Word)  # pause | cancel
    want_by: str | None = Field(sa_type=Word)
    inbox: int = Field(sa_type=Count)  # unconsumed rows in inbound
    claims: int = Field(sa_type=Count)  # since the last commit, see SUSPECT
    memory: str = Field(sa_type=Json)  # last, because it is the long one


class Events(Base, table=True):
    """The log, append only, chained by hash."""

    __table_args__ = (of_run("events"),)

    run_id: str = Field(primary_key=True, sa_type=Id)
    seq: int = Field(primary_key=True, sa_type=Count)
    at: int = Field(sa_type=Time)
    type: str = Field(sa_type=Word)
    actor: str = Field(sa_type=Word)
    body: str = Field(sa_type=Json)
    body_hash: str = Field(sa_type=Word)
    hash: str = Field(sa_type=Word)


class Effects(Base, table=True):
    """What runs do to the world, by idempotency key. Also the outbox. Arguments never change once written."""

    __table_args__ = (of_run("effects"), index("effects_run", "run_id", "ordinal", unique=True))

    id: str = Field(primary_key=True, sa_type=Id)
    run_id: str = Field(sa_type=Id)
    ordinal: int = Field(sa_type=Count)
    tool: str = Field(sa_type=Word)
    args: str = Field(sa_type=Json)
    args_hash: str = Field(sa_type=Word)
    effect_class: str = Field(sa_type=Word)
    status: str = Field(sa_type=Word)
    attempts: int = Field(sa_type=Count)
    first_at: int | None = Field(sa_type=Time)  # first dispatch
    marked_at: int | None = Field(sa_type=Time)  # the started mark
    done_at: int | None = Field(sa_type=Time)
    error: str | None = Field(sa_type=Json)
    result: str | None = Field(sa_type=Json)


class HumanTasks(Base, table=True):
    """What a person is asked, and the one decision about it."""

    __tablename__ = "human_tasks"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        of_run("human_tasks"),
        index("human_tasks_run", "run_id"),
        index("human_tasks_open", "opened_at", where="status = 'open'"),
    )

    id: str = Field(primary_key=True, sa_type=Id)
    run_id: str = Field(sa_type=Id)
    kind: str = Field(sa_type=Word)  # approve | answer | reconcile
    state: str = Field(sa_type=Word)
    role: str | None = Field(sa_type=Word)  # whose decision it is
    status: str = Field(sa_type=Word)  # open | decided | expired | withdrawn
    content: str = Field(sa_type=Word)  # what was shown
    call: str | None = Field(sa_type=Json)
    answers: str | None = Field(sa_type=Json)  # JSON Schema of what can be answered
    shown_hash: str = Field(sa_type=Word)
    opened_at: int = Field(sa_type=Time)
    expires_at: int | None = Field(sa_type=Time)
    decided_at: int | None = Field(default=None, sa_type=Time)
    decided_by: str | None = Field(default=None, sa_type=Word)
    via: str | None = Field(default=None, sa_type=Word)
    answer: str | None = Field(default=None, sa_type=Json)


class Inbound(Base, table=True):
    """What reached a run from outside, each once: signals, decisions, ends of child runs."""

    __table_args__ = (
        of_run("inbound"),
        index("inbound_waiting", "run_id", "at", where="consumed IS NULL"),
    )

    source: str = Field(primary_key=True, sa_type=Id)
    key: str = Field(primary_key=True, sa_type=Id)
    request_hash: str = Field(sa_type=Word)
    run_id: str = Field(sa_type=Id)
    at: int = Field(sa_type=Time)
    kind: str = Field(sa_type=Word)
    body: str = Field(sa_type=Json)
    consumed: int | None = Field(default=None, sa_type=Count)  # the event that took it in
    response: str | None = Field(default=None, sa_type=Json)


class Schedules(Base, table=True):
    """What starts runs by the clock."""

    __table_args__ = (index("schedules_due", "next_at", where="next_at IS NOT NULL"),)

    id: str = Field(primary_key=True, sa_type=Id)
    tenant: str = Field(sa_type=Word)
    machine: str = Field(sa_type=Word)
    cron: str = Field(sa_type=Word)
    timezone: str = Field(sa_type=Word)
    input: str = Field(sa_type=Json)
    next_at: int | None = Field(sa_type=Time)  # NULL: switched off
    last_at: int | None = Field(sa_type=Time)


class Spending(Base, table=True):
    """What a machine with daily limits used up on a day. Calls in flight are in it as what they reserved."""

    machine: str = Field(primary_key=True, sa_type=Id)
    day: str = Field(primary_key=True, sa_type=Id)  # of UTC: 2026-11-21
    model_calls: int = Field(sa_type=Sum)
    tokens: int = Field(sa_type=Sum)
    cost: int = Field(sa_type=Sum)  # millionths of a dollar


class PromptPins(Base, table=True):
    """Which variant of a prompt new runs are told, and who said so: append only, the last row of a prompt holds."""

    __tablename__ = "prompt_pins"  # pyright: ignore[reportAssignmentType]

    prompt: str = Field(primary_key=True, sa_type=Id)
    number: int = Field(primary_key=True, sa_type=Count)
    variant: str | None = Field(sa_type=Word)  # NULL: by weight again
    at: int = Field(sa_type=Time)
    who: str = Field(sa_type=Word)
    reason: str = Field(sa_type=Word)


TABLES = Base.metadata.tables
