"""The thread that writes: it takes what all runs in flight have queued and writes it as one transaction, with one sync.

An event loop hands over what its callbacks asked for once per turn, so 200 runs cost one wake-up and one commit, and a lone run
commits at once, without a timer. A batch that fails is halved until the item that cannot be written is alone.

A loop that has nothing to do but its runs (`own_loop`) writes a lone one's step itself: waking a thread and being woken by it is a
quarter of what a step costs, and there is nobody else to keep waiting for the disk.
"""

import asyncio
import threading
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from leverframe.clock import Clock
from leverframe.errors import DatabaseUnavailable, LeverframeError, StoreError
from leverframe.store.batch import Item, Late, Result, Skipped, Tx, write
from leverframe.store.database import explain, is_full, is_gone, is_worth_repeating, transaction, where
from leverframe.store.records import Deferred
from leverframe.store.statements import statements

LARGEST_BATCH = 512
MOST_IN_FLIGHT = 2048
"""Items of one event loop that are queued or being written. More wait, and so do the runs that bring them."""
LONGEST_PAUSE = 0.02
"""Seconds between two tries for a row that another process has locked."""
MOMENT = 0.001
"""Seconds that the loop waits for the other thread, which has answered and is about to let go of the connection."""

Loop: TypeAlias = asyncio.AbstractEventLoop


@dataclass(slots=True, eq=False)
class Ticket:
    """An item on its way, and who waits for it."""

    item: Item
    loop: Loop
    future: "asyncio.Future[Any]"
    tries: int = 0


class _Outbox:
    """What one event loop has asked for in this turn."""

    def __init__(self) -> None:
        self.room = asyncio.Semaphore(MOST_IN_FLIGHT)
        self.tickets: list[Ticket] = []


