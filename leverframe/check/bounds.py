"""How much a run can use up at worst until it ends, or a limit stops it and a person must look: from the graph, and from the limits.

Retries need no limit: a run that goes on for ever must go round a cycle without `retry`, for every error on a cycle with it is counted,
and the count of a state that only ever fails reaches `times`. So a machine whose other moves make no cycle ends whatever its limits say.
Edits are left out: each is a person's doing, and costs a step.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias, cast

from leverframe.check.calls import calls_of
from leverframe.check.codes import said
from leverframe.check.finding import Finding, Hop
from leverframe.check.flow import Move, Spot, flow_of
from leverframe.check.model import Graph

UNBOUNDED, MODEL_UNBOUNDED, TOO_FEW = "LF501", "LF502", "LF503"
Moves: TypeAlias = dict[Spot, list[tuple[Hop, Spot]]]
Came: TypeAlias = dict[Spot, tuple[Spot, Hop]]


@dataclass(frozen=True, slots=True)
class Bounds:
    """The worst case of one run, its children left out; None: nothing bounds it.

    steps        transitions, until an End or a limit that a person must lift
    model_calls  answers of a model, whatever it took to get them
    cost         millionths of a dollar; reached by the call that goes beyond it, which is still paid for
    tokens       of questions and answers, as cost: only a limit bounds them, for memory has no size that a definition knows
    structural   no cycle at all: the longest path is the bound; otherwise it is the limits
    cycle        a shortest cycle (without `retry`) that only limits stop; empty where every run ends by itself
    """

    steps: int | None
    model_calls: int | None
    cost: int | None
    structural: bool
    cycle: tuple[Hop, ...] = ()
    tokens: int | None = None


def bounds(graph: Graph) -> Bounds:
    return _Bounded(graph).bounds()


def findings(graph: Graph, others: Mapping[str, Graph]) -> Iterator[Finding]:
    bounded = _Bounded(graph)
    found, limits = bounded.bounds(), graph.limits
    if found.steps is None and found.cycle:
        message = f"machine {graph.name}: nothing bounds {_round(found.cycle)}"
        yield _finding(graph, UNBOUNDED, message, found.cycle, bounded.to(found.cycle))
    asking = bounded.cycle(asking=True)
    if asking and all(limits.get(name) is None for name in ("model_calls", "tokens", "cost")):
        message = f"machine {graph.name}: calls a model in {_round(asking)}, with no limit of calls, tokens or cost"
        yield _finding(graph, MODEL_UNBOUNDED, message, asking, bounded.to(asking))
    shortest, steps = bounded.shortest(), limits.get("steps")
    if shortest and isinstance(steps, int) and len(shortest) > steps:
        message = f"machine {graph.name}: no run can end well: it takes {len(shortest)} steps at least, and {steps} are allowed"
        yield said(TOO_FEW, graph.name, message, state=shortest[-1].to, path=shortest)


def _finding(graph: Graph, code: str, message: str, cycle: tuple[Hop, ...], to: tuple[Hop, ...]) -> Finding:
    return said(code, graph.name, message, state=cycle[0].state, path=(*to, *cycle))


def _round(cycle: tuple[Hop, ...]) -> str:
    return "the cycle " + " → ".join([cycle[0].state, *(hop.to for hop in cycle)])


class _Bounded:
    """The spots of one machine and the moves between them; edits left out."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.flow = graph, flow_of(graph)
        self.moves: Moves = {}
        self.retries: Moves = {}
        spots: dict[Spot, int] = {}
        for spot, _, origins, _ in calls_of(graph).walk:
            spots[spot] = spots.get(spot, 0) | origins
        for spot, origins in spots.items():
            on = () if graph.nodes[spot.state].kind == "end" else self.flow.moves(spot)
            self.moves[spot] = [(move.hop(spot.state), move.to) for move in on if move.outcome != "edited"]
            self.retries[spot] = [(move.hop(spot.state), move.to) for move in self._retries(spot, origins)]

    def _retries(self, spot: Spot, origins: int) -> Iterator[Move]:
        names = [spot.returns] if spot.returns else list(self.flow.origins(origins))
        for outcome in self.flow.retries(spot):
            yield from self.flow.limited_back(spot, outcome, names)
            yield from (self.flow.back(spot, outcome, name) for name in names)

    def bounds(self) -> Bounds:
        cycle = self.cycle()
        asks = any(self.graph.nodes[spot.state].kind == "ask" for spot in self.moves)
        longest = None if cycle else self._longest()
        steps = self._least(longest[0] if longest else None, self._limited_steps())
        calls = self._least(longest[1] if longest else None, self._limited_calls(), steps)
        cost, tokens = (cast("int | None", self.graph.limits.get(name)) if asks else 0 for name in ("cost", "tokens"))
        structural = longest is not None and steps == longest[0]
        return Bounds(steps, calls if asks else 0, cost, structural, cycle, tokens)

    def _least(self, *some: int | None) -> int | None:
        return min((each for each in some if each is not None), default=None)

    # ── limits ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _limited_steps(self) -> int | None:
        """See `leverframe.reduce.route`: `exceeded` grants the steps once more, and a move that leads there anyway is not stopped."""
        steps, limit = self.graph.limits.get("steps"), self.flow.exceeded
        if not isinstance(steps, int):
            return None
        if limit is None:
            return max(1, steps)
        anyway = self.graph.nodes[limit].kind != "ask" and any(
            spot.state != limit and hop.to == limit and hop.outcome != "exceeded"
            for spot, moves in self.moves.items()
            for hop, _ in (*moves, *self.retries[spot])
        )
        return max(1, 2 * steps) + anyway

    def _limited_calls(self) -> int | None:
        """The call on which a limit trips is not made; but one at the start is, and one where the limit itself leads to an Ask."""
        calls, limit = self.graph.limits.get("model_calls"), self.flow.exceeded
        if not isinstance(calls, int):
            return None
        start = self.graph.nodes[self.graph.start].kind == "ask" if self.graph.start in self.graph.nodes else False
        return max(calls, int(start)) + (limit is not None and self.graph.nodes[limit].kind == "ask")

    # ── structure ────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _longest(self) -> tuple[int, int] | None:
        """Steps and model calls of the longest paths, if retries make no cycle either."""
        moves = {spot: [*self.moves[spot], *self.retries[spot]] for spot in self.moves}
        entries = dict.fromkeys(moves, 0)
        for _, to in (each for some in moves.values() for each in some):
            entries[to] += 1
        asks = {spot: int(self.graph.nodes[spot.state].kind == "ask") for spot in moves}
        steps, calls = dict.fromkeys(moves, 0), dict(asks)
        todo = deque(spot for spot, count in entries.items() if not count)
        done = 0
        while todo:
            spot = todo.popleft()
            done += 1
            for _, to in moves[spot]:
                steps[to] = max(steps[to], steps[spot] + 1)
                calls[to] = max(calls[to], calls[spot] + asks[to])
                entries[to] -= 1
                if not entries[to]:
                    todo.append(to)
        return (max(steps.values(), default=0), max(calls.values(), default=0)) if done == len(moves) else None

    def cycle(self, *, asking: bool = False) -> tuple[Hop, ...]:
        """A shortest cycle without `retry` through the first spot that lies on one (`asking`: through the first Ask that does)."""
        found: dict[Spot, set[Spot]] = {}
        for component in _components(self.moves):
            inside = set(component)
            if len(inside) > 1 or any(to in inside for _, to in self.moves[component[0]]):
                found |= dict.fromkeys(component, inside)
        for spot in self.moves:  # in the order in which they are reached
            if spot in found and (not asking or self.graph.nodes[spot.state].kind == "ask"):
                return self._around(spot, found[spot])
        return ()

    def _around(self, spot: Spot, inside: set[Spot]) -> tuple[Hop, ...]:
        """A shortest way from a spot back to itself."""
        came: Came = {}
        todo = deque([spot])
        while spot not in came:
            here = todo.popleft()
            for hop, to in self.moves[here]:
                if to in inside and to not in came:
                    came[to] = (here, hop)
                    todo.append(to)
        return _traced(came, spot, spot)

    def to(self, cycle: tuple[Hop, ...]) -> tuple[Hop, ...]:
        return self.graph.path(cycle[0].state)

    def shortest(self) -> tuple[Hop, ...]:
        """The shortest path to an End that says success, with no limit that trips."""
        start, came = self.flow.start, Came()
        todo = deque([start] if start in self.moves else [])
        while todo:
            spot = todo.popleft()
            node = self.graph.nodes[spot.state]
            if node.kind == "end" and node.body.get("success", True):
                return _traced(came, spot, start) if spot != start else ()
            for hop, to in (*self.moves[spot], *self.retries[spot]):
                if to not in came and to != start and not to.exceeded:
                    came[to] = (spot, hop)
                    todo.append(to)
        return ()


