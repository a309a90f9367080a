"""How a run begins: what is asked for, the id that its key gives, its input as data, and the first line of its log.

Whatever must hold for the whole life of a run is in that line: its definition, whether it is offline, and which variants of its
prompts were pinned at that moment.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Never, cast

from pydantic import ValidationError

from leverframe.canon import MAX_MEMORY, Object, admit, admit_dump, digest, ordered
from leverframe.clock import Micros
from leverframe.errors import InputError, InvalidMemory
from leverframe.ledger import spends
from leverframe.machine import Definition, Machine
from leverframe.reduce import begin
from leverframe.run import Run, event
from leverframe.state import Memory
from leverframe.store import NewRun
from leverframe.tool import compact


@dataclass(frozen=True, slots=True)
class TriggerCommand:
    """Starts a run, whatever it came from (factor 11). One `key` starts one run, however often it is sent."""

    machine: str
    input: Memory | Mapping[str, object]
    key: str | None = None
    source: str = "api"
    reply_to: str | None = None
    tenant: str = ""


def new_run(
    definition: Definition,
    memory: Object,
    command: TriggerCommand,
    now: Micros,
    *,
    offline: bool | None = None,
    pins: Mapping[str, str] | None = None,
    parent: str | None = None,
    aside: Object | None = None,
) -> NewRun:
    """A run to be, after its first event; nobody holds it yet. `offline`: is the model that it would ask? None where there is none.

    `aside`: what its first call is set aside of the day's budget.
    """
    run_id = id_of(command.tenant, definition.name, command.key)
    asks = any(spec.kind == "ask" for spec in definition.states.values())
    body: Object = {
        "run": run_id,
        "machine": definition.name,
        "definition": definition.hash,
        "state": definition.start,
        "memory": memory,
        "source": named("source", command.source),
    }
    optional: Object = {
        "key": command.key,
        "parent": parent,
        "reply_to": command.reply_to,
        "offline": offline if asks else None,
        "asks": True if definition.states[definition.start].kind == "ask" else None,
        "pins": {**pins} if pins else None,
    }
    body |= {name: value for name, value in optional.items() if value is not None}
    first = event(None, now, "started", command.source, body | (aside or {}))
    run = begin(first)
    return NewRun(
        run=run,
        events=[first],
        tenant=command.tenant,
        start_key=command.key,
        start_hash=digest([definition.name, memory]),
        source=command.source,
        reply_to=command.reply_to,
        wake_at=now,
        spends=list(spends(definition, None, run, first)) if run.reserved else (),
    )


def named(what: str, given: object) -> str:
    """Who wants something, or where it came from, as the log keeps it. Raises InputError, TooLarge, NotJson."""
    if not isinstance(given, str) or not given.strip():
        raise InputError(
            f"{what}: {'it is empty' if isinstance(given, str) else f'{type(given).__name__} is no text'}; give a name"
        )
    return cast("str", admit(given, what=what, limit=256))


def id_of(tenant: str, machine: str, key: str | None) -> str:
    """The id that a start key gives, known before the run is there: a key is one run. Without one, an id of its own."""
    return "run_" + (digest([tenant, machine, key]) if key else uuid.uuid4().hex)[:20]


def child_key(run: Run, index: int) -> str:
    """hash(parent, ordinal, index); steps is the ordinal of entering the Delegate, and stays as long as it waits."""
    return digest([run.id, run.steps, index])


def read_input(machine: Machine[Never], given: "Memory | Mapping[str, object]") -> Object:
    """Input as memory data. Raises InvalidMemory, TooLarge, NotJson."""
    if not isinstance(cast("object", given), Memory | Mapping):
        raise InvalidMemory(
            f"input of {machine.name}: {type(given).__name__} is neither {machine.memory.__name__} nor its fields"
        )
    written: Callable[[], object] = (
        (lambda: given.model_dump(mode="json", by_alias=True)) if isinstance(given, Memory) else (lambda: dict(given))
    )
    clean = admit_dump(written, what="input", limit=MAX_MEMORY)
    try:
        memory = machine.memory.model_validate_json(ordered(clean))
    except ValidationError as error:
        raise InvalidMemory(f"input of {machine.name}: {compact(error)}") from None
    return cast("Object", admit_dump(lambda: memory.model_dump(mode="json", by_alias=True), what="input", limit=MAX_MEMORY))
