"""A recorded run told again: it comes out as it was while the code is as it was, and where that changed the first difference is named."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import pytest

from leverframe import Approve, Back, Delegate, Limits, Machine, Wait, Work
from leverframe.errors import RecordingError
from leverframe.llm import Scripted
from leverframe.recording import Recording, read, record
from leverframe.replay import Divergence, Replayed, replay
from leverframe.state import State
from leverframe.testing import replays
from tests.house import (
    DAY,
    Bell,
    Box,
    Done,
    Failed,
    FindOut,
    House,
    Nap,
    Pay,
    Person,
    Result,
    Short,
    Sign,
    Stop,
    Think,
    asked,
    begin,
    charge,
    desk,
    deskwork,
    naps,
)

Edges: TypeAlias = Mapping[type[State[Box]], Mapping[str, type[State[Box]]]]


async def told(recording: Recording, machine: Machine[Box]) -> Replayed:
    return await replay(recording, machine, machine.definition({}))


async def parted(recording: Recording, machine: Machine[Box]) -> Divergence:
    found = (await told(recording, machine)).divergence
    assert found is not None
    return found


async def at_the_desk(house: House) -> Recording:
    """Somebody released the call that the model made."""
    engine = house(desk, llm=Scripted([charge.call(100)]))
    run = await begin(engine, "desk")
    await engine.decide((await asked(engine, run, "approve")).id, by="ada", decision="approved")
    assert (await engine.advance(run.id)).run.state == "Done"
    return await record(engine.store, run.id)


class Weigh(Work[Box]):
    def run(self, memory: Box) -> Literal["light", "heavy"]:
        memory.n += 1
        return "light" if memory.n < 3 else "heavy"


class Stricter(Work[Box]):
    name = "Weigh"

    def run(self, memory: Box) -> Literal["light", "heavy"]:
        memory.n += 1
        return "light" if memory.n < 2 else "heavy"


class Twice(Work[Box]):
    name = "Weigh"

    def run(self, memory: Box) -> Literal["light", "heavy"]:
        memory.n += 2
        return "light" if memory.n < 5 else "heavy"


class Broken(Work[Box]):
    name = "Weigh"

    def run(self, memory: Box) -> Literal["light", "heavy"]:
        raise ValueError("no scales")


def scales(weigh: type[Work[Box]], limits: Limits | None = None) -> Machine[Box]:
    return Machine("scales", memory=Box, edges={weigh: {"light": weigh, "heavy": Done}}, limits=limits)


async def weighed(house: House) -> Recording:
    engine = house(scales(Weigh))
    return await record(engine.store, (await begin(engine, "scales")).id)


# ── the file ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_recording_is_read_as_it_was_written(house: House) -> None:
    recording = await at_the_desk(house)
    again = read(recording.text())
    assert (again.run, list(again.events)) == (recording.run, list(recording.events))
    assert again.definition.hash == recording.definition.hash
    assert again.text() == recording.text()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not JSON"),
        ("[]", "no recording of form 1"),
        ('{"recording": 2}', "no recording of form 1"),
        ('{"recording": 1}', "malformed: KeyError"),
        ('{"recording": 1, "definitions": [{}], "events": []}', "malformed: DeclarationError"),
        ('{"recording": 1, "definitions": [], "events": []}', "malformed: ValueError"),
        ('{"recording": 1, "definitions": 7, "events": []}', "malformed: TypeError"),
        ("[" * 200 + "]" * 200, "nested deeper"),
    ],
)
def test_what_is_no_recording_is_refused(text: str, why: str) -> None:
    with pytest.raises(RecordingError, match=why):
        read(text)


async def test_an_edited_recording_is_refused(house: House) -> None:
    body = json.loads((await at_the_desk(house)).text())
    body["events"][1]["at"] += 1
    with pytest.raises(RecordingError, match="was edited"):
        read(json.dumps(body))
    body["events"][1]["body"]["outcome"] = "escaped"
    with pytest.raises(RecordingError, match="malformed: Tampered"):
        read(json.dumps(body))


# ── the same code ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_run_comes_out_as_recorded_and_nothing_is_done(house: House) -> None:
    recording = await at_the_desk(house)
    found = await told(recording, desk)
    assert (found.divergence, found.told, list(found.reworded)) == (None, len(recording.events), [])


async def test_events_time_and_children_are_told_as_they_came(house: House) -> None:
    engine = house(naps)
    run = await begin(engine, "naps")
    await engine.signal(run.id, "woken", {"n": 3})
    await engine.advance(run.id)
    house.clock.advance(2 * DAY)
    assert (await engine.advance(run.id)).run.state == "Failed"
    assert (await told(await record(engine.store, run.id), naps)).divergence is None


# ── other code ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_first_thing_that_code_decides_otherwise_is_named(house: House) -> None:
    found = await parted(await weighed(house), scales(Stricter))
    assert (found.seq, found.state, found.what, found.was, found.now) == (3, "Weigh", "outcome", "light", "heavy")
    assert found.words() == 'event 3, state Weigh: outcome was "light", is "heavy" now'


async def test_memory_that_comes_out_otherwise_is_a_difference_too(house: House) -> None:
    found = await parted(await weighed(house), scales(Twice))
    assert (found.seq, found.what, found.was, found.now) == (2, "memory", {"n": 1}, {"n": 2})


async def test_code_that_fails_now_is_a_difference(house: House) -> None:
    found = await parted(await weighed(house), scales(Broken))
    assert (found.seq, found.what, found.now) == (2, "stuck", "Weigh.run raised ValueError: no scales")


async def test_a_lower_limit_is_a_difference_where_it_is_reached(house: House) -> None:
    found = await parted(await weighed(house), scales(Weigh, Limits(steps=2)))
    assert (found.seq, found.what, found.was, found.now) == (3, "exceeded", None, "steps")


async def test_an_edge_that_leads_elsewhere_is_a_difference(house: House) -> None:
    recording = await at_the_desk(house)
    rows = {state: dict(row) for state, row in desk.edges.items()}
    rows[Sign]["approved"] = Person
    found = await parted(recording, type(desk)("desk", memory=Box, edges=rows))
    assert (found.state, found.what, found.was, found.now) == ("Sign", "to", "Pay", "Person")


class Chief(Approve[Box]):
    name, to, deadline = "Sign", "chief", DAY


async def test_a_question_to_somebody_else_is_said_and_stops_nothing(house: House) -> None:
    recording = await at_the_desk(house)
    edges: Edges = {
        Think: {"charge": Chief, "stop": Done, "error": Short},
        Chief: {"approved": Pay, "rejected": Think, "expired": Person},
        **{state: row for state, row in desk.edges.items() if state in (Pay, FindOut, Short, Person)},
    }
    found = await told(recording, type(desk)("desk", memory=Box, edges=edges))
    opened = [line.seq for line in recording.events if line.type == "opened"]
    assert (found.divergence, list(found.reworded)) == (None, opened)


class Ringing(Wait[Box]):
    name, deadline, events = "Nap", DAY, Bell.events


async def test_a_state_of_another_kind_or_with_other_events_is_a_difference(house: House) -> None:
    engine = house(naps)
    run = await begin(engine, "naps")
    await engine.signal(run.id, "woken", {"n": 3})
    await engine.advance(run.id)
    recording = await record(engine.store, run.id)
    other = await parted(recording, Machine("naps", memory=Box, edges={Ringing: {"rung": Done, "expired": Failed}}))
    assert (other.what, other.was) == ("stuck", "woken")
    kind = await parted(
        recording,
        Machine(
            "naps", memory=Box, edges={Nap: {"woken": Weighing, "expired": Failed}, Weighing: {"light": Weighing, "heavy": Done}}
        ),
    )
    assert (kind.seq, kind.what, kind.now) == (4, "kind", "work")


class Weighing(Work[Box]):
    name = "Bell"

    def run(self, memory: Box) -> Literal["light", "heavy"]:
        return "heavy"


class Odd(Work[Box]):
    def run(self, memory: Box) -> Literal["even", "odd"]:
        return "odd" if memory.n % 2 else "even"


class Kids(Delegate[Box, Result]):
    machine, returns, deadline, max_failed = "kid", Result, DAY, 1

    def give(self, memory: Box) -> list[Box]:
        return [Box(n=n) for n in range(4)]

    def keep(self, memory: Box, results: Sequence[Result | None]) -> None:
        memory.items = [result.n for result in results if result]


class Lenient(Kids):
    name, max_failed = "Kids", 2


class Careless(Lenient):
    name = "Kids"

    def keep(self, memory: Box, results: Sequence[Result | None]) -> None:
        raise ValueError("no room")


kid = Machine("kid", memory=Box, edges={Odd: {"even": Done, "odd": Failed}})


def family(kids: type[Kids]) -> Machine[Box]:
    edges: Edges = {kids: {"done": Done, "error": Short, "expired": Failed}, Short: {"retry": Back, "give_up": Failed}}
    return Machine("family", memory=Box, edges=edges)


async def raised(house: House, kids: type[Kids], keeps: type[Kids] | None = None) -> Recording:
    """Two of four children failed. `keeps`: the code that a person brought when this one could not keep what came back."""
    engine = house(family(kids), kid)
    run = await begin(engine, "family")
    while (await engine.store.load(run.id)).run.status not in ("done", "failed", "attention"):
        for row in await engine.store.runs():
            await engine.advance(row.run.id)
    if keeps is not None:
        engine = house(family(keeps), kid)
        await engine.retry(run.id)
        await engine.advance(run.id)
    return await record(engine.store, run.id)


async def told_of(recording: Recording, kids: type[Kids]) -> Replayed:
    machine = family(kids)
    return await replay(recording, machine, machine.definition({"kid": kid, "family": machine}))


async def test_how_many_children_may_fail_is_decided_anew(house: House) -> None:
    for recorded, others, was, now in ((Lenient, Kids, "done", "error"), (Kids, Lenient, "error", "done")):
        place = House(house.url + was)
        recording = await raised(place, recorded)
        assert (await told_of(recording, recorded)).divergence is None
        found = (await told_of(recording, others)).divergence
        assert found is not None
        assert (found.state, found.what, found.was, found.now) == ("Kids", "outcome", was, now)
        for store in place.stores:
            store.close()


async def test_what_children_gave_back_is_kept_anew(house: House) -> None:
    found = (await told_of(await raised(house, Lenient), Careless)).divergence
    assert found is not None
    assert (found.what, found.was, found.now) == ("stuck", "done", "Kids.keep raised ValueError: no room")


async def test_what_could_not_be_kept_and_was_made_good_comes_out_as_recorded(house: House) -> None:
    recording = await raised(house, Careless, Lenient)
    assert [line.type for line in recording.events][-4:] == ["returned", "retried", "kept", "ended"]
    assert (await told_of(recording, Lenient)).divergence is None


async def test_a_model_is_asked_anew_and_another_choice_is_a_difference(house: House) -> None:
    recording = await at_the_desk(house)
    definition = desk.definition({})
    same = Scripted([charge.call(100)])
    assert (await replay(recording, desk, definition, llm=same)).divergence is None
    assert len(same.requests) == 1
    found = (await replay(recording, desk, definition, llm=Scripted([charge.call(90)]))).divergence
    assert found is not None
    assert (found.what, found.was, found.now) == ("call", *[charge.call(cents).json() for cents in (100, 90)])
    stopped = (await replay(recording, desk, definition, llm=Scripted([Stop()]))).divergence
    assert stopped is not None
    assert (stopped.what, stopped.was, stopped.now) == ("outcome", "charge", "stop")


async def test_a_recording_is_a_regression_test(house: House, tmp_path: Path) -> None:
    file = tmp_path / "desk.json"
    file.write_text((await at_the_desk(house)).text())
    assert (await replays(file, desk)).told > 5
    with pytest.raises(AssertionError, match=r"desk.json: event 2, state Think: exceeded was nothing, is \"steps\" now"):
        await replays(file, deskwork(Limits(steps=1, exceeded=Person)))
