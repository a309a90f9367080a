"""What is proven, bounded, found and drawn of machines in which one answer makes several calls."""

from collections.abc import Callable
from typing import Literal, cast

import pytest

from leverframe import Act, Got, Machine, Next, Work
from leverframe.canon import Object
from leverframe.check import Finding, calls, data
from leverframe.check.bounds import bounds
from leverframe.check.definition import violations
from leverframe.check.model import Graph
from leverframe.errors import DeclarationError, EdgeError, Tampered
from leverframe.graph import drawing, mermaid, text
from leverframe.machine import Definition
from leverframe.reduce import beside, reduce
from leverframe.run import Event, Pending, Run, but
from leverframe.series import Shape, onward
from tests.clerk import Look, Plan, at_work, clerk, save
from tests.explorer import Anywhere
from tests.house import Box, Done, FindOut, Short
from tests.sketch import definition, sketch
from tests.test_calls_oracle import agreed

ROOMS = """
    Ask ask3 a b | a: {a}, b: Act, x: E, error: C
    Sign approve | approved: Act, rejected: E, expired: E
    Act act a b  | ok: E, next: Next, error: D
    C compact    | retry: E, give_up: E
    D compact    | retry: E, give_up: E
    E end        |
"""


def proves(rule: object, tools: str = "a keyed, b keyed", first: str = "Act") -> bool:
    (proven,) = agreed(sketch(ROOMS.replace("{a}", first), tools=tools, rules=[cast("Object", rule)]))
    return proven


A: Object = {"tool": "a"}
B: Object = {"tool": "b"}
C: Object = {"state": "C"}


def test_the_calls_of_an_answer_are_counted() -> None:
    assert not proves({"rule": "bounded_existence", "events": [A], "at_most": 2})
    assert proves({"rule": "bounded_existence", "events": [A], "at_most": 3})


def test_what_was_approved_is_one_call_and_not_those_behind_it() -> None:
    assert not proves({"rule": "precedence", "first": [["Sign", "approved"]], "before": "b"}, first="Sign")
    assert proves({"rule": "precedence", "first": [["Sign", "approved"]], "before": "a"}, first="Sign")


def test_a_call_that_cannot_be_made_leads_where_the_makers_error_does() -> None:
    assert not proves({"rule": "absence", "events": [C], "scope": {"after": [A]}})
    assert proves({"rule": "absence", "events": [A], "scope": {"after": [C]}})


def test_an_answer_ends_and_so_does_a_machine_without_another_cycle() -> None:
    found = bounds(Graph(sketch(ROOMS.replace("{a}", "Act"), tools="a keyed, b keyed")))
    assert found.cycle == ()
    assert found.structural
    assert found.steps == 5  # three calls, a Compact, an End


def review(body: Object) -> list[Finding]:
    graph = Graph(body)
    return [*calls.findings(graph, {}), *data.findings(graph, {})]


TAINT = """
    Ask ask2 browse charge | browse: Act, charge: Act, x: E, error: C
    Act act browse charge  | ok: E, {next}error: C
    C compact              | retry: E, give_up: E
    E end                  |
"""


def test_what_strangers_wrote_may_stand_in_the_call_behind_the_one_that_read_it() -> None:
    tools = "browse read?, charge keyed"
    found = [one.code for one in review(sketch(TAINT.replace("{next}", "next: Next, "), tools=tools))]
    assert "LF403" in found
    alone = sketch(TAINT.replace("{next}", "").replace("ask2", "ask"), tools=tools)
    assert "LF403" not in [one.code for one in review(alone)]
    approved = TAINT.replace("charge: Act,", "charge: Sign,").replace("{next}", "next: Next, ") + (
        "Sign approve | approved: Act, rejected: E, expired: E\n"
    )
    assert "LF403" not in [one.code for one in review(sketch(approved, tools=tools))]


