"""The stateless reducer (factor 12): pure, and the only place that knows what an event does to a run.

`reduce(definition, run, event)` gives the next run; `need_of(definition, run, fence)` says what the current state asks of the world. Neither
runs user code, reads a clock or touches a database: what user code decided travels in the event, so a log folds to the same run
whatever the code has become since.

Events, by what the engine does:

    started · forked                    a run begins
    worked · fetched · asked · acted    a state ended: `outcome`, `to`, changed `memory` fields, and what came of it. `stuck` in place of
    answered · received · returned      an outcome: it happened and is recorded, but the code that keeps it failed; `kept` follows a retry
    decided · expired · compacted
    built · marked · withdrawn          a call was made by its Act; is about to be dispatched; was not, after all
    postponed                           try again later
    opened · edited · child_ended       a waiting state asks; the call was edited by a person; one child is over
    settled                             a person said whether a doubted call happened
    ended                               over
    stuck · blocked · quarantined       a person is needed
    retried · paused · resumed · cancelled · migrated
    reserved · limited                  a call is set aside from the day's budget; or there is none left, and the Ask is left unasked
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, TypeAlias, cast

from leverframe.automaton import ended, entered, executed, in_words, letters_of
from leverframe.canon import Json, Object, canonical
from leverframe.clock import SECOND, Micros
from leverframe.errors import Tampered
from leverframe.machine import BACK, EXCEEDED, Definition, Spec
from leverframe.run import Event, Pending, Reserved, Run, Status, Waiting, but
from leverframe.series import FOLLOWS, NEXT
from leverframe.spins import spun
from leverframe.usage import shadows, used

DAY: Micros = 86_400 * SECOND
KEY_LIFE: Micros = 23 * 3600 * SECOND
"""Providers forget idempotency keys after a day; a `keyed` call is not repeated past this."""

Kind: TypeAlias = Literal[
    "nothing",
    "work",
    "fetch",
    "ask",
    "build",
    "mark",
    "call",
    "local",
    "recover",
    "open",
    "wait",
    "collect",
    "compact",
    "end",
    "keep",
    "refuse",
]


@dataclass(frozen=True, slots=True)
class Need:
    """What the current state asks of the world. `until`: not before (or, for `wait`, the deadline). `why`: of a refusal."""

    kind: Kind
    until: Micros | None = None
    why: str = ""


NOTHING = Need("nothing")


LIMIT_REACHED = "limit reached: "
PRICE = "price"
"""Trips where money is limited and a model was asked whose price nobody knows: a guess of 0 would be no limit."""


def key_of(run_id: str, ordinal: int) -> str:
    """The idempotency key of a run's n-th effect."""
    return "lf_" + sha256(f"{run_id}:{ordinal}".encode()).hexdigest()[:40]


# ── what a run needs ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def need_of(definition: Definition, run: Run, fence: int) -> Need:
    """What the state asks of the holder of this fence. A call that another holder marked started is in recovery."""
    if run.status not in ("ready", "running", "waiting"):
        return NOTHING
    if run.held is not None:
        return Need("keep")
    spec = definition.states[run.state]
    until = run.postponed[0] if run.postponed else None
    if spec.kind in ("work", "fetch", "ask", "compact", "end"):
        return Need(cast("Kind", spec.kind), until)
    if spec.kind == "act":
        return _act_needs(definition, run, spec, until, fence)
    if run.waiting is None:
        broken = _broken(definition, run) if spec.kind == "delegate" else ""
        return Need("refuse", why=broken) if broken else Need("open", until)
    if run.waiting.kind == "children" and run.waiting.ended == len(run.waiting.children):
        return Need("collect")
    return Need("wait", run.waiting.expires_at)


