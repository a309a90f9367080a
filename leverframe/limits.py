"""What a run may use up, and what all runs of a machine together may use up in a day: numbers that are refused where they hold nothing.

Counted by `leverframe.reduce` for a run, by the store for a day; docs/budgets.md says how.
"""

from dataclasses import dataclass
from typing import Never, cast

from leverframe.canon import Json, Object
from leverframe.errors import DeclarationError
from leverframe.state import State

DAILY = "daily "
"""What the name of a limit per day begins with, in events and reasons: `daily tokens`."""


@dataclass(frozen=True, slots=True)
class Daily:
    """What all runs of the machine together may use up in a day (of UTC), whoever starts them. None: unlimited.

    Raises DeclarationError for one that limits nothing, or that no call could be made under.
    """

    model_calls: int | None = None
    tokens: int | None = None
    cost_usd: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("model_calls", self.model_calls), ("tokens", self.tokens)):
            if value is not None:
                _refuse(f"daily {name}", value, least=1)
        if self.cost_usd is not None:
            _refuse("daily cost_usd", self.cost_usd, above=True, whole=False)
        if not self.json():
            raise DeclarationError(
                "limits: daily limits nothing; write Daily(model_calls=…), tokens=… or cost_usd=…, or leave it out"
            )

    def json(self) -> Object:
        cost = None if self.cost_usd is None else max(1, _millionths(self.cost_usd))
        named: Object = {"model_calls": self.model_calls, "tokens": self.tokens, "cost": cost}
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may use up; `exceeded` is where it goes then, with steps and days granted once more. None of a limit: unlimited.

    tokens  of all questions to models and their answers, as the provider counts them
    daily   of all runs of the machine together

    Raises DeclarationError for a limit that nothing could be held to.
    """

    steps: int = 100
    model_calls: int | None = None
    cost_usd: float | None = None
    days: float | None = None
    exceeded: type[State[Never]] | None = None
    tokens: int | None = None
    daily: Daily | None = None

    def __post_init__(self) -> None:
        _refuse("steps", self.steps, least=1)
        if self.model_calls is not None:
            _refuse("model_calls", self.model_calls)
        if self.cost_usd is not None:
            _refuse("cost_usd", self.cost_usd, whole=False)
        if self.days is not None:
            _refuse("days", self.days, above=True, whole=False, most=36_500)
        if self.tokens is not None:
            _refuse("tokens", self.tokens)
        if not isinstance(cast("object", self.daily), Daily | None):
            raise DeclarationError(
                f"limits: daily is an instance of {type(self.daily).__name__}; write daily=Daily(model_calls=…, …)"
            )

    def json(self) -> Object:
        """As it stands in the definition; what is younger than its first format only where it is used, so that hashes stay."""
        target = self.exceeded.name if self.exceeded else None
        cost = None if self.cost_usd is None else _millionths(self.cost_usd)
        younger: dict[str, Json] = {} if self.tokens is None else {"tokens": self.tokens}
        younger |= {} if self.daily is None else {"daily": self.daily.json()}
        return {
            "steps": self.steps,
            "model_calls": self.model_calls,
            "cost": cost,
            "days": self.days,
            "exceeded": target,
            **younger,
        }


def limits_of(machine: str, given: object) -> Limits:
    """Those of a machine. Raises DeclarationError for anything else."""
    if given is None:
        return Limits()
    if not isinstance(given, Limits):
        raise DeclarationError(f"machine {machine}: limits is an instance of {type(given).__name__}; write Limits(steps=…, …)")
    return given


def _millionths(dollars: float) -> int:
    return round(dollars * 1_000_000)


def _refuse(
    name: str, value: object, *, least: int = 0, above: bool = False, whole: bool = True, most: int = 1_000_000_000
) -> None:
    number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not (number and least <= cast("float", value) <= most) or (above and value == least):  # NaN is in no range
        kind, start = "whole number" if whole else "number", f"above {least}" if above else f"from {least}"
        raise DeclarationError(f"limits: {name} is {value!r}; give a {kind} {start} up to {most:,}")
