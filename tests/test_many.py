"""Several tool calls in one answer: executed in order, each its own effect and, where needed, its own approval."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, cast

import pytest

from leverframe import Act, Ask, Back, Engine, Got, Limits, Machine, Next, TriggerCommand
from leverframe.canon import Object, canonical
from leverframe.llm import Scripted
from leverframe.llm.scripted import Line, One
from leverframe.run import Run
from leverframe.testing import Crash
from tests.clerk import Over, Plan, Sure, at_work, clerk, find, pay, ref, said, save, send
from tests.explorer import Anywhere
from tests.house import Box, Done, Failed, FindOut, House, Person, Short, asked, begin, built, effects, world


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with built(tmp_path) as found:
        yield found


def plans(house: House, *answers: Line) -> tuple[Engine, Scripted]:
    llm = Scripted([*answers, Over()])
    return house(clerk, llm=llm), llm


def plans_of(house: House, machine: Machine[Box], *answers: Line) -> tuple[Engine, Scripted]:
    llm = Scripted(list(answers))
    return house(machine, llm=llm), llm


class Enough(Act[Box]):
    runs = (save,)

    def keep(self, memory: Box, got: Got) -> Literal["enough"] | None:
        return "enough" if "stop" in got[save] else None


def single_plan() -> type[Plan]:
    """The same Ask, one call an answer."""

    class Single(Plan):
        name, many = "Plan", False

    return Single


class Small(Ask[Box]):
    prompt, many = "clerk/small", True
    replies = (save, Over)


choosy = Anywhere(
    "choosy",
    memory=Box,
    edges={
        Small: {"save": Enough, "over": Done, "error": Short},
        Enough: {"ok": Small, "enough": Done, "next": Next, "error": Short, "unknown": FindOut},
        FindOut: {"happened": Done, "not_happened": Short, "expired": Failed},
        Short: {"retry": Back, "give_up": Failed},
    },
)


def cause_of(body: Object) -> str:
    return str(cast("Object", body["error"])["cause"])


def seen(llm: Scripted) -> str:
    """What the last question showed."""
    return llm.requests[-1].messages[-1].content


async def decide(engine: Engine, run: Run, decision: str, comment: str = "", arguments: Object | None = None) -> Run:
    task = await asked(engine, run, "approve")
    await engine.decide(task.id, by="lea", decision=decision, comment=comment, arguments=arguments)
    return (await engine.advance(run.id)).run


async def test_the_calls_of_an_answer_are_executed_in_order_each_with_a_key_of_its_own(house: House) -> None:
    engine, llm = plans(house, [save.call("a"), send.call("b"), save.call("a")])
    run = await begin(engine, "clerk")
    assert run.status == "done"
    assert [name for name, _ in world.sent] == ["save a", "send b", "save a"]
    keys = [key for name, key in world.sent if name == "save a"]
    assert len(set(keys)) == 2
    assert [effect.ordinal for effect in await engine.store.effects(run.id)] == [1, 2, 3]
    assert await effects(engine, run) == [("save", "done", 1), ("send", "done", 1), ("save", "done", 1)]
    outcomes = [line.body["outcome"] for line in await engine.store.events(run.id) if line.type == "acted"]
    assert outcomes == ["next", "next", "ok"]
    assert len(llm.requests) == 2
    await engine.verify(run.id)


async def test_each_call_that_needs_it_waits_for_an_approval_of_its_own(house: House) -> None:
    engine, _ = plans(house, [pay.call("ann", 1), save.call("a"), pay.call("bob", 2)])
    run = await begin(engine, "clerk")
    first = await asked(engine, run, "approve")
    assert first.call == {"tool_name": "pay", "arguments": {"to": "ann", "cents": 1}}
    assert [item["tool_name"] for item in run.queue] == ["save", "pay"]
    assert world.sent == []
    run = await decide(engine, run, "approved")
    assert [name for name, _ in world.sent] == ["pay ann 1", "save a"]
    second = await asked(engine, run, "approve")
    assert second.id != first.id
    assert second.call == {"tool_name": "pay", "arguments": {"to": "bob", "cents": 2}}
    assert run.pending
    assert run.pending.approved is None
    run = await decide(engine, run, "approved")
    assert world.sent[-1][0] == "pay bob 2"
    assert run.status == "done"
    await engine.verify(run.id)


async def test_an_edit_in_the_middle_is_another_effect_and_the_rest_still_waits(house: House) -> None:
    engine, _ = plans(house, [save.call("a"), pay.call("ann", 1), save.call("b")])
    run = await begin(engine, "clerk")
    run = await decide(engine, run, "edited", arguments={"to": "ann", "cents": 3})
    assert [item["tool_name"] for item in run.queue] == ["save"]
    run = await decide(engine, run, "approved")
    assert [name for name, _ in world.sent] == ["save a", "pay ann 3", "save b"]
    assert [(tool, status) for tool, status, _ in await effects(engine, run)] == [
        ("save", "done"),
        ("pay", "void"),
        ("pay", "done"),
        ("save", "done"),
    ]
    await engine.verify(run.id)


async def test_a_rejection_voids_the_rest_and_the_model_is_told_what_was_not_executed(house: House) -> None:
    engine, llm = plans(house, [save.call("a"), pay.call("ann", 1), send.call("b")])
    run = await begin(engine, "clerk")
    run = await decide(engine, run, "rejected", comment="no")
    assert run.status == "done"
    assert run.queue == ()
    assert [name for name, _ in world.sent] == ["save a"]
    (line,) = [line for line in await engine.store.events(run.id) if "void" in line.body]
    assert line.type == "decided"
    assert line.body["void"] == [{"n": 2, "tool_name": "send", "arguments": {"text": "b", "to": "all"}}]
    assert "<not_executed>" in seen(llm)
    assert "text: b" in seen(llm).split("<not_executed>")[1]
    await engine.verify(run.id)


async def test_an_error_voids_the_rest_and_counts_against_the_act_though_calls_before_it_worked(house: House) -> None:
    answer = [save.call("a"), find.call("nothing"), save.call("c")]
    engine, llm = plans(house, answer, answer, answer)
    run = await begin(engine, "clerk")
    assert [name for name, _ in world.sent] == ["save a", "find"] * 3
    assert (run.state, run.status) == ("Person", "waiting")  # three times the same: `next` forgets no error
    assert run.failures == {"Look": 3}
    assert len(llm.requests) == 3
    assert "there is no such page" in seen(llm)
    await engine.verify(run.id)


async def test_what_keep_decides_by_name_ends_the_answer(house: House) -> None:
    engine, llm = plans_of(house, choosy, [save.call("a"), save.call("stop"), save.call("b")])
    run = await begin(engine, "choosy")
    assert run.status == "done"
    assert [name for name, _ in world.sent] == ["save a", "save stop"]
    (line,) = [line for line in await engine.store.events(run.id) if "void" in line.body]
    assert line.body["outcome"] == "enough"
    assert len(llm.requests) == 1
    await engine.verify(run.id)


async def test_a_list_of_one_is_as_an_answer_ever_was(house: House) -> None:
    engine, _ = plans(house, save.call("a"))
    run = await begin(engine, "clerk")
    assert [line.body["outcome"] for line in await engine.store.events(run.id) if line.type == "acted"] == ["ok"]
    assert all("queue" not in line.body for line in await engine.store.events(run.id))
    assert run.status == "done"


async def test_one_unsure_call_makes_the_whole_answer_unsure(house: House) -> None:
    llm = Scripted(
        [
            [
                {"intent": "save", "confidence": 0.9, "arguments": {"text": "a"}},
                {"intent": "find", "confidence": 0.5, "arguments": {"text": "b"}},
            ]
        ]
    )
    engine = house(at_work(plan=Sure), llm=llm)
    run = await begin(engine, "clerk")
    assert (run.state, run.pending, run.queue, world.sent) == ("Person", None, (), [])
    (line,) = [line.body for line in await engine.store.events(run.id) if line.type == "asked"]
    assert line["confidence"] == 0.5
    assert cast("Object", line["considered"])["tool_name"] == "save"
    assert [item["tool_name"] for item in cast("list[Object]", line["queue"])] == ["find"]
    await engine.verify(run.id)


# ── what people, limits and operators do between two calls ──────────────────────────────────────────────────────────────────


async def test_a_run_can_be_paused_and_cancelled_between_two_calls(house: House) -> None:
    engine, _ = plans(house, [pay.call("ann", 1), save.call("a")])
    run = await begin(engine, "clerk")
    await engine.pause(run.id)
    await engine.decide((await asked(engine, run, "approve")).id, by="lea", decision="approved")
    paused = (await engine.advance(run.id)).run
    assert (paused.status, len(paused.queue), world.sent) == ("paused", 1, [])
    await engine.resume(run.id)
    world.faults = [RuntimeError("the line broke")]  # the payment is tried again later: in between somebody cancels
    await engine.step(run.id)
    await engine.cancel(run.id)
    run = (await engine.advance(run.id)).run
    assert (run.status, run.queue, run.pending) == ("cancelled", (), None)
    assert not any(name.startswith("save") for name, _ in world.sent)
    await engine.verify(run.id)


async def test_a_limit_that_trips_on_the_way_to_the_next_call_leads_where_limits_lead(house: House) -> None:
    llm = Scripted([[save.call(str(number)) for number in range(4)]])
    engine = house(at_work(limits=Limits(steps=3, exceeded=Person)), llm=llm)
    run = await begin(engine, "clerk")
    assert (run.state, run.status, run.queue) == ("Person", "waiting", ())
    assert [name for name, _ in world.sent] == ["save 0", "save 1"]
    (line,) = [line.body for line in await engine.store.events(run.id) if line.body.get("exceeded")]
    assert [item["n"] for item in cast("list[Object]", line["void"])] == [2, 3]
    assert [status for _, status, _ in await effects(engine, run)] == ["done", "done"]
    await engine.verify(run.id)


async def test_a_fork_asks_again_and_takes_no_waiting_call_along(house: House) -> None:
    engine, _ = plans(house, [pay.call("ann", 1), save.call("a")])
    run = await begin(engine, "clerk")
    fork = (await engine.fork(run.id)).run
    assert (fork.state, fork.pending, fork.queue) == ("Plan", None, ())
    assert len((await engine.store.load(run.id)).run.queue) == 1
    await engine.verify(fork.id)


async def test_a_run_moves_to_another_definition_only_if_its_waiting_calls_can_follow_there(house: House) -> None:
    engine, _ = plans(house, [pay.call("ann", 1), save.call("a")])
    run = await begin(engine, "clerk")
    single = house(at_work(plan=single_plan()), llm=Scripted([]))
    found = await single.migrate(run.id, dry_run=True)
    assert "a waiting call of save cannot follow there; let the run finish the answer, or reject it" in found.against


# ── reads together ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_reads_that_follow_each_other_are_one_step_and_keep_gets_them_all(house: House) -> None:
    engine, llm = plans(house, [find.call("a"), find.call("b"), save.call("c"), find.call("d")])
    run = await begin(engine, "clerk")
    acted = [line.body for line in await engine.store.events(run.id) if line.type == "acted"]
    assert [body["tool_name"] for body in acted] == ["find", "save", "find"]
    assert canonical(acted[0]["calls"]).startswith('[{"arguments":{"text":"b"},"result":{"note":null')
    assert run.memory["items"] == [2, 2, 2]
    assert [name for name, _ in world.sent] == ["find", "find", "save c", "find"]
    assert seen(llm).count("title: about") == 3
    assert run.ordinal == 4
    await engine.verify(run.id)


async def test_of_reads_together_one_that_fails_is_the_error_and_the_others_are_recorded(house: House) -> None:
    engine, llm = plans(house, [find.call("a"), find.call("nothing"), save.call("c")], Over())
    run = await begin(engine, "clerk")
    (body, *_) = [line.body for line in await engine.store.events(run.id) if line.type == "acted"]
    assert body["outcome"] == "error"
    assert cast("Object", body["result"])["title"] == "about a"
    assert body["void"] == [{"n": 2, "tool_name": "save", "arguments": {"text": "c"}}]
    assert "about a" in seen(llm)
    assert run.status == "done"
    await engine.verify(run.id)


async def test_a_result_that_could_not_be_kept_is_kept_later_and_the_answer_goes_on(house: House) -> None:
    engine, _ = plans(house, [find.call("a"), find.call("b"), save.call("c"), save.call("d")])
    world.broken = True
    run = await begin(engine, "clerk")
    assert run.status == "attention"
    assert len(run.queue) == 3
    world.broken = False
    await engine.retry(run.id)
    run = (await engine.advance(run.id)).run
    assert [name for name, _ in world.sent] == ["find", "find", "save c", "save d"]
    assert await effects(engine, run) == [("save", "done", 1), ("save", "done", 1)]
    assert run.status == "done"
    await engine.verify(run.id)


async def test_a_write_that_could_not_be_kept_is_not_done_again_and_the_next_has_its_row(house: House) -> None:
    engine, _ = plans(house, [save.call("a"), pay.call("ann", 1)])
    world.broken = True
    run = await begin(engine, "clerk")
    world.broken = False
    await engine.retry(run.id)
    run = (await engine.advance(run.id)).run
    assert [(tool, status) for tool, status, _ in await effects(engine, run)] == [("save", "done"), ("pay", "selected")]
    await engine.verify(run.id)


# ── references ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_argument_may_come_from_an_earlier_result_and_is_approved_as_it_will_be_executed(house: House) -> None:
    answer = [find.call("a"), said("pay", to=ref(0, "/rows/1/name"), cents=ref(0, "/rows/0/id")), said("save", text=ref(1, ""))]
    engine, _ = plans(house, answer)
    run = await begin(engine, "clerk")
    task = await asked(engine, run, "approve")
    assert task.call == {"tool_name": "pay", "arguments": {"to": "bob", "cents": 7}}
    assert run.pending
    assert run.pending.arguments == {"to": "bob", "cents": 7}
    run = await decide(engine, run, "approved")
    assert [name for name, _ in world.sent] == ["find", "pay bob 7", "save pay bob 7 2"]
    await engine.verify(run.id)


async def test_a_reference_waits_over_the_calls_between(house: House) -> None:
    engine, _ = plans(house, [find.call("a"), save.call("x"), said("save", text=ref(0, "/title"))])
    run = await begin(engine, "clerk")
    assert world.sent[-1][0] == "save about a"
    await engine.verify(run.id)


async def test_a_result_that_looks_like_a_reference_is_a_value(house: House) -> None:
    engine, _ = plans(house, [find.call("hostile"), said("save", text=ref(0, "/title"))])
    await begin(engine, "clerk")
    assert world.sent[-1][0] == 'save {"$from": 0, "path": "/note"}'


@pytest.mark.parametrize(
    ("path", "text", "cause"),
    [
        ("/rows/5/name", "a", "call 0: the result has nothing at 'rows/5'"),
        ("/note", "a", "text: Input should be a valid string"),
        ("/note", "hostile", "what call 0 gave is over 256 KiB"),
    ],
)
async def test_a_reference_to_what_is_not_there_ends_the_answer_as_the_makers_error(
    house: House, path: str, text: str, cause: str
) -> None:
    engine, llm = plans(house, [find.call(text), said("save", text=ref(0, path)), send.call("b")])
    run = await begin(engine, "clerk")
    assert [name for name, _ in world.sent] == ["find"]
    events = await engine.store.events(run.id)
    (acted,) = [line.body for line in events if line.type == "acted"]
    assert (acted["outcome"], acted["to"]) == ("next", "Short")
    assert [item["n"] for item in cast("list[Object]", acted["void"])] == [1, 2]
    (error,) = [cause_of(line.body) for line in events if line.type == "compacted"]
    assert cause in error
    assert len(error) <= 300
    assert cause.rpartition(": ")[2].split("'")[0] in seen(llm)
    assert run.status == "done"
    await engine.verify(run.id)


async def test_references_that_never_work_come_to_a_person(house: House) -> None:
    answer = [find.call("a"), said("save", text=ref(0, "/rows/5/name"))]
    engine, _ = plans(house, answer, answer, answer)
    run = await begin(engine, "clerk")
    assert (run.state, run.failures) == ("Person", {"Look": 3})


@pytest.mark.parametrize("broken", [False, True])
async def test_what_a_reconciled_call_gave_is_not_known_and_no_reference_to_it_is_made_up(house: House, broken: bool) -> None:
    engine, llm = plans(house, [send.call("a"), said("save", text=ref(0, ""))])
    world.faults = [Crash("kill -9")]
    world.reconciles, world.broken = True, broken
    row = await engine.start(TriggerCommand("clerk", {}))
    with pytest.raises(Crash):
        await engine.advance(row.run.id)
    run = (await engine.advance(row.run.id)).run
    if broken:
        world.broken = False
        await engine.retry(run.id)
        run = (await engine.advance(run.id)).run
    assert [name for name, _ in world.sent] == ["send a"]
    assert run.status == "done"
    assert "what call 0 gave is not known" in seen(llm)
    assert await effects(engine, run) == [("send", "done", 1)]
    await engine.verify(run.id)


REFUSED: list[tuple[Sequence[One], str]] = [
    ([said("save", text=ref(0, ""))], "save: text: '$from' is the number of a call and this is the first call"),
    (
        [save.call("a"), said("save", text=ref(1, ""))],
        "call 1: save: text: '$from' is the number of a call of an earlier one, 0 to 0",
    ),
    ([save.call("a"), said("save", text=ref(-1, ""))], "of an earlier one"),
    ([save.call("a"), said("save", text={"$from": True, "path": ""})], "of an earlier one"),
    ([save.call("a"), said("save", text={"$from": 0, "path": 3})], "'path' is a JSON Pointer"),
    ([save.call("a"), said("save", text={"$from": 0, "path": "x"})], "empty, or beginning with '/'"),
    ([save.call("a"), said("save", text={"$from": 0, "path": "/~2"})], "neither '~0' nor '~1'"),
    ([save.call("a"), said("save", text={"$from": 0, "path": "/" + "x" * 600})], "at most 500 characters"),
    ([save.call("a"), said("save", text={"$from": 0, "of": ""})], "not 'of'"),
    ([save.call("a"), said("save", text=ref(0, "/title"))], "the result has nothing at 'title'"),
    ([find.call("a"), said("save", text=ref(0, "/rows/x/id"))], "the result has nothing at 'rows/x'"),
    ([find.call("a"), said("save", text=ref(0, "/titel"))], "the result has nothing at 'titel'"),
    ([find.call("a"), said("save", txet=ref(0, "/title"))], "unknown argument 'txet'"),
    ([find.call("a"), said("pay", to=ref(0, "/title"), cents="many")], "cents: Input should be a valid integer"),
    ([find.call("a"), said("pay", to=ref(0, "/title"))], "cents: Field required"),
    ([save.call("a"), Over()], "over: a reply stands alone"),
    ([Over(), save.call("a")], "over: a reply stands alone"),
    ([], "a list of 0 choices; make 1 to 4"),
    ([save.call("a")] * 10_000, "a list of 10000 choices; make 1 to 4"),
    ([save.call("x" * 200_000)] * 2, "over 256 KiB"),
]


@pytest.mark.parametrize(("answer", "cause"), REFUSED)
async def test_an_answer_that_cannot_be_is_the_asks_error_and_executes_nothing(
    house: House, answer: Sequence[One], cause: str
) -> None:
    engine, _ = plans(house, answer)
    run = await begin(engine, "clerk")
    (first, *_) = [line.body for line in await engine.store.events(run.id) if line.type == "asked"]
    assert first["outcome"] == "error"
    assert cause in cause_of(first)
    assert world.sent == []
    assert run.status == "done"
