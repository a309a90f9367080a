"""`context`: what a model saw of a run at one of its questions, with the code of now for what only code knows."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Never, TypeAlias

from leverframe.errors import NotFound
from leverframe.llm import Choices
from leverframe.machine import Definition, Machine
from leverframe.recording import pinned
from leverframe.run import Event
from leverframe.state import Ask
from leverframe.store import Store
from leverframe.window.rebuild import Seen, asks, pinned_choices, seen

Machines: TypeAlias = Mapping[str, Machine[Never]]


async def every(store: Store, machines: Machines, run_id: str) -> list[Seen]:
    """All questions of a run, in order: whether each can be made again as it was sent."""
    return await _seen(store, machines, await store.events(run_id), None)


async def at(store: Store, machines: Machines, run_id: str, seqs: Sequence[int | None]) -> list[Seen]:
    """The questions of these events; None is the last one. Raises NotFound where an event asked nothing."""
    events = await store.events(run_id)
    asked = [line.seq for line in events if asks(line)]
    if not asked:
        raise NotFound(f"run {run_id}: no model has been asked anything")
    wanted = [asked[-1] if seq is None else seq for seq in seqs]
    for seq in wanted:
        if seq not in asked:
            near = ", ".join(map(str, sorted(asked, key=lambda one: abs(one - seq))[:5]))
            raise NotFound(f"run {run_id}: event {seq} asked no model; near it did {near}")
    found = {one.seq: one for one in await _seen(store, machines, events[: max(wanted)], set(wanted))}
    return [found[seq] for seq in wanted]


async def _seen(store: Store, machines: Machines, events: list[Event], only: Collection[int] | None) -> list[Seen]:
    definitions = {hash: Definition(await store.definition(hash)) for hash in pinned(events)}
    return list(seen(events, definitions.__getitem__, _written(machines), only=only))


def _written(machines: Machines) -> Callable[[Definition, str], list[str]]:
    """The choices as the code of now tells them, and as the definition does."""

    def written(definition: Definition, state: str) -> list[str]:
        machine = machines.get(definition.name)
        found = machine.states.get(state) if machine else None
        told = [pinned_choices(definition, state)]
        if found is not None and issubclass(found, Ask):
            told.insert(0, Choices(found.replies, found.threshold, definition.states[state].most).described)
        return told

    return written
