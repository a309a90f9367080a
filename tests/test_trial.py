"""Prompts on trial: figures that the database counts, pins, exams of examples, habits; and an A/B test from end to end."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from math import comb
from pathlib import Path
from typing import cast

import pytest

from leverframe import Call, Engine, TriggerCommand
from leverframe.canon import Json, Object
from leverframe.errors import Conflict, InvalidMemory, NotPinned, UnknownPrompt
from leverframe.llm import ExamplesLLM, Request, Scripted, Usage
from leverframe.project import find
from leverframe.prompt import Prompt
from leverframe.run import event
from leverframe.store import Store
from leverframe.testing import FakeClock
from leverframe.trial import examine, habits, pin, prompts, share, unpin, uses, variants
from leverframe.trial.exam import close
from leverframe.trial.sample import memory_of
from tests import repository
from tests.commands import leverframe
from tests.stored import CLOCK, new, opened, step
from tests.told import Answer, Decline, Several, answering, machines, paying, refunds, released

USER = "# user\n{{ message }}"
CHEAP = Usage(100, 10, cost=20)

# ── a part of a whole ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_interval_is_wilsons() -> None:
    """Against figures of Newcombe (Statistics in Medicine 17, 1998), table I, method 3."""
    for hits, of, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        found = share(hits, of)
        assert (round(found.low, 4), round(found.high, 4)) == (low, high)
    assert (share(0, 0).low, share(0, 0).high, share(0, 0).value, str(share(0, 0))) == (0.0, 1.0, None, "of none")
    assert str(share(81, 263)) == "31 % of 263 (26–37 %)"


# ── what the log says ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_database_counts_how_runs_ended_and_what_people_changed(database_url: str, tmp_path: Path) -> None:
    clock = FakeClock()
    store = Store.open(database_url, clock)
    dark = "---\nshadow: true\n---\n# user\nDark"
    machine = released(tmp_path, answer="---\nweight: 0\n---\n# user\nA", answer_b=USER, answer_dark=dark)
    said = {"right": refunds(5), "wrong": refunds(9), "edited": refunds(9), "no": Decline(reason="none"), "no good": refunds(1)}

    def speak(request: Request) -> object:
        message = str(request.memory["message"])
        return {"wrong": refunds(1), "edited": refunds(5)}.get(message, said[message]) if request.shadow else said[message]

    try:
        async with Engine(store, [machine], llm=Scripted(speak, usage=CHEAP), clock=clock) as engine:  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
            old = await _decided(engine, "right", "approved")
            clock.advance(timedelta(days=100))
            await _decided(engine, "right", "approved")
            await _decided(engine, "wrong", "rejected")
            await _decided(engine, "edited", "approved", {"cents": 5, "why": ""})
            await _decided(engine, "no good", "approved")
            await engine.advance((await engine.start(TriggerCommand("desk", {"message": "no"}))).run.id)
            await engine.advance((await engine.start(TriggerCommand("desk", {"message": "right"}))).run.id)  # waits
        files = prompts([machine])
        found, history = await variants(store, files, clock.now() - 90 * 86_400_000_000)
        assert (list(found), history) == (["desk/answer"], [])
        base, b, shadow = found["desk/answer"]
        assert (base.count("calls"), base.ended, base.versions[0].calls) == (0, {}, 0)
        assert b.ended == {"done": 2, "failed": 3, "waiting": 1}
        assert (b.success.hits, b.success.of) == (2, 5)
        assert [b.count(name) for name in ("calls", "errors", "edited", "rejected", "approved")] == [6, 0, 1, 1, 3]
        assert [b.count(name) for name in ("input_tokens", "output_tokens", "cost", "unpriced")] == [600, 60, 120, 0]
        (version,) = b.versions
        assert (version.current, version.calls, version.hash) == (True, 6, files["desk/answer"][1].hash)
        agreement = {name: (one.hits, one.of) for name, one in shadow.agreement.items()}
        assert agreement == {"intent": (6, 6), "arguments": (4, 6), "people": (4, 4)}
        assert (shadow.shadow, shadow.count("calls"), shadow.count("cost"), shadow.ended) == (True, 6, 120, {})
        whole, _ = await variants(store, files, 0)
        assert whole["desk/answer"][1].count("calls") == 7
        assert (await engine.store.load(old)).run.status == "done"
        text = json.dumps([one.json() for one in found["desk/answer"]])
        assert "Infinity" not in text
    finally:
        store.close()


async def test_a_window_that_overflowed_is_an_error_of_its_prompt_and_no_call(database_url: str, tmp_path: Path) -> None:
    store = Store.open(database_url, clock := FakeClock())
    machine = answering(
        tmp_path, answer="---\nwindow: 70\n---\n# user\n{{ window }}", answer_dark="---\nshadow: true\n---\n# user\nDark"
    )
    files = prompts([machine])
    try:
        async with Engine(store, [machine], llm=Scripted([]), clock=clock) as engine:
            row = await engine.start(TriggerCommand("desk", {"message": "a long story " * 200}))
            assert (await engine.advance(row.run.id)).run.state == "Declined"
        base, _ = (await variants(store, files, 0))[0]["desk/answer"]
        assert [base.count(name) for name in ("calls", "errors", "unpriced")] == [0, 3, 0]
        assert (base.ended, [(one.calls, one.hash) for one in base.versions]) == (
            {"failed": 1},
            [(0, files["desk/answer"][0].hash)],
        )
    finally:
        store.close()


async def test_what_an_earlier_version_asked_without_naming_a_prompt_is_left_out(database_url: str, tmp_path: Path) -> None:
    machine = answering(tmp_path, answer=USER)
    async with opened(database_url) as store:
        first = new(owner="me")
        started = await store.start(first)
        overflow: Object = {"state": "Read", "outcome": "error", "error": {"type": "WindowOverflow"}}
        asked = event(first.run, CLOCK.now(), "asked", "engine", overflow)
        commit = step(first.run, started.fence)
        await store.commit(replace(commit, run=replace(commit.run, head=asked.hash), events=[asked]))
        found, _ = await variants(store, prompts([machine]), 0)
        assert {name: [one.counted for one in variants] for name, variants in found.items()} == {"desk/answer": [{}]}


async def test_people_judge_a_shadow_by_the_first_call_of_an_answer(database_url: str, tmp_path: Path) -> None:
    """Of those that follow nobody knows what it would have said; and that it has others makes its first call no other."""
    store = Store.open(database_url, clock := FakeClock())
    machine = paying(tmp_path, answer=USER, answer_dark="---\nshadow: true\n---\n# user\nDark")
    model = Scripted(lambda request: [refunds(1), refunds(9)] if request.shadow else [refunds(1), refunds(2), refunds(3)])
    try:
        async with Engine(store, [machine], llm=model, clock=clock) as engine:
            row = await engine.start(TriggerCommand("desk", {}))
            for decision in ("approved", "approved", "rejected"):
                await engine.advance(row.run.id)
                (task,) = await store.tasks(row.run.id)
                await engine.decide(task.id, by="ann", decision=decision)
        _, shadow = (await variants(store, prompts([machine]), 0))[0]["desk/answer"]
        assert {name: (one.hits, one.of) for name, one in shadow.agreement.items()} == {
            "intent": (1, 1),
            "arguments": (0, 1),
            "people": (1, 1),
        }
    finally:
        store.close()


async def _decided(engine: Engine, message: str, decision: str, arguments: Object | None = None) -> str:
    row = await engine.start(TriggerCommand("desk", {"message": message, "n": 5}))
    await engine.advance(row.run.id)
    (task,) = await engine.store.tasks(row.run.id)
    await engine.decide(task.id, by="ann", decision=decision, arguments=arguments)
    await engine.advance(row.run.id)
    return row.run.id


async def test_a_version_that_is_in_no_file_any_more_is_still_in_the_log(sqlite_url: str, tmp_path: Path) -> None:
    store = Store.open(sqlite_url)
    try:
        for text in ("# user\nOld", "# user\nNew"):
            machine = answering(tmp_path, answer=text)
            async with Engine(store, [machine], llm=Scripted(lambda request: refunds(0))) as engine:
                await engine.advance((await engine.start(TriggerCommand("desk", {}))).run.id)
        found, _ = await variants(store, prompts([answering(tmp_path)]), 0)
        (base,) = found["desk/answer"]
        assert [(version.current, version.calls) for version in base.versions] == [(True, 1), (False, 1)]
        found, _ = await variants(store, {}, 0, "desk/answer")
        assert (found["desk/answer"][0].file, found["desk/answer"][0].count("calls")) == (None, 2)
        with pytest.raises(
            UnknownPrompt, match=r"no prompt is called 'desk/anser'; there are desk/answer\. Did you mean 'desk/answer'"
        ):
            await variants(store, {}, 0, "desk/anser")
    finally:
        store.close()


async def test_only_what_is_there_can_be_pinned(sqlite_url: str, tmp_path: Path) -> None:
    store = Store.open(sqlite_url)
    files = prompts([answering(tmp_path, answer=USER, answer_brief=USER, answer_dark="---\nshadow: true\n---\n# user\nx")])
    try:
        with pytest.raises(UnknownPrompt, match="Did you mean 'desk/answer'"):
            await pin(store, files, "desk/anwser", "brief", by="ann")
        with pytest.raises(UnknownPrompt, match=r"has no variant 'breif'; it has base, brief, dark\. Did you mean 'brief'"):
            await pin(store, files, "desk/answer", "breif", by="ann")
        with pytest.raises(Conflict, match="is a shadow, which never acts"):
            await pin(store, files, "desk/answer", "dark", by="ann")
        with pytest.raises(NotPinned):
            await unpin(store, files, "desk/answer", "brief", by="ann")
        assert (await pin(store, files, "desk/answer", "base", by="ann")).variant == ""
        with pytest.raises(Conflict, match="'base' is pinned, not 'brief'"):
            await unpin(store, files, "desk/answer", "brief", by="ann")
        assert (await unpin(store, {}, "desk/answer", "base", by="bob")).variant is None
    finally:
        store.close()


# ── A/B ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

DESK = '''
from typing import Literal
from leverframe import Ask, Back, Compact, End, Machine, Memory, Reply

class Case(Memory):
    message: str

class Solve(Reply[Literal["solve"]]):
    """It can be solved."""
    how: str

class Refuse(Reply[Literal["refuse"]]):
    """It cannot."""

class Answer(Ask[Case]):
    prompt = "desk/answer"
    replies = (Solve, Refuse)
    def keep(self, memory: Case, reply: Solve | Refuse) -> None: ...

class Solved(End[Case]): ...

class Refused(End[Case]):
    success = False

class Short(Compact): ...

desk = Machine("desk", memory=Case, edges={
    Answer: {"solve": Solved, "refuse": Refused, "error": Short},
    Short: {"retry": Back, "give_up": Refused},
})
'''
EXAMPLES = """---
{more}examples:
  - when: My lamp is broken
    reply: {{intent: solve, how: send a new lamp}}
  - when: {{message: I am bored, window: bored}}
    reply: {{intent: refuse}}
