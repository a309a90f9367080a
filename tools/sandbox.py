"""A payment provider, a carrier and a supplier for demos and tests: real HTTP, in a thread that starts when first needed.

They honour idempotency keys, and remember them in a file beside the database. Like every provider's sandbox this one has magic
values: what is about order 1013 or about `unobtainium` is refused; what is about order 1025 or about `feathers` is done, but
the answer gets lost.
"""

import json
import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from threading import Thread
from urllib.parse import urlsplit

REFUSED: dict[object, str] = {1013: "the customer's card is closed", "unobtainium": "nobody sells unobtainium"}
LOST = (1025, "feathers")
_PROJECT = Path(__file__).resolve().parent.parent

_home: list[Path] = []


def place(database_url: str) -> None:
    """Keep what must last beside this database; beside the project (or in SANDBOX_DIR) if it is no file."""
    url = urlsplit(database_url)
    folder = Path() if url.scheme.startswith("sqlite") else Path(os.environ.get("SANDBOX_DIR", _PROJECT))
    _home[:] = [(folder / url.path[1:]).absolute()]


def beside(suffix: str) -> Path:
    """`leverframe.outbox` for the suffix `.outbox`."""
    if not _home:
        raise RuntimeError(
            "the sandbox has no place yet; call tools.prepare(database_url) first, as `leverframe` does before a run"
        )
    return _home[0].with_suffix(suffix)


def done(kind: str) -> list[dict[str, object]]:
    """Everything of a kind (`refunds`, `shipments`, `purchases`) that was done, the oldest first."""
    with _ledger() as ledger:
        return [
            json.loads(answer) for (answer,) in ledger.execute("SELECT answer FROM done WHERE kind = ? ORDER BY rowid", [kind])
        ]


@cache
def url() -> str:
    """Where it listens."""
    server = _Server(("127.0.0.1", 0), _Handler)
    Thread(target=server.serve_forever, name="sandbox", daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


class _Server(ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        kind, key = self.path.strip("/"), self.headers.get("Idempotency-Key", "")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self._answer(*(_do(kind, key, body) if key else (400, "no Idempotency-Key")))

    def do_GET(self) -> None:
        kind, _, key = self.path.strip("/").partition("/")
        with _ledger() as ledger:
            row: tuple[str] | None = ledger.execute("SELECT answer FROM done WHERE kind = ? AND key = ?", [kind, key]).fetchone()
        self._answer(*((200, row[0]) if row else (404, "nothing was done under this key")))

    def log_message(self, format: str, *args: object) -> None:
        """Not on people's terminals."""

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())


def _do(kind: str, key: str, body: str) -> tuple[int, str]:
    """The key first: what was done stays done, and is answered as it was."""
    with _ledger() as ledger:
        ledger.execute("BEGIN IMMEDIATE")
        row: tuple[str, str] | None = ledger.execute(
            "SELECT body, answer FROM done WHERE kind = ? AND key = ?", [kind, key]
        ).fetchone()
        if row and row[0] != body:
            return 409, "this key was used for something else"
        wanted: dict[str, object] = json.loads(body)
        answer = row[1] if row else json.dumps({"id": f"{kind[:-1]}-{sha256(key.encode()).hexdigest()[:10]}", **wanted})
        if not row:
            for value in wanted.values():
                if value in REFUSED:
                    return 402, f"refused: {REFUSED[value]}"
            ledger.execute("INSERT INTO done VALUES (?, ?, ?, ?)", [kind, key, body, answer])
        return (500, "the answer got lost") if any(value in LOST for value in wanted.values()) else (200, answer)


@contextmanager
def _ledger() -> Generator[sqlite3.Connection]:
    ledger = sqlite3.connect(beside(".sandbox.db"), timeout=10)
    try:
        with ledger:
            ledger.execute("PRAGMA synchronous=OFF")  # survives kill -9; it is no bank
            ledger.execute(
                "CREATE TABLE IF NOT EXISTS done (kind TEXT, key TEXT, body TEXT, answer TEXT, PRIMARY KEY (kind, key))"
            )
            yield ledger
    finally:
        ledger.close()
