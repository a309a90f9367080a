"""The repository as the tests about it see it: the files that git knows or would add, or all of them where there is no git."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from leverframe.canon import Object

ROOT = Path(__file__).resolve().parent.parent
MADE = {"__pycache__", "build", "dist", "node_modules", "venv"}  # folders no file of ours is in


class Done(NamedTuple):
    """How a command ended, and what it said."""

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


def files() -> list[str]:
    """Paths from the root, as posix text, of every file that belongs to the project."""
    git = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    if (ROOT / ".git").exists():
        listed = subprocess.run(git, check=True, capture_output=True, text=True).stdout.split("\0")
        return sorted(path for path in listed if path and (ROOT / path).is_file())
    return sorted(_walk())


def _walk() -> list[str]:
    found: list[str] = []
    for folder, subfolders, names in os.walk(ROOT):
        subfolders[:] = [name for name in subfolders if name not in MADE and (name == ".ci" or not name.startswith("."))]
        found += [(Path(folder) / name).relative_to(ROOT).as_posix() for name in names if not name.endswith((".db", ".pyc"))]
    return found


def texts() -> dict[str, str]:
    """Every text file by its path."""
    return {path: (ROOT / path).read_text("utf-8") for path in files() if _is_text(ROOT / path)}


def _is_text(path: Path) -> bool:
    return b"\0" not in path.read_bytes()[:8192]


def copy_to(folder: Path) -> Path:
    """What a fresh clone holds, with what is not committed yet."""
    for path in files():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, folder / path)
    return folder


def environment(**more: str) -> dict[str, str]:
    """Ours, without what ties a child process to this virtual environment, this project or this test run."""
    mine = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST")
    ours = {name: value for name, value in os.environ.items() if name not in mine and not name.startswith("LEVERFRAME_")}
    here = str(Path(sys.executable).parent)
    path = os.pathsep.join(part for part in ours.get("PATH", os.defpath).split(os.pathsep) if part != here)
    return {**ours, "PATH": path, **more}


def run(command: list[str], folder: Path, env: dict[str, str], timeout: float = 900) -> str:
    """What the command prints; a failure shows all of it."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}\nended with {done.returncode}\n{done.stdout}"
    return done.stdout