def _traced(came: Came, at: Spot, start: Spot) -> tuple[Hop, ...]:
    """The hops from the start of a search; at least one."""
    at, hop = came[at]
    hops = [hop]
    while at != start:
        at, hop = came[at]
        hops.append(hop)
    return tuple(reversed(hops))


def _components(moves: Moves) -> Iterator[list[Spot]]:
    """The strongly connected components: Tarjan, "Depth-First Search and Linear Graph Algorithms" (1972), without recursion."""
    index: dict[Spot, int] = {}
    low: dict[Spot, int] = {}
    stack: list[Spot] = []
    on_stack: set[Spot] = set()
    for root in moves:
        todo = [(root, iter(moves[root]))] if root not in index else []
        while todo:
            spot, rest = todo[-1]
            if spot not in index:
                index[spot] = low[spot] = len(index)
                stack.append(spot)
                on_stack.add(spot)
            for _, to in rest:
                if to not in index:
                    todo.append((to, iter(moves[to])))
                    break
                if to in on_stack:
                    low[spot] = min(low[spot], index[to])
            else:
                todo.pop()
                if todo:
                    low[todo[-1][0]] = min(low[todo[-1][0]], low[spot])
                if low[spot] == index[spot]:
                    component = [stack.pop()]
                    while component[-1] != spot:
                        component.append(stack.pop())
                    on_stack.difference_update(component)
                    yield component
