"""JSON Schemas in one normal form, and two hashes of each.

The *contract* is what must stay so that a stored call or memory still means the same: references inlined, no titles, descriptions or
defaults, `const` as `enum`, `oneOf` as `anyOf`, sorted. It is the same text under pydantic 2.7 to 2.14, and a change of it blocks runs.
The *text* is all of it, descriptions too (they are prompts): a change is shown, never blocking.
"""

import json
from collections.abc import Hashable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol, cast

from leverframe.canon import Json, Object, canonical, digest
from leverframe.errors import DeclarationError

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
    from pydantic_core import core_schema

_DROPPED = frozenset({"title", "description", "default", "examples", "discriminator", "$defs"})
_WORDS = frozenset({"title", "description", "examples"})
_VALUES = frozenset({"default", "enum", "const"})
_NAMED = frozenset({"properties", "patternProperties", "$defs"})
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum", "multiple_of": "multipleOf"}


@lru_cache(maxsize=1)
def _generator() -> "type[GenerateJsonSchema]":
    from pydantic.json_schema import GenerateJsonSchema  # when a schema is made, not when an agent is declared

    class Schema(GenerateJsonSchema):
        """pydantic's own, with one Decimal for all versions: a number (a decimal string is accepted too)."""

        def decimal_schema(self, schema: "core_schema.DecimalSchema") -> "JsonSchemaValue":
            given = cast("Mapping[str, float]", schema)
            return {"type": "number"} | {name: float(given[bound]) for bound, name in _BOUNDS.items() if bound in given}

    return Schema


@lru_cache(maxsize=1024)
def adapter(annotation: Hashable) -> "TypeAdapter[object]":
    """One TypeAdapter for one type; building it is what costs."""
    from pydantic import TypeAdapter

    return TypeAdapter(cast("type[object]", annotation))


def schema_of(annotation: Hashable, mode: "JsonSchemaMode" = "validation") -> Object:
    """The JSON Schema of a model or any type, references inlined. Raises DeclarationError for one that has none or holds a secret."""
    return cast("Object", json.loads(_schema(annotation, mode)))  # the caller's own: it may be changed


@lru_cache(maxsize=1024)
def _schema(annotation: Hashable, mode: "JsonSchemaMode") -> str:
    from pydantic import PydanticUserError

    name = cast("str", getattr(annotation, "__name__", annotation))
    try:
        raw = adapter(annotation).json_schema(schema_generator=_generator(), mode=mode)
        schema = inlined(cast("Object", raw))
        canonical(schema)
    except PydanticUserError as error:
        raise DeclarationError(f"{name}: {no_schema(error)}") from None
    except ValueError:
        raise DeclarationError(f"{name}: a default or a bound is NaN or infinite, which JSON cannot hold; use None") from None
    if place := _secret(schema):
        raise DeclarationError(
            f"{name}{place}: is a secret, and all that is declared here is stored, logged and shown; "
            "keep the name of the secret, and read it where it is used"
        )
    return json.dumps(schema)


def no_schema(error: Exception) -> str:
    """What pydantic says of a type that JSON cannot hold, or that is not there yet, in one line."""
    said = str(error).partition("\n")[0].partition(". ")[0].rstrip(".")
    return f"{said}; use types that JSON can hold, importable where they are named"


def _secret(node: Json) -> str | None:
    """Where a schema holds pydantic's SecretStr or SecretBytes, which a database would get as asterisks."""
    if isinstance(node, dict) and node.get("writeOnly") is True and node.get("format") == "password":
        return ""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inner:
        if (found := _secret(value)) is not None:
            return f".{key}{found}" if isinstance(node, dict) and key not in ("properties", "anyOf", "items") else found
    return None


def alternatives(schema: Object) -> Iterator[Object]:
    """The schema, and those that may or must hold beside it."""
    yield schema
    for word in ("anyOf", "oneOf", "allOf"):
        for each in cast("list[Object]", schema.get(word) or []):
            yield from alternatives(each)


