"""OpenAI's chat completions, as many servers speak them: asked through instructor, in its JSON_SCHEMA or TOOLS mode.

Nothing is sent but the rendered messages, the schema and the prompt's own settings. The traps of the libraries below (hidden
retries, re-ask texts, invented descriptions, values in logs, re-ordered schemas, answers unlike their types) stay in this module.
Both libraries cost most of a second to import, so they are imported by the first question.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Protocol, cast

from pydantic import BaseModel

from leverframe.canon import Json, Object
from leverframe.llm import reading
from leverframe.llm.endpoints import Endpoint
from leverframe.llm.line import Status
from leverframe.llm.reading import Answered, Reading
from leverframe.llm.seam import Request

if TYPE_CHECKING:
    from httpx2 import AsyncClient


class Chat:
    """One endpoint over one pool of connections, seen through instructor."""

    def __init__(self, endpoint: Endpoint, connections: "AsyncClient") -> None:
        import openai

        instructor = _instructor()
        modes = {"json_schema": instructor.Mode.JSON_SCHEMA, "tools": instructor.Mode.TOOLS}
        if endpoint.version:
            below: openai.AsyncOpenAI = openai.AsyncAzureOpenAI(
                base_url=endpoint.base_url,
                api_key=endpoint.api_key,
                api_version=endpoint.version,
                max_retries=0,
                http_client=connections,
            )
        else:
            below = openai.AsyncOpenAI(
                base_url=endpoint.base_url, api_key=endpoint.api_key, max_retries=0, http_client=connections
            )
        self._create = cast("_Creates", instructor.from_openai(below, mode=modes[endpoint.mode]))

    async def ask(self, endpoint: Endpoint, request: Request, streams: bool, seen: Callable[[Reading], None]) -> Json:
        """The choice of the one answer. `seen` gets what it amounts to as soon as it is there, whatever happens to it afterwards."""
        from instructor.core.hooks import Hooks

        found: list[Reading] = []

        def note(completion: object) -> None:
            found.append(read(completion, endpoint))
            seen(found[0])

        hooks = Hooks()
        hooks.on("completion:response", note)
        await self._create.create_with_completion(
            messages=[{"role": message.role, "content": message.content} for message in request.messages],
            response_model=_response(request.choices.schema_text),
            max_retries=0,
            hooks=hooks,
            model=endpoint.name,
            **_settings(endpoint, request, streams),
        )
        return reading.chosen(found[0])


def _settings(endpoint: Endpoint, request: Request, streams: bool) -> dict[str, object]:
    found: dict[str, object] = {}
    if request.temperature is not None:
        found["temperature"] = request.temperature
    if request.max_tokens is not None:
        found[endpoint.limit] = request.max_tokens
    schema: Object = {"name": reading.NAME}
    if endpoint.strict and request.choices.strict:
        schema["strict"] = True
    if endpoint.mode == "tools":  # in both modes over what instructor would send: it describes the function in words of its own
        extra: Object = {"tools": [{"type": "function", "function": {**schema, "parameters": request.choices.schema}}]}
    else:
        extra = {"response_format": {"type": "json_schema", "json_schema": {**schema, "schema": request.choices.schema}}}
    if streams:  # not as an argument: the line gathers the stream, and the libraries see one answer
        extra |= {"stream": True, "stream_options": {"include_usage": True}}
    return {**found, "extra_body": extra}


# --- answers ------------------------------------------------------------------------------------------------------------------


def read(completion: object, endpoint: Endpoint) -> Reading:
    """What the completion amounts to; servers send all kinds of things in the place of one."""
    if isinstance(completion, str):
        return Reading(trouble="the answer is a bare string", page=completion.lstrip()[:1] == "<")
    extra = reading.fields(getattr(completion, "model_extra", None))
    model, usage = reading.text(getattr(completion, "model", None)), getattr(completion, "usage", None)
    choices = getattr(completion, "choices", None)
    content, trouble = _content(choices, endpoint)
    dollars = getattr(usage, "cost", None)
    return Reading(
        content=content,
        trouble=trouble,
        model=model,
        counts=reading.counts(
            getattr(usage, "prompt_tokens", None),
            getattr(usage, "completion_tokens", None),
            getattr(getattr(usage, "prompt_tokens_details", None), "cached_tokens", 0),
            getattr(getattr(usage, "completion_tokens_details", None), "reasoning_tokens", 0),
        ),
        dollars=dollars if isinstance(dollars, int | float) and 0 <= dollars < 1e6 else None,
        reported=extra.get("error") or _fault(extra, choices),
    )


_FAULTS = frozenset({"error", "abort", "insufficient_system_resource"})
"""Finish reasons that tell of the server, not of the model."""


def _fault(extra: Object, choices: object) -> object:
    """An error that stands somewhere else: as the whole answer (vLLM), or in the choice (OpenRouter)."""
    if choices is None and "message" in extra and "code" in extra:
        return extra
    first = cast("list[object]", choices)[0] if isinstance(choices, list) and choices else None
    inside = reading.fields(getattr(first, "model_extra", None)).get("error")
    finish = getattr(first, "finish_reason", None)
    return inside or ({"code": 502, "message": f"it ended in {finish}"} if finish in _FAULTS else None)


def _content(choices: object, endpoint: Endpoint) -> tuple[str, str]:
    if not isinstance(choices, list) or not choices:
        return "", "the answer has no choices"
    first = cast("list[object]", choices)[0]
    message, finish = getattr(first, "message", None), getattr(first, "finish_reason", None)
    if message is None:
        return "", "the answer has no message"
    called = cast("Sequence[object]", getattr(message, "tool_calls", None) or ())
    content = reading.text(getattr(message, "content", None))
    if endpoint.mode == "tools":
        content, trouble = _argument(called)
    else:
        legacy = getattr(message, "function_call", None)
        trouble = "" if content.strip() else reading.CALLED if called or legacy else reading.EMPTY
    if getattr(message, "refusal", None):
        trouble = reading.REFUSED
    elif finish == "length":
        trouble = reading.CUT_OFF
    elif finish == "content_filter":
        trouble = reading.WITHHELD
    return content, trouble


def _argument(called: Sequence[object]) -> tuple[str, str]:
    """The arguments of the one function there is."""
    if len(called) != 1:
        return "", f"the answer makes {len(called) or 'no'} tool calls; one was asked for"
    function = getattr(called[0], "function", None)
    if getattr(function, "name", None) != reading.NAME:
        return "", "the answer calls a function that was not offered"
    content = reading.text(getattr(function, "arguments", None))
    return content, "" if content.strip() else reading.EMPTY


class Gathered:
    """The chunks of a streamed completion as one."""

    def __init__(self) -> None:
        self._content: list[str] = []
        self._refusal: list[str] = []
        self._called: dict[int, tuple[list[str], list[str]]] = {}
        self._whole: Object = {}
        self._finish: Json = None

    def take(self, event: Object) -> str:
        for name in ("id", "created", "model", "usage", "error"):
            if event.get(name) is not None:
                self._whole[name] = event[name]
        said = ""
        for choice in map(reading.fields, reading.items(event.get("choices"))):
            if choice.get("index", 0) == 0:
                said += self._delta(reading.fields(choice.get("delta")))
                self._finish = choice.get("finish_reason") or self._finish
                self._whole |= {"error": choice["error"]} if choice.get("error") else {}
        return said

    def _delta(self, delta: Object) -> str:
        said = reading.text(delta.get("content"))
        self._content.append(said)
        self._refusal.append(reading.text(delta.get("refusal")))
        for call in map(reading.fields, reading.items(delta.get("tool_calls"))):
            at, function = reading.count(call.get("index")) or 0, reading.fields(call.get("function"))
            names, arguments = self._called.setdefault(at, ([], []))
            names.append(reading.text(function.get("name")))
            arguments.append(reading.text(function.get("arguments")))
            said += arguments[-1]
        return said

    def whole(self, done: bool) -> Object | None:
        if "error" in self._whole:
            return self._whole
        if not done and self._finish is None:
            return None
        message: Object = {"role": "assistant", "content": "".join(self._content) or None}
        if refusal := "".join(self._refusal):
            message["refusal"] = refusal
        if self._called:
            message["tool_calls"] = [
                {"id": str(at), "type": "function", "function": {"name": "".join(names), "arguments": "".join(arguments)}}
                for at, (names, arguments) in self._called.items()
            ]
        choice: Object = {"index": 0, "finish_reason": self._finish, "message": message}
        return {"object": "chat.completion", **self._whole, "choices": [choice]}


# --- the libraries below ------------------------------------------------------------------------------------------------------


class _Creates(Protocol):
    async def create_with_completion(self, **arguments: object) -> tuple[Answered, object]: ...


class _Instructor(Protocol):
    """The part of instructor that is used, typed."""

    class Modes(Protocol):
        JSON_SCHEMA: object
        TOOLS: object

    Mode: Modes
    ResponseSchema: type[BaseModel]

    def from_openai(self, client: object, *, mode: object) -> object: ...


@lru_cache(maxsize=1)
def _instructor() -> _Instructor:
    import instructor

    # It logs rejected values and whole prompts, at ERROR too.
    logging.getLogger("instructor").setLevel(logging.CRITICAL + 1)
    return cast("_Instructor", instructor)


@lru_cache(maxsize=256)
def _response(schema_text: str) -> type[Answered]:
    """The response class of a schema. instructor sends its `__name__`, and would wrap any class that is not its own each time."""
    members = {"sent": json.loads(schema_text), "__module__": __name__, "__annotations__": {"sent": ClassVar[Object]}}
    return cast("type[Answered]", type(reading.NAME, (Answered, _instructor().ResponseSchema), members))


def below(error: Exception) -> Exception:
    """What is beneath an error of the libraries: a Status, what broke on the line, or what could not be read."""
    import openai

    while isinstance(error.__cause__, Exception) and type(error).__module__.startswith("instructor"):
        error = error.__cause__  # their own errors hold the messages and the completion, so only the cause is looked at
    if isinstance(error, openai.APIStatusError):
        return Status(error.status_code, cast("Mapping[str, str]", error.response.headers), error.body)
    if isinstance(error, openai.APIConnectionError):
        return error.__cause__ if isinstance(error.__cause__, Exception) else ConnectionError()
    return ValueError(type(error).__name__) if isinstance(error, openai.OpenAIError) else error
