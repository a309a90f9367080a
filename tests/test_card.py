"""The card beside a machine: all that a reviewer must see, and stale as soon as anything changes."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest

from leverframe import Accept, Back, Limits, Machine, project
from leverframe.card import card, path_of, stale, write
from leverframe.errors import ProjectError
from tests import repository
from tests.house import Box, Done, Failed, FindOut, Person, Post, Short, errand

SHIPPED = project.find(repository.ROOT).machines


@pytest.mark.parametrize("name", SHIPPED)
def test_the_cards_of_the_shipped_machines_are_fresh_and_say_everything(name: str) -> None:
    machine = SHIPPED[name]
    assert not list(stale([machine], SHIPPED)), "`leverframe graph --write`"
    text = path_of(machine).read_text("utf-8")
    assert machine.definition(SHIPPED).hash in text
    for state in machine.states:
        assert f"| {state} |" in text
    for tool in machine.tools:
        assert f"| `{tool}` |" in text
    assert text.count("proven on all paths") == len(machine.rules)
    assert "```mermaid\n---\ntitle" in text


@pytest.fixture
def elsewhere(tmp_path: Path) -> Machine[Box]:
    """The same errand in a file of its own, where a card may be written."""
    machine = Machine("errand", memory=Box, edges=errand.edges, accepts=[Accept("LF302", "a | test", Post)])
    machine.file = str(tmp_path / "errand.py")
    return machine


def test_a_card_is_written_once_and_stale_when_the_machine_changed(elsewhere: Machine[Box]) -> None:
    assert not list(stale([elsewhere], {"errand": elsewhere})), "a project that keeps no cards needs none"
    assert write(elsewhere, {})
    assert not write(elsewhere, {})
    assert not list(stale([elsewhere], {"errand": elsewhere}))
    changed = Machine(
        "errand",
        memory=Box,
        edges={
            Post: {"ok": Done, "error": Short, "unknown": FindOut},
            FindOut: {"happened": Done, "not_happened": Short, "expired": Done},
            Short: {"retry": Back, "give_up": Person},
            Person: {"handled": Done, "expired": Failed},
        },
        limits=Limits(steps=7, model_calls=2, cost_usd=1.5, days=3, exceeded=Person),
    )
    changed.file = elsewhere.file
    (found,) = stale([changed], {"errand": changed})
    assert (found.code, found.level, str(found.place).startswith(str(path_of(changed)))) == ("LF005", "error", True)
    assert re.search(r"its card errand\.md shows another machine, from line \d+ on", found.message)


def test_a_card_names_limits_bounds_and_what_is_accepted(elsewhere: Machine[Box]) -> None:
    text = card(elsewhere, {})
    assert "| steps | 100 | 100 |" in text
    assert "A limit that is reached needs a person's attention." in text
    assert "| LF302 | Post | a \\| test |" in text


def test_a_card_that_cannot_be_written_says_where(elsewhere: Machine[Box]) -> None:
    path_of(elsewhere).mkdir()
    with pytest.raises(ProjectError, match=r"errand\.md: Is a directory"):
        write(elsewhere, {})


def test_where_cards_are_kept_a_missing_one_and_one_too_many_are_found(elsewhere: Machine[Box], tmp_path: Path) -> None:
    write(elsewhere, {})
    other = Machine("other", memory=Box, edges=errand.edges)
    other.file = elsewhere.file
    known = {"errand": elsewhere, "other": other}
    (missing,) = stale([elsewhere, other], known)
    assert (missing.code, missing.message) == ("LF005", "machine other: has no card other.md: others have one")
    (orphan,) = (one for one in stale([other], {"other": other}) if one.machine == "errand")
    assert (orphan.code, str(orphan.place)) == ("LF005", f"{tmp_path / 'errand.md'}:1")


def test_a_project_that_says_that_it_keeps_cards_is_held_to_it_also_where_all_are_gone(elsewhere: Machine[Box]) -> None:
    (missing,) = stale([elsewhere], {"errand": elsewhere}, kept=True)
    assert (missing.code, missing.level) == ("LF005", "error")
    assert missing.message == "machine errand: has no card errand.md: the project keeps cards"
    write(elsewhere, {})
    assert not list(stale([elsewhere], {"errand": elsewhere}, kept=True))


def test_what_is_shipped_and_what_init_writes_keeps_cards(tmp_path: Path) -> None:
    project.init(tmp_path)
    assert project.find(repository.ROOT).settings.cards
    assert project.find(tmp_path).settings.cards


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    project.init(tmp_path)
    return tmp_path


def checked(folder: Path) -> tuple[int, list[tuple[str, str]]]:
    command = [sys.executable, "-m", "leverframe", "check", "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    found = cast("list[dict[str, str]]", json.loads(done.stdout)["findings"])
    return done.returncode, sorted((one["code"], one["machine"]) for one in found)


def test_the_check_of_a_starter_without_its_cards_fails(shop: Path) -> None:
    cards = list((shop / "machines").glob("*.md"))
    for file in cards:
        file.unlink()
    assert checked(shop) == (1, sorted(("LF005", file.stem) for file in cards))
    settings = shop / "pyproject.toml"
    settings.write_text(settings.read_text("utf-8").replace("cards = true", "cards = false"))
    assert checked(shop) == (0, [])


def test_the_card_of_a_machine_that_does_not_load_is_no_finding(shop: Path) -> None:
    with (shop / "machines" / "refund.py").open("a") as file:
        file.write("raise SystemExit\n")
    assert checked(shop) == (1, [("LF002", "")])


def test_a_file_that_is_no_card_is_not_written_over(elsewhere: Machine[Box]) -> None:
    path_of(elsewhere).write_bytes(b"# My notes \xff")
    with pytest.raises(ProjectError, match="is there, and no card of ours"):
        write(elsewhere, {})
    assert path_of(elsewhere).read_bytes() == b"# My notes \xff"
