"""What an event says that calls of a model used up: the one place that reads it from a log.

An answer that did not fit its choices is paid for as well. A `shadow` is asked beside the call that acts: it counts for the machine's day,
and not for the run, which must not notice it.
"""

from typing import NamedTuple, cast

from leverframe.canon import Object


class Used(NamedTuple):
    """Tokens of questions and answers; `cost` in millionths of a dollar, without the calls whose price nobody knows.

    unpriced    the model whose price nobody knows; empty where it is known
    """

    tokens: int = 0
    cost: int = 0
    unpriced: str = ""


NONE = Used()


def used(body: Object) -> Used:
    """By the call that acts."""
    usage = cast("dict[str, int | None] | None", body.get("usage"))
    if not usage:
        return NONE
    cost = usage.get("cost")
    tokens = (usage.get("input_tokens") or 0) + (usage.get("output_tokens") or 0)
    return Used(tokens, cost or 0, "" if cost is not None else str(body.get("model") or "the model"))


def sent(body: Object) -> bool:
    """Was the call of an `asked` made? Where the window overflowed, nothing was sent."""
    prompt = cast("Object | None", body.get("prompt"))
    return prompt is None or "budget" in prompt


def whole(body: Object) -> Used:
    """By the call that acts and those beside it."""
    every = (used(body), *shadows(body))
    return Used(sum(one.tokens for one in every), sum(one.cost for one in every))


def shadows(body: Object) -> list[Used]:
    """By those beside it that were asked; one that came too late may have been paid for."""
    beside = cast("dict[str, Object]", body.get("shadow") or {})
    return [used(one) for one in beside.values() if "usage" in one or "late" in one]
