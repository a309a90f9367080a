"""What is validated a second time: a normalising validator refuses what it gave itself, and a deploy may bring one that refuses what is
recorded. Nothing is lost or doubted by it, and no run is bricked.
"""

from typing import Annotated, Literal

import pytest
from pydantic import AfterValidator

from leverframe import Act, Ask, Call, Consult, Engine, Fetch, Got, Key, Machine, Reply, Wait, tool
from leverframe.errors import InvalidAnswer
from leverframe.llm import Scripted
from leverframe.recording import record
from leverframe.replay import replay
from leverframe.run import Run
from tests.explorer import Anywhere
from tests.house import DAY, Bell, Box, Done, Failed, FindOut, House, Person, Rung, Short, asked, begin, effects, types, world


class Deployed:
    """What the code is by now. `strict`: it has a validator that it had not."""

    strict = False
    bug = False


deployed = Deployed()


@pytest.fixture(autouse=True)
def as_it_was() -> None:
    deployed.strict = deployed.bug = False


def bare(number: str) -> str:
    if not number.startswith("#"):
        raise ValueError("begins with #")
    return number.removeprefix("#")


def short(number: str) -> str:
    if deployed.bug:
        raise KeyError(number)
    if deployed.strict and len(number) > 3:
        raise ValueError("has at most 3 characters")
    return number


Bare = Annotated[str, AfterValidator(bare)]
Checked = Annotated[str, AfterValidator(short)]


class Number(Reply[Literal["number"]]):
    number: Bare
    note: str | None = None


class Loose(Reply[Literal["number"]]):
    number: Checked


def keep(memory: Box, number: str) -> None:
    if world.broken:
        raise ValueError("keep is broken")
    memory.note = number


class Customer(Consult[Box]):
    to, deadline, replies = "ann", DAY, (Number,)

    def keep(self, memory: Box, reply: Number) -> None:
        keep(memory, reply.number)


class Shop(Wait[Box]):
    deadline, events = DAY, (Number,)

    def keep(self, memory: Box, event: Number) -> None:
        keep(memory, event.number)


class Clerk(Ask[Box]):
    prompt, replies, threshold = "desk/think", (Number,), 0.5

    def keep(self, memory: Box, reply: Number) -> None:
        keep(memory, reply.number)


class Caller(Consult[Box]):
    to, deadline, replies = "ann", DAY, (Loose,)

    def keep(self, memory: Box, reply: Loose) -> None:
        memory.note = reply.number


customer = Machine("customer", memory=Box, edges={Customer: {"number": Done, "expired": Failed}})
shop = Machine("shop", memory=Box, edges={Shop: {"number": Done, "expired": Failed}})
clerk = Anywhere(
    "clerk",
    memory=Box,
    edges={
        Clerk: {"number": Done, "unsure": Person, "error": Short},
        Short: {"retry": Clerk, "give_up": Person},
        Person: {"handled": Done, "expired": Failed},
    },
)
caller = Machine("caller", memory=Box, edges={Caller: {"number": Done, "expired": Failed}})


async def said(engine: Engine, name: str) -> Run:
    """A number that the state's reply makes another one of."""
    run = await begin(engine, name)
    if name == "customer":
        await engine.answer((await asked(engine, run)).id, by="ann", value="#12")
    elif name == "shop":
        await engine.signal(run.id, "number", {"number": "#12"})
    return (await engine.advance(run.id)).run


@pytest.mark.parametrize("machine", [customer, shop, clerk], ids=["customer", "shop", "clerk"])
async def test_what_a_validator_changes_is_kept_once_also_after_a_retry_and_when_it_is_told_again(
    house: House, machine: Machine[Box]
) -> None:
    engine = house(machine, llm=Scripted({"Clerk": {"intent": "number", "confidence": 0.9, "number": "#12", "note": None}}))
    run = await said(engine, machine.name)
    assert (run.status, run.memory["note"]) == ("done", "12")
    world.broken = True
    stuck = await said(engine, machine.name)
    assert (stuck.status, "keep is broken" in (stuck.reason or "")) == ("attention", True)
    world.broken = False
    await engine.retry(stuck.id)
    stuck = (await engine.advance(stuck.id)).run
    assert (stuck.status, stuck.memory["note"]) == ("done", "12")
    for each in (run, stuck):
        await engine.verify(each.id)
    recording = await record(engine.store, run.id)
    assert (await replay(recording, machine, recording.definition)).divergence is None


async def test_an_answer_is_recorded_as_it_was_given_and_said_again_it_is_the_same(house: House) -> None:
    engine = house(customer)
    task = await asked(engine, await begin(engine, "customer"))
    with pytest.raises(InvalidAnswer, match="answer: number: number: Value error, begins with #"):
        await engine.answer(task.id, by="ann", value="12")
    first = await engine.answer(task.id, by="ann", value="#12")
    assert first.task.answer == {"answer": {"intent": "number", "number": "#12"}, "by": "ann"}
    assert not (await engine.answer(task.id, by="ann", value={"number": "#12"})).first


