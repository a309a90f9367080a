"""A machine: the edges between states as a table, checked when it is declared, and the same as data.

`Machine` is what people write. `Definition` is the machine as canonical JSON: what runs are pinned to and executed from, whatever the
code becomes. Both compile to one shared `transitions.Machine`; every move of every run goes through it, so an edge that is not drawn
cannot be taken.
"""

import json
import sys
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, Never, TypeAlias, cast

from leverframe import schema
from leverframe.attributes import refuse_unfit
from leverframe.automaton import Automaton, atoms, compiled, per_call
from leverframe.canon import Json, Object, canonical, text_hash
from leverframe.clock import Micros, micros
from leverframe.errors import DeclarationError, EdgeError, PromptError, did_you_mean
from leverframe.importance import PIN, refuse_rows
from leverframe.limits import Limits, limits_of
from leverframe.outcomes import intents, outcomes
from leverframe.rules import Rule, refuse_unknown
from leverframe.series import FEWEST, FOLLOWS, MOST, NEXT, Shape, onward
from leverframe.state import (
    Act,
    Approve,
    Ask,
    Back,
    Compact,
    Consult,
    Delegate,
    Effect,
    End,
    Fetch,
    Kind,
    Memory,
    Next,
    PromptBy,
    Reply,
    State,
    Wait,
    checked_name,
)
from leverframe.state import (
    M_contra as M,
)
from leverframe.table import refuse_mistyped, refuse_others, refuse_row, refuse_vanished
from leverframe.tool import Tool

if TYPE_CHECKING:  # declaring a machine loads neither
    from transitions import EventData
    from transitions import Machine as Compiled

    from leverframe.prompt import Prompt

BACK = "Back"
EXCEEDED = "exceeded"
AnyState: TypeAlias = type[State[Never]]
AnyTool: TypeAlias = Tool[..., ..., object, object]
Refuse: TypeAlias = Callable[[str, DeclarationError], None]


@dataclass(frozen=True, slots=True)
class Accept:
    """A finding of `leverframe check` that the machine lives with, and why: shown in every review.

    `state` None: wherever in the machine it is found. Raises DeclarationError for an acceptance without a reason.
    """

    code: str
    reason: str
    state: AnyState | None = None

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise DeclarationError(f"{self.code}: accepted without a reason; say why the machine can live with it")

    def json(self) -> Object:
        return {"code": self.code, "state": self.state.name if self.state else None, "reason": self.reason}


