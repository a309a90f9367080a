"""Is it a machine at all? References that mean something, states that can be reached and left, outcomes and edges that agree.

Each part takes a graph and yields findings. `references` and `ways` need no more of a definition than its states, kinds and edges.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import cast

from leverframe.canon import Json, Object
from leverframe.check.codes import finding
from leverframe.check.finding import Finding, Hop
from leverframe.check.model import Graph, Node, own
from leverframe.errors import did_you_mean
from leverframe.machine import BACK, EXCEEDED
from leverframe.outcomes import RISKY
from leverframe.series import NEXT
from leverframe.state import NAME

# Outcomes with a code of their own in card.py, when they are missing.
CARDS = frozenset({"error", "expired", "unknown", "retry", "give_up"})
NAMED: Mapping[str, frozenset[str]] = {
    "approve": frozenset({"approved", "rejected", "expired"}),
    "delegate": frozenset({"done", "error", "expired"}),
    "compact": frozenset({"retry", "give_up"}),
    "end": frozenset[str](),
}
"""The kinds whose outcomes are always the same."""
HINTS = 50
"""Near misses that are looked for: each costs a comparison with every name there is."""
UNSHOWN = "not every drawing, log and schema can show it"


TODO = "TODO:"
"""What `leverframe new --from` writes into all that it leaves to people."""


def structure(graph: Graph) -> Iterator[Finding]:
    yield from references(graph)
    yield from ways(graph)
    for what, names in (("machine", [graph.name]), ("tool", list(graph.tools))):
        for name in names:
            if not shown(name):
                yield finding("LF118", graph.name, f"a {what} is called {name[:80]!r}; {UNSHOWN}")
    for name, tool in graph.tools.items():
        if TODO in str(tool.get("doc")):
            yield finding("LF119", graph.name, f"tool {name} is a stub")
    for node in graph.nodes.values():
        texts = [
            *cast("Object", node.body.get("texts") or {}).values(),
            *cast("Object", node.body.get("partials") or {}).values(),
        ]
        for what, text in (("its code", node.body.get("doc")), *(("its prompt", text) for text in texts)):
            if TODO in str(text):
                yield finding("LF119", graph.name, f"{what} is a stub", state=node.name)
        yield from _names(graph, node)
        yield from _edges(graph, node)
        yield from _tools(graph, node)


# ── references ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def references(graph: Graph) -> Iterator[Finding]:
    """What is named and does not exist."""
    known = list(graph.nodes)
    if graph.start not in graph.nodes:
        yield finding("LF101", graph.name, f"starts in {graph.start!r}, which is no state.{did_you_mean(graph.start, known)}")
    for number, hop in enumerate(graph.broken):
        near = did_you_mean(hop.to, known) if number < HINTS else ""
        message = f"{hop.outcome!r} leads to {hop.to!r}, which is no state.{near}"
        yield finding("LF102", graph.name, message, state=hop.state, outcome=hop.outcome, path=graph.path(hop.state))
    if graph.exceeded is not None and graph.exceeded not in graph.nodes:
        message = f"its limits lead to {graph.exceeded!r}, which is no state.{did_you_mean(graph.exceeded, known)}"
        yield finding("LF102", graph.name, message, outcome=EXCEEDED)


def _tools(graph: Graph, node: Node) -> Iterator[Finding]:
    for name in dict.fromkeys(node.tools):
        if name not in graph.tools:
            near = did_you_mean(name, list(graph.tools)[:HINTS])
            message = f"names the tool {name!r}, which is not under `tools`.{near}"
            yield finding("LF115", graph.name, message, state=node.name)
    if node.kind == "act" and not node.tools:
        yield finding("LF117", graph.name, "executes calls and runs no tool, so every call is refused here", state=node.name)


# ── where one can get, and where not ─────────────────────────────────────────────────────────────────────────────────────────


def ways(graph: Graph) -> Iterator[Finding]:
    """States that cannot be reached, and those that cannot be left towards an End."""
    if graph.start in graph.nodes:
        for name in graph.nodes:
            if name not in graph.reached:
                before = [hop.state for hop in graph.into[name] if hop.state != name]
                why = f"only {listed(before)} leads here, which is never reached either" if before else "no edge leads here"
                yield finding("LF103", graph.name, f"is never reached: {why}", state=name)
    yield from _traps(graph)


def _traps(graph: Graph) -> Iterator[Finding]:
    """One finding for each trap: a component that nothing leads out of, and that has no End. States that only lead into one are
    not reported: they are right once the trap is. An edge to a state that does not exist may have been meant as the way out."""
    order = {name: number for number, name in enumerate(graph.reached or graph.nodes)}  # nearest first
    ends = [name for name, node in graph.nodes.items() if node.kind == "end"]
    endable = graph.ending_in(ends)
    unknown = {hop.state for hop in graph.broken}
    for states in graph.components(own):
        inside = set(states)
        first = min(states, key=lambda name: order.get(name, len(order)))
        if first not in order or inside & unknown or any(graph.nodes[name].kind == "end" for name in states):
            continue
        moves = [hop for name in states for hop in graph.nodes[name].moves if own(hop)]
        if all(hop.to in inside for hop in moves):
            yield _trap(graph, sorted(states, key=order.__getitem__), moves, by_limit=graph.exceeded in endable)


def _trap(graph: Graph, states: list[str], moves: list[Hop], *, by_limit: bool) -> Finding:
    first, path = states[0], graph.path(states[0])
    if not moves:
        kind = graph.nodes[first].kind
        return finding("LF104", graph.name, f"is a dead end: no {kind} ends a run, and nothing leads out", state=first, path=path)
    where = f"{first} leads only to itself" if len(states) == 1 else f"{listed(states)} lead only to each other"
    if by_limit:
        message = f"{where}; only a limit ends that, by {EXCEEDED!r} to {graph.exceeded}"
        return finding("LF106", graph.name, message, state=first, path=path)
    return finding("LF105", graph.name, f"{where}; no End can be reached", state=first, path=path)


# ── outcomes and edges ───────────────────────────────────────────────────────────────────────────────────────────────────────


def choices(node: Node) -> list[Object]:
    return cast("list[Object]", node.body.get("choices") or [])


def risky(graph: Graph, node: Node) -> list[str]:
    """The tools of a state whose call may end as unknown."""
    return [name for name in node.tools if name in graph.tools and graph.tools[name]["effect"] in RISKY]


def _edges(graph: Graph, node: Node) -> Iterator[Finding]:
    intents = {cast("str", choice["intent"]) for choice in choices(node)}
    expected = _expected(graph, node, intents)
    if expected is None:
        if node.kind != "work" and node.edges and not set(node.edges) - CARDS:
            message = f"has an edge for {listed([repr(name) for name in node.edges])} only, and none for when it works"
            yield finding("LF107", graph.name, message, state=node.name)
        if node.kind == "act" and "unknown" in node.edges and not risky(graph, node) and set(node.tools) <= set(graph.tools):
            message = "never ends in 'unknown': it runs no `keyed` or `once` tool"
            yield finding("LF108", graph.name, message, state=node.name, outcome="unknown")
        return
    for outcome in node.edges:
        if outcome not in expected:
            ends = f"it ends in {listed([repr(name) for name in sorted(expected)], 'or')}" if expected else "an End has no edges"
            message = f"never ends in {outcome!r}; {ends}.{did_you_mean(outcome, sorted(expected))}"
            yield finding("LF108", graph.name, message, state=node.name, outcome=outcome)
    for outcome in sorted(expected - set(node.edges)):
        if outcome in intents:
            yield finding(
                "LF109", graph.name, f"{outcome!r} can be picked and has no edge", state=node.name, path=graph.path(node.name)
            )
        elif outcome not in CARDS:
            yield finding(
                "LF107", graph.name, f"can end in {outcome!r}, which leads nowhere", state=node.name, path=graph.path(node.name)
            )


def _expected(graph: Graph, node: Node, intents: set[str]) -> frozenset[str] | None:
    """Every way the state can end; None where a definition does not say, because code names its outcomes."""
    if node.kind in NAMED:
        return NAMED[node.kind]
    if node.kind == "ask":
        return frozenset({*intents, "error"} | ({"unsure"} if node.body.get("threshold") is not None else set[str]()))
    if node.kind in ("consult", "wait"):
        return frozenset({*intents, "expired"})
    return None


# ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _names(graph: Graph, node: Node) -> Iterator[Finding]:
    pseudo = {BACK: f"{BACK!r} is the history pseudo-state's", NEXT: f"{NEXT!r} is where the `next` of an Act leads"}
    if not shown(node.name) or node.name in pseudo:
        why = pseudo.get(node.name, UNSHOWN)
        yield finding("LF118", graph.name, f"a state is called {node.name[:80]!r}; {why}", state=node.name)
    for outcome in node.edges:
        if not shown(outcome) or outcome == EXCEEDED:
            why = "that is what limits do" if outcome == EXCEEDED else UNSHOWN
            yield finding("LF118", graph.name, f"an outcome is called {outcome[:80]!r}; {why}", state=node.name, outcome=outcome)
    for what, names in (
        ("choice", [cast("str", choice["intent"]) for choice in choices(node)]),
        ("tool", cast("list[str]", node.body.get("tools") or cast("Json", []))),
    ):
        for name, times in Counter(names).items():
            if times > 1:
                yield finding("LF110", graph.name, f"has the {what} {name!r} {times} times", state=node.name)


def shown(name: str) -> bool:
    return NAME.fullmatch(name) is not None and name == name.strip()


def listed(names: Iterable[str], word: str = "and", most: int = 8) -> str:
    """`A, B and C`; a long list ends with how many more there are."""
    every = list(dict.fromkeys(names))
    kept = every[:most] if len(every) > most + 1 else every
    rest = [f"{len(every) - len(kept)} more"] if len(kept) < len(every) else []
    *first, last = [*kept, *rest]
    return f"{', '.join(first)} {word} {last}" if first else last
