"""Small machines through the engine, on a real SQLite file: whatever people, time, faults and other processes do to a run."""

from datetime import timedelta
from typing import Literal

import pytest

from leverframe import (
    Act,
    Ask,
    Back,
    Got,
    Limits,
    Machine,
    NotDone,
    Reply,
    Tool,
    TriggerCommand,
    Wait,
    Work,
)
from leverframe.canon import Object
from leverframe.errors import (
    AlreadyDecided,
    AlreadyPaused,
    InputError,
    InvalidAnswer,
    InvalidMemory,
    KeyConflict,
    ModelRefused,
    ModelUnavailable,
    NotPaused,
    NotRetryable,
    NotWaiting,
    RunOver,
    TaskGone,
    UnknownMachine,
    UnknownRun,
    UnknownTask,
)
from leverframe.llm import Scripted
from leverframe.testing import Crash
from leverframe.worker import work
from tests.explorer import Anywhere
from tests.house import (
    DAY,
    Box,
    Done,
    Failed,
    House,
    Nap,
    Person,
    Short,
    Stop,
    answer,
    asked,
    begin,
    charge,
    desk,
    deskwork,
    effects,
    errand,
    naps,
    seeker,
    types,
    world,
)

# ── waiting ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_same_key_starts_one_run_however_often(house: House) -> None:
    engine = house(naps)
    first, again = [await engine.start(TriggerCommand("naps", {"n": 1}, key="ticket-881")) for _ in range(2)]
    other = await house(naps).start(TriggerCommand("naps", Box(n=1), key="ticket-881"))
    assert first.run.id == again.run.id == other.run.id
    assert await types(engine, first.run) == ["started"]


async def test_what_advance_gives_of_a_run_that_is_over_is_what_the_database_has(house: House) -> None:
    engine = house(naps, desk, llm=Scripted([charge.call(100), Stop()]))
    charging = await engine.start(TriggerCommand("desk", {"n": 1}, key="k", source="mail", tenant="acme"), hold=True)
    await engine.advance(charging.run.id)
    await engine.decide((await asked(engine, charging.run, "approve")).id, by="ann", decision="approved")
    charged = await engine.advance(charging.run.id)
    stopped = await engine.start(TriggerCommand("desk", {"n": 2}))
    for over in (charged, await engine.advance(stopped.run.id)):
        stored = await engine.store.load(over.run.id)
        assert (over, over.run.status) == (stored, "done")
        assert repr(over) == repr(stored)  # the order of keys, too, which whoever writes it down sees
    early = await begin(engine, "naps")
    for event in ("woken", "rung", "rung"):
        await engine.signal(early.id, event)
    over = await engine.advance(early.id)
    assert (over, over.run.status, over.inbox) == (await engine.store.load(early.id), "done", 1)


async def test_the_same_key_with_another_input_is_a_conflict(house: House) -> None:
    engine = house(naps)
    await engine.start(TriggerCommand("naps", {"n": 1}, key="ticket-881"))
    with pytest.raises(KeyConflict, match="ticket-881"):
        await engine.start(TriggerCommand("naps", {"n": 2}, key="ticket-881"))
    elsewhere = await engine.start(TriggerCommand("naps", {"n": 2}, key="ticket-881", tenant="other"))
    assert elsewhere.run.memory["n"] == 2


async def test_bad_starts_say_what_is_wrong_and_leave_nothing(house: House) -> None:
    engine = house(naps)
    with pytest.raises(UnknownMachine, match=r"no machine is called 'nap'; there are naps. Did you mean 'naps'\?"):
        await engine.start(TriggerCommand("nap", {}))
    with pytest.raises(InvalidMemory, match="input of naps: m: Extra inputs are not permitted"):
        await engine.start(TriggerCommand("naps", {"m": 1}))
    assert await engine.store.runs() == []
    for question in (engine.advance("run_none"), engine.pause("run_none"), engine.fork("run_none"), engine.verify("run_none")):
        with pytest.raises(UnknownRun):
            await question
    with pytest.raises(UnknownTask):
        await engine.answer("task_none", by="ann", value="x")


