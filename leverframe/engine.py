"""The engine: start, advance, decide, signal, pause, resume, cancel, retry, fork, migrate, verify.

Whoever holds a run's lease goes on with it; everybody else leaves word (`want`, a decision, a signal) in the same database and wakes it.
"""

import asyncio
import logging
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Never, cast

from leverframe import perform
from leverframe.audit import Replay, broken_chain
from leverframe.canon import Json, Object, admit, digest
from leverframe.changes import Change, changes
from leverframe.clock import SECOND
from leverframe.diff import Parked, Standing, parked
from leverframe.drive import Drive
from leverframe.errors import (
    AlreadyPaused,
    BadCompletion,
    Busy,
    InvalidAnswer,
    LeverframeError,
    Lost,
    NotPaused,
    NotRetryable,
    NotWaiting,
    Overdrawn,
    RunOver,
    Tampered,
    UnknownRun,
    did_you_mean,
)
from leverframe.held import Held
from leverframe.limits import DAILY
from leverframe.machine import Definition
from leverframe.perform import Bound, Draft
from leverframe.recording import pinned
from leverframe.reduce import LIMIT_REACHED, begin, fold, migrated_rules, rules_of
from leverframe.run import OVER, Event, Run, event
from leverframe.start import TriggerCommand, id_of, named, read_input
from leverframe.state import Consult, Reply, Wait
from leverframe.store import Decided, NewRun, Row, Want, is_dead
from leverframe.window import window_of

__all__ = ["Engine", "TriggerCommand"]
log = logging.getLogger("leverframe")


POLL: float = 0.25
"""Seconds between looks at a run that goes on elsewhere, or whose time has not come."""


