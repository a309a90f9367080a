"""Two people, two processes, or a person and the clock at the same moment: one of them wins, and the other is told."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from leverframe import Call, Engine, Reply, Store, TriggerCommand
from leverframe.clock import SECOND, Clock, SystemClock
from leverframe.errors import AlreadyDecided, Tampered, TaskGone
from leverframe.llm import Request
from leverframe.store import Commit, Committed, Decided, Deferred, Row, Task
from leverframe.testing import FakeClock, Scripted
from machines.refund import refund
from tests import crashes
from tests.crashes import WAYS, World, pay

MESSAGE = {"message": "Order 1042 arrived broken"}


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    with crashes.world(database_url, tmp_path) as made:
        made.clean(WAYS[0])
        yield made


@asynccontextmanager
async def process(world: World, clock: Clock, llm: Scripted | None = None) -> AsyncGenerator[Engine]:
    """An engine with a store, connections and a committer thread of its own."""
    store = Store.open(world.url, clock)
    try:
        async with Engine(store, [refund], llm=llm or Scripted(lambda _: pay("129.00")), clock=clock) as engine:
            yield engine
    finally:
        store.close()


async def asked(engine: Engine, count: int = 1) -> list[Task]:
    """That many runs, each waiting for a release."""

    async def one(number: int) -> Task:
        row = await engine.start(TriggerCommand("refund", MESSAGE, key=f"customer-{number}"), hold=True)
        await engine.advance(row.run.id)
        (task,) = await engine.store.tasks(row.run.id)
        return task

    found: list[Task] = []
    for first in range(0, count, 100):
        found += await asyncio.gather(*(one(number) for number in range(first, min(count, first + 100))))
    return found


# ── two people ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def race(world: World, count: int) -> list[str]:
    """Ann approves while Bob rejects, each in a process of their own; gives everything that is not as it must be."""
    wrong: list[str] = []
    async with process(world, clock := FakeClock()) as here, process(world, clock) as there:
        for number, task in enumerate(await asked(here, count)):
            pair = (
                here.decide(task.id, by="ann", decision="approved"),
                there.decide(task.id, by="bob", decision="rejected"),
            )
            first, second = await asyncio.gather(*(pair if number % 2 else pair[::-1]), return_exceptions=True)
            said = {"ann": first, "bob": second} if number % 2 else {"bob": first, "ann": second}
            winners = [name for name, answer in said.items() if isinstance(answer, Decided) and answer.first]
            losers = {name: answer for name, answer in said.items() if name not in winners}
            if len(winners) != 1:
                wrong.append(f"{task.id}: {said}")
                continue
            (winner,) = winners
            ((loser, answer),) = losers.items()
            if not isinstance(answer, AlreadyDecided) or answer.by != winner or winner not in str(answer):
                wrong.append(f"{task.id}: {winner} won, {loser} was told {answer!r}")
            kept = await here.store.task(task.id)
            if (kept.status, kept.decided_by) != ("decided", winner):
                wrong.append(f"{task.id}: {winner} won, and it says {kept.decided_by}")
    return wrong


async def test_of_two_approvers_one_wins_and_the_other_gets_the_winners_name(world: World) -> None:
    assert not await race(world, 50)


@pytest.mark.long
async def test_of_two_approvers_one_wins_two_thousand_times(world: World) -> None:
    assert not await race(world, 2000)


async def test_a_double_click_gets_the_same_answer(world: World) -> None:
    async with process(world, clock := FakeClock()) as here, process(world, clock) as there:
        (task,) = await asked(here)
        clicks = [engine.decide(task.id, by="ann", decision="approved") for engine in (here, there, here, there)]
        answers = await asyncio.gather(*clicks)
        assert sorted(answer.first for answer in answers) == [False, False, False, True]
        assert {(answer.task.decided_by, str(answer.task.answer)) for answer in answers} == {("ann", str(answers[0].task.answer))}
        row = await here.advance(task.run_id)
        assert (row.run.state, len(world.provider.asked)) == ("Refunded", 1)
        late = await there.decide(task.id, by="ann", decision="approved")
        assert not late.first
        with pytest.raises(AlreadyDecided, match="decided by ann"):
            await there.decide(task.id, by="bob", decision="rejected")


# ── a person and the clock ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_after_its_deadline_a_decision_is_too_late_also_before_anybody_looked(world: World) -> None:
    async with process(world, clock := FakeClock()) as engine:
        (task,) = await asked(engine)
        clock.advance(timedelta(days=2, seconds=1))
        with pytest.raises(TaskGone, match="expired"):
            await engine.decide(task.id, by="ann", decision="approved")
        row = await engine.advance(task.run_id)
        assert row.run.state == "HandOver"
        assert not world.provider.asked


class JustBefore(Store):
    """Lets something happen before the next commit."""

    first: "Callable[[], Awaitable[object]] | None" = None

    async def commit(self, step: Commit | Deferred, *, alone: bool = False) -> Committed:
        first, self.first = self.first, None
        if first is not None:
            await first()
        return await super().commit(step, alone=alone)


async def test_a_decision_in_time_is_not_overruled_by_a_deadline_that_is_just_being_written(world: World) -> None:
    late = FakeClock()
    async with process(world, FakeClock()) as there:
        store = JustBefore.open(world.url, late)
        assert isinstance(store, JustBefore)
        async with Engine(store, [refund], llm=Scripted(lambda _: pay("129.00")), clock=late) as here:
            (task,) = await asked(here)
            late.advance(timedelta(days=2, seconds=1))  # there it is not that late
            store.first = lambda: there.decide(task.id, by="ann", decision="approved")
            assert (await here.advance(task.run_id)).run.state == "Refunded"
        store.close()


# ── two processes ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_process_that_slept_past_its_lease_writes_nothing_and_follows_until_the_other_is_gone(world: World) -> None:
    clock, seen = FakeClock(), list[Row]()

    async with process(world, clock) as there:

        async def takes_long(request: Request) -> "Reply[str] | Call[object]":
            seen.append(await there.store.load(request.run_id))
            if len(seen) == 1:
                clock.advance(timedelta(minutes=1))  # another one takes over, and never writes anything
                assert await there.store.claim(request.run_id, there.owner, clock.now(), clock.now() + 30 * SECOND)
            return pay("129.00")

        async with process(world, clock, Scripted(takes_long)) as here:
            row = await here.start(TriggerCommand("refund", MESSAGE, key="slow"), hold=True)
            began = clock.now()
            assert (await here.advance(row.run.id)).run.state == "Release"
            assert clock.now() - began > 90 * SECOND, "a minute asleep, and the lease of the other"
            first, second = seen
            assert (second.run.seq, second.fence) == (first.run.seq, first.fence + 2), "what was answered first was not written"
            await here.verify(row.run.id)


async def test_two_processes_on_one_run_do_everything_once(world: World) -> None:
    async with process(world, clock := SystemClock()) as here, process(world, clock) as there:
        for task in await asked(here, 10):
            await here.decide(task.id, by="ann", decision="approved")
            rows = await asyncio.gather(here.advance(task.run_id), there.advance(task.run_id))
            assert {row.run.state for row in rows} == {"Refunded"}
            await here.verify(task.run_id)
            world_saw = (len(world.provider.asked), len(world.booked()), len(world.mails()))
            assert world_saw == (1, 1, 1)
            world.clean(WAYS[0])


async def test_the_same_start_twice_at_once_is_one_run(world: World) -> None:
    async with process(world, clock := SystemClock()) as here, process(world, clock) as there:
        command = TriggerCommand("refund", MESSAGE, key="ticket-881")

        async def start_and_go_on(engine: Engine) -> str:
            row = await engine.start(command, hold=True)
            return (await engine.advance(row.run.id)).run.id

        (run_id,) = set(await asyncio.gather(*(start_and_go_on(engine) for engine in (here, there, here, there))))
        assert len(await here.store.tasks(run_id)) == 1
        await here.verify(run_id)


# ── a database that was changed ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_call_that_was_changed_after_its_approval_is_never_made(world: World) -> None:
    async with process(world, FakeClock()) as engine:
        (task,) = await asked(engine)
        await engine.decide(task.id, by="ann", decision="approved")
        with engine.store.engine.begin() as connection:
            changed = text("UPDATE runs SET execution = REPLACE(execution, '129.00', '128.00') WHERE id = :run")
            assert connection.execute(changed, {"run": task.run_id}).rowcount == 1
        row = await engine.advance(task.run_id)
        assert row.run.status == "attention"
        assert "digest" in str(row.run.reason)
        assert not world.provider.asked
        with pytest.raises(Tampered):
            await engine.verify(task.run_id)
