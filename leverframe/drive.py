"""Drives one run that this process holds: heeds what others want, performs what the state asks for, commits.

`claim · ask the state what it wants · perform · reduce · commit`. Nothing is kept between steps but a cache, so that any process
can go on with any run.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Never, Self, cast

from leverframe import perform
from leverframe.automaton import data
from leverframe.budget import Budget, denied
from leverframe.canon import Json, Object, canonical, digest
from leverframe.clock import SECOND, Clock, Micros, SystemClock, day
from leverframe.errors import (
    BadCompletion,
    DeclarationError,
    InputError,
    Lost,
    Overdrawn,
    PromptError,
    Tampered,
    UnknownDefinition,
    UnknownMachine,
    did_you_mean,
)
from leverframe.held import Held
from leverframe.inside import heard
from leverframe.ledger import Ledger, reconcile_task, task_id
from leverframe.llm import LLM, is_offline
from leverframe.machine import Definition, Spec
from leverframe.perform import AnyMachine, Bound, Draft, Step, Stuck
from leverframe.reduce import DAY, NOTHING, Need, charged, may_have_run, reduce, route, set_aside, unexecuted
from leverframe.run import OVER, Event, Run, event
from leverframe.start import TriggerCommand, child_key, id_of, new_run, read_input
from leverframe.state import Call, Delegate, Memory
from leverframe.store import Claimed, Commit, Deferred, Inbound, NewRun, Row, Store, me
from leverframe.window import hushed, window_of

log = logging.getLogger("leverframe")
LEASE: float = 30.0
"""Seconds a silent holder keeps a run; every commit and heartbeat extends it."""
PATIENCE: float = 90.0
"""Seconds a command waits for a call that was postponed."""
POISON = 5
"""Claims without a commit between them, after which a run is quarantined; the last two of them when nothing else was in hand."""
WAITS = 16
"""Delegates whose children's inputs are kept at hand."""


@dataclass(frozen=True, slots=True)
class Word:
    """What somebody, or time, wants of a run: the events of it, and what they use up."""

    drafts: list[Draft]
    consume: Sequence[Inbound] = ()
    clear_want: bool = False
    inbox_seen: int | None = None


