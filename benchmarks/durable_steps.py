"""What durability costs a step: `python -m benchmarks.durable_steps`.

A run is 10 Ask + 10 Act (`read`), each step with an event of its own, each durable before the next. Disks lie and vary, so each
measurement runs in a process whose syncs are counted and take a fixed time (see `fsync.py`). Figures: wall seconds, CPU
milliseconds per step (of all threads), steps per sync, bytes stored per step. On SQLite they have limits (`LIMITS`); a figure beyond
its limit is named, and the exit code is 1.
"""

import argparse
import asyncio
import json
import sqlite3
import tempfile
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal, TypeAlias

from benchmarks import fsync
from leverframe import (
    Act,
    Approve,
    Ask,
    Back,
    Call,
    Compact,
    Consult,
    Daily,
    End,
    Engine,
    Got,
    Limits,
    Machine,
    Memory,
    Reply,
    TriggerCommand,
    tool,
)
from leverframe.canon import Object
from leverframe.llm import Answer, Request, Usage
from leverframe.run import Event, Run
from leverframe.store import Row, Store

Figures: TypeAlias = dict[str, "str | float"]
PROMPT = "---\nmodel: instant\n---\n# system\nLook until you have seen enough.\n# user\n{{ window }}\n"


class Seen(Memory):
    rounds: int
    seen: int = 0


@tool(effect="read")
async def look(number: int) -> str:
    """Look at one thing."""
    return f"thing {number} is fine"


@tool(effect="once", approval=True)
async def send(number: int) -> None:
    """Never reached: the benchmark leaves these runs waiting."""


class Decide(Ask[Seen]):
    prompt = "steps/decide"
    replies = (look,)


class Look(Act[Seen]):
    runs = (look,)

    def keep(self, memory: Seen, got: Got) -> Literal["more", "enough"]:
        memory.seen += 1
        return "more" if memory.seen < memory.rounds else "enough"


class Shorten(Compact):
    pass


class Over(End):
    pass


def looking(name: str, daily: Daily | None = None) -> Machine[Seen]:
    return Machine(
        name,
        memory=Seen,
        edges={
            Decide: {"look": Look, "error": Shorten},
            Look: {"more": Decide, "enough": Over, "error": Shorten},
            Shorten: {"retry": Back, "give_up": Over},
        },
        limits=Limits(steps=100_000, daily=daily),
    )


steps = looking("steps")
daily = looking("daily", Daily(model_calls=10**9, tokens=10**9, cost_usd=10**6))
"""The same, every call of it set aside from one row that all runs share."""


class Choose(Ask[Seen]):
    prompt = "steps/decide"
    replies = (send,)


class Release(Approve):
    """Somebody decides, or nobody ever does."""

    to = "somebody"
    deadline = timedelta(days=3)


class Send(Act[Seen]):
    runs = (send,)


class Happened(Reply[Literal["happened"]]):
    pass


class NotHappened(Reply[Literal["not_happened"]]):
    pass


class Doubted(Consult):
    to = "somebody"
    deadline = timedelta(days=3)
    replies = (Happened, NotHappened)


waiting = Machine(
    "waiting",
    memory=Seen,
    edges={
        Choose: {"send": Release, "error": Shorten},
        Release: {"approved": Send, "rejected": Over, "expired": Over},
        Send: {"ok": Over, "error": Shorten, "unknown": Doubted},
        Doubted: {"happened": Over, "not_happened": Shorten, "expired": Over},
        Shorten: {"retry": Back, "give_up": Over},
    },
)


@dataclass
class Model:
    """Answers after a fixed time, always the same kind of call."""

    seconds: float
    call: Call[object]

    async def ask(self, request: Request) -> Answer:
        if self.seconds:
            await asyncio.sleep(self.seconds)
        chosen: Object = {"intent": self.call.tool_name, "arguments": self.call.arguments}
        return Answer(chosen, Usage(100, 20, 10), "instant", "0" * 64)


async def go(engine: Engine, machine: str, rounds: int, key: str) -> Row:
    row = await engine.start(TriggerCommand(machine, Seen(rounds=rounds), key=key), hold=True)
    return await engine.advance(row.run.id)


async def many(url: str, runs: int, model: float, machine: Machine[Seen]) -> Figures:
    """Runs of 20 steps from start to end: one after the other for `runs` = 1 (100 of them), else all at once."""
    lone = runs == 1
    store = Store.open(url, own_loop=lone)  # a lone run is a job or a command, and has a loop of its own
    async with Engine(store, [machine], llm=Model(model, look.call(1))) as engine:
        await go(engine, machine.name, 10, "warm")
        before, cpu, wall = fsync.count(), time.process_time(), time.perf_counter()
        total = 100 if lone else runs
        keys = [f"run {number}" for number in range(total)]
        if lone:
            done = [await go(engine, machine.name, 10, key) for key in keys]
        else:
            done = await asyncio.gather(*(go(engine, machine.name, 10, key) for key in keys))
        wall, cpu, syncs = time.perf_counter() - wall, time.process_time() - cpu, fsync.count() - before
        assert all(row.run.status == "done" and row.run.steps == 20 for row in done)
    store.close()
    count = total * 20
    return {
        "wall_s": round(wall, 3),
        "cpu_ms_per_step": round(cpu * 1000 / count, 3),
        "syncs_per_step": round(syncs / count, 3),
        "steps_per_sync": round(count / max(syncs, 1), 1),
    }


