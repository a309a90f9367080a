"""What one transaction of the committer does with a batch: lock the rows, check every guard, append events, write rows, in bulk.

Order inside a batch: small commands (a claim, a decision) one by one, then all steps and starts together, then deferred steps,
each under a SAVEPOINT. Every item sees what those before it did to its run through `Guard`, which is kept up to date in memory.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeAlias, TypeVar

from sqlalchemy import Connection
from sqlmodel import Session

from leverframe.canon import canonical, digest
from leverframe.clock import Clock, Micros
from leverframe.errors import KeyConflict, LeverframeError, Lost, Overdrawn, UnknownRun
from leverframe.run import OVER, Event
from leverframe.store.pack import pack, run_columns, task_columns
from leverframe.store.purse import Purse
from leverframe.store.records import Commit, Committed, Deferred, Inbound, NewRun, Row, Started, Want
from leverframe.store.statements import Statements

T = TypeVar("T")
Result: TypeAlias = "object | BaseException"
LOCAL_WORK = 0.020
"""Seconds of `local` tools in one batch. What is left goes to the next one, so that other runs' steps are not held up."""


@dataclass(frozen=True, slots=True)
class Command(Generic[T]):
    """Anything small that writes. `locks`: the runs it touches."""

    locks: tuple[str, ...]
    do: "Callable[[Tx], T]"


Item: TypeAlias = "Commit | NewRun | Deferred | Command[Any]"


class Skipped(Exception):
    """Another process has the row locked: again in the next batch."""


class Late(Skipped):
    """The batch has no time left: again in the next one."""


@dataclass(slots=True)
class Guard:
    """What a run's row says, locked, and what this transaction has made of it so far."""

    id: str
    fence: int
    seq: int
    head: str
    status: str
    def_hash: str
    parent: str | None
    lease_owner: str | None
    lease_until: Micros | None
    wake_at: Micros | None
    want: Want | None
    want_by: str | None
    inbox: int


