"""The next call of an answer that made several: its references filled in, validated once more, and made."""

from collections.abc import Mapping, Sequence
from typing import cast

from leverframe import reference
from leverframe.canon import MAX_ARGUMENTS, Json, Object, canonical, digest
from leverframe.perform.memory import fault
from leverframe.perform.step import Step
from leverframe.series import FOLLOWS
from leverframe.state import Call


def call_body(call: Call[object]) -> Object:
    """A call with the digest that approvals are bound to."""
    return {**call.json(), "digest": digest(call.json())}


def waiting(made: Sequence[Object]) -> Object:
    """What an event says of the calls that wait."""
    return {"queue": list[Json](made)} if made else {}


def onward(step: Step, came: Object, results: Sequence[Json]) -> Object:
    """How an Act ends that would end in `ok`, where calls of the same answer wait: in `next`, with the one that is made now.

    `results` are those of the calls that were executed here, none where it is not known. What `keep` decided by name stays: it ends
    the answer.
    """
    queue = step.run.queue[max(0, len(results) - 1) :]
    if came.get("outcome") != "ok" or not queue or FOLLOWS not in step.spec.edges:
        return came
    here = cast("int", step.run.queue[0]["n"]) - 1
    known = dict(enumerate(results, here))
    done = range(here, here + max(1, len(results)))
    head, *rest = [_filled(item, done, known) for item in queue]
    came = {**came, "outcome": FOLLOWS}
    try:
        if lost := cast("dict[str, str]", head.get("lost")):
            name, why = next(iter(lost.items()))
            raise ValueError(f"{name}: {why}")
        arguments = step.bound.tool(cast("str", head["tool_name"])).admit(head["arguments"])
    except Exception as error:  # validators are user code; the call before is done, and must be recorded
        return {
            **came,
            "refused": {**_named(head), "error": {**fault(error, cast("str", head["tool_name"])), "type": "BadReference"}},
        }
    call = call_body(Call(cast("str", head["tool_name"]), arguments))
    changed = rest != list(queue[1:])
    return {**came, "call": call, **({"queue": list[Json](rest)} if changed else {})}


def _filled(item: Object, done: range, known: Mapping[int, Json]) -> Object:
    """The call with the values that the calls just done have for it. What a result holds is a value, never a reference."""
    wanted = cast("dict[str, Object]", item.get("from") or {})
    due = {name: one for name, one in wanted.items() if one[reference.FROM] in done}
    if not due:
        return item
    arguments, lost = dict(cast("Object", item["arguments"])), dict(cast("Object", item.get("lost") or {}))
    room = MAX_ARGUMENTS - len(canonical(arguments))
    for name, one in due.items():
        call, path = cast("int", one[reference.FROM]), cast("str", one["path"])
        try:
            value = _found(known, call, path)
            room -= len(canonical(value))
            if room < 0:
                raise ValueError(f"what call {call} gave is over {MAX_ARGUMENTS // 1024} KiB")
            arguments[name] = value
        except ValueError as error:
            lost[name] = str(error)
    rest: Object = {name: one for name, one in wanted.items() if name not in due}
    kept: Object = {key: value for key, value in item.items() if key not in ("from", "lost")}
    return {**kept, "arguments": arguments, **({"from": rest} if rest else {}), **({"lost": lost} if lost else {})}


def _found(known: Mapping[int, Json], call: int, path: str) -> Json:
    if call not in known:
        raise ValueError(f"what call {call} gave is not known")
    try:
        return reference.at(known[call], reference.steps(path))
    except ValueError as error:
        raise ValueError(f"call {call}: {error}") from None


def _named(item: Object) -> Object:
    return {"n": item["n"], "tool_name": item["tool_name"]}
