"""A definition from outside: text that may be anything, read so that everything wrong with it is said at once, and nothing is raised.

The shape is a JSON Schema that ships beside this module (`leverframe schema definition`, docs/definition.md).
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Protocol, cast

from leverframe.canon import Json, Object, admit
from leverframe.check.codes import finding
from leverframe.check.finding import Finding, Place
from leverframe.errors import InputError, did_you_mean
from leverframe.schema import malformed

SCHEMA = Path(__file__).with_name("definition.schema.json")
LARGEST = 64 * 1024 * 1024

KINDS = ("work", "fetch", "ask", "act", "approve", "consult", "wait", "delegate", "compact", "end")


@cache
def schema() -> Object:
    """The JSON Schema of a definition, draft 2020-12."""
    return cast("Object", json.loads(SCHEMA.read_text("utf-8")))


def read(text: str, file: str) -> tuple[Object | None, list[Finding]]:
    """The data, and what is wrong with the text; None where there is no data to speak of."""
    twice: list[str] = []

    def pairs(items: list[tuple[str, Json]]) -> Object:
        twice.extend(name for name, times in Counter(name for name, _ in items).items() if times > 1)
        return dict(items)

    if len(text) > LARGEST:
        return None, [_unshaped(f"is over {LARGEST // 1024 // 1024} MiB")]
    try:
        data = admit(json.loads(text.removeprefix("\ufeff"), object_pairs_hook=pairs), what="$", limit=LARGEST)
    except RecursionError:
        return None, [_unshaped("is nested too deeply")]
    except InputError as error:
        return None, [_unshaped(str(error))]
    except json.JSONDecodeError as error:
        return None, [_unshaped(f"is not JSON: {error}", Place(file, error.lineno))]
    except ValueError:
        return None, [_unshaped("holds a number of thousands of digits; a number has at most 308")]
    if not isinstance(data, dict):
        return None, [_unshaped(f"is {_what(data)}; a definition is a JSON object")]
    doubled = "the key {!r} stands twice in one object, so the first is lost"
    return data, [finding("LF110", name_of(data), doubled.format(name), state=_state(data, name)) for name in sorted(set(twice))]


def violations(body: Object) -> Iterator[tuple[Finding, tuple[str | int, ...]]]:
    """What violates the schema, each with the way to it; and the schemas in it that are none."""
    for error in _errors(body):
        yield _violation(body, tuple(error.absolute_path), f"{error.json_path}: {_said(error)}")
    for path, embedded in _embedded(body):
        if isinstance(embedded, dict) and (problem := malformed(embedded)):
            where = "".join(f".{step}" if str(step).isidentifier() else f"[{step!r}]" for step in path)
            yield _violation(body, path, f"${where}{problem.removeprefix('$')}")


def _violation(body: Object, path: tuple[str | int, ...], message: str) -> tuple[Finding, tuple[str | int, ...]]:
    state = str(path[1]) if len(path) > 1 and path[0] == "states" else None
    return finding("LF001", name_of(body), message, state=state), path


def _embedded(body: Object) -> Iterator[tuple[tuple[str | int, ...], Json]]:
    """What stands where a JSON Schema does, each with the way to it."""
    yield ("memory",), body.get("memory")
    for name, given in _object(body.get("states")).items():
        state = _object(given)
        yield ("states", name, "returns"), state.get("returns")
        choices = state.get("choices")
        for number, choice in enumerate(choices if isinstance(choices, list) else []):
            yield ("states", name, "choices", number, "schema"), _object(choice).get("schema")
    for name, given in _object(body.get("tools")).items():
        for key in ("input", "output"):
            yield ("tools", name, key), _object(given).get(key)


def skeleton(body: Object) -> Object:
    """The states of a definition of the wrong shape, their kinds and edges: enough to say which references mean nothing and which
    states cannot be reached. What has no kind counts as an End, so that nothing is said that may be wrong."""
    states: Object = {}
    for name, given in _object(body.get("states")).items():
        state = _object(given)
        edges: Object = {outcome: to for outcome, to in _object(state.get("edges")).items() if isinstance(to, str)}
        kind = state.get("kind")
        states[name] = {"kind": kind if kind in KINDS else "end", "edges": edges}
    start, exceeded = body.get("start"), _object(body.get("limits")).get("exceeded")
    return {
        "name": name_of(body),
        "start": start if isinstance(start, str) else "",
        "states": states,
        "tools": {},
        "rules": [],
        "limits": {"exceeded": exceeded if isinstance(exceeded, str) else None},
    }


def name_of(body: Object) -> str:
    name = body.get("name")
    return name if isinstance(name, str) else ""


def _state(body: Object, name: str) -> str | None:
    return name if name in _object(body.get("states")) else None


def _unshaped(message: str, place: Place | None = None) -> Finding:
    return finding("LF001", "", message, place=place)


def _object(value: Json) -> Object:
    return value if isinstance(value, dict) else {}


def _what(value: Json) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    return (
        "text"
        if isinstance(value, str)
        else "a list"
        if isinstance(value, list)
        else "an object"
        if isinstance(value, dict)
        else "a number"
    )


# ── the schema's words as ours ───────────────────────────────────────────────────────────────────────────────────────────────


class _Violation(Protocol):
    """What we use of `jsonschema.ValidationError`."""

    @property
    def absolute_path(self) -> Sequence[str | int]: ...
    @property
    def json_path(self) -> str: ...
    @property
    def validator(self) -> str: ...
    @property
    def validator_value(self) -> Json: ...
    @property
    def instance(self) -> Json: ...
    @property
    def message(self) -> str: ...
    @property
    def schema(self) -> Object: ...


class _Checker(Protocol):
    def iter_errors(self, instance: object, /) -> Iterator[_Violation]: ...


def _errors(body: Object) -> Iterator[_Violation]:
    return _checker().iter_errors(body)


@cache
def _checker() -> _Checker:
    from jsonschema import Draft202012Validator, validators

    extended = cast("Callable[..., Callable[[Object], _Checker]]", validators.extend)  # pyright: ignore[reportUnknownMemberType]
    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", _integer)
    return extended(Draft202012Validator, type_checker=types)(schema())


def _integer(_: object, given: object) -> bool:
    """JSON Schema takes 3.0 for an integer, too; what executes a definition does not."""
    return type(given) is int


def _said(error: _Violation) -> str:
    """In one line. Values are cut: they may be long."""
    expected, given = error.validator_value, error.instance
    match error.validator:
        case "type":
            wanted = " or ".join(cast("list[str]", expected)) if isinstance(expected, list) else str(expected)
            if "integer" in wanted and isinstance(given, float):
                return f"is {_cut(given)}, not {wanted}: an integer has no point and no exponent"
            return f"is {_what(given)}, not {wanted}"
        case "enum" | "const":
            known = [str(value) for value in expected] if isinstance(expected, list) else [str(expected)]
            return f"is {_cut(given)}, not {' or '.join(known)}.{did_you_mean(str(given)[:80], known)}"
        case "required":
            known = cast("list[str]", expected)
            return f"lacks {' and '.join(repr(name) for name in known if name not in _object(given))}"
        case "additionalProperties":
            known = list(_object(error.schema.get("properties")))
            extra = [name for name in _object(given) if name not in known]
            return "; ".join(f"has the unknown key {_cut(name)}.{did_you_mean(name[:80], known)}" for name in extra[:5])
        case "not":
            return "does not belong here, beside what stands there"
        case "dependentRequired":
            missing = [
                name for key, names in _object(expected).items() if key in _object(given) for name in cast("list[str]", names)
            ]
            return f"lacks {' and '.join(repr(name) for name in missing if name not in _object(given))}"
        case "minItems" | "minProperties":
            return "is empty" if expected == 1 else error.message
        case "anyOf":
            return f"lacks {' or '.join(_wanted(form) for form in cast('list[Object]', expected))}"
        case _:
            return error.message if len(error.message) <= 200 else error.message[:197] + "..."


def _wanted(form: Object) -> str:
    return " and ".join(repr(name) for name in cast("list[str]", form.get("required", [])))


def _cut(value: Json) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
