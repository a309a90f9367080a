"""One state of one run, about to do what it does: the pinned definition with the code of now, and the event that comes of it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Never, TypeAlias, cast

from pydantic import ValidationError

from leverframe.canon import Object, ordered
from leverframe.clock import Clock
from leverframe.errors import (
    LeverframeError,
    did_you_mean,
)
from leverframe.llm import LLM, Choices
from leverframe.machine import AnyState, AnyTool, Definition, Machine, Spec, differences
from leverframe.prompt import Prompt
from leverframe.run import Event, Run
from leverframe.state import (
    Ask,
    Call,
    Memory,
    State,
)
from leverframe.tool import compact
from leverframe.window import Window

AnyMachine: TypeAlias = Machine[Never]
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
    def asks(self) -> bool:
        """Has it a state that asks a model?"""
        return any(spec.kind == "ask" for spec in self.definition.states.values())

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
        found += self._against_queue(run, pinned)
        try:
            self.machine.memory.model_validate_json(ordered(run.memory))
        except ValidationError as error:
            found.append(f"memory: {compact(error)}")
        return found

    def _against_queue(self, run: Run, pinned: Definition) -> list[str]:
        """Calls that wait must lead on there as they did: by the same maker, under the same contracts."""
        if run.pending is None or not run.queue:
            return []
        maker = self.definition.states.get(run.pending.maker)
        known = maker.edges.keys() & maker.tools if maker and maker.most > 1 else set[str]()
        found: list[str] = []
        for name in dict.fromkeys(str(item["tool_name"]) for item in run.queue):
            was, now = pinned.tools[name], self.definition.tools.get(name)
            if name not in known or now is None or (was.contract, was.effect) != (now.contract, now.effect):
                found.append(f"a waiting call of {name} cannot follow there; let the run finish the answer, or reject it")
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
        found = self.machine.tools.get(name)
        if found is None:
            raise Stuck(
                f"tool {name} is not in machine {self.machine.name} any more; bring the code back, or `leverframe migrate`"
            )
        return found

    def choices_of(self, name: str) -> Choices:
        found = self.choices.get(name)
        if found is None:
            state = cast("type[Ask[Never]]", self.state(name))
            found = self.choices[name] = Choices(state.replies, state.threshold, self.definition.states[name].most)
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
    log: "Callable[[int], Awaitable[Event | None]] | None" = None
    """One event of the run, by its number."""

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
