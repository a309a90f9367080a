"""A machine as a picture: Mermaid for people's browsers and pull requests, text for terminals.

Drawn from our own table, of a Machine or of the Definition a run is pinned to. Names become ids (`s0`, `s1`, …), so no name can break
the drawing; `Back` becomes an edge to every state that it can mean, so the drawing tells the whole truth.
"""

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Never, TypeAlias, cast

from leverframe.clock import micros, span
from leverframe.machine import BACK, EXCEEDED, AnyState, Definition, Machine, back_targets, doc_of, kind_of
from leverframe.state import Approve, Consult, Delegate, End, Kind, Wait

Drawable: TypeAlias = Machine[Never] | Definition

STYLES: Mapping[str, str] = {
    "work": "fill:#f4f4f5,stroke:#71717a,color:#18181b",
    "fetch": "fill:#ecfeff,stroke:#0891b2,color:#164e63",
    "ask": "fill:#f5f3ff,stroke:#7c3aed,color:#4c1d95,stroke-width:2px",
    "act": "fill:#fff7ed,stroke:#ea580c,color:#7c2d12,stroke-width:2px",
    "approve": "fill:#fefce8,stroke:#ca8a04,color:#713f12,stroke-width:3px",
    "consult": "fill:#fefce8,stroke:#ca8a04,color:#713f12",
    "wait": "fill:#f0f9ff,stroke:#0284c7,color:#0c4a6e,stroke-dasharray:2 2",
    "delegate": "fill:#eff6ff,stroke:#2563eb,color:#1e3a8a,stroke-width:3px",
    "compact": "fill:#fafafa,stroke:#a1a1aa,color:#71717a,stroke-dasharray:5 5",
    "end": "fill:#f0fdf4,stroke:#16a34a,color:#14532d",
    "failure": "fill:#fef2f2,stroke:#dc2626,color:#7f1d1d",
    "limits": "fill:#fafafa,stroke:#a1a1aa,color:#71717a,stroke-dasharray:5 5",
}
"""How each kind looks, as class `k_<kind>` (plain `end` is a word of Mermaid's). Mermaid cannot style the edges of a state diagram, so it
is the states that errors lead to that recede."""


@dataclass(frozen=True, slots=True)
class Box:
    """One state of a drawing."""

    name: str
    kind: Kind
    doc: str
    edges: Mapping[str, str]
    success: bool = True
    waits: str = ""  # for whom or what

    @property
    def style(self) -> str:
        return "failure" if self.kind == "end" and not self.success else self.kind


@dataclass(frozen=True, slots=True)
class Drawing:
    """What is drawn of a machine."""

    name: str
    doc: str
    start: str
    boxes: tuple[Box, ...]
    exceeded: str | None
    limits: str

    def back(self) -> list[str]:
        return back_targets({box.name: (box.kind, box.edges) for box in self.boxes})


def mermaid(machine: Drawable) -> str:
    """A `stateDiagram-v2`; docstrings are notes, kinds are told apart by colour and border."""
    drawing = _drawing(machine)
    ids = {box.name: f"s{number}" for number, box in enumerate(drawing.boxes)}
    lines = ["---", f"title: {_quoted(drawing.name)}", "---", "stateDiagram-v2", "    direction TB"]
    used = sorted({box.style for box in drawing.boxes} | ({"limits"} if drawing.exceeded else set[str]()))
    lines += [f"    classDef k_{style} {STYLES[style]}" for style in used]
    lines += [f'    state "{_text(box.name)}" as {ids[box.name]}' for box in drawing.boxes]
    lines += [f"    class {ids[box.name]} k_{box.style}" for box in drawing.boxes]
    lines += [f"    [*] --> {ids[drawing.start]}"]
    for box in drawing.boxes:
        for outcome, target in box.edges.items():
            targets = drawing.back() if target == BACK else [target]
            lines += [f"    {ids[box.name]} --> {ids[meant]}: {_text(outcome)}" for meant in targets]
    lines += [f"    {ids[box.name]} --> [*]" for box in drawing.boxes if box.kind == "end"]
    if drawing.exceeded:
        lines += ['    state "from any state" as limits', "    class limits k_limits"]
        lines += [f"    limits --> {ids[drawing.exceeded]}: {EXCEEDED}"]
    lines += [f"    note right of {ids[box.name]}: {_text(_short(box.doc))}" for box in drawing.boxes if box.doc]
    return "\n".join(lines) + "\n"


