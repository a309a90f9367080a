"""Does what a state asks of the world: runs the user's code, tools and models, and says in an event what came of it.

A `Draft` is such an event without its place in the log: how the state ended and everything the reducer needs, so that it never has
to run this code again. What fails after something happened is no `error` (that would do it again): it is recorded, and a person looks.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Never, TypeAlias, cast

from pydantic import BaseModel, ValidationError

from leverframe.canon import MAX_MEMORY, MAX_RESULT, Json, Object, admit_dump, digest, ordered
from leverframe.clock import SECOND, Clock
from leverframe.errors import (
    BadCompletion,
    InputError,
    LeverframeError,
    ModelRefused,
    ModelUnavailable,
    NotDone,
    PromptError,
    did_you_mean,
)
from leverframe.llm import LLM, Choices, Request, pick
from leverframe.machine import AnyState, AnyTool, Definition, Machine, Spec, differences
from leverframe.prompt import Prompt, choose, render
from leverframe.reduce import KEY_LIFE, unfetchable
from leverframe.run import Pending, Run, but
from leverframe.state import (
    Act,
    Approve,
    Ask,
    Call,
    Compact,
    Consult,
    Delegate,
    End,
    Fetch,
    Got,
    Memory,
    Reply,
    State,
    Wait,
    Work,
)
from leverframe.store.boundary import outside
from leverframe.tool import compact
from leverframe.window import Window

AnyMachine: TypeAlias = Machine[Never]
WINDOW_TOKENS = 8000
MODEL_ATTEMPTS = 5
CAUSE_LIMIT = 300
WAITS_IN = {"approve": "approve", "answer": "consult", "wait": "wait", "children": "delegate"}
"""The kind of state in which a run waits for what."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An event to be. `body` has an `outcome`, or `stuck`, or neither where the state goes on."""

    type: str
    body: Object
    result: object = None  # of a tool, not for the log: effects keep it


class Stuck(LeverframeError):
    """The user's code failed where nothing may be repeated: a person looks, `retry` goes on."""


@dataclass
class Bound:
    """A pinned definition with the code of now: by name, and only where the contracts agree."""

    definition: Definition
    code: AnyMachine | None
    current: Definition | None  # of the code; None where there is none that can be pinned
    gone: str = ""  # why there is none
    delegated: Mapping[str, Definition] = field(default_factory=dict[str, Definition])  # by hash: what child runs are pinned to
    choices: dict[str, Choices] = field(default_factory=dict[str, Choices])
    pinned_prompts: dict[str, list[Prompt]] = field(default_factory=dict[str, list[Prompt]])

    @cached_property
    def problems(self) -> list[str]:
        if self.current is None:
            return [self.gone]
        return [] if self.definition.hash == self.current.hash else differences(self.definition, self.current)

    def against(self, run: Run, pinned: Definition) -> list[str]:
        """What stands against moving a run here from the definition it is pinned to; empty where nothing does."""
        states, tools, found = self.definition.states, self.definition.tools, list(self.problems)
        if run.state not in states:
            found.append(f"state {run.state} is gone.{did_you_mean(run.state, list(states))}")
        elif run.waiting is not None and states[run.state].kind != WAITS_IN[run.waiting.kind]:
            found.append(f"state {run.state} is waiting, and is {states[run.state].kind} there")
        for call in filter(None, (run.pending, *run.doubts)):
            what = f"the {'pending' if call is run.pending else 'doubted'} call of {call.tool_name}"
            was, now = pinned.tools[call.tool_name], tools.get(call.tool_name)
            if now is None:
                found.append(f"{what} is unknown there")
            elif (was.contract, was.effect) != (now.contract, now.effect):
                found.append(f"{what} was made under another contract; reject, cancel or settle it first")
        try:
            self.machine.memory.model_validate_json(ordered(run.memory))
        except ValidationError as error:
            found.append(f"memory: {compact(error)}")
        return found

    @property
    def machine(self) -> AnyMachine:
        """The code. A run without is blocked before anything of it is asked for."""
        if self.code is None:
            raise Stuck(self.gone)
        return self.code

    def state(self, name: str) -> AnyState:
        return self.machine.states[name]

    def tool(self, name: str) -> AnyTool:
        return self.machine.tools[name]

    def choices_of(self, name: str) -> Choices:
        found = self.choices.get(name)
        if found is None:
            state = cast(type[Ask[Never]], self.state(name))
            found = self.choices[name] = Choices(state.replies, state.threshold)
        return found

    def prompts_of(self, name: str) -> list[Prompt]:
        found = self.pinned_prompts.get(name)
        if found is None:
            found = self.pinned_prompts[name] = self.definition.prompts(name)
        return found


