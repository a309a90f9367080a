"""Secrets: whatever a schema marks `writeOnly`, wherever it stands and whoever repeats it, no model, error or page shows it."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field, SecretStr

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
    Machine,
    Memory,
    Reply,
    Wait,
    tool,
)
from leverframe.canon import canonical
from leverframe.cli.page import page
from leverframe.context import at, every
from leverframe.errors import DeclarationError, NotDone
from leverframe.llm import Scripted
from leverframe.llm.scripted import Line
from leverframe.schema import schema_of
from leverframe.store import Store
from tests import house as house_
from tests.explorer import Anywhere
from tests.house import DAY, House, answer, begin

Hidden = Annotated[str, Field(json_schema_extra={"writeOnly": True})]
HIDDEN = "HIDDEN-"


class Login(BaseModel):
    user: str = ""
    pin: Hidden = ""


class Kid(Memory):
    note: str = ""
    password: Hidden = ""


class Case(Memory):
    note: str = ""
    password: Hidden = ""
    logins: list[Login] = Field(default=[])
    by: dict[str, Login] = Field(default={})
    copied: str = ""


class Token(BaseModel):
    ok: bool = True
    token: Hidden = ""


class Told(Reply[Literal["told"]]):
    words: str
    pin: Hidden = ""


class Came(Reply[Literal["came"]]):
    words: str
    pin: Hidden = ""


class Stop(Reply[Literal["stop"]]):
    """It is over."""


class Say(Reply[Literal["say"]]):
    """Ask people."""

    code: Hidden = ""


@tool(effect="read", retries=0)
def login(password: Hidden) -> Token:
    """Log in."""
    if password.endswith("fail"):
        raise NotDone(f"cannot log in with {password}, nor with {HIDDEN}mem", remedy=f"not {password}")
    return Token(token=f"{HIDDEN}result")


@tool(effect="read")
def pay(password: Hidden) -> dict[str, object]:
    """Pay."""
    return {"echo": [f"paid with {password}", password], password: 1, "wrapped": SecretStr(f"{HIDDEN}wrapped")}


class First(Fetch[Case]):
    runs = (login,)

    def calls(self, memory: Case) -> list[Call[Token]]:
        return [login.call(f"{HIDDEN}fetched")]

    def keep(self, memory: Case, got: Got) -> Literal["ok"]:
        memory.copied = f"the password is {memory.password}."
        return "ok"


class Think(Ask[Case]):
    prompt = "desk/think"
    replies = (login, pay, Say, Stop)


class Use(Act[Case]):
    runs = (login,)

    def keep(self, memory: Case, got: Got) -> None:
        if (password := str(self.call.arguments["password"])).endswith("stuck"):
            raise ValueError(f"cannot keep {password}")


class Release(Approve[Case]):
    to, deadline = "ann", DAY

    def show(self, memory: Case) -> str:
        return f"password {memory.password}"


class Pay(Act[Case]):
    runs = (pay,)


class Short(Compact): ...


class People(Consult[Case]):
    to, deadline, replies = "ann", DAY, (Told,)


class Event(Wait[Case]):
    deadline, events = DAY, (Came,)


class Kids(Delegate[Case, Token]):
    machine, returns, deadline = "kid", Token, DAY

    def give(self, memory: Case) -> Kid:
        return Kid(note="kid", password=f"{HIDDEN}kid")


class Done(End[Case]): ...


class Failed(End[Case]):
    success = False


class KidThink(Ask[Kid]):
    prompt, replies = "desk/kid", (Stop,)


class KidDone(End[Kid]):
    def result(self, memory: Kid) -> Token:
        return Token(token=f"{HIDDEN}given")


class KidShort(Compact): ...


WINDOW = "# user\n{{ window }}\n{{ memory }}\n{{ note }} {{ copied }}"


def machines(home: Path, think: str = WINDOW) -> list[Machine[Case] | Machine[Kid]]:
    desk = Machine(
        "desk",
        memory=Case,
        edges={
            First: {"ok": Think, "error": Short},
            Think: {"login": Use, "pay": Release, "say": People, "stop": Done, "error": Short},
            Use: {"ok": Think, "error": Short},
            Release: {"approved": Pay, "rejected": Think, "expired": Failed},
            Pay: {"ok": Think, "error": Short},
            Short: {"retry": Back, "give_up": Failed},
            People: {"told": Event, "expired": Failed},
            Event: {"came": Kids, "expired": Failed},
            Kids: {"done": Think, "error": Short, "expired": Failed},
        },
    )
    kid = Machine(
        "kid",
        memory=Kid,
        edges={KidThink: {"stop": KidDone, "error": KidShort}, KidShort: {"retry": Back, "give_up": KidDone}},
    )
    (home / "prompts" / "desk").mkdir(parents=True, exist_ok=True)
    (home / "prompts" / "desk" / "think.md").write_text(think)
    (home / "prompts" / "desk" / "kid.md").write_text("# user\n{{ window }}{{ memory }}")
    for machine in (desk, kid):
        machine.file = str(home / "machines" / "desk.py")
    return [desk, kid]


GIVEN = {
    "note": "about nothing",
    "password": f"{HIDDEN}mem",
    "logins": [{"user": "Ann", "pin": f"{HIDDEN}listed"}],
    "by": {"Bo": {"user": "Cy", "pin": f"{HIDDEN}keyed"}},
}


async def why(store: Store, run: str) -> str:
    """What the log says of why something failed."""
    bodies = [line.body for line in await store.events(run)]
    return canonical([{key: body[key] for key in ("error", "reason", "why", "stuck") if key in body} for body in bodies])


async def test_no_secret_reaches_a_model_an_error_or_a_page(house: House, tmp_path: Path) -> None:
    script: list[Line] = [
        login.call(f"{HIDDEN}argument"),
        login.call(f"{HIDDEN}fail"),
        {"intent": "login", "arguments": {"password": [f"{HIDDEN}mistyped"]}},
        pay.call(f"{HIDDEN}paid"),
        Say(code=f"{HIDDEN}said"),
        Stop(),
        Stop(),
    ]
    model, known = Scripted(script), machines(tmp_path)
    engine = house(*known, llm=model)
    run = await begin(engine, "desk", **GIVEN)
    assert run.state == "Release"
    (task,) = await engine.store.tasks(run.id)
    await engine.decide(task.id, by="ann", decision="approved")
    run = (await engine.advance(run.id)).run
    await answer(engine, run, {"intent": "told", "words": f"it was {HIDDEN}mem", "pin": f"{HIDDEN}told"})
    await engine.signal(run.id, "came", {"words": "here", "pin": f"{HIDDEN}came"})
    run = (await engine.advance(run.id)).run
    assert (run.state, len(model.requests)) == ("Done", len(script))
    for request in model.requests:
        shown = "".join(message.content for message in request.messages) + canonical([request.memory])
        assert HIDDEN not in shown, f"{request.state}: {shown}"
    last = model.requests[-1].messages[0].content
    for word in (
        "Ann",
        "Cy",
        "it was [secret]",
        "paid with [secret]",
        "the password is [secret].",
        "**********",
        "about nothing",
    ):
        assert word in last
    assert HIDDEN not in await why(engine.store, run.id)
    assert "cannot log in with [secret], nor with [secret]" in await why(engine.store, run.id)
    found = await every(house().store, {machine.name: machine for machine in known}, run.id)
    assert [one.verified for one in found] == [True] * 6
    assert all(HIDDEN not in page(one) + canonical(one.json()) for one in found)


async def test_a_secret_that_is_cut_off_or_shortened_in_an_error_is_masked_as_far_as_it_stands(
    house: House, tmp_path: Path
) -> None:
    long = HIDDEN + "word-" * 200
    odd = f"{HIDDEN}in /some/folder/of  two"
    model = Scripted([login.call(f"{long}fail"), login.call(f"{odd} fail"), Stop()])
    engine = house(*machines(tmp_path), llm=model)
    run = await begin(engine, "desk", **GIVEN)
    assert run.state != "Failed"
    shown = "".join(message.content for request in model.requests for message in request.messages) + await why(
        engine.store, run.id
    )
    assert shown.count("cannot log in with [secret]") >= 2
    assert (HIDDEN in shown, "word-word" in shown, "folder" in shown) == (False, False, False)


async def test_what_code_says_before_a_person_is_needed_repeats_no_secret(house: House, tmp_path: Path) -> None:
    engine = house(*machines(tmp_path), llm=Scripted([login.call(f"{HIDDEN}stuck")]))
    run = await begin(engine, "desk", **GIVEN)
    assert run.status == "attention"
    assert run.reason == "Use.keep raised ValueError: cannot keep [secret]"
    assert HIDDEN not in await why(engine.store, run.id)


async def test_a_template_that_reads_a_secret_is_told_nothing(house: House, tmp_path: Path) -> None:
    model = Scripted([Stop()])
    engine = house(*machines(tmp_path, "# user\nThe password is {{ password }}"), llm=model)
    run = await begin(engine, "desk", **GIVEN)
    assert (run.status, model.requests) == ("attention", [])
    assert "'password' is undefined" in (run.reason or "")
    run = await begin(house(*machines(tmp_path, "# user\n{{ memory.logins[0] }}"), llm=model), "desk", **GIVEN)
    assert [request.messages[0].content for request in model.requests] == ["{user: Ann}"]


async def test_what_becomes_a_secret_later_changes_no_question_whoever_asks_and_when(house: House) -> None:
    @tool(effect="read")
    def look(q: str) -> bool:
        """Look."""
        return True

    @tool(effect="read")
    def enter(password: Hidden) -> bool:
        """Enter."""
        return True

    class Choose(Ask[house_.Box]):
        prompt = "desk/think"
        replies = (look, enter, Stop)

    machine = Anywhere(
        "desk",
        memory=house_.Box,
        edges={
            Choose: {"look": Choose, "enter": Choose, "stop": house_.Done, "error": house_.Short},
            house_.Short: {"retry": Back, "give_up": house_.Failed},
        },
    )
    model = Scripted([look.call("sesame-street"), enter.call("sesame-street"), Stop()])
    engine = house(machine, llm=model)
    run = await begin(engine, "desk")
    (alone,) = await at(engine.store, engine.machines, run.id, [None])
    assert (alone.verified, *(each.verified for each in await every(engine.store, engine.machines, run.id))) == (True,) * 4


async def test_a_short_secret_is_masked_where_it_stands_alone(house: House, tmp_path: Path) -> None:
    model = Scripted([Stop()])
    engine = house(*machines(tmp_path, "# user\n{{ note }}"), llm=model)
    await begin(engine, "desk", note="4711, not 47112 nor a4711b; and no: 12", password="4711", logins=[{"pin": "no"}])
    assert model.requests[0].messages[0].content == "[secret], not 47112 nor a4711b; and no: 12"


def test_a_secret_of_pydantic_is_declared_nowhere() -> None:
    class Holder(BaseModel):
        keys: dict[str, list[SecretStr]]

    @tool(effect="read")
    def read(n: int) -> Holder:
        """Read."""
        return Holder(keys={})

    with pytest.raises(DeclarationError, match="keep the name of the secret, and read it where it is used"):
        schema_of(Holder)
    with pytest.raises(DeclarationError, match="is a secret"):
        _ = read.output
