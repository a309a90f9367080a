"""Where strangers' words may lead, against brute force: every run of a small random machine, moved by the real reducer, with a mark on
what they may have had a hand in. Nothing of `leverframe.check` decides a move or a mark here.
"""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple, cast

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leverframe.canon import Json, Object
from leverframe.check.data import findings
from leverframe.check.model import Graph
from leverframe.run import Run
from tests.sketch import definition
from tests.test_calls_oracle import Brute, machines

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
        tools = cast(dict[str, Object], body["tools"])
        self.strange = {name for name, tool in tools.items() if tool["untrusted"]}
        self.acts = {name for name, tool in tools.items() if tool["effect"] != "read"}
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
            calls = [str(cast(Object, call)["tool_name"]) for call in cast(list[Json], body.get("calls", []))]
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
            if kind == "act" and call and tool in self.acts:
                self.found.setdefault((run.state, tool), depth)
            read = read or tool in self.strange
        if kind == "ask" and outcome != "error":
            led = led or read
        if kind == "approve" and outcome == "approved":
            call = False
        if _made(begun, after):
            call = led
        return Marks(read, led, call and after.pending is not None)


def _made(before: Run, after: Run) -> bool:
    """Is the pending call another one than before?"""
    return after.pending is not None and (before.pending is None or before.pending.digest != after.pending.digest)


@st.composite
def with_strangers(draw: st.DrawFn) -> Object:
    """The machines of the flow of calls; any tool may give what strangers wrote, and what a Fetch runs only reads."""
    body = draw(machines())
    tools = cast(dict[str, Object], body["tools"])
    tools["c"] = {**tools["a"], "effect": "read", "approval": False}
    for tool in tools.values():
        tool["untrusted"] = draw(st.booleans())
    for state in cast(dict[str, Object], body["states"]).values():
        if state["kind"] == "fetch":
            state["tools"] = ["c"]
    body["rules"] = []
    if draw(st.integers(0, 2)):  # most runs begin with what strangers wrote, or nearly all machines would be safe
        tools["c"]["untrusted"] = True
        edges: Json = {"ok": body["start"], "error": "C"}
        cast(Object, body["states"])["R"] = {"kind": "fetch", "doc": "", "tools": ["c"], "builds": False, "edges": edges}
        body["start"] = "R"
    return body


@settings(
    max_examples=600, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(with_strangers())
def test_where_strangers_words_may_lead_is_what_brute_force_finds(body: Object) -> None:
    brute = Tainted(body).search()
    said = {(str(each.state), each.message.split(" can execute ")[1].split()[0]): each.path for each in findings(Graph(body), {})}
    assert said.keys() == brute.found.keys()
    for where, path in said.items():
        assert len(path) == brute.found[where], (where, path)
        assert brute.follows(path), (where, path)


def test_some_of_the_random_machines_are_led_astray_and_some_are_not() -> None:
    both: set[bool] = set()

    @settings(max_examples=100, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(with_strangers())
    def look(body: Object) -> None:
        both.add(bool(Tainted(body).search().found))

    look()
    assert both == {True, False}
