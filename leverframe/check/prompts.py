"""Prompts as a definition pins them: there, readable, and using only what the machine has."""

from collections.abc import Iterator
from typing import cast

from leverframe.canon import Json, Object
from leverframe.check.codes import finding
from leverframe.check.finding import Finding, Place
from leverframe.check.model import Graph, Node
from leverframe.check.structure import choices
from leverframe.errors import PromptError, did_you_mean
from leverframe.machine import by_of
from leverframe.state import PromptBy, as_choice

ALWAYS = frozenset({"memory", "window", "choices"})
"""What a template may use beside the fields of the memory."""


def prompts(graph: Graph) -> Iterator[Finding]:
    fields = {*cast("Object", cast("Object", graph.body["memory"]).get("properties") or {}), *ALWAYS}
    for node in graph.nodes.values():
        if node.kind == "ask" and (by := by_of(node.body)) is not None:
            yield from _chosen(graph, node, by)
        if node.kind == "ask" and "texts" in node.body:  # where they could not be found, that is said already
            yield from _prompts(graph, node, fields)


def _prompts(graph: Graph, node: Node, fields: set[str]) -> Iterator[Finding]:
    from leverframe.prompt import Prompt, label, pinned, pinned_partials  # templates are loaded where there is a prompt

    intents, by = {cast("str", choice["intent"]) for choice in choices(node)}, by_of(node.body)
    texts, partials = pinned(node.body), pinned_partials(node.body)
    for name in [str(node.body.get("prompt") or "none")] if by is None else by.names:
        if not any(name == each for each, _, _ in texts):
            yield finding("LF111", graph.name, f"asks a model without a prompt: {name} has no text", state=node.name)
    for name, variant, text in texts:
        file = f"prompts/{label(name, variant)}.md"
        try:
            for where, line, message in Prompt.parse(name, variant, text, partials=partials).complaints(fields, intents):
                yield finding("LF113", graph.name, f"{where}: {message}", state=node.name, place=Place(where, line or 1))
        except PromptError as error:
            place, message = placed(str(error))
            yield finding("LF114", graph.name, message, state=node.name, place=place or Place(file, 1))


def _chosen(graph: Graph, node: Node, by: PromptBy) -> Iterator[Finding]:
    """Where the prompt is chosen by a field: is it there, and is there a prompt for each of its values and for none that it never has?"""
    memory = cast("Object", graph.body["memory"])
    fields = cast("Object", memory.get("properties") or {})
    if by.field not in fields:
        near = did_you_mean(by.field, list(fields))
        yield finding(
            "LF121", graph.name, f"chooses its prompt by {by.field!r}, which is no field of the memory.{near}", state=node.name
        )
        return
    values = values_of(fields[by.field], memory)
    if values is None:
        if by.default is None:
            message = f"has a prompt for some values of {by.field!r}, which may be any, and none for the others"
            yield finding("LF122", graph.name, message, state=node.name)
        return
    known = [value for each in values if (value := as_choice(each)) is not None]
    for value in by.prompts:
        if value not in known:
            message = f"has a prompt for {by.field} {value!r}, which it never is; it is {' or '.join(map(repr, known))}"
            yield finding("LF121", graph.name, message + "." + did_you_mean(value, known), state=node.name)
    lost = [value for value in values if by.of(value) is None]
    if lost:
        message = (
            f"has no prompt where {by.field} is {' or '.join(repr(value) if value is not None else 'null' for value in lost)}"
        )
        yield finding("LF121", graph.name, message, state=node.name)


def values_of(shape: Json, root: Object) -> list[Json] | None:
    """Every value that a field can have, by its JSON Schema; None where it may have any."""
    if not isinstance(shape, dict):
        return None
    if isinstance(ref := shape.get("$ref"), str):
        return values_of(cast("Object", root.get("$defs") or {}).get(ref.removeprefix("#/$defs/")), root)
    if "const" in shape:
        return [shape["const"]]
    if isinstance(values := shape.get("enum"), list):
        return values
    if isinstance(options := shape.get("anyOf", shape.get("oneOf")), list):
        parts = [values_of(option, root) for option in options]
        return None if None in parts else [value for part in parts for value in part or []]
    return {"null": cast("list[Json]", [None]), "boolean": cast("list[Json]", [True, False])}.get(str(shape.get("type")))


def placed(message: str) -> tuple[Place | None, str]:
    """The place that a message of a prompt begins with, and the message, which keeps naming the file."""
    where, separator, rest = message.partition(": ")
    file, colon, line = where.rpartition(":")
    if not separator or not colon or not line.isdigit():
        return None, message
    return Place(file, int(line)), f"{file}: {rest}"
