"""Real models behind HTTP: one question, at most one attempt, one answer or one typed error.

Nothing is sent but the rendered messages, the schema and the prompt's own settings; nothing is retried, added or logged here. What
the APIs want and answer is in `chat`, `messages` and `gemini`, what comes over the line in `line`.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast
from weakref import WeakKeyDictionary

from leverframe.canon import Json, Object
from leverframe.clock import Clock, SystemClock
from leverframe.errors import ModelError, ModelUnavailable
from leverframe.faults import cut_off
from leverframe.llm import chat, gemini, line, messages, reading
from leverframe.llm.endpoints import Endpoint, Mode, Own, endpoint_of
from leverframe.llm.failures import failure
from leverframe.llm.pace import Pace, Rate
from leverframe.llm.prices import Prices, PriceTable, context_window
from leverframe.llm.reading import Counts, Reading
from leverframe.llm.seam import Answer, Request, Usage, estimated_tokens, request_hash

if TYPE_CHECKING:
    from httpx2 import AsyncClient

TIMEOUT = 60.0
"""Seconds for one answer, where nobody set another time."""

ANSWER_TOKENS = 500
"""What an answer is taken for before it is there, where the prompt has no max_tokens: only rates are reckoned with it."""


class _Dialect(Protocol):
    """An API that is spoken without a library."""

    def call(self, endpoint: Endpoint, request: Request, streams: bool) -> tuple[str, Mapping[str, str], Object]: ...
    def read(self, answer: Object, endpoint: Endpoint) -> Reading: ...


_SPOKEN = {"messages": cast("_Dialect", messages), "gemini": cast("_Dialect", gemini)}
_GATHERED: dict[str, type[line.Gathering]] = {"chat": chat.Gathered, "messages": messages.Gathered, "gemini": gemini.Gathered}
_Seen: TypeAlias = "Callable[[Reading], None]"


class RemoteLLM:
    """Models named `provider/model`, with keys from `<PROVIDER>_API_KEY` and other addresses from `<PROVIDER>_BASE_URL`.

    base_url, api_key   of the provider in `model`; with a `base_url`, any provider name will do
    strict              send `"strict": true` with the schema; default: where the provider is known to take it
    modes               by model's name, how the schema is sent: `json_schema` (default) or `tools`
    prices              what tokens cost, over what is known of the model; the cost of an unknown one is None, unless the provider says it
    rates               by provider, the requests and tokens that are sent in a minute
    timeout             seconds for one answer
    Raises UnknownModel.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        strict: bool | None = None,
        modes: Mapping[str, Mode] | None = None,
        prices: Prices | None = None,
        rates: Mapping[str, Rate] | None = None,
        timeout: float = TIMEOUT,
        clock: Clock | None = None,
    ) -> None:
        self.model = model
        self._own = Own(model.partition("/")[0], base_url, api_key, strict, modes or {})
        self._prices = PriceTable(prices or {})
        self._timeout = timeout
        self._clock = clock or SystemClock()
        self._pace = Pace(rates or {}, self._clock)
        # Connections belong to the event loop they were opened in, and a blocking door may run several loops one after the other.
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = WeakKeyDictionary()
        self.endpoint(model)

    def endpoint(self, model: str) -> Endpoint:
        """Where a model is asked. Raises UnknownModel: no such provider, no key, no address."""
        return endpoint_of(model, self._own)

    def context(self, model: str) -> int | None:
        """How many tokens that model takes, its answer included, where that is known."""
        return context_window(model or self.model)

    def unpriced(self, request: Request) -> str:
        """Why the cost of a call would be unknown, and what to do; empty where the price is known."""
        model = request.model or self.model
        return "" if self._prices.knows(model) else self._prices.unknown(model)

    def cost(self, model: str, input_tokens: int, output_tokens: int) -> int:
        """What a call of so many tokens would cost, in millionths of a dollar; 0 where no price is known."""
        return self._prices.cost(model or self.model, Counts(input_tokens, output_tokens)) or 0

    async def ask(self, request: Request) -> Answer:
        """One answer, at most one attempt. Raises BadCompletion, ModelUnavailable, UnknownModel."""
        endpoint = self.endpoint(request.model or self.model)
        digest, taken = request_hash(request.messages), _estimated(request)
        reserved = await self._pace.enter(endpoint, taken + (request.max_tokens or ANSWER_TOKENS))
        asked = _Asked(self._prices, endpoint, taken)
        timeout = request.timeout or self._timeout
        call = line.Call(_GATHERED[endpoint.api](), request.watch)
        try:
            async with asyncio.timeout(timeout):
                with line.on(call):
                    chosen = await self._line().ask(endpoint, replace(request, timeout=timeout), call.streams, asked.see)
        except Exception as error:  # noqa: BLE001 - `failure` gives back what is nobody's fault but ours
            usage = asked.usage or (asked.spent("") if call.heard else None)
            wrong = failure(error, asked.reading, endpoint.model, timeout, self._clock.now(), usage)
            self._failed(endpoint, reserved, usage, wrong)
            raise wrong from None
        usage = asked.usage or Usage()
        self._pace.settle(endpoint, reserved, usage)
        return Answer(chosen, usage, asked.model, digest)

    def _failed(self, endpoint: Endpoint, reserved: int, usage: Usage | None, wrong: Exception) -> None:
        if isinstance(wrong, ModelError) and len(endpoint.api_key) > 7:
            said = str(wrong).replace(endpoint.api_key, "…")  # servers quote what they refuse
            left = cut_off(said, endpoint.api_key)
            wrong.args = (f"{said[:-left]}…" if left else said,)
        if usage is not None:
            self._pace.settle(endpoint, reserved, usage)
        if isinstance(wrong, ModelUnavailable) and wrong.retry_after:
            self._pace.rest(endpoint, wrong.retry_after)

    async def close(self) -> None:
        """Close the connections of this event loop."""
        found = self._lines.pop(asyncio.get_running_loop(), None)
        if found is not None:
            await found.connections.aclose()

    def _line(self) -> "_Line":
        loop = asyncio.get_running_loop()
        if loop not in self._lines:
            self._lines[loop] = _Line()
        return self._lines[loop]


