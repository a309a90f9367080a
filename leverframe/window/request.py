"""One question to a model, put together: the prompt's templates, the memory, the choices and as much of the window as there is room for.

Made of data alone, so that it can be made again from the log, byte for byte (`leverframe.window.rebuild`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

from leverframe.canon import Object, stored
from leverframe.errors import WindowOverflow
from leverframe.llm import estimated_tokens
from leverframe.machine import Spec
from leverframe.prompt import LEAST_WINDOW, Message, Prompt, render
from leverframe.template import fill
from leverframe.window.window import BUDGET, View, Window

ANSWER = 1_024
"""Tokens kept free for the answer, where a prompt does not say `max_tokens`."""
_MARGIN = 32  # of what providers put around messages


@dataclass(frozen=True, slots=True)
class Question:
    """What is sent, and what of it an event keeps: only what the log does not hold already."""

    messages: list[Message]
    variables: Object  # that the templates were filled with
    budget: int  # of the window, in estimated tokens
    tokens: int  # of the messages, estimated

    def kept(self, prompt: Prompt) -> Object:
        return {"name": prompt.name, "variant": prompt.variant, "hash": prompt.hash, "budget": self.budget, "tokens": self.tokens}


def question(
    prompt: Prompt,
    spec: Spec,
    window: Window,
    memory: Object,
    choices: str,
    *,
    budget: int | None = None,
    context: int | None = None,
) -> Question:
    """`budget` is given where it is known from before; else it is what the prompt says, and what a model with that context leaves.

    Raises PromptError, WindowOverflow.
    """
    known = cast("Object", stored(window.secrets.memory(memory)))
    if budget is None:
        budget = _budget(prompt, window.factor(), context, lambda: render(prompt, _variables(known, choices, "")))
    variables = _variables(known, choices, window.text(view(spec, budget)) if _shows(prompt) else "")
    messages = render(prompt, variables)
    return Question(messages, variables, budget, _tokens(messages))


def _shows(prompt: Prompt) -> bool:
    """May a template of it use the window? One that does not need not have room for it."""
    return "window" in prompt.text or bool(prompt.partials)


def view(spec: Spec, budget: int) -> View:
    """What a state wants to see."""
    text = spec.body.get("error")
    return View(
        budget, cast("dict[str, int]", spec.body.get("scores") or {}), partial(_worded, text) if isinstance(text, str) else None
    )


def _worded(template: str, error: Object) -> str:
    known: Object = {"type": "", "source": "", "cause": "", "remedy": "", **error}
    return str(fill(template, known, "prompts/…/_error.md")).strip()


def _variables(memory: Object, choices: str, text: str) -> Object:
    return {**memory, "memory": memory, "window": text, "choices": choices}


def _budget(prompt: Prompt, factor: float, context: int | None, empty: Callable[[], list[Message]]) -> int:
    """In estimated tokens: what the provider counted before says how many of them it takes for one."""
    wanted = prompt.window or BUDGET
    known = min((size for size in (prompt.context, context) if size), default=None)
    budget = int(wanted / factor)
    if known is not None:
        rest = _tokens(empty()) + _MARGIN
        budget = min(budget, int((known - (prompt.max_tokens or ANSWER)) / factor) - rest)
    if budget < LEAST_WINDOW:
        why = f"the model takes {known} tokens, and prompt and answer leave" if known else "by the count of this provider that is"
        raise WindowOverflow(
            f"{prompt.where}: the window has {wanted} tokens; {why} {max(0, budget)}, and one has at least {LEAST_WINDOW}"
        )
    return budget


def _tokens(messages: Sequence[Message]) -> int:
    return sum(estimated_tokens(message.content) for message in messages)
