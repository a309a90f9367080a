"""The card's rules: what every machine owes to those who run it. Errors are counted, waits end, loops are bounded, doubts are settled."""

from collections.abc import Iterator
from typing import cast

from leverframe.check.codes import finding
from leverframe.check.finding import Finding, Hop
from leverframe.check.model import Graph, Node, own, trace
from leverframe.check.structure import choices, listed, risky
from leverframe.machine import BACK, EXCEEDED
from leverframe.state import Kind

FAILING: frozenset[Kind] = frozenset({"ask", "act", "fetch", "delegate"})
WAITING: frozenset[Kind] = frozenset({"approve", "consult", "wait", "delegate"})
PEOPLE: frozenset[Kind] = frozenset({"approve", "consult"})


def card(graph: Graph) -> Iterator[Finding]:
    for node in graph.nodes.values():
        yield from _calls(graph, node)
        yield from _errors(graph, node)
        yield from _waits(graph, node)
    yield from _compacts(graph)
    yield from _doubts(graph)
    yield from _limits(graph)


def _calls(graph: Graph, node: Node) -> Iterator[Finding]:
    """Model calls only in Ask; and what a Fetch does without anybody's choice only reads."""
    asks = [key for key in ("prompt", "prompt_by", "texts", "partials", "threshold") if node.body.get(key)]
    asks += [f"the choice of a tool, {choice['intent']!r}" for choice in choices(node) if choice["kind"] == "tool"]
    if node.kind != "ask" and asks:
        message = f"is of kind {node.kind} and has {listed(asks)}: only an Ask calls a model"
        yield finding("LF201", graph.name, message, state=node.name)
    for name in dict.fromkeys(node.tools if node.kind == "fetch" else ()):
        effect = graph.tools[name]["effect"] if name in graph.tools else "read"
        if effect != "read":
            message = f"fetches with {name}, which is {effect!r}: that would be done without a choice, and again after a crash"
            yield finding("LF216", graph.name, message, state=node.name)


def _errors(graph: Graph, node: Node) -> Iterator[Finding]:
    to = node.edges.get("error")
    if to is None:
        if node.kind in FAILING:
            yield finding("LF202", graph.name, "can end in 'error', which leads nowhere", state=node.name)
    elif to in graph.nodes and graph.nodes[to].kind != "compact":
        message = f"'error' leads to {to}, {_a(graph.nodes[to].kind)}: nobody counts how often"
        yield finding("LF202", graph.name, message, state=node.name, outcome="error", path=_through(graph, node, "error"))


def _waits(graph: Graph, node: Node) -> Iterator[Finding]:
    if node.kind not in WAITING:
        return
    if cast("int", node.body.get("deadline") or 0) <= 0:
        yield finding("LF207", graph.name, "waits without a deadline, perhaps for ever", state=node.name)
    if "expired" not in node.edges:
        yield finding("LF208", graph.name, "waits until a deadline, and 'expired' leads nowhere", state=node.name)
    if node.kind in PEOPLE and not node.body.get("to"):
        yield finding("LF209", graph.name, "waits for a person and does not say for whom", state=node.name)


# ── compacts ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _compacts(graph: Graph) -> Iterator[Finding]:
    goals = [name for name, node in graph.nodes.items() if node.kind == "end" or node.kind in PEOPLE]
    goals += [hop.state for hop in graph.broken]  # it may have been meant as the way
    # A retry leads to what failed before, and a limit is not where giving up leads: neither helps who gives up.
    helped = graph.ending_in(goals, lambda hop: own(hop) and not (hop.outcome == "retry" and _is(graph, hop.state, "compact")))
    for node in graph.nodes.values():
        for outcome, to in node.edges.items():
            if to == BACK and not (node.kind == "compact" and outcome == "retry"):
                message = f"{outcome!r} leads Back, to whatever was before"
                yield finding("LF206", graph.name, message, state=node.name, outcome=outcome)
        if node.kind == "compact":
            yield from _compact(graph, node, helped)