@dataclass(frozen=True, slots=True)
class Step:
    """One state of one run, about to do what it does."""

    bound: Bound
    run: Run
    clock: Clock
    llm: LLM | None = None
    model: str = ""
    window: Window | None = None

    @property
    def spec(self) -> Spec:
        return self.bound.definition.states[self.run.state]

    def state(self) -> State[Never]:
        """The state, new, holding the pending call; where an `unknown` is settled, the doubted one."""
        call = self.run.doubts[-1] if self.spec.settles and self.run.doubts else self.run.pending
        made: Call[object] | None = Call(call.tool_name, call.arguments) if call else None
        return self.bound.state(self.run.state)(made, call.key if call else "", self._error())

    def _error(self) -> str:
        error = self.run.error or {}
        return str(error.get("cause", "")) if self.run.failures.get(str(error.get("state"))) else ""

    def memory(self) -> Memory:
        try:
            return self.bound.machine.memory.model_validate_json(ordered(self.run.memory))
        except ValidationError as error:
            raise Stuck(f"memory no longer fits {self.bound.machine.memory.__name__}: {compact(error)}") from None


# ── the memory ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def dumped(memory: Memory) -> Object:
    """The memory as JSON data, validated once more: nested models do not see their own assignments.

    Raises Stuck where it does not fit.
    """
    try:
        data = cast(Object, admit_dump(lambda: memory.model_dump(mode="json"), what="memory", limit=MAX_MEMORY))
        type(memory).model_validate_json(ordered(data))
    except ValidationError as error:
        raise Stuck(f"memory does not fit {type(memory).__name__}: {compact(error)}") from None
    except InputError as error:
        raise Stuck(str(error)) from None
    return data


def _changed(before: Object, memory: Memory) -> Object:
    """The fields that differ, as an event carries them."""
    data = dumped(memory)
    delta: Object = {name: value for name, value in data.items() if name not in before or before[name] != value}
    return {"memory": delta} if delta else {}


