"""The seam to models: what may be chosen, how it is asked for, how it is read back; scripted models; which model a name means."""

import asyncio
import json
import subprocess
import sys
from contextlib import suppress
from decimal import Decimal
from enum import Enum
from pathlib import Path
from threading import Thread
from typing import Annotated, Literal, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, field_validator

from leverframe.canon import Json, Object, ordered
from leverframe.errors import BadCompletion, DeclarationError, ModelUnavailable, NotJson, ScriptEnded, UnknownModel
from leverframe.llm import (
    LLM,
    Answer,
    Choices,
    ExamplesLLM,
    RemoteLLM,
    Request,
    Scripted,
    Usage,
    estimated_tokens,
    is_offline,
    model_for,
    option,
    pick,
    sent,
)
from leverframe.llm.wire import from_wire, to_wire
from leverframe.prompt import Message
from leverframe.state import Call, Reply
from leverframe.tool import Tool, tool


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Line(BaseModel):
    sku: str
    count: int = 1
    colour: Colour | None = Colour.RED


@tool(effect="once", approval=True)
async def issue_refund(
    order_id: int,
    amount: Annotated[Decimal, Field(gt=0, le=500, description="In euros")],
    note: str | None = None,
    limit: int = 10,
    lines: list[Line] = [],  # noqa: B006
) -> str:
    """Pay money back to the customer."""
    return f"{order_id} {amount} {note} {limit} {lines}"


class Decline(Reply[Literal["decline"]]):
    """Nothing is owed."""

    reason: str = Field(max_length=200, description="Why, for the customer")
    tone: Literal["kind", "firm"] = "kind"


class Escalate(Reply[Literal["escalate"]]):
    pass


CHOICES = Choices((issue_refund, Decline, Escalate))
SURE = Choices((Decline, Escalate), threshold=0.7)
CALL: Object = {"intent": "issue_refund", "arguments": {"order_id": 1042, "amount": 45.5}}


# --- the schema that is sent --------------------------------------------------------------------------------------------------


def test_the_schema_is_pinned_byte_for_byte() -> None:
    assert Choices((Decline, Escalate), threshold=0.7).schema_text == (
        '{"type":"object","properties":{"next":{"anyOf":['
        '{"type":"object","description":"Nothing is owed.","properties":{'
        '"intent":{"type":"string","enum":["decline"]},'
        '"confidence":{"type":"number","minimum":0,"maximum":1},'
        '"reason":{"type":"string","description":"Why, for the customer (at most 200 characters)"},'
        '"tone":{"description":"null means \\"kind\\"","anyOf":[{"type":"string","enum":["kind","firm"]},{"type":"null"}]}},'
        '"required":["intent","confidence","reason","tone"],"additionalProperties":false},'
        '{"type":"object","properties":{'
        '"intent":{"type":"string","enum":["escalate"]},'
        '"confidence":{"type":"number","minimum":0,"maximum":1}},'
        '"required":["intent","confidence"],"additionalProperties":false}'
        ']}},"required":["next"],"additionalProperties":false}'
    )


def test_a_tool_is_asked_for_with_its_arguments_apart() -> None:
    next_of = cast("dict[str, dict[str, list[Object]]]", CHOICES.schema["properties"])["next"]
    branch = next_of["anyOf"][0]
    assert list(cast("Object", branch["properties"])) == ["intent", "arguments"]
    assert cast("Object", cast("Object", branch["properties"])["arguments"])["required"] == [
        "order_id",
        "amount",
        "note",
        "limit",
        "lines",
    ]


def nodes(schema: Json) -> list[Object]:
    """Every schema inside of a schema."""
    if isinstance(schema, list):
        return [node for item in schema for node in nodes(item)]
    if not isinstance(schema, dict):
        return []
    inside = cast("Object", schema.get("properties", {}))
    children = [*inside.values(), schema.get("items"), schema.get("anyOf")]
    return [schema, *(node for child in children for node in nodes(child))]


def test_every_object_is_closed_and_every_property_required() -> None:
    for node in nodes(CHOICES.schema) + nodes(SURE.schema):
        assert {"const", "oneOf", "default", "title", "$ref", "minLength", "maxLength"}.isdisjoint(node)
        if node.get("type") == "object":
            properties = cast("Object", node["properties"])
            assert node["additionalProperties"] is False
            assert node["required"] == list(properties)
            assert not properties or next(iter(properties)) in ("intent", "next", "order_id", "sku")
    assert CHOICES.strict
    assert SURE.strict


