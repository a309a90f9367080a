"""The process stops anywhere around a pin and a shadow: the run is told one variant for life, and what acts is never the shadow."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest

from leverframe import Engine, Machine, TriggerCommand
from leverframe.canon import Object
from leverframe.llm import Request, Scripted
from leverframe.llm.scripted import Line
from leverframe.run import OVER
from leverframe.testing import CrashPoints, FakeClock, Restart
from leverframe.trial import pin, prompts
from tests import told
from tests.told import Case, answering, refunds


def machine(folder: Path) -> Machine[Case]:
    return answering(
        folder,
        answer="# user\n{{ message }}",
        answer_b="---\nweight: 0\n---\n# user\nKindly {{ message }}",
        answer_dark="---\nshadow: true\n---\n# user\nDark {{ message }}",
    )


def speak(request: Request) -> Line:
    return told.Decline(reason="the shadow acted") if request.shadow else refunds(5, "broken")


def scenario(one: Machine[Case], key: str) -> Callable[[Engine], Awaitable[None]]:
    """A variant that no run would be told by its weight is pinned, and a run begins."""

    async def happens(engine: Engine) -> None:
        if not await engine.store.pins(["desk/answer"]):
            await pin(engine.store, prompts([one]), "desk/answer", "b", by="ann", reason="to see")
        row = await engine.start(TriggerCommand("desk", {"message": "hello", "n": 5}, key=key), hold=True)
        for _ in range(20):
            row = await engine.advance(row.run.id)
            if row.run.status in OVER:
                return
            for task in await engine.store.tasks(row.run.id):
                await engine.decide(task.id, by="ann", decision="approved")

    return happens


async def looked_at(engine: Engine) -> list[str]:
    (row,) = await engine.store.runs()
    asked = [line.body for line in await engine.store.events(row.run.id) if line.type == "asked"]
    wrong = [] if row.run.status == "done" else [f"ended as {row.run.status} in {row.run.state}"]
    wrong += [] if len(asked) == 1 else [f"{len(asked)} questions were recorded"]
    for body in asked:
        variant = cast("Object", body["prompt"])["variant"]
        wrong += [] if variant == "b" else [f"was told {variant!r}"]
        wrong += [] if "call" in body else ["the shadow acted"]
    wrong += [] if row.run.pins == {"desk/answer": "b"} else [f"holds the pins {row.run.pins}"]
    history = await engine.store.pin_history("desk/answer")
    wrong += [] if len(history) == 1 else [f"was pinned {len(history)} times"]
    await engine.verify(row.run.id)
    return wrong


def attempt(folder: Path, number: int, restart: Restart) -> tuple[list[str], list[str]]:
    """The points that were passed, and what is not as promised."""
    one = machine(folder)
    url = f"sqlite:///{folder / f'{restart}-{number}.db'}"
    points = CrashPoints(url, [one], llm=Scripted(speak), clock=FakeClock(), at=[number], restart=restart)

    async def happens(engine: Engine) -> list[str]:
        await scenario(one, "k")(engine)
        points.at = frozenset()
        return await looked_at(engine)

    wrong = points.run(happens)
    return points.passed, [f"{restart}, stopped at {points.passed[number - 1]}: {each}" for each in wrong]


@pytest.mark.parametrize("restart", ["here", pytest.param("elsewhere", marks=pytest.mark.long)])
def test_a_crash_at_any_point_changes_nothing_of_what_a_run_is_told(tmp_path: Path, restart: Restart) -> None:
    passed, wrong = attempt(tmp_path, 0, restart)
    assert not wrong
    assert any("model" in point for point in passed), passed
    for number in range(1, len(passed) + 1):
        wrong += attempt(tmp_path, number, restart)[1]
    assert not wrong
