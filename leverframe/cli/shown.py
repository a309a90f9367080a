"""Runs, tasks and effects as JSON. These keys are stable: scripts read them."""

from typing import TYPE_CHECKING

from leverframe.canon import Json, Object, digest
from leverframe.clock import Micros, iso
from leverframe.project.names import children_of, status_of, tasks_of
from leverframe.run import Event

if TYPE_CHECKING:
    from leverframe.store import Effect, Row, Store, Task


async def shown(store: "Store", run_id: str, *, events: bool = False) -> Object:
    """A run with everything about it."""
    row, now = await store.load(run_id), store.clock.now()
    tasks = await tasks_of(store, run_id)
    effects = await store.effects(run_id)
    children = await children_of(store, run_id)
    body = run_json(row, now)
    body["tasks"] = [task_json(task, now) for task in tasks]
    body["effects"] = [effect_json(effect) for effect in effects]
    if children:
        body["children"] = [brief(child, now) for child in children]
    if events:
        body["events"] = [event_json(line) for line in await store.events(run_id)]
    return body


def brief(row: "Row", now: Micros) -> Object:
    run = row.run
    return {
        "run": run.id,
        "machine": run.machine,
        "status": status_of(row, now),
        "state": run.state,
        "seq": run.seq,
        "key": row.start_key,
        "parent": run.parent,
        "reason": run.reason,
        "created_at": iso(row.created_at),
        "updated_at": iso(row.updated_at),
    }


def run_json(row: "Row", now: Micros) -> Object:
    run = row.run
    return {
        **brief(row, now),
        "memory": run.memory,
        "result": run.result,
        "error": run.error,
        "queue": list(run.queue),  # of an answer with several calls: those that wait behind the pending one
        "definition": run.definition,
        "offline": run.offline,
        "steps": run.steps,
        "model_calls": run.model_calls,
        "tokens": run.tokens,
        "cost_usd": run.cost / 1_000_000,
        "want": row.want,
        "wake_at": when(row.wake_at),
    }


def is_overdue(task: "Task", now: Micros) -> bool:
    """Nobody can decide it any more; the run finds out when somebody goes on with it."""
    return task.status == "open" and task.expires_at is not None and task.expires_at <= now


def task_json(task: "Task", now: Micros) -> Object:
    """`digest` is that of the call, the same as its effect's; of a question that of what is shown."""
    call = task.call or {}
    return {
        "task": task.id,
        "run": task.run_id,
        "kind": task.kind,
        "state": task.state,
        "status": task.status,
        "to": task.to,
        "content": task.content,
        "tool_name": call.get("tool_name"),
        "arguments": call.get("arguments"),
        "digest": digest({"tool_name": call["tool_name"], "arguments": call["arguments"]}) if call else task.shown_hash,
        "shown": task.shown_hash,
        "answers": answers(task),
        "opened_at": iso(task.opened_at),
        "expires_at": when(task.expires_at),
        "overdue": is_overdue(task, now),
        "decided_at": when(task.decided_at),
        "decided_by": task.decided_by,
        "answer": task.answer,
    }


def answers(task: "Task") -> Json:
    """What can be answered: a JSON Schema for each intent."""
    if task.kind == "reconcile":
        return [{"properties": {"intent": {"enum": ["happened"]}}}, {"properties": {"intent": {"enum": ["not_happened"]}}}]
    if task.answers is None:
        return None
    following = _get(_get(task.answers, "properties"), "next")
    found = following.get("anyOf")
    return found if isinstance(found, list) else [following or task.answers]


def effect_json(effect: "Effect") -> Object:
    return {
        "key": effect.key,
        "tool_name": effect.tool,
        "arguments": effect.args,
        "digest": effect.args_hash,
        "effect": effect.effect_class,
        "status": effect.status,
        "attempts": effect.attempts,
        "first_at": when(effect.first_at),
        "done_at": when(effect.done_at),
        "result": effect.result,
        "error": effect.error,
    }


def event_json(line: Event) -> Object:
    return {"seq": line.seq, "at": iso(line.at), "type": line.type, "actor": line.actor, "body": line.body, "hash": line.hash}


def when(at: Micros | None) -> str | None:
    return None if at is None else iso(at)


def _get(value: Json, name: str) -> Object:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}
