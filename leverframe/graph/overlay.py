"""What is laid over a drawing: the path of one run or of a counter-example, the traffic of many runs, a difference.

An `Overlay` is data: marks and short lines for states and edges, made by pure functions over events, so that nothing here knows a store.
Units: times are microseconds in events and shown in ms, s, min, h or d; costs are millionths of a dollar and shown in dollars; shares
and rates are percentages.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias, cast

from leverframe.canon import Object
from leverframe.clock import SECOND, Micros
from leverframe.faults import Faults, error_of
from leverframe.graph.drawing import Drawing, Edge
from leverframe.machine import EXCEEDED
from leverframe.run import Event

Mark: TypeAlias = Literal["path", "here", "added", "removed", "changed", "unused"]


@dataclass(frozen=True, slots=True)
class Note:
    """What an overlay says of one state or edge. `weight` from 0 to 1: how heavily an edge is drawn."""

    mark: Mark | None = None
    lines: tuple[str, ...] = ()
    weight: float = 0.0


@dataclass(frozen=True, slots=True)
class Overlay:
    """Laid over a drawing. With `dims`, what has no mark recedes."""

    title: str
    states: Mapping[str, Note] = field(default_factory=dict[str, Note])
    edges: Mapping[Edge, Note] = field(default_factory=dict[Edge, Note])
    dims: bool = False

    def limit(self, drawn: Drawing, to: str) -> Note:
        """Of the one line that is drawn of all the edges that `exceeded` stands for."""
        return next((self.edges[edge] for edge in drawn.exceeding() if edge[2] == to and edge in self.edges), NOTHING)

    def marks(self) -> set[Mark]:
        return {note.mark for note in (*self.states.values(), *self.edges.values()) if note.mark}


NOTHING = Note()
PLAIN = Overlay("")


def of_path(title: str, hops: Sequence[Edge], last: str = "", lines: tuple[str, ...] = ()) -> Overlay:
    """A path, its steps numbered from 1 in the order in which they are taken; `last` is where it stands, and `lines` what is to say there."""
    numbers: dict[Edge, list[str]] = {}
    for number, hop in enumerate(hops, 1):
        numbers.setdefault(hop, []).append(str(number))
    edges = {hop: Note("path", (_few(found),)) for hop, found in numbers.items()}
    states = {name: Note("path") for hop in hops for name in (hop[0], hop[2])}
    if last:
        states[last] = Note("here", lines)
    return Overlay(title, states, edges, dims=True)


def _few(numbers: Sequence[str]) -> str:
    """`1, 4, 9`, and of many the first and the last ones."""
    return ", ".join(numbers if len(numbers) <= 6 else [*numbers[:3], "…", *numbers[-2:]])


# ── one run ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def of_run(drawn: Drawing, title: str, events: Iterable[Event], lines: tuple[str, ...] = ()) -> Overlay:
    """The way that a run went, step by step, what failed where and how often, and where it is; `lines` say what it waits for."""
    walk, faults = Walk(_drawn(drawn)), dict[str, Faults]()
    hops: list[Edge] = []
    for event in events:
        passage = walk.take(event)
        if passage and (error := error_of(event.body)):
            faults.setdefault(passage.edge[0], Faults()).add(error)
        hops += [passage.edge] if passage else []
    found = of_path(title, hops, walk.state, lines)
    counted = {name: replace(found.states[name], lines=(*found.states[name].lines, *faults[name].lines())) for name in faults}
    return replace(found, states={**found.states, **counted})


def _drawn(drawn: Drawing) -> frozenset[Edge]:
    return frozenset([*(arrow.edge for arrow in drawn.arrows()), *drawn.exceeding()])


@dataclass(frozen=True, slots=True)
class Passage:
    """One state of one run, left by one edge."""

    edge: Edge
    took: Micros  # since the state was entered, waiting included
    cost: int


class Walk:
    """Follows the events of one run, in order, from edge to edge."""

    def __init__(self, drawn: frozenset[Edge]) -> None:
        self._drawn = drawn
        self.state = ""
        self._since: Micros = 0
        self._cost = 0

    def take(self, event: Event) -> Passage | None:
        """The edge that the event goes along, if it leaves a state."""
        body = event.body
        self._cost += _cost(body)
        if event.type in ("started", "forked"):
            self.state, self._since = cast("str", body["state"]), event.at
        if "outcome" not in body:
            return None
        edge = (self.state, cast("str", body["outcome"]), cast("str", body["to"]))
        if body.get("exceeded") and edge not in self._drawn:
            edge = (self.state, EXCEEDED, edge[2])
        passage = Passage(edge, max(0, event.at - self._since), self._cost)
        self.state, self._since, self._cost = edge[2], event.at, 0
        return passage


def _cost(body: Object) -> int:
    usage = body.get("usage")
    return cast("int", usage.get("cost") or 0) if isinstance(usage, dict) else 0


# ── many runs ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

PRECISION = 0.01
_LOG_GAMMA = math.log((1 + PRECISION) / (1 - PRECISION))


class Quantiles:
    """Quantiles of times, within 1 % of the true value, in a space that does not grow with their number: DDSketch (Masson, Rim and Lee,
    VLDB 2019), whose buckets grow by a constant factor."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self._total = 0
        self._least: Micros = 0
        self._most: Micros = 0

    def add(self, value: Micros) -> None:
        self._buckets[math.ceil(math.log(value) / _LOG_GAMMA) if value > 0 else -1] += 1
        self._least = min(value, self._least) if self._total else value
        self._most = max(value, self._most)
        self._total += 1

    def at(self, share: float) -> float:
        rank, seen = share * (self._total - 1), 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen > rank:
                middle = math.exp(bucket * _LOG_GAMMA) * (1 - PRECISION) if bucket >= 0 else 0.0
                return min(max(middle, self._least), self._most)
        return 0.0


