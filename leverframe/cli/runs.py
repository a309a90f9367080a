"""run, start, advance, runs, show, signal."""

import asyncio
import shlex
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, NoReturn, cast

import typer

from leverframe.canon import Object
from leverframe.cli import doors, goes_on, printed, shown
from leverframe.cli.app import AsJson, Model, NoAdvance, RunId, command, fail, misused, object_of, print_json
from leverframe.errors import LeverframeError, did_you_mean
from leverframe.project import AnyMachine, find, many, names

if TYPE_CHECKING:
    from leverframe.engine import Engine
    from leverframe.store import Row, Store

LOOK = 0.5
"""Seconds of silence before it is looked why."""

MachineName = Annotated[str, typer.Argument(metavar="MACHINE", help="A machine of machines/.")]
Words = Annotated[str | None, typer.Argument(metavar="TEXT", help="Fills the one text that the machine's Memory requires.")]
Input = Annotated[
    str | None, typer.Option("--input", metavar="JSON|@FILE", help="The whole input as a JSON object, or @ and a file of it.")
]
StartKey = Annotated[str | None, typer.Option("--key", help="One key is one run, however often the command is given.")]


@command()
def run(
    machine: MachineName,
    text: Words = None,
    input: Input = None,
    model: Model = None,
    key: StartKey = None,
    as_json: AsJson = False,
) -> None:
    """Start a run and go on with it until it is over or waits for somebody."""
    from leverframe.engine import TriggerCommand

    given = read_input(find().machine(machine), text, input)
    to = printed.console()
    live = printed.Live(to)

    async def work(engine: "Engine") -> "Row":
        doors.check_machine(engine, machine)
        row = await engine.start(TriggerCommand(machine, given, key=key, source="cli"), hold=True)
        live.root = row.run.id
        if not as_json:
            printed.heading(to, row.run)
            if row.run.offline:
                printed.offline(to, engine.model)
        return await gone_on(engine, live, as_json, model)

    follow(work, live, model, as_json)


@command()
def start(machine: MachineName, text: Words = None, input: Input = None, key: StartKey = None, as_json: AsJson = False) -> None:
    """Start a run and leave it to a worker."""
    from leverframe.engine import TriggerCommand

    given = read_input(find().machine(machine), text, input)

    async def work(engine: "Engine") -> None:
        doors.check_machine(engine, machine)
        row = await engine.start(TriggerCommand(machine, given, key=key, source="cli"))
        if as_json:
            print_json(await shown.shown(engine.store, row.run.id))
        else:
            typer.echo(
                f"{row.run.id} is {row.run.status}. Go on with it by `leverframe work`, or\n  leverframe advance {row.run.id}"
            )

    doors.with_operator(work)


@command()
def advance(run: RunId, model: Model = None, as_json: AsJson = False) -> None:
    """Go on with a run until it is over or waits for somebody."""
    live = printed.Live(printed.console())

    async def work(engine: "Engine") -> "Row":
        live.root = await names.run_id(engine.store, run)
        await doors.check_loaded(engine, live.root)
        return await gone_on(engine, live, as_json, model)

    follow(work, live, model, as_json)