def test_what_strict_modes_refuse_is_said_in_words_or_marks_the_schema_as_loose() -> None:
    said: Object = {"type": "string", "minLength": 1, "pattern": "a+", "format": "uri", "description": "A link"}
    assert to_wire(said) == (
        {"type": "string", "description": "A link (at least 1 characters, matches a+, format uri)"},
        True,
    )
    kept: Object = {"type": "string", "pattern": "^a+$", "format": "date"}
    assert to_wire(kept) == ({"type": "string", "format": "date", "pattern": "^a+$"}, True)
    for loose in (
        {},
        {"type": "object"},
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {"type": "array"},
        {"type": "array", "prefixItems": [{"type": "string"}]},
        {"not": {"type": "null"}},
    ):
        assert not to_wire(cast("Object", loose))[1], loose
    assert to_wire({"allOf": [{"type": "integer"}], "title": "x"}) == ({"type": "integer"}, True)
    assert to_wire({"const": 3}) == ({"type": "integer", "enum": [3]}, True)


def test_choices_are_described_in_the_form_they_are_answered_in() -> None:
    assert CHOICES.described == (
        '- {"intent": "issue_refund", "arguments": {"order_id": integer, "amount": number (> 0, ≤ 500), "note": string | null,'
        ' "limit": integer | null, "lines": [{"sku": string, "count": integer | null, "colour": "red" | "blue" | null}, …] | null'
        "}}  – Pay money back to the customer.\n"
        "    amount: In euros\n"
        '- {"intent": "decline", "reason": string (at most 200 characters), "tone": "kind" | "firm" | null}  – Nothing is owed.\n'
        "    reason: Why, for the customer\n"
        '- {"intent": "escalate"}'
    )
    assert '- {"intent": "escalate", "confidence": number from 0 to 1}' in SURE.described


def test_choices_from_plain_data_ask_for_the_same() -> None:
    plain = Choices([option(c.intent, c.doc, c.schema, c.is_tool) for c in CHOICES.options.values()])
    assert plain.schema_text == CHOICES.schema_text
    assert plain.described == CHOICES.described
    picked = plain.parse({"intent": "decline", "reason": "Too late", "tone": None})
    assert (picked.reply, picked.fields) == (None, {"reason": "Too late"})
    assert plain.parse(CALL).call == Call("issue_refund", {"order_id": 1042, "amount": 45.5})
    with pytest.raises(BadCompletion, match="decline"):
        plain.parse({"intent": "decline", "reason": 5})


def test_choices_that_cannot_be_told_apart_are_refused() -> None:
    class Other(Reply[Literal["decline"]]):
        pass

    class Nameless(Reply[str]):
        pass

    class Sure(Reply[Literal["sure"]]):
        confidence: float

    for replies, words in (((Decline, Other), "once"), ((), "at least one"), ((Nameless,), "no intent")):
        with pytest.raises(DeclarationError, match=words):
            Choices(replies)
    Choices([Sure])
    with pytest.raises(DeclarationError, match="'confidence'"):
        Choices([Sure], threshold=0.5)


# --- answers read back --------------------------------------------------------------------------------------------------------


def test_a_null_that_means_left_out_becomes_the_default() -> None:
    line: Object = {"sku": "LAMP", "count": None, "colour": None}
    arguments: Object = {"order_id": 1, "amount": "2.50", "note": None, "limit": None, "lines": [line]}
    picked = CHOICES.parse({"intent": "issue_refund", "arguments": arguments})
    assert picked.call == Call(
        "issue_refund",
        # `colour` may be null by its type, so there null is what it says
        {"order_id": 1, "amount": "2.50", "note": None, "limit": 10, "lines": [{"sku": "LAMP", "count": 1, "colour": None}]},
    )
    assert picked.json() == {"tool_name": "issue_refund", "arguments": picked.fields}


def test_a_reply_is_typed_and_stored_flat() -> None:
    picked = CHOICES.parse({"intent": "decline", "reason": "Too late", "tone": None})
    assert picked.reply == Decline(reason="Too late", tone="kind")
    assert picked.json() == {"intent": "decline", "reason": "Too late", "tone": "kind"}


