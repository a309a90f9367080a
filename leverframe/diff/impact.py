"""What a change of a machine means for the runs that are under way right now."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from leverframe.canon import Object

Fate: TypeAlias = Literal["moves", "stays", "blocked"]
FATES: dict[Fate, str] = {
    "moves": "on the pinned definition, and can be moved to the new one",
    "stays": "on the pinned definition, and cannot be moved",
    "blocked": "blocked once the new code is deployed, before anything executes",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """One run that is not over: where it stands, what becomes of it, and why it cannot move or is blocked."""

    run: str
    state: str
    status: str
    fate: Fate
    why: str = ""


@dataclass(frozen=True, slots=True)
class Parked:
    """Runs that stand in the same state and share their fate."""

    state: str
    fate: Fate
    runs: int
    why: str
    example: str  # the id of one of them

    def __str__(self) -> str:
        runs = "1 run" if self.runs == 1 else f"{self.runs} runs"
        why = f": {self.why}" if self.why else ""
        return f"{runs} in {self.state}: {FATES[self.fate]}{why} ({self.example}{', …' if self.runs > 1 else ''})"

    def json(self) -> Object:
        return {"state": self.state, "fate": self.fate, "runs": self.runs, "why": self.why, "example": self.example}


def parked(standing: Iterable[Standing]) -> list[Parked]:
    """The worst fate first, and within it the states where most runs stand."""
    counts: Counter[tuple[str, Fate, str]] = Counter()
    examples: dict[tuple[str, Fate, str], str] = {}
    for one in standing:
        key = (one.state, one.fate, one.why)
        counts[key] += 1
        examples.setdefault(key, one.run)
    found = [Parked(state, fate, count, why, examples[state, fate, why]) for (state, fate, why), count in counts.items()]
    order = list(reversed(FATES))
    return sorted(found, key=lambda one: (order.index(one.fate), -one.runs, one.state))
