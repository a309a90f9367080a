"""A definition as a graph to reason about, read with tolerance: so that everything wrong with it can be said at once.

`Graph` takes any definition that has the shape of one (docs/definition.md), whatever its references mean: targets that do not exist are
left out of `moves` and listed in `broken`. A Compact's `Back` is an edge to every state that it can mean, and `exceeded` an edge from
every state that can be left, as in the machine that runs: a limit turns the outcome into it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import cast

from leverframe.canon import Json, Object
from leverframe.check.finding import Hop
from leverframe.machine import BACK, EXCEEDED, back_targets
from leverframe.series import NEXT, Shape, onward
from leverframe.state import Kind


@dataclass(frozen=True, slots=True)
class Node:
    """One state."""

    name: str
    kind: Kind
    edges: Mapping[str, str]  # as written: outcome to name, BACK among them
    moves: tuple[Hop, ...]  # as they can be taken: `Back` spelled out, broken ones left out, `exceeded` last
    tools: tuple[str, ...]  # what a Fetch or Act may run, or an Ask may pick
    builds: bool
    body: Object = field(repr=False)
    most: int = 1  # of an Ask: how many calls one answer may make
    onward: tuple[str, ...] = ()  # of an Act: what its `next` can mean


class Graph:
    """The states of one definition and the moves between them, in the order in which they were declared."""

    def __init__(self, body: Object) -> None:
        self.body = body
        self.name = cast("str", body["name"])
        self.start = cast("str", body["start"])
        self.rules = cast("list[Object]", body["rules"])
        self.tools = cast("dict[str, Object]", body["tools"])
        self.limits = cast("Object", body["limits"])
        self.exceeded = cast("str | None", self.limits["exceeded"])
        raw = cast("dict[str, Object]", body["states"])
        rows: dict[str, tuple[Kind, Mapping[str, str]]] = {
            name: (cast("Kind", state["kind"]), cast("dict[str, str]", state["edges"])) for name, state in raw.items()
        }
        self.back = back_targets(rows)
        self.broken = [
            Hop(name, outcome, to)
            for name, (_, row) in rows.items()
            for outcome, to in row.items()
            if to not in (BACK, NEXT) and to not in rows
        ]
        known = set(rows)
        self.onward = _onward(raw, self.exceeded)
        self.nodes = {name: self._node(name, state, known) for name, state in raw.items()}

    def _node(self, name: str, body: Object, known: set[str]) -> Node:
        kind, row = cast("Kind", body["kind"]), cast("dict[str, str]", body["edges"])
        moves: list[Hop] = []
        onward = tuple(self.onward.get(name, ()))
        for outcome, to in row.items():
            some = self.back if to == BACK else onward if to == NEXT else [to]
            moves += [Hop(name, outcome, meant) for meant in some if meant in known]
        if self.exceeded in known and kind != "end" and row:  # what nothing leaves, no limit leads out of
            moves.append(Hop(name, EXCEEDED, self.exceeded))
        return Node(name, kind, row, tuple(moves), _tools(body), bool(body.get("builds")), body, _most(body), onward)

    def moves(self) -> Iterator[Hop]:
        return (hop for node in self.nodes.values() for hop in node.moves)

    @cached_property
    def reached(self) -> dict[str, Hop | None]:
        """Every state that can be reached, with the move that a shortest path takes into it; the start has none."""
        return self.search(self.start) if self.start in self.nodes else {}

    def search(self, start: str, along: Callable[[Hop], bool] = lambda hop: True) -> dict[str, Hop | None]:
        """As `reached`, from another state and along some moves only."""
        found: dict[str, Hop | None] = {start: None}
        queue = deque([start])
        while queue:
            for hop in self.nodes[queue.popleft()].moves:
                if hop.to not in found and along(hop):
                    found[hop.to] = hop
                    queue.append(hop.to)
        return found

    @cached_property
    def into(self) -> dict[str, list[Hop]]:
        """The moves that lead into each state."""
        found: dict[str, list[Hop]] = {name: [] for name in self.nodes}
        for hop in self.moves():
            found[hop.to].append(hop)
        return found

    def ending_in(self, targets: Iterable[str], along: Callable[[Hop], bool] = lambda hop: True) -> set[str]:
        """The states that some moves lead on from to one of the targets, and the targets."""
        found = set(targets)
        queue = deque(found)
        while queue:
            for hop in self.into[queue.popleft()]:
                if hop.state not in found and along(hop):
                    found.add(hop.state)
                    queue.append(hop.state)
        return found

    def components(self, along: Callable[[Hop], bool] = lambda hop: True) -> list[list[str]]:
        """The strongly connected components, by some moves only: those that others lead to come first, states in declared order.

        Tarjan's algorithm (Depth-first search and linear graph algorithms, 1972), with a stack of its own: a long chain of states
        must not end in a RecursionError.
        """
        index: dict[str, int] = {}
        low: dict[str, int] = {}
        open_: dict[str, None] = {}  # a stack that knows what is on it
        done: list[list[str]] = []
        rank = {name: number for number, name in enumerate(self.nodes)}
        for root in self.nodes:
            work = [(root, iter(self.nodes[root].moves))] if root not in index else []
            while work:
                name, moves = work[-1]
                if name not in index:
                    index[name] = low[name] = len(index)
                    open_[name] = None
                for hop in moves:
                    if not along(hop):
                        continue
                    if hop.to not in index:
                        work.append((hop.to, iter(self.nodes[hop.to].moves)))
                        break
                    if hop.to in open_:
                        low[name] = min(low[name], index[hop.to])
                else:
                    work.pop()
                    if work:
                        low[work[-1][0]] = min(low[work[-1][0]], low[name])
                    if low[name] == index[name]:
                        done.append(sorted(_popped(open_, name), key=rank.__getitem__))
        return done

    def path(self, to: str) -> tuple[Hop, ...]:
        """A shortest path from the start; empty where there is none."""
        return trace(self.reached, to)


def _tools(body: Object) -> tuple[str, ...]:
    picked = [choice["intent"] for choice in cast("list[Object]", body.get("choices", [])) if choice["kind"] == "tool"]
    return tuple(cast("list[str]", body.get("tools", cast("Json", picked))))


def _most(body: Object) -> int:
    return int(str(body.get("most", 1)))


def _onward(states: Mapping[str, Object], exceeded: str | None) -> Mapping[str, list[str]]:
    if all(_most(body) <= 1 for body in states.values()):
        return {}
    shapes = {
        name: Shape(
            cast("Kind", body["kind"]), cast("dict[str, str]", body["edges"]), _tools(body), bool(body.get("builds")), _most(body)
        )
        for name, body in states.items()
    }
    return onward(shapes, exceeded)


def own(hop: Hop) -> bool:
    """A move that the state makes by itself, not the one that a limit makes of it."""
    return hop.outcome != EXCEEDED


def _popped(stack: dict[str, None], until: str) -> Iterator[str]:
    while stack:
        name, _ = stack.popitem()
        yield name
        if name == until:
            return


def trace(found: Mapping[str, Hop | None], to: str) -> tuple[Hop, ...]:
    """The path that a search took to a state."""
    hops: list[Hop] = []
    while (hop := found.get(to)) is not None:
        hops.append(hop)
        to = hop.state
    return tuple(reversed(hops))
