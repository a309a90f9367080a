"""What goes over the wire to a model, byte for byte, and what each kind of answer becomes: against real HTTP servers here."""

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from time import perf_counter, sleep
from typing import Literal, cast
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from pydantic import Field

from leverframe.errors import BadCompletion, ModelError, ModelUnavailable
from leverframe.llm import Choices, RemoteLLM, Request, pick, request_hash, sent
from leverframe.prompt import Message, Prompt, render
from leverframe.state import Call, Reply
from leverframe.tool import tool
from tests.served import free_port, http, serving


@tool(effect="once", approval=True)
async def issue_refund(order_id: int, amount: float = Field(gt=0)) -> str:
    """Pay money back to the customer."""
    return f"{order_id} {amount}"


class Decline(Reply[Literal["decline"]]):
    """Nothing is owed."""

    reason: str = Field(max_length=200)


CHOICES = Choices((issue_refund, Decline))
PROMPT = Prompt.parse("refund/triage", "", "# system\nDecide. {{ choices }}\n\n# user\n{{ message }} {{ order }}\n")
MESSAGES = render(PROMPT, {"choices": CHOICES.described, "message": "Grüße, 壊れた “lamp”\n\t{{ }}", "order": {"id": 1042}})
SAID = {"next": {"intent": "decline", "reason": "Too late"}}


def completion(content: object, **changes: object) -> dict[str, object]:
    message = {"role": "assistant", "content": content if content is None or isinstance(content, str) else json.dumps(content)}
    choice = {"index": 0, "finish_reason": "stop", "message": message, **cast("dict[str, object]", changes.pop("choice", {}))}
    usage = {"prompt_tokens": 31, "completion_tokens": 7, "total_tokens": 38}
    whole = {"id": "c1", "object": "chat.completion", "created": 1, "model": "small-1.2", "choices": [choice], "usage": usage}
    return {**whole, **changes}


def message(content: str | None, **more: object) -> dict[str, object]:
    return {"message": {"role": "assistant", "content": content, **more}}


@asynccontextmanager
async def model(url: str, name: str = "here/small", **settings: object) -> AsyncGenerator[RemoteLLM, None]:
    llm = RemoteLLM(name, base_url=url, **settings)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    try:
        yield llm
    finally:
        await llm.close()


def asking(**changes: object) -> Request:
    return Request(**{"messages": MESSAGES, "choices": CHOICES, "timeout": 30.0, **changes})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def failing(*answers: bytes | None, **changes: object) -> ModelError:
    """The error one question ends in; it must come fast and from one attempt."""
    async with serving(*answers) as server, model(server.url) as llm:
        start = perf_counter()
        with pytest.raises(ModelError) as caught:
            await pick(llm, asking(**changes))
        assert perf_counter() - start < 20  # the provider asked for longer
        assert len(server.bodies) == 1
        return caught.value


# --- requests -----------------------------------------------------------------------------------------------------------------


async def test_the_request_is_the_rendered_prompt_and_the_schema_and_nothing_else() -> None:
    async with serving(http(completion(SAID))) as server, model(server.url) as llm:
        answer = await llm.ask(asking())
    rendered = [{"role": m.role, "content": m.content} for m in MESSAGES]
    schema = {"type": "json_schema", "json_schema": {"name": "next", "schema": CHOICES.schema}}
    expected = {"messages": rendered, "model": "small", "response_format": schema}
    assert server.bodies == [json.dumps(expected, ensure_ascii=False, separators=(",", ":")).encode()]
    assert sent(MESSAGES) in server.bodies[0]
    assert answer.request_hash == request_hash(MESSAGES) == sha256(sent(MESSAGES)).hexdigest()


async def test_settings_of_the_prompt_are_sent_and_strict_where_it_is_wanted() -> None:
    async with serving(http(completion(SAID))) as server, model(server.url, "openai/gpt-x", strict=True) as llm:
        await llm.ask(asking(temperature=0.0, max_tokens=50))
    body = json.loads(server.bodies[0])
    assert list(body) == ["messages", "model", "max_completion_tokens", "response_format", "temperature"]
    assert (body["temperature"], body["max_completion_tokens"]) == (0.0, 50)
    assert body["response_format"]["json_schema"] == {"name": "next", "strict": True, "schema": CHOICES.schema}
    assert (
        b'"anyOf":[{"type":"object","description":"Pay money back to the customer.","properties":{"intent":' in server.bodies[0]
    )


