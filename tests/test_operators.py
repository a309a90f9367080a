"""Operators who want something of a run at the same moment: whoever comes second finds it as it is, not as they saw it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias, cast

import pytest

from leverframe import Back, Engine, Limits, Machine, TriggerCommand
from leverframe.clock import Micros
from leverframe.errors import AlreadyPaused, Busy, InputError, InvalidMemory, NotPaused, NotRetryable, RunOver
from leverframe.llm import Scripted
from leverframe.run import Run
from leverframe.store import Claimed, Store
from leverframe.testing import Crash
from tests.house import (
    Box,
    Done,
    Failed,
    House,
    Nap,
    Person,
    Short,
    Sleeper,
    asked,
    begin,
    charge,
    deskwork,
    errand,
    naps,
    types,
    world,
)


class JustBefore(Store):
    """Lets something happen before the next claim."""

    first: "Callable[[], Awaitable[object]] | None" = None

    async def claim(self, run_id: str, owner: str, now: Micros, lease_until: Micros, *, alone: bool = True) -> "Claimed | None":
        first, self.first = self.first, None
        if first is not None:
            await first()
        return await super().claim(run_id, owner, now, lease_until, alone=alone)


@asynccontextmanager
async def slower(house: House, *machines: Machine[Box]) -> AsyncGenerator[tuple[Engine, JustBefore]]:
    """Somebody who looks at a run, and in whose way another one comes before they have it."""
    store = JustBefore.open(house.url, house.clock)
    assert isinstance(store, JustBefore)
    try:
        async with Engine(store, machines, clock=house.clock) as engine:
            yield engine, store
    finally:
        store.close()


family = Machine(
    "family",
    memory=Box,
    edges={
        Sleeper: {"done": Done, "error": Short, "expired": Failed},
        Short: {"retry": Back, "give_up": Person},
        Person: {"handled": Done, "expired": Failed},
    },
)


async def paused(engine: Engine) -> Run:
    run = await begin(engine, "naps")
    return (await engine.pause(run.id)).run


async def test_of_two_who_resume_a_run_one_is_told_that_it_goes_on_already(house: House) -> None:
    quick = house(naps)
    run = await paused(quick)
    async with slower(house, naps) as (slow, store):
        store.first = lambda: quick.resume(run.id)
        with pytest.raises(NotPaused, match="is waiting, not paused"):
            await slow.resume(run.id)
    await quick.signal(run.id, "woken", {"n": 3})
    assert (await quick.advance(run.id)).run.memory["n"] == 3
    assert (await types(quick, run)).count("resumed") == 1


async def test_a_run_that_is_cancelled_while_somebody_resumes_it_stays_cancelled(house: House) -> None:
    quick = house(naps)
    run = await paused(quick)
    async with slower(house, naps) as (slow, store):
        store.first = lambda: quick.cancel(run.id)
        with pytest.raises(RunOver, match="is cancelled; it is over"):
            await slow.resume(run.id)
    row = await quick.store.load(run.id)
    assert (row.run.status, row.lease_owner) == ("cancelled", None)


async def test_of_two_who_grant_more_at_the_same_moment_one_grants(house: House) -> None:
    desk = deskwork(Limits(steps=3))
    quick = house(desk, llm=Scripted(lambda _: charge.call(100)))
    run = await begin(quick, "desk")
    await quick.decide((await asked(quick, run, "approve")).id, by="ann", decision="rejected")
    assert (await quick.advance(run.id)).run.reason == "limit reached: steps"
    async with slower(house, desk) as (slow, store):
        store.first = lambda: quick.retry(run.id, grant=1)
        with pytest.raises(NotRetryable, match="retry is for attention"):
            await slow.retry(run.id, grant=1)
    assert (await quick.store.load(run.id)).run.granted == 1


async def test_of_two_who_cancel_a_run_at_the_same_moment_both_have_cancelled_it(house: House) -> None:
    here, there = house(naps), house(naps)
    for _ in range(20):
        run = await begin(here, "naps")
        rows = await asyncio.gather(here.cancel(run.id, by="ann"), there.cancel(run.id, by="bob"))
        assert all(row.run.status == "cancelled" or row.want == "cancel" for row in rows)
        assert (await types(here, run)).count("cancelled") == 1


async def test_a_run_that_goes_on_while_it_is_moved_is_not_moved(house: House) -> None:
    quick = house(naps)
    run = await begin(quick, "naps")
    changed = Machine("naps", memory=Box, edges=naps.edges, limits=Limits(steps=50))

    async def goes_on() -> None:
        await quick.signal(run.id, "woken")
        await quick.advance(run.id)

    async with slower(house, changed) as (slow, store):
        store.first = goes_on
        with pytest.raises(Busy, match="went on in the meantime; nothing was moved"):
            await slow.migrate(run.id)
        assert (await slow.migrate(run.id)).moved


async def test_a_run_that_is_paused_or_needs_a_person_stays_so_when_it_is_moved(house: House) -> None:
    def limited(days: int) -> Machine[Box]:
        return deskwork(Limits(steps=3, days=days))

    first = house(limited(1), naps, llm=Scripted(lambda _: charge.call(100)))
    asleep, limit = await paused(first), await begin(first, "desk")
    await first.decide((await asked(first, limit, "approve")).id, by="ann", decision="rejected")
    assert (await first.advance(limit.id)).run.reason == "limit reached: steps"
    longer = Machine("naps", memory=Box, edges=naps.edges, limits=Limits(steps=50))
    moved = house(limited(2), longer)
    for run in (asleep, limit):
        assert (await moved.migrate(run.id)).moved
        await moved.verify(run.id)
    await moved.signal(asleep.id, "woken")
    assert (await moved.advance(asleep.id)).run.status == "paused"
    assert (await moved.resume(asleep.id)).run.status == "waiting"
    run = (await moved.advance(limit.id)).run
    assert (run.status, run.reason) == ("attention", "limit reached: steps")
    with pytest.raises(NotRetryable, match="grant more"):
        await moved.retry(limit.id)
    await moved.retry(limit.id, grant=1)
    assert (await moved.advance(limit.id)).run.status == "waiting"


@pytest.mark.parametrize("pauses", [False, True], ids=["blocked", "paused while blocked"])
async def test_a_run_that_was_blocked_is_freed_when_it_is_moved(house: House, pauses: bool) -> None:
    run = await begin(house(naps), "naps")
    shorter = Machine("naps", memory=Box, edges={Nap: {"woken": Done, "expired": Failed}})
    now = house(shorter)
    await now.signal(run.id, "woken")
    assert (await now.advance(run.id)).run.status == "blocked"
    if pauses:
        await now.pause(run.id)
    assert (await now.migrate(run.id)).moved
    if pauses:
        assert (await now.resume(run.id)).run.reason is None
    assert (await now.advance(run.id)).run.status == "done"
    await now.verify(run.id)


Verb: TypeAlias = "Callable[[Engine, str, str], Awaitable[object]]"
VERBS: dict[str, Verb] = {
    "pause": lambda engine, run, by: engine.pause(run, by=by),
    "resume": lambda engine, run, by: engine.resume(run, by=by),
    "cancel": lambda engine, run, by: engine.cancel(run, by=by),
    "retry": lambda engine, run, by: engine.retry(run, by=by),
    "fork": lambda engine, run, by: engine.fork(run, by=by),
    "migrate": lambda engine, run, by: engine.migrate(run, by=by, dry_run=True),
    "answer": lambda engine, run, by: engine.answer(run, by=by, value="12"),
    "decide": lambda engine, run, by: engine.decide(run, by=by, decision="approved"),
    "start": lambda engine, _, source: engine.start(TriggerCommand("naps", {}, source=source)),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "it is empty; give a name"),
        (" \t", "it is empty; give a name"),
        (None, "NoneType is no text"),
        (5, "int is no text"),
        ("a\0b", "holds a NUL character"),
        ("a\ud800b", "holds a lone surrogate"),
        ("a" * 3_000_000, "over 256 bytes"),
    ],
    ids=["empty", "blank", "none", "number", "nul", "surrogate", "huge"],
)
async def test_a_name_that_no_log_can_keep_is_refused_whoever_gives_it_to_whatever(
    house: House, verb: str, name: object, why: str
) -> None:
    engine = house(naps, errand, llm=Scripted([]))
    run = await begin(engine, "naps")
    asks = run.id
    if verb in ("answer", "decide"):
        world.faults = [ConnectionError("hung up")]
        asks = (await asked(engine, await begin(engine, "errand"))).id
    before = [row.run for row in await engine.store.runs()]
    what = "source" if verb == "start" else "by"
    with pytest.raises(InputError, match=rf"^{what}: {why}"):
        await VERBS[verb](engine, asks, cast("str", name))
    assert [row.run for row in await engine.store.runs()] == before


async def test_a_start_that_is_none_of_its_machines_is_told_what_to_give(house: House) -> None:
    engine = house(naps)
    with pytest.raises(InvalidMemory, match="input of naps: NoneType is neither Box nor its fields"):
        await engine.start(TriggerCommand("naps", cast("Box", None)))
    with pytest.raises(InputError, match="start key: int is no text; use 1 to 512 characters"):
        await engine.start(TriggerCommand("naps", {}, key=cast("str", 5)))
    assert await engine.store.runs() == []


def second(store: JustBefore) -> "Callable[[], Awaitable[object]]":
    """The process ends before the claim after this one."""

    async def dies() -> None:
        raise Crash

    async def goes_on() -> None:
        store.first = dies

    return goes_on


async def test_the_commit_that_pauses_a_run_leaves_word_for_its_children(house: House) -> None:
    """So that none goes on where whoever paused it is cut off in between; and `resume`, said again, reaches all of them."""
    quick = house(family, naps)
    run = await begin(quick, "family")
    (of,) = await quick.store.runs(machine="naps")
    async with slower(house, family, naps) as (slow, store):
        store.first = second(store)
        with pytest.raises(Crash):
            await slow.pause(run.id)
        assert (await quick.store.load(of.run.id)).want == "pause"
        await quick.advance(of.run.id)
        with pytest.raises(AlreadyPaused):
            await slow.pause(run.id)
        assert {row.run.status for row in await quick.store.runs()} == {"paused"}
        store.first = second(store)
        with pytest.raises(Crash):
            await slow.resume(run.id)
        await slow.resume(run.id)
        assert {(row.run.status, row.want) for row in await quick.store.runs()} == {("waiting", None)}
        await quick.verify(run.id)


async def test_a_child_that_is_paused_already_does_not_pause_again_once_it_goes_on(house: House) -> None:
    engine = house(family, naps)
    run = await begin(engine, "family")
    (of,) = await engine.store.runs(machine="naps")
    await engine.pause(of.run.id)
    await engine.pause(run.id)
    await engine.resume(run.id)
    assert {(row.run.status, row.want) for row in await engine.store.runs()} == {("waiting", None)}


async def test_the_same_start_signal_and_fork_of_many_at_once_are_one(house: House) -> None:
    engines = [house(naps), house(naps)] * 4
    started = await asyncio.gather(*(each.start(TriggerCommand("naps", {}, key="a"), hold=True) for each in engines))
    (run_id,) = {row.run.id for row in started}
    signalled = await asyncio.gather(*(each.signal(run_id, "woken", {"n": 1}, key="b") for each in engines))
    assert sorted(signalled) == [False] * 7 + [True]
    advanced = await asyncio.gather(*(each.advance(run_id) for each in engines))
    assert {(row.run.state, row.run.memory["n"]) for row in advanced} == {("Bell", 1)}
    forked = await asyncio.gather(*(each.fork(run_id, key="c") for each in engines))
    assert len({row.run.id for row in forked}) == 1
    assert len(await engines[0].store.runs()) == 2
