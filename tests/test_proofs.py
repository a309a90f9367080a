"""Rules that do not hold, each refuted by a shortest path; rules that do, on machines that look alike."""

from collections.abc import Mapping
from typing import cast

import pytest

from leverframe.canon import Object
from leverframe.check.model import Graph
from leverframe.check.proofs import findings, prove
from machines.refund import refund
from tests.sketch import sketch

ORDER = """
    Take work           | small: Ship, large: Check
    Check fetch look    | good: Buy, bad: Tell, error: Short
    Buy build charge    | ok: Ship, error: Once, unknown: Bought
    Bought fetch look   | happened: Ship, not_happened: Short, error: Short
    Ship build mail     | ok: Happy, error: Short, unknown: Sent
    Sent consult        | happened: Happy, not_happened: Short, expired: Tell
    Tell build book     | ok: Sorry, error: Short
    Short compact       | retry: Back, give_up: Person
    Once once           | retry: Back, give_up: Tell
    Person consult      | again: Take, handled: Happy, expired: Lost
    Happy end
    Sorry end
    Lost fail
"""
MAP = """
    Plan work           | some: Orders, none: Closed
    Orders delegate {}  | done: Closed, error: Short, expired: Closed
    Short compact       | retry: Back, give_up: Closed
    Closed end
"""
CHILD = """
    Ask ask charge      | charge: Sign, stop: Stop, error: Short
    Sign approve        | approved: Pay, rejected: Stop, expired: Stop
    Pay act charge      | ok: Good, error: Short, unknown: Paid
    Paid consult        | happened: Good, not_happened: Short, expired: Stop
    Short compact       | retry: Back, give_up: Stop
    Good end
    Stop fail
"""


def at(state: str, outcome: str = "", machine: str = "") -> Object:
    found: Object = {"state": state}
    return found | ({"outcome": outcome} if outcome else {}) | ({"machine": machine} if machine else {})


def does(tool: str, machine: str = "") -> Object:
    return {"tool": tool, **({"machine": machine} if machine else {})}


def rule(pattern: str, *events: Object, other: Object | None = None, at_most: int = 0, **scope: Object) -> Object:
    found: Object = {"rule": pattern, "events": list(events)}
    if other is not None:
        found["other"] = [other]
    if at_most:
        found["at_most"] = at_most
    if between := scope.pop("between", None):
        found["scope"] = {"after": [between["q"]], "until": [between["r"]], "closed": True}
    elif scope:
        found["scope"] = {name: [event] for name, event in scope.items()}
    return found


def between(q: Object, r: Object) -> Object:
    return {"q": q, "r": r}


ROWS = {
    "parent": MAP.format("child*"),
    "single": MAP.format("child"),
    "order": ORDER,
}


def graphs(table: str, rules: list[Object]) -> tuple[Graph, Mapping[str, Graph]]:
    others = {"child": Graph(sketch(CHILD, name="child"))}
    return Graph(sketch(ROWS[table], rules=rules, limits={"exceeded": "Person" if table == "order" else None})), others


def refuted(table: str, *rules: Object) -> list[str]:
    graph, others = graphs(table, list(rules))
    return [f"{each.code} {each.state}: {'; '.join(map(str, each.path))}" for each in findings(graph, others)]


STARTS = "Plan –some→ Orders; Orders –starts→ child.Ask"
CALL = "child.Ask –charge→ child.Sign; child.Sign –approved→ child.Pay"
GOOD = f"{CALL}; child.Pay –ok→ child.Good"

