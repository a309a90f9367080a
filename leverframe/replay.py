"""A recorded run told again to the code of now: nothing is done, nobody is asked, and the first thing that comes out differently is found.

What came from outside (answers of models and people, results and errors of tools, times) comes from the recording. What the machine decides
(Work, the calls of a Fetch, `keep`, `build`, Compact, how many children may fail, edges, limits, rules) is decided anew. Where the two part
ways the recording has nothing more to say, so the replay ends there. With a model, each question is asked anew, and its choice is compared,
too.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from leverframe import perform
from leverframe.canon import Json, Object, ordered
from leverframe.clock import Micros
from leverframe.errors import LeverframeError
from leverframe.limits import DAILY
from leverframe.llm import LLM, Answer, Request, Usage, request_hash
from leverframe.machine import Definition
from leverframe.perform import AnyMachine, Bound, Draft, Step, Stuck
from leverframe.recording import Recording
from leverframe.reduce import begin, charged, need_of, reduce, route, rules_of
from leverframe.run import Event, Run, but, event
from leverframe.state import Fetch, Memory
from leverframe.window import Window


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where the code of now goes another way. `was` and `now` are JSON: of `what`, in the event and as it comes out."""

    seq: int
    state: str
    what: str
    was: Json
    now: Json

    def words(self) -> str:
        """In one line, for people."""
        return f"event {self.seq}, state {self.state}: {self.what} was {_short(self.was)}, is {_short(self.now)} now"

    def json(self) -> Object:
        return {"seq": self.seq, "state": self.state, "what": self.what, "was": self.was, "now": self.now}


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of it. `told` of `events` came out as recorded; of those, `reworded` ask a model or a person in other words."""

    run: str
    machine: str
    definition: str
    events: int
    told: int
    divergence: Divergence | None = None
    reworded: Sequence[int] = field(default_factory=list[int])

    def json(self) -> Object:
        return {
            "run": self.run,
            "machine": self.machine,
            "definition": self.definition,
            "events": self.events,
            "told": self.told,
            "divergence": self.divergence.json() if self.divergence else None,
            "reworded": list(self.reworded),
        }


async def replay(
    recording: Recording,
    machine: AnyMachine,
    definition: Definition,
    *,
    llm: LLM | None = None,
    model: str = "",
    variant: str | None = None,
) -> Replayed:
    """Tells a recording to `definition`, bound to the code of `machine`.

    llm, model   ask this model anew at every question that was answered; else the recorded answers are read once more
    variant      of every prompt that has it, in place of the one that was asked with
    """
    teller = _Teller(recording, Bound(definition, machine, definition), llm, model, variant)
    told = 0
    divergence: Divergence | None = None
    try:
        for line in recording.events:
            await teller.tell(line)
            told += 1
    except _Parted as parted:
        divergence = parted.divergence
    run = recording.run
    return Replayed(run.id, run.machine, definition.hash, len(recording.events), told, divergence, teller.reworded)


class _Parted(Exception):
    def __init__(self, divergence: Divergence) -> None:
        super().__init__(divergence.what)
        self.divergence = divergence


KINDS: dict[str, tuple[str, ...]] = {
    "worked": ("work",),
    "fetched": ("fetch",),
    "asked": ("ask",),
    "reserved": ("ask",),
    "limited": ("ask",),
    "built": ("act",),
    "marked": ("act",),
    "acted": ("act",),
    "decided": ("approve",),
    "edited": ("approve",),
    "answered": ("consult",),
    "received": ("wait",),
    "child_ended": ("delegate",),
    "returned": ("delegate",),
    "opened": ("approve", "consult", "wait", "delegate"),
    "expired": ("approve", "consult", "wait", "delegate"),
    "compacted": ("compact",),
    "ended": ("end",),
}
"""By the type of an event: the kinds of state it can happen in."""
COMPARED = ("outcome", "stuck", "call", "considered", "queue", "refused", "reply", "error", "success", "result", "memory")
"""What of an event must come out the same, the most telling first."""
_FACTS = ("error", "unknown", "unsure", "expired", "give_up", "exceeded")
"""Outcomes that the world decided: no `keep` runs after them."""


class _Teller:
    def __init__(self, recording: Recording, bound: Bound, llm: LLM | None, model: str, variant: str | None) -> None:
        self._recording, self._bound = recording, bound
        self._llm, self._model, self._variant = llm, model, variant
        self._run: Run | None = None
        self._window = Window()
        self.reworded: list[int] = []

    async def tell(self, line: Event) -> None:
        """One event more. Raises _Parted."""
        if self._run is None:
            self._begin(line)
            return
        run, definition = self._run, self._bound.definition
        step = Step(self._bound, run, _Then(line.at), self._llm or _Recorded(line), self._model, self._window)
        self._possible(run, line)
        try:
            body = await self._anew(step, line)
            self._compare(run, line, body)
            body = self._led(run, line, body)
            again = event(run, line.at, line.type, line.actor, body)
            self._run = reduce(definition, run, again)
        except LeverframeError as error:
            raise self._parted(run, line, "stuck", line.body.get("outcome"), str(error)) from error
        self._window.add(again.type, again.body)

    def _begin(self, line: Event) -> None:
        definition = self._bound.definition
        start = cast("str", line.body["state"])
        run = begin(line)
        if line.type == "started" and start != definition.start:
            raise self._parted(run, line, "start", start, definition.start)
        if start not in definition.states:
            raise self._parted(run, line, "start", start, None)
        try:
            memory = perform.dumped(Step(self._bound, run, _Then(line.at)).memory())  # fields that are new have their defaults
        except Stuck as error:
            raise self._parted(run, line, "memory", run.memory, str(error)) from error
        again = event(None, line.at, line.type, line.actor, {**line.body, "definition": definition.hash, "memory": memory})
        self._run = begin(again)
        self._window = Window(definition)
        self._window.add(again.type, again.body)

    def _possible(self, run: Run, line: Event) -> None:
        """Can this happen in this state, and would the engine let it?"""
        spec = self._bound.definition.states[run.state]
        if line.type in KINDS and spec.kind not in KINDS[line.type]:
            raise self._parted(run, line, "kind", KINDS[line.type][0], spec.kind)
        if line.type in ("marked", "acted") and run.pending:
            need = need_of(self._bound.definition, run, run.pending.fence or 0)
            if need.kind == "refuse":
                raise self._parted(run, line, "call", line.body.get("tool_name"), need.why)

    async def _anew(self, step: Step, line: Event) -> Object:
        """The event as the code of now makes it, of what the recording says of the world."""
        make = _ANEW.get(line.type)
        if make is not None:
            return {**_without(COMPARED, line.body), **(await make(self, step, line)).body}
        return line.body

    async def work(self, step: Step, line: Event) -> Draft:
        return perform.work(step)

    async def compact(self, step: Step, line: Event) -> Draft:
        return perform.compacted(step)

    async def end(self, step: Step, line: Event) -> Draft:
        return perform.ended(step)

    async def build(self, step: Step, line: Event) -> Draft:
        return perform.built(step, cast("int", line.body["fence"]))

    async def open(self, step: Step, line: Event) -> Draft:
        if line.body["kind"] in ("approve", "answer"):
            asked = cast("Object", line.body["arguments"])
            content, _ = perform.shown_to_person(step)
            if (content, step.spec.to) != (asked["content"], asked["approver"]):
                self.reworded.append(line.seq)
        return Draft(line.type, line.body)

    async def fetch(self, step: Step, line: Event) -> Draft:
        state = cast("Fetch[Memory]", step.state())
        calls = [call.json() for call in perform.calls_of(step, state)]
        done = cast("list[Object]", line.body["calls"])
        was = [{name: call[name] for name in ("tool_name", "arguments")} for call in done]
        if calls != was:
            raise self._parted(step.run, line, "calls", cast("Json", was), cast("Json", calls))
        return await self.keep(step, line)

    async def keep(self, step: Step, line: Event) -> Draft:
        """What `keep` makes of what is recorded."""
        if line.body.get("outcome", "error") in _FACTS or line.body.get("reconciled"):
            return Draft(line.type, line.body)
        came = perform.kept(replace(step, run=but(step.run, held=line.body))).body
        return Draft(line.type, {**line.body, **_without(("memory",), line.body), **came})

    async def collect(self, step: Step, line: Event) -> Draft:
        """What became of the children is recorded; how many of them may fail, and what `keep` makes of the others, is not."""
        results = [(bool(one["success"]), one["result"]) for one in cast("list[Object]", line.body["results"])]
        error = cast("Object", line.body.get("error") or {})
        draft = perform.returned(step, results, did=bool(error.get("final")))
        if "outcome" not in line.body and draft.body.get("outcome") != "error":
            return Draft(line.type, line.body)  # `keep` had failed, and is told again where it was made good
        if "stuck" in draft.body:
            raise Stuck(str(draft.body["stuck"]))
        return draft

    async def kept(self, step: Step, line: Event) -> Draft:
        return perform.kept(step)

    async def ask(self, step: Step, line: Event) -> Draft:
        """The same question to the recorded answer, or to a model. One that failed then has failed."""
        if "outcome" not in line.body or line.body["outcome"] == "error":
            return Draft(line.type, line.body)
        self._choose_prompt(step, line)
        draft = await perform.ask(step)
        if draft.body.get("request") != line.body.get("request"):
            self.reworded.append(line.seq)
        return Draft(draft.type, _without(("usage", "model", "tried"), draft.body))  # what it cost is a fact; limits count it

    def _choose_prompt(self, step: Step, line: Event) -> None:
        """Of each prompt the variant that is wanted, or that was asked with, where the definition has it."""
        then = cast("str", cast("Object", line.body.get("prompt") or {}).get("variant", ""))
        wanted = then if self._variant is None else self._variant
        texts = self._bound.definition.prompts(step.run.state)
        having = {prompt.name for prompt in texts if prompt.variant == wanted}
        chosen = [prompt for prompt in texts if prompt.variant == wanted or prompt.name not in having]
        self._bound.pinned_prompts[step.run.state] = chosen

    async def migrate(self, step: Step, line: Event) -> Draft:
        """There is one definition here from the beginning."""
        definition = self._bound.definition
        return Draft(line.type, {**line.body, "to": definition.hash, "rules": list(rules_of(definition, step.run))})

    def _compare(self, run: Run, line: Event, body: Object) -> None:
        for what in COMPARED:
            was, now = _plain(line.body.get(what)), _plain(body.get(what))
            if was != now:
                raise self._parted(run, line, what, was, now)

    def _led(self, run: Run, line: Event, body: Object) -> Object:
        """With the edge that the outcome takes now. What was left of a day is the world's, and is as it was."""
        if "outcome" not in body:
            return body
        definition, over = self._bound.definition, str(line.body.get("exceeded", ""))
        where = route(
            definition,
            charged(definition, run, body),
            cast("str", body["outcome"]),
            line.at,
            call=cast("Object | None", body.get("call")),
            over=over if over.startswith(DAILY) else "",  # what all runs of that day had used up is a fact
        )
        led: Object = {**_without(("exceeded",), body), "to": where.to}
        led |= {"exceeded": where.tripped} if where.tripped else {}
        for what in ("exceeded", "to"):
            if led.get(what) != line.body.get(what):
                raise self._parted(run, line, what, line.body.get(what), led.get(what))
        return led

    def _parted(self, run: Run, line: Event, what: str, was: Json, now: Json) -> _Parted:
        return _Parted(Divergence(line.seq, run.state, what, was, now))


