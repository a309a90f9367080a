"""Real models: any OpenAI-compatible server, through instructor in its JSON_SCHEMA mode.

Nothing is sent but the rendered messages, the schema and the prompt's own settings; nothing is retried, added or logged here.
The traps of the libraries below (hidden retries, re-ask texts, values in logs, re-ordered schemas) stay in this module. Both
libraries cost most of a second to import, so they are imported by the first question.
"""

import asyncio
import json
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Protocol, cast
from weakref import WeakKeyDictionary

from pydantic import BaseModel, ConfigDict

from leverframe.canon import Json, Object
from leverframe.clock import Clock, SystemClock
from leverframe.errors import UnknownModel, did_you_mean
from leverframe.llm.choices import Choices
from leverframe.llm.failures import failure
from leverframe.llm.seam import Answer, Request, Usage, estimated_tokens, request_hash

_SCHEMA_NAME = "next"


@dataclass(frozen=True, slots=True)
class Provider:
    """An OpenAI-compatible service. `strict`: it takes `"strict": true` with a schema and keeps to it."""

    base_url: str
    keyed: bool = True
    strict: bool = False
    limit: str = "max_tokens"


PROVIDERS = {
    "openai": Provider("https://api.openai.com/v1", strict=True, limit="max_completion_tokens"),
    "openrouter": Provider("https://openrouter.ai/api/v1", strict=True),
    "groq": Provider("https://api.groq.com/openai/v1"),
    "mistral": Provider("https://api.mistral.ai/v1"),
    "together": Provider("https://api.together.xyz/v1"),
    "fireworks": Provider("https://api.fireworks.ai/inference/v1"),
    "ollama": Provider("http://localhost:11434/v1", keyed=False),
}
NOT_YET = {"anthropic", "google", "gemini", "vertexai", "bedrock", "cohere"}

Prices = Mapping[str, tuple[float, float]]
"""Dollars for a million tokens in and out, by model name: `{"openai/gpt-4o-mini": (0.15, 0.60)}`."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one model is asked, and how."""

    model: str
    name: str
    base_url: str
    api_key: str
    strict: bool
    limit: str


