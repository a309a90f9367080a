"""Definitions from outside: whatever the text is, everything wrong with it is said at once, and nothing is raised."""

import json
import re
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from leverframe import End, Fetch, Memory, graph, project, tool
from leverframe.canon import Json, Object, canonical
from leverframe.check import check, check_text, check_texts, misshapen
from leverframe.check.definition import schema
from leverframe.check.places import Lines
from leverframe.machine import Definition
from leverframe.rules import Absence, BoundedExistence, Existence, In, Precedence, Response, Rule, Universality
from tests import repository
from tests.definitions import ask, compact, definition, delegate, end, fetch, text, work
from tests.test_proofs import BROKEN as BROKEN_RULES
from tests.test_proofs import SOUND as SOUND_RULES


@tool(effect="read")
def peek() -> str:
    """Have a look."""
    return "seen"


class Look(Fetch[Memory]):
    runs = (peek,)


class Away(End[Memory]):
    pass


MACHINES = project.find(repository.ROOT).machines
BODY = definition(
    Read=work(go="Think"), Think=ask("go", go="Look", error="Shorten"), Look=fetch("read_a", ok="Over", error="Shorten"),
    Shorten=compact(retry="Back", give_up="Over"), Over=end(),
)  # fmt: skip


def changed(*path: str | int, to: Json = None, drop: bool = False) -> str:
    """The text of a definition that differs in one place."""
    body = json.loads(json.dumps(BODY))
    place = body
    for key in path[:-1]:
        place = place[key]
    if drop:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return text(cast("Object", body))


def said(given: str) -> list[str]:
    """Code and message of each finding, without whose it is."""
    whose = re.compile(r"(machine \w*: )?(state \w+: )?")
    return [f"{one.code} {whose.sub('', one.message, count=1)}" for one in check_text(given, "desk.json").findings]


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("name", MACHINES)
def test_what_runs_are_pinned_to_fits_the_schema(name: str) -> None:
    pinned = MACHINES[name].definition(MACHINES)
    report = check_text(pinned.text, name, others=MACHINES)
    assert report.findings == ()
    assert report.checked == check(pinned).checked
    assert report.checked[0].definition == pinned.hash


DESK = definition(
    Give=delegate("till", done="Over", error="Shorten", expired="Over"), Shorten=compact(retry="Back", give_up="Over"), Over=end()
)
TILL: Object = {**definition(Open=work(go="Shut"), Shut=end()), "name": "till"}
NEVER_OPEN: Json = [{"rule": "absence", "events": [{"state": "Open", "machine": "till"}]}]


def together(*bodies: Object) -> list[str]:
    report = check_texts({f"{number}.json": text(body) for number, body in enumerate(bodies)})
    return [f"{one.code} {one.level} {one.machine}" for one in report.findings]


def test_definitions_that_are_given_together_know_each_other() -> None:
    hash = Definition(canonical(TILL)).hash
    pinning = cast("Object", json.loads(text(DESK).replace("0" * 64, hash)))
    assert together(pinning, TILL) == together(TILL, pinning) == []
    assert together({**pinning, "rules": NEVER_OPEN}, TILL) == ["LF601 error desk"]
    assert together({**pinning, "rules": NEVER_OPEN}) == ["LF606 warning desk", "LF120 warning desk"]


def test_of_two_definitions_of_one_name_nobody_can_say_which_is_delegated_to() -> None:
    changed_till: Object = {**TILL, "doc": "Another."}
    assert together(DESK, TILL, changed_till) == ["LF120 warning desk"]
    assert together(TILL, changed_till) == []


def test_a_definition_of_the_wrong_shape_is_not_known_to_the_others() -> None:
    codes = [found.split()[0] for found in together(DESK, {**TILL, "limits": {}})]
    assert codes == ["LF120", "LF001"]


def test_machines_that_delegate_to_each_other_are_an_error() -> None:
    back: Object = {**DESK, "name": "till", "states": json.loads(json.dumps(DESK["states"]).replace('"till"', '"desk"'))}
    assert [found.split()[:3] for found in together(DESK, back)] == [["LF116", "error", "desk"], ["LF116", "error", "till"]]


