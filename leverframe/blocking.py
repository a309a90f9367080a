"""The one blocking door, for jobs and scripts: no event loop of your own, any thread, any working directory.

    run = blocking.run(refund, Refund(message="…"), key="ticket-881")
    if run.status == "waiting":
        run = blocking.approve(run, by="ada")

A machine brings its project along: rooms, settings, database. What only names a run by its id looks for the project in the current
folder, unless `machine=` says whose it is. Inside of an event loop use `leverframe.project`'s `engine()` and await it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, Literal, cast

from pydantic import ValidationError
from typing_extensions import TypeVar

from leverframe import project
from leverframe.canon import Json, Object, ordered
from leverframe.engine import Engine
from leverframe.errors import InputError, LeverframeError
from leverframe.machine import Machine
from leverframe.project import AnyMachine, Project, many, names
from leverframe.run import OVER, Status
from leverframe.start import TriggerCommand
from leverframe.state import Memory
from leverframe.store import Effect, Row, Store, Task

M = TypeVar("M", bound=Memory, default=Memory)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Door:
    """Where a run lives, and with which model it goes on."""

    project: Project
    machine: AnyMachine | None
    model: str | None
    database_url: str | None

    def engine(self, work: Callable[[Engine], Awaitable[T]], *, asks: bool = True) -> T:
        async def inside() -> T:
            door = self.project.engine(
                model=self.model, database_url=self.database_url, also=self.machine, asks=asks, own_loop=True
            )
            async with door as engine:
                return await work(engine)

        _refuse_a_running_loop()
        return asyncio.run(inside())


@dataclass(frozen=True, slots=True)
class Seen(Generic[M]):
    """A run as it stood when it was looked at. `memory` is typed where the machine is known."""

    id: str
    machine: str
    status: Status
    state: str
    memory: M
    seq: int
    result: Json
    reason: str | None
    tasks: tuple[Task, ...]
    effects: tuple[Effect, ...]
    door: Door = field(repr=False)

    @property
    def over(self) -> bool:
        return self.status in OVER


def run(
    machine: Machine[M],
    memory: M,
    *,
    key: str | None = None,
    model: str | None = None,
    database_url: str | None = None,
    source: str = "blocking",
) -> Seen[M]:
    """Starts a run and goes on with it until it is over or waits. One key is one run: given again, it goes on with that one.

    Raises KeyConflict (the key with another input), InvalidMemory, and what opening project, model and database raises.
    """
    return _started(machine, memory, key, model, database_url, source, goes_on=True)


def start(
    machine: Machine[M],
    memory: M,
    *,
    key: str | None = None,
    model: str | None = None,
    database_url: str | None = None,
    source: str = "blocking",
) -> Seen[M]:
    """Starts a run and leaves it to a worker."""
    return _started(machine, memory, key, model, database_url, source, goes_on=False)


def _started(
    machine: Machine[M], memory: M, key: str | None, model: str | None, database_url: str | None, source: str, *, goes_on: bool
) -> Seen[M]:
    anyone = cast("AnyMachine", machine)
    door = Door(project.of(anyone), anyone, model, database_url)

    async def work(engine: Engine) -> Seen[Memory]:
        row = await engine.start(TriggerCommand(machine.name, memory, key=key, source=source), hold=goes_on)
        return await _seen(engine, await engine.advance(row.run.id) if goes_on else row, door)

    return cast("Seen[M]", door.engine(work, asks=goes_on))


def advance(
    run: "Seen[M] | str", *, machine: AnyMachine | None = None, model: str | None = None, database_url: str | None = None
) -> Seen[M]:
    """Goes on with a run until it is over or waits."""
    return _with(run, _door(run, machine, model, database_url), lambda engine, run_id: engine.advance(run_id))


def show(run: "Seen[M] | str", *, machine: AnyMachine | None = None, database_url: str | None = None) -> Seen[M]:
    """The run as it stands now."""
    return _with(run, _door(run, machine, None, database_url), lambda engine, run_id: engine.store.load(run_id), asks=False)


def approve(
    run: "Seen[M] | str",
    *,
    by: str,
    comment: str = "",
    arguments: Mapping[str, object] | None = None,
    machine: AnyMachine | None = None,
    model: str | None = None,
    database_url: str | None = None,
) -> Seen[M]:
    """Releases the call that the run (or the task of that id) waits with, and goes on. `arguments` change it first."""

    async def decide(engine: Engine, task: str) -> None:
        await engine.decide(task, by=by, decision="approved", comment=comment, arguments=arguments, via="blocking")

    return _decided(run, _door(run, machine, model, database_url), decide, ("approve",))


def reject(
    run: "Seen[M] | str",
    *,
    by: str,
    comment: str = "",
    machine: AnyMachine | None = None,
    model: str | None = None,
    database_url: str | None = None,
) -> Seen[M]:
    """Says no to the call that the run waits with, and goes on."""

    async def decide(engine: Engine, task: str) -> None:
        await engine.decide(task, by=by, decision="rejected", comment=comment, via="blocking")

    return _decided(run, _door(run, machine, model, database_url), decide, ("approve",))


def answer(
    run: "Seen[M] | str",
    value: object,
    *,
    by: str,
    machine: AnyMachine | None = None,
    model: str | None = None,
    database_url: str | None = None,
) -> Seen[M]:
    """Answers the question that the run waits with, or says what became of a call in doubt, and goes on."""

    async def decide(engine: Engine, task: str) -> None:
        await engine.answer(task, by=by, value=value, via="blocking")

    return _decided(run, _door(run, machine, model, database_url), decide, ("answer", "reconcile"))


def signal(
    run: "Seen[M] | str",
    event: str,
    data: Mapping[str, object] | None = None,
    *,
    source: str = "blocking",
    key: str | None = None,
    machine: AnyMachine | None = None,
    model: str | None = None,
    database_url: str | None = None,
) -> Seen[M]:
    """Tells a run that something happened outside, and goes on with it."""

    async def tell(engine: Engine, run_id: str) -> Row:
        await engine.signal(run_id, event, data, source=source, key=key)
        return await engine.advance(run_id)

    return _with(run, _door(run, machine, model, database_url), tell)


# ── operators: one run, or many ──────────────────────────────────────────────────────────────────────────────────────────────


def pause(
    run: "Seen[M] | str", *, by: str = "operator", machine: AnyMachine | None = None, database_url: str | None = None
) -> Seen[M]:
    """Pauses a run; in effect at the next step, and deadlines run on. Raises AlreadyPaused, RunOver, UnknownRun."""
    door = _door(run, machine, None, database_url)
    return _with(run, door, lambda engine, run_id: engine.pause(run_id, by=by), asks=False, eldest=False)


def resume(
    run: "Seen[M] | str", *, by: str = "operator", machine: AnyMachine | None = None, database_url: str | None = None
) -> Seen[M]:
    """Lets a paused run go on, by a worker or `advance`. Raises NotPaused, RunOver, Busy, UnknownRun."""
    door = _door(run, machine, None, database_url)
    return _with(run, door, lambda engine, run_id: engine.resume(run_id, by=by), asks=False, eldest=False)


def cancel(
    run: "Seen[M] | str", *, by: str = "operator", machine: AnyMachine | None = None, database_url: str | None = None
) -> Seen[M]:
    """Cancels a run and its children; a call that may have happened stays in doubt. Raises RunOver, UnknownRun."""
    door = _door(run, machine, None, database_url)
    return _with(run, door, lambda engine, run_id: engine.cancel(run_id, by=by), asks=False, eldest=False)


def retry(
    run: "Seen[M] | str",
    *,
    grant: int = 0,
    by: str = "operator",
    machine: AnyMachine | None = None,
    database_url: str | None = None,
) -> Seen[M]:
    """Lets a run go on that needed a person, by a worker or `advance`; `grant`: so many further portions of its limits.

    Raises NotRetryable, RunOver, Busy, UnknownRun.
    """
    door = _door(run, machine, None, database_url)
    return _with(run, door, lambda engine, run_id: engine.retry(run_id, by=by, grant=grant), asks=False, eldest=False)


@dataclass(frozen=True, slots=True)
class Changed:
    """What came of many: the runs that it was done to as they stand now, and what refused it of each other one, by its name."""

    done: tuple[Seen[Memory], ...]
    refused: Mapping[str, LeverframeError]


def each(
    verb: Literal["pause", "resume", "cancel", "retry"],
    runs: "Iterable[Seen[M] | str] | None" = None,
    *,
    machine: AnyMachine | None = None,
    status: Status | None = None,
    grant: int = 0,
    by: str = "operator",
    database_url: str | None = None,
) -> Changed:
    """Does it to many: to these runs, or to all of the machine and with the status that it can be done to. One that refuses stops none.

    Where runs are listed, `machine` only says whose project they are of. Raises InputError where nothing chooses, or two things do.
    """
    many.check_verb(verb)
    listed = None if runs is None else list(runs)
    if listed is not None and (status is not None or isinstance(runs, str)):
        raise InputError(f"which runs? Give a list of those to {verb}, or choose them by machine and status")
    if listed == []:
        return Changed((), {})
    door = _door(listed[0] if listed else "", machine, None, database_url)
    named = None if listed is None else [_named(run) for run in listed]
    of = machine.name if machine and named is None else None

    async def work(engine: Engine) -> Changed:
        known = engine.machines
        came = await many.change(engine, verb, named, machine=of, status=status, known=lambda: known, by=by, grant=grant)
        done = [await _seen(engine, one.row, door) for one in came if one.row is not None]
        return Changed(tuple(done), {one.named: one.error for one in came if one.error is not None})

    return door.engine(work, asks=False)


# ── what they share ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _door(run: "Seen[M] | str", machine: AnyMachine | None, model: str | None, database_url: str | None) -> Door:
    if isinstance(run, str):
        return Door(project.of(machine) if machine else project.find(), machine, model, database_url)
    was = run.door
    return Door(was.project, machine or was.machine, model or was.model, database_url or was.database_url)


def _with(
    run: "Seen[M] | str", door: Door, do: Callable[[Engine, str], Awaitable[Row]], *, asks: bool = True, eldest: bool = True
) -> Seen[M]:
    async def work(engine: Engine) -> Seen[Memory]:
        run_id = await (_run_id(engine.store, run) if eldest else names.run_id(engine.store, _named(run)))
        return await _seen(engine, await do(engine, run_id), door)

    return cast("Seen[M]", door.engine(work, asks=asks))


def _decided(
    run: "Seen[M] | str", door: Door, decide: Callable[[Engine, str], Awaitable[object]], kinds: tuple[str, ...]
) -> Seen[M]:
    async def then(engine: Engine, run_id: str) -> Row:
        named = run if isinstance(run, str) else run_id
        await decide(engine, (await names.task_of(engine.store, named, *kinds)).id)
        return await engine.advance(run_id)

    return _with(run, door, then)


def _named(run: "Seen[M] | str") -> str:
    return run if isinstance(run, str) else run.id


async def _run_id(store: Store, run: "Seen[M] | str") -> str:
    """The run, or the one it belongs to: going on with that goes on with all of them."""
    return await names.eldest(store, await names.run_id(store, run)) if isinstance(run, str) else run.id


async def _seen(engine: Engine, row: Row, door: Door) -> Seen[Memory]:
    run = row.run
    found = engine.machines.get(run.machine)
    return Seen(
        id=run.id,
        machine=run.machine,
        status=names.status_of(row, engine.clock.now()),
        state=run.state,
        memory=_memory(found, run.memory),
        seq=run.seq,
        result=run.result,
        reason=run.reason,
        tasks=tuple(await names.tasks_of(engine.store, run.id)),
        effects=tuple(await engine.store.effects(run.id)),
        door=door,
    )


def _memory(machine: AnyMachine | None, data: Object) -> Memory:
    """Typed; as it is stored where today's class does not fit it any more, so that a run of older code can still be looked at."""
    kind = machine.memory if machine else Memory
    try:
        return kind.model_validate_json(ordered(data))
    except ValidationError:
        return kind.model_construct(None, **data)


def _refuse_a_running_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(
        "leverframe.blocking would block the event loop that runs here; await the engine instead: "
        "`async with leverframe.project.find().engine() as engine: await engine.start(…)`"
    )
