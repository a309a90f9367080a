"""What an event says that calls of a model used up: the one place that reads it from a log.

An answer that did not fit its choices is paid for as well, and so is that of a `shadow`, which is asked beside it and never acts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from leverframe.canon import Json, Object


@dataclass(frozen=True, slots=True)
class Used:
    """Tokens of question and answer; `cost` in millionths of a dollar, without the calls whose price nobody knows.

    shadows     calls beside the one that acts
    unpriced    a model whose price nobody knows; empty where all are known
    """

    tokens: int = 0
    cost: int = 0
    shadows: int = 0
    unpriced: str = ""


NONE = Used()


def used(body: Object) -> Used:
    """By the calls of one event."""
    if "usage" not in body and "shadow" not in body:
        return NONE
    shadows = list(_shadows(body.get("shadow")))
    tokens, cost, unpriced = 0, 0, ""
    for call in (body, *shadows):
        usage = cast("Object | None", call.get("usage"))
        if usage:
            tokens += cast(int, usage.get("input_tokens") or 0) + cast(int, usage.get("output_tokens") or 0)
            cost += cast(int, usage.get("cost") or 0)
            unpriced = unpriced or ("" if usage.get("cost") is not None else str(call.get("model") or "the model"))
    return Used(tokens, cost, len(shadows), unpriced)


def _shadows(value: Json) -> Iterator[Object]:
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, dict):
            yield one
