"""What is drawn of a machine, read from a `Machine` or from the `Definition` a run is pinned to; every notation draws the same.

`Back` becomes an edge to every state that it can mean, so a drawing tells the whole truth. What a definition names and does not have is
drawn as missing, so that a broken one can be looked at. Prompts, schemas and code places are read only for those who show them.
"""

import inspect
import textwrap
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Never, TypeAlias, cast, get_args

from leverframe import schema
from leverframe.canon import Json, Object
from leverframe.clock import micros, span
from leverframe.errors import DeclarationError, PromptError, did_you_mean
from leverframe.machine import (
    BACK,
    EXCEEDED,
    AnyState,
    AnyTool,
    Definition,
    Machine,
    Spec,
    back_targets,
    by_of,
    doc_of,
    kind_of,
    most_of,
    tools_of,
)
from leverframe.series import NEXT
from leverframe.state import Approve, Ask, Consult, Delegate, Effect, End, Kind, PromptBy, Reply, Wait

Style: TypeAlias = Literal[
    "work", "fetch", "ask", "act", "approve", "consult", "wait", "delegate", "compact", "end", "failure", "missing", "limits"
]
KINDS: list[str] = list(get_args(Kind))
Edge: TypeAlias = tuple[str, str, str]
"""A move as overlays name it: the state that is left, how it ended, where that leads. Into the machine none is left, and it BEGINS."""
BEGINS = "start"


@dataclass(frozen=True, slots=True)
class Pick:
    """A tool that a state may pick or run. `doc` and `schema` are read for details only."""

    name: str
    effect: Effect
    approval: bool
    untrusted: bool
    doc: str = ""
    schema: Object | None = None

    def __str__(self) -> str:
        """`issue_refund (keyed, needs approval)`"""
        said = [self.effect, "needs approval" if self.approval else "", "untrusted" if self.untrusted else ""]
        return f"{self.name} ({', '.join(part for part in said if part)})"


@dataclass(frozen=True, slots=True)
class Details:
    """What somebody reads who wants to know more of a state."""

    prompts: Mapping[str, str]  # by variant
    answers: Mapping[str, Object]  # the schema of each reply or event, or of what a delegate returns
    place: str  # file:line


@dataclass(frozen=True, slots=True)
class Box:
    """One state of a drawing."""

    name: str
    kind: Kind
    doc: str
    edges: Mapping[str, str]
    success: bool = True
    waits: str = ""  # for whom or what, and how long
    prompt: str = ""
    told: tuple[str, ...] = ()  # which prompt for which value, where a field of the memory chooses
    picks: tuple[Pick, ...] = ()
    missing: bool = False
    details: Details | None = None
    most: int = 1  # calls that one answer may make
    onward: Sequence[str] = ()  # what its `next` can mean

    @property
    def style(self) -> Style:
        if self.missing:
            return "missing"
        return "failure" if self.kind == "end" and not self.success else self.kind

    @property
    def about(self) -> str:
        """Its kind, and for whom or what it waits: `approve, team lead, 2 days`."""
        if self.missing:
            return "missing"
        kind = f"{self.kind}, {'success' if self.success else 'failure'}" if self.kind == "end" else self.kind
        several = f"up to {self.most} calls" if self.most > 1 else ""
        return ", ".join(part for part in (kind, self.waits, several) if part)

    @property
    def verb(self) -> str:
        """What it does with its tools."""
        return "may pick" if self.kind == "ask" else "runs"


@dataclass(frozen=True, slots=True)
class Arrow:
    """One edge of a drawing, `Back` and `Next` spelled out. One that recedes belongs to an error and its retry, not to the work."""

    state: str
    outcome: str
    to: str
    recedes: bool

    @property
    def edge(self) -> Edge:
        return self.state, self.outcome, self.to


