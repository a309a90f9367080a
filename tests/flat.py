"""Random flat machines as data, as large and as oddly named as one likes: for what draws them, reads them and writes them."""

from collections.abc import Sequence
from random import Random

from leverframe.canon import Json, Object, canonical
from leverframe.machine import BACK, Definition
from leverframe.state import Kind

NAMES = (
    *("Read", "look up", "Überprüfen", "数据", "2nd look", "Act", "None", "v2.1-beta", "ALL", "A", "State2", "State10", "import"),
    *(
        "print",
        "ﬁle",
        "Memory",
        "end",
        "note",
        "state",
        "Etat²",
        "limits",
        "direction",
        "Literal",
        "триаж",
        "x",
        "X",
        "tool",
        "class",
    ),
)
DOCS = (
    "",
    "What it is for.",
    'Say "no"; end note',
    "%% {state} --> [*] #35; <b>x</b>",
    "ask: for it",
    "ends with \\",
    '"""',
    "é – … ½",
)
OUTCOMES = ("found", "missing", "issue refund", "escalate", "número", "a.b-c", "None", "x")


def definition(seed: int, size: int = 8) -> Definition:
    """A machine in which every row is as its kind demands. What can be reached, and where calls flow, is left to chance."""
    chance = Random(seed)
    names = chance.sample(NAMES, size)
    kinds: list[Kind] = ["compact", "end", "fetch"]  # somewhere for errors, for the end, and to find out
    while len(kinds) < size:
        kinds.append(chance.choice(("work", "fetch", "ask", "act", "consult", "wait", "delegate", "compact", "end", "approve")))
    rows = [_row(chance, kind, names, index == 2) for index, kind in enumerate(kinds)]
    states: dict[str, Json] = {}
    for name, kind, row in sorted(zip(names, kinds, rows, strict=True), key=lambda _: chance.random()):
        doc = chance.choice(DOCS)
        body: Object = {"kind": kind, "doc": doc, "edges": dict(row), "success": kind != "end" or chance.random() < 0.5}
        states[name] = {**body, "machine": "other"} if kind == "delegate" else body
    exceeded = chance.choice([None, *(name for name, kind in zip(names, kinds, strict=True) if kind != "compact")])
    limits: Object = {"steps": 9, "model_calls": None, "cost": None, "days": None, "exceeded": exceeded}
    thinking = [name for name, kind in zip(names, kinds, strict=True) if kind in ("ask", "work")]
    start = chance.choice(thinking or names)
    states = {start: states[start], **states}
    head: Object = {"leverframe": 1, "name": "flat", "version": 1, "doc": "", "start": start, "memory": {}}
    return Definition(canonical({**head, "states": states, "tools": {}, "limits": limits, "rules": [], "accepts": []}))


def _row(chance: Random, kind: Kind, names: Sequence[str], settles: bool) -> dict[str, str]:
    """`names` begins with a Compact, an End and a Fetch that finds out."""

    def some(least: int, among: Sequence[str] = OUTCOMES) -> dict[str, str]:
        return {outcome: chance.choice(names) for outcome in chance.sample(among, chance.randint(least, 3))}

    if settles:
        return {"happened": chance.choice(names), "not_happened": names[0], "error": names[0]}
    rows: dict[Kind, dict[str, str]] = {
        "work": some(1),
        "fetch": {**some(1, ("ok", *OUTCOMES)), "error": names[0]},
        "ask": {**some(1), "error": names[0], **({"unsure": names[1]} if chance.random() < 0.3 else {})},
        "act": {"ok": chance.choice(names), "error": names[0], **({"unknown": names[2]} if chance.random() < 0.5 else {})},
        "approve": {outcome: chance.choice(names) for outcome in ("approved", "rejected", "expired")},
        "consult": {**some(1), "expired": chance.choice(names)},
        "wait": {**some(0), "expired": chance.choice(names)},
        "delegate": {"done": chance.choice(names), "error": names[0], "expired": names[1]},
        "compact": {"retry": BACK if chance.random() < 0.7 else chance.choice(names), "give_up": names[1]},
        "end": {},
    }
    return rows[kind]
