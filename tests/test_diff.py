"""The difference of two definitions as a reviewer gets it: ranked, drawn, as text, as a comment, and with the runs it touches."""

import copy
import re
from collections.abc import Callable, Sequence
from typing import Never, cast

import pytest
from markdown_it import MarkdownIt

from leverframe import Machine, TriggerCommand
from leverframe.canon import Object, canonical
from leverframe.changes import changes
from leverframe.check import Finding, check_text
from leverframe.diff import Difference, Parked, Standing, arrived, difference, formats, parked, picture, renamed
from leverframe.diff.risk import Level, risk
from leverframe.graph import dot, mermaid, text
from leverframe.machine import Definition
from machines.refund import refund
from machines.restock import restock
from tests.house import Bell, Box, Done, Failed, House, Nap, begin, naps
from tests.test_changes import at, choices
from tests.test_engine_others import NapOther, NapReworded, changed

NOW = refund.definition()


def edited(*edits: Callable[[Object], object]) -> Definition:
    body = copy.deepcopy(NOW.body)
    for edit in edits:
        edit(body)
    return Definition(canonical(body))


def tool(body: Object, name: str = "issue_refund") -> Object:
    return at(body, "tools", name)


# ── how risky ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

RISKS: list[tuple[Callable[[Object], object], Level, str]] = [
    (lambda body: at(body, "states", "Limit", "edges").update(large="Pay"), "high", "Release is not asked any more"),
    (lambda body: at(body, "states", "Release").update(kind="work"), "high", "nobody is asked here any more"),
    (lambda body: at(body, "states").pop("HandOver"), "high", "nobody is asked here any more"),
    (lambda body: at(body, "states", "Release").update(to="anybody"), "high", "another person or role decides"),
    (lambda body: body.update(rules=[]), "high", "what it forbade is no longer proven"),
    (
        lambda body: body.update(accepts=[{"code": "LF301", "state": None, "reason": "in a hurry"}]),
        "high",
        "a finding no longer fails the check",
    ),
    (lambda body: at(body, "limits").update(steps=41), "high", "more may be used up"),
    (lambda body: at(body, "limits").update(cost=None), "high", "more may be used up"),
    (lambda body: at(body, "limits").update(steps=39), "low", ""),
    (lambda body: at(body, "limits").update(exceeded="Declined"), "high", "HandOver is not asked any more"),
    (lambda body: at(body, "limits").update(exceeded=None), "high", "HandOver is not asked any more"),
    (lambda body: at(body, "limits").update(exceeded="Release"), "medium", "where a run goes that is at its limits"),
    (lambda body: choices(body).append({"intent": "book_refund", "kind": "tool"}), "high", "it is local"),
    (lambda body: choices(body).append({"intent": "find_order", "kind": "tool"}), "medium", "it is read"),
    (lambda body: tool(body).update(effect="once"), "high", "exactly once by its key before, at most once now"),
    (lambda body: tool(body, "send_mail").update(effect="read"), "high", "at most once before, repeated now"),
    (lambda body: tool(body).update(approval=True), "low", ""),
    (lambda body: tool(body).update(doc="Pay."), "medium", "the model reads it"),
    (lambda body: tool(body).update(retries=9), "medium", ""),
    (lambda body: at(body, "tools").update(new={**tool(body), "effect": "once"}), "high", "a new tool, once"),
    (lambda body: at(body, "states", "Triage", "texts").update({"": "Hello"}), "medium", "the model is told something else"),
    (lambda body: at(body, "states", "Triage").update(threshold=0.5), "low", ""),
    (lambda body: at(body, "states", "Shorten").update(times=9), "medium", "how often it is tried"),
    (lambda body: at(body, "states", "Book").update(builds=False), "medium", ""),
    (lambda body: at(body, "states", "Read").update(doc="Reads."), "low", ""),
    (lambda body: body.update(version="2"), "low", ""),
    (lambda body: body.update(start="Triage"), "medium", "runs begin elsewhere"),
]


@pytest.mark.parametrize(("edit", "level", "why"), RISKS)
def test_a_change_is_as_risky_as_what_may_happen_now(edit: Callable[[Object], object], level: Level, why: str) -> None:
    after = edited(edit)
    (change,) = changes(NOW, after)
    judged = risk(change, NOW, after)
    assert (judged.level, why in judged.why, bool(judged.why)) == (level, True, bool(why))