@dataclass(frozen=True, slots=True)
class Drawing:
    """What is drawn of a machine. Overlays (overlay.py) are laid over it."""

    name: str
    doc: str
    start: str
    boxes: tuple[Box, ...]
    exceeded: str | None
    limits: str
    more: tuple[Edge, ...] = ()  # edges beside those of the table: what another definition had
    starts: tuple[str, ...] = ()  # states that another definition started in
    limited: tuple[str, ...] = ()  # and that its `exceeded` led to

    def back(self) -> list[str]:
        """The states that `Back` can mean."""
        return back_targets({box.name: (box.kind, box.edges) for box in self.boxes})

    def meant(self, box: Box, target: str) -> Sequence[str]:
        """The states that an edge leads to: of `Back` and `Next` all that they can mean."""
        return self.back() if target == BACK else box.onward if target == NEXT else [target]

    def arrows(self) -> Iterator[Arrow]:
        """Every edge but `exceeded`, in the order of the table, then those beside it."""
        compacts = {box.name for box in self.boxes if box.kind == "compact"}
        for box in self.boxes:
            for outcome, target in box.edges.items():
                for meant in self.meant(box, target):
                    yield Arrow(box.name, outcome, meant, target == BACK or meant in compacts)
        for state, outcome, to in self.more:
            yield Arrow(state, outcome, to, to in compacts or (state in compacts and outcome == "retry"))

    def beginnings(self) -> list[Edge]:
        """The edges into the machine: to its start, then to what else was one."""
        return [("", BEGINS, name) for name in (self.start, *self.starts)]

    def limits_to(self) -> list[str]:
        """The states that `exceeded` leads to, then those that it led to."""
        return [*([self.exceeded] if self.exceeded else []), *self.limited]

    def exceeding(self) -> list[Edge]:
        """The edges that `exceeded` stands for: one from every state but an End."""
        left = [box.name for box in self.boxes if box.kind != "end" and not box.missing]
        return [(name, EXCEEDED, to) for to in self.limits_to() for name in left]

    @property
    def styles(self) -> list[Style]:
        """The styles in use, in a fixed order."""
        used = {box.style for box in self.boxes}
        return [style for style in cast("tuple[Style, ...]", get_args(Style)) if style in used]


Drawable: TypeAlias = Machine[Never] | Definition | Drawing


def drawing(machine: Drawable, *, details: bool = False) -> Drawing:
    """What is drawn of it; with `details`, also what takes longer to read: prompts, schemas, code places.

    Raises DeclarationError for a definition with a state of a kind that does not exist.
    """
    if isinstance(machine, Drawing):
        return machine
    drawn = _of_definition(machine, details) if isinstance(machine, Definition) else _of_machine(machine, details)
    known = {box.name for box in drawn.boxes}
    led = (target for box in drawn.boxes for target in box.edges.values() if target not in (BACK, NEXT))
    named = [drawn.start, *led, drawn.exceeded or drawn.start]
    lost = [Box(name, "work", "", {}, missing=True) for name in dict.fromkeys(named) if name not in known]
    return replace(drawn, boxes=(*drawn.boxes, *lost))


def union(old: Drawing, new: Drawing) -> Drawing:
    """Both in one, for an overlay that says what is only in one of them: all of the new one, and what only the old one had."""
    names = {box.name for box in new.boxes}
    both = replace(new, boxes=(*new.boxes, *(box for box in old.boxes if box.name not in names)))
    drawn = {arrow.edge for arrow in both.arrows()}
    return replace(
        both,
        more=tuple(arrow.edge for arrow in old.arrows() if arrow.edge not in drawn),
        starts=(old.start,) if old.start != new.start else (),
        limited=(old.exceeded,) if old.exceeded and old.exceeded != new.exceeded else (),
    )


