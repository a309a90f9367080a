"""Everything the shipped machines can do, walked over the pure reducer; and proof that the walk would find what is wrong."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Literal, Never

import pytest

from leverframe import (
    Act,
    Approve,
    Ask,
    Back,
    Call,
    Compact,
    Consult,
    Delegate,
    End,
    Fetch,
    Got,
    Key,
    Limits,
    Machine,
    Memory,
    Precedence,
    Reply,
    Wait,
    Work,
    tool,
)
from leverframe.machine import Definition
from leverframe.prompt import Prompt
from leverframe.reduce import Need, need_of, reduce
from leverframe.run import Event, Run, but
from leverframe.state import M_contra as M
from machines.refund import refund
from machines.restock import restock
from machines.sales_report import sales_report
from tests.explorer import Engine, Explorer, Violation

MACHINES: Mapping[str, Machine[Never]] = {"refund": refund, "restock": restock, "sales_report": sales_report}
ONCE = {
    "refund": {"issue_refund": 1, "book_refund": 1, "send_mail": 1},
    "restock": {"purchase": 1, "ship": 1, "notify_procurement": 1},
    "sales_report": {},
}
DAY = timedelta(days=1)


class Anywhere(Machine[M]):
    """A machine that needs no prompt files."""

    def prompts(self, state: type[Ask[Never]]) -> list[Prompt]:
        return [Prompt.parse(state.prompt, "", "# user\n\n{{ choices }}\n")]


class Desk(Memory):
    note: str = ""


class Woken(Reply[Literal["woken"]]):
    pass


class Rest(Reply[Literal["rest"]]):
    pass


class Again(Reply[Literal["again"]]):
    pass


class Handled(Reply[Literal["handled"]]):
    pass


class Happened(Reply[Literal["happened"]]):
    pass


class NotHappened(Reply[Literal["not_happened"]]):
    pass


@tool(effect="read")
def look() -> str:
    return ""


@tool(effect="keyed")
def pay(key: Key, amount: int) -> str:
    return key


@tool(effect="once", approval=True)
def phone(number: str) -> None: ...


@tool(effect="once", reconcile=lambda key: None)
def mail(text: str) -> None: ...


class Look(Fetch[Desk]):
    runs = (look,)

    def calls(self, memory: Desk) -> list[Call[object]]:
        return []


class Think(Ask[Desk]):
    prompt = "desk/think"
    replies = (pay, phone, Rest)
    threshold = 0.5


class Check(Work[Desk]):
    def run(self, memory: Desk) -> Literal["small", "large"]:
        return "small"


class Sign(Approve[Desk]):
    to, deadline = "ann", DAY


class Do(Act[Desk]):
    runs = (pay, phone)


class Find(Consult[Desk]):
    to, deadline, replies = "ann", DAY, (Happened, NotHappened)


class Send(Act[Desk]):
    runs = (mail,)

    def build(self, memory: Desk) -> Call[object]:
        return mail.call("")


class Seek(Fetch[Desk]):
    runs = (look,)

    def calls(self, memory: Desk) -> list[Call[object]]:
        return []

    def keep(self, memory: Desk, got: Got) -> Literal["happened", "not_happened"]:
        return "happened"


class Pause(Wait[Desk]):
    deadline, events = DAY, (Woken,)


class Split(Delegate[Desk, Memory]):
    machine, deadline = "sales_report", DAY


class Short(Compact):
    pass


class Person(Consult[Desk]):
    to, deadline, replies = "ann", DAY, (Handled, Again)


class Done(End[Desk]):
    pass


class Lost(End[Desk]):
    success = False


every = Anywhere(
    "every",
    memory=Desk,
    edges={
        Look: {"ok": Think, "error": Short},
        Think: {"pay": Check, "phone": Sign, "rest": Pause, "unsure": Person, "error": Short},
        Check: {"small": Do, "large": Sign},
        Sign: {"approved": Do, "rejected": Think, "expired": Person},
        Do: {"ok": Send, "error": Short, "unknown": Find},
        Find: {"happened": Send, "not_happened": Short, "expired": Person},
        Send: {"ok": Pause, "error": Short, "unknown": Seek},
        Seek: {"happened": Pause, "not_happened": Short, "error": Short},
        Pause: {"woken": Split, "expired": Done},
        Split: {"done": Done, "error": Short, "expired": Person},
        Short: {"retry": Back, "give_up": Person},
        Person: {"handled": Done, "again": Think, "expired": Lost},
    },
    limits=Limits(steps=50, model_calls=5, days=7, exceeded=Person),
    rules=[Precedence((Sign, "approved"), (Check, "small"), before=pay)],
)
