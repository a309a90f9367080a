"""Tools: plain typed functions that an agent may touch (factor 4).

`@tool` keeps the function callable as it is and adds what the engine needs: a JSON Schema from the signature, an effect class that says
what a crash may do to it, and `tool.call(...)`, the call as data. `admit` validates what a model or a person sent; `perform` runs one call,
bounded in time and size.
"""

from __future__ import annotations  # dozens of overloads, evaluated by type checkers alone

import inspect
import math
import warnings
from collections.abc import Awaitable, Callable, Collection, Coroutine, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    NewType,
    ParamSpec,
    Protocol,
    TypeVar,
    cast,
    get_type_hints,
    overload,
)

from pydantic import BaseModel, ConfigDict, PydanticUserError, ValidationError, create_model
from pydantic.fields import FieldInfo

from leverframe import schema
from leverframe.canon import MAX_ARGUMENTS, MAX_RESULT, Json, Object, admit, admit_dump
from leverframe.errors import DeclarationError, InputError, InvalidArguments, ToolError, did_you_mean
from leverframe.state import Call, Effect, checked_name

if TYPE_CHECKING:  # tools without a database load none
    from pydantic_core import ErrorDetails
    from sqlmodel import Session

W = ParamSpec("W")
P = ParamSpec("P")
T_co = TypeVar("T_co", covariant=True)
R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")
T = TypeVar("T")
A = TypeVar("A", bound=BaseModel)

Key = NewType("Key", str)
"""The idempotency key the engine gives to `keyed` tools."""

GIVEN: dict[Effect, str] = {"keyed": "key", "local": "session"}
EFFECTS: tuple[Effect, ...] = ("read", "keyed", "local", "once")


@dataclass(frozen=True, slots=True)
class Options:
    """How a tool behaves; see `tool`."""

    effect: Effect
    approval: bool
    timeout: float
    retries: int
    reconcile: Callable[[Key], bool | None | Awaitable[bool | None]] | None
    untrusted: bool = False


class _NotYet(ToolError):
    """A type that is not there when the function is defined; it may be when the schema is made."""


