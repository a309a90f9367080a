"""What a model saw, made again from the log: as it was sent, said loudly where it is not, and shown in the terminal and on a page."""

import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from leverframe import TriggerCommand
from leverframe.cli.context import sizes
from leverframe.context import at, every
from leverframe.errors import ModelRefused, ModelUnavailable, NotFound
from leverframe.llm import Scripted, Usage, request_hash
from leverframe.llm.scripted import Line
from leverframe.recording import record
from leverframe.replay import replay
from leverframe.testing import check_seen
from tests.browser import Watched, chromium
from tests.commands import Command
from tests.house import House, begin, world
from tests.test_window_errors import BAD, PROMPT, Cutting, Patient, Stop, agent, fetch, peek

BROKEN = "Order 1042 arrived <b>broken</b> & I want my money back"


async def test_every_question_is_made_again_byte_for_byte_also_by_another_process(house: House, tmp_path: Path) -> None:
    machine = agent(tmp_path, Patient, prompt="# system\n\n{{ choices }}\n\n# user\n\n{{ window }}\n{{ memory }}\n")
    script: list[Line] = [peek.call(7), BAD, fetch.call(1), peek.call(7), Stop()]
    model = Scripted(script)
    engine = house(machine, llm=model)
    run = await begin(engine, "desk", note="zebra", items=[3, 1])
    found = await every(house().store, {"desk": machine}, run.id)
    assert [one.verified for one in found] == [True] * len(script)
    assert [list(one.messages) for one in found] == [list(request.messages) for request in model.requests]
    assert [one.body["request"] for one in found] == [request_hash(request.messages) for request in model.requests]
    assert await check_seen(house().store, {"desk": machine}) == len(script)


async def test_of_a_window_that_overflowed_nothing_was_sent(house: House, tmp_path: Path) -> None:
    machine = agent(tmp_path, Cutting, prompt=f"---\nwindow: 300\n---\n{PROMPT}")
    run = await begin(house(machine, llm=Scripted([Stop()])), "desk", note="a long story " * 200)
    overflowed, sent = await every(house().store, {"desk": machine}, run.id)
    assert (overflowed.verified, overflowed.messages, overflowed.why) == (None, (), "nothing was sent: the window overflowed")
    assert (overflowed.json()["prompt"], overflowed.json()["budget"], sent.verified) == ("desk/choose", None, True)
    assert (sizes(overflowed), "window of 300" in sizes(sent)) == ("", True)
    told_again = await replay(await record(house().store, run.id), machine, machine.definition())
    assert (told_again.divergence, told_again.reworded) == (None, [])


async def test_what_is_kept_of_a_question_does_not_grow(house: House, tmp_path: Path) -> None:
    engine = house(agent(tmp_path, Patient), llm=Scripted([*[peek.call(n) for n in range(40)], Stop()]))
    run = await begin(engine, "desk")
    kept = [line.body["prompt"] for line in await engine.store.events(run.id) if line.type == "asked"]
    assert all(isinstance(one, dict) and list(one) == ["budget", "hash", "name", "tokens", "variant"] for one in kept)


async def test_a_run_that_moves_to_another_definition_is_made_again_under_both(house: House, tmp_path: Path) -> None:
    model = Scripted([peek.call(1), ModelRefused("the key is wrong"), peek.call(2), Stop()])
    run = await begin(house(agent(tmp_path, Patient), llm=model), "desk", note="what it is about")
    assert run.status == "blocked"
    after = agent(tmp_path, Patient, prompt="# user\n\nNow: {{ window }}\n", _error="Oh: {{ cause }}")
    second = house(after, llm=model)
    await second.migrate(run.id, by="ann")
    run = (await second.advance(run.id)).run
    assert run.state == "Done"
    found = await every(house().store, {"desk": after}, run.id)
    assert [one.verified for one in found] == [True, True, True, True]  # that of the refused key, too
    assert [one.messages[0].content.startswith("Now: ") for one in found] == [False, False, True, True]


async def test_what_was_asked_of_a_model_that_was_unavailable_is_made_again_too(house: House, tmp_path: Path) -> None:
    machine = agent(tmp_path, Patient)
    busy = ModelUnavailable("503", usage=Usage(70, 0, cost=5))
    engine = house(machine, llm=Scripted([*[busy] * 5, ModelRefused("no credit", usage=Usage(70, 0, cost=5)), Stop()]))
    row = await engine.start(TriggerCommand("desk", {"note": "a refund"}))
    while (await engine.advance(row.run.id)).run.status == "ready":
        house.clock.advance(timedelta(hours=2))
    await engine.retry(row.run.id)
    run = (await engine.advance(row.run.id)).run
    found = await every(engine.store, {"desk": machine}, run.id)
    assert [line.type for line in await engine.store.events(run.id) if line.seq in {one.seq for one in found}] == [
        *["postponed"] * 4,
        "asked",
        "blocked",
        "asked",
    ]
    assert {one.verified for one in found} == {True}
    assert (run.state, run.cost, run.tokens) == ("Done", 30, 420)  # what failed is paid for
    assert (await at(engine.store, {"desk": machine}, run.id, [2]))[0].messages == found[0].messages


