"""A rule as a small deterministic automaton over what happens in a run. Proofs and the engine use the same one, so they cannot disagree.

It is compiled from the rule's data, as it stands in a definition, by pattern and scope of Dwyer, Avrunin and Corbett, "Patterns in
Property Specifications for Finite-State Verification" (ICSE 1999). A run is finite here: an automaton has states in which the rule is
broken for good, and states in which it is broken if the run ends in an End now.

What happens is a sequence of letters. Of a step they are, in this order: the tools it executed, the outcome, the state that was entered.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, TypeAlias, cast

from leverframe.canon import Json, Object
from leverframe.errors import DeclarationError


class Letter(NamedTuple):
    """One thing that happens. `machine` is empty for the machine itself, else the one whose run it happens in."""

    what: str  # state | outcome | tool | renewed
    name: str = ""
    outcome: str = ""
    machine: str = ""


def entered(state: str, machine: str = "") -> Letter:
    return Letter("state", state, machine=machine)


def ended(state: str, outcome: str, machine: str = "") -> Letter:
    return Letter("outcome", state, outcome, machine)


def executed(tool: str, machine: str = "") -> Letter:
    """The engine called the tool, whatever came of it."""
    return Letter("tool", tool, machine=machine)


RENEWED: Final = Letter("renewed")
"""The pending call is another one than before, or there is none any more."""

RESOLVED: Final = Letter("resolved")
"""The pending call follows others of its answer, and may hold what came of them."""

# The four roles a letter can have in a rule; one letter may have several.
SECOND, FIRST, OPENS, CLOSES = 1, 2, 4, 8
Step: TypeAlias = "Callable[[int, int], int]"


@dataclass(frozen=True)
class Automaton:
    """`steps[state][roles]` is the next state; 0 is where it starts, before anything happened.

    broken      no continuation can make up for it
    unfinished  broken if the run ends here
    """

    roles: Mapping[Letter, int]
    only: frozenset[str] | None  # of a Universality: every other state of the machine has the role SECOND
    steps: tuple[tuple[int, ...], ...]
    broken: frozenset[int]
    unfinished: frozenset[int]
    each_call: bool = False  # judges pending calls: what a Fetch makes and executes in one is never preceded by anything

    def role(self, letter: Letter) -> int:
        role = self.roles.get(letter, 0)
        if self.only is not None and letter.what == "state" and not letter.machine and letter.name not in self.only:
            return role | SECOND
        return role

    def step(self, state: int, letter: Letter) -> int:
        role = self.role(letter)
        return self.steps[state][role] if role else state

    def read(self, state: int, letters: Iterable[Letter]) -> int:
        for letter in letters:
            state = self.step(state, letter)
        return state

    @property
    def machines(self) -> frozenset[str]:
        """The machines that run inside this one and that the rule is about."""
        return frozenset(letter.machine for letter in self.roles if letter.machine)


MOST = 1000
"""What a rule can count to: an automaton has a state for each."""


def compiled(rule: Object) -> Automaton:
    """The automaton of a rule as data. Raises DeclarationError for a pattern there is none of."""
    if per_call(rule):
        first = [ended(state, outcome) for state, outcome in cast("list[tuple[str, str]]", rule["first"])]
        return of_each_call(first, [executed(cast("str", rule["before"]))])
    pattern, scope = cast("str", rule["rule"]), cast("Object", rule.get("scope") or {})
    if pattern not in PATTERNS:
        raise DeclarationError(f"a rule is of pattern {pattern!r}; there are {', '.join(sorted(PATTERNS))}")
    at_most = rule.get("at_most", 0)
    if not isinstance(at_most, int) or not 0 <= at_most <= MOST:
        raise DeclarationError(f"a rule counts at_most {str(at_most)[:20]}; give 1 to {MOST}")
    events, other = letters_of(rule.get("events")), letters_of(rule.get("other"))
    roles: dict[Letter, int] = {}
    only = frozenset(letter.name for letter in events) if pattern == "universality" else None
    positional = 0 if only is not None else FIRST if other else SECOND
    for letters, role in (
        (events, positional),
        (other, SECOND),
        (letters_of(scope.get("after")), OPENS),
        (letters_of(scope.get("until")), CLOSES),
        (letters_of(scope.get("before")), CLOSES),
    ):
        for letter in letters:
            roles[letter] = roles.get(letter, 0) | role
    core = _CORES[pattern](at_most)
    return _scoped(roles, only, core, opens="after" in scope, closes=_closing(scope))


def per_call(rule: Object) -> bool:
    """Is it judged for each call of a tool since that call was made, rather than over the run?"""
    return isinstance(rule.get("before"), str)


def letters_of(items: Json) -> list[Letter]:
    """Letters of their data, as `data` gives it."""
    found: list[Letter] = []
    for item in cast("list[Object]", items or []):
        machine = str(item.get("machine") or "")
        if "tool" in item:
            found.append(executed(str(item["tool"]), machine))
        elif "outcome" in item:
            found.append(ended(str(item["state"]), str(item["outcome"]), machine))
        else:
            found.append(entered(str(item["state"]), machine))
    return found


# ── patterns: what is asked of one stretch of a run ──────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Core:
    """Counts what matters of a stretch. `broken`: of the stretch as it is so far; `dead`: and nothing can make up for it."""

    step: Step
    broken: Callable[[int], bool]
    dead: Callable[[int], bool]


def _absence(_: int) -> _Core:
    return _Core(lambda x, role: 1 if role & SECOND else x, lambda x: x == 1, lambda x: x == 1)


def _existence(_: int) -> _Core:
    return _Core(lambda x, role: 1 if role & SECOND else x, lambda x: x == 0, lambda x: False)


def _bounded(times: int) -> _Core:
    return _Core(lambda x, role: min(x + 1, times + 1) if role & SECOND else x, lambda x: x > times, lambda x: x > times)


def _precedence(_: int) -> _Core:
    def step(x: int, role: int) -> int:
        if x:
            return x
        return 1 if role & FIRST else 2 if role & SECOND else 0

    return _Core(step, lambda x: x == 2, lambda x: x == 2)


def _response(_: int) -> _Core:
    return _Core(lambda x, role: 0 if role & FIRST else 1 if role & SECOND else x, lambda x: x == 1, lambda x: False)


_CORES: Mapping[str, Callable[[int], _Core]] = {
    "absence": _absence,
    "existence": _existence,
    "universality": _absence,
    "bounded_existence": _bounded,
    "precedence": _precedence,
    "response": _response,
}
PATTERNS: frozenset[str] = frozenset(_CORES)


# ── scopes: which stretches there are ────────────────────────────────────────────────────────────────────────────────────────

_Closing: TypeAlias = "str"  # "" never closed, "must": counts only where it is closed, "may": counts as far as the run goes


def _closing(scope: Object) -> _Closing:
    if "before" in scope:
        return "must"
    if "until" not in scope:
        return ""
    return "must" if scope.get("closed") else "may"


BROKEN: Final = ("broken", 0)


def _scoped(roles: Mapping[Letter, int], only: frozenset[str] | None, core: _Core, *, opens: bool, closes: _Closing) -> Automaton:
    def following(state: tuple[str, int], role: int) -> tuple[str, int]:
        phase, x = state
        if phase == "in" and closes and role & CLOSES:
            if core.broken(x):
                return BROKEN
            phase = "out" if opens else "over"
        if phase == "out":
            return ("in", 0) if role & OPENS else ("out", 0)
        if phase != "in":
            return phase, 0
        x = core.step(x, role)
        return BROKEN if closes != "must" and core.dead(x) else ("in", x)

    def unfinished(state: tuple[str, int]) -> bool:
        return state[0] == "in" and closes != "must" and core.broken(state[1])

    return tabulated(roles, only, ("out" if opens else "in", 0), following, unfinished)


def tabulated(
    roles: Mapping[Letter, int],
    only: frozenset[str] | None,
    start: tuple[str, int],
    following: Callable[[tuple[str, int], int], tuple[str, int]],
    unfinished: Callable[[tuple[str, int]], bool] = lambda state: False,
) -> Automaton:
    """The automaton of a function over named states; BROKEN is the one that is broken."""
    columns = 1 << max(4, *(role.bit_length() for role in roles.values())) if roles else 16
    numbers, order, rows = {start: 0}, [start], list[tuple[int, ...]]()
    for state in order:  # grows as it is walked
        row: list[int] = []
        for role in range(columns):
            to = following(state, role) if role else state
            if to not in numbers:
                numbers[to] = len(order)
                order.append(to)
            row.append(numbers[to])
        rows.append(tuple(row))
    broken = frozenset({numbers[BROKEN]} if BROKEN in numbers else ())
    return Automaton(roles, only, tuple(rows), broken, frozenset(numbers[state] for state in order if unfinished(state)))


def of_each_call(first: Iterable[Letter], second: Iterable[Letter]) -> Automaton:
    """Each call needs one of `first` between being made and any of `second`. State 1: it had it; any other call begins anew."""
    roles: dict[Letter, int] = {RENEWED: OPENS}
    for letters, role in ((first, FIRST), (second, SECOND)):
        for letter in letters:
            roles[letter] = roles.get(letter, 0) | role

    def following(state: tuple[str, int], role: int) -> tuple[str, int]:
        if state == BROKEN:
            return BROKEN
        if role & OPENS:
            return "in", 0
        if role & FIRST:
            return "in", 1
        return BROKEN if role & SECOND and state[1] == 0 else state

    return replace(tabulated(roles, None, ("in", 0), following), each_call=True)


# ── in words ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def in_words(rule: Object) -> str:
    """The rule as a sentence without a full stop."""
    if per_call(rule):
        first = " or ".join(f"{state}: {outcome}" for state, outcome in cast("list[tuple[str, str]]", rule["first"]))
        return f"each call of {rule['before']} is executed only after {first}, since it was made"
    events, other = _spoken(rule, "events"), _spoken(rule, "other")
    names = _listed(letter.name for letter in letters_of(rule.get("events")))
    said = {
        "absence": f"never: {events}",
        "existence": f"at some time: {events}",
        "universality": f"no state is entered but {names}",
        "bounded_existence": f"at most {rule.get('at_most')} times: {events}",
        "precedence": f"first {events}, only then {other}",
        "response": f"after each {other}, in the end {events}",
    }[cast("str", rule["rule"])]
    return said + _scope_words(cast("Object", rule.get("scope") or {}))


def _scope_words(scope: Object) -> str:
    after, before, until = (_spoken(scope, key) for key in ("after", "before", "until"))
    if before:
        return f", before {before}"
    if until:
        return f", between {after} and {until}" if scope.get("closed") else f", from {after} until {until}"
    return f", after {after}" if after else ""


def _spoken(holder: Object, key: str) -> str:
    return _listed(spoken(letter) for letter in letters_of(holder.get(key)))


def spoken(letter: Letter) -> str:
    where = f"{letter.machine}." if letter.machine else ""
    if letter.what == "outcome":
        return f"{where}{letter.name}: {letter.outcome}"
    return f"{where}{letter.name} {'executed' if letter.what == 'tool' else 'entered'}"


def _listed(words: Iterable[str]) -> str:
    return " or ".join(words)


def atoms(rule: Object) -> "list[Letter]":
    """Everything that a rule names."""
    if per_call(rule):
        first = [ended(state, outcome) for state, outcome in cast("list[tuple[str, str]]", rule["first"])]
        return [*first, executed(cast("str", rule["before"]))]
    scope = cast("Object", rule.get("scope") or {})
    holders: list[tuple[Object, Collection[str]]] = [(rule, ("events", "other")), (scope, ("after", "before", "until"))]
    return [letter for holder, keys in holders for key in keys for letter in letters_of(holder.get(key))]


def data(letters: Iterable[Letter]) -> Json:
    """Letters as a rule's data holds them."""
    found: list[Json] = []
    for letter in letters:
        item: Object = {"tool": letter.name} if letter.what == "tool" else {"state": letter.name}
        if letter.outcome:
            item["outcome"] = letter.outcome
        if letter.machine:
            item["machine"] = letter.machine
        found.append(item)
    return found
