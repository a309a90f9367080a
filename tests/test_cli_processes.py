"""The commands in processes of their own: rooms that change between them, disks that are full, signals at any moment."""

import json
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests import repository, yard
from tests.repository import Done

pytestmark = pytest.mark.long  # a process for every command


def environment(folder: Path) -> dict[str, str]:
    """The rooms are read as they are now, and the database is the folder's own."""
    url = f"sqlite:///{folder / 'runs.db'}"
    return repository.environment(PYTHONPATH=str(repository.ROOT), PYTHONDONTWRITEBYTECODE="1", LEVERFRAME_DATABASE_URL=url)


def begun(folder: Path, *arguments: str, at: Path | None = None) -> "subprocess.Popen[str]":
    command = [sys.executable, "-u", "-m", "leverframe", *arguments]
    env = environment(folder)
    return subprocess.Popen(command, cwd=at or folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def leverframe(folder: Path, *arguments: str) -> Done:
    process = begun(folder, *arguments)
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    return Done(process.returncode, out, err)


def limited(folder: Path, size: int, *arguments: str) -> Done:
    """The command in a process that can write no file beyond this size: for it the disk is full there."""
    code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0})); from leverframe.cli import main; main()"
    command = [sys.executable, "-c", code.format(size), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False)
    return Done(done.returncode, done.stdout, done.stderr)


def calling(folder: Path, *arguments: str, seconds: float = 0) -> "subprocess.Popen[str]":
    """A process that is inside of a call that takes so long."""
    given = arguments or ("run", "doubt", "--key", "t", "--input", json.dumps({"seconds": seconds}))
    started = begun(folder, *given)
    until = time.monotonic() + 20
    with closing(sqlite3.connect(folder / "runs.db")) as raw:
        while not is_calling(raw):
            assert time.monotonic() < until
            time.sleep(0.05)
    time.sleep(0.2)
    return started


def is_calling(raw: sqlite3.Connection) -> bool:
    try:
        return bool(raw.execute("SELECT 1 FROM effects WHERE status = 'started'").fetchall())
    except sqlite3.OperationalError:
        return False  # there are no tables yet


# ── rooms that change ────────────────────────────────────────────────────────────────────────────────────────────────────────


OTHER = """\
from tests.yard import DAY, Done, Failed, Machine, Word, Yard

other = Machine("other", memory=Yard, edges={Word: {"kept": Done, "expired": Failed}}, version="VERSION")
"""


def test_a_run_moves_to_the_definition_of_now(tmp_path: Path) -> None:
    folder = yard.project(tmp_path, other=OTHER)
    assert leverframe(folder, "run", "other", "--key", "t").code == 0
    (folder / "yard_rooms/machines/other.py").write_text(OTHER.replace("VERSION", "VERSION 2"))
    looked = leverframe(folder, "migrate", "t", "--dry-run", "--json").data
    assert (looked["migrated"], looked["against"]) == (False, [])
    assert looked["from"] != looked["to"]
    assert leverframe(folder, "migrate", "t", "--json").data["migrated"] is True
    assert leverframe(folder, "show", "t", "--json").data["definition"] == looked["to"]
    back = leverframe(folder, "migrate", "t", "--to", str(looked["from"])[:12])
    assert (back.code, "is moved from" in back.out) == (0, True)


def test_a_run_whose_code_is_gone_is_blocked_until_it_is_back(tmp_path: Path) -> None:
    folder = yard.project(tmp_path, other=OTHER)
    assert leverframe(folder, "start", "other", "--key", "t").code == 0
    (folder / "yard_rooms/machines/other.py").unlink()
    blocked = leverframe(folder, "advance", "t")
    assert blocked.code == 1
    assert re.search("blocked in Word: machine other is not in machines/ any more", blocked.out)
    assert "leverframe retry" in blocked.out
    (folder / "yard_rooms/machines/other.py").write_text(OTHER)
    assert leverframe(folder, "retry", "t").code == 0
    assert "waiting in Word" in leverframe(folder, "advance", "t").out


def test_a_file_that_does_not_load_is_named_and_stands_in_no_other_machines_way(tmp_path: Path) -> None:
    folder = yard.project(tmp_path, other=OTHER)
    assert leverframe(folder, "start", "other", "--key", "t").code == 0
    (folder / "yard_rooms/machines/other.py").write_text("def (:\n")
    where = f"{folder}/yard_rooms/machines/other.py:1: invalid syntax"
    for command in (
        ("run", "words", "--key", "w"),
        ("answer", "w", "--by", "ada", "--value", "yes"),
        ("graph", "words"),
        ("pause", "t"),
    ):
        done = leverframe(folder, *command)
        assert (done.code, done.err) == (0, f"warning: {where}; its machines are left out\n"), command
    for command in (("resume", "t"), ("advance", "t"), ("run", "other"), ("work", "--until-idle")):
        done = leverframe(folder, *command)
        assert done.code == 1
        assert where in done.err.splitlines()[-1]
    (folder / "yard_rooms/machines/other.py").write_text(OTHER)
    assert leverframe(folder, "show", "t", "--json").data["status"] == "paused"


