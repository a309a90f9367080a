"""Several calls of one answer: which Acts can execute one of them, and where their `next` leads.

An Ask with `many = True` may answer with a series of tool calls. The first becomes pending, the others wait. `Next` is no state: it
means the maker's own edge for the call that follows, and its `error` where that call cannot be made after all.

Calls are followed over the edges as the reducer carries them: an Act ends them, and so does whatever else makes or asks anew.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Final, NamedTuple

from leverframe.state import Kind

NEXT: Final = "Next"
FOLLOWS: Final = "next"
"""The outcome that leads to it, in place of `ok`."""

FEWEST, MOST = 2, 20
"""What an answer of several calls may be bounded by."""


class Shape(NamedTuple):
    """What matters of one state. `most`: calls that one answer may make; 1 but for an Ask with `many`."""

    kind: Kind
    edges: Mapping[str, str]
    tools: Collection[str] = ()
    builds: bool = False
    most: int = 1

    @property
    def voids(self) -> bool:
        """Is no call pending any more once it is entered?"""
        return self.builds or self.kind in ("ask", "consult", "compact", "end")


def onward(shapes: Mapping[str, Shape], exceeded: str | None) -> dict[str, list[str]]:
    """Of each Act that can end in `next`: the states that this can mean, in declared order."""
    found: dict[str, set[str]] = {}
    for maker in shapes.values():
        if maker.kind == "ask" and maker.most > 1:
            meant = {maker.edges[outcome] for outcome in (*maker.tools, "error") if outcome in maker.edges}
            for tool in maker.tools:
                for act in _executing(shapes, [maker.edges.get(tool, ""), exceeded or ""], tool):
                    found.setdefault(act, set()).update(meant)
    return {
        name: [to for to in shapes if to in found[name]]
        for name, shape in shapes.items()
        if name in found and "ok" in shape.edges
    }


def _executing(shapes: Mapping[str, Shape], starts: list[str], tool: str) -> Iterator[str]:
    """The Acts that a call of this tool can come to, once it is made and leads to one of these."""
    seen: set[str] = set()
    todo = list(starts)
    exceeded = starts[1]
    while todo:
        name = todo.pop()
        shape = shapes.get(name)
        if shape is None or shape.voids or name in seen:
            continue
        seen.add(name)
        if shape.kind == "act":
            if tool in shape.tools:
                yield name
            continue
        todo += [to for outcome, to in shape.edges.items() if shape.kind != "approve" or outcome == "approved"]
        todo.append(exceeded)