SCHEMAS: list[tuple[str, Callable[[Object], Object], str]] = [
    ("the memory", lambda body: at(body, "memory"), "runs whose memory does not fit cannot move here"),
    ("a tool", lambda body: at(tool(body), "input"), "runs that wait with a call of it are blocked"),
    ("a reply", lambda body: at(choices(body)[-1], "schema"), "runs that wait here are blocked"),
]


@pytest.mark.parametrize(("holder", "blocks"), [case[1:] for case in SCHEMAS], ids=[case[0] for case in SCHEMAS])
def test_more_than_words_of_a_schema_is_never_told_as_words(holder: Callable[[Object], Object], blocks: str) -> None:
    def judged(was: Object, now: Object) -> tuple[Level, str]:
        def of(shape: Object) -> Definition:
            return edited(lambda body: holder(body).update(type="object", properties={"x": shape}))

        before, after = of(was), of(now)
        ((found, change),) = difference(before, after).changes
        assert not change.words or "in words only" in str(change)
        return found.level, "" if change.words else found.why

    assert judged({"default": 0}, {"default": -1000}) == ("medium", "the default of x was 0, is -1000")
    assert judged({"type": "integer"}, {"type": "integer", "default": 1}) == ("medium", "the default of x was none, is 1")
    assert judged({"default": {"title": "a"}}, {"default": {"title": "b"}})[0] == "medium", "what looks like words is data there"
    inner: Object = {"type": "array", "items": {"properties": {"iban": {"type": "string"}}}}
    assert judged({**inner, "writeOnly": True}, inner) == ("high", f"no longer secret: x; {blocks}")
    assert judged(inner, {**inner, "writeOnly": True}) == ("medium", blocks)
    secret: Object = {"anyOf": [{"type": "string", "writeOnly": True}, {"type": "null"}]}
    assert judged({"items": {"properties": {"iban": secret}}}, {"items": {"properties": {"iban": {"type": "string"}}}}) == (
        "high",
        f"no longer secret: x[].iban; {blocks}",
    )
    assert judged({"items": secret}, {"items": secret, "writeOnly": True}) == ("medium", blocks)
    for word in ("title", "description", "examples"):
        assert judged({}, {word: ["y"] if word == "examples" else "y"})[1] == ""


def test_what_was_lost_when_turned_round_is_no_risk() -> None:
    before = edited(lambda body: tool(body).update(approval=True, untrusted=True))
    assert {judged.level for judged, _ in difference(before, NOW).changes} == {"high"}
    assert {judged.level for judged, _ in difference(NOW, before).changes} == {"low"}


def test_a_model_that_may_be_less_sure_of_itself_is_a_risk() -> None:
    def asking(at_least: float) -> Definition:
        return edited(lambda body: at(body, "states", "Triage").update(threshold=at_least))

    sure, unsure = asking(0.8), asking(0.5)
    ((fell, _),), ((rose, _),), ((gone, _),) = (
        difference(a, b).changes for a, b in [(sure, unsure), (unsure, sure), (sure, NOW)]
    )
    assert (fell.level, rose.level, gone.level) == ("high", "low", "high")


def test_the_riskiest_stands_first_and_of_the_riskiest_who_is_not_asked_any_more() -> None:
    after = edited(
        lambda body: body.update(version="2"),
        lambda body: at(body, "limits").update(steps=400),
        lambda body: tool(body).update(doc="Pay.", effect="once"),
        lambda body: at(body, "states", "Limit", "edges").update(large="Pay"),
        lambda body: body.update(rules=[]),
    )
    found = difference(NOW, after)
    assert [judged.level for judged, _ in found.changes] == ["high"] * 4 + ["medium", "low"]
    assert [change.path[0] for _, change in found.changes] == ["states", "rules", "limits", "tools", "tools", "version"]
    assert (found.level, found.count("high"), found.same) == ("high", 4, False)


def test_what_the_check_finds_now_and_did_not_find_before_is_told_with_its_path() -> None:
    after = edited(lambda body: at(body, "states", "Limit", "edges").update(large="Pay", unfounded="Pay"))
    found = difference(NOW, after, found=(check_text(NOW.text, "was").findings, check_text(after.text, "now").findings))
    assert "LF103" in {one.code for one in found.lost}
    assert not found.mended
    back = difference(after, NOW, found=(check_text(after.text, "was").findings, check_text(NOW.text, "now").findings))
    assert (back.lost, {one.code for one in back.mended}) == ((), {one.code for one in found.lost})


LIVED_WITH: Object = {"code": "LF603", "state": None, "reason": "small sums"}


