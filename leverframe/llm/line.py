"""The line to a server: what comes over it is bounded, whole, and not streamed any more, before anybody else looks at it.

An answer of more than MAX_ANSWER bytes is not read to its end, and a compressed one not at all: we ask for none, and a few bytes
may become gigabytes. So may a few megabytes of `{},{},{}` once libraries make objects of them: they never get an answer of more values
than any needs. A streamed answer is heard by whoever watches, and gathered into what the server would have sent without streaming; so
everything behind this module knows one form of an answer.
"""

import json
import logging
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Protocol, cast

from leverframe.canon import Object
from leverframe.errors import BadCompletion, ModelUnavailable

if TYPE_CHECKING:
    from collections.abc import Generator
    from ssl import SSLContext

    from httpx2 import AsyncByteStream, AsyncClient, Response

MAX_ANSWER = 8 * 1024 * 1024
MAX_ERROR = 64 * 1024
MAX_VALUES = 50_000
MAX_QUOTED = 300_000
"""Values that may stand in an answer's texts, which is where most APIs put the JSON that was asked for."""
_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_KINDS = {b"{": "application/json", b"<": "text/html"}
log = logging.getLogger("leverframe")


class Gathering(Protocol):
    """The events of a streamed answer on their way to being one answer; each API has its own."""

    def take(self, event: Object) -> str:
        """Notes an event; gives the text that came with it."""
        ...

    def whole(self, done: bool) -> Object | None:
        """As it would have come without streaming; None where it broke off. `done`: the server said that this was all."""
        ...


class Status(Exception):
    """The server answered with a status that is no success."""

    def __init__(self, status: int, headers: Mapping[str, str], body: object) -> None:
        super().__init__(f"HTTP {status}")
        self.status, self.headers, self.body = status, headers, body


class Call:
    """One call on the line. `heard` are the bytes of a successful answer that came, however it ended."""

    def __init__(self, gathering: Gathering | None = None, watch: Callable[[str], None] | None = None) -> None:
        self.gathering = gathering if watch is not None else None
        self.heard = 0
        self._watch = watch

    @property
    def streams(self) -> bool:
        return self.gathering is not None

    def tell(self, said: str) -> None:
        """Whoever only watches changes nothing: what fails there stays there."""
        if self._watch is None or not said:
            return
        try:
            self._watch(said)
        except Exception:
            log.warning("whoever watched an answer failed, and hears no more of it", exc_info=True)
            self._watch = None


# The libraries between us and the connection pass nothing on; what they do for one question, they do in its own context.
_calls: ContextVar[Call | None] = ContextVar("leverframe_call", default=None)


@contextmanager
def on(call: Call) -> "Generator[None]":
    """What is received inside belongs to this call."""
    token = _calls.set(call)
    try:
        yield
    finally:
        _calls.reset(token)


def connections() -> "AsyncClient":
    """A pool for one event loop. It follows no redirection, which would carry keys elsewhere, and has no time-out of its own."""
    import httpx2

    return httpx2.AsyncClient(
        event_hooks={"response": [_received]},
        headers={"Accept-Encoding": "identity"},
        follow_redirects=False,
        timeout=None,
        verify=_trusted(),
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=100),
    )


@cache
def _trusted() -> "SSLContext":
    """Whom we trust: read once in a process, for it takes thirty milliseconds."""
    import httpx2

    return httpx2.create_ssl_context()


async def post(
    client: "AsyncClient", url: str, headers: Mapping[str, str], body: Object
) -> "tuple[int, Mapping[str, str], bytes]":
    """Status, headers and content of what came back, whatever it is."""
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    response = await client.post(url, headers={"Content-Type": "application/json", **headers}, content=content)
    return response.status_code, response.headers, response.content


async def _received(response: "Response") -> None:
    import httpx2

    stream = cast("AsyncByteStream", response.stream)
    good = response.status_code < 400
    call = _calls.get() or Call()
    try:
        if _packed(response):
            if good:
                raise BadCompletion(
                    "the server compresses its answer, though it was asked not to; unpacking it could fill the memory"
                )
            whole = b""
        elif good and call.gathering is not None and "event-stream" in response.headers.get("content-type", ""):
            whole = await _gathered(_bounded(stream, call), call)
        elif good:
            whole = b"".join([part async for part in _bounded(stream, call)])
        else:
            whole = await _beginning(stream)
    finally:
        await stream.aclose()
    if good:
        _refuse_crowds(whole)
    response.stream = httpx2.ByteStream(whole)
    for name in ("content-encoding", "content-length", "transfer-encoding"):
        response.headers.pop(name, None)
    if kind := _KINDS.get(whole.lstrip()[:1]):
        response.headers["content-type"] = kind  # some gateways name it otherwise


def _packed(response: "Response") -> bool:
    return response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity")


async def _bounded(stream: "AsyncByteStream", call: Call) -> AsyncIterator[bytes]:
    async for part in stream:
        call.heard += len(part)
        if call.heard > MAX_ANSWER:
            raise BadCompletion(f"the answer is over {MAX_ANSWER // 1024**2} MB, and was not read to its end")
        yield part


def _refuse_crowds(data: bytes) -> None:
    """Told by commas and brackets, before anybody parses it. Raises BadCompletion."""
    marks = _marks(data)
    if marks > MAX_VALUES and (marks > MAX_QUOTED or _marks(_TEXT.sub(b"", data)) > MAX_VALUES):
        raise BadCompletion(f"the answer holds more than {MAX_VALUES:,} values")


def _marks(data: bytes) -> int:
    return sum(map(data.count, (b",", b"{", b"[")))


async def _beginning(stream: "AsyncByteStream") -> bytes:
    """As much of an error as anybody reads."""
    found = bytearray()
    async for part in stream:
        found += part
        if len(found) > MAX_ERROR:
            break
    return bytes(found[:MAX_ERROR])


async def _gathered(parts: AsyncIterator[bytes], call: Call) -> bytes:
    """A stream of server-sent events as the one answer it amounts to. Raises BadCompletion, ModelUnavailable."""
    gathering, done = cast("Gathering", call.gathering), False
    async for data in _data(parts):
        if data.strip() == b"[DONE]":
            done = True
            break
        if not data.strip():
            continue  # a heartbeat of some gateways
        _refuse_crowds(data)
        try:
            event: object = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise BadCompletion(f"the stream cannot be read ({type(error).__name__})") from None
        if isinstance(event, dict):
            call.tell(gathering.take(cast("Object", event)))
    whole = gathering.whole(done)
    if whole is None:
        raise ModelUnavailable("the stream broke off before the answer was complete")
    return json.dumps(whole, separators=(",", ":")).encode()


async def _data(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The data of each event; comments, names of events and other fields are left out."""
    lines: list[bytes] = []
    async for line in _lines(parts):
        if line.startswith(b"data:"):
            lines.append(line[5:].removeprefix(b" "))
        elif not line and lines:
            yield b"\n".join(lines)
            lines = []
    if lines:
        yield b"\n".join(lines)


async def _lines(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = bytearray()
    async for part in parts:
        rest += part
        if b"\n" in part:
            *found, rest = rest.split(b"\n")
            for line in found:
                yield bytes(line.removesuffix(b"\r"))
    if rest:
        yield bytes(rest)
