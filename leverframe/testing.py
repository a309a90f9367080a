"""For tests of agents: a clock you set, scripted models, an engine on a database of the test's own, and processes that die.

A pytest plugin. In a project of Leverframe's (a `machines` folder, or `[tool.leverframe]` in pyproject.toml) tests get the fixtures
`clock`, `engine` and `paths`; other projects see nothing of it. Databases and models load when they are first used.

    async def test_a_small_refund_needs_nobody(engine, paths):
        pay = issue_refund.call(RefundOrder(order_id=1042, amount=Decimal(20), reason="broken"))
        agent = engine(refund, llm=Scripted([pay]))
        row = await agent.start(TriggerCommand("refund", {"message": "Order 1042 is broken"}))
        assert (await agent.advance(row.run.id)).run.state == "Refunded"
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Collection, Generator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Never, TypeVar, cast

import pytest

from leverframe.clock import SECOND, Clock, Micros, micros

if TYPE_CHECKING:
    from leverframe.engine import Engine
    from leverframe.llm import LLM, ExamplesLLM, Scripted
    from leverframe.machine import Machine
    from leverframe.replay import Replayed
    from leverframe.run import Event, Run
    from leverframe.state import Memory
    from leverframe.store import Store, Task

__all__ = [
    "Crash",
    "CrashPoints",
    "Engines",
    "ExamplesLLM",
    "FakeClock",
    "Paths",
    "Play",
    "Scripted",
    "check_seen",
    "is_ours",
    "play",
    "prepare_rooms",
    "replays",
]
T = TypeVar("T")


def __getattr__(name: str) -> object:
    if name in ("ExamplesLLM", "Scripted"):  # pytest loads this module in every project: models only where they are wanted
        return cast("object", getattr(import_module("leverframe.llm"), name))
    raise AttributeError(f"module 'leverframe.testing' has no attribute {name!r}")


class FakeClock:
    """A clock that stands still until it is advanced, or until something sleeps: sleeping takes no time, and the clock is later."""

    def __init__(self, start: datetime = datetime(2026, 1, 5, 9, tzinfo=UTC)) -> None:
        self._began = self._now = micros(start - datetime(1970, 1, 1, tzinfo=UTC))

    def now(self) -> Micros:
        return self._now

    def steady(self) -> float:
        return (self._now - self._began) / SECOND

    async def sleep(self, seconds: float) -> None:
        due = self._now + int(seconds * SECOND)
        await asyncio.sleep(0)  # who sleeps at the same time sleeps beside us, not after us
        self._now = max(self._now, due)

    def advance(self, span: timedelta) -> None:
        self._now += micros(span)


class Paths:
    """Which edges the tests took. Pass `watch` to engines, and ask for what is `missing` in the end."""

    def __init__(self) -> None:
        self.taken: set[tuple[str, str, str]] = set()

    def watch(self, run: "Run", line: "Event") -> None:
        state, outcome = line.body.get("state"), line.body.get("outcome")
        if isinstance(state, str) and isinstance(outcome, str):
            self.taken.add((run.machine, state, outcome))

    def missing(self, machine: "Machine[Never]") -> list[str]:
        """Edges nobody took, as `State.outcome`."""
        drawn = [(state.name, outcome) for state, row in machine.edges.items() for outcome in row]
        return [f"{state}.{outcome}" for state, outcome in drawn if (machine.name, state, outcome) not in self.taken]


# ── one run, as its people see it ────────────────────────────────────────────────────────────────────────────────────────────


async def play(engine: "Engine", memory: "Memory") -> "Play":
    """Starts the machine that has this memory, and goes on to where somebody is waited for, or the end.

    run = await play(engine(refund, llm=model), Refund(message="Order 1042 is broken"))
    assert "2 refunds in 90 days" in (await run.task()).content
    await run.approve()
    assert run.state == "Refunded"
    """
    from leverframe.start import TriggerCommand

    (name,) = [machine.name for machine in engine.machines.values() if machine.memory is type(memory)]
    row = await engine.start(TriggerCommand(name, memory))
    return await Play(engine, row.run).go_on()


class Play:
    """A run, and what people say to it; each of them goes on to where the next one is waited for."""

    def __init__(self, engine: "Engine", run: "Run") -> None:
        self.engine, self.run = engine, run

    @property
    def state(self) -> str:
        return self.run.state

    @property
    def status(self) -> str:
        return self.run.status

    async def go_on(self) -> "Play":
        self.run = (await self.engine.advance(self.run.id)).run
        return self

    async def task(self) -> "Task":
        """What is asked of a person now."""
        (task,) = [task for task in await self.engine.store.tasks(self.run.id) if task.kind != "reconcile"]
        return task

    async def approve(self, arguments: object = None, *, by: str = "ann") -> None:
        """Releases the call; with `arguments` edits and releases it in one decision."""
        await self.engine.decide((await self.task()).id, by=by, decision="approved", arguments=arguments)
        await self.go_on()

    async def reject(self, comment: str = "", *, by: str = "ann") -> None:
        await self.engine.decide((await self.task()).id, by=by, decision="rejected", comment=comment)
        await self.go_on()

    async def edit(self, arguments: object, *, by: str = "ann") -> None:
        """Changes the call's arguments; somebody is asked again."""
        await self.engine.decide((await self.task()).id, by=by, decision="edited", arguments=arguments)
        await self.go_on()

    async def answer(self, value: object, *, by: str = "ann") -> None:
        await self.engine.answer((await self.task()).id, by=by, value=value)
        await self.go_on()

    async def settle(self, happened: bool, *, by: str = "ann") -> None:
        """Says whether the call that nobody knows the end of happened."""
        (task,) = [task for task in await self.engine.store.tasks(self.run.id) if task.kind == "reconcile"]
        await self.engine.answer(task.id, by=by, value="happened" if happened else "not_happened")
        await self.go_on()

    async def later(self, span: timedelta) -> None:
        """That much time passes."""
        assert isinstance(self.engine.clock, FakeClock), "only a FakeClock can be set on"
        self.engine.clock.advance(span)
        await self.go_on()

    async def effects(self) -> list[tuple[str, str]]:
        """Each effect's tool and status, in their order."""
        return [(effect.tool, effect.status) for effect in await self.engine.store.effects(self.run.id)]


