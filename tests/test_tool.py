"""Tools: functions as data, validated at the door."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import pytest
from pydantic import BaseModel, Field

from leverframe import Call, Key, NotDone, Tool, tool
from leverframe.canon import Object
from leverframe.errors import DeclarationError, InvalidArguments, NotJson, TooLarge, ToolError
from leverframe.state import Effect

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
    echo = Tool.from_schema("echo", {"type": "object"}, twice, effect="read")
    with pytest.raises(TooLarge, match="nested deeper than 64 levels"):
        echo.admit({"deep": deep})


async def test_a_tool_from_a_schema_validates_what_goes_in_and_comes_out() -> None:
    schema: Object = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    double = Tool.from_schema("math.double", schema, twice, effect="read", output={"type": "integer"}, doc="Twice as much.")
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


ANYTHING: Object = {"type": "object"}


def test_an_effect_that_is_not_declared_is_once_and_a_person_everywhere() -> None:
    assert (effect_of(Tool.from_schema("a", ANYTHING, twice)), effect_of(tool(without))) == (("once", True), ("once", True))
    assert effect_of(Tool.from_schema("a", ANYTHING, twice, effect="once")) == ("once", False)
    assert effect_of(tool(effect="once")(without)) == ("once", False)
    assert effect_of(Tool.from_schema("a", ANYTHING, twice, effect="read", approval=True)) == ("read", True)


def effect_of(made: Tool[..., ..., object, object]) -> tuple[str, bool]:
    return made.effect, made.approval


def test_a_bare_tool_stays_the_function_it_was() -> None:
    @tool
    def triple(n: int) -> int:
        """Three times as much."""
        return 3 * n

    assert triple(4) == 12
    assert triple.call(4) == Call("triple", {"n": 4})
    assert (triple.name, triple.doc) == ("triple", "Three times as much.")


class Remote:
    """A handler that is an object, as clients of servers are."""

    async def __call__(self, given: Object, *, key: Key) -> list[object]:
        return [given, key]


async def test_a_handler_names_its_object_as_it_likes_and_takes_what_the_engine_gives() -> None:
    assert await Tool.from_schema("a", ANYTHING, len, effect="read").perform({"n": 4}) == 1
    assert await Tool.from_schema("a", ANYTHING, Remote(), effect="keyed").perform({"n": 4}, key="k") == [{"n": 4}, "k"]
    assert Tool.from_schema("a", ANYTHING, twice, reconcile=lambda key: True).options.reconcile is not None


def two(a: int, b: int) -> int:
    return a + b


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "bogus"}, "tool a: input: $.type: 'bogus' is not valid"),
        (
            {"type": "object", "properties": {"n": {"pattern": "("}}},
            "tool a: input: $.properties.n.pattern: '(' is not a 'regex'",
        ),
        ({"type": "object", "patternProperties": {"(": {}}}, "tool a: input: $.patternProperties: '(' is not a 'regex'"),
        ([], "tool a: input: is no JSON Schema but list"),
        (True, "tool a: input: is no JSON Schema but bool"),
        ({"type": "array"}, "tool a: input is a schema of 'array'; arguments are an object"),
        ({}, "tool a: input is a schema of 'anything'; arguments are an object"),
        ({"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}}, "tool a: input: schema refers to '#/$defs/n'"),
        ({"$ref": "#/$defs/n", "$defs": {"n": {"items": {"$ref": "#/$defs/n"}}}}, "tool a: input: schema n contains itself"),
        ({"type": "object", "default": float("nan")}, "tool a: input.default: nan is not JSON"),
        ({"type": "object", "default": object()}, "tool a: input.default: object is not JSON"),
    ],
)
def test_what_is_no_schema_of_arguments_is_refused_with_its_place(schema: Object, message: str) -> None:
    with pytest.raises(ToolError) as refused:
        Tool.from_schema("a", schema, twice)
    assert str(refused.value).startswith(message)


def test_a_schema_of_arguments_may_be_a_reference_and_that_of_a_result_anything() -> None:
    named: Object = {"$ref": "#/$defs/n", "$defs": {"n": {"type": "object", "required": ["n"]}}}
    made = Tool.from_schema("a", named, twice, output={"type": "array"})
    assert made.input == {"type": "object", "required": ["n"]}
    with pytest.raises(ToolError, match=r"tool a: output: \$.type: 'bogus'"):
        Tool.from_schema("a", named, twice, output={"type": "bogus"})


def test_a_handler_that_cannot_be_called_as_the_engine_does_is_refused() -> None:
    with pytest.raises(ToolError, match=r"tool a: the handler is called as handler\(arguments\), which it cannot be"):
        Tool.from_schema("a", ANYTHING, two)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(ToolError, match=r"called as handler\(arguments, \*, key\)"):
        Tool.from_schema("a", ANYTHING, twice, effect="keyed")
    with pytest.raises(ToolError, match="a local tool is a plain def"):
        Tool.from_schema("a", ANYTHING, slowly, effect="local")
    with pytest.raises(DeclarationError, match="tool name ''"):
        Tool.from_schema("", ANYTHING, twice)


async def slowly(arguments: Object, session: "Session") -> None:
    """Waits, and takes a session."""


HUGE = 10**5000


def test_an_integer_that_no_database_could_keep_is_refused_with_its_place() -> None:
    @tool(effect="read")
    def count(numbers: list[int]) -> dict[str, int]:
        """Count."""
        return {}

    echo = Tool.from_schema("echo", ANYTHING, twice, effect="read")
    for refuse, place in (
        (lambda: count.admit({"numbers": [1, HUGE]}), r"count.numbers\[1\]"),
        (lambda: count.call([HUGE]), r"count.numbers\[0\]"),
        (lambda: count.result({"a": -HUGE}), "result of count.a"),
        (lambda: echo.admit({"a": HUGE}), "echo.a"),
        (lambda: echo.result([HUGE]), r"result of echo\[0\]"),
    ):
        with pytest.raises(TooLarge, match=rf"^{place}: an integer of more than 308 digits; send it as a string$"):
            refuse()


def test_what_pydantic_cannot_write_is_refused_by_name() -> None:
    @tool(effect="read")
    def anything(given: dict[str, object]) -> object:
        """Take anything."""

    deep: object = 1
    for _ in range(5000):
        deep = {"a": deep}
    with pytest.raises(TooLarge, match=r"^anything: nested deeper than 64 levels; flatten it"):
        anything.admit({"given": deep})
    with pytest.raises(TooLarge, match=r"^result of anything: nested deeper than 64 levels; flatten it"):
        anything.result(deep)
    with pytest.raises(NotJson, match=r"^anything: cannot become JSON: Unable to serialize unknown type"):
        anything.admit({"given": {"a": object()}})


async def test_a_slow_tool_is_stopped_at_its_time_out() -> None:
    import asyncio

    @tool(effect="read", timeout=0.01)
    async def sleepy() -> None:
        """Sleep."""
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await sleepy.perform({})


async def test_a_parameter_may_be_called_as_it_likes() -> None:
    @tool(effect="read")
    async def plot(function: str, self: int, waits: bool) -> str:
        """Plot a function."""
        return f"{function} {self} {waits}"

    assert await plot.perform({"function": "sin", "self": 1, "waits": True}) == "sin 1 True"


async def test_a_tool_waits_as_often_as_it_likes_within_its_time() -> None:
    import asyncio

    tidied: list[str] = []

    @tool(effect="read", timeout=0.05)
    async def patient(waits: int) -> str:
        """Waits for this and that, and at last for ever."""
        try:
            async with asyncio.timeout(30):
                for _ in range(waits):
                    await asyncio.sleep(0)
            with pytest.raises(ZeroDivisionError):
                await asyncio.gather(asyncio.sleep(0), divided())
            if waits > 2:
                await asyncio.Event().wait()
            return f"{waits} waits"
        finally:
            await asyncio.sleep(0)
            tidied.append(str(waits))

    async def divided() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    assert [await patient.perform({"waits": n}) for n in (0, 1, 2)] == ["0 waits", "1 waits", "2 waits"]
    with pytest.raises(TimeoutError):
        await patient.perform({"waits": 3})
    assert tidied == ["0", "1", "2", "3"]
    cancelled = asyncio.ensure_future(patient.perform({"waits": 4}))
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert tidied[4:] == ["4"]


def without(order_id: int) -> None:
    """Takes nothing the engine could give."""


def untyped(order_id) -> None:  # type: ignore[no-untyped-def]  # pyright: ignore[reportMissingParameterType, reportUnknownParameterType]
    """Has a parameter without a type."""


def no_return(order_id: int):  # type: ignore[no-untyped-def]
    """Says nothing of its result."""


def starred(*orders: int) -> None:
    """Has no names a model could fill."""


def positional(order_id: int, /) -> None:
    """Has a parameter without a name to fill."""


def named(**orders: int) -> None:
    """Takes anything."""


def hidden(_order: int) -> None:
    """Has a parameter that pydantic keeps to itself."""


async def books(session: "Session", order_id: int) -> None:
    """Waits inside of the run's transaction."""


