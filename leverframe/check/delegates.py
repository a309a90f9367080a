"""The machines that another delegates to, where it is data: which are known, and what cannot be said where one is not."""

from collections.abc import Iterator, Mapping

from leverframe.check.codes import finding
from leverframe.check.finding import Finding
from leverframe.check.model import Graph, Node

STRANGER, CIRCLE = "LF120", "LF116"


def delegated(node: Node) -> str | None:
    """The machine that a Delegate runs."""
    return str(node.body.get("machine")) if node.kind == "delegate" else None


def below(graph: Graph, others: Mapping[str, Graph]) -> dict[str, None]:
    """The machines that may run inside of this one, however deep, as far as it is known."""
    found: dict[str, None] = {}
    todo = [graph]
    while todo:
        for name in filter(None, map(delegated, todo.pop().nodes.values())):
            if name not in found:
                found[name] = None
                todo += [others[name]] if name in others else []
    return found


def unknown_below(graph: Graph, others: Mapping[str, Graph]) -> list[str]:
    """Those of them that nobody knows; one that contains itself is no machine that could be known."""
    return [name for name in below(graph, others) if name not in others or name in below(others[name], others)]


def strangers(graph: Graph, others: Mapping[str, Graph], hashes: Mapping[str, str]) -> Iterator[Finding]:
    """Delegates of a definition whose machine was not given, or is another than the one that they pin. `hashes`: of those given."""
    for node in graph.nodes.values():
        name = delegated(node)
        if name is None:
            continue
        pinned, given = str(node.body.get("definition")), hashes.get(name, "")
        if name == graph.name or (name in others and graph.name in below(others[name], others)):
            message = (
                f"delegates to {name!r}, which leads back to {graph.name}: no run can be pinned to a machine that contains itself"
            )
            yield finding(CIRCLE, graph.name, message, state=node.name, remedy="let one of them do without the other")
        elif name not in others:
            message = (
                f"delegates to {name!r}, which was not given: what its runs do, bring back or may be led to do is not looked at"
            )
            yield finding(STRANGER, graph.name, message, state=node.name)
        elif given and pinned != given:
            message = f"delegates to {name!r} as {_short(pinned)}, and {given[:12]} was given: what is said of its runs is said of that one"
            yield finding(STRANGER, graph.name, message, state=node.name)


def _short(pinned: str) -> str:
    return pinned[:12] or "nothing in particular"