async def replays(file: Path, machine: "Machine[Never]", *others: "Machine[Never]", llm: "LLM | None" = None) -> "Replayed":
    """Tells the recording in a file (`leverframe export`) to the machine as it is now; `others`: those it delegates to.

    Raises AssertionError where it comes out differently, RecordingError for a file that is none. See `leverframe.replay`.
    """
    from leverframe.recording import read
    from leverframe.replay import replay

    recording = read(await asyncio.to_thread(file.read_text, "utf-8"), what=str(file))
    definition = machine.definition({one.name: one for one in (machine, *others)})
    found = await replay(recording, machine, definition, llm=llm)
    assert found.divergence is None, f"{file}: {found.divergence.words()}"
    return found


# ── processes that die ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Crash(BaseException):
    """The process stops here. No `except Exception` sees it, as none sees a `kill -9`."""


Restart = Literal["here", "elsewhere"]


class CrashPoints:
    """Stops a process wherever a crash could make a difference, starts another one on its database, and lets you compare.

        points = CrashPoints(url, [refund], llm=model, clock=clock)
        points.run(scenario)          # undisturbed; `points.passed` are the points there are
        for number in range(1, len(points.passed) + 1):
            CrashPoints(url, [refund], llm=model, clock=clock, at={number}).run(scenario)

    A point is where a transaction exits (just before the commit, just after it) and where a call of a model, a tool or a `reconcile`
    is entered or left. A scenario is what the world does, as somebody would do it who repeats himself after a crash: it starts runs
    under a key, advances them, decides what is open. It is called with a new engine for each life of the process.

    at          numbers of the points to stop at, from 1, counted through all lives
    restart     `here`: the next process sees that the last one is dead, and takes its runs over at once. `elsewhere`: on another host
                nobody can see that; the clock goes on until the lease is over. Needs a FakeClock
    stop        what stopping is: raising Crash, or `os._exit` in a process of the test's own
    own_loop    as of `Store.open`: with it as commands and `leverframe.blocking` work, without it as a program whose loop serves others

    What this simulates: the process is gone between two Python statements. From the moment it dies nothing of it passes a point any
    more, so nothing is written, released or called by what is left of it; engine, store and event loop are thrown away. What it does
    not: the power going, which is the database's promise, and a kill within a call, of which the provider may have seen half.
    A thread that is inside a tool when the process dies elsewhere runs to its end, as a request does that is on its way.
    """

    def __init__(
        self,
        url: str,
        machines: "Sequence[Machine[Never]]",
        *,
        llm: "LLM | None" = None,
        clock: Clock | None = None,
        at: Collection[int] = (),
        restart: Restart = "here",
        stop: Callable[[], None] | None = None,
        most_lives: int = 20,
        own_loop: bool = False,
    ) -> None:
        self.url, self.machines, self.llm, self.own_loop = url, machines, llm, own_loop
        self.clock: Clock = clock or FakeClock()
        self.at = frozenset(at)
        self.restart: Restart = restart
        self.passed: list[str] = []
        self.lives = 0
        self._stop, self._most_lives = stop, most_lives
        self._dead = False
        self._lock = threading.Lock()

    def run(self, scenario: "Callable[[Engine], Awaitable[T]]") -> T:
        """The scenario until a process came through it. Not from inside an event loop: each life has its own."""
        from leverframe.store.boundary import hooks

        while self.lives < self._most_lives:
            self.lives += 1
            self._dead = False
            hooks.append(self._pass)
            try:
                return asyncio.run(self._live(scenario))
            except Crash:
                self._wait_for_the_lease()
            finally:
                hooks.remove(self._pass)
        raise AssertionError(f"no process came through the scenario: {self.lives} lives, {len(self.passed)} points")

    def _pass(self, point: str) -> None:
        with self._lock:
            if not self._dead:
                self.passed.append(point)
                if len(self.passed) not in self.at:
                    return
                self._dead = True
        if self._stop is not None:
            self._stop()
        raise Crash(point)

    async def _live(self, scenario: "Callable[[Engine], Awaitable[T]]") -> T:
        from leverframe.engine import Engine
        from leverframe.store import Store

        store = Store.open(self.url, self.clock, own_loop=self.own_loop)
        engine = Engine(store, self.machines, llm=self.llm, clock=self.clock)
        if self.restart == "here" and self._stop is None:
            engine.owner = _mortal(engine.owner)
        try:
            done = await scenario(engine)
            await engine.close()
            return done
        except Crash:
            self._dead = True
            raise
        finally:
            store.close()  # only lets go of handles, as the kernel would: a dead process cannot pass the point before a commit

    def _wait_for_the_lease(self) -> None:
        if self.restart == "elsewhere":
            assert isinstance(self.clock, FakeClock), "a lease that runs out needs a FakeClock"
            self.clock.advance(timedelta(minutes=1))


