"""Which outcomes a state can have, read from its types."""

import sys
from collections.abc import Callable, Iterator, Sequence
from types import NoneType, UnionType
from typing import Literal, Never, Union, cast, get_args, get_origin

from leverframe.errors import DeclarationError
from leverframe.series import FOLLOWS
from leverframe.state import Act, Approve, Ask, Compact, Consult, Delegate, Fetch, Reply, Runs, State, Wait, Work

RISKY = frozenset({"keyed", "once"})
"""Effect classes after which nobody may know whether it happened."""

OWN = frozenset({"ok", "error", "unknown", "unsure", "approved", "rejected", "expired", "done", "retry", "give_up", "exceeded"})
"""Outcomes with a meaning of their own: no Reply may be called so."""

HARMLESS = frozenset({"ok", "done"})
"""Those that code may end in too: they release, count and settle nothing."""


def outcomes(state: type[State[Never]]) -> frozenset[str]:
    """Every way the state can end. Raises DeclarationError naming state and method where the types do not tell."""
    if issubclass(state, Work):
        return _literals(state, state.run, default=None)
    if issubclass(state, Fetch):
        return _literals(state, state.keep, default="ok") | {"error"}
    if issubclass(state, Ask):
        unsure: set[str] = {"unsure"} if state.threshold is not None else set()
        return intents(state, state.replies) | {"error"} | unsure
    if issubclass(state, Act):
        unknown: set[str] = {"unknown"} if any(tool.effect in RISKY for tool in state.runs) else set()
        named = _literals(state, state.keep, default="ok")
        if FOLLOWS in named:
            raise DeclarationError(f"state {state.name}: keep ends in 'next', which is the engine's to say; rename it")
        return named | {"error"} | unknown
    if issubclass(state, Approve):
        return frozenset({"approved", "rejected", "expired"})
    if issubclass(state, Consult):
        return intents(state, state.replies) | {"expired"}
    if issubclass(state, Wait):
        return intents(state, state.events) | {"expired"}
    if issubclass(state, Delegate):
        return frozenset({"done", "error", "expired"})
    if issubclass(state, Compact):
        return frozenset({"retry", "give_up"})
    return frozenset()


def intents(state: type[State[Never]], replies: Sequence[object]) -> frozenset[str]:
    """The edges that replies take: a Reply's literal, a tool's name."""
    found: set[str] = set()
    for reply in replies:
        name = _intent(state, reply)
        if name in OWN:
            raise DeclarationError(
                f"state {state.name}: a reply cannot be called {name!r}, an outcome of the engine's own; rename it"
            )
        if name in found:
            raise DeclarationError(f"state {state.name}: two replies are called {name!r}; rename one")
        found.add(name)
    return frozenset(found)


def _intent(state: type[State[Never]], reply: object) -> str:
    if isinstance(reply, type) and issubclass(reply, Reply):
        intent = cast("type[Reply[str]]", reply).intent
        if not intent:
            raise DeclarationError(
                f"state {state.name}: {reply.__name__} has no intent; declare it as class {reply.__name__}(Reply[Literal['…']])"
            )
        if "intent" in reply.model_fields:
            raise DeclarationError(f"state {state.name}: {reply.__name__} has a field 'intent', which says what it is; rename it")
        return intent
    name: object = getattr(cast("Runs[object]", reply), "name", None)
    if not isinstance(name, str):
        raise DeclarationError(
            f"state {state.name}: {reply!r} is neither a tool nor a Reply type; decorate it with @tool or derive from Reply"
        )
    return name


def _literals(state: type[State[Never]], method: Callable[..., object], *, default: str | None) -> frozenset[str]:
    """The Literals of a return annotation; None stands for the default outcome."""
    where = f"state {state.name}: {method.__name__}"
    annotation: object = method.__annotations__.get("return", "missing")
    if isinstance(annotation, str) and annotation != "missing":
        try:
            annotation = eval(annotation, vars(sys.modules[method.__module__]))  # noqa: S307 (the user's own annotation, as typing does)
        except NameError as error:
            raise DeclarationError(f"{where}: its return annotation: {error}; it must be importable where the state is") from None
    if default is not None and method.__qualname__.split(".")[0] in ("Fetch", "Act"):
        return frozenset({default})  # keep is not overridden
    leaves = list(_leaves(annotation))
    found = {leaf for leaf in leaves if isinstance(leaf, str)}
    if default and None in leaves:
        found.add(default)
    other = [leaf for leaf in leaves if not isinstance(leaf, str) and not (default and leaf is None)]
    if other or not found:
        hint = "annotate its return type with the outcomes: -> Literal['…', '…']" + (
            f" or None for {default!r}" if default else ""
        )
        also = f": it may return {_shown(other[0])}, too" if found else ""
        raise DeclarationError(f"{where} does not say how the state can end{also}; {hint}")
    if own := sorted(found & OWN - HARMLESS):
        raise DeclarationError(
            f"{where} ends in {own[0]!r}, an outcome of the engine's own, which is not code's to say; rename it"
        )
    return frozenset(found)


def _leaves(annotation: object) -> Iterator[object]:
    """What a return annotation allows: values of Literals, None, and types."""
    annotation = getattr(annotation, "__value__", annotation)  # of `type Ends = Literal[…]`
    if hasattr(annotation, "__metadata__"):  # Annotated
        annotation = getattr(annotation, "__origin__", None)
    if annotation is None or annotation is NoneType:
        yield None
    elif get_origin(annotation) is Literal:
        yield from get_args(annotation)
    elif get_origin(annotation) in (Union, UnionType):
        for part in get_args(annotation):
            yield from _leaves(part)
    elif annotation is not Never and annotation != "missing":
        yield annotation


def _shown(leaf: object) -> str:
    return leaf.__name__ if isinstance(leaf, type) else repr(leaf)
