"""Plain code beside the event loop: every call in a thread of its own.

A shared pool would queue a call behind other runs' slow tools, while its time-out already runs and its "started" mark already says that
it may have happened. And a process that is told to stop would wait for the slowest of them. A thread costs 35 µs more than a pool's.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from threading import Thread
from typing import TypeVar

R = TypeVar("R")


async def in_thread(function: Callable[[], R], name: str) -> R:
    """What the function returns or raises. Cancelled, it runs on unseen: a thread cannot be stopped, only left."""
    done: Future[R] = Future()
    context = copy_context()

    def run() -> None:
        done.set_running_or_notify_cancel()
        try:
            done.set_result(context.run(function))
        except StopIteration as error:  # which no future can carry
            done.set_exception(RuntimeError(f"{name} raised StopIteration: {error}"))
        except BaseException as error:  # noqa: BLE001 (whatever it is, it is the caller's)
            done.set_exception(error)

    Thread(target=run, name=name, daemon=True).start()
    return await asyncio.wrap_future(done)