async def test_a_log_that_was_changed_is_said_loudly(house: House, tmp_path: Path) -> None:
    machine = agent(tmp_path, Patient)
    engine = house(machine, llm=Scripted([peek.call(1), Stop()]))
    run = await begin(engine, "desk", note="a refund")
    with closing(sqlite3.connect(house.url.removeprefix("sqlite:///"))) as database, database:
        database.execute("UPDATE events SET body = replace(body, 'a refund', 'a fortune') WHERE seq = 1")
    found = await every(house().store, {"desk": machine}, run.id)
    assert [one.verified for one in found] == [False, False]
    assert found[0].why.startswith("THIS IS NOT WHAT WAS SENT")
    with pytest.raises(AssertionError, match="at event 2 cannot be made again"):
        await check_seen(house().store, {"desk": machine})


async def test_what_a_question_left_out_is_told_with_the_reason(house: House, tmp_path: Path) -> None:
    machine = agent(tmp_path, Patient, prompt="---\nwindow: 200\n---\n# user\n\n{{ window }}\n")
    world.faults = []
    script: list[Line] = [fetch.call(1), peek.call(7), *[peek.call(n) for n in range(20)], BAD, Stop()]
    engine = house(machine, llm=Scripted(script))
    run = await begin(engine, "desk", note="x")
    (last,) = await at(engine.store, {"desk": machine}, run.id, [None])
    fates = {told.fate: told.why for told in last.blocks}
    assert last.verified
    assert {"kept", "dropped"} <= fates.keys()
    assert fates["dropped"] == "the budget is used up"
    assert sum(told.tokens for told in last.blocks if told.fate in ("kept", "shortened")) <= 200
    with pytest.raises(NotFound, match="event 3 asked no model; near it did 2, 4"):
        await at(engine.store, {"desk": machine}, run.id, [3])


# ── the command ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def leverframe(leverframe: Command) -> Command:
    """After one run has come to its approval."""
    leverframe("run", "refund", BROKEN, "--key", "r-1")
    return leverframe


def test_the_command_shows_the_messages_the_blocks_and_that_they_are_verified(leverframe: Command) -> None:
    done = leverframe("context", "r-1")
    assert (done.code, done.err) == (0, "")
    assert "verified: sha256 " in done.out
    assert "  │ <request>\n" in done.out
    assert "#3.1    fetched find_order" in done.out
    data = json.loads(leverframe("context", "r-1", "4", "--json").out)
    assert (data["seq"], data["state"], data["prompt"], data["verified"]) == (4, "Triage", "refund/triage", True)
    assert [message["role"] for message in data["messages"]] == ["system", "user"]
    assert data["blocks"][0] == {
        "reference": "#1",
        "block": "request",
        "tool_name": None,
        "score": 100,
        "tokens": data["blocks"][0]["tokens"],
        "fate": "kept",
        "why": "a pin",
    }


def test_two_questions_are_compared_line_by_line(leverframe: Command) -> None:
    done = leverframe("context", "r-1", "--diff", "4")
    assert (done.code, "the same messages" in done.out) == (0, True)
    data = json.loads(leverframe("context", "r-1", "--diff", "4", "--json").out)
    assert (data["diff"], data["came"], data["went"], data["against"]["seq"]) == ([], [], [], 4)


def test_a_question_that_there_was_not_is_misuse_and_a_changed_log_a_failure(leverframe: Command, tmp_path: Path) -> None:
    assert leverframe("context", "r-1", "999").code == 2
    assert leverframe("context", "nobody").code == 2
    with closing(sqlite3.connect(tmp_path / "leverframe.db")) as database, database:
        database.execute("UPDATE events SET body = replace(body, 'money back', 'car back') WHERE seq = 1")
    done = leverframe("context", "r-1")
    assert done.code == 1
    assert "THIS IS NOT WHAT WAS SENT" in done.out
    assert "THIS IS NOT WHAT WAS SENT" in done.err


@pytest.mark.long
def test_the_page_loads_nothing_and_shows_markup_as_words(leverframe: Command, tmp_path: Path) -> None:
    file = tmp_path / "seen.html"
    assert leverframe("context", "r-1", "--html", str(file)).out == f"wrote {file}\n"
    text = file.read_text("utf-8")
    assert "default-src 'none'" in text
    assert "<b>broken" not in text
    with chromium() as browser:
        for scheme in ("light", "dark"):
            watched = Watched(browser, scheme)
            page = watched.open(file)
            assert "arrived <b>broken</b> & I want" in page.inner_text("body")
            assert page.locator("tr.kept").count() == 3
            assert watched.wrong == []
