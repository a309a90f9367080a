"""Finding a project, its settings and its rooms, and copying out a new one. Other projects are loaded in processes of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

from leverframe import project
from leverframe.errors import InputError, ProjectError, UnfitName, UnknownMachine, UnknownModel
from tests import repository

TINY = """\
from typing import Literal
from leverframe import End, Machine, Memory, Work

class Note(Memory):
    text: str

class Read(Work[Note]):
    def run(self, memory: Note) -> Literal["ok"]:
        return "ok"

class Done(End):
    pass

NAME = Machine("NAME", memory=Note, edges={Read: {"ok": Done}})
"""


def written(folder: Path, **files: str) -> Path:
    for path, text in files.items():
        file = folder / path.replace("__", "/")
        file = file.with_name(file.name + (".toml" if file.name == "pyproject" else ".py"))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("NAME", "tiny"))
        if file.parent.name in ("machines", "tools"):
            (file.parent / "__init__.py").touch()
    return folder


def leverframe(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = repository.environment(PYTHONPATH=str(repository.ROOT), **environment)
    return subprocess.run(
        [sys.executable, "-m", "leverframe", *arguments], cwd=folder, env=env, capture_output=True, text=True, check=False
    )


def test_a_project_is_found_from_any_folder_below_it(tmp_path: Path) -> None:
    written(tmp_path, pyproject='[tool.leverframe]\nmodel = "examples"\n', machines__tiny=TINY)
    below = tmp_path / "docs/deep"
    below.mkdir(parents=True)
    found = project.find(below)
    assert (found.root, found.package, found.settings.model) == (tmp_path, "", "examples")
    assert found.database_url() == f"sqlite:///{tmp_path}/leverframe.db"


def test_a_folder_with_machines_is_a_project_without_settings(tmp_path: Path) -> None:
    written(tmp_path, machines__tiny=TINY)
    assert project.find(tmp_path / "machines").root == tmp_path


def test_rooms_inside_of_a_package_are_found_without_settings_too(tmp_path: Path) -> None:
    written(tmp_path, acme__agents__machines__tiny=TINY)
    for folder in ("acme", "acme/agents"):
        (tmp_path / folder / "__init__.py").touch()
    found = project.find(tmp_path / "acme/agents")
    assert (found.root, found.package, found.rooms) == (tmp_path, "acme.agents", tmp_path / "acme/agents")


def test_where_there_is_no_project_the_error_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"leverframe init \."):
        project.find(tmp_path)


def test_the_environment_overrides_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"model": "examples", "database_url": "sqlite:///data.db", "lease": 5}
    monkeypatch.setenv("LEVERFRAME_DATABASE_URL", "postgresql://db/runs")
    monkeypatch.delenv("LEVERFRAME_MODEL", raising=False)
    found = project.Project(tmp_path, table=table)
    assert (found.settings.model, found.settings.lease, found.database_url()) == ("examples", 5, "postgresql://db/runs")
    assert found.database_url("sqlite:///data.db") == f"sqlite:///{tmp_path}/data.db"
    assert found.database_url("sqlite:////tmp/data.db") == "sqlite:////tmp/data.db"


@pytest.mark.parametrize(
    ("table", "message"),
    [({"modell": "examples"}, "Did you mean 'model'"), ({"lease": "long"}, "setting lease .LEVERFRAME_LEASE")],
)
def test_a_wrong_setting_is_named(tmp_path: Path, table: dict[str, object], message: str) -> None:
    with pytest.raises(ProjectError, match=message):
        _ = project.Project(tmp_path, table=table).settings


def test_there_is_no_default_model_and_an_unknown_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LEVERFRAME_MODEL", raising=False)
    assert project.Project(tmp_path).llm() is None
    with pytest.raises(UnknownModel):
        project.Project(tmp_path).llm("nobody/nothing")


def test_an_unknown_machine_is_refused_with_the_near_miss() -> None:
    with pytest.raises(UnknownMachine, match="Did you mean 'refund'"):
        project.find(repository.ROOT).machine("refnud")


def test_a_room_that_does_not_load_is_named_with_its_line(tmp_path: Path) -> None:
    written(tmp_path, machines__tiny="import json\n\nx = 1 / 0\n")
    done = leverframe(tmp_path, "graph", "tiny")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {tmp_path}/machines/tiny.py:3: ZeroDivisionError: division by zero\n"
    written(tmp_path, machines__tiny="def (:\n")
    assert f"{tmp_path}/machines/tiny.py:1: invalid syntax" in leverframe(tmp_path, "graph", "tiny").stderr


def test_two_machines_of_one_name_are_refused(tmp_path: Path) -> None:
    written(tmp_path, machines__tiny=TINY, machines__other=TINY)
    assert "two machines are called 'tiny'" in leverframe(tmp_path, "graph", "tiny").stderr


def test_one_machine_is_found_whatever_the_other_files_are(tmp_path: Path) -> None:
    written(tmp_path, machines__tiny=TINY, machines__other="def (:\n")
    assert "Read" in leverframe(tmp_path, "graph", "tiny").stdout
    refused = leverframe(tmp_path, "graph", "tinny").stderr
    assert "Did you mean 'tiny'?" in refused
    assert f"Not loaded: {tmp_path}/machines/other.py:1: invalid syntax" in refused


def test_a_room_that_others_could_take_the_place_of_is_refused(tmp_path: Path) -> None:
    written(tmp_path, machines__tiny=TINY)
    (tmp_path / "machines/__init__.py").unlink()
    assert "machines has no __init__.py" in leverframe(tmp_path, "graph", "tiny").stderr


def test_a_clash_with_an_installed_package_names_the_way_out(tmp_path: Path) -> None:
    here = written(tmp_path / "here", machines__tiny=TINY)
    other = tmp_path / "site"
    (other / "machines").mkdir(parents=True)
    (other / "machines/__init__.py").touch()
    env = repository.environment(PYTHONPATH=f"{repository.ROOT}:{other}")
    command = [sys.executable, "-m", "leverframe", "graph", "tiny"]
    done = subprocess.run(command, cwd=here, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"another 'machines' stands in {other}/machines/__init__.py" in done.stderr
    assert "--package acme.agents" in done.stderr


def test_the_hook_of_the_tools_is_called_with_the_database(tmp_path: Path) -> None:
    hook = "def prepare(database_url):\n    open('prepared', 'a').write(database_url)\n"
    written(tmp_path, machines__tiny=TINY, tools__hook="")
    (tmp_path / "tools/__init__.py").write_text(hook)
    done = leverframe(tmp_path, "run", "tiny", "hello")
    assert "done in Done" in done.stdout, done.stderr
    assert (tmp_path / "prepared").read_text() == f"sqlite:///{tmp_path}/leverframe.db"
    (tmp_path / "tools/__init__.py").write_text("def prepare(database_url):\n    raise ValueError('no')\n")
    assert leverframe(tmp_path, "run", "tiny", "hello").stderr == "error: tools.prepare failed: ValueError: no\n"


def test_drawing_and_help_load_no_database_and_no_model() -> None:
    code = (
        "import sys\nfrom leverframe.cli import app\n"
        "try:\n    app(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print([name for name in ('sqlalchemy', 'sqlmodel', 'openai', 'instructor', 'jinja2', 'leverframe.llm') if name in sys.modules])"
    )
    for arguments in (["--help"], ["graph", "refund"], ["graph", "refund", "--format", "mermaid"]):
        shown = repository.run(
            [sys.executable, "-c", code, *arguments], repository.ROOT, repository.environment(PYTHONPATH=str(repository.ROOT))
        )
        assert shown.endswith("\n[]\n"), shown


# ── init and new ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_init_copies_the_rooms_and_a_new_agent_runs_at_once(tmp_path: Path) -> None:
    assert leverframe(tmp_path, "init", ".").returncode == 0
    ours = {
        path for path in repository.files() if path.startswith(("machines/", "states/", "prompts/", "tools/", "tests/agents/"))
    }
    assert {path for path in ours if (tmp_path / path).read_text() == (repository.ROOT / path).read_text()} == ours
    assert leverframe(tmp_path, "new", "faq").returncode == 0
    done = leverframe(tmp_path, "run", "faq", "What are your opening hours?")
    assert "nine to five" in done.stdout, done.stderr
    assert "offline" in done.stdout
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/agents/test_faq.py"]
    assert "2 passed" in repository.run(tests, tmp_path, repository.environment(PYTHONPATH=str(repository.ROOT)))


@pytest.mark.parametrize(
    ("arguments", "there"), [((".",), ""), (("my agents",), "  cd 'my agents'\n"), (("acme/a", "--package", "acme.a"), "")]
)
def test_init_prints_commands_that_work_from_where_it_was_given(tmp_path: Path, arguments: tuple[str, ...], there: str) -> None:
    done = leverframe(tmp_path, "init", *arguments)
    assert done.stdout.endswith(
        f'\n\n{there}  leverframe run refund "Order 1042 arrived broken, I want my money back"\n  pytest\n'
    )


def test_init_into_a_package_moves_the_imports(tmp_path: Path) -> None:
    assert leverframe(tmp_path, "init", "acme/agents", "--package", "acme.agents").returncode == 0
    assert leverframe(tmp_path, "new", "faq").returncode == 0
    done = leverframe(tmp_path / "acme/agents/states", "run", "faq", "Where are you?")
    assert "1 Station Road" in done.stdout, done.stderr
    texts = [file.read_text() for file in (tmp_path / "acme").rglob("*.py")]
    assert not [
        line for text in texts for line in text.splitlines() if line.startswith(("from tools", "from states", "import tools"))
    ]
    assert (tmp_path / "leverframe.db").exists()


def test_init_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'mine'\n")
    (tmp_path / "machines").mkdir()
    (tmp_path / "machines/refund.py").write_text("# mine")
    done = leverframe(tmp_path, "init", ".")
    assert done.returncode == 0
    assert (tmp_path / "machines/refund.py").read_text() == "# mine"
    assert f"kept     {tmp_path}/machines/refund.py" in done.stdout
    assert "[tool.leverframe]" in done.stdout


@pytest.mark.parametrize(
    ("folder", "package", "message"),
    [
        ("agents", "acme.agents", "must end in acme/agents"),
        ("acme", "acme..x", "cannot be imported"),
        ("class", "class", "cannot be"),
    ],
)
def test_init_refuses_a_package_that_the_folder_is_not(tmp_path: Path, folder: str, package: str, message: str) -> None:
    with pytest.raises(ProjectError, match=message):
        project.init(tmp_path / folder, package)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["Refund", "1st", "class", "a-b", "", "../x"])
def test_new_refuses_what_cannot_be_a_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnfitName, match="cannot name an agent"):
        project.new(project.Project(tmp_path), name)


def test_new_refuses_a_name_that_is_taken() -> None:
    with pytest.raises(InputError, match="is there already"):
        project.new(project.find(repository.ROOT), "refund")