def test_the_example_of_the_docs_is_sound_and_can_be_executed() -> None:
    page = (repository.ROOT / "docs" / "definition.md").read_text("utf-8")
    found = re.search(r"^```json\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert found is not None
    assert said(found[1]) == []
    example = Definition(found[1])
    assert example.move("Release", "approved", back=None) == "Pay"
    assert [prompt.name for prompt in example.prompts("Triage")] == ["desk/triage"]


@pytest.mark.parametrize(
    ("given", "finding"),
    [
        (changed("states", "Read", "kind", to="wrok"), "LF001 $.states.Read.kind: is 'wrok', not work or"),
        (changed("states", "Read", "kind", to="wrok"), "Did you mean 'work'?"),
        (changed("states", "Look", "tools", to="read_a"), "LF001 $.states.Look.tools: is text, not array"),
        (changed("states", "Look", "tools", drop=True), "LF001 $.states.Look: lacks 'tools'"),
        (changed("states", "Think", "txts", to={}), "LF001 $.states.Think: has the unknown key 'txts'. Did you mean 'texts'?"),
        (changed("states", "Think", "choices", 0, "kind", to="word"), "LF001 $.states.Think.choices[0].kind: is 'word', not reply or tool"),
        (changed("states", "Shorten", "times", to="three"), "LF001 $.states.Shorten.times: is text, not integer"),
        (changed("states", "Shorten", "times", to=3.0), "LF001 $.states.Shorten.times: is 3.0, not integer"),
        (changed("states", "Think", "most", to=2.0), "LF001 $.states.Think.most: is 2.0, not integer"),
        (changed("limits", "steps", to=40.0), "LF001 $.limits.steps: is 40.0, not integer or null"),
        (changed("memory", "properties", to={"text": 1}), "LF001 $.memory.properties.text: 1 is not of type 'object'"),
        (changed("memory", "$defs", to="x"), "'x' is not of type 'object'"),
        (changed("states", "Think", "choices", 0, "schema", to={"properties": "x"}),
         "LF001 $.states.Think.choices[0].schema.properties: 'x' is not of type 'object'"),
        (changed("states", "Think", "choices", 0, "schema", to={"pattern": "a{99999999999}"}),
         "LF001 $.states.Think.choices[0].schema: cannot be compiled: the repetition number"),
        (changed("states", "Over", "returns", to={"type": "objekt"}), "LF001 $.states.Over.returns.type: 'objekt' is not valid"),
        (changed("tools", "read_a", "input", to={"required": "all"}), "LF001 $.tools.read_a.input.required: 'all' is not of type"),
        (changed("states", "Over", "success", drop=True), "LF001 $.states.Over: lacks 'success'"),
        (changed("tools", "read_a", "effect", to="write"), "LF001 $.tools.read_a.effect: is 'write'"),
        (changed("tools", "read_a", "contract", to="abc"), "LF001 $.tools.read_a.contract: 'abc' does not match"),
        (changed("limits", "steps", to=0), "LF001 $.limits.steps: 0 is less than the minimum of 1"),
        (changed("limits", drop=True), "LF001 $: lacks 'limits'"),
        (changed("leverframe", to=2), "LF001 $.leverframe: is 2, not 1"),
        (changed("rules", to=[{"rule": "precedence", "first": [["Read"]]}]), "LF001 $.rules[0]: lacks 'first' and 'before' or 'events'"),
        (changed("accepts", to=[{"code": "LF101", "reason": " "}]), "LF001 $.accepts[0].reason"),
        ("[]", "LF001 is a list; a definition is a JSON object"),
        ("\ufeff[]", "LF001 is a list; a definition is a JSON object"),
        ("", "LF001 is not JSON"),
        ("{'name': 1}", "LF001 is not JSON"),
        (text(BODY).replace("40", "NaN"), "LF001 $.limits.steps: nan is not JSON"),
        (text(BODY).replace("40", "1e999"), "LF001 $.limits.steps: inf is not JSON"),
        (text(BODY).replace("40", "4" * 5_000), "LF001 holds a number of thousands of digits"),
        (text(BODY).replace('"A desk."', '"\\ud800"'), "LF001 $.doc: holds a lone surrogate"),
        ("[" * 100_000 + "]" * 100_000, "LF001 is nested too deeply"),
        ('{"a":' * 70 + "1" + "}" * 70, "nested deeper than 64 levels"),
        ('"' + "x" * (64 * 1024 * 1024) + '"', "LF001 is over 64 MiB"),
        ('{"name": 1, "name": 2}', "LF110 the key 'name' stands twice in one object"),
    ],
    ids=lambda value: value[:40] if value.startswith("LF") else "",
)  # fmt: skip
def test_a_wrong_shape_is_said_with_its_path(given: str, finding: str) -> None:
    assert any(finding in one for one in said(given)), said(given)[:5]


EVENT: Object = {"state": "Read"}
INSIDE: Object = {"state": "Read", "outcome": "go", "machine": "other"}
WRONG_RULES: list[tuple[Object, str]] = [
    ({"rule": "always", "events": [EVENT]}, ".rule: is 'always', not absence or"),
    ({"rule": "absence"}, ": lacks 'first' and 'before' or 'events'"),
    ({"rule": "absence", "events": []}, ".events: is empty"),
    ({"rule": "absence", "events": [{}]}, ".events[0]: lacks 'state' or 'tool'"),
    ({"rule": "absence", "events": [{"stat": "Read"}]}, ".events[0]: has the unknown key 'stat'. Did you mean 'state'?"),
    ({"rule": "absence", "events": [{"tool": "a", "state": "b"}]}, ".events[0].state: does not belong here"),
    ({"rule": "absence", "events": ["Read"]}, ".events[0]: is text, not object"),
    ({"rule": "absence", "events": [EVENT], "other": [EVENT]}, ".other: does not belong here"),
    ({"rule": "absence", "events": [EVENT], "at_most": 1}, ".at_most: does not belong here"),
    ({"rule": "absence", "events": [EVENT], "scop": {}}, ": has the unknown key 'scop'. Did you mean 'scope'?"),
    ({"rule": "absence", "events": [EVENT], "scope": {}}, ".scope: is empty"),
    ({"rule": "absence", "events": [EVENT], "scope": {"until": [EVENT]}}, ".scope: lacks 'after'"),
    ({"rule": "absence", "events": [EVENT], "scope": {"after": [EVENT], "closed": True}}, ".scope: lacks 'until'"),
    (
        {"rule": "absence", "events": [EVENT], "scope": {"after": [EVENT], "before": [EVENT]}},
        ".scope.after: does not belong here",
    ),
    ({"rule": "bounded_existence", "events": [EVENT]}, ": lacks 'at_most'"),
    ({"rule": "bounded_existence", "events": [EVENT], "at_most": 1001}, ".at_most: 1001 is greater than the maximum of 1000"),
    ({"rule": "precedence", "events": [EVENT]}, ": lacks 'other'"),
    ({"rule": "response", "events": [EVENT]}, ": lacks 'other'"),
    ({"rule": "precedence", "first": [["Read", "go"]]}, ": lacks 'first' and 'before' or 'events'"),
    ({"rule": "precedence", "first": [], "before": "a"}, ".first: is empty"),
    (
        {"rule": "precedence", "first": [["Read", "go"]], "before": "a", "scope": {"after": [EVENT]}},
        ".scope: does not belong here",
    ),
    ({"rule": "response", "first": [["Read", "go"]], "before": "a"}, ".rule: is 'response', not precedence"),
    ({"rule": "universality", "events": [INSIDE]}, ".events[0].outcome: does not belong here"),
]


@pytest.mark.parametrize(("rule", "why"), WRONG_RULES, ids=range(len(WRONG_RULES)))
def test_a_rule_of_the_wrong_shape_is_refused_with_its_place(rule: Object, why: str) -> None:
    given = changed("rules", to=[{"rule": "existence", "events": [{"state": "Over"}]}, rule])
    assert any(each.startswith(f"LF001 $.rules[1]{why}") for each in said(given)), said(given)
    rules = given[: given.index('"rules"')].count("\n") + 1
    assert all(one.place and one.place.line > rules for one in check_text(given, "desk.json").findings if one.code == "LF001")


def test_every_rule_that_can_be_declared_has_the_shape() -> None:
    opened: list[dict[str, object]] = [{}, {"after": Look}, {"after": Look, "until": Away}, {"between": (Look, Away)}]
    declared: list[Rule] = [Precedence((Look, "ok"), Look, before=peek)]
    for event in (Look, (Look, "ok"), peek, In("child", Look), In("child", (Look, "ok")), In("child", peek)):
        for scope in [*opened, {"before": Away}]:
            declared += [kind(event, Away, **cast("Any", scope)) for kind in (Absence, Existence)]
            declared += [Universality(Look, Away, **cast("Any", scope)), BoundedExistence(event, at_most=2, **cast("Any", scope))]
            declared.append(Response(event, to=Away, **cast("Any", scope)))
        declared += [Precedence(event, before=Away, **cast("Any", scope)) for scope in opened]
    rules = [rule.json() for rule in declared] + [rule for _, rule in SOUND_RULES]
    rules += [rule for _, rule, _ in BROKEN_RULES if rule["rule"] != "always"]
    rules += [rule for machine in MACHINES.values() for rule in machine.definition(MACHINES).rules]
    assert len(rules) > 150
    assert [found for found in said(changed("rules", to=cast("Json", rules))) if found.startswith("LF001")] == []


@pytest.mark.parametrize("ascii", [True, False])
def test_every_key_is_found_in_its_line_whatever_it_holds(ascii: bool) -> None:
    names = ['a"b', "{", "}],[", "\\", '\\"', "x: [", "é", "\u2028", "\n", ""]
    given = json.dumps({"states": {name: {"list": [{"on": 1}, {name: 2}]} for name in names}}, indent=1, ensure_ascii=ascii)
    lines, rows = Lines("desk.json", given), given.split("\n")
    for number, name in enumerate(names):
        begin = 3 + number * 10  # a state of this shape is ten lines long
        assert rows[begin - 1].strip() == json.dumps(name, ensure_ascii=ascii) + ": {"
        assert str(lines.at("states", name)) == f"desk.json:{begin}"
        assert str(lines.at("states", name, "list", 1)) == f"desk.json:{begin + 5}"
        assert str(lines.at("states", name, "list", 1, name, "deeper")) == f"desk.json:{begin + 6}"


def test_a_wrong_shape_points_to_its_line() -> None:
    given = changed("states", "Shorten", "times", to="three")
    (found,) = check_text(given, "desk.json").findings
    assert found.place is not None
    assert '"times": "three"' in given.splitlines()[found.place.line - 1]


def test_what_is_no_json_points_to_its_line() -> None:
    (found,) = check_text('{\n  "name": "desk",\n  oops\n}', "desk.json").findings
    assert str(found.place) == "desk.json:3"


def test_a_wrong_shape_does_not_hide_what_can_be_said_all_the_same() -> None:
    body = definition(
        Read=work(go="Gone", stop="Loop"), Loop=work(again="Loop"), Lost=end(), Odd={"kind": "odd", "edges": {"on": 5}}
    )
    found = said(text(body))
    for begin in (
        "LF001 $.states.Odd: lacks 'doc'",
        "LF001 $.states.Odd.kind: is 'odd'",
        "LF001 $.states.Odd.edges.on: is a number, not string",
        "LF102 'go' leads to 'Gone'",
        "LF103 is never reached",
        "LF105 Loop leads only to itself",
    ):
        assert any(one.startswith(begin) for one in found), (begin, found)


def test_a_state_without_a_kind_is_no_dead_end() -> None:
    assert [one[:5] for one in said(changed("states", "Over", "kind", drop=True))] == ["LF001"]


def test_what_is_wrong_everywhere_is_not_said_for_ever() -> None:
    strange = said(json.dumps({"states": {f"S{number}": number for number in range(5_000)}}))
    assert len(strange) < 2_100
    chain = {f"S{number}": work(go=f"S{number + 1}", other=f"Gone{number}") for number in range(3_000)}
    broken = said(text(definition(**chain, S3000=end())))
    assert [one[:5] for one in broken].count("LF102") == 1_000
    assert any(one.startswith("LF004 over 1,000 findings of one kind") for one in broken)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "Read", "Back", "work", "\n"]),
    lambda inside: (
        st.lists(inside, max_size=3) | st.dictionaries(st.sampled_from(["kind", "edges", "Read", "intent"]), inside, max_size=3)
    ),
    max_leaves=6,
)
PATHS = [
    (), ("name",), ("start",), ("memory",), ("states",), ("tools",), ("limits",), ("rules",), ("accepts",),
    *[("states", name) for name in cast("Object", BODY["states"])],
    ("states", "Think", "choices"), ("states", "Think", "texts"), ("states", "Think", "edges"), ("states", "Look", "tools"),
    ("states", "Think", "threshold"), ("states", "Shorten", "times"), ("limits", "steps"), ("limits", "exceeded"), ("tools", "read_a"),
    ("memory", "properties"), ("memory", "$defs"), ("states", "Think", "most"), ("tools", "read_a", "input"), ("tools", "read_a", "retries"),
]  # fmt: skip