class Machine(Generic[M]):
    """What an agent may do, as a table of edges: `{State: {"outcome": NextState}}`. The first row is the start.

    Raises EdgeError at import where the table and the states' outcomes disagree, naming machine, state, key and the near miss.
    """

    def __init__(
        self,
        name: str,
        *,
        memory: type[M],
        edges: Mapping[type[State[M]], Mapping[str, type[State[M]]]],
        limits: Limits | None = None,
        rules: Sequence[Rule] = (),
        accepts: Sequence[Accept] = (),
        version: str = "",
    ) -> None:
        self.name = checked_name(name, "machine")
        self.memory: type[Memory] = memory
        self.edges = edges
        self.limits = limits_of(self.name, limits)
        refuse_mistyped(self.name, memory, edges, self.limits.exceeded)
        self.rules = rules
        self.accepts = accepts
        self.version = version
        refuse_others(self.name, "rules", rules, Rule)
        refuse_others(self.name, "accepts", accepts, Accept)
        frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]  # where it is declared: the place that findings name
        self.file, self.line = frame.f_code.co_filename, frame.f_lineno
        self.doc = str(frame.f_globals.get("__doc__") or "").strip()
        refuse_vanished(self.name, self.file, self.line)
        self.states = self._named_states()
        for name, state in self.states.items():
            refuse_unfit(f"machine {self.name}: state {name}", state)
        self._check_edges()
        self._check_rules("", self)

    def __repr__(self) -> str:
        return f"<machine {self.name}>"

    @property
    def home(self) -> Path:
        """The project the machine lives in: where `prompts/` is looked for."""
        return Path(self.file).resolve().parent.parent

    @property
    def start(self) -> str:
        return next(iter(self.edges)).name

    @cached_property
    def compiled(self) -> "Compiled":
        """The machine as a `transitions.Machine` without a model, built once and shared."""
        rows: dict[str, tuple[Kind, Mapping[str, str]]] = {name: (kind_of(state), row) for name, state, row in self._rows()}
        return compile(self.start, rows, self._exceeded, self.onward)

    @cached_property
    def onward(self) -> dict[str, list[str]]:
        """Of each Act that can end in `next`: the states that this can mean."""
        if not any(most_of(state) > 1 for state in self.states.values()):
            return {}
        shapes = {
            name: Shape(kind_of(state), row, [tool.name for tool in tools_of(state)], builds(state), most_of(state))
            for name, state, row in self._rows()
        }
        return onward(shapes, self._exceeded)

    @property
    def _exceeded(self) -> str | None:
        return self.limits.exceeded.name if self.limits.exceeded else None

    @cached_property
    def tools(self) -> dict[str, AnyTool]:
        """Every tool some state may pick or run, by name."""
        found: dict[str, AnyTool] = {}
        for state in self.states.values():
            for tool in tools_of(state):
                if found.setdefault(tool.name, tool) is not tool:
                    raise DeclarationError(
                        f"machine {self.name}: two tools are called {tool.name!r}; rename one with @tool(name=…)"
                    )
        return found

    def definition(self, others: "Mapping[str, Machine[Never]] | None" = None) -> "Definition":
        """The machine as data; `others` are the machines it may delegate to. Raises PromptError, DeclarationError."""
        return Definition(canonical(self._body(others or {}, (self.name,))))

    def draft(self, others: "Mapping[str, Machine[Never]]", refuse: "Refuse") -> Object:
        """The body of the definition as far as it can be written: a prompt or machine that is not there goes to `refuse`, with its state.

        Templates are not checked. Raises DeclarationError where there is no machine as data at all.
        """
        return self._body(others, (self.name,), refuse)

    def _body(self, others: "Mapping[str, Machine[Never]]", inside: tuple[str, ...], refuse: "Refuse | None" = None) -> Object:
        states: Object = {}
        for name, state, row in self._rows():
            states[name] = {
                "kind": kind_of(state),
                "doc": doc_of(state),
                "edges": cast("Json", row),
                **self._details(state, others, inside, refuse),
            }
        tools: Object = {name: _tool_body(tool) for name, tool in sorted(self.tools.items())}
        self._check_rules_inside(others)
        rules: Json = [rule.json() for rule in self.rules]
        return {
            "leverframe": 1,
            "name": self.name,
            "version": self.version,
            "doc": self.doc,
            "start": self.start,
            "memory": schema.schema_of(self.memory),
            "states": states,
            "tools": tools,
            "limits": self.limits.json(),
            "rules": rules,
            "accepts": [accepted.json() for accepted in self.accepts],
        }

    def _details(
        self, state: AnyState, others: "Mapping[str, Machine[Never]]", inside: tuple[str, ...], refuse: "Refuse | None"
    ) -> Object:
        """What a state's kind adds to the definition."""
        if issubclass(state, Ask):
            from leverframe.wording import wording

            prompts = self.prompts(state) if refuse is None else self._found(state, refuse)
            by = state.prompt if isinstance(state.prompt, PromptBy) else None
            named: Object = {"prompt_by": by.json()} if by else {"prompt": cast("str", state.prompt)}
            texts = {} if prompts is None else _pins(prompts, by is not None)
            words = wording(self.home, prompt_names(state)[0])
            shown: Object = {**({"scores": {**state.scores}} if state.scores else {}), **({"error": words} if words else {})}
            several: Object = {"most": state.most} if state.many else {}
            return {**named, **texts, "choices": _choices(state.replies), "threshold": state.threshold, **several, **shown}
        if issubclass(state, Fetch | Act):
            return {"tools": [tool.name for tool in state.runs], "builds": builds(state)}
        if issubclass(state, Approve):
            return {"to": state.to, "deadline": _deadline(state)}
        if issubclass(state, Consult):
            return {"to": state.to, "deadline": _deadline(state), "choices": _choices(state.replies)}
        if issubclass(state, Wait):
            return {"deadline": _deadline(state), "choices": _choices(state.events)}
        if issubclass(state, Delegate):
            return self._delegate_body(cast("type[Delegate[Never, Never]]", state), others, inside, refuse)
        if issubclass(state, Compact):
            return {"times": state.times, **({"cuts": {**state.cuts}} if state.cuts else {})}
        return {"success": state.success} if issubclass(state, End) else {}

    def _check_rules_inside(self, others: "Mapping[str, Machine[Never]]") -> None:
        """As `_check_rules`, of the machines that run inside of this one."""
        inside: dict[str, Machine[Never]] = {}
        missing: set[str] = set()  # said where it is delegated to
        todo: list[Machine[Never]] = [self] if self.rules else []
        while todo:
            for state in todo.pop().states.values():
                name = cast("type[Delegate[Never, Never]]", state).machine if issubclass(state, Delegate) else ""
                if name in others and name not in inside:
                    inside[name] = others[name]
                    todo.append(others[name])
                elif name and name not in others:
                    missing.add(name)
        for name in sorted({letter.machine for rule in self.rules for letter in rule.letters()} - {""}):
            if name in inside:
                self._check_rules(name, inside[name])
            elif not missing:
                hint = did_you_mean(name, sorted(inside))
                raise DeclarationError(f"machine {self.name}: a rule is about {name!r}, and no Delegate leads to it.{hint}")

    def _delegate_body(
        self,
        state: type[Delegate[Never, Never]],
        others: "Mapping[str, Machine[Never]]",
        inside: tuple[str, ...],
        refuse: "Refuse | None",
    ) -> Object:
        pinned = self._pinned(state, others, inside, refuse)
        returns = schema.schema_of(state.returns) if state.returns else None
        return {
            "machine": state.machine,
            "definition": pinned,
            "deadline": _deadline(state),
            "many": gives_many(state),
            "max_failed": state.max_failed,
            "concurrency": state.concurrency,
            "returns": returns,
        }

    def prompts(self, state: type[Ask[Never]]) -> "list[Prompt]":
        """The variants of a state's prompt, or of each that it may choose, checked against what their templates may use."""
        from leverframe.prompt import find

        found = [prompt for name in prompt_names(state) for prompt in find(self.home, name)]
        for prompt in found:
            prompt.check({*self.memory.model_fields, "memory", "window", "choices"}, intents(state, state.replies))
        return found

    def _found(self, state: type[Ask[Never]], refuse: "Refuse") -> "list[Prompt] | None":
        from leverframe.prompt import find

        found: list[Prompt] = []
        missing = False
        for name in prompt_names(state):
            try:
                found += find(self.home, name)
            except PromptError as error:
                refuse(state.name, error)
                missing = True
        return None if missing else found

    def _pinned(
        self,
        state: type[Delegate[Never, Never]],
        others: "Mapping[str, Machine[Never]]",
        inside: tuple[str, ...],
        refuse: "Refuse | None",
    ) -> str:
        """The hash of the definition of the machine that a state delegates to."""
        try:
            return Definition(canonical(self._delegated(state, others, inside)._body(others, (*inside, state.machine)))).hash
        except DeclarationError as error:
            if refuse is None:
                raise
            if not isinstance(error, PromptError):  # that is the other machine's own
                refuse(state.name, error)
            return ""

    def _delegated(
        self, state: type[Delegate[Never, Never]], others: "Mapping[str, Machine[Never]]", inside: tuple[str, ...]
    ) -> "Machine[Never]":
        if state.machine in inside:
            raise DeclarationError(
                f"machine {self.name}: state {state.name} delegates to {state.machine}, which contains it; machines cannot recurse"
            )
        other = others.get(state.machine)
        if other is None:
            hint = did_you_mean(state.machine, list(others))
            raise DeclarationError(
                f"machine {self.name}: state {state.name} delegates to {state.machine!r}, which is not in machines/.{hint}"
            )
        return other

    def _rows(self) -> Iterator[tuple[str, AnyState, dict[str, str]]]:
        for name, state in self.states.items():
            row = self.edges.get(cast("type[State[M]]", state), {})
            yield name, state, {outcome: target.name for outcome, target in row.items()}

    def _named_states(self) -> dict[str, AnyState]:
        if not self.edges:
            raise EdgeError(f"machine {self.name}: has no edges; the first row of the table is the start")
        states: dict[str, AnyState] = {}
        extra = [self.limits.exceeded] if self.limits.exceeded else []
        targets = [target for row in self.edges.values() for target in row.values()]
        for state in cast("list[AnyState]", [*self.edges, *targets, *extra]):
            if state in (Back, Next):
                continue
            if checked_name(state.name, f"machine {self.name}: state") in (BACK, NEXT):
                what = "the history pseudo-state" if state.name == BACK else "the pseudo-state that `next` leads to"
                raise EdgeError(f"machine {self.name}: a state cannot be called {state.name!r}, {what}; rename it")
            if states.setdefault(state.name, state) is not state:
                raise EdgeError(f"machine {self.name}: two states are called {state.name!r}; rename one")
        return states

    def _check_edges(self) -> None:
        for name, state, row in self._rows():
            where = f"machine {self.name}: state {name}"
            ends = outcomes(state)
            self._check_next(where, name, row)
            refuse_row(where, ends | {FOLLOWS for act in self.onward if act == name}, list(row))
            for outcome, target in row.items():
                checked_name(outcome, f"{where}: outcome")
                if target == BACK and not (issubclass(state, Compact) and outcome == "retry"):
                    raise EdgeError(f"{where}: only the 'retry' of a Compact leads Back; name the state {outcome!r} leads to")
            self._check_kind(where, state, row)
        exceeded = self.limits.exceeded
        if exceeded is not None and issubclass(exceeded, Compact):
            raise EdgeError(
                f"machine {self.name}: limits lead to {exceeded.name}, a Compact; name a state where a person decides, or an End"
            )

    def _check_next(self, where: str, name: str, row: Mapping[str, str]) -> None:
        """`next` stands in the row of each Act that may execute one of several calls, leads to `Next`, and nothing else does."""
        state = self.states[name]
        if issubclass(state, Ask) and state.many and not FEWEST <= state.most <= MOST:
            raise EdgeError(f"{where}: many calls in one answer are {FEWEST} to {MOST}, and most is {state.most!r}")
        for outcome, target in row.items():
            if (target == NEXT) != (outcome == FOLLOWS and issubclass(state, Act)):
                raise EdgeError(
                    f"{where}: {outcome!r} leads to {target}; only the 'next' of an Act leads to Next, and nowhere else"
                )
        if FOLLOWS in row and name not in self.onward:
            raise EdgeError(
                f"{where}: never ends in 'next': no Ask with `many = True` leads a call here that it runs"
                + ("" if "ok" in row else ", or it never ends in 'ok'")
            )
        if name in self.onward and FOLLOWS not in row:
            raise EdgeError(
                f"{where}: executes one of several calls of an answer; add 'next': Next to its row, for the one that follows"
            )

    def _check_rules(self, inside: str, other: "Machine[Never]") -> None:
        """What rules name of this machine (or of one that runs inside of it) must be there. Raises DeclarationError."""
        states = {name: outcomes(state) for name, state in other.states.items()} if self.rules else {}
        for rule in self.rules:
            refuse_unknown(f"machine {self.name}: {rule}", rule.letters(), states, other.tools, inside)

    def _check_kind(self, where: str, state: AnyState, row: Mapping[str, str]) -> None:
        if "error" in row and not issubclass(self.states[row["error"]], Compact):
            raise EdgeError(
                f"{where}: 'error' leads to {row['error']}, which is no Compact; errors are compacted and counted before a retry"
            )
        if issubclass(state, Ask) and isinstance(by := state.prompt, PromptBy) and by.field not in self.memory.model_fields:
            near = did_you_mean(by.field, list(self.memory.model_fields))
            raise EdgeError(f"{where}: chooses its prompt by {by.field!r}, which is no field of {self.memory.__name__}.{near}")
        if issubclass(state, Ask) and state.scores:
            refuse_rows(f"{where}: scores", state.scores, self.tools, most=PIN)
        if issubclass(state, Compact) and state.cuts:
            refuse_rows(f"{where}: cuts", state.cuts, self.tools, most=1_000_000)
        if issubclass(state, Fetch):
            for tool in state.runs:
                if tool.effect != "read":
                    raise EdgeError(
                        f"{where}: fetches with {tool.name}, which is {tool.effect!r}; only read tools run without a choice"
                    )
        if "unknown" in row:
            settler = self.states[row["unknown"]]
            fits = issubclass(settler, Fetch | Consult) and {"happened", "not_happened"} <= outcomes(settler)
            if not fits:
                raise EdgeError(
                    f"{where}: 'unknown' leads to {row['unknown']}; it must be a Fetch that finds out or a Consult that asks, "
                    "with the outcomes 'happened' and 'not_happened'"
                )