@pytest.mark.parametrize(
    ("change", "code", "state"),
    [
        (("next: Next, ", ""), "LF309", "Act"),
        (("next: Next", "next: E"), "LF310", "Act"),
        (("x: E, error", "x: Next, error"), "LF310", "Ask"),
        (("ask3", "ask"), "LF310", "Act"),
    ],
)
def test_a_definition_whose_next_is_missing_or_misplaced_is_refused(change: tuple[str, str], code: str, state: str) -> None:
    body = sketch(ROOMS.replace("{a}", "Act").replace(*change), tools="a keyed, b keyed")
    assert (code, state) in [(one.code, one.state) for one in review(body)]
    assert definition(body).compiled.states


def test_the_definition_says_how_many_and_only_where_there_are_several() -> None:
    body = clerk.definition().body
    states = cast("dict[str, Object]", body["states"])
    assert states["Plan"]["most"] == 4
    assert all("most" not in state for name, state in states.items() if name != "Plan")
    assert cast("Object", states["Do"]["edges"])["next"] == "Next"
    assert not list(violations(body))
    assert [str(one) for one in review(body) if one.level == "error"] == []


# ── declaring ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Ten(Plan):
    most = 100


class Nexts(Work[Box]):
    name = "Next"


def row(outcomes: dict[str, type], plan: type[Plan] = Plan) -> Callable[[], Machine[Box]]:
    def declared() -> Machine[Box]:
        machine = at_work(plan=plan)
        edges = {**machine.edges, Look: outcomes}
        return Anywhere("other", memory=Box, edges=edges)

    return declared


LOOKS: dict[str, type] = {"ok": Plan, "next": Next, "error": Short}


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (
            row({"ok": Plan, "error": Short}),
            "state Look: executes one of several calls of an answer; add 'next': Next to its row",
        ),
        (
            row({**LOOKS, "next": Plan}),
            "state Look: 'next' leads to Plan; only the 'next' of an Act leads to Next, and nowhere else",
        ),
        (row({**LOOKS, "ok": Next}), "state Look: 'ok' leads to Next; only the 'next' of an Act"),
        (lambda: at_work(plan=Ten), "state Ten: many calls in one answer are 2 to 20, and most is 100"),
        (lambda: Anywhere("m", memory=Box, edges={Nexts: {}}), "a state cannot be called 'Next', the pseudo-state"),
        (lambda: Anywhere("m", memory=Box, edges={Next: {}}), "Next has a row; it has none"),
        (
            lambda: Anywhere("m", memory=Box, edges={Post: {"ok": Done, "next": Next, "error": Short, "unknown": FindOut}}),
            "state Post: never ends in 'next': no Ask with `many = True` leads a call here",
        ),
    ],
)
def test_a_table_that_does_not_lead_on_is_refused_with_what_to_do(declared: Callable[[], object], message: str) -> None:
    with pytest.raises(EdgeError) as error:
        declared()
    assert message in str(error.value)


class Post(Act[Box]):
    runs = (save,)


class Says(Act[Box]):
    runs = (save,)

    def keep(self, memory: Box, got: Got) -> Literal["next"] | None:
        return None


def test_code_cannot_say_that_the_next_call_follows() -> None:
    with pytest.raises(DeclarationError, match="state Says: keep ends in 'next', which is the engine's to say"):
        Anywhere("m", memory=Box, edges={Says: {"ok": Done, "next": Next, "error": Short, "unknown": FindOut}})


