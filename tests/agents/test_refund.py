"""The refund agent on its real rooms: a test for each way a case can go. What people read is checked as they read it."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from mailbox import Maildir
from pathlib import Path

import pytest

from leverframe import Call, Reply, TriggerCommand
from leverframe.testing import Engines, ExamplesLLM, Play, Scripted, play
from machines.refund import refund
from states.common import Escalate
from states.refund import AskCustomer, Decline, Refund
from tools import sandbox
from tools.orders import earlier_refunds, find_order
from tools.payments import Payment, RefundOrder, issue_refund
from tools.tables import reading

BROKEN = "Order 1042 arrived broken, I want my money back"
SMALL = "Order 1045 arrived broken"
NOWHERE = "http://127.0.0.1:1"


async def case(engine: Engines, message: str, *said: Reply[str] | Call[object]) -> Play:
    """A customer writes. The model says what is `said`; where nothing is, the examples of the prompt answer."""
    return await play(engine(refund, llm=Scripted(said) if said else ExamplesLLM()), Refund(message=message))


def pays(amount: str, order_id: int = 1042) -> Call[Payment]:
    return issue_refund.call(RefundOrder(order_id=order_id, amount=Decimal(amount), reason="broken"))


def paid() -> list[tuple[object, object]]:
    return [(payment["order_id"], payment["amount"]) for payment in sandbox.done("refunds")]


def left_of(order_id: int) -> Decimal:
    order = find_order(order_id)
    assert order
    return order.refundable


def mails(folder: Path | None = None) -> list[tuple[str, str]]:
    return [(message["To"], message["Subject"]) for message in Maildir(folder or sandbox.beside(".outbox"))]


# ── as it should go ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_large_refund_is_paid_booked_and_told_once_a_person_released_it(engine: Engines) -> None:
    run = await case(engine, BROKEN)
    task = await run.task()
    assert (run.state, task.kind, task.to) == ("Release", "approve", "team lead")
    assert task.content == (
        "Order 1042: desk lamp, 129.00 € paid, 129.00 € of it not refunded yet.\n"
        "gloria@example.com had 2 refunds in 90 days.\n"
        "The customer wrote: Order 1042 arrived broken, I want my money back"
    )
    assert paid() == []
    await run.approve()
    assert (run.state, run.status) == ("Refunded", "done")
    assert await run.effects() == [("issue_refund", "done"), ("book_refund", "done"), ("send_mail", "done")]
    assert paid() == [(1042, "129.00")]
    assert (left_of(1042), len(earlier_refunds(1042))) == (Decimal(0), 3)
    assert mails() == [("gloria@example.com", "Your refund, order 1042")]
    assert await run.engine.verify(run.run.id)


async def test_a_small_refund_needs_nobody(engine: Engines) -> None:
    run = await case(engine, SMALL)
    assert (run.state, run.status, paid()) == ("Refunded", "done", [(1045, "12.50")])


async def test_what_is_no_claim_is_declined_with_a_reason(engine: Engines) -> None:
    run = await case(engine, "I do not like the colour of order 1017")
    assert (run.state, run.status) == ("Declined", "done")
    assert run.run.result == {"payment": None, "reason": "We take back what is broken or wrong, not what is disliked."}


# ── the customer is asked ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_customer_who_names_no_order_is_asked_for_it_and_for_what_is_wrong(engine: Engines) -> None:
    run = await case(engine, "I want my money back")
    task = await run.task()
    assert (run.state, task.to) == ("Customer", "customer")
    assert task.content == "Which order is this about? You find its number in your confirmation e-mail."
    await run.answer("It is 1042")
    assert (await run.task()).content.startswith("What is wrong with it")
    await run.answer("It arrived broken")
    assert run.state == "Release"
    assert (await run.task()).content.endswith("The customer answered: It arrived broken")


async def test_an_order_that_does_not_exist_is_asked_for_again(engine: Engines) -> None:
    run = await case(engine, "Order 9999 arrived broken")
    assert (await run.task()).content == "There is no order 9999. Which number is in your confirmation e-mail?"
    await run.answer("Sorry: 1042")
    assert run.state == "Release"


async def test_after_three_questions_a_person_takes_over(engine: Engines) -> None:
    run = await case(engine, "I want my money back")
    for _ in range(3):
        assert run.state == "Customer"
        await run.answer("I do not know")
    assert run.state == "HandOver"
    assert "Why: The customer was asked 3 times, and it is still not clear." in (await run.task()).content


async def test_a_customer_who_does_not_answer_gets_nothing(engine: Engines) -> None:
    run = await case(engine, "I want my money back")
    await run.later(timedelta(days=4))
    assert (run.state, run.run.result) == ("Declined", {"payment": None, "reason": "You did not answer our question."})


# ── a person takes over ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_request_like_none_of_the_examples_goes_to_a_person(engine: Engines) -> None:
    run = await case(engine, "Can I pay with seashells?")
    task = await run.task()
    assert (run.state, task.kind, task.to) == ("HandOver", "answer", "support")
    assert task.content == (
        "Please take over, and write what you did.\n"
        "Why: The offline model knows no case like this.\n"
        "The customer wrote: Can I pay with seashells?"
    )
    await run.answer("Told them that we take cards.")
    assert (run.state, run.status) == ("Closed", "done")
    assert run.run.result == {"payment": None, "reason": "Told them that we take cards."}


async def test_what_nobody_takes_over_ends_as_a_failure(engine: Engines) -> None:
    run = await case(engine, "Can I pay with seashells?")
    await run.later(timedelta(days=4))
    assert (run.state, run.status) == ("Unanswered", "failed")


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (pays("129.01"), "129.01 € were proposed, and only 129.00 € are left of order 1042."),
        (pays("12.00", order_id=1045), "A refund for order 1045 was proposed, which is not the order this is about."),
    ],
)
async def test_what_the_order_does_not_give_is_never_paid(engine: Engines, call: Call[Payment], why: str) -> None:
    run = await case(engine, BROKEN, call)
    assert run.state == "HandOver"
    assert f"Why: {why}" in (await run.task()).content
    assert paid() == []


# ── the release ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_after_a_no_the_model_reads_why_and_asks_the_customer(engine: Engines) -> None:
    model = Scripted([pays("129"), AskCustomer(question="Can you send a photo?"), pays("60")])
    run = await play(engine(refund, llm=model), Refund(message=BROKEN))
    await run.reject("a photo first")
    assert (run.state, (await run.task()).content) == ("Customer", "Can you send a photo?")
    assert "a photo first" in model.requests[1].messages[-1].content
    await run.answer("Here it is")
    assert (await run.task()).content.endswith("We asked: Can you send a photo?\nThe customer answered: Here it is")
    await run.approve()
    assert (run.state, paid()) == ("Refunded", [(1042, "60")])


async def test_after_a_no_the_same_is_not_proposed_again(engine: Engines) -> None:
    run = await case(engine, BROKEN)
    await run.reject("not our fault")
    assert (run.state, paid()) == ("HandOver", [])


async def test_a_changed_and_released_amount_is_what_is_paid(engine: Engines) -> None:
    run = await case(engine, BROKEN)
    await run.approve({"order_id": 1042, "amount": "100.00", "reason": "the bulb works"})
    assert (run.state, paid()) == ("Refunded", [(1042, "100.00")])
    assert (await run.effects())[:2] == [("issue_refund", "void"), ("issue_refund", "done")]
    assert left_of(1042) == Decimal(29)


async def test_a_change_is_shown_to_the_next_person_with_all_they_need(engine: Engines) -> None:
    run = await case(engine, BROKEN)
    before = (await run.task()).content
    await run.edit({"order_id": 1042, "amount": "100.00", "reason": "the bulb works"}, by="ann")
    task = await run.task()
    assert (run.state, task.to, task.content) == ("Release", "team lead", f"Edited by ann.\n{before}")
    assert task.call == pays("100.00").json() | {"arguments": {"order_id": 1042, "amount": "100.00", "reason": "the bulb works"}}
    await run.approve(by="bob")
    assert paid() == [(1042, "100.00")]


@pytest.mark.parametrize("change", [{"amount": "1290"}, {"order_id": 1045, "amount": "12"}])
async def test_not_even_a_person_pays_more_than_the_order_gives(engine: Engines, change: dict[str, object]) -> None:
    run = await case(engine, BROKEN)
    await run.approve({"order_id": 1042, "amount": "129.00", "reason": "broken", **change})
    assert (run.state, paid()) == ("HandOver", [])


async def test_of_two_requests_for_one_order_only_the_first_released_is_paid(engine: Engines) -> None:
    first, second = await case(engine, BROKEN), await case(engine, BROKEN)
    await second.approve()
    await first.approve()
    assert (first.state, second.state, paid()) == ("HandOver", "Refunded", [(1042, "129.00")])
    assert "Why: 129.00 € were proposed, and only 0.00 € are left of order 1042." in (await first.task()).content


async def test_what_nobody_releases_in_time_goes_to_a_person(engine: Engines) -> None:
    run = await case(engine, BROKEN)
    await run.later(timedelta(days=3))
    assert (run.state, paid()) == ("HandOver", [])
    assert "Why: It was not decided in time, or took too long." in (await run.task()).content


# ── the shop's own tables ────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def without(table: str) -> Generator[None]:
    """Somebody is working on the database, and a table is not there."""

    def rename(was: str, to: str) -> None:
        with reading() as session:
            session.connection().exec_driver_sql(f"ALTER TABLE {was} RENAME TO {to}")
            session.commit()

    rename(table, f"{table}_gone")
    yield
    rename(f"{table}_gone", table)


async def test_an_order_that_cannot_be_looked_up_goes_to_a_person_who_reads_why(engine: Engines) -> None:
    run = await case(engine, SMALL)  # makes the tables
    with without("orders"):
        run = await case(engine, SMALL)
    assert (run.state, paid()) == ("HandOver", [(1045, "12.50")])
    assert "no such table: orders" in (await run.task()).content


async def test_a_released_call_whose_order_cannot_be_looked_up_again_is_not_paid_and_asked_for_anew(engine: Engines) -> None:
    run = await case(engine, BROKEN, pays("129.00"), pays("129.00"))
    with without("orders"):
        await run.approve()
    assert (run.state, paid()) == ("Release", [])
    await run.approve()
    assert (run.state, paid()) == ("Refunded", [(1042, "129.00")])
    assert (await run.effects())[:2] == [("issue_refund", "void"), ("issue_refund", "done")]


async def test_what_is_paid_and_cannot_be_booked_is_not_paid_again(engine: Engines) -> None:
    agent = engine(refund, llm=ExamplesLLM())
    row = await agent.start(TriggerCommand("refund", {"message": SMALL}))
    while row.run.state != "Book":
        row = await agent.step(row.run.id)
    with without("refunds"):
        run = await Play(agent, row.run).go_on()
    assert (run.state, paid()) == ("HandOver", [(1045, "12.50")])
    assert await run.effects() == [("issue_refund", "done"), *[("book_refund", "failed")] * 3]
    assert "12.50 € were paid back for order 1045" in (await run.task()).content


# ── the payment provider ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_the_provider_refuses_the_model_reads_and_decides_anew(engine: Engines) -> None:
    model = Scripted([pays("20", 1013), Decline(reason="Your card is closed; write us another account.")])
    run = await play(engine(refund, llm=model), Refund(message="Order 1013 arrived broken"))
    assert (run.state, paid()) == ("Declined", [])
    assert "refused: the customer's card is closed" in model.requests[1].messages[-1].content


async def test_after_three_refusals_a_person_takes_over_and_knows_why(engine: Engines) -> None:
    run = await case(engine, "Order 1013 arrived broken", *[pays("20", 1013)] * 3)
    assert run.state == "HandOver"
    content = (await run.task()).content
    assert "Why: refused: the customer's card is closed" in content
    assert "A refund of 20.00 € was proposed. No payment is recorded: ask the provider before you pay." in content


async def test_a_provider_that_comes_back_is_paid_with_the_same_key(engine: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYMENTS_URL", NOWHERE)
    agent = engine(refund, llm=ExamplesLLM())
    agent.patience = 0
    run = await play(agent, Refund(message=SMALL))
    assert (run.state, run.status, await run.effects()) == ("Pay", "ready", [("issue_refund", "started")])
    monkeypatch.delenv("PAYMENTS_URL")
    await run.later(timedelta(seconds=1))
    assert (run.state, paid()) == ("Refunded", [(1045, "12.50")])


async def test_a_payment_whose_answer_got_lost_is_found(engine: Engines) -> None:
    run = await case(engine, "Order 1025 arrived broken")
    assert (run.state, paid()) == ("Refunded", [(1025, "12.50")])


async def test_a_payment_that_did_not_happen_is_decided_anew(engine: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYMENTS_URL", NOWHERE)
    agent = engine(refund, llm=Scripted([pays("12.50", 1045), pays("12.50", 1045)]))
    agent.patience = 0
    run = await play(agent, Refund(message=SMALL))
    while run.state == "Pay":  # tried four times, with the same key
        await agent.clock.sleep(5)
        run.run = (await agent.step(run.run.id)).run
    assert run.state == "Paid"
    monkeypatch.delenv("PAYMENTS_URL")
    await run.go_on()
    assert (run.state, paid()) == ("Refunded", [(1045, "12.50")])
    assert (await run.effects())[:2] == [("issue_refund", "not_done"), ("issue_refund", "done")]


async def test_while_nobody_knows_of_a_payment_a_person_is_told_not_to_pay_blindly(
    engine: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYMENTS_URL", NOWHERE)
    run = await case(engine, SMALL)
    assert (run.state, await run.effects()) == ("HandOver", [("issue_refund", "unknown")])
    content = (await run.task()).content
    assert "the provider cannot be reached" in content
    assert "No payment is recorded: ask the provider before you pay." in content
    await run.settle(happened=False)
    assert await run.effects() == [("issue_refund", "not_done")]


# ── the mail ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_customer_gets_a_real_mail(engine: Engines, archive: Path) -> None:
    run = await case(engine, SMALL)
    assert (run.state, mails(archive)) == ("Refunded", [("chiara@example.com", "Your refund, order 1045")])
    (message,) = Maildir(archive)
    text = message.get_payload(decode=True)
    assert isinstance(text, bytes)
    assert text.decode().strip() == "We have refunded 12.50 € for your order 1045. It takes two or three days to arrive."


async def test_a_mail_nobody_is_sure_of_is_found_in_the_archive(
    engine: Engines, lost_archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAIL_ARCHIVE", str(lost_archive))
    run = await case(engine, SMALL)
    assert (run.state, len(mails(lost_archive))) == ("Refunded", 1)
    assert (await run.effects())[-1] == ("send_mail", "done")


async def test_a_mail_that_cannot_be_found_is_not_sent_twice(engine: Engines, lost_archive: Path) -> None:
    run = await case(engine, SMALL)
    assert (run.state, len(mails(lost_archive))) == ("HandOver", 1)
    assert (await run.effects())[-1] == ("send_mail", "unknown")
    assert "12.50 € were paid back for order 1045 (payment refund-" in (await run.task()).content
    await run.settle(happened=True)
    assert (await run.effects())[-1] == ("send_mail", "done")


async def test_a_mail_server_that_is_down_does_not_take_the_money_back(engine: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_URL", "smtp://127.0.0.1:1")
    run = await case(engine, SMALL)
    assert (run.state, paid()) == ("HandOver", [(1045, "12.50")])
    content = (await run.task()).content
    assert "Why: the mail server cannot be reached" in content
    assert "12.50 € were paid back for order 1045" in content


# ── the model ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_model_that_escalates_says_why(engine: Engines) -> None:
    run = await case(engine, BROKEN, Escalate(reason="They name a lawyer."))
    assert "Why: They name a lawyer." in (await run.task()).content


async def test_a_model_that_cannot_answer_is_asked_three_times(engine: Engines) -> None:
    model = Scripted({"Triage": {"intent": "issue_refund", "arguments": {"order_id": 1042, "amount": "-1", "reason": "broken"}}})
    run = await play(engine(refund, llm=model), Refund(message=BROKEN))
    assert len(model.requests) == 3
    assert (run.state, paid()) == ("HandOver", [])
    assert "amount: Input should be greater than 0" in (await run.task()).content