def kind_of(state: AnyState) -> Kind:
    return state.kind


def prompt_names(state: type[Ask[Never]]) -> list[str]:
    """The prompts that a state may use."""
    return state.prompt.names if isinstance(state.prompt, PromptBy) else [state.prompt]


def _pins(prompts: "Sequence[Prompt]", chosen: bool) -> Object:
    from leverframe.prompt import pins  # templates are loaded where there is a prompt

    return pins(prompts, chosen=chosen)


def doc_of(state: AnyState) -> str:
    return (state.__dict__.get("__doc__") or "").strip()


def builds(state: AnyState) -> bool:
    """Does the Act make its own call?"""
    return issubclass(state, Act) and state.build is not Act.build


def most_of(state: AnyState) -> int:
    """How many calls one answer of it may make."""
    return state.most if issubclass(state, Ask) and state.many else 1


def gives_many(state: type[Delegate[Never, Never]]) -> bool:
    """May `give` start more than one run, or none? Only where its annotation is one Memory does it surely start one."""
    annotation: object = state.give.__annotations__.get("return")
    return not (isinstance(annotation, type) and issubclass(annotation, Memory))


def tools_of(state: AnyState) -> list[AnyTool]:
    """What a state may pick or run."""
    listed: Sequence[object] = ()
    if issubclass(state, Fetch | Act):
        listed = state.runs
    elif issubclass(state, Ask):
        listed = state.replies
    return [cast("AnyTool", tool) for tool in listed if isinstance(tool, Tool)]