def _compact(graph: Graph, node: Node, helped: set[str]) -> Iterator[Finding]:
    times = cast("int", node.body.get("times") or 0)
    if times < 1:
        message = f"counts to {times}; with 1 it would give up at the first error"
        yield finding("LF203", graph.name, message, state=node.name)
    retry, give_up = node.edges.get("retry"), node.edges.get("give_up")
    if retry is None:
        yield finding("LF204", graph.name, "has no edge 'retry'", state=node.name)
    elif retry in graph.nodes and graph.nodes[retry].kind in ("compact", "end"):
        message = f"'retry' leads to {retry}, {_a(graph.nodes[retry].kind)}, which tries nothing again"
        yield finding("LF204", graph.name, message, state=node.name, outcome="retry", path=_through(graph, node, "retry"))
    if give_up is None:
        yield finding("LF205", graph.name, "has no edge 'give_up'", state=node.name)
    elif give_up in graph.nodes and give_up not in helped:
        message = f"'give_up' leads to {give_up}, from where neither an End nor a person can be reached without a retry"
        yield finding("LF205", graph.name, message, state=node.name, outcome="give_up", path=_through(graph, node, "give_up"))


# ── doubts ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def settles(node: Node) -> bool:
    return "happened" in node.edges and "not_happened" in node.edges


def _doubts(graph: Graph) -> Iterator[Finding]:
    settlers = {node.edges["unknown"] for node in graph.nodes.values() if "unknown" in node.edges}
    for node in graph.nodes.values():
        if node.kind == "act" and "unknown" not in node.edges and (tools := risky(graph, node)):
            message = f"a call of {listed(tools, 'or')} may end as unknown, and no edge says where that leads"
            yield finding("LF211", graph.name, message, state=node.name)
        to = graph.nodes.get(node.edges.get("unknown", ""))
        if to is not None and (why := _unfit(to)):
            message = f"'unknown' leads to {to.name}, which {why}: it cannot settle whether the call happened"
            yield finding("LF212", graph.name, message, state=node.name, outcome="unknown", path=_through(graph, node, "unknown"))
        if settles(node) or node.name in settlers:
            yield from _settler(graph, node)


def _unfit(node: Node) -> str:
    """Why a state cannot settle what became of a call; empty if it can."""
    if node.kind not in ("fetch", "consult"):
        return f"is {_a(node.kind)}"
    lacks = [repr(name) for name in ("happened", "not_happened") if name not in node.edges]
    return f"has no outcome {listed(lacks, 'or')}" if lacks else ""


def _settler(graph: Graph, node: Node) -> Iterator[Finding]:
    to = node.edges.get("not_happened")
    if to in graph.nodes and graph.nodes[to].kind != "compact":
        message = f"'not_happened' leads to {to}, {_a(graph.nodes[to].kind)}: the call could be tried for ever"
        yield finding(
            "LF213", graph.name, message, state=node.name, outcome="not_happened", path=_through(graph, node, "not_happened")
        )


# ── limits ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _limits(graph: Graph) -> Iterator[Finding]:
    steps = cast("int | None", graph.limits["steps"])
    if steps is None:
        loop = cycle(graph)
        shown = " → ".join([loop[0].state, *(hop.to for hop in loop)][:12]) if loop else ""
        message = f"the loop {shown} may go on for ever: steps are not limited" if loop else "steps are not limited"
        state = loop[0].state if loop else None
        path = (*graph.path(loop[0].state), *loop) if loop else ()
        yield finding("LF210", graph.name, message, state=state, path=path)
    if graph.exceeded in graph.nodes and graph.nodes[graph.exceeded].kind == "compact":
        message = f"its limits lead to {graph.exceeded}, a Compact: nothing failed that could be tried again"
        yield finding("LF214", graph.name, message, outcome=EXCEEDED)


def cycle(graph: Graph) -> tuple[Hop, ...]:
    """A shortest cycle through the first state, as seen from the start, that is on one; empty where there is none."""
    within = {name: number for number, states in enumerate(graph.components()) for name in states}

    def stays(hop: Hop) -> bool:
        return within[hop.to] == within[hop.state]

    for name in graph.reached or graph.nodes:
        for hop in filter(stays, graph.nodes[name].moves):
            return (hop, *trace(graph.search(hop.to, stays), name)) if name != hop.to else (hop,)
    return ()


def _through(graph: Graph, node: Node, outcome: str) -> tuple[Hop, ...]:
    """A shortest path that takes this edge."""
    return (*graph.path(node.name), Hop(node.name, outcome, node.edges[outcome]))


def _a(kind: Kind) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _is(graph: Graph, name: str, kind: Kind) -> bool:
    return graph.nodes[name].kind == kind
