"""Small machines whose calls go astray, each with the finding and the shortest way to it; and sound ones that look like them."""

import pytest

from leverframe.check.calls import PendingCall, findings, pending
from leverframe.check.model import Graph
from machines.refund import refund
from tests.sketch import TOOLS, sketch

REST = """
    Paid consult     | happened: Done, not_happened: Short, expired: Lost
    Short compact    | retry: Back, give_up: Lost
    Done end
    Lost fail
"""
DESK = """
    Think ask charge | charge: Sign, stop: Done, error: Short
    Sign approve     | approved: Pay, rejected: Think, expired: Lost
    Pay act charge   | ok: Done, error: Short, unknown: Paid
"""


def found(table: str, *, tools: str = TOOLS, exceeded: str | None = None) -> list[str]:
    """`LF301 Pay: Think –charge→ Pay` for each finding."""
    graph = Graph(sketch(table + REST, tools=tools, limits={"exceeded": exceeded}))
    return [f"{each.code} {each.state}: {'; '.join(map(str, each.path))}" for each in findings(graph, {})]


def changed(*pairs: str) -> str:
    table = DESK
    for pair in pairs:
        old, new = pair.split(" => ")
        assert old in table
        table = table.replace(old, new)
    return table


BROKEN = {
    "no approval at all": (changed("charge: Sign => charge: Pay"), ["LF301 Pay: Think –charge→ Pay"]),
    "a small one passes by": (
        changed("charge: Sign => charge: Small") + "    Small work | small: Pay, large: Sign\n",
        ["LF301 Pay: Think –charge→ Small; Small –small→ Pay"],
    ),
    "an expired approval leads on": (
        changed("expired: Lost => expired: Pay"),
        ["LF303 Pay: Think –charge→ Sign; Sign –expired→ Pay"],
    ),
    "a rejected call is gone, and the Act comes all the same": (
        changed("rejected: Think => rejected: Pay"),
        ["LF303 Pay: Think –charge→ Sign; Sign –rejected→ Pay"],
    ),
    "approved, and then asked again in the same breath": (
        changed("approved: Pay => approved: Again") + "    Again ask charge | charge: Pay, error: Short\n",
        ["LF301 Pay: Think –charge→ Sign; Sign –approved→ Again; Again –charge→ Pay", "LF307 Think: "],
    ),
    "the second person edits what the first approved, and a Work calls that approved": (
        changed("approved: Pay => approved: Check") + "    Check work | approved: Pay, no: Second\n"
        "    Second approve | approved: Pay, rejected: Think, expired: Last\n    Last work | x: Pay\n",
        ["LF303 Pay: Think –charge→ Sign; Sign –approved→ Check; Check –no→ Second; Second –expired→ Last; Last –x→ Pay"],
    ),
    "a limit leads past the approval": (
        changed("charge: Sign => charge: Wait") + "    Wait wait | rung: Sign, expired: Sign\n    Past work | on: Pay\n",
        ["LF301 Pay: Think –exceeded→ Past; Past –on→ Pay", "LF303 Pay: Think –exceeded→ Past; Past –on→ Pay"],
    ),
    "an Act builds what needs an approval": (
        "    Read work | x: Build\n    Build build charge | ok: Done, error: Short, unknown: Paid\n",
        ["LF302 Build: Read –x→ Build"],
    ),
    "a Fetch runs what needs an approval": (
        "    Read fetch secret | ok: Done, error: Short\n",
        ["LF302 Read: "],
    ),
    "an Act without a call": (
        "    Read work | x: Pay, y: Think\n" + DESK,
        ["LF303 Pay: Read –x→ Pay"],
    ),
    "a Consult in between voids the call": (
        changed("approved: Pay => approved: Ask") + "    Ask consult | go: Pay, expired: Lost\n",
        ["LF303 Pay: Think –charge→ Sign; Sign –approved→ Ask; Ask –go→ Pay", "LF307 Think: "],
    ),
    "an Act of a read tool without a call": (
        "    Read work | x: Slip\n    Slip act look | ok: Done, error: Short\n",
        ["LF303 Slip: Read –x→ Slip"],
    ),
    "an Act with a call it does not run": (
        DESK.replace("Think ask charge | charge: Sign, stop: Done", "Think ask charge book | charge: Sign, book: Sign"),
        ["LF304 Pay: Think –book→ Sign; Sign –approved→ Pay", "LF307 Think: "],
    ),
    "a call is pending where an Act makes another": (
        changed("approved: Pay => approved: Note") + "    Note build book | ok: Pay, error: Short\n",
        [
            "LF303 Pay: Think –charge→ Sign; Sign –approved→ Note; Note –ok→ Pay",
            "LF305 Note: Think –charge→ Sign; Sign –approved→ Note",
            "LF307 Think: ",
        ],
    ),
    "an Approve with nothing to approve": (
        changed("stop: Done => stop: Sign"),
        ["LF306 Sign: Think –stop→ Sign", "LF303 Pay: Think –stop→ Sign; Sign –approved→ Pay"],
    ),
    "a call that nobody executes": (
        changed("charge: Sign => charge: Done"),
        ["LF307 Think: "],
    ),
    "finding out about nothing": (
        changed("stop: Done => stop: Paid"),
        ["LF308 Paid: Think –stop→ Paid"],
    ),
    "another Ask's call comes without the approval": (
        changed("rejected: Think => rejected: Other") + "    Other ask charge | charge: Pay, error: Short\n",
        ["LF301 Pay: Think –charge→ Sign; Sign –rejected→ Other; Other –charge→ Pay"],
    ),
    "an approval of a call that a Delegate outlives is kept, one that is made anew is not": (
        changed("approved: Pay => approved: Child")
        + "    Child delegate child | done: Pay, error: Short, expired: Anew\n    Anew ask charge | charge: Pay, error: Short\n",
        ["LF301 Pay: Think –charge→ Sign; Sign –approved→ Child; Child –expired→ Anew; Anew –charge→ Pay"],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_call_that_goes_astray_is_found_with_the_shortest_way_to_it(name: str) -> None:
    table, expected = BROKEN[name]
    exceeded = "Past" if "exceeded" in "".join(expected) else None
    assert found(table, tools=TOOLS + ", secret read!", exceeded=exceeded) == expected


SOUND = {
    "released": DESK,
    "kept through Work, Wait, Delegate and Fetch": changed("approved: Pay => approved: A")
    + "    A work | x: B\n    B wait | expired: C\n    C delegate child | done: D, error: Short, expired: D\n"
    "    D fetch look | ok: Pay, error: Short\n",
    "small ones have a tool of their own": "    Think ask charge book | charge: Sign, book: Book, error: Short\n"
    "    Book act book | ok: Done, error: Short\n" + DESK.split("\n", 2)[2],
    "after a retry it is asked and released again": changed("ok: Done => ok: Think"),
    "two people, and either may edit": changed("approved: Pay => approved: Second")
    + "    Second approve | approved: Pay, rejected: Think, expired: Lost\n",
    "one Act runs the calls of two Asks": changed("rejected: Think => rejected: Other")
    + "    Other ask charge | charge: Sign, error: Short\n",
    "an Act that builds what needs nobody": "    Read work | x: Build\n    Build build mail | ok: Done, error: Short, unknown: Paid\n",
    "the limit leads to a person": changed(),
    "a doubt is settled after its look-up failed": "    Build build mail | ok: Done, error: Short, unknown: Seek\n"
    "    Seek fetch look | happened: Done, not_happened: Short, error: Short\n",
    "what was executed leads to the next choice": changed("ok: Done => ok: Note")
    + "    Note build book | ok: Think, error: Short\n",
}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_machine_has_no_finding(name: str) -> None:
    assert found(SOUND[name], exceeded="Lost" if "limit" in name else None) == []


def test_the_calls_that_can_be_pending_are_known_for_each_state() -> None:
    calls = pending(Graph(refund.definition().body))
    assert calls == {
        "Limit": (PendingCall("Triage", "issue_refund", approved=False, open=True),),
        "Release": (PendingCall("Triage", "issue_refund", approved=False, open=True),),
        "Recheck": (PendingCall("Triage", "issue_refund", approved=True, open=False),),
        "Pay": (PendingCall("Triage", "issue_refund", approved=True, open=True),),
    }


def test_what_is_found_says_what_is_wrong_and_what_to_do() -> None:
    (finding,) = findings(Graph(sketch(changed("charge: Sign => charge: Pay") + REST)), {})
    assert finding.message == "machine sketch: Pay can execute charge, which needs an approval, without one of exactly that call"
    assert finding.remedy.startswith("lead the call through an Approve that ends in 'approved'")
    assert (finding.level, finding.state, finding.outcome) == ("error", "Pay", None)


def test_edges_to_states_that_do_not_exist_lead_nowhere() -> None:
    assert found(changed("stop: Done => stop: Nowhere", "approved: Pay => approved: Pya")) == ["LF307 Think: "]
