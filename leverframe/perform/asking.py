"""One question to a model. What comes is data until the choices have validated it; every fault of it is the `error` edge."""

from dataclasses import replace
from typing import cast

from leverframe.canon import Json, Object, admit
from leverframe.clock import SECOND
from leverframe.errors import (
    BadCompletion,
    ModelError,
    ModelRefused,
    ModelUnavailable,
    PromptError,
    WindowOverflow,
)
from leverframe.llm import LLM, Picked, Request, context_of, pick, request_hash, unpriced
from leverframe.perform.calls import backoff
from leverframe.perform.following import call_body, waiting
from leverframe.perform.memory import fault, one_line
from leverframe.perform.replies import keep_reply, said
from leverframe.perform.step import Draft, Step, Stuck
from leverframe.perform.telling import begin_shadows, end_shadows, prompt_of, prompts_for
from leverframe.prompt import Prompt
from leverframe.state import (
    Reply,
)
from leverframe.store.boundary import Outside
from leverframe.window import Window, question

MODEL_ATTEMPTS = 5


async def ask(step: Step) -> Draft:
    """One model call, and those of shadows beside it, which the run does not notice."""
    prompts = prompts_for(step)
    prompt = prompt_of(step, prompts)
    try:
        request, manifest, variables = _request(step, prompt)
    except PromptError as error:
        raise Stuck(str(error)) from error
    except WindowOverflow as error:
        told: Object = {"name": prompt.name, "variant": prompt.variant, "hash": prompt.hash}  # and no budget: nothing was sent
        return Draft("asked", {"state": step.run.state, "prompt": told, "outcome": "error", "error": fault(error, "window")})
    shadows = await begin_shadows(step, prompts, request, variables)
    live: Object = {}
    try:
        draft = await _answered(step, request, {"state": step.run.state, "prompt": manifest})
        live = draft.body
    finally:
        beside = end_shadows(shadows, live)
    return replace(draft, body={**draft.body, **beside}) if beside else draft


async def _answered(step: Step, request: Request, body: Object) -> Draft:
    """What came is data until the choices have validated it; every fault of it is the `error` edge."""
    name = step.run.state
    llm = cast("LLM", step.llm)
    if step.bound.definition.limits_money and (why := unpriced(llm, request)):
        return Draft("blocked", {"reason": f"{why}; then `leverframe retry {step.run.id}`"})
    try:
        with Outside(f"model {name}"):
            answer, picked = await pick(llm, request)
    except ModelRefused as error:
        body |= _failed(request, error)
        return Draft("blocked", {**body, "reason": f"{one_line(error)}; put it right, then `leverframe retry {step.run.id}`"})
    except ModelUnavailable as error:
        return _later(step, body | _failed(request, error), error)
    except BadCompletion as error:
        return Draft("asked", {**body, **_failed(request, error), "outcome": "error", "error": fault(error, "model")})
    body |= {"model": answer.model, "usage": answer.usage.json(), "request": answer.request_hash}
    body |= {"tried": [one.json() for one in answer.tried]} if answer.tried else {}
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
    reply = cast("Reply[str]", picked.reply)
    body |= said(reply, _given(answer.chosen, picked))
    if picked.unsure:
        return Draft("asked", {**body, "outcome": "unsure"})
    return Draft("asked", {**body, **keep_reply(step, reply)})


def _given(chosen: Json, picked: Picked) -> Object:
    """A reply as the model gave it, without how sure it was."""
    only = cast("Object", admit(chosen[0] if isinstance(chosen, list) else chosen, what="next"))
    return only if picked.confidence is None else {key: value for key, value in only.items() if key != "confidence"}


def _request(step: Step, prompt: Prompt) -> tuple[Request, Object, Object]:
    name, run = step.run.state, step.run
    choices = step.bound.choices_of(name)
    model = prompt.model or step.model
    window, context = step.window or Window(), context_of(step.llm, model)
    asked = question(prompt, step.spec, window, run.memory, choices.described, context=context)
    request = Request(
        messages=asked.messages,
        choices=choices,
        model=model,
        temperature=prompt.temperature,
        max_tokens=prompt.max_tokens,
        run_id=run.id,
        state=name,
        prompt=prompt,
        memory=cast("Object", asked.variables["memory"]),
    )
    return request, asked.kept(prompt), asked.variables


def _failed(request: Request, error: ModelError) -> Object:
    """What an attempt asked that failed, and what it cost, where anybody could say so."""
    sent: Object = {"request": request_hash(request.messages)}
    if error.usage is None:
        return sent
    tokens = {"input_tokens": error.usage.input_tokens, "output_tokens": error.usage.output_tokens}
    return {**sent, "usage": {**tokens, "cost": error.usage.cost}}


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
    return Draft("postponed", {**body, "until": until, "attempts": attempts, "why": one_line(error)})