async def test_a_schema_that_strict_modes_refuse_is_sent_without_strict() -> None:
    class Free(Reply[Literal["free"]]):
        fields: dict[str, int]

    free = {"next": {"intent": "free", "fields": {"a": 1}}}
    async with serving(http(completion(free))) as server, model(server.url, strict=True) as llm:
        await pick(llm, asking(choices=Choices([Free])))
    assert "strict" not in json.loads(server.bodies[0])["response_format"]["json_schema"]


async def test_max_tokens_has_its_old_name_on_other_servers() -> None:
    async with serving(http(completion(SAID))) as server, model(server.url) as llm:
        await llm.ask(asking(max_tokens=50))
    assert json.loads(server.bodies[0])["max_tokens"] == 50


async def test_keys_and_addresses_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(http(completion(SAID))) as server:
        monkeypatch.setenv("IN_HOUSE_BASE_URL", server.url)
        monkeypatch.setenv("IN_HOUSE_API_KEY", "sk-ours")
        llm = RemoteLLM("in-house/small")
        answer = await llm.ask(asking())
        await llm.close()
    assert "authorization: bearer sk-ours" in server.heads[0]
    assert answer.model == "in-house/small-1.2"


async def test_the_prompt_can_name_another_model_of_another_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(http(completion(SAID))) as ours, serving(http(completion(SAID))) as theirs, model(ours.url) as llm:
        monkeypatch.setenv("OTHER_BASE_URL", theirs.url)
        await llm.ask(asking(model="other/big"))
    assert (len(ours.bodies), len(theirs.bodies)) == (0, 1)
    assert json.loads(theirs.bodies[0])["model"] == "big"


def test_one_model_serves_several_event_loops_one_after_the_other() -> None:
    port = asyncio.run(free_port())
    llm = RemoteLLM("here/small", base_url=f"http://127.0.0.1:{port}/v1")

    async def twice() -> list[str]:
        async with serving(http(completion(SAID)), port=port):
            answers = [await llm.ask(asking()) for _ in range(2)]
            await llm.close()
        return [answer.model for answer in answers]

    assert [asyncio.run(twice()) for _ in range(2)] == [["here/small-1.2"] * 2] * 2


# --- answers ------------------------------------------------------------------------------------------------------------------


async def test_an_answer_is_a_reply_or_a_call_with_its_usage() -> None:
    paid = {"next": {"intent": "issue_refund", "arguments": {"order_id": 1042, "amount": 45.5}}}
    answers = http(completion(SAID)), http(completion(paid))
    async with serving(*answers) as server, model(server.url, prices={"here/small": (1.0, 10.0)}) as llm:
        answer, picked = await pick(llm, asking())
        assert picked.reply == Decline(reason="Too late")
        assert answer.usage.json() == {"input_tokens": 31, "output_tokens": 7, "cost": 101, "estimated": False}
        _, picked = await pick(llm, asking())
        assert picked.call == Call("issue_refund", {"order_id": 1042, "amount": 45.5})


async def test_without_a_price_the_cost_is_unknown_and_without_usage_tokens_are_estimated() -> None:
    told = completion(SAID, usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "cost": 0.002})
    answers = [completion(SAID), told, completion(SAID, usage=None), completion(SAID, usage={"prompt_tokens": "many"})]
    async with serving(*map(http, answers)) as server, model(server.url) as llm:
        usages = [(await llm.ask(asking())).usage for _ in answers]
    assert [usage.cost for usage in usages] == [None, 2000, None, None]
    assert [usage.estimated for usage in usages] == [False, False, True, True]
    assert usages[2].input_tokens > 30
    assert usages[2].output_tokens > 5


