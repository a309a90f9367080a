"""Where a tool executes now without a person being asked who had to be asked before, although no edge that led to that person changed.

Two things that the machine kept are read off it, declared or not, and looked for in the machine as it is now:

a call is released  since it was made, an Approve released it, or a state from which that Approve could still be reached decided that it
                    need not: by an outcome that led away from there
a person is asked   by a Consult before a tool executes that does more than read; an Approve is about its call and counts above
"""

from collections import deque
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import TypeAlias

from leverframe.automaton import Letter, compiled, data, entered, executed
from leverframe.check import Graph, Hop
from leverframe.check.calls import Calls, calls_of
from leverframe.check.flow import Move, Spot
from leverframe.check.walk import Flows, Walk
from leverframe.machine import BACK, EXCEEDED, Definition
from leverframe.series import NEXT

Hops: TypeAlias = tuple[Hop, ...]
Exit: TypeAlias = tuple[str, str]
"""A state and how it ended."""


@dataclass(frozen=True, slots=True)
class Bypass:
    """On `path` the Act executes `tool` without `person` being asked."""

    person: str
    tool: str
    act: str
    path: Hops

    def __str__(self) -> str:
        way = f"{'…, ' if self.path[3:] else ''}{', '.join(map(str, self.path[-3:]))}"
        return f"{self.person} need not be asked any more before {self.act} executes {self.tool}: {way}"


def bypasses(before: Definition, after: Definition) -> Iterator[Bypass]:
    """Those of a call that is pending first, and its shortest paths first."""
    was, now = (calls_of(Graph(one.body)) for one in (before, after))
    yield from _unreleased(was, now)
    yield from _unasked(was, now)


# ── a call is released ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Carried:
    """The ways of the calls of one tool: where they are made, and how they go on from spot to spot until they are executed or voided."""

    made: list[tuple[str, Spot, Hops]]  # by whom, where it leads, and a path to there
    moves: Mapping[Spot, list[Move]]

    @classmethod
    def of(cls, calls: Calls, tool: str) -> "_Carried":
        made: list[tuple[str, Spot, Hops]] = []
        moves: dict[Spot, list[Move]] = {}
        for place in calls.walk:
            kind, spot = calls.graph.nodes[place.spot.state].kind, place.spot
            on = [move for move in calls.flow.moves(spot) if move.to.tool == tool]
            if kind not in ("ask", "act"):
                moves |= {spot: on} if spot.tool == tool else {}
            elif on:
                way, maker = calls.walk.way(place), spot.state if kind == "ask" else spot.series
                made += [(maker, move.to, (*way, move.hop(spot.state))) for move in on]
        return cls(made, moves)

    def ways(self) -> Set[tuple[str, str, str]]:
        """To see whether two are alike."""
        made = {(maker, "", spot.state) for maker, spot, _ in self.made}
        return made | {(spot.state, move.outcome, move.to.state) for spot, on in self.moves.items() for move in on}

    def exits(self, person: str) -> Set[Exit]:
        """By which a call leaves the states from which this person may still be asked about it. A limit leads there from anywhere."""
        into: dict[Spot, list[Spot]] = {}
        for spot, on in self.moves.items():
            for move in on:
                into.setdefault(move.to, []).extend([spot] if move.outcome != EXCEEDED else [])
        near = dict.fromkeys(spot for spot in self.moves if spot.state == person)
        todo = deque(near)
        while todo:
            more = [spot for spot in into.get(todo.popleft(), ()) if spot not in near]
            near |= dict.fromkeys(more)
            todo += more
        return {(spot.state, move.ended) for spot in near for move in self.moves[spot] if move.to not in near}

    def executes(self, calls: Calls, exits: Set[Exit]) -> dict[tuple[str, str], Hops]:
        """The Acts that a call gets to by none of these exits, with who made it and a path."""
        found: dict[tuple[str, str], Hops] = {}
        todo = deque(self.made)
        seen = {(maker, spot) for maker, spot, _ in self.made}
        while todo:
            maker, spot, path = todo.popleft()
            if calls.flow.runs(spot) and not calls.graph.nodes[spot.state].builds:
                found.setdefault((spot.state, maker), path)
            for move in self.moves.get(spot, ()):
                if (spot.state, move.ended) not in exits and (maker, move.to) not in seen:
                    seen.add((maker, move.to))
                    todo.append((maker, move.to, (*path, move.hop(spot.state))))
        return found


def _unreleased(was: Calls, now: Calls) -> Iterator[Bypass]:
    asked: dict[str, dict[str, None]] = {}
    for place in was.walk:
        if place.spot.tool and was.graph.nodes[place.spot.state].kind == "approve":
            asked.setdefault(place.spot.tool, {})[place.spot.state] = None
    fresh = {(name, "approved") for name in _of_kind(now.graph, "approve") if name not in _of_kind(was.graph, "approve")}
    for tool, persons in asked.items():
        before, after = _Carried.of(was, tool), _Carried.of(now, tool)
        for person in persons if before.ways() != after.ways() else ():
            exits = before.exits(person) | fresh  # who is asked now, and was not there before, is a person, too
            known = before.executes(was, exits)
            for (act, maker), path in after.executes(now, exits).items():
                if (act, maker) not in known:
                    yield Bypass(person, tool, act, path)


# ── a person is asked ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _unasked(was: Calls, now: Calls) -> Iterator[Bypass]:
    there, others = _of_kind(was.graph, "consult"), _of_kind(was.graph, "consult", "approve")
    fresh = [entered(name) for name in _of_kind(now.graph, "consult", "approve") if name not in others]
    tools = {
        tool for calls in (was, now) for _, tool in calls.executed if calls.graph.tools.get(tool, {}).get("effect") != "read"
    }
    ran = {(act, tool) for act, tool in was.executed if tool in tools}
    for person in there:
        if {act for act, _ in ran} <= _beside(was.graph, person):
            continue  # quickly told: for most persons there is a way past them to everything
        free = _free(was, [entered(person)], tools).keys()
        kept = {tool for _, tool in ran} - {tool for _, tool in free}
        for (act, tool), path in _free(now, [entered(person), *fresh], tools).items():
            if (act, tool) in ran - free or ((act, tool) not in ran and tool in kept):
                yield Bypass(person, tool, act, path)


def _beside(graph: Graph, person: str) -> Set[str]:
    """The states that edges lead to, without a retry or a limit, and not by this person."""

    def along(hop: Hop) -> bool:
        return hop.state != person and graph.nodes[hop.state].edges.get(hop.outcome) not in (None, BACK, NEXT)

    return graph.search(graph.start, along).keys() if graph.start in graph.nodes else set()


def _free(calls: Calls, first: list[Letter], tools: Set[str]) -> Mapping[tuple[str, str], Hops]:
    """The Acts and tools that execute before any of this happened, each with a shortest path."""
    automaton = compiled({"rule": "precedence", "events": data(first), "other": data(map(executed, sorted(tools)))})
    breaches = Walk(calls.flow, automaton, Flows({}), first=False).run().breaches.values()
    return {(each.state, each.letter.name): each.path for each in breaches if each.letter}


def _of_kind(graph: Graph, *kinds: str) -> list[str]:
    return [name for name, node in graph.nodes.items() if node.kind in kinds]