def _deadline(state: type[Approve[Never]] | type[Consult[Never]] | type[Wait[Never]] | type[Delegate[Never, Never]]) -> Micros:
    return micros(state.deadline) if state.deadline else 0


def _choices(replies: Sequence[object]) -> Json:
    choices: list[Json] = []
    for reply in replies:
        if isinstance(reply, Tool):
            choices.append({"intent": reply.name, "kind": "tool"})
        elif isinstance(reply, type) and issubclass(reply, Reply):
            shape = schema.schema_of(cast("Hashable", reply))
            choices.append(
                {
                    "intent": cast("type[Reply[str]]", reply).intent,
                    "kind": "reply",
                    "schema": shape,
                    "contract": schema.contract(shape),
                }
            )
    return choices


def _tool_body(tool: AnyTool) -> Object:
    return {
        "doc": tool.doc,
        "effect": tool.effect,
        "approval": tool.approval,
        "timeout": tool.options.timeout,
        "retries": tool.options.retries,
        "reconciles": tool.options.reconcile is not None,
        "untrusted": tool.options.untrusted,
        "input": tool.input,
        "output": tool.output,
        "contract": schema.contract({"properties": {"input": tool.input, "output": tool.output}}),
    }


# ── the machine as data ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """What a definition pins of a tool."""

    name: str
    effect: Effect
    approval: bool
    timeout: float
    retries: int
    reconciles: bool
    contract: str


