"""A memory out of an example: what the example names, and for the rest what the memory's schema asks for, always the same."""

from collections.abc import Mapping
from typing import Never, cast

from leverframe import schema
from leverframe.canon import Json, Object
from leverframe.errors import InputError
from leverframe.machine import Machine
from leverframe.start import read_input

_FORMATS = {
    "date-time": "2026-01-05T09:00:00Z",
    "date": "2026-01-05",
    "time": "09:00:00",
    "duration": "P1D",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "email": "ann@example.org",
    "uri": "https://example.org/",
}


def memory_of(machine: Machine[Never], when: str | Object) -> Object:
    """The memory of a run that an example is about. Words alone fill the one text that is required, or else the first.

    `{}` in an example is any object; one is made. Raises InvalidMemory where what comes out does not fit.
    """
    shape = schema.schema_of(machine.memory)
    fields = cast("Object", shape.get("properties") or {})
    needed = cast("list[str]", shape.get("required") or [])
    if isinstance(when, str):
        texts = [name for name in fields if _is_text(fields[name], shape)]
        first = next((name for name in texts if name in needed), next(iter(texts), None))
        if first is None:
            raise InputError(f"an example in words, and {machine.memory.__name__} has no text; name the fields")
        when = {first: when}
    given: Object = {name: _given(value, fields[name], shape, name) for name, value in when.items() if name in fields}
    given |= {name: made(fields[name], shape, name) for name in needed if name not in given}
    return read_input(machine, given)


def text_of(when: str | Object) -> str:
    """The words of an example, which its reply may take up."""
    words = [when] if isinstance(when, str) else [value for name, value in when.items() if name != "window"]
    return next((word for word in words if isinstance(word, str)), "")


def _is_text(shape: Json, root: Object) -> bool:
    return isinstance(shape, dict) and _resolved(shape, root).get("type") == "string" and "enum" not in shape


def _given(value: Json, shape: Json, root: Object, name: str) -> Json:
    if not isinstance(value, dict):
        return value
    whole = made(shape, root, name)
    return {**whole, **value} if isinstance(whole, dict) else value


def made(shape: Json, root: Object, name: str) -> Json:
    """A value that fits a JSON Schema, the plainest one."""
    if not isinstance(shape, dict):
        return None
    node = _resolved(shape, root)
    if "const" in node:
        return node["const"]
    if values := cast("list[Json]", node.get("enum") or []):
        return values[0]
    match node.get("type"):
        case "object":
            fields = cast("Object", node.get("properties") or {})
            return {field: made(fields.get(field, {}), root, field) for field in cast("list[str]", node.get("required") or [])}
        case "array":
            return [made(node.get("items", {}), root, name) for _ in range(cast("int", node.get("minItems") or 0))]
        case "string":
            text = _FORMATS.get(str(node.get("format")), name)
            return text.ljust(cast("int", node.get("minLength") or 0), "x")
        case "integer" | "number":
            return _number(node)
        case "boolean":
            return False
        case _:
            return None


def _number(node: Mapping[str, Json]) -> int | float:
    least = cast("float", node.get("minimum", node.get("exclusiveMinimum", 0)))
    most = cast("float", node.get("maximum", node.get("exclusiveMaximum", least + 2)))
    return 1 if least < 1 < most else least + 1 if least + 1 <= most else least


def _resolved(shape: Object, root: Object) -> Object:
    """Through references, and into the first alternative that is not null."""
    if isinstance(ref := shape.get("$ref"), str):
        inner = cast("Object", root.get("$defs") or {}).get(ref.removeprefix("#/$defs/"))
        return _resolved(inner, root) if isinstance(inner, dict) else {}
    options = cast("list[Object]", shape.get("anyOf") or shape.get("oneOf") or shape.get("allOf") or [])
    wanted = [option for option in options if option.get("type") != "null"]
    return _resolved(wanted[0], root) if wanted else shape