BROKEN: list[tuple[str, Object, str]] = [
    ("order", rule("absence", at("Tell")), "LF601 Tell: Take –large→ Check; Check –bad→ Tell"),
    ("order", rule("absence", at("Take")), "LF601 Take: "),
    ("order", rule("absence", does("charge")), "LF601 Buy: Take –large→ Check; Check –good→ Buy"),
    ("order", rule("absence", at("Buy", "unknown")), "LF601 Buy: Take –large→ Check; Check –good→ Buy; Buy –unknown→ Bought"),
    ("order", rule("absence", does("look")), "LF601 Check: Take –large→ Check"),
    (
        "order",
        rule("absence", at("Take"), after=at("Person")),
        "LF601 Take: Take –exceeded→ Person; Person –again→ Take",
    ),
    (
        "order",
        rule("absence", does("charge"), before=at("Happy")),
        "LF601 Happy: Take –large→ Check; Check –good→ Buy; Buy –ok→ Ship; Ship –ok→ Happy",
    ),
    (
        "order",
        rule("absence", at("Once"), between=between(at("Buy"), at("Tell"))),
        "LF601 Tell: Take –large→ Check; Check –good→ Buy; Buy –error→ Once; Once –give_up→ Tell",
    ),
    (
        "order",
        rule("absence", at("Once"), after=at("Buy"), until=at("Tell")),
        "LF601 Once: Take –large→ Check; Check –good→ Buy; Buy –error→ Once",
    ),
    ("order", rule("existence", does("mail")), "LF602 Happy: Take –exceeded→ Person; Person –handled→ Happy"),
    ("order", rule("existence", at("Happy")), "LF602 Lost: Take –exceeded→ Person; Person –expired→ Lost"),
    (
        "order",
        rule("existence", does("charge"), between=between(at("Take", "large"), at("Tell"))),
        "LF601 Tell: Take –large→ Check; Check –bad→ Tell",
    ),
    ("order", rule("universality", at("Take"), at("Ship"), at("Happy")), "LF601 Person: Take –exceeded→ Person"),
    (
        "order",
        rule("universality", at("Ship"), at("Happy"), at("Sent"), at("Short"), at("Person"), after=at("Buy", "ok")),
        "LF601 Take: Take –large→ Check; Check –good→ Buy; Buy –exceeded→ Person; Person –again→ Take",
    ),
    ("order", rule("precedence", at("Check"), other=at("Ship")), "LF601 Ship: Take –small→ Ship"),
    ("order", rule("precedence", does("charge"), other=does("mail")), "LF601 Ship: Take –small→ Ship"),
    (
        "order",
        rule("response", at("Happy"), other=at("Ship")),
        "LF602 Lost: Take –small→ Ship; Ship –exceeded→ Person; Person –expired→ Lost",
    ),
    (
        "order",
        rule("bounded_existence", does("mail"), at_most=1),
        "LF601 Ship: Take –small→ Ship; Ship –error→ Short; Short –retry→ Ship",
    ),
    (
        "order",
        rule("bounded_existence", does("charge"), at_most=1),
        "LF601 Buy: Take –large→ Check; Check –good→ Buy; Buy –unknown→ Bought; Bought –not_happened→ Short; Short –retry→ Buy",
    ),
    (
        "order",
        {"rule": "precedence", "first": [["Check", "good"]], "before": "charge"},
        "LF603 Buy: Take –large→ Check; Check –good→ Buy",
    ),
    ("order", rule("absence", at("Tel")), "LF604 None: "),
    ("order", rule("absence", at("Take", "big")), "LF604 None: "),
    ("order", rule("absence", does("chrage")), "LF604 None: "),
    ("order", rule("absence", at("Ask", machine="child")), "LF604 None: "),
    ("parent", rule("absence", at("Aks", machine="child")), "LF604 None: "),
    ("order", {"rule": "always", "events": []}, "LF604 None: "),
    ("order", rule("response", at("Happy"), other=does("browse")), "LF605 None: "),
    (
        "parent",
        rule("absence", at("Stop", machine="child")),
        f"LF601 child.Stop: {STARTS}; child.Ask –stop→ child.Stop",
    ),
    (
        "parent",
        rule("absence", does("charge", "child")),
        f"LF601 child.Pay: {STARTS}; {CALL}",
    ),
    (
        "parent",
        rule("bounded_existence", at("Sign", "approved", "child"), at_most=1),
        f"LF601 child.Sign: {STARTS}; meanwhile child.Sign –approved→ child.Pay; {CALL}",
    ),
    (
        "parent",
        rule("bounded_existence", at("Good", machine="child"), at_most=1),
        f"LF601 child.Good: {STARTS}; {CALL}; meanwhile child.Pay –ok→ child.Good; child.Pay –ok→ child.Good",
    ),
    (
        "single",
        rule("existence", at("Good", machine="child"), after=at("Plan", "some")),
        "LF602 Closed: Plan –some→ Orders; Orders –expired→ Closed",
    ),
    (
        "single",
        rule("response", at("Closed"), other=at("Sign", machine="child"), before=at("Short")),
        f"LF601 Short: {STARTS}; child.Ask –charge→ child.Sign; child.Sign –stops→ Orders; Orders –error→ Short",
    ),
]


