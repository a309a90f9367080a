"""One question to a model. What comes is data until the choices have validated it; every fault of it is the `error` edge."""

from typing import cast

from leverframe.canon import Object
from leverframe.clock import SECOND
from leverframe.errors import (
    BadCompletion,
    ModelRefused,
    ModelUnavailable,
    PromptError,
)
from leverframe.llm import LLM, Request, pick
from leverframe.perform.calls import backoff
from leverframe.perform.following import call_body, waiting
from leverframe.perform.memory import fault, one_line
from leverframe.perform.replies import keep_reply, reply_body
from leverframe.perform.step import Draft, Step, Stuck
from leverframe.prompt import choose, render
from leverframe.state import (
    Reply,
)
from leverframe.store.boundary import outside

WINDOW_TOKENS = 8000
MODEL_ATTEMPTS = 5


async def ask(step: Step) -> Draft:
    """One model call. What came is data until the choices have validated it; every fault of it is the `error` edge."""
    name = step.run.state
    body: Object = {"state": name}
    try:
        request, manifest = _request(step)
    except PromptError as error:
        raise Stuck(str(error)) from error
    body |= {"prompt": manifest}
    llm = cast(LLM, step.llm)
    try:
        with outside(f"model {name}"):
            answer, picked = await pick(llm, request)
    except ModelRefused as error:
        return Draft("blocked", {"reason": f"{one_line(error)}; put it right, then `leverframe retry {step.run.id}`"})
    except ModelUnavailable as error:
        return _later(step, body, error)
    except BadCompletion as error:
        spent: Object = {}
        if error.usage:
            tokens = {"input_tokens": error.usage.input_tokens, "output_tokens": error.usage.output_tokens}
            spent = {"usage": {**tokens, "cost": error.usage.cost}}
        return Draft("asked", {**body, **spent, "outcome": "error", "error": fault(error, "model")})
    body |= {"model": answer.model, "usage": answer.usage.json(), "request": answer.request_hash}
    body |= {} if picked.confidence is None else {"confidence": picked.confidence}
    if picked.call is not None:
        call = call_body(picked.call)
        body |= waiting(picked.queue)
        return Draft(
            "asked",
            {
                **body,
                **({"considered": call, "outcome": "unsure"} if picked.unsure else {"call": call, "outcome": picked.intent}),
            },
        )
    reply = cast(Reply[str], picked.reply)
    body["reply"] = reply_body(reply)
    if picked.unsure:
        return Draft("asked", {**body, "outcome": "unsure"})
    return Draft("asked", {**body, **keep_reply(step, reply)})


def _request(step: Step) -> tuple[Request, Object]:
    name, run = step.run.state, step.run
    prompt = choose(step.bound.prompts_of(name), run.id)
    choices = step.bound.choices_of(name)
    text, kept = step.window.text(WINDOW_TOKENS) if step.window else ("", {})
    variables = {**run.memory, "memory": run.memory, "window": text, "choices": choices.describe()}
    request = Request(
        messages=render(prompt, variables),
        choices=choices,
        model=step.model or prompt.model or "",
        temperature=prompt.temperature,
        max_tokens=prompt.max_tokens,
        run_id=run.id,
        state=name,
        prompt=prompt,
        memory=run.memory,
    )
    return request, {"name": prompt.name, "variant": prompt.variant, **kept}


def _later(step: Step, body: Object, error: ModelUnavailable) -> Draft:
    """The provider is at fault, not the model: again with back-off, never pasted into the prompt; in the end an `error`."""
    attempts = (step.run.postponed[1] if step.run.postponed else 0) + 1
    if attempts >= MODEL_ATTEMPTS:
        return Draft(
            "asked",
            {
                **body,
                "why": one_line(error),
                "outcome": "error",
                "error": {"type": "ModelUnavailable", "source": "model", "cause": "the model is unavailable"},
            },
        )
    seconds = backoff(attempts - 1) if error.retry_after is None else min(error.retry_after, 3600.0)
    until = step.clock.now() + int(seconds * SECOND)
    return Draft("postponed", {"state": step.run.state, "until": until, "attempts": attempts, "why": one_line(error)})
