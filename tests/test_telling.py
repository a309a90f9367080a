"""Which prompt a run is told: chosen by its memory, pinned before it began, and shadowed without noticing."""

import asyncio
from collections.abc import Generator
from pathlib import Path
from typing import cast

import pytest

from leverframe import Back, Call, Engine, Machine, TriggerCommand, prompt_by
from leverframe.canon import Object
from leverframe.card import written
from leverframe.check import check
from leverframe.errors import BadCompletion, DeclarationError, EdgeError, ModelUnavailable, NotPinned, PromptError
from leverframe.graph import mermaid, svg, text
from leverframe.llm import Answer, Request, Scripted, Usage
from leverframe.recording import record
from leverframe.replay import replay
from leverframe.run import Run
from tests import told
from tests.house import House, begin, built
from tests.told import Case, Decline, answering, choosing, paying, refunds, released, write

USER = "# user\n{{ message }}"


@pytest.fixture
def house(tmp_path: Path) -> Generator[House]:
    with built(tmp_path) as made:
        yield made


async def asked(house: House, run: Run) -> Object:
    (line,) = [line.body for line in await house.stores[0].events(run.id) if line.type == "asked"]
    return line


def variant(body: Object) -> object:
    return cast("Object", body["prompt"])["variant"]


# ── chosen by the memory ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_prompt_is_chosen_by_a_field_of_the_memory(house: House, tmp_path: Path) -> None:
    model = Scripted({"Chosen": Decline(reason="no")})
    engine = house(choosing(tmp_path, books="# user\nBooks", toys="# user\nToys"), llm=model)
    await begin(engine, "desk", shop="toys")
    run = await begin(engine, "desk", shop="books")
    assert [request.messages[0].content for request in model.requests] == ["Toys", "Books"]
    assert cast("Object", (await asked(house, run))["prompt"])["name"] == "desk/books"


async def test_a_recorded_run_is_told_the_prompt_again_that_its_memory_chooses(house: House, tmp_path: Path) -> None:
    machine = choosing(tmp_path, books="# user\nBooks", toys="# user\nToys")
    engine = house(machine, llm=Scripted({"Chosen": Decline(reason="no")}))
    for shop in ("toys", "books"):
        recording = await record(engine.store, (await begin(engine, "desk", shop=shop)).id)
        for variant in (None, "b"):  # which none of them has
            found = await replay(recording, machine, machine.definition({}), variant=variant)
            assert (found.divergence, list(found.reworded)) == (None, [])


async def test_a_value_without_a_prompt_needs_a_person(house: House, tmp_path: Path) -> None:
    class Half(told.Thought):
        prompt = prompt_by("message", hello="desk/books")

    machine = told.kept(
        told.Told(
            "desk",
            memory=Case,
            edges={
                Half: {"refund": told.Over, "decline": told.Declined, "error": told.Short},
                told.Over: {"good": told.Paid, "bad": told.Declined},
                told.Short: {"retry": Back, "give_up": told.Declined},
            },
        ),
        tmp_path,
        books=USER,
    )
    engine = house(machine, llm=Scripted({"Half": Decline(reason="no")}))
    assert (await begin(engine, "desk", message="hello")).status == "failed"
    run = await begin(engine, "desk", message="bye")
    assert run.status == "attention"
    assert run.reason == "Half has no prompt where message is 'bye', only for hello; name one in prompt_by, or a default"
    assert [one.code for one in check(machine).findings if one.code.startswith("LF12")] == ["LF122"]


