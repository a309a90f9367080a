"""How a run can move: the reducer's transitions without its data, so that everything about them can be asked at once.

A `Spot` is what decides where a run can go next: its state, the tool of the pending call, whether the doubt it settles is the one that
led there, and whether `exceeded` was taken. Who made the call, whose call is in doubt and where `Back` leads are the *origin*: a state.
Origins never decide a move, they only travel along, so a search carries all of them through a spot at once, as the bits of an integer:
exact, and near-linear where one search for each maker would be quadratic.

Left open, because no edge shows it: what code, models, people, tools and clocks decide, and the counts of errors. So a Compact may
retry or give up at any time (with `times = 1` it never retries an error), and any move may be the one on which a limit trips.
Of an answer that makes several calls, a spot knows who made it and how many calls may still wait: `next` makes any of that Ask's calls, or
is its error. Reads that execute in one step are walked one after another: no rule names them (`leverframe.reduce.beside`), so none can tell.
A state that finds out about a call in doubt, and is entered although none is known to be, may find any that the machine can doubt.
"""

from collections.abc import Iterable, Iterator
from functools import cache, cached_property, lru_cache
from typing import NamedTuple, TypedDict

from leverframe.automaton import RENEWED, RESOLVED, Letter, ended, entered, executed
from leverframe.check.finding import Hop
from leverframe.check.model import Graph, Node
from leverframe.machine import BACK, EXCEEDED
from leverframe.outcomes import RISKY
from leverframe.series import FOLLOWS, NEXT

NOBODY = 1
"""The bit of no origin at all."""
KEEP = 0


class Spot(NamedTuple):
    """Where a run is, as far as it decides where it can go."""

    state: str
    tool: str = ""  # of the pending call; the origin is its maker
    settles: bool = False  # a doubt is known to be here; the origin is that call's maker
    exceeded: bool = False
    returns: str = (
        ""  # of a Compact: back to this state, which settles a doubt of the origin; else the origin is where `Back` leads
    )
    erred: bool = False  # of a Compact: an error led here, and nothing was gained since
    series: str = ""  # the Ask whose answer may have made further calls beside the pending one
    left: int = 0  # at most so many of them wait; with 0, `series` is empty


class _Series(TypedDict):
    series: str
    left: int


class Move(NamedTuple):
    """One way on. `origin`: the bits it goes on with, or KEEP. `does`: before the state ends; `says`: of its end; both as numbers of
    `Flow.letters`."""

    outcome: str
    to: Spot
    number: int  # of `to`, in `Flow.spots`
    origin: int
    does: tuple[int, ...]
    says: tuple[int, ...]
    ended: str  # the outcome, also where a limit leads elsewhere

    def hop(self, state: str) -> Hop:
        return Hop(state, self.outcome, self.to.state)


