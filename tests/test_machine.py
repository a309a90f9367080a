"""Machines: what the edge table must say, the machine as data, and names from outside."""

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import pytest
from pydantic import create_model
from transitions import Machine as Transitions

from leverframe import Act, Approve, Ask, Back, Call, Compact, Consult, End, Fetch, Limits, Machine, Memory, Reply, Work, tool
from leverframe.canon import canonical, digest
from leverframe.errors import DeclarationError, EdgeError, PromptError
from leverframe.machine import Definition, differences
from leverframe.state import State
from machines.refund import refund
from machines.restock import restock
from machines.sales_report import sales_report

OTHERS = {machine.name: machine for machine in (refund, restock, sales_report)}


class Desk(Memory):
    text: str = ""


@tool(effect="read")
def look(number: int) -> str:
    """Look at one."""
    return str(number)


@tool(effect="once")
def send(to: str) -> None:
    """Send it."""


class Limit(Work[Desk]):
    def run(self, memory: Desk) -> Literal["small", "large"]:
        return "small"


class Over(End):
    pass


class Shorten(Compact):
    pass


class Send(Act[Desk]):
    runs = (send,)

    def build(self, memory: Desk) -> Call[None]:
        return send.call("you")


class Release(Approve):
    to = "boss"
    deadline = timedelta(days=1)


class Forever(Approve):
    to = "boss"


class Nobody(Approve):
    deadline = timedelta(days=1)


class Happened(Reply[Literal["happened"]]):
    pass


class NotHappened(Reply[Literal["not_happened"]]):
    pass


class Settle(Consult):
    to = "boss"
    deadline = timedelta(days=1)
    replies = (Happened, NotHappened)


class Writes(Fetch[Desk]):
    runs = (send,)

    def calls(self, memory: Desk) -> list[Call[object]]:
        return []


class Wordless(Ask[Desk]):
    replies = (look,)


def refused(edges: object) -> str:
    """The message with which this table is refused."""
    with pytest.raises(DeclarationError) as error:
        Machine("desk", memory=Desk, edges=edges)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    return str(error.value)


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        (
            {Limit: {"smal": Over, "large": Over}},
            "machine desk: state Limit: never ends in 'smal'; it ends in 'large', 'small'. Did you mean 'small'?",
        ),
        (
            {Limit: {"small": Over}},
            "machine desk: state Limit: can end in 'large', which leads nowhere; add 'large': SomeState to its row",
        ),
        ({Limit: {"small": Over, "large": Back}}, "machine desk: state Limit: only the 'retry' of a Compact leads Back"),
        ({Limit: {"small": Send, "large": Over}}, "machine desk: state Send: can end in 'error', which leads nowhere"),
        (
            {
                Send: {"ok": Over, "error": Over, "unknown": Settle},
                Settle: {"happened": Over, "not_happened": Over, "expired": Over},
            },
            "machine desk: state Send: 'error' leads to Over, which is no Compact",
        ),
        (
            {Send: {"ok": Over, "error": Shorten, "unknown": Shorten}, Shorten: {"retry": Back, "give_up": Over}},
            "machine desk: state Send: 'unknown' leads to Shorten; it must be a Fetch that finds out or a Consult that asks",
        ),
        (
            {Forever: {"approved": Over, "rejected": Over, "expired": Over}},
            "machine desk: state Forever: waits without a deadline",
        ),
        ({Nobody: {"approved": Over, "rejected": Over, "expired": Over}}, "machine desk: state Nobody: asks nobody"),
        (
            {Writes: {"ok": Over, "error": Shorten}, Shorten: {"retry": Back, "give_up": Over}},
            "state Writes: fetches with send, which is 'once'",
        ),
        (
            {Wordless: {"look": Over, "error": Shorten}, Shorten: {"retry": Back, "give_up": Over}},
            "state Wordless: has no prompt",
        ),
        ({Over: {"ok": Over}}, "machine desk: state Over: never ends in 'ok'; an End has no edges"),
        ({}, "machine desk: has no edges; the first row of the table is the start"),
    ],
)
def test_a_table_that_disagrees_with_its_states_is_refused(edges: object, message: str) -> None:
    assert message in refused(edges)


