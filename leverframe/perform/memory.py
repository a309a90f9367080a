"""What user code makes of the memory, and what its errors say in one line."""

from collections.abc import Callable
from typing import cast

from pydantic import ValidationError

from leverframe.canon import MAX_MEMORY, Object, admit_dump, ordered
from leverframe.errors import (
    InputError,
    NotDone,
)
from leverframe.faults import compacted
from leverframe.perform.step import Step, Stuck
from leverframe.state import (
    Memory,
)
from leverframe.threads import Contained
from leverframe.tool import compact

CAUSE_LIMIT = 300


def dumped(memory: Memory) -> Object:
    """The memory as JSON data, validated once more: nested models do not see their own assignments.

    Raises Stuck where it does not fit.
    """
    try:
        data = cast("Object", admit_dump(lambda: memory.model_dump(mode="json", by_alias=True), what="memory", limit=MAX_MEMORY))
        type(memory).model_validate_json(ordered(data))
    except ValidationError as error:
        raise Stuck(f"memory does not fit {type(memory).__name__}: {compact(error)}") from None
    except InputError as error:
        raise Stuck(str(error)) from None
    return data


def changed(before: Object, memory: Memory) -> Object:
    """The fields that differ, as an event carries them."""
    data = dumped(memory)
    delta: Object = {name: value for name, value in data.items() if name not in before or before[name] != value}
    return {"memory": delta} if delta else {}


def user_code(where: str, code: Callable[[], object]) -> object:
    try:
        with Contained():
            return code()
    except Stuck:
        raise
    except Exception as error:
        raise Stuck(f"{where} raised {one_line(error)}") from error


def one_line(error: BaseException) -> str:
    if isinstance(error, ValidationError):
        return f"{type(error).__name__}: {compact(error)}"[:CAUSE_LIMIT]
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= CAUSE_LIMIT else text[: CAUSE_LIMIT - 3] + "..."


def fault(error: BaseException, source: str) -> Object:
    """An error as the next attempt may read it: what, where, why; no stack trace, no ids."""
    kind = "TimeoutError" if isinstance(error, TimeoutError) else type(error).__name__
    cause = compact(error) if isinstance(error, ValidationError) else str(error)
    return compacted(kind, source, cause, error.remedy if isinstance(error, NotDone) else "")


def keeping(step: Step, where: str, keep: Callable[[Memory], str]) -> Object:
    try:
        memory = step.memory()
        outcome = cast("str", user_code(where, lambda: keep(memory)))
        if outcome not in step.spec.edges:
            raise Stuck(f"{where} returned {outcome!r}, which its types do not declare")
        return {"outcome": outcome, **changed(step.run.memory, memory)}
    except Stuck as error:
        return {"stuck": str(error)}
