"""pause, resume, cancel, retry, fork, migrate, verify, work, db: what operators do."""

from typing import TYPE_CHECKING, Annotated

import typer

from leverframe.canon import Json, Object
from leverframe.cli import doors, printed, shown
from leverframe.cli.app import AsJson, Model, RunId, code_of, command, complain, database, print_json
from leverframe.cli.runs import StartKey, checked_status
from leverframe.clock import Micros
from leverframe.errors import LeverframeError, StoreError
from leverframe.project import find, many, names

if TYPE_CHECKING:
    from leverframe.engine import Engine, Migration
    from leverframe.store import Row

Runs = Annotated[list[str] | None, typer.Argument(metavar="RUN…", help="Ids, beginnings of ids, or start keys.")]
OfMachine = Annotated[str | None, typer.Option("--machine", help="All runs of this machine that it can be done to.")]
WithStatus = Annotated[str | None, typer.Option("--status", help="All runs with this status that it can be done to.")]
Operator = Annotated[str, typer.Option(help="Who wants it: a name that the log keeps.", envvar="LEVERFRAME_BY")]

WANTED = {"pause": "will be paused", "cancel": "will be cancelled"}


@command()
def pause(
    runs: Runs = None, machine: OfMachine = None, status: WithStatus = None, by: Operator = "operator", as_json: AsJson = False
) -> None:
    """Pause runs; in effect at the next step. Deadlines run on."""
    _change("pause", runs, machine, status, by, as_json)


@command()
def resume(
    runs: Runs = None, machine: OfMachine = None, status: WithStatus = None, by: Operator = "operator", as_json: AsJson = False
) -> None:
    """Let paused runs go on, by a worker or `advance`."""
    _change("resume", runs, machine, status, by, as_json)


@command()
def cancel(
    runs: Runs = None, machine: OfMachine = None, status: WithStatus = None, by: Operator = "operator", as_json: AsJson = False
) -> None:
    """Cancel runs and their children. A call that may have happened stays in doubt."""
    _change("cancel", runs, machine, status, by, as_json)


@command()
def retry(
    runs: Runs = None,
    machine: OfMachine = None,
    status: WithStatus = None,
    grant: Annotated[
        int,
        typer.Option(min=0, help="So many further portions of the machine's limits; those of a day count for these runs alone."),
    ] = 0,
    by: Operator = "operator",
    as_json: AsJson = False,
) -> None:
    """Let runs go on that needed a person, by a worker or `advance`."""
    _change("retry", runs, machine, status, by, as_json, grant)


def _change(
    verb: many.Verb,
    named: list[str] | None,
    machine: str | None,
    status: str | None,
    by: str,
    as_json: bool,
    grant: int = 0,
) -> None:
    """Does it to each run and says of each what came of it; ends as the worst of them."""
    checked_status(status)

    async def work(engine: "Engine") -> tuple[list[many.Changed], Micros]:
        async def loaded(run: str) -> None:
            if verb in ("resume", "retry"):  # they go on, perhaps into the next state; to stop a run needs none of its code
                await doors.check_loaded(engine, run)

        known = engine.machines
        chosen = {"machine": machine, "status": status}
        done = await many.change(engine, verb, named or None, **chosen, known=lambda: known, by=by, grant=grant, before=loaded)
        return done, engine.clock.now()

    done, now = doors.with_operator(work)
    rows = [each.row for each in done if each.row is not None]
    failed = [each for each in done if each.error is not None]
    if as_json:
        print_json({"runs": [_changed_json(each, now) for each in done]})
    for each in failed:
        complain(str(each.error))
    if not as_json:
        _say_changed(rows, now, none=not done)
    if failed:
        raise typer.Exit(min(code_of(each.error) for each in failed if each.error))


def _changed_json(each: many.Changed, now: Micros) -> Object:
    if each.row is None:
        return {"run": each.named, "error": str(each.error)}
    return {**shown.brief(each.row, now), "want": each.row.want}


def _say_changed(rows: "list[Row]", now: Micros, *, none: bool) -> None:
    for row in rows:
        wanted = f"; {WANTED[row.want]} as soon as the step in hand is committed" if row.want else ""
        typer.echo(f"{row.run.id} {names.status_of(row, now)} in {row.run.state}{wanted}")
    if none:
        typer.echo("no such runs")
    going = [row.run.id for row in rows if row.run.status == "ready" and row.want is None]
    if going:
        typer.echo(f"  leverframe advance {going[0]}" if len(going) == 1 else "  leverframe work --until-idle")


@command()
def fork(
    run: RunId,
    at: Annotated[int | None, typer.Option(metavar="SEQ", help="From where it was after this event. Default: now.")] = None,
    key: StartKey = None,
    by: Operator = "operator",
    as_json: AsJson = False,
) -> None:
    """Start a new run from where another was, with its memory; nothing pending comes along."""

    async def work(engine: "Engine") -> None:
        row = await engine.fork(await names.run_id(engine.store, run), at=at, key=key, by=by)
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
        found: list[Object] = []
        after = ""
        while page := await engine.store.run_ids(after):
            after = page[-1]
            found += [await _verified(engine, run_id) for run_id in page]
        return found

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
    except StoreError:
        raise  # the database's fault, not the run's
    except Exception as error:  # noqa: BLE001 - whatever a damaged run does to who reads it, the others are still looked at
        said = (
            str(error) if isinstance(error, LeverframeError) else f"run {run_id}: cannot be read: {type(error).__name__}: {error}"
        )
        return {"run": run_id, "ok": False, "events": 0, "error": said}


@command()
def work(
    until_idle: Annotated[bool, typer.Option("--until-idle", help="End when nothing is due.")] = False,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Runs in hand at a time.")] = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Go on with every run that is due, wake timers and deadlines; Ctrl-C or SIGTERM ends it after the steps in hand."""
    from leverframe import worker

    at_once = concurrency or find().settings.concurrency
    live = None if as_json else printed.Live(printed.console(), names=True)
    taken = doors.with_worker(
        lambda engine: worker.work(engine, until_idle=until_idle, concurrency=at_once), model=model, watch=live
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
