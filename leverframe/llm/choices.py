"""What may be answered: the replies and tools of an Ask as one schema, and an answer read back through it.

The schema asks for one object `{"next": …}`: any of the choices, told apart by `intent`, which is the first property of each (a
model that writes it later has chosen before it says what). Replies are flat, tools carry `arguments`. An answer is validated
again whatever the provider promised, and what is wrong with it is said in one line that repeats no more of it than a few
characters.
"""

import inspect
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, cast

from pydantic import ValidationError

from leverframe import schema
from leverframe.canon import MAX_ARGUMENTS, MAX_DEPTH, Json, Object, admit, ordered
from leverframe.errors import BadCompletion, DeclarationError, InputError, TooLarge, did_you_mean
from leverframe.llm.wire import from_wire, to_wire, types
from leverframe.state import Call, Reply, Runs
from leverframe.tool import compact

_MESSAGE = 300
_NAME = 24  # a longer key is no name


class Admits(Protocol):
    """What is needed of a tool; `leverframe.tool.Tool` is one."""

    @property
    def name(self) -> str: ...
    @property
    def doc(self) -> str: ...
    @property
    def input(self) -> Object: ...
    def admit(self, arguments: object) -> Object: ...


@dataclass(frozen=True, slots=True)
class Option:
    """One choice; made by `option`. Without a `reply` or a `tool` its schema alone validates."""

    intent: str
    doc: str
    schema: Object
    is_tool: bool
    reply: type[Reply[str]] | None = None
    tool: Admits | None = None


def option(intent: str, doc: str, schema: Object, is_tool: bool) -> Option:
    """A choice from plain data: of a reply the schema of its fields, of a tool that of its arguments."""
    return Option(intent, doc or str(schema.get("description", "")), schema, is_tool)


@dataclass(frozen=True, slots=True)
class Picked:
    """The choice an answer made: a `call`, or a `reply` (None where only its schema is known), its data in `fields`."""

    intent: str
    fields: Object
    reply: Reply[str] | None = None
    call: Call[object] | None = None
    confidence: float | None = None
    unsure: bool = False

    def json(self) -> Object:
        """As it is stored and shown: `{"tool_name", "arguments"}`, or `{"intent", …}`."""
        return self.call.json() if self.call else {"intent": self.intent, **self.fields}


