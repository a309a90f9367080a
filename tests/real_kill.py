"""`kill -9` for real: runs under `leverframe work`, killed at random moments and started again, approved in between.

    python -m tests.real_kill [DATABASE_URL] [--runs 100] [--kills 50] [--seed 7]

Prints what it counted as one line of JSON, and ends with 1 if a run is lost, an effect doubled or an unknown not listed. Where people
are needed, people act, and are counted: a run whose mail failed three times, because its worker died before it was sent, is handed
over, as the machine declares, and support closes it; one whose worker died at it again and again is quarantined, and an operator retries
it. `not_over` says where the others were when time was up.
"""

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from decimal import Decimal
from pathlib import Path

from leverframe import Engine, Store, TriggerCommand
from leverframe.canon import Object
from leverframe.clock import SECOND
from leverframe.llm import ExamplesLLM
from leverframe.run import OVER
from leverframe.store import Row
from machines.refund import refund
from tests import crashes, repository
from tests.crashes import WAYS, World
from tools.tables import Orders, cents, reading

FIRST = 5001  # number of the first order
WORKER = [sys.executable, "-m", "leverframe", "work"]
STARTS = 600  # looks, at most, for a worker that works or has nothing to do, before it is killed: a busy machine takes seconds to start one
ROUNDS = 600  # at most, of half a second, until everything is over once nobody kills any more


def orders(count: int) -> None:
    """One for each run; every fifth is small enough that nobody has to release it."""
    with reading() as session:
        session.add_all(_order(number) for number in range(FIRST, FIRST + count))
        session.commit()


def _order(number: int) -> Orders:
    price = Decimal("12.50") if number % 5 == 0 else Decimal("129.00")
    return Orders(id=number, customer=f"c{number}@example.com", article="desk lamp", cents=cents(price))


