"""Runs among others: two processes on one of them, parents and children, and what became of a run told again."""

import asyncio
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from typing import Literal

import pytest
from pydantic import Field

from leverframe import (
    Act,
    Ask,
    Back,
    Call,
    Delegate,
    Fetch,
    Key,
    LeverframeError,
    Machine,
    Reply,
    TriggerCommand,
    Wait,
    Work,
    tool,
)
from leverframe.errors import (
    Busy,
    KeyConflict,
    PromptError,
    Tampered,
    UnknownDefinition,
    UnknownRun,
)
from leverframe.llm import Scripted
from leverframe.run import Event, Run
from leverframe.testing import Crash
from leverframe.worker import work
from tests.explorer import Anywhere
from tests.house import (
    DAY,
    Bell,
    Box,
    Done,
    Failed,
    FindOut,
    House,
    Nap,
    Person,
    Post,
    Result,
    Short,
    Sign,
    Stop,
    asked,
    begin,
    charge,
    desk,
    errand,
    naps,
    types,
    world,
)

# ── other processes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_run_that_another_process_holds_is_not_stepped_here(house: House) -> None:
    mine, yours = house(errand), house(errand)
    row = await mine.start(TriggerCommand("errand", {}), hold=True)
    with pytest.raises(Busy, match="held by another process"):
        await yours.step(row.run.id)
    assert await yours.claim_due(10) == []
    assert (await mine.advance(row.run.id)).run.status == "done"


async def test_a_holder_that_slept_past_its_lease_sends_and_writes_nothing(house: House) -> None:
    mine, yours = house(errand), house(errand)
    row = await mine.start(TriggerCommand("errand", {"n": 2}))
    (held,) = await mine.claim_due(1)
    house.clock.advance(timedelta(minutes=1))
    assert (await yours.advance(row.run.id)).run.status == "done"
    await mine.advance_held(held)
    assert (len(world.sent), (await mine.store.load(row.run.id)).run.status) == (1, "done")
    assert await mine.verify(row.run.id) == len(await types(mine, row.run))


async def test_a_lease_that_ran_out_before_the_call_sends_nothing(house: House) -> None:
    mine = house(errand)
    row = await mine.start(TriggerCommand("errand", {"n": 2}))

    async def sleep() -> None:
        house.clock.advance(timedelta(minutes=1))

    (held,) = await mine.claim_due(1)
    house.clock.advance(timedelta(seconds=29))
    world.aside = sleep
    await mine.advance_held(held)
    assert (await house(errand).advance(row.run.id)).run.status == "done"
    assert len(world.keys) == 1


async def test_who_slept_past_its_lease_before_a_call_goes_on_if_the_run_is_still_its_own(house: House) -> None:
    def sleep(_: Run, line: Event) -> None:
        if line.type == "marked":
            house.clock.advance(timedelta(minutes=5))

    run = await begin(house(errand, watch=sleep), "errand")
    assert (run.status, len(world.sent)) == ("done", 1)


async def test_who_slept_past_its_lease_before_a_call_sends_nothing_if_the_run_is_anothers_by_then(house: House) -> None:
    yours = house(errand)

    def sleep(run: Run, line: Event) -> None:
        if line.type == "marked":
            house.clock.advance(timedelta(minutes=5))
            other = threading.Thread(target=lambda: asyncio.run(yours.advance(run.id)))
            other.start()
            other.join()

    run = await begin(house(errand, watch=sleep), "errand")
    assert (run.state, run.status, world.sent) == ("FindOut", "waiting", []), "the other cannot know that nothing was sent"


async def test_nobody_holds_a_run_whose_call_was_postponed_so_it_can_be_paused_at_once(house: House) -> None:
    engine = house(errand, patience=0)
    world.faults = [ConnectionError("1")]
    run = await begin(engine, "errand", n=2)
    row = await engine.store.load(run.id)
    assert (row.run.postponed is not None, row.lease_owner) == (True, None)
    assert (await house(errand).pause(run.id)).run.status == "paused"
    assert (await engine.resume(run.id)).run.status == "ready"
    house.clock.advance(timedelta(minutes=1))
    assert (await engine.advance(run.id)).run.status == "done"
    assert (len(world.sent), len(world.keys)) == (2, 1)


