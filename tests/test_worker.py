"""Workers and holders at rest: what is nobody's turn costs nothing, and what somebody holds stays theirs."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from datetime import timedelta

import pytest

from leverframe import (
    Back,
    Call,
    Engine,
    Fetch,
    Machine,
    TriggerCommand,
    tool,
)
from leverframe.clock import SECOND
from leverframe.run import Run
from leverframe.store import Store
from leverframe.worker import work
from tests.house import Bell, Box, Done, Failed, House, Short, Sleeper, begin, naps


class Line:
    """A call that lasts until it is hung up."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.made, self.begun, self.over = 0, asyncio.Event(), asyncio.Event()


line = Line()


@tool(effect="read", retries=0, timeout=60)
async def talk(n: int) -> str:
    """Takes as long as it takes."""
    line.made += 1
    line.begun.set()
    await line.over.wait()
    return "said"


class Talk(Fetch[Box]):
    runs = (talk,)

    def calls(self, memory: Box) -> list[Call[str]]:
        return [talk.call(memory.n)]


talks = Machine("talks", memory=Box, edges={Talk: {"ok": Done, "error": Short}, Short: {"retry": Back, "give_up": Failed}})


@asynccontextmanager
async def talking(engine: Engine) -> AsyncGenerator[Run]:
    """A run in a call, which is its last step, and is over when this is."""
    line.clear()
    row = await engine.start(TriggerCommand("talks", {}))
    going = asyncio.create_task(engine.advance(row.run.id))
    await line.begun.wait()
    try:
        yield row.run
    finally:
        line.over.set()
        await going


sleeps = Machine(
    "sleeps",
    memory=Box,
    edges={
        Sleeper: {"done": Bell, "error": Short, "expired": Failed},
        Bell: {"rung": Done, "expired": Failed},
        Short: {"retry": Back, "give_up": Failed},
    },
)


async def until(so: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(1000):
        if await so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never was")


def outside(house: House) -> sqlite3.Connection:
    """Another program at the database."""
    return sqlite3.connect(house.url.removeprefix("sqlite:///"), isolation_level=None)


async def taken_up(engine: Engine) -> int:
    async with asyncio.timeout(10):
        return await work(engine, until_idle=True)


# ── a run that is over ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("wish", ["pause", "cancel"])
async def test_a_wish_that_came_during_the_last_step_is_forgotten_with_it(house: House, wish: str) -> None:
    mine, yours = house(talks), house(talks)
    async with talking(mine) as run:
        await (yours.pause(run.id) if wish == "pause" else yours.cancel(run.id))
        assert (await yours.store.load(run.id)).want == wish
    row = await yours.store.load(run.id)
    assert (row.run.status, row.want, row.want_by, row.wake_at) == ("done", None, None, None)
    assert await taken_up(yours) == 0


async def test_a_run_that_is_over_and_of_which_something_is_wanted_for_ever_comes_to_rest(house: House) -> None:
    engine = house(talks)
    async with talking(engine) as run:
        pass
    with closing(outside(house)) as connection:
        connection.execute("UPDATE runs SET want = 'pause', want_by = 'ann', wake_at = 0")  # as former versions left it
    assert await taken_up(engine) == 1
    assert await taken_up(engine) == 0
    assert (await engine.store.load(run.id)).wake_at is None


async def test_a_parent_with_an_early_event_leaves_a_child_that_waits_alone(house: House) -> None:
    engine = house(sleeps, naps)
    run = await begin(engine, "sleeps")
    await engine.signal(run.id, "rung")
    async with asyncio.timeout(10):
        assert (await engine.advance(run.id)).run.status == "waiting"
    (child,) = await engine.store.runs(machine="naps")
    await engine.signal(child.run.id, "woken")
    await engine.signal(child.run.id, "rung")
    assert (await engine.advance(run.id)).run.status == "done"


# ── while something is in hand ───────────────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def working(engine: Engine) -> AsyncGenerator["asyncio.Task[int]"]:
    task = asyncio.create_task(work(engine, until_idle=True))
    try:
        yield task
        async with asyncio.timeout(10):
            await task
    finally:
        task.cancel()


async def transactions(engine: Engine) -> int:
    """In a while of which a worker looks once or twice."""
    before = engine.store.transactions
    await asyncio.sleep(0.7)
    return engine.store.transactions - before


async def test_a_worker_leaves_the_database_alone_while_its_runs_are_in_calls(house: House) -> None:
    engine = house(talks)
    line.clear()
    await engine.start(TriggerCommand("talks", {}))
    async with working(engine) as worker:
        await line.begun.wait()
        assert await transactions(engine) <= 3
        line.over.set()
    assert (worker.result(), line.made) == (1, 1)


async def test_a_worker_that_only_waits_for_anothers_call_leaves_the_database_alone_too(house: House) -> None:
    mine, yours = (Engine(store, [talks]) for store in (Store.open(house.url), Store.open(house.url)))  # in real time
    house.stores += [mine.store, yours.store]
    async with mine, yours, talking(mine), working(yours) as worker:
        assert await transactions(yours) <= 3
        assert not worker.done(), "should the other one die, somebody must go on"
        line.over.set()
    assert worker.result() == 0


async def test_what_reaches_other_runs_during_a_long_call_is_taken_up_meanwhile(house: House) -> None:
    async def over() -> bool:
        return (await engine.store.load(run.id)).run.status == "done"

    engine, other = house(talks, naps), house(naps)
    run = await begin(engine, "naps")
    line.clear()
    await engine.start(TriggerCommand("talks", {}))
    async with working(engine):
        await line.begun.wait()
        await other.signal(run.id, "woken")
        await other.signal(run.id, "rung")
        await until(over)
        line.over.set()


# ── leases ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def short_of_breath(house: House) -> Engine:
    """Its leases are short, and it does not wait long for the database."""
    house.stores.append(Store.open(house.url, house.clock, patience=0.1))
    return Engine(house.stores[-1], [talks], clock=house.clock, lease=0.5)


async def test_a_heartbeat_that_fails_is_followed_by_others(house: House, caplog: pytest.LogCaptureFixture) -> None:
    async def failed() -> bool:
        return "leases were not extended" in caplog.text

    async def extended() -> bool:
        return (await engine.store.load(run.id)).lease_until == house.clock.now() + SECOND // 2

    engine = short_of_breath(house)
    async with talking(engine) as run, engine:  # closing it raises nothing
        with closing(outside(house)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            house.clock.advance(timedelta(seconds=0.3))
            await until(failed)
            assert not await extended()
        await until(extended)


async def test_a_run_that_is_gone_costs_no_other_its_lease(house: House) -> None:
    async def extended() -> bool:
        return (await engine.store.load(run.id)).lease_until == house.clock.now() + SECOND // 2

    engine = short_of_breath(house)
    gone = await engine.start(TriggerCommand("talks", {}), hold=True)
    async with talking(engine) as run, engine:
        with closing(outside(house)) as connection:
            connection.execute("DELETE FROM runs WHERE id = ?", [gone.run.id])
        house.clock.advance(timedelta(seconds=0.3))
        await until(extended)