class Choices:
    """The choices of one Ask. Make it once and keep it: the schema is worked out on first use.

    With a `threshold` every choice states its confidence from 0 to 1; `Picked.unsure` says that it is below.
    """

    def __init__(self, replies: "Sequence[Runs[object] | type[Reply[str]] | Option]", threshold: float | None = None) -> None:
        self.options = {choice.intent: choice for choice in map(_option, replies)}
        self.threshold = threshold
        if len(self.options) < len(replies) or not replies:
            raise DeclarationError(f"choices {', '.join(self.options) or '(none)'}: offer at least one, and each intent once")
        own = {"intent", "confidence"} if threshold is not None else {"intent"}
        for choice in self.options.values():
            if not choice.is_tool and (taken := own & set(cast(Object, choice.schema.get("properties", {})))):
                raise DeclarationError(
                    f"reply {choice.intent}: a field called {min(taken)!r} stands in the choice's way; rename it"
                )

    @property
    def intents(self) -> list[str]:
        return list(self.options)

    @property
    def schema(self) -> Object:
        """The JSON Schema that is sent, in its own order."""
        return self._wired[0]

    @property
    def strict(self) -> bool:
        """Whether the schema stays within what providers' strict modes take."""
        return self._wired[1]

    @cached_property
    def schema_text(self) -> str:
        """The schema as JSON text; equal texts are equal schemas in equal order."""
        return ordered(self.schema)

    @cached_property
    def _wired(self) -> tuple[Object, bool]:
        branches = [self._branch(choice) for choice in self.options.values()]
        whole: Object = {
            "type": "object",
            "properties": {"next": {"anyOf": [branch for branch, _ in branches]}},
            "required": ["next"],
            "additionalProperties": False,
        }
        return whole, all(strict for _, strict in branches)

    def _branch(self, choice: Option) -> tuple[Object, bool]:
        wired, strict = to_wire(choice.schema)
        wired.pop("description", None)
        first: Object = {"intent": {"type": "string", "enum": [choice.intent]}}
        if self.threshold is not None:
            first["confidence"] = {"type": "number", "description": "How sure you are, from 0 to 1"}
        properties = {**first, **({"arguments": wired} if choice.is_tool else cast(Object, wired["properties"]))}
        doc: Object = {"description": choice.doc} if choice.doc else {}
        closed: Object = {"properties": properties, "required": list(properties), "additionalProperties": False}
        return {"type": "object", **doc, **closed}, strict

    @cached_property
    def described(self) -> str:
        """Every choice in the form it is answered in, with its documentation: what `{{ choices }}` shows."""
        return "\n".join(line for choice in self.options.values() for line in self._lines(choice))

    def _lines(self, choice: Option) -> Iterator[str]:
        fields = cast(Object, choice.schema.get("properties", {}))
        inner = _fields(choice.schema, fields)
        sure = ', "confidence": number from 0 to 1' if self.threshold is not None else ""
        rest = f', "arguments": {{{inner}}}' if choice.is_tool else f", {inner}" if inner else ""
        doc = f"  – {' '.join(choice.doc.split())}" if choice.doc else ""
        yield f'- {{"intent": {json.dumps(choice.intent, ensure_ascii=False)}{sure}{rest}}}{doc}'
        for name, field in fields.items():
            if isinstance(field, dict) and isinstance(text := field.get("description"), str):
                yield f"    {name}: {' '.join(text.split())}"

    def parse(self, chosen: object) -> Picked:
        """The choice an answer made, validated. Raises BadCompletion."""
        try:
            return self._parse(chosen)
        except TooLarge as error:  # its path is as long as what it names; and looking for secrets in 10 MB would take a second
            raise BadCompletion(f"next: {str(error).rpartition(': ')[2]}") from None
        except (InputError, ValueError) as error:
            raise BadCompletion(_scrubbed(str(error), _without_intent(chosen), self.schema_text)) from None

    def _parse(self, chosen: object) -> Picked:
        given = admit(chosen, what="next", limit=MAX_ARGUMENTS)
        if not isinstance(given, dict):
            raise ValueError("next: not an object with an 'intent'")
        choice = self._chosen(given.pop("intent", None))
        confidence = self._confidence(choice, given)
        if choice.is_tool:
            fields, extra = given.pop("arguments", None), given
        else:
            fields, extra = given, {}
        if extra:
            raise ValueError(f"{choice.intent}: unknown key {min(extra)[:20]!r} beside 'arguments'")
        if not isinstance(fields, dict):
            raise ValueError(f"{choice.intent}: 'arguments' is missing or not an object")
        fields = cast(Object, from_wire(fields, choice.schema, choice.intent))
        unsure = confidence is not None and self.threshold is not None and confidence < self.threshold
        return _picked(choice, fields, confidence, unsure)

    def _chosen(self, intent: Json) -> Option:
        if isinstance(intent, str) and intent in self.options:
            return self.options[intent]
        if not isinstance(intent, str):
            raise ValueError(f"next: has no 'intent'; choose one of {', '.join(self.options)}")
        near = did_you_mean(intent[:80], list(self.options))
        shown = intent[:80] if near else intent[:3] + "…"  # near a known name it is a slip, else it may be anything
        raise ValueError(f"intent {shown!r} is not offered; choose one of {', '.join(self.options)}.{near}")

    def _confidence(self, choice: Option, given: Object) -> float | None:
        if self.threshold is None:
            return None
        value = given.pop("confidence", None)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ValueError(f"{choice.intent}: 'confidence' is a number from 0 to 1")
        return float(value)


def _option(given: "Runs[object] | type[Reply[str]] | Option") -> Option:
    if isinstance(given, Option):
        return given
    if isinstance(given, type):
        if not given.intent:
            raise DeclarationError(f'reply {given.__name__} has no intent; derive it from Reply[Literal["…"]]')
        return Option(given.intent, inspect.cleandoc(given.__doc__ or ""), schema.schema_of(given), False, reply=given)
    tool = cast(Admits, given)
    return Option(tool.name, tool.doc, tool.input, True, tool=tool)