@dataclass(frozen=True, slots=True)
class Spec:
    """What a definition says of one state."""

    name: str
    kind: Kind
    doc: str
    edges: Mapping[str, str]
    tools: frozenset[str]  # what it may run (Fetch, Act) or pick (Ask)
    choices: tuple[Object, ...]
    builds: bool
    settles: bool  # some `unknown` edge leads here
    deadline: Micros
    times: int
    to: str
    success: bool
    most: int  # of an Ask: how many calls one answer may make
    body: Object


class Definition:
    """A machine as data: canonical JSON text and its SHA-256. Built from a Machine or from the text a run is pinned to.

    Raises DeclarationError for a text that is no definition.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.hash = text_hash(text)
        self._ways: dict[tuple[str, str, str | None, str | None], str] = {}
        body = cast("Object", json.loads(text))
        if body.get("leverframe") != 1:
            raise DeclarationError("not a leverframe definition of format 1")
        self.body = body
        self.name = cast("str", body["name"])
        self.start = cast("str", body["start"])
        self.rules = cast("list[Object]", body["rules"])
        self.call_rules = [rule for rule in self.rules if per_call(rule)]
        self.run_rules = [rule for rule in self.rules if not per_call(rule)]
        self.tools = {name: _tool_spec(name, cast("Object", tool)) for name, tool in cast("Object", body["tools"]).items()}
        raw = cast("dict[str, Object]", body["states"])
        settlers = {cast("dict[str, str]", state["edges"]).get("unknown") for state in raw.values()}
        self.states = {name: _spec(name, state, name in settlers) for name, state in raw.items()}
        limits = cast("Object", body["limits"])
        self.steps = cast("int", limits["steps"])
        self.model_calls = cast("int | None", limits["model_calls"])
        self.cost = cast("int | None", limits["cost"])
        self.days = cast("float | None", limits["days"])
        self.exceeded = cast("str | None", limits["exceeded"])
        self.tokens = cast("int | None", limits.get("tokens"))
        self.daily = cast("dict[str, int]", limits.get("daily") or {})  # of model_calls, tokens and cost those that are limited
        self.limits_money = self.cost is not None or "cost" in self.daily

    def __repr__(self) -> str:
        return f"<definition {self.name} {self.hash[:12]}>"

    @cached_property
    def ruled(self) -> frozenset[str]:
        """The tools of this machine that rules name."""
        return frozenset(each.name for rule in self.rules for each in atoms(rule) if each.what == "tool" and not each.machine)

    @cached_property
    def automata(self) -> tuple[Automaton, ...]:
        """Of `run_rules`."""
        return tuple(map(compiled, self.run_rules))

    @cached_property
    def listens(self) -> bool:
        """Are any of its rules about the runs inside of it?"""
        return any(automaton.machines for automaton in self.automata)

    @cached_property
    def compiled(self) -> "Compiled":
        rows: dict[str, tuple[Kind, Mapping[str, str]]] = {name: (spec.kind, spec.edges) for name, spec in self.states.items()}
        return compile(self.start, rows, self.exceeded, self.onward)

    @cached_property
    def onward(self) -> dict[str, list[str]]:
        """Of each Act that can end in `next`: the states that this can mean."""
        if all(spec.most == 1 for spec in self.states.values()):
            return {}
        shapes = {name: Shape(each.kind, each.edges, each.tools, each.builds, each.most) for name, each in self.states.items()}
        return onward(shapes, self.exceeded)

    def move(self, state: str, outcome: str, *, back: str | None, following: str | None = None) -> str:
        """Where an outcome leads; `back` and `following` are what `Back` and `Next` mean. Raises EdgeError for an edge that is not drawn.

        The compiled machine is asked once for each way: what it answers depends on nothing else.
        """
        way = (state, outcome, back, following)
        if (found := self._ways.get(way)) is None:
            found = self._ways[way] = self._moved(*way)
        return found

    def _moved(self, state: str, outcome: str, back: str | None, following: str | None) -> str:
        cursor = Cursor(state, back, following)
        event = self.compiled.events.get(outcome)
        try:
            moved = event is not None and event.trigger(cursor)
        except (_machine_error(), ValueError) as error:
            raise EdgeError(f"machine {self.name}: state {state} has no edge {outcome!r}: {error}") from None
        if not moved:
            raise EdgeError(f"machine {self.name}: state {state} has no edge {outcome!r}" + (f" back to {back}" if back else ""))
        return cursor.state

    def prompts(self, state: str) -> "list[Prompt]":
        """The pinned texts of an Ask's prompt, of all that it may choose."""
        from leverframe.prompt import Prompt, pinned, pinned_partials

        body = self.states[state].body
        partials = pinned_partials(body)
        return [Prompt.parse(name, variant, text, partials=partials) for name, variant, text in pinned(body)]

    @cached_property
    def variants(self) -> dict[str, frozenset[str]]:
        """The variants that a run may be told, of each prompt that has several."""
        found: dict[str, set[str]] = {}
        for prompt in (prompt for name, spec in self.states.items() if spec.kind == "ask" for prompt in self.prompts(name)):
            if not prompt.shadow:
                found.setdefault(prompt.name, set()).add(prompt.variant)
        return {name: frozenset(variants) for name, variants in found.items() if len(variants) > 1}

    def may_delegate(self, state: str) -> bool:
        """May the next step of that state start child runs?"""
        targets = {state, *self.states[state].edges.values(), self.exceeded}
        return any(BACK in targets or name in targets for name in self.delegates)

    @cached_property
    def delegates(self) -> list[str]:
        return [name for name, spec in self.states.items() if spec.kind == "delegate"]

    def prompt_by(self, state: str) -> PromptBy | None:
        """How an Ask chooses its prompt; None where it has one."""
        return by_of(self.states[state].body)