@command()
def runs(
    machine: Annotated[str | None, typer.Option(help="Only of this machine.")] = None,
    status: Annotated[str | None, typer.Option(help="Only with this status: waiting, attention, done …")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List runs, the newest first."""
    checked_status(status)

    async def work(store: "Store") -> None:
        rows = [row async for row in many.chosen(store, machine, status, lambda: find().loaded()[0], limit)]
        more = await store.count_runs(machine, status) - len(rows) if len(rows) == limit else 0
        now = store.clock.now()
        if as_json:
            print_json({"runs": [shown.brief(row, now) for row in rows], "more": more})
        elif rows:
            printed.runs(printed.console(), rows, more, now)
        else:
            typer.echo("no runs")

    doors.with_store(work)


@command()
def show(
    run: RunId,
    events: Annotated[bool, typer.Option("--events", help="The whole log, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a run: memory, effects, and what it waits for."""

    async def work(store: "Store") -> None:
        run_id = await names.run_id(store, run)
        if as_json:
            print_json(await shown.shown(store, run_id, events=events))
        else:
            await printed.whole(printed.console(), store, run_id, events=events)

    doors.with_store(work)


@command()
def signal(
    run: RunId,
    event: Annotated[str, typer.Argument(metavar="EVENT", help="What happened; some Wait of the machine knows it.")],
    data: Annotated[str | None, typer.Option(metavar="JSON|@FILE", help="What comes with it, as an object.")] = None,
    source: Annotated[str, typer.Option(help="Where it comes from.")] = "cli",
    key: Annotated[str | None, typer.Option(help="Counts once per source and key.")] = None,
    model: Model = None,
    no_advance: NoAdvance = False,
    as_json: AsJson = False,
) -> None:
    """Tell a run that something happened outside, and go on with it."""
    body = object_of(data, "--data") if data is not None else None

    async def tell(engine: "Engine") -> str:
        run_id = await names.run_id(engine.store, run)
        await doors.check_loaded(engine, run_id)
        await engine.signal(run_id, event, body, source=source, key=key)
        return run_id

    recorded(tell, model, no_advance, as_json)


# ── what the commands share ──────────────────────────────────────────────────────────────────────────────────────────────────


def follow(work: "doors.Work[Row]", live: printed.Live, model: str | None, as_json: bool) -> None:
    """Goes on in the foreground; ends with 1 if the run failed."""
    try:
        row = doors.with_engine(work, model=model, watch=None if as_json else live, hears=None if as_json else live.hears)
    except KeyboardInterrupt:
        interrupted(live.root)
    if printed.is_bad(row):
        raise typer.Exit(1)


def interrupted(run_id: str) -> NoReturn:
    fail(f"interrupted; what was committed is safe. Go on: leverframe advance {run_id}" if run_id else "interrupted", 130)


async def report(store: "Store", row: "Row", as_json: bool, model: str | None) -> None:
    if as_json:
        print_json(await shown.shown(store, row.run.id))
    else:
        await printed.standing(printed.console(), store, row.run.id, model)


async def gone_on(engine: "Engine", live: printed.Live, as_json: bool, model: str | None) -> "Row":
    """Goes on with the run that is followed, and says where it came to rest."""
    saying = asyncio.create_task(_say_waits(engine, live)) if not as_json else None
    try:
        row = await engine.advance(live.root)
    finally:
        if saying is not None:
            saying.cancel()
            with suppress(asyncio.CancelledError, LeverframeError):  # it only looks: what is wrong with the database others say
                await saying
    await report(engine.store, row, as_json, model)
    return row


async def _say_waits(engine: "Engine", live: printed.Live) -> None:
    """Says once why nothing happens for a while: with the run, or with the first of the children that it waits for."""
    said = set[str]()
    while True:
        await asyncio.sleep(LOOK)
        rows = [await engine.store.load(live.root)]
        if rows[0].run.waiting is not None:
            rows += await engine.store.load_all(rows[0].run.waiting.children[:20])
        for row in rows:
            now = engine.clock.now()
            why = printed.why_waits(row, now)
            if names.status_of(row, now) == "running" and row.lease_owner != engine.owner:
                why = f"another process goes on with it: {row.lease_owner}"
            if why is not None and f"{row.run.id} {why}" not in said:
                said.add(f"{row.run.id} {why}")
                live.say(row.run, why)


def recorded(do: "doors.Work[str]", model: str | None, no_advance: bool, as_json: bool) -> None:
    """Records something for a run, which `do` names; goes on with it, and with those it belongs to, unless a worker shall."""
    if no_advance:
        run_id = doors.with_operator(do)
        row = doors.with_store(lambda store: store.load(run_id))
        if as_json:
            print_json(doors.with_store(lambda store: shown.shown(store, run_id)))
        elif not _say_kept(row):
            typer.echo("recorded. A worker goes on with it, or")
            typer.echo(f"  leverframe advance {run_id}{f' --model {shlex.quote(model)}' if model else ''}")
        else:
            typer.echo("\n".join(f"  {command}" for command in goes_on.with_run(row, model)))
        return
    live = printed.Live(printed.console())

    async def work(engine: "Engine") -> "Row":
        run_id = await do(engine)
        live.root = await names.eldest(engine.store, run_id)
        row = await engine.store.load(run_id)
        if not as_json:
            _say_kept(row)
        return await gone_on(engine, live, as_json, model)

    follow(work, live, model, as_json)


def _say_kept(row: "Row") -> bool:
    """What reaches a run that stands still is not lost, and not heeded either: that must not look like success."""
    if row.run.status not in printed.STOPPED:
        return False
    typer.echo(f"recorded, but run {row.run.id} is {row.run.status}: it takes this up when it goes on again")
    return True


def read_input(machine: AnyMachine, text: str | None, given: str | None) -> Object:
    """The input of a run: a JSON object, and over it the words for the one text that Memory requires."""
    body = object_of(given, "--input") if given is not None else {}
    fields = machine.memory.model_fields
    needed = [name for name, field in fields.items() if field.is_required() and name not in body]
    if text is None and given is None and needed:
        raise misused(f"{machine.name} requires {', '.join(needed)}; give TEXT for the one text, or --input JSON for all of it")
    if text is None:
        return body
    texts = [name for name in needed if fields[name].annotation is str]
    if len(texts) != 1:
        found = f"has {len(texts)} of them" if texts else "requires no text" + (" besides" if given else "")
        listed = ", ".join(needed) or "nothing"
        raise misused(
            f"TEXT fills the one text that the input of {machine.name} requires, but it {found} (it requires {listed}); use --input JSON"
        )
    return {**body, texts[0]: text}


def checked_status(status: str | None) -> None:
    from typing import get_args

    from leverframe.run import Status

    known = list(cast("tuple[str, ...]", get_args(Status)))
    if status is not None and status not in known:
        raise misused(f"no run has the status {status!r}; there are {', '.join(known)}.{did_you_mean(status, known)}")
