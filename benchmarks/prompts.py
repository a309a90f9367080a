"""What variants, pins and shadows cost: `python -m benchmarks.prompts [--runs 300] [--figures 20000] [--json]`.

A run is 10 questions to a scripted model. Measured is the CPU time of all threads for each step, in turns, so that a busy machine
hurts all alike, and the least of the rounds: one prompt, one prompt with a variant, the same with a pin, the same with a shadow. Then
how long the figures of `leverframe prompts` take over so many runs in one database.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from leverframe import Ask, Back, Compact, End, Engine, Limits, Machine, Memory, Reply, Store, TriggerCommand, Work
from leverframe.llm import Scripted

ASKS = 10
ROUNDS = 10
WAYS = ("one text", "a variant", "a pin", "a shadow")


class Count(Memory):
    n: int = 0
    last: int = ASKS


class More(Reply[Literal["more"]]):
    """Go on."""


class Think(Ask[Count]):
    prompt = "bench/think"
    replies = (More,)

    def keep(self, memory: Count, reply: More) -> None:
        memory.n += 1


class Enough(Work[Count]):
    def run(self, memory: Count) -> Literal["again", "over"]:
        return "over" if memory.n >= memory.last else "again"


class Over(End[Count]):
    pass


class Short(Compact):
    pass


class Here(Machine[Count]):
    """With its prompts in a folder of the benchmark's."""

    folder = Path()

    @property
    def home(self) -> Path:
        return self.folder


def machine(folder: Path, way: str) -> Machine[Count]:
    found = Here(
        "bench",
        memory=Count,
        edges={
            Think: {"more": Enough, "error": Short},
            Enough: {"again": Think, "over": Over},
            Short: {"retry": Back, "give_up": Over},
        },
        limits=Limits(steps=1000),
    )
    prompts = folder / "prompts" / "bench"
    prompts.mkdir(parents=True)
    (prompts / "think.md").write_text("# user\n{{ n }} {{ choices }}\n")
    if way in ("a variant", "a pin"):
        (prompts / "think.b.md").write_text("# user\n{{ n }}: {{ choices }}\n")
    if way == "a shadow":
        (prompts / "think.dark.md").write_text("---\nshadow: true\n---\n# user\n{{ n }}: {{ choices }}\n")
    found.folder = folder
    return found


async def steps(engine: Engine, runs: int) -> float:
    """Microseconds of CPU a step."""
    began = time.process_time()
    rows = [await engine.start(TriggerCommand("bench", {})) for _ in range(runs)]
    await asyncio.gather(*(engine.advance(row.run.id) for row in rows))
    return (time.process_time() - began) / (runs * (2 * ASKS + 1)) * 1e6


async def compared(folder: Path, runs: int) -> Mapping[str, float]:
    engines: dict[str, Engine] = {}
    for way in WAYS:
        home = folder / way.replace(" ", "_")
        home.mkdir()
        store = Store.open(f"sqlite:///{home / 'lf.db'}")
        engines[way] = Engine(store, [machine(home, way)], llm=Scripted(lambda request: {"intent": "more"}))
        if way == "a pin":
            await store.pin("bench/think", "b", by="benchmark")
    taken: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(ROUNDS):
        for way, engine in engines.items():
            taken[way].append(await steps(engine, max(1, runs // ROUNDS)))
    for engine in engines.values():
        await engine.close()
        engine.store.close()
    return {way: min(found) for way, found in taken.items()}


async def figures(folder: Path, runs: int) -> float:
    """Seconds for everything that `leverframe prompts` asks the database."""
    store = Store.open(f"sqlite:///{folder / 'figures.db'}")
    home = folder / "figures"
    async with Engine(store, [machine(home, "a variant")], llm=Scripted(lambda request: {"intent": "more"})) as engine:
        for first in range(0, runs, 500):
            count = min(500, runs - first)
            rows = [await engine.start(TriggerCommand("bench", {"last": 1})) for _ in range(count)]
            await asyncio.gather(*(engine.advance(row.run.id) for row in rows))
    began = time.perf_counter()
    await store.prompt_figures(0)
    taken = time.perf_counter() - began
    store.close()
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300, help="of each sort")
    parser.add_argument("--figures", type=int, default=20_000, help="runs in the database that is counted")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(compared(Path(folder), given.runs))
        seconds = asyncio.run(figures(Path(folder), given.figures))
    if given.json:
        print(json.dumps({"microseconds_a_step": dict(found), "figures": {"runs": given.figures, "seconds": seconds}}, indent=2))
        return
    for way, cost in found.items():
        print(f"{way:<10} {cost:7.0f} µs CPU a step  {cost / found['one text']:.2f}×")
    print(f"figures of {given.figures:,} runs: {seconds:.2f} s")


if __name__ == "__main__":
    main()
