"""What durability costs a step: `python -m benchmarks.durable_steps`.

A run is 10 Ask + 10 Act (`read`), each step with an event of its own, each durable before the next. Disks lie and vary, so each
measurement runs in a process whose syncs are counted and take a fixed time (see `fsync.py`). Figures: wall seconds, CPU
milliseconds per step (of all threads), steps per sync, bytes stored per step.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

from benchmarks import fsync
from leverframe import Act, Approve, Ask, Back, Call, Compact, End, Got, Limits, Machine, Memory, Work, tool
from leverframe.engine import Engine, TriggerCommand
from leverframe.llm import Answer, Request, Usage
from leverframe.store import Store

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


steps = Machine(
    "steps",
    memory=Seen,
    edges={
        Decide: {"look": Look, "error": Shorten},
        Look: {"more": Decide, "enough": Over, "error": Shorten},
        Shorten: {"retry": Back, "give_up": Over},
    },
    limits=Limits(steps=100_000),
)


class Prepare(Work[Seen]):
    def run(self, memory: Seen) -> Literal["ready"]:
        return "ready"


class Choose(Ask[Seen]):
    prompt = "steps/decide"
    replies = (send,)


class Release(Approve):
    to = "somebody"
    deadline = timedelta(days=3)


class Send(Act[Seen]):
    runs = (send,)


class Asked(Approve):
    to = "nobody"
    deadline = timedelta(days=1)


@dataclass
class Model:
    """Answers after a fixed time, always the same kind of call."""

    seconds: float
    calls: Sequence[Call[object]]

    async def ask(self, request: Request) -> Answer:
        if self.seconds:
            await asyncio.sleep(self.seconds)
        call = self.calls[0]
        chosen = {"intent": call.tool_name, "arguments": call.arguments}
        return Answer(chosen, Usage(100, 20, 10), "instant", "0" * 64)


async def run_all(url: str, runs: int, rounds: int, model: float) -> dict[str, float]:
    """All runs from start to end, at once."""
    store = Store.open(url)
    async with Engine(store, [steps], llm=Model(model, [look.call(1)])) as engine:
        await engine.advance((await engine.start(TriggerCommand("steps", Seen(rounds=1)), hold=True)).run.id)  # warm
        before, cpu, wall = fsync.count(), time.process_time(), time.perf_counter()

        async def one(index: int) -> None:
            row = await engine.start(TriggerCommand("steps", Seen(rounds=rounds), key=f"r{index}"), hold=True)
            done = await engine.advance(row.run.id)
            assert done.run.status == "done", done.run
            assert done.run.steps == 2 * rounds

        await asyncio.gather(*(one(index) for index in range(runs)))
        taken = time.perf_counter() - wall
        count = runs * rounds * 2
        figures = {
            "steps": count,
            "wall_s": round(taken, 3),
            "cpu_ms_per_step": round((time.process_time() - cpu) * 1000 / count, 4),
            "syncs": fsync.count() - before,
        }
    store.close()
    return figures | {"syncs_per_step": round(figures["syncs"] / count, 3)}


async def long_run(url: str) -> dict[str, float]:
    """One run of 3,000 steps: what its last steps cost beside those around the 100th."""
    store = Store.open(url)
    times: list[float] = []
    async with Engine(store, [steps], llm=Model(0, [look.call(1)]), watch=lambda run, line: times.append(time.process_time())) as engine:
        row = await engine.start(TriggerCommand("steps", Seen(rounds=1500)), hold=True)
        await engine.advance(row.run.id)
        events = await store.events(row.run.id)
        stored = sum(len(line.text) + 300 for line in events)
    store.close()
    early, late = times[100] - times[80], times[-2] - times[-22]
    width = 200
    early, late = times[width + 100] - times[100], times[-2] - times[-2 - width]
    return {"last_to_100th": round(late / early, 3), "bytes_per_step": round(stored / len(events))}


@contextmanager
def database(kind: str) -> Iterator[str]:
    if kind == "postgres":
        from tests.postgres import database as fresh
        from tests.postgres import server

        with server() as admin, fresh(admin) as url:
            yield url
    else:
        with tempfile.TemporaryDirectory(prefix="leverframe-bench-") as folder:
            yield f"sqlite:///{folder}/bench.db"


def measure(kind: str, runs: int, rounds: int, model: float, sync_us: int | None) -> dict[str, object]:
    """One measurement in a process of its own, under the shim."""
    argv = [sys.executable, "-m", "benchmarks.durable_steps", "--inside", json.dumps([kind, runs, rounds, model])]
    done = fsync.run(argv, sleep_us=sync_us, capture=True)
    if done.code:
        raise SystemExit(done.code)
    found = json.loads(done.output.strip().splitlines()[-1])
    return {"database": kind, "runs": runs, "model_ms": model * 1000, "sync_us": sync_us, **found}


def inside(kind: str, runs: int, rounds: int, model: float) -> None:
    with tempfile.TemporaryDirectory() as home, database(kind) as url:
        prompts = Path(home, "prompts/steps")
        prompts.mkdir(parents=True)
        (prompts / "decide.md").write_text(PROMPT)
        steps.file = str(Path(home, "machines/steps.py"))  # where its prompts are looked for
        figures = asyncio.run(long_run(url) if runs == 0 else run_all(url, runs, rounds, model))
        print(json.dumps(figures))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    parser.add_argument("--postgres", action="store_true", help="also on PostgreSQL")
    given = parser.parse_args()
    if given.inside:
        inside(*json.loads(given.inside))
        return
    kinds = ["sqlite", "postgres"] if given.postgres else ["sqlite"]
    for kind in kinds:
        for runs, model, sync in ((1, 0.0, 0), (1, 0.0, 4000), (200, 0.0, 0), (200, 0.05, 4000), (0, 0.0, 0)):
            print(json.dumps(measure(kind, runs, 10, model, sync)), flush=True)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONHASHSEED", "0")
    assert subprocess, "for the shim"
    main()
