"""The machine card: a file beside each machine, written by `leverframe graph --write`, that shows in a pull request all that the
machine may do. It is a function of the definition alone, so a change of behaviour without a change of the card does not pass the check.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Never, cast

from leverframe import graph
from leverframe.canon import Object
from leverframe.check import Finding, Graph, Place
from leverframe.check.bounds import Bounds, bounds
from leverframe.check.codes import finding
from leverframe.check.proofs import Proof, prove
from leverframe.clock import span
from leverframe.errors import LeverframeError, ProjectError
from leverframe.files import write_whole
from leverframe.machine import BACK, Definition, Machine
from leverframe.series import NEXT
from leverframe.words import cell, code

Others = Mapping[str, Machine[Never]]
_PSEUDO = {BACK: "back", NEXT: "the next call"}
HEAD = "<!-- Written by `leverframe graph --write`, from the machine. `leverframe check` fails where it is stale. -->"


def path_of(machine: Machine[Never]) -> Path:
    """Beside the machine's file, under the machine's name: one file may declare several machines."""
    return Path(machine.file).with_name(f"{machine.name}.md")


def card(machine: Machine[Never], others: Others) -> str:
    """The card's text. Raises PromptError, DeclarationError where the machine cannot be pinned."""
    definition = machine.definition(others)
    beside = {name: Graph(other.definition(others).body) for name, other in others.items() if name != machine.name}
    return written(definition, beside)


def written(definition: Definition, others: Mapping[str, Graph]) -> str:
    """The card of a definition; `others`: those that it delegates to."""
    drawn = Graph(definition.body)
    parts = [
        [HEAD, f"# {definition.name}", "", *_about(definition)],
        ["```mermaid", graph.mermaid(definition, notes=False).rstrip("\n"), "```"],
        list(_states(definition)),
        list(_tools(definition)),
        list(_limits(definition, bounds(drawn))),
        list(_rules(prove(drawn, others))),
        list(_accepted(definition)),
        [f"Definition `{definition.hash}`."],
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines) + "\n"


def write(machine: Machine[Never], others: Others) -> bool:
    """Beside the machine; False: it was there and right. Raises ProjectError where it cannot be written."""
    path, text = path_of(machine), card(machine, others)
    try:
        if path.is_file() and not _is_card(path):
            raise ProjectError(f"{path}: is there, and no card of ours; move it, a card is written over")
        if path.is_file() and path.read_text("utf-8", errors="replace") == text:
            return False
        write_whole(path, text)
    except OSError as error:
        raise ProjectError(f"{path}: {error.strerror}") from None
    return True


def stale(chosen: Collection[Machine[Never]], known: Others, *, kept: bool = False, whole: bool = True) -> Iterator[Finding]:
    """A finding for each card that is not what its machine is. Where a project keeps cards, a machine without one is a finding,
    and so is a card without its machine; a project that never wrote one has none.

    kept   the project says that it keeps cards (`cards` of its settings): otherwise whoever removes them all goes unseen
    whole  every machine of the project is known: the card of one that does not load is nobody's mistake
    """
    folders = {path_of(machine).parent for machine in known.values()}
    cards = [file for folder in folders for file in sorted(folder.glob("*.md")) if _is_card(file)]
    for machine in chosen if cards or kept else ():
        yield from _compared(machine, known, "the project keeps cards" if kept else "others have one")
    for file in cards if whole and len(chosen) == len(known) else ():
        if file not in {path_of(machine) for machine in known.values()}:
            yield finding("LF005", file.stem, "its card is there, and no machine is called so", place=Place(str(file), 1))


def _compared(machine: Machine[Never], known: Others, why: str) -> Iterator[Finding]:
    path = path_of(machine)
    if not path.is_file():
        yield finding("LF005", machine.name, f"has no card {path.name}: {why}", place=Place(machine.file, machine.line))
        return
    try:
        now = card(machine, known).splitlines()
    except LeverframeError:
        return  # why it cannot be pinned is a finding of its own
    was = path.read_text("utf-8", errors="replace").splitlines()
    if now != was:
        pairs = enumerate(zip(now, was, strict=False), 1)
        number = next((number for number, (a, b) in pairs if a != b), min(len(now), len(was)) + 1)
        message = f"its card {path.name} shows another machine, from line {number} on"
        yield finding("LF005", machine.name, message, place=Place(str(path), number))


def _is_card(file: Path) -> bool:
    try:
        with file.open(encoding="utf-8", errors="replace") as opened:
            return opened.readline().rstrip() == HEAD
    except OSError:
        return False


# ── the parts ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _about(definition: Definition) -> list[str]:
    doc = str(definition.body.get("doc") or "")
    return [doc] if doc else []


