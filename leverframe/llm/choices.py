"""What may be answered: the replies and tools of an Ask as one schema, and an answer read back through it.

The schema asks for one object `{"next": …}`: any of the choices (or a list of them, where an answer may make several calls), told
apart by `intent`, which is the first property of each (a model that writes it later has chosen before it says what). Replies are
flat, tools carry `arguments`. An answer is validated again whatever the provider promised, and what is wrong with it is said in
one line that repeats no more of it than a few characters.
"""

import inspect
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, cast

from pydantic import ValidationError

from leverframe import reference, schema
from leverframe.canon import MAX_ARGUMENTS, MAX_DEPTH, Json, Object, admit, ordered
from leverframe.errors import BadCompletion, DeclarationError, InputError, TooLarge, did_you_mean
from leverframe.llm.wire import from_wire, to_wire, types
from leverframe.series import MOST
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
    @property
    def output(self) -> Object: ...
    def admit(self, arguments: object) -> Object: ...
    def expect(self, arguments: Object, later: Collection[str]) -> None: ...


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
    queue: tuple[
        Object, ...
    ] = ()  # the calls that follow this one: n, tool_name, arguments, and what they have `from` earlier results

    def json(self) -> Object:
        """As it is stored and shown: `{"tool_name", "arguments"}`, or `{"intent", …}`."""
        return self.call.json() if self.call else {"intent": self.intent, **self.fields}


class Choices:
    """The choices of one Ask. Make it once and keep it: the schema is worked out on first use.

    With a `threshold` every choice states its confidence from 0 to 1; `Picked.unsure` says that it is below. With `most` above 1
    an answer is a list of so many tool calls, or of one reply.
    """

    def __init__(
        self, replies: "Sequence[Runs[object] | type[Reply[str]] | Option]", threshold: float | None = None, most: int = 1
    ) -> None:
        self.most = most
        self.options = {choice.intent: choice for choice in map(_option, replies)}
        self.threshold = threshold
        if len(self.options) < len(replies) or not replies:
            raise DeclarationError(f"choices {', '.join(self.options) or '(none)'}: offer at least one, and each intent once")
        own = {"intent", "confidence"} if threshold is not None else {"intent"}
        for choice in self.options.values():
            if not choice.is_tool and (taken := own & set(cast("Object", choice.schema.get("properties", {})))):
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
        any: Object = {"anyOf": [branch for branch, _ in branches]}
        several: Object = {"type": "array", "items": any, "minItems": 1, "maxItems": self.most}
        whole: Object = {
            "type": "object",
            "properties": {"next": several if self.most > 1 else any},
            "required": ["next"],
            "additionalProperties": False,
        }
        return whole, all(strict for _, strict in branches)

    def _branch(self, choice: Option) -> tuple[Object, bool]:
        wired, strict = to_wire(choice.schema)
        wired.pop("description", None)
        if choice.is_tool and self.most > 1:
            wired["properties"] = {name: _or_reference(child) for name, child in cast("Object", wired["properties"]).items()}
        first: Object = {"intent": {"type": "string", "enum": [choice.intent]}}
        if self.threshold is not None:
            first["confidence"] = {"type": "number", "minimum": 0, "maximum": 1}
        properties = {**first, **({"arguments": wired} if choice.is_tool else cast("Object", wired["properties"]))}
        doc: Object = {"description": choice.doc} if choice.doc else {}
        closed: Object = {"properties": properties, "required": list(properties), "additionalProperties": False}
        return {"type": "object", **doc, **closed}, strict

    @cached_property
    def described(self) -> str:
        """Every choice in the form it is answered in, with its documentation: what `{{ choices }}` shows."""
        lines = [line for choice in self.options.values() for line in self._lines(choice)]
        if self.most > 1:
            lines.append(f"A list: one reply, or 1 to {self.most} calls, in order. In place of an argument: {_REFERRED}")
        return "\n".join(lines)

    def _lines(self, choice: Option) -> Iterator[str]:
        fields = cast("Object", choice.schema.get("properties", {}))
        inner = _fields(choice.schema, fields)
        sure = ', "confidence": number from 0 to 1' if self.threshold is not None else ""
        rest = f', "arguments": {{{inner}}}' if choice.is_tool else f", {inner}" if inner else ""
        doc = f"  – {' '.join(choice.doc.split())}" if choice.doc else ""
        given = choice.tool.output if choice.tool and self.most > 1 else {}
        doc += f" → {_sketch(given)}" if given else ""
        yield f'- {{"intent": {json.dumps(choice.intent, ensure_ascii=False)}{sure}{rest}}}{doc}'
        for name, field in fields.items():
            if isinstance(field, dict) and isinstance(text := field.get("description"), str):
                yield f"    {name}: {' '.join(text.split())}"

    def parse(self, chosen: object) -> Picked:
        """The choice an answer made, validated. Raises BadCompletion."""
        try:
            return self._parse_all(chosen) if self.most > 1 else self._parse(chosen)
        except TooLarge as error:  # its path is as long as what it names; and looking for secrets in 10 MB would take a second
            raise BadCompletion(f"next: {str(error).rpartition(': ')[2]}") from None
        except (InputError, ValueError) as error:
            raise BadCompletion(_scrubbed(str(error), _without_intent(chosen), self.schema_text)) from None

    def _parse_all(self, chosen: object) -> Picked:
        """Of a list the first, and behind it the others as they will wait."""
        if not isinstance(chosen, list):
            raise ValueError("next: not a list of choices")
        listed = cast("list[object]", chosen)
        if not 1 <= len(listed) <= self.most:
            raise ValueError(f"next: a list of {len(listed)} choices; make 1 to {self.most}")
        given = cast("list[Json]", admit(listed, what="next", limit=MAX_ARGUMENTS))
        outputs: list[Object] = []
        found: list[Picked] = []
        for number, one in enumerate(given):
            try:
                found.append(self._parse(one, outputs))
            except TooLarge:
                raise
            except (InputError, ValueError) as error:
                raise ValueError(f"call {number}: {error}" if len(given) > 1 else str(error)) from None
            outputs.append(_output(self.options[found[-1].intent]))
        first, *rest = found
        if rest and (reply := next((one for one in found if not one.call), None)):
            raise ValueError(f"{reply.intent}: a reply stands alone; answer it by itself, or make tool calls")
        queue: list[Object] = [{"n": number, **one.json(), **dict(*one.queue)} for number, one in enumerate(rest, 1)]
        sure = [one.confidence for one in found if one.confidence is not None]
        return replace(first, confidence=min(sure, default=None), unsure=any(one.unsure for one in found), queue=tuple(queue))

    def _parse(self, chosen: object, outputs: "Sequence[Object] | None" = None) -> Picked:
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
        wanted = _references(choice, fields, outputs) if outputs is not None and choice.is_tool else {}
        fields = {name: value for name, value in fields.items() if name not in wanted}
        fields = cast("Object", from_wire(fields, choice.schema, choice.intent))
        unsure = confidence is not None and self.threshold is not None and confidence < self.threshold
        if wanted:
            _expect(choice, fields, wanted)
            return Picked(choice.intent, fields, None, Call(choice.intent, fields), confidence, unsure, ({"from": wanted},))
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


