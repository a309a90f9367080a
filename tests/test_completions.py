"""The corpus of `tests/completions`: broken and hostile answers, through a real server, the real client and the engine.

Each ends in the outcome that stands beside it. None executes anything, none hangs, and what is said of it is one short line.
"""

import asyncio
import gzip
import json
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import cast

import pytest
import yaml

from leverframe import TriggerCommand
from leverframe.canon import Json, Object
from leverframe.llm import Mode, RemoteLLM, Request
from leverframe.llm.line import MAX_ANSWER
from leverframe.llm.seam import LLM, Answer
from tests import test_providers as providers
from tests.house import House, built, desk, world
from tests.served import Said, events, serving

HERE = Path(__file__).parent / "completions"
GOOD = '{"next": {"intent": "stop"}}'
HTTP = "HTTP/1.1 {status} X\r\n{headers}\r\n"
Write = Callable[[asyncio.StreamWriter], Awaitable[None]]


@cache
def corpus(name: str) -> list[Object]:
    return cast("list[Object]", yaml.safe_load((HERE / f"{name}.yaml").read_text()))


def cases(*names: str) -> list[object]:
    return [pytest.param(name, case, id=f"{name}: {case['name']}") for name in names for case in corpus(name)]


def grown(value: Json) -> Json:
    """A value with what is too long to be written down: `$repeat`, `$count`, `$join` make text, `$times` a list."""
    if isinstance(value, list):
        return [grown(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "$join" in value:
        return "".join(cast("list[str]", grown(value["$join"])))
    for name in ("$repeat", "$count", "$times"):
        if name in value:
            what, times = cast("tuple[Json, int]", value[name])
            if name == "$times":
                return [what] * times
            return cast("str", what) * times if name == "$repeat" else "".join(cast("str", what) % n for n in range(times))
    return {key: grown(item) for key, item in value.items()}


# ── raw responses ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def http(case: Object, body: bytes) -> bytes:
    kind = case.get("type", "application/json")
    named = {**({"Content-Type": kind} if kind else {}), **cast("Object", case.get("headers", {})), "Content-Length": len(body)}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return HTTP.format(status=case.get("status", 200), headers=lines).encode() + body


def raw(api: str, case: Object) -> Said:
    case = cast("Object", grown(case))
    if "server" in case:
        return SERVERS[cast("str", case["server"])](case)
    if "events" in case:
        good = providers.chat_stream(GOOD)
        found = [part for item in cast("list[Json]", case["events"]) for part in (good if item == "GOOD" else [item])]
        return events(*found, done=case.get("done") is not False)
    if "text" in case:
        return http(case, cast("str", case["text"]).encode(cast("str", case.get("encoding", "utf-8"))))
    body = case["body"] if "body" in case else whole(api, case)
    return http(case, json.dumps(body).encode())


def whole(api: str, case: Object) -> object:
    """A good answer of the API, but for what the case changes."""
    content, change = cast("str", case.get("content", GOOD)), cast("dict[str, object]", case.get("change", {}))
    if api == "messages":
        return providers.claude(content) | change
    if api == "gemini":
        body = providers.gemini(content)
        cast("list[dict[str, object]]", body["candidates"])[0] |= change
        return body
    body = providers.chat(content)
    choice = cast("list[dict[str, object]]", body["choices"])[0]
    if "calls" in case:
        calls = cast("list[list[str]]", case["calls"])
        made = [{"id": "1", "type": "function", "function": {"name": name, "arguments": text}} for name, text in calls]
        case = {**case, "message": cast("Json", {"content": None, "tool_calls": made})}
    choice["message"] = {**cast("Object", choice["message"]), **cast("Object", case.get("message", {}))}
    return body | {"choices": [{**choice, **cast("Object", case.get("choice", {}))}]}


def chunked(case: Object, piece: bytes, pause: float = 0.0, head: str = "") -> Write:
    """The piece, again and again, until nobody listens."""

    async def write(writer: asyncio.StreamWriter) -> None:
        kind = case.get("type", "text/event-stream" if b":" in piece else "application/json")
        writer.write(
            HTTP.format(status=case.get("status", 200), headers=f"Content-Type: {kind}\r\nConnection: close\r\n{head}").encode()
        )
        while not writer.is_closing():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return write


def drip(case: Object, quickly: int) -> Write:
    whole = http(case, json.dumps(providers.chat(GOOD)).encode())

    async def write(writer: asyncio.StreamWriter) -> None:
        start = whole.index(b"\r\n\r\n") + 4 if quickly else 0
        writer.write(whole[:start])
        for at in range(start, len(whole)):
            writer.write(whole[at : at + 1])
            await writer.drain()
            await asyncio.sleep(0.05)

    return write


def silence(case: Object) -> Write:
    async def write(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    return write


@cache
def bomb() -> bytes:
    return gzip.compress(gzip.compress(b"\0" * 500_000_000, 1), 9)[:100_000]


CHUNK = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\ndata: {"
SERVERS: dict[str, Callable[[Object], Said]] = {
    "endless": lambda case: (
        chunked(case, b" " * 65536) if "type" in case else chunked({"type": "application/json", **case}, b" " * 65536)
    ),
    "endless events": lambda case: chunked(case, b'data: {"choices": [{"index": 0, "delta": {"content": " "}}]}\n\n' * 500),
    "endless comments": lambda case: chunked(case, b": OPENROUTER PROCESSING\n\n" * 1000),
    "keep-alive": lambda case: chunked(case, b": keep-alive\n\n", pause=0.05),
    "gzip": lambda case: http({**case, "headers": {"Content-Encoding": "gzip"}}, bomb()),
    "drip": lambda case: drip(case, 1),
    "drip head": lambda case: drip(case, 0),
    "silence": silence,
    "close": lambda case: None,
    "half": lambda case: http(case, json.dumps(providers.chat(GOOD)).encode())[:-20],
    "half chunk": lambda case: CHUNK,
    "ssh": lambda case: b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "headers": lambda case: HTTP.format(status=200, headers=f"X-Much: {'a' * 10_000_000}\r\n").encode(),
}


# ── what becomes of them ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One house for the whole corpus."""
    with built(tmp_path_factory.mktemp("corpus")) as found:
        yield found


@pytest.fixture
def house(shared: House) -> House:
    world.clear()
    return shared


class Watched:
    """Every answer is watched, so it is streamed."""

    def __init__(self, llm: LLM) -> None:
        self._llm = llm

    async def ask(self, request: Request) -> Answer:
        return await self._llm.ask(replace(request, watch=providers.unheard))


PROVIDER = {"chat": "here", "tools": "here", "streams": "here", "messages": "anthropic", "gemini": "google"}


async def ended(house: House, api: str, case: Object, said: Said, *, streams: bool = False) -> tuple[str, str]:
    """How the one question ends that is answered so, and in what words."""
    mode: Mode = "tools" if api == "tools" else "json_schema"
    name = f"{PROVIDER[api]}/big-1"
    async with serving(said) as server:
        address = server.url if PROVIDER[api] == "here" else server.url.removesuffix("/v1")
        timeout = cast("float", case.get("timeout", 30.0))
        llm = RemoteLLM(name, base_url=address, modes={name: mode}, timeout=timeout, clock=house.clock)
        engine = house(desk, llm=Watched(llm) if streams else llm)
        row = await engine.start(TriggerCommand("desk", {}))
        start = perf_counter()
        await engine.step(row.run.id)
        assert perf_counter() - start < timeout + 3
        await llm.close()
        assert len(server.bodies) <= 1
    log = await engine.store.events(row.run.id)
    body = log[1].body
    error = cast("Object", body.get("error") or {})
    words = str(error.get("cause") or body.get("why") or body.get("reason") or "")
    assert len(words) <= 300 or log[1].type == "blocked"
    outcome = {"postponed": "later", "blocked": "blocked"}.get(log[1].type) or str(body.get("outcome"))
    assert world.sent == []
    assert await engine.store.effects(row.run.id) == [] or outcome == "charge"
    return outcome, words


@pytest.mark.parametrize(("api", "case"), cases("chat", "tools", "streams", "messages", "gemini"))
async def test_an_answer_ends_as_declared(house: House, api: str, case: Object) -> None:
    outcome, words = await ended(house, api, case, raw(api, case), streams=api == "streams")
    assert (outcome, case.get("says", "") if str(case.get("says", "")) in words else words) == (
        case["ends"],
        case.get("says", ""),
    )


STREAMS = {"chat": providers.chat_stream, "messages": providers.claude_stream, "gemini": providers.gemini_stream}


@pytest.mark.long
@pytest.mark.parametrize(("name", "case"), cases("content"))
async def test_what_a_model_writes_ends_the_same_through_every_api_whole_and_streamed(
    house: House, name: str, case: Object
) -> None:
    content = cast("str", grown(case["content"]))
    for api, stream in STREAMS.items():
        for said in (raw(api, {"content": content}), events(*(stream(content) if len(content) < 50_000 else [])) or None):
            if isinstance(said, bytes) and b"event-stream" in said and len(content) >= 50_000:
                continue
            outcome, words = await ended(house, api, case, said, streams=isinstance(said, bytes) and b"event-stream" in said)
            assert (api, outcome) == (api, case["ends"])
            assert str(case.get("says", "")) in words


@pytest.mark.long
async def test_what_is_endless_or_packed_fills_no_memory(house: House) -> None:
    await ended(house, "streams", {}, raw("streams", {}), streams=True)  # what the client imports is not what is measured
    for server in ("endless", "endless events", "endless comments", "gzip"):
        case: Object = {"name": server, "server": server}
        said = raw("streams", case)
        tracemalloc.start()
        outcome, _ = await ended(house, "streams", case, said, streams=True)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert outcome == "error"
        assert peak < 6 * MAX_ANSWER, server


async def test_what_failed_is_paid_for_and_counted(house: House) -> None:
    case: Object = {"name": "half", "events": [{"choices": [{"index": 0, "delta": {"content": '{"next"'}}]}], "done": False}
    async with serving(raw("streams", case)) as server:
        name = "here/big-1"
        llm = RemoteLLM(name, base_url=server.url, prices={name: (1.0, 2.0)}, clock=house.clock)
        engine = house(desk, llm=Watched(llm))
        row = await engine.start(TriggerCommand("desk", {}))
        run = (await engine.step(row.run.id)).run
        assert run.cost > 0
        await llm.close()


def test_the_corpus_is_as_large_as_promised() -> None:
    names = ("content", "chat", "tools", "streams", "messages", "gemini")
    assert sum(len(corpus(name)) for name in names) >= 180