async def test_a_signal_wakes_the_wait_it_is_for(house: House) -> None:
    engine = house(naps)
    run = await begin(engine, "naps")
    assert (run.status, run.state) == ("waiting", "Nap")
    assert await engine.signal(run.id, "woken", {"n": 2})
    run = (await engine.advance(run.id)).run
    assert (run.state, run.memory["n"]) == ("Bell", 2)


async def test_an_early_signal_is_kept_until_somebody_waits_for_it(house: House) -> None:
    engine = house(naps)
    run = await begin(engine, "naps")
    await engine.signal(run.id, "rung")
    assert (await engine.advance(run.id)).run.state == "Nap"
    await engine.signal(run.id, "woken")
    assert (await engine.advance(run.id)).run.status == "done"


async def test_a_signal_sent_twice_under_one_key_counts_once(house: House) -> None:
    engine = house(naps)
    run = await begin(engine, "naps")
    assert await engine.signal(run.id, "woken", {"n": 1}, source="bus", key="7")
    assert not await engine.signal(run.id, "woken", {"n": 1}, source="bus", key="7")
    with pytest.raises(KeyConflict):
        await engine.signal(run.id, "woken", {"n": 2}, source="bus", key="7")
    run = (await engine.advance(run.id)).run
    assert run.memory["n"] == 1
    assert not await engine.signal(run.id, "woken", {"n": 1}, source="bus", key="7")
    assert (await engine.advance(run.id)).run.state == "Bell"


async def test_a_signal_nobody_can_wait_for_or_that_does_not_fit_is_refused(house: House) -> None:
    engine = house(naps)
    run = await begin(engine, "naps")
    with pytest.raises(NotWaiting, match=r"machine naps waits for no event 'wokn'; it knows rung, woken. Did you mean 'woken'\?"):
        await engine.signal(run.id, "wokn")
    with pytest.raises(InvalidAnswer, match="event woken: n: "):
        await engine.signal(run.id, "woken", {"n": "many"})
    house.clock.advance(2 * DAY)
    assert (await engine.advance(run.id)).run.status == "failed"
    with pytest.raises(RunOver):
        await engine.signal(run.id, "woken")


class Lamp(Reply[Literal["woken"]]):
    brightness: int


class Bright(Wait[Box]):
    deadline, events = DAY, (Lamp,)


async def test_an_event_that_fits_only_another_wait_of_its_name_is_kept_for_that_one(house: House) -> None:
    two = Machine(
        "two", memory=Box, edges={Nap: {"woken": Bright, "expired": Failed}, Bright: {"woken": Done, "expired": Failed}}
    )
    engine = house(two)
    run = await begin(engine, "two")
    await engine.signal(run.id, "woken", {"brightness": 3})
    assert (await engine.advance(run.id)).run.state == "Nap"
    await engine.signal(run.id, "woken", {"n": 1})
    assert (await engine.advance(run.id)).run.status == "done"
    with pytest.raises(InvalidAnswer, match="event woken: "):
        await engine.signal((await begin(engine, "two")).id, "woken", {"loud": True})


async def test_a_wait_ends_at_its_deadline_and_not_before(house: House) -> None:
    engine = house(naps)
    run = await begin(engine, "naps")
    house.clock.advance(DAY - timedelta(seconds=1))
    assert (await engine.advance(run.id)).run.status == "waiting"
    house.clock.advance(timedelta(seconds=1))
    run = (await engine.advance(run.id)).run
    assert (run.state, run.status) == ("Failed", "failed")


async def test_what_came_in_time_wins_over_a_deadline_that_passed_unseen(house: House) -> None:
    engine = house(naps)
    run = await begin(engine, "naps")
    await engine.signal(run.id, "woken")
    house.clock.advance(2 * DAY)
    run = (await engine.advance(run.id)).run
    assert "received" in await types(engine, run)


async def test_what_came_at_the_deadline_or_later_is_too_late_also_before_anybody_looked(house: House) -> None:
    engine = house(naps)
    run = await begin(engine, "naps")
    house.clock.advance(DAY)
    await engine.signal(run.id, "woken")
    run = (await engine.advance(run.id)).run
    assert (run.state, run.status) == ("Failed", "failed")
    assert "received" not in await types(engine, run)


