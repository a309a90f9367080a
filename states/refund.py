"""What the refund agent knows of a case, and what happens in each of its states."""

import re
from datetime import timedelta
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel

from leverframe import Act, Answered, Ask, Call, Consult, End, Fetch, Got, Reply, Work
from states.common import Case, Escalate
from tools.mail import Mail, find_mail, send_mail
from tools.orders import Order, book_refund, earlier_refunds, find_order
from tools.payments import Payment, RefundOrder, find_payment, issue_refund

SMALL = Decimal(50)
QUESTIONS = 3
NUMBERS = (re.compile(r"(?:order|#)\D{0,12}(\d{4,8})\b", re.IGNORECASE), re.compile(r"\b(\d{4,8})\b"))


class Answer(BaseModel):
    """What became of the customer's wish."""

    payment: Payment | None = None
    reason: str = ""


class Refund(Case):
    """A customer who wants money back."""

    message: str
    order_id: int | None = None
    order: Order | None = None
    earlier: int = 0  # refunds of this customer in 90 days, on any order
    question: str = ""
    answer: str | None = None
    asked: int = 0
    proposed: Decimal | None = None  # a refund that was not paid: a person or the provider said no
    payment: Payment | None = None

    def facts(self) -> str:
        lines = [f"The customer wrote: {self.message}"]
        if self.answer:
            lines += [f"We asked: {self.question}", f"The customer answered: {self.answer}"]
        if order := self.order:
            refunds = "1 refund" if self.earlier == 1 else f"{self.earlier or 'no'} refunds"
            lines = [
                f"Order {order.id}: {order.article}, {order.paid} € paid, {order.refundable} € of it not refunded yet.",
                f"{order.customer} had {refunds} in 90 days.",
                *lines,
            ]
        return "\n".join(lines)

    def so_far(self) -> str:
        if paid := self.payment:
            return f"{paid.amount:.2f} € were paid back for order {paid.order_id} (payment {paid.id})."
        if self.proposed is None:
            return ""
        return f"A refund of {self.proposed:.2f} € was proposed. No payment is recorded: ask the provider before you pay."

    def within(self, refund: RefundOrder) -> bool:
        """Is it for this order, and not more than what is left of it? Says why not in `reason`."""
        order = self.order
        if order is None or refund.order_id != order.id:
            self.reason = f"A refund for order {refund.order_id} was proposed, which is not the order this is about."
        elif refund.amount > order.refundable:
            self.reason = f"{refund.amount:.2f} € were proposed, and only {order.refundable} € are left of order {order.id}."
        else:
            return True
        return False

    def result(self) -> Answer:
        return Answer(payment=self.payment, reason=self.note or self.reason)


class AskCustomer(Reply[Literal["ask_customer"]]):
    """Something that only the customer knows is missing, for example the number of the order."""

    question: str


class Decline(Reply[Literal["decline"]]):
    """The customer has no claim: say why in one sentence that can be shown to them."""

    reason: str


class Read(Work[Refund]):
    """Find the order's number in the customer's own words."""

    def run(self, memory: Refund) -> Literal["number", "none", "enough"]:
        found = next((match for number in NUMBERS if (match := number.search(memory.answer or memory.message))), None)
        if memory.asked > QUESTIONS or (memory.asked == QUESTIONS and not found):
            memory.reason = f"The customer was asked {memory.asked} times, and it is still not clear."
            return "enough"
        if found:
            memory.order_id = int(found[1])
        return "number" if memory.order_id else "none"


class LookUp(Fetch[Refund]):
    """Know the order, and what its customer got back lately, before anybody thinks."""

    runs = (find_order, earlier_refunds)

    def calls(self, memory: Refund) -> list[Call[object]]:
        return [find_order.call(memory.order_id), earlier_refunds.call(memory.order_id)] if memory.order_id else []

    def keep(self, memory: Refund, got: Got) -> Literal["found", "missing"]:
        memory.order = got.get(find_order)
        memory.earlier = len(got.get(earlier_refunds) or [])
        if memory.order:
            return "found"
        memory.question = f"There is no order {memory.order_id}. Which number is in your confirmation e-mail?"
        memory.order_id = None
        return "missing"


