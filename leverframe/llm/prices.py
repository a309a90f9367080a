"""What a call costs: prices of the project's own, and over and above them those that the package `genai-prices` ships, offline.

A model without a known price has no cost, which is not the same as costing nothing: a machine with a cost limit does not ask it.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from leverframe.llm.endpoints import is_free
from leverframe.llm.reading import Counts

if TYPE_CHECKING:
    from genai_prices.types import Provider

Prices: TypeAlias = Mapping[str, tuple[float, ...]]
"""Dollars for a million tokens in, out and, where that differs, read from a cache: `{"openai/gpt-4o-mini": (0.15, 0.60, 0.075)}`."""

_CALLED_ELSEWHERE = {"gemini": "google"}


class PriceTable:
    """The project's own prices first, then what runs on machines of one's own, then those that are known of the provider."""

    def __init__(self, own: Prices) -> None:
        self._own = own

    def knows(self, model: str) -> bool:
        return self.cost(model, Counts(1_000_000, 1_000_000)) is not None

    def cost(self, model: str, counts: Counts) -> int | None:
        """In millionths of a dollar; None where no price is known."""
        if model in self._own:
            fresh, out, cached = (*self._own[model], self._own[model][0])[:3]
            # Dollars for a million tokens are millionths for one.
            return round((counts.input - counts.cached) * fresh + counts.cached * cached + counts.output * out)
        return 0 if is_free(model) else _known(model, counts)

    def unknown(self, model: str) -> str:
        return (
            f"no price is known of the model {model}, and the machine has a cost limit: set it, in dollars for a million tokens in "
            f'and out, as `prices = {{"{model}" = [0.15, 0.60]}}` under [tool.leverframe]'
        )


def context_window(model: str) -> int | None:
    """How many tokens a model takes, its answer included; None where the package does not know."""
    provider, name = _listed(model)
    found = _providers()[provider].find_model(name) if provider in _providers() else None
    return found.context_window if found else None


def _listed(model: str) -> tuple[str, str]:
    """Provider and model as the package calls them."""
    provider, _, name = model.partition("/")
    return _CALLED_ELSEWHERE.get(provider, provider), name


def _known(model: str, counts: Counts) -> int | None:
    provider, name = _listed(model)
    if provider not in _providers():
        return None
    from genai_prices import Usage, calc_price

    used = Usage(input_tokens=counts.input, output_tokens=counts.output, cache_read_tokens=counts.cached)
    try:
        return round(calc_price(used, model_ref=name, provider_id=provider).total_price * 1_000_000)
    except (LookupError, ValueError):  # no such model, or no price of what was used
        return None


@lru_cache(maxsize=1)
def _providers() -> "Mapping[str, Provider]":
    from genai_prices.data import providers  # a table of 1.6 MB, looked at by the first question

    return {provider.id: provider for provider in providers}
