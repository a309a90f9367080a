"""What models ask for first, and might as well have been given (factor 13): a `read` call that most runs begin with costs a question to
a model each time; a Fetch before the Ask makes it without."""

from dataclasses import dataclass

from leverframe.canon import Object
from leverframe.clock import Micros
from leverframe.machine import Definition
from leverframe.store import Store
from leverframe.trial.share import Share, share

FEWEST = 20
"""Runs below which nothing is suggested."""


@dataclass(frozen=True, slots=True)
class Habit:
    """What the first question to a model was answered with; `tool` empty: a reply."""

    state: str
    tool: str
    effect: str
    runs: Share

    def suggests(self, at_least: float) -> bool:
        return self.effect == "read" and self.runs.of >= FEWEST and (self.runs.value or 0) >= at_least

    def __str__(self) -> str:
        part = f"{self.runs.value or 0:.0%}".replace("%", " %")
        return f"tool {self.tool} is the first call in {part} of {self.runs.of} runs: fetch it before {self.state}"

    def json(self, at_least: float) -> Object:
        suggested = self.suggests(at_least)
        said: Object = {"suggestion": str(self) if suggested else None}
        return {"state": self.state, "tool": self.tool or None, "effect": self.effect or None, **self.runs.json(), **said}


async def habits(store: Store, definition: Definition, since: Micros) -> list[Habit]:
    """How the runs of a machine that started since were first answered, the most frequent first; `definition` knows the tools."""
    rows = await store.first_calls(definition.name, since)
    total = sum(runs for _, _, runs in rows)
    found: list[Habit] = []
    for state, tool, runs in rows:
        spec = definition.tools.get(tool or "")
        found.append(Habit(state, tool or "", spec.effect if spec else "", share(runs, total)))
    return sorted(found, key=lambda habit: (-habit.runs.hits, habit.state, habit.tool))
