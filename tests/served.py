"""A server of models' answers on this machine: real HTTP, with whatever bytes a test wants it to say, however slowly."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

Said: TypeAlias = "bytes | Callable[[asyncio.StreamWriter], Awaitable[None]] | None"
"""A raw response, a function that writes one, or None: the connection is closed."""


@dataclass
class Server:
    """Answers every request with the next of its raw responses, the last one again and again; None closes the connection."""

    answers: list[Said]
    delay: float = 0.0
    drip: float = 0.0  # seconds between two bytes
    url: str = ""
    bodies: list[bytes] = field(default_factory=list[bytes])
    heads: list[str] = field(default_factory=list[str])
    tasks: set["asyncio.Task[None] | None"] = field(default_factory=set["asyncio.Task[None] | None"])

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.add(asyncio.current_task())
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            self.heads.append(head)
            self.bodies.append(await reader.readexactly(int(head.partition("content-length:")[2].split("\r\n")[0])))
            await asyncio.sleep(self.delay)
            answer = (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]) or b""
            if not isinstance(answer, bytes):
                await answer(writer)
                return
            for part in [answer[i : i + 1] for i in range(len(answer))] if self.drip else [answer]:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(self.drip)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(*answers: Said, delay: float = 0.0, drip: float = 0.0, port: int = 0) -> AsyncGenerator[Server, None]:
    server = Server(list(answers), delay, drip)
    listening = await asyncio.start_server(server.handle, "127.0.0.1", port)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
    try:
        yield server
    finally:
        listening.close()
        for task in filter(None, server.tasks):
            task.cancel()
        await asyncio.sleep(0.01)


def http(body: object, status: int = 200, headers: str = "", kind: str = "application/json") -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n{headers}Content-Length: {len(raw)}\r\n\r\n".encode() + raw


async def free_port() -> int:
    listening = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    async with listening:
        return int(listening.sockets[0].getsockname()[1])


def events(*data: object, done: bool = True, headers: str = "") -> bytes:
    """A stream of server-sent events, whole; the connection's end ends it."""
    lines = [f"data: {item if isinstance(item, str) else json.dumps(item)}\n\n" for item in data] + (
        ["data: [DONE]\n\n"] if done else []
    )
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{headers}Connection: close\r\n\r\n"
    return (head + "".join(lines)).encode()