class Cursor:
    """What moves through the compiled machine: where it is, and where `Back` and `Next` lead."""

    __slots__ = ("back", "following", "state")

    def __init__(self, state: str, back: str | None, following: str | None = None) -> None:
        self.state = state
        self.back = back
        self.following = following


def _machine_error() -> type[Exception]:
    from transitions import MachineError

    return MachineError


def compile(
    start: str, rows: Mapping[str, tuple[Kind, Mapping[str, str]]], exceeded: str | None, onward: Mapping[str, Sequence[str]]
) -> "Compiled":
    """One `transitions.Machine` without a model; `Back` and `Next` become an edge to every state they can mean, taken where the cursor
    says so."""
    from transitions import Machine as Compiled

    edges: list[dict[str, object]] = []
    for name, (_, row) in rows.items():
        for outcome, target in row.items():
            if target == BACK:
                for meant in back_targets(rows):
                    edges.append({"trigger": outcome, "source": name, "dest": meant, "conditions": Goes("back", meant)})
            elif target == NEXT:
                for meant in onward.get(name, ()):
                    edges.append({"trigger": outcome, "source": name, "dest": meant, "conditions": Goes("following", meant)})
            else:
                edges.append({"trigger": outcome, "source": name, "dest": target})
    for name in [name for name, (kind, _) in rows.items() if exceeded and kind != "end"]:
        edges.append({"trigger": EXCEEDED, "source": name, "dest": exceeded})
    compiled = Compiled(
        model=None,
        states=list(rows),
        transitions=edges,
        initial=start,
        auto_transitions=False,
        send_event=True,
        model_attribute="",
    )
    # Set afterwards: `transitions` refuses triggers called like the attribute, as they become methods of a model. There is no model.
    compiled.model_attribute = "state"
    return compiled


