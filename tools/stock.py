"""The warehouse: what is there, the carrier that takes it to a shop, the supplier that sells more of it."""

import os

from pydantic import BaseModel, Field

from leverframe import Key, tool
from tools.mail import Mail, send
from tools.provider import Provider

carrier = Provider("CARRIER_URL")
supplier = Provider("SUPPLIER_URL")


class Delivery(BaseModel):
    shop: str
    article: str
    units: int = Field(gt=0)


class Shipment(Delivery):
    id: str


class Needed(BaseModel):
    article: str
    units: int = Field(gt=0)


class Purchase(Needed):
    id: str


class Shortage(BaseModel):
    report: str = Field(pattern=r"^[\w.-]+$")
    article: str
    units: int
    cause: str


@tool(effect="read")
def check_inventory(article: str) -> int:
    """How many units the warehouse has."""
    from tools.tables import Stock, reading

    with reading() as session:
        row = session.get(Stock, article)
        return row.units if row else 0


@tool(effect="keyed")
def ship(key: Key, delivery: Delivery) -> Shipment:
    """Have the carrier take units of an article to a shop. The warehouse books what leaves it."""
    return carrier.do("shipments", key, delivery, Shipment)


@tool(effect="read")
def find_shipment(key: str) -> Shipment | None:
    """What was shipped under an idempotency key, or nothing."""
    return carrier.find("shipments", key, Shipment)


@tool(effect="keyed")
def purchase(key: Key, needed: Needed) -> Purchase:
    """Buy units of an article for the warehouse."""
    return supplier.do("purchases", key, needed, Purchase)


@tool(effect="read")
def find_purchase(key: str) -> Purchase | None:
    """What was bought under an idempotency key, or nothing."""
    return supplier.find("purchases", key, Purchase)


@tool(effect="once")
def notify_procurement(shortage: Shortage) -> str:
    """Tell the procurement manager, by mail, what could not be bought. Gives the Message-ID."""
    to = os.environ.get("PROCUREMENT_MAIL", "procurement@example.com")
    subject = f"Could not buy {shortage.units} x {shortage.article}"
    return send(Mail(to=to, subject=subject, text=shortage.cause, reference=shortage.report))