class Odd:
    """Is no state."""


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        (
            {Limit: {"small": "Over", "large": Over}},
            "machine desk: state Limit: 'small' leads to 'Over', a string; write Over without quotes, the class itself",
        ),
        (
            {Limit: {"small": "Shortn", "large": Over}},
            "state Limit: 'small' leads to 'Shortn', a string; name a state's class, without quotes. Did you mean 'Shorten'?",
        ),
        ({Limit: {"small": None, "large": Over}}, "state Limit: 'small' leads to None; name a state's class"),
        ({Limit: {"small": Over(), "large": Over}}, "leads to an instance of Over; name the class itself: Over"),
        ({Limit: {"small": Odd, "large": Over}}, "state Limit: 'small' leads to the class Odd; name a state's class"),
        ({Limit: {"small": 5, "large": Over}}, "state Limit: 'small' leads to 5, a number; name a state's class"),
        ({Limit: {"small": State, "large": Over}}, "state Limit: 'small' leads to State, which is no kind of state"),
        ({Limit: {1: Over}}, "machine desk: state Limit: an outcome is 1, a number; outcomes are strings"),
        ({Limit: [Over]}, "machine desk: state Limit: its row is an instance of list; write {"),
        ({"Limit": {"small": Over}}, "machine desk: a row of the table is of 'Limit', a string; write Limit without quotes"),
        ({None: {}}, "machine desk: a row of the table is of None; name a state's class"),
        ({Limit(): {}}, "machine desk: a row of the table is of an instance of Limit; name the class itself: Limit"),
        ({Back: {}}, "machine desk: Back has a row; it has none"),
        ([Limit], "machine desk: edges is an instance of list; write {State: {"),
        (None, "machine desk: edges is None; write {State: {"),
    ],
)
def test_what_is_no_state_is_refused_in_its_place(edges: object, message: str) -> None:
    assert message in refused(edges)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"memory": dict}, "machine desk: memory is the class dict; name a class that derives from Memory"),
        ({"memory": Desk()}, "machine desk: memory is an instance of Desk; name a class that derives from Memory"),
        ({"limits": {"steps": 5}}, "machine desk: limits is an instance of dict; write Limits(steps=…, …)"),
        ({"limits": 0}, "machine desk: limits is an instance of int"),
        ({"limits": Limits(exceeded="Over")}, "limits lead to 'Over', a string; write Over without quotes"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        ({"limits": Limits(exceeded=Back)}, "machine desk: limits lead to Back; name a state where a person decides"),
        ({"name": 5}, "machine name 5: use 1 to 64 letters"),
    ],
)
def test_what_a_type_checker_would_refuse_is_refused_without_one(given: dict[str, object], message: str) -> None:
    right: dict[str, object] = {"name": "desk", "memory": Desk, "edges": {Limit: {"small": Over, "large": Over}}}
    with pytest.raises(DeclarationError) as error:
        Machine(**right | given)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": 0}, "limits: steps is 0; give a whole number from 1 up to 1,000,000,000"),
        ({"steps": -1}, "limits: steps is -1"),
        ({"steps": "40"}, "limits: steps is '40'"),
        ({"steps": None}, "limits: steps is None"),
        ({"steps": True}, "limits: steps is True"),
        ({"steps": 1.5}, "limits: steps is 1.5"),
        ({"model_calls": -1}, "limits: model_calls is -1; give a whole number from 0 up to 1,000,000,000"),
        ({"model_calls": False}, "limits: model_calls is False"),
        ({"cost_usd": float("nan")}, "limits: cost_usd is nan; give a number from 0 up to 1,000,000,000"),
        ({"cost_usd": float("inf")}, "limits: cost_usd is inf"),
        ({"cost_usd": -1}, "limits: cost_usd is -1"),
        ({"cost_usd": "0.5"}, "limits: cost_usd is '0.5'"),
        ({"days": 0}, "limits: days is 0; give a number above 0 up to 36,500"),
        ({"days": -1}, "limits: days is -1"),
        ({"days": float("nan")}, "limits: days is nan"),
        ({"days": 1e9}, "limits: days is 1000000000.0"),
    ],
)
def test_a_limit_that_holds_nothing_is_refused(given: dict[str, float], message: str) -> None:
    with pytest.raises(DeclarationError) as error:
        Limits(**given)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert str(error.value).startswith(message)


def test_the_smallest_limits_are_limits() -> None:
    least = Limits(steps=1, model_calls=0, cost_usd=0, days=0.001)
    assert least.json() == {"steps": 1, "model_calls": 0, "cost": 0, "days": 0.001, "exceeded": None}


def test_a_key_that_is_written_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    source = """\
from tests.test_machine import Desk, Limit, Over
from leverframe import Machine
twice = Machine(
    "twice",
    memory=Desk,
    edges={
        Limit: {"small": Over, "large": Over, "small": Over},
    },
)
"""
    file = tmp_path / "twice.py"
    file.write_text(source)
    with pytest.raises(EdgeError, match=r"machine twice: 'small' is written twice \(.*twice.py:7\)"):
        exec(compile(source, str(file), "exec"), {})


def test_two_states_of_one_name_are_refused() -> None:
    other = type("Over", (End,), {})
    assert "two states are called 'Over'" in refused({Limit: {"small": Over, "large": other}})


def test_limits_never_lead_to_a_compact() -> None:
    with pytest.raises(EdgeError, match="limits lead to Shorten, a Compact"):
        Machine(
            "desk",
            memory=Desk,
            edges={Limit: {"small": Over, "large": Shorten}, Shorten: {"retry": Back, "give_up": Over}},
            limits=Limits(exceeded=Shorten),
        )


@pytest.mark.parametrize("name", ["end", "a.b", "two words", "größe", "退款", "trigger", "x-1", "1st"])
def test_a_name_from_outside_is_kept_as_it_is(name: str) -> None:
    state = type("State", (End,), {"name": name})
    machine = Machine(name, memory=Desk, edges={Limit: {"small": Over, "large": state}})
    assert machine.compiled.get_state(name).name == name
    assert Definition(canonical(machine.definition().body)).move("Limit", "large", back=None) == name


