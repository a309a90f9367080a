"""What an agent knows (`Memory`), what can be answered (`Reply`), and the ten kinds of state.

A state is a class; its *outcomes* are read from its types, so the edge table of a machine can be checked against them before
anything runs. States are made anew for every step and keep nothing: all that lasts is in the memory.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import new_class
from typing import ClassVar, Generic, Literal, Never, Protocol, Self, TypeAlias, cast, get_args, get_origin

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypeVar

from leverframe.canon import Json, Object
from leverframe.errors import DeclarationError

Kind: TypeAlias = Literal["work", "fetch", "ask", "act", "approve", "consult", "wait", "delegate", "compact", "end"]
Effect: TypeAlias = Literal["read", "keyed", "local", "once"]

R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")
I_co = TypeVar("I_co", bound=str, covariant=True)


NAME = re.compile(r"[^\W_][\w.\- ]{0,63}")


def checked_name(name: object, what: str) -> str:
    """The name, or DeclarationError. Letters of any script, digits, `_`, `-`, `.` and spaces: what a drawing, a log line and a
    provider's schema can all show unchanged, so that no name is ever mangled."""
    if not isinstance(name, str) or not NAME.fullmatch(name) or name != name.strip():
        shown = repr(name[:80] if isinstance(name, str) else name)
        raise DeclarationError(
            f"{what} name {shown}: use 1 to 64 letters, digits, '_', '-', '.' or spaces, starting with a letter or digit"
        )
    return name


class Memory(BaseModel):
    """The business state of a run, saved with every step beside the execution state (factor 5).

    Small and typed: conversation lives in the event log, secrets elsewhere. Assignments are validated; unknown fields refused.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True, defer_build=True)


class Reply(BaseModel, Generic[I_co]):
    """One thing a model, a person or an event may answer: `class Decline(Reply[Literal["decline"]]): reason: str`.

    The literal is its *intent*, the name of the edge it takes; the docstring tells the model when to pick it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    intent: ClassVar[str] = ""

    def __class_getitem__(cls, item: object) -> "type[Self]":
        """`Reply[Literal["decline"]]` is a plain subclass that knows its intent: pydantic's own generics cost ten times as much at import."""
        if get_origin(item) is not Literal or len(get_args(item)) != 1 or not isinstance(get_args(item)[0], str):
            return cls  # it has no intent, which is refused where a state lists it
        return new_class(
            cls.__name__, (cls,), {}, lambda body: body.update(intent=str(get_args(item)[0]), __module__=cls.__module__)
        )


class Answered(Reply[Literal["answered"]]):
    """A person's answer in their own words."""

    text: str


@dataclass(frozen=True, slots=True)
class Call(Generic[R_co]):
    """A tool call as data (factor 4). `R_co` is what the tool gives back."""

    tool_name: str
    arguments: Object

    def json(self) -> Object:
        return {"tool_name": self.tool_name, "arguments": self.arguments}


class Runs(Protocol[R_co]):
    """What states know of a tool; `leverframe.tool.Tool` is one. The unused method carries the type of the result."""

    @property
    def name(self) -> str: ...
    @property
    def effect(self) -> Effect: ...
    def gives(self) -> type[R_co] | None: ...


class Got:
    """Results of the calls of a Fetch or an Act, by tool: `got[find_order]`."""

    def __init__(self, results: Sequence[tuple[str, object]]) -> None:
        self._results = results

    def all(self, tool: Runs[R]) -> list[R]:
        """Every result of that tool, in the order of the calls."""
        return [cast("R", value) for name, value in self._results if name == tool.name]

    def get(self, tool: Runs[R]) -> R | None:
        """The first result of that tool, or None if it was not called."""
        return next(iter(self.all(tool)), None)

    def __getitem__(self, tool: Runs[R]) -> R:
        results = self.all(tool)
        if not results:
            raise KeyError(f"{tool.name} was not called here")
        return results[0]

    def __iter__(self) -> Iterator[tuple[str, object]]:
        return iter(self._results)


