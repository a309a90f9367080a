"""What is marked secret (`writeOnly` in its schema) never enters the window: it is left out where an event becomes blocks.

Its value may stand elsewhere, too: an error repeats it, a `keep` copies it, a result echoes it. So what was left out is remembered for the
run, and masked wherever it comes up again, in blocks, in what templates read, and in errors before they are written.
"""

import re
from collections.abc import Iterator, Sequence
from typing import cast

from leverframe.canon import Json, Object
from leverframe.faults import cut_off, scrubbed
from leverframe.machine import Definition
from leverframe.run import Run
from leverframe.schema import alternatives, holds_secret, is_secret

MASK = "[secret]"
_NONE: Object = {}
_SHORTEST = 4  # shorter ones would be found in any text
_WHOLE = 8  # shorter than that only where no letter or digit stands beside it
_MOST = 1_000  # values that a run remembers
_WHY = frozenset({"error", "reason", "why", "refused", "stuck"})
_CUT = ("…", "...")
_PLACES = re.compile(r"\[secret\]|\[id\]|…/")  # what an error has in place of keys, ids and folders
_CALL = ("call", "considered")
_CALLS = ("calls", "queue", "void")


class Secrets:
    """What a definition marks secret in its memory, its calls, their results and its replies, and what a run was found to hold there.
    Most mark nothing, and cost nothing."""

    def __init__(self, definition: Definition | None = None) -> None:
        body = definition.body if definition else _NONE
        self._memory = _marked(body.get("memory"))
        self._tools = {
            name: (_marked(cast("Object", tool).get("input")), _marked(cast("Object", tool).get("output")))
            for name, tool in cast("Object", body.get("tools") or {}).items()
        }
        states = definition.states if definition else {}
        self._replies = {
            (name, str(choice["intent"])): shape
            for name, spec in states.items()
            for choice in spec.choices
            if (shape := _marked(choice.get("schema")))
        }
        self._returns = {name: shape for name, spec in states.items() if (shape := _marked(spec.body.get("returns")))}
        self.any = bool(self._memory or self._replies or self._returns or any(map(any, self._tools.values())))
        self._values: dict[str, None] = {}
        self._pattern: re.Pattern[str] | None = None

    def without(self, body: Object) -> Object:
        """The body of an event as a model may see it; what is left out is remembered."""
        if not self.any:
            return body
        clean: Object = {**body, **self._call(body)}
        if "memory" in body:
            clean["memory"] = self._left(body["memory"], self._memory)
        for name in _CALL:
            if isinstance(call := body.get(name), dict):
                clean[name] = {**call, **self._call(call)}
        for name in _CALLS:
            if isinstance(calls := body.get(name), list):
                clean[name] = [{**cast("Object", call), **self._call(cast("Object", call))} for call in calls]
        if isinstance(reply := body.get("reply"), dict):
            clean["reply"] = self._left(reply, self._replies.get((str(body.get("state")), str(reply.get("intent"))), _NONE))
        if (shape := self._returns.get(str(body.get("state")))) and isinstance(results := body.get("results"), list):
            clean["results"] = self._left(results, {"items": {"properties": {"result": shape}}})
        if isinstance(given := body.get("arguments"), dict) and isinstance(call := given.get("call"), dict):
            clean["arguments"] = {**given, "call": {**call, **self._call(call)}}  # what a person is asked to release
        return clean

    def memory(self, memory: Object) -> Object:
        """The memory as a template may read it."""
        return cast("Object", self.masked(_without(memory, [self._memory], []))) if self.any else memory

    def masked(self, value: Json) -> Json:
        """The value, without what is remembered."""
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self._ended(self._pattern.sub(MASK, value))
        if isinstance(value, dict):
            return {self._pattern.sub(MASK, key): self.masked(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.masked(item) for item in value]
        known = isinstance(value, int | float) and not isinstance(value, bool) and str(value) in self._values
        return MASK if known else value

    def _ended(self, text: str) -> str:
        """Where a text was cut, the beginning of a secret may stand at its end."""
        if not text.endswith(_CUT):
            return text
        said = text.rstrip("….")
        left = max((cut_off(said, value, _SHORTEST) for value in self._values), default=0)
        return f"{said[:-left]}{MASK}…" if left else text

    def shown(self, content: Object) -> Object:
        """What of an event is a block."""
        if self._pattern is None:
            return content
        return {key: value if key == "tool_name" else self.masked(value) for key, value in content.items()}

    def _call(self, call: Object) -> Object:
        if (name := call.get("tool_name")) not in self._tools:
            return {}
        given, came = self._tools[str(name)]
        shapes = {"arguments": given, "result": came}
        return {key: self._left(call[key], shape) for key, shape in shapes.items() if shape and key in call}

    def _left(self, value: Json, shape: Object) -> Json:
        gone: list[Json] = []
        left = _without(value, [shape], gone)
        new = [text for one in gone for text in _texts(one) if text not in self._values]
        if new and len(self._values) < _MOST:
            self._values |= dict.fromkeys(new)
            self._pattern = re.compile("|".join(map(_finding, sorted(self._values, key=lambda text: (-len(text), text)))))
        return left


def hushed(definition: Definition, run: Run, body: Object) -> Object:
    """The body of an event; what it says of why something failed does not repeat a secret of the run."""
    calls = cast("list[Object]", body.get("calls") or [])
    if _WHY.isdisjoint(body) and not any("error" in call for call in calls):
        return body
    secrets = Secrets(definition)
    pending: Object = {"call": {"tool_name": run.pending.tool_name, "arguments": run.pending.arguments}} if run.pending else {}
    secrets.without({"memory": run.memory, **pending})
    secrets.without({"calls": list[Json](calls), **({"call": body["call"]} if "call" in body else {})})
    if calls:
        body = {**body, "calls": [{**call, **{key: secrets.masked(call[key]) for key in _WHY if key in call}} for call in calls]}
    return {**body, **{key: secrets.masked(body[key]) for key in _WHY & body.keys()}}


def _texts(value: Json) -> Iterator[str]:
    """What can be found again of a secret."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)
    elif value is not None and not isinstance(value, bool) and len(text := str(value).strip()) >= _SHORTEST:
        yield text
        if (error := scrubbed(text)) != text and len(_PLACES.sub("", error).strip()) >= _SHORTEST:
            yield error  # as an error says it


def _finding(text: str) -> str:
    return re.escape(text) if len(text) >= _WHOLE else rf"(?<!\w){re.escape(text)}(?!\w)"


def _marked(shape: Json) -> Object:
    """The schema, if anything in it is secret."""
    return shape if isinstance(shape, dict) and holds_secret(shape) else _NONE


def _without(value: Json, shapes: Sequence[Object], gone: list[Json]) -> Json:
    """The value without what any of its schemas, and the alternatives in them, marks; `gone` takes what that is."""
    if any(map(is_secret, shapes)):
        gone.append(value)
        return None
    all_of = [shape for given in shapes for shape in alternatives(given)]
    if isinstance(value, list):
        return [_without(item, _inside(all_of, "items", index), gone) for index, item in enumerate(value)]
    if isinstance(value, dict):
        inner = {key: _inside(all_of, "properties", key) for key in value}
        kept = {key for key, found in inner.items() if not any(map(is_secret, found))}
        gone += [item for key, item in value.items() if key not in kept]
        return {key: _without(item, inner[key], gone) for key, item in value.items() if key in kept}
    return value


def _inside(shapes: Sequence[Object], word: str, key: str | int) -> list[Object]:
    """The schemas of one item, or of one field."""
    found: list[Json] = []
    for shape in shapes:
        if isinstance(key, int):
            first = cast("list[Json]", shape.get("prefixItems") or [])
            found.append(first[key] if key < len(first) else shape.get(word))
        else:
            named = cast("Object", shape.get(word) or {})
            found.append(named[key] if key in named else shape.get("additionalProperties"))
    return [each for each in found if isinstance(each, dict)]
