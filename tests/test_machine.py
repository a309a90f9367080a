"""Machines: what the edge table must say, the machine as data, and names from outside."""

from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest
from pydantic import create_model
from transitions import Machine as Transitions

from leverframe import Act, Approve, Ask, Back, Call, Compact, Consult, End, Fetch, Limits, Machine, Memory, Reply, Work, tool
from leverframe.canon import canonical, digest
from leverframe.errors import DeclarationError, EdgeError, PromptError
from leverframe.machine import Definition, differences
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
