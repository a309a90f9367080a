"""Replies of models, people and events, and what they leave in the memory."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Never, cast

from leverframe.canon import Json, Object
from leverframe.errors import BadCompletion
from leverframe.llm import Choices
from leverframe.perform.memory import keeping
from leverframe.perform.step import Draft, Step
from leverframe.state import (
    Ask,
    Consult,
    Memory,
    Reply,
    Wait,
)
from leverframe.threads import Contained


def reply_body(reply: Reply[str]) -> Object:
    return {"intent": reply.intent, **cast("Object", reply.model_dump(mode="json", by_alias=True))}


def said(reply: Reply[str], given: Json) -> Object:
    """A reply as an event has it; and as it was given, where what reading made of it does not read as the same again."""
    body = reply_body(reply)
    return {"reply": body} if body == given or _reads_as(reply, body) else {"reply": body, "given": given}


def _reads_as(reply: Reply[str], body: Object) -> bool:
    try:
        return read_reply([type(reply)], body) == reply
    except BadCompletion:
        return False


def keep_reply(step: Step, reply: Reply[str]) -> Object:
    """What a reply of a model, a person or an event leaves in the memory; its intent is the outcome."""
    state = cast("Ask[Memory] | Consult[Memory] | Wait[Memory]", step.state())
    if type(state).keep in (Ask.keep, Consult.keep, Wait.keep):
        return {"outcome": reply.intent}

    def keep(memory: Memory) -> str:
        cast("Callable[[Memory, Reply[str]], None]", state.keep)(memory, reply)
        return reply.intent

    return keeping(step, f"{state.name}.keep", keep)


def answered(step: Step, answer: Json, by: str, task: str) -> Draft:
    """A person's answer to a Consult. It was read once already, so one that the code does not read any more is kept until it does."""
    body: Object = {"state": step.run.state, "task": task, "by": by}
    try:
        reply = read_reply(cast("type[Consult[Never]]", step.bound.state(step.run.state)).replies, answer)
    except BadCompletion as error:
        return Draft("answered", {**body, "reply": answer, "stuck": f"the answer does not fit any more: {error}"})
    return Draft("answered", {**body, **said(reply, answer), **keep_reply(step, reply)})


def received(step: Step, event: str, data: Json, source: str) -> Draft:
    """An event a Wait was waiting for."""
    given: Object = {**cast("Object", data or {}), "intent": event}
    reply = read_reply(cast("type[Wait[Never]]", step.bound.state(step.run.state)).events, given)
    body: Object = {"state": step.run.state, "event": event, "source": source}
    return Draft("received", {**body, **said(reply, given), **keep_reply(step, reply)})


def read_reply(replies: Sequence[type[Reply[str]]], answer: Json) -> Reply[str]:
    """An answer from outside as the Reply its intent names. Raises BadCompletion naming what does not fit."""
    try:
        with Contained():
            picked = _choices(tuple(replies)).parse(answer)
    except BadCompletion:
        raise
    except Exception as error:  # validators are user code
        named = answer.get("intent") if isinstance(answer, dict) else "reply"
        raise BadCompletion(f"{named}: validating it raised {type(error).__name__}") from error
    return cast("Reply[str]", picked.reply)


@lru_cache(maxsize=256)
def _choices(replies: tuple[type[Reply[str]], ...]) -> Choices:
    """Making them takes longer than reading with them, and every reply is read."""
    return Choices(replies)
