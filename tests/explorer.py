"""An exhaustive explorer over the pure reducer: every outcome, crash, wish, edit, decision and limit of a machine, in every order.

Data is abstracted: what user code, tools, models and people decide is free. A world beside the run counts what was really dispatched
and what landed, and only that is truthful: an error says it did not happen, a look-up says whether it did. The run itself goes through
the real `need_of`, `route`, `reduce`, `may_have_run` and `Ledger`; what `leverframe.drive` adds (which events one commit holds) is mirrored.

Two configurations are one if they can do the same: sequence numbers, times and ordinals are left out, fences are "mine" or "another's".
Limits are reached at any moment, because time is free: a phase of it is one portion of the machine's `days`. What other runs use up of a
machine's day is free, too: it may be used up at any moment, and another day may begin.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Never, cast

from leverframe import Ask, Machine, perform
from leverframe.budget import denied
from leverframe.canon import Json, Object, canonical
from leverframe.clock import SystemClock
from leverframe.errors import Overdrawn
from leverframe.ledger import Ledger, reconcile_task
from leverframe.limits import DAILY
from leverframe.machine import Definition, prompt_names
from leverframe.perform import Bound, Draft, Step
from leverframe.prompt import Prompt
from leverframe.reduce import DAY, LIMIT_REACHED, Need, begin, may_have_run, need_of, reduce, reservable, route, unreserved
from leverframe.run import OVER, Event, Pending, Run
from leverframe.state import M_contra as M

PASSIVE = frozenset({"paused", "attention", "blocked", "quarantined"})


class Anywhere(Machine[M]):
    """A machine that needs no prompt files: all its prompts are one text."""

    text = "# user\n\n{{ window }}\n{{ choices }}\n"

    def prompts(self, state: type[Ask[Never]]) -> list[Prompt]:
        return [Prompt.parse(name, "", self.text) for name in prompt_names(state)]


class Violation(AssertionError):
    """A property does not hold; the message is the path that leads there."""


@dataclass(frozen=True)
class Sent:
    """What the world knows of one call."""

    tool: str
    digest: str
    dispatches: int
    landed: bool
    closed: bool = False  # somebody recorded or settled what became of it


@dataclass(frozen=True)
class Made:
    """What the explorer itself knows of the pending call, without looking at the run."""

    digest: str
    path: frozenset[tuple[str, str]] = frozenset()
    released: str | None = None


@dataclass(frozen=True)
class Config:
    """A run, the world beside it, and the holder that goes on with it."""

    run: Run
    fence: int = 1
    sent: Mapping[str, Sent] = field(default_factory=dict[str, Sent])
    landed: Mapping[str, int] = field(default_factory=dict[str, int])  # by tool
    made: Made | None = None
    flying: bool = False  # dispatched by this holder, nothing recorded yet
    doubted: frozenset[str] = frozenset()
    tasks: frozenset[str] = frozenset()
    phase: int = 0
    day: int = 0
    used_up: bool = False  # the day's budget, by other runs
    aside: int = 0  # calls this run took of days and did not make

    def landed_as(self, call: Pending) -> bool:
        """Did it happen? One that was marked and never dispatched did not."""
        return call.key in self.sent and self.sent[call.key].landed


@dataclass(frozen=True)
class Engine:
    """The pure functions that are explored. Wrong ones can be passed, to see that they are caught."""

    need_of: Callable[[Definition, Run, int], Need] = need_of
    reduce: Callable[[Definition, Run, Event], Run] = reduce
    may_have_run: Callable[[Definition, Run, int], bool] = may_have_run


@dataclass
class Found:
    """What an exploration went through. `pruned`: configurations with more doubts at a time than were looked at."""

    configurations: int = 0
    transitions: int = 0
    pruned: int = 0
    statuses: set[str] = field(default_factory=set[str])
    dispatched: set[str] = field(default_factory=set[str])


class Explorer:
    """Walks everything one machine can do. `landing`: how often a tool's effect may land in one run, where that is known."""

    def __init__(
        self,
        machine: "Machine[Never]",
        others: "Mapping[str, Machine[Never]] | None" = None,
        *,
        landing: Mapping[str, int] | None = None,
        model_calls: int = 2,
        times: int = 3,
        retries: int = 3,
        grants: int = 1,
        doubts: int = 2,
        most: int = 2,
        engine: Engine | None = None,
    ) -> None:
        self.definition = bounded(machine.definition(others), model_calls, times, retries)
        self.bound = Bound(self.definition, machine, self.definition)
        self.landing = landing or {}
        self.grants, self.doubts, self.most = grants, doubts, most
        self.engine = engine or Engine()
        self.firsts = {step for rule in self.definition.call_rules for step in _firsts(rule)}
        self.delegates = any(spec.kind == "delegate" for spec in self.definition.states.values())
        self.erring = self._erring()
        self.times = max(spec.times for spec in self.definition.states.values())
        self.found = Found()
        self._paths: dict[object, tuple[object, str] | None] = {}

    # ── walking ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def explore(self) -> Found:
        """Every configuration once. Raises Violation with the path to the first that breaks a property."""
        first = self._first()
        todo = deque([(self._key(first), first)])
        self._paths = {todo[0][0]: None}
        back: dict[object, list[object]] = {}
        ends: list[object] = []
        while todo:
            key, config = todo.popleft()
            self.found.configurations += 1
            self.found.statuses.add(config.run.status)
            self._check_config(key, config)
            if config.run.status in OVER or (config.run.reason or "").startswith("limit"):
                ends.append(key)
            for label, after in self._all_next(key, config):
                if len(after.run.doubts) > self.doubts:
                    self.found.pruned += 1
                    continue
                self.found.transitions += 1
                following = self._key(after)
                if label != "cancel":
                    back.setdefault(following, []).append(key)
                if following not in self._paths:
                    self._paths[following] = (key, label)
                    todo.append((following, after))
        self._check_ends(ends, back)
        return self.found

    def _all_next(self, key: object, config: Config) -> "Iterator[tuple[str, Config]]":
        steps = self.next(config)
        while True:
            try:
                yield next(steps)
            except StopIteration:
                return
            except Violation as broken:
                raise Violation(f"{broken}\n{self.path(key)}") from None

    def path(self, key: object) -> str:
        labels: list[str] = []
        step = self._paths[key]
        while step is not None:
            labels.append(step[1])
            step = self._paths[step[0]]
        return "path: " + " → ".join(reversed(labels)) + f"\nat: {key}"

    def _check_config(self, key: object, config: Config) -> None:
        run = config.run
        need = self.engine.need_of(self.definition, run, config.fence)
        broken = ""
        if run.status in OVER or run.status in PASSIVE:
            broken = "" if need.kind == "nothing" else f"a run that is {run.status} needs {need.kind}"
        elif need.kind in ("nothing", "refuse"):
            broken = f"a run that is {run.status} needs {need.kind}: {need.why}"
        open_calls = {each for each, sent in config.sent.items() if not sent.closed}
        known = {call.key for call in (run.pending, *run.doubts) if call}
        if open_calls - known:
            broken = "a dispatched call that nobody knows the end of is forgotten"
        if set(config.doubted) != {call.key for call in run.doubts}:
            broken = "a doubt was lost or made up"
        if {reconcile_task(each) for each in config.doubted} != {task for task in config.tasks if not task.startswith("ask_")}:
            broken = "open reconcile tasks are not the doubts"
        asked = [task for task in config.tasks if task.startswith("ask_")]
        waits = [run.waiting.id] if run.waiting and run.waiting.kind in ("approve", "answer") and run.held is None else []
        if asked != waits:  # where the answer is recorded and the code that keeps it failed, nobody is asked again
            broken = f"open human tasks {asked} are not what the run waits for"
        if config.aside != (run.reserved is not None):
            broken = f"{config.aside} calls are set aside of days, and the run knows of {int(run.reserved is not None)}"
        if run.reserved and (run.status in OVER or self.definition.states[run.state].kind != "ask"):
            broken = f"a call stays set aside that nobody makes: the run is {run.status} in {run.state}"
        if broken:
            raise Violation(f"{broken}\n{self.path(key)}")

    def _check_ends(self, ends: list[object], back: "dict[object, list[object]]") -> None:
        """Nothing is a trap: an End (or a person who grants more) can be reached without cancelling."""
        seen = set(ends)
        todo = deque(ends)
        while todo:
            for before in back.get(todo.popleft(), ()):
                if before not in seen:
                    seen.add(before)
                    todo.append(before)
        for key in self._paths:
            if key not in seen:
                raise Violation(f"no End can be reached any more\n{self.path(key)}")

    # ── what can happen next ─────────────────────────────────────────────────────────────────────────────────────────────────

    def next(self, config: Config) -> "Iterator[tuple[str, Config]]":
        yield from self._crash(config)
        if config.flying:
            yield from self._landed(config)
            return
        yield from self._wished(config)
        yield from self._settled(config)
        yield from self._days(config)
        if unreserved(self.definition, config.run, _day(config)) and self.definition.daily:
            yield "sets aside", self._commit(config, [Draft("reserved", {"state": config.run.state, **_aside(config)})])
            return  # nothing is done before
        need = self.engine.need_of(self.definition, config.run, config.fence)
        step = _STEPS.get(need.kind)
        if step is not None:
            yield from step(self, config)

    def _days(self, config: Config) -> "Iterator[tuple[str, Config]]":
        """While nothing moves, time changes nothing that it does not change afterwards."""
        run = config.run
        if self.definition.days is not None and config.phase <= run.granted + run.exceeded and run.status in ("ready", "waiting"):
            yield "days pass", replace(config, phase=config.phase + 1)
        if self.definition.daily:
            yield "another day", replace(config, day=config.day + 1, used_up=False)
            yield "the day is used up", replace(config, used_up=True)

    def _crash(self, config: Config) -> "Iterator[tuple[str, Config]]":
        """Somebody else takes over: after a kill -9, a lost lease or a rest."""
        call = config.run.pending
        if config.run.status in PASSIVE:
            return
        if config.flying or (call is not None and config.fence in (call.mark, call.fence)):
            yield "crash", replace(config, fence=config.fence + 1, flying=False)

    def _wished(self, config: Config) -> "Iterator[tuple[str, Config]]":
        run = config.run
        if run.status in OVER:
            return
        call = run.pending
        undo: list[Draft] = []
        if call is not None and call.mark == config.fence and run.held is None:
            undo = [Draft("withdrawn", {"state": run.state})]
        doubt: Object = {"doubt": True} if not undo and self.engine.may_have_run(self.definition, run, config.fence) else {}
        yield "cancel", self._commit(config, [*undo, Draft("cancelled", {"by": "ann", **doubt})])
        if run.status == "paused":
            yield "resume", self._commit(replace(config, fence=config.fence + 1), [Draft("resumed", {"by": "ann"})])
        else:
            yield "pause", self._commit(config, [*undo, Draft("paused", {"by": "ann"})])
        if run.status in ("ready", "waiting"):
            yield "blocked", self._commit(config, [Draft("blocked", {"reason": "another contract"})])

    def _settled(self, config: Config) -> "Iterator[tuple[str, Config]]":
        """A person settles a doubt, truthfully, at any moment, and says so when the run is over too."""
        run, definition = config.run, self.definition
        if run.status in PASSIVE - {"paused"}:
            yield from self._retried(config)
        for call in run.doubts:
            happened = config.landed_as(call)
            body: Object = {"key": call.key, "happened": happened, "by": "ann", "state": run.state}
            spec = definition.states[run.state]
            if run.status not in OVER and spec.kind == "compact" and run.back and definition.states[run.back].settles:
                continue  # it waits in the inbox: the state that finds out comes back, and takes it
            if run.status not in OVER and run.doubts[-1].key == call.key and spec.settles:
                body["outcome"] = "happened" if happened else "not_happened"
            yield f"settled {happened}", self._commit(config, [Draft("settled", body)])

    def _retried(self, config: Config) -> "Iterator[tuple[str, Config]]":
        run = config.run
        limited = (run.reason or "").startswith("limit")
        if (run.reason or "").startswith(LIMIT_REACHED + DAILY):
            yield "retry", self._commit(replace(config, fence=config.fence + 1), [Draft("retried", {"by": "ann", "grant": 0})])
        if limited and run.granted >= self.grants:
            return
        grant = 1 if limited else 0
        fresh = replace(config, fence=config.fence + 1)
        yield "retry", self._commit(fresh, [Draft("retried", {"by": "ann", "grant": grant})])

    # ── a state does what it does ────────────────────────────────────────────────────────────────────────────────────────────

    def work(self, config: Config) -> "Iterator[tuple[str, Config]]":
        state = config.run.state
        for outcome in self.definition.states[state].edges:
            yield f"{state}: {outcome}", self._commit(config, [Draft("worked", {"state": state, "outcome": outcome})])
        yield from self._stuck(config)

    def _stuck(self, config: Config) -> "Iterator[tuple[str, Config]]":
        state = config.run.state
        yield f"{state}: raises", self._commit(config, [Draft("stuck", {"state": state, "reason": "it raised"})])

    def fetch(self, config: Config) -> "Iterator[tuple[str, Config]]":
        state, spec = config.run.state, self.definition.states[config.run.state]
        yield from self._stuck(config)
        if spec.settles and not config.run.doubts:
            return  # self.call raises: there is nothing to find out
        for outcome in self._truthful(config, spec.edges):
            error: Object = {"error": _fault(state)} if outcome == "error" else {}
            draft = Draft("fetched", {"state": state, "calls": [], "outcome": outcome, **error})
            yield f"{state}: {outcome}", self._commit(config, [draft])
        yield f"{state}: keep fails", self._commit(config, [Draft("fetched", {"state": state, "calls": [], "stuck": "keep"})])

    def _truthful(self, config: Config, edges: Mapping[str, str]) -> Iterator[str]:
        """Of a look-up, only what is so."""
        spec, doubts = self.definition.states[config.run.state], config.run.doubts
        untrue = ""
        if spec.settles and doubts:
            untrue = "not_happened" if config.landed_as(doubts[-1]) else "happened"
        return (outcome for outcome in edges if outcome not in (untrue, "expired"))

    def ask(self, config: Config) -> "Iterator[tuple[str, Config]]":
        run, spec = config.run, self.definition.states[config.run.state]
        for outcome in spec.edges:
            body: Object = {"state": run.state, "outcome": outcome}
            if outcome == "error":
                body["error"] = _fault(run.state)
            elif outcome in spec.tools:
                body["call"] = _call(outcome, run.ordinal + 1)
                for more in _series(sorted(spec.tools), min(spec.most, self.most) - 1):
                    queue: list[Json] = [{"n": number, "tool_name": tool} for number, tool in enumerate(more, 1)]
                    several = Draft("asked", {**body, "queue": queue})
                    yield f"{run.state}: {outcome} {' '.join(more)}", self._commit(config, [several])
            yield f"{run.state}: {outcome}", self._commit(config, [Draft("asked", body)])
        if spec.edges.keys() - spec.tools - {"error", "unsure"}:
            stuck = Draft("asked", {"state": run.state, "reply": {"intent": "some"}, "stuck": "keep"})
            yield f"{run.state}: keep fails", self._commit(config, [stuck])
        if run.postponed is None:
            later = Draft("postponed", {"state": run.state, "until": 1, "attempts": 1, "why": "429"})
            yield f"{run.state}: 429", self._commit(config, [later])

    def build(self, config: Config) -> "Iterator[tuple[str, Config]]":
        """The call an Act makes itself; a `once` call is marked in the same commit, a `local` one is done in it."""
        run = config.run
        yield from self._stuck(config)
        for name in sorted(self.definition.states[run.state].tools):
            draft = Draft("built", {"state": run.state, "call": _call(name, run.ordinal + 1), "fence": config.fence})
            effect = self.definition.tools[name].effect
            if effect == "local":
                yield from self._local(config, [draft], name)
            elif effect == "once":
                marked = Draft("marked", {"state": run.state, "fence": config.fence})
                yield f"{run.state}: builds, marks", self._commit(config, [draft, marked])
            else:
                yield f"{run.state}: builds", self._commit(config, [draft])

    def local(self, config: Config) -> "Iterator[tuple[str, Config]]":
        yield from self._local(config, [], cast("Pending", config.run.pending).tool_name)

    def _local(self, config: Config, before: list[Draft], tool: str) -> "Iterator[tuple[str, Config]]":
        """One transaction: the tool's rows and the step, or neither."""
        state = config.run.state
        built = self._commit(config, before, enter=False) if before else config
        sent = self._dispatch(built, landed=True)
        for came in self._works(built.run):
            body = {**_acted(sent, tool, "local", ""), **came}
            yield f"{state}: {came['outcome']}", self._commit(sent, [Draft("acted", body)], closes=True)
        failed = Draft("acted", _acted(built, tool, "local", "error"))
        yield f"{state}: error", self._commit(built, [failed], closes=True)
        stuck = {**_acted(sent, tool, "local", ""), "stuck": "keep"}
        yield f"{state}: keep fails", self._commit(sent, [Draft("acted", stuck)], closes=True)

    def mark(self, config: Config) -> "Iterator[tuple[str, Config]]":
        marked = Draft("marked", {"state": config.run.state, "fence": config.fence})
        yield f"{config.run.state}: marks", self._commit(config, [marked])

    def call(self, config: Config) -> "Iterator[tuple[str, Config]]":
        """The call goes out; whether it lands is the world's affair. A key that was there before lands as it did then."""
        call = cast("Pending", config.run.pending)
        effect = self.definition.tools[call.tool_name].effect
        if effect == "keyed":
            body = {**_acted(config, call.tool_name, effect, "unknown"), "why": "its key is older than 23 hours"}
            yield f"{config.run.state}: key too old", self._commit(config, [Draft("acted", body)])
        before = config.sent.get(call.key)
        for landed in (True,) if before and before.landed else (True, False):
            yield f"dispatch {call.tool_name} {landed}", replace(self._dispatch(config, landed=landed), flying=True)

    def _works(self, run: Run) -> Iterator[Object]:
        """How an Act ends whose call was done. In place of `ok`, the call that waits is made, or cannot be."""
        edges = self.definition.states[run.state].edges
        for outcome in edges:
            if outcome in ("error", "unknown", "next"):
                continue
            if outcome != "ok" or not run.queue or "next" not in edges:
                yield {"outcome": outcome}
                continue
            name = cast("str", run.queue[0]["tool_name"])
            yield {"outcome": "next", "call": _call(name, run.ordinal + 1)}
            yield {"outcome": "next", "refused": {"tool_name": name, "error": _fault(name)}}

    def _dispatch(self, config: Config, *, landed: bool) -> Config:
        call = config.run.pending
        assert call is not None
        self._check_dispatch(config, call)
        before = config.sent.get(call.key)
        count = min(3, before.dispatches + 1 if before else 1)
        sent = Sent(call.tool_name, call.digest, count, landed)
        self.found.dispatched.add(call.tool_name)
        total = dict(config.landed)
        if call.tool_name in self.landing and landed and not (before and before.landed):
            total[call.tool_name] = total.get(call.tool_name, 0) + 1
        if total.get(call.tool_name, 0) > self.landing.get(call.tool_name, 0):
            raise Violation(f"{call.tool_name} lands twice in one run")
        return replace(config, sent={**config.sent, call.key: sent}, landed=total)

    def _check_dispatch(self, config: Config, call: Pending) -> None:
        made, tool = config.made, self.definition.tools[call.tool_name]
        before = config.sent.get(call.key)
        if before and before.closed:
            raise Violation(f"{call.tool_name} is dispatched after it was settled")
        if call.key in config.doubted:
            raise Violation(f"{call.tool_name} is dispatched while it is in doubt")
        if before and before.digest != call.digest:
            raise Violation(f"{call.tool_name} is repeated with other arguments under the same key")
        if before and tool.effect in ("once", "local"):
            raise Violation(f"{call.tool_name}, which is {tool.effect}, is dispatched a second time")
        if made is None or made.digest != call.digest:
            raise Violation(f"{call.tool_name} is not the call that was made")
        if made.released not in (None, call.digest) or (tool.approval and made.released is None):
            raise Violation(f"{call.tool_name} is not the call that was approved")
        for rule in self.definition.call_rules:
            if rule["before"] == call.tool_name and not _firsts(rule) & made.path:
                raise Violation(f"{call.tool_name} executes without {_firsts(rule)}")

    def _landed(self, config: Config) -> "Iterator[tuple[str, Config]]":
        """The holder is still there and records what it heard."""
        run = config.run
        call = cast("Pending", run.pending)
        tool, state = self.definition.tools[call.tool_name], run.state
        if config.sent[call.key].landed or tool.effect == "read":
            for came in self._works(run):
                draft = Draft("acted", {**_acted(config, tool.name, tool.effect, ""), **came})
                yield f"{state}: {came['outcome']}", self._commit(config, [draft], closes=True)
            stuck = Draft("acted", {**_acted(config, tool.name, tool.effect, ""), "stuck": "keep", "result": None})
            yield f"{state}: keep fails", self._commit(config, [stuck], closes=True)
        if not config.sent[call.key].landed:
            draft = Draft("acted", _acted(config, tool.name, tool.effect, "error"))
            yield f"{state}: NotDone", self._commit(config, [draft], closes=True)
        if tool.effect == "keyed" and call.attempts + 1 <= tool.retries:
            later: Object = {"state": state, "until": 1, "attempts": call.attempts + 1, "why": "it raised"}
            yield f"{state}: again", self._commit(config, [Draft("postponed", later)])
        elif tool.effect != "read":
            yield f"{state}: unknown", self._commit(config, [Draft("acted", _acted(config, tool.name, tool.effect, "unknown"))])

    def recover(self, config: Config) -> "Iterator[tuple[str, Config]]":
        """Another holder had marked it. `reconcile` tells the truth, or cannot tell."""
        call, state = cast("Pending", config.run.pending), config.run.state
        tool = self.definition.tools[call.tool_name]
        yield f"{state}: unknown", self._commit(config, [Draft("acted", _acted(config, tool.name, tool.effect, "unknown"))])
        if not tool.reconciles:
            return
        sent = config.sent.get(call.key)
        if sent and sent.landed:
            for came in self._works(config.run):
                draft = Draft("acted", {**_acted(config, tool.name, tool.effect, ""), **came, "reconciled": True})
                yield f"{state}: reconciled", self._commit(config, [draft], closes=True)
        else:
            forgotten = {key: value for key, value in config.sent.items() if key != call.key}
            marked = Draft("marked", {"state": state, "fence": config.fence})
            yield f"{state}: was not, marks", self._commit(replace(config, sent=forgotten), [marked])

    def compact(self, config: Config) -> "Iterator[tuple[str, Config]]":
        draft = perform.compacted(Step(self.bound, config.run, SystemClock()))
        yield f"{config.run.state}: {draft.body['outcome']}", self._commit(config, [draft])

    def wait(self, config: Config) -> "Iterator[tuple[str, Config]]":
        run, spec = config.run, self.definition.states[config.run.state]
        waiting = run.waiting
        assert waiting is not None
        body: Object = {"state": run.state, "task": waiting.id, "by": "ann"}
        expired = Draft("expired", {"state": run.state, "task": waiting.id, "outcome": "expired"})
        yield f"{run.state}: expired", self._commit(config, [expired])
        if waiting.kind == "approve":
            yield from self._decisions(config, body)
        elif waiting.kind == "children":
            for success in (True, False):
                for did in (True, False):
                    ended: Object = {"state": run.state, "child": "c", "success": success, "did": did}
                    yield f"child {success} {did}", self._commit(config, [Draft("child_ended", ended)])
        else:
            kind = "answered" if waiting.kind == "answer" else "received"
            answered = replace(config, tasks=config.tasks - {waiting.id})
            for outcome in self._truthful(config, spec.edges):
                yield f"{run.state}: {outcome}", self._commit(answered, [Draft(kind, {**body, "outcome": outcome})])
            if spec.edges.keys() - {"expired"}:
                stuck = Draft(kind, {**body, "reply": {"intent": "some"}, "stuck": "keep"})
                yield f"{run.state}: keep fails", self._commit(answered, [stuck])

    def _decisions(self, config: Config, body: Object) -> "Iterator[tuple[str, Config]]":
        run = config.run
        call, waiting = run.pending, run.waiting
        assert waiting is not None
        decided = replace(config, tasks=config.tasks - {waiting.id})
        for outcome in ("approved", "rejected"):
            yield f"{run.state}: {outcome}", self._commit(decided, [Draft("decided", {**body, "outcome": outcome})])
        if call is None:
            return
        edit: Object = {**body, "call": _call(call.tool_name, run.ordinal + 1), "shown": "s"}
        again = f"ask_{run.seq + 1}"
        yield "edited", self._commit(decided, [Draft("edited", {**edit, "next": again})])
        both = [Draft("edited", {**edit, "next": waiting.id}), Draft("decided", {**body, "outcome": "approved"})]
        yield "edited and approved", self._commit(decided, both)

    def collect(self, config: Config) -> "Iterator[tuple[str, Config]]":
        run = config.run
        waiting = run.waiting
        assert waiting is not None
        body: Object = {"state": run.state, "results": []}
        if waiting.failed > cast("int", self.definition.states[run.state].body["max_failed"]):
            error: Object = {**_fault(run.state), "final": run.did}
            yield f"{run.state}: error", self._commit(config, [Draft("returned", {**body, "outcome": "error", "error": error})])
            return
        yield f"{run.state}: done", self._commit(config, [Draft("returned", {**body, "outcome": "done"})])
        yield f"{run.state}: keep fails", self._commit(config, [Draft("returned", {**body, "stuck": "keep"})])

    def keep(self, config: Config) -> "Iterator[tuple[str, Config]]":
        """Only `keep`, again."""
        run, spec = config.run, self.definition.states[config.run.state]
        held = cast("Object", run.held)
        never = {"error", "unknown", "expired", "unsure", *(spec.tools if spec.kind == "ask" else ())}
        ends = (
            self._works(run) if spec.kind == "act" else ({"outcome": outcome} for outcome in self._truthful(config, spec.edges))
        )
        for end in ends:
            if end["outcome"] not in never:
                came: Object = {name: held[name] for name in ("effect",) if name in held}
                draft = Draft("kept", {"state": run.state, **end, **came})
                yield f"{run.state}: kept {end['outcome']}", self._commit(config, [draft])

    # ── one commit ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _commit(self, config: Config, drafts: Sequence[Draft], *, closes: bool = False, enter: bool = True) -> Config:
        """One transaction; where nothing is left of the day for a call that it sets aside, what is done in its place."""
        try:
            return self._written(config, drafts, "", closes=closes, enter=enter)
        except Overdrawn as over:
            return self._written(config, drafts, over.limit, closes=closes, enter=enter)

    def _written(self, config: Config, drafts: Sequence[Draft], over: str, *, closes: bool, enter: bool) -> Config:
        """Its events; entering a waiting state or an End comes with what opens or ends it."""
        run, ledger, asked = config.run, Ledger(), 0
        queue = list(drafts)
        while queue:
            draft = queue.pop(0)
            draft = denied(self.definition, run, draft, over) if over else draft
            before = run
            line = self._line(config, run, draft, over)
            run = self.engine.reduce(self.definition, run, line)
            ledger.add(self.definition, before, run, line)
            asked += line.type == "asked" and bool(self.definition.daily)
            config = self._known(config, before, run, line, closes=closes)
            self._check_event(before, run, line)
            if not queue and enter:
                queue += self._entering(run, config)
        tasks = {task.id for task in ledger.open_tasks} | config.tasks
        tasks -= {task for task, _ in ledger.close_tasks}
        config = replace(self._spent(config, run, ledger, asked), run=run, flying=False, tasks=frozenset(tasks))
        alive = {call.key for call in (run.pending, *run.doubts) if call}
        return replace(config, sent={key: sent for key, sent in config.sent.items() if key in alive or not sent.closed})

    def _spent(self, config: Config, run: Run, ledger: Ledger, asked: int) -> Config:
        """What the commit takes of days, and gives back. Raises Overdrawn."""
        if config.used_up and not run.granted and any(spend.limits for spend in ledger.spends):
            raise Overdrawn("nothing is left", limit=DAILY + "tokens")
        return replace(config, aside=config.aside + sum(spend.model_calls for spend in ledger.spends) - asked)

    def _entering(self, run: Run, config: Config) -> list[Draft]:
        need = self.engine.need_of(self.definition, run, config.fence)
        spec = self.definition.states[run.state]
        if need.kind == "end":
            return [Draft("ended", {"state": run.state, "success": spec.success, "result": None})]
        if need.kind != "open":
            return []
        kind = {"approve": "approve", "consult": "answer", "wait": "wait", "delegate": "children"}[spec.kind]
        name = f"ask_{run.seq + 1}" if kind in ("approve", "answer") else f"wait_{run.seq + 1}"
        body: Object = {"state": run.state, "task": name, "kind": kind, "expires_at": 0}
        return [Draft("opened", {**body, "children": ["c1", "c2"]} if kind == "children" else body)]

    def _line(self, config: Config, run: Run, draft: Draft, over: str = "") -> Event:
        """As `leverframe.drive` makes a draft an event; hashes are left out, nobody reads them here."""
        at = int(config.phase * (self.definition.days or 0) * DAY)
        body = draft.body
        if "outcome" in body:
            call = cast("Object | None", body.get("call"))
            where = route(self.definition, run, cast("str", body["outcome"]), at, call=call, over=over)
            body = {**body, "to": where.to, **({"exceeded": where.tripped} if where.tripped else {})}
            if self.definition.states[where.to].kind == "act":
                body["fence"] = config.fence
            if not over and reservable(self.definition, run, where):
                body |= _aside(config)
        return Event(run.seq + 1, at, draft.type, "engine", body, "", "", "")

    def _known(self, config: Config, before: Run, after: Run, line: Event, *, closes: bool) -> Config:
        """What the explorer knows after the event, worked out from the event alone."""
        body, made = line.body, config.made
        outcome = cast("str | None", body.get("outcome"))
        if isinstance(call := body.get("call"), dict):  # of an Ask, of an Act that builds or leads on, of an edit
            made = Made(cast("str", call["digest"]), frozenset({(before.state, "built")} if line.type == "built" else set()))
        elif line.type in ("acted", "kept") and outcome is not None and self.definition.states[before.state].kind == "act":
            made = None
        elif outcome is not None and made is not None:
            released = made.digest if outcome == "approved" else made.released
            made = replace(made, path=made.path | {(before.state, outcome)}, released=released)
            made = None if outcome in ("rejected", "unsure") else made
        if line.type == "opened" and body["kind"] in ("approve", "answer"):
            config = replace(config, tasks=config.tasks | {cast("str", body["task"])})
        if line.type == "edited" and body["next"] != body["task"]:
            config = replace(config, tasks=config.tasks | {cast("str", body["next"])})
        made = made if after.pending else None
        return self._known_ends(replace(config, made=made), before, line, closes=closes)

    def _known_ends(self, config: Config, before: Run, line: Event, *, closes: bool) -> Config:
        """Which calls are in doubt, and of which it is known what became of them."""
        outcome = line.body.get("outcome")
        doubted, closed = set(config.doubted), set[str]()
        if (outcome == "unknown" or line.body.get("doubt")) and before.pending:
            doubted.add(before.pending.key)
        if line.type == "settled":
            closed.add(cast("str", line.body["key"]))
        elif outcome in ("happened", "not_happened") and before.doubts and self.definition.states[before.state].settles:
            closed.add(before.doubts[-1].key)
        if closes and before.pending and line.type == "acted":
            closed.add(before.pending.key)
        sent = {key: replace(each, closed=True) if key in closed else each for key, each in config.sent.items()}
        return replace(config, doubted=frozenset(doubted - closed), sent=sent)

    def _check_event(self, before: Run, run: Run, line: Event) -> None:
        held_back = before.status in ("paused", "blocked", "quarantined")
        if held_back and run.status != before.status and line.type not in ("paused", "resumed", "retried", "cancelled"):
            raise Violation(f"{line.type} lets a run go on that is {before.status}")
        if before.held and line.type not in ("kept", "cancelled", "settled") and not run.held:
            raise Violation(f"{line.type} loses a result that was recorded")
        kind = self.definition.states[run.state].kind
        if "outcome" in line.body and run.pending and kind in ("ask", "consult", "compact", "end"):
            raise Violation(f"a call is still pending on entering {run.state}")

    # ── abstraction ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _first(self) -> Config:
        asks = self.definition.states[self.definition.start].kind == "ask"
        body: Object = {"run": "run", "machine": self.definition.name, "definition": self.definition.hash, "memory": {}}
        body |= {"state": self.definition.start, **({"asks": True} if asks else {})}
        return self._commit(Config(begin(Event(1, 0, "started", "test", body, "", "", ""))), [])

    def _key(self, config: Config) -> object:
        run = config.run
        over, errs = run.status in OVER, run.state in self.erring and run.status not in OVER
        failures = tuple(sorted((state, min(count, self.times)) for state, count in run.failures.items()))
        counts = (run.back, failures, min(run.in_a_row, self.times)) if errs else None  # more than enough is enough
        limits = None if over else (config.phase, run.exceeded, run.granted, self._counted(run))
        return (
            (run.status, run.was, run.state, (run.reason or "")[:5], run.postponed is not None),
            (counts, limits, self.delegates and run.did, run.rules),
            self._call_key(config, run.pending),
            tuple(str(item["tool_name"]) for item in run.queue),
            tuple(self._call_key(config, call) for call in run.doubts),
            run.waiting and (run.waiting.kind, run.waiting.ended, run.waiting.failed, len(run.waiting.children)),
            run.held and run.held["event"],
            run.error and self.definition.states[run.state].kind == "compact" and (run.error["state"], run.error.get("final")),
            self._made_key(config),
            (config.used_up, config.aside, run.reserved is None, run.reserved and run.reserved.day == _day(config)),
            (config.flying, tuple(sorted(config.landed.items())), len(config.tasks)),
        )

    def _erring(self) -> set[str]:
        """States after which a Compact may still come: only there do counts of errors matter."""
        states = self.definition.states
        found = {name for name, spec in states.items() if spec.kind == "compact"}
        while True:
            ways = {name: {*spec.edges.values(), self.definition.exceeded} for name, spec in states.items() if spec.kind != "end"}
            more = {name for name, targets in ways.items() if targets & found} - found
            if not more:
                return found
            found |= more

    def _counted(self, run: Run) -> int:
        return 0 if self.definition.model_calls is None else run.model_calls

    def _call_key(self, config: Config, call: Pending | None) -> object:
        if call is None:
            return None
        sent = config.sent.get(call.key)
        tool = self.definition.tools[call.tool_name]
        path = frozenset(self.firsts.intersection(call.via))
        return (
            (call.tool_name, call.maker, call.act, path, call.approved is None, call.approved == call.digest),
            (call.mark is None, call.mark == config.fence, call.fence == config.fence),
            min(call.attempts, tool.retries + 1) if tool.effect == "keyed" else 0,
            sent and (sent.dispatches, sent.landed, sent.closed, sent.digest == call.digest),
        )

    def _made_key(self, config: Config) -> object:
        made, call = config.made, config.run.pending
        if made is None or call is None:
            return made is None
        return (
            made.path & frozenset(self.firsts),
            made.released is None,
            made.released == made.digest,
            made.digest == call.digest,
        )


