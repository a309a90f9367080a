"""pause, resume, cancel, retry, fork, migrate, verify, work, db: what operators do."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from leverframe.canon import Json, Object
from leverframe.cli import doors, printed, shown
from leverframe.cli.app import AsJson, Model, RunId, command, complain, database, misused, print_json
from leverframe.cli.runs import checked_status
from leverframe.errors import LeverframeError
from leverframe.project import find, names

if TYPE_CHECKING:
    from leverframe.engine import Engine, Migration
    from leverframe.store import Row

Runs = Annotated[list[str] | None, typer.Argument(metavar="RUN…", help="Ids, beginnings of ids, or start keys.")]
OfMachine = Annotated[str | None, typer.Option("--machine", help="All runs of this machine that it can be done to.")]
WithStatus = Annotated[str | None, typer.Option("--status", help="All runs with this status that it can be done to.")]
Operator = Annotated[str, typer.Option(help="Who wants it: a name that the log keeps.", envvar="LEVERFRAME_BY")]

STUCK = frozenset({"attention", "blocked", "quarantined"})
LIVE = frozenset({"ready", "running", "waiting", *STUCK})


@command()
def pause(
    runs: Runs = None, machine: OfMachine = None, status: WithStatus = None, by: Operator = "operator", as_json: AsJson = False
) -> None:
    """Pause runs; in effect at the next step. Deadlines run on."""
    _each(runs, machine, status, LIVE, lambda engine, run: engine.pause(run, by=by), as_json)


@command()
def resume(
    runs: Runs = None, machine: OfMachine = None, status: WithStatus = None, by: Operator = "operator", as_json: AsJson = False
) -> None:
    """Let paused runs go on, by a worker or `advance`."""
    _each(runs, machine, status, frozenset({"paused"}), lambda engine, run: engine.resume(run, by=by), as_json)


@command()
def cancel(
    runs: Runs = None, machine: OfMachine = None, status: WithStatus = None, by: Operator = "operator", as_json: AsJson = False
) -> None:
    """Cancel runs and their children. A call that may have happened stays in doubt."""
    _each(runs, machine, status, LIVE | {"paused"}, lambda engine, run: engine.cancel(run, by=by), as_json)


@command()
def retry(
    runs: Runs = None,
    machine: OfMachine = None,
    status: WithStatus = None,
    grant: Annotated[int, typer.Option(min=0, help="So many further portions of the machine's limits.")] = 0,
    by: Operator = "operator",
    as_json: AsJson = False,
) -> None:
    """Let runs go on that needed a person, by a worker or `advance`."""
    _each(runs, machine, status, STUCK, lambda engine, run: engine.retry(run, by=by, grant=grant), as_json)


def _each(
    named: list[str] | None,
    machine: str | None,
    status: str | None,
    fitting: frozenset[str],
    do: "Callable[[Engine, str], Awaitable[Row]]",
    as_json: bool,
) -> None:
    """Does something to each run, and says of each what came of it; ends with 1 if it could not be done to one."""
    checked_status(status)
    if bool(named) == bool(machine or status):
        raise misused("name runs, or choose them by --machine and --status")

    async def work(engine: "Engine") -> list[Object]:
        chosen = list(named or ())
        if not named:
            rows = [row async for row in names.every_run(engine.store, machine, status)]
            chosen = [row.run.id for row in rows if row.run.status in fitting]
        return [await _one(engine, run, do) for run in chosen]

    done = doors.with_operator(work)
    if as_json:
        print_json({"runs": done})
    for result in done:
        if "error" in result:
            complain(str(result["error"]))
        elif not as_json:
            wanted = f", and will be {result['want']}d" if result.get("want") else ""
            typer.echo(f"{result['run']} {result['status']} in {result['state']}{wanted}")
    if not done and not as_json:
        typer.echo("no such runs")
    going = [result["run"] for result in done if result.get("status") in ("ready", "running")]
    if going and not as_json:
        typer.echo(f"  leverframe advance {going[0]}" if len(going) == 1 else "  leverframe work --until-idle")
    if any("error" in result for result in done):
        raise typer.Exit(1)


async def _one(engine: "Engine", named: str, do: "Callable[[Engine, str], Awaitable[Row]]") -> Object:
    try:
        row = await do(engine, await names.run_id(engine.store, named))
    except LeverframeError as error:
        return {"run": named, "error": str(error)}
    return {**shown.brief(row), "want": row.want}


@command()
def fork(
    run: RunId,
    at: Annotated[int | None, typer.Option(metavar="SEQ", help="From where it was after this event. Default: now.")] = None,
    by: Operator = "operator",
    as_json: AsJson = False,
) -> None:
    """Start a new run from where another was, with its memory; nothing pending comes along."""

    async def work(engine: "Engine") -> None:
        row = await engine.fork(await names.run_id(engine.store, run), at=at, by=by)
        if as_json:
            print_json(await shown.shown(engine.store, row.run.id))
        else:
            typer.echo(f"{row.run.id} is {row.run.status} in {row.run.state}\n  leverframe advance {row.run.id}")

    doors.with_operator(work)


@command()
def migrate(
    run: RunId,
    to: Annotated[
        str | None,
        typer.Option(metavar="HASH", help="A definition, or the beginning of its hash. Default: the machine as it is now."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change, and what stands against it.")] = False,
    by: Operator = "operator",
    as_json: AsJson = False,
) -> None:
    """Move a run to another definition of its machine."""

    async def work(engine: "Engine") -> "Migration":
        return await engine.migrate(await names.run_id(engine.store, run), to=to, dry_run=dry_run, by=by)

    found = doors.with_operator(work)
    if as_json:
        listed: list[Json] = [change.json() for change in found.changes]
        print_json(
            {
                "run": found.run,
                "from": found.was,
                "to": found.to,
                "changes": listed,
                "against": [*found.against],
                "migrated": found.moved,
            }
        )
    else:
        _say(found)
    if found.against:
        raise typer.Exit(1)


def _say(found: "Migration") -> None:
    was, to = found.was[:12], found.to[:12]
    for change in found.changes:
        typer.echo(f"  {change}")
    for line in found.against:
        complain(line)
    if was == to:
        typer.echo(f"{found.run} is at {to} already")
    elif found.moved:
        typer.echo(f"{found.run} is moved from {was} to {to}")
    else:
        typer.echo(f"{found.run} {'cannot' if found.against else 'can'} be moved from {was} to {to}; nothing was changed")


@command()
def verify(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="Default: every run.")] = None, as_json: AsJson = False
) -> None:
    """Fold logs again and check that chain, log and row agree."""

    async def work(engine: "Engine") -> list[Object]:
        if run is not None:
            return [await _verified(engine, await names.run_id(engine.store, run))]
        return [await _verified(engine, row.run.id) async for row in names.every_run(engine.store)]

    found = doors.with_operator(work)
    bad = [result for result in found if not result["ok"]]
    if as_json:
        print_json({"runs": found})
    else:
        for result in bad:
            complain(str(result["error"]))
        events = sum(result["events"] for result in found if isinstance(result["events"], int))
        typer.echo(f"{len(found) - len(bad)} of {len(found)} runs hold, {events} events")
    if bad:
        raise typer.Exit(1)


async def _verified(engine: "Engine", run_id: str) -> Object:
    try:
        return {"run": run_id, "ok": True, "events": await engine.verify(run_id), "error": None}
    except LeverframeError as error:
        return {"run": run_id, "ok": False, "events": 0, "error": str(error)}


@command()
def work(
    until_idle: Annotated[bool, typer.Option("--until-idle", help="End when nothing is due.")] = False,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Runs in hand at a time.")] = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Go on with every run that is due, wake timers and deadlines; Ctrl-C or SIGTERM ends it after the steps in hand."""
    from leverframe import worker

    many = concurrency or find().settings.concurrency
    live = None if as_json else printed.Live(printed.console(), names=True)
    taken = doors.with_engine(
        lambda engine: worker.work(engine, until_idle=until_idle, concurrency=many), model=model, watch=live
    )
    if as_json:
        print_json({"taken": taken})
    else:
        typer.echo(f"worked; runs were taken up {taken} times")


@command(database)
def upgrade(as_json: AsJson = False) -> None:
    """Bring the database to the schema of this version."""
    from leverframe.store import SCHEMA
    from leverframe.store import upgrade as bring

    was = bring(find().database_url())
    if as_json:
        print_json({"from": was or None, "to": SCHEMA})
    else:
        typer.echo(f"the database has schema {SCHEMA}" + (f", had {was}" if was and was != SCHEMA else ""))
