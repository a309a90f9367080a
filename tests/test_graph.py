"""A machine drawn: everything in the table is in the picture, and nothing that a name or a docstring says can break it."""

import re
import xml.etree.ElementTree as ET
from datetime import timedelta
from pathlib import Path

import pytest

from leverframe import Back, Compact, Consult, End, Limits, Machine, Memory, Wait, graph, project
from leverframe.errors import ProjectError
from leverframe.graph.drawing import Style
from leverframe.graph.layout import svg_of
from leverframe.graph.look import DOUBLE, INK, LOOKS, MARKS, MUTED, NIGHT, PAPER
from leverframe.graph.overlay import Mark
from tests import drawn, repository

MACHINES = project.find(repository.ROOT).machines


class Ended(End):
    name = "end"


class Told(End):
    """Say "no"; end note
    %% {state} --> [*] #35; <b>x</b>"""

    name = "state v2.1 – [*]".replace(" – [*]", "")
    success = False


class Timer(Wait):
    name = "note"
    deadline = timedelta(hours=1)


HOSTILE = Machine("über-agent 2.0", memory=Memory, edges={Timer: {"expired": Ended}}, limits=Limits(exceeded=Told))


@pytest.mark.parametrize("name", MACHINES)
def test_every_edge_of_the_table_is_drawn_and_no_other(name: str) -> None:
    machine = MACHINES[name]
    drawn = graph.mermaid(machine)
    names = dict(re.findall(r'^    state "(.*)" as (s\d+)$', drawn, re.MULTILINE))
    arrows = {
        (source, target, outcome) for source, target, outcome in re.findall(r"^    (s\d+) --> (s\d+): (.*)$", drawn, re.MULTILINE)
    }
    back = [state for state in machine.states if f"{names['Shorten']} --> {names[state]}: retry" in drawn]
    expected = {
        (names[source.name], names[target.name], outcome)
        for source, row in machine.edges.items()
        for outcome, target in row.items()
        if target is not Back
    }
    expected |= {
        (names[state.name], names[meant], "retry")
        for state in machine.states.values()
        if issubclass(state, Compact)
        for meant in back
    }
    assert arrows == expected
    assert set(back) == {
        state for state in machine.states if any(t.dest == state for t in machine.compiled.get_transitions("retry", "Shorten"))
    }


@pytest.mark.parametrize("name", MACHINES)
def test_the_definition_a_run_is_pinned_to_draws_the_same_edges(name: str) -> None:
    machine = MACHINES[name]
    definition = machine.definition(MACHINES)
    assert sorted(graph.text(definition).splitlines()[3:]) != []
    assert _edges(graph.text(machine)) == _edges(graph.text(definition))


def _edges(text: str) -> set[tuple[str, str, frozenset[str]]]:
    found: set[tuple[str, str, frozenset[str]]] = set()
    state = ""
    for line in text.splitlines()[2:]:
        if head := re.match(r"(\S.*?) \(", line):
            state = head[1]
        elif edge := re.match(r"    (\S+) +→ (.*)", line):
            found.add((state, edge[1], frozenset(edge[2].removeprefix("back to ").split(", "))))
    return found


def test_hostile_names_and_docstrings_stay_words() -> None:
    shown = graph.mermaid(HOSTILE)
    lines = shown.splitlines()
    assert [line for line in lines if line.startswith("    state ")] == [
        '    state "note" as s0',
        '    state "end" as s1',
        '    state "state v2.1" as s2',
        '    state "from any state" as limits',
    ]
    timer, ended, told = [line for line in lines if line.startswith("    note ")]
    assert timer == "    note right of s0: · wait, 1 hour"
    assert ended == "    note right of s1: · end, success"
    assert told.endswith("<br/>· end, failure")
    words = told.removeprefix("    note right of s2: ").removesuffix("<br/>· end, failure")
    assert not set(re.sub(r"#\d+;", "", words)) & set('":;#<>[]{}%`')
    assert "limits --> s2: exceeded" in shown


def test_kinds_are_told_apart_and_failures_from_successes() -> None:
    drawn = graph.mermaid(MACHINES["refund"])
    kinds = {"work", "fetch", "ask", "act", "approve", "consult", "compact", "end", "failure", "limits"}
    assert set(re.findall(r"classDef k_(\w+) ", drawn)) == kinds
    assert set(re.findall(r"^    class \w+ k_(\w+)$", drawn, re.MULTILINE)) == kinds


