"""States that ask nothing of the world: Work, Compact, End."""

from typing import cast

from pydantic import BaseModel

from leverframe.canon import MAX_RESULT, Json, admit_dump
from leverframe.perform.memory import CAUSE_LIMIT, changed, user_code
from leverframe.perform.step import Draft, Step, Stuck
from leverframe.state import (
    Compact,
    End,
    Memory,
    Work,
)


def work(step: Step) -> Draft:
    state = cast(Work[Memory], step.state())
    memory = step.memory()
    outcome = cast(str, user_code(f"{state.name}.run", lambda: state.run(memory)))
    if outcome not in step.spec.edges:
        raise Stuck(f"{state.name}.run returned {outcome!r}, which its types do not declare")
    return Draft("worked", {"state": state.name, "outcome": outcome, **changed(step.run.memory, memory)})


def compacted(step: Step) -> Draft:
    """Counts are the engine's: `give_up` where one state, or the run in a row, has had enough errors."""
    run, spec = step.run, step.spec
    state = cast(Compact[Memory], step.state())
    error = dict(run.error or {})
    cause = str(error.get("cause", ""))
    error["cause"] = str(user_code(f"{state.name}.shorten", lambda: state.shorten(cause)))[:CAUSE_LIMIT]
    count = run.failures.get(str(error.get("state", "")), 0)
    enough = max(count, run.in_a_row) >= spec.times or bool(error.pop("final", False))
    return Draft("compacted", {"state": spec.name, "error": error, "outcome": "give_up" if enough else "retry"})


def ended(step: Step) -> Draft:
    state = cast(End[Memory], step.state())
    memory = step.memory()
    result = cast(BaseModel | None, user_code(f"{state.name}.result", lambda: state.result(memory)))
    value: Json = None
    if result is not None:
        value = cast(
            Json,
            user_code(
                f"{state.name}.result",
                lambda: admit_dump(lambda: result.model_dump(mode="json"), what="result", limit=MAX_RESULT),
            ),
        )
    return Draft("ended", {"state": state.name, "success": step.spec.success, "result": value})