def text(machine: Drawable) -> str:
    """The table for a terminal: a state, what it is for, and where each of its outcomes leads."""
    drawing = _drawing(machine)
    lines = [f"{drawing.name}: {drawing.doc}" if drawing.doc else drawing.name]
    lines += [f"starts in {drawing.start}" + (f"; {drawing.limits}" if drawing.limits else "")]
    if drawing.exceeded:
        lines.append(f"a limit that is reached leads to {drawing.exceeded}, from any state")
    for box in drawing.boxes:
        kind = f"{box.kind}, {'success' if box.success else 'failure'}" if box.kind == "end" else box.kind
        about = ", ".join(part for part in (kind, box.waits) if part)
        lines += ["", f"{box.name} ({about})" + (f": {_short(box.doc)}" if box.doc else "")]
        width = max(map(len, box.edges), default=0)
        for outcome, target in box.edges.items():
            where = f"back to {', '.join(drawing.back())}" if target == BACK else target
            lines.append(f"    {outcome:<{width}} → {where}")
    return "\n".join(lines) + "\n"


def _drawing(machine: Drawable) -> Drawing:
    return _of_definition(machine) if isinstance(machine, Definition) else _of_machine(machine)


def _of_machine(machine: Machine[Never]) -> Drawing:
    boxes: list[Box] = []
    for name, state in machine.states.items():
        row = {outcome: target.name for outcome, target in machine.edges.get(state, {}).items()}
        success = state.success if issubclass(state, End) else True
        boxes.append(Box(name, kind_of(state), doc_of(state), row, success, _waits(state)))
    exceeded = machine.limits.exceeded.name if machine.limits.exceeded else None
    return Drawing(machine.name, _line(machine.doc), machine.start, tuple(boxes), exceeded, _limits(machine.limits.json()))


def _waits(state: AnyState) -> str:
    if issubclass(state, Delegate):
        return f"to {cast(type[Delegate[Never, Never]], state).machine}"
    if issubclass(state, Approve | Consult | Wait):
        until = span(micros(state.deadline)) if state.deadline else ""
        return until if issubclass(state, Wait) else f"{state.to}, {until}"
    return ""


def _of_definition(definition: Definition) -> Drawing:
    boxes: list[Box] = []
    for spec in definition.states.values():
        parts = [spec.to, span(spec.deadline) if spec.deadline and spec.kind != "delegate" else ""]
        if spec.kind == "delegate":
            parts = [f"to {spec.body['machine']}"]
        waits = ", ".join(part for part in parts if part)
        boxes.append(Box(spec.name, spec.kind, spec.doc, spec.edges, spec.success, waits))
    limits = cast(dict[str, object], definition.body["limits"])
    doc = _line(str(definition.body["doc"]))
    return Drawing(definition.name, doc, definition.start, tuple(boxes), definition.exceeded, _limits(limits))


def _limits(limits: Mapping[str, object]) -> str:
    cost = limits["cost"]
    parts = [
        f"{limits['steps']} steps",
        f"{limits['model_calls']} model calls" if limits["model_calls"] is not None else "",
        f"{int(cost) / 1_000_000:.2f} dollars" if isinstance(cost, int) else "",
        f"{limits['days']} days" if limits["days"] is not None else "",
    ]
    return "at most " + ", ".join(part for part in parts if part)


def _line(doc: str) -> str:
    return " ".join(doc.split("\n\n", maxsplit=1)[0].split())


def _short(doc: str) -> str:
    return textwrap.shorten(_line(doc), 100, placeholder=" …")


def _text(words: str) -> str:
    """Words that Mermaid shows as they are: letters stay, whatever could mean something to it becomes an entity."""
    return re.sub(r"[^\w \-.,!?()'/+…–—]", lambda sign: f"#{ord(sign[0])};" if sign[0].isprintable() else " ", words)


def _quoted(words: str) -> str:
    return "'" + words.replace("'", "''") + "'"