def led_past(body: Object) -> None:
    at(body, "states", "Limit", "edges").update(large="Pay")


def compared(before: Definition, after: Definition) -> Difference:
    return difference(before, after, found=(check_text(before.text, "was").findings, check_text(after.text, "now").findings))


def test_a_rule_that_breaks_under_an_older_acceptance_is_told_as_one_that_is_accepted_now() -> None:
    found = compared(
        edited(lambda body: body.update(accepts=[LIVED_WITH])), edited(led_past, lambda body: body.update(accepts=[LIVED_WITH]))
    )
    assert [one.code for one in found.accepted] == ["LF603"]
    assert (found.level, "LF603" in {one.code for one in found.lost}) == ("high", False)
    assert "does not hold: Pay can execute issue_refund (now accepted: small sums)\n" in formats.text(found)
    assert "issue\\_refund (now accepted: small sums)\n" in formats.markdown([found])


def test_a_finding_that_is_accepted_now_is_still_there_and_one_no_longer_accepted_is_open() -> None:
    open_, accepted = edited(led_past), edited(led_past, lambda body: body.update(accepts=[LIVED_WITH]))
    there, back = compared(open_, accepted), compared(accepted, open_)
    assert ([one.code for one in there.accepted], there.lost, there.mended) == (["LF603"], (), ())
    assert ([one.code for one in back.lost], back.accepted, back.mended) == (["LF603"], (), ())
    assert "(now open)" in formats.text(back)


def test_a_lost_proof_is_a_high_risk_and_a_warning_about_calls_a_medium_one() -> None:
    unproven = Finding("LF606", "warning", "refund", "machine refund: the rule “x” could not be proven: y", "")
    idle = Finding("LF307", "warning", "refund", "machine refund: Triage can pick pay, and no Act executes that call", "")
    far = Finding("LF502", "warning", "refund", "machine refund: may ask a model any number of times", "")
    after = edited(lambda body: at(body, "states", "Read").update(doc="Reads."))
    for one, level in ((unproven, "high"), (idle, "medium"), (far, "low")):
        found, back = difference(NOW, after, found=((), (one,))), difference(after, NOW, found=((one,), ()))
        assert (found.level, bool(back.mended)) == (level, one is not far)
        assert formats.text(found).split("\n")[2] == level


# ── a way past a person ──────────────────────────────────────────────────────────────────────────────────────────────────────


def work(**edges: str) -> Object:
    return {"kind": "work", "doc": "", "edges": {**edges}}


def person(kind: str, **edges: str) -> Object:
    return {"kind": kind, "doc": "", "to": "someone", "deadline": 1, "choices": [], "edges": {**edges}}


def states(**new: Object) -> Callable[[Object], object]:
    return lambda body: at(body, "states").update(new)


def leads(state: str, **edges: str) -> Callable[[Object], object]:
    return lambda body: at(body, "states", state, "edges").update(edges)


SERIES = [
    states(Weigh=work(light="Pay", heavy="Second"), Second=person("approve", approved="Pay", expired="Declined")),
    leads("Limit", small="Weigh"),
]
GATED = [
    states(Prepare=work(on="Ready"), Ready=person("consult", yes="Triage", expired="Declined")),
    leads("Read", none="Prepare"),
    leads("LookUp", found="Ready"),
]
Edits = Sequence[Callable[[Object], object]]
PAST: list[tuple[str, Edits, Edits, str, str]] = [
    (
        "by a new state before the one that decides",
        (),
        [states(Check=work(fine="Pay", odd="Limit")), leads("Triage", issue_refund="Check")],
        "state Triage: edge 'issue_refund' was Limit, is Check",
        "before Pay executes issue_refund: Read –none→ Triage, Triage –issue_refund→ Check, Check –fine→ Pay",
    ),
    ("by a new outcome", (), [leads("Limit", regular="Pay")], "state Limit: edge 'regular' is new: Pay", "Limit –regular→ Pay"),
    (
        "by an outcome that led to a second decision",
        SERIES,
        [leads("Limit", small="Pay")],
        "state Limit: edge 'small' was Weigh, is Pay",
        "Second need not be asked any more before Pay executes issue_refund: ",
    ),
    (
        "by a limit",
        [lambda body: at(body, "limits").update(exceeded="Declined")],
        [lambda body: at(body, "limits").update(exceeded="Pay")],
        "limit exceeded was Declined, is Pay",
        "Release need not be asked any more before Pay executes issue_refund: ",
    ),
    (
        "around a person who is asked before all calls",
        GATED,
        [states(Known=work(yes="Triage", no="Ready")), leads("Read", none="Known")],
        "state Read: edge 'none' was Prepare, is Known",
        "Ready need not be asked any more before ",
    ),
    (
        "by beginning behind that person",
        GATED,
        [lambda body: body.update(start="Triage")],
        "the start was Read, is Triage",
        "runs begin elsewhere; Ready need not be asked any more before ",
    ),
]