def _run_user_code(where: str, code: Callable[[], object]) -> object:
    try:
        return code()
    except Stuck:
        raise
    except Exception as error:
        raise Stuck(f"{where} raised {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    if isinstance(error, ValidationError):
        return f"{type(error).__name__}: {compact(error)}"[:CAUSE_LIMIT]
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= CAUSE_LIMIT else text[: CAUSE_LIMIT - 3] + "..."


def _fault(error: BaseException, source: str) -> Object:
    """An error as the next attempt may read it: what, where, why; no stack trace, no ids."""
    kind = "TimeoutError" if isinstance(error, TimeoutError) else type(error).__name__
    cause = compact(error) if isinstance(error, ValidationError) else " ".join(str(error).split())
    return {"type": kind, "source": source, "cause": (cause or kind)[:CAUSE_LIMIT]}


# ── states without the world ─────────────────────────────────────────────────────────────────────────────────────────────────


def work(step: Step) -> Draft:
    state = cast(Work[Memory], step.state())
    memory = step.memory()
    outcome = cast(str, _run_user_code(f"{state.name}.run", lambda: state.run(memory)))
    if outcome not in step.spec.edges:
        raise Stuck(f"{state.name}.run returned {outcome!r}, which its types do not declare")
    return Draft("worked", {"state": state.name, "outcome": outcome, **_changed(step.run.memory, memory)})


def compacted(step: Step) -> Draft:
    """Counts are the engine's: `give_up` where one state, or the run in a row, has had enough errors."""
    run, spec = step.run, step.spec
    state = cast(Compact[Memory], step.state())
    error = dict(run.error or {})
    cause = str(error.get("cause", ""))
    error["cause"] = str(_run_user_code(f"{state.name}.shorten", lambda: state.shorten(cause)))[:CAUSE_LIMIT]
    count = run.failures.get(str(error.get("state", "")), 0)
    enough = max(count, run.in_a_row) >= spec.times or bool(error.pop("final", False))
    return Draft("compacted", {"state": spec.name, "error": error, "outcome": "give_up" if enough else "retry"})


def ended(step: Step) -> Draft:
    state = cast(End[Memory], step.state())
    memory = step.memory()
    result = cast(BaseModel | None, _run_user_code(f"{state.name}.result", lambda: state.result(memory)))
    value: Json = None
    if result is not None:
        value = cast(
            Json,
            _run_user_code(
                f"{state.name}.result",
                lambda: admit_dump(lambda: result.model_dump(mode="json"), what="result", limit=MAX_RESULT),
            ),
        )
    return Draft("ended", {"state": state.name, "success": step.spec.success, "result": value})


# ── tools ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def fetch(step: Step) -> Draft:
    state = cast(Fetch[Memory], step.state())
    memory = step.memory()
    calls = cast(Sequence[Call[object]], _run_user_code(f"{state.name}.calls", lambda: list(state.calls(memory))))
    for call in calls:
        if call.tool_name not in step.spec.tools:
            raise Stuck(f"{state.name}.calls asks for {call.tool_name}, which its runs do not list")
        if why := unfetchable(step.bound.definition, step.run, call.tool_name):
            return Draft("quarantined", {"reason": why})
    done = await asyncio.gather(*(_repeatable(step, call) for call in calls))
    log: list[Json] = []
    for call, (_, value, error) in zip(calls, done, strict=True):
        log.append({**call.json(), **({"error": error} if error else {"result": value})})
    body: Object = {"state": state.name, "calls": log}
    failed = next((error for _, _, error in done if error), None)
    if failed:
        return Draft("fetched", {**body, "outcome": "error", "error": failed})
    got = [(call.tool_name, python) for call, (python, _, _) in zip(calls, done, strict=True)]
    return Draft("fetched", {**body, **_keep_results(step, state, Got(got))})


async def _repeatable(step: Step, call: Call[object]) -> tuple[object, Json, Object | None]:
    """A `read` call, repeated with back-off: the result as Python and JSON, or the compact error."""
    tool = step.bound.tool(call.tool_name)
    for attempt in range(tool.options.retries + 1):
        try:
            with outside(f"tool {tool.name}"):
                value = await tool.perform(call.arguments)
            return *tool.result(value), None
        except NotDone as error:
            return None, None, _fault(error, tool.name)
        except Exception as error:
            if attempt == tool.options.retries or isinstance(error, ValidationError | InputError):
                return None, None, _fault(error, tool.name)
            await step.clock.sleep(backoff(attempt))
    raise AssertionError("a loop over at least one attempt ends inside")


def backoff(attempt: int) -> float:
    """Seconds before the next attempt: 0.5, 1, 2, … at most a minute."""
    return min(60.0, 0.5 * 2.0**attempt)


def _keep_results(step: Step, state: Fetch[Memory] | Act[Memory], got: Got) -> Object:
    """How the state ends, once its results are known: what `keep` says, or `ok`. Or, where it fails, `stuck`."""
    base = Fetch.keep if isinstance(state, Fetch) else Act.keep
    if type(state).keep is base:
        return {"outcome": "ok"}
    return _kept(step, f"{state.name}.keep", lambda memory: state.keep(memory, got) or "ok")


def _kept(step: Step, where: str, keep: Callable[[Memory], str]) -> Object:
    try:
        memory = step.memory()
        outcome = cast(str, _run_user_code(where, lambda: keep(memory)))
        if outcome not in step.spec.edges:
            raise Stuck(f"{where} returned {outcome!r}, which its types do not declare")
        return {"outcome": outcome, **_changed(step.run.memory, memory)}
    except Stuck as error:
        return {"stuck": str(error)}


def built(step: Step, fence: int) -> Draft:
    state = cast(Act[Memory], step.state())
    memory = step.memory()
    call = cast(Call[object], _run_user_code(f"{state.name}.build", lambda: state.build(memory)))
    if call.tool_name not in step.spec.tools:
        raise Stuck(f"{state.name}.build makes a call of {call.tool_name}, which its runs do not list")
    return Draft("built", {"state": state.name, "call": call_body(call), "fence": fence})


def call_body(call: Call[object]) -> Object:
    """A call with the digest that approvals are bound to."""
    return {**call.json(), "digest": digest(call.json())}


async def act(step: Step, lease: Callable[[], Awaitable[None]]) -> Draft:
    """Executes the pending call. `lease` raises Lost if the run may be another's by now."""
    call = _whole(step.run)
    tool = step.bound.tool(call.tool_name)
    if tool.effect == "read":
        python, result, fault = await _repeatable(step, Call(call.tool_name, call.arguments))
        return _acted(step, call, {"error": fault}) if fault else _done(step, call, python, result)
    if tool.effect == "keyed" and call.entered_at is not None and step.clock.now() - call.entered_at > KEY_LIFE:
        return _unknown(step, call, "its idempotency key is older than 23 hours; providers forget keys")
    await lease()
    try:
        with outside(f"tool {tool.name}"):
            value = await tool.perform(call.arguments, key=call.key)
    except NotDone as error:
        return _acted(step, call, {"error": _fault(error, tool.name)})
    except Exception as error:
        return _unfinished(step, call, tool, error)
    return done(step, call, tool, value)


def _whole(run: Run) -> Pending:
    """The pending call, if it is still the one whose digest was shown and approved."""
    call = cast(Pending, run.pending)
    if digest({"tool_name": call.tool_name, "arguments": call.arguments}) != call.digest:
        raise Stuck(f"the arguments of {call.tool_name} are not those of its digest; the database was changed")
    return call


def _unfinished(step: Step, call: Pending, tool: AnyTool, error: Exception) -> Draft:
    """A `keyed` call is repeated with the same key; of a `once` call nobody knows whether it happened."""
    why = _one_line(error)
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
            {"stuck": f"result of {tool.name} does not fit its return annotation: {_one_line(error)}", "result": _as_is(value)},
        )
    return _done(step, call, python, result)


