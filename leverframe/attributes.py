"""What a state says of itself, as it was written: what no type checker was asked about is refused where it is declared.

A run would stop at it otherwise, perhaps days later, and with less to say.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Never, cast

from pydantic import BaseModel

from leverframe.errors import EdgeError
from leverframe.state import Act, Approve, Ask, Compact, Consult, Delegate, End, Fetch, PromptBy, Reply, State, Wait, Work
from leverframe.table import shown

LONGEST = timedelta(days=36_500)
CODE = ("run", "calls", "build", "keep", "show", "question", "give", "shorten", "result")
NEEDED: tuple[tuple[type[State[Never]], str], ...] = ((Work, "run"), (Fetch, "calls"), (Delegate, "give"))


def refuse_unfit(where: str, state: type[State[Never]]) -> None:
    """Raises EdgeError for the first thing that cannot be meant."""
    for problem in (*_code(state), *_said(state)):
        raise EdgeError(f"{where}: {problem}")


def _code(state: type[State[Never]]) -> Iterator[str]:
    for name in CODE:
        if inspect.iscoroutinefunction(getattr(state, name, None)):
            yield f"{name} is async; states are plain code, what waits belongs into a tool"
    for kind, name in NEEDED:
        if issubclass(state, kind) and getattr(state, name) is getattr(kind, name):
            yield f"has no `{name}`, which says what it does; define it"


def _said(state: type[State[Never]]) -> Iterator[str]:
    if issubclass(state, Fetch | Act):
        yield from _listed("runs", state.runs, _is_tool, "runs = (some_tool,)", "a tool; decorate it with @tool")
    if issubclass(state, Ask):
        yield from _asked(state)
    if issubclass(state, Approve | Consult):
        yield from _word("to", state.to, 'asks nobody; set to = "the person or role"')
    if issubclass(state, Consult):
        yield from _listed("replies", state.replies, _is_reply, "replies = (SomeReply,)", "a Reply type")
    if issubclass(state, Wait):
        yield from _listed("events", state.events, _is_reply, "events = (SomeReply,)", "a Reply type", least=0)
    if issubclass(state, Approve | Consult | Wait | Delegate):
        yield from _deadline(state.deadline)
    if issubclass(state, Delegate):
        yield from _delegated(cast("type[Delegate[Never, Never]]", state))
    if issubclass(state, Compact):
        yield from _whole("times", state.times, 0)
    if issubclass(state, End) and not isinstance(cast("object", state.success), bool):
        yield f"success is {shown(state.success)}; write True or False"


def _asked(state: type[Ask[Never]]) -> Iterator[str]:
    if not isinstance(state.prompt, PromptBy):
        yield from _word("prompt", state.prompt, 'has no prompt; set prompt = "agent/state"')
    yield from _listed("replies", state.replies, _is_choice, "replies = (some_tool, SomeReply)", "a tool or a Reply type")
    threshold = cast("object", state.threshold)
    if threshold is not None and not (_is_number(threshold) and 0 <= cast("float", threshold) <= 1):
        yield f"threshold is {shown(threshold)}; give a number from 0 to 1, or None"


def _delegated(state: "type[Delegate[Never, Never]]") -> Iterator[str]:
    yield from _word("machine", state.machine, 'delegates to no machine; set machine = "its name"')
    yield from _whole("concurrency", state.concurrency, 1)
    yield from _whole("max_failed", state.max_failed, 0)
    returns = cast("object", state.returns)
    if returns is not None and not (isinstance(returns, type) and issubclass(returns, BaseModel)):
        yield f"returns is {shown(state.returns)}; name the model of the other machine's result"


def _listed(
    name: str, given: object, fits: Callable[[object], bool], example: str, wanted: str, *, least: int = 1
) -> Iterator[str]:
    if not isinstance(given, Sequence) or isinstance(given, str):
        yield f"{name} is {shown(given)}; write {example}, with the comma"
        return
    for item in cast("Sequence[object]", given):
        if not fits(item):
            yield f"{name} holds {shown(item)}, which is not {wanted}"
    if len(cast("Sequence[object]", given)) < least:
        yield f"{name} is empty; write {example}"


def _word(name: str, given: object, missing: str) -> Iterator[str]:
    if not isinstance(given, str):
        yield f"{name} is {shown(given)}; write a string"
    elif not given.strip():
        yield missing


def _whole(name: str, given: object, least: int) -> Iterator[str]:
    if not isinstance(given, int) or isinstance(given, bool) or given < least:
        yield f"{name} is {shown(given)}; give a whole number, {least} or more"


def _deadline(given: object) -> Iterator[str]:
    if given is not None and not isinstance(given, timedelta):
        yield f"deadline is {shown(given)}; write timedelta(hours=…) or timedelta(days=…)"
    elif not given or given < timedelta():
        yield "waits without a deadline; set deadline = timedelta(…)"
    elif given > LONGEST:
        yield f"deadline is {given.days:,} days; give at most {LONGEST.days:,}"


def _is_number(given: object) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool)


def _is_tool(given: object) -> bool:
    return isinstance(getattr(given, "effect", None), str) and isinstance(getattr(given, "name", None), str)


def _is_reply(given: object) -> bool:
    return isinstance(given, type) and issubclass(given, Reply)


def _is_choice(given: object) -> bool:
    return _is_tool(given) or _is_reply(given)