def _mortal(owner: str) -> str:
    """The same process with another start time: to the next life it is one that is gone, and whose number was given away."""
    host, boot, pid, _, nonce = owner.split("|")
    return f"{host}|{boot}|{pid}|0|{nonce}"


# ── pytest ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Engines:
    """Makes engines on the test's database: each is a process of its own, as far as runs can tell."""

    def __init__(self, url: str, clock: FakeClock, paths: Paths) -> None:
        self.url, self.clock, self.paths = url, clock, paths
        self._stores: list[Store] = []
        self._machines: dict[str, Machine[Never]] = {}

    def __call__(self, *machines: "Machine[Never]", llm: "LLM | None" = None, model: str = "") -> "Engine":
        from leverframe.engine import Engine
        from leverframe.store import Store

        for machine in machines:
            prepare_rooms(machine, self.url)
            self._machines[machine.name] = machine
        store = Store.open(self.url, self.clock)
        self._stores.append(store)
        return Engine(store, machines, llm=llm, model=model, clock=self.clock, watch=self.paths.watch)

    def close(self) -> None:
        try:
            if self._stores:
                asyncio.run(check_seen(self._stores[-1], self._machines))
        finally:
            for store in self._stores:
                store.close()


async def check_seen(store: "Store", machines: "Mapping[str, Machine[Never]]") -> int:
    """Makes every question of every run again from the log; gives how many there were.

    Raises AssertionError for one that is not, byte for byte, what was sent.
    """
    from leverframe.context import every

    asked = 0
    for run_id in await store.run_ids(limit=1_000):
        for one in await every(store, machines, run_id):
            asked += one.verified is True
            assert one.verified is not False, (
                f"run {run_id}: what the model saw at event {one.seq} cannot be made again: {one.why}"
            )
    return asked


def prepare_rooms(machine: "Machine[Never]", database_url: str) -> None:
    """Calls `prepare(database_url)` of the tools room beside the machine, as `leverframe` does before a first run."""
    package = machine.memory.__module__.rpartition("states.")[0]
    if find_spec(f"{package}tools" if package else "tools") is not None:
        prepare: Callable[[str], None] | None = getattr(import_module(f"{package}tools"), "prepare", None)
        if prepare is not None:
            prepare(database_url)


class Fixtures:
    @pytest.fixture
    def clock(self) -> FakeClock:
        """A clock that only you, and what sleeps, set on."""
        return FakeClock()

    @pytest.fixture(scope="session")
    @staticmethod  # pytest deprecates session fixtures that are methods
    def paths() -> Paths:
        """The edges that all engines of the session took."""
        return Paths()

    @pytest.fixture
    def engine(self, tmp_path: Path, clock: FakeClock, paths: Paths) -> Generator[Engines]:
        """`engine(machine, …, llm=…)`: an engine on a new SQLite file, with the rooms' tables and providers in place."""
        engines = Engines(f"sqlite:///{tmp_path / 'test.db'}", clock, paths)
        yield engines
        engines.close()


def pytest_configure(config: pytest.Config) -> None:
    if is_ours(config.rootpath):
        config.pluginmanager.register(Fixtures(), "leverframe-fixtures")


def is_ours(root: Path) -> bool:
    """Does a project of Leverframe's live here?"""
    settings = root / "pyproject.toml"
    return (root / "machines").is_dir() or (settings.is_file() and "[tool.leverframe]" in settings.read_text("utf-8"))
