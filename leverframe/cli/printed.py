"""Runs for people: as they happen, and where they stand, with the exact command that goes on."""

import json
import re
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from rich.console import Console
from rich.text import Text

from leverframe.canon import Json, Object
from leverframe.cli.shown import answers
from leverframe.clock import iso
from leverframe.project import find
from leverframe.project.names import children_of, tasks_of, verb
from leverframe.run import OVER, Event, Run

if TYPE_CHECKING:
    from leverframe.store import Effect, Row, Store, Task

COLOURS = {
    "done": "green",
    "failed": "red",
    "cancelled": "red",
    "attention": "bold red",
    "blocked": "bold red",
    "quarantined": "bold red",
    "waiting": "yellow",
    "paused": "yellow",
}
_HOSTILE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def console() -> Console:
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True)


def plain(words: object) -> str:
    """Words from outside, so that they can neither move the cursor nor turn around what a person is asked to release."""
    return _HOSTILE.sub(lambda sign: f"\\u{ord(sign[0]):04x}", str(words))


class Live:
    """Prints the events of a run, and of its children, as they are committed."""

    def __init__(self, to: Console, *, names: bool = False) -> None:
        self.console = to
        self.root = ""
        self._names = names  # many runs: each line says whose it is

    def __call__(self, run: Run, line: Event) -> None:
        self.root = self.root or run.id
        said = _event(run, line)
        if said is None:
            return
        words, style = said
        head = f"{run.id}  {run.machine:<12} " if self._names else "  " if run.id == self.root else f"    {run.machine} "
        self.console.print(Text(head + plain(words), style=style))


def _event(run: Run, line: Event) -> tuple[str, str] | None:
    """One line about an event, and how it looks; None for what only the log needs."""
    body, kind = line.body, line.type
    state = str(body.get("state", ""))
    if kind == "opened":
        return f"{state:<12} waits{_for_whom(body)}", "yellow"
    if kind == "ended":
        return f"{state:<12} {run.status}", COLOURS.get(run.status, "")
    if "outcome" in body:
        outcome = str(body["outcome"])
        over = " (a limit was reached)" if body.get("exceeded") else ""
        details = _details(body)
        return f"{state:<12} {outcome} → {body.get('to')}{over}{f'   {details}' if details else ''}", (
            "dim" if outcome in ("error", "retry") else ""
        )
    if kind in ("stuck", "blocked", "quarantined"):
        return f"{state or run.state:<12} {run.status}: {body.get('reason')}", "bold red"
    if kind == "postponed":
        return f"{state:<12} tries again: {body.get('error') or ''}", "dim"
    if kind in ("paused", "resumed", "cancelled", "retried", "migrated", "edited", "settled"):
        by = f" by {body['by']}" if body.get("by") else ""
        return f"{run.state:<12} {kind}{by}", "yellow"
    return None


def _for_whom(body: Object) -> str:
    asked = body.get("arguments")
    children = body.get("children")
    if isinstance(children, list):
        return f" for {len(children)} run{'' if len(children) == 1 else 's'} of {body.get('machine')}"
    return f" for {asked['approver']}" if isinstance(asked, dict) and asked.get("approver") else ""


