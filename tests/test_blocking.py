"""The blocking door: from any folder, in any thread, killed and repeated, and never inside of an event loop."""

import json
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from leverframe import blocking
from leverframe.errors import (
    AlreadyDecided,
    AlreadyPaused,
    InputError,
    KeyConflict,
    NotRetryable,
    NotWaiting,
    ProjectError,
    RunOver,
    UnknownRun,
)
from machines.refund import refund
from machines.restock import restock
from states.refund import Refund
from states.restock import Restock, SalesReport
from tests import repository

BROKEN = Refund(message="Order 1042 arrived broken, I want my money back")

JOB = """\
import sys
sys.path.insert(0, {root!r})
from leverframe import blocking
from machines.refund import refund
from states.refund import Refund

run = blocking.run(refund, Refund(message="Order 1040 arrived broken"), key="ticket-881")
print(run.id, run.status, [effect.status for effect in run.effects if effect.tool == "issue_refund"])
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> None:
    """A folder that is no project, and a database of the test's own."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("LEVERFRAME_DATABASE_URL", sqlite_url)
    monkeypatch.delenv("LEVERFRAME_MODEL", raising=False)


def test_a_run_goes_on_until_somebody_is_needed_and_to_its_end() -> None:
    run = blocking.run(refund, BROKEN, key="ticket-1")
    assert (run.status, run.state, run.over) == ("waiting", "Release", False)
    assert run.memory.order is not None
    assert run.memory.order.id == 1042
    (task,) = run.tasks
    assert task.call is not None
    assert task.call["tool_name"] == "issue_refund"
    done = blocking.approve(run, by="ada", comment="seen")
    assert (done.status, done.over, done.tasks) == ("done", True, ())
    assert done.memory.payment is not None
    assert [(effect.tool, effect.status) for effect in done.effects] == [
        ("issue_refund", "done"),
        ("book_refund", "done"),
        ("send_mail", "done"),
    ]
    assert blocking.run(refund, BROKEN, key="ticket-1") == done


def test_another_input_under_a_key_is_refused() -> None:
    blocking.start(refund, BROKEN, key="ticket-1")
    with pytest.raises(KeyConflict):
        blocking.run(refund, Refund(message="something else"), key="ticket-1")


def test_a_started_run_is_left_alone_until_somebody_advances_it() -> None:
    run = blocking.start(refund, BROKEN)
    assert (blocking.show(run).state, run.status) == ("Read", "ready")
    assert blocking.advance(run).state == "Release"


def test_decisions_are_repeatable_and_the_first_one_wins() -> None:
    run = blocking.run(refund, BROKEN)
    first = blocking.approve(run.tasks[0].id, by="ada", machine=refund)
    assert blocking.approve(run, by="ada").seq == first.seq
    with pytest.raises(AlreadyDecided, match="ada"):
        blocking.reject(run, by="bob")
    with pytest.raises(NotWaiting):
        blocking.answer(run, "yes", by="bob")


def test_a_question_is_answered_and_an_edit_released() -> None:
    run = blocking.run(refund, Refund(message="It arrived broken"))
    assert run.state == "Customer"
    run = blocking.answer(run, "1042", by="gloria")
    assert run.state == "Release"
    done = blocking.approve(run, by="ada", arguments={"order_id": 1042, "amount": "60.00", "reason": "half"})
    assert done.memory.payment is not None
    assert str(done.memory.payment.amount) == "60.00"


def test_a_run_by_its_id_needs_the_machine_where_no_project_is() -> None:
    run = blocking.run(refund, BROKEN)
    with pytest.raises(ProjectError):
        blocking.show(run.id)
    assert blocking.show(run.id, machine=refund) == blocking.show(run)
    with pytest.raises(UnknownRun):
        blocking.show("run_nosuch", machine=refund)