class Triage(Ask[Refund]):
    """Decide what the customer is owed."""

    prompt = "refund/triage"
    replies = (issue_refund, AskCustomer, Decline, Escalate)

    def keep(self, memory: Refund, reply: AskCustomer | Decline | Escalate) -> None:
        if isinstance(reply, AskCustomer):
            memory.question = reply.question
        else:
            memory.reason = reply.reason


class Customer(Consult[Refund]):
    """Ask the customer."""

    to = "customer"
    deadline = timedelta(days=3)

    def question(self, memory: Refund) -> str:
        return memory.question

    def keep(self, memory: Refund, reply: Answered) -> None:
        memory.answer = reply.text
        memory.asked += 1


class Limit(Work[Refund]):
    """Small refunds need nobody, and none goes beyond its order."""

    def run(self, memory: Refund) -> Literal["small", "large", "unfounded"]:
        refund = issue_refund.read(self.call)
        memory.proposed = refund.amount
        if not memory.within(refund):
            return "unfounded"
        return "small" if refund.amount <= SMALL else "large"


class Recheck(Fetch[Refund]):
    """The person may have changed the amount, and days may have passed: what is left of the order now?"""

    runs = (find_order,)

    def calls(self, memory: Refund) -> list[Call[object]]:
        return [find_order.call(issue_refund.read(self.call).order_id)]

    def keep(self, memory: Refund, got: Got) -> Literal["within", "beyond"]:
        refund, order = issue_refund.read(self.call), got[find_order]
        memory.proposed = refund.amount
        if order and memory.order and order.id == memory.order.id:
            memory.order = order
        return "within" if memory.within(refund) else "beyond"


class Pay(Act[Refund]):
    """The money goes back."""

    runs = (issue_refund,)

    def keep(self, memory: Refund, got: Got) -> None:
        memory.payment = got[issue_refund]


class Paid(Fetch[Refund]):
    """Nobody knows whether it was paid: the provider does."""

    runs = (find_payment,)

    def calls(self, memory: Refund) -> list[Call[object]]:
        return [find_payment.call(self.key)]

    def keep(self, memory: Refund, got: Got) -> Literal["happened", "not_happened"]:
        memory.payment = got[find_payment]
        return "happened" if memory.payment else "not_happened"


class Book(Act[Refund]):
    """The refund stands in our books."""

    runs = (book_refund,)

    def build(self, memory: Refund) -> Call[object]:
        assert memory.payment
        return book_refund.call(memory.payment.order_id, memory.payment.amount, memory.payment.id)


class Notify(Act[Refund]):
    """The customer is told."""

    runs = (send_mail,)

    def build(self, memory: Refund) -> Call[object]:
        order, payment = memory.order, memory.payment
        assert order
        assert payment
        text = f"We have refunded {payment.amount:.2f} € for your order {order.id}. It takes two or three days to arrive."
        mail = Mail(to=order.customer, subject=f"Your refund, order {order.id}", text=text, reference=payment.id)
        return send_mail.call(mail)


class Sent(Fetch[Refund]):
    """Nobody knows whether the mail went out: look for it."""

    runs = (find_mail,)

    def calls(self, memory: Refund) -> list[Call[object]]:
        return [find_mail.call(send_mail.read(self.call).reference)]

    def keep(self, memory: Refund, got: Got) -> Literal["happened", "not_happened"]:
        return "happened" if got[find_mail] else "not_happened"


class Refunded(End[Refund]):
    """The customer has the money, and knows it."""

    def result(self, memory: Refund) -> Answer:
        return memory.result()


class Declined(End[Refund]):
    """The customer gets nothing, and reads why."""

    def result(self, memory: Refund) -> Answer:
        return Answer(reason=memory.reason or "You did not answer our question.")