async def test_pausing_twice_is_refused_in_exactly_these_words(house: House) -> None:
    engine = house(naps)
    run = await begin(engine, "naps")
    assert (await engine.pause(run.id)).run.status == "paused"
    with pytest.raises(AlreadyPaused) as refused:
        await engine.pause(run.id)
    assert str(refused.value) == "Task is already paused"


async def test_a_paused_run_goes_on_where_it_was(house: House) -> None:
    engine = house(naps)
    run = await begin(engine, "naps")
    with pytest.raises(NotPaused, match="is waiting, not paused"):
        await engine.resume(run.id)
    await engine.pause(run.id)
    await engine.signal(run.id, "woken", {"n": 3})
    assert (await engine.advance(run.id)).run.status == "paused"
    assert (await engine.resume(run.id)).run.status == "waiting"
    assert (await engine.advance(run.id)).run.memory["n"] == 3


async def test_deadlines_run_while_a_run_is_paused(house: House) -> None:
    engine = house(naps)
    run = await begin(engine, "naps")
    await engine.pause(run.id)
    house.clock.advance(2 * DAY)
    assert (await engine.advance(run.id)).run.status == "paused"
    await engine.resume(run.id)
    assert (await engine.advance(run.id)).run.status == "failed"


async def test_cancelling_is_said_twice_without_harm_and_a_run_that_is_over_takes_nothing(house: House) -> None:
    engine = house(naps)
    run = await begin(engine, "naps")
    await engine.pause(run.id)
    assert (await engine.cancel(run.id, by="ann")).run.status == "cancelled"
    assert (await engine.cancel(run.id, by="bob")).run.status == "cancelled"
    for command in (engine.pause(run.id), engine.resume(run.id), engine.retry(run.id), engine.migrate(run.id)):
        with pytest.raises(RunOver, match=f"run {run.id} is cancelled; it is over"):
            await command
    assert (await engine.store.events(run.id))[-1].actor == "human:ann"
    assert await engine.verify(run.id) == len(await types(engine, run))


async def test_an_event_whose_keep_failed_is_kept_after_a_retry_even_past_the_deadline(house: House) -> None:
    engine = house(naps)
    run = await begin(engine, "naps")
    world.broken = True
    await engine.signal(run.id, "woken", {"n": 5})
    run = (await engine.advance(run.id)).run
    assert (run.status, run.reason) == ("attention", "Nap.keep raised ValueError: keep is broken")
    world.broken = False
    house.clock.advance(2 * DAY)
    await engine.retry(run.id)
    run = (await engine.advance(run.id)).run
    assert (run.state, run.memory["n"]) == ("Bell", 5)
    await engine.verify(run.id)


async def test_only_a_run_that_needs_a_person_is_retried(house: House) -> None:
    engine = house(naps)
    run = await begin(engine, "naps")
    with pytest.raises(NotRetryable, match="is waiting; retry is for attention, blocked and quarantined"):
        await engine.retry(run.id)


# ── a call that may or may not have happened ─────────────────────────────────────────────────────────────────────────────────


async def test_a_once_call_that_raised_is_unknown_at_once_and_never_repeated(house: House) -> None:
    engine = house(errand)
    world.faults = [ConnectionError("hung up")]
    run = await begin(engine, "errand")
    assert (run.state, world.sent) == ("FindOut", [("post", "")])
    assert await effects(engine, run) == [("post", "unknown", 1)]
    assert {task.kind for task in await engine.store.tasks(run.id)} == {"answer", "reconcile"}
    run = await answer(engine, run, "happened")
    assert (run.status, len(world.sent), run.doubts) == ("done", 1, ())
    assert await engine.store.tasks(run.id) == []
    assert await effects(engine, run) == [("post", "done", 1)]


async def test_what_did_not_happen_counts_as_an_error_and_is_done_again_with_a_new_key(house: House) -> None:
    engine = house(errand)
    world.faults = [ConnectionError("hung up")]
    run = await begin(engine, "errand")
    run = await answer(engine, run, "not_happened")
    assert (run.status, len(world.sent)) == ("done", 2)
    assert await effects(engine, run) == [("post", "not_done", 1), ("post", "done", 1)]


