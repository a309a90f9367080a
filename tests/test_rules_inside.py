"""Rules about what children do: a run that delegates learns of it when they are over, and keeps to its rules from then on."""

from collections.abc import Sequence
from random import Random
from typing import Literal

import pytest

from leverframe import (
    Absence,
    Act,
    Back,
    BoundedExistence,
    Call,
    Delegate,
    Fetch,
    In,
    Machine,
    Memory,
    Precedence,
    Response,
    Work,
    tool,
)
from leverframe.automaton import Letter, atoms, compiled, data, entered, executed
from leverframe.canon import Json, Object
from leverframe.check.model import Graph
from leverframe.check.proofs import prove
from leverframe.engine import Engine
from leverframe.rules import Rule
from leverframe.run import Run
from tests.house import DAY, Box, Done, Failed, House, Person, Short, answer, begin, world


@tool(effect="read", retries=0)
def fly(at: str) -> str:
    """Fly."""
    return world.does("fly")


@tool(effect="read")
def eat(at: str) -> str:
    """Eat."""
    return world.does("eat")


class Chirp(Work[Box]):
    """What a young one does is the sum of it: 1 it asks, 2 it flies, 4 it eats, 8 it has a young one of its own, 16 it fails."""

    def run(self, memory: Box) -> Literal["fly", "eat", "breed", "ask", "done", "fail"]:
        bit = memory.n & -memory.n
        memory.n -= bit
        ways: dict[int, Literal["ask", "fly", "eat", "breed", "fail"]] = {1: "ask", 2: "fly", 4: "eat", 8: "breed", 16: "fail"}
        return ways[bit] if bit else "done"


class Fly(Act[Box]):
    runs = (fly,)

    def build(self, memory: Box) -> Call[str]:
        return fly.call("x")


class Eat(Fetch[Box]):
    runs = (eat,)

    def calls(self, memory: Box) -> list[Call[str]]:
        return [eat.call("x")]


class Brood(Delegate[Box, Box]):
    machine, deadline = "young", DAY

    def give(self, memory: Box) -> list[Box]:
        return [Box(n=n) for n in memory.items]

    def keep(self, memory: Box, results: Sequence[Box | None]) -> None:
        if world.broken:
            raise ValueError("keep is broken")


class InTurn(Brood):
    concurrency = 1


class One(Brood):
    def give(self, memory: Box) -> Box:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return Box(n=memory.items[0])


class Egg(Delegate[Box, Memory]):
    machine, deadline = "grandchild", DAY

    def give(self, memory: Box) -> Box:
        return Box(n=FLY)


def young(name: str, *inside: type[Delegate[Box, Memory]]) -> Machine[Box]:
    return Machine(
        name,
        memory=Box,
        edges={
            Chirp: {"fly": Fly, "eat": Eat, "breed": (*inside, Done)[0], "ask": Person, "done": Done, "fail": Failed},
            Fly: {"ok": Chirp, "error": Short},
            Eat: {"ok": Chirp, "error": Short},
            **{state: {"done": Chirp, "error": Short, "expired": Failed} for state in inside},
            Person: {"handled": Chirp, "expired": Failed},
            Short: {"retry": Back, "give_up": Failed},
        },
    )


def nest(*rules: Rule, brood: type[Brood] = Brood) -> Machine[Box]:
    return Machine(
        "nest",
        memory=Box,
        edges={
            brood: {"done": Fly, "error": Short, "expired": Fly},
            Short: {"retry": Fly, "give_up": Failed},
            Fly: {"ok": Again, "error": Failing},
            Failing: {"retry": Back, "give_up": Failed},
            Again: {"again": brood, "done": Done},
        },
        rules=rules,
    )


class Failing(Short):
    pass


class Again(Work[Box]):
    """As often as the note is long."""

    def run(self, memory: Box) -> Literal["again", "done"]:
        more = bool(memory.note)
        memory.note = memory.note[1:]
        return "again" if more else "done"