def _as_is(value: object) -> Json:
    """A result that does not fit, as far as it can be written down."""
    try:
        written = (lambda: value.model_dump(mode="json")) if isinstance(value, BaseModel) else (lambda: value)
        return admit_dump(written, what="result", limit=MAX_RESULT)
    except InputError:
        return None


def _done(step: Step, call: Pending, python: object, result: Json) -> Draft:
    state = cast(Act[Memory], step.state())
    return _acted(step, call, {"result": result, **_keep_results(step, state, Got([(call.tool_name, python)]))})


async def recover(step: Step) -> Draft | None:
    """A call that another holder marked and may have dispatched. None: it certainly did not happen, dispatch it."""
    call = cast(Pending, step.run.pending)
    tool = step.bound.tool(call.tool_name)
    try:
        with outside(f"reconcile {tool.name}"):
            happened = await tool.reconcile(call.key)
    except Exception as error:
        return _unknown(step, call, f"reconcile raised {_one_line(error)}")
    if happened is None:
        return _unknown(step, call, "the process stopped between dispatch and record")
    if not happened:
        return None
    state = cast(Act[Memory], step.state())
    return _acted(step, call, {"result": None, "reconciled": True, **_keep_results(step, state, Got([]))})


def local_call(step: Step) -> tuple[AnyTool, Pending]:
    call = _whole(step.run)
    return step.bound.tool(call.tool_name), call


def local(step: Step, tool: AnyTool, call: Pending, session: object) -> Draft:
    """Runs a `local` tool inside the transaction that will commit the step."""
    with outside(f"tool {tool.name}"):
        value = tool.function(**tool.bind(call.arguments, session=session))
    return done(step, call, tool, value)


def local_failed(step: Step, error: BaseException) -> Draft:
    """A `local` tool raised: its rows are rolled back, so it certainly did not happen."""
    call = cast(Pending, step.run.pending)
    return _acted(step, call, {"error": _fault(error, call.tool_name)})


# ── the model ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def ask(step: Step) -> Draft:
    """One model call. What came is data until the choices have validated it; every fault of it is the `error` edge."""
    name = step.run.state
    body: Object = {"state": name}
    try:
        request, manifest = _request(step)
    except PromptError as error:
        raise Stuck(str(error)) from error
    body |= {"prompt": manifest}
    llm = cast(LLM, step.llm)
    try:
        with outside(f"model {name}"):
            answer, picked = await pick(llm, request)
    except ModelRefused as error:
        return Draft("blocked", {"reason": f"{_one_line(error)}; put it right, then `leverframe retry {step.run.id}`"})
    except ModelUnavailable as error:
        return _later(step, body, error)
    except BadCompletion as error:
        spent: Object = {}
        if error.usage:
            tokens = {"input_tokens": error.usage.input_tokens, "output_tokens": error.usage.output_tokens}
            spent = {"usage": {**tokens, "cost": error.usage.cost}}
        return Draft("asked", {**body, **spent, "outcome": "error", "error": _fault(error, "model")})
    body |= {"model": answer.model, "usage": answer.usage.json(), "request": answer.request_hash}
    body |= {} if picked.confidence is None else {"confidence": picked.confidence}
    if picked.call is not None:
        call = call_body(picked.call)
        return Draft(
            "asked",
            {
                **body,
                **({"considered": call, "outcome": "unsure"} if picked.unsure else {"call": call, "outcome": picked.intent}),
            },
        )
    reply = cast(Reply[str], picked.reply)
    body["reply"] = reply_body(reply)
    if picked.unsure:
        return Draft("asked", {**body, "outcome": "unsure"})
    return Draft("asked", {**body, **_keep_reply(step, reply)})