class Tx:
    """An open transaction: the driver's cursor, the statements, and the rows it has locked."""

    def __init__(self, connection: Connection, sql: Statements, clock: Clock) -> None:
        raw: Any = connection.connection
        self.connection = connection
        self.cursor = raw.cursor()
        self.sql = sql
        self.clock = clock
        self.now = clock.now()
        self.guards: dict[str, Guard] = {}
        self.known: dict[tuple[str, str, str | None], tuple[str, str, int]] = {}  # start keys: run, hash of the request, fence
        self.purse = Purse()
        self.pile = Pile(sql)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cursor.close()  # an open one would keep SQLite's file open after the connection is closed

    def all(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        self.cursor.execute(statement, values)
        found: list[tuple[Any, ...]] = self.cursor.fetchall()
        return found

    def run(self, statement: str, *values: Any) -> int:
        self.cursor.execute(statement, values)
        changed: int = self.cursor.rowcount
        return changed

    def many(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        if len(rows) == 1:
            self.cursor.execute(statement, rows[0])
        else:
            self.cursor.executemany(statement, rows)

    def lock(self, ids: Iterable[str]) -> None:
        """Lock these runs' rows, without ever waiting: those that are missing afterwards another process has, or nobody."""
        missing = [run_id for run_id in ids if run_id not in self.guards]
        if missing:
            for row in self.all(self.sql.lock, self.sql.many(sorted(missing))):
                self.guards[row[0]] = Guard(*row)

    def guard(self, run_id: str) -> Guard:
        """The locked row. Raises Skipped if another process has it, UnknownRun if there is none."""
        found = self.guards.get(run_id)
        if found is None:
            if self.all(self.sql.exist, self.sql.many([run_id])):
                raise Skipped
            raise UnknownRun(f"run {run_id}: no such run in this database")
        return found

    def forget(self) -> None:
        """A savepoint was rolled back: what is known of the rows may not be so."""
        self.guards.clear()
        self.known.clear()
        self.purse = Purse()
        self.pile = Pile(self.sql)

    def touch(self, run_id: str) -> None:
        """A second step of one run in one batch: the first must be written before it."""
        if run_id in self.pile.touched:
            self.flush()
        self.pile.touched.add(run_id)

    def flush(self) -> None:
        """Write what is piled up."""
        if self.purse.changed:
            for row in self.purse.take():
                self.pile.add(self.sql.spend, *row)
        for statement, rows in self.pile.take():
            self.many(statement, rows)


class Pile:
    """Rows to write, in the order in which they must be written: runs before what belongs to them, wake-ups last."""

    def __init__(self, sql: Statements) -> None:
        self._events = sql.insert["events"]
        self._rows: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        self.touched: set[str] = set()
        self._order = (
            sql.insert["runs"],
            sql.insert["events"],
            sql.upsert_effect,
            sql.close,
            sql.insert["human_tasks"],
            sql.step,
            sql.step_memory,
            sql.turn,
            sql.turn_memory,
            sql.move,
            sql.consume,
            sql.insert["inbound"],
            sql.want,
            sql.poke,
            sql.spend,
        )

    def add(self, statement: str, *row: Any) -> None:
        self._rows[statement].append(row)

    def events(self, run_id: str, events: Sequence[Event]) -> None:
        rows = self._rows[self._events]
        for event in events:
            rows.append((run_id, event.seq, event.at, event.type, event.actor, event.text, event.body_hash, event.hash))

    def take(self) -> list[tuple[str, list[tuple[Any, ...]]]]:
        """What is here, in order; then it is empty."""
        rows, self._rows = self._rows, defaultdict(list)
        self.touched.clear()
        return [(statement, rows[statement]) for statement in self._order if statement in rows]


def write(tx: Tx, items: Sequence[Item]) -> list[Result]:
    """All items of a batch. One result each: what it gives, or what it raised; a Skipped wants to be in the next batch.

    What the database itself refuses is raised: then nothing of the batch stands.
    """
    tx.lock(run_id for item in items for run_id in locks(item))
    results: dict[int, Result] = {}
    for index, item in enumerate(items):
        if isinstance(item, Command):
            results[index] = _attempt(item.do, tx)
            tx.flush()
    know_starts(tx, items)
    know_purses(tx, items)
    for index, item in enumerate(items):
        if isinstance(item, Commit):
            results[index] = _attempt(step, tx, item)
        elif isinstance(item, NewRun):
            results[index] = _attempt(start, tx, item)
    tx.flush()
    began = tx.clock.steady()
    for index, item in enumerate(items):
        if isinstance(item, Deferred):
            late = tx.clock.steady() - began > LOCAL_WORK
            results[index] = Late() if late else _attempt(defer, tx, item)
    return [results[index] for index in range(len(items))]


def _attempt(do: Callable[..., object], *args: object) -> Result:
    try:
        return do(*args)
    except (LeverframeError, Skipped) as refused:
        return refused


def locks(item: Item) -> Iterable[str]:
    if isinstance(item, Commit):
        return (item.run.id, item.notify_parent.run_id) if item.notify_parent else (item.run.id,)
    if isinstance(item, Deferred):
        return (item.run_id,)
    return () if isinstance(item, NewRun) else item.locks


# --- a step -------------------------------------------------------------------------------------------------------------------


def step(tx: Tx, commit: Commit) -> Committed:
    """Check the guards of a step and pile up what it writes. Raises Lost or Overdrawn, and then has changed nothing."""
    guard = tx.guard(commit.run.id)
    if _stands(guard, commit):
        return Committed(guard.want, guard.want_by, guard.inbox)
    _refuse_lost(guard, commit.fence, commit.base_seq)
    if commit.inbox_seen is not None and commit.inbox_seen != guard.inbox:
        raise Lost(f"run {guard.id}: something reached it in the meantime; look at its inbox and try again")
    parent = tx.guard(commit.notify_parent.run_id) if commit.notify_parent else None
    children = _children(tx, commit)
    if commit.spends:
        tx.purse.spend(commit.spends)
    tx.touch(guard.id)
    tx.pile.events(guard.id, commit.events)
    _advance(tx, guard, commit)
    _belongings(tx, commit)
    for new in commit.starts:
        if (new.tenant, new.run.machine, new.start_key) not in tx.known:
            _insert(tx, new)
    for child in children:
        _want(tx, child, commit)
    if parent is not None and commit.notify_parent is not None and parent.status not in OVER:
        arrive(tx, parent, commit.notify_parent)
    return Committed(guard.want, guard.want_by, guard.inbox, tx.now)


def _stands(guard: Guard, commit: Commit) -> bool:
    """Is this very step in the log? A commit whose answer was lost with the connection is given again."""
    return bool(commit.events) and (guard.fence, guard.seq, guard.head) == (commit.fence, commit.run.seq, commit.run.head)


def _refuse_lost(guard: Guard, fence: int, base_seq: int) -> None:
    if guard.fence != fence:
        raise Lost(f"run {guard.id}: the lease was lost, {guard.lease_owner or 'another holder'} took over; nothing was written")
    if guard.lease_owner is None:
        raise Lost(f"run {guard.id}: it was released; nothing was written, claim it again")
    if guard.seq != base_seq:
        raise Lost(f"run {guard.id}: its log ends at {guard.seq}, not at {base_seq}; nothing was written, load it again")


def _children(tx: Tx, commit: Commit) -> list[Guard]:
    if commit.children_want is None:
        return []
    ids = [row[0] for row in tx.all(tx.sql.children, commit.run.id)]
    tx.lock(ids)
    return [tx.guard(run_id) for run_id in ids]


def _want(tx: Tx, child: Guard, commit: Commit) -> None:
    want = commit.children_want
    if child.status in OVER or want is None or child.want == "cancel" or (want, child.status) == ("pause", "paused"):
        return
    child.want, child.want_by, child.wake_at = want, f"run {commit.run.id}", tx.now
    tx.pile.add(tx.sql.want, child.want, child.want_by, child.wake_at, child.id)


def _advance(tx: Tx, guard: Guard, commit: Commit) -> None:
    """The row after the step, and the guard with it."""
    run, sql, held = commit.run, tx.sql, commit.lease_until is not None
    position = (run.state, pack(run), run.seq, run.head, tx.now, commit.lease_until)
    memory = (canonical(run.memory),) if commit.memory_changed else ()
    calm = held and run.status == guard.status and guard.wake_at is not None and guard.lease_owner is not None
    guard.seq, guard.head, guard.lease_until = run.seq, run.head, commit.lease_until
    if calm and not commit.consume and not commit.clear_want and run.definition == guard.def_hash:
        tx.pile.add(sql.step_memory if memory else sql.step, *position, *memory, run.id)
        return
    if commit.clear_want or run.status in OVER:  # of a run that is over nothing can be wanted; nobody would ever clear it
        guard.want = guard.want_by = None
    guard.inbox -= len(commit.consume)
    guard.status = run.status
    if run.definition != guard.def_hash:
        guard.def_hash = run.definition
        tx.pile.add(sql.move, run.definition, run.id)
    guard.wake_at = _wake(tx, guard, commit)
    if not held:
        guard.lease_owner = None
    turn = (guard.status, guard.lease_owner, guard.wake_at, guard.want, guard.want_by)
    statement = sql.turn_memory if memory else sql.turn
    tx.pile.add(statement, *position, *turn, *memory, len(commit.consume), run.id)


def _wake(tx: Tx, guard: Guard, commit: Commit) -> Micros | None:
    if commit.lease_until is not None:  # held: due as soon as the lease is not
        return guard.wake_at if guard.wake_at is not None and guard.wake_at <= tx.now else tx.now
    if guard.want is not None or guard.inbox > 0:
        return tx.now
    return commit.wake_at


def _belongings(tx: Tx, commit: Commit) -> None:
    pile, sql, run_id = tx.pile, tx.sql, commit.run.id
    for e in commit.effects:
        call = (e.key, run_id, e.ordinal, e.tool, e.args, e.args_hash, e.effect_class)
        pile.add(sql.upsert_effect, *call, e.status, e.attempts, e.first_at, e.marked_at, e.done_at, e.error, e.result)
    for task_id, status in commit.close_tasks:
        pile.add(sql.close, status, task_id)
    for task in commit.open_tasks:
        pile.add(sql.insert["human_tasks"], *task_columns(task))
    for source, key in commit.consume:
        pile.add(sql.consume, commit.run.seq, source, key)


def arrive(tx: Tx, guard: Guard, inbound: Inbound) -> None:
    """Something reached a run: it is kept for it, and the run is woken."""
    body = canonical(inbound.body)
    request = request_hash(inbound)
    row = (inbound.source, inbound.key, request, inbound.run_id, inbound.at, inbound.kind, body, None, None)
    guard.inbox += 1
    guard.wake_at = tx.now
    tx.pile.add(tx.sql.insert["inbound"], *row)
    tx.pile.add(tx.sql.poke, tx.now, guard.id)


def request_hash(inbound: Inbound) -> str:
    """What makes the same key the same request."""
    return digest([inbound.run_id, inbound.kind, inbound.body])


# --- a start ------------------------------------------------------------------------------------------------------------------


def know_starts(tx: Tx, items: Iterable[Item]) -> None:
    """Which of the start keys in the batch have started a run before, in one question per machine."""
    keys: dict[tuple[str, str], list[str]] = defaultdict(list)
    for item in items:
        for new in (item,) if isinstance(item, NewRun) else item.starts if isinstance(item, Commit) else ():
            if new.start_key is not None:
                keys[new.tenant, new.run.machine].append(new.start_key)
    for (tenant, machine), wanted in keys.items():
        for key, *found in tx.all(tx.sql.started, tenant, machine, tx.sql.many(wanted)):
            tx.known[tenant, machine, key] = (found[0], found[1], found[2])


def know_purses(tx: Tx, items: Iterable[Item]) -> None:
    """Lock the days that the batch spends of."""
    spends = [spend for item in items if isinstance(item, Commit | NewRun) for spend in item.spends]
    if spends:
        tx.purse.open(tx, spends)


def start(tx: Tx, new: NewRun) -> Started:
    """Exactly one run per (tenant, machine, start key). Raises KeyConflict for another payload under a known key, Overdrawn."""
    known = tx.known.get((new.tenant, new.run.machine, new.start_key)) if new.start_key is not None else None
    if known is None:
        tx.purse.spend(new.spends)
        return _insert(tx, new)
    run_id, start_hash, fence = known
    if start_hash != new.start_hash:
        raise KeyConflict(
            f"start key {new.start_key!r} of machine {new.run.machine} started run {run_id} with another input; "
            "nothing was changed, use another key or the same input"
        )
    created = run_id == new.run.id  # the same start again: its answer was lost with the connection
    return Started(run_id, created, fence if created else 0)


def _insert(tx: Tx, new: NewRun) -> Started:
    run, fence = new.run, 0 if new.owner is None else 1
    if new.start_key is not None:
        tx.known[new.tenant, run.machine, new.start_key] = (run.id, new.start_hash, fence)
    row = Row(
        run=run,
        tenant=new.tenant,
        start_key=new.start_key,
        start_hash=new.start_hash,
        source=new.source,
        reply_to=new.reply_to,
        created_at=run.started_at,
        updated_at=tx.now,
        fence=fence,
        lease_owner=new.owner,
        lease_until=new.lease_until,
        wake_at=new.wake_at if new.owner is None else tx.now,
        want=None,
        want_by=None,
        inbox=0,
        claims=fence,
    )
    tx.pile.add(tx.sql.insert["runs"], *run_columns(row))
    tx.pile.events(run.id, new.events)
    return Started(run.id, True, fence, row)


# --- a step with a `local` tool -----------------------------------------------------------------------------------------------


def defer(tx: Tx, item: Deferred) -> Committed:
    """Run the tool and write its step under one savepoint; if the tool raises, roll it back and write its failure instead."""
    tx.lock([item.run_id])
    _refuse_lost(tx.guard(item.run_id), item.fence, item.base_seq)
    savepoint = tx.connection.begin_nested()
    try:
        with Session(bind=tx.connection, join_transaction_mode="create_savepoint") as session:
            commit = item.make(session)
            session.commit()
    except Exception as error:  # noqa: BLE001
        savepoint.rollback()
        return _affordable(tx, item, item.fail(error))
    try:
        done = _affordable(tx, item, commit)
    except BaseException:
        savepoint.rollback()
        tx.forget()
        raise
    savepoint.commit()
    return done


def _affordable(tx: Tx, item: Deferred, commit: Commit) -> Committed:
    try:
        return _alone(tx, commit)
    except Overdrawn as over:  # nothing of the step is written, and what the tool did stands
        return _alone(tx, item.over(over.limit))


def _alone(tx: Tx, commit: Commit) -> Committed:
    tx.lock(locks(commit))
    know_starts(tx, [commit])
    know_purses(tx, [commit])
    done = step(tx, commit)
    tx.flush()
    return done