def keyed_by_nobody(key: Key, order_id: int) -> None:
    """Is given no key."""


def with_session(session: "Session", order_id: int) -> None:
    """Is given no session."""


def both(key: Key, session: "Session", order_id: int) -> None:
    """Wants both."""


def default(days: int = "ninety") -> None:  # type: ignore[assignment]  # pyright: ignore[reportArgumentType]
    """Has a default that is no number."""


def bounded(days: Annotated[int, Field(ge=1)] = 0) -> None:
    """Has a default that its own bound refuses."""


def nothing(days: list[int] = None) -> None:  # type: ignore[assignment]  # noqa: RUF013  # pyright: ignore[reportArgumentType]
    """Has None where a list is."""


def yields() -> Iterator[int]:
    """Gives more than one result."""
    yield 1


REFUSED: list[tuple[Callable[..., object], Effect, str]] = [
    (without, "keyed", "effect 'keyed' gives a keyword 'key'; add the parameter key: Key"),
    (without, "local", "effect 'local' gives a keyword 'session'; add the parameter session: Session"),
    (books, "local", "a local tool is a plain def"),
    (starred, "read", "parameter *orders: int has no name a model could fill"),
    (named, "read", "parameter **orders: int has no name a model could fill"),
    (positional, "read", "parameter order_id: int has no name a model could fill"),
    (hidden, "read", "parameter '_order' starts with an underscore"),
    (untyped, "read", "parameter 'order_id' has no type"),
    (no_return, "read", "no return annotation"),
    (yields, "read", "yields; a tool gives one result, return a list"),
    (keyed_by_nobody, "once", "parameter 'key' is what keyed tools are given, and this one is 'once'"),
    (with_session, "read", "parameter 'session' is what local tools are given, and this one is 'read'"),
    (both, "keyed", "parameter 'session' is what local tools are given, and this one is 'keyed'"),
    (both, "local", "parameter 'key' is what keyed tools are given, and this one is 'local'"),
    (default, "read", "the default of 'days' does not fit its type: value: Input should be a valid integer"),
    (bounded, "read", "the default of 'days' does not fit its type: value: Input should be greater than or equal to 1"),
    (nothing, "read", "the default of 'days' does not fit its type: value: Input should be a valid list"),
]


