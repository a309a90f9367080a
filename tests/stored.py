"""Small runs to put into a store: enough of a log to be chained, no machine behind it."""

import secrets
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TypedDict, Unpack

from leverframe.canon import Json, Object
from leverframe.clock import SECOND, SystemClock
from leverframe.run import Run, event
from leverframe.store import Commit, EffectChange, NewRun, Store, Task

CLOCK = SystemClock()
DEFINITION = "d" * 64
LEASE = 30 * SECOND


class Origin(TypedDict, total=False):
    start_key: str | None
    start_hash: str
    tenant: str
    owner: str | None
    lease_until: int | None
    wake_at: int | None


@cache
def prepared() -> bytes:
    """A SQLite file with our tables and nothing in them."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "prepared.db")
        Store.open(f"sqlite:///{file}").close()
        return file.read_bytes()


@asynccontextmanager
async def opened(url: str, *, own_loop: bool = False) -> AsyncGenerator[Store]:
    """A store with the one definition that these runs have."""
    store = Store.open(url, own_loop=own_loop)
    try:
        await store.save_definition(DEFINITION, "refund", "{}")
        yield store
    finally:
        store.close()


def new(memory: Object | None = None, parent: str | None = None, machine: str = "refund", **origin: Unpack[Origin]) -> NewRun:
    """A run after its first event; held for a while if an owner is given, else due now."""
    now = CLOCK.now()
    run = Run(f"run_{secrets.token_hex(8)}", machine, DEFINITION, "ready", "Read", memory or {}, parent=parent)
    first = event(None, now, "started", "test", {"memory": memory or {}})
    run = replace(run, seq=1, head=first.hash, started_at=now)
    origin.setdefault("wake_at", now)
    if origin.get("owner"):
        origin.setdefault("lease_until", now + LEASE)
    return NewRun(run, [first], **origin)


def step(run: Run, fence: int, body: Object | None = None, **after: Json) -> Commit:
    """The run after one more event, still held. `after`: what changes of the run."""
    now = CLOCK.now()
    more = event(run, now, "worked", "test", body or {})
    changed = replace(run, seq=more.seq, head=more.hash, **after)  # type: ignore[arg-type]
    return Commit(changed, fence, run.seq, [more], lease_until=now + LEASE)


def letting_go(commit: Commit, wake_at: int | None = None) -> Commit:
    """The same, and the run is released."""
    return replace(commit, lease_until=None, wake_at=wake_at)


def task(run: Run, expires_in: int = 3600 * SECOND) -> Task:
    now = CLOCK.now()
    call: Object = {"tool_name": "issue_refund", "arguments": {"amount": "60.00"}}
    return Task(
        f"task_{secrets.token_hex(8)}",
        run.id,
        "approve",
        "Release",
        "support",
        "60 euros?",
        "s" * 64,
        now,
        now + expires_in,
        call,
    )


def effect(status: str = "selected", key: str | None = None, ordinal: int = 1) -> EffectChange:
    return EffectChange(
        key or f"lf_{secrets.token_hex(20)}", ordinal, "issue_refund", '{"amount":"60.00"}', "a" * 64, "keyed", status
    )


async def asking(store: Store, expires_in: int = 3600 * SECOND) -> tuple[Run, Task]:
    """A run that waits for a person, and the task."""
    first = new(owner="me")
    started = await store.start(first)
    asked = task(first.run, expires_in)
    waits = letting_go(step(first.run, started.fence, status="waiting"), asked.expires_at)
    await store.commit(replace(waits, open_tasks=[asked], effects=[effect()]))
    return waits.run, asked