async def test_what_comes_while_a_run_goes_to_rest_is_not_lost(house: House) -> None:
    engine, other = house(naps), house(naps)
    row = await engine.start(TriggerCommand("naps", {}), hold=True)
    await other.signal(row.run.id, "woken", {"n": 4})
    run = (await engine.advance(row.run.id)).run
    assert (run.state, run.memory["n"]) == ("Bell", 4)
    await other.signal(row.run.id, "rung")
    assert await work(other, until_idle=True) >= 1
    assert (await engine.store.load(row.run.id)).run.status == "done"


async def test_a_worker_wakes_deadlines_and_leaves_alone_what_nobody_woke(house: House) -> None:
    engine = house(naps)
    runs = [await begin(engine, "naps") for _ in range(3)]
    assert await work(engine, until_idle=True) == 0
    await engine.signal(runs[0].id, "woken")
    assert await work(engine, until_idle=True) >= 1
    house.clock.advance(DAY)
    await work(engine, until_idle=True)
    assert {(await engine.store.load(run.id)).run.status for run in runs} == {"failed"}


async def test_a_run_that_takes_its_process_down_again_and_again_is_quarantined(house: House) -> None:
    engine = house(errand)
    row = await engine.start(TriggerCommand("errand", {"n": 2}))
    world.faults = [Crash("kill -9") for _ in range(9)]
    for _ in range(9):
        try:
            run = (await house(errand).advance(row.run.id)).run
        except Crash:
            house.clock.advance(timedelta(minutes=1))
        else:
            break
    else:
        raise AssertionError("it was never quarantined")
    assert run.status == "quarantined"
    assert f"leverframe retry {run.id}" in (run.reason or "")
    assert len(world.keys) == 1
    world.faults = []
    await engine.retry(run.id)
    assert (await engine.advance(run.id)).run.status == "done"


@tool(effect="once", timeout=2)
def quick(n: int) -> int:
    """Takes no time at all."""
    return n


@tool(effect="read", retries=0, timeout=60)
def hang(n: int) -> int:
    """Hangs until it is let go."""
    assert let_go.wait(60)
    return n


class Hang(Fetch[Box]):
    runs = (hang,)

    def calls(self, memory: Box) -> list[Call[int]]:
        return [hang.call(n) for n in range(memory.n)]


class Quick(Act[Box]):
    runs = (quick,)

    def build(self, memory: Box) -> Call[int]:
        return quick.call(memory.n)


let_go = threading.Event()
hanging = Machine("hanging", memory=Box, edges={Hang: {"ok": Done, "error": Short}, Short: {"retry": Back, "give_up": Failed}})
quickly = Machine(
    "quickly",
    memory=Box,
    edges={
        Quick: {"ok": Done, "error": Short, "unknown": FindOut},
        FindOut: {"happened": Done, "not_happened": Short, "expired": Failed},
        Short: {"retry": Back, "give_up": Failed},
    },
)


async def test_a_call_never_waits_for_the_slow_tools_of_other_runs(house: House) -> None:
    let_go.clear()
    engine = house(hanging, quickly)
    row = await engine.start(TriggerCommand("hanging", {"n": 100}))
    slow = asyncio.create_task(engine.advance(row.run.id))
    try:
        assert (await begin(engine, "quickly")).status == "done"
        assert not slow.done()
    finally:
        let_go.set()
    assert (await slow).run.status == "done"


together: list[int] = []
now_inside: set[int] = set()