class Tool(Generic[W, P, T_co, R_co]):
    """A tool. `W` are the parameters as written, `P` as callers and models see them, `T_co` what the function returns (perhaps a
    coroutine), `R_co` the result."""

    def __init__(self, function: Callable[W, T_co], options: Options, *, name: str | None = None) -> None:
        self.function = function
        self.name = checked_name(str(getattr(function, "__name__", "")) if name is None else name, "tool")
        self.doc = inspect.cleandoc(getattr(function, "__doc__", None) or "")
        self.options = options
        self.effect: Effect = options.effect
        self.approval = options.approval
        self.__doc__ = self.doc
        self.__wrapped__ = function
        self._check_options()
        self._check_signature()

    @staticmethod
    def from_schema(
        name: str,
        json_schema: Object,
        handler: Callable[Concatenate[Object, ...], object],
        *,
        effect: Effect | None = None,
        approval: bool | None = None,
        timeout: float = 30.0,
        retries: int = 3,
        reconcile: Reconcile | None = None,
        output: Object | None = None,
        doc: str = "",
        untrusted: bool = False,
    ) -> SchemaTool:
        """A tool that arrives as JSON Schema (MCP, OpenAPI). The handler, `def` or `async def`, takes the arguments as one object and,
        by its effect class, the keyword `key` or `session`; the options mean what they mean to `tool`, `output` is the result's schema.

        Raises ToolError for what is no JSON Schema of an object, and for a handler that cannot be called so.
        """
        options = _options(effect, approval, timeout, retries, reconcile, untrusted)
        return SchemaTool(name, json_schema, handler, options, output, doc)

    def __call__(self, *args: W.args, **kwargs: W.kwargs) -> T_co:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<tool {self.name} ({self.effect})>"

    def call(self, *args: P.args, **kwargs: P.kwargs) -> Call[R_co]:
        """The call as data, validated. Raises InvalidArguments, TooLarge, NotJson."""
        try:
            bound = self._visible.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise InvalidArguments(f"{self.name}: {error}") from None
        if self._model is not None:
            (value,) = bound.values()
            return Call(self.name, self.admit(_dumped(cast("BaseModel", value), self.name)))
        return Call(self.name, self.admit(bound))

    def gives(self) -> type[R_co] | None:
        """Carries the type of the result for type checkers; at run time `output` is the schema."""
        return None

    def admit(self, arguments: object) -> Object:
        """Arguments from anywhere, validated and in canonical JSON form. Raises InvalidArguments, TooLarge, NotJson."""
        try:
            model = self.arguments.model_validate(arguments)
        except ValidationError as error:
            raise InvalidArguments(f"{self.name}: {compact(error)}") from None
        clean = _dumped(model, self.name)
        if extra := set(cast("Mapping[object, object]", arguments)) - set(clean) - self._known:
            raise InvalidArguments(f"{self.name}: unknown argument {str(min(extra, key=str))[:80]!r}")
        return clean

    def expect(self, arguments: Object, later: Collection[str]) -> None:
        """Raises what `admit` would raise of these arguments, whatever the values are that some others get later."""
        if extra := (set(arguments) | set(later)) - self._known:
            raise InvalidArguments(f"{self.name}: unknown argument {min(extra)[:80]!r}")
        try:
            self.arguments.model_validate(arguments)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            if wrong := [one for one in found if not one["loc"] or one["loc"][0] not in later]:
                raise InvalidArguments(f"{self.name}: {_lines(wrong)}") from None

    @cached_property
    def _fields(self) -> tuple[str, ...]:
        return tuple(self.arguments.model_fields)

    @cached_property
    def _known(self) -> frozenset[str | None]:
        """What arguments may be called: fields, and their other names."""
        fields = self.arguments.model_fields.items()
        return frozenset(name for field, info in fields for name in (field, info.alias, info.serialization_alias))

    @cached_property
    def arguments(self) -> type[BaseModel]:
        """The arguments as a pydantic model."""
        if self._model is not None:
            return self._model
        self._check_defaults()
        fields: dict[str, Any] = {
            parameter.name: (self._hints[parameter.name], ... if parameter.default is parameter.empty else parameter.default)
            for parameter in self._visible.parameters.values()
        }
        with warnings.catch_warnings():
            # `json`, `schema`, `copy`: ours are never called as methods
            warnings.filterwarnings("ignore", "Field name", UserWarning)
            try:
                return create_model(self.name, __config__=ConfigDict(extra="forbid", protected_namespaces=()), **fields)
            except PydanticUserError as error:
                raise self._refused(schema.no_schema(error)) from None

    @cached_property
    def input(self) -> Object:
        """JSON Schema of the arguments, as the model reads it."""
        return self._schema(self.arguments)

    @cached_property
    def output(self) -> Object:
        """JSON Schema of the result."""
        return self._schema(self._returns)

    def result(self, value: object) -> tuple[object, Json]:
        """A result validated by the return annotation: as Python, and as JSON. Raises ValidationError, TooLarge, NotJson."""
        what, adapter = f"result of {self.name}", schema.adapter(self._returns)
        python = adapter.validate_python(value)
        return python, admit_dump(lambda: adapter.dump_python(python, mode="json", by_alias=True), what=what, limit=MAX_RESULT)

    def revive(self, value: Json) -> object:
        """A stored result as Python again."""
        return schema.adapter(self._returns).validate_python(value)

    async def perform(self, arguments: Object, *, key: str | None = None) -> object:
        """Run it once with validated arguments, in a thread if it is a plain function; bounded by its time-out."""
        return await self.run(self.ready(arguments, key))

    def ready(self, arguments: Object, key: str | None = None) -> dict[str, object]:
        """What the function is called with. Raises what validators raise: nothing was called yet."""
        return self.bind(arguments, **({"key": key} if self.effect == "keyed" else {}))

    async def run(self, ready: Mapping[str, object]) -> object:
        """Call the function, once."""
        return await self._called(partial(cast("Callable[..., object]", self.function), **ready), self._waits)

    def bind(self, arguments: Object, **given: object) -> dict[str, object]:
        """Keyword arguments for the function: the validated ones and what the engine gives."""
        model = self.arguments.model_validate(arguments)
        if self._model is not None:
            (name,) = self._visible.parameters
            return {name: model, **given}
        return {**{name: getattr(model, name) for name in self._fields}, **given}

    async def reconcile(self, key: str) -> bool | None:
        """Did the call with this key happen? None: cannot tell."""
        ask = self.options.reconcile
        return None if ask is None else cast("bool | None", await self._called(partial(ask, Key(key)), _is_async(ask)))

    async def _called(self, function: Callable[[], object], waits: bool) -> object:
        from leverframe.threads import Contained, in_thread, within  # with asyncio, which declaring a tool does not pay for

        if not waits:
            return await within(self.options.timeout, in_thread(function, self.name))
        with Contained():
            return await within(self.options.timeout, cast("Awaitable[object]", function()))

    @cached_property
    def _waits(self) -> bool:
        return _is_async(self.function)

    @cached_property
    def _signature(self) -> inspect.Signature:
        return inspect.signature(self.function)

    @cached_property
    def _visible(self) -> inspect.Signature:
        hidden = GIVEN.get(self.effect)
        return self._signature.replace(parameters=[p for p in self._signature.parameters.values() if p.name != hidden])

    @cached_property
    def _hints(self) -> dict[str, Any]:
        try:
            return get_type_hints(self.function, localns={"Session": object, "Key": str}, include_extras=True)
        except NameError as error:
            raise _NotYet(f"tool {self.name}: {error}; types of a tool must be importable where it is defined") from None

    @cached_property
    def _model(self) -> type[BaseModel] | None:
        """The one parameter's model, where the function takes a single model: its fields are the arguments."""
        parameters = list(self._visible.parameters.values())
        if len(parameters) == 1:
            hint = self._hints.get(parameters[0].name)
            if isinstance(hint, type) and issubclass(hint, BaseModel):
                return hint
        return None

    @property
    def _returns(self) -> Hashable:
        return cast("Hashable", self._hints["return"])

    def _schema(self, of: Hashable) -> Object:
        try:
            return schema.schema_of(of)
        except DeclarationError as error:
            raise self._refused(str(error)) from None

    def _refused(self, why: str) -> ToolError:
        return ToolError(f"tool {self.name}: {why}")

    def _check_options(self) -> None:
        effect, timeout, retries = self.effect, cast("object", self.options.timeout), cast("object", self.options.retries)
        if effect not in EFFECTS:
            hint = did_you_mean(str(effect), list(EFFECTS))
            raise self._refused(f"{effect!r} is no effect class; declare one of {', '.join(map(repr, EFFECTS))}.{hint}")
        if not isinstance(timeout, int | float) or isinstance(timeout, bool) or not 0 < timeout < math.inf:
            raise self._refused(f"timeout is {timeout!r}; give the seconds one attempt may take, above 0")
        if not isinstance(retries, int) or isinstance(retries, bool) or retries < 0:
            raise self._refused(f"retries is {retries!r}; give the number of further attempts, 0 or more")

    def _check_signature(self) -> None:
        needed = GIVEN.get(self.effect)
        if needed and needed not in self._signature.parameters:
            raise self._refused(
                f"effect {self.effect!r} gives a keyword {needed!r}; add the parameter {needed}: {needed.title()}"
            )
        for parameter in self._signature.parameters.values():
            self._check_parameter(parameter)
        if self._signature.return_annotation is inspect.Signature.empty:
            raise self._refused("no return annotation; it is the output schema, write -> None if there is nothing")
        if inspect.isgeneratorfunction(self.function) or inspect.isasyncgenfunction(self.function):
            raise self._refused("yields; a tool gives one result, return a list")
        self._check_asked()
        self._check_colour()
        with suppress(_NotYet):  # checked again when the types are there
            self._check_defaults()

    def _check_asked(self) -> None:
        """`reconcile` is asked after a crash: too late to find out that it cannot be."""
        ask: object = self.options.reconcile
        if ask is None:
            return
        if self.effect == "local":
            raise self._refused("a local call commits with its step or not at all; there is nothing to reconcile")
        if not callable(ask):
            raise self._refused(f"reconcile is {ask!r}; give a function of the key that says True, False or None")
        try:
            inspect.signature(ask).bind("")
        except TypeError as error:
            raise self._refused(f"reconcile is called as reconcile(key), which it cannot be: {error}") from None
        except ValueError:
            pass  # a built-in one that does not tell its signature

    def _check_colour(self) -> None:
        if self.effect == "local" and self._waits:
            raise self._refused("a local tool is a plain def: it runs inside the run's own transaction")

    def _check_parameter(self, parameter: inspect.Parameter) -> None:
        name, kind = parameter.name, parameter.kind
        if kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise self._refused(f"parameter {parameter} has no name a model could fill; use plain parameters")
        if name == GIVEN.get(self.effect):
            return
        if parameter.annotation is parameter.empty:
            raise self._refused(f"parameter {name!r} has no type; annotate it, the model reads its schema")
        if name.startswith("_"):
            raise self._refused(f"parameter {name!r} starts with an underscore, which no model can fill; rename it")
        if name.startswith("model_") and hasattr(BaseModel, name):
            raise self._refused(f"parameter {name!r} is a word of pydantic's, which would silently drop it; rename it")
        for effect, given in GIVEN.items():
            if name == given and _last_name(parameter.annotation) == given.title():
                raise self._refused(
                    f"parameter {name!r} is what {effect} tools are given, and this one is {self.effect!r}; "
                    f'declare effect="{effect}", or rename it'
                )

    def _check_defaults(self) -> None:
        """A default that does not fit would be refused at every call that relies on it, or slip through unseen."""
        for parameter in self._visible.parameters.values():
            default: object = parameter.default
            if default is parameter.empty or isinstance(default, FieldInfo):
                continue
            hint: object = self._hints[parameter.name]
            if isinstance(hint, type | UnionType) and _is_of(default, hint):
                continue  # most are, and building a validator is what costs
            try:
                schema.adapter(hint).validate_python(default)
            except ValidationError as error:
                raise self._refused(f"the default of {parameter.name!r} does not fit its type: {compact(error)}") from None