def test_only_acts_that_a_call_can_come_to_lead_on() -> None:
    shapes = {
        "Ask": Shape("ask", {"a": "Work", "b": "Asks", "c": "Sign", "error": "C"}, ("a", "b", "c"), most=3),
        "Work": Shape("work", {"x": "Act", "y": "Built"}),
        "Act": Shape("act", {"ok": "End"}, ("a",)),
        "Built": Shape("act", {"ok": "End"}, ("a",), builds=True),
        "Asks": Shape("ask", {"x": "Other", "error": "C"}),
        "Other": Shape("act", {"ok": "End"}, ("b",)),
        "Sign": Shape("approve", {"approved": "Named", "rejected": "Third", "expired": "Third"}),
        "Named": Shape("act", {"done": "End"}, ("c",)),
        "Third": Shape("act", {"ok": "End"}, ("c",)),
        "Limit": Shape("act", {"ok": "End"}, ("b",)),
        "C": Shape("compact", {"retry": "Back"}),
    }
    assert onward(shapes, None) == {"Act": ["Work", "Asks", "Sign", "C"]}
    assert onward(shapes, "Limit") == {"Act": ["Work", "Asks", "Sign", "C"], "Limit": ["Work", "Asks", "Sign", "C"]}


# ── drawn ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_next_is_drawn_as_an_edge_to_every_state_that_it_can_mean() -> None:
    shown = text(clerk)
    assert "next  → the next call: Release, Look, Do, Short" in shown
    assert "Plan (ask, up to 4 calls)" in shown
    for drawn in (drawing(clerk), drawing(clerk.definition())):
        edges = {arrow.edge for arrow in drawn.arrows()}
        assert {("Do", "next", to) for to in ("Look", "Release", "Do", "Short")} <= edges
    assert text(clerk.definition()).count("the next call") == 2
    assert "Do --> Next" not in mermaid(clerk)


# ── the reducer reads what was executed together ─────────────────────────────────────────────────────────────────────────────


QUEUE: tuple[Object, ...] = tuple({"n": number, "tool_name": "b", "arguments": {}} for number in (1, 2))


def together(tools: str, *rules: Object) -> tuple[Definition, Run]:
    machine = definition(sketch(ROOMS.replace("{a}", "Act"), tools=tools, rules=rules))
    call = Pending("a", {}, "d", "Ask", 1, "k")
    return machine, Run("r", "m", machine.hash, "ready", "Act", {}, pending=call, queue=QUEUE, ordinal=1)


def test_what_a_rule_names_or_a_person_releases_is_executed_alone() -> None:
    assert len(beside(*together("a read, b read"))) == 2
    assert not beside(*together("a read, b read", {"rule": "bounded_existence", "events": [B], "at_most": 1}))
    assert not beside(*together("a read, b read", {"rule": "precedence", "first": [["Ask", "x"]], "before": "b"}))
    for tools in ("a read, b read!", "a read, b keyed", "a keyed, b read", "a once, b local"):
        assert not beside(*together(tools))


def test_calls_that_were_executed_together_each_take_a_number() -> None:
    machine, run = together("a read, b read")
    body: Object = {"state": "Act", "outcome": "error", "to": "D", "calls": [{"tool_name": "b"}]}
    after = reduce(machine, run, Event(1, 0, "acted", "engine", body, "", "", ""))
    assert (after.queue, after.ordinal, after.pending) == ((), 2, None)


@pytest.mark.parametrize(
    "body",
    [
        {"outcome": "next", "to": "Act"},
        {"outcome": "next", "to": "Act", "call": {"tool_name": "a", "arguments": {}, "digest": ""}},
        {"outcome": "next", "to": "E", "call": {"tool_name": "b", "arguments": {}, "digest": ""}},
        {"outcome": "next", "to": "D", "refused": {"tool_name": "b", "error": {}}},
    ],
)
def test_a_log_in_which_another_call_follows_than_the_one_that_waits_was_tampered_with(body: Object) -> None:
    machine, run = together("a read, b read")
    with pytest.raises(Tampered):
        reduce(machine, run, Event(1, 0, "acted", "engine", {"state": "Act", **body}, "", "", ""))
    empty = but(run, queue=())
    with pytest.raises(Tampered):
        reduce(machine, empty, Event(1, 0, "acted", "engine", {"state": "Act", **body}, "", "", ""))
