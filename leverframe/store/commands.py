"""The small writes: claim, give back, keep alive, want, decide, signal.

Each runs inside a batch of the committer, with the run's row locked, and raises before it has written anything.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

from leverframe.canon import Json, canonical
from leverframe.clock import Micros, iso
from leverframe.errors import (
    AlreadyDecided,
    AlreadyPaused,
    InputError,
    KeyConflict,
    Lost,
    NotPinned,
    RunOver,
    TaskGone,
    UnknownRun,
    UnknownTask,
)
from leverframe.run import OVER
from leverframe.store.batch import Guard, Skipped, Tx, arrive, request_hash
from leverframe.store.owner import is_dead
from leverframe.store.pack import inbound, readable, task
from leverframe.store.records import Claimed, Decided, Inbound, Pin, Row, Task, Want

LONGEST_WORD = 512


def word(what: str, value: str) -> str:
    """A key or name from outside, as an index can keep it."""
    if not isinstance(cast("object", value), str):
        raise InputError(f"{what}: {type(value).__name__} is no text; use 1 to {LONGEST_WORD} characters without NUL")
    if not value or len(value) > LONGEST_WORD or "\0" in value:
        raise InputError(f"{what} {value[:40]!r}: use 1 to {LONGEST_WORD} characters without NUL")
    return value


# --- holding a run ------------------------------------------------------------------------------------------------------------


def claim(tx: Tx, run_id: str, owner: str, now: Micros, lease_until: Micros, alone: bool) -> Claimed | None:
    """The run, if nobody else holds it: its lease ran out, its owner is dead, or it is ours.

    `alone`: nothing else goes on in the process. Only then is a claim evidence enough to go on counting against a suspect.
    """
    guard = tx.guard(run_id)
    held = guard.lease_owner is not None and guard.lease_until is not None and guard.lease_until >= now
    if held and guard.lease_owner != owner and not is_dead(guard.lease_owner or ""):
        return None
    return next(iter(_take(tx, [run_id], owner, now, lease_until, alone)), None)


def claim_due(tx: Tx, owner: str, now: Micros, lease_until: Micros, limit: int, suspects: bool) -> list[Claimed]:
    """Runs that are due and free, longest due first: those under suspicion, or those that are not.

    Leases of dead owners are looked for only when there is time left.
    """
    free, left_behind = (tx.sql.suspects, tx.sql.suspects_of) if suspects else (tx.sql.due, tx.sql.due_of)
    ids = [row[0] for row in tx.all(free, now, now, limit)]
    if len(ids) < limit:
        holders = (row[0] for row in tx.all(tx.sql.holders, now, now, owner))
        dead = [holder for holder in holders if is_dead(holder)]
        if dead:
            ids += [row[0] for row in tx.all(left_behind, now, tx.sql.many(dead), limit - len(ids)) if row[0] not in ids]
    return _take(tx, ids, owner, now, lease_until, alone=suspects)


def _take(tx: Tx, ids: Sequence[str], owner: str, now: Micros, lease_until: Micros, alone: bool) -> list[Claimed]:
    if not ids:
        return []
    tx.lock(ids)
    for run_id in ids:
        guard = tx.guard(run_id)
        guard.fence, guard.lease_owner, guard.lease_until = guard.fence + 1, owner, lease_until
        guard.wake_at = now if guard.wake_at is None else min(now, guard.wake_at)  # due, should we die
    tx.many(
        tx.sql.claim_alone if alone else tx.sql.claim_among,
        [(owner, lease_until, tx.guards[run_id].wake_at, run_id) for run_id in ids],
    )
    rows = _readable(tx, ids)
    filled = [run_id for run_id in rows if rows[run_id].inbox]
    waiting = [inbound(row) for row in tx.all(tx.sql.waiting, tx.sql.many(filled))] if filled else []
    return [
        Claimed(rows[run_id], tuple(found for found in waiting if found.run_id == run_id)) for run_id in ids if run_id in rows
    ]


def _readable(tx: Tx, ids: Sequence[str]) -> dict[str, Row]:
    """Their rows. One that was damaged is put away, so that it does not come up again and again; whoever asks for it is told."""
    rows, damaged = readable(tx.all(tx.sql.runs, tx.sql.many(ids)))
    for run_id in damaged:
        guard = tx.guard(run_id)
        guard.lease_owner = guard.lease_until = guard.wake_at = None
        tx.run(tx.sql.release, None, run_id)
    return {row.run.id: row for row in rows}


def release(tx: Tx, run_id: str, fence: int, wake_at: Micros | None, inbox_seen: int) -> None:
    """Give the run back without a step. It is due at once if somebody wants something of it or more has reached it."""
    guard = _held(tx, run_id, fence)
    wanted = guard.want is not None and guard.status not in OVER
    guard.wake_at = tx.now if wanted or guard.inbox != inbox_seen else wake_at
    guard.lease_owner = guard.lease_until = None
    tx.run(tx.sql.release, guard.wake_at, run_id)


def _held(tx: Tx, run_id: str, fence: int) -> Guard:
    guard = tx.guard(run_id)
    if guard.fence != fence or guard.lease_owner is None:
        raise Lost(f"run {run_id}: the lease was lost, {guard.lease_owner or 'it was released'}; nothing was written")
    return guard


def heartbeat(tx: Tx, held: Sequence[tuple[str, int]], lease_until: Micros) -> dict[str, Want | None]:
    """Extend these leases; gives what is wanted of each run that is still held. One that is missing was lost."""
    beats: dict[str, Want | None] = {}
    rows: list[tuple[Any, ...]] = []
    for run_id, fence in held:
        guard = tx.guards.get(run_id)
        if guard is not None and guard.fence == fence and guard.lease_owner is not None:
            guard.lease_until = lease_until
            rows.append((lease_until, run_id))
            beats[run_id] = guard.want
        elif guard is None:
            with suppress(UnknownRun):  # lost, and no reason to lose the others
                tx.guard(run_id)  # or Skipped
    if rows:
        tx.many(tx.sql.beat, rows)
    return beats


def want(tx: Tx, run_id: str, what: Want, by: str, now: Micros) -> None:
    """Ask the holder of the run, whoever it is by then, to pause or cancel it. A wish to cancel is not weakened."""
    guard = tx.guard(run_id)
    if guard.status in OVER:
        raise RunOver(f"run {run_id} is {guard.status}; there is nothing to {what}")
    if what == "pause" and guard.status == "paused":
        raise AlreadyPaused
    if guard.want != "cancel":
        guard.want, guard.want_by = what, by
    guard.wake_at = now
    tx.run(tx.sql.want, guard.want, guard.want_by, now, run_id)


# --- people and the world outside ---------------------------------------------------------------------------------------------


def decide(tx: Tx, task_id: str, run_id: str, by: str, answer: Json, via: str, now: Micros) -> Decided:
    """One decision per task. The same again from the same person is the same; anything else is refused, naming the winner."""
    guard = tx.guard(run_id)
    found = _task(tx, task_id)
    if found.status == "decided":
        if found.decided_by == by and canonical(found.answer) == canonical(answer):
            return Decided(found, first=False)
        raise AlreadyDecided(_who_was_first(found), by=found.decided_by or "")
    if found.status != "open":
        raise TaskGone(f"task {task_id} was {found.status}; nothing was changed, look at run {run_id}")
    if found.expires_at is not None and now >= found.expires_at:
        raise TaskGone(f"task {task_id} expired at {iso(found.expires_at)}; nothing was changed, look at run {run_id}")
    if tx.run(tx.sql.decide, "decided", now, by, via, canonical(answer), task_id) != 1:
        raise TaskGone(f"task {task_id} is no longer open; nothing was changed, look at run {run_id}")
    arrive(tx, guard, Inbound("task", task_id, run_id, now, found.kind, answer))
    return Decided(_task(tx, task_id), first=True)


def _task(tx: Tx, task_id: str) -> Task:
    found = tx.all(tx.sql.task, task_id)
    if not found:
        raise UnknownTask(f"task {task_id}: no such task in this database")
    return task(found[0])


def _who_was_first(found: Task) -> str:
    answer = canonical(found.answer)
    shown = answer if len(answer) <= 200 else answer[:200] + "…"
    at = iso(found.decided_at) if found.decided_at is not None else "?"
    return f"task {found.id} was decided by {found.decided_by} at {at}: {shown}; nothing was changed"


def signal(tx: Tx, arrived: Inbound) -> bool:
    """Something for a run, once per (source, key); True if it is new. Raises KeyConflict for another payload, RunOver."""
    guard = tx.guard(arrived.run_id)
    request = request_hash(arrived)
    for known, run_id in tx.all(tx.sql.arrived, arrived.source, arrived.key):
        if known == request:
            return False
        raise KeyConflict(
            f"{arrived.source} {arrived.key!r} reached run {run_id} with another content; nothing was changed, use another key"
        )
    if guard.status in OVER:
        raise RunOver(f"run {arrived.run_id} is {guard.status}; nothing reaches it any more")
    arrive(tx, guard, arrived)
    return True


def pin(tx: Tx, prompt: str, variant: str | None, by: str, reason: str) -> Pin:
    """What new runs are told from now on; said again, it is what was said. Raises NotPinned."""
    row = next(iter(tx.all(tx.sql.last_pin, prompt, 1)), None)
    last = Pin(*row) if row else None
    if last is not None and last.variant == variant is not None:
        return last
    if variant is None and (last is None or last.variant is None):
        raise NotPinned(f"prompt {prompt}: nothing is pinned; runs are told its variants by weight")
    made = Pin(prompt, last.number + 1 if last else 1, variant, tx.now, by, reason)
    if tx.run(tx.sql.insert_pin, made.prompt, made.number, made.variant, made.at, made.by, made.reason) != 1:
        raise Skipped  # another process was first: look again
    return made


def save_definition(tx: Tx, hash_: str, name: str, body: str) -> None:
    tx.run(tx.sql.insert_definition, hash_, name, body, tx.now)
