"""Tools: functions as data, validated at the door."""

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from pydantic import BaseModel, Field

from leverframe import Call, Key, NotDone, from_schema, tool
from leverframe.canon import Object
from leverframe.errors import InvalidArguments, NotJson, TooLarge, ToolError

if TYPE_CHECKING:
    from sqlmodel import Session


class Refund(BaseModel):
    order_id: int
    amount: Decimal = Field(gt=0, le=500)


class Receipt(BaseModel):
    id: str


@tool(effect="keyed")
async def pay(key: Key, refund: Refund) -> Receipt:
    """Give money back."""
    if refund.amount == 13:
        raise NotDone("the provider refuses")
    return Receipt(id=f"{key}:{refund.amount}")


@tool(effect="read")
def find(order_id: int, deep: bool = False) -> str | None:
    """Find an order."""
    return f"{order_id}{deep}"


@tool(effect="local")
def book(session: "Session", order_id: int) -> None:
    """Write it down."""


@tool()
def shout(words: list[str]) -> None:
    """Say it aloud."""


def test_a_tool_stays_the_function_it_was() -> None:
    assert find(7) == "7False"
    assert find.name == "find"
    assert find.doc == "Find an order."


async def test_a_call_is_data_and_runs_with_what_the_engine_gives() -> None:
    call = pay.call(Refund(order_id=1, amount=Decimal("4.50")))
    assert call == Call("pay", {"order_id": 1, "amount": "4.50"})
    assert await pay.perform(call.arguments, key="k1") == Receipt(id="k1:4.50")
    assert await find.perform({"order_id": 3, "deep": True}) == "3True"


def test_the_schema_hides_what_the_engine_gives() -> None:
    assert set(properties(pay.input)) == {"order_id", "amount"}
    assert set(properties(book.input)) == {"order_id"}
    assert properties(pay.input)["amount"] == {"exclusiveMinimum": 0.0, "maximum": 500.0, "title": "Amount", "type": "number"}


def properties(schema: Object) -> Object:
    found = schema["properties"]
    assert isinstance(found, dict)
    return found


def test_a_call_of_a_model_tool_reads_back_typed() -> None:
    assert pay.read(pay.call(Refund(order_id=1, amount=Decimal(9)))).amount == 9
    with pytest.raises(InvalidArguments, match="pay cannot read a call of find"):
        pay.read(find.call(1))


def test_undeclared_means_once_and_a_person() -> None:
    assert (shout.effect, shout.approval) == ("once", True)
    assert (pay.effect, pay.approval) == ("keyed", False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order_id": 1, "amount": -1}, "pay: amount: Input should be greater than 0"),
        ({"order_id": 1, "amount": 501}, "pay: amount: Input should be less than or equal to 500"),
        ({"order_id": "one", "amount": 1}, "pay: order_id: Input should be a valid integer"),
        ({"order_id": 1}, "pay: amount: Field required"),
        ({"order_id": 1, "amount": 1, "to": "me"}, "pay: unknown argument 'to'"),
        ({"order_id": 1, "amount": float("nan")}, "pay: amount: Input should be a finite number"),
        ([], "pay: value: Input should be a valid dictionary"),
        (None, "pay: value: Input should be a valid dictionary"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_by_name(arguments: object, message: str) -> None:
    with pytest.raises(InvalidArguments) as refused:
        pay.admit(arguments)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["a\0b"], NotJson, "words[0]: holds a NUL"),
        (["x" * 300_000], TooLarge, "over 256 KiB"),
        (["x"] * 200_000, TooLarge, "over 256 KiB"),
    ],
)
def test_what_databases_cannot_keep_is_refused_with_its_place(words: list[str], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as refused:
        shout.admit({"words": words})
    assert message in str(refused.value)


def test_a_surrogate_is_refused() -> None:
    with pytest.raises((NotJson, InvalidArguments)):
        shout.admit({"words": ["\ud800"]})


def test_deep_nesting_is_refused_without_recursion() -> None:
    deep: object = []
    for _ in range(5000):
        deep = [deep]
    echo = from_schema("echo", {"type": "object"}, twice, effect="read")
    with pytest.raises(TooLarge, match="nested deeper than 64 levels"):
        echo.admit({"deep": deep})


async def test_a_tool_from_a_schema_validates_what_goes_in_and_comes_out() -> None:
    schema: Object = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    double = from_schema("math.double", schema, twice, effect="read", output={"type": "integer"}, doc="Twice as much.")
    call = double.call(n=4)
    assert double.result(await double.perform(call.arguments)) == (8, 8)
    with pytest.raises(InvalidArguments, match=r"math.double: \$: does not fit 'required'"):
        double.admit({})
    with pytest.raises(InvalidArguments, match=r"result of math.double: \$: does not fit 'type'"):
        double.result("eight")


def twice(arguments: Object) -> int:
    n = arguments["n"]
    assert isinstance(n, int)
    return 2 * n


async def test_a_slow_tool_is_stopped_at_its_time_out() -> None:
    import asyncio

    @tool(effect="read", timeout=0.01)
    async def sleepy() -> None:
        """Sleep."""
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await sleepy.perform({})


def without(order_id: int) -> None:
    """Takes nothing the engine could give."""


def untyped(order_id) -> None:  # type: ignore[no-untyped-def]  # pyright: ignore[reportMissingParameterType, reportUnknownParameterType]
    """Has a parameter without a type."""


def no_return(order_id: int):  # type: ignore[no-untyped-def]
    """Says nothing of its result."""


def starred(*orders: int) -> None:
    """Has no names a model could fill."""


def test_signatures_that_cannot_be_tools_are_refused_at_import() -> None:
    with pytest.raises(ToolError, match="tool without: effect 'keyed' gives a keyword 'key'"):
        tool(effect="keyed")(without)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    with pytest.raises(ToolError, match="tool without: effect 'local' gives a keyword 'session'"):
        tool(effect="local")(without)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    with pytest.raises(ToolError, match="has no name a model could fill"):
        tool(effect="read")(starred)
    with pytest.raises(ToolError, match="parameter 'order_id' has no type"):
        _ = tool(effect="read")(untyped).input  # pyright: ignore[reportUnknownArgumentType]
    with pytest.raises(ToolError, match="no return annotation"):
        _ = tool(effect="read")(no_return).output
