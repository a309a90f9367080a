"""What the type checkers must refuse, and what they must know: checked by mypy --strict and pyright strict with the rest of the code.

Every wrong line is ignored by name for both. An ignore that nothing needs is an error in both, so a mistake that stopped being found
fails the type check. Nothing here runs.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, assert_type

from pydantic import BaseModel

from leverframe import (
    Act,
    Ask,
    Back,
    Call,
    Compact,
    Consult,
    Delegate,
    End,
    Fetch,
    Got,
    Key,
    Machine,
    Memory,
    Next,
    Reply,
    Tool,
    Work,
    tool,
)
from leverframe.canon import Json, Object
from leverframe.state import Effect

if TYPE_CHECKING:
    from sqlmodel import Session


class Payment(BaseModel):
    id: str


class Refund(BaseModel):
    order_id: int
    amount: int


class Mine(Memory):
    text: str = ""
    count: int = 0


class Other(Memory):
    name: str = ""


@tool(effect="read")
def find(order_id: int, deep: bool = False) -> str | None:
    """Find."""


@tool(effect="keyed")
async def pay(key: Key, refund: Refund) -> Payment:
    """Pay."""
    return Payment(id=key)


@tool(effect="local")
def book(session: "Session", order_id: int) -> None:
    """Book."""


@tool(effect="keyed")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]
def without_key(order_id: int) -> None:
    """A keyed tool takes its key."""


@tool(effect="local")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]
def without_session(order_id: int) -> None:
    """A local tool takes the session."""


@tool
def shout(words: list[str], loud: bool = True) -> int:
    """A bare tool."""
    return len(words)


@tool
async def whisper(refund: Refund) -> Payment:
    """A bare tool of one model, asynchronous."""
    return Payment(id="p")


def a_bare_tool_is_typed() -> None:
    assert_type(shout(["a"], loud=False), int)
    assert_type(shout.call(["a"]), Call[int])
    assert_type(whisper.call(Refund(order_id=1, amount=2)), Call[Payment])
    assert_type(whisper.read(whisper.call(Refund(order_id=1, amount=2))).amount, int)
    shout("a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    shout.call([1])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    shout.call(["a"], silent=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def handle(arguments: Object, key: str = "") -> int:
    return len(arguments)


async def handle_later(arguments: Object) -> int:
    return len(arguments)


def handle_number(number: int) -> int:
    return number


def tools_from_schemas_are_typed(effect: Effect) -> None:
    made = Tool.from_schema("count", {"type": "object"}, handle, effect=effect, output={"type": "integer"})
    assert_type(made.call(n=1), Call[Json])
    Tool.from_schema("count", {"type": "object"}, handle_later, effect="read", approval=True, timeout=1.5, retries=0)
    Tool.from_schema("count", {"type": "object"}, handle, effect="reed")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Tool.from_schema("count", {"type": "object"}, handle_number)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def calls_are_typed() -> None:
    assert_type(find.call(1, deep=True), Call[str | None])
    assert_type(pay.call(Refund(order_id=1, amount=2)), Call[Payment])
    assert_type(book.call(1), Call[None])
    find.call("one")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    find.call()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    find.call(1, shallow=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    pay.call(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    book.call()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


class Decline(Reply[Literal["decline"]]):
    reason: str


class Start(Work[Mine]):
    def run(self, memory: Mine) -> Literal["go", "stop"]:
        memory.cuont = 1  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        memory.count = "one"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
        amount: str = pay.read(self.call).amount  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
        return "halt" if amount else "go"  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


class LookUp(Fetch[Mine]):
    runs = (find,)

    def calls(self, memory: Mine) -> Sequence[Call[str | None]]:
        return [find.call(memory.count), pay.call(Refund(order_id=1, amount=1))]  # type: ignore[list-item]  # pyright: ignore[reportReturnType]

    def keep(self, memory: Mine, got: Got) -> None:
        assert_type(got[find], str | None)
        assert_type(got[pay], Payment)
        memory.count = got[find]  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]


class Decide(Ask[Mine]):
    replies = (pay, Decline)

    def keep(self, memory: Mine, reply: Decline) -> None:
        memory.text = reply.reason
        memory.count = reply.reason  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]


class Pay(Act[Mine]):
    runs = (pay,)

    def build(self, memory: Mine) -> Call[Payment]:
        return find.call(1)  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


class Several(Ask[Mine]):
    replies = (find, pay)
    many, most = True, 4


class SeveralInWords(Ask[Mine]):
    many = "yes"  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    most = "all"  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]


class Run(Act[Mine]):
    runs = (find, pay)


class NotATool(Act[Mine]):
    runs = (print,)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]


class OtherWork(Work[Other]):
    def run(self, memory: Other) -> Literal["go"]:
        return "go"


class Children(Delegate[Mine, Payment]):
    def give(self, memory: Mine) -> Other:
        return Other()

    def keep(self, memory: Mine, results: Sequence[Payment | None]) -> None:
        memory.count = results  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]


class Ask1(Consult):
    pass


class Shorten(Compact):
    pass


class Over(End):
    pass


good = Machine("good", memory=Mine, edges={Start: {"go": Over, "stop": Shorten}, Shorten: {"retry": Back, "give_up": Over}})
assert_type(good, Machine[Mine])
several = Machine(
    "several",
    memory=Mine,
    edges={
        Several: {"find": Run, "pay": Run, "error": Shorten},
        Run: {"ok": Over, "next": Next, "error": Shorten, "unknown": LookUp},
    },
)
assert_type(several, Machine[Mine])
target = Machine("bad", memory=Mine, edges={Start: {"go": OtherWork, "stop": Over}})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
source = Machine("bad", memory=Mine, edges={OtherWork: {"go": Over}})  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
memory = Machine("bad", memory=dict, edges={Start: {"go": Over, "stop": Over}})  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