OUTCOMES = [
    *("state", "back", "trigger", "model", "name", "events", "states", "initial", "machine", "send_event", "model_attribute"),
    *("is_Over", "to_Over", "may_go", "end", "class", "None", "lambda", "a.b", "two words", "größe", "退款", "x-1", "1"),
]


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_an_outcome_from_outside_moves_whatever_it_is_called(outcome: str) -> None:
    made = type("Made", (Reply,), {"intent": outcome})
    asks = type("Asks", (Consult,), {"to": "boss", "deadline": timedelta(days=1), "replies": (made,)})
    odd = Machine("odd", memory=Desk, edges={asks: {outcome: Over, "expired": asks}}, limits=Limits(exceeded=Over))
    definition = Definition(canonical(odd.definition().body))
    assert definition.move("Asks", outcome, back=None) == "Over"
    assert definition.move("Asks", "expired", back=None) == "Asks"
    cursor = SimpleNamespace(state="Asks")
    assert odd.compiled.events[outcome].trigger(cursor)
    assert cursor.state == "Over"


@pytest.mark.parametrize("name", ["", " lead", "a\nb", "x" * 65, "<b>", "a'b", 'a"b', "\u202egnp", "-x"])
def test_a_name_that_cannot_be_shown_is_refused(name: str) -> None:
    with pytest.raises(DeclarationError, match="use 1 to 64 letters"):
        Machine(name, memory=Desk, edges={Limit: {"small": Over, "large": Over}})


def test_a_reply_may_not_take_the_engines_own_words() -> None:
    class Unknown(Reply[Literal["unknown"]]):
        pass

    class Odd(Consult):
        to = "boss"
        deadline = timedelta(days=1)
        replies = (Unknown,)

    assert "a reply cannot be called 'unknown'" in refused({Odd: {"unknown": Over, "expired": Over}})


def test_code_may_not_end_in_the_engines_own_words() -> None:
    class Sure(Work[Desk]):
        def run(self, memory: Desk) -> Literal["approved", "no"]:
            return "no"

    assert "Sure: run ends in 'approved', an outcome of the engine's own" in refused({Sure: {"approved": Over, "no": Over}})


@pytest.mark.parametrize("machine", OTHERS.values(), ids=OTHERS)
def test_a_machine_is_one_shared_machine_of_transitions(machine: Machine[Memory]) -> None:
    assert isinstance(machine.compiled, Transitions)
    assert machine.compiled is machine.compiled
    assert set(machine.compiled.states) == set(machine.states)


@pytest.mark.parametrize("machine", OTHERS.values(), ids=OTHERS)
def test_a_definition_is_canonical_and_comes_back_the_same(machine: Machine[Memory]) -> None:
    definition = machine.definition(OTHERS)
    assert definition.hash == digest(definition.body)
    again = Definition(definition.text)
    assert (again.hash, again.states, again.tools) == (definition.hash, definition.states, definition.tools)
    assert differences(definition, again) == []


def test_an_edge_that_is_not_drawn_cannot_be_taken() -> None:
    definition = refund.definition(OTHERS)
    assert definition.move("Limit", "small", back=None) == "Pay"
    with pytest.raises(EdgeError, match="state Limit has no edge 'approved'"):
        definition.move("Limit", "approved", back=None)
    with pytest.raises(EdgeError, match="state Shorten has no edge 'retry'"):
        definition.move("Shorten", "retry", back="Refunded")
    assert definition.move("Shorten", "retry", back="Triage") == "Triage"


def test_changed_words_do_not_block_and_changed_meaning_does() -> None:
    was = Machine("desk", memory=Desk, edges={Limit: {"small": Over, "large": Over}}).definition()
    body = dict(was.body)
    body["doc"] = "Other words."
    assert differences(was, Definition(canonical(body))) == []
    now = Machine("desk", memory=Desk, edges={Other: {"small": Over, "large": Over}}).definition()
    assert differences(was, now) == ["state Limit is gone."]


class Other(Work[Desk]):
    def run(self, memory: Desk) -> Literal["small", "large"]:
        return "large"


def test_machines_cannot_contain_each_other() -> None:
    with pytest.raises(DeclarationError, match="delegates to 'restock', which is not in machines/"):
        sales_report.definition({})


def test_a_missing_prompt_is_named(tmp_path: Path) -> None:
    class Think(Ask[Desk]):
        prompt = "desk/think"
        replies = (look,)

    machine = Machine(
        "desk", memory=Desk, edges={Think: {"look": Over, "error": Shorten}, Shorten: {"retry": Back, "give_up": Over}}
    )
    with pytest.raises(PromptError, match="desk/think"):
        machine.definition()


def test_memory_may_be_made_by_any_pydantic_means() -> None:
    made = create_model("Made", __base__=Desk, n=(int, 3))
    machine = Machine("made", memory=made, edges={Limit: {"small": Over, "large": Over}})
    assert (
        machine.definition().body["memory"]
        != Machine("made", memory=Desk, edges={Limit: {"small": Over, "large": Over}}).definition().body["memory"]
    )
