"""What differs between two definitions of a machine, as data that says what it means.

Every `Change` has a path into the definition (`states · Triage · edges · error`), what was there and what is there now. Texts and
contracts of a schema are told apart: words are read by a model, a contract is kept by stored calls.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypeVar, cast

from leverframe import schema
from leverframe.automaton import in_words
from leverframe.canon import Json, Object, canonical
from leverframe.clock import span
from leverframe.errors import DeclarationError
from leverframe.machine import Definition

Path: TypeAlias = tuple[str, ...]
Name = TypeVar("Name")


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
        if self.was is None and self.now is None:
            return f"{where} is written in another way"
        if _is_schema(self.path) or _is_text(self.path):
            what = "is new" if self.was is None else "is gone" if self.now is None else "changed"
            return f"{where} {what}{', in words only' if self.words else _fields(self.was, self.now)}"
        if self.was is None or self.now is None:
            value = self.now if self.was is None else self.was
            about = f": {self._short(value)}" if isinstance(value, str | int | float) and value is not True else ""
            return f"{where} {'is new' if self.was is None else 'is gone'}{about}"
        if isinstance(self.was, list | dict) and isinstance(self.now, list | dict):
            return f"{where} changed{', in order only' if self.reordered else ''}"
        return f"{where} was {self._short(self.was)}, is {self._short(self.now)}"

    @property
    def reordered(self) -> bool:
        """Is it the same list in another order?"""
        was, now = self.was, self.now
        return isinstance(was, list) and isinstance(now, list) and sorted(map(canonical, was)) == sorted(map(canonical, now))

    def _short(self, value: Json) -> str:
        if isinstance(value, int) and self.path[0] == "states" and self.path[2:] == ("deadline",):
            return span(value)
        if isinstance(value, int) and self.path[0] == "limits" and self.path[-1] == "cost":
            return f"{value / 1_000_000:.2f} dollars"
        text = value if isinstance(value, str) else canonical(value)
        return text if len(text) <= 60 else f"{text[:57]}..."

    def json(self) -> Object:
        return {"path": [*self.path], "kind": self.kind, "was": self.was, "now": self.now, "words": self.words, "line": str(self)}


def changes(before: Definition, after: Definition) -> list[Change]:
    """Everything that differs but the name, in the order of the definition: the machine, its states, tools, limits and rules."""
    found = list(_compared((), _told(before.body), _told(after.body)))
    return [*found, *_unsaid(found, before.body, after.body)]


def _told(body: Object) -> Object:
    """The definition with lists as mappings, so that an element is known by its name and not by its place."""
    states = {name: _state(cast("Object", state)) for name, state in cast("Object", body["states"]).items()}
    accepts = {canonical(one): one for one in cast("list[Json]", body.get("accepts", []))}
    limits = cast("Object", body["limits"])
    limits = {**limits, "daily": limits.get("daily") or {}}
    rules = _rules(cast("list[Json]", body["rules"]))
    return {**body, "states": cast("Json", states), "limits": limits, "rules": rules, "accepts": accepts}


def _rules(rules: Iterable[Json]) -> Object:
    """Each by its words; of two that read the same, and are not, the second by its text."""
    found: Object = {}
    for rule in rules:
        words, text = _worded(rule), canonical(rule)
        found[words if canonical(found.get(words, rule)) == text else text] = rule
    return found


def _worded(rule: Json) -> str:
    """A rule as people read it; of one that another tool wrote and nobody can read, its text."""
    try:
        return f"“{in_words(cast('Object', rule))}”"
    except (DeclarationError, KeyError, TypeError, ValueError, AttributeError):
        return canonical(rule)


def _state(body: Object) -> Object:
    told: Object = {name: value for name, value in body.items() if name not in ("choices", "tools")}
    choices = cast("list[Object]", body.get("choices", []))
    replies: Object = {str(choice["intent"]): choice.get("schema") for choice in choices if choice["kind"] == "reply"}
    picked = [str(choice["intent"]) for choice in choices if choice["kind"] == "tool"]
    offered: Object = dict.fromkeys([*cast("list[str]", body.get("tools", [])), *picked], True)
    return {**told, "partials": body.get("partials") or {}, "replies": replies, "offers": offered}


def _compared(path: Path, was: Json, now: Json) -> Iterator[Change]:
    """Where a thing stands says what it is, and not what it is called: an edge, a tool or a state may well be called `name` or `memory`."""
    if canonical(was) == canonical(now):
        return
    if _is_schema(path):
        both = isinstance(was, dict) and isinstance(now, dict)
        same = both and canonical(schema.wordless(was)) == canonical(schema.wordless(now))
        yield Change(path, was, now, words=same)
    elif isinstance(was, dict) and isinstance(now, dict) and not (len(path) == 2 and path[0] in ("rules", "accepts")):
        for name in _both(was, now):
            inner = (*path, name)
            if inner != ("name",) and not (path[:1] == ("tools",) and inner[2:] == ("contract",)):
                yield from _compared(inner, was.get(name), now.get(name))
    else:
        yield Change(path, was, now)


def _unsaid(found: Iterable[Change], was: Object, now: Object) -> Iterator[Change]:
    """What makes it another definition and is none of these: an order, a `null` in place of nothing, a contract that is not its schema's."""
    said = {change.path[:length] for change in found for length in (1, 3)}
    before, after = _parts(was), _parts(now)
    for path in _both(before, after):
        same = (path in before) == (path in after) and canonical(before.get(path)) == canonical(after.get(path))
        elsewhere = [(*path[:2], name) for name in _SAID_AS.get("".join(path[2:]), ())]
        if not same and path != ("name",) and said.isdisjoint([path, path[:2], *elsewhere]):
            yield Change(path, before.get(path), after.get(path))


