"""What a Delegate gives is other people's code: whatever comes of it, the run needs a person, and goes on once the code is right."""

from collections.abc import Callable, Sequence
from typing import Literal, cast

import pytest
from pydantic import field_validator

from leverframe import Back, Delegate, End, Machine, Memory, TriggerCommand, Work
from leverframe.errors import LeverframeError
from leverframe.llm import Scripted
from tests.house import DAY, Box, Done, Failed, House, Person, Result, Short, asked, begin, charge, desk


class Sum(Memory):
    n: int = 0

    @field_validator("n")
    @classmethod
    def not_negative(cls, n: int) -> int:
        if n < 0:
            raise ValueError("it is negative")
        return n


class Add(Work[Sum]):
    def run(self, memory: Sum) -> Literal["added"]:
        return "added"


class Added(End[Sum]):
    def result(self, memory: Sum) -> Result:
        return Result(n=memory.n)


adder = Machine("adder", memory=Sum, edges={Add: {"added": Added}})


def right(memory: Box) -> list[Sum]:
    return [Sum(n=n) for n in range(memory.n)]


def nothing(memory: Box) -> None:
    """As of somebody who forgot to return."""


def numbers(memory: Box) -> list[int]:
    return [3]


def boxes(memory: Box) -> list[Box]:
    return [Box(n=1)]


def too_long(memory: Box) -> list[Sum]:
    return [Sum(n=10**400)]


def one(memory: Box) -> list[Sum]:
    return [Sum()]


def sign_lost(memory: Box) -> list[Sum]:
    return [Sum(), Sum.model_construct(None, n=-1)]


given: list[Callable[[Box], object]] = []
"""What the next calls of `give` do; `right` once none is left."""


class Share(Delegate[Box, Result]):
    machine, returns, deadline, concurrency = "adder", Result, DAY, 2

    def give(self, memory: Box) -> list[Sum]:
        return cast("list[Sum]", (given.pop(0) if given else right)(memory))

    def keep(self, memory: Box, results: Sequence[Result | None]) -> None:
        memory.items = [result.n for result in results if result]


sharing = Machine(
    "sharing",
    memory=Box,
    edges={
        Share: {"done": Done, "error": Short, "expired": Failed},
        Short: {"retry": Back, "give_up": Person},
        Person: {"handled": Done, "expired": Failed},
    },
)


@pytest.mark.parametrize(
    ("gives", "said"),
    [
        (nothing, "Share.give raised TypeError: 'NoneType' object is not iterable"),
        (numbers, "Share.give gave an instance of int; give the Memory of adder, or a list of them"),
        (boxes, "Share.give: input of adder: note: Extra inputs"),
        (too_long, "Share.give: input.n: an integer of more than 308 digits"),
        (sign_lost, "Share.give: input of adder: n: Value error, it is negative"),
    ],
)
async def test_what_cannot_be_given_starts_no_child_and_needs_a_person(
    house: House, gives: Callable[[Box], object], said: str
) -> None:
    engine = house(sharing, adder)
    given[:] = [gives]
    run = await begin(engine, "sharing", n=3)
    assert (run.state, run.status, len(await engine.store.runs())) == ("Share", "attention", 1)
    assert (run.reason or "").startswith(said)
    await engine.retry(run.id)
    run = (await engine.advance(run.id)).run
    assert (run.state, run.memory["items"]) == ("Done", [0, 1, 2])
    await engine.verify(run.id)


@pytest.mark.parametrize("ended", [0, 1, 2])
async def test_children_that_could_not_be_started_start_once_the_code_is_right(house: House, ended: int) -> None:
    first, engine = house(sharing, adder), house(sharing, adder)
    row = await first.start(TriggerCommand("sharing", Box(n=5)))
    await first.step(row.run.id)
    for child in (await first.store.runs(machine="adder"))[:ended]:
        await first.advance(child.run.id)
    given[:] = [one]  # as another process has it, with other code
    run = (await engine.advance(row.run.id)).run
    assert (run.status, len(await engine.store.runs(machine="adder")) < 5) == ("attention", True)
    assert "Share.give gave 5 inputs and now 1" in (run.reason or "")
    await engine.retry(run.id)
    run = (await engine.advance(run.id)).run
    assert (run.state, run.memory["items"]) == ("Done", [0, 1, 2, 3, 4])
    assert len(await engine.store.runs(machine="adder")) == 5
    await engine.verify(run.id)


async def test_no_children_are_soon_over(house: House) -> None:
    run = await begin(house(sharing, adder), "sharing", n=0)
    assert (run.state, run.memory["items"]) == ("Done", [])


async def test_who_edits_a_call_whose_tool_is_gone_is_told_so(house: House) -> None:
    engine = house(desk, llm=Scripted([charge.call(100)]))
    task = await asked(engine, await begin(engine, "desk"), "approve")
    bare = Machine("desk", memory=Box, edges={Person: {"handled": Done, "expired": Failed}})
    later = house(bare)
    with pytest.raises(LeverframeError, match="tool charge is not in machine desk any more"):
        await later.decide(task.id, by="ann", decision="approved", arguments={"cents": 3})
    assert (await later.store.task(task.id)).status == "open"
