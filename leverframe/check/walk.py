"""Every way through a machine while an automaton reads along: breadth first, so what is found has a shortest path.

The product of `Flow` and an automaton is walked level by level; origins travel as bits (see `flow`). What children of a Delegate do is
walked inside of it, where the automaton listens to them: for each way in which the Delegate can end, what they may have done by then.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from leverframe.automaton import Automaton, Letter, entered, executed
from leverframe.check.finding import Hop
from leverframe.check.flow import KEEP, NOBODY, Flow, Move, Spot
from leverframe.check.model import Graph, Node

Key: TypeAlias = tuple[Spot, int]  # and the state of the automaton
Hops: TypeAlias = tuple[Hop, ...]
Reached: TypeAlias = Mapping[int, Hops]  # states of an automaton, each with a shortest way there


class Arrival(NamedTuple):
    """How some origins came to a key: from which one, with which origin there (KEEP: the same), over which hops."""

    origins: int
    before: Key | None
    origin: int
    hops: Hops


@dataclass(frozen=True, slots=True)
class Breach:
    """The automaton breaks: in this state, by this letter (None: the run ends there), on this path."""

    state: str
    letter: Letter | None
    path: Hops


@dataclass
class Walk:
    """One walk. `first`: stop after the level of the first breach; otherwise go on as if it had not happened, and find each (state, letter)."""

    flow: Flow
    automaton: Automaton
    flows: "Flows"
    first: bool = True
    inside: tuple[str, ...] = ()  # the machines whose runs started this one; empty for the machine itself
    seen: dict[Key, int] = field(default_factory=dict[Key, int])
    breaches: dict[tuple[str, Letter | None], Breach] = field(default_factory=dict[tuple[str, Letter | None], Breach])
    heard: set[Letter] = field(default_factory=set[Letter])
    _known: "dict[tuple[str, bool, bool, str, int], Children]" = field(
        default_factory=dict["tuple[str, bool, bool, str, int]", "Children"]
    )
    _came: dict[Key, list[Arrival]] = field(default_factory=dict[Key, list[Arrival]])
    _next: dict[Key, int] = field(default_factory=dict[Key, int])

    def run(self, state: int = 0) -> "Walk":
        """From the start of the machine, with the automaton in this state before anything of it happened."""
        if self.flow.graph.start not in self.flow.nodes:
            return self
        letter = self._named(entered(self.flow.graph.start))
        after = self._step(state, letter)
        if after in self.automaton.broken:
            start = self._shown(self.flow.graph.start)
            self.breaches[start, letter] = Breach(start, letter, ())
        if after not in self.automaton.broken or not self.first:
            self._arrive((self.flow.start, state if after in self.automaton.broken else after), NOBODY, None, KEEP, ())
        while self._next and not (self.first and self.breaches):
            level, self._next = self._next, {}
            for key, origins in level.items():
                self._leave(key, origins)
        return self

    def path(self, key: Key, origin: int) -> Hops:
        """A shortest path to a key that was seen, for one of its origins (one bit)."""
        parts: list[Hops] = []
        before: Key | None = key
        while before is not None:
            arrival = next(each for each in self._came[before] if each.origins & origin)
            parts.append(arrival.hops)
            before, origin = arrival.before, arrival.origin or origin
        return tuple(hop for hops in reversed(parts) for hop in hops)

    # ── one spot ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _leave(self, key: Key, origins: int) -> None:
        spot, state = key
        node = self.flow.nodes[spot.state]
        if node.kind == "end":
            if state in self.automaton.unfinished:
                self._break(self._shown(spot.state), None, key, origins, ())
            return
        if node.kind == "compact":
            for some, move in self.flow.back(spot, origins):
                self._take(key, some & origins, move, state, ())
        for move in self.flow.moves(spot):
            for after, hops in self._within(key, origins, move):
                self._take(key, origins, move, after, hops)

    def _within(self, key: Key, origins: int, move: Move) -> "Iterator[tuple[int, Hops]]":
        """What the automaton may have read while the state went on, up to its end by this move."""
        spot, state = key
        node = self.flow.nodes[spot.state]
        if move.does:
            yield self._read(state, move.does, key, origins, ()), ()
        elif node.kind == "fetch":
            yield from ((after, ()) for after in self._fetched(key, origins))
        elif node.kind == "delegate" and (children := self._children(spot, state)):
            for breach in children.breaches:
                self._break(breach.state, breach.letter, key, origins, breach.path)
            yield from children.after(move.ended).items()
        else:
            yield state, ()

    def _fetched(self, key: Key, origins: int) -> list[int]:
        """A Fetch runs any of its tools, any number of times."""
        spot, state = key
        found = [state]
        letters = [
            letter for tool in self.flow.nodes[spot.state].tools if self.automaton.role(letter := self._named(executed(tool)))
        ]
        if self.automaton.each_call:
            for letter in letters:
                self.heard.add(letter)
                self._break(self._shown(spot.state), letter, key, origins, ())
        elif letters:
            for each in found:  # grows as it is walked
                for letter in letters:
                    after = self._read(each, (letter,), key, origins, ())
                    if after not in found:
                        found.append(after)
        return found

    def _children(self, spot: Spot, state: int) -> "Children | None":
        """What the children of this Delegate may do, if the automaton listens to them."""
        body = self.flow.nodes[spot.state].body
        machine = str(body.get("machine"))
        if machine in (*self.inside, self.flow.graph.name) or not self.automaton.machines & self.flows.below(machine):
            return None
        key = (machine, bool(body.get("many", True)), bool(body.get("max_failed")), self._shown(spot.state), state)
        found = self._known.get(key)
        if found is None:
            inside = (*self.inside, machine)
            found = self._known[key] = Children(self.flows, self.automaton, inside, *key[1:])
        return found

    def _take(self, key: Key, origins: int, move: Move, state: int, hops: Hops) -> None:
        hop = Hop(self._shown(key[0].state), move.outcome, self._shown(move.to.state))
        after = self._read(state, move.says, key, origins, (*hops, hop)) if move.says else state
        arriving = origins if move.origin == KEEP else move.origin
        self._arrive((move.to, after), arriving, key, KEEP if move.origin == KEEP else origins & -origins, (*hops, hop))

    def _arrive(self, key: Key, origins: int, before: Key | None, origin: int, hops: Hops) -> None:
        new = origins & ~self.seen.get(key, 0)
        if new:
            self.seen[key] = self.seen.get(key, 0) | new
            self._next[key] = self._next.get(key, 0) | new
            self._came.setdefault(key, []).append(Arrival(new, before, origin, hops))

    # ── the automaton ────────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _machine(self) -> str:
        return self.inside[-1] if self.inside else ""

    def _shown(self, state: str) -> str:
        return f"{self._machine}.{state}" if self.inside else state

    def _named(self, letter: Letter) -> Letter:
        return letter._replace(machine=self._machine) if self.inside else letter

    def _step(self, state: int, letter: Letter) -> int:
        role = self.automaton.role(letter)
        if not role:
            return state
        self.heard.add(letter)
        return self.automaton.steps[state][role]

    def _read(self, state: int, letters: tuple[Letter, ...], key: Key, origins: int, hops: Hops) -> int:
        for letter in letters:
            after = self._step(state, self._named(letter) if self.inside else letter)
            if after in self.automaton.broken:
                self._break(self._shown(letter.name), letter, key, origins, hops)
            else:
                state = after
        return state

    def _break(self, state: str, letter: Letter | None, key: Key, origins: int, hops: Hops) -> None:
        own_tool = letter is not None and letter.what == "tool" and not hops
        place = self._shown(key[0].state) if own_tool else state
        if (place, letter) not in self.breaches:
            self.breaches[place, letter] = Breach(place, letter, (*self.path(key, origins & -origins), *hops))


class Flows:
    """The machines that may run inside of another, each as a Flow that is made once."""

    def __init__(self, others: Mapping[str, Graph]) -> None:
        self._others = others
        self._flows: dict[str, Flow] = {}
        self._below: dict[str, frozenset[str]] = {}

    def flow(self, machine: str) -> Flow | None:
        if machine not in self._flows and machine in self._others:
            self._flows[machine] = Flow(self._others[machine])
        return self._flows.get(machine)

    def below(self, machine: str) -> frozenset[str]:
        """The machine and all that its own Delegates lead to."""
        found = self._below.get(machine)
        if found is None:
            names, todo = {machine}, [machine]
            while todo:
                graph = self._others.get(todo.pop())
                nodes: list[Node] = list(graph.nodes.values()) if graph else []
                more = {str(node.body.get("machine")) for node in nodes if node.kind == "delegate"}
                todo += more - names
                names |= more
            found = self._below[machine] = frozenset(names)
        return found


class Children:
    """What the runs of a Delegate can have done by the time it ends, for one state of the automaton before them.

    One after another, as many as there may be; each as far as it got, for a run can be cancelled anywhere, and `expired` cuts all.
    """

    def __init__(
        self, flows: Flows, automaton: Automaton, inside: tuple[str, ...], many: bool, may_fail: bool, place: str, state: int
    ) -> None:
        self._flows, self._automaton, self._inside = flows, automaton, inside
        self._many, self._may_fail, self._place, self._state = many, may_fail, place, state
        self._walks: dict[int, tuple[Reached, Reached]] = {}
        self.breaches: list[Breach] = []
        self._whole = self._rounds(whole=True)
        self._partly = self._rounds(whole=False)

    def after(self, outcome: str) -> Reached:
        return self._whole if outcome == "done" and not self._may_fail else self._partly

    def _rounds(self, *, whole: bool) -> Reached:
        """After every number of runs that there may be."""
        first: dict[int, Hops] = {self._state: ()} if self._many else {}
        found, todo = dict(first), [self._state]
        for state in todo:  # grows as it is walked
            for after, hops in self._run(state)[0 if whole else 1].items():
                if after not in found:
                    found[after] = (*found.get(state, ()), *hops)
                    if self._many and after != self._state:
                        todo.append(after)
        return found

    def _run(self, state: int) -> tuple[Reached, Reached]:
        """Of one run: the states of the automaton at its successful end, and anywhere in it."""
        known = self._walks.get(state)
        if known is not None:
            return known
        whole: dict[int, Hops] = {}
        partly: dict[int, Hops] = {}
        flow = self._flows.flow(self._inside[-1])
        if flow is None:
            self._walks[state] = ({state: ()}, {state: ()})  # a machine that nobody has says nothing
            return self._walks[state]
        walk = Walk(flow, self._automaton, self._flows, inside=self._inside).run(state)
        starts = Hop(self._place, "starts", f"{self._inside[-1]}.{flow.graph.start}")
        self.breaches += [Breach(each.state, each.letter, (starts, *each.path)) for each in walk.breaches.values() if each.letter]
        for (spot, after), origins in walk.seen.items():
            ended_well = flow.nodes[spot.state].kind == "end" and bool(flow.nodes[spot.state].body.get("success", True))
            for reached, how, fits in ((whole, "ends", ended_well), (partly, "stops", True)):
                if fits and after not in reached:
                    last = Hop(f"{self._inside[-1]}.{spot.state}", how, self._place)
                    path = walk.path((spot, after), origins & -origins)
                    reached[after] = () if after == state else (starts, *path, last)
        self._walks[state] = (whole, partly)
        return whole, partly