def _request(step: Step) -> tuple[Request, Object]:
    name, run = step.run.state, step.run
    prompt = choose(step.bound.prompts_of(name), run.id)
    choices = step.bound.choices_of(name)
    text, kept = step.window.text(WINDOW_TOKENS) if step.window else ("", {})
    variables = {**run.memory, "memory": run.memory, "window": text, "choices": choices.describe()}
    request = Request(
        messages=render(prompt, variables),
        choices=choices,
        model=step.model or prompt.model or "",
        temperature=prompt.temperature,
        max_tokens=prompt.max_tokens,
        run_id=run.id,
        state=name,
        prompt=prompt,
        memory=run.memory,
    )
    return request, {"name": prompt.name, "variant": prompt.variant, **kept}


def _later(step: Step, body: Object, error: ModelUnavailable) -> Draft:
    """The provider is at fault, not the model: again with back-off, never pasted into the prompt; in the end an `error`."""
    attempts = (step.run.postponed[1] if step.run.postponed else 0) + 1
    if attempts >= MODEL_ATTEMPTS:
        return Draft(
            "asked",
            {
                **body,
                "why": _one_line(error),
                "outcome": "error",
                "error": {"type": "ModelUnavailable", "source": "model", "cause": "the model is unavailable"},
            },
        )
    seconds = backoff(attempts - 1) if error.retry_after is None else min(error.retry_after, 3600.0)
    until = step.clock.now() + int(seconds * SECOND)
    return Draft("postponed", {"state": step.run.state, "until": until, "attempts": attempts, "why": _one_line(error)})


def reply_body(reply: Reply[str]) -> Object:
    return {"intent": reply.intent, **cast(Object, reply.model_dump(mode="json"))}


def _keep_reply(step: Step, reply: Reply[str]) -> Object:
    """What a reply of a model, a person or an event leaves in the memory; its intent is the outcome."""
    state = cast(Ask[Memory] | Consult[Memory] | Wait[Memory], step.state())
    if type(state).keep in (Ask.keep, Consult.keep, Wait.keep):
        return {"outcome": reply.intent}

    def keep(memory: Memory) -> str:
        cast(Callable[[Memory, Reply[str]], None], state.keep)(memory, reply)
        return reply.intent

    return _kept(step, f"{state.name}.keep", keep)


def answered(step: Step, answer: Json, by: str, task: str) -> Draft:
    """A person's answer to a Consult."""
    reply = read_reply(cast(type[Consult[Never]], step.bound.state(step.run.state)).replies, answer)
    return Draft(
        "answered", {"state": step.run.state, "task": task, "by": by, "reply": reply_body(reply), **_keep_reply(step, reply)}
    )


def received(step: Step, event: str, data: Json, source: str) -> Draft:
    """An event a Wait was waiting for."""
    reply = read_reply(
        cast(type[Wait[Never]], step.bound.state(step.run.state)).events, {**cast(Object, data or {}), "intent": event}
    )
    return Draft(
        "received",
        {"state": step.run.state, "event": event, "source": source, "reply": reply_body(reply), **_keep_reply(step, reply)},
    )


def read_reply(replies: Sequence[type[Reply[str]]], answer: Json) -> Reply[str]:
    """An answer from outside as the Reply its intent names. Raises BadCompletion naming what does not fit."""
    picked = Choices(replies).parse(answer)
    return cast(Reply[str], picked.reply)


# ── waiting states ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def shown_to_person(step: Step) -> tuple[str, Object | None]:
    """What an Approve or a Consult shows: its words, and the schema of what can be answered."""
    state = step.state()
    memory = step.memory()
    if isinstance(state, Approve):
        return str(_run_user_code(f"{state.name}.show", lambda: cast(Approve[Memory], state).show(memory))), None
    asks = cast(Consult[Memory], state)
    return str(_run_user_code(f"{state.name}.question", lambda: asks.question(memory))), Choices(asks.replies).schema


