"""The tests about crashes and races can fail: each guard of the engine is taken out of a copy of the source, and one of them must see it.

No patching: the copy is another tree, with one thing changed, tested by another process.
"""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import crashes, repository
from tests.crashes import WAYS, attempt

MATRIX = ("-m", "long", "tests/test_crash_matrix.py", "-k", "any_point and approved and here and sqlite")
RACE = ("tests/test_race.py", "-k")
DIRECT = "        if True:\n            value = await tool.run("
BOUNDARIES = ("tests/test_crash_boundaries.py", "-k")


@dataclass(frozen=True)
class Mutant:
    """What is missing, the changes (file, text, text instead), the tests that must see it, and what they say."""

    name: str
    changes: tuple[tuple[str, str, str], ...]
    tests: tuple[str, ...]
    says: str


MUTANTS = (
    Mutant(
        "the fence",
        (("store/batch.py", "    if guard.fence != fence:", "    if guard.fence == -1:"),),
        (*RACE, "slept and sqlite"),
        "a minute asleep, and the lease of the other",
    ),
    Mutant(
        "compare-and-set of a task",
        (
            ("store/commands.py", '    if found.status == "decided":', '    if found.status == "-":'),
            ("store/commands.py", '    if found.status != "open":', '    if found.status == "-":'),
            ("store/statements.py", """, _tasks.status == literal_column("'open'"))""", ")"),
        ),
        (*RACE, "two_approvers and sqlite"),
        "was told",
    ),
    Mutant(
        "the started mark",
        (("reduce.py", 'return Need("mark", until)', 'return Need("call", until)'),),
        MATRIX,
        "2 mails",
    ),
    Mutant(
        "recovery of a marked call",
        (("reduce.py", "    if call.mark == fence:", "    if call.mark is not None:"),),
        MATRIX,
        "2 mails",
    ),
    Mutant(
        "doubt about a call that may have happened",
        (
            (
                "perform/calls.py",
                'return _unknown(step, call, "the process stopped between dispatch and record")',
                "return None",
            ),
        ),
        MATRIX,
        "2 mails",
    ),
    Mutant(
        "the digest of a call",
        (
            (
                "perform/calls.py",
                'if digest({"tool_name": call.tool_name, "arguments": call.arguments}) != call.digest:',
                'if call.digest == "":',
            ),
        ),
        (*RACE, "changed_after and sqlite"),
        "AssertionError",
    ),
    Mutant(
        "the deadline of a decision",
        (("store/commands.py", "    if found.expires_at is not None and now >= found.expires_at:", "    if now == -1:"),),
        (*RACE, "after_its_deadline and sqlite"),
        "DID NOT RAISE",
    ),
    Mutant(
        "one key for all attempts",
        (
            (
                "perform/calls.py",
                "tool.ready(call.arguments, call.key)",
                'tool.ready(call.arguments, f"lf_{id(call)}")',
            ),
        ),
        MATRIX,
        "the provider paid",
    ),
    Mutant(
        "whose start it was",
        (("engine.py", "if row.lease_owner == self.owner and row.run.head == new.run.head:", "if row:"),),
        MATRIX,
        "verify: run run_",
    ),
    Mutant(
        "the point before a commit",
        (("store/database.py", "        probe(BEFORE_COMMIT)\n", ""),),
        (*BOUNDARIES, "every_commit and approved"),
        "AssertionError",
    ),
    Mutant(
        "the point before a call",
        (("perform/calls.py", '        with Outside(f"tool {tool.name}"):\n            value = await tool.run(', DIRECT),),
        (*BOUNDARIES, "reaches_outside"),
        "AssertionError",
    ),
    Mutant(
        "the limit of a day",
        (("store/purse.py", "if have >= limit or have + wanted > limit:", "if have > 9 * limit:"),),
        ("tests/test_budget.py", "-k", "two_hundred and Prepare and sqlite"),
        "Person",
    ),
    Mutant(
        "what a call gives back",
        (
            (
                "ledger.py",
                "    if was is not None:\n        by, made",
                '    if was is not None and event.type == "asked":\n        by, made',
            ),
        ),
        ("tests/test_budget.py", "-k", "cancelled_run"),
        "assert",
    ),
)


def outcome(tree: Path, tests: tuple[str, ...]) -> "subprocess.CompletedProcess[str]":
    """These tests, of that tree and by its own code, until one fails."""
    command = [sys.executable, "-m", "pytest", "-n0", "-x", "-q", "-p", "no:cacheprovider", "--tb=short", *tests]
    env = {**repository.environment(PYTHONPATH=str(tree)), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, timeout=300, check=False)


def change(file: Path, was: str, becomes: str) -> None:
    text = file.read_text("utf-8")
    assert text.count(was) == 1, f"{file.name} has {text.count(was)} × {was!r}; the mutant must follow the code"
    file.write_text(text.replace(was, becomes), "utf-8")


@pytest.mark.long
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_without(mutant: Mutant, tmp_path: Path) -> None:
    tree = repository.copy_to(tmp_path)
    for path, was, becomes in mutant.changes:
        change(tree / "leverframe" / path, was, becomes)
    done = outcome(tree, mutant.tests)
    assert done.returncode == 1, f"nobody saw that {mutant.name} is missing\n{done.stdout}\n{done.stderr}"
    assert "1 failed" in done.stdout
    assert mutant.says in done.stdout, done.stdout


@pytest.mark.long
def test_and_with_everything_in_place_the_same_tests_pass(tmp_path: Path) -> None:
    tree = repository.copy_to(tmp_path)
    for tests in sorted({mutant.tests for mutant in MUTANTS}):
        done = outcome(tree, tests)
        assert done.returncode == 0, done.stdout
        assert "passed" in done.stdout


def test_whatever_becomes_of_the_code_that_keeps_a_log_still_folds(tmp_path: Path) -> None:
    """User code does not run in the fold: in a copy every `keep` raises, and `verify` of what ran before still holds."""
    url = f"sqlite:///{tmp_path / 'leverframe.db'}"
    with crashes.world(url, tmp_path) as world:
        trials = [attempt(world, way) for way in WAYS]
    assert not [wrong for trial in trials for wrong in trial.wrong]
    tree = repository.copy_to(tmp_path / "tree")
    changed = 0
    for file in (tree / "states").glob("*.py"):
        text, count = re.subn(
            r"(    def (?:keep|run|calls|build)\([^)]*\)[^:]*:\n)",
            r"\1        raise SystemError('in the fold')\n",
            file.read_text("utf-8"),
        )
        changed += count
        file.write_text(text, "utf-8")
    assert changed >= 15
    verify = f"""
import asyncio
from leverframe import Engine, Store
from machines.refund import refund
from states.refund import Triage
async def verify():
    store = Store.open({url!r})
    async with Engine(store, [refund]) as engine:
        for row in await store.runs():
            print(await engine.verify(row.run.id))
    store.close()
try:
    Triage().keep(None, None)
except SystemError:
    asyncio.run(verify())
"""
    printed = repository.run([sys.executable, "-c", verify], tree, repository.environment(PYTHONPATH=str(tree)))
    assert len(printed.split()) == len(WAYS)
    assert all(int(events) > 8 for events in printed.split())
