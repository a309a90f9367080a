"""Small machines that come to rest in every way a run can, and a project on disk that has them."""

import time
from datetime import timedelta
from pathlib import Path
from typing import Literal

from leverframe import (
    Act,
    Back,
    Call,
    Compact,
    Consult,
    Delegate,
    End,
    Got,
    Key,
    Limits,
    Machine,
    Memory,
    Reply,
    Wait,
    Work,
    tool,
)

DAY = timedelta(days=1)


class Yard(Memory):
    text: str = ""
    seconds: float = 0


class Done(End[Yard]):
    pass


class Failed(End[Yard]):
    success = False


# ── waiting ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Arrived(Reply[Literal["arrived"]]):
    where: str
    wagons: int
    kind: Literal["goods", "mail"]
    on: timedelta
    note: str = ""


class Gone(Reply[Literal["gone"]]):
    pass


class Gate(Wait[Yard]):
    deadline, events = DAY, (Arrived, Gone)


class Kept(Reply[Literal["kept"]]):
    text: str


class Sent(Reply[Literal["sent"]]):
    to: str
    again: bool
    by: str = "rail"


class Choose(Consult[Yard]):
    to, deadline, replies = "ann", DAY, (Kept, Sent, Gone)


class Word(Consult[Yard]):
    to, deadline, replies = "ann", DAY, (Kept,)

    def question(self, memory: Yard) -> str:
        return memory.text


class Late(Consult[Yard]):
    to, deadline, replies = "ann", timedelta(milliseconds=1), (Kept,)


class Break(Work[Yard]):
    def run(self, memory: Yard) -> Literal["ok"]:
        raise ValueError("no such yard..")


class Round(Work[Yard]):
    def run(self, memory: Yard) -> Literal["again", "enough"]:
        return "again"


# ── calls ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@tool(effect="once", timeout=6)
def post(seconds: float) -> str:
    """Post it."""
    time.sleep(seconds)
    if not seconds:
        raise ConnectionError("cut off")
    return "posted"


@tool(effect="keyed", retries=5)
def charge(key: Key) -> str:
    """Charge it."""
    raise ConnectionError("the bank is closed")


class Post(Act[Yard]):
    runs = (post,)

    def build(self, memory: Yard) -> Call[str]:
        return post.call(memory.seconds)

    def keep(self, memory: Yard, got: Got) -> None:
        memory.text = got[post]


class Charge(Act[Yard]):
    runs = (charge,)

    def build(self, memory: Yard) -> Call[str]:
        return charge.call()


class Happened(Reply[Literal["happened"]]):
    pass


class NotHappened(Reply[Literal["not_happened"]]):
    pass


class FindOut(Consult[Yard]):
    to, deadline, replies = "ann", DAY, (Happened, NotHappened)


class Short(Compact):
    pass


class Child(Delegate[Yard, Yard]):
    machine, deadline = "broken", DAY

    def give(self, memory: Yard) -> Yard:
        return memory


def waits(name: str, state: type[Wait[Yard]] | type[Consult[Yard]], *outcomes: str) -> Machine[Yard]:
    return Machine(name, memory=Yard, edges={state: {**dict.fromkeys(outcomes, Done), "expired": Failed}})


gate = waits("gate", Gate, "arrived", "gone")
choice = waits("choice", Choose, "kept", "sent", "gone")
words = waits("words", Word, "kept")
late = waits("late", Late, "kept")
broken = Machine("broken", memory=Yard, edges={Break: {"ok": Done}})
endless = Machine("endless", memory=Yard, edges={Round: {"again": Round, "enough": Done}}, limits=Limits(steps=5))


def calls(name: str, act: type[Act[Yard]]) -> Machine[Yard]:
    return Machine(
        name,
        memory=Yard,
        edges={
            act: {"ok": Done, "error": Short, "unknown": FindOut},
            FindOut: {"happened": Done, "not_happened": Short, "expired": Failed},
            Short: {"retry": Back, "give_up": Failed},
        },
    )


doubt = calls("doubt", Post)
later = calls("later", Charge)
parent = Machine(
    "parent",
    memory=Yard,
    edges={Child: {"done": Done, "error": Short, "expired": Failed}, Short: {"retry": Back, "give_up": Failed}},
)


def project(folder: Path, package: str = "yard_rooms", **machines: str) -> Path:
    """A project with these machines, and with files of its own beside them. In a package, so that it stands in nobody's way here; of another
    name where others in this process have these machines, because a process imports a name once."""
    rooms = folder / package
    (rooms / "machines").mkdir(parents=True)
    (rooms / "__init__.py").touch()
    (rooms / "machines/__init__.py").touch()
    (folder / "pyproject.toml").write_text(f'[tool.leverframe]\npackage = "{package}"\n')
    declared = "broken, choice, doubt, endless, gate, late, later, parent, words"
    for name, text in {"yard": f"from tests.yard import {declared}\n", **machines}.items():
        (rooms / f"machines/{name}.py").write_text(text)
    return folder
