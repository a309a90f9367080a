"""The rooms of a drawn machine: they load, draw the same, type-check, run as far as they are written, and say what is not."""

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leverframe import graph, project
from leverframe.canon import Json, canonical
from leverframe.check import check
from leverframe.errors import DiagramError, ProjectError
from leverframe.machine import Definition
from leverframe.project.diagram import Diagram, read
from leverframe.project.drafted import draft
from tests import flat, repository

PYPROJECT = """\
[tool.leverframe]
model = "examples"
[tool.pytest.ini_options]
testpaths = ["tests"]
pythonpath = ["."]
addopts = ["--import-mode=importlib"]
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "function"
"""
DRAW = """\
import json
from leverframe import graph, project
machines = project.find().machines
print(json.dumps({name: graph.mermaid(machine) for name, machine in machines.items()}))
"""
DEFINE = """\
import json
from leverframe import project
machines = project.find().machines
print(json.dumps({name: json.loads(machine.definition(machines).text) for name, machine in machines.items()}))
"""
DESK = """\
stateDiagram-v2
    [*] --> Triage
    Triage : ask – decide what {is} owed
    Triage --> Limit : issue refund
    Triage --> Declined : decline
    Triage --> Shorten : error
    state Limit <<choice>>
    Limit --> Pay : small
    Limit --> Release : large
    Release --> Pay : approved
    Release --> Triage : rejected
    Release --> Hand : expired
    Pay --> Book : ok
    Pay --> Paid : unknown
    Pay --> Shorten : error
    Book:::act --> Refunded : ok
    Book --> Shorten : error
    Paid --> Book : happened
    Paid --> Shorten : not_happened
    Paid --> Shorten : error
    Shorten --> Back : retry
    Shorten --> Hand : give_up
    Hand --> Refunded : handled
    Hand --> Declined : expired
    Declined:::failure
"""
DAY = """\
stateDiagram-v2
    [*] --> Each
    Each : delegate to restock – one run for each article
    Each --> Done : done
    Each --> Shorten : error
    Each --> Hand : expired
    Shorten --> Each : retry
    Shorten --> Hand : give_up
    Hand --> Done : handled
    Hand --> Done : expired
"""
SHIPPED = ("refund", "restock", "sales_report")


def environment() -> dict[str, str]:
    return repository.environment(PYTHONPATH=str(repository.ROOT))


def printed(folder: Path, code: str) -> dict[str, Json]:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Json] = json.loads(done.stdout)
    return found


def drawings() -> dict[str, str]:
    """Drawings whose calls can flow: those of our own machines, one as people draw, and random ones with the oddest names."""
    machines = project.find(repository.ROOT).machines
    found = {name: graph.mermaid(machines[name]) for name in SHIPPED} | {"desk": DESK, "day": DAY}
    found["lone"] = DAY.replace("restock", "nowhere")
    found["shown"] = (repository.ROOT / "docs/diagrams.md").read_text("utf-8")
    for seed in range(36):
        text = graph.mermaid(flat.definition(seed, 6 + seed % 12))
        try:
            draft(read(text), "flat", "flat")
        except DiagramError:
            continue  # an approval without a call, say
        found[f"flat{seed}"] = text
    return found


@pytest.fixture(scope="module")
def drawn() -> dict[str, str]:
    return drawings()


