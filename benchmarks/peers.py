"""What a durable step costs elsewhere: `python -m benchmarks.peers`.

Machines differ twofold from one another, and from hour to hour, so a figure alone says little. This makes the same runs by turns, here and
with other means, and says how many times as much CPU they take: 20 steps, each durable before the next, on SQLite with a write-ahead log and
full syncs, which are counted and take no time (`fsync.py`). A step here asks a model or calls a tool, and writes an event; the others do
no more than keep their state.

    session     a SQLModel session a step, with a row and an event: what one would write by hand
    langgraph   LangGraph with its SqliteSaver, durability="sync"
    burr        Burr with its SQLitePersister

Those that are not installed are left out: `pip install langgraph langgraph-checkpoint-sqlite burr`.
"""

import argparse
import json
import sqlite3
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias, TypedDict

from sqlalchemy import event as events
from sqlmodel import Field, Session, SQLModel, create_engine

from benchmarks import durable_steps, fsync

RUNS, STEPS, ROUNDS = 50, 20, 5
Go: TypeAlias = Callable[[str], None]
"""Makes one run, by its key."""


class Run(SQLModel, table=True):
    id: str = Field(primary_key=True)
    state: str
    seq: int
    memory: str


class Line(SQLModel, table=True):
    run_id: str = Field(primary_key=True, foreign_key="run.id")
    seq: int = Field(primary_key=True)
    type: str
    body: str


class Seen(TypedDict):
    seen: int


def session(file: Path) -> Go:
    engine = create_engine(f"sqlite:///{file}")
    events.listen(engine, "connect", durable)
    SQLModel.metadata.create_all(engine)

    def go(key: str) -> None:
        with Session(engine) as first:
            first.add(Run(id=key, state="ask", seq=0, memory="{}"))
            first.commit()
        for number in range(STEPS):
            with Session(engine) as one:
                run = one.get_one(Run, key)
                run.state, run.seq = "act" if run.state == "ask" else "ask", run.seq + 1
                run.memory = json.dumps({"rounds": 10, "seen": number // 2})
                body = {"state": run.state, "call": {"tool_name": "look", "arguments": {"number": 1}}, "outcome": "look"}
                one.add(Line(run_id=key, seq=run.seq, type="asked", body=json.dumps(body)))
                one.commit()

    return go


def langgraph(file: Path) -> Go:
    graph, saver = import_module("langgraph.graph"), import_module("langgraph.checkpoint.sqlite")
    connection = sqlite3.connect(file, check_same_thread=False)
    keeper = saver.SqliteSaver(connection)
    keeper.setup()
    durable(connection)
    built = graph.StateGraph(Seen)
    built.add_node("ask", _asked)
    built.add_node("act", _acted)
    built.add_edge(graph.START, "ask")
    built.add_edge("ask", "act")

    def onward(state: Seen) -> str:
        return "ask" if state["seen"] < STEPS // 2 else str(graph.END)

    built.add_conditional_edges("act", onward)
    app = built.compile(checkpointer=keeper)

    def go(key: str) -> None:
        config = {"configurable": {"thread_id": key}, "recursion_limit": 10 * STEPS}
        assert app.invoke({"seen": 0}, config, durability="sync")["seen"] == STEPS // 2

    return go


def burr(file: Path) -> Go:
    core, persistence = import_module("burr.core"), import_module("burr.core.persistence")
    persister = persistence.SQLitePersister.from_values(db_path=str(file), table_name="runs")
    persister.initialize()
    durable(persister.connection)
    kept = core.action(reads=["seen"], writes=["seen"])

    def ask(state: Any) -> Any:
        return state.update(**_asked(state))

    def act(state: Any) -> Any:
        return state.update(**_acted(state))

    def go(key: str) -> None:
        built = (
            core.ApplicationBuilder().with_actions(ask=kept(ask), act=kept(act)).with_transitions(("ask", "act"), ("act", "ask"))
        )
        built = built.with_entrypoint("ask").with_state(seen=0).with_identifiers(app_id=key).with_state_persister(persister)
        app = built.build()
        for _ in range(STEPS):
            app.step()
        assert app.state["seen"] == STEPS // 2

    return go


def _asked(state: Seen) -> Seen:
    return {"seen": state["seen"]}


def _acted(state: Seen) -> Seen:
    return {"seen": state["seen"] + 1}


def durable(connection: sqlite3.Connection, _: object = None) -> None:
    """As Leverframe opens a database."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


PEERS: dict[str, Callable[[Path], Go]] = {"session": session, "langgraph": langgraph, "burr": burr}


def inside(name: str) -> None:
    """One measurement, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="leverframe-bench-") as folder:
        go = PEERS[name](Path(folder, "peer.db"))
        go("warm")
        before, cpu = fsync.count(), time.process_time()
        for number in range(RUNS):
            go(f"run {number}")
        cpu, syncs, count = time.process_time() - cpu, fsync.count() - before, RUNS * STEPS
        print(json.dumps({"cpu_ms_per_step": round(cpu * 1000 / count, 3), "syncs_per_step": round(syncs / count, 3)}))


def measured(name: str) -> durable_steps.Figures:
    if name not in PEERS:
        return durable_steps.measure(name, "sqlite", int(name.split(maxsplit=1)[0]), 0.0, 0)
    return fsync.measured("benchmarks.peers", name, sleep_us=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how often each is measured; {ROUNDS} unless told")
    given = parser.parse_args()
    if given.inside:
        inside(given.inside)
        return
    ours, peers = ["1 at once", "200 at once"], [name for name in PEERS if name == "session" or find_spec(name)]
    took: dict[str, list[float]] = defaultdict(list)
    for number in range(given.rounds):
        for name in (*ours, *peers):
            figures = measured(name)
            took[name].append(float(figures["cpu_ms_per_step"]))
            print(json.dumps({"what": name, **{key: figures[key] for key in ("cpu_ms_per_step", "syncs_per_step")}}), flush=True)
        print(f"round {number + 1} of {given.rounds}", file=sys.stderr)
    for mine in ours:
        for peer in peers:
            times = median(theirs / own for theirs, own in zip(took[peer], took[mine], strict=True))
            print(
                f"{peer}: {times:.1f} times the CPU a step of {mine} (medians: {median(took[peer]):.2f} and {median(took[mine]):.2f} ms)"
            )


if __name__ == "__main__":
    main()