class Flow:
    """The moves of one machine. Targets that do not exist lead nowhere. Spots and letters have numbers, so that walks are quick."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes = graph.nodes
        self.bits = {name: 2 << index for index, name in enumerate(graph.nodes)}
        self.names = list(graph.nodes)
        self.settlers = {node.edges["unknown"] for node in graph.nodes.values() if "unknown" in node.edges}
        self.exceeded = graph.exceeded if graph.exceeded in graph.nodes else None
        self.risky = {name for name, tool in graph.tools.items() if tool.get("effect") in RISKY}
        self.spots: list[Spot] = []
        self.letters: list[Letter] = []
        self._spots: dict[Spot, int] = {}
        self._letters: dict[Letter, int] = {}
        by_day = bool(graph.limits.get("daily")) and self.exceeded is not None
        self._by_day = by_day and self.nodes[self.exceeded or ""].kind != "ask"
        self._impatient = any(_times(node) <= 1 for node in graph.nodes.values() if node.kind == "compact")
        self.moves = cache(self._moves)
        self.back = cache(self._back)
        self.fetched = cache(self._fetched)

    @property
    def start(self) -> Spot:
        return Spot(self.graph.start)

    def number(self, spot: Spot) -> int:
        found = self._spots.get(spot)
        if found is None:
            found = self._spots[spot] = len(self.spots)
            self.spots.append(spot)
        return found

    def letter(self, letter: Letter) -> int:
        found = self._letters.get(letter)
        if found is None:
            found = self._letters[letter] = len(self.letters)
            self.letters.append(letter)
        return found

    def origins(self, bits: int) -> Iterator[str]:
        """The states that some bits stand for."""
        bits >>= 1
        while bits:
            low = bits & -bits
            yield self.names[low.bit_length() - 1]
            bits ^= low

    def runs(self, spot: Spot) -> tuple[str, ...]:
        """The tools of which an Act executes one here; none where the engine refuses."""
        node = self.nodes[spot.state]
        if node.kind != "act":
            return ()
        if node.builds:
            return node.tools
        return (spot.tool,) if spot.tool in node.tools else ()

    # ── moves ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _moves(self, spot: Spot) -> tuple[Move, ...]:
        """All but those that lead `Back`."""
        node = self.nodes[spot.state]
        found: dict[Move, None] = {}
        for does, tool in self._done(spot, node):
            for outcome, to in node.edges.items():
                if node.kind == "act" and outcome == "unknown" and tool not in self.risky:
                    continue
                if to == NEXT:
                    for move in self._followed(spot, node, does):
                        found[move] = None
                elif to in self.nodes:
                    for move in self._to(spot, node, outcome, to, does):
                        found[move] = None
        if node.kind == "approve" and spot.tool:
            edited = (self.letter(RENEWED),)
            found[Move("edited", spot, self.number(spot), KEEP, edited, (), "edited")] = None
        if node.kind == "ask" and self._by_day and self.exceeded and not spot.exceeded:
            for target, origin in self._entered(
                spot, node, EXCEEDED, self.exceeded
            ):  # left unasked: see `leverframe.reduce.refused`
                found[self._move(spot, EXCEEDED, target._replace(exceeded=True), origin)] = None
        return tuple(found)

    def _followed(self, spot: Spot, node: Node, does: tuple[int, ...]) -> Iterator[Move]:
        """Where `next` leads: any call that the maker can make, without an approval; or the maker's error."""
        maker = self.nodes.get(spot.series)
        if maker is None:
            return
        for tool in maker.tools:
            if (to := maker.edges.get(tool, "")) in self.nodes:
                yield from self._to(spot, node, FOLLOWS, to, does, tool)
        if (to := maker.edges.get("error", "")) in self.nodes:
            yield from self._to(spot, node, FOLLOWS, to, does)

    def _done(self, spot: Spot, node: Node) -> list[tuple[tuple[int, ...], str]]:
        if node.kind != "act":
            return [((), "")]
        made = (self.letter(RENEWED),) if node.builds else ()
        return [((*made, self.letter(executed(tool))), tool) for tool in self.runs(spot)]

    def _fetched(self, state: str) -> tuple[int, ...]:
        """The executions that a Fetch may be made of."""
        return tuple(self.letter(executed(tool)) for tool in self.nodes[state].tools)

    def _move(
        self, spot: Spot, outcome: str, to: Spot, origin: int, does: tuple[int, ...] = (), taken: str | None = None
    ) -> Move:
        """The end of a state; between its letters, whether the pending call is another one now."""
        node = self.nodes[spot.state]
        follows = node.kind == "act" and outcome == FOLLOWS and to.tool
        made = node.builds or (node.kind == "ask" and to.tool)
        renewed = (RENEWED, RESOLVED) if follows else (RENEWED,) if made or (spot.tool and not to.tool) else ()
        says = tuple(map(self.letter, (ended(spot.state, outcome), *renewed, entered(to.state))))
        return Move(taken or outcome, to, self.number(to), origin, does, says, outcome)

    def retries(self, spot: Spot) -> list[str]:
        """The outcomes of a Compact that lead `Back` from here."""
        node = self.nodes[spot.state]
        if node.kind != "compact" or (spot.erred and _times(node) <= 1):
            return []
        return [outcome for outcome, to in node.edges.items() if to == BACK]

    def _back(self, spot: Spot, outcome: str, name: str) -> Move:
        """`Back`, where it means this state."""
        settles = bool(spot.returns)
        return self._move(spot, outcome, Spot(name, settles=settles, exceeded=spot.exceeded), KEEP if settles else NOBODY)

    def limited_back(self, spot: Spot, outcome: str, names: Iterable[str]) -> tuple[Move, ...]:
        """A limit that trips on the way `Back` to any of these states."""
        for name in names:
            if found := tuple(self._limited(spot, self.nodes[spot.state], outcome, name, ())):
                return found
        return ()

    def _to(self, spot: Spot, node: Node, outcome: str, to: str, does: tuple[int, ...], follows: str = "") -> Iterator[Move]:
        """`follows`: the tool of the call that `next` makes."""
        for target, origin in self._entered(spot, node, outcome, to, follows):
            yield self._move(spot, outcome, target, origin, does)
        yield from self._limited(spot, node, outcome, to, does, follows)

    def _limited(self, spot: Spot, node: Node, outcome: str, to: str, does: tuple[int, ...], follows: str = "") -> Iterator[Move]:
        """The same, should a limit trip on entering its target: see `leverframe.reduce.route`. Ends are entered whatever the limits."""
        limit = self.exceeded
        if limit is None or spot.exceeded or self.nodes[to].kind == "end":
            return
        if to == limit and self.nodes[limit].kind != "ask" and to != spot.state:
            return  # it leads there anyway, and the limit is not used up
        for target, origin in self._entered(spot, node, outcome, limit, follows):
            yield self._move(spot, outcome, target._replace(exceeded=True), origin, does, EXCEEDED)

    def carried(self, spot: Spot, outcome: str) -> str:
        """The tool of the pending call when the state has ended, before it enters the next."""
        node = self.nodes[spot.state]
        if node.kind == "ask":
            return outcome if outcome in node.tools else ""
        if node.kind == "act" or (node.kind == "approve" and outcome != "approved") or outcome == "unsure":
            return ""
        return spot.tool

    def _entered(self, spot: Spot, node: Node, outcome: str, to: str, follows: str = "") -> list[tuple[Spot, int]]:
        """The spots that the end of a state leads to, each with its origin. Mirrors `_carried`, `_settle` and `back` of the reducer."""
        target, here = self.nodes[to], self.bits[spot.state]
        if target.kind == "compact":
            return self._compacted(spot, node, outcome, to)
        tool = follows or self.carried(spot, outcome)
        if target.kind in ("ask", "consult", "end") or target.builds:
            tool = ""
        doubted = node.kind == "act" and outcome == "unknown"
        if tool:
            if node.kind == "ask":
                several = node.most > 1
                return [(Spot(to, tool, False, spot.exceeded, series=node.name if several else "", left=node.most - 1), here)]
            rest: _Series = _rest(spot) if follows else {"series": spot.series, "left": spot.left}
            return [(Spot(to, tool, exceeded=spot.exceeded, **rest), KEEP)]
        if to in self.settlers and doubted:
            return [(Spot(to, settles=True, exceeded=spot.exceeded), here if node.builds else KEEP)]
        still = spot.returns or (spot.settles and outcome not in ("happened", "not_happened"))
        if to in self.settlers and still:
            return [(Spot(to, settles=True, exceeded=spot.exceeded), KEEP)]
        return [(Spot(to, exceeded=spot.exceeded), NOBODY)]

    def _compacted(self, spot: Spot, node: Node, outcome: str, to: str) -> list[tuple[Spot, int]]:
        fails = outcome == "error" or (node.kind == "act" and outcome == FOLLOWS)  # the latter where the call cannot be made
        erred = self._impatient and fails  # told apart only where it makes a difference
        entered_as = Spot(to, exceeded=spot.exceeded, erred=erred)
        if node.kind == "compact":
            return [(entered_as._replace(returns=spot.returns, erred=spot.erred), KEEP)]
        here = self.bits[spot.state]
        settling = spot.state in self.settlers and outcome in ("happened", "not_happened")
        if spot.settles and settling:
            origin = KEEP if outcome == "not_happened" else here
            return [(entered_as._replace(erred=self._impatient and outcome == "not_happened"), origin)]
        if spot.settles:
            return [(entered_as._replace(returns=spot.state), KEEP)]
        own = KEEP if spot.tool and not node.builds else here
        found = [(entered_as, own)]
        if settling and outcome == "not_happened" and self._doubtable:
            found.append((entered_as._replace(erred=self._impatient), self._doubtable))
        return found

    @cached_property
    def _doubtable(self) -> int:
        """The makers of all calls that can ever be in doubt."""
        found = 0
        for act in self.nodes.values():
            if act.kind == "act" and "unknown" in act.edges:
                asks = (name for name, ask in self.nodes.items() if ask.kind == "ask" and set(ask.tools) & set(act.tools))
                for name in [act.name] if act.builds else asks:
                    found |= self.bits[name]
        return found


def _rest(spot: Spot) -> "_Series":
    """What waits once the next call of an answer is made."""
    return {"series": spot.series, "left": spot.left - 1} if spot.left > 1 else {"series": "", "left": 0}


def _times(node: Node) -> int:
    return int(str(node.body.get("times", 3)))


@lru_cache(maxsize=32)
def flow_of(graph: Graph) -> Flow:
    """The Flow of a graph, made once for all that is asked of it."""
    return Flow(graph)
