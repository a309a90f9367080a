"""Each provider's own API, mode by mode: the bytes that are sent, and what their answers become, whole or streamed."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Literal, cast

import pytest
from pydantic import Field

from leverframe.canon import Object
from leverframe.errors import BadCompletion, ModelError, ModelRefused, ModelUnavailable
from leverframe.llm import Choices, Mode, RemoteLLM, Request, pick
from leverframe.prompt import Message
from leverframe.state import Reply
from leverframe.tool import tool
from tests.served import Said, Server, events, http, serving


@tool(effect="once", approval=True)
async def issue_refund(order_id: int, amount: float = Field(gt=0)) -> str:
    """Pay money back to the customer."""
    return f"{order_id} {amount}"


class Decline(Reply[Literal["decline"]]):
    """Nothing is owed."""

    reason: str = Field(max_length=200)


class Open(Reply[Literal["open"]]):
    fields: dict[str, int]


CHOICES = Choices((issue_refund, Decline))
CHOSEN: Object = {"intent": "decline", "reason": "Zu spät"}
ANSWER = json.dumps({"next": CHOSEN}, ensure_ascii=False)
MESSAGES = [
    Message("system", "Decide, “so”."),
    Message("user", "Grüße\n"),
    Message("assistant", "Hm?"),
    Message("user", "壊れた lamp"),
]
SYSTEM, TURNS = MESSAGES[0], MESSAGES[1:]


def asking(**changes: object) -> Request:
    return Request(**{"messages": MESSAGES, "choices": CHOICES, "timeout": 20.0, **changes})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def unheard(piece: str) -> None:
    """Makes an answer be streamed."""


@asynccontextmanager
async def at(provider: str, *answers: Said, mode: Mode = "json_schema") -> AsyncGenerator[tuple[RemoteLLM, Server]]:
    async with serving(*answers) as server:
        name = f"{provider}/big-1"
        llm = RemoteLLM(name, base_url=server.url.removesuffix("/v1"), api_key="key-0123", modes={name: mode})
        try:
            yield llm, server
        finally:
            await llm.close()


def wire(body: object) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


# ── what each of them answers ────────────────────────────────────────────────────────────────────────────────────────────────


def chat(content: str = ANSWER, *, call: bool = False, **changes: object) -> dict[str, object]:
    function = {"name": "next", "arguments": content}
    said = (
        {"content": None, "tool_calls": [{"id": "1", "type": "function", "function": function}]} if call else {"content": content}
    )
    usage = {
        "prompt_tokens": 40,
        "completion_tokens": 9,
        "prompt_tokens_details": {"cached_tokens": 30},
        "completion_tokens_details": {"reasoning_tokens": 4},
    }
    choice = {"index": 0, "finish_reason": "tool_calls" if call else "stop", "message": {"role": "assistant", **said}}
    return {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "big-1.7",
        "choices": [choice],
        "usage": usage,
        **changes,
    }


def chat_stream(content: str = ANSWER, *, call: bool = False) -> list[object]:
    first: dict[str, object] = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "big-1.7"}

    def delta(piece: str) -> dict[str, object]:
        if call:
            return {
                "tool_calls": [
                    {"index": 0, "function": {"name": "next" if content.startswith(piece) else "", "arguments": piece}}
                ]
            }
        return {"content": piece}

    pieces = [{**first, "choices": [{"index": 0, "delta": delta(content[i : i + 7])}]} for i in range(0, len(content), 7)]
    last: dict[str, object] = {**first, "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls" if call else "stop"}]}
    return [*pieces, last, {**first, "choices": [], "usage": chat()["usage"]}]


def claude(content: str = ANSWER, *, call: bool = False, **changes: object) -> dict[str, object]:
    text = {"type": "text", "text": content}
    block = {"type": "tool_use", "id": "t", "name": "next", "input": json.loads(content)} if call else text
    usage = {
        "input_tokens": 10,
        "cache_read_input_tokens": 30,
        "cache_creation_input_tokens": 0,
        "output_tokens": 9,
        "output_tokens_details": {"thinking_tokens": 4},
    }
    stop = "tool_use" if call else "end_turn"
    return {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "big-1.7",
        "content": [block],
        "stop_reason": stop,
        "usage": usage,
        **changes,
    }


def claude_stream(content: str = ANSWER, *, call: bool = False) -> list[object]:
    usage = cast("dict[str, object]", claude()["usage"])
    started: dict[str, object] = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "big-1.7",
        "content": [],
        "usage": {**usage, "output_tokens": 1},
    }
    block: Object = {"type": "tool_use", "id": "t", "name": "next", "input": {}} if call else {"type": "text", "text": ""}
    found: list[object] = [
        {"type": "message_start", "message": started},
        {"type": "content_block_start", "index": 0, "content_block": block},
    ]
    for i in range(0, len(content), 7):
        piece = content[i : i + 7]
        delta = {"type": "input_json_delta", "partial_json": piece} if call else {"type": "text_delta", "text": piece}
        found.append({"type": "content_block_delta", "index": 0, "delta": delta})
    found += [{"type": "ping"}, {"type": "content_block_stop", "index": 0}]
    ended = {"stop_reason": "tool_use" if call else "end_turn", "stop_sequence": None}
    details = {name: usage[name] for name in ("output_tokens", "output_tokens_details")}
    return [*found, {"type": "message_delta", "delta": ended, "usage": details}, {"type": "message_stop"}]


def gemini(content: str = ANSWER, *, call: bool = False, **changes: object) -> dict[str, object]:
    parts = [
        {"text": "Let me see.", "thought": True},
        {"functionCall": {"name": "next", "args": json.loads(content)}} if call else {"text": content},
    ]
    usage = {"promptTokenCount": 40, "candidatesTokenCount": 5, "thoughtsTokenCount": 4, "cachedContentTokenCount": 30}
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "big-1.7", **changes}


def gemini_stream(content: str = ANSWER, *, call: bool = False) -> list[object]:
    if call:
        return [gemini(content, call=True)]
    parts: list[object] = [
        {"candidates": [{"content": {"role": "model", "parts": [{"text": content[i : i + 7]}]}}], "modelVersion": "big-1.7"}
        for i in range(0, len(content), 7)
    ]
    return [*parts, {**gemini(), "candidates": [{"content": {"parts": [{"text": ""}]}, "finishReason": "STOP"}]}]


FAMILIES = {"here": (chat, chat_stream), "anthropic": (claude, claude_stream), "google": (gemini, gemini_stream)}
MODES: tuple[Mode, ...] = ("json_schema", "tools")


# ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def sent(provider: str, mode: Mode = "json_schema", **changes: object) -> tuple[bytes, str]:
    answer = FAMILIES.get(provider, FAMILIES["here"])[0](call=mode == "tools")
    async with at(provider, http(answer), mode=mode) as (llm, server):
        await llm.ask(asking(**changes))
    assert len(server.bodies) == 1
    return server.bodies[0], server.heads[0]


SAID = [{"role": m.role, "content": m.content} for m in MESSAGES]


async def test_a_call_of_one_function_holds_the_prompt_the_schema_and_no_word_more() -> None:
    body, _ = await sent("here", "tools")
    function = {"type": "function", "function": {"name": "next", "parameters": CHOICES.schema}}
    choice = {"type": "function", "function": {"name": "next"}}
    assert body == wire({"messages": SAID, "model": "big-1", "tool_choice": choice, "tools": [function]})


def plain(schema: Object) -> Object:
    """The schema, with the one bound that it has in words."""
    text = json.dumps(schema, ensure_ascii=False)
    return cast(
        "Object",
        json.loads(text.replace('"type": "number", "exclusiveMinimum": 0', '"type": "number", "description": "more than 0"')),
    )


async def test_anthropic_gets_its_own_structured_output_and_system_apart() -> None:
    body, head = await sent("anthropic", temperature=0.5, max_tokens=70)
    schema = {"format": {"type": "json_schema", "schema": plain(CHOICES.schema)}}
    expected: dict[str, object] = {
        "model": "big-1",
        "max_tokens": 70,
        "system": SYSTEM.content,
        "messages": SAID[1:],
        "output_config": schema,
    }
    assert body == wire({**expected, "temperature": 0.5})
    assert head.startswith("post /v1/messages http/1.1")
    assert "x-api-key: key-0123\r\n" in head
    assert "anthropic-version: 2023-06-01\r\n" in head
    assert "exclusiveMinimum" not in body.decode()


@pytest.mark.parametrize("changes", [{}, {"choices": Choices([Open])}], ids=["where it is set", "where the schema is open"])
async def test_anthropic_calls_one_tool(changes: dict[str, object]) -> None:
    answer = json.dumps({"next": {"intent": "open", "fields": {"a": 1}}}) if changes else ANSWER
    async with at("anthropic", http(claude(answer, call=True)), mode="json_schema" if changes else "tools") as (llm, server):
        await pick(llm, asking(**changes))
    schema = cast("Choices", changes.get("choices", CHOICES)).schema
    tools = {"tools": [{"name": "next", "input_schema": schema}]}
    choice = {"tool_choice": {"type": "tool", "name": "next", "disable_parallel_tool_use": True}}
    head = {"model": "big-1", "max_tokens": 4096, "system": SYSTEM.content, "messages": SAID[1:]}
    assert server.bodies == [wire({**head, **tools, **choice})]


CONTENTS: dict[str, object] = {
    "systemInstruction": {"parts": [{"text": SYSTEM.content}]},
    "contents": [{"role": "model" if m.role == "assistant" else "user", "parts": [{"text": m.content}]} for m in TURNS],
}


async def test_google_gets_a_response_schema_and_the_key_in_a_header() -> None:
    body, head = await sent("google", temperature=0.0, max_tokens=70)
    config = {"responseMimeType": "application/json", "responseJsonSchema": plain(CHOICES.schema), "temperature": 0.0}
    assert body == wire({**CONTENTS, "generationConfig": {**config, "maxOutputTokens": 70}})
    assert head.startswith("post /models/big-1:generatecontent http/1.1")
    assert "x-goog-api-key: key-0123\r\n" in head


async def test_google_calls_one_function() -> None:
    body, _ = await sent("google", "tools")
    declared = {"functionDeclarations": [{"name": "next", "parametersJsonSchema": plain(CHOICES.schema)}]}
    config = {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["next"]}}
    assert body == wire({**CONTENTS, "tools": [declared], "toolConfig": config})


async def test_azure_is_asked_at_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_API_VERSION", raising=False)
    body, head = await sent("azure")
    assert head.startswith("post /openai/v1/chat/completions http/1.1")
    assert "authorization: bearer key-0123\r\n" in head
    monkeypatch.setenv("AZURE_API_VERSION", "2024-10-21")
    older, head = await sent("azure")
    assert head.startswith("post /openai/deployments/big-1/chat/completions?api-version=2024-10-21 http/1.1")
    assert "api-key: key-0123\r\n" in head
    assert "authorization" not in head
    schema = {"type": "json_schema", "json_schema": {"name": "next", "schema": CHOICES.schema}}
    assert body == older == wire({"messages": SAID, "model": "big-1", "response_format": schema})


@pytest.mark.parametrize("provider", FAMILIES)
@pytest.mark.parametrize("mode", MODES)
async def test_a_streamed_question_differs_in_nothing_but_that(provider: str, mode: Mode) -> None:
    answer, stream = FAMILIES[provider]
    call = mode == "tools"
    async with at(provider, http(answer(call=call)), events(*stream(call=call)), mode=mode) as (llm, server):
        await llm.ask(asking())
        await llm.ask(asking(watch=unheard))
    whole, streamed = (json.loads(body) for body in server.bodies)
    for name in ("stream", "stream_options"):
        streamed.pop(name, None)
    assert streamed == whole
    assert provider != "google" or ":streamgeneratecontent?alt=sse" in server.heads[1]
    assert all("accept-encoding: identity" in head for head in server.heads)


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("provider", FAMILIES)
@pytest.mark.parametrize("mode", MODES)
async def test_whole_or_streamed_it_is_one_answer_with_one_usage(provider: str, mode: Mode) -> None:
    answer, stream = FAMILIES[provider]
    call, heard = mode == "tools", list[str]()
    async with at(provider, http(answer(call=call)), events(*stream(call=call)), mode=mode) as (llm, _):
        whole, picked = await pick(llm, asking())
        streamed = await llm.ask(asking(watch=heard.append))
    assert whole == streamed
    assert picked.reply == Decline(reason="Zu spät")
    assert (whole.model, whole.chosen) == (f"{provider}/big-1.7", CHOSEN)
    used = {"input_tokens": 40, "output_tokens": 9, "cached_tokens": 30, "reasoning_tokens": 4}
    assert whole.usage.json() == {**used, "cost": None, "estimated": False}
    assert "".join(heard) == (ANSWER if not (call and provider == "google") else "")
    assert len(heard) > 5 or (call and provider == "google")


async def test_who_watches_and_fails_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fails(piece: str) -> None:
        raise ValueError(piece)

    async with at("here", events(*chat_stream())) as (llm, _):
        assert (await llm.ask(asking(watch=fails))).chosen == CHOSEN
    assert caplog.text.count("hears no more of it") == 1


async def test_a_server_that_does_not_stream_is_heard_all_the_same() -> None:
    async with at("here", http(chat())) as (llm, _):
        assert (await llm.ask(asking(watch=unheard))).chosen == CHOSEN


async def fails(provider: str, answer: Said, mode: Mode = "json_schema", **changes: object) -> ModelError:
    async with at(provider, answer, mode=mode) as (llm, server):
        with pytest.raises(ModelError) as caught:
            await pick(llm, asking(**changes))
    assert len(server.bodies) == 1
    return caught.value


async def test_a_stream_that_breaks_off_is_the_providers_fault() -> None:
    for provider, (_, stream) in FAMILIES.items():
        error = await fails(provider, events(*stream()[:3], done=False), watch=unheard)
        assert isinstance(error, ModelUnavailable)
        assert "broke off" in str(error)
        assert error.usage is not None  # a part of it came, and is paid for
        assert error.usage.input_tokens > 0


@pytest.mark.parametrize(("reason", "words"), [("max_tokens", "cut off"), ("tool_use", "not JSON")])
async def test_a_streamed_call_that_is_no_json_is_told_from_one_that_was_cut_off(reason: str, words: str) -> None:
    pieces = claude_stream(call=True)
    ended = [{"type": "message_delta", "delta": {"stop_reason": reason}}, {"type": "message_stop"}]
    error = await fails("anthropic", events(*pieces[:4], *ended, done=False), mode="tools", watch=unheard)
    assert isinstance(error, BadCompletion)
    assert words in str(error)


async def test_the_parts_of_a_price_are_told_apart() -> None:
    async with serving(http(chat())) as server:
        llm = RemoteLLM("here/big-1", base_url=server.url, prices={"here/big-1": (1.0, 10.0, 0.1)})
        assert (await llm.ask(asking())).usage.cost == 10 * 1 + 30 * 0.1 + 9 * 10
        await llm.close()
        known = RemoteLLM("openai/gpt-4o-mini", base_url=server.url)
        assert (await known.ask(asking())).usage.cost == round(10 * 0.15 + 30 * 0.075 + 9 * 0.6)
        await known.close()


KEY = "sk-live-0123456789abcdef"


@pytest.mark.parametrize("provider", FAMILIES)
async def test_a_key_is_in_no_log_error_event_or_repr(
    provider: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong = {"error": {"message": f"Incorrect API key provided: {KEY}", "type": "authentication_error"}}
    said: list[str] = []
    with caplog.at_level(logging.DEBUG):
        refused = {"error": {"message": f"bad value {KEY} in x-key"}}
        long = {"error": {"message": f"{'no ' * 50}{KEY} is refused"}}  # where the message is cut, half of the key would be left
        for answer in (
            http(wrong, 401),
            http(wrong),
            http(refused, 400),
            http(refused),
            http(long, 400),
            http(long),
            None,
            http(chat()),
            http(b"x" * 50),
            events({"error": wrong["error"]}),
        ):
            async with serving(answer) as server:
                llm = RemoteLLM(f"{provider}/big-1", base_url=server.url, api_key=KEY)
                try:
                    said.append(repr(await llm.ask(asking(watch=unheard))))
                except ModelError as error:
                    said.append(f"{error!r} {error} {error.__cause__!r}")
                said += [repr(llm), repr(llm.endpoint(f"{provider}/big-1")), repr(vars(llm))]
                await llm.close()
            assert KEY in server.heads[0]
    out = capfd.readouterr()
    assert not [text for text in [*said, caplog.text, out.out, out.err] if KEY[:8] in text]


async def test_a_refused_key_is_told_from_a_busy_server() -> None:
    invalid = {
        "error": {
            "code": 400,
            "message": "API key not valid.",
            "status": "INVALID_ARGUMENT",
            "details": [{"reason": "API_KEY_INVALID"}],
        }
    }
    assert isinstance(await fails("google", http(invalid, 400)), ModelRefused)
    overloaded = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    error = await fails("anthropic", http(overloaded, 529, "retry-after: 4\r\n"))
    assert (type(error), cast("ModelUnavailable", error).retry_after) == (ModelUnavailable, 4.0)
    error = await fails("anthropic", events({"type": "error", **overloaded}, done=False), watch=unheard)
    assert isinstance(error, ModelUnavailable)
    assert isinstance(await fails("anthropic", http({"error": {"message": "too long"}}, 400)), BadCompletion)


async def test_many_questions_at_once_are_told_apart() -> None:
    async with at("here", *(events(*chat_stream()) if n % 2 else http(chat()) for n in range(20))) as (llm, _):
        heard: list[list[str]] = [[] for _ in range(20)]
        answers = await asyncio.gather(*(llm.ask(asking(watch=heard[n].append)) for n in range(20)))
    assert all(answer.chosen == CHOSEN for answer in answers)
    assert {"".join(pieces) for pieces in heard} == {"", ANSWER}
