"""What a drawing says of the kind of a state: in a word, in its name, or by the ways in which it ends.

The ten kinds end differently, so most rows tell by themselves; `fitting` gives every kind that a row leaves open. `complaints` holds a
row to its kind: what is missing, and what the kind never ends in.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import get_args

from leverframe.outcomes import OWN
from leverframe.state import Kind

KINDS: tuple[Kind, ...] = get_args(Kind)
WORDS: Mapping[str, Kind] = {**{kind: kind for kind in KINDS}, "failure": "end"}
LIMITS = "limits"
SETTLES = frozenset({"happened", "not_happened"})
_ALWAYS: Mapping[Kind, frozenset[str]] = {
    "approve": frozenset({"approved", "rejected", "expired"}),
    "delegate": frozenset({"done", "error", "expired"}),
    "compact": frozenset({"retry", "give_up"}),
    "fetch": frozenset({"error"}),
    "ask": frozenset({"error"}),
    "act": frozenset({"error"}),
    "consult": frozenset({"expired"}),
    "wait": frozenset({"expired"}),
}
_PERHAPS: Mapping[Kind, frozenset[str]] = {  # of the engine's own outcomes; the others mean something elsewhere
    "work": frozenset({"ok", "done", "error"}),
    "fetch": frozenset({"ok"}),
    "ask": frozenset({"unsure"}),
    "act": frozenset({"ok", "unknown"}),
}
_MORE: Mapping[Kind, str] = {  # what a row must hold besides
    "work": "an outcome",
    "fetch": "an outcome for what it found: ok, or names of your own",
    "ask": "an outcome for each thing the model may pick",
    "act": "an outcome for what came of it: ok, or names of your own",
    "consult": "an outcome for each answer",
}
_SIGNS: tuple[tuple[frozenset[str], Kind], ...] = (  # outcomes that one kind alone has
    (frozenset({"retry", "give_up"}), "compact"),
    (frozenset({"approved", "rejected"}), "approve"),
    (frozenset({"unsure"}), "ask"),
    (frozenset({"unknown"}), "act"),
)
_SAID = re.compile(r"(\w+)(?:\s+to\s+([\w.-]*\w))?\s*(?:$|(?:[:–—]|\s-)\s*(.*)$)")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\WA-Z_]+")


@dataclass(frozen=True, slots=True)
class Said:
    """A text that begins with a kind: `ask`, `ask – decide what is owed`, `delegate to restock: one run for each`."""

    word: str
    to: str
    rest: str

    @property
    def kind(self) -> Kind | None:
        return WORDS.get(self.word)


def said(text: str) -> Said | None:
    """The kind that a text begins with, set apart from what follows by a dash or colon; None where it only tells."""
    found = _SAID.match(text)
    word = found[1].lower() if found else ""
    if not found or not (word in WORDS or word == LIMITS) or (found[2] and word != "delegate"):
        return None
    return Said(word, found[2] or "", found[3] or "")


def by_name(name: str) -> set[Kind]:
    """The kinds that a name begins or ends with, as in `FetchOrder`, `order_fetch`."""
    parts = [part.lower() for part in _PART.findall(name)]
    return {WORDS[part] for part in (*parts[:1], *parts[-1:]) if part in WORDS}


def fitting(outcomes: Collection[str]) -> tuple[Kind, ...]:
    """Every kind that may end in these ways. A row that is not complete yet is read by what it has."""
    has = set(outcomes)
    if not has:
        return ("end",)
    for signs, kind in _SIGNS:
        if has & signs:
            return (kind,)
    if "error" in has:
        return _failing(has)
    if has == {"expired"}:
        return ("wait",)
    if "expired" in has:
        return ("consult",) if has & (SETTLES | {"answered", "handled"}) else ("consult", "wait")
    return ("work",)


def _failing(has: set[str]) -> tuple[Kind, ...]:
    if "expired" in has or has == {"done", "error"}:
        return ("delegate",)
    if has & SETTLES:
        return ("fetch",)
    return ("fetch", "act") if "ok" in has else ("ask", "fetch", "act")


def complaints(kind: Kind, outcomes: Collection[str]) -> tuple[list[str], list[str], str]:
    """What a row of that kind lacks, what it cannot end in, and what else it needs ("" for nothing)."""
    has, always = set(outcomes), _ALWAYS.get(kind, frozenset())
    perhaps = _PERHAPS.get(kind, frozenset())
    if kind in ("approve", "delegate", "compact", "end"):
        return sorted(always - has), sorted(has - always), ""
    own = has - OWN | has & (perhaps - {"error", "unknown", "unsure"})
    return sorted(always - has), sorted(has & (OWN - always - perhaps)), "" if own else _MORE.get(kind, "")


def endings(kind: Kind) -> str:
    """How a kind ends, in words."""
    parts = [repr(outcome) for outcome in sorted(_ALWAYS.get(kind, frozenset()) | _PERHAPS.get(kind, frozenset()))]
    if kind not in ("approve", "delegate", "compact", "end"):
        parts.append("names of your own")
    return ", ".join(parts) or "nothing: it has no edges"
