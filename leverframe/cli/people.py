"""tasks, approve, reject, answer: what people decide."""

from typing import TYPE_CHECKING, Annotated

import typer

from leverframe.cli import doors, printed, shown
from leverframe.cli.app import AsJson, By, Model, NoAdvance, TaskOrRun, command, object_of, print_json
from leverframe.cli.runs import recorded
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

    async def work(store: "Store") -> "list[Task]":
        if run is None:
            return await store.tasks(to=to, limit=limit)
        found = await names.tasks_of(store, await names.run_id(store, run))
        return [task for task in found if to in (None, task.to)][:limit]

    found = doors.with_store(work)
    if as_json:
        print_json({"tasks": [shown.task_json(task) for task in found]})
    elif not found:
        typer.echo("nobody is waited for")
    else:
        printed.tasks(printed.console(), found)


@command()
def approve(
    task: TaskOrRun,
    by: By,
    comment: Comment = "",
    args: Annotated[
        str | None, typer.Option(metavar="JSON", help="Change the call's arguments, and release that call instead.")
    ] = None,
    model: Model = None,
    no_advance: NoAdvance = False,
    as_json: AsJson = False,
) -> None:
    """Release exactly the call that is shown, and go on."""
    arguments = object_of(args, "--args") if args is not None else None

    async def work(engine: "Engine") -> str:
        found = await names.task_of(engine.store, task, "approve")
        await engine.decide(found.id, by=by, decision="approved", comment=comment, arguments=arguments, via="cli")
        return found.run_id

    recorded(work, model, no_advance, as_json)


@command()
def reject(
    task: TaskOrRun, by: By, comment: Comment = "", model: Model = None, no_advance: NoAdvance = False, as_json: AsJson = False
) -> None:
    """Say no to the call that is shown, and go on."""

    async def work(engine: "Engine") -> str:
        found = await names.task_of(engine.store, task, "approve")
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
        found = await names.task_of(engine.store, task, "answer", "reconcile")
        await engine.answer(found.id, by=by, value=given, via="cli")
        return found.run_id

    recorded(work, model, no_advance, as_json)
