"""Reading a Mermaid drawing: what people write is understood, and everything that is no flat machine is refused with its line."""

import re
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leverframe import graph, project
from leverframe.errors import DiagramError
from leverframe.machine import BACK, back_targets
from leverframe.project.diagram import LARGEST, Diagram, Drawn, read
from tests import flat, repository

SMALL = Diagram("", "Read", (Drawn("Read", "work", edges={"ok": "Done"}), Drawn("Done", "end")))
EDGES = "[*] --> Read\nRead --> Done : ok\n"
HEAD = "stateDiagram-v2\n"
HANDLING = """\
Shorten --> Back : retry
Shorten --> Hand : give_up
Hand --> Closed : handled
Hand --> Closed : expired
"""


def machine(*lines: str) -> str:
    """A drawing that begins in Start, where errors are handled; `lines` are the second and those below."""
    return HEAD + "\n".join(lines) + "\n[*] --> Start\n" + HANDLING


def problems(text: str) -> list[tuple[int, str]]:
    with pytest.raises(DiagramError) as error:
        read(text)
    assert str(error.value).startswith("diagram.mmd:")
    return error.value.problems


ACCEPTED = {
    "plain": HEAD + EDGES,
    "the first version's name": "stateDiagram\n" + EDGES,
    "indented, no blanks around arrows": HEAD + "    [*]-->Read\n\tRead-->Done:ok\n",
    "CRLF and a BOM": "\ufeff" + (HEAD + EDGES).replace("\n", "\r\n"),
    "old line ends": (HEAD + EDGES).replace("\n", "\r"),
    "remarks and blanks anywhere": "%% on top\n\n" + HEAD + "\n%% inside\n# and so\n" + EDGES + "Done --> [*] %% at the end\n",
    "front matter": "---\nconfig:\n  theme: dark\n---\n" + HEAD + EDGES,
    "directives": "%%{init: {\n 'theme': 'dark'\n}}%%\n" + HEAD + "%%{wrap}%%\n" + EDGES,
    "looks": HEAD
    + 'direction LR\nhide empty description\nscale 350 width\nstyle Read fill:#f00\nclick Read "https://example.org" "more"\n'
    + EDGES,
    "for screen readers": HEAD + "accTitle: A machine\naccDescr: says\naccDescr {\n more\n}\n" + EDGES,
    "an end that is drawn": HEAD + EDGES + "Done --> [*]\n",
    "ids and labels": HEAD + 'state "Read" as s0\nstate "Done" as s1\n[*] --> s0\ns0 --> s1 : ok\n',
    "declared before and after": HEAD + "state Read\n" + EDGES + "Done\n",
    "a choice": HEAD + "state Read <<choice>>\n" + EDGES,
    "a choice in brackets": HEAD + "state Read [[choice]]\n" + EDGES,
    "a class at the state": HEAD + "[*] --> Read:::work\nRead:::work --> Done:::end : ok\n",
    "class lines": HEAD + EDGES + "class Read work\nclass Done k_end\n",
    "a class for several": HEAD
    + "classDef loud fill:#f00\nclassDef big fill:#f00\n"
    + EDGES
    + "class Read, Done loud\nclass Done big\nclass Done END\n",
    "a kind in a note": HEAD + EDGES + "note right of Read: work\nnote left of Done : end\n",
    "a kind in a note of several lines": HEAD + EDGES + "note right of Read\n  Work\nend note\n",
    "a kind in a description": HEAD + "Read : work\n" + EDGES + "Done: end\n",
    "a note about nothing": HEAD + EDGES + 'note "remember the milk" as N1\n',
    "inside of Markdown": "# Card\n\nText.\n\n```mermaid\n" + HEAD + EDGES + "```\n\n```python\nx\n```\n",
}


@pytest.mark.parametrize("form", ACCEPTED)
def test_what_people_write_is_understood(form: str) -> None:
    assert read(ACCEPTED[form]) == SMALL


def test_names_labels_and_notes_may_be_of_any_script_and_hold_entities() -> None:
    text = (
        HEAD + '[*] --> é\nstate "Größe #quot;nein#quot;" as Ω\nnote right of é: "Ja" #35; <br/> 世界 #amp;\né --> Ω : número\n'
    )
    assert "name" in problems(text)[0][1]  # quotes cannot be in a name
    drawn = read(text.replace(" #quot;nein#quot;", " 2"))
    assert drawn.states == (Drawn("é", "work", '"Ja" # 世界 &', {"número": "Größe 2"}), Drawn("Größe 2", "end"))


