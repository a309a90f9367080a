"""What must be true in the database together with a step: its effects, human tasks and wake-ups, worked out from the run before and after.

One place, so that no path can forget a row: whatever the event was, an effect that appeared, changed or vanished is written.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, cast

from leverframe.canon import Json, Object, canonical, digest
from leverframe.machine import Definition
from leverframe.run import OVER, Event, Pending, Run
from leverframe.store import EffectChange, Inbound, Spend, Task, Want
from leverframe.usage import sent, shadows, whole


@dataclass
class Ledger:
    """The rows of one commit. Feed it every event with the run before and after, in order."""

    effects: dict[str, EffectChange] = field(default_factory=dict[str, EffectChange])
    open_tasks: list[Task] = field(default_factory=list[Task])
    close_tasks: list[tuple[str, Literal["expired", "withdrawn"]]] = field(
        default_factory=list[tuple[str, Literal["expired", "withdrawn"]]]
    )
    notify_parent: Inbound | None = None
    children_want: Want | None = None
    spends: list[Spend] = field(default_factory=list[Spend])

    def add(self, definition: Definition, before: Run, after: Run, event: Event) -> None:
        self._pending(definition, before, after, event)
        self._doubts(definition, before, after, event)
        self._waiting(before, after, event)
        if before.reserved is not None or after.reserved is not None:
            self.spends += spends(definition, before, after, event)
        if after.status in OVER and before.status not in OVER and after.parent:
            success = after.status == "done"
            body: Object = {"child": after.id, "success": success, "did": after.did or bool(after.doubts)}
            self.notify_parent = Inbound("child", after.id, after.parent, event.at, "child", body)

    def ask(self, run: Run, event: Event, answers: object) -> None:
        """The human task that goes with an `opened` or an `edited`, if one does."""
        body = event.body
        if event.type == "edited":
            if body["next"] == body["task"] or run.pending is None or run.waiting is None:
                return
            kind = "approve"
        elif body.get("kind") in ("approve", "answer"):
            kind = cast("str", body["kind"])
        else:
            return
        asked = cast("Object", body["arguments"])
        call = cast("Object", asked.get("call") or {})
        content, to = cast("str", asked["content"]), cast("str", asked["approver"])
        waiting = run.waiting
        assert waiting is not None, "the reducer set it with this event"
        task = Task(
            id=waiting.id,
            run_id=run.id,
            kind="approve" if kind == "approve" else "answer",
            state=run.state,
            to=to or None,
            content=content,
            shown_hash=waiting.shown,
            opened_at=event.at,
            expires_at=waiting.expires_at,
            call=call or None,
            answers=cast("Object | None", answers),
        )
        self.open_tasks.append(task)

    def _pending(self, definition: Definition, before: Run, after: Run, event: Event) -> None:
        was, now = before.pending, after.pending
        if before.held is not None and (now is None or was is None or now.key == was.key):
            return  # it is done and written; only keeping it was left
        if was is not None and after.held is not None:
            self._effect(definition, was, event, "done")
        if was is now:
            return
        if was is not None and before.held is None and (now is None or now.key != was.key):
            self._effect(definition, was, event, _end_of(was, after, event))
        if now is not None and (was is None or now != was):
            self._effect(definition, now, event, _status_of(definition, now))

    def _doubts(self, definition: Definition, before: Run, after: Run, event: Event) -> None:
        if before.doubts is after.doubts:
            return
        was, now = {call.key: call for call in before.doubts}, {call.key: call for call in after.doubts}
        for key in was.keys() - now.keys():
            self._effect(definition, was[key], event, "done" if _happened(event) else "not_done")
            self.close_tasks.append((reconcile_task(key), "withdrawn"))
        for key in now.keys() - was.keys():
            self._effect(definition, now[key], event, "unknown")
            self.open_tasks.append(_doubt_task(after, now[key], event))

    def _waiting(self, before: Run, after: Run, event: Event) -> None:
        was = before.waiting
        if was is not None and was.kind == "children" and event.type == "paused":
            self.children_want = "pause"
        if was is None or (after.waiting is not None and after.waiting.id == was.id):
            return
        if was.kind in ("approve", "answer") and event.type in ("expired", "cancelled", "settled"):
            self.close_tasks.append((was.id, "expired" if event.type == "expired" else "withdrawn"))
        if was.kind == "children" and event.type in ("expired", "cancelled"):
            self.children_want = "cancel"

    def _effect(self, definition: Definition, call: Pending, event: Event, status: str) -> None:
        tool = definition.tools[call.tool_name]
        if tool.effect == "read":
            return  # repeatable and changing nothing: the log has it, the outbox need not
        over = status in ("done", "failed", "unknown", "not_done")
        mine = event.body.get("key") == call.key
        error = event.body.get("error") if mine else None
        self.effects[call.key] = EffectChange(
            key=call.key,
            ordinal=call.ordinal,
            tool=call.tool_name,
            args=canonical(call.arguments),
            args_hash=call.digest,
            effect_class=tool.effect,
            status=status,
            attempts=call.attempts + (over and status != "unknown" and tool.effect != "once" and event.type == "acted"),
            first_at=call.entered_at,
            marked_at=call.marked_at,
            done_at=event.at if over else None,
            error=canonical(error) if error else None,
            result=canonical(event.body["result"]) if mine and "result" in event.body else None,
        )


def _status_of(definition: Definition, call: Pending) -> str:
    if call.act is None:
        return "approved" if call.approved else "selected"
    effect = definition.tools[call.tool_name].effect
    return "started" if call.mark is not None or effect == "keyed" else "approved" if call.approved else "selected"


def _end_of(call: Pending, after: Run, event: Event) -> str:
    """What became of a call that is pending no more."""
    if any(doubt.key == call.key for doubt in after.doubts):
        return "unknown"
    if event.type != "acted":
        return "void"
    return "failed" if event.body.get("outcome") == "error" else "done"


def _happened(event: Event) -> bool:
    return event.body.get("outcome") == "happened" or event.body.get("happened") is True


def reconcile_task(key: str) -> str:
    return f"task_{digest(key)[:20]}"


def task_id(run_id: str, seq: int) -> str:
    return f"task_{digest([run_id, seq])[:20]}"


def _doubt_task(run: Run, call: Pending, event: Event) -> Task:
    content = f"Nobody knows whether this call of {call.tool_name} happened. Find out and say so: it is never repeated blindly."
    shown: Json = {"content": content, "tool_name": call.tool_name, "arguments": call.arguments}
    return Task(
        id=reconcile_task(call.key),
        run_id=run.id,
        kind="reconcile",
        state=call.act or run.state,
        to=None,
        content=content,
        shown_hash=digest(shown),
        opened_at=event.at,
        expires_at=None,
        call={"tool_name": call.tool_name, "arguments": call.arguments},
    )


# ── budgets ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def spends(definition: Definition, before: Run | None, after: Run, event: Event) -> Iterator[Spend]:
    """What an event changes of its machine's days: a reservation is given back where the call was made or will not be, and what was
    used up is counted on the day it was set aside from, whenever the answer came."""
    was, now = before.reserved if before else None, after.reserved
    again = event.type in ("postponed", "blocked")  # the same call will be made, with fewer beside it
    anew = was is not now and not again
    if was is not None:
        by, made = whole(event.body), len(shadows(event.body)) + (event.type == "asked" and sent(event.body))
        still = None if anew else now
        calls = made - was.calls + (still.calls if still else 0)
        tokens, cost = (by.tokens, by.cost) if still else (by.tokens - was.tokens, by.cost - was.cost)
        if calls or tokens or cost:
            yield Spend(after.machine, was.day, calls, tokens, cost)
    if now is not None and anew:
        limits = {name: limit * (1 + after.granted) for name, limit in definition.daily.items()}
        yield Spend(after.machine, now.day, now.calls, now.tokens, now.cost, limits)
