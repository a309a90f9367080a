"""What an event says that calls of a model used up: the one place that reads it from a log.

An answer that did not fit its choices is paid for as well, and so is that of a `shadow`, which is asked beside it and never acts.
"""

from collections.abc import Iterator
from typing import NamedTuple, cast

from leverframe.canon import Json, Object


class Used(NamedTuple):
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
    if "shadow" not in body:
        return _call(body) if "usage" in body else NONE
    acts, shadows = _call(body), [_call(one) for one in _shadows(body["shadow"])]
    tokens, cost = (acts.tokens, *(one.tokens for one in shadows)), (acts.cost, *(one.cost for one in shadows))
    return Used(sum(tokens), sum(cost), len(shadows), acts.unpriced)  # a shadow never stops a run


def _call(body: Object) -> Used:
    """Of one call."""
    usage = cast("dict[str, int | None] | None", body.get("usage"))
    if not usage:
        return NONE
    cost = usage.get("cost")
    tokens = (usage.get("input_tokens") or 0) + (usage.get("output_tokens") or 0)
    return Used(tokens, cost or 0, 0, "" if cost is not None else str(body.get("model") or "the model"))


def _shadows(value: Json) -> Iterator[Object]:
    """Those that were asked, by their variants: one that came too late may have been paid for."""
    for one in cast("dict[str, Object]", value).values():
        if "usage" in one or "late" in one:
            yield one
