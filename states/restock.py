"""What the restock agent knows, and what happens in each of its states."""

from typing import Literal

from pydantic import BaseModel, Field

from leverframe import Act, Call, Compact, End, Fetch, Got
from states import common
from tools.mail import find_mail
from tools.stock import (
    Delivery,
    Needed,
    Shortage,
    check_inventory,
    find_purchase,
    find_shipment,
    notify_procurement,
    purchase,
    ship,
)


class SalesReport(BaseModel):
    """What a shop sold of one article, and wants again."""

    number: str = Field(pattern=r"^[\w.-]+$")
    shop: str
    article: str
    sold: int = Field(gt=0)


class Supply(BaseModel):
    """What the shop gets; without a shipment, the note says who takes care of it."""

    report: SalesReport
    shipment: str | None = None
    note: str = ""


class Restock(common.Case):
    """A shop that needs more of an article."""

    report: SalesReport
    in_stock: int = 0
    purchase: str | None = None
    shipment: str | None = None

    @property
    def missing(self) -> int:
        return max(self.report.sold - self.in_stock, 0)

    def facts(self) -> str:
        report = self.report
        bought = f", {self.missing} were bought ({self.purchase})" if self.purchase else ""
        return f"{report.shop} sold {report.sold} x {report.article} (report {report.number}); {self.in_stock} were in stock{bought}."

    def so_far(self) -> str:
        if self.shipment:
            return f"It was sent to the shop: {self.shipment}."
        return "No shipment is recorded: ask the carrier before you send anything."

    def result(self) -> Supply:
        return Supply(report=self.report, shipment=self.shipment, note=self.note)


class HandOver(common.HandOver):
    """It failed too often: somebody in the warehouse takes over."""

    to = "warehouse"


class Check(Fetch[Restock]):
    """See what is there."""

    runs = (check_inventory,)

    def calls(self, memory: Restock) -> list[Call[object]]:
        return [check_inventory.call(memory.report.article)]

    def keep(self, memory: Restock, got: Got) -> Literal["enough", "short"]:
        memory.in_stock = got[check_inventory]
        return "short" if memory.missing else "enough"


class Buy(Act[Restock]):
    """Buy what is missing."""

    runs = (purchase,)

    def build(self, memory: Restock) -> Call[object]:
        return purchase.call(Needed(article=memory.report.article, units=memory.missing))

    def keep(self, memory: Restock, got: Got) -> None:
        memory.purchase = got[purchase].id


class Bought(Fetch[Restock]):
    """Nobody knows whether it was bought: the supplier does."""

    runs = (find_purchase,)

    def calls(self, memory: Restock) -> list[Call[object]]:
        return [find_purchase.call(self.key)]

    def keep(self, memory: Restock, got: Got) -> Literal["happened", "not_happened"]:
        found = got[find_purchase]
        memory.purchase = found.id if found else None
        return "happened" if found else "not_happened"


class Refused(Compact):
    """A supplier that said no says it again: no second try."""

    times = 1


class Ship(Act[Restock]):
    """Send it to the shop."""

    runs = (ship,)

    def build(self, memory: Restock) -> Call[object]:
        report = memory.report
        return ship.call(Delivery(shop=report.shop, article=report.article, units=report.sold))

    def keep(self, memory: Restock, got: Got) -> None:
        memory.shipment = got[ship].id


class Shipped(Fetch[Restock]):
    """Nobody knows whether it was sent: the carrier does."""

    runs = (find_shipment,)

    def calls(self, memory: Restock) -> list[Call[object]]:
        return [find_shipment.call(self.key)]

    def keep(self, memory: Restock, got: Got) -> Literal["happened", "not_happened"]:
        found = got[find_shipment]
        memory.shipment = found.id if found else None
        return "happened" if found else "not_happened"


class Tell(Act[Restock]):
    """The procurement manager must know."""

    runs = (notify_procurement,)

    def build(self, memory: Restock) -> Call[object]:
        report, cause = memory.report, f"The supplier refused.\n{memory.facts()}"
        return notify_procurement.call(Shortage(report=report.number, article=report.article, units=memory.missing, cause=cause))


class Told(Fetch[Restock]):
    """Nobody knows whether the manager was told: look for the mail."""

    runs = (find_mail,)

    def calls(self, memory: Restock) -> list[Call[object]]:
        return [find_mail.call(notify_procurement.read(self.call).report)]

    def keep(self, memory: Restock, got: Got) -> Literal["happened", "not_happened"]:
        return "happened" if got[find_mail] else "not_happened"


class Restocked(End[Restock]):
    """It is on its way to the shop."""

    def result(self, memory: Restock) -> Supply:
        return memory.result()


class Reported(End[Restock]):
    """It could not be bought, and the procurement manager knows."""

    def result(self, memory: Restock) -> Supply:
        return Supply(report=memory.report, note="The procurement manager was told.")
