"""Machines in Python: where a finding is in their source, what only the rooms tell, and the command on projects that are broken."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import pytest

from leverframe import (
    Absence,
    Accept,
    Act,
    Back,
    Call,
    Compact,
    Consult,
    Delegate,
    End,
    Fetch,
    In,
    Limits,
    Machine,
    Memory,
    Reply,
    Wait,
    Work,
    tool,
)
from leverframe import project as projects
from leverframe.canon import Object
from leverframe.check import Finding, check
from leverframe.errors import DeclarationError
from leverframe.state import State
from tests import repository
from tests.commands import leverframe

HERE = Path(__file__)
MACHINES = projects.find(repository.ROOT).machines


class Desk(Memory):
    text: str = ""


class Yes(Reply[Literal["yes"]]):
    """Yes."""


class No(Reply[Literal["no"]]):
    """No."""


@tool(effect="read")
def look(number: int) -> str:
    """Look at one."""
    return str(number)


@tool(effect="once", approval=False)
def send(to: str) -> None:
    """Send it."""


class Begin(Work[Desk]):
    def run(self, memory: Desk) -> Literal["go", "stop"]:
        return "go"


class Loop(Work[Desk]):
    def run(self, memory: Desk) -> Literal["again"]:
        return "again"


class Over(End):
    pass


class Never(End):  # class Never
    pass


class Poll(Wait):
    deadline = timedelta(hours=1)


class Shorten(Compact):  # class Shorten
    times = 0


class Sent(Fetch[Desk]):
    runs = (look,)

    def calls(self, memory: Desk) -> list[Call[object]]:
        return [look.call(1)]

    def keep(self, memory: Desk, got: object) -> Literal["happened", "not_happened"]:
        return "happened"


class Send(Act[Desk]):
    runs = (send,)

    def build(self, memory: Desk) -> Call[object]:
        return send.call("you")


class Deaf(Consult[Desk]):  # class Deaf
    to = "boss"
    deadline = timedelta(days=1)
    replies = (Yes, No)

    def keep(self, memory: Desk, reply: Yes) -> None:
        memory.text = "yes"


class Hears(Deaf):
    def keep(self, memory: Desk, reply: "Yes | No") -> None:
        memory.text = reply.intent


class Takes(Protocol):
    text: str


class Odd(Consult[Desk]):
    to = "boss"
    deadline = timedelta(days=1)
    replies = (Yes, No)

    def keep(self, memory: Desk, reply: Takes) -> None:
        memory.text = reply.text


class Gone(Delegate[Desk, Desk]):  # class Gone
    machine = "nobody"
    deadline = timedelta(days=1)

    def give(self, memory: Desk) -> Desk:
        return memory


def found(machine: Machine[Desk], code: str) -> Finding:
    """The one finding of that code; there is no other."""
    findings = check(machine).findings
    assert [one.code for one in findings] == [code], [one.message for one in findings]
    return findings[0]


def line(mark: str) -> int:
    """The line of this file that ends in a mark."""
    return next(number for number, text in enumerate(HERE.read_text("utf-8").splitlines(), 1) if text.endswith(f"# {mark}"))


Table: TypeAlias = dict[type[State[Desk]], dict[str, type[State[Desk]]]]

LOOPS = Machine(
    "loops",
    memory=Desk,
    edges={
        Begin: {"go": Loop, "stop": Over},
        Loop: {  # row of Loop
            "again": Loop,
        },
    },
)

TRIES: Table = {
    Send: {
        "ok": Over,
        "error": Shorten,
        "unknown": Sent,
    },
    Sent: {
        "happened": Over,
        "error": Shorten,
        "not_happened": Over,  # edge of Sent
    },
    Shorten: {"retry": Back, "give_up": Over},
}


def test_a_trap_is_at_its_row_and_its_path_at_the_edges() -> None:
    one = found(LOOPS, "LF105")
    assert str(one.place) == f"{HERE}:{line('row of Loop')}"
    assert [str(hop.place) for hop in one.path] == [f"{HERE}:{line('row of Loop') - 1}"]


def test_what_a_class_says_is_at_the_class_and_an_edge_at_its_key_also_where_the_table_has_a_name() -> None:
    machine = Machine("sends", memory=Desk, edges=TRIES)
    places = {one.code: one.place for one in check(machine).findings}
    assert places.keys() == {"LF203", "LF213"}
    assert str(places["LF203"]) == f"{HERE}:{line('class Shorten')}"
    assert str(places["LF213"]) == f"{HERE}:{line('edge of Sent')}"


def test_a_limit_is_at_its_argument() -> None:
    machine = Machine(
        "limited",
        memory=Desk,
        edges={Begin: {"go": Over, "stop": Over}, Poll: {"expired": Poll}},
        limits=Limits(
            days=3,
            exceeded=Poll,  # the limit
        ),
    )
    one = found(machine, "LF105")
    assert str(one.path[0].place) == f"{HERE}:{line('the limit')}"


def test_a_state_that_has_no_row_is_at_its_class() -> None:
    table: Table = {Begin: {"go": Over, "stop": Over}, Loop: {"again": Never}}
    machine = Machine("lost", memory=Desk, edges=table)
    places = {one.state: one.place for one in check(machine).findings}
    assert str(places["Never"]) == f"{HERE}:{line('class Never')}"


def test_a_reply_that_keep_does_not_take_is_found() -> None:
    one = found(Machine("deaf", memory=Desk, edges={Deaf: {"yes": Over, "no": Over, "expired": Over}}), "LF109")
    assert "'no' can be picked, and `keep` takes only Yes" in one.message
    assert one.remedy == "annotate `keep` with No too"
    assert str(one.place) == f"{HERE}:{line('class Deaf')}"


def test_a_keep_that_takes_every_reply_is_sound() -> None:
    machine = Machine("hears", memory=Desk, edges={Hears: {"yes": Over, "no": Over, "expired": Over}})
    assert not check(machine).findings


def test_a_keep_of_which_nobody_can_tell_what_it_takes_is_left_alone() -> None:
    machine = Machine("odd", memory=Desk, edges={Odd: {"yes": Over, "no": Over, "expired": Over}})
    assert not check(machine).findings


def test_a_machine_to_delegate_to_that_is_not_there_is_found() -> None:
    edges: Table = {Gone: {"done": Over, "error": Gives, "expired": Over}, Gives: {"retry": Back, "give_up": Over}}
    one = found(Machine("gives", memory=Desk, edges=edges), "LF116")
    assert "delegates to 'nobody', which is not in machines/" in one.message
    assert one.state == "Gone"


def test_a_rule_about_a_machine_that_is_not_there_does_not_hide_that_and_is_not_proven() -> None:
    edges: Table = {Gone: {"done": Over, "error": Gives, "expired": Over}, Gives: {"retry": Back, "give_up": Over}}
    machine = Machine("gives", memory=Desk, edges=edges, rules=[Absence(In("nobody", Over))])
    levels = [(one.code, one.level) for one in check(machine, others={}).findings]
    assert sorted(levels) == [("LF116", "error"), ("LF606", "warning")]


class Gives(Compact):
    pass


def test_an_acceptance_in_the_machine_accepts_its_finding_with_the_reason() -> None:
    machine = Machine(
        "polls",
        memory=Desk,
        edges={Begin: {"go": Poll, "stop": Over}, Poll: {"expired": Poll}},
        limits=Limits(exceeded=Over),
        accepts=[Accept("LF106", "it polls until the limit", Poll)],
    )
    report = check(machine)
    assert [(one.code, one.accepted) for one in report.findings] == [("LF106", "it polls until the limit")]
    assert not report.fails


def test_an_acceptance_needs_a_reason() -> None:
    with pytest.raises(DeclarationError, match="LF106: accepted without a reason"):
        Accept("LF106", "  ")


@pytest.mark.parametrize("name", MACHINES)
def test_the_shipped_machines_are_clean(name: str) -> None:
    report = check(MACHINES[name], others=MACHINES)
    assert [f"{one.place}: {one.message}" for one in report.findings] == []


# ── prompts in files ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Checked(repository.Done):
    @property
    def findings(self) -> list[Object]:
        return self.rows("findings")

    @property
    def places(self) -> list[str]:
        return [f"{one['file']}:{one['line']}: {one['code']}" for one in self.findings]


Check = Callable[..., Checked]


@pytest.fixture
def rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[str, str]], Check]]:
    """Writes rooms into a package of its own, and gives `leverframe check` there."""
    package = f"acme_{abs(hash(tmp_path.name)) % 10**9}"
    before = list(sys.path)

    def write(files: dict[str, str]) -> Check:
        (tmp_path / "pyproject.toml").write_text(f'[tool.leverframe]\npackage = "{package}"\n')
        for path, words in {"__init__.py": "", "machines/__init__.py": "", **files}.items():
            file = tmp_path / package / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(words)
        monkeypatch.chdir(tmp_path / package)
        monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
        return give

    def give(*arguments: str) -> Checked:
        return Checked(*leverframe("check", *arguments))

    yield write
    sys.path[:] = before
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        del sys.modules[name]


AGENT = '''
from datetime import timedelta
from typing import Literal
from leverframe import Ask, Back, Compact, End, Machine, Memory, Reply

class Desk(Memory):
    text: str = ""

class Yes(Reply[Literal["yes"]]):
    """Yes."""

class Think(Ask[Desk]):
    prompt = "desk/think"
    replies = (Yes,)

class Over(End):
    pass

class Shorten(Compact):
    pass

desk = Machine(
    "desk",
    memory=Desk,
    edges={
        Think: {"yes": Over, "error": Shorten},
        Shorten: {"retry": Back, "give_up": Over},
    },
)
'''
PROMPT = "# user\nHello {{ text }}\n"


def test_a_sound_project_says_what_was_checked(rooms: Callable[[dict[str, str]], Check]) -> None:
    done = rooms({"machines/desk.py": AGENT, "prompts/desk/think.md": PROMPT, "prompts/desk/think.b.md": PROMPT})()
    assert (done.code, done.err) == (0, "")
    assert done.out == "nothing found in 1 machine: desk (3 states, 4 edges, 0 tools)\n"


def test_everything_wrong_with_prompts_is_said_at_once(rooms: Callable[[dict[str, str]], Check]) -> None:
    files = {
        "prompts/desk/think.md": "# user\nHello {{ txt }}\n{{ nam }}\n",
        "prompts/desk/think.b.md": "# user\nHello {{ text\n",
        "prompts/desk/thinks.md": PROMPT,
    }
    done = rooms({"machines/desk.py": AGENT, **files})("--json")
    assert done.code == 1
    assert done.places == [
        "prompts/desk/think.b.md:2: LF114",
        "prompts/desk/think.md:2: LF113",
        "prompts/desk/think.md:3: LF113",
        "prompts/desk/thinks.md:1: LF112",
    ]


def test_a_prompt_that_is_not_there_is_at_the_state_that_wants_it(rooms: Callable[[dict[str, str]], Check]) -> None:
    done = rooms({"machines/desk.py": AGENT, "prompts/desk/thinks.md": PROMPT})("--json")
    assert done.places == ["machines/desk.py:12: LF111", "prompts/desk/thinks.md:1: LF112"]
    assert "Did you mean 'desk/thinks'?" in str(done.findings[0]["message"])


def test_a_prompt_that_cannot_be_read_is_at_its_line(rooms: Callable[[dict[str, str]], Check]) -> None:
    done = rooms({"machines/desk.py": AGENT, "prompts/desk/think.md": "---\nmodle: x\n---\n# user\n"})("--json")
    assert done.places == ["prompts/desk/think.md:2: LF114"]


def test_a_prompt_of_another_machine_is_not_unused(rooms: Callable[[dict[str, str]], Check]) -> None:
    other = AGENT.replace('"desk",', '"other",').replace("desk/think", "desk/plan")
    prompts = {"prompts/desk/think.md": PROMPT, "prompts/desk/plan.md": PROMPT}
    check = rooms({"machines/desk.py": AGENT, "machines/other.py": other, **prompts})
    assert check().code == 0
    assert check("desk").out.startswith("nothing found in 1 machine: desk")


def test_every_file_that_does_not_load_is_one_finding_and_the_others_are_checked(
    rooms: Callable[[dict[str, str]], Check],
) -> None:
    files = {
        "machines/desk.py": AGENT,
        "prompts/desk/think.md": PROMPT,
        "machines/edges.py": AGENT.replace('"yes": Over', '"yse": Over'),
        "machines/syntax.py": "x = 1\ndef (\n",
        "machines/imports.py": "\nimport nothing_of_that_name\n",
        "machines/leaves.py": "print('what code prints is no part of the report')\nraise SystemExit(0)\n",
        "machines/twice.py": AGENT,
    }
    done = rooms(files)("--json")
    assert done.code == 1
    assert done.places == [
        "machines/edges.py:26: LF002",
        "machines/imports.py:2: LF002",
        "machines/leaves.py:2: LF002",
        "machines/syntax.py:2: LF002",
        "machines/twice.py:1: LF002",
    ]
    assert "state Think: never ends in 'yse'" in str(done.findings[0]["message"])
    assert [one["machine"] for one in json.loads(done.out)["checked"]] == ["desk"]


def test_a_named_machine_that_does_not_load_is_the_only_one_said(rooms: Callable[[dict[str, str]], Check]) -> None:
    check = rooms({"machines/desk.py": AGENT, "prompts/desk/think.md": PROMPT, "machines/syntax.py": "def ("})
    assert check("desk").code == 0
    assert check("syntax").code == 1


def test_a_machine_that_is_no_data_is_a_finding(rooms: Callable[[dict[str, str]], Check]) -> None:
    files = {"machines/desk.py": AGENT.replace('text: str = ""', 'text: str = ""\n    inner: "Desk | None" = None')}
    done = rooms({**files, "prompts/desk/think.md": PROMPT})("--json")
    assert [one["code"] for one in done.findings] == ["LF002"]
    assert "contains itself" in str(done.findings[0]["message"])


# ── the command ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_definition_needs_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "desk.json").write_text(MACHINES["refund"].definition({}).text)
    (tmp_path / "broken.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    good = leverframe("check", "--definition", "desk.json")
    assert (good.code, good.out.partition(":")[0]) == (0, "nothing found in 1 machine")
    both = leverframe("check", "--definition", "desk.json", "--definition", "broken.json")
    assert both.code == 1
    assert both.out.startswith("broken.json:1: LF001 error: $: lacks 'leverframe' and 'name'")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["refnd"], "Did you mean 'refund'?"),
        (["--definition", "nothing.json"], "No such file"),
        (["--json", "--format", "sarif"], "contradict each other"),
        (["refund", "-o", "/nowhere/report"], "No such file"),
        (["--format", "xml"], "xml"),
    ],
)
def test_misuse_ends_with_two(arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository.ROOT)
    done = leverframe("check", *arguments)
    assert done.code == 2
    assert message in re.sub(r"\s+", " ", done.err)


def test_no_project_ends_with_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = leverframe("check")
    assert (done.code, "no project in" in done.err) == (2, True)


def test_a_report_can_be_written_to_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository.ROOT)
    done = leverframe("check", "refund", "--format", "sarif", "-o", str(tmp_path / "check.sarif"))
    assert (done.code, done.out) == (0, "")
    assert "nothing found in 1 machine" in done.err
    assert json.loads((tmp_path / "check.sarif").read_text())["version"] == "2.1.0"


def test_the_schema_can_be_printed() -> None:
    done = leverframe("schema", "definition")
    assert done.code == 0
    assert json.loads(done.out)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_a_check_loads_no_database_and_no_provider() -> None:
    code = (
        "import sys\nfrom leverframe.check import check\nfrom tests.test_check_definition import BODY, text\n"
        "from leverframe.check import check_text, formats\nprint(formats.text(check_text(text(BODY), 'x')))\n"
        "assert not {'sqlalchemy', 'sqlmodel', 'openai', 'instructor', 'transitions'} & set(sys.modules), sys.modules.keys()"
    )
    repository.run([sys.executable, "-c", code], repository.ROOT, repository.environment(PYTHONPATH=str(repository.ROOT)))