@settings(max_examples=300, derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(PATHS), ANYTHING)
def test_anything_anywhere_gives_findings_and_no_traceback(path: tuple[str, ...], value: Json) -> None:
    given = changed(*path, to=value) if path else json.dumps(value)
    for one in check_text(given, "desk.json").findings:
        assert one.message
        assert one.place is not None
    if not misshapen(given, "desk.json"):
        pinned = Definition(canonical(json.loads(given)))
        for draw in (graph.mermaid, graph.dot, graph.html, graph.text):
            assert draw(pinned)


@pytest.mark.parametrize("drop", [("doc",), ("tools", "read_a", "doc")])
def test_what_the_schema_lets_one_leave_out_is_not_needed_to_draw(drop: tuple[str, ...]) -> None:
    given = changed(*drop, drop=True)
    assert said(given) == []
    assert "read_a" in graph.html(Definition(given))


@pytest.mark.parametrize("place", [("start",), ("limits", "exceeded")])
@pytest.mark.parametrize("name", ["Back", "Next"])
def test_a_start_or_a_limit_that_leads_back_is_drawn_as_missing(place: tuple[str, ...], name: str) -> None:
    given = changed(*place, to=name)
    assert any(f"{name!r}, which is no state" in one for one in said(given))
    pinned = Definition(given)
    assert [box.name for box in graph.drawing(pinned).boxes if box.missing] == [name]
    for draw in (graph.mermaid, graph.dot, graph.html, graph.text):
        assert name in draw(pinned)
