"""What is laid over a drawing: the way of a run, the traffic of many, and what the command makes of a real database."""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random

import pytest

from leverframe import graph, project
from leverframe.canon import Object
from leverframe.clock import SECOND
from leverframe.graph import Note, Overlay, Traffic, drawing
from leverframe.graph.overlay import Quantiles
from leverframe.run import Event
from tests import drawn, repository
from tests.commands import Command
from tests.drawn import state

REFUND = project.find(repository.ROOT).machines["refund"]
FORMATS: dict[str, Callable[[graph.Drawable, Overlay], str]] = {
    "mermaid": graph.mermaid,
    "dot": graph.dot,
    "svg": graph.svg,
    "html": graph.html,
    "text": graph.text,
}
SMALL = drawn.definition(
    "small",
    {
        "Read": state("work", {"large": "Ask", "small": "Done"}),
        "Ask": state("ask", {"again": "Read", "fine": "Done", "error": "Shorten"}, word="small/ask"),
        "Shorten": state("compact", {"retry": "Back", "give_up": "Lost"}),
        "Done": state("end", {}),
        "Lost": state("end", {}, success=False),
    },
    start="Read",
    exceeded="Lost",
)


def log(*steps: tuple[str, int, Object]) -> list[Event]:
    """Events of a run: type, seconds since it started, body."""
    return [Event(seq, at * SECOND, type_, "engine", body, "", "", "") for seq, (type_, at, body) in enumerate(steps, 1)]


STARTED: tuple[str, int, Object] = ("started", 0, {"state": "Read"})


def asked(at: int, outcome: str, to: str, cost: int = 0) -> tuple[str, int, Object]:
    return ("asked", at, {"outcome": outcome, "to": to, "usage": {"cost": cost}})


LONG_WAY = log(
    STARTED,
    ("worked", 1, {"outcome": "large", "to": "Ask"}),
    ("postponed", 3, {"until": 4, "attempts": 1, "usage": {"cost": 1_000}}),
    asked(11, "again", "Read", 2_000),
    ("worked", 12, {"outcome": "large", "to": "Ask"}),
    asked(13, "error", "Shorten"),
    ("compacted", 14, {"outcome": "retry", "to": "Ask"}),
    asked(20, "fine", "Done", 5_000),
    ("ended", 21, {"success": True}),
)


def traffic(*runs: Iterable[Event]) -> Overlay:
    counted = Traffic(drawing(SMALL))
    for number, events in enumerate(runs):
        for event in events:
            counted.add(f"run_{number}", event)
    return counted.overlay("yesterday")


# ── one run ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_way_of_a_run_is_numbered_in_the_order_it_went() -> None:
    overlay = graph.of_run(drawing(SMALL), "run 1", LONG_WAY[:6], ("waits for ada",))
    assert {edge: note.lines for edge, note in overlay.edges.items()} == {
        ("Read", "large", "Ask"): ("1, 3",),
        ("Ask", "again", "Read"): ("2",),
        ("Ask", "error", "Shorten"): ("4",),
    }
    assert overlay.states["Shorten"] == Note("here", ("waits for ada",))
    assert overlay.states["Read"] == Note("path")
    assert "Done" not in overlay.states


def test_a_limit_that_is_reached_is_the_exceeded_edge() -> None:
    events = log(STARTED, ("worked", 1, {"outcome": "small", "to": "Lost", "exceeded": "steps"}))
    assert list(graph.of_run(drawing(SMALL), "run 1", events).edges) == [("Read", "exceeded", "Lost")]


def test_a_run_that_has_not_moved_stands_in_its_first_state() -> None:
    assert graph.of_run(drawing(SMALL), "run 1", log(STARTED)).states == {"Read": Note("here")}


def test_of_many_passages_the_first_and_the_last_are_named() -> None:
    hops = [("Read", "large", "Ask"), ("Ask", "again", "Read")] * 50
    assert graph.of_path("round and round", hops).edges["Ask", "again", "Read"].lines == ("2, 4, 6, …, 98, 100",)


