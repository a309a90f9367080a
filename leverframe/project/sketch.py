"""The lines of a Mermaid `stateDiagram-v2`, as boxes and arrows; what they mean is read in `diagram`.

The forms are those of mermaid 11 (packages/mermaid/src/diagrams/state/parser/stateDiagram.jison), read a line at a time. What only
styles the picture is skipped; what no flat machine has, and what is not understood, is noted with its line and what to do instead.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from html import unescape
from html.entities import html5

from leverframe.errors import did_you_mean

EDGE = "[*]"
LONGEST_LINE = 10_000
HINTS = 20
"""Near misses are looked for so often; in a file full of them nobody reads more, and each costs a look at every state."""
_ID = r"(?:\[\*\]|[^\s:{}<>\[\]\"-]+)"
_CLASS = r"(?:\s*:::\s*(\w+))?"
_AFTER = r"(?:\s*:(?!::)\s*(.*)|\s+(?:%%|\#).*)?$"  # words, or a remark where there are none
_ARROW = re.compile(rf"({_ID}){_CLASS}\s*-->\s*({_ID}){_CLASS}{_AFTER}")
_BOX = re.compile(rf"(?:state\s+)?({_ID}){_CLASS}{_AFTER}", re.IGNORECASE)
_LABELLED = re.compile(rf'state\s+"([^"]*)"\s+as\s+({_ID}){_CLASS}{_AFTER}', re.IGNORECASE)
_PSEUDO = re.compile(r"state\s+(\S+)\s*(?:<<(\w+)>>|\[\[(\w+)\]\])$", re.IGNORECASE)
_CLASSES = re.compile(r"class\s+([^\s,]+(?:\s*,\s*[^\s,]+)*)\s+(\w+)\s*;?$", re.IGNORECASE)
_CLASSDEF = re.compile(r"classdef\s+(\w+)(?:\s.*)?$", re.IGNORECASE)
_NOTE = re.compile(rf"note\s+(?:left|right)\s+of\s+({_ID}){_AFTER}", re.IGNORECASE)
_LOOKS_ONLY = re.compile(
    r"(?:direction\s+(?:tb|td|bt|rl|lr)|hide\s+empty\s+description|scale\s+\d+(?:\s+width)?|(?:style|click)\s+\w.*"
    r'|acctitle\s*:.*|accdescr\s*:.*|note\s+".*"\s+as\s.*)$',
    re.IGNORECASE,
)
_HISTORY = re.compile(r"(?:^|-->)\s*\w*\[h\*?\]", re.IGNORECASE)
_OPENS = re.compile(r'(?:state\s+(?:"[^"]*"\s+as\s+)?)?[^\s:{}]+\s*\{([^{}]*)(\}?)$', re.IGNORECASE)
_ENTITY = re.compile(r"#(\w+);")
_CHOICE = "choice"

NESTED = "a nested state: a machine is flat; draw what is inside as a machine of its own, and a Delegate here"
PARALLEL = (
    "parallel regions (--): a machine is in one state; draw each region as a machine of its own, and a Delegate for it here"
)
HISTORY = "history: only a Compact goes back; write `Shorten --> Back : retry`"


@dataclass(slots=True)
class Box:
    """What the lines say of one state."""

    id: str
    line: int
    label: str = ""
    classes: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    texts: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    ends: bool = False  # --> [*]


@dataclass(frozen=True, slots=True)
class Arrow:
    source: str
    target: str
    label: str
    line: int


class Sketch:
    """Everything a drawing says, and every problem of its lines."""

    def __init__(self, lines: list[tuple[int, str]]) -> None:
        self.boxes: dict[str, Box] = {}
        self.arrows: list[Arrow] = []
        self.starts: list[tuple[str, int]] = []
        self.problems: list[tuple[int, str]] = []
        self.styles: set[str] = set()
        self._said: list[tuple[str, str, str, int]] = []  # of states that may be drawn further down
        self._lines = iter(lines)
        for number, line in self._lines:
            self._read(number, line)
        self._say()

    def _read(self, number: int, line: str) -> None:
        forms: tuple[tuple[re.Pattern[str], Callable[[int, re.Match[str]], None]], ...] = (
            (_LOOKS_ONLY, lambda number, found: None),
            (_CLASSDEF, self._classdef),
            (_NOTE, self._note),
            (_PSEUDO, self._pseudo),
            (_ARROW, self._arrow),
            (_LABELLED, self._labelled),
            (_CLASSES, self._classes),
            (_BOX, self._described),
        )
        if not line or line.startswith(("%%", "#")):
            if line.startswith("%%{") and "}%%" not in line:
                self._skip(number, "}%%", "a directive %%{")
        elif re.match(r"accdescr\s*\{", line, re.IGNORECASE):
            if "}" not in line:
                self._skip(number, "}", "accDescr {")
        elif opened := _OPENS.match(line):
            self._nested(number, closed=bool(opened[2]))
        elif line == "--":
            self.problems.append((number, PARALLEL))
        elif _HISTORY.search(line):
            self.problems.append((number, HISTORY))
        else:
            for form, act in forms:
                if found := form.match(line):
                    return act(number, found)
            self.problems.append((number, _misread(line)))
        return None

    def _skip(self, opened: int, until: str, what: str) -> None:
        if not any(until in line for _, line in self._lines):
            self.problems.append((opened, f"{what} is never closed; end it with {until}"))

    def _nested(self, opened: int, *, closed: bool) -> None:
        self.problems.append((opened, NESTED))
        depth = 1
        for number, line in () if closed else self._lines:
            if found := _OPENS.match(line):
                self.problems.append((number, NESTED))
                depth += not found[2]
            elif line == "--":
                self.problems.append((number, PARALLEL))
            elif line == "}":
                depth -= 1
                if depth == 0:
                    return
        if not closed:
            self.problems.append((opened, "a nested state is never closed; end it with }"))

    def _box(self, id: str, line: int) -> Box:
        return self.boxes.setdefault(id, Box(id, line))

    def _arrow(self, line: int, found: re.Match[str]) -> None:
        source, source_class, target, target_class, after = found.groups()
        label = plain(after or "")
        for id, css in ((source, source_class), (target, target_class)):
            if id != EDGE:
                box = self._box(id, line)
                box.classes += [(css, line)] if css else []
        if EDGE not in (source, target):
            self.arrows.append(Arrow(source, target, label, line))
        elif label:
            instead = f"[*] --> {target}" if source == EDGE else f"{source} --> Done : {label}, and Done --> [*]"
            self.problems.append((line, f"[*] is no state, and ends in nothing: write {instead}"))
        elif source == target:
            self.problems.append((line, "a machine begins in a state: write [*] --> the first one"))
        elif source == EDGE:
            self.starts.append((target, line))
        else:
            self.boxes[source].ends = True

    def _labelled(self, line: int, found: re.Match[str]) -> None:
        label, id, css, text = found.groups()
        box = self._declared(id, line, css, text)
        if box is not None:
            name, *rest = re.split(r"<br\s*/?>|\\n", label)
            if box.label and box.label != plain(name):
                self.problems.append((line, f"{id} is called {box.label!r} already; give it one name"))
            box.label = plain(name)
            box.texts += [(plain(" ".join(rest)), line)] if rest else []

    def _described(self, line: int, found: re.Match[str]) -> None:
        self._declared(found[1], line, found[2], found[3])

    def _declared(self, id: str, line: int, css: str | None, text: str | None) -> Box | None:
        if id == EDGE:
            self.problems.append((line, "[*] is where a machine begins and ends, and no state; name one"))
            return None
        box = self._box(id, line)
        box.classes += [(css, line)] if css else []
        box.texts += [(plain(text), line)] if text else []
        return box

    def _pseudo(self, line: int, found: re.Match[str]) -> None:
        """A choice is a decision with named outcomes, which is what a Work is."""
        id, word = found[1], (found[2] or found[3]).lower()
        if word == _CHOICE:
            self._box(id, line).classes.append(("work", line))
        elif "history" in word:
            self.problems.append((line, HISTORY))
        elif word in ("fork", "join"):
            self.problems.append(
                (line, f"a {word}: a machine is in one state; a Delegate can run many at once, as runs of their own")
            )
        else:
            self.problems.append(
                (line, f"<<{word}>> is not known; of the special states only <<choice>> has a meaning here: a Work")
            )

    def _classdef(self, line: int, found: re.Match[str]) -> None:
        self.styles.add(found[1])

    def _classes(self, line: int, found: re.Match[str]) -> None:
        self._said += [("class", id.strip(), found[2], line) for id in found[1].split(",")]

    def _note(self, line: int, found: re.Match[str]) -> None:
        id, text = found[1], found[2]
        if text is None:
            words: list[str] = []
            for _, inner in self._lines:
                if inner.lower() == "end note":
                    break
                words.append(inner)
            else:
                self.problems.append((line, "the note is never closed; end it with a line `end note`"))
            text = " ".join(words)
        self._said.append(("note", id, plain(_said(text)), line))

    def _say(self) -> None:
        """What notes and class lines say; they may stand before the state they are about."""
        for what, id, text, line in self._said:
            box = self.boxes.get(id)
            if box is None:
                hint = did_you_mean(id, list(self.boxes)) if len(self.problems) < HINTS else ""
                self.problems.append((line, f"a {what} about {id!r}, which no other line draws.{hint}"))
            elif what == "class":
                box.classes.append((text, line))
            else:
                box.texts.append((text, line))


def plain(words: str) -> str:
    """Words as they are shown: entities decoded, breaks and runs of blanks a single blank."""

    def sign(found: re.Match[str]) -> str:
        code = found[1]
        if not code.isascii() or not code.isdigit():
            return unescape(f"&{code};") if f"{code};" in html5 else found[0]
        number = int(code) if len(code) < 8 else 0
        shown = chr(number) if number <= 0x10FFFF else ""
        return shown if shown and not refused_sign(shown) else " "

    return " ".join(_ENTITY.sub(sign, re.sub(r"<br\s*/?>|\\n", " ", words)).split())


def refused_sign(sign: str) -> bool:
    """Signs nobody sees: what is read in a review must be what is there. Joiners belong to words of some scripts."""
    return unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp") and sign not in "\t\n\u200c\u200d"


def _misread(line: str) -> str:
    if line == "}":
        return "} closes nothing"
    if re.match(r"(?:flowchart|graph|sequenceDiagram|classDiagram)\b", line):
        return "another diagram begins here; only a stateDiagram-v2 is a machine"
    if line.count("-->") > 1:
        return "an arrow leads from one state to one other; write a line for each"
    if line.count("-->") == 1:
        parts = [part.partition(":")[0].strip() for part in line.split("-->")]
        bad = next((part for part in parts if not re.fullmatch(_ID, part)), "")
        return f'{bad!r} cannot stand in an arrow: an id has no blanks, "-" or brackets; write state "{bad}" as an_id, and use the id'
    if re.search(r"-+>|=+>|-\.-|--", line):
        return "an arrow is written A --> B : outcome"
    return (
        'not understood; a line is `A --> B : outcome`, `A : text`, `state "Name" as A`, `note right of A: text` or `class A ask`'
    )


def _said(note: str) -> str:
    """A note without what our own drawings add to it, behind dots: of that a reader needs only which machine a Delegate runs."""
    words, *facts = re.split(r"(?:^|<br/>)· ", note)
    runs = next((found[1] for fact in facts if (found := re.match(r"delegate, to ([^,]+)", fact))), None)
    return f"delegate to {runs} – {words}" if runs else words
