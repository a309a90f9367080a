"""Where strangers' words may lead, against brute force: every run of a small random machine, moved by the real reducer, with a mark on
what they may have had a hand in. Nothing of `leverframe.check` decides a move or a mark here.
"""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple, cast

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from leverframe.canon import Json, Object
from leverframe.check.data import findings
from leverframe.check.model import Graph
from leverframe.run import Run
from tests.sketch import definition
from tests.test_calls_oracle import Brute, machines

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much, HealthCheck.large_base_example]
Step = tuple[tuple[str, ...], str, Run, Run]


class Marks(NamedTuple):
    """Whether strangers' words are in the run; whether a model answered since; whether the pending call was made after that."""

    read: bool = False
    led: bool = False
    call: bool = False


class Tainted(Brute):
    """`found`: the calls that execute with the mark on them, and how many hops the shortest way there has."""

    def __init__(self, body: Object) -> None:
        super().__init__(definition(body))
        self.kinds = {name: spec.kind for name, spec in self.definition.states.items()}
        tools = cast("dict[str, Object]", body["tools"])
        self.strange = {name for name, tool in tools.items() if tool["untrusted"]}
        self.lasting = {name for name, tool in tools.items() if tool["effect"] != "read"}
        self.found: dict[tuple[str, str], int] = {}

    def search(self) -> "Tainted":
        start = self.first()
        todo = deque([(start, Marks(), 0)])
        seen = {(self.key(start), Marks())}
        while todo:
            run, marks, depth = todo.popleft()
            for done, outcome, begun, after in self.steps(run):
                on = self.marked(run, marks, done, outcome, begun, after, depth)
                if (key := (self.key(after), on)) not in seen:
                    seen.add(key)
                    todo.append((after, on, depth + 1))
        return self

    def steps(self, run: Run) -> Iterator[Step]:
        """What is executed, how the state ends, the run when it executes, the run after it."""
        for begun, body in self.ends(run, 0):
            calls = [str(cast("Object", call)["tool_name"]) for call in cast("list[Json]", body.get("calls", []))]
            if self.kinds[run.state] == "act" and begun.pending is not None:
                calls = [begun.pending.tool_name]
            for _, after in self.leaves(begun, body):
                yield tuple(calls), str(body["outcome"]), begun, after
        for hop, after in self.next(run):
            if hop.outcome == "edited":
                yield (), "edited", run, after

    def marked(self, run: Run, marks: Marks, done: tuple[str, ...], outcome: str, begun: Run, after: Run, depth: int) -> Marks:
        kind, (read, led, call) = self.kinds[run.state], marks
        if _made(run, begun):
            call = led
        for tool in done:
            if kind == "act" and call and tool in self.lasting:
                self.found.setdefault((run.state, tool), depth)
            read = read or tool in self.strange
        if kind == "ask" and outcome != "error":
            led = led or read
        if kind == "approve" and outcome == "approved":
            call = False
        if outcome == "next":
            call = led or read  # it may refer to what an earlier call gave, whoever's words that are
        elif _made(begun, after):
            call = led
        return Marks(read, led, call and after.pending is not None)


def _made(before: Run, after: Run) -> bool:
    """Is the pending call another one than before?"""
    return after.pending is not None and (before.pending is None or before.pending.digest != after.pending.digest)


@st.composite
def with_strangers(draw: st.DrawFn) -> Object:
    """The machines of the flow of calls; any tool may give what strangers wrote, and what a Fetch runs only reads."""
    body = draw(machines())
    tools = cast("dict[str, Object]", body["tools"])
    tools["c"] = {**tools["a"], "effect": "read", "approval": False}
    for tool in tools.values():
        tool["untrusted"] = draw(st.booleans())
    for state in cast("dict[str, Object]", body["states"]).values():
        if state["kind"] == "fetch":
            state["tools"] = ["c"]
    body["rules"] = []
    if draw(st.integers(0, 2)):  # most runs begin with what strangers wrote, or nearly all machines would be safe
        tools["c"]["untrusted"] = True
        edges: Json = {"ok": body["start"], "error": "C"}
        cast("Object", body["states"])["R"] = {"kind": "fetch", "doc": "", "tools": ["c"], "builds": False, "edges": edges}
        body["start"] = "R"
    return body


@pytest.mark.parametrize("times", [150, pytest.param(600, marks=pytest.mark.long)])
def test_where_strangers_words_may_lead_is_what_brute_force_finds(times: int) -> None:
    settings(max_examples=times, deadline=None, derandomize=True, suppress_health_check=SLOW)(given(with_strangers())(agreed))()


def agreed(body: Object) -> None:
    brute = Tainted(body).search()
    said = {(str(each.state), each.message.split(" can execute ")[1].split()[0]): each.path for each in findings(Graph(body), {})}
    assert said.keys() == brute.found.keys()
    for where, path in said.items():
        assert len(path) == brute.found[where], (where, path)
        assert brute.follows(path), (where, path)


def is_astray(body: Object) -> bool:
    return bool(Tainted(body).search().found)


def is_safe(body: Object) -> bool:
    return not is_astray(body)


def test_some_of_the_random_machines_are_led_astray_and_some_are_not() -> None:
    quick = settings(max_examples=300, derandomize=True, phases=[Phase.generate], suppress_health_check=SLOW, deadline=None)
    for goes in (is_astray, is_safe):
        assert find(with_strangers(), goes, settings=quick)
