"""What is marked secret (`writeOnly` in its schema) never enters the window: it is left out where an event becomes blocks."""

from collections.abc import Iterator, Sequence
from typing import cast

from leverframe.canon import Json, Object
from leverframe.machine import Definition

_NONE: Object = {}


class Secrets:
    """What a definition marks secret in its memory, its calls, their results and its replies. Most mark nothing, and cost nothing."""

    def __init__(self, definition: Definition | None = None) -> None:
        body = definition.body if definition else _NONE
        self._memory = _marked(body.get("memory"))
        self._tools = {
            name: (_marked(cast(Object, tool).get("input")), _marked(cast(Object, tool).get("output")))
            for name, tool in cast(Object, body.get("tools") or {}).items()
        }
        self._replies = {
            (name, str(choice["intent"])): shape
            for name, spec in (definition.states if definition else {}).items()
            for choice in spec.choices
            if (shape := _marked(choice.get("schema")))
        }
        self.any = bool(self._memory or self._replies or any(map(any, self._tools.values())))

    def without(self, body: Object) -> Object:
        """The body of an event as a model may see it."""
        if not self.any:
            return body
        clean: Object = {**body, **self._call(body)}
        if "memory" in body:
            clean["memory"] = _without(body["memory"], [self._memory])
        for name in ("call", "considered"):
            if isinstance(call := body.get(name), dict):
                clean[name] = {**call, **self._call(call)}
        for name in ("calls", "queue", "void"):
            if isinstance(calls := body.get(name), list):
                clean[name] = [{**cast(Object, call), **self._call(cast(Object, call))} for call in calls]
        if isinstance(reply := body.get("reply"), dict):
            shape = self._replies.get((str(body.get("state")), str(reply.get("intent"))), _NONE)
            clean["reply"] = _without(reply, [shape])
        return clean

    def _call(self, call: Object) -> Object:
        if (name := call.get("tool_name")) not in self._tools:
            return {}
        given, came = self._tools[str(name)]
        shapes = {"arguments": given, "result": came}
        return {key: _without(call[key], [shape]) for key, shape in shapes.items() if shape and key in call}


def _marked(shape: Json) -> Object:
    """The schema, if anything in it is secret."""
    return shape if isinstance(shape, dict) and _holds(shape) else _NONE


def _holds(node: Json) -> bool:
    if isinstance(node, dict):
        return node.get("writeOnly") is True or any(map(_holds, node.values()))
    return isinstance(node, list) and any(map(_holds, node))


def _without(value: Json, shapes: Sequence[Object]) -> Json:
    """The value without what any of its schemas, and the alternatives in them, marks."""
    all_of = [shape for given in shapes for shape in _alternatives(given)]
    if any(shape.get("writeOnly") is True for shape in all_of):
        return None
    if isinstance(value, list):
        return [_without(item, _inside(all_of, "items", index)) for index, item in enumerate(value)]
    if isinstance(value, dict):
        inner = {key: _inside(all_of, "properties", key) for key in value}
        kept = {key for key, found in inner.items() if not any(_is_secret(shape) for shape in found)}
        return {key: _without(item, inner[key]) for key, item in value.items() if key in kept}
    return value


def _is_secret(shape: Object) -> bool:
    return any(each.get("writeOnly") is True for each in _alternatives(shape))


def _alternatives(shape: Object) -> Iterator[Object]:
    yield shape
    for word in ("anyOf", "oneOf", "allOf"):
        for each in cast(list[Object], shape.get(word) or []):
            yield from _alternatives(each)


def _inside(shapes: Sequence[Object], word: str, key: str | int) -> list[Object]:
    """The schemas of one item, or of one field."""
    found: list[Json] = []
    for shape in shapes:
        if isinstance(key, int):
            first = cast(list[Json], shape.get("prefixItems") or [])
            found.append(first[key] if key < len(first) else shape.get(word))
        else:
            named = cast(Object, shape.get(word) or {})
            found.append(named[key] if key in named else shape.get("additionalProperties"))
    return [each for each in found if isinstance(each, dict)]
