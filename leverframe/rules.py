"""Rules: what people state about a machine and `leverframe check` proves on every path, by the names of Dwyer, Avrunin and Corbett,
"Patterns in Property Specifications for Finite-State Verification" (ICSE 1999).

Rules speak of what happens in a run: a state is entered (`Pay`), a state ends in an outcome (`(Release, "approved")`), a tool is
executed (`issue_refund`: the engine calls it, whatever comes of it), or one of these in the runs that a Delegate starts
(`In("restock", Ship)`). Where a rule takes several, any of them will do.

Where a rule holds is its scope. Without one it is the whole run. `after=Q`: all that follows the first Q. `before=R`: all up to the
first R; a run without an R keeps the rule. `between=(Q, R)`: every stretch from a Q to the next R; one that no R closes keeps the rule.
`after=Q, until=R`: the same, and one that no R closes counts too. A further Q inside a stretch opens no second one, and Q and R
themselves are outside of it.

What is proven: that no path over the edges, `Back` and `exceeded` among them, breaks the rule, whatever code in Work, `calls`, `build`
and `keep`, models, people, tools and times decide. A counter-example is therefore a path that is drawn; whether code ever decides so,
nobody proves. Counts of errors are left open in the same way (a Compact may retry or give up at any time; one with `times = 1` does not
retry an error). Existence and Response are kept where every path that ends in an End keeps them: loops are cut by limits, and a run that
is cancelled, or waits for a person after a limit, has not ended yet.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Never, TypeAlias, TypedDict, Unpack, cast

from leverframe.automaton import MOST, Letter, data, ended, entered, executed
from leverframe.canon import Json, Object
from leverframe.errors import DeclarationError, did_you_mean
from leverframe.outcomes import outcomes
from leverframe.state import Runs, State
from leverframe.tool import Tool

SomeState: TypeAlias = type[State[Never]]
Own: TypeAlias = SomeState | tuple[SomeState, str] | Runs[object]


class In:
    """What happens in the runs of a machine that a Delegate starts, however deep: `In("restock", Ship)`.

    A run learns of it when the Delegate ends: what children did is done, what breaks the rule afterwards is refused. The runs of a map
    are taken to come as many as there may be, at the same time where `concurrency` lets them, and each may be cut off wherever it is.
    """

    def __init__(self, machine: str, event: Own) -> None:
        self.machine, self.event = machine, event


Occurrence: TypeAlias = Own | In


class Rule:
    """What all rules have in common; not declared itself. Raises DeclarationError for what is no event, and for a scope there is none of."""

    pattern = ""

    def __init__(
        self,
        events: Collection[Occurrence],
        *,
        other: Occurrence | None = None,
        after: Occurrence | None = None,
        before: Occurrence | None = None,
        between: tuple[Occurrence, Occurrence] | None = None,
        until: Occurrence | None = None,
    ) -> None:
        if not events:
            raise DeclarationError(f"{self}: is about nothing; name a state, a (state, outcome), a tool or In(machine, …)")
        if sum(scope is not None for scope in (after, before, between)) > 1:
            raise DeclarationError(f"{self}: has more than one scope; give one of after, before and between")
        if until is not None and after is None:
            raise DeclarationError(f"{self}: until= says where a scope that after= opens is closed; give both, or between=")
        self.events = [self.letter(event) for event in events]
        self.other = [] if other is None else [self.letter(other)]
        self.scope: dict[str, Letter] = {}
        opens, closes = between or (after, until)
        for name, event in (("after", opens), ("until", closes), ("before", before)):
            if event is not None:
                self.scope[name] = self.letter(event)
        self.closed = between is not None

    def __repr__(self) -> str:
        return f"rule {type(self).__name__}"

    def letter(self, event: Occurrence) -> Letter:
        machine = event.machine if isinstance(event, In) else ""
        inner: object = event.event if isinstance(event, In) else event
        state, outcome = cast("tuple[object, ...]", inner) if isinstance(inner, tuple) and len(inner) == 2 else (inner, None)
        if isinstance(state, type) and issubclass(state, State):
            name = cast("SomeState", state).name
            if outcome is None:
                return entered(name, machine)
            if isinstance(outcome, str):
                return ended(name, outcome, machine)
        elif isinstance(state, Tool) and outcome is None:
            return executed(state.name, machine)
        raise DeclarationError(f"{self}: {inner!r} is no event; name a state, a (state, outcome), a tool or In(machine, …)")

    def letters(self) -> list[Letter]:
        """Everything the rule names."""
        return [*self.events, *self.other, *self.scope.values()]

    def json(self) -> Object:
        body: Object = {"rule": self.pattern, "events": data(self.events)}
        if self.other:
            body["other"] = data(self.other)
        if self.scope:
            scope: Object = {name: data([letter]) for name, letter in self.scope.items()}
            body["scope"] = {**scope, "closed": True} if self.closed else scope
        return body


class Stretch(TypedDict, total=False):
    """From an event on, to another or to the end."""

    after: Occurrence | None
    between: tuple[Occurrence, Occurrence] | None
    until: Occurrence | None


class Scope(Stretch, total=False):
    """Where in a run a rule holds; without any of these, in the whole of it."""

    before: Occurrence | None


class _OfEvents(Rule):
    """Says nothing but events and a scope."""

    def __init__(self, *events: Occurrence, **scope: Unpack[Scope]) -> None:
        super().__init__(events, **scope)


class Absence(_OfEvents):
    """None of these happens."""

    pattern = "absence"


class Existence(_OfEvents):
    """One of these happens before the run ends in an End (or the scope is closed)."""

    pattern = "existence"


class Universality(Rule):
    """No state of this machine but these is entered: within the scope, and without one in the whole run, the start included."""

    pattern = "universality"

    def __init__(self, *states: SomeState, **scope: Unpack[Scope]) -> None:
        super().__init__(states, **scope)
        if any(letter.what != "state" or letter.machine for letter in self.events):
            raise DeclarationError(f"{self}: takes states of the machine itself, no outcomes, tools or In")


class BoundedExistence(Rule):
    """These happen at most so many times, counted together."""

    pattern = "bounded_existence"

    def __init__(self, *events: Occurrence, at_most: int, **scope: Unpack[Scope]) -> None:
        super().__init__(events, **scope)
        if not 1 <= at_most <= MOST:
            raise DeclarationError(f"{self}: at_most is {at_most}; give 1 to {MOST}, or declare an Absence")
        self.at_most = at_most

    def json(self) -> Object:
        return {**super().json(), "at_most": self.at_most}


class Response(Rule):
    """Each `to` is followed by one of these before the run ends in an End (or the scope is closed)."""

    pattern = "response"

    def __init__(self, *events: Occurrence, to: Occurrence, **scope: Unpack[Scope]) -> None:
        super().__init__(events, other=to, **scope)


class Precedence(Rule):
    """`before` does not happen unless one of these has happened.

    Where `before` is a tool of this machine and the others are states of it or their outcomes, each call is judged by itself: since it
    was made, one of the states was left, or the outcome taken (an edit makes another call). Otherwise a release long ago would let a
    second, unreleased call through. Everything else is judged over the run, or the scope: once is enough. `before` is taken here, so
    there is no scope of that name; `between` and `after` there are.
    """

    pattern = "precedence"

    def __init__(self, *events: Occurrence, before: Occurrence, **scope: Unpack[Stretch]) -> None:
        super().__init__(events, other=before, **scope)
        (second,) = self.other
        passed = [letter.what != "tool" and not letter.machine for letter in self.events]
        own_tool = second.what == "tool" and not second.machine
        self.per_call = own_tool and all(passed) and not self.scope
        if own_tool and any(passed) and not self.per_call:
            raise DeclarationError(
                f"{self}: states and outcomes before the tool {second.name} are judged for each call since it was made; "
                "put what is judged over the run, or has a scope, into a rule of its own"
            )
        if self.per_call:
            self.events = [letter for event in events for letter in self._ways_out(event)]

    def _ways_out(self, event: Occurrence) -> list[Letter]:
        if isinstance(event, type):
            return [ended(event.name, outcome) for outcome in sorted(outcomes(event))]
        return [self.letter(event)]

    def json(self) -> Object:
        if not self.per_call:
            return super().json()
        first: list[Json] = [[letter.name, letter.outcome] for letter in self.events]
        return {"rule": self.pattern, "first": first, "before": self.other[0].name}


def refuse_unknown(
    where: str, letters: Iterable[Letter], states: Mapping[str, Collection[str]], tools: Collection[str], machine: str = ""
) -> None:
    """Every letter of that machine must be something it knows. Raises DeclarationError naming the near miss."""
    for problem in unknown(where, letters, states, tools, machine):
        raise DeclarationError(problem)


def unknown(
    where: str, letters: Iterable[Letter], states: Mapping[str, Collection[str]], tools: Collection[str], machine: str = ""
) -> Iterable[str]:
    """What rules name of a machine and it does not have: one sentence for each. `states` gives the outcomes of each."""
    for letter in letters:
        if letter.machine != machine:
            continue
        name = letter.name
        if letter.what == "tool":
            if name not in tools:
                yield f"{where} names the tool {name!r}, which no state runs.{did_you_mean(name, sorted(tools))}"
        elif name not in states:
            yield f"{where} names the state {name!r}, which the machine does not have.{did_you_mean(name, sorted(states))}"
        elif letter.what == "outcome" and letter.outcome not in states[name]:
            ends = sorted(states[name])
            yield f"{where}: state {name} never ends in {letter.outcome!r}.{did_you_mean(letter.outcome, ends)}"
