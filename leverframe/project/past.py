"""The machines of another revision, as data. Its code runs in a process of its own, on files taken out of git, never in ours."""

import io
import json
import posixpath
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from leverframe.canon import Object
from leverframe.errors import ProjectError
from leverframe.machine import Definition
from leverframe.project.rooms import Project

PATIENCE = 120
"""Seconds to load the rooms of a revision."""
# The project of today may be on the import path of every process (an editable install): there it must not be seen.
ALONE = """
import sys
from pathlib import Path
root, here = Path(sys.argv.pop(1)), sys.argv.pop(1)
sys.path = [here, *(entry for entry in sys.path if entry and Path(entry).resolve() != root)]
from leverframe.cli import main
main()
"""


def has_git() -> bool:
    return shutil.which("git") is not None


def is_revision(project: Project, name: str) -> bool:
    """Does git know it? False too where there is no git, or no repository."""
    return not name.startswith("-") and _git(project.root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}") is not None


def machines_at(project: Project, revision: str) -> tuple[Mapping[str, Definition], Sequence[str]]:
    """The machines of a revision by name, as definitions, and why the others cannot be had. Raises ProjectError where none can be read."""
    top = _git(project.root, "rev-parse", "--show-toplevel")
    files = _git(project.root, "archive", "--format=tar", revision, ".")
    if top is None or files is None:
        raise ProjectError(f"revision {revision!r}: git cannot give its files; fetch it first (in CI: `fetch-depth: 0`)")
    with tempfile.TemporaryDirectory(prefix="leverframe-") as folder:
        with tarfile.open(fileobj=io.BytesIO(files)) as archive:
            archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11 has it from 3.11.4 on
            archive.extractall(folder, [member for member in archive if _stays(member)])  # noqa: S202 (filtered)
        told = _asked(Path(folder), project, revision)
    failed = [str(error).replace(f"{folder}/", "") for error in cast("list[str]", told.get("failed") or [])]
    return {name: Definition(text) for name, text in cast("Mapping[str, str]", told["definitions"]).items()}, failed


def _stays(member: tarfile.TarInfo) -> bool:
    """Does not lead out of the folder, as links may?"""
    target = posixpath.join(posixpath.dirname(member.name), member.linkname) if member.issym() else member.name
    return not posixpath.normpath(target).startswith(("..", "/"))


def _asked(folder: Path, project: Project, revision: str) -> Object:
    """The rooms of that folder tell what they are, in a process that sees nothing of ours."""
    command = [sys.executable, "-c", ALONE, str(project.root.resolve()), str(folder), "definition", "--json"]
    try:
        told = subprocess.run(  # noqa: S603 (our own command)
            command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise ProjectError(f"revision {revision!r}: its machines did not load within {PATIENCE} s") from None
    try:
        return cast("Object", json.loads(told.stdout))
    except json.JSONDecodeError:
        last = (told.stderr.strip().splitlines() or ["no word"])[-1]
        raise ProjectError(f"revision {revision!r}: its machines do not load: {last.removeprefix('error: ')}") from None


def _git(folder: Path, *words: str) -> bytes | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, check=False)  # noqa: S603, S607
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None