def _act_needs(definition: Definition, run: Run, spec: Spec, until: Micros | None, fence: int) -> Need:
    call = run.pending
    if call is None:
        return (
            Need("build", until)
            if spec.builds
            else Need("refuse", why=f"state {spec.name} executes a pending call, and none is pending")
        )
    if why := refusal(definition, run, spec, call):
        return Need("refuse", why=why)
    tool = definition.tools[call.tool_name]
    if tool.effect == "local":
        return Need("local", until)
    if tool.effect != "once":
        return Need("call", until)
    if call.mark is None:
        return Need("mark", until)
    if call.mark == fence:
        return Need("call", until)
    return Need("recover", (call.marked_at or 0) + int(tool.timeout * SECOND))


def refusal(definition: Definition, run: Run, spec: Spec, call: Pending) -> str:
    """Why this call must not execute here; empty if it may. The second line behind what was proven before."""
    tool = definition.tools.get(call.tool_name)
    if tool is None or call.tool_name not in spec.tools:
        return f"state {spec.name} does not run {call.tool_name}"
    if call.approved is not None and call.approved != call.digest:
        return f"{call.tool_name} is not the call that was approved"
    if tool.approval and call.approved is None:
        return f"{call.tool_name} needs an approval and has none"
    for rule in definition.call_rules:
        first = [tuple(cast("list[str]", pair)) for pair in cast("list[Json]", rule["first"])]
        if rule["before"] == call.tool_name and not any(step in first for step in call.via):
            return f"{call.tool_name} needs {' or '.join(f'{s}: {o}' for s, o in first)} first"
    return forbidden(definition, run, call.tool_name) if definition.automata else ""


def unfetchable(definition: Definition, run: Run, name: str) -> str:
    """Why a Fetch must not run this tool now; empty if it may. Nobody sees a call that is made and executed in one."""
    tool = definition.tools.get(name)
    if tool is not None and tool.approval:
        return f"{name} needs an approval, and state {run.state} fetches it without one"
    if rule := next((rule for rule in definition.call_rules if rule["before"] == name), None):
        return f"{name} would break the rule: {in_words(rule)}"
    return forbidden(definition, run, name) if definition.automata else ""


def forbidden(definition: Definition, run: Run, tool: str) -> str:
    """Which rule over the run the execution of a tool would break, or was broken before; empty for none."""
    for automaton, rule, state in zip(definition.automata, definition.run_rules, rules_of(definition, run), strict=True):
        if automaton.step(state, executed(tool)) in automaton.broken:
            return f"{tool} would break the rule: {in_words(rule)}"
    return ""


def _broken(definition: Definition, run: Run) -> str:
    """Which rule over the run is broken already, so that nothing may be started; empty for none."""
    for automaton, rule, state in zip(definition.automata, definition.run_rules, rules_of(definition, run), strict=True):
        if state in automaton.broken:
            return f"{run.state} would start runs after the rule was broken: {in_words(rule)}"
    return ""


def rules_of(definition: Definition, run: Run) -> tuple[int, ...]:
    """How far each of `definition.automata` has read. A run that has left no state yet carries nothing: its start was entered."""
    if len(run.rules) == len(definition.automata):
        return run.rules
    return tuple(automaton.step(0, entered(run.state)) for automaton in definition.automata)


def migrated_rules(was: Definition, now: Definition, run: Run) -> tuple[int, ...]:
    """How far the automata of another definition have read: a rule that both have goes on, a new one is judged from here on."""
    known = {canonical(rule): state for rule, state in zip(was.run_rules, rules_of(was, run), strict=True)}
    return tuple(known.get(canonical(rule), 0) for rule in now.run_rules)


def beside(definition: Definition, run: Run) -> tuple[Object, ...]:
    """The waiting calls that execute in one step with the pending one, which is `read`: those at the head of the queue that are `read`
    too, would come right here next, refer to nothing, need no approval, and that no rule names."""
    call = run.pending
    if call is None or not run.queue or definition.tools[call.tool_name].effect != "read":
        return ()
    spec, edges = definition.states[run.state], definition.states[call.maker].edges
    found: list[Object] = []
    for item in run.queue if spec.edges.get(FOLLOWS) == NEXT else ():
        name = cast("str", item["tool_name"])
        tool = definition.tools[name]
        here = name in spec.tools and edges.get(name) == run.state and not item.get("from")
        if not here or tool.effect != "read" or tool.approval or name in definition.ruled:
            break
        found.append(item)
    return tuple(found)


