"""JSON Schemas as providers' structured output takes them, and values as it gives them back.

Strict modes and grammars know a part of JSON Schema, and want every property required. `to_wire` brings a schema there and keeps
its order; what cannot be said in it (lengths, defaults) is said in the description. An optional property becomes required and
nullable; `from_wire` takes a null that stands for "left out" away again, so that the default applies. It is validation that
decides what is right afterwards: nothing here is trusted to have been obeyed.
"""

import json
from collections.abc import Callable, Sequence
from typing import cast

from leverframe.canon import Json, Object

# Everything else of a schema is either said in words, noise, or outside of what strict modes take.
_KEPT = (
    "type",
    "description",
    "enum",
    "anyOf",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "minItems",
    "maxItems",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "format",
    "pattern",
)
_NOISE = frozenset(
    {"title", "examples", "discriminator", "default", "$schema", "$id", "$comment", "readOnly", "writeOnly", "deprecated"}
)
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
_WORDS: dict[str, Callable[[Json], str]] = {
    "minLength": lambda limit: f"at least {limit} characters",
    "maxLength": lambda limit: f"at most {limit} characters",
    "uniqueItems": lambda unique: "no duplicates" if unique else "",
    "format": lambda name: f"format {name}",
    "pattern": lambda pattern: f"matches {pattern}",
}
_RESPELLED = frozenset({"const", "oneOf", "allOf"})
_TELLING = (bool, dict, list)  # values that a schema may have something to say about, beside null
_TYPES: dict[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


def to_wire(schema: Json) -> tuple[Object, bool]:
    """The schema as it is sent, and whether strict modes take it. The input has no references (see `leverframe.schema`)."""
    loose: list[str] = []
    return _wire(schema, loose), not loose


def _wire(schema: Json, loose: list[str]) -> Object:
    if not isinstance(schema, dict) or not schema:
        loose.append("any")  # anything goes: no strict mode can say that
        return {}
    node = _spelled(schema)
    words: list[str] = []
    found: Object = {}
    for key, value in node.items():
        if key in _WORDS and not (key in _KEPT and _strictly(key, value)):
            words.append(_WORDS[key](value))
        elif key not in _NOISE:
            found[key] = value
            if key not in _KEPT:
                loose.append(key)
    if words := [word for word in words if word]:
        found["description"] = _described(found.get("description"), ", ".join(words))
    if "anyOf" in found:
        found["anyOf"] = [_wire(item, loose) for item in cast("list[Json]", found["anyOf"])]
    if "items" in found:
        found["items"] = _wire(found["items"], loose)
    if found.get("type") == "object":
        _wire_object(node, found, loose)
    elif "array" in types(found, ()) and "items" not in found:
        loose.append("items")
    return {key: found[key] for key in sorted(found, key=_place)}


def _wire_object(node: Object, found: Object, loose: list[str]) -> None:
    properties = cast("Object", node.get("properties", {}))
    extra = node.get("additionalProperties", bool(not properties))
    if extra:
        loose.append("additionalProperties")
    needed = cast("list[Json]", node.get("required", []))
    wired: Object = {}
    for name, child in properties.items():
        wired[name] = _wire(child, loose) if name in needed else _optional(child, _wire(child, loose))
    found["properties"] = wired
    found["required"] = list(properties)
    found["additionalProperties"] = extra


def _optional(schema: Json, wired: Object) -> Object:
    """Nullable, with the default in words."""
    default = schema.get("default") if isinstance(schema, dict) else None
    text = json.dumps(default, ensure_ascii=False)
    note = f"null means {text}" if default is not None and len(text) <= 40 else ""
    if not wired or "null" in types(wired, ("null",)):
        return {**wired, **({"description": _described(wired.get("description"), note)} if note and wired else {})}
    description = _described(wired.pop("description", None), note)
    branches = cast("list[Json]", wired["anyOf"]) if set(wired) == {"anyOf"} else [wired]
    nullable: Object = {"description": description} if description else {}
    nullable["anyOf"] = [*branches, {"type": "null"}]
    return nullable


def _spelled(schema: Object) -> Object:
    """One spelling for one thing: `const` as `enum`, `oneOf` as `anyOf`, an `allOf` of one as itself."""
    if not _RESPELLED & schema.keys():
        return schema
    node: Object = dict(schema)
    if "const" in node:
        value = node.pop("const")
        node = {"type": _TYPES.get(type(value), "object"), **node, "enum": [value]}
    if "oneOf" in node:
        node["anyOf"] = node.pop("oneOf")
    whole = node.get("allOf")
    if isinstance(whole, list) and len(whole) == 1 and isinstance(whole[0], dict):
        del node["allOf"]
        node |= {key: value for key, value in whole[0].items() if key not in node}
    return node


def _strictly(key: str, value: Json) -> bool:
    """Formats and patterns that providers take: theirs; anchored ones without look-around."""
    if key == "format":
        return value in _FORMATS
    return isinstance(value, str) and value.startswith("^") and value.endswith("$") and "(?" not in value


def _described(description: Json, note: str) -> str:
    first = description if isinstance(description, str) else ""
    return f"{first} ({note})" if first and note else first or note


def _place(key: str) -> int:
    return _KEPT.index(key) if key in _KEPT else len(_KEPT)


def types(schema: Json, anything: Sequence[str]) -> Sequence[str]:
    """The JSON types a schema admits; `anything` if it does not say."""
    if not isinstance(schema, dict):
        return anything
    node = _spelled(schema)
    if isinstance(node.get("type"), str):
        return [cast("str", node["type"])]
    if isinstance(node.get("type"), list):
        return cast("list[str]", node["type"])
    if isinstance(node.get("enum"), list):
        return [_TYPES.get(type(value), "object") for value in cast("list[Json]", node["enum"])]
    if isinstance(node.get("anyOf"), list):
        return [name for branch in cast("list[Json]", node["anyOf"]) for name in types(branch, anything)]
    return anything


def from_wire(value: Json, schema: Json, path: str) -> Json:
    """A value without the nulls that mean "left out".

    Raises ValueError for a boolean in place of a number: Python would take it for 0 or 1.
    """
    if isinstance(value, bool) and "boolean" not in types(schema, ("boolean",)):
        raise ValueError(f"{path}: {json.dumps(value)} is no {' or '.join(types(schema, ()))}")
    if isinstance(value, list):
        items = _branch(schema, "array").get("items", {})
        return [from_wire(item, items, f"{path}[{index}]") for index, item in enumerate(value)]
    if not isinstance(value, dict) or not any(item is None or isinstance(item, _TELLING) for item in value.values()):
        return value  # text and numbers stay as they are
    node = _branch(schema, "object", value)
    properties = cast("Object", node.get("properties", {}))
    needed = cast("list[Json]", node.get("required", []))
    return {
        name: from_wire(item, properties.get(name, {}), f"{path}.{name}")
        for name, item in value.items()
        if not (item is None and name in properties and name not in needed and "null" not in types(properties[name], ("null",)))
    }


def _branch(schema: Json, kind: str, value: Object | None = None) -> Object:
    """The branch of a union that a value is meant for; an empty schema if none is."""
    if not isinstance(schema, dict):
        return {}
    node = _spelled(schema)
    if "anyOf" in node:
        for item in cast("list[Json]", node["anyOf"]):
            if branch := _branch(item, kind, value):
                return branch
        return {}
    if kind not in types(node, (kind,)) or (value is not None and not _meant(value, node)):
        return {}
    return node


def _meant(value: Object, node: Object) -> bool:
    properties = cast("Object", node.get("properties", {}))
    if not set(value) <= set(properties):
        return bool(node.get("additionalProperties", not properties))
    tags = ((name, _spelled(child).get("enum")) for name, child in properties.items() if isinstance(child, dict))
    return all(not isinstance(tag, list) or value.get(name) in tag or value.get(name) is None for name, tag in tags)


def plainer(schema: Json, without: Sequence[str]) -> Object:
    """A schema as sent, for an API that knows less: these keywords are said in the description instead."""
    node = cast("Object", schema)
    found: Object = {}
    for key, value in node.items():
        if key == "properties":
            found[key] = {name: plainer(child, without) for name, child in cast("Object", value).items()}
        elif key == "items":
            found[key] = plainer(value, without)
        elif key == "anyOf":
            found[key] = [plainer(child, without) for child in cast("list[Json]", value)]
        elif key not in without:
            found[key] = value
    said = ", ".join(f"{_SAID[key]} {node[key]}" for key in without if key in node)
    if said:
        found["description"] = _described(found.get("description"), said)
    return {key: found[key] for key in sorted(found, key=_place)}


_SAID = {
    "minimum": "at least",
    "maximum": "at most",
    "exclusiveMinimum": "more than",
    "exclusiveMaximum": "less than",
    "multipleOf": "a multiple of",
    "minItems": "items at least",
    "maxItems": "items at most",
    "pattern": "matches",
}
