"""The commands, as people and scripts give them: on this repository's own rooms, each test on a database file of its own."""

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from leverframe.canon import Object
from leverframe.cli import app
from tests import repository

BROKEN = "Order 1042 arrived broken, I want my money back"
STRANGE = "xyzzy quux"
REPORT = {"number": "r-1", "shop": "north", "article": "desk lamp", "sold": 3}
DAY = {
    "number": "d-1",
    "shop": "unobtainium",
    "lines": [{"article": "desk lamp", "sold": 3, "left": 0}],
}  # nothing is shipped there


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def data(self) -> Object:
        found: Object = json.loads(self.out)
        return found

    def rows(self, name: str) -> list[Object]:
        found = self.data[name]
        assert isinstance(found, list)
        return [row for row in found if isinstance(row, dict)]


Command = Callable[..., Done]


@pytest.fixture
def leverframe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Gives a command in this process; the project is this repository."""
    monkeypatch.chdir(repository.ROOT)
    monkeypatch.setenv("LEVERFRAME_DATABASE_URL", f"sqlite:///{tmp_path / 'runs.db'}")
    for name in ("LEVERFRAME_MODEL", "LEVERFRAME_BY", "LEVERFRAME_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    runner = CliRunner()

    def give(*arguments: str) -> Done:
        result = runner.invoke(app, list(arguments))
        assert "Traceback" not in result.output
        return Done(result.exit_code, result.stdout, result.stderr)

    return give


# ── the refund, from the wish to the mail ────────────────────────────────────────────────────────────────────────────────────


def test_a_run_stops_where_a_person_is_needed_and_prints_the_command_that_goes_on(leverframe: Command) -> None:
    done = leverframe("run", "refund", BROKEN)
    assert (done.code, done.err) == (0, "")
    assert "offline" in done.out
    assert re.search(r"^  LookUp +found → Triage", done.out, re.MULTILINE)
    (command,) = re.findall(r"^  (leverframe approve \S+ --by YOU)$", done.out, re.MULTILINE)
    done = leverframe(*shlex.split(command)[1:])
    assert done.code == 0
    assert "done in Refunded" in done.out


def test_the_json_of_a_run_has_the_keys_that_scripts_read(leverframe: Command) -> None:
    run = leverframe("run", "refund", BROKEN, "--json").data
    assert {"run", "machine", "status", "state", "memory", "seq", "tasks", "effects"} <= run.keys()
    assert (run["machine"], run["status"], run["state"]) == ("refund", "waiting", "Release")
    (task,) = leverframe("tasks", "--json").rows("tasks")
    assert run["tasks"] == [task]
    assert {"task", "kind", "tool_name", "arguments", "digest", "expires_at"} <= task.keys()
    assert (task["kind"], task["tool_name"], task["run"]) == ("approve", "issue_refund", run["run"])
    (effect,) = leverframe("show", str(run["run"]), "--json").rows("effects")
    assert {"tool_name", "status", "key", "attempts"} <= effect.keys()
    assert effect["digest"] == task["digest"]
    done = leverframe("approve", str(task["task"]), "--by", "ada", "--json")
    assert [effect["tool_name"] for effect in done.rows("effects")] == ["issue_refund", "book_refund", "send_mail"]
    assert {str(effect["status"]) for effect in done.rows("effects")} == {"done"}
    assert done.data["tasks"] == []
    (listed,) = leverframe("runs", "--status", "done", "--json").rows("runs")
    assert listed["run"] == run["run"]


def test_the_same_key_is_the_same_run_and_another_input_under_it_a_conflict(leverframe: Command) -> None:
    first = leverframe("run", "refund", BROKEN, "--key", "ticket-1", "--json").data
    assert leverframe("run", "refund", BROKEN, "--key", "ticket-1", "--json").data["run"] == first["run"]
    other = leverframe("run", "refund", STRANGE, "--key", "ticket-1")
    assert other.code == 2
    assert "ticket-1" in other.err
    assert len(leverframe("runs", "--json").rows("runs")) == 1


def test_a_run_is_named_by_its_id_the_beginning_of_it_or_its_key(leverframe: Command) -> None:
    run = str(leverframe("run", "refund", BROKEN, "--key", "ticket-1", "--json").data["run"])
    for name in (run, run[:12], "ticket-1"):
        assert leverframe("show", name, "--json").data["run"] == run


def test_a_double_click_gets_the_same_answer_and_a_late_other_one_the_winners_name(leverframe: Command) -> None:
    leverframe("run", "refund", BROKEN, "--key", "t")
    first = leverframe("approve", "t", "--by", "ada", "--json").data
    assert leverframe("approve", "t", "--by", "ada", "--json").data == first
    late = leverframe("reject", "t", "--by", "bob")
    assert late.code == 2
    assert "was decided by ada" in late.err


def test_an_edit_releases_the_changed_call_and_only_that(leverframe: Command) -> None:
    leverframe("run", "refund", BROKEN, "--key", "t")
    changed = {"order_id": 1042, "amount": "60.00", "reason": "half of it"}
    done = leverframe("approve", "t", "--by", "ada", "--args", json.dumps(changed), "--json")
    assert done.data["status"] == "done"
    executed = [effect["arguments"] for effect in done.rows("effects") if effect["tool_name"] == "issue_refund"]
    assert executed[-1] == changed
    assert [effect["status"] for effect in done.rows("effects")] == ["void", "done", "done", "done"]


def test_a_rejection_goes_on_without_paying(leverframe: Command) -> None:
    leverframe("run", "refund", BROKEN, "--key", "t")
    done = leverframe("reject", "t", "--by", "ada", "--comment", "no photo", "--json")
    assert done.data["status"] == "waiting"
    assert {str(effect["status"]) for effect in done.rows("effects")} == {"void"}


def test_the_customer_is_asked_for_the_number_and_a_strange_wish_goes_to_a_person(leverframe: Command) -> None:
    asked = leverframe("run", "refund", "It arrived broken", "--key", "a")
    assert re.search(r"leverframe answer \S+ --by YOU --value", asked.out)
    assert leverframe("answer", "a", "--by", "gloria", "--value", "1042", "--json").data["state"] == "Release"
    strange = leverframe("run", "refund", STRANGE, "--key", "b", "--json").data
    assert (strange["status"], strange["state"]) == ("waiting", "HandOver")
    assert leverframe("answer", "b", "--by", "sue", "--value", '{"note": "called them"}', "--json").data["status"] == "done"


def test_an_answer_to_an_approval_names_the_command_that_fits(leverframe: Command) -> None:
    run = str(leverframe("run", "refund", BROKEN, "--json").data["run"])
    done = leverframe("answer", run, "--by", "ada", "--value", "yes")
    assert done.code == 2
    assert f"leverframe approve {run}" in done.err


def test_no_advance_only_records_and_a_worker_goes_on(leverframe: Command) -> None:
    run = str(leverframe("run", "refund", BROKEN, "--json").data["run"])
    assert leverframe("approve", run, "--by", "ada", "--no-advance", "--json").data["state"] == "Release"
    assert leverframe("work", "--until-idle", "--json").code == 0
    assert leverframe("show", run, "--json").data["status"] == "done"


def test_start_leaves_the_run_to_others(leverframe: Command) -> None:
    run = leverframe("start", "refund", BROKEN, "--json").data
    assert (run["status"], run["state"]) == ("ready", "Read")
    assert leverframe("advance", str(run["run"]), "--json").data["status"] == "waiting"


# ── other machines ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_input_comes_as_json_or_from_a_file(leverframe: Command, tmp_path: Path) -> None:
    given = json.dumps({"report": REPORT})
    assert leverframe("run", "restock", "--input", given, "--json").data["status"] == "done"
    (tmp_path / "input.json").write_text(given)
    assert leverframe("run", "restock", "--input", f"@{tmp_path}/input.json", "--json").data["status"] == "done"


def test_the_tasks_of_a_child_run_are_its_parents_too_and_deciding_one_goes_on_with_both(leverframe: Command) -> None:
    parent = leverframe("run", "sales_report", "--input", json.dumps(DAY), "--json")
    assert parent.data["status"] == "waiting"
    (child,) = parent.rows("children")
    (task,) = parent.rows("tasks")
    assert (child["machine"], child["parent"], task["run"]) == ("restock", parent.data["run"], child["run"])
    shown = leverframe("show", str(parent.data["run"]))
    assert f"leverframe answer {child['run']} --by YOU" in shown.out
    done = leverframe("answer", str(parent.data["run"]), "--by", "will", "--value", "drove there", "--json")
    assert (done.data["run"], done.data["status"]) == (parent.data["run"], "done")


def test_a_machine_needs_no_model_where_it_asks_none(leverframe: Command) -> None:
    done = leverframe("run", "restock", "--input", json.dumps({"report": REPORT}))
    assert (done.code, done.err) == (0, "")
    assert "offline" not in done.out


# ── operators ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_pause_and_resume_of_one_and_of_many(leverframe: Command) -> None:
    runs = [str(leverframe("run", "refund", BROKEN, "--json").data["run"]) for _ in range(3)]
    assert [row["status"] for row in leverframe("pause", *runs[:2], "--json").rows("runs")] == ["paused"] * 2
    again = leverframe("pause", runs[0])
    assert (again.code, again.err) == (2, "error: Task is already paused\n")
    assert len(leverframe("pause", "--machine", "refund", "--json").rows("runs")) == 1
    assert len(leverframe("resume", "--status", "paused", "--json").rows("runs")) == 3
    assert leverframe("resume", runs[0]).code == 2
    mixed = leverframe("cancel", runs[0], "run_nosuch", "--json")
    assert mixed.code == 2
    assert mixed.rows("runs")[0]["status"] == "cancelled"
    assert "run_nosuch" in mixed.err
    assert leverframe("show", runs[0], "--json").data["tasks"] == []


def test_a_fork_goes_its_own_way(leverframe: Command) -> None:
    run = str(leverframe("run", "refund", BROKEN, "--json").data["run"])
    fork = leverframe("fork", run, "--at", "3", "--json").data
    assert fork["run"] != run
    assert leverframe("advance", str(fork["run"]), "--json").data["status"] == "waiting"
    assert leverframe("fork", run, "--at", "99").code == 2


def test_every_run_is_verified_and_a_changed_log_is_found(leverframe: Command, tmp_path: Path) -> None:
    run = str(leverframe("run", "refund", BROKEN, "--json").data["run"])
    assert leverframe("verify", "--json").rows("runs") == [{"run": run, "ok": True, "events": 6, "error": None}]
    import sqlite3

    with sqlite3.connect(tmp_path / "runs.db") as raw:
        raw.execute("UPDATE events SET actor = 'human:eve' WHERE seq = 3")
    done = leverframe("verify", run)
    assert done.code == 1
    assert "event 3" in done.err


def test_a_run_of_the_present_definition_needs_no_migration(leverframe: Command) -> None:
    run = str(leverframe("run", "refund", BROKEN, "--json").data["run"])
    found = leverframe("migrate", run, "--dry-run", "--json").data
    assert (found["against"], found["migrated"], found["from"]) == ([], False, found["to"])
    assert leverframe("migrate", run, "--to", "0" * 64).code == 2


def test_the_database_is_brought_to_our_schema(leverframe: Command) -> None:
    assert leverframe("db", "upgrade", "--json").data["from"] is None
    again = leverframe("db", "upgrade", "--json").data
    assert again["from"] == again["to"]


# ── what is wrong is said clearly ────────────────────────────────────────────────────────────────────────────────────────────

MISUSED = [
    ("run", "refund", "--input", "{bad"),
    ("run", "refund", "--input", "[1]"),
    ("run", "refund", "--input", "[" * 100_000),
    ("run", "refund", "--input", "@/nowhere.json"),
    ("run", "restock", "some words"),
    ("runs", "--status", "wating"),
    ("pause",),
    ("pause", "run_1", "--machine", "refund"),
    ("approve", "run_1"),
    ("nosuch",),
    ("graph", "refund", "--format", "png"),
]


@pytest.mark.parametrize("arguments", MISUSED, ids=lambda arguments: " ".join(arguments)[:40])
def test_misuse_ends_with_2(leverframe: Command, arguments: tuple[str, ...]) -> None:
    done = leverframe(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err


REFUSED = [
    (("run", "nosuch", "x"), "no machine is called 'nosuch'"),
    (("run", "refund", "--input", "{}"), "message: Field required"),
    (("run", "refund", "--input", '{"message": "x", "amount": 3}'), "amount"),
    (("run", "refund", "--input", '{"message": "a\\u0000b"}'), "NUL"),
    (("run", "refund", "--input", '{"message": "\\ud800"}'), "surrogate"),
    (("run", "refund", "--input", '{"message": NaN}'), "message"),
    (("run", "refund", "--input", '{"message": ' + "[" * 900 + "]" * 900 + "}"), "nested deeper"),
    (("run", "refund", "x" * 10_000_000), "over 1024 KiB"),
    (("show", "run_nosuch"), "no such run"),
    (("approve", "task_nosuch", "--by", "ada"), "no such task"),
    (("run", "refund", "x", "--model", "nobody/none"), "nobody"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_bad_input_gets_one_clear_line_and_changes_nothing(leverframe: Command, arguments: tuple[str, ...], message: str) -> None:
    done = leverframe(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert len(done.err) < 1000
    assert message in done.err
    assert leverframe("runs", "--json").rows("runs") == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"order_id": 1042, "amount": -1, "reason": "x"},
        {"order_id": 1042, "amount": "1e9", "reason": "x"},
        {"order_id": 1042},
        {"order_id": 1042, "amount": "10.00", "reason": "x", "iban": "DE00"},
    ],
)
def test_an_edit_that_does_not_fit_the_tool_loses_nothing(leverframe: Command, arguments: object) -> None:
    leverframe("run", "refund", BROKEN, "--key", "t")
    done = leverframe("approve", "t", "--by", "ada", "--args", json.dumps(arguments))
    assert done.code == 2
    assert "issue_refund" in done.err
    assert len(leverframe("tasks", "--json").rows("tasks")) == 1


def test_a_decision_by_nobody_is_refused(leverframe: Command) -> None:
    leverframe("run", "refund", BROKEN, "--key", "t")
    assert "who decides" in leverframe("approve", "t", "--by", " ").err


def test_a_real_model_never_goes_on_with_an_offline_run(leverframe: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    leverframe("run", "refund", BROKEN, "--key", "t")
    monkeypatch.setenv("OLLAMA_BASE_URL", "http://127.0.0.1:9/v1")
    done = leverframe("reject", "t", "--by", "ada", "--model", "ollama/any")
    assert done.code == 1
    assert "offline" in done.out
    assert "leverframe retry" in done.out


def test_words_from_outside_cannot_move_the_cursor(leverframe: Command) -> None:
    done = leverframe(
        "run", "refund", "--input", json.dumps({"message": "Order 1042 arrived broken\x1b[2J\u202eevil [bold]x[/bold]"})
    )
    assert "\x1b" not in done.out
    assert "\u202e" not in done.out
    assert "[bold]x[/bold]" in done.out


@pytest.mark.parametrize("what", ["no folder", "no database", "read only"])
def test_a_database_that_cannot_be_used_is_one_clear_line(
    leverframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    path = tmp_path / ("nowhere/runs.db" if what == "no folder" else "other.db")
    if what == "no database":
        path.write_text("this is not a database" * 100)
    if what == "read only":
        path.mkdir()
    monkeypatch.setenv("LEVERFRAME_DATABASE_URL", f"sqlite:///{path}")
    done = leverframe("run", "refund", BROKEN)
    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(r"error: .*\n", done.err)


# ── processes ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def process(tmp_path: Path, *arguments: str) -> "subprocess.Popen[str]":
    env = repository.environment(PYTHONPATH=str(repository.ROOT), LEVERFRAME_DATABASE_URL=f"sqlite:///{tmp_path / 'runs.db'}")
    command = [sys.executable, "-m", "leverframe", *arguments]
    return subprocess.Popen(command, cwd=repository.ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_worker_takes_up_what_is_started_and_drains_on_sigterm(leverframe: Command, tmp_path: Path) -> None:
    worker = process(tmp_path, "work")
    try:
        run = str(leverframe("start", "refund", BROKEN, "--json").data["run"])
        until = time.monotonic() + 20
        while leverframe("show", run, "--json").data["status"] != "waiting":
            assert time.monotonic() < until
            time.sleep(0.1)
        worker.send_signal(signal.SIGTERM)
        out, err = worker.communicate(timeout=20)
    finally:
        worker.kill()
    assert (worker.returncode, err) == (0, "")
    assert run in out
    assert "worked" in out


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    shown = process(tmp_path, "graph", "refund")
    assert shown.stdout
    shown.stdout.close()
    assert shown.stderr
    assert "Traceback" not in shown.stderr.read()
    shown.stderr.close()
    shown.wait(timeout=20)