# ── many runs ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_traffic_says_of_each_edge_how_often_how_long_how_dear_and_how_it_ended() -> None:
    lost = log(
        STARTED, ("worked", 5, {"outcome": "large", "to": "Ask"}), asked(6, "error", "Shorten", 30_000), ("cancelled", 9, {})
    )
    overlay = traffic(LONG_WAY, lost, log(STARTED))
    assert overlay.title == "3 runs since yesterday"
    assert overlay.edges["Read", "large", "Ask"].lines == ("3 · 100 %", "p50 1 s · p95 1 s", "50 % failed")
    assert overlay.edges["Ask", "error", "Shorten"].lines == ("2 · 50 %", "p50 1 s · p95 1 s", "$0.03 · 50 % failed")
    assert overlay.edges["Ask", "again", "Read"].lines == ("1 · 25 %", "p50 10 s · p95 10 s", "$0.003")
    assert overlay.edges["Read", "small", "Done"] == Note("unused", ("never",))
    assert overlay.edges["Read", "exceeded", "Lost"] == Note("unused", ("never",))
    assert overlay.states["Ask"].lines == ("4 visits", "50 % errors")
    assert overlay.edges["Read", "large", "Ask"].weight == 1.0


def test_a_state_says_which_faults_it_had_and_how_often_whatever_their_numbers() -> None:
    def failed(at: int, cause: str) -> tuple[str, int, Object]:
        error: Object = {"type": "BadCompletion", "source": "model", "cause": cause}
        return ("asked", at, {"outcome": "error", "to": "Shorten", "error": error})

    retry: tuple[str, int, Object] = ("compacted", 3, {"outcome": "retry", "to": "Ask"})
    events = log(
        STARTED,
        ("worked", 1, {"outcome": "large", "to": "Ask"}),
        *[step for cause in ("line 7 is wrong", "empty", "line 12 is wrong") for step in (failed(2, cause), retry)],
    )
    faults = ("2 × model: BadCompletion: line 7 is wrong", "1 × model: BadCompletion: empty")
    assert graph.of_run(drawing(SMALL), "run", events).states["Ask"].lines == faults
    traffic = Traffic(drawing(SMALL))
    for event in events:
        traffic.add("run", event)
    assert traffic.overlay("then").states["Ask"].lines[-2:] == faults


def test_passages_of_other_definitions_are_counted_apart() -> None:
    other = log(STARTED, ("worked", 1, {"outcome": "gone", "to": "Away"}), ("worked", 2, {"outcome": "back", "to": "Read"}))
    overlay = traffic(other)
    assert overlay.title == "1 run since yesterday; 2 passages of edges that are not drawn here"
    assert {note.mark for note in overlay.edges.values()} == {"unused"}


def test_no_run_at_all_is_a_drawing_of_edges_never_taken() -> None:
    overlay = traffic()
    assert overlay.title == "0 runs since yesterday"
    assert {note.mark for note in overlay.edges.values()} == {"unused"}


def test_quantiles_are_within_one_percent_whatever_the_times() -> None:
    chance, sketch = Random(7), Quantiles()
    values = sorted(int(chance.lognormvariate(12, 4)) for _ in range(10_001))
    for value in chance.sample(values, len(values)):
        sketch.add(value)
    for share in (0.0, 0.5, 0.95, 1.0):
        assert sketch.at(share) == pytest.approx(values[round(share * 10_000)], rel=0.0101, abs=1)
    assert len(sketch._buckets) < 2_000  # pyright: ignore[reportPrivateUsage]


# ── in every notation ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", FORMATS)
def test_every_notation_shows_the_way_and_what_it_waits_for(name: str) -> None:
    overlay = graph.of_run(drawing(SMALL), "run 1, waiting", LONG_WAY[:6], ("waits for ada",))
    shown, bare = FORMATS[name](SMALL, overlay), FORMATS[name](SMALL, graph.PLAIN)
    for words in ("run 1, waiting", "waits for ada", "1, 3", "▶" if name != "mermaid" else "m_here"):
        assert words in shown
        assert words not in bare


