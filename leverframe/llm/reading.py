"""What an answer amounts to, whatever API it came through, and the choice that is read out of it.

Nothing is guessed: a fence around the JSON, a key that stands twice, a second object or anything beside `next` is no answer.
"""

import json
from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar, cast

from pydantic import BaseModel, ConfigDict

from leverframe.canon import Json, Object

NAME = "next"
"""Of the schema, of the function in mode `tools`, and of the one key of the object that is asked for."""

REFUSED = "the model refused to answer"
CUT_OFF = "the answer was cut off; raise max_tokens or ask for less"
WITHHELD = "the provider's filter withheld the answer"
EMPTY = "the answer is empty"
CALLED = "the answer is a tool call of the provider's kind, not JSON"


@dataclass(frozen=True, slots=True)
class Counts:
    """Tokens as the provider counted them. Cached ones are among the input, those of reasoning among the output."""

    input: int
    output: int
    cached: int = 0
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """`content`: the text, or the arguments of the function that had to be called. `trouble`: why nobody need read it."""

    content: str | Object = ""
    trouble: str = ""
    model: str = ""
    counts: Counts | None = None
    dollars: float | None = None
    reported: object = None
    """The error object that some servers send inside of HTTP 200."""
    page: bool = False
    """It is HTML."""


class Answered(BaseModel):
    """The one object that is asked for. The choice itself stays data: `Choices.parse` is the one place that validates it."""

    model_config = ConfigDict(extra="forbid", defer_build=True)
    next: dict[str, object] | list[object]
    sent: ClassVar[Object] = {}

    @classmethod
    def model_json_schema(cls, *_: object, **__: object) -> dict[str, Json]:
        return {"title": NAME, **deepcopy(cls.sent)}  # what instructor wants of it, and writes into; we send our own


class Twice(ValueError):
    """A key stands twice in one object: which of the two was meant, nobody knows."""


def chosen(reading: Reading) -> Json:
    """The choice. Raises ValueError, which `failures` puts into words; so does a reading that is in trouble."""
    if reading.trouble or reading.page or reading.reported is not None:
        raise ValueError(reading.trouble)
    if isinstance(reading.content, dict):
        return cast("Json", Answered.model_validate(reading.content).next)
    answered = Answered.model_validate_json(reading.content)
    json.loads(reading.content, object_pairs_hook=once)
    return cast("Json", answered.next)


def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object, if every key of it stands there once. Raises Twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Twice
    return found


def count(value: object) -> int | None:
    """A number of tokens, where it is one."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None


def fields(value: object) -> Object:
    """An object, or an empty one in place of anything else."""
    return cast("Object", value) if isinstance(value, dict) else {}


def items(value: object) -> list[Json]:
    return cast("list[Json]", value) if isinstance(value, list) else []


def text(value: object) -> str:
    return value if isinstance(value, str) else ""


def counts(input: object, output: object, cached: object = 0, reasoning: object = 0) -> Counts | None:
    """What was counted; None where the provider did not say both numbers."""
    taken, given = count(input), count(output)
    if taken is None or given is None:
        return None
    return Counts(taken, given, min(count(cached) or 0, taken), min(count(reasoning) or 0, given))