def test_every_choice_is_in_the_definition_the_drawing_and_the_card(tmp_path: Path) -> None:
    write(tmp_path, "desk/_tone", "Be kind.")
    machine = choosing(tmp_path, books="# user\n{% include 'desk/_tone.md' %}", toys=USER, toys_b="# user\nShort")
    definition = machine.definition()
    body = definition.states["Chosen"].body
    assert body["prompt_by"] == {"field": "shop", "prompts": {"books": "desk/books", "toys": "desk/toys"}, "default": None}
    assert list(cast("Object", body["texts"])) == ["desk/books", "desk/toys", "desk/toys.b"]
    assert body["partials"] == {"desk/_tone.md": "Be kind."}
    assert "prompt" not in body
    assert not [one for one in check(machine).findings if one.code in ("LF001", "LF111", "LF112", "LF121", "LF122")]
    assert not [one for one in check(definition).findings if one.code in ("LF001", "LF111", "LF121", "LF122")]
    for drawn in (machine, definition):
        for shown in (mermaid(drawn), text(drawn), svg(drawn)):
            assert "desk/toys" in shown
            assert "desk/books" in shown
    assert "prompt by shop books: desk/books, shop toys: desk/toys" in written(definition, {})


def test_a_partial_that_nobody_includes_is_found(tmp_path: Path) -> None:
    machine = answering(tmp_path, answer="# user\n{% include 'desk/_tone.md' %}")
    write(tmp_path, "desk/_tone", "Be kind.")
    write(tmp_path, "desk/_old", "Be long.")
    assert [one.message for one in check(machine).findings if one.code == "LF112"] == [
        "machine desk: prompts/desk/_old.md is included by no prompt of any state"
    ]


def test_a_choice_that_cannot_be_is_refused_at_import(tmp_path: Path) -> None:
    class Wrong(told.Thought):
        prompt = prompt_by("shp", books="desk/books")

    with pytest.raises(
        EdgeError, match=r"state Wrong: chooses its prompt by 'shp', which is no field of Case\. Did you mean 'shop'"
    ):
        Machine(
            "desk",
            memory=Case,
            edges={
                Wrong: {"refund": told.Paid, "decline": told.Declined, "error": told.Short},
                told.Short: {"retry": Back, "give_up": told.Declined},
            },
        )
    with pytest.raises(DeclarationError, match="name a prompt for each value"):
        prompt_by("shop")
    machine = choosing(tmp_path, books=USER)
    with pytest.raises(PromptError, match="no prompt 'desk/toys'"):
        machine.definition()
    assert [one.code for one in check(machine).findings if "desk/toys" in one.message] == ["LF111"]


# ── pinned ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_pin_holds_for_every_run_that_starts_after_it_and_for_no_other(house: House, tmp_path: Path) -> None:
    model = Scripted(lambda request: Decline(reason="no"))
    machine = released(tmp_path, answer=USER, answer_b="---\nweight: 0\n---\n# user\nB")
    engine, other = house(machine, llm=model), house(machine, llm=model)
    before = await engine.start(TriggerCommand("desk", {}))
    await other.store.pin("desk/answer", "b", by="ann", reason="better")
    after = await begin(engine, "desk")
    await engine.advance(before.run.id)
    assert (variant(await asked(house, before.run)), variant(await asked(house, after))) == ("", "b")
    assert (await engine.store.load(after.id)).run.pins == {"desk/answer": "b"}
    await engine.store.pin("desk/answer", "", by="bob")
    assert variant(await asked(house, await begin(other, "desk"))) == ""
    await engine.store.pin("desk/answer", None, by="bob")
    last = await begin(other, "desk")
    assert (variant(await asked(house, last)), last.pins) == ("", {})
    assert await engine.verify(after.id) > 2


async def test_a_child_run_is_a_new_run(house: House, tmp_path: Path) -> None:
    desk = answering(tmp_path, answer=USER, answer_b="---\nweight: 0\n---\n# user\nB")
    engine = house(told.house, desk, llm=Scripted(lambda request: refunds(0)))
    row = await engine.start(TriggerCommand("house", {}))
    await engine.store.pin("desk/answer", "b", by="ann")
    assert (await engine.advance(row.run.id)).run.status == "done"
    (child,) = await engine.store.runs(machine="desk")
    assert variant(await asked(house, child.run)) == "b"


