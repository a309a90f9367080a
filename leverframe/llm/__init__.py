"""The seam to models, and what stands behind it. Importing this loads no provider: they are imported by the first question."""

from leverframe.llm.choices import Choices, Option, Picked, option
from leverframe.llm.examples import ExamplesLLM
from leverframe.llm.models import model_for
from leverframe.llm.remote import InstructorLLM, Prices
from leverframe.llm.scripted import Scripted
from leverframe.llm.seam import LLM, Answer, Request, Usage, context_of, estimated_tokens, is_offline, pick, request_hash, sent

__all__ = [
    "LLM",
    "Answer",
    "Choices",
    "ExamplesLLM",
    "InstructorLLM",
    "Option",
    "Picked",
    "Prices",
    "Request",
    "Scripted",
    "Usage",
    "context_of",
    "estimated_tokens",
    "is_offline",
    "model_for",
    "option",
    "pick",
    "request_hash",
    "sent",
]