class Committer:
    def __init__(self, engine: Engine, clock: Clock, patience: float, *, own_loop: bool = False) -> None:
        self._engine = engine
        self._own_loop = own_loop
        self._clock = clock
        self._most_tries = 10 + int(patience / LONGEST_PAUSE)
        self._queue: SimpleQueue[list[Ticket] | None] = SimpleQueue()
        self._outboxes: WeakKeyDictionary[Loop, _Outbox] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._writing = threading.Lock()  # held by whoever uses the connection
        self._thread: threading.Thread | None = None
        self._closed = False
        self._crash: BaseException | None = None
        self._connection: Connection | None = None
        self._file = _file(engine)
        self._inode = _identity(self._file) if self._file else None
        self.batches = 0

    # --- on the event loops

    async def submit(self, item: Item, *, alone: bool = False) -> Any:
        """Have the item written; gives its result when it is safe on disk, or raises why it was not written.

        `alone`: nobody else has anything to write, so there is no reason to wait for what others ask for in this turn of the loop.
        """
        loop = asyncio.get_running_loop()
        outbox = self._outboxes.get(loop) or self._open(loop)
        async with outbox.room:
            ticket = Ticket(item, loop, loop.create_future())
            if alone and self._own_loop:
                await asyncio.sleep(0)  # heartbeats and signals have their turn: where it is written here, nothing else waits
                if self._written_here(ticket):
                    return await ticket.future
            outbox.tickets.append(ticket)
            if alone:
                self._hand_over(outbox)
            elif len(outbox.tickets) == 1:
                loop.call_soon(self._hand_over, outbox)
            return await ticket.future

    def _written_here(self, ticket: Ticket) -> bool:
        """Writes it on the thread of the loop. False: it is for the other thread, which is writing, or has to try again, or was stopped.

        A `local` tool is user code that may take its time, so it never runs here.
        """
        if isinstance(ticket.item, Deferred) or not self._writing.acquire(timeout=MOMENT):
            return False
        try:
            return not (self._closed or self._crash or self._write([ticket]))
        except BaseException as crash:  # noqa: BLE001
            self._die(crash, [ticket])
            return True
        finally:
            self._writing.release()

    def _open(self, loop: Loop) -> _Outbox:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="leverframe-committer", daemon=True)
                self._thread.start()
            return self._outboxes.setdefault(loop, _Outbox())

    def _hand_over(self, outbox: _Outbox) -> None:
        tickets, outbox.tickets = outbox.tickets, []
        with self._lock:
            refused = StoreError("the store is closed; open it again") if self._closed else self._crash
            if refused is None:
                self._queue.put(tickets)
        if refused is not None:
            _answer(tickets, [refused] * len(tickets))

    def close(self) -> None:
        """Write what is queued, then end."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
            thread = self._thread
        if thread is not None:
            thread.join()

    # --- on the thread

    def _work(self) -> None:
        backlog: list[Ticket] = []
        while True:
            closing = self._take(backlog)
            batch, backlog = backlog[:LARGEST_BATCH], backlog[LARGEST_BATCH:]
            if batch:
                try:
                    with self._writing:
                        backlog = self._write(batch) + backlog
                except BaseException as crash:  # noqa: BLE001
                    self._die(crash, batch + backlog)
                    return
            elif closing:
                break
            if closing:
                self._queue.put(None)
        with self._writing:
            self._drop()

    def _take(self, backlog: list[Ticket]) -> bool:
        """Everything that is queued, waiting for something if there is nothing to do; True once it is time to end."""
        tries = max((ticket.tries for ticket in backlog), default=0)
        fresh = any(ticket.tries == 0 for ticket in backlog)
        pause = None if not backlog else 0.0 if fresh else min(LONGEST_PAUSE, 0.0005 * 2 ** min(tries, 8))
        with suppress(Empty):
            while True:
                tickets = self._queue.get(timeout=pause) if pause != 0.0 else self._queue.get_nowait()
                if tickets is None:
                    return True
                backlog.extend(tickets)
                pause = 0.0
        return False

    def _write(self, batch: list[Ticket], *, repeated: bool = False) -> list[Ticket]:
        """Write a batch and answer it; gives what wants to be in the next one."""
        try:
            results = self._transact([ticket.item for ticket in batch])
        except Exception as error:  # noqa: BLE001
            return self._recover(batch, error, repeated)
        done: list[Ticket] = []
        answers: list[Result] = []
        again: list[Ticket] = []
        for ticket, result in zip(batch, results, strict=True):
            if isinstance(result, Skipped):
                ticket.tries += not isinstance(result, Late)
                if ticket.tries < self._most_tries:
                    again.append(ticket)
                    continue
            done.append(ticket)
            answers.append(self._tired() if isinstance(result, Skipped) else result)
        _answer(done, answers)
        return again

    def _tired(self) -> DatabaseUnavailable:
        return DatabaseUnavailable(f"{where(self._engine.url)}: the run is locked by another program; end it or try again")

    def _transact(self, items: Sequence[Item]) -> list[Result]:
        if self._file is not None and _identity(self._file) != self._inode:
            raise DatabaseUnavailable(
                f"{where(self._engine.url)} was deleted or replaced while in use; put it back and start again"
            )
        if self._connection is None:
            self._connection = self._engine.connect()
        self.batches += 1
        sql = statements(self._engine.dialect)  # not before the first write: a command that reads does without
        with transaction(self._connection), Tx(self._connection, sql, self._clock) as tx:
            return write(tx, items)

    def _recover(self, batch: list[Ticket], error: Exception, repeated: bool) -> list[Ticket]:
        """After a failed transaction: the same once more, or its halves, or an answer that says what is wrong."""
        gone, alone = is_gone(self._engine, error), len(batch) == 1
        ours = error if isinstance(error, LeverframeError) else explain(self._engine, error)
        for_all = isinstance(ours, DatabaseUnavailable) and not is_full(error)
        if gone or for_all:
            self._drop()
        if not repeated and (gone or (alone and is_worth_repeating(error))):
            return self._write(batch, repeated=True)
        if alone and isinstance(error, IntegrityError) and isinstance(item := batch[0].item, Deferred):
            batch[0].item = item.fail(error)  # the tool wrote what the database refuses at the end only
            return self._write(batch)
        if for_all or alone:
            _answer(batch, [ours or error] if alone else [DatabaseUnavailable(str(ours)) for _ in batch])
            return []
        half = len(batch) // 2
        return self._write(batch[:half]) + self._write(batch[half:])

    def _drop(self) -> None:
        """Give the connection up; the next transaction opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.invalidate()
            with suppress(Exception):
                connection.close()

    def _die(self, crash: BaseException, tickets: list[Ticket]) -> None:
        """A test stopped the process here: nothing more is written, and nobody is told anything else."""
        self._drop()
        with self._lock:
            self._crash = crash
            with suppress(Empty):
                while True:
                    tickets = tickets + (self._queue.get_nowait() or [])
        _answer(tickets, [crash] * len(tickets))


def _answer(tickets: Sequence[Ticket], results: Sequence[Result]) -> None:
    """Resolve the futures, with one call per event loop."""
    by_loop: dict[Loop, list[tuple[asyncio.Future[Any], Result]]] = defaultdict(list)
    for ticket, result in zip(tickets, results, strict=True):
        by_loop[ticket.loop].append((ticket.future, result))
    for loop, answers in by_loop.items():
        if _is_ours(loop):
            _settle(answers)
            continue
        with suppress(RuntimeError):  # that loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_settle, answers)


def _is_ours(loop: Loop) -> bool:
    """Are we on the thread of that loop? Then it need not be woken, which costs two calls of the system."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _settle(answers: list[tuple["asyncio.Future[Any]", Result]]) -> None:
    for future, result in answers:
        if future.done():
            continue
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)


def _file(engine: Engine) -> Path | None:
    """Where a SQLite database is; None for a server."""
    if engine.dialect.name != "sqlite":
        return None
    return Path(str(engine.url.database).removeprefix("file:").partition("?")[0])


def _identity(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError:
        return (0, 0)
    return (found.st_dev, found.st_ino)
