"""Prompts as a definition pins them: there, readable, and using only what the machine has."""

from collections.abc import Iterator
from typing import cast

from leverframe.canon import Object
from leverframe.check.codes import finding
from leverframe.check.finding import Finding, Place
from leverframe.check.model import Graph, Node
from leverframe.check.structure import choices
from leverframe.errors import PromptError

ALWAYS = frozenset({"memory", "window", "choices"})
"""What a template may use beside the fields of the memory."""


def prompts(graph: Graph) -> Iterator[Finding]:
    fields = {*cast(Object, cast(Object, graph.body["memory"]).get("properties") or {}), *ALWAYS}
    for node in graph.nodes.values():
        if node.kind == "ask" and "texts" in node.body:  # where they could not be found, that is said already
            yield from _prompts(graph, node, fields)


def _prompts(graph: Graph, node: Node, fields: set[str]) -> Iterator[Finding]:
    from leverframe.prompt import Prompt  # templates are loaded where there is a prompt

    name, intents = cast(str, node.body.get("prompt") or ""), {cast(str, choice["intent"]) for choice in choices(node)}
    texts = cast(dict[str, str], node.body["texts"])
    if not texts or not name:
        yield finding("LF111", graph.name, f"asks a model without a prompt: {name or 'none'} has no text", state=node.name)
    for variant, text in texts.items():
        file = f"prompts/{name}.{variant}.md" if variant else f"prompts/{name}.md"
        try:
            for line, message in Prompt.parse(name, variant, text).complaints(fields, intents):
                yield finding("LF113", graph.name, f"{file}: {message}", state=node.name, place=Place(file, line or 1))
        except PromptError as error:
            place, message = placed(str(error))
            yield finding("LF114", graph.name, message, state=node.name, place=place or Place(file, 1))


def placed(message: str) -> tuple[Place | None, str]:
    """The place that a message of a prompt begins with, and the message, which keeps naming the file."""
    where, separator, rest = message.partition(": ")
    file, colon, line = where.rpartition(":")
    if not separator or not colon or not line.isdigit():
        return None, message
    return Place(file, int(line)), f"{file}: {rest}"
