"""States that ask nothing of the world: Work, Compact, End."""

from typing import cast

from pydantic import BaseModel

from leverframe.canon import MAX_RESULT, Json, Object, admit_dump
from leverframe.errors import WindowOverflow
from leverframe.faults import recut
from leverframe.perform.memory import changed, user_code
from leverframe.perform.step import Draft, Step, Stuck
from leverframe.state import (
    Compact,
    End,
    Memory,
    Work,
)


def work(step: Step) -> Draft:
    state = cast("Work[Memory]", step.state())
    memory = step.memory()
    outcome = cast("str", user_code(f"{state.name}.run", lambda: state.run(memory)))
    if outcome not in step.spec.edges:
        raise Stuck(f"{state.name}.run returned {outcome!r}, which its types do not declare")
    return Draft("worked", {"state": state.name, "outcome": outcome, **changed(step.run.memory, memory)})


def compacted(step: Step) -> Draft:
    """Counts are the engine's: `give_up` where one state, one call that fails the same way, or the run in a row, has had enough errors."""
    run, spec = step.run, step.spec
    state = cast("Compact[Memory]", step.state())
    error = dict(run.error or {})
    cause = str(error.get("cause", ""))
    error = recut(error, str(user_code(f"{state.name}.shorten", lambda: state.shorten(cause))))
    count, spins = run.failures.get(str(error.get("state", "")), 0), cast("int", error.get("times", 0))
    enough = max(count, run.in_a_row, spins) >= spec.times or bool(error.pop("final", False))
    cuts = spec.body.get("cuts") if error.get("type") == WindowOverflow.__name__ else None
    body: Object = {"state": spec.name, "error": error, "outcome": "give_up" if enough else "retry"}
    return Draft("compacted", {**body, **({"cut": cuts} if cuts else {})})


def ended(step: Step) -> Draft:
    state = cast("End[Memory]", step.state())
    memory = step.memory()
    result = cast("BaseModel | None", user_code(f"{state.name}.result", lambda: state.result(memory)))
    value: Json = None
    if result is not None:
        value = cast(
            "Json",
            user_code(
                f"{state.name}.result",
                lambda: admit_dump(lambda: result.model_dump(mode="json", by_alias=True), what="result", limit=MAX_RESULT),
            ),
        )
    return Draft("ended", {"state": state.name, "success": step.spec.success, "result": value})