@tool(effect="read")
async def gather(n: int) -> int:
    """How many are in here at a time?"""
    now_inside.add(id(asyncio.current_task()))
    for _ in range(50):
        await asyncio.sleep(0.001)
        together.append(len(now_inside))
    now_inside.discard(id(asyncio.current_task()))
    return len(together)


class Gather(Fetch[Box]):
    runs = (gather,)

    def calls(self, memory: Box) -> list[Call[int]]:
        return [gather.call(memory.n)]


crowd = Machine(
    "crowd",
    memory=Box,
    edges={Gather: {"ok": Done, "error": Short}, Short: {"retry": Back, "give_up": Failed}},
)


async def test_runs_that_were_only_in_hand_when_processes_died_are_not_quarantined(house: House) -> None:
    engine = house(errand)
    rows = [await engine.start(TriggerCommand("errand", {"n": 2})) for _ in range(3)]
    for _ in range(9):
        await house(errand).claim_due(100)  # and dies
        house.clock.advance(timedelta(minutes=1))
    await work(engine, until_idle=True)
    assert {(await engine.store.load(row.run.id)).run.status for row in rows} == {"done"}


async def test_a_suspect_is_taken_up_when_nothing_else_is_in_hand(house: House) -> None:
    engine = house(crowd)
    innocent = [await engine.start(TriggerCommand("crowd", {})) for _ in range(3)]
    for _ in range(3):
        await house(crowd).claim_due(1)  # always the first, as the longest due
        house.clock.advance(timedelta(minutes=1))
    rows = [await engine.start(TriggerCommand("crowd", {})) for _ in range(4)]
    together.clear()
    await work(engine, until_idle=True)
    assert {(await engine.store.load(row.run.id)).run.status for row in (*innocent, *rows)} == {"done"}
    assert (together[0], max(together)) == (1, 6), "the suspect goes first and alone, the others at a time"


# ── children ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Try(Work[Box]):
    def run(self, memory: Box) -> Literal["even", "odd", "sleepy", "busy"]:
        return "busy" if memory.n == 50 else "sleepy" if memory.n > 90 else "odd" if memory.n % 2 else "even"


child = Machine(
    "child",
    memory=Box,
    edges={
        Try: {"even": Done, "odd": Failed, "sleepy": Nap, "busy": Post},
        Nap: {"woken": Done, "expired": Failed},
        Post: {"ok": Failed, "error": Short, "unknown": FindOut},
        FindOut: {"happened": Done, "not_happened": Short, "expired": Failed},
        Short: {"retry": Back, "give_up": Failed},
    },
)


class Wider(Reply[Literal["woken"]]):
    """Another contract under the same name."""

    n: int = 0
    more: str


class Reworded(Reply[Literal["woken"]]):
    """The same contract in other words."""

    n: int = Field(default=0, description="How many.")


class NapOther(Wait[Box]):
    name, deadline, events = "Nap", DAY, (Wider,)


class NapReworded(Wait[Box]):
    name, deadline, events = "Nap", DAY, (Reworded,)


def napping(nap: type[Wait[Box]]) -> Machine[Box]:
    """In the place of `child`."""
    return Machine("child", memory=Box, edges={nap: {"woken": Done, "expired": Failed}})


class One(Delegate[Box, Result]):
    machine, deadline, returns = "child", DAY, Result

    def give(self, memory: Box) -> Box:
        return Box(n=memory.n)

    def keep(self, memory: Box, results: Sequence[Result | None]) -> None:
        memory.items = [result.n if result else -1 for result in results]


class Many(One):
    max_failed = 1
    concurrency = 2

    def give(self, memory: Box) -> list[Box]:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return [Box(n=n) for n in memory.items]


def parent(state: type[Delegate[Box, Result]]) -> Machine[Box]:
    return Machine(
        "parent",
        memory=Box,
        edges={
            state: {"done": Done, "error": Short, "expired": Failed},
            Short: {"retry": Back, "give_up": Person},
            Person: {"handled": Done, "expired": Failed},
        },
    )


