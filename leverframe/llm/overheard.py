"""A model whose answers somebody hears while they are being written: what is asked, answered and recorded stays the same."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import TypeAlias, cast

from leverframe.llm.seam import LLM, Answer, Request, context_of, cost_of, is_offline, unpriced

Hears: TypeAlias = Callable[[Request, str], None]


class Overheard:
    """`hears` gets each piece of an answer, with the question it belongs to."""

    def __init__(self, llm: LLM, hears: Hears) -> None:
        self._llm, self._hears = llm, hears
        self.offline = is_offline(llm)

    async def ask(self, request: Request) -> Answer:
        return await self._llm.ask(replace(request, watch=partial(self._hears, request)))

    def unpriced(self, request: Request) -> str:
        return unpriced(self._llm, request)

    def context(self, model: str) -> int | None:
        return context_of(self._llm, model)

    def cost(self, model: str, input_tokens: int, output_tokens: int) -> int:
        return cost_of(self._llm, model, input_tokens, output_tokens)

    async def close(self) -> None:
        close = cast("Callable[[], Awaitable[None]] | None", getattr(self._llm, "close", None))
        if close is not None:
            await close()