async def test_a_person_may_settle_a_doubt_by_its_task_while_the_state_asks_the_same(house: House) -> None:
    engine = house(errand)
    world.faults = [ConnectionError("hung up")]
    run = await begin(engine, "errand")
    run = await answer(engine, run, "happened", "reconcile")
    assert run.status == "done"
    assert await engine.store.tasks(run.id) == []


async def test_a_doubt_stays_open_after_the_end_until_a_person_settles_it(house: House) -> None:
    engine = house(errand)
    world.faults = [ConnectionError("hung up")]
    run = await begin(engine, "errand")
    house.clock.advance(2 * DAY)
    run = (await engine.advance(run.id)).run
    assert (run.status, len(run.doubts)) == ("failed", 1)
    task = await asked(engine, run, "reconcile")
    with pytest.raises(InvalidAnswer, match="'happened' or 'not_happened'"):
        await engine.answer(task.id, by="ann", value="maybe")
    run = await answer(engine, run, "not_happened", "reconcile")
    assert (run.status, run.doubts) == ("failed", ())
    assert await effects(engine, run) == [("post", "not_done", 1)]
    await engine.verify(run.id)


async def test_a_doubt_settled_while_the_run_is_paused_leaves_it_paused(house: House) -> None:
    engine = house(errand)
    world.faults = [ConnectionError("hung up")]
    run = await begin(engine, "errand")
    await engine.pause(run.id)
    run = await answer(engine, run, "happened", "reconcile")
    assert run.status == "paused"
    await engine.resume(run.id)
    assert (await engine.advance(run.id)).run.status == "done"


async def test_a_doubt_is_found_out_by_looking(house: House) -> None:
    world.faults = [ConnectionError("hung up")]
    run = await begin(house(seeker), "seeker")
    assert (run.status, [name for name, _ in world.sent]) == ("done", ["post", "look"])


async def test_a_doubt_settled_while_looking_fails_is_taken_by_the_state_that_looks(house: House) -> None:
    engine, other = house(seeker), house(seeker)
    row = await engine.start(TriggerCommand("seeker", {}))
    world.faults = [ConnectionError("hung up"), NotDone("cannot look")]

    async def settle() -> None:
        (task,) = await other.store.tasks(row.run.id)
        await other.answer(task.id, by="ann", value="happened")

    async def not_while_building() -> None:
        world.aside = settle

    world.aside = not_while_building
    run = (await engine.advance(row.run.id)).run
    assert (run.status, run.doubts, len(world.sent)) == ("done", (), 2)
    assert "settled" in await types(engine, run)


async def test_after_a_crash_a_once_call_is_asked_about_and_not_repeated(house: House) -> None:
    engine = house(errand)
    world.faults = [Crash("kill -9")]
    row = await engine.start(TriggerCommand("errand", {}))
    with pytest.raises(Crash):
        await engine.advance(row.run.id)
    run = (await engine.advance(row.run.id)).run
    assert (run.state, len(world.sent)) == ("FindOut", 1)


@pytest.mark.parametrize(("truth", "state", "dispatched"), [(True, "Done", 1), (False, "Done", 2), (None, "FindOut", 1)])
async def test_a_tool_that_can_reconcile_is_asked_first(house: House, truth: bool | None, state: str, dispatched: int) -> None:
    engine = house(errand)
    world.faults, world.reconciles = [Crash("kill -9")], truth
    row = await engine.start(TriggerCommand("errand", {"n": 1}))
    with pytest.raises(Crash):
        await engine.advance(row.run.id)
    before = house.clock.now()
    run = (await engine.advance(row.run.id)).run
    assert (run.state, len(world.sent)) == (state, dispatched)
    assert house.clock.now() - before >= 5_000_000  # only once the mark is older than the tool's time-out


async def test_cancelling_a_run_whose_call_may_be_out_puts_it_in_doubt(house: House) -> None:
    engine = house(errand)
    world.faults = [Crash("kill -9")]
    row = await engine.start(TriggerCommand("errand", {}))
    with pytest.raises(Crash):
        await engine.advance(row.run.id)
    run = (await engine.cancel(row.run.id)).run
    assert (run.status, [call.tool_name for call in run.doubts]) == ("cancelled", ["post"])
    assert await effects(engine, run) == [("post", "unknown", 1)]
    run = await answer(engine, run, "happened", "reconcile")
    assert (run.status, run.doubts) == ("cancelled", ())


