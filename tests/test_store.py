"""What the store promises about runs, steps, decisions and signals, on each database."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator
from dataclasses import MISSING, fields, replace

import pytest

from leverframe.canon import Object, text_hash
from leverframe.clock import SECOND
from leverframe.errors import (
    AlreadyDecided,
    AlreadyPaused,
    InputError,
    KeyConflict,
    Lost,
    RunOver,
    StoreError,
    TaskGone,
    UnknownDefinition,
    UnknownRun,
    UnknownTask,
)
from leverframe.run import Pending, Reserved, Run, Waiting, chain, event
from leverframe.store import Committed, Decided, Inbound, Started, Store, is_dead, me
from leverframe.store.store import HISTORIES
from tests.stored import CLOCK, DEFINITION, LEASE, asking, effect, letting_go, new, opened, step, task


@pytest.fixture
async def store(prepared_url: str) -> AsyncGenerator[Store]:
    async with opened(prepared_url) as store:
        yield store


async def held(store: Store, memory: Object | None = None) -> tuple[Run, int]:
    """A new run and our fence."""
    first = new(memory, owner="me")
    started = await store.start(first)
    return first.run, started.fence


# --- what goes in comes out ---------------------------------------------------------------------------------------------------


CALL = Pending(
    tool_name="issue_refund",
    arguments={"amount": "60.00", "lines": [1, {"a": None}]},
    digest="d",
    maker="Triage",
    ordinal=2,
    key="lf_2",
    approved="d",
    by="dana",
    via=(("Limit", "large"), ("Release", "approved")),
    act="Pay",
    entered_at=5,
    fence=3,
    mark=3,
    marked_at=6,
    attempts=1,
)
FULL = Run(
    id="run_full",
    machine="refund",
    definition=DEFINITION,
    status="paused",
    state="Pay",
    memory={"message": "ä\n", "order": {"price": "12.50"}, "tags": [], "none": None},
    seq=1,
    head="h",
    started_at=4,
    offline=False,
    parent="run_parent",
    steps=7,
    model_calls=3,
    cost=12,
    tokens=900,
    unpriced="openai/new",
    reserved=Reserved("2026-01-05", 1000, 25, 3),
    ordinal=2,
    exceeded=True,
    granted=1,
    did=True,
    pending=CALL,
    queue=({"n": 1, "tool_name": "pay", "arguments": {"items": [1, 2]}, "from": {"to": {"$from": 0, "path": "/a"}}},),
    doubts=(replace(CALL, key="lf_1", ordinal=1), replace(CALL, key="lf_0", ordinal=0)),
    back="Triage",
    pins={"refund/triage": "b"},
    rules=(1, 0),
    failures={"Pay": 2},
    in_a_row=2,
    spins={"0123456789ab:ba9876543210": 2},
    waiting=Waiting("task_1", "children", 9, "s", ("run_a", "run_b"), 1, 1),
    postponed=(8, 2),
    error={"type": "NotDone", "cause": "no"},
    held={"event": "acted", "result": [1]},
    reason="look",
    was="waiting",
    result=["anything", 1.5],
)


def test_the_full_run_of_these_tests_has_no_field_at_its_default() -> None:
    for kind, full in ((Run, FULL), (Pending, CALL), (Waiting, FULL.waiting), (Reserved, FULL.reserved)):
        for field in fields(kind):
            default = field.default if field.default_factory is MISSING else field.default_factory()
            assert getattr(full, field.name) != default, f"give {kind.__name__}.{field.name} a value above"


async def test_a_run_reads_back_as_it_was_in_every_field(store: Store) -> None:
    started = event(None, 4, "started", "test", {})
    await store.start(replace(new(start_key="k", start_hash="s"), run=FULL, events=[started], source="cli", reply_to="mail:a"))
    row = await store.load(FULL.id)
    assert row.run == FULL
    assert (row.start_key, row.start_hash, row.source, row.reply_to, row.created_at) == ("k", "s", "cli", "mail:a", 4)
    assert [(child.run.id) for child in await store.runs(parent="run_parent")] == [FULL.id]


async def test_events_read_back_in_order_and_chained(store: Store) -> None:
    run, fence = await held(store)
    for number in range(3):
        commit = step(run, fence, {"number": number, "text": "naïve ✓", "nested": [{"a": None}]})
        await store.commit(commit)
        run = commit.run
    events = await store.events(run.id)
    assert [line.seq for line in events] == [1, 2, 3, 4]
    assert [line.body.get("number") for line in events] == [None, 0, 1, 2]
    previous = ""
    for line in events:
        assert line.hash == chain(previous, line.seq, line.at, line.type, line.actor, line.body_hash)
        previous = line.hash
    assert previous == run.head
    assert [line.seq for line in await store.events(run.id, after=2, limit=1)] == [3]


async def test_effects_and_tasks_read_back_and_only_what_became_of_an_effect_changes(store: Store) -> None:
    run, asked = await asking(store)
    (kept,) = await store.effects(run.id)
    assert (kept.tool, kept.args, kept.status) == ("issue_refund", {"amount": "60.00"}, "selected")
    assert await store.task(asked.id) == asked
    claimed = await store.claim(run.id, "me", CLOCK.now(), CLOCK.now() + LEASE)
    assert claimed
    done = replace(effect("done", kept.key), args='{"amount":"9999.00"}', attempts=1, result='{"id":1}', done_at=5)
    await store.commit(replace(step(run, claimed.row.fence), effects=[done], close_tasks=[(asked.id, "withdrawn")]))
    (kept,) = await store.effects(run.id)
    assert (kept.args, kept.status, kept.result, kept.attempts, kept.done_at) == ({"amount": "60.00"}, "done", {"id": 1}, 1, 5)
    assert (await store.task(asked.id)).status == "withdrawn"


async def test_memory_is_written_only_when_it_changed(store: Store) -> None:
    run, fence = await held(store, {"n": 1})
    first = replace(step(run, fence, memory={"n": 2}), memory_changed=False)
    await store.commit(first)
    assert (await store.load(run.id)).run.memory == {"n": 1}
    await store.commit(step(first.run, fence, memory={"n": 3}))
    assert (await store.load(run.id)).run.memory == {"n": 3}


async def test_a_definition_is_kept_once(store: Store) -> None:
    hash_ = text_hash('{"a":1}')
    await store.save_definition(hash_, "refund", '{"a":1}')
    await store.save_definition(hash_, "refund", '{"a":1}')
    assert await store.definition(hash_) == '{"a":1}'
    with pytest.raises(UnknownDefinition):
        await store.definition("0" * 64)


async def test_runs_are_listed_newest_first_by_machine_and_status_a_page_at_a_time(store: Store) -> None:
    made = [new({"n": n}, machine="refund" if n % 2 else "restock") for n in range(6)]
    for first in made:
        await store.start(first)
    newest = [first.run.id for first in reversed(made)]
    page = await store.runs(limit=4)
    rest = await store.runs(before=(page[-1].created_at, page[-1].run.id))
    assert [row.run.id for row in page + rest] == newest
    assert {row.run.machine for row in await store.runs(machine="restock", status="ready")} == {"restock"}
    assert await store.runs(status="done") == []


async def test_a_history_is_every_event_of_the_runs_of_one_machine_since_a_moment(store: Store) -> None:
    await store.start(new(machine="refund"))
    since = CLOCK.now()
    wanted: dict[str, list[int]] = {}
    for _ in range(2 * HISTORIES + 3):
        run, fence = await held(store)
        await store.commit(step(run, fence))
        wanted[run.id] = [1, 2]
    await store.start(new(machine="restock"))
    found: dict[str, list[int]] = {}
    last = ""
    async for run_id, line in store.history("refund", since):
        assert run_id == last or run_id not in found, "each run's events come together"
        last = run_id
        found.setdefault(run_id, []).append(line.seq)
    assert found == wanted
    assert [run_id async for run_id, _ in store.history("refund", CLOCK.now())] == []


async def test_the_beginning_of_an_id_is_enough_and_a_wrong_one_gets_a_suggestion(store: Store) -> None:
    run, asked = await asking(store)
    assert await store.resolve(run.id[:12]) == run.id
    assert await store.resolve_task(asked.id[:12]) == asked.id
    near = run.id[:-1] + "_"
    with pytest.raises(UnknownRun, match=f"Did you mean '{run.id}'"):
        await store.load(near)
    with pytest.raises(UnknownTask, match="no such task"):
        await store.task("task_x")
    for name in ("run_twin_1", "run_twin_2"):
        twin = new()
        await store.start(replace(twin, run=replace(twin.run, id=name)))
    with pytest.raises(UnknownRun, match=r"begins the ids of several runs.*run_twin_1, run_twin_2"):
        await store.resolve("run_twin")


# --- starts -------------------------------------------------------------------------------------------------------------------


async def test_one_start_key_starts_one_run_however_often_it_comes(store: Store) -> None:
    starts = [new(start_key="ticket-881", start_hash="same") for _ in range(20)]
    answers = await asyncio.gather(*(store.start(first) for first in starts))
    assert sum(answer.created for answer in answers) == 1
    (run_id,) = {answer.run_id for answer in answers}
    again = await store.start(new(start_key="ticket-881", start_hash="same"))
    assert again == Started(run_id, created=False, fence=0)
    assert len(await store.runs()) == 1


async def test_another_payload_under_a_known_start_key_is_a_conflict_that_names_the_run(store: Store) -> None:
    first = new(start_key="ticket-881", start_hash="one")
    await store.start(first)
    with pytest.raises(KeyConflict, match=first.run.id):
        await store.start(new(start_key="ticket-881", start_hash="other"))
    elsewhere = new(start_key="ticket-881", start_hash="other", tenant="acme")
    assert (await store.start(elsewhere)).created
    assert (await store.start(new(machine="restock", start_key="ticket-881", start_hash="other"))).created


async def test_a_start_key_that_no_index_can_keep_is_refused(store: Store) -> None:
    for key in ("", "x" * 513, "a\0b"):
        with pytest.raises(InputError):
            await store.start(new(start_key=key))


async def test_a_run_can_be_born_claimed(store: Store) -> None:
    before = store.transactions
    first = new(owner="me")
    started = await store.start(first)
    assert (started.run_id, started.created, started.fence) == (first.run.id, True, 1)
    assert store.transactions == before + 1
    assert started.row == await store.load(first.run.id)  # what was written, without reading it
    assert await store.claim(first.run.id, "you", CLOCK.now(), CLOCK.now() + LEASE) is None
    await store.commit(step(first.run, 1))


# --- the guard of a step ------------------------------------------------------------------------------------------------------


async def test_who_lost_the_lease_writes_nothing(store: Store) -> None:
    run, fence = await held(store)
    late = step(run, fence, state="Late")
    taken = await store.claim(run.id, "you", CLOCK.now() + 2 * LEASE, CLOCK.now() + 3 * LEASE)
    assert taken
    assert taken.row.fence == fence + 1
    with pytest.raises(Lost, match="you took over"):
        await store.commit(replace(late, open_tasks=[task(run)], effects=[effect()]))
    with pytest.raises(Lost):
        await store.release(run.id, fence, None, 0)
    row = await store.load(run.id)
    assert (row.run, row.lease_owner) == (run, "you")
    assert len(await store.events(run.id)) == 1
    assert await store.tasks() == []
    assert await store.effects(run.id) == []


async def test_a_step_that_was_built_on_an_older_end_of_the_log_is_lost(store: Store) -> None:
    run, fence = await held(store)
    await store.commit(step(run, fence, {"by": "first"}))
    with pytest.raises(Lost, match="ends at 2, not at 1"):
        await store.commit(step(run, fence, {"by": "second"}))
    assert [line.body.get("by") for line in await store.events(run.id)] == [None, "first"]


async def test_a_released_run_must_be_claimed_again(store: Store) -> None:
    run, fence = await held(store)
    released = letting_go(step(run, fence))
    await store.commit(released)
    with pytest.raises(Lost, match="claim it again"):
        await store.commit(step(released.run, fence))


async def test_a_step_whose_answer_was_lost_can_be_given_again(store: Store) -> None:
    run, fence = await held(store)
    once = step(run, fence)
    first = await store.commit(once)
    assert await store.commit(once) == first
    assert len(await store.events(run.id)) == 2


async def test_only_the_losing_item_of_a_batch_loses(store: Store) -> None:
    runs = [await held(store) for _ in range(10)]
    steps = [step(run, fence if number % 2 else fence + 1) for number, (run, fence) in enumerate(runs)]
    before = store.transactions
    answers = await asyncio.gather(*(store.commit(commit) for commit in steps), return_exceptions=True)
    assert store.transactions == before + 1
    assert [isinstance(answer, Lost) for answer in answers] == [number % 2 == 0 for number in range(10)]


async def test_an_item_that_the_database_refuses_does_not_harm_the_others(store: Store) -> None:
    runs = [await held(store) for _ in range(40)]
    taken = task(runs[0][0])
    await store.commit(replace(step(*runs[0]), open_tasks=[taken]))
    steps = [
        replace(step(run, fence), open_tasks=[taken] if number == 17 else []) for number, (run, fence) in enumerate(runs[1:])
    ]
    answers = await asyncio.gather(*(store.commit(commit) for commit in steps), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert [type(answer) for answer in refused] == [StoreError]
    assert "nothing was written" in str(refused[0])
    assert [(await store.load(commit.run.id)).run.seq for commit in steps] == [1 if number == 17 else 2 for number in range(39)]


async def test_what_a_database_cannot_keep_is_the_senders_mistake(store: Store) -> None:
    run, fence = await held(store)
    with pytest.raises(InputError, match="cannot keep"):
        await store.commit(step(run, fence, state="lone \ud800 surrogate"))
    assert (await store.load(run.id)).run.seq == 1


async def test_two_hundred_concurrent_steps_share_a_few_transactions(store: Store) -> None:
    runs = await asyncio.gather(*(held(store) for _ in range(200)))
    before = store.transactions

    async def three_steps(run: Run, fence: int) -> None:
        for _ in range(3):
            commit = step(run, fence)
            await store.commit(commit)
            run = commit.run

    await asyncio.gather(*(three_steps(run, fence) for run, fence in runs))
    assert store.transactions - before <= 12
    assert {row.run.seq for row in await store.runs(limit=300)} == {4}


async def test_two_steps_of_one_run_in_one_batch_are_written_in_their_order(store: Store) -> None:
    run, fence = await held(store)
    first = step(run, fence, memory={"n": 1})
    second = replace(step(first.run, fence, state="Second"), memory_changed=False)
    before = store.transactions
    await asyncio.gather(store.commit(first), store.commit(second))
    assert store.transactions == before + 1
    assert (await store.load(run.id)).run == second.run


async def test_a_step_and_the_children_it_starts_are_one_transaction(store: Store) -> None:
    run, fence = await held(store)
    children = [new(parent=run.id, machine="restock", start_key=f"{run.id}-{n}", start_hash="h") for n in range(3)]
    lost = replace(step(run, fence + 1), starts=children)
    with pytest.raises(Lost):
        await store.commit(lost)
    assert await store.runs(machine="restock") == []
    await store.commit(replace(step(run, fence), starts=children))
    assert {row.run.id for row in await store.runs(parent=run.id)} == {child.run.id for child in children}


# --- holding a run ------------------------------------------------------------------------------------------------------------


async def test_a_held_run_is_nobody_elses_until_its_lease_runs_out(store: Store) -> None:
    run, fence = await held(store)
    now = CLOCK.now()
    assert await store.claim(run.id, "you", now, now + LEASE) is None
    assert await store.claim_due("you", now, now + LEASE) == []
    again = await store.claim(run.id, "me", now, now + LEASE)
    assert again
    assert again.row.fence == fence + 1
    (taken,) = await store.claim_due("you", now + 2 * LEASE, now + 3 * LEASE)
    assert (taken.row.run, taken.row.lease_owner) == (run, "you")
    with pytest.raises(UnknownRun):
        await store.claim("run_nowhere", "me", now, now + LEASE)


@pytest.fixture
def dead() -> str:
    """The owner that a process was which has ended."""
    program = "from leverframe.store import me; print(me())"
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.strip()


async def test_a_dead_owners_run_can_be_claimed_at_once(store: Store, dead: str) -> None:
    alive = me()
    assert is_dead(dead)
    assert not is_dead(alive)
    first, second = new(owner=dead), new(owner=dead)
    await store.start(first)
    await store.start(second)
    await store.start(new(owner=alive))
    now = CLOCK.now()
    claimed = await store.claim(first.run.id, "me", now, now + LEASE)
    assert claimed
    assert [found.row.run.id for found in await store.claim_due("me", now, now + LEASE)] == [second.run.id]


def test_nothing_is_dead_that_cannot_be_proven_dead() -> None:
    host, boot, pid, start, nonce = me().split("|")
    assert is_dead("|".join((host, boot, pid, str(int(start) - 1), nonce)))  # the pid was given to another process
    for other in (
        ("elsewhere", boot, "1", "1", "n"),
        (host, "another boot", "1", "1", "n"),
        (host, boot, "words", "1", "n"),
        (host, boot, "999999999999999999999", "1", "n"),
        ("me",),
    ):
        assert not is_dead("|".join(other))


async def test_claims_without_a_step_are_counted_and_a_step_or_a_release_forgives_them(store: Store) -> None:
    await store.start(first := new())
    now = CLOCK.now()
    counts: list[int] = []
    for number in range(1, 5):
        claimed = await store.claim(first.run.id, f"owner {number}", now + number * LEASE * 2, now + number * LEASE * 2 + LEASE)
        assert claimed
        counts.append(claimed.row.claims)
    assert counts == [1, 2, 3, 4]
    await store.commit(step(first.run, 4))
    assert (await store.load(first.run.id)).claims == 0
    claimed = await store.claim(first.run.id, "x", now + 99 * LEASE, now + 100 * LEASE)
    assert claimed
    await store.release(first.run.id, claimed.row.fence, None, 0)
    assert (await store.load(first.run.id)).claims == 0


async def test_a_run_claimed_three_times_without_a_step_is_a_suspect_and_is_counted_on_only_when_alone(store: Store) -> None:
    await store.start(first := new())
    await store.start(new())
    now = CLOCK.now()
    for number in range(3):
        assert not await store.suspect_due(now + number * 2 * LEASE)
        claimed = await store.claim_due("me", now + number * 2 * LEASE, now + number * 2 * LEASE + LEASE, limit=1)
        assert [found.row.run.id for found in claimed] == [first.run.id]
    now += 6 * LEASE
    assert await store.suspect_due(now)
    assert first.run.id not in [found.row.run.id for found in await store.claim_due("me", now, now + LEASE)]
    among = await store.claim(first.run.id, "you", now, now + LEASE, alone=False)
    assert among
    assert among.row.claims == 3
    assert not await store.suspect_due(now), "somebody alive holds it"
    now += 2 * LEASE
    (alone,) = await store.claim_due("me", now, now + LEASE, limit=1, suspects=True)
    assert (alone.row.run.id, alone.row.claims) == (first.run.id, 4)
    await store.commit(step(first.run, alone.row.fence))
    assert not await store.suspect_due(now + 2 * LEASE)


async def test_runs_are_found_by_their_start_key_and_many_at_once_by_their_ids(store: Store) -> None:
    await store.start(first := new(start_key="ticket-881"))
    await store.start(second := new())
    assert await store.keyed("ticket-881") == [first.run.id]
    assert await store.keyed("ticket-88") == []
    ids = [second.run.id, "run_nowhere", first.run.id]
    assert [row.run.id for row in await store.load_all(ids)] == [second.run.id, first.run.id]


async def test_due_runs_come_longest_due_first_and_waiting_ones_not_at_all(store: Store) -> None:
    now = CLOCK.now()
    ids: list[str] = []
    for offset in (-3, -1, -2, +60):
        await store.start(first := new(wake_at=now + offset * SECOND))
        ids.append(first.run.id)
    await store.start(new(wake_at=None))
    assert await store.next_wake(now) == (now - 3 * SECOND, None)
    first_two = await store.claim_due("me", now, now + LEASE, limit=2)
    assert [claimed.row.run.id for claimed in first_two] == [ids[0], ids[2]]
    assert [claimed.row.run.id for claimed in await store.claim_due("me", now, now + LEASE)] == [ids[1]]
    assert await store.claim_due("me", now, now + LEASE) == []


async def test_a_held_run_hides_none_that_will_be_due_and_counts_with_its_lease(store: Store) -> None:
    run, _ = await held(store)
    later = CLOCK.now() + LEASE // 2
    await store.start(new(wake_at=later))
    await store.start(new(wake_at=None))
    row = await store.load(run.id)
    assert await store.next_wake(CLOCK.now()) == (later, row.lease_until)
    assert await store.next_wake(CLOCK.now() + 2 * LEASE) == (row.wake_at, None), "it is nobody's by then"


async def test_a_held_run_is_always_due_so_that_a_dead_holder_is_found(store: Store) -> None:
    await store.start(first := new(wake_at=None))
    now = CLOCK.now()
    assert await store.claim(first.run.id, "me", now, now + LEASE)
    (found,) = await store.claim_due("you", now + 2 * LEASE, now + 3 * LEASE)
    await store.commit(replace(step(first.run, found.row.fence), wake_at=None))
    (again,) = await store.claim_due("she", now + 4 * LEASE, now + 5 * LEASE)
    assert again.row.run.id == first.run.id


async def test_a_heartbeat_extends_the_lease_says_what_is_wanted_and_tells_who_lost(store: Store) -> None:
    (run, fence), (other, other_fence) = await held(store), await held(store)
    await store.want(run.id, "cancel", "dana", CLOCK.now())
    until = CLOCK.now() + 10 * LEASE
    assert await store.heartbeat([(run.id, fence), (other.id, other_fence + 1)], until) == {run.id: "cancel"}
    assert (await store.load(run.id)).lease_until == until


# --- what others want ---------------------------------------------------------------------------------------------------------


async def test_a_wish_reaches_the_holder_with_the_next_step_and_stays_until_it_is_cleared(store: Store) -> None:
    run, fence = await held(store)
    await store.want(run.id, "pause", "dana", CLOCK.now())
    first = step(run, fence)
    assert await store.commit(first) == Committed("pause", "dana", 0)
    second = replace(step(first.run, fence, status="paused"), clear_want=True)
    assert await store.commit(second) == Committed(None, None, 0)
    with pytest.raises(AlreadyPaused, match=r"^Task is already paused$"):
        await store.want(run.id, "pause", "dana", CLOCK.now())


async def test_a_wish_to_cancel_is_not_weakened_to_a_pause(store: Store) -> None:
    await store.start(first := new())
    await store.want(first.run.id, "cancel", "dana", CLOCK.now())
    await store.want(first.run.id, "pause", "eric", CLOCK.now())
    row = await store.load(first.run.id)
    assert (row.want, row.want_by) == ("cancel", "dana")


async def test_nothing_can_be_wanted_of_a_run_that_is_over(store: Store) -> None:
    run, fence = await held(store)
    await store.commit(letting_go(step(run, fence, status="done")))
    with pytest.raises(RunOver, match="is done"):
        await store.want(run.id, "cancel", "dana", CLOCK.now())
    with pytest.raises(UnknownRun):
        await store.want("run_nowhere", "pause", "dana", CLOCK.now())


async def test_a_run_released_while_something_is_wanted_of_it_is_due_at_once(store: Store) -> None:
    run, fence = await held(store)
    await store.want(run.id, "pause", "dana", CLOCK.now())
    await store.commit(letting_go(step(run, fence, status="waiting")))
    assert [claimed.row.want for claimed in await store.claim_due("me", CLOCK.now(), CLOCK.now() + LEASE)] == ["pause"]


async def test_a_parents_wish_reaches_the_children_that_are_not_over(store: Store) -> None:
    run, fence = await held(store)
    alive, over = new(parent=run.id, wake_at=None), new(parent=run.id, owner="me")
    await store.start(alive)
    await store.start(over)
    await store.commit(letting_go(step(over.run, 1, status="failed")))
    await store.commit(replace(step(run, fence), children_want="cancel"))
    (claimed,) = await store.claim_due("you", CLOCK.now(), CLOCK.now() + LEASE)
    assert (claimed.row.run.id, claimed.row.want, claimed.row.want_by) == (alive.run.id, "cancel", f"run {run.id}")
    assert (await store.load(over.run.id)).want is None


async def test_a_parents_wish_weakens_no_wish_to_cancel_and_misses_a_child_that_ends_in_the_same_batch(store: Store) -> None:
    run, fence = await held(store)
    doomed, ending = new(parent=run.id), new(parent=run.id, owner="me")
    await store.start(doomed)
    await store.start(ending)
    await store.want(doomed.run.id, "cancel", "dana", CLOCK.now())
    end = letting_go(step(ending.run, 1, status="done"))
    await asyncio.gather(store.commit(end), store.commit(replace(step(run, fence), children_want="pause")))
    assert [(await store.load(child.run.id)).want for child in (doomed, ending)] == ["cancel", None]


# --- decisions ----------------------------------------------------------------------------------------------------------------


async def test_a_decision_and_the_wake_up_of_its_run_are_one_transaction(store: Store) -> None:
    run, asked = await asking(store)
    now = CLOCK.now()
    before = store.transactions
    decided = await store.decide(asked.id, by="dana", answer={"decision": "approved"}, via="cli", now=now)
    assert store.transactions == before + 1
    assert decided.first
    assert (decided.task.status, decided.task.decided_by, decided.task.decided_at, decided.task.via) == (
        "decided",
        "dana",
        now,
        "cli",
    )
    (claimed,) = await store.claim_due("me", CLOCK.now(), CLOCK.now() + LEASE)
    assert claimed.row.run.id == run.id
    assert claimed.inbound == (Inbound("task", asked.id, run.id, now, "approve", {"decision": "approved"}),)
    assert await store.tasks() == []


async def test_the_same_click_twice_is_the_same_answer_and_another_names_the_winner(store: Store) -> None:
    _, asked = await asking(store)
    first = await store.decide(asked.id, by="dana", answer={"decision": "approved"}, via="cli", now=CLOCK.now())
    second = await store.decide(asked.id, by="dana", answer={"decision": "approved"}, via="web", now=CLOCK.now() + 1)
    assert (second.task, second.first) == (first.task, False)
    for by, decision in (("eric", "approved"), ("dana", "rejected")):
        with pytest.raises(AlreadyDecided, match=r'was decided by dana at .*"approved"') as refused:
            await store.decide(asked.id, by=by, answer={"decision": decision}, via="cli", now=CLOCK.now())
        assert refused.value.by == "dana"


async def test_an_expired_or_withdrawn_task_is_gone_and_an_unknown_one_unknown(store: Store) -> None:
    run, asked = await asking(store)
    assert asked.expires_at
    with pytest.raises(TaskGone, match="expired at"):
        await store.decide(asked.id, by="dana", answer="yes", via="cli", now=asked.expires_at)
    claimed = await store.claim(run.id, "me", CLOCK.now(), CLOCK.now() + LEASE)
    assert claimed
    await store.commit(replace(step(run, claimed.row.fence), close_tasks=[(asked.id, "withdrawn")]))
    with pytest.raises(TaskGone, match="was withdrawn"):
        await store.decide(asked.id, by="dana", answer="yes", via="cli", now=CLOCK.now())
    with pytest.raises(UnknownTask):
        await store.decide("task_nowhere", by="dana", answer="yes", via="cli", now=CLOCK.now())
    assert (await store.load(run.id)).inbox == 0


async def test_a_task_of_a_run_that_is_over_can_be_decided(store: Store) -> None:
    run, fence = await held(store)
    open_end = replace(task(run), kind="reconcile", expires_at=None)
    await store.commit(replace(letting_go(step(run, fence, status="cancelled")), open_tasks=[open_end]))
    assert (await store.decide(open_end.id, by="dana", answer="happened", via="cli", now=CLOCK.now())).first
    assert [found.row.run.status for found in await store.claim_due("me", CLOCK.now(), CLOCK.now() + LEASE)] == ["cancelled"]


async def race(store: Store, times: int) -> None:
    for number in range(times):
        _, asked = await asking(store)
        clicks = (store.decide(asked.id, by=by, answer={"n": number}, via="web", now=CLOCK.now()) for by in ("dana", "eric"))
        answers = await asyncio.gather(*clicks, return_exceptions=True)
        (won,) = [answer for answer in answers if isinstance(answer, Decided)]
        (lost,) = [answer for answer in answers if isinstance(answer, AlreadyDecided)]
        assert won.first
        assert {won.task.decided_by, lost.by} == {won.task.decided_by}
        assert (await store.load(won.task.run_id)).inbox == 1


async def test_of_two_approvers_who_race_exactly_one_wins(store: Store) -> None:
    await race(store, 50)


@pytest.mark.long
async def test_of_two_approvers_who_race_two_thousand_times_exactly_one_wins_each_time(store: Store) -> None:
    await race(store, 2000)


async def test_an_expiry_never_overrules_a_decision_that_came_first(store: Store) -> None:
    run, asked = await asking(store)
    claimed = await store.claim(run.id, "me", CLOCK.now(), CLOCK.now() + LEASE)
    assert claimed
    await store.decide(asked.id, by="dana", answer="yes", via="cli", now=CLOCK.now())
    expiry = replace(step(run, claimed.row.fence), close_tasks=[(asked.id, "expired")], inbox_seen=len(claimed.inbound))
    with pytest.raises(Lost, match="something reached it"):
        await store.commit(expiry)
    assert (await store.task(asked.id)).status == "decided"


async def test_a_decided_task_stays_decided_whatever_closes_it(store: Store) -> None:
    run, asked = await asking(store)
    claimed = await store.claim(run.id, "me", CLOCK.now(), CLOCK.now() + LEASE)
    assert claimed
    await store.decide(asked.id, by="dana", answer="yes", via="cli", now=CLOCK.now())
    await store.commit(replace(step(run, claimed.row.fence), close_tasks=[(asked.id, "withdrawn")]))
    assert (await store.task(asked.id)).status == "decided"


# --- the inbox ----------------------------------------------------------------------------------------------------------------


async def send(store: Store, run_id: str, key: str, data: int = 0, at: int | None = None) -> bool:
    return await store.signal(run_id, source="shop", key=key, kind="signal", body={"n": data}, now=at or CLOCK.now())


async def test_a_signal_counts_once_and_another_content_under_its_key_is_a_conflict(store: Store) -> None:
    await store.start(first := new(wake_at=None))
    assert await send(store, first.run.id, "a")
    assert not await send(store, first.run.id, "a")
    with pytest.raises(KeyConflict, match="reached run"):
        await send(store, first.run.id, "a", data=1)
    await store.start(other := new())
    with pytest.raises(KeyConflict):
        await send(store, other.run.id, "a")
    assert (await store.load(first.run.id)).inbox == 1
    with pytest.raises(UnknownRun):
        await send(store, "run_nowhere", "b")


async def test_the_same_signal_many_times_at_once_counts_once(store: Store) -> None:
    await store.start(first := new(wake_at=None))
    now = CLOCK.now()
    assert sum(await asyncio.gather(*(send(store, first.run.id, "a", at=now) for _ in range(30)))) == 1


async def test_nothing_new_reaches_a_run_that_is_over(store: Store) -> None:
    run, fence = await held(store)
    await send(store, run.id, "early")
    await store.commit(letting_go(step(run, fence, status="done")))
    with pytest.raises(RunOver, match="is done"):
        await send(store, run.id, "late")
    assert not await send(store, run.id, "early")


async def test_the_inbox_is_read_oldest_first_and_consumed_once(store: Store) -> None:
    await store.start(first := new(wake_at=None))
    now = CLOCK.now()
    for key, offset in (("b", 2), ("a", 3), ("c", 1)):
        await send(store, first.run.id, key, at=now + offset)
    (claimed,) = await store.claim_due("me", CLOCK.now(), CLOCK.now() + LEASE)
    assert [found.key for found in claimed.inbound] == ["c", "b", "a"]
    took = replace(step(first.run, claimed.row.fence), consume=[("shop", "c"), ("shop", "b")], inbox_seen=3)
    assert (await store.commit(took)).inbox == 1
    assert [found.key for found in await store.inbound(first.run.id)] == ["a"]


async def test_a_run_that_comes_to_rest_with_something_in_its_inbox_is_due_at_once(store: Store) -> None:
    run, fence = await held(store)
    await send(store, run.id, "a")
    await store.commit(letting_go(step(run, fence, status="waiting"), CLOCK.now() + 100 * LEASE))
    (claimed,) = await store.claim_due("me", CLOCK.now(), CLOCK.now() + LEASE)
    seen = len(claimed.inbound)
    await store.release(run.id, claimed.row.fence, None, seen)
    assert await store.claim_due("me", CLOCK.now(), CLOCK.now() + LEASE) == []


async def test_what_arrives_between_looking_and_letting_go_is_not_lost(store: Store) -> None:
    await store.start(first := new())
    (claimed,) = await store.claim_due("me", CLOCK.now(), CLOCK.now() + LEASE)
    await send(store, first.run.id, "a")
    await store.release(first.run.id, claimed.row.fence, None, len(claimed.inbound))
    assert len(await store.claim_due("me", CLOCK.now(), CLOCK.now() + LEASE)) == 1


async def test_no_wake_up_is_lost_while_a_holder_lets_go(store: Store) -> None:
    """Signals race with the step that comes to rest; afterwards every run is due, or its inbox was seen."""
    for number in range(40):
        run, fence = await held(store)
        rest = letting_go(step(run, fence, status="waiting"))
        orders = [store.commit(rest), send(store, run.id, f"key {number}")]
        await asyncio.gather(*(orders if number % 2 else reversed(orders)))
    found = await store.claim_due("me", CLOCK.now(), CLOCK.now() + LEASE)
    assert [len(claimed.inbound) for claimed in found] == [1] * 40


async def test_the_end_of_a_child_wakes_its_parent_and_a_parent_that_is_over_is_left_alone(store: Store) -> None:
    for status, inbox in (("waiting", 1), ("cancelled", 0)):
        run, fence = await held(store)
        await store.start(child := new(parent=run.id, owner="me"))
        await store.commit(letting_go(step(run, fence, status=status)))
        end = Inbound("child", child.run.id, run.id, CLOCK.now(), "child", {"success": True})
        await store.commit(replace(letting_go(step(child.run, 1, status="done")), notify_parent=end))
        assert (await store.load(run.id)).inbox == inbox
        assert len(await store.claim_due("me", CLOCK.now(), CLOCK.now() + LEASE)) == inbox


async def test_parent_and_child_may_step_in_the_same_batch(store: Store) -> None:
    for turn in (1, -1):
        run, fence = await held(store)
        await store.start(child := new(parent=run.id, owner="me"))
        end = Inbound("child", child.run.id, run.id, CLOCK.now(), "child", {})
        steps = [
            letting_go(step(run, fence, status="waiting")),
            replace(letting_go(step(child.run, 1, status="done")), notify_parent=end),
        ]
        await asyncio.gather(*(store.commit(commit) for commit in steps[::turn]))
        (claimed,) = await store.claim_due("me", CLOCK.now(), CLOCK.now() + LEASE)
        assert (claimed.row.run.id, claimed.inbound) == (run.id, (end,))
        await store.release(run.id, claimed.row.fence, None, 1)