class Drive:
    """The part of the engine that goes on with runs; `leverframe.engine.Engine` adds the commands."""

    def __init__(
        self,
        store: Store,
        machines: Sequence[AnyMachine],
        *,
        llm: LLM | None = None,
        model: str = "",
        clock: Clock | None = None,
        lease: float = LEASE,
        patience: float = PATIENCE,
        watch: Callable[[Run, Event], None] | None = None,
    ) -> None:
        self.store = store
        self.machines: dict[str, AnyMachine] = {machine.name: machine for machine in machines}
        self.llm, self.model = llm, model
        self.clock: Clock = clock or SystemClock()
        self.lease, self.patience = lease, patience
        self.owner = me()
        self._watch = watch
        self._budget = Budget(llm, model)
        self.draining = False
        self._current: dict[str, Definition] = {}
        self._bound: dict[str, Bound] = {}
        self._held: dict[str, Held] = {}
        self._reserved: dict[str, Held] = {}  # born held, and nobody goes on with them yet
        self._claiming: set[str] = set()
        self._given: dict[str, list[Memory]] = {}  # to children, by the id of the wait
        self._heart: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stops the heartbeat. The store is whoever opened it's to close."""
        if self._heart:
            self._heart.cancel()
            with suppress(asyncio.CancelledError):
                await self._heart
            self._heart = None

    # ── machines and new runs ────────────────────────────────────────────────────────────

    def machine(self, name: str) -> AnyMachine:
        found = self.machines.get(name)
        if found is None:
            raise UnknownMachine(
                f"no machine is called {name!r}; there are {', '.join(sorted(self.machines))}.{did_you_mean(name, list(self.machines))}"
            )
        return found

    def _new_run(
        self,
        definition: Definition,
        memory: Object,
        command: TriggerCommand,
        pins: Mapping[str, str],
        *,
        parent: str | None = None,
        reserve: bool = False,
    ) -> NewRun:
        offline, now = is_offline(self.llm) if self.llm else None, self.clock.now()
        aside = self._budget.beginning(definition, memory, now) if reserve else {}
        return new_run(definition, memory, command, now, offline=offline, pins=pins, parent=parent, aside=aside)

    async def _pins(self, definition: Definition) -> dict[str, str]:
        """The variants that are pinned now, of the prompts that a run of it may be told in several. Read anew for every run that
        starts, so that a pin holds for whatever starts after it, in any process; where there is nothing to choose, nothing is read."""
        variants = definition.variants
        found = await self.store.pins(sorted(variants)) if variants else {}
        return {name: variant for name, variant in found.items() if variant in variants[name]}

    async def _know_pins(self, held: Held) -> None:
        """Before a commit that may start child runs: they are new runs, too."""
        if held.bound.delegated and held.bound.definition.may_delegate(held.run.state):
            held.pins = {hash: await self._pins(child) for hash, child in held.bound.delegated.items()}

    async def _definition_of(self, machine: AnyMachine) -> Definition:
        """What the machine is now; stored once for all runs that will be pinned to it."""
        found = self._current.get(machine.name)
        if found is None:
            found = machine.definition(self.machines)
            await self.store.save_definition(found.hash, found.name, found.text)
            self._current[machine.name] = found
            for state in machine.states.values():
                if issubclass(state, Delegate):
                    await self._definition_of(self.machine(cast("type[Delegate[Never, Never]]", state).machine))
        return found

    async def _bind(self, hash: str, machine: str) -> Bound:
        """A pinned definition with the code of now, cached per hash."""
        found = self._bound.get(hash)
        if found is None:
            code, current, gone = self.machines.get(machine), None, f"machine {machine} is not in machines/ any more"
            try:
                current = await self._current_of(code) if code else None
            except DeclarationError as error:
                gone = str(error)
            pinned = current if current and current.hash == hash else Definition(await self.store.definition(hash))
            if pinned.daily:
                week = day(max(0, self.clock.now() - 7 * DAY))
                self._budget.know(machine, await self.store.spending(machine, since=week))
            found = self._bound[hash] = Bound(pinned, code, current, gone, await self._delegated(pinned))
        return found

    async def _current_of(self, code: AnyMachine) -> Definition:
        """What the code is now. Prompts that are missing or broken are nothing to a run: its texts are pinned."""
        try:
            return await self._definition_of(code)
        except PromptError:
            return Definition(canonical(code.draft(self.machines, _unless_prompt)))

    async def _delegated(self, definition: Definition) -> dict[str, Definition]:
        """The definitions that its child runs are pinned to: those of when it was stored itself, whatever the code is now."""
        hashes = [cast("str", spec.body["definition"]) for spec in definition.states.values() if spec.kind == "delegate"]
        return {hash: Definition(await self.store.definition(hash)) for hash in hashes}

    # ── one step at a time ────────────────────────────────────────────────────────────

    async def _claim(self, run_id: str) -> Held | None:
        reserved = self._reserved.pop(run_id, None)
        if reserved is not None:
            return reserved
        if self._has(run_id):
            return None  # another task of this process goes on with it; claiming would take it away from ourselves
        safe, alone = self._safe(), not self._held and not self._claiming
        self._claiming.add(run_id)
        try:
            claimed = await self.store.claim(run_id, self.owner, self.clock.now(), self._lease_until(), alone=alone)
            return await self._taken(claimed, safe) if claimed else None
        finally:
            self._claiming.discard(run_id)

    def _has(self, run_id: str) -> bool:
        return run_id in self._held or run_id in self._claiming

    async def _taken(self, claimed: Claimed, safe: float | None = None) -> Held:
        """Raises what stands against reading the run's definition, once it is `blocked` by it: it must not come up again and again."""
        row = claimed.row
        try:
            bound = await self._bind(row.run.definition, row.run.machine)
        except (UnknownDefinition, DeclarationError, Tampered) as error:
            await self._set_aside(row, str(error))
            raise
        inbound = list(claimed.inbound)
        held = Held(row, row.run, bound, safe or self._safe(), row.want, row.want_by, row.inbox, inbound)
        self._hold(held)
        if row.claims > POISON:
            reason = f"claimed {row.claims} times without a step: it takes its process down; look, then `leverframe retry {row.run.id}`"
            await self._commit(held, [Draft("quarantined", {"reason": reason})])
        return held

    async def _set_aside(self, row: Row, reason: str) -> None:
        """Blocks a run whose definition cannot be read, which is all that can be done without it: no wish to cancel either."""
        if row.run.status == "blocked" and row.want is None:
            await self.store.release(row.run.id, row.fence, None, row.inbox)
            return
        line = event(row.run, self.clock.now(), "blocked", "engine", {"reason": reason})
        run = set_aside(row.run, line)
        await self.store.commit(Commit(run, row.fence, row.run.seq, [line], memory_changed=False, clear_want=True))

    async def _drive(self, held: Held, *, steps: int | None = None) -> None:
        try:
            while not held.released and not held.given and not self.draining:
                if not await self._heed(held):
                    if steps == 0:
                        break
                    await self._step(held)
                    steps = None if steps is None else steps - 1
            await self._let_go(held)
        finally:
            self._drop(held)

    async def _step(self, held: Held) -> None:
        """ask the state what it wants · perform · reduce · commit"""
        need = held.need
        if self._rests(need):
            held.released = True
        elif need.kind == "local":
            await self._local(held)
        elif need.kind == "build":
            await self._build(held, need)
        else:
            draft = await self._perform(held, need)
            await self._commit(held, [*(held.unsent() if draft.type == "stuck" else ()), draft])

    async def _perform(self, held: Held, need: Need) -> Draft:
        step = await self._step_of(held, need)
        try:
            return await self._do(held, need, step)
        except Stuck as error:
            return Draft("stuck", {"state": held.run.state, "reason": str(error)})

    async def _do(self, held: Held, need: Need, step: Step) -> Draft:
        match need.kind:
            case "work":
                return perform.work(step)
            case "fetch":
                return await perform.fetch(step)
            case "ask":
                return await perform.ask(step)
            case "build":
                return perform.built(step, held.fence)
            case "mark":
                return Draft("marked", {"state": held.run.state, "fence": held.fence})
            case "call":
                return await perform.act(step, lambda: self._check_lease(held))
            case "recover":
                return await perform.recover(step) or Draft("marked", {"state": held.run.state, "fence": held.fence})
            case "compact":
                return perform.compacted(step)
            case "end":
                return perform.ended(step)
            case "keep":
                return perform.kept(step)
            case "collect":
                return await self._collect(held, step)
            case "open":
                return self._open(held, held.run, step)
            case _:
                return Draft("quarantined", {"reason": need.why})

    async def _step_of(self, held: Held, need: Need) -> Step:
        if need.kind == "ask" and held.window is None:
            held.window = window_of(held.bound.definition, await self.store.events(held.run.id))
        return Step(held.bound, held.run, self.clock, self.llm, self.model, held.window, partial(self.store.line, held.run.id))

    async def _check_lease(self, held: Held) -> None:
        """Right before something happens outside: who slept past its lease asks whether the run is still its own."""
        if self.clock.steady() > held.safe_until and held.run.id not in await self._extend([held]):
            raise Lost(f"run {held.run.id}: the lease ran out before the call was made; nothing was sent")

    async def _extend(self, quiet: Sequence[Held]) -> Collection[str]:
        """Extends the leases of runs that are still ours; gives which those are."""
        safe = self._safe()
        kept = await self.store.heartbeat([(held.run.id, held.fence) for held in quiet], self._lease_until())
        for held in quiet:
            if held.run.id in kept:
                held.safe_until = safe
        return kept

    # ── what others want ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _heed(self, held: Held) -> bool:
        """What people, events and time want of the run goes first. True: a commit was made for it."""
        run = held.run
        if held.inbox != len(held.inbound):
            held.inbound = list(await self.store.inbound(run.id))
            held.inbox = len(held.inbound)
        word = self._heeded(held)
        if word is None:
            return False
        try:
            await self._commit(held, word.drafts, consume=word.consume, clear_want=word.clear_want, inbox_seen=word.inbox_seen)
        except Lost:
            if word.inbox_seen is None:
                raise
            held.inbox = -1  # a decision came first: look again; should the lease be gone, the next commit says so
        return True

    def _heeded(self, held: Held) -> "Word | None":
        run = held.run
        for item in held.inbound:
            if item.source == "task" and (key := self._doubted(run, item.key)) and not self._finds_out(held, key):
                return Word([self._settled(held, item, key)], [item])
        if run.status in OVER:
            return None
        if held.want and (wanted := self._wanted(held)):
            return Word(wanted, clear_want=True)
        if problem := self._blocked(held):
            return Word([Draft("blocked", {"reason": problem})])
        if (draft := self._budget.missing(held.bound.definition, run, self.clock.now())) is not None:
            return Word([draft])
        return self._awaited(held)

    def _doubted(self, run: Run, task: str) -> str | None:
        return next((call.key for call in run.doubts if reconcile_task(call.key) == task), None)

    def _finds_out(self, held: Held, key: str) -> bool:
        """The state that finds out about this call comes right back from a Compact: it takes the word, or it had nothing to settle."""
        run, states = held.run, held.bound.definition.states
        comes_back = run.back is not None and states[run.back].settles and states[run.state].kind == "compact"
        return comes_back and run.status not in OVER and run.doubts[-1].key == key

    def _settled(self, held: Held, item: Inbound, key: str) -> Draft:
        """A person found out what became of a doubted call."""
        run, word = held.run, cast("Object", item.body)
        happened = bool(word["happened"])
        body: Object = {"key": key, "happened": happened, "by": word["by"], "state": run.state}
        last = bool(run.doubts) and run.doubts[-1].key == key
        if run.status not in OVER and last and held.bound.definition.states[run.state].settles:
            body["outcome"] = "happened" if happened else "not_happened"
        return Draft("settled", body)

    def _wanted(self, held: Held) -> list[Draft]:
        run, by = held.run, held.want_by or ""
        undo = held.unsent()
        if held.want == "pause":
            return [] if run.status == "paused" else [*undo, Draft("paused", {"by": by})]
        doubt = not undo and may_have_run(held.bound.definition, run, held.fence)
        return [*undo, Draft("cancelled", {"by": by, **({"doubt": True} if doubt else {})})]

    def _blocked(self, held: Held) -> str:
        if held.run.status not in ("ready", "running", "waiting"):
            return ""
        if held.bound.problems:
            return "; ".join(held.bound.problems[:5]).rstrip(".") + ". Bring the code back, or `leverframe migrate`"
        need = held.need
        if need.kind == "ask":
            if self.llm is None:
                return "no model is configured; set LEVERFRAME_MODEL or [tool.leverframe] model"
            if held.run.offline is not None and held.run.offline != is_offline(self.llm):
                was, now = ("offline", "a real one") if held.run.offline else ("a real model's", "offline")
                return f"this run is {was}, the configured model is {now}; a run is never continued by the other kind"
        return ""

    def _awaited(self, held: Held) -> "Word | None":
        """The first word that the waiting state understands and that came in time; or its deadline."""
        run, waiting = held.run, held.run.waiting
        if run.status != "waiting" or waiting is None or run.held is not None:
            return None  # a word that is recorded already is kept first, whatever comes after it
        step = Step(held.bound, run, self.clock)
        for item in held.inbound:
            if item.at < waiting.expires_at and (drafts := self._understood(held, step, item)):
                return Word(drafts, [item])
        if self.clock.now() < waiting.expires_at:
            return None
        # A decision that was recorded in time is in the inbox by then, and makes this commit lose.
        return Word([Draft("expired", {"state": run.state, "task": waiting.id, "outcome": "expired"})], inbox_seen=held.inbox)

    def _understood(self, held: Held, step: Step, item: Inbound) -> list[Draft]:
        run = held.run
        waiting = run.waiting
        if waiting is None:
            return []
        body = cast("Object", item.body)
        if item.kind == "child" and item.key in waiting.children:
            return [
                Draft(
                    "child_ended",
                    {"state": run.state, "child": item.key, "success": body["success"], "did": body.get("did", False)},
                )
            ]
        if item.kind == "signal" and waiting.kind == "wait":
            name = cast("str", body["event"])
            if name not in step.spec.edges:
                return []
            try:
                return [perform.received(step, name, body.get("data"), item.source)]
            except BadCompletion:
                return []  # it fits another Wait's event of this name, and is kept for that one
        if item.source != "task" or item.key != waiting.id:
            return []
        by = cast("str", body["by"])
        if waiting.kind == "answer":
            return [perform.answered(step, body["answer"], by, waiting.id)]
        return self._decided(held, step, body, by)

    def _decided(self, held: Held, step: Step, said: Object, by: str) -> list[Draft]:
        """A person's decision, as the result of the tool call that asked for it (factor 7); with an edit, over another call."""
        run = held.run
        waiting = run.waiting
        decision = cast("str", said["decision"])
        drafts: list[Draft] = []
        task = waiting.id if waiting else ""
        if "arguments" in said and run.pending is not None:
            call = perform.call_body(Call(run.pending.tool_name, cast("Object", said["arguments"])))
            following = task if decision != "edited" else task_id(run.id, run.seq + 1)
            asked = perform.shown_edited(step, call, by)
            body: Object = {"state": run.state, "task": task, "next": following, "shown": digest([asked, None]), "call": call}
            drafts.append(Draft("edited", {**body, "arguments": asked, "by": by}))
        if decision != "edited":
            answer: Object = {"decision": decision, "by": by, **({"comment": said["comment"]} if said.get("comment") else {})}
            drafts.append(
                Draft(
                    "decided",
                    {
                        "state": run.state,
                        "task": task,
                        "tool_name": "get_human_feedback",
                        "arguments": answer,
                        "by": by,
                        "outcome": decision,
                    },
                )
            )
        return drafts

    # ── waiting ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _open(self, held: Held, run: Run, step: Step) -> Draft:
        """What a waiting state waits for. Asking a person is a tool call like any other (factor 7)."""
        spec = step.spec
        body: Object = {"state": spec.name, "task": task_id(run.id, run.seq + 1), "expires_at": self.clock.now() + spec.deadline}
        if spec.kind == "wait":
            return Draft("opened", {**body, "kind": "wait"})
        if spec.kind == "delegate":
            machine = cast("str", spec.body["machine"])
            given = self._inputs(step, cast("str", body["task"]))
            for each in given:  # before any starts
                self._child_memory(spec, each)
            children: list[Json] = [id_of(held.row.tenant, machine, child_key(run, index)) for index in range(len(given))]
            return Draft("opened", {**body, "kind": "children", "machine": machine, "children": children})
        content, answers = perform.shown_to_person(step)
        kind = "approve" if spec.kind == "approve" else "answer"
        call = run.pending.tool_name if run.pending else None
        asked: Object = {"content": content, "approver": spec.to}
        if kind == "approve" and run.pending is not None:
            asked["call"] = {"tool_name": call, "arguments": run.pending.arguments}
        shown = digest([asked, answers])
        tool = "send_approval_notification" if kind == "approve" else "ask_human"
        return Draft("opened", {**body, "kind": kind, "tool_name": tool, "arguments": asked, "shown": shown}, result=answers)

    def _children(self, held: Held, before: Run, run: Run) -> list[NewRun]:
        """The children that start with this step: at first as many as may run at once, then one for each that ended."""
        waiting = run.waiting
        if waiting is None or waiting.kind != "children":
            return []
        spec = held.bound.definition.states[run.state]
        at_once, total = cast("int", spec.body["concurrency"]), len(waiting.children)
        last = min(total, waiting.ended + at_once)
        first = _first_child(before, run, at_once)
        if first >= last:
            return []
        machine = self.machine(cast("str", spec.body["machine"]))
        pinned = cast("str", spec.body["definition"])
        definition = held.bound.delegated[pinned]
        given = self._inputs(Step(held.bound, run, self.clock), waiting.id)
        if len(given) != total:
            del self._given[waiting.id]
            raise Stuck(f"{spec.name}.give gave {total} inputs and now {len(given)}; it must depend on the memory alone")
        return [
            self._new_run(
                definition,
                self._child_memory(spec, given[index]),
                TriggerCommand(machine.name, given[index], key=child_key(run, index), source="delegate", tenant=held.row.tenant),
                held.pins.get(pinned, {}),
                parent=run.id,
            )
            for index in range(first, last)
        ]

    def _inputs(self, step: Step, wait: str) -> list[Memory]:
        """What the children of a wait are given: asked once for many of them, not with each that ends."""
        if wait not in self._given:
            if len(self._given) == WAITS:
                del self._given[next(iter(self._given))]
            self._given[wait] = perform.inputs(step)
        return self._given[wait]

    def _child_memory(self, spec: Spec, given: Memory) -> Object:
        """The input of a child as data. Raises Stuck where it does not fit its machine."""
        try:
            return read_input(self.machine(cast("str", spec.body["machine"])), given)
        except InputError as error:
            raise Stuck(f"{spec.name}.give: {error}") from None

    async def _collect(self, held: Held, step: Step) -> Draft:
        waiting = held.run.waiting
        rows = await self.store.load_all(waiting.children if waiting else ())
        did = any(row.run.did or row.run.doubts for row in rows)
        return perform.returned(step, [(row.run.status == "done", row.run.result) for row in rows], did=did)

    async def _hearing(self, held: Held, draft: Draft) -> Draft:
        """A Delegate ends: what its children did, for the rules that are about them."""
        if "outcome" not in draft.body or not (said := await heard(self.store, held.bound.definition, held.run)):
            return draft
        return replace(draft, body={**draft.body, "inside": data(said)})

    # ── committing ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _commit(
        self,
        held: Held,
        drafts: Sequence[Draft],
        *,
        consume: Sequence[Inbound] = (),
        clear_want: bool = False,
        inbox_seen: int | None = None,
    ) -> None:
        await self._know_pins(held)
        if held.bound.definition.listens:
            drafts = [await self._hearing(held, draft) for draft in drafts]
        word = Word(list(drafts), consume, clear_want, inbox_seen)
        try:
            await self._write(held, *self._prepare(held, word))
        except Overdrawn as over:
            await self._write(held, *self._prepare(held, word, over.limit))

    async def _write(self, held: Held, commit: "Commit | Deferred", lines: "list[tuple[Run, Event]]") -> None:
        safe = self._safe()
        committed = await self.store.commit(commit, alone=len(self._held) == 1)
        held.written(lines[-1][0], committed)
        held.safe_until = safe
        held.given = self._rests(held.need) if isinstance(commit, Deferred) else commit.lease_until is None
        if held.run.definition != held.bound.definition.hash:
            held.bound, held.window = await self._bind(held.run.definition, held.run.machine), None
        for run, line in lines:
            self._budget.see(held.bound.definition, line)
            if held.window is not None:
                held.window.add(line.type, line.body)
            self._tell(run, line)

    def _prepare(self, held: Held, word: Word, over: str = "") -> "tuple[Commit, list[tuple[Run, Event]]]":
        """The commit of these drafts; entering a waiting state or an End comes with what opens or ends it, in the same transaction.

        `over`: the limit of the day that leaves no call of a model to set aside.
        """
        definition, run, ledger = held.bound.definition, held.run, Ledger()
        lines: list[tuple[Run, Event]] = []
        starts: list[NewRun] = []
        queue, need = list(word.drafts), NOTHING
        while queue:
            draft = denied(definition, run, queue.pop(0), over) if over else queue.pop(0)
            line = self._line(definition, run, draft, held.fence, over)
            after = reduce(definition, run, line)
            ledger.add(definition, run, after, line)
            ledger.ask(after, line, draft.result)
            following: Draft | None = None
            try:
                starts += self._children(held, run, after)
                if not queue:
                    need = held.will_need(after)
                    following = self._entering(held, after, need)
            except Stuck as error:
                following = Draft("stuck", {"state": after.state, "reason": str(error)})
            lines.append((after, line))
            run = after
            queue += [following] if following else []
        rests = self._rests(need)
        used_up = [*word.consume, *(item for item in held.stale() if item not in word.consume)]
        commit = Commit(
            run=run,
            fence=held.fence,
            base_seq=held.run.seq,
            events=[line for _, line in lines],
            lease_until=None if rests else self._lease_until(),
            wake_at=need.until if rests else None,
            memory_changed=run.memory is not held.run.memory,
            effects=list(ledger.effects.values()),
            open_tasks=ledger.open_tasks,
            close_tasks=ledger.close_tasks,
            consume=[(item.source, item.key) for item in used_up],
            inbox_seen=word.inbox_seen,
            clear_want=word.clear_want,
            starts=starts,
            children_want=ledger.children_want,
            notify_parent=ledger.notify_parent,
            spends=ledger.spends,
        )
        return commit, lines

    def _line(self, definition: Definition, run: Run, draft: Draft, fence: int, over: str = "") -> Event:
        body, now = hushed(definition, run, draft.body), self.clock.now()
        if "outcome" in body:
            now_run, call = charged(definition, run, body), cast("Object | None", body.get("call"))
            where = route(definition, now_run, cast("str", body["outcome"]), now, call=call, over=over)
            body = {**body, "to": where.to, **({"exceeded": where.tripped} if where.tripped else {})}
            if definition.states[where.to].kind == "act":
                body["fence"] = fence
            body |= {} if over else self._budget.entering(definition, run, where, now)
        by = body.get("by")
        actor = f"human:{by}" if isinstance(by, str) and by else "engine"
        made = event(run, now, draft.type, actor, body)
        void = unexecuted(definition, run, made) if run.queue else []
        return event(run, now, draft.type, actor, {**body, "void": list[Json](void)}) if void else made

    def _entering(self, held: Held, run: Run, need: Need) -> Draft | None:
        """Opening a waiting state and ending belong to the commit that enters them: never a state that waits for nobody."""
        if need.kind == "open":
            return self._open(held, run, Step(held.bound, run, self.clock))
        return perform.ended(Step(held.bound, run, self.clock)) if need.kind == "end" else None

    def _rests(self, need: Need) -> bool:
        """Is there nothing to do for the run now? Then nobody holds it: what only waits for time to pass can be paused by anybody."""
        return need.kind in ("nothing", "wait") or (need.until is not None and need.until > self.clock.now())

    async def _build(self, held: Held, need: Need) -> None:
        """The call an Act makes itself. Only one whose repetition matters is written before it is dispatched."""
        draft = await self._perform(held, need)
        if draft.type != "built":
            await self._commit(held, [draft])
            return
        run = reduce(held.bound.definition, held.run, self._line(held.bound.definition, held.run, draft, held.fence))
        following = held.will_need(run)
        if following.kind == "local":
            await self._local(held, run, [draft])
        elif following.kind == "mark":
            await self._commit(held, [draft, Draft("marked", {"state": run.state, "fence": held.fence})])
        else:
            await self._commit(held, [draft])

    async def _local(self, held: Held, run: Run | None = None, before: Sequence[Draft] = ()) -> None:
        """A `local` call: the tool's rows and the run's step are one transaction, on the committer's thread."""
        step = Step(held.bound, run or held.run, self.clock)
        lines: list[tuple[Run, Event]] = []
        made: list[Draft] = []
        try:
            tool, call = perform.local_call(step)
        except Stuck as error:
            await self._commit(held, [*before, Draft("stuck", {"state": held.run.state, "reason": str(error)})])
            return

        def commit_of(draft: Draft) -> Commit:
            made.append(draft)
            return over("")

        def over(limit: str) -> Commit:
            commit, lines[:] = self._prepare(held, Word([*before, made[-1]]), limit)
            return commit

        def make(session: object) -> Commit:
            return commit_of(perform.local(step, tool, call, session))

        def fail(error: BaseException) -> Commit:
            return commit_of(perform.local_failed(step, error))

        await self._know_pins(held)
        await self._check_lease(held)
        await self._write(held, Deferred(held.run.id, held.fence, held.run.seq, make, fail, over), lines)

    # ── leases ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _lease_until(self) -> Micros:
        return self.clock.now() + int(self.lease * SECOND)

    def _safe(self) -> float:
        """Until when, on the steady clock, a lease taken now is surely ours: less than it lasts, whatever the wall clock does."""
        return self.clock.steady() + self.lease * 0.8

    def _hold(self, held: Held) -> None:
        self._held[held.run.id] = held
        if self._heart is None:
            self._heart = asyncio.get_running_loop().create_task(self._beat())

    def _drop(self, held: Held) -> None:
        if self._held.get(held.run.id) is held:
            del self._held[held.run.id]

    async def _let_go(self, held: Held) -> None:
        if held.given:
            return
        run, need = held.run, held.need
        wake: Micros | None = need.until if need.until is not None else None if need.kind == "nothing" else self.clock.now()
        await self.store.release(run.id, held.fence, wake, held.inbox)

    async def _beat(self) -> None:
        """Extends the leases of runs that are in long calls; every commit extends its own."""
        while True:
            await asyncio.sleep(self.lease / 5)  # real time, whatever the clock: it is the call that takes long
            quiet = [held for held in self._held.values() if held.safe_until - self.clock.steady() < self.lease * 0.5]
            if quiet:
                try:
                    await self._extend(quiet)
                except Exception as error:  # noqa: BLE001 # what stops one beat must not stop those after it
                    log.warning("leases were not extended, which is tried again: %s", error)

    def _tell(self, run: Run, line: Event) -> None:
        if self._watch:
            self._watch(run, line)


def _first_child(before: Run, run: Run, at_once: int) -> int:
    """The first of the children that this step may have to start; who was started before is not started again."""
    was, now = before.waiting, run.waiting
    if was is None or now is None or was.id != now.id:
        return 0
    missed = before.status in ("attention", "blocked") and run.status == "waiting"  # the step before failed to start them
    ended = now.ended - 1 if missed else was.ended
    return ended + at_once if ended >= 0 else 0


def _unless_prompt(state: str, error: DeclarationError) -> None:
    if not isinstance(error, PromptError):
        raise error