@pytest.mark.parametrize("wish", ["pause", "cancel"])
async def test_a_wish_that_comes_between_the_mark_and_the_dispatch_withdraws_the_mark(house: House, wish: str) -> None:
    engine, other = house(errand), house(errand)
    row = await engine.start(TriggerCommand("errand", {}))
    world.aside = lambda: other.pause(row.run.id) if wish == "pause" else other.cancel(row.run.id)
    run = (await engine.advance(row.run.id)).run
    assert (run.doubts, world.sent) == ((), [])
    assert await types(engine, run) == [
        "started",
        "built",
        "marked",
        "withdrawn",
        {"pause": "paused", "cancel": "cancelled"}[wish],
    ]
    assert [status for _, status, _ in await effects(engine, run)] == [{"pause": "selected", "cancel": "void"}[wish]]
    if wish == "pause":
        await engine.resume(run.id)
        assert (await engine.advance(run.id)).run.status == "done"
        assert len(world.sent) == 1


async def test_a_keyed_call_is_repeated_with_the_same_key_and_then_unknown(house: House) -> None:
    engine = house(errand)
    world.faults = [ConnectionError("1"), ConnectionError("2"), ConnectionError("3")]
    run = await begin(engine, "errand", n=2)
    assert (run.state, len(world.sent), len(world.keys)) == ("FindOut", 3, 1)
    assert await effects(engine, run) == [("charge", "unknown", 3)]


async def test_a_keyed_call_is_not_repeated_when_its_key_is_older_than_23_hours(house: House) -> None:
    engine = house(errand, patience=0)
    world.faults = [ConnectionError("1")]
    run = await begin(engine, "errand", n=2)
    assert (run.status, len(world.sent)) == ("ready", 1)
    house.clock.advance(timedelta(hours=23, minutes=1))
    run = (await engine.advance(run.id)).run
    assert (run.state, len(world.sent)) == ("FindOut", 1)


async def test_after_a_crash_a_keyed_call_goes_out_again_under_its_key(house: House) -> None:
    engine = house(errand)
    world.faults = [Crash("kill -9")]
    row = await engine.start(TriggerCommand("errand", {"n": 2}))
    with pytest.raises(Crash):
        await engine.advance(row.run.id)
    run = (await engine.advance(row.run.id)).run
    assert (run.status, len(world.sent), len(world.keys)) == ("done", 2, 1)


async def test_only_not_done_is_an_error_and_three_of_them_go_to_a_person(house: House) -> None:
    engine = house(errand)
    world.faults = [NotDone("no"), NotDone("no"), NotDone("no")]
    run = await begin(engine, "errand")
    assert (run.state, len(world.sent), run.failures) == ("Person", 3, {"Post": 3})
    assert {status for _, status, _ in await effects(engine, run)} == {"failed"}
    run = await answer(engine, run, "sent it myself")
    assert (run.status, run.memory["note"]) == ("done", "sent it myself")


async def test_a_keep_that_failed_is_run_again_alone(house: House) -> None:
    engine = house(errand)
    world.broken = True
    run = await begin(engine, "errand")
    assert (run.status, run.reason) == ("attention", "Post.keep raised ValueError: keep is broken")
    assert await effects(engine, run) == [("post", "done", 1)]
    await engine.retry(run.id)
    assert (await engine.advance(run.id)).run.status == "attention"
    world.broken = False
    await engine.retry(run.id, by="ann")
    run = (await engine.advance(run.id)).run
    assert (run.status, run.memory["note"], len(world.sent)) == ("done", "post 1", 1)
    await engine.verify(run.id)


async def test_a_run_whose_keep_failed_is_cancelled_without_a_doubt(house: House) -> None:
    engine = house(errand)
    world.broken = True
    run = await begin(engine, "errand")
    run = (await engine.cancel(run.id)).run
    assert (run.status, run.doubts) == ("cancelled", ())
    assert await effects(engine, run) == [("post", "done", 1)]


