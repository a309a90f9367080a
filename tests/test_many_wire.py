"""What a model is asked for and may answer where an answer may make several calls; and the reducer over random answers."""

import json
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leverframe import reference
from leverframe.canon import Json, Object
from leverframe.errors import BadCompletion
from leverframe.llm import Choices, ExamplesLLM, Request
from leverframe.llm.choices import option
from leverframe.machine import Definition
from leverframe.prompt import Prompt, render
from leverframe.reduce import reduce, route
from leverframe.run import Event, Run, but
from tests.clerk import Over, find, pay
from tests.sketch import definition, sketch

CHOICES = Choices((find, pay, Over), most=4)
EXAMPLES = Prompt.parse(
    "clerk/plan",
    "",
    """---
examples:
  - when: look up rags and pay
    reply:
      intent: find
      arguments: {text: "{{ note }}"}
      then:
        - {intent: pay, arguments: {to: {$from: 0, path: /title}, cents: 5}}
otherwise: {intent: over, n: 0}
---
# user
{{ note }}
""",
)


def test_the_schema_is_a_list_of_the_same_choices_and_each_argument_may_refer() -> None:
    whole = cast("Object", cast("Object", CHOICES.schema["properties"])["next"])
    assert (whole["type"], whole["minItems"], whole["maxItems"]) == ("array", 1, 4)
    first, second, reply = cast("list[Object]", cast("Object", whole["items"])["anyOf"])
    assert json.dumps(first["properties"]) == (
        '{"intent": {"type": "string", "enum": ["find"]}, "arguments": {"type": "object", "properties": {"text": {"anyOf": '
        '[{"type": "string"}, {"type": "object", "properties": {"$from": {"type": "integer"}, "path": {"type": "string"}}, '
        '"required": ["$from", "path"], "additionalProperties": false}]}}, "required": ["text"], "additionalProperties": false}}'
    )
    assert "$from" in json.dumps(second)
    assert "$from" not in json.dumps(reply)
    assert CHOICES.strict
    assert "array" not in json.dumps(Choices((find, pay, Over)).schema)


def test_choices_say_what_calls_give_and_how_to_refer_to_it() -> None:
    said = CHOICES.described.splitlines()
    assert said[0].endswith('Find it. → {"title": string, "rows": [{"id": integer, "name": string}, …], "note": string | null}')
    assert said[-1].startswith("A list: one reply, or 1 to 4 calls, in order.")
    assert "→" not in Choices((find, pay, Over)).described


async def test_examples_may_answer_with_several_calls() -> None:
    def asking(note: str, choices: Choices) -> Request:
        return Request(messages=render(EXAMPLES, {"note": note}), choices=choices, prompt=EXAMPLES, memory={"note": note})

    answer = await ExamplesLLM().ask(asking("look up rags and pay", CHOICES))
    assert [cast("Object", one)["intent"] for one in cast("list[Json]", answer.chosen)] == ["find", "pay"]
    assert CHOICES.parse(answer.chosen).queue[0]["from"] == {"to": {"$from": 0, "path": "/title"}}
    assert (await ExamplesLLM().ask(asking("xyzzy", CHOICES))).chosen == [{"intent": "over", "n": 0}]


def test_a_choice_that_is_only_a_schema_is_held_to_it_as_far_as_it_goes() -> None:
    shape: Object = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}, "required": ["a", "b"]}
    choices = Choices([option("do", "", shape, is_tool=True)], most=2)
    call: Object = {"intent": "do", "arguments": {"a": "x", "b": 1}}
    refers: Object = {"intent": "do", "arguments": {"a": {"$from": 0, "path": "/any/where"}, "b": 1}}
    assert choices.parse([call, refers]).queue[0]["arguments"] == {"b": 1}
    with pytest.raises(BadCompletion, match="call 1: do: "):
        choices.parse([call, {"intent": "do", "arguments": {"a": {"$from": 0, "path": ""}, "b": "x"}}])


def test_a_pointer_is_read_as_the_standard_says() -> None:
    value: Json = {"a/b": 1, "m~n": 2, "": 3, "l": ["x", {"y": None}], "k": {"0": "key"}}
    for path, wanted in (("/a~1b", 1), ("/m~0n", 2), ("/", 3), ("/l/0", "x"), ("/l/1/y", None), ("/k/0", "key"), ("", value)):
        assert reference.at(value, reference.steps(path)) == wanted
    for path in ("/l/2", "/l/-", "/l/00", "/l/٣", "/l/1/y/z", "/A", "/k/1", "/l/99999999999999999999"):
        with pytest.raises(ValueError, match="the result has nothing at"):
            reference.at(value, reference.steps(path))


