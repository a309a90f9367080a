"""The shop's orders and what was paid back on them."""

from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from pydantic import BaseModel

from leverframe import tool

if TYPE_CHECKING:
    from sqlmodel import Session


class Order(BaseModel):
    id: int
    customer: str
    article: str
    paid: Decimal
    refundable: Decimal
    """What is left of it after earlier refunds."""


class EarlierRefund(BaseModel):
    order_id: int
    amount: Decimal
    booked_on: date


@tool(effect="read")
def find_order(order_id: int) -> Order | None:
    """The order with this number, or nothing."""
    from sqlmodel import func, select

    from tools.tables import Orders, Refunds, euros, reading

    with reading() as session:
        order = session.get(Orders, order_id)
        if order is None:
            return None
        refunded = session.exec(select(func.sum(Refunds.cents)).where(Refunds.order_id == order_id)).one() or 0
        left = euros(order.cents - int(refunded))
        return Order(id=order.id, customer=order.customer, article=order.article, paid=euros(order.cents), refundable=left)


@tool(effect="read")
def earlier_refunds(order_id: int, days: int = 90) -> list[EarlierRefund]:
    """What the customer of this order got back lately, on any order."""
    from sqlmodel import col, select

    from tools.tables import Orders, Refunds, euros, reading, today

    with reading() as session:
        customer = select(Orders.customer).where(Orders.id == order_id).scalar_subquery()
        since = today(session) - timedelta(days=days)
        found = (
            select(Refunds)
            .join(Orders)
            .where(Orders.customer == customer, col(Refunds.booked_on) >= since)
            .order_by(col(Refunds.booked_on))
        )
        return [
            EarlierRefund(order_id=row.order_id, amount=euros(row.cents), booked_on=row.booked_on or since)
            for row in session.exec(found)
        ]


@tool(effect="local")
def book_refund(session: "Session", order_id: int, amount: Decimal, payment: str) -> None:
    """Book what was paid back, in the transaction that commits the step."""
    from tools.tables import Refunds, cents

    session.add(Refunds(payment=payment, order_id=order_id, cents=cents(amount)))
