"""Anthropic's messages: its own structured output, or one tool that must be called. System sections go where this API has them."""

import json
from collections.abc import Mapping, Sequence

from leverframe.canon import Json, Object
from leverframe.llm import reading
from leverframe.llm.endpoints import Endpoint
from leverframe.llm.reading import Reading
from leverframe.llm.seam import Request
from leverframe.llm.wire import plainer

MAX_TOKENS = 4096
"""What an answer may have where the prompt does not say; this API wants to be told."""

_VERSION = "2023-06-01"
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems", "pattern")
"""What its structured output does not take: said in words instead."""


def call(endpoint: Endpoint, request: Request, streams: bool) -> tuple[str, Mapping[str, str], Object]:
    """Address, headers and body."""
    root = endpoint.base_url.removesuffix("/v1")
    headers = {"x-api-key": endpoint.api_key, "anthropic-version": _VERSION}
    return f"{root}/v1/messages", headers, _body(endpoint, request, streams)


def _body(endpoint: Endpoint, request: Request, streams: bool) -> Object:
    system = [message.content for message in request.messages if message.role == "system"]
    said: list[Json] = [
        {"role": message.role, "content": message.content} for message in request.messages if message.role != "system"
    ]
    body: Object = {"model": endpoint.name, "max_tokens": request.max_tokens or MAX_TOKENS}
    if system:
        body["system"] = "\n\n".join(system)
    body["messages"] = said
    body |= _schema(endpoint, request)
    if request.temperature is not None:
        body["temperature"] = request.temperature
    return {**body, "stream": True} if streams else body


def _schema(endpoint: Endpoint, request: Request) -> Object:
    choices = request.choices
    if endpoint.mode == "json_schema" and choices.strict:
        return {"output_config": {"format": {"type": "json_schema", "schema": plainer(choices.schema, _BOUNDS)}}}
    # Also where structured output would refuse the schema for being open.
    tools: list[Json] = [{"name": reading.NAME, "input_schema": choices.schema}]
    return {"tools": tools, "tool_choice": {"type": "tool", "name": reading.NAME, "disable_parallel_tool_use": True}}


_TROUBLES = {
    "max_tokens": reading.CUT_OFF,
    "model_context_window_exceeded": reading.CUT_OFF,
    "pause_turn": reading.CUT_OFF,
    "refusal": reading.REFUSED,
}


def read(answer: Object, endpoint: Endpoint) -> Reading:
    usage = reading.fields(answer.get("usage"))
    content, trouble = _content([reading.fields(block) for block in reading.items(answer.get("content"))])
    return Reading(
        content=content,
        trouble=_TROUBLES.get(reading.text(answer.get("stop_reason")), trouble),
        model=reading.text(answer.get("model")),
        counts=_counts(usage),
        reported=answer.get("error"),
    )


def _content(blocks: Sequence[Object]) -> tuple[str | Object, str]:
    called = [block for block in blocks if block.get("type") == "tool_use"]
    if len(called) > 1:
        return "", f"the answer makes {len(called)} tool calls; one was asked for"
    if called and called[0].get("name") != reading.NAME:
        return "", "the answer calls a function that was not offered"
    if called:
        return reading.fields(called[0].get("input")), ""
    said = "".join(reading.text(block.get("text")) for block in blocks if block.get("type") == "text")
    return said, "" if said.strip() else reading.EMPTY


def _counts(usage: Object) -> reading.Counts | None:
    """Here the input is counted without what was read from and written to a cache."""
    cached = reading.count(usage.get("cache_read_input_tokens")) or 0
    written = reading.count(usage.get("cache_creation_input_tokens")) or 0
    fresh = reading.count(usage.get("input_tokens"))
    details = reading.fields(usage.get("output_tokens_details"))
    total = None if fresh is None else fresh + cached + written
    return reading.counts(total, usage.get("output_tokens"), cached, details.get("thinking_tokens", 0))


class Gathered:
    """The events of a streamed message as one."""

    def __init__(self) -> None:
        self._message: Object = {}
        self._usage: Object = {}
        self._blocks: dict[int, tuple[Object, list[str]]] = {}
        self._stopped = False

    def take(self, event: Object) -> str:
        kind = event.get("type")
        if kind == "error" or "error" in event:
            self._message["error"] = event.get("error") or event
        elif kind == "message_start":
            message = reading.fields(event.get("message"))
            self._usage |= reading.fields(message.get("usage"))
            self._message |= {name: message[name] for name in ("id", "model", "role") if name in message}
        elif kind == "message_delta":
            self._usage |= {name: value for name, value in reading.fields(event.get("usage")).items() if value is not None}
            self._message |= reading.fields(event.get("delta"))
        elif kind == "message_stop":
            self._stopped = True
        elif kind in ("content_block_start", "content_block_delta"):
            return self._piece(event)
        return ""

    def _piece(self, event: Object) -> str:
        at = reading.count(event.get("index")) or 0
        _, said = self._blocks.setdefault(at, (reading.fields(event.get("content_block")), []))
        delta = reading.fields(event.get("delta"))
        piece = reading.text(delta.get("text")) or reading.text(delta.get("partial_json"))
        said.append(piece)
        return piece

    def whole(self, done: bool) -> Object | None:
        if "error" in self._message:
            return self._message
        if not self._stopped and not self._message.get("stop_reason"):
            return None
        return {**self._message, "content": [_block(*block) for block in self._blocks.values()], "usage": self._usage}


def _block(block: Object, said: list[str]) -> Object:
    if block.get("type") != "tool_use":
        return {**block, "text": reading.text(block.get("text")) + "".join(said)}
    whole = "".join(said)
    try:
        return {**block, "input": json.loads(whole or "{}", object_pairs_hook=reading.once)}
    except (ValueError, RecursionError):
        return {"type": "text", "text": whole}  # cut off, or no JSON: it is read as what it is
