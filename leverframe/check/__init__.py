"""The review of a machine before it runs: everything that is wrong with it, at once, each with its place and the shortest way to it.

finding      a finding, its place and path
codes        every code, its level and what to do
model        a definition as a graph to reason about
structure    references, reachability, outcomes and edges      card      the card's rules
prompts      prompts as a definition pins them                 rooms     what only the code tells
definition   definitions from outside, of any shape            places    file and line
calls        which calls execute where, released by whom       data      secrets; where strangers' words may lead
bounds       how much a run can use up at worst                proofs    declared rules
delegates    machines that are not known                       report    findings of several machines; acceptances
formats      text, JSON, GitHub, SARIF

A part is a function from graphs to findings; a new one is an entry of `PARTS`, and its codes are rows of `CODES`.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Never, TypeAlias

from pydantic.errors import PydanticUserError

from leverframe.canon import Object, canonical, text_hash
from leverframe.check import bounds, calls, data, proofs
from leverframe.check import definition as outside
from leverframe.check.card import card
from leverframe.check.codes import finding
from leverframe.check.delegates import below, strangers
from leverframe.check.finding import Finding, Hop, Level, Place
from leverframe.check.model import Graph
from leverframe.check.places import Lines, Places, Source, locator, refused
from leverframe.check.prompts import placed, prompts
from leverframe.check.report import Checked, Report, accepted, merged
from leverframe.check.rooms import rooms
from leverframe.check.structure import references, structure, ways
from leverframe.errors import DeclarationError, LeverframeError, PromptError
from leverframe.machine import Definition, Machine

__all__ = [
    "PARTS", "Checked", "Finding", "Graph", "Hop", "Level", "Part", "Place", "Report",
    "check", "check_text", "check_texts", "merged", "misshapen", "unloaded",
]  # fmt: skip

Machines: TypeAlias = Mapping[str, Machine[Never]]
Known: TypeAlias = Mapping[str, Machine[Never]] | Mapping[str, Definition] | Mapping[str, Machine[Never] | Definition]
Graphs: TypeAlias = Mapping[str, Graph]
Part: TypeAlias = Callable[[Graph, Graphs], Iterator[Finding]]
"""Looks at one machine. With it come the machines that it may delegate to, and those that they may, as far as they are known."""


MOST = 1_000
"""Findings that one part may make."""


def alone(part: Callable[[Graph], Iterator[Finding]]) -> Part:
    """A part that needs no other machine."""
    return lambda graph, others: part(graph)


PARTS: Mapping[str, Part] = {
    "structure": alone(structure),
    "prompts": alone(prompts),
    "card": alone(card),
    "calls": calls.findings,
    "data": data.findings,
    "bounds": bounds.findings,
    "proofs": proofs.findings,
}
"""What is looked for in every definition of the right shape."""

BONES: Mapping[str, Part] = {"references": alone(references), "ways": alone(ways)}
"""What can be said of one that has the wrong shape."""


def check(subject: Machine[Never] | Definition, *, others: Machines | None = None) -> Report:
    """Everything that is wrong with a machine, or with a definition that a run is pinned to. Raises nothing.

    `others` are the machines that it may delegate to, and that may use the same prompts.
    """
    known = others or {}
    return _of_machine(subject, known) if isinstance(subject, Machine) else check_text(subject.text, subject.name, others=known)


def check_text(text: str, file: str, *, others: Known | None = None) -> Report:
    """Everything that is wrong with the text of a definition, whatever it is. Raises nothing. `file` is what places name, `others` are
    the machines that it may delegate to."""
    read, known = _read(text, file), others or {}
    hashes = {name: one.hash for name, one in known.items() if isinstance(one, Definition)}
    return _of_text(read, lambda graph: _children(graph, known), hashes)


def check_texts(texts: Mapping[str, str]) -> Report:
    """As `check_text`, of several by the file that each is from. They may delegate to each other, where no two have the same name."""
    read = [_read(text, file) for file, text in texts.items()]
    times = Counter(one.graph.name for one in read if one.graph is not None)
    given = {one.graph.name: one for one in read if one.graph is not None and one.sound and times[one.graph.name] == 1}
    known = {name: one.graph for name, one in given.items() if one.graph is not None}
    hashes = {name: one.hash for name, one in given.items()}
    return merged(
        [
            _of_text(one, lambda graph: {name: known[name] for name in below(graph, known) if name in known}, hashes)
            for one in read
        ]
    )


def misshapen(text: str, file: str) -> tuple[Finding, ...]:
    """Why a text has not the shape of a definition; empty where it has it, whatever else is wrong with it."""
    read = _read(text, file)
    return () if read.sound else read.found


@dataclass(frozen=True)
class _Read:
    """A definition from outside. `graph`: of what can be made out of it, None where it is no object at all; `sound`: it has the right shape."""

    graph: Graph | None
    sound: bool
    hash: str
    lines: Lines
    found: tuple[Finding, ...]


def _read(text: str, file: str) -> _Read:
    body, found = outside.read(text, file)
    lines = Lines(file, text if body is not None else "")
    located = tuple(map(locator(lines), found))
    if body is None:
        return _Read(None, False, "", lines, located)
    shape = tuple(
        _bounded(outside.name_of(body), (replace(one, place=lines.at(*path)) for one, path in outside.violations(body)))
    )
    graph = Graph(outside.skeleton(body) if shape else body)
    return _Read(graph, not shape, text_hash(canonical(body)), lines, (*located, *shape))


def _of_text(read: _Read, children: Callable[[Graph], Graphs], hashes: Mapping[str, str]) -> Report:
    if read.graph is None:
        return Report(read.found, ())
    found, others = list(read.found), children(read.graph)
    if read.sound:
        found += map(locator(read.lines), strangers(read.graph, others, hashes))
    return _judged(read.graph, others, PARTS if read.sound else BONES, read.lines, found, read.hash)


def unloaded(file: str, place: Place, error: LeverframeError) -> Finding:
    """The finding for a file of machines/ that does not load."""
    message = str(error).removeprefix(f"{place.file}:{place.line}: ")
    return finding("LF002", "", f"{file} cannot be loaded: {message}", place=refused(place, message))


def _of_machine(machine: Machine[Never], others: Machines) -> Report:
    found: list[Finding] = []

    def refuse(state: str, error: DeclarationError) -> None:
        place, message = placed(str(error).replace(f"{machine.home}/", ""))
        message = message.removeprefix(f"machine {machine.name}: state {state} ")
        code = "LF116" if not isinstance(error, PromptError) else "LF114" if place else "LF111"
        found.append(finding(code, machine.name, message, state=state, place=place))

    source = Source(machine)
    try:
        body: Object = machine.draft(others, refuse)
    except (LeverframeError, PydanticUserError) as error:
        about = finding(
            "LF002", machine.name, f"cannot be written as a definition: {error}", place=Place(machine.file, machine.line)
        )
        return Report((about,), ())
    # Whether the card beside it is fresh is looked at for all machines of a project together (`leverframe.card.stale`), not here.
    located = list(map(locator(source), (*found, *rooms(machine, others))))
    graph = Graph(body)
    return _judged(graph, _children(graph, others), PARTS, source, located, "")


def _children(graph: Graph, others: Known) -> Graphs:
    """The machines that one may delegate to, and those that they may. One that cannot be written as data is left out: its own check says so."""
    found: dict[str, Graph] = {}
    todo = [graph]
    while todo:
        for node in todo.pop().nodes.values():
            name = str(node.body.get("machine"))
            if node.kind != "delegate" or name in found or name not in others:
                continue
            with suppress(LeverframeError, PydanticUserError):
                other = others[name]
                machines = {name: one for name, one in others.items() if isinstance(one, Machine)}
                found[name] = Graph(
                    other.body if isinstance(other, Definition) else other.draft(machines, lambda state, error: None)
                )
                todo.append(found[name])
    return found


def _judged(
    graph: Graph, others: Graphs, parts: Mapping[str, Part], places: Places, before: list[Finding], pinned: str
) -> Report:
    locate = locator(places)
    found = before + [locate(one) for part in parts.values() for one in _bounded(graph.name, part(graph, others))]
    edges = sum(len(node.edges) for node in graph.nodes.values())
    about = Checked(graph.name, len(graph.nodes), edges, len(graph.tools), pinned)
    lived_with, unneeded = accepted(graph, found)
    return Report.of([*lived_with, *map(locate, unneeded)], [about])


def _bounded(machine: str, found: Iterator[Finding]) -> Iterator[Finding]:
    """What is wrong everywhere is not said ten thousand times, each with its path."""
    for number, one in enumerate(found):
        if number == MOST:
            yield finding("LF004", machine, f"over {MOST:,} findings of one kind; the others are left out")
            return
        yield one