_STEPS: "Mapping[str, Callable[[Explorer, Config], Iterator[tuple[str, Config]]]]" = {
    "work": Explorer.work,
    "fetch": Explorer.fetch,
    "ask": Explorer.ask,
    "build": Explorer.build,
    "local": Explorer.local,
    "mark": Explorer.mark,
    "call": Explorer.call,
    "recover": Explorer.recover,
    "compact": Explorer.compact,
    "wait": Explorer.wait,
    "collect": Explorer.collect,
    "keep": Explorer.keep,
}


def bounded(definition: Definition, model_calls: int, times: int, retries: int) -> Definition:
    """The same machine with limits that are soon reached: days at any moment, model calls after a few, steps and cost never."""
    states = {name: dict(cast("Object", state)) for name, state in cast("Object", definition.body["states"]).items()}
    for state in states.values():
        if "times" in state:
            state["times"] = min(times, cast("int", state["times"]))
    listed = cast("dict[str, Object]", definition.body["tools"])
    tools: Object = {name: {**tool, "retries": retries} for name, tool in listed.items()}
    limits: Object = {**cast("Object", definition.body["limits"]), "steps": 10**9, "cost": None}
    limits["days"] = 1.0 if definition.days is not None else None
    limits["model_calls"] = model_calls if definition.model_calls is not None else None
    return Definition(canonical({**definition.body, "limits": limits, "states": states, "tools": tools}))


def _day(config: Config) -> str:
    return f"day {config.day}"


def _aside(config: Config) -> Object:
    return {"reserved": {"day": _day(config), "tokens": 1}}


def _call(tool: str, ordinal: int) -> Object:
    return {"tool_name": tool, "arguments": {"n": ordinal}, "digest": f"digest {ordinal}"}


def _series(tools: Sequence[str], most: int) -> Iterator[tuple[str, ...]]:
    """What may wait behind a call: at least one, at most so many."""
    for length in range(1, most + 1):
        yield from product(tools, repeat=length)


def _firsts(rule: Object) -> set[tuple[str, str]]:
    return {cast("tuple[str, str]", tuple(cast("list[str]", pair))) for pair in cast("list[Json]", rule["first"])}


def _fault(state: str) -> Object:
    return {"type": "NotDone", "source": state, "cause": "no"}


def _acted(config: Config, tool: str, effect: str, outcome: str) -> Object:
    """An `acted` without its result: nothing reads it here."""
    call = config.run.pending
    error: Object = {"error": _fault(tool)} if outcome == "error" else {}
    ended: Object = {"outcome": outcome} if outcome else {}
    return {"state": config.run.state, "tool_name": tool, "key": call.key if call else "", "effect": effect, **ended, **error}
