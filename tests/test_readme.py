"""The README tells the truth: what it shows to run, runs."""

import os
import re
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import repository

README = repository.ROOT / "README.md"
HERE = Path(sys.executable).parent


class Block(NamedTuple):
    line: int
    language: str
    code: str


def blocks() -> list[Block]:
    text = README.read_text("utf-8")
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(text.count("\n", 0, block.start()) + 1, block[1], block[2].strip()) for block in found]


SET_UP, EXAMPLES = blocks()[1:3], [block for block in blocks()[3:] if block.language]


def command(block: Block) -> list[str]:
    return ["bash", "-euo", "pipefail", "-c", block.code] if block.language == "bash" else ["python", "-c", block.code]


def test_the_first_screen_has_the_tree_and_two_commands_of_one_line() -> None:
    first_screen = [block for block in blocks() if block.line <= 30]
    assert [block.language for block in first_screen] == ["", "bash", "bash"]
    assert [block.code.count("\n") for block in SET_UP] == [0, 0]
    assert all(f"{room}/ " in first_screen[0].code for room in ("machines", "states", "prompts", "tools", "leverframe", "tests"))


def test_every_block_is_of_a_kind_that_is_run() -> None:
    assert {block.language for block in EXAMPLES} <= {"bash", "python"}


def test_every_relative_link_leads_somewhere() -> None:
    pages = [repository.ROOT / path for path in repository.files() if path.endswith(".md") and not path.startswith("prompts/")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8"))]
    assert links
    assert not [f"{page.name}: {link}" for page, link in links if not (page.parent / link).exists()]


@pytest.mark.long
def test_every_example_runs_from_top_to_bottom(tmp_path: Path) -> None:
    assert (HERE / "leverframe").exists(), f"{HERE} has no leverframe: pip install -e '.[dev]'"
    for room in ("machines", "states", "prompts", "tools"):
        shutil.copytree(repository.ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(repository.ROOT / "pyproject.toml", tmp_path)
    env = repository.environment()
    env["PATH"] = f"{HERE}{os.pathsep}{env['PATH']}"
    for block in EXAMPLES:
        print(f"README.md:{block.line}")  # shown when it fails
        print(repository.run(command(block), tmp_path, env, timeout=60))


@pytest.mark.long
def test_both_set_up_commands_work_on_a_fresh_clone(tmp_path: Path) -> None:
    clone = repository.copy_to(tmp_path)
    shown = repository.run(command(SET_UP[0]), clone, repository.environment())
    assert "leverframe approve" in shown, f"no way to go on is shown:\n{shown}"
    assert " passed" in repository.run(command(SET_UP[1]), clone, repository.environment())
