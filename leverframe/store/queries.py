"""The reading side. Readers never take the write lock, and see one moment of the database."""

import sys
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, and_, bindparam, func, literal_column, not_, or_, select
from sqlalchemy.sql import Select

from leverframe.canon import text_hash
from leverframe.clock import Micros
from leverframe.errors import NotFound, Tampered, UnknownDefinition, UnknownRun, UnknownTask, did_you_mean
from leverframe.run import OVER, Event
from leverframe.store import pack
from leverframe.store.database import READING, refusals
from leverframe.store.owner import is_dead
from leverframe.store.records import Effect, Inbound, Pin, Row, Spending, Task, TaskStatus
from leverframe.store.tables import SUSPECT, TABLES

_definitions, _runs, _events, _effects, _tasks, _inbound = (
    TABLES[name].c for name in ("definitions", "runs", "events", "effects", "human_tasks", "inbound")
)
_all_pins = TABLES["prompt_pins"]
_pins = _all_pins.c
SHORTEST_PREFIX = 6
AT_ONCE = 500
"""Ids, or rows, in one question."""

# Asked for every run that goes on: built once, since building takes three times as long as asking.
_RUN = select(*_runs).where(_runs.id == bindparam("run"))
_LINES = (
    select(*_events)
    .where(_events.run_id == bindparam("run"), _events.seq > bindparam("after"))
    .order_by(_events.seq)
    .limit(bindparam("at_most"))
)