class InstructorLLM:
    """Models named `provider/model`, with keys from `<PROVIDER>_API_KEY` and other addresses from `<PROVIDER>_BASE_URL`.

    base_url, api_key   of the provider in `model`; with a `base_url`, any provider name will do
    strict              send `"strict": true` with the schema; default: where the provider is known to take it
    prices              what tokens cost; the cost of a model that is not in it is unknown (None), unless the provider says it
    Raises UnknownModel.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        strict: bool | None = None,
        prices: Prices | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.model = model
        self._base_url, self._api_key, self._strict = base_url, api_key, strict
        self._prices = prices or {}
        self._clock = clock or SystemClock()
        # Connections belong to the event loop they were opened in, and a blocking door may run several loops one after the other.
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str], _Client]] = WeakKeyDictionary()
        self.endpoint(model)

    async def ask(self, request: Request) -> Answer:
        endpoint = self.endpoint(request.model or self.model)
        digest = request_hash(request.messages)
        arrived = _Arrived(lambda completion: self._usage(endpoint, request, completion))
        try:
            async with asyncio.timeout(request.timeout):
                chosen = await self._create(endpoint, request, arrived)
        except Exception as error:  # noqa: BLE001 - `failure` gives back what is nobody's fault but ours
            now = self._clock.now()
            raise failure(error, arrived.completion, endpoint.model, request.timeout, now, arrived.usage) from None
        return Answer(chosen, arrived.usage or Usage(), _reported_model(endpoint, arrived.completion), digest)

    async def close(self) -> None:
        """Close the connections of this event loop."""
        for client in self._clients.pop(asyncio.get_running_loop(), {}).values():
            await client.close()

    def endpoint(self, model: str) -> Endpoint:
        """Where a model is asked. Raises UnknownModel: no such provider, no key, no address."""
        provider, _, name = model.partition("/")
        if not provider or not name:
            raise UnknownModel(f"model {model[:80]!r}: write provider/model, as in openai/gpt-4o-mini, or 'examples'")
        own = provider == self.model.partition("/")[0]
        variable = re.sub(r"\W", "_", provider).upper()
        address = (self._base_url if own else None) or os.environ.get(f"{variable}_BASE_URL")
        known = PROVIDERS.get(provider)
        if not address and not known:
            raise UnknownModel(_unknown(provider, variable))
        key = (self._api_key if own else None) or os.environ.get(f"{variable}_API_KEY", "")
        if not key and not address and known and known.keyed:
            raise UnknownModel(
                f"model {model}: set {variable}_API_KEY to the provider's key, or use the offline model 'examples'"
            )
        if not key.isascii() or not key.isprintable() or (address and not re.match(r"https?://[^/\s]", address)):
            raise UnknownModel(
                f"model {model}: {variable}_API_KEY or the base URL is malformed; a URL begins with http:// or https://"
            )
        known = known or Provider("")
        strict = self._strict if self._strict is not None else known.strict and not address
        return Endpoint(model, name, (address or known.base_url).rstrip("/"), key or "none", strict, known.limit)

    async def _create(self, endpoint: Endpoint, request: Request, arrived: "_Arrived") -> Json:
        """The one call. What comes back stands in `arrived` as soon as it is there, whatever happens to it afterwards."""
        settings: dict[str, object] = {"model": endpoint.name, "timeout": request.timeout}
        if request.temperature is not None:
            settings["temperature"] = request.temperature
        if request.max_tokens is not None:
            settings[endpoint.limit] = request.max_tokens
        if endpoint.strict and request.choices.strict:
            settings["extra_body"] = {"response_format": _strict_format(request.choices)}
        answered = await self._client(endpoint).create(
            [{"role": message.role, "content": message.content} for message in request.messages],
            _response(request.choices.schema_text),
            arrived,
            settings,
        )
        return cast(Json, answered.next)

    def _client(self, endpoint: Endpoint) -> "_Client":
        clients = self._clients.setdefault(asyncio.get_running_loop(), {})
        where = (endpoint.base_url, endpoint.api_key)
        if where not in clients:
            clients[where] = _Client(*where)
        return clients[where]

    def _usage(self, endpoint: Endpoint, request: Request, completion: object) -> Usage:
        """Tokens as the provider counted them, else an estimate; the cost by our prices, else as the provider says."""
        usage = getattr(completion, "usage", None)
        counts = [getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens")]
        estimated = not all(isinstance(count, int) and 0 <= count < 2**53 for count in counts)
        if estimated:
            counts = [
                sum(estimated_tokens(message.content) for message in request.messages),
                estimated_tokens(_content(completion)),
            ]
        taken, given = cast(list[int], counts)
        dollars = getattr(usage, "cost", None)
        cost = round(dollars * 1e6) if isinstance(dollars, int | float) and 0 <= dollars < 1e6 else None
        if endpoint.model in self._prices:
            price_in, price_out = self._prices[endpoint.model]
            cost = round(taken * price_in + given * price_out)  # dollars for a million tokens are millionths for one
        return Usage(taken, given, cost, estimated)


class _Arrived:
    """A completion, noted before instructor looks at it: it changes the usage it finds, and may raise."""

    completion: object = None
    usage: Usage | None = None

    def __init__(self, count: Callable[[object], Usage]) -> None:
        self._count = count

    def __call__(self, completion: object) -> None:
        self.completion = completion
        self.usage = self._count(completion)


def _unknown(provider: str, variable: str) -> str:
    if provider in NOT_YET:
        return (
            f"provider {provider!r} is not built in yet: its own API needs another adapter. Ask it through an OpenAI-compatible "
            f"gateway (openrouter/…, or base_url=…)"
        )
    known = sorted(PROVIDERS)
    return (
        f"unknown provider {provider[:80]!r}; known are {', '.join(known)}.{did_you_mean(provider, known)} For any other "
        f"OpenAI-compatible server set {variable}_BASE_URL or base_url"
    )


def _reported_model(endpoint: Endpoint, completion: object) -> str:
    """The exact version that answered, where the server says so."""
    reported = getattr(completion, "model", None)
    provider, _, _ = endpoint.model.partition("/")
    return f"{provider}/{reported[:200]}" if isinstance(reported, str) and reported else endpoint.model


def _content(completion: object) -> str:
    choices = getattr(completion, "choices", None)
    first = cast(Sequence[object], choices)[0] if isinstance(choices, list) and choices else None
    content = getattr(getattr(first, "message", None), "content", None)
    return content if isinstance(content, str) else ""


# --- the libraries below ------------------------------------------------------------------------------------------------------


class _Answered(BaseModel):
    """What instructor parses into. The choice itself stays data: `Choices.parse` is the one place that validates it."""

    model_config = ConfigDict(extra="forbid", defer_build=True)
    next: dict[str, object] | list[object]
    sent: ClassVar[Object] = {}

    @classmethod
    def model_json_schema(cls, *_: object, **__: object) -> dict[str, Json]:
        return cls.sent


class _Creates(Protocol):
    async def create_with_completion(self, **arguments: object) -> tuple[_Answered, object]: ...


class _Closes(Protocol):
    async def close(self) -> None: ...


class _Client:
    """One connection pool, seen through instructor."""

    def __init__(self, base_url: str, api_key: str) -> None:
        import openai

        instructor = _instructor()
        below = openai.AsyncOpenAI(base_url=base_url, api_key=api_key, max_retries=0)
        self._below: _Closes = below
        self._create = cast(_Creates, instructor.from_openai(below, mode=instructor.Mode.JSON_SCHEMA))

    async def create(
        self,
        messages: list[dict[str, str]],
        response: type[_Answered],
        seen: Callable[[object], None],
        settings: Mapping[str, object],
    ) -> _Answered:
        from instructor.core.hooks import Hooks

        hooks = Hooks()
        hooks.on("completion:response", seen)
        answered, _ = await self._create.create_with_completion(
            messages=messages, response_model=response, max_retries=0, hooks=hooks, **settings
        )
        return answered

    async def close(self) -> None:
        await self._below.close()


class _Instructor(Protocol):
    """The part of instructor that is used, typed."""

    class Modes(Protocol):
        JSON_SCHEMA: object

    Mode: Modes
    ResponseSchema: type[BaseModel]

    def from_openai(self, client: object, *, mode: object) -> object: ...


@lru_cache(maxsize=1)
def _instructor() -> _Instructor:
    import instructor

    # It logs rejected values and whole prompts, at ERROR too.
    logging.getLogger("instructor").setLevel(logging.CRITICAL + 1)
    return cast(_Instructor, instructor)


@lru_cache(maxsize=256)
def _response(schema_text: str) -> type[_Answered]:
    """The response class of a schema. instructor sends its `__name__`, and would wrap any class that is not its own each time."""
    members = {"sent": json.loads(schema_text), "__module__": __name__, "__annotations__": {"sent": ClassVar[Object]}}
    return cast(type[_Answered], type(_SCHEMA_NAME, (_Answered, _instructor().ResponseSchema), members))


def _strict_format(choices: Choices) -> Object:
    return {"type": "json_schema", "json_schema": {"name": _SCHEMA_NAME, "strict": True, "schema": choices.schema}}
