"""The flow of calls and the proofs, against brute force: every run of a small random machine, moved by the real reducer.

Nothing of `leverframe.check` decides a move here: a configuration is a `Run`, and its next ones are what `route` and `reduce` make of
every outcome, with and without a limit that trips. Counts are forgotten (but whether there was an error at all), and of doubts the last
two are remembered: a person may settle any of them at any time.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leverframe.automaton import entered, executed
from leverframe.canon import Json, Object
from leverframe.check.calls import Calls
from leverframe.check.finding import Hop
from leverframe.check.model import Graph
from leverframe.check.proofs import prove
from leverframe.errors import EdgeError
from leverframe.machine import Definition, Spec
from leverframe.reduce import begin, reduce, route
from leverframe.run import Event, Pending, Run, but
from tests.sketch import definition, sketch

TOO_MANY_STEPS = 10**9


@dataclass(frozen=True)
class Happened:
    """A tool that was executed: where, which, whether a person had approved the call, and whether it kept its per-call rules."""

    state: str
    tool: str
    approved: bool
    within_rules: bool


@dataclass
class Brute:
    """Everything one machine can do."""

    definition: Definition
    pending: set[tuple[str, str, str, bool]] = field(default_factory=set[tuple[str, str, str, bool]])
    executed: set[Happened] = field(default_factory=set[Happened])
    broken: dict[int, int] = field(default_factory=dict[int, int])  # by rule: hops of a shortest counter-example

    def explore(self) -> "Brute":
        start = self.first()
        depth = {self.key(start): 0}
        todo = deque([start])
        while todo:
            run = todo.popleft()
            here = depth[self.key(run)]
            self.note(run, here)
            for _, after in self.next(run, here):
                key = self.key(after)
                if key not in depth:
                    depth[key] = here + 1
                    todo.append(after)
        return self

    def first(self) -> Run:
        body: Object = {"run": "r", "machine": "m", "definition": "d", "state": self.definition.start, "memory": {}}
        run = begin(_event(0, "started", body))
        automata = self.definition.automata
        return but(run, rules=tuple(each.read(0, [entered(run.state)]) for each in automata))

    def key(self, run: Run) -> object:
        call, spec = run.pending, self.definition.states[run.state]
        firsts = {
            tuple(cast("list[str]", pair)) for rule in self.definition.call_rules for pair in cast("list[Json]", rule["first"])
        }
        return (
            run.state,
            call and (call.tool_name, call.maker, call.approved == call.digest, frozenset(firsts & set(call.via))),
            tuple(item["tool_name"] for item in run.queue),
            run.back if spec.kind == "compact" else None,
            spec.kind == "compact" and self.erred(run),
            tuple(doubt.maker for doubt in run.doubts),
            (run.exceeded, run.rules),
        )

    def erred(self, run: Run) -> bool:
        return bool(run.in_a_row or run.failures.get(str((run.error or {}).get("state"))))

    # ── what there is to see ─────────────────────────────────────────────────────────────────────────────────────────────────

    def note(self, run: Run, depth: int) -> None:
        call = run.pending
        if call is not None:
            self.pending.add((run.state, call.maker, call.tool_name, call.approved == call.digest))
        ends = self.definition.states[run.state].kind == "end"
        for number, (automaton, state) in enumerate(zip(self.definition.automata, run.rules, strict=True)):
            if state in automaton.broken or (ends and state in automaton.unfinished):
                self.breaks(self.definition.run_rules[number], depth)

    def breaks(self, rule: Object, depth: int) -> None:
        for number in (number for number, each in enumerate(self.definition.rules) if each == rule):
            self.broken[number] = min(depth, self.broken.get(number, depth))

    def executes(self, run: Run, call: Pending, depth: int) -> None:
        keeps = True
        for rule in self.definition.call_rules:
            if rule["before"] == call.tool_name and not any(list(step) in cast("list[Json]", rule["first"]) for step in call.via):
                keeps = False
                self.breaks(rule, depth)
        self.executed.add(Happened(run.state, call.tool_name, call.approved == call.digest, keeps))

    # ── what can happen next ─────────────────────────────────────────────────────────────────────────────────────────────────

    def next(self, run: Run, depth: int = 0) -> Iterator[tuple[Hop, Run]]:
        spec = self.definition.states[run.state]
        for begun, body in self.ends(run, depth):
            yield from self.leaves(begun, body)
        if spec.kind == "approve" and run.pending is not None:
            asked = self.then(run, "opened", {"task": "t", "kind": "approve", "expires_at": 0})
            edit: Object = {"task": "t", "next": "u", "shown": "", "call": _call(run.pending.tool_name, run.ordinal + 1)}
            yield Hop(run.state, "edited", run.state), but(self.then(asked, "edited", edit), waiting=None, status="ready")

    def ends(self, run: Run, depth: int) -> Iterator[tuple[Run, Object]]:
        """Each way the state can end, as the event that says so; and the run by then."""
        spec = self.definition.states[run.state]
        if spec.kind == "act":
            yield from self.acts(run, spec, depth)
            return
        for outcome in spec.edges:
            if spec.kind == "compact" and outcome == "retry" and spec.times <= 1 and self.erred(run):
                continue
            if spec.kind == "ask" and outcome in spec.tools:
                for more in _lists(sorted(spec.tools), spec.most - 1):
                    queue: list[Json] = [{"n": number, **_call(tool, 0)} for number, tool in enumerate(more, 1)]
                    yield run, {"outcome": outcome, "call": _call(outcome, run.ordinal + 1), "queue": queue}
            elif spec.kind == "fetch":
                for tools in _lists(sorted(spec.tools)):
                    self.would_break(run, tools, depth)
                    for rule in self.definition.call_rules:
                        if rule["before"] in tools:
                            self.breaks(rule, depth)  # it is made and executed in one
                    yield run, {"outcome": outcome, "calls": [{"tool_name": tool} for tool in tools]}
            else:
                yield run, {"outcome": outcome}

    def acts(self, run: Run, spec: Spec, depth: int) -> Iterator[tuple[Run, Object]]:
        for begun, tool in self.begun(run):
            self.executes(begun, cast("Pending", begun.pending), depth)
            self.would_break(begun, [tool], depth)
            effect = self.definition.tools[tool].effect
            for outcome in spec.edges:
                if outcome == "next":
                    for item in begun.queue[:1]:
                        yield begun, {"outcome": outcome, "effect": effect, "call": _call(str(item["tool_name"]), 0)}
                        yield begun, {"outcome": outcome, "effect": effect, "refused": {**item, "error": {}}}
                elif outcome == "ok" and begun.queue and "next" in spec.edges:
                    continue  # what waits comes first
                elif outcome != "unknown" or effect in ("keyed", "once"):
                    yield begun, {"outcome": outcome, "effect": effect}

    def begun(self, run: Run) -> Iterator[tuple[Run, str]]:
        """An Act that executes something: what is pending, if it runs that, or what it builds."""
        spec = self.definition.states[run.state]
        if run.pending is None and spec.builds:
            for tool in sorted(spec.tools):
                yield self.then(run, "built", {"call": _call(tool, run.ordinal + 1), "fence": 1}), tool
        elif run.pending is not None and run.pending.tool_name in spec.tools:
            yield run, run.pending.tool_name

    def would_break(self, run: Run, tools: list[str], depth: int) -> None:
        """The engine refuses before it executes; so a rule that a tool breaks is broken here, and not one hop later."""
        for number, (automaton, state) in enumerate(zip(self.definition.automata, run.rules, strict=True)):
            if automaton.read(state, [executed(tool) for tool in tools]) in automaton.broken:
                self.breaks(self.definition.run_rules[number], depth)

    def leaves(self, run: Run, body: Object) -> Iterator[tuple[Hop, Run]]:
        """With no limit in sight; and where one trips just now."""
        outcome = cast("str", body["outcome"])
        for steps in (0, TOO_MANY_STEPS):
            counted = but(run, steps=steps)
            try:
                where = route(self.definition, counted, outcome, 0, call=cast("Object | None", body.get("call")))
            except EdgeError:
                return  # a Compact that nothing led to: there is no way Back
            moved = where.tripped is not None and where.to == self.definition.exceeded and not run.exceeded
            if steps and not moved:
                continue  # a person grants more, and it goes on as if there were no limit; or the limit did not matter
            tripped: Object = {"exceeded": where.tripped} if where.tripped else {}
            after = self.then(counted, "worked", {**body, "to": where.to, **tripped})
            yield Hop(run.state, "exceeded" if moved else outcome, where.to), self.forgotten(after)

    def forgotten(self, run: Run) -> Run:
        failures = dict.fromkeys(run.failures, 1)
        return but(
            run, steps=0, failures=failures, in_a_row=min(run.in_a_row, 1), doubts=run.doubts[-2:], status="ready", reason=None
        )

    def then(self, run: Run, type: str, body: Object) -> Run:
        return reduce(self.definition, run, _event(run.seq, type, body))

    # ── a path of somebody else's ────────────────────────────────────────────────────────────────────────────────────────────

    def follows(self, path: tuple[Hop, ...]) -> bool:
        """Is there a run that takes this path?"""
        fresh = Brute(self.definition)
        runs = {self.key(run): run for run in [self.first()]}
        for hop in path:
            runs = {self.key(after): after for run in runs.values() for taken, after in fresh.next(run) if taken == hop}
        return bool(runs)


def _event(seq: int, type: str, body: Object) -> Event:
    return Event(seq + 1, 0, type, "test", body, "", "", "")


def _call(tool: str, ordinal: int) -> Object:
    return {"tool_name": tool, "arguments": {}, "digest": f"digest {ordinal}"}


def _lists(tools: list[str], most: int = 3) -> list[list[str]]:
    return [list(some) for length in range(most + 1) for some in product(tools, repeat=length)]


# ── random machines ──────────────────────────────────────────────────────────────────────────────────────────────────────────

TOOLS = ("a", "b")
OWN = {
    "work": ("x", "y"),
    "wait": ("x", "expired"),
    "delegate": ("done", "error", "expired"),
    "approve": ("approved", "rejected", "expired"),
    "consult": ("x", "expired"),
    "compact": ("retry", "give_up"),
    "once": ("retry", "give_up"),
}
KINDS = ("work", "work", "fetch", "ask", "act", "act", "build", "approve", "approve", "wait", "delegate", "consult")


@st.composite
def machines(draw: st.DrawFn) -> Object:
    """Up to six states, an End and a Compact among them; errors lead to Compacts, and `unknown` to a state of its own that settles it."""
    kinds = {f"S{index}": draw(st.sampled_from(KINDS)) for index in range(draw(st.integers(1, 4)))}
    if draw(st.integers(0, 3)):
        kinds["S0"] = draw(st.sampled_from(("ask", "ask2", "ask3")))
    several = any(kind in ("ask2", "ask3") for kind in kinds.values())
    kinds |= {"C": draw(st.sampled_from(("compact", "once"))), "E": "end"}
    listed = {state: draw(st.sampled_from((("a",), ("b",), ("a", "b")))) for state in kinds}
    settler = next((state for state in kinds if kinds[state] in ("consult", "fetch")), None)
    others = [state for state in kinds if state not in ("C", settler)]
    lines: list[str] = []
    for state, kind in kinds.items():
        rest = (
            " ".join(listed[state])
            if kind in ("fetch", "act", "build") or kind.startswith("ask")
            else "child"
            if kind == "delegate"
            else ""
        )
        edges: dict[str, str] = {}
        for outcome in _outcomes(kind, listed[state], settler, settles=state == settler):
            to = "C" if outcome in ("error", "not_happened") else "Back" if outcome == "retry" else None
            to = settler if outcome == "unknown" else to
            elsewhere = [other for other in others if other != state] if draw(st.integers(0, 3)) else others
            if kind in ("ask2", "ask3") and outcome in TOOLS and draw(st.integers(0, 4)):
                elsewhere = [other for other in others if kinds[other] == "act" and outcome in listed[other]] or elsewhere
            edges[outcome] = to or draw(st.permutations(elsewhere))[0]
        if kind == "act" and several and draw(st.integers(0, 4)):
            edges["next"] = "Next"
        lines.append(f"{state} {kind} {rest} | " + ", ".join(f"{outcome}: {to}" for outcome, to in edges.items()))
    start = "S0" if settler != "S0" else next(iter(others))
    lines.sort(key=lambda line: line.split()[0] != start)
    exceeded = draw(st.sampled_from((None, *others)))
    effects = {tool: draw(st.sampled_from(("keyed", "keyed!", "once!", "local", "read"))) for tool in TOOLS}
    rules = [draw(rules_over(kinds, lines)) for _ in range(2)]
    tools = ", ".join(f"{tool} {effect}" for tool, effect in effects.items())
    return sketch("\n".join(lines), tools=tools, limits={"exceeded": exceeded}, rules=rules)


def _outcomes(kind: str, tools: tuple[str, ...], settler: str | None, *, settles: bool) -> tuple[str, ...]:
    found = ("happened", "not_happened") if settles else ()
    if kind.startswith("ask"):
        return (*tools, "x", "error")
    if kind == "fetch":
        return (*found, "ok", "error")
    if kind in ("act", "build"):
        return ("ok", "error", *(("unknown",) if settler else ()))
    return (*found, *OWN.get(kind, ()))


@st.composite
def rules_over(draw: st.DrawFn, kinds: dict[str, str], lines: list[str]) -> Object:
    outcomes = [(line.split()[0], edge.split(":")[0].strip()) for line in lines for edge in line.partition("|")[2].split(",")]
    pairs = [(state, outcome) for state, outcome in outcomes if outcome]
    if draw(st.integers(0, 3)) == 0:
        first = draw(st.lists(st.sampled_from(pairs), min_size=1, max_size=2))
        return {"rule": "precedence", "first": [list(pair) for pair in first], "before": draw(st.sampled_from(TOOLS))}
    some = st.one_of(
        st.sampled_from(sorted(kinds)).map(lambda state: {"state": state}),
        st.sampled_from(pairs).map(lambda pair: {"state": pair[0], "outcome": pair[1]}),
        st.sampled_from(TOOLS).map(lambda tool: {"tool": tool}),
    )
    pattern = draw(st.sampled_from(("absence", "existence", "universality", "bounded_existence", "precedence", "response")))
    states = st.lists(st.sampled_from(sorted(kinds)).map(lambda state: {"state": state}), min_size=1, max_size=3)
    body: dict[str, object] = {"rule": pattern, "events": draw(states) if pattern == "universality" else [draw(some)]}
    if pattern in ("precedence", "response"):
        body["other"] = [draw(some)]
    if pattern == "bounded_existence":
        body["at_most"] = 1
    scope = draw(st.sampled_from(((), (), ("after",), ("before",), ("after", "until"), ("after", "until", "closed"))))
    if scope:
        body["scope"] = {name: True if name == "closed" else [draw(some)] for name in scope}
    return cast("Object", body)


def agreed(body: Object) -> list[bool]:
    """Which rules are proven; brute force finds the same, with counter-examples of the same length."""
    brute = Brute(definition(body)).explore()
    graph = Graph(body)
    calls = Calls(graph)
    pending = {
        (state, call.maker, call.tool, approved)
        for state, found in calls.pending.items()
        for call in found
        for approved in (True, False)
        if (call.approved if approved else call.open)
    }
    assert pending == brute.pending
    executed = {(state, tool, approved) for (state, tool), how in calls.executed.items() for approved in how}
    assert executed == {(each.state, each.tool, each.approved) for each in brute.executed}
    proofs = prove(graph, {})
    for number, proof in enumerate(proofs):
        assert proof.proven == (number not in brute.broken), proof.words
        if not proof.proven:
            assert len(proof.path) == brute.broken[number], (proof.words, proof.path)
            assert brute.follows(proof.path), (proof.words, proof.path)
    return [proof.proven for proof in proofs]


@pytest.mark.parametrize("times", [150, pytest.param(600, marks=pytest.mark.long)])
def test_the_flow_of_calls_and_the_proofs_say_what_brute_force_finds(times: int) -> None:
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]

    @settings(max_examples=times, deadline=None, derandomize=True, suppress_health_check=slow)
    @given(machines())
    def they_agree(body: Object) -> None:
        agreed(body)

    they_agree()
