"""The process stops anywhere in an answer of several calls, and each of them keeps its own promise."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from leverframe import Engine, TriggerCommand
from leverframe.llm import Request, Scripted
from leverframe.llm.scripted import Line
from leverframe.run import OVER
from leverframe.testing import CrashPoints, FakeClock, Restart
from tests import postgres
from tests.clerk import Over, clerk, find, ref, said, save, send
from tests.house import world

_numbers = count()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], scope="module")
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('crashes') / 'lf.db'}"
        return
    with postgres.database(request.getfixturevalue("postgres_server")) as found:
        yield found


@dataclass
class Trial:
    """One run, stopped at some points; `wrong`: what is not as promised."""

    passed: list[str] = field(default_factory=list[str])
    wrong: list[str] = field(default_factory=list[str])
    statuses: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])


def speaks(request: Request) -> Line:
    """All in one answer, while nothing of it is known to have worked."""
    if request.memory["note"]:
        return Over()
    return [find.call("a"), find.call("b"), said("pay", to=ref(0, "/rows/0/name"), cents=ref(1, "/rows/1/id")), save.call("s")]


def with_once(request: Request) -> Line:
    if request.memory["note"]:
        return Over()
    return [save.call("s"), send.call("m"), said("pay", to=ref(1, ""), cents=5)]


def scenario(key: str) -> Callable[[Engine], Awaitable[str]]:
    async def happens(engine: Engine) -> str:
        row = await engine.start(TriggerCommand("clerk", {}, key=key), hold=True)
        for _ in range(20):
            row = await engine.advance(row.run.id)
            if row.run.status in OVER:
                break
            for task in await engine.store.tasks(row.run.id):
                if task.kind == "approve":
                    await engine.decide(task.id, by="lea", decision="approved")
                elif task.kind == "answer" and task.state == "FindOut":
                    sent = any(name == "send m" for name, _ in world.sent)
                    await engine.answer(task.id, by="ann", value="happened" if sent else "not_happened")
                elif task.kind == "answer":
                    await engine.answer(task.id, by="ann", value="handled: by hand")
        return row.run.id

    return happens


def attempt(url: str, speaker: Callable[[Request], Line], at: tuple[int, ...] = (), restart: Restart = "here") -> Trial:
    world.clear()
    points = CrashPoints(url, [clerk], llm=Scripted(speaker), clock=FakeClock(), at=at, restart=restart)
    trial = Trial(points.passed)
    happens = scenario(f"clerk-{next(_numbers)}")

    async def happens_and_is_looked_at(engine: Engine) -> None:
        run_id = await happens(engine)
        points.at = frozenset()
        trial.wrong += await looked_at(engine, run_id, trial)

    try:
        points.run(happens_and_is_looked_at)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is a violation
        trial.wrong.append(f"{type(error).__name__}: {error}")
    where = [points.passed[number - 1] for number in at if number <= len(points.passed)]
    trial.wrong = [f"{restart}, stopped at {at} {where}: {each}" for each in trial.wrong]
    return trial


async def looked_at(engine: Engine, run_id: str, trial: Trial) -> list[str]:
    await engine.verify(run_id)
    row = await engine.store.load(run_id)
    effects = await engine.store.effects(run_id)
    trial.statuses = Counter((effect.tool, effect.status) for effect in effects)
    wrong = [] if row.run.status == "done" and row.run.queue == () else [f"ends as {row.run.status}"]
    keyed = {effect.key for effect in effects if effect.effect_class == "keyed" and effect.status == "done"}
    seen = {key for _, key in world.sent if key}
    wrong += [] if keyed == seen else [f"{len(seen)} keys were seen, the effects say {len(keyed)}"]
    for key in seen:
        words = {name for name, with_key in world.sent if with_key == key}
        wrong += [] if len(words) == 1 else [f"one key came with {words}"]
    mails = sum(name == "send m" for name, _ in world.sent)
    told = [effect for effect in effects if effect.tool == "send" and effect.status == "done"]
    wrong += [] if len(told) == mails else [f"{mails} sent, the effects say {len(told)}"]
    keys = [effect.ordinal for effect in effects]
    wrong += [] if len(keys) == len(set(keys)) else ["two calls have one number"]
    asked_for = sum(line.type == "decided" for line in await engine.store.events(run_id))
    paid = sum(effect.tool == "pay" and effect.status == "done" for effect in effects)
    return wrong + ([] if paid <= asked_for else [f"paid {paid} times, released {asked_for} times"])


def matrix(url: str, speaker: Callable[[Request], Line], *, every: int = 1, restart: Restart = "here") -> list[str]:
    attempt(url, speaker)
    calm = attempt(url, speaker)
    assert not calm.wrong
    trials = [attempt(url, speaker, (number,), restart) for number in range(1, len(calm.passed) + 1, every)]
    assert len(trials) * every > 20
    wrong = [each for trial in trials for each in trial.wrong]
    if speaker is speaks:  # nothing in it may be left open
        wrong += [f"{trial.statuses}, without a crash {calm.statuses}" for trial in trials if trial.statuses != calm.statuses]
    return wrong


@pytest.mark.parametrize("speaker", [speaks, with_once])
def test_a_crash_at_some_points_of_an_answer_changes_nothing(tmp_path: Path, speaker: Callable[[Request], Line]) -> None:
    assert not matrix(f"sqlite:///{tmp_path / 'lf.db'}", speaker, every=4)


@pytest.mark.long
@pytest.mark.parametrize("restart", ["here", "elsewhere"])
@pytest.mark.parametrize("speaker", [speaks, with_once])
def test_a_crash_at_any_point_of_an_answer_changes_nothing(
    url: str, speaker: Callable[[Request], Line], restart: Restart
) -> None:
    assert not matrix(url, speaker, restart=restart)
