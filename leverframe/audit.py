"""Do a run's row, its effects and its human tasks say what its log says? They are written with the steps that make them; here they are
worked out from the log once more, and compared.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import cast

from leverframe.canon import Object, canonical, digest
from leverframe.ledger import Ledger, reconcile_task
from leverframe.machine import Definition
from leverframe.reduce import begin, reduce
from leverframe.run import Event, Run, chain
from leverframe.store import Effect, Task


def broken_chain(lines: Sequence[Event]) -> str | None:
    """Which event is not what was written, if one is not."""
    previous = ""
    for number, line in enumerate(lines, 1):
        body_hash = digest(line.body)
        expected = chain(previous, number, line.at, line.type, line.actor, body_hash)
        if line.seq != number or line.body_hash != body_hash or line.hash != expected:
            return f"event {number} is not what was written; the log was changed"
        previous = line.hash
    return None


class Replay:
    """A log folded again: the run it amounts to, and the rows that must stand beside it. No user code runs."""

    def __init__(self, definition: Callable[[str], Definition], lines: Sequence[Event]) -> None:
        self.run = begin(lines[0])
        self._ledger = Ledger()
        self._asked: dict[str, str] = {}  # by task: the hash of what was shown
        self._decided: dict[str, str] = {}  # by task: who
        for line in lines[1:]:
            pinned = definition(self.run.definition)
            after = reduce(pinned, self.run, line)
            self._ledger.add(pinned, self.run, after, line)
            self._people(line)
            self.run = after
        self._asked |= {task.id: task.shown_hash for task in self._ledger.open_tasks}

    def _people(self, line: Event) -> None:
        body = line.body
        if line.type == "opened" and body["kind"] in ("approve", "answer"):
            self._asked[cast("str", body["task"])] = cast("str", body["shown"])
        elif line.type == "edited" and body["next"] != body["task"]:
            self._asked[cast("str", body["next"])] = cast("str", body["shown"])
        if line.type in ("decided", "answered", "edited"):
            self._decided[cast("str", body["task"])] = cast("str", body["by"])
        elif line.type == "settled":
            self._decided[reconcile_task(cast("str", body["key"]))] = cast("str", body["by"])

    def disagreements(self, row: Run, effects: Sequence[Effect], tasks: Sequence[Task]) -> Iterator[str]:
        """One line for each row that is not what the log says, that is missing, or that the log knows nothing of."""
        for name in Run.__dataclass_fields__:
            was, now = cast("object", getattr(self.run, name)), cast("object", getattr(row, name))
            if was != now and not (name == "status" and {was, now} <= {"ready", "running"}):
                yield f"its row says {_differing(name, now, was)}"
        yield from self._effects(effects)
        yield from self._tasks(tasks)

    def _effects(self, rows: Sequence[Effect]) -> Iterator[str]:
        found = {row.key: row for row in rows}
        for key, told in self._ledger.effects.items():
            row = found.pop(key, None)
            if row is None:
                yield f"the effect {key} of {told.tool} is missing"
            elif canonical(row.args) != told.args or row.args_hash != told.args_hash:
                yield f"the arguments of the effect {key} of {told.tool} were changed"
            elif (row.tool, row.effect_class, row.status) != (told.tool, told.effect_class, told.status):
                yield f"the effect {key} says {row.tool} {row.status}, its log {told.tool} {told.status}"
        for key, row in found.items():
            yield f"the effect {key} of {row.tool} is in no event of its log"

    def _tasks(self, rows: Sequence[Task]) -> Iterator[str]:
        found = {row.id: row for row in rows}
        for task, shown in self._asked.items():
            row, by = found.pop(task, None), self._decided.get(task)
            if row is None:
                yield f"the task {task} is missing"
            elif row.shown_hash != shown or (row.kind != "reconcile" and _shown(row) != shown):
                yield f"what the task {task} showed was changed"
            elif by is not None and (row.status, row.decided_by) != ("decided", by):
                yield f"the task {task} is {row.status}, by {row.decided_by or 'nobody'}; its log says that {by} decided"
        for task in found:
            yield f"the task {task} is in no event of its log"


def _shown(row: Task) -> str:
    """The hash of what stands in the row, as it was hashed when it was shown; whom it went to is part of it."""
    asked: Object = {"content": row.content, "approver": row.to or ""}
    if row.kind == "approve":
        asked["call"] = row.call
    return digest([asked, row.answers])


def _differing(name: str, now: object, was: object) -> str:
    """`memory.order_id is 7, its log 8`: of a mapping only the first field that differs."""
    if isinstance(was, dict) and isinstance(now, dict):
        before, after = cast("Object", was), cast("Object", now)
        field = next(key for key in {**before, **after} if before.get(key) != after.get(key))
        return _differing(f"{name}.{field}", after.get(field), before.get(field))
    return f"{name} is {now!r:.80}, its log {was!r:.80}"