def may_have_run(definition: Definition, run: Run, fence: int) -> bool:
    """Could an earlier holder have dispatched the pending call? Then nobody knows its end."""
    call = run.pending
    if call is None or run.held is not None or definition.states[run.state].kind != "act":
        return False
    effect = definition.tools[call.tool_name].effect
    if effect == "once":
        return call.mark is not None
    return effect == "keyed" and (call.fence != fence or call.attempts > 0)


# ── leaving a state ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Route:
    """Where an outcome leads: the edge's target, or `exceeded` with the limit that was reached."""

    to: str
    tripped: str | None = None


def route(definition: Definition, run: Run, outcome: str, at: Micros, *, call: Object | None = None, over: str = "") -> Route:
    """Where an outcome leads now. Limits are checked here, on entering: never over a result that is in flight.

    `call`: the one that follows in a series; None where it cannot be made.

    `over`: a limit of the day, of which nothing is left for another call. Raises EdgeError for an edge that is not drawn.
    """
    if outcome == EXCEEDED:
        return Route(definition.move(run.state, EXCEEDED, back=None), over)
    following = _following(definition, run, call) if outcome == FOLLOWS else None
    target = definition.move(run.state, outcome, back=run.back, following=following)
    tripped = _tripped(definition, run, target, at)
    if tripped is None and definition.states[target].kind == "ask":
        tripped = over or None
    waits_there = target == definition.exceeded and definition.states[target].kind != "ask" and target != run.state
    if tripped is None or waits_there:
        return Route(target)
    if not (_leads_away(definition, run) if over else definition.exceeded is not None and not run.exceeded):
        return Route(target, tripped)
    return Route(definition.move(run.state, EXCEEDED, back=None), tripped)


def _following(definition: Definition, run: Run, call: Object | None) -> str | None:
    """What `Next` means: the maker's own edge for the call that follows, or for its error."""
    if run.pending is None or not run.queue:
        return None
    return definition.states[run.pending.maker].edges.get(cast("str", call["tool_name"]) if call else "error")


def unexecuted(definition: Definition, run: Run, event: Event) -> list[Object]:
    """The calls that waited and wait no more once this has happened, though nobody executed them: the next question says so."""
    after = reduce(definition, run, event)
    if after.queue:
        return []
    taken = _beside(run, event.body) if "outcome" in event.body else 0
    made = after.pending is not None and after.pending.ordinal > run.ordinal + taken
    return list(run.queue[taken + made :])


def reservable(definition: Definition, run: Run, where: Route) -> bool:
    """Does a step that goes there enter an Ask, for which a call is set aside from the day's budget?"""
    if not definition.daily or definition.states[where.to].kind != "ask":
        return False
    return where.tripped is None or (where.to == definition.exceeded and not run.exceeded)


def unreserved(definition: Definition, run: Run, day: str) -> bool:
    """Is the Ask about to be made without a call set aside from the budget of this day? It was entered on another, or came to rest."""
    if run.status not in ("ready", "running") or run.held is not None:
        return False
    return definition.states[run.state].kind == "ask" and (run.reserved is None or run.reserved.day != day)


def refused(definition: Definition, run: Run, over: str) -> tuple[str, Object]:
    """The event, where nothing is left of a day's budget for the Ask that the run is in: it is left unasked, or a person is needed."""
    if _leads_away(definition, run):
        return "limited", {"state": run.state, "outcome": EXCEEDED}
    return "stuck", {"state": run.state, "reason": f"{LIMIT_REACHED}{over}"}


def _leads_away(definition: Definition, run: Run) -> bool:
    """Can `exceeded` be taken where no call of a model can be made any more today?"""
    exceeded = definition.exceeded
    return exceeded is not None and not run.exceeded and definition.states[exceeded].kind != "ask"


