"""A run as one file: its log, and the definitions it was pinned to. `leverframe export` writes it, `leverframe replay` reads it.

The file is JSON: `{"recording": 1, "run", "machine", "head", "definitions": […], "events": [{"at", "type", "actor", "body"}]}`. What follows
from the rest (numbers, hashes) is not in it, but for `head`, the last hash of the chain: a file that was edited is no recording any more.
It holds what the run held: all that people, tools and models said. Keep it where you keep such data.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from leverframe.canon import Json, Object, canonical, parse
from leverframe.errors import DeclarationError, InputError, RecordingError, Tampered
from leverframe.machine import Definition
from leverframe.reduce import begin, reduce
from leverframe.run import Event, Run, event

if TYPE_CHECKING:
    from leverframe.store import Store

LARGEST = 64 * 1024 * 1024
"""Bytes of a file."""
_FORM = 1


@dataclass(frozen=True, slots=True)
class Recording:
    """What happened in a run. `definitions` by hash; `run` is where it stood in the end."""

    run: Run
    events: Sequence[Event]
    definitions: Mapping[str, Definition]

    @property
    def definition(self) -> Definition:
        """The one that the run began with."""
        return self.definitions[pinned(self.events)[0]]

    def text(self) -> str:
        """The file."""
        body = {
            "recording": _FORM,
            "run": self.run.id,
            "machine": self.run.machine,
            "head": self.run.head,
            "definitions": [one.body for one in self.definitions.values()],
            "events": [{"at": line.at, "type": line.type, "actor": line.actor, "body": line.body} for line in self.events],
        }
        return json.dumps(body, ensure_ascii=False, indent=1) + "\n"


async def record(store: "Store", run_id: str) -> Recording:
    """A run as it stands now. Raises UnknownRun, UnknownDefinition."""
    row, lines = await store.load(run_id), await store.events(run_id)
    definitions = {hash: Definition(await store.definition(hash)) for hash in pinned(lines)}
    return Recording(row.run, lines, definitions)


def pinned(lines: Sequence[Event]) -> list[str]:
    """The hashes of the definitions that a run was pinned to, in the order of its log, each once."""
    named = (line.body.get("definition") or line.body.get("to") for line in lines if line.type in _PINS)
    return list(dict.fromkeys(cast("Iterator[str]", named)))


_PINS = ("started", "forked", "migrated")


def read(text: str, *, what: str = "recording") -> Recording:
    """The recording in a file. Raises RecordingError: not one, malformed, or edited since it was written."""
    try:
        body = parse(text, what=what, limit=LARGEST)
    except InputError as error:
        raise RecordingError(str(error)) from None
    if not isinstance(body, dict) or body.get("recording") != _FORM:
        raise RecordingError(f"{what}: no recording of form {_FORM}; `leverframe export RUN --output FILE` writes one")
    try:
        definitions = {one.hash: one for one in map(_definition, cast("list[Json]", body["definitions"]))}
        *_, (last, _) = told = list(_told(cast("list[Object]", body["events"]), definitions))
    except (KeyError, TypeError, AttributeError, ValueError, DeclarationError, Tampered) as error:
        raise RecordingError(f"{what}: malformed: {type(error).__name__}: {str(error)[:200]}; export the run again") from None
    if last.head != body.get("head"):
        raise RecordingError(f"{what}: it was edited: the hash of its events is not its head; export the run again")
    return Recording(last, [line for _, line in told], definitions)


def _definition(body: Json) -> Definition:
    return Definition(canonical(body))


def _told(bodies: Sequence[Object], definitions: Mapping[str, Definition]) -> Iterator[tuple[Run, Event]]:
    """Each event with the run after it."""
    run: Run | None = None
    for body in bodies:
        said = cast("Object", body["body"])
        line = event(run, cast("int", body["at"]), cast("str", body["type"]), cast("str", body["actor"]), said)
        run = reduce(definitions[run.definition], run, line) if run else begin(line)
        yield run, line
