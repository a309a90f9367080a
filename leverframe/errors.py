"""Every error of Leverframe, so that a caller can catch as widely or as narrowly as it needs.

    LeverframeError
    ├── DeclarationError            what people wrote cannot be a machine; raised at import
    │   ├── EdgeError               the edge table and the states' outcomes disagree
    │   ├── ToolError               a function cannot be a tool
    │   ├── PromptError             a prompt file is missing, malformed or uses an unknown variable
    │   └── DiagramError            a drawing that is no flat machine; says everything that is wrong with it
    ├── ProjectError                no project here, a room that cannot be loaded, a setting that is wrong
    │   └── UnfitName               an agent or a package cannot be called so, or the name is taken; an InputError, too
    ├── InputError                  what came from outside does not fit; nothing was changed
    │   ├── TooLarge                over a limit of size or depth
    │   ├── NotJson                 NUL, lone surrogates, NaN, Infinity: databases cannot keep them
    │   ├── InvalidArguments        a call's arguments fail their schema
    │   ├── InvalidMemory           input or memory does not fit the machine's Memory
    │   ├── InvalidAnswer           a person's answer or an event's data does not fit its Reply
    │   └── RecordingError          a file is no recording of a run, or was edited
    ├── NotFound                    no such run, task, machine, definition or prompt
    │   ├── UnknownRun · UnknownTask · UnknownMachine · UnknownDefinition · UnknownPrompt
    │   └── UnknownModel            no such model or provider, or its key, address or package is missing
    ├── Conflict                    it exists, but not as you think; nothing was changed
    │   ├── KeyConflict             the same start key with another payload
    │   ├── AlreadyDecided          somebody was first; names the winner
    │   ├── TaskGone                the task expired or was withdrawn
    │   ├── AlreadyPaused · NotPaused · RunOver · NotWaiting · NotRetryable · NotPinned
    │   ├── Busy                    another process holds the run's lease
    │   ├── Lost                    the lease was lost: what this process held back was not written
    │   └── Overdrawn               nothing is left of a day's budget; nothing was written, the run goes where its limits lead
    ├── StoreError                  the database
    │   ├── DatabaseUnavailable     locked, read-only, full, gone
    │   ├── SchemaTooNew · SchemaTooOld
    │   └── UnsafeDatabase          settings under which acknowledged commits can vanish
    ├── ModelError                  one call of a model gave nothing usable; takes the `error` edge
    │   ├── BadCompletion           invalid, refused, truncated, empty, undeclared
    │   └── ModelUnavailable        429, 5xx, time-outs: retried with back-off, never shown to the model
    │       └── ModelRefused        the key, the account, the model's name or the address is wrong: a person must look, the run is blocked
    ├── WindowOverflow              not even the pinned blocks fit into the window; takes the `error` edge to a Compact that cuts
    ├── OfflineMismatch             an offline run would be continued by a real model, or the other way round
    ├── ScriptEnded                 a scripted model was asked for more than its script says (tests)
    ├── Tampered                    the log, its chain or the row do not agree
    └── NotDone                     raised by a tool: "it certainly did not happen"; the only error of `keyed` and `once`

Messages say what, where and what to do.
"""

from collections.abc import Sequence
from typing import Protocol


class LeverframeError(Exception):
    """Base of all."""


class DeclarationError(LeverframeError):
    pass


class EdgeError(DeclarationError):
    pass


class ToolError(DeclarationError):
    pass


class PromptError(DeclarationError):
    pass


class DiagramError(DeclarationError):
    """`problems` are the line of each (0: the drawing as a whole), and what is wrong there."""

    def __init__(self, file: str, problems: Sequence[tuple[int, str]]) -> None:
        self.problems = sorted(problems)
        lines = [f"{file}:{line}: {message}" if line else f"{file}: {message}" for line, message in self.problems[:50]]
        more = [f"and {len(self.problems) - 50} more"] if len(self.problems) > 50 else []
        super().__init__("\n".join(lines + more))


class ProjectError(LeverframeError):
    pass


class InputError(LeverframeError):
    pass


class UnfitName(ProjectError, InputError):
    pass


class TooLarge(InputError):
    pass


class NotJson(InputError):
    pass


class InvalidArguments(InputError):
    pass


class InvalidMemory(InputError):
    pass


class InvalidAnswer(InputError):
    pass


class RecordingError(InputError):
    pass


class NotFound(LeverframeError):
    pass


class UnknownRun(NotFound):
    pass


class UnknownTask(NotFound):
    pass


class UnknownMachine(NotFound):
    pass


class UnknownDefinition(NotFound):
    pass


class UnknownPrompt(NotFound):
    pass


class UnknownModel(NotFound):
    pass


class Conflict(LeverframeError):
    pass


class KeyConflict(Conflict):
    pass


class AlreadyDecided(Conflict):
    def __init__(self, message: str, *, by: str) -> None:
        super().__init__(message)
        self.by = by


class TaskGone(Conflict):
    pass


class AlreadyPaused(Conflict):
    """Says exactly "Task is already paused", the words the twelve-factor method's users know."""

    def __init__(self) -> None:
        super().__init__("Task is already paused")


class NotPaused(Conflict):
    pass


class RunOver(Conflict):
    pass


class NotWaiting(Conflict):
    pass


class NotRetryable(Conflict):
    pass


class NotPinned(Conflict):
    pass


class Busy(Conflict):
    pass


class Lost(Conflict):
    pass


class Overdrawn(Conflict):
    """`limit`: which one of the day."""

    def __init__(self, message: str, *, limit: str) -> None:
        super().__init__(message)
        self.limit = limit


class StoreError(LeverframeError):
    pass


class DatabaseUnavailable(StoreError):
    pass


class SchemaTooNew(StoreError):
    pass


class SchemaTooOld(StoreError):
    pass


class UnsafeDatabase(StoreError):
    pass


class Spent(Protocol):
    """What a call of a model used up; `leverframe.llm.Usage` is one."""

    @property
    def input_tokens(self) -> int: ...
    @property
    def output_tokens(self) -> int: ...
    @property
    def cost(self) -> int | None: ...


class ModelError(LeverframeError):
    """`usage` is what the failed attempt cost, where the provider said so: failures are paid for too."""

    def __init__(self, message: str, *, usage: Spent | None = None) -> None:
        super().__init__(message)
        self.usage = usage


class BadCompletion(ModelError):
    pass


class ModelUnavailable(ModelError):
    """`retry_after` is in seconds, where the server named a time."""

    def __init__(self, message: str, *, retry_after: float | None = None, usage: Spent | None = None) -> None:
        super().__init__(message, usage=usage)
        self.retry_after = retry_after


class ModelRefused(ModelUnavailable):
    pass


class WindowOverflow(LeverframeError):
    pass


class OfflineMismatch(LeverframeError):
    pass


class ScriptEnded(LeverframeError):
    pass


class Tampered(LeverframeError):
    pass


class NotDone(LeverframeError):
    """Raised by a tool that knows its effect did not happen, so that doing it again is safe. `remedy` says what would help, if anything."""

    def __init__(self, message: str = "", *, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


def did_you_mean(word: str, known: list[str]) -> str:
    """` Did you mean 'small'?`, or nothing."""
    from difflib import get_close_matches  # only where something is wrong

    near = get_close_matches(word, known, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