_SAID_AS = {"choices": ("replies", "offers"), "tools": ("offers",), "contract": ("input", "output")}
"""Fields of states and tools whose differences are said under other names."""


def _parts(body: Object) -> dict[Path, Json]:
    """The fields of states and tools, and of the machine what is neither."""
    found: dict[Path, Json] = {}
    for name, value in body.items():
        if name in ("states", "tools"):
            each = cast("dict[str, Object]", value)
            found |= {(name, one, field): inner for one, fields in each.items() for field, inner in fields.items()}
        else:
            found[name,] = value
    return found


def _is_schema(path: Path) -> bool:
    if path[:1] == ("states",):
        return path[2:] == ("returns",) or (len(path) == 4 and path[2] == "replies")
    return path == ("memory",) or (path[:1] == ("tools",) and path[2:] in (("input",), ("output",)))


def _is_text(path: Path) -> bool:
    """Words that are read as a whole."""
    if path[0] == "states" and len(path) == 4:
        return path[2] in ("texts", "partials")
    return path == ("doc",) or (path[0] in ("states", "tools") and path[2:] == ("doc",))


def _both(was: Mapping[Name, Json], now: Mapping[Name, Json]) -> Iterable[Name]:
    return dict.fromkeys([*was, *now])


_PARTS = {"states": "state", "tools": "tool", "limits": "limit", "edges": "edge", "texts": "prompt", "replies": "reply"}
_WORDS = {
    "doc": "description",
    "to": "person asked",
    "offers": "offers",
    "definition": "delegated definition",
    "most": "calls in one answer",
    "choices": "what can be picked",
    "tools": "what it runs",
}

_WHOLE = {
    "doc": "the description",
    "start": "the start",
    "version": "the version",
    "memory": "the memory",
    "limits": "the table of limits",
    "rules": "the list of rules",
    "accepts": "the list of what is accepted",
}


def _named(path: Path) -> str:
    """`state Triage: edge 'error'`."""
    if path[0] in ("rules", "accepts") and len(path) == 2:
        return f"{'rule' if path[0] == 'rules' else 'acceptance'} {path[1]}"
    if len(path) == 1:
        return _WHOLE.get(path[0], path[0])
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
    before, after = (cast("Object", side.get("properties") or {}) for side in (was, now))
    found = [
        f"{name} {'is new' if name not in before else 'is gone' if name not in after else 'changed'}"
        for name in _both(before, after)
        if before.get(name) != after.get(name)
    ]
    return f": {', '.join(found)}" if found else ""
