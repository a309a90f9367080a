"""Graphviz: the DOT text of a drawing, and the program that lays it out.

Every state is a card: its name, its kind, what it is for, what it uses. Edges of errors and their retries recede: thin, dashed and
grey, both ways as one line where both exist. `exceeded` is one dotted edge from "any state".
"""

import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from leverframe.errors import ProjectError
from leverframe.graph.drawing import BEGINS, Arrow, Box, Drawable, Drawing, Pick, Style, drawing, line, plain
from leverframe.graph.look import DOUBLE, FAINT, INK, LOOKS, MARKS, MUTED, PAPER
from leverframe.graph.overlay import NOTHING, PLAIN, Mark, Note, Overlay
from leverframe.machine import EXCEEDED

FONT = "Helvetica"  # the one name whose widths every Graphviz knows; pictures name its likes beside it
LINE = 30  # characters of a docstring in one line of a card
DOCS = 3  # lines of a docstring in a card; all of it is in the page


def dot(machine: Drawable, overlay: Overlay = PLAIN) -> str:
    """The drawing for Graphviz, with its legend."""
    drawn = drawing(machine)
    return "\n".join([*_graph(drawn, overlay), *legend_cluster(drawn, overlay), "}"]) + "\n"


def bare(drawn: Drawing, overlay: Overlay, *, titled: bool) -> str:
    """The drawing without its legend, for pictures, which place that themselves."""
    return "\n".join([*_graph(drawn, overlay, titled=titled), "}"]) + "\n"


def legend(drawn: Drawing, overlay: Overlay) -> str:
    """The legend alone."""
    return "\n".join([*_opening(), *_legend(drawn, overlay), "}"]) + "\n"


@dataclass(frozen=True, slots=True)
class Stroke:
    """One line of the picture, with everything that it stands for: both ways of an error and its retry are one."""

    id: str
    arrows: tuple[Arrow, ...]
    recedes: bool

    @property
    def both(self) -> bool:
        return len({arrow.state for arrow in self.arrows}) > 1


def strokes(drawn: Drawing) -> list[Stroke]:
    """The lines of the picture. Edges of work are a line each; of those that recede, all between two states are one."""
    together: dict[object, list[Arrow]] = {}
    for number, arrow in enumerate(drawn.arrows()):
        loose = not arrow.recedes or arrow.state == arrow.to
        together.setdefault(number if loose else frozenset((arrow.state, arrow.to)), []).append(arrow)
    return [Stroke(f"e{number}", tuple(found), found[0].recedes) for number, found in enumerate(together.values())]


# ── the text ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _opening() -> list[str]:
    space = "rankdir=TB, nodesep=0.3, ranksep=0.4, pad=0.3, splines=true, outputorder=edgesfirst"
    return [
        "digraph machine {",
        f'    graph [class="machine", bgcolor="{PAPER}", fontname="{FONT}", fontcolor="{INK}", fontsize=11, {space}]',
        f'    node [fontname="{FONT}", fontsize=11, margin="0.12,0.07"]',
        f'    edge [fontname="{FONT}", fontsize=10, color="{INK}", fontcolor="{INK}", arrowsize=0.7, penwidth=1.1]',
    ]


def _graph(drawn: Drawing, overlay: Overlay, *, titled: bool = True) -> Iterator[str]:
    ids = {box.name: f"s{number}" for number, box in enumerate(drawn.boxes)}
    yield from _opening()
    if titled:
        yield f"    graph [label=<{_title(drawn, overlay)}>, labelloc=t, labeljust=l]"
    yield f'    start [id="start", class="start", label="", shape=circle, style=filled, width=0.16, fillcolor="{INK}", color="{INK}"]'
    for number, edge in enumerate(drawn.beginnings()):
        yield _beginning(ids[edge[2]], "was" * number, overlay.edges.get(edge, NOTHING))
    for box in drawn.boxes:
        note = overlay.states.get(box.name, NOTHING)
        yield f"    {ids[box.name]} [{_node(ids[box.name], box.style, _card(box, note), note.mark, dims(overlay, note))}]"
    for stroke in strokes(drawn):
        yield _edge(stroke, ids, overlay)
    if drawn.limits_to():
        yield from _exceeded(drawn, ids, overlay)