@pytest.mark.parametrize(("table", "broken", "expected"), BROKEN, ids=range(len(BROKEN)))
def test_a_rule_that_does_not_hold_is_refuted_by_a_shortest_path(table: str, broken: Object, expected: str) -> None:
    assert refuted(table, broken) == [expected]


SOUND: list[tuple[str, Object]] = [
    ("order", rule("absence", at("Buy"), after=at("Once"), until=at("Person"))),
    ("order", rule("absence", at("Take"), after=at("Take"), until=at("Person"))),
    ("order", rule("existence", at("Happy"), at("Sorry"), at("Lost"))),
    ("order", rule("existence", at("Check", "good"), between=between(at("Take", "large"), at("Buy")))),
    ("order", rule("universality", at("Sorry"), at("Short"), at("Person"), at("Tell"), after=at("Tell"), until=at("Person"))),
    ("order", rule("precedence", at("Check", "good"), other=at("Buy"))),
    ("order", rule("precedence", does("look"), at("Check", "good"), other=does("charge"))),
    ("order", rule("response", at("Happy"), at("Sorry"), at("Lost"), other=does("charge"))),
    ("order", rule("bounded_existence", at("Tell", "ok"), at_most=1)),
    ("order", rule("bounded_existence", at("Once"), at_most=1, after=at("Take"), until=at("Take"))),
    ("parent", rule("precedence", at("Sign", "approved", "child"), other=does("charge", "child"))),
    ("parent", rule("precedence", at("Orders"), other=at("Ask", machine="child"))),
    ("parent", rule("absence", does("charge", "child"), after=at("Plan", "none"))),
    ("single", rule("bounded_existence", at("Good", machine="child"), at_most=1, after=at("Orders"), until=at("Orders"))),
    ("single", rule("existence", at("Good", machine="child"), between=between(at("Plan", "some"), at("Orders", "done")))),
    ("single", rule("response", at("Good", machine="child"), other=at("Pay", "ok", "child"))),
]


@pytest.mark.parametrize(("table", "sound"), SOUND, ids=range(len(SOUND)))
def test_a_rule_that_holds_is_proven(table: str, sound: Object) -> None:
    assert refuted(table, sound) == []
    (proof,) = prove(*graphs(table, [sound]))
    assert proof.proven
    assert proof.visited > 0


def test_the_rule_of_a_shipped_machine_is_proven_per_call() -> None:
    (proof,) = prove(Graph(refund.definition().body), {})
    assert (proof.proven, proof.vacuous, proof.path) == (True, False, ())
    assert proof.words == "each call of issue_refund is executed only after Release: approved or Limit: small, since it was made"


