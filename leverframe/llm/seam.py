"""The seam to models: one method. What goes in is data, what comes out is data, and nothing of a provider shows through."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol, cast

from leverframe.canon import Json, Object
from leverframe.errors import BadCompletion, NotJson
from leverframe.llm.choices import Choices, Picked
from leverframe.prompt import Message, Prompt

_ASCII = bytes(range(128))
_LETTERS = b" abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Usage:
    """What one call used up. `cost` is in millionths of a dollar, None where nobody told us the price.

    `estimated`: the provider reported no tokens, so they are counted by a rule of thumb.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cost: int | None = None
    estimated: bool = False

    def json(self) -> Object:
        return {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost": self.cost,
            "estimated": self.estimated,
        }


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a model: the rendered messages, and what may be answered.

    `prompt` and `memory` are for models that answer without reading (`examples`); a provider gets neither.
    """

    messages: Sequence[Message]
    choices: Choices
    model: str = ""
    temperature: float | None = None
    max_tokens: int | None = None
    timeout: float = 60.0
    run_id: str = ""
    state: str = ""
    prompt: Prompt | None = None
    memory: Mapping[str, Json] = field(default_factory=dict[str, Json])


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered: `chosen` as it came, not validated yet; `request.choices.parse` does that.

    `request_hash` is the SHA-256 of the messages' bytes as sent (see `sent`).
    """

    chosen: Object
    usage: Usage
    model: str
    request_hash: str


class LLM(Protocol):
    """A model. One that answers without asking anybody has a true attribute `offline` besides."""

    async def ask(self, request: Request) -> Answer:
        """One answer, at most one attempt. Raises BadCompletion, ModelUnavailable."""
        ...


def is_offline(llm: LLM) -> bool:
    """Answers without a real model: a run remembers that and is never continued by the other kind."""
    return bool(getattr(llm, "offline", False))


def context_of(llm: LLM | None, model: str) -> int | None:
    """How many tokens a model takes, its answer included, where the LLM has a method `context` that knows it."""
    known = cast("Callable[[str], int | None] | None", getattr(llm, "context", None))
    return known(model) if known else None


async def pick(llm: LLM, request: Request) -> tuple[Answer, Picked]:
    """One answer, validated. Raises BadCompletion (with the usage of the answer that did not fit), ModelUnavailable."""
    answer = await llm.ask(request)
    try:
        return answer, request.choices.parse(answer.chosen)
    except BadCompletion as error:
        error.usage = answer.usage
        raise


def sent(messages: Sequence[Message]) -> bytes:
    """The messages as they stand in the request body: JSON in UTF-8, `role` before `content`, no spaces.

    Raises NotJson for text that UTF-8 cannot carry.
    """
    data = [{"role": message.role, "content": message.content} for message in messages]
    try:
        return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
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