class Experiment:
    def __init__(self, world: World, engine: Engine, folder: Path, chance: random.Random) -> None:
        self.world, self.engine, self.chance = world, engine, chance
        self.log = folder / "worker.log"
        self.env = repository.environment(
            PYTHONPATH=str(repository.ROOT),
            LEVERFRAME_DATABASE_URL=world.url,
            LEVERFRAME_MODEL="examples",
            PATH=os.environ.get("PATH", os.defpath),
        )
        self.kills = self.kills_at_work = self.approved = self.retried = 0

    async def start(self, count: int) -> None:
        for number in range(FIRST, FIRST + count):
            message = f"Order {number} arrived broken, I want my money back"
            await self.engine.start(TriggerCommand("refund", {"message": message}, key=f"order-{number}"))

    def worker(self) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as log:
            return subprocess.Popen(WORKER, cwd=repository.ROOT, env=self.env, stdout=log, stderr=log)

    async def kill_often(self, count: int) -> None:
        while self.kills < count:
            await self.approve(self.chance.randint(1, 3))
            before = _progress(await self.runs())
            worker = self.worker()
            for _ in range(STARTS):
                await asyncio.sleep(0.05)
                rows = await self.runs()
                if _progress(rows) != before or not self.due(rows):
                    break
            await asyncio.sleep(self.chance.random() * 0.12)
            assert worker.poll() is None, f"the worker ended by itself:\n{self.log.read_text()[-3000:]}"
            at = _progress(await self.runs())
            worker.kill()
            worker.wait()
            self.kills += 1
            self.kills_at_work += at != before

    async def finish(self) -> None:
        """Nobody kills any more."""
        worker = self.worker()
        try:
            for _ in range(ROUNDS):
                await self.approve(1000)
                await self.take_over()
                await asyncio.sleep(0.5)
                if all(row.run.status in OVER for row in await self.runs()):
                    return
        finally:
            worker.terminate()
            worker.wait()

    async def approve(self, most: int) -> None:
        tasks = [task for task in await self.engine.store.tasks(limit=1000) if task.kind == "approve"]
        for task in self.chance.sample(tasks, min(most, len(tasks))):
            await self.engine.decide(task.id, by="ann", decision="approved")
            self.approved += 1

    async def take_over(self) -> None:
        """What the machine hands over to support, and what the engine to an operator."""
        for task in await self.engine.store.tasks(limit=1000):
            if task.state == "HandOver":
                await self.engine.answer(task.id, by="sue", value={"intent": "handled", "note": "wrote to the customer"})
        for row in await self.engine.store.runs(status="quarantined", limit=1000):
            await self.engine.retry(row.run.id, by="olga")
            self.retried += 1

    async def runs(self) -> list[Row]:
        return await self.engine.store.runs(limit=1000)

    def due(self, rows: list[Row]) -> bool:
        """There is work for a worker, or will be within a second."""
        soon = self.engine.clock.now() + SECOND
        return any(row.wake_at is not None and row.wake_at < soon for row in rows)

    async def result(self, count: int) -> Object:
        """What is lost, doubled or not listed, run by run and effect by effect."""
        rows = await self.runs()
        effects = [effect for row in rows for effect in await self.engine.store.effects(row.run.id)]
        done = Counter(effect.effect_class for effect in effects if effect.status == "done")
        unknown = sum(effect.status == "unknown" for effect in effects)
        listed = sum(task.kind == "reconcile" for task in await self.engine.store.tasks(limit=1000))
        mails, booked, paid = self.world.mails(), self.world.booked(), self.world.provider.done
        for row in rows:
            await self.engine.verify(row.run.id)
        refunded = sum(row.run.state == "Refunded" for row in rows)
        closed = sum(row.run.state == "Closed" for row in rows)
        lost = count - refunded - closed + abs(len(paid) - done["keyed"]) + abs(len(booked) - done["local"])
        doubled = len(mails) - len(set(mails)) + max(0, len(paid) - count) + max(0, len(booked) - count)
        missing = max(0, done["once"] - len(mails)) + max(0, len(mails) - done["once"] - unknown)
        return {
            "runs": len(rows),
            "refunded": refunded,
            "closed": closed,
            "kills": self.kills,
            "kills_at_work": self.kills_at_work,
            "approved": self.approved,
            "retried": self.retried,
            "payments": len(paid),
            "bookings": len(booked),
            "mails": len(mails),
            "asked_again": len(self.world.provider.asked) - len(paid),
            "verified": len(rows),
            "not_done": sum(effect.status == "not_done" for effect in effects),
            "unknown": unknown,
            "listed": listed,
            "lost": lost + missing,
            "doubled": doubled,
            "unlisted": unknown - listed,
            "not_over": [f"{row.run.id} {row.run.status} at {row.run.state}" for row in rows if row.run.status not in OVER],
        }


def _progress(rows: list[Row]) -> int:
    return sum(row.run.seq for row in rows)


async def experiment(world: World, folder: Path, runs: int, kills: int, seed: int) -> Object:
    store = Store.open(world.url)
    try:
        async with Engine(store, [refund], llm=ExamplesLLM()) as engine:
            tried = Experiment(world, engine, folder, random.Random(seed))
            await tried.start(runs)
            await tried.kill_often(kills)
            await tried.finish()
            return await tried.result(runs)
    finally:
        store.close()


def main() -> int:
    read = argparse.ArgumentParser(description="kill -9 workers, and count what came of it")
    read.add_argument("url", nargs="?")
    for name, default in (("runs", 100), ("kills", 50), ("seed", 7)):
        read.add_argument(f"--{name}", type=int, default=default)
    given = read.parse_args()
    with tempfile.TemporaryDirectory(prefix="leverframe-kill-") as place:
        folder = Path(place)
        with crashes.world(given.url or f"sqlite:///{folder / 'leverframe.db'}", folder) as world:
            world.clean(WAYS[0])
            orders(given.runs)
            found = asyncio.run(experiment(world, folder, given.runs, given.kills, given.seed))
    print(json.dumps(found))
    return int(any(found[name] for name in ("lost", "doubled", "unlisted")))


if __name__ == "__main__":
    sys.exit(main())