def dims(overlay: Overlay, note: Note) -> bool:
    return overlay.dims and note.mark is None


def _node(id_: str, style: Style, label: str, mark: Mark | None = None, dim: bool = False) -> str:
    look = LOOKS[style]
    stroke, width = (MARKS[mark][0], max(3.0, look.width)) if mark else (look.stroke, look.width)
    names = " ".join(["k_" + style, *([f"m_{mark}"] if mark else []), *(["dim"] if dim else [])])
    twice = (", peripheries=2" if style in DOUBLE else "") + (f', margin="{look.margin}"' if look.margin else "")
    return (
        f'id="{id_}", class="{names}", label=<{label}>, shape={look.shape}, style="{look.style}", fillcolor="{look.fill}", '
        f'color="{stroke}", fontcolor="{look.ink}", penwidth={width:g}{twice}'
    )


def _card(box: Box, note: Note) -> str:
    """The words of a state."""
    ink = LOOKS[box.style].ink
    sign = MARKS[note.mark][1] if note.mark else ""
    rows = [f'<FONT POINT-SIZE="13"><B>{part}</B></FONT>' for part in _wrapped(sign + box.name)]
    rows += [f'<FONT POINT-SIZE="9" COLOR="{LOOKS[box.style].stroke}"><B>{part}</B></FONT>' for part in _wrapped(_kind(box))]
    said = textwrap.wrap(line(box.doc), LINE, max_lines=DOCS, placeholder=" …")
    rows += [f'<FONT POINT-SIZE="10" COLOR="{MUTED}">{_words(part)}</FONT>' for part in said]
    needs = [box.waits.replace(", ", " · ")] if box.waits else []
    needs += box.told
    needs += [_tool(box, pick) for pick in box.picks]
    rows += [f'<FONT POINT-SIZE="10" COLOR="{ink}">{part}</FONT>' for need in needs for part in _wrapped(need)]
    colour = MARKS[note.mark][0] if note.mark else INK
    more = [part for said in note.lines for part in _wrapped(said)]
    rows += [f'<FONT POINT-SIZE="10" COLOR="{colour}"><B>{part}</B></FONT>' for part in more]
    return _table(rows)


def _kind(box: Box) -> str:
    if box.kind == "end" and not box.missing:
        return "END · SUCCESS" if box.success else "END · FAILURE"
    return (box.style + (f" · {box.prompt}" if box.prompt else "")).replace(box.style, box.style.upper(), 1)


def _tool(box: Box, pick: Pick) -> str:
    marks = [pick.effect, "approval" if pick.approval else "", "untrusted" if pick.untrusted else ""]
    return f"{'?' if box.kind == 'ask' else '›'} {pick.name} · {' · '.join(mark for mark in marks if mark)}"


def _table(rows: Sequence[str]) -> str:
    cells = "".join(f'<TR><TD ALIGN="LEFT">{row}</TD></TR>' for row in rows)
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="1.5">{cells}</TABLE>'


def _beside(rows: Sequence[str]) -> str:
    """Words beside a line, a little off it."""
    cells = "".join(f'<TR><TD WIDTH="3"></TD><TD ALIGN="LEFT">{row}</TD></TR>' for row in rows)
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="1">{cells}</TABLE>'


def _edge(stroke: Stroke, ids: dict[str, str], overlay: Overlay) -> str:
    notes = [(arrow, overlay.edges.get(arrow.edge, NOTHING)) for arrow in stroke.arrows]
    mark = _mark_of([note for _, note in notes])
    first = stroke.arrows[0]
    rows = [row for arrow, note in notes for row in _outcome(arrow, note, stroke.recedes)]
    label = f", label=<{_beside(rows)}>" if rows else ""
    drawn = _line_of(stroke.recedes, mark, max(note.weight for _, note in notes))
    names = " ".join(["recedes" if stroke.recedes else "work", *([f"m_{mark}"] if mark else [])])
    names += " dim" if dims(overlay, Note(mark)) else ""
    both = ", dir=both" if stroke.both else ""
    free = ", constraint=false" if all(arrow.outcome == "retry" for arrow in stroke.arrows) else ""
    return f'    {ids[first.state]} -> {ids[first.to]} [id="{stroke.id}", class="{names}"{drawn}{both}{free}{label}]'