otherwise: {{intent: refuse}}
---
# user
{text}
{{{{ window }}}}"""


def desk(folder: Path, package: str, **texts: str) -> Path:
    """A project of one machine, in a package of its own, so that several can be loaded by one process."""
    rooms = folder / package
    for name in ("", "machines/"):
        (rooms / name).mkdir(parents=True)
        (rooms / name / "__init__.py").touch()
    (rooms / "machines" / "desk.py").write_text(DESK)
    (rooms / "prompts" / "desk").mkdir(parents=True)
    for name, text in texts.items():
        (rooms / "prompts" / "desk" / f"{name.replace('_', '.')}.md").write_text(text)
    (folder / "pyproject.toml").write_text(f'[tool.leverframe]\npackage = "{package}"\nmodel = "examples"\n')
    return folder


def told(*words: str, code: int = 0) -> str:
    done = leverframe(*words)
    assert done.code == code, done
    return done.out if not code else done.out + done.err


def shown(*words: str) -> dict[str, Object]:
    """The variants of the one prompt, by name, as the command says them."""
    found = cast("Mapping[str, list[Object]]", cast("Object", json.loads(told("prompts", *words, "--json")))["prompts"])
    return {str(one["variant"]): one for one in found["desk/answer"]}


def between(runs: int, part: float) -> tuple[int, int]:
    """Bounds that a binomial variable leaves once in ten thousand times."""
    weights = [comb(runs, hits) * part**hits * (1 - part) ** (runs - hits) for hits in range(runs + 1)]
    low = next(hits for hits in range(runs + 1) if sum(weights[: hits + 1]) > 0.00005)
    return low, next(hits for hits in range(runs, -1, -1) if sum(weights[hits:]) > 0.00005)


async def test_the_better_variant_shows_and_a_pin_rolls_back_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """400 runs: b solves nine of ten, the base six of ten."""
    home = desk(tmp_path, "ab_desk", answer=USER, answer_b="---\nweight: 3\n---\n# user\nKindly: {{ message }}")
    monkeypatch.chdir(home)
    project = find(home)
    machine = project.machine("desk")
    asked: dict[str, set[str]] = {}

    def speak(request: Request) -> Mapping[str, Json]:
        kind = request.messages[0].content.startswith("Kindly")
        asked.setdefault(request.run_id, set()).add("b" if kind else "base")
        good = int(str(request.memory["message"])) % 10 < (9 if kind else 6)
        return {"intent": "solve", "how": "so"} if good else {"intent": "refuse"}

    async def go(store: Store, *numbers: int) -> list[str]:
        async with Engine(store, [machine], llm=Scripted(speak, usage=CHEAP)) as engine:
            rows = [await engine.start(TriggerCommand("desk", {"message": str(n)}, key=f"case {n}")) for n in numbers]
            await asyncio.gather(*(engine.advance(row.run.id) for row in rows))
        return [row.run.id for row in rows]

    store = project.store()
    try:
        runs = await go(store, *range(400))
        shares = {name: sum(one == {name} for one in asked.values()) for name in ("base", "b")}
        assert sum(shares.values()) == 400, "every run is told one variant"
        low, high = between(400, 0.75)
        assert low <= shares["b"] <= high
        assert await go(store, *range(400)) == runs  # the same keys are the same runs, told what they were told
        assert {name: sum(one == {name} for one in asked.values()) for name in ("base", "b")} == shares
        figures = await asyncio.to_thread(shown)
        assert {name: one["calls"] for name, one in figures.items()} == shares
        base, b = (cast("dict[str, float]", figures[name]["success"]) for name in ("base", "b"))
        assert b["low"] > base["high"], "the better variant is told apart from the figures alone"
        assert b["low"] <= 0.9 <= b["high"]
        assert base["low"] <= 0.6 <= base["high"]

        async with Engine(store, [machine], llm=Scripted(speak)) as engine:
            parked = [await engine.start(TriggerCommand("desk", {"message": "1"})) for _ in range(30)]
            await asyncio.to_thread(told, "prompts", "pin", "desk/answer", "base", "--by", "ann", "--reason", "b is too kind")
            for row in parked:
                await engine.advance(row.run.id)
        assert {"b"} in [asked[row.run.id] for row in parked], "runs under way keep theirs"
        later = await go(store, *range(400, 440))
        assert [asked[run] for run in later] == [{"base"}] * 40
        pinned = await asyncio.to_thread(shown, "desk/answer")
        assert (pinned["base"]["pinned"], pinned["b"]["pinned"]) == (True, False)
        out = await asyncio.to_thread(told, "prompts", "desk/answer")
        assert "base pinned by ann: b is too kind" in out
        await asyncio.to_thread(told, "prompts", "unpin", "desk/answer", "base", "--by", "bob")
        last = await go(store, *range(500, 540))
        assert {"b"} in [asked[run] for run in last]
    finally:
        store.close()


# ── exams ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_prompts_are_examined_by_their_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EXAMPLES.format(more="weight: 2\n", text="B").replace(
        "intent: refuse}\notherwise", "intent: refuse, odd: 1}\notherwise"
    )
    home = desk(tmp_path, "exam_desk", answer=EXAMPLES.format(more="", text="A"), answer_b=broken)
    monkeypatch.chdir(home)
    data = json.loads(told("prompts", "eval", "desk/answer", "--json"))
    base, b = data["variants"]
    assert (base["variant"], base["outcome"]["hits"], base["arguments"]["hits"], base["unfit"]) == ("base", 2, 2, 0)
    assert (b["outcome"]["hits"], b["outcome"]["of"], b["unfit"]) == (1, 1, 1)
    assert "odd" in b["examples"][1]["why"]
    assert "right outcome" in told("prompts", "eval", "desk/answer", "--variant", "b", "--at-least", "0.9")
    assert "Did you mean 'desk/answer'" in told("prompts", "eval", "desk/anser", code=2)
    assert "has no variant 'bb'" in told("prompts", "eval", "desk/answer", "--variant", "bb", code=2)
    assert "has no variant 'bb'" in told("prompts", "pin", "desk/answer", "bb", "--by", "ann", code=2)


async def test_the_right_outcome_and_the_right_arguments_are_told_apart(tmp_path: Path) -> None:
    text = """---
