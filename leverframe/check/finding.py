"""What a check says: a finding has a stable code, a place, a reason, what to do, and where it can, the shortest way to it."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from leverframe.canon import Object

Level: TypeAlias = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the source it is; lines count from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Hop:
    """One step of a path: the state that was left, how it ended, and where that led. `place` is the edge's, where a review found it."""

    state: str
    outcome: str
    to: str
    place: Place | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.state} –{self.outcome}→ {self.to}"

    def json(self) -> Object:
        return {"state": self.state, "outcome": self.outcome, "to": self.to, **_at(self.place)}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or may be.

    code        `LF101`; stable, documented in docs/checks.md
    message     why, in one line; names machine, state and outcome
    remedy      what to do about it
    path        a shortest counter-example, from the start of the machine; empty where there is none to show
    accepted    the reason a machine gives for living with it; such a finding fails nothing, and is shown in every review
    """

    code: str
    level: Level
    machine: str
    message: str
    remedy: str
    state: str | None = None
    outcome: str | None = None
    place: Place | None = None
    path: tuple[Hop, ...] = field(default=())
    accepted: str | None = None

    @property
    def fails(self) -> bool:
        return self.level == "error" and self.accepted is None

    def json(self) -> Object:
        """With keys that stay."""
        return {
            "code": self.code,
            "level": self.level,
            "machine": self.machine,
            "state": self.state,
            "outcome": self.outcome,
            "message": self.message,
            "remedy": self.remedy,
            **_at(self.place),
            "path": [hop.json() for hop in self.path],
            "accepted": self.accepted,
        }


def _at(place: Place | None) -> Object:
    return {"file": place.file if place else None, "line": place.line if place else None}