@pytest.mark.parametrize(("function", "effect", "message"), REFUSED)
def test_signatures_that_cannot_be_tools_are_refused_at_import(
    function: Callable[..., object], effect: Effect, message: str
) -> None:
    with pytest.raises(ToolError) as refused:
        tool(effect=effect)(function)
    assert str(refused.value).startswith(f"tool {function.__name__}: {message}")


def test_a_parameter_may_be_called_key_where_no_key_is_meant() -> None:
    @tool(effect="read")
    def setting(key: str, session: int = 0) -> str:
        """Look a setting up."""
        return key

    assert setting.call("colour") == Call("setting", {"key": "colour", "session": 0})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"effect": "reed"}, "'reed' is no effect class; declare one of 'read', 'keyed', 'local', 'once'. Did you mean 'read'?"),
        ({"timeout": 0}, "timeout is 0; give the seconds one attempt may take, above 0"),
        ({"timeout": float("nan")}, "timeout is nan"),
        ({"timeout": float("inf")}, "timeout is inf"),
        ({"timeout": None}, "timeout is None"),
        ({"retries": -1}, "retries is -1; give the number of further attempts, 0 or more"),
        ({"retries": True}, "retries is True"),
    ],
)
def test_options_that_mean_nothing_are_refused_at_import(options: dict[str, object], message: str) -> None:
    with pytest.raises(ToolError) as refused:
        tool(**options)(without)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    assert str(refused.value).startswith(f"tool without: {message}")


