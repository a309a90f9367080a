"""The seam to models, and what stands behind it. Importing this loads no provider: they are imported by the first question."""

from leverframe.llm.choices import Choices, Option, Picked, option
from leverframe.llm.endpoints import Mode
from leverframe.llm.examples import ExamplesLLM
from leverframe.llm.local import LocalLLM
from leverframe.llm.models import model_for
from leverframe.llm.overheard import Hears, Overheard
from leverframe.llm.pace import Rate
from leverframe.llm.prices import Prices
from leverframe.llm.remote import RemoteLLM
from leverframe.llm.scripted import Scripted
from leverframe.llm.seam import (
    LLM,
    Answer,
    Request,
    Tried,
    Usage,
    context_of,
    cost_of,
    estimated_tokens,
    is_offline,
    pick,
    request_hash,
    sent,
    unpriced,
)

__all__ = [
    "LLM",
    "Answer",
    "Choices",
    "ExamplesLLM",
    "Hears",
    "LocalLLM",
    "Mode",
    "Option",
    "Overheard",
    "Picked",
    "Prices",
    "Rate",
    "RemoteLLM",
    "Request",
    "Scripted",
    "Tried",
    "Usage",
    "context_of",
    "cost_of",
    "estimated_tokens",
    "is_offline",
    "model_for",
    "option",
    "pick",
    "request_hash",
    "sent",
    "unpriced",
]
