"""Other people's code that leaves by a way of its own: `sys.exit`, a cancellation nobody asked for, a `next` that finds nothing."""

import asyncio
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Literal, Never, cast

import pytest
from sqlmodel import Session

from leverframe import Act, Back, Call, Machine, TriggerCommand, Work, tool
from leverframe.testing import Crash
from leverframe.worker import work
from tests.house import Box, Done, Failed, FindOut, House, Person, Short, begin


def cancelled() -> Never:
    raise asyncio.CancelledError


def closed() -> Never:
    raise GeneratorExit


WAYS: dict[str, Callable[[], object]] = {
    "SystemExit": lambda: sys.exit(3),
    "CancelledError": cancelled,
    "GeneratorExit": closed,
    "StopIteration": lambda: next(iter(())),
}


@tool(effect="read", retries=0)
def reads(way: str) -> str:
    """In a thread."""
    return str(WAYS[way]())


@tool(effect="read", retries=0)
async def awaits(way: str) -> str:
    """On the event loop."""
    return str(WAYS[way]())


@tool(effect="local")
def books(session: Session, way: str) -> str:
    """On the committer's thread."""
    return str(WAYS[way]())


@tool(effect="once")
def sends(way: str) -> str:
    """Nobody knows whether it was sent."""
    return str(WAYS[way]())


class Which(Work[Box]):
    def run(self, memory: Box) -> Literal["read", "await", "book", "send", "think"]:
        ways: list[Literal["read", "await", "book", "send", "think"]] = ["read", "await", "book", "send", "think"]
        return ways[memory.n]


class Read(Act[Box]):
    runs = (reads,)

    def build(self, memory: Box) -> Call[str]:
        return reads.call(memory.note)


class Await(Act[Box]):
    runs = (awaits,)

    def build(self, memory: Box) -> Call[str]:
        return awaits.call(memory.note)


class Book(Act[Box]):
    runs = (books,)

    def build(self, memory: Box) -> Call[str]:
        return books.call(memory.note)


class Send(Act[Box]):
    runs = (sends,)

    def build(self, memory: Box) -> Call[str]:
        return sends.call(memory.note)


class Think(Work[Box]):
    def run(self, memory: Box) -> Literal["done"]:
        WAYS[memory.note]()
        return "done"


strays = Machine(
    "strays",
    memory=Box,
    edges={
        Which: {"read": Read, "await": Await, "book": Book, "send": Send, "think": Think},
        Read: {"ok": Done, "error": Short},
        Await: {"ok": Done, "error": Short},
        Book: {"ok": Done, "error": Short},
        Send: {"ok": Done, "error": Short, "unknown": FindOut},
        FindOut: {"happened": Done, "not_happened": Short, "expired": Failed},
        Think: {"done": Done},
        Short: {"retry": Back, "give_up": Person},
        Person: {"handled": Done, "expired": Failed},
    },
)


@pytest.mark.parametrize("way", WAYS)
async def test_whatever_way_it_leaves_by_that_run_ends_as_drawn_and_the_others_go_on(house: House, way: str) -> None:
    engine = house(strays)
    ended = {0: "Person", 1: "Person", 2: "Person", 3: "FindOut", 4: "Think"}
    runs = {n: (await engine.start(TriggerCommand("strays", {"n": n, "note": way}))).run.id for n in ended}
    await work(engine, until_idle=True)
    rows = {n: await engine.store.load(run) for n, run in runs.items()}
    assert {n: row.run.state for n, row in rows.items()} == ended
    assert {row.run.status for n, row in rows.items() if n != 4} == {"waiting"}
    assert rows[4].run.status == "attention"
    assert way in str(rows[4].run.reason)
    assert all(way in str((rows[n].run.error or {})["cause"]) for n in (0, 1, 2))


def found(key: str) -> bool:
    """Says neither True nor False, whatever it promises."""
    return cast("bool", {"sent": False})


@tool(effect="once", timeout=5, reconcile=found)
def wires(text: str) -> str:
    """Wire it."""
    raise Crash


class Wire(Act[Box]):
    runs = (wires,)

    def build(self, memory: Box) -> Call[str]:
        return wires.call("hello")


wiring = Machine(
    "wiring",
    memory=Box,
    edges={
        Wire: {"ok": Done, "error": Short, "unknown": FindOut},
        FindOut: {"happened": Done, "not_happened": Short, "expired": Failed},
        Short: {"retry": Back, "give_up": Person},
        Person: {"handled": Done, "expired": Failed},
    },
)


async def test_a_reconcile_that_says_neither_yes_nor_no_has_said_nothing(house: House) -> None:
    with pytest.raises(Crash):
        await begin(house(wiring), "wiring")
    (row,) = await (engine := house(wiring)).store.runs()
    house.clock.advance(timedelta(minutes=1))
    row = await engine.advance(row.run.id)
    assert (row.run.state, row.run.status) == ("FindOut", "waiting")
    said = [line.body.get("why") for line in await engine.store.events(row.run.id) if line.type == "acted"]
    assert said == ["reconcile gave an instance of dict, not True, False or None"]
