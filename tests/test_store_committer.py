"""The committer: steps with `local` tools, several event loops, crashes, lost connections, other writers, readers."""

import asyncio
import re
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlmodel import Session

import leverframe.store
from leverframe.clock import SECOND
from leverframe.errors import DatabaseUnavailable, Lost, NotDone, StoreError
from leverframe.run import Run
from leverframe.store import Commit, Committed, Deferred, Inbound, Store
from leverframe.store.boundary import AFTER_COMMIT, BEFORE_COMMIT, hooks
from tests.stored import CLOCK, DEFINITION, LEASE, effect, letting_go, new, opened, step


@pytest.fixture
async def store(prepared_url: str) -> AsyncGenerator[Store]:
    async with opened(prepared_url) as store:
        with store.engine.begin() as connection:
            connection.execute(text("CREATE TABLE bookings (run_id TEXT NOT NULL, note TEXT UNIQUE)"))
        yield store


@pytest.fixture(autouse=True)
def no_hooks_left() -> Iterator[None]:
    yield
    hooks.clear()


async def held(store: Store) -> Run:
    await store.start(first := new(owner="me"))
    return first.run


def bookings(store: Store) -> list[str]:
    with store.engine.connect() as connection:
        return [row[0] for row in connection.execute(text("SELECT note FROM bookings ORDER BY note"))]


def booking(run: Run, note: str, then: Callable[[Session], None] = lambda _: None, fence: int = 1) -> Deferred:
    """A step whose tool books, and then does something more."""

    def make(session: Session) -> Commit:
        session.connection().execute(text("INSERT INTO bookings VALUES (:run, :note)"), {"run": run.id, "note": note})
        then(session)
        return replace(step(run, fence, {"booked": note}), effects=[effect("done", f"lf_{run.id}")])

    def fail(error: Exception) -> Commit:
        return step(run, fence, {"failed": f"{type(error).__name__}: {error}"})

    return Deferred(run.id, fence, run.seq, make, fail, over=lambda limit: step(run, fence, {"over": limit}))


async def last(store: Store, run: Run) -> object:
    return (await store.events(run.id))[-1].body


# --- `local` tools ------------------------------------------------------------------------------------------------------------


async def test_a_local_tools_rows_and_the_step_are_one_transaction(store: Store) -> None:
    run = await held(store)
    before = store.transactions
    assert await store.commit(booking(run, "a")) == Committed(None, None, 0)
    assert store.transactions == before + 1
    assert bookings(store) == ["a"]
    assert await last(store, run) == {"booked": "a"}
    assert [kept.status for kept in await store.effects(run.id)] == ["done"]


async def test_what_a_failing_local_tool_wrote_is_rolled_back_and_its_failure_is_the_step(store: Store) -> None:
    run = await held(store)

    def refuse(_: Session) -> None:
        raise NotDone("the till is closed")

    await store.commit(booking(run, "a", refuse))
    assert bookings(store) == []
    assert await last(store, run) == {"failed": "NotDone: the till is closed"}


async def test_a_local_tool_that_the_database_refuses_fails_alone(store: Store) -> None:
    runs = [await held(store) for _ in range(6)]
    await store.commit(booking(runs[0], "taken"))
    others = [booking(run, "taken" if number == 2 else f"note {number}") for number, run in enumerate(runs[1:])]
    steps = [step(await held(store), 1) for _ in range(3)]
    items: list[Commit | Deferred] = [*others, *steps]
    await asyncio.gather(*(store.commit(item) for item in items))
    assert bookings(store) == ["note 0", "note 1", "note 3", "note 4", "taken"]
    assert "IntegrityError" in str(await last(store, runs[3]))


async def test_a_local_tool_that_the_database_refuses_at_the_end_only_fails_alone_too(store: Store) -> None:
    with store.engine.begin() as connection:
        connection.execute(text("CREATE TABLE rooms (id TEXT PRIMARY KEY)"))
        connection.execute(text("CREATE TABLE beds (room TEXT REFERENCES rooms (id) DEFERRABLE INITIALLY DEFERRED)"))

    def with_a_bed(session: Session) -> None:
        session.connection().execute(text("INSERT INTO beds VALUES ('nowhere')"))

    runs = [await held(store) for _ in range(4)]
    bad = booking(runs[2], "bad", with_a_bed)
    await asyncio.gather(*(store.commit(item) for item in (booking(runs[0], "a"), booking(runs[1], "b"), bad, step(runs[3], 1))))
    assert bookings(store) == ["a", "b"]
    assert "IntegrityError" in str(await last(store, runs[2]))
    assert await last(store, runs[3]) == {}