def _tripped(definition: Definition, run: Run, target: str, at: Micros) -> str | None:
    """Which limit stands against entering the target."""
    kind = definition.states[target].kind
    if kind == "end":
        return None
    portions = 1 + run.granted
    extended = portions + (1 if run.exceeded else 0)
    if run.steps + 1 >= definition.steps * extended:
        return "steps"
    if definition.days is not None and at - run.started_at >= definition.days * DAY * extended:
        return "days"
    if kind != "ask":
        return None
    if definition.model_calls is not None and run.model_calls >= definition.model_calls * portions:
        return "model_calls"
    if definition.tokens is not None and run.tokens >= definition.tokens * portions:
        return "tokens"
    if definition.cost is not None and run.cost >= definition.cost * portions:
        return "cost"
    return PRICE if run.unpriced and definition.limits_money else None


def _why(run: Run, tripped: str) -> str:
    if tripped != PRICE:
        return f"{LIMIT_REACHED}{tripped}"
    return (
        f"what {run.unpriced} costs is unknown, and the machine limits money; set its price in pyproject.toml, "
        f"[tool.leverframe.prices], then `leverframe retry {run.id}`"
    )


def _left(definition: Definition, run: Run, event: Event) -> Run:
    """The run after its state ended with `outcome` and went `to`."""
    body = event.body
    outcome, to = cast("str", body["outcome"]), cast("str", body["to"])
    spec, target = definition.states[run.state], definition.states.get(to)
    tripped = cast("str | None", body.get("exceeded"))
    if target is None or not _drawn(definition, run, body, to, tripped):
        raise Tampered(f"run {run.id}: event {event.seq} goes from {run.state} by {outcome!r} to {to!r}, which is not drawn")
    if definition.automata:
        run = but(run, rules=_read(definition, run, outcome, to, body))
    taken = _beside(run, body)
    run, settled = _settle(run, spec, outcome)
    run = _counted(run, spec, outcome, body, settled)
    run = spun(run, spec.kind, outcome, body, settled)
    back = run.back
    if target.kind == "compact" and spec.kind != "compact":
        back = settled.maker if settled and outcome == "not_happened" else run.pending.maker if run.pending else run.state
    moved = tripped is not None and to == definition.exceeded and not run.exceeded
    stopped = tripped is not None and not moved
    return but(
        run,
        state=to,
        status="attention" if stopped else "ready",
        reason=_why(charged(definition, run, body), tripped) if stopped and tripped else None,
        seq=event.seq,
        head=event.hash,
        memory=_remember(run, body),
        steps=run.steps + 1,
        back=back,
        postponed=None,
        waiting=None,
        held=None,
        reserved=_reserved(body),
        exceeded=run.exceeded or moved,
        model_calls=run.model_calls + (target.kind == "ask") - (outcome == EXCEEDED),  # what is left unasked was counted
        **_spent(run, body),
        **_carried(run, spec, target, outcome, event, taken),
    )


def _read(definition: Definition, run: Run, outcome: str, to: str, body: Object) -> tuple[int, ...]:
    """What the automata of the rules know after the step: what children did, the tools it executed, its outcome, the state entered."""
    letters = letters_of(body.get("inside"))
    if definition.states[run.state].kind == "act" and run.pending is not None:
        letters.append(executed(run.pending.tool_name))
    for call in cast("list[Object]", body.get("calls") or (run.held or {}).get("calls") or []):
        letters.append(executed(cast("str", call["tool_name"])))
    letters += [ended(run.state, outcome), entered(to)]
    states = zip(definition.automata, rules_of(definition, run), strict=True)
    return tuple(automaton.read(state, letters) for automaton, state in states)


def _drawn(definition: Definition, run: Run, body: Object, to: str, tripped: str | None) -> bool:
    outcome = cast("str", body["outcome"])
    edge = definition.states[run.state].edges.get(outcome)
    limited = edge is not None or (outcome == EXCEEDED and definition.states[run.state].kind == "ask")
    meant = run.back if edge == BACK else edge
    if edge == NEXT:
        meant = _following(definition, run, cast("Object | None", body.get("call")))
        if meant is None or not _is_next(run, body):
            return False
    return to == meant or (limited and tripped is not None and to == definition.exceeded)