@pytest.mark.parametrize("name", FORMATS)
def test_every_notation_shows_marks_by_sign_and_not_by_colour_alone(name: str) -> None:
    marks = Overlay(
        "against 3f2a",
        {"Ask": Note("changed")},
        {("Ask", "fine", "Done"): Note("added"), ("Ask", "again", "Read"): Note("removed")},
    )
    shown = FORMATS[name](SMALL, marks)
    if name in ("svg", "html", "dot"):
        assert {"~ Ask", "+ fine", "− again"} <= set(re.findall(r">([~+−] \w+)<", shown))
        assert {"m_changed", "m_added", "m_removed"} <= set(re.findall(r"\bm_\w+", shown))
    elif name == "text":
        assert "fine  → Done [+ added]" in shown
        assert "again → Read [− removed]" in shown
        assert "Ask (ask) [~ changed]" in shown
    else:
        assert "s1 --> s2: + fine" in shown
        assert "class s1 m_changed" in shown


def test_traffic_makes_busy_edges_heavy_and_unused_ones_dotted() -> None:
    shown = graph.dot(SMALL, traffic(LONG_WAY))
    (busy,) = re.findall(r"s0 -> s1 \[.*", shown)
    (never,) = re.findall(r"s0 -> s2 \[.*", shown)
    assert "penwidth=4.1" in busy
    assert "style=dotted" in never
    assert "never<" not in never


def test_a_line_of_an_error_and_its_retry_is_dotted_only_where_neither_was_taken() -> None:
    asked_again = log(STARTED, ("worked", 1, {"outcome": "large", "to": "Ask"}), asked(2, "error", "Shorten"))
    for runs, style in (((asked_again,), "dashed"), ((), "dotted")):
        (line,) = [line for line in graph.dot(SMALL, traffic(*runs)).splitlines() if "dir=both" in line and "s1 ->" in line]
        assert f"style={style}" in line


@pytest.mark.parametrize("name", FORMATS)
def test_two_definitions_can_be_drawn_in_one(name: str) -> None:
    states: Object = {
        "Read": state("work", {"large": "Hold", "small": "Done"}),
        "Hold": state("approve", {"approved": "Done", "rejected": "Lost", "expired": "Lost"}, word="ada"),
        "Done": state("end", {}),
        "Lost": state("end", {}, success=False),
    }
    both = graph.union(drawing(SMALL), drawing(drawn.definition("small", states, start="Read")))
    assert both.more == (("Read", "large", "Ask"),)
    assert [box.name for box in both.boxes] == ["Read", "Hold", "Done", "Lost", "Ask", "Shorten"]
    assert ("Shorten", "retry", "Ask") in [arrow.edge for arrow in both.arrows()]
    marks = Overlay(
        "", {"Ask": Note("removed")}, {("Read", "large", "Ask"): Note("removed"), ("Read", "large", "Hold"): Note("added")}
    )
    shown = FORMATS[name](both, marks) if name != "html" else graph.html(both, marks).split("<body>")[1]
    if name != "mermaid":
        assert {"+ ", "− "} <= set(re.findall(r"[+−] ", shown))
    if name == "text":
        assert "    large → Hold [+ added]\n    small → Done\n    large → Ask [− removed]\n" in shown
    assert len(re.findall(r"Ask \(ask\) \[− removed\]|− Ask|m_removed", shown)) >= 1


# ── the command ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def printed(leverframe: Command) -> Callable[..., str]:
    """Gives a command that ends with `code`; what it prints."""

    def give(*arguments: str, code: int = 0) -> str:
        done = leverframe(*arguments)
        assert done.code == code, done
        return done.out if code == 0 else done.err

    return give


BROKEN = "Order 1042 arrived broken, I want my money back"


def test_a_real_run_is_shown_with_what_it_waits_for(printed: Callable[..., str]) -> None:
    run = str(json.loads(printed("run", "refund", BROKEN, "--json"))["run"])
    shown = printed("graph", "refund", "--run", run[:12])
    assert f"shown: run {run}, waiting" in shown
    assert re.search(r"Release \(approve, team lead, 2 days\).*\[▶ waiting, waits for team lead until \d{4}-", shown)
    assert re.search(r"number → LookUp \[1\]", shown)
    assert re.search(r"large     → Release \[4\]", shown)
    assert "is of the machine refund, not of restock" in printed("graph", "restock", "--run", run, code=1)


