"""tasks, approve, reject, answer: what people decide."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from leverframe.cli import doors, printed, shown
from leverframe.cli.app import AsJson, By, Model, NoAdvance, TaskOrRun, command, object_of, print_json
from leverframe.cli.runs import recorded
from leverframe.errors import TaskGone
from leverframe.project import names

if TYPE_CHECKING:
    from leverframe.engine import Engine
    from leverframe.store import Store, Task

Comment = Annotated[str, typer.Option(help="Why; the model reads it, too.")]


@command()
def tasks(
    run: Annotated[str | None, typer.Option(metavar="RUN", help="Only of this run and its children.")] = None,
    to: Annotated[str | None, typer.Option(help="Only for this person or role.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the oldest.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List what waits for a person, the oldest first."""

    async def work(store: "Store") -> None:
        found, more = await _open_tasks(store, run, to, limit)
        now = store.clock.now()
        if as_json:
            print_json({"tasks": [shown.task_json(task, now) for task in found], "more": more})
        elif not found:
            typer.echo("nobody is waited for")
        else:
            late = {task.run_id for task in found if shown.is_overdue(task, now)}
            eldest = {run_id: await names.eldest(store, run_id) for run_id in late}
            printed.tasks(printed.console(), found, more, now, eldest)

    doors.with_store(work)


async def _open_tasks(store: "Store", run: str | None, to: str | None, limit: int) -> "tuple[list[Task], int]":
    """So many, and how many more there are."""
    if run is None:
        found = await store.tasks(to=to, limit=limit)
        return found, await store.count_tasks(to=to) - len(found) if len(found) == limit else 0
    found = [task for task in await names.tasks_of(store, await names.run_id(store, run)) if to in (None, task.to)]
    return found[:limit], len(found[limit:])


async def _task(engine: "Engine", given: str, *kinds: str) -> "Task":
    """The task that is meant, of a run whose machine is there."""
    found = await names.task_of(engine.store, given, *kinds)
    await doors.check_loaded(engine, found.run_id)
    return found


@contextmanager
def _in_time(task: "Task") -> Generator[None]:
    """Who comes too late is told how the run goes on without them."""
    try:
        yield
    except TaskGone as gone:
        raise TaskGone(f"{gone}: `leverframe advance {task.run_id}`, or a worker, goes on with it") from None


@command()
def approve(
    task: TaskOrRun,
    by: By,
    comment: Comment = "",
    args: Annotated[
        str | None, typer.Option(metavar="JSON|@FILE", help="Change the call's arguments, and release that call instead.")
    ] = None,
    model: Model = None,
    no_advance: NoAdvance = False,
    as_json: AsJson = False,
) -> None:
    """Release exactly the call that is shown, and go on."""
    arguments = object_of(args, "--args") if args is not None else None

    async def work(engine: "Engine") -> str:
        found = await _task(engine, task, "approve")
        with _in_time(found):
            await engine.decide(found.id, by=by, decision="approved", comment=comment, arguments=arguments, via="cli")
        return found.run_id

    recorded(work, model, no_advance, as_json)


@command()
def reject(
    task: TaskOrRun, by: By, comment: Comment = "", model: Model = None, no_advance: NoAdvance = False, as_json: AsJson = False
) -> None:
    """Say no to the call that is shown, and go on."""

    async def work(engine: "Engine") -> str:
        found = await _task(engine, task, "approve")
        with _in_time(found):
            await engine.decide(found.id, by=by, decision="rejected", comment=comment, via="cli")
        return found.run_id

    recorded(work, model, no_advance, as_json)


@command()
def answer(
    task: TaskOrRun,
    by: By,
    value: Annotated[
        str,
        typer.Option(
            help="The answer: words, the name of one, or a JSON object; of a doubted call `happened` or `not_happened`."
        ),
    ],
    model: Model = None,
    no_advance: NoAdvance = False,
    as_json: AsJson = False,
) -> None:
    """Answer a question, or say what became of a call that nobody knows the end of, and go on."""
    given = doors.read_value(value)

    async def work(engine: "Engine") -> str:
        found = await _task(engine, task, "answer", "reconcile")
        with _in_time(found):
            await engine.answer(found.id, by=by, value=given, via="cli")
        return found.run_id

    recorded(work, model, no_advance, as_json)
