"""A model that says what its script says: for tests, without patching anything.

Scripted([issue_refund.call(order_id=1042, amount=45), Escalate(reason="…")])         in order, whatever is asked
Scripted({"Triage": [Decline(reason="…")], "Read": Found(order_id=1042)})             by state; a single answer is given always
Scripted(lambda request: Decline(reason=request.messages[-1].content[:10]))           computed
Scripted([[find.call("rags"), mail.call("ann")]])                                     several calls in one answer
Scripted([ModelUnavailable("busy", retry_after=1), Decline(reason="…")])              exceptions are raised
"""

import inspect
import json
import re
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias, TypeGuard, cast

from leverframe.canon import Json, Object
from leverframe.errors import ScriptEnded
from leverframe.llm.seam import Answer, Request, Usage, request_hash
from leverframe.state import Call, Reply

One: TypeAlias = "Reply[str] | Call[object] | Mapping[str, Json]"
Line: TypeAlias = "One | Sequence[One] | Answer | Exception"
"""A reply, a call, several calls, the raw `next` object (not validated here, so it may be wrong), a whole Answer, or what is raised."""

Speaker: TypeAlias = "Callable[[Request], Line | Awaitable[Line]]"
Script: TypeAlias = "Sequence[Line] | Mapping[str, Line | Sequence[Line]] | Speaker"


class Scripted:
    """See the module. `requests` are those it was asked, in order; runs in several threads may share it.

    Shadows, which are asked beside a run, take no line of the script: only a script that is a function answers them, and tells them by
    `request.shadow`. They stand in `shadows`.

    Raises ScriptEnded when it is asked for more than the script says, or in a state the script does not know.
    """

    def __init__(self, script: Script, *, offline: bool = False, usage: Usage | None = None) -> None:
        self.requests: list[Request] = []
        self.shadows: list[Request] = []
        self.offline = offline
        self._usage = usage or Usage(cost=0)
        self._lock = threading.Lock()
        self._speaker = _speaker(script)
        self._computes = callable(script)

    async def ask(self, request: Request) -> Answer:
        with self._lock:
            (self.shadows if request.shadow else self.requests).append(request)
            line = self._speaker(request) if not request.shadow or self._computes else _unanswered(request)
        if inspect.isawaitable(line):
            line = await line
        if isinstance(line, Exception):
            raise line
        if isinstance(line, Answer):
            return line
        chosen = _chosen(line, request)
        if request.watch is not None:
            for piece in re.findall(r"\S+\s*", json.dumps({"next": chosen}, ensure_ascii=False)):
                request.watch(piece)
        return Answer(chosen, self._usage, "scripted", request_hash(request.messages))


def _unanswered(request: Request) -> ScriptEnded:
    return ScriptEnded(f"the script is no function, and only such a one answers the shadows of state {request.state!r}")


def _speaker(script: Script) -> Speaker:
    if _is_table(script):
        return _by_state(script)
    return _in_order(script) if _is_list(script) else cast("Speaker", script)


def _is_table(script: Script) -> "TypeGuard[Mapping[str, Line | Sequence[Line]]]":
    return isinstance(script, Mapping)


def _is_list(script: Script) -> TypeGuard[Sequence[Line]]:
    return isinstance(script, Sequence)


def _in_order(script: Sequence[Line]) -> Speaker:
    lines = deque(script)

    def speak(request: Request) -> Line:
        if lines:
            return lines.popleft()
        asked = request.messages[-1].content if request.messages else ""
        raise ScriptEnded(
            f"the script is over: after {len(script)} answers none is left for state {request.state!r} of run "
            f"{request.run_id or '(none)'}. It was asked: {asked[-200:]!r}"
        )

    return speak


def _by_state(script: "Mapping[str, Line | Sequence[Line]]") -> Speaker:
    speakers = {state: _in_order(lines) if isinstance(lines, Sequence) else _always(lines) for state, lines in script.items()}

    def speak(request: Request) -> "Line | Awaitable[Line]":
        if request.state not in speakers:
            raise ScriptEnded(f"the script has no answer for state {request.state!r}; it knows {', '.join(speakers) or 'none'}")
        return speakers[request.state](request)

    return speak


def _always(line: Line) -> Speaker:
    return lambda request: line


def _chosen(line: "One | Sequence[One]", request: Request) -> Json:
    """The answer as a model would have written it: a list of one, where several could be made."""
    if isinstance(line, Sequence):
        return [_one(each, request) for each in line]
    return [_one(line, request)] if request.choices.most > 1 else _one(line, request)


def _one(line: One, request: Request) -> Object:
    if isinstance(line, Call):
        chosen: Object = {"intent": line.tool_name, "arguments": line.arguments}
    elif isinstance(line, Reply):
        chosen = {"intent": line.intent, **cast("Object", line.model_dump(mode="json", by_alias=True))}
    else:
        return dict(line)
    if request.choices.threshold is not None:
        chosen = {"intent": chosen.pop("intent"), "confidence": 1.0, **chosen}
    return chosen