def test_a_run_is_paused_resumed_and_cancelled() -> None:
    run = blocking.run(refund, BROKEN)
    assert blocking.pause(run, by="ada").status == "paused"
    with pytest.raises(AlreadyPaused):
        blocking.pause(run)
    resumed = blocking.resume(run.id, machine=refund)
    assert (resumed.status, resumed.state) == ("waiting", "Release")
    with pytest.raises(NotRetryable):
        blocking.retry(run)
    cancelled = blocking.cancel(run)
    assert (cancelled.status, cancelled.tasks) == ("cancelled", ())
    with pytest.raises(RunOver):
        blocking.resume(run)


def test_many_runs_are_changed_as_a_list_or_by_machine_and_status() -> None:
    runs = [blocking.run(refund, BROKEN, key=str(number)) for number in range(3)]
    report = SalesReport(number="r-1", shop="north", article="tea mug", sold=1)
    other = blocking.start(restock, Restock(report=report))
    listed = blocking.each("pause", [runs[0].id, "run_nosuch", runs[0].id], machine=refund)
    assert [(run.id, run.status) for run in listed.done] == [(runs[0].id, "paused")]
    assert {name: type(error) for name, error in listed.refused.items()} == {"run_nosuch": UnknownRun, runs[0].id: AlreadyPaused}
    waiting = blocking.each("pause", machine=refund, status="waiting")
    assert ({run.id for run in waiting.done}, waiting.refused) == ({runs[1].id, runs[2].id}, {})
    assert len(blocking.each("resume", runs).done) == 3
    assert {run.machine for run in blocking.each("cancel", machine=refund).done} == {"refund"}
    assert blocking.show(other).status == "ready"


def test_an_empty_list_means_no_run_and_nothing_at_all_is_refused() -> None:
    run = blocking.run(refund, BROKEN)
    assert blocking.each("cancel", [], machine=refund) == blocking.Changed((), {})
    with pytest.raises(InputError, match="which runs"):
        blocking.each("cancel", [run], status="waiting")
    with pytest.raises(InputError, match="which runs"):
        blocking.each("cancel", run.id, machine=refund)
    for verb in ("explode", "puase"):
        with pytest.raises(InputError, match=f"'{verb}' is nothing that is done to runs; there are pause, resume, cancel, retry"):
            blocking.each(verb, [])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert blocking.show(run).status == "waiting"


def test_twenty_threads_run_at_once_on_one_database() -> None:
    def job(number: int) -> str:
        report = SalesReport(number=f"r-{number}", shop="north", article="tea mug", sold=1)
        return blocking.run(restock, Restock(report=report), key=f"r-{number}").status

    with ThreadPoolExecutor(10) as pool:
        assert set(pool.map(job, range(20))) == {"done"}


async def test_inside_of_an_event_loop_it_names_the_way_there() -> None:
    with pytest.raises(RuntimeError, match=r"project\.find\(\)\.engine\(\)"):
        blocking.run(refund, BROKEN)


@pytest.mark.long
def test_a_job_that_is_killed_and_run_again_pays_once(tmp_path: Path, sqlite_url: str) -> None:
    job = tmp_path / "job.py"
    job.write_text(JOB.format(root=str(repository.ROOT)))
    env = repository.environment(LEVERFRAME_DATABASE_URL=sqlite_url)
    for pause in (0.6, 0.8, 0.9, 1.0, 1.1):
        killed = subprocess.Popen([sys.executable, str(job)], cwd=tmp_path, env=env, stdout=subprocess.DEVNULL)
        time.sleep(pause)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    shown = repository.run([sys.executable, str(job)], tmp_path, env).split()
    again = repository.run([sys.executable, str(job)], tmp_path, env).split()
    assert shown == again
    assert shown[1] == "done", shown
    found = json.loads(repository.run([sys.executable, "-m", "leverframe", "runs", "--json"], repository.ROOT, env))
    assert [row["run"] for row in found["runs"]] == [shown[0]]
    import tools
    from tools import sandbox

    tools.prepare(sqlite_url)
    assert len(sandbox.done("refunds")) == 1
