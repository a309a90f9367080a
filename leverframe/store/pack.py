"""A run as columns and back. What has no column of its own is in `execution`, one JSON object without what is at its default."""

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, fields
from typing import Any, cast

from leverframe.canon import Json, canonical
from leverframe.errors import Tampered
from leverframe.run import Event, Pending, Reserved, Run, Waiting
from leverframe.store.records import Effect, Inbound, Row, Task
from leverframe.store.tables import TABLES

log = logging.getLogger("leverframe")

# The columns of runs that hold a field of Run, by that field.
COLUMNS = {
    "id": "id",
    "machine": "machine",
    "definition": "def_hash",
    "status": "status",
    "state": "state",
    "memory": "memory",
    "seq": "seq",
    "head": "head_hash",
    "started_at": "created_at",
    "parent": "parent",
}


class _Shape:
    """How to write a dataclass without what is at its default, and how to read it back, worked out once per class."""

    def __init__(self, kind: type, *, without: Iterable[str] = ()) -> None:
        own = [field for field in fields(kind) if field.name not in without]
        self.kind = kind
        self.defaults = [
            (field.name, field.default if field.default_factory is MISSING else field.default_factory()) for field in own
        ]
        self.decoders = {field.name: decode for field in own if (decode := _decoder(str(field.type)))}

    def plain(self, value: object) -> dict[str, Any]:
        held: dict[str, Any] = value.__dict__
        found = {name: part for name, default in self.defaults if (part := held[name]) is not default and part != default}
        for name in self.decoders.keys() & found.keys():
            found[name] = _plain(found[name])
        return found

    def parts(self, found: dict[str, Any]) -> dict[str, Any]:
        for name in self.decoders.keys() & found.keys():
            if found[name] is not None:
                found[name] = self.decoders[name](found[name])
        return found

    def build(self, found: dict[str, Any]) -> Any:
        return self.kind(**self.parts(found))

    def build_all(self, found: list[dict[str, Any]]) -> tuple[Any, ...]:
        return tuple(map(self.build, found))


def _decoder(annotation: str) -> Callable[[Any], Any] | None:
    for kind, shape in _NESTED.items():
        if kind.__name__ in annotation:
            return shape.build_all if "tuple[" in annotation else shape.build
    return _tuples if "tuple[" in annotation else None


def _tuples(value: object) -> object:
    return tuple(map(_tuples, cast("list[object]", value))) if isinstance(value, list) else value


def _plain(value: object) -> object:
    shape = _NESTED.get(value.__class__)
    if shape is not None:
        return shape.plain(value)
    return [_plain(item) for item in cast("tuple[object, ...]", value)] if isinstance(value, tuple) else value


_NESTED: dict[type, _Shape] = {}
for _kind in (Pending, Waiting, Reserved):
    _NESTED[_kind] = _Shape(_kind)
_EXECUTION = _Shape(Run, without=COLUMNS)
_NAMES = {name: tuple(table.columns.keys()) for name, table in TABLES.items()}


def pack(run: Run) -> str:
    """The column `execution`."""
    return canonical(_EXECUTION.plain(run))


def run_columns(row: Row) -> tuple[Any, ...]:
    """In the order of the table."""
    run = row.run
    return (
        run.id,
        row.tenant,
        run.machine,
        run.definition,
        run.status,
        run.state,
        pack(run),
        run.seq,
        run.head,
        row.start_key,
        row.start_hash,
        run.parent,
        row.source,
        row.reply_to,
        row.created_at,
        row.updated_at,
        row.fence,
        row.lease_owner,
        row.lease_until,
        row.wake_at,
        row.want,
        row.want_by,
        row.inbox,
        row.claims,
        canonical(run.memory),
    )


def unpack(row: Sequence[Any]) -> Row:
    """A row of runs, all columns in the order of the table. Raises Tampered for one that somebody damaged."""
    found = dict(zip(_NAMES["runs"], row, strict=True))
    folded: dict[str, Any] = {field: found.pop(column) for field, column in COLUMNS.items()}
    try:
        folded["memory"] = json.loads(folded["memory"])
        folded |= _EXECUTION.parts(json.loads(found.pop("execution")))
        return Row(run=Run(**folded), created_at=folded["started_at"], **found)
    except (ValueError, TypeError, AttributeError) as error:
        raise Tampered(
            f"run {folded['id']}: its row cannot be read, it was damaged ({error}); its log may still be whole"
        ) from None


def readable(rows: Iterable[Sequence[Any]]) -> tuple[list[Row], list[str]]:
    """Those that can be read, and the ids of those that were damaged: each is named in the log, and stands in no other's way."""
    found: list[Row] = []
    damaged: list[str] = []
    for row in rows:
        try:
            found.append(unpack(row))
        except Tampered as error:
            log.error("%s", error)
            damaged.append(row[0])
    return found, damaged


def text(value: Json) -> str | None:
    """JSON for a column that may be NULL."""
    return None if value is None else canonical(value)


def value(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def task_columns(task: Task) -> tuple[Any, ...]:
    """In the order of the table."""
    return (
        task.id,
        task.run_id,
        task.kind,
        task.state,
        task.to,
        task.status,
        task.content,
        text(task.call),
        text(task.answers),
        task.shown_hash,
        task.opened_at,
        task.expires_at,
        task.decided_at,
        task.decided_by,
        task.via,
        text(task.answer),
    )


def task(row: Sequence[Any]) -> Task:
    found = dict(zip(_NAMES["human_tasks"], row, strict=True))
    found["to"] = found.pop("role")
    for name in ("call", "answers", "answer"):
        found[name] = value(found[name])
    return Task(**found)


def effect(row: Sequence[Any]) -> Effect:
    found = dict(zip(_NAMES["effects"], row, strict=True))
    found["key"] = found.pop("id")
    for name in ("args", "error", "result"):
        found[name] = value(found[name])
    return Effect(**found)


def inbound(row: Sequence[Any]) -> Inbound:
    source, key, _request_hash, run_id, at, kind, body, consumed, _response = row
    return Inbound(source, key, run_id, at, kind, value(body), consumed)


def event(row: Sequence[Any]) -> Event:
    _run_id, seq, at, kind, actor, body, *hashes = row
    return Event(seq, at, kind, actor, json.loads(body), body, *hashes)
