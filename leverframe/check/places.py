"""Where in the source a finding is: the class of a state, the row and key of an edge, or the line of a definition's file.

Read from the syntax tree, so nothing is run and nothing imported; a source that is written in another way gives the nearest line that
is known.
"""

import ast
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Never, Protocol

from leverframe.check.codes import CODES
from leverframe.check.finding import Finding, Hop, Place
from leverframe.machine import EXCEEDED, AnyState, Machine


class Places(Protocol):
    """Where things stand."""

    def of(self, state: str | None, outcome: str | None, table: bool) -> Place | None:
        """The edge; without an outcome the row of the state (`table`) or its class; without a state the machine."""
        ...

    def file(self, place: Place) -> Place | None:
        """A place that is given from the project's folder."""
        ...


def locator(places: Places) -> Callable[[Finding], Finding]:
    """Gives a finding its place, and those of its path. Paths share most of their steps, so each step is looked up once."""
    steps: dict[Hop, Hop] = {}

    def step(hop: Hop) -> Hop:
        if hop not in steps:
            steps[hop] = replace(hop, place=places.of(hop.state, hop.outcome, table=True))
        return steps[hop]

    def locate(found: Finding) -> Finding:
        known = CODES.get(found.code)
        place = places.file(found.place) if found.place else None
        place = place or places.of(found.state, found.outcome, table=known is not None and known.table)
        return replace(found, place=place, path=tuple(map(step, found.path)))

    return locate


# ── of a machine in Python ───────────────────────────────────────────────────────────────────────────────────────────────────


class Source:
    """The places of a machine that is declared in Python."""

    def __init__(self, machine: Machine[Never]) -> None:
        self._machine = machine
        self._trees: dict[str, ast.Module | None] = {}

    def of(self, state: str | None, outcome: str | None, table: bool) -> Place | None:
        file, rows = self._machine.file, self._rows
        if outcome == EXCEEDED and (state is None or (state, EXCEEDED) not in rows):
            return Place(file, self._keyword("limits", EXCEEDED))
        row = rows.get((state, None)) if outcome or table else None
        if (line := rows.get((state, outcome), row) if outcome else row) is not None:
            return Place(file, line)
        found = self._class(self._machine.states[state]) if state in self._machine.states else None
        return found or Place(file, self._machine.line)

    def file(self, place: Place) -> Place:
        return place if Path(place.file).is_absolute() else Place(str(self._machine.home / place.file), place.line)

    def _tree(self, file: str) -> ast.Module | None:
        if file not in self._trees:
            try:
                self._trees[file] = ast.parse(Path(file).read_bytes())
            except (OSError, SyntaxError, ValueError):
                self._trees[file] = None  # declared in a prompt or a notebook
        return self._trees[file]

    def _class(self, state: AnyState) -> Place | None:
        module = sys.modules.get(state.__module__)
        file: object = getattr(module, "__file__", None)
        tree = self._tree(file) if isinstance(file, str) else None
        body: list[ast.stmt] | None = tree.body if tree else None
        line = None
        for name in state.__qualname__.split("."):
            found = next((node for node in _classes(body or []) if node.name == name), None)
            if found is None:
                return Place(str(file), line) if line else None
            line, body = found.lineno, found.body
        return Place(str(file), line) if line else None

    @cached_property
    def _call(self) -> ast.Call | None:
        return _around(self._tree(self._machine.file), self._machine.line)

    @cached_property
    def _rows(self) -> Mapping[tuple[str | None, str | None], int]:
        """The line of each row and of each key in it. The literal has the rows in the machine's own order, so no name is guessed."""
        table = _table(self._tree(self._machine.file), self._call)
        found: dict[tuple[str | None, str | None], int] = {}
        if table is None or len(table.keys) != len(self._machine.edges) or None in table.keys:
            return found
        for state, (_, row) in zip(self._machine.edges, _written(table), strict=True):
            found |= {(state.name, outcome): line for outcome, line in row.items()}
        return found

    def _keyword(self, *names: str) -> int:
        """The line of an argument of the call, and of an argument inside of it, as far as they are written there."""
        line, call = self._machine.line, self._call
        for name in names:
            value = _argument(call, name) if call is not None else None
            line = value.lineno if value is not None else line
            call = value if isinstance(value, ast.Call) else None
        return line


