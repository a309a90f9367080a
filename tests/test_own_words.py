"""You own every word that a model sees (factor 2): nothing of it is the engine's own but tags and the shape of data.

Every agent and some small machines run with a model that is scripted; every word of what it was asked, messages and schema, must stand in
a prompt, the memory, the log, or the schemas and docstrings of tools and replies, or in the short list below.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from leverframe import Ask, Engine, TriggerCommand
from leverframe.canon import Json
from leverframe.errors import BadCompletion
from leverframe.llm import Choices, Request, Scripted
from leverframe.llm.scripted import Line
from leverframe.project import find
from leverframe.prompt import Message
from leverframe.store import Store
from leverframe.testing import FakeClock
from tests import repository
from tests.house import House, begin, charge, desk
from tests.told import Decline, answering, refunds

OURS = {
    # what the window says of itself, inside of tags: <left_out>3 earlier events</left_out>, … (12 characters more)
    *("earlier", "events", "characters", "more"),
    # keys of the log that are shown as keys: what happened, and how it failed
    *("source", "cli", "api", "reply", "result", "error", "failed", "unsure", "type", "cause", "true", "false", "null"),
    *("tool_name", "arguments", "comment", "decision", "content", "approver", "call", "by"),
    # `{{ choices }}`: the form of an answer
    *(
        "intent",
        "arguments",
        "confidence",
        "string",
        "number",
        "integer",
        "boolean",
        "any",
        "from",
        "to",
        "null",
        "at",
        "least",
        "most",
    ),
    # the JSON Schema that is sent: its keywords
    *(
        "properties",
        "required",
        "additionalProperties",
        "anyOf",
        "enum",
        "items",
        "next",
        "object",
        "array",
        "description",
        "title",
    ),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "pattern", "format", "const"),
}
"""Every word of the engine's that can reach a model. It is no place for instructions: who adds one says here what it is for."""

_TAG = re.compile(r"</?\w+/?>")
_WORD = re.compile(r"[^\W\d]\w*")


def words(value: Json) -> set[str]:
    if isinstance(value, dict):
        return {word for key, item in value.items() for word in words(key) | words(item)}
    if isinstance(value, list):
        return {word for item in value for word in words(item)}
    return set(_WORD.findall(value)) if isinstance(value, str) else set[str]()


def sent(requests: list[Request]) -> Iterator[set[str]]:
    for request in requests:
        yield words(_TAG.sub(" ", "\n".join(message.content for message in request.messages)))
        yield words(request.choices.schema)


async def strange(engine_store: Store, requests: list[Request], theirs: set[str]) -> set[str]:
    """Words that were sent, and that nobody outside of the engine wrote."""
    for row in await engine_store.runs():
        for event in await engine_store.events(row.run.id):
            body: Json = {**event.body, "to": None, "next": None}
            theirs |= words(body) | {event.type}
    assert requests
    return {word for found in sent(requests) for word in found} - theirs - OURS


INPUTS = {"refund": {"message": "Order 1042 arrived zerbrochen", "order_id": 7}}


async def test_every_word_that_a_shipped_agent_sends_is_somebodys(sqlite_url: str) -> None:
    project = find(repository.ROOT)
    asking = [
        machine for machine in project.machines.values() if any(issubclass(state, Ask) for state in machine.states.values())
    ]
    assert {machine.name for machine in asking} == INPUTS.keys(), "an agent that asks a model needs an input here"
    store = Store.open(sqlite_url, FakeClock())
    model = Scripted(lambda request: BadCompletion("quelled"))
    try:
        project.prepare(sqlite_url)
        for machine in asking:
            async with Engine(store, list(project.machines.values()), llm=model, clock=FakeClock()) as engine:
                row = await engine.start(TriggerCommand(machine.name, INPUTS[machine.name]))
                await engine.advance(row.run.id)
            assert not await strange(store, model.requests, words(machine.definition(project.machines).body))
    finally:
        store.close()


async def test_every_word_of_a_small_machine_is_somebodys(house: House) -> None:
    said: list[Line] = [BadCompletion("quelled"), BadCompletion("quelled again"), charge.call(100)]
    model = Scripted(lambda request: said.pop(0))
    engine = house(desk, llm=model)
    run = await begin(engine, "desk", note="zanzibar")
    (task,) = await engine.store.tasks(run.id)
    said.append(charge.call(7))
    await engine.decide(task.id, by="ann", decision="rejected", comment="quibble")
    await engine.advance(run.id)
    shown = "".join(message.content for request in model.requests for message in request.messages)
    assert {"zanzibar", "quelled", "quibble"} <= words(shown), "the window shows what happened"
    assert not await strange(engine.store, model.requests, words(desk.definition().body))


async def test_a_prompt_of_one_word_is_sent_as_that_word(house: House, tmp_path: Path) -> None:
    model = Scripted([refunds(0)])
    engine = house(answering(tmp_path, answer="# system\nsentinel\n# user\n{% include 'desk/_x.md' %}", x="unused"), llm=model)
    (tmp_path / "prompts" / "desk" / "_x.md").write_text("{{ message }}")
    await begin(engine, "desk", message="only this")
    assert [(message.role, message.content) for message in model.requests[0].messages] == [
        ("system", "sentinel"),
        ("user", "only this"),
    ]


def test_a_word_of_ours_would_be_found() -> None:
    request = Request([Message("user", "<request>\nThink step by step\n</request>")], Choices([Decline]))
    assert {word for found in sent([request]) for word in found} - OURS == {
        "Think",
        "step",
        "decline",
        "reason",
        "Nothing",
        "is",
        "owed",
    } | {"for" for found in sent([request]) if "for" in found}
