"""Only `keep`, again, over what was recorded before."""

from collections.abc import Sequence
from typing import Never, cast

from pydantic import BaseModel

from leverframe.canon import Object
from leverframe.errors import BadCompletion
from leverframe.perform.calls import keep_results
from leverframe.perform.following import onward
from leverframe.perform.memory import one_line
from leverframe.perform.replies import keep_reply, read_reply
from leverframe.perform.step import Draft, Step, Stuck
from leverframe.perform.waiting import keep_returned
from leverframe.state import (
    Act,
    Ask,
    Consult,
    Delegate,
    Fetch,
    Got,
    Memory,
    Reply,
    Wait,
)
from leverframe.threads import Contained


def kept(step: Step) -> Draft:
    """Only `keep`, again, over what was recorded before: nothing is done twice."""
    held = cast("Object", step.run.held)
    state = step.state()
    if isinstance(state, Act):
        came = _keep_held_act(step, cast("Act[Memory]", state), held)
    elif isinstance(state, Fetch):
        calls = cast("list[Object]", held["calls"])
        got = [(cast("str", call["tool_name"]), _revived(step, call)) for call in calls]
        came = keep_results(step, cast("Fetch[Memory]", state), Got(got))
    elif isinstance(state, Delegate):
        results = [(bool(item["success"]), item["result"]) for item in cast("list[Object]", held["results"])]
        came = keep_returned(step, cast("Delegate[Memory, BaseModel]", state), results)
    else:
        listed = cast(
            "Sequence[object]", state.events if isinstance(state, Wait) else cast("Ask[Never] | Consult[Never]", state).replies
        )
        replies = [cast("type[Reply[str]]", item) for item in listed if isinstance(item, type)]
        try:
            reply = read_reply(replies, held.get("given", held["reply"]))
        except BadCompletion as error:
            raise Stuck(f"what is recorded does not fit any more: {error}") from None
        came = keep_reply(step, reply)
    if "stuck" in came:
        raise Stuck(str(came["stuck"]))
    return Draft("kept", {"state": state.name, **came, **{name: held[name] for name in ("effect",) if name in held}})


def _keep_held_act(step: Step, state: Act[Memory], held: Object) -> Object:
    done = [] if held.get("reconciled") else [held, *cast("list[Object]", held.get("calls") or [])]
    got = [(cast("str", each["tool_name"]), _revived(step, each)) for each in done]
    came = keep_results(step, state, Got(got))
    return onward(step, came, [each.get("result") for each in done])


def _revived(step: Step, done: Object) -> object:
    tool = step.bound.tool(cast("str", done["tool_name"]))
    try:
        with Contained():
            return tool.revive(done.get("result"))
    except Exception as error:  # validators are user code
        raise Stuck(f"result of {tool.name} does not fit its return annotation: {one_line(error)}") from None