def back_targets(rows: Mapping[str, tuple[Kind, Mapping[str, str]]]) -> list[str]:
    """Every state that `Back` can mean: those that lead to a Compact, and those that make a call."""
    compacts = {name for name, (kind, _) in rows.items() if kind == "compact"}
    leads = {name for name, (kind, row) in rows.items() if kind != "compact" and compacts & set(row.values())}
    makers = {name for name, (kind, _) in rows.items() if kind in ("ask", "act")}
    return [name for name in rows if name in leads | makers]


class Goes:
    """The condition of one edge that `Back` or `Next` stands for."""

    def __init__(self, which: Literal["back", "following"], target: str) -> None:
        self.__name__ = f"{which} to {target}" if which == "back" else f"the call that follows leads to {target}"
        self._which, self._target = which, target

    def __call__(self, event: "EventData") -> bool:
        cursor = cast("Cursor", event.model)
        return (cursor.back if self._which == "back" else cursor.following) == self._target


def by_of(state: Object) -> PromptBy | None:
    """How an Ask's part of a definition chooses its prompt; None where it names one."""
    by = cast("Object | None", state.get("prompt_by"))
    if by is None:
        return None
    return PromptBy(cast("str", by["field"]), cast("dict[str, str]", by["prompts"]), cast("str | None", by.get("default")))


