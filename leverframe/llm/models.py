"""Which model a name means, and which is asked next where one is unavailable.

There is no default: losing a setting never turns real answers into canned ones.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from leverframe.clock import Clock
from leverframe.errors import BadCompletion, ModelRefused, ModelUnavailable, UnknownModel
from leverframe.llm.endpoints import Mode
from leverframe.llm.examples import ExamplesLLM
from leverframe.llm.local import LocalLLM
from leverframe.llm.pace import Rate
from leverframe.llm.prices import Prices
from leverframe.llm.remote import RemoteLLM
from leverframe.llm.seam import LLM, Answer, Request, Tried, Usage, context_of, cost_of, unpriced


def model_for(
    name: str,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    strict: bool | None = None,
    modes: Mapping[str, Mode] | None = None,
    prices: Prices | None = None,
    rates: Mapping[str, Rate] | None = None,
    timeout: float | None = None,
    alone: bool = False,
    clock: Clock | None = None,
) -> LLM:
    """`examples` (offline), `local` (a small one on this machine) or `provider/model`; with commas, several: the next one is asked
    where one is unavailable. See `RemoteLLM` for the settings; base_url and api_key are those of the first provider. `alone`: they
    answer in the place of those that prompts name, too.

    Imports no provider. Raises UnknownModel, saying what to set or install.
    """
    names = split(name)
    if not names:
        raise UnknownModel("no model is set: name one ('provider/model', or 'examples' to work offline); there is no default")
    if names == ["examples"]:
        return ExamplesLLM()

    def remote(model: str) -> RemoteLLM:
        settings = {"timeout": timeout} if timeout else {}
        return RemoteLLM(
            model,
            base_url=base_url,
            api_key=api_key,
            strict=strict,
            modes=modes,
            prices=prices,
            rates=rates,
            clock=clock,
            **settings,
        )

    return Models(names, remote, lambda model: LocalLLM(model, timeout=timeout), alone=alone)


def split(names: str) -> list[str]:
    """`openai/a, anthropic/b` as a list."""
    return [name.strip() for name in names.split(",") if name.strip()]


class Models:
    """The configured models, and those that a prompt names in their place. Each is asked once; the next one where it is unavailable.

    A prompt's model that means nothing is as a refused key: somebody must put it right. Raises UnknownModel for a configured one.
    """

    def __init__(
        self, names: Sequence[str], remote: Callable[[str], RemoteLLM], local: Callable[[str], LocalLLM], *, alone: bool = False
    ) -> None:
        self._names, self._remote, self._local = list(names), remote, local
        self._known: dict[str, LLM] = {}
        self._far: RemoteLLM | None = None
        self._alone = alone
        for name in self._names:
            self.model(name)

    def model(self, name: str) -> LLM:
        """The model of that name. Raises UnknownModel."""
        if name not in self._known:
            self._known[name] = self._made(name)
        return self._known[name]

    def _made(self, name: str) -> LLM:
        if name == "examples":
            raise UnknownModel("model 'examples' is offline: a run is never continued by the other kind, so it stands alone")
        if name == "local" or name.startswith("local:"):
            return self._local(name)
        if self._far is None:
            first = next((known for known in self._names if "/" in known and not known.startswith("local:")), name)
            self._far = self._remote(first)
        self._far.endpoint(name)
        return self._far

    async def ask(self, request: Request) -> Answer:
        """One answer of the first model that is available. Raises BadCompletion, ModelUnavailable, ModelRefused."""
        tried: list[Tried] = []
        unavailable: list[ModelUnavailable] = []
        for name in self._asked(request):
            try:
                answer = await self._one(name).ask(replace(request, model=name))
            except ModelUnavailable as error:
                unavailable.append(error)
                tried.append(Tried(name, str(error), error.usage))
            except BadCompletion as error:
                error.usage = _spent(error.usage if isinstance(error.usage, Usage) else None, tried)
                raise
            else:
                return replace(answer, usage=_with_tried(answer.usage, tried), tried=tuple(tried))
        raise _all(unavailable)

    def context(self, model: str) -> int | None:
        """How many tokens any of the models takes that may answer, its answer included; None where that is not known of one."""
        known = [context_of(self._known.get(name) or self._far, name) for name in self._wanted(model)]
        return min((size for size in known if size is not None), default=None)

    def cost(self, model: str, input_tokens: int, output_tokens: int) -> int:
        """What a call of so many tokens would cost, in millionths of a dollar, of the dearest model that may answer; 0: not known."""
        known = ((self._known.get(name) or self._far, name) for name in self._wanted(model))
        return max(cost_of(llm, name, input_tokens, output_tokens) for llm, name in known)

    def unpriced(self, request: Request) -> str:
        """Why the cost of a call would be unknown: of any of the models that may answer."""
        for name in self._asked(request):
            try:
                why = unpriced(self._one(name), replace(request, model=name))
            except ModelRefused:
                continue  # asking it says what is wrong
            if why:
                return why
        return ""

    async def close(self) -> None:
        for llm in dict.fromkeys(self._known.values()):
            if isinstance(llm, RemoteLLM | LocalLLM):
                await llm.close()

    def _asked(self, request: Request) -> list[str]:
        return self._wanted(request.model)

    def _wanted(self, model: str) -> list[str]:
        return self._names if self._alone else split(model) or self._names

    def _one(self, name: str) -> LLM:
        try:
            return self.model(name)
        except UnknownModel as error:
            raise ModelRefused(str(error)) from None


def _with_tried(usage: Usage, tried: Sequence[Tried]) -> Usage:
    for one in tried:
        usage = usage.and_of(one.usage) if one.usage is not None else usage
    return usage


def _spent(usage: Usage | None, tried: Sequence[Tried]) -> Usage | None:
    """What a failure and the attempts before it cost; None where nobody said that any did."""
    return _with_tried(usage or Usage(cost=0), tried) if usage or any(one.usage for one in tried) else None


def _all(unavailable: Sequence[ModelUnavailable]) -> ModelUnavailable:
    """None of them answered: it is asked again when the first of them may be; what the attempts cost counts."""
    if len(unavailable) == 1:
        return unavailable[0]
    kind = ModelRefused if all(isinstance(error, ModelRefused) for error in unavailable) else ModelUnavailable
    times = [error.retry_after for error in unavailable if not isinstance(error, ModelRefused)]
    known = [time for time in times if time is not None]
    usage = _spent(None, [Tried("", "", error.usage) for error in unavailable])
    after = min(known) if known and len(known) == len(times) else None
    return kind("; ".join(map(str, unavailable)), retry_after=after, usage=usage)
