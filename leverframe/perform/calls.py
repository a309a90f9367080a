"""Tool calls: of a Fetch, of an Act, dispatched, taken up again and recorded."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias, cast

from pydantic import BaseModel, ValidationError

from leverframe.canon import MAX_RESULT, Json, Object, admit_dump, digest
from leverframe.clock import SECOND
from leverframe.errors import (
    InputError,
    NotDone,
)
from leverframe.machine import AnyTool
from leverframe.perform.following import call_body, onward
from leverframe.perform.memory import fault, keeping, one_line, user_code
from leverframe.perform.recalling import recalled
from leverframe.perform.step import Draft, Step, Stuck
from leverframe.recollection import is_recall
from leverframe.reduce import KEY_LIFE, beside, unfetchable
from leverframe.run import Pending, Run
from leverframe.state import (
    Act,
    Call,
    Fetch,
    Got,
    Memory,
)
from leverframe.store.boundary import Outside
from leverframe.threads import Contained

_Came: TypeAlias = "tuple[object, Json, Object | None]"
"""Of a `read` call: its result as Python and as JSON, or the compact error."""


async def fetch(step: Step) -> Draft:
    state = cast("Fetch[Memory]", step.state())
    calls = calls_of(step, state)
    for call in calls:
        if why := unfetchable(step.bound.definition, step.run, call.tool_name):
            return Draft("quarantined", {"reason": why})
    done = await asyncio.gather(*(_repeatable(step, call) for call in calls))
    body: Object = {"state": state.name, "calls": _log(calls, done)}
    failed = next((error for _, _, error in done if error), None)
    if failed:
        return Draft("fetched", {**body, "outcome": "error", "error": failed})
    got = [(call.tool_name, python) for call, (python, _, _) in zip(calls, done, strict=True)]
    return Draft("fetched", {**body, **keep_results(step, state, Got(got))})


def calls_of(step: Step, state: Fetch[Memory]) -> Sequence[Call[object]]:
    """What a Fetch asks for. Raises Stuck for a tool that is not its own."""
    memory = step.memory()
    calls = cast("Sequence[Call[object]]", user_code(f"{state.name}.calls", lambda: list(state.calls(memory))))
    for call in calls:
        if call.tool_name not in step.spec.tools:
            raise Stuck(f"{state.name}.calls asks for {call.tool_name}, which its runs do not list")
    return calls


def _log(calls: Sequence[Call[object]], done: Sequence[_Came]) -> list[Json]:
    """Calls with what came of each."""
    return [
        {**call.json(), **({"error": error} if error else {"result": value})}
        for call, (_, value, error) in zip(calls, done, strict=True)
    ]


async def _repeatable(step: Step, call: Call[object]) -> _Came:
    """A `read` call, repeated with back-off: the result as Python and JSON, or the compact error."""
    tool = step.bound.tool(call.tool_name)
    for attempt in range(tool.options.retries + 1):
        try:
            with Outside(f"tool {tool.name}"):
                value = await (recalled(step, call) if is_recall(tool) else tool.perform(call.arguments))
            return *tool.result(value), None
        except NotDone as error:
            return None, None, fault(error, tool.name)
        except Exception as error:
            if attempt == tool.options.retries or isinstance(error, ValidationError | InputError):
                return None, None, fault(error, tool.name)
            await step.clock.sleep(backoff(attempt))
    raise AssertionError("a loop over at least one attempt ends inside")


def backoff(attempt: int) -> float:
    """Seconds before the next attempt: 0.5, 1, 2, … at most a minute."""
    return min(60.0, 0.5 * 2.0**attempt)


def keep_results(step: Step, state: Fetch[Memory] | Act[Memory], got: Got) -> Object:
    """How the state ends, once its results are known: what `keep` says, or `ok`. Or, where it fails, `stuck`."""
    base = Fetch.keep if isinstance(state, Fetch) else Act.keep
    if type(state).keep is base:
        return {"outcome": "ok"}
    return keeping(step, f"{state.name}.keep", lambda memory: state.keep(memory, got) or "ok")


def built(step: Step, fence: int) -> Draft:
    state = cast("Act[Memory]", step.state())
    memory = step.memory()
    call = cast("Call[object]", user_code(f"{state.name}.build", lambda: state.build(memory)))
    if call.tool_name not in step.spec.tools:
        raise Stuck(f"{state.name}.build makes a call of {call.tool_name}, which its runs do not list")
    return Draft("built", {"state": state.name, "call": call_body(call), "fence": fence})


async def act(step: Step, lease: Callable[[], Awaitable[None]]) -> Draft:
    """Executes the pending call. `lease` raises Lost if the run may be another's by now. Stuck is raised before anything was sent."""
    call = _whole(step.run)
    tool = step.bound.tool(call.tool_name)
    if tool.effect == "read":
        return await _looked(step, call)
    if tool.effect == "keyed" and call.entered_at is not None and step.clock.now() - call.entered_at > KEY_LIFE:
        return _unknown(step, call, "its idempotency key is older than 23 hours; providers forget keys")
    ready = _ready(tool, call)
    await lease()
    try:
        with Outside(f"tool {tool.name}"):
            value = await tool.run(ready)
    except NotDone as error:
        return _acted(step, call, {"error": fault(error, tool.name)})
    except Exception as error:
        return _unfinished(step, call, tool, error)
    return done(step, call, tool, value)