def _is_next(run: Run, body: Object) -> bool:
    """Is the call that is made the one that waits, after those that were executed beside the pending one?"""
    made, waits = cast("Object", body.get("call") or body.get("refused") or {}), run.queue[_beside(run, body) :][:1]
    return any(item["tool_name"] == made.get("tool_name") for item in waits)


def _beside(run: Run, body: Object) -> int:
    """How many calls of the queue were executed with the pending one."""
    return len(cast("list[Json]", body.get("calls") or (run.held or {}).get("calls") or [])) if run.queue else 0


def _remember(run: Run, body: Object) -> Object:
    changed = body.get("memory")
    return {**run.memory, **cast("Object", changed)} if changed else run.memory


def charged(definition: Definition, run: Run, body: Object) -> Run:
    """The run with what an event says its calls of models used up, where a limit counts it: what the next is checked against."""
    if definition.tokens is None and definition.cost is None and not definition.daily:
        return run
    return but(run, **spent) if (spent := _spent(run, body)) else run


def _spent(run: Run, body: Object) -> dict[str, object]:
    if "usage" not in body:
        return {}
    by = used(body)
    unpriced = run.unpriced or ("" if run.offline else by.unpriced)
    return {"cost": run.cost + by.cost, "tokens": run.tokens + by.tokens, "unpriced": unpriced}


def _reserved(body: Object) -> Reserved | None:
    found = cast("Object | None", body.get("reserved"))
    if found is None:
        return None
    tokens, cost, calls = (cast("int", found.get(name, least)) for name, least in (("tokens", 0), ("cost", 0), ("calls", 1)))
    return Reserved(cast("str", found["day"]), tokens, cost, calls)


def _still_reserved(run: Run, body: Object) -> Reserved | None:
    """What is set aside once shadows were asked beside a try that failed: they are not asked again with the next."""
    made = len(shadows(body))
    return but(run.reserved, calls=max(1, run.reserved.calls - made)) if run.reserved and made else run.reserved


def _settle(run: Run, spec: Spec, outcome: str) -> tuple[Run, Pending | None]:
    if not (spec.settles and run.doubts and outcome in ("happened", "not_happened")):
        return run, None
    settled = run.doubts[-1]
    return but(run, doubts=run.doubts[:-1]), settled


def _counted(run: Run, spec: Spec, outcome: str, body: Object, settled: Pending | None) -> Run:
    """`failures` and `in_a_row`. An `unknown` resets nothing; what it turns out to be counts against or for the Act."""
    if outcome == FOLLOWS and spec.kind == "act":
        refused = cast("Object", body.get("refused") or {})
        if not refused:
            return run  # the answer is not over: what failed before it may fail on it again
        outcome, body = "error", refused
    if outcome in ("unknown", EXCEEDED):
        return run
    blamed = (settled.act if settled else None) or run.state
    if outcome == "error" or (settled and outcome == "not_happened"):
        cause = cast(
            "Object",
            body.get("error") or {"type": "NotDone", "cause": f"{settled.tool_name if settled else blamed} did not happen"},
        )
        failures = {**run.failures, blamed: run.failures.get(blamed, 0) + 1}
        return but(run, failures=failures, in_a_row=run.in_a_row + 1, error={"state": blamed, **cause})
    if spec.kind == "compact" or not (run.failures or run.in_a_row):
        return run
    failures = {state: count for state, count in run.failures.items() if state not in (blamed, run.state)}
    progress = spec.kind in ("fetch", "act", "delegate") or (spec.kind in ("approve", "consult", "wait") and outcome != "expired")
    return but(run, failures=failures, in_a_row=0 if progress else run.in_a_row)