def test_unions_are_read_by_the_branch_that_is_meant() -> None:
    schema: Object = {
        "anyOf": [
            {"type": "object", "properties": {"kind": {"const": "a"}, "n": {"type": "integer"}}, "required": ["kind"]},
            {"type": "object", "properties": {"kind": {"const": "b"}, "n": {"type": ["integer", "null"]}}, "required": ["kind"]},
        ]
    }
    assert from_wire({"kind": "a", "n": None}, schema, "x") == {"kind": "a"}
    assert from_wire({"kind": "b", "n": None}, schema, "x") == {"kind": "b", "n": None}


def test_a_confidence_below_the_threshold_is_unsure() -> None:
    assert SURE.parse({"intent": "escalate", "confidence": 0.7}).unsure is False
    low = SURE.parse({"intent": "escalate", "confidence": 0.69})
    assert (low.unsure, low.confidence) == (True, 0.69)
    for wrong in (None, "high", True, -0.1, 1.1, float("nan")):
        with pytest.raises(BadCompletion):
            SURE.parse({"intent": "escalate", "confidence": wrong})
    with pytest.raises(BadCompletion):
        SURE.parse({"intent": "escalate"})
    with pytest.raises(BadCompletion, match="confidence"):
        CHOICES.parse({"intent": "escalate", "confidence": 0.9})


def test_a_slip_in_the_intent_is_named_with_the_near_miss() -> None:
    with pytest.raises(BadCompletion, match=r"'delcine' is not offered.*Did you mean 'decline'\?"):
        CHOICES.parse({"intent": "delcine"})


def test_messages_repeat_no_secrets_even_where_validators_do() -> None:
    class Careless(Reply[Literal["careless"]]):
        token: str
        choice: Literal["decline"] = "decline"

        @field_validator("token")
        @classmethod
        def refuse(cls, token: str) -> str:
            raise ValueError(f"token {token!r} is wrong; {token}")

    schema: Object = {"type": "object", "properties": {"token": {"type": "integer"}}}

    def handle(arguments: Object) -> None: ...

    foreign = Tool.from_schema("foreign", schema, handle)
    choices = Choices([Careless, foreign])
    secret = "sk-live-\n12345678"
    for chosen in ({"intent": "careless", "token": secret}, {"intent": "foreign", "arguments": {"token": secret}}):
        with pytest.raises(BadCompletion) as caught:
            choices.parse(chosen)
        assert "12345678" not in str(caught.value)
        assert "\n" not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.sampled_from(["intent", "arguments"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON | st.fixed_dictionaries({"intent": st.sampled_from(["decline", "issue_refund"]), "arguments": JSON, "reason": JSON}))
def test_whatever_comes_is_picked_or_a_bad_completion(chosen: object) -> None:
    with suppress(BadCompletion):
        CHOICES.parse(chosen)


@given(st.builds(Decline, reason=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=200)))
def test_what_was_answered_reads_back_as_itself(reply: Decline) -> None:
    chosen = json.loads(json.dumps({"intent": "decline", **reply.model_dump(mode="json")}))
    assert CHOICES.parse(chosen).reply == reply


# --- requests and names -------------------------------------------------------------------------------------------------------


def test_messages_with_a_lone_surrogate_are_refused_before_anything_is_sent() -> None:
    with pytest.raises(NotJson, match="lone surrogate"):
        sent([Message("user", "a\ud800")])


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_the_estimate_of_a_whole_is_never_above_that_of_its_parts(a: str, b: str) -> None:
    assert estimated_tokens(a + b) <= estimated_tokens(a) + estimated_tokens(b)


def test_names_of_models_say_what_to_do_when_they_mean_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENIA_BASE_URL", "AZURE_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)
    for name, words in {
        "": "no default",
        "gpt-4o": "provider/model",
        "/gpt": "provider/model",
        "openai/gpt-4o": "set OPENAI_API_KEY",
        "openia/gpt-4o": r"Did you mean 'openai'\?.*OPENIA_BASE_URL",
        "ollama/a, mistral": "provider/model",
        "examples, local": "stands alone",
        "bedrock/claude": "not built in yet",
        "azure/gpt": "set AZURE_BASE_URL",
        "local:/nowhere.gguf": "leverframe\\[local\\]|no such file",
    }.items():
        with pytest.raises(UnknownModel, match=words):
            model_for(name)
    for base_url, api_key in (("localhost:8000", None), (None, "schlüssel"), (None, "a\nb")):
        with pytest.raises(UnknownModel, match="malformed"):
            model_for("openai/gpt-4o", base_url=base_url, api_key=api_key)
    model_for("openai/gpt-4o", api_key="sk-1")
    model_for("ollama/llama3.2, vllm/qwen")


