"""How dangerous a change of a machine is, and why: so that a reviewer reads first what can cost money.

Three levels. `high`: what a person or a proof stood in front of may now happen by itself, or a promise about an effect is another one.
`medium`: what the model reads or may do, and how much of it, is something else. `low`: less may happen than before, or only words for
people changed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from leverframe.canon import Object
from leverframe.changes import Change
from leverframe.diff.bypass import Bypass, bypasses
from leverframe.diff.shapes import defaults, unveiled
from leverframe.machine import EXCEEDED, Definition
from leverframe.schema import contract

Level: TypeAlias = Literal["high", "medium", "low"]
LEVELS: tuple[Level, ...] = ("high", "medium", "low")
_PERSON = frozenset({"approve", "consult"})
ASKED, PROVEN, LIMITED, TOOLS, EFFECTS, REST = range(6)
"""Within a level first what nobody is asked about any more, then what is no longer proven, and so on."""


@dataclass(frozen=True, slots=True)
class Risk:
    """A level, and in a few words what may go wrong; empty where the change says it all."""

    level: Level
    why: str = ""
    rank: int = REST


def risk(change: Change, before: Definition, after: Definition) -> Risk:
    """What a reviewer must think of a change."""
    first = change.path[0]
    if (change.was is None and change.now is None) or change.path in (("limits",), ("rules",), ("accepts",)):
        return Risk("low")  # the same, written in another way
    if first == "states" and len(change.path) == 2:
        return _whole_state(change)
    if first == "states":
        return _in_state(change, before, after)
    if first == "tools":
        return _whole_tool(change) if len(change.path) == 2 else _in_tool(change)
    if first == "limits":
        return _exceeded(change, before, after) if change.path[1] == "exceeded" else _limit(change)
    if first == "rules":
        return Risk("high", "what it forbade is no longer proven", PROVEN) if change.kind == "removed" else Risk("low")
    if first == "accepts":
        return Risk("high", "a finding no longer fails the check", PROVEN) if change.kind == "added" else Risk("low")
    if first == "memory":
        return Risk("low") if change.words else _shape(change, "runs whose memory does not fit cannot move here")
    return Risk("medium", "runs begin elsewhere") if first == "start" else Risk("low")


def _whole_state(change: Change) -> Risk:
    there = cast("Object", change.now if change.was is None else change.was)
    kind = there["kind"]
    if change.kind == "removed":
        return Risk("high", "nobody is asked here any more", ASKED) if kind in _PERSON else Risk("medium")
    return Risk(
        "medium",
        {"ask": "one more place where the model decides", "act": "one more place where calls execute"}.get(str(kind), ""),
    )


def _in_state(change: Change, before: Definition, after: Definition) -> Risk:
    field, rest = change.path[2], change.path[3:]
    if field == "kind":
        was_person = change.was in _PERSON
        return Risk("high", "nobody is asked here any more", ASKED) if was_person else Risk("high")
    if field == "edges":
        return _edge(change, before, after)
    if field == "offers" and change.kind == "added":
        effect = after.tools[rest[0]].effect if rest and rest[0] in after.tools else "once"
        return Risk("medium" if effect == "read" else "high", f"the model or the state may call it; it is {effect}", TOOLS)
    if field == "definition":
        return Risk("medium", "the machine it delegates to changed; see the difference of that one")
    return _FIELDS.get(field, _always("low"))(change)


def _edge(change: Change, before: Definition, after: Definition) -> Risk:
    """An edge that led to a person and leads elsewhere now; or one that is new or leads elsewhere."""
    asked = change.was in before.states and before.states[str(change.was)].kind in _PERSON
    asks = change.now in after.states and after.states[str(change.now)].kind in _PERSON
    if asked and not asks:
        return Risk("high", f"{change.was} is not asked any more when this happens", ASKED)
    return Risk("low") if change.kind == "removed" else Risk("medium")


def _whole_tool(change: Change) -> Risk:
    if change.kind == "removed":
        return Risk("low")
    tool = cast("Object", change.now)
    return Risk("medium" if tool["effect"] == "read" else "high", f"a new tool, {tool['effect']}", TOOLS)


RENAMED = "its runs under way keep the old name; nothing of that name goes on with them"


def new_tool(tool: Object) -> Risk:
    """Of a machine that nobody has reviewed yet."""
    effect = f"{tool['effect']}, {'each call needs an approval' if tool['approval'] else 'no call needs an approval'}"
    return Risk(
        "medium" if tool["effect"] == "read" else "high",
        f"{effect}{', strangers wrote what it gives' if tool.get('untrusted') else ''}",
        TOOLS,
    )


def _in_tool(change: Change) -> Risk:
    field = change.path[2]
    if field == "effect":
        return Risk(
            "high", f"what a crash may do to it: {_PROMISES[str(change.was)]} before, {_PROMISES[str(change.now)]} now", EFFECTS
        )
    if field == "approval":
        return Risk("high", "nobody need release its calls any more", ASKED) if change.was else Risk("low")
    if field == "untrusted":
        return Risk("high", "what strangers wrote counts as trusted", PROVEN) if change.was else Risk("low")
    if field == "reconciles":
        return Risk("medium", "after a crash nobody can ask whether it happened") if change.was else Risk("low")
    if field == "doc":
        return Risk("medium", "the model reads it")
    if field in ("input", "output"):
        return _schema(change, _CALLS)
    if field == "contract":
        return Risk("medium", _CALLS)
    return Risk("medium") if field in ("timeout", "retries") else Risk("low")


_CALLS = "runs that wait with a call of it are blocked"
_PROMISES = {
    "read": "repeated",
    "keyed": "exactly once by its key",
    "local": "exactly once with the step",
    "once": "at most once",
}


def _exceeded(change: Change, before: Definition, after: Definition) -> Risk:
    """As an edge; one that is gone takes runs that are at their limits away from where they went, too."""
    judged = _edge(change, before, after)
    return judged if judged.why else Risk("medium", "where a run goes that is at its limits")


def _limit(change: Change) -> Risk:
    was, now = change.was, change.now
    raised = now is None or (isinstance(was, int | float) and isinstance(now, int | float) and now > was)
    return Risk("high", "more may be used up", LIMITED) if raised else Risk("low")


def _lower(why: str) -> Callable[[Change], Risk]:
    """Riskier where the number fell, or is gone."""

    def judged(change: Change) -> Risk:
        was, now = change.was, change.now
        fell = now is None or (isinstance(was, int | float) and isinstance(now, int | float) and now < was)
        return Risk("high", why) if fell else Risk("low")

    return judged


def _always(level: Level, why: str = "") -> Callable[[Change], Risk]:
    return lambda change: Risk(level, why)


def _grew(change: Change) -> bool:
    was, now = change.was, change.now
    return isinstance(now, int) and not (isinstance(was, int) and was >= now)


def _schema(change: Change, blocks: str = "runs that wait here are blocked") -> Risk:
    return Risk("medium", "the model reads it") if change.words else _shape(change, blocks)


def _shape(change: Change, blocks: str) -> Risk:
    """Of a schema in which more than words changed; `blocks` is what that does to runs under way where its contract changed."""
    was, now = change.was, change.now
    if not (isinstance(was, dict) and isinstance(now, dict)):
        return Risk("medium", blocks)
    shown, begins = unveiled(was, now), defaults(was, now)
    why = [f"no longer secret: {', '.join(shown)}"] if shown else []
    why += begins
    why += [blocks] if contract(was) != contract(now) or not why else []
    return Risk("high" if shown else "medium", "; ".join(why), PROVEN if shown else REST)


_FIELDS: Mapping[str, Callable[[Change], Risk]] = {
    "prompt": _always("medium", "the model is told something else"),
    "prompt_by": _always("medium", "the model is told something else"),
    "texts": _always("medium", "the model is told something else"),
    "partials": _always("medium", "the model is told something else"),
    "replies": _schema,
    "choices": lambda change: Risk("medium", "the model reads it" if change.reordered else "runs that wait here are blocked"),
    "returns": _schema,
    "threshold": _lower("the model may be less sure of itself"),
    "most": lambda change: (
        Risk("medium", "the model may make more calls before it sees what came of one") if _grew(change) else Risk("low")
    ),
    "scores": _always("medium", "the model sees something else when the window is short"),
    "error": _always("medium", "the model is told of errors in other words"),
    "cuts": _always("medium", "what the model no longer sees once the window overflows"),
    "to": _always("high", "another person or role decides"),
    "deadline": _always("medium"),
    "times": _always("medium", "how often it is tried before somebody takes over"),
    "builds": lambda change: Risk("high", "it makes its own call, which nobody chose") if change.now else Risk("medium"),
    "success": _always("medium", "what counts as a success"),
    "max_failed": _always("medium", "how many child runs may fail"),
    "concurrency": _always("low"),
    "machine": _always("medium", "another machine takes over here"),
}


def ranked(found: list[Change], before: Definition, after: Definition) -> list[tuple[Risk, Change]]:
    """The riskiest first; within that in the order of the definition."""
    judged = [risk(change, before, after) for change in found]
    moved = any(change.path[0] in ("states", "tools", "limits", "start") for change in found)
    for bypass in bypasses(before, after) if moved else ():
        number = min(range(len(found)), key=lambda each: _far(found[each], bypass))
        if judged[number].rank != ASKED:
            why = f"{judged[number].why}; {bypass}" if judged[number].why else str(bypass)
            judged[number] = Risk("high", why, ASKED)
    return sorted(zip(judged, found, strict=True), key=lambda pair: (LEVELS.index(pair[0].level), pair[0].rank))


def _far(change: Change, bypass: Bypass) -> int:
    """How far a change is from what made a way past a person: the first edge on it is nearest, then states on it, then the start."""
    edges: list[tuple[str, ...]] = [
        ("limits", "exceeded") if hop.outcome == EXCEEDED else ("states", hop.state, "edges", hop.outcome) for hop in bypass.path
    ]
    if change.path in edges:
        return edges.index(change.path)
    states = [*(hop.state for hop in bypass.path), bypass.act, bypass.person]
    if change.path[0] == "states" and change.path[1] in states and change.path[2:3] in _SHAPING:
        return len(edges) + states.index(change.path[1])
    return len(edges) + len(states) + (change.path[0] != "start")


_SHAPING = ((), ("kind",), ("offers",), ("builds",), ("most",))
