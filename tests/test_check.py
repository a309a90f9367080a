"""Machines that are broken, each in one way, and sound ones that look like them: the check names the one and is silent on the other."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import pytest

from benchmarks.review import machine
from leverframe.canon import Json, Object, canonical
from leverframe.check import Report, check, check_text
from leverframe.check.codes import CODES
from leverframe.machine import Definition
from tests import repository
from tests.definitions import (
    OTHER,
    PROMPT,
    act,
    approve,
    ask,
    compact,
    consult,
    definition,
    delegate,
    end,
    fetch,
    limited,
    text,
    wait,
    work,
)

DOWN = {"Shorten": compact(retry="Back", give_up="Over"), "Over": end()}
"""Where errors go, and the end."""


@dataclass(frozen=True)
class Broken:
    """A definition, and the one thing that is wrong with it: code, state and outcome; a word of the message; the path to it."""

    body: Object
    code: str
    state: str | None = None
    outcome: str | None = None
    says: str = ""
    path: Sequence[str] = ()
    line: str | None = None  # the key that stands in the line it points to; by default the outcome, else the state
    also: Sequence[str] = ()  # codes that follow from it


def changed(body: Object, *path: str, to: Json) -> Object:
    copy = cast("Object", json.loads(json.dumps(body)))
    place = copy
    for key in path[:-1]:
        place = cast("Object", place[key])
    place[path[-1]] = to
    return copy


def by(field: str, default: str | None = None, **prompts: str) -> Object:
    """ASKS, with its prompt chosen by a field; there is only a text of desk/a."""
    body = changed(
        ASKS,
        "memory",
        to={
            "type": "object",
            "properties": {"text": {"type": "string"}, "shop": {"anyOf": [{"$ref": "#/$defs/Shop"}, {"type": "null"}]}},
            "$defs": {"Shop": {"enum": ["electronics", "apparel"]}},
        },
    )
    think = cast("Object", cast("Object", body["states"])["Think"])
    think.pop("prompt")
    think["prompt_by"] = {"field": field, "prompts": cast("Json", prompts), "default": default}
    think["texts"] = {"desk/a": PROMPT}
    return body


PLAIN = definition(Read=work(go="Over"), Over=end())
ASKS = definition(Read=work(go="Think"), Think=ask("go", go="Over", error="Shorten"), **DOWN)
SETTLED = {"Sent": fetch("read_mail", happened="Over", not_happened="Shorten", error="Shorten"), **DOWN}
SENDS = definition(Send=act("once_mail", ok="Over", error="Shorten", unknown="Sent"), **SETTLED)

BROKEN = {
    # references
    "a start that is misspelled": Broken(
        changed(PLAIN, "start", to="Raed"), "LF101", says="starts in 'Raed', which is no state. Did you mean 'Read'?", line="leverframe"
    ),
    "an edge to a state that is misspelled": Broken(
        definition(Read=work(go="Then"), Then=work(go="Ovr", stop="Over"), Over=end()),
        "LF102", "Then", "go", "'go' leads to 'Ovr', which is no state. Did you mean 'Over'?", ["Read –go→ Then"],
    ),
    "limits that lead nowhere": Broken(
        changed(PLAIN, "limits", "exceeded", to="Nobody"), "LF102", None, "exceeded", "limits lead to 'Nobody'",
    ),
    "an edge to nowhere from the start has no path": Broken(
        definition(Read=work(go="Gone", stop="Over"), Over=end()), "LF102", "Read", "go",
    ),
    "a tool that is not there": Broken(
        definition(Read=fetch("missing", ok="Over", error="Shorten"), **DOWN), "LF115", "Read", says="names the tool 'missing'"
    ),
    # ways
    "a state that nothing leads to": Broken(
        definition(Read=work(go="Over"), Lost=work(go="Over"), Over=end()), "LF103", "Lost", says="no edge leads here",
    ),
    "a state that only leads to itself": Broken(
        definition(Read=work(go="Over"), Lost=work(again="Lost", go="Over"), Over=end()), "LF103", "Lost", says="no edge leads here"
    ),
    "an end that only a lost state leads to": Broken(
        definition(Read=work(go="Over"), Lost=work(go="Late"), Late=end(), Over=end()), "LF103", "Late",
        says="only Lost leads here, which is never reached either", also=["LF103"],
    ),
    "a dead end": Broken(
        definition(Read=work(go="Then", stop="Over"), Then=work(), Over=end()),
        "LF104", "Then", says="a dead end: no work ends a run", path=["Read –go→ Then"],
    ),
    "a dead end stays one where a limit leads on, for nothing leaves it": Broken(
        limited("Over", Read=work(go="Then", stop="Over"), Then=work(), Over=end()), "LF104", "Then", path=["Read –go→ Then"]
    ),
    "a state that leads only to itself": Broken(
        definition(Read=work(go="Then", stop="Over"), Then=work(again="Then"), Over=end()),
        "LF105", "Then", says="Then leads only to itself; no End", path=["Read –go→ Then"],
    ),
    "a trap of three states, found by its nearest": Broken(
        definition(
            Read=work(go="Door", stop="Over"), Door=work(go="B"), A=work(go="B"), B=work(go="C"), C=work(go="A"), Over=end(),
        ),
        "LF105", "B", says="B, C and A lead only to each other", path=["Read –go→ Door", "Door –go→ B"],
    ),
    "no end at all": Broken(definition(A=work(go="B"), B=work(go="A")), "LF105", "A", says="A and B lead only to each other"),
    "two traps": Broken(
        definition(Read=work(left="L", right="R", stop="Over"), L=work(go="L"), R=work(go="R"), Over=end()),
        "LF105", "R", says="R leads only to itself", path=["Read –right→ R"], also=["LF105"],
    ),
    "a loop that only a limit ends": Broken(
        limited("Over", Read=work(go="Wait", stop="Over"), Wait=wait("again", again="Wait", expired="Wait"), Over=end()),
        "LF106", "Wait", says="only a limit ends that, by 'exceeded' to Over", path=["Read –go→ Wait"],
    ),
    "a limit that leads into the trap is no way out": Broken(
        limited("A", Read=work(go="A", stop="Over"), A=work(go="B"), B=work(go="A"), Over=end()), "LF105", "A", path=["Read –go→ A"]
    ),
    # outcomes
    "an approval that cannot be rejected": Broken(
        definition(Ask=approve(approved="Over", expired="Over"), Over=end()), "LF107", "Ask", says="can end in 'rejected'", also=["LF306"]
    ),
    "an unsure answer that leads nowhere": Broken(
        changed(ASKS, "states", "Think", "threshold", to=0.7), "LF107", "Think", says="'unsure'", path=["Read –go→ Think"],
    ),
    "a fetch that only fails": Broken(
        definition(Read=fetch("read_order", error="Shorten"), **DOWN), "LF107", "Read", says="an edge for 'error' only"
    ),
    "an outcome that an approval does not have": Broken(
        definition(Ask=approve(approved="Over", rejected="Over", expired="Over", aproved="Over"), Over=end()),
        "LF108", "Ask", "aproved", "Did you mean 'approved'?", also=["LF306"],
    ),
    "an end with an edge": Broken(
        changed(PLAIN, "states", "Over", "edges", to={"again": "Read"}), "LF108", "Over", "again", "an End has no edges",
    ),
    "an unknown of a call that only reads": Broken(
        definition(Look=act("read_mail", ok="Over", error="Shorten", unknown="Sent"), **SETTLED),
        "LF108", "Look", "unknown", "never ends in 'unknown'"
    ),
    "a reply without an edge": Broken(
        definition(Read=work(go="Think"), Think=ask("go", "stop", go="Over", error="Shorten"), **DOWN),
        "LF109", "Think", says="'stop' can be picked and has no edge", path=["Read –go→ Think"],
    ),
    "an event without an edge": Broken(definition(Wait=wait("paid", expired="Over"), Over=end()), "LF109", "Wait", says="'paid'"),
    # names
    "a reply twice": Broken(
        definition(Think=ask("go", "go", go="Over", error="Shorten"), **DOWN), "LF110", "Think", says="has the choice 'go' 2 times"
    ),
    "a tool twice": Broken(
        definition(Read=fetch("read_a", "read_a", ok="Over", error="Shorten"), **DOWN), "LF110", "Read", says="the tool 'read_a' 2 times"
    ),
    "a state called Back": Broken(
        definition(Read=work(go="Over", on="Back"), Back=work(go="Over"), Over=end()), "LF118", "Back", says="the history pseudo-state",
        also=["LF103", "LF206"],
    ),
    "a name of another kind": Broken(
        definition(Read=work(**{"go\u202e": "Over"}), Over=end()), "LF118", "Read", "go\u202e", "not every drawing",
    ),
    "an outcome that limits have": Broken(
        definition(Read=work(exceeded="Over", go="Over"), Over=end()), "LF118", "Read", "exceeded", "that is what limits do",
    ),
    # prompts
    "a prompt without a text": Broken(
        changed(ASKS, "states", "Think", "texts", to={}), "LF111", "Think", says="desk/think has no text",
    ),
    "a variable that memory does not have": Broken(
        changed(ASKS, "states", "Think", "texts", to={"b": "# user\n\nHello {{ txt }}\n"}),
        "LF113", "Think", says="prompts/desk/think.b.md: uses 'txt', which is not one of choices, memory, text, window. Did you mean 'text'?",
    ),
    "an example of a reply that cannot be picked": Broken(
        changed(ASKS, "states", "Think", "texts", to={"": f"---\notherwise: {{intent: sotp}}\n---\n{PROMPT}"}),
        "LF113", "Think", says="an example replies 'sotp', which is not one of go",
    ),
    "a prompt that cannot be read": Broken(
        changed(ASKS, "states", "Think", "texts", to={"": "# usr\nHello\n"}), "LF114", "Think", says="Did you mean '# user'?"
    ),
    "a partial that is not pinned": Broken(
        changed(ASKS, "states", "Think", "texts", to={"": "# user\n{% include 'desk/_tone.md' %}\n"}), "LF114", "Think",
        says="prompts/desk/think.md: includes 'desk/_tone.md', which is not one of (nothing)",
    ),
    "a variable of a partial": Broken(
        changed(
            changed(ASKS, "states", "Think", "partials", to={"desk/_tone.md": "\n{{ txt }}"}),
            "states", "Think", "texts", to={"": "# user\n{% include 'desk/_tone.md' %}\n"},
        ),
        "LF113", "Think", says="prompts/desk/_tone.md: uses 'txt', which is not one of",
    ),
    # the prompt chosen by a field
    "a prompt by no field": Broken(by("shp", a="desk/a", default="desk/a"), "LF121", "Think",
        says="no field of the memory. Did you mean 'shop'?"),
    "a prompt for a value that never is": Broken(
        by("shop", electronics="desk/a", apparel="desk/a", toys="desk/a", default="desk/a"), "LF121", "Think",
        says="a prompt for shop 'toys', which it never is; it is 'electronics' or 'apparel'",
    ),
    "a value without a prompt": Broken(by("shop", electronics="desk/a"), "LF121", "Think", says="no prompt where shop is 'apparel' or null"),
    "values that nobody knows": Broken(by("text", a="desk/a"), "LF122", "Think", says="which may be any, and none for the others"),
    "a choice without a text": Broken(by("text", a="desk/a", b="desk/b", default="desk/a"), "LF111", "Think", says="desk/b has no text"),
    # acts
    "an act that runs nothing": Broken(definition(Send=act(ok="Over", error="Shorten"), **DOWN), "LF117", "Send"),
    # the card
    "a prompt outside of an ask": Broken(
        changed(PLAIN, "states", "Read", "prompt", to="desk/think"), "LF201", "Read", says="is of kind work and has prompt: only an Ask"
    ),
    "a tool picked by a person": Broken(
        changed(
            definition(Ask=consult("read_a", read_a="Over", expired="Over"), Over=end(), Look=fetch("read_a", ok="Over", error="Over")),
            "states", "Ask", "choices", to=[{"intent": "read_a", "kind": "tool"}],
        ),
        "LF201", "Ask", says="the choice of a tool, 'read_a'", also=["LF103", "LF202"],
    ),
    "an error that goes on": Broken(
        definition(Read=work(go="Look"), Look=fetch("read_a", ok="Over", error="Over"), Over=end()),
        "LF202", "Look", "error", "'error' leads to Over, an end: nobody counts", ["Read –go→ Look", "Look –error→ Over"],
    ),
    "a delegate to a machine that nobody gave": Broken(
        definition(Give=delegate("nobody", done="Over", error="Shorten", expired="Over"), **DOWN), "LF120", "Give",
        says="delegates to 'nobody', which was not given: what its runs do,",
    ),
    "a delegate to another definition than was given": Broken(
        definition(Give=delegate("other", pinned="ab" * 32, done="Over", error="Shorten", expired="Over"), **DOWN), "LF120", "Give",
        says=f"delegates to 'other' as abababababab, and {OTHER.hash[:12]} was given",
    ),
    "a delegate to itself": Broken(
        definition(Give=delegate("desk", done="Over", error="Shorten", expired="Over"), **DOWN), "LF116", "Give",
        says="no run can be pinned to a machine that contains itself",
    ),
    "an error that leads nowhere": Broken(
        definition(Look=fetch("read_a", ok="Over"), Over=end()), "LF202", "Look", says="can end in 'error'",
    ),
    "a delegate's error that goes on": Broken(
        definition(Give=delegate(done="Over", error="Over", expired="Over"), Over=end()), "LF202", "Give", "error", path=["Give –error→ Over"]
    ),
    "a compact that never gives up": Broken(
        definition(Look=fetch("read_a", ok="Over", error="Shorten"), Shorten=compact(times=0, retry="Back", give_up="Over"), Over=end()),
        "LF203", "Shorten", says="counts to 0",
    ),
    "a retry that is an end": Broken(
        definition(Look=fetch("read_a", ok="Over", error="Shorten"), Shorten=compact(retry="Over", give_up="Over"), Over=end()),
        "LF204", "Shorten", "retry", "'retry' leads to Over, an end", ["Look –error→ Shorten", "Shorten –retry→ Over"],
    ),
    "two compacts that retry each other": Broken(
        definition(
            Look=fetch("read_a", ok="Over", error="One"),
            One=compact(retry="Two", give_up="Over"), Two=compact(retry="Back", give_up="Over"), Over=end(),
        ),
        "LF204", "One", "retry", "leads to Two, a compact",
    ),
    "a compact without a retry": Broken(
        definition(Look=fetch("read_a", ok="Over", error="Shorten"), Shorten=compact(give_up="Over"), Over=end()), "LF204", "Shorten"
    ),
    "giving up that tries again": Broken(
        definition(
            Look=fetch("read_a", ok="Over", error="Shorten"), Shorten=compact(retry="Back", give_up="More"), More=work(go="Shorten"), Over=end()
        ),
        "LF205", "Shorten", "give_up", "neither an End nor a person can be reached without a retry",
        ["Look –error→ Shorten", "Shorten –give_up→ More"],
    ),
    "a compact that cannot give up": Broken(
        definition(Look=fetch("read_a", ok="Over", error="Shorten"), Shorten=compact(retry="Back"), Over=end()), "LF205", "Shorten"
    ),
    "Back from a state that is no compact": Broken(
        definition(Read=work(go="Over", again="Back"), Over=end()), "LF206", "Read", "again", "'again' leads Back"
    ),
    "an approval without a deadline": Broken(
        definition(Ask=approve(deadline=0, approved="Over", rejected="Over", expired="Over"), Over=end()), "LF207", "Ask", also=["LF306"]
    ),
    "a question that never expires": Broken(definition(Ask=consult("yes", yes="Over"), Over=end()), "LF208", "Ask"),
    "a question to nobody": Broken(definition(Ask=consult("yes", to="", yes="Over", expired="Over"), Over=end()), "LF209", "Ask"),
    "a loop without a limit": Broken(
        changed(definition(Read=work(go="A"), A=work(go="B", stop="Over"), B=work(go="A"), Over=end()), "limits", "steps", to=None),
        "LF210", "A", says="the loop A → B → A may go on for ever", path=["Read –go→ A", "A –go→ B", "B –go→ A"],
        also=["LF501"],
    ),
    "steps without a limit": Broken(
        changed(PLAIN, "limits", "steps", to=None), "LF210", says="steps are not limited", line="leverframe",
    ),
    "a once call that may end unknown": Broken(
        definition(Send=act("once_mail", ok="Over", error="Shorten"), **DOWN), "LF211", "Send", says="a call of once_mail may end as unknown"
    ),
    "a keyed call beside one that reads": Broken(
        definition(Send=act("read_a", "keyed_pay", ok="Over", error="Shorten"), **DOWN), "LF211", "Send", says="a call of keyed_pay may"
    ),
    "an unknown that is over": Broken(
        definition(Send=act("once_mail", ok="Over", error="Shorten", unknown="Over"), **DOWN),
        "LF212", "Send", "unknown", "leads to Over, which is an end", ["Send –unknown→ Over"], also=["LF308"],
    ),
    "an unknown that leads to a fetch that cannot tell": Broken(
        definition(
            Send=act("once_mail", ok="Over", error="Shorten", unknown="Sent"),
            Sent=fetch("read_mail", happened="Over", error="Shorten"), **DOWN,
        ),
        "LF212", "Send", "unknown", "which has no outcome 'not_happened'",
    ),
    "what did not happen, and is not counted": Broken(
        changed(SENDS, "states", "Sent", "edges", "not_happened", to="Send"),
        "LF213", "Sent", "not_happened", "leads to Send, an act", ["Send –unknown→ Sent", "Sent –not_happened→ Send"],
    ),
    "a limit that leads to a compact": Broken(changed(SENDS, "limits", "exceeded", to="Shorten"), "LF214", None, "exceeded"),
    "a tool that is a stub": Broken(
        changed(definition(Send=act("read_it", ok="Over", error="Shorten"), **DOWN), "tools", "read_it", "doc", to="TODO: say it."),
        "LF119", says="tool read_it is a stub", line="leverframe",
    ),
    "a state that is a stub": Broken(changed(PLAIN, "states", "Read", "doc", to="Reads. TODO: code."), "LF119", "Read"),
    "a prompt that is a stub": Broken(
        changed(ASKS, "states", "Think", "texts", to={"": "# user\n\nTODO: words"}), "LF119", "Think", says="its prompt is a stub"
    ),
    "a fetch that sends": Broken(
        definition(Send=fetch("once_mail", ok="Over", error="Shorten"), **DOWN), "LF216", "Send", says="fetches with once_mail, which is 'once'"
    ),
}  # fmt: skip


def review(body: Object) -> Report:
    return check_text(text(body), "desk.json", others={OTHER.name: OTHER})


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_found_with_its_place_and_the_way_to_it(name: str) -> None:
    broken = BROKEN[name]
    report = review(broken.body)
    fitting = [
        one for one in report.findings if one.code == broken.code and (one.state, one.outcome) == (broken.state, broken.outcome)
    ]
    assert len(fitting) == 1, [str(one) for one in report.findings]
    found = fitting[0]
    assert broken.says in found.message
    assert found.remedy
    if broken.path:
        assert [str(hop) for hop in found.path] == list(broken.path)
    assert sorted(one.code for one in report.findings) == sorted([broken.code, *broken.also]), "one slip, one finding"
    assert report.fails or CODES[broken.code].level == "warning"
    key = broken.line or broken.outcome or broken.state
    assert found.place is not None
    assert key is not None
    line = text(broken.body).splitlines()[found.place.line - 1]
    missing = broken.outcome is None and broken.state is not None
    assert json.dumps(key) in line or (missing and "edges" in line) or broken.line == "leverframe"


SOUND = {
    "the least": PLAIN,
    "an ask with errors": ASKS,
    "a once call that is settled": SENDS,
    "an end that only a limit leads to": limited("Late", Read=work(go="Over"), Over=end(), Late=end(success=False)),
    "a loop with a way out": definition(A=work(go="B", stop="Over"), B=work(go="A"), Over=end()),
    "a state that may stay where it is": definition(Wait=wait("again", again="Wait", expired="Over"), Over=end()),
    "a retry that names its state": definition(
        Look=fetch("read_a", ok="Over", error="Shorten"), Shorten=compact(retry="Look", give_up="Over"), Over=end()
    ),
    "giving up by way of a mail": definition(
        Look=fetch("read_a", ok="Over", error="First"),
        First=compact(times=1, retry="Back", give_up="Tell"),
        Tell=act("once_mail", ok="Over", error="Shorten", unknown="Sent"),
        **SETTLED,
    ),
    "giving up to a person who sends it back": definition(
        Look=fetch("read_a", ok="Over", error="Shorten"),
        Shorten=compact(retry="Back", give_up="Help"),
        Help=consult("again", "stop", again="Look", stop="Over", expired="Over"),
        Over=end(),
    ),
    "a compact that leads to an ask which thinks": definition(
        Think=ask("go", go="Over", error="Shorten"), Shorten=compact(retry="Think", give_up="Over"), Over=end()
    ),
    "a consult that settles": definition(
        Send=act("keyed_pay", ok="Over", error="Shorten", unknown="Ask"),
        Ask=consult("happened", "not_happened", happened="Over", not_happened="Shorten", expired="Over"),
        **DOWN,
    ),
    "a settling state that fails is tried again": definition(
        Send=act("keyed_pay", ok="Over", error="Shorten", unknown="Sent"),
        Sent=fetch("read_mail", happened="Over", not_happened="Shorten", error="Shorten"),
        **DOWN,
    ),
    "a local call needs no unknown": definition(Book=act("local_book", ok="Over", error="Shorten"), **DOWN),
    "a call that a person releases": definition(
        Think=ask("once_mail", once_mail="Free", error="Shorten"),
        Free=approve(approved="Send", rejected="Over", expired="Over"),
        Send=act("once_mail", builds=False, ok="Over", error="Shorten", unknown="Sent"),
        **SETTLED,
    ),
    "a delegate": definition(Give=delegate(done="Over", error="Shorten", expired="Over"), **DOWN),
    "names of any script": definition(**{"Führen 2.0": work(**{"weiter-so": "終"}), "終": end()}),
    "a fetch with outcomes of its own": definition(Look=fetch("read_a", found="Over", missing="Over", error="Shorten"), **DOWN),
    "a work that counts errors itself": definition(Read=work(error="Shorten", ok="Over"), **DOWN),
    "a timer": definition(Sleep=wait(expired="Over"), Over=end()),
    "a prompt that uses all there is": changed(
        ASKS, "states", "Think", "texts", to={"": "# system\n{{ choices }}\n# user\n{{ window }} {{ memory.text }} {{ text }}\n"}
    ),
}


@pytest.mark.parametrize("name", SOUND)
def test_what_is_sound_stays_clean(name: str) -> None:
    report = review(SOUND[name])
    assert [f"{one.code} {one.state}: {one.message}" for one in report.findings] == []
    assert not report.fails
    assert [one.machine for one in report.checked] == ["desk"]


def test_everything_wrong_is_said_at_once() -> None:
    body = definition(
        Read=work(go="Gone", stop="Look"), Look=fetch("once_mail", ok="Loop", error="Loop"), Loop=work(again="Loop"), Lost=end()
    )
    found = {one.code for one in review(body).findings}
    assert found == {"LF102", "LF103", "LF105", "LF202", "LF216"}


def test_findings_come_in_the_order_of_their_places() -> None:
    body = definition(Read=work(go="A", on="B"), A=work(), B=work())
    places = [one.place.line for one in review(body).findings if one.place]
    assert places == sorted(places)
    assert len(places) == 2


def test_a_pinned_definition_is_checked_as_data() -> None:
    pinned = Definition(canonical(PLAIN))
    report = check(pinned)
    assert not report.findings
    assert report.checked[0].definition == pinned.hash


def test_a_long_chain_of_states_is_no_trouble() -> None:
    states = {f"S{number}": work(go=f"S{number + 1}") for number in range(5_000)}
    report = review(definition(**states, S5000=work(go="S4990")))
    assert [(one.code, one.state, len(one.path)) for one in report.findings] == [("LF105", "S4990", 4990)]


@pytest.mark.parametrize("wild", [False, True])
def test_the_machines_of_the_benchmark_are_of_their_size_and_sound(wild: bool) -> None:
    report = check_text(canonical(machine(200, seed=2, wild=wild)), "random.json")
    assert [f"{one.code}: {one.message}" for one in report.findings if one.code < "LF3"] == []
    assert [(one.states, one.edges) for one in report.checked] == [(200, 1_000)]


# ── what a machine lives with ────────────────────────────────────────────────────────────────────────────────────────────────

POLLS = limited("Over", Read=work(go="Wait"), Wait=wait("again", again="Wait", expired="Wait"), Over=end())


def accepting(*accepts: Object) -> Object:
    return changed(POLLS, "accepts", to=list[Json](accepts))


def test_an_accepted_finding_fails_nothing_and_keeps_its_reason() -> None:
    trap = changed(accepting({"code": "LF105", "state": "Wait", "reason": "a person stops it"}), "limits", "exceeded", to=None)
    report = review(
        changed(trap, "states", to={name: state for name, state in cast("Object", trap["states"]).items() if name != "Over"})
    )
    assert [(one.code, one.accepted) for one in report.findings] == [("LF105", "a person stops it")]
    assert not report.fails


def test_an_acceptance_without_a_state_holds_wherever_it_is_found() -> None:
    report = review(accepting({"code": "LF106", "state": None, "reason": "it polls until the limit"}))
    assert [(one.code, one.accepted) for one in report.findings] == [("LF106", "it polls until the limit")]


def test_an_acceptance_of_another_state_accepts_nothing_and_is_a_finding() -> None:
    report = review(accepting({"code": "LF106", "state": "Read", "reason": "no"}))
    assert {(one.code, one.accepted) for one in report.findings} == {("LF106", None), ("LF003", None)}
    assert any("LF106 in Read is accepted, and nothing of that kind is found" in one.message for one in report.findings)


@pytest.mark.parametrize(
    ("acceptance", "message"),
    [
        ({"code": "LF160", "reason": "no"}, "LF160 is accepted, and there is no such code. Did you mean"),
        ({"code": "LF106", "state": "Wiat", "reason": "no"}, "there is no such state. Did you mean 'Wait'?"),
        ({"code": "LF002", "reason": "no"}, "LF002 is accepted, and such a finding cannot be"),
        ({"code": "LF103", "reason": "no"}, "LF103 is accepted, and nothing of that kind is found"),
    ],
)
def test_an_acceptance_that_nothing_needs_says_why(acceptance: Object, message: str) -> None:
    assert any(one.code == "LF003" and message in one.message for one in review(accepting(acceptance)).findings)


# ── the codes ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_code_is_documented_as_it_is() -> None:
    rows = [line for line in (repository.ROOT / "docs" / "checks.md").read_text("utf-8").splitlines() if line.startswith("| LF")]
    assert rows == [f"| {code.code} | {code.level} | {code.title} | {code.remedy} |" for code in CODES.values()]


def test_every_code_of_the_structure_and_the_card_has_a_broken_machine() -> None:
    elsewhere = {
        "LF001",
        "LF002",
        "LF003",
        "LF004",
        "LF005",
        "LF112",
    }  # of files, projects and acceptances: tested beside them
    assert {broken.code for broken in BROKEN.values()} == {code for code in CODES if code < "LF3"} - elsewhere
