"""How important is what to a model: one table, from which the least goes first when the window is short.

A row is a block's kind or the name of a tool. 100 is a pin, always in; 0 is never in; between, the higher stays longer. An Ask replaces
rows of it with `scores`, a Compact limits rows of it with `cuts`. Both are data, and in the definition where they are given.
"""

from collections.abc import Collection, Mapping

from leverframe.errors import DeclarationError, did_you_mean

PIN = 100
SCORES: Mapping[str, int] = {
    "request": PIN,  # what the run began with
    "error": PIN,  # the newest that are not resolved
    "older_error": 95,  # not resolved either
    "decided": 90,
    "edited": 90,
    "settled": 90,
    "answered": 85,
    "received": 85,
    "acted": 80,
    "fetched": 80,
    "returned": 80,
    "not_executed": 80,  # of an answer that made several calls
    "asked": 70,
    "built": 70,
    "opened": 60,
    "expired": 60,
    "repeated": 20,  # a question or an answer that stands there for the second time
    "chatter": 5,  # nothing but greetings and thanks
}
"""For who declares no other. Errors of tools stand in `error`, also those that a model's answer had."""


def refuse_rows(where: str, given: Mapping[str, object], tools: Collection[str], *, most: int) -> None:
    """Raises DeclarationError for a row that nothing could be in, or a number that means nothing."""
    known = [*SCORES, *sorted(tools)]
    for row, number in given.items():
        if row not in known:
            raise DeclarationError(f"{where}: {row!r} is no kind of block and no tool of this machine.{did_you_mean(row, known)}")
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= most:
            raise DeclarationError(f"{where}: {row!r} is {number!r}; give a whole number from 0 to {most:,}")