def refused(place: Place, message: str) -> Place:
    """Where a table is wrong that was refused when it was declared: there is no machine, only the source and what was said of it."""
    state = re.search(r"state (.+?): ", message)
    if state is None:
        return place
    try:
        tree = ast.parse(Path(place.file).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return place
    outcome = re.search(r"'(.+?)'", message)
    table = _table(tree, _around(tree, place.line))
    rows = [row for name, row in _written(table) if name == state[1]] if table else []
    lines = [row.get(outcome[1] if outcome else None, row[None]) for row in rows]
    return Place(place.file, lines[0]) if lines else place


def _around(tree: ast.Module | None, line: int) -> ast.Call | None:
    """The call that declares a machine in this line."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)] if tree else []
    around = [node for node in calls if node.lineno <= line <= (node.end_lineno or line) and _argument(node, "edges")]
    return max(around, key=lambda node: node.lineno, default=None)


def _table(tree: ast.Module | None, call: ast.Call | None) -> ast.Dict | None:
    """The table of edges itself, also where it has a name in the same file."""
    table = _argument(call, "edges") if call else None
    if isinstance(table, ast.Name) and tree is not None:
        for node in tree.body:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target if isinstance(node, ast.AnnAssign) else None
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(target, ast.Name) and target.id == table.id:
                return node.value if isinstance(node.value, ast.Dict) else None
    return table if isinstance(table, ast.Dict) else None


def _written(table: ast.Dict) -> Iterator[tuple[str, dict[str | None, int]]]:
    """Each row by the name it is written with: the lines of its keys, and under None its own."""
    for key, row in zip(table.keys, table.values, strict=True):
        if key is not None:
            lines: dict[str | None, int] = {None: key.lineno}
            for outcome in row.keys if isinstance(row, ast.Dict) else ():
                if isinstance(outcome, ast.Constant) and isinstance(outcome.value, str):
                    lines[outcome.value] = outcome.lineno
            yield ast.unparse(key).rpartition(".")[2], lines


def _argument(call: ast.Call, name: str) -> ast.expr | None:
    return next((keyword.value for keyword in call.keywords if keyword.arg == name), None)


def _classes(body: list[ast.stmt]) -> Iterator[ast.ClassDef]:
    return (node for node in body if isinstance(node, ast.ClassDef))


# ── of a definition in a file ────────────────────────────────────────────────────────────────────────────────────────────────


class Lines:
    """The places of a definition in a JSON file."""

    def __init__(self, file: str, text: str) -> None:
        self._file, self._text = file, text

    def of(self, state: str | None, outcome: str | None, table: bool) -> Place | None:
        if outcome == EXCEEDED and (state is None or ("states", state, "edges", EXCEEDED) not in self._lines):
            return self.at("limits", EXCEEDED)
        if state is None:
            return Place(self._file, 1)
        return self.at("states", state, "edges", *([outcome] if outcome else []) if table or outcome else ())

    def file(self, place: Place) -> Place | None:
        return place if place.file == self._file else None  # a prompt of a definition is in no file

    def at(self, *keys: str | int) -> Place:
        """The line of what the keys lead to, as far as they lead."""
        for end in range(len(keys), 0, -1):
            if (line := self._lines.get(keys[:end])) is not None:
                return Place(self._file, line)
        return Place(self._file, 1)

    @cached_property
    def _lines(self) -> Mapping[tuple[str | int, ...], int]:
        return dict(_lines(self._text))


_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|[{}\[\],:]|\n', re.DOTALL)


def _lines(text: str, deepest: int = 8) -> Iterator[tuple[tuple[str | int, ...], int]]:
    """Every key and item of a JSON text down to some depth, with its line."""
    import json

    line, path = 1, list[str | int]()
    last = ""
    for token in _TOKEN.finditer(text):
        sign = token[0]
        if sign == "\n":
            line += 1
        elif sign in "{[":
            if path and isinstance(path[-1], int) and len(path) <= deepest:
                yield tuple(path), line
            path.append("" if sign == "{" else 0)
        elif sign in "}]":
            path = path[:-1]
        elif sign == "," and path and isinstance(path[-1], int):
            path[-1] += 1
        elif sign == ":" and path:
            path[-1] = last
            if len(path) <= deepest:
                yield tuple(path), line
        elif token[1] is not None:
            last = json.loads(sign, strict=False) if "\\" in sign else token[1]
