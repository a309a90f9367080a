"""What differs between two definitions of a machine, as data that says what it means.

Every `Change` has a path into the definition (`states · Triage · edges · error`), what was there and what is there now. Texts and
contracts of a schema are told apart: words are read by a model, a contract is kept by stored calls.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias, cast

from leverframe import schema
from leverframe.automaton import in_words
from leverframe.canon import Json, Object, canonical
from leverframe.clock import span
from leverframe.errors import DeclarationError
from leverframe.machine import Definition

Path: TypeAlias = tuple[str, ...]
_SCHEMAS = frozenset({"memory", "input", "output", "returns", "schema"})
_SAID_ELSEWHERE = frozenset({"contract", "leverframe", "name"})


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. `was` None: it is new; `now` None: it is gone. Of a schema of which only words changed `words` is true."""

    path: Path
    was: Json
    now: Json
    words: bool = False

    @property
    def kind(self) -> str:
        return "added" if self.was is None else "removed" if self.now is None else "changed"

    def __str__(self) -> str:
        where = _named(self.path)
        if self.path[-1] in _SCHEMAS or self.path[-2:-1] in (("texts",), ("partials",), ("replies",)) or "doc" in self.path:
            what = "is new" if self.was is None else "is gone" if self.now is None else "changed"
            return f"{where} {what}{', in words only' if self.words else _fields(self.was, self.now)}"
        if self.was is None or self.now is None:
            value = self.now if self.was is None else self.was
            about = f": {self._short(value)}" if isinstance(value, str | int | float) and value is not True else ""
            return f"{where} {'is new' if self.was is None else 'is gone'}{about}"
        return f"{where} was {self._short(self.was)}, is {self._short(self.now)}"

    def _short(self, value: Json) -> str:
        if isinstance(value, int) and self.path[-1] == "deadline":
            return span(value)
        if isinstance(value, int) and self.path[0] == "limits" and self.path[-1] == "cost":
            return f"{value / 1_000_000:.2f} dollars"
        text = value if isinstance(value, str) else canonical(value)
        return text if len(text) <= 60 else f"{text[:57]}..."

    def json(self) -> Object:
        return {"path": [*self.path], "kind": self.kind, "was": self.was, "now": self.now, "words": self.words, "line": str(self)}


def changes(before: Definition, after: Definition) -> list[Change]:
    """Everything that differs, in the order of the definition: the machine, its states, tools, limits and rules."""
    return list(_compared((), _told(before.body), _told(after.body)))


def _told(body: Object) -> Object:
    """The definition with lists as mappings, so that an element is known by its name and not by its place."""
    states = {name: _state(cast(Object, state)) for name, state in cast(Object, body["states"]).items()}
    rules = {_worded(rule): rule for rule in cast(list[Json], body["rules"])}
    accepts = {canonical(one): one for one in cast(list[Json], body.get("accepts", []))}
    limits = cast(Object, body["limits"])
    limits = {**limits, "daily": limits.get("daily") or {}}
    return {**body, "states": cast(Json, states), "limits": limits, "rules": rules, "accepts": accepts}


def _worded(rule: Json) -> str:
    """A rule as people read it; of one that another tool wrote and nobody can read, its text."""
    try:
        return f"“{in_words(cast(Object, rule))}”"
    except (DeclarationError, KeyError, TypeError, ValueError, AttributeError):
        return canonical(rule)


def _state(body: Object) -> Object:
    told: Object = {name: value for name, value in body.items() if name not in ("choices", "tools")}
    choices = cast(list[Object], body.get("choices", []))
    replies: Object = {str(choice["intent"]): choice.get("schema") for choice in choices if choice["kind"] == "reply"}
    picked = [str(choice["intent"]) for choice in choices if choice["kind"] == "tool"]
    offered: Object = dict.fromkeys([*cast(list[str], body.get("tools", [])), *picked], True)
    return {**told, "partials": body.get("partials") or {}, "replies": replies, "offers": offered}


def _compared(path: Path, was: Json, now: Json) -> Iterator[Change]:
    if was == now:
        return
    if (path and path[-1] in _SCHEMAS) or path[-2:-1] == ("replies",):
        same = isinstance(was, dict) and isinstance(now, dict) and schema.contract(was) == schema.contract(now)
        yield Change(path, was, now, words=same)
    elif isinstance(was, dict) and isinstance(now, dict) and not (len(path) == 2 and path[0] in ("rules", "accepts")):
        for name in _both(was, now):
            if name not in _SAID_ELSEWHERE:
                yield from _compared((*path, name), was.get(name), now.get(name))
    else:
        yield Change(path, was, now)


def _both(was: Mapping[str, Json], now: Mapping[str, Json]) -> Iterable[str]:
    return dict.fromkeys([*was, *now])


_PARTS = {"states": "state", "tools": "tool", "limits": "limit", "edges": "edge", "texts": "prompt", "replies": "reply"}
_WORDS = {
    "doc": "description",
    "to": "person asked",
    "offers": "offers",
    "definition": "delegated definition",
    "most": "calls in one answer",
}


def _named(path: Path) -> str:
    """`state Triage: edge 'error'`."""
    if path[0] in ("rules", "accepts"):
        return f"{'rule' if path[0] == 'rules' else 'acceptance'} {path[1]}"
    if len(path) == 1:
        return {"doc": "the description", "start": "the start", "version": "the version", "memory": "the memory"}.get(
            path[0], path[0]
        )
    first, name, *rest = path
    if first == "limits":
        return f"limit {' '.join((name, *rest))}"
    head = f"{_PARTS.get(first, first)} {name}"
    if not rest:
        return head
    if len(rest) == 1:
        return f"{head}: {_WORDS.get(rest[0], rest[0])}"
    if rest[0] == "offers":
        return f"{head}: tool {rest[1]}"
    if rest[0] == "prompt_by":
        return f"{head}: prompt for {rest[2]!r}" if len(rest) > 2 else f"{head}: prompt_by, {rest[1]}"
    if rest[0] == "partials":
        return f"{head}: partial {rest[1]}"
    variant = f"prompt {rest[1]}" if "/" in rest[1] else f"prompt variant {rest[1]!r}"
    kind = variant if rest[0] == "texts" and rest[1] else _PARTS.get(rest[0], rest[0])
    return f"{head}: {kind}" if rest[0] == "texts" else f"{head}: {kind} {rest[1]!r}"


def _fields(was: Json, now: Json) -> str:
    """Which fields of a schema differ: `: q is new, amount changed`."""
    if not (isinstance(was, dict) and isinstance(now, dict)):
        return ""
    before, after = (cast(Object, side.get("properties") or {}) for side in (was, now))
    found = [
        f"{name} {'is new' if name not in before else 'is gone' if name not in after else 'changed'}"
        for name in _both(before, after)
        if before.get(name) != after.get(name)
    ]
    return f": {', '.join(found)}" if found else ""