async def test_a_delegate_takes_the_typed_result_of_its_child(house: House) -> None:
    engine = house(parent(One), child)
    run = await begin(engine, "parent", n=2)
    assert (run.status, run.memory["items"], run.result) == ("done", [2], {"n": 2})
    (of,) = await engine.store.runs(parent=run.id)
    assert (of.run.status, of.run.parent, of.source) == ("done", run.id, "delegate")


async def test_children_belong_to_the_tenant_of_their_parent(house: House) -> None:
    engine = house(parent(One), child)
    row = await engine.start(TriggerCommand("parent", {"n": 2}, tenant="acme"))
    await engine.advance(row.run.id)
    (of,) = await engine.store.runs(parent=row.run.id)
    assert (of.tenant, of.run.status) == ("acme", "done")


async def test_a_child_is_pinned_to_what_its_machine_was_when_the_parent_started(house: House) -> None:
    before = house(parent(One), napping(Nap))
    row = await before.start(TriggerCommand("parent", {"n": 2}))
    after = house(parent(One), napping(NapReworded))
    await after.advance(row.run.id)
    (of,) = await after.store.runs(parent=row.run.id)
    (mine, theirs) = (napping(Nap).definition().hash, napping(NapReworded).definition().hash)
    assert mine != theirs
    assert (of.run.definition, of.run.status) == (mine, "waiting")


async def test_a_child_whose_contract_changed_is_blocked_before_it_does_anything(house: House) -> None:
    row = await house(parent(One), napping(Nap)).start(TriggerCommand("parent", {"n": 2}))
    after = house(parent(One), napping(NapOther))
    assert (await after.advance(row.run.id)).run.status == "waiting"
    (of,) = await after.store.runs(parent=row.run.id)
    assert (of.run.status, of.run.state) == ("blocked", "Nap")


async def test_a_map_keeps_the_order_of_its_inputs_and_forgives_as_many_as_it_may(house: House) -> None:
    engine = house(parent(Many), child)
    run = await begin(engine, "parent", items=[4, 1, 8, 6])
    assert (run.status, run.memory["items"]) == ("done", [4, -1, 8, 6])
    assert len(await engine.store.runs(machine="child")) == 4


async def test_a_map_over_nothing_is_done(house: House) -> None:
    run = await begin(house(parent(Many), child), "parent")
    assert (run.status, run.memory["items"]) == ("done", [])


async def test_a_map_with_more_failures_is_an_error_that_is_tried_again_while_nothing_was_done(house: House) -> None:
    engine = house(parent(Many), child)
    run = await begin(engine, "parent", items=[1, 3, 2])
    assert (run.state, run.failures) == ("Person", {"Many": 3})
    assert len(await engine.store.runs(machine="child")) == 9
    assert (run.error or {})["cause"] == "2 of 3 runs of child failed"


async def test_a_child_that_did_something_is_not_started_again(house: House) -> None:
    engine = house(parent(One), child)
    run = await begin(engine, "parent", n=50)
    assert (run.state, run.failures, len(world.sent)) == ("Person", {"One": 1}, 1)


async def test_no_more_children_run_at_a_time_than_may(house: House) -> None:
    engine = house(parent(Many), child)
    run = await begin(engine, "parent", items=[91, 93, 95])
    assert run.status == "waiting"
    children = await engine.store.runs(machine="child")
    assert len(children) == 2
    await engine.signal(children[0].run.id, "woken")
    await engine.advance(run.id)
    assert len(await engine.store.runs(machine="child")) == 3


async def test_a_deadline_cancels_the_children_and_their_late_ends_mean_nothing(house: House) -> None:
    engine = house(parent(One), child)
    run = await begin(engine, "parent", n=92)
    house.clock.advance(timedelta(hours=23))
    (of,) = await engine.store.runs(machine="child")
    await engine.pause(of.run.id)
    house.clock.advance(timedelta(hours=2))
    run = (await engine.advance(run.id)).run
    assert (run.state, run.status) == ("Failed", "failed")
    await work(engine, until_idle=True)
    assert (await engine.store.load(of.run.id)).run.status == "cancelled"
    await engine.verify(run.id)