ASK, FLY, EAT, BREED, FAIL = 1, 2, 4, 8, 16
INSIDE = (young("young", Egg), young("grandchild"))


def engine_of(house: House, *rules: Rule, brood: type[Brood] = Brood) -> Engine:
    return house(nest(*rules, brood=brood), *INSIDE)


async def refused(engine: Engine, run: Run) -> str:
    assert run.status == "quarantined"
    assert await engine.verify(run.id) == run.seq
    return run.reason or ""


@pytest.mark.parametrize("brood", [Brood, InTurn, One])
async def test_what_children_did_is_known_once_they_are_over(house: House, brood: type[Brood]) -> None:
    engine = engine_of(house, Precedence(In("young", fly), before=fly), brood=brood)
    assert (await begin(engine, "nest", items=[FLY])).status == "done"
    run = await begin(engine, "nest", items=[EAT])
    assert await refused(engine, run) == "fly would break the rule: first young.fly executed, only then fly executed"
    assert [name for name, _ in world.sent] == ["fly", "fly", "eat"]


async def test_what_children_of_children_did_is_known_too(house: House) -> None:
    engine = engine_of(house, Absence(fly, after=In("grandchild", (Fly, "ok"))))
    assert (await begin(engine, "nest", items=[FLY])).status == "done"
    run = await begin(engine, "nest", items=[EAT, BREED])
    assert "never: fly executed, after grandchild.Fly: ok" in await refused(engine, run)


async def test_after_a_rule_was_broken_inside_nothing_is_executed_and_nothing_is_started(house: House) -> None:
    engine = engine_of(house, Absence(In("young", eat)))
    run = await begin(engine, "nest", items=[FLY, EAT])
    assert await refused(engine, run) == "fly would break the rule: never: young.eat executed"
    with_two = Machine(
        "nest",
        memory=Box,
        edges={
            Brood: {"done": Again, "error": Short, "expired": Failed},
            Again: {"again": Brood, "done": Done},
            Short: {"retry": Back, "give_up": Failed},
        },
        rules=[BoundedExistence(In("young", eat), at_most=2)],
    )
    engine = house(with_two, *INSIDE)
    run = await begin(engine, "nest", items=[EAT, EAT, EAT], note="x")
    assert await refused(engine, run) == "Brood would start runs after the rule was broken: at most 2 times: young.eat executed"
    assert len(await engine.store.runs(parent=run.id)) == 3


async def test_what_is_kept_later_was_heard_once(house: House) -> None:
    engine = engine_of(house, BoundedExistence(In("young", fly), at_most=1))
    world.broken = True
    run = await begin(engine, "nest", items=[FLY])
    assert run.status == "attention"
    world.broken = False
    await engine.retry(run.id)
    run = (await engine.advance(run.id)).run
    assert (run.status, run.rules) == ("done", (1,))
    assert await engine.verify(run.id) == run.seq


async def test_of_children_that_are_cut_off_it_is_known_how_far_they_came(house: House) -> None:
    engine = engine_of(house, Absence(fly, after=In("young", eat)), brood=InTurn)
    run = await begin(engine, "nest", items=[EAT, ASK, FLY])
    assert run.status == "waiting"
    house.clock.advance(DAY)
    run = (await engine.advance(run.id)).run
    assert "never: fly executed, after young.eat executed" in await refused(engine, run)


async def test_a_run_whose_rules_are_about_no_child_hears_nothing(house: House) -> None:
    engine = engine_of(house, BoundedExistence(fly, at_most=3))
    run = await begin(engine, "nest", items=[FLY, EAT])
    assert not [line for line in await engine.store.events(run.id) if "inside" in line.body]


