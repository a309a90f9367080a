"""Every way through a machine while an automaton reads along: breadth first, so what is found has a shortest path.

The product of `Flow` and an automaton is walked level by level; origins travel as bits (see `flow`). What children of a Delegate do is
walked inside of it, where the automaton listens to them: for each way in which the Delegate can end, what they may have done by then.

The runs of a map come in any number and at the same time. While one is anywhere, others may make the automaton go on: `meanwhile` says
from where to where. It is found by walking one run until nothing is added to it: then what is left out is nothing that a run can do.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from leverframe.automaton import SECOND, Automaton, Letter, ended, entered
from leverframe.canon import Object
from leverframe.check.finding import Hop
from leverframe.check.flow import KEEP, NOBODY, Flow, Move, Spot, flow_of
from leverframe.check.model import Graph, Node

ROUNDS = 20
"""Walks after which no more is learnt of what the runs of a map do at the same time."""
Hops: TypeAlias = tuple[Hop, ...]
Reached: TypeAlias = Mapping[int, Hops]  # states of an automaton, each with a shortest way there
Meanwhile: TypeAlias = dict[int, dict[int, Hop]]
"""Where others may take the automaton from each of its states, and a step of theirs that does it."""
Seed: TypeAlias = tuple[Spot, int, int]  # a spot, the state of the automaton, and with which origins


Arrival: TypeAlias = "tuple[int, int | None, int, Move | None, Hops]"
"""How some origins came to a place of the product: which, from which place, with which origins there (KEEP: the same), by which move, and
over which hops of children before it. Plain, because there are many."""


class Place(NamedTuple):
    """A place of the product that a walk reached: a spot, the state of the automaton, and with which origins."""

    spot: Spot
    state: int
    origins: int
    key: int


@dataclass(frozen=True, slots=True)
class Breach:
    """The automaton breaks: in this state, by this letter (None: the run ends there), on this path."""

    state: str
    letter: Letter | None
    path: Hops


@dataclass
class Walk:
    """One walk.

    first   stop after the level of the first breach; otherwise go on as if it had not happened, and find each (state, letter)
    all     learn every origin of every place; otherwise those that lead nowhere new are dropped on the way, which is a lot cheaper
    inside  the machines whose runs started this one; empty for the machine itself
    meanwhile  what others do at the same time, whatever is walked here; and `moved` is what this one does
    """

    flow: Flow
    automaton: Automaton
    flows: "Flows"
    first: bool = True
    all: bool = False
    inside: tuple[str, ...] = ()
    meanwhile: Meanwhile = field(default_factory=Meanwhile)
    moved: Meanwhile = field(default_factory=Meanwhile)
    said: dict[int, set[tuple[Letter, ...]]] = field(default_factory=dict[int, set[tuple[Letter, ...]]])
    breaches: dict[tuple[str, Letter | None], Breach] = field(default_factory=dict[tuple[str, Letter | None], Breach])
    _seen: dict[int, int] = field(default_factory=dict[int, int])
    _came: defaultdict[int, list[Arrival]] = field(default_factory=lambda: defaultdict[int, list[Arrival]](list))
    _next: dict[int, int] = field(default_factory=dict[int, int])
    _onward: dict[int, list[tuple[int, Move, Hops]]] = field(default_factory=dict[int, list[tuple[int, Move, Hops]]])
    _returned: dict[tuple[bool, int], int] = field(default_factory=dict[tuple[bool, int], int])
    _known: "dict[tuple[str, int], Children]" = field(default_factory=dict["tuple[str, int]", "Children"])

    def __post_init__(self) -> None:
        self._width = len(self.automaton.steps)
        self._machines = self.automaton.machines
        self._roles: list[int] = []  # by number of the letter
        self._heard: set[int] = set()
        named = (entered(name, self._machine) for name in self.flow.names)
        loud = (bit for bit, letter in zip(self.flow.bits.values(), named, strict=True) if self.automaton.role(letter))
        self._loud = sum(loud)
        self._ahead = _ahead(self.automaton)
        self._homes: dict[tuple[bool, int], int] = {}  # the origins that were entered, by `exceeded` and state of the automaton
        heard_back = any(
            self.automaton.role(ended(name, outcome, self._machine))
            for name, node in self.flow.nodes.items()
            if node.kind == "compact"
            for outcome in node.edges
        )
        self._sifts = not self.all and not heard_back
        limit = self.flow.exceeded
        self._limit_bit = self.flow.bits[limit] if limit else 0

    def __iter__(self) -> Iterator[Place]:
        """Every place that was reached, in the order in which it was."""
        for key, origins in self._seen.items():
            number, state = divmod(key, self._width)
            yield Place(self.flow.spots[number], state, origins, key)

    def __len__(self) -> int:
        return len(self._seen)

    def run(self, state: int = 0) -> "Walk":
        """From the start of the machine, with the automaton in this state before anything of it happened."""
        if self.flow.graph.start not in self.flow.nodes:
            return self
        number = self.flow.letter(entered(self.flow.graph.start))
        letter, role = self._named(number), self._role(number)
        self._heard.update({number} if role else ())
        for before, hops in self._stirred({state: ()}).items():
            after = self.automaton.steps[before][role] if role else before
            broken = after in self.automaton.broken
            if broken:
                start = self._shown(self.flow.graph.start)
                self.breaches.setdefault((start, letter), Breach(start, letter, hops))
            if not broken or not self.first:
                self._begin(self.flow.start, before if broken else after, NOBODY, hops)
                self._moves(before, before if broken else after, "", "starts", self.flow.graph.start)
        return self._go()

    def resume(self, seeds: Iterable[Seed]) -> "Walk":
        """From anywhere."""
        for spot, state, origins in seeds:
            self._begin(spot, state, origins, ())
        return self._go()

    def left(self, spot: Spot, origins: int, outcome: str, state: int) -> Iterator[Seed]:
        """Where a spot can lead that ends so, with the automaton in this state just before."""
        for move in (move for move in self.flow.moves(spot) if move.ended == outcome):
            after = self.automaton.read(state, map(self._named, move.says))
            if after not in self.automaton.broken:
                yield move.to, after, origins if move.origin == KEEP else move.origin

    def _begin(self, spot: Spot, state: int, origins: int, hops: Hops) -> None:
        key = self.flow.number(spot) * self._width + state
        new = origins & ~self._seen.get(key, 0)
        if new:
            self._seen[key] = self._seen.get(key, 0) | new
            self._next[key] = self._next.get(key, 0) | new
            self._came[key].append((new, None, KEEP, None, hops))

    def _go(self) -> "Walk":
        while self._next and not (self.first and self.breaches):
            level, self._next = self._next, {}
            for key, origins in level.items():
                self._leave(key, origins)
        return self

    def path(self, key: int, origins: int) -> Hops:
        """A shortest path to a place that was reached, with some of these origins there."""
        parts: list[Hops] = []
        before: int | None = key
        while before is not None:
            some, earlier, there, move, hops = next(each for each in self._came[before] if each[0] & origins)
            parts.append(hops if earlier is None or move is None else (*hops, self._hop(earlier, move)))
            before, origins = earlier, there or some & origins
        return tuple(hop for hops in reversed(parts) for hop in hops)

    @property
    def heard(self) -> set[Letter]:
        """What happened on the way, also in children, and has a role in the automaton."""
        return set(map(self._named, self._heard)).union(*(children.heard for children in self._known.values()))

    def way(self, place: Place) -> Hops:
        return self.path(place.key, place.origins)

    # ── one spot ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _leave(self, key: int, origins: int) -> None:
        number, state = divmod(key, self._width)
        spot = self.flow.spots[number]
        kind = self.flow.nodes[spot.state].kind
        if kind == "end":
            if state in self.automaton.unfinished and not self.inside:  # what a child leaves open, the others may still do
                self._break(self._shown(spot.state), None, key, origins, ())
            return
        for after, hop in self.meanwhile.get(state, {}).items():
            self._arrive(number * self._width + after, origins, key, KEEP, None, (hop,))
        for outcome in self.flow.retries(spot) if kind == "compact" else ():
            self._retry(key, spot, state, outcome, origins)
        if (known := self._onward.get(key)) is not None:  # other origins were here before: only what carries them on is new
            self._carry(key, origins, known)
            return
        self._onward[key] = []
        if kind == "fetch":
            states = self._fetched(key, spot, state, origins)
            for move in self.flow.moves(spot):
                for after in states:
                    self._take(key, origins, move, after, ())
        elif kind == "delegate" and (children := self.children(spot, state)):
            self._delegated(key, spot, children, origins)
        else:
            for move in self.flow.moves(spot):
                if not move.does:
                    self._take(key, origins, move, state, ())
                    continue
                after = self._read(state, move.does, key, origins, ())
                for each, hops in self._stirred({after: ()}).items():
                    self._take(key, origins, move, each, hops)

    def _delegated(self, key: int, spot: Spot, children: "Children", origins: int) -> None:
        for breach in children.breaches:
            self._break(breach.state, breach.letter, key, origins, breach.path)
        for move in self.flow.moves(spot):
            for after, hops in self._stirred(children.after(move.ended)).items():
                self._take(key, origins, move, after, hops)

    def _retry(self, key: int, spot: Spot, state: int, outcome: str, origins: int) -> None:
        """Where `Back` leads. Many Compacts lead back to the same states: to each of them once is enough, if nothing hears it."""
        names = [spot.returns] if spot.returns else self.flow.origins(origins)
        for move in self.flow.limited_back(spot, outcome, names):
            self._return(key, origins, move, state)
        if spot.returns:
            self._return(key, origins, self.flow.back(spot, outcome, spot.returns), state)
            return
        silent = not self.automaton.role(ended(spot.state, outcome, self._machine))
        done = self._returned.get((spot.exceeded, state), 0) & ~self._loud if silent else 0
        for name in self.flow.origins(origins & ~done):
            self._return(key, self.flow.bits[name], self.flow.back(spot, outcome, name), state)
        if silent:
            self._returned[spot.exceeded, state] = done | origins

    def _return(self, key: int, origins: int, move: Move, state: int) -> None:
        to = move.number * self._width + self._read(state, move.says, key, origins, (), move)
        if move.origin == KEEP:
            self._arrive(to, origins, key, KEEP, move, ())
        else:
            self._arrive(to, move.origin, key, origins, move, ())

    def _fetched(self, key: int, spot: Spot, state: int, origins: int) -> list[int]:
        """A Fetch runs any of its tools, any number of times."""
        found = [state]
        heard = [letter for letter in self.flow.fetched(spot.state) if self._role(letter)]
        if self.automaton.each_call:
            for letter in heard:
                self._break(self._shown(spot.state), self._named(letter), key, origins, ())
        elif heard:
            for each in found:  # grows as it is walked
                read = [self._read(each, (letter,), key, origins, ()) for letter in heard]
                for after in (*read, *self.meanwhile.get(each, ())):
                    if after not in found:
                        found.append(after)
        return found

    def _stirred(self, reached: Reached) -> Reached:
        """These states of the automaton, and those that others can make of them."""
        if not self.meanwhile:
            return reached
        found = dict(reached)
        todo = list(found)
        for state in todo:  # grows as it is walked
            for after, hop in self.meanwhile.get(state, {}).items():
                if after not in found:
                    found[after] = (*found[state], hop)
                    todo.append(after)
        return found

    def children(self, spot: Spot, state: int) -> "Children | None":
        """What the children of this Delegate may do, if the automaton listens to them."""
        if not self._machines:
            return None
        body = self.flow.nodes[spot.state].body
        machine = str(body.get("machine"))
        if machine in (*self.inside, self.flow.graph.name) or not self._machines & self.flows.below(machine):
            return None
        key = (self._shown(spot.state), state)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Children(self, machine, body, *key)
        return found

    def _take(self, key: int, origins: int, move: Move, state: int, hops: Hops) -> None:
        after = self._read(state, move.says, key, origins, hops, move) if move.says else state
        to = move.number * self._width + after
        if move.origin == KEEP:
            self._onward[key].append((to, move, hops))
            self._arrive(to, origins, key, KEEP, move, hops)
        else:
            self._arrive(to, move.origin, key, origins, move, hops)

    def _arrive(self, key: int, origins: int, before: int, origin: int, move: Move | None, hops: Hops) -> None:
        seen = self._seen.get(key, 0)
        new = origins & ~seen
        if new and seen and self._sifts and new != NOBODY:
            new = self._sifted(key, new, seen)
        if new:
            if new & NOBODY:
                number, state = divmod(key, self._width)
                spot = self.flow.spots[number]
                home = (spot.exceeded, state)
                self._homes[home] = self._homes.get(home, 0) | self.flow.bits[spot.state]
            self._seen[key] = seen | new
            self._next[key] = self._next.get(key, 0) | new
            self._came[key].append((new, before, origin, move, hops))

    def _carry(self, before: int, origins: int, known: list[tuple[int, Move, Hops]]) -> None:
        """As `_arrive` for each: most of the time of a large machine is spent here."""
        seen, following, came, sifts = self._seen, self._next, self._came, self._sifts
        for key, move, hops in known:
            new = origins & ~(old := seen.get(key, 0))
            if new and old and sifts:
                new = self._sifted(key, new, old)
            if new:
                seen[key] = old | new
                following[key] = following.get(key, 0) | new
                came[key].append((new, before, KEEP, move, hops))

    def _sifted(self, key: int, new: int, seen: int) -> int:
        """Without the origins that could only lead `Back` to where the walk has been, whatever the automaton reads on the way."""
        if not seen & ~self._limit_bit:
            return new  # one that is not where limits lead must be there: only then a limit can trip on the way Back
        number, state = divmod(key, self._width)
        exceeded = self.flow.spots[number].exceeded
        homes, done = self._homes, -1
        for flag in (True,) if exceeded else (False, True) if self._limit_bit else (False,):
            for ahead in self._ahead[state]:
                done &= homes.get((flag, ahead), 0)
        return new & ~(done & ~self._loud)

    # ── the automaton ────────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _machine(self) -> str:
        return self.inside[-1] if self.inside else ""

    def _hop(self, key: int, move: Move) -> Hop:
        return Hop(self._shown(self.flow.spots[key // self._width].state), move.outcome, self._shown(move.to.state))

    def _shown(self, state: str) -> str:
        return f"{self._machine}.{state}" if self.inside else state

    def _named(self, letter: int) -> Letter:
        return self.flow.letters[letter]._replace(machine=self._machine)

    def _role(self, letter: int) -> int:
        while len(self._roles) <= letter:
            self._roles.append(self.automaton.role(self._named(len(self._roles))))
        return self._roles[letter]

    def _read(self, state: int, letters: tuple[int, ...], key: int, origins: int, hops: Hops, move: Move | None = None) -> int:
        """The next state of the automaton; where it breaks, that is noted, and it goes on as if it had not."""
        before, heard = state, list[int]()
        for number in letters:
            role = self._roles[number] if number < len(self._roles) else self._role(number)
            if not role:
                continue
            heard.append(number)
            after = self.automaton.steps[state][role]
            if after in self.automaton.broken:
                letter = self.flow.letters[number]
                last = (self._hop(key, move),) if move else ()
                place = self.flow.spots[key // self._width].state if letter.what == "tool" else letter.name
                self._break(self._shown(place), self._named(number), key, origins, (*hops, *last))
            else:
                state = after
        if heard:
            self._note(before, state, key, heard, move)
        return state

    def _note(self, before: int, after: int, key: int, heard: list[int], move: Move | None) -> None:
        """What was read; and of a run inside of another, which others must know of."""
        self._heard.update(heard)
        if self.inside:
            self.said.setdefault(key % self._width, set()).add(tuple(map(self._named, heard)))
            state = self.flow.spots[key // self._width].state
            does = f"executes {self.flow.letters[heard[0]].name}"
            self._moves(before, after, state, move.outcome if move else does, move.to.state if move else state)

    def _moves(self, before: int, after: int, state: str, outcome: str, to: str) -> None:
        if self.inside and after != before and after not in self.moved.get(before, ()):
            hop = Hop(f"meanwhile {self._shown(state) if state else self._machine}", outcome, self._shown(to))
            self.moved.setdefault(before, {})[after] = hop

    def _break(self, place: str, letter: Letter | None, key: int, origins: int, hops: Hops) -> None:
        if (place, letter) not in self.breaches:
            self.breaches[place, letter] = Breach(place, letter, (*self.path(key, origins), *hops))


def _ahead(automaton: Automaton) -> list[frozenset[int]]:
    """Of each state of an automaton the states, itself included, that it can be in later on."""
    roles = {*automaton.roles.values(), *([SECOND] if automaton.only is not None else [])}
    found: list[frozenset[int]] = []
    for state in range(len(automaton.steps)):
        reached, todo = {state}, [state]
        while todo:
            row = automaton.steps[todo.pop()]
            more = {row[role] for role in roles} - automaton.broken - reached
            reached |= more
            todo += more
        found.append(frozenset(reached))
    return found


class Flows:
    """The machines that may run inside of another, each as a Flow that is made once."""

    def __init__(self, others: Mapping[str, Graph]) -> None:
        self.others = others
        self._flows: dict[str, Flow] = {}
        self._below: dict[str, frozenset[str]] = {}

    def flow(self, machine: str) -> Flow | None:
        if machine not in self._flows and machine in self.others:
            self._flows[machine] = flow_of(self.others[machine])
        return self._flows.get(machine)

    def below(self, machine: str) -> frozenset[str]:
        """The machine and all that its own Delegates lead to."""
        found = self._below.get(machine)
        if found is None:
            names, todo = {machine}, [machine]
            while todo:
                graph = self.others.get(todo.pop())
                nodes: list[Node] = list(graph.nodes.values()) if graph else []
                more = {str(node.body.get("machine")) for node in nodes if node.kind == "delegate"}
                todo += more - names
                names |= more
            found = self._below[machine] = frozenset(names)
        return found


class Children:
    """What the runs of a Delegate can have done by the time it ends, for one state of the automaton before them.

    One, or of a map as many as there may be, at the same time if it lets them; each as far as it got, for a run can be cancelled
    anywhere, and `expired` cuts all.

    late  what a run that is cut may still say after that, by the state of the automaton it was cut in: it finishes the step in hand
    """

    def __init__(self, walk: Walk, machine: str, body: Object, place: str, state: int) -> None:
        self._above, self._machine, self._place, self._state = walk, machine, place, state
        self._many, self._may_fail = bool(body.get("many", True)), bool(body.get("max_failed"))
        self._crowd = self._many and body.get("concurrency") != 1
        self.several_late = self._crowd  # or one, in whose own runs more than a step may be finished
        self._meanwhile = walk.meanwhile
        self._walks: dict[int, tuple[Reached, Reached, list[Breach]]] = {}
        self.breaches: list[Breach] = []
        self.heard: set[Letter] = set()
        self.late: dict[int, set[tuple[Letter, ...]]] = {}
        if self._crowd:
            self._stir()
        self._whole = self._rounds(whole=True)
        self._partly = self._rounds(whole=False)

    def after(self, outcome: str) -> Reached:
        return self._whole if outcome == "done" and not self._may_fail else self._partly

    def finished_late(self, cut: int) -> dict[int, set[int]]:
        """Where the step in hand takes the automaton, from each state that it may be in by then, if the runs were cut in this one."""
        automaton = self._above.automaton
        found: dict[int, set[int]] = {}
        for said in self.late.get(cut, ()):
            for later in _ahead(automaton)[cut]:
                if (step := automaton.read(later, said)) != later:
                    found.setdefault(later, set()).add(step)
        return found

    def _stir(self) -> None:
        """Learns what others may do meanwhile, until a walk adds nothing to it; where that takes long, anything is taken for possible."""
        for _ in range(ROUNDS):
            moved = self._run(self._state, fresh=True)
            if all(after in self._meanwhile.get(before, ()) for before, afters in moved.items() for after in afters):
                return
            self._meanwhile = _both(self._meanwhile, moved)
        automaton, below = self._above.automaton, self._above.flows.below(self._machine)
        some = {letter: role for letter, role in automaton.roles.items() if letter.machine in below}
        for state, row in enumerate(automaton.steps):
            anything = {row[role]: _done(letter) for letter, role in some.items() if row[role] not in automaton.broken}
            self._meanwhile = _both(self._meanwhile, {state: anything})
        self._walks.clear()

    def _rounds(self, *, whole: bool) -> Reached:
        """After every number of runs that there may be."""
        first: dict[int, Hops] = {self._state: ()} if self._many else {}
        found, todo = dict(first), [self._state]
        for state in todo:  # grows as it is walked
            before = found.get(state, ()) if state != self._state else ()
            reached, cut, breaches = self._one(state)
            if not whole:  # what breaks in a whole run breaks in a part of it
                self.breaches += [Breach(each.state, each.letter, (*before, *each.path)) for each in breaches]
            for after, hops in (reached if whole else cut).items():
                if after not in found:
                    found[after] = (*before, *hops)
                    if self._many and not self._crowd and after != self._state:
                        todo.append(after)
        return found

    def _one(self, state: int) -> tuple[Reached, Reached, list[Breach]]:
        """Of one run: the states of the automaton at its successful end, and anywhere in it; and where it breaks."""
        if state not in self._walks:
            self._run(state)
        return self._walks[state]

    def _run(self, state: int, *, fresh: bool = False) -> Meanwhile:
        above, inside = self._above, (*self._above.inside, self._machine)
        flow = above.flows.flow(self._machine)
        if flow is None:
            self._walks[state] = {state: ()}, {state: ()}, []  # a machine that nobody has says nothing
            return {}
        moved = Meanwhile() if fresh else above.moved
        walk = Walk(flow, above.automaton, above.flows, inside=inside, meanwhile=self._meanwhile, moved=moved).run(state)
        if fresh and above.inside:
            _add(above.moved, moved)
        self.heard |= walk.heard
        for here, said in walk.said.items():
            self.late.setdefault(here, set()).update(said)
        starts = Hop(self._place, "starts", f"{self._machine}.{flow.graph.start}")
        breaches = [Breach(each.state, each.letter, (starts, *each.path)) for each in walk.breaches.values()]
        self._walks[state] = (*self._ways(walk, state, starts), breaches)
        return moved

    def _ways(self, walk: Walk, state: int, starts: Hop) -> tuple[Reached, Reached]:
        whole: dict[int, Hops] = {}
        partly: dict[int, Hops] = {}
        for place in walk:
            node = walk.flow.nodes[place.spot.state]
            ended_well = node.kind == "end" and bool(node.body.get("success", True))
            for reached, how, fits in ((whole, "ends", ended_well), (partly, "stops", True)):
                if fits and place.state not in reached:
                    last = Hop(f"{self._machine}.{node.name}", how, self._place)
                    reached[place.state] = () if place.state == state else (starts, *walk.way(place), last)
            if node.kind == "delegate" and (
                below := walk.children(place.spot, place.state)
            ):  # being cancelled takes its time there
                self.late.setdefault(place.state, set()).update((letter,) for letter in below.heard)
                self.several_late = self.several_late or bool(below.heard)
        return whole, partly


def _add(some: Meanwhile, more: Meanwhile) -> None:
    for before, afters in more.items():
        for after, hop in afters.items():
            some.setdefault(before, {}).setdefault(after, hop)


def _both(some: Meanwhile, more: Meanwhile) -> Meanwhile:
    found: Meanwhile = {before: dict(afters) for before, afters in some.items()}
    _add(found, more)
    return found


def _done(letter: Letter) -> Hop:
    return Hop(f"meanwhile {letter.machine}.{letter.name}", letter.outcome or "happens", letter.machine)
