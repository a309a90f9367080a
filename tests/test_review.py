"""The review end to end: the demonstration in docs/review.md as it stands there, what may be compared with what, and the workflow."""

import os
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import yaml

from leverframe.canon import Object
from machines.refund import refund
from tests import repository

pytestmark = pytest.mark.long  # a project and several processes for every test
HERE = Path(sys.executable).parent
Shell = Callable[[str], str]


def shell(folder: Path) -> Shell:
    env = repository.environment()
    env["PATH"] = f"{HERE}{os.pathsep}{env['PATH']}"

    def run(script: str) -> str:
        return repository.run(["bash", "-euo", "pipefail", "-c", script], folder, env, timeout=120)

    return run


def test_the_demonstration_shows_what_it_says(tmp_path: Path) -> None:
    page = (repository.ROOT / "docs/review.md").read_text("utf-8")
    made, changed, checked, drawn, compared, back = re.findall(r"^```bash\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert "waits for team lead" in shell(tmp_path)(made)
    run = shell(tmp_path / "shop")
    run(changed)
    said = run(checked)
    assert said.endswith("ended with 1\n")
    assert {"LF005", "LF103", "LF603"} == set(re.findall(r"LF\d{3}", said))
    assert "    1. Read –none→ Triage\n    2. Triage –issue_refund→ Limit\n    3. Limit –large→ Pay\n" in said
    assert "large     → Pay [3]" in run(drawn)
    said = run(compared)
    first, *_, last = (line for line in said.splitlines() if line.startswith("  "))
    assert first.startswith("  LF603 the rule “each call of issue_refund is executed only after Release: approved")
    assert re.match(r"  1 run in Release: on the pinned definition, and can be moved to the new one \(run_\w+\)", last)
    assert "**LF603**" in (tmp_path / "shop/comment.md").read_text("utf-8")
    said = run(back)
    assert "nothing found in 3 machines" in said
    assert "no machine changed" in said
    assert "Refunded" in said


@pytest.fixture
def run(tmp_path: Path) -> Shell:
    """A shell in a project of its own. What it changes must change its length: Python takes a file of the same size and second for the same."""
    shell(tmp_path)("leverframe init shop")
    return shell(tmp_path / "shop")


def test_a_machine_is_compared_with_a_file_and_with_a_definition_of_the_database(run: Shell) -> None:
    run("leverframe definition refund -o before.json")
    run('leverframe run refund "Order 1042 arrived broken" --key a')
    before = refund.definition().hash
    assert run("sha256sum < before.json | cut -c1-64") != before, "the file ends in a line break, the definition does not"
    run("sed -i 's/steps=40/steps=400/' machines/refund.py")
    for against in ("before.json", before[:8]):
        said = run(f"leverframe diff refund --against {against}")
        assert "  limit steps was 40, is 400 (more may be used up)" in said
    assert "--exit-code" in run("leverframe diff --help")
    assert run("leverframe diff refund --against before.json --exit-code > /dev/null || echo $?") == "1\n"
    assert '"risk": "high"' in run("leverframe diff refund --against before.json --json")


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("diff", "no revision that git knows"),
        ("diff --against nowhere", "--against nowhere: no file, and no revision that git knows; of a hash, name the MACHINE"),
        ("diff refund --against ffffff", "definition ffffff of refund: no such definition of that machine"),
        ("diff nope --against restock.json", "it is a definition of restock, not of nope"),
        ("diff --against pyproject.toml", "--against pyproject.toml: no definition: is not JSON"),
        ("diff --against wrong.json", "no definition: machine x: $: lacks 'start' and 'memory'"),
        ("diff --against wrong.json --format markdown", "no definition: machine x: $: lacks 'start' and 'memory'"),
        ("diff refund --against nowhere", "--against nowhere: no file, and no revision that git knows"),
        ("diff --against restock.json --format html -o /nowhere/x", "--output /nowhere/x: No such file"),
        ("definition nope", "no machine is called 'nope'"),
        ("definition", "name a MACHINE, or give --json"),
        ("graph refund --finding LF999", "check finds no such thing with a path in refund; it finds none"),
        ("graph refund --finding LF101 --run x", "are different drawings; give one of them"),
        ("graph --write --format dot", "--write writes the machine's card"),
    ],
)
def test_what_cannot_be_compared_or_drawn_is_misuse(run: Shell, command: str, why: str) -> None:
    run("""leverframe definition restock -o restock.json; echo '{"leverframe": 1, "name": "x"}' > wrong.json""")
    said = run(f"leverframe {command} 2>&1 || echo ended with $?")
    plain = " ".join(re.sub(r"[│╭╮╰╯─]", " ", said).split())
    assert why in plain
    assert plain.endswith("ended with 2")


