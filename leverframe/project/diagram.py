"""A machine that somebody drew: a Mermaid `stateDiagram-v2` as states, kinds and edges, or everything that is wrong with it at once.

Only the subset that is a flat machine is one. The drawing is the truth: nothing is added to it silently, and what a machine needs and
the drawing lacks is an error that says which line to add. What `leverframe graph --format mermaid` prints is read back as it was:
the edges that `Back` stands for become `Back` again, and the box `from any state` the target of the limits. docs/diagrams.md
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from leverframe.errors import DeclarationError, DiagramError, did_you_mean
from leverframe.machine import BACK, EXCEEDED, back_targets
from leverframe.project import kinds
from leverframe.project.sketch import HINTS, LONGEST_LINE, Arrow, Box, Sketch, refused_sign
from leverframe.series import FOLLOWS, NEXT
from leverframe.state import Kind, checked_name

LARGEST = 2_000_000
"""Signs; ten times the drawing of a machine of 1,000 states."""

Problems = list[tuple[int, str]]

_SEVERAL = "`many` and `next` are written by hand (docs/many.md)"


@dataclass(frozen=True, slots=True)
class Drawn:
    """One state. `edges` lead to names, a Compact's `retry` perhaps to `Back`."""

    name: str
    kind: Kind
    doc: str = ""
    edges: Mapping[str, str] = field(default_factory=dict[str, str])
    success: bool = True
    machine: str = ""  # that a Delegate runs, where the drawing says
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Diagram:
    """A flat machine as it was drawn: the start first, then in the order of the lines."""

    title: str
    start: str
    states: tuple[Drawn, ...]
    exceeded: str | None = None

    @cached_property
    def named(self) -> Mapping[str, Drawn]:
        return {state.name: state for state in self.states}


