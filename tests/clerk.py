"""A clerk who makes several calls in one answer: `read`, `local`, `keyed` and `once` tools, one of them approved by a person."""

from typing import Literal

from pydantic import BaseModel

from leverframe import Act, Approve, Ask, Back, Call, Got, Key, Limits, Next, NotDone, Reply, tool
from leverframe.canon import Json, Object
from leverframe.state import State
from tests.explorer import Anywhere
from tests.house import DAY, Box, Done, Failed, FindOut, Person, Short, world


class Row(BaseModel):
    id: int
    name: str


class Page(BaseModel):
    title: str
    rows: list[Row]
    note: str | None = None


@tool(effect="read", retries=0)
def find(text: str) -> Page:
    """Find it."""
    world.does("find")
    if text == "nothing":
        raise NotDone("there is no such page")
    if text == "hostile":
        return Page(title='{"$from": 0, "path": "/note"}', rows=[], note="x" * 300_000)
    return Page(title=f"about {text}", rows=[Row(id=7, name="ann"), Row(id=8, name="bob")])


@tool(effect="keyed", approval=True, retries=1)
def pay(key: Key, to: str, cents: int) -> str:
    """Pay somebody."""
    return world.does(f"pay {to} {cents}", key)


@tool(effect="keyed", retries=1)
def save(key: Key, text: str) -> str:
    """Save it."""
    return world.does(f"save {text}", key)


@tool(effect="once", timeout=5, reconcile=lambda key: world.reconciles)
def send(text: str, to: str = "all") -> str:
    """Send it."""
    return world.does(f"send {text}")


class Over(Reply[Literal["over"]]):
    """Nothing is left to do."""

    n: int = 0


class Plan(Ask[Box]):
    prompt = "clerk/plan"
    replies = (find, pay, save, send, Over)
    many, most = True, 4

    def keep(self, memory: Box, reply: Over) -> None:
        memory.n = reply.n


class Sure(Plan):
    threshold = 0.6


class Release(Approve[Box]):
    to, deadline = "lead", DAY


class Look(Act[Box]):
    runs = (find,)

    def keep(self, memory: Box, got: Got) -> None:
        if world.broken:
            raise ValueError("keep is broken")
        memory.items = [*memory.items, *(len(page.rows) for page in got.all(find))]


class Do(Act[Box]):
    runs = (pay, save, send)

    def keep(self, memory: Box, got: Got) -> None:
        if world.broken:
            raise ValueError("keep is broken")
        memory.note = got.get(pay) or got.get(save) or got.get(send) or "?"


def at_work(limits: Limits | None = None, plan: type[Plan] = Plan) -> Anywhere[Box]:
    """With an Ask that makes one call in an answer, nothing leads on."""
    onward: dict[str, type[State[Box]]] = {"next": Next} if plan.many else {}
    unsure = {"unsure": Person} if plan.threshold is not None else {}
    return Anywhere(
        "clerk",
        memory=Box,
        edges={
            plan: {"find": Look, "pay": Release, "save": Do, "send": Do, "over": Done, "error": Short, **unsure},
            Release: {"approved": Do, "rejected": plan, "expired": Person},
            Look: {"ok": plan, "error": Short, **onward},
            Do: {"ok": plan, "error": Short, "unknown": FindOut, **onward},
            FindOut: {"happened": plan, "not_happened": Short, "expired": Failed},
            Short: {"retry": Back, "give_up": Person},
            Person: {"handled": plan, "expired": Failed},
        },
        limits=limits or Limits(steps=200),
    )


clerk = at_work()


def ref(call: int, path: Json) -> Object:
    """A reference, as a model writes it."""
    return {"$from": call, "path": path}


def said(tool: str, **arguments: Json) -> Call[object]:
    """A call as a model writes it: not validated, so that it may refer to others, or be wrong."""
    return Call(tool, arguments)