@pytest.fixture(scope="module")
def house(drawn: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One project with all of them."""
    folder = tmp_path_factory.mktemp("house")
    (folder / "pyproject.toml").write_text(PYPROJECT)
    for name, text in drawn.items():
        project.drawn(project.Project(folder), name, text, f"{name}.mmd")
    return folder


def same(diagram: Diagram) -> object:
    states = {state.name: (state.kind, dict(state.edges), state.success) for state in diagram.states}
    return diagram.start, diagram.exceeded, states


def test_what_is_written_draws_what_was_drawn(house: Path, drawn: dict[str, str]) -> None:
    again = {name: str(text) for name, text in printed(house, DRAW).items()}
    assert again.keys() == drawn.keys()
    assert len(again) >= 20
    for name, text in drawn.items():
        before, after = read(text), read(again[name])
        assert same(after) == same(before)
        assert {state.name: state.doc for state in before.states if state.doc}.items() <= {
            state.name: state.doc for state in after.states
        }.items()


@pytest.mark.parametrize("name", SHIPPED)
def test_the_drawing_of_a_shipped_machine_comes_back_to_the_letter(house: Path, drawn: dict[str, str], name: str) -> None:
    assert words(str(printed(house, DRAW)[name])) == words(drawn[name])


def words(drawing: str) -> str:
    """A drawing without what it says of tools, people and times: a stub knows none of them yet."""
    noted = re.sub(r"(?:<br/>)?· .*$", "", drawing, flags=re.MULTILINE)
    return re.sub(r"^    note right of \w+: $\n", "", noted, flags=re.MULTILINE)


@pytest.mark.long
def test_what_is_written_passes_the_strictest_checks(house: Path) -> None:
    ours = str(repository.ROOT / "pyproject.toml")
    env = {**environment(), "MYPYPATH": f"{repository.ROOT}:."}
    bin = Path(sys.executable).parent
    rooms = ["machines", "states", "tools", "tests"]
    tools = {name: shutil.which(name, path=f"{bin}:{env['PATH']}") or name for name in ("ruff", "mypy", "pyright")}
    native = "PLC2401,PLC2403"  # states may be named in the script of who draws them
    uncased = "lint.pep8-naming.extend-ignore-names = ['*数据*']"  # ruff asks of every letter that it be lower case
    check = [tools["ruff"], "check", "--no-cache", "--config", ours, "--config", uncased, "--extend-ignore", native, "."]
    repository.run(check, house, env)
    repository.run([tools["ruff"], "format", "--no-cache", "--check", "--config", ours, "."], house, env)
    mypy = [
        tools["mypy"],
        "--config-file=",
        "--strict",
        "--explicit-package-bases",
        "--python-executable",
        sys.executable,
        *rooms,
    ]
    assert "Success" in repository.run(mypy, house, env)
    strict = {"include": rooms, "extraPaths": [str(repository.ROOT)], "typeCheckingMode": "strict", "pythonVersion": "3.11"}
    (house / "pyrightconfig.json").write_text(json.dumps(strict))
    assert "0 errors" in repository.run([tools["pyright"], "--pythonpath", sys.executable], house, env)


def test_a_run_comes_to_the_first_thing_that_is_not_written(house: Path) -> None:
    """The tests that are written say where, each worked out from its drawing."""
    tests = [f"tests/agents/test_{name}.py" for name in (*SHIPPED, "desk", "day", "lone", "shown")]
    done = repository.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests], house, environment())
    assert "7 passed" in done
    assert '("waiting", "HandOver")' in (house / "tests/agents/test_restock.py").read_text()
    assert '("attention", "Limit")' in (house / "tests/agents/test_desk.py").read_text()
    assert '("attention", "Each")' in (house / "tests/agents/test_day.py").read_text()
    assert "match=\"delegates to 'nowhere'\"" in (house / "tests/agents/test_lone.py").read_text()
    assert '("attention", "Find")' in (house / "tests/agents/test_sales_report.py").read_text()


def test_everything_that_is_not_written_is_marked_where_a_check_looks(tmp_path: Path) -> None:
    project.drawn(project.Project(tmp_path), "desk", DESK, "desk.mmd")
    desk = Definition(canonical(printed(tmp_path, DEFINE)["desk"]))
    unwritten = {name for name, spec in desk.states.items() if "TODO:" in spec.doc}
    assert unwritten == {"Triage", "Limit", "Release", "Pay", "Book", "Paid", "Hand"}
    found = [one for one in check(desk).findings if one.code == "LF119"]
    assert {one.state for one in found if one.state} == unwritten
    assert sum(one.state is None for one in found) == len(desk.tools)
    assert str(desk.body["tools"]).count("'doc': 'TODO:") == len(desk.tools) == 3
    assert "TODO:" in desk.prompts("Triage")[0].text
    assert {name: tool.effect for name, tool in desk.tools.items()} == {"issue refund": "once", "book": "read", "paid": "read"}
    assert (desk.states["Pay"].builds, desk.states["Book"].builds) == (False, True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("[*] --> Triage", "[*] --> Release"),
            r"desk.mmd:\d+: Release \(approve\) decides on a call, and is reached without one",
        ),
        (
            ("Limit --> Pay : small", "Limit --> Book : small"),
            "issue refund is executed by Pay, which may end in 'unknown', and by Book",
        ),
    ],
)
def test_calls_that_cannot_flow_as_drawn_are_refused(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    text = DESK.replace(*change)
    if "Book : small" in text:
        text = text.replace("Pay --> Book : ok", "Pay --> Refunded : ok").replace("Paid --> Book", "Paid --> Refunded")
    with pytest.raises(DiagramError, match=message):
        project.drawn(project.Project(tmp_path), "desk", text, "desk.mmd")
    assert not list(tmp_path.iterdir())


HOSTILE = st.lists(
    st.sampled_from(
        [
            '"',
            '""',
            '"""',
            "\\",
            '\\"',
            "'",
            "{{ x }}",
            "{%",
            "#quot;",
            "#92;",
            "#10;",
            "\\N{",
            "\\x",
            "é",
            " ",
            "word",
            "\u00a0",
            "TODO:",
        ]
    )
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=4),
    min_size=1,
    max_size=8,
).map("".join)
NAMES = st.sampled_from(
    ["A b", "class", "None", "Work", "Memory", "évil", "ﬁ", "Å", "print", "1", "日本", "a.b", "Literal", "TODO", "Done2"]
)