class ModelTool(Tool[W, P, T_co, R_co], Generic[A, W, P, T_co, R_co]):
    """A tool whose arguments are the fields of one model, so that they can be read back typed: `issue_refund.read(self.call).amount`."""

    def read(self, call: Call[object]) -> A:
        """The call's arguments as the model. Raises InvalidArguments if it is another tool's call."""
        if call.tool_name != self.name:
            raise InvalidArguments(f"{self.name} cannot read a call of {call.tool_name}")
        return cast("A", self.arguments.model_validate(call.arguments))


class SchemaTool(Tool[..., ..., object, Json]):
    """A tool that arrived as JSON Schema; made by `Tool.from_schema`."""

    def __init__(
        self,
        name: str,
        json_schema: Object,
        handler: Callable[Concatenate[Object, ...], object],
        options: Options,
        output: Object | None,
        doc: str,
    ) -> None:
        self._handler = handler
        super().__init__(_taking_one_object(handler), options, name=name)
        self._input = _declared(json_schema, f"tool {self.name}: input")
        self._output = {} if output is None else _declared(output, f"tool {self.name}: output")
        if self._input.get("type") != "object":
            raise self._refused(
                f'input is a schema of {self._input.get("type", "anything")!r}; arguments are an object, say "type": "object"'
            )
        self.doc = self.__doc__ = doc

    @cached_property
    def input(self) -> Object:
        return self._input

    @cached_property
    def output(self) -> Object:
        return self._output

    def admit(self, arguments: object) -> Object:
        clean = admit(arguments, what=self.name, limit=MAX_ARGUMENTS)
        problem = schema.violation(clean, self._input)
        if problem or not isinstance(clean, dict):
            raise InvalidArguments(f"{self.name}: {problem or 'arguments are not an object'}")
        return clean

    def expect(self, arguments: Object, later: Collection[str]) -> None:
        needed = [name for name in cast("list[str]", self._input.get("required", [])) if name not in later]
        if problem := schema.violation(arguments, {**self._input, "required": list[Json](needed)}):
            raise InvalidArguments(f"{self.name}: {problem}")

    def call(self, *args: object, **kwargs: object) -> Call[Json]:
        if args:
            raise InvalidArguments(f"{self.name}: name every argument, its JSON Schema has no order")
        return Call(self.name, self.admit(kwargs))

    def result(self, value: object) -> tuple[object, Json]:
        clean = admit(value, what=f"result of {self.name}", limit=MAX_RESULT)
        if problem := schema.violation(clean, self._output):
            raise InvalidArguments(f"result of {self.name}: {problem}")
        return clean, clean

    def revive(self, value: Json) -> object:
        return value

    def bind(self, arguments: Object, **given: object) -> dict[str, object]:
        return {"arguments": arguments, **given}

    def _check_signature(self) -> None:
        """The schema is the signature; the handler takes one object, and what the engine gives."""
        given = GIVEN.get(self.effect)
        try:
            inspect.signature(self._handler).bind({}, **({given: ""} if given else {}))
        except TypeError as error:
            wanted = f"(arguments, *, {given})" if given else "(arguments)"
            raise self._refused(f"the handler is called as handler{wanted}, which it cannot be: {error}") from None
        except ValueError:
            pass  # a built-in one that does not tell its signature
        self._check_asked()
        self._check_colour()