def _picked(choice: Option, fields: Object, confidence: float | None, unsure: bool) -> Picked:
    reply: Reply[str] | None = None
    if choice.tool is not None:
        fields = choice.tool.admit(fields)
    elif choice.reply is not None:
        try:
            reply = choice.reply.model_validate(fields)
        except ValidationError as error:
            raise ValueError(f"{choice.intent}: {compact(error)}") from None
        fields = cast(Object, admit(reply.model_dump(mode="json", by_alias=True), what=choice.intent))
    elif problem := schema.violation(fields, choice.schema):
        raise ValueError(f"{choice.intent}: {problem}")
    call: Call[object] | None = Call(choice.intent, fields) if choice.is_tool else None
    return Picked(choice.intent, fields, reply, call, confidence, unsure)


def _fields(node: Object, fields: Object) -> str:
    needed = cast(list[Json], node.get("required", []))
    said = ((json.dumps(name, ensure_ascii=False), _sketch(field, name in needed)) for name, field in fields.items())
    return ", ".join(f"{name}: {kind}" for name, kind in said)


def _sketch(field: Json, needed: bool = True) -> str:
    """A schema in a few characters: `string`, `"a" | "b"`, `[integer, …]`."""
    node = field if isinstance(field, dict) else {}
    if isinstance(options := node.get("enum", [node["const"]] if "const" in node else None), list):
        text = " | ".join(json.dumps(value, ensure_ascii=False) for value in options)
    elif isinstance(options := node.get("anyOf", node.get("oneOf")), list):
        text = " | ".join(dict.fromkeys(_sketch(item) for item in options))
    elif node.get("type") == "array":
        text = f"[{_sketch(node.get('items', {}))}, …]"
    elif isinstance(inside := node.get("properties"), dict):
        text = f"{{{_fields(node, inside)}}}"
    else:
        text = " | ".join(types(node, ("any",))) + _bounds(node)
    return text if needed or "null" in types(node, ("null",)) else f"{text} | null"


_BOUNDS = {
    "exclusiveMinimum": "> {}",
    "minimum": "≥ {}",
    "exclusiveMaximum": "< {}",
    "maximum": "≤ {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
}


def _bounds(node: Object) -> str:
    said = [words.format(f"{node[key]:g}") for key, words in _BOUNDS.items() if isinstance(node.get(key), int | float)]
    return f" ({', '.join(said)})" if said else ""


def _without_intent(chosen: object) -> object:
    """Intents are names, and the message is about them."""
    return {**cast("dict[object, object]", chosen), "intent": None} if isinstance(chosen, dict) else chosen


def _scrubbed(message: str, chosen: object, known: str) -> str:
    """One line, bounded, without what was rejected: values may be secrets, and the line goes into logs and the next prompt."""
    message = message[:2000]
    for text in _texts(chosen, 0):
        for spelling in (text, repr(text)[1:-1]):
            while len(spelling) > 8 and (start := message.find(spelling[:9])) >= 0 and f'"{spelling}"' not in known:
                same = next((i for i, (a, b) in enumerate(zip(message[start:], spelling, strict=False)) if a != b), len(spelling))
                message = f"{message[: start + 3]}…{message[start + same :]}"
    message = " ".join(message.split())
    return message if len(message) <= _MESSAGE else f"{message[: _MESSAGE - 1]}…"


def _texts(value: object, depth: int) -> Iterator[str]:
    """The texts, long keys and numbers in what was rejected, as deep as `admit` would have looked."""
    if isinstance(value, str):
        yield value[:_MESSAGE]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value) if isinstance(value, float) or value.bit_length() < 1000 else ""
    elif isinstance(value, dict) and depth < MAX_DEPTH:
        for key, item in cast("dict[object, object]", value).items():
            yield str(key)[:_MESSAGE] if len(str(key)) > _NAME else ""
            yield from _texts(item, depth + 1)
    elif isinstance(value, list) and depth < MAX_DEPTH:
        for item in cast("list[object]", value):
            yield from _texts(item, depth + 1)