# ── approvals ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_one_decision_per_approval_whoever_repeats_it(house: House) -> None:
    engine = house(desk, llm=Scripted([charge.call(100)]))
    run = await begin(engine, "desk")
    task = await asked(engine, run, "approve")
    assert (task.to, task.call) == ("team lead", {"tool_name": "charge", "arguments": {"cents": 100}})
    first = await engine.decide(task.id, by="ann", decision="approved")
    again = await engine.decide(task.id, by="ann", decision="approved")
    assert (first.first, again.first) == (True, False)
    with pytest.raises(AlreadyDecided, match="ann") as late:
        await engine.decide(task.id, by="bob", decision="rejected")
    assert late.value.by == "ann"
    assert (await engine.advance(run.id)).run.status == "done"
    assert len(world.sent) == 1


async def test_a_rejected_call_is_void_and_never_sent(house: House) -> None:
    engine = house(desk, llm=Scripted([charge.call(100), Stop()]))
    run = await begin(engine, "desk")
    await engine.decide((await asked(engine, run, "approve")).id, by="ann", decision="rejected", comment="too much")
    run = (await engine.advance(run.id)).run
    assert (run.status, world.sent) == ("done", [])
    assert await effects(engine, run) == [("charge", "void", 0)]


async def test_an_edit_asks_again_and_keeps_the_deadline_and_the_role(house: House) -> None:
    engine = house(desk, llm=Scripted([charge.call(100)]))
    run = await begin(engine, "desk")
    before = await asked(engine, run, "approve")
    house.clock.advance(timedelta(hours=1))
    await engine.decide(before.id, by="ann", decision="edited", arguments={"cents": 50})
    run = (await engine.advance(run.id)).run
    after = await asked(engine, run, "approve")
    assert (after.id != before.id, after.expires_at, after.to) == (True, before.expires_at, "team lead")
    assert (after.call or {})["arguments"] == {"cents": 50}
    assert (run.pending and run.pending.approved, world.sent) == (None, [])
    with pytest.raises(AlreadyDecided):
        await engine.decide(before.id, by="bob", decision="approved")
    await engine.decide(after.id, by="bob", decision="approved")
    run = (await engine.advance(run.id)).run
    assert await effects(engine, run) == [("charge", "void", 0), ("charge", "done", 1)]
    assert [effect.args for effect in await engine.store.effects(run.id)] == [{"cents": 100}, {"cents": 50}]


async def test_one_person_edits_and_approves_in_one_decision(house: House) -> None:
    engine = house(desk, llm=Scripted([charge.call(100)]))
    run = await begin(engine, "desk")
    await engine.decide((await asked(engine, run, "approve")).id, by="ann", decision="approved", arguments={"cents": 50})
    run = (await engine.advance(run.id)).run
    assert (run.status, await effects(engine, run)) == ("done", [("charge", "void", 0), ("charge", "done", 1)])


async def test_decisions_that_cannot_be_are_refused_and_change_nothing(house: House) -> None:
    engine = house(desk, llm=Scripted([charge.call(100)]))
    run = await begin(engine, "desk")
    task = (await asked(engine, run, "approve")).id
    with pytest.raises(InvalidAnswer, match="it is 'approved', 'rejected' or 'edited'"):
        await engine.decide(task, by="ann", decision="aproved")
    with pytest.raises(InputError, match="by: it is empty; give a name"):
        await engine.decide(task, by=" ", decision="approved")
    with pytest.raises(InvalidAnswer, match="needs the new arguments"):
        await engine.decide(task, by="ann", decision="edited")
    with pytest.raises(InvalidAnswer, match="is an approval"):
        await engine.answer(task, by="ann", value="yes")
    with pytest.raises(Exception, match="charge: cents: "):
        await engine.decide(task, by="ann", decision="approved", arguments={"cents": "many"})
    assert len(await engine.store.tasks(run.id)) == 1


async def test_after_its_deadline_a_decision_is_gone(house: House) -> None:
    engine = house(desk, llm=Scripted([charge.call(100)]))
    run = await begin(engine, "desk")
    task = await asked(engine, run, "approve")
    house.clock.advance(2 * DAY)
    with pytest.raises(TaskGone):
        await engine.decide(task.id, by="ann", decision="approved")
    run = (await engine.advance(run.id)).run
    assert (run.state, run.pending, world.sent) == ("Person", None, [])