def _ready(tool: AnyTool, call: Pending) -> dict[str, object]:
    """What the tool's function is called with; raises Stuck while nothing can have happened yet."""
    made = user_code(f"validating the arguments of {tool.name}", lambda: tool.ready(call.arguments, call.key))
    return cast("dict[str, object]", made)


async def _looked(step: Step, call: Pending) -> Draft:
    """A `read` call, and with it those of the same answer that would follow it right here."""
    if not step.run.queue:
        python, result, failed = await _repeatable(step, Call(call.tool_name, call.arguments))
        return _acted(step, call, {"error": failed}) if failed else _done(step, call, python, result)
    waiting = beside(step.bound.definition, step.run)
    more: list[Call[object]] = [Call(cast("str", item["tool_name"]), cast("Object", item["arguments"])) for item in waiting]
    every: list[Call[object]] = [Call(call.tool_name, call.arguments), *more]
    done = await asyncio.gather(*(_repeatable(step, each) for each in every))
    python, result, failed = done[0]
    others: Object = {"calls": _log(more, done[1:])} if more else {}
    error = next((error for _, _, error in done if error), None)
    if error:
        return _acted(step, call, {"error": error, **others, **({} if failed else {"result": result})})
    got = [(call.tool_name, python), *((each.tool_name, value) for each, (value, _, _) in zip(more, done[1:], strict=True))]
    came = keep_results(step, cast("Act[Memory]", step.state()), Got(got))
    return _acted(step, call, {"result": result, **others, **onward(step, came, [value for _, value, _ in done])})


def _whole(run: Run) -> Pending:
    """The pending call, if it is still the one whose digest was shown and approved."""
    call = cast("Pending", run.pending)
    if digest({"tool_name": call.tool_name, "arguments": call.arguments}) != call.digest:
        raise Stuck(f"the arguments of {call.tool_name} are not those of its digest; the database was changed")
    return call


def _unfinished(step: Step, call: Pending, tool: AnyTool, error: Exception) -> Draft:
    """A `keyed` call is repeated with the same key; of a `once` call nobody knows whether it happened."""
    why = one_line(error)
    attempts = call.attempts + 1
    if tool.effect == "keyed" and attempts <= tool.options.retries:
        until = step.clock.now() + int(backoff(attempts - 1) * SECOND)
        return Draft("postponed", {"state": step.run.state, "until": until, "attempts": attempts, "why": why})
    return _unknown(step, call, why)


def _unknown(step: Step, call: Pending, why: str) -> Draft:
    return _acted(step, call, {"outcome": "unknown", "why": why})


def _acted(step: Step, call: Pending, came: Object) -> Draft:
    outcome: Object = {} if "outcome" in came or "stuck" in came else {"outcome": "error"}
    effect = step.bound.definition.tools[call.tool_name].effect
    return Draft(
        "acted", {"state": step.run.state, "tool_name": call.tool_name, "key": call.key, "effect": effect, **outcome, **came}
    )


def done(step: Step, call: Pending, tool: AnyTool, value: object) -> Draft:
    """It happened; from here on nothing may lead to doing it again."""
    try:
        python, result = tool.result(value)
    except Exception as error:
        return _acted(
            step,
            call,
            {"stuck": f"result of {tool.name} does not fit its return annotation: {one_line(error)}", "result": _as_is(value)},
        )
    return _done(step, call, python, result)


def _as_is(value: object) -> Json:
    """A result that does not fit, as far as it can be written down."""
    try:
        written = (lambda: value.model_dump(mode="json", by_alias=True)) if isinstance(value, BaseModel) else (lambda: value)
        return admit_dump(written, what="result", limit=MAX_RESULT)
    except InputError:
        return None


def _done(step: Step, call: Pending, python: object, result: Json) -> Draft:
    state = cast("Act[Memory]", step.state())
    came = keep_results(step, state, Got([(call.tool_name, python)]))
    return _acted(step, call, {"result": result, **onward(step, came, [result])})


async def recover(step: Step) -> Draft | None:
    """A call that another holder marked and may have dispatched. None: it certainly did not happen, dispatch it."""
    call = cast("Pending", step.run.pending)
    tool = step.bound.tool(call.tool_name)
    try:
        with Outside(f"reconcile {tool.name}"):
            happened = await tool.reconcile(call.key)
    except Exception as error:
        return _unknown(step, call, f"reconcile raised {one_line(error)}")
    if not isinstance(cast("object", happened), bool | None):
        return _unknown(step, call, f"reconcile gave an instance of {type(happened).__name__}, not True, False or None")
    if happened is None:
        return _unknown(step, call, "the process stopped between dispatch and record")
    if not happened:
        return None
    state = cast("Act[Memory]", step.state())
    came = onward(step, keep_results(step, state, Got([])), [])
    return _acted(step, call, {"result": None, "reconciled": True, **came})


def local_call(step: Step) -> tuple[AnyTool, Pending]:
    call = _whole(step.run)
    return step.bound.tool(call.tool_name), call


def local(step: Step, tool: AnyTool, call: Pending, session: object) -> Draft:
    """Runs a `local` tool inside the transaction that will commit the step."""
    with Outside(f"tool {tool.name}"), Contained():
        value = tool.function(**tool.bind(call.arguments, session=session))
    return done(step, call, tool, value)


def local_failed(step: Step, error: BaseException) -> Draft:
    """A `local` tool raised: its rows are rolled back, so it certainly did not happen."""
    call = cast("Pending", step.run.pending)
    return _acted(step, call, {"error": fault(error, call.tool_name)})