def _mark_of(notes: Sequence[Note]) -> Mark | None:
    """Of a line that stands for several edges: unused only where all of them are."""
    marks: list[Mark] = [note.mark for note in notes if note.mark and note.mark != "unused"]
    if marks:
        return marks[0]
    return "unused" if all(note.mark for note in notes) else None


def _line_of(recedes: bool, mark: Mark | None, weight: float) -> str:
    colour = MARKS[mark][0] if mark else FAINT if recedes else INK
    width = {"path": 2.6, "added": 2.4, "removed": 2.0, "changed": 2.4, "here": 2.6}.get(mark or "", 0.8 if recedes else 1.1)
    style = "dotted" if mark == "unused" else "dashed" if recedes or mark == "removed" else "solid"
    heavy = 0 if recedes else 3 * weight
    size = ", arrowsize=0.5, weight=0" if recedes else ""
    return f', color="{colour}", style={style}, penwidth={width + heavy:.2g}{size}'


def _outcome(arrow: Arrow, note: Note, recedes: bool) -> list[str]:
    """The words at an edge. What its line tells is left out: that it is an error, or was never taken."""
    lines = () if note.mark == "unused" else note.lines
    if recedes and arrow.outcome in ("error", "retry") and not lines and note.mark in (None, "unused"):
        return []
    colour = MARKS[note.mark][0] if note.mark else LOOKS["limits"].ink if recedes else INK
    said = "<BR/>".join(_wrapped((MARKS[note.mark][1] if note.mark else "") + arrow.outcome))
    if note.mark == "path" and lines:  # the numbers of a path come first
        said, lines = f"<B>{_words(lines[0])}</B> · {said}", lines[1:]
    strong = MARKS[note.mark][0] if note.mark else MUTED
    more = [f'<FONT POINT-SIZE="9" COLOR="{strong}"><B>{_words(part)}</B></FONT>' for part in lines[: 1 if recedes else None]]
    return [f'<FONT POINT-SIZE="{9 if recedes and not note.mark else 10}" COLOR="{colour}">{said}</FONT>', *more]


def _beginning(to: str, was: str, note: Note) -> str:
    if not note.mark:
        return f'    start -> {to} [id="begin{was}", class="work"]'
    label = _beside(_outcome(Arrow("", BEGINS, "", False), note, False))
    return f'    start -> {to} [id="begin{was}", class="work m_{note.mark}"{_line_of(False, note.mark, 0)}, label=<{label}>]'


def _exceeded(drawn: Drawing, ids: dict[str, str], overlay: Overlay) -> Iterator[str]:
    notes = {to: overlay.limit(drawn, to) for to in drawn.limits_to()}
    said = f'<FONT POINT-SIZE="9" COLOR="{LOOKS["limits"].ink}">any state</FONT>'
    yield f"    limits [{_node('limits', 'limits', said, None, all(dims(overlay, note) for note in notes.values()))}, margin=0.02, height=0.2]"
    for to, note in notes.items():
        label = _beside(_outcome(Arrow("", EXCEEDED, to, True), note, True))
        names = "recedes" + (f" m_{note.mark}" if note.mark else "") + (" dim" if dims(overlay, note) else "")
        colour = MARKS[note.mark][0] if note.mark else FAINT
        heavy = ", penwidth=2.2" if note.mark in ("added", "removed") else ""
        yield (
            f'    limits -> {ids[to]} [id="exceeded{"" if to == drawn.exceeded else "was"}", class="{names}", style=dotted, '
            f'color="{colour}"{heavy}, arrowsize=0.5, label=<{label}>]'
        )


def _title(drawn: Drawing, overlay: Overlay) -> str:
    rows = [f'<FONT POINT-SIZE="18"><B>{_words(drawn.name)}</B></FONT>']
    said = [part for words in (drawn.doc, drawn.limits) for part in textwrap.wrap(words, 3 * LINE)]
    rows += [f'<FONT COLOR="{MUTED}">{_words(part)}</FONT>' for part in said]
    rows += [f"<B>{_words(overlay.title)}</B>"] if overlay.title else []
    return _table(rows)


