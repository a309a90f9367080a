"""The seam to models: one method. What goes in is data, what comes out is data, and nothing of a provider shows through."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Protocol, cast

from leverframe.canon import Json, Object
from leverframe.errors import BadCompletion, NotJson, Spent
from leverframe.llm.choices import Choices, Picked
from leverframe.prompt import Message, Prompt

_ASCII = bytes(range(128))
_LETTERS = b" abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Usage:
    """What one call used up. `cost` is in millionths of a dollar, None where nobody told us the price.

    `estimated`: the provider reported no tokens, so they are counted by a rule of thumb. Cached tokens are among those of the
    input, those of reasoning among those of the output.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cost: int | None = None
    estimated: bool = False
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    def json(self) -> Object:
        some = {"cached_tokens": self.cached_tokens, "reasoning_tokens": self.reasoning_tokens}
        return {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost": self.cost,
            "estimated": self.estimated,
            **{name: count for name, count in some.items() if count},
        }

    def and_of(self, other: Spent) -> "Usage":
        """Of both attempts together; the cost is unknown where that of one of them is."""
        return replace(
            self,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cost=None if self.cost is None or other.cost is None else self.cost + other.cost,
        )


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a model: the rendered messages, and what may be answered.

    `model` names one or, with commas, several in turn, over the one that is configured. `timeout` is in seconds; None: the model's
    own. `watch` hears the answer's text piece by piece as it comes, which changes nothing of the answer. `prompt` and `memory` are
    for models that answer without reading (`examples`); a provider gets neither. `shadow`: the answer is compared and never acted on.
    """

    messages: Sequence[Message]
    choices: Choices
    model: str = ""
    temperature: float | None = None
    max_tokens: int | None = None
    timeout: float | None = None
    run_id: str = ""
    state: str = ""
    prompt: Prompt | None = None
    memory: Mapping[str, Json] = field(default_factory=dict[str, Json])
    shadow: bool = False
    watch: Callable[[str], None] | None = None


@dataclass(frozen=True, slots=True)
class Tried:
    """A model that was asked first and was unavailable, and why; `usage` is what that attempt cost, where anybody said so."""

    model: str
    why: str
    usage: Spent | None = None

    def json(self) -> Object:
        return {"model": self.model, "why": self.why}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered: `chosen` as it came, not validated yet; `request.choices.parse` does that.

    `request_hash` is the SHA-256 of the messages' bytes (see `sent`). `usage` is that of all attempts, those in `tried` included.
    """

    chosen: Json
    usage: Usage
    model: str
    request_hash: str
    tried: tuple[Tried, ...] = ()


class LLM(Protocol):
    """A model. One that answers without asking anybody has a true attribute `offline` besides, and one that knows prices a method
    `unpriced(request) -> str`, which says why a call's cost would be unknown, and `cost(model, input_tokens, output_tokens) -> int`."""

    async def ask(self, request: Request) -> Answer:
        """One answer, at most one attempt. Raises BadCompletion, ModelUnavailable."""
        ...


def is_offline(llm: LLM) -> bool:
    """Answers without a real model: a run remembers that and is never continued by the other kind."""
    return bool(getattr(llm, "offline", False))


def unpriced(llm: LLM, request: Request) -> str:
    """Why nobody could say what this call costs, and what to do about it; empty where that is known."""
    says = cast("Callable[[Request], str] | None", getattr(llm, "unpriced", None))
    return says(request) if says is not None else ""


def context_of(llm: LLM | None, model: str) -> int | None:
    """How many tokens a model takes, its answer included, where the LLM has a method `context` that knows it."""
    known = cast("Callable[[str], int | None] | None", getattr(llm, "context", None))
    return known(model) if known else None


def cost_of(llm: LLM | None, model: str, input_tokens: int, output_tokens: int) -> int:
    """What a call of so many tokens would cost, in millionths of a dollar, where the LLM has a method `cost` that knows; else 0."""
    known = cast("Callable[[str, int, int], int] | None", getattr(llm, "cost", None))
    return known(model, input_tokens, output_tokens) if known else 0


async def pick(llm: LLM, request: Request) -> tuple[Answer, Picked]:
    """One answer, validated. Raises BadCompletion (with the usage of the answer that did not fit), ModelUnavailable."""
    answer = await llm.ask(request)
    try:
        return answer, request.choices.parse(answer.chosen)
    except BadCompletion as error:
        error.usage = answer.usage
        raise


_as_sent = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def sent(messages: Sequence[Message]) -> bytes:
    """The messages as they stand in the request body: JSON in UTF-8, `role` before `content`, no spaces.

    Raises NotJson for text that UTF-8 cannot carry.
    """
    data = [{"role": message.role, "content": message.content} for message in messages]
    try:
        return _as_sent(data).encode()
    except UnicodeEncodeError as error:
        raise NotJson(f"the rendered prompt holds a lone surrogate at {error.start}, which is not text; remove it") from None


def request_hash(messages: Sequence[Message]) -> str:
    """SHA-256 of `sent`, hex: what the manifest keeps, so that what the model saw can be rebuilt and verified."""
    return sha256(sent(messages)).hexdigest()


def estimated_tokens(text: str) -> int:
    """About how many tokens a text has, offline: a quarter for a letter or a space, 5/8 for another sign of ASCII, 7/16 for a byte beyond it.

    Measured on two real tokenizers (`benchmarks/tokens.py`): of English, code, JSON and windows between 0.6 and 1.05 of it.
    """
    data = text.encode("utf-8", "replace")
    signs = len(data.translate(None, _LETTERS))
    beyond = 0 if text.isascii() else len(data.translate(None, _ASCII))
    return (4 * (len(data) - signs) + 10 * (signs - beyond) + 7 * beyond + 15) // 16