async def test_a_local_tool_that_commits_or_rolls_back_on_its_own_does_so_only_inside_its_step(store: Store) -> None:
    first, second, third = [await held(store) for _ in range(3)]

    def commit_and_fail(session: Session) -> None:
        session.commit()
        raise NotDone("after a commit")

    await asyncio.gather(
        store.commit(booking(first, "committed", commit_and_fail)),
        store.commit(booking(second, "rolled back", lambda session: session.rollback())),
        store.commit(booking(third, "kept", lambda session: session.commit())),
    )
    assert bookings(store) == ["kept"]
    assert await last(store, second) == {"booked": "rolled back"}


async def test_a_local_tool_never_runs_for_a_holder_that_lost_its_run(store: Store) -> None:
    run = await held(store)
    claimed = await store.claim(run.id, "you", CLOCK.now() + 2 * LEASE, CLOCK.now() + 3 * LEASE)
    assert claimed
    ran: list[Session] = []
    with pytest.raises(Lost):
        await store.commit(booking(run, "a", ran.append))
    assert (ran, bookings(store)) == ([], [])


async def test_the_step_of_a_local_tool_that_cannot_be_written_takes_its_rows_with_it(store: Store) -> None:
    run, other = await held(store), await held(store)
    good = booking(run, "a")

    def on_another_end(session: Session) -> Commit:
        return replace(good.make(session), base_seq=7)

    bad = replace(good, make=on_another_end)
    with pytest.raises(Lost):
        await store.commit(bad)
    await store.commit(booking(other, "b"))
    assert bookings(store) == ["b"]


async def test_slow_local_tools_share_twenty_milliseconds_of_a_batch_and_hold_up_no_step(store: Store) -> None:
    runs = [await held(store) for _ in range(14)]
    done: list[str] = []

    async def watched(name: str, item: Commit | Deferred) -> None:
        await store.commit(item)
        done.append(name)

    slow = [watched(f"slow {n}", booking(run, f"{n}", lambda _: time.sleep(0.015))) for n, run in enumerate(runs[:6])]
    quick = [watched("quick", step(run, 1)) for run in runs[6:]]
    before = store.transactions
    await asyncio.gather(*slow, *quick)
    assert 3 <= store.transactions - before <= 6
    assert done.index("quick") <= 2
    assert [name for name in done[:10] if name == "quick"] == ["quick"] * 8
    assert len(bookings(store)) == 6


async def test_the_end_of_a_child_by_a_local_tool_reaches_its_parent(store: Store) -> None:
    run = await held(store)
    await store.commit(letting_go(step(run, 1, status="waiting")))
    await store.start(child := new(parent=run.id, owner="me"))
    end = Inbound("child", child.run.id, run.id, CLOCK.now(), "child", {"success": True})
    books = booking(child.run, "a")

    def ends(session: Session) -> Commit:
        return replace(letting_go(books.make(session)), notify_parent=end)

    await store.commit(replace(books, make=ends))
    (claimed,) = await store.claim_due("me", CLOCK.now(), CLOCK.now() + LEASE)
    assert (claimed.row.run.id, claimed.inbound) == (run.id, (end,))


# --- loops, closing, order ----------------------------------------------------------------------------------------------------


def test_a_store_may_be_used_from_several_event_loops_at_a_time(database_url: str) -> None:
    store = Store.open(database_url)
    failures: list[BaseException] = []

    async def work() -> None:
        await store.save_definition(DEFINITION, "refund", "{}")
        for _ in range(10):
            firsts = [new(owner="me") for _ in range(5)]
            await asyncio.gather(*(store.start(first) for first in firsts))
            await asyncio.gather(*(store.commit(step(first.run, 1)) for first in firsts))

    def loop() -> None:
        try:
            asyncio.run(work())
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=loop) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [row.run.seq for row in asyncio.run(store.runs(limit=1000))] == [2] * 200
    store.close()