def _details(body: Object) -> str:
    """Which tools were called, or what went wrong."""
    error = body.get("error")
    if isinstance(error, dict):
        return str(error.get("cause", ""))[:160]
    calls = body.get("calls")
    names = [str(call.get("tool_name")) for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    if not names and body.get("tool_name") and "decision" not in str(body.get("arguments")):
        names = [str(body["tool_name"])]
    by = [f"by {body['by']}"] if body.get("by") else []
    return ", ".join([*dict.fromkeys(names), *by])


# ── where a run stands ───────────────────────────────────────────────────────────────────────────────────────────────────────


def heading(to: Console, run: Run) -> None:
    to.print(Text.assemble((plain(run.machine), "bold"), f"  {run.id}"))


def offline(to: Console, model: str) -> None:
    """Said on every run, because canned answers must never be taken for real ones."""
    if model == "examples":
        to.print(Text("  offline: the model is `examples`, which answers with the examples beside the prompts", style="dim"))


async def standing(to: Console, store: "Store", run_id: str, model: str | None = None) -> None:
    """Where the run came to rest, and the exact command that goes on."""
    row = await store.load(run_id)
    tasks = await tasks_of(store, run_id)
    run, status = row.run, row.run.status
    to.print()
    to.print(
        Text.assemble(
            (status, COLOURS.get(status, "bold")), f" in {plain(run.state)}", f": {plain(run.reason)}" if run.reason else ""
        )
    )
    if run.result is not None:
        to.print(Text(_indented(readable(run.result))))
    more = f" --model {shlex.quote(model)}" if model else ""
    for task in tasks:
        _print_task(to, task, only=len(tasks) == 1, more=more)
    for command in _commands(row, tasks):
        to.print(Text.assemble("\n  ", (command + more, "bold cyan")))


def _commands(row: "Row", tasks: "Sequence[Task]") -> list[str]:
    run = row.run
    match run.status:
        case "attention" | "blocked" | "quarantined":
            grant = " --grant 1" if (run.reason or "").startswith("limit reached") else ""
            return [f"leverframe retry {run.id}{grant}"]
        case "paused":
            return [f"leverframe resume {run.id}"]
        case "ready" | "running":
            return [f"leverframe advance {run.id}"]
        case "waiting" if not tasks and run.waiting is not None and run.waiting.kind == "wait":
            return [f"leverframe signal {run.id} {name}" for name in _events(run)] + [f"leverframe show {run.id}"]
        case _:
            return []


def _events(run: Run) -> list[str]:
    """What a Wait waits for, where the machine still knows its state."""
    state = find().machine(run.machine).states.get(run.state)
    return [reply.intent for reply in getattr(state, "events", ())]


def _print_task(to: Console, task: "Task", *, only: bool, more: str) -> None:
    to.print()
    for line in plain(task.content).splitlines():
        to.print(Text(f"  {line}"))
    if task.call:
        to.print(Text(f"\n  {plain(task.call.get('tool_name'))}", style="bold"))
        to.print(Text(_indented(readable(task.call.get("arguments")), "    ")))
    if task.expires_at is not None or task.to:
        until = f" until {iso(task.expires_at)}" if task.expires_at is not None else ""
        to.print(
            Text(f"\n  {'waits' if task.kind != 'reconcile' else 'open'} for {plain(task.to or 'anybody')}{until}", style="dim")
        )
    to.print()
    for command in task_commands(task, task.run_id if only and task.kind != "reconcile" else task.id):
        to.print(Text.assemble("  ", (command + more, "bold cyan")))


def task_commands(task: "Task", named: str) -> list[str]:
    """The exact commands that decide a task."""
    if task.kind == "approve":
        return [f"leverframe approve {named} --by YOU", f'leverframe reject {named} --by YOU --comment "…"']
    return [f"leverframe {verb(task)} {named} --by YOU --value {shlex.quote(value)}" for value in _values(task)]


def _values(task: "Task") -> list[str]:
    """An example of each answer: words where the answer is one text, JSON else."""
    if task.kind == "reconcile":
        return ["happened", "not_happened"]
    found: list[str] = []
    choices = cast("list[Object]", answers(task) or [])
    for choice in choices:
        properties = cast("dict[str, Object]", choice.get("properties") or {})
        intents = cast("list[str]", properties.get("intent", {}).get("enum") or [""])
        fields = {name: field for name, field in properties.items() if name != "intent"}
        if not fields:
            found.append(intents[0])
        elif len(choices) == len(fields) == 1 and all(field.get("type") == "string" for field in fields.values()):
            found.append(f"{next(iter(fields)).upper()}…")
        else:
            found.append(json.dumps({"intent": intents[0], **dict.fromkeys(fields, "…")}, ensure_ascii=False))
    return found


async def whole(to: Console, store: "Store", run_id: str, *, events: bool) -> None:
    """`leverframe show`: everything about a run."""
    row = await store.load(run_id)
    run = row.run
    heading(to, run)
    key = f", key {row.start_key}" if row.start_key else ""
    parent = f", started by {run.parent}" if run.parent else ""
    model = f", {run.model_calls} model calls{' (offline)' if run.offline else ''}, {run.cost / 1_000_000:.4f} dollars"
    to.print(Text(plain(f"  started {iso(row.created_at)}{key}{parent}; event {run.seq}, {run.steps} steps{model}"), style="dim"))
    to.print(Text(_indented(readable(run.memory))))
    if run.error:
        to.print(Text(_indented(plain(f"last error in {run.error.get('state')}: {run.error.get('cause')}")), style="red"))
    for child in await children_of(store, run_id):
        to.print(Text(f"  child {child.run.id} {child.run.status} in {child.run.state}"))
    for effect in await store.effects(run_id):
        _print_effect(to, effect)
    for line in await store.events(run_id) if events else ():
        _print_event(to, line)
    await standing(to, store, run_id)


def _print_effect(to: Console, effect: "Effect") -> None:
    attempts = f"{effect.attempts} attempt{'' if effect.attempts == 1 else 's'}"
    style = {"done": "green", "failed": "red", "unknown": "bold red"}.get(effect.status, "yellow")
    to.print(
        Text.assemble("  ", (effect.status, style), f" {plain(effect.tool)}  {effect.effect_class}, {attempts}, {effect.key}")
    )
    to.print(Text(_indented(readable(effect.args, inline=300), "    "), style="dim"))


def _print_event(to: Console, line: Event) -> None:
    to.print(Text(plain(f"  {line.seq:>4}  {iso(line.at)}  {line.type:<9} {line.actor}")))
    to.print(Text(f"        {_cut(' '.join(readable(line.body, inline=100_000).split()))}", style="dim"))


def runs(to: Console, rows: "Sequence[Row]") -> None:
    cells = [
        (row.run.id, row.run.machine, row.run.status, row.run.state, iso(row.updated_at), row.start_key or "") for row in rows
    ]
    widths = [max(len(column) for column in columns) for columns in zip(*cells, strict=True)]
    for row in cells:
        words = "  ".join(f"{plain(cell):<{width}}" for cell, width in zip(row, widths, strict=True))
        to.print(Text(words.rstrip(), style=COLOURS.get(row[2], "")))


def tasks(to: Console, found: "Sequence[Task]") -> None:
    """Each with what it is about and the commands that decide it."""
    for task in found:
        until = f" until {iso(task.expires_at)}" if task.expires_at is not None else ""
        to.print(
            Text.assemble(
                (task.id, "bold"), plain(f"  {task.kind} in {task.state} of {task.run_id}, for {task.to or 'anybody'}{until}")
            )
        )
        call = task.call or {}
        what = f"{call['tool_name']} {readable(call.get('arguments'), inline=100_000)}" if call else plain(task.content)
        to.print(Text(f"  {_cut(' '.join(what.split()))}"))
        for command in task_commands(task, task.id):
            to.print(Text(f"  {command}", style="cyan"))
        to.print()


def _cut(words: str, length: int = 300) -> str:
    return words if len(words) <= length else words[: length - 1] + "…"


def readable(value: Json, *, inline: int = 0) -> str:
    """JSON data as compact YAML."""
    from leverframe.prompt import readable as shown

    return plain(shown(value, inline=inline))


def _indented(words: str, by: str = "  ") -> str:
    return "\n".join(by + line for line in words.splitlines())


def is_bad(row: "Row") -> bool:
    """Whether a command that went on with the run failed at its work."""
    return row.run.status in ("failed", "cancelled", "attention", "blocked", "quarantined")


def is_over(row: "Row") -> bool:
    return row.run.status in OVER
