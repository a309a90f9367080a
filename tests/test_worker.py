"""Workers and holders at rest: what is nobody's turn costs nothing, and what somebody holds stays theirs."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing

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
from leverframe.run import Run
from leverframe.worker import work
from tests.house import Box, Done, Failed, House, Short


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
    with closing(sqlite3.connect(house.url.removeprefix("sqlite:///"))) as connection:
        connection.execute("UPDATE runs SET want = 'pause', want_by = 'ann', wake_at = 0")  # as former versions left it
        connection.commit()
    assert await taken_up(engine) == 1
    assert await taken_up(engine) == 0
    assert (await engine.store.load(run.id)).wake_at is None