@pytest.mark.parametrize(("before", "edits", "line", "why"), [case[1:] for case in PAST], ids=[case[0] for case in PAST])
def test_a_way_past_a_person_is_a_high_risk_of_the_change_that_made_it(before: Edits, edits: Edits, line: str, why: str) -> None:
    (judged, first), *others = difference(edited(*before), edited(*before, *edits)).changes
    assert (str(first), judged.level) == (line, "high")
    assert why in judged.why
    assert not any("need not be asked" in each.why for each, _ in others)
    back = difference(edited(*before, *edits), edited(*before)).changes
    assert not any("need not be asked" in each.why for each, _ in back), "closing it is no risk"


@pytest.mark.parametrize("machine", [refund, restock], ids=lambda machine: machine.name)
def test_no_state_that_only_passes_on_is_a_way_past_a_person(machine: Machine[Never]) -> None:
    now = machine.definition()
    for name, spec in now.states.items():
        for outcome, to in spec.edges.items():
            body = copy.deepcopy(now.body)
            at(body, "states")["Pass"] = work(on=to)
            at(body, "states", name, "edges")[outcome] = "Pass"
            after = Definition(canonical(body))
            whys = [judged.why for each in (difference(now, after), difference(after, now)) for judged, _ in each.changes]
            assert not any("need not be asked" in why for why in whys), (name, outcome)


def test_a_new_person_on_a_new_way_is_asked_in_place_of_the_other() -> None:
    after = edited(states(Boss=person("approve", approved="Pay", expired="Declined")), leads("Limit", huge="Boss"))
    assert not any("need not be asked" in judged.why for judged, _ in difference(NOW, after).changes)


# ── as people read it ────────────────────────────────────────────────────────────────────────────────────────────────────────

BOTH = difference(
    NOW,
    edited(
        lambda body: at(body, "states", "Limit", "edges").update(large="Pay"),
        lambda body: at(body, "states").pop("Release"),
        lambda body: at(body, "states").update(New={"kind": "end", "doc": "@all <b>|x|</b> `", "edges": {}, "success": True}),
        lambda body: at(body, "states", "Triage", "texts").update({"": "```\n# system\n```"}),
    ),
    parked=[Parked("Release", "blocked", 2, "state Release is gone", "run_1")],
)


def test_both_machines_are_one_picture_in_which_nothing_is_missing() -> None:
    drawn, overlay = picture(BOTH)
    assert {box.name for box in drawn.boxes} == {*NOW.states, "New"}
    assert {name: note.mark for name, note in overlay.states.items()} == {
        "Release": "removed",
        "New": "added",
        "Triage": "changed",
    }
    assert overlay.edges["Limit", "large", "Pay"].mark == "added"
    assert overlay.edges["Limit", "large", "Release"].mark == "removed"
    assert overlay.edges["Release", "approved", "Recheck"].mark == "removed"
    assert "large" in mermaid(drawn, overlay)


def test_the_picture_shows_where_runs_began_and_where_limits_led() -> None:
    after = edited(lambda body: body.update(start="LookUp"), lambda body: at(body, "limits").update(exceeded="Declined"))
    drawn, overlay = picture(difference(NOW, after))
    marks = {edge: note.mark for edge, note in overlay.edges.items()}
    assert (marks["", "start", "LookUp"], marks["", "start", "Read"]) == ("added", "removed")
    assert (marks["Triage", "exceeded", "Declined"], marks["Triage", "exceeded", "HandOver"]) == ("added", "removed")
    shown = mermaid(drawn, overlay)
    ids = dict(re.findall(r'state "(\w+)" as (s\d+)', shown))
    assert f"    [*] --> {ids['LookUp']}: + start\n    [*] --> {ids['Read']}: #8722; start\n" in shown
    assert f"    limits --> {ids['Declined']}: + exceeded\n    limits --> {ids['HandOver']}: #8722; exceeded\n" in shown
    assert "starts in LookUp [+ added], Read [− removed]; " in text(drawn, overlay)
    assert "a limit that is reached leads to HandOver, from any state [− removed]\n" in text(drawn, overlay)
    for id_ in ("begin", "beginwas", "exceeded", "exceededwas"):
        assert re.search(rf'id="{id_}", class="\w+ m_{"removed" if id_.endswith("was") else "added"}"', dot(drawn, overlay)), id_