async def test_a_loop_of_its_own_writes_a_lone_step_itself_and_never_waits_for_a_tool_of_somebody(database_url: str) -> None:
    here, writers = threading.get_ident(), list[bool]()
    hooks.append(lambda _: writers.append(threading.get_ident() == here))
    started, finish = threading.Event(), threading.Event()

    def slowly(_: Session) -> None:
        started.set()
        assert finish.wait(10)

    async with opened(database_url, own_loop=True) as store:
        with store.engine.begin() as connection:
            connection.execute(text("CREATE TABLE bookings (run_id TEXT NOT NULL, note TEXT UNIQUE)"))
        first, second = await held(store), await held(store)
        writers.clear()
        assert await store.commit(step(first, 1), alone=True) == Committed(None, None, 0)
        assert writers == [True, True]
        with pytest.raises(Lost):
            await store.commit(step(first, 1, {"another": 1}), alone=True)
        slow = asyncio.ensure_future(store.commit(booking(second, "a", slowly), alone=True))
        assert await asyncio.to_thread(started.wait, 10)
        writers.clear()
        other = asyncio.ensure_future(store.commit(step(step(first, 1).run, 1), alone=True))
        for _ in range(2):  # its try comes after everybody else's turn
            await asyncio.sleep(0)
        assert not other.done()
        finish.set()
        await asyncio.gather(slow, other)
        assert writers == [False] * 4
        assert bookings(store) == ["a"]