def _carried(run: Run, spec: Spec, target: Spec, outcome: str, event: Event, taken: int) -> dict[str, object]:
    """The pending call after the step: made, kept, in doubt or void; the calls that wait behind it; and what was done so far."""
    body, call, queue = event.body, run.pending, run.queue[taken:]
    made, maker = cast("Object | None", body.get("call")), spec.name
    ordinal, did, doubts = run.ordinal, run.did, run.doubts
    if spec.kind == "act" and call is not None:
        maker, ordinal = call.maker, ordinal + taken
        did = did or (outcome != "error" and cast("str", body.get("effect", "read")) != "read")
        if outcome == "unknown":
            marked = body.get("effect") == "once"  # its mark counted the attempt
            doubts = (*doubts, call if marked else but(call, attempts=call.attempts + 1))
        call = None
    elif call is not None and made is None:
        if spec.kind == "approve" and outcome == "approved":  # a Work that ends in such a word is no person
            call = but(call, approved=call.digest, by=cast("str", body.get("by", "")))
        dropped = (spec.kind == "approve" and outcome != "approved") or (spec.kind == "ask" and outcome == "unsure")
        call = None if dropped else but(call, via=(*call.via, (spec.name, outcome)))
    if made is not None:
        ordinal += 1
        call = _made(run.id, ordinal, made, maker)
        queue = tuple(cast("list[Object]", body["queue"])) if "queue" in body else queue[1:]
    if call is not None and (target.kind in ("ask", "consult", "compact", "end") or target.builds):
        call = None
    if call is not None and target.kind == "act":
        call = but(call, act=target.name, entered_at=event.at, fence=cast("int", body.get("fence", 0)))
    return {"pending": call, "queue": queue if call is not None else (), "ordinal": ordinal, "did": did, "doubts": doubts}


def _made(run_id: str, ordinal: int, call: Object, maker: str) -> Pending:
    return Pending(
        tool_name=cast("str", call["tool_name"]),
        arguments=cast("Object", call["arguments"]),
        digest=cast("str", call["digest"]),
        maker=maker,
        ordinal=ordinal,
        key=key_of(run_id, ordinal),
    )


# ── everything else that can happen ──────────────────────────────────────────────────────────────────────────────────────────


def begin(event: Event) -> Run:
    """The run after its first event."""
    body = event.body
    if event.type == "forked":
        return but(_forked(body), seq=event.seq, head=event.hash)
    return Run(
        id=cast("str", body["run"]),
        machine=cast("str", body["machine"]),
        definition=cast("str", body["definition"]),
        status="ready",
        state=cast("str", body["state"]),
        memory=cast("Object", body["memory"]),
        seq=event.seq,
        head=event.hash,
        started_at=event.at,
        offline=cast("bool | None", body.get("offline")),
        parent=cast("str | None", body.get("parent")),
        pins=cast("dict[str, str]", body.get("pins", {})),
        model_calls=1 if body.get("asks") else 0,
        reserved=_reserved(body),
    )


def _forked(body: Object) -> Run:
    """A fork starts where the other run was, with the same memory; nothing pending comes along: a fork never repeats a call."""
    return Run(
        id=cast("str", body["run"]),
        machine=cast("str", body["machine"]),
        definition=cast("str", body["definition"]),
        status="ready",
        state=cast("str", body["state"]),
        memory=cast("Object", body["memory"]),
        started_at=cast("int", body["at"]),
        offline=cast("bool | None", body.get("offline")),
        back=cast("str | None", body.get("back")),
        pins=cast("dict[str, str]", body.get("pins", {})),
        rules=tuple(cast("list[int]", body.get("rules", []))),
        model_calls=1 if body.get("asks") else 0,
    )


def reduce(definition: Definition, run: Run, event: Event) -> Run:
    """The run after the event. Raises Tampered for an event that does not follow."""
    if event.seq != run.seq + 1:
        raise Tampered(f"run {run.id}: event {event.seq} follows {run.seq}; one is missing or doubled")
    act = _REDUCERS.get(event.type)
    if act is None:
        raise Tampered(f"run {run.id}: event {event.seq} is of unknown type {event.type!r}")
    after = act(definition, run, event)  # `_left` sets both with the rest, since a copy of a run is what a step costs most
    return after if after.seq == event.seq else but(after, seq=event.seq, head=event.hash)