async def test_a_pin_of_what_is_not_there_any_more_holds_nothing(house: House, tmp_path: Path) -> None:
    engine = house(answering(tmp_path, answer=USER, answer_c=USER), llm=Scripted(lambda request: refunds(0)))
    await engine.store.pin("desk/answer", "b", by="ann")
    assert (await begin(engine, "desk")).pins == {}


async def test_who_pinned_what_and_why_is_kept(house: House) -> None:
    store = house(told.house).store
    with pytest.raises(NotPinned, match="nothing is pinned"):
        await store.pin("desk/answer", None, by="ann")
    first = await store.pin("desk/answer", "b", by="ann", reason="A is rude")
    assert await store.pin("desk/answer", "b", by="bob") == first
    await store.pin("desk/answer", None, by="bob", reason="mended")
    with pytest.raises(NotPinned):
        await store.pin("desk/answer", None, by="ann")
    await store.pin("desk/other", "x", by="ann")
    assert [(pin.number, pin.variant, pin.by, pin.reason) for pin in await store.pin_history("desk/answer")] == [
        (2, None, "bob", "mended"),
        (1, "b", "ann", "A is rude"),
    ]
    assert await store.pins(["desk/answer", "desk/other"]) == {"desk/other": "x"}
    assert len(await store.pin_history()) == 3


async def test_processes_that_pin_at_the_same_time_all_stand_in_the_history(database_url: str) -> None:
    from leverframe.store import Store

    stores = [Store.open(database_url) for _ in range(3)]
    try:
        saying = [store.pin("a/b", f"v{n}.{number}", by="ann") for n in range(5) for number, store in enumerate(stores)]
        await asyncio.gather(*saying)
        history = await stores[0].pin_history("a/b")
        assert sorted(pin.number for pin in history) == list(range(1, 16))
        assert await stores[1].pins(["a/b"]) == {"a/b": max(history, key=lambda pin: pin.number).variant}
    finally:
        for store in stores:
            store.close()


# ── shadows ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

DARK = "---\nshadow: true\n---\n# user\nDark {{ message }}"


async def shadowed(house: House, tmp_path: Path, say: object, **memory: object) -> tuple[Run, Object, Scripted]:
    """A run whose model refunds 5, beside a shadow that says something else."""

    def speak(request: Request) -> object:
        return (say(request) if callable(say) else say) if request.shadow else refunds(5, "broken")

    model = Scripted(speak, usage=Usage(10, 2, cost=7))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    engine = house(answering(tmp_path, answer=USER, answer_dark=DARK), llm=model)
    run = await begin(engine, "desk", n=5, message="hello", **memory)
    body = await asked(house, run)
    assert (run.status, variant(body), run.model_calls) == ("done", "", 1)
    assert await engine.verify(run.id) > 2
    return run, cast("Object", cast("Object", body["shadow"])["dark"]), model


async def test_a_shadow_is_asked_the_same_and_never_acts(house: House, tmp_path: Path) -> None:
    run, shadow, model = await shadowed(house, tmp_path, refunds(5, "broken"))
    assert [request.messages[0].content for request in model.shadows] == ["Dark hello"]
    assert shadow["call"] == {"tool_name": "refund", "arguments": {"cents": 5, "why": "broken"}}
    assert (shadow["intent"], shadow["same_intent"], shadow["same"]) == ("refund", True, True)
    assert (cast("Object", shadow["usage"])["cost"], run.cost) == (7, 7)  # its own price is with it, and not the run's


async def test_a_shadow_is_asked_of_its_own_model(house: House, tmp_path: Path) -> None:
    model = Scripted(lambda request: refunds(0))
    machine = answering(tmp_path, answer=USER, answer_dark=DARK.replace("shadow", "model: far/away\nshadow"))
    async with Engine(house().store, [machine], llm=model, model="near/by", clock=house.clock) as engine:
        await begin(engine, "desk")
    assert [request.model for request in (*model.requests, *model.shadows)] == ["near/by", "far/away"]


