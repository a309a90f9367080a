"""Which calls can be pending where, exactly as the reducer carries them; and that none executes unreleased, unseen or by surprise.

Followed are state × tool of the pending call × whether a person approved exactly this call, with its maker as origin. A call is voided,
and an approval with it, where the reducer does so: by an edit, by entering an Ask, Consult, Compact, End or an Act that builds its own,
by any end of an Act, and by `rejected` and `expired` of an Approve.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from leverframe.automaton import Automaton, ended, executed, of_each_call
from leverframe.check.finding import Finding, Hop, Level
from leverframe.check.flow import Flow
from leverframe.check.model import Graph, Node
from leverframe.check.walk import Flows, Walk

UNAPPROVED, NEVER_APPROVED, NO_CALL, FOREIGN, DROPPED, NOTHING_TO_APPROVE, NEVER_EXECUTED, NO_DOUBT = (
    f"LF30{number}" for number in range(1, 9)
)
LEVELS: Mapping[str, Level] = {NEVER_EXECUTED: "warning", NO_DOUBT: "warning"}
REMEDIES: Mapping[str, str] = {
    UNAPPROVED: "lead the call through an Approve that ends in 'approved' right before, with nothing after it that voids the approval",
    NEVER_APPROVED: "let an Ask make the call, so that a person can see it before; or declare approval=False",
    NO_CALL: "lead only states here that keep a call pending, or give the Act a build()",
    FOREIGN: "list the tool in the Act's runs, or lead the call to the Act that runs it",
    DROPPED: "lead the call to the Act that runs it, or end it (in an Ask, Consult or Compact) before another is made",
    NOTHING_TO_APPROVE: "lead only states here that keep a call pending",
    NEVER_EXECUTED: "lead the call to an Act that runs it, or let the Ask answer with a Reply in its place",
    NO_DOUBT: "enter this state by 'unknown' alone: it finds out what became of a call in doubt",
}


@dataclass(frozen=True, slots=True, order=True)
class PendingCall:
    """A call that can be pending in a state. `approved` and `open`: with a person's approval of exactly this call, and without."""

    maker: str
    tool: str
    approved: bool
    open: bool


@dataclass
class Calls:
    """What a walk over the machine found out about its calls."""

    graph: Graph
    flow: Flow = field(init=False)

    def __post_init__(self) -> None:
        self.flow = Flow(self.graph)

    @cached_property
    def walk(self) -> Walk:
        return Walk(self.flow, _approvals(self.graph), Flows({}), first=False).run()

    @cached_property
    def pending(self) -> dict[str, tuple[PendingCall, ...]]:
        """The calls that can be pending in each state, by maker and tool; states in which none can are left out."""
        found: dict[str, dict[tuple[str, str], set[bool]]] = {}
        for (spot, approved), origins in self.walk.seen.items():
            if spot.tool:
                for maker in self.flow.origins(origins):
                    found.setdefault(spot.state, {}).setdefault((maker, spot.tool), set()).add(bool(approved))
        return {
            state: tuple(sorted(PendingCall(*call, True in how, False in how) for call, how in calls.items()))
            for state, calls in found.items()
        }

    @cached_property
    def executed(self) -> dict[tuple[str, str], frozenset[bool]]:
        """For each (Act, tool) that can be executed: with an approval of that call (True), without (False). Refusals are left out of it."""
        found: dict[tuple[str, str], set[bool]] = {}
        for spot, approved in self.walk.seen:
            built = self.graph.nodes[spot.state].builds
            for tool in self.flow.runs(spot):
                found.setdefault((spot.state, tool), set()).add(bool(approved) and not built)
        return {key: frozenset(how) for key, how in found.items()}

    def first(self, state: str, tool: str | None = None) -> tuple[Hop, ...]:
        """A shortest path into a state: with any call pending, with one of a tool, or (tool "") with none."""
        for (spot, approved), origins in self.walk.seen.items():  # in the order of their discovery
            if spot.state == state and tool in (None, spot.tool):
                return self.walk.path((spot, approved), origins & -origins)
        return ()


def pending(graph: Graph) -> dict[str, tuple[PendingCall, ...]]:
    """Which calls can be pending in each state."""
    return Calls(graph).pending


