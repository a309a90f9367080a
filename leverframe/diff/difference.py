"""The difference of two definitions of one machine, as a reviewer needs it: what changed, how risky it is, what can no longer be
proven, what it means for runs under way, and one picture of both.
"""

import difflib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

from leverframe.canon import Json, Object
from leverframe.changes import Change, changes
from leverframe.check import Finding
from leverframe.diff.impact import Parked
from leverframe.diff.risk import LEVELS, RENAMED, Level, Risk, new_tool, ranked
from leverframe.graph import Drawing, Edge, Mark, Note, Overlay, drawing, union
from leverframe.machine import Definition

_SAFETY = ("LF3", "LF6", "LF4")


@dataclass(frozen=True, slots=True)
class Difference:
    """`before` None: the machine is new; `after` None: it is gone."""

    name: str
    before: Definition | None
    after: Definition | None
    changes: tuple[tuple[Risk, Change], ...] = ()
    lost: tuple[Finding, ...] = ()  # what check finds now, and was not open before: proofs that are gone, with their paths
    accepted: tuple[Finding, ...] = ()  # the same, and the machine lives with it; it may have been open before
    mended: tuple[Finding, ...] = ()  # what it found before, and finds no longer
    parked: tuple[Parked, ...] = ()

    @property
    def same(self) -> bool:
        return self.before is not None and self.after is not None and self.before.hash == self.after.hash

    @property
    def level(self) -> Level | None:
        """The highest risk in it."""
        if self.after is None:
            return "high"
        return next((level for level in LEVELS if self.count(level)), None)

    def count(self, level: Level) -> int:
        return len(self.of(level)) + len(self.found(level))

    def found(self, level: Level) -> list[Finding]:
        """What check finds now and was not so before. A warning that is about no rule leaves nothing unproven."""
        return [one for one in (*self.lost, *self.accepted) if ("high" if _grave(one) else "medium") == level]

    def of(self, level: Level) -> list[tuple[Risk, Change]]:
        return [pair for pair in self.changes if pair[0].level == level]

    def json(self) -> Object:
        """With keys that stay."""
        listed: list[Json] = [{"risk": judged.level, "why": judged.why, **change.json()} for judged, change in self.changes]
        return {
            "machine": self.name,
            "before": self.before.hash if self.before else None,
            "after": self.after.hash if self.after else None,
            "risk": self.level,
            "changes": listed,
            "lost": [one.json() for one in self.lost],
            "accepted": [one.json() for one in self.accepted],
            "mended": [one.json() for one in self.mended],
            "parked": [one.json() for one in self.parked],
        }


def difference(
    before: Definition,
    after: Definition,
    *,
    found: tuple[Iterable[Finding], Iterable[Finding]] = ((), ()),
    parked: Sequence[Parked] = (),
) -> Difference:
    """`found`: what check finds in the one and in the other; `parked`: what becomes of the runs under way."""
    was, now = map(_told, found)
    changed = ranked(changes(before, after), before, after)
    if before.name != after.name:
        changed.append((Risk("medium", RENAMED), Change(("name",), before.name, after.name)))
    return Difference(
        after.name,
        before,
        after,
        tuple(sorted(changed, key=lambda pair: LEVELS.index(pair[0].level))),
        *_new(was, now),
        tuple(one for key, one in was.items() if key not in now),
        tuple(parked),
    )


def arrived(after: Definition, found: Iterable[Finding] = ()) -> Difference:
    """A machine that is new: what check finds in it, and every tool that it may touch."""
    tools = cast("Object", after.body["tools"])
    added = [Change(("tools", name), None, tool) for name, tool in tools.items()]
    judged = sorted(
        ((new_tool(cast("Object", change.now)), change) for change in added), key=lambda pair: LEVELS.index(pair[0].level)
    )
    return Difference(after.name, None, after, tuple(judged), *_new({}, _told(found)))


_Known: TypeAlias = "dict[tuple[str, str | None, str | None, str], Finding]"


def _told(found: Iterable[Finding]) -> _Known:
    """What a difference tells of, the worst first, by what it is known again by: errors, and all that is about calls, strangers' words
    and rules. Both also where the machine lives with it: others may come under the same acceptance."""
    some = sorted((one for one in found if one.level == "error" or one.code.startswith(_SAFETY)), key=_danger)
    return {(one.code, one.state, one.outcome, one.message.removeprefix(f"machine {one.machine}: ")): one for one in some}


def _new(was: _Known, now: _Known) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """What is open and was not, and what is accepted and was not."""
    fresh = [one for key, one in now.items() if key not in was or (was[key].accepted is None) != (one.accepted is None)]
    return tuple(one for one in fresh if one.accepted is None), tuple(one for one in fresh if one.accepted is not None)


def _grave(one: Finding) -> bool:
    return one.level == "error" or one.code.startswith("LF6")


def _danger(one: Finding) -> int:
    """Calls that nobody released first, then rules, then strangers' words, then the rest."""
    return next((rank for rank, kind in enumerate(_SAFETY) if one.code.startswith(kind)), 3)


# ── texts ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def detail(change: Change) -> list[str]:
    """The lines that differ, where a change is one of a text or a schema; in the form of a unified diff without its head."""
    if not (isinstance(change.was, str | dict | list) and isinstance(change.now, str | dict | list)):
        return []
    was, now = _lines(change.was), _lines(change.now)
    if max(len(was), len(now)) < 2 and isinstance(change.was, str) and len(change.was) + len(str(change.now)) < 100:
        return []
    return list(difflib.unified_diff(was, now, lineterm="", n=2))[2:]


def _lines(value: Json) -> list[str]:
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    return text.splitlines()


# ── one picture of both ──────────────────────────────────────────────────────────────────────────────────────────────────────


def picture(found: Difference) -> tuple[Drawing, Overlay]:
    """Both machines in one drawing, and what is laid over it: what is new, gone and changed."""
    one = found.after or found.before
    assert one is not None, "a difference has at least one side"
    now = drawing(one)
    if found.before is None or found.after is None:
        return now, Overlay(f"{found.name} is {'new' if found.before is None else 'gone'}")
    was = drawing(found.before)
    both = union(was, now)
    old, new = ({arrow.edge for arrow in side.arrows()} | {*side.beginnings()} for side in (was, now))
    if was.exceeded != now.exceeded:  # drawn as one line, which is no other one where there are more states now
        old, new = ({*edges, *side.exceeding()} for edges, side in ((old, was), (new, now)))
    edges: dict[Edge, Note] = {edge: Note("added") for edge in new - old} | {edge: Note("removed") for edge in old - new}
    states = dict(_state_marks(found, {box.name for box in was.boxes}, {box.name for box in now.boxes}))
    return both, Overlay(f"{found.before.hash[:12]} → {found.after.hash[:12]}", states, edges)


def _state_marks(found: Difference, was: set[str], now: set[str]) -> Iterator[tuple[str, Note]]:
    changed: dict[str, list[str]] = {}
    for _, change in found.changes:
        if change.path[0] == "states" and len(change.path) > 2 and change.path[2] != "edges":
            changed.setdefault(change.path[1], []).append(change.path[2])
    for name in [*now, *(was - now)]:
        mark: Mark | None = (
            "added" if name not in was else "removed" if name not in now else "changed" if name in changed else None
        )
        if mark:
            yield name, Note(mark, (f"changed: {', '.join(dict.fromkeys(changed[name]))}",) if mark == "changed" else ())
