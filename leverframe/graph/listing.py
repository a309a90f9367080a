"""Text for terminals: a state, what it is for, what it uses, and where each of its outcomes leads."""

from leverframe.graph.drawing import Box, Drawable, Drawing, drawing, plain, short
from leverframe.graph.look import MARKS
from leverframe.graph.overlay import NOTHING, PLAIN, Note, Overlay
from leverframe.machine import BACK
from leverframe.series import NEXT


def text(machine: Drawable, overlay: Overlay = PLAIN) -> str:
    """The table for a terminal. What an overlay says stands behind each state and edge, in brackets."""
    drawn = drawing(machine)
    lines = [f"{drawn.name}: {drawn.doc}" if drawn.doc else drawn.name]
    starts = ", ".join(edge[2] + _said(overlay.edges.get(edge, NOTHING)) for edge in drawn.beginnings())
    lines += [f"starts in {starts}" + (f"; {drawn.limits}" if drawn.limits else "")]
    lines += [
        f"a limit that is reached leads to {to}, from any state{_said(overlay.limit(drawn, to))}" for to in drawn.limits_to()
    ]
    if overlay.title:
        lines.append(f"shown: {overlay.title}")
    for box in drawn.boxes:
        lines += ["", *_state(drawn, box, overlay)]
    return "\n".join(plain(line) if line else "" for line in lines) + "\n"


def _state(drawn: Drawing, box: Box, overlay: Overlay) -> list[str]:
    head = f"{box.name} ({box.about})" + (f": {short(box.doc)}" if box.doc else "")
    lines = [head + _said(overlay.states.get(box.name, NOTHING))]
    lines += [f"    prompt by {told}" for told in box.told]
    if box.picks:
        lines.append(f"    {box.verb} {', '.join(map(str, box.picks))}")
    beside = [(outcome, to) for name, outcome, to in drawn.more if name == box.name]
    width = max(map(len, [*box.edges, *(outcome for outcome, _ in beside)]), default=0)
    for outcome, target in [*box.edges.items(), *beside]:
        meant = drawn.meant(box, target)
        where = ", ".join(name + _said(overlay.edges.get((box.name, outcome, name), NOTHING)) for name in meant)
        lines.append(
            f"    {outcome:<{width}} → {'back to ' if target == BACK else 'the next call: ' if target == NEXT else ''}{where}"
        )
    return lines


def _said(note: Note) -> str:
    words = ", ".join(note.lines) or (MARKS[note.mark][2] if note.mark not in (None, "path") else "")
    sign = MARKS[note.mark][1] if note.mark else ""
    return f" [{sign}{words}]" if words else ""
