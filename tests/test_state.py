"""What a state's types say: how it can end, what it can be answered, what it finds in its hands."""

from datetime import timedelta
from typing import Literal, Never

import pytest
from pydantic import BaseModel, ValidationError

from leverframe import (
    Act,
    Answered,
    Approve,
    Ask,
    Call,
    Compact,
    Consult,
    Delegate,
    End,
    Fetch,
    Got,
    Key,
    Memory,
    Reply,
    Wait,
    Work,
    tool,
)
from leverframe.errors import DeclarationError
from leverframe.outcomes import outcomes
from leverframe.state import State, checked_name


class Desk(Memory):
    note: str = ""
    count: int = 0


class Stop(Reply[Literal["stop"]]):
    """Nothing to do."""

    why: str = ""


class Stopped(Reply[Literal["stop"]]):
    pass


class Wordless(Reply[str]):
    pass


class Ambiguous(Reply[Literal["a", "b"]]):
    pass


class Third(Reply[Literal[3]]):  # type: ignore[type-var]  # pyright: ignore[reportInvalidTypeArguments]
    pass


@tool(effect="read")
def look(at: int) -> int:
    """Look."""
    return at


@tool(effect="keyed")
def pay(key: Key, cents: int) -> str:
    """Pay."""
    return key


@tool(effect="once")
def post(text: str) -> None:
    """Post."""


class Choose(Work[Desk]):
    def run(self, memory: Desk) -> Literal["one", "two"]:
        return "one"


class Split(Work[Desk]):
    def run(self, memory: Desk) -> Literal["one"] | Literal["two"]:
        return "two"


class Later(Work[Desk]):
    def run(self, memory: Desk) -> "Literal['one', 'two']":
        return "one"


class Look(Fetch[Desk]):
    runs = (look,)

    def calls(self, memory: Desk) -> list[Call[int]]:
        return [look.call(1)]


class LookTwice(Look):
    def keep(self, memory: Desk, got: Got) -> Literal["found", "missing"] | None:
        return "found"


class Think(Ask[Desk]):
    replies = (pay, Stop)


class Doubt(Think):
    threshold = 0.7


class Read(Act[Desk]):
    runs = (look,)


class Pay(Act[Desk]):
    runs = (pay, look)


class PayWell(Act[Desk]):
    runs = (post,)

    def keep(self, memory: Desk, got: Got) -> Literal["well"] | None:
        return None


class Sign(Approve[Desk]):
    pass


class Person(Consult[Desk]):
    pass


class Pause(Wait[Desk]):
    events = (Stop,)


class Timer(Wait[Desk]):
    deadline = timedelta(days=1)


class Hand(Delegate[Desk, BaseModel]):
    machine = "other"


class Short(Compact):
    pass


class Done(End[Desk]):
    pass


@pytest.mark.parametrize(
    ("state", "ends"),
    [
        (Choose, {"one", "two"}),
        (Split, {"one", "two"}),
        (Later, {"one", "two"}),
        (Look, {"ok", "error"}),
        (LookTwice, {"found", "missing", "ok", "error"}),
        (Think, {"pay", "stop", "error"}),
        (Doubt, {"pay", "stop", "error", "unsure"}),
        (Read, {"ok", "error"}),
        (Pay, {"ok", "error", "unknown"}),
        (PayWell, {"well", "ok", "error", "unknown"}),
        (Sign, {"approved", "rejected", "expired"}),
        (Person, {"answered", "expired"}),
        (Pause, {"stop", "expired"}),
        (Timer, {"expired"}),
        (Hand, {"done", "error", "expired"}),
        (Short, {"retry", "give_up"}),
        (Done, set[str]()),
    ],
)
def test_how_a_state_can_end_is_read_from_its_types(state: type[State[Never]], ends: set[str]) -> None:
    assert outcomes(state) == ends


class Silent(Work[Desk]):
    def run(self, memory: Desk) -> str:
        return "one"


class Missing(Work[Desk]):
    def run(self, memory: Desk) -> "Literall['one']":  # type: ignore[name-defined]  # noqa: F821  # pyright: ignore[reportUndefinedVariable, reportUnknownParameterType]
        return "one"


class OrAnything(Work[Desk]):
    def run(self, memory: Desk) -> Literal["one"] | str:
        return "zzz"


class OrNothing(Work[Desk]):
    def run(self, memory: Desk) -> Literal["one"] | None:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return None


class Mute(Look):
    def keep(self, memory: Desk, got: Got) -> str:
        return "ok"


class Twice(Ask[Desk]):
    replies = (Stop, Stopped)


class Intentless(Ask[Desk]):
    replies = (Wordless,)