# ── limits ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_limit_without_a_drawn_edge_needs_a_person_who_grants_more(house: House) -> None:
    engine = house(deskwork(Limits(model_calls=1)), llm=Scripted([charge.call(1), Stop()]))
    run = await begin(engine, "desk")
    await engine.decide((await asked(engine, run, "approve")).id, by="ann", decision="rejected")
    run = (await engine.advance(run.id)).run
    assert (run.status, run.state, run.reason) == ("attention", "Think", "limit reached: model_calls")
    with pytest.raises(NotRetryable, match="--grant 1"):
        await engine.retry(run.id)
    await engine.retry(run.id, grant=1)
    assert (await engine.advance(run.id)).run.status == "done"


async def test_a_limit_with_a_drawn_edge_goes_there(house: House) -> None:
    engine = house(deskwork(Limits(model_calls=1, exceeded=Person)), llm=Scripted([charge.call(1)]))
    run = await begin(engine, "desk")
    await engine.decide((await asked(engine, run, "approve")).id, by="ann", decision="rejected")
    run = (await engine.advance(run.id)).run
    assert (run.status, run.state, run.exceeded) == ("waiting", "Person", True)


# ── the model ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_busy_model_is_asked_again_when_it_says_and_nothing_of_it_reaches_the_prompt(house: House) -> None:
    model = Scripted([ModelUnavailable("429 slow down", retry_after=20), Stop()])
    before = house.clock.now()
    run = await begin(house(desk, llm=model), "desk")
    assert (run.status, len(model.requests)) == ("done", 2)
    assert house.clock.now() - before >= 20_000_000
    assert model.requests[0].messages == model.requests[1].messages
    assert run.failures == {}


async def test_a_model_that_stays_away_is_an_error_in_the_end(house: House) -> None:
    model = Scripted({"Think": ModelUnavailable("500")})
    run = await begin(house(desk, llm=model), "desk")
    assert (run.state, run.failures) == ("Person", {"Think": 3})


async def test_a_key_that_is_refused_blocks_the_run_and_says_so(house: House) -> None:
    model = Scripted([ModelRefused("here/small: HTTP 401; check the key"), Stop()])
    engine = house(desk, llm=model)
    run = await begin(engine, "desk")
    assert (run.status, run.state, len(model.requests)) == ("blocked", "Think", 1)
    assert "HTTP 401; check the key; put it right, then `leverframe retry" in (run.reason or "")
    await engine.retry(run.id)
    assert (await engine.advance(run.id)).run.status == "done"


async def test_a_long_postponement_outlives_the_process(house: House) -> None:
    engine = house(desk, llm=Scripted([ModelUnavailable("429", retry_after=600)]))
    run = await begin(engine, "desk")
    assert (run.status, run.postponed is not None) == ("ready", True)
    other = house(desk, llm=Scripted([Stop()]))
    assert await work(other, until_idle=True) == 0
    house.clock.advance(timedelta(minutes=11))
    await work(other, until_idle=True)
    assert (await other.store.load(run.id)).run.status == "done"


async def test_a_run_is_never_continued_by_a_model_of_the_other_kind(house: House) -> None:
    engine = house(desk, llm=Scripted([charge.call(100)], offline=True))
    run = await begin(engine, "desk")
    await engine.decide((await asked(engine, run, "approve")).id, by="ann", decision="rejected")
    run = (await house(desk, llm=Scripted([Stop()])).advance(run.id)).run
    assert (run.status, run.state) == ("blocked", "Think")
    assert "a run is never continued by the other kind" in (run.reason or "")
    again = house(desk, llm=Scripted([Stop()], offline=True))
    await again.retry(run.id)
    assert (await again.advance(run.id)).run.status == "done"


class Wrong(Anywhere[Box]):
    text = "# user\n\n{{ memory.note.nothing.here }}\n"