class _Line:
    """What one event loop has open."""

    def __init__(self) -> None:
        self.connections: AsyncClient = line.connections()
        self._chats: dict[Endpoint, chat.Chat] = {}

    async def ask(self, endpoint: Endpoint, request: Request, streams: bool, seen: _Seen) -> Json:
        if endpoint.api == "chat":
            known = replace(endpoint, model="", name="", strict=False)
            if known not in self._chats:
                self._chats[known] = chat.Chat(known, self.connections)
            return await self._chats[known].ask(endpoint, request, streams, seen)
        return await self._speak(_SPOKEN[endpoint.api], endpoint, request, streams, seen)

    async def _speak(self, api: _Dialect, endpoint: Endpoint, request: Request, streams: bool, seen: _Seen) -> Json:
        status, headers, content = await line.post(self.connections, *api.call(endpoint, request, streams))
        if status != 200:
            raise line.Status(status, headers, _body(content))
        found = _read(api, content, endpoint)
        seen(found)
        return reading.chosen(found)


class _Asked:
    """One question under way: what arrived, noted before anybody looks at it, and what it cost."""

    def __init__(self, prices: PriceTable, endpoint: Endpoint, taken: int) -> None:
        self._prices, self._endpoint, self._taken = prices, endpoint, taken
        self.reading: Reading | None = None
        self.usage: Usage | None = None

    def see(self, found: Reading) -> None:
        self.reading = found
        content = found.content if isinstance(found.content, str) else json.dumps(found.content)
        self.usage = self.spent(content, found)

    def spent(self, content: str, found: Reading | None = None) -> Usage:
        """Tokens as the provider counted them, else an estimate; the cost by our prices, else as the provider says."""
        told = found.counts if found else None
        counts = told or Counts(self._taken, estimated_tokens(content))
        cost = self._prices.cost(self._endpoint.model, counts)
        if cost is None and found is not None and found.dollars is not None:
            cost = round(found.dollars * 1e6)
        return Usage(counts.input, counts.output, cost, told is None, counts.cached, counts.reasoning)

    @property
    def model(self) -> str:
        """The exact version that answered, where the server says so."""
        said = self.reading.model if self.reading else ""
        return f"{self._endpoint.provider}/{said[:200]}" if said else self._endpoint.model


def _estimated(request: Request) -> int:
    return sum(estimated_tokens(message.content) for message in request.messages)


def _body(content: bytes) -> object:
    """What an error says; nothing where it is not JSON."""
    try:
        return cast("object", json.loads(content))
    except (ValueError, RecursionError):
        return None


def _read(api: _Dialect, content: bytes, endpoint: Endpoint) -> Reading:
    """Raises ValueError and RecursionError for what is not JSON."""
    if content.lstrip()[:1] == b"<":
        return Reading(page=True)
    answer: object = json.loads(content, object_pairs_hook=reading.once)
    return api.read(cast("Object", answer), endpoint) if isinstance(answer, dict) else Reading(trouble="the answer is no object")
