"""Rules about the runs of a map, against brute force: every interleaving of up to three runs, and what they finish after they were cut.

Nothing of `leverframe.check` decides a move here. What brute force breaks may never be called proven; that what is proven cannot be
broken by more runs is left to the proof.
"""

from collections.abc import Iterator
from typing import NamedTuple, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from leverframe.automaton import Automaton, Letter, compiled, ended, entered
from leverframe.canon import Object
from leverframe.check.model import Graph
from leverframe.check.proofs import prove
from tests.sketch import sketch

Row = tuple[tuple[str, str], ...]
OVER = ("Good", "Bad")


class Now(NamedTuple):
    """The automaton, where the parent is, where each run is ("": not started; gone: it was cut), and which may still finish a step."""

    read: int
    parent: str
    runs: tuple[str, ...]
    late: tuple[str, ...] = ()


class Brute:
    def __init__(self, child: dict[str, Row], automaton: Automaton, *, at_once: int) -> None:
        self.child, self.automaton, self.at_once = child, automaton, at_once

    def breaks(self, most: int) -> bool:
        todo = [Now(self.automaton.read(0, [entered("Orders")]), "Orders", ("",) * most)]
        seen = set(todo)
        for now in todo:  # grows as it is walked
            if now.read in self.automaton.broken or (now.parent == "Closed" and now.read in self.automaton.unfinished):
                return True
            more = set(self.next(now)) - seen
            seen |= more
            todo += more
        return False

    def next(self, now: Now) -> Iterator[Now]:
        if now.parent != "Orders":
            for number, state in enumerate(now.late):
                rest = (*now.late[:number], *now.late[number + 1 :])
                yield from (now._replace(read=read, late=rest) for read, _ in self.steps(now.read, state))
            if now.parent == "Told":
                yield now._replace(read=self.parents(now.read, "Told", "go", "Closed"), parent="Closed")
            return
        for number, state in enumerate(now.runs):
            going = [each for each in now.runs if each and each not in OVER]
            if state or len(going) < self.at_once:
                for read, to in self.steps(now.read, state):
                    yield now._replace(read=read, runs=tuple(sorted((*now.runs[:number], to, *now.runs[number + 1 :]))))
        begun = [each for each in now.runs if each]
        if all(each in OVER for each in begun):
            outcome = "error" if "Bad" in begun else "done"
            yield Now(self.parents(now.read, "Orders", outcome, "Told"), "Told", ())
        cut = tuple(each for each in begun if each not in OVER)
        yield Now(self.parents(now.read, "Orders", "expired", "Told"), "Told", (), cut)

    def steps(self, read: int, state: str) -> Iterator[tuple[int, str]]:
        if not state:
            yield self.automaton.read(read, [entered("S0", "child")]), "S0"
        for outcome, to in self.child.get(state, ()):
            letters = [ended(state, outcome, "child"), entered(to, "child")]
            yield self.automaton.read(read, letters), to

    def parents(self, read: int, state: str, outcome: str, to: str) -> int:
        letters: list[Letter] = [ended(state, outcome), entered(to)]
        return self.automaton.read(read, letters)


@st.composite
def children(draw: st.DrawFn) -> dict[str, Row]:
    states = [f"S{number}" for number in range(draw(st.integers(1, 3)))]
    targets = st.sampled_from([*states, *OVER])
    return {state: tuple((outcome, draw(targets)) for outcome in ("x", "y")[: draw(st.integers(1, 2))]) for state in states}


EVENTS = st.one_of(
    st.sampled_from(["S0", "S1", "S2", "Good", "Bad"]).map(lambda state: {"state": state, "machine": "child"}),
    st.sampled_from(["S0", "S1"]).map(lambda state: {"state": state, "outcome": "x", "machine": "child"}),
    st.sampled_from(["done", "error", "expired"]).map(lambda outcome: {"state": "Orders", "outcome": outcome}),
    st.sampled_from(["Told", "Closed"]).map(lambda state: {"state": state}),
)


@st.composite
def rules(draw: st.DrawFn) -> Object:
    pattern = draw(st.sampled_from(("absence", "existence", "bounded_existence", "precedence", "response")))
    body: dict[str, object] = {"rule": pattern, "events": [draw(EVENTS)]}
    if pattern in ("precedence", "response"):
        body["other"] = [draw(EVENTS)]
    if pattern == "bounded_existence":
        body["at_most"] = draw(st.integers(1, 2))
    scope = draw(st.sampled_from(((), ("after",), ("before",), ("after", "until"), ("after", "until", "closed"))))
    if scope:
        body["scope"] = {name: True if name == "closed" else [draw(EVENTS)] for name in scope}
    return cast("Object", body)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(children(), rules(), st.sampled_from((1, 10)))
def test_what_runs_at_the_same_time_can_break_is_never_called_proven(child: dict[str, Row], rule: Object, at_once: int) -> None:
    rows = [f"{state} work | " + ", ".join(f"{outcome}: {to}" for outcome, to in row) for state, row in child.items()]
    inside = Graph(sketch("\n".join([*rows, "Good end", "Bad fail"]), name="child"))
    table = "Orders delegate child* | done: Told, error: Told, expired: Told\nTold work | go: Closed\nClosed end"
    body = sketch(table, rules=[rule])
    cast("dict[str, Object]", body["states"])["Orders"]["concurrency"] = at_once
    proofs = prove(Graph(body), {"child": inside})
    if proofs and proofs[0].proven:
        brute = Brute(child, compiled(rule), at_once=at_once)
        assert not any(brute.breaks(most) for most in range(4)), proofs[0].words
