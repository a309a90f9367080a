"""The offline model: the closest example, the run's own values, and somebody to turn to when nothing is close."""

from decimal import Decimal
from typing import Literal

import pytest

from leverframe.canon import Object
from leverframe.errors import PromptError
from leverframe.llm import Choices, ExamplesLLM, Request, Usage, pick, request_hash
from leverframe.prompt import Prompt, render
from leverframe.state import Reply
from leverframe.tool import tool


@tool(effect="once", approval=True)
async def issue_refund(order_id: int, amount: Decimal) -> str:
    """Pay money back."""
    return f"{order_id} {amount}"


class AskCustomer(Reply[Literal["ask_customer"]]):
    question: str


class Decline(Reply[Literal["decline"]]):
    reason: str


class Escalate(Reply[Literal["escalate"]]):
    reason: str = ""


CHOICES = Choices((issue_refund, AskCustomer, Decline, Escalate))
TEXT = """---
examples:
  - when: Order 1001 arrived broken, refund please
    reply: {intent: issue_refund, arguments: {order_id: "{{ order.id }}", amount: "{{ order.refundable }}"}}
  - when: Order 1001 never arrived, I want my money back
    reply: {intent: issue_refund, arguments: {order_id: "{{ order.id }}", amount: "{{ order.refundable }}"}}
  - when: {message: I want a refund, order: null}
    reply: {intent: ask_customer, question: "Which order is this about?"}
  - when: I do not like the colour of order 1001
    reply: {intent: decline, reason: "Order {{ numbers[0] }}: taste is no defect"}
  - when: {message: "Order 1001 arrived broken, refund please", window: "decision: rejected"}
    reply: {intent: decline, reason: It was looked at and rejected}
  - when: Where is order 1001?
    reply: {intent: escalate, reason: "asked: {{ text }}"}
otherwise: {intent: escalate, reason: none is close}
---
# user
{{ window }}
{{ message }}
"""
PROMPT = Prompt.parse("refund/triage", "", TEXT)
ORDER: Object = {"id": 1042, "refundable": 45.5}


def asking(
    message: str, order: Object | None = ORDER, window: str = "", prompt: Prompt = PROMPT, choices: Choices = CHOICES
) -> Request:
    memory: Object = {"message": message, "order": order}
    return Request(render(prompt, {**memory, "window": window}), choices, prompt=prompt, memory=memory, state="Triage")


async def says(message: str, order: Object | None = ORDER, window: str = "", prompt: Prompt = PROMPT) -> Object:
    _, picked = await pick(ExamplesLLM(), asking(message, order, window, prompt))
    return picked.json()


REFUND = {"tool_name": "issue_refund", "arguments": {"order_id": 1042, "amount": "45.5"}}
NONE = {"intent": "escalate", "reason": "none is close"}


@pytest.mark.parametrize(
    "message",
    [
        "Order 1042 arrived broken, I want my money back",
        "order #1042 arrived broken!!!",
        "Hello, order 1042 has arrived broken. Could I please have a refund?",
        "I never got it: order 7 never arrived and I want my money back",
    ],
)
async def test_what_is_close_gets_the_example_with_the_runs_own_values(message: str) -> None:
    assert await says(message) == REFUND


@pytest.mark.parametrize(
    "message",
    [
        "Write me a poem about frogs",
        "hello",
        "",
        "Order 1042 arrived yesterday, thank you!",
        "1042",
        "Was kostet der Versand?",
        "壊れた",
        "I do not want a refund for order 1042, it arrived broken and I repaired it",
    ],
)
async def test_what_is_close_to_none_goes_to_a_person(message: str) -> None:
    assert await says(message) == NONE


async def test_values_of_a_reply_can_come_from_the_text_that_matched() -> None:
    assert await says("I don't like the colour of order 77") == {"intent": "decline", "reason": "Order 77: taste is no defect"}
    assert await says("where is order 5") == {"intent": "escalate", "reason": "asked: where is order 5"}


async def test_an_example_whose_values_are_not_there_does_not_apply() -> None:
    assert await says("Order 1042 arrived broken, refund please", order=None) != REFUND
    assert await says("Order 1042 arrived broken, refund please", order={"id": 1042}) == NONE
    assert await says("Order 1042 arrived broken, refund please", order={"id": 1042, "refundable": None}) == NONE


async def test_conditions_are_met_all_or_the_example_does_not_apply() -> None:
    assert await says("I want a refund", order=None) == {"intent": "ask_customer", "question": "Which order is this about?"}
    assert await says("I want a refund") == NONE
    any_order = Prompt.parse(
        "a/b",
        "",
        TEXT.replace("order: null}", "order: {refundable: 45.5}}").replace("Which order is this about?", "What is wrong?"),
    )
    assert await says("I want a refund", prompt=any_order) == {"intent": "ask_customer", "question": "What is wrong?"}
    assert await says("I want a refund", order={"id": 1, "refundable": 3}, prompt=any_order) == NONE


async def test_more_conditions_win_over_fewer() -> None:
    rejected = "<decided>\narguments: {decision:   Rejected}\n</decided>"
    assert await says("Order 1042 arrived broken, refund please", window=rejected) == {
        "intent": "decline",
        "reason": "It was looked at and rejected",
    }


async def test_it_says_that_it_is_offline_costs_nothing_and_answers_the_same_always() -> None:
    llm = ExamplesLLM()
    request = asking("Order 1042 arrived broken, I want my money back")
    answers = [await llm.ask(request) for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    assert llm.offline
    assert (answers[0].usage, answers[0].model) == (Usage(cost=0), "examples")
    assert answers[0].request_hash == request_hash(request.messages)


async def test_confidence_is_the_similarity() -> None:
    sure = Choices((issue_refund, AskCustomer, Decline, Escalate), threshold=0.9)
    close = asking("Order 1042 arrived broken, refund please", choices=sure)
    _, picked = await pick(ExamplesLLM(), close)
    assert picked.confidence == 1.0
    _, picked = await pick(ExamplesLLM(), asking("Order 1042 arrived broken, what a shame", choices=sure))
    assert (picked.unsure, picked.intent) == (True, "issue_refund")
    _, picked = await pick(ExamplesLLM(), asking("hello", choices=sure))
    assert (picked.confidence, picked.intent) == (1.0, "escalate")


async def test_a_prompt_without_examples_is_no_prompt_for_it() -> None:
    bare = Prompt.parse("refund/triage", "", "# user\n{{ message }}{{ window }}")
    with pytest.raises(PromptError, match=r"prompts/refund/triage\.md: the offline model answers from examples"):
        await ExamplesLLM().ask(asking("hello", prompt=bare))


async def test_an_example_that_could_never_be_given_is_an_error_not_a_silence() -> None:
    wrong = Prompt.parse("a/b", "", TEXT.replace('question: "Which', 'qestion: "Which'))
    with pytest.raises(PromptError, match=r"an example's reply does not fit: ask_customer: question: Field required"):
        await says("I want a refund", order=None, prompt=wrong)
    wrong = Prompt.parse("a/b", "", TEXT.replace("{intent: escalate, reason: none", "{intent: give_up, reason: none"))
    with pytest.raises(PromptError, match="intent 'giv…' is not offered"):
        await says("hello", prompt=wrong)
