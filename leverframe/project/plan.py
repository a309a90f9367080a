"""What a drawing leaves open and code has to say: the names of classes and functions, which outcomes are tools, who builds a call.

A model's choice that leads to an Act, perhaps through code and people that keep the call, is a tool's call; every other choice is a
Reply. An Act that is also reached without a call builds its own. Names that are no identifiers get one, and stay the declared name.
"""

import builtins
import keyword
import re
import unicodedata
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from leverframe.errors import DiagramError
from leverframe.machine import BACK
from leverframe.project.diagram import Diagram, Drawn

DOOR = frozenset(
    {
        "Act",
        "Approve",
        "Ask",
        "Back",
        "Call",
        "Compact",
        "Consult",
        "Delegate",
        "End",
        "Fetch",
        "Got",
        "Limits",
        "Machine",
        "Memory",
    }
    | {"NotDone", "Reply", "Wait", "Work", "tool"}
)
"""What the rooms import of ours."""
TAKEN = DOOR | {"Literal", "TypeAlias", "timedelta", "self", "memory", "got"} | set(keyword.kwlist) | set(dir(builtins))
_NO_CHOICE = ("error", "unsure")  # of an Ask
_WORDS = re.compile(r"[\W_]+")
_HUMP = re.compile(r"(?<=[^\W_A-Z])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Stub:
    """A tool that is to be written."""

    name: str
    function: str
    effect: Literal["read", "once"]
    state: str  # that picks it, or runs it without a choice


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is written, by name. `runs` are the tools of each Fetch and Act, `picks` the outcomes of each Ask that are tools."""

    diagram: Diagram
    agent: str
    memory: str
    classes: Mapping[str, str]
    replies: Mapping[str, str]
    prompts: Mapping[str, str]
    tools: Mapping[str, Stub]
    runs: Mapping[str, tuple[str, ...]]
    picks: Mapping[str, frozenset[str]]
    builds: frozenset[str]


def choices(state: Drawn) -> list[str]:
    """The outcomes of an Ask, Consult or Wait that somebody picks."""
    fixed = _NO_CHOICE if state.kind == "ask" else ("expired",)
    return [outcome for outcome in state.edges if outcome not in fixed]


def plan(diagram: Diagram, agent: str, file: str) -> Plan:
    """What to write. Raises DiagramError where calls cannot flow as they are drawn."""
    flow = _Flow(diagram)
    classes, functions, prompts = _Names(), _Names(), _Names()
    problems = list(flow.bare_approvals())
    state_names = {state.name: classes.give(camel(state.name), "State") for state in diagram.states}
    memory = classes.give(camel(agent), "Memory")
    replies: dict[str, str] = {}
    tools: dict[str, Stub] = {}
    runs: dict[str, tuple[str, ...]] = {}
    for state in diagram.states:
        for intent in choices(state) if state.kind in ("ask", "consult", "wait") else ():
            if intent not in flow.picks.get(state.name, ()):
                replies.setdefault(intent, "")
            elif intent not in tools:
                effect, problem = _effect(diagram, intent, flow.acts[intent])
                problems += [(state.line, problem)] if problem else []
                tools[intent] = Stub(intent, functions.give(snake(intent), "do_"), effect, state.name)
    for intent in replies:
        replies[intent] = classes.give(camel(intent), "Reply")
    for intent in tools:
        for act in flow.acts[intent]:
            runs[act] = (*runs.get(act, ()), intent)
    for state in diagram.states:
        if state.kind == "fetch" or state.name in flow.builds:
            name = functions.give(snake(state.name), "do_", besides=tools)
            tools[name] = Stub(name, name, "once" if "unknown" in state.edges else "read", state.name)
            runs[state.name] = (name,)
    if problems:
        raise DiagramError(file, problems)
    stems = {state.name: prompts.give(snake(state.name), "ask_") for state in diagram.states if state.kind == "ask"}
    return Plan(diagram, agent, memory, state_names, replies, stems, tools, runs, flow.picks, frozenset(flow.builds))


def _effect(diagram: Diagram, tool: str, acts: Collection[str]) -> tuple[Literal["read", "once"], str]:
    """A tool that nobody may know the end of is `once`, until it says that it is `keyed`."""
    doubtful = [name for name in acts if "unknown" in diagram.named[name].edges]
    if not doubtful:
        return "read", ""
    sure = [name for name in acts if name not in doubtful]
    if not sure:
        return "once", ""
    return "once", (
        f"{tool} is executed by {doubtful[0]}, which may end in 'unknown', and by {sure[0]}, which has no such edge; "
        f"add {sure[0]} --> … : unknown, or give them different calls"
    )


# ── the flow of calls ────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Flow:
    """Where a call is pending. Code, reads, children, events and an approval keep it; all else voids it, as in the reducer."""

    def __init__(self, diagram: Diagram) -> None:
        self._diagram = diagram
        self._states = {state.name: state for state in diagram.states}
        self._into: dict[str, list[str]] = {name: [] for name in self._states}
        for state in diagram.states:
            for outcome, target in state.edges.items():
                if target != BACK and _keeps(state, outcome):
                    self._into[target].append(state.name)
        self.builds: set[str] = set()
        while True:  # an Act that turns out to build its own needs no call, which may make another one reached without
            self._useful = self._wanted()
            self._seen = self._spread()
            acts = [state.name for state in diagram.states if state.kind == "act"]
            builds = {name for name in acts if (name, False) in self._seen or (name, True) not in self._seen}
            if builds <= self.builds:
                break
            self.builds |= builds
        asks = [state for state in diagram.states if state.kind == "ask"]
        self.picks = {
            state.name: frozenset(intent for intent in choices(state) if state.edges[intent] in self._useful) for state in asks
        }
        self.acts: dict[str, list[str]] = {}
        """The Acts that a picked call can come to, by tool."""
        places = {name: place for place, name in enumerate(self._states)}
        reached: dict[str, set[str]] = {}
        for state in asks:
            for intent in self.picks[state.name]:
                target = state.edges[intent]
                if target not in reached:
                    reached[target] = self._executed(target)
                self.acts[intent] = sorted({*self.acts.get(intent, ()), *reached[target]}, key=places.__getitem__)

    def bare_approvals(self) -> Iterator[tuple[int, str]]:
        for state in self._diagram.states:
            if state.kind == "approve" and (state.name, False) in self._seen:
                why = f"{state.name} (approve) decides on a call, and is reached without one"
                yield state.line, f"{why}; draw it between an Ask, whose outcome is the call, and its Act, or draw a Consult"

    def _wanted(self) -> set[str]:
        """The states to which a call is worth carrying: from there it may come to somebody who executes it or decides on it."""
        wanted = {
            state.name
            for state in self._diagram.states
            if state.kind == "approve" or (state.kind == "act" and state.name not in self.builds)
        }
        queue = deque(wanted)
        while queue:
            for name in self._into[queue.popleft()]:
                if name not in wanted:
                    wanted.add(name)
                    queue.append(name)
        return wanted

    def _spread(self) -> set[tuple[str, bool]]:
        """Every state that is reached from the start, with and without a call."""
        first = [(name, False) for name in (self._diagram.start, self._diagram.exceeded) if name]
        seen, queue = set(first), deque(first)
        while queue:
            name, carrying = queue.popleft()
            state = self._states[name]
            for outcome, target in state.edges.items():
                if target == BACK:  # to a state that was reached before, or to the maker of the call
                    continue
                picked = state.kind == "ask" and outcome not in _NO_CHOICE and target in self._useful
                reached = (target, self._arrives(target, picked or (carrying and _keeps(state, outcome))))
                if reached not in seen:
                    seen.add(reached)
                    queue.append(reached)
        return seen

    def _arrives(self, target: str, carrying: bool) -> bool:
        kind = self._states[target].kind
        return carrying and kind not in ("ask", "consult", "compact", "end") and target not in self.builds

    def _executed(self, target: str) -> set[str]:
        seen, queue = {target}, deque([target])
        found: set[str] = set()
        while queue:
            state = self._states[queue.popleft()]
            if state.kind == "act":
                found.add(state.name)
            for outcome, next in state.edges.items():
                if next not in seen and next != BACK and _keeps(state, outcome) and self._arrives(next, True):
                    seen.add(next)
                    queue.append(next)
        return found


def _keeps(state: Drawn, outcome: str) -> bool:
    return state.kind in ("work", "fetch", "delegate", "wait") or (state.kind == "approve" and outcome == "approved")


# ── identifiers ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Names:
    """Gives each identifier once."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def give(self, wanted: str, prefix: str, besides: Iterable[str] = ()) -> str:
        """The identifier itself if it can be one; else with the prefix, or a number."""
        fits = wanted.isidentifier() and wanted[:1].isupper() == prefix[:1].isupper()
        name = stem = wanted if fits and wanted not in TAKEN else f"{prefix}{wanted}"
        number = 1
        while name in self._given or name in TAKEN or name in besides:
            number += 1
            name = f"{stem}{number}"
        self._given.add(name)
        return name


def camel(name: str) -> str:
    """`look up` and `look_up` as `LookUp`."""
    return "".join(part[:1].upper() + part[1:] for part in _parts(name))


def snake(name: str) -> str:
    """`LookUp` as `look_up`."""
    return "_".join(_HUMP.sub("_", part) for part in _parts(name)).lower()


def _parts(name: str) -> list[str]:
    """The words of a name, of signs that an identifier may hold; Python itself normalises identifiers to NFKC."""
    normal = unicodedata.normalize("NFKC", name)
    return [part for part in _WORDS.split("".join(sign if f"a{sign}".isidentifier() else " " for sign in normal)) if part]