def read(text: str, file: str = "diagram.mmd") -> Diagram:
    """The machine that a Mermaid text draws; of a Markdown file, its one block of `mermaid`.

    Raises DiagramError with every problem and its line.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if len(text) > LARGEST:
        raise DiagramError(file, [(0, f"{len(text):,} signs; a drawing has at most {LARGEST:,}. Is this the right file?")])
    numbered = list(enumerate(text.split("\n"), 1))
    problems = [found for number, line in numbered for found in _unreadable(number, line)]
    if problems:
        raise DiagramError(file, problems)
    title, lines = _opened(numbered, problems)
    if problems:
        raise DiagramError(file, problems)
    sketch = Sketch(lines)
    reader = _Reader(sketch)
    if found := sketch.problems + reader.problems:
        raise DiagramError(file, list(dict.fromkeys(found)))
    assert reader.start is not None  # a missing one is a problem
    states = sorted(reader.drawn.values(), key=lambda state: state.name != reader.start)
    return Diagram(title, reader.start, tuple(states), reader.exceeded)


def _unreadable(number: int, line: str) -> Problems:
    if len(line) > LONGEST_LINE:
        return [(number, f"a line of {len(line):,} signs; it may have {LONGEST_LINE:,}")]
    hidden = next((sign for sign in line if refused_sign(sign)), "") if not (line.isascii() and line.isprintable()) else ""
    return [(number, f"the sign U+{ord(hidden):04X} cannot be seen; delete it")] if hidden else []


def _opened(numbered: list[tuple[int, str]], problems: Problems) -> tuple[str, list[tuple[int, str]]]:
    """The title, and the lines below `stateDiagram-v2`."""
    lines = [(number, line.strip()) for number, line in numbered]
    fences = [index for index, (_, line) in enumerate(lines) if re.fullmatch(r"(```+|~~~+)\s*mermaid\b.*", line)]
    if len(fences) > 1:
        problems.append((lines[fences[1]][0], "a second drawing; a file holds one machine"))
    if fences:
        inside = lines[fences[0] + 1 :]
        end = next((index for index, (_, line) in enumerate(inside) if re.fullmatch(r"```+|~~~+", line)), len(inside))
        lines = inside[:end]
    title, rest = _front_matter(_without_blanks(lines), problems)
    rest = _without_blanks(rest)
    if not rest:
        problems.append((0, "nothing is drawn here; the first line is stateDiagram-v2"))
    elif not re.fullmatch(r"stateDiagram(-v2)?", rest[0][1], re.IGNORECASE):
        problems.append(
            (rest[0][0], f"{rest[0][1][:40]!r}: only a state diagram is a machine; the first line is stateDiagram-v2")
        )
    return title, rest[1:]


def _without_blanks(lines: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """From the first line on that is neither blank nor a remark."""
    inside = False
    for index, (_, line) in enumerate(lines):
        remark = inside or not line or line.startswith("%%")
        inside = (inside or line.startswith("%%{")) and "}%%" not in line
        if not remark:
            return lines[index:]
    return []


def _front_matter(lines: list[tuple[int, str]], problems: Problems) -> tuple[str, list[tuple[int, str]]]:
    if not lines or lines[0][1] != "---":
        return "", lines
    end = next((index for index, (_, line) in enumerate(lines) if index and line == "---"), 0)
    if not end:
        problems.append((lines[0][0], "the front matter is never closed; end it with a line ---"))
        return "", []
    titles = [line.partition(":")[2].strip() for _, line in lines[1:end] if re.match(r"title\s*:", line)]
    title = titles[0] if titles else ""
    if title[:1] in ("'", '"') and title[-1:] == title[:1] and len(title) > 1:
        title = title[1:-1].replace("''", "'") if title[0] == "'" else title[1:-1]
    return title.strip(), lines[end + 1 :]


class _Reader:
    """Gives boxes and arrows a meaning; collects what has none."""

    def __init__(self, sketch: Sketch) -> None:
        self.problems: Problems = []
        self.drawn: dict[str, Drawn] = {}
        self.exceeded: str | None = None
        self.start: str | None = None
        self._boxes = dict(sketch.boxes)
        self._styles = sketch.styles
        self._arrows = sketch.arrows
        self._starts = sketch.starts
        self._names = self._named()
        self._take_limits()
        self._find_start()
        rows = self._rows()
        for id, box in self._boxes.items():
            self._draw(box, rows[id])
        if len(self.drawn) == len(self._boxes):
            self._fold_back(rows)
        compacts = (id for id in self._boxes if (state := self.drawn.get(self._names[id])) and state.kind == "compact")
        self._compact = next(compacts, "")
        for box in self._boxes.values():
            if (state := self.drawn.get(self._names[box.id])) is not None:
                self._hold(box, state)

    def _say(self, line: int, message: str) -> None:
        self.problems.append((line, message))

    # ── names ──

    def _named(self) -> dict[str, str]:
        """The name of each box: its label, where it has one. `Back` is no state."""
        names: dict[str, str] = {}
        first: dict[str, Box] = {}
        for box in self._boxes.values():
            name = names[box.id] = box.label or box.id
            try:
                checked_name(name, "state")
            except DeclarationError as error:
                self._say(box.line, f"{error}. What a state is for goes into a note: note right of {box.id}: …")
            if (other := first.setdefault(name, box)) is not box:
                self._say(box.line, f"two states are called {name!r} (line {other.line} draws the other); rename one")
        for box in (box for box in self._boxes.values() if names[box.id] == NEXT):
            self._say(
                box.line, f"{NEXT!r} is where an Act's `next` leads, and no state; rename it. Draw one call an answer: {_SEVERAL}"
            )
        back = [box for box in self._boxes.values() if names[box.id] == BACK]
        leaving = {arrow.source: arrow.line for arrow in self._arrows}
        for box in back:
            if box.id in leaving or box.ends or any(id == box.id for id, _ in self._starts):
                self._say(leaving.get(box.id, box.line), f"{BACK!r} is where a Compact goes back to, and no state; rename it")
            del self._boxes[box.id]
        return names

    def _take_limits(self) -> None:
        """The box that stands for every state: all it has is an edge `exceeded`."""
        leaving = [arrow for arrow in self._arrows if arrow.label == EXCEEDED]
        ids = {arrow.source for arrow in leaving}
        ids |= {box.id for box in self._boxes.values() if kinds.LIMITS in (name.removeprefix("k_") for name, _ in box.classes)}
        for id in sorted(ids & set(self._boxes)):
            ours = [arrow for arrow in self._arrows if id in (arrow.source, arrow.target)]
            others = [arrow for arrow in ours if arrow not in leaving or arrow.target == id]
            for arrow in others:
                self._say(
                    arrow.line,
                    f"only the limits end in 'exceeded', and that is all they have: draw them as a box of their own, "
                    f'state "from any state" as limits, and limits --> … : exceeded (here {arrow.source} --> {arrow.target})',
                )
            if not any(arrow.source == id for arrow in leaving) and not others:
                self._say(self._boxes[id].line, f"the limits lead nowhere; add {id} --> HandOver : exceeded")
            del self._boxes[id]
        if len(ids) > 1 or len(leaving) > 1:
            self._say(leaving[-1].line if leaving else 0, "limits lead to one place; draw one box, and one edge 'exceeded'")
        if leaving:
            self.exceeded = self._names[leaving[0].target]
            if self.exceeded == BACK:
                self._say(leaving[0].line, "limits lead to Back, which is no state; draw them to one that is")
        self._arrows = [arrow for arrow in self._arrows if arrow.source not in ids]

    def _find_start(self) -> None:
        if not self._starts:
            first = next(iter(self._boxes), "Start")
            self._say(0, f"no start; add [*] --> {first}")
        for target, line in self._starts[1:]:
            self._say(
                line, f"a second start, {target}; a machine begins in one state ({self._starts[0][0]}, line {self._starts[0][1]})"
            )
        if self._starts:
            id, line = self._starts[0]
            self.start = self._names[id]
            if id not in self._boxes and self.start != BACK:
                self._say(line, "a machine cannot begin in its limits; name a state")

    # ── rows ──

    def _rows(self) -> dict[str, dict[str, list[Arrow]]]:
        rows: dict[str, dict[str, list[Arrow]]] = {id: {} for id in self._boxes}
        left = {arrow.source for arrow in self._arrows}
        entered = {arrow.target for arrow in self._arrows} | {target for target, _ in self._starts}
        for arrow in self._arrows:
            if arrow.source in rows and self._is_outcome(arrow):
                rows[arrow.source].setdefault(arrow.label, []).append(arrow)
        for id, box in self._boxes.items():
            for outcome, arrows in rows[id].items():
                if outcome != FOLLOWS:
                    self._refuse_twice(outcome, arrows)
            if box.ends and id in left:
                self._say(box.line, f"{id} leads to [*] and goes on too; draw an End of its own: {id} --> Done : …, Done --> [*]")
            if not rows[id] and id not in entered and not box.ends and self._names[id] != self.exceeded:
                self._say(box.line, f"{id} stands alone: no edge leads there or away; draw one, or delete it.{self._near(id)}")
        return rows

    def _near(self, id: str) -> str:
        return did_you_mean(id, [other for other in self._boxes if other != id]) if len(self.problems) < HINTS else ""

    def _is_outcome(self, arrow: Arrow) -> bool:
        where = f"{arrow.source} --> {arrow.target}"
        if not arrow.label:
            self._say(arrow.line, f"{where} has no outcome; write {where} : how it ended, as in ok, error, approved")
            return False
        try:
            checked_name(arrow.label, "outcome")
        except DeclarationError as error:
            self._say(arrow.line, f"{where}: {error}. Draw an edge for each outcome; conditions belong into a Work")
            return False
        return True

    def _refuse_twice(self, outcome: str, arrows: list[Arrow]) -> None:
        """One outcome leads to one place; only a `retry` may be spelled out."""
        first: dict[str, Arrow] = {}
        for arrow in arrows:
            other = first.setdefault(arrow.target, arrow)
            if other is not arrow:
                self._say(
                    arrow.line, f"the edge {arrow.source} --> {arrow.target} : {outcome} is drawn in line {other.line} already"
                )
            elif len(first) > 1 and outcome != "retry":
                self._say(
                    arrow.line,
                    f"{arrow.source} ends in {outcome!r} twice, here to {arrow.target} and in line {arrows[0].line} to "
                    f"{arrows[0].target}; give the ways different names, or decide in a Work",
                )

    def _refuse_next(self, box: Box, kind: Kind | None, arrows: list[Arrow]) -> None:
        """Of an Act it would lead to the next call of an answer; how many there are, and who makes them, no drawing says."""
        if kind in ("act", None):
            self._say(
                arrows[0].line,
                f"{box.id} leads on in 'next', to another call of the same answer. Draw one call an answer: {_SEVERAL}",
            )
        else:
            self._refuse_twice(FOLLOWS, arrows)

    # ── kinds ──

    def _draw(self, box: Box, row: Mapping[str, list[Arrow]]) -> None:
        name = self._names[box.id]
        word = self._classed(box)
        told = [(kinds.said(text), text, line) for text, line in box.texts]
        if word:  # then texts are words of people, but for the machine that a Delegate runs
            told = [(found if found and found.to and word == "delegate" else None, text, line) for found, text, line in told]
        for found, _, line in told:
            word = word or (found.word if found else "")
            if found and found.word != word:
                self._say(line, f"{box.id} is said to be {word} and {found.word}; say one")
        texts = [found.rest if found else text for found, text, _ in told]
        machine = next((found.to for found, _, _ in told if found and found.to), "")
        kind = kinds.WORDS.get(word)
        if word == kinds.LIMITS:
            self._say(box.line, f"{box.id} stands for the limits, but has no edge 'exceeded'; add {box.id} --> … : exceeded")
        elif kind is None:
            kind = self._inferred(box, row)
        if FOLLOWS in row:
            self._refuse_next(box, kind, row[FOLLOWS])
        if kind is not None:
            doc = " ".join(text for text in texts if text)
            edges = {outcome: self._names[arrows[0].target] for outcome, arrows in row.items()}
            self.drawn[name] = Drawn(name, kind, doc, edges, word != "failure", machine, box.line)

    def _classed(self, box: Box) -> str:
        """The kind that its classes say; others must be styles, so that a slip of the pen is none."""
        found: dict[str, int] = {}
        for css, line in box.classes:
            word = css.removeprefix("k_").lower()
            if word in kinds.WORDS or word == kinds.LIMITS:
                found.setdefault(word, line)
            elif css not in self._styles:
                hint = did_you_mean(word, list(kinds.WORDS))
                self._say(
                    line,
                    f"class {css!r} of {box.id} is neither a kind nor defined by a classDef; kinds: {', '.join(kinds.WORDS)}.{hint}",
                )
        if len(found) > 1:
            self._say(max(found.values()), f"{box.id} is {' and '.join(found)} by its classes; leave one")
        return next(iter(found), "")

    def _inferred(self, box: Box, row: Mapping[str, list[Arrow]]) -> Kind | None:
        open = kinds.fitting(row)
        named: list[Kind] = [kind for kind in open if kind in kinds.by_name(self._names[box.id])]
        if len(open) == 1 or len(named) == 1:
            return named[0] if named else open[0]
        choices = ", ".join(f"class {box.id} {kind}" for kind in open)
        self._say(
            box.line,
            f"{box.id} ends in {', '.join(map(repr, row))} and may be {' or '.join(open)}; say which: {choices}, "
            f"or {box.id} : {open[0]} – what it is for",
        )
        return None

    # ── what a machine must have ──

    def _fold_back(self, rows: Mapping[str, Mapping[str, list[Arrow]]]) -> None:
        """A `retry` to each of the states that `Back` can mean is `Back`."""
        table: dict[str, tuple[Kind, Mapping[str, str]]] = {name: (state.kind, state.edges) for name, state in self.drawn.items()}
        meant = back_targets(table)
        for id in self._boxes:
            state = self.drawn[self._names[id]]
            arrows = rows[id].get("retry", [])
            targets = {self._names[arrow.target] for arrow in arrows}
            if state.kind != "compact" or targets == {BACK}:
                continue
            if targets == set(meant):
                self.drawn[state.name] = _with_edge(state, "retry", BACK)
            elif len(targets) > 1:
                parts = [f"lacks {name}" for name in meant if name not in targets]
                parts += [f"has {name}" for name in sorted(targets) if name not in meant]
                self._say(
                    arrows[0].line,
                    f"{id}: 'retry' leads to one state, or Back to all that it can mean ({', '.join(meant)}); this {', '.join(parts)}. "
                    f"Write {id} --> Back : retry",
                )

    def _hold(self, box: Box, state: Drawn) -> None:
        """The state's row is what its kind can end in."""
        missing, wrong, more = kinds.complaints(state.kind, state.edges)
        for outcome in wrong:
            self._say(box.line, f"{box.id} ({state.kind}) never ends in {outcome!r}; it ends in {kinds.endings(state.kind)}")
        for outcome in missing:
            target = (self._compact or "Shorten") if outcome == "error" else "…"
            new = outcome == "error" and not self._compact
            whole = ", which needs Shorten --> Back : retry and Shorten --> … : give_up" if new else ""
            self._say(box.line, f"{box.id} ({state.kind}) has no edge {outcome!r}; add {box.id} --> {target} : {outcome}{whole}")
        if more:
            self._say(box.line, f"{box.id} ({state.kind}) lacks {more}; add {box.id} --> … : …")
        for outcome, target in state.edges.items():
            self._hold_edge(box, state, outcome, target)
        if self.exceeded == state.name and state.kind == "compact":
            self._say(box.line, f"limits lead to {box.id}, a Compact; draw them to a state where a person decides, or an End")

    def _hold_edge(self, box: Box, state: Drawn, outcome: str, target: str) -> None:
        where = f"{box.id} ({state.kind})"
        if target == BACK:
            if state.kind != "compact" or outcome != "retry":
                self._say(box.line, f"{where}: only the 'retry' of a Compact leads to Back; name the state {outcome!r} leads to")
            return
        other = self.drawn.get(target)
        if other is None:
            return
        if outcome == "error" and other.kind != "compact":
            self._say(
                box.line,
                f"{where}: 'error' leads to {target}, which is {other.kind}; errors lead to a Compact, which counts them",
            )
        if outcome == "unknown" and not (other.kind in ("fetch", "consult") and set(other.edges) >= kinds.SETTLES):
            self._say(
                box.line,
                f"{where}: 'unknown' leads to {target}; it leads to a Fetch that finds out or a Consult that asks, "
                "which ends in 'happened' and 'not_happened'",
            )


def _with_edge(state: Drawn, outcome: str, target: str) -> Drawn:
    edges = {**state.edges, outcome: target}
    return Drawn(state.name, state.kind, state.doc, edges, state.success, state.machine, state.line)