COMMIT = "git add . && git -c user.name=a -c user.email=a@example.com commit --quiet --message x"


def test_what_does_not_load_is_named_and_the_rest_is_compared(run: Shell) -> None:
    run(f"git init --quiet && {COMMIT} && sed -i 's/steps=40/steps=400/' machines/refund.py")
    run("echo 'this is no Python' >> machines/restock.py")
    said = run("leverframe diff 2>&1 || echo ended with $?")
    assert "restock.py:37: " in said
    assert "what it declares is not compared\n" in said
    assert "machine sales_report: state Restocks delegates to 'restock', which is not in machines/; what it declares" in said
    assert "limit steps was 40, is 400" in said
    assert "gone" not in said
    assert said.endswith("ended with 1\n")
    assert "\n**Not compared:** machine sales" in run("leverframe diff --format markdown 2> /dev/null || true")
    assert "1 change" in run("leverframe diff refund 2> /dev/null")
    assert "error: " in run("leverframe diff restock 2>&1 || true")


def test_a_revision_whose_machines_do_not_load_says_so(run: Shell) -> None:
    run("echo 'this is no Python' >> machines/restock.py")
    run(f"git init --quiet && {COMMIT} && sed -i '$d' machines/restock.py && sed -i 's/steps=40/steps=400/' machines/refund.py")
    said = run("leverframe diff 2>&1 || echo ended with $?")
    assert re.search(r"warning: revision HEAD: machines/restock.py:\d+: .*; what it declares is not compared\n", said)
    assert "limit steps was 40, is 400" in said
    assert "new machine" not in said
    assert said.endswith("ended with 1\n")


def test_a_file_is_compared_with_the_machine_that_it_names_and_with_no_other(run: Shell) -> None:
    run("leverframe definition refund -o before.json && sed -i 's/steps=40/steps=400/' machines/refund.py")
    said = run("leverframe diff --against before.json")
    assert said.startswith("refund: 1 change (1 high), ")
    assert "restock" not in said


def test_what_is_a_file_and_a_revision_is_not_guessed(run: Shell) -> None:
    run(f"git init --quiet && {COMMIT} && leverframe definition refund -o before.json && git tag before.json")
    said = run("leverframe diff --against before.json 2>&1 || echo ended with $?")
    assert "is a file and a revision; say ./before.json for the one, before.json~0 for the other" in said
    assert said.endswith("ended with 2\n")
    assert run("leverframe diff --against ./before.json") == run("leverframe diff refund --against before.json~0")
    assert run("leverframe diff --against ./before.json").startswith("refund: nothing changed, ")


def test_without_git_a_revision_cannot_be_had_and_that_is_said(run: Shell) -> None:
    run("mkdir ../bin && ln -s $(which python) $(which leverframe) ../bin")
    said = run("PATH=$PWD/../bin leverframe diff 2>&1 || echo ended with $?")
    assert (
        said
        == "error: --against HEAD: git is not installed, or not on the PATH; install it, or compare with a file\nended with 1\n"
    )


def test_the_workflow_is_one_that_github_reads_and_its_commands_exist(run: Shell) -> None:
    text = (repository.ROOT / "docs/review.yml").read_text("utf-8")
    flow = cast("Object", yaml.load(text, Loader=yaml.BaseLoader))
    assert flow["on"] == "pull_request"
    steps = cast("list[Object]", cast("Object", cast("Object", flow["jobs"])["machines"])["steps"])
    ours = [str(step["run"]) for step in steps if str(step.get("run", "")).startswith("leverframe")]
    assert [shlex.split(command)[1] for command in ours] == ["diff", "check"]
    for command in ours:
        options = [word for word in shlex.split(command) if word.startswith("--")]
        help = run(f"leverframe {shlex.split(command)[1]} --help")
        assert all(option in help for option in options)
