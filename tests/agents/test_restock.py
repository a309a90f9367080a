"""The restock agent on its real rooms, started alone and by the sales report agent. No model is needed."""

from datetime import timedelta
from mailbox import Maildir
from pathlib import Path

import pytest

from leverframe.testing import Engines, Play, play
from machines.restock import restock
from machines.sales_report import sales_report
from states.restock import Restock, SalesReport, Supply
from states.sales_report import Day, Line, Supplies
from tools import sandbox

NOWHERE = "http://127.0.0.1:1"


async def sold(engine: Engines, article: str, units: int) -> Play:
    report = SalesReport(number="2026-01-05-1", shop="Lyon", article=article, sold=units)
    return await play(engine(restock), Restock(report=report))


def supply(run: Play) -> Supply:
    return Supply.model_validate(run.run.result)


def done(kind: str) -> list[tuple[object, object]]:
    return [(what["article"], what["units"]) for what in sandbox.done(kind)]


def mails() -> list[tuple[str, str, str]]:
    outbox = Maildir(sandbox.beside(".outbox"))
    return [(mail["To"], mail["Subject"], str(mail.get_payload()).strip()) for mail in outbox]


# ── alone ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_is_in_stock_is_shipped(engine: Engines) -> None:
    run = await sold(engine, "notebook", 40)
    assert (run.state, run.status) == ("Restocked", "done")
    assert (done("purchases"), done("shipments")) == ([], [("notebook", 40)])
    assert supply(run).shipment == run.run.memory["shipment"]


async def test_what_is_missing_is_bought_and_then_all_is_shipped(engine: Engines) -> None:
    run = await sold(engine, "desk lamp", 20)
    assert run.state == "Restocked"
    assert (done("purchases"), done("shipments")) == ([("desk lamp", 12)], [("desk lamp", 20)])


async def test_where_the_supplier_refuses_the_procurement_manager_is_told(engine: Engines) -> None:
    run = await sold(engine, "unobtainium", 3)
    assert (run.state, run.status) == ("Reported", "done")
    assert await run.effects() == [("purchase", "failed"), ("notify_procurement", "done")]
    assert supply(run).note == "The procurement manager was told."
    assert mails() == [
        (
            "procurement@example.com",
            "Could not buy 3 x unobtainium",
            "The supplier refused.\nLyon sold 3 x unobtainium (report 2026-01-05-1); 0 were in stock.",
        )
    ]


async def test_the_procurement_manager_is_told_once_also_where_nobody_is_sure(
    engine: Engines, lost_archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAIL_ARCHIVE", str(lost_archive))
    run = await sold(engine, "unobtainium", 3)
    assert (run.state, len(Maildir(lost_archive))) == ("Reported", 1)


async def test_a_purchase_and_a_shipment_whose_answers_got_lost_are_found(engine: Engines) -> None:
    run = await sold(engine, "feathers", 5)
    assert run.state == "Restocked"
    assert (done("purchases"), done("shipments")) == ([("feathers", 5)], [("feathers", 5)])
    assert await run.effects() == [("purchase", "done"), ("ship", "done")]
    assert supply(run).shipment == sandbox.done("shipments")[0]["id"]


async def test_a_shipment_that_did_not_happen_is_made_anew(engine: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARRIER_URL", NOWHERE)
    agent = engine(restock)
    agent.patience = 0
    run = await play(agent, Restock(report=SalesReport(number="7", shop="Lyon", article="notebook", sold=1)))
    while run.state == "Ship":  # tried four times, with the same key
        await agent.clock.sleep(5)
        run.run = (await agent.step(run.run.id)).run
    assert run.state == "Shipped"
    monkeypatch.delenv("CARRIER_URL")
    await run.go_on()
    assert (run.state, done("shipments")) == ("Restocked", [("notebook", 1)])
    assert await run.effects() == [("ship", "not_done"), ("ship", "done")]


async def test_where_nobody_can_tell_the_warehouse_takes_over(engine: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARRIER_URL", NOWHERE)
    run = await sold(engine, "notebook", 40)
    task = await run.task()
    assert (run.state, task.to, await run.effects()) == ("HandOver", "warehouse", [("ship", "unknown")])
    assert task.content.splitlines() == [
        "Please take over, and write what you did.",
        "Why: shipments: the provider cannot be reached: [Errno 111] Connection refused",
        "No shipment is recorded: ask the carrier before you send anything.",
        "Lyon sold 40 x notebook (report 2026-01-05-1); 300 were in stock.",
    ]
    await run.answer("Sent by our own van.")
    assert (run.state, run.status, supply(run).note) == ("Closed", "done", "Sent by our own van.")


# ── started by another agent ─────────────────────────────────────────────────────────────────────────────────────────────────


async def day(engine: Engines, *lines: tuple[str, int, int]) -> Play:
    report = Day(
        number="2026-01-05",
        shop="Lyon",
        lines=[Line(article=article, sold=units, left=left) for article, units, left in lines],
    )
    return await play(engine(sales_report, restock), report)


async def test_each_article_that_runs_low_is_restocked_by_a_run_of_its_own(engine: Engines) -> None:
    run = await day(engine, ("notebook", 40, 3), ("tea mug", 5, 80), ("unobtainium", 3, 0))
    assert (run.state, run.status) == ("Stocked", "done")
    notebook, unobtainium = Supplies.model_validate(run.run.result).supplies
    assert notebook.report == SalesReport(number="2026-01-05-1", shop="Lyon", article="notebook", sold=40)
    assert notebook.shipment == sandbox.done("shipments")[0]["id"]
    assert (unobtainium.shipment, unobtainium.note) == (None, "The procurement manager was told.")
    children = await run.engine.store.runs(machine="restock")
    assert {child.run.parent for child in children} == {run.run.id}


async def test_a_day_on_which_nothing_runs_low_needs_nobody(engine: Engines) -> None:
    run = await day(engine, ("tea mug", 5, 80))
    assert (run.state, Supplies.model_validate(run.run.result).supplies) == ("Stocked", [])


async def test_restocking_that_failed_is_handed_to_the_warehouse_and_not_tried_again(
    engine: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARRIER_URL", NOWHERE)
    run = await day(engine, ("notebook", 40, 3))
    assert run.state == "Restocks"
    await run.later(timedelta(days=4))  # nobody answers for the child
    assert run.state == "HandOver"
    assert (await run.task()).content.splitlines() == [
        "Please take over, and write what you did.",
        "Why: 1 of 1 runs of restock failed",
        "Report 2026-01-05 of Lyon; low are: notebook.",
    ]
    assert len(await run.engine.store.runs(machine="restock")) == 1


async def test_a_day_that_is_cancelled_cancels_the_runs_it_started(engine: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARRIER_URL", NOWHERE)
    run = await day(engine, ("notebook", 40, 3))
    await run.engine.cancel(run.run.id)
    await run.go_on()
    (child,) = await run.engine.store.runs(machine="restock")
    await run.engine.advance(child.run.id)
    (child,) = await run.engine.store.runs(machine="restock")
    assert (run.status, child.run.status) == ("cancelled", "cancelled")