def _dumped(arguments: BaseModel, what: str) -> Object:
    """By alias: what the schema calls a field, and validates again."""
    return cast("Object", admit_dump(lambda: arguments.model_dump(mode="json", by_alias=True), what=what, limit=MAX_ARGUMENTS))


def _taking_one_object(handler: Callable[..., object]) -> Callable[..., object]:
    """The handler may call its first parameter as it likes."""

    async def awaited(arguments: Object, **given: object) -> object:
        return await cast("Callable[..., Awaitable[object]]", handler)(arguments, **given)

    def plain(arguments: Object, **given: object) -> object:
        return handler(arguments, **given)

    return awaited if _is_async(handler) else plain


def _declared(given: Object, what: str) -> Object:
    """A JSON Schema from outside, references inlined. Raises ToolError naming the place in it."""
    try:
        clean = admit(given, what=what, limit=MAX_RESULT)
        if not isinstance(clean, dict):
            raise ToolError(f"{what}: is no JSON Schema but {type(given).__name__}; a schema is an object")
        inlined = schema.inlined(clean)
    except (InputError, DeclarationError) as error:
        text = str(error)
        raise ToolError(text if text.startswith(what) else f"{what}: {text}") from None
    if problem := schema.malformed(inlined):
        raise ToolError(f"{what}: {problem}")
    return inlined