def test_a_machine_that_delegates_to_one_that_does_not_load_is_not_started(tmp_path: Path) -> None:
    folder = yard.project(tmp_path, other=OTHER.replace('"other"', '"broken"'))
    (folder / "yard_rooms/machines/yard.py").write_text("from tests.yard import parent\n")
    assert leverframe(folder, "start", "parent", "--key", "t").code == 0
    (folder / "yard_rooms/machines/other.py").write_text("def (:\n")
    for command in (("run", "parent"), ("advance", "t")):
        done = leverframe(folder, *command)
        assert done.code == 1
        assert done.err.splitlines()[-1].startswith("error: machine broken is not loaded: ")
        assert "other.py:1: invalid syntax" in done.err
    assert leverframe(folder, "show", "t", "--json").data["status"] == "ready"


# ── disks that are full ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_full_database_is_one_clear_line_and_no_misuse(tmp_path: Path) -> None:
    folder = yard.project(tmp_path)
    assert leverframe(folder, "db", "upgrade").code == 0
    (folder / "long.json").write_text(json.dumps({"text": "x" * 500_000}))
    done = limited(folder, 200_000, "run", "words", "--input", "@long.json")
    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(r"error: .*is full.*\n", done.err)
    assert leverframe(folder, "runs").out == "no runs\n"


def test_an_agent_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = yard.project(tmp_path)
    before = sorted(folder.rglob("*"))
    done = limited(folder, 1_000, "new", "faq")
    assert done.code == 1
    assert re.fullmatch(rf"error: {folder}.*: .*it was not written\n", done.err)
    assert [path for path in sorted(folder.rglob("*")) if path.is_file() and path not in before] == []
    assert leverframe(folder, "new", "faq").code == 0


# ── signals ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_worker_takes_up_what_is_started_and_drains_on_sigterm(tmp_path: Path) -> None:
    folder = yard.project(tmp_path)
    worker = begun(folder, "work")
    try:
        run = str(leverframe(folder, "start", "words", "--json").data["run"])
        until = time.monotonic() + 20
        while leverframe(folder, "show", run, "--json").data["status"] != "waiting":
            assert time.monotonic() < until
            time.sleep(0.1)
        worker.send_signal(signal.SIGTERM)
        out, err = worker.communicate(timeout=20)
    finally:
        worker.kill()
    assert (worker.returncode, err) == (0, "")
    assert run in out
    assert "worked" in out


def test_the_first_interrupt_says_what_is_waited_for_and_keeps_what_comes_of_it(tmp_path: Path) -> None:
    started = calling(yard.project(tmp_path), seconds=2)
    at = time.monotonic()
    started.send_signal(signal.SIGINT)
    assert started.stderr
    said = started.stderr.readline()
    assert time.monotonic() - at < 1
    assert re.fullmatch(r"interrupted; waits for Post of run_\w+ to end, .* Ctrl-C again leaves at once\n", said)
    out, err = started.communicate(timeout=20)
    assert started.returncode == 130
    assert "Traceback" not in err
    assert re.search(r"Go on: leverframe advance run_\w+\n$", err)
    (effect,) = leverframe(tmp_path, "show", "t", "--json").rows("effects")
    assert (effect["status"], effect["result"]) == ("done", "posted")
    assert out


def test_the_second_interrupt_leaves_at_once_without_a_traceback(tmp_path: Path) -> None:
    started = calling(yard.project(tmp_path), seconds=20)
    started.send_signal(signal.SIGINT)
    assert started.stderr
    started.stderr.readline()
    at = time.monotonic()
    started.send_signal(signal.SIGINT)
    _, err = started.communicate(timeout=10)
    assert time.monotonic() - at < 2
    assert (started.returncode, err) == (130, "left; what was committed is safe\n")


def test_an_interrupt_of_what_only_waits_for_time_to_pass_ends_it(tmp_path: Path) -> None:
    started = calling(yard.project(tmp_path), "run", "later", "--key", "t")
    time.sleep(2.5)  # by then it is put off for longer
    started.send_signal(signal.SIGINT)
    _, err = started.communicate(timeout=5)
    assert started.returncode == 130
    assert "Traceback" not in err
    assert "leverframe advance" in err


def test_a_worker_says_what_it_waits_for_too(tmp_path: Path) -> None:
    folder = yard.project(tmp_path)
    leverframe(folder, "start", "doubt", "--key", "t", "--input", '{"seconds": 1.5}')
    started = calling(folder, "work")
    started.send_signal(signal.SIGINT)
    _, err = started.communicate(timeout=10)
    assert started.returncode == 0
    assert "waits for Post of run_" in err
    (effect,) = leverframe(tmp_path, "show", "t", "--json").rows("effects")
    assert effect["status"] == "done"


def test_what_a_killed_process_left_is_waited_for_with_a_word(tmp_path: Path) -> None:
    started = calling(yard.project(tmp_path), seconds=60)
    started.kill()
    started.communicate()
    done = leverframe(tmp_path, "advance", "t")
    assert re.search(r"Post +waits until 20\S+Z: a process ended while it called post", done.out)
    assert "unknown → FindOut" in done.out


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    shown = begun(tmp_path, "graph", "refund", at=repository.ROOT)
    assert shown.stdout
    shown.stdout.close()
    assert shown.stderr
    assert "Traceback" not in shown.stderr.read()
    shown.stderr.close()
    shown.wait(timeout=20)
