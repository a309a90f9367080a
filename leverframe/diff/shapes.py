"""What a change of a JSON Schema means beside its shape: fields that are no longer secret, and fields with another default."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

from leverframe.canon import Json, Object, canonical

_DATA = frozenset({"default", "examples", "enum", "const", "$defs", "$ref", "required"})
_ITEMS = frozenset({"items", "prefixItems", "additionalProperties", "contains"})


@dataclass
class _Field:
    """All that a schema says of one field, in any of its alternatives."""

    secret: bool = False  # it, or what it stands in
    defaults: list[str] = field(default_factory=list[str])


def unveiled(was: Object, now: Object) -> list[str]:
    """The fields that were secret and are still there, and no longer are secret; of those within each other the outermost."""
    before, after = _fields(was), _fields(now)
    found = [name for name, one in before.items() if one.secret and name in after and not after[name].secret]
    return [name or "all of it" for name in found if not any(name.startswith((f"{each}.", f"{each}[")) for each in found)]


def defaults(was: Object, now: Object) -> list[str]:
    """`the default of asked was 0, is -1000`"""
    before, after = _fields(was), _fields(now)
    return [
        f"the default of {name or 'all of it'} was {_short(one.defaults)}, is {_short(after[name].defaults)}"
        for name, one in before.items()
        if name in after and one.defaults != after[name].defaults
    ]


def _short(found: list[str]) -> str:
    text = ", ".join(found) or "none"
    return text if len(text) <= 40 else f"{text[:37]}..."


def _fields(schema: Object) -> dict[str, _Field]:
    """Every field by its name from the outermost one on; `x[]` is what stands in a list or under any name."""
    shared, found = cast("Object", schema.get("$defs") or {}), dict[str, _Field]()
    for name, node, secret in _nodes(schema, shared, "", False, frozenset()):
        one = found.setdefault(name, _Field())
        one.secret = one.secret or secret
        one.defaults += [canonical(node["default"])] if "default" in node else []
    return found


def _nodes(node: Json, shared: Object, name: str, secret: bool, inside: frozenset[str]) -> Iterator[tuple[str, Object, bool]]:
    for item in node if isinstance(node, list) else ():
        yield from _nodes(item, shared, name, secret, inside)
    if not isinstance(node, dict):
        return
    secret = secret or node.get("writeOnly") is True
    yield name, node, secret
    reference = str(node.get("$ref", "")).removeprefix("#/$defs/")
    if reference in shared and reference not in inside:
        yield from _nodes(shared[reference], shared, name, secret, inside | {reference})
    for key, inner in node.items():
        if key in ("properties", "patternProperties") and isinstance(inner, dict):
            for each, shape in inner.items():
                yield from _nodes(shape, shared, f"{name}.{each}" if name else each, secret, inside)
        elif key not in _DATA:
            yield from _nodes(inner, shared, f"{name}[]" if key in _ITEMS else name, secret, inside)