async def test_pause_resume_and_cancel_reach_the_children(house: House) -> None:
    engine = house(parent(One), child)
    run = await begin(engine, "parent", n=92)
    (of,) = await engine.store.runs(machine="child")

    async def status() -> tuple[str, str]:
        await work(engine, until_idle=True)
        return (await engine.store.load(run.id)).run.status, (await engine.store.load(of.run.id)).run.status

    await engine.pause(run.id)
    assert await status() == ("paused", "paused")
    await engine.resume(run.id)
    assert await status() == ("waiting", "waiting")
    await engine.cancel(run.id)
    assert await status() == ("cancelled", "cancelled")


def changed(nap: type[Wait[Box]]) -> Machine[Box]:
    return Machine("naps", memory=Box, edges={nap: {"woken": Bell, "expired": Failed}, Bell: {"rung": Done, "expired": Failed}})


# ── history ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_fork_goes_on_from_an_earlier_moment_and_leaves_the_run_alone(house: House) -> None:
    engine = house(desk, llm=Scripted([charge.call(100), Stop()]))
    run = await begin(engine, "desk")
    fork = (await engine.fork(run.id, by="ann")).run
    assert (fork.state, fork.pending, fork.memory) == ("Think", None, run.memory)
    assert (await engine.advance(fork.id)).run.status == "done"
    assert (await engine.store.load(run.id)).run == run
    assert await engine.verify(fork.id) > 1
    with pytest.raises(UnknownRun, match="has events 1 to"):
        await engine.fork(run.id, at=99)


async def test_a_fork_that_is_asked_for_twice_under_one_key_is_one_run(house: House) -> None:
    engine = house(naps)
    run = (await engine.start(TriggerCommand("naps", {}, key="nap"))).run
    fork = await engine.fork(run.id, key="again")
    await engine.signal(run.id, "woken")
    await engine.advance(run.id)
    assert (await engine.fork(run.id, key="again")).run == fork.run
    with pytest.raises(KeyConflict):
        await engine.fork(run.id, at=1, key="again")
    with pytest.raises(KeyConflict):
        await engine.fork(run.id, key="nap")
    assert len(await engine.store.runs()) == 2


async def test_a_fork_from_an_end_ends_so_too(house: House) -> None:
    engine = house(naps)
    run = await begin(engine, "naps")
    for name in ("woken", "rung"):
        await engine.signal(run.id, name)
        run = (await engine.advance(run.id)).run
    early = (await engine.fork(run.id, at=1)).run
    assert (early.state, (await engine.advance(early.id)).run.status) == ("Nap", "waiting")


async def test_a_run_goes_on_when_only_words_changed(house: House) -> None:
    run = await begin(house(naps), "naps")
    engine = house(changed(NapReworded))
    await engine.signal(run.id, "woken", {"n": 1})
    after = (await engine.advance(run.id)).run
    assert (after.state, after.definition) == ("Bell", run.definition)


async def test_a_changed_contract_blocks_a_run_before_anything_executes(house: House) -> None:
    run = await begin(house(naps), "naps")
    engine = house(changed(NapOther))
    house.clock.advance(2 * DAY)
    after = (await engine.advance(run.id)).run
    assert (after.status, after.state) == ("blocked", "Nap")
    assert "state Nap: reply 'woken' is gone or changed" in (after.reason or "")
    assert "leverframe migrate" in (after.reason or "")
    back = house(naps)
    await back.retry(run.id)
    assert (await back.advance(run.id)).run.status == "failed"