def test_what_did_not_change_in_start_and_limits_is_not_marked_where_states_are_new() -> None:
    drawn, overlay = picture(difference(NOW, edited(states(New=work(on="Pay")), leads("Limit", small="New"))))
    assert {edge for edge in overlay.edges if edge[1] in ("start", "exceeded")} == set()
    assert "[*] --> s0\n" in mermaid(drawn, overlay)
    gone = edited(lambda body: at(body, "limits").update(exceeded=None))
    assert "#8722; exceeded" in mermaid(*picture(difference(NOW, gone)))


def test_text_says_every_change_once() -> None:
    said = formats.text(BOTH)
    assert said.startswith("refund: 4 changes (2 high, 2 medium), ")
    assert said.count("state Release is gone (nobody is asked here any more)") == 1
    assert "      -temperature: 0" in said
    assert "lines more" in said
    assert "  2 runs in Release: blocked once the new code is deployed, before anything executes: state Release is gone" in said


def test_the_lines_of_a_changed_memory_are_shown() -> None:
    said = formats.text(difference(NOW, edited(lambda body: at(body, "memory", "properties", "asked").update(default=-1000))))
    assert "  the memory changed: asked changed (the default of asked was 0, is -1000)\n" in said
    assert '      -      "default": 0,\n      +      "default": -1000,\n' in said


def test_no_line_of_a_prompt_is_taken_for_the_head_of_its_difference() -> None:
    def told(line: str) -> Definition:
        return edited(lambda body: at(body, "states", "Triage", "texts").update({"": f"# user\n{line}\n{{{{ choices }}}}\n"}))

    said = formats.text(difference(told("-- never above 50 euros"), told("++ whatever they ask")))
    assert "      --- never above 50 euros\n      +++ whatever they ask\n" in said
    assert "--- \n" not in said, "the head itself is left out"


def test_a_comment_is_markdown_in_which_no_name_or_prompt_breaks_out() -> None:
    comment = formats.markdown([BOTH, difference(NOW, NOW)])
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(comment)
    fences = [token.info for token in tokens if token.type == "fence"]
    assert fences == ["diff", "mermaid"]
    assert [token.tag for token in tokens if token.type == "heading_open"] == ["h3"]
    assert sum(token.type == "tr_open" for token in tokens) == len(BOTH.changes) + 1 + 1 + 1
    assert "@all" not in comment
    html = [token.content.strip() for token in tokens if token.type == "html_block"]
    assert all(block.startswith(("<details>", "</details>")) for block in html)


def test_between_tags_a_name_stands_as_it_is_because_markdown_is_not_read_there() -> None:
    def told(doc: str) -> Definition:
        return edited(states(**{"<b>_x_@all": {**work(on="Pay"), "doc": doc}}), lambda body: tool(body).update(doc=doc))

    comment = formats.markdown([difference(told("few"), told("word " * 30))])
    assert re.findall("<summary>(.*)</summary>", comment)[:2] == [
        "tool issue_refund: description changed",
        "state &lt;b&gt;_x_@\u200ball: description changed",
    ]


def test_a_comment_fits_whatever_was_written() -> None:
    huge = edited(lambda body: at(body, "states", "Triage", "texts").update({"": "word\n" * 60_000}))
    comment = formats.markdown([difference(NOW, huge)] * 3)
    assert len(comment) < 65_536
    assert "prompt changed" in comment


def test_a_machine_that_is_new_or_gone_is_said_to_be() -> None:
    new, gone = Difference("refund", None, NOW), Difference("refund", NOW, None)
    assert (new.level, gone.level) == (None, "high")
    assert formats.text(new) == f"refund: a new machine, {NOW.hash[:12]}\n"
    assert formats.text(gone) == f"refund: the machine is gone, {NOW.hash[:12]}\n"
    assert "a new machine" in formats.markdown([new])
    assert formats.markdown([difference(NOW, NOW)]) == "No machine changed.\n"
    assert mermaid(*picture(new)).count("state ") >= len(NOW.states)


def named(name: str, *edits: Callable[[Object], object]) -> Definition:
    return edited(lambda body: body.update(name=name), *edits)


