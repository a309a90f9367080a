"""What `leverframe.testing` gives to tests of agents, and that it gives nothing to anybody else."""

import asyncio
import subprocess
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Literal

import pytest

from leverframe import Act, Back, Call, Compact, Consult, End, Engine, Machine, Memory, Reply, TriggerCommand, tool
from leverframe.run import Status
from leverframe.testing import Crash, CrashPoints, FakeClock, Paths, is_ours
from tests import repository


class Note(Memory):
    path: str


@tool(effect="once", approval=False)
def write_down(path: str) -> None:
    """One line more."""
    with Path(path).open("a") as file:
        file.write("done\n")


class Write(Act[Note]):
    """Writes."""

    runs = (write_down,)

    def build(self, memory: Note) -> Call[object]:
        return write_down.call(memory.path)


class Happened(Reply[Literal["happened"]]):
    """It stands there."""


class NotHappened(Reply[Literal["not_happened"]]):
    """It does not."""


class Doubt(Consult[Note]):
    """Does it stand there?"""

    to = "archive"
    deadline = timedelta(days=1)
    replies = (Happened, NotHappened)


class Shorten(Compact):
    """Counts."""


class Written(End[Note]):
    """It stands there."""


class Failed(End[Note]):
    """It does not."""

    success = False


notes = Machine(
    "notes",
    memory=Note,
    edges={
        Write: {"ok": Written, "unknown": Doubt, "error": Shorten},
        Doubt: {"happened": Written, "not_happened": Shorten, "expired": Failed},
        Shorten: {"retry": Back, "give_up": Failed},
    },
)
UNTAKEN = [
    "Write.unknown",
    "Write.error",
    "Doubt.happened",
    "Doubt.not_happened",
    "Doubt.expired",
    "Shorten.retry",
    "Shorten.give_up",
]
DONE, DOUBTED = ("done", "Written", list[str]()), ("waiting", "Doubt", ["reconcile"])


async def scenario(engine: Engine, path: Path) -> tuple[Status, str, list[str]]:
    """How it ends, and what a person is to find out."""
    row = await engine.start(TriggerCommand("notes", {"path": str(path)}, key="n"), hold=True)
    run = (await engine.advance(row.run.id)).run
    doubts: list[str] = [task.kind for task in await engine.store.tasks(run.id) if task.kind == "reconcile"]
    return run.status, run.state, doubts


@pytest.mark.parametrize("restart", ["here", "elsewhere"])
def test_a_call_is_made_at_most_once_wherever_the_process_stops(
    sqlite_url: str, tmp_path: Path, restart: Literal["here", "elsewhere"]
) -> None:
    calm = CrashPoints(sqlite_url, [notes])
    assert calm.run(partial(scenario, path=tmp_path / "calm")) == DONE
    assert calm.passed[:2] == ["store.commit", "store.committed"]  # making the tables
    at_the_call = calm.passed.index("call tool write_down") - 1  # the tables are there by now
    ends: dict[int, tuple[tuple[Status, str, list[str]], int]] = {}
    for number in range(1, len(calm.passed) - 1):
        url, paper = f"sqlite:///{tmp_path / f'{number}.db'}", tmp_path / str(number)
        CrashPoints(url, [notes]).run(_nothing)
        points = CrashPoints(url, [notes], at={number}, restart=restart)
        end = points.run(partial(scenario, path=paper))
        assert points.lives == 2
        ends[number] = (end, paper.read_text().count("done") if paper.exists() else 0)
    assert ends[at_the_call] == (DOUBTED, 0)
    assert ends[at_the_call + 1] == (DOUBTED, 1)
    assert all(end in ((DONE, 1), (DOUBTED, 0), (DOUBTED, 1)) for end in ends.values())
    assert (DONE, 1) in ends.values()


async def _nothing(engine: Engine) -> None:
    """Only opens the database."""


def test_what_is_dead_passes_no_point_any_more(sqlite_url: str) -> None:
    """A process that catches everything still cannot write after it died."""
    points = CrashPoints(sqlite_url, [notes], at={5})
    caught: list[str] = []

    async def stubborn(engine: Engine) -> None:
        for number in range(3):
            try:
                await engine.start(TriggerCommand("notes", {"path": "-"}, key=str(number)))
            except Crash as crash:
                caught.append(str(crash))

    points.run(stubborn)
    assert caught == ["store.commit"] * 3
    CrashPoints(sqlite_url, [notes]).run(_none_started)


async def _none_started(engine: Engine) -> None:
    assert await engine.store.runs() == []


def test_a_scenario_nobody_comes_through_is_an_error_not_a_loop(sqlite_url: str) -> None:
    with pytest.raises(AssertionError, match="no process came through"):
        CrashPoints(sqlite_url, [notes], at=range(1, 1000), most_lives=4).run(_nothing_but_a_start)


async def _nothing_but_a_start(engine: Engine) -> None:
    await engine.start(TriggerCommand("notes", {"path": "-"}, key="x"))


async def test_sleeping_takes_no_time_and_who_sleeps_together_sleeps_at_once() -> None:
    clock = FakeClock()
    began, steady = clock.now(), clock.steady()
    await asyncio.gather(clock.sleep(60), clock.sleep(30))
    clock.advance(timedelta(seconds=5))
    assert clock.now() - began == 65_000_000
    assert clock.steady() - steady == 65


def test_paths_say_which_edges_no_test_took(sqlite_url: str, tmp_path: Path) -> None:
    paths = Paths()
    assert paths.missing(notes) == ["Write.ok", *UNTAKEN]

    async def watched(engine: Engine) -> None:
        own = Engine(engine.store, [notes], clock=engine.clock, watch=paths.watch)
        await scenario(own, tmp_path / "paper")
        await own.close()

    CrashPoints(sqlite_url, [notes]).run(watched)
    assert paths.missing(notes) == UNTAKEN


# ── as a plugin ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def fixtures(folder: Path) -> str:
    command = [sys.executable, "-m", "pytest", "-p", "leverframe.testing", "--fixtures", "-q", "--rootdir", str(folder)]
    env = repository.environment(PYTHONPATH=str(repository.ROOT), PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    done = subprocess.run([*command, str(folder)], cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout


def test_other_projects_see_nothing_of_it(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'else'\n")
    assert not is_ours(tmp_path)
    assert "leverframe" not in fixtures(tmp_path)


@pytest.mark.parametrize("sign", ["machines", "pyproject.toml"])
def test_projects_with_machines_get_the_fixtures(tmp_path: Path, sign: str) -> None:
    if sign == "machines":
        (tmp_path / sign).mkdir()
    else:
        (tmp_path / sign).write_text('[tool.leverframe]\nmodel = "examples"\n')
    assert is_ours(tmp_path)
    listed = fixtures(tmp_path)
    assert all(f"\n{name}" in listed for name in ("clock", "engine", "paths"))


def test_loading_the_plugin_loads_no_database_and_no_model() -> None:
    code = (
        "import sys, leverframe.testing; print([n for n in ('sqlalchemy', 'openai', 'instructor', 'jinja2') if n in sys.modules])"
    )
    printed = repository.run(
        [sys.executable, "-c", code], repository.ROOT, repository.environment(PYTHONPATH=str(repository.ROOT))
    )
    assert printed == "[]\n"
