"""Machines to draw, as definitions: generated ones with hostile names, and a large one that looks like somebody's own."""

from collections.abc import Mapping, Sequence
from itertools import cycle

from hypothesis import strategies as st

from leverframe.canon import Json, Object, canonical
from leverframe.graph import Mark, Note, Overlay, drawing
from leverframe.graph.look import MARKS
from leverframe.machine import Definition

OUTCOMES: Mapping[str, tuple[str, ...]] = {
    "work": ("small", "large", "none"),
    "fetch": ("found", "missing", "error"),
    "ask": ("decide", "escalate", "error"),
    "act": ("ok", "error", "unknown"),
    "approve": ("approved", "rejected", "expired"),
    "consult": ("answered", "expired"),
    "wait": ("arrived", "expired"),
    "delegate": ("done", "error", "expired"),
    "compact": ("retry", "give_up"),
    "end": (),
}
HOSTILE = (
    *("end", "state", "note", "class", "[*]", "[*] --> s0", "default", "graph", "subgraph", "direction LR", "fork", "choice"),
    *("s0", "limits", "start", "Start.v2", "a b  c", 'say "no"', "it's", "<b>x</b>", "<script>alert(1)</script>", "```", "~~~"),
    *("</script><img src=x onerror=alert(1)>", "&amp;", "&#35;", "#35;", "#quot;", "%%{init: {}}%%", "%% comment", "a --> b: c"),
    *("{}", "[a]", "(a)", "|a|", "a;b", "a:b", "a::b", ":::k_ask", "$$x$$", "\\", "\\N", "\\n", "%5B", "---", "--", "\u2028-"),
    *(
        "title: x",
        "über-agent 2.0",
        "日本語の状態",
        "שלום עולם",
        "مرحبا بالعالم",
        "\u202eevil",
        "\u200d",
        "👩\u200d🚀",
        "e\u0301",
    ),
    *("", " ", "\t", "a\nb", "a\r\nb", "\x00", "\x1b[2J", "Back", "exceeded", "__proto__", "constructor", "toString", "x" * 300),
    *("𝒳", "{{ x }}", "{% raw %}", "javascript:alert(1)", "onclick=alert(1)", "<!--", "]]>", "-->", "<br/>", "\\G", "&nbsp;"),
)
"""Names and words that mean something to somebody on the way."""

words = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=40), st.text("\"'<>&#;:{}[]()|\\/%`~$-=*_. \n", max_size=12))


@st.composite
def definitions(draw: st.DrawFn) -> Definition:
    """A definition of up to twelve states, whatever their names, words and edges; some lead to states that do not exist."""
    names = draw(st.lists(words, min_size=1, max_size=12, unique=True))
    targets = st.sampled_from([*names, "Back", *draw(st.lists(words, max_size=1))])
    tools = draw(st.lists(words, max_size=3, unique=True))
    states: Object = {}
    for name in names:
        kind = draw(st.sampled_from(sorted(OUTCOMES)))
        outcomes = draw(st.lists(st.one_of(st.sampled_from(OUTCOMES[kind] or ("x",)), words), max_size=4, unique=True))
        edges = {outcome: draw(targets) for outcome in outcomes} if kind != "end" else {}
        used = draw(st.lists(st.sampled_from(tools), max_size=2, unique=True)) if tools else []
        states[name] = state(kind, edges, draw(words), draw(words), used, success=draw(st.booleans()))
    exceeded = draw(st.one_of(st.none(), st.sampled_from(names)))
    return definition(draw(words), states, tools, start=draw(st.sampled_from(names)), exceeded=exceeded, doc=draw(words))


def overlay(definition: Definition) -> Overlay:
    """Every mark there is, on states and edges in turn, with hostile words."""
    told, said = drawing(definition), cycle(HOSTILE)
    every: list[Mark | None] = [*MARKS, None]
    marks = cycle(every)
    return Overlay(
        next(said),
        {box.name: Note(next(marks), (next(said), next(said)), 0.5) for box in told.boxes},
        {edge: Note(next(marks), (next(said),), 1.0) for edge in [*(arrow.edge for arrow in told.arrows()), *told.exceeding()]},
        dims=len(told.boxes) % 2 == 0,
    )


