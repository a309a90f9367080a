"""One question to a model. What comes is data until the choices have validated it; every fault of it is the `error` edge."""

from typing import cast

from leverframe.canon import Object
from leverframe.clock import SECOND
from leverframe.errors import (
    BadCompletion,
    ModelRefused,
    ModelUnavailable,
    PromptError,
    WindowOverflow,
)
from leverframe.llm import LLM, Request, context_of, pick, request_hash
from leverframe.perform.calls import backoff, call_body
from leverframe.perform.memory import fault, one_line
from leverframe.perform.replies import keep_reply, reply_body
from leverframe.perform.step import Draft, Step, Stuck
from leverframe.prompt import choose
from leverframe.state import (
    Reply,
)
from leverframe.store.boundary import outside
from leverframe.window import Window, question

MODEL_ATTEMPTS = 5


async def ask(step: Step) -> Draft:
    """One model call. What came is data until the choices have validated it; every fault of it is the `error` edge."""
    name = step.run.state
    body: Object = {"state": name}
    try:
        request, kept = _request(step)
    except PromptError as error:
        raise Stuck(str(error)) from error
    except WindowOverflow as error:
        return Draft("asked", {**body, "outcome": "error", "error": fault(error, "window")})
    body |= {"prompt": kept}
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
        asked: Object = {"request": request_hash(request.messages)}
        return Draft("asked", {**body, **spent, **asked, "outcome": "error", "error": fault(error, "model")})
    body |= {"model": answer.model, "usage": answer.usage.json(), "request": answer.request_hash}
    body |= {} if picked.confidence is None else {"confidence": picked.confidence}
    if picked.call is not None:
        call = call_body(picked.call)
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
    model = step.model or prompt.model or ""
    asked = question(
        prompt, step.spec, step.window or Window(), run.memory, choices.describe(), context=context_of(step.llm, model)
    )
    request = Request(
        messages=asked.messages,
        choices=choices,
        model=model,
        temperature=prompt.temperature,
        max_tokens=prompt.max_tokens,
        run_id=run.id,
        state=name,
        prompt=prompt,
        memory=run.memory,
    )
    return request, asked.kept(prompt)


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
