"""pause, resume, cancel, retry: of one run or of many, named or chosen by machine and status. One run that refuses stops no other."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from leverframe.errors import InputError, LeverframeError, UnknownMachine, did_you_mean
from leverframe.project import names

if TYPE_CHECKING:
    from leverframe.engine import Engine
    from leverframe.store import Row, Store

Verb: TypeAlias = Literal["pause", "resume", "cancel", "retry"]
STUCK = frozenset({"attention", "blocked", "quarantined"})
LIVE = frozenset({"ready", "running", "waiting", *STUCK})
FITTING: dict[Verb, frozenset[str]] = {
    "pause": LIVE,
    "resume": frozenset({"paused"}),
    "cancel": LIVE | {"paused"},
    "retry": STUCK,
}
"""Of the runs that were not named one by one, those that it can be done to."""


@dataclass(frozen=True, slots=True)
class Changed:
    """What came of one run: its row, or the error that refused it. `named` is how it was given."""

    named: str
    row: "Row | None" = None
    error: LeverframeError | None = None


def check_verb(verb: str) -> None:
    if verb not in (known := list[str](FITTING)):
        raise InputError(
            f"{verb!r} is nothing that is done to runs; there are {', '.join(known)}.{did_you_mean(str(verb), known)}"
        )


async def change(
    engine: "Engine",
    verb: Verb,
    named: Sequence[str] | None = None,
    *,
    machine: str | None = None,
    status: str | None = None,
    known: Callable[[], Collection[str]] = tuple,
    by: str = "operator",
    grant: int = 0,
    before: Callable[[str], Awaitable[None]] | None = None,
) -> list[Changed]:
    """Does it to the runs that are named, or to all of that machine and status; `before` may refuse it to a run, by its id.

    Raises InputError where both or neither choose, UnknownMachine for a machine that never ran and is not `known` either.
    """
    check_verb(verb)
    if (named is None) == (machine is None and status is None):
        raise InputError(f"which runs? Name those to {verb}, or choose them by machine and status")
    if named is None:
        named = [row.run.id async for row in chosen(engine.store, machine, status, known) if row.run.status in FITTING[verb]]
    return [await _changed(engine, verb, each, by, grant, before) for each in named]


async def chosen(
    store: "Store", machine: str | None, status: str | None, known: Callable[[], Collection[str]], limit: int | None = None
) -> "AsyncGenerator[Row]":
    """Runs by machine and status, newest first. Raises UnknownMachine."""
    if machine is not None:
        await check_machine(store, machine, known)
    async for row in names.every_run(store, machine, status, limit=limit):
        yield row


async def check_machine(store: "Store", machine: str, known: Callable[[], Collection[str]]) -> None:
    """Runs outlive the code of their machine: a name is known where it is in machines/, or where it was once. Raises UnknownMachine."""
    stored = await store.machines()
    if machine not in stored and machine not in known():
        every = sorted({*known(), *stored})
        raise UnknownMachine(
            f"no machine is called {machine!r}; there are {', '.join(every) or 'none'}.{did_you_mean(machine, every)}"
        )


async def _changed(
    engine: "Engine", verb: Verb, named: str, by: str, grant: int, before: Callable[[str], Awaitable[None]] | None
) -> Changed:
    try:
        run = await names.run_id(engine.store, named)
        if before is not None:
            await before(run)
        match verb:
            case "pause":
                return Changed(named, await engine.pause(run, by=by))
            case "resume":
                return Changed(named, await engine.resume(run, by=by))
            case "cancel":
                return Changed(named, await engine.cancel(run, by=by))
            case "retry":
                return Changed(named, await engine.retry(run, by=by, grant=grant))
    except LeverframeError as error:
        return Changed(named, error=error)