async def test_closing_writes_what_is_queued_and_then_refuses(store: Store) -> None:
    run = await held(store)
    queued = asyncio.ensure_future(store.commit(step(run, 1)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    store.close()
    assert await queued == Committed(None, None, 0)
    with pytest.raises(StoreError, match="closed"):
        await store.commit(step(run, 1))


async def test_a_cancelled_caller_leaves_the_others_their_answers(store: Store) -> None:
    runs = [await held(store) for _ in range(4)]
    tasks = [asyncio.ensure_future(store.commit(step(run, 1))) for run in runs]
    await asyncio.sleep(0)
    tasks[1].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Committed, asyncio.CancelledError, Committed, Committed]


async def test_more_than_a_queue_full_waits_its_turn(store: Store) -> None:
    async def beat() -> None:
        assert await store.heartbeat([], CLOCK.now()) == {}

    await asyncio.gather(*(beat() for _ in range(5000)))
    assert store.transactions < 200


# --- crashes ------------------------------------------------------------------------------------------------------------------


class Crash(BaseException):
    pass


@pytest.mark.parametrize("alone", [False, True], ids=["together", "alone"])
@pytest.mark.parametrize(("point", "written"), [(BEFORE_COMMIT, False), (AFTER_COMMIT, True)])
async def test_a_crash_at_a_transactions_exit_leaves_all_of_it_or_nothing(
    database_url: str, point: str, written: bool, alone: bool
) -> None:
    def crash(passed: str) -> None:
        if passed == point:
            raise Crash

    async with opened(database_url, own_loop=alone) as store:
        run = await held(store)
        await store.start(child := new(parent=run.id, wake_at=None))
        hooks.append(crash)
        doomed = replace(step(run, 1), children_want="cancel", effects=[effect()])
        commit = store.commit(doomed, alone=alone)
        answers = await asyncio.gather(commit, store.next_wake(CLOCK.now()), return_exceptions=True)
        assert isinstance(answers[0], Crash)
        hooks.clear()
        with pytest.raises(Crash):
            await store.commit(doomed)
    async with opened(database_url) as store:
        row = await store.load(run.id)
        assert row.run.seq == (2 if written else 1)
        assert len(await store.effects(run.id)) == (1 if written else 0)
        assert (await store.load(child.run.id)).want == ("cancel" if written else None)


async def test_every_transaction_passes_both_points_and_nothing_else_commits(store: Store) -> None:
    points: list[str] = []
    hooks.append(points.append)
    run = await held(store)
    await store.commit(step(run, 1))
    await store.claim(run.id, "me", CLOCK.now(), CLOCK.now() + LEASE)
    await store.claim_due("me", CLOCK.now(), CLOCK.now() + LEASE)
    await store.want(run.id, "pause", "dana", CLOCK.now())
    await store.release(run.id, 2, None, 0)
    await store.signal(run.id, source="s", key="k", kind="signal", body=None, now=CLOCK.now())
    assert points == [BEFORE_COMMIT, AFTER_COMMIT] * 7
    assert len(points) == 2 * (store.transactions - 1)  # the definition was saved before
    package = Path(leverframe.store.__file__).parent
    commits = [
        f"{path.name}: {line.strip()}"
        for path in package.rglob("*.py")
        for line in path.read_text().splitlines()
        if re.search(r"\bCOMMIT\b|\.commit\(\)|\.begin\(\)", line)
    ]
    assert commits == [
        "batch.py: session.commit()",  # of a local tool, inside its savepoint
        "batch.py: savepoint.commit()",
        "database.py: started = connection.begin()",
        "database.py: started.commit()",
    ]


# --- other writers and lost connections ---------------------------------------------------------------------------------------


async def test_reading_never_waits_for_a_writer(store: Store) -> None:
    run = await held(store)
    with store.engine.begin() as other:
        other.execute(text("UPDATE runs SET state = 'Elsewhere'"))
        assert (await asyncio.wait_for(store.load(run.id), 2)).run.state == "Read"


async def test_a_writer_that_holds_a_row_for_a_moment_delays_only_that_run(store: Store) -> None:
    """On PostgreSQL; SQLite has one writer, so there it delays all."""
    locked, free = await held(store), await held(store)
    one_writer = store.engine.dialect.name == "sqlite"
    with store.engine.begin() as other:
        other.execute(text("UPDATE runs SET state = 'Elsewhere' WHERE id = :id"), {"id": locked.id})
        waits = asyncio.ensure_future(store.commit(step(locked, 1)))
        goes = asyncio.ensure_future(store.commit(step(free, 1)))
        await (asyncio.sleep(0.1) if one_writer else asyncio.wait_for(asyncio.shield(goes), 4))
        assert not waits.done()
        assert goes.done() is not one_writer
    assert await asyncio.wait_for(waits, 5) == await asyncio.wait_for(goes, 5)


@pytest.mark.postgres
async def test_a_lost_connection_is_opened_again_and_the_step_is_written_once(postgres_url: str) -> None:
    async with opened(postgres_url) as store:
        run = await held(store)
        for _ in range(3):
            with store.engine.begin() as admin:
                others = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
                admin.execute(text(f"SELECT pg_terminate_backend(pid) {others}"))
            commit = step(run, 1)
            assert await store.commit(commit) == Committed(None, None, 0)
            run = commit.run
            assert (await store.load(run.id)).run == run


@pytest.mark.postgres
async def test_a_server_that_is_gone_is_said_to_be_and_used_again_when_it_is_back(
    postgres_server: str, postgres_url: str
) -> None:
    name = make_url(postgres_url).database
    async with opened(postgres_url) as store:
        run = await held(store)
        server = create_engine(postgres_server, isolation_level="AUTOCOMMIT")
        with server.connect() as admin:
            admin.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
            admin.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"))
            with pytest.raises(DatabaseUnavailable):
                await store.commit(step(run, 1))
            with pytest.raises(DatabaseUnavailable):
                await store.load(run.id)
            admin.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
        server.dispose()
        assert await store.commit(step(run, 1)) == Committed(None, None, 0)


@pytest.mark.postgres
async def test_two_workers_on_postgres_are_never_given_one_run(postgres_url: str) -> None:
    async with opened(postgres_url) as one, opened(postgres_url) as two:
        firsts = [new() for _ in range(300)]
        await asyncio.gather(*(one.start(first) for first in firsts))
        now = CLOCK.now() + SECOND

        async def worker(store: Store, owner: str) -> list[str]:
            mine: list[str] = []
            while found := await store.claim_due(owner, now, now + LEASE, limit=7):
                mine += [claimed.row.run.id for claimed in found]
            return mine

        mine, yours = await asyncio.gather(worker(one, "one"), worker(two, "two"))
        assert sorted(mine + yours) == sorted(first.run.id for first in firsts)
        assert mine
        assert yours