def test_real_traffic_is_counted_from_the_log(printed: Callable[..., str]) -> None:
    for number in range(3):
        printed("run", "refund", BROKEN, "--key", f"t{number}")
    printed("approve", "t0", "--by", "ada")
    printed("cancel", str(json.loads(printed("runs", "--json"))["runs"][0]["run"]))
    shown = printed("graph", "refund", "--traffic", "1h")
    assert re.search(r"shown: 3 runs since \d{4}-\d\d-\d\dT", shown)
    assert re.search(r"number → LookUp \[3 · 100 %, p50 .* · p95 .*, 50 % failed\]", shown)
    assert re.search(r"approved → Recheck \[1 · 100 %, ", shown)
    assert re.search(r"rejected → Triage \[never\]", shown)
    assert "0 runs since 2999-01-01" in printed("graph", "refund", "--traffic", "2999-01-01")


@pytest.mark.parametrize("ending", ["mmd", "dot", "svg", "html", "txt"])
def test_the_ending_of_the_file_tells_the_format(printed: Callable[..., str], tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"refund.{ending}"
    assert printed("graph", "refund", "-o", str(file)) == f"wrote {file}\n"
    name = {"mmd": "mermaid", "txt": "text"}.get(ending, ending)
    assert file.read_text("utf-8") == FORMATS[name](REFUND, graph.PLAIN)


def test_a_definition_from_a_file_is_drawn_also_a_broken_one(printed: Callable[..., str], tmp_path: Path) -> None:
    file = tmp_path / "refund.json"
    file.write_text(REFUND.definition().text)
    assert "Release (approve, team lead, 2 days)" in printed("graph", "--definition", str(file))
    body = json.loads(file.read_text())
    body["states"]["Pay"]["edges"]["ok"] = "Nowhere"
    file.write_text("\ufeff" + json.dumps(body), "utf-8")  # as some editors begin a file
    shown = printed("graph", "--definition", str(file))
    assert "ok      → Nowhere" in shown
    assert "Nowhere (missing)" in shown
    assert "k_missing" in printed("graph", "--definition", str(file), "--format", "svg")


def test_the_way_to_a_finding_is_drawn_over_a_definition_without_a_project(
    printed: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.loads(REFUND.definition().text)
    body["states"]["Limit"]["edges"]["large"] = "Pay"
    (tmp_path / "refund.json").write_text(json.dumps(body))
    monkeypatch.chdir(tmp_path)
    assert "large     → Pay [3]" in printed("graph", "--definition", "refund.json", "--finding", "LF603")


STRANGE = drawn.definition("x", {"A": state("dream", {})}, start="A").text


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", '{"leverframe": 2}', '{"leverframe": 1}', '{"leverframe": 1, "name": "x"}', STRANGE]
)
def test_what_is_no_definition_is_misuse_and_said_in_the_schemas_words(
    printed: Callable[..., str], tmp_path: Path, text: str
) -> None:
    (tmp_path / "x.json").write_text(text)
    said = printed("graph", "--definition", str(tmp_path / "x.json"), code=2)
    assert re.search(r"Invalid value: --definition \S+x.json: no definition: (machine x: |state A: )*(is |\$)", said)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--definition", "missing.json"),
        ("refund", "-o", "/nowhere/x.svg"),
        ("refund", "-o", "x.png"),
        ("refund", "--definition", "x.json"),
        ("refund", "--run", "r", "--traffic", "1d"),
        ("refund", "--traffic", "soon"),
    ],
)
def test_misuse_ends_with_2(printed: Callable[..., str], arguments: tuple[str, ...]) -> None:
    assert printed("graph", *arguments, code=2)


def test_a_file_that_cannot_be_written_is_one_clear_line(printed: Callable[..., str]) -> None:
    said = printed("graph", "refund", "-o", "/nowhere/refund.svg", code=2)
    assert said.endswith("Invalid value: --out /nowhere/refund.svg: No such file or directory\n")
