"""Several processes on one database: nothing is lost, nothing is done twice, and a killed process leaves nothing behind."""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from leverframe.errors import AlreadyDecided
from leverframe.store import Claimed, Store, me
from tests.stored import CLOCK, LEASE, asking, letting_go, new, opened, step

T = TypeVar("T")
ROOT = Path(__file__).resolve().parent.parent
PROCESSES = 3


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


async def together(processes: ProcessPoolExecutor, work: Callable[..., T], *args: object) -> list[T]:
    """Each process does it, all at a time; gives what each came to."""
    loop = asyncio.get_running_loop()
    return await asyncio.gather(*(loop.run_in_executor(processes, work, *args) for _ in range(PROCESSES)))


# --- the sentinel: three processes, many times read, add one, write --------------------------------------------------------------


async def claim(store: Store, run_id: str, owner: str) -> Claimed:
    """The run, as soon as nobody else has it."""
    for _ in range(5000):
        if claimed := await store.claim(run_id, owner, CLOCK.now(), CLOCK.now() + LEASE):
            return claimed
        await asyncio.sleep(0.001)
    raise AssertionError(f"run {run_id} was never free")


def count(url: str, run_id: str, times: int) -> None:
    asyncio.run(_count(url, run_id, times))


async def _count(url: str, run_id: str, times: int) -> None:
    owner = me()
    async with opened(url) as store:
        for _ in range(times):
            claimed = await claim(store, run_id, owner)
            run = claimed.row.run
            more = step(run, claimed.row.fence, {"owner": owner}, memory={"n": int(str(run.memory["n"])) + 1})
            await store.commit(letting_go(more))


@pytest.mark.parametrize("times", [100, pytest.param(400, marks=pytest.mark.long)])
async def test_no_update_of_three_processes_is_lost(database_url: str, processes: ProcessPoolExecutor, times: int) -> None:
    updates = PROCESSES * times
    async with opened(database_url) as store:
        await store.start(first := new({"n": 0}))
        await together(processes, count, database_url, first.run.id, times)
        row = await store.load(first.run.id)
        assert (row.run.memory, row.run.seq, row.fence) == ({"n": updates}, updates + 1, updates)
        events = await store.events(first.run.id)
        assert len(events) == updates + 1
        assert len({str(line.body.get("owner")) for line in events}) == 1 + PROCESSES


# --- the same for claims, decisions and opening ----------------------------------------------------------------------------------


def claim_all(url: str) -> list[str]:
    return asyncio.run(_claim_all(url))


async def _claim_all(url: str) -> list[str]:
    mine: list[str] = []
    async with opened(url) as store:
        while found := await store.claim_due(me(), CLOCK.now(), CLOCK.now() + LEASE, limit=5):
            mine += [claimed.row.run.id for claimed in found]
    return mine


async def test_no_run_is_given_to_two_processes(database_url: str, processes: ProcessPoolExecutor) -> None:
    async with opened(database_url) as store:
        firsts = [new() for _ in range(300)]
        await asyncio.gather(*(store.start(first) for first in firsts))
        taken = await together(processes, claim_all, database_url)
    assert sorted(run_id for mine in taken for run_id in mine) == sorted(first.run.id for first in firsts)


def decide_all(url: str, tasks: list[str]) -> list[str]:
    return asyncio.run(_decide_all(url, tasks))


async def _decide_all(url: str, tasks: list[str]) -> list[str]:
    """Who won each task, as this process was told."""
    winners: list[str] = []
    async with opened(url) as store:
        for asked in tasks:
            try:
                decided = await store.decide(asked, by=str(os.getpid()), answer="approved", via="cli", now=CLOCK.now())
                winners.append(decided.task.decided_by or "")
            except AlreadyDecided as lost:
                winners.append(lost.by)
    return winners


async def test_of_approvers_in_several_processes_exactly_one_wins(database_url: str, processes: ProcessPoolExecutor) -> None:
    async with opened(database_url) as store:
        tasks = [asked.id for _, asked in await asyncio.gather(*(asking(store) for _ in range(100)))]
        told = await together(processes, decide_all, database_url, tasks)
        decided = [(await store.task(asked)).decided_by for asked in tasks]
        assert told == [decided] * PROCESSES
        assert {row.inbox for row in await store.runs(limit=200)} == {1}


def open_it(url: str) -> str:
    Store.open(url).close()
    return "opened"


async def test_many_processes_may_open_a_fresh_database_at_a_time(database_url: str, processes: ProcessPoolExecutor) -> None:
    assert await together(processes, open_it, database_url) == ["opened"] * PROCESSES


# --- kill -9 ---------------------------------------------------------------------------------------------------------------------

HOLDER = """
import asyncio, sys
from leverframe.store import me
from tests.stored import letting_go, new, opened, step

async def main():
    async with opened(sys.argv[1]) as store:
        first = new({"n": 0}, owner=me())
        await store.start(first)
        run = first.run
        while True:
            commit = step(run, 1, memory={"n": run.seq})
            await store.commit(commit)
            run = commit.run
            print(run.id, run.seq, flush=True)

asyncio.run(main())
"""


async def test_what_a_killed_process_acknowledged_is_there_and_its_run_is_free_at_once(database_url: str) -> None:
    Store.open(database_url).close()
    process = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", HOLDER, database_url],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": "."},
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(50)]
    process.send_signal(signal.SIGKILL)
    lines += process.stdout.readlines()
    process.wait()
    process.stdout.close()
    run_id, acknowledged = next(line.split() for line in reversed(lines) if line.endswith("\n"))
    async with opened(database_url) as store:
        claimed = await claim(store, run_id, me())
        run = claimed.row.run
        assert run.seq in (int(acknowledged), int(acknowledged) + 1)
        assert run.memory == {"n": run.seq - 1}
        assert [line.seq for line in await store.events(run_id)] == list(range(1, run.seq + 1))
        await store.commit(step(run, claimed.row.fence))
