"""Which calls can be pending where, exactly as the reducer carries them; and that none executes unreleased, unseen or by surprise.

Followed are state × tool of the pending call × whether a person approved exactly this call, with its maker as origin. A call is voided,
and an approval with it, where the reducer does so: by an edit, by entering an Ask, Consult, Compact, End or an Act that builds its own,
by any end of an Act, and by `rejected` and `expired` of an Approve.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from leverframe.automaton import Automaton, ended, executed, of_each_call
from leverframe.check.codes import said
from leverframe.check.finding import Finding, Hop
from leverframe.check.flow import Flow, flow_of
from leverframe.check.model import Graph, Node
from leverframe.check.walk import Flows, Place, Walk
from leverframe.series import FOLLOWS, NEXT

UNAPPROVED, NEVER_APPROVED, NO_CALL, FOREIGN, DROPPED, NOTHING_TO_APPROVE, NEVER_EXECUTED, NO_DOUBT = (
    f"LF30{number}" for number in range(1, 9)
)
NO_NEXT, NEVER_NEXT = "LF309", "LF310"


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
        self.flow = flow_of(self.graph)

    @cached_property
    def walk(self) -> Walk:
        return Walk(self.flow, _approvals(self.graph), Flows({}), first=False, all=True).run()

    @cached_property
    def pending(self) -> dict[str, tuple[PendingCall, ...]]:
        """The calls that can be pending in each state, by maker and tool; states in which none can are left out."""
        found: dict[str, dict[tuple[str, str], set[bool]]] = {}
        for spot, approved, origins, _ in self.walk:
            for maker in self.flow.origins(origins) if spot.tool else ():
                found.setdefault(spot.state, {}).setdefault((maker, spot.tool), set()).add(bool(approved))
        return {
            state: tuple(sorted(PendingCall(*call, True in how, False in how) for call, how in calls.items()))
            for state, calls in found.items()
        }

    @cached_property
    def executed(self) -> dict[tuple[str, str], frozenset[bool]]:
        """For each (Act, tool) that can be executed: with an approval of that call (True), without (False). Refusals are left out of it."""
        found: dict[tuple[str, str], set[bool]] = {}
        for spot, approved, _, _ in self.walk:
            built = self.graph.nodes[spot.state].builds
            for tool in self.flow.runs(spot):
                found.setdefault((spot.state, tool), set()).add(bool(approved) and not built)
        return {key: frozenset(how) for key, how in found.items()}

    @cached_property
    def firsts(self) -> dict[tuple[str, str], Place]:
        """Where each state is first entered with a call of each tool pending ("": with none)."""
        found: dict[tuple[str, str], Place] = {}
        for place in self.walk:
            found.setdefault((place.spot.state, place.spot.tool), place)
        return found

    def first(self, state: str, tool: str) -> tuple[Hop, ...]:
        return self.walk.way(self.firsts[state, tool])


def pending(graph: Graph) -> dict[str, tuple[PendingCall, ...]]:
    """Which calls can be pending in each state."""
    return calls_of(graph).pending


@lru_cache(maxsize=32)
def calls_of(graph: Graph) -> Calls:
    """The calls of a graph, followed once for all that is asked of them."""
    return Calls(graph)


def findings(graph: Graph, others: Mapping[str, Graph]) -> Iterator[Finding]:
    calls = calls_of(graph)
    yield from _unapproved(calls)
    for state, tool in calls.firsts:
        yield from _misplaced(calls, graph.nodes[state], tool)
    yield from _without_doubt(calls)
    yield from _dropped(calls)
    yield from _never_executed(calls)
    yield from _series(graph)


def _approvals(graph: Graph) -> Automaton:
    approved = [ended(node.name, "approved") for node in graph.nodes.values() if node.kind == "approve"]
    return of_each_call(approved, [executed(name) for name, tool in graph.tools.items() if tool.get("approval")])


def _finding(calls: Calls, code: str, state: str, message: str, path: tuple[Hop, ...], outcome: str | None = None) -> Finding:
    name = calls.graph.name
    return said(code, name, f"machine {name}: {message}", state=state, outcome=outcome, path=path)


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
    for place in calls.walk:
        state = place.spot.state
        if state in calls.flow.settlers and state not in found and not place.spot.settles:
            found.add(state)
            message = f"{state} finds out about a call in doubt and can be entered without one"
            yield _finding(calls, NO_DOUBT, state, message, calls.walk.way(place))


def _dropped(calls: Calls) -> Iterator[Finding]:
    """A call that is pending where an Act makes another: the first is forgotten, and the second executed in its place."""
    found: set[tuple[str, str]] = set()
    for place in calls.walk:
        for move in calls.flow.moves(place.spot):
            act = calls.graph.nodes[move.to.state]
            tool = calls.flow.carried(place.spot, move.ended) if act.builds else ""
            if tool and (act.name, tool) not in found:
                found.add((act.name, tool))
                path = (*calls.walk.way(place), move.hop(place.spot.state))
                message = f"a call of {tool} can be pending where {act.name} makes and executes another; it is dropped"
                yield _finding(calls, DROPPED, act.name, message, path, None)


def _series(graph: Graph) -> Iterator[Finding]:
    """Acts that run one of several calls lead on to the next; nothing else does."""
    for node in graph.nodes.values():
        if node.onward and FOLLOWS not in node.edges:
            message = f"machine {graph.name}: {node.name} executes one of several calls of an answer and has no 'next' for those that wait"
            yield said(NO_NEXT, graph.name, message, state=node.name, path=graph.path(node.name))
        for outcome, to in node.edges.items():
            wrong = to == NEXT and not (node.onward and outcome == FOLLOWS)
            if wrong or (node.onward and outcome == FOLLOWS and to != NEXT):
                message = f"machine {graph.name}: {node.name} leads {outcome!r} to {to}; only an Act that runs one of several calls has it"
                yield said(NEVER_NEXT, graph.name, message, state=node.name, outcome=outcome)


def _never_executed(calls: Calls) -> Iterator[Finding]:
    """A tool that an Ask can pick, and no Act ever runs for it."""
    run: dict[str, int] = {}
    for spot, _, origins, _ in calls.walk:
        for tool in calls.flow.runs(spot):
            run[tool] = run.get(tool, 0) | origins
    asks = [calls.graph.nodes[state] for state in dict.fromkeys(place.spot.state for place in calls.walk)]
    for ask in (node for node in asks if node.kind == "ask"):
        for tool in ask.tools:
            if not run.get(tool, 0) & calls.flow.bits[ask.name] and tool in ask.edges:
                path = calls.first(ask.name, "")
                message = f"{ask.name} can pick {tool}, and no Act executes that call on any path"
                yield _finding(calls, NEVER_EXECUTED, ask.name, message, path, tool)
