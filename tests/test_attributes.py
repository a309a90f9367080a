"""What a state says of itself: whatever cannot be meant is refused where the machine is declared, by machine, state and attribute."""

from collections.abc import Callable
from datetime import timedelta
from types import new_class
from typing import Never, cast

import pytest

from leverframe import Act, Approve, Ask, Compact, Consult, Delegate, End, Fetch, Machine, Memory, Wait, Work, tool
from leverframe.errors import DeclarationError, EdgeError

DAY = timedelta(days=1)


class Desk(Memory):
    n: int = 0


@tool(effect="read")
def look(at: int) -> int:
    """Look."""
    return at


def plain(at: int) -> int:
    return at


async def later(self: object, memory: Desk) -> None:
    """Any of a state's methods, async."""


def said(kind: object, **attributes: object) -> str:
    """The message that a machine is refused with whose one state says this of itself."""
    here = new_class("Here", (cast("type[Work[Desk]]", kind),), {}, lambda body: body.update(attributes))
    with pytest.raises(EdgeError) as refused:
        Machine("desk", memory=Desk, edges={here: {}})
    return str(refused.value)


@pytest.mark.parametrize(
    ("kind", "attributes", "message"),
    [
        (Work, {}, "has no `run`, which says what it does; define it"),
        (Fetch, {"runs": (look,)}, "has no `calls`, which says what it does; define it"),
        (Delegate, {"machine": "other", "deadline": DAY}, "has no `give`, which says what it does; define it"),
        (Act, {"runs": look}, "runs is an instance of ModelTool; write runs = (some_tool,), with the comma"),
        (Act, {"runs": ("look",)}, "runs holds 'look', a string, which is not a tool; decorate it with @tool"),
        (Act, {"runs": (plain,)}, "runs holds the function plain, which is not a tool; decorate it with @tool"),
        (Act, {}, "runs is empty; write runs = (some_tool,)"),
        (Ask, {"prompt": "desk/think"}, "replies is empty; write replies = (some_tool, SomeReply)"),
        (Ask, {"prompt": 3, "replies": (look,)}, "prompt is 3, a number; write a string"),
        (Ask, {"prompt": " ", "replies": (look,)}, 'has no prompt; set prompt = "agent/state"'),
        (Ask, {"prompt": "a/b", "replies": (look,), "threshold": 7}, "threshold is 7, a number; give a number from 0 to 1"),
        (Approve, {"to": 5, "deadline": DAY}, "to is 5, a number; write a string"),
        (Approve, {"to": "ann", "deadline": 3}, "deadline is 3, a number; write timedelta(hours=…) or timedelta(days=…)"),
        (Approve, {"to": "ann", "deadline": -DAY}, "waits without a deadline"),
        (Consult, {"to": "ann", "deadline": timedelta.max}, "deadline is 999,999,999 days; give at most 36,500"),
        (
            Consult,
            {"to": "ann", "deadline": DAY, "replies": (look,)},
            "replies holds an instance of ModelTool, which is not a Reply",
        ),
        (Wait, {"deadline": DAY, "events": "woken"}, "events is 'woken', a string; write events = (SomeReply,), with the comma"),
        (Delegate, {"give": plain, "deadline": DAY}, 'delegates to no machine; set machine = "its name"'),
        (Compact, {"times": "3"}, "times is '3', a string; give a whole number, 0 or more"),
        (End, {"success": "no"}, "success is 'no', a string; write True or False"),
    ],
)
def test_what_a_state_cannot_mean_is_refused_by_name(kind: object, attributes: dict[str, object], message: str) -> None:
    assert f"machine desk: state Here: {message}" in said(kind, **attributes)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("concurrency", 0, "concurrency is 0, a number; give a whole number, 1 or more"),
        ("max_failed", -1, "max_failed is -1, a number; give a whole number, 0 or more"),
        ("returns", {}, "returns is an instance of dict; name the model of the other machine's result"),
    ],
)
def test_how_a_delegate_delegates_is_checked(name: str, value: object, message: str) -> None:
    assert message in said(Delegate, machine="other", give=plain, deadline=DAY, **{name: value})


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Work, "run"),
        (Fetch, "calls"),
        (Act, "build"),
        (Act, "keep"),
        (Ask, "keep"),
        (Approve, "show"),
        (Consult, "question"),
        (Consult, "keep"),
        (Delegate, "give"),
        (Compact, "shorten"),
        (End, "result"),
    ],
)
def test_code_of_a_state_is_never_async(kind: object, name: str) -> None:
    assert f"state Here: {name} is async; states are plain code, what waits belongs into a tool" in said(kind, **{name: later})


class Over(End[Desk]):
    pass


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rules": ["x"]}, "machine desk: rules holds 'x', a string, which is no Rule"),
        ({"rules": "x"}, "machine desk: rules is 'x', a string; write a list of Rule"),
        ({"accepts": ["LF101"]}, "machine desk: accepts holds 'LF101', a string, which is no Accept"),
    ],
)
def test_rules_and_accepted_findings_are_what_they_are_called(given: dict[str, object], message: str) -> None:
    declare = cast("Callable[..., Machine[Never]]", Machine)
    with pytest.raises(DeclarationError, match=message):
        declare("desk", memory=Desk, edges={Over: {}}, **given)
