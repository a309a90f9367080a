"""The review of a machine before it runs: everything that is wrong with it, at once, each with its place and the shortest way to it.

finding      a finding, its place and path
codes        every code, its level and what to do
model        a definition as a graph to reason about
structure    references, reachability, outcomes and edges      card      the card's rules
prompts      prompts as a definition pins them                 rooms     what only the code tells
definition   definitions from outside, of any shape            places    file and line
report       findings of several machines; acceptances         formats   text, JSON, GitHub, SARIF

A part is a function from a graph to findings; a new one is a line in `PARTS`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Never, TypeAlias

from pydantic.errors import PydanticUserError

from leverframe.canon import Object, text_hash
from leverframe.check import definition as outside
from leverframe.check.card import card
from leverframe.check.codes import finding
from leverframe.check.finding import Finding, Hop, Level, Place
from leverframe.check.model import Graph
from leverframe.check.places import Lines, Places, Source, locate, refused
from leverframe.check.prompts import placed, prompts
from leverframe.check.report import Checked, Report, accepted, merged
from leverframe.check.rooms import rooms
from leverframe.check.structure import references, structure, ways
from leverframe.errors import DeclarationError, LeverframeError, PromptError
from leverframe.machine import Definition, Machine

__all__ = [
    "PARTS", "Checked", "Finding", "Graph", "Hop", "Level", "Part", "Place", "Report",
    "check", "check_text", "merged", "unloaded",
]  # fmt: skip

Part: TypeAlias = Callable[[Graph], Iterator[Finding]]
Others: TypeAlias = Mapping[str, Machine[Never]]

PARTS: tuple[Part, ...] = (structure, prompts, card)
"""What is looked for in every definition of the right shape."""

BONES: tuple[Part, ...] = (references, ways)
"""What can be said of one that has the wrong shape."""


def check(subject: Machine[Never] | Definition, *, others: Others | None = None) -> Report:
    """Everything that is wrong with a machine, or with a definition that a run is pinned to. Raises nothing.

    `others` are the machines that it may delegate to, and that may use the same prompts. A machine's card would be compared here.
    """
    return _of_machine(subject, others or {}) if isinstance(subject, Machine) else check_text(subject.text, subject.name)


def check_text(text: str, file: str) -> Report:
    """Everything that is wrong with the text of a definition, whatever it is. Raises nothing. `file` is what places name."""
    body, found = outside.read(text)
    lines = Lines(file, text if body is not None else "")
    if body is None:
        return Report(tuple(locate(one, lines) for one in found), ())
    shape = outside.violations(body)
    located = [locate(one, lines) for one in found]
    located += [_at(one, lines.at(*path)) for one, path in shape]
    graph = Graph(outside.skeleton(body) if shape else body)
    return _judged(graph, BONES if shape else PARTS, lines, located, text_hash(text))


def unloaded(file: str, place: Place, error: LeverframeError) -> Finding:
    """The finding for a file of machines/ that does not load."""
    message = str(error).removeprefix(f"{place.file}:{place.line}: ")
    return finding("LF002", "", f"{file} cannot be loaded: {message}", place=refused(place, message))


def _of_machine(machine: Machine[Never], others: Others) -> Report:
    found: list[Finding] = []

    def refuse(state: str, error: DeclarationError) -> None:
        place, message = placed(str(error).replace(f"{machine.home}/", ""))
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
    located = [locate(one, source) for one in (*found, *rooms(machine, others))]
    return _judged(Graph(body), PARTS, source, located, "")


def _judged(graph: Graph, parts: tuple[Part, ...], places: Places, before: list[Finding], pinned: str) -> Report:
    found = before + [locate(one, places) for part in parts for one in part(graph)]
    edges = sum(len(node.edges) for node in graph.nodes.values())
    about = Checked(graph.name, len(graph.nodes), edges, len(graph.tools), pinned)
    lived_with, unneeded = accepted(graph, found)
    return Report.of([*lived_with, *(locate(one, places) for one in unneeded)], [about])


def _at(one: Finding, place: Place) -> Finding:
    from dataclasses import replace

    return replace(one, place=place)