# ── from a machine ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _of_machine(machine: Machine[Never], details: bool) -> Drawing:
    boxes: list[Box] = []
    for name, state in machine.states.items():
        box = Box(
            name,
            kind_of(state),
            doc_of(state),
            {outcome: target.name for outcome, target in machine.edges.get(state, {}).items()},
            state.success if issubclass(state, End) else True,
            _waits(state),
            *_prompt(state.prompt if issubclass(state, Ask) else ""),
            tuple(_pick(tool, details) for tool in tools_of(state)),
            details=_details(machine, state) if details else None,
            most=most_of(state),
            onward=machine.onward.get(name, ()),
        )
        boxes.append(box)
    exceeded = machine.limits.exceeded.name if machine.limits.exceeded else None
    return Drawing(machine.name, line(machine.doc), machine.start, tuple(boxes), exceeded, _limits(machine.limits.json()))


def _prompt(prompt: str | PromptBy) -> tuple[str, tuple[str, ...]]:
    """Its name; where it is chosen: by what, and each choice."""
    return (f"by {prompt.field}", tuple(prompt.lines())) if isinstance(prompt, PromptBy) else (prompt, ())


def _waits(state: AnyState) -> str:
    if not issubclass(state, Approve | Consult | Wait | Delegate):
        return ""
    until = span(micros(state.deadline)) if state.deadline else ""
    if issubclass(state, Delegate):
        return f"to {cast('type[Delegate[Never, Never]]', state).machine}, {until}"
    return until if issubclass(state, Wait) else f"{state.to}, {until}"


def _pick(tool: AnyTool, details: bool) -> Pick:
    marks = (tool.name, tool.effect, tool.approval, tool.options.untrusted)
    return Pick(*marks, tool.doc, tool.input) if details else Pick(*marks)


def _details(machine: Machine[Never], state: AnyState) -> Details:
    prompts: dict[str, str] = {}
    answers: dict[str, Object] = {}
    place = _place(machine.home, state)
    if issubclass(state, Ask):
        answers = _answers(state.replies)
        try:
            from leverframe.prompt import label  # templates are loaded where there is a prompt

            found = machine.prompts(state)
            chosen = isinstance(state.prompt, PromptBy)
            prompts = {label(prompt.name, prompt.variant) if chosen else prompt.variant: prompt.text for prompt in found}
            prompts |= {partial.name: partial.text for prompt in found for partial in prompt.partials}
        except PromptError as error:  # a machine whose prompts are not written yet can be looked at, too
            prompts = {"": str(error)}
    elif issubclass(state, Consult):
        answers = _answers(state.replies)
    elif issubclass(state, Wait):
        answers = _answers(state.events)
    elif issubclass(state, Delegate) and state.returns:
        answers = {"done": schema.schema_of(state.returns)}
    return Details(prompts, answers, place)


def _answers(replies: Sequence[object]) -> dict[str, Object]:
    """The schema of each reply; a tool that can be picked shows its own."""
    found: dict[str, Object] = {}
    for reply in replies:
        if isinstance(reply, type) and issubclass(reply, Reply):
            found[cast("type[Reply[str]]", reply).intent] = schema.schema_of(cast("Hashable", reply))
    return found


def _place(home: Path, state: AnyState) -> str:
    try:
        file, number = inspect.getsourcefile(state), inspect.getsourcelines(state)[1]
    except (OSError, TypeError):  # declared in a prompt or a notebook
        return ""
    path = Path(file or "").resolve()
    return f"{path.relative_to(home) if path.is_relative_to(home) else path}:{number}"