@pytest.mark.parametrize("fault", ["strict", "bug"])
async def test_an_answer_that_newer_code_does_not_take_is_held_until_the_code_is_right_again(house: House, fault: str) -> None:
    engine = house(caller)
    run = await begin(engine, "caller")
    await engine.answer((await asked(engine, run)).id, by="ann", value="10421")
    setattr(deployed, fault, True)
    run = (await engine.advance(run.id)).run
    why = {"strict": "number: number: Value error, has at most 3 characters", "bug": "number: validating it raised KeyError"}[
        fault
    ]
    assert (run.status, run.reason) == ("attention", f"the answer does not fit any more: {why}")
    assert await engine.store.inbound(run.id) == []
    house.clock.advance(2 * DAY)
    await engine.retry(run.id)
    row = await engine.advance(run.id)
    assert (row.run.status, row.run.reason) == ("attention", f"what is recorded does not fit any more: {why}")
    assert (row.lease_owner, row.claims) == (None, 0)
    setattr(deployed, fault, False)
    await engine.retry(run.id)
    run = (await engine.advance(run.id)).run
    assert (run.status, run.memory["note"]) == ("done", "10421")
    await engine.verify(run.id)


# ── results ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@tool(effect="read")
def look() -> Checked:
    """Look."""
    return "10421"


class Seek(Fetch[Box]):
    runs = (look,)

    def calls(self, memory: Box) -> list[Call[str]]:
        return [look.call()]

    def keep(self, memory: Box, got: Got) -> None:
        keep(memory, got[look])


seeker = Machine(
    "seek",
    memory=Box,
    edges={Seek: {"ok": Done, "error": Short}, Short: {"retry": Seek, "give_up": Bell}, Bell: {"rung": Done, "expired": Failed}},
)


async def test_a_result_that_newer_code_does_not_take_needs_a_person_until_it_does(house: House) -> None:
    engine = house(seeker)
    world.broken = True
    run = await begin(engine, "seek")
    world.broken, deployed.strict = False, True
    await engine.retry(run.id)
    run = (await engine.advance(run.id)).run
    assert run.status == "attention"
    assert "result of look does not fit its return annotation: ValidationError: " in (run.reason or "")
    deployed.strict = False
    await engine.retry(run.id)
    assert (await engine.advance(run.id)).run.memory["note"] == "10421"


# ── arguments ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@tool(effect="once", timeout=5)
def send(number: Checked) -> str:
    """Send it."""
    return world.does("send")


@tool(effect="keyed", retries=2)
def charge(key: Key, number: Checked) -> str:
    """Charge it."""
    return world.does("charge", key)


class Send(Act[Box]):
    runs = (send, charge)

    def build(self, memory: Box) -> Call[str]:
        deployed.strict = False
        made = charge.call("10421") if memory.n else send.call("10421")
        deployed.strict = True
        return made


sender = Machine(
    "sender",
    memory=Box,
    edges={
        Send: {"ok": Done, "error": Short, "unknown": FindOut},
        FindOut: {"happened": Done, "not_happened": Short, "expired": Failed},
        Short: {"retry": Send, "give_up": Person},
        Person: {"handled": Done, "expired": Failed},
    },
)


@pytest.mark.parametrize("name", ["send", "charge"])
async def test_arguments_that_the_tool_does_not_take_any_more_send_nothing_and_put_nothing_in_doubt(
    house: House, name: str
) -> None:
    engine = house(sender)
    run = await begin(engine, "sender", n=int(name == "charge"))
    why = f"validating the arguments of {name} raised ValidationError: number: Value error, has at most 3 characters"
    assert (run.status, run.reason, run.doubts, world.sent) == ("attention", why, (), [])
    await engine.verify(run.id)
    await engine.retry(run.id)
    run = (await engine.advance(run.id)).run
    assert (run.status, run.reason) == ("attention", why)
    deployed.strict = False
    await engine.retry(run.id)
    run = (await engine.advance(run.id)).run
    assert (run.status, len(world.sent), await effects(engine, run)) == ("done", 1, [(name, "done", 1)])
    await engine.verify(run.id)


async def test_a_run_whose_arguments_were_not_taken_is_cancelled_without_a_doubt(house: House) -> None:
    engine = house(sender)
    run = (await engine.cancel((await begin(engine, "sender")).id)).run
    assert (run.status, run.doubts, await effects(engine, run)) == ("cancelled", (), [("send", "void", 0)])


# ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Counted(Reply[Literal["counted"]]):
    n: int
    at: Checked = ""


class Count(Wait[Box]):
    deadline, events = DAY, (Counted, Rung)


count = Machine("count", memory=Box, edges={Count: {"counted": Done, "rung": Done, "expired": Failed}})


async def test_an_event_is_taken_at_the_door_as_the_state_reads_it(house: House) -> None:
    engine = house(count)
    run = await begin(engine, "count")
    with pytest.raises(InvalidAnswer, match=r"event counted\.n: true is no integer"):
        await engine.signal(run.id, "counted", {"n": True})
    deployed.bug = True
    with pytest.raises(InvalidAnswer, match="event counted: validating it raised KeyError"):
        await engine.signal(run.id, "counted", {"n": 1, "at": "x"})
    with pytest.raises(InvalidAnswer, match="event counted: data is an object"):
        await engine.signal(run.id, "counted", [1])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await engine.signal(run.id, "counted", {"n": "5"})
    assert (await engine.advance(run.id)).run.status == "done"
    assert "received" in await types(engine, run)