async def test_an_event_holds_what_made_a_rule_go_on_and_no_more(house: House) -> None:
    engine = engine_of(house, Precedence(In("young", fly), before=fly))
    run = await begin(engine, "nest", items=[FLY] * 20)
    (heard,) = [line.body["inside"] for line in await engine.store.events(run.id) if "inside" in line.body]
    assert heard == data([executed("fly", "young")])


async def test_children_that_went_on_together_are_read_in_the_order_of_their_clocks(house: House) -> None:
    engine = engine_of(house, Response(In("young", eat), to=In("young", fly)))
    run = await begin(engine, "nest", items=[ASK | EAT, FLY])
    (asking,) = [row.run for row in await engine.store.runs(parent=run.id) if row.run.status == "waiting"]
    house.clock.advance(DAY / 2)
    await answer(engine, asking, {"intent": "handled", "note": ""})
    run = (await engine.advance(run.id)).run
    assert (run.status, run.rules) == ("done", (0,))


# ── what is proven is never taken for broken, and what is broken was never proven ────────────────────────────────────────────

INNER: Sequence[Letter] = [
    executed("fly", "young"),
    executed("eat", "young"),
    executed("fly", "grandchild"),
    entered("Failed", "young"),
    entered("Chirp", "grandchild"),
]
OWN: Sequence[Letter] = [executed("fly"), entered("Again"), entered("Done"), entered("Failed")]


def any_rule(chance: Random) -> Object:
    def letter() -> Json:
        return data([chance.choice(INNER if chance.random() < 0.6 else OWN)])

    pattern = chance.choice(("absence", "existence", "bounded_existence", "precedence", "response"))
    rule: Object = {"rule": pattern, "events": letter()}
    rule |= {"other": letter()} if pattern in ("precedence", "response") else {}
    rule |= {"at_most": chance.randint(1, 3)} if pattern == "bounded_existence" else {}
    scopes: tuple[Object, ...] = ({}, {"after": letter()}, {"before": letter()}, {"after": letter(), "until": letter()})
    rule |= {"scope": scope} if (scope := chance.choice(scopes)) else {}
    return rule


class Stated(Rule):
    """A rule as data."""

    def __init__(self, body: Object) -> None:
        self.body = body

    def letters(self) -> list[Letter]:
        return atoms(self.body)

    def json(self) -> Object:
        return self.body


def any_items(chance: Random) -> list[int]:
    return [chance.choice((0, FLY, EAT, BREED, FLY | EAT, EAT | BREED, FLY | FAIL, FAIL)) for _ in range(chance.randint(1, 3))]


@pytest.mark.long
@pytest.mark.parametrize("brood", [Brood, InTurn, One])
async def test_no_run_breaks_what_is_proven_and_some_do_what_is_refuted(house: House, brood: type[Brood]) -> None:
    chance = Random(7)
    inside = {machine.name: machine for machine in INSIDE}
    others = {name: Graph(machine.definition(inside).body) for name, machine in inside.items()}
    plain = nest(brood=brood).definition(inside).body
    made = prove(Graph({**plain, "rules": [any_rule(chance) for _ in range(200)]}), others)
    proven = [Stated(each.rule) for each in made if each.proven]
    refuted = [Stated(each.rule) for each in made if not each.proven and not each.open]
    assert min(len(proven), len(refuted)) > 20
    broken = 0
    for number in range(20):
        items, note = any_items(chance), "xx"[: chance.randint(0, 2)]
        run = await begin(engine_of(house, *proven, brood=brood), "nest", items=items, note=note)
        assert run.status in ("done", "failed"), (items, run.reason)
        read = zip(map(compiled, (each.body for each in proven)), run.rules, strict=True)
        assert not [state for automaton, state in read if state in automaton.broken | automaton.unfinished]
        run = await begin(engine_of(house, refuted[number], brood=brood), "nest", items=items, note=note)
        (automaton,), (state,) = [compiled(refuted[number].body)], run.rules
        broken += state in automaton.broken | automaton.unfinished or run.status == "quarantined"
    assert broken > 2
