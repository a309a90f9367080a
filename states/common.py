"""What every agent reuses: errors are shortened, dangerous calls are released, and what nobody foresaw goes to a person."""

from datetime import timedelta
from typing import Literal

from pydantic import BaseModel

from leverframe import Approve, Compact, Consult, End, Memory, Reply


class Case(Memory):
    """A memory that can tell what it is about, and what came of it."""

    reason: str = ""  # why it was handed over, or came to nothing
    note: str = ""  # of the person who took over

    def facts(self) -> str:
        """What somebody needs who has not followed the run, in two or three lines."""
        return ""

    def so_far(self) -> str:
        """What was already done, so that nobody does it again; empty for nothing."""
        return ""

    def result(self) -> BaseModel | None:
        """What whoever started the run gets."""
        return None


class Escalate(Reply[Literal["escalate"]]):
    """None of the others clearly fits: a person takes over."""

    reason: str


class Shorten(Compact):
    """Make an error short enough to think about; after three, give up."""

    def shorten(self, error: str) -> str:
        lines = [line.strip() for line in error.splitlines() if line.strip()]
        return lines[-1][:200] if lines else "unknown error"  # of a traceback the last line says what happened


class Release(Approve[Case]):
    """A person releases exactly this call, changes it, or says no."""

    to = "team lead"
    deadline = timedelta(days=2)

    def show(self, memory: Case) -> str:
        return memory.facts()


class Handled(Reply[Literal["handled"]]):
    """The person took care of it."""

    note: str


class HandOver(Consult[Case]):
    """Nobody foresaw this, or it failed too often: a person takes over."""

    to = "support"
    deadline = timedelta(days=3)
    replies = (Handled,)

    def question(self, memory: Case) -> str:
        why = memory.reason or self.error or "It was not decided in time, or took too long."
        error = f"The last error was: {self.error}" if self.error and memory.reason else ""
        lines = ["Please take over, and write what you did.", f"Why: {why}", error, memory.so_far(), memory.facts()]
        return "\n".join(line for line in lines if line)

    def keep(self, memory: Case, reply: Handled) -> None:
        memory.note = reply.note


class Closed(End[Case]):
    """A person took care of it."""

    def result(self, memory: Case) -> BaseModel | None:
        return memory.result()


class Unanswered(End[Case]):
    """It was handed over, and nobody took it."""

    success = False

    def result(self, memory: Case) -> BaseModel | None:
        return memory.result()
