"""What differs between two definitions, said in words that a reviewer reads and a program can rank."""

import copy
from collections.abc import Callable
from typing import cast

import pytest

from leverframe.canon import Json, Object, canonical
from leverframe.changes import changes
from leverframe.machine import Definition
from machines.refund import refund

NOW = refund.definition()
RULE = "“each call of issue_refund is executed only after Release: approved or Limit: small, since it was made”"


def at(body: Object, *path: str) -> Object:
    for name in path:
        body = cast(Object, body[name])
    return body


def choices(body: Object) -> list[Object]:
    return cast(list[Object], at(body, "states", "Triage")["choices"])


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
    (lambda body: choices(body).reverse(), []),
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
    (lambda body: body.update(rules=cast(Json, [])), [f"rule {RULE} is gone"]),
]


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
