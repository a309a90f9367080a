"""Which prompt a run is told, and the shadows that are asked beside it.

The prompt: where the state chooses it, by the memory; of its variants the one that is the run's for life. A shadow is another
variant that is asked the same on live runs, to be judged without ever acting. The run must not notice it: a shadow is asked at the
same time, is given up where it has not answered when the model has, and whatever goes wrong with it is a word in the log.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import cast

from leverframe.canon import Object
from leverframe.errors import BadCompletion, ModelError, ModelRefused
from leverframe.llm import LLM, Answer, Picked, Request, pick, unpriced
from leverframe.perform.following import waiting
from leverframe.perform.memory import one_line
from leverframe.perform.replies import reply_body
from leverframe.perform.step import Step, Stuck
from leverframe.prompt import Prompt, choose, render
from leverframe.store.boundary import Outside


def prompts_for(step: Step) -> list[Prompt]:
    """The variants that this run may be told now, shadows included. Raises Stuck where the memory chooses none."""
    name, prompts = step.run.state, step.bound.prompts_of(step.run.state)
    by = step.bound.definition.prompt_by(name)
    if by is None:
        return prompts
    value = step.run.memory.get(by.field)
    chosen = by.of(value)
    if chosen is None:
        known = ", ".join(by.prompts)
        raise Stuck(f"{name} has no prompt where {by.field} is {value!r}, only for {known}; name one in prompt_by, or a default")
    return [prompt for prompt in prompts if prompt.name == chosen]


def prompt_of(step: Step, prompts: list[Prompt]) -> Prompt:
    return choose(prompts, step.run.id, step.run.pins.get(prompts[0].name))


# ── shadows ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Shadow:
    """A variant that is being asked."""

    prompt: Prompt
    answer: "asyncio.Task[tuple[Answer, Picked]]"


async def begin_shadows(step: Step, prompts: list[Prompt], request: Request, variables: Object) -> list[Shadow]:
    """Asks every shadow what the model is about to be asked; where the calls of a day are counted, those that were set aside with it."""
    found = [each for each in prompts if each.shadow][: _room(step)]
    shadows = [Shadow(each, asyncio.ensure_future(_asked(step, each, request, variables))) for each in found]
    for shadow in shadows:
        shadow.answer.add_done_callback(_heard)
    if shadows:
        await asyncio.sleep(0)  # they are on their way before the model is
    return shadows


def _room(step: Step) -> int | None:
    if not step.bound.definition.daily:
        return None
    return step.run.reserved.calls - 1 if step.run.reserved else 0


async def _asked(step: Step, prompt: Prompt, request: Request, variables: Object) -> tuple[Answer, Picked]:
    same = replace(
        request,
        messages=render(prompt, variables),
        model=prompt.model or step.model,
        temperature=prompt.temperature,
        max_tokens=prompt.max_tokens,
        prompt=prompt,
        shadow=True,
    )
    llm = cast("LLM", step.llm)
    if step.bound.definition.limits_money and (why := unpriced(llm, same)):
        raise ModelRefused(why)
    with Outside(f"shadow {step.run.state}"):
        return await pick(llm, same)


def _heard(answer: "asyncio.Task[tuple[Answer, Picked]]") -> None:
    """Nobody may be there any more to take note of how it failed."""
    if not answer.cancelled():
        answer.exception()


def end_shadows(shadows: list[Shadow], live: Object) -> Object:
    """What came of them, for the event of the model's own answer; those that are late are given up."""
    found: Object = {}
    for shadow in shadows:
        entry: Object = {"hash": shadow.prompt.hash}
        if not shadow.answer.done():
            shadow.answer.cancel()
            entry["late"] = True
        else:
            entry |= _outcome(shadow.answer, live)
        found[shadow.prompt.variant] = entry
    return {"shadow": found} if found else {}


def _outcome(answer: "asyncio.Task[tuple[Answer, Picked]]", live: Object) -> Object:
    error = None if answer.cancelled() else answer.exception()
    if error is not None or answer.cancelled():
        usage = error.usage if isinstance(error, ModelError) else None
        spent: Object | None = {} if isinstance(error, BadCompletion) else None  # it was asked, and answered something
        if usage is not None:
            spent = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens, "cost": usage.cost}
        return {"error": one_line(error) if error else "cancelled", **({"usage": spent} if spent is not None else {})}
    given, picked = answer.result()
    said: Object = {"reply": reply_body(picked.reply)} if picked.reply is not None else {"call": picked.json()}
    said |= waiting(picked.queue)
    return {
        **said,
        "intent": picked.intent,
        "model": given.model,
        "usage": given.usage.json(),
        **_agrees(picked.intent, said, live),
    }


def _agrees(intent: str, said: Object, live: Object) -> Object:
    """Does it say what the model says, that is, the same intent, and the same with everything that comes with it, calls that follow
    included? Nothing is known of a model that answered nothing."""
    call = cast("Object | None", live.get("call") or live.get("considered"))
    if call is not None:
        same: Object = {"call": {name: call[name] for name in ("tool_name", "arguments")}}
        same |= {"queue": live["queue"]} if "queue" in live else {}
        own = call["tool_name"]
    elif "reply" in live:
        same = {"reply": live["reply"]}
        own = cast("Object", live["reply"])["intent"]
    else:
        return {}
    return {"same_intent": own == intent, "same": said == same}
