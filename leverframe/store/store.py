"""The store as the engine sees it: what writes goes through the committer, what reads through a few threads."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from sqlalchemy import Engine

from leverframe.canon import Json
from leverframe.clock import Clock, Micros, SystemClock
from leverframe.run import Event
from leverframe.store import commands, database
from leverframe.store.batch import Command, Tx
from leverframe.store.committer import Committer
from leverframe.store.figures import Figures, PromptFigures
from leverframe.store.queries import Queries
from leverframe.store.records import (
    Claimed,
    Commit,
    Committed,
    Decided,
    Deferred,
    Effect,
    Inbound,
    NewRun,
    Pin,
    Row,
    Spending,
    Started,
    Task,
    TaskStatus,
    Want,
)

T = TypeVar("T")
READERS = 4
HISTORIES = 50  # runs whose events are read at a time


class Store:
    """One database. Open it once per process; it may be used from several event loops at a time."""

    def __init__(self, engine: Engine, clock: Clock, patience: float, *, own_loop: bool = False) -> None:
        self.engine = engine
        self.clock = clock
        self._committer = Committer(engine, clock, patience, own_loop=own_loop)
        self._queries = Queries(engine)
        self._figures = Figures(engine)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="leverframe-reader")
        self._saved: set[str] = set()

    @classmethod
    def open(cls, url: str, clock: Clock | None = None, *, patience: float = 5.0, own_loop: bool = False) -> "Store":
        """Connect, and make the tables where there are none. `patience`: seconds to wait for another program's lock.

        `own_loop`: the event loop has nothing to do but these runs, so it may wait for the disk itself while a lone one's step is written,
        which takes a quarter less CPU. A loop that serves others too would keep them waiting.

        Raises DatabaseUnavailable, SchemaTooOld, SchemaTooNew, UnsafeDatabase.
        """
        engine = database.connect(url, patience)
        try:
            database.prepare(engine)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine, clock or SystemClock(), patience, own_loop=own_loop)

    def close(self) -> None:
        """Write what is queued and let go of the database."""
        self._committer.close()
        self._readers.shutdown()
        self.engine.dispose()

    @property
    def transactions(self) -> int:
        """How many the committer has begun: with the number of steps, how well they share."""
        return self._committer.batches

    # --- steps

    async def start(self, new: NewRun) -> Started:
        """Start a run, exactly one per (tenant, machine, start key). Raises KeyConflict for another `start_hash`."""
        if new.start_key is not None:
            commands.word("start key", new.start_key)
        started: Started = await self._committer.submit(new)
        return started

    async def commit(self, step: Commit | Deferred, *, alone: bool = False) -> Committed:
        """Write a step; returns when it is safe. Raises Lost if the fence, the log's end or the inbox is not what it says, Overdrawn.

        `alone`: this process holds no other run whose step could be written with it.
        """
        committed: Committed = await self._committer.submit(step, alone=alone)
        return committed

    # --- holding a run

    async def claim(self, run_id: str, owner: str, now: Micros, lease_until: Micros, *, alone: bool = True) -> Claimed | None:
        """The run, unless somebody else holds it. Our own owner takes it over from itself: the fence goes up.

        Claims without a step between them are counted; past SUSPECT only those that say the process holds nothing else (`alone`).
        """
        return await self._do((run_id,), lambda tx: commands.claim(tx, run_id, owner, now, lease_until, alone))

    async def claim_due(
        self, owner: str, now: Micros, lease_until: Micros, limit: int = 100, *, suspects: bool = False
    ) -> list[Claimed]:
        """Runs with `wake_at` up to now that nobody alive holds, longest due first; never one to two owners.

        Either those that were claimed SUSPECT times without a step, or the others. Take a suspect when nothing else is in hand.
        """
        return await self._do((), lambda tx: commands.claim_due(tx, owner, now, lease_until, limit, suspects))

    async def heartbeat(self, held: Sequence[tuple[str, int]], lease_until: Micros) -> dict[str, Want | None]:
        """Extend the leases of (run, fence); gives what is wanted of each run still held. One that is missing was lost."""
        return await self._do(tuple(run_id for run_id, _ in held), lambda tx: commands.heartbeat(tx, held, lease_until))

    async def release(self, run_id: str, fence: int, wake_at: Micros | None, inbox_seen: int) -> None:
        """Give a run back without a step: due at `wake_at`, or at once if its inbox is not what you saw. Raises Lost."""
        await self._do((run_id,), lambda tx: commands.release(tx, run_id, fence, wake_at, inbox_seen))

    async def want(self, run_id: str, what: Want, by: str, now: Micros) -> None:
        """Ask the holder of a run to pause or cancel it. Raises UnknownRun, RunOver, AlreadyPaused."""
        await self._do((run_id,), lambda tx: commands.want(tx, run_id, what, by, now))

    # --- people and the world outside

    async def decide(self, task_id: str, *, by: str, answer: Json, via: str, now: Micros) -> Decided:
        """Decide a task and wake its run, in one transaction. Raises UnknownTask, AlreadyDecided, TaskGone."""
        run_id = (await self.task(task_id)).run_id
        return await self._do((run_id,), lambda tx: commands.decide(tx, task_id, run_id, by, answer, via, now))

    async def signal(self, run_id: str, *, source: str, key: str, kind: str, body: Json, now: Micros) -> bool:
        """Put something into a run's inbox, once per (source, key); True if new. Raises UnknownRun, KeyConflict, RunOver."""
        arrived = Inbound(commands.word("source", source), commands.word("key", key), run_id, now, kind, body)
        return await self._do((run_id,), lambda tx: commands.signal(tx, arrived))

    async def save_definition(self, hash_: str, name: str, body: str) -> None:
        """Keep a definition, once per hash; before its first run starts."""
        if hash_ not in self._saved:
            await self._do((), lambda tx: commands.save_definition(tx, hash_, name, body))
            self._saved.add(hash_)

    async def pin(self, prompt: str, variant: str | None, *, by: str, reason: str = "") -> Pin:
        """Every run that starts from now on is told this variant; None: by weight again. Kept for good, with who and why. Raises NotPinned."""
        commands.word("prompt", prompt)
        return await self._do((), lambda tx: commands.pin(tx, prompt, variant, by, reason))

    # --- reading

    async def pins(self, prompts: Sequence[str]) -> dict[str, str]:
        """The variants that are pinned now, by prompt."""
        return await self._read(lambda: self._queries.pins(prompts))

    async def pin_history(self, prompt: str | None = None, limit: int = 100) -> list[Pin]:
        """Who pinned what, newest first."""
        return await self._read(lambda: self._queries.pin_history(prompt, limit))

    async def load(self, run_id: str) -> Row:
        """Raises UnknownRun."""
        return await self._read(lambda: self._queries.load(run_id))

    async def load_all(self, run_ids: Sequence[str]) -> list[Row]:
        """Those of them that there are, in the order of the ids."""
        return await self._read(lambda: self._queries.load_all(run_ids))

    async def children(self, run_id: str) -> list[Row]:
        """The child runs of a run that are not over."""
        return await self._read(lambda: self._queries.children(run_id))

    async def keyed(self, start_key: str) -> list[str]:
        """The ids of the runs that were started under this key, by whatever machine and tenant; at most 100."""
        return await self._read(lambda: self._queries.keyed(start_key))

    async def resolve(self, start: str) -> str:
        """The id of the one run that begins so; six characters or more. Raises UnknownRun."""
        return await self._read(lambda: self._queries.resolve(start))

    async def resolve_task(self, start: str) -> str:
        """The id of the one task that begins so; six characters or more. Raises UnknownTask."""
        return await self._read(lambda: self._queries.resolve_task(start))

    async def events(self, run_id: str, after: int = 0, limit: int | None = None) -> list[Event]:
        return await self._read(lambda: self._queries.events(run_id, after, limit))

    async def line(self, run_id: str, seq: int) -> Event | None:
        """One event of a run."""
        return next(iter(await self.events(run_id, seq - 1, 1)), None)

    async def history(self, machine: str, since: Micros) -> AsyncIterator[tuple[str, Event]]:
        """The events of every run of a machine that started since, each run's together and in order; read a few runs at a time."""
        after: tuple[Micros, str] | None = None
        while page := await self._read(partial(self._queries.started, machine, since, after, HISTORIES)):
            after = page[-1]
            for run_id, event in await self._read(partial(self._queries.histories, [run_id for _, run_id in page])):
                yield run_id, event

    async def prompt_figures(self, since: Micros) -> PromptFigures:
        """What the runs that started since say of prompts; counted by the database."""
        return await self._read(lambda: self._figures.prompts(since))

    async def first_calls(self, machine: str, since: Micros) -> list[tuple[str, str | None, int]]:
        """State, tool (None: a reply) and runs: how the first question to a model was answered in the runs of a machine since."""
        rows = await self._read(lambda: self._figures.first_calls(machine, since))
        return [(row["state"], row["tool"], row["runs"]) for row in rows]

    async def effects(self, run_id: str) -> list[Effect]:
        return await self._read(lambda: self._queries.effects(run_id))

    async def tasks(
        self, run_id: str | None = None, status: TaskStatus | None = "open", to: str | None = None, limit: int = 100
    ) -> list[Task]:
        """Oldest first. `status` None: all."""
        return await self._read(lambda: self._queries.tasks(run_id, status, to, limit))

    async def count_tasks(self, status: TaskStatus | None = "open", to: str | None = None) -> int:
        return await self._read(lambda: self._queries.count_tasks(status, to))

    async def task(self, task_id: str) -> Task:
        """Raises UnknownTask."""
        return await self._read(lambda: self._queries.task(task_id))

    async def runs(
        self,
        machine: str | None = None,
        status: str | None = None,
        parent: str | None = None,
        before: tuple[Micros, str] | None = None,
        limit: int = 100,
    ) -> list[Row]:
        """Newest first. `before`: `(created_at, id)` of the last one on the page before.

        `running` are those that a living process holds, `ready` those that have something to do and are not.
        """
        now = self.clock.now()
        return await self._read(lambda: self._queries.runs(machine, status, parent, before, limit, now))

    async def count_runs(self, machine: str | None = None, status: str | None = None) -> int:
        """How many `runs` would give in all."""
        now = self.clock.now()
        return await self._read(lambda: self._queries.count_runs(machine, status, now))

    async def run_ids(self, after: str = "", limit: int = 500) -> list[str]:
        """By id, from the one after; reads no more of a run, so that a damaged one hides no other."""
        return await self._read(lambda: self._queries.run_ids(after, limit))

    async def spending(self, machine: str | None = None, *, since: str = "") -> list[Spending]:
        """What machines with daily limits used up, by machine, the newest day first; `since`: a day of UTC, `2026-11-21`."""
        return await self._read(lambda: self._queries.spending(machine, since))

    async def machines(self) -> list[str]:
        """The names of all machines that ever stored a definition here."""
        return await self._read(self._queries.machines)

    async def unfinished(self, machine: str) -> AsyncIterator[Row]:
        """Every run of a machine that is not over, by their ids; read some hundreds at a time."""
        after = ""
        while page := await self._read(partial(self._queries.unfinished, machine, after)):
            after = page[-1].run.id
            for row in page:
                yield row

    async def inbound(self, run_id: str) -> list[Inbound]:
        """What waits in a run's inbox, oldest first."""
        return await self._read(lambda: self._queries.inbound(run_id))

    async def resolve_definition(self, start: str, name: str) -> str:
        """The hash of the one definition of that machine that begins so; six characters or more. Raises UnknownDefinition."""
        return await self._read(lambda: self._queries.resolve_definition(start, name))

    async def definition(self, hash_: str) -> str:
        """Its canonical text. Raises UnknownDefinition."""
        return await self._read(lambda: self._queries.definition(hash_))

    async def next_wake(self, now: Micros) -> tuple[Micros | None, Micros | None]:
        """When the next run is due that nobody holds, and when the first lease runs out of those that are held; None without any."""
        return await self._read(lambda: self._queries.next_wake(now))

    async def suspect_due(self, now: Micros) -> bool:
        """Is there a run under suspicion that is due, and that nobody alive holds?"""
        return await self._read(lambda: self._queries.suspect_due(now))

    async def _do(self, locks: tuple[str, ...], do: Callable[[Tx], T]) -> T:
        result: T = await self._committer.submit(Command(locks, do))
        return result

    async def _read(self, question: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, question)
