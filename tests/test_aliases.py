"""Fields that a provider spells in its own way: what a run keeps of them, it reads back."""

from typing import Literal

import pytest
from pydantic import BaseModel, Field

from leverframe import Back, Call, Compact, Consult, End, Fetch, Got, Machine, Memory, Work, tool
from leverframe.errors import DeclarationError
from tests.house import DAY, House, begin


class Order(BaseModel):
    order_id: int = Field(alias="orderId")


class Desk(Memory):
    order: Order | None = None


@tool(effect="read")
def find() -> Order:
    """Find it."""
    return Order(orderId=7)


class Find(Fetch[Desk]):
    runs = (find,)

    def calls(self, memory: Desk) -> list[Call[Order]]:
        return [find.call()]

    def keep(self, memory: Desk, got: Got) -> None:
        memory.order = got[find]


class Judge(Work[Desk]):
    def run(self, memory: Desk) -> Literal["seven", "other"]:
        return "seven" if memory.order and memory.order.order_id == 7 else "other"


class Done(End[Desk]):
    def result(self, memory: Desk) -> Order | None:
        return memory.order


class Failed(End[Desk]):
    success = False


class Short(Compact):
    pass


seven = Machine(
    "seven",
    memory=Desk,
    edges={
        Find: {"ok": Judge, "error": Short},
        Judge: {"seven": Done, "other": Failed},
        Short: {"retry": Back, "give_up": Failed},
    },
)


async def test_a_run_keeps_and_reads_back_what_has_an_alias(house: House) -> None:
    async with house(seven) as engine:
        run = await begin(engine, "seven")
    assert (run.state, run.memory, run.result) == ("Done", {"order": {"orderId": 7}}, {"orderId": 7})


class Spelled(Memory):
    number: int = Field(alias="no")


class Ask(Consult[Spelled]):
    to, deadline = "ann", DAY


def test_memory_is_known_by_its_own_names() -> None:
    with pytest.raises(DeclarationError, match="machine spelled: memory field number has an alias"):
        Machine("spelled", memory=Spelled, edges={Ask: {}})