def _tool_spec(name: str, body: Object) -> ToolSpec:
    return ToolSpec(
        name,
        cast("Effect", body["effect"]),
        cast("bool", body["approval"]),
        cast("float", body["timeout"]),
        cast("int", body["retries"]),
        cast("bool", body["reconciles"]),
        cast("str", body["contract"]),
    )


def _spec(name: str, body: Object, settles: bool) -> Spec:
    choices = cast("tuple[Object, ...]", tuple(cast("list[Json]", body.get("choices", []))))
    picked = [cast("str", choice["intent"]) for choice in choices if choice["kind"] == "tool"]
    return Spec(
        name=name,
        kind=cast("Kind", body["kind"]),
        doc=cast("str", body["doc"]),
        edges=cast("dict[str, str]", body["edges"]),
        tools=frozenset(cast("list[str]", body.get("tools", picked))),
        choices=choices,
        builds=bool(body.get("builds")),
        settles=settles,
        deadline=cast("int", body.get("deadline", 0)),
        times=cast("int", body.get("times", 0)),
        to=cast("str", body.get("to", "")),
        success=bool(body.get("success", True)),
        most=cast("int", body.get("most", 1)),
        body=body,
    )


def differences(pinned: Definition, current: Definition) -> list[str]:
    """Why a run pinned to one definition cannot go on under the code of the other; empty where it can.

    Only contracts count: a state, tool, reply or outcome that is gone or means something else. Changed texts never block.
    """
    found: list[str] = []
    for name, spec in pinned.states.items():
        now = current.states.get(name)
        if now is None:
            found.append(f"state {name} is gone.{did_you_mean(name, list(current.states))}")
        elif now.kind != spec.kind:
            found.append(f"state {name} was {spec.kind}, is {now.kind}")
        else:
            found += _differing_state(spec, now)
    for name, tool in pinned.tools.items():
        other = current.tools.get(name)
        if other is None:
            found.append(f"tool {name} is gone.{did_you_mean(name, list(current.tools))}")
        elif (tool.effect, tool.contract) != (other.effect, other.contract):
            what = f"was {tool.effect!r}, is {other.effect!r}" if tool.effect != other.effect else "takes or gives something else"
            found.append(f"tool {name} {what}")
    return found


def _differing_state(was: Spec, now: Spec) -> list[str]:
    gone = sorted(set(now.edges) - set(was.edges) - {FOLLOWS})  # whether that is taken, the pinned definition says
    found = [f"state {was.name} can now end in {', '.join(map(repr, gone))}, which its pinned edges do not know"] if gone else []
    lost = sorted(was.tools - now.tools)
    found += [f"state {was.name} no longer offers {name}" for name in lost]
    before = {cast("str", choice["intent"]): choice.get("contract") for choice in was.choices}
    after = {cast("str", choice["intent"]): choice.get("contract") for choice in now.choices}
    found += [f"state {was.name}: reply {name!r} is gone or changed" for name, hash in before.items() if hash != after.get(name)]
    if was.builds != now.builds:
        found.append(f"state {was.name} {'no longer builds its call' if was.builds else 'now builds its own call'}")
    return found