def fold(definition: Callable[[str], Definition], events: "list[Event]") -> Run:
    """A whole log as the run it amounts to. `definition` finds one by its hash: a migrated run has had several."""
    run = begin(events[0])
    for event in events[1:]:
        run = reduce(definition(run.definition), run, event)
    return run


_HELD = ("tool_name", "effect", "result", "reconciled", "calls", "reply", "given", "results")


def _ended_state(definition: Definition, run: Run, event: Event) -> Run:
    """A state came to its end, or its result is recorded while the code that keeps it failed."""
    if "outcome" in event.body:
        return _left(definition, run, event)
    held: Object = {"event": event.type, **{name: event.body[name] for name in _HELD if name in event.body}}
    reason = cast("str", event.body["stuck"])
    did = run.did or cast("str", event.body.get("effect", "read")) != "read"
    spent = _spent(run, event.body)
    return but(run, status="attention", reason=reason, held=held, did=did, postponed=None, reserved=None, **spent)


def _built(definition: Definition, run: Run, event: Event) -> Run:
    ordinal = run.ordinal + 1
    call = _made(run.id, ordinal, cast("Object", event.body["call"]), run.state)
    call = but(call, act=run.state, entered_at=event.at, fence=cast("int", event.body["fence"]), via=((run.state, "built"),))
    return but(run, ordinal=ordinal, pending=call)


def _marked(definition: Definition, run: Run, event: Event) -> Run:
    if run.pending is None:
        raise Tampered(f"run {run.id}: event {event.seq} marks a call, and none is pending")
    call = but(run.pending, mark=cast("int", event.body["fence"]), marked_at=event.at, attempts=run.pending.attempts + 1)
    return but(run, pending=call, postponed=None)


def _withdrawn(definition: Definition, run: Run, event: Event) -> Run:
    if run.pending is None:
        raise Tampered(f"run {run.id}: event {event.seq} withdraws a mark, and no call is pending")
    return but(run, pending=but(run.pending, mark=None, marked_at=None, attempts=run.pending.attempts - 1))


def _postponed(definition: Definition, run: Run, event: Event) -> Run:
    until, attempts = cast("int", event.body["until"]), cast("int", event.body["attempts"])
    call = run.pending
    if call is not None and definition.states[run.state].kind == "act":
        call = but(call, attempts=attempts)
    still = _still_reserved(run, event.body)
    return but(run, postponed=(until, attempts), pending=call, reserved=still, **_spent(run, event.body))


def _opened(definition: Definition, run: Run, event: Event) -> Run:
    body = event.body
    waiting = Waiting(
        id=cast("str", body["task"]),
        kind=cast("Literal['approve', 'answer', 'wait', 'children']", body["kind"]),
        expires_at=cast("int", body["expires_at"]),
        shown=cast("str", body.get("shown", "")),
        children=tuple(cast("list[str]", body.get("children", []))),
    )
    return but(run, waiting=waiting, status="waiting")


def _edited(definition: Definition, run: Run, event: Event) -> Run:
    """Another call in place of the pending one: its own effect and task, nothing approved, the deadline stays."""
    if run.pending is None or run.waiting is None:
        raise Tampered(f"run {run.id}: event {event.seq} edits a call, and none is pending")
    ordinal = run.ordinal + 1
    call = _made(run.id, ordinal, cast("Object", event.body["call"]), run.pending.maker)
    waiting = but(run.waiting, id=cast("str", event.body["next"]), shown=cast("str", event.body["shown"]))
    return but(run, ordinal=ordinal, steps=run.steps + 1, pending=call, waiting=waiting)


def _child_ended(definition: Definition, run: Run, event: Event) -> Run:
    if run.waiting is None:
        raise Tampered(f"run {run.id}: event {event.seq} ends a child, and none is awaited")
    failed = run.waiting.failed + (not event.body["success"])
    waiting = but(run.waiting, ended=run.waiting.ended + 1, failed=failed)
    over = waiting.ended == len(waiting.children)
    return but(run, waiting=waiting, status="ready" if over else run.status, did=run.did or bool(event.body.get("did")))