TOO_MANY = {"error": {"message": "slow down sk-secret-key", "type": "rate_limit", "code": "rate_limit_exceeded"}}
BAD: list[tuple[str, object, str]] = [
    ("refusal", completion(None, choice=message(None, refusal="I cannot help with sk-secret")), "refused"),
    ("truncated", completion('{"next": {"int', choice={"finish_reason": "length", **message('{"next": {"int')}), "cut off"),
    ("filtered", completion("", choice={"finish_reason": "content_filter", **message("")}), "filter"),
    ("null content", completion(None), "empty"),
    ("blank content", completion("  "), "empty"),
    ("a provider's tool call", completion(None, choice=message(None, function_call={"name": "", "arguments": ""})), "tool call"),
    ("empty choices", completion(SAID, choices=[]), "no choices"),
    ("choices None", completion(SAID, choices=None), "no choices"),
    ("a choice without a message", completion(SAID, choices=[{"index": 0}]), "no message"),
    ("a bare string", "oops", "bare string"),
    ("a bare number", 7, "cannot be read|no choices|does not fit"),
    ("a list", [1, 2], "cannot be read|no choices|does not fit"),
    ("null", None, "cannot be read|no choices|does not fit"),
    ("an error inside 200", {"error": {"message": "tool call validation failed", "code": 400}}, "inside HTTP 200: tool call"),
    ("an error text inside 200", {"error": "tool call validation failed"}, "inside HTTP 200: tool call"),
    ("body is not JSON", b'{"choices": [', "cannot be read"),
    ("body nests 50,000 deep", b"[" * 50_000, "cannot be read"),
    ("body is no UTF-8", b'{"a": "\xff\xfe"}', "cannot be read"),
]


