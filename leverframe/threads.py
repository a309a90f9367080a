"""Other people's code: what is plain runs beside the event loop, every call in a thread of its own, and nothing of it ends the process.

A shared pool would queue a call behind other runs' slow tools, while its time-out already runs and its "started" mark already says that
it may have happened. And a process that is told to stop would wait for the slowest of them. A thread costs 35 µs more than a pool's.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from threading import Thread
from types import CoroutineType, coroutine
from typing import TypeVar, cast

R = TypeVar("R")
_ENDING = (SystemExit, GeneratorExit, StopIteration, asyncio.CancelledError)


async def in_thread(function: Callable[[], R], name: str) -> R:
    """What the function returns or raises. Cancelled, it runs on unseen: a thread cannot be stopped, only left."""
    done: Future[R] = Future()
    context = copy_context()

    def run() -> None:
        done.set_running_or_notify_cancel()
        try:
            with Contained():
                done.set_result(context.run(function))
        except BaseException as error:  # noqa: BLE001 (whatever it is, it is the caller's)
            done.set_exception(error)

    Thread(target=run, name=name, daemon=True).start()
    return await asyncio.wrap_future(done)


async def within(seconds: float, work: Awaitable[R]) -> R:
    """What it gives. Raises TimeoutError where it waits longer than that.

    The timer is set when it first waits: most time-outs are of what never does, and setting one costs more than such work itself.
    """
    begun = cast("Coroutine[object, object, R]", work) if isinstance(work, CoroutineType) else _awaiting(work)
    try:
        waits_for = begun.send(None)
    except StopIteration as ended:
        return cast("R", ended.value)
    async with asyncio.timeout(seconds):
        return await _resumed(begun, waits_for)


async def _awaiting(work: Awaitable[R]) -> R:
    return await work


@coroutine
def _resumed(work: Coroutine[object, object, R], waits_for: object) -> Generator[object, object, R]:
    """Goes on with what has begun: as `await` does, but for its first step."""
    while True:
        try:
            given = yield waits_for
        except BaseException as error:  # noqa: BLE001 (whatever it is, it is the coroutine's)
            step = partial(work.throw, error)
        else:
            step = partial(work.send, given)
        try:
            waits_for = step()
        except StopIteration as ended:
            return cast("R", ended.value)


class Contained:
    """Around other people's code: what would end the process, and all the runs it holds, or look as if somebody had cancelled a run, is an
    error like any other. Raises RuntimeError."""

    __slots__ = ()

    def __enter__(self) -> None: ...

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if not isinstance(error, _ENDING) or (isinstance(error, asyncio.CancelledError) and _is_cancelled()):
            return
        said = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise RuntimeError(said) from None  # one that has a StopIteration for its cause would become that again


def _is_cancelled() -> bool:
    """Is it us who cancel, as a time-out does?"""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop in this thread
        return False
    return task is not None and task.cancelling() > 0
