"""What a user gets: the wheel in an empty environment, its starter copied out in both ways, tested and type-checked there."""

import os
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests import repository

pytestmark = pytest.mark.long  # builds, and makes virtual environments

ROOMS = {"machines", "states", "prompts", "tools"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clone = repository.copy_to(tmp_path_factory.mktemp("clone"))
    repository.run([sys.executable, "-m", "build", "--wheel", "--outdir", "dist"], clone, repository.environment())
    (built,) = (clone / "dist").glob("leverframe-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment that gets the wheel with its extra for tests, and a type checker."""
    venv = tmp_path_factory.mktemp("user") / "venv"
    env = repository.environment()
    repository.run([sys.executable, "-m", "venv", str(venv)], venv.parent, env)
    repository.run([str(venv / "bin/pip"), "install", "--quiet", f"{wheel}[testing]", "mypy"], venv.parent, env)
    return venv


@pytest.fixture
def shell(installed: Path) -> dict[str, str]:
    """The environment of somebody who activated theirs."""
    env = repository.environment(VIRTUAL_ENV=str(installed))
    return {**env, "PATH": f"{installed / 'bin'}{os.pathsep}{env['PATH']}"}


def test_the_wheel_holds_leverframe_and_nothing_beside_it(wheel: Path) -> None:
    names = ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {"leverframe", "leverframe-0.1.0.dist-info"}
    assert "leverframe/py.typed" in names
    assert {name.split("/")[2] for name in names if name.startswith("leverframe/starter/")} == {*ROOMS, "tests"}
    assert not [name for name in names if name.endswith((".pyc", ".db"))]


def test_the_starter_holds_every_file_of_the_rooms(wheel: Path) -> None:
    ours = {path for path in repository.files() if path.startswith((*(f"{room}/" for room in ROOMS), "tests/agents/"))}
    assert ours == {name.removeprefix("leverframe/starter/") for name in ZipFile(wheel).namelist() if "/starter/" in name}


def test_no_room_lands_in_site_packages(installed: Path) -> None:
    (site,) = (installed / "lib").glob("python3*/site-packages")
    assert not [room for room in (*ROOMS, "tests", "benchmarks") if (site / room).exists() or (site / f"{room}.py").exists()]


def test_init_here_gives_a_project_that_runs_and_passes_its_tests_and_types(shell: dict[str, str], tmp_path: Path) -> None:
    repository.run(["leverframe", "init", "."], tmp_path, shell)
    assert {room for room in ROOMS if (tmp_path / room).is_dir()} == ROOMS
    shown = repository.run(["leverframe", "run", "refund", "Order 1042 arrived broken, I want my money back"], tmp_path, shell)
    assert "leverframe approve" in shown
    assert " passed" in repository.run(["pytest"], tmp_path, shell)
    assert "Success" in repository.run(["mypy", "--strict", "--explicit-package-bases", "."], tmp_path, shell)


def test_init_into_a_package_gives_the_same_under_its_name(shell: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme/__init__.py").touch()
    repository.run(["leverframe", "init", "acme/agents", "--package", "acme.agents"], tmp_path, shell)
    assert {room for room in ROOMS if (tmp_path / "acme/agents" / room).is_dir()} == ROOMS
    assert not [room for room in ROOMS if (tmp_path / room).exists()]
    assert " passed" in repository.run(["python", "-m", "pytest", "acme"], tmp_path, shell)
    assert "Success" in repository.run(["mypy", "--strict", "--explicit-package-bases", "acme"], tmp_path, shell)
    shown = repository.run(
        ["python", "-c", "from acme.agents.machines.refund import refund; print(refund.name)"], tmp_path, shell
    )
    assert shown == "refund\n"