def state(
    kind: str, edges: Mapping[str, str], doc: str = "", word: str = "", tools: list[str] | None = None, *, success: bool = True
) -> Object:
    """One state as a definition has it; `word` is its prompt, approver, reply or child, whatever its kind has."""
    choices: list[Json] = [{"intent": tool, "kind": "tool"} for tool in tools or ()]
    choices.append({"intent": word, "kind": "reply", "schema": {"description": word}, "contract": ""})
    more: Object = {}
    if kind in ("fetch", "act"):
        more = {"tools": [*(tools or ())], "builds": False}
    elif kind == "ask":
        more = {
            "prompt": word,
            "texts": {"": f"# system\n{word}\n# user\n{{{{ message }}}}"},
            "choices": choices,
            "threshold": None,
        }
    elif kind in ("approve", "consult", "wait"):
        more = {"deadline": 172_800_000_000}
        if kind != "wait":
            more["to"] = word
        if kind != "approve":
            more["choices"] = [choices[-1]]
    elif kind == "delegate":
        more = {"machine": word, "definition": "", "deadline": 1, "max_failed": 0, "concurrency": 1, "returns": {"title": word}}
    elif kind == "compact":
        more = {"times": 3}
    elif kind == "end":
        more = {"success": success}
    return {"kind": kind, "doc": doc, "edges": {**edges}, **more}


def definition(
    name: str,
    states: Object,
    tools: Sequence[str] = (),
    *,
    start: str,
    exceeded: str | None = None,
    doc: str = "",
) -> Definition:
    effects = ("read", "keyed", "local", "once")
    bodies: Object = {
        tool: {
            "doc": tool,
            "effect": effects[number % 4],
            "approval": number % 4 == 3,
            "timeout": 30.0,
            "retries": 3,
            "reconciles": False,
            "untrusted": number % 5 == 0,
            "input": {"title": tool},
            "output": {},
            "contract": "",
        }
        for number, tool in enumerate(tools)
    }
    body: Object = {
        "leverframe": 1,
        "name": name,
        "version": "",
        "doc": doc,
        "start": start,
        "memory": {},
        "states": states,
        "tools": bodies,
        "limits": {"steps": 40, "model_calls": 12, "cost": 500_000, "days": 7, "exceeded": exceeded},
        "rules": [],
        "accepts": [],
    }
    return Definition(canonical(body))


STAGES = ("Order", "Stock", "Payment", "Address", "Parcel", "Carrier")


def large() -> Definition:
    """42 states: six stages of a delivery, each looked up, decided, released, done and found out."""
    states: Object = {}
    for stage, following in zip(STAGES, [*(f"{stage}LookUp" for stage in STAGES[1:]), "Delivered"], strict=True):
        states |= _stage(stage, following)
    states |= {
        "Shorten": state("compact", {"retry": "Back", "give_up": "HandOver"}, "Make an error short enough to think about."),
        "HandOver": state("consult", {"handled": "Closed", "expired": "Unanswered"}, "A person takes over.", "support"),
        "Delivered": state("end", {}, "The parcel is on its way."),
        "Refused": state("end", {}, "The customer did not answer."),
        "Closed": state("end", {}, "A person took care of it."),
        "Unanswered": state("end", {}, "It was handed over, and nobody took it.", success=False),
    }
    tools = [f"{verb}_{stage.lower()}" for verb in ("read", "change") for stage in STAGES]
    return definition("delivery", states, tools, start="OrderLookUp", exceeded="HandOver", doc="An order on its way.")


def _stage(stage: str, following: str) -> Object:
    read, change = f"read_{stage.lower()}", f"change_{stage.lower()}"
    name = {kind: stage + kind for kind in ("LookUp", "Triage", "Customer", "Release", "Change", "Found")}
    look = {"found": name["Triage"], "missing": name["Customer"], "error": "Shorten"}
    pick = {
        change: name["Release"],
        "ask_customer": name["Customer"],
        "fine": following,
        "escalate": "HandOver",
        "error": "Shorten",
    }
    decide = {"approved": name["Change"], "rejected": name["Triage"], "expired": "HandOver"}
    act = {"ok": following, "error": "Shorten", "unknown": name["Found"]}
    find = {"happened": following, "not_happened": "Shorten", "error": "Shorten"}
    return {
        name["LookUp"]: state("fetch", look, "Find out what is known of it before anybody decides on anything.", tools=[read]),
        name["Triage"]: state("ask", pick, "Decide what is to be done about it.", f"delivery/{stage.lower()}", [change]),
        name["Customer"]: state("consult", {"answered": name["LookUp"], "expired": "Refused"}, "Ask them.", "customer"),
        name["Release"]: state("approve", decide, "A person releases exactly this call, or says no.", "team lead"),
        name["Change"]: state("act", act, "It is changed.", tools=[change]),
        name["Found"]: state("fetch", find, "Nobody knows whether it was changed.", tools=[read]),
    }