def test_a_machine_that_is_new_is_told_with_what_it_may_touch_and_what_check_finds_in_it() -> None:
    unsafe = named("payout", lambda body: at(body, "states", "Limit", "edges").update(large="Pay"))
    new = arrived(unsafe, check_text(unsafe.text, "payout").findings)
    said = formats.text(new)
    assert said.startswith(f"payout: a new machine ({new.count('high')} high, {new.count('medium')} medium), ")
    assert "  LF603 the rule “each call of issue_refund is executed only after" in said
    assert "  tool send_mail is new (once, no call needs an approval)\n" in said
    assert "  tool find_order is new (read, no call needs an approval)\n" in said
    assert said.index("LF603") < said.index("send_mail") < said.index("\nmedium\n") < said.index("find_order")
    comment = formats.markdown([new])
    assert "| **high** | tool send\\_mail is new | once, no call needs an approval |" in comment


def test_a_machine_under_another_name_is_known_again_if_nearly_all_of_it_stayed() -> None:
    other = named(
        "restock", lambda body: body.update(states={"Over": {"kind": "end", "doc": "", "edges": {}, "success": True}}, tools={})
    )
    close = named("refunds", lambda body: at(body, "limits").update(steps=41))
    closer = named("refunds_2")
    assert renamed({"refund": NOW}, {"refunds": close}) == {"refunds": "refund"}
    assert renamed({"refund": NOW}, {"restock": other}) == {}
    assert renamed({"refund": NOW}, {"refund": NOW, "refunds": close}) == {}, "nothing is gone"
    both = renamed({"refund": NOW, "restock": other}, {"a": other, "b": closer})
    assert both == {"a": "restock", "b": "refund"}


def test_a_renamed_machine_is_compared_with_what_it_was_called() -> None:
    found = difference(NOW, named("refunds", lambda body: at(body, "limits").update(steps=41)))
    said = formats.text(found)
    assert said.startswith("refunds (was refund): 2 changes (1 high, 1 medium), ")
    assert "  name was refund, is refunds (its runs under way keep the old name; nothing of that name goes on with them)" in said


# ── the runs under way ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_runs_that_share_their_fate_are_counted_together_the_worst_first() -> None:
    found = parked(
        [
            Standing("run_1", "Nap", "waiting", "moves"),
            Standing("run_2", "Bell", "waiting", "stays", "state Bell is gone."),
            Standing("run_3", "Nap", "paused", "blocked", "reply changed"),
            Standing("run_4", "Nap", "waiting", "moves"),
        ]
    )
    assert [(one.fate, one.state, one.runs, one.example) for one in found] == [
        ("blocked", "Nap", 1, "run_3"),
        ("stays", "Bell", 1, "run_2"),
        ("moves", "Nap", 2, "run_1"),
    ]


async def fates(house: House, machine: Machine[Box]) -> list[tuple[str, str, int, str]]:
    return [(one.state, one.fate, one.runs, one.why) for one in await house(machine).impact("naps")]


async def test_the_impact_tells_of_every_run_that_is_not_over_what_becomes_of_it(house: House) -> None:
    engine = house(naps)
    runs = [await begin(engine, "naps") for _ in range(3)]
    await engine.signal(runs[0].id, "woken")
    await engine.advance(runs[0].id)
    await engine.cancel(runs[1].id)
    before = [await engine.store.load(run.id) for run in runs]
    assert await fates(house, naps) == [], "they are pinned to what it is"
    assert await fates(house, changed(NapReworded)) == [("Bell", "moves", 1, ""), ("Nap", "moves", 1, "")]
    why = "state Nap: reply 'woken' is gone or changed"
    assert await fates(house, changed(NapOther)) == [("Bell", "blocked", 1, why), ("Nap", "blocked", 1, why)]
    assert [await engine.store.load(run.id) for run in runs] == before
    await engine.start(TriggerCommand("naps", {}))


async def test_a_run_whose_memory_does_not_fit_stays_where_it_is_pinned(house: House) -> None:
    engine = house(naps)
    run = await begin(engine, "naps", n=3)

    class Narrow(Box):
        note: str = ""
        more: int

    narrow = Machine(
        "naps", memory=Narrow, edges={Nap: {"woken": Bell, "expired": Failed}, Bell: {"rung": Done, "expired": Failed}}
    )
    ((state, fate, runs, why),) = await fates(house, cast("Machine[Box]", narrow))
    assert (state, fate, runs, why) == (run.state, "stays", 1, "memory: more: Field required")