M_contra = TypeVar("M_contra", bound=Memory, contravariant=True, default=Memory)
T_contra = TypeVar("T_contra", bound=BaseModel, contravariant=True, default=BaseModel)


class State(Generic[M_contra]):
    """Base of the ten kinds; not used directly.

    Contravariant in its memory: a state that asks nothing of it (`class Shorten(Compact)`) fits into every machine.
    """

    kind: ClassVar[Kind]
    name: ClassVar[str] = ""

    def __init__(self, call: Call[object] | None = None, key: str = "", error: str = "") -> None:
        self._call = call
        self._key = key
        self.error = error
        """The last error in one line, if the state it came from has not worked since: for whoever is asked to take over."""

    @property
    def call(self) -> Call[object]:
        """The pending call (in the states that settle an `unknown`: the doubted one)."""
        if self._call is None:
            raise DeclarationError(
                f"state {self.name}: no call is pending here; self.call is for states between a choice and its Act"
            )
        return self._call

    @property
    def key(self) -> str:
        """The idempotency key of `call`."""
        self.call  # noqa: B018 (raises where none is pending)
        return self._key

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" not in cls.__dict__:
            cls.name = cls.__name__


class Work(State[M_contra]):
    """Plain, quick, pure code over the memory and the pending call."""

    kind = "work"

    def run(self, memory: M_contra, /) -> str:
        """The outcome; annotate the return type with its Literals. May change the memory."""
        raise NotImplementedError


class Fetch(State[M_contra]):
    """Runs `read` tools without a model, in parallel; recorded as calls and results (factor 13)."""

    kind = "fetch"
    runs: ClassVar[Sequence[Runs[object]]] = ()

    def calls(self, memory: M_contra, /) -> Sequence[Call[object]]:
        raise NotImplementedError

    def keep(self, memory: M_contra, got: Got, /) -> str | None:
        """Keep what matters; None is the outcome `ok`, or annotate Literals."""
        return None


@dataclass(frozen=True, slots=True)
class PromptBy:
    """The prompt of an Ask, chosen by a field of the memory; made by `prompt_by`."""

    field: str
    prompts: Mapping[str, str]  # by value
    default: str | None = None

    @property
    def names(self) -> list[str]:
        """Every prompt that it may be, each once."""
        return list(dict.fromkeys([*self.prompts.values(), *([self.default] if self.default else [])]))

    def of(self, value: Json) -> str | None:
        """The prompt for that value; None where there is none."""
        return self.prompts.get(as_choice(value) or "", self.default)

    def lines(self) -> list[str]:
        """What is drawn of it."""
        said = [f"{self.field} {value}: {name}" for value, name in self.prompts.items()]
        return said + ([f"any other {self.field}: {self.default}"] if self.default else [])

    def json(self) -> Object:
        return {"field": self.field, "prompts": dict(self.prompts), "default": self.default}


