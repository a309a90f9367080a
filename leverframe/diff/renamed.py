"""Which machines of one side are machines of the other under another name."""

from collections.abc import Mapping
from typing import TypeAlias, cast

from leverframe.canon import Object, canonical
from leverframe.machine import Definition

Definitions: TypeAlias = Mapping[str, Definition]
ALIKE = 0.8
"""The share of states and tools that must have stayed as they were."""


def renamed(before: Definitions, after: Definitions) -> dict[str, str]:
    """New names and the old ones; those that are most alike first, each once."""
    gone, new = ([name for name in side if name not in other] for side, other in ((before, after), (after, before)))
    pairs = [(_alike(before[old], after[name]), old, name) for old in gone for name in new]
    found: dict[str, str] = {}
    for alike, old, name in sorted(pairs, key=lambda pair: -pair[0]):
        if alike >= ALIKE and name not in found and old not in found.values():
            found[name] = old
    return found


def _alike(one: Definition, other: Definition) -> float:
    mine, yours = _features(one), _features(other)
    return 2 * len(mine & yours) / (len(mine) + len(yours))


def _features(one: Definition) -> set[str]:
    """Each state with where it leads, and each tool with what it may do: what makes the machine, and no words."""
    states = {f"state {name} {spec.kind} {canonical(cast('Object', dict(spec.edges)))}" for name, spec in one.states.items()}
    return states | {f"tool {name} {tool.effect} {tool.approval}" for name, tool in one.tools.items()}