def test_a_second_call_is_not_let_through_by_the_release_of_the_first() -> None:
    table = """
        Think ask charge | charge: Limit, stop: Done, error: Short
        Limit work       | first: Sign, later: Pay
        Sign approve     | approved: Pay, rejected: Think, expired: Done
        Pay act charge   | ok: Think, error: Short, unknown: Paid
        Paid consult     | happened: Think, not_happened: Short, expired: Done
        Short compact    | retry: Back, give_up: Done
        Done end
    """
    per_call: Object = {"rule": "precedence", "first": [["Sign", "approved"]], "before": "charge"}
    (finding,) = findings(Graph(sketch(table, tools="charge keyed", rules=[per_call])), {})
    assert (finding.code, " ".join(map(str, finding.path))) == ("LF603", "Think –charge→ Limit Limit –later→ Pay")
    assert finding.message.endswith("does not hold: Pay can execute charge")


def test_an_edit_makes_another_call_that_went_through_nothing_yet() -> None:
    table = """
        Think ask charge | charge: First, error: Short
        First approve    | approved: Second, rejected: Done, expired: Done
        Second approve   | approved: Pay, rejected: Done, expired: Done
        Pay act charge   | ok: Done, error: Short, unknown: Paid
        Paid consult     | happened: Done, not_happened: Short, expired: Done
        Short compact    | retry: Back, give_up: Done
        Done end
    """
    first: Object = {"rule": "precedence", "first": [["First", "approved"]], "before": "charge"}
    (finding,) = findings(Graph(sketch(table, rules=[first])), {})
    assert [hop.outcome for hop in finding.path] == ["charge", "approved", "edited", "approved"]


def test_a_map_may_run_nothing_and_a_single_child_surely_runs() -> None:
    asked = rule("existence", at("Ask", machine="child"), between=between(at("Plan", "some"), at("Orders", "done")))
    assert refuted("single", asked) == []
    assert refuted("parent", asked) == ["LF601 Orders: Plan –some→ Orders; Orders –done→ Closed"]


# ── runs that come at the same time ──────────────────────────────────────────────────────────────────────────────────────────

DUO = """
    Fork work  | left: P, right: B
    P work     | go: C
    C work     | go: Good
    B work     | go: Good
    Good end
"""
NESTED = (
    "Run delegate duo | done: Over, error: Short, expired: Lost\nShort compact | retry: Back, give_up: Lost\nOver end\nLost fail"
)


def crowd(rule: Object, *, of: str = "duo", at_once: int = 10) -> list[str]:
    """What is found of a map over `duo`, or over a machine that delegates to it."""
    others = {"duo": Graph(sketch(DUO, name="duo")), "nested": Graph(sketch(NESTED, name="nested"))}
    body = sketch(MAP.format(f"{of}*"), rules=[rule])
    orders = cast("dict[str, Object]", body["states"])["Orders"]
    orders |= {"concurrency": at_once, "edges": {"done": "Closed", "error": "Closed", "expired": "Closed"}}
    return [f"{each.code} {each.state}: {'; '.join(map(str, each.path))}" for each in findings(Graph(body), others)]


def within(machine: str, state: str) -> Object:
    return at(state, machine=machine)


ONLY_TOGETHER = rule("absence", within("duo", "C"), between=between(within("duo", "B"), within("duo", "P")))
"""In one run C comes right after P; that B comes between them takes two, and a third for the P that closes."""


def test_what_only_runs_at_the_same_time_can_break_is_refuted_and_not_where_they_come_one_by_one() -> None:
    (found,) = crowd(ONLY_TOGETHER)
    assert found.startswith("LF601 duo.P: Plan –some→ Orders; ")
    assert "meanwhile " in found
    assert crowd(ONLY_TOGETHER, at_once=1) == []


def test_runs_at_the_same_time_are_seen_however_deep_they_are() -> None:
    (found,) = crowd(ONLY_TOGETHER, of="nested")
    assert found.startswith("LF601 duo.P: Plan –some→ Orders; ")
    assert crowd(ONLY_TOGETHER, of="nested", at_once=1) == ["LF606 Orders: "], (
        "a run inside is cut off only after some steps more"
    )