async def long(url: str) -> Figures:
    """One run of 3,000 steps: what its last 200 cost beside those from the 100th, and what a step takes on the disk."""
    times: list[float] = []
    store = Store.open(url)

    def watch(run: Run, line: Event) -> None:
        times.append(time.process_time())

    async with Engine(store, [steps], llm=Model(0, look.call(1)), watch=watch) as engine:
        await go(engine, "steps", 1, "warm")
        store.close()
        empty, store = size(url), Store.open(url)
        engine.store = store
        times.clear()
        await go(engine, "steps", 1500, "long")
    store.close()
    early, late = times[300] - times[100], times[-2] - times[-202]
    return {"last_to_100th": round(late / early, 2), "bytes_per_step": round((size(url) - empty) / 3000)}


async def idle(url: str) -> Figures:
    """A thousand runs that wait for a person: bytes each on the disk, events included."""
    store = Store.open(url)
    async with Engine(store, [waiting], llm=Model(0, send.call(1))) as engine:
        await go(engine, "waiting", 1, "warm")
        store.close()
        empty, store = size(url), Store.open(url)
        engine.store = store
        rows = await asyncio.gather(*(go(engine, "waiting", 1, f"run {number}") for number in range(1000)))
        assert all(row.run.status == "waiting" for row in rows)
    store.close()
    whole = size(url)
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
        connection.execute("DELETE FROM events")
        connection.execute("VACUUM")
    return {
        "bytes_per_waiting_run": round((whole - empty) / 1000),
        "bytes_without_events": round((size(url) - empty) / 1000),
    }


def size(url: str) -> int:
    return Path(url.removeprefix("sqlite:///")).stat().st_size


@contextmanager
def database(kind: str) -> Generator[str]:
    if kind == "postgres":
        from tests.postgres import database as fresh
        from tests.postgres import server

        with server() as admin, fresh(admin) as url:
            yield url
    else:
        with tempfile.TemporaryDirectory(prefix="leverframe-bench-") as folder:
            yield f"sqlite:///{folder}/bench.db"


def measure(name: str, kind: str, runs: int, model: float, sync_us: int) -> Figures:
    """One measurement in a process of its own, under the shim."""
    found = fsync.measured("benchmarks.durable_steps", json.dumps([name, kind, runs, model]), sleep_us=sync_us)
    return {"database": kind, "what": name, "model_ms": model * 1000, "sync_ms": sync_us / 1000, **found}


def inside(name: str, kind: str, runs: int, model: float) -> None:
    with tempfile.TemporaryDirectory(prefix="leverframe-bench-") as home, database(kind) as url:
        prompts = Path(home, "prompts/steps")
        prompts.mkdir(parents=True)
        (prompts / "decide.md").write_text(PROMPT)
        for machine in (steps, daily, waiting):
            machine.file = str(Path(home, "machines/steps.py"))  # where its prompts are looked for
        what = {"3,000 steps": long, "waiting": idle}.get(name)
        machine = daily if name.endswith(DAILY) else steps
        print(json.dumps(asyncio.run(what(url) if what else many(url, runs, model, machine))))


DAILY = ", with limits of the day"


LIMITS: dict[tuple[str, float, float], dict[str, tuple[float, float]]] = {
    ("1 at once", 0, 0): {"cpu_ms_per_step": (0, 0.6), "syncs_per_step": (1, 1.15)},
    ("200 at once", 0, 0): {"cpu_ms_per_step": (0, 0.3)},
    (f"1 at once{DAILY}", 0, 0): {"cpu_ms_per_step": (0, 0.8), "syncs_per_step": (1, 1.15)},
    (f"200 at once{DAILY}", 0, 0): {"cpu_ms_per_step": (0, 0.4)},
    (f"200 at once{DAILY}", 50, 4): {"steps_per_sync": (30, 4000), "wall_s": (0, 1.8)},
    ("200 at once", 50, 4): {"steps_per_sync": (30, 4000), "wall_s": (0, 1.5)},
    ("3,000 steps", 0, 0): {"last_to_100th": (0, 1.5), "bytes_per_step": (0, 1024)},
    ("waiting", 0, 0): {"bytes_per_waiting_run": (0, 4096), "bytes_without_events": (0, 2048)},
}
"""By what was measured, the milliseconds of the model and of a sync: the least and the most of a figure, on SQLite."""


def beyond(figures: Figures) -> list[str]:
    """Which figures are not within their limits."""
    what, model, sync = str(figures["what"]), float(figures["model_ms"]), float(figures["sync_ms"])
    limits = LIMITS.get((what, model, sync), {}) if figures["database"] == "sqlite" else {}
    return [
        f"{what}, model {model:g} ms, sync {sync:g} ms: {name} is {figures[name]}, not between {least:g} and {most:g}"
        for name, (least, most) in limits.items()
        if not least <= float(figures[name]) <= most
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    parser.add_argument("--postgres", action="store_true", help="also on PostgreSQL")
    given = parser.parse_args()
    if given.inside:
        inside(*json.loads(given.inside))
        return
    wanted = [
        (f"{runs} at once{limits}", kind, runs, model, sync)
        for kind in (("sqlite", "postgres") if given.postgres else ("sqlite",))
        for limits in ("", DAILY)
        for runs, model, sync in ((1, 0.0, 0), (1, 0.0, 4000), (200, 0.0, 0), (200, 0.05, 0), (200, 0.05, 4000))
    ]
    wrong: list[str] = []
    for one in (*wanted, ("3,000 steps", "sqlite", 0, 0.0, 0), ("waiting", "sqlite", 0, 0.0, 0)):
        figures = measure(*one)
        print(json.dumps(figures), flush=True)
        wrong += beyond(figures)
    if wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