def test_only_the_providers_own_address_gets_strict_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    own = RemoteLLM("openai/gpt-x").endpoint("openai/gpt-x")
    assert (own.base_url, own.strict, own.limit) == ("https://api.openai.com/v1", True, "max_completion_tokens")
    assert RemoteLLM("groq/a", api_key="k").endpoint("groq/a").strict is False
    there = RemoteLLM("openai/gpt-x", base_url="http://here/v1/")
    assert (there.endpoint("openai/gpt-x").base_url, there.endpoint("openai/gpt-x").strict) == ("http://here/v1", False)


def test_only_the_examples_are_offline() -> None:
    assert is_offline(model_for("examples"))
    assert isinstance(model_for("examples"), ExamplesLLM)
    assert not is_offline(model_for("ollama/llama3.2"))
    assert not is_offline(Scripted([]))
    assert is_offline(Scripted([], offline=True))


def test_importing_the_seam_loads_no_provider() -> None:
    code = (
        "import sys; from leverframe.llm import model_for, Choices, Scripted; from leverframe import prompt, window; "
        "model_for('examples'); model_for('ollama/x'); "
        "print({'instructor', 'openai', 'jinja2', 'yaml', 'httpx', 'httpx2', 'sqlalchemy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    assert done.stdout == "set()\n"


# --- scripted models ----------------------------------------------------------------------------------------------------------


def asking(state: str = "Triage", choices: Choices = CHOICES) -> Request:
    return Request([Message("user", "What now?")], choices, state=state, run_id="r1")


async def test_a_script_is_said_in_order() -> None:
    refund = issue_refund.call(order_id=1, amount=Decimal(2))
    whole = Answer({"intent": "escalate"}, Usage(5, 6, 7), "told", "hash")
    llm: LLM = Scripted([Decline(reason="no"), refund, {"intent": "nonsense"}, ModelUnavailable("busy", retry_after=3), whole])
    answer, picked = await pick(llm, asking())
    assert picked.reply == Decline(reason="no")
    assert answer.usage == Usage(cost=0)
    assert (await pick(llm, asking()))[1].call == refund
    with pytest.raises(BadCompletion) as caught:
        await pick(llm, asking())
    assert caught.value.usage == Usage(cost=0)
    with pytest.raises(ModelUnavailable, match="busy"):
        await pick(llm, asking())
    assert (await llm.ask(asking())) is whole
    with pytest.raises(
        ScriptEnded, match=r"after 5 answers none is left for state 'Triage' of run r1\. It was asked: 'What now\?'"
    ):
        await llm.ask(asking())


def chosen(answer: Answer) -> Object:
    assert isinstance(answer.chosen, dict)
    return answer.chosen


async def test_a_script_can_go_by_state_or_be_computed() -> None:
    llm = Scripted({"Triage": [Escalate(), Decline(reason="no")], "Read": {"intent": "escalate"}})
    intents = [chosen(await llm.ask(asking(state)))["intent"] for state in ("Read", "Triage", "Read", "Triage")]
    assert intents == ["escalate", "escalate", "escalate", "decline"]
    assert [request.state for request in llm.requests] == ["Read", "Triage", "Read", "Triage"]
    with pytest.raises(ScriptEnded, match="no answer for state 'Wrtie'; it knows Triage, Read"):
        await llm.ask(asking("Wrtie"))

    async def think(request: Request) -> Reply[str]:
        await asyncio.sleep(0)
        return Decline(reason=request.state)

    assert chosen(await Scripted(think).ask(asking("Read")))["reason"] == "Read"


async def test_scripted_answers_are_sure_where_confidence_is_asked_for() -> None:
    answer = await Scripted([Escalate()]).ask(asking(choices=SURE))
    assert ordered(answer.chosen) == '{"intent":"escalate","confidence":1.0}'


def test_a_script_shared_by_threads_says_each_line_once() -> None:
    llm = Scripted([Decline(reason=str(n)) for n in range(400)])
    said: list[Json] = []

    async def ask() -> None:
        said.extend([chosen(await llm.ask(asking()))["reason"] for _ in range(100)])

    threads = [Thread(target=lambda: asyncio.run(ask())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, said)) == sorted(map(str, range(400)))
