"""What a command works with: the project it stands in, its store or engine, and the runs and tasks that people name."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from leverframe.cli.app import object_of
from leverframe.errors import NotWaiting, UnknownRun
from leverframe.project import find
from leverframe.run import OVER, Event, Run

if TYPE_CHECKING:
    from leverframe.engine import Engine
    from leverframe.store import Row, Store, Task, TaskStatus

T = TypeVar("T")
Work: TypeAlias = "Callable[[Engine], Awaitable[T]]"
PAGE = 200
KEYS = 20_000
"""Runs that are looked through for a start key, newest first."""
WORDS = {"approve": "an approval", "answer": "an answer", "reconcile": "somebody to find out what became of a call"}


def with_store(work: "Callable[[Store], Awaitable[T]]") -> T:
    """Runs something that only looks: rooms and models are not loaded."""

    async def inside() -> T:
        store = find().store()
        try:
            return await work(store)
        finally:
            store.close()

    return asyncio.run(inside())


def with_engine(
    work: "Callable[[Engine], Awaitable[T]]", *, model: str | None = None, watch: Callable[[Run, Event], None] | None = None
) -> T:
    """Runs something that goes on with runs."""

    async def inside() -> T:
        async with find().engine(model=model, watch=watch) as engine:
            return await work(engine)

    return asyncio.run(inside())


def with_operator(work: "Callable[[Engine], Awaitable[T]]") -> T:
    """Runs something that asks no model, so a model that is not set up does not stand in its way."""

    async def inside() -> T:
        async with find().engine(asks=False) as engine:
            return await work(engine)

    return asyncio.run(inside())


# ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def run_id(store: "Store", given: str) -> str:
    """The run with that id, the only one that begins so, or the one with that start key."""
    if given.startswith("task_"):
        return (await store.task(await store.resolve_task(given))).run_id
    try:
        return await store.resolve(given)
    except UnknownRun:
        keyed = [row.run.id async for row in every_run(store, limit=KEYS) if row.start_key == given]
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
    decided = [task for task in await store.tasks(run, status="decided") if task.kind in kinds]
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
        if len(rows) < size or not rows:
            return
        left = None if left is None else left - len(rows)
        before = (rows[-1].created_at, rows[-1].run.id)


async def eldest(store: "Store", run: str) -> str:
    """The run that the chain of parents begins with: going on with it goes on with all of them."""
    row = await store.load(run)
    while row.run.parent:
        row = await store.load(row.run.parent)
    return row.run.id


def read_value(text: str) -> object:
    """An answer as typed: an object where it is JSON of one, else the words themselves."""
    return object_of(text, "--value") if text.lstrip().startswith("{") else text