async def test_how_far_a_shadow_agrees_is_recorded(house: House, tmp_path: Path) -> None:
    _, shadow, _ = await shadowed(house, tmp_path, refunds(6, "broken"))
    assert (shadow["same_intent"], shadow["same"]) == (True, False)


@pytest.mark.parametrize("follows", [[refunds(2)], [refunds(3)], [refunds(2), refunds(3)], []])
async def test_a_shadow_agrees_only_where_the_calls_that_follow_are_the_same(
    house: House, tmp_path: Path, follows: list[Call[int]]
) -> None:
    model = Scripted(lambda request: [refunds(1), *follows] if request.shadow else [refunds(1), refunds(2)])
    run = await begin(house(paying(tmp_path, answer=USER, answer_dark=DARK), llm=model), "desk")
    shadow = cast("Object", cast("Object", (await asked(house, run))["shadow"])["dark"])
    assert (shadow["same_intent"], shadow["same"]) == (True, follows == [refunds(2)])
    queue = cast("list[Object]", shadow.get("queue") or [])
    assert [call["arguments"] for call in queue] == [call.arguments for call in follows]


async def test_a_shadow_that_picks_something_else_changes_nothing(house: House, tmp_path: Path) -> None:
    _, shadow, _ = await shadowed(house, tmp_path, Decline(reason="no"))
    assert (shadow["reply"], shadow["same_intent"], shadow["same"]) == ({"intent": "decline", "reason": "no"}, False, False)


@pytest.mark.parametrize(
    "fault", [ModelUnavailable("busy"), BadCompletion("odd", usage=Usage(3, 4, cost=9)), RuntimeError("bug")]
)
async def test_a_shadow_that_fails_fails_nothing(house: House, tmp_path: Path, fault: Exception) -> None:
    _, shadow, _ = await shadowed(house, tmp_path, fault)
    assert type(fault).__name__ in str(shadow["error"])
    assert ("usage" in shadow) == isinstance(fault, BadCompletion)
    assert "same" not in shadow


async def test_a_shadow_that_cannot_be_rendered_fails_nothing(house: House, tmp_path: Path) -> None:
    engine = house(
        answering(tmp_path, answer=USER, answer_dark="---\nshadow: true\n---\n# user\n{{ 1 // n }}"),
        llm=Scripted({"Answer": refunds(0)}),
    )
    run = await begin(engine, "desk")
    assert run.status == "done"
    assert "division" in str((await asked(house, run))["shadow"])


async def test_a_shadow_that_is_slow_delays_nothing(house: House, tmp_path: Path) -> None:
    given_up = asyncio.Event()

    async def slow(request: Request) -> Answer:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            given_up.set()
            raise
        raise AssertionError

    _, shadow, _ = await shadowed(house, tmp_path, slow)
    assert shadow == {"hash": shadow["hash"], "late": True}
    await asyncio.wait_for(given_up.wait(), 5)


async def test_what_a_shadow_said_never_enters_the_window(house: House, tmp_path: Path) -> None:
    seen: list[str] = []

    def speak(request: Request) -> object:
        if request.shadow:
            return refunds(666, "sinister")
        seen.append(request.messages[-1].content)
        return Decline(reason="odd")

    model = Scripted(speak)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    engine = house(answering(tmp_path, answer="# user\n{{ window }}", answer_dark=DARK), llm=model)
    run = await begin(engine, "desk")
    fork = await engine.fork(run.id, at=1)
    await engine.advance(fork.run.id)
    assert len(seen) == 2
    assert "sinister" not in "".join(seen)
    assert "sinister" in str(await asked(house, run))


async def test_a_script_that_is_a_list_says_nothing_to_shadows(house: House, tmp_path: Path) -> None:
    model = Scripted([refunds(0)])
    engine = house(answering(tmp_path, answer=USER, answer_dark=DARK), llm=model)
    assert (await begin(engine, "desk")).status == "done"
    assert (len(model.requests), len(model.shadows)) == (1, 1)