def findings(graph: Graph, others: Mapping[str, Graph]) -> Iterator[Finding]:
    calls = Calls(graph)
    yield from _unapproved(calls)
    for state, tool in dict.fromkeys((spot.state, spot.tool) for spot, _ in calls.walk.seen):
        yield from _misplaced(calls, graph.nodes[state], tool)
    yield from _without_doubt(calls)
    yield from _dropped(calls)
    yield from _never_executed(calls)


def _approvals(graph: Graph) -> Automaton:
    approved = [ended(node.name, "approved") for node in graph.nodes.values() if node.kind == "approve"]
    return of_each_call(approved, [executed(name) for name, tool in graph.tools.items() if tool.get("approval")])


def _finding(calls: Calls, code: str, state: str, message: str, path: tuple[Hop, ...], outcome: str | None = None) -> Finding:
    text = f"machine {calls.graph.name}: {message}"
    return Finding(code, LEVELS.get(code, "error"), calls.graph.name, text, REMEDIES[code], state, outcome, path=path)


def _unapproved(calls: Calls) -> Iterator[Finding]:
    for breach in calls.walk.breaches.values():
        tool = breach.letter.name if breach.letter else ""
        if calls.graph.nodes[breach.state].builds or calls.graph.nodes[breach.state].kind == "fetch":
            message = f"{breach.state} makes its own call of {tool}, which needs an approval; nobody can give it, so it is always refused"
            yield _finding(calls, NEVER_APPROVED, breach.state, message, breach.path)
        else:
            message = f"{breach.state} can execute {tool}, which needs an approval, without one of exactly that call"
            yield _finding(calls, UNAPPROVED, breach.state, message, breach.path)


def _misplaced(calls: Calls, node: Node, tool: str) -> Iterator[Finding]:
    """States that need a call and can be entered without, or with another."""
    if node.kind == "act" and not node.builds and not tool:
        message = f"{node.name} executes a pending call and can be entered with none"
        yield _finding(calls, NO_CALL, node.name, message, calls.first(node.name, ""))
    elif node.kind == "act" and not node.builds and tool not in node.tools:
        message = f"{node.name} can be entered with a call of {tool} pending, which it does not run"
        yield _finding(calls, FOREIGN, node.name, message, calls.first(node.name, tool))
    elif node.kind == "approve" and not tool:
        message = f"{node.name} asks a person about a pending call and can be entered with none"
        yield _finding(calls, NOTHING_TO_APPROVE, node.name, message, calls.first(node.name, ""))


def _without_doubt(calls: Calls) -> Iterator[Finding]:
    found: set[str] = set()
    for (spot, approved), origins in calls.walk.seen.items():
        if spot.state in calls.flow.settlers - found and not spot.settles:
            found.add(spot.state)
            message = f"{spot.state} finds out about a call in doubt and can be entered without one"
            path = calls.walk.path((spot, approved), origins & -origins)
            yield _finding(calls, NO_DOUBT, spot.state, message, path)


def _dropped(calls: Calls) -> Iterator[Finding]:
    """A call that is pending where an Act makes another: the first is forgotten, and the second executed in its place."""
    found: set[tuple[str, str]] = set()
    for (spot, approved), origins in calls.walk.seen.items():
        for move in calls.flow.moves(spot):
            act = calls.graph.nodes[move.to.state]
            tool = calls.flow.carried(spot, move.ended) if act.builds else ""
            if tool and (act.name, tool) not in found:
                found.add((act.name, tool))
                path = (*calls.walk.path((spot, approved), origins & -origins), move.hop(spot.state))
                message = f"a call of {tool} can be pending where {act.name} makes and executes another; it is dropped"
                yield _finding(calls, DROPPED, act.name, message, path, None)


def _never_executed(calls: Calls) -> Iterator[Finding]:
    """A tool that an Ask can pick, and no Act ever runs for it."""
    run: dict[str, int] = {}
    for (spot, _), origins in calls.walk.seen.items():
        for tool in calls.flow.runs(spot):
            run[tool] = run.get(tool, 0) | origins
    asks = [calls.graph.nodes[state] for state in dict.fromkeys(spot.state for spot, _ in calls.walk.seen)]
    for ask in (node for node in asks if node.kind == "ask"):
        for tool in ask.tools:
            if not run.get(tool, 0) & calls.flow.bits[ask.name] and tool in ask.edges:
                path = calls.first(ask.name)
                message = f"{ask.name} can pick {tool}, and no Act executes that call on any path"
                yield _finding(calls, NEVER_EXECUTED, ask.name, message, path, tool)