def as_choice(value: Json) -> str | None:
    """A value of a field as `prompt_by` names it; None for what has no name: null, numbers with a fraction, lists, objects."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | str) else None


def prompt_by(field: str, /, default: str | None = None, **prompts: str) -> PromptBy:
    """A prompt for each value of a field of the memory: `prompt = prompt_by("shop", electronics="support/electronics", …)`.

    `default` is for every other value. Values that are no words of Python go in as `**{"e-books": "support/books"}`.
    Raises DeclarationError where it chooses nothing.
    """
    if not prompts:
        raise DeclarationError(f'prompt_by({field!r}): name a prompt for each value, as in {field}_value="agent/state"')
    return PromptBy(field, prompts, default)


class Ask(State[M_contra]):
    """One model call, one typed reply. The only kind that may call a model."""

    kind = "ask"
    prompt: ClassVar[str | PromptBy] = ""
    replies: ClassVar[Sequence["Runs[object] | type[Reply[str]]"]] = ()
    threshold: ClassVar[float | None] = None
    """Replies must state a confidence from 0 to 1; below this one the outcome is `unsure`."""
    many: ClassVar[bool] = False
    """One answer may make several tool calls, each executed in its turn; the Acts that run them lead `next` to `Next`."""
    most: ClassVar[int] = 8
    """With `many`: how many calls one answer may make, 2 to 20."""
    scores: ClassVar[Mapping[str, int]] = {}
    """Rows in place of those in `leverframe.importance`: what its window keeps longest. 100: always in; 0: never."""

    def keep(self, memory: M_contra, reply: Never, /) -> None:
        """Keep what matters of a Reply (not called for tool calls). Annotate `reply` with the types you take."""


class Act(State[M_contra]):
    """Executes the pending call, or its own where it has a `build`."""

    kind = "act"
    runs: ClassVar[Sequence[Runs[object]]] = ()

    def build(self, memory: M_contra, /) -> Call[object]:
        raise NotImplementedError

    def keep(self, memory: M_contra, got: Got, /) -> str | None:
        """Keep what matters; None is the outcome `ok`, or annotate Literals."""
        return None


class Approve(State[M_contra]):
    """A named person or role decides on the pending call within a deadline."""

    kind = "approve"
    to: ClassVar[str] = ""
    deadline: ClassVar[timedelta | None] = None

    def show(self, memory: M_contra, /) -> str:
        """What the person reads above the call."""
        return (type(self).__doc__ or "").strip()


class Consult(State[M_contra]):
    """A person answers a typed question within a deadline."""

    kind = "consult"
    to: ClassVar[str] = ""
    deadline: ClassVar[timedelta | None] = None
    replies: ClassVar[Sequence[type[Reply[str]]]] = (Answered,)

    def question(self, memory: M_contra, /) -> str:
        return (type(self).__doc__ or "").strip()

    def keep(self, memory: M_contra, reply: Never, /) -> None:
        """Keep what matters of the answer. Annotate `reply` with the types you take."""


class Wait(State[M_contra]):
    """An external event or a time; a pure timer ends in `expired`."""

    kind = "wait"
    deadline: ClassVar[timedelta | None] = None
    events: ClassVar[Sequence[type[Reply[str]]]] = ()

    def keep(self, memory: M_contra, event: Never, /) -> None:
        """Keep what matters of the event. Annotate `event` with the types you take."""


class Delegate(State[M_contra], Generic[M_contra, T_contra]):
    """Runs another machine, once or once for each input, and takes back its typed result."""

    kind = "delegate"
    machine: ClassVar[str] = ""
    deadline: ClassVar[timedelta | None] = None
    returns: ClassVar[type[BaseModel] | None] = None
    max_failed: ClassVar[int] = 0
    concurrency: ClassVar[int] = 10

    def give(self, memory: M_contra, /) -> "Memory | Sequence[Memory]":
        """The child's input; a list starts one child run for each."""
        raise NotImplementedError

    def keep(self, memory: M_contra, results: "Sequence[T_contra | None]", /) -> None:
        """The children's results in the order of the inputs; None for a child that failed."""


class Compact(State[M_contra]):
    """Errors and overflow route here: shortens with code and counts. Calls no model (factor 9)."""

    kind = "compact"
    times: ClassVar[int] = 3
    """The engine gives `give_up` at this many errors of one state, in a row, or of one call that fails the same way."""
    cuts: ClassVar[Mapping[str, int]] = {}
    """Tokens that blocks of a kind, or of a tool, may have each, once the pins did not fit into the window; 0 takes them out."""

    def shorten(self, error: str, /) -> str:
        """The cause in one line, as the next model call will read it."""
        return error if len(error) <= 300 else error[:297] + "..."


class End(State[M_contra]):
    """Over: has a typed result and says success or failure."""

    kind = "end"
    success: ClassVar[bool] = True

    def result(self, memory: M_contra, /) -> BaseModel | None:
        return None


class Back(State[Memory]):
    """The history pseudo-state: where a Compact's `retry` leads. Drawn and proven as edges to every state it can mean."""

    kind = "work"


class Next(State[Memory]):
    """The pseudo-state that an Act's `next` leads to: where the Ask that made the call leads the following one of its answer."""

    kind = "work"
