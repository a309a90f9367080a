"""`recall`: what the window shortened or left out, read again in full. A tool like any other: list it in an Ask's replies and an Act's runs.

    replies = (recall, issue_refund, Decline)          and an Act with runs = (recall,), whose `ok` leads back to the Ask

It reads the run's own log, which the engine gives it; what it gave is recorded like every result, so that a run replays.
"""

from leverframe.errors import NotDone
from leverframe.tool import Tool, tool

PAGE = 4_000
"""Characters that one call gives: never so many that the window would shorten them again."""


@tool(effect="read", retries=0)
def recall(reference: str, offset: int = 0) -> str:
    """Read again what was shortened or left out: its reference is given there, as "#12". `offset` is how many characters to pass over."""
    raise NotDone("recall reads the log of a run, and is run by the engine alone")


def is_recall(one: "Tool[..., ..., object, object]") -> bool:
    return one is recall


def page(text: str, reference: str, offset: int) -> str:
    """A part of it, with what is left. Raises NotDone past its end."""
    if not 0 <= offset < max(1, len(text)):
        raise NotDone(f"{reference} has {len(text)} characters", remedy="give an offset below that")
    left = len(text) - offset - PAGE
    return text[offset : offset + PAGE] + (f"…\nmore: {{offset: {offset + PAGE}, characters: {left}}}" if left > 0 else "")
