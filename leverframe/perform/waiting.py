"""Waiting states: what a person is shown, what children are given and gave back."""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from pydantic import BaseModel

from leverframe.canon import Json, Object
from leverframe.llm import Choices
from leverframe.perform.memory import keeping, user_code
from leverframe.perform.step import Draft, Step, Stuck
from leverframe.run import Pending, but
from leverframe.state import (
    Approve,
    Consult,
    Delegate,
    Memory,
)


def shown_to_person(step: Step) -> tuple[str, Object | None]:
    """What an Approve or a Consult shows: its words, and the schema of what can be answered."""
    state = step.state()
    memory = step.memory()
    if isinstance(state, Approve):
        return str(user_code(f"{state.name}.show", lambda: cast("Approve[Memory]", state).show(memory))), None
    asks = cast("Consult[Memory]", state)
    return str(user_code(f"{state.name}.question", lambda: asks.question(memory))), Choices(asks.replies).schema


def shown_edited(step: Step, call: Object, by: str) -> Object:
    """What the next person is shown of a call that one person changed: what the first was shown, over the new call."""
    pending = but(cast("Pending", step.run.pending), arguments=call["arguments"], digest=call["digest"])
    try:
        content, _ = shown_to_person(replace(step, run=but(step.run, pending=pending)))
    except Stuck:
        content = ""  # the words do not fit the new arguments; the arguments speak for themselves
    edited = f"Edited by {by}.\n{content}".strip()
    shown: Object = {name: call[name] for name in ("tool_name", "arguments")}
    return {"content": edited, "approver": step.spec.to, "call": shown}


def inputs(step: Step) -> list[Memory]:
    """What a Delegate gives to its children. Raises Stuck for anything but Memory."""
    state = cast("Delegate[Memory, BaseModel]", step.state())
    memory = step.memory()
    where, machine = f"{state.name}.give", step.spec.body["machine"]
    given = user_code(where, lambda: state.give(memory))
    if step.spec.body.get("many") is False and not isinstance(given, Memory):
        raise Stuck(f"{where} gave an instance of {type(given).__name__}, and its annotation promises one {machine} run")
    listed = (
        [given]
        if isinstance(given, Memory)
        else cast("list[object]", user_code(where, lambda: list(cast("Sequence[object]", given))))
    )
    if strange := next((each for each in listed if not isinstance(each, Memory)), None):
        raise Stuck(f"{where} gave an instance of {type(strange).__name__}; give the Memory of {machine}, or a list of them")
    return cast("list[Memory]", listed)


def returned(step: Step, results: Sequence[tuple[bool, Json]], *, did: bool) -> Draft:
    """All children are over: their results, in the order of the inputs."""
    state = cast("Delegate[Memory, BaseModel]", step.state())
    body: Object = {
        "state": state.name,
        "results": cast("Json", [{"success": success, "result": value} for success, value in results]),
    }
    failed = sum(not success for success, _ in results)
    if failed > state.max_failed:
        cause = f"{failed} of {len(results)} runs of {state.machine} failed"
        error: Object = {"type": "Delegate", "source": state.machine, "cause": cause, "final": did}
        return Draft("returned", {**body, "outcome": "error", "error": error})
    return Draft("returned", {**body, **keep_returned(step, state, results)})


def keep_returned(step: Step, state: Delegate[Memory, BaseModel], results: Sequence[tuple[bool, Json]]) -> Object:
    if type(state).keep is Delegate.keep:
        return {"outcome": "done"}

    def keep(memory: Memory) -> str:
        typed = [
            state.returns.model_validate(value) if success and state.returns and value is not None else None
            for success, value in results
        ]
        state.keep(memory, typed)
        return "done"

    return keeping(step, f"{state.name}.keep", keep)
