"""The payment provider. It honours our keys, so a refund is paid exactly once, whatever crashes."""

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, Field

from leverframe import Key, tool
from tools.provider import Provider

provider = Provider("PAYMENTS_URL")

Euros = Annotated[Decimal, Field(gt=0, max_digits=8, decimal_places=2)]


class RefundOrder(BaseModel):
    order_id: int
    amount: Euros = Field(description="In euros, at most what is left to refund of the order.")
    reason: str = Field(description="In a few words, for the person who releases it.")


class Payment(BaseModel):
    id: str
    order_id: int
    amount: Euros


@tool(effect="keyed")
def issue_refund(key: Key, refund: RefundOrder) -> Payment:
    """Pay money back to the customer, on the way it came."""
    return provider.do("refunds", key, refund, Payment)


@tool(effect="read")
def find_payment(key: str) -> Payment | None:
    """What was paid under an idempotency key, or nothing."""
    return provider.find("refunds", key, Payment)