class TwoMinds(Ask[Desk]):
    replies = (Ambiguous,)


class Numbered(Ask[Desk]):
    replies = (Third,)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]


class NoTool(Ask[Desk]):
    replies = (len,)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (Silent, "state Silent: run does not say how the state can end; annotate its return type with the outcomes: -> Literal"),
        (Missing, "state Missing: run: its return annotation: name 'Literall' is not defined; it must be importable"),
        (OrAnything, "state OrAnything: run does not say how the state can end: it may return str, too; annotate"),
        (OrNothing, "state OrNothing: run does not say how the state can end: it may return None, too; annotate"),
        (Numbered, "state Numbered: Third has no intent"),
        (Mute, "state Mute: keep does not say how the state can end; .* or None for 'ok'"),
        (Twice, "state Twice: two replies are called 'stop'; rename one"),
        (Intentless, r"state Intentless: Wordless has no intent; declare it as class Wordless\(Reply\[Literal\['…'\]\]\)"),
        (TwoMinds, "state TwoMinds: Ambiguous has no intent"),
        (NoTool, "state NoTool: <built-in function len> is neither a tool nor a Reply type; decorate it with @tool"),
    ],
)
def test_types_that_do_not_tell_are_refused_by_state_and_method(state: type[State[Never]], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        outcomes(state)


@pytest.mark.parametrize(
    "name", ["ok", "error", "unknown", "unsure", "approved", "expired", "done", "retry", "give_up", "exceeded"]
)
def test_a_reply_cannot_pose_as_an_outcome_of_the_engine(name: str) -> None:
    posing = type("Posing", (Reply[Literal["x"]],), {"intent": name, "__module__": __name__})
    with pytest.raises(DeclarationError, match=f"a reply cannot be called '{name}', an outcome of the engine's own; rename it"):
        outcomes(type("Asks", (Ask,), {"replies": (posing,)}))


@pytest.mark.parametrize("intent", ["end", "größe", "a.b", "two words"])
def test_an_intent_is_kept_as_it_is(intent: str) -> None:
    reply = type("Named", (Reply[Literal["x"]],), {"intent": intent, "__module__": __name__})
    assert outcomes(type("Asks", (Consult,), {"replies": (reply,)})) == {intent, "expired"}


def test_a_memory_takes_no_unknown_field_and_no_wrong_value() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Desk.model_validate({"nte": "x"})
    desk = Desk()
    with pytest.raises(ValidationError):
        desk.count = "many"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValidationError):
        desk.nte = "x"  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


def test_a_reply_knows_its_intent_and_cannot_be_changed() -> None:
    assert (Stop.intent, Answered.intent, Stop(why="x").intent) == ("stop", "answered", "stop")
    assert Stop(why="x").model_dump() == {"why": "x"}
    with pytest.raises(ValidationError):
        Stop().why = "y"


def test_a_state_without_a_pending_call_says_so() -> None:
    with pytest.raises(DeclarationError, match="state Choose: no call is pending here"):
        _ = Choose().call
    with pytest.raises(DeclarationError, match="no call is pending here"):
        _ = Choose().key
    held = Choose(pay.call(100), "lf_1")
    assert (held.call.arguments, held.key) == ({"cents": 100}, "lf_1")


def test_results_are_found_by_their_tool() -> None:
    got = Got([("look", 1), ("look", 2)])
    assert (got[look], got.all(look), got.get(pay)) == (1, [1, 2], None)
    assert list(got) == [("look", 1), ("look", 2)]
    with pytest.raises(KeyError, match="pay was not called here"):
        _ = got[pay]


class Ending(Choose):
    name = "end"


class Inherits(Ending):
    pass


def test_a_state_is_called_as_its_class_or_as_it_says() -> None:
    assert Choose.name == "Choose"
    assert Ending.name == "end"
    assert Inherits.name == "Inherits"


@pytest.mark.parametrize("name", ["a", "1", "größe", "退款", "a.b-c_d e", "x" * 64])
def test_names_that_can_be_shown_are_taken(name: str) -> None:
    assert checked_name(name, "state") == name


@pytest.mark.parametrize("name", ["", "_a", "-a", ".a", " a", "a ", "a/b", "a\tb", "a\n", "x" * 65, "a:b", "<a>"])
def test_names_that_cannot_are_refused_and_never_mangled(name: str) -> None:
    with pytest.raises(DeclarationError, match=r"^state name .*: use 1 to 64 letters, digits, '_', '-', '.' or spaces"):
        checked_name(name, "state")


def test_a_cause_is_shortened_to_one_line_of_bounded_length() -> None:
    assert Short().shorten("no") == "no"
    assert len(Short().shorten("x" * 999)) == 300
