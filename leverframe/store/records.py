"""What goes into the store and what comes out of it: plain frozen data, no sessions, no rows that know a database."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from sqlmodel import Session

from leverframe.canon import Json, Object
from leverframe.clock import Micros
from leverframe.run import Event, Run

Want: TypeAlias = Literal["pause", "cancel"]
TaskKind: TypeAlias = Literal["approve", "answer", "reconcile"]
TaskStatus: TypeAlias = Literal["open", "decided", "expired", "withdrawn"]
EffectClass: TypeAlias = Literal["read", "keyed", "local", "once"]


@dataclass(frozen=True, slots=True)
class Row:
    """A run, and beside it what is not folded from its log: where it came from, who holds it, when it is looked at."""

    run: Run
    tenant: str
    start_key: str | None
    start_hash: str
    source: str | None
    reply_to: str | None
    created_at: Micros
    updated_at: Micros
    fence: int
    lease_owner: str | None
    lease_until: Micros | None
    wake_at: Micros | None
    want: Want | None
    want_by: str | None
    inbox: int
    claims: int


@dataclass(frozen=True, slots=True)
class Inbound:
    """Something that reached a run from outside: a signal, a decision, the end of a child. `consumed` by that event."""

    source: str
    key: str
    run_id: str
    at: Micros
    kind: str
    body: Json
    consumed: int | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """What a person is asked, and what they decided. A run here is what others call a task."""

    id: str
    run_id: str
    kind: TaskKind
    state: str
    to: str | None  # the role or person whose decision it is
    content: str  # what is shown
    shown_hash: str
    opened_at: Micros
    expires_at: Micros | None
    call: Object | None = None  # {"tool_name", "arguments"}
    answers: Object | None = None  # JSON Schema of what can be answered
    status: TaskStatus = "open"
    decided_at: Micros | None = None
    decided_by: str | None = None
    via: str | None = None
    answer: Json = None


@dataclass(frozen=True, slots=True)
class EffectChange:
    """An effect that is new, or what became of it. Only status, attempts, times, result and error of a known key change."""

    key: str
    ordinal: int
    tool: str
    args: str  # canonical JSON
    args_hash: str
    effect_class: EffectClass
    status: str
    attempts: int = 0
    first_at: Micros | None = None
    marked_at: Micros | None = None
    done_at: Micros | None = None
    error: str | None = None  # JSON
    result: str | None = None  # JSON


@dataclass(frozen=True, slots=True)
class Effect:
    """An effect as it is read back."""

    key: str
    run_id: str
    ordinal: int
    tool: str
    args: Json
    args_hash: str
    effect_class: EffectClass
    status: str
    attempts: int
    first_at: Micros | None
    marked_at: Micros | None
    done_at: Micros | None
    error: Json
    result: Json


@dataclass(frozen=True, slots=True)
class Spend:
    """A change of what a machine used up on a day. With `limits` it is a reservation: nothing is written where it would go beyond."""

    machine: str
    day: str
    model_calls: int
    tokens: int
    cost: int
    limits: Mapping[str, int] | None = None  # by the name of what is limited


@dataclass(frozen=True, slots=True)
class Spending:
    """What a machine used up on a day, reservations of calls in flight included; `cost` in millionths of a dollar."""

    machine: str
    day: str
    model_calls: int
    tokens: int
    cost: int


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be, as it is after its first events. With an `owner` it is born claimed: fence 1."""

    run: Run
    events: Sequence[Event]
    tenant: str = ""
    start_key: str | None = None
    start_hash: str = ""
    source: str | None = None
    reply_to: str | None = None
    owner: str | None = None
    lease_until: Micros | None = None
    wake_at: Micros | None = None
    spends: Sequence[Spend] = ()


@dataclass(frozen=True, slots=True)
class Started:
    """`created` is False when the key had started this run before; then `fence` is not yours.

    `row` is what was written; None where it was there already, and has to be read.
    """

    run_id: str
    created: bool
    fence: int
    row: Row | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    """One step: the run as it is after `events`, and everything that must be true together with it.

    It is written if `fence` still holds the run and its log ends at `base_seq`; else that item, and only it, raises Lost.
    With `lease_until` the run stays held (and due, should the holder die). Without, it is released and looked at again at
    `wake_at`, or at once if somebody wants something of it or its inbox is not empty, so that no wake-up is ever lost.
    """

    run: Run
    fence: int
    base_seq: int
    events: Sequence[Event] = ()
    lease_until: Micros | None = None
    wake_at: Micros | None = None
    memory_changed: bool = True
    effects: Sequence[EffectChange] = ()
    open_tasks: Sequence[Task] = ()
    close_tasks: Sequence[tuple[str, Literal["expired", "withdrawn"]]] = ()
    consume: Sequence[tuple[str, str]] = ()  # (source, key) of inbound rows
    inbox_seen: int | None = None  # another count of unconsumed rows loses: an expiry never overrules a decision
    clear_want: bool = False
    starts: Sequence[NewRun] = ()
    children_want: Want | None = None
    notify_parent: Inbound | None = None
    spends: Sequence[Spend] = ()  # a reservation that goes beyond a limit is Overdrawn, and nothing of the step is written


@dataclass(frozen=True, slots=True)
class Committed:
    """What others want of the run by now, and how much waits in its inbox. `at`: when it was written; None: before, by a commit whose
    answer was lost."""

    want: Want | None
    want_by: str | None
    inbox: int
    at: Micros | None = field(default=None, compare=False)  # a step given again is answered the same


@dataclass(frozen=True, slots=True)
class Deferred:
    """A step whose `local` tool runs inside our transaction: `make` calls it and says what to commit.

    It runs on the committer's thread under a SAVEPOINT of its own. Whatever it raises rolls its rows back, and what `fail`
    makes of the error is committed instead. What `over` makes of a limit is, where the step is Overdrawn: the tool has run.
    """

    run_id: str
    fence: int
    base_seq: int
    make: Callable[[Session], Commit]
    fail: Callable[[Exception], Commit]
    over: Callable[[str], Commit]


@dataclass(frozen=True, slots=True)
class Pin:
    """Somebody said which variant of a prompt new runs are told; `variant` None: by weight again."""

    prompt: str
    number: int
    variant: str | None
    at: Micros
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """A run that is yours, as long as `row.fence` is its fence, with what waits in its inbox, oldest first."""

    row: Row
    inbound: tuple[Inbound, ...]


@dataclass(frozen=True, slots=True)
class Decided:
    """The task as it is decided now; `first` is False when the same person had given the same answer before."""

    task: Task
    first: bool