def test_the_text_says_who_is_waited_for_and_how_long() -> None:
    shown = graph.text(MACHINES["refund"])
    assert "Release (approve, team lead, 2 days)" in shown
    assert "starts in Read; at most 40 steps, 12 model calls, 0.50 dollars, 7 days" in shown
    assert re.search(r"retry +→ back to .*Triage", shown)


def test_a_consult_without_words_is_drawn() -> None:
    class Person(Consult):
        to = "ada"
        deadline = timedelta(seconds=90)

    bare = Machine("bare", memory=Memory, edges={Person: {"answered": Ended, "expired": Ended}})
    assert "Person (consult, ada, 90 seconds)" in graph.text(bare)
    assert re.findall("note right of s0: .*", graph.mermaid(bare)) == ["note right of s0: · consult, ada, 90 seconds"]
    assert "note" not in graph.mermaid(bare, notes=False)


# ── how it looks ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_picture_in_the_docs_shows_the_agent_as_it_is() -> None:
    kept, now = ((repository.ROOT / "docs/refund.svg").read_text("utf-8"), graph.svg(MACHINES["refund"]))
    renew = "renew it: leverframe graph refund -o docs/refund.svg"
    assert _said(kept) == _said(now), renew  # words and classes; another version of the layout may put them elsewhere


def _said(picture: str) -> list[tuple[str, str]]:
    tree = ET.fromstring(picture)
    return sorted((element.get("class", ""), (element.text or "").strip()) for element in tree.iter())


def _contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2.2 between two colours."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("style", LOOKS)
def test_words_and_outlines_can_be_made_out_by_day_and_by_night(style: Style) -> None:
    look = LOOKS[style]
    faint = style in ("compact", "limits")  # these recede
    for shade in (str, NIGHT.__getitem__):
        assert _contrast(shade(look.ink), shade(look.fill)) >= 4.5
        assert _contrast(shade(MUTED), shade(look.fill)) >= 4.5
        assert _contrast(shade(INK), shade(PAPER)) >= 7
        assert _contrast(shade(look.stroke), shade(PAPER)) >= (2 if faint else 3)


def test_no_two_kinds_share_an_outline() -> None:
    outlines = [(look.shape, look.style, style in DOUBLE) for style, look in LOOKS.items()]
    assert len(set(outlines)) == len(outlines)


@pytest.mark.parametrize("mark", MARKS)
def test_marks_can_be_made_out_too(mark: Mark) -> None:
    if mark != "unused":
        assert _contrast(MARKS[mark][0], PAPER) >= 4.5
        assert _contrast(NIGHT[MARKS[mark][0]], NIGHT[PAPER]) >= 4.5


def test_notes_and_lines_tell_the_tools_with_their_effects_and_what_each_needs() -> None:
    (triage,) = re.findall("note right of .*: (Decide what the customer is owed.*)", graph.mermaid(MACHINES["refund"]))
    assert triage == "Decide what the customer is owed.<br/>· ask<br/>· may pick issue_refund (keyed)"
    assert "    runs find_order (read), earlier_refunds (read)\n" in graph.text(MACHINES["refund"])
    risky = drawn.definition("risky", {"Go": drawn.state("act", {"ok": "Go"}, tools=["d"])}, ["a", "b", "c", "d"], start="Go")
    assert "    runs d (once, needs approval)\n" in graph.text(risky)
    assert "d · once · approval" in graph.dot(risky)


def test_errors_recede_and_a_retry_shares_the_line_of_its_error() -> None:
    lines = [line for line in graph.dot(MACHINES["refund"]).splitlines() if 'class="recedes"' in line]
    both = [line for line in lines if "dir=both" in line]
    assert len(both) == 8
    assert all("style=dashed" in line and "weight=0" in line for line in both)
    assert [line for line in lines if "exceeded" in line and "style=dotted" in line]


def test_what_is_drawn_of_a_definition_begins_at_the_start() -> None:
    definition = MACHINES["refund"].definition(MACHINES)
    assert [box.name for box in graph.drawing(definition).boxes][:3] == ["Read", "HandOver", "Triage"]


def test_without_a_layout_program_the_error_names_the_commands_that_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProjectError, match=r"pip install 'leverframe\[draw\]', or apt install graphviz"):
        svg_of("digraph {}", tmp_path)
    (tmp_path / "dot").write_text("#!/bin/sh\necho 'out of memory' >&2\nexit 1\n")
    (tmp_path / "dot").chmod(0o755)
    with pytest.raises(ProjectError, match="dot could not lay out the drawing: out of memory"):
        svg_of("digraph {}", tmp_path)
