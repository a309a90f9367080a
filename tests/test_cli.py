"""The commands, as people and scripts give them: on this repository's own rooms, each test on a database file of its own."""

import asyncio
import json
import re
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from io import StringIO
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from leverframe.cli import printed
from leverframe.store import Store
from tests import yard
from tests.commands import Command
from tests.repository import Done

BROKEN = "Order 1042 arrived broken, I want my money back"
STRANGE = "xyzzy quux"
REPORT = {"number": "r-1", "shop": "north", "article": "desk lamp", "sold": 3}
DAY = {
    "number": "d-1",
    "shop": "unobtainium",
    "lines": [{"article": "desk lamp", "sold": 3, "left": 0}],
}  # nothing is shipped there


@pytest.fixture
def standing(leverframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """As `leverframe`, in a project of machines that come to rest in every way."""
    monkeypatch.chdir(yard.project(tmp_path))
    monkeypatch.setenv("LEVERFRAME_PATIENCE", "0")
    return leverframe


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


def test_the_command_that_is_printed_decides_what_is_shown_however_often_it_is_given(leverframe: Command) -> None:
    shown = leverframe("run", "refund", BROKEN, "--key", "twice")
    (command,) = re.findall(r"^  (leverframe reject \S+ --by YOU --comment .+)$", shown.out, re.MULTILINE)
    leverframe(*shlex.split(command)[1:])  # asks the model again, and waits for another decision
    (task,) = leverframe("show", "twice", "--json").rows("tasks")
    again = leverframe(*shlex.split(command)[1:], "--json")
    assert (again.code, again.rows("tasks")) == (0, [task])


def test_the_json_of_a_run_has_the_keys_that_scripts_read(leverframe: Command) -> None:
    run = leverframe("run", "refund", BROKEN, "--json").data
    assert {"run", "machine", "status", "state", "memory", "seq", "tasks", "effects", "queue"} <= run.keys()
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
    assert f"leverframe answer {task['task']} --by YOU" in shown.out
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


def test_an_exported_run_is_told_again(leverframe: Command, tmp_path: Path) -> None:
    run = str(leverframe("run", "refund", BROKEN, "--json").data["run"])
    file = tmp_path / "broken.json"
    assert leverframe("export", run, "--output", str(file)).code == 0
    told = leverframe("replay", str(file), "--json")
    (found,) = told.rows("replays")
    assert (told.code, found["run"], found["divergence"], found["told"]) == (0, run, None, found["events"])
    assert found["reworded"] == []
    assert "come out as recorded" in leverframe("replay", str(file), "--model", "examples").out
    assert leverframe("replay", str(file), "--variant", "b").code == 2
    assert leverframe("replay", str(tmp_path / "none.json")).code == 2
    file.write_text(file.read_text().replace("broken", "whole"))
    assert "export the run again" in leverframe("replay", str(file)).err


def test_every_run_is_verified_and_a_changed_log_is_found(leverframe: Command, tmp_path: Path) -> None:
    run = str(leverframe("run", "refund", BROKEN, "--json").data["run"])
    assert leverframe("verify", "--json").rows("runs") == [{"run": run, "ok": True, "events": 6, "error": None}]
    with sqlite3.connect(tmp_path / "leverframe.db") as raw:
        raw.execute("UPDATE events SET actor = 'human:eve' WHERE seq = 3")
    done = leverframe("verify", run)
    assert done.code == 1
    assert "event 3" in done.err


def test_a_run_of_the_present_definition_needs_no_migration(leverframe: Command) -> None:
    run = str(leverframe("run", "refund", BROKEN, "--json").data["run"])
    found = leverframe("migrate", run, "--dry-run", "--json").data
    assert (found["against"], found["migrated"], found["from"]) == ([], False, found["to"])
    assert leverframe("migrate", run, "--to", "0" * 64).code == 2


def test_the_database_is_brought_to_our_schema(leverframe: Command, tmp_path: Path) -> None:
    (tmp_path / "leverframe.db").unlink()
    assert leverframe("db", "upgrade", "--json").data["from"] is None
    again = leverframe("db", "upgrade", "--json").data
    assert again["from"] == again["to"]


# ── where a run stands ───────────────────────────────────────────────────────────────────────────────────────────────────────


def run_of(machine: str, *then: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    return ("run", machine, "--key", "t"), *then


STANDING: dict[str, tuple[tuple[str, ...], ...]] = {
    "an event": run_of("gate"),
    "a choice": run_of("choice"),
    "one text": run_of("words"),
    "a deadline that has passed": run_of("late"),
    "code that raises": run_of("broken"),
    "a limit": run_of("endless"),
    "a call in doubt": run_of("doubt"),
    "a call that is put off": run_of("later"),
    "a child that is stuck": run_of("parent"),
    "paused": run_of("words", ("pause", "t")),
    "paused and decided": run_of("words", ("pause", "t"), ("answer", "t", "--by", "ada", "--value", "yes")),
    "an approval": (("run", "refund", BROKEN, "--key", "t"),),
    "another kind of model": (("run", "refund", BROKEN, "--key", "t"), ("reject", "t", "--by", "ada", "--model", "ollama/any")),
}


@pytest.mark.parametrize("named", [False, True], ids=["", "with a model"])
@pytest.mark.parametrize("what", STANDING)
def test_every_command_that_is_printed_works_as_printed(
    leverframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, named: bool
) -> None:
    steps = STANDING[what]
    monkeypatch.setenv("OLLAMA_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("LEVERFRAME_PATIENCE", "0")
    if steps[0][1] != "refund":
        monkeypatch.chdir(yard.project(tmp_path))
    if named:
        goes_on = ("run", "answer", "reject")
        steps = tuple((*step, "--model", "examples") if step[0] in goes_on and "--model" not in step else step for step in steps)

    def stands(database: int) -> Done:
        monkeypatch.setenv("LEVERFRAME_DATABASE_URL", f"sqlite:///{tmp_path / f'{database}.db'}")
        return [leverframe(*step) for step in steps][-1]

    stood = stands(0).out + leverframe("show", "t").out + leverframe("tasks").out
    commands = sorted(set(re.findall(r"^ +(leverframe .*)$", stood, re.MULTILINE)))
    assert commands
    for number, command in enumerate(commands, 1):
        stands(number)
        done = leverframe(*shlex.split(command.replace("YOU", "ada").replace("…", "x"))[1:])
        assert (done.code in (0, 1), done.err) == (True, ""), command


def test_a_quarantined_run_is_looked_at_and_retried(standing: Command, tmp_path: Path) -> None:
    run = str(standing("start", "words", "--json").data["run"])
    with closing(sqlite3.connect(tmp_path / "leverframe.db")) as raw:
        raw.execute("UPDATE runs SET claims = 9")
        raw.commit()
    stood = standing("advance", run)
    assert (stood.code, "quarantined in Word" in stood.out) == (1, True)
    (command,) = set(re.findall(r"^ +(leverframe .*)$", stood.out, re.MULTILINE))
    assert standing(*shlex.split(command)[1:]).code == 0
    assert standing("advance", run, "--json").data["status"] == "waiting"


def test_only_commands_that_ask_a_model_are_printed_with_it(standing: Command) -> None:
    out = standing("run", "broken", "--key", "t", "--model", "examples").out
    assert re.findall(r"^ +leverframe (\w+) \S+(.*)$", out, re.MULTILINE) == [("retry", ""), ("advance", " --model examples")]


def test_a_waiting_event_is_printed_with_the_data_it_needs_and_its_deadline(standing: Command) -> None:
    out = standing("run", "gate").out
    assert re.search(r"waiting in Gate until 20\d\d-", out)
    (data,) = re.findall(r"arrived --data '(.*)'$", out, re.MULTILINE)
    assert json.loads(data) == {"where": "…", "wagons": 0, "kind": "goods", "on": "P1D"}
    assert re.search(r"signal \S+ gone$", out, re.MULTILINE)


def test_an_event_goes_on_with_the_run_and_one_that_does_not_fit_loses_nothing(standing: Command) -> None:
    standing("run", "gate", "--key", "t")
    assert standing("signal", "t", "arrived", "--data", '{"where": 3}').code == 2
    assert standing("signal", "t", "arived").err.count("Did you mean 'arrived'") == 1
    assert standing("signal", "t", "gone", "--no-advance", "--json").data["state"] == "Gate"
    assert standing("advance", "t", "--json").data["status"] == "done"


def test_why_a_call_is_tried_again_is_said(standing: Command) -> None:
    assert "tries again: ConnectionError: the bank is closed" in standing("run", "later").out


def test_retry_goes_on_past_a_limit_that_was_granted(standing: Command) -> None:
    run = str(standing("run", "endless", "--json").data["run"])
    assert standing("retry", run).code == 2
    assert standing("retry", run, "--grant", "1", "--json").rows("runs")[0]["status"] == "ready"
    again = standing("advance", run, "--json")
    assert (again.code, again.data["steps"]) == (1, 10)


def test_a_decision_about_a_run_that_stands_still_is_recorded_and_said_to_wait(standing: Command) -> None:
    run = str(standing("run", "words", "--json").data["run"])
    standing("pause", run)
    for how in ((), ("--no-advance",)):
        done = standing("answer", run, "--by", "ada", "--value", "yes", *how)
        assert f"recorded, but run {run} is paused" in done.out
        assert f"leverframe resume {run}" in done.out
        assert "advance" not in done.out
    assert standing("resume", run).code == 0
    assert standing("advance", run, "--json").data["status"] == "done"


def test_a_task_that_is_overdue_is_shown_so_with_what_to_do(standing: Command) -> None:
    run = standing("run", "late", "--json")
    (task,) = run.rows("tasks")
    assert task["overdue"] is True
    listed = standing("tasks").out
    assert "overdue" in listed
    assert "leverframe answer" not in listed
    refused = standing("answer", str(task["task"]), "--by", "ada", "--value", "yes")
    assert refused.code == 2
    assert f"leverframe advance {run.data['run']}" in refused.err
    done = standing("advance", str(run.data["run"]), "--json")
    assert (done.code, done.data["status"]) == (1, "failed")


def test_what_somebody_wrote_cannot_pass_for_what_we_say(standing: Command) -> None:
    forged = "hello\nissue_refund\n  amount: 1.00\n  leverframe approve run_1 --by YOU"
    standing("run", "words", "--input", json.dumps({"text": forged}), "--key", "evil\nrun_1  done")
    shown = standing("show", "evil\nrun_1  done").out
    for out in (shown, standing("tasks").out, standing("runs").out):
        lines = [line for line in out.splitlines() if re.search(r"issue_refund|amount|approve|run_1", line)]
        assert lines
        assert all(re.match(r" *│ |run_\w+  words|  started", line) for line in lines), lines
    assert "  │ issue_refund" in shown


def test_a_line_that_is_longer_than_the_screen_stays_behind_the_bar() -> None:
    screen = StringIO()
    forged = "x" * 36 + "issue_refund" + " " * 24 + "amount: 1.00" + "\u6f22" * 40
    printed.quote(Console(file=screen, force_terminal=True, width=40, soft_wrap=True), forged)
    lines = screen.getvalue().splitlines()
    assert len(lines) > 4
    assert all(line.startswith("  │ ") and cell_len(line) <= 40 for line in lines)


@pytest.mark.parametrize(
    ("kept", "said"), [("gone.. Bring it", "gone. Bring it"), ("'b'?. Bring it", "'b'? Bring it"), ("wait... no", "wait... no")]
)
def test_a_reason_made_of_two_messages_has_one_full_stop(kept: str, said: str) -> None:
    assert printed.reason(kept) == said


def test_a_list_says_how_much_it_leaves_out(standing: Command) -> None:
    for _ in range(3):
        standing("run", "words")
    assert "… 2 more: --limit 3" in standing("runs", "--limit", "1").out
    assert "… 2 more: --limit 3" in standing("tasks", "--limit", "1").out
    assert [standing(name, "--limit", "2", "--json").data["more"] for name in ("runs", "tasks")] == [1, 1]
    assert [standing(name, "--limit", "3", "--json").data["more"] for name in ("runs", "tasks")] == [0, 0]
    assert "more" not in standing("runs").out


def test_a_run_that_a_process_holds_is_running_wherever_it_is_shown(standing: Command, tmp_path: Path) -> None:
    held = str(standing("start", "words", "--json").data["run"])
    late, dead = (str(standing("start", "words", "--json").data["run"]) for _ in range(2))
    free = {late, dead, str(standing("start", "words", "--json").data["run"])}

    async def hold() -> None:
        store = Store.open(f"sqlite:///{tmp_path / 'leverframe.db'}")
        now = store.clock.now()
        assert await store.claim(held, "somebody else", now, now + 3_600_000_000)
        assert await store.claim(late, "somebody else", now, now - 1)
        assert await store.claim(dead, owner_that_died(), now, now + 3_600_000_000)
        store.close()

    asyncio.run(hold())
    assert {str(row["run"]): row["status"] for row in standing("runs", "--json").rows("runs")} == {
        held: "running",
        **dict.fromkeys(free, "ready"),
    }
    assert [row["run"] for row in standing("runs", "--status", "running", "--json").rows("runs")] == [held]
    assert {str(row["run"]) for row in standing("runs", "--status", "ready", "--json").rows("runs")} == free
    assert standing("runs", "--status", "ready", "--limit", "1", "--json").data["more"] == 2
    assert standing("show", held, "--json").data["status"] == "running"
    assert "running in Word" in standing("show", held).out
    assert re.search(rf"{held}  words  running", standing("runs").out)
    paused = standing("pause", held)
    assert "will be paused as soon as the step in hand is committed" in paused.out
    assert "advance" not in paused.out


def owner_that_died() -> str:
    """The owner that a process which is gone by now was."""
    code = "from leverframe.store import me; print(me())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_runs_of_a_machine_that_is_gone_are_still_listed(standing: Command, tmp_path: Path) -> None:
    run = standing("run", "words", "--json").data["run"]
    assert standing("runs", "--machine", "broken").out == "no runs\n"
    (tmp_path / "yard_rooms/machines/yard.py").write_text("")
    assert [row["run"] for row in standing("runs", "--machine", "words", "--json").rows("runs")] == [run]
    assert "Did you mean 'words'" in standing("runs", "--machine", "word").err


def test_verify_reports_a_run_it_cannot_read_and_goes_on(standing: Command, tmp_path: Path) -> None:
    runs = sorted(str(standing("run", "words", "--json").data["run"]) for _ in range(4))
    with closing(sqlite3.connect(tmp_path / "leverframe.db")) as raw:
        raw.execute("UPDATE events SET body = '{' WHERE seq = 1 AND run_id = ?", (runs[0],))
        raw.execute("UPDATE runs SET memory = '[' WHERE id = ?", (runs[1],))
        raw.execute("UPDATE events SET actor = 'human:eve' WHERE seq = 1 AND run_id = ?", (runs[2],))
        raw.commit()
    done = standing("verify", "--json")
    assert done.code == 1
    assert [(row["run"], row["ok"]) for row in done.rows("runs")] == [*((run, False) for run in runs[:3]), (runs[3], True)]
    assert all(run in str(row["error"]) for run, row in zip(runs[:3], done.rows("runs"), strict=False))


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


MISTOLD = [
    (("run", "refund"), "refund requires message; give TEXT"),
    (("run", "refund", "--input", "@nosuch.json"), "--input @nosuch.json: No such file"),
    (("approve", "task_nosuch", "--by", "ada", "--args", "@nosuch.json"), "--args @nosuch.json: No such file"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTOLD, ids=[message for _, message in MISTOLD])
def test_misuse_is_told_what_to_give(leverframe: Command, arguments: tuple[str, ...], message: str) -> None:
    done = leverframe(*arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("[" * 900 + "]" * 900, "nested deeper than 64 levels; flatten it"),
        ("[" * 5000 + "]" * 5000, "--input: nested deeper than 64 levels; flatten it"),
        ("9" * 5000, "--input.message: an integer of more than 308 digits; send it as a string"),
        ("", "--input: not JSON: Expecting value"),
    ],
    ids=["900 deep", "5000 deep", "5000 digits", "half"],
)
def test_json_that_cannot_be_read_is_told_why(leverframe: Command, message: str, words: str) -> None:
    done = leverframe("run", "refund", "--input", f'{{"message": {message}}}')
    assert done.code == 2
    assert words in " ".join(done.err.replace("│", " ").split())


REFUSED = [
    (("run", "nosuch", "x"), "no machine is called 'nosuch'"),
    (("run", "refund", "--input", "{}"), "message: Field required"),
    (("run", "refund", "--input", '{"message": "x", "amount": 3}'), "amount"),
    (("run", "refund", "--input", '{"message": "a\\u0000b"}'), "NUL"),
    (("run", "refund", "--input", '{"message": "\\ud800"}'), "surrogate"),
    (("run", "refund", "--input", '{"message": NaN}'), "message"),
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


# What was given is wrong: 2. It was fine, and something else failed: 1.
ENDS = [
    (("run", "refnd", "x"), 2),
    (("run", "refund", "--input", '{"message": 5}'), 2),
    (("run", "refund", BROKEN, "--key", ""), 2),
    (("approve", "t", "--by", ""), 2),
    (("approve", "t", "--by", "ada", "--args", '{"amount": 1}'), 2),
    (("answer", "t", "--by", "ada", "--value", "yes"), 2),
    (("show", "nope"), 2),
    (("signal", "t", "arrived"), 2),
    (("retry", "t"), 2),
    (("resume", "t"), 2),
    (("migrate", "t", "--to", "deadbeef"), 2),
    (("fork", "t", "--at", "99"), 2),
    (("new", "Foo"), 2),
    (("new", "refund"), 2),
    (("init", "agents", "--package", "acme..x"), 2),
    (("runs", "--machine", "refnd"), 2),
    (("cancel", "--machine", "bogus"), 2),
    (("run", "refund", BROKEN, "--model", "nobody/none"), 2),
    (("run", "broken"), 1),
    (("tasks", "--limit", "99999999999999999999"), 0),
    (("runs", "--limit", "99999999999999999999"), 0),
    (("fork", "t", "--by", ""), 2),
]


@pytest.mark.parametrize(("arguments", "code"), ENDS, ids=[" ".join(arguments)[:40] for arguments, _ in ENDS])
def test_the_exit_code_tells_misuse_from_failure(
    leverframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int
) -> None:
    leverframe("run", "refund", BROKEN, "--key", "t")
    if arguments == ("run", "broken"):
        monkeypatch.chdir(yard.project(tmp_path))
    done = leverframe(*arguments)
    assert done.code == code, done


def test_a_name_that_is_no_text_is_refused_as_such(leverframe: Command) -> None:
    done = leverframe("show", "\udcff")
    assert done.code == 2
    assert "run is not UTF-8 text" in done.err
    assert "written" not in done.err


def test_the_worst_of_many_decides_the_exit_code(leverframe: Command) -> None:
    run = str(leverframe("run", "refund", BROKEN, "--json").data["run"])
    assert leverframe("pause", run, "run_nosuch").code == 2
    assert leverframe("pause", run).code == 2
    assert leverframe("resume", run).code == 0


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
    assert "by: it is empty; give a name" in leverframe("approve", "t", "--by", " ").err


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


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no folder", "does not exist"),
        ("a folder", "cannot be opened"),
        ("no database", "is not a SQLite database"),
        ("read only", "is read-only"),
        ("newer schema", "9999"),
        ("locked", "is locked by another program"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_clear_line_and_no_misuse(
    standing: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, message: str
) -> None:
    path = tmp_path / ("nowhere/runs.db" if what == "no folder" else "other.db")
    monkeypatch.setenv("LEVERFRAME_DATABASE_URL", f"sqlite:///{path}")
    if what == "no database":
        path.write_text("this is not a database" * 100)
    elif what == "a folder":
        path.mkdir()
    elif what != "no folder":
        assert standing("db", "upgrade").code == 0
    with closing(sqlite3.connect(tmp_path / "raw.db" if what in ("no folder", "a folder") else path)) as raw:
        if what == "newer schema":
            raw.execute("UPDATE leverframe_version SET version_num = '9999'")
            raw.commit()
        if what == "locked":
            raw.execute("BEGIN IMMEDIATE")
        if what == "read only":  # not by its mode, which root does not heed
            monkeypatch.setenv("LEVERFRAME_DATABASE_URL", f"sqlite:///file:{path}?mode=ro&uri=true")
        done = standing("run", "words")
    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(r"error: .*\n", done.err)
    assert message in done.err
