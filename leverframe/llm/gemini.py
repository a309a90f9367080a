"""Google's generateContent: a response schema, or one function that must be called. The key goes into a header, not the address."""

from collections.abc import Mapping, Sequence

from leverframe.canon import Json, Object
from leverframe.llm import reading
from leverframe.llm.endpoints import Endpoint
from leverframe.llm.reading import Reading
from leverframe.llm.seam import Request
from leverframe.llm.wire import plainer

_BOUNDS = ("exclusiveMinimum", "exclusiveMaximum", "multipleOf", "pattern")
"""What its response schemas do not know: said in words instead."""


def call(endpoint: Endpoint, request: Request, streams: bool) -> tuple[str, Mapping[str, str], Object]:
    """Address, headers and body."""
    how = "streamGenerateContent?alt=sse" if streams else "generateContent"
    return f"{endpoint.base_url}/models/{endpoint.name}:{how}", {"x-goog-api-key": endpoint.api_key}, _body(endpoint, request)


def _body(endpoint: Endpoint, request: Request) -> Object:
    system: list[Json] = [{"text": message.content} for message in request.messages if message.role == "system"]
    body: Object = {"systemInstruction": {"parts": system}} if system else {}
    body["contents"] = [
        {"role": "model" if message.role == "assistant" else "user", "parts": [{"text": message.content}]}
        for message in request.messages
        if message.role != "system"
    ]
    schema, settings = plainer(request.choices.schema, _BOUNDS), _settings(request)
    if endpoint.mode == "tools":
        body["tools"] = [{"functionDeclarations": [{"name": reading.NAME, "parametersJsonSchema": schema}]}]
        body["toolConfig"] = {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [reading.NAME]}}
    else:
        structured: Object = {"responseMimeType": "application/json", "responseJsonSchema": schema}
        settings = structured | settings
    if settings:
        body["generationConfig"] = settings
    return body


def _settings(request: Request) -> Object:
    found: Object = {} if request.temperature is None else {"temperature": request.temperature}
    return found if request.max_tokens is None else {**found, "maxOutputTokens": request.max_tokens}


_FILTERED = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "ESCALATION",
        "MODEL_ARMOR",
        "PUP_LIMITED_DISABLED",
    }
)
_CUT_OFF = frozenset({"MAX_TOKENS", "CONTINUATION"})
_MISCALLED = frozenset({"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MALFORMED_RESPONSE"})


def read(answer: Object, endpoint: Endpoint) -> Reading:
    candidates = reading.items(answer.get("candidates"))
    candidate = reading.fields(candidates[0]) if candidates else {}
    parts = [reading.fields(part) for part in reading.items(reading.fields(candidate.get("content")).get("parts"))]
    content, trouble = _content(parts)
    finish = reading.text(candidate.get("finishReason"))
    if reading.fields(answer.get("promptFeedback")).get("blockReason") or finish in _FILTERED:
        trouble = reading.WITHHELD
    elif not candidates:
        trouble = "the answer has no choices"
    elif finish in _CUT_OFF:
        trouble = reading.CUT_OFF
    elif finish in _MISCALLED:
        trouble = "the model called a function in a way that the provider could not read"
    return Reading(content, trouble, reading.text(answer.get("modelVersion")), _counts(answer), reported=answer.get("error"))


def _content(parts: Sequence[Object]) -> tuple[str | Object, str]:
    called = [reading.fields(part["functionCall"]) for part in parts if "functionCall" in part]
    if len(called) > 1:
        return "", f"the answer makes {len(called)} tool calls; one was asked for"
    if called and called[0].get("name") != reading.NAME:
        return "", "the answer calls a function that was not offered"
    if called:
        return reading.fields(called[0].get("args")), ""
    said = "".join(reading.text(part.get("text")) for part in parts if part.get("thought") is not True)
    return said, "" if said.strip() else reading.EMPTY


def _counts(answer: Object) -> reading.Counts | None:
    """Here thoughts are counted beside the answer, and both are paid for."""
    usage = reading.fields(answer.get("usageMetadata"))
    thoughts, said = reading.count(usage.get("thoughtsTokenCount")) or 0, reading.count(usage.get("candidatesTokenCount"))
    output = None if said is None and not thoughts else (said or 0) + thoughts
    return reading.counts(usage.get("promptTokenCount"), output, usage.get("cachedContentTokenCount", 0), thoughts)


class Gathered:
    """The pieces of a streamed answer as one: each is an answer of its own, with a little of the text."""

    def __init__(self) -> None:
        self._whole: Object = {}
        self._parts: list[Json] = []
        self._finish: Json = None

    def take(self, event: Object) -> str:
        for name in ("modelVersion", "usageMetadata", "promptFeedback", "error"):
            if event.get(name) is not None:
                self._whole[name] = event[name]
        said = ""
        for candidate in map(reading.fields, reading.items(event.get("candidates"))[:1]):
            parts = reading.items(reading.fields(candidate.get("content")).get("parts"))
            self._parts += parts
            self._finish = candidate.get("finishReason") or self._finish
            said = "".join(
                reading.text(part.get("text")) for part in map(reading.fields, parts) if part.get("thought") is not True
            )
        return said

    def whole(self, done: bool) -> Object | None:
        if "error" in self._whole or ("promptFeedback" in self._whole and not self._parts):
            return self._whole
        if self._finish is None:
            return None
        return {**self._whole, "candidates": [{"content": {"parts": self._parts}, "finishReason": self._finish}]}