_REFERRED = '{"$from": number of an earlier call, "path": JSON Pointer into its result}'


def _or_reference(wired: Json) -> Json:
    """An argument as it is, or taken from an earlier result."""
    if not isinstance(wired, dict) or not wired:
        return wired
    outer: Object = {"description": wired["description"]} if "description" in wired else {}
    inner: Object = {key: value for key, value in wired.items() if key != "description"}
    branches = cast("list[Json]", inner["anyOf"]) if set(inner) == {"anyOf"} else [inner]
    return {**outer, "anyOf": [*branches, reference.WIRE]}


def _references(choice: Option, arguments: Object, outputs: Sequence[Object]) -> Object:
    """Which arguments refer to an earlier result. Raises ValueError for one that cannot."""
    found: Object = {}
    for name, value in arguments.items():
        if reference.is_one(value):
            try:
                found[name] = reference.read(value, outputs)
            except ValueError as error:
                raise ValueError(f"{choice.intent}: {name[:80]}: {error}") from None
    return found


def _expect(choice: Option, arguments: Object, wanted: Object) -> None:
    """Holds the arguments that are there to the tool's schema; the others are, once they are known."""
    if choice.tool is not None:
        choice.tool.expect(arguments, wanted.keys())
        return
    needed = [name for name in cast("list[Json]", choice.schema.get("required", [])) if name not in wanted]
    if problem := schema.violation(arguments, {**choice.schema, "required": needed}):
        raise ValueError(f"{choice.intent}: {problem}")


def _output(choice: Option) -> Object:
    return choice.tool.output if choice.tool else {}


def _option(given: "Runs[object] | type[Reply[str]] | Option") -> Option:
    if isinstance(given, Option):
        return given
    if isinstance(given, type):
        if not given.intent:
            raise DeclarationError(f'reply {given.__name__} has no intent; derive it from Reply[Literal["…"]]')
        return Option(given.intent, inspect.cleandoc(given.__doc__ or ""), schema.schema_of(given), False, reply=given)
    tool = cast("Admits", given)
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
        fields = cast("Object", admit(reply.model_dump(mode="json", by_alias=True), what=choice.intent))
    elif problem := schema.violation(fields, choice.schema):
        raise ValueError(f"{choice.intent}: {problem}")
    call: Call[object] | None = Call(choice.intent, fields) if choice.is_tool else None
    return Picked(choice.intent, fields, reply, call, confidence, unsure)


def _fields(node: Object, fields: Object) -> str:
    needed = cast("list[Json]", node.get("required", []))
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
    if isinstance(chosen, list):
        return [_without_intent(one) for one in cast("list[object]", chosen)[:MOST]]
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