def is_secret(schema: Object) -> bool:
    """What stands there may be marked `writeOnly`: it goes in, and is shown to nobody."""
    return any(each.get("writeOnly") is True for each in alternatives(schema))


def holds_secret(node: Json) -> bool:
    """A schema that is marked `writeOnly`, or anything in it."""
    if isinstance(node, dict):
        return node.get("writeOnly") is True or any(map(holds_secret, node.values()))
    return isinstance(node, list) and any(map(holds_secret, node))


def inlined(schema: Object) -> Object:
    """Without `$ref` and `$defs`. Raises DeclarationError for a schema that contains itself."""
    definitions = cast("Mapping[str, Json]", schema.get("$defs", {}))
    return cast("Object", _inline(schema, definitions, ()))


def _inline(node: Json, definitions: Mapping[str, Json], inside: tuple[str, ...]) -> Json:
    if isinstance(node, list):
        return [_inline(item, definitions, inside) for item in node]
    if not isinstance(node, dict):
        return node
    reference = node.get("$ref")
    if isinstance(reference, str):
        name = reference.removeprefix("#/$defs/")
        if name in inside:
            raise DeclarationError(f"schema {name} contains itself; models cannot be bound by it: flatten it or bound its depth")
        if name not in definitions:
            raise DeclarationError(f"schema refers to {reference!r}, which it does not define")
        rest = {key: _inline(value, definitions, inside) for key, value in node.items() if key not in ("$ref", "$defs")}
        target = _inline(definitions[name], definitions, (*inside, name))
        return {**cast("Object", target), **rest}
    return {key: _inline(value, definitions, inside) for key, value in node.items() if key != "$defs"}


def contract(schema: Object) -> str:
    """The hash of what must stay."""
    return digest(_normal(schema))


def text(schema: Object) -> str:
    """The hash of all of it."""
    return digest(schema)


def wordless(node: Json, *, names: bool = False) -> Json:
    """The schema without the words in it, which people and models read and nothing is held to."""
    if isinstance(node, list):
        return [wordless(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: value if key in _VALUES and not names else wordless(value, names=key in _NAMED and not names)
        for key, value in node.items()
        if names or key not in _WORDS
    }


def _normal(node: Json, *, names: bool = False) -> Json:
    if isinstance(node, list):
        return [_normal(item) for item in node]
    if not isinstance(node, dict):
        return node
    if names:  # a mapping from property names to schemas: a property may well be called "title"
        return {key: _normal(value) for key, value in node.items()}
    result: Object = {}
    for key, value in node.items():
        if key in _DROPPED:
            continue
        if key == "const":
            result["enum"] = [value]
        elif key == "oneOf":
            result["anyOf"] = _normal(value)
        elif key == "required" and isinstance(value, list):
            result[key] = cast("Json", sorted(cast("list[str]", value)))
        else:
            result[key] = _normal(value, names=key in ("properties", "patternProperties"))
    if (
        isinstance(result.get("enum"), list)
        and "type" in result
        and all(isinstance(v, str) for v in cast("list[Json]", result["enum"]))
    ):
        result["type"] = "string"
    return result


def malformed(schema: Object) -> str | None:
    """Why it is no JSON Schema (draft 2020-12, patterns included), in one line with the place; None if it is one."""
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return f"{error.json_path}: {error.message[:160]}"
    except (OverflowError, RecursionError) as error:
        return f"$: cannot be compiled: {error}"
    return None


def violation(value: Json, schema: Object) -> str | None:
    """What a value violates of a JSON Schema that came from outside, in one line; None if it fits."""
    from jsonschema import Draft202012Validator, ValidationError

    checker = cast("_Checker", Draft202012Validator(schema))
    for error in cast("Iterable[ValidationError]", checker.iter_errors(value)):
        return f"{error.json_path}: does not fit {error.validator!r}: {str(error.validator_value)[:80]}"  # never the value itself
    return None


class _Checker(Protocol):
    def iter_errors(self, instance: object, /) -> Iterable[Exception]: ...
