"""An assistant that says how sure it is: below the state's threshold a person decides, and that is drawn, checked and recorded."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest

from leverframe import Act, Ask, Back, Consult, End, Engine, Limits, Memory, Reply, tool
from leverframe.canon import Json
from leverframe.check import check
from leverframe.errors import EdgeError
from leverframe.graph import mermaid, text
from leverframe.llm import Scripted
from leverframe.run import Run
from leverframe.state import State
from tests.explorer import Anywhere
from tests.house import House, Short, asked, begin, built, world


class Work(Memory):
    wish: str = ""
    patch: str = ""


@tool(effect="keyed")
def write_file(key: str, path: str, text: str) -> str:
    """Write a file of the repository."""
    return world.does(f"write {path}", key)


class Finish(Reply[Literal["finish"]]):
    """The wish is fulfilled."""

    summary: str


class Code(Ask[Work]):
    """Change the code as it was wished for."""

    prompt = "coder/code"
    replies = (write_file, Finish)
    threshold = 0.7


class Write(Act[Work]):
    runs = (write_file,)


class GoOn(Reply[Literal["go_on"]]):
    hint: str


class Guide(Consult[Work]):
    """The assistant is not sure. What shall it do?"""

    to, deadline, replies = "developer", timedelta(days=1), (GoOn,)

    def keep(self, memory: Work, reply: GoOn) -> None:
        memory.wish = f"{memory.wish} ({reply.hint})"


class Finished(End[Work]):
    pass


class Abandoned(End[Work]):
    success = False


class Doubtful(Reply[Literal["happened"]]):
    pass


class Undone(Reply[Literal["not_happened"]]):
    pass


class FindOut(Consult[Work]):
    to, deadline, replies = "developer", timedelta(days=1), (Doubtful, Undone)


coder = Anywhere(
    "coder",
    memory=Work,
    edges={
        Code: {"write_file": Write, "finish": Finished, "unsure": Guide, "error": Short},
        Write: {"ok": Code, "error": Short, "unknown": FindOut},
        FindOut: {"happened": Code, "not_happened": Short, "expired": Abandoned},
        Guide: {"go_on": Code, "expired": Abandoned},
        Short: {"retry": Back, "give_up": Abandoned},
    },
    limits=Limits(steps=50, model_calls=10),
)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with built(tmp_path) as found:
        yield found


def wrote(confidence: Json, path: str = "a.py") -> dict[str, Json]:
    return {"intent": "write_file", "confidence": confidence, "arguments": {"path": path, "text": "x = 1"}}


async def guided(engine: Engine, run: Run) -> Run:
    await engine.answer((await asked(engine, run)).id, by="dev", value={"intent": "go_on", "hint": "only a.py"})
    return (await engine.advance(run.id)).run


async def test_below_the_threshold_nothing_is_executed_and_a_person_is_asked(house: House) -> None:
    done: dict[str, Json] = {"intent": "finish", "confidence": 0.95, "summary": "done"}
    engine = house(coder, llm=Scripted([wrote(0.69), wrote(0.7), done]))
    run = await begin(engine, "coder", wish="tidy up")
    assert (run.state, run.status, run.pending, world.sent) == ("Guide", "waiting", None, [])
    (first,) = [line.body for line in await engine.store.events(run.id) if line.type == "asked"]
    assert (first["outcome"], first["confidence"]) == ("unsure", 0.69)
    run = await guided(engine, run)
    assert [name for name, _ in world.sent] == ["write a.py"]
    assert (run.status, run.state) == ("done", "Finished")
    assert run.memory["wish"] == "tidy up (only a.py)"
    await engine.verify(run.id)


async def test_a_reply_that_is_not_sure_is_asked_about_too_and_the_next_question_shows_what_was_considered(house: House) -> None:
    unsure: dict[str, Json] = {"intent": "finish", "confidence": 0.1, "summary": "perhaps"}
    llm = Scripted([unsure, wrote(0.2), Finish(summary="done")])
    engine = house(coder, llm=llm)
    run = await begin(engine, "coder", wish="tidy up")
    run = await guided(engine, await guided(engine, run))
    assert run.status == "done"
    seen = llm.requests[-1].messages[-1].content
    assert "unsure: true" in seen
    assert "path: a.py" in seen


@pytest.mark.parametrize("confidence", [None, "high", 1.5, True])
async def test_a_confidence_that_is_none_is_an_error_and_not_a_guess(house: House, confidence: Json) -> None:
    engine = house(coder, llm=Scripted([wrote(confidence), Finish(summary="done")]))
    run = await begin(engine, "coder", wish="tidy up")
    (first, _) = [line.body for line in await engine.store.events(run.id) if line.type == "asked"]
    assert (first["outcome"], world.sent, run.status) == ("error", [], "done")


def test_unsure_is_an_edge_that_must_be_there_and_is_drawn() -> None:
    assert "unsure     → Guide" in text(coder)
    assert ": unsure" in mermaid(coder)
    report = check(coder.definition())
    assert [str(one) for one in report.findings if one.level == "error"] == []
    assert coder.definition().states["Code"].body["threshold"] == 0.7


def test_without_the_edge_it_is_refused() -> None:
    row: Mapping[str, type[State[Work]]] = {"write_file": Write, "finish": Finished, "error": Short}
    rows = {**coder.edges, Code: row}
    with pytest.raises(EdgeError, match="can end in 'unsure', which leads nowhere"):
        Anywhere("coder", memory=Work, edges=rows)
