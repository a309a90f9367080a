"""Worst cases, against runs that are driven to theirs by the real reducer; and machines that have none."""

from typing import cast

import pytest

from leverframe.canon import Json, Object
from leverframe.check.bounds import Bounds, bounds, findings
from leverframe.check.finding import Hop
from leverframe.check.model import Graph
from leverframe.errors import EdgeError
from leverframe.reduce import route
from leverframe.run import but
from machines.restock import restock
from tests.sketch import definition, sketch
from tests.test_calls_oracle import Brute

LINE = """
    Read fetch look  | ok: Think, none: Person, error: Short
    Think ask book   | book: Book, stop: Done, error: Short
    Book act book    | ok: Tell, error: Short
    Tell ask         | said: Done, error: Short
    Person consult   | go: Think, expired: Lost
    Short once       | retry: Back, give_up: Lost
    Done end
    Lost fail
"""
TALK = """
    Listen consult   | said: Think, expired: Done
    Think ask        | ask: Listen, done: Done, error: Short
    Short compact    | retry: Back, give_up: Person
    Person consult   | go: Listen, handled: Done, expired: Done
    Done end
"""
AGAIN = """
    Think ask        | again: Work, done: Done, error: Short
    Work work        | x: Think, y: Think
    Short compact    | retry: Back, give_up: Done
    Done end
"""


def worst(body: Object) -> tuple[int, int]:
    """Steps and model calls of the longest runs there are, until they end or a person must look."""
    brute = Brute(definition(body))
    start = brute.first()
    asks = brute.definition.states[start.state].kind == "ask"
    todo = [but(start, model_calls=int(asks))]
    seen: set[object] = set()
    steps, calls = 0, int(asks)
    while todo:
        run = todo.pop()
        for begun, ended in brute.ends(run, 0):
            try:
                where = route(brute.definition, begun, cast("str", ended["outcome"]), 0)
            except EdgeError:
                continue
            tripped: Object = {"exceeded": where.tripped} if where.tripped else {}
            after = brute.then(begun, "worked", {**ended, "to": where.to, **tripped})
            steps = max(steps, after.steps)
            if after.status == "attention":
                continue
            calls = max(calls, after.model_calls)
            counts = (after.steps, after.model_calls, after.in_a_row, tuple(sorted(after.failures.items())))
            key = (brute.key(after), counts)
            if key not in seen:
                seen.add(key)
                todo.append(after)
    return steps, calls


@pytest.mark.parametrize(
    ("table", "limits", "reached"),
    [
        (LINE, {"steps": 50}, (True, True)),
        (LINE, {"steps": 3}, (True, False)),
        (LINE, {"steps": 50, "model_calls": 1}, (False, True)),  # fewer calls leave fewer steps
        (TALK, {"steps": 7}, (True, False)),
        (TALK, {"steps": 6, "exceeded": "Person"}, (True, False)),
        (TALK, {"steps": 9, "model_calls": 3}, (True, True)),
        (TALK, {"steps": 9, "model_calls": 2, "exceeded": "Think"}, (False, True)),
        (AGAIN, {"steps": 6}, (True, False)),
        (AGAIN, {"steps": 1, "exceeded": "Work"}, (True, False)),
        (AGAIN, {"steps": 8, "model_calls": 2, "exceeded": "Work"}, (False, True)),
    ],
)
def test_no_run_uses_up_more_than_its_bounds_and_some_run_all_of_them(
    table: str, limits: dict[str, Json], reached: tuple[bool, bool]
) -> None:
    body = sketch(table, limits=limits)
    found = bounds(Graph(body))
    steps, calls = worst(body)
    assert found.steps is not None
    assert found.model_calls is not None
    assert steps <= found.steps
    assert calls <= found.model_calls
    assert (steps == found.steps, calls == found.model_calls) == reached


def test_a_machine_without_a_cycle_is_bounded_by_its_longest_path() -> None:
    found = bounds(Graph(sketch(LINE, limits={"steps": 50})))
    assert found == Bounds(steps=6, model_calls=2, cost=None, structural=True)


def test_a_machine_with_a_cycle_is_bounded_by_its_limits_and_shows_the_cycle() -> None:
    found = bounds(Graph(sketch(TALK, limits={"steps": 7, "model_calls": 3, "cost": 500_000})))
    cycle = (Hop("Listen", "said", "Think"), Hop("Think", "ask", "Listen"))
    assert found == Bounds(steps=7, model_calls=3, cost=500_000, structural=False, cycle=cycle)


def test_retries_alone_are_no_cycle_for_they_are_counted() -> None:
    found = bounds(Graph(restock.definition().body))
    assert (found.steps, found.model_calls, found.cost, found.structural, found.cycle) == (61, 0, 0, False, ())


def codes(table: str, **limits: Json) -> list[str]:
    return [f"{each.code} {'; '.join(map(str, each.path))}" for each in findings(Graph(sketch(table, limits=limits)), {})]


def test_a_cycle_that_nothing_bounds_is_found() -> None:
    assert codes(TALK, steps=None, model_calls=3) == ["LF501 Listen –said→ Think; Think –ask→ Listen"]
    (finding,) = findings(Graph(sketch(TALK, limits={"steps": None, "cost": 1})), {})
    assert finding.message == "machine sketch: nothing bounds the cycle Listen → Think → Listen"


def test_a_model_that_is_called_in_a_cycle_needs_a_limit_of_its_own() -> None:
    expected = "LF502 Listen –said→ Think; Think –ask→ Listen; Listen –said→ Think"
    assert codes(TALK) == [expected]
    assert codes(TALK, model_calls=9) == codes(TALK, cost=9) == codes(LINE) == []


def test_limits_that_no_run_can_stay_within_are_found() -> None:
    assert codes(LINE, steps=1) == ["LF503 Read –ok→ Think; Think –stop→ Done"]
    assert codes(LINE, steps=2) == []