async def test_a_migration_says_what_stands_against_it_and_a_dry_run_changes_nothing(house: House) -> None:
    first = house(naps)
    run = await begin(first, "naps")
    engine = house(changed(NapReworded))
    found = await engine.migrate(run.id, dry_run=True)
    assert (found.against, found.moved) == ([], False)
    assert str(found.changes[-1]) == "state Nap: reply 'woken' changed, in words only"
    assert (await engine.store.load(run.id)).run == run
    assert (await engine.migrate(run.id, to=found.to[:8], by="ann")).moved
    after = (await engine.store.load(run.id)).run
    assert (after.definition != run.definition, after.status, after.state) == (True, "waiting", "Nap")
    await engine.verify(run.id)
    await engine.signal(run.id, "woken")
    assert (await engine.advance(run.id)).run.state == "Bell"


async def test_a_migration_to_a_machine_without_the_runs_state_is_refused(house: House) -> None:
    run = await begin(house(naps), "naps")
    smaller = Machine("naps", memory=Box, edges={Bell: {"rung": Done, "expired": Failed}})
    engine = house(smaller)
    found = await engine.migrate(run.id)
    assert (found.against, found.moved) == (["state Nap is gone."], False)
    with pytest.raises(UnknownDefinition, match=f"definition 000000 of naps: no such .* There are .*{run.definition[:12]}"):
        await engine.migrate(run.id, to="000000")
    assert (await engine.store.load(run.id)).run.definition == run.definition


async def test_a_log_or_a_row_that_was_changed_is_found(house: House) -> None:
    engine = house(naps)
    run = await begin(engine, "naps")
    assert await engine.verify(run.id) == 2
    change(house, "UPDATE runs SET state = 'Bell'")
    with pytest.raises(Tampered, match="its row says state is 'Bell', its log 'Nap'"):
        await engine.verify(run.id)


def change(house: House, sql: str) -> None:
    """Somebody is at the database, with a tool that checks nothing."""
    with closing(sqlite3.connect(house.url.removeprefix("sqlite:///"))) as connection:
        connection.execute(sql)
        connection.commit()


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("DELETE FROM definitions WHERE name = 'naps'", "not in this database"),
        ("UPDATE definitions SET body = REPLACE(body, 'Failed', 'Done') WHERE name = 'naps'", "is not what was pinned"),
    ],
)
async def test_a_run_whose_definition_cannot_be_read_is_blocked_and_stops_no_other(house: House, sql: str, why: str) -> None:
    first = house(naps, errand)
    run = await begin(first, "naps")
    change(house, sql)
    other = house(changed(NapReworded), errand)
    row = await other.start(TriggerCommand("errand", {"n": 2}))
    house.clock.advance(2 * DAY)
    await work(other, until_idle=True)
    assert (await other.store.load(row.run.id)).run.status == "done"
    after = (await other.store.load(run.id)).run
    assert (after.status, after.state, why in (after.reason or "")) == ("blocked", "Nap", True)
    with pytest.raises(LeverframeError, match=why):
        await other.cancel(run.id)
    assert await work(other, until_idle=True) == 0, "it does not come up again and again"
    assert (await other.store.load(run.id)).want is None


