"""Runs and tasks as people name them, and who belongs to whom: what every door to them shares."""

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from leverframe.clock import Micros
from leverframe.errors import NotWaiting, UnknownRun
from leverframe.run import OVER, Status

if TYPE_CHECKING:
    from leverframe.store import Row, Store, Task, TaskStatus

PAGE = 200
WORDS = {"approve": "an approval", "answer": "an answer", "reconcile": "somebody to find out what became of a call"}


def status_of(row: "Row", now: Micros) -> Status:
    """As people are told: `running` where a process is at a run that has something to do. One that died holds nothing any more."""
    if row.run.status != "ready" or row.lease_owner is None or (row.lease_until or 0) < now:
        return row.run.status
    from leverframe.store import is_dead  # whoever has a row has loaded it

    return "ready" if is_dead(row.lease_owner) else "running"


async def run_id(store: "Store", given: str) -> str:
    """The run with that id, the only one that begins so, or the one with that start key."""
    if given.startswith("task_"):
        return (await store.task(await store.resolve_task(given))).run_id
    try:
        return await store.resolve(given)
    except UnknownRun:
        keyed = await store.keyed(given)
        if len(keyed) > 1:
            raise UnknownRun(f"start key {given!r} is of several runs: {', '.join(keyed[:5])}; give an id") from None
        if not keyed:
            raise
        return keyed[0]


async def task_of(store: "Store", given: str, *kinds: str) -> "Task":
    """The task that was named, or the one that the named run waits for. Of a run that waits no more: the one decided last, so that
    a command given twice gets the same answer. Raises UnknownTask, UnknownRun, NotWaiting."""
    if given.startswith("task_"):
        return await store.task(await store.resolve_task(given))
    run = await run_id(store, given)
    tasks = await tasks_of(store, run)
    fitting = [task for task in tasks if task.kind in kinds]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        listed = ", ".join(f"{task.id} ({task.state})" for task in fitting[:5])
        raise NotWaiting(f"run {run} waits for several: {listed}; name one")
    if tasks:
        wanted = WORDS[tasks[0].kind]
        raise NotWaiting(f"run {run} waits for {wanted}: `leverframe {verb(tasks[0])} {run} …`")
    decided = [task for task in await store.tasks(run, status="decided", limit=10_000) if task.kind in kinds]
    if decided:
        return max(decided, key=lambda task: task.decided_at or 0)
    row = await store.load(run)
    raise NotWaiting(f"run {run} is {row.run.status} in {row.run.state}; it waits for nobody")


def verb(task: "Task") -> str:
    return "approve" if task.kind == "approve" else "answer"


async def tasks_of(store: "Store", run: str, status: "TaskStatus | None" = "open") -> "list[Task]":
    """The tasks of a run and of the child runs it waits for."""
    found = await store.tasks(run, status=status, limit=10_000)
    row = await store.load(run)
    waiting = row.run.waiting
    if row.run.status in OVER or waiting is None or waiting.kind != "children":
        return found
    for child in await children_of(store, run):
        found += await tasks_of(store, child.run.id, status)
    return found


async def children_of(store: "Store", run: str) -> "list[Row]":
    return [row async for row in every_run(store, parent=run)][::-1]


async def every_run(
    store: "Store", machine: str | None = None, status: str | None = None, parent: str | None = None, limit: int | None = None
) -> "AsyncGenerator[Row]":
    """Newest first, page by page."""
    before: tuple[int, str] | None = None
    left = limit
    while True:
        size = PAGE if left is None else min(PAGE, left)
        rows = await store.runs(machine, status, parent, before, size) if size else []
        for row in rows:
            yield row
        if not rows:  # a short page is not the last one: a row that was damaged is left out
            return
        left = None if left is None else left - len(rows)
        before = (rows[-1].created_at, rows[-1].run.id)


async def eldest(store: "Store", run: str) -> str:
    """The run that the chain of parents begins with: going on with it goes on with all of them."""
    row = await store.load(run)
    while row.run.parent:
        row = await store.load(row.run.parent)
    return row.run.id