_ANEW: dict[str, Callable[[_Teller, Step, Event], Awaitable[Draft]]] = {
    "worked": _Teller.work,
    "fetched": _Teller.fetch,
    "asked": _Teller.ask,
    "built": _Teller.build,
    "opened": _Teller.open,
    **dict.fromkeys(("acted", "answered", "received"), _Teller.keep),
    "returned": _Teller.collect,
    "kept": _Teller.kept,
    "compacted": _Teller.compact,
    "ended": _Teller.end,
    "migrated": _Teller.migrate,
}
"""What the code has a say in. Everything else is what people, time or the engine did."""


def _short(value: Json) -> str:
    text = ordered(value) if value is not None else "nothing"
    return text if len(text) <= 300 else f"{text[:299]}…"


def _plain(value: Json) -> Json:
    """Without the digest of a call, which follows from the rest."""
    return _without(("digest",), value) if isinstance(value, dict) else value


def _without(names: Sequence[str], body: Object) -> Object:
    return {name: value for name, value in body.items() if name not in names}


@dataclass(frozen=True, slots=True)
class _Then:
    """The clock as it stood at an event."""

    at: Micros

    def now(self) -> Micros:
        return self.at

    def steady(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        return


@dataclass(frozen=True, slots=True)
class _Recorded:
    """A model that answers what one event says it answered."""

    line: Event

    async def ask(self, request: Request) -> Answer:
        chosen = _chosen(self.line.body, several=request.choices.most > 1)
        return Answer(chosen, Usage(), "", request_hash(request.messages))


def _chosen(body: Object, *, several: bool) -> Json:
    """An answer as it came, before anything was made of it."""
    sure: Object = {"confidence": body["confidence"]} if "confidence" in body else {}
    first = cast("Object | None", body.get("call") or body.get("considered"))
    if first is None:
        reply: Object = {**cast("Object", body.get("given", body["reply"])), **sure}
        return [reply] if several else reply
    made = [first, *cast("list[Object]", body.get("queue") or [])]
    answer: list[Json] = [{"intent": call["tool_name"], "arguments": _as_made(call), **sure} for call in made]
    return answer if several else answer[0]


def _as_made(call: Object) -> Object:
    """The arguments of a call, with its references to earlier ones."""
    return {**cast("Object", call["arguments"]), **cast("Object", call.get("from") or {})}