def _settled(definition: Definition, run: Run, event: Event) -> Run:
    """A person said whether a doubted call happened; moves the run if its state is finding out the same."""
    key = event.body["key"]
    if "outcome" in event.body:
        after = _left(definition, run, event)
        if run.status == "paused":
            return but(after, status="paused", was=after.status)
        return but(after, status=run.status, reason=run.reason) if run.status in ("blocked", "quarantined") else after
    return but(run, doubts=tuple(call for call in run.doubts if call.key != key))


def _over(definition: Definition, run: Run, event: Event) -> Run:
    status: Status = "done" if event.body["success"] else "failed"
    return but(run, status=status, result=event.body.get("result"), pending=None, queue=(), postponed=None)


def _needs_person(status: Status) -> "Reducer":
    def reducer(definition: Definition, run: Run, event: Event) -> Run:
        reason, still = cast("str", event.body["reason"]), _still_reserved(run, event.body)
        return but(run, status=status, reason=reason, postponed=None, reserved=still, **_spent(run, event.body))

    return reducer


def set_aside(run: Run, event: Event) -> Run:
    """The run after `blocked`, for one whose definition cannot be read: the event says nothing about the machine."""
    return but(run, status="blocked", reason=cast("str", event.body["reason"]), postponed=None, seq=event.seq, head=event.hash)


def _retried(definition: Definition, run: Run, event: Event) -> Run:
    granted = run.granted + cast("int", event.body.get("grant", 0))
    return but(run, status=_idle(run), reason=None, granted=granted, postponed=None, unpriced="")


def _reserving(definition: Definition, run: Run, event: Event) -> Run:
    return but(run, reserved=_reserved(event.body))


def _idle(run: Run) -> Status:
    """What a run is when nothing holds it back."""
    return "waiting" if run.waiting is not None else "ready"


def _paused(definition: Definition, run: Run, event: Event) -> Run:
    return but(run, status="paused", was=run.status)


def _resumed(definition: Definition, run: Run, event: Event) -> Run:
    return but(run, status=run.was or "ready", was=None)


def _cancelled(definition: Definition, run: Run, event: Event) -> Run:
    doubts = (*run.doubts, run.pending) if event.body.get("doubt") and run.pending else run.doubts
    did = run.did or bool(event.body.get("doubt"))
    return but(
        run,
        status="cancelled",
        pending=None,
        queue=(),
        waiting=None,
        postponed=None,
        held=None,
        reason=None,
        was=None,
        reserved=None,
        doubts=doubts,
        did=did,
    )


def _migrated(definition: Definition, run: Run, event: Event) -> Run:
    """Another definition cures what blocked the run, and nothing else that holds it back."""
    rules = tuple(cast("list[int]", event.body.get("rules", [])))
    run = but(run, definition=cast("str", event.body["to"]), memory=_remember(run, event.body), rules=rules)
    if run.was == "blocked":
        return but(run, was=_idle(run), reason=None)
    return but(run, status=_idle(run), reason=None) if run.status == "blocked" else run


Reducer: TypeAlias = Callable[[Definition, Run, Event], Run]
_REDUCERS: dict[str, Reducer] = {
    **dict.fromkeys(
        ("worked", "fetched", "asked", "acted", "answered", "received", "returned", "kept", "decided", "expired", "compacted"),
        _ended_state,
    ),
    "built": _built,
    "marked": _marked,
    "withdrawn": _withdrawn,
    "postponed": _postponed,
    "opened": _opened,
    "edited": _edited,
    "child_ended": _child_ended,
    "settled": _settled,
    "reserved": _reserving,
    "limited": _left,
    "ended": _over,
    "stuck": _needs_person("attention"),
    "blocked": _needs_person("blocked"),
    "quarantined": _needs_person("quarantined"),
    "retried": _retried,
    "paused": _paused,
    "resumed": _resumed,
    "cancelled": _cancelled,
    "migrated": _migrated,
}
