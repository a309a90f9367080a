"""Every commit and every call outside passes a point where the crash matrix can stop the process; else the matrix proves nothing."""

import ast
import sqlite3
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Literal

import pytest
from sqlalchemy import Engine as Database
from sqlalchemy import event as on

from leverframe import End, Machine, Memory, Work
from leverframe.store.boundary import AFTER_COMMIT, BEFORE_COMMIT, CALL, CALLED, hooks
from leverframe.testing import Engines, play
from tests import crashes, repository
from tests.crashes import WAYS, Way, World, attempt

COMMITTING = {
    ("leverframe/store/database.py", "transaction"),
    ("leverframe/store/batch.py", "defer"),
}  # defer: its savepoint only


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("boundaries")
    with crashes.world(f"sqlite:///{folder / 'leverframe.db'}", folder) as made:
        attempt(made, WAYS[0])
        yield made


# ── commits ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def statements_and_points() -> Generator[list[tuple[int, str]]]:
    """What each thread says to SQLite, and the points it passes, in order."""
    said: list[tuple[int, str]] = []

    def listen(connection: sqlite3.Connection, _record: object) -> None:
        connection.set_trace_callback(lambda statement: said.append((threading.get_ident(), statement)))

    def passed(point: str) -> None:
        said.append((threading.get_ident(), point))

    on.listen(Database, "connect", listen)
    hooks.append(passed)
    try:
        yield said
    finally:
        hooks.remove(passed)
        on.remove(Database, "connect", listen)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_every_commit_stands_between_its_two_points(world: World, way: Way) -> None:
    with statements_and_points() as said:
        attempt(world, way)
    commits = 0
    for thread in {thread for thread, _ in said}:
        lines = [line for each, line in said if each == thread]
        for before, line, after in zip(lines, lines[1:], [*lines[2:], ""], strict=False):
            if line.startswith("COMMIT") and not before.startswith("DELETE FROM refunds"):  # the test's own cleaning
                assert (before, after) == (BEFORE_COMMIT, AFTER_COMMIT), (before, after)
                commits += 1
    points = sum(line == BEFORE_COMMIT for _, line in said)
    assert commits == points > 5


def test_nothing_but_the_one_transaction_commits() -> None:
    found = {
        (path, function.name)
        for path, text in repository.texts().items()
        if path.startswith("leverframe/") and path.endswith(".py")
        for function in ast.walk(ast.parse(text))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "commit" and not node.args
    }
    assert found == COMMITTING
    autocommit = [path for path, text in repository.texts().items() if path.startswith("leverframe/") and "AUTOCOMMIT" in text]
    assert not autocommit


# ── calls ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

OUTSIDE = {"socket.connect", "os.mkdir", "os.rename", "os.link", "os.remove", "subprocess.Popen"}
_calling: ContextVar[str] = ContextVar("calling", default="")
_seen: list[tuple[str, str]] = []
_watching: list[Literal[True]] = []


def _audit(event: str, arguments: "tuple[object, ...]") -> None:
    if _watching and (event in OUTSIDE or (event == "open" and _writes(arguments))):
        _seen.append((_calling.get(), f"{event} {arguments[0]}"))


def _writes(arguments: "tuple[object, ...]") -> bool:
    mode = arguments[1]
    return isinstance(mode, str) and bool(set(mode) & set("wax+"))


@contextmanager
def calls_watched() -> Generator[list[tuple[str, str]]]:
    """What reaches outside of the process, each with the call it belongs to; `` is none. An audit hook sees it, whoever does it."""

    def follow(point: str) -> None:
        if point.startswith(CALL):
            _calling.set(point.removeprefix(CALL))
        elif point.startswith(CALLED):
            _calling.set("")

    if not _hooked:
        sys.addaudithook(_audit)  # for good: it cannot be removed
        _hooked.append(True)
    hooks.append(follow)
    _seen.clear()
    _watching.append(True)
    try:
        yield _seen
    finally:
        _watching.clear()
        hooks.remove(follow)


_hooked: list[Literal[True]] = []


def test_whatever_reaches_outside_does_so_within_a_call(world: World) -> None:
    with calls_watched() as seen:
        attempt(world, WAYS[0])
    mine = [(calling, what) for calling, what in seen if calling]
    loose = [what for calling, what in seen if not calling and "outbox" not in what]  # the trial itself empties the outbox
    assert {calling for calling, _ in mine} == {"tool issue_refund", "tool send_mail"}
    assert not loose


class Note(Memory):
    path: str


class Leak(Work[Note]):
    """Writes a file, which a Work must not."""

    def run(self, memory: Note) -> Literal["done"]:
        Path(memory.path).mkdir()
        return "done"


class Over(End[Note]):
    """Over."""


leaky = Machine("leaky", memory=Note, edges={Leak: {"done": Over}})


async def test_and_who_does_it_elsewhere_is_seen(engine: Engines, tmp_path: Path) -> None:
    async with engine(leaky) as agent:
        with calls_watched() as seen:
            run = await play(agent, Note(path=str(tmp_path / "loose")))
    assert run.status == "done"
    assert ("", f"os.mkdir {tmp_path / 'loose'}") in seen