# ── from a definition ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _of_definition(definition: Definition, details: bool) -> Drawing:
    boxes: list[Box] = []
    tools = cast("dict[str, Object]", definition.body["tools"])
    for spec in _from_start(definition):
        if spec.kind not in KINDS:
            raise DeclarationError(f"state {spec.name}: there is no kind {spec.kind!r}.{did_you_mean(spec.kind, KINDS)}")
        whom = f"to {spec.body['machine']}" if spec.kind == "delegate" else spec.to
        parts = [whom, span(spec.deadline) if spec.deadline else ""]
        picked: Json = [choice["intent"] for choice in spec.choices if choice["kind"] == "tool"]
        box = Box(
            spec.name,
            spec.kind,
            spec.doc,
            spec.edges,
            spec.success,
            ", ".join(part for part in parts if part),
            *_prompt(by_of(spec.body) or cast("str", spec.body.get("prompt", ""))),
            tuple(_pinned_pick(name, tools.get(name), details) for name in cast("list[str]", spec.body.get("tools", picked))),
            details=_pinned_details(spec.body) if details else None,
            most=spec.most,
            onward=definition.onward.get(spec.name, ()),
        )
        boxes.append(box)
    limits, doc = cast("Object", definition.body["limits"]), line(str(definition.body.get("doc") or ""))
    return Drawing(definition.name, doc, definition.start, tuple(boxes), definition.exceeded, _limits(limits))


def _from_start(definition: Definition) -> list[Spec]:
    """The text of a definition is sorted by name; a drawing begins at the start and goes on as runs do."""
    order = [definition.start]
    known = {definition.start}
    for name in order:
        spec = definition.states.get(name)
        following = dict.fromkeys(spec.edges.values() if spec else ())
        order += [target for target in following if target not in known]
        known |= following.keys()
    order += [name for name in definition.states if name not in known]
    return [definition.states[name] for name in order if name in definition.states]


def _pinned_pick(name: str, body: Object | None, details: bool) -> Pick:
    if body is None:  # named, but not in the definition: what is undeclared is `once` and needs approval
        return Pick(name, "once", approval=True, untrusted=False)
    marks = (name, cast("Effect", body["effect"]), bool(body["approval"]), bool(body.get("untrusted")))
    return Pick(*marks, str(body.get("doc") or ""), cast("Object", body["input"])) if details else Pick(*marks)


def _pinned_details(body: Object) -> Details:
    choices = cast("list[Object]", body.get("choices", []))
    answers = {cast("str", choice["intent"]): cast("Object", choice["schema"]) for choice in choices if choice["kind"] == "reply"}
    if returns := body.get("returns"):
        answers = {"done": cast("Object", returns)}
    texts = {**cast("dict[str, str]", body.get("texts", {})), **cast("dict[str, str]", body.get("partials", {}))}
    return Details(texts, answers, "")


# ── words ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _limits(limits: Mapping[str, object]) -> str:
    cost = limits["cost"]
    parts = [
        f"{limits['steps']} steps",
        f"{limits['model_calls']} model calls" if limits["model_calls"] is not None else "",
        f"{limits['tokens']} tokens" if limits.get("tokens") is not None else "",
        f"{int(cost) / 1_000_000:.2f} dollars" if isinstance(cost, int) else "",
        f"{limits['days']} days" if limits["days"] is not None else "",
    ]
    return "at most " + ", ".join(part for part in parts if part) + _a_day(limits.get("daily"))


def _a_day(daily: object) -> str:
    """Of all runs of the machine together."""
    most = cast("dict[str, int]", daily or {})
    parts = [
        f"{most['model_calls']} model calls" if "model_calls" in most else "",
        f"{most['tokens']} tokens" if "tokens" in most else "",
        f"{most['cost'] / 1_000_000:.2f} dollars" if "cost" in most else "",
    ]
    return f"; all runs a day {', '.join(part for part in parts if part)}" if most else ""


def line(doc: str) -> str:
    """The first paragraph of a docstring as one line."""
    return " ".join(doc.split("\n\n", maxsplit=1)[0].split())


def short(doc: str, width: int = 100) -> str:
    return textwrap.shorten(line(doc), width, placeholder=" …")


JOINERS = "\u200c\u200d"  # invisible, but part of how Persian, Hindi and emoji are written


def plain(words: str) -> str:
    """Words without what moves a cursor or turns the direction of the words around it; never empty, so there is something to see."""
    shown = "".join(sign if sign.isprintable() or sign in JOINERS else " " for sign in words)
    return shown if shown.strip() else "·"
