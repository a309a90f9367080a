"""What a command works with: the project it stands in, with its store or an engine."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Never, TypeAlias, TypeVar, cast

from leverframe.cli.app import object_of, warn
from leverframe.cli.interrupts import Interrupts
from leverframe.errors import ProjectError
from leverframe.project import AnyMachine, Project, find, names
from leverframe.run import Event, Run
from leverframe.state import Delegate

if TYPE_CHECKING:
    from leverframe.engine import Engine
    from leverframe.llm import Hears
    from leverframe.store import Store

T = TypeVar("T")
Work: TypeAlias = "Callable[[Engine], Awaitable[T]]"
Watch: TypeAlias = Callable[[Run, Event], None]


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
    work: "Callable[[Engine], Awaitable[T]]",
    *,
    model: str | None = None,
    watch: Watch | None = None,
    hears: "Hears | None" = None,
) -> T:
    """Runs something that goes on with runs. The first Ctrl-C lets the step in hand be committed, and says so; the second leaves.

    Raises KeyboardInterrupt after the first one, once nothing is in hand any more.
    """
    found = find()
    machines = loaded(found)
    interrupts = Interrupts(watch)

    async def inside() -> T:
        async with found.engine(
            model=model, watch=interrupts.watch, clock=interrupts.clock, machines=machines, hears=hears, own_loop=True
        ) as engine:
            with interrupts.of(engine):
                return await work(engine)

    return interrupts.run(inside)


def with_worker(work: "Callable[[Engine], Awaitable[T]]", *, model: str | None = None, watch: Watch | None = None) -> T:
    """Runs something that takes up whatever is due, so every machine must load: a run of one that does not would be blocked.

    Ctrl-C drains as SIGTERM does; the second one leaves.
    """
    interrupts = Interrupts(watch)

    async def inside() -> T:
        async with find().engine(model=model, watch=interrupts.watch, own_loop=True) as engine:
            going = asyncio.ensure_future(work(engine))
            await asyncio.sleep(0)  # the worker has set its own handlers by now
            with interrupts.of_worker():
                return await going

    return interrupts.run(inside)


def with_operator(work: "Callable[[Engine], Awaitable[T]]") -> T:
    """Runs something that asks no model, so a model that is not set up does not stand in its way."""
    found = find()
    machines = loaded(found)

    async def inside() -> T:
        async with found.engine(asks=False, machines=machines, own_loop=True) as engine:
            return await work(engine)

    return asyncio.run(inside())


def loaded(found: Project) -> Mapping[str, AnyMachine]:
    """The machines that load; which files do not is said, and stands in nobody else's way."""
    machines, failed = found.loaded()
    for one in failed:
        warn(f"{one.error}; its machines are left out")
    return machines


async def check_loaded(engine: "Engine", run_id: str) -> None:
    """Before a run is gone on with, and those it belongs to. Raises ProjectError as `check_machine` does."""
    check_machine(engine, (await engine.store.load(await names.eldest(engine.store, run_id))).run.machine)


def check_machine(engine: "Engine", machine: str) -> None:
    """Raises ProjectError where a file that does not load keeps the machine away, or one that it delegates to.

    The engine would take it for one that is gone, and block its runs until somebody retries them.
    """
    known, needed = engine.machines, [machine]
    seen = set[str]()
    while needed:
        name = needed.pop()
        seen.add(name)
        if name not in known:
            failed = find().loaded()[1]
            for one in sorted(failed, key=lambda one: one.file.stem != name)[:1]:
                raise ProjectError(f"machine {name} is not loaded: {one.error}")
            continue
        for state in known[name].states.values():
            if issubclass(state, Delegate):
                needed += {cast("type[Delegate[Never, Never]]", state).machine} - seen


def read_value(text: str) -> object:
    """An answer as typed: an object where it is JSON of one, else the words themselves."""
    return object_of(text, "--value") if text.lstrip().startswith("{") else text
