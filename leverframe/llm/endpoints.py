"""Where a model is asked, by its name `provider/model`: address, key, API, and how that provider wants things said.

Addresses and keys come from the environment (`<PROVIDER>_BASE_URL`, `<PROVIDER>_API_KEY`). A key is in no `repr` and no message.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from leverframe.errors import UnknownModel, did_you_mean

Api: TypeAlias = Literal["chat", "messages", "gemini"]
"""OpenAI's chat completions, Anthropic's messages, Google's generateContent."""

Mode: TypeAlias = Literal["json_schema", "tools"]
"""How the schema is sent: as structured output, the way the provider's API has it, or as the one function that must be called."""

MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True, slots=True)
class Provider:
    """`strict`: it takes `"strict": true` with a schema and keeps to it. `free`: it runs on machines of one's own."""

    base_url: str
    keyed: bool = True
    strict: bool = False
    limit: str = "max_tokens"
    api: Api = "chat"
    free: bool = False


_GOOGLE = Provider("https://generativelanguage.googleapis.com/v1beta", api="gemini")
PROVIDERS = {
    "openai": Provider("https://api.openai.com/v1", strict=True, limit="max_completion_tokens"),
    "anthropic": Provider("https://api.anthropic.com", api="messages"),
    "google": _GOOGLE,
    "gemini": _GOOGLE,
    "azure": Provider("", strict=True, limit="max_completion_tokens"),
    "openrouter": Provider("https://openrouter.ai/api/v1", strict=True),
    "groq": Provider("https://api.groq.com/openai/v1"),
    "mistral": Provider("https://api.mistral.ai/v1"),
    "together": Provider("https://api.together.xyz/v1"),
    "fireworks": Provider("https://api.fireworks.ai/inference/v1"),
    "ollama": Provider("http://localhost:11434/v1", keyed=False, free=True),
    "vllm": Provider("http://localhost:8000/v1", keyed=False, free=True),
    "llamacpp": Provider("http://localhost:8080/v1", keyed=False, free=True),
}
NOT_YET = {"vertexai", "bedrock", "cohere"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one model is asked, and how."""

    model: str
    name: str
    base_url: str
    api_key: str = field(repr=False)
    strict: bool
    limit: str
    api: Api = "chat"
    mode: Mode = "json_schema"
    version: str = ""
    """Of Azure's older addresses, which name a deployment and want their key in a header of its own."""

    @property
    def provider(self) -> str:
        return self.model.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Own:
    """What is set for the provider of one model, over the environment. `modes` is by model's name."""

    provider: str = ""
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    strict: bool | None = None
    modes: Mapping[str, Mode] = field(default_factory=dict[str, Mode])


def endpoint_of(model: str, own: Own) -> Endpoint:
    """Where a model is asked. Raises UnknownModel: no such provider, no key, no address."""
    provider, _, name = model.partition("/")
    if not provider or not name:
        raise UnknownModel(f"model {model[:80]!r}: write provider/model, as in openai/gpt-4o-mini, or 'examples'")
    ours = provider == own.provider
    variable = re.sub(r"\W", "_", provider).upper()
    address = (own.base_url if ours else None) or os.environ.get(f"{variable}_BASE_URL")
    known = PROVIDERS.get(provider)
    if not address and not (known and known.base_url):
        raise UnknownModel(_unknown(provider, variable))
    known = known or Provider("")
    key = (own.api_key if ours else None) or os.environ.get(f"{variable}_API_KEY", "")
    if not key and not address and known.keyed:
        raise UnknownModel(f"model {model}: set {variable}_API_KEY to the provider's key, or use the offline model 'examples'")
    if not key.isascii() or not key.isprintable() or (address and not re.match(r"https?://[^/\s]", address)):
        raise UnknownModel(
            f"model {model}: {variable}_API_KEY or the base URL is malformed; a URL begins with http:// or https://"
        )
    strict = own.strict if own.strict is not None else known.strict and not address
    version = os.environ.get("AZURE_API_VERSION", "") if provider == "azure" else ""
    url = _azure(address, name, version) if provider == "azure" and address else (address or known.base_url)
    mode = own.modes.get(model, "json_schema")
    if mode not in MODES:
        raise UnknownModel(f"model {model}: there is no mode {mode!r}; choose one of {', '.join(MODES)}")
    return Endpoint(model, name, url.rstrip("/"), key or "none", strict, known.limit, known.api, mode, version)


def is_free(model: str) -> bool:
    """Runs on machines of one's own, so a call costs nothing."""
    known = PROVIDERS.get(model.partition("/")[0])
    return known is not None and known.free


def _azure(address: str, deployment: str, version: str) -> str:
    """With an API version the older addresses by deployment, without one those that are like OpenAI's."""
    root = re.sub(r"/openai(/v1)?/*$", "", address.rstrip("/"))
    return f"{root}/openai/deployments/{deployment}" if version else f"{root}/openai/v1"


def _unknown(provider: str, variable: str) -> str:
    if provider == "azure":
        return "provider 'azure': set AZURE_BASE_URL to the resource's address, as in https://NAME.openai.azure.com, and AZURE_API_KEY"
    if provider in NOT_YET:
        return (
            f"provider {provider!r} is not built in yet: its own API needs another adapter. Ask it through an OpenAI-compatible "
            f"gateway (openrouter/…, or base_url=…)"
        )
    known = sorted(PROVIDERS)
    return (
        f"unknown provider {provider[:80]!r}; known are {', '.join(known)}.{did_you_mean(provider, known)} For any other "
        f"OpenAI-compatible server set {variable}_BASE_URL or base_url"
    )
