"""Replies of models, people and events, and what they leave in the memory."""

from collections.abc import Callable, Sequence
from typing import Never, cast

from leverframe.canon import Json, Object
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


def reply_body(reply: Reply[str]) -> Object:
    return {"intent": reply.intent, **cast(Object, reply.model_dump(mode="json", by_alias=True))}


def keep_reply(step: Step, reply: Reply[str]) -> Object:
    """What a reply of a model, a person or an event leaves in the memory; its intent is the outcome."""
    state = cast(Ask[Memory] | Consult[Memory] | Wait[Memory], step.state())
    if type(state).keep in (Ask.keep, Consult.keep, Wait.keep):
        return {"outcome": reply.intent}

    def keep(memory: Memory) -> str:
        cast(Callable[[Memory, Reply[str]], None], state.keep)(memory, reply)
        return reply.intent

    return keeping(step, f"{state.name}.keep", keep)


def answered(step: Step, answer: Json, by: str, task: str) -> Draft:
    """A person's answer to a Consult."""
    reply = read_reply(cast(type[Consult[Never]], step.bound.state(step.run.state)).replies, answer)
    return Draft(
        "answered", {"state": step.run.state, "task": task, "by": by, "reply": reply_body(reply), **keep_reply(step, reply)}
    )


def received(step: Step, event: str, data: Json, source: str) -> Draft:
    """An event a Wait was waiting for."""
    reply = read_reply(
        cast(type[Wait[Never]], step.bound.state(step.run.state)).events, {**cast(Object, data or {}), "intent": event}
    )
    return Draft(
        "received",
        {"state": step.run.state, "event": event, "source": source, "reply": reply_body(reply), **keep_reply(step, reply)},
    )


def read_reply(replies: Sequence[type[Reply[str]]], answer: Json) -> Reply[str]:
    """An answer from outside as the Reply its intent names. Raises BadCompletion naming what does not fit."""
    picked = Choices(replies).parse(answer)
    return cast(Reply[str], picked.reply)