examples:
  - when: {message: broken, n: 5}
    reply: {intent: refund, arguments: {cents: "{{ n }}", why: "it arrived broken"}}
  - when: {message: late, n: 7}
    reply: {intent: refund, arguments: {cents: 7, why: ""}}
  - when: {message: "no reason", n: 1}
    reply: {intent: decline, reason: "nothing is owed for that"}
otherwise: {intent: decline, reason: "-"}
---
# user
{{ message }} {{ n }} {{ window }}"""
    machine = answering(tmp_path, answer=text)
    (prompt,) = prompts([machine])["desk/answer"]
    answers = {"broken": refunds(5, "It arrived broken."), "late": refunds(8), "no reason": refunds(1)}
    model = Scripted(lambda request: answers[str(request.memory["message"])])
    ticks: list[None] = []
    ((_, state),) = uses([machine], "desk/answer")
    exam = await examine(model, machine, state, prompt, ticked=lambda: ticks.append(None))
    assert state is Answer
    assert (exam.outcome.hits, exam.right.hits, exam.right.of, len(ticks)) == (2, 1, 3, 3)
    assert "broken 5 <request>" in model.requests[0].messages[0].content
    offline = await examine(ExamplesLLM(), machine, state, prompt)
    assert offline.right.hits == 3


SEVERAL = """---
examples:
  - when: {message: both broke, n: 5}
    reply: {intent: refund, arguments: {cents: "{{ n }}", why: ""}, then: [{intent: refund, arguments: {cents: 7, why: "it came late"}}]}
  - when: {message: "no reason", n: 1}
    reply: {intent: decline, reason: "-"}