class Tally:
    """What went along one edge, or through one state."""

    def __init__(self) -> None:
        self.count = 0
        self.cost = 0
        self.times = Quantiles()
        self.over = 0  # runs that went here and are over
        self.failed = 0  # … and ended in failure or were cancelled
        self.errors = 0  # of a state: how often it ended in `error` or `unknown`
        self.faults = Faults()

    def add(self, passage: Passage) -> None:
        self.count += 1
        self.cost += passage.cost
        self.times.add(passage.took)
        self.errors += passage.edge[1] in ("error", "unknown")


class Traffic:
    """Counts the passages of many runs; takes their events one by one, each run's in order, and keeps no event."""

    def __init__(self, drawn: Drawing) -> None:
        self._drawing = drawn
        self._drawn = _drawn(drawn)
        self.runs = 0
        self.strange = 0  # passages of edges that are not drawn: of other definitions
        self._edges = {edge: Tally() for edge in self._drawn}
        self._states = {box.name: Tally() for box in drawn.boxes}
        self._run = ""
        self._walk = Walk(self._drawn)
        self._seen: set[Edge] = set()

    def add(self, run_id: str, event: Event) -> None:
        if run_id != self._run:
            self._run, self._walk, self._seen = run_id, Walk(self._drawn), set()
            self.runs += 1
        if passage := self._walk.take(event):
            self._pass(passage)
            if passage.edge in self._drawn and (error := error_of(event.body)):
                self._states[passage.edge[0]].faults.add(error)
        if event.type in ("ended", "cancelled"):
            failed = event.type == "cancelled" or not event.body["success"]
            for edge in self._seen:
                self._edges[edge].over += 1
                self._edges[edge].failed += failed

    def _pass(self, passage: Passage) -> None:
        if passage.edge not in self._drawn:
            self.strange += 1
            return
        self._seen.add(passage.edge)
        self._edges[passage.edge].add(passage)
        self._states[passage.edge[0]].add(passage)

    def overlay(self, since: str) -> Overlay:
        """Of each edge: how often it was taken, what share of its state's visits that is, p50 and p95 of the time in the state before,
        what that cost in all, and how many of the runs that took it and are over ended in failure. Edges never taken are marked."""
        most = max((tally.count for tally in self._edges.values()), default=0)
        edges = {edge: self._edge_note(edge, tally, most) for edge, tally in self._edges.items() if edge[1] != EXCEEDED}
        edges |= self._exceeded()
        states = {name: _state_note(tally) for name, tally in self._states.items() if tally.count}
        strange = f"; {self.strange} passages of edges that are not drawn here" if self.strange else ""
        return Overlay(f"{self.runs:,} run{'' if self.runs == 1 else 's'} since {since}{strange}", states, edges)

    def _edge_note(self, edge: Edge, tally: Tally, most: int) -> Note:
        if not tally.count:
            return Note("unused", ("never",))
        share = tally.count / self._states[edge[0]].count
        lines = [f"{tally.count:,} · {_percent(share)}", f"p50 {_time(tally.times.at(0.5))} · p95 {_time(tally.times.at(0.95))}"]
        said = [f"${tally.cost / 1_000_000:.4g}" if tally.cost else ""]
        said += [f"{_percent(tally.failed / tally.over)} failed" if tally.failed else ""]
        if any(said):
            lines.append(" · ".join(part for part in said if part))
        return Note(None, tuple(lines), tally.count / most)

    def _exceeded(self) -> dict[Edge, Note]:
        """All the edges that `exceeded` stands for are one in a drawing."""
        drawn = self._drawing.exceeding()
        count = sum(self._edges[edge].count for edge in drawn)
        return {edge: Note(None, (f"{count:,}",)) if count else Note("unused", ("never",)) for edge in drawn}


def _state_note(tally: Tally) -> Note:
    errors = f"{_percent(tally.errors / tally.count)} errors" if tally.errors else ""
    said = (f"{tally.count:,} visit{'' if tally.count == 1 else 's'}", errors, *tally.faults.lines())
    return Note(None, tuple(part for part in said if part))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 or not share else f"{100 * share:.1f} %"


def _time(micros: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        if micros >= size * SECOND:
            return f"{micros / size / SECOND:.3g} {unit}"
    return f"{micros / 1000:.3g} ms"