class Plain(Protocol):
    @overload
    def __call__(
        self, function: Callable[[A], Coroutine[Any, Any, R]], /
    ) -> ModelTool[A, [A], [A], Coroutine[Any, Any, R], R]: ...
    @overload
    def __call__(self, function: Callable[[A], R], /) -> ModelTool[A, [A], [A], R, R]: ...
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Tool[P, P, Coroutine[Any, Any, R], R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Tool[P, P, R, R]: ...


class Keyed(Protocol):
    @overload
    def __call__(
        self, function: Callable[[Key, A], Coroutine[Any, Any, R]], /
    ) -> ModelTool[A, [Key, A], [A], Coroutine[Any, Any, R], R]: ...
    @overload
    def __call__(self, function: Callable[[Key, A], R], /) -> ModelTool[A, [Key, A], [A], R, R]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[Key, P], Coroutine[Any, Any, R]], /
    ) -> Tool[Concatenate[Key, P], P, Coroutine[Any, Any, R], R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Key, P], R], /) -> Tool[Concatenate[Key, P], P, R, R]: ...


class Local(Protocol):
    @overload
    def __call__(self, function: Callable[[Session, A], R], /) -> ModelTool[A, [Session, A], [A], R, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Session, P], R], /) -> Tool[Concatenate[Session, P], P, R, R]: ...


