"""A house for small machines: a world that their tools touch, engines on one SQLite file, and what tests ask of them."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Literal, Never

from pydantic import BaseModel, Field

from leverframe import (
    Act,
    Approve,
    Ask,
    Back,
    Call,
    Compact,
    Consult,
    Delegate,
    End,
    Engine,
    Fetch,
    Got,
    Key,
    Limits,
    Machine,
    Memory,
    Reply,
    TriggerCommand,
    Wait,
    tool,
)
from leverframe.llm import LLM
from leverframe.run import Event, Run
from leverframe.store import Store, Task
from leverframe.testing import FakeClock
from tests.explorer import Anywhere
from tests.stored import prepared

DAY = timedelta(days=1)


class World:
    """What the tools touch: it remembers every dispatch, and fails as it is told."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.sent: list[tuple[str, str]] = []  # tool, key
        self.faults: list[BaseException] = []
        self.broken = False  # keep fails while it is
        self.reconciles: bool | None = None
        self.aside: Callable[[], Coroutine[None, None, object]] | None = None  # done by another process while a call is built

    def does(self, name: str, key: str = "") -> str:
        self.sent.append((name, key))
        if self.faults:
            raise self.faults.pop(0)
        return f"{name} {len(self.sent)}"

    def meanwhile(self) -> None:
        if aside := self.aside:
            self.aside = None
            other = threading.Thread(target=lambda: asyncio.run(aside()))
            other.start()
            other.join()

    @property
    def keys(self) -> set[str]:
        return {key for _, key in self.sent}


world = World()


class House:
    """Engines on one database; each is a process of its own, as far as runs can tell."""

    def __init__(self, url: str) -> None:
        self.url, self.clock = url, FakeClock()
        self.stores: list[Store] = []

    def __call__(
        self,
        *machines: Machine[Never],
        llm: LLM | None = None,
        patience: float = 90.0,
        watch: Callable[[Run, Event], None] | None = None,
    ) -> Engine:
        self.stores.append(Store.open(self.url, self.clock))
        return Engine(self.stores[-1], machines, llm=llm, clock=self.clock, patience=patience, watch=watch)


@contextmanager
def built(folder: Path) -> Generator[House]:
    """A new house on a database in the folder, in a world that has seen nothing yet."""
    world.clear()
    (folder / "lf.db").write_bytes(prepared())
    found = House(f"sqlite:///{folder / 'lf.db'}")
    yield found
    for store in found.stores:
        store.close()


async def begin(engine: Engine, machine: str, **memory: object) -> Run:
    row = await engine.start(TriggerCommand(machine, memory))
    return (await engine.advance(row.run.id)).run


async def asked(engine: Engine, run: Run, kind: str = "answer") -> Task:
    (task,) = [task for task in await engine.store.tasks(run.id) if task.kind == kind]
    return task


async def answer(engine: Engine, run: Run, value: object, kind: str = "answer") -> Run:
    await engine.answer((await asked(engine, run, kind)).id, by="ann", value=value)
    return (await engine.advance(run.id)).run


async def types(engine: Engine, run: Run) -> list[str]:
    return [line.type for line in await engine.store.events(run.id)]


async def effects(engine: Engine, run: Run) -> list[tuple[str, str, int]]:
    return [(effect.tool, effect.status, effect.attempts) for effect in await engine.store.effects(run.id)]


# ── what all machines share ──────────────────────────────────────────────────────────────────────────────────────────────────


class Box(Memory):
    n: int = 0
    note: str = ""
    items: list[int] = Field(default=[])


class Result(BaseModel):
    n: int


class Done(End[Box]):
    def result(self, memory: Box) -> Result:
        return Result(n=memory.n)


class Failed(End[Box]):
    success = False


class Handled(Reply[Literal["handled"]]):
    note: str


class Person(Consult[Box]):
    to, deadline, replies = "ann", DAY, (Handled,)

    def keep(self, memory: Box, reply: Handled) -> None:
        memory.note = reply.note


class Short(Compact):
    pass


