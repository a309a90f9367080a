"""What the sales report agent knows, and what happens in each of its states."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, Field

from leverframe import Delegate, End, Work
from states import common
from states.restock import Restock, SalesReport, Supply


class Line(BaseModel):
    """One article on a shop's day."""

    article: str
    sold: int
    left: int


class Supplies(BaseModel):
    """What the shop gets."""

    supplies: list[Supply]
    note: str = ""


class Day(common.Case):
    """What a shop sold in a day."""

    number: str = Field(pattern=r"^[\w.-]+$")
    shop: str
    lines: list[Line]
    low: list[SalesReport] = Field(default=[])
    supplies: list[Supply] = Field(default=[])

    def facts(self) -> str:
        return f"Report {self.number} of {self.shop}; low are: {', '.join(report.article for report in self.low) or 'none'}."

    def result(self) -> Supplies:
        return Supplies(supplies=self.supplies, note=self.note)


class HandOver(common.HandOver):
    """Restocking failed: somebody in the warehouse takes over."""

    to = "warehouse"


class Find(Work[Day]):
    """Low is what would not last another day like this one."""

    def run(self, memory: Day) -> Literal["some", "none"]:
        memory.low = [
            SalesReport(number=f"{memory.number}-{index}", shop=memory.shop, article=line.article, sold=line.sold)
            for index, line in enumerate(memory.lines, 1)
            if line.left < line.sold
        ]
        return "some" if memory.low else "none"


class Restocks(Delegate[Day, Supply]):
    """One run of the restock agent for each article that is low."""

    machine = "restock"
    deadline = timedelta(days=20)
    returns = Supply

    def give(self, memory: Day) -> list[Restock]:
        return [Restock(report=report) for report in memory.low]

    def keep(self, memory: Day, results: Sequence[Supply | None]) -> None:
        memory.supplies = [supply for supply in results if supply]


class Stocked(End[Day]):
    """Everything that was low is taken care of."""

    def result(self, memory: Day) -> Supplies:
        return memory.result()