@pytest.mark.parametrize(
    ("of", "sound"),
    [
        ("duo", rule("precedence", within("duo", "P"), other=within("duo", "C"))),
        (
            "duo",
            rule("response", within("duo", "Good"), other=within("duo", "C"), between=between(at("Plan"), at("Orders", "done"))),
        ),
        ("duo", rule("precedence", at("Orders"), other=within("duo", "Good"))),
        ("nested", rule("precedence", at("Orders"), other=within("duo", "Good"))),
        ("nested", rule("absence", within("duo", "P"), after=at("Orders", "done"))),
    ],
    ids=range(5),
)
def test_what_runs_at_the_same_time_cannot_break_is_proven(of: str, sound: Object) -> None:
    assert crowd(sound, of=of) == []


def test_counting_what_many_runs_do_ends(  # each of twenty walks learns one number more, then anything is taken for possible
) -> None:
    (found,) = crowd(rule("bounded_existence", within("duo", "Good"), at_most=500))
    assert found.startswith("LF601 duo.Good: ")


def test_an_end_of_one_run_that_leaves_a_rule_open_hides_nothing_of_what_comes_later_in_others() -> None:
    child = """
        First work  | quick: Fail, slow: Second
        Second work | go: Third
        Third work  | go: Good
        Good end
        Fail fail
    """
    table = """
        Take work            | go: Run
        Run delegate child   | done: Closed, error: Short, expired: Told
        Short compact        | retry: Told, give_up: Told
        Told work            | go: Closed
        Closed end
    """
    told = rule("response", at("Told"), other=at("Take", "go"))
    inside: Object = {**told, "events": [at("Told"), within("child", "Nobody")]}
    others = {"child": Graph(sketch(child + "Nobody work | go: Good", name="child"))}
    (found,) = findings(Graph(sketch(table, rules=[inside])), others)
    assert (found.code, found.state, found.path[-1].outcome) == ("LF602", "Closed", "done")


def test_a_step_that_is_finished_after_its_run_was_cut_off_is_not_forgotten() -> None:
    table = """
        Run delegate duo  | done: Closed, error: Closed, expired: Late
        Late work         | go: Closed
        Closed end
    """
    others = {"duo": Graph(sketch(DUO, name="duo"))}

    def judged(stated: Object) -> list[str]:
        return [f"{each.code} {each.state}" for each in findings(Graph(sketch(table, rules=[stated])), others)]

    assert judged(rule("absence", within("duo", "C"), after=at("Run", "expired"))) == ["LF606 Run"]
    assert judged(rule("absence", within("duo", "C"), after=at("Run", "done"))) == []
    assert judged(rule("absence", within("duo", "Nobody"), after=at("Run", "expired"))) == ["LF604 None"]
    assert judged(rule("response", at("Late"), other=within("duo", "C"), after=at("Run", "expired"))) == ["LF606 Run"]
    assert judged(rule("bounded_existence", within("duo", "C"), at_most=1)) == []
    assert judged(rule("precedence", within("duo", "P"), other=within("duo", "C"))) == []


def test_what_a_machine_does_that_nobody_gave_is_not_proven_and_is_no_error() -> None:
    body = sketch(MAP.format("child*"), rules=[rule("absence", at("Stop", machine="child")), rule("existence", at("Closed"))])
    about, own = prove(Graph(body), {})
    assert (about.proven, about.open) == (False, "what child does is not known")
    assert own.proven
    (found,) = findings(Graph(body), {})
    assert (found.code, found.level) == ("LF606", "warning")
    assert found.message.endswith("could not be proven: what child does is not known")


def test_a_machine_that_contains_itself_proves_nothing() -> None:
    body = sketch(MAP.format("sketch*"), rules=[rule("absence", at("Closed", machine="sketch"))])
    (proof,) = prove(Graph(body), {"sketch": Graph(body)})
    assert (proof.proven, proof.open) == (False, "what sketch does is not known")