async def test_a_row_that_was_damaged_stops_no_other_run_and_is_named_to_whoever_asks(house: House) -> None:
    engine = house(naps, errand)
    run = await begin(engine, "naps")
    change(house, "UPDATE runs SET memory = '{'")
    row = await engine.start(TriggerCommand("errand", {"n": 2}))
    house.clock.advance(2 * DAY)
    await work(engine, until_idle=True)
    assert (await engine.store.load(row.run.id)).run.status == "done"
    assert [one.run.id for one in await engine.store.runs()] == [row.run.id]
    for ask in (engine.advance(run.id), engine.verify(run.id), engine.cancel(run.id)):
        with pytest.raises(Tampered, match=f"run {run.id}: its row cannot be read, it was damaged"):
            await ask


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("DELETE FROM effects", "the effect lf_.* of charge is missing"),
        ("UPDATE effects SET args = REPLACE(args, '100', '1')", "the arguments of the effect lf_.* of charge were changed"),
        ("UPDATE effects SET status = 'done'", "the effect lf_.* says charge done, its log charge selected"),
        ("DELETE FROM human_tasks", "the task task_.* is missing"),
        ("UPDATE human_tasks SET content = 'Sign here.'", "what the task task_.* showed was changed"),
        ("UPDATE human_tasks SET call = REPLACE(call, '100', '1')", "what the task task_.* showed was changed"),
        ("UPDATE human_tasks SET role = 'intern'", "what the task task_.* showed was changed"),
        ("""UPDATE runs SET memory = REPLACE(memory, '"n":0', '"n":7')""", r"its row says memory\.n is 7, its log 0"),
        ("DELETE FROM events", "its log is gone"),
    ],
)
async def test_a_row_beside_the_log_that_was_changed_is_found(house: House, sql: str, why: str) -> None:
    engine = house(desk, llm=Scripted([charge.call(100)]))
    run = await begin(engine, "desk")
    assert await engine.verify(run.id)
    change(house, sql)
    with pytest.raises(Tampered, match=why):
        await engine.verify(run.id)


async def test_a_decision_that_was_put_into_another_mouth_is_found(house: House) -> None:
    engine = house(desk, llm=Scripted([charge.call(100)]))
    run = await begin(engine, "desk")
    await engine.decide((await asked(engine, run, "approve")).id, by="ann", decision="approved")
    assert (await engine.advance(run.id)).run.status == "done"
    assert await engine.verify(run.id)
    change(house, "UPDATE human_tasks SET decided_by = 'bob'")
    with pytest.raises(Tampered, match="is decided, by bob; its log says that ann decided"):
        await engine.verify(run.id)


async def test_a_prompt_file_that_is_gone_stops_no_run_whose_texts_are_pinned(house: House) -> None:
    run = await begin(house(desk, llm=Scripted([charge.call(100)])), "desk")
    unwritten = Machine("desk", memory=Box, edges=desk.edges)  # unlike `desk` it looks for its prompt, and there is none
    after = house(unwritten, llm=Scripted([charge.call(50), Stop()]))
    await after.decide((await asked(after, run, "approve")).id, by="ann", decision="rejected")
    assert (await after.advance(run.id)).run.state == "Sign", "the model was asked with the text that the run is pinned to"
    with pytest.raises(PromptError, match="desk/think"):
        await after.start(TriggerCommand("desk", {}))


async def test_a_run_with_a_call_made_under_another_contract_is_not_moved(house: House) -> None:
    engine = house(desk, llm=Scripted([charge.call(100)]))
    run = await begin(engine, "desk")

    @tool(effect="keyed", retries=2, name="charge")
    def dearer(key: Key, cents: int, currency: str) -> str:
        """Charge it."""
        return world.does("charge", key)

    class ThinkDearer(Ask[Box]):
        name, prompt, replies = "Think", "desk/think", (dearer, Stop)

    class PayDearer(Act[Box]):
        name, runs = "Pay", (dearer,)

    other = Anywhere(
        "desk",
        memory=Box,
        edges={
            ThinkDearer: {"charge": Sign, "stop": Done, "error": Short},
            Sign: {"approved": PayDearer, "rejected": ThinkDearer, "expired": Person},
            PayDearer: {"ok": Done, "error": Short, "unknown": FindOut},
            FindOut: {"happened": Done, "not_happened": Short, "expired": Failed},
            Short: {"retry": Back, "give_up": Person},
            Person: {"handled": Done, "expired": Failed},
        },
    )
    found = await house(other, llm=Scripted([])).migrate(run.id)
    assert found.against == ["the pending call of charge was made under another contract; reject, cancel or settle it first"]
    assert not found.moved


async def test_the_fold_needs_no_user_code(house: House) -> None:
    world.broken = False
    engine = house(errand)
    run = await begin(engine, "errand")
    world.broken = True  # every keep fails from now on
    assert await house(errand).verify(run.id) == len(await types(engine, run))