async def test_a_prompt_that_cannot_be_rendered_needs_a_person_and_asks_nobody(house: House) -> None:
    model = Scripted([Stop()])
    wrong = Wrong("desk", memory=Box, edges=desk.edges)
    run = await begin(house(wrong, llm=model), "desk")
    assert (run.status, run.state, model.requests) == ("attention", "Think", [])
    assert "desk/think" in (run.reason or "")


async def test_without_a_model_a_run_is_blocked_and_says_what_to_set(house: House) -> None:
    engine = house(desk)
    run = await begin(engine, "desk")
    assert run.status == "blocked"
    assert "LEVERFRAME_MODEL" in (run.reason or "")


# ── names from outside ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Size(Reply[Literal["größe.1"]]):
    n: int


def double(arguments: Object) -> int:
    return 2


math_double = Tool.from_schema("math.double", {"type": "object"}, double, effect="read")


class Start(Ask[Box]):
    name, prompt = "initial", "desk/think"
    replies = (math_double, Size)

    def keep(self, memory: Box, reply: Size) -> None:
        memory.n = reply.n


class Doubles(Act[Box]):
    name = "退款 a"
    runs = (math_double,)

    def keep(self, memory: Box, got: Got) -> Literal["trigger"]:
        return "trigger"


class TheEnd(Done):
    name = "end"


odd = Anywhere(
    "größe.1 x",
    memory=Box,
    edges={
        Start: {"math.double": Doubles, "größe.1": TheEnd, "error": Short},
        Doubles: {"trigger": Start, "error": Short},
        Short: {"retry": Back, "give_up": TheEnd},
    },
)


async def test_names_that_are_odd_or_reserved_elsewhere_work_through_a_whole_run(house: House) -> None:
    engine = house(odd, llm=Scripted([{"intent": "math.double", "arguments": {"x": 1}}, Size(n=7)]))
    run = await begin(engine, "größe.1 x")
    assert (run.status, run.state, run.memory["n"]) == ("done", "end", 7)
    states = [line.body.get("state") for line in await engine.store.events(run.id)]
    assert states == ["initial", "initial", "退款 a", "initial", "end"]
    await engine.verify(run.id)


async def test_a_tool_the_state_does_not_offer_is_an_error_and_never_executed(house: House) -> None:
    engine = house(desk, llm=Scripted({"Think": [{"intent": "post", "arguments": {"text": "x"}}, Stop()]}))
    run = await begin(engine, "desk")
    assert (run.status, world.sent) == ("done", [])
    (error,) = [line.body["error"] for line in await engine.store.events(run.id) if line.type == "asked" and "error" in line.body]
    assert isinstance(error, dict)
    assert "not offered; choose one of charge, stop" in str(error["cause"])


@pytest.mark.parametrize("note", ["a\0b", "x" * 2_000_000, "\ud800"])
async def test_memory_that_cannot_be_kept_is_refused_at_the_door(house: House, note: str) -> None:
    engine = house(naps)
    with pytest.raises(InputError):
        await engine.start(TriggerCommand("naps", {"note": note}))
    assert await engine.store.runs() == []


class Grow(Work[Box]):
    def run(self, memory: Box) -> Literal["grown"]:
        memory.n = 10**5000
        return "grown"


grows = Anywhere("grows", memory=Box, edges={Grow: {"grown": Done}})


async def test_an_integer_that_no_database_could_keep_is_refused_in_memory_by_name(house: House) -> None:
    engine = house(grows)
    with pytest.raises(InputError, match=r"^input\.n: an integer of more than 308 digits"):
        await engine.start(TriggerCommand("grows", {"n": 10**5000}))
    run = await begin(engine, "grows")
    assert run.status == "attention"
    assert "memory.n: an integer of more than 308 digits" in (run.reason or "")


async def test_a_person_may_not_answer_what_cannot_be_kept(house: House) -> None:
    engine = house(errand)
    world.faults = [NotDone("no"), NotDone("no"), NotDone("no")]
    run = await begin(engine, "errand")
    task = await asked(engine, run)
    for value in (
        "a\0b",
        {"intent": "handled", "note": "x" * 300_000},
        {"intent": "handled"},
        {"intent": "handeld", "note": "x"},
    ):
        with pytest.raises(InputError):
            await engine.answer(task.id, by="ann", value=value)
    assert (await answer(engine, run, "done by hand")).status == "done"
