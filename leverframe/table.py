"""The edge table as it was written: what no type checker was asked about, what cannot stand in a table, what vanished from it."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import FunctionType
from typing import Never, cast

from leverframe.errors import DeclarationError, EdgeError, did_you_mean
from leverframe.state import Back, Memory, Next, State


def refuse_mistyped(machine: str, memory: object, edges: object, exceeded: object) -> None:
    """What type checkers refuse, refused for those who run none. Raises DeclarationError, EdgeError."""
    if not _is(memory, Memory):
        raise DeclarationError(f"machine {machine}: memory is {shown(memory)}; name a class that derives from Memory")
    for name, field in cast("type[Memory]", memory).model_fields.items():
        if field.alias or field.validation_alias or field.serialization_alias:
            raise DeclarationError(f"machine {machine}: memory field {name} has an alias; memory is known by its own names only")
    if not isinstance(edges, Mapping):
        raise EdgeError(f'machine {machine}: edges is {shown(edges)}; write {{State: {{"outcome": NextState}}}}')
    for state, row in cast("Mapping[object, object]", edges).items():
        _refuse_no_state(f"machine {machine}: a row of the table is of", state)
        name = cast("type[State[Never]]", state).name
        if state is Back or state is Next:
            what = "the state an error came from" if state is Back else "where the following call of an answer leads"
            raise EdgeError(f"machine {machine}: {name} has a row; it has none, it stands for {what}")
        if not isinstance(row, Mapping):
            raise EdgeError(f'machine {machine}: state {name}: its row is {shown(row)}; write {{"outcome": NextState}}')
        for outcome, target in cast("Mapping[object, object]", row).items():
            if not isinstance(outcome, str):
                raise EdgeError(f"machine {machine}: state {name}: an outcome is {shown(outcome)}; outcomes are strings")
            _refuse_no_state(f"machine {machine}: state {name}: {outcome!r} leads to", target)
    if exceeded is not None:
        _refuse_no_state(f"machine {machine}: limits lead to", exceeded)
        if exceeded is Back or exceeded is Next:
            name = cast("type[State[Never]]", exceeded).name
            raise EdgeError(f"machine {machine}: limits lead to {name}; name a state where a person decides, or an End")


def refuse_others(machine: str, name: str, given: object, wanted: type) -> None:
    """Raises DeclarationError for a list that holds anything else."""
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise DeclarationError(f"machine {machine}: {name} is {shown(given)}; write a list of {wanted.__name__}")
    for item in cast("Sequence[object]", given):
        if not isinstance(item, wanted):
            raise DeclarationError(f"machine {machine}: {name} holds {shown(item)}, which is no {wanted.__name__}")


def refuse_row(where: str, outcomes: frozenset[str], keys: list[str]) -> None:
    """Raises EdgeError where a row and its state's outcomes disagree."""
    ends = f"it ends in {', '.join(map(repr, sorted(outcomes)))}" if outcomes else "an End has no edges"
    for key in keys:
        if key not in outcomes:
            raise EdgeError(f"{where}: never ends in {key!r}; {ends}.{did_you_mean(key, sorted(outcomes))}")
    for outcome in sorted(outcomes):
        if outcome not in keys:
            raise EdgeError(f"{where}: can end in {outcome!r}, which leads nowhere; add {outcome!r}: SomeState to its row")


def refuse_vanished(machine: str, file: str, line: int) -> None:
    """A key written twice silently replaces the first in a dict literal; the source still shows it. Raises EdgeError."""
    try:
        tables = _tables(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return  # declared in a prompt or a notebook: there is no source to read
    for first, last, literals in tables:
        if not first <= line <= last:
            continue
        for literal in literals:
            keys = [key for key, _ in literal]
            for key, at in literal:
                if keys.count(key) > 1:
                    raise EdgeError(f"machine {machine}: {key} is written twice ({file}:{at}); the first would silently vanish")


@lru_cache(maxsize=16)
def _tables(source: bytes) -> Sequence[tuple[int, int, Sequence[Sequence[tuple[str, int]]]]]:
    """The calls with `edges=` in a file, which may declare many machines: first and last line, and the keys and lines of each dict."""
    return [
        (
            call.lineno,
            call.end_lineno or call.lineno,
            [_keys(node) for node in ast.walk(edges.value) if isinstance(node, ast.Dict)],
        )
        for call in ast.walk(ast.parse(source))
        if isinstance(call, ast.Call)
        for edges in call.keywords
        if edges.arg == "edges"
    ]


def _keys(literal: ast.Dict) -> Sequence[tuple[str, int]]:
    return [(ast.unparse(key), key.lineno) for key in literal.keys if key is not None]


def _refuse_no_state(where: str, given: object) -> None:
    if _is(given, State):
        if given is State:
            raise EdgeError(f"{where} State, which is no kind of state; derive from Work, Fetch, Ask, Act, …")
        return
    if _is(type(given), State):
        hint = f"name the class itself: {type(given).__name__}"
    elif isinstance(given, str):
        known = set(_names(State))
        hint = f"write {given} without quotes, the class itself" if given in known else "name a state's class, without quotes"
        hint += "" if given in known else "." + did_you_mean(given, sorted(known))
    else:
        hint = "name a state's class"
    raise EdgeError(f"{where} {shown(given)}; {hint}")


def _is(given: object, of: type) -> bool:
    return isinstance(given, type) and issubclass(given, of)


def _names(of: type) -> Iterator[str]:
    """Of every class that derives from it."""
    below: list[type] = of.__subclasses__()
    for one in below:
        yield one.__name__
        yield from _names(one)


def shown(given: object) -> str:
    """What was given, briefly: `'Pay', a str`, `the class dict`, `an instance of Pay`."""
    if isinstance(given, type):
        return f"the class {given.__name__}"
    if given is None:
        return "None"
    if isinstance(given, FunctionType):
        return f"the function {given.__name__}"
    if isinstance(given, str | int | float):
        return f"{str(given)[:80]!r}, a string" if isinstance(given, str) else f"{given!r}, a number"
    return f"an instance of {type(given).__name__}"
