"""A machine drawn: everything in the table is in the picture, and nothing that a name or a docstring says can break it."""

import re
from datetime import timedelta

import pytest

from leverframe import Back, Compact, Consult, End, Limits, Machine, Memory, Wait, graph, project
from tests import repository

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
    drawn = graph.mermaid(HOSTILE)
    lines = drawn.splitlines()
    assert [line for line in lines if line.startswith("    state ")] == [
        '    state "note" as s0',
        '    state "end" as s1',
        '    state "state v2.1" as s2',
        '    state "from any state" as limits',
    ]
    timer, told = [line for line in lines if line.startswith("    note ")]
    assert timer == "    note right of s0: · 1 hour"
    words = told.removeprefix("    note right of s2: ")
    assert not set(re.sub(r"#\d+;", "", words)) & set('":;#<>[]{}%`')
    assert "limits --> s2: exceeded" in drawn


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
    assert re.findall("note right of .*", graph.mermaid(bare)) == ["note right of s0: · ada, 90 seconds"]
