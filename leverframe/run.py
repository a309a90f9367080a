"""A run as data, and the lines of its log.

The log is the truth: `leverframe.reduce` folds it to a `Run`. Every line is hashed and chained to the one before.
"""

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal, TypeAlias, TypeVar

from leverframe.canon import Json, Object, canonical
from leverframe.clock import Micros

Status: TypeAlias = Literal[
    "ready", "running", "waiting", "paused", "attention", "blocked", "quarantined", "done", "failed", "cancelled"
]
OVER: frozenset[str] = frozenset({"done", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the log. `hash` chains it to the line before: sha256 over the previous hash and everything here."""

    seq: int
    at: Micros
    type: str
    actor: str
    body: Object
    text: str  # canonical JSON of body, what is stored
    body_hash: str
    hash: str


def event(after: "Run | None", at: Micros, type: str, actor: str, body: Object) -> Event:
    """The next event after `after`, hashed and chained."""
    seq, previous = (after.seq + 1, after.head) if after else (1, "")
    text = canonical(body)
    body_hash = sha256(text.encode("ascii")).hexdigest()
    return Event(seq, at, type, actor, body, text, body_hash, chain(previous, seq, at, type, actor, body_hash))


def chain(previous: str, seq: int, at: Micros, type: str, actor: str, body_hash: str) -> str:
    return sha256(f"{previous}|{seq}|{at}|{type}|{actor}|{body_hash}".encode()).hexdigest()


T = TypeVar("T", bound="Pending | Waiting | Reserved | Run")


def but(value: T, **changes: object) -> T:
    """The same with other values for some fields: `dataclasses.replace` at a tenth of its cost, several times a step.

    Raises TypeError for a field that is none.
    """
    fields = value.__dict__
    changed = fields | changes
    if len(changed) != len(fields):
        raise TypeError(f"{type(value).__name__} has no {', '.join(changes.keys() - fields.keys())}")
    new = object.__new__(type(value))
    object.__setattr__(new, "__dict__", changed)
    return new


@dataclass(frozen=True)
class Pending:
    """A call somebody chose and nobody has finished; or, in `Run.doubts`, one that nobody knows the end of."""

    tool_name: str
    arguments: Object
    digest: str
    maker: str  # the Ask that picked it, or the Act that built it
    ordinal: int
    key: str  # the idempotency key: hash(run, ordinal)
    approved: str | None = None  # the digest a person released
    by: str | None = None
    via: tuple[tuple[str, str], ...] = ()  # (state, outcome) since it was made: what rules with before=<tool> read
    act: str | None = None  # the Act that may have dispatched it
    entered_at: Micros | None = None  # since when (the first dispatch of a `keyed` call is not before)
    fence: int | None = None  # of the holder that entered the Act
    mark: int | None = None  # the fence of the holder that marked it started
    marked_at: Micros | None = None
    attempts: int = 0


@dataclass(frozen=True)
class Waiting:
    """What a waiting state waits for."""

    id: str  # of the human task; for Wait and Delegate of the wait itself
    kind: Literal["approve", "answer", "wait", "children"]
    expires_at: Micros
    shown: str = ""  # hash of what the person was shown
    children: tuple[str, ...] = ()
    ended: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Reserved:
    """What was set aside from a day's budget for a question to a model; tokens and cost only where a day's are limited."""

    day: str  # of UTC: `2026-11-21`
    tokens: int = 0
    cost: int = 0
    calls: int = 1  # its own, and those of the shadows that may be asked beside it


@dataclass(frozen=True)
class Run:
    """All of a run that the log folds to: execution state and business state in one (factor 5)."""

    id: str
    machine: str
    definition: str
    status: Status
    state: str
    memory: Object
    seq: int = 0
    head: str = ""
    started_at: Micros = 0
    offline: bool | None = None
    parent: str | None = None
    steps: int = 0
    model_calls: int = 0
    cost: int = 0  # millionths of a dollar
    tokens: int = 0  # of questions to models and their answers
    unpriced: str = ""  # a model that was asked, and whose price nobody knows
    reserved: Reserved | None = None  # of the day's budget, for the call that the Ask is about to make
    ordinal: int = 0  # effects so far
    exceeded: bool = False  # the drawn `exceeded` edge was taken: steps and days once more
    granted: int = 0  # further portions of all limits that people granted
    did: bool = False  # something above `read` happened or may have
    pending: Pending | None = None
    queue: tuple[Object, ...] = ()  # further calls of the answer that made the pending one: n, tool_name, arguments, from
    doubts: tuple[Pending, ...] = ()
    back: str | None = None
    pins: dict[str, str] = field(default_factory=dict[str, str])  # the variant that was pinned when it began, by prompt
    rules: tuple[int, ...] = ()  # how far the automata of rules over the run have read; () until the first state is left
    failures: dict[str, int] = field(default_factory=dict[str, int])
    in_a_row: int = 0
    spins: dict[str, int] = field(default_factory=dict[str, int])  # by call and fault: how often, since the call last worked
    waiting: Waiting | None = None
    postponed: tuple[Micros, int] | None = None  # until when, attempts so far
    error: Object | None = None  # the last one: state, type, source, cause, remedy
    held: Object | None = None  # a result that was recorded but is not kept yet
    reason: str | None = None  # why a person is needed: attention, blocked, quarantined
    was: Status | None = None  # before it was paused
    result: Json = None  # of an End