class Engine(Drive):
    """Runs machines on one store. Use it as an async context manager, or `close` it.

    machines    what can be started
    llm         the model; None where no machine asks one
    clock       time; tests pass `leverframe.testing.FakeClock`
    lease       seconds a silent holder keeps a run
    patience    seconds `advance` waits for a call that was postponed, before it leaves it to whoever comes then
    watch       called with the run and each event once it is committed
    """

    # ── starting and going on ────────────────────────────────────────────────────────────

    async def start(self, command: TriggerCommand, *, hold: bool = False) -> Row:
        """One run for one key. The same key with the same input is the same run; with another, KeyConflict.

        Raises UnknownMachine, InvalidMemory, KeyConflict. With `hold` this process goes on with it in the same commit.
        """
        machine = self.machine(command.machine)
        definition = await self._definition_of(machine)
        memory = read_input(machine, command.input)
        pins = await self._pins(definition)
        try:
            return await self._start(self._new_run(definition, memory, command, pins, reserve=True), hold)
        except Overdrawn:  # it begins all the same, and where its first call would be it goes where its limits lead
            return await self._start(self._new_run(definition, memory, command, pins), hold)

    async def _start(self, new: NewRun, hold: bool) -> Row:
        if not hold or self._has(new.run.id):
            return await self._begin(new)
        self._claiming.add(new.run.id)
        try:
            row = await self._begin(replace(new, owner=self.owner, lease_until=self._lease_until()))
            # The same key gives the same id: what a process before us began and left is claimed like any other run.
            if row.lease_owner == self.owner and row.run.head == new.run.head:
                bound = await self._bind(new.run.definition, new.run.machine)
                window = window_of(bound.definition, new.events) if bound.asks else None
                held = Held(row, new.run, bound, self._safe(), window=window)
                self._reserved[new.run.id] = held
                self._hold(held)
        finally:
            self._claiming.discard(new.run.id)
        return row

    async def _begin(self, new: NewRun) -> Row:
        started = await self.store.start(new)
        if started.created:
            self._tell(new.run, new.events[0])
        return started.row or await self.store.load(started.run_id)

    async def advance(self, run_id: str) -> Row:
        """Goes on until the run is over or somebody or something is waited for; child runs too. Follows it where another process holds it."""
        while True:
            held = await self._claim(run_id)
            if held is None:
                if not await self._follow(run_id):
                    return await self.store.load(run_id)
                continue
            seq = held.run.seq
            try:
                await self._drive(held)
            except Lost:
                continue  # whoever holds it now is followed; where nobody does, it is taken up again
            if held.inbox and held.run.seq > seq:
                continue  # something came while it went to rest
            row = held.over or await self.store.load(run_id)
            if self.draining:
                return row
            if row.run.status in ("ready", "running"):
                if not await self._comes_due(row):
                    return row
            elif children := await self._unfinished(row):
                await asyncio.gather(*(self.advance(child.run.id) for child in children))
                row = await self.store.load(run_id)
                if (row.run.seq, row.inbox) == (held.run.seq, held.inbox):
                    return row  # no child has ended; what is in the inbox came too early
            else:
                return row

    async def _comes_due(self, row: Row) -> bool:
        """Waits for the time of a call that was postponed, as long as anybody does who looks at it; False: that is too long."""
        due = row.wake_at
        if due is None or due - self.clock.now() > self.patience * SECOND:
            return False
        while (left := due - self.clock.now()) > 0 and not self.draining:
            await self.clock.sleep(min(POLL, left / SECOND))
            now = await self.store.load(row.run.id)
            if now.run.seq != row.run.seq or now.want is not None or now.lease_owner is not None:
                break
        return True

    async def step(self, run_id: str) -> Row:
        """One step. Raises Busy if another process holds the run."""
        held = await self._claim(run_id)
        if held is None:
            raise Busy(f"run {run_id} is held by another process; it goes on there")
        with _lost_is_busy(run_id):
            await self._drive(held, steps=1)
        return await self.store.load(run_id)

    async def claim_due(self, limit: int, *, suspects: bool = False) -> list[Held]:
        """Runs that are due and nobody holds, held by this process from now on; the worker's door. Take suspects one at a time."""
        safe = self._safe()
        claimed = await self.store.claim_due(self.owner, self.clock.now(), self._lease_until(), limit, suspects=suspects)
        taken: list[Held] = []
        for each in claimed:
            try:
                taken.append(await self._taken(each, safe))
            except LeverframeError as error:
                log.warning("run %s: %s", each.row.run.id, error)
        return taken

    async def advance_held(self, held: Held, *, steps: int | None = None) -> None:
        """Goes on with a run this process holds. A lost lease is nobody's fault: whoever has it now goes on.

        Whatever else goes wrong is logged and costs this run its lease, not the others theirs; past five times it is quarantined.
        """
        try:
            await self._drive(held, steps=steps)
        except Lost:
            return
        except LeverframeError as error:
            log.warning("run %s: %s", held.run.id, error)
        except Exception:
            log.exception("run %s: the engine failed", held.run.id)

    async def _follow(self, run_id: str) -> bool:
        """Waits while another process holds the run. False: it has come to rest there."""
        row = await self.store.load(run_id)
        while row.run.status not in OVER and not self.draining:
            if row.lease_owner is None or (row.lease_until or 0) < self.clock.now() or is_dead(row.lease_owner):
                return row.wake_at is not None and row.wake_at <= self.clock.now()
            await self.clock.sleep(0.05)
            seq, row = row.run.seq, await self.store.load(run_id)
            for line in await self.store.events(run_id, after=seq) if self._watch and row.run.seq > seq else []:
                self._tell(row.run, line)
        return False

    # ── people, events, operators ────────────────────────────────────────────────────────────────────────────────────────────

    async def decide(
        self, task_id: str, *, by: str, decision: str, comment: str = "", arguments: object = None, via: str = "api"
    ) -> Decided:
        """A person's decision on an approval: `approved`, `rejected`, or `edited` (new arguments, asked again).

        With `arguments` and `approved` one person edits and approves in one decision. The same person's same decision again is the same
        answer; anybody else's is AlreadyDecided, naming the winner; too late is TaskGone. Raises UnknownTask, InvalidArguments.
        """
        named("by", by)
        task = await self.store.task(task_id)
        if task.kind != "approve":
            raise InvalidAnswer(f"task {task_id} is not an approval; `leverframe answer {task_id} --value …` answers it")
        if decision not in ("approved", "rejected", "edited"):
            raise InvalidAnswer(f"decision {decision!r}: it is 'approved', 'rejected' or 'edited'")
        said: Object = {
            "decision": decision,
            "by": by,
            **({"comment": admit(comment, what="comment")} if comment else {}),
        }
        if arguments is not None:
            row = await self.store.load(task.run_id)
            bound = await self._bind(row.run.definition, row.run.machine)
            said["arguments"] = bound.tool(str((task.call or {}).get("tool_name"))).admit(arguments)
        elif decision == "edited":
            raise InvalidAnswer("an edit needs the new arguments")
        return await self.store.decide(task_id, by=by, answer=said, via=via, now=self.clock.now())

    async def answer(self, task_id: str, *, by: str, value: object, via: str = "api") -> Decided:
        """A person's answer to a question, or whether a doubted call happened (`happened` or `not_happened`).

        Text goes into the one text field of the one reply; otherwise give `{"intent": …, fields}`. Raises InvalidAnswer, UnknownTask,
        AlreadyDecided, TaskGone.
        """
        named("by", by)
        task = await self.store.task(task_id)
        if task.kind == "reconcile":
            if value not in ("happened", "not_happened"):
                raise InvalidAnswer(f"task {task_id}: the answer is 'happened' or 'not_happened'")
            said: Object = {"happened": value == "happened", "by": by}
        elif task.kind == "answer":
            row = await self.store.load(task.run_id)
            bound = await self._bind(row.run.definition, row.run.machine)
            state = cast("type[Consult[Never]]", bound.state(task.state))
            said = {"answer": read_answer(state, value), "by": by}
        else:
            raise InvalidAnswer(f"task {task_id} is an approval; `leverframe approve` or `reject` decides it")
        return await self.store.decide(task_id, by=by, answer=said, via=via, now=self.clock.now())

    async def signal(
        self, run_id: str, event: str, data: Mapping[str, object] | None = None, *, source: str = "api", key: str | None = None
    ) -> bool:
        """Something happened outside that a Wait may be waiting for; kept if it comes early. One (source, key) counts once: False."""
        row = await self.store.load(run_id)
        if row.run.status in OVER:
            raise RunOver(f"run {run_id} is {row.run.status}; it takes no more events")
        bound = await self._bind(row.run.definition, row.run.machine)
        clean = cast("Object", admit(data or {}, what=f"event {event}"))
        self._check_event(bound, event, clean)
        return await self.store.signal(
            run_id,
            source=source,
            key=key or uuid.uuid4().hex,
            kind="signal",
            body={"event": event, "data": clean},
            now=self.clock.now(),
        )

    def _check_event(self, bound: Bound, name: str, data: Object) -> None:
        """Some Wait of the machine must know the event, and its data must fit."""
        waits = [state for state in bound.machine.states.values() if issubclass(state, Wait)]
        known: dict[str, list[type[Reply[str]]]] = {}
        for reply in (reply for state in waits for reply in state.events):
            known.setdefault(reply.intent, []).append(reply)
        if name not in known:
            listed = ", ".join(sorted(known)) or "none"
            raise NotWaiting(
                f"machine {bound.machine.name} waits for no event {name!r}; it knows {listed}.{did_you_mean(name, list(known))}"
            )
        if not isinstance(cast("object", data), dict):
            raise InvalidAnswer(f"event {name}: data is an object")
        problem = ""
        for reply in known[name]:  # two Waits may know an event of that name, each with data of its own
            try:
                perform.read_reply([reply], {**data, "intent": name})  # as the state that waits for it will
                return
            except BadCompletion as error:
                problem = problem or str(error)
        raise InvalidAnswer(f"event {problem}")

    async def pause(self, run_id: str, *, by: str = "operator") -> Row:
        """Accepted at any moment, in effect at the next commit; children too. Raises AlreadyPaused, RunOver."""
        named("by", by)
        row = await self._alive(run_id)
        if row.run.status == "paused" or row.want == "pause":
            raise AlreadyPaused
        return await self._wish(row, "pause", by)

    async def cancel(self, run_id: str, *, by: str = "operator") -> Row:
        """Accepted at any moment, also with a call in flight: what may have happened is put in doubt. Children are cancelled too."""
        named("by", by)
        row = await self.store.load(run_id)
        if row.run.status == "cancelled" or row.want == "cancel":
            return row
        try:
            return await self._wish(await self._alive(run_id), "cancel", by)
        except RunOver:
            row = await self.store.load(run_id)
            if row.run.status != "cancelled":
                raise
            return row  # somebody cancelled it at the same moment

    async def _wish(self, row: Row, want: Want, by: str) -> Row:
        """Leaves word, and carries it out at once where nobody else holds the run. Children are meant too: the commit that heeds the
        word leaves word for them."""
        await self.store.want(row.run.id, want, by, self.clock.now())
        held = await self._claim(row.run.id)
        if held is not None:
            with suppress(Lost):  # then whoever has it by now finds the word
                await self._drive(held, steps=0)
        row = await self.store.load(row.run.id)
        for child in await self._unfinished(row):
            if child.run.status != "paused" or want == "cancel":
                with suppress(RunOver, AlreadyPaused):  # by now
                    await self._wish(child, want, by)
        return row

    async def _unfinished(self, row: Row) -> list[Row]:
        """The child runs a run waits for that were started and are not over."""
        waiting = row.run.waiting
        if waiting is None or waiting.kind != "children":
            return []
        awaited = set(waiting.children)  # not those that an earlier Delegate cut off
        return [child for child in await self.store.children(row.run.id) if child.run.id in awaited]

    async def resume(self, run_id: str, *, by: str = "operator") -> Row:
        """What was paused goes on; children too. Deadlines ran meanwhile. Raises NotPaused, Busy, RunOver."""
        named("by", by)

        def resumed(run: Run) -> Draft:
            if run.status != "paused":
                raise NotPaused(f"run {run_id} is {run.status}, not paused")
            return Draft("resumed", {"by": by})

        row = await self._alive(run_id)
        resumed(row.run)
        for child in await self._unfinished(row):  # first: whoever is cut off here, and says it again, is still understood
            if child.run.status == "paused":
                with suppress(NotPaused, RunOver):  # by now
                    await self.resume(child.run.id, by=by)
        return await self._operate(run_id, resumed)

    async def retry(self, run_id: str, *, by: str = "operator", grant: int = 0) -> Row:
        """Goes on with a run that needed a person. `grant`: that many further portions of its limits, a day's counting as many times
        over for this run alone; also where it took `exceeded` and waits there. Raises NotRetryable, Busy, RunOver."""
        named("by", by)

        def retried(run: Run) -> Draft:
            grants = run.exceeded and grant > 0 and run.status in ("ready", "waiting")
            if run.status not in ("attention", "blocked", "quarantined") and not grants:
                raise NotRetryable(f"run {run_id} is {run.status}; retry is for attention, blocked and quarantined")
            reason = run.reason or ""
            if reason.startswith(LIMIT_REACHED) and not reason.startswith(LIMIT_REACHED + DAILY) and grant < 1:
                raise NotRetryable(f"run {run_id} is at its {reason}; grant more: `leverframe retry {run_id} --grant 1`")
            return Draft("retried", {"by": by, "grant": grant})

        row = await self._alive(run_id)
        retried(row.run)
        self._bound.pop(row.run.definition, None)
        return await self._operate(run_id, retried)

    async def _operate(self, run_id: str, draft: Callable[[Run], Draft]) -> Row:
        """Commits what an operator wants of a run. `draft` judges it as it is once it is held: two may want the same, or one of them
        its end."""
        held = await self._claim(run_id)
        if held is None:
            raise Busy(f"run {run_id} is held by another process; try again")
        try:
            with _lost_is_busy(run_id):
                try:
                    await self._commit(held, [draft(_not_over(held.run))])
                finally:
                    await self._let_go(held)
        finally:
            self._drop(held)
        return await self.store.load(run_id)

    async def _alive(self, run_id: str) -> Row:
        row = await self.store.load(run_id)
        _not_over(row.run)
        return row

    # ── history ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def fork(self, run_id: str, *, at: int | None = None, key: str | None = None, by: str = "operator") -> Row:
        """A new run from where another was after event `at` (default: now), with its memory. Nothing pending comes along.

        One key is one fork, however often it is asked for. Raises UnknownRun, KeyConflict.
        """
        named("by", by)
        row = await self.store.load(run_id)
        lines = await self.store.events(run_id)
        if at is not None and not 1 <= at <= len(lines):
            raise UnknownRun(f"run {run_id} has events 1 to {len(lines)}, no {at}")
        past = await self._fold(lines[: at or len(lines)])
        bound = await self._bind(past.definition, past.machine)
        state = past.pending.maker if past.pending else past.state
        fork_id = id_of(row.tenant, past.machine, key)
        now = self.clock.now()
        body: Object = {
            "run": fork_id,
            "from": run_id,
            "seq": past.seq,
            "machine": past.machine,
            "definition": past.definition,
            "state": state,
            "memory": past.memory,
            "at": now,
            "by": by,
        }
        optional: Object = {
            "offline": past.offline,
            "back": past.back,
            "rules": list(rules_of(bound.definition, past)) or None,
            "asks": bound.definition.states[state].kind == "ask" or None,
            "pins": {**pins} if (pins := await self._pins(bound.definition)) else None,
        }
        body |= {name: value for name, value in optional.items() if value is not None}
        first = event(None, now, "forked", f"human:{by}", body)
        asked = digest(["fork", run_id, at])
        return await self._begin(
            NewRun(begin(first), [first], row.tenant, start_key=key, start_hash=asked, source="fork", wake_at=now)
        )

    async def migrate(self, run_id: str, *, to: str | None = None, dry_run: bool = False, by: str = "operator") -> "Migration":
        """Moves a run to another definition of its machine (default: as it is now); `to` is a hash, or six characters of its beginning.

        It frees a run that was blocked; one that is paused or needs a person stays so. Raises UnknownDefinition, RunOver, Busy. What
        stands against the move is no error: it is said, and nothing is moved.
        """
        named("by", by)
        row = await self._alive(run_id)
        machine = self.machine(row.run.machine)
        current = await self._definition_of(machine)
        hash = current.hash if to is None else await self.store.resolve_definition(to, machine.name)
        target = current if hash == current.hash else Definition(await self.store.definition(hash))
        pinned = await self._bind(row.run.definition, machine.name)
        against = Bound(target, machine, current).against(row.run, pinned.definition)
        moves = not against and not dry_run and target.hash != row.run.definition

        def migrated(run: Run) -> Draft:
            if run.seq != row.run.seq:
                raise Busy(f"run {run_id} went on in the meantime; nothing was moved, try again")
            rules: Object = {"rules": list(read)} if (read := migrated_rules(pinned.definition, target, run)) else {}
            return Draft("migrated", {"from": run.definition, "to": target.hash, "by": by, **rules})

        if moves:
            await self._operate(run_id, migrated)
        return Migration(row.run.id, row.run.definition, target.hash, changes(pinned.definition, target), against, moves)

    async def impact(self, name: str) -> list[Parked]:
        """What the machine as it is now means for the runs of it that are not over, and not pinned to it. No run is touched."""
        machine = self.machine(name)
        now = Bound(definition := machine.definition(self.machines), machine, definition)
        unfinished = self.store.unfinished(name)
        return parked([await self._standing(row.run, now) async for row in unfinished if row.run.definition != definition.hash])

    async def _standing(self, run: Run, now: Bound) -> Standing:
        pinned = await self._bind(run.definition, run.machine)
        if pinned.problems:
            return Standing(run.id, run.state, run.status, "blocked", pinned.problems[0])
        against = now.against(run, pinned.definition)
        return Standing(run.id, run.state, run.status, "stays" if against else "moves", against[0] if against else "")

    async def verify(self, run_id: str) -> int:
        """Folds the log again and checks chain, row, effects and tasks; gives the number of events. Raises Tampered naming what does not
        agree."""
        row = await self.store.load(run_id)
        lines = await self.store.events(run_id)
        if not lines:
            raise Tampered(f"run {run_id}: its log is gone")
        if problem := broken_chain(lines):
            raise Tampered(f"run {run_id}: {problem}")
        replay = Replay((await self._pinned(lines)).__getitem__, lines)
        effects, tasks = await self.store.effects(run_id), await self.store.tasks(run_id, status=None, limit=len(lines))
        if found := list(replay.disagreements(row.run, effects, tasks)):
            raise Tampered(f"run {run_id}: {'; '.join(found[:5])}")
        return len(lines)

    async def _fold(self, lines: Sequence[Event]) -> Run:
        return fold((await self._pinned(lines)).__getitem__, list(lines))

    async def _pinned(self, lines: Sequence[Event]) -> dict[str, Definition]:
        """Every definition that a run was pinned to, by hash."""
        return {
            hash: self._bound[hash].definition if hash in self._bound else Definition(await self.store.definition(hash))
            for hash in pinned(lines)
        }