@overload
def tool(function: Callable[[A], Coroutine[Any, Any, R]], /) -> ModelTool[A, [A], [A], Coroutine[Any, Any, R], R]: ...
@overload
def tool(function: Callable[[A], R], /) -> ModelTool[A, [A], [A], R, R]: ...
@overload
def tool(function: Callable[P, Coroutine[Any, Any, R]], /) -> Tool[P, P, Coroutine[Any, Any, R], R]: ...
@overload
def tool(function: Callable[P, R], /) -> Tool[P, P, R, R]: ...
@overload
def tool(
    *,
    effect: Literal["keyed"],
    approval: bool = ...,
    timeout: float = ...,
    retries: int = ...,
    reconcile: Reconcile | None = ...,
    name: str | None = ...,
    untrusted: bool = ...,
) -> Keyed: ...
@overload
def tool(
    *,
    effect: Literal["local"],
    approval: bool = ...,
    timeout: float = ...,
    retries: int = ...,
    name: str | None = ...,
    untrusted: bool = ...,
) -> Local: ...
@overload
def tool(
    *,
    effect: Literal["read", "once"] = ...,
    approval: bool = ...,
    timeout: float = ...,
    retries: int = ...,
    reconcile: Reconcile | None = ...,
    name: str | None = ...,
    untrusted: bool = ...,
) -> Plain: ...
def tool(
    function: Callable[..., object] | None = None,
    /,
    *,
    effect: Effect | None = None,
    approval: bool | None = None,
    timeout: float = 30.0,
    retries: int = 3,
    reconcile: Reconcile | None = None,
    name: str | None = None,
    untrusted: bool = False,
) -> Plain | Keyed | Local | Tool[..., ..., object, object]:
    """Make a typed function a tool: `@tool(effect="read")`, or bare `@tool`.

    effect      what a crash may do to it: `read` (repeatable), `keyed` (exactly once by our idempotency key, given as `key`), `local`
                (commits with the run, given `session`), `once` (at most once). Undeclared: `once`, and a person must approve each call.
    approval    a person must release each call, whatever the machine looks like
    timeout     seconds one attempt may take
    retries     further attempts of a `read` or `keyed` call that failed
    reconcile   asks the other side whether the call with a key happened; True, False, or None for "cannot tell"
    untrusted   its results hold what strangers wrote (web pages, mail): `check` follows where they could lead the model
    Raises ToolError at import when the signature cannot be a tool's.
    """
    options = _options(effect, approval, timeout, retries, reconcile, untrusted)

    def decorate(function: Callable[..., object]) -> ModelTool[BaseModel, ..., ..., object, object]:
        return ModelTool[BaseModel, ..., ..., object, object](function, options, name=name)

    return cast("Plain", decorate) if function is None else decorate(function)


def _options(
    effect: Effect | None, approval: bool | None, timeout: float, retries: int, reconcile: Reconcile | None, untrusted: bool
) -> Options:
    """Undeclared, an effect is the most dangerous one, and a person must approve it; one that is declared needs nobody."""
    return Options(effect or "once", effect is None if approval is None else approval, timeout, retries, reconcile, untrusted)


def _is_async(function: Callable[..., object]) -> bool:
    """Is it an `async def`, or an object that is called as one?"""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _is_of(value: object, hint: type | UnionType) -> bool:
    try:
        return isinstance(value, hint)
    except TypeError:  # a type with parameters
        return False


def _last_name(annotation: object) -> str:
    """`Key` of the class, of "Key" and of "leverframe.Key"."""
    return str(getattr(annotation, "__name__", annotation)).rpartition(".")[2]


Reconcile = Callable[[Key], "bool | None | Awaitable[bool | None]"]


def compact(error: ValidationError, *, limit: int = 3) -> str:
    """A pydantic error in one line: `amount: Input should be greater than 0`. Never the rejected values."""
    return _lines(error.errors(include_url=False, include_context=False, include_input=False), limit)


def _lines(found: Sequence[ErrorDetails], limit: int = 3) -> str:
    lines = [f"{'.'.join(str(part) for part in item['loc']) or 'value'}: {item['msg']}" for item in found[:limit]]
    more = f"; and {len(found) - limit} more" if len(found) > limit else ""
    return "; ".join(lines) + more
