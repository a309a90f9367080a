"""The exact commands that go on with a run: what is printed is what can be given, with YOU and … to be filled in."""

import json
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from leverframe.canon import Json, Object
from leverframe.cli.shown import answers, is_overdue
from leverframe.clock import Micros
from leverframe.project.names import verb

if TYPE_CHECKING:
    from leverframe.store import Row, Task

FORMATS = {"date": "2026-01-31", "date-time": "2026-01-31T09:00:00Z", "time": "09:00:00", "duration": "P1D"}
"""Texts that cannot be just any words."""


def with_run(row: "Row", model: str | None = None, events: Sequence[Object] = ()) -> list[str]:
    """What lets a run go on that waits for no task. `events`: the choices of the Wait it is in, as its definition has them."""
    run = row.run
    advance = f"leverframe advance {run.id}{_model(model)}"
    then = [advance] if model else []  # retry and resume only record it, and say this themselves where no model is to be named
    match run.status:
        case "attention" | "blocked" | "quarantined":
            grant = " --grant 1" if (run.reason or "").startswith("limit reached") else ""
            return [f"leverframe retry {run.id}{grant}", *then]
        case "paused":
            return [f"leverframe resume {run.id}", *then]
        case "ready" | "running":
            return [advance]
        case "waiting" if run.waiting is not None and run.waiting.kind == "wait":
            return [_signal(run.id, event) + _model(model) for event in events]
        case _:
            return []


def with_task(task: "Task", now: Micros, *, eldest: str = "", model: str | None = None) -> list[str]:
    """What decides exactly this task: given once more it must not decide the run's next one, which nobody has seen. Once its deadline has
    passed nobody can, and the run goes on by the edge for that."""
    if is_overdue(task, now):
        return [f"leverframe advance {eldest or task.run_id}{_model(model)}"]
    if task.kind == "approve":
        return [
            f"leverframe approve {task.id} --by YOU{_model(model)}",
            f'leverframe reject {task.id} --by YOU --comment "…"{_model(model)}',
        ]
    given = [f"leverframe {verb(task)} {task.id} --by YOU --value {shlex.quote(value)}" for value in _values(task)]
    return [command + _model(model) for command in given]


def _model(model: str | None) -> str:
    return f" --model {shlex.quote(model)}" if model else ""


def _signal(run_id: str, event: Object) -> str:
    data = _example(cast("Object", event["schema"]))
    given = f" --data {shlex.quote(json.dumps(data, ensure_ascii=False))}" if data else ""
    return f"leverframe signal {run_id} {shlex.quote(str(event['intent']))}{given}"


def _values(task: "Task") -> list[str]:
    """An example of each answer: words where the answer is one text, JSON else."""
    if task.kind == "reconcile":
        return ["happened", "not_happened"]
    choices = cast("list[Object]", answers(task) or [])
    return [_value(choice, alone=len(choices) == 1) for choice in choices]


def _value(choice: Object, *, alone: bool) -> str:
    properties = cast("dict[str, Object]", choice.get("properties") or {})
    intents = cast("list[str]", properties.get("intent", {}).get("enum") or [properties.get("intent", {}).get("const") or ""])
    texts = [name for name, field in properties.items() if name != "intent" and _is_text(field)]
    data = cast("Object", _example(choice))
    if not data:
        return intents[0]
    if alone and len(texts) == 1 and list(data) == texts:
        return f"{texts[0].upper()}…"
    return json.dumps({"intent": intents[0], **data}, ensure_ascii=False)


def _is_text(field: Object) -> bool:
    return field.get("type") == "string" and not field.keys() & {"enum", "const", "format"}


def _example(schema: Object) -> Json:
    """The least that fits a schema, `…` for words; of an object what is required, without the intent."""
    for name in ("anyOf", "oneOf", "allOf"):
        if isinstance(several := schema.get(name), list) and isinstance(several[0], dict):
            return _example(several[0])
    if "const" in schema:
        return schema["const"]
    if isinstance(listed := schema.get("enum"), list):
        return listed[0]
    return _of_type(schema)


def _of_type(schema: Object) -> Json:
    match schema.get("type"):
        case "object":
            properties = cast("dict[str, Object]", schema.get("properties") or {})
            required = cast("list[str]", schema.get("required") or [])
            return {name: _example(properties[name]) for name in required if name in properties and name != "intent"}
        case "array":
            items = schema.get("items")
            return [_example(items)] if schema.get("minItems") and isinstance(items, dict) else []
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return FORMATS.get(str(schema.get("format")), "…")
