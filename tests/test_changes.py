"""What differs between two definitions, said in words that a reviewer reads and a program can rank."""

import copy
from collections.abc import Callable, Iterator
from typing import Never, cast

import pytest

from leverframe import Machine
from leverframe.canon import Json, Object, canonical
from leverframe.changes import changes
from leverframe.machine import Definition
from machines.refund import refund
from machines.restock import restock
from machines.sales_report import sales_report

NOW = refund.definition()
RULE = "“each call of issue_refund is executed only after Release: approved or Limit: small, since it was made”"


def at(body: Object, *path: str) -> Object:
    for name in path:
        body = cast("Object", body[name])
    return body


def choices(body: Object) -> list[Object]:
    return cast("list[Object]", at(body, "states", "Triage")["choices"])


def said(change: Callable[[Object], object]) -> list[str]:
    body = copy.deepcopy(NOW.body)
    change(body)
    return [str(found) for found in changes(NOW, Definition(canonical(body)))]


EDITS: list[tuple[Callable[[Object], object], list[str]]] = [
    (lambda body: None, []),
    (lambda body: body.update(version="2"), ["the version was , is 2"]),
    (lambda body: body.update(start="Triage"), ["the start was Read, is Triage"]),
    (lambda body: at(body, "states", "Limit", "edges").update(large="Pay"), ["state Limit: edge 'large' was Release, is Pay"]),
    (lambda body: at(body, "states", "Limit", "edges").update(odd="Pay"), ["state Limit: edge 'odd' is new: Pay"]),
    (lambda body: at(body, "states").pop("Recheck"), ["state Recheck is gone"]),
    (lambda body: at(body, "states", "Release").update(kind="consult"), ["state Release: kind was approve, is consult"]),
    (
        lambda body: at(body, "states", "Release").update(deadline=3_600_000_000, to="anybody"),
        ["state Release: deadline was 2 days, is 1 hour", "state Release: person asked was team lead, is anybody"],
    ),
    (lambda body: at(body, "states", "Triage", "texts").update({"": "Hello"}), ["state Triage: prompt changed"]),
    (lambda body: at(body, "states", "Triage", "texts").update(b="Hello"), ["state Triage: prompt variant 'b' is new"]),
    (
        lambda body: at(body, "states", "Triage").update(partials={"refund/_tone.md": "Be brief."}),
        ["state Triage: partial refund/_tone.md is new"],
    ),
    (
        lambda body: at(body, "states", "Triage").update(texts={"desk/a": "x", "desk/a.b": "y"}),
        ["state Triage: prompt is gone", "state Triage: prompt desk/a is new", "state Triage: prompt desk/a.b is new"],
    ),
    (lambda body: choices(body).reverse(), ["state Triage: what can be picked changed, in order only"]),
    (lambda body: at(body, "states", "Release").update(prompt=None), ["state Release: prompt is written in another way"]),
    (lambda body: body.pop("accepts"), ["the list of what is accepted is gone"]),
    (lambda body: choices(body).pop(), ["state Triage: reply 'escalate' is gone"]),
    (
        lambda body: at(choices(body)[-1], "schema").update(description="Other words"),
        ["state Triage: reply 'escalate' changed, in words only"],
    ),
    (lambda body: choices(body).pop(0), ["state Triage: tool issue_refund is gone"]),
    (
        lambda body: at(body, "tools", "issue_refund").update(effect="once", approval=True, doc="Pay."),
        [
            "tool issue_refund: approval was false, is true",
            "tool issue_refund: description changed",
            "tool issue_refund: effect was keyed, is once",
        ],
    ),
    (
        lambda body: at(body, "tools", "issue_refund", "input", "properties").update(amount={"type": "string"}, to={}),
        ["tool issue_refund: input changed: amount changed, to is new"],
    ),
    (
        lambda body: at(body, "limits").update(steps=400, cost=9_000_000),
        ["limit cost was 0.50 dollars, is 9.00 dollars", "limit steps was 40, is 400"],
    ),
    (lambda body: at(body, "limits").update(days=None), ["limit days is gone: 7"]),
    (
        lambda body: at(body, "memory", "properties").update(iban={"type": "string"}),
        ["the memory changed: iban is new"],
    ),
    (lambda body: body.update(rules=cast("Json", [])), [f"rule {RULE} is gone"]),
]


WORDS = ("name", "contract", "leverframe", "memory", "input", "returns", "doc", "texts", "replies", "deadline", "cost")


@pytest.mark.parametrize("word", WORDS)
def test_whatever_an_edge_a_tool_or_a_state_is_called_its_changes_are_told(word: str) -> None:
    def called(tool: Object, to: str) -> Definition:
        body = copy.deepcopy(NOW.body)
        at(body, "tools")[word] = {**at(body, "tools", "issue_refund"), **tool}
        at(body, "states")[word] = {**at(body, "states", "Limit"), "edges": {word: to}}
        return Definition(canonical(body))

    found = changes(called({"approval": True, "timeout": 5}, "Release"), called({"approval": False, "timeout": 6}, "Pay"))
    assert {str(change) for change in found} == {
        f"state {word}: edge '{word}' was Release, is Pay",
        f"tool {word}: approval was true, is false",
        f"tool {word}: timeout was 5, is 6",
    }


def leaves(value: Json, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The way to every value that holds no other, and to empty lists."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not inner and not isinstance(value, dict):
        yield path
    for name, each in inner:
        yield from leaves(each, (*path, name))


def other(value: Json) -> Json:
    """Another value of its type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return [*value, "other"] if isinstance(value, list) else f"{value}x"


@pytest.mark.parametrize("machine", [refund, restock, sales_report], ids=lambda machine: machine.name)
def test_nothing_in_a_definition_can_become_another_without_a_change_told(machine: Machine[Never]) -> None:
    now = machine.definition({each.name: each for each in (refund, restock, sales_report)})
    for *way, last in leaves(now.body):
        body = copy.deepcopy(now.body)
        holder = cast("dict[str | int, Json]", body)
        for step in way:
            holder = cast("dict[str | int, Json]", holder[step])
        holder[last] = other(holder[last])
        if (*way, last) not in (("leverframe",), ("name",)):
            assert changes(now, Definition(canonical(body))), (*way, last)


@pytest.mark.parametrize(("edit", "lines"), EDITS)
def test_every_difference_is_said_and_nothing_else(edit: Callable[[Object], object], lines: list[str]) -> None:
    assert said(edit) == lines


def test_a_change_is_data_too() -> None:
    body = copy.deepcopy(NOW.body)
    at(body, "limits")["steps"] = 41
    (change,) = changes(NOW, Definition(canonical(body)))
    assert change.json() == {
        "path": ["limits", "steps"],
        "kind": "changed",
        "was": 40,
        "now": 41,
        "words": False,
        "line": "limit steps was 40, is 41",
    }
