"""A desk whose prompts are files of a test's own: what runs are told, by whom it was pinned, and what shadows say beside them."""

from pathlib import Path
from typing import Literal, Never

from leverframe import (
    Act,
    Approve,
    Ask,
    Back,
    Call,
    Compact,
    Delegate,
    End,
    Limits,
    Machine,
    Memory,
    Next,
    Reply,
    Work,
    prompt_by,
    tool,
)
from leverframe.state import M_contra as M
from tests.house import DAY


class Told(Machine[M]):
    """A machine with its prompts in a folder that a test names."""

    folder = Path()

    @property
    def home(self) -> Path:
        return self.folder


class Case(Memory):
    message: str = ""
    shop: Literal["books", "toys"] = "books"
    n: int = 0


@tool(effect="read", approval=True)
def refund(cents: int, why: str = "") -> int:
    """Refund it."""
    return cents


class Decline(Reply[Literal["decline"]]):
    """Nothing is owed."""

    reason: str


class Thought(Ask[Case]):
    replies = (refund, Decline)


class Answer(Thought):
    prompt = "desk/answer"


class Chosen(Thought):
    prompt = prompt_by("shop", books="desk/books", toys="desk/toys")


class Release(Approve[Case]):
    to, deadline = "ann", DAY


class Several(Answer):
    many, most = True, 4


class Pay(Act[Case]):
    runs = (refund,)


class Over(Work[Case]):
    def run(self, memory: Case) -> Literal["good", "bad"]:
        return "good" if self.call.arguments["cents"] == memory.n else "bad"


class Paid(End[Case]):
    pass


class Declined(End[Case]):
    success = False


class Short(Compact):
    pass


def answering(folder: Path, limits: Limits | None = None, **prompts: str) -> Machine[Case]:
    """Answer, then an end: a refund of the right amount is a success. `prompts` are files, `answer` and `answer_b`."""
    machine = Told(
        "desk",
        memory=Case,
        limits=limits,
        edges={
            Answer: {"refund": Over, "decline": Declined, "error": Short},
            Over: {"good": Paid, "bad": Declined},
            Short: {"retry": Back, "give_up": Declined},
        },
    )
    return kept(machine, folder, **prompts)


def released(folder: Path, **prompts: str) -> Machine[Case]:
    """As `answering`, and a person releases each refund."""
    machine = Told(
        "desk",
        memory=Case,
        edges={
            Answer: {"refund": Release, "decline": Declined, "error": Short},
            Release: {"approved": Over, "rejected": Declined, "expired": Declined},
            Over: {"good": Paid, "bad": Declined},
            Short: {"retry": Back, "give_up": Declined},
        },
    )
    return kept(machine, folder, **prompts)


def paying(folder: Path, **prompts: str) -> Machine[Case]:
    """As `released`, with several refunds in one answer, each released by itself."""
    machine = Told(
        "desk",
        memory=Case,
        edges={
            Several: {"refund": Release, "decline": Declined, "error": Short},
            Release: {"approved": Pay, "rejected": Declined, "expired": Declined},
            Pay: {"next": Next, "ok": Paid, "error": Short},
            Short: {"retry": Back, "give_up": Declined},
        },
    )
    return kept(machine, folder, **prompts)


def choosing(folder: Path, **prompts: str) -> Machine[Case]:
    """The prompt is chosen by the shop."""
    machine = Told(
        "desk",
        memory=Case,
        edges={
            Chosen: {"refund": Over, "decline": Declined, "error": Short},
            Over: {"good": Paid, "bad": Declined},
            Short: {"retry": Back, "give_up": Declined},
        },
    )
    return kept(machine, folder, **prompts)


class Hand(Delegate[Case, Case]):
    machine, deadline = "desk", DAY

    def give(self, memory: Case) -> Case:
        return memory


class First(Work[Case]):
    def run(self, memory: Case) -> Literal["go"]:
        return "go"


class All(End[Case]):
    pass


house = Machine(
    "house",
    memory=Case,
    edges={
        First: {"go": Hand},
        Hand: {"done": All, "error": Short, "expired": Declined},
        Short: {"retry": Back, "give_up": Declined},
    },
)


def kept(machine: Told[Case], folder: Path, **prompts: str) -> Machine[Case]:
    """The machine, with these files in its folder."""
    machine.folder = folder
    for name, text in prompts.items():
        stem, _, variant = name.partition("_")
        write(folder, f"desk/{stem}{f'.{variant}' if variant else ''}", text)
    return machine


def write(folder: Path, name: str, text: str) -> None:
    path = folder / "prompts" / f"{name}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def refunds(cents: int, why: str = "") -> Call[int]:
    return refund.call(cents=cents, why=why)


def machines(*found: Machine[Case]) -> dict[str, Machine[Never]]:
    return {machine.name: machine for machine in found}
