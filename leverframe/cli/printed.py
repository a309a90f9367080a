"""Runs for people: as they happen, and where they stand, with the exact command that goes on."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from rich.cells import chop_cells
from rich.console import Console
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

from leverframe.canon import Json, Object
from leverframe.cli import goes_on
from leverframe.cli.shown import is_overdue
from leverframe.cli.words import BAR, cut, line, plain, quoted
from leverframe.clock import SECOND, Micros, iso
from leverframe.machine import Definition
from leverframe.project.names import children_of, status_of, tasks_of
from leverframe.run import Event, Run

if TYPE_CHECKING:
    from leverframe.llm import Hears, Request
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
STOPPED = frozenset({"attention", "blocked", "quarantined", "paused"})


_FROM_THE_LEFT = Control((ControlType.CURSOR_MOVE_TO_COLUMN, 0), (ControlType.ERASE_IN_LINE, 2))


def console() -> Console:
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True)


class Live:
    """Prints the events of a run, and of its children, as they are committed; on a terminal also what a model is writing."""

    def __init__(self, to: Console, *, names: bool = False) -> None:
        self.console = to
        self.root = ""
        self._names = names  # many runs: each line says whose it is
        self._writing = ""

    def __call__(self, run: Run, event: Event) -> None:
        self.root = self.root or run.id
        said = _event(run, event)
        if said is None:
            return
        self._print(run, *said)

    def say(self, run: Run, words: str) -> None:
        """Something about a run that is no event."""
        self._print(run, f"{run.state:<12} {words}", "dim")

    @property
    def hears(self) -> "Hears | None":
        """Hears models as they write, where there is a terminal to show it on."""
        return self._hear if self.console.is_terminal and not self._names else None

    def _hear(self, request: "Request", piece: str) -> None:
        """One line, written over and over, gone with the next event: what is recorded is what is committed."""
        self._writing = (self._writing + piece)[-2000:]
        room = max(10, self.console.width - 20)
        shown = (chop_cells(line(" ".join(self._writing.split())), room) or [""])[-1]
        self.console.control(_FROM_THE_LEFT)
        self.console.print(Text(f"  {request.state:<12} … {shown}", style="dim"), end="", no_wrap=True, crop=True)

    def _print(self, run: Run, words: str, style: str) -> None:
        if self._writing:
            self._writing = ""
            self.console.control(_FROM_THE_LEFT)
        head = f"{run.id}  {run.machine:<12} " if self._names else "  " if run.id == self.root else f"    {run.machine} "
        self.console.print(Text(head + line(words), style=style))


def _event(run: Run, event: Event) -> tuple[str, str] | None:
    """One line about an event, and how it looks; None for what only the log needs."""
    body, kind = event.body, event.type
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
        return f"{state or run.state:<12} {run.status}: {reason(body.get('reason'))}", "bold red"
    if kind == "postponed":
        return f"{state:<12} tries again: {body.get('why') or ''}", "dim"
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
    refused = body.get("refused")
    error = refused.get("error") if isinstance(refused, dict) else body.get("error")
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
    to.print(Text.assemble((line(run.machine), "bold"), f"  {run.id}"))


def offline(to: Console, model: str) -> None:
    """Said on every run, because canned answers must never be taken for real ones."""
    if model == "examples":
        to.print(Text("  offline: the model is `examples`, which answers with the examples beside the prompts", style="dim"))


async def standing(to: Console, store: "Store", run_id: str, model: str | None = None) -> None:
    """Where the run came to rest, and the exact commands that go on."""
    row = await store.load(run_id)
    tasks = await tasks_of(store, run_id)
    run, now = row.run, store.clock.now()
    to.print()
    _print_status(to, row, now)
    if run.result is not None:
        quote(to, readable(run.result))
    if run.queue:
        names = ", ".join(line(call["tool_name"]) for call in run.queue)
        to.print(Text(f"  behind it, of the same answer: {names}", style="dim"))
    for task in tasks:
        _print_task(to, task, now, goes_on.with_task(task, now, eldest=run_id, model=model))
    await _print_way_on(to, store, row, model)
    for child in await children_of(store, run_id) if _waits_for(run, "children") else []:
        if child.run.status in STOPPED or _waits_for(child.run, "wait"):
            to.print()
            _print_status(to, child, now, f"child {child.run.id}: ")
            await _print_way_on(to, store, child, model)


def _print_status(to: Console, row: "Row", now: Micros, head: str = "") -> None:
    run, status = row.run, status_of(row, now)
    why = f": {reason(run.reason)}" if run.reason else ""
    until = f" until {iso(run.waiting.expires_at)}" if run.waiting and _waits_for(run, "wait", "children") else ""
    to.print(Text.assemble(head, (status, COLOURS.get(status, "bold")), f" in {line(run.state)}{until}{line(why)}"))


async def _print_way_on(to: Console, store: "Store", row: "Row", model: str | None) -> None:
    if waits := why_waits(row, store.clock.now()):
        to.print(Text(f"  {waits}", style="dim"))
    for command in goes_on.with_run(row, model, await _events(store, row.run)):
        to.print(Text.assemble("\n  ", (line(command), "bold cyan")))


def _waits_for(run: Run, *kinds: str) -> bool:
    return run.status == "waiting" and run.waiting is not None and run.waiting.kind in kinds


async def _events(store: "Store", run: Run) -> list[Object]:
    """What a Wait waits for, by the definition that the run is pinned to: whatever became of the code."""
    if not _waits_for(run, "wait"):
        return []
    definition = Definition(await store.definition(run.definition))
    return cast("list[Object]", definition.states[run.state].body["choices"])


def why_waits(row: "Row", now: Micros) -> str | None:
    """Why nothing happens with a run that has something to do. None where somebody is at it, or could be at once."""
    run, wake = row.run, row.wake_at
    if status_of(row, now) != "ready" or wake is None or wake - now < SECOND:
        return None
    until = f"waits until {iso(wake)}"
    if run.postponed is not None:
        return f"{until}, to try {line(run.state)} again"
    if run.pending is not None and run.pending.mark is not None:
        return f"{until}: a process ended while it called {line(run.pending.tool_name)}, and the call may be under way until then"
    return until


def reason(words: object) -> str:
    """Why a person is needed. Reasons are made of several messages, and are kept as they were written: one full stop is enough."""
    return re.sub(r"(?<!\.)([.?!])\.(?= )", r"\1", str(words))


def _print_task(to: Console, task: "Task", now: Micros, commands: Sequence[str]) -> None:
    to.print()
    if task.content:
        quote(to, task.content)
    if task.call:
        to.print(Text(f"\n  {line(task.call.get('tool_name'))}", style="bold"))
        quote(to, readable(task.call.get("arguments")), "    ")
    if task.expires_at is not None or task.to:
        to.print(Text(f"\n  {'waits' if task.kind != 'reconcile' else 'open'} {_for(task, now)}", style="dim"))
    to.print()
    for command in commands:
        to.print(Text.assemble("  ", (line(command), "bold cyan")))


def _for(task: "Task", now: Micros) -> str:
    until = "" if task.expires_at is None else f" until {iso(task.expires_at)}"
    over = ", which is over: nobody can decide it any more, and the run goes on without" if is_overdue(task, now) else ""
    return f"for {line(task.to or 'anybody')}{until}{over}"


async def whole(to: Console, store: "Store", run_id: str, *, events: bool) -> None:
    """`leverframe show`: everything about a run."""
    row = await store.load(run_id)
    run, now = row.run, store.clock.now()
    heading(to, run)
    key = f", key {row.start_key}" if row.start_key else ""
    parent = f", started by {run.parent}" if run.parent else ""
    model = f", {run.model_calls} model calls{' (offline)' if run.offline else ''}, {run.cost / 1_000_000:.4f} dollars"
    to.print(Text(line(f"  started {iso(row.created_at)}{key}{parent}; event {run.seq}, {run.steps} steps{model}"), style="dim"))
    quote(to, readable(run.memory))
    if run.error:
        to.print(Text(line(f"  last error in {run.error.get('state')}:"), style="red"))
        quote(to, run.error.get("cause"), style="red")
    for child in await children_of(store, run_id):
        to.print(Text(line(f"  child {child.run.id} {status_of(child, now)} in {child.run.state}")))
    for effect in await store.effects(run_id):
        _print_effect(to, effect)
    for event in await store.events(run_id) if events else ():
        _print_event(to, event)
    await standing(to, store, run_id)


def _print_effect(to: Console, effect: "Effect") -> None:
    attempts = f"{effect.attempts} attempt{'' if effect.attempts == 1 else 's'}"
    style = {"done": "green", "failed": "red", "unknown": "bold red"}.get(effect.status, "yellow")
    to.print(
        Text.assemble("  ", (effect.status, style), f" {line(effect.tool)}  {effect.effect_class}, {attempts}, {effect.key}")
    )
    quote(to, readable(effect.args, inline=300), "    ", style="dim")


def _print_event(to: Console, event: Event) -> None:
    to.print(Text(line(f"  {event.seq:>4}  {iso(event.at)}  {event.type:<9} {event.actor}")))
    to.print(Text(f"        {BAR}{cut(line(json.dumps(event.body, ensure_ascii=False)))}", style="dim"))


def runs(to: Console, rows: "Sequence[Row]", more: int, now: Micros) -> None:
    cells = [
        (row.run.id, row.run.machine, status_of(row, now), row.run.state, iso(row.updated_at), row.start_key or "")
        for row in rows
    ]
    columns(to, cells, [row[2] for row in cells])
    rest(to, len(rows), more)


def columns(to: Console, rows: Sequence[Sequence[str]], statuses: Sequence[str] = ()) -> None:
    """One line a row, each in the colour of its status."""
    words = [[line(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*words, strict=True)]
    for number, row in enumerate(words):
        shown = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        to.print(Text(shown.rstrip(), style=COLOURS.get(statuses[number], "") if statuses else ""))


def tasks(to: Console, found: "Sequence[Task]", more: int, now: Micros, eldest: Mapping[str, str]) -> None:
    """Each with what it is about and the commands that decide it. `eldest`: of runs with a parent, the run to go on with."""
    for task in found:
        head = line(f"  {task.kind} in {task.state} of {task.run_id}, ")
        late = "  overdue" if is_overdue(task, now) else ""
        to.print(Text.assemble((task.id, "bold"), (late, "bold red"), head, _for(task, now)))
        if task.call:
            to.print(Text(f"  {line(task.call.get('tool_name'))}", style="bold"))
            quote(to, readable(task.call.get("arguments")), "    ")
        elif task.content:
            quote(to, cut(line(task.content)))
        for command in goes_on.with_task(task, now, eldest=eldest.get(task.run_id, "")):
            to.print(Text(f"  {line(command)}", style="cyan"))
        to.print()
    rest(to, len(found), more)


def rest(to: Console, shown: int, more: int) -> None:
    if more > 0:
        to.print(Text(f"… {more:,} more: --limit {shown + more}", style="dim"))


def quote(to: Console, words: object, by: str = "  ", style: str = "") -> None:
    """Words from outside, each line of the screen behind a bar: what is too long is broken here, not by the terminal."""
    width = max(20, to.width - len(by) - len(BAR))
    broken = "\n".join("\n".join(chop_cells(each, width)) if each else "" for each in plain(words).expandtabs(4).split("\n"))
    to.print(Text(quoted(broken if to.is_terminal else words, by), style=style))


def readable(value: Json, *, inline: int = 0) -> str:
    """JSON data as compact YAML."""
    from leverframe.readable import readable as shown

    return plain(shown(value, inline=inline))


def is_bad(row: "Row") -> bool:
    """Whether a command that went on with the run failed at its work."""
    return row.run.status in ("failed", "cancelled", *STOPPED - {"paused"})
