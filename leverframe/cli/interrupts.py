"""Ctrl-C: the first one lets what is in hand come to its commit, and says what that is; the second one leaves at once.

A call that is cut off is in doubt, one that is waited for is recorded: so waiting is what the first one does. The handler is Python's
own, not the loop's: it speaks at once also while code of the rooms keeps the loop busy. It writes past the buffers, which it may have
interrupted in the middle of a line.
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, TypeVar

from leverframe.cli.words import line
from leverframe.clock import SystemClock
from leverframe.run import Event, Run

if TYPE_CHECKING:
    from leverframe.engine import Engine

T = TypeVar("T")


class _Clock(SystemClock):
    """Knows who only waits for time to pass: that is nothing in hand, and ends with the first Ctrl-C."""

    def __init__(self) -> None:
        self.stopped = False
        self._sleeping: set[asyncio.Task[object]] = set()

    async def sleep(self, seconds: float) -> None:
        task = asyncio.current_task()
        if task is None:
            await super().sleep(seconds)
            return
        if self.stopped:
            raise asyncio.CancelledError
        self._sleeping.add(task)
        try:
            await super().sleep(seconds)
        finally:
            self._sleeping.discard(task)

    @property
    def sleeps(self) -> bool:
        return bool(self._sleeping)

    def stop(self) -> None:
        self.stopped = True
        for task in self._sleeping:
            task.cancel()


class Interrupts:
    """Of one command. `watch` is to be the engine's: it passes on what it hears, and notes which states are in hand."""

    def __init__(self, watch: Callable[[Run, Event], None] | None) -> None:
        self.clock = _Clock()
        self.came = False
        self._drains = self._open = False
        self._watch = watch
        self._in_hand: dict[str, str] = {}

    def watch(self, run: Run, event: Event) -> None:
        self._in_hand.pop(run.id, None)
        if run.status == "ready" and event.type != "postponed":
            self._in_hand[run.id] = f"{run.state} of {run.id}"
        if self._watch:
            self._watch(run, event)

    def run(self, inside: Callable[[], Coroutine[None, None, T]]) -> T:
        """As asyncio.run. Raises KeyboardInterrupt where Ctrl-C came; for a worker that is an end like any other."""

        before = signal.getsignal(signal.SIGINT)
        try:
            result = asyncio.run(inside())
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, before)
        if self.came and not self._drains:
            raise KeyboardInterrupt
        return result

    @contextmanager
    def of(self, engine: "Engine") -> Generator[None]:
        loop = asyncio.get_running_loop()

        def stop() -> None:
            engine.draining = True
            loop.call_soon_threadsafe(self.clock.stop)

        with self._handled(stop):
            yield

    @contextmanager
    def of_worker(self) -> Generator[None]:
        """The worker drains on SIGTERM; Ctrl-C is the same with a word about it."""
        self._drains = True
        with self._handled(lambda: signal.raise_signal(signal.SIGTERM)):
            yield

    @contextmanager
    def _handled(self, stop: Callable[[], None]) -> Generator[None]:
        def came(number: int, frame: FrameType | None) -> None:
            if self.came:
                _leave()
            self.came = True
            say(f"interrupted{self._waits_for()}")
            if self._open:
                stop()

        self._open = True
        if threading.current_thread() is threading.main_thread():  # signals are its own
            signal.signal(signal.SIGINT, came)  # stays until the loop has come to its end
        try:
            yield
        finally:
            self._open = False

    def _waits_for(self) -> str:
        if not self._in_hand and self.clock.sleeps:
            return ""
        states = list(self._in_hand.values())
        more = f" and {len(states) - 3} more" if len(states) > 3 else ""
        named = ", ".join(states[:3]) + more or "the step in hand"
        return f"; waits for {named} to end, so that what came of it is recorded. Ctrl-C again leaves at once"


def say(message: str) -> None:
    with suppress(OSError):
        os.write(2, f"{line(message)}\n".encode())


def _leave() -> None:
    """What was committed is safe, and what was not is nobody's: a call in flight is found out about by who goes on with the run."""
    say("left; what was committed is safe")
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # interrupted while it was written to
            stream.flush()
    os._exit(130)