class Parcel(BaseModel):
    """As a provider spells it."""

    order_id: int = Field(alias="orderId")


@tool(effect="read")
def track(parcel: Parcel) -> Parcel:
    """Where is it?"""
    return parcel


def test_a_field_goes_by_its_alias_and_comes_back_by_it() -> None:
    call = track.call(Parcel(orderId=3))
    assert call.arguments == {"orderId": 3}
    assert track.read(call).order_id == track.bind(call.arguments)["parcel"].order_id == 3  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    value, written = track.result(Parcel(orderId=4))
    assert (written, track.revive(written)) == ({"orderId": 4}, value)


def dropped(model_config: str) -> str:
    return model_config


def test_a_parameter_that_pydantic_would_drop_is_refused() -> None:
    with pytest.raises(ToolError, match="tool dropped: parameter 'model_config' is a word of pydantic's"):
        tool(effect="read")(dropped)


def test_parameters_may_be_called_as_methods_of_models_are() -> None:
    @tool(effect="read")
    def convert(json: str, schema: str, copy: bool = False) -> str:
        """Convert it."""
        return json + schema

    assert convert.call("{}", "x").arguments == {"json": "{}", "schema": "x", "copy": False}


@pytest.mark.parametrize(
    ("reconcile", "message"),
    [
        ("x", "reconcile is 'x'; give a function of the key"),
        (lambda: True, "reconcile is called as reconcile(key), which it cannot be: too many positional arguments"),
    ],
)
def test_a_reconcile_that_cannot_be_asked_is_refused_at_import(reconcile: object, message: str) -> None:
    with pytest.raises(ToolError) as refused:
        tool(effect="once", reconcile=reconcile)(without)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    assert str(refused.value).startswith(f"tool without: {message}")


class Opaque:
    """Nothing that JSON can hold."""


def opaque(at: Opaque) -> int:
    return 1


def gives_opaque(at: int) -> Opaque:
    return Opaque()


def endless(at: float = float("inf")) -> int:
    return 1


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (opaque, "tool opaque: Unable to generate pydantic-core schema"),
        (gives_opaque, "tool gives_opaque: Opaque: Unable to generate pydantic-core schema"),
        (endless, "tool endless: endless: a default or a bound is NaN or infinite, which JSON cannot hold"),
    ],
)
def test_types_without_a_json_schema_are_refused_by_tool(function: Callable[..., object], message: str) -> None:
    made = tool(effect="read")(function)
    with pytest.raises(ToolError) as refused:
        print(made.input, made.output)
    assert str(refused.value).startswith(message)


def test_keys_that_hold_half_a_character_are_refused_and_not_mangled() -> None:
    @tool(effect="read")
    def count(words: dict[str, int]) -> int:
        """Count them."""
        return len(words)

    with pytest.raises(NotJson, match=r"count.words: a key holds U\+FFFD, the sign of text that was broken"):
        count.call({"a\ud800": 1})
