"""What a check found, in order; and which of it a machine lives with, and why."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from leverframe.canon import Object
from leverframe.check.codes import CODES, finding
from leverframe.check.finding import Finding, Hop, Place
from leverframe.check.model import Graph
from leverframe.errors import did_you_mean


@dataclass(frozen=True, slots=True)
class Checked:
    """What was looked at: so that a clean result says of what. `definition` is the hash of a definition that was given as data."""

    machine: str
    states: int
    edges: int
    tools: int
    definition: str = ""

    def json(self) -> Object:
        return {
            "machine": self.machine,
            "states": self.states,
            "edges": self.edges,
            "tools": self.tools,
            "definition": self.definition or None,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """Findings by place and code, and what was checked."""

    findings: tuple[Finding, ...]
    checked: tuple[Checked, ...]

    @classmethod
    def of(cls, findings: Iterable[Finding], checked: Iterable[Checked]) -> "Report":
        return cls(tuple(sorted(dict.fromkeys(findings), key=_order)), tuple(checked))

    @property
    def fails(self) -> bool:
        """Is something wrong that no machine says it lives with?"""
        return any(one.fails for one in self.findings)

    @property
    def errors(self) -> int:
        return sum(one.fails for one in self.findings)

    @property
    def warnings(self) -> int:
        return sum(one.level == "warning" and one.accepted is None for one in self.findings)

    @property
    def accepted(self) -> int:
        return sum(one.accepted is not None for one in self.findings)

    def json(self) -> Object:
        """With keys that stay."""
        return {
            "fails": self.fails,
            "errors": self.errors,
            "warnings": self.warnings,
            "accepted": self.accepted,
            "checked": [one.json() for one in self.checked],
            "findings": [one.json() for one in self.findings],
        }

    def seen_from(self, folder: Path) -> "Report":
        """With the places that are in a folder named from there."""
        steps: dict[tuple[Hop, Place | None], Hop] = {}  # paths share most of their steps

        def step(hop: Hop) -> Hop:
            if (hop, hop.place) not in steps:
                steps[hop, hop.place] = replace(hop, place=_from(hop.place, folder))
            return steps[hop, hop.place]

        named = (replace(one, place=_from(one.place, folder), path=tuple(map(step, one.path))) for one in self.findings)
        return replace(self, findings=tuple(named))


def merged(reports: Sequence[Report]) -> Report:
    """One report of several."""
    return Report.of(
        [one for report in reports for one in report.findings],
        [one for report in reports for one in report.checked],
    )


def accepted(graph: Graph, found: Sequence[Finding]) -> tuple[list[Finding], list[Finding]]:
    """The findings, those that the machine accepts with its reason; and a finding for each acceptance that nothing needs."""
    accepts = cast("list[Object]", graph.body.get("accepts") or [])
    if not accepts:
        return list(found), []
    reasons = {
        (cast("str", one["code"]), cast("str | None", one.get("state"))): cast("str", one["reason"]) for one in reversed(accepts)
    }
    needed: set[tuple[str, str | None]] = set()
    judged: list[Finding] = []
    for one in found:
        key = next((key for key in ((one.code, one.state), (one.code, None)) if key in reasons), None)
        if key is None or one.code.startswith("LF0"):  # those are about the review itself
            judged.append(one)
            continue
        needed.add(key)
        judged.append(replace(one, accepted=reasons[key]))
    return judged, [_unneeded(graph, *key) for key in reasons if key not in needed]


def _unneeded(graph: Graph, code: str, state: str | None) -> Finding:
    where = f" in {state}" if state else ""
    if code not in CODES:
        why = f"there is no such code.{did_you_mean(code, list(CODES))}"
    elif code.startswith("LF0"):
        why = "such a finding cannot be"
    elif state is not None and state not in graph.nodes:
        why = f"there is no such state.{did_you_mean(state, list(graph.nodes))}"
    else:
        why = "nothing of that kind is found"
    return finding("LF003", graph.name, f"{code}{where} is accepted, and {why}", state=state if state in graph.nodes else None)


def _order(one: Finding) -> tuple[str, int, str, str, str, str]:
    file, line = (one.place.file, one.place.line) if one.place else ("", 0)
    return file, line, one.code, one.machine, one.state or "", one.outcome or ""


def _from(place: Place | None, folder: Path) -> Place | None:
    if place is None or not Path(place.file).is_relative_to(folder):
        return place
    return Place(Path(place.file).relative_to(folder).as_posix(), place.line)