def _states(definition: Definition) -> Iterator[str]:
    yield "## States"
    yield ""
    yield "| state | kind | what happens there | it ends in |"
    yield "|---|---|---|---|"
    for name in (box.name for box in graph.drawing(definition).boxes):  # in the order of the drawing
        spec = definition.states[name]
        kind = spec.kind if spec.kind != "end" else f"end, {'success' if spec.success else 'failure'}"
        ends = ", ".join(f"{outcome} → {_PSEUDO.get(to, to)}" for outcome, to in spec.edges.items())
        yield f"| {cell(name)} | {kind} | {cell(_does(definition, name))} | {cell(ends)} |"


def _does(definition: Definition, name: str) -> str:
    """Its docstring, then who is asked, how long, with which prompt and tools."""
    spec = definition.states[name]
    more = [
        f"asks {spec.to}" if spec.to else "",
        f"runs {spec.body['machine']}" if spec.kind == "delegate" else "",
        f"within {span(spec.deadline)}" if spec.deadline else "",
        f"prompt {_prompt(definition, name)}" if spec.kind == "ask" else "",
        f"{'may pick' if spec.kind == 'ask' else 'runs'} {', '.join(sorted(spec.tools))}" if spec.tools else "",
        f"up to {spec.most} calls in one answer" if spec.most > 1 else "",
        f"gives up after {spec.times}" if spec.kind == "compact" else "",
    ]
    doc = spec.doc.split("\n\n", maxsplit=1)[0]
    return " ".join(part for part in (doc, "; ".join(part for part in more if part)) if part)


def _prompt(definition: Definition, name: str) -> str:
    by = definition.prompt_by(name)
    return "by " + ", ".join(by.lines()) if by else str(definition.states[name].body["prompt"])


def _tools(definition: Definition) -> Iterator[str]:
    if not definition.tools:
        return
    yield "## Tools"
    yield ""
    yield "| tool | effect | needs approval | attempts | within | what it does |"
    yield "|---|---|---|---|---|---|"
    for name, tool in definition.tools.items():
        body = cast("Object", cast("Object", definition.body["tools"])[name])
        effect = f"{tool.effect}, untrusted" if body.get("untrusted") else tool.effect
        attempts = tool.retries + 1 if tool.effect in ("read", "keyed") else 1
        doc = str(body.get("doc") or "").split("\n\n", maxsplit=1)[0]
        released = "yes" if tool.approval else ""
        yield f"| {code(name)} | {effect} | {released} | {attempts} | {tool.timeout:g} s | {cell(doc)} |"


def _limits(definition: Definition, worst: Bounds) -> Iterator[str]:
    yield "## Limits"
    yield ""
    yield "| | limit | at worst |"
    yield "|---|---|---|"
    rows = (
        ("steps", definition.steps, worst.steps),
        ("model calls", definition.model_calls, worst.model_calls),
        *([("tokens", definition.tokens, worst.tokens)] if definition.tokens is not None else []),
        ("dollars", _dollars(definition.cost), _dollars(worst.cost)),
        ("days", definition.days, None),
    )
    for what, limit, most in rows:
        yield f"| {what} | {'none' if limit is None else limit} | {'' if what == 'days' else 'unbounded' if most is None else most} |"
    for what, most in definition.daily.items():
        yield f"| {_A_DAY[what]} a day, of all runs | {_dollars(most) if what == 'cost' else most} | |"
    yield ""
    where = (
        f"leads to {definition.exceeded}, with steps and days granted once more"
        if definition.exceeded
        else "needs a person's attention"
    )
    yield f"A limit that is reached {where}."
    if worst.structural:
        yield "Every run ends by itself: there is no cycle."


_A_DAY = {"model_calls": "model calls", "tokens": "tokens", "cost": "dollars"}


def _dollars(cost: int | None) -> str | None:
    return None if cost is None else f"{cost / 1_000_000:.2f}"


def _rules(proofs: list[Proof]) -> Iterator[str]:
    if not proofs:
        return
    yield "## Rules"
    yield ""
    yield "| rule | |"
    yield "|---|---|"
    for proof in proofs:
        verdict = f"proven on all paths, {proof.visited} looked at" if proof.proven else "**refuted**"
        verdict = f"**not proven**: {cell(proof.open)}" if proof.open else verdict
        yield f"| {cell(proof.words)} | {verdict} |"


def _accepted(definition: Definition) -> Iterator[str]:
    accepts = cast("list[Object]", definition.body.get("accepts") or [])
    if not accepts:
        return
    yield "## Findings that it lives with"
    yield ""
    yield "| finding | where | because |"
    yield "|---|---|---|"
    for one in accepts:
        yield f"| {one['code']} | {cell(str(one.get('state') or 'anywhere'))} | {cell(str(one['reason']))} |"