def shown_edited(step: Step, call: Object, by: str) -> Object:
    """What the next person is shown of a call that one person changed: what the first was shown, over the new call."""
    pending = but(cast(Pending, step.run.pending), arguments=call["arguments"], digest=call["digest"])
    try:
        content, _ = shown_to_person(replace(step, run=but(step.run, pending=pending)))
    except Stuck:
        content = ""  # the words do not fit the new arguments; the arguments speak for themselves
    edited = f"Edited by {by}.\n{content}".strip()
    shown: Object = {name: call[name] for name in ("tool_name", "arguments")}
    return {"content": edited, "approver": step.spec.to, "call": shown}


def inputs(step: Step) -> list[Memory]:
    """What a Delegate gives to its children."""
    state = cast(Delegate[Memory, BaseModel], step.state())
    memory = step.memory()
    given = cast("Memory | Sequence[Memory]", _run_user_code(f"{state.name}.give", lambda: state.give(memory)))
    if step.spec.body.get("many") is False and not isinstance(given, Memory):
        raise Stuck(f"{state.name}.give gave a list, and its annotation promises one {step.spec.body['machine']} run")
    return [given] if isinstance(given, Memory) else list(given)


def returned(step: Step, results: Sequence[tuple[bool, Json]], *, did: bool) -> Draft:
    """All children are over: their results, in the order of the inputs."""
    state = cast(Delegate[Memory, BaseModel], step.state())
    body: Object = {
        "state": state.name,
        "results": cast(Json, [{"success": success, "result": value} for success, value in results]),
    }
    failed = sum(not success for success, _ in results)
    if failed > state.max_failed:
        cause = f"{failed} of {len(results)} runs of {state.machine} failed"
        error: Object = {"type": "Delegate", "source": state.machine, "cause": cause, "final": did}
        return Draft("returned", {**body, "outcome": "error", "error": error})
    return Draft("returned", {**body, **_keep_returned(step, state, results)})


def _keep_returned(step: Step, state: Delegate[Memory, BaseModel], results: Sequence[tuple[bool, Json]]) -> Object:
    if type(state).keep is Delegate.keep:
        return {"outcome": "done"}

    def keep(memory: Memory) -> str:
        typed = [
            state.returns.model_validate(value) if success and state.returns and value is not None else None
            for success, value in results
        ]
        state.keep(memory, typed)
        return "done"

    return _kept(step, f"{state.name}.keep", keep)


def kept(step: Step) -> Draft:
    """Only `keep`, again, over what was recorded before: nothing is done twice."""
    held = cast(Object, step.run.held)
    state = step.state()
    if isinstance(state, Act):
        came = _keep_held_act(step, cast(Act[Memory], state), held)
    elif isinstance(state, Fetch):
        calls = cast(list[Object], held["calls"])
        got = [
            (cast(str, call["tool_name"]), step.bound.tool(cast(str, call["tool_name"])).revive(call["result"])) for call in calls
        ]
        came = _keep_results(step, cast(Fetch[Memory], state), Got(got))
    elif isinstance(state, Delegate):
        results = [(bool(item["success"]), item["result"]) for item in cast(list[Object], held["results"])]
        came = _keep_returned(step, cast(Delegate[Memory, BaseModel], state), results)
    else:
        listed = cast(
            Sequence[object], state.events if isinstance(state, Wait) else cast("Ask[Never] | Consult[Never]", state).replies
        )
        replies = [cast("type[Reply[str]]", item) for item in listed if isinstance(item, type)]
        came = _keep_reply(step, read_reply(replies, held["reply"]))
    if "stuck" in came:
        raise Stuck(str(came["stuck"]))
    return Draft("kept", {"state": state.name, **came, **{name: held[name] for name in ("effect",) if name in held}})


def _keep_held_act(step: Step, state: Act[Memory], held: Object) -> Object:
    name = cast(str, held["tool_name"])
    try:
        python = step.bound.tool(name).revive(held.get("result"))
    except ValidationError as error:
        raise Stuck(f"result of {name} does not fit its return annotation: {compact(error)}") from None
    return _keep_results(step, state, Got([(name, python)]))