class Queries:
    """Every question, answered synchronously; `Store` asks them on threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine.execution_options(**READING)

    def _all(self, statement: Select[Any], **given: Any) -> Sequence[Any]:
        with refusals(self._engine), self._engine.connect() as connection:
            return connection.execute(statement, given).all()

    def load(self, run_id: str) -> Row:
        found = self._all(_RUN, run=run_id)
        if not found:
            raise self._unknown_run(run_id)
        return pack.unpack(found[0])

    def load_all(self, run_ids: Sequence[str]) -> list[Row]:
        found: dict[str, Row] = {}
        for first in range(0, len(run_ids), AT_ONCE):
            some = self._all(select(*_runs).where(_runs.id.in_(run_ids[first : first + AT_ONCE])))
            found |= {row.run.id: row for row in pack.readable(some)[0]}
        return [found[run_id] for run_id in run_ids if run_id in found]

    def children(self, run_id: str) -> list[Row]:
        wanted = select(*_runs).where(_runs.parent == run_id, _runs.status.not_in(sorted(OVER)))
        return pack.readable(self._all(wanted.order_by(_runs.created_at, _runs.id)))[0]

    def keyed(self, start_key: str) -> list[str]:
        return [row[0] for row in self._all(select(_runs.id).where(_runs.start_key == start_key).limit(100))]

    def resolve(self, start: str) -> str:
        """The id of the one run whose id begins so (six characters or more), or the id itself."""
        found = self._ids("runs", start)
        if len(found) == 1 or start in found:
            return start if start in found else found[0]
        if found:
            raise UnknownRun(f"run {start}: begins the ids of several runs; give more of it. For example {', '.join(found[:3])}")
        raise self._unknown_run(start)

    def resolve_task(self, start: str) -> str:
        """As `resolve`, of a task."""
        found = self._ids("human_tasks", start)
        if len(found) == 1 or start in found:
            return start if start in found else found[0]
        if found:
            raise UnknownTask(
                f"task {start}: begins the ids of several tasks; give more of it. For example {', '.join(found[:3])}"
            )
        raise self._unknown_task(start)

    def _ids(self, table: str, start: str) -> list[str]:
        ids = TABLES[table].c.id
        if len(start) < SHORTEST_PREFIX:
            wanted = select(ids).where(ids == start)
        else:
            wanted = select(ids).where(ids >= start, ids < start + "\U0010ffff").order_by(ids).limit(4)
        return [row[0] for row in self._all(wanted)]

    def _unknown_run(self, run_id: str) -> NotFound:
        recent = self._all(select(_runs.id).order_by(_runs.created_at.desc()).limit(200))
        near = did_you_mean(run_id, [row[0] for row in recent])
        return UnknownRun(f"run {run_id}: no such run in this database; `leverframe runs` lists them.{near}")

    def _unknown_task(self, task_id: str) -> NotFound:
        recent = self._all(select(_tasks.id).where(_tasks.status == "open").order_by(_tasks.opened_at.desc()).limit(200))
        return UnknownTask(f"task {task_id}: no such task in this database.{did_you_mean(task_id, [row[0] for row in recent])}")

    def events(self, run_id: str, after: int, limit: int | None) -> list[Event]:
        at_most = sys.maxsize if limit is None else limit
        return [pack.event(row) for row in self._all(_LINES, run=run_id, after=after, at_most=at_most)]

    def started(self, machine: str, since: Micros, after: tuple[Micros, str] | None, limit: int) -> list[tuple[Micros, str]]:
        """`(created_at, id)` of the runs of a machine that started since, the oldest first."""
        columns = [_runs.created_at, _runs.id]
        wanted = select(*columns).where(_runs.machine == machine, _runs.created_at >= since)
        if after is not None:
            at, run_id = after
            wanted = wanted.where((_runs.created_at > at) | ((_runs.created_at == at) & (_runs.id > run_id)))
        return [(row[0], row[1]) for row in self._all(wanted.order_by(_runs.created_at, _runs.id).limit(limit))]

    def histories(self, run_ids: Sequence[str]) -> list[tuple[str, Event]]:
        """The events of several runs, each run's together and in order."""
        wanted = select(*_events).where(_events.run_id.in_(run_ids)).order_by(_events.run_id, _events.seq)
        return [(str(row[0]), pack.event(row)) for row in self._all(wanted)]

    def effects(self, run_id: str) -> list[Effect]:
        return [
            pack.effect(row) for row in self._all(select(*_effects).where(_effects.run_id == run_id).order_by(_effects.ordinal))
        ]

    def tasks(self, run_id: str | None, status: TaskStatus | None, to: str | None, limit: int) -> list[Task]:
        at_most = min(limit, sys.maxsize)  # databases take no more
        wanted = select(*_tasks).order_by(_tasks.opened_at, _tasks.id).limit(at_most)
        return [pack.task(row) for row in self._all(_where_tasks(wanted, run_id, status, to))]

    def count_tasks(self, status: TaskStatus | None, to: str | None) -> int:
        wanted: Select[Any] = select(func.count(_tasks.id))
        return int(self._all(_where_tasks(wanted, None, status, to))[0][0])

    def task(self, task_id: str) -> Task:
        found = self._all(select(*_tasks).where(_tasks.id == task_id))
        if not found:
            raise self._unknown_task(task_id)
        return pack.task(found[0])

    def runs(
        self,
        machine: str | None,
        status: str | None,
        parent: str | None,
        before: tuple[Micros, str] | None,
        limit: int,
        now: Micros,
    ) -> list[Row]:
        wanted = self._where_runs(select(*_runs), machine, status, parent, now)
        wanted = wanted.order_by(_runs.created_at.desc(), _runs.id.desc()).limit(limit)
        if before is not None:
            at, run_id = before
            wanted = wanted.where((_runs.created_at < at) | ((_runs.created_at == at) & (_runs.id < run_id)))
        return pack.readable(self._all(wanted))[0]

    def unfinished(self, machine: str, after: str) -> list[Row]:
        wanted = select(*_runs).where(_runs.machine == machine, _runs.status.not_in(sorted(OVER)), _runs.id > after)
        return pack.readable(self._all(wanted.order_by(_runs.id).limit(AT_ONCE)))[0]

    def count_runs(self, machine: str | None, status: str | None, now: Micros) -> int:
        wanted: Select[Any] = select(func.count(_runs.id))
        return int(self._all(self._where_runs(wanted, machine, status, None, now))[0][0])

    def _where_runs(
        self, wanted: Select[Any], machine: str | None, status: str | None, parent: str | None, now: Micros
    ) -> Select[Any]:
        if status in ("ready", "running"):
            held = (_runs.lease_until >= now, _runs.lease_owner.in_(self._alive(now)))
            wanted = wanted.where(and_(*held) if status == "running" else or_(_runs.lease_owner.is_(None), not_(and_(*held))))
            status = "ready"
        for column, value in ((_runs.machine, machine), (_runs.status, status), (_runs.parent, parent)):
            if value is not None:
                wanted = wanted.where(column == value)
        return wanted

    def _alive(self, now: Micros) -> list[str]:
        """Who holds runs that have something to do, without those that certainly died."""
        holders = self._all(select(_runs.lease_owner).where(_runs.status == "ready", _runs.lease_until >= now).distinct())
        return [owner for (owner,) in holders if not is_dead(owner)]

    def run_ids(self, after: str, limit: int) -> list[str]:
        wanted: Select[Any] = select(_runs.id).where(_runs.id > after).order_by(_runs.id)
        return [row[0] for row in self._all(wanted.limit(limit))]

    def spending(self, machine: str | None, since: str) -> list[Spending]:
        spent = TABLES["spending"].c
        wanted: Select[Any] = select(*spent).where(spent.day >= since)
        wanted = wanted if machine is None else wanted.where(spent.machine == machine)
        return [Spending(*row) for row in self._all(wanted.order_by(spent.machine, spent.day.desc()))]

    def machines(self) -> list[str]:
        names: Select[Any] = select(_definitions.name).distinct()
        return sorted(row[0] for row in self._all(names))

    def inbound(self, run_id: str) -> list[Inbound]:
        waiting = select(*_inbound).where(_inbound.run_id == run_id, _inbound.consumed.is_(None))
        return [pack.inbound(row) for row in self._all(waiting.order_by(_inbound.at, _inbound.source, _inbound.key))]

    def resolve_definition(self, start: str, name: str) -> str:
        hashes = select(_definitions.hash).where(_definitions.name == name).order_by(_definitions.at.desc())
        known = [str(row[0]) for row in self._all(hashes)]
        found = [hash_ for hash_ in known if hash_ == start or (len(start) >= SHORTEST_PREFIX and hash_.startswith(start))]
        if len(found) == 1:
            return found[0]
        several = "begins several; give more of it" if found else "no such definition of that machine in this database"
        listed = ", ".join(hash_[:12] for hash_ in (found or known)[:5]) or "none"
        raise UnknownDefinition(f"definition {start} of {name}: {several}. There are {listed}")

    def definition(self, hash_: str) -> str:
        found = self._all(select(_definitions.body).where(_definitions.hash == hash_))
        if not found:
            raise UnknownDefinition(f"definition {hash_}: not in this database")
        text = str(found[0][0])
        if text_hash(text) != hash_:
            raise Tampered(f"definition {hash_}: is not what was pinned; somebody changed it in the database")
        return text

    def pins(self, prompts: Sequence[str]) -> dict[str, str]:
        later = _all_pins.alias("later").c
        last = select(func.max(later.number)).where(later.prompt == _pins.prompt).scalar_subquery()
        wanted = select(*(_pins[name] for name in ("prompt", "variant"))).where(_pins.prompt.in_(prompts), _pins.number == last)
        return {str(row[0]): str(row[1]) for row in self._all(wanted.where(_pins.variant.is_not(None)))}

    def pin_history(self, prompt: str | None, limit: int) -> list[Pin]:
        wanted = select(*_pins).order_by(_pins.at.desc(), _pins.number.desc()).limit(limit)
        return [Pin(*row) for row in self._all(wanted if prompt is None else wanted.where(_pins.prompt == prompt))]

    def suspect_due(self, now: Micros) -> bool:
        suspicious = (
            _runs.claims >= literal_column(str(SUSPECT)),
            _runs.wake_at <= now,
        )  # a literal: it is the index's condition
        holders = self._all(select(*(_runs[name] for name in ("lease_owner", "lease_until"))).where(*suspicious).distinct())
        return any(owner is None or until < now or is_dead(owner) for owner, until in holders)

    def next_wake(self, now: Micros) -> tuple[Micros | None, Micros | None]:
        free = or_(_runs.lease_owner.is_(None), _runs.lease_until < now)
        due = select(_runs.wake_at).where(_runs.wake_at.is_not(None), free).order_by(_runs.wake_at).limit(1)
        held = and_(_runs.wake_at <= now, _runs.wake_at.is_not(None), _runs.lease_until >= now)  # due, should the holder die
        lapse = select(func.min(_runs.lease_until)).where(held)
        ((first, first_lapse),) = self._all(select(*(each.scalar_subquery() for each in (due, lapse))))
        return first, first_lapse


def _where_tasks(wanted: Select[Any], run_id: str | None, status: TaskStatus | None, to: str | None) -> Select[Any]:
    for column, value in ((_tasks.run_id, run_id), (_tasks.status, status), (_tasks.role, to)):
        if value is not None:
            wanted = wanted.where(column == value)
    return wanted