# ── waiting ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Woken(Reply[Literal["woken"]]):
    n: int = 0


class Rung(Reply[Literal["rung"]]):
    pass


class Nap(Wait[Box]):
    deadline, events = DAY, (Woken,)

    def keep(self, memory: Box, event: Woken) -> None:
        if world.broken:
            raise ValueError("keep is broken")
        memory.n += event.n


class Bell(Wait[Box]):
    deadline, events = DAY, (Rung,)


naps = Machine(
    "naps",
    memory=Box,
    edges={Nap: {"woken": Bell, "expired": Failed}, Bell: {"rung": Done, "expired": Failed}},
)


class Sleeper(Delegate[Box, Result]):
    machine, returns, deadline = "naps", Result, DAY

    def give(self, memory: Box) -> Box:
        return Box()


# ── a call that may or may not have happened ─────────────────────────────────────────────────────────────────────────────────


@tool(effect="once", timeout=5)
def post(text: str) -> str:
    """Post it."""
    return world.does("post")


@tool(effect="once", timeout=5, reconcile=lambda key: world.reconciles)
def fax(text: str) -> str:
    """Fax it."""
    return world.does("fax")


@tool(effect="keyed", retries=2)
def charge(key: Key, cents: int) -> str:
    """Charge it."""
    return world.does("charge", key)


class Happened(Reply[Literal["happened"]]):
    pass


class NotHappened(Reply[Literal["not_happened"]]):
    pass


class Post(Act[Box]):
    runs = (post, fax, charge)

    def build(self, memory: Box) -> Call[str]:
        world.meanwhile()
        return {1: fax.call("hello"), 2: charge.call(100)}.get(memory.n, post.call("hello"))

    def keep(self, memory: Box, got: Got) -> None:
        if world.broken:
            raise ValueError("keep is broken")
        memory.note = got.get(post) or got.get(charge) or "faxed"


@tool(effect="read", retries=0)
def look(at: str) -> bool:
    """Was it posted?"""
    world.does("look")
    return True


class Seek(Fetch[Box]):
    runs = (look,)

    def calls(self, memory: Box) -> list[Call[bool]]:
        world.meanwhile()
        return [look.call(self.call.tool_name)]

    def keep(self, memory: Box, got: Got) -> Literal["happened", "not_happened"]:
        return "happened" if got[look] else "not_happened"


class FindOut(Consult[Box]):
    to, deadline, replies = "ann", DAY, (Happened, NotHappened)


errand = Machine(
    "errand",
    memory=Box,
    edges={
        Post: {"ok": Done, "error": Short, "unknown": FindOut},
        FindOut: {"happened": Done, "not_happened": Short, "expired": Failed},
        Short: {"retry": Back, "give_up": Person},
        Person: {"handled": Done, "expired": Failed},
    },
)


# ── approvals ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Stop(Reply[Literal["stop"]]):
    pass


seeker = Machine(
    "seeker",
    memory=Box,
    edges={
        Post: {"ok": Done, "error": Short, "unknown": Seek},
        Seek: {"happened": Done, "not_happened": Short, "error": Short},
        Short: {"retry": Back, "give_up": Person},
        Person: {"handled": Done, "expired": Failed},
    },
)


class Think(Ask[Box]):
    prompt = "desk/think"
    replies = (charge, Stop)


class Sign(Approve[Box]):
    to, deadline = "team lead", DAY


class Pay(Act[Box]):
    runs = (charge,)


def deskwork(limits: Limits | None = None) -> Machine[Box]:
    return Anywhere(
        "desk",
        memory=Box,
        edges={
            Think: {"charge": Sign, "stop": Done, "error": Short},
            Sign: {"approved": Pay, "rejected": Think, "expired": Person},
            Pay: {"ok": Done, "error": Short, "unknown": FindOut},
            FindOut: {"happened": Done, "not_happened": Short, "expired": Failed},
            Short: {"retry": Back, "give_up": Person},
            Person: {"handled": Done, "expired": Failed},
        },
        limits=limits,
    )


desk = deskwork()
