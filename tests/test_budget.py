"""Budgets: what a run, and all runs of a machine in a day, may use up; set aside before a call of a model, corrected after it."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Literal, Never, TypeAlias, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlmodel import Session

from leverframe import Act, Back, Call, Daily, Delegate, Engine, Limits, Machine, TriggerCommand, Work, tool
from leverframe.automaton import ended, entered
from leverframe.canon import Json, Object
from leverframe.card import written
from leverframe.changes import changes
from leverframe.check import Graph
from leverframe.check.definition import violations
from leverframe.check.flow import Spot, flow_of
from leverframe.clock import day
from leverframe.diff.risk import ranked
from leverframe.errors import BadCompletion, DeclarationError, ModelRefused, ModelUnavailable, NotRetryable, Overdrawn
from leverframe.graph import drawing
from leverframe.ledger import spends
from leverframe.llm import Answer, Overheard, RemoteLLM, Request, Usage, model_for
from leverframe.llm.scripted import Line
from leverframe.machine import Definition
from leverframe.recording import record
from leverframe.reduce import DAY, begin, reduce
from leverframe.replay import replay
from leverframe.run import Reserved, Run
from leverframe.state import State
from leverframe.store import Spend, Store
from leverframe.store.purse import Purse, Totals
from leverframe.testing import CrashPoints, FakeClock, Scripted
from leverframe.usage import used
from tests import yard
from tests.commands import Command
from tests.explorer import Anywhere
from tests.house import Box, Done, Failed, House, Person, Short, Stop, Think, answer, asked, charge, deskwork, types
from tests.house import begin as begun
from tests.test_reduce import Log
from tests.told import answering, refunds

TODAY, TOMORROW = "2026-01-05", "2026-01-06"  # where a FakeClock begins
EACH = Usage(80, 20, cost=7)
SAYS_STOP = Stop()
USER = "# user\n{{ message }}"
LATER = ModelUnavailable("429", retry_after=660)


Edges: TypeAlias = dict[type[State[Box]], dict[str, type[State[Box]]]]


class Prepare(Work[Box]):
    def run(self, memory: Box) -> Literal["ready"]:
        return "ready"


@tool(effect="local")
def note_down(session: Session, text: str) -> str:
    """Keep it."""
    return text


class Brood(Delegate[Box, Box]):
    machine = "desk"
    deadline = timedelta(days=1)
    concurrency = 1

    def give(self, memory: Box) -> list[Box]:
        return [Box(n=n) for n in range(3)]


class NoteDown(Act[Box]):
    runs = (note_down,)

    def build(self, memory: Box) -> Call[str]:
        return note_down.call("a note")


ROWS: Edges = {
    Think: {"charge": Done, "stop": Done, "error": Short},
    Short: {"retry": Back, "give_up": Person},
    Person: {"handled": Done, "expired": Failed},
}
FIRST: dict[str, Edges] = {
    "Think": {},
    "Prepare": {Prepare: {"ready": Think}},
    "NoteDown": {NoteDown: {"ok": Think, "error": Short}},
}


def machine(first: str, limits: Limits) -> Machine[Box]:
    """Asks a model at once (`Think`), after plain code (`Prepare`), or after a call in our transaction (`NoteDown`)."""
    return Anywhere("desk", memory=Box, edges=FIRST[first] | ROWS, limits=limits)


def a_day(model_calls: int | None = None, *, edge: bool = True, **more: float) -> Limits:
    daily = Daily(model_calls=model_calls, tokens=cast("int | None", more.get("tokens")), cost_usd=more.get("cost_usd"))
    return Limits(daily=daily, exceeded=Person if edge else None)


@asynccontextmanager
async def process(url: str, machine: Machine[Never], llm: Scripted, clock: FakeClock) -> AsyncGenerator[Engine]:
    store = Store.open(url, clock)
    try:
        async with Engine(store, [machine], llm=llm, clock=clock) as engine:
            yield engine
    finally:
        store.close()


async def spent(engine: Engine) -> dict[str, tuple[int, int, int]]:
    """Calls, tokens and cost by day, as the table has them."""
    return {one.day: (one.model_calls, one.tokens, one.cost) for one in await engine.store.spending("desk")}


async def told(engine: Engine, definition: Definition) -> dict[str, tuple[int, int, int]]:
    """The same as the logs of all runs tell it."""
    found: Counter[tuple[str, str]] = Counter()
    for run_id in await engine.store.run_ids():
        await engine.verify(run_id)
        lines = await engine.store.events(run_id)
        run = begin(lines[0])
        found_of = list(spends(definition, None, run, lines[0]))
        for line in lines[1:]:
            before, run = run, reduce(definition, run, line)
            found_of += spends(definition, before, run, line)
        for change in found_of:
            for name in ("model_calls", "tokens", "cost"):
                found[change.day, name] += getattr(change, name)
    days = {name for name, _ in found}
    return {name: (found[name, "model_calls"], found[name, "tokens"], found[name, "cost"]) for name in days}


# ── a day of a machine ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("first", ["Prepare", *(pytest.param(name, marks=pytest.mark.long) for name in ("Think", "NoteDown"))])
async def test_two_hundred_runs_in_two_processes_make_exactly_the_fifty_calls_of_the_day(database_url: str, first: str) -> None:
    clock, model = FakeClock(), Scripted(lambda _: SAYS_STOP, usage=EACH)
    desk = machine(first, a_day(50))
    async with process(database_url, desk, model, clock) as here, process(database_url, desk, model, clock) as there:

        async def one(number: int) -> Run:
            engine = here if number % 2 else there
            row = await engine.start(TriggerCommand("desk", {}, key=str(number)), hold=True)
            return (await engine.advance(row.run.id)).run

        runs = await asyncio.gather(*(one(number) for number in range(200)))
        assert Counter(run.state for run in runs) == {"Done": 50, "Person": 150}
        assert len(model.requests) == 50
        assert await spent(here) == {TODAY: (50, 5000, 350)} == await told(here, desk.definition())


async def test_no_step_costs_a_commit_more_under_a_limit_of_the_day(house: House) -> None:
    counts: list[int] = []
    for number, limits in enumerate((Limits(), a_day(50))):
        for first in ("Think", "Prepare", "NoteDown"):
            with_limit = House(f"{house.url}{number}{first}")
            engine = with_limit(machine(first, limits), llm=Scripted([SAYS_STOP]))
            before = engine.store.transactions
            run = await begun(engine, "desk")
            assert run.status == "done"
            counts.append(engine.store.transactions - before)
            for store in with_limit.stores:
                store.close()
    assert counts[:3] == counts[3:]


async def test_answers_that_do_not_fit_count_and_so_does_every_try_after_an_error(house: House) -> None:
    wrong: Object = {"intent": "nothing of the kind"}
    engine = house(machine("Think", a_day(50, tokens=100_000)), llm=Scripted([wrong, wrong, SAYS_STOP], usage=EACH))
    run = await begun(engine, "desk")
    assert (run.status, run.tokens, run.cost) == ("done", 300, 21)
    assert await spent(engine) == {TODAY: (3, 300, 21)}


async def test_a_day_that_is_used_up_is_over_at_midnight_in_utc(house: House) -> None:
    engine = house(machine("Prepare", a_day(1, edge=False)), llm=Scripted([SAYS_STOP] * 3))
    assert (await begun(engine, "desk")).status == "done"
    run = await begun(engine, "desk")
    assert (run.status, run.state, run.reason) == ("attention", "Think", "limit reached: daily model_calls")
    house.clock.advance(timedelta(hours=14, minutes=59))
    await engine.retry(run.id)  # on the same day nothing is left, and it stands where it stood
    assert (await engine.advance(run.id)).run.reason == "limit reached: daily model_calls"
    house.clock.advance(timedelta(minutes=1))
    await engine.retry(run.id)
    assert (await engine.advance(run.id)).run.status == "done"
    assert await spent(engine) == {TODAY: (1, 0, 0), TOMORROW: (1, 0, 0)}
    await engine.verify(run.id)


async def test_a_call_that_is_put_off_past_midnight_moves_to_the_day_on_which_it_is_made(house: House) -> None:
    busy = Scripted([LATER, SAYS_STOP], usage=EACH)
    engine = house(machine("Think", a_day(1)), llm=busy)
    house.clock.advance(timedelta(hours=14, minutes=59))
    run = await begun(engine, "desk")
    assert await spent(engine) == {TODAY: (1, 0, 0)}
    house.clock.advance(timedelta(minutes=11))
    assert (await engine.advance(run.id)).run.status == "done"
    assert await spent(engine) == {TODAY: (0, 0, 0), TOMORROW: (1, 100, 7)}
    assert "reserved" in await types(engine, run)


async def test_an_answer_that_comes_after_midnight_counts_on_the_day_it_was_asked(house: House) -> None:
    async def slow() -> Stop:
        house.clock.advance(timedelta(hours=20))
        return SAYS_STOP

    engine = house(machine("Think", a_day(5)), llm=Scripted(lambda _: slow(), usage=EACH))
    await begun(engine, "desk")
    assert await spent(engine) == {TODAY: (1, 100, 7)}


async def test_a_limit_of_the_day_takes_the_drawn_edge_and_then_a_person_grants_more(house: House) -> None:
    engine = house(machine("Think", a_day(1)), llm=Scripted([SAYS_STOP] * 3))
    await begun(engine, "desk")
    run = await begun(engine, "desk")
    assert (run.state, run.status, run.exceeded, run.model_calls) == ("Person", "waiting", True, 0)
    assert await types(engine, run) == ["started", "limited", "opened"]
    assert (await asked(engine, run)).to == "ann"


async def test_where_the_edge_leads_a_person_grants_more_before_the_run_goes_on(house: House) -> None:
    asks_again: Edges = {Person: {"handled": Think, "expired": Failed}}
    for limits in (Limits(model_calls=1, exceeded=Person), Limits(tokens=100, exceeded=Person)):
        place = House(house.url + str(limits.tokens))
        wrong: Object = {"intent": "nothing of the kind"}
        desk = Anywhere("desk", memory=Box, edges=ROWS | asks_again, limits=limits)
        engine = place(desk, llm=Scripted([wrong, SAYS_STOP], usage=EACH))
        run = await begun(engine, "desk")
        assert (run.state, run.status) == ("Person", "waiting")
        with pytest.raises(NotRetryable):
            await engine.retry(run.id)
        await engine.retry(run.id, grant=1, by="ann")
        assert (await answer(engine, run, "go on")).status == "done"
        lines = await engine.store.events(run.id)
        assert [line.actor for line in lines if line.type == "retried"] == ["human:ann"]
        assert await engine.verify(run.id) == len(lines)
        for store in place.stores:
            store.close()


async def test_children_and_forks_count_like_any_run(house: House) -> None:
    family = Anywhere(
        "family",
        memory=Box,
        edges={Brood: {"done": Done, "error": Short, "expired": Failed}, Short: {"retry": Back, "give_up": Failed}},
    )
    engine = house(family, machine("Think", a_day(2)), llm=Scripted(lambda _: SAYS_STOP, usage=EACH))
    run = await begun(engine, "family")
    children = await engine.store.runs(parent=run.id)
    assert Counter(child.run.state for child in children) == {"Done": 2, "Person": 1}
    fork = await engine.fork(children[0].run.id, at=1)
    assert (await engine.advance(fork.run.id)).run.state == "Person"
    assert await spent(engine) == {TODAY: (2, 200, 14)}
    assert await told(engine, machine("Think", a_day(2)).definition()) == {TODAY: (2, 200, 14)}


@pytest.mark.parametrize("first", ["Think", "Prepare"])
async def test_a_recorded_run_that_found_the_day_used_up_is_told_again(house: House, first: str) -> None:
    desk = machine(first, a_day(1))
    engine = house(desk, llm=Scripted([SAYS_STOP]))
    for run in (await begun(engine, "desk"), await begun(engine, "desk")):
        told_again = await replay(await record(engine.store, run.id), desk, desk.definition({}))
        assert told_again.divergence is None


async def test_a_grant_lets_a_run_go_beyond_the_day_by_one_more_portion_of_it(house: House) -> None:
    engine = house(machine("Think", a_day(1, edge=False)), llm=Scripted([SAYS_STOP] * 3))
    await begun(engine, "desk")
    first, second = await begun(engine, "desk"), await begun(engine, "desk")
    await engine.retry(first.id, grant=1)
    assert (await engine.advance(first.id)).run.status == "done"
    await engine.retry(second.id, grant=1)  # the portion is used up by now
    assert (await engine.advance(second.id)).run.status == "attention"
    await engine.retry(second.id, grant=1)
    assert (await engine.advance(second.id)).run.status == "done"
    assert await spent(engine) == {TODAY: (3, 0, 0)}


async def test_what_calls_took_is_expected_of_the_next_and_what_was_too_much_is_given_back(house: House) -> None:
    engine = house(machine("Think", a_day(tokens=10_000)), llm=Scripted(lambda _: SAYS_STOP, usage=EACH))
    row = await engine.start(TriggerCommand("desk", {}))
    assert (await spent(engine))[TODAY][1] > 8000  # nobody has seen a call yet: what the prompt may take
    await engine.advance(row.run.id)
    assert await spent(engine) == {TODAY: (1, 100, 7)}
    await engine.start(TriggerCommand("desk", {}))
    assert await spent(engine) == {TODAY: (2, 200, 7)}
    other = house(machine("Think", a_day(tokens=10_000)), llm=Scripted(lambda _: SAYS_STOP, usage=EACH))
    run = await begun(other, "desk")
    row = await other.start(TriggerCommand("desk", {}))
    assert row.run.reserved == Reserved(TODAY, tokens=100)  # what its own call took
    assert run.tokens == 100


async def test_before_the_first_answer_a_call_is_set_aside_at_the_price_of_its_model(house: House) -> None:
    prices = {"here/a": (1.0, 10.0), "here/b": (2.0, 20.0)}
    engine = house(machine("Think", a_day(cost_usd=0.05)), llm=RemoteLLM("here/a", base_url="http://127.0.0.1:9", prices=prices))
    costs = [await aside(engine) for _ in range(3)]
    assert costs[0] is not None
    assert 8_000 + 1_000 * 10 < costs[0] < 9_000 + 1_000 * 10  # a whole window, and the longest answer
    assert costs == [costs[0], costs[0], None]  # together they stay within the day, whatever they will cost
    several = model_for("here/a, here/b", base_url="http://127.0.0.1:9", prices=prices)
    other = House(house.url + "2")(machine("Think", a_day(cost_usd=0.05)), llm=Overheard(several, lambda request, piece: None))
    assert await aside(other) == 2 * costs[0]  # the dearest of those that may have to answer
    other.store.close()


async def aside(engine: Engine) -> int | None:
    row = await engine.start(TriggerCommand("desk", {}))
    return row.run.reserved.cost if row.run.reserved else None


async def test_a_new_process_expects_what_calls_took_these_days(house: House) -> None:
    limits = a_day(tokens=10_000)
    await begun(house(machine("Prepare", limits), llm=Scripted([SAYS_STOP], usage=EACH)), "desk")
    engine = house(machine("Prepare", limits), llm=Scripted([SAYS_STOP], usage=EACH))
    row = await engine.start(TriggerCommand("desk", {}))
    assert (await engine.step(row.run.id)).run.reserved == Reserved(TODAY, tokens=100)


async def test_tokens_and_dollars_of_a_day_stop_the_next_call(house: House) -> None:
    for limits, reason in (
        (a_day(tokens=250, edge=False), "daily tokens"),
        (a_day(cost_usd=0.000_014, edge=False), "daily cost"),
    ):
        place = House(house.url + reason.replace(" ", ""))
        engine = place(machine("Prepare", limits), llm=Scripted(lambda _: SAYS_STOP, usage=EACH))
        runs = [await begun(engine, "desk") for _ in range(3)]
        assert [run.status for run in runs] == ["done", "done", "attention"]
        assert runs[2].reason == f"limit reached: {reason}"
        for store in place.stores:
            store.close()


async def test_a_cancelled_run_gives_back_what_it_did_not_use(house: House) -> None:
    engine = house(machine("Think", a_day(1, tokens=5000)), llm=Scripted([SAYS_STOP]))
    row = await engine.start(TriggerCommand("desk", {}))
    assert await spent(engine) == {TODAY: (1, 5000, 0)}
    run = (await engine.cancel(row.run.id)).run
    assert (run.status, await spent(engine)) == ("cancelled", {TODAY: (0, 0, 0)})
    await engine.verify(run.id)


async def test_an_edge_that_leads_to_a_model_is_not_taken_by_a_limit_of_the_day(house: House) -> None:
    engine = house(machine("Prepare", Limits(daily=Daily(model_calls=1), exceeded=Think)), llm=Scripted([SAYS_STOP]))
    assert (await begun(engine, "desk")).status == "done"
    run = await begun(engine, "desk")
    assert (run.status, run.reason) == ("attention", "limit reached: daily model_calls")


async def test_limits_of_the_day_hold_for_every_tenant_and_version_together(house: House) -> None:
    engine = house(machine("Prepare", a_day(1)), llm=Scripted([SAYS_STOP]))
    await engine.advance((await engine.start(TriggerCommand("desk", {}, tenant="a"))).run.id)
    newer = house(machine("Think", a_day(1)), llm=Scripted([]))
    row = await newer.start(TriggerCommand("desk", {}, tenant="b"))
    assert (await newer.advance(row.run.id)).run.state == "Person"


@pytest.mark.parametrize("first", ["Think", *(pytest.param(other, marks=pytest.mark.long) for other in ("Prepare", "NoteDown"))])
def test_a_process_that_dies_anywhere_loses_no_reservation_and_makes_none_twice(tmp_path: Path, first: str) -> None:
    desk = machine(first, a_day(2, tokens=20_000))

    async def scenario(engine: Engine) -> list[str]:
        states: list[str] = []
        for key in ("a", "b", "c"):
            row = await engine.start(TriggerCommand("desk", {}, key=key))
            states.append((await engine.advance(row.run.id)).run.state)
        assert await spent(engine) == await told(engine, desk.definition()) == {TODAY: (2, 200, 14)}
        return states

    def points(name: str, at: frozenset[int] = frozenset()) -> CrashPoints:
        model = Scripted(lambda _: SAYS_STOP, usage=EACH)
        return CrashPoints(f"sqlite:///{tmp_path / name}", [desk], llm=model, clock=FakeClock(), at=at)

    calm = points("calm.db")
    assert calm.run(scenario) == ["Done", "Done", "Person"]
    for number in range(1, len(calm.passed) + 1):
        assert points(f"{number}.db", frozenset({number})).run(scenario) == ["Done", "Done", "Person"], calm.passed[number - 1]


# ── a run ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_tokens_of_a_run_stop_the_next_question_and_the_one_that_goes_beyond_is_paid(house: House) -> None:
    wrong: Object = {"intent": "nothing of the kind"}
    engine = house(machine("Think", Limits(tokens=150)), llm=Scripted([wrong, wrong, SAYS_STOP], usage=EACH))
    run = await begun(engine, "desk")
    assert (run.status, run.tokens, run.reason) == ("attention", 200, "limit reached: tokens")
    with pytest.raises(NotRetryable, match="--grant 1"):
        await engine.retry(run.id)
    await engine.retry(run.id, grant=1)
    assert (await engine.advance(run.id)).run.status == "done"


@pytest.mark.parametrize("limits", [Limits(cost_usd=5), Limits(daily=Daily(cost_usd=5)), Limits(model_calls=9)])
async def test_a_model_whose_price_nobody_knows_is_not_asked_again_where_money_is_limited(house: House, limits: Limits) -> None:
    wrong: Object = {"intent": "nothing of the kind"}
    answers: list[Answer | Stop] = [Answer(wrong, Usage(80, 20), "openai/new", "h"), SAYS_STOP]
    engine = house(machine("Think", limits), llm=Scripted(answers))
    run = await begun(engine, "desk")
    if limits.model_calls:
        assert run.status == "done"  # nothing limits money
        return
    assert (run.status, run.state) == ("attention", "Think")
    assert run.reason is not None
    assert "[tool.leverframe.prices], then `leverframe retry" in run.reason
    await engine.retry(run.id)
    assert (await engine.advance(run.id)).run.status == "done"


async def test_what_a_call_just_cost_counts_before_the_next_is_entered(house: House) -> None:
    again: Edges = {Think: {"charge": Think, "stop": Done, "error": Short}}
    loop = Anywhere("desk", memory=Box, edges=ROWS | again, limits=Limits(cost_usd=0.5))
    model = Scripted([charge.call(1), charge.call(2), SAYS_STOP], usage=Usage(1, 2, cost=300_000))
    run = await begun(house(loop, llm=model), "desk")
    assert (len(model.requests), run.cost, run.reason) == (2, 600_000, "limit reached: cost")
    asked: Object = {"intent": "charge", "arguments": {"cents": 1}}
    unpriced = house(loop, llm=Scripted([Answer(asked, Usage(80, 20), "openai/new", "h")]))
    run = await begun(unpriced, "desk")
    assert (run.status, (run.reason or "").partition(" costs")[0]) == ("attention", "what openai/new")


def test_a_shadow_counts_for_the_day_and_not_for_the_run() -> None:
    shadow: Object = {"b": {"usage": {"input_tokens": 10, "cost": None}}, "c": {"error": "never asked"}, "d": {"late": True}}
    log = Log(DESK, "Think", asks=True, reserved={"day": TODAY, "tokens": 100})
    before = log.run
    run = log.add("asked", outcome="stop", usage={"input_tokens": 1, "output_tokens": 2, "cost": 3}, shadow=shadow)
    assert (run.tokens, run.cost, run.unpriced) == (3, 3, "")
    assert list(spends(DESK, before, run, log.events[-1])) == [Spend("desk", TODAY, 2, 13 - 100, 3)]


# ── shadows ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

DARK = "---\nshadow: true\n---\n# user\nDark {{ message }}"


def beside(say: Callable[[Request], Line] = lambda request: refunds(0)) -> Scripted:
    """A model that takes so long that its shadows are done before."""

    async def live(request: Request) -> Line:
        await asyncio.sleep(0.02)
        return say(request)

    return Scripted(lambda request: say(request) if request.shadow else live(request), usage=EACH)


async def test_shadows_are_set_aside_with_the_call_and_no_day_goes_beyond_its_calls(database_url: str, tmp_path: Path) -> None:
    clock, model = FakeClock(), beside()
    desk = answering(tmp_path, a_day(7, edge=False), answer=USER, answer_dark=DARK, answer_dim=DARK)
    async with process(database_url, desk, model, clock) as here, process(database_url, desk, model, clock) as there:
        rows = [await (here, there)[n % 2].start(TriggerCommand("desk", {}, key=str(n))) for n in range(6)]
        runs = await asyncio.gather(*((here, there)[n % 2].advance(row.run.id) for n, row in enumerate(rows)))
        assert Counter(one.run.status for one in runs) == {"done": 2, "attention": 4}
        assert (len(model.requests), len(model.shadows)) == (2, 4)
        assert await spent(here) == {TODAY: (6, 600, 42)} == await told(here, desk.definition())


async def test_setting_shadows_aside_costs_no_commit(house: House, tmp_path: Path) -> None:
    counts: list[int] = []
    for number, limits in enumerate((Limits(), a_day(50, edge=False, tokens=100_000))):
        place = House(f"{house.url}{number}")
        engine = place(answering(tmp_path, limits, answer=USER, answer_dark=DARK), llm=beside())
        before = engine.store.transactions
        assert (await begun(engine, "desk")).status == "done"
        counts.append(engine.store.transactions - before)
        place.stores[0].close()
    assert counts[0] == counts[1]


async def test_a_day_with_fewer_calls_than_shadows_asks_as_many_as_fit(house: House, tmp_path: Path) -> None:
    desk = answering(tmp_path, a_day(2, edge=False), answer=USER, answer_dark=DARK, answer_dim=DARK)
    engine = house(desk, llm=(model := beside()))
    assert (await begun(engine, "desk")).status == "done"
    assert (len(model.requests), len(model.shadows), await spent(engine)) == (1, 1, {TODAY: (2, 200, 14)})


@pytest.mark.parametrize(
    ("dark", "fault", "calls"),
    [(DARK.replace("message", "1 // n"), None, 1), (DARK, BadCompletion("it said nothing"), 2), (DARK, LATER, 1)],
    ids=["never asked", "odd", "turned away"],
)
async def test_what_is_set_aside_for_a_shadow_is_given_back_unless_it_answered(
    house: House, tmp_path: Path, dark: str, fault: Exception | None, calls: int
) -> None:
    desk = answering(tmp_path, a_day(5, edge=False), answer=USER, answer_dark=dark)
    engine = house(desk, llm=beside(lambda request: fault if fault and request.shadow else refunds(0)))
    row = await engine.start(TriggerCommand("desk", {}))
    assert (row.run.reserved, (await spent(engine))[TODAY][0]) == (Reserved(TODAY, calls=2), 2)
    await engine.advance(row.run.id)
    assert await spent(engine) == await told(engine, desk.definition()) == {TODAY: (calls, 100, 7)}


async def test_shadows_are_expected_to_take_as_much_as_they_took(house: House, tmp_path: Path) -> None:
    sizes: list[int] = []
    for number, files in enumerate(({}, {"answer_dark": DARK, "answer_dim": DARK})):
        place = House(f"{house.url}{number}")
        engine = place(answering(tmp_path / str(number), a_day(edge=False, tokens=1_000_000), answer=USER, **files), llm=beside())
        for _ in range(2):
            row = await engine.start(TriggerCommand("desk", {}))
            sizes.append(row.run.reserved.tokens if row.run.reserved else 0)
            await engine.advance(row.run.id)
        other = place(answering(tmp_path / str(number), a_day(edge=False, tokens=1_000_000), answer=USER, **files), llm=beside())
        await begun(engine, "desk")
        await other.step((await other.start(TriggerCommand("desk", {}))).run.id)  # binds it, and knows these days
        row = await other.start(TriggerCommand("desk", {}))
        sizes.append(row.run.reserved.tokens if row.run.reserved else 0)
        for store in place.stores:
            store.close()
    assert sizes[3] // 3 >= sizes[0] > 8_000
    assert (sizes[1], sizes[4]) == (100, 300)
    assert (sizes[2], sizes[5]) == (100, 300)


@pytest.mark.parametrize("fault", [LATER, ModelRefused("the key is wrong")])
async def test_shadows_beside_a_try_that_failed_count_and_are_not_asked_again(
    house: House, tmp_path: Path, fault: Exception
) -> None:
    faults = [fault]
    desk = answering(tmp_path, a_day(2, edge=False), answer=USER, answer_dark=DARK)
    model = beside(lambda request: refunds(0) if request.shadow or not faults else faults.pop())
    engine = house(desk, llm=model)
    run = await begun(engine, "desk")
    assert await spent(engine) == await told(engine, desk.definition()) == {TODAY: (2, 100, 7)}
    house.clock.advance(timedelta(minutes=20))
    if run.status == "blocked":
        await engine.retry(run.id)
    assert (await engine.advance(run.id)).run.status == "done"
    assert (len(model.requests), len(model.shadows)) == (2, 1)
    assert await spent(engine) == await told(engine, desk.definition()) == {TODAY: (2, 200, 14)}


async def test_a_call_that_was_never_made_is_given_back(house: House, tmp_path: Path) -> None:
    tight = "---\nwindow: 70\n---\n# user\n{{ window }}"
    desk = answering(tmp_path, a_day(4, edge=False), answer=tight, answer_dark=DARK)
    engine = house(desk, llm=(model := beside()))
    run = await begun(engine, "desk", message="a long story " * 200)
    assert (run.state, run.failures, len(model.requests) + len(model.shadows)) == ("Declined", {"Answer": 3}, 0)
    assert await spent(engine) == await told(engine, desk.definition()) == {TODAY: (0, 0, 0)}


@pytest.mark.long
def test_a_process_that_dies_anywhere_counts_each_shadow_once(tmp_path: Path) -> None:
    desk = answering(tmp_path, a_day(5, edge=False, tokens=50_000), answer=USER, answer_dark=DARK)

    async def scenario(engine: Engine) -> list[str]:
        states: list[str] = []
        for key in ("a", "b", "c"):
            row = await engine.start(TriggerCommand("desk", {}, key=key))
            states.append((await engine.advance(row.run.id)).run.status)
        assert await spent(engine) == await told(engine, desk.definition()) == {TODAY: (4, 400, 28)}
        return states

    def points(name: str, at: frozenset[int] = frozenset()) -> CrashPoints:
        return CrashPoints(f"sqlite:///{tmp_path / name}", [desk], llm=beside(), clock=FakeClock(), at=at)

    calm = points("calm.db")
    assert calm.run(scenario) == ["done", "done", "attention"]
    for number in range(1, len(calm.passed) + 1):
        assert points(f"{number}.db", frozenset({number})).run(scenario) == ["done", "done", "attention"], calm.passed[number - 1]


# ── the parts by themselves ──────────────────────────────────────────────────────────────────────────────────────────────────

DESK = deskwork(a_day(50, tokens=1000, cost_usd=1)).definition()
AMOUNTS = st.integers(0, 500)
USAGE = st.one_of(st.none(), st.fixed_dictionaries({"input_tokens": AMOUNTS, "output_tokens": AMOUNTS, "cost": AMOUNTS}))
ENDS = st.sampled_from(["stop", "error", "postponed", "blocked", "stuck", "overflow", "next day"])


@given(st.lists(st.tuples(ENDS, USAGE, AMOUNTS, st.integers(0, 2)), max_size=12), st.booleans())
def test_whatever_becomes_of_calls_each_day_holds_what_was_used_and_what_is_set_aside(
    ends: list[tuple[str, Json, int, int]], cancels: bool
) -> None:
    log = Log(DESK, "Think", asks=True, reserved={"day": day(0), "tokens": 900, "calls": 3})
    expected: Counter[str] = Counter()
    calls = 0
    for end, usage, guess, wanted in ends:
        run = log.run
        if run.reserved is None:
            break
        quiet = end in ("next day", "overflow")
        body: dict[str, Json] = {"usage": usage} if usage and not quiet else {}
        asked_beside = 0 if quiet else min(wanted, run.reserved.calls - 1)
        body |= {"shadow": {str(n): {"usage": {"input_tokens": 5}} for n in range(asked_beside)}} if asked_beside else {}
        expected[run.reserved.day] += used(body).tokens + 5 * asked_beside
        calls += asked_beside
        if end == "next day":
            log.at += DAY
            log.add("reserved", reserved={"day": day(log.at), "tokens": guess, "calls": 1 + wanted})
        elif end == "postponed":
            log.add("postponed", until=1, attempts=1, **body)
        elif end == "blocked":
            log.add("blocked", reason="no key", **body)
            log.add("retried", by="ann")
        elif end == "stuck":
            calls += 1
            log.add("asked", stuck="keep is broken", reply={}, **body)
        elif end in ("error", "overflow"):
            calls += end == "error"
            body |= {"prompt": {"name": "desk/think"}} if end == "overflow" else {}
            log.add("asked", outcome="error", error={"type": "E"}, **body)
            if log.run.state == "Short":
                aside: Object = {"day": day(log.at), "tokens": guess, "calls": 1 + wanted}
                log.add("compacted", outcome="retry", error={}, reserved=aside)
        else:
            calls += 1
            log.add("asked", outcome="stop", **body)
    if cancels and log.run.status == "ready":
        log.add("cancelled", by="ann")
    run = begin(log.events[0])
    spent = list(spends(DESK, None, run, log.events[0]))
    for line in log.events[1:]:
        before, run = run, reduce(DESK, run, line)
        spent += spends(DESK, before, run, line)
    still = run.reserved
    tokens: Counter[str] = Counter()
    for change in spent:
        tokens[change.day] += change.tokens
    if still is not None:
        tokens[still.day] -= still.tokens
    assert {name: count for name, count in tokens.items() if count} == {name: count for name, count in expected.items() if count}
    assert sum(change.model_calls for change in spent) == calls + (still.calls if still else 0)
    assert run == log.run


LIMITS: dict[str, int] = {"model_calls": 5, "tokens": 300}
SPENDS = st.builds(
    Spend,
    st.just("desk"),
    st.just(TODAY),
    st.integers(0, 2),
    st.integers(0, 200),
    st.just(0),
    st.sampled_from([None, LIMITS]),
)


@settings(max_examples=200)
@given(st.lists(st.lists(SPENDS, max_size=3), max_size=20))
def test_no_reservation_goes_beyond_a_limit_and_a_refused_step_changes_nothing(steps: list[list[Spend]]) -> None:
    purse = Purse()
    purse.totals["desk", TODAY] = have = Totals(0, 0, 0)
    for step in steps:
        calls, tokens, fits = have.model_calls, have.tokens, True
        for each in step:
            left = calls < 5 and tokens < 300 and calls + each.model_calls <= 5 and tokens + each.tokens <= 300
            fits &= each.limits is None or left
            calls, tokens = calls + each.model_calls, tokens + each.tokens
        with nullcontext() if fits else pytest.raises(Overdrawn, match="are used up or set aside; nothing was written"):
            purse.spend(step)
        have = Totals(calls, tokens, 0) if fits else have
        assert purse.totals["desk", TODAY] == have


# ── declaring ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("daily", "message"),
    [
        ({}, "limits: daily limits nothing; write Daily(model_calls=…)"),
        ({"model_calls": 0}, "limits: daily model_calls is 0; give a whole number from 1"),
        ({"tokens": 1.5}, "limits: daily tokens is 1.5; give a whole number from 1"),
        ({"cost_usd": 0}, "limits: daily cost_usd is 0; give a number above 0"),
    ],
)
def test_a_limit_of_the_day_that_no_call_could_be_made_under_is_refused(daily: dict[str, float], message: str) -> None:
    with pytest.raises(DeclarationError) as error:
        Daily(**daily)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert str(error.value).startswith(message)


def test_limits_that_are_not_used_are_not_in_the_definition() -> None:
    assert Limits(tokens=5, daily=Daily(tokens=7, cost_usd=0.5)).json() == {
        **Limits().json(),
        "tokens": 5,
        "daily": {"tokens": 7, "cost": 500_000},
    }
    assert {"tokens", "daily"}.isdisjoint(Limits().json())


def test_a_check_knows_that_an_ask_may_be_left_unasked() -> None:
    flow = flow_of(Graph(DESK.body))
    (move,) = (move for move in flow.moves(Spot("Think")) if move.ended == "exceeded")
    assert move.to == Spot("Person", exceeded=True)
    assert [flow.letters[letter] for letter in move.says] == [ended("Think", "exceeded"), entered("Person")]
    without = flow_of(Graph(deskwork(Limits(exceeded=Person)).definition().body))
    assert not [move for move in without.moves(Spot("Think")) if move.ended == "exceeded"]


# ── told to people ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_limits_of_the_day_are_drawn_on_the_card_and_compared() -> None:
    text = written(DESK, {})
    assert "| tokens a day, of all runs | 1000 | |" in text
    assert "| dollars a day, of all runs | 1.00 | |" in text
    assert "; all runs a day 50 model calls, 1000 tokens, 1.00 dollars" in drawing(DESK).limits
    fewer = deskwork(Limits(tokens=900, daily=Daily(model_calls=60, tokens=1000), exceeded=Person)).definition()
    told = [(risk.level, str(change)) for risk, change in ranked(changes(DESK, fewer), DESK, fewer)]
    assert told == [
        ("high", "limit daily cost is gone: 1.00 dollars"),
        ("high", "limit daily model_calls was 50, is 60"),
        ("low", "limit tokens is new: 900"),
    ]
    assert list(violations(DESK.body)) == []
    assert "| tokens | 900 | 900 |" in written(fewer, {})


RATIONED = """
from leverframe import Daily, Limits
from tests.house import Person, deskwork
desk = deskwork(Limits(daily=Daily(model_calls=1, cost_usd=2.5), exceeded=Person))
"""


def test_the_command_shows_the_days_beside_their_limits_and_who_stands_at_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leverframe: Command
) -> None:
    monkeypatch.chdir(yard.project(tmp_path, "rationed_rooms", rationed=RATIONED))

    def say(*arguments: str) -> str:
        done = leverframe(*arguments)
        assert done.code == 0, done
        return done.out

    assert re.search(r"^desk +\S+ +0 of 1 +0 +0\.00 of 2\.50$", say("budget"), re.MULTILINE)
    say("start", "desk", "--input", "{}", "--key", "first")
    say("start", "desk", "--input", "{}", "--key", "second")
    say("advance", "second", "--model", "examples")
    told = json.loads(say("budget", "desk", "--json"))
    (today,) = told["days"]
    assert (today["model_calls"], today["limits"]) == (1, {"model_calls": 1, "tokens": None, "cost_usd": 2.5})
    (run,) = told["at_limit"]
    assert (run["state"], run["exceeded"], run["key"]) == ("Person", True, "second")
    assert "took exceeded" in say("budget")
    refused = leverframe("budget", "desc")
    assert (refused.code, "Did you mean 'desk'?" in refused.err) == (2, True)