@dataclass(frozen=True, slots=True)
class Migration:
    """What a move to another definition changes, what stands against it, and whether it was made."""

    run: str
    was: str
    to: str
    changes: list[Change]
    against: list[str]
    moved: bool


def _not_over(run: Run) -> Run:
    if run.status in OVER:
        raise RunOver(f"run {run.id} is {run.status}; it is over")
    return run


@contextmanager
def _lost_is_busy(run_id: str) -> Generator[None]:
    try:
        yield
    except Lost as error:
        raise Busy(f"run {run_id} was taken over by another process; try again") from error


def read_answer(state: "type[Consult[Never]]", value: object) -> Object:
    """A person's answer as data that is one of the state's replies. Raises InvalidAnswer."""
    replies = list(state.replies)
    if isinstance(value, str):
        texts = [name for name, info in replies[0].model_fields.items() if info.annotation is str] if len(replies) == 1 else []
        by_name = next((reply for reply in replies if reply.intent == value), None)
        if by_name is not None and not any(info.is_required() for info in by_name.model_fields.values()):
            value = {"intent": value}
        elif len(texts) == 1:
            value = {"intent": replies[0].intent, texts[0]: value}
        else:
            listed = ", ".join(reply.intent for reply in replies)
            raise InvalidAnswer(
                f'state {state.name} takes one of {listed}; give it as JSON: {{"intent": "{replies[0].intent}", …}}'
            )
    data = cast("dict[str, Json] | Json", value)
    if isinstance(data, dict) and "intent" not in data and len(replies) == 1:
        data = {"intent": replies[0].intent, **data}
    try:
        perform.read_reply(replies, data)
    except BadCompletion as error:
        raise InvalidAnswer(f"answer: {error}") from None
    return cast("Object", admit(data, what="answer"))  # as it was given: what reading makes of it need not be readable again