otherwise: {intent: decline, reason: "-"}
---
# user
{{ message }} {{ n }} {{ choices }}"""


async def test_an_exam_asks_for_several_calls_where_a_live_run_does(sqlite_url: str, tmp_path: Path) -> None:
    machine = paying(tmp_path, answer=SEVERAL)
    (prompt,) = prompts([machine])["desk/answer"]
    live, model = Scripted([[Decline(reason="-")]]), Scripted(lambda request: [Decline(reason="-")])
    store = Store.open(sqlite_url)
    async with Engine(store, [machine], llm=live) as engine:
        await engine.advance((await engine.start(TriggerCommand("desk", {"message": "no reason", "n": 1}))).run.id)
    store.close()
    exam = await examine(model, machine, Several, prompt)
    assert (exam.outcome.hits, exam.right.hits, exam.right.of) == (1, 1, 2)
    assert model.requests[1].messages == live.requests[0].messages
    assert model.requests[1].choices.schema_text == live.requests[0].choices.schema_text
    assert (await examine(ExamplesLLM(), machine, Several, prompt)).right.hits == 2


@pytest.mark.parametrize(
    ("follows", "right"),
    [
        ([refunds(7, "it came late, sadly")], True),
        ([refunds(8, "it came late")], False),
        ([refunds(7, "it came late")] * 2, False),
        ([], False),
    ],
)
async def test_an_exam_holds_a_model_to_the_calls_that_follow_too(tmp_path: Path, follows: list[Call[int]], right: bool) -> None:
    machine = paying(tmp_path, answer=SEVERAL)
    (prompt,) = prompts([machine])["desk/answer"]
    exam = await examine(Scripted([[refunds(5), *follows]]), machine, Several, prompt, examples=prompt.examples[:1])
    assert (exam.outcome.hits, exam.right.hits) == (1, int(right))
    (told_of,) = cast("list[Object]", exam.json()["examples"])
    assert len(cast("list[Json]", cast("Object", told_of["expected"])["queue"])) == 1


def test_words_are_compared_by_what_matters_and_everything_else_exactly() -> None:
    assert close({"why": "it arrived broken"}, {"why": "The lamp arrived broken, sadly"})
    assert not close({"why": "it arrived broken"}, {"why": "it never came"})
    assert not close({"id": "A-1"}, {"id": "A-2"})
    assert not close({"n": 1}, {"n": True})
    assert not close({"n": 1}, {"n": 1, "m": None})
    assert close([1, {"a": "x"}], [1, {"a": "x"}])
    assert not close([1], [1, 1])


def test_an_example_becomes_the_memory_of_a_run() -> None:
    refund = find(repository.ROOT).machine("refund")
    memory = memory_of(refund, {"message": "Order 1042 is broken", "order": {}})
    assert memory["message"] == "Order 1042 is broken"
    assert set(cast("Object", memory["order"])) >= {"id"}
    assert memory_of(refund, "hello")["message"] == "hello"
    with pytest.raises(InvalidMemory):
        memory_of(refund, {"message": 7})


def test_every_example_of_the_shipped_agents_can_be_asked() -> None:
    project = find(repository.ROOT)
    for name, files in prompts(project.machines.values()).items():
        for machine, state in uses(project.machines.values(), name):
            for prompt in files:
                exam = asyncio.run(examine(ExamplesLLM(), machine, state, prompt))
                assert not [result.question.unfit for result in exam.results if result.question.unfit]
                assert (exam.outcome.value or 0) > 0.9


# ── habits ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_most_runs_ask_for_first_might_as_well_be_fetched(database_url: str, tmp_path: Path) -> None:
    store = Store.open(database_url)
    machine = answering(tmp_path, answer=USER)
    try:
        model = Scripted(lambda request: refunds(0) if request.memory["n"] else Decline(reason="no"))
        async with Engine(store, [machine], llm=model) as engine:
            for n in range(25):
                await engine.advance((await engine.start(TriggerCommand("desk", {"n": n % 12}))).run.id)
        first, other = await habits(store, machine.definition(machines(machine)), 0)
        assert (first.tool, first.state, first.effect, first.runs.hits, first.runs.of) == ("refund", "Answer", "read", 22, 25)
        assert str(first) == "tool refund is the first call in 88 % of 25 runs: fetch it before Answer"
        assert (first.suggests(0.8), first.suggests(0.9), other.suggests(0.0)) == (True, False, False)
        assert (other.tool, other.runs.hits) == ("", 3)
    finally:
        store.close()


def test_the_command_says_when_there_is_nothing_to_suggest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk(tmp_path, "habit_desk", answer=USER))
    assert told("prefetch", "desk") == "nothing to suggest: no read tool is the first call in 50% of 0 runs; 20 are needed\n"
    assert json.loads(told("prefetch", "desk", "--json")) == {"machine": "desk", "runs": 0, "first": []}


def test_a_prompt_is_its_text_and_what_it_includes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = desk(tmp_path, "list_desk", answer="# user\n{% include 'desk/_tone.md' %}", _tone="x")
    tone = home / "list_desk" / "prompts" / "desk" / "_tone.md"
    (home / "list_desk" / "prompts" / "desk" / ".tone.md").rename(tone)
    monkeypatch.chdir(home)
    before = cast("list[Object]", shown()["base"]["versions"])
    tone.write_text("y")
    after = cast("list[Object]", shown("list")["base"]["versions"])
    assert before[0]["hash"] != after[0]["hash"]
    assert Prompt.parse("desk/answer", "", "# user\nx").hash not in (before[0]["hash"], after[0]["hash"])
