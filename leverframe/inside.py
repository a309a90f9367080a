"""What the runs inside of a run did, however deep, as letters that the rules of that run listen to: read once, when its Delegate ends.

Each run's own order is kept, and of several that went on at the same time, that of their clocks. Whatever clocks say, it is an order in
which they could have gone on; a proof has walked them all, so a rule that is proven is never taken for broken.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from heapq import merge
from operator import itemgetter
from typing import TypeAlias, cast

from leverframe.automaton import Letter, ended, entered, executed
from leverframe.canon import Object
from leverframe.clock import Micros
from leverframe.machine import Definition
from leverframe.reduce import rules_of
from leverframe.run import Event, Run
from leverframe.store import Row, Store

Told: TypeAlias = list[tuple[Micros, Letter]]


async def heard(store: Store, definition: Definition, run: Run) -> list[Letter]:
    """What the children of its Delegate did that makes an automaton of the run go on. Asked only where `definition.listens`."""
    spec = definition.states[run.state]
    if run.waiting is None or spec.kind != "delegate":
        return []
    inside = [told async for told in _each(store, run.waiting.children)]
    in_turn = spec.body.get("concurrency") == 1
    said = (pair for told in inside for pair in told) if in_turn else _together(inside)
    return list(_telling(definition, run, (letter for _, letter in said)))


def _telling(definition: Definition, run: Run, letters: Iterable[Letter]) -> Iterator[Letter]:
    """Without what changes nothing: an event must not grow with the logs of children."""
    states = rules_of(definition, run)
    for letter in letters:
        after = tuple(automaton.step(state, letter) for automaton, state in zip(definition.automata, states, strict=True))
        if after != states:
            yield letter
        states = after


async def _each(store: Store, runs: Sequence[str]) -> AsyncIterator[Told]:
    for row in await store.load_all(runs):
        yield await _told(store, row)


async def _told(store: Store, row: Row) -> Told:
    """What one run did, and those inside of it between the start and the end of their Delegate."""
    found: Told = []
    inside: list[Told] = []
    at = 0
    for line in await store.events(row.run.id):
        at = max(at, line.at)
        if inside and "outcome" in line.body:
            found += [(min(when, at), letter) for when, letter in _together(inside)]
            inside = []
        found += [(at, letter) for letter in _letters(row, line)]
        if line.body.get("kind") == "children":
            opened = at
            below = [told async for told in _each(store, cast("list[str]", line.body["children"]))]
            inside = [[(max(when, opened), letter) for when, letter in told] for told in below]
    return found + _together(inside)


def _together(inside: Sequence[Told]) -> Told:
    return list(merge(*inside, key=itemgetter(0)))


def _letters(row: Row, line: Event) -> Iterator[Letter]:
    """Of a step they are, in this order: the tools it executed, the outcome, the state that was entered."""
    body, machine = line.body, row.run.machine
    if line.type in ("started", "forked"):
        yield entered(cast("str", body["state"]), machine)
    if line.type == "acted":
        yield executed(cast("str", body["tool_name"]), machine)
    if line.type in ("acted", "fetched"):
        for call in cast("list[Object]", body.get("calls") or []):
            yield executed(cast("str", call["tool_name"]), machine)
    if line.type == "cancelled" and body.get("doubt") and row.run.doubts:  # it may have happened
        yield executed(row.run.doubts[-1].tool_name, machine)
    if "outcome" in body and "to" in body:
        yield ended(cast("str", body["state"]), cast("str", body["outcome"]), machine)
        yield entered(cast("str", body["to"]), machine)