def test_a_schema_is_followed_as_far_as_it_is_known() -> None:
    shape: Object = {
        "anyOf": [
            {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string", "writeOnly": True}}}},
            {"type": "null"},
        ]
    }
    assert reference.beneath(shape, ["a", "3"]) == {"type": "string", "writeOnly": True}
    for path in ("", "/a", "/a/3"):
        with pytest.raises(ValueError, match="is a secret, or holds one"):
            reference.read({"$from": 0, "path": path}, [shape])
    within: Object = {"type": "object", "properties": {"key": {"writeOnly": True, "properties": {"of": {"type": "string"}}}}}
    with pytest.raises(ValueError, match="is a secret, or holds one"):
        reference.read({"$from": 0, "path": "/key/of"}, [within])
    assert reference.beneath({}, ["what", "ever"]) == {}
    assert reference.beneath({"type": "object", "additionalProperties": {"type": "integer"}}, ["x"]) == {"type": "integer"}
    assert reference.beneath({"type": ["object", "null"]}, ["x"]) == {}
    for parts in (["b"], ["a", "x"], ["a", "0", "x"]):
        with pytest.raises(ValueError, match="nothing at"):
            reference.beneath(shape, parts)


# ── random answers through the reducer ───────────────────────────────────────────────────────────────────────────────────────

MACHINE: Definition = definition(
    sketch(
        """
        Ask ask4 a b | a: Sign, b: Act, x: E, error: C
        Sign approve | approved: Act, rejected: Ask, expired: E
        Act act a b  | ok: Ask, stop: Ask, next: Next, error: C, unknown: Find
        Find consult | happened: Ask, not_happened: C, expired: E
        C compact    | retry: Back, give_up: E
        E end        |
        """,
        tools="a keyed, b read",
    )
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 20), st.lists(st.sampled_from("ab"), max_size=3)), max_size=40))
def test_whatever_happens_calls_wait_only_behind_a_call_and_each_has_a_number_of_its_own(
    moves: list[tuple[int, list[str]]],
) -> None:
    run = Run("r", "m", MACHINE.hash, "ready", "Ask", {})
    numbers: list[int] = []
    for pick, more in moves:
        before, spec = run, MACHINE.states[run.state]
        if spec.kind == "end":
            break
        outcome = sorted(spec.edges)[pick % len(spec.edges)]
        body = _ended(run, outcome, more, pick)
        if body is None:
            continue
        where = route(MACHINE, run, outcome, 0, call=cast("Object | None", body.get("call")))
        run = reduce(MACHINE, run, Event(run.seq + 1, 0, "worked", "t", {**body, "to": where.to}, "", "", ""))
        assert bool(run.pending) or not run.queue
        assert len(run.queue) < max(1, len(before.queue)) or before.state in ("Ask", "Sign")
        if run.pending and (not before.pending or run.pending.key != before.pending.key):
            numbers.append(run.pending.ordinal)
            assert (run.pending.maker, run.pending.approved) == ("Ask", None)
            assert run.state == MACHINE.states["Ask"].edges[run.pending.tool_name]
        run = but(run, status="ready", steps=0, failures={}, in_a_row=0)
    assert numbers == sorted(set(numbers))


def _ended(run: Run, outcome: str, more: list[str], pick: int) -> Object | None:
    body: Object = {"state": run.state, "outcome": outcome, "effect": "keyed"}
    if run.state == "Ask" and outcome in ("a", "b"):
        queue: list[Json] = [{"n": number, "tool_name": tool, "arguments": {}} for number, tool in enumerate(more, 1)]
        return {**body, "call": {"tool_name": outcome, "arguments": {}, "digest": ""}, "queue": queue}
    if outcome == "next":
        if not run.queue:
            return None
        head = run.queue[0]
        refused: Object = {"refused": {**head, "error": {"type": "BadReference"}}}
        return {**body, **(refused if pick % 2 else {"call": {**head, "digest": ""}})}
    if outcome == "retry" and run.back is None:
        return None
    return {**body, "error": {"type": "x"}} if outcome == "error" else body
