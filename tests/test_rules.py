"""Rules: what can be declared, what they are as data, that their automata say what the patterns say, and that runs keep them."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Literal, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leverframe import (
    Absence,
    Act,
    Back,
    BoundedExistence,
    Call,
    Existence,
    Fetch,
    In,
    Machine,
    Precedence,
    Response,
    TriggerCommand,
    Universality,
    Work,
    tool,
)
from leverframe.automaton import Letter, compiled, data, ended, entered, executed, in_words
from leverframe.canon import Json, Object
from leverframe.engine import Engine
from leverframe.errors import DeclarationError
from leverframe.machine import Definition
from leverframe.rules import Rule
from leverframe.run import Run
from machines.restock import restock
from states.restock import Check, Ship
from states.sales_report import Day, Find, Restocks, Stocked
from tests.house import Box, Done, Failed, House, Person, Short, answer, begin, world
from tests.sketch import definition, sketch
from tests.test_reduce import Log

DAY = timedelta(days=1)


@tool(effect="read")
def look(at: str) -> str:
    """Look at it."""
    return world.does("look")


@tool(effect="read", approval=True)
def peek(at: str) -> str:
    """Look at what is private."""
    return world.does("peek")


@tool(effect="read", retries=0)
def poke(at: str) -> str:
    """Poke it."""
    return world.does("poke")


@tool(effect="read")
def idle(at: str) -> str:
    """No state runs it."""
    return at


class Turn(Work[Box]):
    """As often as the items say."""

    def run(self, memory: Box) -> Literal["look", "poke", "ask", "done"]:
        way = memory.items[0] if memory.items else 0
        memory.items = memory.items[1:]
        return ("done", "look", "poke", "ask")[way]


DONE, LOOK, POKE, ASK = range(4)


class Look(Fetch[Box]):
    runs = (look, peek)

    def calls(self, memory: Box) -> list[Call[str]]:
        return [(peek if memory.note == "peek" else look).call("x")]


class Poke(Act[Box]):
    runs = (poke,)

    def build(self, memory: Box) -> Call[str]:
        return poke.call("x")


def rounds(*rules: Rule) -> Machine[Box]:
    return Machine(
        "rounds",
        memory=Box,
        edges={
            Turn: {"look": Look, "poke": Poke, "ask": Person, "done": Done},
            Look: {"ok": Turn, "error": Short},
            Poke: {"ok": Turn, "error": Short},
            Person: {"handled": Turn, "expired": Failed},
            Short: {"retry": Back, "give_up": Failed},
        },
        rules=rules,
    )


# ── declaring ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Gone(Work[Box]):
    def run(self, memory: Box) -> Literal["x"]:
        return "x"


WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: rounds(Absence((Look, "okay"))), r"rule Absence: state Look never ends in 'okay'.* Did you mean 'ok'\?"),
    (
        lambda: rounds(Existence(Gone)),
        r"rule Existence names the state 'Gone', which the machine does not have. Did you mean 'Done'\?",
    ),
    (lambda: rounds(BoundedExistence(idle, at_most=1)), "rule BoundedExistence names the tool 'idle', which no state runs"),
    (lambda: rounds(Absence(look, after=(Gone, "x"))), "rule Absence names the state 'Gone'"),
    (Absence, "rule Absence: is about nothing"),
    (lambda: Absence(look, after=Turn, before=Look), "more than one scope; give one of after, before and between"),
    (lambda: Absence(look, until=Look), "until= says where a scope that after= opens is closed"),
    (lambda: Absence(cast("Work[Box]", "Look")), "'Look' is no event"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    (lambda: Universality(cast("type[Work[Box]]", (Look, "ok"))), "rule Universality: takes states of the machine itself"),
    (lambda: BoundedExistence(look, at_most=0), "at_most is 0; give 1 to 1000, or declare an Absence"),
    (lambda: Precedence((Look, "ok"), look, before=poke), "states and outcomes before the tool poke are judged for each call"),
    (
        lambda: Precedence((Look, "ok"), before=poke, after=Turn),
        "put what is judged over the run, or has a scope, into a rule of",
    ),
]


@pytest.mark.parametrize(("declare", "says"), WRONG)
def test_a_rule_about_what_is_not_there_is_refused_where_it_is_declared(declare: Callable[[], object], says: str) -> None:
    with pytest.raises(DeclarationError, match=says):
        declare()


def report(*rules: Rule) -> Definition:
    machine = Machine(
        "day",
        memory=Day,
        edges={
            Find: {"some": Restocks, "none": Stocked},
            Restocks: {"done": Stocked, "error": Short, "expired": Stocked},
            Short: {"retry": Back, "give_up": Stocked},
        },
        rules=rules,
    )
    return machine.definition({"restock": restock})


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (Absence(In("restok", Ship)), r"a rule is about 'restok', and no Delegate leads to it. Did you mean 'restock'\?"),
        (Absence(In("restock", (Ship, "okay"))), r"state Ship never ends in 'okay'. Did you mean 'ok'\?"),
        (Absence(In("restock", Look)), "names the state 'Look', which the machine does not have"),
        (Absence(In("restock", look)), "names the tool 'look', which no state runs"),
    ],
)
def test_a_rule_about_children_is_checked_when_they_are_known(rule: Rule, says: str) -> None:
    with pytest.raises(DeclarationError, match=says):
        report(rule)


def test_rules_are_data_in_the_definition() -> None:
    found = report(
        Precedence(In("restock", Check), before=In("restock", Ship)),
        BoundedExistence(In("restock", (Ship, "ok")), at_most=2, between=(In("restock", Check), In("restock", Ship))),
    ).rules
    child = {"machine": "restock"}
    ship, check = {"state": "Ship", **child}, {"state": "Check", **child}
    assert found == [
        {"rule": "precedence", "events": [check], "other": [ship]},
        {
            "rule": "bounded_existence",
            "events": [{"state": "Ship", "outcome": "ok", **child}],
            "at_most": 2,
            "scope": {"after": [check], "until": [ship], "closed": True},
        },
    ]


def test_what_comes_before_a_tool_is_judged_per_call_and_a_state_is_any_way_out_of_it() -> None:
    (rule,) = rounds(Precedence(Look, (Turn, "poke"), before=poke)).definition().rules
    assert rule == {"rule": "precedence", "first": [["Look", "error"], ["Look", "ok"], ["Turn", "poke"]], "before": "poke"}
    (over_the_run,) = rounds(Precedence(look, before=poke)).definition().rules
    assert over_the_run == {"rule": "precedence", "events": [{"tool": "look"}], "other": [{"tool": "poke"}]}


def test_a_rule_of_no_known_pattern_is_no_rule() -> None:
    with pytest.raises(DeclarationError, match="a rule is of pattern 'always'; there are absence, bounded_existence"):
        compiled({"rule": "always", "events": []})


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Absence(look, (Look, "ok"), after=Turn), "never: look executed or Look: ok, after Turn entered"),
        (Existence(Look, before=Done), "at some time: Look entered, before Done entered"),
        (
            Universality(Look, Turn, between=(Look, Done)),
            "no state is entered but Look or Turn, between Look entered and Done entered",
        ),
        (
            BoundedExistence(poke, at_most=2, after=Look, until=Done),
            "at most 2 times: poke executed, from Look entered until Done entered",
        ),
        (Response(In("a", Done), to=look), "after each look executed, in the end a.Done entered"),
        (Precedence((Look, "ok"), before=poke), "each call of poke is executed only after Look: ok, since it was made"),
        (Precedence(Look, before=Poke), "first Look entered, only then Poke entered"),
    ],
)
def test_every_rule_can_be_said_in_words(rule: Rule, words: str) -> None:
    assert in_words(rule.json()) == words


# ── what the patterns say ────────────────────────────────────────────────────────────────────────────────────────────────────

ALPHABET = [entered("A"), entered("B"), ended("A", "x"), executed("t"), entered("A", "child")]
some = st.lists(st.sampled_from(ALPHABET), min_size=1, max_size=2, unique=True)


@st.composite
def rules(draw: st.DrawFn) -> Object:
    pattern = draw(st.sampled_from(("absence", "existence", "universality", "bounded_existence", "precedence", "response")))
    states = st.lists(st.sampled_from(ALPHABET[:2]), min_size=1, max_size=2, unique=True)
    rule: Object = {"rule": pattern, "events": data(draw(states if pattern == "universality" else some))}
    if pattern in ("precedence", "response"):
        rule["other"] = data(draw(some))
    if pattern == "bounded_existence":
        rule["at_most"] = draw(st.integers(1, 2))
    names = draw(st.sampled_from(((), ("after",), ("before",), ("after", "until"), ("after", "until", "closed"))))
    scope: Object = {name: True if name == "closed" else data(draw(some)) for name in names}
    return {**rule, "scope": scope} if scope else rule


def within(letter: Letter, listed: Json) -> bool:
    return data([letter]) != [] and cast("list[Json]", data([letter]))[0] in cast("list[Json]", listed or [])


def stretches(scope: Object, run: Sequence[Letter]) -> list[Sequence[Letter]]:
    """The parts of a whole run that a scope speaks of, read off its definition."""
    if "before" in scope:
        ends = [at for at, letter in enumerate(run) if within(letter, scope["before"])]
        return [run[: ends[0]]] if ends else []
    if "after" not in scope:
        return [run]
    found: list[Sequence[Letter]] = []
    at = 0
    while at < len(run):
        if not within(run[at], scope["after"]):
            at += 1
            continue
        ends = [end for end in range(at + 1, len(run)) if "until" in scope and within(run[end], scope["until"])]
        if not ends:
            return [*found, run[at + 1 :]] if not scope.get("closed") else found
        found.append(run[at + 1 : ends[0]])
        at = ends[0]
    return found


def kept(rule: Object, part: Sequence[Letter]) -> bool:
    events = [within(letter, rule["events"]) for letter in part]
    other = [within(letter, rule.get("other")) for letter in part]
    match rule["rule"]:
        case "absence":
            return not any(events)
        case "existence":
            return any(events)
        case "universality":
            return all(
                event or letter.what != "state" or bool(letter.machine) for event, letter in zip(events, part, strict=True)
            )
        case "bounded_existence":
            return sum(events) <= cast("int", rule["at_most"])
        case "precedence":
            return all(any(events[: at + 1]) for at, second in enumerate(other) if second)
        case _:
            return all(any(events[at:]) for at, second in enumerate(other) if second)


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(rules(), st.lists(st.sampled_from(ALPHABET), max_size=9))
def test_an_automaton_says_of_a_whole_run_what_its_pattern_and_scope_say(rule: Object, run: list[Letter]) -> None:
    automaton = compiled(rule)
    state = automaton.read(0, run)
    expected = all(kept(rule, part) for part in stretches(cast("Object", rule.get("scope") or {}), run))
    assert (state not in automaton.broken | automaton.unfinished) == expected
    if state in automaton.broken:
        assert all(automaton.step(state, letter) == state for letter in ALPHABET)


# ── runs keep them ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def refused(engine: Engine, run: Run) -> str:
    assert run.status == "quarantined"
    assert await engine.verify(run.id) == run.seq
    return run.reason or ""


async def test_an_execution_that_would_break_a_rule_over_the_run_is_refused(house: House) -> None:
    engine = house(rounds(BoundedExistence(poke, at_most=2)))
    run = await begin(engine, "rounds", items=[POKE, LOOK, POKE, POKE])
    assert await refused(engine, run) == "poke would break the rule: at most 2 times: poke executed"
    assert [name for name, _ in world.sent] == ["poke", "look", "poke"]
    run = (await engine.retry(run.id)).run
    assert (await engine.advance(run.id)).run.status == "quarantined"


async def test_a_look_up_that_would_break_a_rule_is_refused_too(house: House) -> None:
    engine = house(rounds(Absence(look, after=(Person, "handled"))))
    run = await begin(engine, "rounds", items=[LOOK, ASK, LOOK])
    run = await answer(engine, run, {"intent": "handled", "note": ""})
    assert await refused(engine, run) == "look would break the rule: never: look executed, after Person: handled"
    assert world.sent == [("look", "")]


async def test_what_a_run_did_not_do_first_it_may_not_do_next(house: House) -> None:
    machine = rounds(Precedence(look, before=poke))
    engine = house(machine)
    assert (await begin(engine, "rounds", items=[LOOK, POKE])).status == "done"
    run = await begin(engine, "rounds", items=[POKE])
    assert await refused(engine, run) == "poke would break the rule: first look executed, only then poke executed"


async def test_a_look_up_that_needs_an_approval_or_a_rule_per_call_is_refused(house: House) -> None:
    engine = house(rounds())
    run = await begin(engine, "rounds", items=[LOOK], note="peek")
    assert await refused(engine, run) == "peek needs an approval, and state Look fetches it without one"
    engine = house(rounds(Precedence((Turn, "look"), before=look)))
    run = await begin(engine, "rounds", items=[LOOK])
    assert "each call of look is executed only after Turn: look" in await refused(engine, run)
    assert world.sent == []


async def test_a_definition_that_was_tampered_with_meets_the_rules_it_still_has(house: House) -> None:
    machine = rounds(Precedence(Person, before=Poke), Absence(poke, before=Person))
    engine = house(machine)
    honest = machine.definition()
    body = Definition(honest.text).body
    cast("dict[str, Object]", body["states"])["Turn"]["edges"] = {"look": "Look", "poke": "Poke", "ask": "Poke", "done": "Done"}
    tampered = definition(body)
    await engine.store.save_definition(tampered.hash, tampered.name, tampered.text)
    row = await engine.start(TriggerCommand("rounds", {"items": [ASK]}))
    assert (await engine.migrate(row.run.id, to=tampered.hash)).moved
    run = (await engine.advance(row.run.id)).run
    assert await refused(engine, run) == "poke would break the rule: first Person entered, only then Poke entered"
    assert world.sent == []


async def test_a_run_takes_what_it_has_read_along_to_another_definition_and_into_a_fork(house: House) -> None:
    engine = house(rounds(BoundedExistence(poke, at_most=1), Existence(Look)))
    run = await begin(engine, "rounds", items=[POKE, ASK, POKE])
    assert run.rules == (1, 0)
    fork = (await engine.fork(run.id)).run
    assert fork.rules == (1, 0)
    other = rounds(Existence(Done), BoundedExistence(poke, at_most=1)).definition()
    await engine.store.save_definition(other.hash, other.name, other.text)
    assert (await engine.migrate(run.id, to=other.hash)).moved
    assert (await engine.store.load(run.id)).run.rules == (0, 1)
    for each in (run, fork):
        await engine.advance(each.id)
        after = await answer(engine, each, {"intent": "handled", "note": ""})
        assert "at most 1 times: poke executed" in await refused(engine, after)
    assert len(world.sent) == 1


async def test_a_machine_without_rules_over_the_run_carries_nothing(house: House) -> None:
    run = await begin(house(rounds(Precedence((Turn, "poke"), before=poke))), "rounds", items=[LOOK, ASK])
    assert (run.state, run.rules) == ("Person", ())


def test_only_an_approve_releases_a_call_whatever_other_states_call_their_outcomes() -> None:
    table = """
        Think ask charge | charge: Free, error: Short
        Free work        | approved: Pay
        Pay act charge   | ok: Done, error: Short, unknown: Paid
        Paid consult     | happened: Done, not_happened: Short, expired: Done
        Short compact    | retry: Back, give_up: Done
        Done end
    """
    log = Log(definition(sketch(table)))
    log.add("asked", outcome="charge", call={"tool_name": "charge", "arguments": {}, "digest": "d"})
    run = log.add("worked", outcome="approved")
    assert (run.state, run.pending and run.pending.approved) == ("Pay", None)
    assert log.need().why == "charge needs an approval and has none"


def test_a_rule_that_counts_without_end_is_refused_before_anything_is_built_for_it() -> None:
    with pytest.raises(DeclarationError, match="a rule counts at_most 1000000000; give 1 to 1000"):
        compiled({"rule": "bounded_existence", "events": [{"state": "Pay"}], "at_most": 1_000_000_000})