def test_title_texts_and_the_machine_of_a_delegate_are_kept() -> None:
    drawn = read("---\ntitle: 'A shop''s day'\n---\n" + machine("Start : delegate to restock – one for each", *DELEGATE))
    assert drawn.title == "A shop's day"
    assert (drawn.states[0].kind, drawn.states[0].machine, drawn.states[0].doc) == ("delegate", "restock", "one for each")


DELEGATE = ("Start --> Closed : done", "Start --> Shorten : error", "Start --> Hand : expired")

KINDS = {
    "ask": "Start:::ask --> Closed : reply\nStart --> Shorten : error",
    "ask, unsure": "Start --> Closed : reply\nStart --> Shorten : error\nStart --> Hand : unsure",
    "fetch by its name": "Start --> FetchOrder : x\nFetchOrder --> Closed : found\nFetchOrder --> Shorten : error",
    "act by its name": "Start --> order_act : x\norder_act --> Closed : ok\norder_act --> Shorten : error",
    "act": "Start --> Closed : ok\nStart --> Shorten : error\nStart --> Find : unknown\nFind --> Closed : happened\n"
    "Find --> Shorten : not_happened\nFind --> Shorten : error",
    "approve": "Start:::ask --> A : pay\nA --> B : approved\nA --> Start : rejected\nA --> Hand : expired\n"
    "Start --> Shorten : error\nB:::act --> Closed : ok\nB --> Shorten : error",
    "wait": "Start --> Closed : expired",
    "wait by a class": "Start:::wait --> Closed : paid\nStart --> Hand : expired",
    "consult": "Start --> Closed : answered\nStart --> Hand : expired",
    "delegate": "\n".join(DELEGATE),
    "work": "Start --> Closed : small\nStart --> Hand : large",
}


@pytest.mark.parametrize("form", KINDS)
def test_a_kind_is_known_by_word_name_or_outcomes(form: str) -> None:
    kind = form.partition(",")[0].partition(" ")[0]
    assert kind in {state.kind for state in read(machine(KINDS[form])).states}


def test_a_failure_is_an_end_and_limits_are_a_box_of_their_own() -> None:
    drawn = read(machine("Start --> Closed : a", "Start --> Lost : b", "Lost:::failure", "limits --> Hand : exceeded"))
    assert (drawn.named["Lost"].kind, drawn.named["Lost"].success, drawn.exceeded) == ("end", False, "Hand")
    assert "limits" not in {state.name for state in drawn.states}


def test_a_retry_to_every_state_that_back_can_mean_is_back() -> None:
    lines = ["Start:::fetch --> Two : x", "Start --> Shorten : error", "Two:::ask --> Closed : y", "Two --> Shorten : error"]
    spelled = machine(*lines).replace("Shorten --> Back : retry", "Shorten --> Start : retry\nShorten --> Two : retry")
    assert read(spelled) == read(machine(*lines))
    assert read(spelled).named["Shorten"].edges["retry"] == BACK


def test_a_retry_to_one_state_of_several_stays_there() -> None:
    lines = ["Start:::fetch --> Two : x", "Start --> Shorten : error", "Two:::ask --> Closed : y", "Two --> Shorten : error"]
    drawn = read(machine(*lines).replace("Shorten --> Back : retry", "Shorten --> Two : retry"))
    assert drawn.named["Shorten"].edges["retry"] == "Two"


