"""A worker: claims the runs that are due, many at a time, and goes on with them; wakes timers and deadlines; drains on SIGTERM.

Any number of workers may share a database. A run is one worker's by its lease; what a dead one held is claimable at once on its host,
and elsewhere when the lease ends.
"""

import asyncio
import signal
from contextlib import suppress

from leverframe.clock import SECOND
from leverframe.engine import Engine
from leverframe.errors import DatabaseUnavailable
from leverframe.held import Held

CONCURRENCY = 200
POLL: float = 0.5
"""Seconds between looks for due runs while there are none; what another process wakes is found within this."""


async def work(engine: Engine, *, until_idle: bool = False, concurrency: int = CONCURRENCY) -> int:
    """Works until SIGTERM or SIGINT, or with `until_idle` until nothing is due or held; gives how many times a run was taken up.

    On a signal no further run is claimed, runs in hand stop after the step they are in, and are given back.
    """
    stop = asyncio.Event()
    _on_signals(engine, stop)
    in_hand: set[asyncio.Task[None]] = set()
    taken = 0
    while not stop.is_set():
        if await _suspected(engine):
            await _alone(engine, stop, in_hand)
            continue
        claimed = await _claim(engine, concurrency - len(in_hand))
        taken += len(claimed)
        for held in claimed:
            task = asyncio.create_task(engine.advance_held(held))
            in_hand.add(task)
            task.add_done_callback(in_hand.discard)
        if claimed and len(in_hand) < concurrency:
            continue
        if until_idle and not in_hand and not claimed and await _idle(engine):
            break
        await _pause(engine, stop, in_hand, POLL if len(in_hand) == concurrency else await _until_due(engine))
    await asyncio.gather(*in_hand, return_exceptions=True)
    return taken


async def _claim(engine: Engine, free: int) -> list[Held]:
    if free <= 0:
        return []
    try:
        return await engine.claim_due(free)
    except DatabaseUnavailable:
        return []  # it comes back, or somebody looks at the database; runs lose nothing meanwhile


async def _suspected(engine: Engine) -> bool:
    try:
        return await engine.store.suspect_due(engine.clock.now())
    except DatabaseUnavailable:
        return False


async def _alone(engine: Engine, stop: asyncio.Event, in_hand: "set[asyncio.Task[None]]") -> None:
    """One step of a run whose holders died again and again, with nothing else in hand: should this process die too, it was that run."""
    engine.draining = True
    await asyncio.gather(*in_hand, return_exceptions=True)
    engine.draining = stop.is_set()
    if stop.is_set():
        return
    try:
        suspects = await engine.claim_due(1, suspects=True)
    except DatabaseUnavailable:
        return
    for held in suspects:
        await engine.advance_held(held, steps=1)


async def _idle(engine: Engine) -> bool:
    """Nothing is due, and nothing held that would be, should its holder die."""
    now = engine.clock.now()
    due, lapse = await engine.store.next_wake(now)
    return lapse is None and (due is None or due > now)


async def _until_due(engine: Engine) -> float:
    """Seconds until another look. What is due and could not be claimed is another's, or came this moment: the longer it has been due,
    the longer it can wait."""
    now = engine.clock.now()
    try:
        found = await engine.store.next_wake(now)
    except DatabaseUnavailable:
        return POLL
    return min([POLL, *(max(0.01, abs(due - now) / SECOND) for due in found if due is not None)])


async def _pause(engine: Engine, stop: asyncio.Event, in_hand: "set[asyncio.Task[None]]", seconds: float) -> None:
    """Until a run is done with, a signal came or the next look is due."""
    # In real time while a call is in hand, whatever the clock: one of tests, where sleeping takes no time, would outrun the leases.
    sleep = asyncio.sleep(seconds) if in_hand else engine.clock.sleep(seconds)
    waits = [asyncio.create_task(stop.wait()), asyncio.create_task(sleep)]
    await asyncio.wait({*waits, *in_hand}, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


def _on_signals(engine: Engine, stop: asyncio.Event) -> None:
    def drain() -> None:
        engine.draining = True
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError, RuntimeError):  # another thread's loop, or Windows: the caller cancels
            loop.add_signal_handler(number, drain)