@pytest.mark.parametrize(("body", "words"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
async def test_a_wrong_answer_is_a_bad_completion(body: object, words: str) -> None:
    error = await failing(http(body))
    assert isinstance(error, BadCompletion)
    assert any(word in str(error) for word in words.split("|")), error
    assert "secret" not in str(error)
    assert len(str(error)) < 400


async def test_an_empty_finish_reason_does_no_harm() -> None:
    answer = completion(SAID, choice={"finish_reason": "", **message(json.dumps(SAID))})
    async with serving(http(answer)) as server, model(server.url) as llm:
        assert (await pick(llm, asking()))[1].intent == "decline"


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_request_that_is_refused_for_what_it_says_is_a_bad_completion(status: int) -> None:
    error = await failing(http({"error": {"message": "context is too long\n" + "x" * 900}}, status))
    assert isinstance(error, BadCompletion)
    assert f"HTTP {status}: context is too long" in str(error)
    assert len(str(error)) < 250


UNAVAILABLE: list[tuple[str, bytes | None, float | None]] = [
    ("429", http(TOO_MANY, 429), None),
    ("429 with Retry-After", http(TOO_MANY, 429, "Retry-After: 7\r\n"), 7.0),
    ("429 with milliseconds", http(TOO_MANY, 429, "retry-after-ms: 1500\r\nRetry-After: 7\r\n"), 1.5),
    ("429 with a date that has passed", http(TOO_MANY, 429, "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\n"), 0.0),
    ("429 with nonsense", http(TOO_MANY, 429, "Retry-After: soon\r\n"), None),
    ("500", http({"error": "boom"}, 500), None),
    ("503 with Retry-After", http(b"<html>busy</html>", 503, "Retry-After: 3\r\n", "text/html"), 3.0),
    ("401", http({"error": {"message": "Incorrect API key provided: sk-secret"}}, 401), None),
    ("404", http({"error": {"message": "no such model"}}, 404), None),
    ("dropped", None, None),
    ("dropped in the middle", http(completion(SAID))[:-40], None),
    ("not HTTP", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", None),
    ("a page", http(b"<!doctype html><html>Sign in</html>", kind="text/html"), None),
    ("busy inside 200", http(TOO_MANY), None),
    ("502 inside 200", http({"error": {"message": "upstream", "code": 502}}), None),
]


@pytest.mark.parametrize(("answer", "after"), [case[1:] for case in UNAVAILABLE], ids=[case[0] for case in UNAVAILABLE])
async def test_a_server_that_cannot_answer_now_is_unavailable(answer: bytes | None, after: float | None) -> None:
    error = await failing(answer)
    assert isinstance(error, ModelUnavailable)
    assert error.retry_after == after
    assert "secret" not in str(error)


async def test_a_server_that_says_nothing_or_drips_times_out_as_a_whole() -> None:
    async with serving(http(completion(SAID)), delay=2.0) as server, model(server.url) as llm:
        start = perf_counter()
        with pytest.raises(ModelUnavailable, match=r"no answer within 0\.2 s|timed out"):
            await llm.ask(asking(timeout=0.2))
        assert perf_counter() - start < 1

    async with serving(http(completion(SAID)), drip=0.01) as server, model(server.url) as llm:
        with pytest.raises(ModelUnavailable, match=r"no answer within 0\.3 s"):
            await llm.ask(asking(timeout=0.3))


async def test_nobody_listening_is_unavailable() -> None:
    async with serving(None) as server:
        pass
    async with model(server.url) as llm:
        with pytest.raises(ModelUnavailable, match="no connection"):
            await llm.ask(asking())


async def test_a_question_can_be_cancelled() -> None:
    async with serving(http(completion(SAID)), delay=5.0) as server, model(server.url) as llm:
        asked = asyncio.create_task(llm.ask(asking()))
        await asyncio.sleep(0.2)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked


async def test_a_failed_attempt_tells_what_it_cost() -> None:
    for body in (completion("not JSON"), completion({"next": {"intent": "delcine"}})):
        error = await failing(http(body))
        assert error.usage is not None
        assert (error.usage.input_tokens, error.usage.output_tokens) == (31, 7)


SECRET = "sk-verysecretvalue-0123456789"
DEEP = '{"next": {"intent": "issue_refund", "arguments": ' + '{"a": ' * 5_000 + "1" + "}" * 5_002
HOSTILE: list[tuple[str, str]] = [
    ("no JSON", f"Sure! {SECRET}"),
    ("fenced", f"```json\n{json.dumps(SAID)}\n```"),
    ("half", '{"next": {"intent": "decline"'),
    ("two objects", json.dumps(SAID) * 2),
    ("a list", json.dumps([SAID])),
    ("no next", json.dumps(SAID["next"])),
    ("next is a text", json.dumps({"next": SECRET})),
    ("beside next", json.dumps({**SAID, SECRET: 1})),
    ("several choices", json.dumps({"next": [SAID["next"], SAID["next"]]})),
    ("an unknown intent", json.dumps({"next": {"intent": SECRET + "x" * 400}})),
    ("an unknown tool", json.dumps({"next": {"intent": "drop_tables", "arguments": {}}})),
    (
        "two choices in one",
        json.dumps({"next": {"intent": "issue_refund", "arguments": {"order_id": 1, "amount": 2}, "reason": SECRET}}),
    ),
    ("an extra key", json.dumps({"next": {"intent": "decline", "reason": "x", SECRET: 1}})),
    (
        "an extra argument",
        json.dumps({"next": {"intent": "issue_refund", "arguments": {"order_id": 1, "amount": 1, "to": SECRET}}}),
    ),
    ("a wrong type", json.dumps({"next": {"intent": "issue_refund", "arguments": {"order_id": SECRET, "amount": 1}}})),
    ("true for a number", json.dumps({"next": {"intent": "issue_refund", "arguments": {"order_id": 1, "amount": True}}})),
    ("out of bounds", json.dumps({"next": {"intent": "issue_refund", "arguments": {"order_id": 1, "amount": 0}}})),
    ("too long", json.dumps({"next": {"intent": "decline", "reason": SECRET * 50}})),
    ("arguments as text", json.dumps({"next": {"intent": "issue_refund", "arguments": "{}"}})),
    ("10 MB of arguments", json.dumps({"next": {"intent": "issue_refund", "arguments": {"note": SECRET * 350_000}}})),
    ("10 MB of keys", json.dumps({"next": {"intent": "issue_refund", "arguments": {f"{n:0100}": n for n in range(100_000)}}})),
    ("5,000 levels", DEEP),
    ("NUL", json.dumps({"next": {"intent": "decline", "reason": "a\0b"}})),
    ("a lone surrogate", '{"next": {"intent": "decline", "reason": "\\ud800"}}'),
    ("NaN", '{"next": {"intent": "issue_refund", "arguments": {"order_id": 1, "amount": NaN}}}'),
    ("Infinity", '{"next": {"intent": "issue_refund", "arguments": {"order_id": 1, "amount": 1e999}}}'),
    (
        "a number of 100,000 digits",
        '{"next": {"intent": "issue_refund", "arguments": {"order_id": ' + "9" * 100_000 + ', "amount": 1}}}',
    ),
]


@pytest.mark.parametrize("content", [case[1] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
async def test_a_hostile_completion_is_bad_and_repeats_nothing_of_itself(content: str) -> None:
    error = await failing(http(completion(content)))
    assert isinstance(error, BadCompletion)
    assert SECRET[:12] not in str(error)
    assert len(str(error)) < 400
    assert "\n" not in str(error)


DECLINED = '{"next": {"intent": "decline", "reason": %s}}'
UNREADABLE = [
    ("Sure!", "the answer does not fit: not JSON"),
    (DECLINED % '"\\ud800"', "the answer does not fit: holds a lone surrogate at 0, which is not text; remove it"),
    (DEEP, "the answer does not fit: nested deeper than 64 levels; flatten it"),
    (DECLINED % ("9" * 5000), "the answer does not fit: an integer of more than 308 digits; send it as a string"),
    (DECLINED % ("9" * 400), "next: an integer of more than 308 digits; send it as a string"),
]


@pytest.mark.parametrize(("content", "words"), UNREADABLE, ids=["prose", "surrogate", "deep", "5,000 digits", "400 digits"])
async def test_a_completion_that_cannot_be_read_is_told_why(content: str, words: str) -> None:
    error = await failing(http(completion(content)))
    assert isinstance(error, BadCompletion)
    assert str(error).endswith(words)


async def test_nothing_of_prompt_or_completion_is_logged(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO):
        await failing(http(completion(f"{SECRET} is not JSON")))
        await failing(http({"error": {"message": SECRET}}, 500))
    assert SECRET not in caplog.text
    assert MESSAGES[-1].content not in caplog.text
    assert not any(record.name.startswith("instructor") for record in caplog.records)
    assert capfd.readouterr() == ("", "")


# --- a server nobody here wrote -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("fakellm")
    (folder / "fakellm.yaml").write_text(
        f"""
rules:
  - name: broken
    when: {{messages_contain: "fail please"}}
    respond: {{status: 503, error: down}}
  - name: decline
    when: {{messages_contain: "lamp"}}
    respond: {{content: '{json.dumps(SAID)}'}}
  - name: anything
    respond: {{content: 'I am only a text.'}}
"""
    )
    port = asyncio.run(free_port())
    command = [str(Path(sys.executable).with_name("fakellm")), "serve", "--port", str(port)]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _until_up(f"http://127.0.0.1:{port}/_fakellm")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()


def _until_up(url: str) -> None:
    start = perf_counter()
    while True:
        try:
            urlopen(url).close()
            return
        except URLError:
            assert perf_counter() - start < 20, "fakellm did not start"
            sleep(0.02)


async def test_fakellm_answers_through_the_whole_path(fake: str) -> None:
    async with model(fake, "fake/gpt") as llm:
        answer, picked = await pick(llm, asking())
        assert picked.reply == Decline(reason="Too late")
        assert answer.usage.input_tokens > 0
        heard: list[str] = []
        streamed, _ = await pick(llm, asking(watch=heard.append))
        assert (streamed.chosen, "".join(heard)) == (answer.chosen, json.dumps(SAID))
        with pytest.raises(BadCompletion, match="not JSON"):
            await pick(llm, asking(messages=[Message("user", "hello")]))
        with pytest.raises(ModelUnavailable, match="HTTP 503"):
            await pick(llm, asking(messages=[Message("user", "fail please")]))


async def test_several_calls_in_one_answer_come_through_the_whole_path() -> None:
    choices = Choices((issue_refund, Decline), most=3)
    call = {"intent": "issue_refund", "arguments": {"order_id": 1042, "amount": "45.50"}}
    async with serving(http(completion({"next": [call, call]}))) as server, model(server.url) as llm:
        _, picked = await pick(llm, asking(choices=choices))
    assert picked.intent == "issue_refund"
    assert [item["n"] for item in picked.queue] == [1]
    sent = json.loads(server.bodies[0])["response_format"]["json_schema"]["schema"]
    assert sent == choices.schema


NO_LISTS: list[object] = [{"next": {"intent": "decline"}}, {"next": []}, {"next": "all of them"}, {"next": [[]]}]


@pytest.mark.parametrize("content", NO_LISTS)
async def test_what_is_no_list_of_choices_is_bad_where_several_may_be_made(content: object) -> None:
    error = await failing(http(completion(content)), choices=Choices((issue_refund, Decline), most=3))
    assert isinstance(error, BadCompletion)
