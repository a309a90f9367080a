"""A reference: an argument that takes its value from the result of an earlier call of the same answer.

`{"$from": 0, "path": "/items/0/id"}`: of the answer's first call, what stands at that place of its result, as a JSON Pointer (RFC 6901);
the path `""` is all of it. It is read and checked when the answer comes, and kept apart from the arguments ever after: what a
result holds is a value, however much it looks like a reference.
"""

from collections.abc import Sequence
from typing import Final, cast

from leverframe.canon import Json, Object
from leverframe.schema import holds_secret, is_secret

FROM: Final = "$from"
LONGEST = 500

WIRE: Final[Object] = {
    "type": "object",
    "properties": {FROM: {"type": "integer"}, "path": {"type": "string"}},
    "required": [FROM, "path"],
    "additionalProperties": False,
}
"""The schema of one, as models are given it."""


def is_one(value: Json) -> bool:
    return isinstance(value, dict) and FROM in value


def read(value: Json, outputs: Sequence[Object]) -> Object:
    """The reference, checked against the output schemas of the calls before its own. Raises ValueError in one line."""
    given = cast("Object", value)
    call, path = given.get(FROM), given.get("path", "")
    if extra := set(given) - {FROM, "path"}:
        raise ValueError(f"a reference has '$from' and 'path', not {min(extra)[:20]!r}")
    if isinstance(call, bool) or not isinstance(call, int) or not 0 <= call < len(outputs):
        earlier = f"of an earlier one, 0 to {len(outputs) - 1}" if outputs else "and this is the first call"
        raise ValueError(f"'$from' is the number of a call {earlier}")
    if not isinstance(path, str) or len(path) > LONGEST:
        raise ValueError(f"'path' is a JSON Pointer of at most {LONGEST} characters, as in '/items/0/id'")
    parts = steps(path)
    way = [beneath(outputs[call], parts[:number]) for number in range(len(parts) + 1)]
    if any(map(is_secret, way)) or holds_secret(way[-1]):
        raise ValueError(f"what stands at {path[:60]!r} is a secret, or holds one; no model sends it on")
    return {FROM: call, "path": path}


def steps(path: str) -> list[str]:
    """The parts of a JSON Pointer. Raises ValueError."""
    if path and not path.startswith("/"):
        raise ValueError("'path' is a JSON Pointer: empty, or beginning with '/'")
    parts = path.split("/")[1:]
    if any("~" in part.replace("~0", "").replace("~1", "") for part in parts):
        raise ValueError("'path' has a '~' that is neither '~0' nor '~1'")
    return [part.replace("~1", "/").replace("~0", "~") for part in parts]


def at(value: Json, parts: Sequence[str]) -> Json:
    """What stands at a place of a result. Raises ValueError where nothing does."""
    for number, part in enumerate(parts):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and _index(part) and int(part) < len(value):
            value = value[int(part)]
        else:
            raise ValueError(_nothing(parts[: number + 1]))
    return value


def beneath(schema: Json, parts: Sequence[str]) -> Object:
    """The schema of such a place, `{}` where it is not known. Raises ValueError where nothing can ever stand."""
    for number, part in enumerate(parts):
        found = _step(schema, part)
        if found is None:
            raise ValueError(_nothing(parts[: number + 1]))
        schema = found
    return schema if isinstance(schema, dict) else {}


def _step(schema: Json, part: str) -> Json:
    """One step down a schema; None where there is none."""
    if not isinstance(schema, dict) or not schema:
        return {}
    for key in ("anyOf", "oneOf"):
        if isinstance(branches := schema.get(key), list):
            found = [step for step in (_step(branch, part) for branch in branches) if step is not None]
            return found[0] if len(found) == 1 else {"anyOf": cast("Json", found)} if found else None
    kinds = schema.get("type", ["object", "array"])
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if "object" in kinds:
        properties = schema.get("properties")
        if isinstance(properties, dict) and part in properties:
            return properties[part]
        rest = schema.get("additionalProperties", not properties)
        if rest is not False:
            return rest if isinstance(rest, dict) else {}
    if "array" in kinds and _index(part):
        return schema.get("items", {})
    return None


def _index(part: str) -> bool:
    return part.isascii() and part.isdigit() and (part == "0" or part[0] != "0") and len(part) < 10


def _nothing(parts: Sequence[str]) -> str:
    place = "/".join(parts)  # not as a pointer: what begins with a slash reads like a file, and errors name none
    return f"the result has nothing at {place if len(place) <= 60 else place[:59] + '…'!r}"
