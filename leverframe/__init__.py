"""Leverframe: LLM agents that are declared finite state machines. What users import, and nothing else.

Names load on first use, so declaring an agent loads no database, no model provider and no template engine.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from leverframe.tool import tool as tool  # at once: loaded later, the module of the same name would take the decorator's place

if TYPE_CHECKING:
    from leverframe.engine import Engine as Engine
    from leverframe.errors import LeverframeError as LeverframeError
    from leverframe.errors import NotDone as NotDone
    from leverframe.limits import Daily as Daily
    from leverframe.limits import Limits as Limits
    from leverframe.machine import Accept as Accept
    from leverframe.machine import Machine as Machine
    from leverframe.recollection import recall as recall
    from leverframe.rules import Absence as Absence
    from leverframe.rules import BoundedExistence as BoundedExistence
    from leverframe.rules import Existence as Existence
    from leverframe.rules import In as In
    from leverframe.rules import Precedence as Precedence
    from leverframe.rules import Response as Response
    from leverframe.rules import Universality as Universality
    from leverframe.start import TriggerCommand as TriggerCommand
    from leverframe.state import Act as Act
    from leverframe.state import Answered as Answered
    from leverframe.state import Approve as Approve
    from leverframe.state import Ask as Ask
    from leverframe.state import Back as Back
    from leverframe.state import Call as Call
    from leverframe.state import Compact as Compact
    from leverframe.state import Consult as Consult
    from leverframe.state import Delegate as Delegate
    from leverframe.state import End as End
    from leverframe.state import Fetch as Fetch
    from leverframe.state import Got as Got
    from leverframe.state import Memory as Memory
    from leverframe.state import Next as Next
    from leverframe.state import PromptBy as PromptBy
    from leverframe.state import Reply as Reply
    from leverframe.state import Wait as Wait
    from leverframe.state import Work as Work
    from leverframe.state import prompt_by as prompt_by
    from leverframe.store import Store as Store
    from leverframe.tool import Key as Key
    from leverframe.tool import Tool as Tool

__version__ = "0.1.0"

_HOMES = {
    "engine": ("Engine",),
    "errors": ("LeverframeError", "NotDone"),
    "limits": ("Daily", "Limits"),
    "machine": ("Accept", "Machine"),
    "recollection": ("recall",),
    "rules": ("Absence", "BoundedExistence", "Existence", "In", "Precedence", "Response", "Universality"),
    "start": ("TriggerCommand",),
    "state": (
        *("Act", "Answered", "Approve", "Ask", "Back", "Call", "Compact", "Consult", "Delegate"),
        *("End", "Fetch", "Got", "Memory", "Next", "PromptBy", "Reply", "Wait", "Work", "prompt_by"),
    ),
    "store": ("Store",),
    "tool": ("Key", "Tool"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
__all__ = ["__version__", "tool", *_HOME]  # noqa: PLE0604  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'leverframe' has no attribute {name!r}")
    value: object = getattr(import_module(f"leverframe.{home}"), name)
    globals()[name] = value
    return value