@settings(max_examples=200, derandomize=True, deadline=None, database=None)
@given(HOSTILE, NAMES, HOSTILE, HOSTILE)
def test_whatever_the_words_of_a_drawing_are_the_files_parse_and_say_them(title: str, name: str, note: str, end: str) -> None:
    text = f"""---
title: {title}
---
stateDiagram-v2
    state "{name}" as one
    [*] --> one
    class one ask
    note right of one: {note}
    one --> Over : a word
    one --> Short : error
    Short --> Back : retry
    Short --> Over : give_up
    note right of Over: {end}
    Over --> [*]
"""
    try:
        diagram = read(text)
    except DiagramError:
        return
    files = draft(diagram, "evil", "evil.mmd")
    parsed = {path: ast.parse(text) for path, text in files.items() if path.endswith(".py")}
    docs = [(ast.get_docstring(each) or "").split() for each in parsed["states/evil.py"].body if isinstance(each, ast.ClassDef)]
    for state in diagram.states:
        assert any(doc[: len(state.doc.split())] == state.doc.split() for doc in docs)
    assert (ast.get_docstring(parsed["machines/evil.py"]) or "").split() == (
        diagram.title or "The evil agent, as it was drawn."
    ).split()


@pytest.mark.parametrize(
    ("front", "note", "said"),
    [
        ("title: desk", 'the customer says \\"', 'owed the customer says \\\\\\"'),
        ("title: ' '", "decide", '"""The desk agent, as it was drawn."""'),
        ('title: "\u00a0"', "decide", '"""The desk agent, as it was drawn."""'),
    ],
)
def test_words_that_look_like_the_end_of_words_are_written_as_words(tmp_path: Path, front: str, note: str, said: str) -> None:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    text = f"---\n{front}\n---\n" + DESK.replace("[*] --> Triage\n", f"[*] --> Triage\n    note right of Triage: {note}\n", 1)
    project.drawn(project.find(tmp_path), "desk", text, "desk.mmd")
    written = [(tmp_path / room / "desk.py").read_text("utf-8") for room in ("machines", "states")]
    assert said in "".join(written)
    assert all(ast.parse(each) for each in written)


def test_nothing_is_written_where_something_is_already(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/desk.py").write_text("mine = 1\n")
    with pytest.raises(ProjectError, match=r"desk\.py is there already"):
        project.drawn(project.Project(tmp_path), "desk", DESK, "desk.mmd")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["desk.py"]


def test_inside_of_a_package_imports_begin_with_it(tmp_path: Path) -> None:
    inside = project.Project(tmp_path, "acme.agents")
    project.drawn(inside, "desk", DESK, "desk.mmd")
    for folder in ("acme", "acme/agents"):
        (tmp_path / folder / "__init__.py").touch()
    (tmp_path / "pyproject.toml").write_text('[tool.leverframe]\npackage = "acme.agents"\n')
    assert same(read(str(printed(tmp_path, DRAW)["desk"]))) == same(read(DESK))


def leverframe(folder: Path, *arguments: str, said: bytes = b"") -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "leverframe", *arguments],
        cwd=folder,
        env=environment(),
        input=said,
        capture_output=True,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_the_command_reads_a_file_or_the_standard_input(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "desk.mmd").write_text(DESK)
    code, out, _ = leverframe(tmp_path, "new", "desk", "--from", "desk.mmd", "--json")
    assert (code, len(json.loads(out)["written"])) == (0, 8)
    code, out, _ = leverframe(tmp_path, "new", "bench", "--from", "-", said=DESK.encode())
    assert (code, "leverframe graph bench" in out) == (0, True)
    assert leverframe(tmp_path, "graph", "bench")[1].startswith("bench: The bench agent, as it was drawn.")
    code, out, err = leverframe(tmp_path, "new", "desk", "--from", "desk.mmd")
    assert (code, out, "is there already" in err) == (2, "", True)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b"stateDiagram-v2\n[*] --> A\nA --> B\nA --> C\n", "standard input:3: A --> B has no outcome"),
        (b"stateDiagram-v2\n\xff", "standard input: byte 16 is not UTF-8"),
        (b"\n" * 8_000_001, "more than 8,000,000 bytes"),
        (b"", "nothing is drawn"),
    ],
)
def test_a_drawing_that_is_refused_leaves_nothing_behind(tmp_path: Path, said: bytes, message: str) -> None:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    code, out, err = leverframe(tmp_path, "new", "desk", "--from", "-", said=said)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["pyproject.toml"]


def test_a_file_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    code, _, err = leverframe(tmp_path, "new", "desk", "--from", "no.mmd")
    assert (code, err.endswith("Invalid value: --from no.mmd: No such file or directory\n")) == (2, True)