def _words(words: str) -> str:
    return escape(plain(words)).replace("]", "&#93;")  # alone in its element, a bare one ends Graphviz's reading


def _wrapped(words: str) -> list[str]:
    """In lines that fit a card; a tool's name that is too long is broken rather than the card stretched."""
    return [_words(part) for part in textwrap.wrap(plain(words), LINE + 4)] or [_words(words)]


# ── the legend ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def legend_cluster(drawn: Drawing, overlay: Overlay) -> Iterator[str]:
    yield "    subgraph cluster_legend {"
    yield f'        graph [label=<<FONT COLOR="{MUTED}">legend</FONT>>, style=rounded, color="{FAINT}", class="legend"]'
    yield from (f"    {row}" for row in _legend(drawn, overlay))
    yield "    }"


def _legend(drawn: Drawing, overlay: Overlay) -> Iterator[str]:
    """A column: each kind in use in its own shape, the lines, and what the overlay's marks mean."""
    column: list[str] = []
    for style in drawn.styles:
        word = {"end": "end · success", "failure": "end · failure"}.get(style, style)
        rows = [
            f'<FONT POINT-SIZE="10"><B>{word}</B></FONT>',
            f'<FONT POINT-SIZE="9" COLOR="{MUTED}">{LOOKS[style].means}</FONT>',
        ]
        column.append(f"l{len(column)}")
        yield f"    {column[-1]} [{_node('l_' + style, style, _table(rows))}]"
    for number, (attributes, means) in enumerate(_lines(drawn, overlay)):
        said = f'<FONT POINT-SIZE="9" COLOR="{MUTED}">{_words(means)}</FONT>'
        column.append(f"l{len(column)}")
        yield f'    {column[-1]} [class="legend", shape=plaintext, label=<{_table([said])}>, margin="0.03,0", height=0.1, width=1.2]'
        yield f'    p{number} [class="legend", shape=point, style=invis, width=0.01]'
        yield f"    {{ rank=same; p{number} -> {column[-1]} [minlen=1, {attributes}] }}"
    if column[1:]:
        yield f"    {' -> '.join(column)} [style=invis]"


def _lines(drawn: Drawing, overlay: Overlay) -> list[tuple[str, str]]:
    """Each kind of line in use, as Graphviz writes it, and what it means."""
    lines = [(f'color="{INK}"', "an outcome")]
    if any(arrow.recedes for arrow in drawn.arrows()):
        lines.append((f'color="{FAINT}", style=dashed, penwidth=0.8, dir=both, arrowsize=0.5', "error, and retry"))
    if drawn.limits_to():
        lines.append((f'color="{FAINT}", style=dotted, arrowsize=0.5', "a limit is reached"))
    for mark in sorted(overlay.marks()):
        _, sign, means = MARKS[mark]
        lines.append((_line_of(False, mark, 0)[2:], sign + means))
    return lines


# ── the program ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def svg_of(text: str, beside: Path | None = None) -> str:
    """What the layout program makes of a DOT text: `graphviz-pure` where it is installed, else `dot`.

    `beside` is the folder of this Python's own programs. Raises ProjectError where there is neither program, or where it fails.
    """
    command = [_program(beside or Path(sys.executable).parent), "-Tsvg"]
    done = subprocess.run(command, input=text.encode(), capture_output=True, check=False)  # noqa: S603 (our own text)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it says nothing"]
        raise ProjectError(f"{command[0]} could not lay out the drawing: {said[0]}")
    return done.stdout.decode()


def _program(beside: Path) -> str:
    """`graphviz-pure` is found beside Python also where its environment is not activated."""
    found = shutil.which("graphviz-pure", path=beside) or shutil.which("graphviz-pure") or shutil.which("dot")
    if found is None:
        raise ProjectError(
            "svg and html need a program that lays graphs out: pip install 'leverframe[draw]', or apt install graphviz. "
            "mermaid, dot and text need none"
        )
    return found