REFUSED: dict[str, tuple[str, list[tuple[int, str]]]] = {
    "nothing": ("", [(0, "nothing is drawn")]),
    "another diagram": ("flowchart TD\nA-->B\n", [(1, "only a state diagram")]),
    "no start": (HEAD + "Read --> Done : ok\n", [(0, r"add \[\*\] --> Read")]),
    "two starts": (HEAD + EDGES + "[*] --> Done\n", [(4, "a second start, Done")]),
    "a start that ends in something": (HEAD + "[*] --> Read : go\nRead --> Done : ok\n", [(2, r"write \[\*\] --> Read$")]),
    "an end without a name": (HEAD + EDGES + "Read --> [*] : lost\n", [(4, r"Read --> Done : lost, and Done --> \[\*\]")]),
    "an end that goes on": (HEAD + EDGES + "Read --> [*]\n", [(2, "goes on too")]),
    "from the start to the end": (HEAD + EDGES + "[*] --> [*]\n", [(4, "begins in a state")]),
    "an edge without outcome": (HEAD + EDGES + "Read --> Lost\n", [(4, "Read --> Lost has no outcome")]),
    "conditions at an edge": (HEAD + EDGES + "Read --> Lost : if n > 1\n", [(4, "conditions belong into a Work")]),
    "two outcomes at an edge": (HEAD + EDGES + "Read --> Lost : a, b\n", [(4, "an edge for each outcome")]),
    "one outcome, two places": (HEAD + EDGES + "Read --> Lost : ok\n", [(4, "twice, here to Lost and in line 3 to Done")]),
    "a next call": (
        machine("Start:::act --> Closed : ok", "Start --> Shorten : error", "Start --> Start : next", "Start --> Hand : next"),
        [(4, "Start leads on in 'next', to another call of the same answer.*docs/many.md")],
    ),
    "next, twice, of code": (
        machine("Start --> Closed : next", "Start --> Hand : next"),
        [(3, "twice, here to Hand and in line 2 to Closed")],
    ),
    "an edge drawn twice": (HEAD + EDGES + "Read --> Done : ok\n", [(4, "drawn in line 3 already")]),
    "nested": (HEAD + EDGES + "state Done {\n[*] --> A\n}\n", [(4, "a nested state")]),
    "nested in one line": (HEAD + EDGES + "state Done { x }\n", [(4, "a nested state")]),
    "nested twice": (HEAD + EDGES + "state Done {\nstate In {\n}\n}\n", [(4, "a nested state"), (5, "a nested state")]),
    "never closed": (HEAD + EDGES + 'state "D" as Done {\n', [(4, "a nested state"), (4, "never closed")]),
    "parallel": (HEAD + EDGES + "state Done {\nA\n--\nB\n}\n", [(4, "a nested"), (6, "parallel")]),
    "parallel outside": (HEAD + EDGES + "--\n", [(4, "parallel")]),
    "history": (HEAD + EDGES + "Read --> [H] : again\n", [(4, "history.*Shorten --> Back : retry")]),
    "deep history": (HEAD + EDGES + "Read --> Done[H*] : again\n", [(4, "history")]),
    "history as a state": (HEAD + EDGES + "state Old <<history>>\n", [(4, "history")]),
    "fork": (HEAD + EDGES + "state Both <<fork>>\n", [(4, "a fork.*Delegate")]),
    "join": (HEAD + EDGES + "state Both [[join]]\n", [(4, "a join.*Delegate")]),
    "another special state": (HEAD + EDGES + "state Odd <<odd>>\n", [(4, "<<odd>> is not known")]),
    "alone": (HEAD + EDGES + "Raed\n", [(4, "Raed stands alone.*Did you mean 'Read'")]),
    "a hyphen": (HEAD + EDGES + "Read --> so-so : no\n", [(4, "'so-so' cannot stand in an arrow")]),
    "a chain": (HEAD + EDGES + "A --> B --> C\n", [(4, "a line for each")]),
    "a flowchart's arrow": (
        HEAD + EDGES + "A -- ok --> B\nA ==> B\nA -> B\n",
        [(4, "in an arrow"), (5, "A --> B : o"), (6, "A --> B")],
    ),
    "a note about nobody": (HEAD + EDGES + "note right of Raed: x\n", [(4, "a note about 'Raed'.*Did you mean 'Read'")]),
    "a class of nobody": (HEAD + EDGES + "class Raed ask\n", [(4, "a class about 'Raed'")]),
    "a note that is open": (HEAD + EDGES + "note right of Read\nwords\n", [(4, "end note")]),
    "a slip in a class": (HEAD + EDGES + "class Read wrok\n", [(4, "'wrok' of Read is neither.*Did you mean 'work'")]),
    "two kinds": (HEAD + EDGES + "class Read work\nclass Read ask\n", [(5, "work and ask")]),
    "two kinds in words": (HEAD + EDGES + "Done : end\nDone : wait\n", [(5, "end and wait")]),
    "a directive that is open": (HEAD + EDGES + "%%{init\n", [(4, "directive")]),
    "front matter that is open": ("---\ntitle: x\n" + HEAD + EDGES, [(1, "front matter")]),
    "gibberish": (HEAD + EDGES + "what is this?\n}\n", [(4, "not understood"), (5, "closes nothing")]),
    "signs nobody sees": (HEAD + "[*] --> Re\u202ead\nA\x00\n", [(2, r"U\+202E"), (3, r"U\+0000")]),
    "an endless line": (HEAD + "x" * 20_000, [(2, "20,000 signs")]),
    "a huge file": (HEAD + "\n" * LARGEST, [(0, "at most 2,000,000")]),
    "two drawings": (("```mermaid\n" + HEAD + EDGES + "```\n") * 2, [(6, "a second drawing")]),
    "two of one name": (HEAD + EDGES + 'state "Read" as r\nr --> Done : ok\n', [(4, "two states are called 'Read'")]),
    "two names of one": (HEAD + EDGES + 'state "A" as Read\nstate "B" as Read\n', [(5, "called 'A' already")]),
    "a name that is none": (HEAD + EDGES + 'state "Is it?" as Read\n', [(2, "state name 'Is it\\?'.*note right of Read")]),
    "back by something else": (HEAD + EDGES + "Read --> Back : no\n", [(2, "only the 'retry' of a Compact leads to Back")]),
    "back that goes on": (machine("Start --> Closed : x", "Back --> Closed : y"), [(3, "no state; rename it")]),
    "what may be two kinds": (
        machine("Start --> Closed : ok", "Start --> Shorten : error"),
        [(2, "fetch or act.*class Start fetch")],
    ),
    "what may be three kinds": (
        machine("Start --> Closed : x", "Start --> Shorten : error"),
        [(2, "Start : ask – what it is for")],
    ),
    "a person or an event": (machine("Start --> Closed : paid", "Start --> Hand : expired"), [(2, "consult or wait")]),
    "an ask without error": (
        HEAD + EDGES + "class Read ask\n",
        [(2, "no edge 'error'; add Read --> Shorten : error, which needs")],
    ),
    "an error that is not compacted": (
        machine("Start:::ask --> Closed : x", "Start --> Hand : error"),
        [(2, "'error' leads to Hand")],
    ),
    "an unknown that nobody settles": (
        machine("Start --> Closed : ok", "Start --> Shorten : error", "Start --> Hand : unknown"),
        [(2, "'unknown' leads to Hand; it leads to a Fetch that finds out")],
    ),
    "half an approval": (machine("Start --> Closed : approved"), [(2, "no edge 'expired'"), (2, "no edge 'rejected'")]),
    "what a kind never ends in": (machine("Start:::work --> Closed : approved"), [(2, "never ends in 'approved'")]),
    "an ask that decides nothing": (machine("Start:::ask --> Shorten : error"), [(2, "lacks an outcome for each thing")]),
    "a retry to some": (
        machine("Start:::ask --> A : x", "Start --> Shorten : error", "A --> Closed : a").replace("Back", "A", 1)
        + "Shorten --> Start : retry\n",
        [(6, r"'retry' leads to one state, or Back to all that it can mean \(Start\); this has A")],
    ),
    "limits that do more": (
        machine("Start --> Closed : x", "limits --> Hand : exceeded", "limits --> Closed : y"),
        [(4, "only the limits end in 'exceeded'")],
    ),
    "limits to themselves": (machine("Start --> Closed : x", "l --> l : exceeded"), [(3, "only the limits end in 'exceeded'")]),
    "limits that lead nowhere": (machine("Start --> Closed : x", "Start --> A : y", "class A limits"), [(3, "here Start --> A")]),
    "two limits": (
        machine("Start --> Closed : x", "l --> Hand : exceeded", "m --> Closed : exceeded"),
        [(4, "limits lead to one place")],
    ),
    "limits to a compact": (machine("Start --> Closed : x", "l --> Shorten : exceeded"), [(3, "a Compact")]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_flat_machine_is_refused_with_line_and_remedy(case: str) -> None:
    text, expected = REFUSED[case]
    found = problems(text)
    for line, words in expected:
        assert any(at == line and re.search(words, message) for at, message in found), found


def test_everything_wrong_is_said_at_once_and_by_line() -> None:
    found = problems(HEAD + "Read --> Lost\nstate X <<fork>>\nstate Y {\n--\n}\nRead --> Done : a, b\nclass Dnoe end\n")
    assert [line for line, _ in found] == sorted(line for line, _ in found)
    assert {0, 2, 3, 4, 5, 7, 8} == {line for line, _ in found}


def test_a_file_full_of_mistakes_is_refused_in_a_screenful() -> None:
    text = HEAD + "".join(f"state{i}\n" for i in range(5_000))
    with pytest.raises(DiagramError, match="and 4951 more"):
        read(text)


@pytest.mark.parametrize("name", ["refund", "restock", "sales_report"])
def test_a_shipped_machine_is_read_back_from_its_drawing(name: str) -> None:
    machine = project.find(repository.ROOT).machine(name)
    drawn = read(graph.mermaid(machine))
    rows = {state.name: {outcome: target.name for outcome, target in row.items()} for state, row in machine.edges.items()}
    assert {state.name: dict(state.edges) for state in drawn.states if state.edges} == rows
    assert {state.name: state.kind for state in drawn.states} == {name: state.kind for name, state in machine.states.items()}
    assert (drawn.title, drawn.start, drawn.exceeded) == (name, machine.start, "HandOver")


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.integers(0, 2**32), st.integers(3, 20))
def test_every_flat_machine_is_read_back_from_its_drawing(seed: int, size: int) -> None:
    drawn = flat.definition(seed, size)
    found = read(graph.mermaid(drawn))
    back = back_targets({name: (spec.kind, spec.edges) for name, spec in drawn.states.items()})

    def folded(outcome: str, target: str, kind: str) -> str:
        """The drawing cannot tell the one state that `Back` can mean from `Back`."""
        return BACK if kind == "compact" and outcome == "retry" and [target] == back else target

    assert {state.name: (state.kind, dict(state.edges), state.doc, state.success) for state in found.states} == {
        name: (
            spec.kind,
            {outcome: folded(outcome, target, spec.kind) for outcome, target in spec.edges.items()},
            " ".join(spec.doc.split()),
            spec.success,
        )
        for name, spec in drawn.states.items()
    }
    assert (found.title, found.start, found.exceeded) == (drawn.name, drawn.start, drawn.exceeded)


def test_the_example_in_the_docs_is_read_as_it_says() -> None:
    drawn = read((repository.ROOT / "docs/diagrams.md").read_text("utf-8"), "docs/diagrams.md")
    assert {name: state.kind for name, state in drawn.named.items()} == {
        "Triage": "ask",
        "Limit": "work",
        "Release": "approve",
        "Pay": "act",
        "Paid": "fetch",
        "Shorten": "compact",
        "HandOver": "consult",
        "Refunded": "end",
        "Declined": "end",
        "Unanswered": "end",
    }
    assert (drawn.start, drawn.exceeded, drawn.named["Unanswered"].success) == ("Triage", "HandOver", False)
    assert drawn.named["Paid"].doc == "Nobody knows whether it was paid; the provider does."


TOKENS = (
    *(
        "A",
        "B",
        "Back",
        "[*]",
        "-->",
        "--",
        ":",
        ":::",
        "::",
        "ask",
        "k_end",
        "ok",
        "error",
        "retry",
        "state",
        "class",
        "note right of",
    ),
    *(
        "end note",
        "{",
        "}",
        '"',
        "as",
        "<<choice>>",
        "[[fork]]",
        "[H]",
        "%%",
        "%%{",
        "}%%",
        "---",
        "title:",
        "#35;",
        "#x;",
        "limits",
    ),
    *(
        "exceeded",
        "\n",
        "\n",
        "\n",
        " ",
        " ",
        "stateDiagram-v2\n",
        "direction LR",
        "accDescr {",
        "classDef",
        ",",
        "é",
        "\x0b",
        "`" * 3,
    ),
)


@settings(derandomize=True, deadline=None, max_examples=500)
@given(st.lists(st.sampled_from(TOKENS), max_size=60), st.booleans())
def test_whatever_is_read_is_a_diagram_or_refused_with_reasons(tokens: list[str], headed: bool) -> None:
    with suppress(DiagramError):
        drawn = read((HEAD if headed else "") + " ".join(tokens))
        assert drawn.start in drawn.named
