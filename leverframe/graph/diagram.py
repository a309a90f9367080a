"""Mermaid: a `stateDiagram-v2`, which GitHub shows and people know how to write.

Names become ids (`s0`, `s1`, …), so no name can break the drawing, and the kind of a state is its class `k_<kind>` (plain `end` is a
word of Mermaid's): what is drawn can be read back. Mermaid cannot style the edges of a state diagram, so it is the states that errors
lead to that recede, and what an overlay says of an edge stands behind its outcome.
"""

import re

from leverframe.graph.drawing import BEGINS, Box, Drawable, Drawing, Style, drawing, plain, short
from leverframe.graph.look import LOOKS, MARKS
from leverframe.graph.overlay import NOTHING, PLAIN, Note, Overlay
from leverframe.machine import EXCEEDED

BREAK = "<br/>"


def mermaid(machine: Drawable, overlay: Overlay = PLAIN, *, notes: bool = True) -> str:
    """A `stateDiagram-v2`; kinds are told apart by colour and border. Notes beside the states hold docstrings, kinds, approvers,
    deadlines and tools; without them, for where a table says the same, the drawing is a third as wide."""
    drawn = drawing(machine)
    ids = {box.name: f"s{number}" for number, box in enumerate(drawn.boxes)}
    title = " · ".join(part for part in (drawn.name, overlay.title) if part)
    lines = ["---", f"title: {_quoted(title)}", "---", "stateDiagram-v2", "    direction TB"]
    lines += _classes(drawn, overlay)
    lines += [f'    state "{_text(box.name)}" as {ids[box.name]}' for box in drawn.boxes]
    lines += [f"    class {ids[box.name]} k_{box.style}" for box in drawn.boxes]
    lines += [f"    class {ids[name]} m_{note.mark}" for name, note in overlay.states.items() if name in ids and note.mark]
    for edge in drawn.beginnings():
        note = overlay.edges.get(edge, NOTHING)
        lines.append(f"    [*] --> {ids[edge[2]]}" + (f": {_said(BEGINS, note)}" if note.mark else ""))
    for arrow in drawn.arrows():
        note = overlay.edges.get(arrow.edge, NOTHING)
        lines.append(f"    {ids[arrow.state]} --> {ids[arrow.to]}: {_said(arrow.outcome, note)}")
    lines += [f"    {ids[box.name]} --> [*]" for box in drawn.boxes if box.kind == "end"]
    if limits := drawn.limits_to():
        lines += ['    state "from any state" as limits', "    class limits k_limits"]
        lines += [f"    limits --> {ids[to]}: {_said(EXCEEDED, overlay.limit(drawn, to))}" for to in limits]
    for box in drawn.boxes:
        if words := _words(box, overlay.states.get(box.name, NOTHING), notes):
            lines.append(f"    note right of {ids[box.name]}: {BREAK.join(_text(part) for part in words)}")
    return "\n".join(lines) + "\n"


def _classes(drawn: Drawing, overlay: Overlay) -> list[str]:
    lines: list[str] = []
    used: list[Style] = [*drawn.styles, "limits"] if drawn.limits_to() else drawn.styles
    for style in sorted(used):
        look = LOOKS[style]
        dashes = f",stroke-dasharray:{look.dashes}" if look.dashes else ""
        wide = 3 if style == "approve" else look.width
        lines.append(
            f"    classDef k_{style} fill:{look.fill},stroke:{look.stroke},color:{look.ink},stroke-width:{wide:g}px{dashes}"
        )
    for mark in sorted(overlay.marks()):
        lines.append(f"    classDef m_{mark} stroke:{MARKS[mark][0]},stroke-width:5px")
    return lines


def _said(outcome: str, note: Note) -> str:
    sign = MARKS[note.mark][1] if note.mark else ""
    return BREAK.join(_text(part) for part in (sign + outcome, *note.lines))


def _words(box: Box, note: Note, told: bool) -> list[str]:
    """What is noted beside a state: its docstring, then, each behind a dot, what it is, its tools, and what an overlay says."""
    sign = MARKS[note.mark][1] if note.mark else ""
    more = [box.about, *box.told, *(f"{box.verb} {pick}" for pick in box.picks)] if told else []
    doc = [short(box.doc)] if box.doc and told else []
    return doc + [f"· {part}" for part in (*more, *(sign + part for part in note.lines))]


_SIGNS = re.compile(r"[^\w \-.,!?()'/+…–—·\u200c\u200d]|d(?=irection\s)|(?<![^\W_])_|_(?![^\W_])", re.IGNORECASE)


def _text(words: str) -> str:
    """Words that Mermaid shows as they are: letters stay, whatever could mean something to it becomes an entity; also the `_` around
    a word, and `direction LR`, which it obeys wherever in a line it stands."""
    return _SIGNS.sub(lambda sign: f"#{ord(sign[0])};", plain(words))


def _quoted(words: str) -> str:
    return "'" + plain(words).replace("'", "''") + "'"
